//! PINGREQ, keep alive, DISCONNECT and AUTH: sections 3.1.2.10, 3.12 to 3.15 and 4.12.

use std::time::{Duration, Instant};

use crate::support::received::ConnAck;
use crate::support::wire::{self, Connect, auth, packet, property};
use crate::support::{Case, cases, table};

cases! {
    pingreq_is_answered: V3 V4 V5;
    every_pingreq_is_answered: V3 V4 V5;
    silent_client_is_closed_after_one_and_a_half_keep_alives: V3 V4 V5;
    half_a_packet_does_not_keep_alive: V4 V5;
    pings_keep_alive: V4 V5;
    keep_alive_0_is_off: V3 V4 V5;
    receiving_is_not_sending: V4 V5;
    disconnect_closes: V3 V4 V5;
    disconnect_in_each_form_closes: V5;
    disconnect_with_user_properties_and_reason_string: V5;
    packets_behind_disconnect_are_ignored: V3 V4 V5;
    answers_due_before_disconnect_are_given: V3 V4 V5;
    half_close_is_a_close: V3 V4 V5;
    unknown_authentication_method_is_refused: V5;
    authentication_method_is_not_a_secret_password: V5;
    auth_without_method_in_connect_is_a_protocol_error: V5;
    reauthentication_without_method_in_connect_is_a_protocol_error: V5;
}

fn refused(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x81, 0x82]);
}

// [MQTT-3.14.2-1]: reason codes that DISCONNECT does not have, or that only a server uses.
table! { refused:
    disconnect_with_reason_1: V5 => |_case| packet(wire::DISCONNECT, &[0x01]);
    disconnect_with_reason_10: V5 => |_case| packet(wire::DISCONNECT, &[0x10]);
    disconnect_with_reason_ff: V5 => |_case| packet(wire::DISCONNECT, &[0xff]);
    disconnect_with_reason_84: V5 => |_case| packet(wire::DISCONNECT, &[0x84]);
}

// [MQTT-3.12.4-1]
fn pingreq_is_answered(case: &Case) {
    let mut client = case.client("a");
    client.ping();
    client.ping();
}

// [MQTT-3.12.4-1]
fn every_pingreq_is_answered(case: &Case) {
    let mut client = case.client("a");
    client.send(wire::PINGREQ.repeat(1000));
    for _ in 0..1000 {
        client.expect(wire::PINGRESP);
    }
}

/// When a client with a keep alive of a second may be closed. mosquitto counts whole seconds, of which the first may be short.
fn after_keep_alive_1() -> Duration {
    let is_mosquitto = std::env::var_os("MIDGE_TEST_TARGET").is_some_and(|target| target == "mosquitto");
    Duration::from_millis(if is_mosquitto { 950 } else { 1450 })
}

// [MQTT-3.1.2-22]
fn silent_client_is_closed_after_one_and_a_half_keep_alives(case: &Case) {
    let before = Instant::now();
    let mut client = case.accepted(case.connect("a").keep_alive(1)).0;
    client.expect_disconnect_or_close(0x8d);
    assert!(before.elapsed() >= after_keep_alive_1(), "{:?}", before.elapsed());
}

// [MQTT-3.1.2-22]: only whole packets count.
fn half_a_packet_does_not_keep_alive(case: &Case) {
    let mut client = case.accepted(case.connect("a").keep_alive(1)).0;
    client.send(&case.message("t", "never complete").bytes()[..9]);
    while client.next_or_close().is_some() {}
}

// [MQTT-3.1.2-22]
fn pings_keep_alive(case: &Case) {
    let mut client = case.accepted(case.connect("a").keep_alive(3)).0;
    for _ in 0..4 {
        case.let_broker_time_pass(1);
        client.ping();
    }
}

// Section 3.1.2.10
fn keep_alive_0_is_off(case: &Case) {
    let mut client = case.client("a");
    case.let_broker_time_pass(3);
    client.ping();
}

