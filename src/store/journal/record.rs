//! Records: what stands in a frame, one for each [`Change`], and two kinds that only say where things are.
//!
//! ```text
//! record   length · type 1 · body
//! message  [row, when moved] · message part · received? (owner · packet id) · copies · copy …
//! part     flags 1 · expiry · publisher 8 · topic length · forward length · payload length · topic · forward · payload · CRC-32C 4
//! copy     owner · flags 1 · subscription ids? (length · id …) · checksum 2
//! ```
//! The message part and each copy have a checksum of their own, so that one of them can be read back without the frame
//! around it. A record that this program does not know is malformed: a format with more of them has another version.

use std::num::NonZeroU32;

use super::codec::{
    Malformed, Reader, options_from_byte, options_to_byte, put_bytes, put_number, put_numbers, put_str, put_time,
};
use crate::message::{BrokerTime, Message, MessageParts, PublisherId, SubscriptionIds};
use crate::store::{Change, OwnerId, RowId, SessionRecord, StoredCopy, WillRecord};
use crate::topic::{QoS, SubscribeOptions};

const PUT_SESSION: u8 = 1;
const PUT_GROUP: u8 = 2;
const DELETE_OWNER: u8 = 3;
const PUT_SUBSCRIPTION: u8 = 4;
const DELETE_SUBSCRIPTION: u8 = 5;
const MESSAGE: u8 = 6;
const DELETE_RETAINED: u8 = 7;
const RECEIVED: u8 = 8;
const RELEASED: u8 = 9;
const SENT: u8 = 10;
const HANDED: u8 = 11;
const DONE: u8 = 12;
const TIME: u8 = 13;
const PUT_REPLAY: u8 = 14;
const DELETE_REPLAY: u8 = 15;
/// From here on without a number.
const PAGE: u8 = 32;
const MOVED: u8 = 33;

const RETAINED: u8 = 1;
const HAS_RECEIVED: u8 = 2;
const QOS_SHIFT: u8 = 2;
const RETAIN_FLAG: u8 = 16;

const COPY_RETAIN: u8 = 4;
const COPY_IDS: u8 = 8;

/// A record as it is read: what is long stays where it stands.
#[derive(Debug)]
pub(super) enum Record<'a> {
    PutSession {
        owner: OwnerId,
        body: &'a [u8],
    },
    PutGroup {
        owner: OwnerId,
        filter: &'a str,
    },
    DeleteOwner(OwnerId),
    PutSubscription {
        owner: OwnerId,
        filter: &'a str,
        options: SubscribeOptions,
        id: Option<NonZeroU32>,
    },
    DeleteSubscription {
        owner: OwnerId,
        filter: &'a str,
    },
    PutReplay {
        owner: OwnerId,
        filter: &'a str,
        after: &'a str,
    },
    DeleteReplay {
        owner: OwnerId,
        filter: &'a str,
    },
    Message(MessageRecord<'a>),
    DeleteRetained {
        topic: &'a str,
        up_to: RowId,
    },
    Received {
        owner: OwnerId,
        packet_id: u16,
    },
    Released {
        owner: OwnerId,
        packet_id: u16,
    },
    Sent {
        owner: OwnerId,
        row: RowId,
        packet_id: u16,
        from: OwnerId,
    },
    Handed {
        owner: OwnerId,
        row: RowId,
    },
    Done {
        owner: OwnerId,
        row: RowId,
    },
    Time(BrokerTime),
    /// A page of an owner's queue stands here: `at` bytes into the records, and so long.
    Page {
        at: usize,
        page: &'a [u8],
    },
    /// A message has moved here, with what is left of its copies.
    Moved {
        row: RowId,
        message: MessageRecord<'a>,
    },
}

impl Record<'_> {
    pub(super) fn has_number(&self) -> bool {
        !matches!(self, Record::Page { .. } | Record::Moved { .. })
    }
}

/// A message with its copies, in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageRecord<'a> {
    /// Where the message part stands, from the start of the records.
    pub at: usize,
    pub part: Part<'a>,
    pub received: Option<(OwnerId, u16)>,
    /// How long the whole record is.
    pub record_len: usize,
    copies: usize,
    /// Where the copies stand behind `at`, and they.
    copies_at: usize,
    copies_bytes: &'a [u8],
}

