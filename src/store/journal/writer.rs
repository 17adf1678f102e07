//! The one thread that owns the log: takes what waits, writes it, applies it, syncs it, says so.
//!
//! ```text
//! turn   take all that waits ─► frame ─► write ─► apply ─► written ─► sync ─► synced ─► (maintain)
//! ```
//! What it writes it applies by decoding it, as recovery will. A failed write or sync ends all writing; only a full disk
//! does not, since what was written of the frame can be cut off again.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use super::checkpoint::Facts;
use super::commit::{Batch, Commit, Pending, Work};
use super::compact::Compaction;
use super::disk::Disk;
use super::frame::FRAME_HEADER;
use super::index::Index;
use super::log::{Log, Numbers, WriteError};
use super::maintain::{Checkpointing, Checkpoints, Sealing};
use super::read::SegmentReader;
use super::reserve::Reserve;
use super::{Figures, JournalOptions};

/// Owned by its thread, or by a test that takes its turns.
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: JournalOptions,
    pub(super) commit: Arc<Commit>,
    /// Written here only; never locked during a write or sync.
    pub(super) index: Arc<RwLock<Index>>,
    pub(super) figures: Arc<Mutex<Figures>>,
    pub(super) log: Log,
    /// Of the newest checkpoint.
    pub(super) facts: Facts,
    pub(super) checkpoint_bytes: u64,
    /// Written to the log since then.
    pub(super) log_since: u64,
    pub(super) checkpointing: Option<Checkpointing>,
    pub(super) compaction: Compaction,
    pub(super) reserve: Reserve,
    /// Owners of whom a chunk is full; and all, when too much is in memory.
    pub(super) filled: Sealing,
    pub(super) swept: Sealing,
    /// References in memory at which the next search for more pages begins.
    pub(super) sweep_at: usize,
    /// Records up to here are in the log or lost; on disk; known to be by the log itself.
    written: u64,
    pub(super) synced: u64,
    marked: u64,
    /// Room for a header, and the records of the frame that is made.
    frame: Vec<u8>,
    spare: Pending,
    pub(super) is_failed: bool,
    /// There was no space for what can wait: not again before the next tick, or before something was removed.
    pub(super) is_blocked: bool,
    /// A checkpoint could not be written: not again before the next tick.
    pub(super) is_checkpoint_blocked: bool,
    /// The disk has refused a write, and something may still be gained.
    pub(super) is_out_of_space: bool,
    /// A limit is reached: messages are refused.
    pub(super) is_full: bool,
    /// On the file system, when last looked at.
    pub(super) free: u64,
    pub(super) checkpoints: Checkpoints,
}

/// What a writer begins with.
pub(super) struct Start {
    pub disk: Arc<dyn Disk>,
    pub options: JournalOptions,
    pub commit: Arc<Commit>,
    pub index: Arc<RwLock<Index>>,
    pub figures: Arc<Mutex<Figures>>,
    pub log: Log,
    pub facts: Facts,
    pub checkpoint_bytes: u64,
    pub log_since: u64,
    pub checkpoints: Checkpoints,
}

/// Why a turn ended early.
pub(super) enum Stop {
    /// No space for a frame.
    Full(String),
    Failed(String),
}

impl Writer {
    pub(super) fn new(start: Start) -> Self {
        let Start { disk, options, commit, index, figures, log, facts, checkpoint_bytes, log_since, checkpoints } =
            start;
        let written = index.read().next_record - 1;
        Writer {
            sweep_at: options.loaded_rows_max,
            reserve: Reserve::find(Arc::clone(&disk), options.reserve_bytes),
            disk,
            options,
            commit,
            index,
            figures,
            log,
            facts,
            checkpoint_bytes,
            log_since,
            checkpointing: None,
            compaction: Compaction::default(),
            filled: Sealing::default(),
            swept: Sealing::default(),
            written,
            synced: written,
            marked: written,
            frame: Vec::new(),
            spare: Pending::default(),
            is_failed: false,
            is_blocked: false,
            is_checkpoint_blocked: false,
            is_out_of_space: false,
            is_full: false,
            free: u64::MAX,
            checkpoints,
        }
    }

    /// Does what there is to do; `is_tick` when it is time to look for more. Whether there will be another turn.
    pub(super) fn turn(&mut self, is_tick: bool) -> bool {
        let mut work = self.commit.take(std::mem::take(&mut self.spare));
        if !self.is_failed {
            self.settle(|writer| writer.write_batches(&work));
            let written = work.pending.bytes.len();
            self.settle(|writer| writer.maintain(is_tick, written));
        }
        if work.is_closed {
            // It removes files: nobody else may have the directory before it is done.
            self.end_checkpoint(true);
            self.settle(Writer::finish);
        }
        self.publish_figures();
        self.spare = std::mem::take(&mut work.pending);
        !work.is_closed
    }

    /// Something is left to do that needs nobody's call.
    pub(super) fn is_busy(&self) -> bool {
        let can_wait = self.marked != self.synced || !self.filled.is_done() || !self.swept.is_done();
        let has_work = self.compaction.is_running() || can_wait && !self.reserve.is_used();
        has_work && !self.is_failed && !self.is_blocked
    }

    /// Takes turns until nothing more is to gain.
    pub(super) fn compact_all(&mut self) {
        self.settle(Writer::roll);
        self.turn(true);
        while self.is_busy() {
            self.turn(false);
        }
        self.turn(true);
    }

