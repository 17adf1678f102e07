//! The standard's two matrices, each in full: which properties (table 2-4) and which reason codes (table 2-6) a packet has.

use super::cases::{Client, Server, V5};
use super::notation::bytes;
use super::*;

/// A place for properties: its name, who sends it, and the packet with `?` for the property block.
const PLACES: [(&str, Sender, &str); 14] = [
    ("CONNECT", Client, "10 ~ \"MQTT\" 05 02 00 00 ? \"c\""),
    ("Will", Client, "10 ~ \"MQTT\" 05 06 00 00 [] \"c\" ? \"w\" \"\""),
    ("CONNACK", Server, "20 ~ 00 00 ?"),
    ("PUBLISH", Server, "30 ~ \"a\" ? 'payload'"),
    ("PUBACK", Client, "40 ~ 00 01 00 ?"),
    ("PUBREC", Client, "50 ~ 00 01 00 ?"),
    ("PUBREL", Client, "62 ~ 00 01 00 ?"),
    ("PUBCOMP", Client, "70 ~ 00 01 00 ?"),
    ("SUBSCRIBE", Client, "82 ~ 00 01 ? \"a\" 00"),
    ("SUBACK", Server, "90 ~ 00 01 ? 00"),
    ("UNSUBSCRIBE", Client, "A2 ~ 00 01 ? \"a\""),
    ("UNSUBACK", Server, "B0 ~ 00 01 ? 00"),
    ("DISCONNECT", Client, "E0 ~ 00 ?"),
    ("AUTH", Client, "F0 ~ 18 ?"),
];

/// Identifier, a value, and where it may be.
const PROPERTIES: [(u8, &str, &str); 27] = [
    (0x01, "01", "PUBLISH Will"),
    (0x02, "00 00 00 01", "PUBLISH Will"),
    (0x03, "\"t\"", "PUBLISH Will"),
    (0x08, "\"r\"", "PUBLISH Will"),
    (0x09, "\"c\"", "PUBLISH Will"),
    (0x0B, "01", "PUBLISH SUBSCRIBE"),
    (0x11, "00 00 00 01", "CONNECT CONNACK DISCONNECT"),
    (0x12, "\"id\"", "CONNACK"),
    (0x13, "00 01", "CONNACK"),
    (0x15, "\"M\"", "CONNECT CONNACK AUTH"),
    (0x16, "\"D\"", "CONNECT CONNACK AUTH"),
    (0x17, "01", "CONNECT"),
    (0x18, "00 00 00 01", "Will"),
    (0x19, "01", "CONNECT"),
    (0x1A, "\"i\"", "CONNACK"),
    (0x1C, "\"s\"", "CONNACK DISCONNECT"),
    (0x1F, "\"w\"", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    (0x21, "00 01", "CONNECT CONNACK"),
    (0x22, "00 01", "CONNECT CONNACK"),
    (0x23, "00 01", "PUBLISH"),
    (0x24, "01", "CONNACK"),
    (0x25, "01", "CONNACK"),
    (
        0x26,
        "\"k\" \"v\"",
        "CONNECT Will CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK DISCONNECT AUTH",
    ),
    (0x27, "00 00 00 01", "CONNECT CONNACK"),
    (0x28, "01", "CONNACK"),
    (0x29, "01", "CONNACK"),
    (0x2A, "01", "CONNACK"),
];

/// The verdict on a packet with this block, `None` when it decodes.
fn verdict(sender: Sender, packet: &str, block: &str) -> Option<DecodeErrorKind> {
    let bytes = bytes(&packet.replace('?', &format!("[{block}]")));
    match decoder(V5, sender).decode(&bytes) {
        Ok(Decoded::Packet { len, .. }) if len == bytes.len() => None,
        Ok(other) => panic!("{other:?}"),
        Err(error) => Some(error.kind),
    }
}

/// What has to stand beside a property for the packet to be right.
fn companion(place: &str, id: u8) -> &'static str {
    let needs_method = place == "AUTH" || (place == "CONNECT" && id == 0x16);
    if needs_method && id != 0x15 { "15 \"M\"" } else { "" }
}

#[test]
fn a_property_is_accepted_where_the_standard_puts_it_and_nowhere_else() {
    for (id, value, places) in PROPERTIES {
        let property = PropertyId::from_u32(id.into()).expect("the table holds what the standard defines");
        for (place, sender, packet) in PLACES {
            let block = format!("{} {id:02X} {value}", companion(place, id));
            let allowed = places.split(' ').any(|it| it == place);
            let expected = (!allowed).then_some(DecodeErrorKind::PropertyNotAllowed(property));
            assert_eq!(verdict(sender, packet, &block), expected, "{property} in {place}");
        }
    }
}

