//! CONNECT (section 3.1): what is accepted, what is refused and how, and the deadlines before and after.

use std::time::Duration;

use super::*;

fn bytes(packet: impl Into<Packet<'static>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.into().encode(V5, &mut bytes);
    bytes
}

/// A CONNECT with another protocol level.
fn with_level(version: ProtocolVersion, level: u8) -> Vec<u8> {
    let mut bytes = bytes(connect(version));
    bytes[8] = level;
    bytes
}

/// A CONNECT of MQTT 5 with other connect flags.
fn with_flags(flags: u8) -> Vec<u8> {
    let mut bytes = bytes(connect(V5));
    bytes[9] = flags;
    bytes
}

// [MQTT-3.1.0-1] [MQTT-3.14.0-1]
#[test]
fn whatever_comes_before_connect_closes_in_silence() {
    for first in
        [&[0xC0, 0x00][..], &[0x30, 0x03, 0x00, 0x01, b'a'], &[0xE0, 0x00], &[0x00, 0x00], b"GET / HTTP/1.1\r\n"]
    {
        let lines = Script::new(settings()).feed_bytes(first);
        assert!(matches!(&lines[..], [close] if close.starts_with("close 0x8")), "{first:?}: {lines:?}");
    }
    let mut script = Script::new(settings());
    assert_eq!(
        script
            .connection
            .handle_packet(script.now, &Packet::PingReq, None, &mut Output::default())
            .unwrap_err()
            .reason_code,
        ReasonCode::ProtocolError
    );
}

// [MQTT-3.1.0-2] [MQTT-4.13.1-1]
#[test]
fn a_second_connect_is_a_protocol_error() {
    Script::connected(V5).check(connect(V5), &["DISCONNECT 0x82 +reason", "close 0x82"]);
    Script::connected(V4).check(connect(V4), &["close 0x82"]);
    Script::connected(V3).check(connect(V3), &["close 0x82"]);
}

// [MQTT-3.1.2-1]
#[test]
fn an_unknown_protocol_name_closes_in_silence() {
    let mut other = bytes(connect(V5));
    other[4..8].copy_from_slice(b"AMQP");
    Script::new(settings()).check_bytes(&other, &["close 0x84"]);
}

// [MQTT-3.1.2-2] [MQTT-3.1.1 3.1.2-2]
#[test]
fn an_unknown_protocol_level_is_answered_in_the_words_of_the_nearest_version() {
    Script::new(settings()).check_bytes(&with_level(V5, 6), &["CONNACK 0x84 +reason", "close 0x84"]);
    let mut script = Script::new(settings());
    script.check_bytes(&with_level(V4, 2), &["CONNACK 0x84", "close 0x84"]);
    assert_eq!(script.connection.version(), V4);
}

// [MQTT-3.1.2-2]
#[test]
fn a_version_that_the_listener_does_not_take_is_refused() {
    for (version, answer) in [(V5, "CONNACK 0x84 +reason"), (V4, "CONNACK 0x84"), (V3, "CONNACK 0x84")] {
        let protocol_versions = [V3, V4, V5].into_iter().filter(|other| *other != version).collect();
        let settings = Settings { protocol_versions, ..settings() };
        Script::new(settings.clone()).check(connect(version), &[answer, "close 0x84"]);
        assert!(
            settings.protocol_versions.iter().all(|other| {
                Script::new(settings.clone()).feed(connect(*other)) == ["authenticate", "CONNACK 0x00"]
            })
        );
    }
}

// [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.4-1]
#[test]
fn a_connect_with_inconsistent_flags_closes_in_silence() {
    // Reserved bit, Will QoS without a will, Will Retain without a will, Will QoS 3.
    for flags in [0x03, 0x0A, 0x22, 0x1E] {
        Script::new(settings()).check_bytes(&with_flags(flags), &["close 0x81"]);
    }
}

// [MQTT-3.1.4-1]
#[test]
fn a_connect_that_is_malformed_closes_in_silence() {
    let mut truncated = bytes(connect(V5));
    truncated[1] -= 1;
    truncated.pop();
    Script::new(settings()).check_bytes(&truncated, &["close 0x81"]);
}

