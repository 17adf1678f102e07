//! What a broker sends, as far as a load has to know of it.
//!
//! A PUBLISH is looked at up to the stamp that its payload begins with; what follows is counted and let go, so that a
//! payload of any size takes no memory. Acknowledgements are two numbers. The rest is rare, and the codec reads it.

use std::borrow::Cow;

use super::fault::Fault;
use super::stamp::{STAMP_BYTES, Stamp};
use crate::packet::{
    Decoded, Decoder, MAXIMUM_PACKET_SIZE, Packet, PacketType, ProtocolVersion, QoS, ReasonCode, Sender,
};

/// What is kept of a packet until there is enough of it. Only a PUBLISH is larger, and that is not kept.
pub(super) const TAIL_BYTES_MAX: usize = 128 * 1024;

#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A message that has come whole.
    Publish(Arrival),
    Ack(Acknowledged),
    Pong,
    /// Boxed: all events are moved about, and this one is rare.
    Other(Box<Packet<'a>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) qos: QoS,
    /// 0 at QoS 0.
    pub(super) packet_id: u16,
    pub(super) payload_bytes: usize,
    /// `None` when the payload is too short for one.
    pub(super) stamp: Option<Stamp>,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) packet_type: PacketType,
    pub(super) packet_id: u16,
    /// Success in MQTT 3.x.
    pub(super) reason: ReasonCode,
}

/// Reads one connection.
pub(super) struct Incoming {
    version: ProtocolVersion,
    /// The beginning of a packet of which there is too little.
    tail: Vec<u8>,
    /// A message whose payload has not come whole, and how many bytes of it have not.
    rest: Option<(Arrival, usize)>,
}

impl Incoming {
    pub(super) fn new(version: ProtocolVersion) -> Incoming {
        Incoming { version, tail: Vec::new(), rest: None }
    }

