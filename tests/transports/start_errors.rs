//! What a broker says instead of starting with TLS files, or addresses, that it cannot use.

use std::fs;
use std::time::Duration;

use midge::broker::{Broker, StartError};
use midge::config::{Config, ListenerAddress, ListenerConfig, TlsConfig};
use midge::net::tls::{CertificateFiles, ClientAuth, ClientTrust, TlsSettings, TlsState, TlsVersions};

use crate::support::{Authority, Log, TestBroker, listener, tls, within};

const ENCRYPTED_KEY: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
const OLD_ENCRYPTED_KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const NO_KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

async fn start(tls: TlsConfig) -> Result<Broker, StartError> {
    let listeners = vec![ListenerConfig { tls: Some(tls), ..listener() }];
    Broker::start(&Config { listeners, ..Config::default() }).await
}

/// The same words at a start and at a look at changed files; what the check of a configuration finds before, with its
/// line, is only for the latter.
fn why(names: &[&str], client_auth: ClientAuth, authority: &Authority) -> String {
    let files = |name: &&str| CertificateFiles {
        chain: authority.path(&format!("{name}.pem")),
        key: authority.path(&format!("{name}.key")),
    };
    let settings = TlsSettings {
        certificates: names.iter().map(files).collect(),
        client_auth,
        versions: TlsVersions::Both,
        session_tickets: true,
        watch_interval: Duration::ZERO,
    };
    TlsState::read(settings).err().expect("the files are good").to_string()
}

#[test]
fn broken_certificates_and_keys_are_named_with_what_would_be_right() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    authority.server("other", &["localhost"]);
    let (chain, key) = (authority.path("server.pem"), authority.path("server.key"));
    let good = [fs::read_to_string(&chain).unwrap(), fs::read_to_string(&key).unwrap()];
    let cut = &good[0][..good[0].len() / 2];
    for (chain_text, key_text, expected) in [
        (&*good[1], &*good[1], "server.pem holds no certificate: \"-----BEGIN CERTIFICATE-----\" was expected"),
        (cut, &good[1], "server.pem is broken PEM: "),
        (NO_CERTIFICATE, &good[1], "server.pem: certificate 1 cannot be read: "),
        (&good[0], &good[0], "server.key holds no private key: \"-----BEGIN PRIVATE KEY-----\" was expected"),
        (&good[0], NO_KEY, "server.key cannot be used: "),
        (&good[0], ENCRYPTED_KEY, "server.key is encrypted, and nobody is there to type its passphrase: "),
        (&good[0], OLD_ENCRYPTED_KEY, "server.key is encrypted, and nobody is there to type its passphrase: "),
        (
            &fs::read_to_string(authority.path("other.pem")).unwrap(),
            &good[1],
            "server.key is not the key of the first certificate in ",
        ),
        // The server's own certificate is not the first.
        (
            &[fs::read_to_string(authority.path("ca.pem")).unwrap(), good[0].clone()].concat(),
            &good[1],
            "server.key is not the key of",
        ),
    ] {
        fs::write(&chain, chain_text).unwrap();
        fs::write(&key, key_text).unwrap();
        let error = why(&["server"], ClientAuth::None, &authority);
        assert!(error.contains(expected), "{error}\nis not\n{expected}");
    }
    fs::remove_file(&chain).unwrap();
    assert!(why(&["server"], ClientAuth::None, &authority).starts_with("cannot read "));
}

#[test]
fn broken_authorities_and_revocation_lists_are_named() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    authority.revoke("revoked.pem", &[1]);
    let with = |ca: &str, list: &str| {
        let trust = ClientTrust { authorities: authority.path(ca), revoked: Some(authority.path(list)) };
        why(&["server"], ClientAuth::Required(trust), &authority)
    };
    fs::write(authority.path("broken.pem"), NO_CERTIFICATE).unwrap();
    fs::write(authority.path("broken.crl"), NO_CERTIFICATE.replace("CERTIFICATE", "X509 CRL")).unwrap();
    for (error, expected) in [
        (with("server.key", "revoked.pem"), "server.key holds no certificate"),
        (with("broken.pem", "revoked.pem"), "broken.pem: an authority cannot be used: "),
        (with("ca.pem", "ca.pem"), "ca.pem holds no revocation list: \"-----BEGIN X509 CRL-----\" was expected"),
        (with("ca.pem", "broken.crl"), "ca.pem: client certificates cannot be checked: "),
    ] {
        assert!(error.contains(expected), "{error}\nis not\n{expected}");
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_keeps_the_broker_from_starting() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    authority.server("other", &["localhost"]);
    fs::copy(authority.path("other.key"), authority.path("server.key")).unwrap();
    let error = start(tls(authority.directory(), &["server"])).await.err().unwrap();
    assert!(matches!(error, StartError::Tls { .. }), "{error}");
    let error = error.to_string();
    let (chain, key) = (authority.path("server.pem"), authority.path("server.key"));
    let expected =
        format!("listener test: {} is not the key of the first certificate in {}: ", key.display(), chain.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_a_warning() {
    let authority = Authority::new();
    authority.expired_server("server");
    let log = Log::gather();
    let broker = start(tls(authority.directory(), &["server"])).await.unwrap();
    let line = log.line_with("the certificate has expired: clients will refuse it");
    assert!(line.contains("WARN") && line.contains("server.pem") && line.contains("2002"), "{line}");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_start_that_fails_stops_the_listeners_that_were_there_already() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let at = |address| ListenerConfig { addresses: vec![address], ..listener() };
    let first = at(ListenerAddress::Unix(path.clone()));
    let address = taken.local_addr().unwrap();
    let second = ListenerConfig { name: "second".into(), ..at(ListenerAddress::Tcp(address)) };
    let error = TestBroker::try_start(vec![first, second]).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("listener second: cannot listen on {address}: ")), "{error}");
    within(async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
