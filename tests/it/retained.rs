//! Retained messages: sections 3.3.1.3 and 3.8.3.1.

use crate::support::wire::{Publish, Subscribe, Version, property};
use crate::support::{Case, Client, cases};

cases! {
    retained_message_is_kept: V3 V4 V5;
    retained_message_is_kept_at_its_qos: V3 V4 V5;
    retained_message_is_replaced: V3 V4 V5;
    retained_message_is_removed_by_an_empty_one: V3 V4 V5;
    empty_retained_message_is_delivered: V3 V4 V5;
    empty_retained_message_is_not_kept: V3 V4 V5;
    message_without_retain_changes_nothing: V3 V4 V5;
    empty_message_without_retain_removes_nothing: V3 V4 V5;
    retain_flag_is_off_for_a_subscription_that_was_there: V3 V4 V5;
    retained_messages_outlive_their_publisher: V3 V4 V5;
    retained_messages_come_for_wildcards: V3 V4 V5;
    retained_messages_come_for_each_filter_of_a_packet: V3 V4 V5;
    retained_messages_come_again_for_a_repeated_subscription: V3 V4 V5;
    retained_messages_do_not_come_for_a_session_that_returns: V3 V4 V5;
    retained_messages_do_not_come_for_a_refused_match: V3 V4 V5;
    many_retained_messages_all_come: V3 V4 V5;
    retained_message_of_one_level_is_not_that_of_another: V3 V4 V5;
    retained_dollar_topics_hide_from_a_leading_wildcard: V3 V4 V5;
    retained_at_qos_2_is_kept_once: V3 V4 V5;
    retain_as_published_keeps_the_flag: V5;
    retain_as_published_is_of_each_subscription: V5;
    retained_message_is_flagged_whatever_retain_as_published: V5;
    retain_handling_0_sends_each_time: V5;
    retain_handling_1_sends_to_a_new_subscription_only: V5;
    retain_handling_1_sends_again_after_unsubscribing: V5;
    retain_handling_1_does_not_send_to_a_subscription_of_an_earlier_connection: V5;
    retain_handling_2_sends_nothing: V5;
    retain_handling_is_of_each_filter: V5;
    subscription_identifier_stands_on_retained_messages: V5;
    versions_share_retained_messages: V3 V4 V5;
}

fn keep(case: &Case, topic: &str, payload: &str) {
    case.publish(case.message(topic, payload).retain(), 1);
}

fn subscriber(case: &Case, filter: &str, options: u8) -> Client {
    let mut subscriber = case.client("s");
    subscriber.subscribe_with(case.topic(filter), options);
    subscriber
}

/// What is kept under the case's topic `t`.
fn kept(case: &Case) -> Option<Vec<u8>> {
    let mut client = case.client("kept");
    client.subscribe(case.topic("t"), 0);
    client.subscribe(case.topic("end"), 0);
    client.send(case.message("end", "end").bytes());
    let first = client.publish();
    (first.topic == case.topic("t")).then_some(first.payload)
}

// [MQTT-3.3.1-5] [MQTT-3.3.1-9]
fn retained_message_is_kept(case: &Case) {
    keep(case, "t", "kept");
    let mut subscriber = subscriber(case, "t", 1);
    let publish = subscriber.receive(case.topic("t"), "kept", 1);
    assert!(publish.retain && !publish.dup);
    subscriber.expect_nothing();
}

// [MQTT-3.8.4-8]
fn retained_message_is_kept_at_its_qos(case: &Case) {
    for published in 0..=2 {
        case.publish(case.message("t", "kept").retain(), published);
        for granted in 0..=2 {
            subscriber(case, "t", granted).receive(case.topic("t"), "kept", granted.min(published));
        }
    }
}

// [MQTT-3.3.1-5]
fn retained_message_is_replaced(case: &Case) {
    for payload in ["first", "second", "third, which is longer", "4"] {
        keep(case, "t", payload);
        assert_eq!(kept(case).as_deref(), Some(payload.as_bytes()));
    }
    let mut subscriber = subscriber(case, "t", 1);
    subscriber.receive(case.topic("t"), "4", 1);
    subscriber.expect_nothing();
}

// [MQTT-3.3.1-6]
fn retained_message_is_removed_by_an_empty_one(case: &Case) {
    for qos in 0..=2 {
        keep(case, "t", "kept");
        case.publish(case.message("t", "").retain(), qos);
        assert_eq!(kept(case), None);
    }
}

