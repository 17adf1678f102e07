//! CONNACK: the server's answer to CONNECT, with what it allows.

use std::num::{NonZeroU16, NonZeroU32};

use super::error::{DecodeError, DecodeErrorKind};
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{PacketType, Property, ProtocolVersion, QoS, ReasonCode, Sender, UserProperties};

/// CONNACK (section 3.2).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ConnAck<'a> {
    /// In MQTT 3.1 the bit has no meaning yet; it is read and written all the same.
    pub session_present: bool,
    /// In 3.x the encoder maps this to a return code 0 to 5.
    pub reason_code: ReasonCode,
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK (section 3.2.2.3).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// `None` (absent) means 2.
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

impl<'a> ConnAck<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Read<ConnAck<'a>> {
        let session_present = match reader.u8()? {
            0 => false,
            1 => true,
            // [MQTT-3.2.2-1]
            _ => return Err(DecodeError::at(DecodeErrorKind::ReservedConnAckFlags, reader.offset() - 1)),
        };
        let offset = reader.offset();
        let reason_code = read_reason_code(reader, version)?;
        if session_present && reason_code != ReasonCode::Success {
            return Err(DecodeError::at(DecodeErrorKind::SessionPresentOnRefusal, offset)); // [MQTT-3.2.2-6]
        }
        let properties = match version {
            ProtocolVersion::V5 => ConnAckProperties::decode(reader)?,
            _ => ConnAckProperties::default(),
        };
        Ok(ConnAck { session_present, reason_code, properties })
    }

    pub(super) fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u8(u8::from(self.session_present)); // [MQTT-3.2.2-1]
        if version == ProtocolVersion::V5 {
            out.put_u8(self.reason_code as u8);
            self.properties.write_property_block(out);
        } else {
            out.put_u8(self.reason_code.connect_return_code());
        }
    }
}

fn read_reason_code(reader: &mut Reader<'_>, version: ProtocolVersion) -> Read<ReasonCode> {
    if version == ProtocolVersion::V5 {
        return reader.reason_code(PacketType::ConnAck, Sender::Server); // [MQTT-3.2.2-8]
    }
    let offset = reader.offset();
    let code = reader.u8()?;
    let kind = DecodeErrorKind::ReasonCodeNotAllowed(code);
    ReasonCode::from_connect_return_code(code).ok_or(DecodeError::at(kind, offset))
}

impl<'a> ConnAckProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Read<ConnAckProperties<'a>> {
        let mut it = ConnAckProperties::default();
        let mut properties = PropertyReader::open(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SessionExpiryInterval(v) => it.session_expiry_interval = Some(v),
                Property::ReceiveMaximum(v) => it.receive_maximum = Some(v),
                Property::MaximumQoS(v) => it.maximum_qos = Some(v),
                Property::RetainAvailable(v) => it.retain_available = Some(v),
                Property::MaximumPacketSize(v) => it.maximum_packet_size = Some(v),
                Property::AssignedClientIdentifier(v) => it.assigned_client_identifier = Some(v),
                Property::TopicAliasMaximum(v) => it.topic_alias_maximum = Some(v),
                Property::ReasonString(v) => it.reason_string = Some(v),
                Property::UserProperty(..) => it.user_properties = properties.user_properties(),
                Property::WildcardSubscriptionAvailable(v) => it.wildcard_subscription_available = Some(v),
                Property::SubscriptionIdentifiersAvailable(v) => it.subscription_identifiers_available = Some(v),
                Property::SharedSubscriptionAvailable(v) => it.shared_subscription_available = Some(v),
                Property::ServerKeepAlive(v) => it.server_keep_alive = Some(v),
                Property::ResponseInformation(v) => it.response_information = Some(v),
                Property::ServerReference(v) => it.server_reference = Some(v),
                Property::AuthenticationMethod(v) => it.authentication_method = Some(v),
                Property::AuthenticationData(v) => it.authentication_data = Some(v),
                other => return properties.not_allowed(other),
            }
        }
        Ok(it)
    }
}

impl WriteProperties for ConnAckProperties<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let present = [
            self.session_expiry_interval.map(Property::SessionExpiryInterval),
            self.receive_maximum.map(Property::ReceiveMaximum),
            self.maximum_qos.map(Property::MaximumQoS),
            self.retain_available.map(Property::RetainAvailable),
            self.maximum_packet_size.map(Property::MaximumPacketSize),
            self.assigned_client_identifier.map(Property::AssignedClientIdentifier),
            self.topic_alias_maximum.map(Property::TopicAliasMaximum),
            self.reason_string.map(Property::ReasonString),
            self.wildcard_subscription_available.map(Property::WildcardSubscriptionAvailable),
            self.subscription_identifiers_available.map(Property::SubscriptionIdentifiersAvailable),
            self.shared_subscription_available.map(Property::SharedSubscriptionAvailable),
            self.server_keep_alive.map(Property::ServerKeepAlive),
            self.response_information.map(Property::ResponseInformation),
            self.server_reference.map(Property::ServerReference),
            self.authentication_method.map(Property::AuthenticationMethod),
            self.authentication_data.map(Property::AuthenticationData),
        ];
        present.iter().flatten().for_each(|property| property.write(out));
        self.user_properties.write(out);
    }
}
