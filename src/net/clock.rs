//! Broker time for the tasks that wait: the monotonic clock, or one that a test moves by hand.
//!
//! ```text
//! Alarm::poll ──► [ 10.3 s waker │ 10.7 s waker │ … ] ──ring, or advance──► wake
//! ```
//! Whoever waits is in one list, in order of time: a million idle connections have a deadline each, which a timer of the
//! runtime's own would make three times as large.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::message::BrokerTime;

/// Tells broker time. Clones tell the same.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Source,
    waiting: Mutex<Waiting>,
    /// For [`Clock::ring`]: somebody waits for an earlier time than all others.
    is_earlier: Notify,
}

enum Source {
    Monotonic {
        start: Instant,
        base: BrokerTime,
    },
    /// Milliseconds; moved under the lock of `waiting`.
    Manual(AtomicU64),
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<Key, Waker>,
    /// How many there were.
    count: u64,
}

/// A time, and a number that tells those of one millisecond apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(NonZeroU64);

/// Of the number. What is left for the time are five hundred years.
const NUMBER_BITS: u32 = 20;

impl Key {
    fn new(at: BrokerTime, number: u64) -> Self {
        let millis = at.as_millis().min(u64::MAX >> NUMBER_BITS);
        let number = number % (1 << NUMBER_BITS);
        Key(NonZeroU64::MIN.saturating_add(millis << NUMBER_BITS | number))
    }

    fn at(self) -> BrokerTime {
        BrokerTime::from_millis((self.0.get() - 1) >> NUMBER_BITS)
    }
}

impl Waiting {
    fn insert(&mut self, at: BrokerTime, waker: Waker) -> Key {
        self.count += 1;
        let mut key = Key::new(at, self.count);
        loop {
            match self.wakers.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(waker);
                    return key;
                }
                Entry::Occupied(_) => key = Key(key.0.saturating_add(1)),
            }
        }
    }

    fn first(&self) -> Option<Key> {
        self.wakers.keys().next().copied()
    }

    fn take_due(&mut self, now: BrokerTime) -> Vec<Waker> {
        let later = Key::new(now.after(Duration::from_millis(1)), 0);
        self.wakers.extract_if(..later, |_, _| true).map(|(_, waker)| waker).collect()
    }
}

/// Those who wait are woken as often as this, together, and so much too late at most.
const RING_EVERY: Duration = Duration::from_millis(100);

impl Clock {
    /// Runs from now on, as fast as time does. Nobody is woken but by [`Clock::ring`].
    pub fn monotonic() -> Self {
        Clock::monotonic_from(BrokerTime::default())
    }

    /// The same from a time on: broker time goes on where it ended before a restart, whatever the wall clock shows.
    pub fn monotonic_from(base: BrokerTime) -> Self {
        Clock::new(Source::Monotonic { start: Instant::now(), base })
    }

    /// Stands still but for [`Clock::advance`].
    pub fn manual() -> Self {
        Clock::manual_from(BrokerTime::default())
    }

    /// The same from a time on.
    pub fn manual_from(now: BrokerTime) -> Self {
        Clock::new(Source::Manual(AtomicU64::new(now.as_millis())))
    }

    fn new(source: Source) -> Self {
        Clock(Arc::new(Inner { source, waiting: Mutex::default(), is_earlier: Notify::new() }))
    }

    pub fn now(&self) -> BrokerTime {
        match &self.0.source {
            Source::Monotonic { start, base } => base.after(start.elapsed()),
            Source::Manual(now) => BrokerTime::from_millis(now.load(SeqCst)),
        }
    }

    /// When the wall clock next shows a multiple of `interval`; a manual clock is its own wall clock.
    pub(crate) fn next_multiple_of(&self, interval: Duration) -> BrokerTime {
        let now = self.now();
        let wall = match &self.0.source {
            Source::Monotonic { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
            Source::Manual(_) => u128::from(now.as_millis()),
        };
        let interval = interval.as_millis().max(1);
        now.after(Duration::from_millis((interval - wall % interval) as u64))
    }

    /// Moves a manual clock and wakes whoever waited for what has come; does nothing to a real one.
    pub fn advance(&self, by: Duration) {
        let Source::Manual(now) = &self.0.source else { return };
        let mut waiting = self.0.waiting.lock();
        now.store(self.now().after(by).as_millis(), SeqCst);
        let due = waiting.take_due(self.now());
        drop(waiting);
        due.into_iter().for_each(Waker::wake);
    }

    /// Wakes whoever's time has come, for ever; somebody has to run this for a real clock.
    pub async fn ring(self) {
        loop {
            let first = self.0.waiting.lock().first();
            let is_earlier = self.0.is_earlier.notified();
            let Some(first) = first else {
                is_earlier.await;
                continue;
            };
            let at = first.at().as_millis().next_multiple_of(RING_EVERY.as_millis() as u64);
            tokio::select! {
                () = tokio::time::sleep(BrokerTime::from_millis(at).since(self.now())) => {}
                () = is_earlier => {}
            }
            let due = self.0.waiting.lock().take_due(self.now());
            due.into_iter().for_each(Waker::wake);
        }
    }

    /// Wakes all who wait, whatever they wait for: the broker stops, and it is for them to see.
    pub(super) fn wake_all(&self) {
        self.0.waiting.lock().wakers.values().for_each(Waker::wake_by_ref);
    }
}

/// Wakes a task at a time that may be moved; cheap to move later. It is of the task that polls it first.
pub(crate) struct Alarm {
    clock: Clock,
    /// What it is set to.
    key: Option<Key>,
}

impl Alarm {
    pub(crate) fn new(clock: &Clock) -> Self {
        Alarm { clock: clock.clone(), key: None }
    }

