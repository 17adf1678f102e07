//! Messages that wait for a client, over a crash.

use midge::message::DropCause;
use midge::packet::{Property, Publish, PublishProperties, QoS, Sender};

use super::{at, back, expiring, take};
use crate::queues::{assert_accounted, away, lasting};
use crate::support::{Midge, message, v5};
use crate::time::SECOND;

#[tokio::test]
async fn messages_wait_over_a_crash_in_their_order_and_with_their_qos() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    for (n, qos) in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::AtLeastOnce].into_iter().enumerate() {
        writer.offer(at(qos, "a", &n.to_string())).await;
    }
    let midge = midge.kill().await;
    let mut reader = back(&midge, "reader").await;
    for (n, qos) in [1, 2, 1, 1].into_iter().enumerate() {
        let received = reader.next().await;
        assert_eq!(received.to_string(), format!("PUBLISH q{qos} a '{n}'"));
    }
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_message_has_all_its_properties_and_what_is_left_of_its_expiry_after_a_crash() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    let mut raw = Vec::new();
    let rest = [
        Property::PayloadFormatIndicator(true),
        Property::ContentType("text"),
        Property::ResponseTopic("answers"),
        Property::CorrelationData(b"7"),
        Property::UserProperty("one", "1"),
        Property::UserProperty("one", "2"),
    ];
    rest.iter().for_each(|property| property.encode(&mut raw));
    let forwarded = raw.clone();
    Property::MessageExpiryInterval(100).encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("properties of a PUBLISH");
    writer.offer(Publish { properties, ..message("a", "x") }).await;
    midge.clock.advance(5 * SECOND);
    midge.gate.until("the time", |store| store.recovered().time.as_millis() == 5000).await;
    let midge = midge.kill().await;
    midge.clock.advance(15 * SECOND);
    let mut reader = back(&midge, "reader").await;
    let received = reader.next().await;
    let properties = received.publish().properties;
    assert_eq!(properties.message_expiry_interval, Some(80));
    let mut came = Vec::new();
    properties.forward_into(&mut came);
    assert_eq!(came, forwarded);
}

#[tokio::test]
async fn what_was_in_flight_and_not_acknowledged_comes_again_after_a_crash_and_what_was_acknowledged_does_not() {
    let midge = Midge::start_stored("").await;
    let mut reader = midge.join(lasting("reader")).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    for payload in ["1", "2", "3"] {
        writer.offer(message("a", payload)).await;
    }
    reader.expect("PUBLISH q1 a '1'").await;
    let second = reader.expect("PUBLISH q1 a '2'").await;
    reader.expect("PUBLISH q1 a '3'").await;
    reader.acknowledge(&second).await;
    reader.ping().await;
    let midge = midge.kill().await;
    let mut reader = back(&midge, "reader").await;
    // It may be a re-delivery: [MQTT-3.3.1-1]
    let first = reader.expect("PUBLISH q1 dup a '1'").await;
    let third = reader.expect("PUBLISH q1 dup a '3'").await;
    reader.acknowledge(&first).await;
    reader.acknowledge(&third).await;
    reader.ping().await;
    assert_eq!(midge.broker.counts().delivered_qos1, 2);
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}

/// What the reader, who takes two at a time, does before the broker is killed.
#[derive(Clone, Copy, Debug)]
enum Before {
    IsAway,
    /// And the connection breaks.
    TakesNothing,
    /// And the connection breaks.
    TakesTheSecond,
    /// It is connected still.
    Stays,
}

