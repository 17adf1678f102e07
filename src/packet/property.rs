//! The 27 properties of MQTT 5.0 (section 2.2.2): one reading and one writing of each, for every packet that has them.
//!
//! What a property may look like is decided here; which properties a packet may have, and what follows from them, is
//! decided in the packet's own file.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::error::{DecodeError, DecodeErrorKind};
use super::reader::{Read, Reader};
use super::writer::Sink;
use super::{QoS, UserProperties};

/// Declares the identifiers with their reading and their names from one table.
macro_rules! property_ids {
    ($($name:ident = $value:literal $text:literal,)*) => {
        /// The identifier of a property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $($name = $value,)*
        }

        impl PropertyId {
            /// `None` for an identifier that the standard does not define.
            pub fn from_u32(id: u32) -> Option<PropertyId> {
                match id {
                    $($value => Some(PropertyId::$name),)*
                    _ => None,
                }
            }
        }

        /// The name the standard writes.
        impl fmt::Display for PropertyId {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(PropertyId::$name => $text,)*
                })
            }
        }
    };
}

property_ids! {
    PayloadFormatIndicator = 0x01 "Payload Format Indicator",
    MessageExpiryInterval = 0x02 "Message Expiry Interval",
    ContentType = 0x03 "Content Type",
    ResponseTopic = 0x08 "Response Topic",
    CorrelationData = 0x09 "Correlation Data",
    SubscriptionIdentifier = 0x0B "Subscription Identifier",
    SessionExpiryInterval = 0x11 "Session Expiry Interval",
    AssignedClientIdentifier = 0x12 "Assigned Client Identifier",
    ServerKeepAlive = 0x13 "Server Keep Alive",
    AuthenticationMethod = 0x15 "Authentication Method",
    AuthenticationData = 0x16 "Authentication Data",
    RequestProblemInformation = 0x17 "Request Problem Information",
    WillDelayInterval = 0x18 "Will Delay Interval",
    RequestResponseInformation = 0x19 "Request Response Information",
    ResponseInformation = 0x1A "Response Information",
    ServerReference = 0x1C "Server Reference",
    ReasonString = 0x1F "Reason String",
    ReceiveMaximum = 0x21 "Receive Maximum",
    TopicAliasMaximum = 0x22 "Topic Alias Maximum",
    TopicAlias = 0x23 "Topic Alias",
    MaximumQoS = 0x24 "Maximum QoS",
    RetainAvailable = 0x25 "Retain Available",
    UserProperty = 0x26 "User Property",
    MaximumPacketSize = 0x27 "Maximum Packet Size",
    WildcardSubscriptionAvailable = 0x28 "Wildcard Subscription Available",
    SubscriptionIdentifiersAvailable = 0x29 "Subscription Identifiers Available",
    SharedSubscriptionAvailable = 0x2A "Shared Subscription Available",
}

