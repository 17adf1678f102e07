//! The will: sections 3.1.2.5, 3.1.3.2 and 3.14.4 of MQTT 5.0, 3.1.2.5 of 3.1.1.

use std::time::{Duration, Instant};

use crate::support::wire::{self, Connect, Version, Will, property};
use crate::support::{Case, Client, cases};

cases! {
    will_comes_when_the_connection_breaks: V3 V4 V5;
    will_comes_at_its_qos: V3 V4 V5;
    will_comes_when_the_broker_closes_for_an_error: V3 V4 V5;
    will_comes_when_keep_alive_runs_out: V3 V4 V5;
    will_comes_at_takeover: V3 V4 V5;
    will_does_not_come_after_disconnect: V3 V4 V5;
    will_comes_after_disconnect_with_will: V5;
    will_comes_after_disconnect_with_an_error_code: V5;
    will_does_not_come_after_disconnect_with_reason_0_spelled_out: V5;
    will_comes_once: V3 V4 V5;
    will_is_forgotten_after_disconnect: V3 V4 V5;
    retained_will_is_kept: V3 V4 V5;
    will_without_retain_is_not_kept: V3 V4 V5;
    empty_retained_will_removes_what_was_kept: V3 V4 V5;
    will_payload_may_be_empty: V3 V4 V5;
    will_payload_of_65_535_bytes: V3 V4 V5;
    will_payload_may_be_binary: V3 V4 V5;
    will_properties_are_carried: V5;
    will_keeps_the_order_of_user_properties: V5;
    will_comes_after_its_delay: V5;
    will_comes_at_once_when_the_session_ends_with_the_connection: V5;
    will_comes_when_the_session_expires_before_its_delay: V5;
    will_does_not_come_after_a_return_before_its_delay: V5;
    will_comes_when_clean_start_ends_its_session: V5;
    will_does_not_come_at_takeover_before_its_delay: V5;
    will_comes_at_takeover_with_clean_start: V5;
    will_delay_does_not_outlive_the_disconnect: V5;
    will_of_the_new_connection_replaces_the_old_one: V5;
    will_reaches_a_session_that_is_away: V3 V4 V5;
}

/// A client that waits for the case's will.
fn witness(case: &Case) -> Client {
    let mut witness = case.client("witness");
    witness.subscribe(case.topic("will"), 2);
    witness
}

fn will(case: &Case) -> Will {
    Will::new(case.topic("will"), "gone")
}

fn delayed(case: &Case, seconds: u32) -> Will {
    will(case).with(property::will_delay_interval(seconds))
}

fn mourned(case: &Case) -> Connect {
    case.connect("mourned")
}

// [MQTT-3.1.2-7] [MQTT-3.1.2-8]
fn will_comes_when_the_connection_breaks(case: &Case) {
    let mut witness = witness(case);
    let client = case.accepted(mourned(case).will(will(case))).0;
    witness.expect_nothing();
    client.vanish();
    let publish = witness.receive(case.topic("will"), "gone", 0);
    assert!(!publish.retain && !publish.dup);
}

// [MQTT-3.1.2-12]
fn will_comes_at_its_qos(case: &Case) {
    let mut witness = witness(case);
    for qos in 0..=2 {
        case.accepted(mourned(case).will(will(case).qos(qos))).0.vanish();
        witness.receive(case.topic("will"), "gone", qos);
    }
}

// [MQTT-3.1.2-8]
fn will_comes_when_the_broker_closes_for_an_error(case: &Case) {
    let mut witness = witness(case);
    let mut client = case.accepted(mourned(case).will(will(case))).0;
    client.send(wire::packet(wire::PUBLISH, &[]));
    client.expect_disconnect(&[0x81]);
    witness.receive(case.topic("will"), "gone", 0);
}

// [MQTT-3.1.2-22] [MQTT-3.1.2-8]
fn will_comes_when_keep_alive_runs_out(case: &Case) {
    let mut witness = witness(case);
    let _silent = case.accepted(mourned(case).keep_alive(1).will(will(case))).0;
    witness.receive(case.topic("will"), "gone", 0);
}

// [MQTT-3.1.4-3] [MQTT-3.1.2-8]
fn will_comes_at_takeover(case: &Case) {
    let mut witness = witness(case);
    let _old = case.accepted(mourned(case).will(will(case))).0;
    let _new = case.accepted(mourned(case).resume()).0;
    witness.receive(case.topic("will"), "gone", 0);
}

// [MQTT-3.14.4-3] [MQTT-3.1.2-10]
fn will_does_not_come_after_disconnect(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).will(will(case))).0.leave();
    witness.expect_nothing();
}

// Section 3.14.2.1: 0x04.
fn will_comes_after_disconnect_with_will(case: &Case) {
    let mut witness = witness(case);
    let mut client = case.accepted(mourned(case).will(will(case))).0;
    client.send(wire::disconnect_because(0x04, &[]));
    client.expect_closed();
    witness.receive(case.topic("will"), "gone", 0);
}

