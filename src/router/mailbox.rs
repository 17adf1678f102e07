//! The bounded queue between the publishers of messages and the one driver that owns a session.
//!
//! ```text
//! publishers ──push──► [ queue: oldest … newest ] ──poll──► driver (only as much as its window and socket take)
//! ```
//! The mailbox belongs to the session, not to a connection: it stays while the session is parked. A message leaves it
//! only when it can be sent at once, so the limits and the policy for a full queue always see every unsent message.
//! Every copy that is pushed is either queued or counted as dropped by cause, here, where it is decided; only what finds
//! no room is told to the router, which knows whether the whole message is refused. What the driver decides on the way
//! out is counted here too: the mailbox has all that its client lost.

mod groups;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::batch::Batch;
use super::losses::{LossRecord, Losses};
use super::shared_subscriptions::Group;
use super::waiting::{Place, Waiting};
use crate::message::{BrokerTime, Delivery, DropCause, OwnerId, PublisherId, Queued, RowId, RunDelivery};
use crate::topic::{QoS, SubscribeOptions};

/// Names a session (or a shared group) in the subscription tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId(pub u64);

/// What happens to a QoS 1 or 2 message for a session whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnQueueFull {
    /// The session loses its oldest unsent message.
    #[default]
    DropOldest,
    /// The session does not get the new message.
    DropNewest,
    /// The publisher is refused and nobody gets the message.
    Refuse,
    /// The session loses its oldest unsent message and its client is disconnected.
    Disconnect,
}

/// Limits of one session's queue; they come from the listener that the session was made on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLimits {
    pub messages_max: u32,
    pub bytes_max: u64,
    pub on_full: OnQueueFull,
    /// Also keep QoS 0 messages while the client is away.
    pub queue_qos0: bool,
}

impl QueueLimits {
    /// The size of the largest message that is always taken, be it at the cost of older ones; `None` when it may not.
    pub(super) fn makes_room_for(&self) -> Option<u64> {
        let is_room_made = matches!(self.on_full, OnQueueFull::DropOldest | OnQueueFull::Disconnect);
        (is_room_made && self.messages_max > 0).then_some(self.bytes_max)
    }
}

/// What somebody else wants of the driver that owns the session. Obeyed before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Another connection has the same client id.
    Takeover,
    /// An operator, or the policy for a full queue, wants the client gone.
    Kick(Kick),
    /// The broker stops.
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// By an operator; the session stays as its expiry says.
    Disconnect,
    /// By an operator; the session ends too.
    Delete,
    /// Its queue was full and the policy says disconnect.
    SlowClient,
}

/// One subscription of a session, for the operator's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// As the router knows it: share part and mount point included.
    pub filter: Box<str>,
    pub options: SubscribeOptions,
    pub id: Option<NonZeroU32>,
}

/// An operator's question to the driver that owns the session: which subscriptions it has, from the one at `skip` on, at
/// most `limit`. Answered in the driver's next turn; dropped when it lets go of the session first.
pub struct Inquiry {
    pub skip: usize,
    pub limit: usize,
    /// Told how many there are in all, and those asked for.
    pub answer: Box<dyn FnOnce(usize, Vec<SubscriptionView>) + Send>,
}

/// What a driver finds when it looks into its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub enum MailboxEvent {
    Control(Control),
    /// An operator asks: [`Mailbox::take_inquiry`].
    Inquired,
    /// There are messages, but few.
    Few,
    /// Messages were moved out; others may wait for window or room.
    Deliveries,
    /// A shared group of this session has messages waiting, and there is window for them.
    GroupsWaiting,
    /// The next messages are on disk: read rows from `front` on, as many as there is window for.
    PageWanted {
        front: RowId,
        rows_max: u32,
    },
}

/// What a driver can do with an answer just now.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Bytes to be moved at most (and one message or run at least); 0 when the socket does not take more.
    pub bytes_max: u64,
    /// Look for waiting groups too.
    pub groups: bool,
    /// No page is being read.
    pub pages: bool,
    /// Rather no messages yet than a few: others are about to send more.
    pub gather: bool,
}

