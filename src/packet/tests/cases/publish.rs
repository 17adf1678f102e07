//! PUBLISH.

use std::num::NonZeroU16;

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    plain(rows);
    flags_refused(rows);
    topics_refused(rows);
    properties(rows);
    many_properties(rows);
    properties_refused(rows);
}

const PUBLISH: Publish<'static> = Publish {
    dup: false,
    qos: QoS::AtMostOnce,
    retain: false,
    topic: "a/b",
    packet_id: None,
    properties: PublishProperties {
        raw: &[],
        raw_is_forward: true,
        payload_is_utf8: false,
        message_expiry_interval: None,
        topic_alias: None,
        response_topic: None,
        subscription_identifiers: 0,
    },
    payload: b"hi",
};

fn packet(change: impl FnOnce(&mut Publish<'static>)) -> Packet<'static> {
    let mut publish = PUBLISH;
    change(&mut publish);
    Packet::Publish(publish)
}

fn plain(rows: &mut Rows) {
    for (name, old, new, dup, qos, retain) in [
        ("QoS 0", "30 ~ \"a/b\" 'hi'", "30 ~ \"a/b\" [] 'hi'", false, QoS::AtMostOnce, false),
        ("QoS 0 retained", "31 ~ \"a/b\" 'hi'", "31 ~ \"a/b\" [] 'hi'", false, QoS::AtMostOnce, true),
        ("QoS 1", "32 ~ \"a/b\" 00 07 'hi'", "32 ~ \"a/b\" 00 07 [] 'hi'", false, QoS::AtLeastOnce, false),
        ("QoS 1 again", "3A ~ \"a/b\" 00 07 'hi'", "3A ~ \"a/b\" 00 07 [] 'hi'", true, QoS::AtLeastOnce, false),
        ("QoS 2", "34 ~ \"a/b\" 00 07 'hi'", "34 ~ \"a/b\" 00 07 [] 'hi'", false, QoS::ExactlyOnce, false),
        (
            "QoS 2 again, retained",
            "3D ~ \"a/b\" 00 07 'hi'",
            "3D ~ \"a/b\" 00 07 [] 'hi'",
            true,
            QoS::ExactlyOnce,
            true,
        ),
    ] {
        let packet_id = (qos != QoS::AtMostOnce).then(|| id(7));
        let packet = packet(|it| (it.dup, it.qos, it.retain, it.packet_id) = (dup, qos, retain, packet_id));
        for sender in [Client, Server] {
            rows.packet(&format!("PUBLISH {name}"), OLD, sender, old, packet.clone());
            rows.packet(&format!("PUBLISH {name}"), NEW, sender, new, packet.clone());
        }
    }
    rows.packet("no payload", OLD, Client, "30 ~ \"a/b\"", packet(|it| it.payload = b""));
    rows.packet("no payload", NEW, Client, "30 ~ \"a/b\" []", packet(|it| it.payload = b""));
    rows.packet(
        "MQTT-2.2.1-2 QoS 0 has no packet id: those bytes are payload",
        OLD,
        Client,
        "30 ~ \"a/b\" 00 07",
        packet(|it| it.payload = &[0, 7]),
    );
    rows.packet(
        "packet id 65,535",
        &[V4],
        Client,
        "32 ~ \"a/b\" FF FF 'hi'",
        packet(|it| (it.qos, it.packet_id) = (QoS::AtLeastOnce, Some(id(65_535)))),
    );
    for (name, text, topic) in [
        ("a topic of one space", "30 ~ \" \" 'hi'", " "),
        ("a topic of one slash", "30 ~ \"/\" 'hi'", "/"),
        ("empty levels", "30 ~ \"a//b/\" 'hi'", "a//b/"),
        ("a topic that begins with $", "30 ~ \"$SYS/x\" 'hi'", "$SYS/x"),
        ("characters of two, three and four bytes", "30 ~ \"ä/€/𝄞\" 'hi'", "ä/€/𝄞"),
        ("MQTT-1.5.4-3 a byte order mark stays", "30 ~ 00 04 EF BB BF 'a' 'hi'", "\u{feff}a"),
        ("control and non-characters are only discouraged", "30 ~ 00 04 01 EF BF BF 'hi'", "\u{1}\u{ffff}"),
    ] {
        rows.packet(name, OLD, Client, text, packet(|it| it.topic = topic));
    }
    rows.packet(
        "a remaining length of two bytes",
        OLD,
        Client,
        "30 C8 01 \"a/b\" 61*195",
        packet(|it| it.payload = &[b'a'; 195]),
    );
    rows.packet(
        "a topic of 65,536 levels, all empty",
        OLD,
        Client,
        "30 ~ FF FF 2F*65535 'hi'",
        packet(|it| it.topic = std::str::from_utf8(leaked("2F*65535")).expect("slashes")),
    );
    rows.packet("a topic of 65,535 bytes", NEW, Client, "30 ~ FF FF 61*65535 [] 'hi'", {
        let topic: &str = Box::leak("a".repeat(65_535).into_boxed_str());
        packet(|it| it.topic = topic)
    });
}

fn flags_refused(rows: &mut Rows) {
    for text in ["36 ~ \"a/b\" 00 07 [] 'hi'", "37 ~ \"a\" 00 07", "3E ~ \"a\" 00 07", "3F ~ \"a\" 00 07"] {
        rows.refused("MQTT-3.3.1-4 QoS 3", ALL, Client, text, (0x81, K::QoS3, 0));
    }
    for text in ["38 ~ \"a/b\" [] 'hi'", "39 ~ \"a/b\" [] 'hi'"] {
        rows.refused("MQTT-3.3.1-2 DUP at QoS 0", ALL, Client, text, (0x81, K::DupAtQoS0, 0));
        rows.refused("MQTT-3.3.1-2 DUP at QoS 0", ALL, Server, text, (0x81, K::DupAtQoS0, 0));
    }
    for text in ["32 ~ \"a/b\" 00 00 [] 'hi'", "34 ~ \"a/b\" 00 00 [] 'hi'", "3B ~ \"a/b\" 00 00"] {
        rows.refused("MQTT-2.2.1-3 packet id 0", ALL, Client, text, (0x81, K::PacketIdZero, 7));
        rows.refused("MQTT-2.2.1-4 packet id 0", ALL, Server, text, (0x81, K::PacketIdZero, 7));
    }
    for (text, offset) in [
        ("30 00", 2),
        ("30 01 00", 2),
        ("30 02 00 01", 4),
        ("30 04 00 03 'a/'", 4),
        ("32 ~ \"a/b\"", 7),
        ("32 ~ \"a/b\" 00", 7),
        ("34 ~ \"a/b\" 07", 7),
    ] {
        rows.refused("MQTT-3.3.2-1 a PUBLISH that ends early", ALL, Client, text, (0x81, K::Truncated, offset));
    }
    for (text, offset) in [("30 ~ \"a/b\"", 7), ("32 ~ \"a/b\" 00 07", 9), ("30 ~ \"a/b\" 05 26", 8)] {
        rows.refused("a PUBLISH that ends in its properties", NEW, Client, text, (0x81, K::Truncated, offset));
    }
}

fn topics_refused(rows: &mut Rows) {
    for topic in ["#", "+", "a/#", "a/+/b", "a+", "+a", "a#b"] {
        let text = format!("30 ~ \"{topic}\" [] 'hi'");
        rows.refused("MQTT-3.3.2-2 MQTT-4.7.0-1 wildcard", ALL, Client, &text, (0x90, K::TopicNameWildcard, 2));
        rows.refused("MQTT-3.3.2-2 MQTT-4.7.0-1 wildcard", ALL, Server, &text, (0x90, K::TopicNameWildcard, 2));
    }
    for (name, topic, kind) in [
        ("MQTT-1.5.4-1 a surrogate", "00 03 ED A0 80", K::InvalidUtf8),
        ("MQTT-1.5.4-1 the last surrogate", "00 03 ED BF BF", K::InvalidUtf8),
        ("MQTT-1.5.4-1 a pair of surrogates", "00 06 ED A0 81 ED B0 80", K::InvalidUtf8),
        ("MQTT-1.5.4-1 an overlong slash", "00 02 C0 AF", K::InvalidUtf8),
        ("MQTT-1.5.4-1 an overlong null of Java", "00 02 C0 80", K::InvalidUtf8),
        ("MQTT-1.5.4-1 three bytes for two", "00 03 E0 80 AF", K::InvalidUtf8),
        ("MQTT-1.5.4-1 four bytes for three", "00 04 F0 80 80 AF", K::InvalidUtf8),
        ("MQTT-1.5.4-1 beyond Unicode", "00 04 F4 90 80 80", K::InvalidUtf8),
        ("MQTT-1.5.4-1 five bytes", "00 05 F8 88 80 80 80", K::InvalidUtf8),
        ("MQTT-1.5.4-1 FE and FF", "00 02 FE FF", K::InvalidUtf8),
        ("MQTT-1.5.4-1 a lone continuation", "00 02 'a' 80", K::InvalidUtf8),
        ("MQTT-1.5.4-1 a character cut off", "00 03 'a' E2 82", K::InvalidUtf8),
        ("MQTT-1.5.4-1 wrong after 64 bytes", "00 42 61*64 C3 'a'", K::InvalidUtf8),
        ("MQTT-1.5.4-2 U+0000 alone", "00 01 00", K::NullCharacter),
        ("MQTT-1.5.4-2 U+0000 inside", "00 03 'a' 00 'b'", K::NullCharacter),
        ("MQTT-4.7.3-2 U+0000 after 64 bytes", "00 42 61*64 00 'a'", K::NullCharacter),
    ] {
        let text = format!("30 ~ {topic} [] 'hi'");
        rows.refused(name, ALL, Client, &text, (0x81, kind, 2));
    }
    rows.refused("MQTT-4.7.3-1 no topic", OLD, Client, "30 ~ \"\" 'hi'", (0x90, K::TopicNameEmpty, 2));
    rows.refused("neither topic nor alias", NEW, Client, "30 ~ \"\" [] 'hi'", (0x82, K::TopicNameMissing, 2));
    rows.refused(
        "neither topic nor alias, QoS 1",
        NEW,
        Server,
        "32 ~ \"\" 00 07 [26 \"k\" \"v\"]",
        (0x82, K::TopicNameMissing, 2),
    );
}

/// A PUBLISH of MQTT 5 with these properties.
fn with_block(
    rows: &mut Rows,
    name: &str,
    sender: Sender,
    block: &str,
    change: impl FnOnce(&mut PublishProperties<'static>),
) {
    let text = format!("30 ~ \"a/b\" [{block}] 'hi'");
    let raw = leaked(block);
    rows.packet(
        name,
        NEW,
        sender,
        &text,
        packet(|it| {
            it.properties.raw = raw;
            change(&mut it.properties);
        }),
    );
}

fn properties(rows: &mut Rows) {
    with_block(rows, "payload format 0", Client, "01 00", |_| {});
    with_block(rows, "payload format 1", Client, "01 01", |it| it.payload_is_utf8 = true);
    with_block(rows, "message expiry interval", Client, "02 00 00 00 0A", |it| {
        (it.raw_is_forward, it.message_expiry_interval) = (false, Some(10));
    });
    with_block(rows, "message expiry interval 0", Server, "02 00 00 00 00", |it| {
        (it.raw_is_forward, it.message_expiry_interval) = (false, Some(0));
    });
    with_block(rows, "MQTT-3.3.2-19 content type", Client, "03 \"text/plain\"", |_| {});
    with_block(rows, "MQTT-3.3.2-13 response topic", Client, "08 \"re/ply\"", |it| it.response_topic = Some("re/ply"));
    with_block(rows, "correlation data is binary", Client, "09 00 03 00 FF 80", |_| {});
    with_block(rows, "correlation data may be empty", Client, "09 \"\"", |_| {});
    with_block(
        rows,
        "MQTT-3.3.2-18 user properties in order",
        Client,
        "26 \"b\" \"1\" 26 \"a\" \"2\" 26 \"b\" \"1\"",
        |_| {},
    );
    with_block(rows, "a topic with an alias", Client, "23 00 01", |it| {
        (it.raw_is_forward, it.topic_alias) = (false, NonZeroU16::new(1));
    });
    with_block(rows, "alias 65,535", Server, "23 FF FF", |it| {
        (it.raw_is_forward, it.topic_alias) = (false, NonZeroU16::new(65_535));
    });
    with_block(rows, "MQTT-3.3.4-4 several subscription identifiers", Server, "0B 01 0B FF FF FF 7F 0B 80 01", |it| {
        (it.raw_is_forward, it.subscription_identifiers) = (false, 3);
    });
    with_block(
        rows,
        "everything that is forwarded",
        Client,
        "01 01  03 \"t\"  08 \"r\"  09 \"c\"  26 \"k\" \"v\"",
        |it| (it.payload_is_utf8, it.response_topic) = (true, Some("r")),
    );
    with_block(
        rows,
        "everything, mixed",
        Server,
        "26 \"k\" \"v\"  0B 05  02 00 00 00 3C  01 00  23 00 07  08 \"r\"  0B 06  03 \"t\"  26 \"\" \"\"  09 \"\"",
        |it| {
            it.raw_is_forward = false;
            it.message_expiry_interval = Some(60);
            it.topic_alias = NonZeroU16::new(7);
            it.response_topic = Some("r");
            it.subscription_identifiers = 2;
        },
    );
    rows.packet(
        "an alias alone",
        NEW,
        Client,
        "30 ~ \"\" [23 00 05] 'hi'",
        packet(|it| {
            it.topic = "";
            it.properties = PublishProperties {
                raw: leaked("23 00 05"),
                raw_is_forward: false,
                topic_alias: NonZeroU16::new(5),
                ..it.properties
            };
        }),
    );
}

fn many_properties(rows: &mut Rows) {
    let block = "26 \"k\" \"v\" ".repeat(10_000);
    with_block(rows, "10,000 user properties", Client, &block, |_| {});
    let block = "0B 01 ".repeat(10_000);
    with_block(rows, "10,000 subscription identifiers", Server, &block, |it| {
        (it.raw_is_forward, it.subscription_identifiers) = (false, 10_000);
    });
}

fn properties_refused(rows: &mut Rows) {
    use PropertyId as P;
    for (name, block, why) in [
        ("MQTT-3.3.2-8 alias 0", "23 00 00", (0x94, K::TopicAliasZero, 9)),
        (
            "MQTT-3.3.4-6 a client's subscription identifier",
            "0B 01",
            (0x82, K::PropertyFromWrongSender(P::SubscriptionIdentifier), 8),
        ),
        ("a client's subscription identifier 0", "0B 00", (0x82, K::PropertyValue(P::SubscriptionIdentifier), 9)),
        ("payload format 2", "01 02", (0x82, K::PropertyValue(P::PayloadFormatIndicator), 9)),
        ("payload format twice", "01 00 01 00", (0x82, K::DuplicateProperty(P::PayloadFormatIndicator), 10)),
        ("expiry twice", "02 00*4 02 00*4", (0x82, K::DuplicateProperty(P::MessageExpiryInterval), 13)),
        ("content type twice", "03 \"\" 03 \"\"", (0x82, K::DuplicateProperty(P::ContentType), 11)),
        ("response topic twice", "08 \"r\" 08 \"r\"", (0x82, K::DuplicateProperty(P::ResponseTopic), 12)),
        ("correlation data twice", "09 \"\" 09 \"\"", (0x82, K::DuplicateProperty(P::CorrelationData), 11)),
        ("alias twice", "23 00 01 23 00 01", (0x82, K::DuplicateProperty(P::TopicAlias), 11)),
        ("MQTT-3.3.2-14 wildcard in the response topic", "08 \"a/+\"", (0x90, K::TopicNameWildcard, 9)),
        ("MQTT-4.7.3-1 empty response topic", "08 \"\"", (0x90, K::TopicNameEmpty, 9)),
        ("MQTT-3.3.2-13 response topic is not UTF-8", "08 00 01 FF", (0x81, K::InvalidUtf8, 9)),
        ("response topic with U+0000", "08 00 01 00", (0x81, K::NullCharacter, 9)),
        ("MQTT-3.3.2-19 content type is not UTF-8", "03 00 01 80", (0x81, K::InvalidUtf8, 9)),
        ("content type with U+0000", "03 00 01 00", (0x81, K::NullCharacter, 9)),
        ("MQTT-1.5.7-1 user property is not UTF-8", "26 00 01 80 \"v\"", (0x81, K::InvalidUtf8, 9)),
        ("MQTT-1.5.7-1 user property with U+0000", "26 \"k\" 00 01 00", (0x81, K::NullCharacter, 12)),
        ("a will's delay", "18 00*4", (0x81, K::PropertyNotAllowed(P::WillDelayInterval), 8)),
        ("a reason string", "1F \"why\"", (0x81, K::PropertyNotAllowed(P::ReasonString), 8)),
        ("an unknown property", "7F 00", (0x81, K::UnknownProperty(0x7F), 8)),
        ("an expiry cut off", "02 00*3", (0x81, K::Truncated, 9)),
        ("correlation data beyond the block", "09 00 09 'ab'", (0x81, K::Truncated, 11)),
    ] {
        let text = format!("30 ~ \"a/b\" [{block}] 'payload'");
        rows.refused(&format!("PUBLISH, {name}"), NEW, Client, &text, why);
    }
    for (name, block, why) in [
        ("subscription identifier 0", "0B 01 0B 00", (0x82, K::PropertyValue(P::SubscriptionIdentifier), 11)),
        ("subscription identifier of five bytes", "0B 80 80 80 80 01", (0x81, K::VariableByteIntegerTooLong, 9)),
        ("MQTT-1.5.5-1 long subscription identifier", "0B 81 00", (0x81, K::VariableByteIntegerNotMinimal, 9)),
    ] {
        let text = format!("30 ~ \"a/b\" [{block}] 'payload'");
        rows.refused(&format!("PUBLISH of a server, {name}"), NEW, Server, &text, why);
    }
    let text = "30 ~ \"a/b\" 0A 26 \"k\" \"v\" 'p'";
    rows.refused("properties longer than the packet", NEW, Client, text, (0x81, K::Truncated, 8));
}