    fn settle(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Stop>) {
        if self.is_failed {
            return;
        }
        match step(self) {
            Ok(()) => {}
            Err(Stop::Full(why)) => {
                tracing::warn!(%why, "the store is full");
                self.is_out_of_space = true;
                self.written = self.commit.lose_from(self.written + 1, &why);
                self.index.write().next_record = self.written + 1;
            }
            Err(Stop::Failed(why)) => {
                tracing::error!(%why, "the store has failed: nothing more is stored until a restart");
                self.is_failed = true;
                self.commit.fail(&why);
            }
        }
    }

    fn write_batches(&mut self, work: &Work) -> Result<(), Stop> {
        let batches = &work.pending.batches;
        let mut wants_sync = work.wants_sync;
        let mut from = 0;
        let mut rest = &batches[..];
        let outcome = loop {
            let Some(first) = rest.first() else { break Ok(()) };
            let count = frame_batches(rest, from, self.options.frame_bytes);
            let (taken, behind) = rest.split_at(count);
            let end = taken[count - 1].end;
            self.begin_frame();
            self.frame.extend_from_slice(&work.pending.bytes[from..end]);
            let records = taken.iter().map(|batch| batch.count).sum();
            if let Err(stop) = self.write_frame(records, first.first) {
                break Err(stop);
            }
            self.written = first.first + u64::from(records) - 1;
            self.commit.publish_written(self.written);
            wants_sync |= taken.iter().any(|batch| batch.wants_sync);
            (rest, from) = (behind, end);
        };
        // What was written before the disk was full is as good as ever.
        if wants_sync && !matches!(outcome, Err(Stop::Failed(_))) {
            self.sync()?;
        }
        outcome
    }

    pub(super) fn begin_frame(&mut self) {
        self.frame.clear();
        self.frame.resize(FRAME_HEADER, 0);
    }

    /// The records of the frame that is made.
    pub(super) fn records(&mut self) -> &mut Vec<u8> {
        &mut self.frame
    }

    pub(super) fn records_len(&self) -> usize {
        self.frame.len().saturating_sub(FRAME_HEADER)
    }

    /// Writes and applies a frame whose records have no numbers.
    pub(super) fn write_unnumbered(&mut self) -> Result<(), Stop> {
        self.write_frame(0, self.written + 1)
    }

    fn write_frame(&mut self, count: u32, first: u64) -> Result<(), Stop> {
        match self.try_write_frame(count, first) {
            // What has no numbers can wait.
            Err(Stop::Full(_)) if count > 0 && self.use_reserve() => self.try_write_frame(count, first),
            outcome => outcome,
        }
    }

    fn try_write_frame(&mut self, count: u32, first: u64) -> Result<(), Stop> {
        if self.log.must_roll(self.frame.len()) {
            self.roll()?;
        }
        let numbers = Numbers { count, first, durable: self.synced };
        let at = self.log.write(&mut self.frame, numbers).map_err(|error| self.stop("writing", error))?;
        self.log_since += self.frame.len() as u64;
        let mut reader = SegmentReader::new(&*self.disk);
        let mut load = |page: &_, owner| reader.page(page, owner);
        let records = &self.frame[FRAME_HEADER..];
        self.index
            .write()
            .apply(at, first, records, self.options.page_rows, &mut load)
            .map_err(|error| Stop::Failed(format!("{}: {error}", self.disk.place())))?;
        Ok(())
    }

    pub(super) fn roll(&mut self) -> Result<(), Stop> {
        self.sync()?;
        self.log.roll(self.synced).map_err(|error| self.stop("beginning a segment", error))
    }

    fn stop(&self, doing: &str, error: WriteError) -> Stop {
        let place = self.disk.place();
        match error {
            WriteError::Full(error) => Stop::Full(format!("{place}: {doing}: {error}")),
            WriteError::Failed(error) => Stop::Failed(format!("{place}: {doing}: {error}")),
        }
    }

    pub(super) fn sync(&mut self) -> Result<(), Stop> {
        if self.log.is_dirty() {
            let start = Instant::now();
            self.log.sync().map_err(|error| Stop::Failed(format!("{}: syncing: {error}", self.disk.place())))?;
            let mut figures = self.figures.lock();
            figures.syncs += 1;
            figures.sync_micros += u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        }
        self.synced = self.written;
        self.commit.publish_synced(self.synced);
        Ok(())
    }

    /// Writes down how far everything is synced, so that a start can tell damage from a torn write.
    pub(super) fn mark(&mut self) -> Result<(), Stop> {
        if self.marked != self.synced {
            self.begin_frame();
            self.write_unnumbered()?;
            self.marked = self.synced;
        }
        Ok(())
    }

    fn publish_figures(&self) {
        let index = self.index.read();
        let mut figures = self.figures.lock();
        figures.bytes = self.bytes();
        figures.live_bytes = index.live.total() + self.checkpoint_bytes;
        figures.rows = index.rows;
        figures.retained = index.retained.len() as u64;
        figures.sessions = index.sessions;
    }
}

/// How many batches go into one frame: whole ones, at least one.
fn frame_batches(batches: &[Batch], from: usize, frame_bytes: usize) -> usize {
    // Numbers in a frame follow each other; those that were lost have left a gap.
    let follows = |at: usize| batches[at].first == batches[at - 1].first + u64::from(batches[at - 1].count);
    let fits = |at: &usize| batches[*at].end - from <= frame_bytes && follows(*at);
    1 + (1..batches.len()).take_while(fits).count()
}
