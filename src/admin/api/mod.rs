//! The API: paths and shapes of EMQX's `/api/v5`, as far as there is something behind them.
//!
//! Lists answer `{"data": […], "meta": {"page", "limit", "count", "hasnext"}}`, errors `{"code", "message"}`. Client ids
//! and topics in paths are percent-encoded.

mod answer;
mod broker;
mod clients;
mod messages;
mod retained;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};

use crate::telemetry::snapshot::Observed;

pub(super) use answer::ApiError;

/// What every handler looks at.
type Broker = State<Arc<Observed>>;

pub(super) fn routes(observed: Arc<Observed>) -> Router {
    let api = Router::new()
        .route("/status", get(broker::status))
        .route("/stats", get(broker::stats))
        .route("/metrics", get(broker::metrics))
        .route("/clients", get(clients::list))
        .route("/clients/{client_id}", get(clients::show).delete(clients::kick))
        .route("/clients/{client_id}/subscriptions", get(clients::subscriptions))
        .route("/clients/{client_id}/mqueue_messages", get(messages::queue).delete(messages::purge))
        .route("/sessions/{client_id}", delete(clients::delete))
        .route("/mqtt/retainer/messages", get(retained::list).delete(retained::clear))
        .route("/mqtt/retainer/message/{topic}", get(retained::show).delete(retained::remove))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such path") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "the path has no such method")
        })
        .with_state(observed);
    Router::new().nest("/api/v5", api)
}
