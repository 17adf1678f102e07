//! What travels with the session to the next connection (section 4.1), and what does not.

use super::*;

fn lasting(version: ProtocolVersion) -> Connect<'static> {
    Connect { clean_start: false, ..connect(version) }
}

// [MQTT-3.1.2-5] [MQTT-4.1.0-1]
#[test]
fn subscriptions_in_flight_messages_and_received_ids_go_on() {
    let mut script = Script::connected_with(settings(), lasting(V5));
    script.feed(subscribe(1, &[("a", SubscribeOptions::default())]));
    script.check_deliver(delivery(AtLeastOnce, "a", "x"), &["PUBLISH q1 #1 a 'x'"]);
    let qos_2 = Publish { qos: ExactlyOnce, ..publish(5, "b", "y") };
    script.check(qos_2.clone(), &["route q2 b 'y' #5", "PUBREC #5 0x00"]);
    let mut script = script.reconnected(settings(), lasting(V5));
    assert!(script.session().subscriptions.contains("a"));
    assert_eq!((script.connection.inflight(), script.session().inbound_open()), (1, 1));
    script.check_resend(&["PUBLISH dup q1 #1 a 'x'"]);
    script.check(Publish { dup: true, ..qos_2 }, &["PUBREC #5 0x00"]);
    script.check(ack(PacketType::PubRel, 5, ReasonCode::Success), &["PUBCOMP #5 0x00"]);
}

// [MQTT-3.1.2-4]
#[test]
fn a_clean_start_begins_with_nothing() {
    let mut script = Script::connected_with(settings(), lasting(V5));
    script.feed(subscribe(1, &[("a", SubscribeOptions::default())]));
    script.check(Publish { qos: ExactlyOnce, ..publish(5, "b", "") }, &["route q2 b '' #5", "PUBREC #5 0x00"]);
    let mut script = script.reconnected(settings(), connect(V5));
    assert!(script.session().subscriptions.is_empty());
    script.check(Publish { qos: ExactlyOnce, ..publish(5, "b", "new") }, &["route q2 b 'new' #5", "PUBREC #5 0x00"]);
}

#[test]
fn a_session_may_go_on_under_another_version() {
    let mut script = Script::connected_with(settings(), lasting(V4));
    script.check_deliver(delivery(ExactlyOnce, "a", "x"), &["PUBLISH q2 #1 a 'x'"]);
    let mut script = script.reconnected(settings(), lasting(V5));
    script.check_resend(&["PUBLISH dup q2 #1 a 'x'"]);
    let mut script = script.reconnected(settings(), lasting(V3));
    script.check_resend(&["PUBLISH dup q2 #1 a 'x'"]);
}

// [MQTT-4.6.0-1]
#[test]
fn resending_keeps_the_order_and_comes_before_anything_new() {
    let mut script = Script::connected_with(settings(), lasting(V4));
    for n in 1..=4 {
        let qos = if n % 2 == 0 { ExactlyOnce } else { AtLeastOnce };
        script.check_deliver(delivery(qos, "a", ""), &[&format!("PUBLISH q{} #{n} a ''", qos as u8)]);
    }
    let mut script = script.reconnected(settings(), lasting(V4));
    assert_eq!(script.connection.window_free(), 0);
    script.check_resend(&[
        "PUBLISH dup q1 #1 a ''",
        "PUBLISH dup q2 #2 a ''",
        "PUBLISH dup q1 #3 a ''",
        "PUBLISH dup q2 #4 a ''",
    ]);
    script.check_deliver(delivery(AtLeastOnce, "a", "new"), &["PUBLISH q1 #5 a 'new'"]);
}

// [MQTT-3.3.4-7] [MQTT-4.9.0-1]
#[test]
fn the_receive_maximum_begins_anew_with_the_connection() {
    let one = Settings { receive_maximum: NonZeroU16::MIN, ..settings() };
    let qos_2 = |id| Publish { qos: ExactlyOnce, ..publish(id, "a", "") };
    let mut script = Script::connected_with(one.clone(), lasting(V5));
    script.check(qos_2(1), &["route q2 a '' #1", "PUBREC #1 0x00"]);
    let mut script = script.reconnected(one, lasting(V5));
    script.check(qos_2(2), &["route q2 a '' #2", "PUBREC #2 0x00"]);
    script.check(ack(PacketType::PubRel, 1, ReasonCode::Success), &["PUBCOMP #1 0x00"]);
    script.check(qos_2(3), &["DISCONNECT 0x93 +reason", "close 0x93"]);
}

#[test]
fn a_session_that_ends_gives_back_what_was_in_flight() {
    let mut script = Script::connected(V5);
    script.check_deliver(delivery(AtLeastOnce, "one", ""), &["PUBLISH q1 #1 one ''"]);
    script.check_deliver(delivery(ExactlyOnce, "two", ""), &["PUBLISH q2 #2 two ''"]);
    script.check_deliver(delivery(ExactlyOnce, "three", ""), &["PUBLISH q2 #3 three ''"]);
    script.check(ack(PacketType::PubRec, 3, ReasonCode::Success), &["PUBREL #3 0x00"]);
    let (released, deliveries) = script.connection.take_session().unwrap().into_inflight();
    let deliveries: Vec<_> = deliveries.map(|(it, may_move)| (it.message.topic().to_owned(), may_move)).collect();
    assert_eq!(released, 1);
    assert_eq!(deliveries, [("one".into(), true), ("two".into(), false)]);
}

// [MQTT-3.1.2-23]
#[test]
fn the_session_expiry_is_that_of_the_last_connect() {
    let expiring = |seconds| Connect {
        properties: ConnectProperties { session_expiry_interval: seconds, ..Default::default() },
        ..lasting(V5)
    };
    let script = Script::connected_with(settings(), expiring(Some(100)));
    assert_eq!(script.session().expiry_interval, 100);
    let script = script.reconnected(settings(), expiring(Some(u32::MAX)));
    assert_eq!(script.session().expiry_interval, EXPIRY_NEVER);
    let script = script.reconnected(settings(), expiring(None));
    assert_eq!(script.session().expiry_interval, 0);
}
