//! Any bytes as a packet of any version from any side: decoding never panics, never asks for less than it has, and what
//! decodes survives a round trip and is measured exactly.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::packet::{Decoded, Decoder, MAXIMUM_PACKET_SIZE, ProtocolVersion, Sender};

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let version = [ProtocolVersion::V3, ProtocolVersion::V4, ProtocolVersion::V5][usize::from(choice % 3)];
    let sender = if choice & 0x80 == 0 { Sender::Client } else { Sender::Server };
    let connected = choice & 0x40 == 0;
    let maximum_packet_size = if choice & 0x20 == 0 { MAXIMUM_PACKET_SIZE } else { 64 };
    let decoder = Decoder { version, sender, maximum_packet_size, connected };
    match decoder.decode(bytes) {
        Ok(Decoded::Packet { packet, len }) => {
            assert!(len <= bytes.len() && len <= maximum_packet_size as usize);
            let mut again = Vec::new();
            packet.encode(version, &mut again);
            assert_eq!(again.len(), packet.encoded_len(version));
            // What is written for it may be a byte longer or shorter, so the limit is not asked again.
            let unlimited = Decoder { maximum_packet_size: MAXIMUM_PACKET_SIZE, ..decoder };
            let len = again.len();
            assert_eq!(unlimited.decode(&again), Ok(Decoded::Packet { packet, len }));
        }
        Ok(Decoded::Incomplete { needed }) => assert!(needed > bytes.len()),
        Err(error) => {
            assert!(error.offset <= bytes.len() && error.reason_code().is_error() && !error.to_string().is_empty())
        }
    }
});
