//! The engine on disk: a log of frames in segments, an index in memory, pages of references, checkpoints.
//!
//! ```text
//! append ─► pending ─► writer: frame ─► segment ─► index ─► fdatasync ─► tickets are safe
//!                                         │          │
//!                                         │          └─► pages (into the log), checkpoint (a file of its own)
//!                                         └─ mostly dead? what is live is copied forward
//! start  ─► newest checkpoint ─► the frames behind it ─► index
//! ```
//!
//! # Files
//!
//! | name | what |
//! |---|---|
//! | `lock` | who has the directory; its content means nothing |
//! | `NNNNNNNNNNNNNNNN.segment` | the log, in pieces of 32 MiB at most (`files`, `frame`, `record`) |
//! | `checkpoint-NNNNNNNNNNNNNNNN` | the index as it was at one place of the log (`checkpoint`) |
//! | `….new` | a checkpoint that is being written; removed at a start |
//! | `reserve.new` | space that is given away when the disk is full (`reserve`): its bytes mean nothing |
//! | `….damaged…` | what `midge store repair` has put aside; never looked at |
//!
//! # Versions of the format
//!
//! Each file names the version of its format. A program reads all versions from `VERSION_MIN` to `VERSION` and writes
//! `VERSION`; it refuses any other with a message that says so, and changes nothing. What is added to a format makes
//! another version of it, be it one kind of record: an old program must not skip what it does not understand. An upgrade
//! is a start of the new program: it reads the old files, and its first checkpoint is of the new version. A downgrade
//! needs a copy from before (`midge store backup`), since the first start of a new version may write what the old one
//! refuses. The reserve has no version: a program that does not know it takes it for a checkpoint that was not finished,
//! and removes it.
//!
//! # What never happens
//!
//! - Nobody who appends or polls waits for the disk; the lock of the index is not held during a write or sync.
//! - A frame is not skipped: it is applied, cut as a torn end, or stops the start.
//! - Nothing is deleted before a checkpoint that does not need it is on disk.
//!
//! Broker time is not in the frames: [`Change::Time`] is a record like others.

mod backup;
mod checkpoint;
mod codec;
mod commit;
mod compact;
pub(crate) mod disk;
mod error;
mod examine;
mod files;
mod frame;
mod index;
mod log;
mod maintain;
mod queue;
mod read;
mod record;
mod recover;
mod repair;
mod reserve;
mod scan;
mod shared_map;
#[cfg(test)]
pub(crate) mod sim;
mod writer;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

pub use backup::{backup, restore};
pub use error::OpenError;
#[cfg(test)]
pub(crate) use examine::check_disk;
pub use examine::{Report, check, read_store};
#[cfg(test)]
pub(crate) use repair::repair_disk;
pub use repair::{Repaired, compact, repair};

use super::{
    AppendError, Appended, Change, Durability, Lost, OwnerId, Page, Recovered, RowId, Store, StoreStatus, Ticket,
    WaitingRow,
};
use checkpoint::Facts;
use commit::{BatchKind, Commit};
use disk::{Disk, RealDisk};
use files::{SEGMENT_HEADER, SegmentHead, checkpoint_name, segment_name};
use frame::Position;
use index::Index;
use log::Log;
use maintain::Checkpoints;
use queue::{Next, Ref};
use read::{ReadError, SegmentReader};
use recover::{Listing, Loaded};
use writer::{Start, Writer};

/// Sizes and limits. The defaults are right but for the first two, which are the operator's.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// All files together; beyond it no messages are taken.
    pub bytes_max: Option<u64>,
    /// What is to stay free on the file system.
    pub free_bytes_min: u64,
    /// What is kept for emptying queues when the disk is full: so much is left free by messages, and so much again, with
    /// room for a checkpoint, is in a file for the case that others take that.
    pub reserve_bytes: u64,
    /// Where a segment ends.
    pub segment_bytes: u64,
    /// Where a frame ends, unless one batch is longer.
    pub frame_bytes: usize,
    /// What may wait for the disk before an append is answered with busy.
    pub pending_bytes_max: usize,
    /// Rows of a page.
    pub page_rows: usize,
    /// References in memory before smaller chunks become pages, too.
    pub loaded_rows_max: usize,
    /// The log behind a checkpoint before the next one, if the last one was not larger.
    pub checkpoint_log_bytes: u64,
    /// What files may have beyond 1.15 times of what is needed before something is copied forward.
    pub slack_bytes: u64,
    /// What is read of a mostly dead segment between two batches.
    pub compact_step_bytes: usize,
    /// How often a writer without work looks for what there is to gain.
    pub maintenance_interval: Duration,
}

