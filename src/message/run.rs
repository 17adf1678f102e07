//! Messages that go the same way: what one client publishes to one topic in one turn, encoded one behind the other.
//!
//! However many they are, they are one allocation, and a copy for one more subscriber costs a counter. At QoS 0 most
//! subscribers get the bytes as they stand here.

mod packets;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::OnceLock;

use triomphe::ThinArc;

use super::{
    BrokerTime, Delivery, Draft, GroupId, Header as MessageHeader, Message, PublisherId, RowId, SubscriptionIds,
    version_of,
};
use crate::packet::{EncodedPublish, ProtocolVersion};
use crate::topic::QoS;
pub use packets::RunPackets;

/// So many bytes make a run full: it stays in memory as a whole while one of its messages waits or is in flight. A longer
/// packet gains nothing from a run, so a run has less than twice as much.
const BYTES_MAX: usize = 16 * 1024;
/// So many messages make it full, too.
pub const RUN_MESSAGES_MAX: u32 = 1024;
/// More than all messages of a run count for in limits.
pub const RUN_SIZE_MAX: u64 = 2 * BYTES_MAX as u64 + RUN_MESSAGES_MAX as u64 * Message::size_of(0) as u64;

#[derive(Clone, Debug)]
struct Header {
    expires_at: BrokerTime,
    publisher: PublisherId,
    qos: QoS,
    is_v5: bool,
    /// Where the topic is in the first packet.
    topic_start: u8,
    topic_len: u16,
    messages: u16,
    /// Of all of them, as [`Message::size`] counts.
    size: u32,
    payload_bytes: u64,
    /// The longest packet.
    packet_bytes_max: u32,
}

impl Header {
    fn topic(&self) -> Range<usize> {
        let start = usize::from(self.topic_start);
        start..start + usize::from(self.topic_len)
    }
}

/// A portion of a run keeps so many times its own size at most in memory, as a portion that waits long may; twice that
/// where the run is there in both versions.
const SIZES_KEPT_MAX: u64 = 4;

/// Some messages, none of them retained. Cloning shares them.
#[derive(Clone, Debug)]
pub struct MessageRun(ThinArc<Whole, u8>);

#[derive(Debug)]
struct Whole {
    header: Header,
    /// The same messages, once somebody gets them in the other version.
    in_other_version: OnceLock<MessageRun>,
}

impl Whole {
    fn new(header: Header) -> Self {
        Whole { header, in_other_version: OnceLock::new() }
    }
}

/// Where a run is put together.
#[derive(Debug, Default)]
pub struct RunBuilder {
    /// There while there are messages.
    header: Option<Header>,
    packets: Vec<u8>,
}

impl RunBuilder {
    /// Whether the message may stand in a run at all.
    pub fn takes(message: &Draft) -> bool {
        let is_small = message.header.apart.is_none() && message.packet.len() <= BYTES_MAX;
        is_small && !message.retain()
    }

    pub fn len(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| header.messages.into())
    }

    pub fn is_empty(&self) -> bool {
        self.header.is_none()
    }

    /// Whether there is room for more.
    pub fn is_full(&self) -> bool {
        self.packets.len() >= BYTES_MAX || self.len() >= u64::from(RUN_MESSAGES_MAX)
    }

    /// Whether a message that a run takes can stand in this one.
    pub fn goes_on_with(&self, message: &Draft) -> bool {
        let (Some(header), other) = (&self.header, &message.header) else { return false };
        self.packets[header.topic()] == *message.topic_bytes()
            && (header.expires_at, header.publisher) == (other.expires_at, other.publisher)
            && (header.qos, header.is_v5) == (other.qos, other.is_v5)
    }

    /// Puts a message last that can stand here, or is the first. Not when it is full.
    pub fn push(&mut self, message: &Draft) {
        debug_assert!(!self.is_full());
        let (packet, of) = (&message.packet, &message.header);
        let header = self.header.get_or_insert(Header {
            expires_at: of.expires_at,
            publisher: of.publisher,
            qos: of.qos,
            is_v5: of.is_v5,
            topic_start: of.topic_start,
            topic_len: of.topic_len,
            messages: 0,
            size: 0,
            payload_bytes: 0,
            packet_bytes_max: 0,
        });
        header.messages += 1;
        header.size += message.size() as u32;
        header.payload_bytes += message.payload_len() as u64;
        header.packet_bytes_max = header.packet_bytes_max.max(packet.len() as u32);
        self.packets.extend_from_slice(packet);
    }

    /// Everything so far; the buffer stays. `None` when there is nothing.
    pub fn finish(&mut self) -> Option<MessageRun> {
        let header = self.header.take()?;
        let run = MessageRun(ThinArc::from_header_and_slice(Whole::new(header), &self.packets));
        self.packets.clear();
        Some(run)
    }
}

impl MessageRun {
    fn header(&self) -> &Header {
        &self.0.header.header.header
    }

