//! A lane: publishers, and the receivers that are due all that they send. It keeps the window, and who has got what.
//!
//! ```text
//! publishers ── take ──►  taken ────────────────────────►  goal = taken + batch − window
//! receivers  ◄────────────── received, each ──────────────┘  all have reached it: the window opens
//! ```
//!
//! The window bounds what is under way: messages that were taken, and that at least one receiver is still due. Whatever the
//! broker keeps for a receiver is within it; and since a message that is lost never leaves it, losses close it in the end. It
//! opens when a batch fits into it, by all that fits, which publishers take in equal shares and in turn: each wakes the next
//! one, and waits behind the others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

use super::seen::Seen;

/// The size of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSize {
    pub(super) publishers: usize,
    /// The members of a shared subscription are one receiver.
    pub(super) receivers: usize,
    /// Messages; `u64::MAX` for no window.
    pub(super) window: u64,
    /// Messages by which the window opens at least.
    pub(super) batch: u64,
}

pub(super) struct Lane {
    size: LaneSize,
    /// By publisher: the conductor and receivers read, the publisher alone writes.
    sent: Box<[AtomicU64]>,
    /// By receiver: which messages of each publisher it has got.
    ledgers: Box<[Mutex<Vec<Seen>>]>,
    state: Mutex<State>,
}

struct State {
    is_open: bool,
    /// Messages that publishers have taken.
    taken: u64,
    /// Messages of an open window that they have not ...
    granted: u64,
    /// ... and how many of them each takes in its turn.
    share: u64,
    /// By receiver.
    received: Vec<u64>,
    /// When all receivers have got so many, the window opens ...
    goal: u64,
    /// ... and so many have not.
    behind: usize,
    waiting: Waiting,
}

/// Publishers that wait for the window, in order, each once.
struct Waiting {
    queue: VecDeque<usize>,
    /// By publisher. Without a waker it does not wait any more, though its place in the queue may still be there.
    wakers: Vec<Option<Waker>>,
    is_queued: Vec<bool>,
    /// The one that was woken and has not taken anything since: the others wait for it.
    turn: Option<usize>,
}

impl Lane {
    /// Closed until [`Lane::open`].
    pub(super) fn new(size: LaneSize) -> Lane {
        let batch = size.batch.clamp(1, size.window.max(1));
        Lane {
            size: LaneSize { batch, ..size },
            sent: (0..size.publishers).map(|_| AtomicU64::new(0)).collect(),
            ledgers: (0..size.receivers).map(|_| Mutex::new(vec![Seen::default(); size.publishers])).collect(),
            state: Mutex::new(State {
                is_open: false,
                taken: 0,
                granted: 0,
                share: 0,
                received: vec![0; size.receivers],
                goal: 0,
                behind: 0,
                waiting: Waiting::new(size.publishers),
            }),
        }
    }

    /// Publishers begin.
    pub(super) fn open(&self) {
        let mut state = self.state.lock();
        state.is_open = true;
        state.waiting.wake_one();
    }

    /// Publishers send nothing more.
    pub(super) fn close(&self) {
        self.state.lock().is_open = false;
    }

    /// How many messages a publisher that could send up to `max` may send now; it has to send them.
    pub(super) fn poll_take(&self, publisher: usize, max: u64, cx: &Context<'_>) -> Poll<u64> {
        let mut state = self.state.lock();
        let is_turn = state.waiting.is_turn_of(publisher);
        if !state.is_open || !is_turn || !state.is_window_open(&self.size) {
            state.waiting.put(publisher, cx.waker());
            return Poll::Pending;
        }
        let taken = max.min(state.share).min(state.granted);
        state.granted -= taken;
        state.taken += taken;
        state.waiting.remove(publisher);
        if state.is_window_open(&self.size) {
            state.waiting.wake_one();
        }
        Poll::Ready(taken)
    }

    /// A publisher sends so many more; before they leave.
    pub(super) fn on_sent(&self, publisher: usize, n: u64) {
        self.sent[publisher].fetch_add(n, Relaxed);
    }

    pub(super) fn sent_by(&self, publisher: usize) -> u64 {
        self.sent[publisher].load(Relaxed)
    }

    /// What a receiver has got; whoever reads from the broker writes it.
    pub(super) fn ledger(&self, receiver: usize) -> MutexGuard<'_, Vec<Seen>> {
        self.ledgers[receiver].lock()
    }

    /// A receiver has got so many more.
    pub(super) fn on_received(&self, receiver: usize, n: u64) {
        let mut state = self.state.lock();
        let before = state.received[receiver];
        state.received[receiver] = before + n;
        if before < state.goal && before + n >= state.goal {
            state.behind -= 1;
            if state.behind == 0 {
                state.waiting.wake_one();
            }
        }
    }

    /// Deliveries that are due, and those that have come.
    pub(super) fn due_and_received(&self) -> (u64, u64) {
        let sent: u64 = self.sent.iter().map(|sent| sent.load(Relaxed)).sum();
        (sent * self.ledgers.len() as u64, self.received().iter().sum())
    }

    /// By receiver.
    pub(super) fn received(&self) -> Vec<u64> {
        self.state.lock().received.clone()
    }
}

impl State {
    /// Whether there is something to take; opens the window if it can be.
    fn is_window_open(&mut self, size: &LaneSize) -> bool {
        if self.granted > 0 {
            return true;
        }
        let goal = (self.taken + size.batch).saturating_sub(size.window);
        if goal != self.goal {
            self.goal = goal;
            self.behind = self.received.iter().filter(|received| **received < goal).count();
        }
        if self.behind > 0 {
            return false;
        }
        let slowest = self.received.iter().copied().min().unwrap_or(self.taken);
        self.granted = slowest.saturating_add(size.window) - self.taken;
        self.share = self.granted.div_ceil(size.publishers.max(1) as u64);
        true
    }
}

