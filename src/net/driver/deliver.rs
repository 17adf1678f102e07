//! Out to the client: what was in flight before a reconnect, then retained messages, then the mailbox; as much of each
//! as the client's window and the socket take.

use std::task::{Context, Poll};

use super::attach::Reading;
use super::turn::Turn;
use super::{Driver, End, Progress, Stage, gather};
use crate::auth::Subscribing;
use crate::message::{Delivery, DropCause, Message, Queued, RowId, RunDelivery};
use crate::net::{keeper, operator};
use crate::packet::{QoS, ReasonCode};
use crate::protocol::{Delivered, Replay, Resent, Violation};
use crate::router::{Batch, Control, Kick, MailboxEvent, UnderWay, Wishes, owner_of};
use crate::store::Change;
use crate::topic::{PageEnd, ParsedFilter};

/// Messages that are read from the store at a time.
const PAGE_ROWS_MAX: usize = 512;
/// What one turn puts into the socket at most.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Retained messages that are looked up at a time.
const REPLAY_MESSAGES_MAX: usize = 128;
/// Looks at retained messages in one turn: many subscriptions find nothing.
const REPLAY_PAGES_MAX: usize = 16;

impl Driver {
    pub(super) fn poll_mailbox(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        if !matches!(self.stage, Stage::Attached(_)) {
            return Ok(Progress::None);
        }
        self.judge_subscriptions();
        let mut progress = self.poll_page(cx, turn)?;
        let mut groups = true;
        let is_open = self.unsent.is_none() && self.has_answered();
        if is_open && (self.resend(turn) | self.replay(cx, turn)) {
            progress = Progress::Some;
        }
        loop {
            let produced = turn.out.len() + turn.answer.len() + self.held_bytes();
            let bytes_max = if is_open { TURN_BYTES_MAX.saturating_sub(produced) } else { 0 };
            let Stage::Attached(attached) = &self.stage else { return Ok(progress) };
            let wishes = Wishes {
                bytes_max: bytes_max as u64,
                groups,
                pages: attached.page.is_none(),
                // A write that is made anyway takes them along.
                gather: !(self.has_gathered || turn.comes_late) && turn.out.is_empty() && gather::pays(self.served),
            };
            let event = attached.mailbox.poll(cx.waker(), self.under_way(), wishes, &mut turn.deliveries);
            match event {
                Poll::Pending => return Ok(progress),
                Poll::Ready(MailboxEvent::Control(control)) => return Err(self.obey(control)),
                Poll::Ready(MailboxEvent::Few) => {
                    // To the end of the queue of tasks: those before it may have more.
                    self.has_gathered = true;
                    cx.waker().wake_by_ref();
                    return Ok(progress);
                }
                Poll::Ready(MailboxEvent::Inquired) => self.answer_operator(),
                Poll::Ready(MailboxEvent::GroupsWaiting) => {
                    self.place.shared.router.pull_shared(&attached.mailbox, &mut turn.batch);
                    groups = false;
                }
                Poll::Ready(MailboxEvent::PageWanted { front, rows_max }) => {
                    self.begin_page(front, rows_max);
                    if self.poll_page(cx, turn)? == Progress::Some {
                        progress = Progress::Some;
                    }
                }
                Poll::Ready(MailboxEvent::Deliveries) => {
                    progress = Progress::Some;
                    self.has_gathered = false;
                    // They have waited here, or need not.
                    turn.comes_late = true;
                    self.send_deliveries(turn);
                }
            }
        }
    }

    /// What the client has just sent itself leaves with the answer to that, unless something comes first.
    pub(super) fn poll_own(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        let comes_first = self.is_owed() || !turn.answer.is_empty();
        if comes_first || !turn.batch.take_wake(cx.waker()) {
            return Ok(Progress::None);
        }
        self.poll_mailbox(cx, turn)
    }

    /// Whether the client is owed something from before: what was in flight, or retained messages.
    pub(super) fn is_owed(&self) -> bool {
        self.connection.is_resending() || self.awaits_retained()
    }

    fn awaits_retained(&self) -> bool {
        self.connection.has_retained() && self.connection.session().is_some_and(|session| !session.replays.is_empty())
    }

    /// Whether CONNACK is out: nothing may come before it.
    fn has_answered(&self) -> bool {
        matches!(&self.stage, Stage::Attached(attached) if attached.answered)
    }