// [MQTT-3.1.2-8]: every reason but 0x00.
fn will_comes_after_disconnect_with_an_error_code(case: &Case) {
    let mut witness = witness(case);
    for reason in [0x80, 0x81, 0x83, 0x90, 0x93, 0x95, 0x98] {
        let mut client = case.accepted(mourned(case).will(will(case))).0;
        client.send(wire::packet(wire::DISCONNECT, &[reason]));
        client.expect_closed();
        witness.receive(case.topic("will"), "gone", 0);
    }
}

// [MQTT-3.14.4-3]
fn will_does_not_come_after_disconnect_with_reason_0_spelled_out(case: &Case) {
    let mut witness = witness(case);
    for goodbye in [wire::packet(wire::DISCONNECT, &[0]), wire::disconnect_because(0, &[])] {
        let mut client = case.accepted(mourned(case).will(will(case))).0;
        client.send(goodbye);
        client.expect_closed();
    }
    witness.expect_nothing();
}

// [MQTT-3.1.2-10]
fn will_comes_once(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).lasting().will(will(case))).0.vanish();
    witness.receive(case.topic("will"), "gone", 0);
    // The session goes on, without a will.
    case.accepted(mourned(case).lasting()).0.vanish();
    case.accepted(mourned(case).lasting()).0.leave();
    witness.expect_nothing();
}

// [MQTT-3.1.2-10]
fn will_is_forgotten_after_disconnect(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).lasting().will(will(case))).0.leave();
    case.accepted(mourned(case).lasting()).0.vanish();
    case.accepted(mourned(case).lasting()).0.leave();
    witness.expect_nothing();
}

// [MQTT-3.1.2-15]
fn retained_will_is_kept(case: &Case) {
    let mut early = witness(case);
    case.accepted(mourned(case).will(will(case).qos(1).retain())).0.vanish();
    assert!(!early.receive(case.topic("will"), "gone", 1).retain, "to a subscription that was there it is news");
    let mut late = case.client("late");
    late.subscribe(case.topic("will"), 2);
    assert!(late.receive(case.topic("will"), "gone", 1).retain);
}

// [MQTT-3.1.2-14]
fn will_without_retain_is_not_kept(case: &Case) {
    let mut early = witness(case);
    case.accepted(mourned(case).will(will(case).qos(1))).0.vanish();
    early.receive(case.topic("will"), "gone", 1);
    let mut late = case.client("late");
    late.subscribe(case.topic("will"), 2);
    late.expect_nothing();
}

// [MQTT-3.3.1-6]
fn empty_retained_will_removes_what_was_kept(case: &Case) {
    case.publish(case.message("will", "kept").retain(), 1);
    let mut early = witness(case);
    early.receive(case.topic("will"), "kept", 1);
    case.accepted(mourned(case).will(Will::new(case.topic("will"), "").retain())).0.vanish();
    early.receive(case.topic("will"), "", 0);
    let mut late = case.client("late");
    late.subscribe(case.topic("will"), 2);
    late.expect_nothing();
}

// Section 3.1.3.4
fn will_payload_may_be_empty(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).will(Will::new(case.topic("will"), ""))).0.vanish();
    witness.receive(case.topic("will"), "", 0);
}

// Section 3.1.3.4
fn will_payload_of_65_535_bytes(case: &Case) {
    let payload: Vec<u8> = (0..65_535_u32).map(|index| index as u8).collect();
    let mut witness = witness(case);
    case.accepted(mourned(case).will(Will::new(case.topic("will"), &payload).qos(1))).0.vanish();
    witness.receive(case.topic("will"), payload, 1);
}

// Section 3.1.3.4
fn will_payload_may_be_binary(case: &Case) {
    let payload = [0, 0xff, 0xc0, 0x80, b'\n'];
    let mut witness = witness(case);
    case.accepted(mourned(case).will(Will::new(case.topic("will"), payload))).0.vanish();
    witness.receive(case.topic("will"), payload, 0);
}

// Section 3.1.3.2
fn will_properties_are_carried(case: &Case) {
    let carried = [
        property::payload_format_indicator(1),
        property::content_type("text/plain"),
        property::response_topic("answers/here"),
        property::correlation_data([0, 1, 0xff]),
        property::user("who", "me"),
    ];
    let mut witness = witness(case);
    let will = carried.iter().fold(will(case), |will, property| will.with(property.clone()));
    let will = will.with(property::message_expiry_interval(600));
    case.accepted(mourned(case).will(will)).0.vanish();
    let publish = witness.receive(case.topic("will"), "gone", 0);
    for property in carried {
        assert!(publish.properties.has(&property), "{property:02x?} is missing in {publish:02x?}");
    }
    let expiry = publish.properties.four(0x02).expect("message expiry interval");
    assert!((590..=600).contains(&expiry), "{expiry}");
    assert_eq!(publish.properties.0.len(), 6, "nothing else: {publish:02x?}");
}

