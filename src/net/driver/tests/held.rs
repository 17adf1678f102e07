//! Answers that wait for a store that the test holds back.

use super::*;
use crate::message::DropCause;
use crate::net::driver::inbound::UNSENT_BYTES_MAX;

struct Stored {
    bench: Bench,
    gate: Arc<Gate>,
}

impl Stored {
    /// A broker with a session that sleeps and gets what is published to `a`, so that it is stored.
    async fn new() -> Self {
        let (bench, gate) = Bench::stored();
        let mut sleeper = bench.connect();
        sleeper.connect("sleeper", lasting()).await;
        sleeper.subscribe(&[("a", at(QoS::AtLeastOnce))]).await;
        sleeper.hang_up().await;
        Stored { bench, gate }
    }

    /// A client with a lasting session, whose store is held back from now on.
    async fn client(&self, client_id: &str) -> Peers {
        let mut client = self.bench.connect();
        client.connect(client_id, lasting()).await;
        assert_eq!(heard(&mut client).await, ["ConnAck 0x00"]);
        self.gate.close();
        client
    }
}

async fn publish(client: &mut Peers, packet_id: u16, topic: &str) {
    client.send(&message(packet_id, topic)).await;
}

/// What the client has heard by now: packets with their packet id or reason code.
async fn heard(client: &mut Peers) -> Vec<String> {
    client.turn().await;
    let tell = |packet: Packet<'_>| {
        let kind = packet.packet_type();
        match packet {
            Packet::ConnAck(connack) => format!("{kind:?} 0x{:02X}", connack.reason_code as u8),
            Packet::Disconnect(disconnect) => format!("{kind:?} 0x{:02X}", disconnect.reason_code as u8),
            Packet::PubAck(ack) | Packet::PubComp(ack) => format!("{kind:?} {}", ack.packet_id),
            Packet::SubAck(suback) => format!("{kind:?} {}", suback.packet_id),
            Packet::Publish(publish) => format!("{kind:?} q{}", publish.qos as u8),
            _ => format!("{kind:?}"),
        }
    };
    client.each_packet(tell).await
}

const NOTHING: [&str; 0] = [];

// [MQTT-4.6.0-2]
#[tokio::test]
async fn answers_leave_in_their_order_and_what_promises_nothing_waits_behind_what_does() {
    let stored = Stored::new().await;
    let mut client = stored.client("c").await;
    publish(&mut client, 1, "a").await;
    // Nobody gets it, so nothing of it is stored.
    publish(&mut client, 2, "nobody").await;
    client.subscribe(&[("b", at(QoS::AtLeastOnce))]).await;
    publish(&mut client, 3, "nobody").await;
    assert_eq!(heard(&mut client).await, NOTHING);
    stored.gate.let_one_through();
    assert_eq!(heard(&mut client).await, ["PubAck 1", "PubAck 2"]);
    stored.gate.let_one_through();
    assert_eq!(heard(&mut client).await, ["SubAck 1", "PubAck 3"]);
    assert!(client.driver().held.is_none());
    publish(&mut client, 4, "nobody").await;
    assert_eq!(heard(&mut client).await, ["PubAck 4"]);
}

#[tokio::test]
async fn a_loss_drops_all_that_waits_and_closes() {
    let stored = Stored::new().await;
    let mut client = stored.client("c").await;
    publish(&mut client, 1, "a").await;
    publish(&mut client, 2, "nobody").await;
    stored.gate.lose();
    stored.gate.open();
    assert_eq!(heard(&mut client).await, ["Disconnect 0x97"]);
    client.hang_up().await;
    assert!(stored.bench.shared.sessions.view("c").is_some_and(|view| !view.connected));
}

#[tokio::test]
async fn a_loss_in_the_middle_of_a_turn_is_noticed() {
    let stored = Stored::new().await;
    let mut client = stored.client("c").await;
    stored.gate.lose_after(1);
    let mut bytes = Vec::new();
    [1, 2].iter().for_each(|packet_id| message(*packet_id, "a").encode(ProtocolVersion::V5, &mut bytes));
    client.client.write_all(&bytes).await.expect("the broker reads");
    client.turn().await;
    stored.gate.open();
    assert_eq!(heard(&mut client).await, ["Disconnect 0x97"]);
}

#[tokio::test]
async fn answers_to_pings_overtake_what_waits() {
    let stored = Stored::new().await;
    let mut client = stored.client("c").await;
    publish(&mut client, 1, "a").await;
    client.send(&Packet::PingReq).await;
    assert_eq!(heard(&mut client).await, ["PingResp"]);
    stored.gate.open();
    assert_eq!(heard(&mut client).await, ["PubAck 1"]);
}

// [MQTT-3.2.0-1]
#[tokio::test]
async fn connack_comes_before_everything_else() {
    let stored = Stored::new().await;
    stored.bench.publish("a", b"x", QoS::AtLeastOnce, false);
    stored.gate.close();
    let mut client = stored.bench.connect();
    client.connect("sleeper", lasting()).await;
    client.send(&Packet::PingReq).await;
    publish(&mut client, 1, "nobody").await;
    stored.bench.publish("a", b"x", QoS::AtMostOnce, false);
    assert_eq!(heard(&mut client).await, NOTHING);
    stored.gate.open();
    assert_eq!(heard(&mut client).await[..3], ["ConnAck 0x00", "PingResp", "PubAck 1"]);
}

