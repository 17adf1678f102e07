//! Clients behind a proxy that says who they are; and others that say so too.

use midge::config::{ListenerConfig, ProxyProtocolConfig, ProxyVersion, WebSocketConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Authority, Client, Dribble, Log, TestBroker, TlsClient, WebSocketClient, connect_packet, listener, network, tls,
    websocket, within,
};

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 1883\r\n";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [V2_SIGNATURE, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// For 203.0.113.7, with an extension of so many bytes.
fn v2_with_extension(bytes: u16) -> Vec<u8> {
    let extension = [&[0xE0][..], &bytes.to_be_bytes(), &vec![b'x'; usize::from(bytes)]].concat();
    v2(0x21, 0x11, &[&[203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x07, 0x5B], &extension[..]].concat())
}

fn behind(proxies: &[(&str, u8)], listener: ListenerConfig) -> ListenerConfig {
    let from = proxies.iter().map(|(address, prefix)| network(address, *prefix)).collect();
    ListenerConfig { proxy_protocol: Some(ProxyProtocolConfig { from, ..ProxyProtocolConfig::default() }), ..listener }
}

async fn broker() -> TestBroker {
    TestBroker::start(behind(&[("127.0.0.1", 32)], listener())).await
}

/// The peer in the line about a client's connection.
fn peer(log: &Log, client_id: &str) -> String {
    let line = log.line_with(&format!("connected client_id={client_id} "));
    line.split_once(" peer=").unwrap().1.split(' ').next().unwrap().to_owned()
}

async fn after_header(broker: &TestBroker, header: &[u8]) -> TcpStream {
    let mut stream = broker.socket().await;
    stream.write_all(header).await.unwrap();
    stream
}

#[tokio::test]
async fn the_client_is_who_the_proxy_says() {
    let broker = broker().await;
    let log = Log::gather();
    let cases = [
        ("v1", V1.to_vec(), "203.0.113.7:4711"),
        ("v1v6", b"PROXY TCP6 2001:db8::7 ::1 4711 1883\r\n".to_vec(), "[2001:db8::7]:4711"),
        ("v2", v2_with_extension(0), "203.0.113.7:4711"),
        ("v2long", v2_with_extension(10_000), "203.0.113.7:4711"),
    ];
    for (client_id, header, expected) in cases {
        Client::connect(after_header(&broker, &header).await, client_id).await;
        assert_eq!(peer(&log, client_id), expected, "{client_id}");
    }
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_is_the_client() {
    let broker = broker().await;
    let log = Log::gather();
    for (client_id, header) in [("unknown", b"PROXY UNKNOWN\r\n".to_vec()), ("local", v2(0x20, 0, b""))] {
        Client::connect(after_header(&broker, &header).await, client_id).await;
        assert!(peer(&log, client_id).starts_with("127.0.0.1:"));
    }
}

#[tokio::test]
async fn what_follows_the_header_in_the_same_segment_is_not_lost() {
    let broker = broker().await;
    for header in [V1.to_vec(), v2_with_extension(300)] {
        let mut client = Client::new(broker.socket().await);
        client.send(&[header, connect_packet("client", None), vec![0xC0, 0]].concat()).await;
        assert_eq!(client.packet().await[0], 0x20);
        assert_eq!(client.packet().await, [0xD0, 0]);
    }
}

#[tokio::test]
async fn a_header_in_segments_of_one_byte_is_a_header() {
    let broker = broker().await;
    let log = Log::gather();
    for (client_id, header) in [("one", V1.to_vec()), ("two", v2_with_extension(40))] {
        let mut stream = Dribble(broker.socket().await);
        stream.write_all(&header).await.unwrap();
        Client::connect(stream, client_id).await;
        assert_eq!(peer(&log, client_id), "203.0.113.7:4711");
    }
}

/// Closed without a word, for this reason.
async fn is_closed(broker: &TestBroker, bytes: &[u8], why: &str) {
    let log = Log::gather();
    let mut stream = after_header(broker, bytes).await;
    let mut received = Vec::new();
    let _ = within(stream.read_to_end(&mut received)).await;
    assert_eq!(received, b"");
    let line = log.line_with("connection refused");
    assert!(line.contains(why), "{line}");
}

#[tokio::test]
async fn what_is_no_header_is_closed() {
    let broker = broker().await;
    is_closed(&broker, &connect_packet("client", None), "there is no PROXY header").await;
    is_closed(&broker, b"PROXY nonsense\r\n", "a broken PROXY header").await;
    is_closed(&broker, &v2(0x2F, 0x11, &[0; 12]), "a broken PROXY header").await;
    assert_eq!(broker.broker.counts().handshakes_failed, 3);
}

#[tokio::test]
async fn a_header_from_elsewhere_is_not_believed_and_neither_is_anything_else() {
    let broker = TestBroker::start(behind(&[("10.0.0.0", 8), ("::1", 128)], listener())).await;
    let why = "it may not connect without being a configured proxy";
    is_closed(&broker, &[V1, &connect_packet("client", None)].concat(), why).await;
    is_closed(&broker, &connect_packet("client", None), why).await;
}

#[tokio::test]
async fn only_configured_versions_are_understood() {
    let with = |version| {
        let mut listener = behind(&[("127.0.0.1", 32)], listener());
        listener.proxy_protocol.as_mut().unwrap().versions = vec![version];
        listener
    };
    let broker = TestBroker::start(with(ProxyVersion::V2)).await;
    is_closed(&broker, V1, "a PROXY header of version 1, which is not understood here").await;
    let broker = TestBroker::start(with(ProxyVersion::V1)).await;
    is_closed(&broker, &v2_with_extension(0), "a PROXY header of version 2, which is not understood here").await;
}

#[tokio::test]
async fn without_the_setting_a_header_is_an_error_like_any_other_bytes() {
    let broker = TestBroker::start(listener()).await;
    let mut client = Client::new(after_header(&broker, V1).await);
    client.ends().await;
    assert_eq!(broker.broker.counts().protocol_errors, 1);
}

#[tokio::test]
async fn a_header_may_come_before_tls_and_websocket() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let listener = ListenerConfig { tls: Some(tls(authority.directory(), &["server"])), ..websocket() };
    // The proxy at 203.0.113.7 speaks HTTP, and forwards for somebody else.
    let trusted_proxies = vec![network("203.0.113.7", 32)];
    let settings = WebSocketConfig { trusted_proxies, ..WebSocketConfig::default() };
    let listener = ListenerConfig { websocket: settings, ..behind(&[("127.0.0.1", 32)], listener) };
    let broker = TestBroker::start(listener).await;
    let log = Log::gather();
    let stream = TlsClient::new(&authority).over(after_header(&broker, V1).await).await.unwrap();
    let stream = WebSocketClient::with_headers(stream, &[("x-forwarded-for", "198.51.100.9")]).await;
    Client::connect(stream, "client").await;
    assert_eq!(peer(&log, "client"), "198.51.100.9");
}
