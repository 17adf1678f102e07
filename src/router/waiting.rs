//! The messages that wait for one session, in the order in which it gets them.
//!
//! ```text
//!  poll ◄── [ queue: in memory ] ◄──page_in── [ disk: rows only ]   [ behind: in memory, not stored ] ◄── push
//!                                                       ▲ push of stored copies
//! ```
//! While the client is there and keeps up, everything is in `queue`. When it goes, what is stored stays on disk alone and
//! only its row is remembered; what comes meanwhile is added there. When it has come back, pages are read into `queue`
//! until nothing is left on disk; then what waited behind follows.

use std::collections::{HashMap, VecDeque};

use super::batch::Batch;
use super::row_list::RowList;
use crate::message::{BrokerTime, Delivery, GroupId, OwnerId, Queued, RowId, RunDelivery};

#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Queued>,
    /// QoS 0 messages in `queue`, ...
    unacked: u32,
    /// ... and those of QoS 1 and 2.
    acked: u32,
    /// Of `queue` and `behind`.
    bytes: u64,
    /// Nothing in memory expires before this.
    earliest_expiry: Expiry,
    /// There while something waits on disk: most sessions are awake.
    asleep: Option<Box<Asleep>>,
}

#[derive(Default)]
struct Asleep {
    disk: RowList,
    behind: VecDeque<Queued>,
    /// Messages in `behind`.
    behind_count: u32,
    /// Nothing on disk expires before this.
    expiry: Expiry,
}

impl Asleep {
    fn len(&self) -> u64 {
        u64::from(self.behind_count) + self.disk.len()
    }

    fn push_behind(&mut self, queued: Queued) {
        self.behind_count += queued.messages();
        self.behind.push_back(queued);
    }

    fn take_behind(&mut self, index: usize) -> Option<Taken> {
        let taken = take_one(&mut self.behind, index)?;
        self.behind_count -= 1;
        Some(taken)
    }

    fn push(&mut self, row: RowId, size: u64, expires_at: BrokerTime) {
        self.expiry.note(expires_at);
        self.disk.push_back(row, size);
    }
}

/// A write costs as much as some tens of small messages.
const GATHER_BELOW: u32 = 16;
const GATHER_BYTES_BELOW: u64 = 16 * 1024;

/// The earliest of several times.
#[derive(Clone, Copy)]
struct Expiry(BrokerTime);

impl Default for Expiry {
    fn default() -> Self {
        Expiry(BrokerTime::NEVER)
    }
}

impl Expiry {
    fn note(&mut self, at: BrokerTime) {
        self.0 = self.0.min(at);
    }
}

fn count(queue: &VecDeque<Queued>) -> u32 {
    queue.iter().map(Queued::messages).sum()
}

fn count_acked(queue: &VecDeque<Queued>) -> u32 {
    queue.iter().filter(|queued| queued.is_acked()).map(Queued::messages).sum()
}

/// Something that waits, named so that it can be taken out.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Queue(usize),
    Disk,
    Behind(usize),
}

/// Whose stored copy it is: a shared one is its group's until it is acknowledged.
pub fn owner_of(delivery: &Delivery, session: OwnerId) -> OwnerId {
    delivery.group.map_or(session, OwnerId::from)
}

/// One message: whether it is acknowledged, its size, and itself unless it is of a run.
type Taken = (bool, u64, Option<Delivery>);

/// Takes out one message, of a run the first.
fn take_one(queue: &mut VecDeque<Queued>, index: usize) -> Option<Taken> {
    let queued = queue.get_mut(index)?;
    let is_acked = queued.is_acked();
    if let Queued::Run(run) = queued
        && run.len() > 1
    {
        return Some((is_acked, run.drop_first(), None));
    }
    let size = queued.size();
    let one = match queue.remove(index) {
        Some(Queued::One(delivery)) => Some(delivery),
        _ => None,
    };
    Some((is_acked, size, one))
}

impl Waiting {
    pub(super) fn len(&self) -> u64 {
        u64::from(self.in_queue()) + self.asleep.as_ref().map_or(0, |asleep| asleep.len())
    }

    fn in_queue(&self) -> u32 {
        self.unacked + self.acked
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.asleep.as_ref().map_or(0, |asleep| asleep.disk.bytes())
    }

