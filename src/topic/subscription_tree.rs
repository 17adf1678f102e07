//! The subscription tree: which subscriptions a published topic reaches.
//!
//! A node stands for one or more levels that no filter parts from in between; the tree therefore takes memory in
//! proportion to the bytes of its filters, however many levels they have. The literal children of all nodes live in one
//! hash table, keyed by parent and first level, so that a node needs no map of its own; `+` has a field, and the
//! subscribers of `a/#` are kept at `a`, which they match, too.
//!
//! ```text
//!   filters          nodes
//!   a/b/c            root ── "a" ──┬── "b/c"      {a/b/c}
//!   a/+/d                    {a/#} └── "+/d"      {a/+/d}
//!   a/#
//! ```
//!
//! A match walks the topic level by level and keeps the set of places it has reached in the tree; from each it goes to
//! at most two of the next level. Filters that depart from the topic are not looked at any more, however many there are.
//! Filters and topics are chosen by strangers: nothing here recurses, and the seed of the hash is random.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use smallvec::{SmallVec, smallvec};

use super::arena::{Arena, Id};
use super::entries::Entries;
use super::id_table::IdTable;
use super::levels::{Levels, common_levels, level_end};

/// Subscriptions by topic filter. `K` says who subscribed, `T` is what a match needs to know about the subscription.
pub struct SubscriptionTree<K, T> {
    nodes: Arena<Node<K, T>>,
    root: NodeId<K, T>,
    /// The children of all nodes whose first level is not `+`.
    literals: IdTable<Node<K, T>>,
    entries: Arena<Entries<K, T>>,
    hasher: RandomState,
    /// Pairs of filter and key.
    len: usize,
}

struct Node<K, T> {
    /// `None` for the root alone.
    parent: Option<NodeId<K, T>>,
    /// From below the parent to where filters part or end; nothing for the root.
    levels: Levels,
    /// How many children the table of literals holds.
    literals: u32,
    /// The child whose first level is `+`.
    plus: Option<NodeId<K, T>>,
    /// The subscribers of the filter that ends here.
    exact: Option<EntriesId<K, T>>,
    /// The subscribers of the filter that has `/#` behind this and ends.
    multi: Option<EntriesId<K, T>>,
}

type NodeId<K, T> = Id<Node<K, T>>;
type EntriesId<K, T> = Id<Entries<K, T>>;

/// A place that the levels of a topic seen so far have led to.
struct Reached<K, T> {
    node: NodeId<K, T>,
    /// Where the next level starts in the text of the node; one past its end when all of it is matched.
    next: usize,
}

impl<K, T> Reached<K, T> {
    fn is_at_end_of(&self, node: &Node<K, T>) -> bool {
        self.next > node.levels.as_bytes().len()
    }

    /// The place behind the next level within the node, if that is `level` or stands for it.
    fn follow(self, node: &Node<K, T>, level: &str) -> Option<Self> {
        let text = node.levels.as_bytes();
        let end = level_end(text, self.next);
        let wanted = &text[self.next..end];
        (wanted == b"+" || wanted == level.as_bytes()).then_some(Reached { next: end + 1, ..self })
    }
}

/// Ordinary topics lead to few places at a time.
type Frontier<K, T> = SmallVec<[Reached<K, T>; 8]>;

impl<K, T> Node<K, T> {
    fn new(parent: Option<NodeId<K, T>>, levels: &str) -> Self {
        Node { parent, levels: Levels::new(levels), literals: 0, plus: None, exact: None, multi: None }
    }

    fn place(&mut self, end: End) -> &mut Option<EntriesId<K, T>> {
        match end {
            End::Exact => &mut self.exact,
            End::Multi => &mut self.multi,
        }
    }

    fn is_bare(&self) -> bool {
        self.literals == 0 && self.plus.is_none() && self.exact.is_none() && self.multi.is_none()
    }
}

/// How a filter ends.
#[derive(Clone, Copy)]
enum End {
    Exact,
    Multi,
}

/// The levels of a filter that have nodes, none for `#` alone, and what comes behind them.
fn take_apart(filter: &str) -> (Option<&str>, End) {
    match filter.strip_suffix("/#") {
        Some(levels) => (Some(levels), End::Multi),
        None if filter == "#" => (None, End::Multi),
        None => (Some(filter), End::Exact),
    }
}

impl<K, T> Default for SubscriptionTree<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T> SubscriptionTree<K, T> {
    pub fn new() -> Self {
        Self::with_hasher(RandomState::default())
    }

