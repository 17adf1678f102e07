//! CONNACK.

use std::num::{NonZeroU16, NonZeroU32};

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    old(rows);
    new(rows);
    refused(rows);
}

fn packet(session_present: bool, reason_code: ReasonCode) -> Packet<'static> {
    Packet::ConnAck(ConnAck { session_present, reason_code, ..Default::default() })
}

fn old(rows: &mut Rows) {
    for (text, session_present, reason_code) in [
        ("20 02 00 00", false, ReasonCode::Success),
        ("20 02 01 00", true, ReasonCode::Success),
        ("20 02 00 01", false, ReasonCode::UnsupportedProtocolVersion),
        ("20 02 00 02", false, ReasonCode::ClientIdentifierNotValid),
        ("20 02 00 03", false, ReasonCode::ServerUnavailable),
        ("20 02 00 04", false, ReasonCode::BadUserNameOrPassword),
        ("20 02 00 05", false, ReasonCode::NotAuthorized),
    ] {
        rows.packet("CONNACK return code", OLD, Server, text, packet(session_present, reason_code));
    }
}

fn new(rows: &mut Rows) {
    for (text, session_present, reason_code) in [
        ("20 03 00 00 []", false, ReasonCode::Success),
        ("20 03 01 00 []", true, ReasonCode::Success),
        ("20 03 00 84 []", false, ReasonCode::UnsupportedProtocolVersion),
        ("20 03 00 86 []", false, ReasonCode::BadUserNameOrPassword),
        ("20 03 00 9F []", false, ReasonCode::ConnectionRateExceeded),
    ] {
        rows.packet(
            "MQTT-3.2.2-8 MQTT-2.2.2-1 CONNACK reason code",
            NEW,
            Server,
            text,
            packet(session_present, reason_code),
        );
    }
    let text = "20 ~ 00 00 [11 00 00 00 0A  21 00 14  24 01  25 00  27 00 01 00 00  12 \"id\"  22 00 05  1F \"why\"  \
                28 00  29 01  2A 00  13 00 3C  1A \"info\"  1C \"there\"  15 \"M\"  16 \"D\"  26 \"k\" \"v\"]";
    let properties = ConnAckProperties {
        session_expiry_interval: Some(10),
        receive_maximum: NonZeroU16::new(20),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: NonZeroU32::new(65_536),
        assigned_client_identifier: Some("id"),
        topic_alias_maximum: Some(5),
        reason_string: Some("why"),
        user_properties: UserProperties::from_pairs(&[("k", "v")]),
        wildcard_subscription_available: Some(false),
        subscription_identifiers_available: Some(true),
        shared_subscription_available: Some(false),
        server_keep_alive: Some(60),
        response_information: Some("info"),
        server_reference: Some("there"),
        authentication_method: Some("M"),
        authentication_data: Some(b"D"),
    };
    rows.packet(
        "every property of CONNACK",
        NEW,
        Server,
        text,
        Packet::ConnAck(ConnAck { properties, ..Default::default() }),
    );
}

fn refused(rows: &mut Rows) {
    use PropertyId as P;
    for flags in ["02", "80", "FE", "FF"] {
        let text = format!("20 02 {flags} 00");
        rows.refused("MQTT-3.2.2-1 acknowledge flags", OLD, Server, &text, (0x81, K::ReservedConnAckFlags, 2));
        let text = format!("20 03 {flags} 00 []");
        rows.refused("MQTT-3.2.2-1 acknowledge flags", NEW, Server, &text, (0x81, K::ReservedConnAckFlags, 2));
    }
    let why = (0x82, K::SessionPresentOnRefusal, 3);
    rows.refused("MQTT-3.2.2-6 a refusal has no session", OLD, Server, "20 02 01 05", why);
    rows.refused("MQTT-3.2.2-6 a refusal has no session", NEW, Server, "20 03 01 87 []", why);
    for (text, code) in [("20 02 00 06", 6), ("20 02 00 80", 0x80), ("20 02 00 FF", 0xFF)] {
        rows.refused("CONNACK return code", OLD, Server, text, (0x82, K::ReasonCodeNotAllowed(code), 3));
    }
    rows.refused(
        "MQTT-3.2.2-8 a return code of 3.x",
        NEW,
        Server,
        "20 03 00 05 []",
        (0x82, K::ReasonCodeNotAllowed(5), 3),
    );
    for (name, text, kind, offset) in [
        ("CONNACK without anything", "20 00", K::Truncated, 2),
        ("CONNACK without a code", "20 01 00", K::Truncated, 3),
        ("CONNACK of 5 without properties", "20 02 00 00", K::Truncated, 4),
        ("CONNACK of 5 with bytes to spare", "20 04 00 00 [] 00", K::TrailingBytes, 5),
    ] {
        rows.refused(name, NEW, Server, text, (0x81, kind, offset));
    }
    rows.refused("CONNACK of 3.x with bytes to spare", OLD, Server, "20 03 00 00 00", (0x81, K::TrailingBytes, 4));
    for (block, why) in [
        ("[24 02]", (0x82, K::PropertyValue(P::MaximumQoS), 6)),
        ("[25 02]", (0x82, K::PropertyValue(P::RetainAvailable), 6)),
        ("[28 02]", (0x82, K::PropertyValue(P::WildcardSubscriptionAvailable), 6)),
        ("[29 02]", (0x82, K::PropertyValue(P::SubscriptionIdentifiersAvailable), 6)),
        ("[2A 02]", (0x82, K::PropertyValue(P::SharedSubscriptionAvailable), 6)),
        ("[21 00 00]", (0x82, K::PropertyValue(P::ReceiveMaximum), 6)),
        ("[27 00*4]", (0x82, K::PropertyValue(P::MaximumPacketSize), 6)),
        ("[1F \"a\" 1F \"a\"]", (0x82, K::DuplicateProperty(P::ReasonString), 9)),
        ("[17 01]", (0x81, K::PropertyNotAllowed(P::RequestProblemInformation), 5)),
    ] {
        rows.refused("properties of CONNACK", NEW, Server, &format!("20 ~ 00 00 {block}"), why);
    }
}