// [MQTT-3.1.4-2]
#[test]
fn whoever_fails_the_checks_is_told_in_connack_and_closed() {
    for (code, v5, v4) in [
        (ReasonCode::BadUserNameOrPassword, "CONNACK 0x86 +reason", "CONNACK 0x86"),
        (ReasonCode::NotAuthorized, "CONNACK 0x87 +reason", "CONNACK 0x87"),
        (ReasonCode::Banned, "CONNACK 0x8A +reason", "CONNACK 0x87"),
        (ReasonCode::QuotaExceeded, "CONNACK 0x97 +reason", "CONNACK 0x88"),
        (ReasonCode::ServerShuttingDown, "CONNACK 0x88 +reason", "CONNACK 0x88"),
    ] {
        for (version, answer) in [(V5, v5), (V4, v4), (V3, v4)] {
            let mut script = Script::new(settings());
            script.broker.authenticates = false;
            script.check(connect(version), &["authenticate"]);
            script.check_close(code, &[answer]);
            assert!(!script.connection.takes_packets());
        }
    }
}

// [MQTT-3.1.3-5]
#[test]
fn every_letter_and_digit_may_stand_in_a_client_id() {
    let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for from in 0..alphabet.len() - 23 {
        for client_id in [&alphabet[from..=from], &alphabet[from..from + 23]] {
            for version in [V3, V4, V5] {
                let mut script = Script::new(settings());
                script.check(Connect { client_id, ..connect(version) }, &["authenticate", "CONNACK 0x00"]);
                assert_eq!(&**script.session().client_id(), client_id);
            }
        }
    }
}

// [MQTT-3.1.3-2] [MQTT-3.1.3-4]
#[test]
fn client_ids_of_any_legal_text_name_the_session() {
    let long = "ä".repeat(32_767);
    for client_id in ["é ü/+#$", "\u{FEFF}x", "😀", &long] {
        for version in [V3, V4, V5] {
            let script = Script::connected_with(settings(), Connect { client_id, ..connect(version) });
            assert_eq!(&**script.session().client_id(), client_id);
        }
    }
}

// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
#[test]
fn an_empty_client_id_is_replaced_and_told() {
    let empty = |version| Connect { client_id: "", ..connect(version) };
    let mut script = Script::new(settings());
    script.check(empty(V5), &["authenticate", "CONNACK 0x00 id=\"made-up\""]);
    assert_eq!(&**script.session().client_id(), "made-up");
    Script::new(settings())
        .check(Connect { clean_start: false, ..empty(V5) }, &["authenticate", "CONNACK 0x00 id=\"made-up\""]);
    Script::new(settings()).check(empty(V4), &["authenticate", "CONNACK 0x00"]);
}

// [MQTT-3.1.3-8] [MQTT-3.1.1 3.1.3-8] [MQTT-3.1.1 3.1.3-9]
#[test]
fn an_empty_client_id_without_a_clean_session_is_refused_in_3x() {
    let lasting = Connect { clean_start: false, client_id: "", ..connect(V4) };
    Script::new(settings()).check(lasting, &["CONNACK 0x85", "close 0x85"]);
    for clean_start in [true, false] {
        let old = Connect { clean_start, client_id: "", ..connect(V3) };
        Script::new(settings()).check(old, &["CONNACK 0x85", "close 0x85"]);
    }
}

// [MQTT-3.1.3-8]
#[test]
fn the_user_name_becomes_the_client_id_where_the_listener_wants_that() {
    let by_name = || Settings { user_name_as_client_id: true, ..settings() };
    let mut script = Script::new(by_name());
    script.broker.user_name = Some("ada");
    script.check(connect(V5), &["authenticate", "CONNACK 0x00 id=\"ada\""]);
    assert_eq!(&**script.session().client_id(), "ada");
    let mut script = Script::new(by_name());
    script.broker.user_name = Some("ada");
    script.check(connect(V4), &["authenticate", "CONNACK 0x00"]);
    for nobody in [None, Some("")] {
        let mut script = Script::new(by_name());
        script.broker.user_name = nobody;
        script.check(connect(V5), &["authenticate", "CONNACK 0x85 +reason", "close 0x85"]);
    }
}

// [MQTT-3.1.4-6]
#[test]
fn packets_behind_connect_wait_until_it_is_answered() {
    let mut script = Script::new(settings());
    script.broker.authenticates = false;
    script.check(connect(V5), &["authenticate"]);
    assert!(!script.connection.takes_packets());
    script.check_accept(None, &["CONNACK 0x00"]);
    assert!(script.connection.takes_packets() && script.connection.is_connected());
}

