//! What a reload can change while the broker runs, and what has to wait for a restart.

use super::{Config, all_keys, read::Setting};

/// What runs: the configuration of the start, with what reloads have changed since.
#[derive(Debug)]
pub struct Running {
    started: Config,
    current: Config,
}

/// What a reload made of the keys that differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force for everything that happens from now on.
    pub live: Vec<String>,
    /// Said at every reload until the restart, or until the old value is back.
    pub needs_restart: Vec<String>,
}

/// The keys that are looked at whenever they matter. Sockets, threads, files and tables are made once; a key that is not
/// named here waits for a restart.
const LIVE: [&str; 6] = [
    "shutdown_timeout",
    "limits.session_expiry_max",
    "limits.session_expiry_3x",
    "limits.subscriptions_max",
    "limits.inflight_max",
    "log.filter",
];

/// The same for keys of a listener, for connections that come from now on. A dot at the end names a whole section.
const LIVE_OF_LISTENER: [&str; 14] = [
    "access.",
    "tls.",
    "protocol_versions",
    "maximum_packet_size",
    "receive_maximum",
    "maximum_qos",
    "retain_available",
    "topic_alias_maximum",
    "topic_alias_maximum_outbound",
    "keep_alive_max",
    "check_payload_format",
    "mount_point",
    "user_name_as_client_id",
    "response_information",
];

impl Running {
    pub fn new(started: Config) -> Running {
        Running { current: started.clone(), started }
    }

    /// As last read. Of the keys that need a restart, the old values still hold.
    pub fn current(&self) -> &Config {
        &self.current
    }

    /// Takes over what was read anew and says what that changes.
    pub fn reload(&mut self, new: Config) -> Changes {
        let is_live = |key: &String| is_live(&new, key);
        let live = diff(&self.current, &new).into_iter().filter(is_live).collect();
        let needs_restart = diff(&self.started, &new).into_iter().filter(|key| !is_live(key)).collect();
        self.current = new;
        Changes { live, needs_restart }
    }
}

/// The keys whose values differ; a listener that came or went is its name.
pub fn diff(one: &Config, other: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    one.changes(other, "", &mut changed);
    changed
}

/// Of [`all_keys`], those that a reload changes while the broker runs.
pub fn live_keys() -> Vec<String> {
    let is_live = |key: &String| match key.strip_prefix("listener.") {
        Some(key) => is_live_of_listener(key),
        None => LIVE.contains(&key.as_str()),
    };
    all_keys().into_iter().filter(is_live).collect()
}

fn is_live(config: &Config, key: &str) -> bool {
    let Some(of_listener) = key.strip_prefix("listener.") else {
        return LIVE.contains(&key);
    };
    let names = config.listeners.iter().map(|listener| listener.name.as_str());
    names.filter_map(|name| of_listener.strip_prefix(name)?.strip_prefix('.')).any(is_live_of_listener)
}

fn is_live_of_listener(key: &str) -> bool {
    LIVE_OF_LISTENER.iter().any(|live| if live.ends_with('.') { key.starts_with(live) } else { key == *live })
}
