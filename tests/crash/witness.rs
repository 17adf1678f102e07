//! A new subscriber that looks at the retained messages while nobody publishes.

use std::net::SocketAddr;
use std::time::Duration;

use crate::connection::{Connection, Next};
use crate::history::{History, Ledger};
use crate::received::{Frame, Publish};
use crate::wire::{self, Connect, PINGREQ, PUBLISH, Subscribe, Version};
use crate::world::{self, PUBLISHERS, RETAINED, Subject};

type Found = [[Option<usize>; RETAINED]; PUBLISHERS];

/// Ends when all that has to be there has come, or nothing has come for `quiet`.
pub fn look(address: SocketAddr, quiet: Duration, ledger: &Ledger) {
    let mut history = ledger.open();
    let connect = Connect::new(Version::V5, "witness");
    let (mut connection, _) = Connection::open(address, &connect, quiet).expect("a broker that has just started");
    let subscribe = Subscribe::new(Version::V5, 1).filter("r/#", 0);
    connection.send(&[&subscribe.bytes()[..], &PINGREQ].concat()).expect("a broker that has just started");
    let (mut found, mut is_answered) = (Found::default(), false);
    while !is_answered || is_missing(&found, &history) {
        match connection.next() {
            Next::Packet(frame) if frame.kind() == PUBLISH => note(&frame, &mut found, &mut history),
            Next::Packet(frame) => is_answered |= frame.bytes() == wire::PINGRESP,
            Next::Nothing => break,
            Next::Closed => panic!("the broker has closed the connection of a subscriber"),
        }
    }
    connection.leave().expect("a broker that has just started");
    for (publisher, found) in found.iter().enumerate() {
        found.iter().enumerate().for_each(|(number, seen)| history.saw_retained(publisher, number, *seen));
    }
}

/// Whether a topic that has to hold a message has shown none.
fn is_missing(found: &Found, history: &History) -> bool {
    let is_owed = |publisher: usize, number| !history.retained_now(publisher, number).contains(&None);
    let numbers = |publisher: usize| (0..RETAINED).filter(move |number| found[publisher][*number].is_none());
    (0..PUBLISHERS).any(|publisher| numbers(publisher).any(|number| is_owed(publisher, number)))
}

fn note(frame: &Frame, found: &mut Found, history: &mut History) {
    let publish = Publish::read(Version::V5, frame);
    let sent = world::message_of(&publish.payload).and_then(|(publisher, sequence)| {
        let message = history.published.get(publisher)?.get(sequence)?;
        let Subject::Retained { number, clears: false } = message.subject else { return None };
        (message.subject.topic(publisher) == publish.topic).then_some((publisher, sequence, number))
    });
    match sent {
        Some((publisher, sequence, number)) => found[publisher][number] = Some(sequence),
        None => history.nonsense.push(format!("retained, and nobody has sent it: {publish:02x?}")),
    }
}
