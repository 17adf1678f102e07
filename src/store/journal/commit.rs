//! Between those who append and the writer: what waits for the disk, how far it has come, and who waits for that.
//!
//! One short mutex. Under it, bytes that are encoded already are copied to the end of a buffer and get their numbers;
//! nobody writes, reads or syncs while holding it.

use std::collections::BTreeMap;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::store::{AppendError, Appended, Durability, Health, Lost, RowId, Ticket};

/// Shared by callers and the writer.
pub(super) struct Commit {
    state: Mutex<State>,
    /// The writer waits here for work.
    work: Condvar,
    /// Whoever blocks until something is written waits here.
    progress: Condvar,
    pending_bytes_max: usize,
}

struct State {
    pending: Pending,
    /// The number of the next record.
    next: u64,
    /// Up to here everything is written, or lost; and synced.
    written: u64,
    synced: u64,
    /// Numbers that were given and whose records do not exist.
    lost: Vec<(u64, u64)>,
    lost_why: String,
    health: Health,
    is_closed: bool,
    /// Something is to be done that is no batch.
    is_called: bool,
    os_waiters: BTreeMap<u64, Vec<Waker>>,
    sync_waiters: BTreeMap<u64, Vec<Waker>>,
    ready_waiters: Vec<Waker>,
}

/// Batches that wait for the writer.
#[derive(Default)]
pub(super) struct Pending {
    pub bytes: Vec<u8>,
    pub batches: Vec<Batch>,
}

/// What may be answered to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchKind {
    /// Changes of state: they are few, and taken however much waits and however full the store is. Who may not come back,
    /// send and acknowledge cannot empty a queue.
    State,
    /// It waits when much waits before it, and is refused when the store is full.
    HasMessage,
}

/// One batch among those that wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    /// Where it ends in the bytes.
    pub end: usize,
    pub first: u64,
    pub count: u32,
    pub wants_sync: bool,
}

/// What is to be done next.
pub(super) struct Work {
    pub pending: Pending,
    /// Somebody waits for a sync.
    pub wants_sync: bool,
    pub is_closed: bool,
}

/// A batch beyond this is no batch: offsets within a frame have 32 bits.
const BATCH_BYTES_MAX: usize = 1 << 30;
/// Buffers that became larger are not kept.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

impl Commit {
    /// Everything before the record `next` is safe.
    pub(super) fn new(next: u64, pending_bytes_max: usize) -> Self {
        let state = State {
            pending: Pending::default(),
            next,
            written: next - 1,
            synced: next - 1,
            lost: Vec::new(),
            lost_why: String::new(),
            health: Health::Good,
            is_closed: false,
            is_called: false,
            os_waiters: BTreeMap::new(),
            sync_waiters: BTreeMap::new(),
            ready_waiters: Vec::new(),
        };
        Commit { state: Mutex::new(state), work: Condvar::new(), progress: Condvar::new(), pending_bytes_max }
    }

    pub(super) fn append(
        &self,
        bytes: &[u8],
        count: usize,
        durability: Durability,
        kind: BatchKind,
    ) -> Result<Appended, AppendError> {
        let mut state = self.state.lock();
        let first = state.next;
        if count == 0 {
            return Ok(Appended { ticket: Ticket { record: first - 1, durability }, first: RowId(first) });
        }
        match &state.health {
            Health::Failed(why) => return Err(AppendError::Failed(why.clone())),
            Health::Full(why) if kind == BatchKind::HasMessage => return Err(AppendError::Full(why.clone())),
            _ if state.is_closed => return Err(AppendError::Failed("the store is closed".into())),
            _ if bytes.len() > BATCH_BYTES_MAX => {
                return Err(AppendError::Full("more than a gigabyte at once cannot be stored".into()));
            }
            _ => {}
        }
        let can_wait = kind == BatchKind::HasMessage && !state.pending.batches.is_empty();
        if can_wait && state.pending.bytes.len() + bytes.len() > self.pending_bytes_max {
            return Err(AppendError::Busy);
        }
        state.next += count as u64;
        state.pending.bytes.extend_from_slice(bytes);
        let end = state.pending.bytes.len();
        let wants_sync = durability == Durability::Fsync;
        state.pending.batches.push(Batch { end, first, count: count as u32, wants_sync });
        let record = state.next - 1;
        // One who has work will look for more.
        if state.pending.batches.len() == 1 {
            self.work.notify_one();
        }
        Ok(Appended { ticket: Ticket { record, durability }, first: RowId(first) })
    }

