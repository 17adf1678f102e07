//! How filters relate to topics and to each other. Each question is one walk along both texts.
//!
//! The functions expect well-formed filters and topics; other texts get an answer without meaning, never a panic.

/// Whether a message published to `topic` belongs to `filter` (section 4.7). Texts are compared byte by byte
/// ([MQTT-4.7.3-4]).
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if starts_with_wildcard(filter) && topic.starts_with('$') {
        return false; // [MQTT-4.7.2-1]
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true; // also when the topic has ended: `a/#` matches `a`
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether every topic that `inner` matches is matched by `outer`, too.
pub fn filter_covers(outer: &str, inner: &str) -> bool {
    if starts_with_wildcard(outer) && inner.starts_with('$') {
        return false; // [MQTT-4.7.2-1]
    }
    let mut levels = spelt_out(inner).split('/');
    for wanted in outer.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some("#") | None => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) => return false,
        }
    }
    levels.next().is_none()
}

/// Whether some topic is matched by both filters. That a topic ends at 65,535 bytes is left out of account: two filters
/// that only a longer topic could satisfy do overlap.
pub fn filters_overlap(a: &str, b: &str) -> bool {
    if starts_with_wildcard(a) && b.starts_with('$') || starts_with_wildcard(b) && a.starts_with('$') {
        return false; // [MQTT-4.7.2-1]
    }
    let (mut a, mut b) = (spelt_out(a).split('/'), spelt_out(b).split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(x), Some(y)) if x == y || x == "+" || y == "+" => {}
            _ => return false,
        }
    }
}

/// The empty topic, which the parent of these two is, does not exist ([MQTT-4.7.3-1]): they match what the longer ones do.
fn spelt_out(filter: &str) -> &str {
    match filter {
        "#" => "+/#",
        "/#" => "/+/#",
        _ => filter,
    }
}

