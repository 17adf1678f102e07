//! State that all connections share: subscriptions, shared subscriptions, retained messages, session slots, mailboxes.
//!
//! Everything here is sync and bounded. It never awaits, does no I/O and decodes no packet. Lock order, outermost
//! first: a session slot, updates of retained messages, a retained topic, the shared groups, a group, a mailbox. The
//! subscription tree, the retained messages and the deadlines are leaves, never held while another lock is taken.

mod batch;
mod counters;
mod housekeeping;
mod keep;
mod losses;
mod mailbox;
mod retained;
mod row_list;
mod run;
mod sessions;
mod shared_subscriptions;
mod subscriptions;
mod waiting;

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use batch::Batch;
pub use counters::{Counters, Counts};
pub use housekeeping::Deadlines;
pub use keep::Keep;
pub use losses::Losses;
pub use mailbox::{
    Control, Inquiry, Kick, Mailbox, MailboxEvent, MailboxStats, OnQueueFull, Pushed, QueueLimits, SubscriberId,
    SubscriptionView, UnderWay, Wishes,
};
pub use retained::RetainedLimits;
pub use sessions::{Claimed, Generation, Released, SessionTable, SessionView};
pub use shared_subscriptions::{GroupLimits, ShareStrategy};
pub use waiting::owner_of;

use crate::message::{BrokerTime, Delivery, DropCause, GroupId, Message, OwnerId, PublisherId, RowId};
use crate::topic::{PageEnd, ParsedFilter, QoS, SubscribeOptions};
use keep::Rows;
use retained::RetainedMessages;
use shared_subscriptions::{Given, Groups};
use subscriptions::{Match, Matches, OwnMatch, Subscriptions, Target};

/// What the router is told by the configuration.
#[derive(Clone, Copy, Debug)]
pub struct RouterConfig {
    pub retained: RetainedLimits,
    pub group: GroupLimits,
    pub share_strategy: ShareStrategy,
}

/// Why a message was refused as a whole: nobody got it, and a retained message stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    QueueFull,
    RetainedFull,
    /// What must be stored could not be, and why.
    Store(&'static str),
    /// Too much waits to be stored: nothing has happened and nothing is counted, try again.
    Busy,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It matched this many subscriptions or groups; some copies may have been dropped, and counted.
    Routed {
        matched: u32,
    },
    Refused(Refused),
}

/// A subscription that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// It replaced one with the same filter.
    pub existed: bool,
    /// Retained messages before this version are to be replayed; later ones come live.
    pub retained_before: u64,
    /// The shared group that it joined.
    pub group: Option<GroupId>,
}

pub struct Router {
    subscriptions: Subscriptions,
    groups: Groups,
    retained: RetainedMessages,
    counters: Arc<Counters>,
    last_subscriber: AtomicU64,
    publisher_hash: foldhash::quality::FixedState,
}

impl Router {
    /// With the keys of hashes that are stored, and the first [`SubscriberId`] that was never used.
    pub fn restored(config: &RouterConfig, seed: u64, next_subscriber: u64) -> Self {
        let last_subscriber = AtomicU64::new(next_subscriber.saturating_sub(1));
        Router {
            last_subscriber,
            publisher_hash: foldhash::quality::FixedState::with_seed(seed),
            ..Router::new(config)
        }
    }

