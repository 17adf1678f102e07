//! What the writer does between batches: pages, marks, checkpoints, limits.
//!
//! All of it can wait, none of it loses anything: a full disk postpones it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use super::checkpoint::{self, Facts, Written};
use super::log::WriteError;
use super::queue::put_page_body;
use super::record::put_page;
use super::writer::{Stop, Writer};
use crate::store::OwnerId;

/// A checkpoint that is being written.
pub(super) struct Checkpointing {
    facts: Facts,
    /// Told before the writer is called: a thread that has called has perhaps not ended yet.
    outcome: Receiver<io::Result<Written>>,
    thread: JoinHandle<()>,
}

/// Owners whose chunks are written, a part of them in each turn.
#[derive(Default)]
pub(super) struct Sealing {
    owners: std::vec::IntoIter<OwnerId>,
    rows_min: usize,
    with_last: bool,
}

impl Sealing {
    pub(super) fn is_done(&self) -> bool {
        self.owners.len() == 0
    }
}

/// Owners that are looked at in a turn.
const LOOKED_AT_MAX: usize = 10_000;
/// Pages of messages are smaller than these divided by this.
const PAGES_PART: usize = 2;
/// Chunks of fewer rows than a page's divided by this stay in memory.
const PAGE_PART_MIN: usize = 16;

impl Writer {
    /// `written`: bytes of what waited before this turn.
    pub(super) fn maintain(&mut self, is_tick: bool, written: usize) -> Result<(), Stop> {
        if is_tick {
            (self.is_blocked, self.is_checkpoint_blocked) = (false, false);
            let live = self.index.read().live.total();
            self.compaction.tick(live);
            self.sync()?;
        }
        // What is left of a full disk is not for these.
        if !self.reserve.is_used() {
            if written == 0 {
                self.postponable(Writer::mark)?;
            }
            self.postponable(|writer| writer.seal_filled(written))?;
            self.postponable(|writer| writer.sweep(written))?;
        }
        self.end_checkpoint(false);
        self.look_at_limits();
        if !self.is_blocked {
            self.postponable(|writer| writer.compact(written))?;
        }
        if self.checkpoint_is_due(is_tick) {
            self.begin_checkpoint()?;
            self.look_at_limits();
        }
        if is_tick && !self.compaction.is_running() && self.checkpointing.is_none() {
            self.is_out_of_space = false;
        }
        Ok(())
    }

