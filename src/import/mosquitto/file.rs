//! The persistence file as it is on disk: taken apart and checked, nothing interpreted.
//!
//! ```text
//! magic (15 bytes)   checksum (4, unused)   version (4)   then chunks: kind (4)   length (4)   fields   texts
//! ```
//! Lengths, packet ids and ports are big-endian. Numbers of messages and times are as the machine had them that wrote the
//! file, which is little-endian wherever mosquitto is common.

use std::num::NonZeroU32;

use crate::packet::{PublishProperties, Sender};
use crate::topic::{ParsedFilter, QoS, RetainHandling, SubscribeOptions, check_topic_name};

const MAGIC: &[u8; 15] = b"\0\xb5\0mosquitto db";

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub enum Flaw {
    Foreign,
    Version(u32),
    Damaged { offset: usize, what: String },
}

type Read<T> = Result<T, Flaw>;

/// A message, stored once for all who get it.
pub struct Stored<'a> {
    pub id: u64,
    /// Seconds since 1970; 0 never.
    pub expires_at: i64,
    pub qos: QoS,
    pub retain: bool,
    pub topic: &'a str,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
    /// Where its record begins in the file.
    pub offset: usize,
}

pub struct Client<'a> {
    pub id: &'a str,
    pub user_name: Option<&'a str>,
    /// Seconds; `u32::MAX` never ends, 0 ends with the connection.
    pub expiry_interval: u32,
    /// Seconds since 1970; 0 when nobody waits for it.
    pub expires_at: i64,
    pub offset: usize,
}

/// A message on its way to or from a client.
pub struct Copy<'a> {
    pub client: &'a str,
    pub message: u64,
    pub packet_id: u16,
    pub qos: QoS,
    pub retain: bool,
    pub state: State,
    pub is_inbound: bool,
    pub subscription_id: Option<NonZeroU32>,
    pub offset: usize,
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    /// PUBLISH was sent or is about to be.
    Published,
    /// A QoS 2 message from the client waits for PUBREL.
    AwaitsRelease,
    /// PUBREC has come from the receiver, PUBCOMP has not.
    AwaitsCompletion,
}

pub struct Subscription<'a> {
    pub client: &'a str,
    pub filter: &'a str,
    pub options: SubscribeOptions,
    pub id: Option<NonZeroU32>,
}

/// All of a file.
#[derive(Default)]
pub struct File<'a> {
    pub messages: Vec<Stored<'a>>,
    pub clients: Vec<Client<'a>>,
    pub copies: Vec<Copy<'a>>,
    pub subscriptions: Vec<Subscription<'a>>,
    /// Numbers of messages, and where they stand in the file.
    pub retained: Vec<(u64, usize)>,
}

impl<'a> File<'a> {
    pub fn read(bytes: &'a [u8]) -> Read<File<'a>> {
        let mut rest = Fields { rest: bytes, offset: 0 };
        if rest.take(MAGIC.len()).ok() != Some(MAGIC) {
            return Err(Flaw::Foreign);
        }
        rest.take(4)?;
        let version = rest.u32()?;
        if !matches!(version, 5 | 6) {
            return Err(Flaw::Version(version));
        }
        let mut file = File::default();
        while !rest.rest.is_empty() {
            let offset = rest.offset;
            let (kind, length) = (rest.u32()?, rest.u32()?);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let mut chunk = rest.part(length)?;
            match kind {
                1 => check_settings(&mut chunk)?,
                2 => file.messages.push(message(&mut chunk)?),
                3 => file.copies.push(copy(&mut chunk)?),
                4 => file.retained.push((chunk.native()?, offset)),
                5 => file.subscriptions.push(subscription(&mut chunk)?),
                6 => file.clients.push(client(&mut chunk, version)?),
                _ => return damaged(offset, format!("there is no record of kind {kind}")),
            }
            chunk.end()?;
        }
        Ok(file)
    }
}

fn damaged<T>(offset: usize, what: impl Into<String>) -> Read<T> {
    Err(Flaw::Damaged { offset, what: what.into() })
}

fn check_settings(chunk: &mut Fields<'_>) -> Read<()> {
    chunk.native()?;
    chunk.u8()?;
    let offset = chunk.offset;
    match chunk.u8()? {
        8 => chunk.padding(),
        other => damaged(offset, format!("numbers of messages have {other} bytes, and 8 were expected")),
    }
}

fn message<'a>(chunk: &mut Fields<'a>) -> Read<Stored<'a>> {
    let offset = chunk.offset;
    let (id, expires_at) = (chunk.native()?, chunk.native()? as i64);
    let payload_length = usize::try_from(chunk.u32()?).unwrap_or(usize::MAX);
    chunk.u16()?;
    let (source_length, user_length, topic_length) = (chunk.u16()?, chunk.u16()?, chunk.u16()?);
    chunk.u16()?;
    let (qos, retain) = (chunk.qos()?, chunk.u8()? != 0);
    chunk.take(source_length.into())?;
    chunk.take(user_length.into())?;
    let topic_offset = chunk.offset;
    let topic = chunk.text(topic_length)?;
    check_topic_name(topic).or_else(|error| damaged(topic_offset, error.to_string()))?;
    let payload = chunk.take(payload_length)?;
    let properties = chunk.properties()?;
    Ok(Stored { id, expires_at, qos, retain, topic, properties, payload, offset })
}