/// What a driver has under way to its client, as it last told the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// How many more QoS 1 and 2 messages may be sent now.
    pub window_free: u32,
    /// QoS 1 and 2 messages sent and not completely acknowledged, those of earlier connections included.
    pub inflight: u32,
    /// QoS 0 messages that the socket has not taken yet.
    pub unsent_qos0: u32,
    /// Packets that the socket has not taken yet, and their bytes.
    pub unsent_packets: u32,
    pub unsent_bytes: u64,
}

/// How many copies wait, and what was lost, for the operator's eyes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailboxStats {
    pub queued: u64,
    pub queued_bytes: u64,
    pub under_way: UnderWay,
    pub losses: Losses,
    pub online: bool,
    pub subscriptions: u32,
    pub limits: QueueLimits,
}

pub struct Mailbox {
    whose: Whose,
    publisher: PublisherId,
    /// The session outlives the process, and so do copies for it.
    is_stored: bool,
    /// The store has a record of the session.
    is_recorded: AtomicBool,
    /// How many the session has. Changed by its owner, read by operators.
    subscriptions: AtomicU32,
    inner: Mutex<Inner>,
}

struct Whose {
    id: SubscriberId,
    client_id: Arc<str>,
}

struct Inner {
    waiting: Waiting,
    limits: QueueLimits,
    /// As the driver last said, and what it was given since.
    under_way: UnderWay,
    /// The driver has seen the head of the queue and cannot send it: what comes behind it need not wake it.
    is_stuck: bool,
    online: bool,
    closed: bool,
    waker: Option<Waker>,
    control: Option<Control>,
    seldom: Option<Box<Seldom>>,
}

/// What most sessions never have.
#[derive(Default)]
struct Seldom {
    reserved_messages: u32,
    reserved_bytes: u64,
    inquiry: Option<Box<Inquiry>>,
    groups: Vec<Arc<Group>>,
    losses: LossRecord,
}

/// What became of a pushed copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Queued,
    Dropped(DropCause),
    /// There is no room, and nothing gave way. Not counted yet: by [`Mailbox::lose`], or by [`Mailbox::refuse`] when
    /// nobody gets the message.
    Full,
    /// The session has ended: it did not match after all.
    Closed,
}

impl Mailbox {
    pub fn new(id: SubscriberId, client_id: Arc<str>, publisher: PublisherId, limits: QueueLimits) -> Self {
        let inner = Inner {
            waiting: Waiting::default(),
            limits,
            under_way: UnderWay::default(),
            is_stuck: false,
            online: false,
            closed: false,
            waker: None,
            control: None,
            seldom: None,
        };
        let (subscriptions, inner) = (AtomicU32::new(0), Mutex::new(inner));
        Mailbox {
            whose: Whose { id, client_id },
            publisher,
            is_stored: false,
            is_recorded: AtomicBool::new(false),
            subscriptions,
            inner,
        }
    }

    /// The mailbox of a session that outlives the process.
    pub fn stored(self) -> Self {
        Mailbox { is_stored: true, ..self }
    }

    /// The store gets a record of the session: it has to be deleted with it.
    pub fn note_recorded(&self) {
        self.is_recorded.store(true, Relaxed);
    }

    pub fn is_recorded(&self) -> bool {
        self.is_recorded.load(Relaxed)
    }

    pub fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Whose the stored copies for this session are.
    pub fn owner(&self) -> OwnerId {
        self.whose.owner()
    }

    pub fn id(&self) -> SubscriberId {
        self.whose.id
    }

    pub fn client_id(&self) -> &Arc<str> {
        &self.whose.client_id
    }

    /// What messages published by this session carry.
    pub fn publisher(&self) -> PublisherId {
        self.publisher
    }

    pub(super) fn subscribed(&self, is_new: bool) {
        self.subscriptions.fetch_add(u32::from(is_new), Relaxed);
    }

    pub(super) fn unsubscribed(&self, existed: bool) {
        self.subscriptions.fetch_sub(u32::from(existed), Relaxed);
    }

    /// A driver has taken the session: from now on QoS 0 is queued too.
    pub fn attach(&self, under_way: UnderWay) {
        let mut inner = self.inner.lock();
        inner.online = true;
        inner.under_way = under_way;
        inner.is_stuck = false;
        inner.control = None;
    }

