//! Damaged rows by the hundred thousand, the same ones at every run.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cases::{ALL, Client, Server, V5, cases};
use super::*;

const ROUNDS: usize = 150_000;
/// Bytes that mean something somewhere: lengths, flags, property identifiers, wildcards, ends of ranges.
const TELLING: [u8; 16] =
    [0x00, 0x01, 0x02, 0x0B, 0x11, 0x15, 0x23, 0x26, 0x2B, 0x2F, 0x7F, 0x80, 0xC0, 0xED, 0xFE, 0xFF];

fn damage(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.random_range(0..=bytes.len());
    match rng.random_range(0..7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, TELLING[rng.random_range(0..TELLING.len())]),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        4 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(rng.random_range(1..=255)),
        5 => bytes.splice(at.., other[rng.random_range(0..=other.len())..].iter().copied()).for_each(drop),
        _ => bytes.extend_from_slice(other),
    }
}

/// Makes the remaining length right again, so that the damage reaches the fields.
fn fit_length(bytes: &mut [u8]) {
    if (2..0x82).contains(&bytes.len()) {
        bytes[1] = (bytes.len() - 2) as u8;
    }
}

/// What holds for any bytes at all.
fn check(bytes: &[u8], version: ProtocolVersion, sender: Sender) {
    match decoder(version, sender).decode(bytes) {
        Ok(Decoded::Packet { packet, len }) => {
            assert!(len <= bytes.len());
            let again = encoded(&packet, version);
            assert_eq!(again.len(), packet.encoded_len(version), "{bytes:02x?}");
            let len = again.len();
            assert_eq!(decoder(version, sender).decode(&again), Ok(Decoded::Packet { packet, len }), "{bytes:02x?}");
        }
        Ok(Decoded::Incomplete { needed }) => assert!(needed > bytes.len(), "{bytes:02x?}"),
        Err(error) => assert!(error.offset <= bytes.len() && error.reason_code().is_error(), "{error} {bytes:02x?}"),
    }
}

#[test]
fn damaged_packets_never_panic_and_what_still_decodes_survives_a_round_trip() {
    let rows: Vec<Vec<u8>> = cases().into_iter().map(|case| case.bytes).filter(|bytes| bytes.len() < 500).collect();
    let mut rng = StdRng::seed_from_u64(0x4D49_4447);
    for _ in 0..ROUNDS {
        let mut bytes = rows[rng.random_range(0..rows.len())].clone();
        let other = &rows[rng.random_range(0..rows.len())];
        for _ in 0..rng.random_range(1..4) {
            damage(&mut rng, &mut bytes, other);
        }
        if rng.random_bool(0.7) {
            fit_length(&mut bytes);
        }
        let sender = if rng.random_bool(0.6) { Client } else { Server };
        check(&bytes, ALL[rng.random_range(0..3)], sender);
    }
}

#[test]
fn every_row_read_as_every_version_from_every_side_keeps_the_same_promises() {
    for case in cases() {
        for &version in ALL {
            check(&case.bytes, version, Client);
            check(&case.bytes, version, Server);
        }
    }
}

#[test]
fn every_packet_of_four_telling_bytes_keeps_the_same_promises() {
    for first in 0..=u8::MAX {
        for (a, b) in TELLING.iter().flat_map(|a| TELLING.iter().map(move |b| (*a, *b))) {
            check(&[first, 2, a, b], V5, Client);
            check(&[first, 4, 0, 1, a, b], V5, Server);
        }
    }
}
