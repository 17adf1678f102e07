//! Copies forward what is left of segments that are mostly dead, a step at a time.
//!
//! A victim is read frame by frame; a message of which a copy still waits, or that is still retained, is written again
//! with its old row and the copies that are left; a page is loaded, and written again with the others at the end. Then
//! nothing is needed of the victim, and it goes after the next checkpoint. One that cannot be read is left alone.

use std::collections::HashSet;

use super::files::{SEGMENT_HEADER, segment_name};
use super::frame::{FRAME_HEADER, Position, open_frame, peek_frame};
use super::index::Index;
use super::queue::read_page_body;
use super::read::SegmentReader;
use super::record::{CopyRecord, MessageRecord, Record, Records, put_moved};
use super::writer::{Stop, Writer};
use crate::store::RowId;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    victim: Option<Position>,
    /// Could not be read.
    unreadable: HashSet<u32>,
    /// What was needed at the last tick, and whether that was much less than at the one before.
    live: u64,
    is_emptied: bool,
}

impl Compaction {
    pub(super) fn is_running(&self) -> bool {
        self.victim.is_some()
    }

    pub(super) fn reads(&self, segment: u32) -> bool {
        self.victim.is_some_and(|victim| victim.segment == segment)
    }

    pub(super) fn tick(&mut self, live: u64) {
        self.is_emptied = self.live.saturating_sub(live) > self.live / 100;
        self.live = live;
    }
}

/// More of the files than this many hundredths of what is needed is too much, beside the slack.
const BYTES_PER_100_LIVE: u64 = 115;
/// A segment of which more is live is no victim: it would be written again for nothing.
const LIVE_PERCENT_MAX: u64 = 90;
/// While queues are emptied, one that is less than half dead will soon be more so.
const LIVE_PERCENT_MAX_EMPTIED: u64 = 50;
/// What is read of victims for each byte that is written. What is copied stands between what is written, and soon among
/// dead bytes if that is short-lived: were it not the most of its segment, it would have to be copied again and again.
const PACE: usize = 12;
/// Of a segment, what must be dead before it ends early: one divided by this.
const GAIN_PART: u64 = 16;

