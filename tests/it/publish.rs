//! PUBLISH and its acknowledgements: sections 3.3 to 3.7 and 4.3 of both standards.

use crate::support::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, Version, ack, ack_because, packet};
use crate::support::{Case, Client, cases, table};

cases! {
    qos_0_is_delivered: V3 V4 V5;
    qos_1_is_delivered_and_acknowledged: V3 V4 V5;
    qos_2_is_delivered_and_acknowledged: V3 V4 V5;
    delivery_is_at_the_lower_qos_of_the_two: V3 V4 V5;
    acknowledgements_carry_the_packet_id: V3 V4 V5;
    empty_payload_is_delivered: V3 V4 V5;
    payload_is_not_looked_at: V3 V4 V5;
    payload_of_a_megabyte: V3 V4 V5;
    publisher_gets_its_own_message: V3 V4 V5;
    every_subscriber_gets_its_copy: V3 V4 V5;
    dup_of_the_publisher_is_not_passed_on: V3 V4 V5;
    qos_1_with_the_same_id_is_a_new_message: V3 V4 V5;
    qos_2_before_pubrel_is_a_repetition: V3 V4 V5;
    qos_2_repeated_many_times_is_delivered_once: V3 V4 V5;
    qos_2_after_pubcomp_is_a_new_message: V3 V4 V5;
    pubrel_repeated_is_answered_again: V3 V4;
    pubrel_for_an_unknown_id_is_answered: V3 V4;
    pubrel_for_an_unknown_id_says_so: V5;
    pubrec_for_an_unknown_id_is_answered: V4 V5;
    puback_for_an_unknown_id_does_no_harm: V3 V4 V5;
    pubcomp_for_an_unknown_id_does_no_harm: V3 V4 V5;
    puback_of_the_long_form_is_understood: V5;
    pubrec_of_each_form_is_understood: V5;
    pubrel_with_reason_92_is_answered: V5;
    several_qos_2_messages_are_released_in_any_order: V3 V4 V5;
    pubacks_come_in_order: V3 V4 V5;
    pubrecs_come_in_order: V3 V4 V5;
    pubrels_come_in_order: V3 V4 V5;
    one_topic_keeps_its_order: V3 V4 V5;
    order_holds_for_a_thousand_messages: V4 V5;
    packet_ids_to_a_client_are_unique: V3 V4 V5;
    packet_ids_of_the_two_directions_are_apart: V3 V4 V5;
    topic_of_65_535_bytes: V3 V4 V5;
    topics_that_differ_in_slashes_differ: V3 V4 V5;
    topics_with_spaces_and_case_differ: V3 V4 V5;
    versions_reach_each_other: V3 V4 V5;
    no_matching_subscribers_is_said: V5;
    a_matching_subscriber_is_success: V5;
    dollar_topic_of_a_client: V3 V4 V5;
}

fn refused(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x81, 0x82, 0x90]);
}

// [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1]
table! { refused:
    topic_with_hash: V3 V4 V5 => |case| case.message("#", "x").bytes();
    topic_with_plus: V3 V4 V5 => |case| case.message("+/a", "x").bytes();
    topic_with_plus_inside_a_level: V3 V4 V5 => |case| case.message("a+b", "x").bytes();
    topic_with_hash_inside_a_level: V3 V4 V5 => |case| case.message("a#/b", "x").bytes();
    topic_that_is_empty: V3 V4 V5 => |case| Publish::new(case.version, "", "x").bytes();
    topic_that_is_empty_at_qos_1: V3 V4 V5 => |case| Publish::new(case.version, "", "x").qos(1, 1).bytes();
}

// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]: reason codes that do not belong to the packet.
table! { refused:
    puback_with_reason_1: V5 => |_case| ack_because(PUBACK, 1, 0x01, &[]);
    puback_with_reason_92: V5 => |_case| ack_because(PUBACK, 1, 0x92, &[]);
    pubrec_with_reason_8e: V5 => |_case| ack_because(PUBREC, 1, 0x8e, &[]);
    pubrel_with_reason_10: V5 => |_case| ack_because(PUBREL, 1, 0x10, &[]);
    pubrel_with_reason_80: V5 => |_case| packet(PUBREL, &[0, 1, 0x80]);
    pubcomp_with_reason_97: V5 => |_case| packet(PUBCOMP, &[0, 1, 0x97]);
}

fn subscriber(case: &Case, qos: u8) -> Client {
    let mut subscriber = case.client("s");
    subscriber.subscribe(case.topic("t"), qos);
    subscriber
}

// [MQTT-4.3.1-1] [MQTT-2.2.1-2]
fn qos_0_is_delivered(case: &Case) {
    let mut subscriber = subscriber(case, 0);
    let mut publisher = case.client("p");
    publisher.send(case.message("t", "x").bytes());
    publisher.expect_only_pong();
    subscriber.expect(case.message("t", "x").bytes());
}

// [MQTT-4.3.2-4] [MQTT-4.3.2-2] [MQTT-3.3.4-1]
fn qos_1_is_delivered_and_acknowledged(case: &Case) {
    let mut subscriber = subscriber(case, 1);
    let mut publisher = case.client("p");
    publisher.send(case.message("t", "x").qos(1, 5).bytes());
    if case.version == Version::V5 {
        publisher.expect_success(PUBACK, 5);
    } else {
        publisher.expect([0x40, 2, 0, 5]);
    }
    let publish = subscriber.receive(case.topic("t"), "x", 1);
    assert!(!publish.dup && !publish.retain);
    subscriber.expect_nothing();
}

// [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-4.3.3-2] [MQTT-4.3.3-4]
fn qos_2_is_delivered_and_acknowledged(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let mut publisher = case.client("p");
    publisher.send(case.message("t", "x").qos(2, 5).bytes());
    publisher.expect_success(PUBREC, 5);
    publisher.expect_only_pong();
    publisher.send(ack(PUBREL, 5));
    if case.version == Version::V5 {
        publisher.expect_success(PUBCOMP, 5);
    } else {
        publisher.expect([0x70, 2, 0, 5]);
    }
    let publish = subscriber.publish();
    assert_eq!((publish.qos, publish.dup), (2, false));
    subscriber.send(ack(PUBREC, publish.id));
    if case.version == Version::V5 {
        subscriber.expect_success(PUBREL, publish.id);
    } else {
        subscriber.expect([&[0x62, 2][..], &publish.id.to_be_bytes()].concat());
    }
    subscriber.send(ack(PUBCOMP, publish.id));
    subscriber.expect_nothing();
}

// [MQTT-3.8.4-8]
fn delivery_is_at_the_lower_qos_of_the_two(case: &Case) {
    for granted in 0..=2 {
        let mut subscriber = subscriber(case, granted);
        for published in 0..=2 {
            case.publish(case.message("t", "x"), published);
            subscriber.receive(case.topic("t"), "x", granted.min(published));
        }
        subscriber.leave();
    }
}

// [MQTT-2.2.1-5]
fn acknowledgements_carry_the_packet_id(case: &Case) {
    let mut client = case.client("p");
    for id in [1, 2, 255, 256, 0x7fff, 0x8000, 65_535] {
        client.send(case.message("t", "x").qos(1, id).bytes());
        client.expect_success(PUBACK, id);
        client.send(case.message("t", "x").qos(2, id).bytes());
        client.expect_success(PUBREC, id);
        client.send(ack(PUBREL, id));
        client.expect_success(PUBCOMP, id);
    }
}

// Section 3.3.3: a payload of no bytes is valid.
fn empty_payload_is_delivered(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    for qos in 0..=2 {
        case.publish(case.message("t", ""), qos);
        subscriber.receive(case.topic("t"), "", qos);
    }
}

