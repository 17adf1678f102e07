//! What a store has promised, the naive way: plain maps, one change after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::{BrokerTime, Message, MessageParts, PublisherId, SubscriptionIds};
use crate::store::journal::sim::Dice;
use crate::store::{
    Change, OwnerId, Recovered, Row, RowId, SessionRecord, Store, StoredCopy, StoredMessage, WillRecord,
};
use crate::topic::{QoS, RetainHandling, SubscribeOptions};

/// Everything that can be seen of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub owners: BTreeMap<u64, OwnerView>,
    pub retained: BTreeMap<String, (u64, String)>,
    pub time: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnerView {
    session: Option<String>,
    group: Option<String>,
    subscriptions: BTreeMap<String, String>,
    replays: BTreeMap<String, String>,
    received: BTreeSet<u16>,
    sent: Vec<(u64, u16, Option<RowView>)>,
    pub waiting: BTreeMap<u64, RowView>,
}

/// A copy: size, expiry, and the rest as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowView {
    expires_at: u64,
    size: u64,
    content: String,
}

/// Stands for long bytes, so that a failure can be read.
fn digest(message: &Message) -> String {
    let bytes = [message.forward(), b"|", message.payload()].concat();
    format!("{} {}:{:x} {:?}", message.topic(), bytes.len(), crc32c::crc32c(&bytes), message.publisher().0)
}

fn row_view(message: &Message, copy: &StoredCopy) -> RowView {
    let ids = copy.subscription_ids.as_slice();
    RowView {
        expires_at: message.expires_at().as_millis(),
        size: message.size() as u64,
        content: format!("{} {} {:?} {} {ids:?}", digest(message), copy.owner.0, copy.qos, copy.retain),
    }
}

fn session_view(record: &SessionRecord) -> String {
    let SessionRecord { owner, client_id, user_name, listener, mount_point, expiry_interval, .. } = record;
    let SessionRecord { disconnected_at, sent_up_to, will, .. } = record;
    let will = will.as_ref().map(|will| {
        let WillRecord { message, message_expiry_interval, delay_interval } = will;
        (digest(message), *message_expiry_interval, *delay_interval)
    });
    format!(
        "{owner:?} {client_id} {user_name:?} {listener} {mount_point} {expiry_interval} {disconnected_at:?} {sent_up_to:?} {will:?}"
    )
}

impl Model {
    /// What the other does not have like this; nothing when they are equal.
    pub(super) fn differences(&self, other: &Model) -> String {
        let mut text = String::new();
        for key in self.owners.keys().chain(other.owners.keys()) {
            let (here, there) = (self.owners.get(key), other.owners.get(key));
            if here != there {
                text += &format!("owner {key}:\n  {here:?}\n  {there:?}\n");
            }
        }
        if (&self.retained, self.time) != (&other.retained, other.time) {
            text += &format!("{:?}\n{:?}\n", (&self.retained, self.time), (&other.retained, other.time));
        }
        text
    }

    pub(super) fn apply(&mut self, row: u64, change: &Change) {
        match change {
            Change::PutSession(record) => {
                self.owners.entry(record.owner.0).or_default().session = Some(session_view(record));
            }
            Change::PutGroup { owner, filter } => {
                self.owners.entry(owner.0).or_default().group = Some(filter.to_string());
            }
            Change::DeleteOwner(owner) => drop(self.owners.remove(&owner.0)),
            Change::PutSubscription { owner, filter, options, id } => self.with(*owner, |view| {
                view.subscriptions.insert(filter.to_string(), format!("{options:?} {id:?}"));
            }),
            Change::DeleteSubscription { owner, filter } => self.with(*owner, |view| {
                view.subscriptions.remove(&**filter);
                view.replays.remove(&**filter);
            }),
            Change::PutReplay { owner, filter, after } => self.with(*owner, |view| {
                if view.subscriptions.contains_key(&**filter) {
                    view.replays.insert(filter.to_string(), after.to_string());
                }
            }),
            Change::DeleteReplay { owner, filter } => self.with(*owner, |view| {
                view.replays.remove(&**filter);
            }),
            Change::Message(stored) => self.store(row, stored),
            Change::DeleteRetained { topic, up_to } => {
                if self.retained.get(&**topic).is_some_and(|(row, _)| *row <= up_to.0) {
                    self.retained.remove(&**topic);
                }
            }
            Change::Received { owner, packet_id } => self.with(*owner, |view| {
                view.received.insert(*packet_id);
            }),
            Change::Released { owner, packet_id } => self.with(*owner, |view| {
                view.received.remove(packet_id);
            }),
            Change::Sent { owner, row, packet_id, from } => {
                let copy = self.owners.get_mut(&from.0).and_then(|view| view.waiting.remove(&row.0));
                self.with(*owner, |view| {
                    if copy.is_some() {
                        view.sent.push((row.0, *packet_id, copy));
                    } else if let Some(sent) = view.sent.iter_mut().find(|sent| sent.0 == row.0) {
                        sent.1 = *packet_id;
                    }
                });
            }
            Change::Handed { owner, row } => self.with(*owner, |view| {
                view.sent.iter_mut().filter(|sent| sent.0 == row.0).take(1).for_each(|sent| sent.2 = None);
            }),
            Change::Done { owner, row } => self.with(*owner, |view| {
                if view.waiting.remove(&row.0).is_none()
                    && let Some(at) = view.sent.iter().position(|sent| sent.0 == row.0)
                {
                    view.sent.remove(at);
                }
            }),
            Change::Time(time) => self.time = self.time.max(time.as_millis()),
        }
    }

