//! Who has much to do stands in line, so that a flood delays nobody else.
//!
//! The runtime looks at its sockets when it has run out of tasks, or has run sixty. Of a flood to a hundred subscribers
//! each is a task of ten microseconds or more: a quiet client's message would wait for all that are before it. So between
//! two looks a thread does only so much of that kind, and the rest stands in line. First come, first served: a publisher
//! at full speed stands behind the receivers that it has woken, and does not fill queues that their owners had no chance
//! to empty.
//!
//! ```text
//! R R R … enough, the others stand in line ──► look ──► R, whom the look has found, R R … enough ──► look ──► …
//! ```

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Work of a poll that is much, in bytes moved: some ten microseconds.
const MUCH: u64 = 32 * 1024;
/// What a thread does of it between two looks at its sockets: a message waits for two of them at most, and the look costs
/// a hundredth of that.
const ENOUGH: Duration = Duration::from_micros(100);
/// The unit of a ticket.
const TICK: Duration = Duration::from_micros(4);

/// A connection's place.
#[derive(Default)]
pub(super) struct Ticket {
    /// How long its last poll took, if that was much; in ticks.
    took: u8,
    /// It has not been polled since it stands in line.
    stands: bool,
}

/// A thread's.
#[derive(Default)]
struct Line {
    /// With how long each will take, enough at most: alone it goes on in any case.
    waiting: VecDeque<(Waker, Duration)>,
    has_usher: bool,
}

