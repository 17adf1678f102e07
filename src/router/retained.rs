//! Retained messages (section 3.3.1.3): the last message of every topic, its limits and its expiry.
//!
//! Updates of one topic follow each other, so that the message every subscriber gets last is the one that is retained. A
//! subscription enters the tree between updates and takes the version of that moment: what is retained from a later
//! version on reaches it live and is left out of its replay; what is earlier does not, and is replayed. Nothing is lost
//! between the two, and nothing comes twice.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::batch::Batch;
use crate::message::{BrokerTime, Message, RowId};
use crate::topic::{PageEnd, Retained, RetainedTree};

/// How much is retained; a message beyond it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedLimits {
    pub messages_max: u64,
    pub bytes_max: u64,
}

struct Kept {
    message: Message,
    version: u64,
    /// Where it is stored, if it is.
    row: RowId,
}

impl Retained for Kept {
    fn topic(&self) -> &str {
        self.message.topic()
    }

    fn topic_bytes(&self) -> &[u8] {
        self.message.topic_bytes()
    }
}

pub(super) struct RetainedMessages {
    limits: RetainedLimits,
    /// The version of the next update; drawn under its topic's lock.
    versions: AtomicU64,
    /// Shared by updates, from before they look for subscribers until they are retained; exclusive for a subscription
    /// while it enters the tree.
    updates: RwLock<()>,
    /// One update of a topic at a time; topics share a lock by their hash.
    topics: [Mutex<()>; TOPIC_LOCKS],
    topic_hash: foldhash::fast::RandomState,
    inner: RwLock<Inner>,
}

/// Enough that updates of different topics rarely meet.
const TOPIC_LOCKS: usize = 64;

/// An update that is under way: nobody else updates its topic, and no subscription begins.
pub(super) struct Update<'a> {
    version: u64,
    former: Option<Former>,
    _topic: MutexGuard<'a, ()>,
    _updates: RwLockReadGuard<'a, ()>,
}

/// What the topic had before; it may have expired meanwhile.
struct Former {
    size: u64,
    row: RowId,
}

impl Update<'_> {
    /// Where the former message of the topic is stored, if it is.
    pub(super) fn former_row(&self) -> Option<RowId> {
        self.former.as_ref().map(|former| former.row).filter(|row| row.is_stored())
    }
}

#[derive(Default)]
struct Inner {
    tree: RetainedTree<Kept>,
    bytes: u64,
    /// Of the above, messages and bytes of the broker's own: the limits are not for them.
    own: (u64, u64),
    /// Those with a Message Expiry Interval, soonest first.
    expiring: BTreeMap<(BrokerTime, u64), Message>,
}

impl RetainedMessages {
    pub(super) fn new(limits: RetainedLimits) -> Self {
        RetainedMessages {
            limits,
            versions: AtomicU64::new(1),
            updates: RwLock::default(),
            topics: std::array::from_fn(|_| Mutex::default()),
            topic_hash: foldhash::fast::RandomState::default(),
            inner: RwLock::default(),
        }
    }

