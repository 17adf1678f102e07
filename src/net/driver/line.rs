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
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Work of a poll that is much, in bytes moved: some ten microseconds.
const MUCH: u64 = 32 * 1024;
/// What a line does of it between two looks at the sockets, which cost a hundredth of that.
const ENOUGH: Duration = Duration::from_micros(150);
/// How long much takes, for one that was not expected to have it.
const UNKNOWN: Duration = Duration::from_micros(12);
/// The unit of a ticket.
const TICK: Duration = Duration::from_micros(4);

/// A connection's place.
#[derive(Default)]
pub(super) struct Ticket {
    /// How long its last poll with much to do took, in ticks; half of that after each with little.
    took: u8,
    /// The line it stands in, ...
    line: Option<Place>,
    /// ... and its number there.
    number: Number,
}

/// Those of one line come one after the other; from the last there may be follows the first.
type Number = u16;

/// A line is no longer than numbers can be told apart.
const WAITING_MAX: usize = 1 << 14;

/// Which of [`LINES`]: a thread's, or from the 255th on that of some.
#[derive(Clone, Copy)]
struct Place(NonZeroU8);

static LINES: [Mutex<Line>; 256] = [const { Mutex::new(Line::new()) }; 256];

struct Line {
    /// With how long each will take, enough at most: alone it goes on in any case.
    waiting: VecDeque<(Waker, Duration)>,
    /// The number of the first who waits.
    first: Number,
    has_usher: bool,
}

thread_local! {
    static OWN: Place = {
        static LAST: AtomicU8 = AtomicU8::new(0);
        Place(NonZeroU8::MIN.saturating_add(LAST.fetch_add(1, Relaxed)))
    };
    /// How long the thread has had much to do since the last look that somebody waited for, or since it slept.
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

impl Ticket {
    /// It is polled: `Pending` when it stands in line, and is polled again when its turn has come, whatever wakes it before;
    /// else when it began, if it may have much to do.
    pub(super) fn begin(&mut self, cx: &Context<'_>) -> Poll<Option<Instant>> {
        if let Some(place) = self.line {
            if !place.line().lock().has_called(self.number) {
                return Poll::Pending;
            }
            self.line = None;
        } else if self.took == 0 {
            return Poll::Ready(None);
        } else if self.joins(OWN.with(|place| *place), cx.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Instant::now()))
    }

    fn joins(&mut self, place: Place, waker: &Waker) -> bool {
        let mut line = place.line().lock();
        let is_first = line.waiting.is_empty() && SPENT.get() < ENOUGH;
        if is_first || line.waiting.len() >= WAITING_MAX {
            return false;
        }
        self.line = Some(place);
        self.number = line.push(waker.clone(), ENOUGH.min(TICK * self.took.into()));
        let had_usher = std::mem::replace(&mut line.has_usher, true);
        // A runtime that ends drops what it is given at once.
        drop(line);
        if !had_usher {
            tokio::spawn(Usher(place).work());
        }
        true
    }

    /// The poll is over, and did so much, in bytes moved.
    pub(super) fn end(&mut self, begun: Option<Instant>, work: u64) {
        if work < MUCH {
            self.took /= 2;
            return;
        }
        let took = begun.map_or(UNKNOWN, |begun| begun.elapsed());
        self.took = u8::try_from(took.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u8::MAX).max(1);
        SPENT.set(SPENT.get() + took);
    }
}

/// The thread has nothing to do.
pub(super) fn thread_parks() {
    SPENT.set(Duration::ZERO);
}

/// Lets a few go on after each look, as long as somebody stands in line.
struct Usher(Place);

impl Usher {
    async fn work(self) {
        loop {
            // The runtime takes up a task that yields when it has looked.
            tokio::task::yield_now().await;
            SPENT.set(Duration::ZERO);
            let mut left = ENOUGH;
            let mut next = || self.0.line().lock().next(&mut left);
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
        let mut line = self.0.line().lock();
        line.has_usher = false;
        let mut left = Duration::MAX;
        let rest: Vec<_> = std::iter::from_fn(|| line.next(&mut left)).collect();
        drop(line);
        rest.into_iter().for_each(Waker::wake);
    }
}

impl Place {
    fn line(self) -> &'static Mutex<Line> {
        &LINES[usize::from(self.0.get())]
    }
}

impl Line {
    const fn new() -> Self {
        Line { waiting: VecDeque::new(), first: 0, has_usher: false }
    }

    fn push(&mut self, waker: Waker, takes: Duration) -> Number {
        self.waiting.push_back((waker, takes));
        self.first.wrapping_add((self.waiting.len() - 1) as Number)
    }

    /// Takes the first out, if that is as much as there is left to do.
    fn next(&mut self, left: &mut Duration) -> Option<Waker> {
        let takes = self.waiting.front()?.1;
        *left = left.checked_sub(takes)?;
        self.first = self.first.wrapping_add(1);
        self.waiting.pop_front().map(|(waker, _)| waker)
    }

    fn has_called(&self, number: Number) -> bool {
        usize::from(number.wrapping_sub(self.first)) >= self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdStream;
    use std::sync::Arc;
    use std::task::ready;

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::driver::tests::Woken;

    #[test]
    fn as_many_go_on_as_take_not_too_long() {
        let mut line = Line::new();
        for _ in 0..3 * (usize::from(Number::MAX) + 1) / 4 {
            let numbers = [ENOUGH, ENOUGH / 2, ENOUGH / 4].map(|takes| line.push(Waker::noop().clone(), takes));
            for called in [1, 3, 3] {
                let mut left = ENOUGH;
                while line.next(&mut left).is_some() {}
                assert_eq!(numbers.map(|number| line.has_called(number)), [true, called > 1, called > 2]);
            }
        }
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

    #[test]
    fn whoever_stands_in_line_of_a_runtime_that_ends_goes_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let _entered = handle.enter();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let stand = || {
            let mut ticket = Ticket { took: 1, ..Ticket::default() };
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
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_pending()), "nobody is called twice");
        let place = OWN.with(|place| *place);
        assert_eq!(place.line().lock().waiting.len(), 2, "each stands there once");
        while place.line().lock().has_usher {
            tokio::task::yield_now().await;
        }
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()), "their turn has come");
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()), "nobody stands there");
        let lasts = (0..).take_while(|_| {
            tickets[0].end(None, 0);
            tickets[0].took > 0
        });
        assert!((1..8).contains(&lasts.count()), "little makes up for much after a while");
    }
}
