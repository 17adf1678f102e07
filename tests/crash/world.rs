//! What the clients of an episode speak about: topics and payloads.

use std::hash::{Hash, Hasher};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::wills::Kind;
use crate::wire::Version;

pub const PUBLISHERS: usize = 4;
pub const SUBSCRIBERS: usize = 10;
/// Subscribers from here on are members of groups; those before have subscriptions of their own.
pub const FIRST_MEMBER: usize = 6;
pub const BRANCHES: usize = 4;
pub const TOPICS_IN_A_BRANCH: usize = 3;
/// Retained topics of each publisher; nobody else writes them.
pub const RETAINED: usize = 3;
/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Topic {
        branch: usize,
        number: usize,
    },
    /// `clears`: without a payload, which ends the topic's retained message.
    Retained {
        number: usize,
        clears: bool,
    },
    /// The broker publishes it in the name of a testator.
    Will,
}

impl Subject {
    pub fn topic(self, publisher: usize) -> String {
        match self {
            Subject::Topic { branch, number } => format!("b{branch}/{number}"),
            Subject::Retained { number, .. } => format!("r/{publisher}/{number}"),
            Subject::Will => format!("w/{publisher}"),
        }
    }

    /// The QoS that a publisher uses for it: one for each topic, since order is promised for each QoS alone.
    pub fn qos(self, publisher: usize) -> u8 {
        match self {
            Subject::Topic { number, .. } | Subject::Retained { number, .. } => 1 + ((publisher + number) % 2) as u8,
            Subject::Will => Kind::of_publisher(publisher).qos,
        }
    }
}

/// Subscribers that are away most of the time.
pub fn is_sleeper(subscriber: usize) -> bool {
    subscriber >= SUBSCRIBERS - 2
}

pub fn version(client: usize) -> Version {
    if client.is_multiple_of(2) { Version::V4 } else { Version::V5 }
}

pub fn version_of_subscriber(subscriber: usize) -> Version {
    // The other one than the publisher of the same number.
    version(subscriber + 1)
}

/// Says which message it is; the rest follows from that, so that a damaged one is noticed.
pub fn payload(publisher: usize, sequence: usize) -> Vec<u8> {
    let mut payload = format!("{publisher} {sequence} ").into_bytes();
    let length = match sequence % 64 {
        63 => 9_000,
        rest => rest * 3,
    };
    payload.extend((0..length).map(|at| (sequence + at) as u8));
    payload
}

/// Publisher and sequence number, when nothing about the payload is wrong.
pub fn message_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut words = bytes.splitn(3, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
    let (publisher, sequence) = (number()?, number()?);
    (payload(publisher, sequence) == bytes).then_some((publisher, sequence))
}

/// Choices that follow from the seed of the run and what they are for.
pub fn choices(seed: u64, purpose: impl Hash) -> StdRng {
    // With fixed keys: the same in every process.
    let mut hasher = std::hash::DefaultHasher::new();
    (seed, purpose).hash(&mut hasher);
    StdRng::seed_from_u64(hasher.finish())
}