impl Waiting {
    fn new(publishers: usize) -> Waiting {
        Waiting {
            queue: VecDeque::new(),
            wakers: vec![None; publishers],
            is_queued: vec![false; publishers],
            turn: None,
        }
    }

    fn put(&mut self, publisher: usize, waker: &Waker) {
        self.wakers[publisher] = Some(waker.clone());
        if !std::mem::replace(&mut self.is_queued[publisher], true) {
            self.queue.push_back(publisher);
        }
    }

    fn is_turn_of(&self, publisher: usize) -> bool {
        self.turn.is_none_or(|turn| turn == publisher)
    }

    /// It has taken its share.
    fn remove(&mut self, publisher: usize) {
        self.wakers[publisher] = None;
        self.turn = None;
    }

    fn wake_one(&mut self) {
        while let Some(publisher) = self.queue.pop_front() {
            self.is_queued[publisher] = false;
            if let Some(waker) = self.wakers[publisher].take() {
                self.turn = Some(publisher);
                waker.wake();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct CountsWakes(AtomicUsize);

    impl Wake for CountsWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A lane, with a way to try each of its publishers that counts how often it is woken.
    struct Check {
        lane: Lane,
        wakes: Vec<Arc<CountsWakes>>,
    }

    impl Check {
        fn new(publishers: usize, receivers: usize, window: u64, batch: u64) -> Check {
            let lane = Lane::new(LaneSize { publishers, receivers, window, batch });
            let check = Check { lane, wakes: (0..publishers).map(|_| Arc::default()).collect() };
            assert_eq!(check.take(0, 1), None, "the lane is closed");
            check.lane.open();
            check
        }

        fn take(&self, publisher: usize, max: u64) -> Option<u64> {
            let waker = Waker::from(Arc::clone(&self.wakes[publisher]));
            match self.lane.poll_take(publisher, max, &Context::from_waker(&waker)) {
                Poll::Ready(n) => Some(n),
                Poll::Pending => None,
            }
        }

        fn woken(&self) -> Vec<usize> {
            self.wakes.iter().map(|wakes| wakes.0.swap(0, Relaxed)).collect()
        }
    }

    #[test]
    fn the_slowest_receiver_opens_the_window_when_a_batch_fits() {
        let check = Check::new(1, 2, 10, 4);
        assert_eq!(
            (check.woken(), check.take(0, 7), check.take(0, 9), check.take(0, 9)),
            (vec![1], Some(7), Some(3), None)
        );
        check.lane.on_received(0, 8);
        check.lane.on_received(1, 3);
        assert_eq!((check.take(0, 100), check.woken()), (None, vec![0]));
        check.lane.on_received(1, 2);
        assert_eq!((check.woken(), check.take(0, 100), check.take(0, 100)), (vec![1], Some(5), None));
    }

    #[test]
    fn publishers_share_what_fits_and_wake_each_other() {
        let check = Check::new(3, 1, 6, 6);
        assert_eq!(
            (check.take(0, 9), check.woken(), check.take(1, 9), check.take(2, 1)),
            (Some(2), vec![1, 0, 0], Some(2), Some(1))
        );
        assert_eq!(
            (check.take(0, 9), check.take(0, 9), check.take(1, 9), check.take(2, 9)),
            (Some(1), None, None, None)
        );
        // Whoever asks again while it waits is woken once, and has its turn before those behind it.
        assert_eq!(check.take(0, 9), None);
        check.lane.on_received(0, 6);
        assert_eq!((check.woken(), check.take(1, 9), check.take(0, 9)), (vec![1, 0, 0], None, Some(2)));
        // Then it waits behind them.
        assert_eq!((check.woken(), check.take(0, 9), check.take(1, 9)), (vec![0, 1, 0], None, Some(2)));
        assert_eq!((check.woken(), check.take(1, 9), check.take(2, 9)), (vec![0, 0, 1], None, Some(2)));
        assert_eq!((check.woken(), check.take(0, 9)), (vec![0, 0, 0], None));
    }

    #[test]
    fn one_that_is_not_there_when_its_turn_comes_does_not_come_twice() {
        let check = Check::new(2, 1, 4, 4);
        assert_eq!(
            (check.take(0, 9), check.woken(), check.take(0, 9), check.take(0, 9)),
            (Some(2), vec![1, 0], Some(2), None)
        );
        assert_eq!(check.take(1, 9), None);
        check.lane.on_received(0, 4);
        assert_eq!((check.woken(), check.take(0, 1), check.woken()), (vec![1, 0], Some(1), vec![0, 1]));
        assert_eq!(
            (check.take(1, 9), check.woken(), check.take(1, 9), check.take(1, 9)),
            (Some(2), vec![0, 0], Some(1), None)
        );
    }

    #[test]
    fn without_a_window_or_receivers_all_may_be_taken() {
        for (receivers, window) in [(0, u64::MAX), (0, 100), (2, u64::MAX)] {
            let check = Check::new(1, receivers, window, window / 4);
            (0..9).for_each(|_| assert!(check.take(0, 90).is_some_and(|n| n > 0)));
            check.lane.close();
            assert_eq!(check.take(0, 1), None);
        }
    }

    #[test]
    fn every_receiver_is_due_what_all_publishers_have_sent() {
        let check = Check::new(2, 3, 100, 10);
        check.lane.on_sent(0, 4);
        check.lane.on_sent(1, 1);
        check.lane.on_received(2, 5);
        assert_eq!((check.lane.due_and_received(), check.lane.received()), ((15, 5), vec![0, 0, 5]));
    }
}
