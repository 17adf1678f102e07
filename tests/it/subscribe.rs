//! SUBSCRIBE and UNSUBSCRIBE: sections 3.8 to 3.11.

use crate::support::received::Publish;
use crate::support::wire::{
    self, PUBACK, SUBSCRIBE, Subscribe, UNSUBSCRIBE, Unsubscribe, Version, packet, properties, property,
};
use crate::support::{Case, Client, cases, table};

cases! {
    suback_grants_what_was_asked_for: V3 V4 V5;
    suback_has_a_code_for_each_filter_in_order: V3 V4 V5;
    suback_carries_the_packet_id: V3 V4 V5;
    a_hundred_filters_in_one_packet: V3 V4 V5;
    the_same_filter_twice_in_one_packet: V3 V4 V5;
    repeated_subscription_replaces_the_first: V3 V4 V5;
    repeated_subscription_is_one_subscription: V3 V4 V5;
    repeated_subscription_replaces_its_options: V5;
    overlapping_subscriptions_deliver_once_at_the_highest_qos: V3 V4 V5;
    overlapping_subscriptions_deliver_all_identifiers: V5;
    overlapping_subscription_without_identifier_adds_none: V5;
    identifier_is_of_every_filter_in_its_packet: V5;
    identifier_of_each_size: V5;
    identifier_goes_with_its_subscription: V5;
    identifier_is_replaced: V5;
    the_same_identifier_for_several_subscriptions: V5;
    user_properties_of_subscribe_and_unsubscribe_are_allowed: V5;
    no_local_keeps_own_messages_away: V5;
    no_local_is_about_the_client_id: V5;
    no_local_of_one_subscription_does_not_bind_another: V5;
    unsubscribe_ends_the_subscription: V3 V4 V5;
    unsubscribe_of_an_unknown_filter_is_answered: V3 V4;
    unsubscribe_of_an_unknown_filter_says_so: V5;
    unsubscribe_has_a_code_for_each_filter_in_order: V5;
    unsubscribe_of_several_filters_is_one_unsuback: V3 V4 V5;
    unsubscribe_compares_filters_exactly: V3 V4 V5;
    unsubscribe_of_the_same_filter_twice_in_one_packet: V5;
    unsubscribe_leaves_what_was_sent_to_be_completed: V3 V4 V5;
    unsubscribe_carries_the_packet_id: V3 V4 V5;
    subscriptions_are_of_the_client: V3 V4 V5;
    filter_of_65_535_bytes: V3 V4 V5;
    subscribe_and_unsubscribe_in_one_segment: V3 V4 V5;
    ten_thousand_subscriptions_come_and_go: V3 V4 V5;
}

fn refused(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x81, 0x82]);
}

fn empty(case: &Case, first: u8) -> Vec<u8> {
    let block = if case.version == Version::V5 { properties(&[]) } else { vec![] };
    packet(first, &[&[0, 1][..], &block].concat())
}

table! { refused:
    // [MQTT-3.8.3-2]
    subscribe_without_filters: V4 V5 => |case| empty(case, SUBSCRIBE);
    // [MQTT-3.10.3-2]
    unsubscribe_without_filters: V4 V5 => |case| empty(case, UNSUBSCRIBE);
    // [MQTT-3.8.3-5]
    subscribe_with_reserved_bit_6: V4 V5 => |case| Subscribe::new(case.version, 1).filter("a", 0x40).bytes();
    subscribe_with_reserved_bit_7: V4 V5 => |case| Subscribe::new(case.version, 1).filter("a", 0x80).bytes();
    subscribe_with_options_of_version_5: V4 => |case| Subscribe::new(case.version, 1).filter("a", 0x04).bytes();
    subscribe_at_qos_3: V3 V4 V5 => |case| Subscribe::new(case.version, 1).filter("a", 3).bytes();
    subscribe_with_retain_handling_3: V5 => |case| Subscribe::new(case.version, 1).filter("a", 0x30).bytes();
    subscribe_with_a_bad_second_filter_option: V4 V5 => |case|
        Subscribe::new(case.version, 1).filter("a", 0).filter("b", 0xc1).bytes();
    // Section 3.8.2.1.2
    subscription_identifier_0: V5 => |case|
        Subscribe::new(case.version, 1).filter("a", 0).with(property::subscription_identifier(0)).bytes();
}

