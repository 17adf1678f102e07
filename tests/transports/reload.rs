//! TLS files that change under a running broker.

use std::fs;

use midge::config::{AccessConfig, ClientAuth, ListenerConfig, TlsConfig};
use tokio_rustls::rustls::HandshakeKind;

use crate::support::{Authority, Log, TestBroker, TlsClient, listener, tls, within};

/// Looked at once a minute.
async fn broker(authority: &Authority) -> TestBroker {
    authority.server("server", &["localhost"]);
    TestBroker::start(ListenerConfig { tls: Some(tls(authority.directory(), &["server"])), ..listener() }).await
}

async fn certificate(client: &TlsClient, broker: &TestBroker) -> Vec<u8> {
    client.stream(broker).await.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// The next look at the files, and what it logs.
async fn look(broker: &TestBroker, log: &Log, says: &str) {
    let before = log.lines_with(says).len();
    broker.advance(60);
    within(async {
        while log.lines_with(says).len() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections_and_sessions_live_on() {
    let authority = Authority::new();
    let broker = broker(&authority).await;
    let client = TlsClient::new(&authority);
    let mut old = client.connect(&broker, "old").await.unwrap();
    old.subscribe("t").await;
    let first = certificate(&client, &broker).await;

    let log = Log::gather();
    authority.server("server", &["localhost", "renewed.example"]);
    assert_eq!(certificate(&client, &broker).await, first);
    look(&broker, &log, "the TLS files have changed: new connections use them").await;
    assert_ne!(certificate(&client, &broker).await, first);

    let mut new = client.connect(&broker, "new").await.unwrap();
    assert_eq!(new.publish("t", b"across the change").await, 0);
    assert_eq!(old.message().await, b"across the change");
}

#[tokio::test]
async fn broken_files_leave_the_old_ones_in_force_until_they_are_whole() {
    let authority = Authority::new();
    let broker = broker(&authority).await;
    let client = TlsClient::new(&authority);
    let first = certificate(&client, &broker).await;
    let log = Log::gather();
    let kept = "the TLS files have changed: the old ones stay in force";

    // The new chain is there, its key not yet.
    let old_key = fs::read(authority.path("server.key")).unwrap();
    authority.server("server", &["localhost"]);
    let new_key = fs::read(authority.path("server.key")).unwrap();
    fs::write(authority.path("server.key"), old_key).unwrap();
    look(&broker, &log, kept).await;
    let line = log.line_with(kept);
    assert!(line.contains("ERROR") && line.contains("is not the key of the first certificate in"), "{line}");
    assert_eq!(certificate(&client, &broker).await, first);

    fs::remove_file(authority.path("server.key")).unwrap();
    look(&broker, &log, kept).await;
    assert!(log.lines_with(kept)[1].contains("cannot read"), "{:?}", log.lines_with(kept));
    assert_eq!(certificate(&client, &broker).await, first);

    fs::write(authority.path("server.key"), new_key).unwrap();
    look(&broker, &log, "the TLS files have changed: new connections use them").await;
    assert_ne!(certificate(&client, &broker).await, first);
}

#[tokio::test]
async fn a_mistake_is_reported_once_and_not_at_every_look() {
    let authority = Authority::new();
    let broker = broker(&authority).await;
    certificate(&TlsClient::new(&authority), &broker).await;
    let log = Log::gather();
    let kept = "the TLS files have changed: the old ones stay in force";
    fs::write(authority.path("server.pem"), "nothing").unwrap();
    look(&broker, &log, kept).await;
    broker.advance(60);
    // The next change is seen, so the look between the two has been.
    fs::write(authority.path("server.pem"), "still nothing").unwrap();
    look(&broker, &log, kept).await;
    assert_eq!(log.lines_with(kept).len(), 2);
}

#[tokio::test]
async fn a_reload_of_the_configuration_changes_certificates_at_once() {
    let authority = Authority::new();
    let mut broker = broker(&authority).await;
    let client = TlsClient::new(&authority);
    let first = certificate(&client, &broker).await;
    authority.server("other", &["localhost"]);
    let mut config = broker.config.clone();
    config.listeners[0].tls = Some(tls(authority.directory(), &["other"]));
    broker.broker.reload(&config).unwrap();
    let second = certificate(&client, &broker).await;
    assert_ne!(second, first);

    authority.server("other", &["localhost"]);
    broker.broker.reload(&config).unwrap();
    assert_ne!(certificate(&client, &broker).await, second);
}

#[tokio::test]
async fn a_reload_with_one_broken_file_changes_nothing() {
    let authority = Authority::new();
    let mut broker = broker(&authority).await;
    let client = TlsClient::new(&authority);
    let first = certificate(&client, &broker).await;
    let mut config = broker.config.clone();
    config.listeners[0].maximum_packet_size = midge::config::ByteSize(1000);
    authority.server("server", &["localhost"]);
    authority.server("other", &["localhost"]);
    fs::copy(authority.path("other.key"), authority.path("server.key")).unwrap();
    let error = broker.broker.reload(&config).unwrap_err().to_string();
    assert!(error.starts_with("listener test: ") && error.contains("server.key is not the key of"), "{error}");
    assert_eq!(certificate(&client, &broker).await, first);
    let mut connected = client.connect(&broker, "client").await.unwrap();
    assert_eq!(connected.publish("t", &[0; 2000]).await, 0x10);
}

#[tokio::test]
async fn whoever_is_revoked_stays_out_even_with_a_ticket_from_before() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    authority.client("mallory", 13);
    authority.revoke("revoked.pem", &[]);
    let tls = TlsConfig {
        client_auth: ClientAuth::Required,
        client_ca: Some(authority.path("ca.pem")),
        client_crl: Some(authority.path("revoked.pem")),
        ..tls(authority.directory(), &["server"])
    };
    let access = AccessConfig { allow_anonymous: Some(true), ..AccessConfig::default() };
    let broker = TestBroker::start(ListenerConfig { tls: Some(tls), access, ..listener() }).await;
    let mallory = TlsClient::with_certificate(&authority, authority.directory(), "mallory");
    let mut inside = mallory.connect(&broker, "inside").await.unwrap();
    let resumed = mallory.connect(&broker, "again").await.unwrap();
    assert_eq!(resumed.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));

    let log = Log::gather();
    authority.revoke("revoked.pem", &[13]);
    look(&broker, &log, "the TLS files have changed: new connections use them").await;
    let error = mallory.connect(&broker, "later").await.err().expect("the ticket still counts").to_string();
    assert!(error.contains("CertificateRevoked"), "{error}");
    // What began under the old list goes on.
    inside.ping().await;
}
