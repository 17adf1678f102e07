//! What a reload can change while the broker runs, and what has to wait for a restart.

use super::{Config, read::Setting};

/// The keys that differ between two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force for everything that happens from now on.
    pub live: Vec<String>,
    pub needs_restart: Vec<String>,
}

/// Sockets, threads and files that are opened once. A listener's own name stands for its coming or going.
const OPENED_ONCE: [&str; 10] = [
    "worker_threads",
    "admin.http",
    "admin.http_api",
    "admin.socket",
    "log.format",
    "log.destination",
    "retained.messages_max",
    "retained.bytes_max",
    "shared.queue_messages_max",
    "shared.queue_bytes_max",
];

/// The same for keys of a listener.
const OPENED_ONCE_OF_LISTENER: [&str; 7] =
    ["address", "unix_mode", "transport", "tls", "backlog", "reuse_port", "ipv6_only"];

/// Compares what runs with what was read.
pub fn diff(running: &Config, new: &Config) -> Changes {
    let mut changed = Vec::new();
    running.changes(new, "", &mut changed);
    let (needs_restart, live) = changed.into_iter().partition(|key| needs_restart(running, new, key));
    Changes { live, needs_restart }
}

fn needs_restart(running: &Config, new: &Config, key: &str) -> bool {
    let Some(of_listener) = key.strip_prefix("listener.") else {
        return OPENED_ONCE.contains(&key);
    };
    let names = running.listeners.iter().chain(&new.listeners).map(|listener| listener.name.as_str());
    names.filter_map(|name| of_listener.strip_prefix(name)).any(|rest| match rest.strip_prefix('.') {
        Some(key) => OPENED_ONCE_OF_LISTENER.contains(&key),
        None => rest.is_empty(),
    })
}
