//! The retained tree: which retained messages a filter reaches, the subscription tree's question turned round.
//!
//! All topics stand in one ordered set. A filter's matches are read in topic order by pages, so that a subscription to
//! `#` of a million retained messages is a million small steps and never one large one; between two pages the set may
//! change. Where a topic cannot match, the scan seeks to the smallest topic that can: for `a/+/c` it jumps from one
//! second level to the next and never walks through what lies below. Never in here: how much may be retained, expiry.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use super::matching::starts_with_wildcard;

/// Topics that a page looks at for each match it may visit.
const TOPICS_PER_MATCH: usize = 8;
/// Topics that a page may look at however small it is.
const TOPICS_MIN: usize = 64;
/// Bytes of a topic that count as one more topic: comparing 65,535 bytes takes as long as comparing many short ones.
const LONG_TOPIC: usize = 256;
/// The character that follows '/' in the order of bytes: the least that stands after a whole subtree.
const AFTER_SEPARATOR: char = '0';
/// The character that follows '$'.
const AFTER_DOLLAR: char = '%';

/// What can be kept in a [`RetainedTree`]. The topic of a value must never change.
pub trait Retained {
    fn topic(&self) -> &str;

    /// Looked at much more often than the text is.
    fn topic_bytes(&self) -> &[u8];
}

/// Retained messages in the order of the bytes of their topics.
pub struct RetainedTree<V> {
    values: BTreeSet<ByTopic<V>>,
}

/// How a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageEnd {
    /// Every match has been visited.
    Done,
    /// There may be more: go on after this topic, which need not be a match.
    ResumeAfter(String),
}

/// A value that is ordered and found by its topic, so that the topic is stored once.
struct ByTopic<V>(V);

impl<V: Retained> Borrow<[u8]> for ByTopic<V> {
    fn borrow(&self) -> &[u8] {
        self.0.topic_bytes()
    }
}

impl<V: Retained> PartialEq for ByTopic<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic_bytes() == other.0.topic_bytes()
    }
}

impl<V: Retained> Eq for ByTopic<V> {}

impl<V: Retained> PartialOrd for ByTopic<V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<V: Retained> Ord for ByTopic<V> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic_bytes().cmp(other.0.topic_bytes())
    }
}

impl<V: Retained> Default for RetainedTree<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Retained> RetainedTree<V> {
    pub fn new() -> Self {
        RetainedTree { values: BTreeSet::new() }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Keeps `value` under its topic; returns the value that was there.
    pub fn insert(&mut self, value: V) -> Option<V> {
        self.values.replace(ByTopic(value)).map(|former| former.0)
    }

    pub fn get(&self, topic: &str) -> Option<&V> {
        self.values.get(topic.as_bytes()).map(|value| &value.0)
    }

    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.values.take(topic.as_bytes()).map(|value| value.0)
    }

    /// All values in topic order.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.values.iter().map(|value| &value.0)
    }

    /// Visits values whose topics match `filter`, in topic order, strictly after the topic `after`: at most `limit`
    /// matches (a `limit` of 0 counts as 1), and at most `8 * limit + 64` topics are looked at in one call, fewer if
    /// they are long.
    pub fn page(&self, filter: &str, after: Option<&str>, limit: usize, mut f: impl FnMut(&V)) -> PageEnd {
        let after = after.unwrap_or(""); // stands before every topic
        if !filter.contains(['+', '#']) {
            self.get(filter).filter(|_| filter > after).map(f);
            return PageEnd::Done;
        }
        let mut target = String::new();
        let mut values = match examine(filter, after, &mut target) {
            Verdict::Match | Verdict::Next => self.values_from(Bound::Excluded(after)),
            Verdict::Seek => self.values_from(Bound::Included(&target)),
            Verdict::Done => return PageEnd::Done,
        };
        let limit = limit.max(1);
        let mut matches = 0;
        let mut work = limit.saturating_mul(TOPICS_PER_MATCH).saturating_add(TOPICS_MIN);
        loop {
            let Some(value) = values.next() else { return PageEnd::Done };
            match examine(filter, value.topic(), &mut target) {
                Verdict::Match => {
                    f(value);
                    matches += 1;
                }
                Verdict::Next => {}
                Verdict::Seek => values = self.values_from(Bound::Included(&target)),
                Verdict::Done => return PageEnd::Done,
            }
            work = work.saturating_sub(1 + value.topic_bytes().len() / LONG_TOPIC);
            if matches == limit || work == 0 {
                return PageEnd::ResumeAfter(value.topic().to_owned());
            }
        }
    }

    fn values_from<'a>(&'a self, start: Bound<&str>) -> impl Iterator<Item = &'a V> + use<'a, V> {
        self.values.range::<[u8], _>((start.map(str::as_bytes), Bound::Unbounded)).map(|value| &value.0)
    }
}