    /// The driver has let go. Returns unsent copies of shared subscriptions: others may take them. Those that were sent
    /// are in flight in the session, and stay its own ([MQTT-4.8.2-4]).
    pub fn detach(&self, inflight: u32, batch: &mut Batch) -> Vec<Delivery> {
        let mut inner = self.inner.lock();
        inner.online = false;
        inner.waker = None;
        inner.control = None;
        inner.take_inquiry();
        inner.under_way = UnderWay { inflight, ..UnderWay::default() };
        let shared = inner.waiting.take_shared(|_| true);
        inner.drop_unkept_qos0(&self.whose, batch);
        inner.waiting.park();
        shared
    }

    /// The session has ended: nothing is taken any more. Returns what was queued and others may take, and counts the rest
    /// as lost.
    pub fn close(&self, batch: &mut Batch) -> Vec<Delivery> {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.online = false;
        inner.waker = None;
        if let Some(seldom) = &mut inner.seldom {
            seldom.groups = Vec::new();
        }
        inner.under_way = UnderWay::default();
        let (queue, others) = inner.waiting.close();
        inner.lose(DropCause::SessionEnded, others, &self.whose, batch);
        queue
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Puts a copy in the queue, or drops this or another copy as the limits and the policy say.
    pub(super) fn push(&self, delivery: Delivery, reserved: bool, batch: &mut Batch) -> Pushed {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Pushed::Closed;
        }
        batch.counts.matched += 1;
        if reserved {
            inner.release_reservation(&delivery);
        }
        if delivery.qos == QoS::AtMostOnce && !inner.online && !inner.limits.queue_qos0 {
            inner.lose(DropCause::Offline, 1, &self.whose, batch);
            return Pushed::Dropped(DropCause::Offline);
        }
        if inner.has_room(&delivery) || inner.make_room(&delivery, &self.whose, batch) {
            inner.append(delivery, batch); // [MQTT-4.5.0-1]
            return Pushed::Queued;
        }
        Pushed::Full
    }

