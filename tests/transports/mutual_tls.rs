//! Client certificates: who has to show one, whose counts, and who it makes them.

use midge::config::{AccessConfig, CertificateUserName, ClientAuth, ListenerConfig, TlsConfig};

use crate::support::{Authority, Log, TestBroker, TlsClient, listener, tls};

const REVOKED: u64 = 13;

/// An authority with the certificates of a server and of the clients `alice` and `mallory`.
fn authority() -> Authority {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    authority.client("alice", 7);
    authority.client("mallory", REVOKED);
    authority
}

/// The common name of a certificate is the user name; everybody may come without one where TLS lets them.
async fn broker(authority: &Authority, client_auth: ClientAuth, with_list: bool) -> TestBroker {
    let tls = TlsConfig {
        client_auth,
        client_ca: Some(authority.path("ca.pem")),
        client_crl: with_list.then(|| authority.path("revoked.pem")),
        ..tls(authority.directory(), &["server"])
    };
    let access = AccessConfig {
        allow_anonymous: Some(true),
        certificate_user_name: CertificateUserName::CommonName,
        ..AccessConfig::default()
    };
    TestBroker::start(ListenerConfig { tls: Some(tls), access, ..listener() }).await
}

/// Refused by TLS: before a CONNACK, and counted as a handshake that failed.
async fn is_refused(client: &TlsClient, broker: &TestBroker) -> String {
    let failed = broker.broker.counts().handshakes_failed;
    // In TLS 1.3 a client is done before it hears what became of its certificate.
    let error = client.connect(broker, "client").await.err().expect("it was let in");
    assert_eq!(broker.broker.counts().handshakes_failed, failed + 1);
    error.to_string()
}

#[tokio::test]
async fn with_a_required_certificate_only_those_the_authority_signed_come_in() {
    let authority = authority();
    let broker = broker(&authority, ClientAuth::Required, false).await;
    let log = Log::gather();
    let alice = TlsClient::with_certificate(&authority, authority.directory(), "alice");
    alice.connect(&broker, "client").await.unwrap();
    assert!(log.line_with("connected client_id=client").contains("user=alice"), "{:?}", log.lines_with(""));

    let without = is_refused(&TlsClient::new(&authority), &broker).await;
    assert!(without.contains("CertificateRequired"), "{without}");
    let other = Authority::new();
    other.client("alice", 7);
    let stranger = TlsClient::with_certificate(&authority, other.directory(), "alice");
    let why = is_refused(&stranger, &broker).await;
    assert!(why.contains("UnknownCA") || why.contains("DecryptError"), "{why}");
    // A server's certificate is not one of a client.
    let server = TlsClient::with_certificate(&authority, authority.directory(), "server");
    is_refused(&server, &broker).await;
    assert_eq!(log.lines_with("connection refused").len(), 3);
}

#[tokio::test]
async fn with_an_optional_certificate_a_client_may_come_without_but_not_with_a_wrong_one() {
    let authority = authority();
    let broker = broker(&authority, ClientAuth::Optional, false).await;
    let log = Log::gather();
    TlsClient::new(&authority).connect(&broker, "nobody").await.unwrap();
    assert!(log.line_with("connected client_id=nobody").contains("user= "));
    let alice = TlsClient::with_certificate(&authority, authority.directory(), "alice");
    alice.connect(&broker, "somebody").await.unwrap();
    assert!(log.line_with("connected client_id=somebody").contains("user=alice"));
    let other = Authority::new();
    other.client("alice", 7);
    is_refused(&TlsClient::with_certificate(&authority, other.directory(), "alice"), &broker).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let authority = authority();
    authority.revoke("revoked.pem", &[1, REVOKED]);
    let broker = broker(&authority, ClientAuth::Required, true).await;
    let mallory = TlsClient::with_certificate(&authority, authority.directory(), "mallory");
    let why = is_refused(&mallory, &broker).await;
    assert!(why.contains("CertificateRevoked"), "{why}");
    let alice = TlsClient::with_certificate(&authority, authority.directory(), "alice");
    alice.connect(&broker, "client").await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_no_list_speaks_for_is_refused() {
    let authority = authority();
    let other = Authority::new();
    other.revoke("revoked.pem", &[]);
    std::fs::copy(other.path("revoked.pem"), authority.path("revoked.pem")).unwrap();
    let broker = broker(&authority, ClientAuth::Required, true).await;
    let alice = TlsClient::with_certificate(&authority, authority.directory(), "alice");
    is_refused(&alice, &broker).await;
}

#[tokio::test]
async fn who_resumes_with_a_ticket_is_still_who_it_was() {
    let authority = authority();
    let broker = broker(&authority, ClientAuth::Required, false).await;
    let log = Log::gather();
    let alice = TlsClient::with_certificate(&authority, authority.directory(), "alice");
    for (client_id, kind) in [("first", "Full"), ("second", "Resumed")] {
        let client = alice.connect(&broker, client_id).await.unwrap();
        assert_eq!(format!("{:?}", client.stream.get_ref().1.handshake_kind().unwrap()), kind);
        assert!(log.line_with(&format!("connected client_id={client_id}")).contains("user=alice"));
    }
}
