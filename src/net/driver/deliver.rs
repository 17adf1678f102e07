//! Out to the client: what was in flight before a reconnect, then retained messages, then the mailbox; as much of each
//! as the client's window and the socket take.

use std::task::{Context, Poll};

use super::turn::Turn;
use super::{Driver, End, Progress, Stage};
use crate::auth::Subscribing;
use crate::message::{Delivery, DropCause, Message};
use crate::net::operator;
use crate::packet::{QoS, ReasonCode};
use crate::protocol::{Delivered, Replay, Violation};
use crate::router::{Batch, Control, Kick, MailboxEvent, UnderWay};
use crate::topic::{PageEnd, ParsedFilter};

/// What one turn puts into the socket at most.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Retained messages that are looked up at a time.
const REPLAY_MESSAGES_MAX: usize = 32;
/// Looks at retained messages in one turn: many subscriptions find nothing.
const REPLAY_PAGES_MAX: usize = 16;

impl Driver {
    pub(super) fn poll_mailbox(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        if !matches!(self.stage, Stage::Attached(_)) {
            return Ok(Progress::None);
        }
        self.judge_subscriptions();
        let mut progress = Progress::None;
        let mut groups = true;
        if self.unsent.is_none() && (self.resend(turn) | self.replay(turn)) {
            progress = Progress::Some;
        }
        loop {
            let bytes_max = if self.unsent.is_some() { 0 } else { TURN_BYTES_MAX.saturating_sub(turn.out.len()) };
            let Stage::Attached(attached) = &self.stage else { return Ok(progress) };
            let under_way = self.under_way();
            let event = attached.mailbox.poll(cx.waker(), under_way, bytes_max as u64, groups, &mut turn.deliveries);
            match event {
                Poll::Pending => return Ok(progress),
                Poll::Ready(MailboxEvent::Control(control)) => return Err(self.obey(control)),
                Poll::Ready(MailboxEvent::Inquired) => self.answer_operator(),
                Poll::Ready(MailboxEvent::GroupsWaiting) => {
                    self.place.shared.router.pull_shared(&attached.mailbox, &mut turn.batch);
                    groups = false;
                }
                Poll::Ready(MailboxEvent::Deliveries) => {
                    progress = Progress::Some;
                    self.send_deliveries(turn);
                }
            }
        }
    }

    fn answer_operator(&self) {
        let Stage::Attached(attached) = &self.stage else { return };
        if let (Some(inquiry), Some(session)) = (attached.mailbox.take_inquiry(), self.connection.session()) {
            operator::answer(session, *inquiry);
        }
    }

    pub(super) fn under_way(&self) -> UnderWay {
        UnderWay {
            window_free: self.connection.window_free(),
            inflight: self.connection.inflight(),
            ..self.unsent_under_way()
        }
    }

    fn send_deliveries(&mut self, turn: &mut Turn) {
        let mut deliveries = std::mem::take(&mut turn.deliveries);
        for delivery in deliveries.drain(..) {
            self.send(delivery, turn);
        }
        turn.deliveries = deliveries;
    }

    fn send(&mut self, delivery: Delivery, turn: &mut Turn) {
        if !self.may_receive(&delivery.message) {
            self.lose(DropCause::NotAuthorized, 1, &mut turn.batch);
            return;
        }
        let (qos, payload) = (delivery.qos, delivery.message.payload().len() as u64);
        match self.connection.deliver(turn.batch.now, delivery, &mut turn.out) {
            Delivered::Dropped(cause) => self.lose(cause, 1, &mut turn.batch),
            Delivered::Sent => count_sent(qos, payload, turn),
        }
    }

    /// Counts copies of this client that are lost on the way out.
    pub(super) fn lose(&self, cause: DropCause, copies: u64, batch: &mut Batch) {
        match &self.stage {
            Stage::Attached(attached) => attached.mailbox.lose(cause, copies, batch),
            // The session is let go, its loss is still its own.
            Stage::Lingering(lingering) => lingering.lose(cause, copies, batch),
            _ => batch.counts.dropped[cause as usize] += copies,
        }
    }

    /// Whether deliveries have to be checked: anew when the rules have changed, or the session was another user's.
    fn judge_subscriptions(&mut self) {
        let Stage::Attached(attached) = &mut self.stage else { return };
        let access = self.place.listener.access.load();
        if attached.judged_by == Some(access.version) {
            return;
        }
        attached.judged_by = Some(access.version);
        let is_whole = |filter: &str| {
            ParsedFilter::parse(filter).is_ok_and(|parsed| {
                access.authorizer.may_subscribe(&attached.identity, parsed.filter) == Subscribing::Whole
            })
        };
        let mut filters = self.connection.session().into_iter().flat_map(|session| session.subscriptions.keys());
        attached.filtered = !access.authorizer.allows_everything() && !filters.all(|filter| is_whole(filter));
    }

