//! A client that subscribes, receives and acknowledges, changes what it has subscribed to, and is away at times.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::connection::{Connection, Next};
use crate::history::Ledger;
use crate::received::{Ack, Frame, Publish, SubAck};
use crate::wire::{self, Connect, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, Subscribe, UNSUBACK, Unsubscribe};
use crate::world::{self, BRANCHES, CHANGING};

/// Longer than a broker is left alive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A SUBSCRIBE or UNSUBSCRIBE that is not acknowledged.
struct Pending {
    id: u16,
    branch: usize,
    subscribes: bool,
}

pub struct Subscriber {
    index: usize,
    choices: StdRng,
    has_session: bool,
    /// Counts its connections.
    connection: u32,
    last_id: u16,
    /// What it has asked for, whether acknowledged or not.
    wanted: [bool; BRANCHES],
    /// In order; the first has been sent at least once.
    pending: VecDeque<Pending>,
    /// Packet ids of QoS 2 without PUBREL, and their messages.
    received: HashMap<u16, (usize, usize)>,
}

/// How a subscriber spends the life of a broker.
pub enum Task {
    Away,
    /// Comes when so many messages have been acknowledged; holds back up to `held` acknowledgements; leaves after so many
    /// deliveries; changes a subscription whenever so many have come.
    There {
        after: u64,
        held: usize,
        leaves_after: usize,
        changes_every: usize,
    },
    /// Until its subscriptions are as it wants them.
    Settle,
    /// Until it has received these messages, or nothing has come for so long.
    Drain {
        last: HashSet<(usize, usize)>,
        quiet: Duration,
    },
}

impl Subscriber {
    pub fn new(index: usize, choices: StdRng) -> Self {
        Self {
            index,
            choices,
            has_session: false,
            connection: 0,
            last_id: 0,
            wanted: [false; BRANCHES],
            pending: VecDeque::new(),
            received: HashMap::new(),
        }
    }

    /// What it does next, by its own choice.
    pub fn choose(&mut self) -> Task {
        let choices = &mut self.choices;
        if self.has_session && choices.random_ratio(1, 4) {
            return Task::Away;
        }
        let after = if self.has_session && choices.random_ratio(1, 4) { choices.random_range(1..200) } else { 0 };
        let held = if choices.random_ratio(1, 2) { 0 } else { choices.random_range(1..15) };
        let leaves_after = if choices.random_ratio(1, 6) { choices.random_range(1..200) } else { usize::MAX };
        Task::There { after, held, leaves_after, changes_every: choices.random_range(5..100) }
    }

    /// Ends when the broker is gone, or the task is done.
    pub fn run(&mut self, address: SocketAddr, task: &mut Task, ledger: &Ledger) {
        match task {
            Task::Away => return,
            Task::There { after, .. } if !ledger.wait_for(*after) => return,
            _ => {}
        }
        // What is not at its end goes on with the next connection.
        let _ = self.connected(address, task, ledger);
    }

    fn connected(&mut self, address: SocketAddr, task: &mut Task, ledger: &Ledger) -> Option<()> {
        let mut connection = self.connect(address, task, ledger)?;
        let (mut acks, mut held_acks, mut deliveries) = (Vec::new(), 0, 0);
        loop {
            let frame = match connection.next() {
                Next::Packet(frame) => frame,
                Next::Closed => return None,
                Next::Nothing if matches!(task, Task::Drain { .. }) => return connection.leave(),
                // Nobody has published for it.
                Next::Nothing => continue,
            };
            match frame.kind() {
                SUBACK | UNSUBACK => self.on_change(&frame, &mut connection, ledger)?,
                _ => {
                    acks.extend(self.answer(&frame, &connection, task, ledger));
                    held_acks += 1;
                    deliveries += usize::from(frame.kind() == PUBLISH);
                }
            }
            let (held, leaves_after) = match task {
                Task::There { held, leaves_after, .. } => (*held, *leaves_after),
                _ => (0, usize::MAX),
            };
            if held_acks > held {
                connection.send(&std::mem::take(&mut acks))?;
                held_acks = 0;
            }
            match task {
                Task::There { changes_every, .. } if frame.kind() == PUBLISH && deliveries % *changes_every == 0 => {
                    self.change(&mut connection, ledger)?;
                }
                Task::Settle if self.pending.is_empty() => return connection.leave(),
                Task::Drain { last, .. } if last.is_empty() => return connection.leave(),
                _ => {}
            }
            if deliveries >= leaves_after {
                // With a DISCONNECT or without, and with the acknowledgements that were held back or without.
                return if self.choices.random_ratio(1, 2) { connection.leave() } else { None };
            }
        }
    }

