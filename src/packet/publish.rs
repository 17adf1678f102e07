//! PUBLISH, and the properties that it shares with a Will: kept as one validated slice, because a broker forwards them
//! without taking them apart.

use std::num::{NonZeroU16, NonZeroU32};

use super::error::{DecodeError, DecodeErrorKind};
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::Sink;
use super::{PacketId, Properties, Property, PropertyId, ProtocolVersion, QoS, Sender, UserProperties};

/// PUBLISH (section 3.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    /// Empty only together with a topic alias.
    pub topic: &'a str,
    /// Present exactly when QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// Properties of PUBLISH and of a Will: one validated slice, and what a broker has to look at.
///
/// What every receiver gets unaltered and in order is payload format indicator, content type, response topic,
/// correlation data and user properties. Where the packet also held properties that are not forwarded as they are (topic
/// alias, message expiry interval, subscription identifiers, will delay interval), those to forward are not one run of
/// bytes in the packet: then [`PublishProperties::forward_into`] copies them out of `raw`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishProperties<'a> {
    /// Every property as it stood in the packet, without the length in front; validated.
    pub raw: &'a [u8],
    /// True when `raw` holds nothing but properties that are forwarded unaltered.
    pub raw_is_forward: bool,
    /// Payload Format Indicator is present and 1: the payload says it is UTF-8.
    pub payload_is_utf8: bool,
    /// Seconds.
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<NonZeroU16>,
    pub response_topic: Option<&'a str>,
    /// How many subscription identifiers `raw` has (server to client only).
    pub subscription_identifiers: u16,
}

/// No properties at all.
impl Default for PublishProperties<'_> {
    fn default() -> Self {
        PublishProperties {
            raw: &[],
            raw_is_forward: true,
            payload_is_utf8: false,
            message_expiry_interval: None,
            topic_alias: None,
            response_topic: None,
            subscription_identifiers: 0,
        }
    }
}

const FLAG_RETAIN: u8 = 0x01;
const FLAG_DUP: u8 = 0x08;

/// The flags of PUBLISH in the fixed header (section 3.3.1).
pub(super) fn flags(dup: bool, qos: QoS, retain: bool) -> u8 {
    (if dup { FLAG_DUP } else { 0 }) | (qos as u8) << 1 | (if retain { FLAG_RETAIN } else { 0 })
}

/// DUP and QoS, where they are consistent.
pub(super) fn check_flags(flags: u8) -> Result<(bool, QoS), DecodeErrorKind> {
    let qos = QoS::from_bits(flags >> 1 & 0b11).ok_or(DecodeErrorKind::QoS3)?; // [MQTT-3.3.1-4]
    let dup = flags & FLAG_DUP != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(DecodeErrorKind::DupAtQoS0); // [MQTT-3.3.1-2]
    }
    Ok((dup, qos))
}

impl<'a> Publish<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        flags: u8,
        version: ProtocolVersion,
        sender: Sender,
    ) -> Read<Publish<'a>> {
        let (dup, qos) = check_flags(flags).map_err(|kind| DecodeError::at(kind, 0))?;
        let topic_offset = reader.offset();
        let topic = reader.topic_name()?; // [MQTT-3.3.2-1] [MQTT-3.3.2-2]
        let packet_id = match qos {
            QoS::AtMostOnce => None, // [MQTT-2.2.1-2]
            _ => Some(reader.packet_id()?),
        };
        let has_properties = version == ProtocolVersion::V5 && !reader.passes_no_properties();
        let properties = if has_properties {
            PublishProperties::decode_from(PropertyReader::open(reader)?, Some(sender))?.0
        } else {
            PublishProperties::default()
        };
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err(DecodeError::at(no_topic(version), topic_offset));
        }
        let retain = flags & FLAG_RETAIN != 0;
        Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload: reader.rest() })
    }

    pub(super) fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_str(self.topic);
        if let Some(packet_id) = self.packet_id {
            out.put_u16(packet_id.get());
        }
        if version == ProtocolVersion::V5 {
            out.put_varint(u32::try_from(self.properties.raw.len()).unwrap_or(u32::MAX));
            out.put(self.properties.raw);
        }
        out.put(self.payload);
    }
}

