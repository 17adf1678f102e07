//! SUBSCRIBE: topic filters with their options.

use std::fmt;
use std::num::NonZeroU32;

use super::error::{DecodeError, DecodeErrorKind};
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{PacketId, Property, ProtocolVersion, QoS, RetainHandling, SubscribeOptions, UserProperties};

/// SUBSCRIBE (section 3.8).
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    pub packet_id: PacketId,
    /// 1 to 268,435,455.
    pub subscription_identifier: Option<NonZeroU32>,
    pub user_properties: UserProperties<'a>,
    /// At least one.
    pub filters: SubscribeFilters<'a>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Read<Subscribe<'a>> {
        let mut it = Subscribe {
            packet_id: reader.packet_id()?,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: SubscribeFilters::default(),
        };
        if version == ProtocolVersion::V5 {
            it.read_properties(reader)?;
        }
        it.filters = SubscribeFilters::decode(reader, version)?;
        Ok(it)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Read<()> {
        let mut properties = PropertyReader::open(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                // PUBLISH alone may have several of them.
                Property::SubscriptionIdentifier(_) if self.subscription_identifier.is_some() => {
                    return properties.fault(DecodeErrorKind::DuplicateProperty(property.id()));
                }
                Property::SubscriptionIdentifier(v) => self.subscription_identifier = Some(v),
                Property::UserProperty(..) => self.user_properties = properties.user_properties(),
                other => return properties.not_allowed(other),
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            self.write_property_block(out);
        }
        for (filter, options) in self.filters.iter() {
            out.put_str(filter);
            out.put_u8(options_to_bits(options, version));
        }
    }
}

impl WriteProperties for Subscribe<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let identifier = self.subscription_identifier.map(Property::SubscriptionIdentifier);
        identifier.iter().for_each(|property| property.write(out));
        self.user_properties.write(out);
    }
}

/// The filters of a SUBSCRIBE: as they lie in a decoded packet, or a list that is to be encoded.
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a> {
    source: Source<'a>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Validated.
    Wire(&'a [u8]),
    List(&'a [(&'a str, SubscribeOptions)]),
}

impl Default for SubscribeFilters<'_> {
    fn default() -> Self {
        SubscribeFilters::from_list(&[])
    }
}

impl<'a> SubscribeFilters<'a> {
    pub const fn from_list(list: &'a [(&'a str, SubscribeOptions)]) -> SubscribeFilters<'a> {
        SubscribeFilters { source: Source::List(list) }
    }

    fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Read<SubscribeFilters<'a>> {
        if reader.is_empty() {
            return reader.fault(DecodeErrorKind::NoTopicFilter); // [MQTT-3.8.3-2]
        }
        let wire = { *reader }.rest();
        while !reader.is_empty() {
            let shared = reader.topic_filter()?.share.is_some(); // [MQTT-3.8.3-1]
            let offset = reader.offset();
            let options = options_from_bits(reader.u8()?, version).map_err(|kind| DecodeError::at(kind, offset))?;
            if shared && options.no_local {
                return Err(DecodeError::at(DecodeErrorKind::NoLocalOnSharedSubscription, offset)); // [MQTT-3.8.3-4]
            }
        }
        Ok(SubscribeFilters { source: Source::Wire(wire) })
    }

    /// Each filter as it was sent, `$share/…` included, with its options.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, SubscribeOptions)> + use<'a> {
        let (wire, list) = match self.source {
            Source::Wire(wire) => (wire, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        let mut reader = Reader::new(wire, 0);
        let decoded = std::iter::from_fn(move || {
            let filter = reader.string().ok()?;
            // What these options may be was checked by the version they came in.
            Some((filter, options_from_bits(reader.u8().ok()?, ProtocolVersion::V5).ok()?))
        });
        decoded.chain(list.iter().copied())
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

const OPTION_NO_LOCAL: u8 = 0x04;
const OPTION_RETAIN_AS_PUBLISHED: u8 = 0x08;

fn options_from_bits(bits: u8, version: ProtocolVersion) -> Result<SubscribeOptions, DecodeErrorKind> {
    let reserved = if version == ProtocolVersion::V5 { 0xC0 } else { 0xFC };
    if bits & reserved != 0 {
        return Err(DecodeErrorKind::ReservedSubscribeOptions); // [MQTT-3.8.3-5]
    }
    let retain_handling = match bits >> 4 & 0b11 {
        0 => RetainHandling::SendAtSubscribe,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(DecodeErrorKind::RetainHandling3),
    };
    Ok(SubscribeOptions {
        qos: QoS::from_bits(bits & 0b11).ok_or(DecodeErrorKind::SubscriptionQoS3)?,
        no_local: bits & OPTION_NO_LOCAL != 0, // [MQTT-3.8.3-3]
        retain_as_published: bits & OPTION_RETAIN_AS_PUBLISHED != 0,
        retain_handling,
    })
}

fn options_to_bits(options: SubscribeOptions, version: ProtocolVersion) -> u8 {
    let qos = options.qos as u8;
    if version != ProtocolVersion::V5 {
        return qos;
    }
    let no_local = if options.no_local { OPTION_NO_LOCAL } else { 0 };
    let retain_as_published = if options.retain_as_published { OPTION_RETAIN_AS_PUBLISHED } else { 0 };
    qos | no_local | retain_as_published | (options.retain_handling as u8) << 4
}
