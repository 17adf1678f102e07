//! Everything that `$SYS`, metrics and the API tell, read at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
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
use crate::store::StoreStatus;

/// A broker, as operators look at it.
pub struct Observed {
    shared: Arc<Shared>,
    /// Written while the broker starts.
    listeners: RwLock<Vec<Arc<ListenerContext>>>,
    /// Every listener is bound.
    started: AtomicBool,
    since: BrokerTime,
    history: Mutex<History>,
}

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub uptime: Duration,
    pub counts: Counts,
    pub census: Census,
    pub listeners: Vec<ListenerSnapshot>,
    pub process: ProcessStats,
    /// All zero for a broker that keeps nothing.
    pub store: StoreStatus,
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
    pub fn new(shared: Arc<Shared>) -> Observed {
        let since = shared.clock.now();
        Observed {
            shared,
            listeners: RwLock::default(),
            started: AtomicBool::new(false),
            since,
            history: Mutex::default(),
        }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn add_listener(&self, listener: &Arc<ListenerContext>) {
        self.listeners.write().push(Arc::clone(listener));
    }

    /// Every listener is bound.
    pub fn set_started(&self) {
        self.started.store(true, Relaxed);
    }

    /// Whether clients can connect: all listeners are bound, and the broker does not stop.
    pub fn is_ready(&self) -> bool {
        self.started.load(Relaxed) && !self.shared.is_stopping()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            uptime: self.uptime(),
            counts: self.shared.router.counters().snapshot(),
            census: Census::take(&self.shared),
            listeners: self.listeners.read().iter().map(|listener| ListenerSnapshot::take(listener)).collect(),
            process: ProcessStats::read(),
            store: self.shared.keeper.status().unwrap_or_default(),
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

    /// Keeps load averages, and publishes `$SYS` unless `interval` is zero: once before this returns, then in the future
    /// that it returns, whenever the wall clock shows a multiple of the interval, until told to stop.
    pub fn observe(self: Arc<Self>, interval: Duration, stop: CancellationToken) -> impl Future<Output = ()> {
        let mut topics = (!interval.is_zero()).then(SysTopics::default);
        let interval = if interval.is_zero() { INTERVAL } else { interval };
        let mut next = self.look(topics.as_mut(), interval);
        async move {
            let mut alarm = Alarm::new(&self.shared.clock);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = std::future::poll_fn(|cx| alarm.poll(next, cx)) => {}
                }
                next = self.look(topics.as_mut(), interval);
            }
        }
    }

    /// Returns when to look again.
    fn look(&self, topics: Option<&mut SysTopics>, interval: Duration) -> BrokerTime {
        let next = self.shared.clock.next_multiple_of(interval);
        self.remember();
        if let Some(topics) = topics {
            self.publish(topics);
        }
        next
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
            connections: listener.admission.connections(),
            clients: versions.map(|version| (version, listener.clients.of(version).load(Relaxed))),
        }
    }
}
