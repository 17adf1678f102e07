//! Properties of PUBLISH and topic aliases: section 3.3.2.3.

use std::collections::HashMap;

use crate::support::wire::{self, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, Subscribe, Version, property};
use crate::support::{Case, Client, cases, table};

cases! {
    properties_are_passed_on: V5;
    properties_of_each_kind_alone_are_passed_on: V5;
    properties_are_kept_with_a_retained_message: V5;
    properties_wait_with_a_queued_message: V5;
    user_properties_keep_their_order: V5;
    empty_strings_are_passed_on: V5;
    correlation_data_of_65_535_bytes: V5;
    properties_do_not_reach_version_4: V5;
    payload_that_is_not_what_it_claims_is_refused_at_qos_1: V5;
    payload_that_is_not_what_it_claims_is_refused_at_qos_2: V5;
    payload_that_claims_nothing_may_be_anything: V5;
    payload_that_is_what_it_claims_is_delivered: V5;
    message_expiry_is_passed_on: V5;
    message_expiry_counts_down_for_a_retained_message: V5;
    retained_message_expires: V5;
    qos_2_is_acknowledged_to_its_end_though_the_message_has_expired: V5;
    no_problem_information_unless_wanted: V5;
    alias_stands_for_its_topic: V5;
    alias_may_be_given_another_topic: V5;
    aliases_at_each_qos: V5;
    highest_alias_is_accepted: V5;
    alias_beyond_the_maximum_is_refused: V5;
    alias_65_535_is_refused_or_works: V5;
    alias_without_topic_is_a_protocol_error: V5;
    alias_ends_with_its_connection: V5;
    aliases_of_two_clients_are_apart: V5;
    alias_of_the_publisher_is_not_passed_on: V5;
    no_alias_for_a_client_that_takes_none: V5;
    aliases_of_the_broker_keep_to_the_maximum: V5;
}

fn malformed_or_protocol_error(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x81, 0x82]);
}

fn topic_refused(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x81, 0x82, 0x90]);
}

// [MQTT-3.3.2-14]
table! { topic_refused:
    response_topic_with_hash: V5 => |case| case.message("t", "x").with(property::response_topic("a/#")).bytes();
    response_topic_with_plus: V5 => |case| case.message("t", "x").with(property::response_topic("+/a")).bytes();
}

table! { malformed_or_protocol_error:
    payload_format_indicator_2: V5 => |case| case.message("t", "x").with(property::payload_format_indicator(2)).bytes();
    payload_format_indicator_255: V5 => |case| case.message("t", "x").with(property::payload_format_indicator(255)).bytes();
    // [MQTT-3.3.4-6]
    subscription_identifier_from_a_client: V5 => |case|
        case.message("t", "x").with(property::subscription_identifier(1)).bytes();
}

/// The standard says only that 0 is not permitted.
fn alias_invalid(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x94, 0x82, 0x81]);
}

// [MQTT-3.3.2-8]
table! { alias_invalid:
    alias_0: V5 => |case| case.message("t", "x").with(property::topic_alias(0)).bytes();
    alias_0_without_topic: V5 => |case| Publish::new(case.version, "", "x").with(property::topic_alias(0)).bytes();
}

fn subscriber(case: &Case) -> Client {
    let mut subscriber = case.client("s");
    subscriber.subscribe(case.topic("t"), 2);
    subscriber
}

fn everything() -> Vec<Vec<u8>> {
    vec![
        property::payload_format_indicator(1),
        property::content_type("application/json; charset=\u{fc}"),
        property::response_topic("answers/to/$me"),
        property::correlation_data([0, 0xff, 7]),
        property::user("k", "v"),
        property::user("", "\u{1f980}"),
    ]
}

/// Publishes a message with these properties at each QoS and checks that they, and no others, arrive.
fn pass_on(case: &Case, subscriber: &mut Client, carried: &[Vec<u8>]) {
    for qos in 0..=2 {
        case.publish(case.message("t", "payload").with(carried.concat()), qos);
        let publish = subscriber.receive(case.topic("t"), "payload", qos);
        for property in carried {
            assert!(publish.properties.has(property), "{property:02x?} is missing in {publish:02x?}");
        }
        assert_eq!(publish.properties.0.len(), carried.len(), "{publish:02x?}");
    }
}

// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
fn properties_are_passed_on(case: &Case) {
    pass_on(case, &mut subscriber(case), &everything());
}

// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
fn properties_of_each_kind_alone_are_passed_on(case: &Case) {
    let mut subscriber = subscriber(case);
    for property in everything() {
        pass_on(case, &mut subscriber, &[property]);
    }
    pass_on(case, &mut subscriber, &[property::payload_format_indicator(0)]);
}

