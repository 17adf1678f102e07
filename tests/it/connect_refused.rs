//! CONNECT when the broker refuses, and connections that do not begin with one: sections 3.1, 3.2 and 4.13.
//!
//! A CONNECT that cannot be parsed leaves no version to answer in: MQTT 3 has the broker close without a CONNACK, MQTT 5.0
//! leaves it a CONNACK with the reason code. A DISCONNECT is never right before a CONNACK that accepts.

use crate::support::received::ConnAck;
use crate::support::wire::{self, Connect, Subscribe, Version, Will, packet, property, string};
use crate::support::{Case, Client, cases, table};

cases! {
    second_connect: V3 V4 V5;
    connect_cut_at_any_byte: V3 V4 V5;
    packets_behind_a_refused_connect_are_ignored: V3 V4 V5;
    empty_client_id_without_clean_session: V4;
    empty_client_id: V3;
    half_a_connect_and_gone: V3 V4 V5;
    garbage_is_closed: V5;
    http_request_is_closed: V5;
    tls_hello_is_closed: V5;
}

/// Closed without CONNACK, or on 5.0 after a CONNACK with one of `codes`.
fn refused_with(client: &mut Client, codes: &[u8]) {
    if let Some(frame) = client.next_or_close() {
        let connack = ConnAck::read(client.version, &frame);
        assert!(client.version == Version::V5, "[MQTT-3.1.1 3.1.4-1] no CONNACK was expected: {connack:02x?}");
        assert!(codes.contains(&connack.code), "one of {codes:02x?} was expected: {connack:02x?}");
        // [MQTT-3.2.2-7]
        client.expect_closed();
    }
}

fn malformed(case: &Case, bytes: Vec<u8>) {
    let mut client = case.open();
    client.send(bytes);
    refused_with(&mut client, &[0x81]);
}

fn protocol_error(case: &Case, bytes: Vec<u8>) {
    let mut client = case.open();
    client.send(bytes);
    refused_with(&mut client, &[0x82]);
}

/// The standard leaves open whether this is malformed or a protocol error.
fn refused(case: &Case, bytes: Vec<u8>) {
    let mut client = case.open();
    client.send(bytes);
    refused_with(&mut client, &[0x81, 0x82]);
}

fn silently_closed(case: &Case, bytes: Vec<u8>) {
    let mut client = case.open();
    client.send(bytes);
    client.expect_closed();
}

/// Not one of the protocols the broker speaks: closed, after a CONNACK in the words of any version or without.
fn unsupported(case: &Case, (name, level): (&str, u8)) {
    let connect = case.connect("a");
    let mut client = case.open();
    client.send(connect.bytes_as(name, level, connect.flags()));
    if let Some(frame) = client.next_or_close() {
        let (connack, code) = (frame.bytes(), frame.body.get(1));
        assert_eq!(connack[0], wire::CONNACK, "{connack:02x?}");
        assert!(matches!(code, Some(0x01 | 0x84)), "unsupported protocol version was expected: {connack:02x?}");
        client.expect_closed();
    }
}

// [MQTT-3.1.0-1] [MQTT-3.14.0-1]
table! { silently_closed:
    first_packet_is_publish: V4 V5 => |case| case.message("t", "x").bytes();
    first_packet_is_publish_at_qos_1: V4 V5 => |case| case.message("t", "x").qos(1, 1).bytes();
    first_packet_is_subscribe: V4 V5 => |case| Subscribe::new(case.version, 1).filter("a", 0).bytes();
    first_packet_is_unsubscribe: V4 => |case| wire::Unsubscribe::new(case.version, 1).filter("a").bytes();
    first_packet_is_pingreq: V4 => |_case| wire::PINGREQ.to_vec();
    first_packet_is_puback: V4 => |_case| wire::ack(wire::PUBACK, 1);
    first_packet_is_pubrel: V4 => |_case| wire::ack(wire::PUBREL, 1);
    first_packet_is_disconnect: V4 => |_case| wire::disconnect();
    first_packet_is_auth: V5 => |_case| wire::auth(0x18, &property::authentication_method("m"));
    first_packet_is_connack: V4 => |_case| vec![0x20, 2, 0, 0];
    first_packet_is_of_type_0: V4 => |_case| vec![0x00, 0];
    first_packet_has_a_length_without_end: V4 => |_case| vec![0x10, 0xff, 0xff, 0xff, 0xff, 0xff];
}