/// The standard does not name the answer to a filter that is none: the broker refuses it alone, or the whole packet.
fn bad_filter(case: &Case, filter: &str) {
    let mut client = case.client("a");
    client.send(Subscribe::new(case.version, 1).filter(filter, 0).bytes());
    match client.next_or_close() {
        None => assert_ne!(case.version, Version::V5, "5.0 says why"),
        Some(frame) if frame.kind() == wire::SUBACK => {
            let code = if case.version == Version::V5 { 0x8f } else { 0x80 };
            assert_eq!(frame.body.last(), Some(&code), "{frame:02x?}");
        }
        Some(frame) => {
            assert_eq!((case.version, frame.first), (Version::V5, wire::DISCONNECT), "{frame:02x?}");
            assert!(matches!(frame.body.first(), Some(0x81 | 0x82 | 0x8f)), "{frame:02x?}");
            client.expect_closed();
        }
    }
}

table! { bad_filter:
    // [MQTT-4.7.3-1]
    filter_that_is_empty: V3 V4 V5 => |_case| "";
    // [MQTT-4.7.1-1]
    filter_with_hash_before_the_end: V3 V4 V5 => |_case| "a/#/b";
    filter_with_hash_after_other_characters: V3 V4 V5 => |_case| "a/b#";
    filter_with_hash_before_other_characters: V3 V4 V5 => |_case| "a/#b";
    filter_with_two_hashes: V3 V4 V5 => |_case| "#/#";
    filter_of_two_hashes_in_a_level: V3 V4 V5 => |_case| "##";
    filter_with_hash_and_separator: V3 V4 V5 => |_case| "a/#/";
    // [MQTT-4.7.1-2]
    filter_with_plus_after_other_characters: V3 V4 V5 => |_case| "a+/b";
    filter_with_plus_before_other_characters: V3 V4 V5 => |_case| "a/+b";
    filter_of_two_pluses_in_a_level: V3 V4 V5 => |_case| "++";
    filter_with_plus_and_hash_in_a_level: V3 V4 V5 => |_case| "a/+#";
}

// [MQTT-3.8.4-1] [MQTT-3.8.4-7]
fn suback_grants_what_was_asked_for(case: &Case) {
    let mut client = case.client("a");
    for qos in 0..=2 {
        client.subscribe(case.topic("t"), qos);
    }
}

// [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1]
fn suback_has_a_code_for_each_filter_in_order(case: &Case) {
    let mut client = case.client("a");
    let filters = [("a", 2), ("b", 0), ("c", 1), ("a/+", 1), ("d/#", 2)];
    let subscribe = filters.iter().fold(Subscribe::new(case.version, 1), |s, (f, qos)| s.filter(case.topic(f), *qos));
    client.send(subscribe.bytes());
    assert_eq!(client.suback().codes, [2, 0, 1, 1, 2]);
    for (topic, qos) in [("a", 2), ("b", 0), ("c", 1), ("a/x", 1), ("d/e/f", 2)] {
        client.complete(case.message(topic, topic), 2);
        client.receive(case.topic(topic), topic, qos);
    }
}

// [MQTT-3.8.4-2] [MQTT-2.2.1-6]
fn suback_carries_the_packet_id(case: &Case) {
    let mut client = case.client("a");
    for id in [1, 256, 32_768, 65_535] {
        client.send(Subscribe::new(case.version, id).filter(case.topic("t"), 0).bytes());
        assert_eq!(client.suback().id, id);
    }
}

