//! Shared subscriptions (section 4.8.2): one copy of a message goes to one member of the group.
//!
//! A member takes a message only when it is connected and has room in its window; with no such member the message waits
//! in the group's one bounded queue, from which members pull when they acknowledge. Copies of QoS 1 in flight and copies
//! not yet sent come back here when the member's session ends; a QoS 2 delivery that has started never moves
//! ([MQTT-4.8.2-5]). Order is not promised here ([MQTT-4.6.0-6]).

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use super::batch::Batch;
use super::mailbox::{Mailbox, SubscriberId};
use crate::message::{
    BrokerTime, Delivery, DropCause, GroupId, Message, MessageRun, OwnerId, PublisherId, Queued, RUN_MESSAGES_MAX,
    RUN_SIZE_MAX, RowId, RunDelivery, SubscriptionIds,
};
use crate::topic::{QoS, SubscribeOptions};

/// How a group chooses the member that gets a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShareStrategy {
    #[default]
    RoundRobin,
    Random,
    /// The same member as long as it can take messages.
    Sticky,
    /// By a hash of the publisher's client id.
    HashClientId,
    /// By a hash of the topic.
    HashTopic,
    /// The member with the fewest messages in flight.
    LeastInFlight,
}

/// Bounds of the queue of messages that no member can take now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    pub messages_max: u32,
    pub bytes_max: u64,
}

pub(crate) struct Group {
    id: GroupId,
    key: SubscriberId,
    share: Box<str>,
    filter: Box<str>,
    strategy: ShareStrategy,
    limits: GroupLimits,
    /// Some member outlives the process, and so do messages for the group. Once true it stays.
    is_stored: AtomicBool,
    inner: Mutex<Inner>,
    /// Messages in the queue, or about to be: members look here without the lock.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    members: Vec<Member>,
    next: usize,
    /// Copies that are no member's yet.
    queue: VecDeque<Queued>,
    /// Messages in `queue`, and what they count for in limits.
    messages: u64,
    bytes: u64,
}

struct Member {
    mailbox: Arc<Mailbox>,
    options: SubscribeOptions,
    id: Option<NonZeroU32>,
}

impl Member {
    fn subscription_ids(&self) -> SubscriptionIds {
        // A copy of its own, beside those for other subscriptions of the same session: [MQTT-3.3.4-5]
        self.id.map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.get()))
    }

    /// Makes a copy of the group this member's.
    fn own(&self, delivery: Delivery) -> Delivery {
        Delivery {
            qos: delivery.qos.min(self.options.qos), // [MQTT-4.8.2-3]
            retain: delivery.retain && self.options.retain_as_published,
            subscription_ids: self.subscription_ids(),
            ..delivery
        }
    }

    /// Takes the first of a run, as many as its client can have now, `most` at most. False when it takes none.
    fn take_of(&self, rest: &mut RunDelivery, most: u32, batch: &mut Batch) -> bool {
        !rest.is_empty()
            && most > 0
            && self.mailbox.try_push_shared_run(rest, most, (self.options, self.subscription_ids()), batch)
    }
}

/// What became of a message given to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Taken,
    Dropped(DropCause),
    /// The last member has left: it did not match after all.
    Closed,
}

