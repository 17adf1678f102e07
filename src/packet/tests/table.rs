//! The table of rows against decoder and encoder.

use super::cases::{Case, Verdict, cases, packets};
use super::*;

fn verdict<'a>(case: &'a Case) -> Result<Decoded<'a>, DecodeError> {
    decoder(case.version, case.sender).decode(&case.bytes)
}

#[test]
fn every_row_gets_its_verdict() {
    for case in cases() {
        let name = &case.name;
        match (&case.verdict, verdict(&case)) {
            (Verdict::Packet(expected) | Verdict::OtherForm(expected), Ok(Decoded::Packet { packet, len })) => {
                assert_eq!((&packet, len), (expected, case.bytes.len()), "{name}");
            }
            (&Verdict::Refused(code, kind, offset), Err(error)) => {
                assert_eq!((error.kind, error.offset), (kind, offset), "{name}");
                assert_eq!(error.reason_code() as u8, code, "{name}");
            }
            (_, other) => panic!("{name}: {:02x?} is {other:?}", case.bytes),
        }
    }
}

#[test]
fn every_packet_is_encoded_to_its_bytes_and_measured_exactly() {
    for (case, packet) in packets() {
        let bytes = encoded(&packet, case.version);
        assert_eq!(packet.encoded_len(case.version), bytes.len(), "{}", case.name);
        if matches!(case.verdict, Verdict::Packet(_)) {
            assert_eq!(bytes, case.bytes, "{}", case.name);
        } else {
            assert_ne!(bytes, case.bytes, "{} is the encoder's own form", case.name);
        }
        let again = decoder(case.version, case.sender).decode(&bytes);
        assert_eq!(again, Ok(Decoded::Packet { packet, len: bytes.len() }), "{}", case.name);
    }
}

#[test]
fn encoding_appends() {
    for (case, packet) in packets() {
        let mut out = b"before".to_vec();
        packet.encode(case.version, &mut out);
        assert_eq!(out, [&b"before"[..], &encoded(&packet, case.version)].concat(), "{}", case.name);
    }
}

#[test]
fn the_table_is_as_large_as_it_claims() {
    let (refused, packets): (Vec<_>, Vec<_>) =
        cases().into_iter().partition(|case| matches!(case.verdict, Verdict::Refused(..)));
    assert!(packets.len() >= 200, "{}", packets.len());
    assert!(refused.len() >= 800, "{}", refused.len());
}
