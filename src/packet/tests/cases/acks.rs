//! PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    short(rows);
    long(rows);
    refused(rows);
}

type Wrap = fn(Ack<'static>) -> Packet<'static>;

/// First byte, wrapper, and a reason code besides Success that belongs to it.
const TYPES: [(&str, &str, Wrap, ReasonCode); 4] = [
    ("PUBACK", "40", Packet::PubAck, ReasonCode::NoMatchingSubscribers),
    ("PUBREC", "50", Packet::PubRec, ReasonCode::QuotaExceeded),
    ("PUBREL", "62", Packet::PubRel, ReasonCode::PacketIdentifierNotFound),
    ("PUBCOMP", "70", Packet::PubComp, ReasonCode::PacketIdentifierNotFound),
];

fn ack(reason_code: ReasonCode) -> Ack<'static> {
    Ack { packet_id: id(0x0102), reason_code, reason_string: None, user_properties: UserProperties::default() }
}

fn short(rows: &mut Rows) {
    for (name, first, wrap, code) in TYPES {
        for sender in [Client, Server] {
            let text = format!("{first} 02 01 02");
            rows.packet(&format!("{name} of four bytes"), ALL, sender, &text, wrap(ack(ReasonCode::Success)));
            let text = format!("{first} 03 01 02 {:02X}", code as u8);
            rows.packet(&format!("{name} with a reason code"), NEW, sender, &text, wrap(ack(code)));
        }
        let text = format!("{first} 03 01 02 00");
        rows.other_form(&format!("{name} with Success spelt out"), NEW, Client, &text, wrap(ack(ReasonCode::Success)));
        let text = format!("{first} 04 01 02 00 []");
        rows.other_form(
            &format!("{name} with Success and no properties"),
            NEW,
            Client,
            &text,
            wrap(ack(ReasonCode::Success)),
        );
        let text = format!("{first} 04 01 02 {:02X} []", code as u8);
        rows.other_form(&format!("{name} with a code and no properties"), NEW, Client, &text, wrap(ack(code)));
    }
    rows.packet("PUBREL again in MQTT 3.1", &[V3], Client, "62 02 01 02", Packet::PubRel(ack(ReasonCode::Success)));
    rows.other_form(
        "PUBREL with DUP in MQTT 3.1",
        &[V3],
        Client,
        "6A 02 01 02",
        Packet::PubRel(ack(ReasonCode::Success)),
    );
}

fn long(rows: &mut Rows) {
    for (name, first, wrap, code) in TYPES {
        let with = |reason_code, reason_string, user_properties| {
            let user_properties = UserProperties::from_pairs(user_properties);
            wrap(Ack { reason_code, reason_string, user_properties, ..ack(code) })
        };
        let text = format!("{first} ~ 01 02 {:02X} [1F \"why\" 26 \"k\" \"v\" 26 \"k\" \"w\"]", code as u8);
        let packet = with(code, Some("why"), &[("k", "v"), ("k", "w")]);
        rows.packet(&format!("{name} with both properties"), NEW, Client, &text, packet);
        let text = format!("{first} ~ 01 02 00 [26 \"k\" \"v\"]");
        rows.packet(
            &format!("{name}, Success, user property"),
            NEW,
            Server,
            &text,
            with(ReasonCode::Success, None, &[("k", "v")]),
        );
        let text = format!("{first} ~ 01 02 00 [1F \"\"]");
        rows.packet(
            &format!("{name}, empty reason string"),
            NEW,
            Server,
            &text,
            with(ReasonCode::Success, Some(""), &[]),
        );
        let text = format!("{first} ~ 01 02 00 [26 \"k\" \"v\" 1F \"why\"]");
        let packet = with(ReasonCode::Success, Some("why"), &[("k", "v")]);
        rows.other_form(&format!("{name}, properties the other way round"), NEW, Client, &text, packet);
    }
}

fn refused(rows: &mut Rows) {
    use PropertyId as P;
    for (name, first, _, _) in TYPES {
        let mut refused = |what: &str, versions, body: &str, why| {
            rows.refused(&format!("{name}, {what}"), versions, Client, &format!("{first} {body}"), why);
        };
        refused("MQTT-2.2.1-3 MQTT-2.2.1-4 packet id 0", ALL, "02 00 00", (0x81, K::PacketIdZero, 2));
        refused("empty", ALL, "00", (0x81, K::Truncated, 2));
        refused("half a packet id", ALL, "01 01", (0x81, K::Truncated, 2));
        refused("a reason code in 3.x", OLD, "03 01 02 00", (0x81, K::TrailingBytes, 4));
        refused("properties in 3.x", OLD, "04 01 02 00 00", (0x81, K::TrailingBytes, 4));
        refused(
            "MQTT-3.4.2-1 MQTT-3.5.2-1 MQTT-3.6.2-1 MQTT-3.7.2-1 granted QoS 1",
            NEW,
            "03 01 02 01",
            (0x82, K::ReasonCodeNotAllowed(1), 4),
        );
        refused("an undefined reason code", NEW, "03 01 02 7F", (0x82, K::ReasonCodeNotAllowed(0x7F), 4));
        refused("a code that is no PUB code", NEW, "03 01 02 8E", (0x82, K::ReasonCodeNotAllowed(0x8E), 4));
        refused("properties beyond the packet", NEW, "04 01 02 00 01", (0x81, K::Truncated, 6));
        refused("bytes to spare", NEW, "05 01 02 00 [] 00", (0x81, K::TrailingBytes, 6));
        refused(
            "two reason strings",
            NEW,
            "~ 01 02 00 [1F \"\" 1F \"\"]",
            (0x82, K::DuplicateProperty(P::ReasonString), 9),
        );
        refused("a topic alias", NEW, "~ 01 02 00 [23 00 01]", (0x81, K::PropertyNotAllowed(P::TopicAlias), 6));
        refused("a reason string that is not UTF-8", NEW, "~ 01 02 00 [1F 00 01 C3]", (0x81, K::InvalidUtf8, 7));
    }
    let why = (0x82, K::ReasonCodeNotAllowed(0x10), 4);
    rows.refused("PUBREL, no matching subscribers", NEW, Client, "62 03 01 02 10", why);
    rows.refused("PUBCOMP, no matching subscribers", NEW, Client, "70 03 01 02 10", why);
    rows.refused(
        "PUBACK, packet id not found",
        NEW,
        Client,
        "40 03 01 02 92",
        (0x82, K::ReasonCodeNotAllowed(0x92), 4),
    );
}