// [MQTT-3.3.1-6]
fn empty_retained_message_is_delivered(case: &Case) {
    let mut subscriber = subscriber(case, "t", 1);
    keep(case, "t", "");
    assert!(!subscriber.receive(case.topic("t"), "", 1).retain);
}

// [MQTT-3.3.1-7]
fn empty_retained_message_is_not_kept(case: &Case) {
    keep(case, "t", "");
    subscriber(case, "t", 1).expect_nothing();
}

// [MQTT-3.3.1-8]
fn message_without_retain_changes_nothing(case: &Case) {
    case.publish(case.message("t", "passing"), 1);
    assert_eq!(kept(case), None);
    keep(case, "t", "kept");
    case.publish(case.message("t", "passing"), 1);
    assert_eq!(kept(case).as_deref(), Some(&b"kept"[..]));
}

// [MQTT-3.3.1-8]
fn empty_message_without_retain_removes_nothing(case: &Case) {
    keep(case, "t", "kept");
    case.publish(case.message("t", ""), 1);
    assert_eq!(kept(case).as_deref(), Some(&b"kept"[..]));
}

// [MQTT-3.3.1-12]
fn retain_flag_is_off_for_a_subscription_that_was_there(case: &Case) {
    let mut subscriber = subscriber(case, "t", 2);
    for qos in 0..=2 {
        case.publish(case.message("t", "news").retain(), qos);
        assert!(!subscriber.receive(case.topic("t"), "news", qos).retain);
    }
}

// Section 4.1: retained messages are no session state.
fn retained_messages_outlive_their_publisher(case: &Case) {
    let mut publisher = case.client("p");
    publisher.complete(case.message("t", "kept").retain(), 1);
    publisher.leave();
    case.client("p").leave();
    assert_eq!(kept(case).as_deref(), Some(&b"kept"[..]));
}

/// Topics and payloads of the retained messages that come for a filter, sorted.
fn come_for(case: &Case, filter: &str) -> Vec<String> {
    let mut client = subscriber(case, filter, 0);
    client.subscribe(case.topic("end/of/retained"), 0);
    client.send(case.message("end/of/retained", "end").bytes());
    let mut topics = Vec::new();
    loop {
        let publish = client.publish();
        if publish.payload == b"end" {
            topics.sort();
            return topics;
        }
        assert!(publish.retain, "{publish:02x?}");
        topics.push(publish.topic[case.topic("").len()..].to_owned());
    }
}

// [MQTT-3.3.1-9] [MQTT-3.3.2-3]
fn retained_messages_come_for_wildcards(case: &Case) {
    for topic in ["a", "a/b", "a/b/c", "a/", "/a", "b/b", "a//c"] {
        keep(case, topic, "kept");
    }
    assert_eq!(come_for(case, "#"), ["/a", "a", "a/", "a//c", "a/b", "a/b/c", "b/b"]);
    assert_eq!(come_for(case, "a/#"), ["a", "a/", "a//c", "a/b", "a/b/c"]);
    assert_eq!(come_for(case, "+"), ["a"]);
    assert_eq!(come_for(case, "+/b"), ["a/b", "b/b"]);
    assert_eq!(come_for(case, "a/+"), ["a/", "a/b"]);
    assert_eq!(come_for(case, "+/+"), ["/a", "a/", "a/b", "b/b"]);
    assert_eq!(come_for(case, "a/+/c"), ["a//c", "a/b/c"]);
    assert_eq!(come_for(case, "+/b/#"), ["a/b", "a/b/c", "b/b"]);
    assert_eq!(come_for(case, "c/#"), [""; 0]);
}

// [MQTT-3.8.4-5]
fn retained_messages_come_for_each_filter_of_a_packet(case: &Case) {
    keep(case, "a", "1");
    keep(case, "b", "2");
    let mut client = case.client("s");
    let subscribe = Subscribe::new(case.version, 1).filter(case.topic("a"), 1).filter(case.topic("b"), 0);
    client.send(subscribe.bytes());
    assert_eq!(client.suback().codes, [1, 0]);
    let mut got: Vec<_> = (0..2).map(|_| client.publish()).map(|p| (p.topic.clone(), p.qos, p.retain)).collect();
    got.sort();
    assert_eq!(got, [(case.topic("a"), 1, true), (case.topic("b"), 0, true)]);
}

