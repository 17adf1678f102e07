//! Every default of the configuration, here and nowhere else. `config/midge.toml` says why each is what it is.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use super::*;

const MIB: u64 = 1024 * 1024;
const WEEK: u64 = 7 * 24 * 60 * 60;

impl Default for Config {
    fn default() -> Config {
        Config {
            worker_threads: 0,
            shutdown_timeout: Duration::from_secs(10),
            listeners: vec![ListenerConfig::default().on_loopback()],
            limits: SessionLimits::default(),
            retained: RetainedConfig::default(),
            shared: SharedConfig::default(),
            store: StoreConfig::default(),
            sys: SysConfig::default(),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl ListenerConfig {
    /// The listener of a broker that was told of none: loopback only.
    pub(super) fn on_loopback(self) -> ListenerConfig {
        let on = |ip| ListenerAddress::Tcp(SocketAddr::new(ip, 1883));
        let addresses = vec![on(Ipv4Addr::LOCALHOST.into()), on(Ipv6Addr::LOCALHOST.into())];
        ListenerConfig { name: "default".into(), addresses, ..self }
    }
}

/// The settings of a listener that says nothing but its address; it has none yet.
impl Default for ListenerConfig {
    fn default() -> ListenerConfig {
        ListenerConfig {
            name: String::new(),
            addresses: Vec::new(),
            unix_mode: FileMode(0o660),
            transport: Transport::Tcp,
            websocket: WebSocketConfig::default(),
            tls: None,
            proxy_protocol: None,
            access: AccessConfig::default(),
            connections_max: None,
            connect_rate: None,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            backlog: nonzero(1024),
            reuse_port: false,
            ipv6_only: true,
            no_delay: true,
            protocol_versions: ProtocolVersions::ALL,
            maximum_packet_size: ByteSize(2 * MIB),
            receive_maximum: NonZeroU16::MIN.saturating_add(1023),
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_maximum: 32,
            topic_alias_maximum_outbound: 32,
            keep_alive_max: Duration::ZERO,
            check_payload_format: true,
            response_information: String::new(),
            mount_point: String::new(),
            user_name_as_client_id: false,
            on_queue_full: QueueFull::DropOldest,
            queue_qos0: false,
        }
    }
}

impl Default for WebSocketConfig {
    fn default() -> WebSocketConfig {
        WebSocketConfig {
            path: "/mqtt".into(),
            origins: Vec::new(),
            subprotocols: vec!["mqtt".into(), "mqttv3.1".into()],
            headers_bytes_max: ByteSize(8 * 1024),
            frame_bytes_max: ByteSize(4 * MIB),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for TlsConfig {
    fn default() -> TlsConfig {
        TlsConfig {
            certificates: Vec::new(),
            client_auth: ClientAuth::None,
            client_ca: None,
            client_crl: None,
            version_min: TlsVersion::V1_2,
            version_max: TlsVersion::V1_3,
            session_tickets: true,
            watch_interval: Duration::from_secs(60),
        }
    }
}

impl Default for ProxyProtocolConfig {
    fn default() -> ProxyProtocolConfig {
        ProxyProtocolConfig { versions: vec![ProxyVersion::V1, ProxyVersion::V2], from: Vec::new() }
    }
}

impl Default for AccessConfig {
    fn default() -> AccessConfig {
        AccessConfig {
            allow_anonymous: None,
            password_file: None,
            scram_file: None,
            acl_file: None,
            certificate_user_name: CertificateUserName::None,
            subscribe: SubscribeCheck::Overlap,
            denied_publish_3x: DeniedPublish::Acknowledge,
        }
    }
}

impl Default for SessionLimits {
    fn default() -> SessionLimits {
        SessionLimits {
            sessions_max: None,
            session_expiry_max: Expiry::Never,
            session_expiry_3x: Expiry::After(Duration::from_secs(2 * WEEK)),
            subscriptions_max: nonzero(1_000_000),
            queue_messages_max: nonzero(10_000),
            queue_bytes_max: ByteSize(16 * MIB),
            inflight_max: NonZeroU16::MIN.saturating_add(1023),
        }
    }
}

impl Default for RetainedConfig {
    fn default() -> RetainedConfig {
        RetainedConfig { messages_max: nonzero(1_000_000), bytes_max: ByteSize(1024 * MIB) }
    }
}

impl Default for SharedConfig {
    fn default() -> SharedConfig {
        SharedConfig {
            strategy: SharedStrategy::RoundRobin,
            queue_messages_max: nonzero(100_000),
            queue_bytes_max: ByteSize(64 * MIB),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            directory: None,
            memory: false,
            durability: DurabilityClass::Fsync,
            rules: Vec::new(),
            bytes_max: ByteSize(0),
            free_bytes_min: ByteSize(64 * MIB),
        }
    }
}

impl Default for SysConfig {
    fn default() -> SysConfig {
        SysConfig { interval: Duration::from_secs(10) }
    }
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { http: None, http_api: true, socket: None }
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig { filter: "info".into(), format: LogFormat::Text, destination: LogDestination::Stderr }
    }
}

const fn nonzero(count: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(count - 1)
}
