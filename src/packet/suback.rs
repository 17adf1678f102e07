//! SUBACK and UNSUBACK: a reason code for each topic filter.

use std::fmt;

use super::error::DecodeErrorKind;
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{PacketId, PacketType, Property, ProtocolVersion, ReasonCode, Sender, UserProperties};

/// SUBACK and UNSUBACK (sections 3.9 and 3.11): one shape. UNSUBACK of 3.x has no reason codes.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    pub packet_id: PacketId,
    pub reason_codes: ReasonCodes<'a>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> SubAck<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        packet_type: PacketType,
        version: ProtocolVersion,
    ) -> Read<SubAck<'a>> {
        let mut it = SubAck {
            packet_id: reader.packet_id()?,
            reason_codes: ReasonCodes::default(),
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        if version == ProtocolVersion::V5 {
            it.read_properties(reader)?;
        }
        if version == ProtocolVersion::V5 || packet_type == PacketType::SubAck {
            it.reason_codes = ReasonCodes::decode(reader, packet_type, version)?;
        }
        Ok(it)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Read<()> {
        let mut properties = PropertyReader::open(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::ReasonString(v) => self.reason_string = Some(v),
                Property::UserProperty(..) => self.user_properties = properties.user_properties(),
                other => return properties.not_allowed(other),
            }
        }
        Ok(())
    }

    /// 3.x knows one failure, 0x80, and no reason codes in UNSUBACK.
    pub(super) fn write(&self, packet_type: PacketType, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            self.write_property_block(out);
            self.reason_codes.iter().for_each(|code| out.put_u8(code as u8));
        } else if packet_type == PacketType::SubAck {
            self.reason_codes.iter().for_each(|code| out.put_u8((code as u8).min(ReasonCode::UnspecifiedError as u8)));
        }
    }
}

impl WriteProperties for SubAck<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        self.reason_string.map(Property::ReasonString).iter().for_each(|property| property.write(out));
        self.user_properties.write(out);
    }
}

/// The reason codes of a SUBACK or UNSUBACK, in the order of the filters.
#[derive(Clone, Copy)]
pub struct ReasonCodes<'a> {
    source: Source<'a>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// As they lie in a packet, validated.
    Wire(&'a [u8]),
    List(&'a [ReasonCode]),
}

impl Default for ReasonCodes<'_> {
    fn default() -> Self {
        ReasonCodes::from_list(&[])
    }
}

impl<'a> ReasonCodes<'a> {
    pub const fn from_list(list: &'a [ReasonCode]) -> ReasonCodes<'a> {
        ReasonCodes { source: Source::List(list) }
    }

    /// Reason codes as bytes; those that the standard does not define are passed over.
    pub const fn from_wire(bytes: &'a [u8]) -> ReasonCodes<'a> {
        ReasonCodes { source: Source::Wire(bytes) }
    }

    fn decode(reader: &mut Reader<'a>, packet_type: PacketType, version: ProtocolVersion) -> Read<ReasonCodes<'a>> {
        if reader.is_empty() {
            return reader.fault(DecodeErrorKind::NoReasonCode);
        }
        let wire = { *reader }.rest();
        while !reader.is_empty() {
            let code = { *reader }.u8()?;
            if version != ProtocolVersion::V5 && !matches!(code, 0..=2 | 0x80) {
                return reader.fault(DecodeErrorKind::ReasonCodeNotAllowed(code));
            }
            reader.reason_code(packet_type, Sender::Server)?;
        }
        Ok(ReasonCodes::from_wire(wire))
    }

    pub fn iter(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        let (wire, list) = match self.source {
            Source::Wire(wire) => (wire, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        wire.iter().filter_map(|&code| ReasonCode::from_u8(code)).chain(list.iter().copied())
    }
}

impl PartialEq for ReasonCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
