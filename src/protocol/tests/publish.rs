//! PUBLISH from the client (sections 3.3 and 4.3): what is routed, and how it is acknowledged.

use super::*;
use crate::packet::Property;

fn raw(properties: &[Property<'_>]) -> &'static [u8] {
    let mut raw = Vec::new();
    properties.iter().for_each(|property| property.encode(&mut raw));
    raw.leak()
}

fn with(publish: Publish<'static>, properties: &[Property<'_>]) -> Publish<'static> {
    Publish { properties: PublishProperties { raw: raw(properties), ..Default::default() }, ..publish }
}

fn qos_2(packet_id: u16, topic: &'static str, payload: &'static str) -> Publish<'static> {
    Publish { qos: ExactlyOnce, ..publish(packet_id, topic, payload) }
}

fn pubrel(packet_id: u16) -> Packet<'static> {
    ack(PacketType::PubRel, packet_id, ReasonCode::Success)
}

// [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-4.3.2-4]
#[test]
fn a_publish_is_answered_as_its_qos_wants() {
    for version in [V3, V4, V5] {
        let mut script = Script::connected(version);
        script.check(publish(0, "a", "x"), &["route q0 a 'x'"]);
        script.check(publish(7, "a/b", "x"), &["route q1 a/b 'x' #7", "PUBACK #7 0x00"]);
        script.check(qos_2(8, "a", ""), &["route q2 a '' #8", "PUBREC #8 0x00"]);
    }
}

// [MQTT-4.3.2-5]
#[test]
fn a_qos_1_id_that_was_acknowledged_is_a_new_message() {
    let mut script = Script::connected(V4);
    script.check(publish(7, "a", "one"), &["route q1 a 'one' #7", "PUBACK #7 0x00"]);
    let again = Publish { dup: true, ..publish(7, "a", "two") };
    script.check(again, &["route q1 a 'two' #7", "PUBACK #7 0x00"]);
}

// [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]
#[test]
fn qos_2_is_routed_once_however_often_it_comes() {
    for version in [V3, V4, V5] {
        let mut script = Script::connected(version);
        script.check(qos_2(7, "a", "x"), &["route q2 a 'x' #7", "PUBREC #7 0x00"]);
        script.check(Publish { dup: true, ..qos_2(7, "a", "x") }, &["PUBREC #7 0x00"]);
        script.check(qos_2(7, "a", "x"), &["PUBREC #7 0x00"]);
        script.check(pubrel(7), &["PUBCOMP #7 0x00"]);
        script.check(qos_2(7, "a", "new"), &["route q2 a 'new' #7", "PUBREC #7 0x00"]);
    }
}

// [MQTT-4.3.3-11] [MQTT-3.7.2-1]
#[test]
fn a_pubrel_of_an_unknown_id_is_answered() {
    Script::connected(V5).check(pubrel(9), &["PUBCOMP #9 0x92"]);
    Script::connected(V4).check(pubrel(9), &["PUBCOMP #9 0x00"]);
    let mut script = Script::connected(V5);
    script.check(qos_2(9, "a", ""), &["route q2 a '' #9", "PUBREC #9 0x00"]);
    let not_found = ack(PacketType::PubRel, 9, ReasonCode::PacketIdentifierNotFound);
    script.check(not_found, &["PUBCOMP #9 0x00"]);
}

// [MQTT-4.3.3-13]
#[test]
fn an_expired_message_is_acknowledged_to_its_end() {
    let mut script = Script::connected(V5);
    let brief = with(qos_2(7, "a", "x"), &[Property::MessageExpiryInterval(1)]);
    script.check(brief.clone(), &["route q2 a until=1001000 'x' #7", "PUBREC #7 0x00"]);
    script.now = script.now.after_secs(60);
    script.check(Publish { dup: true, ..brief }, &["PUBREC #7 0x00"]);
    script.check(pubrel(7), &["PUBCOMP #7 0x00"]);
}

// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-4.3.3-9]
#[test]
fn a_refusal_says_why_and_forgets_the_id() {
    for (routed, code) in [(Routed::Refused("full"), "0x97 +reason"), (Routed::NotAuthorized, "0x87 +reason")] {
        let mut script = Script::connected(V5);
        script.broker.routed = routed;
        script.check(publish(7, "a", ""), &["route q1 a '' #7", &format!("PUBACK #7 {code}")]);
        script.check(qos_2(8, "a", ""), &["route q2 a '' #8", &format!("PUBREC #8 {code}")]);
        script.broker.routed = Routed::Accepted;
        script.check(qos_2(8, "a", "again"), &["route q2 a 'again' #8", "PUBREC #8 0x00"]);
    }
}

#[test]
fn a_publisher_is_told_when_nobody_subscribes() {
    let mut script = Script::connected(V5);
    script.broker.routed = Routed::NoMatchingSubscribers;
    script.check(publish(7, "a", ""), &["route q1 a '' #7", "PUBACK #7 0x10"]);
    script.check(qos_2(8, "a", ""), &["route q2 a '' #8", "PUBREC #8 0x10"]);
    script.check(pubrel(8), &["PUBCOMP #8 0x00"]);
    let mut old = Script::connected(V4);
    old.broker.routed = Routed::NoMatchingSubscribers;
    old.check(publish(7, "a", ""), &["route q1 a '' #7", "PUBACK #7 0x00"]);
}

// [MQTT-3.1.1 3.3.5-2]
#[test]
fn a_publish_that_3x_may_not_make_is_acknowledged_or_closes() {
    for version in [V3, V4] {
        let mut script = Script::connected(version);
        script.broker.routed = Routed::NotAuthorized;
        script.check(publish(7, "a", ""), &["route q1 a '' #7", "PUBACK #7 0x00"]);
        script.check(qos_2(8, "a", ""), &["route q2 a '' #8", "PUBREC #8 0x00"]);
        script.check(pubrel(8), &["PUBCOMP #8 0x00"]);
        let closing = Settings { denied_3x: Denied3x::Close, ..settings() };
        let mut script = Script::connected_with(closing, connect(version));
        script.broker.routed = Routed::NotAuthorized;
        script.check(publish(0, "a", ""), &["route q0 a ''", "close 0x87"]);
    }
}

#[test]
fn what_cannot_be_kept_closes_a_3x_connection_instead_of_skipping_an_acknowledgement() {
    for version in [V3, V4] {
        let mut script = Script::connected(version);
        script.broker.routed = Routed::Refused("full");
        script.check(publish(0, "a", ""), &["route q0 a ''"]);
        script.check(publish(7, "a", ""), &["route q1 a '' #7", "close 0x97"]);
    }
}

// [MQTT-3.1.2-29] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
#[test]
fn the_reason_of_an_acknowledgement_is_left_out_where_it_is_not_wanted_or_does_not_fit() {
    let small = ConnectProperties { maximum_packet_size: NonZeroU32::new(8), ..Default::default() };
    let silent = ConnectProperties { request_problem_information: Some(false), ..Default::default() };
    for properties in [small, silent] {
        let mut script = Script::connected_with(settings(), Connect { properties, ..connect(V5) });
        script.broker.routed = Routed::Refused("there is no room");
        script.check(publish(7, "a", ""), &["route q1 a '' #7", "PUBACK #7 0x97"]);
        script.check(qos_2(8, "a", ""), &["route q2 a '' #8", "PUBREC #8 0x97"]);
    }
}

// [MQTT-3.3.4-7]
#[test]
fn more_than_the_receive_maximum_closes_with_0x93() {
    let two = Settings { receive_maximum: NonZeroU16::new(2).unwrap(), ..settings() };
    let mut script = Script::connected_with(two.clone(), connect(V5));
    for id in 1..=2 {
        script.check(qos_2(id, "a", ""), &[&format!("route q2 a '' #{id}"), &format!("PUBREC #{id} 0x00")]);
    }
    script.check(qos_2(2, "a", ""), &["PUBREC #2 0x00"]);
    script.check(publish(0, "a", "any number"), &["route q0 a 'any number'"]);
    script.check(pubrel(1), &["PUBCOMP #1 0x00"]);
    script.check(publish(3, "a", ""), &["route q1 a '' #3", "PUBACK #3 0x00"]);
    script.check(qos_2(4, "a", ""), &["route q2 a '' #4", "PUBREC #4 0x00"]);
    script.check(qos_2(5, "a", ""), &["DISCONNECT 0x93 +reason", "close 0x93"]);
    let mut old = Script::connected_with(two, connect(V4));
    for id in 1..=5 {
        old.check(qos_2(id, "a", ""), &[&format!("route q2 a '' #{id}"), &format!("PUBREC #{id} 0x00")]);
    }
}

