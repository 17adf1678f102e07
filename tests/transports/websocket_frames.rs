//! WebSocket frames, byte by byte: what may be cut how, and what ends the connection.

use midge::config::{ByteSize, ListenerConfig, WebSocketConfig};

use crate::support::{
    Client, Frames, TestBroker, WebSocketClient, connect_packet, frame, publish_packet, request, websocket,
};
use tokio::net::TcpStream;

const BINARY: u8 = 0x82;
const BINARY_TO_BE_CONTINUED: u8 = 0x02;
const CONTINUATION: u8 = 0x80;
const CONTINUATION_TO_BE_CONTINUED: u8 = 0x00;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

async fn broker() -> TestBroker {
    TestBroker::start(websocket()).await
}

/// Upgraded and connected.
async fn connected(broker: &TestBroker, client_id: &str, will: Option<&str>) -> Frames<TcpStream> {
    let mut frames = Frames::over(broker.socket().await).await;
    frames.send(&frame(BINARY, &connect_packet(client_id, will))).await;
    let (first, connack) = frames.next().await.unwrap();
    assert_eq!((first, connack[0], connack[3]), (BINARY, 0x20, 0));
    frames
}

/// [MQTT-6.0.0-2]
#[tokio::test]
async fn packets_do_not_have_to_begin_where_frames_do() {
    let broker = broker().await;
    let packets = [connect_packet("client", None), publish_packet("t", b"1", 1), publish_packet("t", b"2", 1)].concat();
    for size in [1, 2, 3, 7, 20, packets.len()] {
        let mut client = Client::new(WebSocketClient::over(broker.socket().await).await);
        for part in packets.chunks(size) {
            client.send(part).await;
        }
        for expected in [0x20, 0x40, 0x40] {
            assert_eq!(client.packet().await[0], expected, "frames of {size}");
        }
    }
}

#[tokio::test]
async fn fragments_are_one_stream_and_control_frames_may_come_between() {
    let broker = broker().await;
    let mut frames = Frames::over(broker.socket().await).await;
    let packet = connect_packet("client", None);
    let sent = [
        frame(BINARY_TO_BE_CONTINUED, &packet[..3]),
        frame(CONTINUATION_TO_BE_CONTINUED, b""),
        frame(PING, b"between"),
        frame(CONTINUATION_TO_BE_CONTINUED, &packet[3..9]),
        frame(PONG, b"nobody asked"),
        frame(CONTINUATION, &packet[9..]),
    ];
    frames.send(&sent.concat()).await;
    assert_eq!(frames.next().await, Some((PONG, b"between".to_vec())));
    assert_eq!(frames.next().await.unwrap().1[0], 0x20);
}

#[tokio::test]
async fn frames_right_behind_the_request_are_not_lost() {
    let broker = broker().await;
    let hasty = [request("/mqtt", &[]).into_bytes(), frame(BINARY, &connect_packet("hasty", None))].concat();
    let (response, mut frames) = Frames::request(broker.socket().await, &hasty).await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert_eq!(frames.next().await.unwrap().1[0], 0x20);
}

#[tokio::test]
async fn pings_are_answered_before_and_after_connect() {
    let broker = broker().await;
    let mut frames = Frames::over(broker.socket().await).await;
    frames.send(&frame(PING, b"early")).await;
    assert_eq!(frames.next().await, Some((PONG, b"early".to_vec())));
    let mut frames = connected(&broker, "client", None).await;
    for payload in [&b""[..], b"ping", &[9; 125]] {
        frames.send(&frame(PING, payload)).await;
        assert_eq!(frames.next().await, Some((PONG, payload.to_vec())));
    }
}

