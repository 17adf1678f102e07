//! CONNACK (section 3.2): what the broker says it allows, and what it must not say.

use super::*;
use crate::protocol::MountPoint;

/// The CONNACK that this CONNECT gets under these settings.
fn connack(settings: Settings, connect: Connect<'_>) -> String {
    let mut lines = Script::new(settings).feed(connect);
    assert_eq!(lines.remove(0), "authenticate");
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

fn with(properties: ConnectProperties<'static>) -> Connect<'static> {
    Connect { properties, ..connect(V5) }
}

// [MQTT-3.2.2-9]
#[test]
fn limits_are_told_where_they_are_narrower_than_the_standard_assumes() {
    let narrow = Settings {
        maximum_packet_size: 1000,
        receive_maximum: NonZeroU16::new(7).unwrap(),
        maximum_qos: AtLeastOnce,
        retain_available: false,
        topic_alias_maximum: 3,
        ..settings()
    };
    assert_eq!(connack(narrow.clone(), connect(V5)), "CONNACK 0x00 receive=7 qos=1 retain=false size=1000 aliases=3");
    assert_eq!(connack(Settings { maximum_qos: AtMostOnce, ..settings() }, connect(V5)), "CONNACK 0x00 qos=0");
    assert_eq!(connack(narrow, connect(V4)), "CONNACK 0x00");
}

#[test]
fn the_session_expiry_is_told_where_it_is_not_what_was_asked_for() {
    let short = || Settings { session_expiry_max: 60, ..settings() };
    let asking = |expiry| with(ConnectProperties { session_expiry_interval: Some(expiry), ..Default::default() });
    assert_eq!(connack(short(), asking(u32::MAX)), "CONNACK 0x00 expiry=60");
    assert_eq!(connack(short(), asking(61)), "CONNACK 0x00 expiry=60");
    assert_eq!(connack(short(), asking(60)), "CONNACK 0x00");
    assert_eq!(connack(short(), connect(V5)), "CONNACK 0x00");
    assert_eq!(connack(settings(), asking(u32::MAX)), "CONNACK 0x00");
}

#[test]
fn sessions_of_3x_get_the_configured_expiry() {
    for version in [V3, V4] {
        let settings = Settings { session_expiry_3x: 500, ..settings() };
        let lasting = Script::connected_with(settings.clone(), Connect { clean_start: false, ..connect(version) });
        assert_eq!(lasting.session().expiry_interval, 500);
        assert_eq!(Script::connected_with(settings, connect(version)).session().expiry_interval, 0);
        let shorter = Settings { session_expiry_3x: 500, session_expiry_max: 60, ..super::settings() };
        let lasting = Script::connected_with(shorter, Connect { clean_start: false, ..connect(version) });
        assert_eq!(lasting.session().expiry_interval, 60);
    }
}

// [MQTT-3.1.2-28]
#[test]
fn response_information_is_given_to_those_who_ask() {
    let settings = || Settings { response_information: Some("answers/%c".into()), ..settings() };
    let asking = with(ConnectProperties { request_response_information: true, ..Default::default() });
    assert_eq!(connack(settings(), asking), "CONNACK 0x00 response=\"answers/c\"");
    assert_eq!(connack(settings(), connect(V5)), "CONNACK 0x00");
    assert_eq!(connack(settings(), connect(V4)), "CONNACK 0x00");
}

// [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.1.2-5] [MQTT-3.1.2-6]
#[test]
fn session_present_says_whether_the_session_goes_on() {
    let held = || Some(Session::new("c".into(), &MountPoint::default()));
    for version in [V4, V5] {
        for (held, clean_start, expected) in [
            (held(), false, "CONNACK 0x00 present"),
            (held(), true, "CONNACK 0x00"),
            (None, false, "CONNACK 0x00"),
            (None, true, "CONNACK 0x00"),
        ] {
            let mut script = Script::new(settings());
            script.broker.held = held;
            script.check(Connect { clean_start, ..connect(version) }, &["authenticate", expected]);
        }
    }
}

#[test]
fn mqtt_3_1_has_no_session_present_flag() {
    let mut script = Script::new(settings());
    script.broker.held = Some(Session::new("c".into(), &MountPoint::default()));
    script.check(Connect { clean_start: false, ..connect(V3) }, &["authenticate", "CONNACK 0x00"]);
}

#[test]
fn a_session_behind_another_mount_point_is_not_taken_up() {
    let mounted = |mount_point: &str| Settings { mount_point: mount_point.into(), ..settings() };
    for (mine, present) in [("a/", "CONNACK 0x00 present"), ("b/", "CONNACK 0x00"), ("", "CONNACK 0x00")] {
        let mut script = Script::new(mounted(mine));
        script.broker.held = Some(Session::new("c".into(), &"a/".into()));
        script.check(Connect { clean_start: false, ..connect(V5) }, &["authenticate", present]);
        assert_eq!(script.session().mount_point().as_str(), mine);
    }
}

// [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-4.13.2-1]
#[test]
fn a_refusal_has_a_code_that_connack_may_carry_and_no_session_and_closes() {
    for code in (0x80..=0xFF).filter_map(ReasonCode::from_u8).filter(|code| *code != ReasonCode::MaximumConnectTime) {
        let mut script = Script::new(settings());
        script.broker.authenticates = false;
        script.broker.held = Some(Session::new("c".into(), &MountPoint::default()));
        script.check(Connect { clean_start: false, ..connect(V5) }, &["authenticate"]);
        let belongs = code.belongs_to(PacketType::ConnAck, packet::Sender::Server);
        let sent = match code {
            ReasonCode::ServerShuttingDown => ReasonCode::ServerUnavailable,
            code if belongs => code,
            _ => ReasonCode::UnspecifiedError,
        };
        script.check_close(code, &[&format!("CONNACK 0x{:02X} +reason", sent as u8)]);
        assert!(!script.connection.takes_packets() && !script.connection.is_connected());
    }
}

// [MQTT-3.2.2-12] [MQTT-3.2.2-13]
#[test]
fn a_will_beyond_the_listeners_capabilities_is_refused() {
    let will = |qos, retain| packet::Will {
        qos,
        retain,
        topic: "t",
        payload: b"",
        will_delay_interval: 0,
        properties: PublishProperties::default(),
    };
    let poor = || Settings { maximum_qos: AtLeastOnce, retain_available: false, ..settings() };
    let dying = |version, will| Connect { will: Some(will), ..connect(version) };
    Script::new(poor()).check(dying(V5, will(ExactlyOnce, false)), &["CONNACK 0x9B +reason", "close 0x9B"]);
    Script::new(poor()).check(dying(V5, will(AtMostOnce, true)), &["CONNACK 0x9A +reason", "close 0x9A"]);
    Script::new(poor()).check(dying(V4, will(ExactlyOnce, false)), &["CONNACK 0x88", "close 0x9B"]);
    Script::connected_with(poor(), dying(V5, will(AtLeastOnce, false)));
}

// [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.1.2-24]
#[test]
fn the_reason_is_left_out_where_the_client_takes_no_packet_so_large() {
    let small = |size| ConnectProperties { maximum_packet_size: NonZeroU32::new(size), ..Default::default() };
    let settings = || Settings { maximum_qos: AtMostOnce, protocol_versions: vec![V4], ..settings() };
    Script::new(settings()).check(with(small(5)), &["CONNACK 0x84", "close 0x84"]);
    Script::new(settings()).check(with(small(4)), &["close 0x84"]);
    Script::new(settings()).check(with(small(200)), &["CONNACK 0x84 +reason", "close 0x84"]);
}

// [MQTT-3.1.2-24]
#[test]
fn a_client_that_does_not_take_its_connack_is_refused() {
    let small = |size| ConnectProperties { maximum_packet_size: NonZeroU32::new(size), ..Default::default() };
    let settings = || Settings { response_information: Some("a/long/prefix".into()), ..settings() };
    let asking = ConnectProperties { request_response_information: true, ..small(20) };
    let will = packet::Will {
        qos: AtMostOnce,
        retain: false,
        topic: "t",
        payload: b"",
        will_delay_interval: 0,
        properties: PublishProperties::default(),
    };
    let mut script = Script::new(settings());
    let connect = Connect { will: Some(will), ..with(asking) };
    script.check(connect, &["authenticate", "CONNACK 0x95", "close 0x95"]);
    assert!(script.session().will.is_none(), "a connection that was never accepted leaves no will");
    Script::connected_with(settings(), with(small(5)));
}
