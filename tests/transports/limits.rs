//! What a listener does not put up with: too many, too fast, too slow.

use std::num::NonZeroU32;
use std::time::Duration;

use midge::config::{ListenerConfig, ProxyProtocolConfig, TlsConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::support::{
    Authority, Client, Frames, Log, TestBroker, TlsClient, WebSocketClient, connect_packet, listener, network,
    publish_packet, request, tls, websocket, within,
};

/// Waits until the broker has got as far as that.
async fn until(broker: &TestBroker, what: impl Fn(&midge::router::Counts) -> bool) {
    within(async {
        while !what(&broker.broker.counts()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn ends(mut stream: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    let _ = within(stream.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once_and_counted() {
    let broker = TestBroker::start(ListenerConfig { connections_max: NonZeroU32::new(2), ..listener() }).await;
    let first = Client::connect(broker.socket().await, "first").await;
    // A connection counts before it is a session.
    let mut second = Client::new(broker.socket().await);
    until(&broker, |counts| counts.connections_accepted == 2).await;
    ends(broker.socket().await).await;
    assert_eq!(broker.broker.counts().connections_refused, 1);

    drop(first);
    // Its place is free as soon as the broker has seen that.
    within(async {
        loop {
            let mut third = Client::new(broker.socket().await);
            if third.try_connect("third", None).await.is_ok() {
                break;
            }
        }
    })
    .await;
    second.try_connect("second", None).await.unwrap();
}

#[tokio::test]
async fn connections_above_the_rate_are_closed_at_once_until_time_has_passed() {
    let broker = TestBroker::start(ListenerConfig { connect_rate: NonZeroU32::new(3), ..listener() }).await;
    let mut inside = Vec::new();
    for wait in [0, 60_000] {
        // A minute saves up no more than a second does.
        broker.clock.advance(Duration::from_millis(wait));
        for _ in 0..3 {
            inside.push(Client::connect(broker.socket().await, &format!("client-{}", inside.len())).await);
        }
        ends(broker.socket().await).await;
    }
    broker.clock.advance(Duration::from_millis(333));
    ends(broker.socket().await).await;
    broker.clock.advance(Duration::from_millis(1));
    Client::connect(broker.socket().await, "later").await;
    assert_eq!(broker.broker.counts().connections_refused, 3);
}

#[tokio::test]
async fn a_flood_of_refused_connections_is_one_line_a_second() {
    let broker = TestBroker::start(ListenerConfig { connections_max: NonZeroU32::new(1), ..listener() }).await;
    let _inside = Client::connect(broker.socket().await, "inside").await;
    let log = Log::gather();
    for _ in 0..10 {
        ends(broker.socket().await).await;
    }
    let line = log.line_with("connections closed at once");
    assert!(line.contains("listener=test connections=1 limit=connections_max"), "{line}");
    broker.advance(1);
    ends(broker.socket().await).await;
    let lines = log.lines_with("connections closed at once");
    assert!(lines.len() == 2 && lines[1].contains("connections=10"), "{lines:?}");
}

/// Ten seconds after accept the connection is closed, whatever the client did in between.
async fn has_ten_seconds<S: AsyncRead + AsyncWrite + Unpin>(broker: &TestBroker, mut stream: S, bytes: &[u8]) {
    for byte in bytes.iter().take(9) {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
        broker.advance(1);
        tokio::task::yield_now().await;
    }
    let mut early = [0];
    assert!(futures_util::poll!(Box::pin(stream.read(&mut early))).is_pending());
    broker.advance(10 - bytes.len().min(9) as u64);
    ends(stream).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_or_too_slowly_is_closed_after_ten_seconds() {
    let broker = TestBroker::start(listener()).await;
    let half_open = broker.socket().await;
    until(&broker, |counts| counts.connections_accepted == 1).await;
    has_ten_seconds(&broker, half_open, b"").await;
    let slow = broker.socket().await;
    until(&broker, |counts| counts.connections_accepted == 2).await;
    has_ten_seconds(&broker, slow, &connect_packet("slow", None)).await;
}

#[tokio::test]
async fn the_ten_seconds_hold_inside_every_handshake() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let tls = || Some(tls(authority.directory(), &["server"]));
    let from = vec![network("127.0.0.1", 32)];
    let proxy_protocol = Some(ProxyProtocolConfig { from, ..ProxyProtocolConfig::default() });
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 7];
    for (listener, bytes) in [
        (ListenerConfig { tls: tls(), ..listener() }, &hello[..]),
        (websocket(), request("/mqtt", &[]).as_bytes()),
        (ListenerConfig { proxy_protocol, ..listener() }, b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 1883\r\n"),
    ] {
        let broker = TestBroker::start(listener).await;
        let log = Log::gather();
        for (accepted, bytes) in [(1, &b""[..]), (2, bytes)] {
            let stream = broker.socket().await;
            until(&broker, |counts| counts.connections_accepted == accepted).await;
            has_ten_seconds(&broker, stream, bytes).await;
        }
        assert_eq!(broker.broker.counts().handshakes_failed, 2);
        assert!(log.lines_with("connection refused").iter().all(|line| line.contains("the handshake took too long")));
    }
}

#[tokio::test]
async fn the_handshakes_take_from_the_ten_seconds_of_connect() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let secure = ListenerConfig { tls: Some(tls(authority.directory(), &["server"])), ..websocket() };
    let broker = TestBroker::start(secure).await;
    let socket = broker.socket().await;
    until(&broker, |counts| counts.connections_accepted == 1).await;
    broker.advance(4);
    let stream = TlsClient::new(&authority).over(socket).await.unwrap();
    broker.advance(4);
    let frames = Frames::over(stream).await;
    broker.advance(1);
    let mut client = frames.stream;
    tokio::task::yield_now().await;
    assert!(futures_util::poll!(Box::pin(client.read(&mut [0]))).is_pending());
    broker.advance(1);
    // Before CONNECT there is nothing to say in MQTT: WebSocket says close.
    let mut rest = Vec::new();
    within(client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, [0x88, 2, 3, 0xE8]);
}

/// Publishes until a subscriber that reads nothing has a full socket, then lets the write timeout pass.
async fn write_timeout_ends<S: AsyncRead + AsyncWrite + Unpin>(broker: &TestBroker, deaf: S, mut publisher: Client<S>) {
    let mut deaf = Client::connect_with_will(deaf, "deaf", Some("will")).await;
    deaf.subscribe("flood").await;
    publisher.subscribe("will").await;
    let payload = vec![0; 1_000_000];
    for _ in 0..16 {
        assert_eq!(publisher.publish("flood", &payload).await, 0);
    }
    broker.advance(29);
    publisher.ping().await;
    let log = Log::gather();
    broker.advance(1);
    assert_eq!(publisher.message().await, b"gone");
    let line = log.line_with("connection lost client_id=deaf");
    assert!(line.contains("the client did not take a packet within the write timeout"), "{line}");
}

#[tokio::test]
async fn a_write_that_stands_still_ends_the_connection_over_tcp() {
    let broker = TestBroker::start(listener()).await;
    let publisher = Client::connect(broker.socket().await, "publisher").await;
    write_timeout_ends(&broker, broker.socket().await, publisher).await;
}

#[tokio::test]
async fn a_write_that_stands_still_ends_the_connection_over_websocket() {
    let broker = TestBroker::start(websocket()).await;
    let publisher = Client::connect(WebSocketClient::over(broker.socket().await).await, "publisher").await;
    write_timeout_ends(&broker, WebSocketClient::over(broker.socket().await).await, publisher).await;
}

#[tokio::test]
async fn a_write_that_stands_still_ends_the_connection_over_tls() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let settings: TlsConfig = tls(authority.directory(), &["server"]);
    let broker = TestBroker::start(ListenerConfig { tls: Some(settings), ..listener() }).await;
    let client = TlsClient::new(&authority);
    let publisher = client.connect(&broker, "publisher").await.unwrap();
    write_timeout_ends(&broker, client.stream(&broker).await.unwrap(), publisher).await;
}

#[tokio::test]
async fn a_message_that_only_tls_has_taken_is_not_delivered() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let settings = tls(authority.directory(), &["server"]);
    let broker = TestBroker::start(ListenerConfig { tls: Some(settings), ..listener() }).await;
    let client = TlsClient::new(&authority);
    let mut deaf = client.connect(&broker, "deaf").await.unwrap();
    deaf.subscribe("flood").await;
    let mut publisher = client.connect(&broker, "publisher").await.unwrap();
    let publishes = publish_packet("flood", &[0; 1000], 0).repeat(100);
    for _ in 0..200 {
        publisher.send(&publishes).await;
        publisher.ping().await;
    }
    // The write timeout, and the second in which TLS might still have said goodbye.
    for seconds in [30, 1] {
        broker.advance(seconds);
        publisher.ping().await;
    }
    let delivered = broker.broker.counts().delivered_qos0;
    let mut received = 0;
    while let Ok(Some(_)) = deaf.try_next().await {
        received += 1;
    }
    assert!(delivered > 0 && delivered <= received && received < 20_000, "{delivered} delivered, {received} received");
}
