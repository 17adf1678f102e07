//! The broker under test.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use midge::broker::{Broker, StartError};
use midge::config::{
    AdminConfig, CertificateConfig, Config, IpNetwork, ListenerAddress, ListenerConfig, TlsConfig, Transport,
};
use midge::net::clock::Clock;
use tokio::net::TcpStream;

/// A running broker, and the configuration it runs with.
pub struct TestBroker {
    pub broker: Broker,
    pub config: Config,
    pub clock: Clock,
}

/// A listener on a free port that lets everybody in.
pub fn listener() -> ListenerConfig {
    ListenerConfig {
        name: "test".into(),
        addresses: vec![ListenerAddress::Tcp(([127, 0, 0, 1], 0).into())],
        ..ListenerConfig::default()
    }
}

/// An address or a network, as in a configuration file.
pub fn network(address: &str, prefix: u8) -> IpNetwork {
    IpNetwork::new(address.parse().unwrap(), prefix).unwrap()
}

/// TLS with the certificates in `directory`, each a `NAME.pem` with its `NAME.key`.
pub fn tls(directory: &Path, names: &[&str]) -> TlsConfig {
    let certificate = |name: &&str| CertificateConfig {
        chain: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
    };
    TlsConfig { certificates: names.iter().map(certificate).collect(), ..TlsConfig::default() }
}

/// A listener for WebSocket.
pub fn websocket() -> ListenerConfig {
    ListenerConfig { transport: Transport::WebSocket, ..listener() }
}

impl TestBroker {
    pub async fn start(listener: ListenerConfig) -> Self {
        Self::start_all(vec![listener]).await
    }

    /// Time moves only when a test says so.
    pub async fn start_all(listeners: Vec<ListenerConfig>) -> Self {
        Self::try_start(listeners).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same with HTTP for operators.
    pub async fn start_with_http(listeners: Vec<ListenerConfig>) -> Self {
        let admin = AdminConfig { http: Some(([127, 0, 0, 1], 0).into()), ..AdminConfig::default() };
        Self::with(listeners, admin).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn try_start(listeners: Vec<ListenerConfig>) -> Result<Self, StartError> {
        Self::with(listeners, AdminConfig::default()).await
    }

    async fn with(listeners: Vec<ListenerConfig>, admin: AdminConfig) -> Result<Self, StartError> {
        let shutdown_timeout = Duration::from_secs(5);
        let config = Config { listeners, shutdown_timeout, admin, ..Config::default() };
        config.validate().unwrap_or_else(|error| panic!("{error}"));
        let clock = Clock::manual();
        let broker = Broker::start_with_clock(&config, clock.clone()).await?;
        Ok(TestBroker { broker, config, clock })
    }

    pub fn address(&self) -> SocketAddr {
        self.broker.local_addresses()[0]
    }

    pub async fn socket(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}
