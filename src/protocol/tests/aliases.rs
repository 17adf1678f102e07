//! Topic aliases both ways (section 3.3.2.3.4).

use super::*;
use crate::packet::Property;

fn with_alias(topic: &'static str, alias: u16) -> Publish<'static> {
    let mut raw = Vec::new();
    Property::TopicAlias(NonZeroU16::new(alias).unwrap()).encode(&mut raw);
    Publish { properties: PublishProperties { raw: raw.leak(), ..Default::default() }, ..publish(0, topic, "") }
}

fn taking(topic_alias_maximum: u16) -> Connect<'static> {
    let properties = ConnectProperties { topic_alias_maximum, ..Default::default() };
    Connect { properties, clean_start: false, ..connect(V5) }
}

fn three() -> Settings {
    Settings { topic_alias_maximum: 3, topic_alias_maximum_outbound: 3, ..settings() }
}

// [MQTT-3.3.2-12]
#[test]
fn every_alias_up_to_the_maximum_stands_for_its_topic() {
    let mut script = Script::connected_with(three(), connect(V5));
    script.check(with_alias("a", 1), &["route q0 a ''"]);
    script.check(with_alias("c", 3), &["route q0 c ''"]);
    script.check(with_alias("", 1), &["route q0 a ''"]);
    script.check(with_alias("b", 1), &["route q0 b ''"]);
    script.check(with_alias("", 1), &["route q0 b ''"]);
    script.check(with_alias("", 3), &["route q0 c ''"]);
}

// [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.2.2-18]
#[test]
fn an_alias_above_the_maximum_closes_with_0x94() {
    for (settings, alias) in [(three(), 4), (three(), u16::MAX), (settings(), 1)] {
        let mut script = Script::connected_with(settings, connect(V5));
        script.check(with_alias("a", alias), &["DISCONNECT 0x94 +reason", "close 0x94"]);
    }
}

// [MQTT-3.3.2-8]
#[test]
fn alias_zero_closes_with_0x94() {
    let mut script = Script::connected_with(three(), connect(V5));
    script.check_bytes(&[0x30, 0x07, 0, 1, b'a', 3, 0x23, 0, 0], &["DISCONNECT 0x94 +reason", "close 0x94"]);
}

// [MQTT-3.3.2-7]
#[test]
fn aliases_end_with_their_connection() {
    let mut script = Script::connected_with(three(), taking(3));
    script.check(with_alias("a", 1), &["route q0 a ''"]);
    let long = "a/topic/that/gains";
    script.check_deliver(delivery(AtMostOnce, long, ""), &["PUBLISH q0 a/topic/that/gains TopicAlias(1) ''"]);
    let mut script = script.reconnected(three(), taking(3));
    script.check_deliver(delivery(AtMostOnce, long, ""), &["PUBLISH q0 a/topic/that/gains TopicAlias(1) ''"]);
    script.check(with_alias("", 1), &["DISCONNECT 0x82 +reason", "close 0x82"]);
}

// [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
#[test]
fn the_broker_makes_aliases_only_for_those_who_take_them_and_no_more_than_they_take() {
    let mut none = Script::connected_with(three(), taking(0));
    let mut two = Script::connected_with(three(), taking(2));
    for (topic, first, then) in [
        ("plant/1/temp", "plant/1/temp TopicAlias(1)", " TopicAlias(1)"),
        ("plant/2/temp", "plant/2/temp TopicAlias(2)", " TopicAlias(2)"),
        ("plant/3/temp", "plant/3/temp", "plant/3/temp"),
    ] {
        none.check_deliver(delivery(AtMostOnce, topic, ""), &[&format!("PUBLISH q0 {topic} ''")]);
        two.check_deliver(delivery(AtMostOnce, topic, ""), &[&format!("PUBLISH q0 {first} ''")]);
        two.check_deliver(delivery(AtMostOnce, topic, ""), &[&format!("PUBLISH q0 {} ''", then.trim())]);
    }
    let mut limited = Script::connected_with(Settings { topic_alias_maximum_outbound: 0, ..three() }, taking(9));
    limited.check_deliver(delivery(AtMostOnce, "plant/1/temp", ""), &["PUBLISH q0 plant/1/temp ''"]);
    let mut old = Script::connected_with(three(), connect(V4));
    old.check_deliver(delivery(AtMostOnce, "plant/1/temp", ""), &["PUBLISH q0 plant/1/temp ''"]);
}

#[test]
fn short_topics_get_no_alias() {
    let mut script = Script::connected_with(three(), taking(3));
    script.check_deliver(delivery(AtMostOnce, "short/1", ""), &["PUBLISH q0 short/1 ''"]);
    let mounted = Settings { mount_point: "a/long/mount/".into(), ..three() };
    let mut script = Script::connected_with(mounted, taking(3));
    script.check_deliver(delivery(AtMostOnce, "a/long/mount/short/1", ""), &["PUBLISH q0 short/1 ''"]);
    script.check_deliver(delivery(AtMostOnce, "a/long/mount/longer/1", ""), &["PUBLISH q0 longer/1 TopicAlias(1) ''"]);
    script.check_deliver(delivery(AtMostOnce, "a/long/mount/longer/1", ""), &["PUBLISH q0 TopicAlias(1) ''"]);
}

// [MQTT-3.1.2-24]
#[test]
fn a_message_that_only_an_alias_would_make_too_large_goes_without() {
    let mut connect = taking(3);
    connect.properties.maximum_packet_size = NonZeroU32::new(20);
    let mut script = Script::connected_with(three(), connect);
    // 2 fixed header, 14 topic, 1 property length, 3 payload: full, and setting an alias needs 3 more.
    script.check_deliver(delivery(AtMostOnce, "plant/1/temp", "123"), &["PUBLISH q0 plant/1/temp '123'"]);
    script.check_deliver(delivery(AtMostOnce, "plant/1/temp", "1234"), &["dropped too_large"]);
    script.check_deliver(delivery(AtMostOnce, "plant/1/temp", ""), &["PUBLISH q0 plant/1/temp TopicAlias(1) ''"]);
    script.check_deliver(
        delivery(AtMostOnce, "plant/1/temp", "twelve bytes"),
        &["PUBLISH q0 TopicAlias(1) 'twelve bytes'"],
    );
    script.check_deliver(delivery(AtMostOnce, "plant/1/temp", "13 bytes here"), &["dropped too_large"]);
}