// [MQTT-4.6.0-1]
#[tokio::test]
async fn a_message_does_not_overtake_one_whose_packet_id_is_not_safe_and_is_counted_when_both_are_lost() {
    let stored = Stored::new().await;
    let mut client = stored.client("c").await;
    stored.gate.open();
    client.subscribe(&[("b", at(QoS::ExactlyOnce))]).await;
    assert_eq!(heard(&mut client).await, ["SubAck 1"]);
    stored.gate.close();
    for qos in [QoS::AtMostOnce, QoS::ExactlyOnce, QoS::AtMostOnce] {
        stored.bench.publish("b", b"x", qos, false);
        client.turn().await;
    }
    assert_eq!(heard(&mut client).await, ["Publish q0"]);
    stored.gate.lose();
    assert_eq!(heard(&mut client).await, ["Disconnect 0x97"]);
    assert_eq!(stored.bench.counts().dropped[DropCause::ConnectionLost as usize], 1);
    client.hang_up().await;
    stored.gate.open();
    let mut client = stored.bench.connect();
    client.connect("c", lasting()).await;
    assert_eq!(heard(&mut client).await, ["ConnAck 0x00", "Publish q2"]);
}

#[tokio::test]
async fn what_waits_for_the_store_is_bounded_and_reading_goes_on_when_it_is_safe() {
    let stored = Stored::new().await;
    let mut client = stored.client("c").await;
    let release = |packet_id: u16| {
        let (packet_id, reason_code) = (id(packet_id), ReasonCode::Success);
        Packet::PubRel(Ack { packet_id, reason_code, reason_string: None, user_properties: Default::default() })
    };
    let mut releases = Vec::new();
    (1..=10_000).for_each(|packet_id| release(packet_id).encode(ProtocolVersion::V5, &mut releases));
    let (mut sent, mut most) = (0, 0);
    while let Ok(written) = client.client.try_write(&releases[sent % releases.len()..]) {
        sent += written;
        // Until the socket is empty, or the broker takes no more.
        for _ in 0..8 {
            client.turn().await;
        }
        most = most.max(client.driver().held_bytes());
    }
    assert!(client.driver().reading_rests());
    // A turn ends with the packet that goes beyond the limit.
    assert!((UNSENT_BYTES_MAX..UNSENT_BYTES_MAX + 16).contains(&most), "{most} bytes");
    stored.gate.open();
    let mut answers = 0;
    while answers < sent / 4 {
        let more = heard(&mut client).await.len();
        answers += more;
        let held = client.driver().held_bytes();
        assert!(more > 0 || held > 0, "{answers} answers to {} packets", sent / 4);
    }
    assert_eq!((answers, client.driver().held_bytes()), (sent / 4, 0));
}

#[tokio::test]
async fn a_connection_that_is_taken_over_while_answers_wait_gives_them_when_they_are_safe() {
    for is_lost in [false, true] {
        let stored = Stored::new().await;
        let mut owner = stored.client("c").await;
        publish(&mut owner, 1, "a").await;
        let mut heir = stored.bench.connect();
        heir.connect("c", lasting()).await;
        assert_eq!((heard(&mut owner).await, heard(&mut heir).await), (vec![], vec![]));
        if is_lost {
            stored.gate.lose();
            assert_eq!(heard(&mut owner).await, NOTHING);
            assert!(owner.turn().await, "it is over");
            assert_eq!(heard(&mut heir).await, ["ConnAck 0x97"]);
        } else {
            stored.gate.open();
            assert_eq!(heard(&mut owner).await, ["PubAck 1", "Disconnect 0x8E"]);
            assert_eq!(heard(&mut heir).await, ["ConnAck 0x00"]);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_answers_wait_is_given_them_for_a_while() {
    for is_patient in [true, false] {
        let stored = Stored::new().await;
        let mut client = stored.client("c").await;
        publish(&mut client, 1, "a").await;
        client.send(&Packet::Disconnect(Default::default())).await;
        if is_patient {
            stored.gate.open();
            assert_eq!(heard(&mut client).await, ["PubAck 1"]);
        } else {
            stored.bench.shared.clock.advance(Duration::from_secs(1));
            assert!(client.turn().await, "its task does not wait for a disk that says nothing");
            assert_eq!(client.receive(100).await, b"");
        }
    }
}

/// Within one turn, too: a group ends after what it has sent has become its member's own.
#[tokio::test]
async fn a_copy_that_is_sent_in_the_turn_that_ends_its_group_is_stored_as_sent() {
    let stored = Stored::new().await;
    let mut member = stored.bench.connect();
    member.connect("member", lasting()).await;
    member.subscribe(&[("$share/g/s", at(QoS::ExactlyOnce))]).await;
    assert_eq!(heard(&mut member).await, ["ConnAck 0x00", "SubAck 1"]);
    let mut publisher = stored.bench.connect();
    publisher.connect("publisher", lasting()).await;
    let Packet::Publish(publish) = message(1, "s") else { unreachable!() };
    publisher.send(&Packet::Publish(Publish { qos: QoS::ExactlyOnce, ..publish })).await;
    let unsubscribe = crate::packet::Unsubscribe {
        packet_id: id(2),
        user_properties: Default::default(),
        filters: crate::packet::UnsubscribeFilters::from_list(&["$share/g/s"]),
    };
    member.send(&Packet::Unsubscribe(unsubscribe)).await;
    assert_eq!(heard(&mut member).await, ["Publish q2", "UnsubAck"]);
    let recovered = stored.gate.after_kill().recovered();
    let sessions = recovered.sessions.iter();
    let sent: Vec<_> =
        sessions.filter(|session| &*session.record.client_id == "member").map(|s| s.sent.len()).collect();
    assert_eq!((sent, recovered.groups.len()), (vec![1], 0));
}
