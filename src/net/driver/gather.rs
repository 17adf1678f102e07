//! When a receiver lets others go first.
//!
//! A publisher's turn wakes its receivers, and the runtime runs the one woken last next: it would write what came of this
//! turn alone, while a hundred other publishers wait for theirs. So on a busy thread a receiver with few messages goes to
//! the end of the queue of tasks once, and finds what the others have sent; but only one that had some a moment ago: to
//! one that seldom gets a message nobody else is about to send. A thread that had nothing to do before does not wait: a
//! single message leaves at once.

use std::cell::Cell;

/// So many turns since the thread last slept, and it is busy.
const BUSY_TURNS: u32 = 8;
/// So many turns ago at most is a moment: a few hundred publishers have had theirs.
const MOMENT_TURNS: u32 = 256;

thread_local! {
    static TURNS: Cell<u32> = const { Cell::new(0) };
    /// At which turn it last slept.
    static SLEPT: Cell<u32> = const { Cell::new(0) };
}

/// For the runtime: a thread has nothing to do.
pub fn thread_parks() {
    SLEPT.set(TURNS.get());
}

pub(super) fn note_turn() {
    TURNS.set(TURNS.get().wrapping_add(1));
}

/// The number of this turn. Those of another thread say nothing, which costs a receiver that moves one write.
pub(super) fn turn() -> u32 {
    TURNS.get()
}

/// For a receiver that last had messages in that turn.
pub(super) fn pays(served: u32) -> bool {
    let now = TURNS.get();
    now.wrapping_sub(SLEPT.get()) > BUSY_TURNS && now.wrapping_sub(served) <= MOMENT_TURNS
}
