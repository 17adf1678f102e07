//! Clients and their sessions: connected ones, and those that wait for their client to come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Broker;
use super::answer::{ApiError, List, Page, Params};
use crate::message::DropCause;
use crate::net::facts::{ConnectionFacts, Peer};
use crate::net::operator::OperatorError;
use crate::packet::ProtocolVersion;
use crate::router::{Losses, MailboxStats, SessionView, SubscriptionView};

type View = SessionView<Arc<ConnectionFacts>>;

/// What is told of one session. The connection's part is that of the last one while there is none.
#[derive(Serialize)]
pub(super) struct ClientInfo {
    clientid: String,
    connected: bool,
    #[serde(flatten)]
    connection: Option<ConnectionInfo>,
    #[serde(flatten)]
    session: SessionInfo,
    /// `send_msg.dropped.CAUSE`, in the view of one client: a list would be twice as long.
    #[serde(flatten)]
    dropped: Option<BTreeMap<String, u64>>,
}

#[derive(Serialize)]
struct ConnectionInfo {
    username: Option<String>,
    ip_address: String,
    port: Option<u16>,
    listener: String,
    proto_name: &'static str,
    proto_ver: u8,
    /// Seconds.
    keepalive: u16,
    clean_start: bool,
    /// Seconds, as CONNECT asked for it.
    expiry_interval: u32,
    connected_at: String,
}

#[derive(Serialize)]
struct SessionInfo {
    subscriptions_cnt: u32,
    inflight_cnt: u32,
    mqueue_len: u64,
    mqueue_bytes: u64,
    mqueue_max: u32,
    /// Copies that a full queue lost.
    mqueue_dropped: u64,
    /// Messages that were refused as a whole because this queue was full: their publishers know.
    mqueue_refused: u64,
    /// Copies that this client lost, by all causes.
    #[serde(rename = "send_msg.dropped")]
    dropped: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientsQuery {
    page: Option<usize>,
    limit: Option<usize>,
    /// A part of the client id.
    like_clientid: Option<String>,
    username: Option<String>,
    conn_state: Option<ConnState>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ConnState {
    Connected,
    Disconnected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    page: Option<usize>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct SubscriptionInfo {
    clientid: String,
    topic: String,
    qos: u8,
    /// No local.
    nl: bool,
    /// Retain as published.
    rap: bool,
    /// Retain handling.
    rh: u8,
    subscription_identifier: Option<u32>,
}

pub(super) async fn list(
    State(observed): Broker,
    Params(query): Params<ClientsQuery>,
) -> Result<Json<List<ClientInfo>>, ApiError> {
    let page = Page::new(query.page, query.limit)?;
    let mut views = observed.shared().sessions.views();
    views.retain(|view| query.asks_for(view));
    views.sort_unstable_by(|one, other| one.client_id.cmp(&other.client_id));
    let count = views.len();
    let data = views.into_iter().skip(page.skip()).take(page.limit);
    let data = data.map(|view| ClientInfo::new(&view, &stats(&view))).collect();
    Ok(page.list(data, count))
}

pub(super) async fn show(State(observed): Broker, Path(client_id): Path<String>) -> Result<Json<ClientInfo>, ApiError> {
    let view = observed.shared().sessions.view(&client_id).ok_or(OperatorError::NotFound)?;
    let stats = stats(&view);
    Ok(Json(ClientInfo { dropped: Some(by_cause(&stats.losses)), ..ClientInfo::new(&view, &stats) }))
}

/// Disconnects; the session stays as its expiry says.
pub(super) async fn kick(State(observed): Broker, Path(client_id): Path<String>) -> Result<StatusCode, ApiError> {
    observed.shared().kick(&client_id).await?;
    tracing::info!(client_id, "disconnected by an operator");
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the session, connected or not.
pub(super) async fn delete(State(observed): Broker, Path(client_id): Path<String>) -> Result<StatusCode, ApiError> {
    observed.shared().delete_session(&client_id).await?;
    tracing::info!(client_id, "session deleted by an operator");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn subscriptions(
    State(observed): Broker,
    Path(client_id): Path<String>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<SubscriptionInfo>>, ApiError> {
    let page = Page::new(query.page, query.limit)?;
    let (count, views) = observed.shared().subscriptions(&client_id, page.skip(), page.limit).await?;
    let data = views.into_iter().map(|view| SubscriptionInfo::new(&client_id, view)).collect();
    Ok(page.list(data, count))
}

impl ClientsQuery {
    fn asks_for(&self, view: &View) -> bool {
        let user_name = view.facts.as_ref().and_then(|facts| facts.user_name.as_deref());
        self.like_clientid.as_ref().is_none_or(|part| view.client_id.contains(&**part))
            && self.username.as_ref().is_none_or(|name| user_name == Some(name))
            && self.conn_state.is_none_or(|state| (state == ConnState::Connected) == view.connected)
    }
}

impl ClientInfo {
    fn new(view: &View, stats: &MailboxStats) -> Self {
        ClientInfo {
            clientid: view.client_id.to_string(),
            connected: view.connected,
            connection: view.facts.as_deref().map(ConnectionInfo::new),
            session: SessionInfo::new(stats),
            dropped: None,
        }
    }
}

fn stats(view: &View) -> MailboxStats {
    view.mailbox.as_ref().map(|mailbox| mailbox.stats()).unwrap_or_default()
}

fn by_cause(losses: &Losses) -> BTreeMap<String, u64> {
    DropCause::ALL.into_iter().map(|cause| (format!("send_msg.dropped.{}", cause.name()), losses.of(cause))).collect()
}

impl ConnectionInfo {
    fn new(facts: &ConnectionFacts) -> Self {
        let (ip_address, port) = match &facts.peer {
            Peer::Socket(address) => (address.ip().to_string(), Some(address.port())),
            peer => (peer.to_string(), None),
        };
        ConnectionInfo {
            username: facts.user_name.as_deref().map(str::to_owned),
            ip_address,
            port,
            listener: facts.listener.to_string(),
            proto_name: "MQTT",
            proto_ver: match facts.version {
                ProtocolVersion::V3 => 3,
                ProtocolVersion::V4 => 4,
                ProtocolVersion::V5 => 5,
            },
            keepalive: facts.keep_alive,
            clean_start: facts.clean_start,
            expiry_interval: facts.session_expiry_interval,
            connected_at: timestamp(facts.connected_at),
        }
    }
}

impl SessionInfo {
    fn new(stats: &MailboxStats) -> Self {
        SessionInfo {
            subscriptions_cnt: stats.subscriptions,
            inflight_cnt: stats.under_way.inflight,
            mqueue_len: stats.queued,
            mqueue_bytes: stats.queued_bytes,
            mqueue_max: stats.limits.messages_max,
            mqueue_dropped: stats.losses.of(DropCause::QueueFull),
            mqueue_refused: stats.losses.refused,
            dropped: stats.losses.sum(),
        }
    }
}

impl SubscriptionInfo {
    fn new(client_id: &str, view: SubscriptionView) -> Self {
        SubscriptionInfo {
            clientid: client_id.to_owned(),
            topic: view.filter.into(),
            qos: view.options.qos as u8,
            nl: view.options.no_local,
            rap: view.options.retain_as_published,
            rh: view.options.retain_handling as u8,
            subscription_identifier: view.id.map(|id| id.get()),
        }
    }
}

fn timestamp(unix_seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_seconds)).to_string()
}
