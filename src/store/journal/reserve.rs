//! Space that is kept for the time when there is none: a file that takes it, and goes when a write finds no room. Clients
//! can then go on to empty their queues, and the next checkpoint can be written, after which there is more.
//!
//! ```text
//! kept ── a write finds no room ─► used: messages are refused, what can wait waits
//!   ▲                               │
//!   └─ a part of it has room again ─┘
//! ```

use std::sync::Arc;

use super::disk::Disk;
use super::log::WriteError;

/// An older program, which does not know it, removes what ends so: nothing is kept for one that makes no use of it.
pub(super) const RESERVE_FILE: &str = "reserve.new";

/// It grows and shrinks by the smallest reserve divided by this.
const STEPS: u64 = 4;

/// Owned by the writer.
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    /// Without room for a checkpoint; nothing when there is to be none.
    least: u64,
    /// The length of the file; nothing when it is in use.
    bytes: u64,
    /// The file system cannot keep space.
    is_impossible: bool,
}

impl Reserve {
    /// With what an earlier run has left.
    pub(super) fn find(disk: Arc<dyn Disk>, least: u64) -> Self {
        let files = disk.list().unwrap_or_default();
        let bytes = files.into_iter().find(|(name, _)| name == RESERVE_FILE).map_or(0, |(_, bytes)| bytes);
        Reserve { disk, least, bytes, is_impossible: false }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// There should be one, and its space was given away, or never there.
    pub(super) fn is_used(&self) -> bool {
        self.bytes == 0 && self.least > 0 && !self.is_impossible
    }

    /// Makes it as large as it should be, with `checkpoint` bytes for one; as far as there is `room` for more of it.
    pub(super) fn keep(&mut self, checkpoint: u64, room: u64) {
        if self.least == 0 {
            self.release();
            return;
        }
        let step = self.least.div_ceil(STEPS);
        let wanted = self.least + checkpoint.next_multiple_of(step);
        let bytes = wanted.min(self.bytes.saturating_add(room - room % step));
        // What a checkpoint takes is now a little more and now a little less.
        let is_little_less = bytes <= self.bytes && self.bytes - bytes <= step;
        if !self.is_impossible && !is_little_less {
            self.resize(bytes);
        }
    }

    fn resize(&mut self, bytes: u64) {
        match self.disk.reserve(RESERVE_FILE, bytes) {
            Ok(()) => self.bytes = bytes,
            Err(error) => {
                tracing::debug!(%error, "space for the time when there is none could not be kept");
                self.is_impossible = !WriteError::is_full(&error);
                // What of it was made.
                let _ = match self.bytes {
                    0 => self.disk.remove(RESERVE_FILE),
                    before => self.disk.reserve(RESERVE_FILE, before),
                };
            }
        }
    }

    /// Gives the space away; whether there was some.
    pub(super) fn release(&mut self) -> bool {
        if self.bytes == 0 {
            return false;
        }
        if let Err(error) = self.disk.remove(RESERVE_FILE) {
            tracing::warn!(%error, "the reserve could not be given away");
            return false;
        }
        self.bytes = 0;
        true
    }
}
