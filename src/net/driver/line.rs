//! Who has much to do stands in line, so that a flood delays nobody else.
//!
//! The runtime looks at its sockets when it has run out of tasks, or has run sixty. Of a flood to a hundred subscribers
//! each is a task of ten microseconds or more: a quiet client's message would wait for all that are before it. So between
//! two looks a thread does only so much of that kind, and the rest stands in line. Who publishes much stands there, too:
//! of a few hundred such clients each makes little work, all together milliseconds.
//!
//! Publishers and receivers each have their line, first come, first served. A publisher waits for the receivers that were
//! there before it, those that it has woken among them; or it would fill queues that their owners had no chance to empty.
//! No receiver waits for publishers.
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

use super::turn::Done;

/// A poll that moves so many bytes does much: some ten microseconds.
const MUCH: u64 = 32 * 1024;
/// So does one that takes so many messages, for those make as much work for others. A client that sends seldom has fewer.
const MUCH_PUBLISHED: u64 = 4;
/// What each line does of it between two looks at the sockets, which cost a hundredth of that.
const ENOUGH: Duration = Duration::from_micros(150);
/// How long much takes, for one that was not expected to have it.
const UNKNOWN: Duration = Duration::from_micros(12);
/// The unit of a ticket.
const TICK: Duration = Duration::from_micros(4);
/// Not more are called after a look than are run before the next.
const TICKS_MIN: u8 = 2;

/// A connection's place.
#[derive(Default)]
pub(super) struct Ticket {
    /// How long its last poll with much to do took, in ticks; half of that after each with little. Beside it
    /// [`PUBLISHED`], if it took many messages then.
    took: u8,
    /// Where it stands in line, ...
    at: Option<Place>,
    /// ... and its number there.
    number: Number,
}

/// How a poll began.
#[derive(Clone, Copy, Default)]
pub(super) struct Begun {
    /// It has stood in line before.
    pub(super) stood: bool,
    /// When that was, if it may have much to do.
    at: Option<Instant>,
}

/// A bit, for a field would cost each connection eight bytes.
const PUBLISHED: u8 = 0x80;

#[derive(Clone, Copy)]
enum Role {
    Receiver,
    Publisher,
}

/// Those of one line come one after the other; from the last there may be follows the first.
type Number = u16;

/// A line is no longer than numbers can be told apart.
const WAITING_MAX: usize = 1 << 14;

/// Which of [`LINES`]: a thread's, or from the 255th on those of some.
#[derive(Clone, Copy)]
struct Place(NonZeroU8);

static LINES: [Mutex<Lines>; 256] = [const { Mutex::new(Lines::new()) }; 256];

struct Lines {
    receivers: Line,
    publishers: Line,
    has_usher: bool,
}

struct Line {
    waiting: VecDeque<Waiting>,
    /// The number of the first who waits.
    first: Number,
}

struct Waiting {
    waker: Waker,
    /// How long it will, enough at most: alone it goes on in any case.
    takes: Duration,
    /// A publisher waits until all receivers before this number have been called.
    after: Number,
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
    /// else how it began.
    pub(super) fn begin(&mut self, cx: &Context<'_>) -> Poll<Begun> {
        let stood = self.at.is_some();
        if let Some(place) = self.at {
            if !place.lines().lock().line(self.role()).has_called(self.number) {
                return Poll::Pending;
            }
            self.at = None;
        } else if self.ticks() == 0 {
            return Poll::Ready(Begun::default());
        } else if self.joins(OWN.with(|place| *place), cx.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(Begun { stood, at: Some(Instant::now()) })
    }

    pub(super) fn ticks(&self) -> u8 {
        self.took & !PUBLISHED
    }

    fn role(&self) -> Role {
        if self.took & PUBLISHED == 0 { Role::Receiver } else { Role::Publisher }
    }

    fn joins(&mut self, place: Place, waker: &Waker) -> bool {
        let mut lines = place.lines().lock();
        let takes = ENOUGH.min(TICK * self.ticks().into());
        let Some(number) = lines.push(self.role(), takes, waker) else { return false };
        (self.at, self.number) = (Some(place), number);
        let had_usher = std::mem::replace(&mut lines.has_usher, true);
        // A runtime that ends drops what it is given at once.
        drop(lines);
        if !had_usher {
            tokio::spawn(Usher(place).work());
        }
        true
    }

    /// The poll is over, and did so much.
    pub(super) fn end(&mut self, begun: Begun, done: Done) {
        if done.work < MUCH && done.published < MUCH_PUBLISHED {
            self.took = (self.took & PUBLISHED) | (self.ticks() / 2);
            return;
        }
        let took = begun.at.map_or(UNKNOWN, |at| at.elapsed());
        let ticks =
            u8::try_from(took.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u8::MAX).clamp(TICKS_MIN, !PUBLISHED);
        self.took = if done.published < MUCH_PUBLISHED { ticks } else { PUBLISHED | ticks };
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
            let mut left = Left { receivers: ENOUGH, publishers: ENOUGH };
            let mut next = || self.0.lines().lock().next(&mut left);
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
        let mut lines = self.0.lines().lock();
        lines.has_usher = false;
        let mut left = Left { receivers: Duration::MAX, publishers: Duration::MAX };
        let rest: Vec<_> = std::iter::from_fn(|| lines.next(&mut left)).collect();
        drop(lines);
        rest.into_iter().for_each(Waker::wake);
    }
}

impl Place {
    fn lines(self) -> &'static Mutex<Lines> {
        &LINES[usize::from(self.0.get())]
    }
}

