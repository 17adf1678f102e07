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
const STEPS_PER_MATCH: usize = 8;
/// Topics that a page may look at however small it is.
const STEPS_MIN: usize = 64;
/// The character that follows '/' in the order of bytes: the least that stands after a whole subtree.
const AFTER_SEPARATOR: char = '0';
/// The character that follows '$'.
const AFTER_DOLLAR: char = '%';

/// What can be kept in a [`RetainedTree`]. The topic of a value must never change.
pub trait Retained {
    fn topic(&self) -> &str;
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

impl<V: Retained> Borrow<str> for ByTopic<V> {
    fn borrow(&self) -> &str {
        self.0.topic()
    }
}

impl<V: Retained> PartialEq for ByTopic<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic() == other.0.topic()
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
        self.0.topic().cmp(other.0.topic())
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
        self.values.get(topic).map(|value| &value.0)
    }

    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.values.take(topic).map(|value| value.0)
    }

    /// All values in topic order.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.values.iter().map(|value| &value.0)
    }

    /// Visits values whose topics match `filter`, in topic order, strictly after the topic `after`: at most `limit`
    /// matches (a `limit` of 0 counts as 1), and at most `8 * limit + 64` topics are looked at in one call.
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
        let mut steps = limit.saturating_mul(STEPS_PER_MATCH).saturating_add(STEPS_MIN);
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
            steps -= 1;
            if matches == limit || steps == 0 {
                return PageEnd::ResumeAfter(value.topic().to_owned());
            }
        }
    }

    fn values_from<'a>(&'a self, start: Bound<&str>) -> impl Iterator<Item = &'a V> + use<'a, V> {
        self.values.range::<str, _>((start, Bound::Unbounded)).map(|value| &value.0)
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
            append_known(target, wanted);
            return if target.as_str() > topic { Verdict::Seek } else { leave_subtree(topic, plus_end, target) };
        }
        start = (end < topic.len()).then_some(end + 1);
    }
    match start {
        None => Verdict::Match,
        Some(_) => leave_subtree(topic, plus_end, target),
    }
}

/// Appends the levels that every match from here on has: literals, then the separator before a `+`.
fn append_known<'a>(target: &mut String, levels: impl Iterator<Item = &'a str>) {
    for level in levels {
        match level {
            "#" => return,
            "+" => return target.push('/'),
            literal => {
                target.push('/');
                target.push_str(literal);
            }
        }
    }
}

/// Nothing more matches with the levels that `topic` has up to its last `+`: on to the next text for this `+`.
fn leave_subtree(topic: &str, plus_end: Option<usize>, target: &mut String) -> Verdict {
    let Some(end) = plus_end else { return Verdict::Done };
    target.clear();
    target.push_str(&topic[..end]);
    target.push(AFTER_SEPARATOR);
    Verdict::Seek
}
