//! UNSUBSCRIBE: topic filters.

use std::fmt;

use super::error::DecodeErrorKind;
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{PacketId, Property, ProtocolVersion, UserProperties};

/// UNSUBSCRIBE (section 3.10).
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    pub packet_id: PacketId,
    pub user_properties: UserProperties<'a>,
    /// At least one.
    pub filters: UnsubscribeFilters<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Read<Unsubscribe<'a>> {
        let packet_id = reader.packet_id()?;
        let user_properties = match version {
            ProtocolVersion::V5 => read_properties(reader)?,
            _ => UserProperties::default(),
        };
        let filters = UnsubscribeFilters::decode(reader)?;
        Ok(Unsubscribe { packet_id, user_properties, filters })
    }

    pub(super) fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            self.write_property_block(out);
        }
        self.filters.iter().for_each(|filter| out.put_str(filter));
    }
}

fn read_properties<'a>(reader: &mut Reader<'a>) -> Read<UserProperties<'a>> {
    let mut user_properties = UserProperties::default();
    let mut properties = PropertyReader::open(reader)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::UserProperty(..) => user_properties = properties.user_properties(),
            other => return properties.not_allowed(other),
        }
    }
    Ok(user_properties)
}

impl WriteProperties for Unsubscribe<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        self.user_properties.write(out);
    }
}

/// The filters of an UNSUBSCRIBE: as they lie in a decoded packet, or a list that is to be encoded.
#[derive(Clone, Copy)]
pub struct UnsubscribeFilters<'a> {
    source: Source<'a>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Validated.
    Wire(&'a [u8]),
    List(&'a [&'a str]),
}

impl<'a> UnsubscribeFilters<'a> {
    pub const fn from_list(list: &'a [&'a str]) -> UnsubscribeFilters<'a> {
        UnsubscribeFilters { source: Source::List(list) }
    }

    fn decode(reader: &mut Reader<'a>) -> Read<UnsubscribeFilters<'a>> {
        if reader.is_empty() {
            return reader.fault(DecodeErrorKind::NoTopicFilter); // [MQTT-3.10.3-2]
        }
        let wire = { *reader }.rest();
        while !reader.is_empty() {
            reader.topic_filter()?; // [MQTT-3.10.3-1]
        }
        Ok(UnsubscribeFilters { source: Source::Wire(wire) })
    }

    /// Each filter as it was sent, `$share/…` included.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (wire, list) = match self.source {
            Source::Wire(wire) => (wire, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        let mut reader = Reader::new(wire, 0);
        std::iter::from_fn(move || reader.string().ok()).chain(list.iter().copied())
    }
}

impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