// [MQTT-3.1.2-1] [MQTT-3.1.2-2]
table! { unsupported:
    protocol_level_0: V4 => |_case| ("MQTT", 0);
    protocol_level_2: V4 => |_case| ("MQTT", 2);
    protocol_level_6: V4 => |_case| ("MQTT", 6);
    protocol_level_127: V4 => |_case| ("MQTT", 127);
    protocol_level_255: V4 => |_case| ("MQTT", 255);
    protocol_level_3_with_the_name_of_4: V4 => |_case| ("MQTT", 3);
    protocol_level_4_with_the_name_of_3: V4 => |_case| ("MQIsdp", 4);
    protocol_level_5_with_the_name_of_3: V5 => |_case| ("MQIsdp", 5);
    protocol_name_in_lower_case: V4 => |_case| ("mqtt", 4);
    protocol_name_that_is_longer: V4 => |_case| ("MQTTX", 4);
    protocol_name_that_is_shorter: V4 => |_case| ("MQT", 4);
    protocol_name_that_is_empty: V4 => |_case| ("", 4);
    protocol_name_of_something_else: V5 => |_case| ("AMQP", 5);
}

// Connect flags that contradict themselves.
table! { malformed:
    // [MQTT-3.1.2-3]
    connect_flag_0_is_reserved: V4 V5 => |case| {
        let connect = case.connect("a");
        connect.bytes_with_flags(connect.flags() | 1)
    };
    // [MQTT-2.1.3-1]
    connect_with_flags_in_the_fixed_header: V4 V5 => |case| {
        let mut bytes = case.connect("a").bytes();
        bytes[0] |= 0x04;
        bytes
    };
    // [MQTT-3.1.2-12]
    will_qos_3: V3 V4 V5 => |case| {
        let connect = case.connect("a").will(Will::new(case.topic("w"), "w").qos(3));
        connect.bytes()
    };
}
table! { refused:
    // [MQTT-3.1.2-11]
    will_qos_without_will: V4 V5 => |case| case.connect("a").bytes_with_flags(0x02 | 0x08);
    // [MQTT-3.1.2-13]
    will_retain_without_will: V4 V5 => |case| case.connect("a").bytes_with_flags(0x02 | 0x20);
    // [MQTT-3.1.1 3.1.2-22]
    password_without_user_name: V3 V4 => |case| case.connect("a").password("p").bytes();
}

// [MQTT-3.1.4-1] [MQTT-3.1.3-1]: fields that the flags promise are there, and no others.
table! { malformed:
    // [MQTT-3.1.2-9]
    will_flag_without_will: V3 V4 V5 => |case| case.connect("a").bytes_with_flags(0x02 | 0x04);
    // [MQTT-3.1.2-17]
    user_name_flag_without_user_name: V4 V5 => |case| case.connect("a").bytes_with_flags(0x02 | 0x80);
    // [MQTT-3.1.2-19]
    password_flag_without_password: V4 V5 => |case| case.connect("a").user_name("u").bytes_with_flags(0x02 | 0xc0);
    // [MQTT-3.1.2-16]
    user_name_without_its_flag: V4 V5 => |case| case.connect("a").user_name("u").bytes_with_flags(0x02);
    // [MQTT-3.1.2-18]
    password_without_its_flag: V4 V5 => |case| case.connect("a").user_name("u").password("p").bytes_with_flags(0x82);
    // [MQTT-3.1.3-3]
    connect_without_client_id: V3 V4 V5 => |case| {
        let mut body = [&string(if case.version == Version::V3 { "MQIsdp" } else { "MQTT" })[..]].concat();
        body.extend([match case.version { Version::V3 => 3, Version::V4 => 4, Version::V5 => 5 }, 2, 0, 0]);
        if case.version == Version::V5 {
            body.push(0);
        }
        packet(wire::CONNECT, &body)
    };
    connect_with_a_byte_too_many: V4 V5 => |case| {
        let mut bytes = case.connect("a").bytes();
        bytes.push(0);
        bytes[1] += 1;
        bytes
    };
    connect_of_nothing: V4 => |_case| packet(wire::CONNECT, &[]);
    connect_of_a_name_only: V4 => |_case| packet(wire::CONNECT, &string("MQTT"));
}

// [MQTT-1.5.4-1] [MQTT-1.5.4-2]
table! { malformed:
    // [MQTT-3.1.3-4]
    client_id_with_ill_formed_utf8: V4 V5 => |case| Connect::new(case.version, b"\xc3\x28").bytes();
    client_id_with_surrogate: V4 V5 => |case| Connect::new(case.version, b"\xed\xbf\xbf").bytes();
    client_id_with_null: V4 V5 => |case| Connect::new(case.version, b"a\0b").bytes();
    // [MQTT-3.1.3-11]
    will_topic_with_ill_formed_utf8: V3 V4 V5 => |case| case.connect("a").will(Will::new(b"\xff", "w")).bytes();
    will_topic_with_null: V3 V4 V5 => |case| case.connect("a").will(Will::new(b"a\0", "w")).bytes();
    // [MQTT-3.1.3-12]
    user_name_with_ill_formed_utf8: V3 V4 V5 => |case| case.connect("a").user_name(b"\xc0\xaf").bytes();
    user_name_with_null: V3 V4 V5 => |case| case.connect("a").user_name(b"u\0").bytes();
    connect_user_property_with_ill_formed_utf8: V5 => |case| case.connect("a").with(property::user("a", b"\xff")).bytes();
    will_content_type_with_null: V5 => |case|
        case.connect("a").will(Will::new(case.topic("w"), "w").with(property::content_type(b"\0"))).bytes();
}

