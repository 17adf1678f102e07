//! The keys of TLS that a reload changes while the broker runs, each shown by what a new connection meets. The table of the
//! other keys, and the test that none is missing, are in `tests/settings/reload/live_keys.rs`.

use std::fs;
use std::time::Duration;

use midge::config::{CertificateUserName, ClientAuth, ListenerConfig, TlsConfig, TlsVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::support::{Authority, Client, Log, TestBroker, TlsClient, connect_packet, listener, tls, within};

type Change = fn(&mut ListenerConfig, &Authority);

struct Key {
    name: &'static str,
    /// How the listener differs from [`plain`] before and after the reload.
    changes: [Change; 2],
    /// What [`look`] sees before and after.
    seen: [&'static str; 2],
}

/// Asks nobody for a certificate, and has all files.
fn plain(authority: &Authority) -> ListenerConfig {
    authority.server("server", &["localhost"]);
    authority.server("other", &["localhost"]);
    authority.client("pump", 13);
    authority.revoke("revoked.pem", &[13]);
    fs::copy(Authority::new().path("ca.pem"), authority.path("stranger.pem")).unwrap();
    let tls = TlsConfig { client_ca: Some(authority.path("ca.pem")), ..tls(authority.directory(), &["server"]) };
    let mut listener = ListenerConfig { tls: Some(tls), user_name_as_client_id: false, ..listener() };
    listener.access.allow_anonymous = Some(true);
    listener
}

fn tls_of(listener: &mut ListenerConfig) -> &mut TlsConfig {
    listener.tls.as_mut().expect("TLS")
}

fn as_it_is(_: &mut ListenerConfig, _: &Authority) {}

fn with_certificates(listener: &mut ListenerConfig, _: &Authority) {
    tls_of(listener).client_auth = ClientAuth::Required;
}

fn with_user_names(listener: &mut ListenerConfig, authority: &Authority) {
    with_certificates(listener, authority);
    listener.user_name_as_client_id = true;
}

const KEYS: [Key; 9] = [
    Key {
        name: "listener.tls.certificates.chain",
        changes: [as_it_is, |listener, authority| {
            tls_of(listener).certificates = tls(authority.directory(), &["other"]).certificates
        }],
        seen: ["server", "other"],
    },
    Key {
        name: "listener.tls.certificates.key",
        changes: [as_it_is, |listener, authority| {
            fs::copy(authority.path("other.pem"), authority.path("server.pem")).unwrap();
            tls_of(listener).certificates[0].key = authority.path("other.key");
        }],
        seen: ["server", "other"],
    },
    Key { name: "listener.tls.client_auth", changes: [as_it_is, with_certificates], seen: ["in", "out"] },
    Key {
        name: "listener.tls.client_ca",
        changes: [with_certificates, |listener, authority| {
            with_certificates(listener, authority);
            tls_of(listener).client_ca = Some(authority.path("stranger.pem"));
        }],
        seen: ["in", "out"],
    },
    Key {
        name: "listener.tls.client_crl",
        changes: [with_certificates, |listener, authority| {
            with_certificates(listener, authority);
            tls_of(listener).client_crl = Some(authority.path("revoked.pem"));
        }],
        seen: ["in", "out"],
    },
    Key {
        name: "listener.tls.version_min",
        changes: [as_it_is, |listener, _| tls_of(listener).version_min = TlsVersion::V1_3],
        seen: ["in", "out"],
    },
    Key {
        name: "listener.tls.version_max",
        changes: [as_it_is, |listener, _| tls_of(listener).version_max = TlsVersion::V1_2],
        seen: ["in", "out"],
    },
    Key {
        name: "listener.tls.session_tickets",
        changes: [as_it_is, |listener, _| tls_of(listener).session_tickets = false],
        seen: ["Resumed", "Full"],
    },
    Key {
        name: "listener.access.certificate_user_name",
        changes: [with_user_names, |listener, authority| {
            with_user_names(listener, authority);
            listener.access.certificate_user_name = CertificateUserName::CommonName;
        }],
        seen: ["CONNACK 0x85", "CONNACK 0x00"],
    },
];

#[tokio::test]
async fn every_live_key_of_tls_holds_for_the_next_connection_after_a_reload() {
    for key in &KEYS {
        let authority = Authority::new();
        let [before, after] = key.changes;
        let plain = plain(&authority);
        let mut listener = plain.clone();
        before(&mut listener, &authority);
        let mut broker = TestBroker::start(listener).await;
        assert_eq!(look(key.name, &broker, &authority).await, key.seen[0], "{} before the reload", key.name);
        let mut config = broker.config.clone();
        config.listeners[0] = plain;
        after(&mut config.listeners[0], &authority);
        broker.broker.reload(&config).unwrap_or_else(|error| panic!("{}: {error}", key.name));
        assert_eq!(look(key.name, &broker, &authority).await, key.seen[1], "{} after the reload", key.name);
    }
}

/// What a new connection meets, of that which the key is about.
async fn look(key: &str, broker: &TestBroker, authority: &Authority) -> String {
    let pump = || TlsClient::with_certificate(authority, authority.directory(), "pump");
    match key {
        "listener.tls.certificates.chain" | "listener.tls.certificates.key" => shown(broker, authority).await,
        "listener.tls.client_auth" => comes_in(broker, &TlsClient::new(authority)).await,
        "listener.tls.client_ca" | "listener.tls.client_crl" => comes_in(broker, &pump()).await,
        "listener.tls.version_min" => comes_in(broker, &TlsClient::with_version(authority, &TLS12)).await,
        "listener.tls.version_max" => comes_in(broker, &TlsClient::with_version(authority, &TLS13)).await,
        "listener.tls.session_tickets" => {
            let client = TlsClient::new(authority);
            client.connect(broker, "first").await.unwrap();
            let second = client.connect(broker, "second").await.unwrap();
            format!("{:?}", second.stream.get_ref().1.handshake_kind().expect("a handshake"))
        }
        "listener.access.certificate_user_name" => {
            let mut client = Client::new(pump().stream(broker).await.unwrap());
            client.send(&connect_packet("a", None)).await;
            format!("CONNACK 0x{:02X}", client.packet().await[3])
        }
        other => panic!("nothing looks at {other}"),
    }
}

async fn comes_in(broker: &TestBroker, client: &TlsClient) -> String {
    if client.connect(broker, "a").await.is_ok() { "in".into() } else { "out".into() }
}

/// The name of the certificate that the broker shows.
async fn shown(broker: &TestBroker, authority: &Authority) -> String {
    let stream = TlsClient::new(authority).stream(broker).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let is = |name: &&str| CertificateDer::from_pem_file(authority.path(&format!("{name}.pem"))).unwrap()[..] == shown;
    // The other's may have become the server's by then.
    ["other", "server"].iter().find(|name| is(name)).expect("one of ours").to_string()
}

/// "listener.tls.watch_interval": it takes a clock to show it.
#[tokio::test]
async fn files_are_watched_as_the_reload_said_where_the_start_said_never() {
    let authority = Authority::new();
    let mut listener = plain(&authority);
    tls_of(&mut listener).watch_interval = Duration::ZERO;
    let mut broker = TestBroker::start(listener).await;
    let mut config = broker.config.clone();
    tls_of(&mut config.listeners[0]).watch_interval = Duration::from_secs(10);
    broker.broker.reload(&config).unwrap();
    assert_eq!(shown(&broker, &authority).await, "server");
    let log = Log::gather();
    for name in ["pem", "key"] {
        fs::copy(authority.path(&format!("other.{name}")), authority.path(&format!("server.{name}"))).unwrap();
    }
    broker.advance(10);
    within(async {
        while log.lines_with("the TLS files have changed: new connections use them").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(shown(&broker, &authority).await, "other");
}
