//! What tells that the broker lives, that it serves, and how it does.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::telemetry::metrics;
use crate::telemetry::snapshot::Observed;

type Broker = State<Arc<Observed>>;

pub(super) fn routes(observed: Arc<Observed>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/health", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics_page))
        .with_state(observed)
}

/// That this is answered at all is the answer.
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether clients can connect now.
async fn readyz(State(observed): Broker) -> Response {
    match readiness(&observed) {
        Ok(ready) => format!("{ready}\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

fn readiness(observed: &Observed) -> Result<&'static str, &'static str> {
    match (observed.is_ready(), observed.shared().is_stopping()) {
        (true, _) if observed.shared().keeper.has_failed() => Err("the store has failed"),
        (true, _) => Ok("ok"),
        (false, true) => Err("stopping"),
        (false, false) => Err("starting"),
    }
}

/// For people.
async fn status(State(observed): Broker) -> Response {
    let snapshot = observed.snapshot();
    let (census, counts) = (&snapshot.census, &snapshot.counts);
    let (code, state) = match readiness(&observed) {
        Ok(_) => (StatusCode::OK, "running"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let text = format!(
        "midge {} is {state}\nuptime: {} seconds\nclients: {} connected, {} sessions\nsubscriptions: {}, {} shared\n\
         retained messages: {}\nqueued: {}, in flight: {}\ncopies: {} matched, {} delivered, {} dropped, {} refused\n",
        env!("CARGO_PKG_VERSION"),
        snapshot.uptime.as_secs(),
        census.connected,
        census.sessions,
        census.subscriptions,
        census.shared_subscriptions,
        census.retained,
        census.queued,
        census.inflight,
        counts.matched,
        counts.delivered_sum(),
        counts.dropped_sum(),
        counts.refused,
    );
    (code, text).into_response()
}

async fn metrics_page(State(observed): Broker) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&observed.snapshot())).into_response()
}