    fn connect(&mut self, address: SocketAddr, task: &Task, ledger: &Ledger) -> Option<Connection> {
        // Subscribers speak the other version than the publisher of the same number.
        let version = world::version(self.index + 1);
        let connect = Connect::new(version, format!("subscriber-{}", self.index)).lasting();
        let (mut connection, connack) = Connection::open(address, &connect, PATIENCE)?;
        self.connection += 1;
        if self.has_session {
            ledger.open().resumed(connack.session_present);
            if !connack.session_present {
                self.received.clear();
                self.subscribe_again(&mut connection)?;
            }
        } else {
            self.has_session = true;
            let changing = self.choices.random_range(CHANGING..BRANCHES);
            (0..CHANGING).chain([changing]).for_each(|branch| self.want(branch, true));
            self.note_first(ledger);
        }
        self.send_first(&mut connection)?;
        match task {
            Task::Drain { last, .. } if last.is_empty() => connection.patience(Duration::from_millis(1)),
            Task::Drain { quiet, .. } => connection.patience(*quiet),
            Task::Settle if self.pending.is_empty() => {
                connection.leave()?;
                return None;
            }
            _ => {}
        }
        Some(connection)
    }

    /// The session is lost; what was acknowledged then has to be asked for once more.
    fn subscribe_again(&mut self, connection: &mut Connection) -> Option<()> {
        let mut branches = self.wanted;
        self.pending.iter().for_each(|pending| branches[pending.branch] = false);
        if branches == [false; BRANCHES] {
            return Some(());
        }
        let mut subscribe = Subscribe::new(connection.version, next_id(&mut self.last_id));
        for branch in (0..BRANCHES).filter(|branch| branches[*branch]) {
            subscribe = subscribe.filter(world::filter(branch), world::subscription_qos(self.index, branch));
        }
        connection.send(&subscribe.bytes())
    }

    fn want(&mut self, branch: usize, subscribes: bool) {
        self.wanted[branch] = subscribes;
        let id = next_id(&mut self.last_id);
        self.pending.push_back(Pending { id, branch, subscribes });
    }

    /// Subscribes to one of the changing branches, or unsubscribes from it.
    fn change(&mut self, connection: &mut Connection, ledger: &Ledger) -> Option<()> {
        if !self.pending.is_empty() {
            return Some(());
        }
        let branch = self.choices.random_range(CHANGING..BRANCHES);
        self.want(branch, !self.wanted[branch]);
        self.note_first(ledger);
        self.send_first(connection)
    }

    fn note_first(&self, ledger: &Ledger) {
        if let Some(first) = self.pending.front() {
            ledger.open().changing(self.index, first.branch, first.subscribes);
        }
    }

    fn send_first(&self, connection: &mut Connection) -> Option<()> {
        let Some(Pending { id, branch, subscribes }) = self.pending.front() else { return Some(()) };
        let (version, filter) = (connection.version, world::filter(*branch));
        let bytes = if *subscribes {
            Subscribe::new(version, *id).filter(filter, world::subscription_qos(self.index, *branch)).bytes()
        } else {
            Unsubscribe::new(version, *id).filter(filter).bytes()
        };
        connection.send(&bytes)
    }

    fn on_change(&mut self, frame: &Frame, connection: &mut Connection, ledger: &Ledger) -> Option<()> {
        let suback = SubAck::read(connection.version, frame.kind(), frame);
        assert!(suback.codes.iter().all(|code| *code < 0x80), "refused: {suback:02x?}");
        // That of the first one, or of those that were asked for once more.
        let Some(Pending { branch, subscribes, .. }) = self.pending.pop_front_if(|first| first.id == suback.id) else {
            return Some(());
        };
        ledger.open().changed(self.index, branch, subscribes);
        self.note_first(ledger);
        self.send_first(connection)
    }

    /// What a PUBLISH or PUBREL is answered with.
    fn answer(&mut self, frame: &Frame, connection: &Connection, task: &mut Task, ledger: &Ledger) -> Vec<u8> {
        if frame.kind() != PUBLISH {
            let ack = Ack::read(connection.version, PUBREL, frame);
            self.received.remove(&ack.id);
            return wire::ack(PUBCOMP, ack.id);
        }
        let publish = Publish::read(connection.version, frame);
        let Some(message) = world::message_of(&publish.payload) else {
            ledger.open().nonsense.push(format!("subscriber {}: nobody has sent {frame:02x?}", self.index));
            return Vec::new();
        };
        if publish.qos == 1 {
            self.take(message, 1, task, ledger);
            return wire::ack(PUBACK, publish.id);
        }
        match self.received.get(&publish.id) {
            None => {
                self.received.insert(publish.id, message);
                self.take(message, publish.qos, task, ledger);
            }
            Some(earlier) if *earlier == message => {}
            Some(earlier) => {
                let index = self.index;
                let nonsense = format!("subscriber {index}: {message:?} under the packet id of {earlier:?}");
                ledger.open().nonsense.push(nonsense);
            }
        }
        wire::ack(PUBREC, publish.id)
    }

    fn take(&self, message: (usize, usize), qos: u8, task: &mut Task, ledger: &Ledger) {
        ledger.open().delivered(self.index, self.connection, message, qos);
        if let Task::Drain { last, .. } = task {
            last.remove(&message);
        }
    }
}

fn next_id(last: &mut u16) -> u16 {
    *last = *last % u16::MAX + 1;
    *last
}