// [MQTT-3.1.3-10]
fn will_keeps_the_order_of_user_properties(case: &Case) {
    let mut witness = witness(case);
    let pairs: Vec<_> = [("b", "1"), ("a", "2"), ("b", "3"), ("", ""), ("a", "2")]
        .into_iter()
        .map(|(name, value)| property::user(name, value))
        .collect();
    case.accepted(mourned(case).will(will(case).with(pairs.concat()))).0.vanish();
    assert_eq!(witness.receive(case.topic("will"), "gone", 0).properties.all(0x26), pairs);
}

// [MQTT-3.1.2-8]: never early.
fn will_comes_after_its_delay(case: &Case) {
    let mut witness = witness(case);
    let client = case.accepted(mourned(case).lasting().will(delayed(case, 1))).0;
    let before = Instant::now();
    client.vanish();
    witness.expect_nothing();
    witness.receive(case.topic("will"), "gone", 0);
    assert!(before.elapsed() >= Duration::from_secs(1), "{:?}", before.elapsed());
}

// [MQTT-3.1.2-8]: the session ends with the connection, whatever the delay.
fn will_comes_at_once_when_the_session_ends_with_the_connection(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).will(delayed(case, 3600))).0.vanish();
    witness.receive(case.topic("will"), "gone", 0);
}

// [MQTT-3.1.2-8] [MQTT-4.1.0-2]
fn will_comes_when_the_session_expires_before_its_delay(case: &Case) {
    let mut witness = witness(case);
    let connect = mourned(case).with(property::session_expiry_interval(1)).will(delayed(case, 3600));
    let client = case.accepted(connect).0;
    let before = Instant::now();
    client.vanish();
    witness.receive(case.topic("will"), "gone", 0);
    assert!(before.elapsed() >= Duration::from_secs(1), "{:?}", before.elapsed());
}

// [MQTT-3.1.3-9]
fn will_does_not_come_after_a_return_before_its_delay(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).lasting().will(delayed(case, 1))).0.vanish();
    let (mut client, connack) = case.accepted(mourned(case).lasting());
    assert!(connack.session_present);
    case.let_broker_time_pass(2);
    witness.expect_nothing();
    client.ping();
}

// [MQTT-3.1.2-8]: Clean Start ends the session.
fn will_comes_when_clean_start_ends_its_session(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).lasting().will(delayed(case, 3600))).0.vanish();
    let (mut client, connack) = case.accepted(mourned(case));
    assert!(!connack.session_present);
    witness.receive(case.topic("will"), "gone", 0);
    client.ping();
}

// [MQTT-3.1.3-9]
fn will_does_not_come_at_takeover_before_its_delay(case: &Case) {
    let mut witness = witness(case);
    let mut old = case.accepted(mourned(case).lasting().will(delayed(case, 1))).0;
    let mut new = case.accepted(mourned(case).lasting()).0;
    old.expect_disconnect(&[0x8e]);
    case.let_broker_time_pass(2);
    witness.expect_nothing();
    new.ping();
}

// [MQTT-3.1.2-8]: Clean Start ends the session of the connection that is taken over.
fn will_comes_at_takeover_with_clean_start(case: &Case) {
    let mut witness = witness(case);
    let mut old = case.accepted(mourned(case).lasting().will(delayed(case, 3600))).0;
    let mut new = case.accepted(mourned(case)).0;
    old.expect_disconnect(&[0x8e]);
    witness.receive(case.topic("will"), "gone", 0);
    new.ping();
}

// [MQTT-3.1.2-8]: a DISCONNECT that sets the expiry to 0 ends the session, and asks for the will.
fn will_delay_does_not_outlive_the_disconnect(case: &Case) {
    let mut witness = witness(case);
    let mut client = case.accepted(mourned(case).lasting().will(delayed(case, 3600))).0;
    client.send(wire::disconnect_because(0x04, &property::session_expiry_interval(0)));
    client.expect_closed();
    witness.receive(case.topic("will"), "gone", 0);
}

// [MQTT-3.1.2-7]
fn will_of_the_new_connection_replaces_the_old_one(case: &Case) {
    let mut witness = witness(case);
    case.accepted(mourned(case).lasting().will(delayed(case, 3600))).0.vanish();
    let other = Will::new(case.topic("will"), "gone again");
    case.accepted(mourned(case).lasting().will(other)).0.vanish();
    witness.receive(case.topic("will"), "gone again", 0);
    witness.expect_nothing();
}

// [MQTT-4.5.0-1]
fn will_reaches_a_session_that_is_away(case: &Case) {
    let mut away = case.lasting("away");
    away.subscribe(case.topic("will"), 1);
    away.leave();
    let mut witness = witness(case);
    case.accepted(mourned(case).will(will(case).qos(1))).0.vanish();
    witness.receive(case.topic("will"), "gone", 1);
    let (mut back, connack) = case.accepted(case.connect("away").lasting());
    // MQTT 3.1 has no flag for it.
    assert_eq!(connack.session_present, case.version != Version::V3);
    back.receive(case.topic("will"), "gone", 1);
}