pub(super) fn starts_with_wildcard(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};

    use super::*;
    use crate::topic::reference;

    fn check(filter: &str, matching: &[&str], others: &[&str]) {
        for topic in matching {
            assert!(filter_matches(filter, topic), "{filter} should match {topic}");
            assert!(reference::matches(filter, topic), "the reference denies that {filter} matches {topic}");
        }
        for topic in others {
            assert!(!filter_matches(filter, topic), "{filter} should not match {topic}");
            assert!(!reference::matches(filter, topic), "the reference claims that {filter} matches {topic}");
        }
    }

    // [MQTT-4.7.1-1]
    #[test]
    fn the_multi_level_wildcard_matches_its_parent_and_everything_below() {
        check("a/#", &["a", "a/", "a/b", "a//", "a/b/c", "a/$x"], &["ab", "b", "/a", "A", "a-/b"]);
        check("#", &["a", "/", "a/b", "/$x"], &[]);
        check("/#", &["/", "/a", "//"], &["a", "a/"]);
        check("a/+/#", &["a/b", "a/", "a/b/c"], &["a", "b/a"]);
    }

    // [MQTT-4.7.1-2]
    #[test]
    fn the_single_level_wildcard_matches_exactly_one_level_even_an_empty_one() {
        check("a/+", &["a/b", "a/", "a/$x"], &["a", "a/b/c", "/a/b"]);
        check("+", &["a"], &["/", "a/", "/a"]);
        check("+/+", &["/", "/a", "a/b"], &["a", "//"]);
        check("/+", &["/", "/a"], &["a", "a/", "/a/"]);
        check("a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/d/c", "a/b/c/"]);
    }

    // [MQTT-4.7.2-1]
    #[test]
    fn a_leading_wildcard_does_not_match_topics_that_begin_with_a_dollar() {
        check("#", &[], &["$SYS", "$SYS/broker", "$", "$/"]);
        check("+/broker", &["SYS/broker"], &["$SYS/broker"]);
        check("+/#", &["a/$SYS"], &["$SYS/broker"]);
        check("$SYS/#", &["$SYS", "$SYS/broker/load"], &["SYS", "$SYSX"]);
        check("$SYS/+", &["$SYS/broker"], &["$SYS", "$SYS/a/b"]);
    }

    // [MQTT-4.7.3-4]
    #[test]
    fn texts_are_compared_byte_by_byte() {
        check("caf\u{e9}", &["caf\u{e9}"], &["cafe\u{301}", "CAF\u{c9}", "caf\u{e9} "]);
        check("a//b", &["a//b"], &["a/b", "a///b"]);
        check("a/", &["a/"], &["a"]);
        check("\u{feff}a", &["\u{feff}a"], &["a"]);
    }

    #[test]
    fn a_filter_covers_what_it_names_and_nothing_beyond() {
        let covers = [
            ("#", "a/b"),
            ("+/#", "#"),
            ("+/+/#", "/#"),
            ("a/#", "a"),
            ("a/#", "a/+/c/#"),
            ("+/b", "a/b"),
            ("$s/#", "$s/+"),
        ];
        for (outer, inner) in covers {
            assert!(filter_covers(outer, inner), "{outer} {inner}");
        }
        let not = [("#", "$s/a"), ("a/+/#", "a/#"), ("+", "#"), ("a/b", "a/+"), ("a", "a/#"), ("a/+", "a/b/c")];
        for (outer, inner) in not {
            assert!(!filter_covers(outer, inner), "{outer} {inner}");
        }
    }

    /// All filters of up to `depth` levels, `#` not counted.
    fn all_filters(alphabet: &[&str], depth: usize) -> Vec<String> {
        let paths = all_paths(alphabet, depth);
        let open = paths.iter().map(|path| format!("{path}/#"));
        let closed = paths.iter().filter(|path| !path.is_empty()).cloned();
        open.chain(closed).chain(["#".to_owned()]).collect()
    }

    fn all_paths(alphabet: &[&str], depth: usize) -> Vec<String> {
        let mut paths: Vec<String> = alphabet.iter().map(|&level| level.to_owned()).collect();
        let mut longest = paths.clone();
        for _ in 1..depth {
            longest =
                longest.iter().flat_map(|path| alphabet.iter().map(move |level| format!("{path}/{level}"))).collect();
            paths.extend_from_slice(&longest);
        }
        paths
    }

    // Any topic distinguishes as much as one whose levels are named in the filters, or are one that no filter names;
    // topics one level deeper than the filters tell open filters from closed ones.
    #[test]
    fn covering_and_overlap_agree_with_trying_all_topics() {
        let mut topics = all_paths(&["", "a", "$s", "other"], 4);
        topics.retain(|topic| !topic.is_empty());
        let filters = all_filters(&["", "a", "$s", "+"], 3);
        let matched: Vec<Vec<bool>> = filters
            .iter()
            .map(|filter| topics.iter().map(|topic| reference::matches(filter, topic)).collect())
            .collect();
        for (a, a_matches) in filters.iter().zip(&matched) {
            for (b, b_matches) in filters.iter().zip(&matched) {
                let mut both = a_matches.iter().zip(b_matches);
                assert_eq!(filters_overlap(a, b), both.clone().any(|(&a, &b)| a && b), "{a} overlaps {b}");
                assert_eq!(filter_covers(a, b), both.all(|(&a, &b)| a || !b), "{a} covers {b}");
            }
        }
    }

    #[test]
    fn texts_of_thirty_thousand_levels_are_walked_once() {
        let (slashes, pluses) = ("/".repeat(65_535), "+/".repeat(30_000) + "#");
        assert!(filter_matches(&pluses, &slashes));
        assert!(filter_covers(&pluses, &slashes));
        assert!(!filter_covers(&slashes, &pluses));
        assert!(filters_overlap(&slashes, &pluses));
        assert!(!filter_matches("+/".repeat(30_000).as_str(), &slashes));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_reference(filter in reference::filter(), topic in reference::topic()) {
            prop_assert_eq!(filter_matches(&filter, &topic), reference::matches(&filter, &topic));
        }
    }
}
