//! What the broker is told: one typed [`Config`], read from four layers.
//!
//! ```text
//! Config::default()  <  midge.toml  <  MIDGE_… environment  <  command-line flags
//! ```
//!
//! `raw` turns the layers into one tree in which every value knows where it was written, `read` lays that tree over
//! the defaults and collects everything that is wrong, `check` judges what only the whole can show. A `Config` that
//! came out of [`Layers::load`] is safe to start. Parts of the broker receive their own struct, never the whole.
//!
//! Never in here: sockets, the broker's state. Files are only looked at by [`Layers::load`] and `files`.

mod check;
mod defaults;
mod error;
mod files;
mod layers;
mod nearest;
mod raw;
mod read;
mod reload;
#[cfg(test)]
mod tests;
mod value;

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

pub use error::{ConfigError, Origin, Problem};
pub use layers::{FILE_VARIABLE, Flag, Layers, Loaded};
pub use read::all_keys;
pub use reload::{Changes, Running, diff, live_keys};
pub use value::{ByteSize, Expiry, FileMode, IpNetwork, ListenerAddress, ProtocolVersions};

use crate::topic::QoS;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads of the runtime; 0 means one for each core.
    pub worker_threads: u16,
    /// How long a stop waits for clients to take their last packets.
    pub shutdown_timeout: Duration,
    pub listeners: Vec<ListenerConfig>,
    pub limits: SessionLimits,
    pub retained: RetainedConfig,
    pub shared: SharedConfig,
    pub store: StoreConfig,
    pub sys: SysConfig,
    pub admin: AdminConfig,
    pub log: LogConfig,
}

/// One place where clients connect, and everything that may differ from listener to listener.
///
/// The defaults of all listeners are `[defaults]` and `[access]` in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerConfig {
    /// In logs, metrics and the API; unique. The first address when none is written.
    pub name: String,
    pub addresses: Vec<ListenerAddress>,
    /// Permissions of a Unix domain socket's file.
    pub unix_mode: FileMode,
    pub transport: Transport,
    /// Used when `transport` is WebSocket.
    pub websocket: WebSocketConfig,
    pub tls: Option<TlsConfig>,
    /// `None`: a PROXY header is an error like any other bytes before CONNECT.
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    pub access: AccessConfig,

    /// Network connections at a time; `None` is no limit of the listener's own.
    pub connections_max: Option<NonZeroU32>,
    /// New connections a second; more are closed at once. `None` is no limit.
    pub connect_rate: Option<NonZeroU32>,
    /// From accept to a complete CONNECT, TLS and WebSocket handshakes included.
    pub connect_timeout: Duration,
    /// How long a write may stand still before the connection is closed.
    pub write_timeout: Duration,
    pub backlog: NonZeroU32,
    pub reuse_port: bool,
    /// An IPv6 listener takes IPv6 only, so that `0.0.0.0` and `[::]` can share a port.
    pub ipv6_only: bool,
    pub no_delay: bool,

    pub protocol_versions: ProtocolVersions,
    /// The largest packet taken from a client, fixed header included.
    pub maximum_packet_size: ByteSize,
    /// QoS 1 and 2 publishes of one client that may wait for their acknowledgement at a time.
    pub receive_maximum: NonZeroU16,
    pub maximum_qos: QoS,
    pub retain_available: bool,
    /// Topic aliases a client may set; 0 turns them off.
    pub topic_alias_maximum: u16,
    /// Topic aliases the broker sets at most, within what the client allows; 0 turns them off.
    pub topic_alias_maximum_outbound: u16,
    /// The longest keep alive a client may ask for; zero is no limit.
    pub keep_alive_max: Duration,
    /// Text payloads must be UTF-8 when their publisher says so (Payload Format Indicator).
    pub check_payload_format: bool,
    /// What clients that ask are told to build response topics from, `%c` being their client id; empty for nothing.
    pub response_information: String,
    /// Put before every topic of this listener's clients, out of their sight; empty for none.
    pub mount_point: String,
    pub user_name_as_client_id: bool,

    pub on_queue_full: QueueFull,
    /// Also keep QoS 0 messages for a session whose client is away.
    pub queue_qos0: bool,
}

