//! A cursor over the bytes of one packet: reads the data types of section 1.5 and never reads past the packet's end.

use std::num::{NonZeroU16, NonZeroU32};

use super::error::{DecodeError, DecodeErrorKind};
use super::{PacketId, PacketType, ReasonCode, Sender, varint};
use crate::topic::{ParsedFilter, TopicError, check_topic_name};

pub(super) type Read<T> = Result<T, DecodeError>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    /// From the packet's first byte, so that `offset` is what an error reports, to the end of what may be read.
    bytes: &'a [u8],
    offset: usize,
    /// A topic name that has been checked, or nothing.
    known_topic: &'a str,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], offset: usize) -> Reader<'a> {
        Reader { bytes, offset, known_topic: "" }
    }

    pub fn knowing(self, known_topic: &'a str) -> Reader<'a> {
        Reader { known_topic, ..self }
    }

    pub fn offset(&self) -> usize {
        self.offset
    }

    pub fn is_empty(&self) -> bool {
        self.offset >= self.bytes.len()
    }

    pub fn fault<T>(&self, kind: DecodeErrorKind) -> Read<T> {
        Err(DecodeError::at(kind, self.offset))
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        self.offset = self.bytes.len();
        rest
    }

    pub fn finish(&self) -> Read<()> {
        if self.is_empty() { Ok(()) } else { self.fault(DecodeErrorKind::TrailingBytes) }
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        match self.bytes.get(self.offset..).and_then(|rest| rest.get(..len)) {
            Some(taken) => {
                self.offset += len;
                Ok(taken)
            }
            None => self.fault(DecodeErrorKind::Truncated),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        match self.bytes.get(self.offset..).and_then(|rest| rest.first_chunk()) {
            Some(taken) => {
                self.offset += N;
                Ok(*taken)
            }
            None => self.fault(DecodeErrorKind::Truncated),
        }
    }

    #[inline]
    pub fn u8(&mut self) -> Read<u8> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub fn u16(&mut self) -> Read<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// `None` for zero, which the caller has its own word for.
    pub fn non_zero_u16(&mut self) -> Read<Option<NonZeroU16>> {
        self.u16().map(NonZeroU16::new)
    }

    /// `None` for zero, which the caller has its own word for.
    pub fn non_zero_u32(&mut self) -> Read<Option<NonZeroU32>> {
        self.u32().map(NonZeroU32::new)
    }

    #[inline]
    pub fn packet_id(&mut self) -> Read<PacketId> {
        let offset = self.offset;
        // [MQTT-2.2.1-3] [MQTT-2.2.1-4]
        NonZeroU16::new(self.u16()?).ok_or(DecodeError::at(DecodeErrorKind::PacketIdZero, offset))
    }

    #[inline]
    pub fn varint(&mut self) -> Read<u32> {
        match varint::decode(self.bytes.get(self.offset..).unwrap_or_default()) {
            varint::Decoded::Value { value, len } => {
                self.offset += len;
                Ok(value)
            }
            varint::Decoded::Incomplete => self.fault(DecodeErrorKind::Truncated),
            varint::Decoded::TooLong => self.fault(DecodeErrorKind::VariableByteIntegerTooLong),
            // [MQTT-1.5.5-1]
            varint::Decoded::NotMinimal => self.fault(DecodeErrorKind::VariableByteIntegerNotMinimal),
        }
    }

    #[inline]
    pub fn binary(&mut self) -> Read<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    #[inline]
    pub fn string(&mut self) -> Read<&'a str> {
        let offset = self.offset;
        let text = utf8(self.binary()?, offset)?;
        if memchr::memchr(0, text.as_bytes()).is_some() {
            return Err(DecodeError::at(DecodeErrorKind::NullCharacter, offset)); // [MQTT-1.5.4-2]
        }
        Ok(text)
    }

    /// A string that names a topic: no wildcards. It may be empty, which the caller judges.
    #[inline]
    pub fn topic_name(&mut self) -> Read<&'a str> {
        let offset = self.offset;
        let bytes = self.binary()?;
        if !bytes.is_empty() && bytes == self.known_topic.as_bytes() {
            return Ok(self.known_topic);
        }
        let text = utf8(bytes, offset)?;
        let kind = match check_topic_name(text) {
            Ok(()) | Err(TopicError::Empty) => return Ok(text),
            Err(TopicError::NullCharacter { .. }) => DecodeErrorKind::NullCharacter, // [MQTT-4.7.3-2]
            Err(_) => DecodeErrorKind::TopicNameWildcard,                            // [MQTT-4.7.0-1]
        };
        Err(DecodeError::at(kind, offset))
    }

    pub fn non_empty_topic_name(&mut self) -> Read<&'a str> {
        let offset = self.offset;
        match self.topic_name()? {
            "" => Err(DecodeError::at(DecodeErrorKind::TopicNameEmpty, offset)), // [MQTT-4.7.3-1]
            topic => Ok(topic),
        }
    }

    /// A topic filter with the syntax of a shared subscription, if it begins like one.
    pub fn topic_filter(&mut self) -> Read<ParsedFilter<'a>> {
        let offset = self.offset;
        let text = self.string()?;
        // [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
        ParsedFilter::parse(text).map_err(|error| DecodeError::at(DecodeErrorKind::TopicFilterInvalid(error), offset))
    }

    /// A reason code that this packet from this sender may have.
    pub fn reason_code(&mut self, packet_type: PacketType, sender: Sender) -> Read<ReasonCode> {
        let offset = self.offset;
        let byte = self.u8()?;
        let code = ReasonCode::from_u8(byte).filter(|code| code.belongs_to(packet_type, sender));
        code.ok_or(DecodeError::at(DecodeErrorKind::ReasonCodeNotAllowed(byte), offset))
    }

    /// Whether there are no properties, as in most packets: then their length has been read.
    #[inline]
    pub fn passes_no_properties(&mut self) -> bool {
        let are_none = self.bytes.get(self.offset) == Some(&0);
        self.offset += usize::from(are_none);
        are_none
    }

    /// The property length and a reader of exactly that many bytes.
    #[inline]
    pub fn properties(&mut self) -> Read<Reader<'a>> {
        let len = self.varint()? as usize;
        let start = self.offset;
        self.take(len)?;
        Ok(Reader { bytes: self.bytes.get(..self.offset).unwrap_or_default(), offset: start, ..*self })
    }
}

/// Nothing is stripped, a byte order mark neither ([MQTT-1.5.4-3]).
fn utf8(bytes: &[u8], offset: usize) -> Read<&str> {
    // [MQTT-1.5.4-1]
    simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::at(DecodeErrorKind::InvalidUtf8, offset))
}
