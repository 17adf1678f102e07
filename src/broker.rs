//! The composition root: builds every part from the configuration, owns the order of start and shutdown. The only file
//! that knows all rooms.

mod listen;

pub use listen::check_tls;
mod operate;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{AccessPolicy, AclFile, AllowAll, AuthFileError, Authorizer, CertificateAs, PasswordFile, ScramFile};
use crate::config::{
    AccessConfig, CertificateUserName, Config, ConfigError, DeniedPublish, ListenerConfig, ProtocolVersions, QueueFull,
    SessionLimits, SharedStrategy, SubscribeCheck,
};
use crate::net::census::{Accounting, Census};
use crate::net::clock::{Alarm, Clock};
use crate::net::context::{Access, ListenerContext, Shared};
use crate::net::keeper::Keeper;
use crate::net::tls::TlsError;
use crate::packet::ProtocolVersion;
use crate::protocol::{Denied3x, MountPoint, Settings};
use crate::router::{
    Batch, Counts, GroupLimits, OnQueueFull, QueueLimits, RetainedLimits, Router, RouterConfig, ShareStrategy,
};
use crate::store::journal::OpenError;
use crate::store::{Recovered, Store};
use crate::telemetry::snapshot::Observed;

/// A running broker. Dropping it without [`Broker::shutdown`] leaves its tasks to the runtime.
pub struct Broker {
    shared: Arc<Shared>,
    local_addresses: Vec<SocketAddr>,
    /// What a reload can change, by name.
    listeners: Vec<Arc<ListenerContext>>,
    shutdown_timeout: Duration,
    /// Stops listeners and housekeeping.
    stop: CancellationToken,
    /// Listeners and housekeeping.
    tasks: TaskTracker,
    observed: Arc<Observed>,
    admin_address: Option<SocketAddr>,
    /// Stops the admin server, which outlives the connections: it tells that the broker stops.
    admin_stop: CancellationToken,
    admin_tasks: TaskTracker,
    /// The clock rings as long as anybody is there to be woken.
    ringing: JoinHandle<()>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// As [`Config::validate`] says; a configuration that was read from files has passed it already.
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("listener {listener}: cannot listen on {address}: {error}")]
    Bind { listener: String, address: String, error: std::io::Error },
    #[error("listener {listener}: {error}")]
    Tls { listener: String, error: TlsError },
    #[error(transparent)]
    AuthFile(#[from] AuthFileError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// It can, but what is in it did not become the broker's state.
    #[error("{0}")]
    Restore(String),
}

impl Broker {
    /// Starts a broker; it serves until [`Broker::shutdown`].
    pub async fn start(config: &Config) -> Result<Broker, StartError> {
        config.validate()?;
        let opened = state::open(&config.store).await?;
        let clock = Clock::monotonic_from(opened.as_ref().map(|opened| opened.recovered.time).unwrap_or_default());
        Broker::start_with(config, clock, opened).await
    }

    /// The same with a clock of the caller's, which moves every deadline of the protocol; everything is in memory.
    pub async fn start_with_clock(config: &Config, clock: Clock) -> Result<Broker, StartError> {
        config.validate()?;
        Broker::start_with(config, clock, None).await
    }

    /// The same with a store of the caller's, and what it had.
    pub async fn start_with_store(
        config: &Config,
        clock: Clock,
        store: Arc<dyn Store>,
        recovered: Recovered,
    ) -> Result<Broker, StartError> {
        config.validate()?;
        Broker::start_with(config, clock, Some(state::Opened { store, recovered })).await
    }

    async fn start_with(config: &Config, clock: Clock, opened: Option<state::Opened>) -> Result<Broker, StartError> {
        let sessions_max = config.limits.sessions_max.map_or(u32::MAX, |max| max.get());
        let (store, recovered) = opened.map(|opened| (opened.store, opened.recovered)).unzip();
        let router = match &recovered {
            Some(recovered) => Router::restored(&router_config(config), recovered.seed, recovered.next_owner),
            None => Router::new(&router_config(config)),
        };
        let keeper = Keeper::new(store, state::durabilities(&config.store));
        let ringing = tokio::spawn(clock.clone().ring());
        let shared = Arc::new(Shared::new(router, clock, sessions_max, keeper));
        let mut broker = Broker {
            observed: Arc::new(Observed::new(Arc::clone(&shared))),
            shared,
            local_addresses: Vec::new(),
            listeners: Vec::new(),
            shutdown_timeout: config.shutdown_timeout,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            admin_address: None,
            admin_stop: CancellationToken::new(),
            admin_tasks: TaskTracker::new(),
            ringing,
        };
        match broker.start_parts(config, recovered).await {
            Ok(()) => Ok(broker),
            Err(error) => {
                broker.shutdown().await;
                Err(error)
            }
        }
    }

