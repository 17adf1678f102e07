//! PUBLISH to the client (sections 3.3 and 4.3): what it looks like, and what its acknowledgements do.

use std::time::Duration;

use super::*;
use crate::message::RowId;

fn puback(packet_id: u16) -> Packet<'static> {
    ack(PacketType::PubAck, packet_id, ReasonCode::Success)
}

fn pubrec(packet_id: u16) -> Packet<'static> {
    ack(PacketType::PubRec, packet_id, ReasonCode::Success)
}

fn pubcomp(packet_id: u16) -> Packet<'static> {
    ack(PacketType::PubComp, packet_id, ReasonCode::Success)
}

fn expiring(qos: packet::QoS, at: BrokerTime) -> Delivery {
    let message = Message::new(&MessageParts {
        topic_prefix: "",
        topic: "a",
        forward: &[],
        payload: b"x",
        qos,
        retain: false,
        expires_at: at,
        publisher: PublisherId(1),
    });
    Delivery { message, ..delivery(qos, "a", "") }
}

// [MQTT-4.3.1-1] [MQTT-2.2.1-2] [MQTT-3.3.1-2]
#[test]
fn qos_0_has_no_id_and_no_dup() {
    for version in [V3, V4, V5] {
        let mut script = Script::connected(version);
        script.check_deliver(delivery(AtMostOnce, "a/b", "x"), &["PUBLISH q0 a/b 'x'"]);
        assert_eq!(script.connection.inflight(), 0);
    }
}

// [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.2-3] [MQTT-2.2.1-4]
#[test]
fn qos_1_is_in_flight_under_a_new_id_until_its_puback() {
    for version in [V3, V4, V5] {
        let mut script = Script::connected(version);
        script.check_deliver(delivery(AtLeastOnce, "a", "x"), &["PUBLISH q1 #1 a 'x'"]);
        script.check_deliver(delivery(AtLeastOnce, "a", "y"), &["PUBLISH q1 #2 a 'y'"]);
        assert_eq!(script.connection.inflight(), 2);
        script.check(puback(2), &["completed q1"]);
        script.check(puback(2), &[]);
        assert_eq!(script.connection.inflight(), 1);
        script.check(puback(1), &["completed q1"]);
        assert_eq!(script.connection.inflight(), 0);
    }
}

// [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-2.2.1-5] [MQTT-3.6.2-1]
#[test]
fn qos_2_is_in_flight_until_its_pubcomp() {
    for version in [V3, V4, V5] {
        let mut script = Script::connected(version);
        script.check_deliver(delivery(ExactlyOnce, "a", "x"), &["PUBLISH q2 #1 a 'x'"]);
        script.check(pubrec(1), &["PUBREL #1 0x00"]);
        assert_eq!(script.connection.inflight(), 1);
        script.check(pubrec(1), &["PUBREL #1 0x00"]);
        script.check(pubcomp(1), &["completed q2"]);
        script.check(pubcomp(1), &[]);
        assert_eq!(script.connection.inflight(), 0);
    }
}

// [MQTT-3.6.2-1]
#[test]
fn a_pubrec_of_an_unknown_id_is_answered() {
    Script::connected(V5).check(pubrec(9), &["PUBREL #9 0x92"]);
    Script::connected(V4).check(pubrec(9), &["PUBREL #9 0x00"]);
    let refused = ack(PacketType::PubRec, 9, ReasonCode::UnspecifiedError);
    Script::connected(V5).check(refused, &[]);
}

#[test]
fn an_acknowledgement_that_belongs_to_another_qos_is_a_protocol_error() {
    for (qos, wrong) in
        [(AtLeastOnce, pubrec(1)), (AtLeastOnce, pubcomp(1)), (ExactlyOnce, puback(1)), (ExactlyOnce, pubcomp(1))]
    {
        let mut script = Script::connected(V5);
        script.check_deliver(delivery(qos, "a", ""), &[&format!("PUBLISH q{} #1 a ''", qos as u8)]);
        script.check(wrong, &["DISCONNECT 0x82 +reason", "close 0x82"]);
    }
}

// [MQTT-4.4.0-2] [MQTT-4.8.2-6]
#[test]
fn a_delivery_that_the_client_refuses_is_over() {
    let mut script = Script::connected(V5);
    let stored = |row, delivery| Delivery { row: RowId(row), ..delivery };
    script.check_deliver(stored(7, delivery(AtLeastOnce, "a", "")), &["PUBLISH q1 #1 a ''"]);
    script.check_deliver(stored(8, delivery(ExactlyOnce, "b", "")), &["PUBLISH q2 #2 b ''"]);
    script.check(ack(PacketType::PubAck, 1, ReasonCode::ImplementationSpecificError), &["refused row 7"]);
    script.check(ack(PacketType::PubRec, 2, ReasonCode::NotAuthorized), &["refused row 8"]);
    assert_eq!(script.connection.inflight(), 0);
    let mut again = script.reconnected(settings(), Connect { clean_start: false, ..connect(V5) });
    assert!(again.check_resend(&[]).is_empty());
}