// Section 3.3.3
fn payload_is_not_looked_at(case: &Case) {
    let mut subscriber = subscriber(case, 1);
    let payload: Vec<u8> = (0..=255).rev().cycle().take(5000).collect();
    case.publish(case.message("t", &payload), 1);
    subscriber.receive(case.topic("t"), payload, 1);
}

// Section 3.3.3
fn payload_of_a_megabyte(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let payload: Vec<u8> = (0..1_000_000_u32).map(|index| (index * 7) as u8).collect();
    for qos in 0..=2 {
        case.publish(case.message("t", &payload), qos);
        subscriber.receive(case.topic("t"), &payload, qos);
    }
}

// Section 3.3.4
fn publisher_gets_its_own_message(case: &Case) {
    let mut client = subscriber(case, 2);
    for qos in 0..=2 {
        client.complete(case.message("t", "own"), qos);
        client.receive(case.topic("t"), "own", qos);
    }
}

// [MQTT-4.5.0-1]
fn every_subscriber_gets_its_copy(case: &Case) {
    let mut subscribers: Vec<_> = (0..20).map(|number| case.client(&format!("s{number}"))).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe(case.topic("t"), 2);
    }
    case.publish(case.message("t", "to all"), 2);
    for subscriber in &mut subscribers {
        subscriber.receive(case.topic("t"), "to all", 2);
        subscriber.expect_nothing();
    }
}

// [MQTT-3.3.1-3]
fn dup_of_the_publisher_is_not_passed_on(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let mut publisher = case.client("p");
    for qos in 1..=2 {
        publisher.complete(case.message("t", "said to be a duplicate").dup(), qos);
        assert!(!subscriber.receive(case.topic("t"), "said to be a duplicate", qos).dup);
    }
}

// [MQTT-4.3.2-5]
fn qos_1_with_the_same_id_is_a_new_message(case: &Case) {
    let mut subscriber = subscriber(case, 1);
    let mut publisher = case.client("p");
    for message in [case.message("t", "x").qos(1, 9), case.message("t", "x").qos(1, 9).dup()] {
        publisher.send(message.bytes());
        publisher.expect_success(PUBACK, 9);
        subscriber.receive(case.topic("t"), "x", 1);
    }
}

// [MQTT-4.3.3-10]
fn qos_2_before_pubrel_is_a_repetition(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let mut publisher = case.client("p");
    publisher.send(case.message("t", "x").qos(2, 9).bytes());
    publisher.expect_success(PUBREC, 9);
    publisher.send(case.message("t", "x").qos(2, 9).dup().bytes());
    publisher.expect_success(PUBREC, 9);
    publisher.send(ack(PUBREL, 9));
    publisher.expect_success(PUBCOMP, 9);
    subscriber.receive(case.topic("t"), "x", 2);
    subscriber.expect_nothing();
}

// [MQTT-4.3.3-10]
fn qos_2_repeated_many_times_is_delivered_once(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let mut publisher = case.client("p");
    let again = case.message("t", "x").qos(2, 9).dup().bytes();
    publisher.send([case.message("t", "x").qos(2, 9).bytes(), again.repeat(9)].concat());
    for _ in 0..10 {
        publisher.expect_success(PUBREC, 9);
    }
    publisher.send(ack(PUBREL, 9));
    publisher.expect_success(PUBCOMP, 9);
    subscriber.receive(case.topic("t"), "x", 2);
    subscriber.expect_nothing();
}

// [MQTT-4.3.3-12]
fn qos_2_after_pubcomp_is_a_new_message(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let mut publisher = case.client("p");
    for payload in ["one", "two"] {
        publisher.complete(case.message("t", payload), 2);
    }
    subscriber.receive(case.topic("t"), "one", 2);
    subscriber.receive(case.topic("t"), "two", 2);
    subscriber.expect_nothing();
}

