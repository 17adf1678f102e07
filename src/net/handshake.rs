//! From an accepted socket to the first byte of MQTT: PROXY header, TLS, WebSocket, each where the listener wants it.
//!
//! All of it, and the CONNECT after it, has to be done by one deadline that counts from accept. The task of a handshake
//! ends with it: what it needed is gone before the connection's own task begins.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::sync::CancellationToken;

use super::admission::Place;
use super::clock::Alarm;
use super::driver::Driver;
use super::facts::{ConnectionFacts, Peer};
use super::proxy_protocol::{self, ProxyError, ProxyVersions};
use super::stream::{Metered, Secured, Socket, Stream};
use super::tls::Tls;
use super::websocket::{self, Accepted, Upgrade, UpgradeRules, WebSocket};
use crate::auth::{CertificateError, CertificateSubject};
use crate::router::Counts;

/// What lies between the socket and MQTT.
#[derive(Default)]
pub struct Layers {
    pub proxy_protocol: Option<ProxyProtocol>,
    pub tls: Option<Arc<Tls>>,
    pub websocket: Option<WebSocketLayer>,
}

/// The PROXY protocol, and who may speak it.
pub struct ProxyProtocol {
    pub versions: ProxyVersions,
    pub from: AddressSet,
}

/// WebSocket, and who may come in.
pub struct WebSocketLayer {
    pub rules: UpgradeRules,
    pub frame_bytes_max: u64,
    /// Whose X-Forwarded-For names the client.
    pub trusted_proxies: AddressSet,
}

/// Addresses that a setting names.
pub struct AddressSet(Box<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl AddressSet {
    pub fn new(contains: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        AddressSet(Box::new(contains))
    }

    /// A peer without an address is on this machine: it counts as 127.0.0.1.
    fn contains(&self, ip: Option<IpAddr>) -> bool {
        (self.0)(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()))
    }
}

/// Why a connection ended before MQTT began.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("it may not connect without being a configured proxy")]
    NotAProxy,
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("WebSocket: {0}")]
    WebSocket(#[from] websocket::Refusal),
    #[error("it closed the connection inside the WebSocket request")]
    Cut,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the handshake took too long")]
    TooSlow,
    #[error("the broker stops")]
    Stopping,
}

impl Layers {
    /// MQTT begins with the first byte of the socket.
    pub(super) fn is_bare(&self) -> bool {
        self.proxy_protocol.is_none() && self.tls.is_none() && self.websocket.is_none()
    }
}

/// A handshake that failed.
struct Failed {
    error: HandshakeError,
    /// What may still be on its way to a client that is told why.
    farewell: Option<Secured>,
}

impl<E: Into<HandshakeError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Failed { error: error.into(), farewell: None }
    }
}

