//! Retained messages (section 3.3.1.3): the last message of every topic, its limits and its expiry.
//!
//! A version orders an update against a subscription: the publisher draws it before it looks for matches, the
//! subscriber after its subscription is in the tree. A retained message whose version is later than the subscription's
//! reaches the subscriber as a live message, so the replay leaves it out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::RwLock;

use crate::message::{BrokerTime, Message};
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
}

impl Retained for Kept {
    fn topic(&self) -> &str {
        self.message.topic()
    }
}

pub(super) struct RetainedMessages {
    limits: RetainedLimits,
    versions: AtomicU64,
    inner: RwLock<Inner>,
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
        RetainedMessages { limits, versions: AtomicU64::new(1), inner: RwLock::default() }
    }

    /// For an update: later than every version drawn before.
    pub(super) fn draw_version(&self) -> u64 {
        self.versions.fetch_add(1, SeqCst)
    }

    /// For a subscription that is in the tree by now: updates from here on reach it live.
    pub(super) fn version(&self) -> u64 {
        self.versions.load(SeqCst)
    }

    pub(super) fn has_room(&self, message: &Message) -> bool {
        let inner = self.inner.read();
        let (own, own_bytes) = inner.own;
        let (messages, bytes) = (inner.tree.len() as u64 - own, inner.bytes - own_bytes);
        let (others, other_bytes) = match inner.tree.get(message.topic()) {
            Some(kept) => (messages - 1, bytes - kept.message.size() as u64),
            None => (messages, bytes),
        };
        message.payload().is_empty()
            || (others < self.limits.messages_max && other_bytes + message.size() as u64 <= self.limits.bytes_max)
    }

    /// Replaces what the topic had ([MQTT-3.3.1-5]); an empty payload removes it ([MQTT-3.3.1-6], [MQTT-3.3.1-7]).
    pub(super) fn set(&self, message: &Message, version: u64) {
        let mut inner = self.inner.write();
        if inner.tree.get(message.topic()).is_some_and(|kept| kept.version > version) {
            return;
        }
        inner.remove(message.topic());
        if message.payload().is_empty() {
            return;
        }
        inner.bytes += message.size() as u64;
        if message.is_brokers_own() {
            inner.own = (inner.own.0 + 1, inner.own.1 + message.size() as u64);
        }
        if message.expires_at() != BrokerTime::NEVER {
            inner.expiring.insert((message.expires_at(), version), message.clone());
        }
        inner.tree.insert(Kept { message: message.clone(), version });
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

    /// Removes what has expired; returns how many.
    pub(super) fn sweep(&self, now: BrokerTime) -> u64 {
        if self.inner.read().expiring.first_key_value().is_none_or(|((at, _), _)| *at > now) {
            return 0;
        }
        let mut inner = self.inner.write();
        let mut removed = 0;
        while let Some((&(at, version), message)) = inner.expiring.first_key_value() {
            if at > now {
                break;
            }
            let message = message.clone();
            inner.expiring.remove(&(at, version));
            if inner.tree.get(message.topic()).is_some_and(|kept| kept.version == version) {
                inner.remove(message.topic());
                removed += 1;
            }
        }
        removed
    }

    pub(super) fn remove(&self, topic: &str) -> bool {
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
    fn remove(&mut self, topic: &str) -> bool {
        let Some(kept) = self.tree.remove(topic) else { return false };
        self.bytes -= kept.message.size() as u64;
        if kept.message.is_brokers_own() {
            self.own = (self.own.0 - 1, self.own.1 - kept.message.size() as u64);
        }
        self.expiring.remove(&(kept.message.expires_at(), kept.version));
        true
    }
}
