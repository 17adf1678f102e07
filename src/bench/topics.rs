//! Topics that differ from message to message, and filters by number.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::stamp::Stamp;

/// Digits of a number that stands in a topic.
pub(super) const TOPIC_DIGITS: usize = 8;

/// Which topics a publisher's messages go to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Topics {
    /// Its own.
    One,
    /// Its own, whose last [`TOPIC_DIGITS`] digits become the number of the message.
    Numbered,
    /// Any of so many of a [`Tree`], in no order.
    Tree(u64),
}

impl Topics {
    /// Writes over the publisher's topic what it is for one message.
    #[inline]
    pub(super) fn write(self, stamp: Stamp, topic: &mut [u8]) {
        match self {
            Topics::One => {}
            Topics::Numbered => {
                if let Some(digits) = topic.last_chunk_mut::<TOPIC_DIGITS>() {
                    put_digits(stamp.number, digits);
                }
            }
            Topics::Tree(topics) => {
                if let Some(tail) = topic.last_chunk_mut::<TREE_TAIL>() {
                    put_tail(mix(stamp.number ^ (u64::from(stamp.publisher) << 40)) % topics, tail);
                }
            }
        }
    }
}

/// Topics of two levels with a hundred names each, then a level of its own for each, and one that all have. So many filters
/// match each topic, and no other.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// The levels before.
    pub(super) root: String,
    pub(super) matches: u64,
    /// The part of the filters that have a +.
    pub(super) plus: f64,
    /// The part that end in #.
    pub(super) hash: f64,
}

/// `12/34/00003412/v`
const TREE_TAIL: usize = 16;

impl Tree {
    pub(super) fn topic(&self, number: u64) -> String {
        format!("{}/{:02}/{:02}/{number:08}/v", self.root, number % 100, number / 100 % 100)
    }

    /// Those that match topic 0 are the first ones, and so on.
    pub(super) fn filter(&self, filter: u64) -> String {
        let (root, number) = (&self.root, filter / self.matches);
        let (first, second) = (number % 100, number / 100 % 100);
        let kind = mix(filter) as f64 / u64::MAX as f64;
        if kind >= self.plus + self.hash {
            return self.topic(number);
        }
        if kind >= self.plus {
            return format!("{root}/{first:02}/{second:02}/{number:08}/#");
        }
        match mix(!filter) % 3 {
            0 => format!("{root}/+/{second:02}/{number:08}/v"),
            1 => format!("{root}/{first:02}/+/{number:08}/v"),
            _ => format!("{root}/{first:02}/{second:02}/{number:08}/+"),
        }
    }
}

fn put_tail(number: u64, tail: &mut [u8; TREE_TAIL]) {
    put_digits(number % 100, &mut tail[..2]);
    put_digits(number / 100 % 100, &mut tail[3..5]);
    put_digits(number, &mut tail[6..14]);
}

fn put_digits(number: u64, digits: &mut [u8]) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Spreads numbers: the finalizer of splitmix64.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// What a client subscribes to, made when it is asked for: there can be very many.
#[derive(Clone)]
pub(super) struct Filters {
    make: Arc<dyn Fn(u64) -> String + Send + Sync>,
    left: std::iter::StepBy<Range<u64>>,
}

impl Filters {
    pub(super) fn one(filter: String) -> Filters {
        Filters { make: Arc::new(move |_| filter.clone()), left: (0..1).step_by(1) }
    }

    /// Every `step`th of a tree's, from `first` on.
    pub(super) fn of(tree: Arc<Tree>, first: u64, step: usize, all: u64) -> Filters {
        Filters { make: Arc::new(move |number| tree.filter(number)), left: (first..all).step_by(step) }
    }
}

impl Iterator for Filters {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        Some((self.make)(self.left.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl ExactSizeIterator for Filters {}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} filters", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicFilter;

    #[test]
    fn each_topic_has_as_many_filters_as_it_should_and_they_are_of_all_kinds() {
        let tree = Arc::new(Tree { root: "a".into(), matches: 3, plus: 0.4, hash: 0.3 });
        let texts: Vec<_> = Filters::of(Arc::clone(&tree), 0, 1, 600).collect();
        let filters: Vec<_> = texts.iter().map(|text| TopicFilter::parse(text).unwrap()).collect();
        for number in 0..200 {
            let topic = tree.topic(number);
            let matching = (0..600).filter(|at| filters[*at].matches(&topic));
            assert!(matching.eq((0..3).map(|at| number as usize * 3 + at)), "{topic}");
        }
        for (part, wildcard) in [(0.4, "+"), (0.3, "#")] {
            let share = texts.iter().filter(|text| text.contains(wildcard)).count() as f64 / 600.0;
            assert!((share - part).abs() < 0.1, "{wildcard}: {share}");
        }
    }

    #[test]
    fn messages_go_to_all_topics_of_a_tree_and_to_no_others() {
        let tree = Tree { root: "a/b".into(), matches: 1, plus: 0.0, hash: 0.0 };
        let topics: Vec<_> = (0..300).map(|number| tree.topic(number)).collect();
        let mut reached = vec![false; 300];
        for number in 0..6000 {
            let mut topic = tree.topic(0).into_bytes();
            Topics::Tree(300).write(Stamp { publisher: 1, number, due: 0 }, &mut topic);
            let at = topics.iter().position(|known| known.as_bytes() == topic).unwrap();
            reached[at] = true;
        }
        assert!(reached.iter().all(|reached| *reached));
    }

    #[test]
    fn clients_that_divide_the_filters_have_all_of_them_together() {
        let tree = Arc::new(Tree { root: "a".into(), matches: 1, plus: 0.2, hash: 0.1 });
        let mut parts: Vec<_> = (0..3).flat_map(|first| Filters::of(Arc::clone(&tree), first, 3, 10)).collect();
        let mut all: Vec<_> = (0..10).map(|number| tree.filter(number)).collect();
        parts.sort();
        all.sort();
        assert_eq!(parts, all);
    }
}
