//! The engine without a disk: everything is safe at once, and gone with the process.
//!
//! It decides nothing that the journal does not decide in the same way; the suite of `store/tests` runs on both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::{
    AppendError, Appended, Change, Durability, Health, Lost, OwnerId, Page, Recovered, RecoveredGroup,
    RecoveredSession, Row, RowId, SessionRecord, Store, StoreStatus, StoredMessage, Ticket, Waiting, WaitingRow,
};
use crate::message::{BrokerTime, Message};
use crate::topic::SubscribeOptions;

/// Keeps everything in memory.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Clone, Default)]
struct State {
    /// The last record's number.
    last: u64,
    owners: HashMap<OwnerId, Owner>,
    retained: HashMap<Box<str>, (RowId, Message)>,
    next_owner: u64,
    time: BrokerTime,
}

/// A session, or a shared group.
#[derive(Clone, Default)]
struct Owner {
    session: Option<SessionRecord>,
    /// The whole filter of a group.
    group: Option<Box<str>>,
    subscriptions: BTreeMap<Box<str>, (SubscribeOptions, Option<NonZeroU32>)>,
    /// By the filter of a subscription.
    replays: BTreeMap<Box<str>, Box<str>>,
    received: BTreeSet<u16>,
    /// Sent with QoS 2, in the order in which they were; without the copy once it is handed over.
    sent: Vec<(RowId, u16, Option<Row>)>,
    waiting: BTreeMap<RowId, Row>,
}

impl State {
    fn apply(&mut self, row: RowId, change: &Change) {
        match change {
            Change::PutSession(record) => self.put_owner(record.owner).session = Some((**record).clone()),
            Change::PutGroup { owner, filter } => self.put_owner(*owner).group = Some(filter.clone()),
            Change::DeleteOwner(owner) => drop(self.owners.remove(owner)),
            Change::PutSubscription { owner, filter, options, id } => self.with(*owner, |state| {
                state.subscriptions.insert(filter.clone(), (*options, *id));
            }),
            Change::DeleteSubscription { owner, filter } => self.with(*owner, |state| {
                state.subscriptions.remove(filter);
                state.replays.remove(filter);
            }),
            Change::PutReplay { owner, filter, after } => self.with(*owner, |state| {
                if state.subscriptions.contains_key(filter) {
                    state.replays.insert(filter.clone(), after.clone());
                }
            }),
            Change::DeleteReplay { owner, filter } => self.with(*owner, |state| {
                state.replays.remove(filter);
            }),
            Change::Message(stored) => self.store(row, stored),
            Change::DeleteRetained { topic, up_to } => {
                if self.retained.get(topic).is_some_and(|(row, _)| row <= up_to) {
                    self.retained.remove(topic);
                }
            }
            Change::Received { owner, packet_id } => self.with(*owner, |state| {
                state.received.insert(*packet_id);
            }),
            Change::Released { owner, packet_id } => self.with(*owner, |state| {
                state.received.remove(packet_id);
            }),
            Change::Sent { owner, row, packet_id, from } => self.send((*from, *owner), *row, *packet_id),
            Change::Handed { owner, row } => self.with(*owner, |state| {
                state.sent.iter_mut().find(|(sent, ..)| sent == row).into_iter().for_each(|(.., copy)| *copy = None);
            }),
            Change::Done { owner, row } => self.with(*owner, |state| {
                if state.waiting.remove(row).is_none()
                    && let Some(at) = state.sent.iter().position(|(sent, ..)| sent == row)
                {
                    state.sent.remove(at);
                }
            }),
            Change::Time(time) => self.time = self.time.max(*time),
        }
    }

    fn put_owner(&mut self, owner: OwnerId) -> &mut Owner {
        if owner.group().is_none() {
            self.next_owner = self.next_owner.max(owner.0 + 1);
        }
        self.owners.entry(owner).or_default()
    }

    fn send(&mut self, (from, owner): (OwnerId, OwnerId), row: RowId, packet_id: u16) {
        let copy = self.owners.get_mut(&from).and_then(|from| from.waiting.remove(&row));
        self.with(owner, |state| state.send((row, packet_id), copy));
    }

    /// What is said of an owner that has ended means nothing.
    fn with(&mut self, owner: OwnerId, change: impl FnOnce(&mut Owner)) {
        if let Some(state) = self.owners.get_mut(&owner) {
            change(state);
        }
    }

    fn store(&mut self, row: RowId, stored: &StoredMessage) {
        for copy in &stored.copies {
            let kept = Row { row, message: stored.message.clone(), copy: copy.clone() };
            self.with(copy.owner, |state| drop(state.waiting.insert(row, kept)));
        }
        if stored.retained {
            self.retained.insert(stored.message.topic().into(), (row, stored.message.clone()));
        }
        if let Some((owner, packet_id)) = stored.received {
            self.with(owner, |state| {
                state.received.insert(packet_id);
            });
        }
    }