thread_local! {
    static LINE: Arc<Mutex<Line>> = Arc::default();
    /// How long the thread has had much to do since the last look that somebody waited for, or since it slept.
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

impl Ticket {
    /// It is polled: `Pending` when it stands in line now, and is polled again when its turn has come; else when it began,
    /// if it may have much to do.
    pub(super) fn begin(&mut self, cx: &Context<'_>) -> Poll<Option<Instant>> {
        // When something else wakes it meanwhile it goes on: the line may be another thread's.
        let has_stood = std::mem::take(&mut self.stands);
        if self.took == 0 {
            return Poll::Ready(None);
        }
        if !has_stood {
            self.stands = LINE.with(|line| self.joins(line, cx.waker()));
        }
        if self.stands { Poll::Pending } else { Poll::Ready(Some(Instant::now())) }
    }

    fn joins(&self, line: &Arc<Mutex<Line>>, waker: &Waker) -> bool {
        let mut inner = line.lock();
        if inner.waiting.is_empty() && SPENT.get() < ENOUGH {
            return false;
        }
        inner.waiting.push_back((waker.clone(), ENOUGH.min(TICK * self.took.into())));
        let had_usher = std::mem::replace(&mut inner.has_usher, true);
        // A runtime that ends drops what it is given at once.
        drop(inner);
        if !had_usher {
            tokio::spawn(Usher(Arc::clone(line)).work());
        }
        true
    }

    /// The poll is over, and did so much, in bytes moved.
    pub(super) fn end(&mut self, begun: Option<Instant>, work: u64) {
        self.took = 0;
        if work >= MUCH {
            let took = begun.map_or(TICK, |begun| begun.elapsed());
            self.took = u8::try_from(took.as_nanos() / TICK.as_nanos()).unwrap_or(u8::MAX).max(1);
            SPENT.set(SPENT.get() + took);
        }
    }
}

/// The thread has nothing to do.
pub(super) fn thread_parks() {
    SPENT.set(Duration::ZERO);
}

/// Lets a few go on after each look, as long as somebody stands in line.
struct Usher(Arc<Mutex<Line>>);

impl Usher {
    async fn work(self) {
        loop {
            // The runtime takes up a task that yields when it has looked.
            tokio::task::yield_now().await;
            SPENT.set(Duration::ZERO);
            let mut left = ENOUGH;
            let mut next = || self.0.lock().next(&mut left);
            let Some(first) = next() else { return };
            while let Some(waker) = next() {
                waker.wake();
            }
            // It takes up next the one that was woken last.
            first.wake();
        }
    }
}

impl Drop for Usher {
    /// Nobody may wait for one who is gone, should the runtime have dropped it.
    fn drop(&mut self) {
        let line = std::mem::take(&mut *self.0.lock());
        line.waiting.into_iter().for_each(|(waker, _)| waker.wake());
    }
}

impl Line {
    /// Takes the first out, if that is as much as there is left to do.
    fn next(&mut self, left: &mut Duration) -> Option<Waker> {
        let took = self.waiting.front()?.1;
        *left = left.checked_sub(took)?;
        self.waiting.pop_front().map(|(waker, _)| waker)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdStream;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::task::{Wake, ready};

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::*;

    #[test]
    fn as_many_go_on_as_take_not_too_long() {
        let mut line = Line::default();
        for took in [ENOUGH, ENOUGH / 2, ENOUGH / 4] {
            line.waiting.push_back((Waker::noop().clone(), took));
        }
        let mut go_on = |mut left| std::iter::from_fn(|| line.next(&mut left)).count();
        assert_eq!([go_on(ENOUGH), go_on(ENOUGH), go_on(ENOUGH)], [1, 2, 0]);
    }

    /// Has much to do, so often.
    async fn flood(times: usize, work: impl Fn(usize, &Waker)) {
        let mut ticket = Ticket::default();
        let mut done = 0;
        std::future::poll_fn(|cx| {
            let begun = ready!(ticket.begin(cx));
            let start = Instant::now();
            while start.elapsed() < 2 * TICK {}
            work(done, cx.waker());
            ticket.end(begun, MUCH);
            done += 1;
            if done == times {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_quiet_client_comes_between_those_of_a_flood_who_have_turns_in_order() {
        const MANY: usize = 100;
        let (ours, theirs) = StdStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("a socket");
        let mut quiet = UnixStream::from_std(ours).expect("a socket");
        let turns = Arc::new(Mutex::new(Vec::new()));
        let so_far = Arc::clone(&turns);
        let served = tokio::spawn(async move {
            quiet.read_u8().await.expect("a message");
            so_far.lock().len()
        });
        let crowd = tokio::spawn(async move {
            let one = |n| {
                let (turns, theirs) = (Arc::clone(&turns), theirs.try_clone().expect("a socket"));
                tokio::spawn(flood(3, move |done, _| {
                    turns.lock().push(n);
                    if (n, done) == (0, 1) {
                        (&theirs).write_all(b"x").expect("room in the socket");
                    }
                }))
            };
            let all: Vec<_> = (0..MANY).map(one).collect();
            for one in all {
                one.await.expect("its turns");
            }
            std::mem::take(&mut *turns.lock())
        });
        let (served, turns) = (served.await.expect("served"), crowd.await.expect("over"));
        let turns_of = |n| (0..turns.len()).filter(|at| turns[*at] == n).collect::<Vec<_>>();
        // A look that nobody has asked for may bring a few forward.
        let is_in_order = |n: &usize| turns_of(*n).array_windows().all(|[last, next]| next - last > MANY / 2);
        assert_eq!((0..MANY).find(|n| !is_in_order(n)), None, "{turns:?}");
        let sent = turns_of(0)[1] + 1;
        assert!((sent..sent + MANY / 2).contains(&served), "served after {served}, sent after {sent}");
    }

    /// Threads take work from each other, some are woken while they stand in line, and some end there.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn everybody_has_a_turn_whatever_thread_goes_on_and_whoever_leaves() {
        let awake = Arc::new(Mutex::new(VecDeque::new()));
        let one = |turns| {
            let awake = Arc::clone(&awake);
            tokio::spawn(flood(turns, move |_, waker| {
                let mut awake = awake.lock();
                awake.push_back(waker.clone());
                if awake.len() > 20 {
                    awake.pop_front().into_iter().for_each(Waker::wake);
                }
            }))
        };
        let crowd = |turns| (0..200).map(|_| one(turns)).collect::<Vec<_>>();
        let (leaving, staying) = (crowd(usize::MAX), crowd(50));
        for one in leaving {
            one.abort();
        }
        for one in staying {
            one.await.expect("its turns");
        }
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn whoever_stands_in_line_of_a_runtime_that_ends_goes_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let _entered = handle.enter();
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let stand = || {
            let mut ticket = Ticket { took: 1, stands: false };
            SPENT.set(ENOUGH);
            assert!(ticket.begin(&Context::from_waker(&waker)).is_pending());
        };
        stand();
        assert!(!woken.0.load(Relaxed));
        drop(runtime);
        assert!(woken.0.swap(false, Relaxed));
        stand();
        assert!(woken.0.load(Relaxed), "nobody comes any more");
    }

    #[tokio::test]
    async fn without_much_to_do_nobody_stands_in_line() {
        let cx = Context::from_waker(Waker::noop());
        let mut tickets = [Ticket::default(), Ticket::default()];
        SPENT.set(ENOUGH);
        tickets.iter_mut().for_each(|ticket| ticket.end(None, MUCH - 1));
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()));
        tickets.iter_mut().for_each(|ticket| ticket.end(None, MUCH));
        assert!(tickets[0].begin(&cx).is_pending(), "enough has been done");
        thread_parks();
        assert!(tickets[1].begin(&cx).is_pending(), "somebody stands there");
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()), "they have stood there");
        while LINE.with(|line| line.lock().has_usher) {
            tokio::task::yield_now().await;
        }
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()), "nobody does");
    }
}