/// Takes a connection through its handshakes and starts its driver.
pub(super) async fn run(socket: Socket, facts: ConnectionFacts, place: Place, stop: CancellationToken) {
    let peer = facts.peer.clone();
    let deadline = place.accepted_at.after(place.listener.connect_timeout);
    let mut alarm = Alarm::new(&place.shared.clock);
    let outcome = tokio::select! {
        outcome = layers(socket, facts, &place.listener.layers) => outcome,
        () = poll_fn(|cx| alarm.poll(deadline, cx)) => Err(HandshakeError::TooSlow.into()),
        () = stop.cancelled() => Err(HandshakeError::Stopping.into()),
    };
    let Failed { error, farewell } = match outcome {
        Ok((stream, facts)) => return drop(place.shared.tasks.clone().spawn(Driver::new(stream, facts, place))),
        Err(failed) => failed,
    };
    place.shared.router.counters().add(&mut Counts { handshakes_failed: 1, ..Counts::default() });
    tracing::info!(%peer, listener = %place.listener.name, why = %error, "connection refused");
    if let Some(stream) = farewell {
        tokio::select! {
            () = say_farewell(stream) => {}
            () = poll_fn(|cx| alarm.poll(deadline, cx)) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn layers(
    mut socket: Socket,
    mut facts: ConnectionFacts,
    layers: &Layers,
) -> Result<(Stream, ConnectionFacts), Failed> {
    if let Some(proxy) = &layers.proxy_protocol {
        believe_proxy(&mut socket, &mut facts.peer, proxy).await?;
    }
    let secured = match &layers.tls {
        Some(tls) => encrypt(socket, &mut facts.certificate, tls).await?,
        None => Secured::Plain(socket),
    };
    let stream = match &layers.websocket {
        Some(layer) => Stream::WebSocket(Box::new(upgrade(secured, &mut facts.peer, layer).await?)),
        None => Stream::Bare(secured),
    };
    Ok((stream, facts))
}

async fn believe_proxy(socket: &mut Socket, peer: &mut Peer, proxy: &ProxyProtocol) -> Result<(), HandshakeError> {
    if !proxy.from.contains(peer.ip()) {
        return Err(HandshakeError::NotAProxy);
    }
    if let Some(client) = proxy_protocol::read_header(socket, proxy.versions).await? {
        tracing::debug!(peer = %client, proxy = %peer, "a proxy names its client");
        *peer = Peer::Socket(client);
    }
    Ok(())
}

async fn encrypt(
    socket: Socket,
    certificate: &mut Option<Arc<CertificateSubject>>,
    tls: &Tls,
) -> Result<Secured, Failed> {
    let accept = TlsAcceptor::from(tls.config()).accept(Metered::new(socket));
    let stream = match accept.into_fallible().await {
        Ok(stream) => stream,
        Err((error, metered)) => {
            let farewell = Some(Secured::Plain(metered.into_socket()));
            return Err(Failed { error: HandshakeError::Tls(error), farewell });
        }
    };
    *certificate = client_certificate(stream.get_ref().1)?;
    Ok(Secured::Tls(Box::new(stream)))
}

fn client_certificate(
    connection: &rustls::ServerConnection,
) -> Result<Option<Arc<CertificateSubject>>, CertificateError> {
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    certificate.map(|der| CertificateSubject::from_der(der).map(Arc::new)).transpose()
}

async fn upgrade(mut stream: Secured, peer: &mut Peer, layer: &WebSocketLayer) -> Result<WebSocket<Secured>, Failed> {
    let mut request = Vec::new();
    let accepted = loop {
        match websocket::upgrade(&request, &layer.rules) {
            Upgrade::Accepted(accepted) => break accepted,
            Upgrade::Refused(refusal) => {
                stream.write_all(refusal.response().as_bytes()).await?;
                return Err(Failed { error: refusal.into(), farewell: Some(stream) });
            }
            Upgrade::Incomplete => {}
        }
        request.reserve(REQUEST_BYTES);
        if stream.read_buf(&mut request).await? == 0 {
            return Err(HandshakeError::Cut.into());
        }
    };
    let Accepted { response, request_len, forwarded_for } = accepted;
    stream.write_all(response.as_bytes()).await?;
    stream.flush().await?;
    if let Some(client) = client_behind(&forwarded_for, peer.ip(), &layer.trusted_proxies) {
        tracing::debug!(peer = %client, proxy = %peer, "a proxy names its client");
        *peer = Peer::Ip(client);
    }
    request.drain(..request_len);
    request.shrink_to_fit();
    Ok(WebSocket::new(stream, layer.frame_bytes_max, request))
}

/// A usual request in one read.
const REQUEST_BYTES: usize = 1024;
/// What a refused client may still send before it is cut.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// Lets a client read why it was refused: closing with its bytes unread would destroy what is on its way to it. The
/// deadline of the handshake holds.
async fn say_farewell(mut stream: Secured) {
    if stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream.take(FAREWELL_BYTES_MAX), &mut tokio::io::sink()).await;
    }
}

/// The client that trusted proxies name: going back along the chain, the first one that is no such proxy. `None` when
/// the peer itself is none, or named nobody.
fn client_behind(forwarded_for: &[String], peer: Option<IpAddr>, trusted: &AddressSet) -> Option<IpAddr> {
    if !trusted.contains(peer) {
        return None;
    }
    let mut client = None;
    for entry in forwarded_for.iter().rev().flat_map(|header| header.rsplit(',')) {
        // What a proxy could not tell, nobody before it can.
        let Some(ip) = forwarded_address(entry.trim()) else { break };
        client = Some(ip);
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

/// An address, with or without a port, as proxies write them.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(ip, _)| ip);
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}
