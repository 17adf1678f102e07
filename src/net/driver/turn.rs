//! A thread's working space for the turns of all its connections: no buffer belongs to an idle connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::AddAssign;

use super::POLL_WORK_MAX;
use super::inbound::TURN_COPIES_MAX;
use crate::message::{BrokerTime, Queued};
use crate::net::context::Shared;
use crate::net::keeper::{Keeper, Tickets};
use crate::protocol::Output;
use crate::router::Batch;
use crate::store::Change;

/// One read of packets takes at most this much: some hundred small packets, so that others do not wait long, and what a
/// fast cache of the processor holds.
pub(super) const READ_BYTES_MAX: usize = 32 * 1024;
/// What a packet is of a turn's work, beside its bytes: so many are moved in the time that it takes.
const PACKET_WORK: u64 = 512;
/// What a copy for a subscriber is of it, given alone.
const COPY_WORK: u64 = POLL_WORK_MAX / TURN_COPIES_MAX;
/// What the output buffer may keep between turns.
const OUTPUT_BYTES_KEPT: usize = 1024 * 1024;

pub(super) struct Turn {
    /// The start of a packet, and what one read brings.
    pub(super) scratch: Box<[u8]>,
    pub(super) out: Output,
    /// Some of it was put off in the poll before, and there has been no try to write it since.
    pub(super) is_overdue: bool,
    /// Others have had their turn before this poll: it puts nothing off.
    pub(super) comes_late: bool,
    pub(super) batch: Batch,
    pub(super) deliveries: VecDeque<Queued>,
    /// Answers that may have to wait until what they promise is safe.
    pub(super) answer: Output,
    /// Answers to pings: they tell that the connection lives, not that the disk does, and wait for no promise.
    pub(super) pongs: Output,
    /// There is a PUBLISH among the answers.
    pub(super) answer_has_publish: bool,
    /// When that is; empty while nothing was promised.
    pub(super) tickets: Tickets,
    /// What is to be stored of this turn.
    changes: Vec<Change>,
    /// Some answer promises that `changes` are safe.
    promised: bool,
    /// What has been done and counted.
    done: Done,
}

/// How much turns have done.
#[derive(Clone, Copy, Default)]
pub(super) struct Done {
    /// In bytes moved.
    pub(super) work: u64,
    /// PUBLISH packets taken: they make work for others.
    pub(super) published: u64,
}

impl AddAssign for Done {
    fn add_assign(&mut self, more: Done) {
        self.work += more.work;
        self.published += more.published;
    }
}

impl Default for Turn {
    fn default() -> Self {
        Turn {
            scratch: vec![0; 2 * READ_BYTES_MAX].into_boxed_slice(),
            out: Output::default(),
            is_overdue: false,
            comes_late: false,
            batch: Batch::default(),
            deliveries: VecDeque::new(),
            answer: Output::default(),
            pongs: Output::default(),
            answer_has_publish: false,
            tickets: Tickets::new(),
            changes: Vec::new(),
            promised: false,
            done: Done::default(),
        }
    }
}

thread_local! {
    static TURN: RefCell<Option<Box<Turn>>> = const { RefCell::new(None) };
}

/// Runs `work` with the thread's working space.
pub(super) fn with<R>(work: impl FnOnce(&mut Turn) -> R) -> R {
    // Taken out for the time of the turn: a turn inside a turn (a connection dropped by a wake-up) gets its own.
    let mut turn = TURN.take().unwrap_or_default();
    let result = work(&mut turn);
    TURN.set(Some(turn));
    result
}

impl Turn {
    pub(super) fn begin(&mut self, now: BrokerTime) {
        self.batch.now = now;
    }

    /// Some answer of this turn promises that the change is safe.
    pub(super) fn promise(&mut self, change: Change) {
        self.changes.push(change);
        self.promised = true;
    }

    /// Nobody is promised anything about the change.
    pub(super) fn remember(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Gives the store what this turn has changed. Fails when an answer promised what the store did not take.
    pub(super) fn append_changes(&mut self, keeper: &Keeper) -> Result<(), String> {
        let promised = std::mem::take(&mut self.promised);
        let appended = if self.changes.is_empty() { None } else { Some(keeper.append(&self.changes)) };
        self.changes.clear();
        // After them: what a group has sent is its session's own before the group ends.
        keeper.flush(&mut self.batch);
        match appended {
            Some(Ok(ticket)) if promised => self.tickets.push(ticket),
            Some(Err(error)) if promised => return Err(error.to_string()),
            _ => {}
        }
        Ok(())
    }

    /// Adds up what has been counted so far: before anything is written, for whoever reads it may ask for the counts.
    pub(super) fn count(&mut self, shared: &Shared) {
        let counts = &self.batch.counts;
        self.done.work += counts.bytes_received + counts.bytes_sent + self.batch.work() * COPY_WORK;
        self.done.work += (counts.packets_received + counts.packets_sent) * PACKET_WORK;
        self.done.published += counts.received_qos0 + counts.received_qos1 + counts.received_qos2;
        shared.router.count(&mut self.batch);
    }

    /// Returns how much the turn has done.
    pub(super) fn finish(&mut self, shared: &Shared) -> Done {
        // After the end of a connection nobody waits for it.
        let _ = self.append_changes(&shared.keeper);
        self.answer.clear();
        self.answer_has_publish = false;
        self.pongs.clear();
        self.answer.shrink(OUTPUT_BYTES_KEPT);
        self.tickets.clear();
        self.out.clear();
        self.out.shrink(OUTPUT_BYTES_KEPT);
        self.deliveries.clear();
        self.count(shared);
        self.batch.wake_all();
        std::mem::take(&mut self.done)
    }
}
