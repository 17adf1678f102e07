//! Which filters match which topics: section 4.7.

use crate::support::wire::Publish;
use crate::support::{Case, cases, table};

cases! {
    hash_alone_matches_every_topic_but_dollar: V3 V4 V5;
}

/// A message to the topic reaches the subscriber of the filter; `~` stands for levels that are the case's own.
fn matches(case: &Case, (filter, topic): (&str, &str)) {
    let own = |text: &str| text.replace('~', &case.id(""));
    let mut client = case.client("a");
    client.subscribe(own(filter), 0);
    client.send(Publish::new(case.version, own(topic), "x").bytes());
    client.receive(own(topic), "x", 0);
}

/// A message to the topic does not reach the subscriber of the filter.
fn does_not_match(case: &Case, (filter, topic): (&str, &str)) {
    let own = |text: &str| text.replace('~', &case.id(""));
    let mut client = case.client("a");
    client.subscribe(own(filter), 0);
    client.send(Publish::new(case.version, own(topic), "x").bytes());
    client.expect_nothing();
}

// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-4]
table! { matches:
    a_topic_matches_itself: V3 V4 V5 => |_case| ("~/a/b", "~/a/b");
    hash_matches_a_level_below: V3 V4 V5 => |_case| ("~/a/#", "~/a/b");
    hash_matches_levels_below: V3 V4 V5 => |_case| ("~/a/#", "~/a/b/c/d/e");
    hash_matches_the_parent: V3 V4 V5 => |_case| ("~/a/#", "~/a");
    hash_matches_an_empty_level: V3 V4 V5 => |_case| ("~/a/#", "~/a/");
    hash_matches_the_root: V3 V4 V5 => |_case| ("~/#", "~");
    hash_matches_dollar_below_the_first_level: V3 V4 V5 => |_case| ("~/#", "~/$a/b");
    plus_matches_one_level: V3 V4 V5 => |_case| ("~/+/b", "~/a/b");
    plus_matches_an_empty_level: V3 V4 V5 => |_case| ("~/+/b", "~//b");
    plus_matches_a_last_empty_level: V3 V4 V5 => |_case| ("~/a/+", "~/a/");
    plus_matches_the_first_level: V3 V4 V5 => |_case| ("+/~", "a/~");
    plus_matches_an_empty_first_level: V3 V4 V5 => |_case| ("+/~", "/~");
    plus_matches_dollar_below_the_first_level: V3 V4 V5 => |_case| ("~/+", "~/$a");
    several_pluses: V3 V4 V5 => |_case| ("~/+/+/c/+", "~/a/b/c/d");
    pluses_at_empty_levels: V3 V4 V5 => |_case| ("/+/~/+", "//~/");
    plus_and_hash: V3 V4 V5 => |_case| ("+/~/+/#", "a/~/b/c/d");
    plus_and_hash_of_the_parent: V3 V4 V5 => |_case| ("~/+/#", "~/a");
    a_leading_slash_is_a_level: V3 V4 V5 => |_case| ("/~", "/~");
    a_trailing_slash_is_a_level: V3 V4 V5 => |_case| ("~/", "~/");
    slashes_alone: V3 V4 V5 => |_case| ("~///", "~///");
    spaces_are_characters: V3 V4 V5 => |_case| ("~/ /a b/+", "~/ /a b/ ");
    dollar_matches_dollar: V3 V4 V5 => |_case| ("$it/~/#", "$it/~/a");
    dollar_matches_dollar_with_plus: V3 V4 V5 => |_case| ("$it/+/~", "$it/a/~");
    a_single_dollar_is_a_level: V3 V4 V5 => |_case| ("$/~/+", "$/~/a");
    wildcards_do_not_look_into_characters: V3 V4 V5 => |_case| ("~/+", "~/a*b?c%d");
}

// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-3.3.2-3]
table! { does_not_match:
    a_level_more: V3 V4 V5 => |_case| ("~/a", "~/a/b");
    a_level_less: V3 V4 V5 => |_case| ("~/a/b", "~/a");
    another_case: V3 V4 V5 => |_case| ("~/ABC", "~/abc");
    the_beginning_of_a_level: V3 V4 V5 => |_case| ("~/ab", "~/abc");
    plus_is_not_two_levels: V3 V4 V5 => |_case| ("~/+", "~/a/b");
    plus_is_not_no_level: V3 V4 V5 => |_case| ("~/+", "~");
    plus_is_not_no_level_at_the_end: V3 V4 V5 => |_case| ("~/a/+", "~/a");
    hash_is_not_a_sibling: V3 V4 V5 => |_case| ("~/a/#", "~/b");
    hash_is_not_a_longer_name: V3 V4 V5 => |_case| ("~/a/#", "~/ab");
    plus_and_hash_need_the_level_of_plus: V3 V4 V5 => |_case| ("~/+/#", "~");
    a_leading_slash_counts: V3 V4 V5 => |_case| ("/~", "~");
    a_missing_leading_slash_counts: V3 V4 V5 => |_case| ("~", "/~");
    a_trailing_slash_counts: V3 V4 V5 => |_case| ("~/a", "~/a/");
    a_missing_trailing_slash_counts: V3 V4 V5 => |_case| ("~/a/", "~/a");
    plus_does_not_match_dollar_first: V3 V4 V5 => |_case| ("+/~", "$it/~");
    plus_and_hash_do_not_match_dollar_first: V3 V4 V5 => |_case| ("+/~/#", "$it/~/a");
    plus_does_not_match_a_single_dollar: V3 V4 V5 => |_case| ("+/~", "$/~");
    composed_is_not_decomposed: V3 V4 V5 => |_case| ("~/\u{e9}", "~/e\u{301}");
}

// [MQTT-4.7.2-1]
fn hash_alone_matches_every_topic_but_dollar(case: &Case) {
    let _guard = case.no_other_hash();
    let mut client = case.client("a");
    client.subscribe("#", 0);
    let topics = [format!("$it/{}", case.id("")), case.id(""), format!("/{}", case.id("")), case.topic("a/b")];
    for topic in &topics {
        client.send(Publish::new(case.version, topic, case.id("")).bytes());
    }
    // Messages of other cases come by as well.
    let mut own = Vec::new();
    while own.len() < 3 {
        let publish = client.publish();
        if publish.payload == case.id("").as_bytes() {
            own.push(publish.topic);
        }
    }
    assert_eq!(own, topics[1..]);
}
