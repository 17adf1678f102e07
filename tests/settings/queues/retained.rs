//! The limits of retained messages.

use midge::packet::{Connect, Publish, QoS, Will};

use crate::support::{Client, Midge, message, v4, v5, will};

pub fn kept<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish { retain: true, ..message(topic, payload) }
}

/// What a new subscriber finds, as `topic=payload`.
pub async fn retained(midge: &Midge) -> Vec<String> {
    let mut reader = midge.join(v5("late")).await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    reader.send(&midge::packet::Packet::PingReq).await;
    let mut found = Vec::new();
    loop {
        let received = reader.next().await;
        if !received.is_publish() {
            return found;
        }
        let publish = received.publish();
        found.push(format!("{}={}", publish.topic, publish.payload.escape_ascii()));
    }
}

async fn reader(midge: &Midge) -> Client {
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    reader
}

#[tokio::test]
async fn one_topic_more_than_allowed_is_refused_and_changes_nothing() {
    let midge = Midge::start("[retained]\nmessages_max = 2").await;
    let mut writer = midge.join(v5("writer")).await;
    let mut reader = reader(&midge).await;
    for topic in ["a", "b"] {
        assert_eq!(writer.offer(kept(topic, "1")).await, "0x00");
        reader.expect(&format!("PUBLISH q0 {topic} '1'")).await;
    }
    writer.publish(kept("c", "1")).await;
    let puback = writer.expect("PUBACK #3 0x97").await;
    assert_eq!(puback.reason().as_deref(), Some("the limit of retained messages is reached"));
    writer.publish(Publish { qos: QoS::AtMostOnce, ..kept("c", "1") }).await;
    writer.ping().await;
    reader.ping().await;
    assert_eq!(midge.broker.counts().refused_messages, 2);
    assert_eq!(retained(&midge).await, ["a=1", "b=1"]);
}

#[tokio::test]
async fn a_topic_that_is_there_may_change_and_a_deleted_one_makes_room() {
    let midge = Midge::start("[retained]\nmessages_max = 2").await;
    let mut writer = midge.join(v5("writer")).await;
    for (topic, payload, answer) in
        [("a", "1", "0x10"), ("b", "1", "0x10"), ("a", "2", "0x10"), ("c", "", "0x10"), ("c", "1", "0x97")]
    {
        assert_eq!(writer.offer(kept(topic, payload)).await, answer, "{topic} {payload}");
    }
    assert_eq!(writer.offer(kept("a", "")).await, "0x10");
    assert_eq!(writer.offer(kept("c", "1")).await, "0x10");
    assert_eq!(retained(&midge).await, ["b=1", "c=1"]);
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let midge = Midge::start("[retained]\nbytes_max = \"10KiB\"").await;
    let mut writer = midge.join(v5("writer")).await;
    let (large, too_large) = ("x".repeat(4000), "x".repeat(7000));
    for (topic, payload, answer) in
        [("a", &large, "0x10"), ("b", &large, "0x10"), ("c", &large, "0x97"), ("a", &too_large, "0x97")]
    {
        assert_eq!(writer.offer(kept(topic, payload)).await, answer, "{topic}");
    }
    assert_eq!(writer.offer(kept("a", "small")).await, "0x10");
    assert_eq!(writer.offer(kept("c", &large)).await, "0x10");
}

#[tokio::test]
async fn a_publisher_of_3x_is_closed_after_the_acknowledgements_that_are_due() {
    let midge = Midge::start("[retained]\nmessages_max = 1").await;
    let mut writer = midge.join(v4("writer")).await;
    writer.publish(kept("a", "1")).await;
    writer.publish(kept("b", "1")).await;
    writer.expect("PUBACK #1").await;
    writer.expect_closed().await;
    assert_eq!(retained(&midge).await, ["a=1"]);
}

#[tokio::test]
async fn a_will_that_finds_no_room_is_refused_too() {
    let midge = Midge::start("[retained]\nmessages_max = 1").await;
    midge.join(v5("writer")).await.offer(kept("a", "1")).await;
    let mut reader = reader(&midge).await;
    reader.expect("PUBLISH q0 retain a '1'").await;
    let retained_will = Will { retain: true, ..will("w", "x") };
    midge.join(Connect { will: Some(retained_will), ..v5("a") }).await.vanish().await;
    reader.ping().await;
    assert_eq!(midge.broker.counts().refused_messages, 1);
}

#[tokio::test]
async fn the_brokers_own_topics_take_no_room() {
    let midge = Midge::start("[retained]\nmessages_max = 1\n[sys]\ninterval = \"1s\"").await;
    let mut operator = midge.join(v5("operator")).await;
    operator.subscribe("$SYS/broker/version", QoS::AtMostOnce).await;
    midge.clock.advance(std::time::Duration::from_secs(1));
    assert!(operator.next().await.is_publish());
    assert_eq!(operator.offer(kept("a", "1")).await, "0x10");
}
