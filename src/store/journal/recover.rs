//! A start: the newest checkpoint, the log behind it, and what of the end of the log is no longer there.
//!
//! A bad frame whose records cannot have been synced is a torn end, and is cut. Any other is damage: nothing is changed,
//! and the error names file, offset and what is affected.

use std::collections::BTreeMap;
use std::io;

use super::checkpoint::{self, Facts};
use super::disk::Disk;
use super::error::OpenError;
use super::files::{
    FileKind, SEGMENT_HEADER, VERSION, VERSION_MIN, checkpoint_name, kind_of, segment_name, version_of,
};
use super::frame::Position;
use super::index::{ApplyError, Index};
use super::read::{ReadError, SegmentReader};
use super::record::{Record, Records, decode_session};
use super::scan::{Scan, Scanner, read_head, was_synced};
use crate::store::progress::Progress;
use crate::store::{Recovered, RecoveredGroup, RecoveredSession};

/// What a directory has in it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// With their lengths.
    pub segments: BTreeMap<u32, u64>,
    pub checkpoints: BTreeMap<u64, u64>,
    pub temporary: Vec<String>,
    foreign: Option<String>,
}

impl Listing {
    pub(super) fn read(disk: &dyn Disk) -> Result<Self, OpenError> {
        let mut listing = Listing::default();
        for (name, length) in disk.list().map_err(|error| OpenError::io(disk, "listing it", error))? {
            match kind_of(&name) {
                FileKind::Segment(number) => drop(listing.segments.insert(number, length)),
                FileKind::Checkpoint(number) => drop(listing.checkpoints.insert(number, length)),
                FileKind::Temporary => listing.temporary.push(name),
                FileKind::Lock | FileKind::Reserve | FileKind::Aside => {}
                FileKind::Other if name == "lost+found" || name.starts_with('.') => {}
                FileKind::Other => listing.foreign = listing.foreign.or(Some(name)),
            }
        }
        if listing.is_empty()
            && let Some(name) = listing.foreign
        {
            return Err(OpenError::Foreign { place: disk.place(), name });
        }
        Ok(listing)
    }

    /// There is no store yet.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.checkpoints.is_empty()
    }
}

/// A store as it was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub index: Index,
    pub facts: Facts,
    pub checkpoint_bytes: u64,
    /// Where the log goes on.
    pub end: Position,
    /// Bytes of the log behind the checkpoint.
    pub log_since: u64,
    /// Segments that are kept.
    pub lengths: BTreeMap<u32, u64>,
    /// What is behind the end: how much of the last segment, and later segments.
    pub torn: Torn,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Torn {
    pub bytes: u64,
    pub segments: Vec<u32>,
}

/// Reads checkpoint and log; changes nothing. `None` when nothing was ever stored.
pub(super) fn load(disk: &dyn Disk, listing: &Listing, page_rows: usize) -> Result<Option<Loaded>, OpenError> {
    let Some((number, checkpoint_bytes)) = listing.checkpoints.last_key_value().map(|(n, bytes)| (*n, *bytes)) else {
        return match listing.segments.keys().next() {
            None => Ok(None),
            // The first segment is made before the first checkpoint.
            Some(1) if is_unused(disk, listing)? => Ok(None),
            Some(first) => {
                let what = "the checkpoint is missing".to_owned();
                let affected = "all sessions, subscriptions and retained messages".to_owned();
                Err(OpenError::damaged(disk, segment_name(*first), 0, what, affected))
            }
        };
    };
    let (facts, index) = read_checkpoint(disk, number, checkpoint_bytes)?;
    let mut replay =
        Replay { disk, page_rows, index, facts, listing, end: facts.position, since: 0, torn: Torn::default() };
    replay.run()?;
    let Replay { index, end, since, torn, .. } = replay;
    let mut lengths = listing.segments.clone();
    lengths.retain(|segment, _| *segment <= end.segment);
    lengths.insert(end.segment, end.offset.into());
    if let Some(missing) = index.live.segments().find(|segment| !lengths.contains_key(segment)) {
        let affected = "messages that wait, or are retained, in it".to_owned();
        return Err(OpenError::damaged(disk, segment_name(missing), 0, "the file is missing".into(), affected));
    }
    Ok(Some(Loaded { index, facts, checkpoint_bytes, end, log_since: since, lengths, torn }))
}

fn is_unused(disk: &dyn Disk, listing: &Listing) -> Result<bool, OpenError> {
    let length = listing.segments.values().sum::<u64>();
    check_version(disk, &segment_name(1))?;
    Ok(listing.segments.len() == 1 && length <= SEGMENT_HEADER as u64)
}

/// What another version wrote is not looked at further.
pub(super) fn check_version(disk: &dyn Disk, name: &str) -> Result<(), OpenError> {
    let mut bytes = [0; 12];
    let read = disk.read_at(name, 0, &mut bytes).map_err(|error| OpenError::io(disk, name, error))?;
    match version_of(&bytes[..read]) {
        Some(found) if !(VERSION_MIN..=VERSION).contains(&found) => {
            Err(OpenError::Version { place: disk.place(), file: name.to_owned(), found })
        }
        _ => Ok(()),
    }
}