/// What carries the MQTT bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, or a Unix domain socket.
    Tcp,
    WebSocket,
}

/// A WebSocket listener (RFC 6455).
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocketConfig {
    pub path: String,
    /// Values of the Origin header that may connect; empty lets every origin in, and clients without the header too.
    pub origins: Vec<String>,
    /// In order of preference.
    pub subprotocols: Vec<String>,
    pub headers_bytes_max: ByteSize,
    pub frame_bytes_max: ByteSize,
    /// Reverse proxies whose X-Forwarded-For names the client.
    pub trusted_proxies: Vec<IpNetwork>,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsConfig {
    /// The first is for clients that send no server name; the others are chosen by theirs.
    pub certificates: Vec<CertificateConfig>,
    pub client_auth: ClientAuth,
    /// PEM file of the authorities that sign client certificates.
    pub client_ca: Option<PathBuf>,
    /// PEM file of certificate revocation lists for client certificates.
    pub client_crl: Option<PathBuf>,
    pub version_min: TlsVersion,
    pub version_max: TlsVersion,
    pub session_tickets: bool,
    /// How often the files are looked at for changes; zero leaves it to SIGHUP.
    pub watch_interval: Duration,
}

/// A certificate chain with its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CertificateConfig {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// The PROXY protocol, from the proxies named here and nobody else.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyProtocolConfig {
    pub versions: Vec<ProxyVersion>,
    /// Connections from elsewhere are closed.
    pub from: Vec<IpNetwork>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    V1,
    V2,
}

/// Who may connect, and what they may do.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessConfig {
    /// As written; ask [`ListenerConfig::allows_anonymous`].
    pub allow_anonymous: Option<bool>,
    /// In mosquitto's format.
    pub password_file: Option<PathBuf>,
    /// Credentials for SCRAM-SHA-256.
    pub scram_file: Option<PathBuf>,
    /// In mosquitto's format.
    pub acl_file: Option<PathBuf>,
    pub certificate_user_name: CertificateUserName,
    pub subscribe: SubscribeCheck,
    /// What happens to a 3.x client that publishes what it may not: MQTT 3 has no way to say no.
    pub denied_publish_3x: DeniedPublish,
}

/// What of a verified client certificate becomes the user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUserName {
    None,
    CommonName,
    Subject,
}

/// When a subscription is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeCheck {
    /// At least one topic it can match is allowed; the rest is filtered at delivery and counted.
    Overlap,
    /// The whole filter is allowed.
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedPublish {
    /// Acknowledged, not delivered, counted ([MQTT-3.1.1 3.3.5-2]).
    Acknowledge,
    Close,
}

/// What becomes of a message for a session whose queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFull {
    DropOldest,
    DropNewest,
    /// The publisher is refused with 0x97 and nobody gets the message.
    Refuse,
    /// The slow client is disconnected.
    Disconnect,
}

/// Bounds of sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionLimits {
    /// Sessions at a time, connected or not; `None` is no limit.
    pub sessions_max: Option<NonZeroU32>,
    pub session_expiry_max: Expiry,
    /// Of 3.x sessions with clean session 0: these clients cannot say it themselves.
    pub session_expiry_3x: Expiry,
    /// Of one session.
    pub subscriptions_max: NonZeroU32,
    /// Waiting in one session.
    pub queue_messages_max: NonZeroU32,
    /// Waiting in one session.
    pub queue_bytes_max: ByteSize,
    /// QoS 1 and 2 messages in flight to one client: the window of a 3.x client, an upper bound on a 5.0 client's
    /// Receive Maximum.
    pub inflight_max: NonZeroU16,
}