// [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.0-2]
#[test]
fn one_connack_comes_first_and_never_again() {
    let mut script = Script::new(settings());
    assert_eq!(script.feed(connect(V5)), ["authenticate", "CONNACK 0x00"]);
    script.check_accept(None, &[]);
    script.check(Packet::PingReq, &["PINGRESP"]);
}

#[test]
fn a_connect_that_does_not_come_in_time_closes_in_silence() {
    let mut script = Script::new(settings());
    script.check_time(Duration::from_millis(9_999), &[]);
    assert_eq!(script.connection.next_timeout().since(script.now), Duration::from_millis(1));
    script.check_time(Duration::from_millis(1), &["close 0xA0"]);
    assert_eq!(script.connection.next_timeout(), BrokerTime::NEVER);
}

#[test]
fn an_authentication_that_does_not_end_in_time_closes() {
    let mut script = Script::new(settings());
    script.broker.authenticates = false;
    script.now = script.now.after(Duration::from_secs(9));
    script.check(connect(V5), &["authenticate"]);
    script.check_time(Duration::from_secs(1), &["close 0xA0"]);
}

// [MQTT-3.1.2-22] [MQTT-3.2.2-22]
#[test]
fn one_and_a_half_times_the_keep_alive_without_a_packet_closes() {
    let quiet = |version| Connect { keep_alive: 10, ..connect(version) };
    for (version, end) in
        [(V5, &["DISCONNECT 0x8D +reason", "close 0x8D"][..]), (V4, &["close 0x8D"]), (V3, &["close 0x8D"])]
    {
        let mut script = Script::connected_with(settings(), quiet(version));
        script.check_time(Duration::from_millis(14_999), &[]);
        script.check(Packet::PingReq, &["PINGRESP"]);
        script.check_time(Duration::from_millis(14_999), &[]);
        script.check_time(Duration::from_millis(1), end);
    }
}

// [MQTT-3.1.2-22]
#[test]
fn every_packet_counts_and_the_brokers_own_pause_does_not() {
    let mut script = Script::connected_with(settings(), Connect { keep_alive: 1, ..connect(V5) });
    script.now = script.now.after(Duration::from_millis(1_400));
    script.check(publish(0, "a", "x"), &["route q0 a 'x'"]);
    script.check_time(Duration::from_millis(1_400), &[]);
    script.connection.rest_keep_alive(script.now);
    script.check_time(Duration::from_millis(1_499), &[]);
    script.check_time(Duration::from_millis(1), &["DISCONNECT 0x8D +reason", "close 0x8D"]);
}

#[test]
fn without_keep_alive_a_connection_may_be_silent_for_ever() {
    let mut script = Script::connected(V5);
    assert_eq!(script.connection.next_timeout(), BrokerTime::NEVER);
    script.check_time(Duration::from_secs(1_000_000), &[]);
}

// [MQTT-3.1.2-21] [MQTT-3.2.2-21]
#[test]
fn a_client_of_mqtt_5_is_held_to_the_keep_alive_it_was_told() {
    let strict = || Settings { keep_alive_max: 20, ..settings() };
    for keep_alive in [0, 21, u16::MAX] {
        let mut script = Script::new(strict());
        script.check(Connect { keep_alive, ..connect(V5) }, &["authenticate", "CONNACK 0x00 keep_alive=20"]);
        script.check_time(Duration::from_millis(29_999), &[]);
        script.check_time(Duration::from_millis(1), &["DISCONNECT 0x8D +reason", "close 0x8D"]);
    }
    Script::new(strict()).check(Connect { keep_alive: 20, ..connect(V5) }, &["authenticate", "CONNACK 0x00"]);
    let mut old = Script::connected_with(strict(), Connect { keep_alive: 60, ..connect(V4) });
    old.check_time(Duration::from_millis(89_999), &[]);
    old.check_time(Duration::from_millis(1), &["close 0x8D"]);
}

#[test]
fn a_bridge_of_mosquitto_is_taken_at_its_word() {
    for version in [V3, V4] {
        let mut script = Script::connected_with(settings(), Connect { bridge: true, ..connect(version) });
        let filters = [("a", SubscribeOptions::default()), ("$share/g/a", SubscribeOptions::default())];
        script.check(
            subscribe(1, &filters),
            &["subscribe a q0 no_local as_published, $share/g/a q0 as_published", "SUBACK #1 0x00 0x00"],
        );
    }
}
