//! When a connection lets others go first.
//!
//! A publisher's turn wakes its receivers, and the runtime runs the one woken last next: it would write what came of this
//! turn alone, while a hundred other publishers wait for theirs. So on a busy thread a receiver with few messages goes to
//! the end of the queue of tasks once, and finds what the others have sent. Acknowledgements go there too: what has come
//! from all is read before anybody is written to, and what a client sends meanwhile is acknowledged along. But only who
//! had something to write a moment ago waits: to one that seldom gets a message nobody else is about to send. A thread
//! that had nothing to do before does not wait: a single message leaves at once. Over TLS and WebSocket, which may have to
//! say that they end while they are read, acknowledgements do not wait either.
//!
//! Who counts polls and sleeps also says when a thread may do what can wait ([`at_rest`]).

use std::cell::Cell;
use std::sync::OnceLock;

/// So many polls since the thread last slept, and it is busy: a few ready sockets at a time are no crowd.
const BUSY_POLLS: u32 = 24;
/// So many polls ago at most is a moment: a few hundred publishers have had theirs.
const MOMENT_POLLS: u16 = 256;

/// A time in polls of a thread. Another thread's, or one of very long ago, may pass for a moment ago, which costs its
/// connection one wait.
pub(super) type Moment = u16;

thread_local! {
    static POLLS: Cell<u32> = const { Cell::new(0) };
    /// When it last slept.
    static SLEPT: Cell<u32> = const { Cell::new(0) };
}

/// What a thread does when it has nothing else to do, and every [`REST_POLLS`].
static AT_REST: OnceLock<fn()> = OnceLock::new();
/// Some milliseconds of a thread that never sleeps.
const REST_POLLS: u32 = 64;

/// For the program: what can wait, each thread of the runtime does when it has nothing to do, or has polled a few dozen
/// connections. Needs a runtime that calls [`thread_parks`](super::thread_parks). What is asked for first stays.
pub fn at_rest(work: fn()) {
    AT_REST.get_or_init(|| work);
}

/// The thread has nothing to do.
pub(super) fn thread_parks() {
    SLEPT.set(POLLS.get());
    rest();
}

pub(super) fn note_poll() {
    let polls = POLLS.get().wrapping_add(1);
    POLLS.set(polls);
    if polls.is_multiple_of(REST_POLLS) {
        rest();
    }
}

fn rest() {
    if let Some(work) = AT_REST.get() {
        work();
    }
}

pub(super) fn now() -> Moment {
    POLLS.get() as Moment
}

/// For a connection that last had something to write then.
pub(super) fn pays(served: Moment) -> bool {
    POLLS.get().wrapping_sub(SLEPT.get()) > BUSY_POLLS && now().wrapping_sub(served) <= MOMENT_POLLS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_need_not_be_done_at_once_is_done_when_the_thread_sleeps_and_when_it_does_not() {
        thread_local! {
            static DONE: Cell<u32> = const { Cell::new(0) };
        }
        at_rest(|| DONE.set(DONE.get() + 1));
        thread_parks();
        assert_eq!(DONE.get(), 1);
        (1..REST_POLLS).for_each(|_| note_poll());
        assert_eq!(DONE.get(), 1);
        note_poll();
        assert_eq!(DONE.get(), 2);
    }
}
