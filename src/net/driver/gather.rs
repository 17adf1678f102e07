//! When a receiver lets others go first.
//!
//! A publisher's turn wakes its receivers, and the runtime runs the one woken last next: it would write what came of this
//! turn alone, while a hundred other publishers wait for theirs. So on a busy thread a receiver with few messages goes to
//! the end of the queue of tasks once, and finds what the others have sent. A thread that had nothing to do before does
//! not wait: a single message leaves at once.

use std::cell::Cell;

/// So many turns since the thread last slept, and it is busy.
const BUSY_TURNS: u32 = 8;

thread_local! {
    static TURNS: Cell<u32> = const { Cell::new(0) };
}

/// For the runtime: a thread has nothing to do.
pub fn thread_parks() {
    TURNS.set(0);
}

pub(super) fn note_turn() {
    TURNS.set(TURNS.get().saturating_add(1));
}

pub(super) fn is_busy() -> bool {
    TURNS.get() > BUSY_TURNS
}