impl<'a> MessageRecord<'a> {
    /// Each copy, and how far behind `at` it stands.
    pub(super) fn copies(&self) -> impl Iterator<Item = (usize, CopyRecord<'a>)> + use<'a> {
        let mut reader = Reader::new(self.copies_bytes);
        let from = self.copies_at;
        // They were all read once, when the record was.
        std::iter::from_fn(move || {
            let at = from + reader.at();
            (!reader.is_empty()).then(|| CopyRecord::read(&mut reader).ok()).flatten().map(|copy| (at, copy))
        })
    }

    /// What one reference to the record keeps alive of it.
    pub(super) fn share(&self) -> u32 {
        let holders = (self.copies + usize::from(self.part.retained)).max(1);
        (self.record_len / holders).max(1) as u32
    }
}

/// A message, as it stands in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// With its checksum.
    pub bytes: &'a [u8],
    pub retained: bool,
    has_received: bool,
    parts: MessageParts<'a>,
}

impl<'a> Part<'a> {
    /// Reads a message part; its checksum is looked at by [`Part::verify`].
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let from = reader.rest();
        let before = reader.at();
        let flags = reader.byte()?;
        let expires_at = reader.time()?;
        let publisher = PublisherId(reader.fixed_u64()?);
        let (topic, forward, payload) = (reader.size()?, reader.size()?, reader.size()?);
        let topic = simdutf8::basic::from_utf8(reader.take(topic)?).map_err(|_| Malformed)?;
        let (forward, payload) = (reader.take(forward)?, reader.take(payload)?);
        reader.take(4)?;
        let qos = QoS::from_bits(flags >> QOS_SHIFT & 3).ok_or(Malformed)?;
        let retain = flags & RETAIN_FLAG != 0;
        Ok(Part {
            bytes: &from[..reader.at() - before],
            retained: flags & RETAINED != 0,
            has_received: flags & HAS_RECEIVED != 0,
            parts: MessageParts { topic_prefix: "", topic, forward, payload, qos, retain, expires_at, publisher },
        })
    }

    /// A message that was read back by itself.
    pub(super) fn verify(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(Malformed)?;
        if crc32c::crc32c(body).to_le_bytes() != *checksum {
            return Err(Malformed);
        }
        let mut reader = Reader::new(bytes);
        let part = Part::read(&mut reader)?;
        reader.is_empty().then_some(part).ok_or(Malformed)
    }

    pub(super) fn topic(&self) -> &'a str {
        self.parts.topic
    }

    pub(super) fn expires_at(&self) -> BrokerTime {
        self.parts.expires_at
    }

    /// As [`Message::size`] counts.
    pub(super) fn size(&self) -> usize {
        let MessageParts { topic, forward, payload, .. } = self.parts;
        Message::size_of(topic.len() + forward.len() + payload.len())
    }

    pub(super) fn message(&self) -> Message {
        Message::new(&self.parts)
    }
}

/// One copy, as it stands in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyRecord<'a> {
    pub bytes: &'a [u8],
    pub owner: OwnerId,
    flags: u8,
    ids: &'a [u8],
}

impl<'a> CopyRecord<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let from = reader.rest();
        let before = reader.at();
        let owner = OwnerId(reader.number()?);
        let flags = reader.byte()?;
        let ids = if flags & COPY_IDS == 0 { &[] } else { reader.bytes()? };
        reader.take(2)?;
        Ok(CopyRecord { bytes: &from[..reader.at() - before], owner, flags, ids })
    }

    /// The copy at the start of `bytes`, which was read back by itself.
    pub(super) fn verify(bytes: &'a [u8], owner: OwnerId) -> Result<StoredCopy, Malformed> {
        let copy = CopyRecord::read(&mut Reader::new(bytes))?;
        let (body, checksum) = copy.bytes.split_last_chunk::<2>().ok_or(Malformed)?;
        if copy_checksum(body) != *checksum || copy.owner != owner {
            return Err(Malformed);
        }
        let mut ids = Vec::new();
        let mut reader = Reader::new(copy.ids);
        while !reader.is_empty() {
            ids.push(reader.number_u32()?);
        }
        Ok(StoredCopy {
            owner,
            qos: QoS::from_bits(copy.flags & 3).ok_or(Malformed)?,
            retain: copy.flags & COPY_RETAIN != 0,
            subscription_ids: SubscriptionIds::from_slice(&ids),
        })
    }
}

