//! Tells operators of work at a start that takes its time: at once when there is much of it, and every second.

use std::time::{Duration, Instant};

/// Work that is under way.
pub(crate) struct Progress {
    what: String,
    of: u64,
    done: u64,
    told: Instant,
}

const TELL_EVERY: Duration = Duration::from_secs(1);

impl Progress {
    /// From `much` on, it is told before anything is done.
    pub(crate) fn begin(what: String, of: u64, much: u64) -> Self {
        let progress = Progress { what, of, done: 0, told: Instant::now() };
        if of >= much {
            progress.tell();
        }
        progress
    }

    pub(crate) fn add(&mut self, count: u64) {
        self.done += count;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            self.tell();
        }
    }

    fn tell(&self) {
        let percent = (self.done * 100).checked_div(self.of).unwrap_or(100).min(100);
        tracing::info!(percent, "{}", self.what);
    }
}
