//! The open loop: a clock with so many ticks a second, each of them the turn of one publisher to send a message.
//!
//! A message is stamped with its tick, even if its publisher was held up and sends it long after: the time that it lost counts
//! as latency, and so does that of all messages behind it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::board::Board;
use super::precise_timer::PreciseTimer;

pub(super) struct Pace {
    /// Messages a second.
    rate: f64,
    /// Messages in all.
    total: u64,
    state: Mutex<State>,
}

struct State {
    /// Nanoseconds since the run began; of the first message.
    began: u64,
    /// Messages whose time has come.
    released: u64,
    /// By publisher.
    waiting: Vec<Option<Waker>>,
}

impl Pace {
    /// Nothing is due before [`Pace::keep`].
    pub(super) fn new(rate: f64, total: u64, publishers: usize) -> Pace {
        Pace { rate, total, state: Mutex::new(State { began: 0, released: 0, waiting: vec![None; publishers] }) }
    }

    /// When the `number`th message of a publisher is due.
    pub(super) fn due(&self, publisher: usize, number: u64) -> u64 {
        let state = self.state.lock();
        self.due_after(state.began, number * state.waiting.len() as u64 + publisher as u64)
    }

    fn due_after(&self, began: u64, message: u64) -> u64 {
        began + (message as f64 / self.rate * 1e9) as u64
    }

    /// How many of its messages a publisher that has sent `sent` may send now.
    pub(super) fn poll_take(&self, publisher: usize, sent: u64, cx: &Context<'_>) -> Poll<u64> {
        let mut state = self.state.lock();
        let publishers = state.waiting.len() as u64;
        let released = (state.released + publishers - 1 - publisher as u64) / publishers;
        if released > sent {
            return Poll::Ready(released - sent);
        }
        state.waiting[publisher] = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Releases every message at its time, the first at `began`; without a timer it looks at the clock all the time.
    pub(super) async fn keep(self: Arc<Self>, board: Arc<Board>, began: u64, is_spinning: bool) -> std::io::Result<()> {
        let timer = PreciseTimer::new()?;
        self.state.lock().began = began;
        let mut released = 0;
        while released < self.total {
            let due = self.due_after(began, released);
            let now = board.now();
            if now >= due {
                released = self.release(began, now);
            } else if is_spinning {
                tokio::task::yield_now().await;
            } else {
                timer.wait(std::time::Duration::from_nanos(due - now)).await?;
            }
        }
        Ok(())
    }

    /// Lets out what is due by `now`; how many messages that makes in all.
    fn release(&self, began: u64, now: u64) -> u64 {
        let mut state = self.state.lock();
        let elapsed = now.saturating_sub(began);
        let mut due = ((elapsed as f64 * self.rate / 1e9) as u64).max(state.released);
        // Both ways of rounding meet here.
        while due < self.total && self.due_after(began, due) <= now {
            due += 1;
        }
        let due = due.min(self.total);
        let publishers = state.waiting.len() as u64;
        for message in state.released..due.min(state.released + publishers) {
            if let Some(waker) = state.waiting[(message % publishers) as usize].take() {
                waker.wake();
            }
        }
        state.released = due;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pace: &Pace, publisher: usize, sent: u64) -> Option<u64> {
        match pace.poll_take(publisher, sent, &Context::from_waker(Waker::noop())) {
            Poll::Ready(n) => Some(n),
            Poll::Pending => None,
        }
    }

    #[test]
    fn messages_go_round_the_publishers_and_are_due_at_the_rate() {
        let pace = Pace::new(1e6, 8, 3);
        assert_eq!((take(&pace, 0, 0), pace.release(5000, 4999)), (None, 0));
        pace.state.lock().began = 5000;
        assert_eq!((pace.release(5000, 5000), take(&pace, 0, 0), take(&pace, 1, 0)), (1, Some(1), None));
        // 5 of them, in 4 µs: 0 and 3, 1 and 4, 2.
        assert_eq!(pace.release(5000, 9999), 5);
        assert_eq!([0, 1, 2].map(|publisher| take(&pace, publisher, 0)), [Some(2), Some(2), Some(1)]);
        assert_eq!((pace.due(1, 1), pace.due(2, 0), take(&pace, 2, 1)), (9000, 7000, None));
        // And no more than all.
        assert_eq!(pace.release(5000, 1_000_000), 8);
        assert_eq!([0, 1, 2].map(|publisher| take(&pace, publisher, 0)), [Some(3), Some(3), Some(2)]);
    }

    #[test]
    fn every_message_is_due_before_it_is_released_whatever_the_rate() {
        for rate in [0.3, 7.0, 333.3, 20_000.0, 1e7 / 3.0] {
            let pace = Pace::new(rate, 50_000, 1);
            for step in 0..2000 {
                let now = 17 + step * 777_777;
                let released = pace.release(17, now);
                assert!(released == 0 || pace.due_after(17, released - 1) <= now, "{rate} {now}");
                assert!(released == 50_000 || pace.due_after(17, released) > now, "{rate} {now}");
            }
        }
    }

    #[tokio::test]
    async fn all_messages_are_released_in_the_end() {
        for is_spinning in [false, true] {
            let (board, pace) = (Arc::new(Board::new(1, 1)), Arc::new(Pace::new(1e5, 100, 7)));
            Arc::clone(&pace).keep(board, 0, is_spinning).await.unwrap();
            let taken: u64 = (0..7).map(|publisher| take(&pace, publisher, 0).unwrap()).sum();
            assert_eq!(taken, 100);
        }
    }
}
