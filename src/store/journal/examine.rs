//! Looks at a store that no broker uses: everything in it, and everything that is wrong with it. Changes nothing.

use std::io;
use std::path::Path;

use super::disk::{Disk, RealDisk};
use super::error::OpenError;
use super::files::{SEGMENT_HEADER, segment_name};
use super::frame::Position;
use super::index::{Index, Owner};
use super::queue::{Chunk, Ref};
use super::read::{ReadError, SegmentReader};
use super::record::decode_session;
use super::recover::{Listing, Loaded, load, recovered};
use super::scan::{Scan, Scanner, next_frame};
use super::{JournalOptions, Recovered};
use crate::store::{OwnerId, Row};

/// What is in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub sessions: u64,
    pub subscriptions: u64,
    pub groups: u64,
    /// Copies that wait or are in flight.
    pub messages: u64,
    pub retained: u64,
    pub segments: u64,
    /// All files.
    pub bytes: u64,
    /// Of them, what is still needed.
    pub live_bytes: u64,
    /// Behind the last whole frame; the next start cuts it.
    pub torn_bytes: u64,
    /// What is needed and cannot be read: whose, where.
    pub problems: Vec<String>,
    /// Damage to what nothing is needed of.
    pub notes: Vec<String>,
}

/// Takes the directory for as long as the answer lives.
pub(super) fn locked(directory: &Path) -> Result<RealDisk, OpenError> {
    taken(directory, RealDisk::lock)
}

/// The same, for who only reads.
fn locked_to_read(directory: &Path) -> Result<RealDisk, OpenError> {
    taken(directory, RealDisk::lock_to_read)
}

fn taken(directory: &Path, lock: impl FnOnce(&RealDisk) -> io::Result<bool>) -> Result<RealDisk, OpenError> {
    let disk = RealDisk::new(directory);
    let listing = Listing::read(&disk)?;
    if listing.is_empty() {
        return Err(OpenError::Missing { place: disk.place() });
    }
    match lock(&disk) {
        Ok(true) => Ok(disk),
        Ok(false) => Err(OpenError::Locked { place: disk.place() }),
        Err(error) => Err(OpenError::io(&disk, "locking it", error)),
    }
}

/// The store of a directory, as a start would read it.
fn loaded(disk: &dyn Disk) -> Result<(Listing, Loaded), OpenError> {
    let listing = Listing::read(disk)?;
    match load(disk, &listing, JournalOptions::default().page_rows)? {
        Some(loaded) => Ok((listing, loaded)),
        None => Err(OpenError::Missing { place: disk.place() }),
    }
}

/// Reads everything. An error is what would stop a start.
pub fn check(directory: &Path) -> Result<Report, OpenError> {
    check_disk(&locked_to_read(directory)?)
}

pub(crate) fn check_disk(disk: &dyn Disk) -> Result<Report, OpenError> {
    let (listing, loaded) = loaded(disk)?;
    let index = &loaded.index;
    let mut report = Report {
        sessions: index.sessions,
        subscriptions: index.owners.values().map(|owner| owner.subscriptions.len() as u64).sum(),
        groups: index.owners.values().filter(|owner| owner.group.is_some()).count() as u64,
        messages: index.rows,
        retained: index.retained.len() as u64,
        segments: listing.segments.len() as u64,
        bytes: listing.segments.values().sum::<u64>() + listing.checkpoints.values().sum::<u64>(),
        live_bytes: index.live.total() + loaded.checkpoint_bytes,
        torn_bytes: loaded.torn.bytes,
        ..Report::default()
    };
    for unreadable in unreadable(disk, index) {
        report.problems.push(format!("{}: {}", unreadable.what, unreadable.error));
    }
    for (segment, length) in &listing.segments {
        let end = if *segment == loaded.end.segment { loaded.end.offset.into() } else { *length };
        let bad = bad_frames(disk, loaded.facts.store, *segment, end)
            .map_err(|error| OpenError::io(disk, &segment_name(*segment), error))?;
        let named = bad.into_iter().map(|offset| format!("{}: no frame at offset {offset}", segment_name(*segment)));
        report.notes.extend(named);
    }
    Ok(report)
}

