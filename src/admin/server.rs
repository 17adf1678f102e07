//! The sockets that HTTP is served on.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::net::unix::{self, SocketFile};

/// Who may open the file may do everything: its owner.
const SOCKET_MODE: u32 = 0o600;
/// Operators are few.
const SOCKET_BACKLOG: i32 = 64;

/// Binds `admin.http`; connections queue in the kernel until [`serve`].
pub async fn bind_http(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Binds the socket of `midge ctl`; its file goes when the second is dropped.
pub fn bind_socket(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    unix::bind(path, SOCKET_MODE, SOCKET_BACKLOG)
}

/// Answers requests until told to stop, and those that have begun then.
pub async fn serve<L>(socket: L, routes: Router, stop: CancellationToken)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let serving = axum::serve(socket, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "HTTP is no longer served");
    }
}