    fn with(&mut self, owner: OwnerId, change: impl FnOnce(&mut OwnerView)) {
        if let Some(view) = self.owners.get_mut(&owner.0) {
            change(view);
        }
    }

    fn store(&mut self, row: u64, stored: &StoredMessage) {
        for copy in &stored.copies {
            self.with(copy.owner, |view| drop(view.waiting.insert(row, row_view(&stored.message, copy))));
        }
        if stored.retained {
            let topic = stored.message.topic().to_owned();
            self.retained.insert(topic, (row, digest(&stored.message)));
        }
        if let Some((owner, packet_id)) = stored.received {
            self.with(owner, |view| {
                view.received.insert(packet_id);
            });
        }
    }

    /// What a store says that it has; or why it cannot be read.
    pub(super) fn of(store: &dyn Store, recovered: &Recovered, dice: &mut Dice) -> Result<Model, String> {
        let mut model = Model { time: recovered.time.as_millis(), ..Model::default() };
        for session in &recovered.sessions {
            let view = |row: &Row| row_view(&row.message, &row.copy);
            let subscriptions = session.subscriptions.iter();
            let owner = session.record.owner;
            let view = OwnerView {
                session: Some(session_view(&session.record)),
                group: None,
                subscriptions: subscriptions
                    .map(|(filter, options, id)| (filter.to_string(), format!("{options:?} {id:?}")))
                    .collect(),
                replays: session
                    .replays
                    .iter()
                    .map(|(filter, after)| (filter.to_string(), after.to_string()))
                    .collect(),
                received: session.received.iter().copied().collect(),
                sent: session.sent.iter().map(|(row, id, copy)| (row.0, *id, copy.as_ref().map(view))).collect(),
                waiting: read_all(store, owner, dice)?,
            };
            check_summary(&view.waiting, &session.waiting);
            assert!(owner.0 < recovered.next_owner, "{owner:?} would be given again");
            model.owners.insert(owner.0, view);
        }
        for group in &recovered.groups {
            let waiting = read_all(store, group.owner, dice)?;
            check_summary(&waiting, &group.waiting);
            let view = OwnerView { group: Some(group.filter.to_string()), waiting, ..OwnerView::default() };
            model.owners.insert(group.owner.0, view);
        }
        for (row, message) in &recovered.retained {
            model.retained.insert(message.topic().to_owned(), (row.0, digest(message)));
        }
        Ok(model)
    }
}

fn check_summary(rows: &BTreeMap<u64, RowView>, summary: &crate::store::Waiting) {
    let earliest = rows.values().map(|row| row.expires_at).min().filter(|time| *time != u64::MAX);
    let expected = crate::store::Waiting {
        rows: rows.len() as u64,
        bytes: rows.values().map(|row| row.size).sum(),
        earliest_expiry: earliest.map(BrokerTime::from_millis),
    };
    assert_eq!(*summary, expected);
}