/// One property with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(NonZeroU32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(NonZeroU16),
    TopicAliasMaximum(u16),
    TopicAlias(NonZeroU16),
    MaximumQoS(QoS),
    RetainAvailable(bool),
    UserProperty(&'a str, &'a str),
    MaximumPacketSize(NonZeroU32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifiersAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

impl<'a> Property<'a> {
    pub fn id(&self) -> PropertyId {
        match self {
            Property::PayloadFormatIndicator(..) => PropertyId::PayloadFormatIndicator,
            Property::MessageExpiryInterval(..) => PropertyId::MessageExpiryInterval,
            Property::ContentType(..) => PropertyId::ContentType,
            Property::ResponseTopic(..) => PropertyId::ResponseTopic,
            Property::CorrelationData(..) => PropertyId::CorrelationData,
            Property::SubscriptionIdentifier(..) => PropertyId::SubscriptionIdentifier,
            Property::SessionExpiryInterval(..) => PropertyId::SessionExpiryInterval,
            Property::AssignedClientIdentifier(..) => PropertyId::AssignedClientIdentifier,
            Property::ServerKeepAlive(..) => PropertyId::ServerKeepAlive,
            Property::AuthenticationMethod(..) => PropertyId::AuthenticationMethod,
            Property::AuthenticationData(..) => PropertyId::AuthenticationData,
            Property::RequestProblemInformation(..) => PropertyId::RequestProblemInformation,
            Property::WillDelayInterval(..) => PropertyId::WillDelayInterval,
            Property::RequestResponseInformation(..) => PropertyId::RequestResponseInformation,
            Property::ResponseInformation(..) => PropertyId::ResponseInformation,
            Property::ServerReference(..) => PropertyId::ServerReference,
            Property::ReasonString(..) => PropertyId::ReasonString,
            Property::ReceiveMaximum(..) => PropertyId::ReceiveMaximum,
            Property::TopicAliasMaximum(..) => PropertyId::TopicAliasMaximum,
            Property::TopicAlias(..) => PropertyId::TopicAlias,
            Property::MaximumQoS(..) => PropertyId::MaximumQoS,
            Property::RetainAvailable(..) => PropertyId::RetainAvailable,
            Property::UserProperty(..) => PropertyId::UserProperty,
            Property::MaximumPacketSize(..) => PropertyId::MaximumPacketSize,
            Property::WildcardSubscriptionAvailable(..) => PropertyId::WildcardSubscriptionAvailable,
            Property::SubscriptionIdentifiersAvailable(..) => PropertyId::SubscriptionIdentifiersAvailable,
            Property::SharedSubscriptionAvailable(..) => PropertyId::SharedSubscriptionAvailable,
        }
    }

    /// Appends identifier and value as they stand in a packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    pub(super) fn write(&self, out: &mut impl Sink) {
        out.put_u8(self.id() as u8);
        match *self {
            Property::PayloadFormatIndicator(v)
            | Property::RequestProblemInformation(v)
            | Property::RequestResponseInformation(v)
            | Property::RetainAvailable(v)
            | Property::WildcardSubscriptionAvailable(v)
            | Property::SubscriptionIdentifiersAvailable(v)
            | Property::SharedSubscriptionAvailable(v) => out.put_u8(u8::from(v)),
            Property::MessageExpiryInterval(v)
            | Property::SessionExpiryInterval(v)
            | Property::WillDelayInterval(v) => out.put_u32(v),
            Property::ContentType(v)
            | Property::ResponseTopic(v)
            | Property::AssignedClientIdentifier(v)
            | Property::AuthenticationMethod(v)
            | Property::ResponseInformation(v)
            | Property::ServerReference(v)
            | Property::ReasonString(v) => out.put_str(v),
            Property::CorrelationData(v) | Property::AuthenticationData(v) => out.put_binary(v),
            Property::SubscriptionIdentifier(v) => out.put_varint(v.get()),
            Property::ServerKeepAlive(v) | Property::TopicAliasMaximum(v) => out.put_u16(v),
            Property::ReceiveMaximum(v) | Property::TopicAlias(v) => out.put_u16(v.get()),
            Property::MaximumQoS(v) => out.put_u8(v as u8),
            Property::UserProperty(name, value) => {
                out.put_str(name);
                out.put_str(value);
            }
            Property::MaximumPacketSize(v) => out.put_u32(v.get()),
        }
    }

    fn read(id: PropertyId, reader: &mut Reader<'a>) -> Read<Property<'a>> {
        Ok(match id {
            PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(boolean(id, reader)?),
            PropertyId::MessageExpiryInterval => Property::MessageExpiryInterval(reader.u32()?),
            PropertyId::ContentType => Property::ContentType(reader.string()?), // [MQTT-3.3.2-19]
            PropertyId::ResponseTopic => Property::ResponseTopic(reader.non_empty_topic_name()?), // [MQTT-3.3.2-13] [MQTT-3.3.2-14]
            PropertyId::CorrelationData => Property::CorrelationData(reader.binary()?),
            PropertyId::SubscriptionIdentifier => Property::SubscriptionIdentifier(subscription_identifier(reader)?),
            PropertyId::SessionExpiryInterval => Property::SessionExpiryInterval(reader.u32()?),
            PropertyId::AssignedClientIdentifier => Property::AssignedClientIdentifier(reader.string()?),
            PropertyId::ServerKeepAlive => Property::ServerKeepAlive(reader.u16()?),
            PropertyId::AuthenticationMethod => Property::AuthenticationMethod(reader.string()?),
            PropertyId::AuthenticationData => Property::AuthenticationData(reader.binary()?),
            PropertyId::RequestProblemInformation => Property::RequestProblemInformation(boolean(id, reader)?),
            PropertyId::WillDelayInterval => Property::WillDelayInterval(reader.u32()?),
            PropertyId::RequestResponseInformation => Property::RequestResponseInformation(boolean(id, reader)?),
            PropertyId::ResponseInformation => Property::ResponseInformation(reader.string()?),
            PropertyId::ServerReference => Property::ServerReference(reader.string()?),
            PropertyId::ReasonString => Property::ReasonString(reader.string()?),
            PropertyId::ReceiveMaximum => Property::ReceiveMaximum(not_zero(id, reader, Reader::non_zero_u16)?),
            PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(reader.u16()?),
            PropertyId::TopicAlias => Property::TopicAlias(topic_alias(reader)?),
            PropertyId::MaximumQoS => Property::MaximumQoS(maximum_qos(reader)?),
            PropertyId::RetainAvailable => Property::RetainAvailable(boolean(id, reader)?),
            PropertyId::UserProperty => Property::UserProperty(reader.string()?, reader.string()?), // [MQTT-1.5.7-1]
            PropertyId::MaximumPacketSize => Property::MaximumPacketSize(not_zero(id, reader, Reader::non_zero_u32)?),
            PropertyId::WildcardSubscriptionAvailable => Property::WildcardSubscriptionAvailable(boolean(id, reader)?),
            PropertyId::SubscriptionIdentifiersAvailable => {
                Property::SubscriptionIdentifiersAvailable(boolean(id, reader)?)
            }
            PropertyId::SharedSubscriptionAvailable => Property::SharedSubscriptionAvailable(boolean(id, reader)?),
        })
    }
}

fn boolean(id: PropertyId, reader: &mut Reader<'_>) -> Read<bool> {
    let offset = reader.offset();
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::at(DecodeErrorKind::PropertyValue(id), offset)),
    }
}