// [MQTT-3.3.1-5]: the message is stored as it came.
fn properties_are_kept_with_a_retained_message(case: &Case) {
    case.publish(case.message("t", "kept").retain().with(everything().concat()), 1);
    let publish = subscriber(case).receive(case.topic("t"), "kept", 1);
    assert!(everything().iter().all(|property| publish.properties.has(property)), "{publish:02x?}");
}

// [MQTT-4.5.0-1]
fn properties_wait_with_a_queued_message(case: &Case) {
    let mut client = case.lasting("away");
    client.subscribe(case.topic("t"), 1);
    client.leave();
    case.publish(case.message("t", "queued").with(everything().concat()), 1);
    let publish = case.accepted(case.connect("away").lasting()).0.receive(case.topic("t"), "queued", 1);
    assert!(everything().iter().all(|property| publish.properties.has(property)), "{publish:02x?}");
}

// [MQTT-3.3.2-18]
fn user_properties_keep_their_order(case: &Case) {
    let mut subscriber = subscriber(case);
    let pairs: Vec<_> = [("z", "1"), ("a", "2"), ("z", "1"), ("m", ""), ("", "m"), ("a", "1")]
        .into_iter()
        .map(|(name, value)| property::user(name, value))
        .collect();
    // Others stand between them.
    let block = [&pairs[..3].concat()[..], &property::content_type("c"), &pairs[3..].concat()].concat();
    case.publish(case.message("t", "x").with(block), 1);
    assert_eq!(subscriber.receive(case.topic("t"), "x", 1).properties.all(0x26), pairs);
}

// Section 1.5.4: a string may have no bytes.
fn empty_strings_are_passed_on(case: &Case) {
    let carried = [property::content_type(""), property::correlation_data(""), property::user("", "")];
    pass_on(case, &mut subscriber(case), &carried);
}

// [MQTT-3.3.2-16]
fn correlation_data_of_65_535_bytes(case: &Case) {
    pass_on(case, &mut subscriber(case), &[property::correlation_data(vec![0xa5; 65_535])]);
}

/// What 3.1.1 has no room for is left out for a subscriber of 3.1.1.
fn properties_do_not_reach_version_4(case: &Case) {
    let mut subscriber = case.accepted(Connect::new(Version::V4, case.id("s"))).0;
    subscriber.subscribe(case.topic("t"), 0);
    case.publish(case.message("t", "x").with(everything().concat()), 1);
    subscriber.expect(Publish::new(Version::V4, case.topic("t"), "x").bytes());
}

// Section 3.3.2.3.2: 0x99.
fn payload_that_is_not_what_it_claims_is_refused_at_qos_1(case: &Case) {
    let mut subscriber = subscriber(case);
    let mut client = case.client("p");
    client.send(case.message("t", b"\xff").with(property::payload_format_indicator(1)).qos(1, 1).bytes());
    assert_eq!(client.ack(PUBACK).reason, 0x99);
    client.ping();
    subscriber.expect_nothing();
}

// Section 3.3.2.3.2: 0x99; [MQTT-4.3.3-9]: the identifier is free again.
fn payload_that_is_not_what_it_claims_is_refused_at_qos_2(case: &Case) {
    let mut subscriber = subscriber(case);
    let mut client = case.client("p");
    client.send(case.message("t", b"\xff").with(property::payload_format_indicator(1)).qos(2, 0xc0de).bytes());
    assert_eq!(client.ack(PUBREC).reason, 0x99);
    client.complete(case.message("t", "new"), 2);
    subscriber.receive(case.topic("t"), "new", 2);
    subscriber.expect_nothing();
}

// Section 3.3.2.3.2
fn payload_that_claims_nothing_may_be_anything(case: &Case) {
    let mut subscriber = subscriber(case);
    case.publish(case.message("t", b"\xff").with(property::payload_format_indicator(0)), 1);
    subscriber.receive(case.topic("t"), b"\xff", 1);
}

// [MQTT-3.3.2-4]
fn payload_that_is_what_it_claims_is_delivered(case: &Case) {
    let mut subscriber = subscriber(case);
    for payload in ["", "gr\u{fc}n \u{10fffd}", "nul \0 is no matter in a payload"] {
        case.publish(case.message("t", payload).with(property::payload_format_indicator(1)), 1);
        subscriber.receive(case.topic("t"), payload, 1);
    }
}

// [MQTT-3.3.2-6]
fn message_expiry_is_passed_on(case: &Case) {
    let mut subscriber = subscriber(case);
    for seconds in [100, u32::MAX] {
        case.publish(case.message("t", "x").with(property::message_expiry_interval(seconds)), 1);
        let left = subscriber.receive(case.topic("t"), "x", 1).properties.four(0x02).expect("message expiry interval");
        assert!((seconds - 10..=seconds).contains(&left), "{left} of {seconds}");
    }
    case.publish(case.message("t", "x"), 1);
    assert_eq!(subscriber.receive(case.topic("t"), "x", 1).properties.four(0x02), None);
}