// [MQTT-4.3.3-11]
fn pubrel_repeated_is_answered_again(case: &Case) {
    let mut client = case.client("p");
    client.complete(case.message("t", "x"), 2);
    for _ in 0..2 {
        client.send(ack(PUBREL, 0xc0de));
        client.expect_success(PUBCOMP, 0xc0de);
    }
}

// [MQTT-4.3.3-11]
fn pubrel_for_an_unknown_id_is_answered(case: &Case) {
    let mut client = case.client("p");
    client.send(ack(PUBREL, 4711));
    client.expect([0x70, 2, 0x12, 0x67]);
    client.ping();
}

// Section 3.7.2.1: 0x92.
fn pubrel_for_an_unknown_id_says_so(case: &Case) {
    let mut client = case.client("p");
    client.send(ack(PUBREL, 4711));
    let pubcomp = client.ack(PUBCOMP);
    assert_eq!((pubcomp.id, pubcomp.reason), (4711, 0x92));
    client.ping();
}

// Section 3.6.2.1: 0x92; 3.1.1 has the sender of an unknown message release it.
fn pubrec_for_an_unknown_id_is_answered(case: &Case) {
    let mut client = case.client("p");
    client.send(ack(PUBREC, 4711));
    let pubrel = client.ack(PUBREL);
    assert_eq!((pubrel.id, pubrel.reason), (4711, if case.version == Version::V5 { 0x92 } else { 0 }));
    client.send(ack(PUBCOMP, 4711));
    client.ping();
}

// Section 4.3.2: nothing in the standard calls it an error.
fn puback_for_an_unknown_id_does_no_harm(case: &Case) {
    let mut client = subscriber(case, 2);
    client.send(ack(PUBACK, 4711));
    client.complete(case.message("t", "still here"), 1);
    client.receive(case.topic("t"), "still here", 1);
}

// Section 4.3.3: nothing in the standard calls it an error.
fn pubcomp_for_an_unknown_id_does_no_harm(case: &Case) {
    let mut client = subscriber(case, 2);
    client.send(ack(PUBCOMP, 4711));
    client.complete(case.message("t", "still here"), 2);
    client.receive(case.topic("t"), "still here", 2);
}

// Section 3.4.2: reason code and properties may be there though they say nothing.
fn puback_of_the_long_form_is_understood(case: &Case) {
    use wire::property::{reason_string, user};
    let mut client = subscriber(case, 1);
    let forms: [&dyn Fn(u16) -> Vec<u8>; 4] = [
        &|id| packet(PUBACK, &[&id.to_be_bytes()[..], &[0]].concat()),
        &|id| ack_because(PUBACK, id, 0, &[]),
        &|id| ack_because(PUBACK, id, 0x10, &[]),
        &|id| ack_because(PUBACK, id, 0x80, &[user("a", "b"), reason_string("no"), user("a", "c")].concat()),
    ];
    for form in forms {
        client.complete(case.message("t", "x"), 1);
        let publish = client.publish();
        client.send(form(publish.id));
        client.ping();
    }
}

// Section 3.5.2
fn pubrec_of_each_form_is_understood(case: &Case) {
    let mut client = subscriber(case, 2);
    for (reason, block) in [(0x00, vec![]), (0x10, vec![]), (0x00, wire::property::reason_string("yes"))] {
        client.complete(case.message("t", "x"), 2);
        let publish = client.publish();
        client.send(ack_because(PUBREC, publish.id, reason, &block));
        client.expect_success(PUBREL, publish.id);
        client.send(ack_because(PUBCOMP, publish.id, 0, &block));
    }
    client.ping();
}

// Section 3.6.2.1: a client may know nothing of the message.
fn pubrel_with_reason_92_is_answered(case: &Case) {
    let mut client = case.client("p");
    client.send(ack_because(PUBREL, 12, 0x92, &[]));
    assert_eq!(client.ack(PUBCOMP).id, 12);
    client.ping();
}

