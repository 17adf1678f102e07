//! The names of the files of a store, and what stands at their beginning.
//!
//! ```text
//! segment     "MIDGESEG" · version 4 · segment 4 · store 8 · first record 8 · durable up to 8 · length before 8 · CRC-32C 4
//! checkpoint  "MIDGECHK" · version 4 · … (see `checkpoint`)
//! ```

/// What this program writes. In version 2 the record of a session also says up to which row its copies had been sent.
pub(crate) const VERSION: u32 = 2;
/// The oldest that it reads.
pub(crate) const VERSION_MIN: u32 = 1;

pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"MIDGESEG";
pub(super) const CHECKPOINT_MAGIC: [u8; 8] = *b"MIDGECHK";
pub(super) const SEGMENT_HEADER: usize = 52;

pub(super) fn segment_name(number: u32) -> String {
    format!("{number:016}.segment")
}

pub(super) fn checkpoint_name(number: u64) -> String {
    format!("checkpoint-{number:016}")
}

/// What is not whole until it has its name.
pub(super) const TEMPORARY: &str = ".new";

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment(u32),
    Checkpoint(u64),
    Temporary,
    Lock,
    Reserve,
    /// What `midge store repair` has put aside.
    Aside,
    Other,
}

pub(super) fn kind_of(name: &str) -> FileKind {
    let digits = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    if name == super::disk::LOCK_FILE {
        return FileKind::Lock;
    }
    if name == super::reserve::RESERVE_FILE {
        return FileKind::Reserve;
    }
    if name.ends_with(TEMPORARY) {
        return FileKind::Temporary;
    }
    if name.contains(ASIDE) {
        return FileKind::Aside;
    }
    if let Some(number) = name.strip_suffix(".segment").filter(|text| digits(text)) {
        return number.parse().map_or(FileKind::Other, FileKind::Segment);
    }
    if let Some(number) = name.strip_prefix("checkpoint-").filter(|text| digits(text)) {
        return number.parse().map_or(FileKind::Other, FileKind::Checkpoint);
    }
    FileKind::Other
}

/// In the name of a file that `midge store repair` has put aside.
pub(super) const ASIDE: &str = ".damaged";

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub segment: u32,
    pub store: u64,
    /// The number that its first record has or would have.
    pub first: u64,
    pub durable: u64,
    /// How long the segment before it is, zero for the first.
    pub before: u64,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut header = [0; SEGMENT_HEADER];
        header[..8].copy_from_slice(&SEGMENT_MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&self.segment.to_le_bytes());
        header[16..24].copy_from_slice(&self.store.to_le_bytes());
        header[24..32].copy_from_slice(&self.first.to_le_bytes());
        header[32..40].copy_from_slice(&self.durable.to_le_bytes());
        header[40..48].copy_from_slice(&self.before.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..48]);
        header[48..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; SEGMENT_HEADER] = bytes.first_chunk()?;
        let number = |at: usize| header[at..at + 4].iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
        let whole = header[..8] == SEGMENT_MAGIC && crc32c::crc32c(&header[..48]) == number(48);
        let (segment, store, first, durable, before) = (number(12), long(16), long(24), long(32), long(40));
        whole.then_some(SegmentHead { segment, store, first, durable, before })
    }
}

/// The version that the beginning of a file of ours names.
pub(super) fn version_of(bytes: &[u8]) -> Option<u32> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let version = rest.first_chunk::<4>()?;
    [SEGMENT_MAGIC, CHECKPOINT_MAGIC].contains(magic).then(|| u32::from_le_bytes(*version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        assert_eq!(kind_of(&segment_name(7)), FileKind::Segment(7));
        assert_eq!(kind_of(&checkpoint_name(u64::from(u32::MAX))), FileKind::Checkpoint(u64::from(u32::MAX)));
        assert_eq!(kind_of(&format!("{}{TEMPORARY}", checkpoint_name(1))), FileKind::Temporary);
        assert_eq!(kind_of("lock"), FileKind::Lock);
        assert_eq!(kind_of("reserve.new"), FileKind::Reserve);
        for other in
            ["1.segment", "checkpoint-x", "99999999999999999.segment", "mosquitto.db", "9999999999999999.segment"]
        {
            assert_eq!(kind_of(other), FileKind::Other, "{other}");
        }
    }

    #[test]
    fn a_segment_header_is_whole_or_none() {
        let head = SegmentHead { segment: 3, store: u64::MAX - 5, first: 1 << 40, durable: 99, before: 1 << 33 };
        let mut bytes = head.encode();
        assert_eq!((SegmentHead::decode(&bytes), version_of(&bytes)), (Some(head), Some(VERSION)));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHead::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
