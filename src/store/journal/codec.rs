//! Numbers, strings and flags as the journal writes them.
//!
//! Numbers are varints (seven bits a byte, the lowest first), strings and byte strings have their length before them.
//! Reading never panics and never takes more than what is there: what is not as it should be is [`Malformed`].

use crate::message::BrokerTime;
use crate::topic::{QoS, RetainHandling, SubscribeOptions};

/// Bytes that this program did not write, or not like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed")]
pub(super) struct Malformed;

pub(super) fn put_number(buf: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buf.push(number as u8 | 0x80);
        number >>= 7;
    }
    buf.push(number as u8);
}

pub(super) fn put_numbers<N: Into<u64>>(buf: &mut Vec<u8>, numbers: impl IntoIterator<Item = N>) {
    numbers.into_iter().for_each(|number| put_number(buf, number.into()));
}

pub(super) fn put_bytes(buf: &mut Vec<u8>, bytes: &[u8]) {
    put_number(buf, bytes.len() as u64);
    buf.extend_from_slice(bytes);
}

pub(super) fn put_str(buf: &mut Vec<u8>, text: &str) {
    put_bytes(buf, text.as_bytes());
}

/// Never is a zero, and no time needs ten bytes.
pub(super) fn put_time(buf: &mut Vec<u8>, time: BrokerTime) {
    put_number(buf, time.as_millis().wrapping_add(1));
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// How much has been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.rest().get(..count).ok_or(Malformed)?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    pub(super) fn number_u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed)
    }

    pub(super) fn number_u16(&mut self) -> Result<u16, Malformed> {
        u16::try_from(self.number()?).map_err(|_| Malformed)
    }

    pub(super) fn size(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.size()?;
        self.take(length)
    }

    pub(super) fn str(&mut self) -> Result<&'a str, Malformed> {
        simdutf8::basic::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(super) fn time(&mut self) -> Result<BrokerTime, Malformed> {
        Ok(BrokerTime::from_millis(self.number()?.wrapping_sub(1)))
    }

    /// Four bytes, the lowest first.
    pub(super) fn fixed_u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?))
    }

    /// Eight bytes, the lowest first.
    pub(super) fn fixed_u64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?))
    }
}

/// As the byte of a SUBSCRIBE packet.
pub(super) fn options_to_byte(options: SubscribeOptions) -> u8 {
    options.qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | (options.retain_handling as u8) << 4
}

pub(super) fn options_from_byte(byte: u8) -> Result<SubscribeOptions, Malformed> {
    let retain_handling = match byte >> 4 {
        0 => RetainHandling::SendAtSubscribe,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(Malformed),
    };
    Ok(SubscribeOptions {
        qos: QoS::from_bits(byte & 3).ok_or(Malformed)?,
        no_local: byte & 4 != 0,
        retain_as_published: byte & 8 != 0,
        retain_handling,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut buf = Vec::new();
            put_number(&mut buf, number);
            let mut reader = Reader::new(&buf);
            assert_eq!(reader.number(), Ok(number));
            assert!(reader.is_empty());
            assert_eq!(Reader::new(&buf[..buf.len() - 1]).number(), Err(Malformed));
        }
        assert_eq!(Reader::new(&[0xFF; 10]).number(), Err(Malformed));
    }

    #[test]
    fn never_is_a_byte_and_every_time_survives() {
        let mut buf = Vec::new();
        put_time(&mut buf, BrokerTime::NEVER);
        assert_eq!(buf, [0]);
        for time in [BrokerTime::NEVER, BrokerTime::default(), BrokerTime::from_millis(u64::MAX - 1)] {
            buf.clear();
            put_time(&mut buf, time);
            assert_eq!(Reader::new(&buf).time(), Ok(time));
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_malformed() {
        assert_eq!(Reader::new(&[5, 1, 2]).bytes(), Err(Malformed));
        assert_eq!(Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]).bytes(), Err(Malformed));
    }

    #[test]
    fn every_subscribe_option_survives() {
        for byte in 0..=u8::MAX {
            if let Ok(options) = options_from_byte(byte) {
                assert_eq!(options_to_byte(options), byte);
            }
        }
    }
}