    fn with_hasher(hasher: RandomState) -> Self {
        let mut nodes = Arena::new();
        let root = nodes.insert(Node::new(None, ""));
        SubscriptionTree { nodes, root, literals: IdTable::new(), entries: Arena::new(), hasher, len: 0 }
    }

    /// How many pairs of filter and key there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many different filters there are.
    pub fn filters_len(&self) -> usize {
        self.entries.len()
    }

    /// Calls `f` once for each filter that matches `topic` with its subscribers, in no particular order.
    pub fn for_each_match(&self, topic: &str, mut f: impl FnMut(&Entries<K, T>)) {
        let mut reached: Frontier<K, T> = smallvec![Reached { node: self.root, next: 1 }];
        let mut next: Frontier<K, T> = SmallVec::new();
        let mut wildcards = !topic.starts_with('$'); // [MQTT-4.7.2-1]
        for level in topic.split('/') {
            let level_hash = self.hasher.hash_one(level.as_bytes());
            for at in reached.drain(..) {
                let node = &self.nodes[at.node];
                if !at.is_at_end_of(node) {
                    next.extend(at.follow(node, level));
                    continue;
                }
                if wildcards {
                    self.visit(node.multi, &mut f);
                    next.extend(node.plus.map(|plus| Reached { node: plus, next: 2 }));
                }
                if node.literals > 0 {
                    let child = self.literal_child(at.node, level, level_hash);
                    next.extend(child.map(|child| Reached { node: child, next: level.len() + 1 }));
                }
            }
            wildcards = true;
            std::mem::swap(&mut reached, &mut next);
            if reached.is_empty() {
                return;
            }
        }
        for at in reached {
            let node = &self.nodes[at.node];
            if at.is_at_end_of(node) {
                self.visit(node.multi, &mut f);
                self.visit(node.exact, &mut f);
            }
        }
    }

    /// Calls `f` with every subscription there is, in no particular order.
    pub fn for_each(&self, mut f: impl FnMut(&str, &K, &T)) {
        let mut filter = String::new();
        for node in self.nodes.values() {
            for (place, end) in [(node.exact, End::Exact), (node.multi, End::Multi)] {
                let Some(id) = place else { continue };
                self.write_filter(node, end, &mut filter);
                self.entries[id].iter().for_each(|(key, value)| f(&filter, key, value));
            }
        }
    }

    /// What the tree takes on the heap, reckoned from the capacity of its parts.
    pub fn memory_bytes(&self) -> usize {
        let texts: usize = self.nodes.values().map(|node| node.levels.memory_bytes()).sum();
        let entries: usize = self.entries.values().map(Entries::memory_bytes).sum();
        self.nodes.memory_bytes() + self.literals.memory_bytes() + self.entries.memory_bytes() + texts + entries
    }

    fn visit(&self, place: Option<EntriesId<K, T>>, f: &mut impl FnMut(&Entries<K, T>)) {
        if let Some(id) = place {
            f(&self.entries[id]);
        }
    }

    fn write_filter(&self, node: &Node<K, T>, end: End, filter: &mut String) {
        let mut stretches: SmallVec<[&str; 16]> = SmallVec::new();
        if matches!(end, End::Multi) {
            stretches.push("#");
        }
        let mut at = node;
        while let Some(parent) = at.parent {
            stretches.push(at.levels.as_str());
            at = &self.nodes[parent];
        }
        filter.clear();
        for stretch in stretches.iter().rev() {
            filter.push_str(stretch);
            filter.push('/');
        }
        filter.pop();
    }

    fn literal_child(&self, parent: NodeId<K, T>, level: &str, level_hash: u64) -> Option<NodeId<K, T>> {
        let is_wanted = |&id: &NodeId<K, T>| {
            let node = &self.nodes[id];
            node.parent == Some(parent) && node.levels.starts_with(level.as_bytes())
        };
        self.literals.find(hash_child(&self.hasher, parent, level_hash), is_wanted)
    }

    /// The child that starts with the first level of `levels`.
    fn child(&self, parent: NodeId<K, T>, levels: &str) -> Option<NodeId<K, T>> {
        match &levels[..level_end(levels.as_bytes(), 0)] {
            "+" => self.nodes[parent].plus,
            level => self.literal_child(parent, level, self.hasher.hash_one(level.as_bytes())),
        }
    }

