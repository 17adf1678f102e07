//! Topic filters as the sets of topics they match: what two have in common, and whether a union leaves something over.
//!
//! A level that no filter names is matched by wildcards only, so by the fewest filters: a topic made of such levels is
//! the hardest to match. Hence a filter's set reaches beyond a union of others exactly when one of its
//! [`hardest_topics`] does.

use std::collections::BTreeSet;

use crate::topic::filter_matches;

/// The filter of the topics that both filters match.
pub(super) fn intersection(a: &str, b: &str) -> Option<String> {
    if hides_dollar(a, b) || hides_dollar(b, a) {
        return None; // [MQTT-4.7.2-1]
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    let mut levels = Vec::new();
    loop {
        match (a.next(), b.next()) {
            (None, None) => break,
            (Some("#"), rest) => {
                levels.extend(rest.into_iter().chain(b));
                break;
            }
            (rest, Some("#")) => {
                levels.extend(rest.into_iter().chain(a));
                break;
            }
            (Some("+"), Some(level)) => levels.push(level),
            (Some(level), Some(other)) if other == "+" || other == level => levels.push(level),
            _ => return None,
        }
    }
    // "+" and "/#" would share the empty topic, which is none (section 4.7.3).
    Some(levels.join("/")).filter(|common| !common.is_empty())
}

fn hides_dollar(wild: &str, other: &str) -> bool {
    wild.starts_with(['+', '#']) && other.starts_with('$')
}

/// Whether every topic that `filter` matches is matched by one of `others`.
pub(super) fn is_covered<'f>(filter: &str, others: impl Iterator<Item = &'f str> + Clone) -> bool {
    hardest_topics(filter, lengths(filter, others.clone()))
        .all(|topic| others.clone().any(|other| filter_matches(other, &topic)))
}

/// What no well-formed filter has as a level (section 1.5.4).
const UNNAMED_LEVEL: &str = "\0";

/// Of each length, the topic of `filter` that is hardest to match.
fn hardest_topics(filter: &str, lengths: BTreeSet<usize>) -> impl Iterator<Item = String> {
    let fixed: Vec<&str> = filter.split('/').filter(|&level| level != "#").map(named).collect();
    lengths.into_iter().map(move |length| {
        let mut levels = fixed.clone();
        levels.resize(length, UNNAMED_LEVEL);
        levels.join("/")
    })
}

/// The lengths of topics of `filter` that the others can tell apart: the shortest, and those where a filter without `#`
/// begins or ceases to match; in between, what ends in `#` matches the shortest topic only if it matches them all. So they
/// are few, however deep the filters are: a client may have chosen their depth, through `%c`.
fn lengths<'f>(filter: &str, others: impl Iterator<Item = &'f str>) -> BTreeSet<usize> {
    if !is_open_ended(filter) {
        return BTreeSet::from([depth(filter)]);
    }
    // Without the "#", but at least one level and one character (section 4.7.3).
    let shortest = match filter {
        "#" => 1,
        "/#" => 2,
        _ => depth(filter) - 1,
    };
    let told_apart = others.filter(|other| !is_open_ended(other)).map(depth).flat_map(|depth| [depth, depth + 1]);
    told_apart.filter(|&length| length > shortest).chain([shortest]).collect()
}

fn is_open_ended(filter: &str) -> bool {
    filter == "#" || filter.ends_with("/#")
}

fn named(level: &str) -> &str {
    if level == "+" { UNNAMED_LEVEL } else { level }
}

