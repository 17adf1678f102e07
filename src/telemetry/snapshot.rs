//! Everything that `$SYS`, metrics and the API tell, read at one moment.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::history::History;
use super::process::ProcessStats;
use super::sys_topics::SysTopics;
use crate::message::BrokerTime;
use crate::net::census::{Accounting, Census};
use crate::net::clock::Alarm;
use crate::net::context::{ListenerContext, Shared};
use crate::packet::ProtocolVersion;
use crate::router::{Batch, Counts};

/// A broker, as operators look at it. Clones look at the same one.
#[derive(Clone)]
pub struct Observed {
    shared: Arc<Shared>,
    listeners: Arc<[Arc<ListenerContext>]>,
    since: BrokerTime,
    history: Arc<Mutex<History>>,
}

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub uptime: Duration,
    pub counts: Counts,
    pub census: Census,
    pub listeners: Vec<ListenerSnapshot>,
    pub process: ProcessStats,
    pub history: History,
}

#[derive(Clone, Debug)]
pub struct ListenerSnapshot {
    pub name: Arc<str>,
    pub connections: u64,
    /// Clients with a session, by protocol version.
    pub clients: [(ProtocolVersion, u64); 3],
}

/// Without `$SYS` topics, load averages go on at this pace, mosquitto's default.
const INTERVAL: Duration = Duration::from_secs(10);

impl Observed {
    /// From the moment the broker starts.
    pub fn new(shared: Arc<Shared>, listeners: Vec<Arc<ListenerContext>>) -> Observed {
        let since = shared.clock.now();
        Observed { shared, listeners: listeners.into(), since, history: Arc::default() }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            uptime: self.uptime(),
            counts: self.shared.router.counters().snapshot(),
            census: Census::take(&self.shared),
            listeners: self.listeners.iter().map(|listener| ListenerSnapshot::take(listener)).collect(),
            process: ProcessStats::read(),
            history: self.history.lock().clone(),
        }
    }

    fn uptime(&self) -> Duration {
        self.shared.clock.now().since(self.since)
    }

    fn remember(&self) {
        let counts = self.shared.router.counters().snapshot();
        let (sessions, heap) = (self.shared.sessions.len() as u64, ProcessStats::read().anonymous_bytes);
        self.history.lock().update(self.uptime(), counts, sessions, heap);
    }

    /// Keeps load averages, and publishes `$SYS` unless `interval` is zero: at once, then whenever the wall clock shows
    /// a multiple of it. Until told to stop.
    pub async fn observe(self, interval: Duration, stop: CancellationToken) {
        let mut topics = (!interval.is_zero()).then(SysTopics::default);
        let interval = if interval.is_zero() { INTERVAL } else { interval };
        let clock = &self.shared.clock;
        let mut alarm = Alarm::new(clock);
        loop {
            self.remember();
            if let Some(topics) = &mut topics {
                self.publish(topics);
            }
            let next = clock.now().after(clock.until_multiple_of(interval));
            tokio::select! {
                () = stop.cancelled() => return,
                () = std::future::poll_fn(|cx| alarm.poll(next, cx)) => {}
            }
        }
    }

    fn publish(&self, topics: &mut SysTopics) {
        let mut batch = Batch::at(self.shared.clock.now());
        for message in topics.update(&self.snapshot()) {
            self.shared.router.publish(&message, &mut batch);
        }
        self.shared.router.flush(&mut batch);
    }
}

impl Snapshot {
    pub fn accounting(&self) -> Accounting {
        Accounting::new(&self.counts, &self.census)
    }
}

impl ListenerSnapshot {
    fn take(listener: &ListenerContext) -> ListenerSnapshot {
        let versions = [ProtocolVersion::V3, ProtocolVersion::V4, ProtocolVersion::V5];
        ListenerSnapshot {
            name: Arc::clone(&listener.name),
            connections: listener.connections.load(Relaxed),
            clients: versions.map(|version| (version, listener.clients.of(version).load(Relaxed))),
        }
    }
}
