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

use super::mailbox::{Mailbox, OnQueueFull, SubscriberId};
use super::shared_subscriptions::Group;
use crate::message::SubscriptionIds;
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
    /// Some session always takes a message of QoS 1 or 2, unless that is larger than this.
    pub(super) has_room_for: Option<u64>,
    /// Some session outlives the process.
    pub(super) any_stored: bool,
    /// How many are not expected to take the next run as a whole. A thread's own, atomic as what is shared has to be.
    pub(super) splits: AtomicU64,
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
    /// Since it was empty.
    hits: u32,
    misses: u32,
    /// Of so many topics more only those with wide matches are kept.
    resting: u32,
    /// The last of the others.
    unkept: Arc<Matches>,
    collector: Collector,
}

/// More than this is matched anew: publishers of very many topics gain nothing from a cache. One topic is always kept,
/// however many subscribe to it.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A cache that has become full and had less than one in three that it was asked for rests for so many times what it had
/// not: to keep a topic then costs more than to match it, ...
pub(super) const REST: u32 = 8;
/// ... unless so many sessions get it.
const WIDE: usize = 16;
/// What the collector and the matches that are not kept may keep room for.
const SESSIONS_KEPT: usize = 1024;
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
        (self.hits, self.misses) = (0, 0);
        self.forget_unkept();
    }

    /// Sessions may end that it holds.
    fn forget_unkept(&mut self) {
        if !self.unkept.sessions.is_empty() {
            self.unkept = Arc::default();
        }
    }

    /// Whether matches are not kept just now.
    fn rests(&mut self) -> bool {
        let rests = self.resting > 0;
        self.resting -= u32::from(rests);
        rests
    }

    fn keep(&mut self, topic: &[u8], matches: Matches) -> u32 {
        self.forget_unkept();
        let bytes = CACHED_TOPIC_BYTES + topic.len() + std::mem::size_of_val(&*matches.sessions);
        if self.bytes + bytes > CACHE_BYTES_MAX {
            if self.hits < self.misses / 2 {
                self.resting = self.misses.saturating_mul(REST);
            }
            self.clear();
        }
        self.bytes += bytes;
        let index = self.all.len() as u32;
        self.by_topic.insert(topic.into(), index);
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

    pub(super) fn matches<'c>(&self, topic: &[u8], cache: &'c mut MatchCache) -> &'c Arc<Matches> {
        let generation = self.generation();
        if cache.generation != generation {
            cache.clear();
            cache.generation = generation;
        }
        let known = cache.by_topic.get(topic).copied();
        let rests = cache.rests();
        cache.hits = cache.hits.saturating_add(u32::from(known.is_some() && !rests));
        let index = match known {
            Some(index) => index,
            None => match self.find(topic, rests, cache) {
                Some(index) => index,
                None => return &cache.unkept,
            },
        };
        &cache.all[index as usize]
    }

    /// Finds the matches of a topic that is not in the cache. `None` when they are those that are not kept.
    fn find(&self, topic: &[u8], rests: bool, cache: &mut MatchCache) -> Option<u32> {
        // Whoever asked before may still have the last.
        if Arc::get_mut(&mut cache.unkept).is_none() {
            cache.unkept = Arc::default();
        }
        let matches = Arc::get_mut(&mut cache.unkept)?;
        self.collect(topic, &mut cache.collector, matches);
        if rests && matches.sessions.len() < WIDE {
            return None;
        }
        cache.misses = cache.misses.saturating_add(u32::from(!rests));
        let matches = std::mem::take(matches);
        Some(cache.keep(topic, matches))
    }

    fn collect(&self, topic: &[u8], collector: &mut Collector, into: &mut Matches) {
        // They came from a `&str`.
        let topic = std::str::from_utf8(topic).unwrap_or_default();
        let tree = self.tree.read();
        tree.for_each_match(topic, |entries| {
            collector.filters += 1;
            for (_, target) in entries.iter() {
                collector.take(target);
            }
        });
        drop(tree);
        collector.finish(into);
    }
}

/// Gathers the subscriptions that match, then merges those of one session. Empty in between.
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

    fn finish(&mut self, into: &mut Matches) {
        // One filter matches a session at most once; only several filters can overlap.
        if std::mem::take(&mut self.filters) > 1 {
            self.sessions.sort_by_key(|(mailbox, ..)| mailbox.id());
        }
        into.sessions.clear();
        into.sessions.extend(self.sessions.chunk_by(|a, b| a.0.id() == b.0.id()).map(merge));
        self.sessions.clear();
        self.sessions.shrink_to(SESSIONS_KEPT);
        into.groups.clear();
        into.groups.append(&mut self.groups);
        (into.may_refuse, into.has_room_for, into.any_stored) = (false, None, false);
        *into.splits.get_mut() = 0;
        for found in &into.sessions {
            let limits = found.mailbox.limits();
            into.may_refuse |= limits.on_full == OnQueueFull::Refuse;
            into.any_stored |= found.mailbox.is_stored();
            if found.qos != QoS::AtMostOnce && !found.no_local {
                into.has_room_for = into.has_room_for.max(limits.makes_room_for());
            }
        }
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
