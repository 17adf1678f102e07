//! DISCONNECT: the last packet of a connection.

use super::error::DecodeErrorKind;
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{PacketType, Property, ProtocolVersion, ReasonCode, Sender, UserProperties};

/// DISCONNECT (section 3.14). Only the client sends one in 3.x.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Disconnect<'a> {
    pub reason_code: ReasonCode,
    /// Seconds; only from a client.
    pub session_expiry_interval: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: ProtocolVersion, sender: Sender) -> Read<Disconnect<'a>> {
        let mut it = Disconnect::default();
        if version != ProtocolVersion::V5 || reader.is_empty() {
            return Ok(it);
        }
        it.reason_code = reader.reason_code(PacketType::Disconnect, sender)?;
        if !reader.is_empty() {
            it.read_properties(reader, sender)?;
        }
        Ok(it)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>, sender: Sender) -> Read<()> {
        let mut properties = PropertyReader::open(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SessionExpiryInterval(_) if sender == Sender::Server => {
                    // [MQTT-3.14.2-2]
                    return properties.fault(DecodeErrorKind::PropertyFromWrongSender(property.id()));
                }
                Property::SessionExpiryInterval(v) => self.session_expiry_interval = Some(v),
                Property::ReasonString(v) => self.reason_string = Some(v),
                Property::ServerReference(v) => self.server_reference = Some(v),
                Property::UserProperty(..) => self.user_properties = properties.user_properties(),
                other => return properties.not_allowed(other),
            }
        }
        Ok(())
    }

    /// In the shortest form: nothing at all for a normal disconnection without properties.
    pub(super) fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        if version != ProtocolVersion::V5 {
            return;
        }
        let has_properties = self.has_properties();
        if has_properties || self.reason_code != ReasonCode::NORMAL_DISCONNECTION {
            out.put_u8(self.reason_code as u8);
        }
        if has_properties {
            self.write_property_block(out);
        }
    }
}

impl WriteProperties for Disconnect<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let present = [
            self.session_expiry_interval.map(Property::SessionExpiryInterval),
            self.reason_string.map(Property::ReasonString),
            self.server_reference.map(Property::ServerReference),
        ];
        present.iter().flatten().for_each(|property| property.write(out));
        self.user_properties.write(out);
    }
}
