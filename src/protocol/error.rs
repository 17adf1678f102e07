//! Why the broker closes a network connection: a reason code for the wire and words for the log.

use std::borrow::Cow;

use crate::packet::{DecodeError, ReasonCode};

/// A reason to close. What goes out (CONNACK, DISCONNECT or nothing) depends on the state and the version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (0x{:02X})", *reason_code as u8)]
pub struct Violation {
    pub reason_code: ReasonCode,
    pub what: Cow<'static, str>,
}

impl Violation {
    pub fn new(reason_code: ReasonCode, what: impl Into<Cow<'static, str>>) -> Self {
        Violation { reason_code, what: what.into() }
    }

    pub(super) fn protocol(what: &'static str) -> Self {
        Violation::new(ReasonCode::ProtocolError, what)
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        Violation::new(error.reason_code(), error.to_string())
    }
}