// [MQTT-3.8.4-4] [MQTT-3.1.1 3.8.4-3]
fn retained_messages_come_again_for_a_repeated_subscription(case: &Case) {
    keep(case, "t", "kept");
    let mut client = case.client("s");
    for _ in 0..3 {
        client.subscribe(case.topic("t"), 0);
        assert!(client.receive(case.topic("t"), "kept", 0).retain);
    }
    client.expect_nothing();
}

// Section 3.3.1.3: retained messages are for subscribing, not for returning.
fn retained_messages_do_not_come_for_a_session_that_returns(case: &Case) {
    keep(case, "t", "kept");
    let mut client = case.lasting("s");
    client.subscribe(case.topic("t"), 1);
    client.receive(case.topic("t"), "kept", 1);
    client.ping();
    client.leave();
    case.lasting("s").expect_nothing();
}

// [MQTT-3.3.2-3]
fn retained_messages_do_not_come_for_a_refused_match(case: &Case) {
    keep(case, "t/a", "kept");
    for filter in ["t", "t/a/b", "t/a/+", "t/+/+", "T/a", "t/b", "+"] {
        assert_eq!(come_for(case, filter), [""; 0], "{filter}");
    }
}

// [MQTT-3.3.1-9]
fn many_retained_messages_all_come(case: &Case) {
    let mut publisher = case.client("p");
    let messages = (0..500).flat_map(|number| case.message(&format!("many/{number:03}"), "kept").retain().bytes());
    publisher.send(messages.collect::<Vec<u8>>());
    publisher.ping();
    let expected: Vec<String> = (0..500).map(|number| format!("many/{number:03}")).collect();
    assert_eq!(come_for(case, "many/+"), expected);
    let removals = (0..500).flat_map(|number| case.message(&format!("many/{number:03}"), "").retain().bytes());
    publisher.send(removals.collect::<Vec<u8>>());
    publisher.ping();
    assert_eq!(come_for(case, "many/+"), [""; 0]);
}

// [MQTT-4.7.3-4]
fn retained_message_of_one_level_is_not_that_of_another(case: &Case) {
    keep(case, "t", "short");
    keep(case, "t/t", "long");
    case.publish(case.message("t", "").retain(), 1);
    assert_eq!(come_for(case, "#"), ["t/t"]);
}

// [MQTT-4.7.2-1]
fn retained_dollar_topics_hide_from_a_leading_wildcard(case: &Case) {
    let topic = format!("$it/{}", case.id("$"));
    case.publish(Publish::new(case.version, &topic, "hidden").retain(), 1);
    let mut client = case.client("s");
    client.subscribe(format!("+/{}", case.id("$")), 0);
    client.subscribe(format!("+/{}/#", case.id("$")), 0);
    client.expect_nothing();
    client.subscribe(format!("$it/{}/#", case.id("$")), 0);
    assert!(client.receive(&topic, "hidden", 0).retain);
    case.publish(Publish::new(case.version, &topic, "").retain(), 1);
}

// [MQTT-4.3.3-10]
fn retained_at_qos_2_is_kept_once(case: &Case) {
    let mut publisher = case.client("p");
    let message = case.message("t", "kept").retain();
    publisher.send(message.clone().qos(2, 0xc0de).bytes());
    publisher.expect_success(crate::support::wire::PUBREC, 0xc0de);
    publisher.complete(message.dup(), 2);
    let mut subscriber = subscriber(case, "t", 2);
    assert!(subscriber.receive(case.topic("t"), "kept", 2).retain);
    subscriber.expect_nothing();
}

const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RETAIN_HANDLING_1: u8 = 0x10;
const RETAIN_HANDLING_2: u8 = 0x20;

// [MQTT-3.3.1-13]
fn retain_as_published_keeps_the_flag(case: &Case) {
    let mut subscriber = subscriber(case, "t", RETAIN_AS_PUBLISHED | 1);
    for retain in [true, false, true] {
        let message = case.message("t", "x");
        case.publish(if retain { message.retain() } else { message }, 1);
        assert_eq!(subscriber.receive(case.topic("t"), "x", 1).retain, retain);
    }
}

// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
fn retain_as_published_is_of_each_subscription(case: &Case) {
    let mut with = case.client("with");
    with.subscribe_with(case.topic("t"), RETAIN_AS_PUBLISHED);
    let mut without = case.client("without");
    without.subscribe(case.topic("t"), 0);
    case.publish(case.message("t", "x").retain(), 0);
    assert!(with.receive(case.topic("t"), "x", 0).retain);
    assert!(!without.receive(case.topic("t"), "x", 0).retain);
}

