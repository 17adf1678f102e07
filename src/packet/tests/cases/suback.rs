//! SUBACK and UNSUBACK.

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    packets(rows);
    refused(rows);
}

fn ack(codes: &'static [ReasonCode]) -> SubAck<'static> {
    SubAck {
        packet_id: id(5),
        reason_codes: ReasonCodes::from_list(codes),
        reason_string: None,
        user_properties: UserProperties::default(),
    }
}

fn packets(rows: &mut Rows) {
    use ReasonCode as R;
    const GRANTED: &[ReasonCode] = &[R::Success, R::GrantedQoS1, R::GrantedQoS2, R::UnspecifiedError];
    rows.packet("SUBACK", OLD, Server, "90 ~ 00 05 00 01 02 80", Packet::SubAck(ack(GRANTED)));
    rows.packet("MQTT-2.2.2-1 SUBACK", NEW, Server, "90 ~ 00 05 [] 00 01 02 80", Packet::SubAck(ack(GRANTED)));
    rows.packet("SUBACK, one code", OLD, Server, "90 03 00 05 02", Packet::SubAck(ack(&[R::GrantedQoS2])));
    rows.packet(
        "MQTT-3.9.3-2 every failure of SUBACK",
        NEW,
        Server,
        "90 ~ 00 05 [] 83 87 8F 91 97 9E A1 A2",
        Packet::SubAck(ack(&[
            R::ImplementationSpecificError,
            R::NotAuthorized,
            R::TopicFilterInvalid,
            R::PacketIdentifierInUse,
            R::QuotaExceeded,
            R::SharedSubscriptionsNotSupported,
            R::SubscriptionIdentifiersNotSupported,
            R::WildcardSubscriptionsNotSupported,
        ])),
    );
    rows.packet("UNSUBACK", OLD, Server, "B0 02 00 05", Packet::UnsubAck(ack(&[])));
    rows.packet(
        "MQTT-3.11.3-2 every code of UNSUBACK",
        NEW,
        Server,
        "B0 ~ 00 05 [] 00 11 80 83 87 8F 91",
        Packet::UnsubAck(ack(&[
            R::Success,
            R::NoSubscriptionExisted,
            R::UnspecifiedError,
            R::ImplementationSpecificError,
            R::NotAuthorized,
            R::TopicFilterInvalid,
            R::PacketIdentifierInUse,
        ])),
    );
    let with = |codes| SubAck {
        reason_string: Some("why"),
        user_properties: UserProperties::from_pairs(&[("k", "v")]),
        ..ack(codes)
    };
    let text = "90 ~ 00 05 [1F \"why\" 26 \"k\" \"v\"] 01";
    rows.packet("SUBACK with properties", NEW, Server, text, Packet::SubAck(with(&[R::GrantedQoS1])));
    let text = "B0 ~ 00 05 [1F \"why\" 26 \"k\" \"v\"] 00";
    rows.packet("UNSUBACK with properties", NEW, Server, text, Packet::UnsubAck(with(&[R::Success])));
}

fn refused(rows: &mut Rows) {
    use PropertyId as P;
    for (name, first) in [("SUBACK", "90"), ("UNSUBACK", "B0")] {
        let mut refused = |what: &str, versions, body: &str, why| {
            rows.refused(&format!("{name}, {what}"), versions, Server, &format!("{first} {body}"), why);
        };
        refused("MQTT-2.2.1-3 packet id 0", ALL, "~ 00 00 [] 00", (0x81, K::PacketIdZero, 2));
        refused("empty", ALL, "00", (0x81, K::Truncated, 2));
        refused("no reason code", NEW, "03 00 05 []", (0x81, K::NoReasonCode, 5));
        refused("no property length", NEW, "02 00 05", (0x81, K::Truncated, 4));
        refused("an undefined reason code", NEW, "~ 00 05 [] 00 03", (0x82, K::ReasonCodeNotAllowed(3), 6));
        refused("a reason code of DISCONNECT", NEW, "~ 00 05 [] 8B", (0x82, K::ReasonCodeNotAllowed(0x8B), 5));
        refused(
            "two reason strings",
            NEW,
            "~ 00 05 [1F \"\" 1F \"\"] 00",
            (0x82, K::DuplicateProperty(P::ReasonString), 8),
        );
        refused(
            "a subscription identifier",
            NEW,
            "~ 00 05 [0B 01] 00",
            (0x81, K::PropertyNotAllowed(P::SubscriptionIdentifier), 5),
        );
        refused("properties beyond the packet", NEW, "~ 00 05 02 1F", (0x81, K::Truncated, 5));
    }
    let why = (0x82, K::ReasonCodeNotAllowed(0x11), 5);
    rows.refused("SUBACK, no subscription existed", NEW, Server, "90 ~ 00 05 [] 11", why);
    rows.refused("UNSUBACK, granted QoS 1", NEW, Server, "B0 ~ 00 05 [] 01", (0x82, K::ReasonCodeNotAllowed(1), 5));
    rows.refused("SUBACK, no return code", OLD, Server, "90 02 00 05", (0x81, K::NoReasonCode, 4));
    for (text, code) in [("90 03 00 05 03", 3), ("90 03 00 05 87", 0x87), ("90 03 00 05 FF", 0xFF)] {
        rows.refused("SUBACK return code", OLD, Server, text, (0x82, K::ReasonCodeNotAllowed(code), 4));
    }
    rows.refused("UNSUBACK with codes", OLD, Server, "B0 03 00 05 00", (0x81, K::TrailingBytes, 4));
}