fn depth(filter: &str) -> usize {
    filter.split('/').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::filters_overlap;

    #[test]
    fn what_two_filters_have_in_common_is_a_filter() {
        let cases = [
            ("a/+", "+/b", Some("a/b")),
            ("a/#", "a/+/c", Some("a/+/c")),
            ("a/#", "a", Some("a")),
            ("a", "a/#", Some("a")),
            ("#", "#", Some("#")),
            ("+/#", "#", Some("+/#")),
            ("a/#", "+/+/#", Some("a/+/#")),
            ("a/b", "a/c", None),
            ("a/+", "a", None),
            ("#", "$SYS/#", None),
            ("$SYS/+", "+/x", None),
            ("$SYS/+", "$SYS/x", Some("$SYS/x")),
            ("/#", "+", None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(intersection(a, b).as_deref(), expected, "{a} {b}");
            assert_eq!(intersection(b, a).as_deref(), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_union_covers_what_no_single_filter_does() {
        let cases: [(&str, &[&str], bool); 12] = [
            ("/#", &[], false),
            ("/#", &["/"], false),
            ("/#", &["/", "/+/#"], true),
            ("a/#", &["a", "a/+", "a/+/+/#"], true),
            ("a/#", &["a", "a/+/+/#"], false),
            ("#", &["+", "+/+/#"], true),
            ("#", &["+/#"], true),
            ("+/b", &["a/b", "c/b"], false),
            ("a/b", &["#"], true),
            ("$SYS/x", &["#"], false),
            ("$SYS/#", &["$SYS/+/#", "$SYS"], true),
            ("a", &[], false),
        ];
        for (filter, others, expected) in cases {
            assert_eq!(is_covered(filter, others.iter().copied()), expected, "{filter} {others:?}");
        }
    }

    #[test]
    fn the_depth_of_a_filter_does_not_multiply_the_topics_to_try() {
        // A client id of 65,000 slashes, in "home/%c/#" and "away/%c": building topics of all lengths took 8 seconds.
        let deep = "/".repeat(65_000);
        let (open, exact) = (format!("home/{deep}/#"), format!("away/{deep}"));
        let others = ["#", &*open, &*exact];
        assert_eq!(lengths("#", others.into_iter()).into_iter().collect::<Vec<_>>(), [1, 65_002, 65_003]);
        assert!(is_covered("#", others.into_iter()));
        assert!(!is_covered("#", others.into_iter().skip(1)));
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "+"]);
        let first = prop::sample::select(vec!["a", "b", "", "+", "$s"]);
        (first, prop::collection::vec(level, 0..3), any::<bool>(), any::<bool>()).prop_map(
            |(first, rest, open, all)| {
                let levels: Vec<_> = [first].into_iter().chain(rest).chain(open.then_some("#")).collect();
                if (all && open) || levels == [""] { "#".to_owned() } else { levels.join("/") }
            },
        )
    }

    /// Every topic of up to five levels; the level "c" stands for all that no filter names.
    fn topics() -> Vec<String> {
        let mut topics: Vec<String> = ["a", "b", "", "c", "$s"].map(str::to_owned).to_vec();
        let mut longest = topics.clone();
        for _ in 1..5 {
            longest = longest.iter().flat_map(|t| ["a", "b", "", "c"].map(|level| format!("{t}/{level}"))).collect();
            topics.extend(longest.iter().cloned());
        }
        topics.retain(|topic| !topic.is_empty());
        topics
    }

    proptest! {
        #[test]
        fn an_intersection_matches_what_both_match(a in filter(), b in filter()) {
            let common = intersection(&a, &b);
            prop_assert!(common.is_none() || filters_overlap(&a, &b));
            for topic in topics() {
                let both = filter_matches(&a, &topic) && filter_matches(&b, &topic);
                prop_assert_eq!(common.as_ref().is_some_and(|c| filter_matches(c, &topic)), both, "{}", topic);
            }
        }

        #[test]
        fn covering_agrees_with_trying_every_topic(inner in filter(), others in prop::collection::vec(filter(), 0..4)) {
            let tried = topics().iter().filter(|topic| filter_matches(&inner, topic))
                .all(|topic| others.iter().any(|other| filter_matches(other, topic)));
            prop_assert_eq!(is_covered(&inner, others.iter().map(String::as_str)), tried);
        }
    }
}
