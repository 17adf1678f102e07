//! Ready-made PUBLISH packets: encoded once, then copied with what differs from message to message written over.

use std::ops::Range;

use super::stamp::{STAMP_BYTES, Stamp};
use super::topics::Topics;
use crate::packet::{Packet, PacketId, ProtocolVersion, Publish, PublishProperties, QoS};

/// What all messages of a publisher have in common.
pub(super) struct MessageKind<'a> {
    pub(super) version: ProtocolVersion,
    pub(super) topic: &'a str,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) payload_bytes: usize,
    pub(super) topics: Topics,
}

/// A packet, and where in it what is.
pub(super) struct Template {
    bytes: Vec<u8>,
    /// `None` when the payload has no room for one.
    stamp_at: Option<usize>,
    id_at: Option<usize>,
    topic_at: Range<usize>,
    topics: Topics,
}

impl Template {
    pub(super) fn new(kind: &MessageKind<'_>) -> Template {
        let payload = vec![b'm'; kind.payload_bytes];
        let has_id = kind.qos != QoS::AtMostOnce;
        let packet = Packet::Publish(Publish {
            dup: false,
            qos: kind.qos,
            retain: kind.retain,
            topic: kind.topic,
            packet_id: has_id.then_some(PacketId::MIN),
            properties: PublishProperties::default(),
            payload: &payload,
        });
        let mut bytes = Vec::new();
        packet.encode(kind.version, &mut bytes);
        let payload_at = bytes.len() - payload.len();
        // The length of no properties is one byte.
        let id_end = payload_at - usize::from(kind.version == ProtocolVersion::V5);
        let topic_end = if has_id { id_end - 2 } else { id_end };
        Template {
            bytes,
            stamp_at: (kind.payload_bytes >= STAMP_BYTES).then_some(payload_at),
            id_at: has_id.then_some(topic_end),
            topic_at: topic_end - kind.topic.len()..topic_end,
            topics: kind.topics,
        }
    }

    /// Bytes of a packet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a packet. `packet_id` counts at QoS 1 and 2 only.
    #[inline]
    pub(super) fn append(&self, stamp: Stamp, packet_id: u16, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[from..];
        if let Some(at) = self.stamp_at {
            packet[at..at + STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
        }
        if let Some(at) = self.id_at {
            packet[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        self.topics.write(stamp, &mut packet[self.topic_at.clone()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Decoded, Decoder, MAXIMUM_PACKET_SIZE, Sender};

    const STAMP: Stamp = Stamp { publisher: 5, number: 1234, due: 77 };

    #[test]
    fn a_copy_is_the_packet_that_the_codec_would_write() {
        for version in [ProtocolVersion::V3, ProtocolVersion::V4, ProtocolVersion::V5] {
            for (qos, id) in [(QoS::AtMostOnce, None), (QoS::AtLeastOnce, Some(0x0102)), (QoS::ExactlyOnce, Some(9))] {
                let kind = MessageKind {
                    version,
                    topic: "a/b/00000000",
                    qos,
                    retain: true,
                    payload_bytes: 200,
                    topics: Topics::Numbered,
                };
                let template = Template::new(&kind);
                let mut bytes = Vec::new();
                template.append(STAMP, id.unwrap_or(0), &mut bytes);
                assert_eq!(bytes.len(), template.len());
                let decoder = Decoder {
                    version,
                    sender: Sender::Client,
                    maximum_packet_size: MAXIMUM_PACKET_SIZE,
                    connected: true,
                };
                let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) = decoder.decode(&bytes) else {
                    panic!("{bytes:?}")
                };
                assert_eq!((publish.topic, publish.qos, publish.retain), ("a/b/00001234", qos, true));
                assert_eq!(publish.packet_id.map(PacketId::get), id);
                let mut payload = vec![b'm'; 200];
                payload[..STAMP_BYTES].copy_from_slice(&STAMP.to_bytes());
                assert_eq!(publish.payload, payload);
            }
        }
    }

    #[test]
    fn an_empty_payload_has_no_stamp() {
        let kind = MessageKind {
            version: ProtocolVersion::V4,
            topic: "a",
            qos: QoS::AtMostOnce,
            retain: true,
            payload_bytes: 0,
            topics: Topics::One,
        };
        let mut bytes = Vec::new();
        Template::new(&kind).append(STAMP, 0, &mut bytes);
        assert_eq!(bytes, b"\x31\x03\0\x01a");
    }
}
