//! Space that is kept for the time when there is none: a file that takes it, and goes when a write finds no room. Clients
//! can then go on to empty their queues, and the next checkpoint can be written, after which there is more.

use std::sync::Arc;

use super::disk::Disk;
use super::log::WriteError;

pub(super) const RESERVE_FILE: &str = "reserve";

/// Owned by the writer.
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    /// The length of the file; nothing when it is in use.
    bytes: u64,
    /// The file system cannot keep space.
    is_impossible: bool,
    wanted: u64,
}

impl Reserve {
    /// With what an earlier run has left.
    pub(super) fn find(disk: Arc<dyn Disk>) -> Self {
        let files = disk.list().unwrap_or_default();
        let bytes = files.into_iter().find(|(name, _)| name == RESERVE_FILE).map_or(0, |(_, bytes)| bytes);
        Reserve { disk, bytes, is_impossible: false, wanted: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// There should be one, and its space has been given away.
    pub(super) fn is_used(&self) -> bool {
        self.bytes == 0 && self.wanted > 0 && !self.is_impossible
    }

    /// Makes it as large as it should be, if at least `rest` of what is `free` is left then.
    pub(super) fn keep(&mut self, wanted: u64, free: u64, rest: u64) {
        self.wanted = wanted;
        if wanted == 0 {
            self.release();
        }
        let missing = wanted.saturating_sub(self.bytes);
        if missing == 0 || self.is_impossible || free < missing.saturating_add(rest) {
            return;
        }
        match self.disk.reserve(RESERVE_FILE, wanted) {
            Ok(()) => self.bytes = wanted,
            Err(error) if WriteError::is_full(&error) => {
                if self.bytes == 0 {
                    // What of it was made.
                    let _ = self.disk.remove(RESERVE_FILE);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no space can be kept for the time when there is none");
                self.is_impossible = true;
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
