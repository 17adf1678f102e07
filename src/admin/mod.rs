//! Operating the broker over HTTP: health, metrics, and the API.
//!
//! Nothing here asks who is calling. `admin.http` is meant for loopback, or for a network with `http_api = false`, which
//! the configuration insists on; the Unix socket of `midge ctl` is guarded by the permissions of its file.

mod health;
pub mod server;

use std::sync::Arc;

use axum::Router;

use crate::telemetry::snapshot::Observed;

/// What is served: health and metrics, and the API where it is wanted.
pub fn routes(observed: &Arc<Observed>) -> Router {
    health::routes(Arc::clone(observed))
}