    /// Ready when `at` has come; else the task is woken then, or somewhat earlier.
    pub(crate) fn poll(&mut self, at: BrokerTime, cx: &Context<'_>) -> Poll<()> {
        self.poll_as_of(self.clock.now(), at, cx)
    }

    /// The same without a look at the clock: it showed `now` in this poll of the task.
    pub(crate) fn poll_as_of(&mut self, now: BrokerTime, at: BrokerTime, cx: &Context<'_>) -> Poll<()> {
        if now >= at {
            return Poll::Ready(());
        }
        // Set early enough: let it ring, then look again.
        let is_set = self.key.is_some_and(|key| now < key.at() && key.at() <= at);
        if is_set || at == BrokerTime::NEVER { Poll::Pending } else { self.set(at, cx) }
    }

    /// Ready when the time has come meanwhile.
    fn set(&mut self, at: BrokerTime, cx: &Context<'_>) -> Poll<()> {
        let inner = &*self.clock.0;
        let mut waiting = inner.waiting.lock();
        if self.clock.now() >= at {
            return Poll::Ready(());
        }
        let replaced = self.key.take().and_then(|key| waiting.wakers.remove(&key));
        let key = waiting.insert(at, cx.waker().clone());
        let is_earlier = waiting.first() == Some(key);
        drop(waiting);
        drop(replaced);
        self.key = Some(key);
        if is_earlier {
            inner.is_earlier.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // Dropped when the lock is free again: it may be the last of a task.
            let _waker = self.clock.0.waiting.lock().wakers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn a_manual_clock_wakes_those_whose_time_has_come() {
        let clock = Clock::manual();
        let mut alarm = Alarm::new(&clock);
        let cx = Context::from_waker(Waker::noop());
        let at = BrokerTime::from_millis(1500);
        assert!(alarm.poll(at, &cx).is_pending());
        clock.advance(Duration::from_millis(1499));
        assert!(alarm.poll(at, &cx).is_pending());
        assert_eq!(clock.0.waiting.lock().wakers.len(), 1);
        clock.advance(Duration::from_millis(1));
        assert!(alarm.poll(at, &cx).is_ready());
        assert_eq!(clock.0.waiting.lock().wakers.len(), 0, "woken");
    }

    #[test]
    fn an_alarm_that_is_moved_or_dropped_leaves_nothing_behind() {
        let clock = Clock::manual();
        let cx = Context::from_waker(Waker::noop());
        let mut alarms: Vec<_> = (0..3).map(|_| Alarm::new(&clock)).collect();
        for at in [30, 20, 20, 25, 10] {
            alarms.iter_mut().for_each(|alarm| assert!(alarm.poll(BrokerTime::from_millis(at), &cx).is_pending()));
            assert_eq!(clock.0.waiting.lock().wakers.len(), 3);
        }
        drop(alarms);
        assert_eq!(clock.0.waiting.lock().wakers.len(), 0);
    }

    #[test]
    fn alarms_of_one_millisecond_are_told_apart_when_their_numbers_have_gone_round() {
        let mut waiting = Waiting::default();
        let at = BrokerTime::from_millis(7);
        let first = waiting.insert(at, Waker::noop().clone());
        waiting.count += (1 << NUMBER_BITS) - 1;
        let second = waiting.insert(at, Waker::noop().clone());
        assert!(first != second && first.at() == at && second.at() == at);
        assert_eq!(waiting.take_due(BrokerTime::from_millis(6)).len(), 0);
        assert_eq!(waiting.take_due(at).len(), 2);
    }

    #[tokio::test]
    async fn a_real_alarm_rings_and_can_be_moved_earlier() {
        let clock = Clock::monotonic();
        let mut alarm = Alarm::new(&clock);
        let far = clock.now().after(Duration::from_secs(3600));
        let near = clock.now().after(Duration::from_millis(5));
        let rings = poll_fn(|cx| {
            if alarm.poll(far, cx).is_ready() {
                return Poll::Ready(());
            }
            alarm.poll(near, cx)
        });
        tokio::select! {
            () = rings => {}
            () = clock.clone().ring() => {}
        }
        assert!(clock.now() >= near && clock.now() < far);
    }
}