    fn begin_page(&mut self, front: RowId, rows_max: u32) {
        let rows_max = (rows_max as usize).min(PAGE_ROWS_MAX);
        let Stage::Attached(attached) = &mut self.stage else { return };
        let before = RowId(front.0.saturating_sub(1));
        let keeper = &self.place.shared.keeper;
        let page = keeper.read_page(attached.mailbox.owner(), before, rows_max, TURN_BYTES_MAX);
        attached.page = Some(Box::new(Reading { front, page: Box::pin(page) }));
    }

    /// Takes in messages that were read from the store.
    fn poll_page(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        let Stage::Attached(attached) = &mut self.stage else { return Ok(Progress::None) };
        let Some(reading) = &mut attached.page else { return Ok(Progress::None) };
        let Poll::Ready(page) = reading.page.as_mut().poll(cx) else { return Ok(Progress::None) };
        let front = reading.front;
        attached.page = None;
        let page = page.map_err(|lost| End::Closed(Violation::new(ReasonCode::UnspecifiedError, lost.to_string())))?;
        let rows = page.rows.into_iter().map(|row| (row.row, keeper::delivery(row))).collect();
        attached.mailbox.page_in(front, rows, &mut turn.batch);
        Ok(Progress::Some)
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
        for queued in deliveries.drain(..) {
            match queued {
                Queued::One(delivery) => self.send(delivery, turn),
                Queued::Run(run) => self.send_run(&run, turn),
            }
        }
        turn.deliveries = deliveries;
    }

    fn send_run(&mut self, run: &RunDelivery, turn: &mut Turn) {
        if !self.may_receive(|| run.topic()) {
            return self.lose(DropCause::NotAuthorized, run.len(), &mut turn.batch);
        }
        turn.answer_has_publish |= self.holds_publish();
        let out = if turn.answer_has_publish { &mut turn.answer } else { &mut turn.out };
        let delivered = self.connection.deliver_run(turn.batch.now, run, out);
        count_sent(run.qos, delivered.sent, delivered.payload_bytes, turn);
        if let Some(cause) = delivered.dropped {
            self.lose(cause, run.len() - delivered.sent, &mut turn.batch);
        }
    }