fn maximum_qos(reader: &mut Reader<'_>) -> Read<QoS> {
    boolean(PropertyId::MaximumQoS, reader).map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce })
}

fn not_zero<'a, T>(id: PropertyId, reader: &mut Reader<'a>, read: fn(&mut Reader<'a>) -> Read<Option<T>>) -> Read<T> {
    let offset = reader.offset();
    read(reader)?.ok_or(DecodeError::at(DecodeErrorKind::PropertyValue(id), offset))
}

fn topic_alias(reader: &mut Reader<'_>) -> Read<NonZeroU16> {
    let offset = reader.offset();
    reader.non_zero_u16()?.ok_or(DecodeError::at(DecodeErrorKind::TopicAliasZero, offset)) // [MQTT-3.3.2-8]
}

fn subscription_identifier(reader: &mut Reader<'_>) -> Read<NonZeroU32> {
    let offset = reader.offset();
    let kind = DecodeErrorKind::PropertyValue(PropertyId::SubscriptionIdentifier);
    NonZeroU32::new(reader.varint()?).ok_or(DecodeError::at(kind, offset))
}

/// Reads the properties of one packet in order and refuses a second one of a kind that may be there once.
pub(super) struct PropertyReader<'a> {
    reader: Reader<'a>,
    /// One bit an identifier.
    seen: u64,
    /// Where the property that was read last begins.
    start: usize,
    raw: &'a [u8],
}

impl<'a> PropertyReader<'a> {
    /// Reads the property length in front.
    pub fn open(reader: &mut Reader<'a>) -> Read<PropertyReader<'a>> {
        reader.properties().map(PropertyReader::over)
    }

    pub fn over(reader: Reader<'a>) -> PropertyReader<'a> {
        PropertyReader { start: reader.offset(), reader, seen: 0, raw: { reader }.rest() }
    }

    pub fn next(&mut self) -> Read<Option<Property<'a>>> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.start = self.reader.offset();
        let id = self.reader.varint()?;
        let Some(id) = PropertyId::from_u32(id) else {
            return self.fault(DecodeErrorKind::UnknownProperty(id));
        };
        self.note(id)?;
        Property::read(id, &mut self.reader).map(Some)
    }

    fn note(&mut self, id: PropertyId) -> Read<()> {
        let bit = 1 << id as u8;
        if self.seen & bit != 0 && !matches!(id, PropertyId::UserProperty | PropertyId::SubscriptionIdentifier) {
            return self.fault(DecodeErrorKind::DuplicateProperty(id));
        }
        self.seen |= bit;
        Ok(())
    }

    /// All properties of the packet, whether read already or not.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    pub fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::from_raw(self.raw)
    }

    /// The property that was read last is none that this packet has.
    pub fn not_allowed<T>(&self, property: Property<'_>) -> Read<T> {
        self.fault(DecodeErrorKind::PropertyNotAllowed(property.id()))
    }

    /// An error of the property that was read last.
    pub fn fault<T>(&self, kind: DecodeErrorKind) -> Read<T> {
        Err(DecodeError::at(kind, self.start))
    }
}

/// The properties in bytes that were validated before, in order. Over other bytes it ends at the first that is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    reader: Reader<'a>,
}

impl<'a> Properties<'a> {
    pub fn over(raw: &'a [u8]) -> Properties<'a> {
        Properties { reader: Reader::new(raw, 0) }
    }

    /// The next property with the bytes it was read from.
    pub(super) fn next_with_bytes(&mut self) -> Option<(Property<'a>, &'a [u8])> {
        let mut start = self.reader;
        let id = PropertyId::from_u32(self.reader.varint().ok()?)?;
        let property = Property::read(id, &mut self.reader).ok()?;
        let bytes = start.take(self.reader.offset() - start.offset()).ok()?;
        Some((property, bytes))
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        self.next_with_bytes().map(|(property, _)| property)
    }
}