    /// The same for copies that are not stored; all of them or, with nothing counted, none.
    pub(super) fn push_run(&self, run: RunDelivery, batch: &mut Batch) -> Pushed {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Pushed::Closed;
        }
        if !inner.online || !inner.has_room_for(run.len(), run.size()) {
            return Pushed::Full;
        }
        batch.note_run(run.len());
        inner.waiting.push_run(run); // [MQTT-4.5.0-1]
        inner.wake_later(batch);
        Pushed::Queued
    }

    /// Counts copies that were for this client and are lost, wherever that was decided; for the broker too.
    pub fn lose(&self, cause: DropCause, copies: u64, batch: &mut Batch) {
        if copies > 0 {
            self.inner.lock().lose(cause, copies, &self.whose, batch);
        }
    }

    /// Counts a message that is refused as a whole because this queue is full.
    pub(super) fn refuse(&self, batch: &Batch) {
        self.inner.lock().refuse(&self.whose, batch);
    }

    /// Keeps room for a QoS 1 or 2 copy that is pushed later in the same call; false when the queue is full, and the
    /// message refused for that.
    pub(super) fn reserve(&self, delivery: &Delivery, batch: &mut Batch) -> bool {
        let mut inner = self.inner.lock();
        if inner.closed {
            return true;
        }
        if !inner.has_room(delivery) && !inner.make_room(delivery, &self.whose, batch) {
            inner.refuse(&self.whose, batch);
            return false;
        }
        let seldom = inner.seldom();
        seldom.reserved_messages += 1;
        seldom.reserved_bytes += delivery.message.size() as u64;
        true
    }

    pub(super) fn unreserve(&self, delivery: &Delivery) {
        self.inner.lock().release_reservation(delivery);
    }

    pub(super) fn limits(&self) -> QueueLimits {
        self.inner.lock().limits
    }

    /// Whether a full queue refuses the publisher.
    pub(super) fn refuses_when_full(&self) -> bool {
        self.limits().on_full == OnQueueFull::Refuse
    }

    /// The driver's look into its mailbox: at most one event, and the waker kept when there is none.
    ///
    /// `under_way` is what the driver has under way now. Never more QoS 1 and 2 messages are moved into `into` than its
    /// window has free.
    pub fn poll(
        &self,
        waker: &Waker,
        under_way: UnderWay,
        wishes: Wishes,
        into: &mut VecDeque<Queued>,
    ) -> Poll<MailboxEvent> {
        let mut inner = self.inner.lock();
        inner.under_way = under_way;
        if let Some(control) = inner.control.take() {
            return Poll::Ready(MailboxEvent::Control(control));
        }
        if inner.is_asked() {
            return Poll::Ready(MailboxEvent::Inquired);
        }
        if wishes.gather && inner.waiting.is_worth_gathering() {
            return Poll::Ready(MailboxEvent::Few);
        }
        if wishes.bytes_max > 0 && inner.move_out(wishes.bytes_max, into) {
            return Poll::Ready(MailboxEvent::Deliveries);
        }
        if wishes.bytes_max > 0 && inner.credit() > 0 {
            if wishes.pages
                && inner.waiting.wants_page()
                && let Some(front) = inner.waiting.disk_front()
            {
                return Poll::Ready(MailboxEvent::PageWanted { front, rows_max: inner.credit() });
            }
            if wishes.groups && inner.groups().iter().any(|group| group.is_waiting()) {
                return Poll::Ready(MailboxEvent::GroupsWaiting);
            }
        }
        inner.wait(waker);
        Poll::Pending
    }

    /// True when there is nothing to look for at all; then it is as after a [`Mailbox::poll`] without an event.
    pub fn rests(&self, waker: &Waker, under_way: UnderWay) -> bool {
        let mut inner = self.inner.lock();
        let is_wanted = inner.control.is_some() || inner.is_asked();
        if is_wanted || inner.waiting.len() > 0 || inner.groups().iter().any(|group| group.is_waiting()) {
            return false;
        }
        inner.under_way = under_way;
        inner.wait(waker);
        true
    }

    /// Takes in what was read from `front` on; what should have been there and was not is counted as lost.
    pub fn page_in(&self, front: RowId, rows: Vec<(RowId, Delivery)>, batch: &mut Batch) {
        let mut inner = self.inner.lock();
        let lost = inner.waiting.page_in(front, rows);
        inner.lose(DropCause::StoreFailed, lost, &self.whose, batch);
    }

    /// At a start: a copy that waits on disk.
    pub fn restore(&self, row: RowId, size: u64, expires_at: BrokerTime) {
        self.inner.lock().waiting.restore(row, size, expires_at);
    }

    /// The first row on disk, if something there may have expired: then look, and say what was found with
    /// [`Mailbox::end_search`].
    pub fn begin_search(&self, now: BrokerTime) -> Option<RowId> {
        let mut inner = self.inner.lock();
        if !inner.waiting.may_have_expired(now) {
            return None;
        }
        inner.waiting.begin_search();
        inner.waiting.disk_front()
    }

    /// `expired` in ascending order, and the earliest expiry of the others.
    pub fn end_search(&self, expired: &[RowId], next: BrokerTime, batch: &mut Batch) {
        let mut inner = self.inner.lock();
        let dropped = inner.waiting.end_search(expired, next, self.owner(), batch);
        inner.lose(DropCause::Expired, dropped, &self.whose, batch);
    }

    /// The first row of those on disk, behind what is in memory.
    pub fn disk_front(&self) -> Option<RowId> {
        self.inner.lock().waiting.disk_front()
    }

    /// For the driver, to be answered.
    pub fn take_inquiry(&self) -> Option<Box<Inquiry>> {
        self.inner.lock().take_inquiry()
    }

    /// Asks the driver. False, and the question dropped, when nobody is attached or another question waits.
    pub fn ask(&self, inquiry: Inquiry) -> bool {
        let mut inner = self.inner.lock();
        if !inner.online || inner.is_asked() {
            return false;
        }
        inner.seldom().inquiry = Some(Box::new(inquiry));
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// Wants something of the driver. False when nobody is attached, or when the session is moving to another driver.
    pub fn signal(&self, control: Control) -> bool {
        let mut inner = self.inner.lock();
        // A takeover is never overwritten: the heir waits for the session.
        if !inner.online || inner.control == Some(Control::Takeover) {
            return false;
        }
        inner.control = Some(control);
        if let Some(waker) = inner.waker.take() {
            drop(inner);
            waker.wake();
        }
        true
    }

    pub fn stats(&self) -> MailboxStats {
        let inner = self.inner.lock();
        MailboxStats {
            queued: inner.waiting.len(),
            queued_bytes: inner.waiting.bytes(),
            under_way: inner.under_way,
            losses: inner.seldom.as_ref().map_or_else(Losses::default, |seldom| seldom.losses.losses()),
            online: inner.online,
            subscriptions: self.subscriptions.load(Relaxed),
            limits: inner.limits,
        }
    }

    /// Unsent messages in memory, oldest first, for the operator's eyes; and how many there are. Others are on disk, from
    /// [`Mailbox::disk_front`] on.
    pub fn peek(&self, skip: usize, limit: usize) -> (Vec<Delivery>, usize) {
        let inner = self.inner.lock();
        let (mut skip, mut found) = (skip, Vec::new());
        for queued in inner.waiting.in_memory() {
            let messages = queued.messages() as usize;
            if skip < messages {
                found.extend(queued.deliveries_from(skip).take(limit - found.len()));
            }
            skip = skip.saturating_sub(messages);
            if found.len() == limit {
                break;
            }
        }
        (found, (inner.waiting.len() - inner.waiting.on_disk()) as usize)
    }

    /// Throws away every unsent message; returns how many.
    pub fn purge(&self, batch: &mut Batch) -> usize {
        let mut inner = self.inner.lock();
        let purged = inner.waiting.purge(self.owner(), batch);
        inner.is_stuck = false;
        inner.lose(DropCause::Purged, purged, &self.whose, batch);
        purged as usize
    }

    /// Drops messages that have expired: a session that sleeps does not look itself.
    pub fn drop_expired(&self, now: BrokerTime, batch: &mut Batch) {
        self.inner.lock().drop_expired(now, &self.whose, batch);
    }
}

