//! What testators leave, and what becomes of it: the history of their wills.

use std::time::{Duration, Instant};

use crate::history::{History, Moment};
use crate::wire::Version;
use crate::world::{PUBLISHERS, Subject};

/// What is the same in all wills of a testator.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub version: Version,
    /// Will Delay Interval and Session Expiry Interval, in seconds. A session of MQTT 3.1.1 does not expire.
    pub delay: u32,
    pub expiry: u32,
    pub qos: u8,
    pub retain: bool,
}

const NEVER: u32 = u32::MAX;
/// Longer than a test takes.
const HOUR: u32 = 3600;

const KINDS: [Kind; 8] = [
    Kind { version: Version::V4, delay: 0, expiry: NEVER, qos: 2, retain: false },
    Kind { version: Version::V4, delay: 0, expiry: NEVER, qos: 1, retain: true },
    Kind { version: Version::V5, delay: 0, expiry: 2 * HOUR, qos: 2, retain: true },
    Kind { version: Version::V5, delay: 0, expiry: 2 * HOUR, qos: 2, retain: false },
    Kind { version: Version::V5, delay: HOUR, expiry: 2 * HOUR, qos: 2, retain: true },
    Kind { version: Version::V5, delay: 2, expiry: 2 * HOUR, qos: 2, retain: true },
    // With its session.
    Kind { version: Version::V5, delay: HOUR, expiry: 2, qos: 1, retain: false },
    Kind { version: Version::V5, delay: HOUR, expiry: 0, qos: 2, retain: false },
];

pub const TESTATORS: usize = KINDS.len();

impl Kind {
    pub fn of(testator: usize) -> Self {
        KINDS[testator]
    }

    /// The wills of a testator count as messages of a publisher behind the others.
    pub fn of_publisher(publisher: usize) -> Self {
        KINDS[publisher - PUBLISHERS]
    }

    /// A session that outlives its connection, and of which CONNACK says that it is kept.
    pub fn is_lasting(self) -> bool {
        self.expiry > 0
    }

    pub fn expires_after(self) -> Duration {
        Duration::from_secs(self.expiry.into())
    }

    /// When the will is due after the end of the connection: after its delay, or with its session ([MQTT-3.1.2-8]).
    pub fn due(self) -> Duration {
        Duration::from_secs(self.delay.min(self.expiry).into())
    }

    /// The same when it was the broker that went: its client gets the time to come back.
    pub fn due_after_kill(self) -> Duration {
        let seconds = if self.is_lasting() { self.delay.max(GRACE_SECS).min(self.expiry) } else { GRACE_SECS };
        Duration::from_secs(seconds.into())
    }
}

/// How long a broker that was killed waits for clients before it publishes their wills (ARCHITECTURE, "Deadlines").
const GRACE_SECS: u32 = 10;

/// A connection of a testator, with a will of its own.
#[derive(Debug)]
pub struct Testament {
    /// CONNECT, and in which process.
    pub sent: Moment,
    pub sent_at: Instant,
    pub process: u32,
    /// CONNACK.
    pub accepted: Option<Accepted>,
    /// `None`: only the blow has ended it.
    pub ending: Option<Ending>,
    /// The broker has closed too, so that it knows.
    pub gone: Option<Moment>,
}

#[derive(Debug)]
pub struct Accepted {
    pub moment: Moment,
    pub at: Instant,
    pub found_session: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// DISCONNECT with 0x00.
    Normal,
    /// Any other one, or none.
    Broken,
    /// By the next connection.
    TakenOver,
}

impl History {
    /// The number of a connection and its will that is about to be asked for.
    pub fn testament(&mut self, testator: usize) -> usize {
        let (sent, sent_at, process) = (self.now(), Instant::now(), self.process);
        let testaments = &mut self.testaments[testator];
        testaments.push(Testament { sent, sent_at, process, accepted: None, ending: None, gone: None });
        testaments.len() - 1
    }

    /// The last one is answered.
    pub fn accepted(&mut self, testator: usize, found_session: bool) {
        let (moment, at) = (self.now(), Instant::now());
        let testaments = &mut self.testaments[testator];
        let before = testaments.iter().rev().find(|testament| testament.accepted.is_some());
        // It may have expired, and later than the client has gone.
        if before.is_some_and(|before| at - before.sent_at < Kind::of(testator).expires_after()) {
            self.sessions += 1;
            self.sessions_lost += u64::from(!found_session);
        }
        if let Some(last) = testaments.last_mut() {
            last.accepted = Some(Accepted { moment, at, found_session });
        }
    }

    /// A testator is about to end its last connection.
    pub fn testator_goes(&mut self, testator: usize, ending: Ending) {
        if let Some(last) = self.testaments[testator].last_mut() {
            last.ending = Some(ending);
        }
    }

    /// What a new subscriber got for a testator.
    pub fn saw_retained_will(&mut self, testator: usize, possible: &[Option<usize>], seen: Option<usize>) {
        self.retained += 1;
        if !possible.contains(&seen) {
            self.retained_lost += 1;
            let topic = Subject::Will.topic(PUBLISHERS + testator);
            self.details.push(format!("{topic} holds {seen:?}, and not one of {possible:?}"));
        }
    }

    /// Whether it is known which will is its last: it has been accepted.
    pub fn may_stay_away(&self, testator: usize) -> bool {
        self.testaments[testator].last().is_some_and(|last| last.accepted.is_some())
    }

    pub fn testator_is_gone(&mut self, testator: usize) {
        let now = self.now();
        if let Some(last) = self.testaments[testator].last_mut() {
            last.gone = Some(now);
        }
    }
}
