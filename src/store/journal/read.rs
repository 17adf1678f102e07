//! Reading single things back from segments: a message with one of its copies, a page.

use std::collections::VecDeque;
use std::io;

use super::codec::Malformed;
use super::disk::Disk;
use super::files::segment_name;
use super::frame::Position;
use super::queue::{PageMeta, Ref, read_page_body};
use super::record::{CopyRecord, Part};
use crate::message::Message;
use crate::store::{OwnerId, Row, StoredCopy};

/// Why something could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file is not there, or ends before it should: a reader without the lock tries again.
    #[error("{file}: there is nothing at offset {offset}")]
    Gone { file: String, offset: u64 },
    #[error("{file}: {error}")]
    Io { file: String, error: io::Error },
    #[error("{file}: what stands at offset {offset} is not {what} that was written there")]
    Damaged { file: String, offset: u64, what: &'static str },
}

impl ReadError {
    fn of(error: io::Error, file: String, offset: u64) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => ReadError::Gone { file, offset },
            _ => ReadError::Io { file, error },
        }
    }

    fn damaged(at: Position, what: &'static str) -> Self {
        ReadError::Damaged { file: segment_name(at.segment), offset: at.offset.into(), what }
    }
}

/// A piece of a segment that was read last: the next message is often in it.
struct Window {
    at: Position,
    /// How much of the buffer was read.
    len: usize,
    buf: Vec<u8>,
}

/// Reads one thing after the other.
pub(super) struct SegmentReader<'a> {
    disk: &'a dyn Disk,
    window: Window,
}

/// What is read at once when the next message is near.
const WINDOW_BYTES: usize = 128 * 1024;
/// How near that is.
const NEAR_BYTES: u32 = 16 * 1024;
/// What a copy takes at most without identifiers and group, and then with all of them.
const COPY_BYTES: [usize; 2] = [32, 512 * 1024];

impl<'a> SegmentReader<'a> {
    pub(super) fn new(disk: &'a dyn Disk) -> Self {
        SegmentReader { disk, window: Window { at: Position::default(), len: 0, buf: Vec::new() } }
    }

    /// At least `min` bytes from a place on, and up to `max` when there are more.
    fn bytes(&mut self, at: Position, min: usize, max: usize) -> Result<&[u8], ReadError> {
        let Window { at: start, len, buf } = &mut self.window;
        let from = at.offset.wrapping_sub(start.offset) as usize;
        if start.segment == at.segment && at.offset >= start.offset && *len >= from.saturating_add(min) {
            return Ok(&buf[from..(*len).min(from + max)]);
        }
        if buf.len() < max {
            *buf = vec![0; max];
        }
        let file = segment_name(at.segment);
        (*start, *len) = (at, 0);
        match self.disk.read_at(&file, at.offset.into(), &mut buf[..max]) {
            Err(error) => Err(ReadError::of(error, file, at.offset.into())),
            Ok(read) if read < min => Err(ReadError::Gone { file, offset: at.offset.into() }),
            Ok(read) => {
                *len = read;
                Ok(&buf[..read])
            }
        }
    }

    fn part(&mut self, found: &Ref, max: usize) -> Result<Message, ReadError> {
        let len = found.len as usize;
        let bytes = self.bytes(found.at, len, max.max(len))?;
        let part = Part::verify(&bytes[..len]).map_err(|Malformed| ReadError::damaged(found.at, "the message"))?;
        Ok(part.message())
    }

    fn copy(&mut self, found: &Ref, owner: OwnerId) -> Result<StoredCopy, ReadError> {
        let offset = found.at.offset + found.copy_at;
        let at = Position { offset, ..found.at };
        for max in COPY_BYTES {
            let bytes = self.bytes(at, 1, max)?;
            match CopyRecord::verify(bytes, owner) {
                Ok(copy) => return Ok(copy),
                // Perhaps the window ended within it.
                Err(Malformed) => self.window.len = 0,
            }
        }
        Err(ReadError::damaged(at, "the copy"))
    }

    /// A retained message.
    pub(super) fn message(&mut self, found: &Ref) -> Result<Message, ReadError> {
        self.part(found, WINDOW_BYTES)
    }

    /// A copy of an owner; `next` is what will be read after it.
    pub(super) fn row(&mut self, found: &Ref, owner: OwnerId, next: Option<&Ref>) -> Result<Row, ReadError> {
        let alone = (found.len.max(found.copy_at) as usize).saturating_add(COPY_BYTES[0]);
        let near = next.is_some_and(|next| {
            next.at.segment == found.at.segment && next.at.offset.wrapping_sub(found.at.offset) < NEAR_BYTES
        });
        let max = match (near, alone > WINDOW_BYTES) {
            (true, _) => WINDOW_BYTES.max(alone),
            (false, false) => alone,
            // The copies of a message for very many stand far behind it.
            (false, true) => found.len as usize,
        };
        let message = self.part(found, max)?;
        Ok(Row { row: found.row, message, copy: self.copy(found, owner)? })
    }

    /// The references of a page.
    pub(super) fn page(&mut self, page: &PageMeta, owner: OwnerId) -> Result<VecDeque<Ref>, ReadError> {
        let len = page.len as usize;
        let bytes = self.bytes(page.at, len, len)?;
        match read_page_body(&bytes[..len]) {
            Ok((of, refs)) if of == owner && PageMeta::of(&refs, page.at, page.len).as_ref() == Some(page) => Ok(refs),
            _ => Err(ReadError::damaged(page.at, "the page")),
        }
    }
}