impl Default for JournalOptions {
    fn default() -> Self {
        JournalOptions {
            bytes_max: None,
            free_bytes_min: 64 << 20,
            reserve_bytes: 16 << 20,
            segment_bytes: 32 << 20,
            frame_bytes: 1 << 20,
            pending_bytes_max: 8 << 20,
            page_rows: 512,
            loaded_rows_max: 1 << 20,
            checkpoint_log_bytes: 64 << 20,
            slack_bytes: 48 << 20,
            compact_step_bytes: 1 << 20,
            maintenance_interval: Duration::from_secs(5),
        }
    }
}

/// Into how many segments a small quota or disk is divided at least: what is freed comes back a segment at a time.
const SEGMENTS_MIN: u64 = 16;
/// Segments are not made smaller than this.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

impl JournalOptions {
    /// For a file system with `room` bytes for the journal: a segment, the log behind a checkpoint and the like are small
    /// beside that and beside the quota.
    pub(crate) fn fitted_to(&self, room: u64) -> JournalOptions {
        let room = self.bytes_max.map_or(room, |max| max.min(room));
        let part = (room / SEGMENTS_MIN).max(SEGMENT_BYTES_MIN);
        JournalOptions {
            reserve_bytes: self.reserve_bytes.min(room / SEGMENTS_MIN),
            segment_bytes: self.segment_bytes.min(part),
            pending_bytes_max: self.pending_bytes_max.min(usize::try_from(part).unwrap_or(usize::MAX)),
            checkpoint_log_bytes: self.checkpoint_log_bytes.min(part),
            slack_bytes: self.slack_bytes.min(part),
            ..self.clone()
        }
    }
}

/// What the journal has and what is free beside it; all there is where the file system does not tell.
fn room(disk: &dyn Disk) -> io::Result<u64> {
    let own: u64 = disk.list()?.iter().map(|(_, bytes)| bytes).sum();
    Ok(disk.free_space().map_or(u64::MAX, |free| free.saturating_add(own)))
}

/// What the writer says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    bytes: u64,
    live_bytes: u64,
    rows: u64,
    retained: u64,
    sessions: u64,
    syncs: u64,
    sync_micros: u64,
}

/// A store in a directory.
pub struct Journal {
    commit: Arc<Commit>,
    index: Arc<RwLock<Index>>,
    figures: Arc<Mutex<Figures>>,
    disk: Arc<dyn Disk>,
    writer: Mutex<Running>,
}

/// Who takes the writer's turns.
enum Running {
    Thread(JoinHandle<()>),
    /// A test does.
    #[cfg(test)]
    Inline(Box<Writer>),
    Closed,
}

impl Journal {
    /// Opens the store of a directory, or makes one in an empty or missing directory. Blocks.
    pub fn open(directory: &Path, options: &JournalOptions) -> Result<(Journal, Recovered), OpenError> {
        let disk = Arc::new(RealDisk::new(directory));
        if !directory.exists() {
            fs::create_dir_all(directory).map_err(|error| OpenError::io(&*disk, "making it", error))?;
        }
        let options = &options.fitted_to(room(&*disk).map_err(|error| OpenError::io(&*disk, "listing it", error))?);
        let (writer, recovered) = open_writer(disk, options, rand::random(), Checkpoints::Thread)?;
        let (mut journal, writer) = Journal::of(writer);
        let interval = options.maintenance_interval;
        let thread = thread::Builder::new().name("midge-store".into()).spawn(move || run(*writer, interval));
        let thread = thread.map_err(|error| OpenError::io(&*journal.disk, "starting its thread", error))?;
        journal.writer = Mutex::new(Running::Thread(thread));
        Ok((journal, recovered))
    }