    /// Takes a step that a full disk may keep from being taken now.
    fn postponable(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        match step(self) {
            Err(Stop::Full(why)) => {
                tracing::debug!(%why, "postponed");
                (self.is_blocked, self.is_out_of_space) = (true, true);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Writes the chunks that have become full.
    fn seal_filled(&mut self, written: usize) -> Result<(), Stop> {
        if self.filled.is_done() {
            let mut owners = std::mem::take(&mut self.index.write().filled);
            owners.sort_unstable();
            owners.dedup();
            self.filled = Sealing { owners: owners.into_iter(), rows_min: self.options.page_rows, with_last: false };
        }
        let mut filled = std::mem::take(&mut self.filled);
        let outcome = self.seal(&mut filled, written);
        self.filled = filled;
        outcome
    }

    /// Writes what is worth it when more is in memory than there should be.
    fn sweep(&mut self, written: usize) -> Result<(), Stop> {
        if self.swept.is_done() {
            // A compaction loads pages, and writes them again at its end.
            let sweep_at = if self.compaction.is_running() { 2 * self.sweep_at } else { self.sweep_at };
            if self.index.read().loaded <= sweep_at {
                return Ok(());
            }
            self.begin_sweep();
        }
        let mut swept = std::mem::take(&mut self.swept);
        let outcome = self.seal(&mut swept, written);
        self.swept = swept;
        if self.swept.is_done() {
            let loaded = self.index.read().loaded;
            self.sweep_at = self.options.loaded_rows_max.max(loaded + loaded / 4);
        }
        outcome
    }

    /// From now on every chunk that is worth it is written.
    pub(super) fn begin_sweep(&mut self) {
        let owners: Vec<_> = self.index.read().owners.keys().copied().collect();
        let rows_min = (self.options.page_rows / PAGE_PART_MIN).max(2);
        self.swept = Sealing { owners: owners.into_iter(), rows_min, with_last: true };
    }

    /// Goes on with it: as far as one frame reaches, and further the more was `written` before.
    fn seal(&mut self, sealing: &mut Sealing, written: usize) -> Result<(), Stop> {
        let index = Arc::clone(&self.index);
        let (mut body, mut looked_at) = (Vec::new(), Vec::new());
        let mut left = self.options.frame_bytes + written / PAGES_PART;
        while left > 0 && looked_at.len() < LOOKED_AT_MAX && !sealing.is_done() {
            self.begin_frame();
            let from = looked_at.len();
            let state = index.read();
            while self.records_len() < self.options.frame_bytes
                && looked_at.len() < LOOKED_AT_MAX
                && let Some(owner) = sealing.owners.next()
            {
                looked_at.push(owner);
                let Some(state) = state.owners.get(&owner) else { continue };
                for refs in state.queue.sealable(sealing.rows_min, sealing.with_last) {
                    body.clear();
                    put_page_body(&mut body, owner, refs);
                    put_page(self.records(), &body);
                }
            }
            drop(state);
            left = left.saturating_sub(self.records_len());
            if self.records_len() > 0
                && let Err(stop) = self.write_unnumbered()
            {
                index.write().filled.extend(&looked_at[from..]);
                return Err(stop);
            }
        }
        Ok(())
    }

    fn checkpoint_is_due(&self, is_tick: bool) -> bool {
        if self.checkpointing.is_some() || self.is_checkpoint_blocked {
            return false;
        }
        let worth = self.log_since >= self.options.checkpoint_log_bytes.max(self.checkpoint_bytes);
        // Segments that nothing is needed of go after the next one.
        let dead: u64 = self.dead_segments().iter().filter_map(|segment| self.log.lengths().get(segment)).sum();
        let many = (self.options.slack_bytes / 2).max(self.checkpoint_bytes);
        worth || dead > 0 && (is_tick || self.is_pressed() || dead > many)
    }

    /// Those that nothing is needed of, and that are not read.
    pub(super) fn dead_segments(&self) -> Vec<u32> {
        let index = self.index.read();
        let closed = self.log.lengths().range(..self.log.end().segment).map(|(segment, _)| *segment);
        closed.filter(|segment| index.live.of(*segment) == 0 && !self.compaction.reads(*segment)).collect()
    }

    /// Space is short, or the quota nearly reached: everything that can be gained is, at once.
    pub(super) fn is_pressed(&self) -> bool {
        let near_quota =
            self.options.bytes_max.is_some_and(|max| self.log.bytes() + self.checkpoint_bytes > max / 10 * 9);
        self.is_full || self.is_out_of_space || near_quota
    }

    fn begin_checkpoint(&mut self) -> Result<(), Stop> {
        // What it refers to must be there when it is.
        self.sync()?;
        let facts = Facts { number: self.facts.number + 1, position: self.log.end(), ..self.facts };
        let dead = self.dead_segments();
        let picture = self.index.read().picture();
        self.log_since = 0;
        let (disk, commit) = (Arc::clone(&self.disk), Arc::clone(&self.commit));
        if !self.in_background {
            let written = checkpoint::replace(&*disk, &facts, picture, dead);
            self.adopt_checkpoint(written, facts);
            return Ok(());
        }
        let (told, outcome) = channel();
        let write = move || {
            // The writer has it to its end.
            let _ = told.send(checkpoint::replace(&*disk, &facts, picture, dead));
            commit.call();
        };
        match thread::Builder::new().name("midge-checkpoint".into()).spawn(write) {
            Ok(thread) => self.checkpointing = Some(Checkpointing { facts, outcome, thread }),
            Err(error) => tracing::warn!(%error, "no thread for a checkpoint"),
        }
        Ok(())
    }

    /// Looks whether the checkpoint in the background is done; waits for it if told so.
    pub(super) fn end_checkpoint(&mut self, wait: bool) {
        let Some(Checkpointing { facts, outcome, thread }) = self.checkpointing.take() else { return };
        let written = match outcome.try_recv() {
            Err(TryRecvError::Empty) if !wait => {
                self.checkpointing = Some(Checkpointing { facts, outcome, thread });
                return;
            }
            Err(TryRecvError::Empty) => outcome.recv().ok(),
            told => told.ok(),
        };
        // It has nothing left to do, or has panicked.
        let _ = thread.join();
        let written = written.unwrap_or_else(|| Err(io::Error::other("its thread panicked")));
        self.adopt_checkpoint(written, facts);
    }

    fn adopt_checkpoint(&mut self, written: io::Result<Written>, facts: Facts) {
        match written {
            Ok(Written { bytes, removed }) => {
                self.facts = facts;
                self.checkpoint_bytes = bytes;
                self.is_blocked &= removed.is_empty();
                removed.iter().for_each(|segment| self.log.forget(*segment));
            }
            Err(error) => {
                // The old one is as good, only the log behind it is longer. The number is used: its name may be there.
                tracing::warn!(%error, "a checkpoint could not be written");
                self.facts.number = facts.number;
                self.is_checkpoint_blocked = !(WriteError::is_full(&error) && self.use_reserve());
            }
        }
    }

    /// A write has found no room: gives the reserve away, if there is one. Messages are refused until it is there again.
    pub(super) fn use_reserve(&mut self) -> bool {
        if !self.reserve.release() {
            return false;
        }
        tracing::warn!(place = self.disk.place(), "the disk is full: what was kept for this is used to empty queues");
        self.is_out_of_space = true;
        self.tell_limits();
        true
    }

    /// For a checkpoint beside the one that is there, and what is written until then.
    fn reserve_wanted(&self) -> u64 {
        match self.options.reserve_bytes {
            0 => 0,
            bytes => bytes + self.checkpoint_bytes.next_multiple_of((bytes / 4).max(1)),
        }
    }

    fn look_at_limits(&mut self) {
        // A file system that does not tell is taken for one that has room.
        self.free = self.disk.free_space().unwrap_or(u64::MAX);
        self.reserve.keep(self.reserve_wanted(), self.free, self.options.reserve_bytes);
        self.tell_limits();
    }

    fn tell_limits(&mut self) {
        let why = self.why_full();
        self.is_full = why.is_some();
        self.commit.set_full(why);
    }

    fn why_full(&self) -> Option<String> {
        let bytes = self.log.bytes() + self.checkpoint_bytes + self.reserve.bytes();
        if let Some(max) = self.options.bytes_max.filter(|max| bytes >= *max) {
            return Some(format!("the store has reached its limit of {max} bytes"));
        }
        if self.reserve.is_used() {
            return Some(format!("{}: the disk was full, and what is free is for emptying queues", self.disk.place()));
        }
        let (free, min) = (self.free, self.options.free_bytes_min.max(self.options.reserve_bytes));
        (free < min).then(|| format!("{}: {free} bytes are free, and {min} are to stay free", self.disk.place()))
    }

    /// Everything is safe, and the next start is quick.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        self.sync()?;
        self.end_checkpoint(true);
        if self.log_since > 0 {
            self.in_background = false;
            self.begin_checkpoint()?;
        }
        Ok(())
    }
}