    /// Before a retained message is given to subscribers.
    pub(super) fn begin(&self, topic: &str) -> Update<'_> {
        let updates = self.updates.read();
        let index = self.topic_hash.hash_one(topic) as usize % TOPIC_LOCKS;
        let alone = self.topics[index].lock();
        let former = |kept: &Kept| Former { size: kept.message.size() as u64, row: kept.row };
        let former = self.inner.read().tree.get(topic).map(former);
        Update { version: self.versions.fetch_add(1, SeqCst), former, _topic: alone, _updates: updates }
    }

    /// Makes a subscription while no update is under way: updates from the returned version on reach it live.
    pub(super) fn between_updates<R>(&self, subscribe: impl FnOnce() -> R) -> (R, u64) {
        let _alone = self.updates.write();
        (subscribe(), self.versions.load(SeqCst))
    }

    /// Updates at the same moment may pass the limits by one message each.
    pub(super) fn has_room(&self, message: &Message, update: &Update<'_>) -> bool {
        let inner = self.inner.read();
        let (own, own_bytes) = inner.own;
        let (messages, bytes) = (inner.tree.len() as u64 - own, inner.bytes - own_bytes);
        let (goes, bytes_go) = update.former.as_ref().map_or((0, 0), |former| (1, former.size));
        let (others, other_bytes) = (messages.saturating_sub(goes), bytes.saturating_sub(bytes_go));
        message.payload().is_empty()
            || (others < self.limits.messages_max && other_bytes + message.size() as u64 <= self.limits.bytes_max)
    }

    /// Replaces what the topic had ([MQTT-3.3.1-5]), whose row it returns; an empty payload removes it ([MQTT-3.3.1-6],
    /// [MQTT-3.3.1-7]). `row`: where the message is stored.
    pub(super) fn set(&self, message: &Message, row: RowId, update: &Update<'_>) -> RowId {
        let mut inner = self.inner.write();
        let replaced = if message.payload().is_empty() {
            inner.remove(message.topic())
        } else {
            inner.insert(Kept { message: message.clone(), version: update.version, row })
        };
        replaced.unwrap_or_default()
    }

    pub(super) fn get(&self, topic: &str) -> Option<Message> {
        self.inner.read().tree.get(topic).map(|kept| kept.message.clone())
    }

    /// The message of a topic is stored elsewhere now.
    pub(super) fn moved(&self, topic: &str, row: RowId) {
        let mut inner = self.inner.write();
        if let Some(kept) = inner.tree.remove(topic) {
            inner.tree.insert(Kept { row, ..kept });
        }
    }

    /// Gives matches in topic order after `after`, a bounded number of them; those later than `version` are left out.
    pub(super) fn page(
        &self,
        filter: &str,
        after: Option<&str>,
        limit: usize,
        (version, now): (u64, BrokerTime),
        mut give: impl FnMut(&Message),
    ) -> PageEnd {
        self.inner.read().tree.page(filter, after, limit, |kept| {
            if kept.version < version && !kept.message.is_expired(now) {
                give(&kept.message);
            }
        })
    }

    /// Removes what has expired.
    pub(super) fn sweep(&self, batch: &mut Batch) {
        let now = batch.now;
        if self.inner.read().expiring.first_key_value().is_none_or(|((at, _), _)| *at > now) {
            return;
        }
        let mut inner = self.inner.write();
        while let Some((&(at, version), message)) = inner.expiring.first_key_value() {
            if at > now {
                break;
            }
            let message = message.clone();
            inner.expiring.remove(&(at, version));
            if inner.tree.get(message.topic()).is_some_and(|kept| kept.version == version) {
                let row = inner.remove(message.topic()).unwrap_or_default();
                if row.is_stored() {
                    batch.unretained.push((message.topic().into(), row));
                }
                batch.counts.retained_expired += 1;
            }
        }
    }

    /// The row of what was removed.
    pub(super) fn remove(&self, topic: &str) -> Option<RowId> {
        self.inner.write().remove(topic)
    }

    pub(super) fn len(&self) -> usize {
        self.inner.read().tree.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.inner.read().bytes
    }
}

impl Inner {
    /// The row of what it replaces.
    fn insert(&mut self, kept: Kept) -> Option<RowId> {
        let Kept { message, version, .. } = &kept;
        self.bytes += message.size() as u64;
        if message.is_brokers_own() {
            self.own = (self.own.0 + 1, self.own.1 + message.size() as u64);
        }
        if message.expires_at() != BrokerTime::NEVER {
            self.expiring.insert((message.expires_at(), *version), message.clone());
        }
        let replaced = self.tree.insert(kept)?;
        Some(self.forget(&replaced))
    }

    fn remove(&mut self, topic: &str) -> Option<RowId> {
        let removed = self.tree.remove(topic)?;
        Some(self.forget(&removed))
    }

    /// The row of what is no longer in the tree.
    fn forget(&mut self, kept: &Kept) -> RowId {
        self.bytes -= kept.message.size() as u64;
        if kept.message.is_brokers_own() {
            self.own = (self.own.0 - 1, self.own.1 - kept.message.size() as u64);
        }
        if kept.message.expires_at() != BrokerTime::NEVER {
            self.expiring.remove(&(kept.message.expires_at(), kept.version));
        }
        kept.row
    }
}
