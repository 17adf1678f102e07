//! CONNECT: the protocol and its version, the session's wishes, the will, who is there.

use std::num::{NonZeroU16, NonZeroU32};

use super::error::{DecodeError, DecodeErrorKind};
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{Properties, Property, ProtocolVersion, PublishProperties, QoS, UserProperties};

/// CONNECT (section 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Connect<'a> {
    pub version: ProtocolVersion,
    /// Level 0x83 or 0x84: the bit that mosquitto's bridges set to ask for no local and retain as published on 3.x.
    pub bridge: bool,
    /// `clean_session` in 3.x.
    pub clean_start: bool,
    /// Seconds; 0 turns keep alive off.
    pub keep_alive: u16,
    pub properties: ConnectProperties<'a>,
    /// May be empty.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    /// `Some("")` is a present but empty user name.
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
}

/// Properties of CONNECT (section 3.1.2.11); defaults are those of the standard for an absent property.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ConnectProperties<'a> {
    /// Seconds.
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    pub topic_alias_maximum: u16,
    pub request_response_information: bool,
    /// `None` when absent, which means yes.
    pub request_problem_information: Option<bool>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// The Will in a CONNECT packet (sections 3.1.2.5, 3.1.3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    pub qos: QoS,
    pub retain: bool,
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// Seconds.
    pub will_delay_interval: u32,
    /// The publication properties of the Will Message, as PUBLISH would carry them.
    pub properties: PublishProperties<'a>,
}

const FLAG_RESERVED: u8 = 0x01;
const FLAG_CLEAN_START: u8 = 0x02;
const FLAG_WILL: u8 = 0x04;
const FLAG_WILL_RETAIN: u8 = 0x20;
const FLAG_PASSWORD: u8 = 0x40;
const FLAG_USER_NAME: u8 = 0x80;
/// Set in the protocol level by mosquitto's bridges.
const LEVEL_BRIDGE: u8 = 0x80;

