//! Operating the broker over HTTP: health, metrics, and the API.
//!
//! Nothing here asks who is calling. `admin.http` is meant for loopback, or for a network with `http_api = false`, which
//! the configuration insists on; the Unix socket of `midge ctl` is guarded by the permissions of its file. What this
//! room shows it reads from [`Observed`] and the shared state; what it does goes through `net::operator`.

mod api;
mod browsers;
mod health;
pub mod server;

use std::sync::Arc;

use axum::{Router, middleware};

use crate::telemetry::snapshot::Observed;

/// What `admin.http` serves: health and metrics, and the API where it is wanted.
pub fn http_routes(observed: &Arc<Observed>, with_api: bool) -> Router {
    let health = health::routes(Arc::clone(observed));
    if !with_api {
        return health;
    }
    let api = api::routes(Arc::clone(observed));
    health.merge(api.layer(middleware::from_fn(browsers::keep_out)))
}

/// What the socket of `midge ctl` serves: everything.
pub fn socket_routes(observed: &Arc<Observed>) -> Router {
    health::routes(Arc::clone(observed)).merge(api::routes(Arc::clone(observed)))
}
