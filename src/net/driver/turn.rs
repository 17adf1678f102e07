//! A thread's working space for the turns of all its connections: no buffer belongs to an idle connection.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::message::{BrokerTime, Delivery};
use crate::net::context::Shared;
use crate::protocol::Output;
use crate::router::Batch;

/// One read takes at most this much.
const SCRATCH_BYTES: usize = 128 * 1024;
/// What the output buffer may keep between turns.
const OUTPUT_BYTES_KEPT: usize = 1024 * 1024;

pub(super) struct Turn {
    pub(super) scratch: Box<[u8]>,
    pub(super) out: Output,
    pub(super) batch: Batch,
    pub(super) deliveries: VecDeque<Delivery>,
}

impl Default for Turn {
    fn default() -> Self {
        Turn {
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            out: Output::default(),
            batch: Batch::default(),
            deliveries: VecDeque::new(),
        }
    }
}

thread_local! {
    static TURN: RefCell<Option<Box<Turn>>> = const { RefCell::new(None) };
}

/// Runs `work` with the thread's working space.
pub(super) fn with<R>(work: impl FnOnce(&mut Turn) -> R) -> R {
    // Taken out for the time of the turn: a turn inside a turn (a connection dropped by a wake-up) gets its own.
    let mut turn = TURN.take().unwrap_or_default();
    let result = work(&mut turn);
    TURN.set(Some(turn));
    result
}

impl Turn {
    pub(super) fn begin(&mut self, now: BrokerTime) {
        self.batch.now = now;
    }

    pub(super) fn finish(&mut self, shared: &Shared) {
        self.out.clear();
        self.out.shrink(OUTPUT_BYTES_KEPT);
        self.deliveries.clear();
        shared.router.flush(&mut self.batch);
    }
}
