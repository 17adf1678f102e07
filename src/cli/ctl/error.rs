//! Why `midge ctl` could not do what it was asked.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    #[error("no broker answers at {}: {error}{}", path.display(), hint(error))]
    NoBroker { path: PathBuf, error: io::Error },
    #[error("the broker at {} does not answer in time", path.display())]
    Silent { path: PathBuf },
    #[error("the broker at {} ended the conversation: {error}", path.display())]
    Cut { path: PathBuf, error: hyper::Error },
    #[error("what answers at {} does not speak as a broker", path.display())]
    Strange { path: PathBuf },
    #[error("{0}")]
    NotThere(String),
    #[error("{0}")]
    Refused(String),
}

impl CtlError {
    /// What the command exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            CtlError::NoBroker { .. } => 3,
            CtlError::NotThere(_) => 4,
            _ => 1,
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "\nA broker serves it when its configuration has admin.socket; --socket or --config say where it is."
        }
        ErrorKind::PermissionDenied => "\nOnly the user that the broker runs as may open it.",
        _ => "",
    }
}
