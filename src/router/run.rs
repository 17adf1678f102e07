//! Messages that one turn has for the same receivers: handed out together, with one look into each mailbox.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Router;
use super::batch::{Batch, RUN_COPIES, RUN_WORK};
use super::mailbox::Pushed;
use super::subscriptions::{Match, Matches};
use crate::message::{Draft, DropCause, Message, MessageRun, RowId, RunBuilder, RunDelivery};
use crate::topic::QoS;

/// Of those who had no room one of so many is believed to have it, for each run that shows no more of them.
const SPLITS_KEPT: u64 = 64;

/// What has been gathered.
#[derive(Default)]
pub(super) struct Run {
    /// Of the messages, or of the one that was looked up last and was none for a run.
    matches: Option<Arc<Matches>>,
    /// Of the subscriptions, when they were found.
    generation: u64,
    takes: Takes,
    messages: RunBuilder,
}

/// Which messages may be gathered for their receivers.
#[derive(Clone, Copy, Default)]
struct Takes {
    /// Up to this size; `None`: none at all.
    size_max: Option<u64>,
    /// The group, by its place, whose room is what their publisher is promised.
    promised_by: Option<usize>,
}

impl Run {
    /// What it will be to hand it out, in copies given alone.
    pub(super) fn work(&self) -> u64 {
        let Some(matches) = &self.matches else { return 0 };
        let (copies, len) = (matches.copies(), self.messages.len());
        let alone = copies.min(matches.groups.len() as u64 + matches.splits.load(Relaxed));
        // None of them may have room for a whole run any more.
        (alone * len + (copies - alone) * len.min(RUN_WORK)).max(copies * len / RUN_COPIES)
    }
}

impl Router {
    /// Takes a message that nobody refuses and that need not be kept, to be handed out with those that follow. False for
    /// one that is none of these: [`Router::publish_kept`] takes it. [`Router::hand_out`] has to come before anything else
    /// is done for this client.
    pub fn gather(&self, message: &Draft, batch: &mut Batch) -> bool {
        if !RunBuilder::takes(message) {
            return false;
        }
        let generation = self.subscriptions.generation();
        // Another topic's receivers are found apart, even where they are the same.
        if batch.run.generation != generation || !batch.run.messages.goes_on_with(message) {
            self.begin_run(message, generation, batch);
        }
        if batch.run.takes.size_max.is_none_or(|size_max| message.size() as u64 > size_max) {
            return false;
        }
        batch.run.messages.push(message);
        if batch.run.messages.is_full() {
            self.hand_out(batch);
        }
        true
    }

    /// Makes ready for a message that is for others than those before it.
    fn begin_run(&self, message: &Draft, generation: u64, batch: &mut Batch) {
        self.hand_out(batch);
        let cache = batch.matches.get_or_insert_default();
        let matches = self.subscriptions.matches(message.topic_bytes(), cache); // [MQTT-3.3.2-3]
        batch.run.takes = matches.take_for_certain(message.qos());
        batch.run.matches = Some(Arc::clone(matches));
        batch.run.generation = generation;
    }

    /// Gives what has been gathered to everybody it is for: who was subscribed when it came, though one may have
    /// unsubscribed since.
    pub fn hand_out(&self, batch: &mut Batch) {
        let Some(matches) = batch.run.matches.take() else { return };
        let Some(run) = batch.run.messages.finish() else { return };
        let alone = OnceCell::new();
        let (mut is_anybody_there, runs_before) = (false, batch.runs);
        for found in &matches.sessions {
            is_anybody_there |= found.push_run(&run, &alone, batch);
        }
        matches.note_splits(matches.sessions.len() as u64 - (batch.runs - runs_before));
        for (at, group) in matches.groups.iter().enumerate() {
            is_anybody_there |= group.give_run(&run, batch.run.takes.promised_by == Some(at), batch);
        }
        if !is_anybody_there {
            batch.counts.no_subscriber += run.len();
        }
    }
}

impl Matches {
    /// So many had no room for a run as a whole, or were not to get all of it. Others believe it for a while: who had none may
    /// take a short one, and have none for the next.
    fn note_splits(&self, splits: u64) {
        let before = self.splits.load(Relaxed);
        if (splits, before) != (0, 0) {
            self.splits.store(splits.max(before - before.div_ceil(SPLITS_KEPT)), Relaxed);
        }
    }

    /// Which messages of that QoS have a publisher that need not wait for what becomes of them: at QoS 0 it is told nothing,
    /// and else some session or group takes them for certain, and none keeps them on disk. Should that session end within
    /// the turn, or the group's last member, the message was accepted first and lost with it.
    fn take_for_certain(&self, qos: QoS) -> Takes {
        let all = Takes { size_max: Some(u64::MAX), promised_by: None };
        if !self.groups.iter().all(|group| group.takes_runs()) {
            return Takes::default();
        }
        if qos == QoS::AtMostOnce {
            return all;
        }
        if self.any_stored || self.may_refuse {
            return Takes::default();
        }
        if self.has_room_for.is_some() {
            return Takes { size_max: self.has_room_for, ..all };
        }
        let promised_by = self.groups.iter().position(|group| group.has_room_for_run());
        Takes { size_max: promised_by.and(all.size_max), promised_by }
    }
}

impl Match {
    /// False when the session has ended. `alone` are the messages of the run, once somebody has not taken it as a whole.
    fn push_run(&self, run: &MessageRun, alone: &OnceCell<Vec<Message>>, batch: &mut Batch) -> bool {
        // Whether the session published it itself and asked for no local.
        if !(self.no_local && run.publisher() == self.mailbox.publisher()) {
            match self.mailbox.push_run(RunDelivery::new(run.clone(), self.qos, self.ids.clone()), batch) {
                Pushed::Queued => return true,
                Pushed::Closed => return false,
                // One by one, as far as there is room.
                _ => {}
            }
        }
        let messages = alone.get_or_init(|| run.messages().collect());
        messages.iter().fold(false, |is_there, message| is_there | self.push_alone(message, batch))
    }

    fn push_alone(&self, message: &Message, batch: &mut Batch) -> bool {
        let pushed = self.push(message, false, RowId::NONE, batch);
        if pushed == Pushed::Full {
            self.mailbox.lose(DropCause::QueueFull, 1, batch);
        }
        pushed != Pushed::Closed
    }
}