// [MQTT-3.8.4-6]
fn a_hundred_filters_in_one_packet(case: &Case) {
    let mut client = case.client("a");
    let subscribe = (0..100).fold(Subscribe::new(case.version, 1), |subscribe, number: u8| {
        subscribe.filter(case.topic(&number.to_string()), number % 3)
    });
    client.send(subscribe.bytes());
    assert_eq!(client.suback().codes, (0..100).map(|number| number % 3).collect::<Vec<u8>>());
}

// [MQTT-3.8.4-5] [MQTT-3.8.4-3]: as if they came one after the other.
fn the_same_filter_twice_in_one_packet(case: &Case) {
    let mut client = case.client("a");
    client.send(Subscribe::new(case.version, 1).filter(case.topic("t"), 2).filter(case.topic("t"), 0).bytes());
    assert_eq!(client.suback().codes, [2, 0]);
    client.complete(case.message("t", "x"), 2);
    client.receive(case.topic("t"), "x", 0);
    client.expect_nothing();
}

// [MQTT-3.8.4-3]
fn repeated_subscription_replaces_the_first(case: &Case) {
    let mut client = case.client("a");
    for qos in [1, 0, 2, 1] {
        client.subscribe(case.topic("t"), qos);
        client.complete(case.message("t", "x"), 2);
        client.receive(case.topic("t"), "x", qos);
        client.expect_nothing();
    }
}

// [MQTT-3.8.4-3]
fn repeated_subscription_is_one_subscription(case: &Case) {
    let mut client = case.client("a");
    for _ in 0..5 {
        client.subscribe(case.topic("t"), 0);
    }
    client.unsubscribe(case.topic("t"));
    client.send(case.message("t", "x").bytes());
    client.expect_nothing();
}

const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;

// [MQTT-3.8.4-3]
fn repeated_subscription_replaces_its_options(case: &Case) {
    let mut client = case.client("a");
    client.subscribe_with(case.topic("t"), NO_LOCAL | RETAIN_AS_PUBLISHED | 1);
    client.subscribe_with(case.topic("t"), 1);
    client.complete(case.message("t", "x").retain(), 1);
    assert!(!client.receive(case.topic("t"), "x", 1).retain);
    client.subscribe_with(case.topic("t"), NO_LOCAL | 0x20);
    client.complete(case.message("t", "own"), 1);
    client.expect_nothing();
}

/// The case's client with subscriptions to these filters, each with its identifier; 0 is none.
fn identified(case: &Case, filters: &[(&str, u8, usize)]) -> Client {
    let mut client = case.client("a");
    for (filter, qos, identifier) in filters {
        let mut subscribe = Subscribe::new(case.version, 1).filter(case.topic(filter), *qos);
        if *identifier > 0 {
            subscribe = subscribe.with(property::subscription_identifier(*identifier));
        }
        client.send(subscribe.bytes());
        assert_eq!(client.suback().codes, [*qos]);
    }
    client
}

/// The subscription identifiers on a message, sorted.
fn identifiers(publish: &Publish) -> Vec<Vec<u8>> {
    let mut identifiers = publish.properties.all(0x0b);
    identifiers.sort();
    identifiers
}

fn sorted(identifiers: &[usize]) -> Vec<Vec<u8>> {
    let mut sorted: Vec<_> = identifiers.iter().map(|value| property::subscription_identifier(*value)).collect();
    sorted.sort();
    sorted
}

// [MQTT-3.3.4-2]
fn overlapping_subscriptions_deliver_once_at_the_highest_qos(case: &Case) {
    let mut client = case.client("a");
    for (filter, qos) in [("a/b", 0), ("a/+", 2), ("a/#", 1), ("+/b", 0), ("a/b/#", 1)] {
        client.subscribe(case.topic(filter), qos);
    }
    for published in 0..=2 {
        client.complete(case.message("a/b", "once"), published);
        client.receive(case.topic("a/b"), "once", published);
    }
    client.expect_nothing();
}

// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
fn overlapping_subscriptions_deliver_all_identifiers(case: &Case) {
    let mut client = identified(case, &[("t", 0, 1), ("+", 1, 300), ("#", 2, 70_000), ("u", 0, 5)]);
    client.complete(case.message("t", "x"), 2);
    let publish = client.receive(case.topic("t"), "x", 2);
    assert_eq!(identifiers(&publish), sorted(&[1, 300, 70_000]));
}

// [MQTT-3.3.4-3]
fn overlapping_subscription_without_identifier_adds_none(case: &Case) {
    let mut client = identified(case, &[("t", 0, 9), ("+", 1, 0)]);
    client.complete(case.message("t", "x"), 1);
    assert_eq!(identifiers(&client.receive(case.topic("t"), "x", 1)), sorted(&[9]));
}

// Section 3.8.2.1.2
fn identifier_is_of_every_filter_in_its_packet(case: &Case) {
    let mut client = case.client("a");
    let subscribe = Subscribe::new(case.version, 1).filter(case.topic("a"), 0).filter(case.topic("b"), 0);
    client.send(subscribe.with(property::subscription_identifier(4)).bytes());
    client.suback();
    for topic in ["a", "b"] {
        client.send(case.message(topic, "x").bytes());
        assert_eq!(identifiers(&client.receive(case.topic(topic), "x", 0)), sorted(&[4]));
    }
}

// Section 3.8.2.1.2: 1 to 268,435,455.
fn identifier_of_each_size(case: &Case) {
    for identifier in [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
        let mut client = identified(case, &[("t", 0, identifier)]);
        client.send(case.message("t", "x").bytes());
        assert_eq!(identifiers(&client.receive(case.topic("t"), "x", 0)), sorted(&[identifier]));
    }
}

// [MQTT-3.3.4-3]
fn identifier_goes_with_its_subscription(case: &Case) {
    let mut client = identified(case, &[("t", 0, 1), ("+", 0, 2)]);
    client.unsubscribe(case.topic("t"));
    client.send(case.message("t", "x").bytes());
    assert_eq!(identifiers(&client.receive(case.topic("t"), "x", 0)), sorted(&[2]));
}

// [MQTT-3.8.4-3]
fn identifier_is_replaced(case: &Case) {
    let mut client = identified(case, &[("t", 0, 1), ("t", 0, 2)]);
    client.send(case.message("t", "x").bytes());
    assert_eq!(identifiers(&client.receive(case.topic("t"), "x", 0)), sorted(&[2]));
    // A subscription without one takes it away.
    client.subscribe(case.topic("t"), 0);
    client.send(case.message("t", "x").bytes());
    assert_eq!(identifiers(&client.receive(case.topic("t"), "x", 0)), sorted(&[]));
}

// Section 3.8.4: several subscriptions may have the same identifier.
fn the_same_identifier_for_several_subscriptions(case: &Case) {
    let mut client = identified(case, &[("t", 0, 8), ("+", 0, 8), ("u", 0, 8)]);
    client.send(case.message("u", "x").bytes());
    let publish = client.receive(case.topic("u"), "x", 0);
    assert!(identifiers(&publish).iter().all(|identifier| *identifier == property::subscription_identifier(8)));
    assert!(!identifiers(&publish).is_empty());
}

// Sections 3.8.2.1.3 and 3.10.2.1.2
fn user_properties_of_subscribe_and_unsubscribe_are_allowed(case: &Case) {
    let mut client = case.client("a");
    let pairs = [property::user("a", "b"), property::user("a", "b"), property::user("", "")].concat();
    client.send(Subscribe::new(case.version, 1).filter(case.topic("t"), 0).with(pairs.clone()).bytes());
    assert_eq!(client.suback().codes, [0]);
    client.send(Unsubscribe::new(case.version, 2).filter(case.topic("t")).with(pairs).bytes());
    assert_eq!(client.unsuback().codes, [0]);
}