    /// What has to stand before the bytes that are read next.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Takes all of `bytes`, which begin with the tail.
    pub(super) fn read(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(), Fault> {
        self.tail.clear();
        let mut bytes = self.read_rest(bytes, on);
        while let Some(first) = bytes.first() {
            let Some((remaining, head)) = varint(bytes, 1)? else { return self.keep(bytes) };
            let len = head + remaining;
            if first >> 4 == PacketType::Publish as u8 {
                let Some(arrival) = self.arrival(bytes, head, len)? else { return self.keep(bytes) };
                if len > bytes.len() {
                    self.rest = Some((arrival, len - bytes.len()));
                    break;
                }
                on(Event::Publish(arrival));
            } else {
                let Some(packet) = bytes.get(..len) else { return self.keep(bytes) };
                on(self.event(packet, head)?);
            }
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// There is too little of a packet.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() > TAIL_BYTES_MAX {
            return Err(not_mqtt("a packet without an end").into());
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }

    fn read_rest<'a>(&mut self, bytes: &'a [u8], on: &mut impl FnMut(Event<'_>)) -> &'a [u8] {
        let Some((arrival, missing)) = self.rest.take() else { return bytes };
        let taken = missing.min(bytes.len());
        if taken == missing {
            on(Event::Publish(arrival));
        } else {
            self.rest = Some((arrival, missing - taken));
        }
        &bytes[taken..]
    }

    /// The message that `bytes` begin with; `None` when they end before its stamp does.
    #[inline]
    fn arrival(&self, bytes: &[u8], head: usize, len: usize) -> Result<Option<Arrival>, NotMqtt> {
        let packet = &bytes[..len.min(bytes.len())];
        let arrival = self.arrival_so_far(packet, head, len)?;
        if arrival.is_none() && packet.len() == len {
            return Err(not_mqtt("a PUBLISH that ends in its head"));
        }
        Ok(arrival)
    }

    #[inline]
    fn arrival_so_far(&self, packet: &[u8], head: usize, len: usize) -> Result<Option<Arrival>, NotMqtt> {
        let Some(topic) = u16_at(packet, head) else { return Ok(None) };
        let mut at = head + 2 + usize::from(topic);
        let Some(qos) = QoS::from_bits(packet[0] >> 1 & 0b11) else { return Err(not_mqtt("a PUBLISH with QoS 3")) };
        let mut packet_id = 0;
        if qos != QoS::AtMostOnce {
            let Some(id) = u16_at(packet, at) else { return Ok(None) };
            packet_id = id;
            at += 2;
        }
        if self.version == ProtocolVersion::V5 {
            let Some((properties, end)) = varint(packet, at)? else { return Ok(None) };
            at = end + properties;
        }
        let Some(payload_bytes) = len.checked_sub(at) else {
            return Err(not_mqtt("a PUBLISH whose head is longer than the packet"));
        };
        let stamp = match packet.get(at..).and_then(|payload| payload.first_chunk::<STAMP_BYTES>()) {
            Some(stamp) => Some(Stamp::from_bytes(*stamp)),
            None if payload_bytes >= STAMP_BYTES || packet.len() < len => return Ok(None),
            None => None,
        };
        Ok(Some(Arrival { qos, packet_id, payload_bytes, stamp }))
    }

    fn event<'a>(&self, packet: &'a [u8], head: usize) -> Result<Event<'a>, NotMqtt> {
        Ok(match packet[0] >> 4 {
            4..=7 => Event::Ack(self.acknowledged(packet, head)?),
            13 => Event::Pong,
            _ => Event::Other(Box::new(self.other(packet)?)),
        })
    }

    #[inline]
    fn acknowledged(&self, packet: &[u8], head: usize) -> Result<Acknowledged, NotMqtt> {
        let (packet_type, packet_id) = (PacketType::from_bits(packet[0] >> 4), u16_at(packet, head));
        let reason = ReasonCode::from_u8(packet.get(head + 2).copied().unwrap_or(0));
        match (packet_type, packet_id, reason) {
            (Some(packet_type), Some(packet_id), Some(reason)) => Ok(Acknowledged { packet_type, packet_id, reason }),
            _ => Err(not_mqtt("an acknowledgement that is none")),
        }
    }

    fn other<'a>(&self, packet: &'a [u8]) -> Result<Packet<'a>, NotMqtt> {
        let decoder = Decoder {
            version: self.version,
            sender: Sender::Server,
            maximum_packet_size: MAXIMUM_PACKET_SIZE,
            connected: true,
        };
        match decoder.decode(packet) {
            Ok(Decoded::Packet { packet, .. }) => Ok(packet),
            Ok(Decoded::Incomplete { .. }) => Err(not_mqtt("a packet with two lengths")),
            Err(error) => Err(NotMqtt(error.to_string().into())),
        }
    }
}