pub(super) fn read_checkpoint(disk: &dyn Disk, number: u64, length: u64) -> Result<(Facts, Index), OpenError> {
    let name = checkpoint_name(number);
    check_version(disk, &name)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = disk.read_at(&name, 0, &mut bytes).map_err(|error| OpenError::io(disk, &name, error))?;
    checkpoint::decode(&bytes[..read]).map_err(|unusable| {
        let affected = "all sessions, subscriptions and retained messages that are not in the log behind it".to_owned();
        OpenError::damaged(disk, name, unusable.offset, "it is not what was written".into(), affected)
    })
}

/// Applies the log behind a checkpoint.
struct Replay<'a> {
    disk: &'a dyn Disk,
    page_rows: usize,
    index: Index,
    facts: Facts,
    listing: &'a Listing,
    end: Position,
    since: u64,
    torn: Torn,
}

impl Replay<'_> {
    fn run(&mut self) -> Result<(), OpenError> {
        let last = self.listing.segments.keys().next_back().copied().unwrap_or(0);
        let first = self.facts.position.segment;
        let behind = self.listing.segments.range(first..).map(|(_, length)| length).sum::<u64>();
        let bytes = behind.saturating_sub(self.facts.position.offset.into());
        let what = format!("reading {} MB of the journal", bytes >> 20);
        let mut progress = Progress::begin(what, bytes, MUCH_BYTES);
        for segment in first..=last.max(first) {
            let offset = if segment == first { self.facts.position.offset } else { SEGMENT_HEADER as u32 };
            let Some(length) = self
                .listing
                .segments
                .get(&segment)
                .copied()
                .filter(|length| segment > first || *length >= u64::from(offset))
            else {
                let what = "the file, or its end, is missing".to_owned();
                let affected = "everything that was stored after its checkpoint".to_owned();
                return Err(OpenError::damaged(self.disk, segment_name(segment), offset.into(), what, affected));
            };
            if !self.begins_well(segment, segment == first)? || !self.segment(segment, offset, length, &mut progress)? {
                break;
            }
        }
        Ok(())
    }

    fn io(&self, segment: u32, error: io::Error) -> OpenError {
        OpenError::io(self.disk, &segment_name(segment), error)
    }

    /// Whether the header of a segment is whole, and follows the segment before it. If it never was: where the log ends.
    fn begins_well(&mut self, segment: u32, is_first: bool) -> Result<bool, OpenError> {
        check_version(self.disk, &segment_name(segment))?;
        let head = read_head(self.disk, segment).map_err(|error| self.io(segment, error))?;
        if let Some(head) = head.filter(|head| head.store == self.facts.store)
            && (is_first || head.before == u64::from(self.end.offset))
        {
            return Ok(true);
        }
        let at = Position { segment, offset: 0 };
        let is_last = self.listing.segments.keys().next_back() == Some(&segment);
        if is_first || !is_last || head.is_some() || self.was_synced(at)? {
            let what = "its header does not belong here".to_owned();
            return Err(OpenError::damaged(self.disk, segment_name(segment), 0, what, "all that is in it".into()));
        }
        self.torn.segments.push(segment);
        Ok(false)
    }

    fn was_synced(&self, at: Position) -> Result<bool, OpenError> {
        let segments = self.listing.segments.iter().map(|(segment, length)| (*segment, *length));
        was_synced(self.disk, self.facts.store, at, self.index.next_record, segments)
            .map_err(|error| self.io(at.segment, error))
    }

    /// Applies a segment; whether it ended with a whole frame.
    fn segment(&mut self, segment: u32, offset: u32, length: u64, progress: &mut Progress) -> Result<bool, OpenError> {
        let disk = self.disk;
        let mut scanner = Scanner::new(disk, self.facts.store, Position { segment, offset }, length);
        let mut reader = SegmentReader::new(disk);
        loop {
            self.end = scanner.at();
            match scanner.next().map_err(|error| OpenError::io(disk, &segment_name(segment), error))? {
                Scan::End => return Ok(true),
                Scan::Frame { at, head, records } if head.first >= self.index.next_record => {
                    self.since += head.total() as u64;
                    progress.add(head.total() as u64);
                    let mut load = |page: &_, owner| reader.page(page, owner);
                    let applied = self.index.apply(at, head.first, records, self.page_rows, &mut load);
                    applied.map_err(|error| self.not_applied(at, records, error))?;
                }
                _ => break,
            }
        }
        let at = self.end;
        if self.was_synced(at)? {
            let affected = affected(&self.index, scanner.rest());
            let what = "a frame that was synced is not what was written".to_owned();
            return Err(OpenError::damaged(disk, segment_name(segment), at.offset.into(), what, affected));
        }
        self.torn.bytes = length - u64::from(at.offset);
        self.torn.segments.extend(self.listing.segments.range(segment + 1..).map(|(later, _)| *later));
        Ok(false)
    }

    fn not_applied(&self, at: Position, records: &[u8], error: ApplyError) -> OpenError {
        let affected = affected_records(&self.index, records);
        match error {
            ApplyError::Read(error) => OpenError::read(self.disk, error, affected),
            ApplyError::Malformed(_) => {
                OpenError::damaged(self.disk, segment_name(at.segment), at.offset.into(), error.to_string(), affected)
            }
        }
    }
}

