//! Flow control and sizes: sections 3.1.2.11.3, 3.1.2.11.4, 3.2.2.3.3, 3.2.2.3.6, 3.3.4 and 4.9.

use std::collections::HashSet;

use crate::support::wire::{self, PUBACK, PUBREC, PUBREL, Version, ack, ack_because, property};
use crate::support::{Case, Client, cases};

cases! {
    no_more_than_receive_maximum_in_flight: V5;
    receive_maximum_of_one_is_one_after_the_other: V5;
    pubrec_does_not_free_the_window: V5;
    pubcomp_frees_the_window: V5;
    refusing_pubrec_frees_the_window: V5;
    refusing_puback_frees_the_window: V5;
    full_window_delays_nothing_else: V5;
    window_is_of_the_new_connection: V5;
    order_holds_through_a_small_window: V5;
    unacknowledged_messages_do_not_stop_version_3: V3 V4;
    brokers_receive_maximum_can_be_used: V5;
    beyond_the_brokers_receive_maximum: V5;
    receive_maximum_counts_only_what_is_unacknowledged: V5;
    packet_ids_run_out_and_come_back: V4 V5;
    message_too_large_for_the_client_is_left_out: V5;
    message_of_exactly_the_clients_maximum: V5;
    message_too_large_is_left_out_at_each_qos: V5;
    message_too_large_does_not_fill_the_window: V5;
    retained_message_too_large_is_left_out: V5;
    queued_message_too_large_is_left_out: V5;
    user_properties_count_for_the_clients_maximum: V5;
    packet_of_exactly_the_brokers_maximum: V5;
    packet_beyond_the_brokers_maximum: V5;
    length_beyond_the_brokers_maximum_is_refused_before_the_body: V4 V5;
    connect_of_256_megabytes_is_refused_before_the_body: V4 V5;
}

fn limited(case: &Case, receive_maximum: u16) -> Client {
    let mut client = case.accepted(case.connect("s").with(property::receive_maximum(receive_maximum))).0;
    client.subscribe(case.topic("t"), 2);
    client
}

fn publish(case: &Case, count: u32, qos: u8) {
    let mut publisher = case.client("p");
    for number in 0..count {
        publisher.complete(case.message("t", number.to_string()), qos);
    }
}

// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
fn no_more_than_receive_maximum_in_flight(case: &Case) {
    let mut client = limited(case, 3);
    publish(case, 10, 1);
    let mut flight: Vec<_> = (0..3).map(|_| client.publish()).collect();
    client.expect_only_pong();
    for expected in 3..10 {
        let oldest = flight.remove(0);
        client.acknowledge(&oldest);
        let next = client.publish();
        assert_eq!(next.payload, expected.to_string().into_bytes());
        flight.push(next);
        client.expect_only_pong();
    }
}

// [MQTT-4.9.0-2]
fn receive_maximum_of_one_is_one_after_the_other(case: &Case) {
    let mut client = limited(case, 1);
    publish(case, 5, 2);
    for number in 0..5 {
        let publish = client.publish();
        assert_eq!(publish.payload, number.to_string().into_bytes());
        client.expect_only_pong();
        client.acknowledge(&publish);
    }
    client.expect_nothing();
}

// Section 4.9: PUBCOMP, or a PUBREC that refuses.
fn pubrec_does_not_free_the_window(case: &Case) {
    let mut client = limited(case, 1);
    publish(case, 2, 2);
    let first = client.publish();
    client.send(ack(PUBREC, first.id));
    client.expect_success(PUBREL, first.id);
    client.expect_only_pong();
}

// Section 4.9
fn pubcomp_frees_the_window(case: &Case) {
    let mut client = limited(case, 1);
    publish(case, 2, 2);
    let first = client.publish();
    client.acknowledge(&first);
    client.receive(case.topic("t"), "1", 2);
}

