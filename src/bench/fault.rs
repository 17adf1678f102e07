//! Why a connection of the load could not go on.

use std::io;

use crate::packet::{QoS, ReasonCode};

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("cannot connect to {address}: {error}")]
    NoConnection { address: String, error: io::Error },
    #[error("the broker refuses a connection: {0}")]
    Refused(ReasonCode),
    #[error("the broker closes a connection without an answer to CONNECT")]
    NoAnswer,
    #[error("the broker refuses a subscription: {0}")]
    SubscriptionRefused(ReasonCode),
    #[error("the broker grants QoS {} where {} is asked for", *granted as u8, *asked as u8)]
    LowerQoS { granted: QoS, asked: QoS },
    #[error("the broker has no session for a client that comes back")]
    NoSession,
    #[error("the broker sends what a client cannot read: {0}")]
    NotMqtt(String),
    #[error("the broker closed a connection")]
    Closed,
    #[error("the broker closed a connection: {0}")]
    ClosedFor(ReasonCode),
    #[error("a connection broke: {0}")]
    Broken(#[from] io::Error),
}

impl Fault {
    /// Whether a connection that had been made ended.
    pub(super) fn is_disconnect(&self) -> bool {
        matches!(self, Fault::Closed | Fault::ClosedFor(_) | Fault::Broken(_))
    }
}
