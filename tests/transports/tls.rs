//! TLS: versions, certificates by server name, tickets, the edges of the stream.

use midge::config::{TlsConfig, TlsVersion};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion};

use crate::support::{Authority, Client, Dribble, Log, TestBroker, TlsClient, connect_packet, listener, tls};

async fn broker_with(tls: TlsConfig) -> TestBroker {
    TestBroker::start(midge::config::ListenerConfig { tls: Some(tls), ..listener() }).await
}

/// An authority, and a broker with a certificate of it for localhost.
async fn broker() -> (Authority, TestBroker) {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let broker = broker_with(tls(authority.directory(), &["server"])).await;
    (authority, broker)
}

#[tokio::test]
async fn a_client_is_served_over_tls_1_2_and_over_1_3() {
    let (authority, broker) = broker().await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut client = TlsClient::with_version(&authority, version).connect(&broker, "client").await.unwrap();
        assert_eq!(client.stream.get_ref().1.protocol_version(), Some(expected));
        client.subscribe("t").await;
        client.send(&crate::support::publish_packet("t", b"over TLS", 0)).await;
        assert_eq!(client.message().await, b"over TLS");
    }
}

#[tokio::test]
async fn a_version_outside_the_limits_is_refused() {
    let (authority, _) = broker().await;
    for (min, max, refused, spoken) in
        [(TlsVersion::V1_3, TlsVersion::V1_3, &TLS12, &TLS13), (TlsVersion::V1_2, TlsVersion::V1_2, &TLS13, &TLS12)]
    {
        let settings = tls(authority.directory(), &["server"]);
        let broker = broker_with(TlsConfig { version_min: min, version_max: max, ..settings }).await;
        let error = TlsClient::with_version(&authority, refused).stream(&broker).await.unwrap_err();
        assert!(error.to_string().contains("ProtocolVersion"), "{error}");
        TlsClient::with_version(&authority, spoken).connect(&broker, "client").await.unwrap();
        assert_eq!(broker.broker.counts().handshakes_failed, 1);
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_goes_away_and_is_one_line_of_the_log() {
    let (_, broker) = broker().await;
    let log = Log::gather();
    let error = TlsClient::new(&Authority::new()).stream(&broker).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    crate::support::within(async {
        while broker.broker.counts().handshakes_failed == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let line = log.line_with("connection refused");
    assert!(line.contains("peer=127.0.0.1:") && line.contains("listener=test") && line.contains("TLS: "), "{line}");
}

/// The host names in the certificate that a client got.
async fn certificate_for(client: &TlsClient, broker: &TestBroker) -> Vec<u8> {
    let stream = client.stream(broker).await.unwrap_or_else(|error| panic!("{}: {error}", client.server_name));
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn the_certificate_is_chosen_by_server_name_and_the_first_is_for_everybody_else() {
    let authority = Authority::new();
    authority.server("first", &["first.example", "localhost", "127.0.0.1"]);
    authority.server("second", &["second.example", "Other.Example"]);
    authority.server("wildcard", &["*.third.example"]);
    let broker = broker_with(tls(authority.directory(), &["first", "second", "wildcard"])).await;
    let client = TlsClient::new(&authority);
    let [first, second, wildcard] = [
        certificate_for(&client.named("first.example"), &broker).await,
        certificate_for(&client.named("second.example"), &broker).await,
        certificate_for(&client.named("a.third.example"), &broker).await,
    ];
    assert!(first != second && second != wildcard && wildcard != first);
    assert_eq!(certificate_for(&client.named("other.example"), &broker).await, second);
    // No server name is sent for an address.
    assert_eq!(certificate_for(&client.named("127.0.0.1"), &broker).await, first);
    for unknown in ["fourth.example", "third.example", "a.b.third.example"] {
        let error = client.named(unknown).stream(&broker).await.unwrap_err().to_string();
        assert!(error.contains("only valid for DnsName(\"first.example\")"), "{unknown}: {error}");
    }
}

#[tokio::test]
async fn of_two_certificates_for_one_name_a_client_gets_one_whose_key_it_understands() {
    let authority = Authority::new();
    authority.server("modern", &["localhost"]);
    authority.server_with_key("edwards", &["localhost"], &rcgen::PKCS_ED25519);
    let broker = broker_with(tls(authority.directory(), &["modern", "edwards"])).await;
    let usual = certificate_for(&TlsClient::new(&authority), &broker).await;
    let only_edwards = TlsClient::only_ed25519(&authority);
    assert_ne!(certificate_for(&only_edwards, &broker).await, usual);
}

async fn handshake_kind(client: &TlsClient, broker: &TestBroker) -> HandshakeKind {
    // Tickets of TLS 1.3 come after the handshake: with the first packet they are read.
    let connected = client.connect(broker, "client").await.unwrap();
    connected.stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_with_its_ticket_unless_tickets_are_off() {
    let (authority, _) = broker().await;
    for version in [&TLS12, &TLS13] {
        for (session_tickets, second) in [(true, HandshakeKind::Resumed), (false, HandshakeKind::Full)] {
            let settings = tls(authority.directory(), &["server"]);
            let broker = broker_with(TlsConfig { session_tickets, ..settings }).await;
            let client = TlsClient::with_version(&authority, version);
            assert_eq!(handshake_kind(&client, &broker).await, HandshakeKind::Full);
            assert_eq!(handshake_kind(&client, &broker).await, second, "{version:?} {session_tickets}");
        }
    }
}

#[tokio::test]
async fn a_handshake_and_packets_in_segments_of_one_byte_are_good() {
    let (authority, broker) = broker().await;
    for version in [&TLS12, &TLS13] {
        let stream = TlsClient::with_version(&authority, version).over(Dribble(broker.socket().await)).await.unwrap();
        let mut client = Client::connect(stream, "slow").await;
        client.subscribe("t").await;
        assert_eq!(client.publish("u", &[7; 300]).await, 0x10);
    }
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let (authority, broker) = broker().await;
    let client = TlsClient::new(&authority);
    let mut subscriber = client.connect(&broker, "subscriber").await.unwrap();
    let mut publisher = client.connect(&broker, "publisher").await.unwrap();
    subscriber.subscribe("large").await;
    let payload: Vec<_> = (0..1_500_000u32).map(|n| n as u8).collect();
    for _ in 0..3 {
        assert_eq!(publisher.publish("large", &payload).await, 0);
        assert!(subscriber.message().await == payload);
    }
}

#[tokio::test]
async fn the_broker_ends_a_connection_with_close_notify() {
    let (authority, broker) = broker().await;
    let mut client = TlsClient::new(&authority).connect(&broker, "client").await.unwrap();
    client.send(&connect_packet("again", None)).await;
    let disconnect = client.packet().await;
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x82));
    // Without close_notify this would be an error.
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn a_client_that_leaves_in_order_hears_close_notify_too() {
    let (authority, broker) = broker().await;
    let mut client = TlsClient::new(&authority).connect(&broker, "client").await.unwrap();
    client.send(&[0xE0, 0]).await;
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn plain_mqtt_on_a_tls_port_gets_no_answer_in_mqtt() {
    let (_, broker) = broker().await;
    let log = Log::gather();
    let mut stream = broker.socket().await;
    let mut answer = Vec::new();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &connect_packet("plain", None)).await.unwrap();
    let read = crate::support::within(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer)).await;
    // An alert, at most.
    assert!(read.is_err() || answer.first().is_none_or(|record| *record == 21), "{answer:?}");
    assert!(log.line_with("connection refused").contains("TLS: "), "{:?}", log.lines_with(""));
}

#[tokio::test]
async fn records_that_were_tampered_with_end_the_connection_and_publish_the_will() {
    let (authority, broker) = broker().await;
    let client = TlsClient::new(&authority);
    let mut watcher = client.connect(&broker, "watcher").await.unwrap();
    watcher.subscribe("will").await;
    let stream = client.stream(&broker).await.unwrap();
    let mut victim = Client::connect_with_will(stream, "victim", Some("will")).await;
    let log = Log::gather();
    // Past TLS, into its socket: a record that nobody sealed.
    let socket = victim.stream.get_mut().0;
    tokio::io::AsyncWriteExt::write_all(socket, &[23, 3, 3, 0, 32].iter().chain(&[0; 32]).copied().collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(watcher.message().await, b"gone");
    assert!(log.line_with("connection closed").contains("client_id=victim"));
}
