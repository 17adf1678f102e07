//! Goes on without what is damaged: says what is lost, and keeps a copy of each damaged file.
//!
//! The log is replayed as far as there are frames, and what the index then refers to and cannot be read is taken out of
//! it. A checkpoint behind everything makes this the state from which the next start begins; segments stay, since others
//! of their messages may be needed.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::JournalOptions;
use super::checkpoint::{self, Facts};
use super::disk::Disk;
use super::error::OpenError;
use super::examine::{Unreadable, UnreadablePlace, locked, unreadable};
use super::files::{ASIDE, SEGMENT_HEADER, SegmentHead, checkpoint_name, segment_name};
use super::frame::Position;
use super::index::Index;
use super::log::begin_segment;
use super::read::{ReadError, SegmentReader};
use super::recover::{Listing, affected_records, check_version, read_checkpoint};
use super::scan::{Scan, Scanner, next_frame, read_head};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What is no longer there, and where it was.
    pub lost: Vec<String>,
    /// Copies of damaged files.
    pub kept: Vec<String>,
}

/// Makes a store that a start can read of what is there. Nothing is done to one that is whole.
pub fn repair(directory: &Path) -> Result<Repaired, OpenError> {
    repair_disk(&locked(directory)?)
}

pub(crate) fn repair_disk(disk: &dyn Disk) -> Result<Repaired, OpenError> {
    let listing = Listing::read(disk)?;
    for name in listing.checkpoints.keys().map(|number| checkpoint_name(*number)) {
        check_version(disk, &name)?;
    }
    let mut salvage = Salvage { disk, listing: &listing, lost: Vec::new(), damaged: BTreeSet::new() };
    let (facts, mut index) = salvage.checkpoint()?;
    salvage.replay(&facts, &mut index)?;
    for unreadable in unreadable(disk, &index) {
        salvage.forget(&mut index, unreadable);
    }
    let Salvage { lost, damaged, .. } = salvage;
    if damaged.is_empty() {
        return Ok(Repaired { lost, kept: Vec::new() });
    }
    let finish = || -> io::Result<Vec<String>> {
        let kept = damaged.iter().map(|name| put_aside(disk, name)).collect::<io::Result<Vec<_>>>()?;
        conclude(disk, &listing, &facts, &index)?;
        Ok(kept)
    };
    let kept = finish().map_err(|error| OpenError::io(disk, "repairing", error))?;
    Ok(Repaired { lost, kept })
}

/// Collects what can be read.
struct Salvage<'a> {
    disk: &'a dyn Disk,
    listing: &'a Listing,
    lost: Vec<String>,
    /// Names of files.
    damaged: BTreeSet<String>,
}

