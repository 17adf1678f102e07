//! The packets a broker writes all day, from parts and without a detour: PUBLISH up to its payload, and the acks.

use std::num::NonZeroU16;
use std::ops::Range;

use super::writer::{Length, Sink, WriteProperties};
use super::{PacketId, PacketType, Property, ProtocolVersion, QoS, ReasonCode, publish, varint};

/// PUBLISH to a client, from parts; everything but the payload, which the caller writes by reference or copies.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    pub topic: &'a str,
    /// Present exactly when QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    pub topic_alias: Option<NonZeroU16>,
    /// Seconds.
    pub message_expiry_interval: Option<u32>,
    /// 1 to 268,435,455 each.
    pub subscription_ids: &'a [u32],
    /// Validated property bytes that go out as they came in.
    pub forward: &'a [u8],
    pub payload_len: usize,
}

impl PublishHead<'_> {
    /// Bytes of the whole packet, payload included. One above [`super::MAXIMUM_PACKET_SIZE`] must not be sent.
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        with_fixed_header(self.lengths(version).0)
    }

    /// Appends everything but the payload; returns where the topic is now.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Range<usize> {
        let (remaining, properties) = self.lengths(version);
        out.put_u8((PacketType::Publish as u8) << 4 | publish::flags(self.dup, self.qos, self.retain));
        out.put_varint(remaining.as_varint());
        let topic_start = out.len() + 2;
        out.put_str(self.topic);
        let topic = topic_start..out.len();
        if let Some(packet_id) = self.packet_id {
            out.put_u16(packet_id.get());
        }
        if version == ProtocolVersion::V5 {
            out.put_varint(properties.as_varint());
            self.write_properties(out);
        }
        topic
    }

    /// The remaining length, and the length of the properties in it.
    fn lengths(&self, version: ProtocolVersion) -> (Length, Length) {
        let fields = 2 + self.topic.len() + self.packet_id.map_or(0, |_| 2) + self.payload_len;
        if version != ProtocolVersion::V5 {
            return (Length(fields), Length(0));
        }
        let properties = self.properties_len();
        (Length(fields + varint::len(properties.as_varint()) + properties.0), properties)
    }
}

impl WriteProperties for PublishHead<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        if let Some(seconds) = self.message_expiry_interval {
            Property::MessageExpiryInterval(seconds).write(out);
        }
        if let Some(alias) = self.topic_alias {
            Property::TopicAlias(alias).write(out);
        }
        for &id in self.subscription_ids {
            out.put_u8(super::PropertyId::SubscriptionIdentifier as u8);
            out.put_varint(id);
        }
        out.put(self.forward);
    }
}

/// What [`PublishHead`] has encoded for QoS 0 without flags, to be sent again and again with those and the packet id of each
/// receiver.
#[derive(Clone, Debug)]
pub struct EncodedPublish<'a> {
    /// From the fixed header on, with the payload or up to it.
    pub bytes: &'a [u8],
    /// Where in them the topic stands.
    pub topic: Range<usize>,
    /// Where in them the payload begins; their end when it is not there.
    pub payload_start: usize,
    /// How much of the payload comes behind them.
    pub payload_after: usize,
}

impl<'a> EncodedPublish<'a> {
    /// The first of several packets that stand one behind the other, with a topic of that length each, and its properties.
    // Said to be inlined: what it makes stays in registers, where a struct in memory is waited for.
    #[inline(always)]
    pub fn first_of(packets: &'a [u8], topic_len: usize, version: ProtocolVersion) -> (EncodedPublish<'a>, &'a [u8]) {
        let (remaining, remaining_len) = varint_at(packets, 1);
        let len = 1 + remaining_len + remaining;
        let topic = len - remaining + 2..len - remaining + 2 + topic_len;
        let (forward_len, varint_len) = match version {
            ProtocolVersion::V5 => varint_at(packets, topic.end),
            _ => (0, 0),
        };
        let forward_start = topic.end + varint_len;
        let payload_start = forward_start + forward_len;
        let first = EncodedPublish { bytes: &packets[..len], topic, payload_start, payload_after: 0 };
        (first, &packets[forward_start..payload_start])
    }
}

/// Its value and length, in a packet that was encoded here.
fn varint_at(packet: &[u8], at: usize) -> (usize, usize) {
    match varint::decode(&packet[at..]) {
        varint::Decoded::Value { value, len } => (value as usize, len),
        fault => {
            debug_assert!(false, "{fault:?}");
            (0, 0)
        }
    }
}

impl EncodedPublish<'_> {
    /// Bytes of the whole packet. One above [`super::MAXIMUM_PACKET_SIZE`] must not be sent.
    pub fn len(&self, packet_id: Option<PacketId>) -> usize {
        with_fixed_header(self.remaining(packet_id))
    }

    /// The same with the payload behind it.
    pub fn up_to_payload(&self) -> Self {
        EncodedPublish {
            bytes: &self.bytes[..self.payload_start],
            payload_after: self.payload_after + self.bytes.len() - self.payload_start,
            ..self.clone()
        }
    }

    /// Appends the packet up to what comes behind.
    pub fn encode(&self, dup: bool, qos: QoS, retain: bool, packet_id: Option<PacketId>, out: &mut Vec<u8>) {
        let flags = publish::flags(dup, qos, retain);
        let Some(id) = packet_id else {
            let at = out.len();
            out.extend_from_slice(self.bytes);
            out[at] |= flags;
            return;
        };
        let remaining = self.remaining(packet_id).as_varint();
        let topic = self.topic.start - 2;
        if topic == 2 && varint::len(remaining) == 1 {
            // Most have less than 128 bytes.
            let at = out.len();
            out.put(&self.bytes[..self.topic.end]);
            out[at] |= flags;
            out[at + 1] = remaining as u8;
        } else {
            out.put_u8((PacketType::Publish as u8) << 4 | flags);
            out.put_varint(remaining);
            out.put(&self.bytes[topic..self.topic.end]);
        }
        out.put_u16(id.get());
        out.put(&self.bytes[self.topic.end..]);
    }

    /// The remaining length.
    fn remaining(&self, packet_id: Option<PacketId>) -> Length {
        Length(self.bytes.len() - (self.topic.start - 2) + packet_id.map_or(0, |_| 2) + self.payload_after)
    }
}

fn with_fixed_header(remaining: Length) -> usize {
    1 + varint::len(remaining.as_varint()) + remaining.0
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP without properties: four bytes, and a fifth for a reason code in MQTT 5.0
/// that is not Success.
pub fn encode_ack(
    packet_type: PacketType,
    packet_id: PacketId,
    reason_code: ReasonCode,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) {
    let first = (packet_type as u8) << 4 | packet_type.flags();
    let [high, low] = packet_id.get().to_be_bytes();
    if version != ProtocolVersion::V5 || reason_code == ReasonCode::Success {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, reason_code as u8]);
    }
}