// Section 4.9
fn refusing_pubrec_frees_the_window(case: &Case) {
    let mut client = limited(case, 1);
    publish(case, 2, 2);
    let first = client.publish();
    client.send(ack_because(PUBREC, first.id, 0x80, &[]));
    client.receive(case.topic("t"), "1", 2);
}

// Section 4.9
fn refusing_puback_frees_the_window(case: &Case) {
    let mut client = limited(case, 1);
    publish(case, 2, 1);
    let first = client.publish();
    client.send(ack_because(PUBACK, first.id, 0x87, &[]));
    client.receive(case.topic("t"), "1", 1);
}

// [MQTT-3.3.4-10] [MQTT-4.9.0-3]
fn full_window_delays_nothing_else(case: &Case) {
    let mut client = limited(case, 1);
    publish(case, 3, 1);
    let held = client.publish();
    client.ping();
    client.subscribe(case.topic("u"), 1);
    client.unsubscribe(case.topic("u"));
    client.complete(case.message("v", "x"), 1);
    client.complete(case.message("v", "x"), 2);
    client.acknowledge(&held);
    client.receive(case.topic("t"), "1", 1);
    client.receive(case.topic("t"), "2", 1);
}

// Section 3.1.2.11.3: the value is of the connection.
fn window_is_of_the_new_connection(case: &Case) {
    let connect = |maximum| case.connect("s").lasting().with(property::receive_maximum(maximum));
    let mut client = case.accepted(connect(5)).0;
    client.subscribe(case.topic("t"), 1);
    publish(case, 10, 1);
    for _ in 0..5 {
        client.publish();
    }
    client.expect_only_pong();
    client.vanish();
    let mut client = case.accepted(connect(2)).0;
    for expected in 0..2 {
        let publish = client.publish();
        assert_eq!((publish.dup, publish.payload), (true, expected.to_string().into_bytes()));
    }
    client.expect_only_pong();
    client.vanish();
    let mut client = case.accepted(connect(100)).0;
    for expected in 0..10 {
        client.receive(case.topic("t"), expected.to_string(), 1);
    }
    client.expect_nothing();
}

// [MQTT-4.6.0-5]
fn order_holds_through_a_small_window(case: &Case) {
    let mut client = limited(case, 2);
    publish(case, 100, 1);
    for number in 0..100 {
        client.receive(case.topic("t"), number.to_string(), 1);
    }
}

/// 3.x knows no receive maximum, a broker has its own window there; whatever it is, acknowledging goes on with it.
fn unacknowledged_messages_do_not_stop_version_3(case: &Case) {
    let mut client = case.client("s");
    client.subscribe(case.topic("t"), 1);
    publish(case, 100, 1);
    let first = client.publish();
    client.ping_behind_publishes();
    client.acknowledge(&first);
    for number in 1..100 {
        client.receive(case.topic("t"), number.to_string(), 1);
    }
}

// [MQTT-3.3.4-7]: that many, and no error.
fn brokers_receive_maximum_can_be_used(case: &Case) {
    let maximum = case.limits().receive_maximum;
    let mut client = case.client("p");
    let burst: Vec<u8> = (1..=maximum).flat_map(|id| case.message("t", "").qos(2, id).bytes()).collect();
    let answers = client.exchange(&burst, maximum.into());
    let ids: HashSet<u16> = answers.iter().map(|frame| u16::from_be_bytes([frame.body[0], frame.body[1]])).collect();
    assert!(answers.iter().all(|frame| frame.kind() == PUBREC) && ids.len() == usize::from(maximum));
    client.ping();
}

// Section 3.3.4: 0x93. With a maximum of 65,535 there is no packet identifier left to exceed it with.
fn beyond_the_brokers_receive_maximum(case: &Case) {
    let maximum = case.limits().receive_maximum;
    let Some(beyond) = maximum.checked_add(1) else { return };
    let mut client = case.client("p");
    let burst: Vec<u8> = (1..=maximum).flat_map(|id| case.message("t", "").qos(2, id).bytes()).collect();
    client.exchange(&burst, maximum.into());
    client.send(case.message("t", "").qos(2, beyond).bytes());
    client.expect_disconnect(&[0x93]);
}