    async fn start_parts(&mut self, config: &Config, recovered: Option<Recovered>) -> Result<(), StartError> {
        self.operate(&config.admin).await?;
        for listener in &config.listeners {
            self.listeners.push(Arc::new(listen::context(listener, &config.limits)?));
        }
        // Before the first client comes.
        if let Some(recovered) = recovered {
            self.restore(recovered).await?;
        }
        let observing = Arc::clone(&self.observed).observe(config.sys.interval, self.stop.clone());
        for (listener, context) in config.listeners.iter().zip(self.listeners.clone()) {
            self.listen(listener, &context)?;
        }
        self.tasks.spawn(observing);
        self.tasks.spawn(keep_house(Arc::clone(&self.shared), self.stop.clone()));
        self.tasks.spawn(state::keep(Arc::clone(&self.shared), self.stop.clone()));
        self.observed.set_started();
        Ok(())
    }

    /// Takes over the keys that [`crate::config::Running`] calls live, and the files about users, their rights and TLS;
    /// nothing changes when one of the files is wrong. Connections that are there keep the settings they were accepted with.
    pub fn reload(&mut self, config: &Config) -> Result<(), StartError> {
        config.validate()?;
        let current = |listener: &ListenerConfig| self.listeners.iter().find(|context| *context.name == *listener.name);
        let listeners = config.listeners.iter().filter_map(|listener| Some((current(listener)?, listener)));
        let changed: Vec<_> = listeners
            .map(|(context, listener)| Ok((context, listener, access(listener)?, listen::tls_state(listener)?)))
            .collect::<Result<_, StartError>>()?;
        for (context, listener, access, tls) in changed {
            context.settings.store(Arc::new(settings(listener, &config.limits)));
            context.access.store(Arc::new(access));
            if let (Some(tls), Some(state)) = (&context.layers.tls, tls) {
                tls.replace(state);
            }
        }
        self.shutdown_timeout = config.shutdown_timeout;
        Ok(())
    }

    /// The TCP addresses that clients can connect to, in the order of the configuration.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// What became of every message so far.
    pub fn counts(&self) -> Counts {
        self.shared.router.counters().snapshot()
    }

    /// The same as a sum that must come out even whenever nothing is on its way.
    pub fn accounting(&self) -> Accounting {
        Accounting::new(&self.counts(), &Census::take(&self.shared))
    }

    /// Stops accepting, says 0x8B to every client, lets them take what is written, within the shutdown timeout.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.shared.stop();
        self.shared.tasks.close();
        self.tasks.close();
        let clients = async {
            self.shared.tasks.wait().await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(self.shutdown_timeout, clients).await.is_err() {
            tracing::warn!(connections = self.shared.tasks.len(), "shutdown timeout: connections are cut");
        }
        self.close_store().await;
        self.admin_stop.cancel();
        self.admin_tasks.close();
        if tokio::time::timeout(ADMIN_STOP, self.admin_tasks.wait()).await.is_err() {
            tracing::warn!("an HTTP request was cut");
        }
        self.ringing.abort();
        let _ = self.ringing.await;
    }
}

/// How long requests that are being answered when the broker stops may take; no operator waits longer for a scrape.
const ADMIN_STOP: Duration = Duration::from_secs(1);