// [MQTT-3.8.3-3]
fn no_local_keeps_own_messages_away(case: &Case) {
    let mut client = case.client("a");
    client.subscribe_with(case.topic("t"), NO_LOCAL | 1);
    for qos in 0..=2 {
        client.complete(case.message("t", "own"), qos);
    }
    case.publish(case.message("t", "another's"), 1);
    client.receive(case.topic("t"), "another's", 1);
    client.expect_nothing();
}

// [MQTT-3.8.3-3]: queued before, published by an earlier connection of the same client.
fn no_local_is_about_the_client_id(case: &Case) {
    let mut client = case.lasting("a");
    client.subscribe_with(case.topic("t"), NO_LOCAL | 1);
    client.leave();
    let mut client = case.accepted(case.connect("a").lasting()).0;
    client.complete(case.message("t", "own"), 1);
    client.expect_nothing();
}

// [MQTT-3.8.3-3]
fn no_local_of_one_subscription_does_not_bind_another(case: &Case) {
    let mut client = case.client("a");
    client.subscribe_with(case.topic("t"), NO_LOCAL | 2);
    client.subscribe_with(case.topic("+"), 1);
    client.complete(case.message("t", "own"), 2);
    client.receive(case.topic("t"), "own", 1);
    client.expect_nothing();
}

// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4]
fn unsubscribe_ends_the_subscription(case: &Case) {
    let mut client = case.client("a");
    for filter in ["t", "+", "#"] {
        client.subscribe(case.topic(filter), 0);
        client.unsubscribe(case.topic(filter));
    }
    client.send(case.message("t", "x").bytes());
    client.expect_nothing();
}

// [MQTT-3.10.4-5]
fn unsubscribe_of_an_unknown_filter_is_answered(case: &Case) {
    let mut client = case.client("a");
    client.send(Unsubscribe::new(case.version, 0x0102).filter(case.topic("never")).bytes());
    client.expect([0xb0, 2, 1, 2]);
}

// [MQTT-3.10.4-5] [MQTT-3.11.3-2]
fn unsubscribe_of_an_unknown_filter_says_so(case: &Case) {
    let mut client = case.client("a");
    client.subscribe(case.topic("t"), 0);
    for filter in ["never", "t/", "T", "+", "#", "t/#"] {
        client.send(Unsubscribe::new(case.version, 3).filter(case.topic(filter)).bytes());
        let unsuback = client.unsuback();
        assert_eq!((unsuback.id, unsuback.codes), (3, vec![0x11]), "{filter}");
    }
}

// [MQTT-3.11.3-1] [MQTT-3.10.4-6]
fn unsubscribe_has_a_code_for_each_filter_in_order(case: &Case) {
    let mut client = case.client("a");
    client.subscribe(case.topic("a"), 0);
    client.subscribe(case.topic("c"), 0);
    let filters = ["a", "b", "c", "d"].iter().fold(Unsubscribe::new(case.version, 3), |u, f| u.filter(case.topic(f)));
    client.send(filters.bytes());
    assert_eq!(client.unsuback().codes, [0, 0x11, 0, 0x11]);
}

// [MQTT-3.10.4-6]
fn unsubscribe_of_several_filters_is_one_unsuback(case: &Case) {
    let mut client = case.client("a");
    client.subscribe(case.topic("a"), 0);
    client.subscribe(case.topic("b"), 0);
    client.send(Unsubscribe::new(case.version, 3).filter(case.topic("a")).filter(case.topic("b")).bytes());
    assert_eq!(client.unsuback().id, 3);
    client.send([case.message("a", "x").bytes(), case.message("b", "x").bytes()].concat());
    client.expect_nothing();
}

// [MQTT-3.10.4-1]: `+` does not mean what it matches.
fn unsubscribe_compares_filters_exactly(case: &Case) {
    let mut client = case.client("a");
    client.subscribe(case.topic("a/b"), 0);
    client.send(Unsubscribe::new(case.version, 3).filter(case.topic("a/+")).filter(case.topic("#")).bytes());
    client.unsuback();
    client.send(case.message("a/b", "x").bytes());
    client.receive(case.topic("a/b"), "x", 0);
}

