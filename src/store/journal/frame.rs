//! Frames: what is written at once, and is there as a whole or not at all.
//!
//! ```text
//! magic 4 · CRC-32C 4 · length 4 · count 4 · first 8 · durable up to 8 · records (length bytes)
//! ```
//! All numbers have their lowest byte first. The checksum covers where the frame stands (the store's id, segment,
//! offset) and everything behind it: a frame that was copied to another place, or that a client has put into a payload,
//! is none. `first` is the number of the first record, `count` how many of its records have numbers (those that only say
//! where things are have none). `durable up to` is the highest number that was known to be synced when the frame was
//! written: below it, nothing can be missing by a torn write.

/// Where a frame begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub segment: u32,
    pub offset: u32,
}

pub(super) const FRAME_HEADER: usize = 32;
const MAGIC: [u8; 4] = *b"MgF\x01";

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub length: u32,
    pub count: u32,
    pub first: u64,
    pub durable: u64,
}

impl FrameHead {
    /// With its header.
    pub(super) fn total(&self) -> usize {
        FRAME_HEADER + self.length as usize
    }
}

/// Writes the header of a frame into its first bytes; the records stand behind them already.
pub(super) fn seal_frame(frame: &mut [u8], store: u64, at: Position, count: u32, first: u64, durable: u64) {
    let length = (frame.len() - FRAME_HEADER) as u32;
    frame[..4].copy_from_slice(&MAGIC);
    frame[8..12].copy_from_slice(&length.to_le_bytes());
    frame[12..16].copy_from_slice(&count.to_le_bytes());
    frame[16..24].copy_from_slice(&first.to_le_bytes());
    frame[24..32].copy_from_slice(&durable.to_le_bytes());
    let checksum = checksum(frame, store, at);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// What the header at the start of `bytes` says, if it can be one; nothing is verified but the magic.
pub(super) fn peek_frame(bytes: &[u8]) -> Option<FrameHead> {
    let header = bytes.get(..FRAME_HEADER)?;
    let number = |at: usize| header[at..at + 4].iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
    let head = FrameHead { length: number(8), count: number(12), first: long(16), durable: long(24) };
    (header[..4] == MAGIC && head.first.checked_add(u64::from(head.count)).is_some()).then_some(head)
}

/// The frame at the start of `bytes`, with its records, if it is whole.
pub(super) fn open_frame(bytes: &[u8], store: u64, at: Position) -> Option<(FrameHead, &[u8])> {
    let head = peek_frame(bytes)?;
    let frame = bytes.get(..head.total())?;
    (frame[4..8] == checksum(frame, store, at).to_le_bytes()).then(|| (head, &frame[FRAME_HEADER..]))
}

fn checksum(frame: &[u8], store: u64, at: Position) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&store.to_le_bytes());
    place[8..12].copy_from_slice(&at.segment.to_le_bytes());
    place[12..].copy_from_slice(&at.offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), &frame[8..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { segment: 3, offset: 48 };

    fn frame() -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEADER];
        frame.extend_from_slice(b"records");
        seal_frame(&mut frame, 7, AT, 2, 100, 90);
        frame
    }

    #[test]
    fn a_frame_is_whole_only_where_it_was_written() {
        let frame = frame();
        let (head, records) = open_frame(&frame, 7, AT).expect("a frame");
        assert_eq!(head, FrameHead { length: 7, count: 2, first: 100, durable: 90 });
        assert_eq!(records, b"records");
        assert_eq!(open_frame(&frame, 8, AT), None);
        assert_eq!(open_frame(&frame, 7, Position { offset: 49, ..AT }), None);
        assert_eq!(open_frame(&frame, 7, Position { segment: 4, ..AT }), None);
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_noticed() {
        let whole = frame();
        for bit in 0..whole.len() * 8 {
            let mut frame = whole.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_frame(&frame, 7, AT), None, "bit {bit}");
        }
        for length in 0..whole.len() {
            assert_eq!(open_frame(&whole[..length], 7, AT), None);
        }
    }
}