/// Where frames should begin in a segment and do not.
fn bad_frames(disk: &dyn Disk, store: u64, segment: u32, length: u64) -> io::Result<Vec<u32>> {
    let mut bad = Vec::new();
    let mut at = Position { segment, offset: SEGMENT_HEADER as u32 };
    loop {
        let mut scanner = Scanner::new(disk, store, at, length);
        let is_end = loop {
            match scanner.next()? {
                Scan::Frame { .. } => {}
                Scan::End => break true,
                Scan::Bad => break false,
            }
        };
        if is_end {
            return Ok(bad);
        }
        bad.push(scanner.at().offset);
        match next_frame(disk, store, scanner.at(), length)? {
            Some((next, _)) => at = next,
            None => return Ok(bad),
        }
    }
}

/// Something that is needed and cannot be read.
pub(super) struct Unreadable {
    /// For those who read of it.
    pub what: String,
    pub error: ReadError,
    pub place: UnreadablePlace,
}

/// Where the index has it.
pub(super) enum UnreadablePlace {
    Copy(OwnerId, Ref),
    Page(OwnerId, Ref),
    Retained(Box<str>),
}

/// Whose an owner is.
pub(super) fn name_of(owner: OwnerId, state: &Owner) -> String {
    let session = state.session.as_deref().and_then(|body| decode_session(body).ok());
    match (session, &state.group) {
        (Some(record), _) => format!("session {:?}", record.client_id),
        (None, Some(filter)) => format!("shared subscription {filter:?}"),
        (None, None) => format!("owner {}", owner.0),
    }
}

/// Tries to read all messages and pages that an index refers to.
pub(super) fn unreadable(disk: &dyn Disk, index: &Index) -> Vec<Unreadable> {
    let mut found = Vec::new();
    let mut reader = SegmentReader::new(disk);
    for (owner, state) in index.owners.iter() {
        let mut copies: Vec<(OwnerId, Ref)> = Vec::new();
        copies.extend(state.sent.iter().filter_map(|sent| Some((sent.from, sent.copy?))));
        for chunk in state.queue.chunks() {
            match chunk {
                Chunk::Loaded(refs) => copies.extend(refs.iter().map(|found| (*owner, *found))),
                Chunk::Sealed(page) => match reader.page(page, *owner) {
                    Ok(refs) => copies.extend(refs.into_iter().map(|found| (*owner, found))),
                    Err(error) => {
                        let what = format!("{} messages of {}", page.count, name_of(*owner, state));
                        let first = Ref::at_page(page);
                        found.push(Unreadable { what, error, place: UnreadablePlace::Page(*owner, first) });
                    }
                },
            }
        }
        for (from, copy) in copies {
            if let Err(error) = reader.row(&copy, from, None) {
                let what = format!("message {} of {}", copy.row.0, name_of(*owner, state));
                found.push(Unreadable { what, error, place: UnreadablePlace::Copy(*owner, copy) });
            }
        }
    }
    for (topic, copy) in index.retained.iter() {
        if let Err(error) = reader.message(copy) {
            let what = format!("the retained message of {topic:?}");
            found.push(Unreadable { what, error, place: UnreadablePlace::Retained(topic.clone()) });
        }
    }
    found
}

/// Everything in a store: first what a broker would begin with, then each copy that waits.
pub fn read_store<E: From<OpenError>>(
    directory: &Path,
    mut begin: impl FnMut(&Recovered) -> Result<(), E>,
    mut row: impl FnMut(OwnerId, &Row) -> Result<(), E>,
) -> Result<(), E> {
    let disk = locked_to_read(directory)?;
    let (_, loaded) = loaded(&disk)?;
    let recovered = recovered(&disk, &loaded)?;
    begin(&recovered)?;
    let owners = recovered.sessions.iter().map(|session| session.record.owner);
    let mut reader = SegmentReader::new(&disk);
    for owner in owners.chain(recovered.groups.iter().map(|group| group.owner)) {
        let Some(state) = loaded.index.owners.get(&owner) else { continue };
        for chunk in state.queue.chunks() {
            let failed = |error| OpenError::read(&disk, error, name_of(owner, state));
            let page;
            let refs = match chunk {
                Chunk::Loaded(refs) => refs,
                Chunk::Sealed(meta) => {
                    page = reader.page(meta, owner).map_err(failed)?;
                    &page
                }
            };
            for (at, found) in refs.iter().enumerate() {
                row(owner, &reader.row(found, owner, refs.get(at + 1)).map_err(failed)?)?;
            }
        }
    }
    Ok(())
}
