//! A store whose disk the test is: what is safe, and when, and what goes wrong.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use midge::message::BrokerTime;
use midge::store::memory::MemoryStore;
use midge::store::{
    AppendError, Appended, Change, Durability, Health, Lost, OwnerId, Page, RowId, Store, StoreStatus, Ticket,
    WaitingRow,
};
use tokio::sync::Notify;

/// A store in memory behind a gate: while it is closed nothing becomes safe.
#[derive(Default)]
pub struct Gate {
    inner: Mutex<Inner>,
    appended: Notify,
}

#[derive(Default)]
struct Inner {
    /// Everything that was taken.
    taken: MemoryStore,
    /// What is safe: a loss of power leaves this.
    safe: MemoryStore,
    /// What is taken and not safe: its last record, and the batch.
    pending: VecDeque<(u64, Vec<Change>)>,
    safe_up_to: u64,
    is_closed: bool,
    is_busy: bool,
    /// After so many messages too much waits.
    busy_after: Option<u32>,
    /// Messages that will find it busy all the same.
    surprises: u32,
    health: Health,
    /// Records from here on to there are lost.
    lost: Vec<(u64, u64)>,
    /// How many more batches are taken before what waits is lost.
    lost_after: Option<u32>,
    wakers: Vec<Waker>,
}

impl Inner {
    fn let_through(&mut self, up_to: u64) {
        while let Some((last, batch)) = self.pending.pop_front_if(|(last, _)| *last <= up_to) {
            self.safe.append(&batch, Durability::Fsync).expect("memory takes everything");
            self.safe_up_to = last;
        }
        self.wake();
    }

    fn lose(&mut self) {
        let (first, last) = (self.safe_up_to + 1, self.taken.status().appended);
        self.pending.clear();
        // The numbers of what comes later stay as they are.
        let gap = vec![Change::Time(BrokerTime::default()); (last + 1 - first) as usize];
        self.safe.append(&gap, Durability::Fsync).expect("memory takes everything");
        self.safe_up_to = last;
        self.lost.push((first, last));
        self.wake();
    }