    pub(super) fn poll_safe(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), Lost>> {
        if ticket.durability == Durability::Memory {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.state.lock();
        if let Some(answer) = state.answer(ticket) {
            return Poll::Ready(answer);
        }
        let is_fsync = ticket.durability == Durability::Fsync;
        let waiters = if is_fsync { &mut state.sync_waiters } else { &mut state.os_waiters };
        let wakers = waiters.entry(ticket.record).or_default();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        // A batch of class Os that somebody wants synced all the same.
        if is_fsync && state.written >= ticket.record && !state.is_called {
            state.is_called = true;
            self.work.notify_one();
        }
        Poll::Pending
    }

    pub(super) fn poll_ready(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.state.lock();
        if state.pending.bytes.len() < self.pending_bytes_max.div_ceil(2) || state.is_over() {
            return Poll::Ready(());
        }
        if !state.ready_waiters.iter().any(|known| known.will_wake(waker)) {
            state.ready_waiters.push(waker.clone());
        }
        Poll::Pending
    }

    /// Blocks until everything that was appended before is in the index, or never will be.
    pub(super) fn wait_written(&self) {
        let mut state = self.state.lock();
        let target = state.next - 1;
        while state.written < target && !state.is_over() {
            self.progress.wait(&mut state);
        }
    }

    /// Blocks the writer until there is something to do or `timeout` has passed.
    pub(super) fn wait_for_work(&self, timeout: Duration) {
        let mut state = self.state.lock();
        if state.pending.batches.is_empty() && !state.is_called && !state.is_closed {
            self.work.wait_for(&mut state, timeout);
        }
    }

    /// Takes all that waits, and gives an empty buffer to fill meanwhile.
    pub(super) fn take(&self, mut spare: Pending) -> Work {
        spare.batches.clear();
        spare.bytes.clear();
        if spare.bytes.capacity() > BUFFER_BYTES_KEPT {
            spare = Pending::default();
        }
        let mut state = self.state.lock();
        let pending = std::mem::replace(&mut state.pending, spare);
        state.is_called = false;
        let work = Work { pending, wants_sync: !state.sync_waiters.is_empty(), is_closed: state.is_closed };
        let ready = std::mem::take(&mut state.ready_waiters);
        drop(state);
        ready.into_iter().for_each(Waker::wake);
        work
    }

    /// Everything up to `record` is written, and in the index.
    pub(super) fn publish_written(&self, record: u64) {
        let mut state = self.state.lock();
        state.written = state.written.max(record);
        let woken = state.reached();
        self.progress.notify_all();
        wake(state, woken);
    }

    /// Everything up to `record` is synced.
    pub(super) fn publish_synced(&self, record: u64) {
        let mut state = self.state.lock();
        state.synced = state.synced.max(record);
        let woken = state.reached();
        wake(state, woken);
    }

    /// No space: what was given numbers from `first` on does not exist, and what waits depends on it. The store is full
    /// until [`Commit::set_full`] says that it no longer is. The last number that is lost.
    pub(super) fn lose_from(&self, first: u64, why: &str) -> u64 {
        let mut state = self.state.lock();
        let last = state.next - 1;
        state.pending = Pending::default();
        if first <= last {
            match state.lost.last_mut() {
                Some((_, end)) if *end + 1 == first => *end = last,
                _ => state.lost.push((first, last)),
            }
        }
        state.lost_why = why.to_owned();
        state.health = Health::Full(why.to_owned());
        state.written = last;
        let mut woken = state.all_waiters();
        woken.append(&mut state.ready_waiters);
        self.progress.notify_all();
        wake(state, woken);
        last
    }

    /// Nothing more is stored until a restart.
    pub(super) fn fail(&self, why: &str) {
        let mut state = self.state.lock();
        state.pending = Pending::default();
        state.health = Health::Failed(why.to_owned());
        let mut woken = state.all_waiters();
        woken.append(&mut state.ready_waiters);
        self.progress.notify_all();
        wake(state, woken);
    }

    /// Whether, and why, no messages are taken.
    pub(super) fn set_full(&self, why: Option<String>) {
        let mut state = self.state.lock();
        if !matches!(state.health, Health::Failed(_)) {
            state.health = why.map_or(Health::Good, Health::Full);
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        self.work.notify_one();
    }

    /// The writer is to look around, though nothing was appended.
    pub(super) fn call(&self) {
        self.state.lock().is_called = true;
        self.work.notify_one();
    }

    pub(super) fn health(&self) -> Health {
        self.state.lock().health.clone()
    }

    /// The last record that was appended, written, synced.
    pub(super) fn progress(&self) -> (u64, u64, u64) {
        let state = self.state.lock();
        (state.next - 1, state.written, state.synced)
    }
}

impl State {
    fn answer(&self, ticket: Ticket) -> Option<Result<(), Lost>> {
        let behind = self.lost.partition_point(|(_, last)| *last < ticket.record);
        if self.lost.get(behind).is_some_and(|(first, _)| *first <= ticket.record) {
            return Some(Err(Lost(self.lost_why.clone())));
        }
        let reached = if ticket.durability == Durability::Fsync { self.synced } else { self.written };
        match &self.health {
            _ if reached >= ticket.record => Some(Ok(())),
            Health::Failed(why) => Some(Err(Lost(why.clone()))),
            _ => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.health, Health::Failed(_))
    }

    /// Those whose tickets are safe now.
    fn reached(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        for (waiters, reached) in [(&mut self.os_waiters, self.written), (&mut self.sync_waiters, self.synced)] {
            let later = waiters.split_off(&(reached + 1));
            woken.extend(std::mem::replace(waiters, later).into_values().flatten());
        }
        woken
    }

    fn all_waiters(&mut self) -> Vec<Waker> {
        let waiters = [&mut self.os_waiters, &mut self.sync_waiters];
        waiters.into_iter().flat_map(std::mem::take).flat_map(|(_, wakers)| wakers).collect()
    }
}

/// Nobody is woken under the lock that he will want.
fn wake(state: MutexGuard<'_, State>, woken: Vec<Waker>) {
    drop(state);
    woken.into_iter().for_each(Waker::wake);
}
