//! QoS 2 to a client with a lasting session: each message once, whichever step a crash comes after.

use std::collections::HashSet;

use midge::packet::{Packet, PacketId, QoS};

use super::{at, back};
use crate::queues::{assert_accounted, lasting};
use crate::support::{Client, Midge, v5};

async fn reader(midge: &Midge) -> Client {
    let mut reader = midge.join(lasting("reader")).await;
    reader.subscribe("a", QoS::ExactlyOnce).await;
    reader
}

async fn offer(midge: &Midge, payloads: &[&str]) {
    let mut writer = midge.join(v5("writer")).await;
    for payload in payloads {
        assert_eq!(writer.offer(at(QoS::ExactlyOnce, "a", payload)).await, "0x00");
    }
    writer.leave().await;
}

fn id(received: &crate::support::Received) -> PacketId {
    received.publish().packet_id.expect("a delivery at QoS 2")
}

// [MQTT-4.4.0-1]
#[tokio::test]
async fn a_message_that_was_sent_comes_again_under_its_id() {
    let midge = Midge::start_stored("").await;
    let mut client = reader(&midge).await;
    offer(&midge, &["1", "2"]).await;
    let ids = [id(&client.expect("PUBLISH q2 a '1'").await), id(&client.expect("PUBLISH q2 a '2'").await)];
    let midge = midge.kill().await;
    offer(&midge, &["3"]).await;
    let mut client = back(&midge, "reader").await;
    for (n, packet_id) in (1..).zip(ids) {
        assert_eq!(id(&client.expect(&format!("PUBLISH q2 dup a '{n}'")).await), packet_id);
    }
    let third = id(&client.expect("PUBLISH q2 a '3'").await);
    assert!(!ids.contains(&third));
    assert_accounted(&midge);
}

