//! What a turn has to write to the socket: encoded packets in one buffer, large ones by reference.

use std::io::IoSlice;
use std::ops::Range;

use smallvec::SmallVec;

use crate::message::{Delivery, Member, Message, MessageRun, RunPackets};
use crate::packet::{EncodedPublish, Packet, PacketId, PacketType, ProtocolVersion, QoS, ReasonCode, encode_ack};

/// What has this size or more is written from the message itself instead of being copied.
const BY_REFERENCE_BYTES: usize = 4 * 1024;

/// Pieces of one vectored write: it takes no more than there is room for without an allocation.
pub type Slices<'a> = SmallVec<[IoSlice<'a>; 64]>;

/// What is written where it is.
enum Source {
    Packet(Message),
    Payload(Message),
    Run(MessageRun, Range<usize>),
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Packet(message) => message.encoded_bytes(),
            Source::Payload(message) => message.payload(),
            Source::Run(run, range) => &run.bytes()[range.clone()],
        }
    }
}

/// Something that is not copied.
struct Reference {
    /// Where it belongs: in front of what stands at this offset of the buffer.
    at: usize,
    source: Source,
}

/// Bytes on their way out, in order.
#[derive(Default)]
pub struct Output {
    buf: Vec<u8>,
    /// In ascending order.
    references: Vec<Reference>,
    /// Of all of them.
    referred_bytes: usize,
    /// Packets encoded since [`Output::clear`].
    pub packets: u64,
    /// QoS 0 messages among them: delivered once the kernel has them.
    pub qos0_messages: u64,
}

impl Output {
    pub fn len(&self) -> usize {
        self.buf.len() + self.referred_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&mut self) {
        self.buf.clear();
        self.references.clear();
        self.referred_bytes = 0;
        self.packets = 0;
        self.qos0_messages = 0;
    }

    /// Gives back memory that an unusually large turn took.
    pub fn shrink(&mut self, bytes_kept: usize) {
        if self.buf.capacity() > bytes_kept {
            self.buf = Vec::new();
        }
    }

    pub(super) fn packet(&mut self, packet: &Packet<'_>, version: ProtocolVersion) {
        packet.encode(version, &mut self.buf);
        self.packets += 1;
    }

    /// No Reason String and no User Property, so there is none that could make it too large ([MQTT-3.6.2-2],
    /// [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3]).
    pub(super) fn ack(
        &mut self,
        kind: PacketType,
        packet_id: PacketId,
        reason_code: ReasonCode,
        version: ProtocolVersion,
    ) {
        encode_ack(kind, packet_id, reason_code, version, &mut self.buf);
        self.packets += 1;
    }

