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
use crate::message::{BrokerTime, Delivery, GroupId, OwnerId, RowId};
use crate::topic::QoS;

#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Delivery>,
    /// Of `queue` and `behind`.
    bytes: u64,
    /// Nothing in memory expires before this.
    earliest_expiry: Expiry,
    /// QoS 1 and 2 messages in `queue`.
    acked: u32,
    /// There while something waits on disk: most sessions are awake.
    asleep: Option<Box<Asleep>>,
}

#[derive(Default)]
struct Asleep {
    disk: RowList,
    behind: VecDeque<Delivery>,
    /// Nothing on disk expires before this.
    expiry: Expiry,
}

impl Asleep {
    fn push(&mut self, row: RowId, size: u64, expires_at: BrokerTime) {
        self.expiry.note(expires_at);
        self.disk.push_back(row, size);
    }
}

/// A write costs as much as some tens of small messages.
const GATHER_BELOW: usize = 16;
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

fn is_acked(delivery: &Delivery) -> bool {
    delivery.qos != QoS::AtMostOnce
}

impl Waiting {
    pub(super) fn len(&self) -> u64 {
        (self.queue.len() + self.behind().len()) as u64 + self.on_disk()
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

    fn behind(&self) -> &VecDeque<Delivery> {
        const NONE: &VecDeque<Delivery> = &VecDeque::new();
        self.asleep.as_ref().map_or(NONE, |asleep| &asleep.behind)
    }

    /// Whether a page is what the client can have next.
    pub(super) fn wants_page(&self) -> bool {
        self.queue.is_empty() && self.asleep.is_some()
    }

    /// In memory, in order.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = &Delivery> {
        self.queue.iter().chain(self.behind())
    }

    /// Puts a copy last. `parked`: nobody is there to take it, so what is stored need not be in memory.
    pub(super) fn push(&mut self, delivery: Delivery, parked: bool) {
        let is_own_row = delivery.row.is_stored() && delivery.group.is_none();
        if is_own_row && (parked || self.asleep.is_some()) {
            return self.restore(delivery.row, delivery.message.size() as u64, delivery.message.expires_at());
        }
        self.bytes += delivery.message.size() as u64;
        self.earliest_expiry.note(delivery.message.expires_at());
        // What came from a group is not ordered with the session's own messages.
        match &mut self.asleep {
            Some(asleep) if delivery.group.is_none() => asleep.behind.push_back(delivery),
            _ => {
                self.acked += u32::from(is_acked(&delivery));
                self.queue.push_back(delivery);
            }
        }
    }

    /// Puts copies of QoS 0 last, `bytes` in all, for somebody who is there.
    pub(super) fn push_run(&mut self, copies: impl ExactSizeIterator<Item = Delivery>, bytes: u64) {
        self.bytes += bytes;
        let earliest = &mut self.earliest_expiry;
        let copies = copies.inspect(|copy| earliest.note(copy.message.expires_at()));
        match &mut self.asleep {
            Some(asleep) => asleep.behind.extend(copies),
            None => self.queue.extend(copies),
        }
    }

    /// A copy that waits on disk.
    pub(super) fn restore(&mut self, row: RowId, size: u64, expires_at: BrokerTime) {
        self.asleep.get_or_insert_default().push(row, size, expires_at);
    }

    /// Nobody is there to take anything: what is stored leaves the memory.
    pub(super) fn park(&mut self) {
        if !self.queue.iter().any(|delivery| delivery.row.is_stored()) {
            return;
        }
        let later = self.asleep.take().unwrap_or_default();
        let mut now = Asleep { expiry: later.expiry, ..Asleep::default() };
        self.acked = 0;
        for delivery in std::mem::take(&mut self.queue) {
            if delivery.row.is_stored() && delivery.group.is_none() {
                let size = delivery.message.size() as u64;
                self.bytes -= size;
                now.push(delivery.row, size, delivery.message.expires_at());
            } else {
                now.behind.push_back(delivery);
            }
        }
        later.disk.iter().for_each(|(row, size)| now.disk.push_back(row, size));
        now.behind.extend(later.behind);
        self.asleep = Some(Box::new(now));
        self.surface();
    }

