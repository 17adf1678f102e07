//! The broker as a whole: how it does, what it holds, what it has counted.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Broker;
use crate::message::DropCause;
use crate::telemetry::snapshot::Snapshot;

#[derive(Serialize)]
pub(super) struct Status {
    status: &'static str,
    version: &'static str,
    /// Seconds.
    uptime: u64,
    listeners: Vec<Listener>,
    #[serde(flatten)]
    stats: Stats,
    copies: Copies,
}

#[derive(Serialize)]
struct Listener {
    name: String,
    connections: u64,
}

/// What became of every copy of every message: matched and recovered are the sum of the others.
#[derive(Serialize)]
struct Copies {
    matched: u64,
    recovered: u64,
    delivered: u64,
    inflight: u64,
    queued: u64,
    dropped: u64,
    refused: u64,
    /// By cause, those that happened.
    dropped_by: BTreeMap<&'static str, u64>,
}

/// By EMQX's names where it has them.
#[derive(Serialize)]
pub(super) struct Stats {
    #[serde(rename = "connections.count")]
    connections: u64,
    #[serde(rename = "live_connections.count")]
    live_connections: u64,
    #[serde(rename = "sessions.count")]
    sessions: u64,
    #[serde(rename = "subscriptions.count")]
    subscriptions: u64,
    #[serde(rename = "subscriptions.shared.count")]
    shared_subscriptions: u64,
    #[serde(rename = "retained.count")]
    retained: u64,
    #[serde(rename = "retained.bytes")]
    retained_bytes: u64,
    #[serde(rename = "queued.count")]
    queued: u64,
    #[serde(rename = "queued.bytes")]
    queued_bytes: u64,
    #[serde(rename = "inflight.count")]
    inflight: u64,
}

pub(super) async fn status(State(observed): Broker) -> Json<Status> {
    let snapshot = observed.snapshot();
    Json(Status {
        status: if observed.shared().is_stopping() { "stopping" } else { "running" },
        version: env!("CARGO_PKG_VERSION"),
        uptime: snapshot.uptime.as_secs(),
        listeners: listeners(&snapshot),
        stats: Stats::new(&snapshot),
        copies: Copies::new(&snapshot),
    })
}

pub(super) async fn stats(State(observed): Broker) -> Json<Stats> {
    Json(Stats::new(&observed.snapshot()))
}

/// Every counter since the start, by the name that it has in the source.
pub(super) async fn metrics(State(observed): Broker) -> Json<BTreeMap<String, u64>> {
    let counts = observed.snapshot().counts;
    let dropped = DropCause::ALL.map(|cause| (format!("dropped.{}", cause.name()), counts.dropped[cause as usize]));
    let plain = counts.named().map(|(name, count)| (name.to_owned(), count));
    Json(plain.chain(dropped).collect())
}

fn listeners(snapshot: &Snapshot) -> Vec<Listener> {
    let listener = |listener: &crate::telemetry::snapshot::ListenerSnapshot| Listener {
        name: listener.name.to_string(),
        connections: listener.connections,
    };
    snapshot.listeners.iter().map(listener).collect()
}

impl Stats {
    fn new(snapshot: &Snapshot) -> Self {
        let census = &snapshot.census;
        Stats {
            connections: census.sockets,
            live_connections: census.connected,
            sessions: census.sessions,
            subscriptions: census.subscriptions,
            shared_subscriptions: census.shared_subscriptions,
            retained: census.retained,
            retained_bytes: census.retained_bytes,
            queued: census.queued,
            queued_bytes: census.queued_bytes,
            inflight: census.inflight,
        }
    }
}

impl Copies {
    fn new(snapshot: &Snapshot) -> Self {
        let sums = snapshot.accounting();
        let by = DropCause::ALL.map(|cause| (cause.name(), snapshot.counts.dropped[cause as usize]));
        Copies {
            matched: sums.matched,
            recovered: sums.recovered,
            delivered: sums.delivered,
            inflight: sums.inflight,
            queued: sums.queued,
            dropped: sums.dropped,
            refused: sums.refused,
            dropped_by: by.into_iter().filter(|(_, copies)| *copies > 0).collect(),
        }
    }
}