#[test]
fn a_second_one_is_a_protocol_error_but_for_user_properties_and_a_server_s_subscription_identifiers() {
    for (id, value, places) in PROPERTIES {
        let property = PropertyId::from_u32(id.into()).expect("the table holds what the standard defines");
        for (place, sender, packet) in PLACES.into_iter().filter(|(place, ..)| places.split(' ').any(|it| it == *place))
        {
            let block = format!("{} {id:02X} {value} {id:02X} {value}", companion(place, id));
            let may_repeat = id == 0x26 || (id == 0x0B && place == "PUBLISH");
            let expected = (!may_repeat).then_some(DecodeErrorKind::DuplicateProperty(property));
            assert_eq!(verdict(sender, packet, &block), expected, "{property} in {place}");
        }
    }
}

#[test]
fn a_property_cut_anywhere_is_malformed() {
    for (id, value, places) in PROPERTIES {
        let whole = bytes(&format!("{id:02X} {value}"));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X} ")).collect::<String>();
        for (place, sender, packet) in PLACES.into_iter().filter(|(place, ..)| places.split(' ').any(|it| it == *place))
        {
            for cut in 1..whole.len() {
                let block = format!("{} {}", companion(place, id), hex(&whole[..cut]));
                assert_eq!(verdict(sender, packet, &block), Some(DecodeErrorKind::Truncated), "0x{id:02X} in {place}");
            }
        }
    }
}

#[test]
fn every_identifier_that_is_not_defined_is_malformed() {
    for id in (0..0x80u8).filter(|id| !PROPERTIES.iter().any(|(known, ..)| known == id)) {
        for (place, sender, packet) in PLACES {
            let kind = verdict(sender, packet, &format!("{id:02X} 00"));
            assert_eq!(kind, Some(DecodeErrorKind::UnknownProperty(id.into())), "0x{id:02X} in {place}");
        }
    }
}

#[test]
fn a_property_is_written_as_it_was_read_and_has_a_name() {
    for (id, value, _) in PROPERTIES {
        let raw = bytes(&format!("{id:02X} {value}"));
        let property = Properties::over(&raw).next().expect("the table's values are right");
        assert_eq!(property.id() as u8, id);
        assert!(!property.id().to_string().is_empty());
        let mut out = Vec::new();
        property.encode(&mut out);
        assert_eq!(out, raw);
    }
}

type Codes = &'static [u8];

/// The codes of a packet that both sides may send, then those of the client alone and of the server alone.
const REASON_CODES: [(&str, Codes, Codes, Codes); 8] = [
    (
        "20 ~ 00 ? []",
        &[],
        &[],
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
            0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    ("40 03 00 01 ?", &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99], &[], &[]),
    ("50 03 00 01 ?", &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99], &[], &[]),
    ("62 03 00 01 ?", &[0x00, 0x92], &[], &[]),
    ("70 03 00 01 ?", &[0x00, 0x92], &[], &[]),
    ("90 ~ 00 01 [] ?", &[], &[], &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]),
    ("B0 ~ 00 01 [] ?", &[], &[], &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    (
        "E0 01 ?",
        &[0x00, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99],
        &[0x04],
        &[0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2],
    ),
];

// [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2] [MQTT-3.11.3-2]
// [MQTT-3.14.2-1]
#[test]
fn each_packet_has_the_reason_codes_that_the_standard_gives_its_sender() {
    for (packet, both, client, server) in REASON_CODES {
        for sender in [Client, Server] {
            let own = if sender == Client { client } else { server };
            if both.is_empty() && own.is_empty() {
                continue;
            }
            for code in 0..=u8::MAX {
                let bytes = bytes(&packet.replace('?', &format!("{code:02X}")));
                let allowed = both.contains(&code) || own.contains(&code);
                let expected = (!allowed).then_some(DecodeErrorKind::ReasonCodeNotAllowed(code));
                let kind = decoder(V5, sender).decode(&bytes).err().map(|error| error.kind);
                assert_eq!(kind, expected, "0x{code:02X} in {packet} from {sender:?}");
            }
        }
    }
}

// [MQTT-3.15.2-1]
#[test]
fn each_side_of_an_authentication_has_its_own_reason_codes() {
    for (sender, codes) in [(Client, [0x18, 0x19]), (Server, [0x00, 0x18])] {
        for code in 0..=u8::MAX {
            let bytes = bytes(&format!("F0 ~ {code:02X} [15 \"M\"]"));
            let expected = (!codes.contains(&code)).then_some(DecodeErrorKind::ReasonCodeNotAllowed(code));
            assert_eq!(decoder(V5, sender).decode(&bytes).err().map(|error| error.kind), expected, "0x{code:02X}");
        }
    }
}