/// What a scan does after a topic.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The topic matches; go on with the next.
    Match,
    /// It does not, the next may.
    Next,
    /// Nothing before the target matches. The target stands after the topic.
    Seek,
    /// Nothing after the topic matches.
    Done,
}

/// Compares `topic` with `filter`; for [`Verdict::Seek`] writes the `target`, a text that no match in between precedes.
fn examine(filter: &str, topic: &str, target: &mut String) -> Verdict {
    target.clear();
    if starts_with_wildcard(filter) && topic.starts_with('$') {
        target.push(AFTER_DOLLAR); // [MQTT-4.7.2-1]
        return Verdict::Seek;
    }
    let mut wanted = filter.split('/');
    let mut start = Some(0); // of the topic's next level
    let mut plus_end = None; // of the level that the last `+` stands for
    while let Some(level) = wanted.next() {
        if level == "#" {
            return Verdict::Match;
        }
        let Some(from) = start else {
            if plus_end == Some(topic.len()) {
                return Verdict::Next; // `+` may stand for a text that goes on, too
            }
            target.push_str(topic);
            append_known(target, std::iter::once(level).chain(wanted));
            return Verdict::Seek;
        };
        let end = memchr::memchr(b'/', &topic.as_bytes()[from..]).map_or(topic.len(), |length| from + length);
        if level == "+" {
            plus_end = Some(end);
        } else if level != &topic[from..end] {
            target.push_str(&topic[..from]);
            target.push_str(level);
            let open = append_known(target, wanted);
            if open && target.as_str() <= topic {
                target.push('/'); // `a/#` is past `a`, but may not be past `a/`
            }
            return if target.as_str() > topic { Verdict::Seek } else { leave_subtree(topic, plus_end, target) };
        }
        start = (end < topic.len()).then_some(end + 1);
    }
    match start {
        None => Verdict::Match,
        Some(_) => leave_subtree(topic, plus_end, target),
    }
}

/// Appends what every match goes on with: literal levels, then the separator before a `+`. Returns whether a `#` follows.
fn append_known<'a>(target: &mut String, levels: impl Iterator<Item = &'a str>) -> bool {
    for level in levels {
        if level == "#" {
            return true;
        }
        target.push('/');
        if level == "+" {
            return false;
        }
        target.push_str(level);
    }
    false
}