/// How often expired messages are looked for, in retained messages and in queues. They are never sent late: this is
/// about the memory they hold.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The one task that owns every deadline that no connection owns.
async fn keep_house(shared: Arc<Shared>, stop: CancellationToken) {
    let mut alarm = Alarm::new(&shared.clock);
    let mut sweep_at = shared.clock.now().after(SWEEP_INTERVAL);
    let work = std::future::poll_fn(|cx| {
        loop {
            let mut batch = Batch::at(shared.clock.now());
            shared.keep_house(&mut batch);
            shared.poll_late_wills(cx, &mut batch);
            if batch.now >= sweep_at {
                shared.sweep(&mut batch);
                sweep_at = batch.now.after(SWEEP_INTERVAL);
            }
            let next = shared.deadlines.next(cx).min(sweep_at);
            if alarm.poll(next, cx).is_pending() {
                return Poll::<()>::Pending;
            }
        }
    });
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

fn router_config(config: &Config) -> RouterConfig {
    RouterConfig {
        retained: RetainedLimits {
            messages_max: u64::from(config.retained.messages_max.get()),
            bytes_max: config.retained.bytes_max.0,
        },
        group: GroupLimits {
            messages_max: config.shared.queue_messages_max.get(),
            bytes_max: config.shared.queue_bytes_max.0,
        },
        share_strategy: match config.shared.strategy {
            SharedStrategy::RoundRobin => ShareStrategy::RoundRobin,
            SharedStrategy::Random => ShareStrategy::Random,
            SharedStrategy::Sticky => ShareStrategy::Sticky,
            SharedStrategy::HashClientId => ShareStrategy::HashClientId,
            SharedStrategy::HashTopic => ShareStrategy::HashTopic,
            SharedStrategy::LeastInFlight => ShareStrategy::LeastInFlight,
        },
    }
}

fn queue_limits(config: &ListenerConfig, limits: &SessionLimits) -> QueueLimits {
    QueueLimits {
        messages_max: limits.queue_messages_max.get(),
        bytes_max: limits.queue_bytes_max.0,
        on_full: match config.on_queue_full {
            QueueFull::DropOldest => OnQueueFull::DropOldest,
            QueueFull::DropNewest => OnQueueFull::DropNewest,
            QueueFull::Refuse => OnQueueFull::Refuse,
            QueueFull::Disconnect => OnQueueFull::Disconnect,
        },
        queue_qos0: config.queue_qos0,
    }
}

fn settings(config: &ListenerConfig, limits: &SessionLimits) -> Settings {
    Settings {
        maximum_packet_size: u32::try_from(config.maximum_packet_size.0).unwrap_or(u32::MAX),
        receive_maximum: config.receive_maximum,
        inflight_max: limits.inflight_max,
        maximum_qos: config.maximum_qos,
        retain_available: config.retain_available,
        topic_alias_maximum: config.topic_alias_maximum,
        topic_alias_maximum_outbound: config.topic_alias_maximum_outbound,
        keep_alive_max: u16::try_from(config.keep_alive_max.as_secs()).unwrap_or(u16::MAX),
        session_expiry_max: limits.session_expiry_max.seconds(),
        session_expiry_3x: limits.session_expiry_3x.seconds(),
        mount_point: MountPoint::from(&*config.mount_point),
        user_name_as_client_id: config.user_name_as_client_id,
        protocol_versions: protocol_versions(config.protocol_versions),
        check_payload_format: config.check_payload_format,
        subscriptions_max: limits.subscriptions_max.get(),
        response_information: match config.response_information.as_str() {
            "" => None,
            text => Some(text.into()),
        },
        denied_3x: match config.access.denied_publish_3x {
            DeniedPublish::Acknowledge => Denied3x::Acknowledge,
            DeniedPublish::Close => Denied3x::Close,
        },
    }
}

fn protocol_versions(accepted: ProtocolVersions) -> Vec<ProtocolVersion> {
    [(accepted.v3_1, ProtocolVersion::V3), (accepted.v3_1_1, ProtocolVersion::V4), (accepted.v5, ProtocolVersion::V5)]
        .into_iter()
        .filter_map(|(accepted, version)| accepted.then_some(version))
        .collect()
}

fn access(config: &ListenerConfig) -> Result<Access, AuthFileError> {
    let files: &AccessConfig = &config.access;
    let authorizer: Arc<dyn Authorizer> = match &files.acl_file {
        Some(path) => {
            Arc::new(AclFile::load(path)?.with_strict_subscriptions(files.subscribe == SubscribeCheck::Strict))
        }
        None => Arc::new(AllowAll),
    };
    let policy = AccessPolicy {
        allow_anonymous: config.allows_anonymous(),
        password_file: files.password_file.as_deref().map(PasswordFile::load).transpose()?.map(Arc::new),
        scram: files.scram_file.as_deref().map(ScramFile::load).transpose()?.map(Arc::new),
        certificate: match files.certificate_user_name {
            CertificateUserName::None => CertificateAs::None,
            CertificateUserName::CommonName => CertificateAs::CommonName,
            CertificateUserName::Subject => CertificateAs::Subject,
        },
    };
    Ok(Access::new(Arc::new(policy), authorizer))
}