    /// QoS 1 and 2 messages that can be sent without a look at the disk.
    pub(super) fn acked(&self) -> u32 {
        self.acked
    }

    pub(super) fn on_disk(&self) -> u64 {
        self.asleep.as_ref().map_or(0, |asleep| asleep.disk.len())
    }

    /// The first row that waits on disk.
    pub(super) fn disk_front(&self) -> Option<RowId> {
        self.asleep.as_ref().and_then(|asleep| asleep.disk.front())
    }

    fn behind(&self) -> &VecDeque<Queued> {
        const NONE: &VecDeque<Queued> = &VecDeque::new();
        self.asleep.as_ref().map_or(NONE, |asleep| &asleep.behind)
    }

    /// Whether a page is what the client can have next.
    pub(super) fn wants_page(&self) -> bool {
        self.queue.is_empty() && self.asleep.is_some()
    }

    /// In memory, in order.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = &Queued> {
        self.queue.iter().chain(self.behind())
    }

    /// Puts a copy last. `parked`: nobody is there to take it, so what is stored need not be in memory.
    pub(super) fn push(&mut self, delivery: Delivery, parked: bool) {
        let is_own_row = delivery.row.is_stored() && delivery.group.is_none();
        if is_own_row && (parked || self.asleep.is_some()) {
            return self.restore(delivery.row, delivery.message.size() as u64, delivery.message.expires_at());
        }
        let is_shared = delivery.group.is_some();
        self.append(Queued::One(delivery), is_shared);
    }

    /// Puts copies last that are not stored.
    pub(super) fn push_run(&mut self, run: RunDelivery) {
        let is_shared = run.group.is_some();
        self.append(Queued::Run(run), is_shared);
    }

    /// What came from a group is not ordered with the session's own messages.
    fn append(&mut self, queued: Queued, is_shared: bool) {
        self.bytes += queued.size();
        self.earliest_expiry.note(queued.expires_at());
        match &mut self.asleep {
            Some(asleep) if !is_shared => asleep.push_behind(queued),
            _ => self.push_queue(queued),
        }
    }

    fn push_queue(&mut self, queued: Queued) {
        *self.counter(queued.is_acked()) += queued.messages();
        self.queue.push_back(queued);
    }

    /// Of those in `queue` that are acknowledged, or of the others.
    fn counter(&mut self, is_acked: bool) -> &mut u32 {
        if is_acked { &mut self.acked } else { &mut self.unacked }
    }

    fn recount_queue(&mut self) {
        self.acked = count_acked(&self.queue);
        self.unacked = count(&self.queue) - self.acked;
    }

    /// A copy that waits on disk.
    pub(super) fn restore(&mut self, row: RowId, size: u64, expires_at: BrokerTime) {
        self.asleep.get_or_insert_default().push(row, size, expires_at);
    }

    /// Nobody is there to take anything: what is stored leaves the memory.
    pub(super) fn park(&mut self) {
        if !self.queue.iter().filter_map(Queued::one).any(|delivery| delivery.row.is_stored()) {
            return;
        }
        let later = self.asleep.take().unwrap_or_default();
        let mut now = Asleep { expiry: later.expiry, ..Asleep::default() };
        (self.unacked, self.acked) = (0, 0);
        for queued in std::mem::take(&mut self.queue) {
            match queued.one() {
                Some(delivery) if delivery.row.is_stored() && delivery.group.is_none() => {
                    let size = queued.size();
                    self.bytes -= size;
                    now.push(delivery.row, size, queued.expires_at());
                }
                _ => now.push_behind(queued),
            }
        }
        later.disk.iter().for_each(|(row, size)| now.disk.push_back(row, size));
        now.behind_count += later.behind_count;
        now.behind.extend(later.behind);
        self.asleep = Some(Box::new(now));
        self.surface();
    }

    /// With nothing on disk, what waits behind it is next.
    fn surface(&mut self) {
        if let Some(asleep) = self.asleep.take_if(|asleep| asleep.disk.is_empty()) {
            self.queue.extend(asleep.behind);
            self.recount_queue();
        }
    }

    /// Takes in what was read for the page that began at `front`. Returns how many copies turned out not to be there.
    pub(super) fn page_in(&mut self, front: RowId, rows: Vec<(RowId, Delivery)>) -> u64 {
        let mut rows: HashMap<RowId, Delivery> = rows.into_iter().collect();
        let mut lost = 0;
        // It begins where the list did: a front that is not in it is nowhere. (Dropped meanwhile, it is not the front.)
        if self.disk_front() == Some(front) && !rows.contains_key(&front) {
            self.pop_disk();
            lost += 1;
        }
        while let Some(delivery) = self.disk_front().and_then(|row| rows.remove(&row)) {
            self.pop_disk();
            let queued = Queued::One(delivery);
            self.bytes += queued.size();
            self.earliest_expiry.note(queued.expires_at());
            self.push_queue(queued);
        }
        self.surface();
        lost
    }

    fn pop_disk(&mut self) -> Option<RowId> {
        self.asleep.as_mut().and_then(|asleep| asleep.disk.pop_front()).map(|(row, _)| row)
    }

    pub(super) fn oldest(&self) -> Option<Place> {
        if !self.queue.is_empty() {
            return Some(Place::Queue(0));
        }
        self.asleep.is_some().then_some(Place::Disk)
    }

    pub(super) fn oldest_qos0(&self) -> Option<Place> {
        if self.unacked > 0 {
            return self.queue.iter().position(|queued| !queued.is_acked()).map(Place::Queue);
        }
        self.behind().iter().position(|queued| !queued.is_acked()).map(Place::Behind)
    }

    /// Takes one message out, for good: the first of a run.
    pub(super) fn remove(&mut self, place: Place, session: OwnerId, batch: &mut Batch) {
        let taken = match place {
            Place::Queue(index) => {
                let taken = take_one(&mut self.queue, index);
                if let Some((is_acked, ..)) = taken {
                    *self.counter(is_acked) -= 1;
                }
                taken
            }
            Place::Behind(index) => self.asleep.as_mut().and_then(|asleep| asleep.take_behind(index)),
            Place::Disk => {
                if let Some(row) = self.pop_disk() {
                    batch.end_row(session, row);
                }
                return self.surface();
            }
        };
        let Some((_, size, one)) = taken else { return };
        self.bytes -= size;
        if let Some(delivery) = one {
            batch.end_row(owner_of(&delivery, session), delivery.row);
        }
    }

    /// Takes out everything for good; returns how many that were.
    pub(super) fn purge(&mut self, session: OwnerId, batch: &mut Batch) -> u64 {
        let all = std::mem::take(self);
        let one = all.in_memory().filter_map(Queued::one);
        one.for_each(|delivery| batch.end_row(owner_of(delivery, session), delivery.row));
        let on_disk = all.asleep.iter().flat_map(|asleep| asleep.disk.iter());
        on_disk.for_each(|(row, _)| batch.end_row(session, row));
        all.len()
    }

    /// Lets go of everything, as the session has ended: what others may take, and how many more there were.
    pub(super) fn close(&mut self) -> (Vec<Delivery>, u64) {
        let all = std::mem::take(self);
        let count = all.len();
        let asleep = all.asleep.unwrap_or_default();
        let may_go = |queued: &&Queued| queued.one().is_some() || queued.group().is_some();
        let given: Vec<_> =
            all.queue.iter().chain(&asleep.behind).filter(may_go).flat_map(Queued::deliveries).collect();
        let more = count - given.len() as u64;
        (given, more)
    }

    /// Takes out of memory what is not wanted any more; returns how many.
    fn retain(&mut self, session: OwnerId, batch: &mut Batch, mut wanted: impl FnMut(&Queued) -> bool) -> u64 {
        let (before, mut bytes) = (self.len(), 0);
        let behind = self.asleep.as_mut().map(|asleep| &mut asleep.behind);
        for queue in [&mut self.queue].into_iter().chain(behind) {
            queue.retain(|queued| {
                let wanted = wanted(queued);
                if wanted {
                    bytes += queued.size();
                } else if let Queued::One(delivery) = queued {
                    batch.end_row(owner_of(delivery, session), delivery.row);
                }
                wanted
            });
        }
        self.bytes = bytes;
        self.recount_queue();
        if let Some(asleep) = &mut self.asleep {
            asleep.behind_count = count(&asleep.behind);
        }
        before - self.len()
    }

    /// Drops from memory what has expired; returns how many.
    pub(super) fn drop_expired(&mut self, now: BrokerTime, session: OwnerId, batch: &mut Batch) -> u64 {
        if now < self.earliest_expiry.0 {
            return 0;
        }
        let mut earliest = Expiry::default();
        let expired = self.retain(session, batch, |queued| {
            let is_expired = now >= queued.expires_at();
            if !is_expired {
                earliest.note(queued.expires_at());
            }
            !is_expired
        });
        self.earliest_expiry = earliest;
        expired
    }

    /// Drops QoS 0; returns how many.
    pub(super) fn drop_qos0(&mut self, session: OwnerId, batch: &mut Batch) -> u64 {
        if self.unacked == 0 && self.behind().is_empty() {
            return 0;
        }
        self.retain(session, batch, Queued::is_acked)
    }

    /// Takes out copies of shared subscriptions, those of some groups.
    pub(super) fn take_shared(&mut self, of: impl Fn(GroupId) -> bool) -> Vec<Delivery> {
        let is_wanted = |queued: &Queued| queued.group().is_some_and(&of);
        if !self.queue.iter().any(is_wanted) {
            return Vec::new();
        }
        let (shared, own): (VecDeque<_>, _) = std::mem::take(&mut self.queue).into_iter().partition(is_wanted);
        self.queue = own;
        self.bytes -= shared.iter().map(Queued::size).sum::<u64>();
        self.recount_queue();
        shared.iter().flat_map(Queued::deliveries).collect()
    }

    /// Moves everything out at once if it is all in memory and within the bounds; how many of them are acknowledged.
    pub(super) fn take_all(&mut self, acked_max: u32, bytes_max: u64) -> Option<(VecDeque<Queued>, u32)> {
        let fits = self.acked <= acked_max && self.bytes <= bytes_max && self.asleep.is_none();
        if !fits || self.queue.is_empty() {
            return None;
        }
        (self.unacked, self.bytes) = (0, 0);
        Some((std::mem::take(&mut self.queue), std::mem::take(&mut self.acked)))
    }

    /// The first in memory that need no acknowledgement, or of the others as many as `acked_max`.
    pub(super) fn take_first(&mut self, acked_max: u32) -> Option<Queued> {
        let taken = match self.queue.front()?.is_acked() {
            false => self.queue.pop_front(),
            true if acked_max == 0 => None,
            true => Queued::pop_first(&mut self.queue, acked_max, u64::MAX),
        }?;
        *self.counter(taken.is_acked()) -= taken.messages();
        self.bytes -= taken.size();
        Some(taken)
    }

    /// So few that a write for them alone costs more than they do.
    pub(super) fn is_worth_gathering(&self) -> bool {
        (1..GATHER_BELOW).contains(&self.in_queue()) && self.bytes < GATHER_BYTES_BELOW
    }

    pub(super) fn is_queue_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether something on disk may have expired.
    pub(super) fn may_have_expired(&self, now: BrokerTime) -> bool {
        self.asleep.as_ref().is_some_and(|asleep| now >= asleep.expiry.0)
    }

    /// Before the disk is searched: what comes meanwhile is noted anew.
    pub(super) fn begin_search(&mut self) {
        if let Some(asleep) = &mut self.asleep {
            asleep.expiry = Expiry::default();
        }
    }

    /// Drops from disk what a search has found expired, `next` being the earliest expiry of what it left; returns how many.
    pub(super) fn end_search(
        &mut self,
        expired: &[RowId],
        next: BrokerTime,
        session: OwnerId,
        batch: &mut Batch,
    ) -> u64 {
        let Some(asleep) = &mut self.asleep else { return 0 };
        asleep.expiry.note(next);
        if expired.is_empty() {
            return 0;
        }
        let removed = asleep.disk.retain(|row| {
            let is_expired = expired.binary_search(&row).is_ok();
            if is_expired {
                batch.end_row(session, row);
            }
            !is_expired
        });
        self.surface();
        removed
    }
}

#[cfg(test)]
mod tests;