// [MQTT-3.1.4-1]: a will topic is a topic name.
fn bad_topic(case: &Case, bytes: Vec<u8>) {
    let mut client = case.open();
    client.send(bytes);
    refused_with(&mut client, &[0x81, 0x82, 0x90]);
}
table! { bad_topic:
    // [MQTT-4.7.0-1]
    will_topic_with_plus: V3 V4 V5 => |case| case.connect("a").will(Will::new("a/+", "w")).bytes();
    will_topic_with_hash: V3 V4 V5 => |case| case.connect("a").will(Will::new("a/#", "w")).bytes();
    // [MQTT-4.7.3-1]
    will_topic_that_is_empty: V3 V4 V5 => |case| case.connect("a").will(Will::new("", "w")).bytes();
    will_response_topic_with_wildcard: V5 => |case|
        case.connect("a").will(Will::new(case.topic("w"), "w").with(property::response_topic("a/#"))).bytes();
}

// Section 3.1.2.11: property values that are errors.
table! { protocol_error:
    receive_maximum_0: V5 => |case| case.connect("a").with(property::receive_maximum(0)).bytes();
    maximum_packet_size_0: V5 => |case| case.connect("a").with(property::maximum_packet_size(0)).bytes();
    request_problem_information_2: V5 => |case| case.connect("a").with(property::request_problem_information(2)).bytes();
    request_response_information_2: V5 => |case| case.connect("a").with(property::request_response_information(2)).bytes();
    authentication_data_without_method: V5 => |case| case.connect("a").with(property::authentication_data("d")).bytes();
    session_expiry_interval_twice: V5 => |case| twice(case, property::session_expiry_interval(1));
    receive_maximum_twice: V5 => |case| twice(case, property::receive_maximum(1));
    maximum_packet_size_twice: V5 => |case| twice(case, property::maximum_packet_size(1000));
    topic_alias_maximum_twice: V5 => |case| twice(case, property::topic_alias_maximum(1));
    request_response_information_twice: V5 => |case| twice(case, property::request_response_information(1));
    request_problem_information_twice: V5 => |case| twice(case, property::request_problem_information(1));
    authentication_method_twice: V5 => |case| twice(case, property::authentication_method("m"));
    authentication_data_twice: V5 => |case| {
        let method = case.connect("a").with(property::authentication_method("m"));
        method.with(property::authentication_data("d")).with(property::authentication_data("d")).bytes()
    };
    will_delay_interval_twice: V5 => |case| will_twice(case, property::will_delay_interval(1));
    will_payload_format_indicator_twice: V5 => |case| will_twice(case, property::payload_format_indicator(0));
    will_message_expiry_interval_twice: V5 => |case| will_twice(case, property::message_expiry_interval(1));
    will_content_type_twice: V5 => |case| will_twice(case, property::content_type("c"));
    will_response_topic_twice: V5 => |case| will_twice(case, property::response_topic("r"));
    will_correlation_data_twice: V5 => |case| will_twice(case, property::correlation_data("c"));
    will_payload_format_indicator_2: V5 => |case|
        case.connect("a").will(Will::new(case.topic("w"), "w").with(property::payload_format_indicator(2))).bytes();
}

fn twice(case: &Case, property: Vec<u8>) -> Vec<u8> {
    case.connect("a").with(property.clone()).with(property).bytes()
}

fn will_twice(case: &Case, property: Vec<u8>) -> Vec<u8> {
    case.connect("a").will(Will::new(case.topic("w"), "w").with(property.clone()).with(property)).bytes()
}

