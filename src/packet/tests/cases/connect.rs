//! CONNECT.

use std::num::{NonZeroU16, NonZeroU32};

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    protocol(rows);
    flags(rows);
    client_ids(rows);
    credentials(rows);
    payload_refused(rows);
    passwords_refused(rows);
    properties(rows);
    properties_refused(rows);
    wills(rows);
    will_properties(rows);
    wills_refused(rows);
}

const CONNECT: Connect<'static> = Connect {
    version: V5,
    bridge: false,
    clean_start: true,
    keep_alive: 60,
    properties: ConnectProperties {
        session_expiry_interval: None,
        receive_maximum: None,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: None,
        authentication_method: None,
        authentication_data: None,
        user_properties: UserProperties::from_pairs(&[]),
    },
    client_id: "c",
    will: None,
    user_name: None,
    password: None,
};

fn packet(change: impl FnOnce(&mut Connect<'static>)) -> Packet<'static> {
    let mut connect = CONNECT;
    change(&mut connect);
    Packet::Connect(connect)
}

fn protocol(rows: &mut Rows) {
    for (name, text, version, bridge) in [
        ("MQTT 3.1", "10 ~ \"MQIsdp\" 03 02 00 3C \"c\"", V3, false),
        ("a bridge of 3.1", "10 ~ \"MQIsdp\" 83 02 00 3C \"c\"", V3, true),
        ("MQTT 3.1.1", "10 ~ \"MQTT\" 04 02 00 3C \"c\"", V4, false),
        ("a bridge of 3.1.1", "10 ~ \"MQTT\" 84 02 00 3C \"c\"", V4, true),
        ("MQTT 5", "10 ~ \"MQTT\" 05 02 00 3C [] \"c\"", V5, false),
    ] {
        rows.packet(name, &[version], Client, text, packet(|it| (it.version, it.bridge) = (version, bridge)));
    }
    for (text, level) in [
        ("10 ~ \"MQTT\" 00 02 00 3C \"c\"", 0),
        ("10 ~ \"MQTT\" 03 02 00 3C \"c\"", 3),
        ("10 ~ \"MQTT\" 06 02 00 3C [] \"c\"", 6),
        ("10 ~ \"MQTT\" 85 02 00 3C [] \"c\"", 0x85),
        ("10 ~ \"MQTT\" FF", 0xFF),
    ] {
        let kind = K::UnsupportedProtocolVersion { level };
        rows.refused("MQTT-3.1.2-2 protocol level", NEW, Client, text, (0x84, kind, 8));
    }
    let kind = K::UnsupportedProtocolVersion { level: 4 };
    rows.refused("MQIsdp, level 4", NEW, Client, "10 ~ \"MQIsdp\" 04 02 00 3C \"c\"", (0x84, kind, 10));
    for (text, level) in [
        ("10 ~ \"mqtt\" 05 02 00 3C [] \"c\"", 5),
        ("10 ~ \"MQTTX\" 04 02 00 3C \"c\"", 4),
        ("10 ~ \"\" 04 02 00 3C \"c\"", 4),
        ("10 ~ 00 02 FF FE 05", 5),
        ("10 ~ \"MQIsdq\" 03 02 00 3C \"c\"", 3),
    ] {
        rows.refused("MQTT-3.1.2-1 protocol name", NEW, Client, text, (0x84, K::UnknownProtocolName { level }, 2));
    }
    for (text, offset) in [
        ("10 00", 2),
        ("10 01 00", 2),
        ("10 02 00 04", 4),
        ("10 05 00 04 'MQT'", 4),
        ("10 06 \"MQTT\"", 8),
        ("10 07 \"MQTT\" 05", 9),
        ("10 08 \"MQTT\" 05 02", 10),
        ("10 09 \"MQTT\" 05 02 00", 10),
        ("10 0A \"MQTT\" 05 02 00 3C", 12),
        ("10 0B \"MQTT\" 05 02 00 3C 00", 13),
        ("10 0D \"MQTT\" 04 02 00 3C 00 05 'c'", 14),
    ] {
        rows.refused("MQTT-3.1.4-1 a CONNECT that ends early", NEW, Client, text, (0x81, K::Truncated, offset));
    }
}

fn flags(rows: &mut Rows) {
    type Text = fn(&str) -> String;
    let variants: [(&str, Text, usize); 3] = [
        ("MQTT 3.1", |flags| format!("10 ~ \"MQIsdp\" 03 {flags} 00 3C \"c\""), 11),
        ("MQTT 3.1.1", |flags| format!("10 ~ \"MQTT\" 04 {flags} 00 3C \"c\""), 9),
        ("MQTT 5", |flags| format!("10 ~ \"MQTT\" 05 {flags} 00 3C [] \"c\""), 9),
    ];
    for (version, text, offset) in variants {
        for (name, bits, kind) in [
            ("MQTT-3.1.2-3 reserved flag", "03", K::ReservedConnectFlag),
            ("MQTT-3.1.2-12 will QoS 3", "1E", K::QoS3),
            ("will QoS 3 without a will", "1A", K::QoS3),
            ("MQTT-3.1.2-11 will QoS 1 without a will", "0A", K::WillFlagsWithoutWill),
            ("MQTT-3.1.2-11 will QoS 2 without a will", "12", K::WillFlagsWithoutWill),
            ("MQTT-3.1.2-13 will retain without a will", "22", K::WillFlagsWithoutWill),
        ] {
            rows.refused(&format!("{name}, {version}"), NEW, Client, &text(bits), (0x81, kind, offset));
        }
        if version != "MQTT 5" {
            let name = format!("MQTT-3.1.1 3.1.2-22 password without user name, {version}");
            rows.refused(&name, NEW, Client, &text("42"), (0x81, K::PasswordWithoutUserName, offset));
        }
    }
    let text = "10 ~ \"MQTT\" 05 00 00 00 [] \"c\"";
    rows.packet(
        "MQTT-3.1.2-4 no clean start, no keep alive",
        NEW,
        Client,
        text,
        packet(|it| (it.clean_start, it.keep_alive) = (false, 0)),
    );
    let text = "10 ~ \"MQTT\" 04 00 FF FF \"\"";
    rows.packet(
        "no clean session without a client id is the session's affair",
        &[V4],
        Client,
        text,
        packet(|it| (it.version, it.clean_start, it.keep_alive, it.client_id) = (V4, false, 0xFFFF, "")),
    );
}

fn client_ids(rows: &mut Rows) {
    rows.packet(
        "MQTT-3.1.3-6 no client id",
        NEW,
        Client,
        "10 ~ \"MQTT\" 05 02 00 3C [] \"\"",
        packet(|it| it.client_id = ""),
    );
    rows.packet(
        "MQTT-3.1.3-5 23 characters",
        NEW,
        Client,
        "10 ~ \"MQTT\" 05 02 00 3C [] \"0123456789abcdefghijkLM\"",
        packet(|it| it.client_id = "0123456789abcdefghijkLM"),
    );
    let long = "10 ~ \"MQIsdp\" 03 02 00 3C \"twenty-four characters.. and more\"";
    rows.packet(
        "MQTT 3.1 with a client id of more than 23 bytes",
        &[V3],
        Client,
        long,
        packet(|it| (it.version, it.client_id) = (V3, "twenty-four characters.. and more")),
    );
    rows.packet("a client id of 65,535 bytes", NEW, Client, "10 ~ \"MQTT\" 05 02 00 3C [] FF FF 61*65535", {
        let client_id: &str = Box::leak("a".repeat(65_535).into_boxed_str());
        packet(|it| it.client_id = client_id)
    });
    rows.packet(
        "MQTT-1.5.4-3 a byte order mark stays",
        NEW,
        Client,
        "10 ~ \"MQTT\" 05 02 00 3C [] 00 04 EF BB BF 'c'",
        packet(|it| it.client_id = "\u{feff}c"),
    );
}

fn credentials(rows: &mut Rows) {
    rows.packet(
        "MQTT-3.1.2-17 user name",
        NEW,
        Client,
        "10 ~ \"MQTT\" 05 82 00 3C [] \"c\" \"u\"",
        packet(|it| it.user_name = Some("u")),
    );
    rows.packet(
        "an empty user name is one",
        NEW,
        Client,
        "10 ~ \"MQTT\" 05 82 00 3C [] \"c\" \"\"",
        packet(|it| it.user_name = Some("")),
    );
    let text = "10 ~ \"MQTT\" 05 C2 00 3C [] \"c\" \"u\" 00 03 00 FF C0";
    rows.packet(
        "MQTT-3.1.2-19 a password is binary",
        NEW,
        Client,
        text,
        packet(|it| (it.user_name, it.password) = (Some("u"), Some(leaked("00 FF C0")))),
    );
    rows.packet(
        "MQTT 5 has passwords without user names",
        NEW,
        Client,
        "10 ~ \"MQTT\" 05 42 00 3C [] \"c\" \"p\"",
        packet(|it| it.password = Some(b"p")),
    );
    rows.packet(
        "MQTT 3.1.1, user name and empty password",
        &[V4],
        Client,
        "10 ~ \"MQTT\" 04 C2 00 3C \"c\" \"u\" \"\"",
        packet(|it| (it.version, it.user_name, it.password) = (V4, Some("u"), Some(b"".as_slice()))),
    );
    let text = "10 ~ \"MQIsdp\" 03 C2 00 3C \"c\"";
    rows.other_form("in MQTT 3.1 the length decides: no user name", &[V3], Client, text, packet(|it| it.version = V3));
    rows.other_form(
        "in MQTT 3.1 the length decides: no password",
        &[V3],
        Client,
        "10 ~ \"MQIsdp\" 03 C2 00 3C \"c\" \"u\"",
        packet(|it| (it.version, it.user_name) = (V3, Some("u"))),
    );
}

fn payload_refused(rows: &mut Rows) {
    for (name, text, kind, offset) in [
        ("MQTT-3.1.2-17 user name missing, MQTT 3.1.1", "10 ~ \"MQTT\" 04 82 00 3C \"c\"", K::Truncated, 15),
        ("MQTT-3.1.2-17 user name missing, MQTT 5", "10 ~ \"MQTT\" 05 82 00 3C [] \"c\"", K::Truncated, 16),
        ("MQTT-3.1.2-19 password missing", "10 ~ \"MQTT\" 05 C2 00 3C [] \"c\" \"u\"", K::Truncated, 19),
        ("MQTT-3.1.2-16 user name without its flag", "10 ~ \"MQTT\" 05 02 00 3C [] \"c\" \"u\"", K::TrailingBytes, 16),
        (
            "MQTT-3.1.2-18 password without its flag",
            "10 ~ \"MQTT\" 05 82 00 3C [] \"c\" \"u\" \"p\"",
            K::TrailingBytes,
            19,
        ),
        ("MQTT 3.1 with bytes to spare", "10 ~ \"MQIsdp\" 03 02 00 3C \"c\" 00", K::TrailingBytes, 17),
        ("MQTT-3.1.3-3 no client id field", "10 ~ \"MQTT\" 05 02 00 3C []", K::Truncated, 13),
        ("MQTT-3.1.3-4 client id, lone continuation", "10 ~ \"MQTT\" 05 02 00 3C [] 00 01 80", K::InvalidUtf8, 13),
        ("MQTT-1.5.4-1 client id, surrogate", "10 ~ \"MQTT\" 05 02 00 3C [] 00 03 ED A0 80", K::InvalidUtf8, 13),
        ("MQTT-1.5.4-1 client id, overlong", "10 ~ \"MQTT\" 05 02 00 3C [] 00 02 C0 80", K::InvalidUtf8, 13),
        (
            "MQTT-1.5.4-1 client id, beyond Unicode",
            "10 ~ \"MQTT\" 05 02 00 3C [] 00 04 F4 90 80 80",
            K::InvalidUtf8,
            13,
        ),
        ("MQTT-1.5.4-1 client id, cut character", "10 ~ \"MQTT\" 04 02 00 3C 00 02 'a' C3", K::InvalidUtf8, 12),
        ("MQTT-1.5.4-2 client id, U+0000", "10 ~ \"MQTT\" 05 02 00 3C [] 00 03 'a' 00 'b'", K::NullCharacter, 13),
        ("MQTT-1.5.4-2 client id, U+0000, MQTT 3.1", "10 ~ \"MQIsdp\" 03 02 00 3C 00 01 00", K::NullCharacter, 14),
        ("MQTT-3.1.3-12 user name is text", "10 ~ \"MQTT\" 05 82 00 3C [] \"c\" 00 01 FF", K::InvalidUtf8, 16),
        ("MQTT-1.5.4-2 user name, U+0000", "10 ~ \"MQTT\" 04 82 00 3C \"c\" 00 01 00", K::NullCharacter, 15),
    ] {
        rows.refused(name, NEW, Client, text, (0x81, kind, offset));
    }
}

fn passwords_refused(rows: &mut Rows) {
    let name = "MQTT-3.1.1 3.1.2-22 a password that is there, without a user name";
    let why = (0x81, K::PasswordWithoutUserName, 9);
    rows.refused(name, NEW, Client, "10 ~ \"MQTT\" 04 42 00 3C \"c\" \"p\"", why);
    let why = (0x81, K::PasswordWithoutUserName, 11);
    rows.refused(name, NEW, Client, "10 ~ \"MQIsdp\" 03 42 00 3C \"c\" \"p\"", why);
}

fn properties(rows: &mut Rows) {
    let text = "10 ~ \"MQTT\" 05 02 00 3C [11 00 00 00 0A  21 00 14  27 00 01 00 00  22 FF FF  19 01  17 00 \
                15 \"M\"  16 \"D\"  26 \"k\" \"v\"  26 \"k\" \"w\"] \"c\"";
    rows.packet(
        "MQTT-3.1.3-10 every property of CONNECT",
        NEW,
        Client,
        text,
        packet(|it| {
            it.properties = ConnectProperties {
                session_expiry_interval: Some(10),
                receive_maximum: NonZeroU16::new(20),
                maximum_packet_size: NonZeroU32::new(65_536),
                topic_alias_maximum: 65_535,
                request_response_information: true,
                request_problem_information: Some(false),
                authentication_method: Some("M"),
                authentication_data: Some(b"D"),
                user_properties: UserProperties::from_pairs(&[("k", "v"), ("k", "w")]),
            };
        }),
    );
    let text = "10 ~ \"MQTT\" 05 02 00 3C [26 \"k\" \"v\"  11 FF FF FF FF  26 \"\" \"\"] \"c\"";
    rows.other_form(
        "user properties around another",
        NEW,
        Client,
        text,
        packet(|it| {
            it.properties.session_expiry_interval = Some(u32::MAX);
            it.properties.user_properties = UserProperties::from_pairs(&[("k", "v"), ("", "")]);
        }),
    );
    rows.other_form(
        "said as it would be anyway",
        NEW,
        Client,
        "10 ~ \"MQTT\" 05 02 00 3C [22 00 00 19 00] \"c\"",
        packet(|_| {}),
    );
}

fn properties_refused(rows: &mut Rows) {
    use PropertyId as P;
    for (name, block, why) in [
        ("receive maximum 0", "[21 00 00]", (0x82, K::PropertyValue(P::ReceiveMaximum), 14)),
        ("maximum packet size 0", "[27 00 00 00 00]", (0x82, K::PropertyValue(P::MaximumPacketSize), 14)),
        ("request response information 2", "[19 02]", (0x82, K::PropertyValue(P::RequestResponseInformation), 14)),
        ("request problem information 255", "[17 FF]", (0x82, K::PropertyValue(P::RequestProblemInformation), 14)),
        ("data without a method", "[16 \"D\"]", (0x82, K::AuthenticationDataWithoutMethod, 13)),
        (
            "session expiry interval twice",
            "[11 00*4 11 00*4]",
            (0x82, K::DuplicateProperty(P::SessionExpiryInterval), 18),
        ),
        ("method twice", "[15 \"M\" 15 \"M\"]", (0x82, K::DuplicateProperty(P::AuthenticationMethod), 17)),
        ("a will's delay", "[18 00 00 00 01]", (0x81, K::PropertyNotAllowed(P::WillDelayInterval), 13)),
        ("a topic alias", "[23 00 01]", (0x81, K::PropertyNotAllowed(P::TopicAlias), 13)),
        ("an unknown property", "[04 00]", (0x81, K::UnknownProperty(4), 13)),
        ("property 0", "[00]", (0x81, K::UnknownProperty(0), 13)),
        ("a property of two bytes", "[80 01 00]", (0x81, K::UnknownProperty(128), 13)),
        (
            "MQTT-1.5.5-1 a property with a long identifier",
            "[91 00 00 00 00 01]",
            (0x81, K::VariableByteIntegerNotMinimal, 13),
        ),
        ("an identifier of five bytes", "[91 80 80 80 00]", (0x81, K::VariableByteIntegerTooLong, 13)),
        ("the block ends in a number", "[11 00 00 00]", (0x81, K::Truncated, 14)),
        ("the block ends after an identifier", "[21]", (0x81, K::Truncated, 14)),
        ("the block ends in a length", "[15 00]", (0x81, K::Truncated, 14)),
        ("the block ends in a string", "07 15 00 05 'SCRA'", (0x81, K::Truncated, 16)),
        ("a user property without its value", "[26 \"k\"]", (0x81, K::Truncated, 17)),
        ("MQTT-1.5.7-1 name is not UTF-8", "[26 00 01 FF \"v\"]", (0x81, K::InvalidUtf8, 14)),
        ("MQTT-1.5.7-1 value has U+0000", "[26 \"k\" 00 01 00]", (0x81, K::NullCharacter, 17)),
        ("method has U+0000", "[15 00 01 00]", (0x81, K::NullCharacter, 14)),
    ] {
        let text = format!("10 ~ \"MQTT\" 05 02 00 3C {block} \"c\"");
        rows.refused(&format!("CONNECT, {name}"), NEW, Client, &text, why);
    }
    for (name, text, kind, offset) in [
        ("the properties are longer than the packet", "10 ~ \"MQTT\" 05 02 00 3C 7F \"c\"", K::Truncated, 13),
        (
            "the property length never ends",
            "10 ~ \"MQTT\" 05 02 00 3C FF FF FF FF 7F",
            K::VariableByteIntegerTooLong,
            12,
        ),
        ("the property length is cut", "10 ~ \"MQTT\" 05 02 00 3C 80", K::Truncated, 12),
        (
            "MQTT-1.5.5-1 the property length is too long",
            "10 ~ \"MQTT\" 05 02 00 3C 80 00 \"c\"",
            K::VariableByteIntegerNotMinimal,
            12,
        ),
    ] {
        rows.refused(name, NEW, Client, text, (0x81, kind, offset));
    }
}

const WILL: Will<'static> = Will {
    qos: QoS::AtMostOnce,
    retain: false,
    topic: "w",
    payload: b"bye",
    will_delay_interval: 0,
    properties: PublishProperties {
        raw: &[],
        raw_is_forward: true,
        payload_is_utf8: false,
        message_expiry_interval: None,
        topic_alias: None,
        response_topic: None,
        subscription_identifiers: 0,
    },
};

fn with_will(version: ProtocolVersion, will: Will<'static>) -> Packet<'static> {
    packet(|it| (it.version, it.will) = (version, Some(will)))
}

fn wills(rows: &mut Rows) {
    for (name, version, text) in [
        ("a will of MQTT 3.1", V3, "10 ~ \"MQIsdp\" 03 06 00 3C \"c\" \"w\" \"bye\""),
        ("a will of MQTT 3.1.1", V4, "10 ~ \"MQTT\" 04 06 00 3C \"c\" \"w\" \"bye\""),
        ("MQTT-3.1.2-14 a will of MQTT 5", V5, "10 ~ \"MQTT\" 05 06 00 3C [] \"c\" [] \"w\" \"bye\""),
    ] {
        rows.packet(name, &[version], Client, text, with_will(version, WILL));
    }
    for (name, bits, qos, retain) in [
        ("MQTT-3.1.2-12 will QoS 1", "0E", QoS::AtLeastOnce, false),
        ("MQTT-3.1.2-12 will QoS 2", "16", QoS::ExactlyOnce, false),
        ("MQTT-3.1.2-15 retained will", "26", QoS::AtMostOnce, true),
        ("retained will QoS 2", "36", QoS::ExactlyOnce, true),
    ] {
        let text = format!("10 ~ \"MQTT\" 04 {bits} 00 3C \"c\" \"w\" \"bye\"");
        rows.packet(name, &[V4], Client, &text, with_will(V4, Will { qos, retain, ..WILL }));
    }
    let text = "10 ~ \"MQTT\" 05 06 00 3C [] \"c\" [] \"w\" 00 02 FF 00";
    rows.packet("a will's payload is binary", NEW, Client, text, with_will(V5, Will { payload: &[0xFF, 0], ..WILL }));
    let text = "10 ~ \"MQTT\" 05 C6 00 3C [] \"c\" [] \"w\" \"\" \"u\" \"p\"";
    rows.packet("MQTT-3.1.3-1 every field in its order", NEW, Client, text, {
        let will = Will { payload: b"", ..WILL };
        packet(|it| (it.will, it.user_name, it.password) = (Some(will), Some("u"), Some(b"p".as_slice())))
    });
}

fn will_properties(rows: &mut Rows) {
    let block = "01 01  03 \"t\"  08 \"r\"  09 00 01 FF  26 \"k\" \"v\"";
    rows.packet(
        "MQTT-3.1.2-9 properties of a will that are forwarded",
        NEW,
        Client,
        &format!("10 ~ \"MQTT\" 05 06 00 3C [] \"c\" [{block}] \"w\" \"bye\""),
        with_will(
            V5,
            Will {
                properties: PublishProperties {
                    raw: leaked(block),
                    payload_is_utf8: true,
                    response_topic: Some("r"),
                    ..Default::default()
                },
                ..WILL
            },
        ),
    );
    let block = "18 00 00 00 05  02 00 00 00 3C  26 \"k\" \"v\"";
    rows.packet(
        "a will with a delay and an expiry",
        NEW,
        Client,
        &format!("10 ~ \"MQTT\" 05 06 00 3C [] \"c\" [{block}] \"w\" \"bye\""),
        with_will(
            V5,
            Will {
                will_delay_interval: 5,
                properties: PublishProperties {
                    raw: leaked(block),
                    raw_is_forward: false,
                    message_expiry_interval: Some(60),
                    ..Default::default()
                },
                ..WILL
            },
        ),
    );
}

fn wills_refused(rows: &mut Rows) {
    use PropertyId as P;
    for (name, will, why) in [
        ("a wildcard in the topic", "[] \"a/+\" \"bye\"", (0x90, K::TopicNameWildcard, 17)),
        ("a multi-level wildcard in the topic", "[] \"#\" \"bye\"", (0x90, K::TopicNameWildcard, 17)),
        ("MQTT-4.7.3-1 no topic", "[] \"\" \"bye\"", (0x90, K::TopicNameEmpty, 17)),
        ("MQTT-3.1.3-11 a topic that is not UTF-8", "[] 00 01 FF \"bye\"", (0x81, K::InvalidUtf8, 17)),
        ("MQTT-4.7.3-2 a topic with U+0000", "[] 00 01 00 \"bye\"", (0x81, K::NullCharacter, 17)),
        ("MQTT-3.1.2-9 no payload", "[] \"w\"", (0x81, K::Truncated, 20)),
        ("MQTT-3.1.2-9 no topic field", "[]", (0x81, K::Truncated, 17)),
        ("MQTT-3.1.2-9 nothing", "", (0x81, K::Truncated, 16)),
        ("a topic alias", "[23 00 01] \"w\" \"\"", (0x81, K::PropertyNotAllowed(P::TopicAlias), 17)),
        (
            "a subscription identifier",
            "[0B 01] \"w\" \"\"",
            (0x81, K::PropertyNotAllowed(P::SubscriptionIdentifier), 17),
        ),
        (
            "a session expiry interval",
            "[11 00*4] \"w\" \"\"",
            (0x81, K::PropertyNotAllowed(P::SessionExpiryInterval), 17),
        ),
        ("two delays", "[18 00*4 18 00*4] \"w\" \"\"", (0x82, K::DuplicateProperty(P::WillDelayInterval), 22)),
        ("two expiries", "[02 00*4 02 00*4] \"w\" \"\"", (0x82, K::DuplicateProperty(P::MessageExpiryInterval), 22)),
        ("payload format 2", "[01 02] \"w\" \"\"", (0x82, K::PropertyValue(P::PayloadFormatIndicator), 18)),
        ("MQTT-3.3.2-14 wildcard in the response topic", "[08 \"a/#\"] \"w\" \"\"", (0x90, K::TopicNameWildcard, 18)),
        ("properties beyond the packet", "09 01", (0x81, K::Truncated, 17)),
    ] {
        let text = format!("10 ~ \"MQTT\" 05 06 00 3C [] \"c\" {will}");
        rows.refused(&format!("will, {name}"), NEW, Client, &text, why);
    }
    for (name, text, why) in [
        (
            "will of 3.1.1, wildcard",
            "10 ~ \"MQTT\" 04 06 00 3C \"c\" \"a/#\" \"bye\"",
            (0x90, K::TopicNameWildcard, 15),
        ),
        ("will of 3.1, no topic", "10 ~ \"MQIsdp\" 03 06 00 3C \"c\" \"\" \"bye\"", (0x90, K::TopicNameEmpty, 17)),
        ("will of 3.1.1, no payload", "10 ~ \"MQTT\" 04 06 00 3C \"c\" \"w\"", (0x81, K::Truncated, 18)),
    ] {
        rows.refused(name, NEW, Client, text, why);
    }
}
