//! The Variable Byte Integer (section 1.5.5): seven bits a byte, lowest first, at most four bytes, shortest form only.

/// The largest value four bytes hold.
pub(super) const MAX: u32 = 268_435_455;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Value { value: u32, len: usize },
    Incomplete,
    TooLong,
    NotMinimal,
}

#[inline]
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    match bytes {
        [byte, ..] if byte & 0x80 == 0 => Decoded::Value { value: (*byte).into(), len: 1 },
        _ => decode_long(bytes),
    }
}

fn decode_long(bytes: &[u8]) -> Decoded {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            // [MQTT-1.5.5-1]
            return if byte == 0 && i > 0 { Decoded::NotMinimal } else { Decoded::Value { value, len: i + 1 } };
        }
    }
    if bytes.len() < 4 { Decoded::Incomplete } else { Decoded::TooLong }
}

/// How many bytes `value` takes.
pub(super) fn len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// The bytes of `value` and how many of them count; a value above [`MAX`] is cut to it.
pub(super) fn encode(value: u32) -> ([u8; 4], usize) {
    let mut rest = value.min(MAX);
    let mut bytes = [0; 4];
    let len = len(rest);
    for byte in &mut bytes[..len - 1] {
        *byte = (rest & 0x7F) as u8 | 0x80;
        rest >>= 7;
    }
    bytes[len - 1] = rest as u8;
    (bytes, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    // [MQTT-1.5.5-1]
    #[test]
    fn every_length_takes_the_fewest_bytes_and_comes_back() {
        for (value, len_expected) in
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4), (MAX, 4)]
        {
            let (bytes, n) = encode(value);
            assert_eq!((n, len(value)), (len_expected, len_expected));
            assert_eq!(decode(&bytes[..n]), Decoded::Value { value, len: n });
            for cut in 0..n {
                assert_eq!(decode(&bytes[..cut]), Decoded::Incomplete);
            }
        }
    }

    // [MQTT-1.5.5-1]
    #[test]
    fn a_longer_form_than_needed_is_refused() {
        for bytes in [&[0x80, 0x00][..], &[0x81, 0x00], &[0xFF, 0x80, 0x00], &[0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(decode(bytes), Decoded::NotMinimal, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_fourth_byte_that_promises_a_fifth_is_refused_at_once() {
        assert_eq!(decode(&[0x80, 0x80, 0x80, 0x80]), Decoded::TooLong);
        assert_eq!(decode(&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), Decoded::TooLong);
    }
}
