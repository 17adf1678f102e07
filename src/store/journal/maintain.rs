//! What the writer does between batches: pages, marks, checkpoints, limits.
//!
//! All of it can wait, none of it loses anything: a full disk postpones it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use super::checkpoint::{self, Facts, Written};
use super::commit::Commit;
use super::log::WriteError;
use super::queue::put_page_body;
use super::record::put_page;
use super::writer::{Stop, Writer};
use crate::store::OwnerId;

/// A checkpoint that is being written.
pub(super) struct Checkpointing {
    facts: Facts,
    /// Of the log, what it makes needless to read.
    log_bytes: u64,
    writing: Writing,
}

/// Who writes a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkpoints {
    /// A thread of its own.
    Thread,
    /// The writer, which does nothing else meanwhile.
    Writer,
    /// The writer, some turns later, as a test wants it that has no threads.
    #[cfg(test)]
    Later,
}

enum Writing {
    Thread {
        /// Told before the writer is called: a thread that has called has perhaps not ended yet.
        outcome: Receiver<io::Result<Written>>,
        thread: JoinHandle<()>,
    },
    #[cfg(test)]
    Later { turns: u64, write: Box<dyn FnOnce() -> io::Result<Written> + Send> },
}

impl Writing {
    /// What came of it, when it is done; waits for that if told so.
    fn end(self, wait: bool) -> Result<io::Result<Written>, Writing> {
        let (outcome, thread) = match self {
            Writing::Thread { outcome, thread } => (outcome, thread),
            #[cfg(test)]
            Writing::Later { turns, write } if turns > 0 && !wait => {
                return Err(Writing::Later { turns: turns - 1, write });
            }
            #[cfg(test)]
            Writing::Later { write, .. } => return Ok(write()),
        };
        let told = match outcome.try_recv() {
            Err(TryRecvError::Empty) if !wait => return Err(Writing::Thread { outcome, thread }),
            Err(TryRecvError::Empty) => outcome.recv().ok(),
            told => told.ok(),
        };
        // It has nothing left to do, or has panicked.
        let _ = thread.join();
        Ok(told.unwrap_or_else(|| Err(io::Error::other("its thread panicked"))))
    }
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
/// A checkpoint for which space is kept is at most a part of what is needed, one divided by this, beside the rest of the
/// reserve.
const RESERVE_LIVE_PART: u64 = 20;

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
            self.begin_checkpoint(self.checkpoints)?;
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
        let near_quota = self.options.bytes_max.is_some_and(|max| self.bytes() > max / 10 * 9);
        self.is_full || self.is_out_of_space || near_quota
    }

    fn begin_checkpoint(&mut self, by: Checkpoints) -> Result<(), Stop> {
        // What it refers to must be there when it is.
        self.sync()?;
        let facts = Facts { number: self.facts.number + 1, position: self.log.end(), ..self.facts };
        let (dead, picture) = (self.dead_segments(), self.index.read().picture());
        let log_bytes = std::mem::take(&mut self.log_since);
        let disk = Arc::clone(&self.disk);
        let write = move || checkpoint::replace(&*disk, &facts, picture, dead);
        let writing = match by {
            Checkpoints::Writer => {
                self.adopt_checkpoint(write(), facts, log_bytes);
                return Ok(());
            }
            Checkpoints::Thread => match in_background(write, Arc::clone(&self.commit)) {
                Ok(writing) => writing,
                Err(error) => {
                    self.adopt_checkpoint(Err(error), facts, log_bytes);
                    return Ok(());
                }
            },
            #[cfg(test)]
            Checkpoints::Later => Writing::Later { turns: facts.number % 5, write: Box::new(write) },
        };
        self.checkpointing = Some(Checkpointing { facts, log_bytes, writing });
        Ok(())
    }

    /// Looks whether the checkpoint in the background is done; waits for it if told so.
    pub(super) fn end_checkpoint(&mut self, wait: bool) {
        let Some(Checkpointing { facts, log_bytes, writing }) = self.checkpointing.take() else { return };
        match writing.end(wait) {
            Ok(written) => self.adopt_checkpoint(written, facts, log_bytes),
            Err(writing) => self.checkpointing = Some(Checkpointing { facts, log_bytes, writing }),
        }
    }

    fn adopt_checkpoint(&mut self, written: io::Result<Written>, facts: Facts, log_bytes: u64) {
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
                self.log_since += log_bytes;
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

    /// All files but the lock.
    pub(super) fn bytes(&self) -> u64 {
        self.log.bytes() + self.checkpoint_bytes + self.reserve.bytes()
    }

    /// What is to stay free.
    fn free_bytes_min(&self) -> u64 {
        self.options.free_bytes_min.max(self.options.reserve_bytes)
    }

    /// Of the reserve, what is for a checkpoint beside the one that is there. Where that is much beside the messages, it
    /// is not all there: the files are not to be much larger than what is needed.
    fn reserved_checkpoint_bytes(&self) -> u64 {
        let max = self.options.reserve_bytes + self.index.read().live.total() / RESERVE_LIVE_PART;
        self.checkpoint_bytes.min(max)
    }

    fn look_at_limits(&mut self) {
        // A file system that does not tell is taken for one that has room.
        self.free = self.disk.free_space().unwrap_or(u64::MAX);
        let room = self.free.saturating_sub(self.free_bytes_min());
        self.reserve.keep(self.reserved_checkpoint_bytes(), room);
        self.tell_limits();
    }

    fn tell_limits(&mut self) {
        let why = self.why_full();
        self.is_full = why.is_some();
        self.commit.set_full(why);
    }

    /// Why messages are refused, if they are.
    fn why_full(&self) -> Option<String> {
        if let Some(max) = self.options.bytes_max.filter(|max| self.bytes() >= *max) {
            return Some(format!("the store has reached its limit of {max} bytes"));
        }
        let (place, free, min) = (self.disk.place(), self.free, self.free_bytes_min());
        if self.reserve.is_used() {
            return Some(format!("{place}: {free} bytes are free, and they are for emptying queues"));
        }
        (free < min).then(|| format!("{place}: {free} bytes are free, and {min} are to stay free"))
    }

    /// Everything is safe, and the next start is quick.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        self.sync()?;
        if self.log_since > 0 {
            self.begin_checkpoint(Checkpoints::Writer)?;
        }
        Ok(())
    }
}

fn in_background(
    write: impl FnOnce() -> io::Result<Written> + Send + 'static,
    commit: Arc<Commit>,
) -> io::Result<Writing> {
    let (told, outcome) = channel();
    let run = move || {
        // The writer has the other end until it has been told.
        let _ = told.send(write());
        commit.call();
    };
    let thread = thread::Builder::new().name("midge-checkpoint".into()).spawn(run)?;
    Ok(Writing::Thread { outcome, thread })
}
