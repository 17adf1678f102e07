//! Reads segments frame by frame, and tells a torn end from damage.

use std::io;

use super::disk::Disk;
use super::files::{SegmentHead, segment_name};
use super::frame::{FRAME_HEADER, FrameHead, Position, open_frame, peek_frame};

/// Reads the frames of one segment in order.
pub(super) struct Scanner<'a> {
    disk: &'a dyn Disk,
    store: u64,
    /// Where the next frame begins.
    at: Position,
    length: u64,
    /// A piece of the file, and where in it the next frame begins.
    buf: Vec<u8>,
    from: usize,
}

/// What comes next in a segment.
pub(super) enum Scan<'a> {
    Frame {
        at: Position,
        head: FrameHead,
        records: &'a [u8],
    },
    /// The file ends where a frame ends.
    End,
    /// No frame, or a broken one.
    Bad,
}

const READ_BYTES: usize = 1 << 20;

impl<'a> Scanner<'a> {
    /// From a place on, to the end of a file of this length.
    pub(super) fn new(disk: &'a dyn Disk, store: u64, at: Position, length: u64) -> Self {
        Scanner { disk, store, at, length, buf: Vec::new(), from: 0 }
    }

    pub(super) fn at(&self) -> Position {
        self.at
    }

    pub(super) fn next(&mut self) -> io::Result<Scan<'_>> {
        if u64::from(self.at.offset) >= self.length {
            return Ok(Scan::End);
        }
        self.fill(FRAME_HEADER)?;
        let Some(total) = peek_frame(&self.buf[self.from..]).map(|head| head.total()) else { return Ok(Scan::Bad) };
        if total as u64 > self.length - u64::from(self.at.offset) {
            return Ok(Scan::Bad);
        }
        self.fill(total)?;
        let at = self.at;
        let Some((head, records)) = open_frame(&self.buf[self.from..], self.store, at) else { return Ok(Scan::Bad) };
        self.from += total;
        self.at.offset += total as u32;
        Ok(Scan::Frame { at, head, records })
    }

    /// What stands where the last frame was not one.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buf[self.from..]
    }

    /// Reads on until so much of the next frame is there, or the file ends.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let has = self.buf.len() - self.from;
        if has >= wanted {
            return Ok(());
        }
        self.buf.drain(..self.from);
        self.from = 0;
        let left = self.length - u64::from(self.at.offset) - has as u64;
        let more = (wanted - has).max(READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut buf = vec![0; has + more];
        buf[..has].copy_from_slice(&self.buf);
        let name = segment_name(self.at.segment);
        let read = self.disk.read_at(&name, u64::from(self.at.offset) + has as u64, &mut buf[has..])?;
        buf.truncate(has + read);
        self.buf = buf;
        Ok(())
    }
}

/// The next whole frame behind a bad one, in the same segment.
pub(super) fn next_frame(
    disk: &dyn Disk,
    store: u64,
    bad: Position,
    length: u64,
) -> io::Result<Option<(Position, FrameHead)>> {
    let from = u64::from(bad.offset) + 1;
    let mut bytes = vec![0; usize::try_from(length.saturating_sub(from)).unwrap_or(0)];
    let read = disk.read_at(&segment_name(bad.segment), from, &mut bytes)?;
    bytes.truncate(read);
    let found = memchr::memmem::find_iter(&bytes, b"MgF\x01").find_map(|at| {
        let place = Position { offset: (from + at as u64) as u32, ..bad };
        open_frame(&bytes[at..], store, place).map(|(head, _)| (place, head))
    });
    Ok(found)
}

/// Whether something behind a bad frame proves that it was synced: that the record `number` was.
pub(super) fn was_synced(
    disk: &dyn Disk,
    store: u64,
    bad: Position,
    number: u64,
    segments: impl Iterator<Item = (u32, u64)>,
) -> io::Result<bool> {
    for (segment, length) in segments.filter(|(segment, _)| *segment >= bad.segment) {
        let mut at = if segment == bad.segment { bad } else { Position { segment, offset: 0 } };
        if segment > bad.segment && read_head(disk, segment)?.is_some_and(|head| head.durable >= number) {
            return Ok(true);
        }
        while let Some((found, head)) = next_frame(disk, store, at, length)? {
            if head.durable >= number {
                return Ok(true);
            }
            at = found;
        }
    }
    Ok(false)
}

/// The header of a segment, if it is whole.
pub(super) fn read_head(disk: &dyn Disk, segment: u32) -> io::Result<Option<SegmentHead>> {
    let mut bytes = [0; super::files::SEGMENT_HEADER];
    let read = disk.read_at(&segment_name(segment), 0, &mut bytes)?;
    Ok(SegmentHead::decode(&bytes[..read]).filter(|head| head.segment == segment))
}