fn client<'a>(chunk: &mut Fields<'a>, version: u32) -> Read<Client<'a>> {
    let offset = chunk.offset;
    let (expires_at, expiry_interval) = (chunk.native()? as i64, chunk.u32()?);
    chunk.u16()?;
    let id_length = chunk.u16()?;
    let mut user_length = 0;
    if version >= 6 {
        chunk.u16()?;
        user_length = chunk.u16()?;
        chunk.take(4)?;
    }
    let id = chunk.client_id(id_length)?;
    // Of a client without a user name behind one with it, mosquitto 2.0 saves whatever its memory has there.
    let user_name = std::str::from_utf8(chunk.take(user_length.into())?).ok();
    let user_name = user_name.filter(|name| !name.is_empty() && !name.contains('\0'));
    Ok(Client { id, user_name, expiry_interval, expires_at, offset })
}

fn copy<'a>(chunk: &mut Fields<'a>) -> Read<Copy<'a>> {
    let offset = chunk.offset;
    let message = chunk.native()?;
    let (packet_id, id_length) = (chunk.u16()?, chunk.u16()?);
    let qos = chunk.qos()?;
    let state_offset = chunk.offset;
    let state = match chunk.u8()? {
        11 => State::Queued,
        1..=5 => State::Published,
        6 | 9 => State::AwaitsCompletion,
        7 | 8 | 10 => State::AwaitsRelease,
        other => return damaged(state_offset, format!("a message is never in state {other}")),
    };
    let retain = chunk.u8()? >> 4 != 0;
    let is_inbound = match chunk.u8()? {
        0 => true,
        1 => false,
        other => return damaged(state_offset + 2, format!("a message never goes in direction {other}")),
    };
    let client = chunk.client_id(id_length)?;
    let subscription_id = chunk.properties()?.subscription_ids().next();
    Ok(Copy { client, message, packet_id, qos, retain, state, is_inbound, subscription_id, offset })
}

fn subscription<'a>(chunk: &mut Fields<'a>) -> Read<Subscription<'a>> {
    let id = NonZeroU32::new(chunk.u32()?);
    let (id_length, filter_length) = (chunk.u16()?, chunk.u16()?);
    let qos = chunk.qos()?;
    let bits = chunk.u8()?;
    chunk.take(2)?;
    let client = chunk.client_id(id_length)?;
    let offset = chunk.offset;
    let filter = chunk.text(filter_length)?;
    ParsedFilter::parse(filter).map(drop).or_else(|error| damaged(offset, error.to_string()))?;
    let retain_handling = match bits >> 4 & 3 {
        0 => RetainHandling::SendAtSubscribe,
        1 => RetainHandling::SendIfNew,
        _ => RetainHandling::DoNotSend,
    };
    let (no_local, retain_as_published) = (bits & 4 != 0, bits & 8 != 0);
    let options = SubscribeOptions { qos, no_local, retain_as_published, retain_handling };
    Ok(Subscription { client, filter, options, id })
}

/// Walks through the file, or one record of it.
struct Fields<'a> {
    rest: &'a [u8],
    /// In the file.
    offset: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            let what = format!("{length} bytes were expected, and {} are left", self.rest.len());
            return damaged(self.offset, what);
        };
        self.rest = rest;
        self.offset += length;
        Ok(taken)
    }

    fn part(&mut self, length: usize) -> Read<Fields<'a>> {
        let offset = self.offset;
        Ok(Fields { rest: self.take(length)?, offset })
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn native(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn qos(&mut self) -> Read<QoS> {
        let offset = self.offset;
        let byte = self.u8()?;
        QoS::from_bits(byte).map_or_else(|| damaged(offset, format!("there is no QoS {byte}")), Ok)
    }

    fn text(&mut self, length: u16) -> Read<&'a str> {
        let offset = self.offset;
        let text = std::str::from_utf8(self.take(length.into())?);
        text.or_else(|error| damaged(offset + error.valid_up_to(), "this is no UTF-8"))
    }

    fn client_id(&mut self, length: u16) -> Read<&'a str> {
        if length == 0 {
            return damaged(self.offset, "a client without an identifier");
        }
        self.text(length)
    }

    /// Properties with their length in front, at the end of a record; nothing when there are none.
    fn properties(&mut self) -> Read<PublishProperties<'a>> {
        if self.rest.is_empty() {
            return Ok(PublishProperties::default());
        }
        let offset = self.offset;
        let mut length = 0;
        for place in 0..4 {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if length != self.rest.len() {
            return damaged(offset, format!("properties of {length} bytes, and {} are left", self.rest.len()));
        }
        let offset = self.offset;
        let raw = self.take(length)?;
        PublishProperties::decode(raw, Sender::Server).or_else(|error| damaged(offset, error.to_string()))
    }

    fn padding(&mut self) -> Read<()> {
        self.take(self.rest.len()).map(drop)
    }

    fn end(&self) -> Read<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => damaged(self.offset, format!("{left} bytes too many in this record")),
        }
    }
}
