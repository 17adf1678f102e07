//! Deadlines of parked sessions: their expiry and their delayed wills.
//!
//! One task owns them all: it waits for the earliest and claims the slot by generation, so a client that has come back
//! in the meantime is never touched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Waker};

use parking_lot::Mutex;

use super::sessions::Generation;
use crate::message::BrokerTime;

#[derive(Default)]
pub struct Deadlines {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    due: BTreeSet<(BrokerTime, Generation, Arc<str>)>,
    waker: Option<Waker>,
}

impl Deadlines {
    /// Something of the parked session is due at `at`.
    pub fn insert(&self, at: BrokerTime, client_id: &Arc<str>, generation: Generation) {
        let mut inner = self.inner.lock();
        inner.due.insert((at, generation, Arc::clone(client_id)));
        let is_first = inner.due.first().is_some_and(|(first, ..)| *first == at);
        if let Some(waker) = inner.waker.take_if(|_| is_first) {
            drop(inner);
            waker.wake();
        }
    }

    /// What was due at `at` is not due any more: the session has been taken up.
    pub fn remove(&self, at: BrokerTime, client_id: &Arc<str>, generation: Generation) {
        self.inner.lock().due.remove(&(at, generation, Arc::clone(client_id)));
    }

    pub fn len(&self) -> usize {
        self.inner.lock().due.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn pop_due(&self, now: BrokerTime) -> Option<(Arc<str>, Generation)> {
        let mut inner = self.inner.lock();
        if inner.due.first()?.0 > now {
            return None;
        }
        inner.due.pop_first().map(|(_, generation, client_id)| (client_id, generation))
    }

    /// Something else than a deadline is to be done by whoever waits for the next.
    pub fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// When the earliest is due; the context is woken when an earlier one comes in.
    pub fn next(&self, cx: &mut Context<'_>) -> BrokerTime {
        let mut inner = self.inner.lock();
        inner.waker = Some(cx.waker().clone());
        inner.due.first().map_or(BrokerTime::NEVER, |(at, ..)| *at)
    }
}
