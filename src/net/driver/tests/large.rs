//! Packets that one read does not hold.

use super::super::inbound::LARGE_READ_BYTES_MAX;
use super::super::turn::READ_BYTES_MAX;
use super::*;

const PAYLOAD_BYTES: usize = 700_000;

fn payload() -> Vec<u8> {
    (0..PAYLOAD_BYTES).map(|n| (n / 251) as u8).collect()
}

/// A retained message of that payload for `a`.
fn large(payload: &[u8]) -> Vec<u8> {
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "a",
        packet_id: Some(id(7)),
        properties: PublishProperties::default(),
        payload,
    };
    let mut bytes = Vec::new();
    Packet::Publish(publish).encode(ProtocolVersion::V5, &mut bytes);
    bytes
}

/// Sends as fast as the broker takes it; returns the most room that it had for the packet, before and after so much of
/// it had come.
async fn send(client: &mut Peers, bytes: &[u8], early: usize) -> (usize, usize) {
    let (mut sent, mut most) = (0, (0, 0));
    while sent < bytes.len() {
        sent += client.client.try_write(&bytes[sent..]).unwrap_or(0);
        client.turn().await;
        let partial = &client.driver().partial;
        let most = if partial.len() < early { &mut most.0 } else { &mut most.1 };
        *most = partial.capacity().max(*most);
    }
    for _ in 0..8 {
        client.turn().await;
    }
    most
}

fn retained(bench: &Bench) -> Option<Vec<u8>> {
    let mut found = None;
    let now = bench.shared.clock.now();
    let router = &bench.shared.router;
    router.retained_page("a", None, 1, Router::ANY_VERSION, now, |message| found = Some(message.payload().to_vec()));
    found
}

// [MQTT-6.0.0-2]
#[tokio::test]
async fn a_large_packet_is_read_to_its_end_into_room_that_grows_with_what_has_come() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    let packet = large(&payload());
    let stream = [&packet[..], &[0xC0, 0x00]].concat();
    let (early, late) = send(&mut client, &stream[..5], LARGE_READ_BYTES_MAX).await;
    assert!(early.max(late) < 64, "{early} bytes of room for five");
    let (early, late) = send(&mut client, &stream[5..], LARGE_READ_BYTES_MAX).await;
    assert!(early <= LARGE_READ_BYTES_MAX, "{early} bytes of room at first");
    assert_eq!(late, packet.len());
    let answers = client.packets().await;
    assert_eq!(answers, [(PacketType::PubAck, None), (PacketType::PingResp, None)]);
    assert!(retained(&bench) == Some(payload()), "the payload came whole");
    assert_eq!(client.driver().partial.capacity(), 0);
}

#[tokio::test]
async fn a_large_packet_that_the_store_does_not_take_yet_waits_where_it_is() {
    let (bench, gate) = Bench::stored();
    let mut client = connected(&bench).await;
    gate.surprise(u32::MAX);
    let packet = large(&payload());
    send(&mut client, &packet, 0).await;
    let waiting = client.driver().partial.as_ptr();
    assert_eq!(client.driver().partial.len(), packet.len());
    assert!(retained(&bench).is_none());
    client.turn().await;
    assert_eq!(client.driver().partial.as_ptr(), waiting, "tried again without a copy");
    gate.surprise(0);
    client.turn().await;
    assert_eq!(client.packets().await, [(PacketType::PubAck, None)]);
    assert!(retained(&bench) == Some(payload()), "the payload came whole");
}

// [MQTT-3.2.2-15]
#[tokio::test]
async fn a_packet_that_had_to_wait_is_refused_for_its_size_before_it_is_read() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    client.subscribe(&[("t", at(QoS::AtMostOnce))]).await;
    for _ in 0..40 {
        bench.publish("t", &[0; 4096], QoS::AtMostOnce, false);
    }
    client.turn().await;
    assert!(client.driver().unsent.is_some());
    // 2 MiB, where one is allowed.
    let start = [&[0x30, 0x80, 0x80, 0x80, 0x01][..], &[0; READ_BYTES_MAX / 2]].concat();
    client.client.write_all(&start).await.expect("there is room");
    client.turn().await;
    assert_eq!(client.driver().partial.len(), start.len(), "a PUBLISH waits while the client does not take anything");
    let mut told = Vec::new();
    let mut is_told = |bytes: Vec<u8>| {
        told.extend(bytes);
        told.windows(3).any(|end| end[0] == 0xE0 && end[2] == ReasonCode::PacketTooLarge as u8)
    };
    for _ in 0..100 {
        let over = client.turn().await;
        if is_told(client.receive(1 << 20).await) {
            return;
        }
        assert!(!over, "closed without a word");
    }
    panic!("not refused");
}