/// How long each line may still go on until the next look.
struct Left {
    receivers: Duration,
    publishers: Duration,
}

impl Lines {
    const fn new() -> Self {
        Lines { receivers: Line::new(), publishers: Line::new(), has_usher: false }
    }

    fn line(&mut self, role: Role) -> &mut Line {
        match role {
            Role::Receiver => &mut self.receivers,
            Role::Publisher => &mut self.publishers,
        }
    }

    /// Its number; `None` when it need not stand in line.
    fn push(&mut self, role: Role, takes: Duration, waker: &Waker) -> Option<Number> {
        let after = self.receivers.end();
        let is_behind = match role {
            Role::Receiver => !self.receivers.waiting.is_empty(),
            Role::Publisher => !(self.receivers.waiting.is_empty() && self.publishers.waiting.is_empty()),
        };
        let line = self.line(role);
        let stands = (is_behind || SPENT.get() >= ENOUGH) && line.waiting.len() < WAITING_MAX;
        stands.then(|| line.push(Waiting { waker: waker.clone(), takes, after }))
    }

    /// Takes out whose turn it is. As long as anybody waits, one has its turn after each look.
    fn next(&mut self, left: &mut Left) -> Option<Waker> {
        let Lines { receivers, publishers, .. } = self;
        let receiver = receivers.next(&mut left.receivers);
        receiver.or_else(|| {
            let first = publishers.waiting.front()?;
            receivers.has_called_all_before(first.after).then(|| publishers.next(&mut left.publishers))?
        })
    }
}

impl Line {
    const fn new() -> Self {
        Line { waiting: VecDeque::new(), first: 0 }
    }

    /// The number of who comes next.
    fn end(&self) -> Number {
        self.first.wrapping_add(self.waiting.len() as Number)
    }

    fn push(&mut self, waiting: Waiting) -> Number {
        let number = self.end();
        self.waiting.push_back(waiting);
        number
    }

    /// Takes the first out, if that is as much as there is left to do.
    fn next(&mut self, left: &mut Duration) -> Option<Waker> {
        let takes = self.waiting.front()?.takes;
        *left = left.checked_sub(takes)?;
        self.first = self.first.wrapping_add(1);
        self.waiting.pop_front().map(|waiting| waiting.waker)
    }

    fn has_called(&self, number: Number) -> bool {
        usize::from(number.wrapping_sub(self.first)) >= self.waiting.len()
    }