    /// For a test that takes the writer's turns itself.
    #[cfg(test)]
    pub(crate) fn open_inline(
        disk: Arc<dyn Disk>,
        options: &JournalOptions,
        identity: [u64; 2],
    ) -> Result<(Journal, Recovered), OpenError> {
        let (writer, recovered) = open_writer(disk, options, identity, Checkpoints::Writer)?;
        let (mut journal, writer) = Journal::of(writer);
        journal.writer = Mutex::new(Running::Inline(writer));
        Ok((journal, recovered))
    }

    fn of(writer: Writer) -> (Self, Box<Writer>) {
        let journal = Journal {
            commit: Arc::clone(&writer.commit),
            index: Arc::clone(&writer.index),
            figures: Arc::clone(&writer.figures),
            disk: Arc::clone(&writer.disk),
            writer: Mutex::new(Running::Closed),
        };
        (journal, Box::new(writer))
    }

    /// One turn of the writer, when there is no thread for it.
    #[cfg(test)]
    pub(crate) fn turn(&self, is_tick: bool) {
        if let Running::Inline(writer) = &mut *self.writer.lock() {
            writer.turn(is_tick);
        }
    }

    /// Checkpoints are written some turns after they were begun, as they are when a thread writes them.
    #[cfg(test)]
    pub(crate) fn write_checkpoints_later(&self) {
        if let Running::Inline(writer) = &mut *self.writer.lock() {
            writer.checkpoints = Checkpoints::Later;
        }
    }

    /// Reads what was appended before, again when it has moved meanwhile.
    fn read_again<T>(&self, mut read: impl FnMut() -> Result<T, ReadError>) -> Result<T, Lost> {
        #[cfg(test)]
        self.turn(false);
        self.commit.wait_written();
        let mut outcome = read();
        for _ in 0..READ_AGAIN_MAX {
            if !matches!(outcome, Err(ReadError::Gone { .. })) {
                break;
            }
            outcome = read();
        }
        outcome.map_err(|error| Lost(format!("{}: {error}", self.disk.place())))
    }

    /// References behind a row, as far as they make one page.
    fn gather(
        &self,
        reader: &mut SegmentReader<'_>,
        owner: OwnerId,
        after: RowId,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Ref>, bool), ReadError> {
        let mut refs: Vec<Ref> = Vec::new();
        let mut bytes = 0;
        loop {
            let after = refs.last().map_or(after, |found| found.row);
            // One more than asked for, to know whether there is one.
            let wanted = rows_max.saturating_add(1) - refs.len();
            let next = match self.index.read().owners.get(&owner) {
                Some(state) => state.queue.next(after, wanted),
                None => Next::Nothing,
            };
            let found: Vec<Ref> = match next {
                Next::Nothing => return Ok((refs, true)),
                Next::Refs(found) => found,
                Next::Page(page) => {
                    let rows = reader.page(&page, owner)?;
                    rows.into_iter().filter(|found| found.row > after).take(wanted).collect()
                }
            };
            for found in found {
                bytes += found.size as usize;
                if refs.len() >= rows_max || (bytes > bytes_max && !refs.is_empty()) {
                    return Ok((refs, false));
                }
                refs.push(found);
            }
        }
    }

    fn page(&self, owner: OwnerId, after: RowId, rows_max: usize, bytes_max: usize) -> Result<Page, ReadError> {
        let mut reader = SegmentReader::new(&*self.disk);
        let (refs, is_last) = self.gather(&mut reader, owner, after, rows_max, bytes_max)?;
        let mut rows = Vec::with_capacity(refs.len());
        for (at, found) in refs.iter().enumerate() {
            rows.push(reader.row(found, owner, refs.get(at + 1))?);
        }
        Ok(Page { rows, is_last })
    }
}

/// A page that moves while it is read is read again; so often it does not move.
const READ_AGAIN_MAX: usize = 10;

