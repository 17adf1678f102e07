//! Finds the next packet in a buffer and reads it: the fixed header (section 2.1) here, the rest in the packet's file.

use super::error::DecodeErrorKind;
use super::reader::{Read, Reader};
use super::{
    Ack, Auth, ConnAck, Connect, DecodeError, Disconnect, Packet, PacketId, PacketType, ProtocolVersion, Publish,
    ReasonCode, Sender, SubAck, Subscribe, Unsubscribe, UserProperties, publish, varint,
};

/// Type and flags, the remaining length, and the packet id.
const SHORT_ACK_BYTES: usize = 4;

/// What decoding has to know of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// Ignored for CONNECT, which brings its own.
    pub version: ProtocolVersion,
    pub sender: Sender,
    /// Bytes of a whole packet with its fixed header. A larger one is refused when its length is known, before its bytes
    /// have to be kept.
    pub maximum_packet_size: u32,
    /// False while the version is not known yet: then only CONNECT is a packet.
    pub connected: bool,
}

/// What the start of a buffer holds.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation per packet")]
pub enum Decoded<'a> {
    Packet {
        packet: Packet<'a>,
        /// Bytes that it took of the buffer.
        len: usize,
    },
    Incomplete {
        /// At least so many bytes, counted from the start of the packet, are there when decoding can get further.
        needed: usize,
    },
}

/// The first byte.
#[derive(Clone, Copy)]
struct Header {
    packet_type: PacketType,
    flags: u8,
}

