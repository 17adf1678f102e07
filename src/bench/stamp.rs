//! What every message carries at the front of its payload: whose it is, which one, and since when it is due.

/// Bytes of a stamp, and so of the smallest payload.
pub const STAMP_BYTES: usize = 16;
/// Most publishers of a run: 24 bits.
pub const PUBLISHERS_MAX: u32 = 1 << 24;
const NUMBER_BITS: u32 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Below [`PUBLISHERS_MAX`].
    pub(super) publisher: u32,
    /// Counts from 0 for each publisher; 40 bits are months at any rate.
    pub(super) number: u64,
    /// Nanoseconds since the run began.
    pub(super) due: u64,
}

impl Stamp {
    #[inline]
    pub(super) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let id = u64::from(self.publisher) << NUMBER_BITS | self.number;
        let mut bytes = [0; STAMP_BYTES];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[8..].copy_from_slice(&self.due.to_le_bytes());
        bytes
    }

    #[inline]
    pub(super) fn from_bytes(bytes: [u8; STAMP_BYTES]) -> Stamp {
        let [id, due] = [0, 8].map(|from| {
            let mut half = [0; 8];
            half.copy_from_slice(&bytes[from..from + 8]);
            u64::from_le_bytes(half)
        });
        Stamp { publisher: (id >> NUMBER_BITS) as u32, number: id & ((1 << NUMBER_BITS) - 1), due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_as_it_went() {
        let stamp = Stamp { publisher: PUBLISHERS_MAX - 1, number: 0xAB_CDEF_0123, due: u64::MAX - 1 };
        assert_eq!(Stamp::from_bytes(stamp.to_bytes()), stamp);
    }
}