    /// Where the head of a PUBLISH goes; its payload follows with [`Output::payload`].
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.packets += 1;
        &mut self.buf
    }

    pub(super) fn payload(&mut self, message: &Message) {
        let payload = message.payload();
        if payload.len() < BY_REFERENCE_BYTES {
            self.buf.extend_from_slice(payload);
        } else {
            self.refer(Source::Payload(message.clone()));
        }
    }

    fn refer(&mut self, source: Source) {
        self.referred_bytes += source.bytes().len();
        self.references.push(Reference { at: self.buf.len(), source });
    }

    /// So many messages of QoS 0 as their packets stand there.
    pub(super) fn run(&mut self, messages: u64, packets: &RunPackets<'_>) {
        self.packets += messages;
        self.qos0_messages += messages;
        self.part_of_run(packets.run, packets.range.clone());
    }

    /// One message of a run, with what is this delivery's own.
    pub(super) fn member(&mut self, run: &MessageRun, member: &Member<'_>, qos: QoS, packet_id: Option<PacketId>) {
        if member.payload.len() < BY_REFERENCE_BYTES {
            member.packet.encode(false, qos, false, packet_id, self.buffer());
            return;
        }
        member.packet.up_to_payload().encode(false, qos, false, packet_id, self.buffer());
        self.part_of_run(run, member.payload.clone());
    }

    pub(super) fn part_of_run(&mut self, run: &MessageRun, range: Range<usize>) {
        if range.len() < BY_REFERENCE_BYTES {
            self.buf.extend_from_slice(&run.bytes()[range]);
        } else {
            self.refer(Source::Run(run.clone(), range));
        }
    }

    /// A PUBLISH as its message has it, with the flags of this delivery.
    pub(super) fn publish(
        &mut self,
        packet: &EncodedPublish<'_>,
        delivery: &Delivery,
        dup: bool,
        packet_id: Option<PacketId>,
    ) {
        let is_large = packet.bytes.len() >= BY_REFERENCE_BYTES;
        let is_alike = packet_id.is_none() && !delivery.retain && packet.payload_after == 0;
        if is_large && is_alike {
            self.packets += 1;
            self.refer(Source::Packet(delivery.message.clone()));
            return;
        }
        let packet = if is_large { &packet.up_to_payload() } else { packet };
        packet.encode(dup, delivery.qos, delivery.retain, packet_id, self.buffer());
        if packet.payload_after > 0 {
            self.payload(&delivery.message);
        }
    }

    /// Adds the bytes in `range`, or the first of them, to `slices`, as many as it has room for in itself.
    pub fn fill_slices<'a>(&'a self, range: Range<usize>, slices: &mut Slices<'a>) {
        let (mut skip, mut left) = (range.start, range.len());
        let mut push = |bytes: &'a [u8]| {
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            let taken = left.min(bytes.len() - skipped);
            if taken > 0 && slices.len() < slices.inline_size() {
                slices.push(IoSlice::new(&bytes[skipped..skipped + taken]));
                left -= taken;
            }
        };
        let mut from = 0;
        for reference in &self.references {
            push(&self.buf[from..reference.at]);
            push(reference.source.bytes());
            from = reference.at;
        }
        push(&self.buf[from..]);
    }

    /// Puts everything of `later` behind this.
    pub fn append(&mut self, later: &mut Output) {
        let from = self.buf.len();
        self.buf.append(&mut later.buf);
        let references = later.references.drain(..);
        self.references.extend(references.map(|reference| Reference { at: from + reference.at, ..reference }));
        self.referred_bytes += later.referred_bytes;
        self.packets += later.packets;
        self.qos0_messages += later.qos0_messages;
        later.clear();
    }

    /// Takes everything out, into no more room than it needs; the buffer stays.
    pub fn take_exact(&mut self) -> Output {
        let mut taken = Output::default();
        taken.append(self);
        taken
    }

    /// Takes everything out, for a socket that does not take it now.
    pub fn split_off(&mut self) -> Output {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BrokerTime, MessageParts, PublisherId};
    use crate::topic::QoS;

    fn message(payload: &[u8]) -> Message {
        Message::new(&MessageParts {
            topic_prefix: "",
            topic: "t",
            forward: &[],
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            expires_at: BrokerTime::NEVER,
            publisher: PublisherId(1),
        })
    }

    #[test]
    fn a_large_packet_is_referred_to_as_a_whole_where_it_is_alike_for_all() {
        use crate::message::{RowId, SubscriptionIds};
        let large = vec![7u8; BY_REFERENCE_BYTES];
        for (retain, packet_id, copied) in
            [(false, None, 0), (true, None, 6), (false, crate::packet::PacketId::new(9), 8)]
        {
            let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let (message, subscription_ids) = (message(&large), SubscriptionIds::None);
            let delivery = Delivery { message, qos, retain, subscription_ids, group: None, row: RowId::NONE };
            let mut out = Output::default();
            let packet = delivery.message.encoded(ProtocolVersion::V4).expect("of this version");
            out.publish(&packet, &delivery, false, packet_id);
            let mut slices = Slices::new();
            out.fill_slices(0..out.len(), &mut slices);
            let got: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let mut expected = Vec::new();
            packet.encode(false, qos, retain, packet_id, &mut expected);
            assert!(got == expected && out.packets == 1 && !out.is_empty());
            assert_eq!(out.buf.len(), copied);
        }
    }

    #[test]
    fn small_and_large_payloads_come_out_in_order_from_and_to_any_offset() {
        let large = vec![7u8; BY_REFERENCE_BYTES];
        let mut out = Output::default();
        out.buffer().extend_from_slice(b"head1");
        out.payload(&message(&large));
        out.buffer().extend_from_slice(b"head2");
        out.payload(&message(b"small"));
        out.payload(&message(&large));
        let expected = [&b"head1"[..], &large, b"head2small", &large].concat();
        assert_eq!(out.len(), expected.len());
        let offsets = [0, 3, 5, 6, 5 + BY_REFERENCE_BYTES, 8 + BY_REFERENCE_BYTES, expected.len() - 1, expected.len()];
        for (start, end) in offsets.iter().flat_map(|start| offsets.map(|end| (*start, end))).filter(|(s, e)| s <= e) {
            let mut slices = Slices::new();
            out.fill_slices(start..end, &mut slices);
            let got: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(got, expected[start..end], "{start}..{end}");
        }
    }
}