/// Bounds of the retained messages.
#[derive(Clone, Debug, PartialEq)]
pub struct RetainedConfig {
    pub messages_max: NonZeroU32,
    /// Topics, properties and payloads together.
    pub bytes_max: ByteSize,
}

/// Shared subscriptions.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedConfig {
    pub strategy: SharedStrategy,
    /// Waiting in one group while no member can take more.
    pub queue_messages_max: NonZeroU32,
    pub queue_bytes_max: ByteSize,
}

/// Which member of a shared subscription gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedStrategy {
    RoundRobin,
    Random,
    /// The same member until it cannot take more.
    Sticky,
    /// By the publisher's client id.
    HashClientId,
    HashTopic,
    LeastInFlight,
}

/// What outlives the process, and how safely.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    /// Where state is kept; `None` keeps it in memory. `midge serve` fills it in from [`Layers::data_directory`].
    pub directory: Option<PathBuf>,
    /// Keep nothing beyond the process.
    pub memory: bool,
    /// Of sessions, and of messages that no rule names.
    pub durability: DurabilityClass,
    /// The first whose filter matches a topic decides for its messages.
    pub rules: Vec<DurabilityRule>,
    /// All files together; 0 is no limit.
    pub bytes_max: ByteSize,
    /// Room on the disk that is left to others.
    pub free_bytes_min: ByteSize,
}

/// How safe something is before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurabilityClass {
    /// In memory.
    Memory,
    /// With the operating system.
    Os,
    /// On disk.
    #[default]
    Fsync,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DurabilityRule {
    pub filter: String,
    pub durability: DurabilityClass,
}

/// The `$SYS/broker/…` topics.
#[derive(Clone, Debug, PartialEq)]
pub struct SysConfig {
    /// Zero turns the tree off.
    pub interval: Duration,
}

/// Health, metrics and the API.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminConfig {
    /// `/livez`, `/readyz`, `/metrics` and, if `http_api`, the API. It has no authentication.
    pub http: Option<SocketAddr>,
    pub http_api: bool,
    /// Unix socket of `midge ctl`; guarded by file permissions.
    pub socket: Option<PathBuf>,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// In the syntax of tracing: `info`, `warn,midge::net=debug`.
    pub filter: String,
    pub format: LogFormat,
    pub destination: LogDestination,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    Stderr,
    /// Appended to, reopened on SIGHUP.
    File(PathBuf),
}

impl Config {
    /// Reads a configuration file's text over the defaults.
    ///
    /// `name` is the file's path: it stands in errors, and relative paths in the text start from its directory.
    pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
        let tree = raw::Node::parse_file(name, text).map_err(ConfigError::Invalid)?;
        let mut reader = read::Reader::new(Vec::new());
        let config = reader.config(&tree);
        check::check(&config, &mut reader);
        reader.finish(config)
    }

    /// Checks a configuration that a program made, as [`Config::parse`] and [`Layers::load`] check what they read.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut reader = read::Reader::new(Vec::new());
        check::check(self, &mut reader);
        files::check(self, &mut reader);
        reader.finish(self.clone()).map(drop)
    }
}

impl AccessConfig {
    /// Whether a password or SCRAM credential file is configured.
    pub fn has_credentials(&self) -> bool {
        self.password_file.is_some() || self.scram_file.is_some()
    }
}

impl ListenerConfig {
    /// Whether every client proves who it is, by credentials or by a certificate it must show.
    pub fn authenticates(&self) -> bool {
        let certificate = self.tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::Required);
        self.access.has_credentials() || certificate
    }

    /// Whether a client without credentials may connect: as written, else only where nobody else can.
    pub fn allows_anonymous(&self) -> bool {
        let unguarded = !self.authenticates() && self.addresses.iter().all(ListenerAddress::is_local);
        self.access.allow_anonymous.unwrap_or(unguarded)
    }
}
