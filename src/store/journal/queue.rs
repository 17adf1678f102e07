//! One owner's queue: references to its messages in the order of their rows, in chunks.
//!
//! ```text
//! front ─► Sealed page ─ Sealed page ─ … ─ Loaded chunk ◄─ pushed here
//!          on disk, 60 bytes here            40 bytes a row
//! ```
//! A chunk that is full is written as a page and only its summary stays. Who takes a row out of a page loads it first, so
//! that a sealed page is always exact. The chunks that a queue has follow from the records alone: a replay makes the same.

use std::collections::VecDeque;

use triomphe::Arc;

use super::codec::{Malformed, Reader, put_number, put_numbers, put_time};
use super::frame::Position;
use crate::message::BrokerTime;
use crate::store::{OwnerId, RowId, Waiting};

/// Where the copy of a message is, and what it counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ref {
    pub row: RowId,
    pub expires_at: BrokerTime,
    /// Of the message part.
    pub at: Position,
    pub len: u32,
    /// Where the copy stands, behind the message part's beginning.
    pub copy_at: u32,
    /// As `Message::size` counts.
    pub size: u32,
    /// What this reference keeps alive of its segment.
    pub share: u32,
}

impl Ref {
    /// Stands for a page that cannot be read.
    pub(super) fn at_page(page: &PageMeta) -> Self {
        let PageMeta { at, len, first, earliest_expiry, .. } = *page;
        Ref { row: first, expires_at: earliest_expiry, at, len, copy_at: 0, size: 0, share: 0 }
    }
}

/// A page on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageMeta {
    pub at: Position,
    pub len: u32,
    pub count: u32,
    pub first: RowId,
    pub last: RowId,
    /// As `Message::size` counts.
    pub bytes: u64,
    pub earliest_expiry: BrokerTime,
    /// What its references keep alive, segment by segment.
    pub spans: Box<[(u32, u32)]>,
}

#[derive(Clone, Debug)]
pub(super) enum Chunk {
    Loaded(VecDeque<Ref>),
    /// Shared with copies of the queue, for as long as it is a page.
    Sealed(Arc<PageMeta>),
}

impl Chunk {
    /// The last row that can be in it.
    fn last(&self) -> RowId {
        match self {
            Chunk::Loaded(refs) => refs.back().map_or(RowId(0), |found| found.row),
            Chunk::Sealed(page) => page.last,
        }
    }
}

/// The references of one owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Chunk>,
}

/// What stands behind a row.
pub(super) enum Next {
    Nothing,
    Refs(Vec<Ref>),
    Page(Arc<PageMeta>),
}

/// What became of a page that was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sealing {
    /// It stands for references that were loaded.
    Done,
    /// It stands for what another page stood for.
    Replaced(Arc<PageMeta>),
    /// Its references are not those of the queue.
    Impossible,
}