// [MQTT-3.3.1-1] [MQTT-3.3.1-3] [MQTT-4.4.0-1] [MQTT-4.3.3-6] [MQTT-4.8.2-4]
#[test]
fn what_is_in_flight_is_sent_again_after_a_reconnect_and_at_no_other_time() {
    for version in [V3, V4, V5] {
        let lasting = Connect { clean_start: false, ..connect(version) };
        let mut script = Script::connected_with(settings(), lasting.clone());
        script.check_deliver(delivery(AtLeastOnce, "a", "1"), &["PUBLISH q1 #1 a '1'"]);
        script.check_deliver(delivery(ExactlyOnce, "a", "2"), &["PUBLISH q2 #2 a '2'"]);
        script.check_deliver(delivery(ExactlyOnce, "a", "3"), &["PUBLISH q2 #3 a '3'"]);
        script.check(pubrec(3), &["PUBREL #3 0x00"]);
        script.check_time(Duration::from_secs(3600), &[]);
        script.check_resend(&[]);
        let mut script = script.reconnected(settings(), lasting);
        assert!(script.connection.is_resending());
        script.check_resend(&["PUBREL #3 0x00", "PUBLISH dup q1 #1 a '1'", "PUBLISH dup q2 #2 a '2'"]);
        script.check_resend(&[]);
        assert!(!script.connection.is_resending());
        script.check_deliver(delivery(AtLeastOnce, "a", "4"), &["PUBLISH q1 #4 a '4'"]);
        for end in [puback(1), pubcomp(3)] {
            script.check(end.clone(), &[&format!("completed q{}", if end == puback(1) { 1 } else { 2 })]);
        }
    }
}

// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn the_window_is_the_clients_receive_maximum_or_the_listeners() {
    let asking = |receive_maximum| Connect {
        properties: ConnectProperties { receive_maximum: NonZeroU16::new(receive_maximum), ..Default::default() },
        ..connect(V5)
    };
    let narrow = Settings { inflight_max: NonZeroU16::new(20).unwrap(), ..settings() };
    for (settings, connect, window) in [
        (settings(), asking(5), 5),
        (settings(), connect(V5), 65_535),
        (narrow.clone(), asking(5), 5),
        (narrow.clone(), asking(100), 20),
        (narrow.clone(), connect(V4), 20),
    ] {
        assert_eq!(Script::connected_with(settings, connect).connection.window_free(), window);
    }
}

// [MQTT-4.9.0-3] [MQTT-3.3.4-10]
#[test]
fn a_window_that_is_used_up_stops_nothing_but_publish() {
    let properties = ConnectProperties { receive_maximum: NonZeroU16::new(1), ..Default::default() };
    let mut script = Script::connected_with(settings(), Connect { properties, ..connect(V5) });
    script.check_deliver(delivery(ExactlyOnce, "a", ""), &["PUBLISH q2 #1 a ''"]);
    assert_eq!(script.connection.window_free(), 0);
    script.check(Packet::PingReq, &["PINGRESP"]);
    script.check(publish(5, "a", ""), &["route q1 a '' #5", "PUBACK #5 0x00"]);
    script.check(subscribe(6, &[("a", SubscribeOptions::default())]), &["subscribe a q0", "SUBACK #6 0x00"]);
    script.check(pubrec(1), &["PUBREL #1 0x00"]);
}

// [MQTT-3.3.2-5]
#[test]
fn an_expired_message_is_not_sent() {
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let mut script = Script::connected(V5);
        let delivery = expiring(qos, script.now.after_secs(5));
        script.now = script.now.after_secs(5);
        script.check_deliver(delivery, &["dropped expired"]);
        assert_eq!(script.connection.inflight(), 0);
    }
}

// [MQTT-3.3.2-6]
#[test]
fn the_message_expiry_counts_down_while_it_waits() {
    let mut script = Script::connected(V5);
    let until = script.now.after_secs(60);
    script.now = script.now.after(Duration::from_millis(20_500));
    script.check_deliver(expiring(AtMostOnce, until), &["PUBLISH q0 a MessageExpiryInterval(40) 'x'"]);
    script.now = script.now.after(Duration::from_millis(39_499));
    script.check_deliver(expiring(AtMostOnce, until), &["PUBLISH q0 a MessageExpiryInterval(1) 'x'"]);
    let mut old = Script::connected(V4);
    old.check_deliver(expiring(AtMostOnce, until), &["PUBLISH q0 a 'x'"]);
}

