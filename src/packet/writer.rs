//! Writes the data types of section 1.5. The same code that writes a packet also measures it, so that a length is never
//! wrong about what follows it.

use super::varint;

/// Where encoded bytes go: a buffer, or a mere count of them.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn put_varint(&mut self, value: u32) {
        if value < 0x80 {
            return self.put_u8(value as u8);
        }
        let (bytes, len) = varint::encode(value);
        self.put(&bytes[..len]);
    }

    /// Bytes beyond the 65,535 that the length can tell are cut off; no decoded packet has them.
    fn put_binary(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        self.put_u16(bytes.len() as u16);
        self.put(bytes);
    }

    /// A string that is too long is cut at a character.
    fn put_str(&mut self, text: &str) {
        self.put_binary(&text.as_bytes()[..text.floor_char_boundary(usize::from(u16::MAX))]);
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what would be written.
#[derive(Clone, Copy, Default)]
pub(super) struct Length(pub usize);

impl Length {
    /// As a Variable Byte Integer takes it.
    pub fn as_varint(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// What writes the properties of one packet.
pub(super) trait WriteProperties {
    fn write_properties(&self, out: &mut impl Sink);

    fn has_properties(&self) -> bool {
        self.properties_len().0 > 0
    }

    fn properties_len(&self) -> Length {
        let mut len = Length::default();
        self.write_properties(&mut len);
        len
    }

    /// Property length and properties; a length of zero when there are none ([MQTT-2.2.2-1]).
    fn write_property_block(&self, out: &mut impl Sink) {
        out.put_varint(self.properties_len().as_varint());
        self.write_properties(out);
    }
}