/// What is wrong with the bytes; smaller than a [`Fault`], since a result of it is made for every message.
struct NotMqtt(Cow<'static, str>);

impl From<NotMqtt> for Fault {
    fn from(NotMqtt(what): NotMqtt) -> Fault {
        Fault::NotMqtt(what.into_owned())
    }
}

fn not_mqtt(what: &'static str) -> NotMqtt {
    NotMqtt(what.into())
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// A variable byte integer, and where it ends; `None` when the bytes end before it does.
#[inline]
fn varint(bytes: &[u8], at: usize) -> Result<Option<(usize, usize)>, NotMqtt> {
    let mut value = 0;
    for length in 0..4 {
        let Some(&byte) = bytes.get(at + length) else { return Ok(None) };
        value |= usize::from(byte & 0x7F) << (7 * length);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + length + 1)));
        }
    }
    Err(not_mqtt("a length of more than four bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{ConnAck, Publish, PublishProperties, encode_ack};

    fn publish(version: ProtocolVersion, qos: QoS, number: u64, payload_bytes: usize) -> Vec<u8> {
        let mut payload = vec![7; payload_bytes];
        let stamp = Stamp { publisher: 3, number, due: 9 };
        payload.iter_mut().zip(stamp.to_bytes()).for_each(|(byte, of_stamp)| *byte = of_stamp);
        let packet = Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic: "a/topic",
            packet_id: if qos == QoS::AtMostOnce { None } else { std::num::NonZeroU16::new(number as u16 + 1) },
            properties: PublishProperties { raw: &[0x01, 0x01], ..PublishProperties::default() },
            payload: &payload,
        });
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes);
        bytes
    }

    /// What a broker might send: messages of all sizes between other packets.
    fn stream(version: ProtocolVersion) -> Vec<u8> {
        let mut bytes = Vec::new();
        Packet::ConnAck(ConnAck::default()).encode(version, &mut bytes);
        for (number, size) in [16, 0, 100, 15, 3000, 17].into_iter().enumerate() {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                bytes.extend(publish(version, qos, number as u64, size));
            }
            let id = std::num::NonZeroU16::new(number as u16 + 300).unwrap();
            encode_ack(PacketType::PubRec, id, ReasonCode::QuotaExceeded, version, &mut bytes);
            Packet::PingResp.encode(version, &mut bytes);
        }
        bytes
    }

    fn read(version: ProtocolVersion, pieces: &[&[u8]]) -> Result<Vec<String>, Fault> {
        let (mut incoming, mut events) = (Incoming::new(version), Vec::new());
        for piece in pieces {
            let bytes = [incoming.tail(), piece].concat();
            incoming.read(&bytes, &mut |event| events.push(format!("{event:?}")))?;
        }
        Ok(events)
    }

    #[test]
    fn a_message_is_its_stamp_and_its_size() {
        let mut found = None;
        let bytes = publish(ProtocolVersion::V5, QoS::ExactlyOnce, 41, 20);
        Incoming::new(ProtocolVersion::V5).read(&bytes, &mut |event| found = Some(format!("{event:?}"))).unwrap();
        let stamp = Some(Stamp { publisher: 3, number: 41, due: 9 });
        let expected = Arrival { qos: QoS::ExactlyOnce, packet_id: 42, payload_bytes: 20, stamp };
        assert_eq!(found.unwrap(), format!("Publish({expected:?})"));
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_is_read_alike(mut cuts in prop::collection::vec(0usize..10_000, 0..30)) {
            for version in [ProtocolVersion::V3, ProtocolVersion::V4, ProtocolVersion::V5] {
                let bytes = stream(version);
                cuts.iter_mut().for_each(|cut| *cut %= bytes.len());
                cuts.sort_unstable();
                let ends = cuts.iter().copied().chain([bytes.len()]);
                let mut from = 0;
                let pieces: Vec<_> = ends.map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect();
                let whole = read(version, &[&bytes]).unwrap();
                prop_assert_eq!(whole.len(), 1 + 6 * 5);
                prop_assert_eq!(read(version, &pieces).unwrap(), whole);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for version in [ProtocolVersion::V4, ProtocolVersion::V5] {
                let _ = read(version, &[&bytes]);
            }
        }
    }

    #[test]
    fn a_payload_of_any_size_is_not_kept() {
        let bytes = publish(ProtocolVersion::V4, QoS::AtMostOnce, 0, 1_000_000);
        let mut incoming = Incoming::new(ProtocolVersion::V4);
        let mut count = 0;
        for piece in bytes.chunks(1000) {
            let bytes = [incoming.tail(), piece].concat();
            incoming.read(&bytes, &mut |_| count += 1).unwrap();
            assert!(incoming.tail.is_empty());
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn what_is_no_mqtt_is_said() {
        let told = |bytes: &[u8]| read(ProtocolVersion::V4, &[bytes]).unwrap_err().to_string();
        for (bytes, what) in [
            (&b"\x36\x05\0\x01a\0\x01"[..], "QoS 3"),
            (b"\x30\x02\0\x05", "head"),
            (b"\x30\xFF\xFF\xFF\xFF\x01", "length"),
            (b"\x40\x01\0", "acknowledgement"),
            (b"\x10\x00", "CONNECT"),
        ] {
            assert!(told(bytes).contains(what), "{}", told(bytes));
        }
    }
}