#[tokio::test]
async fn of_pings_that_pile_up_the_last_one_is_answered() {
    let broker = broker().await;
    let mut frames = connected(&broker, "client", None).await;
    let pings: Vec<_> = (0..10_000u32).flat_map(|n| frame(PING, &n.to_be_bytes())).collect();
    frames.send(&pings).await;
    let mut answers = 0;
    loop {
        let (first, payload) = frames.next().await.unwrap();
        assert_eq!(first, PONG);
        answers += 1;
        if payload == 9_999u32.to_be_bytes() {
            break;
        }
    }
    assert!(answers <= 10_000);
    frames.send(&frame(BINARY, &[0xC0, 0])).await;
    assert_eq!(frames.next().await, Some((BINARY, vec![0xD0, 0])));
}

/// [MQTT-6.0.0-1]
#[tokio::test]
async fn a_text_frame_ends_the_connection_and_publishes_the_will() {
    let broker = broker().await;
    let mut watcher = Client::connect(WebSocketClient::over(broker.socket().await).await, "watcher").await;
    watcher.subscribe("will").await;
    let mut victim = connected(&broker, "victim", Some("will")).await;
    victim.send(&frame(TEXT, &[0xC0, 0])).await;
    victim.closes_with(1003).await;
    assert_eq!(watcher.message().await, b"gone");
    assert_eq!(broker.broker.counts().protocol_errors, 1);
}

#[tokio::test]
async fn broken_frames_end_the_connection_with_the_code_that_says_why() {
    let settings = WebSocketConfig { frame_bytes_max: ByteSize(100), ..WebSocketConfig::default() };
    let broker = TestBroker::start(ListenerConfig { websocket: settings, ..websocket() }).await;
    let mut unmasked = frame(BINARY, &[0xC0, 0]);
    unmasked[1] &= 0x7F;
    for (bytes, code) in [
        (unmasked, 1002),
        (frame(0xC2, &[0xC0, 0]), 1002),
        (frame(0x83, &[0xC0, 0]), 1002),
        (frame(CONTINUATION, &[0xC0, 0]), 1002),
        (frame(0x09, b"fragmented ping"), 1002),
        (frame(CLOSE, b"1"), 1002),
        (frame(BINARY, &[0; 101]), 1009),
        // Announced, and not sent.
        (vec![BINARY, 0xFF, 0, 0, 0, 0, 0x10, 0, 0, 0], 1009),
        ([frame(BINARY_TO_BE_CONTINUED, &[0xC0]), frame(BINARY, &[0])].concat(), 1002),
    ] {
        let mut frames = connected(&broker, "client", None).await;
        frames.send(&[frame(BINARY, &[0xC0, 0]), bytes].concat()).await;
        // What came before is answered.
        assert_eq!(frames.next().await, Some((BINARY, vec![0xD0, 0])));
        frames.closes_with(code).await;
    }
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_code() {
    let broker = broker().await;
    for (payload, code) in [(&b""[..], 1000), (&[3, 0xE9], 1001), (b"\x0F\xA0bye", 4000)] {
        let mut frames = connected(&broker, "client", None).await;
        frames.send(&frame(CLOSE, payload)).await;
        frames.closes_with(code).await;
    }
}

#[tokio::test]
async fn the_end_of_mqtt_is_a_close_frame() {
    let broker = broker().await;
    let mut frames = connected(&broker, "polite", None).await;
    frames.send(&frame(BINARY, &[0xE0, 0])).await;
    frames.closes_with(1000).await;

    let mut frames = connected(&broker, "rude", None).await;
    frames.send(&frame(BINARY, &connect_packet("rude", None))).await;
    let (first, disconnect) = frames.next().await.unwrap();
    assert_eq!((first, disconnect[0], disconnect[2]), (BINARY, 0xE0, 0x82));
    frames.closes_with(1000).await;
}

#[tokio::test]
async fn all_of_a_turn_is_one_frame() {
    let broker = broker().await;
    let mut frames = connected(&broker, "client", None).await;
    frames.send(&frame(BINARY, &[0xC0, 0].repeat(20))).await;
    assert_eq!(frames.next().await, Some((BINARY, [0xD0, 0].repeat(20))));
}