// Section 4.9
fn receive_maximum_counts_only_what_is_unacknowledged(case: &Case) {
    let mut client = case.client("p");
    for _ in 0..3 {
        for id in 1..=case.limits().receive_maximum.min(100) {
            client.send(case.message("t", "x").qos(1, id).bytes());
            client.expect_success(PUBACK, id);
        }
    }
    client.ping();
}

/// However many the broker has in flight: no identifier twice, and each comes back when it is acknowledged.
fn packet_ids_run_out_and_come_back(case: &Case) {
    const COUNT: usize = 70_000;
    let mut subscriber = case.client("s");
    subscriber.subscribe(case.topic("t"), 1);
    let mut publisher = case.client("p");
    let mut received = 0;
    while received < COUNT {
        let batch: Vec<u8> = (0..100).flat_map(|id| case.message("t", "x").qos(1, id + 1).bytes()).collect();
        // As many at a time as every broker allows in flight.
        for part in batch.chunks(batch.len() / 10) {
            publisher.exchange(part, 10);
        }
        let mut ids = HashSet::new();
        for _ in 0..20 {
            let publish = subscriber.publish();
            assert!(ids.insert(publish.id), "{} is in use", publish.id);
        }
        subscriber.send(ids.iter().flat_map(|id| ack(PUBACK, *id)).collect::<Vec<u8>>());
        for _ in 20..100 {
            let publish = subscriber.publish();
            subscriber.acknowledge(&publish);
        }
        received += 100;
    }
    subscriber.expect_nothing();
}

/// A client that takes packets of at most this many bytes, and a witness without a limit.
fn small_and_witness(case: &Case, maximum: u32) -> (Client, Client) {
    let mut small = case.accepted(case.connect("small").with(property::maximum_packet_size(maximum))).0;
    small.subscribe(case.topic("t"), 2);
    let mut witness = case.client("witness");
    witness.subscribe(case.topic("t"), 2);
    (small, witness)
}

// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
fn message_too_large_for_the_client_is_left_out(case: &Case) {
    let (mut small, mut witness) = small_and_witness(case, 100);
    let large = vec![b'x'; 100];
    case.publish(case.message("t", &large), 1);
    case.publish(case.message("t", "small"), 1);
    witness.receive(case.topic("t"), large, 1);
    witness.receive(case.topic("t"), "small", 1);
    small.receive(case.topic("t"), "small", 1);
    small.expect_nothing();
}

// [MQTT-3.1.2-24]
fn message_of_exactly_the_clients_maximum(case: &Case) {
    let (mut small, mut witness) = small_and_witness(case, 100);
    // Fixed header 2, topic with length, property length 1.
    let head = 2 + 2 + case.topic("t").len() + 1;
    let (fits, exceeds) = (vec![b'f'; 100 - head], vec![b'e'; 101 - head]);
    for payload in [&exceeds, &fits, &exceeds] {
        case.publish(case.message("t", payload), 0);
        witness.receive(case.topic("t"), payload, 0);
    }
    small.receive(case.topic("t"), fits, 0);
    small.expect_nothing();
}

// [MQTT-3.1.2-25]
fn message_too_large_is_left_out_at_each_qos(case: &Case) {
    let (mut small, _) = small_and_witness(case, 100);
    for qos in 0..=2 {
        case.publish(case.message("t", [b'x'; 200]), qos);
    }
    small.expect_nothing();
}