/// Reads a queue in pages of any size.
pub(super) fn read_all(store: &dyn Store, owner: OwnerId, dice: &mut Dice) -> Result<BTreeMap<u64, RowView>, String> {
    let mut rows = BTreeMap::new();
    let mut after = RowId(0);
    loop {
        let (rows_max, bytes_max) = (1 + dice.below(9), dice.below(2000));
        let listed = store.read_rows(owner, after, rows_max).map_err(|lost| lost.0)?;
        let page = store.read_page(owner, after, rows_max, bytes_max).map_err(|lost| lost.0)?;
        assert!(page.rows.len() <= rows_max && (page.is_last || !page.rows.is_empty()));
        assert_eq!(listed.is_empty(), page.rows.is_empty());
        for (row, listed) in page.rows.iter().zip(&listed) {
            assert!(row.row > after, "not in order");
            let message = &row.message;
            assert_eq!(
                (row.row, message.size() as u64, message.expires_at()),
                (listed.row, listed.bytes, listed.expires_at)
            );
            after = row.row;
            rows.insert(row.row.0, row_view(message, &row.copy));
        }
        if page.is_last {
            return Ok(rows);
        }
    }
}

/// Makes changes that mean something for a model, and some that mean nothing.
pub(super) struct Maker {
    pub dice: Dice,
    next_owner: u64,
}

const SESSIONS: usize = 4;

impl Maker {
    pub(super) fn new(seed: u64) -> Self {
        Maker { dice: Dice(seed), next_owner: 1 }
    }

    /// After a start.
    pub(super) fn go_on(&mut self, recovered: &Recovered) {
        self.next_owner = self.next_owner.max(recovered.next_owner);
    }

    pub(super) fn batch(&mut self, model: &Model) -> Vec<Change> {
        let count = 1 + self.dice.below(4) * self.dice.below(2);
        (0..count).map(|_| self.change(model)).collect()
    }

    fn owner(&mut self, model: &Model) -> OwnerId {
        let owners: Vec<_> = model.owners.keys().collect();
        match owners.get(self.dice.below(owners.len() + 1)) {
            Some(owner) => OwnerId(**owner),
            None => OwnerId(1),
        }
    }

    fn session_of(&mut self, model: &Model) -> OwnerId {
        Some(self.owner(model)).filter(|owner| owner.group().is_none()).unwrap_or(OwnerId(1))
    }

    fn change(&mut self, model: &Model) -> Change {
        if model.owners.len() < 2 || (model.owners.len() < SESSIONS && self.dice.one_in(8)) {
            return self.new_owner();
        }
        let owner = self.session_of(model);
        match self.dice.below(40) {
            0 => Change::DeleteOwner(self.owner(model)),
            1 | 2 if model.owners.contains_key(&owner.0) => self.session(owner),
            3 | 4 => Change::PutSubscription {
                owner,
                filter: self.text("f/").into(),
                options: SubscribeOptions {
                    qos: QoS::ExactlyOnce,
                    no_local: self.dice.one_in(2),
                    retain_as_published: self.dice.one_in(2),
                    retain_handling: RetainHandling::SendIfNew,
                },
                id: std::num::NonZeroU32::new(self.dice.below(3) as u32),
            },
            5 => Change::DeleteSubscription { owner, filter: self.text("f/").into() },
            38 => Change::PutReplay { owner, filter: self.text("f/").into(), after: self.text("").into() },
            39 => Change::DeleteReplay { owner, filter: self.text("f/").into() },
            6 => Change::Received { owner, packet_id: self.dice.below(9) as u16 },
            7 => Change::Released { owner, packet_id: self.dice.below(9) as u16 },
            8 => Change::Time(BrokerTime::from_millis(self.dice.below(100_000) as u64)),
            9 => {
                let row = model.retained.values().next().map_or(3, |(row, _)| *row);
                Change::DeleteRetained { topic: self.text("t/").into(), up_to: RowId(row + self.dice.below(40) as u64) }
            }
            10..=13 => self.sent(model, owner),
            14..=25 => {
                let owner = self.owner(model);
                Change::Done { owner, row: self.row(model, owner) }
            }
            _ => self.message(model),
        }
    }

