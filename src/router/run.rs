//! QoS 0 messages that one turn has for the same receivers: handed out together, with one look into each mailbox.

use std::sync::Arc;

use super::batch::Batch;
use super::mailbox::Pushed;
use super::subscriptions::{Match, Matches};
use super::{Router, delivery};
use crate::message::{DropCause, Message, RowId};
use crate::topic::QoS;

/// So many messages at most, whose counters a fast cache of the processor holds, ...
const MESSAGES_MAX: usize = 128;
/// ... and so many copies, for others have to get their turn.
const COPIES_MAX: u64 = 4096;

/// What has been gathered.
#[derive(Default)]
pub(super) struct Run {
    /// There while there are messages.
    matches: Option<Arc<Matches>>,
    /// Of the subscriptions, when they were found.
    generation: u64,
    messages: Vec<Message>,
    /// Of all of them, as [`Message::size`] counts.
    bytes: u64,
}

impl Run {
    pub(super) fn copies(&self) -> u64 {
        let receivers = self.matches.as_ref().map_or(0, |matches| matches.sessions.len());
        (self.messages.len() * receivers) as u64
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES_MAX || self.copies() >= COPIES_MAX
    }

    /// Whether the message is for the same receivers: another topic's are found apart, even where they are the same.
    fn goes_on_with(&self, message: &Message, generation: u64) -> bool {
        let is_alike = |last: &Message| last.topic_bytes() == message.topic_bytes();
        self.generation == generation && self.messages.last().is_some_and(is_alike)
    }
}

impl Router {
    /// Takes a message whose publisher gets no answer and that need not be kept, to be handed out with those that follow.
    /// Gives back one that is none of these: [`Router::publish_kept`] takes it. [`Router::hand_out`] has to come before
    /// anything else is done for this client.
    pub fn gather(&self, message: Message, batch: &mut Batch) -> Result<(), Message> {
        if message.qos() != QoS::AtMostOnce || message.retain() {
            return Err(message);
        }
        let generation = self.subscriptions.generation();
        if !batch.run.goes_on_with(&message, generation) && !self.begin_run(&message, generation, batch) {
            return Err(message);
        }
        let run = &mut batch.run;
        run.bytes += message.size() as u64;
        run.messages.push(message);
        if run.is_full() {
            self.hand_out(batch);
        }
        Ok(())
    }

    /// Makes ready for a message that is for others than those before it. False when a group gets it.
    fn begin_run(&self, message: &Message, generation: u64, batch: &mut Batch) -> bool {
        let cache = batch.matches.get_or_insert_default();
        let matches = self.subscriptions.matches(message, cache); // [MQTT-3.3.2-3]
        if !matches.groups.is_empty() {
            return false;
        }
        let matches = Arc::clone(matches);
        self.hand_out(batch);
        batch.run.matches = Some(matches);
        batch.run.generation = generation;
        true
    }

    /// Gives what has been gathered to everybody it is for.
    pub fn hand_out(&self, batch: &mut Batch) {
        let Some(matches) = batch.run.matches.take() else { return };
        let mut messages = std::mem::take(&mut batch.run.messages);
        let bytes = std::mem::take(&mut batch.run.bytes);
        let mut is_anybody_there = false;
        let count = messages.len() as u64;
        if let Some((last, others)) = matches.sessions.split_last() {
            for found in others {
                let has_own = found.has_own(&messages);
                is_anybody_there |= found.push_run(messages.iter().cloned(), bytes, has_own, batch);
            }
            // Most messages are for one alone, who gets them as they are.
            let has_own = last.has_own(&messages);
            is_anybody_there |= last.push_run(messages.drain(..), bytes, has_own, batch);
        }
        if !is_anybody_there {
            batch.counts.no_subscriber += count;
        }
        messages.clear();
        batch.run.messages = messages;
    }
}

impl Match {
    /// Whether the session published some of them itself and asked for no local.
    fn has_own(&self, messages: &[Message]) -> bool {
        self.no_local && messages.iter().any(|message| message.publisher() == self.mailbox.publisher())
    }

    /// False when the session has ended.
    fn push_run(
        &self,
        mut messages: impl ExactSizeIterator<Item = Message>,
        bytes: u64,
        has_own: bool,
        batch: &mut Batch,
    ) -> bool {
        if !has_own {
            let copy = |message| delivery(message, self.qos, self.retain_as_published, &self.ids);
            match self.mailbox.push_run(messages.by_ref().map(copy), bytes, batch) {
                Pushed::Queued => return true,
                Pushed::Closed => return false,
                Pushed::Full | Pushed::Dropped(_) => {}
            }
        }
        let mut is_there = false;
        for message in messages {
            is_there |= self.push_alone(&message, batch);
        }
        is_there
    }

    fn push_alone(&self, message: &Message, batch: &mut Batch) -> bool {
        let pushed = self.push(message, false, RowId::NONE, batch);
        if pushed == Pushed::Full {
            self.mailbox.lose(DropCause::QueueFull, 1, batch);
        }
        pushed != Pushed::Closed
    }
}