    /// Before a batch is taken.
    fn lose_in_time(&mut self) {
        match self.lost_after.take() {
            Some(0) => self.lose(),
            after => self.lost_after = after.map(|batches| batches - 1),
        }
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// What is taken by a store that is full: what frees space, and the state of sessions that are there.
fn is_taken_when_full(change: &Change) -> bool {
    !matches!(
        change,
        Change::Message(_) | Change::PutSubscription { .. } | Change::PutGroup { .. } | Change::Received { .. }
    )
}

impl Gate {
    /// A store that begins with what another one has left.
    pub fn over(image: MemoryStore) -> Gate {
        let safe_up_to = image.status().appended;
        let inner = Inner { taken: image.image(), safe: image, safe_up_to, ..Inner::default() };
        Gate { inner: Mutex::new(inner), appended: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics in here")
    }

    /// What a process that is killed leaves: the system has everything it was given.
    pub fn after_kill(&self) -> MemoryStore {
        self.lock().taken.image()
    }

    /// What a loss of power leaves.
    pub fn after_power_loss(&self) -> MemoryStore {
        self.lock().safe.image()
    }

    /// Nothing becomes safe any more.
    pub fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Everything is safe, and so is what comes.
    pub fn open(&self) {
        let mut inner = self.lock();
        inner.is_closed = false;
        inner.let_through(u64::MAX);
    }

    /// Makes the oldest batch safe.
    pub fn let_one_through(&self) {
        let mut inner = self.lock();
        let up_to = inner.pending.front().expect("a batch that waits").0;
        inner.let_through(up_to);
    }

    /// What waits at the gate will never be safe.
    pub fn lose(&self) {
        self.lock().lose();
    }

    /// The same when so many more batches have been taken, and before the one behind them is.
    pub fn lose_after(&self, batches: u32) {
        self.lock().lost_after = Some(batches);
    }

    pub fn set_health(&self, health: Health) {
        let mut inner = self.lock();
        inner.health = health;
        inner.wake();
    }

    /// Whether too much waits for the disk.
    pub fn set_busy(&self, is_busy: bool) {
        let mut inner = self.lock();
        inner.is_busy = is_busy;
        inner.wake();
    }

    /// Too much waits for the disk when it has taken so many messages.
    pub fn be_busy_after(&self, messages: u32) {
        self.lock().busy_after = Some(messages);
    }

    /// It has become so when the next messages come, so many of them, and no longer is when it is asked.
    pub fn surprise(&self, messages: u32) {
        self.lock().surprises = messages;
    }

    /// How many batches wait at the gate.
    pub fn waiting(&self) -> usize {
        self.lock().pending.len()
    }

    /// Copies that wait or are in flight, in all that was taken.
    pub fn rows(&self) -> u64 {
        self.lock().taken.status().rows
    }

    /// Returns when the store has become what the test waits for.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&MemoryStore) -> bool) {
        let waiting = async {
            loop {
                let appended = self.appended.notified();
                if is_so(&self.lock().taken) {
                    return;
                }
                appended.await;
            }
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, waiting).await.unwrap_or_else(|_| panic!("the store never had {what}"));
    }

    /// Returns when that many batches wait at the gate.
    pub async fn until_waiting(&self, batches: usize) {
        let waiting = async {
            loop {
                let appended = self.appended.notified();
                if self.waiting() >= batches {
                    return;
                }
                appended.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("batches that wait at the gate");
    }
}

impl Store for Gate {
    fn append(&self, changes: &[Change], durability: Durability) -> Result<Appended, AppendError> {
        let mut inner = self.lock();
        let is_message = changes.iter().any(|change| matches!(change, Change::Message(_)));
        match &inner.health {
            Health::Failed(why) => return Err(AppendError::Failed(why.clone())),
            Health::Full(why) if !changes.iter().all(is_taken_when_full) => {
                return Err(AppendError::Full(why.clone()));
            }
            _ if inner.is_busy && is_message => return Err(AppendError::Busy),
            _ if inner.surprises > 0 && is_message => {
                inner.surprises -= 1;
                return Err(AppendError::Busy);
            }
            _ => {}
        }
        if is_message && let Some(left) = &mut inner.busy_after {
            *left -= 1;
            let is_reached = *left == 0;
            inner.is_busy = is_reached;
            inner.busy_after.take_if(|_| is_reached);
        }
        inner.lose_in_time();
        let appended = inner.taken.append(changes, durability)?;
        let last = inner.taken.status().appended;
        inner.pending.push_back((last, changes.to_vec()));
        if !inner.is_closed {
            inner.let_through(last);
        }
        drop(inner);
        self.appended.notify_waiters();
        Ok(appended)
    }

    fn poll_safe(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), Lost>> {
        let mut inner = self.lock();
        if inner.lost.iter().any(|(first, last)| (first..=last).contains(&&ticket.record)) {
            return Poll::Ready(Err(Lost("the disk did not keep it".into())));
        }
        if matches!(inner.health, Health::Failed(_)) && ticket.record > inner.safe_up_to {
            return Poll::Ready(Err(Lost("the disk is broken".into())));
        }
        if ticket.durability == Durability::Memory || ticket.record <= inner.safe_up_to {
            return Poll::Ready(Ok(()));
        }
        inner.wakers.push(waker.clone());
        Poll::Pending
    }

    fn poll_ready(&self, waker: &Waker) -> Poll<()> {
        let mut inner = self.lock();
        if !inner.is_busy {
            return Poll::Ready(());
        }
        inner.wakers.push(waker.clone());
        Poll::Pending
    }

    fn read_page(&self, owner: OwnerId, after: RowId, rows_max: usize, bytes_max: usize) -> Result<Page, Lost> {
        self.lock().taken.read_page(owner, after, rows_max, bytes_max)
    }

    fn read_rows(&self, owner: OwnerId, after: RowId, rows_max: usize) -> Result<Vec<WaitingRow>, Lost> {
        self.lock().taken.read_rows(owner, after, rows_max)
    }

    fn status(&self) -> StoreStatus {
        let inner = self.lock();
        StoreStatus { health: inner.health.clone(), synced: inner.safe_up_to, ..inner.taken.status() }
    }

    fn close(&self) {}
}
