//! Data representation and the parts that all packets share: sections 1.5 and 2 of MQTT 5.0, 1.5 and 2 of 3.1.1.

use crate::support::wire::{
    self, CONNACK, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, SUBACK, SUBSCRIBE, Subscribe, UNSUBACK, UNSUBSCRIBE,
    Unsubscribe, Version, ack, packet, properties, property, string,
};
use crate::support::{Case, cases, table};

cases! {
    byte_order_mark_is_kept: V3 V4 V5;
    four_byte_characters_are_kept: V3 V4 V5;
    topics_are_not_normalized: V3 V4 V5;
    remaining_length_of_each_size: V3 V4 V5;
}

/// The broker calls the packet malformed.
fn malformed(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x81]);
}

/// The broker calls the packet a protocol error.
fn protocol_error(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x82]);
}

/// The broker refuses the packet; the standard leaves open whether it is malformed or a protocol error.
fn refused(case: &Case, bytes: Vec<u8>) {
    let mut client = case.client("a");
    client.send(bytes);
    client.expect_disconnect(&[0x81, 0x82]);
}

fn subscribe(case: &Case, filter: impl AsRef<[u8]>) -> Vec<u8> {
    Subscribe::new(case.version, 1).filter(filter, 0).bytes()
}

fn unsubscribe(case: &Case, filter: impl AsRef<[u8]>) -> Vec<u8> {
    Unsubscribe::new(case.version, 1).filter(filter).bytes()
}

fn publish(case: &Case, topic: impl AsRef<[u8]>) -> Vec<u8> {
    Publish::new(case.version, topic, "x").bytes()
}

/// A PUBLISH at QoS 0 whose property block is exactly these bytes, its length written by hand.
fn publish_with_raw_properties(case: &Case, length_and_block: &[u8]) -> Vec<u8> {
    packet(wire::PUBLISH, &[&string(case.topic("t"))[..], length_and_block].concat())
}

fn with_property(case: &Case, block: Vec<u8>) -> Vec<u8> {
    case.message("t", "x").with(block).bytes()
}

// Strings that are not well-formed UTF-8, or hold U+0000.
const OVERLONG: &[u8] = b"a/\xc0\x80";
const SURROGATE: &[u8] = b"a/\xed\xa0\x80";
const TRUNCATED: &[u8] = b"a/\xe2\x82";
const CONTINUATION: &[u8] = b"\x80/a";
const BEYOND: &[u8] = b"\xf4\x90\x80\x80";
const LATIN_1: &[u8] = b"a/\xff";
const NULL: &[u8] = b"a/\0/b";

// [MQTT-1.5.4-1] [MQTT-1.5.4-2]
table! { malformed:
    // [MQTT-3.3.2-1]
    topic_name_with_overlong_utf8: V3 V4 V5 => |case| publish(case, OVERLONG);
    topic_name_with_surrogate: V3 V4 V5 => |case| publish(case, SURROGATE);
    topic_name_with_truncated_character: V3 V4 V5 => |case| publish(case, TRUNCATED);
    topic_name_with_lone_continuation_byte: V3 V4 V5 => |case| publish(case, CONTINUATION);
    topic_name_beyond_unicode: V3 V4 V5 => |case| publish(case, BEYOND);
    topic_name_with_byte_ff: V3 V4 V5 => |case| publish(case, LATIN_1);
    // [MQTT-4.7.3-2]
    topic_name_with_null: V3 V4 V5 => |case| publish(case, NULL);
    // [MQTT-3.8.3-1]
    topic_filter_with_overlong_utf8: V3 V4 V5 => |case| subscribe(case, OVERLONG);
    topic_filter_with_surrogate: V3 V4 V5 => |case| subscribe(case, SURROGATE);
    topic_filter_with_truncated_character: V3 V4 V5 => |case| subscribe(case, TRUNCATED);
    topic_filter_with_lone_continuation_byte: V3 V4 V5 => |case| subscribe(case, CONTINUATION);
    topic_filter_beyond_unicode: V3 V4 V5 => |case| subscribe(case, BEYOND);
    topic_filter_with_byte_ff: V3 V4 V5 => |case| subscribe(case, LATIN_1);
    // [MQTT-4.7.3-2]
    topic_filter_with_null: V3 V4 V5 => |case| subscribe(case, NULL);
    // [MQTT-3.10.3-1]
    unsubscribe_filter_with_overlong_utf8: V3 V4 V5 => |case| unsubscribe(case, OVERLONG);
    unsubscribe_filter_with_surrogate: V3 V4 V5 => |case| unsubscribe(case, SURROGATE);
    unsubscribe_filter_with_null: V3 V4 V5 => |case| unsubscribe(case, NULL);
    // [MQTT-3.3.2-19]
    content_type_with_surrogate: V5 => |case| with_property(case, property::content_type(SURROGATE));
    content_type_with_null: V5 => |case| with_property(case, property::content_type(NULL));
    // [MQTT-3.3.2-13]
    response_topic_with_overlong_utf8: V5 => |case| with_property(case, property::response_topic(OVERLONG));
    response_topic_with_null: V5 => |case| with_property(case, property::response_topic(NULL));
    // [MQTT-1.5.7-1]
    user_property_name_with_byte_ff: V5 => |case| with_property(case, property::user(LATIN_1, "v"));
    user_property_name_with_null: V5 => |case| with_property(case, property::user(NULL, "v"));
    // [MQTT-1.5.7-1]
    user_property_value_with_truncated_character: V5 => |case| with_property(case, property::user("n", TRUNCATED));
    user_property_value_with_null: V5 => |case| with_property(case, property::user("n", NULL));
}