/// Nothing more matches with the levels that `topic` has up to its last `+`: on to the next text for this `+`.
fn leave_subtree(topic: &str, plus_end: Option<usize>, target: &mut String) -> Verdict {
    let Some(end) = plus_end else { return Verdict::Done };
    target.clear();
    target.push_str(&topic[..end]);
    target.push(AFTER_SEPARATOR);
    Verdict::Seek
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::{TestCaseError, any};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::topic::reference;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Message {
        topic: String,
        payload: u32,
    }

    impl Retained for Message {
        fn topic(&self) -> &str {
            &self.topic
        }

        fn topic_bytes(&self) -> &[u8] {
            self.topic.as_bytes()
        }
    }

    fn message(topic: &str, payload: u32) -> Message {
        Message { topic: topic.to_owned(), payload }
    }

    fn tree(topics: impl IntoIterator<Item = impl AsRef<str>>) -> RetainedTree<Message> {
        let mut tree = RetainedTree::new();
        for topic in topics {
            tree.insert(message(topic.as_ref(), 0));
        }
        tree
    }

    fn page(tree: &RetainedTree<Message>, filter: &str, after: Option<&str>, limit: usize) -> (Vec<String>, PageEnd) {
        let mut topics = Vec::new();
        let end = tree.page(filter, after, limit, |message| topics.push(message.topic.clone()));
        (topics, end)
    }

    /// All matches of `filter`, read page by page.
    fn all(tree: &RetainedTree<Message>, filter: &str, limit: usize) -> Vec<String> {
        let (mut topics, mut end) = page(tree, filter, None, limit);
        while let PageEnd::ResumeAfter(after) = end {
            let (more, next_end) = page(tree, filter, Some(&after), limit);
            topics.extend(more);
            end = next_end;
        }
        topics
    }

    #[test]
    fn a_topic_keeps_one_value_which_is_found_and_removed_by_name() {
        let mut tree = tree(["b"]);
        assert_eq!(tree.insert(message("a", 1)), None);
        assert_eq!(tree.insert(message("a", 2)), Some(message("a", 1)));
        assert_eq!(tree.len(), 2);
        assert_eq!(tree.get("a"), Some(&message("a", 2)));
        assert_eq!(tree.get("a/"), None);
        assert_eq!(tree.iter().map(|message| message.topic.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tree.remove("a"), Some(message("a", 2)));
        assert_eq!(tree.remove("a"), None);
        assert!(tree.remove("b").is_some() && tree.is_empty());
    }

    // [MQTT-4.7.1-1] [MQTT-4.7.1-2]
    #[test]
    fn wildcards_reach_the_topics_that_a_subscription_would() {
        let tree = tree(["a", "a-x", "a/", "a/b", "a/b/c", "a/b-/c", "a/bb/c", "a0", "b/b/c", "/a", "/"]);
        assert_eq!(all(&tree, "a/#", 10), ["a", "a/", "a/b", "a/b-/c", "a/b/c", "a/bb/c"]);
        assert_eq!(all(&tree, "a/+", 10), ["a/", "a/b"]);
        assert_eq!(all(&tree, "a/+/c", 10), ["a/b-/c", "a/b/c", "a/bb/c"]);
        assert_eq!(all(&tree, "+/b/c", 10), ["a/b/c", "b/b/c"]);
        assert_eq!(all(&tree, "+", 10), ["a", "a-x", "a0"]);
        assert_eq!(all(&tree, "/+", 10), ["/", "/a"]);
        assert_eq!(all(&tree, "a/b", 10), ["a/b"]);
        assert_eq!(all(&tree, "x", 10), [""; 0]);
        assert_eq!(all(&tree, "#", 3).len(), 11);
    }

    // [MQTT-4.7.2-1]
    #[test]
    fn topics_that_begin_with_a_dollar_are_not_sent_to_leading_wildcards() {
        let tree = tree(["!", "$", "$/b", "$SYS", "$SYS/b", "%", "a/b"]);
        assert_eq!(all(&tree, "#", 10), ["!", "%", "a/b"]);
        assert_eq!(all(&tree, "+/b", 10), ["a/b"]);
        assert_eq!(all(&tree, "+/#", 10), ["!", "%", "a/b"]);
        assert_eq!(all(&tree, "$SYS/#", 10), ["$SYS", "$SYS/b"]);
        assert_eq!(all(&tree, "$SYS/+", 10), ["$SYS/b"]);
    }

    #[test]
    fn a_page_goes_on_after_the_topic_it_was_left_at_even_if_that_topic_is_gone() {
        let mut tree = tree(["a/1", "a/2", "a/3", "b"]);
        assert_eq!(page(&tree, "a/+", None, 2), (vec!["a/1".into(), "a/2".into()], PageEnd::ResumeAfter("a/2".into())));
        tree.remove("a/2");
        tree.insert(message("a/0", 0));
        assert_eq!(page(&tree, "a/+", Some("a/2"), 2), (vec!["a/3".into()], PageEnd::Done));
        assert_eq!(page(&tree, "a/3", Some("a/3"), 2), (vec![], PageEnd::Done));
        assert_eq!(page(&tree, "a/3", Some("a/2"), 2), (vec!["a/3".into()], PageEnd::Done));
        assert_eq!(page(&tree, "#", None, 0), (vec!["a/0".into()], PageEnd::ResumeAfter("a/0".into())));
    }

    #[test]
    fn a_page_without_matches_ends_after_a_bounded_number_of_topics() {
        let tree = tree((0..1000).map(|n| format!("d{n:04}")));
        assert_eq!(page(&tree, "+/x", None, 2), (vec![], PageEnd::ResumeAfter("d0079".into())));
        assert_eq!(page(&tree, "+/x", Some("d0950"), 2), (vec![], PageEnd::Done));
    }

    #[test]
    fn long_topics_use_a_page_up_faster() {
        let tree = tree((0..100).map(|n| format!("d{n:04}{}", "x".repeat(16_384 - 5))));
        let (_, PageEnd::ResumeAfter(after)) = page(&tree, "+/x", None, 1) else { panic!("too long for one page") };
        assert_eq!(&after[..5], "d0001");
        assert_eq!(all(&tree, "+/x", 1), [""; 0]);
    }

    #[test]
    fn a_scan_jumps_over_subtrees_that_cannot_match() {
        let tree = tree((0..40_000).map(|n| format!("a/{:03}/{:03}", n / 200, n % 200)));
        // 200 second levels, at most two looks at each
        assert_eq!(page(&tree, "a/+/x", None, 50), (vec![], PageEnd::Done));
        assert_eq!(page(&tree, "a/+", None, 50), (vec![], PageEnd::Done));
        assert_eq!(page(&tree, "a/+/199", None, 200).0.len(), 200);
        assert_eq!(page(&tree, "+/100/#", None, 200).0.len(), 200);
        assert_eq!(page(&tree, "a/100/+", None, 200).0.len(), 200);
        assert_eq!(page(&tree, "b/+/199", None, 1), (vec![], PageEnd::Done));
    }

    #[test]
    fn topics_and_filters_of_65535_bytes_are_paged() {
        let slashes = "/".repeat(65_535);
        let tree = tree([&slashes, &slashes[..40_000], &slashes[..29_999], &slashes[..10]]);
        let pluses = "+/".repeat(30_000) + "#";
        assert_eq!(all(&tree, &pluses, 1), [&slashes[..29_999], &slashes[..40_000], &slashes]);
        assert_eq!(all(&tree, &"+/".repeat(29_999), 1), [&slashes[..29_999]]);
        assert_eq!(all(&tree, &(slashes[..40_001].to_owned() + "#"), 1), [&slashes[..40_000], &slashes]);
    }

    /// One page must be what the topics and matches between `after` and its end say it is.
    fn check_page(
        model: &BTreeMap<String, u32>,
        (filter, after, limit): (&str, &str, usize),
        (visited, end): (&[String], &PageEnd),
    ) -> Result<(), TestCaseError> {
        let after_it = model.keys().filter(|topic| topic.as_str() > after);
        let expected: Vec<&String> = match end {
            PageEnd::Done => after_it.filter(|topic| reference::matches(filter, topic)).collect(),
            PageEnd::ResumeAfter(last) => {
                prop_assert!(last.as_str() > after, "a page must get on");
                prop_assert!(model.contains_key(last));
                after_it.filter(|topic| *topic <= last && reference::matches(filter, topic)).collect()
            }
        };
        prop_assert!(visited.len() <= limit);
        prop_assert_eq!(visited.iter().collect::<Vec<_>>(), expected, "{} after {:?}", filter, after);
        Ok(())
    }

    proptest! {
        #[test]
        fn pages_agree_with_a_list_of_topics_while_it_changes(
            topics in btree_set(reference::topic(), 0..120),
            changes in vec((any::<bool>(), reference::topic()), 0..60),
            filter in reference::filter(),
            limit in 1..5_usize,
        ) {
            let mut tree = tree(&topics);
            let mut model: BTreeMap<String, u32> = topics.into_iter().map(|topic| (topic, 0)).collect();
            let mut changes = changes.into_iter();
            let mut after = None;
            loop {
                let (visited, end) = page(&tree, &filter, after.as_deref(), limit);
                check_page(&model, (&filter, after.as_deref().unwrap_or(""), limit), (&visited, &end))?;
                let PageEnd::ResumeAfter(last) = end else { break };
                after = Some(last);
                for (insert, topic) in changes.by_ref().take(3) {
                    if insert {
                        let former = tree.insert(message(&topic, 1)).map(|message| message.payload);
                        prop_assert_eq!(former, model.insert(topic, 1));
                    } else {
                        prop_assert_eq!(tree.remove(&topic).map(|message| message.payload), model.remove(&topic));
                    }
                }
                prop_assert_eq!(tree.len(), model.len());
            }
        }

        // What a page relies on: a seek never passes a match, and always gets on.
        #[test]
        fn a_seek_passes_no_match(
            filter in reference::filter(),
            topic in reference::topic(),
            other in reference::topic(),
        ) {
            let mut target = String::new();
            match examine(&filter, &topic, &mut target) {
                Verdict::Match => prop_assert!(reference::matches(&filter, &topic)),
                Verdict::Next => prop_assert!(!reference::matches(&filter, &topic)),
                Verdict::Seek => {
                    prop_assert!(!reference::matches(&filter, &topic));
                    prop_assert!(target > topic);
                    prop_assert!(!reference::matches(&filter, &other) || other <= topic || other >= target);
                }
                Verdict::Done => prop_assert!(!reference::matches(&filter, &other) || other < topic),
            }
        }
    }
}
