//! Messages as the API shows them, and the queue of a session.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Broker;
use super::answer::{ApiError, List, Page, Params};
use crate::message::{BrokerTime, Message};
use crate::net::operator::OperatorError;
use crate::topic::QoS;

/// How payloads are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PayloadAs {
    #[default]
    None,
    /// As text; what is no UTF-8 is replaced by `U+FFFD`.
    Plain,
    Base64,
}

#[derive(Serialize)]
pub(super) struct MessageInfo {
    topic: String,
    qos: u8,
    retain: bool,
    payload_bytes: usize,
    /// Seconds that are left of its expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u32>,
    /// Left out when it was not asked for, or when those before it have filled the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

/// Bytes of payload in one answer.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Makes messages of one answer.
pub(super) struct Showing {
    payload_as: PayloadAs,
    now: BrokerTime,
    bytes_left: usize,
}

impl Showing {
    pub(super) fn new(payload_as: PayloadAs, now: BrokerTime) -> Self {
        Showing { payload_as, now, bytes_left: PAYLOAD_BYTES_MAX }
    }

    pub(super) fn show(&mut self, message: &Message, qos: QoS, retain: bool) -> MessageInfo {
        MessageInfo {
            topic: message.topic().to_owned(),
            qos: qos as u8,
            retain,
            payload_bytes: message.payload().len(),
            expires_in: message.remaining_expiry(self.now),
            payload: self.payload(message.payload()),
        }
    }

    fn payload(&mut self, payload: &[u8]) -> Option<String> {
        let shown = match self.payload_as {
            PayloadAs::None => return None,
            _ if payload.len() > self.bytes_left => return None,
            PayloadAs::Plain => String::from_utf8_lossy(payload).into_owned(),
            PayloadAs::Base64 => STANDARD.encode(payload),
        };
        self.bytes_left -= payload.len();
        Some(shown)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueQuery {
    page: Option<usize>,
    limit: Option<usize>,
    #[serde(default)]
    payload: PayloadAs,
}

#[derive(Serialize)]
pub(super) struct Purged {
    purged: usize,
}

/// What waits for a client, oldest first.
pub(super) async fn queue(
    State(observed): Broker,
    Path(client_id): Path<String>,
    Params(query): Params<QueueQuery>,
) -> Result<Json<List<MessageInfo>>, ApiError> {
    let page = Page::new(query.page, query.limit)?;
    let view = observed.shared().sessions.view(&client_id).ok_or(OperatorError::NotFound)?;
    let mailbox = view.mailbox.ok_or(OperatorError::Busy)?;
    let count = mailbox.stats().queued as usize;
    let mut showing = Showing::new(query.payload, observed.shared().clock.now());
    let queued = observed.shared().peek(&client_id, page.skip(), page.limit).await?;
    let data = queued.iter().map(|queued| showing.show(&queued.message, queued.qos, queued.retain)).collect();
    Ok(page.list(data, count))
}

pub(super) async fn purge(State(observed): Broker, Path(client_id): Path<String>) -> Result<Json<Purged>, ApiError> {
    let purged = observed.shared().purge(&client_id)?;
    tracing::info!(client_id, purged, "queue purged by an operator");
    Ok(Json(Purged { purged }))
}
