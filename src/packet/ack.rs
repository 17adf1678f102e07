//! PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{PacketId, PacketType, Property, ProtocolVersion, ReasonCode, Sender, UserProperties};

/// PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7): one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack<'a> {
    pub packet_id: PacketId,
    /// Success where the packet has none (3.x, or the short form of 5).
    pub reason_code: ReasonCode,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Ack<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        packet_type: PacketType,
        version: ProtocolVersion,
        sender: Sender,
    ) -> Read<Ack<'a>> {
        let mut it = Ack {
            packet_id: reader.packet_id()?,
            reason_code: ReasonCode::Success,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        if version != ProtocolVersion::V5 || reader.is_empty() {
            return Ok(it);
        }
        it.reason_code = reader.reason_code(packet_type, sender)?;
        if !reader.is_empty() {
            it.read_properties(reader)?;
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

    /// In the shortest form: no property length without properties, no reason code if it is Success then.
    pub(super) fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.packet_id.get());
        if version != ProtocolVersion::V5 {
            return;
        }
        let has_properties = self.has_properties();
        if has_properties || self.reason_code != ReasonCode::Success {
            out.put_u8(self.reason_code as u8);
        }
        if has_properties {
            self.write_property_block(out);
        }
    }
}

impl WriteProperties for Ack<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        self.reason_string.map(Property::ReasonString).iter().for_each(|property| property.write(out));
        self.user_properties.write(out);
    }
}
