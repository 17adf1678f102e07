//! Where connections come in: sockets, their options, and one task that accepts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::context::{ListenerContext, Shared};
use super::driver::{Driver, Peer};
use super::stream::Stream;

/// Options of a listening TCP socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    pub backlog: u32,
    pub reuse_port: bool,
    pub ipv6_only: bool,
    pub no_delay: bool,
}

/// Binds and listens; connections queue in the kernel until [`accept`].
pub fn bind_tcp(address: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.ipv6_only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Without file descriptors or memory, accepting is tried again after this.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts connections until told to stop.
pub async fn accept(
    socket: TcpListener,
    options: SocketOptions,
    listener: Arc<ListenerContext>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => start(stream, peer, options, &listener, &shared),
            Err(error) => {
                tracing::error!(listener = %listener.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn start(
    stream: TcpStream,
    peer: SocketAddr,
    options: SocketOptions,
    listener: &Arc<ListenerContext>,
    shared: &Arc<Shared>,
) {
    if let Err(error) = stream.set_nodelay(options.no_delay) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    listener.connections.fetch_add(1, Relaxed);
    let peer = Peer { name: peer.to_string().into(), ip: Some(peer.ip()), certificate: None };
    shared.tasks.spawn(Driver::new(Stream::Tcp(stream), peer, Arc::clone(shared), Arc::clone(listener)));
}