// Section 3.3.1.3: a message that was kept says so.
fn retained_message_is_flagged_whatever_retain_as_published(case: &Case) {
    keep(case, "t", "kept");
    for options in [0, RETAIN_AS_PUBLISHED] {
        assert!(subscriber(case, "t", options).receive(case.topic("t"), "kept", 0).retain);
    }
}

// [MQTT-3.3.1-9]
fn retain_handling_0_sends_each_time(case: &Case) {
    keep(case, "t", "kept");
    let mut client = subscriber(case, "t", 0);
    client.receive(case.topic("t"), "kept", 0);
    client.subscribe_with(case.topic("t"), 1);
    client.receive(case.topic("t"), "kept", 1);
}

// [MQTT-3.3.1-10]
fn retain_handling_1_sends_to_a_new_subscription_only(case: &Case) {
    keep(case, "t", "kept");
    let mut client = subscriber(case, "t", RETAIN_HANDLING_1);
    client.receive(case.topic("t"), "kept", 0);
    client.subscribe_with(case.topic("t"), RETAIN_HANDLING_1);
    client.subscribe_with(case.topic("t"), RETAIN_HANDLING_1 | 2);
    client.expect_nothing();
    // Another filter is another subscription.
    client.subscribe_with(case.topic("+"), RETAIN_HANDLING_1);
    client.receive(case.topic("t"), "kept", 0);
}

// [MQTT-3.3.1-10]
fn retain_handling_1_sends_again_after_unsubscribing(case: &Case) {
    keep(case, "t", "kept");
    let mut client = subscriber(case, "t", RETAIN_HANDLING_1);
    client.receive(case.topic("t"), "kept", 0);
    client.unsubscribe(case.topic("t"));
    client.subscribe_with(case.topic("t"), RETAIN_HANDLING_1);
    client.receive(case.topic("t"), "kept", 0);
}

// [MQTT-3.3.1-10]
fn retain_handling_1_does_not_send_to_a_subscription_of_an_earlier_connection(case: &Case) {
    keep(case, "t", "kept");
    let mut client = case.lasting("s");
    client.subscribe_with(case.topic("t"), RETAIN_HANDLING_1);
    client.receive(case.topic("t"), "kept", 0);
    client.leave();
    let mut client = case.accepted(case.connect("s").lasting()).0;
    client.subscribe_with(case.topic("t"), RETAIN_HANDLING_1);
    client.expect_nothing();
}

// [MQTT-3.3.1-11]
fn retain_handling_2_sends_nothing(case: &Case) {
    keep(case, "t", "kept");
    let mut client = subscriber(case, "t", RETAIN_HANDLING_2);
    client.subscribe_with(case.topic("+"), RETAIN_HANDLING_2);
    client.expect_nothing();
    // What is published from now on comes.
    case.publish(case.message("t", "news"), 0);
    client.receive(case.topic("t"), "news", 0);
}

// [MQTT-3.3.1-9] [MQTT-3.3.1-11]
fn retain_handling_is_of_each_filter(case: &Case) {
    keep(case, "a", "1");
    keep(case, "b", "2");
    let mut client = case.client("s");
    let subscribe =
        Subscribe::new(case.version, 1).filter(case.topic("a"), RETAIN_HANDLING_2).filter(case.topic("b"), 0);
    client.send(subscribe.bytes());
    client.suback();
    client.receive(case.topic("b"), "2", 0);
    client.expect_nothing();
}

// [MQTT-3.3.4-3]
fn subscription_identifier_stands_on_retained_messages(case: &Case) {
    keep(case, "t", "kept");
    let mut client = case.client("s");
    let identifier = property::subscription_identifier(77);
    client.send(Subscribe::new(case.version, 1).filter(case.topic("t"), 0).with(identifier.clone()).bytes());
    client.suback();
    assert_eq!(client.receive(case.topic("t"), "kept", 0).properties.all(0x0b), [identifier]);
}

/// Kept by the case's version, and seen by each.
fn versions_share_retained_messages(case: &Case) {
    keep(case, "t", "kept");
    for version in [Version::V3, Version::V4, Version::V5] {
        let mut client = case.accepted(crate::support::wire::Connect::new(version, case.id("s"))).0;
        client.subscribe(case.topic("t"), 1);
        assert!(client.receive(case.topic("t"), "kept", 1).retain);
    }
}
