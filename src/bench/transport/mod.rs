//! How a client reaches the broker: TCP, with TLS in it or not, with WebSocket in that or not.

mod tls;
mod websocket;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use self::tls::TlsDialer;
use self::websocket::WebSocket;

/// What the broker expects below MQTT.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    pub tls: Option<TlsClient>,
    /// The path of the HTTP request.
    pub websocket: Option<String>,
}

/// Whom a client believes, and what it shows.
#[derive(Clone, Debug)]
pub struct TlsClient {
    /// PEM file of the authorities; `None` believes every certificate.
    pub authorities: Option<PathBuf>,
    /// PEM files of a certificate chain and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Ordered bytes in both directions.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// Opens connections to one address.
pub(super) struct Dialer {
    address: SocketAddr,
    host: String,
    tls: Option<TlsDialer>,
    websocket: Option<String>,
}

/// An address of this machine has some 28,000 ports for outgoing connections to one listener.
const CONNECTIONS_OF_AN_ADDRESS: usize = 20_000;

impl Dialer {
    /// Tries the addresses of a host in order; the connection that shows which one answers comes along.
    pub(super) async fn find(host: &str, port: u16, transport: &Transport) -> io::Result<(Dialer, TcpStream)> {
        let tls = transport.tls.as_ref().map(|tls| TlsDialer::new(tls, host)).transpose()?;
        let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
        for address in tokio::net::lookup_host((host, port)).await? {
            outcome = TcpStream::connect(address).await.map(|stream| (address, stream));
            if outcome.is_ok() {
                break;
            }
        }
        let (address, stream) = outcome?;
        // An IPv6 address has colons of its own.
        let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let websocket = transport.websocket.clone();
        Ok((Dialer { address, host, tls, websocket }, stream))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection; `number` counts them, so that those to this machine do not run out of ports.
    pub(super) async fn dial(&self, number: usize) -> io::Result<Box<dyn Wire>> {
        let stream = match self.source(number) {
            Some(source) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((source, 0).into())?;
                socket.connect(self.address).await?
            }
            None => TcpStream::connect(self.address).await?,
        };
        self.over(stream).await
    }

    /// 127.0.0.2 and so on, for all but the first connections to 127.0.0.1.
    fn source(&self, number: usize) -> Option<Ipv4Addr> {
        let IpAddr::V4(target) = self.address.ip() else { return None };
        let beyond = u32::try_from(number / CONNECTIONS_OF_AN_ADDRESS).ok()?;
        (target == Ipv4Addr::LOCALHOST && beyond > 0).then(|| Ipv4Addr::from_bits(target.to_bits() + beyond))
    }

    /// Everything between TCP and MQTT.
    pub(super) async fn over(&self, stream: TcpStream) -> io::Result<Box<dyn Wire>> {
        stream.set_nodelay(true)?;
        match (&self.tls, &self.websocket) {
            (None, None) => Ok(Box::new(stream)),
            (None, Some(path)) => Ok(Box::new(WebSocket::open(stream, &self.host, path).await?)),
            (Some(tls), None) => Ok(Box::new(tls.over(stream).await?)),
            (Some(tls), Some(path)) => Ok(Box::new(WebSocket::open(tls.over(stream).await?, &self.host, path).await?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn many_connections_to_this_machine_come_from_several_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (dialer, _) = Dialer::find("localhost", port, &Transport::default()).await.unwrap();
        assert_eq!(dialer.address(), listener.local_addr().unwrap());
        listener.accept().await.unwrap();
        for (number, last) in [(0, 1), (CONNECTIONS_OF_AN_ADDRESS - 1, 1), (CONNECTIONS_OF_AN_ADDRESS * 2, 3)] {
            let (_, (_, peer)) = tokio::join!(dialer.dial(number), async { listener.accept().await.unwrap() });
            assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, last));
        }
    }
}