fn copy_checksum(body: &[u8]) -> [u8; 2] {
    let checksum = crc32c::crc32c(body);
    ((checksum ^ checksum >> 16) as u16).to_le_bytes()
}

/// Reads the records of a frame, one after the other.
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Records { bytes, at: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.bytes.get(self.at..)?);
        if reader.is_empty() {
            return None;
        }
        let body = reader.bytes();
        let end = self.at + reader.at();
        let record = body.and_then(|body| decode(body, end - body.len(), end - self.at));
        // Behind what cannot be read nothing can be.
        self.at = if record.is_ok() { end } else { self.bytes.len() };
        Some(record)
    }
}

/// `at` is where the body begins among the records of its frame.
fn decode(body: &[u8], at: usize, record_len: usize) -> Result<Record<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let kind = reader.byte()?;
    if kind == PAGE {
        return Ok(Record::Page { at: at + 1, page: reader.rest() });
    }
    if kind == MESSAGE {
        return decode_message(&mut reader, at, record_len).map(Record::Message);
    }
    if kind == TIME {
        return reader.time().map(Record::Time);
    }
    if kind == DELETE_RETAINED {
        return Ok(Record::DeleteRetained { topic: reader.str()?, up_to: RowId(reader.number()?) });
    }
    // All others begin with one number.
    let first = reader.number()?;
    let owner = OwnerId(first);
    let record = match kind {
        PUT_SESSION => return Ok(Record::PutSession { owner, body: &body[1..] }),
        MOVED => Record::Moved { row: RowId(first), message: decode_message(&mut reader, at, record_len)? },
        PUT_GROUP => Record::PutGroup { owner, filter: reader.str()? },
        DELETE_OWNER => Record::DeleteOwner(owner),
        PUT_SUBSCRIPTION => Record::PutSubscription {
            owner,
            filter: reader.str()?,
            options: options_from_byte(reader.byte()?)?,
            id: NonZeroU32::new(reader.number_u32()?),
        },
        DELETE_SUBSCRIPTION => Record::DeleteSubscription { owner, filter: reader.str()? },
        PUT_REPLAY => Record::PutReplay { owner, filter: reader.str()?, after: reader.str()? },
        DELETE_REPLAY => Record::DeleteReplay { owner, filter: reader.str()? },
        RECEIVED => Record::Received { owner, packet_id: reader.number_u16()? },
        RELEASED => Record::Released { owner, packet_id: reader.number_u16()? },
        SENT => Record::Sent {
            owner,
            row: RowId(reader.number()?),
            packet_id: reader.number_u16()?,
            from: OwnerId(reader.number()?),
        },
        HANDED => Record::Handed { owner, row: RowId(reader.number()?) },
        DONE => Record::Done { owner, row: RowId(reader.number()?) },
        _ => return Err(Malformed),
    };
    reader.is_empty().then_some(record).ok_or(Malformed)
}

fn decode_message<'a>(reader: &mut Reader<'a>, at: usize, record_len: usize) -> Result<MessageRecord<'a>, Malformed> {
    let before = reader.at();
    let part = Part::read(reader)?;
    let received = match part.has_received {
        true => Some((OwnerId(reader.number()?), reader.number_u16()?)),
        false => None,
    };
    let copies = reader.size()?;
    let (copies_at, copies_bytes) = (reader.at() - before, reader.rest());
    for _ in 0..copies {
        CopyRecord::read(reader)?;
    }
    if !reader.is_empty() {
        return Err(Malformed);
    }
    Ok(MessageRecord { at: at + before, part, received, record_len, copies, copies_at, copies_bytes })
}

/// Appends a record whose body `write` writes, with its length before it.
fn put_record(buf: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // One byte is enough for most lengths; longer ones shift what was written.
    let at = buf.len();
    buf.push(0);
    write(buf);
    let length = buf.len() - at - 1;
    if length < 0x80 {
        buf[at] = length as u8;
    } else {
        let mut prefix = Vec::with_capacity(5);
        put_number(&mut prefix, length as u64);
        buf.splice(at..=at, prefix);
    }
}

