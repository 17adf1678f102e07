//! The will in the session (section 3.1.2.5); when it is published is the driver's to see to.

use super::*;
use crate::packet::Property;

fn will(qos: packet::QoS, retain: bool) -> packet::Will<'static> {
    packet::Will {
        qos,
        retain,
        topic: "wills/c",
        payload: b"gone",
        will_delay_interval: 0,
        properties: PublishProperties::default(),
    }
}

fn dying(version: ProtocolVersion, will: packet::Will<'static>) -> Connect<'static> {
    Connect { will: Some(will), clean_start: false, ..connect(version) }
}

// [MQTT-3.1.2-7] [MQTT-3.1.2-9] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
#[test]
fn the_will_is_kept_with_its_session_as_it_came() {
    for version in [V3, V4, V5] {
        for (retain, kept) in [(false, "q1 wills/c 'gone'"), (true, "q1 retain wills/c 'gone'")] {
            let script = Script::connected_with(settings(), dying(version, will(AtLeastOnce, retain)));
            assert_eq!(script.will(), Some((kept.into(), 0)));
        }
        assert!(Script::connected(version).will().is_none());
    }
}

// [MQTT-3.1.3-10]
#[test]
fn will_properties_go_out_in_order_and_its_expiry_begins_when_it_is_published() {
    let mut raw = Vec::new();
    for property in [
        Property::UserProperty("b", "1"),
        Property::WillDelayInterval(30),
        Property::ContentType("text/plain"),
        Property::MessageExpiryInterval(7),
        Property::UserProperty("a", "2"),
    ] {
        property.encode(&mut raw);
    }
    let properties = PublishProperties { raw: &raw, ..Default::default() };
    let will = packet::Will { properties, will_delay_interval: 30, ..will(AtMostOnce, false) };
    let connect = Connect { will: Some(will), ..connect(V5) };
    let mut script = Script::connected_with(settings(), connect);
    script.now = script.now.after_secs(100);
    let kept = "q0 wills/c UserProperty(\"b\", \"1\") ContentType(\"text/plain\") UserProperty(\"a\", \"2\") until=1107000 'gone'";
    assert_eq!(script.will(), Some((kept.into(), 30)));
}

// [MQTT-3.1.2-10] [MQTT-3.14.4-3]
#[test]
fn a_normal_disconnect_deletes_the_will_and_no_other_end_does() {
    let mut script = Script::connected_with(settings(), dying(V5, will(AtMostOnce, false)));
    script.check(Disconnect::default(), &["end 0x00"]);
    assert!(script.will().is_none());
    for code in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError, ReasonCode::MessageRateTooHigh] {
        let mut script = Script::connected_with(settings(), dying(V5, will(AtMostOnce, false)));
        let end = Disconnect { reason_code: code, ..Disconnect::default() };
        script.check(end, &[&format!("end 0x{:02X}", code as u8)]);
        assert!(script.will().is_some(), "{code:?}");
    }
    let mut script = Script::connected_with(settings(), dying(V5, will(AtMostOnce, false)));
    script.check(connect(V5), &["DISCONNECT 0x82 +reason", "close 0x82"]);
    assert!(script.will().is_some());
    for version in [V3, V4] {
        let mut script = Script::connected_with(settings(), dying(version, will(AtMostOnce, false)));
        script.check(Disconnect::default(), &["end 0x00"]);
        assert!(script.will().is_none());
    }
}

#[test]
fn the_next_connect_brings_its_own_will_or_none() {
    let script = Script::connected_with(settings(), dying(V4, will(AtMostOnce, false)));
    let script = script.reconnected(settings(), dying(V4, will(ExactlyOnce, true)));
    assert_eq!(script.will(), Some(("q2 retain wills/c 'gone'".into(), 0)));
    let script = script.reconnected(settings(), Connect { clean_start: false, ..connect(V4) });
    assert!(script.will().is_none());
}

#[test]
fn a_will_that_is_not_the_text_it_says_is_refused() {
    let mut raw = Vec::new();
    Property::PayloadFormatIndicator(true).encode(&mut raw);
    let properties = PublishProperties { raw: &raw, ..Default::default() };
    let will = packet::Will { payload: &[0xFF], properties, ..will(AtMostOnce, false) };
    Script::new(settings()).check(Connect { will: Some(will), ..connect(V5) }, &["CONNACK 0x99 +reason", "close 0x99"]);
}

#[test]
fn the_mount_point_stands_before_the_wills_topic() {
    let mounted = Settings { mount_point: "t/".into(), ..settings() };
    let script = Script::connected_with(mounted, dying(V4, will(AtMostOnce, false)));
    assert_eq!(script.will(), Some(("q0 t/wills/c 'gone'".into(), 0)));
    assert_eq!(script.session().will.as_ref().map(|will| will.topic()), Some("t/wills/c"));
}
