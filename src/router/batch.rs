//! What one turn of a driver gathers before it touches anything that others share: wake-ups, counts, cached matches,
//! messages for the same receivers.

use std::task::Waker;

use super::counters::{Counters, Counts};
use super::run::Run;
use super::subscriptions::MatchCache;
use crate::message::{BrokerTime, OwnerId, RowId};

/// What it is to give a receiver a run, in copies given alone.
pub(super) const RUN_WORK: u64 = 4;
/// So many copies in a run are one given alone, at least: should nobody have room, they are.
pub(super) const RUN_COPIES: u64 = 8;

/// One thread's working state for publishing. Wake-ups and counts take effect at
/// [`Router::flush`](super::Router::flush), so a receiver is woken once for all that a turn has for it.
#[derive(Default)]
pub struct Batch {
    /// When the turn began.
    pub now: BrokerTime,
    pub counts: Counts,
    /// Stored copies that came to their end.
    pub ended: Vec<(OwnerId, RowId)>,
    /// Stored shared groups that came to theirs.
    pub ended_owners: Vec<OwnerId>,
    /// Stored retained messages that are no more, with the row up to which that holds.
    pub unretained: Vec<(Box<str>, RowId)>,
    /// Of the matched copies those that were given in runs, ...
    copies_in_runs: u64,
    /// ... and how often a receiver was given one.
    pub(super) runs: u64,
    wakers: Vec<Waker>,
    /// Elsewhere while a message is given to those found there.
    pub(super) matches: Option<Box<MatchCache>>,
    pub(super) run: Run,
}

impl Batch {
    pub fn at(now: BrokerTime) -> Self {
        Batch { now, ..Batch::default() }
    }

    /// The copy came to its end, wherever that was: the store need not keep it.
    pub fn end_row(&mut self, owner: OwnerId, row: RowId) {
        if row.is_stored() {
            self.ended.push((owner, row));
        }
    }

    /// What it is to give away what has been, or is about to be, and has not been added up yet; in copies given alone.
    pub fn work(&self) -> u64 {
        self.counts.matched - self.copies_in_runs + self.runs * RUN_WORK + self.run.work()
    }

    /// A receiver has taken a run whole.
    pub(super) fn note_run(&mut self, copies: u64) {
        self.counts.matched += copies;
        self.copies_in_runs += copies;
        self.runs += 1;
    }

    /// Adds up what has been counted.
    pub(super) fn count(&mut self, counters: &Counters) {
        counters.add(&mut self.counts);
        (self.copies_in_runs, self.runs) = (0, 0);
    }

    pub(super) fn wake_later(&mut self, waker: Waker) {
        self.wakers.push(waker);
    }

    /// Whether the task of that waker got something, which then looks by itself.
    pub fn take_wake(&mut self, own: &Waker) -> bool {
        let found = self.wakers.iter().position(|waker| waker.will_wake(own));
        found.map(|index| self.wakers.swap_remove(index)).is_some()
    }

    /// Wakes everybody who got something. What they are woken for has been counted.
    pub fn wake_all(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}