impl Group {
    fn new(
        id: GroupId,
        key: SubscriberId,
        (share, filter): (&str, &str),
        strategy: ShareStrategy,
        limits: GroupLimits,
    ) -> Self {
        Group {
            id,
            key,
            share: share.into(),
            filter: filter.into(),
            strategy,
            limits,
            is_stored: AtomicBool::new(false),
            inner: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(super) fn id(&self) -> GroupId {
        self.id
    }

    pub(super) fn key(&self) -> SubscriberId {
        self.key
    }

    pub(super) fn is_stored(&self) -> bool {
        self.is_stored.load(SeqCst)
    }

    /// Whose the stored messages of the group are, with whichever member they are.
    pub(super) fn owner(&self) -> OwnerId {
        OwnerId::from(self.id)
    }

    /// At a start: messages that waited. False when there are no members.
    pub(super) fn restore(&self, messages: impl IntoIterator<Item = (Message, QoS, RowId)>, batch: &mut Batch) -> bool {
        let mut inner = self.inner.lock();
        if inner.members.is_empty() {
            return false;
        }
        for (message, qos, row) in messages {
            self.waiting.fetch_add(1, SeqCst);
            self.keep(&mut inner, Queued::One(self.copy(message, qos, row)), batch);
        }
        true
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// Gives one message to one member, or keeps it for whoever has room next.
    pub(super) fn give(&self, message: &Message, row: RowId, batch: &mut Batch) -> Given {
        let mut inner = self.inner.lock();
        if inner.members.is_empty() {
            return Given::Closed;
        }
        batch.counts.matched += 1;
        if inner.queue.is_empty() && self.offer(&mut inner, message, message.qos(), row, batch) {
            return Given::Taken;
        }
        // Raised before the second look: a member that frees its window in between sees it and comes for the lock.
        self.waiting.fetch_add(1, SeqCst);
        if inner.queue.is_empty() && self.offer(&mut inner, message, message.qos(), row, batch) {
            self.waiting.fetch_sub(1, SeqCst);
            return Given::Taken;
        }
        self.keep(&mut inner, Queued::One(self.copy(message.clone(), message.qos(), row)), batch)
    }

    /// Whether messages can come together. Not where each is to find the member that is best for it.
    pub(super) fn takes_runs(&self) -> bool {
        !self.is_stored() && !matches!(self.strategy, ShareStrategy::Random | ShareStrategy::LeastInFlight)
    }

    /// Whether a run is kept whatever the members can take.
    pub(super) fn has_room_for_run(&self) -> bool {
        let inner = self.inner.lock();
        !inner.members.is_empty() && self.has_room(&inner, RUN_MESSAGES_MAX.into(), RUN_SIZE_MAX)
    }

    /// As [`Group::give`], for a run that is not stored; false when the last member has left. A promised one is kept even if
    /// others have taken the room that there was.
    pub(super) fn give_run(&self, run: &MessageRun, is_promised: bool, batch: &mut Batch) -> bool {
        let mut inner = self.inner.lock();
        if inner.members.is_empty() {
            return false;
        }
        batch.counts.matched += run.len();
        let mut rest = RunDelivery::new(run.clone(), run.qos(), SubscriptionIds::None);
        rest.group = Some(self.id);
        if inner.queue.is_empty() {
            self.deal(&mut inner, &mut rest, batch);
        }
        if rest.is_empty() {
            return true;
        }
        let waiting = rest.len();
        self.waiting.fetch_add(waiting as usize, SeqCst);
        if inner.queue.is_empty() {
            self.deal(&mut inner, &mut rest, batch);
            self.waiting.fetch_sub((waiting - rest.len()) as usize, SeqCst);
        }
        if rest.is_empty() {
            return true;
        }
        if rest.qos != QoS::AtMostOnce {
            let (messages_max, size_max) =
                match is_promised || self.make_room(&mut inner, rest.len(), rest.size(), batch) {
                    true => (u32::MAX, u64::MAX),
                    false => self.room(&inner),
                };
            let first = rest.first(messages_max, size_max);
            rest.skip(&first);
            if !first.is_empty() {
                self.push(&mut inner, Queued::Run(first));
            }
        }
        if !rest.is_empty() {
            self.lose(&inner, &Queued::Run(rest), batch);
        }
        true
    }

    /// Takes back a copy that a member cannot deliver any more; when it finds no place it is counted as dropped. False
    /// when the last member has left meanwhile: nobody would ever come for it.
    pub(super) fn take_back(&self, delivery: Delivery, batch: &mut Batch) -> bool {
        let mut inner = self.inner.lock();
        if inner.members.is_empty() {
            return false;
        }
        let (message, qos, row) = (delivery.message, delivery.qos, delivery.row);
        self.waiting.fetch_add(1, SeqCst);
        if self.offer(&mut inner, &message, qos, row, batch) {
            self.waiting.fetch_sub(1, SeqCst);
        } else {
            self.keep(&mut inner, Queued::One(self.copy(message, qos, row)), batch);
        }
        true
    }

    /// Moves waiting messages to the member that asks, as many as it has room for.
    pub(super) fn pull(&self, mailbox: &Mailbox, batch: &mut Batch) {
        let mut inner = self.inner.lock();
        let Inner { members, queue, messages, bytes, .. } = &mut *inner;
        let Some(member) = members.iter().find(|member| member.mailbox.id() == mailbox.id()) else { return };
        let now = batch.now;
        let (mut taken, mut expired, mut ended) = (0, 0, Vec::new());
        mailbox.fill_shared(batch, |messages_max, size_max| {
            loop {
                let is_expired = now >= queue.front()?.expires_at();
                let (messages_max, size_max) = if is_expired { (u32::MAX, u64::MAX) } else { (messages_max, size_max) };
                let queued = Queued::pop_first(queue, messages_max, size_max)?;
                taken += u64::from(queued.messages());
                *bytes -= queued.size();
                if !is_expired {
                    return Some(match queued {
                        Queued::One(delivery) => Queued::One(member.own(delivery)),
                        Queued::Run(run) => Queued::Run(run.own(member.options.qos, member.subscription_ids())),
                    });
                }
                expired += u64::from(queued.messages());
                ended.extend(queued.one().map(|delivery| delivery.row));
            }
        });
        *messages -= taken;
        ended.into_iter().for_each(|row| batch.end_row(self.owner(), row));
        self.waiting.fetch_sub(taken as usize, SeqCst);
        batch.counts.dropped[DropCause::Expired as usize] += expired;
    }

    /// Keeps what no member can take, and has been counted as waiting; if there is no room, it is counted as dropped.
    fn keep(&self, inner: &mut Inner, queued: Queued, batch: &mut Batch) -> Given {
        let (messages, size) = (u64::from(queued.messages()), queued.size());
        if queued.is_acked() && self.make_room(inner, messages, size, batch) {
            self.push(inner, queued);
            return Given::Taken;
        }
        Given::Dropped(self.lose(inner, &queued, batch))
    }

    /// Counts as dropped what was counted as waiting.
    fn lose(&self, inner: &Inner, queued: &Queued, batch: &mut Batch) -> DropCause {
        let any_online = inner.members.iter().any(|member| member.mailbox.is_online());
        let cause = if queued.is_acked() || any_online { DropCause::Window } else { DropCause::Offline };
        self.waiting.fetch_sub(queued.messages() as usize, SeqCst);
        batch.counts.dropped[cause as usize] += u64::from(queued.messages());
        queued.one().into_iter().for_each(|delivery| batch.end_row(self.owner(), delivery.row));
        cause
    }

    fn push(&self, inner: &mut Inner, queued: Queued) {
        inner.messages += u64::from(queued.messages());
        inner.bytes += queued.size();
        inner.queue.push_back(queued);
    }

    /// For how many more messages there is room, and bytes.
    fn room(&self, inner: &Inner) -> (u32, u64) {
        let messages = u64::from(self.limits.messages_max).saturating_sub(inner.messages);
        (messages as u32, self.limits.bytes_max.saturating_sub(inner.bytes))
    }

    fn has_room(&self, inner: &Inner, messages: u64, size: u64) -> bool {
        let (messages_free, bytes_free) = self.room(inner);
        messages <= messages_free.into() && size <= bytes_free
    }

    /// The expired give way.
    fn make_room(&self, inner: &mut Inner, messages: u64, size: u64, batch: &mut Batch) -> bool {
        if !self.has_room(inner, messages, size) {
            self.remove_expired(inner, batch.now, batch);
        }
        self.has_room(inner, messages, size)
    }

    /// Deals out a run: messages that nobody can take now are left.
    fn deal(&self, inner: &mut Inner, rest: &mut RunDelivery, batch: &mut Batch) {
        if self.strategy == ShareStrategy::RoundRobin {
            return deal_in_turn(inner, rest, batch);
        }
        let count = inner.members.len();
        let first = self.first_choice(inner, rest.run.publisher(), rest.run.topic_bytes());
        for index in around(first, count) {
            if inner.members[index].take_of(rest, u32::MAX, batch) {
                inner.next = self.after(index);
            }
        }
    }

    /// Whose turn it is when that member has got something.
    fn after(&self, index: usize) -> usize {
        if self.strategy == ShareStrategy::Sticky { index } else { index + 1 }
    }

    /// Tries members in the order of the strategy; true when one took it.
    fn offer(&self, inner: &mut Inner, message: &Message, qos: QoS, row: RowId, batch: &mut Batch) -> bool {
        let count = inner.members.len();
        if count == 0 {
            return false;
        }
        if self.strategy == ShareStrategy::LeastInFlight {
            return self.offer_least_in_flight(inner, (message, qos, row), batch);
        }
        let first = self.first_choice(inner, message.publisher(), message.topic_bytes());
        for index in around(first, count) {
            if self.hand_to(&inner.members[index], (message, qos, row), batch) {
                inner.next = self.after(index);
                return true;
            }
        }
        false
    }

    fn first_choice(&self, inner: &Inner, publisher: PublisherId, topic: &[u8]) -> usize {
        match self.strategy {
            ShareStrategy::Random => rand::random_range(0..inner.members.len()),
            ShareStrategy::HashClientId => publisher.0 as usize,
            // Unkeyed on purpose: the same topic goes to the same member for as long as the group stays as it is.
            ShareStrategy::HashTopic => foldhash::fast::FixedState::default().hash_one(topic) as usize,
            ShareStrategy::RoundRobin | ShareStrategy::Sticky | ShareStrategy::LeastInFlight => inner.next,
        }
    }

    fn offer_least_in_flight(&self, inner: &mut Inner, offered: (&Message, QoS, RowId), batch: &mut Batch) -> bool {
        let count = inner.members.len();
        let mut order: Vec<usize> = around(inner.next, count).collect();
        inner.next = order[0] + 1;
        order.sort_by_key(|&index| inner.members[index].mailbox.load());
        order.into_iter().any(|index| self.hand_to(&inner.members[index], offered, batch))
    }

    fn hand_to(&self, member: &Member, (message, qos, row): (&Message, QoS, RowId), batch: &mut Batch) -> bool {
        let delivery = member.own(self.copy(message.clone(), qos, row));
        member.mailbox.try_push_shared(delivery, batch)
    }

    /// A copy that is no member's yet.
    fn copy(&self, message: Message, qos: QoS, row: RowId) -> Delivery {
        let (retain, subscription_ids, group) = (message.retain(), SubscriptionIds::None, Some(self.id));
        Delivery { message, qos, retain, subscription_ids, group, row }
    }

    /// True when the member was there already and only its options changed.
    fn join(&self, mailbox: &Arc<Mailbox>, options: SubscribeOptions, id: Option<NonZeroU32>) -> bool {
        let mut inner = self.inner.lock();
        self.is_stored.fetch_or(mailbox.is_stored(), SeqCst);
        let known = inner.members.iter_mut().find(|member| member.mailbox.id() == mailbox.id());
        match known {
            Some(member) => {
                member.options = options;
                member.id = id;
                true
            }
            None => {
                inner.members.push(Member { mailbox: Arc::clone(mailbox), options, id });
                false
            }
        }
    }

    /// `None` when it was no member; `Some(true)` when it was the last.
    fn leave(&self, mailbox: &Mailbox) -> Option<bool> {
        let mut inner = self.inner.lock();
        let index = inner.members.iter().position(|member| member.mailbox.id() == mailbox.id())?;
        inner.members.remove(index);
        // Whose turn it was, it stays.
        if index < inner.next {
            inner.next -= 1;
        }
        Some(inner.members.is_empty())
    }

    fn drop_queue(&self, batch: &mut Batch) {
        let mut inner = self.inner.lock();
        inner.queue = VecDeque::new();
        let dropped = std::mem::take(&mut inner.messages);
        inner.bytes = 0;
        self.waiting.fetch_sub(dropped as usize, SeqCst);
        batch.counts.dropped[DropCause::SessionEnded as usize] += dropped;
        if self.is_stored() {
            batch.ended_owners.push(self.owner());
        }
    }

    fn drop_expired(&self, now: BrokerTime, batch: &mut Batch) {
        if self.is_waiting() {
            self.remove_expired(&mut self.inner.lock(), now, batch);
        }
    }

    fn remove_expired(&self, inner: &mut Inner, now: BrokerTime, batch: &mut Batch) {
        let Inner { queue, messages, bytes, .. } = inner;
        let before = *messages;
        queue.retain(|queued| {
            let is_expired = now >= queued.expires_at();
            if is_expired {
                *messages -= u64::from(queued.messages());
                *bytes -= queued.size();
                queued.one().into_iter().for_each(|delivery| batch.end_row(self.owner(), delivery.row));
            }
            !is_expired
        });
        let expired = before - *messages;
        self.waiting.fetch_sub(expired as usize, SeqCst);
        batch.counts.dropped[DropCause::Expired as usize] += expired;
    }

    fn queued(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.messages, inner.bytes)
    }
}

/// The places of all members, from one on.
fn around(first: usize, count: usize) -> impl Iterator<Item = usize> {
    let first = first % count;
    (first..count).chain(0..first)
}

/// Each gets as many as if the next had got the next message, but all of them at once. What one cannot take goes to the
/// others in another round.
fn deal_in_turn(inner: &mut Inner, rest: &mut RunDelivery, batch: &mut Batch) {
    let count = inner.members.len();
    loop {
        let before = rest.len();
        let (each, mut more) = (before / count as u64, before % count as u64);
        for index in around(inner.next, count) {
            let left = rest.len();
            inner.members[index].take_of(rest, (each + more.min(1)) as u32, batch);
            if left - rest.len() > each {
                more -= 1;
                inner.next = index + 1;
            }
        }
        if rest.is_empty() || rest.len() == before {
            return;
        }
    }
}

/// All groups, by share name and filter and by id.
pub(super) struct Groups {
    inner: Mutex<GroupsInner>,
    strategy: ShareStrategy,
    limits: GroupLimits,
}

#[derive(Default)]
struct GroupsInner {
    by_name: HashMap<(Box<str>, Box<str>), Arc<Group>>,
    by_id: HashMap<GroupId, Arc<Group>>,
    /// Groups of before a start whose first member has not joined yet.
    restored: HashMap<(Box<str>, Box<str>), GroupId>,
    last_id: u32,
}

impl Groups {
    pub(super) fn new(strategy: ShareStrategy, limits: GroupLimits) -> Self {
        Groups { inner: Mutex::default(), strategy, limits }
    }

    /// Makes the session a member, or changes its options if it is one already (true then). A group that is new is made
    /// by `enter`, which also puts it into the subscription tree before anybody else can find it here.
    pub(super) fn join(
        &self,
        (share, filter): (&str, &str),
        mailbox: &Arc<Mailbox>,
        (options, id): (SubscribeOptions, Option<NonZeroU32>),
        enter: impl FnOnce(&dyn Fn(SubscriberId) -> Arc<Group>) -> Arc<Group>,
    ) -> (bool, GroupId) {
        let mut inner = self.inner.lock();
        let name = (share.into(), filter.into());
        let group = match inner.by_name.get(&name) {
            Some(group) => Arc::clone(group),
            None => {
                let group_id = inner.restored.remove(&name).unwrap_or_else(|| inner.next_id());
                let make = |key| Arc::new(Group::new(group_id, key, (share, filter), self.strategy, self.limits));
                let group = enter(&make);
                inner.by_id.insert(group.id, Arc::clone(&group));
                inner.by_name.insert(name, Arc::clone(&group));
                group
            }
        };
        let replaced = group.join(mailbox, options, id);
        mailbox.join(&group);
        (replaced, group.id)
    }

    /// The number that a group gets when it is made.
    pub(super) fn restore(&self, (share, filter): (&str, &str), id: GroupId) {
        let mut inner = self.inner.lock();
        inner.last_id = inner.last_id.max(id.0.get());
        inner.restored.insert((share.into(), filter.into()), id);
    }

    /// Takes the session out of the group; false when it was no member. A group that is empty now goes, by `depart` from
    /// the subscription tree too.
    pub(super) fn leave(
        &self,
        (share, filter): (&str, &str),
        mailbox: &Arc<Mailbox>,
        batch: &mut Batch,
        depart: impl FnOnce(&Group),
    ) -> bool {
        let mut inner = self.inner.lock();
        let name = (Box::from(share), Box::from(filter));
        let Some(group) = inner.by_name.get(&name).cloned() else { return false };
        let Some(was_last) = group.leave(mailbox) else { return false };
        // Unsent: else they would be sent as copies of a group that may be gone, and of which nothing is stored then.
        let unsent = mailbox.leave(&group);
        if was_last {
            inner.by_name.remove(&name);
            inner.by_id.remove(&group.id);
            depart(&group);
            group.drop_queue(batch);
            mailbox.lose(DropCause::SessionEnded, unsent.len() as u64, batch);
        } else {
            for delivery in unsent {
                group.take_back(delivery, batch);
            }
        }
        true
    }

    pub(super) fn id_of(&self, (share, filter): (&str, &str)) -> Option<GroupId> {
        self.inner.lock().by_name.get(&(share.into(), filter.into())).map(|group| group.id)
    }

    pub(super) fn by_id(&self, id: GroupId) -> Option<Arc<Group>> {
        self.inner.lock().by_id.get(&id).cloned()
    }

    pub(super) fn drop_expired(&self, now: BrokerTime, batch: &mut Batch) {
        for group in self.all() {
            group.drop_expired(now, batch);
        }
    }

    /// Messages that wait in groups for a member, and their bytes.
    pub(super) fn queued(&self) -> (u64, u64) {
        self.all().iter().map(|group| group.queued()).fold((0, 0), |sum, (n, bytes)| (sum.0 + n, sum.1 + bytes))
    }

    pub(super) fn len(&self) -> usize {
        self.inner.lock().by_name.len()
    }

    /// How many sessions share, over all groups.
    pub(super) fn members(&self) -> usize {
        self.all().iter().map(|group| group.inner.lock().members.len()).sum()
    }

    fn all(&self) -> Vec<Arc<Group>> {
        self.inner.lock().by_name.values().cloned().collect()
    }
}

impl GroupsInner {
    fn next_id(&mut self) -> GroupId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            match NonZeroU32::new(self.last_id).map(GroupId) {
                Some(id) if !self.by_id.contains_key(&id) => return id,
                _ => {}
            }
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "$share/{}/{}", self.share, self.filter)
    }
}
