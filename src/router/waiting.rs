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
use crate::message::{BrokerTime, Delivery, OwnerId, RowId};
use crate::topic::QoS;

#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Delivery>,
    /// Of `queue` and `behind`.
    bytes: u64,
    /// QoS 1 and 2 messages in `queue`.
    acked: u32,
    disk: RowList,
    behind: VecDeque<Delivery>,
    /// Nothing in memory expires before this.
    earliest_expiry: Expiry,
    /// Nothing on disk expires before this.
    disk_expiry: Expiry,
}

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
        (self.queue.len() + self.behind.len()) as u64 + self.disk.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.disk.bytes()
    }

    /// QoS 1 and 2 messages that can be sent without a look at the disk.
    pub(super) fn acked(&self) -> u32 {
        self.acked
    }

    pub(super) fn on_disk(&self) -> u64 {
        self.disk.len()
    }

    /// The first row that waits on disk.
    pub(super) fn disk_front(&self) -> Option<RowId> {
        self.disk.front()
    }

    /// Whether a page is what the client can have next.
    pub(super) fn wants_page(&self) -> bool {
        self.queue.is_empty() && !self.disk.is_empty()
    }

    /// In memory, in order.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = &Delivery> {
        self.queue.iter().chain(&self.behind)
    }

    /// Puts a copy last. `parked`: nobody is there to take it, so what is stored need not be in memory.
    pub(super) fn push(&mut self, delivery: Delivery, parked: bool) {
        let is_own_row = delivery.row.is_stored() && delivery.group.is_none();
        if is_own_row && (parked || !self.disk.is_empty()) {
            self.disk_expiry.note(delivery.message.expires_at());
            self.disk.push_back(delivery.row, delivery.message.size() as u64);
            return;
        }
        self.bytes += delivery.message.size() as u64;
        self.earliest_expiry.note(delivery.message.expires_at());
        // What came from a group is not ordered with the session's own messages.
        if self.disk.is_empty() || delivery.group.is_some() {
            self.acked += u32::from(is_acked(&delivery));
            self.queue.push_back(delivery);
        } else {
            self.behind.push_back(delivery);
        }
    }

    /// At a start: a copy that waits on disk.
    pub(super) fn restore(&mut self, row: RowId, size: u64, expires_at: BrokerTime) {
        self.disk_expiry.note(expires_at);
        self.disk.push_back(row, size);
    }

    /// Nobody is there to take anything: what is stored leaves the memory.
    pub(super) fn park(&mut self) {
        if !self.queue.iter().any(|delivery| delivery.row.is_stored()) {
            return;
        }
        let later = std::mem::take(&mut self.disk);
        let queue = std::mem::take(&mut self.queue);
        self.acked = 0;
        let mut unstored = VecDeque::new();
        for delivery in queue {
            if delivery.row.is_stored() && delivery.group.is_none() {
                let size = delivery.message.size() as u64;
                self.bytes -= size;
                self.restore(delivery.row, size, delivery.message.expires_at());
            } else {
                unstored.push_back(delivery);
            }
        }
        later.iter().for_each(|(row, size)| self.disk.push_back(row, size));
        unstored.append(&mut self.behind);
        self.behind = unstored;
        self.surface();
    }

    /// With nothing on disk, what waits behind it is next.
    fn surface(&mut self) {
        if self.disk.is_empty() {
            self.disk_expiry = Expiry::default();
            self.acked += self.behind.iter().filter(|delivery| is_acked(delivery)).count() as u32;
            self.queue.append(&mut self.behind);
        }
    }

    /// Takes in what was read for the page that began at `front`. Returns how many copies turned out not to be there.
    pub(super) fn page_in(&mut self, front: RowId, rows: Vec<(RowId, Delivery)>) -> u64 {
        let mut rows: HashMap<RowId, Delivery> = rows.into_iter().collect();
        let mut lost = 0;
        // It begins where the list did: a front that is not in it is nowhere. (Dropped meanwhile, it is not the front.)
        if self.disk.front() == Some(front) && !rows.contains_key(&front) {
            self.disk.pop_front();
            lost += 1;
        }
        while let Some(delivery) = self.disk.front().and_then(|row| rows.remove(&row)) {
            self.disk.pop_front();
            self.bytes += delivery.message.size() as u64;
            self.acked += u32::from(is_acked(&delivery));
            self.earliest_expiry.note(delivery.message.expires_at());
            self.queue.push_back(delivery);
        }
        self.surface();
        lost
    }

    pub(super) fn oldest(&self) -> Option<Place> {
        if !self.queue.is_empty() {
            return Some(Place::Queue(0));
        }
        if !self.disk.is_empty() {
            return Some(Place::Disk);
        }
        (!self.behind.is_empty()).then_some(Place::Behind(0))
    }

    pub(super) fn oldest_qos0(&self) -> Option<Place> {
        if self.queue.len() > self.acked as usize {
            return self.queue.iter().position(|delivery| !is_acked(delivery)).map(Place::Queue);
        }
        self.behind.iter().position(|delivery| !is_acked(delivery)).map(Place::Behind)
    }

    /// Takes one out, for good.
    pub(super) fn remove(&mut self, place: Place, session: OwnerId, batch: &mut Batch) {
        let delivery = match place {
            Place::Queue(0) => self.queue.pop_front(),
            Place::Queue(index) => self.queue.remove(index),
            Place::Behind(index) => self.behind.remove(index),
            Place::Disk => {
                if let Some((row, _)) = self.disk.pop_front() {
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
        all.disk.iter().for_each(|(row, _)| batch.end_row(session, row));
        all.len()
    }

    /// Lets go of everything, as the session has ended: what was in memory, and how many others there were.
    pub(super) fn close(&mut self) -> (VecDeque<Delivery>, u64) {
        let mut all = std::mem::take(self);
        all.queue.append(&mut all.behind);
        (all.queue, all.disk.len())
    }

    /// Takes out of memory what is not wanted any more; returns how many.
    fn retain(&mut self, session: OwnerId, batch: &mut Batch, mut wanted: impl FnMut(&Delivery) -> bool) -> u64 {
        let before = self.queue.len() + self.behind.len();
        let mut bytes = 0;
        for queue in [&mut self.queue, &mut self.behind] {
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
        (before - self.queue.len() - self.behind.len()) as u64
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
        if self.queue.len() == self.acked as usize && self.behind.is_empty() {
            return 0;
        }
        self.retain(session, batch, is_acked)
    }

    /// Takes out copies of shared subscriptions.
    pub(super) fn take_shared(&mut self) -> Vec<Delivery> {
        if self.queue.iter().all(|delivery| delivery.group.is_none()) {
            return Vec::new();
        }
        let (shared, own): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(|delivery| delivery.group.is_some());
        self.queue = own.into();
        self.bytes -= shared.iter().map(|delivery| delivery.message.size() as u64).sum::<u64>();
        self.acked -= shared.iter().filter(|delivery| is_acked(delivery)).count() as u32;
        shared
    }

    /// Moves everything out at once if it is all in memory and within the bounds; how many of them are acknowledged.
    pub(super) fn take_all(&mut self, acked_max: u32, bytes_max: u64) -> Option<(VecDeque<Delivery>, u32)> {
        let fits = self.acked <= acked_max && self.bytes <= bytes_max && self.disk.is_empty();
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

    pub(super) fn is_queue_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether something on disk may have expired.
    pub(super) fn may_have_expired(&self, now: BrokerTime) -> bool {
        now >= self.disk_expiry.0 && !self.disk.is_empty()
    }

    /// Before the disk is searched: what comes meanwhile is noted anew.
    pub(super) fn begin_search(&mut self) {
        self.disk_expiry = Expiry::default();
    }

    /// Drops from disk what a search has found expired, `next` being the earliest expiry of what it left; returns how many.
    pub(super) fn end_search(
        &mut self,
        expired: &[RowId],
        next: BrokerTime,
        session: OwnerId,
        batch: &mut Batch,
    ) -> u64 {
        self.disk_expiry.note(next);
        if expired.is_empty() {
            return 0;
        }
        let removed = self.disk.retain(|row| {
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