// [MQTT-3.3.2-6]
fn message_expiry_counts_down_for_a_retained_message(case: &Case) {
    case.publish(case.message("t", "x").retain().with(property::message_expiry_interval(600)), 1);
    case.let_broker_time_pass(2);
    let left = subscriber(case).receive(case.topic("t"), "x", 1).properties.four(0x02);
    assert!(matches!(left, Some(580..=598)), "{left:?}");
}

// [MQTT-3.3.2-5], section 3.3.2.3.3
fn retained_message_expires(case: &Case) {
    case.publish(case.message("t", "x").retain().with(property::message_expiry_interval(1)), 1);
    case.let_broker_time_pass(3);
    subscriber(case).expect_nothing();
}

// [MQTT-4.3.3-13]
fn qos_2_is_acknowledged_to_its_end_though_the_message_has_expired(case: &Case) {
    let mut publisher = case.client("p");
    let publish = case.message("t", "x").with(property::message_expiry_interval(1)).qos(2, 5);
    publisher.send(publish.bytes());
    publisher.ack(PUBREC);
    case.let_broker_time_pass(2);
    publisher.send(publish.dup().bytes());
    publisher.ack(PUBREC);
    publisher.send(wire::ack(PUBREL, 5));
    publisher.expect_success(PUBCOMP, 5);
}

// [MQTT-3.1.2-29]
fn no_problem_information_unless_wanted(case: &Case) {
    let connect = case.connect("a").with(property::request_problem_information(0));
    let mut client = case.accepted(connect).0;
    let subscribe = Subscribe::new(case.version, 3).filter(case.topic("t"), 0).filter("$share/g/", 0);
    client.send(case.message("nobody", "x").qos(1, 1).bytes());
    assert!(client.ack(PUBACK).properties.0.is_empty());
    client.send(case.message("nobody", "x").qos(2, 2).bytes());
    assert!(client.ack(PUBREC).properties.0.is_empty());
    client.send(wire::Unsubscribe::new(case.version, 2).filter("never/subscribed").bytes());
    assert!(client.unsuback().properties.0.is_empty());
    client.send(subscribe.bytes());
    if let Some(frame) = client.next_or_close().filter(|frame| frame.kind() == wire::SUBACK) {
        assert!(crate::support::received::SubAck::read(case.version, wire::SUBACK, &frame).properties.0.is_empty());
    }
}

fn aliased(case: &Case, topic: &str, alias: u16, payload: &str) -> Publish {
    let topic = if topic.is_empty() { String::new() } else { case.topic(topic) };
    Publish::new(case.version, topic, payload).with(property::topic_alias(alias))
}

// [MQTT-3.3.2-12]
fn alias_stands_for_its_topic(case: &Case) {
    let mut subscriber = subscriber(case);
    let mut client = case.client("p");
    client.send(aliased(case, "t", 1, "with both").bytes());
    for _ in 0..3 {
        client.send(aliased(case, "", 1, "with the alias").bytes());
    }
    client.send(case.message("t", "with the topic").bytes());
    subscriber.receive(case.topic("t"), "with both", 0);
    for _ in 0..3 {
        subscriber.receive(case.topic("t"), "with the alias", 0);
    }
    subscriber.receive(case.topic("t"), "with the topic", 0);
}

// Section 3.3.2.3.4
fn alias_may_be_given_another_topic(case: &Case) {
    let mut subscriber = case.client("s");
    subscriber.subscribe(case.topic("#"), 0);
    let mut client = case.client("p");
    for topic in ["one", "two", "one"] {
        client.send(aliased(case, topic, 2, "named").bytes());
        client.send(aliased(case, "", 2, "aliased").bytes());
        subscriber.receive(case.topic(topic), "named", 0);
        subscriber.receive(case.topic(topic), "aliased", 0);
    }
}

// [MQTT-3.3.2-12]
fn aliases_at_each_qos(case: &Case) {
    let mut subscriber = subscriber(case);
    let mut client = case.client("p");
    for qos in 0..=2 {
        client.complete(aliased(case, "t", 1, "named"), qos);
        client.complete(aliased(case, "", 1, "aliased"), qos);
        subscriber.receive(case.topic("t"), "named", qos);
        subscriber.receive(case.topic("t"), "aliased", qos);
    }
}

