//! Packets to bytes: the inverse of `decode`.

use super::writer::{Length, Sink};
use super::{Packet, PacketType, ProtocolVersion, publish, varint};

impl Packet<'_> {
    /// Appends the packet. A CONNECT is written in its own version.
    ///
    /// Whatever decoded is encoded to bytes that decode to it again. In what is built by hand, strings and binary data
    /// longer than 65,535 bytes are cut.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let remaining = self.remaining_length(version);
        out.reserve(header_len(remaining) + remaining.0);
        out.put_u8(self.first_byte());
        out.put_varint(remaining.as_varint());
        self.write_body(version, out);
    }

    /// Bytes that [`Packet::encode`] appends.
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        let remaining = self.remaining_length(version);
        header_len(remaining) + remaining.0
    }

    fn first_byte(&self) -> u8 {
        let packet_type = self.packet_type();
        let flags = match self {
            Packet::Publish(publish) => publish::flags(publish.dup, publish.qos, publish.retain),
            _ => packet_type.flags(), // [MQTT-2.1.3-1]
        };
        (packet_type as u8) << 4 | flags
    }

    fn remaining_length(&self, version: ProtocolVersion) -> Length {
        let mut length = Length::default();
        self.write_body(version, &mut length);
        length
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        match self {
            Packet::Connect(it) => it.write(out),
            Packet::ConnAck(it) => it.write(version, out),
            Packet::Publish(it) => it.write(version, out),
            Packet::PubAck(it) | Packet::PubRec(it) | Packet::PubRel(it) | Packet::PubComp(it) => {
                it.write(version, out);
            }
            Packet::Subscribe(it) => it.write(version, out),
            Packet::SubAck(it) => it.write(PacketType::SubAck, version, out),
            Packet::Unsubscribe(it) => it.write(version, out),
            Packet::UnsubAck(it) => it.write(PacketType::UnsubAck, version, out),
            Packet::PingReq | Packet::PingResp => {}
            Packet::Disconnect(it) => it.write(version, out),
            Packet::Auth(it) => it.write(out),
        }
    }
}

fn header_len(remaining: Length) -> usize {
    1 + varint::len(remaining.as_varint())
}