// [MQTT-3.1.2-22]: what the client receives does not count as sent by it.
fn receiving_is_not_sending(case: &Case) {
    let before = Instant::now();
    let mut client = case.accepted(case.connect("a").keep_alive(1)).0;
    client.subscribe(case.topic("t"), 0);
    case.publish(case.message("t", "keeps nobody alive"), 0);
    client.receive(case.topic("t"), "keeps nobody alive", 0);
    client.expect_disconnect_or_close(0x8d);
    assert!(before.elapsed() >= after_keep_alive_1(), "{:?}", before.elapsed());
}

// Section 3.14.4
fn disconnect_closes(case: &Case) {
    case.client("a").leave();
}

// Section 3.14.2
fn disconnect_in_each_form_closes(case: &Case) {
    for bytes in [vec![0xe0, 0], vec![0xe0, 1, 0], vec![0xe0, 2, 0, 0]] {
        let mut client = case.client("a");
        client.send(bytes);
        client.expect_closed();
    }
}

// Section 3.14.2.2
fn disconnect_with_user_properties_and_reason_string(case: &Case) {
    let mut client = case.client("a");
    let block = [property::user("a", "b"), property::reason_string("bye"), property::user("a", "b")].concat();
    client.send(wire::disconnect_because(0, &block));
    client.expect_closed();
}

// Section 3.14.4
fn packets_behind_disconnect_are_ignored(case: &Case) {
    let mut client = case.client("a");
    client.send([wire::disconnect(), case.message("t", "too late").retain().bytes()].concat());
    client.expect_closed();
    let mut late = case.client("b");
    late.subscribe(case.topic("t"), 0);
    late.expect_nothing();
}

// [MQTT-3.1.4-5] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-3.8.4-1]: a DISCONNECT behind them in one segment undoes nothing.
fn answers_due_before_disconnect_are_given(case: &Case) {
    let mut client = case.open();
    let subscribe = wire::Subscribe::new(case.version, 1).filter(case.topic("s"), 0).bytes();
    let (one, two) = (case.message("t", "1").qos(1, 2).bytes(), case.message("t", "2").qos(2, 3).bytes());
    client.send([case.connect("a").bytes(), subscribe, one, two, wire::PINGREQ.to_vec(), wire::disconnect()].concat());
    client.accepted();
    assert_eq!(client.suback().id, 1);
    client.expect_success(wire::PUBACK, 2);
    client.expect_success(wire::PUBREC, 3);
    client.expect(wire::PINGRESP);
    client.expect_closed();
}

// Section 4.2
fn half_close_is_a_close(case: &Case) {
    let mut client = case.client("a");
    client.half_close();
    client.expect_closed();
}

// [MQTT-4.12.0-1]
fn unknown_authentication_method_is_refused(case: &Case) {
    let mut client = case.open();
    let connect = case.connect("a").with(property::authentication_method("no such method"));
    client.send(connect.with(property::authentication_data("data")).bytes());
    let connack = client.connack();
    assert!(matches!(connack.code, 0x8c | 0x87), "{connack:02x?}");
    client.expect_closed();
}

// [MQTT-4.12.0-1]: a name close to a real one, an empty one.
fn authentication_method_is_not_a_secret_password(case: &Case) {
    for method in ["", "scram-sha-256 ", "PLAIN"] {
        let mut client = case.open();
        client.send(Connect::new(case.version, case.id("a")).with(property::authentication_method(method)).bytes());
        if let Some(frame) = client.next_or_close() {
            let connack = ConnAck::read(case.version, &frame);
            assert!(matches!(connack.code, 0x8c | 0x87), "{method}: {connack:02x?}");
            client.expect_closed();
        }
    }
}

// [MQTT-4.12.0-7]
fn auth_without_method_in_connect_is_a_protocol_error(case: &Case) {
    let mut client = case.client("a");
    client.send(auth(0x18, &property::authentication_method("m")));
    client.expect_disconnect(&[0x82]);
}

// [MQTT-4.12.1-1]
fn reauthentication_without_method_in_connect_is_a_protocol_error(case: &Case) {
    let mut client = case.client("a");
    client.send(auth(0x19, &property::authentication_method("m")));
    client.expect_disconnect(&[0x82]);
}
