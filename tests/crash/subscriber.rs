//! A client that subscribes, receives and acknowledges, changes what it has subscribed to, and is away at times.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use crate::connection::{Connection, Next, PATIENCE};
use crate::filter::{Filter, Wish};
use crate::history::Ledger;
use crate::received::{Ack, Frame, Publish, SubAck};
use crate::wire::{
    self, Connect, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, Subscribe, UNSUBACK, Unsubscribe, Version,
    property,
};
use crate::world;

/// How often somebody looks whether others have what it waits for.
const GLANCE: Duration = Duration::from_millis(10);

/// A property.
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;

/// A SUBSCRIBE or UNSUBSCRIBE that is not acknowledged.
struct Pending {
    id: u16,
    filter: Filter,
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
    wanted: HashSet<Filter>,
    /// In order; the first has been sent at least once.
    pending: VecDeque<Pending>,
    /// Packet ids of QoS 2 without PUBREL, and their messages; those without a payload do not tell.
    received: HashMap<u16, Option<(usize, usize)>>,
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
    /// Until it has received these messages for itself and the groups have all of theirs, or nothing has come for so long.
    Drain {
        last: HashSet<(usize, usize)>,
        quiet: Duration,
    },
}

impl Task {
    /// Whether nothing more is expected, `heard` from the broker last.
    fn is_done(&self, heard: Instant, ledger: &Ledger) -> bool {
        match self {
            Task::Drain { last, quiet } => {
                heard.elapsed() > *quiet || last.is_empty() && ledger.open().missing.is_empty()
            }
            _ => false,
        }
    }
}

impl Subscriber {
    pub fn new(index: usize, choices: StdRng) -> Self {
        Self {
            index,
            choices,
            has_session: false,
            connection: 0,
            last_id: 0,
            wanted: HashSet::new(),
            pending: VecDeque::new(),
            received: HashMap::new(),
        }
    }

    /// What it does next, by its own choice.
    pub fn choose(&mut self) -> Task {
        let choices = &mut self.choices;
        let times_away = if world::is_sleeper(self.index) { 3 } else { 1 };
        if self.has_session && choices.random_ratio(times_away, 4) {
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
        let mut heard = Instant::now();
        loop {
            let frame = match connection.next() {
                Next::Packet(frame) => frame,
                Next::Closed => return None,
                Next::Nothing if task.is_done(heard, ledger) => return connection.leave(),
                // Nobody has published for it.
                Next::Nothing => continue,
            };
            heard = Instant::now();
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
                Task::Drain { .. } if task.is_done(heard, ledger) => return connection.leave(),
                _ => {}
            }
            if deliveries >= leaves_after {
                // With a DISCONNECT or without, and with the acknowledgements that were held back or without.
                return if self.choices.random_ratio(1, 2) { connection.leave() } else { None };
            }
        }
    }

    fn version(&self) -> Version {
        world::version_of_subscriber(self.index)
    }

    fn connect(&mut self, address: SocketAddr, task: &Task, ledger: &Ledger) -> Option<Connection> {
        let connect = Connect::new(self.version(), format!("subscriber-{}", self.index)).lasting();
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
            let changing = self.choose_changing();
            Filter::of(self.index, Wish::Lasting).chain(changing).for_each(|filter| self.want(filter, true));
            self.note_first(ledger);
        }
        self.send_first(&mut connection)?;
        match task {
            Task::Drain { .. } => connection.patience(GLANCE),
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
        let is_pending = |filter: &Filter| self.pending.iter().any(|pending| pending.filter == *filter);
        let is_lost = |filter: &Filter| self.wanted.contains(filter) && !is_pending(filter);
        let lost: Vec<_> = Filter::all().filter(is_lost).collect();
        lost.into_iter().try_for_each(|filter| {
            let id = next_id(&mut self.last_id);
            connection.send(&self.subscribe(id, filter))
        })
    }