impl Store for Journal {
    fn append(&self, changes: &[Change], durability: Durability) -> Result<Appended, AppendError> {
        thread_local! {
            static ENCODED: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        ENCODED.with_borrow_mut(|bytes| {
            bytes.clear();
            changes.iter().for_each(|change| record::put_change(bytes, change));
            let appended = self.commit.append(bytes, changes.len(), durability, kind(changes));
            if bytes.capacity() > ENCODED_BYTES_KEPT {
                *bytes = Vec::new();
            }
            appended
        })
    }

    fn poll_safe(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), Lost>> {
        self.commit.poll_safe(ticket, waker)
    }

    fn poll_ready(&self, waker: &Waker) -> Poll<()> {
        self.commit.poll_ready(waker)
    }

    fn read_page(&self, owner: OwnerId, after: RowId, rows_max: usize, bytes_max: usize) -> Result<Page, Lost> {
        self.read_again(|| self.page(owner, after, rows_max, bytes_max))
    }

    fn read_rows(&self, owner: OwnerId, after: RowId, rows_max: usize) -> Result<Vec<WaitingRow>, Lost> {
        let read = || self.gather(&mut SegmentReader::new(&*self.disk), owner, after, rows_max, usize::MAX);
        let (refs, _) = self.read_again(read)?;
        let row = |found: Ref| WaitingRow { row: found.row, bytes: found.size.into(), expires_at: found.expires_at };
        Ok(refs.into_iter().map(row).collect())
    }

    fn status(&self) -> StoreStatus {
        let Figures { bytes, live_bytes, rows, retained, sessions, syncs, sync_micros } = *self.figures.lock();
        let (appended, written, synced) = self.commit.progress();
        let health = self.commit.health();
        StoreStatus {
            health,
            bytes,
            live_bytes,
            rows,
            retained,
            sessions,
            appended,
            written,
            synced,
            syncs,
            sync_micros,
        }
    }

    fn close(&self) {
        self.commit.close();
        match std::mem::replace(&mut *self.writer.lock(), Running::Closed) {
            Running::Thread(thread) => {
                if thread.join().is_err() {
                    tracing::error!("the thread of the store has panicked");
                }
            }
            #[cfg(test)]
            Running::Inline(mut writer) => drop(writer.turn(false)),
            Running::Closed => return,
        }
        self.disk.unlock();
    }
}

fn kind(changes: &[Change]) -> BatchKind {
    let has_message = changes.iter().any(|change| matches!(change, Change::Message(_)));
    if has_message { BatchKind::HasMessage } else { BatchKind::State }
}

/// What an encoding buffer may keep between batches.
const ENCODED_BYTES_KEPT: usize = 256 * 1024;

impl Drop for Journal {
    fn drop(&mut self) {
        // A test that takes the turns itself ends as a process does that is killed.
        #[cfg(test)]
        if matches!(*self.writer.lock(), Running::Inline(_)) {
            return;
        }
        self.close();
    }
}

/// The writer's thread.
fn run(mut writer: Writer, interval: Duration) {
    let mut ticked = Instant::now();
    let commit = Arc::clone(&writer.commit);
    loop {
        let since = ticked.elapsed();
        if !writer.is_busy() {
            commit.wait_for_work(interval.saturating_sub(since));
        }
        let is_tick = ticked.elapsed() >= interval;
        if is_tick {
            ticked = Instant::now();
        }
        if !writer.turn(is_tick) {
            return;
        }
    }
}

/// Opens a store, copies forward what is needed, and closes it.
fn compact_all(directory: &Path, options: &JournalOptions) -> Result<(), OpenError> {
    let disk = Arc::new(RealDisk::new(directory));
    let (mut writer, _) = open_writer(disk, options, rand::random(), Checkpoints::Writer)?;
    writer.compact_all();
    let health = writer.commit.health();
    writer.commit.close();
    writer.turn(false);
    writer.disk.unlock();
    match health {
        super::Health::Failed(why) | super::Health::Full(why) => {
            Err(OpenError::io(&*writer.disk, "compacting", std::io::Error::other(why)))
        }
        super::Health::Good => Ok(()),
    }
}

/// Reads or makes a store, and the writer that goes on with it.
fn open_writer(
    disk: Arc<dyn Disk>,
    options: &JournalOptions,
    identity: [u64; 2],
    checkpoints: Checkpoints,
) -> Result<(Writer, Recovered), OpenError> {
    // What is not ours gets no lock file.
    Listing::read(&*disk)?;
    if !disk.lock().map_err(|error| OpenError::io(&*disk, "locking it", error))? {
        return Err(OpenError::Locked { place: disk.place() });
    }
    let opened = open_locked(&disk, options, identity);
    let (loaded, recovered) = opened.inspect_err(|_| disk.unlock())?;
    let Loaded { mut index, facts, checkpoint_bytes, end, log_since, lengths, .. } = loaded;
    index.filled = index.owners.keys().copied().collect();
    let log = Log::new(Arc::clone(&disk), facts.store, options.segment_bytes, end, lengths);
    let commit = Arc::new(Commit::new(index.next_record, options.pending_bytes_max));
    let mut writer = Writer::new(Start {
        disk,
        options: options.clone(),
        commit,
        index: Arc::new(RwLock::new(index)),
        figures: Arc::default(),
        log,
        facts,
        checkpoint_bytes,
        log_since,
        checkpoints,
    });
    // Limits and figures hold from the beginning.
    writer.turn(false);
    Ok((writer, recovered))
}

fn open_locked(
    disk: &Arc<dyn Disk>,
    options: &JournalOptions,
    identity: [u64; 2],
) -> Result<(Loaded, Recovered), OpenError> {
    let listing = Listing::read(&**disk)?;
    let Some(loaded) = recover::load(&**disk, &listing, options.page_rows)? else {
        let loaded = create(&**disk, &listing, identity).map_err(|error| OpenError::io(&**disk, "making it", error))?;
        let recovered = recover::recovered(&**disk, &loaded)?;
        return Ok((loaded, recovered));
    };
    let recovered = recover::recovered(&**disk, &loaded)?;
    tidy_up(&**disk, &listing, &loaded).map_err(|error| OpenError::io(&**disk, "cutting a torn end", error))?;
    Ok((loaded, recovered))
}

/// Makes an empty store.
fn create(disk: &dyn Disk, listing: &Listing, [store, seed]: [u64; 2]) -> std::io::Result<Loaded> {
    // What a start left behind that did not come far.
    listing.temporary.iter().try_for_each(|name| disk.remove(name))?;
    listing.segments.keys().try_for_each(|segment| disk.remove(&segment_name(*segment)))?;
    let index = Index::new();
    let position = Position { segment: 1, offset: SEGMENT_HEADER as u32 };
    let facts = Facts { store, number: 1, seed, position };
    log::begin_segment(disk, &SegmentHead { segment: 1, store, first: 1, durable: 0, before: 0 })?;
    let checkpoint_bytes = checkpoint::write(disk, &facts, index.picture())?;
    Ok(Loaded {
        index,
        facts,
        checkpoint_bytes,
        end: position,
        log_since: 0,
        lengths: [(1, SEGMENT_HEADER as u64)].into(),
        torn: recover::Torn::default(),
    })
}

/// Cuts what is behind the end, removes what is left of earlier turns, and makes the rest safe.
fn tidy_up(disk: &dyn Disk, listing: &Listing, loaded: &Loaded) -> std::io::Result<()> {
    let last = segment_name(loaded.end.segment);
    let recover::Torn { bytes, segments } = &loaded.torn;
    if *bytes > 0 {
        tracing::warn!(file = last, offset = loaded.end.offset, bytes, "a torn write at the end of the log is cut off");
        disk.truncate(&last, loaded.end.offset.into())?;
    }
    for segment in segments {
        tracing::warn!(file = segment_name(*segment), "a segment that was never whole is removed");
        disk.remove(&segment_name(*segment))?;
    }
    // A process may have ended after a write and before its sync.
    disk.sync(&last)?;
    let old = listing.checkpoints.keys().filter(|number| **number < loaded.facts.number);
    old.map(|number| checkpoint_name(*number))
        .chain(listing.temporary.iter().cloned())
        .try_for_each(|name| disk.remove(&name))?;
    disk.sync_dir()
}
