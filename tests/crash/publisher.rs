//! A client that publishes, and keeps what was not acknowledged until it is.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::connection::{Connection, Next, PATIENCE};
use crate::history::Ledger;
use crate::received::{Ack, Frame};
use crate::wire::{self, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish};
use crate::world::{self, BRANCHES, RETAINED, Subject, TOPICS_IN_A_BRANCH};

/// A message, or what is left of its QoS 2 exchange, that the broker has not let go of.
struct InFlight {
    id: u16,
    sequence: usize,
    subject: Subject,
    /// PUBREC has come: PUBREL is what is sent.
    is_released: bool,
}

pub struct Publisher {
    index: usize,
    choices: StdRng,
    has_session: bool,
    last_id: u16,
    window: VecDeque<InFlight>,
}

/// What a publisher does on a connection.
pub enum Task {
    /// Up to so many messages of its own choice, with up to so many in flight, until the broker is gone.
    Random { messages: usize, window: usize },
    /// What is in flight and then one message on each topic, all acknowledged.
    Finish,
}

impl Publisher {
    pub fn new(index: usize, choices: StdRng) -> Self {
        Self { index, choices, has_session: false, last_id: 0, window: VecDeque::new() }
    }

    /// Ends when the broker is gone, or the task is done.
    pub fn run(&mut self, address: SocketAddr, task: &Task, ledger: &Ledger) {
        // What the broker has not let go of stays here, whenever it goes away.
        let _ = self.connected(address, task, ledger);
    }

    fn connected(&mut self, address: SocketAddr, task: &Task, ledger: &Ledger) -> Option<()> {
        let mut connection = self.connect(address, ledger)?;
        let (mut waiting, window) = match task {
            Task::Random { messages, window } => ((0..*messages).map(|_| self.choose()).collect(), *window),
            Task::Finish => (every_topic(), 10),
        };
        loop {
            let mut bytes = Vec::new();
            while self.window.len() < window {
                let Some(subject) = waiting.pop_front() else { break };
                let sequence = ledger.open().sent(self.index, subject);
                let id = self.next_id();
                let message = InFlight { id, sequence, subject, is_released: false };
                bytes.extend(self.packet(&message, false));
                self.window.push_back(message);
            }
            connection.send(&bytes)?;
            if matches!(task, Task::Finish) && self.window.is_empty() {
                return connection.leave();
            }
            match connection.next() {
                Next::Packet(frame) => self.handle(&frame, &mut connection, ledger)?,
                Next::Closed => return None,
                Next::Nothing if self.window.is_empty() => {}
                Next::Nothing => panic!("publisher {} waits for {} acknowledgements", self.index, self.window.len()),
            }
        }
    }

    /// Connects and sends again what is in flight.
    fn connect(&mut self, address: SocketAddr, ledger: &Ledger) -> Option<Connection> {
        let version = world::version(self.index);
        let connect = Connect::new(version, format!("publisher-{}", self.index)).lasting();
        let (mut connection, connack) = Connection::open(address, &connect, PATIENCE)?;
        if self.has_session {
            ledger.open().resumed(connack.session_present);
        }
        self.has_session = true;
        if !connack.session_present {
            // The exchange that a PUBREL would go on with is no more.
            self.window.retain(|message| !message.is_released);
        }
        let mut bytes = Vec::new();
        for message in &self.window {
            if !message.is_released {
                ledger.open().sent_again(self.index, message.sequence);
            }
            bytes.extend(self.packet(message, connack.session_present));
        }
        connection.send(&bytes)?;
        Some(connection)
    }

    fn packet(&self, message: &InFlight, dup: bool) -> Vec<u8> {
        let InFlight { id, sequence, subject, is_released } = *message;
        if is_released {
            return wire::ack(PUBREL, id);
        }
        let payload = match subject {
            Subject::Retained { clears: true, .. } => Vec::new(),
            _ => world::payload(self.index, sequence),
        };
        let publish = Publish::new(world::version(self.index), subject.topic(self.index), payload);
        let publish = publish.qos(subject.qos(self.index), id);
        let publish = if matches!(subject, Subject::Retained { .. }) { publish.retain() } else { publish };
        if dup { publish.dup() } else { publish }.bytes()
    }

    fn handle(&mut self, frame: &Frame, connection: &mut Connection, ledger: &Ledger) -> Option<()> {
        let ack = Ack::read(connection.version, frame.kind(), frame);
        let Some(at) = self.window.iter().position(|message| message.id == ack.id) else {
            ledger.open().nonsense.push(format!("publisher {}: an answer to nothing: {frame:02x?}", self.index));
            return Some(());
        };
        let sequence = self.window[at].sequence;
        // The answer to a PUBREL that was sent again may be that there is nothing to release any more.
        if ack.reason >= 0x80 && frame.kind() != PUBCOMP {
            let refusal = format!("publisher {}: {sequence} is refused: {frame:02x?}", self.index);
            ledger.open().nonsense.push(refusal);
            self.window.remove(at);
            return Some(());
        }
        match frame.kind() {
            PUBACK | PUBREC => {
                ledger.open().acknowledged(self.index, sequence);
                ledger.progress();
            }
            PUBCOMP => {}
            _ => panic!("an acknowledgement was expected: {frame:02x?}"),
        }
        if frame.kind() == PUBREC {
            self.window[at].is_released = true;
            connection.send(&wire::ack(PUBREL, ack.id))
        } else {
            ledger.open().completed(self.index, sequence);
            self.window.remove(at);
            Some(())
        }
    }

    fn choose(&mut self) -> Subject {
        if self.choices.random_ratio(1, 6) {
            let (number, clears) = (self.choices.random_range(0..RETAINED), self.choices.random_ratio(1, 3));
            return Subject::Retained { number, clears };
        }
        let branch = self.choices.random_range(0..BRANCHES);
        Subject::Topic { branch, number: self.choices.random_range(0..TOPICS_IN_A_BRANCH) }
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id % u16::MAX + 1;
            if self.window.iter().all(|message| message.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}

fn every_topic() -> VecDeque<Subject> {
    let topics = (0..BRANCHES).flat_map(|branch| (0..TOPICS_IN_A_BRANCH).map(move |number| (branch, number)));
    topics.map(|(branch, number)| Subject::Topic { branch, number }).collect()
}