    fn page(&self, owner: OwnerId, after: RowId, rows_max: usize, bytes_max: usize) -> Page {
        let mut page = Page { rows: Vec::new(), is_last: true };
        let Some(state) = self.owners.get(&owner) else { return page };
        let mut bytes = 0;
        for row in state.waiting.range(RowId(after.0.saturating_add(1))..).map(|(_, row)| row) {
            bytes += row.message.size();
            if page.rows.len() >= rows_max || (bytes > bytes_max && !page.rows.is_empty()) {
                page.is_last = false;
                break;
            }
            page.rows.push(row.clone());
        }
        page
    }

    fn recovered(&self) -> Recovered {
        let mut recovered = Recovered { time: self.time, next_owner: self.next_owner, ..Recovered::default() };
        for (owner, state) in &self.owners {
            let waiting = state.summary();
            if let Some(filter) = &state.group {
                recovered.groups.push(RecoveredGroup { owner: *owner, filter: filter.clone(), waiting });
            }
            if let Some(record) = &state.session {
                let subscriptions = state.subscriptions.iter();
                recovered.sessions.push(RecoveredSession {
                    record: record.clone(),
                    subscriptions: subscriptions
                        .map(|(filter, (options, id))| (filter.clone(), *options, *id))
                        .collect(),
                    replays: state.replays.iter().map(|(filter, after)| (filter.clone(), after.clone())).collect(),
                    received: state.received.iter().copied().collect(),
                    sent: state.sent.clone(),
                    waiting,
                });
            }
        }
        recovered.sessions.sort_by_key(|session| session.record.owner);
        recovered.groups.sort_by_key(|group| group.owner);
        recovered.retained = self.retained.values().cloned().collect();
        recovered.retained.sort_by_key(|(row, _)| *row);
        recovered
    }
}

impl Owner {
    fn send(&mut self, (row, packet_id): (RowId, u16), copy: Option<Row>) {
        if let Some(copy) = copy {
            self.sent.push((row, packet_id, Some(copy)));
        } else if let Some((_, id, _)) = self.sent.iter_mut().find(|(sent, ..)| *sent == row) {
            *id = packet_id;
        }
    }

    fn summary(&self) -> Waiting {
        let messages = || self.waiting.values().map(|row| &row.message);
        Waiting {
            rows: self.waiting.len() as u64,
            bytes: messages().map(|message| message.size() as u64).sum(),
            earliest_expiry: messages().map(Message::expires_at).min().filter(|expiry| *expiry != BrokerTime::NEVER),
        }
    }
}

impl MemoryStore {
    /// What a start would find, had the process ended now and this been kept.
    pub fn recovered(&self) -> Recovered {
        self.0.lock().recovered()
    }

    /// What a process that ends now leaves behind; what happens here afterwards does not reach it.
    pub fn image(&self) -> MemoryStore {
        MemoryStore(Mutex::new(self.0.lock().clone()))
    }
}

impl Store for MemoryStore {
    fn append(&self, changes: &[Change], durability: Durability) -> Result<Appended, AppendError> {
        let mut state = self.0.lock();
        let first = RowId(state.last + 1);
        for change in changes {
            state.last += 1;
            let row = RowId(state.last);
            state.apply(row, change);
        }
        Ok(Appended { ticket: Ticket { record: state.last, durability }, first })
    }

    fn poll_safe(&self, _: Ticket, _: &Waker) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn poll_ready(&self, _: &Waker) -> Poll<()> {
        Poll::Ready(())
    }

    fn read_page(&self, owner: OwnerId, after: RowId, rows_max: usize, bytes_max: usize) -> Result<Page, Lost> {
        Ok(self.0.lock().page(owner, after, rows_max, bytes_max))
    }

    fn read_rows(&self, owner: OwnerId, after: RowId, rows_max: usize) -> Result<Vec<WaitingRow>, Lost> {
        let state = self.0.lock();
        let Some(state) = state.owners.get(&owner) else { return Ok(Vec::new()) };
        let rows = state.waiting.range(RowId(after.0.saturating_add(1))..).take(rows_max);
        Ok(rows
            .map(|(row, Row { message, .. })| WaitingRow {
                row: *row,
                bytes: message.size() as u64,
                expires_at: message.expires_at(),
            })
            .collect())
    }

    fn status(&self) -> StoreStatus {
        let state = self.0.lock();
        let rows = state.owners.values().map(|owner| owner.waiting.len() + owner.sent.len()).sum::<usize>();
        StoreStatus {
            health: Health::Good,
            rows: rows as u64,
            retained: state.retained.len() as u64,
            sessions: state.owners.values().filter(|owner| owner.session.is_some()).count() as u64,
            appended: state.last,
            written: state.last,
            synced: state.last,
            ..StoreStatus::default()
        }
    }

    fn close(&self) {}
}
