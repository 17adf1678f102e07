//! Promises that are not safe yet: what answers a packet waits here until the store has what the answer promises.
//!
//! ```text
//! a turn's answers ──► [ ticket 7: PUBACK PUBACK │ ticket 9: SUBACK │ … ] ──safe──► the socket
//! ```
//! Answers of one connection leave in the order they were made, so one that promises nothing waits behind one that does.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::turn::Turn;
use super::{Driver, End, Progress, Stage};
use crate::message::DropCause;
use crate::packet::ReasonCode;
use crate::protocol::{Output, Violation};
use crate::store::Ticket;

/// What waits for the store.
#[derive(Default)]
pub(super) struct Held {
    queue: VecDeque<Answers>,
    bytes: usize,
    /// How many of them hold a PUBLISH.
    publishes: usize,
}

/// What one turn answered.
struct Answers {
    ticket: Ticket,
    out: Output,
    has_publish: bool,
}

impl Driver {
    /// Whether answers must be kept apart until it is known when they may leave.
    pub(super) fn holds(&self) -> bool {
        self.held.is_some() || matches!(&self.stage, Stage::Attached(attached) if attached.mailbox.is_stored())
    }

    /// Whether a PUBLISH waits: others must wait behind it.
    pub(super) fn holds_publish(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.publishes > 0)
    }

    /// How many bytes wait for the store.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes)
    }

    /// At the end of a turn: what it promised, and what it answered, go out or wait.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<(), End> {
        let appended = turn.append_changes(&self.place.shared.keeper);
        if turn.answer.is_empty() {
            return Ok(());
        }
        if let Err(what) = appended {
            turn.answer.clear();
            return Err(lost(&what));
        }
        let ticket = turn.ticket.take();
        self.hold(ticket, turn);
        self.poll_held(cx, turn).map(drop)
    }

    fn hold(&mut self, ticket: Option<Ticket>, turn: &mut Turn) {
        match (&mut self.held, ticket) {
            (None, None) => turn.out.append(&mut turn.answer),
            (held, ticket) => {
                let held = held.get_or_insert_default();
                // What promises nothing waits for what was promised before.
                let ticket = ticket.or(held.queue.back().map(|last| last.ticket)).unwrap_or_default();
                let out = turn.answer.split_off();
                held.bytes += out.len();
                held.publishes += usize::from(turn.answer_has_publish);
                held.queue.push_back(Answers { ticket, out, has_publish: turn.answer_has_publish });
            }
        }
        turn.answer_has_publish = false;
    }

    /// The connection ends: what it was still to be told goes out if nothing has to be waited for.
    pub(super) fn settle_last(&mut self, turn: &mut Turn) {
        let appended = turn.append_changes(&self.place.shared.keeper);
        let is_safe = appended.is_ok() && turn.ticket.is_none() && self.held.is_none();
        if is_safe {
            turn.out.append(&mut turn.answer);
        }
        // QoS 0 messages behind what waited have not reached the kernel either.
        let held = self.held.take().into_iter().flat_map(|held| held.queue).map(|answers| answers.out.qos0_messages);
        let lost = turn.answer.qos0_messages + held.sum::<u64>();
        turn.answer.clear();
        self.lose(DropCause::ConnectionLost, lost, &mut turn.batch);
    }

    /// Lets out what has become safe; ends the connection when the store has lost it.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        let mut progress = Progress::None;
        while let Some(held) = &mut self.held {
            let Some(ticket) = held.queue.front().map(|first| first.ticket) else {
                self.held = None;
                break;
            };
            match self.place.shared.keeper.poll_safe(ticket, cx.waker()) {
                Poll::Pending => break,
                Poll::Ready(Err(what)) => return Err(lost(&what.to_string())),
                Poll::Ready(Ok(())) => {}
            }
            if let Some(mut answers) = held.queue.pop_front() {
                held.bytes -= answers.out.len();
                held.publishes -= usize::from(answers.has_publish);
                turn.out.append(&mut answers.out);
                progress = Progress::Some;
            }
        }
        Ok(progress)
    }
}

/// Nothing is acknowledged on hope: the client learns from the close that it has to send again.
fn lost(what: &str) -> End {
    End::Closed(Violation::new(ReasonCode::QuotaExceeded, format!("the store could not keep it: {what}")))
}