    /// The node at which a filter with these levels ends.
    fn find(&self, levels: Option<&str>) -> Option<NodeId<K, T>> {
        let mut at = self.root;
        let mut rest = levels;
        while let Some(levels) = rest {
            at = self.child(at, levels)?;
            let behind = levels.strip_prefix(self.nodes[at].levels.as_str())?;
            rest = if behind.is_empty() { None } else { Some(behind.strip_prefix('/')?) };
        }
        Some(at)
    }
}

impl<K: Copy + Eq + Hash, T> SubscriptionTree<K, T> {
    /// Subscribes `key` to `filter`; returns the former value if it was subscribed already.
    ///
    /// A `filter` that is not well formed matches no topic, but can be removed again.
    pub fn insert(&mut self, filter: &str, key: K, value: T) -> Option<T> {
        let (levels, end) = take_apart(filter);
        let at = self.find_or_grow(levels);
        let place = self.nodes[at].place(end);
        let former = match *place {
            Some(id) => self.entries[id].insert(key, value),
            None => {
                *place = Some(self.entries.insert(Entries::one(key, value)));
                None
            }
        };
        self.len += usize::from(former.is_none());
        former
    }

    /// Ends the subscription of `key` to `filter`; returns its value if there was one.
    pub fn remove(&mut self, filter: &str, key: &K) -> Option<T> {
        let (levels, end) = take_apart(filter);
        let at = self.find(levels)?;
        let place = self.nodes[at].place(end);
        let id = (*place)?;
        let value = self.entries[id].remove(key)?;
        self.len -= 1;
        if self.entries[id].is_empty() {
            *place = None;
            self.entries.remove(id);
            self.prune(at);
        }
        Some(value)
    }

    pub fn get(&self, filter: &str, key: &K) -> Option<&T> {
        let (levels, end) = take_apart(filter);
        let node = &self.nodes[self.find(levels)?];
        let id = match end {
            End::Exact => node.exact,
            End::Multi => node.multi,
        };
        self.entries[id?].get(key)
    }

    /// The node at which a filter with these levels ends, made if need be: at most a leaf, and a node where it parts
    /// from the filters that are there.
    fn find_or_grow(&mut self, levels: Option<&str>) -> NodeId<K, T> {
        let mut at = self.root;
        let mut rest = levels;
        while let Some(levels) = rest {
            let Some(child) = self.child(at, levels) else {
                let leaf = self.nodes.insert(Node::new(Some(at), levels));
                self.link(at, leaf);
                return leaf;
            };
            let own = self.nodes[child].levels.as_str();
            let common = common_levels(own, levels);
            at = if common < own.len() { self.split(child, common) } else { child };
            rest = levels.get(common + 1..); // none when nothing is left, not even an empty level
        }
        at
    }

    /// Puts a node for the first `length` bytes of a node's levels in its place and the node below it, where it keeps
    /// its number, and so its children.
    fn split(&mut self, lower: NodeId<K, T>, length: usize) -> NodeId<K, T> {
        let parent = self.nodes[lower].parent.expect("the root has no levels to split");
        self.unlink(parent, lower);
        let text = self.nodes[lower].levels.as_str();
        let upper_node = Node::new(Some(parent), &text[..length]);
        let levels = Levels::new(&text[length + 1..]);
        let upper = self.nodes.insert(upper_node);
        self.link(parent, upper);
        self.nodes[lower].levels = levels;
        self.nodes[lower].parent = Some(upper);
        self.link(upper, lower);
        upper
    }

    /// Makes a node known to its parent.
    fn link(&mut self, parent: NodeId<K, T>, child: NodeId<K, T>) {
        if self.nodes[child].levels.first() == b"+" {
            self.nodes[parent].plus = Some(child);
            return;
        }
        let hash = hash_node(&self.hasher, &self.nodes[child]);
        self.literals.insert(hash, child, |&id| hash_node(&self.hasher, &self.nodes[id]));
        self.nodes[parent].literals += 1;
    }

    /// Makes the parent forget a node.
    fn unlink(&mut self, parent: NodeId<K, T>, child: NodeId<K, T>) {
        if self.nodes[parent].plus == Some(child) {
            self.nodes[parent].plus = None;
            return;
        }
        let hash = hash_node(&self.hasher, &self.nodes[child]);
        if self.literals.remove(hash, child) {
            self.nodes[parent].literals -= 1;
        }
    }

