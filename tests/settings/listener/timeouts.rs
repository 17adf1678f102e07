//! `connect_timeout`, `write_timeout`, `keep_alive_max`.

use std::time::Duration;

use midge::packet::{Connect, ConnectProperties, Packet, ProtocolVersion, QoS};

use crate::support::{Client, Log, Midge, message, v3, v4, v5};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn connect_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::Connect(v5("a")).encode(ProtocolVersion::V5, &mut bytes);
    bytes
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_after_the_connect_timeout() {
    let midge = Midge::start("[defaults]\nconnect_timeout = \"3s\"").await;
    let mut silent = midge.dial(ProtocolVersion::V5).await;
    let mut slow = midge.dial(ProtocolVersion::V5).await;
    let mut half = midge.dial(ProtocolVersion::V5).await;
    // A round trip: the connections are there when the clock moves.
    midge.join(v5("marker")).await.ping().await;
    let bytes = connect_bytes();
    slow.send_bytes(&bytes[..5]).await;
    half.send_bytes(&bytes[..bytes.len() - 1]).await;
    midge.clock.advance(3 * SECOND - MILLISECOND);
    slow.send_bytes(&bytes[5..]).await;
    slow.expect("CONNACK 0x00").await;
    midge.clock.advance(MILLISECOND);
    silent.expect_closed().await;
    half.expect_closed().await;
    slow.ping().await;
}

fn alive(connect: Connect<'_>, keep_alive: u16) -> Connect<'_> {
    Connect { keep_alive, ..connect }
}

// [MQTT-3.1.2-21], [MQTT-3.2.2-21], [MQTT-3.2.2-22]
#[tokio::test]
async fn a_longer_keep_alive_than_allowed_is_cut_and_version_5_is_told() {
    let midge = Midge::start("[defaults]\nkeep_alive_max = \"10s\"").await;
    for (asked, told) in [(0, Some(10)), (11, Some(10)), (10, None), (9, None)] {
        let mut client = midge.dial(ProtocolVersion::V5).await;
        let connack = client.connect(alive(v5("a"), asked)).await;
        assert_eq!(connack.connack().properties.server_keep_alive, told, "{asked}");
    }
    let mut client = midge.join(alive(v5("a"), 0)).await;
    midge.clock.advance(15 * SECOND - MILLISECOND);
    client.ping().await;
    midge.clock.advance(15 * SECOND);
    client.expect("DISCONNECT 0x8D").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn clients_of_3x_cannot_be_told_and_keep_their_own_keep_alive() {
    let midge = Midge::start("[defaults]\nkeep_alive_max = \"10s\"").await;
    for connect in [v3, v4] {
        let mut without = midge.join(alive(connect("without"), 0)).await;
        let mut longer = midge.join(alive(connect("longer"), 100)).await;
        midge.clock.advance(100 * SECOND);
        without.ping().await;
        longer.ping().await;
        midge.clock.advance(150 * SECOND);
        longer.expect_closed().await;
        without.ping().await;
    }
}

#[tokio::test]
async fn without_a_maximum_every_keep_alive_is_granted() {
    let midge = Midge::start("").await;
    for asked in [0, 1, u16::MAX] {
        let mut client = midge.dial(ProtocolVersion::V5).await;
        let connack = client.connect(alive(v5("a"), asked)).await;
        assert_eq!(connack.connack().properties.server_keep_alive, None);
    }
}

/// Publishes until the reader's system takes no more and messages wait in the broker; how many were published.
async fn fill(midge: &Midge, topic: &str, payload: &str) -> usize {
    let mut writer = midge.join(v5("writer")).await;
    for n in 1..=2000 {
        writer.offer(message(topic, payload)).await;
        // One that has much to do has its turn when the broker has looked at its sockets.
        for _ in 0..3 {
            writer.ping().await;
        }
        if midge.broker.accounting().queued > 0 {
            return n;
        }
    }
    panic!("the system takes everything");
}

fn lasting(client_id: &str) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval: Some(1000), ..Default::default() };
    Connect { clean_start: false, properties, ..v5(client_id) }
}

async fn reader_that_does_not_read(midge: &Midge, connect: Connect<'_>) -> Client {
    let mut client = Client::dial_narrow(midge.broker.local_addresses()[0], connect.version).await;
    client.connect(connect).await;
    client.subscribe("a", QoS::AtLeastOnce).await;
    client
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_after_the_write_timeout_and_its_session_stays() {
    let log = Log::capture();
    let midge = Midge::start("[defaults]\nwrite_timeout = \"5s\"").await;
    let mut reader = reader_that_does_not_read(&midge, lasting("reader")).await;
    let sent = fill(&midge, "a", &"x".repeat(60_000)).await;
    midge.clock.advance(5 * SECOND - MILLISECOND);
    midge.join(v5("marker")).await.ping().await;
    assert!(log.lines("write timeout").is_empty());
    midge.clock.advance(MILLISECOND);
    midge.join(v5("marker")).await.ping().await;
    let lost = log.lines("the client did not take a packet within the write timeout");
    assert!(lost.len() == 1 && lost[0].contains("connection lost client_id=\"reader\""), "{lost:?}");
    while reader.next_or_partial().await {}
    let mut reader = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(reader.connect(lasting("reader")).await.to_string(), "CONNACK 0x00 present");
    for _ in 0..sent {
        assert!(reader.next().await.is_publish());
    }
    reader.ping().await;
}

#[tokio::test]
async fn a_client_that_reads_again_before_the_write_timeout_goes_on() {
    let midge = Midge::start("[defaults]\nwrite_timeout = \"5s\"").await;
    let mut reader = reader_that_does_not_read(&midge, alive(lasting("reader"), 10)).await;
    let sent = fill(&midge, "a", &"x".repeat(60_000)).await;
    for n in 0..sent {
        assert!(reader.next().await.is_publish());
        if n % 10 == 0 {
            midge.clock.advance(MILLISECOND);
        }
    }
    midge.clock.advance(5 * SECOND);
    reader.ping().await;
}
