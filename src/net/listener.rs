//! Where connections come in: sockets, their options, and one task an address that accepts.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::admission::Place;
use super::context::{ListenerContext, Shared};
use super::driver::Driver;
use super::facts::{ConnectionFacts, Peer};
use super::handshake;
use super::stream::{Socket, Stream};
use super::unix::{self, SocketFile};

/// Options of listening sockets.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    pub backlog: u32,
    pub reuse_port: bool,
    pub ipv6_only: bool,
    pub no_delay: bool,
    /// Permissions of a Unix domain socket's file.
    pub unix_mode: u32,
}

impl SocketOptions {
    fn backlog(self) -> i32 {
        i32::try_from(self.backlog).unwrap_or(i32::MAX)
    }
}

/// A socket that listens; connections queue in the kernel until [`accept`].
pub enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Binds and listens.
pub fn bind_tcp(address: SocketAddr, options: SocketOptions) -> io::Result<ListeningSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.ipv6_only)?;
    }
    // Accepted sockets inherit these two: no system call for each.
    socket.set_tcp_nodelay(options.no_delay)?;
    // At the system's own pace (hours): finds peers that vanished without a word and asked for no keep alive.
    socket.set_keepalive(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog())?;
    Ok(ListeningSocket::Tcp(TcpListener::from_std(socket.into())?))
}

/// Binds and listens; a socket that nobody listens on any more makes room.
pub fn bind_unix(path: &Path, options: SocketOptions) -> io::Result<ListeningSocket> {
    let (socket, file) = unix::bind(path, options.unix_mode, options.backlog())?;
    Ok(ListeningSocket::Unix(socket, file))
}

impl ListeningSocket {
    /// The port of a socket bound to port 0 shows here; `None` for a Unix domain socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            ListeningSocket::Tcp(socket) => socket.local_addr().ok(),
            ListeningSocket::Unix(..) => None,
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            ListeningSocket::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                Ok((Socket::Tcp(stream), Peer::Socket(address)))
            }
            ListeningSocket::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                let peer = Peer::Local(unix::peer_name(&stream).into());
                Ok((Socket::Unix(Box::new(stream)), peer))
            }
        }
    }
}

/// Without file descriptors or memory, accepting is tried again after this ...
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// ... and that is said as seldom as this.
const SAY_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts connections until told to stop.
pub async fn accept(
    socket: ListeningSocket,
    listener: Arc<ListenerContext>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let mut said_at: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => start(socket, peer, &listener, &shared, &stop),
            // The client has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if said_at.is_none_or(|at| at.elapsed() >= SAY_INTERVAL) {
                    tracing::error!(listener = %listener.name, %error, "cannot accept connections");
                    said_at = Some(Instant::now());
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_RETRY) => {}
                }
            }
        }
    }
}

fn start(socket: Socket, peer: Peer, listener: &Arc<ListenerContext>, shared: &Arc<Shared>, stop: &CancellationToken) {
    let Some(place) = Place::take(shared, listener) else { return };
    let facts = ConnectionFacts::new(peer, None, &listener.name);
    if listener.layers.is_bare() {
        shared.tasks.spawn(Driver::new(Stream::bare(socket), facts, place));
    } else {
        shared.tasks.spawn(handshake::run(socket, facts, place, stop.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(no_delay: bool) -> SocketOptions {
        SocketOptions { backlog: 16, reuse_port: false, ipv6_only: true, no_delay, unix_mode: 0o600 }
    }

    #[tokio::test]
    async fn accepted_sockets_have_the_options_of_their_listener() {
        for no_delay in [true, false] {
            let listener = bind_tcp(([127, 0, 0, 1], 0).into(), options(no_delay)).unwrap();
            let address = listener.local_addr().unwrap();
            let (client, accepted) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
            let (Socket::Tcp(stream), peer) = accepted.unwrap() else { panic!("not TCP") };
            assert_eq!(stream.nodelay().unwrap(), no_delay);
            assert!(socket2::SockRef::from(&stream).keepalive().unwrap());
            assert_eq!(peer, Peer::Socket(client.unwrap().local_addr().unwrap()));
        }
    }
}
