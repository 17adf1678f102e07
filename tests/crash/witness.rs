//! A new subscriber that looks at the retained messages while nobody publishes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::connection::{Connection, Next};
use crate::history::{History, Ledger};
use crate::received::{Frame, Publish};
use crate::verdict::Fates;
use crate::wills::TESTATORS;
use crate::wire::{self, Connect, PINGREQ, PUBLISH, Subscribe, Version};
use crate::world::{self, PUBLISHERS, RETAINED, Subject};

/// By publisher and topic; a testator has one.
type Found = HashMap<(usize, usize), usize>;

/// Looks at what publishers have retained, and notes what is not as it has to be.
pub fn look(address: SocketAddr, quiet: Duration, ledger: &Ledger) {
    let mut history = ledger.open();
    let found = see(address, "r/#", quiet, &mut history, |found, history| {
        let topics = (0..PUBLISHERS).flat_map(|publisher| (0..RETAINED).map(move |number| (publisher, number)));
        let is_owed = |(publisher, number)| !history.retained_now(publisher, number).contains(&None);
        topics.filter(|topic| !found.contains_key(topic)).any(is_owed)
    });
    for publisher in 0..PUBLISHERS {
        for number in 0..RETAINED {
            history.saw_retained(publisher, number, found.get(&(publisher, number)).copied());
        }
    }
}

/// Looks at retained wills, when all that had to be published is.
pub fn look_at_wills(address: SocketAddr, quiet: Duration, ledger: &Ledger) {
    let mut history = ledger.open();
    let possible = Fates::of(&history).retained();
    let found = see(address, "w/#", quiet, &mut history, |found, _| {
        let is_owed = |testator: usize| !possible[testator].is_empty() && !possible[testator].contains(&None);
        (0..TESTATORS).any(|testator| is_owed(testator) && !found.contains_key(&(PUBLISHERS + testator, 0)))
    });
    for (testator, possible) in possible.iter().enumerate().filter(|(_, possible)| !possible.is_empty()) {
        history.saw_retained_will(testator, possible, found.get(&(PUBLISHERS + testator, 0)).copied());
    }
}

/// Ends when all that has to be there has come, or nothing has come for `quiet`.
fn see(
    address: SocketAddr,
    filter: &str,
    quiet: Duration,
    history: &mut History,
    is_missing: impl Fn(&Found, &History) -> bool,
) -> Found {
    let connect = Connect::new(Version::V5, "witness");
    let (mut connection, _) = Connection::open(address, &connect, quiet).expect("a broker that has just started");
    let subscribe = Subscribe::new(Version::V5, 1).filter(filter, 0);
    connection.send(&[&subscribe.bytes()[..], &PINGREQ].concat()).expect("a broker that has just started");
    let (mut found, mut is_answered) = (Found::default(), false);
    while !is_answered || is_missing(&found, history) {
        match connection.next() {
            Next::Packet(frame) if frame.kind() == PUBLISH => note(&frame, &mut found, history),
            Next::Packet(frame) => is_answered |= frame.bytes() == wire::PINGRESP,
            Next::Nothing => break,
            Next::Closed => panic!("the broker has closed the connection of a subscriber"),
        }
    }
    connection.leave().expect("a broker that has just started");
    found
}

fn note(frame: &Frame, found: &mut Found, history: &mut History) {
    let publish = Publish::read(Version::V5, frame);
    if !publish.retain && publish.payload.is_empty() {
        // A broker whose connections were cut may still be busy with what had come on them, and nobody has the answer.
        return;
    }
    let sent = world::message_of(&publish.payload).and_then(|message @ (publisher, sequence)| {
        let subject = history.subject(message)?;
        let number = match subject {
            Subject::Retained { number, clears: false } => number,
            Subject::Will => 0,
            _ => return None,
        };
        (subject.topic(publisher) == publish.topic).then_some((publisher, number, sequence))
    });
    match sent {
        Some((publisher, number, sequence)) => _ = found.insert((publisher, number), sequence),
        None => history.nonsense.push(format!("retained, and nobody has sent it: {publish:02x?}")),
    }
}