impl Salvage<'_> {
    /// The newest checkpoint that can be read, or an empty index before everything that is left.
    fn checkpoint(&mut self) -> Result<(Facts, Index), OpenError> {
        for (number, length) in self.listing.checkpoints.iter().rev() {
            match read_checkpoint(self.disk, *number, *length) {
                Ok(found) => return Ok(found),
                Err(OpenError::Damaged { file, offset, affected, .. }) => {
                    self.lost.push(format!("{file}, damaged at offset {offset}: {affected}"));
                    self.damaged.insert(file);
                }
                Err(error) => return Err(error),
            }
        }
        let first = self.listing.segments.keys().next().copied().unwrap_or(1);
        let heads = self.listing.segments.keys().filter_map(|segment| read_head(self.disk, *segment).ok().flatten());
        let store = heads.map(|head| head.store).next().unwrap_or_else(rand::random);
        let position = Position { segment: first, offset: SEGMENT_HEADER as u32 };
        let number = self.listing.checkpoints.keys().next_back().copied().unwrap_or(0);
        if self.listing.checkpoints.is_empty() {
            self.lost.push("the checkpoint is missing: what was stored before the log that is left".into());
            self.damaged.insert(segment_name(first));
        }
        Ok((Facts { store, number, seed: rand::random(), position }, Index::new()))
    }

    fn replay(&mut self, facts: &Facts, index: &mut Index) -> Result<(), OpenError> {
        let mut before = None;
        for (segment, length) in self.listing.segments.range(facts.position.segment..) {
            let is_first = *segment == facts.position.segment;
            let head = read_head(self.disk, *segment).ok().flatten().filter(|head| head.store == facts.store);
            if head.is_none_or(|head| before.is_some_and(|before| head.before != before)) {
                let file = segment_name(*segment);
                self.lost
                    .push(format!("{file}: its header does not belong here; what is behind it is read all the same"));
                self.damaged.insert(file);
            }
            before = Some(*length);
            let offset = if is_first { facts.position.offset } else { SEGMENT_HEADER as u32 };
            let mut at = Position { segment: *segment, offset };
            while let Some(next) = self.frames(facts.store, at, *length, index)? {
                at = next;
            }
        }
        Ok(())
    }

    /// Applies frames until one is bad; where the next one is behind it.
    fn frames(
        &mut self,
        store: u64,
        from: Position,
        length: u64,
        index: &mut Index,
    ) -> Result<Option<Position>, OpenError> {
        let disk = self.disk;
        let file = segment_name(from.segment);
        let failed = |error| OpenError::io(disk, &segment_name(from.segment), error);
        let mut scanner = Scanner::new(disk, store, from, length);
        let mut reader = SegmentReader::new(disk);
        loop {
            match scanner.next().map_err(failed)? {
                Scan::End => return Ok(None),
                Scan::Frame { at, head, records } => {
                    let mut load = |page: &_, owner| reader.page(page, owner);
                    if let Err(error) = index.apply(at, head.first, records, usize::MAX, &mut load) {
                        let affected = affected_records(index, records);
                        self.lost.push(format!("{file}, the frame at offset {}: {error}: {affected}", at.offset));
                        self.damaged.insert(file.clone());
                    }
                }
                Scan::Bad => break,
            }
        }
        let bad = scanner.at();
        let affected = affected_records(index, scanner.rest().get(super::frame::FRAME_HEADER..).unwrap_or_default());
        let next = next_frame(disk, store, bad, length).map_err(failed)?;
        let until = next.map_or(length, |(next, _)| next.offset.into());
        self.lost.push(format!("{file}, from offset {} to {until}: {affected}", bad.offset));
        self.damaged.insert(file);
        Ok(next.map(|(next, _)| next))
    }

    fn forget(&mut self, index: &mut Index, Unreadable { what, error, place }: Unreadable) {
        let (ReadError::Gone { file, .. } | ReadError::Io { file, .. } | ReadError::Damaged { file, .. }) = &error;
        if self.listing.segments.keys().any(|segment| segment_name(*segment) == *file) {
            self.damaged.insert(file.clone());
        } else {
            // A file that is missing cannot be put aside, and is damage all the same.
            self.damaged.extend(self.listing.checkpoints.keys().next_back().map(|number| checkpoint_name(*number)));
        }
        self.lost.push(format!("{what}: {error}"));
        let disk = self.disk;
        let mut reader = SegmentReader::new(disk);
        match place {
            UnreadablePlace::Retained(topic) => drop(index.retained.remove(&topic)),
            UnreadablePlace::Page(owner, first) => {
                if let Some(state) = index.owners.owner_mut(owner) {
                    state.queue.forget_page(first.row);
                }
            }
            UnreadablePlace::Copy(owner, copy) => {
                // Its page could be read, or it would have been forgotten as a whole.
                let _ = index.finish(owner, copy.row, &mut |page, owner| reader.page(page, owner));
            }
        }
    }
}

/// Copies a file to a name that nobody else looks at.
fn put_aside(disk: &dyn Disk, name: &str) -> io::Result<String> {
    let taken: BTreeSet<String> = disk.list()?.into_iter().map(|(name, _)| name).collect();
    let names = (1..).map(|number| format!("{name}{ASIDE}-{number}"));
    let aside = names.into_iter().find(|aside| !taken.contains(aside)).unwrap_or_default();
    disk.create(&aside)?;
    let mut at = 0;
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = disk.read_at(name, at, &mut piece)?;
        if read == 0 {
            break;
        }
        disk.write_at(&aside, at, &piece[..read])?;
        at += read as u64;
    }
    disk.sync(&aside)?;
    Ok(aside)
}

/// Begins a segment behind all others, and writes the checkpoint that begins there.
fn conclude(disk: &dyn Disk, listing: &Listing, facts: &Facts, index: &Index) -> io::Result<()> {
    let segment = listing.segments.keys().next_back().copied().unwrap_or(0) + 1;
    let durable = index.next_record - 1;
    begin_segment(disk, &SegmentHead { segment, store: facts.store, first: durable + 1, durable, before: 0 })?;
    let number = listing.checkpoints.keys().next_back().copied().unwrap_or(0) + 1;
    let position = Position { segment, offset: SEGMENT_HEADER as u32 };
    checkpoint::write(disk, &Facts { number, position, ..*facts }, index.picture())?;
    listing.checkpoints.keys().try_for_each(|old| disk.remove(&checkpoint_name(*old)))?;
    disk.sync_dir()
}

/// Copies forward everything that is needed, so that nothing else is left; bytes of all files before and after.
pub fn compact(directory: &Path) -> Result<(u64, u64), OpenError> {
    let disk = std::sync::Arc::new(locked(directory)?);
    let bytes = |disk: &dyn Disk| Ok::<_, OpenError>(super::examine::check_disk(disk)?.bytes);
    let before = bytes(&*disk)?;
    disk.unlock();
    let options = JournalOptions { slack_bytes: 0, free_bytes_min: 0, reserve_bytes: 0, ..JournalOptions::default() };
    super::compact_all(directory, &options)?;
    let after = bytes(&locked(directory)?)?;
    Ok((before, after))
}