    /// Takes away the node and then its ancestors, up to the first that is still of use. A node that is left with one
    /// child is not joined with it: it goes when that child does.
    fn prune(&mut self, mut at: NodeId<K, T>) {
        while self.nodes[at].is_bare()
            && let Some(parent) = self.nodes[at].parent
        {
            self.unlink(parent, at);
            self.nodes.remove(at);
            at = parent;
        }
        if self.len == 0 {
            *self = Self::with_hasher(self.hasher.clone()); // gives back the memory of the busiest time
        }
    }
}

/// A level of a topic is hashed once, however many nodes it is looked up below.
fn hash_child<K, T>(hasher: &RandomState, parent: NodeId<K, T>, level_hash: u64) -> u64 {
    hasher.hash_one((parent.number(), level_hash))
}

fn hash_node<K, T>(hasher: &RandomState, node: &Node<K, T>) -> u64 {
    let level_hash = hasher.hash_one(node.levels.first());
    node.parent.map_or(0, |parent| hash_child(hasher, parent, level_hash))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any};
    use proptest::sample::Index;
    use proptest::{prop_assert_eq, proptest};

    use super::*;
    use crate::topic::reference;

    type Tree = SubscriptionTree<u8, u32>;
    type Model = BTreeMap<(String, u8), u32>;
    const NOBODY: [usize; 0] = [];

    fn tree(filters: &[&str]) -> SubscriptionTree<usize, ()> {
        let mut tree = SubscriptionTree::new();
        for (key, filter) in filters.iter().enumerate() {
            assert_eq!(tree.insert(filter, key, ()), None);
        }
        tree
    }

    fn matches<K: Copy + Ord, T: Copy + Ord>(tree: &SubscriptionTree<K, T>, topic: &str) -> Vec<(K, T)> {
        let mut found = Vec::new();
        tree.for_each_match(topic, |entries| found.extend(entries.iter().map(|(key, value)| (*key, *value))));
        found.sort_unstable();
        found
    }

    fn keys(tree: &SubscriptionTree<usize, ()>, topic: &str) -> Vec<usize> {
        matches(tree, topic).into_iter().map(|(key, ())| key).collect()
    }

    // [MQTT-4.7.1-1] [MQTT-4.7.1-2]
    #[test]
    fn every_matching_filter_is_found_and_no_other() {
        let tree = tree(&["a/b/c", "a/+/c", "a/#", "#", "+/b/+", "a/b", "a/b/c/#", "a/b/c/+", "b/#", "+", "a/b/c/d"]);
        assert_eq!(keys(&tree, "a/b/c"), [0, 1, 2, 3, 4, 6]);
        assert_eq!(keys(&tree, "a"), [2, 3, 9]);
        assert_eq!(keys(&tree, "a/b/c/"), [2, 3, 6, 7]);
        assert_eq!(keys(&tree, "x/y/z"), [3]);
    }

    // [MQTT-4.7.2-1]
    #[test]
    fn topics_that_begin_with_a_dollar_are_hidden_from_leading_wildcards_only() {
        let tree = tree(&["#", "+", "+/#", "+/broker", "$SYS/#", "$SYS/+", "$SYS/broker", "a/#", "a/+"]);
        assert_eq!(keys(&tree, "$SYS/broker"), [4, 5, 6]);
        assert_eq!(keys(&tree, "$SYS"), [4]);
        assert_eq!(keys(&tree, "$"), NOBODY);
        assert_eq!(keys(&tree, "a/$SYS"), [0, 2, 7, 8]);
    }

    // [MQTT-4.7.3-4]
    #[test]
    fn levels_are_compared_byte_by_byte_and_empty_ones_count() {
        let tree = tree(&["a//b", "a/b", "a/b/", "/a/b", "caf\u{e9}", "cafe\u{301}", "+/b", "/+/b"]);
        assert_eq!(keys(&tree, "a//b"), [0]);
        assert_eq!(keys(&tree, "a/b"), [1, 6]);
        assert_eq!(keys(&tree, "a/b/"), [2]);
        assert_eq!(keys(&tree, "/a/b"), [3, 7]);
        assert_eq!(keys(&tree, "caf\u{e9}"), [4]);
    }

    #[test]
    fn a_filter_with_many_subscribers_is_visited_once() {
        let mut tree = SubscriptionTree::new();
        for key in 0..1000_u64 {
            tree.insert("a/#", key, key * 2);
        }
        let mut visits = Vec::new();
        tree.for_each_match("a/b", |entries| visits.push(entries.len()));
        assert_eq!(visits, [1000]);
        assert_eq!((tree.len(), tree.filters_len()), (1000, 1));
        assert_eq!(tree.get("a/#", &700), Some(&1400));
        assert_eq!(tree.get("a", &700), None);
        assert_eq!(tree.get("a/#/b", &700), None);
    }

    #[test]
    fn subscribing_again_replaces_the_value() {
        let mut tree = SubscriptionTree::new();
        assert_eq!(tree.insert("a/+", 1_u8, "old"), None);
        assert_eq!(tree.insert("a/+", 1, "new"), Some("old"));
        assert_eq!((tree.len(), tree.filters_len()), (1, 1));
        assert_eq!(matches(&tree, "a/b"), [(1, "new")]);
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut tree = tree(&["a/b/c", "a/#"]);
        for filter in ["a", "a/b", "a/+", "#", "a/b/c/#", "a/b/c/d", "x", "a/b/"] {
            assert_eq!(tree.remove(filter, &0), None, "{filter}");
        }
        assert_eq!(tree.remove("a/b/c", &1), None);
        assert_eq!((tree.len(), tree.filters_len()), (2, 2));
    }

    #[test]
    fn nodes_go_when_no_filter_needs_them_and_stay_while_one_does() {
        let mut tree = tree(&["a/b/c/d", "a/b", "a/+/c/#", "a/#"]);
        assert_eq!(tree.nodes.len(), 5); // root, a, b, c/d, +/c
        tree.remove("a/b/c/d", &0);
        assert_eq!(tree.nodes.len(), 4);
        tree.remove("a/+/c/#", &2);
        assert_eq!(tree.nodes.len(), 3);
        tree.remove("a/b", &1);
        assert_eq!(tree.nodes.len(), 2);
        assert_eq!(keys(&tree, "a/b"), [3]);
        tree.remove("a/#", &3);
        assert_eq!((tree.nodes.len(), tree.literals.len(), tree.entries.len()), (1, 0, 0));
        assert!(tree.is_empty());
    }

    #[test]
    fn a_filter_that_is_not_well_formed_matches_nothing_and_can_be_removed() {
        let mut tree = tree(&["a/#/b", "a#", "+a", "#/", ""]);
        for topic in ["a", "a/b", "a/x/b", "xa", "x/"] {
            assert_eq!(keys(&tree, topic), NOBODY, "{topic}");
        }
        for (key, filter) in ["a/#/b", "a#", "+a", "#/", ""].iter().enumerate() {
            assert_eq!(tree.remove(filter, &key), Some(()), "{filter}");
        }
        assert!(tree.is_empty());
    }

    #[test]
    fn memory_grows_with_the_bytes_of_the_filters_and_not_with_their_levels() {
        let mut tree = SubscriptionTree::new();
        let mut filter_bytes = 0;
        for n in 0..64_u64 {
            let filter = "/".repeat(1000 * n as usize) + "x/" + &"/".repeat(65_000 - 1000 * n as usize);
            tree.insert(&filter, n, n);
            filter_bytes += filter.len();
        }
        assert_eq!(tree.nodes.len(), 1 + 64 + 62);
        assert!(tree.memory_bytes() < filter_bytes + 64 * 1024, "{} for {filter_bytes}", tree.memory_bytes());
    }

    // The stack of a test thread holds two megabytes: recursion by level would end here.
    #[test]
    fn filters_and_topics_of_65535_bytes_and_as_many_levels_come_and_go() {
        let slashes = "/".repeat(65_535);
        let pluses = "+/".repeat(30_000) + "#";
        let long_level = "x".repeat(65_533) + "/#";
        let mut tree = tree(&[&slashes, &pluses, &long_level]);
        assert_eq!(keys(&tree, &slashes), [0, 1]);
        assert_eq!(keys(&tree, &slashes[..30_000]), [1]);
        assert_eq!(keys(&tree, &slashes[..29_999]), [1]);
        assert_eq!(keys(&tree, &slashes[..29_998]), NOBODY);
        assert_eq!(keys(&tree, &long_level[..65_533]), [2]);
        let mut seen = BTreeSet::new();
        tree.for_each(|filter, &key, ()| assert!(seen.insert((key, filter.to_owned()))));
        assert_eq!(seen, BTreeSet::from([(0, slashes.clone()), (1, pluses.clone()), (2, long_level.clone())]));
        for (key, filter) in [&slashes, &pluses, &long_level].into_iter().enumerate() {
            assert_eq!(tree.remove(filter, &key), Some(()));
        }
        assert_eq!(tree.nodes.len(), 1);
    }

    #[test]
    fn a_topic_of_a_million_levels_is_walked_once() {
        let slashes = "/".repeat(1_000_000);
        let mut tree = tree(&[&slashes, &("+/".repeat(1_000_000) + "#"), "/#"]);
        assert_eq!(keys(&tree, &slashes), [0, 1, 2]);
        assert_eq!(tree.remove(&slashes, &0), Some(()));
        assert_eq!(keys(&tree, &slashes), [1, 2]);
    }

    // The worst case of matching: as many nodes are reached as there are filters, and every one of them matches.
    #[test]
    fn a_topic_that_matches_every_mix_of_wildcards_visits_each_filter_once() {
        let mut tree = SubscriptionTree::new();
        for mix in 0..1_u32 << 12 {
            let levels: Vec<&str> = (0..12).map(|bit| if mix >> bit & 1 == 1 { "+" } else { "a" }).collect();
            tree.insert(&levels.join("/"), mix, ());
        }
        assert_eq!(matches(&tree, &["a"; 12].join("/")).len(), 1 << 12);
        assert_eq!(matches(&tree, &["b"; 12].join("/")), [((1 << 12) - 1, ())]);
    }

    #[test]
    fn a_node_takes_48_bytes_and_a_subscription_to_a_filter_of_its_own_at_most_200() {
        assert_eq!(size_of::<Node<u64, [u64; 2]>>(), 48);
        let mut tree = SubscriptionTree::<u64, [u64; 2]>::new();
        let filters = 1 << 14; // what is left of the growth of vectors would blur a smaller number
        for device in 0..filters {
            tree.insert(&format!("site{}/device{device}/+/temperature", device % 100), device, [0; 2]);
        }
        let bytes = tree.memory_bytes() / tree.len();
        assert!(bytes <= 200, "{bytes} bytes a subscription");
    }

    fn operations() -> impl Strategy<Value = Vec<(bool, Index, u8, u32)>> {
        vec((proptest::bool::weighted(0.6), any::<Index>(), 0..14_u8, any::<u32>()), 1..250)
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_a_list_of_subscriptions(
            filters in vec(reference::filter(), 1..40),
            topics in vec(reference::topic(), 20),
        ) {
            let mut tree = SubscriptionTree::new();
            for (key, filter) in filters.iter().enumerate() {
                tree.insert(filter, key, ());
            }
            for topic in &topics {
                let expected: Vec<_> = (0..filters.len()).filter(|&key| reference::matches(&filters[key], topic)).collect();
                prop_assert_eq!(keys(&tree, topic), expected, "{}", topic);
            }
        }

        #[test]
        fn any_coming_and_going_leaves_what_a_plain_map_would(
            filters in vec(reference::filter(), 1..12),
            operations in operations(),
            topics in vec(reference::topic(), 10),
        ) {
            let (mut tree, mut model) = (Tree::new(), Model::new());
            for (insert, filter, key, value) in operations {
                let filter = filter.get(&filters);
                let place = (filter.clone(), key);
                prop_assert_eq!(tree.get(filter, &key), model.get(&place));
                if insert {
                    prop_assert_eq!(tree.insert(filter, key, value), model.insert(place, value));
                } else {
                    prop_assert_eq!(tree.remove(filter, &key), model.remove(&place));
                }
                prop_assert_eq!(tree.len(), model.len());
                prop_assert_eq!(tree.is_empty(), model.is_empty());
            }
            let different: BTreeSet<_> = model.keys().map(|(filter, _)| filter).collect();
            prop_assert_eq!(tree.filters_len(), different.len());
            let mut listed = Model::new();
            tree.for_each(|filter, &key, &value| assert_eq!(listed.insert((filter.to_owned(), key), value), None));
            prop_assert_eq!(&listed, &model);
            for topic in &topics {
                let reached = model.iter().filter(|((filter, _), _)| reference::matches(filter, topic));
                let mut expected: Vec<_> = reached.map(|((_, key), value)| (*key, *value)).collect();
                expected.sort_unstable();
                prop_assert_eq!(matches(&tree, topic), expected, "{}", topic);
            }
            tree.insert("last", 0, 0); // an empty tree would start anew
            for ((filter, key), value) in model {
                prop_assert_eq!(tree.remove(&filter, &key), Some(value));
            }
            prop_assert_eq!((tree.nodes.len(), tree.literals.len(), tree.entries.len()), (2, 1, 1));
        }
    }
}
