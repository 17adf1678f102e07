//! What holds for all packets: one table of bytes and verdicts, the matrices of the standard, and properties.

mod arbitrary;
mod cases;
mod error;
mod fuzz;
mod head;
mod matrix;
mod notation;
mod round_trip;
mod stream;
mod table;

use super::*;
use crate::topic::TopicError;

/// As large a packet as MQTT has, on a connection that is past its CONNECT.
fn decoder(version: ProtocolVersion, sender: Sender) -> Decoder {
    Decoder { version, sender, maximum_packet_size: MAXIMUM_PACKET_SIZE, connected: true }
}

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}