    /// With nothing on disk, what waits behind it is next.
    fn surface(&mut self) {
        if let Some(asleep) = self.asleep.take_if(|asleep| asleep.disk.is_empty()) {
            self.acked += asleep.behind.iter().filter(|delivery| is_acked(delivery)).count() as u32;
            self.queue.extend(asleep.behind);
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
            self.bytes += delivery.message.size() as u64;
            self.acked += u32::from(is_acked(&delivery));
            self.earliest_expiry.note(delivery.message.expires_at());
            self.queue.push_back(delivery);
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
        if self.queue.len() > self.acked as usize {
            return self.queue.iter().position(|delivery| !is_acked(delivery)).map(Place::Queue);
        }
        self.behind().iter().position(|delivery| !is_acked(delivery)).map(Place::Behind)
    }

    /// Takes one out, for good.
    pub(super) fn remove(&mut self, place: Place, session: OwnerId, batch: &mut Batch) {
        let delivery = match place {
            Place::Queue(0) => self.queue.pop_front(),
            Place::Queue(index) => self.queue.remove(index),
            Place::Behind(index) => self.asleep.as_mut().and_then(|asleep| asleep.behind.remove(index)),
            Place::Disk => {
                if let Some(row) = self.pop_disk() {
                    batch.end_row(session, row);
                }
                return self.surface();
            }
        };
        let Some(delivery) = delivery else { return };
        self.bytes -= delivery.message.size() as u64;
        self.acked -= u32::from(matches!(place, Place::Queue(_)) && is_acked(&delivery));
        batch.end_row(owner_of(&delivery, session), delivery.row);
    }

    /// Takes out everything for good; returns how many that were.
    pub(super) fn purge(&mut self, session: OwnerId, batch: &mut Batch) -> u64 {
        let all = std::mem::take(self);
        all.in_memory().for_each(|delivery| batch.end_row(owner_of(delivery, session), delivery.row));
        let on_disk = all.asleep.iter().flat_map(|asleep| asleep.disk.iter());
        on_disk.for_each(|(row, _)| batch.end_row(session, row));
        all.len()
    }

    /// Lets go of everything, as the session has ended: what was in memory, and how many others there were.
    pub(super) fn close(&mut self) -> (VecDeque<Delivery>, u64) {
        let mut all = std::mem::take(self);
        let asleep = all.asleep.take().unwrap_or_default();
        all.queue.extend(asleep.behind);
        (all.queue, asleep.disk.len())
    }

    /// Takes out of memory what is not wanted any more; returns how many.
    fn retain(&mut self, session: OwnerId, batch: &mut Batch, mut wanted: impl FnMut(&Delivery) -> bool) -> u64 {
        let before = self.queue.len() + self.behind().len();
        let mut bytes = 0;
        let behind = self.asleep.as_mut().map(|asleep| &mut asleep.behind);
        for queue in [&mut self.queue].into_iter().chain(behind) {
            queue.retain(|delivery| {
                let wanted = wanted(delivery);
                if wanted {
                    bytes += delivery.message.size() as u64;
                } else {
                    batch.end_row(owner_of(delivery, session), delivery.row);
                }
                wanted
            });
        }
        self.bytes = bytes;
        self.acked = self.queue.iter().filter(|delivery| is_acked(delivery)).count() as u32;
        (before - self.queue.len() - self.behind().len()) as u64
    }

    /// Drops from memory what has expired; returns how many.
    pub(super) fn drop_expired(&mut self, now: BrokerTime, session: OwnerId, batch: &mut Batch) -> u64 {
        if now < self.earliest_expiry.0 {
            return 0;
        }
        let mut earliest = Expiry::default();
        let expired = self.retain(session, batch, |delivery| {
            let is_expired = delivery.message.is_expired(now);
            if !is_expired {
                earliest.note(delivery.message.expires_at());
            }
            !is_expired
        });
        self.earliest_expiry = earliest;
        expired
    }

    /// Drops QoS 0; returns how many.
    pub(super) fn drop_qos0(&mut self, session: OwnerId, batch: &mut Batch) -> u64 {
        if self.queue.len() == self.acked as usize && self.behind().is_empty() {
            return 0;
        }
        self.retain(session, batch, is_acked)
    }

    /// Takes out copies of shared subscriptions, those of some groups.
    pub(super) fn take_shared(&mut self, of: impl Fn(GroupId) -> bool) -> Vec<Delivery> {
        let is_wanted = |delivery: &Delivery| delivery.group.is_some_and(&of);
        if !self.queue.iter().any(is_wanted) {
            return Vec::new();
        }
        let (shared, own): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue).into_iter().partition(is_wanted);
        self.queue = own.into();
        self.bytes -= shared.iter().map(|delivery| delivery.message.size() as u64).sum::<u64>();
        self.acked -= shared.iter().filter(|delivery| is_acked(delivery)).count() as u32;
        shared
    }

    /// Moves everything out at once if it is all in memory and within the bounds; how many of them are acknowledged.
    pub(super) fn take_all(&mut self, acked_max: u32, bytes_max: u64) -> Option<(VecDeque<Delivery>, u32)> {
        let fits = self.acked <= acked_max && self.bytes <= bytes_max && self.asleep.is_none();
        if !fits || self.queue.is_empty() {
            return None;
        }
        self.bytes = 0;
        Some((std::mem::take(&mut self.queue), std::mem::take(&mut self.acked)))
    }

    /// The first in memory, if it is one that needs no acknowledgement or `acked` are allowed.
    pub(super) fn take_first(&mut self, acked: bool) -> Option<Delivery> {
        let delivery = self.queue.pop_front_if(|delivery| acked || !is_acked(delivery))?;
        self.bytes -= delivery.message.size() as u64;
        self.acked -= u32::from(is_acked(&delivery));
        Some(delivery)
    }

    /// So few that a write for them alone costs more than they do.
    pub(super) fn is_worth_gathering(&self) -> bool {
        (1..GATHER_BELOW).contains(&self.queue.len()) && self.bytes < GATHER_BYTES_BELOW
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
