//! Who gets a message: the subscription tree, and a cache of what a topic matched last time.
//!
//! Overlapping subscriptions of one session become one copy at the highest QoS with all their identifiers
//! ([MQTT-3.3.4-2], [MQTT-3.3.4-4]). The cache is each thread's own and is valid for one generation of the tree: any
//! subscribe or unsubscribe makes it stale.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::RwLock;
use smallvec::SmallVec;

use super::mailbox::{Mailbox, SubscriberId};
use super::shared_subscriptions::Group;
use crate::message::{Message, SubscriptionIds};
use crate::topic::{QoS, SubscribeOptions, SubscriptionTree};

/// A session's subscription to one filter, or a shared group as a whole.
#[derive(Clone)]
pub(super) enum Target {
    Session { mailbox: Arc<Mailbox>, options: SubscribeOptions, id: Option<NonZeroU32> },
    Group(Arc<Group>),
}

/// What a topic matches.
#[derive(Default)]
pub(super) struct Matches {
    pub(super) sessions: Vec<Match>,
    pub(super) groups: Vec<Arc<Group>>,
    /// Some session wants the publisher refused when its queue is full.
    pub(super) may_refuse: bool,
    /// Some session outlives the process.
    pub(super) any_stored: bool,
}

/// One session that gets the message, its overlapping subscriptions merged.
pub(super) struct Match {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) qos: QoS,
    pub(super) retain_as_published: bool,
    pub(super) ids: SubscriptionIds,
    /// What is left for messages that the session published itself: subscriptions without no local.
    pub(super) own: Option<OwnMatch>,
    pub(super) no_local: bool,
}

pub(super) struct OwnMatch {
    pub(super) qos: QoS,
    pub(super) retain_as_published: bool,
    pub(super) ids: SubscriptionIds,
}

/// A thread's matches by topic, for one generation of one tree.
#[derive(Default)]
pub(super) struct MatchCache {
    generation: u64,
    /// Where in `all` they are.
    by_topic: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    all: Vec<Arc<Matches>>,
    /// What the cache holds, roughly.
    bytes: usize,
}

/// More than this is matched anew: publishers of very many topics gain nothing from a cache. One topic is always kept,
/// however many subscribe to it.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a cached topic takes beside its name and its matches.
const CACHED_TOPIC_BYTES: usize = 128;

/// Generations are unique in the process: threads may serve more than one broker.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

impl MatchCache {
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn clear(&mut self) {
        self.by_topic.clear();
        self.all.clear();
        self.bytes = 0;
    }

    fn keep(&mut self, topic: &str, matches: Matches) -> u32 {
        let bytes = CACHED_TOPIC_BYTES + topic.len() + std::mem::size_of_val(&*matches.sessions);
        if self.bytes + bytes > CACHE_BYTES_MAX {
            self.clear();
        }
        self.bytes += bytes;
        let index = self.all.len() as u32;
        self.by_topic.insert(topic.as_bytes().into(), index);
        self.all.push(Arc::new(matches));
        index
    }
}

pub(super) struct Subscriptions {
    tree: RwLock<SubscriptionTree<SubscriberId, Target>>,
    /// Changes after every change of `tree`.
    generation: AtomicU64,
}

impl Subscriptions {
    pub(super) fn new() -> Self {
        Subscriptions {
            tree: RwLock::new(SubscriptionTree::new()),
            generation: AtomicU64::new(GENERATIONS.fetch_add(1, SeqCst)),
        }
    }

    /// True when the subscription replaced one with the same filter ([MQTT-3.8.4-3]).
    pub(super) fn insert(&self, filter: &str, key: SubscriberId, target: Target) -> bool {
        let replaced = self.tree.write().insert(filter, key, target).is_some();
        self.outdate();
        replaced
    }

    pub(super) fn remove(&self, filter: &str, key: SubscriberId) -> bool {
        let removed = self.tree.write().remove(filter, &key).is_some(); // [MQTT-3.10.4-1]
        self.outdate(); // [MQTT-3.10.4-2]
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.tree.read().len()
    }

    fn outdate(&self) {
        self.generation.store(GENERATIONS.fetch_add(1, SeqCst), SeqCst);
    }

    /// What [`Subscriptions::matches`] finds is the same for a topic until this changes.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    pub(super) fn matches<'c>(&self, message: &Message, cache: &'c mut MatchCache) -> &'c Arc<Matches> {
        let generation = self.generation();
        if cache.generation != generation {
            cache.clear();
            cache.generation = generation;
        }
        let index = match cache.by_topic.get(message.topic_bytes()) {
            Some(index) => *index,
            None => cache.keep(message.topic(), self.collect(message.topic())),
        };
        &cache.all[index as usize]
    }

    fn collect(&self, topic: &str) -> Matches {
        let mut collector = Collector::default();
        let tree = self.tree.read();
        tree.for_each_match(topic, |entries| {
            collector.filters += 1;
            for (_, target) in entries.iter() {
                collector.take(target);
            }
        });
        drop(tree);
        collector.finish()
    }
}

/// Gathers the subscriptions that match, then merges those of one session.
#[derive(Default)]
struct Collector {
    filters: usize,
    sessions: Vec<(Arc<Mailbox>, SubscribeOptions, Option<NonZeroU32>)>,
    groups: Vec<Arc<Group>>,
}

impl Collector {
    fn take(&mut self, target: &Target) {
        match target {
            Target::Session { mailbox, options, id } => self.sessions.push((Arc::clone(mailbox), *options, *id)),
            Target::Group(group) => self.groups.push(Arc::clone(group)),
        }
    }

    fn finish(mut self) -> Matches {
        // One filter matches a session at most once; only several filters can overlap.
        if self.filters > 1 {
            self.sessions.sort_by_key(|(mailbox, ..)| mailbox.id());
        }
        let sessions: Vec<Match> = self.sessions.chunk_by(|a, b| a.0.id() == b.0.id()).map(merge).collect();
        let may_refuse = sessions.iter().any(|found| found.mailbox.refuses_when_full());
        let any_stored = sessions.iter().any(|found| found.mailbox.is_stored());
        Matches { sessions, groups: self.groups, may_refuse, any_stored }
    }
}

fn merge(overlapping: &[(Arc<Mailbox>, SubscribeOptions, Option<NonZeroU32>)]) -> Match {
    let all = merge_options(overlapping.iter());
    let no_local = overlapping.iter().any(|(_, options, _)| options.no_local);
    let own = no_local
        .then(|| overlapping.iter().filter(|(_, options, _)| !options.no_local))
        .filter(|rest| rest.clone().next().is_some())
        .map(merge_options);
    Match {
        mailbox: Arc::clone(&overlapping[0].0),
        qos: all.qos,
        retain_as_published: all.retain_as_published,
        ids: all.ids,
        own,
        no_local,
    }
}

fn merge_options<'a>(
    subscriptions: impl Iterator<Item = &'a (Arc<Mailbox>, SubscribeOptions, Option<NonZeroU32>)>,
) -> OwnMatch {
    let mut merged = OwnMatch { qos: QoS::AtMostOnce, retain_as_published: false, ids: SubscriptionIds::None };
    let mut ids: SmallVec<[u32; 8]> = SmallVec::new();
    for (_, options, id) in subscriptions {
        merged.qos = merged.qos.max(options.qos); // [MQTT-3.3.4-2]
        merged.retain_as_published |= options.retain_as_published;
        ids.extend(id.map(NonZeroU32::get)); // [MQTT-3.3.4-3], [MQTT-3.3.4-4]
    }
    merged.ids = SubscriptionIds::from_slice(&ids);
    merged
}
