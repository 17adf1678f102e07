//! The Application Message: immutable, shared by every queue it stands in.
//!
//! Topic, forwarded properties and payload stand in one buffer behind a thin reference-counted pointer, so that a copy
//! for one more subscriber costs a counter and eight bytes. They stand there as the PUBLISH that most subscribers get, so
//! that it is encoded once. A large payload stays where it was read. Also here, since router and protocol both speak of
//! them: a [`Delivery`] (one message on its way to one session), [`DropCause`] (why a copy did not arrive) and
//! [`BrokerTime`] (the clock that every deadline counts in).

mod run;

use std::borrow::Cow;
use std::cell::Cell;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use triomphe::ThinArc;

use crate::packet::{EncodedPublish, ProtocolVersion, PublishHead};
use crate::topic::QoS;

pub use run::{Member, MessageRun, Queued, RUN_MESSAGES_MAX, RUN_SIZE_MAX, RunBuilder, RunDelivery, RunPackets};

/// Milliseconds of broker time: never goes backwards, and a wall clock that jumps does not move it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerTime(u64);

impl BrokerTime {
    /// Later than every deadline.
    pub const NEVER: BrokerTime = BrokerTime(u64::MAX);

    pub const fn from_millis(millis: u64) -> Self {
        BrokerTime(millis)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Saturates at [`BrokerTime::NEVER`].
    pub fn after(self, duration: Duration) -> Self {
        BrokerTime(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Saturates at [`BrokerTime::NEVER`].
    pub fn after_secs(self, secs: u32) -> Self {
        BrokerTime(self.0.saturating_add(u64::from(secs) * 1000))
    }

    /// What is left until then, in seconds, rounded up; `None` when it is never.
    pub fn secs_left(self, now: BrokerTime) -> Option<u32> {
        (self != BrokerTime::NEVER)
            .then(|| u32::try_from(self.since(now).as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Zero when `earlier` is not earlier.
    pub fn since(self, earlier: BrokerTime) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Who published: a keyed hash of the client id, so that no local holds for retained messages too, without a string in
/// every message. Zero is the broker itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PublisherId(pub u64);

impl PublisherId {
    /// The broker itself: `$SYS`.
    pub const BROKER: PublisherId = PublisherId(0);
}

/// A shared-subscription group of this broker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub NonZeroU32);

/// What a message is made of.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// Put in front of the topic: a listener's mount point, else empty.
    pub topic_prefix: &'a str,
    pub topic: &'a str,
    /// Validated properties that every receiver gets unaltered.
    pub forward: &'a [u8],
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
    pub expires_at: BrokerTime,
    pub publisher: PublisherId,
}

#[derive(Clone, Debug)]
struct Header {
    expires_at: BrokerTime,
    publisher: PublisherId,
    /// The payload of a large packet: not in the buffer.
    apart: Option<Box<Bytes>>,
    forward_len: u32,
    payload_start: u32,
    topic_len: u16,
    topic_start: u8,
    qos: QoS,
    retain: bool,
    is_v5: bool,
}

impl Header {
    fn topic_range(&self) -> Range<usize> {
        let start = usize::from(self.topic_start);
        start..start + usize::from(self.topic_len)
    }

    fn size(&self, payload_len: usize) -> usize {
        Message::size_of(usize::from(self.topic_len) + self.forward_len as usize + payload_len)
    }
}

/// A message that has just come and that nobody has yet: it becomes a [`Message`], or one of a [`MessageRun`] without having
/// had an allocation of its own.
#[derive(Debug)]
pub struct Draft {
    header: Header,
    /// As in a message.
    packet: Vec<u8>,
}

thread_local! {
    /// Where drafts are put together; kept small between them.
    static ASSEMBLY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What the assembly buffer may keep between drafts.
const ASSEMBLY_BYTES_KEPT: usize = 64 * 1024;

impl Draft {
    /// Encoded for MQTT 3.x, unless it has properties.
    pub fn new(parts: &MessageParts<'_>) -> Self {
        Draft::received(parts, ProtocolVersion::V4, None)
    }

    /// From a PUBLISH of that version, and encoded for it. `packet` is what the payload stands in, which is kept instead of
    /// copied if the payload is most of it.
    // Said to be inlined: what it makes stays in registers, where a struct in memory is waited for.
    #[inline(always)]
    pub fn received(parts: &MessageParts<'_>, version: ProtocolVersion, packet: Option<&Bytes>) -> Self {
        let packet = packet.filter(|packet| parts.payload.len() > packet.len() / 2);
        let topic = match parts.topic_prefix {
            "" => Cow::Borrowed(parts.topic),
            prefix => Cow::Owned(format!("{prefix}{}", parts.topic)),
        };
        let is_v5 = version == ProtocolVersion::V5 || !parts.forward.is_empty();
        let apart = packet.map(|packet| Box::new(packet.slice_ref(parts.payload)));
        let mut packet = ASSEMBLY.take();
        packet.clear();
        let topic = head(&topic, parts.forward, parts.payload.len()).encode(version_of(is_v5), &mut packet);
        let payload_start = packet.len();
        if apart.is_none() {
            packet.extend_from_slice(parts.payload);
        }
        let header = Header {
            expires_at: parts.expires_at,
            publisher: parts.publisher,
            apart,
            forward_len: parts.forward.len() as u32,
            payload_start: payload_start as u32,
            topic_len: topic.len() as u16,
            topic_start: topic.start as u8,
            qos: parts.qos,
            retain: parts.retain,
            is_v5,
        };
        Draft { header, packet }
    }

    pub fn to_message(&self) -> Message {
        Message(ThinArc::from_header_and_slice(self.header.clone(), &self.packet))
    }

    pub fn topic(&self) -> &str {
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    pub fn topic_bytes(&self) -> &[u8] {
        &self.packet[self.header.topic_range()]
    }

    pub fn qos(&self) -> QoS {
        self.header.qos
    }

    pub fn retain(&self) -> bool {
        self.header.retain
    }

    fn payload_len(&self) -> usize {
        let apart = self.header.apart.as_ref().map_or(0, |payload| payload.len());
        self.packet.len() - self.header.payload_start as usize + apart
    }

    /// As [`Message::size`].
    pub fn size(&self) -> usize {
        self.header.size(self.payload_len())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.packet.capacity() <= ASSEMBLY_BYTES_KEPT {
            ASSEMBLY.set(std::mem::take(&mut self.packet));
        }
    }
}

/// An Application Message (section 1.2). Cloning shares it.
#[derive(Clone, Debug)]
pub struct Message(ThinArc<Header, u8>);

impl Message {
    /// Encoded for MQTT 3.x, unless it has properties.
    pub fn new(parts: &MessageParts<'_>) -> Self {
        Draft::new(parts).to_message()
    }

    fn header(&self) -> &Header {
        &self.0.header.header
    }

    pub fn topic(&self) -> &str {
        // The bytes came from a `&str`; checking them again costs less than it would to be wrong.
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    pub fn topic_bytes(&self) -> &[u8] {
        &self.0.slice[self.header().topic_range()]
    }

    /// The properties that every receiver gets unaltered and in order ([MQTT-3.3.2-17], [MQTT-3.3.2-18]).
    pub fn forward(&self) -> &[u8] {
        let header = self.header();
        &self.0.slice[(header.payload_start - header.forward_len) as usize..header.payload_start as usize]
    }

    pub fn payload(&self) -> &[u8] {
        let header = self.header();
        match &header.apart {
            None => &self.0.slice[header.payload_start as usize..],
            Some(payload) => payload,
        }
    }

    /// The PUBLISH that a receiver of this version gets without properties of its own. A payload that is not in the buffer
    /// comes behind it. `None` when it was encoded for another version.
    pub fn encoded(&self, version: ProtocolVersion) -> Option<EncodedPublish<'_>> {
        let header = self.header();
        (header.is_v5 == (version == ProtocolVersion::V5)).then(|| EncodedPublish {
            bytes: &self.0.slice,
            topic: header.topic_range(),
            payload_start: header.payload_start as usize,
            payload_after: header.apart.as_ref().map_or(0, |payload| payload.len()),
        })
    }

    /// The bytes of that.
    pub fn encoded_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        self.header().qos
    }

    /// The RETAIN flag it was published with.
    pub fn retain(&self) -> bool {
        self.header().retain
    }

    pub fn publisher(&self) -> PublisherId {
        self.header().publisher
    }

    /// By its publisher. The broker publishes below `$SYS` alone: a bounded set of topics, kept nowhere but in memory, that
    /// no client may write.
    pub fn is_brokers_own(&self) -> bool {
        self.publisher() == PublisherId::BROKER
    }

    /// [`BrokerTime::NEVER`] without a Message Expiry Interval.
    pub fn expires_at(&self) -> BrokerTime {
        self.header().expires_at
    }

    pub fn is_expired(&self, now: BrokerTime) -> bool {
        now >= self.header().expires_at
    }

    /// What is left of the Message Expiry Interval, in seconds, rounded up; `None` when there is none.
    pub fn remaining_expiry(&self, now: BrokerTime) -> Option<u32> {
        self.expires_at().secs_left(now)
    }

    /// What it counts for in queue and retained limits: topic, properties, payload and its own overhead.
    pub fn size(&self) -> usize {
        self.header().size(self.payload().len())
    }

    /// The size of a message whose topic, properties and payload are together so long.
    pub(crate) const fn size_of(bytes: usize) -> usize {
        bytes + OVERHEAD_BYTES
    }
}

/// PUBLISH as most receivers get it.
fn head<'a>(topic: &'a str, forward: &'a [u8], payload_len: usize) -> PublishHead<'a> {
    PublishHead {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic,
        packet_id: None,
        topic_alias: None,
        message_expiry_interval: None,
        subscription_ids: &[],
        forward,
        payload_len,
    }
}

/// MQTT 3.1 has the PUBLISH of 3.1.1.
fn version_of(is_v5: bool) -> ProtocolVersion {
    if is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V4 }
}

/// Header and counters of one message, and its place in a queue. Sizes stand in stores that are there: it stays what it is.
const OVERHEAD_BYTES: usize = 96;

/// Subscription Identifiers of the subscriptions that matched (section 3.3.2.3.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionIds {
    #[default]
    None,
    One(u32),
    Many(ThinArc<(), u32>),
}

impl SubscriptionIds {
    pub fn from_slice(ids: &[u32]) -> Self {
        match ids {
            [] => SubscriptionIds::None,
            [id] => SubscriptionIds::One(*id),
            many => SubscriptionIds::Many(ThinArc::from_header_and_slice((), many)),
        }
    }

    pub fn as_slice(&self) -> &[u32] {
        match self {
            SubscriptionIds::None => &[],
            SubscriptionIds::One(id) => std::slice::from_ref(id),
            SubscriptionIds::Many(ids) => &ids.slice,
        }
    }
}

/// Whose stored copies they are: a session, or a shared group whose messages wait for a member. Never given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u64);

/// Shared groups count in a half of their own, so that a copy knows its owner from its group.
const GROUP_OWNERS: u64 = 1 << 63;

impl From<GroupId> for OwnerId {
    fn from(group: GroupId) -> OwnerId {
        OwnerId(GROUP_OWNERS | u64::from(group.0.get()))
    }
}

impl OwnerId {
    /// The group, if it is one.
    pub fn group(self) -> Option<GroupId> {
        let number = u32::try_from(self.0 ^ GROUP_OWNERS).ok()?;
        NonZeroU32::new(number).map(GroupId)
    }
}

/// Names a stored message for as long as it is kept: the number of its record. Later messages have higher numbers.
/// Zero is no row: the copy is in memory only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u64);

impl RowId {
    pub const NONE: RowId = RowId(0);

    pub fn is_stored(self) -> bool {
        self != RowId::NONE
    }
}

/// One copy of a message, as it is stored for one owner.
#[derive(Clone, Debug)]
pub struct StoredCopy {
    pub owner: OwnerId,
    pub qos: QoS,
    pub retain: bool,
    pub subscription_ids: SubscriptionIds,
}

/// One message on its way to one session, or waiting in a group for one.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub message: Message,
    /// The QoS of this copy: the lower of the message's and the subscription's.
    pub qos: QoS,
    /// The RETAIN flag of this copy.
    pub retain: bool,
    pub subscription_ids: SubscriptionIds,
    /// The group it was taken from, to which it may return.
    pub group: Option<GroupId>,
    /// Where it is stored, if it is.
    pub row: RowId,
}

/// Why one copy of a message did not arrive. The names are those of the metrics' label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropCause {
    /// The session's queue was full: its oldest unsent message, or the new one, went.
    QueueFull,
    /// QoS 0 for a client that is not connected.
    Offline,
    /// Its Message Expiry Interval passed before it was sent.
    Expired,
    /// Larger than the Maximum Packet Size of the client.
    TooLarge,
    /// The subscriber is the publisher and asked for no local.
    NoLocal,
    /// The receiver may not read this topic.
    NotAuthorized,
    /// No member of the shared subscription had room in its window, and the group's queue was full.
    Window,
    /// The session ended before it was sent or acknowledged.
    SessionEnded,
    /// The network connection ended before the kernel had taken a QoS 0 message.
    ConnectionLost,
    /// The receiver answered with an error reason code.
    RefusedByReceiver,
    /// An operator purged the queue.
    Purged,
    /// The store did not keep it: a disk that is full or broken.
    StoreFailed,
}

impl DropCause {
    pub const ALL: [DropCause; 12] = [
        DropCause::QueueFull,
        DropCause::Offline,
        DropCause::Expired,
        DropCause::TooLarge,
        DropCause::NoLocal,
        DropCause::NotAuthorized,
        DropCause::Window,
        DropCause::SessionEnded,
        DropCause::ConnectionLost,
        DropCause::RefusedByReceiver,
        DropCause::Purged,
        DropCause::StoreFailed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            DropCause::QueueFull => "queue_full",
            DropCause::Offline => "offline",
            DropCause::Expired => "expired",
            DropCause::TooLarge => "too_large",
            DropCause::NoLocal => "no_local",
            DropCause::NotAuthorized => "not_authorised",
            DropCause::Window => "window",
            DropCause::SessionEnded => "session_ended",
            DropCause::ConnectionLost => "connection_lost",
            DropCause::RefusedByReceiver => "refused_by_receiver",
            DropCause::Purged => "purged",
            DropCause::StoreFailed => "store_failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(expires_at: BrokerTime) -> Message {
        Message::new(&MessageParts {
            topic_prefix: "site/",
            topic: "plant/7",
            forward: &[1, 1],
            payload: b"21.5",
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at,
            publisher: PublisherId(9),
        })
    }

    #[test]
    fn a_message_gives_back_its_parts() {
        let m = message(BrokerTime::NEVER);
        assert_eq!((m.topic(), m.forward(), m.payload()), ("site/plant/7", &[1u8, 1][..], &b"21.5"[..]));
        assert_eq!((m.qos(), m.retain(), m.publisher()), (QoS::AtLeastOnce, true, PublisherId(9)));
        assert_eq!(m.remaining_expiry(BrokerTime::from_millis(5)), None);
        assert!(!m.is_expired(BrokerTime::from_millis(u64::MAX - 1)));
    }

    #[test]
    fn a_payload_that_stays_in_its_packet_is_like_any_other() {
        let packet = Bytes::from_static(b"two21.5");
        let parts = MessageParts {
            topic_prefix: "site/",
            topic: "plant/7",
            forward: &[1, 1],
            payload: &packet[3..],
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at: BrokerTime::NEVER,
            publisher: PublisherId(9),
        };
        let kept = Draft::received(&parts, ProtocolVersion::V4, Some(&packet)).to_message();
        let copied = Message::new(&parts);
        assert_eq!(kept.payload().as_ptr(), packet[3..].as_ptr());
        assert_eq!(
            (kept.topic(), kept.forward(), kept.payload()),
            (copied.topic(), copied.forward(), copied.payload())
        );
        assert_eq!(kept.size(), copied.size());
    }

    #[test]
    fn a_message_has_the_packet_of_the_version_it_came_in_until_it_has_properties() {
        let plain = MessageParts {
            topic_prefix: "a/",
            topic: "b",
            forward: &[],
            payload: b"21.5",
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at: BrokerTime::NEVER,
            publisher: PublisherId(9),
        };
        let (v4, v5) = (ProtocolVersion::V4, ProtocolVersion::V5);
        let bytes = |message: &Message, version| {
            message.encoded(version).map(|packet| (packet.bytes.to_vec(), packet.payload_start, packet.payload_after))
        };
        let message = Message::new(&plain);
        let of_v4 = Some((b"\x30\x09\0\x03a/b21.5".to_vec(), 7, 0));
        assert_eq!(
            (bytes(&message, v4), bytes(&message, ProtocolVersion::V3), bytes(&message, v5)),
            (of_v4.clone(), of_v4, None)
        );
        let packet = Bytes::from_static(b"21.5");
        let draft = Draft::received(&MessageParts { payload: &packet, ..plain }, v5, Some(&packet));
        let size = draft.size();
        let message = draft.to_message();
        assert_eq!(message.size(), size);
        assert_eq!(bytes(&message, v5), Some((b"\x30\x0a\0\x03a/b\0".to_vec(), 8, 4)));
        assert_eq!(bytes(&message, v4), None);
        let with_properties = Message::new(&MessageParts { forward: &[1, 1], ..plain });
        assert_eq!((bytes(&with_properties, v4), with_properties.forward()), (None, &[1u8, 1][..]));
        assert_eq!(with_properties.size(), message.size() + 2);
    }

    #[test]
    fn remaining_expiry_counts_down_and_rounds_up() {
        let m = message(BrokerTime::from_millis(10_000));
        assert_eq!(m.remaining_expiry(BrokerTime::from_millis(0)), Some(10));
        assert_eq!(m.remaining_expiry(BrokerTime::from_millis(9_001)), Some(1));
        assert!(!m.is_expired(BrokerTime::from_millis(9_999)));
        assert!(m.is_expired(BrokerTime::from_millis(10_000)));
    }

    #[test]
    fn groups_and_sessions_are_different_owners() {
        let group = GroupId(NonZeroU32::MIN);
        assert_eq!(OwnerId::from(group).group(), Some(group));
        assert_eq!((OwnerId(1).group(), OwnerId(u64::from(u32::MAX)).group()), (None, None));
    }

    #[test]
    fn a_delivery_and_a_message_stay_small() {
        assert_eq!(size_of::<Header>(), 40);
        assert!(size_of::<Queued>() <= 48, "{}", size_of::<Queued>());
        assert_eq!(size_of::<Message>(), 8);
    }
}