impl Decoder {
    /// Decodes the packet that `buf` begins with. Nothing is copied, and a PUBLISH is decoded without an allocation.
    pub fn decode<'a>(&self, buf: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
        self.decode_after(buf, "")
    }

    /// The same for one of many packets: publishers seldom change their topic, and what came in a PUBLISH that has been
    /// decoded before need not be checked again.
    pub fn decode_after<'a>(&self, buf: &'a [u8], known_topic: &'a str) -> Result<Decoded<'a>, DecodeError> {
        let Some(&first) = buf.first() else {
            return Ok(Decoded::Incomplete { needed: 2 });
        };
        let packet_type = PacketType::from_bits(first >> 4);
        if let Some(packet) = packet_type.and_then(|packet_type| self.short_ack(packet_type, buf)) {
            return Ok(Decoded::Packet { packet, len: SHORT_ACK_BYTES });
        }
        // A CONNECT says its own.
        let mut version = Some(self.version).filter(|_| self.connected && packet_type != Some(PacketType::Connect));
        let mut decoded = match packet_type {
            Some(packet_type) => {
                let header = Header { packet_type, flags: first & 0x0F };
                self.decode_packet(buf, header, known_topic, &mut version)
            }
            None => Err(DecodeError::at(DecodeErrorKind::UnknownPacketType(0), 0)),
        };
        if let Err(error) = &mut decoded {
            (error.packet_type, error.version) = (packet_type, version);
        }
        decoded
    }

    /// An acknowledgement without a reason code, which is most of what receivers send. `None` is for all that is
    /// anything else, or is faulty.
    fn short_ack<'a>(&self, packet_type: PacketType, buf: &[u8]) -> Option<Packet<'a>> {
        let &[first, 2, high, low, ..] = buf else { return None };
        let is_faulty = first & 0x0F != packet_type.flags() || self.maximum_packet_size < SHORT_ACK_BYTES as u32;
        if is_faulty || !self.connected {
            return None;
        }
        let ack = Ack {
            packet_id: PacketId::new(u16::from_be_bytes([high, low]))?,
            reason_code: ReasonCode::Success,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        match packet_type {
            PacketType::PubAck => Some(Packet::PubAck(ack)),
            PacketType::PubRec => Some(Packet::PubRec(ack)),
            PacketType::PubRel => Some(Packet::PubRel(ack)),
            PacketType::PubComp => Some(Packet::PubComp(ack)),
            _ => None,
        }
    }

    fn decode_packet<'a>(
        &self,
        buf: &'a [u8],
        header: Header,
        known_topic: &'a str,
        version: &mut Option<ProtocolVersion>,
    ) -> Read<Decoded<'a>> {
        self.check_header(header).map_err(|kind| DecodeError::at(kind, 0))?;
        let (remaining, header_len) = match varint::decode(&buf[1..]) {
            varint::Decoded::Value { value, len } => (value, 1 + len),
            varint::Decoded::Incomplete => return Ok(Decoded::Incomplete { needed: buf.len() + 1 }),
            varint::Decoded::TooLong => {
                return Err(DecodeError::at(DecodeErrorKind::VariableByteIntegerTooLong, 1));
            }
            // [MQTT-1.5.5-1]
            varint::Decoded::NotMinimal => {
                return Err(DecodeError::at(DecodeErrorKind::VariableByteIntegerNotMinimal, 1));
            }
        };
        let len = header_len + remaining as usize;
        self.check_size(len)?;
        let Some(bytes) = buf.get(..len) else {
            return Ok(Decoded::Incomplete { needed: len });
        };
        let mut reader = Reader::new(bytes, header_len).knowing(known_topic);
        let packet = self.decode_body(&mut reader, header, version)?;
        reader.finish()?; // [MQTT-3.1.4-1]
        Ok(Decoded::Packet { packet, len })
    }

    fn check_header(&self, header: Header) -> Result<(), DecodeErrorKind> {
        let Header { packet_type, flags } = header;
        if !self.connected && packet_type != PacketType::Connect {
            return Err(DecodeErrorKind::FirstPacketNotConnect); // [MQTT-3.1.0-1]
        }
        if packet_type == PacketType::Auth && self.version != ProtocolVersion::V5 {
            return Err(DecodeErrorKind::UnknownPacketType(packet_type as u8));
        }
        if !packet_type.may_be_sent_by(self.sender, self.version) {
            return Err(DecodeErrorKind::WrongSender(self.sender));
        }
        if packet_type == PacketType::Publish {
            return publish::check_flags(flags).map(|_| ());
        }
        // [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
        if flags & !self.ignored_flags(packet_type) != packet_type.flags() {
            return Err(DecodeErrorKind::ReservedFlags(flags));
        }
        Ok(())
    }

    /// MQTT 3.1 marks a repeated PUBREL, SUBSCRIBE or UNSUBSCRIBE with DUP.
    fn ignored_flags(&self, packet_type: PacketType) -> u8 {
        let repeats = packet_type.flags() != 0 && self.version == ProtocolVersion::V3;
        if repeats { 0b1000 } else { 0 }
    }

    fn check_size(&self, len: usize) -> Read<()> {
        let size = u32::try_from(len).unwrap_or(u32::MAX);
        if size > self.maximum_packet_size {
            // [MQTT-3.2.2-15]
            let kind = DecodeErrorKind::PacketTooLarge { size, maximum: self.maximum_packet_size };
            return Err(DecodeError::at(kind, 1));
        }
        Ok(())
    }

    fn decode_body<'a>(
        &self,
        reader: &mut Reader<'a>,
        header: Header,
        connect_version: &mut Option<ProtocolVersion>,
    ) -> Read<Packet<'a>> {
        let Header { packet_type, flags } = header;
        let (version, sender) = (self.version, self.sender);
        Ok(match packet_type {
            PacketType::Publish => Packet::Publish(Publish::decode(reader, flags, version, sender)?),
            PacketType::PubAck => Packet::PubAck(Ack::decode(reader, packet_type, version, sender)?),
            PacketType::PubRec => Packet::PubRec(Ack::decode(reader, packet_type, version, sender)?),
            PacketType::PubRel => Packet::PubRel(Ack::decode(reader, packet_type, version, sender)?),
            PacketType::PubComp => Packet::PubComp(Ack::decode(reader, packet_type, version, sender)?),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(reader, version)?),
            PacketType::SubAck => Packet::SubAck(SubAck::decode(reader, packet_type, version)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(reader, version)?),
            PacketType::UnsubAck => Packet::UnsubAck(SubAck::decode(reader, packet_type, version)?),
            PacketType::Connect => Packet::Connect(Connect::decode(reader, connect_version)?),
            PacketType::ConnAck => Packet::ConnAck(ConnAck::decode(reader, version)?),
            PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(reader, version, sender)?),
            PacketType::Auth => Packet::Auth(Auth::decode(reader, sender)?),
        })
    }
}
