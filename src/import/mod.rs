//! State of other brokers, as [`Change`]s for a store: who moves keeps sessions, subscriptions and messages.
//!
//! Reading and writing are two steps. A file is read as a whole and either understood as a whole or refused with the place
//! of what is wrong; only then is anything written, into a store that has nothing yet.

pub mod mosquitto;
mod write;

use std::io;
use std::path::PathBuf;

pub use write::WriteError;

use crate::message::OwnerId;
use crate::store::Change;

/// What was found, ready for a store.
#[derive(Debug, Default)]
pub struct Imported {
    /// In the order in which a store has to take them.
    pub changes: Vec<Change>,
    /// QoS 2 copies among them that were sent already.
    pub sent: Vec<Sent>,
    pub counts: Counts,
}

/// A QoS 2 copy that its receiver knows under a packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which of [`Imported::changes`] brings its message.
    pub change: usize,
    pub owner: OwnerId,
    pub packet_id: u16,
    /// PUBREC has come: PUBREL is what is sent again.
    pub is_handed: bool,
}

/// What was found, and what was left behind, for a summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sessions: u64,
    pub subscriptions: u64,
    /// Copies that wait or are in flight, over all sessions.
    pub copies: u64,
    pub retained: u64,
    /// QoS 2 packet ids of publishers that wait for PUBREL.
    pub received: u64,
    /// Sessions that have ended meanwhile, or end with their connection.
    pub sessions_ended: u64,
    /// Messages that have expired meanwhile.
    pub messages_expired: u64,
    /// Copies of QoS 0 for clients that are away, and copies and subscriptions of sessions that have ended.
    pub left_behind: u64,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: no persistence file of mosquitto: it begins otherwise", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: version {version} of mosquitto's format, and 5 and 6 can be read; {}", path.display(), advice(*version))]
    Version { path: PathBuf, version: u32 },
    #[error("{}: byte {offset}: {what}", path.display())]
    Damaged { path: PathBuf, offset: usize, what: String },
}

fn advice(version: u32) -> &'static str {
    if version < 5 { "mosquitto 2.0 rewrites it at its next stop" } else { "a newer midge may read it" }
}
