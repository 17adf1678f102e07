//! What one client lost, by cause, and what was refused because its queue was full.
//!
//! The record belongs to the session's mailbox, stays for as long as the session does, and is changed under the
//! mailbox's lock; a session that has lost nothing has a pointer of it. A copy is counted here and for the whole broker
//! in one step. What a shared group loses while no member has it (`window`, and what expires or is left over in its
//! queue) is no client's loss: it is counted for the broker alone.

use super::batch::Batch;
use super::counters::CAUSES;
use crate::message::{BrokerTime, DropCause};

/// What a client lost since its session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    by_cause: [u64; CAUSES],
    /// Messages that were refused as a whole because this session's queue was full. No copy of them is lost.
    pub refused: u64,
}

impl Losses {
    pub fn of(&self, cause: DropCause) -> u64 {
        self.by_cause[cause as usize]
    }

    /// By all causes.
    pub fn sum(&self) -> u64 {
        self.by_cause.iter().sum()
    }
}

/// Losses of one client are logged at most this often, in milliseconds; refusals too.
const LOG_INTERVAL_MS: u64 = 60_000;

/// Boxed when there is something to tell: most sessions lose nothing.
#[derive(Default)]
pub(super) struct LossRecord(Option<Box<Kept>>);

#[derive(Default)]
struct Kept {
    losses: Losses,
    loss_logged_at: Option<BrokerTime>,
    refusal_logged_at: Option<BrokerTime>,
}

impl LossRecord {
    pub(super) fn losses(&self) -> Losses {
        self.0.as_ref().map_or_else(Losses::default, |kept| kept.losses)
    }

    /// Counts copies that are lost, for this client and for the broker. `queued` is for the log.
    pub(super) fn lose(&mut self, cause: DropCause, copies: u64, client_id: &str, queued: usize, batch: &mut Batch) {
        if copies == 0 {
            return;
        }
        batch.counts.dropped[cause as usize] += copies;
        let kept = self.0.get_or_insert_default();
        kept.losses.by_cause[cause as usize] += copies;
        if is_logged(cause) && is_due(&mut kept.loss_logged_at, batch.now) {
            let (cause, dropped) = (cause.name(), kept.losses.of(cause));
            let dropped_in_all = kept.losses.sum();
            tracing::warn!(client_id, cause, dropped, dropped_in_all, queued, "messages are lost");
        }
    }

    /// Counts a message that was refused because this queue is full; its copies are counted by who refuses it.
    pub(super) fn refuse(&mut self, client_id: &str, queued: usize, batch: &Batch) {
        let kept = self.0.get_or_insert_default();
        kept.losses.refused += 1;
        if is_due(&mut kept.refusal_logged_at, batch.now) {
            tracing::warn!(client_id, refused = kept.losses.refused, queued, "queue full: messages are refused");
        }
    }
}

/// The losses that somebody can do something about. The others are as the client or an operator wants it: QoS 0 while it
/// is away, expired, no local, not for its eyes, purged.
fn is_logged(cause: DropCause) -> bool {
    matches!(cause, DropCause::QueueFull | DropCause::TooLarge | DropCause::RefusedByReceiver)
}

fn is_due(logged_at: &mut Option<BrokerTime>, now: BrokerTime) -> bool {
    let due = logged_at.is_none_or(|at| now.since(at).as_millis() as u64 >= LOG_INTERVAL_MS);
    if due {
        *logged_at = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_has_lost_nothing_has_a_pointer_of_it() {
        assert_eq!(size_of::<LossRecord>(), size_of::<usize>());
        let mut record = LossRecord::default();
        record.lose(DropCause::Offline, 0, "c", 0, &mut Batch::default());
        assert!(record.0.is_none() && record.losses() == Losses::default());
    }

    #[test]
    fn copies_are_counted_for_the_client_and_for_the_broker_and_refusals_are_no_losses() {
        let (mut record, mut batch) = (LossRecord::default(), Batch::default());
        record.lose(DropCause::Offline, 2, "c", 0, &mut batch);
        record.lose(DropCause::TooLarge, 1, "c", 0, &mut batch);
        record.refuse("c", 3, &batch);
        let losses = record.losses();
        assert_eq!((losses.of(DropCause::Offline), losses.of(DropCause::TooLarge)), (2, 1));
        assert_eq!((losses.sum(), losses.refused), (3, 1));
        assert_eq!((batch.counts.dropped[DropCause::Offline as usize], batch.counts.dropped_sum()), (2, 3));
    }
}