    fn text(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.dice.below(5))
    }

    fn new_owner(&mut self) -> Change {
        if self.dice.one_in(4) {
            let group = crate::message::GroupId(std::num::NonZeroU32::new(1 + self.dice.below(2) as u32).unwrap());
            return Change::PutGroup { owner: group.into(), filter: self.text("$share/g/").into() };
        }
        self.next_owner += 1;
        self.session(OwnerId(self.next_owner - 1))
    }

    fn session(&mut self, owner: OwnerId) -> Change {
        let will = self.dice.one_in(3).then(|| WillRecord {
            message: self.payload("will"),
            message_expiry_interval: self.dice.one_in(2).then_some(u32::MAX),
            delay_interval: 7,
        });
        Change::PutSession(Box::new(SessionRecord {
            owner,
            client_id: format!("client-{}", owner.0).into(),
            user_name: self.dice.one_in(2).then(|| "alice".into()),
            listener: "tcp".into(),
            mount_point: "".into(),
            expiry_interval: u32::MAX - self.dice.below(3) as u32,
            disconnected_at: self.dice.one_in(2).then(|| BrokerTime::from_millis(self.dice.below(1000) as u64)),
            sent_up_to: self.dice.one_in(2).then(|| RowId(self.dice.below(1000) as u64)),
            will,
        }))
    }

    fn payload(&mut self, topic: &str) -> Message {
        let length = if self.dice.one_in(12) { self.dice.below(5000) } else { self.dice.below(200) };
        let payload: Vec<_> = (0..length).map(|at| (at as u64 ^ self.dice.0) as u8).collect();
        let never = self.dice.one_in(2);
        Message::new(&MessageParts {
            topic_prefix: "",
            topic,
            forward: &payload[..length.min(5)],
            payload: &payload,
            qos: QoS::ExactlyOnce,
            retain: self.dice.one_in(3),
            expires_at: if never {
                BrokerTime::NEVER
            } else {
                BrokerTime::from_millis(self.dice.below(100_000) as u64)
            },
            publisher: PublisherId(self.dice.roll()),
        })
    }

    fn message(&mut self, model: &Model) -> Change {
        let topic = self.text("t/");
        let mut copies = Vec::new();
        for owner in model.owners.keys().copied().chain([1 << 40]) {
            if self.dice.one_in(2) {
                let ids: Vec<_> = (0..self.dice.below(3)).map(|_| self.dice.below(1 << 20) as u32 + 1).collect();
                copies.push(StoredCopy {
                    owner: OwnerId(owner),
                    qos: QoS::from_bits(self.dice.below(3) as u8).unwrap(),
                    retain: self.dice.one_in(2),
                    subscription_ids: SubscriptionIds::from_slice(&ids),
                });
            }
        }
        let received = self.dice.one_in(4).then(|| (self.session_of(model), self.dice.below(9) as u16));
        let message = self.payload(&topic);
        Change::Message(Box::new(StoredMessage { message, copies, retained: self.dice.one_in(5), received }))
    }

    /// Often the first that waits, sometimes any, sometimes none.
    fn row(&mut self, model: &Model, owner: OwnerId) -> RowId {
        let Some(view) = model.owners.get(&owner.0) else { return RowId(5) };
        if self.dice.one_in(3) && !view.sent.is_empty() {
            return RowId(view.sent[self.dice.below(view.sent.len())].0);
        }
        let at = if self.dice.one_in(2) { 0 } else { self.dice.below(view.waiting.len() + 1) };
        RowId(view.waiting.keys().nth(at).copied().unwrap_or(5))
    }

    fn sent(&mut self, model: &Model, owner: OwnerId) -> Change {
        if self.dice.one_in(3) {
            return Change::Handed { owner, row: self.row(model, owner) };
        }
        let groups: Vec<_> = model.owners.keys().filter(|owner| OwnerId(**owner).group().is_some()).collect();
        let from = match groups.first() {
            Some(group) if self.dice.one_in(3) => OwnerId(**group),
            _ => owner,
        };
        let row = self.row(model, from);
        // A row that the session has of its own, too, is not sent to it a second time.
        let is_there =
            |view: &OwnerView| view.waiting.contains_key(&row.0) || view.sent.iter().any(|sent| sent.0 == row.0);
        let from = if from != owner && model.owners.get(&owner.0).is_some_and(is_there) { owner } else { from };
        Change::Sent { owner, row, packet_id: self.dice.below(9) as u16, from }
    }
}