#[tokio::test]
async fn after_pubrec_only_pubrel_comes_again() {
    let midge = Midge::start_stored("").await;
    let mut client = reader(&midge).await;
    offer(&midge, &["1", "2"]).await;
    let first = id(&client.expect("PUBLISH q2 a '1'").await);
    let second = id(&client.expect("PUBLISH q2 a '2'").await);
    client.send_pubrec(first).await;
    client.expect(&format!("PUBREL #{first} 0x00")).await;
    let midge = midge.kill().await;
    let mut client = back(&midge, "reader").await;
    client.expect(&format!("PUBREL #{first} 0x00")).await;
    assert_eq!(id(&client.expect("PUBLISH q2 dup a '2'").await), second);
    client.send_pubcomp(first).await;
    client.send_pubrec(second).await;
    client.expect(&format!("PUBREL #{second} 0x00")).await;
    client.send_pubcomp(second).await;
    client.ping().await;
    assert_eq!((midge.broker.counts().delivered_qos2, midge.gate.rows()), (2, 0));
    assert_accounted(&midge);
    let midge = midge.kill().await;
    let mut client = back(&midge, "reader").await;
    client.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn nothing_is_sent_before_its_id_is_safe() {
    let midge = Midge::start_stored("").await;
    let mut client = reader(&midge).await;
    midge.gate.close();
    let mut writer = midge.join(v5("writer")).await;
    writer.publish(at(QoS::ExactlyOnce, "a", "1")).await;
    // The message, and that it is about to be sent.
    midge.gate.until_waiting(2).await;
    client.ping().await;
    midge.gate.let_one_through();
    client.ping().await;
    {
        // Nobody has seen it: it may have any id, and comes for the first time.
        let midge = midge.lose_power().await;
        let mut client = back(&midge, "reader").await;
        client.expect("PUBLISH q2 a '1'").await;
        client.ping().await;
        assert_accounted(&midge);
    }
    midge.gate.let_one_through();
    client.expect("PUBLISH q2 a '1'").await;
    let midge = midge.lose_power().await;
    let mut client = back(&midge, "reader").await;
    client.expect("PUBLISH q2 dup a '1'").await;
}

#[tokio::test]
async fn pubrel_leaves_when_it_is_safe_that_the_message_is_the_clients() {
    let midge = Midge::start_stored("").await;
    let mut client = reader(&midge).await;
    offer(&midge, &["1"]).await;
    let first = id(&client.expect("PUBLISH q2 a '1'").await);
    midge.gate.close();
    client.send_pubrec(first).await;
    midge.gate.until_waiting(1).await;
    client.ping().await;
    {
        let midge = midge.lose_power().await;
        let mut client = back(&midge, "reader").await;
        // The client has it, and knows it by its id.
        assert_eq!(id(&client.expect("PUBLISH q2 dup a '1'").await), first);
        client.send_pubrec(first).await;
        client.expect(&format!("PUBREL #{first} 0x00")).await;
        client.send_pubcomp(first).await;
        client.ping().await;
        assert_accounted(&midge);
    }
    midge.gate.open();
    client.expect(&format!("PUBREL #{first} 0x00")).await;
}

#[tokio::test]
async fn a_pubcomp_that_the_crash_forgot_is_asked_for_again() {
    let midge = Midge::start_stored("").await;
    let mut client = reader(&midge).await;
    offer(&midge, &["1"]).await;
    let first = id(&client.expect("PUBLISH q2 a '1'").await);
    client.send_pubrec(first).await;
    client.expect(&format!("PUBREL #{first} 0x00")).await;
    midge.gate.close();
    client.send_pubcomp(first).await;
    client.ping().await;
    let midge = midge.lose_power().await;
    let mut client = back(&midge, "reader").await;
    client.expect(&format!("PUBREL #{first} 0x00")).await;
    client.send_pubcomp(first).await;
    client.ping().await;
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_message_that_turned_out_too_large_when_it_was_to_be_sent_again_is_not_stored_any_more() {
    let midge = Midge::start_stored("").await;
    let mut client = reader(&midge).await;
    let large = "x".repeat(500);
    offer(&midge, &[&large]).await;
    client.next().await;
    client.vanish().await;
    let properties = midge::packet::ConnectProperties {
        maximum_packet_size: std::num::NonZeroU32::new(100),
        session_expiry_interval: Some(1000),
        ..Default::default()
    };
    let mut client = midge.dial(midge::packet::ProtocolVersion::V5).await;
    client.connect(midge::packet::Connect { clean_start: false, properties, ..v5("reader") }).await;
    client.ping().await;
    assert_eq!(midge.dropped(midge::message::DropCause::TooLarge), 1);
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}

/// What a client remembers that takes each QoS 2 message once.
#[derive(Default)]
struct Receiver {
    taken: Vec<String>,
    /// Ids whose PUBREL has not come.
    open: HashSet<PacketId>,
}

impl Receiver {
    async fn answer_next(&mut self, client: &mut Client) {
        let received = client.next().await;
        match received.packet() {
            Packet::Publish(publish) => {
                let packet_id = publish.packet_id.expect("a delivery at QoS 2");
                if self.open.insert(packet_id) {
                    self.taken.push(String::from_utf8_lossy(publish.payload).into_owned());
                }
                client.send_pubrec(packet_id).await;
            }
            Packet::PubRel(ack) => {
                self.open.remove(&ack.packet_id);
                client.send_pubcomp(ack.packet_id).await;
            }
            _ => panic!("{received}"),
        }
    }
}

#[tokio::test]
async fn many_messages_with_a_crash_at_each_step_come_exactly_once() {
    let mut midge = Midge::start_stored("").await;
    drop(reader(&midge).await);
    let mut receiver = Receiver::default();
    for round in 0..12u32 {
        offer(&midge, &[&round.to_string()]).await;
        let mut client = back(&midge, "reader").await;
        // A different number of packets is answered in each round.
        for _ in 0..round % 5 {
            receiver.answer_next(&mut client).await;
        }
        midge = midge.kill().await;
        assert_accounted(&midge);
    }
    let mut client = back(&midge, "reader").await;
    while receiver.taken.len() < 12 || !receiver.open.is_empty() {
        receiver.answer_next(&mut client).await;
    }
    client.ping().await;
    assert_eq!(receiver.taken, (0..12).map(|n: u32| n.to_string()).collect::<Vec<_>>());
    assert_eq!(midge.gate.rows(), 0);
}
