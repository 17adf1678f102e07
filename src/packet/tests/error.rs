//! What an error says.

use super::cases::{ALL, Client, OLD, V3, V4, V5, cases};
use super::notation::bytes;
use super::*;

fn error(version: ProtocolVersion, text: &str) -> DecodeError {
    decoder(version, Client).decode(&bytes(text)).expect_err(text)
}

#[test]
fn an_error_names_the_packet_the_byte_and_the_cause() {
    for (text, line) in [
        ("32 ~ \"a/#\" 00 01 []", "PUBLISH: byte 2: topic name has a wildcard (+ or #)"),
        ("00 00", "byte 0: packet type 0 does not exist in this version of MQTT"),
        ("20 02 00 00", "CONNACK: byte 0: this packet is not for a client to send"),
        ("61 02 00 01", "PUBREL: byte 0: reserved flags of the fixed header are 0001"),
        (
            "82 ~ 00 05 [] \"a/#/b\" 00",
            "SUBSCRIBE: byte 5: topic filter: '#' at byte 2 is not the last character: nothing may follow it; \
             '+' stands for one level in between",
        ),
        ("30 ~ \"a\" [1F \"\"]", "PUBLISH: byte 6: property Reason String does not belong to this packet"),
        ("30 ~ \"a\" [7B]", "PUBLISH: byte 6: property 0x7B does not exist"),
        ("E0 01 8E", "DISCONNECT: byte 2: reason code 0x8E does not belong to this packet or sender"),
    ] {
        assert_eq!(error(V5, text).to_string(), line);
    }
}

#[test]
fn every_cause_in_the_table_has_one_line_of_text() {
    for case in cases() {
        if let Err(error) = decoder(case.version, case.sender).decode(&case.bytes) {
            let line = error.to_string();
            assert!(line.len() > 20 && !line.contains('\n'), "{line}");
        }
    }
}

#[test]
fn an_error_tells_the_version_it_is_to_be_answered_in() {
    for &version in ALL {
        assert_eq!(error(version, "C0 01 00").version, Some(version));
        assert_eq!(error(version, "10 ~ \"MQIsdp\" 03 01 00 00 \"c\"").version, Some(V3));
        assert_eq!(error(version, "10 ~ \"MQTT\" 04 02 00 00 00 01 00").version, Some(V4));
        assert_eq!(error(version, "10 ~ \"MQTT\" 05 02 00 00 7F").version, Some(V5));
        assert_eq!(error(version, "10 ~ \"MQTT\" 07 02 00 00 []").version, None);
        assert_eq!(error(version, "10 ~ \"HTTP\" 05").version, None);
        assert_eq!(error(version, "11 00").version, None);
    }
}

#[test]
fn what_mqtt_5_calls_an_unknown_packet_id_or_code_is_only_a_longer_packet_before() {
    for &version in OLD {
        assert_eq!(error(version, "40 03 00 01 92").kind, DecodeErrorKind::TrailingBytes);
    }
}

#[test]
fn an_error_is_small() {
    assert!(size_of::<DecodeError>() <= 48, "{}", size_of::<DecodeError>());
}