// [MQTT-4.3.3-11]
fn several_qos_2_messages_are_released_in_any_order(case: &Case) {
    let mut subscriber = subscriber(case, 0);
    let mut publisher = case.client("p");
    for id in 1..=5 {
        publisher.send(case.message("t", id.to_string()).qos(2, id).bytes());
        publisher.expect_success(PUBREC, id);
    }
    for id in [3, 5, 1, 2, 4] {
        publisher.send(ack(PUBREL, id));
        publisher.expect_success(PUBCOMP, id);
    }
    let mut got: Vec<Vec<u8>> = (0..5).map(|_| subscriber.publish().payload).collect();
    got.sort();
    assert_eq!(got, [b"1", b"2", b"3", b"4", b"5"]);
    subscriber.expect_nothing();
}

// [MQTT-4.6.0-2]
fn pubacks_come_in_order(case: &Case) {
    let mut client = case.client("p");
    let ids = [9, 3, 500, 1, 65_535, 2, 8, 7, 6, 5];
    client.send(ids.iter().flat_map(|id| case.message("t", "x").qos(1, *id).bytes()).collect::<Vec<u8>>());
    for id in ids {
        client.expect_success(PUBACK, id);
    }
}

// [MQTT-4.6.0-3]
fn pubrecs_come_in_order(case: &Case) {
    let mut client = case.client("p");
    let ids = [9, 3, 500, 1, 65_535, 2, 8, 7, 6, 5];
    client.send(ids.iter().flat_map(|id| case.message("t", "x").qos(2, *id).bytes()).collect::<Vec<u8>>());
    for id in ids {
        client.expect_success(PUBREC, id);
    }
}

// [MQTT-4.6.0-4]
fn pubrels_come_in_order(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let mut publisher = case.client("p");
    for number in 0..10 {
        publisher.complete(case.message("t", number.to_string()), 2);
    }
    let ids: Vec<u16> = (0..10).map(|_| subscriber.publish().id).collect();
    subscriber.send(ids.iter().flat_map(|id| ack(PUBREC, *id)).collect::<Vec<u8>>());
    for id in &ids {
        subscriber.expect_success(PUBREL, *id);
    }
    subscriber.send(ids.iter().flat_map(|id| ack(PUBCOMP, *id)).collect::<Vec<u8>>());
    subscriber.ping();
}

// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
fn one_topic_keeps_its_order(case: &Case) {
    for qos in 0..=2 {
        let topic = format!("{qos}");
        let mut subscriber = case.client("s");
        subscriber.subscribe(case.topic(&topic), qos);
        let mut publisher = case.client("p");
        for number in 0..15 {
            publisher.complete(case.message(&topic, number.to_string()), qos);
        }
        for number in 0..15 {
            subscriber.receive(case.topic(&topic), number.to_string(), qos);
        }
    }
}

// [MQTT-4.6.0-5]
fn order_holds_for_a_thousand_messages(case: &Case) {
    let mut subscriber = subscriber(case, 1);
    let mut publisher = case.client("p");
    for number in 0..1000_u16 {
        publisher.send(case.message("t", number.to_string()).qos(1, number % 20 + 1).bytes());
        publisher.expect_success(PUBACK, number % 20 + 1);
    }
    for number in 0..1000 {
        subscriber.receive(case.topic("t"), number.to_string(), 1);
    }
}

// [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
fn packet_ids_to_a_client_are_unique(case: &Case) {
    let mut subscriber = subscriber(case, 2);
    let mut publisher = case.client("p");
    for number in 0..15 {
        publisher.complete(case.message("t", number.to_string()), 1 + number % 2);
    }
    let publishes: Vec<_> = (0..15).map(|_| subscriber.publish()).collect();
    let mut ids: Vec<u16> = publishes.iter().map(|publish| publish.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 15);
    for publish in &publishes {
        subscriber.acknowledge(publish);
    }
}