// [MQTT-1.5.5-1]: the shortest form, and four bytes at most.
table! { malformed:
    remaining_length_of_five_bytes: V3 V4 V5 => |_case| vec![0xc0, 0x80, 0x80, 0x80, 0x80, 0x00];
    remaining_length_that_never_ends: V3 V4 V5 => |_case| vec![0x30, 0xff, 0xff, 0xff, 0xff, 0xff];
    remaining_length_not_shortest: V5 => |_case| vec![0xc0, 0x80, 0x00];
    property_length_not_shortest: V5 => |case| publish_with_raw_properties(case, &[0x80, 0x00]);
    property_length_of_five_bytes: V5 => |case| publish_with_raw_properties(case, &[0x80, 0x80, 0x80, 0x80, 0x00]);
    subscription_identifier_not_shortest: V5 => |case|
        Subscribe::new(case.version, 1).filter(case.topic("t"), 0).with(vec![0x0b, 0x81, 0x00]).bytes();
    subscription_identifier_of_five_bytes: V5 => |case|
        Subscribe::new(case.version, 1).filter(case.topic("t"), 0).with(vec![0x0b, 0x80, 0x80, 0x80, 0x80, 0x01]).bytes();
}

// [MQTT-2.1.3-1]: reserved flag bits of the fixed header. MQTT 3.1 calls them unused and says no more.
table! { malformed:
    puback_with_a_flag: V4 V5 => |_case| ack(PUBACK | 0x01, 1);
    pubrec_with_a_flag: V4 V5 => |_case| ack(PUBREC | 0x02, 1);
    // [MQTT-3.6.1-1]
    pubrel_without_its_flag: V4 V5 => |_case| ack(0x60, 1);
    pubrel_with_another_flag: V4 V5 => |_case| ack(0x6a, 1);
    pubcomp_with_a_flag: V4 V5 => |_case| ack(PUBCOMP | 0x08, 1);
    // [MQTT-3.8.1-1]
    subscribe_without_its_flag: V4 V5 => |case| {
        let mut bytes = subscribe(case, "a");
        bytes[0] = 0x80;
        bytes
    };
    subscribe_with_another_flag: V4 V5 => |case| {
        let mut bytes = subscribe(case, "a");
        bytes[0] = 0x8b;
        bytes
    };
    // [MQTT-3.10.1-1]
    unsubscribe_without_its_flag: V4 V5 => |case| {
        let mut bytes = unsubscribe(case, "a");
        bytes[0] = 0xa0;
        bytes
    };
    pingreq_with_a_flag: V4 V5 => |_case| vec![0xc1, 0];
    // [MQTT-3.14.1-1]
    disconnect_with_a_flag: V4 V5 => |_case| vec![0xe2, 0];
    // [MQTT-3.15.1-1]
    auth_with_a_flag: V5 => |_case| packet(0xf1, &[]);
    // [MQTT-3.3.1-4]
    publish_at_qos_3: V3 V4 V5 => |case| case.message("t", "x").qos(3, 1).bytes();
    // [MQTT-3.3.1-2]
    publish_at_qos_0_with_dup: V4 V5 => |case| case.message("t", "x").dup().bytes();
}

