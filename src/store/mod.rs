//! What outlives the process: sessions with their subscriptions and waiting messages, retained messages, wills.
//!
//! The broker decides, a store keeps: it is told [`Change`]s in batches, says when a batch is safe, gives back pages of
//! what waits, and at a start everything that was there. It never looks at a topic filter and never drops a message by
//! itself.
//!
//! ```text
//! driver ──append(changes)──► store ──► Ticket          … the turn ends, other drivers append, too
//! driver ◄─poll_safe(ticket)─ store: written, synced    … the acknowledgement leaves
//! ```
//! Two engines, one test suite: [`memory`] keeps everything for as long as the process lives, [`journal`] on disk.

mod change;
pub mod journal;
pub mod memory;
pub(crate) mod progress;

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::task::{Poll, Waker};

pub use change::{Change, OwnerId, RowId, SessionRecord, StoredCopy, StoredMessage, WillRecord};

use crate::message::{BrokerTime, Message};
use crate::topic::SubscribeOptions;

/// How safe a change is before what it promises is promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing is stored: it survives a reconnect, not the process.
    Memory,
    /// With the operating system: it survives the process, not a loss of power.
    Os,
    /// On disk.
    #[default]
    Fsync,
}

impl Durability {
    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Memory => "memory",
            Durability::Os => "os",
            Durability::Fsync => "fsync",
        }
    }
}

/// What an append is answered with: everything of it is safe once the store has come so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The number of its last record.
    pub record: u64,
    pub durability: Durability,
}

/// A batch that the store has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub ticket: Ticket,
    /// The row of its first [`Change`]; the n-th change after it has the n-th row after it.
    pub first: RowId,
}

/// Why a batch was not taken. Nothing of it has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much waits for the disk for a batch with a [`Change::Message`] to be taken: again after [`Store::poll_ready`].
    #[error("the store is busy")]
    Busy,
    /// A quota or the free-space watermark; it may pass. Only batches with a [`Change::Message`] are answered so, and those
    /// of a gigabyte.
    #[error("{0}")]
    Full(String),
    /// A write or fsync has failed: nothing more is stored until a restart.
    #[error("{0}")]
    Failed(String),
}

/// A batch that was taken is not safe and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// Whether the store takes changes now, for `readyz` and operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    #[default]
    Good,
    Full(String),
    Failed(String),
}

impl Health {
    pub fn name(&self) -> &'static str {
        match self {
            Health::Good => "good",
            Health::Full(_) => "full",
            Health::Failed(_) => "failed",
        }
    }
}

/// Figures for operators. Bytes are those of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    pub health: Health,
    /// All files.
    pub bytes: u64,
    /// Of them, what is still needed.
    pub live_bytes: u64,
    /// Copies that wait or are in flight, over all owners.
    pub rows: u64,
    pub retained: u64,
    pub sessions: u64,
    /// The last record that is appended, written, synced.
    pub appended: u64,
    pub written: u64,
    pub synced: u64,
    /// Syncs so far, and how long they took in all, in microseconds.
    pub syncs: u64,
    pub sync_micros: u64,
}

/// A copy that was read back.
#[derive(Clone, Debug)]
pub struct Row {
    pub row: RowId,
    pub message: Message,
    pub copy: StoredCopy,
}

/// A copy that waits, without its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingRow {
    pub row: RowId,
    /// As [`Message::size`] counts.
    pub bytes: u64,
    pub expires_at: BrokerTime,
}

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub rows: Vec<Row>,
    /// There is nothing behind them, as of this page.
    pub is_last: bool,
}

/// Everything that was there at the start.
#[derive(Debug, Default)]
pub struct Recovered {
    pub time: BrokerTime,
    /// Stays the same for as long as the store exists: keys of hashes that are stored.
    pub seed: u64,
    /// Higher than every [`OwnerId`] that was ever used.
    pub next_owner: u64,
    pub sessions: Vec<RecoveredSession>,
    pub groups: Vec<RecoveredGroup>,
    /// Retained messages and their rows.
    pub retained: Vec<(RowId, Message)>,
}

#[derive(Debug)]
pub struct RecoveredSession {
    pub record: SessionRecord,
    pub subscriptions: Vec<(Box<str>, SubscribeOptions, Option<NonZeroU32>)>,
    /// Filters of those that wait for retained messages, and behind which topic.
    pub replays: Vec<(Box<str>, Box<str>)>,
    /// Received QoS 2 packet ids that wait for PUBREL, ascending.
    pub received: Vec<u16>,
    /// QoS 2 copies that were sent, in the order in which they were: packet id, and the copy, or `None` when PUBREC has
    /// come and only the release is left.
    pub sent: Vec<(RowId, u16, Option<Row>)>,
    pub waiting: Waiting,
}

#[derive(Debug)]
pub struct RecoveredGroup {
    pub owner: OwnerId,
    pub filter: Box<str>,
    pub waiting: Waiting,
}

/// Copies of one owner that have not been sent with QoS 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub rows: u64,
    /// As [`Message::size`] counts.
    pub bytes: u64,
    /// The earliest expiry among them.
    pub earliest_expiry: Option<BrokerTime>,
}

/// The seam between the broker and what keeps its state.
pub trait Store: Send + Sync {
    /// Takes a batch, without waiting for any disk. Batches take effect in the order in which they were taken.
    fn append(&self, changes: &[Change], durability: Durability) -> Result<Appended, AppendError>;

    /// Ready when everything up to the ticket is as safe as it says; else the waker is woken then.
    fn poll_safe(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), Lost>>;

    /// Ready when [`AppendError::Busy`] is over.
    fn poll_ready(&self, waker: &Waker) -> Poll<()>;

    /// Copies of an owner that were appended before this call, are not done and have not been sent with QoS 2, from
    /// behind row `after` on, in order: at most `rows_max` of them, and at least one whatever its size before `bytes_max`
    /// is reached. Blocks on the disk: never call it on a thread that serves connections.
    fn read_page(&self, owner: OwnerId, after: RowId, rows_max: usize, bytes_max: usize) -> Result<Page, Lost>;

    /// The rows that [`Store::read_page`] would find, without their messages. Blocks on the disk.
    fn read_rows(&self, owner: OwnerId, after: RowId, rows_max: usize) -> Result<Vec<WaitingRow>, Lost>;

    fn status(&self) -> StoreStatus;

    /// Waits until everything is safe, and lets go of the files. Blocks.
    fn close(&self);
}