// Section 2.2.1: client and server count each for itself.
fn packet_ids_of_the_two_directions_are_apart(case: &Case) {
    let mut client = subscriber(case, 2);
    client.complete(case.message("t", "first"), 2);
    let theirs = client.publish();
    // The broker's message is in flight under this id; ours may have the same.
    client.send(case.message("u", "ours").qos(2, theirs.id).bytes());
    client.expect_success(PUBREC, theirs.id);
    client.send(ack(PUBREC, theirs.id));
    client.expect_success(PUBREL, theirs.id);
    client.send(ack(PUBREL, theirs.id));
    client.expect_success(PUBCOMP, theirs.id);
    client.send(ack(PUBCOMP, theirs.id));
    client.expect_nothing();
}

// [MQTT-4.7.3-3]
fn topic_of_65_535_bytes(case: &Case) {
    let topic = format!("{:t<65535}", case.topic(""));
    let mut client = case.client("a");
    client.subscribe(&topic, 1);
    client.complete(Publish::new(case.version, &topic, "x"), 1);
    client.receive(&topic, "x", 1);
}

// Section 4.7.3: a leading or trailing separator makes another topic.
fn topics_that_differ_in_slashes_differ(case: &Case) {
    let topics =
        [case.topic("a"), case.topic("a/"), format!("/{}", case.topic("a")), case.topic("a//"), case.topic("/a")];
    for topic in &topics {
        let mut client = case.client("a");
        client.subscribe(topic, 0);
        for other in &topics {
            client.send(Publish::new(case.version, other, other).bytes());
        }
        client.receive(topic, topic, 0);
        client.expect_nothing();
        client.leave();
    }
}

// [MQTT-4.7.3-4]
fn topics_with_spaces_and_case_differ(case: &Case) {
    let mut client = case.client("a");
    client.subscribe(case.topic("Red Room"), 0);
    for other in ["red room", "Red Room ", "Red  Room", "RedRoom", "Red Room"] {
        client.send(case.message(other, other).bytes());
    }
    client.receive(case.topic("Red Room"), "Red Room", 0);
    client.expect_nothing();
}

/// The publisher speaks the case's version, the subscribers each of the three.
fn versions_reach_each_other(case: &Case) {
    for version in [Version::V3, Version::V4, Version::V5] {
        let mut subscriber = case.accepted(wire::Connect::new(version, case.id(&format!("s{version:?}")))).0;
        subscriber.subscribe(case.topic("t"), 2);
        for qos in 0..=2 {
            case.publish(case.message("t", "x"), qos);
            let publish = subscriber.receive(case.topic("t"), "x", qos);
            assert!(publish.properties.0.is_empty(), "{publish:02x?}");
        }
    }
}

// Sections 3.4.2.1 and 3.5.2.1: 0x10.
fn no_matching_subscribers_is_said(case: &Case) {
    let _guard = case.no_other_hash();
    let mut client = case.client("p");
    client.send(case.message("nobody", "x").qos(1, 1).bytes());
    assert_eq!(client.ack(PUBACK).reason, 0x10);
    client.send(case.message("nobody", "x").qos(2, 2).bytes());
    assert_eq!(client.ack(PUBREC).reason, 0x10);
    client.send(ack(PUBREL, 2));
    client.expect_success(PUBCOMP, 2);
}

// Section 3.4.2.1
fn a_matching_subscriber_is_success(case: &Case) {
    let _subscriber = subscriber(case, 0);
    let mut client = case.client("p");
    client.send(case.message("t", "x").qos(1, 1).bytes());
    assert_eq!(client.ack(PUBACK).reason, 0);
    client.send(case.message("t", "x").qos(2, 2).bytes());
    assert_eq!(client.ack(PUBREC).reason, 0);
}

// Section 4.7.2: clients may use topics with `$` that are not the server's own.
fn dollar_topic_of_a_client(case: &Case) {
    let topic = format!("$it/{}", case.topic("t"));
    let mut client = case.client("a");
    client.subscribe(&topic, 1);
    client.complete(Publish::new(case.version, &topic, "x"), 1);
    client.receive(&topic, "x", 1);
}