// [MQTT-2.2.1-3]: 0 is no packet identifier.
table! { refused:
    publish_at_qos_1_with_packet_id_0: V3 V4 V5 => |case| case.message("t", "x").qos(1, 0).bytes();
    publish_at_qos_2_with_packet_id_0: V3 V4 V5 => |case| case.message("t", "x").qos(2, 0).bytes();
    subscribe_with_packet_id_0: V3 V4 V5 => |case| Subscribe::new(case.version, 0).filter("a", 0).bytes();
    unsubscribe_with_packet_id_0: V3 V4 V5 => |case| Unsubscribe::new(case.version, 0).filter("a").bytes();
    puback_of_packet_id_0: V3 V4 V5 => |_case| ack(PUBACK, 0);
    pubrec_of_packet_id_0: V3 V4 V5 => |_case| ack(PUBREC, 0);
    pubrel_of_packet_id_0: V3 V4 V5 => |_case| ack(PUBREL, 0);
    pubcomp_of_packet_id_0: V3 V4 V5 => |_case| ack(PUBCOMP, 0);
}

// [MQTT-4.13.1-1]: a packet that is shorter than its fields.
table! { malformed:
    publish_without_anything: V3 V4 V5 => |_case| packet(wire::PUBLISH, &[]);
    publish_with_half_a_topic_length: V3 V4 V5 => |_case| packet(wire::PUBLISH, &[0]);
    publish_with_a_topic_longer_than_the_packet: V3 V4 V5 => |_case| packet(wire::PUBLISH, &[0, 9, b'a']);
    publish_at_qos_1_without_packet_id: V3 V4 V5 => |_case| packet(wire::PUBLISH | 2, &[0, 1, b'a']);
    publish_at_qos_1_with_half_a_packet_id: V3 V4 V5 => |_case| packet(wire::PUBLISH | 2, &[0, 1, b'a', 0]);
    publish_without_property_length: V5 => |_case| packet(wire::PUBLISH, &[0, 1, b'a']);
    puback_without_packet_id: V3 V4 V5 => |_case| packet(PUBACK, &[]);
    puback_with_half_a_packet_id: V3 V4 V5 => |_case| packet(PUBACK, &[1]);
    pubrec_without_packet_id: V3 V4 V5 => |_case| packet(PUBREC, &[]);
    pubrel_without_packet_id: V3 V4 V5 => |_case| packet(PUBREL, &[]);
    pubcomp_with_half_a_packet_id: V3 V4 V5 => |_case| packet(PUBCOMP, &[1]);
    subscribe_without_anything: V3 V4 V5 => |_case| packet(SUBSCRIBE, &[]);
    subscribe_with_half_a_packet_id: V3 V4 V5 => |_case| packet(SUBSCRIBE, &[1]);
    subscribe_with_a_filter_longer_than_the_packet: V3 V4 V5 => |case| {
        let block = if case.version == Version::V5 { properties(&[]) } else { vec![] };
        packet(SUBSCRIBE, &[&[0, 1][..], &block, &[0, 9, b'a', 0]].concat())
    };
    subscribe_with_a_filter_without_options: V3 V4 V5 => |case| {
        let block = if case.version == Version::V5 { properties(&[]) } else { vec![] };
        packet(SUBSCRIBE, &[&[0, 1][..], &block, &string("a")].concat())
    };
    unsubscribe_without_anything: V3 V4 V5 => |_case| packet(UNSUBSCRIBE, &[]);
    unsubscribe_with_a_filter_longer_than_the_packet: V3 V4 V5 => |case| {
        let block = if case.version == Version::V5 { properties(&[]) } else { vec![] };
        packet(UNSUBSCRIBE, &[&[0, 1][..], &block, &[0, 9, b'a']].concat())
    };
    property_block_longer_than_the_packet: V5 => |case| publish_with_raw_properties(case, &[20, 0x01, 0]);
    property_value_longer_than_its_block: V5 => |case| publish_with_raw_properties(case, &[3, 0x02, 0, 0, 0, 1]);
    property_without_value: V5 => |case| publish_with_raw_properties(case, &[1, 0x01]);
    property_string_longer_than_its_block: V5 => |case| publish_with_raw_properties(case, &[4, 0x03, 0, 9, b'a']);
    user_property_without_value: V5 => |case| publish_with_raw_properties(case, &[4, 0x26, 0, 1, b'a']);
    puback_with_property_length_beyond_the_packet: V5 => |_case| packet(PUBACK, &[0, 1, 0, 9]);
}