    fn subscribe(&self, id: u16, filter: Filter) -> Vec<u8> {
        let subscribe = Subscribe::new(self.version(), id);
        let subscribe = subscribe.filter(filter.text(), filter.options(self.index));
        // By which it tells what a message comes for.
        match self.version() {
            Version::V5 => subscribe.with(property::subscription_identifier(filter.identifier())),
            _ => subscribe,
        }
        .bytes()
    }

    fn want(&mut self, filter: Filter, subscribes: bool) {
        if subscribes {
            self.wanted.insert(filter)
        } else {
            self.wanted.remove(&filter)
        };
        let id = next_id(&mut self.last_id);
        self.pending.push_back(Pending { id, filter, subscribes });
    }

    fn choose_changing(&mut self) -> Option<Filter> {
        Filter::of(self.index, Wish::Changing).choose(&mut self.choices)
    }

    /// Subscribes to one of the changing filters, or unsubscribes from it.
    fn change(&mut self, connection: &mut Connection, ledger: &Ledger) -> Option<()> {
        if !self.pending.is_empty() {
            return Some(());
        }
        let Some(filter) = self.choose_changing() else { return Some(()) };
        self.want(filter, !self.wanted.contains(&filter));
        self.note_first(ledger);
        self.send_first(connection)
    }

    fn note_first(&self, ledger: &Ledger) {
        if let Some(first) = self.pending.front() {
            ledger.open().changing(self.index, first.filter, first.subscribes);
        }
    }

    fn send_first(&self, connection: &mut Connection) -> Option<()> {
        let Some(Pending { id, filter, subscribes }) = self.pending.front() else { return Some(()) };
        let bytes = if *subscribes {
            self.subscribe(*id, *filter)
        } else {
            Unsubscribe::new(connection.version, *id).filter(filter.text()).bytes()
        };
        connection.send(&bytes)
    }

    fn on_change(&mut self, frame: &Frame, connection: &mut Connection, ledger: &Ledger) -> Option<()> {
        let suback = SubAck::read(connection.version, frame.kind(), frame);
        assert!(suback.codes.iter().all(|code| *code < 0x80), "refused: {suback:02x?}");
        // That of the first one, or of those that were asked for once more.
        let Some(Pending { filter, subscribes, .. }) = self.pending.pop_front_if(|first| first.id == suback.id) else {
            return Some(());
        };
        ledger.open().changed(self.index, filter, subscribes);
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
        let message = world::message_of(&publish.payload);
        if message.is_none() && !publish.payload.is_empty() {
            ledger.open().nonsense.push(format!("subscriber {}: nobody has sent {frame:02x?}", self.index));
            return Vec::new();
        }
        if publish.qos == 1 {
            self.take(&publish, message, task, ledger);
            return wire::ack(PUBACK, publish.id);
        }
        match self.received.get(&publish.id) {
            None => {
                self.received.insert(publish.id, message);
                self.take(&publish, message, task, ledger);
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

    fn take(&self, publish: &Publish, message: Option<(usize, usize)>, task: &mut Task, ledger: &Ledger) {
        let mut history = ledger.open();
        let identifiers = publish.properties.all(SUBSCRIPTION_IDENTIFIER);
        let told = match &identifiers[..] {
            [told] => Filter::all().find(|filter| property::subscription_identifier(filter.identifier()) == *told),
            _ => None,
        };
        let is_told = if self.version() == Version::V5 { told.is_some() } else { identifiers.is_empty() };
        // [MQTT-3.3.4-3]
        if !is_told {
            let text = format!("{message:?} with subscription identifiers {identifiers:?}");
            history.nonsense.push(format!("subscriber {}: {text}", self.index));
        }
        // [MQTT-3.3.1-12]: nobody has asked for messages as they are retained.
        if publish.retain {
            return history.nonsense.push(format!("subscriber {}: {message:?} as a retained one", self.index));
        }
        let Some(message) = message else { return };
        history.delivered(self.index, self.connection, message, publish.qos, told);
        if let Task::Drain { last, .. } = task
            && !told.is_some_and(Filter::is_shared)
        {
            last.remove(&message);
        }
    }
}

fn next_id(last: &mut u16) -> u16 {
    *last = *last % u16::MAX + 1;
    *last
}