    fn send(&mut self, delivery: Delivery, turn: &mut Turn) {
        let (row, from) = (delivery.row, owner_of(&delivery, self.owner()));
        if !self.may_receive(|| delivery.message.topic()) {
            self.lose(DropCause::NotAuthorized, 1, &mut turn.batch);
            turn.batch.end_row(from, row);
            return;
        }
        let (qos, payload) = (delivery.qos, delivery.message.payload().len() as u64);
        // Exactly once: a packet id has to be remembered before the client can have seen it.
        let packet_id = self.connection.next_packet_id().filter(|_| qos == QoS::ExactlyOnce && row.is_stored());
        // What comes after such a one does not overtake it ([MQTT-4.6.0-1]).
        turn.answer_has_publish |= packet_id.is_some() || self.holds_publish();
        let out = if turn.answer_has_publish { &mut turn.answer } else { &mut turn.out };
        match self.connection.deliver(turn.batch.now, delivery, out) {
            Delivered::Dropped(cause) => {
                self.lose(cause, 1, &mut turn.batch);
                turn.batch.end_row(from, row);
            }
            Delivered::Sent => {
                count_sent(qos, 1, payload, turn);
                match packet_id {
                    Some(id) => turn.promise(Change::Sent { owner: self.owner(), row, packet_id: id.get(), from }),
                    None if qos == QoS::AtMostOnce => turn.batch.end_row(from, row),
                    None => {}
                }
            }
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

    /// What has to be checked of messages: anew when the rules have changed, or the session was another user's.
    fn judge_subscriptions(&mut self) {
        let Stage::Attached(attached) = &mut self.stage else { return };
        let access = self.place.listener.access.load();
        if attached.judged_by == access.version {
            return;
        }
        attached.judged_by = access.version;
        let is_whole = |filter: &str| {
            ParsedFilter::parse(filter).is_ok_and(|parsed| {
                access.authorizer.may_subscribe(&attached.identity, parsed.filter) == Subscribing::Whole
            })
        };
        let mut filters = self.connection.session().into_iter().flat_map(|session| session.subscriptions.filters());
        attached.is_unrestricted = access.authorizer.allows_everything();
        attached.filtered = !attached.is_unrestricted && !filters.all(is_whole);
    }

    /// Subscriptions that are allowed in part are checked here, message by message.
    fn may_receive<'m>(&self, topic: impl FnOnce() -> &'m str) -> bool {
        let Stage::Attached(attached) = &self.stage else { return false };
        !attached.filtered || self.place.listener.access.load().authorizer.may_receive(&attached.identity, topic())
    }

    fn resend(&mut self, turn: &mut Turn) -> bool {
        if !self.connection.is_resending() {
            return false;
        }
        let waits = self.holds(turn);
        let out = if waits { &mut turn.answer } else { &mut turn.out };
        let all = self.connection.resend(turn.batch.now, TURN_BYTES_MAX, out);
        let any = !all.is_empty();
        for resent in all {
            match resent {
                Resent::Publish(packet_id, delivery) => {
                    turn.batch.counts.redelivered += 1;
                    turn.answer_has_publish |= waits;
                    // Said again: the store may have lost it, which the last connection may have ended with.
                    if delivery.qos == QoS::ExactlyOnce && delivery.row.is_stored() {
                        let (owner, from) = (self.owner(), owner_of(&delivery, self.owner()));
                        turn.promise(Change::Sent { owner, row: delivery.row, packet_id: packet_id.get(), from });
                    }
                }
                Resent::Release(row) if row.is_stored() => {
                    turn.promise(Change::Handed { owner: self.owner(), row });
                }
                Resent::Release(_) => {}
                Resent::GivenUp(cause, kept) => {
                    self.lose(cause, 1, &mut turn.batch);
                    self.end_row(kept, turn);
                }
            }
        }
        any
    }

    /// Sends retained messages for the subscriptions that still wait for some, the oldest first; true when there may be
    /// more to do.
    fn replay(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        let mut any = false;
        if !self.awaits_retained() || self.place.shared.keeper.poll_ready(cx).is_pending() {
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
        let Some(room) = session.replays.iter().next().map(room).filter(|room| *room > 0) else { return false };
        let Some(mut replay) = session.replays.pop_front() else { return false };
        match self.replay_page(&replay, room, turn) {
            Some(PageEnd::Done) => return true,
            Some(PageEnd::ResumeAfter(topic)) => replay.after = Some(topic.into()),
            // The store takes it later.
            None => {}
        }
        if let Some(session) = self.connection.session_mut() {
            session.replays.push_front(replay);
        }
        true
    }

    /// `None`: nothing has been sent, the store is busy.
    fn replay_page(&mut self, replay: &Replay, room: usize, turn: &mut Turn) -> Option<PageEnd> {
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
        let is_own = |message: &Message| replay.options.no_local && self.is_own(message);
        let (own, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_own);
        let mut deliveries: Vec<_> = others.into_iter().map(|message| retained_delivery(message, replay)).collect();
        if let Stage::Attached(attached) = &self.stage
            && attached.mailbox.is_stored()
        {
            let keeper = &self.place.shared.keeper;
            keeper.append_replay(attached.mailbox.owner(), replay, &end, &mut deliveries).ok()?;
        }
        turn.batch.counts.matched += own.len() as u64;
        self.lose(DropCause::NoLocal, own.len() as u64, &mut turn.batch);
        for delivery in deliveries {
            turn.batch.counts.matched += 1;
            turn.batch.counts.retained_sent += 1;
            self.send(delivery, turn);
        }
        Some(end)
    }

    fn is_own(&self, message: &Message) -> bool {
        matches!(&self.stage, Stage::Attached(attached) if attached.mailbox.publisher() == message.publisher())
    }
}

fn retained_delivery(message: Message, replay: &Replay) -> Delivery {
    let qos = replay.options.qos.min(message.qos()); // [MQTT-3.8.4-8]
    let subscription_ids = replay.subscription_ids.clone();
    Delivery { message, qos, retain: true, subscription_ids, group: None, row: RowId::NONE }
}

fn count_sent(qos: QoS, messages: u64, payload_bytes: u64, turn: &mut Turn) {
    turn.batch.counts.sent_payload_bytes += payload_bytes;
    match qos {
        QoS::AtMostOnce => turn.batch.counts.sent_qos0 += messages,
        QoS::AtLeastOnce => turn.batch.counts.sent_qos1 += messages,
        QoS::ExactlyOnce => turn.batch.counts.sent_qos2 += messages,
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