/// What a slow disk reads in about a second.
const MUCH_BYTES: u64 = 64 << 20;
/// Messages that a slow disk finds in about a second.
const MUCH_RETAINED: u64 = 10_000;

/// What can still be read of a broken frame.
fn affected(index: &Index, frame: &[u8]) -> String {
    affected_records(index, frame.get(super::frame::FRAME_HEADER..).unwrap_or_default())
}

/// At most so many names in an error.
const NAMES_MAX: usize = 5;

/// Whom records are about, as far as they can be read.
pub(super) fn affected_records(index: &Index, records: &[u8]) -> String {
    let mut names: Vec<String> = Vec::new();
    for record in Records::new(records).map_while(Result::ok) {
        let owner = match record {
            Record::Message(message) | Record::Moved { message, .. } => {
                names.push(format!("a message on {:?}", message.part.topic()));
                continue;
            }
            Record::PutSession { owner, .. } | Record::DeleteOwner(owner) => owner,
            Record::PutSubscription { owner, .. } | Record::DeleteSubscription { owner, .. } => owner,
            Record::PutReplay { owner, .. } | Record::DeleteReplay { owner, .. } => owner,
            Record::Sent { owner, .. } | Record::Handed { owner, .. } | Record::Done { owner, .. } => owner,
            _ => continue,
        };
        let session = index.owners.get(&owner).and_then(|state| decode_session(state.session.as_deref()?).ok());
        names.push(session.map_or("a session".to_owned(), |record| format!("session {:?}", record.client_id)));
    }
    names.dedup();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    match (names.is_empty(), more) {
        (true, _) => "not known".to_owned(),
        (_, 0) => names.join(", "),
        (_, more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// Everything that the broker begins with.
pub(super) fn recovered(disk: &dyn Disk, loaded: &Loaded) -> Result<Recovered, OpenError> {
    let index = &loaded.index;
    let mut reader = SegmentReader::new(disk);
    let mut recovered =
        Recovered { time: index.time, seed: loaded.facts.seed, next_owner: index.next_owner, ..Recovered::default() };
    for (owner, state) in index.owners.iter() {
        let waiting = state.queue.summary();
        if let Some(filter) = &state.group {
            recovered.groups.push(RecoveredGroup { owner: *owner, filter: filter.clone(), waiting });
        }
        let Some(body) = &state.session else { continue };
        let session = read_session(&mut reader, state, body, waiting);
        recovered.sessions.push(session.map_err(|error| OpenError::read(disk, error, "a session".into()))?);
    }
    let mut retained: Vec<_> = index.retained.iter().collect();
    // In the order in which they stand, so that each piece of a file is read once.
    retained.sort_unstable_by_key(|(_, found)| found.at);
    let count = retained.len() as u64;
    let mut progress = Progress::begin(format!("reading {count} retained messages"), count, MUCH_RETAINED);
    for (topic, found) in retained {
        progress.add(1);
        let message = reader.message(found);
        let message =
            message.map_err(|error| OpenError::read(disk, error, format!("the retained message of {topic:?}")))?;
        recovered.retained.push((found.row, message));
    }
    recovered.sessions.sort_unstable_by_key(|session| session.record.owner);
    recovered.groups.sort_unstable_by_key(|group| group.owner);
    recovered.retained.sort_unstable_by_key(|(row, _)| *row);
    Ok(recovered)
}

fn read_session(
    reader: &mut SegmentReader<'_>,
    state: &super::index::Owner,
    body: &[u8],
    waiting: crate::store::Waiting,
) -> Result<RecoveredSession, ReadError> {
    let unreadable = || ReadError::Damaged { file: "a session's record".into(), offset: 0, what: "the record" };
    let record = decode_session(body).map_err(|_| unreadable())?;
    let mut subscriptions = Vec::with_capacity(state.subscriptions.len());
    for subscription in &state.subscriptions {
        let options = super::codec::options_from_byte(subscription.options).map_err(|_| unreadable())?;
        subscriptions.push((subscription.filter.clone(), options, subscription.id));
    }
    let replays = state.subscriptions.iter();
    let replays = replays.filter_map(|known| Some((known.filter.clone(), known.replay.clone()?))).collect();
    let mut sent = Vec::with_capacity(state.sent.len());
    for entry in &state.sent {
        let row = entry.copy.as_ref().map(|found| reader.row(found, entry.from, None)).transpose()?;
        sent.push((entry.row, entry.packet_id, row));
    }
    Ok(RecoveredSession { record, subscriptions, replays, received: state.received.clone(), sent, waiting })
}