/// Appends a change as a record.
pub(super) fn put_change(buf: &mut Vec<u8>, change: &Change) {
    put_record(buf, |buf| match change {
        Change::PutSession(record) => {
            buf.push(PUT_SESSION);
            put_session(buf, record);
        }
        Change::PutGroup { owner, filter } => put_filter(buf, PUT_GROUP, *owner, filter),
        Change::DeleteOwner(owner) => put_owner(buf, DELETE_OWNER, *owner),
        Change::PutSubscription { owner, filter, options, id } => {
            put_filter(buf, PUT_SUBSCRIPTION, *owner, filter);
            buf.push(options_to_byte(*options));
            put_number(buf, id.map_or(0, |id| u64::from(id.get())));
        }
        Change::DeleteSubscription { owner, filter } => put_filter(buf, DELETE_SUBSCRIPTION, *owner, filter),
        Change::PutReplay { owner, filter, after } => {
            put_filter(buf, PUT_REPLAY, *owner, filter);
            put_str(buf, after);
        }
        Change::DeleteReplay { owner, filter } => put_filter(buf, DELETE_REPLAY, *owner, filter),
        Change::Message(stored) => {
            buf.push(MESSAGE);
            put_part(buf, &stored.message, stored.retained, stored.received.is_some());
            if let Some((owner, packet_id)) = stored.received {
                put_number(buf, owner.0);
                put_number(buf, u64::from(packet_id));
            }
            put_number(buf, stored.copies.len() as u64);
            stored.copies.iter().for_each(|copy| put_copy(buf, copy));
        }
        Change::DeleteRetained { topic, up_to } => {
            buf.push(DELETE_RETAINED);
            put_str(buf, topic);
            put_number(buf, up_to.0);
        }
        Change::Received { owner, packet_id } => {
            put_owner(buf, RECEIVED, *owner);
            put_number(buf, u64::from(*packet_id));
        }
        Change::Released { owner, packet_id } => {
            put_owner(buf, RELEASED, *owner);
            put_number(buf, u64::from(*packet_id));
        }
        Change::Sent { owner, row, packet_id, from } => {
            put_owner(buf, SENT, *owner);
            put_numbers(buf, [row.0, u64::from(*packet_id), from.0]);
        }
        Change::Handed { owner, row } => {
            put_owner(buf, HANDED, *owner);
            put_number(buf, row.0);
        }
        Change::Done { owner, row } => {
            put_owner(buf, DONE, *owner);
            put_number(buf, row.0);
        }
        Change::Time(time) => {
            buf.push(TIME);
            put_time(buf, *time);
        }
    });
}

/// Appends the record of a page.
pub(super) fn put_page(buf: &mut Vec<u8>, page: &[u8]) {
    put_record(buf, |buf| {
        buf.push(PAGE);
        buf.extend_from_slice(page);
    });
}

/// Appends a message that moves, with the copies that are left and whether it is still retained.
pub(super) fn put_moved(buf: &mut Vec<u8>, row: RowId, part: &Part<'_>, retained: bool, copies: &[CopyRecord<'_>]) {
    put_record(buf, |buf| {
        buf.push(MOVED);
        put_number(buf, row.0);
        let at = buf.len();
        buf.extend_from_slice(&part.bytes[..part.bytes.len() - 4]);
        buf[at] = buf[at] & !(RETAINED | HAS_RECEIVED) | u8::from(retained);
        let checksum = crc32c::crc32c(&buf[at..]);
        buf.extend_from_slice(&checksum.to_le_bytes());
        put_number(buf, copies.len() as u64);
        copies.iter().for_each(|copy| buf.extend_from_slice(copy.bytes));
    });
}

fn put_owner(buf: &mut Vec<u8>, kind: u8, owner: OwnerId) {
    buf.push(kind);
    put_number(buf, owner.0);
}

fn put_filter(buf: &mut Vec<u8>, kind: u8, owner: OwnerId, filter: &str) {
    put_owner(buf, kind, owner);
    put_str(buf, filter);
}

