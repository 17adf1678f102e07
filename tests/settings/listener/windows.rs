//! `receive_maximum` towards the broker; `inflight_max` and the client's Receive Maximum towards the client.

use std::num::NonZeroU16;

use midge::packet::{Connect, ConnectProperties, PacketId, ProtocolVersion, Publish, QoS};

use crate::support::{Client, Midge, message, v4, v5};

fn twice(message: Publish<'_>) -> Publish<'_> {
    Publish { qos: QoS::ExactlyOnce, ..message }
}

fn numbered(n: u16, publish: Publish<'_>) -> Publish<'_> {
    Publish { packet_id: PacketId::new(n), ..publish }
}

// [MQTT-3.3.4-7]
#[tokio::test]
async fn more_open_messages_than_the_receive_maximum_end_the_connection() {
    let midge = Midge::start("[defaults]\nreceive_maximum = 2").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(v5("a")).await;
    assert_eq!(connack.connack().properties.receive_maximum, NonZeroU16::new(2));
    for n in [1, 2] {
        assert_eq!(client.offer(numbered(n, twice(message("a", "x")))).await, "0x10");
    }
    // The same message again is none more.
    assert_eq!(client.offer(Publish { dup: true, ..numbered(2, twice(message("a", "x"))) }).await, "0x00");
    client.send_pubrel(PacketId::MIN).await;
    client.expect("PUBCOMP #1 0x00").await;
    assert_eq!(client.offer(numbered(3, twice(message("a", "x")))).await, "0x10");
    client.publish(numbered(4, twice(message("a", "x")))).await;
    client.expect("DISCONNECT 0x93").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_client_of_3x_cannot_be_told_and_is_let_go_on() {
    let midge = Midge::start("[defaults]\nreceive_maximum = 2").await;
    let mut client = midge.join(v4("a")).await;
    for n in 1..=5 {
        assert_eq!(client.offer(numbered(n, twice(message("a", "x")))).await, "");
    }
}

async fn deliveries_before_an_ack(client: &mut Client, midge: &Midge) -> usize {
    client.subscribe("a", QoS::ExactlyOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    for n in 0..6 {
        let qos = if n % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        writer.publish(Publish { qos, ..message("a", "x") }).await;
        writer.next().await;
    }
    let mut count = 0;
    client.send(&midge::packet::Packet::PingReq).await;
    while client.next().await.is_publish() {
        count += 1;
    }
    count
}

fn taking(receive_maximum: u16) -> Connect<'static> {
    let properties =
        ConnectProperties { receive_maximum: NonZeroU16::new(receive_maximum), ..ConnectProperties::default() };
    Connect { properties, ..v5("a") }
}

// [MQTT-3.3.4-9]
#[tokio::test]
async fn a_client_has_no_more_in_flight_than_it_takes_and_than_the_configuration_allows() {
    let midge = Midge::start("[limits]\ninflight_max = 3").await;
    for (connect, in_flight) in [(taking(2), 2), (taking(100), 3), (v5("a"), 3), (v4("a"), 3)] {
        let mut client = midge.join(connect).await;
        assert_eq!(deliveries_before_an_ack(&mut client, &midge).await, in_flight);
    }
}

#[tokio::test]
async fn an_acknowledgement_makes_room_for_the_next_message() {
    let midge = Midge::start("[limits]\ninflight_max = 1").await;
    let mut client = midge.join(v4("a")).await;
    client.subscribe("a", QoS::ExactlyOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    writer.offer(message("a", "1")).await;
    writer.offer(twice(message("a", "2"))).await;
    writer.offer(message("a", "3")).await;
    let first = client.expect("PUBLISH q1 a '1'").await;
    client.ping().await;
    client.acknowledge(&first).await;
    let second = client.expect("PUBLISH q2 a '2'").await.publish().packet_id.expect("an identifier");
    client.send_pubrec(second).await;
    client.expect("PUBREL #2").await;
    client.ping().await;
    client.send_pubcomp(second).await;
    client.expect("PUBLISH q1 a '3'").await;
}

#[tokio::test]
async fn qos_0_passes_a_window_that_is_closed_only_where_nothing_waits_before_it() {
    let midge = Midge::start("[limits]\ninflight_max = 1").await;
    let mut client = midge.join(v5("a")).await;
    client.subscribe("#", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    writer.offer(message("a", "1")).await;
    let first = client.expect("PUBLISH q1 a '1'").await;
    writer.publish(Publish { qos: QoS::AtMostOnce, ..message("b", "free") }).await;
    client.expect("PUBLISH q0 b 'free'").await;
    writer.offer(message("a", "2")).await;
    writer.publish(Publish { qos: QoS::AtMostOnce, ..message("a", "3") }).await;
    writer.ping().await;
    client.ping().await;
    client.acknowledge(&first).await;
    client.expect("PUBLISH q1 a '2'").await;
    client.expect("PUBLISH q0 a '3'").await;
}

#[tokio::test]
async fn retained_messages_keep_to_the_window_too() {
    let midge = Midge::start("[limits]\ninflight_max = 2").await;
    let mut writer = midge.join(v5("writer")).await;
    for topic in ["r/1", "r/2", "r/3"] {
        writer.offer(Publish { retain: true, ..message(topic, "x") }).await;
    }
    let mut client = midge.join(v4("a")).await;
    client.subscribe("r/#", QoS::AtLeastOnce).await;
    let first = client.expect("PUBLISH q1 retain r/1 'x'").await;
    client.expect("PUBLISH q1 retain r/2 'x'").await;
    client.ping().await;
    client.acknowledge(&first).await;
    client.expect("PUBLISH q1 retain r/3 'x'").await;
}
