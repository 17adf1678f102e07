//! The sockets that HTTP is served on.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Binds `admin.http`; connections queue in the kernel until [`serve`].
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers requests until told to stop, and those that have begun then.
pub async fn serve(socket: TcpListener, routes: Router, stop: CancellationToken) {
    let serving = axum::serve(socket, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "HTTP is no longer served");
    }
}
