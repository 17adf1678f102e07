//! Any text as a subscription and any text as a topic: parsing never panics, errors point into the text, and the three
//! ways to match (directly, subscription tree, retained tree) agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::topic::{
    PageEnd, ParsedFilter, Retained, RetainedTree, SubscriptionTree, TopicError, TopicFilter, check_topic_name,
    filter_covers, filter_matches, filters_overlap,
};

struct Topic<'a>(&'a str);

impl Retained for Topic<'_> {
    fn topic(&self) -> &str {
        self.0
    }

    fn topic_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fuzz_target!(|texts: (&str, &str, &str)| {
    let (first, second, topic) = texts;
    let filters: Vec<&str> = [first, second].into_iter().filter_map(filter).collect();
    let topic = match check_topic_name(topic) {
        Ok(()) => Some(topic),
        Err(error) => {
            check_error(topic, error);
            None
        }
    };
    if let &[a, b] = filters.as_slice() {
        check_relation(a, b, topic);
    }
    if let Some(topic) = topic {
        check_trees(&filters, topic);
    }
});

fn filter(text: &str) -> Option<&str> {
    match ParsedFilter::parse(text) {
        Ok(parsed) => {
            let filter = TopicFilter::parse(parsed.filter).expect("a filter without its share is a filter");
            assert!(filter_covers(&filter, &filter) && filters_overlap(&filter, &filter));
            Some(parsed.filter)
        }
        Err(error) => {
            check_error(text, error);
            None
        }
    }
}

fn check_error(text: &str, error: TopicError) {
    let at = match error {
        TopicError::NullCharacter { at }
        | TopicError::WildcardInName { at, .. }
        | TopicError::SingleLevelNotAlone { at }
        | TopicError::MultiLevelNotAlone { at }
        | TopicError::MultiLevelNotLast { at }
        | TopicError::ShareNameCharacter { at, .. } => at,
        TopicError::Empty
        | TopicError::TooLong { .. }
        | TopicError::ShareNameEmpty
        | TopicError::ShareFilterMissing => return,
    };
    assert!(matches!(text.as_bytes()[at], 0 | b'+' | b'#'), "{error} in {text:?}");
}

fn check_relation(a: &str, b: &str, topic: Option<&str>) {
    assert_eq!(filters_overlap(a, b), filters_overlap(b, a));
    assert!(!filter_covers(a, b) || filters_overlap(a, b), "{a:?} covers {b:?}");
    if let Some(topic) = topic {
        let (a_matches, b_matches) = (filter_matches(a, topic), filter_matches(b, topic));
        assert!(!(a_matches && b_matches) || filters_overlap(a, b), "{a:?} and {b:?} match {topic:?}");
        assert!(!filter_covers(a, b) || !b_matches || a_matches, "{a:?} covers {b:?} but not {topic:?}");
    }
}

fn check_trees(filters: &[&str], topic: &str) {
    let mut subscriptions = SubscriptionTree::new();
    let mut retained = RetainedTree::new();
    retained.insert(Topic(topic));
    for (key, filter) in filters.iter().enumerate() {
        subscriptions.insert(filter, key, ());
    }
    let mut reached = vec![false; filters.len()];
    subscriptions.for_each_match(topic, |entries| entries.iter().for_each(|(&key, ())| reached[key] = true));
    for (key, filter) in filters.iter().enumerate() {
        let matches = filter_matches(filter, topic);
        assert_eq!(reached[key], matches, "{filter:?} {topic:?}");
        let mut sent = 0;
        let mut end = retained.page(filter, None, 1, |_| sent += 1);
        while let PageEnd::ResumeAfter(after) = end {
            end = retained.page(filter, Some(&after), 1, |_| sent += 1);
        }
        assert_eq!(sent, usize::from(matches), "{filter:?} {topic:?}");
        assert_eq!(subscriptions.remove(filter, &key), Some(()));
    }
    assert!(subscriptions.is_empty());
}