impl Whose {
    fn owner(&self) -> OwnerId {
        OwnerId(self.id.0)
    }
}

impl Inner {
    fn seldom(&mut self) -> &mut Seldom {
        self.seldom.get_or_insert_default()
    }

    /// Keeps the waker of a driver that has found nothing to do here.
    fn wait(&mut self, waker: &Waker) {
        self.is_stuck = self.waiting.len() > 0;
        if !self.waker.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    fn is_asked(&self) -> bool {
        self.seldom.as_ref().is_some_and(|seldom| seldom.inquiry.is_some())
    }

    fn take_inquiry(&mut self) -> Option<Box<Inquiry>> {
        self.seldom.as_mut()?.inquiry.take()
    }

    fn groups(&self) -> &[Arc<Group>] {
        self.seldom.as_ref().map_or(&[], |seldom| &seldom.groups)
    }

    /// How many messages room is kept for, and how many bytes.
    fn reserved(&self) -> (u64, u64) {
        self.seldom.as_ref().map_or((0, 0), |seldom| (seldom.reserved_messages.into(), seldom.reserved_bytes))
    }

    fn credit(&self) -> u32 {
        self.under_way.window_free.saturating_sub(self.waiting.acked())
    }

    fn has_room(&self, delivery: &Delivery) -> bool {
        self.has_room_for(1, delivery.message.size() as u64)
    }

    fn has_room_for(&self, messages: u64, bytes: u64) -> bool {
        let (messages_free, bytes_free) = self.room();
        messages <= messages_free.into() && bytes <= bytes_free
    }

    /// For how many more messages there is room, and bytes.
    fn room(&self) -> (u32, u64) {
        let (messages, bytes) = self.reserved();
        let messages = u64::from(self.limits.messages_max).saturating_sub(self.waiting.len() + messages);
        (messages as u32, self.limits.bytes_max.saturating_sub(self.waiting.bytes() + bytes))
    }

    fn release_reservation(&mut self, delivery: &Delivery) {
        let Some(seldom) = &mut self.seldom else { return };
        seldom.reserved_messages = seldom.reserved_messages.saturating_sub(1);
        seldom.reserved_bytes = seldom.reserved_bytes.saturating_sub(delivery.message.size() as u64);
    }

    fn append(&mut self, delivery: Delivery, batch: &mut Batch) {
        self.waiting.push(delivery, !self.online); // [MQTT-4.6.0-5], [MQTT-4.6.0-6]
        self.wake_later(batch);
    }

    fn wake_later(&mut self, batch: &mut Batch) {
        if !self.is_stuck
            && let Some(waker) = self.waker.take()
        {
            batch.wake_later(waker);
        }
    }

    /// Makes room for `delivery` by dropping older copies, where the policy allows that.
    fn make_room(&mut self, delivery: &Delivery, whose: &Whose, batch: &mut Batch) -> bool {
        if delivery.message.size() as u64 > self.limits.bytes_max {
            return false;
        }
        if self.drop_expired(batch.now, whose, batch) > 0 && self.has_room(delivery) {
            return true;
        }
        while !self.has_room(delivery) {
            let is_qos0 = delivery.qos == QoS::AtMostOnce;
            let victim = if is_qos0 { self.waiting.oldest_qos0() } else { self.oldest_by_policy() };
            let Some(victim) = victim else { return false };
            self.waiting.remove(victim, whose.owner(), batch);
            self.is_stuck = false;
            self.lose(DropCause::QueueFull, 1, whose, batch);
        }
        if delivery.qos != QoS::AtMostOnce && self.limits.on_full == OnQueueFull::Disconnect && self.online {
            self.control.get_or_insert(Control::Kick(Kick::SlowClient));
        }
        true
    }

    fn oldest_by_policy(&self) -> Option<Place> {
        match self.limits.on_full {
            OnQueueFull::DropOldest | OnQueueFull::Disconnect => self.waiting.oldest(),
            // QoS 0 messages give way even where promised ones may not be dropped.
            OnQueueFull::DropNewest | OnQueueFull::Refuse => self.waiting.oldest_qos0(),
        }
    }

    fn lose(&mut self, cause: DropCause, copies: u64, whose: &Whose, batch: &mut Batch) {
        if copies > 0 {
            let queued = self.waiting.len() as usize;
            self.seldom().losses.lose(cause, copies, &whose.client_id, queued, batch);
        }
    }

    fn refuse(&mut self, whose: &Whose, batch: &Batch) {
        let queued = self.waiting.len() as usize;
        self.seldom().losses.refuse(&whose.client_id, queued, batch);
    }

    fn drop_expired(&mut self, now: BrokerTime, whose: &Whose, batch: &mut Batch) -> u64 {
        let expired = self.waiting.drop_expired(now, whose.owner(), batch);
        if expired > 0 {
            self.is_stuck = false;
            self.lose(DropCause::Expired, expired, whose, batch);
        }
        expired
    }

    /// QoS 0 does not wait for a client that is away, unless it shall.
    fn drop_unkept_qos0(&mut self, whose: &Whose, batch: &mut Batch) {
        if self.limits.queue_qos0 {
            return;
        }
        let dropped = self.waiting.drop_qos0(whose.owner(), batch);
        self.lose(DropCause::Offline, dropped, whose, batch);
    }

    /// Moves what may be sent now; true when anything was moved.
    fn move_out(&mut self, bytes_max: u64, into: &mut VecDeque<Queued>) -> bool {
        if self.waiting.is_queue_empty() {
            return false;
        }
        if into.is_empty()
            && let Some((queue, acked)) = self.waiting.take_all(self.under_way.window_free, bytes_max)
        {
            self.under_way.inflight += acked;
            self.under_way.window_free -= acked;
            *into = queue;
            return true;
        }
        self.move_out_one_by_one(bytes_max, into)
    }

    fn move_out_one_by_one(&mut self, bytes_max: u64, into: &mut VecDeque<Queued>) -> bool {
        let mut moved_bytes = 0;
        while moved_bytes < bytes_max
            && let Some(queued) = self.waiting.take_first(self.under_way.window_free)
        {
            self.is_stuck = false;
            moved_bytes += queued.size();
            if queued.is_acked() {
                self.under_way.window_free -= queued.messages();
                self.under_way.inflight += queued.messages();
            }
            into.push_back(queued);
        }
        moved_bytes > 0
    }
}
