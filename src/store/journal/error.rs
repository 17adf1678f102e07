//! Why a store does not open.

use std::io;

use super::disk::Disk;
use super::files::{VERSION, VERSION_MIN};
use super::read::ReadError;

/// A start that did not happen. But for a lock file, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{place}: {doing}: {error}")]
    Io { place: String, doing: String, error: io::Error },
    #[error("{place}: {doing}: {error}. `midge store check` and `midge store export` do without writing")]
    ReadOnly { place: String, doing: String, error: io::Error },
    #[error("{place}: {doing}: {error}. The user that the broker runs as has to own it")]
    NoAccess { place: String, doing: String, error: io::Error },
    #[error("{place} is in use by another broker")]
    Locked { place: String },
    #[error("there is no store in {place}")]
    Missing { place: String },
    #[error("{place} is not empty. Name an empty directory, or one that does not exist")]
    NotEmpty { place: String },
    #[error("{place} is not a data directory of midge: {name} is in it. Name an empty one, or one that does not exist")]
    Foreign { place: String, name: String },
    #[error(
        "{place}/{file} has format {found}, and this program reads {}. Start the version of midge that wrote it, \
         or go on with another data directory",
        versions()
    )]
    Version { place: String, file: String, found: u32 },
    #[error(
        "{place}/{file} is damaged at offset {offset}: {what}. Affected: {affected}. Nothing was changed. \
         `midge store check --data-dir {place}` says what else is, `midge store repair --data-dir {place}` goes on \
         without it"
    )]
    Damaged { place: String, file: String, offset: u64, what: String, affected: String },
}

fn versions() -> String {
    if VERSION_MIN == VERSION { format!("{VERSION}") } else { format!("{VERSION_MIN} to {VERSION}") }
}

impl OpenError {
    pub(super) fn io(disk: &dyn Disk, doing: &str, error: io::Error) -> Self {
        let (place, doing) = (disk.place(), doing.to_owned());
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { place, doing, error },
            io::ErrorKind::PermissionDenied => OpenError::NoAccess { place, doing, error },
            _ => OpenError::Io { place, doing, error },
        }
    }

    pub(super) fn damaged(disk: &dyn Disk, file: String, offset: u64, what: String, affected: String) -> Self {
        OpenError::Damaged { place: disk.place(), file, offset, what, affected }
    }

    pub(super) fn read(disk: &dyn Disk, error: ReadError, affected: String) -> Self {
        match error {
            ReadError::Io { file, error } => OpenError::io(disk, &file, error),
            ReadError::Gone { file, offset } => {
                OpenError::damaged(disk, file, offset, "what was written there is missing".into(), affected)
            }
            ReadError::Damaged { file, offset, what } => {
                OpenError::damaged(disk, file, offset, format!("it is not {what} that was written there"), affected)
            }
        }
    }
}