fn put_part(buf: &mut Vec<u8>, message: &Message, retained: bool, received: bool) {
    let at = buf.len();
    let flags = [u8::from(retained), u8::from(received) * HAS_RECEIVED, u8::from(message.retain()) * RETAIN_FLAG];
    buf.push(flags.iter().fold((message.qos() as u8) << QOS_SHIFT, |all, flag| all | flag));
    put_time(buf, message.expires_at());
    buf.extend_from_slice(&message.publisher().0.to_le_bytes());
    let parts = [message.topic_bytes(), message.forward(), message.payload()];
    parts.iter().for_each(|part| put_number(buf, part.len() as u64));
    parts.iter().for_each(|part| buf.extend_from_slice(part));
    let checksum = crc32c::crc32c(&buf[at..]);
    buf.extend_from_slice(&checksum.to_le_bytes());
}

fn put_copy(buf: &mut Vec<u8>, copy: &StoredCopy) {
    let at = buf.len();
    put_number(buf, copy.owner.0);
    let ids = copy.subscription_ids.as_slice();
    let flags = [u8::from(copy.retain) * COPY_RETAIN, u8::from(!ids.is_empty()) * COPY_IDS];
    buf.push(flags.iter().fold(copy.qos as u8, |all, flag| all | flag));
    if !ids.is_empty() {
        let mut bytes = Vec::with_capacity(ids.len() * 2);
        ids.iter().for_each(|id| put_number(&mut bytes, u64::from(*id)));
        put_bytes(buf, &bytes);
    }
    let checksum = copy_checksum(&buf[at..]);
    buf.extend_from_slice(&checksum);
}

fn put_optional(buf: &mut Vec<u8>, text: Option<&str>) {
    buf.push(u8::from(text.is_some()));
    text.into_iter().for_each(|text| put_str(buf, text));
}

/// The body of a session's record, its owner first.
fn put_session(buf: &mut Vec<u8>, record: &SessionRecord) {
    put_number(buf, record.owner.0);
    put_str(buf, &record.client_id);
    put_optional(buf, record.user_name.as_deref());
    put_str(buf, &record.listener);
    put_str(buf, &record.mount_point);
    put_number(buf, u64::from(record.expiry_interval));
    put_time(buf, record.disconnected_at.unwrap_or(BrokerTime::NEVER));
    buf.push(u8::from(record.will.is_some()));
    if let Some(will) = &record.will {
        put_part(buf, &will.message, false, false);
        // Zero is none; an interval of 2^32 - 1 still fits.
        put_number(buf, will.message_expiry_interval.map_or(0, |interval| u64::from(interval) + 1));
        put_number(buf, u64::from(will.delay_interval));
    }
    // Zero is unknown.
    put_number(buf, record.sent_up_to.map_or(0, |row| row.0 + 1));
}

/// What [`Record::PutSession`] holds.
pub(super) fn decode_session(body: &[u8]) -> Result<SessionRecord, Malformed> {
    let mut reader = Reader::new(body);
    let owner = OwnerId(reader.number()?);
    let client_id = reader.str()?.into();
    let user_name = match reader.byte()? {
        0 => None,
        _ => Some(reader.str()?.into()),
    };
    let (listener, mount_point) = (reader.str()?.into(), reader.str()?.into());
    let expiry_interval = reader.number_u32()?;
    let disconnected_at = Some(reader.time()?).filter(|time| *time != BrokerTime::NEVER);
    let will = match reader.byte()? {
        0 => None,
        _ => Some(WillRecord {
            message: Part::read(&mut reader)?.message(),
            message_expiry_interval: match reader.number()? {
                0 => None,
                interval => Some(u32::try_from(interval - 1).map_err(|_| Malformed)?),
            },
            delay_interval: reader.number_u32()?,
        }),
    };
    // Version 1 ends here.
    let sent_up_to = if reader.is_empty() { None } else { reader.number()?.checked_sub(1).map(RowId) };
    let record = SessionRecord {
        owner,
        client_id,
        user_name,
        listener,
        mount_point,
        expiry_interval,
        disconnected_at,
        sent_up_to,
        will,
    };
    reader.is_empty().then_some(record).ok_or(Malformed)
}
