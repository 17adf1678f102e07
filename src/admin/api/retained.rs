//! Retained messages, by topic and by filter.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Broker;
use super::answer::{ApiError, List, Page, Params};
use super::messages::{MessageInfo, PayloadAs, Showing};
use crate::message::Message;
use crate::router::Router;
use crate::telemetry::snapshot::Observed;
use crate::topic::{PageEnd, ParsedFilter};

/// Retained messages that are looked at before other tasks get their turn.
const STEP: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetainedQuery {
    page: Option<usize>,
    limit: Option<usize>,
    /// A filter; every topic but those that begin with `$` without it.
    topic: Option<String>,
    #[serde(default)]
    payload: PayloadAs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClearQuery {
    topic: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    #[serde(default = "base64")]
    payload: PayloadAs,
}

fn base64() -> PayloadAs {
    PayloadAs::Base64
}

#[derive(Serialize)]
pub(super) struct Cleared {
    cleared: usize,
}

pub(super) async fn list(
    State(observed): Broker,
    Params(query): Params<RetainedQuery>,
) -> Result<Json<List<MessageInfo>>, ApiError> {
    let page = Page::new(query.page, query.limit)?;
    let filter = checked(query.topic.as_deref().unwrap_or("#"))?;
    let (mut count, mut found) = (0, Vec::new());
    for_each(&observed, filter, |message| {
        if count >= page.skip() && found.len() < page.limit {
            found.push(message.clone());
        }
        count += 1;
    })
    .await;
    let mut showing = Showing::new(query.payload, observed.shared().clock.now());
    let data = found.iter().map(|message| showing.show(message, message.qos(), true)).collect();
    Ok(page.list(data, count))
}

pub(super) async fn show(
    State(observed): Broker,
    Path(topic): Path<String>,
    Params(query): Params<ShowQuery>,
) -> Result<Json<MessageInfo>, ApiError> {
    let mut found = None;
    for_each(&observed, checked_topic(&topic)?, |message| found = Some(message.clone())).await;
    let message = found.ok_or_else(not_retained)?;
    let mut showing = Showing::new(query.payload, observed.shared().clock.now());
    Ok(Json(showing.show(&message, message.qos(), true)))
}

pub(super) async fn remove(State(observed): Broker, Path(topic): Path<String>) -> Result<StatusCode, ApiError> {
    let cleared = clear_matches(&observed, checked_topic(&topic)?).await;
    if cleared == 0 {
        return Err(not_retained());
    }
    tracing::info!(topic, "retained message removed by an operator");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn clear(
    State(observed): Broker,
    Params(query): Params<ClearQuery>,
) -> Result<Json<Cleared>, ApiError> {
    let filter = query.topic.ok_or_else(|| ApiError::bad_request("which ones? topic=# is all of them"))?;
    let cleared = clear_matches(&observed, checked(&filter)?).await;
    tracing::info!(filter, cleared, "retained messages cleared by an operator");
    Ok(Json(Cleared { cleared }))
}

/// Removes what matches, but for the broker's own.
async fn clear_matches(observed: &Observed, filter: &str) -> usize {
    let mut topics = Vec::new();
    for_each(observed, filter, |message| {
        if !message.is_brokers_own() {
            topics.push(message.topic().to_owned());
        }
    })
    .await;
    observed.shared().remove_retained(topics.iter().map(String::as_str))
}

/// Looks at all that match, in the order of their topics, a bounded number at a time.
async fn for_each(observed: &Observed, filter: &str, mut look: impl FnMut(&Message)) {
    let shared = observed.shared();
    let mut after: Option<String> = None;
    loop {
        let now = shared.clock.now();
        let end = shared.router.retained_page(filter, after.as_deref(), STEP, Router::ANY_VERSION, now, &mut look);
        match end {
            PageEnd::Done => return,
            PageEnd::ResumeAfter(topic) => after = Some(topic),
        }
        tokio::task::yield_now().await;
    }
}

fn checked(filter: &str) -> Result<&str, ApiError> {
    match ParsedFilter::parse(filter) {
        Ok(ParsedFilter { share: None, filter }) => Ok(filter),
        Ok(_) => Err(ApiError::bad_request("shared subscriptions have no retained messages")),
        Err(error) => Err(ApiError::bad_request(format!("{filter:?} is no topic filter: {error}"))),
    }
}

fn checked_topic(topic: &str) -> Result<&str, ApiError> {
    if topic.contains(['+', '#']) {
        return Err(ApiError::bad_request("a topic has no wildcards: use messages?topic= for a filter"));
    }
    checked(topic)
}

fn not_retained() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "the topic has no retained message")
}