    pub fn len(&self) -> u64 {
        self.header().messages.into()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packets, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    pub fn publisher(&self) -> PublisherId {
        self.header().publisher
    }

    pub fn expires_at(&self) -> BrokerTime {
        self.header().expires_at
    }

    /// The QoS they were published with.
    pub fn qos(&self) -> QoS {
        self.header().qos
    }

    fn version(&self) -> ProtocolVersion {
        version_of(self.header().is_v5)
    }

    fn topic(&self) -> &str {
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    pub fn topic_bytes(&self) -> &[u8] {
        &self.bytes()[self.header().topic()]
    }

    /// Each alone.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        self.members(0).take(self.header().messages.into()).map(|member| self.message(&member))
    }

    fn message(&self, member: &Member<'_>) -> Message {
        let (of, packet) = (self.header(), &member.packet);
        let header = MessageHeader {
            expires_at: of.expires_at,
            publisher: of.publisher,
            apart: None,
            forward_len: member.forward.len() as u32,
            payload_start: packet.payload_start as u32,
            topic_len: of.topic_len,
            topic_start: packet.topic.start as u8,
            qos: of.qos,
            retain: false,
            is_v5: of.is_v5,
        };
        Message(ThinArc::from_header_and_slice(header, packet.bytes))
    }

    /// Those from that offset on.
    fn members(&self, mut at: usize) -> impl Iterator<Item = Member<'_>> {
        std::iter::from_fn(move || {
            let member = (at < self.bytes().len()).then(|| self.member(at))?;
            at = member.payload.end;
            Some(member)
        })
    }

    /// The one that begins there.
    // Said to be inlined: what it makes stays in registers, where a struct in memory is waited for.
    #[inline(always)]
    pub fn member(&self, at: usize) -> Member<'_> {
        let topic_len = usize::from(self.header().topic_len);
        let (packet, forward) = EncodedPublish::first_of(&self.bytes()[at..], topic_len, self.version());
        let payload = at + packet.payload_start..at + packet.bytes.len();
        Member { at: at as u32, packet, forward, payload }
    }
}

/// One message of a run.
pub struct Member<'a> {
    /// Where in the run's bytes it is.
    pub at: u32,
    pub packet: EncodedPublish<'a>,
    /// As [`Message::forward`].
    pub forward: &'a [u8],
    /// Where in the run's bytes its payload is; the next message begins behind it.
    pub payload: Range<usize>,
}

/// Messages of a run that stand one behind the other in it, on their way to one session or waiting in a group.
#[derive(Clone, Debug)]
pub struct RunDelivery {
    pub run: MessageRun,
    pub subscription_ids: SubscriptionIds,
    /// The group they were taken from, to which they may return.
    pub group: Option<GroupId>,
    /// What they count for in limits.
    size: u32,
    /// Where the first begins and the last ends: a run has less than 32 KiB.
    from: u16,
    to: u16,
    left: u16,
    /// The QoS of these copies: the lower of the messages' and the subscription's.
    pub qos: QoS,
}

impl RunDelivery {
    pub fn new(run: MessageRun, qos: QoS, subscription_ids: SubscriptionIds) -> Self {
        RunDelivery {
            subscription_ids,
            group: None,
            size: run.header().size,
            from: 0,
            to: run.bytes().len() as u16,
            left: run.header().messages,
            qos: qos.min(run.qos()), // [MQTT-3.8.4-8]
            run,
        }
    }

    /// Makes copies of a group those of a member's subscription.
    pub fn own(self, qos: QoS, subscription_ids: SubscriptionIds) -> RunDelivery {
        RunDelivery { qos: self.qos.min(qos), subscription_ids, ..self.with_little_else() } // [MQTT-4.8.2-3]
    }

    /// Lets go of a run that takes more than some times what these messages count for.
    fn with_little_else(self) -> RunDelivery {
        if self.run.bytes().len() as u64 <= SIZES_KEPT_MAX * self.size() {
            return self;
        }
        let members = || self.members();
        let header = Header {
            topic_start: members().next().map_or(0, |first| first.packet.topic.start as u8),
            messages: self.left,
            size: self.size,
            payload_bytes: self.payload_bytes(),
            packet_bytes_max: members().map(|member| member.packet.bytes.len() as u32).max().unwrap_or_default(),
            ..self.run.header().clone()
        };
        let bytes = &self.run.bytes()[self.from.into()..self.to.into()];
        let run = MessageRun(ThinArc::from_header_and_slice(Whole::new(header), bytes));
        RunDelivery { from: 0, to: bytes.len() as u16, run, ..self }
    }

