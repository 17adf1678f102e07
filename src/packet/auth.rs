//! AUTH: one step of an enhanced authentication.

use super::error::DecodeErrorKind;
use super::property::PropertyReader;
use super::reader::{Read, Reader};
use super::writer::{Sink, WriteProperties};
use super::{PacketType, Property, ReasonCode, Sender, UserProperties};

/// AUTH (section 3.15), MQTT 5.0 only.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Auth<'a> {
    pub reason_code: ReasonCode,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, sender: Sender) -> Read<Auth<'a>> {
        let mut it = Auth::default();
        let start = *reader;
        if !reader.is_empty() {
            it.reason_code = reader.reason_code(PacketType::Auth, sender)?;
            it.read_properties(reader)?;
        } else if !it.reason_code.belongs_to(PacketType::Auth, sender) {
            // The short form means Success, which only a server may say.
            return start.fault(DecodeErrorKind::ReasonCodeNotAllowed(it.reason_code as u8));
        }
        // Only what the short form can say does without a method (section 3.15.2.2.2).
        let is_short = it.reason_code == ReasonCode::Success && !it.has_properties();
        if it.authentication_method.is_none() && !is_short {
            return start.fault(DecodeErrorKind::AuthenticationMethodMissing);
        }
        Ok(it)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Read<()> {
        let mut properties = PropertyReader::open(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::AuthenticationMethod(v) => self.authentication_method = Some(v),
                Property::AuthenticationData(v) => self.authentication_data = Some(v),
                Property::ReasonString(v) => self.reason_string = Some(v),
                Property::UserProperty(..) => self.user_properties = properties.user_properties(),
                other => return properties.not_allowed(other),
            }
        }
        Ok(())
    }

    /// Nothing at all for Success without properties; there is no other short form.
    pub(super) fn write(&self, out: &mut impl Sink) {
        if self.has_properties() || self.reason_code != ReasonCode::Success {
            out.put_u8(self.reason_code as u8);
            self.write_property_block(out);
        }
    }
}

impl WriteProperties for Auth<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let present = [
            self.authentication_method.map(Property::AuthenticationMethod),
            self.authentication_data.map(Property::AuthenticationData),
            self.reason_string.map(Property::ReasonString),
        ];
        present.iter().flatten().for_each(|property| property.write(out));
        self.user_properties.write(out);
    }
}
