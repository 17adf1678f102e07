//! What all clients of a run count together, and what they are told.
//!
//! Clients add to the counters once for each read, not for each message. The conductor reads them.

use std::ops::{Index, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::histogram::Histogram;
use super::stage::StageSwitch;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Connected,
    /// Of these, those whose session the broker had kept.
    SessionsPresent,
    Failed,
    Subscribed,
    Ended,
    /// Clients that have connected, done what they were to do, and left.
    Lives,
    Pongs,
    Sent,
    Acknowledged,
    /// Messages that the broker would not take, by the reason code of its acknowledgement.
    Refused,
    /// Different messages, each counted for every subscriber that is due it.
    Received,
    Duplicates,
    /// Messages that came after a later one of the same publisher.
    Reordered,
    /// Messages that are not of this run, or not as they were sent.
    Foreign,
    /// QoS 2 messages that came again before they were released, as they may.
    Resent,
    /// Acknowledgements of nothing.
    StrayAcks,
    BytesReceived,
    Reads,
}

const COUNTS: usize = Count::Reads as usize + 1;

/// All counters at one time, or how much they grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; COUNTS]);

impl Index<Count> for Counts {
    type Output = u64;

    fn index(&self, count: Count) -> &u64 {
        &self.0[count as usize]
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, earlier: Counts) -> Counts {
        Counts(std::array::from_fn(|at| self.0[at].saturating_sub(earlier.0[at])))
    }
}

impl Counts {
    /// A number that stands still when the run does.
    pub(super) fn progress(&self) -> u64 {
        [Count::Connected, Count::Failed, Count::Subscribed, Count::Ended, Count::BytesReceived, Count::Sent]
            .iter()
            .map(|count| self[*count])
            .sum()
    }
}

/// Moments that end a phase, in nanoseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub(super) enum Last {
    Connected,
    Subscribed,
    Received,
    Acknowledged,
    Pong,
}

pub(super) struct Board {
    began: Instant,
    counters: [AtomicU64; COUNTS],
    last: [AtomicU64; 5],
    /// Latencies of messages due from here ...
    measured_from: AtomicU64,
    /// ... up to here count.
    measured_to: AtomicU64,
    /// From due to received. One for each thread; who records takes that of its own number.
    pub(super) latency: Box<[Mutex<Histogram>]>,
    /// From due to sent.
    pub(super) lag: Mutex<Histogram>,
    /// From the start of a connection to its CONNACK.
    pub(super) connect_time: Mutex<Histogram>,
    pub(super) stage: Arc<StageSwitch>,
    /// Connections that may be under way at a time.
    pub(super) connecting: Semaphore,
}

impl Board {
    pub(super) fn new(threads: usize, connecting_max: usize) -> Board {
        Board {
            began: Instant::now(),
            counters: Default::default(),
            last: Default::default(),
            measured_from: AtomicU64::new(0),
            measured_to: AtomicU64::new(u64::MAX),
            latency: (0..threads.max(1)).map(|_| Mutex::default()).collect(),
            lag: Mutex::default(),
            connect_time: Mutex::default(),
            stage: Arc::default(),
            connecting: Semaphore::new(connecting_max),
        }
    }

    /// Nanoseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The same as a moment of the system's clock.
    pub(super) fn instant(&self, nanoseconds: u64) -> Instant {
        self.began + std::time::Duration::from_nanos(nanoseconds)
    }

    pub(super) fn add(&self, count: Count, n: u64) {
        if n > 0 {
            self.counters[count as usize].fetch_add(n, Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|at| self.counters[at].load(Relaxed)))
    }

    pub(super) fn mark(&self, last: Last, now: u64) {
        self.last[last as usize].fetch_max(now, Relaxed);
    }

    pub(super) fn last(&self, last: Last) -> u64 {
        self.last[last as usize].load(Relaxed)
    }

    /// Messages due in this span are those whose latencies count.
    pub(super) fn measure(&self, from: u64, to: u64) {
        self.measured_from.store(from, Relaxed);
        self.measured_to.store(to, Relaxed);
    }

    pub(super) fn measured(&self) -> std::ops::Range<u64> {
        self.measured_from.load(Relaxed)..self.measured_to.load(Relaxed)
    }

    pub(super) fn all_latencies(&self) -> Histogram {
        let mut all = Histogram::default();
        self.latency.iter().for_each(|of_one| all.add(&of_one.lock()));
        all
    }
}