/// MQTT 5.0 calls it a protocol error, since an alias could have stood in; before, the topic is too short.
fn no_topic(version: ProtocolVersion) -> DecodeErrorKind {
    match version {
        ProtocolVersion::V5 => DecodeErrorKind::TopicNameMissing,
        _ => DecodeErrorKind::TopicNameEmpty, // [MQTT-4.7.3-1]
    }
}

impl<'a> PublishProperties<'a> {
    /// Validates property bytes that did not come in a packet: what [`Property::encode`] wrote, say.
    pub fn decode(raw: &'a [u8], sender: Sender) -> Result<PublishProperties<'a>, DecodeError> {
        PublishProperties::decode_from(PropertyReader::over(Reader::new(raw, 0)), Some(sender))
            .map(|(properties, _)| properties)
    }

    /// The will properties of a CONNECT, and the will delay interval among them.
    pub(super) fn decode_will(reader: &mut Reader<'a>) -> Read<(PublishProperties<'a>, u32)> {
        PublishProperties::decode_from(PropertyReader::open(reader)?, None)
    }

    /// `publisher` is `None` for a Will, whose properties differ in three.
    fn decode_from(
        mut properties: PropertyReader<'a>,
        publisher: Option<Sender>,
    ) -> Read<(PublishProperties<'a>, u32)> {
        let mut it = PublishProperties { raw: properties.raw(), ..Default::default() };
        let mut will_delay_interval = 0;
        while let Some(property) = properties.next()? {
            it.raw_is_forward &= is_forwarded(property.id());
            match property {
                Property::PayloadFormatIndicator(v) => it.payload_is_utf8 = v,
                Property::MessageExpiryInterval(v) => it.message_expiry_interval = Some(v),
                Property::ResponseTopic(v) => it.response_topic = Some(v),
                Property::ContentType(_) | Property::CorrelationData(_) | Property::UserProperty(..) => {}
                Property::TopicAlias(v) if publisher.is_some() => it.topic_alias = Some(v),
                Property::WillDelayInterval(v) if publisher.is_none() => will_delay_interval = v,
                Property::SubscriptionIdentifier(_) if publisher == Some(Sender::Server) => {
                    it.subscription_identifiers = it.subscription_identifiers.saturating_add(1);
                }
                Property::SubscriptionIdentifier(_) if publisher == Some(Sender::Client) => {
                    // [MQTT-3.3.4-6]
                    return properties.fault(DecodeErrorKind::PropertyFromWrongSender(property.id()));
                }
                other => return properties.not_allowed(other),
            }
        }
        Ok((it, will_delay_interval))
    }

    /// Appends what every receiver gets: in order ([MQTT-3.1.3-10], [MQTT-3.3.2-18]), unaltered.
    pub fn forward_into(&self, out: &mut Vec<u8>) {
        if self.raw_is_forward {
            out.extend_from_slice(self.raw);
            return;
        }
        let mut properties = Properties::over(self.raw);
        while let Some((property, bytes)) = properties.next_with_bytes() {
            if is_forwarded(property.id()) {
                out.extend_from_slice(bytes);
            }
        }
    }

    /// Every property, in order.
    pub fn properties(&self) -> Properties<'a> {
        Properties::over(self.raw)
    }

    pub fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::from_raw(self.raw)
    }

    pub fn subscription_ids(&self) -> impl Iterator<Item = NonZeroU32> + use<'a> {
        self.properties().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
fn is_forwarded(id: PropertyId) -> bool {
    matches!(
        id,
        PropertyId::PayloadFormatIndicator
            | PropertyId::ContentType
            | PropertyId::ResponseTopic
            | PropertyId::CorrelationData
            | PropertyId::UserProperty
    )
}
