//! How many connections a listener lets in: at a time, and a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::context::{ListenerContext, Shared};
use crate::message::BrokerTime;
use crate::router::Counts;

/// A listener's limits, and how near it is to them.
pub struct Admission {
    connections_max: u64,
    rate: Option<Mutex<Bucket>>,
    /// Connections now, handshakes included.
    connections: AtomicU64,
    /// Connections that were closed at once, and when that was last said.
    refused: Mutex<Refused>,
}

/// Lets `per_second` through in any second, saved up for at most one.
struct Bucket {
    per_second: u64,
    /// Thousandths of a connection.
    tokens: u64,
    filled_at: BrokerTime,
}

#[derive(Default)]
struct Refused {
    unsaid: u64,
    said_at: Option<BrokerTime>,
}

#[derive(Clone, Copy)]
enum Limit {
    ConnectionsMax,
    ConnectRate,
}

/// A flood of refused connections is one line of the log in this time.
const SAY_INTERVAL: Duration = Duration::from_secs(1);

impl Bucket {
    fn take(&mut self, now: BrokerTime) -> bool {
        let millis = u64::try_from(now.since(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        let gained = millis.saturating_mul(self.per_second);
        self.tokens = self.tokens.saturating_add(gained).min(self.per_second * 1000);
        self.filled_at = now;
        match self.tokens.checked_sub(1000) {
            Some(left) => self.tokens = left,
            None => return false,
        }
        true
    }
}

impl Admission {
    /// `None` is no limit.
    pub fn new(connections_max: Option<u32>, connect_rate: Option<u32>) -> Self {
        let bucket = |per_second| {
            let per_second = u64::from(per_second);
            Mutex::new(Bucket { per_second, tokens: per_second * 1000, filled_at: BrokerTime::default() })
        };
        Admission {
            connections_max: connections_max.map_or(u64::MAX, u64::from),
            rate: connect_rate.map(bucket),
            connections: AtomicU64::new(0),
            refused: Mutex::default(),
        }
    }

    /// Connections now, handshakes included.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    fn enter(&self, now: BrokerTime) -> Result<(), Limit> {
        if self.connections.fetch_add(1, Relaxed) >= self.connections_max {
            self.leave();
            return Err(Limit::ConnectionsMax);
        }
        if self.rate.as_ref().is_some_and(|rate| !rate.lock().take(now)) {
            self.leave();
            return Err(Limit::ConnectRate);
        }
        Ok(())
    }

    fn leave(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// How many refused connections are to be logged now.
    fn to_say(&self, now: BrokerTime) -> Option<u64> {
        let mut refused = self.refused.lock();
        refused.unsaid += 1;
        if refused.said_at.is_some_and(|said_at| now < said_at.after(SAY_INTERVAL)) {
            return None;
        }
        refused.said_at = Some(now);
        Some(std::mem::take(&mut refused.unsaid))
    }
}

/// A connection's place on its listener, given back when it is dropped.
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    pub(super) listener: Arc<ListenerContext>,
    pub(super) accepted_at: BrokerTime,
}

impl Place {
    /// `None` when the listener takes no more now; counted, and logged once in a while.
    pub(super) fn take(shared: &Arc<Shared>, listener: &Arc<ListenerContext>) -> Option<Place> {
        let now = shared.clock.now();
        if let Err(limit) = listener.admission.enter(now) {
            refuse(shared, listener, limit, now);
            return None;
        }
        shared.sockets.fetch_add(1, Relaxed);
        shared.router.counters().add(&mut Counts { connections_accepted: 1, ..Counts::default() });
        Some(Place { shared: Arc::clone(shared), listener: Arc::clone(listener), accepted_at: now })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.admission.leave();
        self.shared.sockets.fetch_sub(1, Relaxed);
    }
}

fn refuse(shared: &Shared, listener: &ListenerContext, limit: Limit, now: BrokerTime) {
    shared.router.counters().add(&mut Counts { connections_refused: 1, ..Counts::default() });
    if let Some(connections) = listener.admission.to_say(now) {
        let limit = match limit {
            Limit::ConnectionsMax => "connections_max",
            Limit::ConnectRate => "connect_rate",
        };
        tracing::warn!(listener = %listener.name, connections, limit, "connections closed at once: the limit is reached");
    }
}
