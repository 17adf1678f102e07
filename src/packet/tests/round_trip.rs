//! Any packet at all: encoded, measured, decoded, the same. Any bytes at all: a verdict.

use proptest::collection::vec;
use proptest::prelude::*;

use super::arbitrary::packet;
use super::cases::{ALL, Client, Server};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_packet_survives_encode_and_decode_and_is_measured_exactly((version, sender, packet) in packet()) {
        let bytes = encoded(&packet, version);
        prop_assert_eq!(bytes.len(), packet.encoded_len(version));
        let len = bytes.len();
        prop_assert_eq!(decoder(version, sender).decode(&bytes), Ok(Decoded::Packet { packet, len }));
    }

    #[test]
    fn any_bytes_with_a_fitting_length_get_a_verdict(first in any::<u8>(), body in vec(any::<u8>(), 0..120)) {
        let bytes = [&[first, body.len() as u8][..], &body].concat();
        for &version in ALL {
            for sender in [Client, Server] {
                let verdict = decoder(version, sender).decode(&bytes);
                let incomplete = matches!(verdict, Ok(Decoded::Incomplete { .. }));
                prop_assert!(!incomplete, "{:?}", verdict);
            }
        }
    }

    #[test]
    fn any_bytes_at_all_get_a_verdict(bytes in vec(any::<u8>(), 0..60)) {
        for &version in ALL {
            if let Ok(Decoded::Incomplete { needed }) = decoder(version, Client).decode(&bytes) {
                prop_assert!(needed > bytes.len());
            }
        }
    }
}