// [MQTT-3.2.2-11] [MQTT-3.2.2-14]
#[test]
fn what_connack_said_is_not_there_closes() {
    let poor = || Settings { maximum_qos: AtLeastOnce, retain_available: false, ..settings() };
    let mut script = Script::connected_with(poor(), connect(V5));
    script.check(publish(1, "a", ""), &["route q1 a '' #1", "PUBACK #1 0x00"]);
    script.check(qos_2(2, "a", ""), &["DISCONNECT 0x9B +reason", "close 0x9B"]);
    let mut script = Script::connected_with(poor(), connect(V5));
    script.check(Publish { retain: true, ..publish(0, "a", "") }, &["DISCONNECT 0x9A +reason", "close 0x9A"]);
}

// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn properties_are_routed_unaltered_and_in_order_and_those_of_the_hop_are_not() {
    let mut script = Script::connected_with(Settings { topic_alias_maximum: 5, ..settings() }, connect(V5));
    let properties = [
        Property::UserProperty("b", "1"),
        Property::PayloadFormatIndicator(true),
        Property::TopicAlias(NonZeroU16::MIN),
        Property::ContentType("text/plain"),
        Property::MessageExpiryInterval(5),
        Property::UserProperty("a", "2"),
        Property::ResponseTopic("answers/1"),
        Property::CorrelationData(b"\x00\x01"),
        Property::UserProperty("b", "1"),
    ];
    script.check(
        with(publish(0, "a", "x"), &properties),
        &["route q0 a UserProperty(\"b\", \"1\") PayloadFormatIndicator(true) ContentType(\"text/plain\") \
           UserProperty(\"a\", \"2\") ResponseTopic(\"answers/1\") CorrelationData([0, 1]) \
           UserProperty(\"b\", \"1\") until=1005000 'x'"],
    );
}

#[test]
fn a_payload_that_is_not_the_text_it_says_is_refused() {
    let not_text = |publish| Publish { payload: &[0xFF], ..with(publish, &[Property::PayloadFormatIndicator(true)]) };
    let mut script = Script::connected(V5);
    script.check(not_text(publish(1, "a", "")), &["PUBACK #1 0x99 +reason"]);
    script.check(not_text(qos_2(2, "a", "")), &["PUBREC #2 0x99 +reason"]);
    script.check(qos_2(2, "a", "text"), &["route q2 a 'text' #2", "PUBREC #2 0x00"]);
    script.check(not_text(publish(0, "a", "")), &["DISCONNECT 0x99 +reason", "close 0x99"]);
    let unchecked = Settings { check_payload_format: false, ..settings() };
    let mut script = Script::connected_with(unchecked, connect(V5));
    assert!(script.feed(not_text(publish(1, "a", "")))[1].starts_with("PUBACK #1 0x00"));
}

// [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1]
#[test]
fn topic_names_with_wildcards_or_nothing_in_them_close_with_0x90() {
    for topic in ["#", "a/+", "+"] {
        Script::connected(V5).check(publish(0, topic, ""), &["DISCONNECT 0x90 +reason", "close 0x90"]);
        Script::connected(V4).check(publish(0, topic, ""), &["close 0x90"]);
    }
    Script::connected(V4).check(publish(0, "", ""), &["close 0x90"]);
    Script::connected(V5).check(publish(0, "", ""), &["DISCONNECT 0x82 +reason", "close 0x82"]);
}

#[test]
fn the_mount_point_stands_before_every_topic() {
    let mounted = Settings { mount_point: "tenant/1/".into(), ..settings() };
    let mut script = Script::connected_with(mounted, connect(V4));
    script.check(publish(0, "a/b", "x"), &["route q0 tenant/1/a/b 'x'"]);
    script.check_deliver(delivery(AtMostOnce, "tenant/1/a/b", "x"), &["PUBLISH q0 a/b 'x'"]);
}
