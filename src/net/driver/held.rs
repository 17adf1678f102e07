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
use crate::net::keeper::Tickets;
use crate::packet::ReasonCode;
use crate::protocol::{Output, Violation};

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
    /// None when they only wait behind others.
    tickets: Tickets,
    out: Output,
    has_publish: bool,
}

impl Driver {
    /// Whether answers must be kept apart until it is known when they may leave: those that promise something, and those
    /// behind them.
    pub(super) fn holds(&self, turn: &Turn) -> bool {
        let is_behind = self.held.is_some() || !turn.tickets.is_empty() || !turn.answer.is_empty();
        is_behind || matches!(&self.stage, Stage::Attached(attached) if attached.mailbox.is_stored())
    }

    /// Where the answer to a ping goes, which waits for nothing but CONNACK.
    pub(super) fn pong<'a>(&self, turn: &'a mut Turn) -> &'a mut Output {
        match &self.stage {
            Stage::Attached(attached) if attached.answered => &mut turn.pongs,
            _ => &mut turn.answer,
        }
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
        if !turn.answer.is_empty() {
            if let Err(what) = appended {
                self.drop_answer(turn);
                return Err(lost(&what));
            }
            self.hold(turn);
            self.poll_held(cx, turn)?;
        }
        turn.out.append(&mut turn.pongs);
        Ok(())
    }

    fn hold(&mut self, turn: &mut Turn) {
        let tickets = std::mem::take(&mut turn.tickets);
        let has_publish = std::mem::take(&mut turn.answer_has_publish);
        // What promises nothing waits for what was promised before.
        if self.held.is_none() && tickets.is_empty() {
            return turn.out.append(&mut turn.answer);
        }
        let held = self.held.get_or_insert_default();
        let out = turn.answer.split_off();
        held.bytes += out.len();
        held.publishes += usize::from(has_publish);
        held.queue.push_back(Answers { tickets, out, has_publish });
    }

    /// The connection ends: what it was still to be told, and why it ends, goes out when it is safe.
    pub(super) fn settle_last(&mut self, end: &End, turn: &mut Turn) {
        let appended = turn.append_changes(&self.place.shared.keeper);
        turn.out.append(&mut turn.pongs);
        if !end.speaks() {
            self.drop_held(turn);
        }
        if !end.speaks() || appended.is_err() {
            self.drop_answer(turn);
        }
        if let End::Closed(violation) = end {
            let is_silent = self.held.is_none() && turn.answer.is_empty();
            match &mut self.stage {
                Stage::Attached(attached) if !attached.answered && is_silent => {
                    // The client never learns that it had a session here.
                    attached.delete |= attached.is_new;
                    self.connection.refuse(violation, &mut turn.answer);
                }
                _ => self.connection.close(violation, &mut turn.answer),
            }
        }
        if !turn.answer.is_empty() {
            self.hold(turn);
        }
    }

    /// The answers of this turn are not given.
    fn drop_answer(&mut self, turn: &mut Turn) {
        let lost = std::mem::take(&mut turn.answer.qos0_messages);
        self.lose(DropCause::ConnectionLost, lost, &mut turn.batch);
        turn.answer.clear();
        turn.answer_has_publish = false;
    }

    /// Those that wait are not given either.
    pub(super) fn drop_held(&mut self, turn: &mut Turn) {
        let held = self.held.take().into_iter().flat_map(|held| held.queue);
        let lost = held.map(|answers| answers.out.qos0_messages).sum();
        self.lose(DropCause::ConnectionLost, lost, &mut turn.batch);
    }

    /// Lets out what has become safe; ends the connection when the store has lost it.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        let mut progress = Progress::None;
        while let Some(held) = &mut self.held {
            let Some(first) = held.queue.front() else {
                self.held = None;
                break;
            };
            match self.place.shared.keeper.poll_all_safe(&first.tickets, cx.waker()) {
                Poll::Pending => break,
                Poll::Ready(Err(what)) => {
                    self.drop_held(turn);
                    return Err(lost(&what.to_string()));
                }
                Poll::Ready(Ok(())) => {}
            }
            if let Some(answers) = held.queue.pop_front() {
                held.bytes -= answers.out.len();
                held.publishes -= usize::from(answers.has_publish);
                self.let_out(answers, turn);
                progress = Progress::Some;
            }
        }
        Ok(progress)
    }

    fn let_out(&mut self, mut answers: Answers, turn: &mut Turn) {
        turn.out.append(&mut answers.out);
        let Stage::Attached(attached) = &mut self.stage else { return };
        // The first of them is CONNACK.
        attached.answered = true;
        if let (Some(ticket), Some(session)) = (answers.tickets.last(), self.connection.session_mut()) {
            attached.received.settle(ticket.record, &self.place.shared.keeper, session);
        }
    }
}

/// Nothing is acknowledged on hope: the client learns from the close that it has to send again.
fn lost(what: &str) -> End {
    End::Closed(Violation::new(ReasonCode::QuotaExceeded, format!("the store could not keep it: {what}")))
}
