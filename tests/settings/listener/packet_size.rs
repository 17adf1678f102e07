//! `maximum_packet_size`, and the Maximum Packet Size of a client.

use std::num::NonZeroU32;

use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, Packet, ProtocolVersion, Publish, QoS};

use crate::support::{Midge, message, v3, v4, v5, will};

const SMALL: &str = "[defaults]\nmaximum_packet_size = 256";

/// A payload with which the packet is so long; all overhead but the payload is `overhead`.
fn filling(packet_len: usize, overhead: usize) -> String {
    "x".repeat(packet_len - overhead)
}

/// Fixed header of two-byte length, topic "a", packet identifier, no properties in version 5.
const OVERHEAD_V5: usize = 3 + 3 + 2 + 1;
const OVERHEAD_V4: usize = OVERHEAD_V5 - 1;

#[tokio::test]
async fn a_packet_of_the_maximum_size_is_taken() {
    let midge = Midge::start(SMALL).await;
    for (connect, overhead, ack) in [(v5("a"), OVERHEAD_V5, "0x10"), (v4("a"), OVERHEAD_V4, "")] {
        let mut client = midge.join(connect).await;
        assert_eq!(client.offer(message("a", &filling(256, overhead))).await, ack);
    }
}

#[tokio::test]
async fn a_larger_packet_is_refused_as_soon_as_its_length_is_announced() {
    let midge = Midge::start(SMALL).await;
    // The first three bytes of 257: nothing of the packet itself is sent.
    let announcement = [0x32, 0xFE, 0x01];
    let mut client = midge.join(v5("a")).await;
    client.send_bytes(&announcement).await;
    let reason = client.expect("DISCONNECT 0x95").await.reason().expect("a reason");
    assert!(reason.contains("256"), "{reason}");
    client.expect_closed().await;
    for connect in [v3, v4] {
        let mut client = midge.join(connect("a")).await;
        client.send_bytes(&announcement).await;
        client.expect_closed().await;
    }
    assert_eq!(midge.broker.counts().protocol_errors, 3);
}

#[tokio::test]
async fn a_connect_that_is_too_large_is_not_worth_an_answer() {
    let midge = Midge::start(SMALL).await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    client.send_bytes(&[0x10, 0xFE, 0x01]).await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_client_of_version_5_is_told_the_maximum() {
    let midge = Midge::start(SMALL).await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(v5("a")).await;
    assert_eq!(connack.connack().properties.maximum_packet_size, NonZeroU32::new(256));
}

fn taking(client_id: &str, maximum: u32) -> Connect<'_> {
    let properties = ConnectProperties { maximum_packet_size: NonZeroU32::new(maximum), ..Default::default() };
    Connect { properties, ..v5(client_id) }
}

// [MQTT-3.1.2-24], [MQTT-3.1.2-25]
#[tokio::test]
async fn a_message_that_is_too_large_for_one_client_is_dropped_for_it_alone_and_counted() {
    let midge = Midge::start("").await;
    let mut narrow = midge.join(taking("narrow", 100)).await;
    let mut wide = midge.join(v5("wide")).await;
    for client in [&mut narrow, &mut wide] {
        client.subscribe("a", QoS::ExactlyOnce).await;
    }
    let mut writer = midge.join(v5("writer")).await;
    // One byte less of fixed header: the packet is below 128 bytes.
    let (fits, too_large) = (filling(100, OVERHEAD_V5 - 1), filling(101, OVERHEAD_V5 - 1));
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let before = midge.dropped(DropCause::TooLarge);
        writer.publish(Publish { qos, ..message("a", &too_large) }).await;
        writer.next().await;
        writer.publish(Publish { qos, ..message("a", &fits) }).await;
        writer.next().await;
        for len in [too_large.len(), fits.len()] {
            wide.expect(&format!("PUBLISH q{} a {len} bytes", qos as u8)).await;
        }
        let delivery = narrow.expect(&format!("PUBLISH q{} a {} bytes", qos as u8, fits.len())).await;
        assert_eq!(delivery.len(), 100);
        narrow.ping().await;
        assert_eq!(midge.dropped(DropCause::TooLarge), before + 1);
    }
}

#[tokio::test]
async fn a_retained_message_that_is_too_large_does_not_hold_up_the_others() {
    let midge = Midge::start("").await;
    let mut writer = midge.join(v5("writer")).await;
    for (topic, payload) in [("a/1", "x"), ("a/2", &filling(200, 0)), ("a/3", "z")] {
        writer.offer(Publish { retain: true, ..message(topic, payload) }).await;
    }
    let mut narrow = midge.join(taking("narrow", 100)).await;
    narrow.subscribe("a/#", QoS::AtLeastOnce).await;
    narrow.expect("PUBLISH q1 retain a/1 'x'").await;
    narrow.expect("PUBLISH q1 retain a/3 'z'").await;
    narrow.ping().await;
    assert_eq!(midge.dropped(DropCause::TooLarge), 1);
}

#[tokio::test]
async fn what_was_in_flight_is_given_up_when_the_client_comes_back_and_takes_less() {
    let midge = Midge::start("").await;
    let lasting = |maximum| {
        let connect = taking("a", maximum);
        let properties = ConnectProperties { session_expiry_interval: Some(100), ..connect.properties };
        Connect { clean_start: false, properties, ..connect }
    };
    let mut client = midge.join(lasting(10_000)).await;
    client.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    let large = filling(200, 0);
    for payload in [&large[..], "small"] {
        writer.offer(message("a", payload)).await;
        client.next().await;
    }
    client.vanish().await;
    let mut client = midge.join(lasting(100)).await;
    client.expect("PUBLISH q1 dup a 'small'").await;
    client.ping().await;
    assert_eq!(midge.dropped(DropCause::TooLarge), 1);
}

#[tokio::test]
async fn a_reason_string_stays_out_of_a_packet_that_it_would_make_too_large() {
    let midge = Midge::start_with_files("[access]\nacl_file = \"acl\"\nallow_anonymous = true", &[("acl", "")]).await;
    let mut client = midge.join(taking("a", 20)).await;
    client.publish(message("a", "x")).await;
    let puback = client.expect("PUBACK #1 0x87").await;
    assert_eq!(puback.reason(), None);
    client.send(&Packet::Connect(v5("a"))).await;
    assert_eq!(client.expect("DISCONNECT 0x82").await.reason(), None);
    client.expect_closed().await;
}

#[tokio::test]
async fn a_will_counts_as_part_of_its_connect() {
    let midge = Midge::start(SMALL).await;
    let payload = "x".repeat(300);
    let mut client = midge.dial(ProtocolVersion::V5).await;
    client.send(&Packet::Connect(Connect { will: Some(will("a", &payload)), ..v5("a") })).await;
    client.expect_closed().await;
}