impl<'a> Connect<'a> {
    /// Fills `version` as soon as it is known, so that an error in what follows can be answered in it.
    pub(super) fn decode(reader: &mut Reader<'a>, version: &mut Option<ProtocolVersion>) -> Read<Connect<'a>> {
        let (protocol, bridge) = read_protocol(reader)?;
        *version = Some(protocol);
        let flags = ConnectFlags::decode(reader, protocol)?;
        let keep_alive = reader.u16()?;
        let properties = match protocol {
            ProtocolVersion::V5 => ConnectProperties::decode(reader)?,
            _ => ConnectProperties::default(),
        };
        // [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4] [MQTT-3.1.3-5]
        let client_id = reader.string()?;
        let will = flags.will.map(|(qos, retain)| Will::decode(reader, protocol, qos, retain)).transpose()?;
        let user_name = flags.credential(FLAG_USER_NAME, protocol, reader, Reader::string)?; // [MQTT-3.1.3-12]
        let password = flags.credential(FLAG_PASSWORD, protocol, reader, Reader::binary)?;
        let clean_start = flags.bits & FLAG_CLEAN_START != 0;
        Ok(Connect {
            version: protocol,
            bridge,
            clean_start,
            keep_alive,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    pub(super) fn write(&self, out: &mut impl Sink) {
        let (name, level) = match self.version {
            ProtocolVersion::V3 => ("MQIsdp", 3),
            ProtocolVersion::V4 => ("MQTT", 4),
            ProtocolVersion::V5 => ("MQTT", 5),
        };
        out.put_str(name);
        out.put_u8(if self.bridge { level | LEVEL_BRIDGE } else { level });
        out.put_u8(self.flags());
        out.put_u16(self.keep_alive);
        if self.version == ProtocolVersion::V5 {
            self.properties.write_property_block(out);
        }
        out.put_str(self.client_id);
        if let Some(will) = &self.will {
            will.write(self.version, out);
        }
        if let Some(user_name) = self.user_name {
            out.put_str(user_name);
        }
        if let Some(password) = self.password {
            out.put_binary(password);
        }
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        for (is_set, flag) in [
            (self.clean_start, FLAG_CLEAN_START),
            (self.password.is_some(), FLAG_PASSWORD),
            (self.user_name.is_some(), FLAG_USER_NAME),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        if let Some(will) = &self.will {
            flags |= FLAG_WILL | (will.qos as u8) << 3 | if will.retain { FLAG_WILL_RETAIN } else { 0 };
        }
        flags
    }
}

/// Protocol name and level: the version, and whether a bridge asks.
fn read_protocol(reader: &mut Reader<'_>) -> Read<(ProtocolVersion, bool)> {
    let name_offset = reader.offset();
    let name = reader.binary()?;
    let offset = reader.offset();
    let level = reader.u8()?;
    match (name, level) {
        (b"MQTT", 5) => Ok((ProtocolVersion::V5, false)),
        (b"MQTT", 4) => Ok((ProtocolVersion::V4, false)),
        (b"MQTT", 0x84) => Ok((ProtocolVersion::V4, true)),
        (b"MQIsdp", 3) => Ok((ProtocolVersion::V3, false)),
        (b"MQIsdp", 0x83) => Ok((ProtocolVersion::V3, true)),
        // [MQTT-3.1.2-2]
        (b"MQTT" | b"MQIsdp", _) => Err(DecodeError::at(DecodeErrorKind::UnsupportedProtocolVersion { level }, offset)),
        // [MQTT-3.1.2-1]
        _ => Err(DecodeError::at(DecodeErrorKind::UnknownProtocolName { level }, name_offset)),
    }
}

/// The connect flags, after they were found consistent.
struct ConnectFlags {
    bits: u8,
    will: Option<(QoS, bool)>,
}

impl ConnectFlags {
    fn decode(reader: &mut Reader<'_>, version: ProtocolVersion) -> Read<ConnectFlags> {
        let offset = reader.offset();
        let bits = reader.u8()?;
        let check = || {
            if bits & FLAG_RESERVED != 0 {
                return Err(DecodeErrorKind::ReservedConnectFlag); // [MQTT-3.1.2-3]
            }
            // MQTT 5.0 allows what 3.x forbids: [MQTT-3.1.1 3.1.2-22]
            if version != ProtocolVersion::V5 && bits & (FLAG_PASSWORD | FLAG_USER_NAME) == FLAG_PASSWORD {
                return Err(DecodeErrorKind::PasswordWithoutUserName);
            }
            will_flags(bits)
        };
        match check() {
            Ok(will) => Ok(ConnectFlags { bits, will }),
            Err(kind) => Err(DecodeError::at(kind, offset)),
        }
    }

    /// A field that is there exactly when its flag is set. In MQTT 3.1 the packet's length decides: a flagged field that
    /// it leaves no room for is absent (section 3.1 of MQTT 3.1).
    fn credential<'a, T>(
        &self,
        flag: u8,
        version: ProtocolVersion,
        reader: &mut Reader<'a>,
        read: fn(&mut Reader<'a>) -> Read<T>,
    ) -> Read<Option<T>> {
        if self.bits & flag == 0 || (version == ProtocolVersion::V3 && reader.is_empty()) {
            return Ok(None);
        }
        read(reader).map(Some) // [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19]
    }
}

fn will_flags(bits: u8) -> Result<Option<(QoS, bool)>, DecodeErrorKind> {
    let qos = QoS::from_bits(bits >> 3 & 0b11).ok_or(DecodeErrorKind::QoS3)?; // [MQTT-3.1.2-12]
    let retain = bits & FLAG_WILL_RETAIN != 0;
    if bits & FLAG_WILL != 0 {
        return Ok(Some((qos, retain)));
    }
    if qos != QoS::AtMostOnce || retain {
        return Err(DecodeErrorKind::WillFlagsWithoutWill); // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
    }
    Ok(None)
}

impl<'a> ConnectProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Read<ConnectProperties<'a>> {
        let mut it = ConnectProperties::default();
        let mut properties = PropertyReader::open(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SessionExpiryInterval(v) => it.session_expiry_interval = Some(v),
                Property::ReceiveMaximum(v) => it.receive_maximum = Some(v),
                Property::MaximumPacketSize(v) => it.maximum_packet_size = Some(v),
                Property::TopicAliasMaximum(v) => it.topic_alias_maximum = v,
                Property::RequestResponseInformation(v) => it.request_response_information = v,
                Property::RequestProblemInformation(v) => it.request_problem_information = Some(v),
                Property::AuthenticationMethod(v) => it.authentication_method = Some(v),
                Property::AuthenticationData(v) => it.authentication_data = Some(v),
                Property::UserProperty(..) => it.user_properties = properties.user_properties(),
                other => return properties.not_allowed(other),
            }
        }
        if it.authentication_data.is_some() && it.authentication_method.is_none() {
            return properties.fault(DecodeErrorKind::AuthenticationDataWithoutMethod);
        }
        Ok(it)
    }
}

impl WriteProperties for ConnectProperties<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let alias_maximum = (self.topic_alias_maximum > 0).then_some(self.topic_alias_maximum);
        let present = [
            self.session_expiry_interval.map(Property::SessionExpiryInterval),
            self.receive_maximum.map(Property::ReceiveMaximum),
            self.maximum_packet_size.map(Property::MaximumPacketSize),
            alias_maximum.map(Property::TopicAliasMaximum),
            self.request_response_information.then_some(Property::RequestResponseInformation(true)),
            self.request_problem_information.map(Property::RequestProblemInformation),
            self.authentication_method.map(Property::AuthenticationMethod),
            self.authentication_data.map(Property::AuthenticationData),
        ];
        present.iter().flatten().for_each(|property| property.write(out));
        self.user_properties.write(out);
    }
}

impl<'a> Will<'a> {
    /// Will properties, topic and payload follow each other ([MQTT-3.1.2-9]).
    fn decode(reader: &mut Reader<'a>, version: ProtocolVersion, qos: QoS, retain: bool) -> Read<Will<'a>> {
        let (properties, will_delay_interval) = match version {
            ProtocolVersion::V5 => PublishProperties::decode_will(reader)?,
            _ => Default::default(),
        };
        let topic = reader.non_empty_topic_name()?; // [MQTT-3.1.3-11]
        let payload = reader.binary()?;
        Ok(Will { qos, retain, topic, payload, will_delay_interval, properties })
    }

    fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        if version == ProtocolVersion::V5 {
            self.write_property_block(out);
        }
        out.put_str(self.topic);
        out.put_binary(self.payload);
    }

    /// What `properties.raw` says about the delay.
    fn raw_delay(&self) -> u32 {
        let delay = Properties::over(self.properties.raw).find_map(|property| match property {
            Property::WillDelayInterval(seconds) => Some(seconds),
            _ => None,
        });
        delay.unwrap_or(0)
    }
}

impl WriteProperties for Will<'_> {
    /// The raw properties as they are while they say the same delay as the field does, else without theirs.
    fn write_properties(&self, out: &mut impl Sink) {
        if self.raw_delay() == self.will_delay_interval {
            return out.put(self.properties.raw);
        }
        Property::WillDelayInterval(self.will_delay_interval).write(out);
        let rest = Properties::over(self.properties.raw).filter(|p| !matches!(p, Property::WillDelayInterval(_)));
        rest.for_each(|property| property.write(out));
    }
}