// [MQTT-4.13.1-1]: a packet that is longer than its fields.
table! { malformed:
    pingreq_with_a_byte: V3 V4 V5 => |_case| packet(0xc0, &[0]);
    puback_with_a_byte_too_many: V3 V4 => |_case| packet(PUBACK, &[0, 1, 0]);
    pubrec_with_a_byte_too_many: V3 V4 => |_case| packet(PUBREC, &[0, 1, 0]);
    pubrel_with_a_byte_too_many: V3 V4 => |_case| packet(PUBREL, &[0, 1, 0]);
    pubcomp_with_a_byte_too_many: V3 V4 => |_case| packet(PUBCOMP, &[0, 1, 0]);
    puback_with_bytes_after_its_properties: V5 => |_case| packet(PUBACK, &[0, 1, 0, 0, 7]);
    pubrel_with_bytes_after_its_properties: V5 => |_case| packet(PUBREL, &[0, 1, 0, 0, 7]);
    disconnect_with_a_byte: V3 V4 => |_case| packet(wire::DISCONNECT, &[0]);
    disconnect_with_bytes_after_its_properties: V5 => |_case| packet(wire::DISCONNECT, &[0, 0, 7]);
    unsubscribe_with_half_a_filter_length_after_the_last: V3 V4 V5 => |case| {
        let mut bytes = unsubscribe(case, "a");
        bytes.push(0);
        bytes[1] += 1;
        bytes
    };
}

// [MQTT-4.13.1-1]: packet types that a client does not send.
table! { refused:
    packet_type_0: V3 V4 V5 => |_case| vec![0x00, 0x00];
    auth_before_version_5: V3 V4 => |_case| vec![0xf0, 0x00];
}
table! { protocol_error:
    connack_from_a_client: V3 V4 V5 => |case| packet(CONNACK, if case.version == Version::V5 { &[0, 0, 0] } else { &[0, 0] });
    suback_from_a_client: V3 V4 V5 => |case|
        packet(SUBACK, if case.version == Version::V5 { &[0, 1, 0, 0] } else { &[0, 1, 0] });
    unsuback_from_a_client: V3 V4 V5 => |case|
        packet(UNSUBACK, if case.version == Version::V5 { &[0, 1, 0, 0] } else { &[0, 1] });
    pingresp_from_a_client: V3 V4 V5 => |_case| wire::PINGRESP.to_vec();
}

// [MQTT-4.13.1-1]: properties that the standard does not know, or not in this packet, are malformed.
table! { malformed:
    unknown_property_in_publish: V5 => |case| with_property(case, vec![0x7f, 0]);
    property_0_in_publish: V5 => |case| with_property(case, vec![0x00, 0]);
    property_identifier_of_two_bytes_in_publish: V5 => |case| with_property(case, vec![0x81, 0x01, 0]);
    session_expiry_interval_in_publish: V5 => |case| with_property(case, property::session_expiry_interval(1));
    server_keep_alive_in_publish: V5 => |case| with_property(case, property::server_keep_alive(1));
    authentication_method_in_publish: V5 => |case| with_property(case, property::authentication_method("m"));
    will_delay_interval_in_publish: V5 => |case| with_property(case, property::will_delay_interval(1));
    receive_maximum_in_publish: V5 => |case| with_property(case, property::receive_maximum(1));
    topic_alias_maximum_in_publish: V5 => |case| with_property(case, property::topic_alias_maximum(1));
    maximum_packet_size_in_publish: V5 => |case| with_property(case, property::maximum_packet_size(100));
    reason_string_in_publish: V5 => |case| with_property(case, property::reason_string("r"));
    reason_string_in_subscribe: V5 => |case|
        Subscribe::new(case.version, 1).filter("a", 0).with(property::reason_string("r")).bytes();
    message_expiry_interval_in_subscribe: V5 => |case|
        Subscribe::new(case.version, 1).filter("a", 0).with(property::message_expiry_interval(1)).bytes();
    subscription_identifier_in_unsubscribe: V5 => |case|
        Unsubscribe::new(case.version, 1).filter("a").with(property::subscription_identifier(1)).bytes();
    content_type_in_puback: V5 => |_case| wire::ack_because(PUBACK, 1, 0, &property::content_type("c"));
    topic_alias_in_pubrec: V5 => |_case| wire::ack_because(PUBREC, 1, 0, &property::topic_alias(1));
    server_reference_in_pubrel: V5 => |_case| wire::ack_because(PUBREL, 1, 0, &property::server_reference("s"));
    session_expiry_interval_in_pubcomp: V5 => |_case| wire::ack_because(PUBCOMP, 1, 0, &property::session_expiry_interval(1));
    receive_maximum_in_disconnect: V5 => |_case| wire::disconnect_because(0, &property::receive_maximum(1));
    unknown_property_in_disconnect: V5 => |_case| wire::disconnect_because(0, &[0x7f, 0]);
    assigned_client_identifier_in_disconnect: V5 => |_case|
        wire::disconnect_because(0, &property::assigned_client_identifier("c"));
    will_delay_interval_in_disconnect: V5 => |_case| wire::disconnect_because(0, &property::will_delay_interval(1));
}