// [MQTT-3.1.2-25]: as if it had been sent and acknowledged.
fn message_too_large_does_not_fill_the_window(case: &Case) {
    let connect = case.connect("s").with(property::maximum_packet_size(100)).with(property::receive_maximum(2));
    let mut client = case.accepted(connect).0;
    client.subscribe(case.topic("t"), 2);
    let mut publisher = case.client("p");
    for number in 0..10 {
        publisher.complete(case.message("t", [b'x'; 200]), 1);
        publisher.complete(case.message("t", number.to_string()), 2);
    }
    for number in 0..10 {
        client.receive(case.topic("t"), number.to_string(), 2);
    }
    client.expect_nothing();
}

// [MQTT-3.1.2-24]
fn retained_message_too_large_is_left_out(case: &Case) {
    case.publish(case.message("t", [b'x'; 200]).retain(), 1);
    let (mut small, mut witness) = small_and_witness(case, 100);
    assert!(witness.receive(case.topic("t"), [b'x'; 200], 1).retain);
    small.expect_nothing();
}

// [MQTT-3.1.2-24]
fn queued_message_too_large_is_left_out(case: &Case) {
    let mut client = case.lasting("away");
    client.subscribe(case.topic("t"), 1);
    client.leave();
    case.publish(case.message("t", [b'x'; 200]), 1);
    case.publish(case.message("t", "small"), 1);
    let mut client = case.accepted(case.connect("away").lasting().with(property::maximum_packet_size(100))).0;
    client.receive(case.topic("t"), "small", 1);
    client.expect_nothing();
}

// [MQTT-3.1.2-24]: a PUBLISH is not made smaller.
fn user_properties_count_for_the_clients_maximum(case: &Case) {
    let (mut small, mut witness) = small_and_witness(case, 100);
    case.publish(case.message("t", "x").with(property::user("k", "v".repeat(80))), 1);
    witness.receive(case.topic("t"), "x", 1);
    small.expect_nothing();
}

/// A PUBLISH of exactly this many bytes.
fn publish_of(case: &Case, bytes: usize) -> Vec<u8> {
    let empty = case.message("t", "").bytes().len();
    // One byte of remaining length has become `length - 1` bytes.
    let estimate = case.message("t", vec![b'x'; bytes - empty]).bytes();
    let publish = case.message("t", vec![b'x'; bytes - empty - (estimate.len() - bytes)]).bytes();
    assert_eq!(publish.len(), bytes);
    publish
}

// [MQTT-3.2.2-15]
fn packet_of_exactly_the_brokers_maximum(case: &Case) {
    let maximum = case.limits().maximum_packet_size as usize;
    let mut client = case.client("a");
    client.subscribe(case.topic("t"), 0);
    client.send(publish_of(case, maximum));
    assert_eq!(client.next().bytes(), publish_of(case, maximum));
}

// [MQTT-3.2.2-15], section 3.2.2.3.6: 0x95.
fn packet_beyond_the_brokers_maximum(case: &Case) {
    let maximum = case.limits().maximum_packet_size as usize;
    let mut witness = case.client("w");
    witness.subscribe(case.topic("t"), 0);
    let mut client = case.client("a");
    client.send_refused(&publish_of(case, maximum + 1));
    client.expect_disconnect(&[0x95]);
    witness.expect_nothing();
}

// Section 3.2.2.3.6: what is announced is enough.
fn length_beyond_the_brokers_maximum_is_refused_before_the_body(case: &Case) {
    let mut client = case.client("a");
    client.send([0x30, 0xff, 0xff, 0xff, 0x7f]);
    client.expect_disconnect(&[0x95]);
}

// Section 3.2.2.3.6
fn connect_of_256_megabytes_is_refused_before_the_body(case: &Case) {
    let mut client = case.open();
    client.send([0x10, 0xff, 0xff, 0xff, 0x7f]);
    if let Some(frame) = client.next_or_close() {
        assert_eq!((case.version, frame.first, frame.body.get(1)), (Version::V5, wire::CONNACK, Some(&0x95)));
        client.expect_closed();
    }
}
