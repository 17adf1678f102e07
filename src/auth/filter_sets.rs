//! Topic filters as the sets of topics they match: what two have in common, and whether a union leaves something over.
//!
//! A level that no filter names is matched by wildcards only, so by the fewest filters: a topic made of such levels is
//! the hardest to match. Hence a filter's set reaches beyond a union of others exactly when one of its
//! [`hardest_topics`] does.

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
    let depth = others.clone().map(depth).max().unwrap_or(0);
    hardest_topics(filter, depth).all(|topic| others.clone().any(|other| filter_matches(other, &topic)))
}

/// What no well-formed filter has as a level (section 1.5.4).
const UNNAMED_LEVEL: &str = "\0";

/// Of each length that filters of at most `depth` levels can tell apart, the topic of `filter` that is hardest to match.
fn hardest_topics(filter: &str, depth: usize) -> impl Iterator<Item = String> {
    let open_ended = filter == "#" || filter.ends_with("/#");
    let fixed: Vec<&str> = filter.split('/').filter(|&level| level != "#").map(named).collect();
    // A topic has at least one level. One more level than the deepest filter has, and all longer topics are alike.
    let shortest = usize::from(fixed.is_empty());
    let longest = if open_ended { depth.saturating_sub(fixed.len()) + 1 } else { 0 };
    let topics = (shortest..=longest).map(move |more| {
        let mut levels = fixed.clone();
        levels.resize(fixed.len() + more, UNNAMED_LEVEL);
        levels.join("/")
    });
    topics.filter(|topic| !topic.is_empty()) // Section 4.7.3
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
        let cases: [(&str, &[&str], bool); 9] = [
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
