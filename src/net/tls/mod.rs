//! TLS of a listener: what its files say, in force for the connections accepted from then on.
//!
//! The files are read whole and anew; only when all of them are good together does the new state replace the old one, at
//! once. Connections keep the state that they began with. Tickets do not outlive a change: whoever was let in under the
//! old authorities and revocation lists proves itself under the new ones.

mod certificates;
mod error;
mod files;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::sync::Notify;
use tokio_rustls::rustls;

use self::certificates::ByServerName;
pub use self::error::TlsError;
use self::files::Stamps;
pub(crate) use self::files::{certificates as read_certificates, private_key as read_private_key};
use super::clock::{Alarm, Clock};

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("TLS needs cryptography: choose the feature `ring` or `aws-lc-rs`");
#[cfg(feature = "aws-lc-rs")]
pub(crate) use rustls::crypto::aws_lc_rs as cryptography;
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use rustls::crypto::ring as cryptography;

/// What a listener's TLS is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// The first is for clients that send no server name, or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    pub client_auth: ClientAuth,
    pub versions: TlsVersions,
    /// Clients that come back may skip half the handshake.
    pub session_tickets: bool,
    /// How often the files are looked at for changes; zero for never.
    pub watch_interval: Duration,
}

/// PEM files of a certificate chain, the server's own certificate first, and of its key.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateFiles {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Whether clients show a certificate, and what it is checked against.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientAuth {
    None,
    Optional(ClientTrust),
    Required(ClientTrust),
}

/// PEM files about client certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTrust {
    pub authorities: PathBuf,
    /// Revocation lists: with them, a client certificate that none of them speaks for is refused.
    pub revoked: Option<PathBuf>,
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersions {
    Only12,
    Only13,
    Both,
}

/// The TLS of one listener.
pub struct Tls {
    current: ArcSwap<ServerConfig>,
    watched: Mutex<Watched>,
    /// The settings have changed: the watch looks at them anew.
    settings_changed: Notify,
}

struct Watched {
    settings: TlsSettings,
    /// The files as they were when they were last read, well or not.
    stamps: Stamps,
}

/// Settings whose files have been read and found good.
pub struct TlsState {
    config: ServerConfig,
    watched: Watched,
}

impl TlsState {
    /// Reads all files; does blocking I/O.
    pub fn read(settings: TlsSettings) -> Result<TlsState, TlsError> {
        let stamps = Stamps::of(&settings);
        let config = server_config(&settings)?;
        Ok(TlsState { config, watched: Watched { settings, stamps } })
    }
}

impl Tls {
    pub fn new(state: TlsState) -> Tls {
        Tls {
            current: ArcSwap::from_pointee(state.config),
            watched: Mutex::new(state.watched),
            settings_changed: Notify::new(),
        }
    }

    /// For the next connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// For the connections from now on.
    pub fn replace(&self, state: TlsState) {
        *self.watched.lock() = state.watched;
        self.current.store(Arc::new(state.config));
        self.settings_changed.notify_one();
    }

    /// Looks at the files whenever their interval has passed; never ends.
    pub async fn watch(self: Arc<Self>, listener: &str, clock: &Clock) {
        let mut alarm = Alarm::new(clock);
        loop {
            let interval = self.watched.lock().settings.watch_interval;
            let due = clock.now().after(interval);
            let rings = std::future::poll_fn(|cx| alarm.poll(due, cx));
            tokio::select! {
                () = self.settings_changed.notified() => continue,
                () = rings, if interval > Duration::ZERO => {}
            }
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.reload_changed()).await {
                Ok(Ok(true)) => tracing::info!(listener, "the TLS files have changed: new connections use them"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::error!(listener, %error, "the TLS files have changed: the old ones stay in force")
                }
                Err(error) => tracing::error!(listener, %error, "the TLS files cannot be looked at"),
            }
        }
    }

    /// Reads the files again if they are not what they were; whether they changed. A mistake is reported once, not at every
    /// look.
    fn reload_changed(&self) -> Result<bool, TlsError> {
        let settings = {
            let mut watched = self.watched.lock();
            let stamps = Stamps::of(&watched.settings);
            if stamps == watched.stamps {
                return Ok(false);
            }
            watched.stamps = stamps;
            watched.settings.clone()
        };
        let config = server_config(&settings)?;
        self.current.store(Arc::new(config));
        Ok(true)
    }
}

fn server_config(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(cryptography::default_provider());
    let resolver = ByServerName::load(&settings.certificates, &provider)?;
    let verifier = client_verifier(&settings.client_auth, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(settings.versions.supported())
        .map_err(TlsError::Cryptography)?;
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(resolver));
    if settings.session_tickets {
        config.ticketer = cryptography::Ticketer::new().map_err(TlsError::Cryptography)?;
    } else {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

fn client_verifier(
    client_auth: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (trust, required) = match client_auth {
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Optional(trust) => (trust, false),
        ClientAuth::Required(trust) => (trust, true),
    };
    let mut roots = RootCertStore::empty();
    for authority in files::certificates(&trust.authorities)? {
        let unusable = |error| TlsError::Authority { path: trust.authorities.clone(), error };
        roots.add(authority).map_err(unusable)?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(path) = &trust.revoked {
        // As OpenSSL's flag for one list does: intermediate authorities need none of their own.
        builder = builder.with_crls(files::revocation_lists(path)?).only_check_end_entity_revocation();
    }
    if !required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| TlsError::ClientTrust { path: trust.authorities.clone(), error: error.to_string() })
}

impl TlsVersions {
    /// Best first.
    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self {
            TlsVersions::Only13 => &ALL[..1],
            TlsVersions::Only12 => &ALL[1..],
            TlsVersions::Both => &ALL,
        }
    }
}
