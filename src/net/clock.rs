//! Broker time for the tasks that wait: the monotonic clock, or one that a test moves by hand.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::message::BrokerTime;

/// Tells broker time. Clones tell the same.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Monotonic { start: Instant, base: BrokerTime },
    Manual(Arc<Mutex<Manual>>),
}

struct Manual {
    now: BrokerTime,
    sleepers: Vec<(BrokerTime, Waker)>,
}

impl Clock {
    /// Runs from now on, as fast as time does.
    pub fn monotonic() -> Self {
        Clock::monotonic_from(BrokerTime::default())
    }

    /// The same from a time on: broker time goes on where it ended before a restart, whatever the wall clock shows.
    pub fn monotonic_from(base: BrokerTime) -> Self {
        Clock(Source::Monotonic { start: Instant::now(), base })
    }

    /// Stands still but for [`Clock::advance`].
    pub fn manual() -> Self {
        Clock::manual_from(BrokerTime::default())
    }

    /// The same from a time on.
    pub fn manual_from(now: BrokerTime) -> Self {
        Clock(Source::Manual(Arc::new(Mutex::new(Manual { now, sleepers: Vec::new() }))))
    }

    pub fn now(&self) -> BrokerTime {
        match &self.0 {
            Source::Monotonic { start, base } => base.after(start.elapsed()),
            Source::Manual(manual) => manual.lock().now,
        }
    }

    /// When the wall clock next shows a multiple of `interval`; a manual clock is its own wall clock.
    pub(crate) fn next_multiple_of(&self, interval: Duration) -> BrokerTime {
        let now = self.now();
        let wall = match &self.0 {
            Source::Monotonic { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
            Source::Manual(_) => u128::from(now.as_millis()),
        };
        let interval = interval.as_millis().max(1);
        now.after(Duration::from_millis((interval - wall % interval) as u64))
    }

    /// Moves a manual clock and wakes whoever waited for what has come; does nothing to a real one.
    pub fn advance(&self, by: Duration) {
        let Source::Manual(manual) = &self.0 else { return };
        let mut manual = manual.lock();
        let now = manual.now.after(by);
        manual.now = now;
        let due: Vec<_> = manual.sleepers.extract_if(.., |(at, _)| *at <= now).collect();
        drop(manual);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// Wakes one task at a time that may be moved; cheap to move later.
#[derive(Default)]
pub(crate) struct Alarm {
    /// What the timer is set to, and the timer of a real clock.
    set: Option<(BrokerTime, Option<Pin<Box<tokio::time::Sleep>>>)>,
}

/// Longer waits are cut into pieces: timers have their limits.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

impl Alarm {
    /// Ready when `at` has come; else the task is woken then, or somewhat earlier.
    pub(crate) fn poll(&mut self, clock: &Clock, at: BrokerTime, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock.now();
        if now >= at {
            return Poll::Ready(());
        }
        if at == BrokerTime::NEVER {
            return Poll::Pending;
        }
        loop {
            match &mut self.set {
                // Set early enough: let it ring, then look again.
                Some((set, timer)) if *set <= at && *set > now => match timer {
                    Some(timer) => match timer.as_mut().poll(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(()) => self.set = None,
                    },
                    None => {
                        if clock.register(*set, cx) {
                            return Poll::Pending;
                        }
                        self.set = None;
                    }
                },
                _ => self.set = Some((at, clock.timer(at.since(now)))),
            }
            if clock.now() >= at {
                return Poll::Ready(());
            }
        }
    }
}

impl Clock {
    fn timer(&self, wait: Duration) -> Option<Pin<Box<tokio::time::Sleep>>> {
        match &self.0 {
            Source::Monotonic { .. } => Some(Box::pin(tokio::time::sleep(wait.min(WAIT_MAX)))),
            Source::Manual(_) => None,
        }
    }

    /// False when the time has come already.
    fn register(&self, at: BrokerTime, cx: &Context<'_>) -> bool {
        let Source::Manual(manual) = &self.0 else { return false };
        let mut manual = manual.lock();
        if manual.now >= at {
            return false;
        }
        manual.sleepers.retain(|(known, waker)| *known != at || !waker.will_wake(cx.waker()));
        manual.sleepers.push((at, cx.waker().clone()));
        true
    }
}

use std::future::Future;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_wakes_those_whose_time_has_come() {
        let clock = Clock::manual();
        let mut alarm = Alarm::default();
        let mut cx = Context::from_waker(Waker::noop());
        let at = BrokerTime::from_millis(1500);
        assert!(alarm.poll(&clock, at, &mut cx).is_pending());
        clock.advance(Duration::from_millis(1499));
        assert!(alarm.poll(&clock, at, &mut cx).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(alarm.poll(&clock, at, &mut cx).is_ready());
    }

    #[tokio::test]
    async fn a_real_alarm_rings_and_can_be_moved_earlier() {
        let clock = Clock::monotonic();
        let mut alarm = Alarm::default();
        let far = clock.now().after(Duration::from_secs(3600));
        let near = clock.now().after(Duration::from_millis(5));
        std::future::poll_fn(|cx| {
            if alarm.poll(&clock, far, cx).is_ready() {
                return Poll::Ready(());
            }
            alarm.poll(&clock, near, cx)
        })
        .await;
        assert!(clock.now() >= near && clock.now() < far);
    }
}