// [MQTT-3.10.4-6]: as if they came one after the other.
fn unsubscribe_of_the_same_filter_twice_in_one_packet(case: &Case) {
    let mut client = case.client("a");
    client.subscribe(case.topic("a"), 0);
    client.send(Unsubscribe::new(case.version, 3).filter(case.topic("a")).filter(case.topic("a")).bytes());
    assert_eq!(client.unsuback().codes, [0, 0x11]);
}

// [MQTT-3.10.4-3]
fn unsubscribe_leaves_what_was_sent_to_be_completed(case: &Case) {
    let mut client = case.client("a");
    client.subscribe(case.topic("t"), 2);
    case.publish(case.message("t", "one"), 1);
    case.publish(case.message("t", "two"), 2);
    let (one, two) = (client.publish(), client.publish());
    client.unsubscribe(case.topic("t"));
    client.acknowledge(&one);
    client.acknowledge(&two);
    client.expect_nothing();
}

// [MQTT-3.10.4-5]
fn unsubscribe_carries_the_packet_id(case: &Case) {
    let mut client = case.client("a");
    for id in [1, 256, 32_768, 65_535] {
        client.send(Unsubscribe::new(case.version, id).filter(case.topic("t")).bytes());
        assert_eq!(client.unsuback().id, id);
    }
}

// [MQTT-3.1.3-2]
fn subscriptions_are_of_the_client(case: &Case) {
    let (mut one, mut two) = (case.client("1"), case.client("2"));
    one.subscribe(case.topic("t"), 0);
    two.subscribe(case.topic("t"), 0);
    one.unsubscribe(case.topic("t"));
    case.publish(case.message("t", "x"), 0);
    two.receive(case.topic("t"), "x", 0);
    one.expect_nothing();
}

// [MQTT-4.7.3-3]
fn filter_of_65_535_bytes(case: &Case) {
    let filter = format!("{}/+/#", "f".repeat(65_531));
    assert_eq!(filter.len(), 65_535);
    let mut client = case.client("a");
    client.subscribe(&filter, 1);
    client.unsubscribe(&filter);
}

// Section 3.8.4: each is answered, in the order in which they came.
fn subscribe_and_unsubscribe_in_one_segment(case: &Case) {
    let mut client = case.client("a");
    let subscribe = Subscribe::new(case.version, 1).filter(case.topic("t"), 0).bytes();
    let unsubscribe = Unsubscribe::new(case.version, 2).filter(case.topic("t")).bytes();
    client.send([subscribe, unsubscribe].concat().repeat(50));
    for _ in 0..50 {
        assert_eq!(client.suback().id, 1);
        assert_eq!(client.unsuback().id, 2);
    }
    client.send(case.message("t", "x").qos(1, 1).bytes());
    client.expect_success(PUBACK, 1);
    client.expect_nothing();
}

/// A subscribe storm: as fast as it can be written, and nothing is left of it.
fn ten_thousand_subscriptions_come_and_go(case: &Case) {
    let mut client = case.client("a");
    for hundred in 0..100 {
        let filters = |number: u32| case.topic(&format!("{hundred}/{number}/+"));
        let subscribe =
            (0..100).fold(Subscribe::new(case.version, 1), |packet, number| packet.filter(filters(number), 0));
        client.send(subscribe.bytes());
        assert_eq!(client.suback().codes, [0; 100]);
    }
    client.send(case.message("57/33/x", "one of them").bytes());
    client.receive(case.topic("57/33/x"), "one of them", 0);
    for hundred in 0..100 {
        let filters = |number: u32| case.topic(&format!("{hundred}/{number}/+"));
        let unsubscribe =
            (0..100).fold(Unsubscribe::new(case.version, 1), |packet, number| packet.filter(filters(number)));
        client.send(unsubscribe.bytes());
        client.unsuback();
    }
    client.send(case.message("57/33/x", "none of them").bytes());
    client.expect_nothing();
}