    /// Subscriptions that are allowed in part are checked here, message by message.
    fn may_receive(&self, message: &Message) -> bool {
        let Stage::Attached(attached) = &self.stage else { return false };
        !attached.filtered
            || self.place.listener.access.load().authorizer.may_receive(&attached.identity, message.topic())
    }

    fn resend(&mut self, turn: &mut Turn) -> bool {
        if !self.connection.is_resending() {
            return false;
        }
        let before = turn.out.len();
        let (publishes, given_up) = self.connection.resend(turn.batch.now, TURN_BYTES_MAX, &mut turn.out);
        turn.batch.counts.redelivered += publishes;
        for cause in given_up {
            self.lose(cause, 1, &mut turn.batch);
        }
        turn.out.len() > before
    }

    /// Sends retained messages for the subscriptions that still wait for some, the oldest first; true when there may be
    /// more to do.
    fn replay(&mut self, turn: &mut Turn) -> bool {
        let mut any = false;
        if !self.connection.has_retained() {
            return any;
        }
        for _ in 0..REPLAY_PAGES_MAX {
            if turn.out.len() >= TURN_BYTES_MAX || !self.replay_oldest(turn) {
                break;
            }
            any = true;
        }
        any
    }

    fn replay_oldest(&mut self, turn: &mut Turn) -> bool {
        let window_free = self.connection.window_free() as usize;
        let Some(session) = self.connection.session_mut() else { return false };
        let room = |replay: &Replay| match replay.options.qos {
            QoS::AtMostOnce => REPLAY_MESSAGES_MAX,
            _ => REPLAY_MESSAGES_MAX.min(window_free),
        };
        let Some(room) = session.replays.front().map(room).filter(|room| *room > 0) else { return false };
        let Some(mut replay) = session.replays.pop_front() else { return false };
        if let PageEnd::ResumeAfter(topic) = self.replay_page(&replay, room, turn) {
            replay.after = Some(topic.into());
            if let Some(session) = self.connection.session_mut() {
                session.replays.push_front(replay);
            }
        }
        true
    }

    fn replay_page(&mut self, replay: &Replay, room: usize, turn: &mut Turn) -> PageEnd {
        let mut messages = Vec::new();
        let after = replay.after.as_deref();
        let end = self.place.shared.router.retained_page(
            &replay.filter, // [MQTT-3.3.2-3]
            after,
            room,
            replay.before_version,
            turn.batch.now,
            |message| messages.push(message.clone()),
        );
        for message in messages {
            turn.batch.counts.matched += 1;
            if replay.options.no_local && self.is_own(&message) {
                self.lose(DropCause::NoLocal, 1, &mut turn.batch);
                continue;
            }
            turn.batch.counts.retained_sent += 1;
            let qos = replay.options.qos.min(message.qos()); // [MQTT-3.8.4-8]
            let subscription_ids = replay.subscription_ids.clone();
            self.send(Delivery { message, qos, retain: true, subscription_ids, group: None }, turn);
        }
        end
    }

    fn is_own(&self, message: &Message) -> bool {
        matches!(&self.stage, Stage::Attached(attached) if attached.mailbox.publisher() == message.publisher())
    }
}

fn count_sent(qos: QoS, payload: u64, turn: &mut Turn) {
    turn.batch.counts.sent_payload_bytes += payload;
    match qos {
        QoS::AtMostOnce => turn.batch.counts.sent_qos0 += 1,
        QoS::AtLeastOnce => turn.batch.counts.sent_qos1 += 1,
        QoS::ExactlyOnce => turn.batch.counts.sent_qos2 += 1,
    }
}

impl Driver {
    fn obey(&mut self, control: Control) -> End {
        if let (Stage::Attached(attached), Control::Kick(Kick::Delete)) = (&mut self.stage, control) {
            attached.delete = true;
        }
        let (reason_code, what) = words_for(control);
        End::Closed(Violation::new(reason_code, what))
    }
}

fn words_for(control: Control) -> (ReasonCode, &'static str) {
    match control {
        // [MQTT-3.1.4-3]
        Control::Takeover => (ReasonCode::SessionTakenOver, "another connection uses this client id"),
        Control::Kick(Kick::SlowClient) => (ReasonCode::QuotaExceeded, "the queue for this client is full"),
        Control::Kick(Kick::Disconnect | Kick::Delete) => {
            (ReasonCode::AdministrativeAction, "an operator ended the connection")
        }
        Control::Shutdown => (ReasonCode::ServerShuttingDown, "the broker stops"),
    }
}