    fn has_called_all_before(&self, number: Number) -> bool {
        self.has_called(number.wrapping_sub(1))
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

    const MUCH_WORK: Done = Done { work: MUCH, published: 0 };
    const LITTLE: Done = Done { work: MUCH - 1, published: MUCH_PUBLISHED - 1 };

    #[test]
    fn as_many_go_on_as_take_not_too_long() {
        let mut line = Line::new();
        for _ in 0..3 * (usize::from(Number::MAX) + 1) / 4 {
            let waiting = |takes| Waiting { waker: Waker::noop().clone(), takes, after: 0 };
            let numbers = [ENOUGH, ENOUGH / 2, ENOUGH / 4].map(|takes| line.push(waiting(takes)));
            for called in [1, 3, 3] {
                let mut left = ENOUGH;
                while line.next(&mut left).is_some() {}
                assert_eq!(numbers.map(|number| line.has_called(number)), [true, called > 1, called > 2]);
            }
        }
    }

    #[test]
    fn a_publisher_waits_for_receivers_before_it_and_no_receiver_for_a_publisher() {
        use Role::{Publisher, Receiver};
        SPENT.set(ENOUGH);
        let mut lines = Lines::new();
        let roles = [Publisher, Receiver, Receiver, Publisher, Receiver, Publisher];
        let wakers = roles.map(|_| Waker::from(Arc::new(Woken::default())));
        for (role, waker) in roles.into_iter().zip(&wakers) {
            lines.push(role, ENOUGH, waker).expect("enough has been done");
        }
        let mut look = || {
            let mut left = Left { receivers: ENOUGH, publishers: 2 * ENOUGH };
            let called = std::iter::from_fn(|| lines.next(&mut left));
            called.map(|waker| wakers.iter().position(|one| one.will_wake(&waker)).expect("one of them")).collect()
        };
        let looks: [Vec<usize>; 4] = std::array::from_fn(|_| look());
        assert_eq!(looks, [vec![1, 0], vec![2, 3], vec![4, 5], vec![]]);
    }

    async fn all_called(place: Place) {
        while place.lines().lock().has_usher {
            tokio::task::yield_now().await;
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
            ticket.end(begun, MUCH_WORK);
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
        let stand = |took| {
            let mut ticket = Ticket { took, ..Ticket::default() };
            SPENT.set(ENOUGH);
            assert!(ticket.begin(&Context::from_waker(&waker)).is_pending());
        };
        stand(1);
        assert!(!woken.0.load(Relaxed));
        drop(runtime);
        for took in [PUBLISHED | 1, 1] {
            assert!(woken.0.swap(false, Relaxed));
            stand(took);
        }
        assert!(woken.0.load(Relaxed), "nobody comes any more");
    }

    #[tokio::test]
    async fn without_much_to_do_nobody_stands_in_line() {
        let cx = Context::from_waker(Waker::noop());
        let mut tickets = [Ticket::default(), Ticket::default()];
        SPENT.set(ENOUGH);
        tickets.iter_mut().for_each(|ticket| ticket.end(Begun::default(), LITTLE));
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()));
        tickets.iter_mut().for_each(|ticket| ticket.end(Begun::default(), MUCH_WORK));
        assert!(tickets[0].begin(&cx).is_pending(), "enough has been done");
        thread_parks();
        assert!(tickets[1].begin(&cx).is_pending(), "somebody stands there");
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_pending()), "nobody is called twice");
        let place = OWN.with(|place| *place);
        assert_eq!(place.lines().lock().receivers.waiting.len(), 2, "each stands there once");
        all_called(place).await;
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()), "their turn has come");
        assert!(tickets.iter_mut().all(|ticket| ticket.begin(&cx).is_ready()), "nobody stands there");
        let lasts = (0..).take_while(|_| {
            tickets[0].end(Begun::default(), Done::default());
            tickets[0].ticks() > 0
        });
        assert!((1..8).contains(&lasts.count()), "little makes up for much after a while");
    }

    #[tokio::test]
    async fn who_takes_many_messages_stands_in_the_publishers_line_once() {
        let cx = Context::from_waker(Waker::noop());
        let mut ticket = Ticket::default();
        SPENT.set(ENOUGH);
        ticket.end(Begun::default(), Done { work: 0, published: MUCH_PUBLISHED });
        ticket.end(Begun::default(), LITTLE);
        assert!(ticket.begin(&cx).is_pending());
        let place = OWN.with(|place| *place);
        let waiting = |lines: &Lines| [&lines.receivers, &lines.publishers].map(|line| line.waiting.len());
        assert_eq!(waiting(&place.lines().lock()), [0, 1]);
        all_called(place).await;
        assert!(matches!(ticket.begin(&cx), Poll::Ready(Begun { stood: true, .. })));
        assert!(matches!(ticket.begin(&cx), Poll::Ready(Begun { stood: false, .. })), "a look later");
    }
}
