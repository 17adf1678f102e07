//! DISCONNECT (section 3.14) from both sides, and errors (section 4.13).

use super::*;

fn disconnect(reason_code: ReasonCode, session_expiry_interval: Option<u32>) -> Disconnect<'static> {
    Disconnect { reason_code, session_expiry_interval, ..Disconnect::default() }
}

fn with_expiry(expiry: Option<u32>) -> Connect<'static> {
    let properties = ConnectProperties { session_expiry_interval: expiry, ..Default::default() };
    Connect { properties, ..connect(V5) }
}

#[test]
fn a_disconnect_ends_the_connection() {
    for version in [V3, V4, V5] {
        Script::connected(version).check(Disconnect::default(), &["end 0x00"]);
    }
    Script::connected(V5).check(disconnect(ReasonCode::DisconnectWithWill, None), &["end 0x04"]);
}

#[test]
fn disconnect_may_change_the_session_expiry() {
    let limited = || Settings { session_expiry_max: 100, ..settings() };
    for (asked, granted) in [(0, 0), (50, 50), (u32::MAX, 100)] {
        let mut script = Script::connected_with(limited(), with_expiry(Some(10)));
        script.check(disconnect(ReasonCode::Success, Some(asked)), &["end 0x00"]);
        assert_eq!(script.session().expiry_interval, granted);
    }
    let mut script = Script::connected_with(limited(), with_expiry(Some(10)));
    script.check(disconnect(ReasonCode::Success, None), &["end 0x00"]);
    assert_eq!(script.session().expiry_interval, 10);
}

#[test]
fn disconnect_may_not_begin_an_expiry_that_connect_did_not_ask_for() {
    for asked in [None, Some(0)] {
        let mut script = Script::connected_with(settings(), with_expiry(asked));
        let wrong = disconnect(ReasonCode::Success, Some(1));
        script.check(wrong, &["DISCONNECT 0x82 +reason", "close 0x82"]);
        let mut script = Script::connected_with(settings(), with_expiry(asked));
        script.check(disconnect(ReasonCode::Success, Some(0)), &["end 0x00"]);
    }
}

#[test]
fn an_expiry_that_only_the_listener_made_zero_may_be_asked_for_again() {
    let none = Settings { session_expiry_max: 0, ..settings() };
    let mut script = Script::connected_with(none, with_expiry(Some(60)));
    script.check(disconnect(ReasonCode::Success, Some(60)), &["end 0x00"]);
    assert_eq!(script.session().expiry_interval, 0);
}

// [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]
#[test]
fn the_broker_says_why_it_closes_in_a_code_that_disconnect_may_carry_and_nothing_after_it() {
    for code in (0x80..=0xFF).filter_map(ReasonCode::from_u8) {
        let mut script = Script::connected(V5);
        let belongs = code.belongs_to(PacketType::Disconnect, packet::Sender::Server);
        let sent = if belongs { code } else { ReasonCode::UnspecifiedError };
        script.check_close(code, &[&format!("DISCONNECT 0x{:02X} +reason", sent as u8)]);
        script.check_close(code, &[]);
        assert!(!script.connection.takes_packets());
        let mut late = Output::default();
        assert!(matches!(
            script.connection.handle_packet(script.now, &Packet::PingReq, None, &mut late),
            Ok(Action::None)
        ));
        assert!(late.is_empty());
    }
}

#[test]
fn in_3x_the_broker_closes_in_silence() {
    for version in [V3, V4] {
        Script::connected(version).check_close(ReasonCode::SessionTakenOver, &[]);
        Script::connected(version).check_bytes(&[0x36, 0x00], &["close 0x81"]);
    }
}

// [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.1.2-24]
#[test]
fn the_reason_of_a_disconnect_is_left_out_where_it_does_not_fit() {
    for (size, expected) in [(12, "DISCONNECT 0x8B"), (100, "DISCONNECT 0x8B +reason")] {
        let properties = ConnectProperties { maximum_packet_size: NonZeroU32::new(size), ..Default::default() };
        let mut script = Script::connected_with(settings(), Connect { properties, ..connect(V5) });
        script.check_close(ReasonCode::ServerShuttingDown, &[expected]);
    }
}

// [MQTT-4.13.1-1] [MQTT-3.14.1-1] [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.15.1-1]
#[test]
fn malformed_packets_close_with_0x81() {
    let reserved_flags = [
        &[0xC1, 0x00][..],
        &[0xE1, 0x00],
        &[0x60, 0x02, 0x00, 0x01],
        &[0x80, 0x07, 0x00, 0x01, 0x00, 0x00, 0x01, b'a', 0x00],
        &[0xA0, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, b'a'],
        &[0xF1, 0x00],
        &[0x41, 0x02, 0x00, 0x01],
    ];
    for bytes in reserved_flags {
        Script::connected(V5).check_bytes(bytes, &["DISCONNECT 0x81 +reason", "close 0x81"]);
    }
}

// [MQTT-4.13.1-1]
#[test]
fn packets_that_only_a_server_sends_close_with_0x82() {
    for bytes in [
        &[0x20, 0x03, 0x00, 0x00, 0x00][..],
        &[0x90, 0x04, 0x00, 0x01, 0x00, 0x00],
        &[0xB0, 0x04, 0x00, 0x01, 0x00, 0x00],
        &[0xD0, 0x00],
    ] {
        Script::connected(V5).check_bytes(bytes, &["DISCONNECT 0x82 +reason", "close 0x82"]);
        let mut script = Script::connected(V5);
        let mut out = Output::default();
        let server = Packet::PingResp;
        let refused = script.connection.handle_packet(script.now, &server, None, &mut out).unwrap_err();
        assert_eq!(refused.reason_code, ReasonCode::ProtocolError);
    }
}

// [MQTT-4.13.1-1] [MQTT-3.2.2-15]
#[test]
fn a_packet_above_the_maximum_closes_with_0x95_when_its_length_is_known() {
    let small = Settings { maximum_packet_size: 100, ..settings() };
    let mut script = Script::connected_with(small, connect(V5));
    script.check_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], &["DISCONNECT 0x95 +reason", "close 0x95"]);
}

// [MQTT-3.12.4-1]
#[test]
fn a_ping_is_answered() {
    for version in [V3, V4, V5] {
        Script::connected(version).check(Packet::PingReq, &["PINGRESP"]);
    }
}