// [MQTT-3.3.2-12]
fn highest_alias_is_accepted(case: &Case) {
    let highest = case.limits().topic_alias_maximum;
    assert!(highest > 0, "the broker takes no aliases");
    let mut subscriber = subscriber(case);
    let mut client = case.client("p");
    client.send([aliased(case, "t", highest, "1").bytes(), aliased(case, "", highest, "2").bytes()].concat());
    subscriber.receive(case.topic("t"), "1", 0);
    subscriber.receive(case.topic("t"), "2", 0);
}

// [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.2.2-18]
fn alias_beyond_the_maximum_is_refused(case: &Case) {
    // Where the maximum is 65,535, `alias_65_535_is_refused_or_works` is all there is to try.
    let Some(beyond) = case.limits().topic_alias_maximum.checked_add(1) else { return };
    let mut client = case.client("p");
    client.send(aliased(case, "t", beyond, "x").bytes());
    client.expect_disconnect(&[0x94]);
}

// [MQTT-3.3.2-9] [MQTT-3.3.2-12]
fn alias_65_535_is_refused_or_works(case: &Case) {
    let mut subscriber = subscriber(case);
    let mut client = case.client("p");
    client.send(aliased(case, "t", 65_535, "x").bytes());
    if case.limits().topic_alias_maximum == 65_535 {
        subscriber.receive(case.topic("t"), "x", 0);
    } else {
        client.expect_disconnect(&[0x94]);
        subscriber.expect_nothing();
    }
}

// Section 3.3.2.3.4: 0x82.
fn alias_without_topic_is_a_protocol_error(case: &Case) {
    let mut client = case.client("p");
    client.send(aliased(case, "", 1, "x").bytes());
    client.expect_disconnect(&[0x82]);
}

// [MQTT-3.3.2-7]
fn alias_ends_with_its_connection(case: &Case) {
    let mut client = case.lasting("p");
    client.send(aliased(case, "t", 1, "x").bytes());
    client.ping();
    client.leave();
    let mut client = case.accepted(case.connect("p").lasting()).0;
    client.send(aliased(case, "", 1, "x").bytes());
    client.expect_disconnect(&[0x82]);
}

// Section 3.3.2.3.4: a mapping belongs to its connection.
fn aliases_of_two_clients_are_apart(case: &Case) {
    let mut subscriber = case.client("s");
    subscriber.subscribe(case.topic("#"), 0);
    let (mut one, mut two) = (case.client("1"), case.client("2"));
    one.complete(aliased(case, "one", 1, "1"), 0);
    two.complete(aliased(case, "two", 1, "2"), 0);
    one.complete(aliased(case, "", 1, "1 again"), 0);
    subscriber.receive(case.topic("one"), "1", 0);
    subscriber.receive(case.topic("two"), "2", 0);
    subscriber.receive(case.topic("one"), "1 again", 0);
}

// Section 3.3.2.3.4
fn alias_of_the_publisher_is_not_passed_on(case: &Case) {
    let mut subscriber = subscriber(case);
    case.publish(aliased(case, "t", 1, "x"), 1);
    assert_eq!(subscriber.receive(case.topic("t"), "x", 1).properties.two(0x23), None);
}

// [MQTT-3.1.2-27]
fn no_alias_for_a_client_that_takes_none(case: &Case) {
    let mut subscriber = case.accepted(case.connect("s").with(property::topic_alias_maximum(0))).0;
    subscriber.subscribe(case.topic("t"), 0);
    for _ in 0..10 {
        case.publish(case.message("t", "x"), 0);
        assert_eq!(subscriber.receive(case.topic("t"), "x", 0).properties.two(0x23), None);
    }
}

// [MQTT-3.1.2-26] [MQTT-3.3.2-11]: whether it makes any is the broker's choice, what they mean is not.
fn aliases_of_the_broker_keep_to_the_maximum(case: &Case) {
    let mut subscriber = case.accepted(case.connect("s").with(property::topic_alias_maximum(3))).0;
    subscriber.subscribe(case.topic("#"), 0);
    let mut publisher = case.client("p");
    let mut topics: HashMap<u16, String> = HashMap::new();
    for number in 0..60 {
        let topic = format!("long/enough/to/be/worth/it/{}", number % 5);
        publisher.send(case.message(&topic, number.to_string()).bytes());
        let publish = subscriber.publish();
        let alias = publish.properties.two(0x23);
        assert!(alias.is_none_or(|alias| alias <= 3), "{publish:02x?}");
        let named = match (publish.topic.is_empty(), alias) {
            (true, Some(alias)) => topics.get(&alias).cloned().expect("an alias that was given a topic"),
            (false, Some(alias)) => {
                topics.insert(alias, publish.topic.clone());
                publish.topic
            }
            (_, None) => publish.topic,
        };
        assert_eq!((named, publish.payload), (case.topic(&topic), number.to_string().into_bytes()));
    }
}