// [MQTT-3.3.1-1]
#[tokio::test]
async fn what_cannot_have_been_sent_before_a_restart_comes_without_dup() {
    let cases: [(Before, &[&str]); 4] = [
        (Before::IsAway, &["a '1'", "a '2'", "a '3'", "a '4'", "a '5'"]),
        (Before::TakesNothing, &["dup a '1'", "dup a '2'", "a '3'", "a '4'", "a '5'"]),
        (Before::TakesTheSecond, &["dup a '1'", "dup a '3'", "a '4'", "a '5'"]),
        (Before::Stays, &["dup a '1'", "dup a '2'", "a '3'", "a '4'", "a '5'"]),
    ];
    for (before, expected) in cases {
        let midge = Midge::start_stored("[limits]\ninflight_max = 2").await;
        away(&midge, "reader", "a").await;
        let mut writer = midge.join(v5("writer")).await;
        for payload in ["1", "2", "3", "4"] {
            writer.offer(at(QoS::AtLeastOnce, "a", payload)).await;
        }
        if !matches!(before, Before::IsAway) {
            let mut reader = back(&midge, "reader").await;
            reader.expect("PUBLISH q1 a '1'").await;
            let second = reader.expect("PUBLISH q1 a '2'").await;
            if let Before::TakesTheSecond = before {
                reader.acknowledge(&second).await;
                reader.expect("PUBLISH q1 a '3'").await;
            }
            if !matches!(before, Before::Stays) {
                reader.vanish().await;
            }
        }
        // The second start knows no less than the first.
        let midge = midge.kill().await.kill().await;
        let mut writer = midge.join(v5("writer")).await;
        writer.offer(message("a", "5")).await;
        let mut reader = back(&midge, "reader").await;
        for expected in expected {
            println!("{before:?}");
            let received = reader.expect(&format!("PUBLISH q1 {expected}")).await;
            reader.acknowledge(&received).await;
        }
        reader.ping().await;
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn a_message_that_nobody_acknowledged_to_its_publisher_may_be_gone_and_one_that_was_is_there() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    assert_eq!(writer.offer(message("a", "safe")).await, "0x00");
    midge.gate.close();
    writer.publish(message("a", "lost")).await;
    midge.gate.until_waiting(1).await;
    let midge = midge.lose_power().await;
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 1).await, ["safe"]);
    reader.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn messages_of_a_memory_rule_outlive_a_reconnect_and_not_a_crash() {
    let text = "[[store.rules]]\nfilter = \"memory/#\"\ndurability = \"memory\"\n";
    let midge = Midge::start_stored(text).await;
    away(&midge, "reader", "#").await;
    let mut writer = midge.join(v5("writer")).await;
    midge.gate.close();
    assert_eq!(writer.offer(message("memory/a", "1")).await, "0x00", "waits for no disk");
    midge.gate.open();
    writer.offer(message("a", "2")).await;
    writer.offer(message("memory/a", "3")).await;
    let mut reader = back(&midge, "reader").await;
    let mut payloads: Vec<_> = [reader.next().await, reader.next().await, reader.next().await]
        .iter()
        .map(|received| String::from_utf8_lossy(received.publish().payload).into_owned())
        .collect();
    payloads.sort();
    assert_eq!(payloads, ["1", "2", "3"]);
    reader.leave().await;
    assert_accounted(&midge);
    let midge = midge.kill().await;
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 1).await, ["2"]);
    reader.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn an_expired_message_is_never_sent_and_its_room_is_found_while_its_client_sleeps() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    for (secs, payload) in [(3, "1"), (300, "2"), (4, "3"), (20, "4")] {
        let mut raw = Vec::new();
        writer.offer(expiring(secs, &mut raw, message("a", payload))).await;
    }
    writer.offer(message("a", "5")).await;
    assert_eq!(midge.gate.rows(), 5);
    midge.clock.advance(5 * SECOND);
    midge.gate.until("two rows less", |store| midge::store::Store::status(store).rows == 3).await;
    // What has been stored is counted right after.
    let counted = async {
        while midge.dropped(DropCause::Expired) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), counted).await.expect("both are counted");
    assert_eq!(midge.dropped(DropCause::Expired), 2);
    assert_accounted(&midge);
    let midge = midge.kill().await;
    midge.clock.advance(100 * SECOND);
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 2).await, ["2", "5"]);
    reader.ping().await;
    assert_eq!(midge.dropped(DropCause::Expired), 1);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_message_for_several_clients_waits_for_each_of_them() {
    let midge = Midge::start_stored("").await;
    for client in ["a", "b", "c"] {
        away(&midge, client, "t").await;
    }
    midge.join(v5("writer")).await.offer(message("t", "x")).await;
    let mut a = back(&midge, "a").await;
    assert_eq!(take(&mut a, 1).await, ["x"]);
    a.ping().await;
    let midge = midge.kill().await;
    let mut a = back(&midge, "a").await;
    a.ping().await;
    for client in ["b", "c"] {
        let mut client = back(&midge, client).await;
        assert_eq!(take(&mut client, 1).await, ["x"]);
        client.ping().await;
    }
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}