impl Queue {
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter()
    }

    /// For a queue that is read from a checkpoint.
    pub(super) fn push_chunk(&mut self, chunk: Chunk) {
        self.chunks.push_back(chunk);
    }

    pub(super) fn rows(&self) -> u64 {
        let count = |chunk: &Chunk| match chunk {
            Chunk::Loaded(refs) => refs.len() as u64,
            Chunk::Sealed(page) => u64::from(page.count),
        };
        self.chunks.iter().map(count).sum()
    }

    pub(super) fn loaded(&self) -> usize {
        self.chunks.iter().map(|chunk| if let Chunk::Loaded(refs) = chunk { refs.len() } else { 0 }).sum()
    }

    pub(super) fn summary(&self) -> Waiting {
        let mut waiting = Waiting::default();
        let mut earliest = BrokerTime::NEVER;
        for chunk in &self.chunks {
            match chunk {
                Chunk::Loaded(refs) => {
                    waiting.rows += refs.len() as u64;
                    waiting.bytes += refs.iter().map(|found| u64::from(found.size)).sum::<u64>();
                    earliest = refs.iter().map(|found| found.expires_at).fold(earliest, BrokerTime::min);
                }
                Chunk::Sealed(page) => {
                    waiting.rows += u64::from(page.count);
                    waiting.bytes += page.bytes;
                    earliest = earliest.min(page.earliest_expiry);
                }
            }
        }
        waiting.earliest_expiry = Some(earliest).filter(|time| *time != BrokerTime::NEVER);
        waiting
    }

    /// Adds the newest row; whether that filled a chunk.
    pub(super) fn push(&mut self, found: Ref, rows_max: usize) -> bool {
        if let Some(Chunk::Loaded(refs)) = self.chunks.back_mut()
            && refs.len() < rows_max
        {
            // Twice as much at a time would be the most of what very many short queues take.
            if refs.len() == refs.capacity() {
                refs.reserve_exact((refs.len() / 2).max(4).min(rows_max - refs.len()));
            }
            refs.push_back(found);
            return false;
        }
        self.chunks.push_back(Chunk::Loaded(VecDeque::from([found])));
        self.chunks.len() > 1
    }

    /// The chunk in which a row is, if it is.
    fn position(&self, row: RowId) -> Option<usize> {
        // Rows come at the end, and mostly go at the front.
        if self.chunks.front()?.last() >= row {
            return Some(0);
        }
        if self.chunks.back()?.last() < row {
            return None;
        }
        let at = self.chunks.partition_point(|chunk| chunk.last() < row);
        (at < self.chunks.len()).then_some(at)
    }

    /// The page that must be loaded before a row is looked for.
    pub(super) fn page_of(&self, row: RowId) -> Option<&PageMeta> {
        match &self.chunks[self.position(row)?] {
            Chunk::Sealed(page) if page.first <= row => Some(page),
            _ => None,
        }
    }

    /// Puts what was read in place of its page.
    pub(super) fn load(&mut self, row: RowId, refs: VecDeque<Ref>) {
        if let Some(at) = self.position(row) {
            self.chunks[at] = Chunk::Loaded(refs);
        }
    }

    /// Takes a page out that cannot be read.
    pub(super) fn forget_page(&mut self, first: RowId) {
        self.chunks.retain(|chunk| !matches!(chunk, Chunk::Sealed(page) if page.first == first));
    }

    /// A reference whose page is loaded.
    pub(super) fn find_mut(&mut self, row: RowId) -> Option<&mut Ref> {
        let at = self.position(row)?;
        let Chunk::Loaded(refs) = &mut self.chunks[at] else { return None };
        let at = refs.binary_search_by_key(&row, |found| found.row).ok()?;
        refs.get_mut(at)
    }

    pub(super) fn find(&self, row: RowId) -> Option<&Ref> {
        let Chunk::Loaded(refs) = &self.chunks[self.position(row)?] else { return None };
        refs.get(refs.binary_search_by_key(&row, |found| found.row).ok()?)
    }

    /// Takes a reference out whose page is loaded.
    pub(super) fn remove(&mut self, row: RowId) -> Option<Ref> {
        let at = self.position(row)?;
        let Chunk::Loaded(refs) = &mut self.chunks[at] else { return None };
        let removed = refs.remove(refs.binary_search_by_key(&row, |found| found.row).ok()?);
        if refs.is_empty() {
            self.chunks.remove(at);
        } else if refs.capacity() > 4 * refs.len() + 16 {
            refs.shrink_to(2 * refs.len());
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        removed
    }

    /// What comes behind a row: references, or the page in which they are.
    pub(super) fn next(&self, after: RowId, rows_max: usize) -> Next {
        let Some(at) = self.position(RowId(after.0.saturating_add(1))) else { return Next::Nothing };
        match &self.chunks[at] {
            Chunk::Sealed(page) => Next::Page(Arc::clone(page)),
            Chunk::Loaded(refs) => {
                let from = refs.partition_point(|found| found.row <= after);
                Next::Refs(refs.range(from..).take(rows_max).copied().collect())
            }
        }
    }

    /// Chunks to be written as pages: all that are loaded and have so many rows, but for the last when it still grows.
    pub(super) fn sealable(&self, rows_min: usize, with_last: bool) -> impl Iterator<Item = &VecDeque<Ref>> {
        let count = if with_last { self.chunks.len() } else { self.chunks.len().saturating_sub(1) };
        self.chunks.iter().take(count).filter_map(move |chunk| match chunk {
            Chunk::Loaded(refs) if refs.len() >= rows_min => Some(refs),
            _ => None,
        })
    }

    /// A page was written: its summary takes the place of its references.
    pub(super) fn seal(&mut self, page: PageMeta) -> Sealing {
        let (Some(from), Some(to)) = (self.position(page.first), self.position(page.last)) else {
            return Sealing::Impossible;
        };
        if let Chunk::Sealed(known) = &mut self.chunks[from] {
            // It was loaded only to be written elsewhere.
            let same = (known.first, known.last, known.count) == (page.first, page.last, page.count);
            return if same {
                Sealing::Replaced(std::mem::replace(known, Arc::new(page)))
            } else {
                Sealing::Impossible
            };
        }
        let mut before = VecDeque::new();
        for chunk in self.chunks.range(from..=to) {
            let Chunk::Loaded(refs) = chunk else { return Sealing::Impossible };
            before.extend(refs.iter().copied());
        }
        // Chunks may have had another length when the page was written.
        let mut inside = before.split_off(before.partition_point(|found| found.row < page.first));
        let after = inside.split_off(inside.partition_point(|found| found.row <= page.last));
        if inside.len() != page.count as usize {
            return Sealing::Impossible;
        }
        let behind = self.chunks.split_off(to + 1);
        self.chunks.truncate(from);
        let loaded = |refs: VecDeque<Ref>| (!refs.is_empty()).then_some(Chunk::Loaded(refs));
        self.chunks.extend(loaded(before));
        self.chunks.push_back(Chunk::Sealed(Arc::new(page)));
        self.chunks.extend(loaded(after));
        self.chunks.extend(behind);
        Sealing::Done
    }
}

