//! MQTT over WebSocket, with a client that is not ours; and the request that begins it.

use midge::config::{ListenerConfig, WebSocketConfig};
use tokio::io::AsyncWriteExt;

use crate::support::{
    Authority, Client, Dribble, Frames, Log, TestBroker, TlsClient, WebSocketClient, network, publish_packet, request,
    tls, websocket, within,
};

async fn broker_with(settings: WebSocketConfig) -> TestBroker {
    TestBroker::start(ListenerConfig { websocket: settings, ..websocket() }).await
}

/// A second listener, for TLS beneath WebSocket.
async fn secure_broker() -> (Authority, TestBroker) {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let tls = Some(tls(authority.directory(), &["server"]));
    let broker = TestBroker::start(ListenerConfig { tls, ..websocket() }).await;
    (authority, broker)
}

#[tokio::test]
async fn a_client_publishes_and_receives() {
    let broker = TestBroker::start(websocket()).await;
    let mut client = Client::connect(WebSocketClient::over(broker.socket().await).await, "client").await;
    client.subscribe("t").await;
    client.send(&publish_packet("t", b"over WebSocket", 0)).await;
    assert_eq!(client.message().await, b"over WebSocket");
    client.ping().await;
}

#[tokio::test]
async fn a_client_publishes_and_receives_over_tls() {
    let (authority, broker) = secure_broker().await;
    let stream = TlsClient::new(&authority).stream(&broker).await.unwrap();
    let mut client = Client::connect(WebSocketClient::over(stream).await, "client").await;
    client.subscribe("t").await;
    client.send(&publish_packet("t", &[3; 100_000], 0)).await;
    assert_eq!(client.message().await, [3; 100_000]);
}

#[tokio::test]
async fn a_request_and_frames_in_segments_of_one_byte_are_good() {
    let broker = TestBroker::start(websocket()).await;
    let stream = WebSocketClient::over(Dribble(broker.socket().await)).await;
    let mut client = Client::connect(stream, "slow").await;
    assert_eq!(client.publish("t", &[5; 300]).await, 0x10);
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let broker = TestBroker::start(websocket()).await;
    let mut subscriber = Client::connect(WebSocketClient::over(broker.socket().await).await, "subscriber").await;
    let mut publisher = Client::connect(WebSocketClient::over(broker.socket().await).await, "publisher").await;
    subscriber.subscribe("large").await;
    let payload: Vec<_> = (0..1_500_000u32).map(|n| n as u8).collect();
    for _ in 0..3 {
        assert_eq!(publisher.publish("large", &payload).await, 0);
        assert!(subscriber.message().await == payload);
    }
}

/// [MQTT-6.0.0-4]
#[tokio::test]
async fn the_chosen_subprotocol_is_said_back() {
    let broker = TestBroker::start(websocket()).await;
    for (offered, chosen) in [("mqtt", "mqtt"), ("mqttv3.1", "mqttv3.1"), ("chat, mqttv3.1, mqtt", "mqtt")] {
        let line = format!("Sec-WebSocket-Protocol: {offered}");
        let (response, _) = Frames::request(broker.socket().await, &request("/mqtt", &[&line])).await;
        assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{response}");
        assert!(response.contains(&format!("\r\nSec-WebSocket-Protocol: {chosen}\r\n")), "{response}");
    }
}

/// The status of a refusal, and the words under it.
async fn refusal(broker: &TestBroker, request: &str) -> (String, String) {
    let (head, frames) = Frames::request(broker.socket().await, request).await;
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    (head.split(' ').nth(1).unwrap().to_owned(), frames.body().await)
}

#[tokio::test]
async fn other_requests_are_told_what_is_wrong_with_them() {
    let settings = WebSocketConfig { origins: vec!["https://app.example".into()], ..WebSocketConfig::default() };
    let broker = broker_with(WebSocketConfig { headers_bytes_max: midge::config::ByteSize(1024), ..settings }).await;
    let origin = "Origin: https://app.example";
    let large = format!("Cookie: {}", "c".repeat(1024));
    let log = Log::gather();
    for (request, status, words) in [
        (request("/", &[origin]), "404", "there is nothing at \"/\": WebSocket is at \"/mqtt\"\n"),
        // [MQTT-6.0.0-3]
        (
            request("/mqtt", &[origin, "Sec-WebSocket-Protocol: chat"]),
            "400",
            "none of the subprotocols that are spoken is offered: mqtt, mqttv3.1\n",
        ),
        (
            request("/mqtt", &["Origin: https://evil.example"]),
            "403",
            "the origin \"https://evil.example\" may not connect\n",
        ),
        (request("/mqtt", &[]), "403", "there is no Origin, and only web pages of configured origins may connect\n"),
        (
            request("/mqtt", &[origin, "Upgrade: h2c"]),
            "426",
            "not a WebSocket request: `Upgrade: websocket` and `Connection: Upgrade` are missing\n",
        ),
        (request("/mqtt", &[origin, &large]), "431", "the request with its headers is above 1024 bytes\n"),
        ("\x16\x03\x01\x02\0".into(), "400", "not an HTTP request (it does not begin with a method)\n"),
    ] {
        assert_eq!(refusal(&broker, &request).await, (status.to_owned(), words.to_owned()));
        let logged = log.lines_with("connection refused");
        assert!(
            logged.last().is_some_and(|line| line.contains(&words.trim_end().replace('"', ""))),
            "{words}: {logged:?}"
        );
    }
    assert_eq!(broker.broker.counts().handshakes_failed, 7);
    let (head, _) = Frames::request(broker.socket().await, &request("/mqtt", &[origin])).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn a_client_that_goes_away_inside_its_request_is_forgotten() {
    let broker = TestBroker::start(websocket()).await;
    let log = Log::gather();
    let mut stream = broker.socket().await;
    stream.write_all(b"GET /mqtt HT").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(within(tokio::io::AsyncReadExt::read(&mut stream, &mut [0])).await.unwrap(), 0);
    assert!(log.line_with("connection refused").contains("it closed the connection inside the WebSocket request"));
}

/// Where a client is said to come from, when its request says this.
async fn peer(broker: &TestBroker, forwarded_for: &'static str) -> String {
    let log = Log::gather();
    let stream = WebSocketClient::with_headers(broker.socket().await, &[("x-forwarded-for", forwarded_for)]).await;
    Client::connect(stream, "client").await;
    let line = log.line_with("connected client_id=client");
    let (_, rest) = line.split_once(" peer=").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_configured_proxy_says_who_its_client_is() {
    let trusted_proxies = vec![network("127.0.0.0", 8), network("10.0.0.0", 8)];
    let broker = broker_with(WebSocketConfig { trusted_proxies, ..WebSocketConfig::default() }).await;
    for (forwarded_for, expected) in [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        // The last that is no proxy of ours: what stands before it, anybody may have written.
        ("1.1.1.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("203.0.113.7, unknown, 10.1.2.3", "10.1.2.3"),
    ] {
        assert_eq!(peer(&broker, forwarded_for).await, expected, "{forwarded_for}");
    }
    assert!(peer(&broker, "unknown").await.starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn nobody_else_says_so() {
    let trusted_proxies = vec![network("10.0.0.0", 8)];
    let broker = broker_with(WebSocketConfig { trusted_proxies, ..WebSocketConfig::default() }).await;
    assert!(peer(&broker, "203.0.113.7").await.starts_with("127.0.0.1:"));
}