    pub fn new(config: &RouterConfig) -> Self {
        Router {
            subscriptions: Subscriptions::new(),
            groups: Groups::new(config.share_strategy, config.group),
            retained: RetainedMessages::new(config.retained),
            counters: Arc::new(Counters::default()),
            last_subscriber: AtomicU64::new(0),
            publisher_hash: foldhash::quality::FixedState::with_seed(rand::random()),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn next_subscriber(&self) -> SubscriberId {
        SubscriberId(self.last_subscriber.fetch_add(1, Relaxed) + 1)
    }

    /// A mailbox for a new session.
    pub fn mailbox(&self, client_id: &Arc<str>, limits: QueueLimits) -> Arc<Mailbox> {
        Arc::new(self.new_mailbox(client_id, limits))
    }

    /// A mailbox for a new session that outlives the process.
    pub fn stored_mailbox(&self, client_id: &Arc<str>, limits: QueueLimits) -> Arc<Mailbox> {
        Arc::new(self.new_mailbox(client_id, limits).stored())
    }

    fn new_mailbox(&self, client_id: &Arc<str>, limits: QueueLimits) -> Mailbox {
        Mailbox::new(self.next_subscriber(), Arc::clone(client_id), self.publisher(client_id), limits)
    }

    /// At a start: the mailbox of a session that was there.
    pub fn restore_mailbox(&self, owner: OwnerId, client_id: &Arc<str>, limits: QueueLimits) -> Arc<Mailbox> {
        let (id, publisher) = (SubscriberId(owner.0), self.publisher(client_id));
        Arc::new(Mailbox::new(id, Arc::clone(client_id), publisher, limits).stored())
    }

    fn publisher(&self, client_id: &Arc<str>) -> PublisherId {
        PublisherId(self.publisher_hash.hash_one(client_id).max(1))
    }

    /// At a start: a retained message that was there.
    pub fn restore_retained(&self, message: &Message, row: RowId) {
        let update = self.retained.begin(message.topic());
        self.retained.set(message, row, &update);
    }

    /// At a start: a group keeps its number, so that its stored messages stay its own. Before its members subscribe.
    pub fn restore_group(&self, filter: ParsedFilter<'_>, id: GroupId) {
        let Some(share) = filter.share else { return };
        self.groups.restore((share, filter.filter), id);
    }

    /// At a start: messages that waited in a group. False when it has no members any more.
    pub fn restore_group_queue(
        &self,
        id: GroupId,
        messages: impl IntoIterator<Item = (Message, QoS, RowId)>,
        batch: &mut Batch,
    ) -> bool {
        self.groups.by_id(id).is_some_and(|group| group.restore(messages, batch))
    }

    /// Counts and wakes what a turn has gathered.
    pub fn flush(&self, batch: &mut Batch) {
        self.count(batch);
        batch.wake_all();
    }

    /// Adds up the counts of a turn, and hands out what it has gathered.
    pub fn count(&self, batch: &mut Batch) {
        self.hand_out(batch);
        batch.count(&self.counters);
    }

    /// Gives a message to everybody it is for, and retains it if it says so; a refused one changes nothing.
    /// What must outlive the process is stored before anybody gets it. Comes behind what the turn has gathered.
    pub fn publish_kept(&self, message: &Message, keep: &mut impl Keep, batch: &mut Batch) -> Outcome {
        self.hand_out(batch);
        if !message.retain() {
            return self.route(message, keep, batch).0; // [MQTT-3.3.1-8]
        }
        let update = self.retained.begin(message.topic());
        // The limit is for what clients keep here.
        if !message.is_brokers_own() && !self.retained.has_room(message, &update) {
            return refuse(Refused::RetainedFull, batch);
        }
        // Whoever is told that it is gone is not to find it again after a crash.
        let removed = update.former_row().filter(|_| message.payload().is_empty());
        if let Some(row) = removed
            && let Err(why) = keep.unretain(message.topic(), row)
        {
            return refuse(why, batch);
        }
        let (outcome, row) = self.route(message, keep, batch);
        match outcome {
            Outcome::Routed { .. } => {
                let replaced = self.retained.set(message, row, &update);
                if removed.is_none() && replaced.is_stored() && !row.is_stored() {
                    batch.unretained.push((message.topic().into(), replaced));
                }
            }
            Outcome::Refused(_) if row.is_stored() || removed.is_some() => {
                self.retain_again(message.topic(), row, keep, batch);
            }
            Outcome::Refused(_) => {}
        }
        outcome
    }

    /// The same for a message that is kept nowhere but in memory.
    pub fn publish(&self, message: &Message, batch: &mut Batch) -> Outcome {
        self.publish_kept(message, &mut (), batch)
    }

    /// A message was stored as its topic's retained one, or the end of that, and then refused: what was retained before
    /// still is.
    fn retain_again(&self, topic: &str, row: RowId, keep: &mut impl Keep, batch: &mut Batch) {
        let before = self.retained.get(topic);
        let again = before.and_then(|before| keep.keep(&before, vec![Vec::new()], true).ok());
        match again {
            Some(again) => self.retained.moved(topic, again),
            None if row.is_stored() => batch.unretained.push((topic.into(), row)),
            None => {}
        }
    }

    fn route(&self, message: &Message, keep: &mut impl Keep, batch: &mut Batch) -> (Outcome, RowId) {
        let mut cache = batch.matches.take().unwrap_or_default();
        let matches = self.subscriptions.matches(message.topic_bytes(), &mut cache); // [MQTT-3.3.2-3]
        let routed = route_to(matches, message, keep, batch);
        batch.matches = Some(cache);
        routed
    }

    /// Subscribes a session; `filter` may begin with `$share/`.
    pub fn subscribe(
        &self,
        mailbox: &Arc<Mailbox>,
        filter: ParsedFilter<'_>,
        options: SubscribeOptions,
        id: Option<NonZeroU32>,
    ) -> Subscribed {
        let ((existed, group), retained_before) = self.retained.between_updates(|| match filter.share {
            None => {
                let target = Target::Session { mailbox: Arc::clone(mailbox), options, id };
                (self.subscriptions.insert(filter.filter, mailbox.id(), target), None)
            }
            Some(share) => {
                let (existed, group) = self.join(share, filter.filter, mailbox, (options, id));
                (existed, Some(group))
            }
        });
        mailbox.subscribed(!existed);
        Subscribed { existed, retained_before, group }
    }

    fn join(
        &self,
        share: &str,
        filter: &str,
        mailbox: &Arc<Mailbox>,
        wish: (SubscribeOptions, Option<NonZeroU32>),
    ) -> (bool, GroupId) {
        self.groups.join((share, filter), mailbox, wish, |make| {
            let group = make(self.next_subscriber());
            self.subscriptions.insert(filter, group.key(), Target::Group(Arc::clone(&group)));
            group
        })
    }

    /// False when there was no such subscription.
    pub fn unsubscribe(&self, mailbox: &Arc<Mailbox>, filter: ParsedFilter<'_>, batch: &mut Batch) -> bool {
        let removed = self.remove_subscription(mailbox, filter, batch);
        mailbox.unsubscribed(removed);
        removed
    }

    /// The shared group that a subscription to the filter joins, if there is one.
    pub fn group_of(&self, filter: ParsedFilter<'_>) -> Option<GroupId> {
        self.groups.id_of((filter.share?, filter.filter))
    }

    fn remove_subscription(&self, mailbox: &Arc<Mailbox>, filter: ParsedFilter<'_>, batch: &mut Batch) -> bool {
        let Some(share) = filter.share else {
            return self.subscriptions.remove(filter.filter, mailbox.id());
        };
        self.groups.leave((share, filter.filter), mailbox, batch, |emptied| {
            self.subscriptions.remove(filter.filter, emptied.key());
        })
    }

    /// Copies that a session can no longer deliver: those of shared subscriptions go to other members, the rest is
    /// counted as lost with the session.
    pub fn hand_back(&self, from: &Mailbox, deliveries: impl IntoIterator<Item = Delivery>, batch: &mut Batch) {
        let mut lost = 0;
        for delivery in deliveries {
            let group = delivery.group.and_then(|id| self.groups.by_id(id));
            let is_taken = group.is_some_and(|group| group.take_back(delivery, batch));
            lost += u64::from(!is_taken);
        }
        from.lose(DropCause::SessionEnded, lost, batch);
    }

    /// Moves messages that wait in this session's groups to this session, as many as it has room for.
    pub fn pull_shared(&self, mailbox: &Mailbox, batch: &mut Batch) {
        for group in mailbox.groups() {
            if group.is_waiting() {
                group.pull(mailbox, batch);
            }
        }
    }

    /// Retained messages for a subscription, a bounded number after the topic `after`.
    pub fn retained_page(
        &self,
        filter: &str,
        after: Option<&str>,
        limit: usize,
        before_version: u64,
        now: BrokerTime,
        give: impl FnMut(&Message),
    ) -> PageEnd {
        self.retained.page(filter, after, limit, (before_version, now), give)
    }

    /// Any version: for looking at what is retained now.
    pub const ANY_VERSION: u64 = u64::MAX;

    pub fn remove_retained(&self, topic: &str, batch: &mut Batch) -> bool {
        let removed = self.retained.remove(topic);
        if let Some(row) = removed.filter(|row| row.is_stored()) {
            batch.unretained.push((topic.into(), row));
        }
        removed.is_some()
    }

    /// Removes expired retained messages, and expired messages that wait in groups.
    pub fn sweep(&self, batch: &mut Batch) {
        self.groups.drop_expired(batch.now, batch);
        self.retained.sweep(batch);
    }

    pub fn retained_len(&self) -> usize {
        self.retained.len()
    }

    pub fn retained_bytes(&self) -> u64 {
        self.retained.bytes()
    }

    /// Subscriptions that are not shared.
    pub fn subscriptions_len(&self) -> usize {
        self.subscriptions.len().saturating_sub(self.groups.len())
    }

    /// Members of shared groups.
    pub fn shared_subscriptions_len(&self) -> usize {
        self.groups.members()
    }

    /// Messages that wait in shared groups for a member with room, and their bytes.
    pub fn group_queued(&self) -> (u64, u64) {
        self.groups.queued()
    }
}

/// The row is where the message is stored, by which a retained one is remembered.
fn route_to(matches: &Matches, message: &Message, keep: &mut impl Keep, batch: &mut Batch) -> (Outcome, RowId) {
    let reserves = matches.may_refuse && may_be_refused(message);
    if reserves && !reserve_all(matches, message, batch) {
        return (refuse_all(matches, Refused::QueueFull, batch), RowId::NONE);
    }
    let rows = match keep::store(matches, message, keep) {
        Ok(rows) => rows,
        Err(refused) => {
            if reserves {
                matches.each_reserved(message, |mailbox, delivery| mailbox.unreserve(delivery));
            }
            return (refuse_all(matches, refused, batch), RowId::NONE);
        }
    };
    (push_all(matches, message, reserves, &rows, batch), rows.first)
}

fn refuse(why: Refused, batch: &mut Batch) -> Outcome {
    batch.counts.refused_messages += u64::from(why != Refused::Busy);
    Outcome::Refused(why)
}

fn refuse_all(matches: &Matches, why: Refused, batch: &mut Batch) -> Outcome {
    if why == Refused::Busy {
        return Outcome::Refused(why);
    }
    batch.counts.matched += matches.copies();
    batch.counts.refused += matches.copies();
    refuse(why, batch)
}

/// Keeps room in every session that wants the publisher refused; all or nothing.
fn reserve_all(matches: &Matches, message: &Message, batch: &mut Batch) -> bool {
    let mut reserved: Vec<(&Match, Delivery)> = Vec::new();
    for found in matches.sessions.iter().filter(|found| found.mailbox.refuses_when_full()) {
        let Some(delivery) = found.delivery(message) else { continue };
        if delivery.qos == QoS::AtMostOnce {
            continue;
        }
        if !found.mailbox.reserve(&delivery, batch) {
            for (found, delivery) in reserved {
                found.mailbox.unreserve(&delivery);
            }
            return false;
        }
        reserved.push((found, delivery));
    }
    true
}

/// Whether there is somebody who can be told. No subscriber stops what the others see of the broker itself.
fn may_be_refused(message: &Message) -> bool {
    message.qos() != QoS::AtMostOnce && !message.is_brokers_own()
}

/// `reserved`: every session that refuses publishers keeps room for this message.
fn push_all(matches: &Matches, message: &Message, reserved: bool, rows: &Rows, batch: &mut Batch) -> Outcome {
    let (mut matched, mut taken, mut full_groups) = (0, 0, 0);
    let mut full_sessions = Vec::new();
    for found in &matches.sessions {
        let pushed = found.push(message, reserved, rows.first, batch);
        matched += u32::from(pushed != Pushed::Closed);
        taken += u32::from(pushed == Pushed::Queued);
        if pushed == Pushed::Full {
            full_sessions.push(&found.mailbox);
        }
    }
    for (at, group) in matches.groups.iter().enumerate() {
        let given = group.give(message, rows.of_group(at), batch);
        matched += u32::from(given != Given::Closed);
        taken += u32::from(given == Given::Taken);
        full_groups += u64::from(given == Given::Dropped(DropCause::Window));
    }
    batch.counts.no_subscriber += u64::from(matched == 0 && !message.is_brokers_own());
    let full = full_sessions.len() as u64 + full_groups;
    if taken > 0 || full == 0 || !may_be_refused(message) {
        full_sessions.iter().for_each(|mailbox| mailbox.lose(DropCause::QueueFull, 1, batch));
        return Outcome::Routed { matched };
    }
    // Nobody could take it, so the publisher is told, and the copies count as refused instead of dropped.
    full_sessions.iter().for_each(|mailbox| mailbox.refuse(batch));
    batch.counts.dropped[DropCause::Window as usize] -= full_groups;
    batch.counts.refused += full;
    refuse(Refused::QueueFull, batch)
}

impl Matches {
    fn copies(&self) -> u64 {
        (self.sessions.len() + self.groups.len()) as u64
    }

    fn each_reserved(&self, message: &Message, mut each: impl FnMut(&Mailbox, &Delivery)) {
        for found in self.sessions.iter().filter(|found| found.mailbox.refuses_when_full()) {
            if let Some(delivery) = found.delivery(message).filter(|delivery| delivery.qos != QoS::AtMostOnce) {
                each(&found.mailbox, &delivery);
            }
        }
    }
}

impl Match {
    /// `None` when the session published the message itself and asked for no local ([MQTT-3.8.3-3]).
    fn delivery(&self, message: &Message) -> Option<Delivery> {
        if self.no_local && message.publisher() == self.mailbox.publisher() {
            return self.own.as_ref().map(|own| own.delivery(message));
        }
        Some(delivery(message.clone(), self.qos, self.retain_as_published, &self.ids))
    }

    fn push(&self, message: &Message, reserved: bool, row: RowId, batch: &mut Batch) -> Pushed {
        let Some(mut delivery) = self.delivery(message) else {
            batch.counts.matched += 1;
            self.mailbox.lose(DropCause::NoLocal, 1, batch);
            return Pushed::Dropped(DropCause::NoLocal);
        };
        let is_acked = delivery.qos != QoS::AtMostOnce;
        if is_acked && self.mailbox.is_stored() {
            delivery.row = row;
        }
        let stored = delivery.row;
        let reserved = reserved && is_acked && self.mailbox.refuses_when_full();
        let pushed = self.mailbox.push(delivery, reserved, batch);
        if pushed != Pushed::Queued {
            batch.end_row(self.mailbox.owner(), stored);
        }
        pushed
    }
}

impl OwnMatch {
    fn delivery(&self, message: &Message) -> Delivery {
        delivery(message.clone(), self.qos, self.retain_as_published, &self.ids)
    }
}

fn delivery(message: Message, qos: QoS, retain_as_published: bool, ids: &crate::message::SubscriptionIds) -> Delivery {
    Delivery {
        qos: qos.min(message.qos()),                     // [MQTT-3.8.4-8]
        retain: retain_as_published && message.retain(), // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
        subscription_ids: ids.clone(),
        group: None,
        row: RowId::NONE,
        message,
    }
}