/// Writes references as differences to the one before.
pub(super) fn put_refs<'a>(buf: &mut Vec<u8>, refs: impl ExactSizeIterator<Item = &'a Ref>) {
    put_number(buf, refs.len() as u64);
    let (mut row, mut at) = (0, Position::default());
    for found in refs {
        put_number(buf, found.row.0 - row);
        put_number(buf, signed(i64::from(found.at.segment) - i64::from(at.segment)));
        put_number(buf, signed(i64::from(found.at.offset) - i64::from(at.offset)));
        (row, at) = (found.row.0, found.at);
        put_numbers(buf, [found.len, found.copy_at, found.size, found.share]);
        put_time(buf, found.expires_at);
    }
}

pub(super) fn read_refs(reader: &mut Reader<'_>) -> Result<VecDeque<Ref>, Malformed> {
    let count = reader.size()?;
    // Not more than there can be: eight numbers each.
    let mut refs = VecDeque::with_capacity(count.min(reader.rest().len() / 8));
    let (mut row, mut at) = (0u64, Position::default());
    for _ in 0..count {
        row = row.checked_add(reader.number()?).ok_or(Malformed)?;
        let shifted = |from: u32, by: u64| {
            i64::from(from).checked_add(unsigned(by)).and_then(|to| u32::try_from(to).ok()).ok_or(Malformed)
        };
        let segment = shifted(at.segment, reader.number()?)?;
        at = Position { segment, offset: shifted(at.offset, reader.number()?)? };
        let (len, copy_at) = (reader.number_u32()?, reader.number_u32()?);
        let (size, share) = (reader.number_u32()?, reader.number_u32()?);
        refs.push_back(Ref { row: RowId(row), expires_at: reader.time()?, at, len, copy_at, size, share });
    }
    Ok(refs)
}