// Section 2.2.2.2: properties that do not belong into CONNECT, or into its will.
table! { malformed:
    unknown_property_in_connect: V5 => |case| case.connect("a").with(vec![0x7e, 1]).bytes();
    message_expiry_interval_in_connect: V5 => |case| case.connect("a").with(property::message_expiry_interval(1)).bytes();
    server_keep_alive_in_connect: V5 => |case| case.connect("a").with(property::server_keep_alive(1)).bytes();
    assigned_client_identifier_in_connect: V5 => |case|
        case.connect("a").with(property::assigned_client_identifier("a")).bytes();
    response_information_in_connect: V5 => |case| case.connect("a").with(property::response_information("r")).bytes();
    maximum_qos_in_connect: V5 => |case| case.connect("a").with(property::maximum_qos(1)).bytes();
    retain_available_in_connect: V5 => |case| case.connect("a").with(property::retain_available(1)).bytes();
    wildcard_available_in_connect: V5 => |case| case.connect("a").with(property::wildcard_subscription_available(1)).bytes();
    identifiers_available_in_connect: V5 => |case|
        case.connect("a").with(property::subscription_identifiers_available(1)).bytes();
    shared_available_in_connect: V5 => |case| case.connect("a").with(property::shared_subscription_available(1)).bytes();
    will_delay_interval_in_connect: V5 => |case| case.connect("a").with(property::will_delay_interval(1)).bytes();
    reason_string_in_connect: V5 => |case| case.connect("a").with(property::reason_string("r")).bytes();
    topic_alias_in_will: V5 => |case|
        case.connect("a").will(Will::new(case.topic("w"), "w").with(property::topic_alias(1))).bytes();
    subscription_identifier_in_will: V5 => |case|
        case.connect("a").will(Will::new(case.topic("w"), "w").with(property::subscription_identifier(1))).bytes();
    session_expiry_interval_in_will: V5 => |case|
        case.connect("a").will(Will::new(case.topic("w"), "w").with(property::session_expiry_interval(1))).bytes();
    property_length_of_connect_beyond_the_packet: V5 => |case| {
        let mut bytes = case.connect("a").bytes();
        // Fixed header 2, protocol name 6, level, flags, keep alive 2: the property length.
        bytes[12] = 0x7f;
        bytes
    };
}

// [MQTT-3.1.0-2]
fn second_connect(case: &Case) {
    let mut client = case.client("a");
    client.send(case.connect("a").bytes());
    client.expect_disconnect(&[0x82]);
}

// [MQTT-3.1.4-1]: every beginning of a CONNECT that says it is whole.
fn connect_cut_at_any_byte(case: &Case) {
    let will = Will::new(case.topic("w"), "gone").qos(1);
    let whole = case.connect("a").will(will);
    let whole = match case.version {
        // A CONNECT of 3.1 may lack what its flags promise here: see `connect::promised_fields_may_be_missing`.
        Version::V3 => whole,
        Version::V4 => whole.user_name("u").password("p"),
        Version::V5 => whole.user_name("u").password("p").with(property::receive_maximum(9)),
    };
    let bytes = whole.bytes();
    assert!(bytes.len() < 130, "one byte of remaining length");
    for length in 0..bytes.len() - 2 {
        let mut client = case.open();
        client.send(packet(wire::CONNECT, &bytes[2..2 + length]));
        refused_with(&mut client, &[0x81, 0x82, 0x84]);
    }
    case.accepted(whole);
}

// [MQTT-3.1.4-6]
fn packets_behind_a_refused_connect_are_ignored(case: &Case) {
    let connect = case.connect("a").bytes_as("MQTT", 9, 2);
    let publish = case.message("t", "must not arrive").retain().bytes();
    let mut client = case.open();
    client.send([connect, publish].concat());
    while client.next_or_close().is_some() {}
    let mut witness = case.client("b");
    witness.subscribe(case.topic("t"), 0);
    witness.expect_nothing();
}

// [MQTT-3.1.1 3.1.3-8] [MQTT-3.1.1 3.1.3-9]
fn empty_client_id_without_clean_session(case: &Case) {
    let mut client = case.open();
    client.send(Connect::new(case.version, "").resume().bytes());
    client.expect([0x20, 2, 0, 2]);
    client.expect_closed();
}

// MQTT 3.1, section 3.1: 1 to 23 characters, otherwise identifier rejected.
fn empty_client_id(case: &Case) {
    let mut client = case.open();
    client.send(Connect::new(case.version, "").bytes());
    client.expect([0x20, 2, 0, 2]);
    client.expect_closed();
}

// [MQTT-3.1.4-1]: a connection that ends within its CONNECT leaves nothing behind.
fn half_a_connect_and_gone(case: &Case) {
    let bytes = case.connect("a").will(Will::new(case.topic("w"), "must not come")).bytes();
    let mut witness = case.client("b");
    witness.subscribe(case.topic("w"), 0);
    for length in [1, 2, 5, bytes.len() - 1] {
        let mut client = case.open();
        client.send(&bytes[..length]);
        client.half_close();
        client.expect_closed();
    }
    witness.expect_nothing();
}

// [MQTT-3.14.0-1]
fn garbage_is_closed(case: &Case) {
    silently_closed(case, (0..=255).rev().collect());
}

// [MQTT-3.14.0-1]
fn http_request_is_closed(case: &Case) {
    silently_closed(case, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
}

// [MQTT-3.14.0-1]
fn tls_hello_is_closed(case: &Case) {
    let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[7; 506]].concat();
    silently_closed(case, hello);
}