    pub fn len(&self) -> u64 {
        self.left.into()
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    pub fn topic(&self) -> &str {
        self.run.topic()
    }

    pub fn expires_at(&self) -> BrokerTime {
        self.run.expires_at()
    }

    fn is_whole(&self) -> bool {
        self.left == self.run.header().messages
    }

    /// What they count for in limits.
    pub fn size(&self) -> u64 {
        self.size.into()
    }

    pub fn payload_bytes(&self) -> u64 {
        match self.is_whole() {
            true => self.run.header().payload_bytes,
            false => self.members().map(|member| member.payload.len() as u64).sum(),
        }
    }

    fn size_of(&self, member: &Member<'_>) -> u32 {
        let topic_len = usize::from(self.run.header().topic_len);
        Message::size_of(topic_len + member.forward.len() + member.payload.len()) as u32
    }

    /// Takes out the first; returns its size.
    pub fn drop_first(&mut self) -> u64 {
        let first = self.first(1, u64::MAX);
        self.skip(&first);
        first.size()
    }

    /// The first: at most so many, which count for at most so much.
    pub fn first(&self, messages_max: u32, size_max: u64) -> RunDelivery {
        if messages_max >= self.left.into() && size_max >= self.size() {
            return self.clone();
        }
        let mut first = RunDelivery { to: self.from, size: 0, left: 0, ..self.clone() };
        for member in self.members().take(messages_max as usize) {
            let size = first.size + self.size_of(&member);
            if u64::from(size) > size_max {
                break;
            }
            (first.to, first.size, first.left) = (member.payload.end as u16, size, first.left + 1);
        }
        first
    }

    /// Takes out the first, which are these.
    pub fn skip(&mut self, first: &RunDelivery) {
        self.from = first.to;
        self.size -= first.size;
        self.left -= first.left;
    }

    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.run.members(self.from.into()).take(self.left.into())
    }

    /// The same where many are sent: each stays in registers.
    #[inline]
    pub fn for_each_member(&self, mut each: impl FnMut(&Member<'_>)) {
        let mut at = self.from.into();
        for _ in 0..self.left {
            let member = self.run.member(at);
            at = member.payload.end;
            each(&member);
        }
    }

    /// Each as a delivery of its own.
    pub fn deliveries(&self) -> impl Iterator<Item = Delivery> {
        self.deliveries_from(0)
    }

    fn deliveries_from(&self, skip: usize) -> impl Iterator<Item = Delivery> {
        self.members().skip(skip).map(|member| self.delivery(&member))
    }

    fn delivery(&self, member: &Member<'_>) -> Delivery {
        Delivery {
            message: self.run.message(member),
            qos: self.qos,
            retain: false,
            subscription_ids: self.subscription_ids.clone(),
            group: self.group,
            row: RowId::NONE,
        }
    }

    /// The one at that [`Member::at`].
    pub fn delivery_at(&self, at: u32) -> Delivery {
        self.delivery(&self.run.member(at as usize))
    }

    /// Whether they are messages of the same run, for the same subscriptions.
    pub fn is_like(&self, other: &RunDelivery) -> bool {
        std::ptr::eq(self.run.bytes(), other.run.bytes())
            && (self.group, self.qos) == (other.group, other.qos)
            && self.subscription_ids == other.subscription_ids
    }
}

/// What stands in the queue of a session or a group.
#[derive(Clone, Debug)]
pub enum Queued {
    One(Delivery),
    Run(RunDelivery),
}

impl Queued {
    pub fn messages(&self) -> u32 {
        match self {
            Queued::One(_) => 1,
            Queued::Run(run) => run.left.into(),
        }
    }

    /// What they count for in limits.
    pub fn size(&self) -> u64 {
        match self {
            Queued::One(delivery) => delivery.message.size() as u64,
            Queued::Run(run) => run.size(),
        }
    }

    /// Of all of them.
    pub fn expires_at(&self) -> BrokerTime {
        match self {
            Queued::One(delivery) => delivery.message.expires_at(),
            Queued::Run(run) => run.expires_at(),
        }
    }

    /// QoS 1 or 2.
    pub fn is_acked(&self) -> bool {
        let qos = match self {
            Queued::One(delivery) => delivery.qos,
            Queued::Run(run) => run.qos,
        };
        qos != QoS::AtMostOnce
    }

    pub fn one(&self) -> Option<&Delivery> {
        match self {
            Queued::One(delivery) => Some(delivery),
            Queued::Run(_) => None,
        }
    }

    /// The group they were taken from.
    pub fn group(&self) -> Option<GroupId> {
        match self {
            Queued::One(delivery) => delivery.group,
            Queued::Run(run) => run.group,
        }
    }

    /// Takes out the first of a queue: of a run so many messages at most, which count for so much, or one.
    pub fn pop_first(queue: &mut VecDeque<Queued>, messages_max: u32, size_max: u64) -> Option<Queued> {
        let Queued::Run(run) = queue.front_mut()? else { return queue.pop_front() };
        let mut first = run.first(messages_max, size_max);
        if first.is_empty() {
            first = run.first(1, u64::MAX);
        }
        run.skip(&first);
        if run.is_empty() {
            queue.pop_front();
        }
        Some(Queued::Run(first))
    }

    /// Each message alone, but for the first `skip`.
    pub fn deliveries_from(&self, skip: usize) -> impl Iterator<Item = Delivery> {
        let (one, run) = match self {
            Queued::One(delivery) => (Some(delivery).filter(|_| skip == 0), None),
            Queued::Run(run) => (None, Some(run)),
        };
        let members = run.into_iter().flat_map(move |run| run.deliveries_from(skip));
        one.cloned().into_iter().chain(members)
    }

    /// Each message alone.
    pub fn deliveries(&self) -> impl Iterator<Item = Delivery> {
        self.deliveries_from(0)
    }
}
