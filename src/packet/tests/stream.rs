//! Packets arrive in pieces, back to back, and larger than wanted.

use super::cases::{ALL, Case, Client, V5, Verdict, cases, packets};
use super::notation::bytes;
use super::*;

/// Every length of a short row, some lengths of a long one.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |cut| *cut < 400 || len - cut < 4 || cut % 997 == 0)
}

/// [MQTT-6.0.0-2], and TCP owes nobody a packet boundary either.
#[test]
fn a_packet_cut_anywhere_is_incomplete_until_it_is_whole() {
    for (case, _) in packets() {
        let len = case.bytes.len();
        for cut in cuts(len) {
            match decoder(case.version, case.sender).decode(&case.bytes[..cut]) {
                Ok(Decoded::Incomplete { needed }) => assert!(cut < needed && needed <= len, "{} at {cut}", case.name),
                other => panic!("{} cut at {cut}: {other:?}", case.name),
            }
        }
    }
}

#[test]
fn a_refused_packet_cut_anywhere_is_incomplete_or_refused_for_the_same_cause() {
    for case in cases() {
        let Verdict::Refused(_, kind, offset) = case.verdict else { continue };
        for cut in cuts(case.bytes.len()) {
            match decoder(case.version, case.sender).decode(&case.bytes[..cut]) {
                Ok(Decoded::Incomplete { needed }) => assert!(cut < needed, "{} at {cut}", case.name),
                Err(error) => assert_eq!((error.kind, error.offset), (kind, offset), "{} at {cut}", case.name),
                Ok(other) => panic!("{} cut at {cut}: {other:?}", case.name),
            }
        }
    }
}

/// What a driver does: it keeps what is incomplete and asks for as much as it was told.
#[test]
fn a_stream_of_packets_comes_out_whole_whatever_the_pieces() {
    for &version in ALL {
        let rows: Vec<(Case, Packet<'_>)> =
            packets().into_iter().filter(|(case, _)| case.version == version && case.sender == Client).collect();
        let stream: Vec<u8> = rows.iter().flat_map(|(case, _)| case.bytes.iter().copied()).collect();
        for piece in [1, 2, 7, 1000, stream.len()] {
            let (mut start, mut end, mut decoded) = (0, 0, 0);
            while start < stream.len() {
                match decoder(version, Client).decode(&stream[start..end]) {
                    Ok(Decoded::Packet { packet, len }) => {
                        assert_eq!(packet, rows[decoded].1, "{}", rows[decoded].0.name);
                        (start, decoded) = (start + len, decoded + 1);
                    }
                    Ok(Decoded::Incomplete { needed }) => end = stream.len().min((end + piece).max(start + needed)),
                    Err(error) => panic!("{}: {error}", rows[decoded].0.name),
                }
            }
            assert_eq!(decoded, rows.len());
        }
    }
}

#[test]
fn a_packet_as_large_as_allowed_is_taken_and_one_byte_less_refuses_it() {
    for (case, packet) in packets() {
        let len = case.bytes.len();
        let size = len as u32;
        let exact = Decoder { maximum_packet_size: size, ..decoder(case.version, case.sender) };
        assert_eq!(exact.decode(&case.bytes), Ok(Decoded::Packet { packet, len }), "{}", case.name);
        let tight = Decoder { maximum_packet_size: size - 1, ..exact };
        let error = tight.decode(&case.bytes).expect_err(&case.name);
        assert_eq!(error.kind, DecodeErrorKind::PacketTooLarge { size, maximum: size - 1 }, "{}", case.name);
        assert_eq!(error.reason_code(), ReasonCode::PacketTooLarge);
    }
}

#[test]
fn an_announced_length_is_refused_before_any_of_its_bytes_arrive() {
    for text in ["30 FF FF FF 7F", "10 FF FF FF 7F", "30 80 80 01"] {
        let decoder = Decoder { maximum_packet_size: 16_384, ..decoder(V5, Client) };
        let error = decoder.decode(&bytes(text)).expect_err(text);
        assert_eq!((error.reason_code(), error.offset), (ReasonCode::PacketTooLarge, 1), "{text}");
    }
    let needed = MAXIMUM_PACKET_SIZE as usize;
    assert_eq!(decoder(V5, Client).decode(&bytes("30 FF FF FF 7F")), Ok(Decoded::Incomplete { needed }));
}

// [MQTT-3.1.0-1]
#[test]
fn before_connect_anything_else_is_refused_by_its_first_byte() {
    for case in cases() {
        let first = case.bytes[0];
        if first >> 4 == 0 || first >> 4 == 1 {
            continue;
        }
        let fresh = Decoder { connected: false, ..decoder(case.version, Client) };
        let error = fresh.decode(&case.bytes[..1]).expect_err(&case.name);
        assert_eq!((error.kind, error.version), (DecodeErrorKind::FirstPacketNotConnect, None), "{}", case.name);
    }
    let fresh = Decoder { connected: false, ..decoder(V5, Client) };
    for text in ["GET / HTTP/1.1\r\n", "\u{16}\u{3}\u{1}\u{2}", "SSH-2.0"] {
        assert!(fresh.decode(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn a_connect_decodes_before_and_after_the_first_and_whatever_the_version() {
    for (case, packet) in packets() {
        if !matches!(packet, Packet::Connect(_)) {
            continue;
        }
        for &version in ALL {
            for connected in [false, true] {
                let decoder = Decoder { connected, ..decoder(version, Client) };
                let len = case.bytes.len();
                let packet = packet.clone();
                assert_eq!(decoder.decode(&case.bytes), Ok(Decoded::Packet { packet, len }), "{}", case.name);
            }
        }
    }
}