// [MQTT-4.13.1-1]: a property that may stand once stands twice.
table! { protocol_error:
    payload_format_indicator_twice: V5 => |case|
        with_property(case, [property::payload_format_indicator(0), property::payload_format_indicator(0)].concat());
    message_expiry_interval_twice: V5 => |case|
        with_property(case, [property::message_expiry_interval(9), property::message_expiry_interval(9)].concat());
    content_type_twice: V5 => |case| with_property(case, [property::content_type("a"), property::content_type("a")].concat());
    response_topic_twice: V5 => |case|
        with_property(case, [property::response_topic("a"), property::response_topic("a")].concat());
    correlation_data_twice: V5 => |case|
        with_property(case, [property::correlation_data("a"), property::correlation_data("a")].concat());
    topic_alias_twice: V5 => |case| with_property(case, [property::topic_alias(1), property::topic_alias(1)].concat());
    subscription_identifier_twice_in_subscribe: V5 => |case| {
        let twice = [property::subscription_identifier(1), property::subscription_identifier(1)].concat();
        Subscribe::new(case.version, 1).filter(case.topic("t"), 0).with(twice).bytes()
    };
    reason_string_twice_in_puback: V5 => |_case|
        wire::ack_because(PUBACK, 1, 0, &[property::reason_string("a"), property::reason_string("a")].concat());
    session_expiry_interval_twice_in_disconnect: V5 => |_case| {
        let twice = [property::session_expiry_interval(0), property::session_expiry_interval(0)].concat();
        wire::disconnect_because(0, &twice)
    };
}

// [MQTT-1.5.4-3]
fn byte_order_mark_is_kept(case: &Case) {
    let topic = case.topic("\u{feff}a/\u{feff}");
    let mut client = case.client("a");
    client.subscribe(&topic, 0);
    client.send(Publish::new(case.version, case.topic("a/"), "without").bytes());
    client.send(Publish::new(case.version, &topic, "with").bytes());
    client.receive(&topic, "with", 0);
}

// [MQTT-1.5.4-1]
fn four_byte_characters_are_kept(case: &Case) {
    let topic = case.topic("\u{10fffd}\u{10000}/\u{1f980}");
    let mut client = case.client("a");
    client.subscribe(case.topic("+/\u{1f980}"), 0);
    client.send(Publish::new(case.version, &topic, "crab").bytes());
    client.receive(&topic, "crab", 0);
}

// [MQTT-4.7.3-4]
fn topics_are_not_normalized(case: &Case) {
    let (composed, decomposed) = (case.topic("\u{e9}"), case.topic("e\u{301}"));
    let mut client = case.client("a");
    client.subscribe(&composed, 0);
    client.send(Publish::new(case.version, &decomposed, "decomposed").bytes());
    client.send(Publish::new(case.version, &composed, "composed").bytes());
    client.receive(&composed, "composed", 0);
}

// Section 2.1.4: one to four bytes of remaining length, at both ends of each range a payload can hit.
fn remaining_length_of_each_size(case: &Case) {
    let topic = case.topic("t");
    let mut client = case.client("a");
    client.subscribe(&topic, 0);
    let head = 2 + topic.len() + usize::from(case.version == Version::V5);
    for length in [127, 128, 16_383, 16_384, 100_000] {
        let payload = vec![b'x'; length - head];
        let bytes = Publish::new(case.version, &topic, &payload).bytes();
        assert_eq!(bytes.len(), 1 + wire::varint(length).len() + length);
        client.send(bytes);
        client.receive(&topic, &payload, 0);
    }
}