impl Writer {
    /// Takes a step if there is something to gain, and more of them the more was `written` since the last.
    pub(super) fn compact(&mut self, written: usize) -> Result<(), Stop> {
        for _ in 0..=written * PACE / self.options.compact_step_bytes {
            self.take_step()?;
            if self.compaction.victim.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn take_step(&mut self) -> Result<(), Stop> {
        if let Some(at) = self.compaction.victim
            && self.index.read().live.of(at.segment) == 0
        {
            self.end_victim();
        }
        if self.compaction.victim.is_none() {
            self.compaction.victim = self.choose_victim();
        }
        if self.compaction.victim.is_none() && self.is_pressed() && self.current_is_worth_it() {
            self.roll()?;
        }
        let Some(at) = self.compaction.victim else { return Ok(()) };
        self.compact_from(at)
    }

    fn choose_victim(&self) -> Option<Position> {
        if !self.is_too_much() {
            return None;
        }
        let index = self.index.read();
        let current = self.log.end().segment;
        let is_patient = self.compaction.is_emptied && !self.is_pressed();
        let percent_max = if is_patient { LIVE_PERCENT_MAX_EMPTIED } else { LIVE_PERCENT_MAX };
        let closed = self.log.lengths().range(..current);
        let rated = closed.filter_map(|(segment, bytes)| {
            let live = index.live.of(*segment);
            let percent = live * 100 / (*bytes).max(1);
            let is_worth = live > 0 && percent < percent_max && !self.compaction.unreadable.contains(segment);
            (is_worth && self.has_room_for(live)).then_some((percent, *segment))
        });
        let (_, segment) = rated.min()?;
        Some(Position { segment, offset: SEGMENT_HEADER as u32 })
    }

    /// Whether the files have much in them that nobody needs, beside what the next checkpoint removes.
    fn is_too_much(&self) -> bool {
        let dead: u64 = self.dead_segments().iter().filter_map(|segment| self.log.lengths().get(segment)).sum();
        let slack = if self.is_pressed() { 0 } else { self.options.slack_bytes };
        self.log.bytes() - dead > self.index.read().live.total() / 100 * BYTES_PER_100_LIVE + slack
    }

    /// The last bytes of a disk are for those who empty its queues.
    fn has_room_for(&self, bytes: u64) -> bool {
        self.free / 2 > bytes
    }

    /// Whether there is something to gain in the segment that is written to: it ends then, and is one like the others.
    fn current_is_worth_it(&self) -> bool {
        let Position { segment, offset } = self.log.end();
        let (bytes, live) = (u64::from(offset), self.index.read().live.of(segment));
        let dead = bytes.saturating_sub(live);
        // A little that is dead is always there: without a least gain each mark would end a segment.
        let is_worth = dead >= self.options.segment_bytes / GAIN_PART && live * 100 / bytes.max(1) < LIVE_PERCENT_MAX;
        is_worth && self.is_too_much() && self.has_room_for(live)
    }

    fn compact_from(&mut self, at: Position) -> Result<(), Stop> {
        let length = self.log.lengths().get(&at.segment).copied().unwrap_or(0) as usize;
        let Some(bytes) = self.read_step(at, length) else {
            self.give_up(at);
            return Ok(());
        };
        let mut offset = 0;
        self.begin_frame();
        while let Some(head) = peek_frame(&bytes[offset..]).filter(|head| offset + head.total() <= bytes.len()) {
            let here = Position { offset: at.offset + offset as u32, ..at };
            let Some((_, records)) = open_frame(&bytes[offset..], self.facts.store, here) else { break };
            if !self.keep_live(here, head.first, records) {
                break;
            }
            offset += head.total();
        }
        if offset == 0 && (at.offset as usize) < length {
            self.give_up(at);
            return Ok(());
        }
        if self.records_len() > 0 {
            self.write_unnumbered()?;
        }
        let next = Position { offset: at.offset + offset as u32, ..at };
        self.compaction.victim = ((next.offset as usize) < length).then_some(next);
        if self.compaction.victim.is_none() {
            // What is still counted is in nothing that was found there.
            if self.index.read().live.of(at.segment) > 0 {
                self.compaction.unreadable.insert(at.segment);
            }
            self.end_victim();
        }
        Ok(())
    }

    /// The next one follows at once: an idle writer would look for it at the next tick only.
    fn end_victim(&mut self) {
        self.compaction.victim = None;
        self.compaction.victim = self.choose_victim();
        // It may have messages of the same pages: these are written once.
        if self.compaction.victim.is_none() {
            self.begin_sweep();
        }
    }

    /// Whole frames from `at` on: at least one, and about as much as a step is.
    fn read_step(&self, at: Position, length: usize) -> Option<Vec<u8>> {
        let left = length.saturating_sub(at.offset as usize);
        let mut bytes = vec![0; left.min(self.options.compact_step_bytes.max(FRAME_HEADER))];
        let name = segment_name(at.segment);
        let read = self.disk.read_at(&name, at.offset.into(), &mut bytes).ok()?;
        let needed = peek_frame(&bytes).map_or(0, |head| head.total());
        if read == bytes.len() && needed > bytes.len() && needed <= left {
            bytes = vec![0; needed];
            self.disk.read_at(&name, at.offset.into(), &mut bytes).ok()?;
        }
        Some(bytes)
    }

    fn give_up(&mut self, at: Position) {
        tracing::warn!(file = segment_name(at.segment), offset = at.offset, "not compacted: a frame cannot be read");
        self.compaction.victim = None;
        self.compaction.unreadable.insert(at.segment);
    }

    /// Adds what is live of a frame to the one that is made; whether all of it could be read.
    fn keep_live(&mut self, at: Position, first: u64, records: &[u8]) -> bool {
        let base = Position { offset: at.offset + FRAME_HEADER as u32, ..at };
        let index = std::sync::Arc::clone(&self.index);
        let mut index = index.write();
        let mut row = first;
        for record in Records::new(records) {
            let Ok(record) = record else { return false };
            let number = row;
            row += u64::from(record.has_number());
            let kept = match record {
                Record::Message(message) => self.keep_message(&mut index, base, RowId(number), &message),
                Record::Moved { row, message } => self.keep_message(&mut index, base, row, &message),
                Record::Page { at, page } => {
                    let at = Position { offset: base.offset + at as u32, ..base };
                    self.load_page(&mut index, at, page)
                }
                _ => true,
            };
            if !kept {
                return false;
            }
        }
        true
    }

    fn keep_message(&mut self, index: &mut Index, base: Position, row: RowId, message: &MessageRecord<'_>) -> bool {
        let at = Position { offset: base.offset + message.at as u32, ..base };
        let mut reader = SegmentReader::new(&*self.disk);
        let mut copies: Vec<CopyRecord<'_>> = Vec::new();
        for (_, copy) in message.copies() {
            let spans = |segment: u32| {
                let page = index.owners.get(&copy.owner)?.queue.page_of(row)?;
                Some(page.spans.iter().any(|(spanned, _)| *spanned == segment))
            };
            if spans(at.segment) == Some(true)
                && index.load(copy.owner, row, &mut |page, owner| reader.page(page, owner)).is_err()
            {
                return false;
            }
            if index.find(copy.owner, row).is_some_and(|found| found.at == at) {
                copies.push(copy);
            }
        }
        let retained = index.retained.get(message.part.topic()).is_some_and(|found| found.at == at);
        if retained || !copies.is_empty() {
            put_moved(self.records(), row, &message.part, retained, &copies);
        }
        true
    }

    /// A page that is still one is loaded, so that it will be written elsewhere.
    fn load_page(&mut self, index: &mut Index, at: Position, page: &[u8]) -> bool {
        let Ok((owner, refs)) = read_page_body(page) else { return false };
        let Some(row) = refs.front().map(|found| found.row) else { return true };
        let is_current = |index: &Index| Some(index.owners.get(&owner)?.queue.page_of(row)?.at == at);
        if is_current(index) != Some(true) {
            return true;
        }
        let mut reader = SegmentReader::new(&*self.disk);
        index.load(owner, row, &mut |page, owner| reader.page(page, owner)).is_ok()
    }
}
