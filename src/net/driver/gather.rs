//! When a connection lets others go first.
//!
//! A publisher's turn wakes its receivers, and the runtime runs the one woken last next: it would write what came of this
//! turn alone, while a hundred other publishers wait for theirs. So on a busy thread a receiver with few messages goes to
//! the end of the queue of tasks once, and finds what the others have sent. Acknowledgements go there too: what has come
//! from all is read before anybody is written to, and what a client sends meanwhile is acknowledged along. But only who
//! had something to write a moment ago waits: to one that seldom gets a message nobody else is about to send. A thread
//! that had nothing to do before does not wait: a single message leaves at once. Over TLS and WebSocket, which may have to
//! say that they end while they are read, acknowledgements do not wait either.

use std::cell::Cell;

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

/// The thread has nothing to do.
pub(super) fn thread_parks() {
    SLEPT.set(POLLS.get());
}

pub(super) fn note_poll() {
    POLLS.set(POLLS.get().wrapping_add(1));
}

pub(super) fn now() -> Moment {
    POLLS.get() as Moment
}

/// For a connection that last had something to write then.
pub(super) fn pays(served: Moment) -> bool {
    POLLS.get().wrapping_sub(SLEPT.get()) > BUSY_POLLS && now().wrapping_sub(served) <= MOMENT_POLLS
}