// [MQTT-4.3.3-7]
#[test]
fn expiry_does_not_stop_a_delivery_that_has_begun() {
    let lasting = Connect { clean_start: false, ..connect(V5) };
    let mut script = Script::connected_with(settings(), lasting.clone());
    let until = script.now.after_secs(5);
    script.check_deliver(expiring(ExactlyOnce, until), &["PUBLISH q2 #1 a MessageExpiryInterval(5) 'x'"]);
    script.now = script.now.after_secs(60);
    let mut script = script.reconnected(settings(), lasting);
    script.check_resend(&["PUBLISH dup q2 #1 a MessageExpiryInterval(1) 'x'"]);
}

// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn a_message_that_the_client_does_not_take_is_dropped_for_it_alone() {
    let properties = ConnectProperties { maximum_packet_size: NonZeroU32::new(20), ..Default::default() };
    let mut script = Script::connected_with(settings(), Connect { properties, ..connect(V5) });
    // 2 fixed header, 3 topic, 2 packet id, 1 property length leave 12.
    script.check_deliver(delivery(AtLeastOnce, "a", "twelve bytes"), &["PUBLISH q1 #1 a 'twelve bytes'"]);
    script.check_deliver(delivery(AtLeastOnce, "a", "13 bytes here"), &["dropped too_large"]);
    script.check_deliver(delivery(AtMostOnce, "a", "14 bytes there"), &["PUBLISH q0 a '14 bytes there'"]);
    script.check_deliver(delivery(AtLeastOnce, "a", ""), &["PUBLISH q1 #2 a ''"]);
}

// [MQTT-3.1.2-25]
#[test]
fn what_became_too_large_for_the_client_is_given_up_when_it_is_sent_again() {
    let sized = |size| Connect {
        clean_start: false,
        properties: ConnectProperties { maximum_packet_size: NonZeroU32::new(size), ..Default::default() },
        ..connect(V5)
    };
    let mut script = Script::connected_with(settings(), sized(100));
    script.check_deliver(delivery(AtLeastOnce, "a", "a long payload"), &["PUBLISH q1 #1 a 'a long payload'"]);
    script.check_deliver(delivery(AtLeastOnce, "a", "short"), &["PUBLISH q1 #2 a 'short'"]);
    let mut script = script.reconnected(settings(), sized(20));
    let given_up = script.check_resend(&["PUBLISH dup q1 #2 a 'short'"]);
    assert_eq!(given_up, [DropCause::TooLarge]);
    assert_eq!(script.connection.inflight(), 1);
}

// [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.1-13]
#[test]
fn subscription_identifiers_and_retain_are_those_of_the_delivery() {
    let mut script = Script::connected(V5);
    let both = Delivery {
        retain: true,
        subscription_ids: SubscriptionIds::from_slice(&[3, 268_435_455]),
        ..delivery(AtMostOnce, "a", "x")
    };
    script
        .check_deliver(both, &["PUBLISH q0 retain a SubscriptionIdentifier(3) SubscriptionIdentifier(268435455) 'x'"]);
}

// [MQTT-3.3.2-3] [MQTT-4.7.3-4] [MQTT-1.5.4-3]
#[test]
fn the_topic_goes_out_as_it_came_in() {
    for topic in ["a//b/", "/", "\u{FEFF}é", "e\u{301}", "Ａ"] {
        let mut script = Script::connected(V5);
        script.check_deliver(
            delivery(AtMostOnce, topic, ""),
            &[&format!("PUBLISH q0 {} ''", format!("{topic:?}").replace('"', ""))],
        );
    }
}

// [MQTT-4.9.0-2]
#[test]
fn the_bytes_of_one_resend_are_bounded() {
    let lasting = Connect { clean_start: false, ..connect(V4) };
    let mut script = Script::connected_with(settings(), lasting.clone());
    for n in 1..=3 {
        script.check_deliver(delivery(AtLeastOnce, "a", "x"), &[&format!("PUBLISH q1 #{n} a 'x'")]);
    }
    let mut script = script.reconnected(settings(), lasting);
    let mut out = Output::default();
    assert_eq!(script.connection.resend(script.now, 1, &mut out).len(), 1);
    assert!(script.connection.is_resending());
    assert_eq!(script.connection.window_free(), 0, "nothing new before the rest");
    script.check_resend(&["PUBLISH dup q1 #2 a 'x'", "PUBLISH dup q1 #3 a 'x'"]);
    assert_eq!(script.connection.inflight(), 3);
}
