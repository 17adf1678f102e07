//! The end of the log: where the next frame goes, and when a new segment begins.
//!
//! A segment is synced before the next one begins, so that only the last can have a torn end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::disk::Disk;
use super::files::{SEGMENT_HEADER, SegmentHead, segment_name};
use super::frame::{FRAME_HEADER, Position, seal_frame};

/// Owned by the writer.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    store: u64,
    segment_bytes: u64,
    /// The segment that is written to.
    segment: u32,
    offset: u64,
    /// How long each segment is.
    lengths: BTreeMap<u32, u64>,
    /// Something was written since the last sync.
    is_dirty: bool,
}

/// What a frame was written with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub count: u32,
    pub first: u64,
    pub durable: u64,
}

/// Why a frame was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// No space, and nothing of it is left in the file.
    Full(io::Error),
    Failed(io::Error),
}

impl WriteError {
    pub(super) fn is_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    fn of(error: io::Error) -> Self {
        if WriteError::is_full(&error) { WriteError::Full(error) } else { WriteError::Failed(error) }
    }
}

impl Log {
    /// Goes on behind what is there.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        store: u64,
        segment_bytes: u64,
        end: Position,
        lengths: BTreeMap<u32, u64>,
    ) -> Self {
        let (segment, offset) = (end.segment, end.offset.into());
        Log { disk, store, segment_bytes, segment, offset, lengths, is_dirty: false }
    }

    /// Where the next frame will be, unless it begins a segment.
    pub(super) fn end(&self) -> Position {
        Position { segment: self.segment, offset: self.offset as u32 }
    }

    pub(super) fn lengths(&self) -> &BTreeMap<u32, u64> {
        &self.lengths
    }

    pub(super) fn bytes(&self) -> u64 {
        self.lengths.values().sum()
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Whether a frame of this length begins a new segment.
    pub(super) fn must_roll(&self, frame: usize) -> bool {
        self.offset > SEGMENT_HEADER as u64 && self.offset + frame as u64 > self.segment_bytes
    }

    /// Writes a frame, whose records stand behind room for its header.
    pub(super) fn write(&mut self, frame: &mut [u8], numbers: Numbers) -> Result<Position, WriteError> {
        debug_assert!(frame.len() >= FRAME_HEADER);
        let at = self.end();
        seal_frame(frame, self.store, at, numbers.count, numbers.first, numbers.durable);
        let name = segment_name(at.segment);
        self.is_dirty = true;
        if let Err(error) = self.disk.write_at(&name, self.offset, frame) {
            // Whatever stands there is no frame, but the next one must not end before it does.
            return match (WriteError::of(error), self.disk.truncate(&name, self.offset)) {
                (WriteError::Full(_), Err(error)) => Err(WriteError::Failed(error)),
                (error, _) => Err(error),
            };
        }
        self.offset += frame.len() as u64;
        self.lengths.insert(at.segment, self.offset);
        Ok(at)
    }

    /// A failed sync is final: what the system did with the pages nobody knows.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.disk.sync(&segment_name(self.segment))?;
        self.is_dirty = false;
        Ok(())
    }

    /// Begins a new segment; everything before it is synced, up to the record `durable`.
    pub(super) fn roll(&mut self, durable: u64) -> Result<(), WriteError> {
        debug_assert!(!self.is_dirty);
        let next = self.segment + 1;
        let head = SegmentHead { segment: next, store: self.store, first: durable + 1, durable, before: self.offset };
        if let Err(error) = begin_segment(&*self.disk, &head) {
            let removed = self.disk.remove(&segment_name(next));
            return match (WriteError::of(error), removed) {
                (WriteError::Full(_), Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                    Err(WriteError::Failed(error))
                }
                (error, _) => Err(error),
            };
        }
        self.segment = next;
        self.offset = SEGMENT_HEADER as u64;
        self.lengths.insert(next, self.offset);
        Ok(())
    }

    /// A segment that nothing is needed of is gone.
    pub(super) fn forget(&mut self, segment: u32) {
        self.lengths.remove(&segment);
    }
}

/// Makes an empty segment that is there after a loss of power.
pub(super) fn begin_segment(disk: &dyn Disk, head: &SegmentHead) -> io::Result<()> {
    let name = segment_name(head.segment);
    disk.create(&name)?;
    disk.write_at(&name, 0, &head.encode())?;
    disk.sync(&name)?;
    disk.sync_dir()
}