/// The sign in the lowest bit: small differences are short in both directions.
fn signed(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unsigned(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// A page as it stands in its record: the owner, the references, a checksum.
pub(super) fn put_page_body(buf: &mut Vec<u8>, owner: OwnerId, refs: &VecDeque<Ref>) {
    let at = buf.len();
    put_number(buf, owner.0);
    put_refs(buf, refs.iter());
    let checksum = crc32c::crc32c(&buf[at..]);
    buf.extend_from_slice(&checksum.to_le_bytes());
}

/// What a page holds.
pub(super) fn read_page_body(bytes: &[u8]) -> Result<(OwnerId, VecDeque<Ref>), Malformed> {
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(Malformed)?;
    if crc32c::crc32c(body).to_le_bytes() != *checksum {
        return Err(Malformed);
    }
    let mut reader = Reader::new(body);
    let owner = OwnerId(reader.number()?);
    let refs = read_refs(&mut reader)?;
    reader.is_empty().then_some((owner, refs)).ok_or(Malformed)
}

impl PageMeta {
    /// The summary of a page that stands at `at`; `None` when it is empty.
    pub(super) fn of(refs: &VecDeque<Ref>, at: Position, len: u32) -> Option<PageMeta> {
        let mut spans: Vec<(u32, u32)> = Vec::new();
        for found in refs {
            match spans.iter_mut().find(|(segment, _)| *segment == found.at.segment) {
                Some((_, bytes)) => *bytes += found.share,
                None => spans.push((found.at.segment, found.share)),
            }
        }
        Some(PageMeta {
            at,
            len,
            count: refs.len() as u32,
            first: refs.front()?.row,
            last: refs.back()?.row,
            bytes: refs.iter().map(|found| u64::from(found.size)).sum(),
            earliest_expiry: refs.iter().map(|found| found.expires_at).min()?,
            spans: spans.into_boxed_slice(),
        })
    }

    pub(super) fn put(&self, buf: &mut Vec<u8>) {
        put_numbers(buf, [self.at.segment, self.at.offset, self.len, self.count]);
        put_numbers(buf, [self.first.0, self.last.0, self.bytes]);
        put_time(buf, self.earliest_expiry);
        put_number(buf, self.spans.len() as u64);
        for (segment, bytes) in &self.spans {
            put_number(buf, u64::from(*segment));
            put_number(buf, u64::from(*bytes));
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let at = Position { segment: reader.number_u32()?, offset: reader.number_u32()? };
        let (len, count) = (reader.number_u32()?, reader.number_u32()?);
        let (first, last, bytes) = (RowId(reader.number()?), RowId(reader.number()?), reader.number()?);
        let earliest_expiry = reader.time()?;
        let spans =
            (0..reader.size()?).map(|_| Ok((reader.number_u32()?, reader.number_u32()?))).collect::<Result<_, _>>()?;
        Ok(PageMeta { at, len, count, first, last, bytes, earliest_expiry, spans })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(row: u64) -> Ref {
        Ref {
            row: RowId(row),
            expires_at: if row.is_multiple_of(3) { BrokerTime::NEVER } else { BrokerTime::from_millis(row * 10) },
            at: Position { segment: (row / 5) as u32, offset: 7000u32.wrapping_mul(row as u32) % 5000 },
            len: 150,
            copy_at: 152,
            size: 210,
            share: 155,
        }
    }

    fn queue(rows: impl Iterator<Item = u64>) -> Queue {
        let mut queue = Queue::default();
        for row in rows {
            queue.push(reference(row), 4);
        }
        queue
    }

    #[test]
    fn references_survive_the_round_trip_in_twenty_bytes() {
        let refs: VecDeque<Ref> = (1..=100).map(reference).collect();
        let mut buf = Vec::new();
        put_page_body(&mut buf, OwnerId(9), &refs);
        assert_eq!(read_page_body(&buf), Ok((OwnerId(9), refs)));
        assert!(buf.len() < 2000, "{}", buf.len());
        for at in 0..buf.len() {
            buf[at] ^= 4;
            assert_eq!(read_page_body(&buf), Err(Malformed));
            buf[at] ^= 4;
        }
    }

    #[test]
    fn a_sealed_chunk_keeps_its_sums_and_is_loaded_for_a_row() {
        let mut queue = queue(1..=10);
        let before = queue.summary();
        let refs = queue.sealable(4, false).next().expect("a full chunk").clone();
        let page = PageMeta::of(&refs, Position::default(), 80).expect("rows");
        assert_eq!(queue.seal(page.clone()), Sealing::Done);
        assert_eq!((queue.summary(), queue.rows(), queue.loaded()), (before, 10, 6));
        assert_eq!(queue.page_of(RowId(2)), Some(&page));
        assert_eq!(queue.page_of(RowId(5)), None);
        assert_eq!(queue.remove(RowId(2)), None);
        queue.load(RowId(2), refs);
        assert_eq!(queue.remove(RowId(2)), Some(reference(2)));
        assert_eq!((queue.remove(RowId(2)), queue.rows()), (None, 9));
    }

    #[test]
    fn rows_are_found_from_anywhere() {
        let mut queue = queue((1..=20).map(|row| row * 2));
        for row in [2, 4, 6, 8, 20] {
            assert!(queue.remove(RowId(row)).is_some());
        }
        let mut found = Vec::new();
        let mut after = RowId(9);
        while let Next::Refs(refs) = queue.next(after, 3) {
            found.extend(refs.iter().map(|found| found.row.0));
            after = RowId(*found.last().expect("some"));
        }
        assert_eq!(found, (5..=20).map(|row| row * 2).filter(|row| *row != 20).collect::<Vec<_>>());
    }
}
