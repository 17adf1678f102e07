//! The queue of a client that is connected and does not acknowledge, under each policy.

use midge::message::DropCause;
use midge::packet::{ProtocolVersion, QoS};

use super::{assert_accounted, deliveries, lasting};
use crate::support::{Client, Midge, message, v4, v5};

/// One message in flight, three that wait.
fn text(policy: &str) -> String {
    format!("[limits]\nqueue_messages_max = 3\ninflight_max = 1\n[defaults]\non_queue_full = \"{policy}\"")
}

/// A reader that has "1" and does not acknowledge it; the answers to the messages "1" to "6".
async fn stuck(midge: &Midge) -> (Client, Vec<String>) {
    let mut reader = midge.join(lasting("reader")).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    let mut answers = Vec::new();
    for payload in ["1", "2", "3", "4", "5", "6"] {
        answers.push(writer.offer(message("a", payload)).await);
    }
    (reader, answers)
}

/// What comes when the reader acknowledges, message by message.
async fn acknowledged_one_by_one(reader: &mut Client, expected: &[&str]) {
    for payload in expected {
        let delivery = reader.expect(&format!("PUBLISH q1 a '{payload}'")).await;
        reader.acknowledge(&delivery).await;
    }
    reader.ping().await;
}

#[tokio::test]
async fn drop_oldest_loses_the_oldest_that_was_not_sent() {
    let midge = Midge::start(&text("drop_oldest")).await;
    let (mut reader, answers) = stuck(&midge).await;
    assert_eq!(answers, ["0x00"; 6]);
    assert_eq!(midge.dropped(DropCause::QueueFull), 2);
    acknowledged_one_by_one(&mut reader, &["1", "4", "5", "6"]).await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn drop_newest_keeps_what_waits() {
    let midge = Midge::start(&text("drop_newest")).await;
    let (mut reader, answers) = stuck(&midge).await;
    assert_eq!(answers, ["0x00", "0x00", "0x00", "0x00", "0x97", "0x97"]);
    acknowledged_one_by_one(&mut reader, &["1", "2", "3", "4"]).await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn refuse_refuses_until_there_is_room() {
    let midge = Midge::start(&text("refuse")).await;
    let (mut reader, answers) = stuck(&midge).await;
    assert_eq!(answers, ["0x00", "0x00", "0x00", "0x00", "0x97", "0x97"]);
    let delivery = reader.expect("PUBLISH q1 a '1'").await;
    reader.acknowledge(&delivery).await;
    let delivery = reader.expect("PUBLISH q1 a '2'").await;
    let mut writer = midge.join(v5("writer")).await;
    assert_eq!(writer.offer(message("a", "7")).await, "0x00");
    assert_eq!(writer.offer(message("a", "8")).await, "0x97");
    reader.acknowledge(&delivery).await;
    acknowledged_one_by_one(&mut reader, &["3", "4", "7"]).await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn disconnect_ends_the_connection_of_the_slow_client_and_keeps_its_session() {
    let midge = Midge::start(&text("disconnect")).await;
    let (mut reader, answers) = stuck(&midge).await;
    assert_eq!(answers, ["0x00"; 6]);
    reader.expect("PUBLISH q1 a '1'").await;
    let reason = reader.expect("DISCONNECT 0x97").await.reason();
    assert_eq!(reason.as_deref(), Some("the queue for this client is full"));
    reader.expect_closed().await;
    let mut reader = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(reader.connect(lasting("reader")).await.to_string(), "CONNACK 0x00 present");
    let again = reader.expect("PUBLISH q1 dup a '1'").await;
    reader.acknowledge(&again).await;
    acknowledged_one_by_one(&mut reader, &["4", "5", "6"]).await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn disconnect_is_silent_in_3x() {
    let midge = Midge::start(&text("disconnect")).await;
    let mut reader = midge.join(v4("reader")).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    for payload in ["1", "2", "3", "4", "5"] {
        writer.offer(message("a", payload)).await;
    }
    reader.expect("PUBLISH q1 a '1'").await;
    reader.expect_closed().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn one_full_session_never_harms_the_others() {
    for policy in ["drop_oldest", "drop_newest", "disconnect"] {
        let midge = Midge::start(&text(policy)).await;
        let mut slow = midge.join(lasting("slow")).await;
        slow.subscribe("#", QoS::AtLeastOnce).await;
        let mut quick = midge.join(v5("quick")).await;
        quick.subscribe("a/+", QoS::AtLeastOnce).await;
        let mut writer = midge.join(v5("writer")).await;
        for n in 0..50 {
            let payload = n.to_string();
            assert_eq!(writer.offer(message("a/b", &payload)).await, "0x00", "{policy}");
            assert_eq!(deliveries(&mut quick).await, [payload], "{policy}");
        }
        assert_eq!(midge.dropped(DropCause::QueueFull), 46, "{policy}");
        assert_accounted(&midge);
    }
}
