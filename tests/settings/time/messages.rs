//! Message Expiry Interval: counted down wherever a message waits, and dropped when it is over.

use std::time::Duration;

use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, Property, Publish, PublishProperties, QoS, Sender, SubscribeOptions};

use super::{MILLISECOND, SECOND};
use crate::support::{Client, Midge, Received, message, v4, v5};

/// Within this time what has expired is taken out of memory.
const SWEEP: Duration = Duration::from_secs(5);

fn lasting(client_id: &str) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval: Some(1000), ..Default::default() };
    Connect { clean_start: false, properties, ..v5(client_id) }
}

/// A message that lives for ten seconds.
async fn offer(client: &mut Client, publish: Publish<'_>) {
    let mut raw = Vec::new();
    Property::MessageExpiryInterval(10).encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("properties of a PUBLISH");
    client.offer(Publish { properties, ..publish }).await;
}

fn seconds_left(delivery: &Received) -> Option<u32> {
    delivery.publish().properties.message_expiry_interval
}

async fn away(midge: &Midge, client_id: &str, filter: &str) {
    let mut client = midge.join(lasting(client_id)).await;
    client.subscribe(filter, QoS::AtLeastOnce).await;
    client.leave().await;
}

// [MQTT-3.3.2-6]
#[tokio::test]
async fn a_message_that_waits_tells_how_long_it_has_left() {
    let midge = Midge::start("").await;
    let mut here = midge.join(v5("here")).await;
    here.subscribe("t", QoS::AtLeastOnce).await;
    away(&midge, "away", "t").await;
    offer(&mut midge.join(v5("writer")).await, message("t", "x")).await;
    assert_eq!(seconds_left(&here.expect("PUBLISH q1 t 'x'").await), Some(10));
    midge.clock.advance(4 * SECOND);
    let mut client = midge.join(lasting("away")).await;
    assert_eq!(seconds_left(&client.expect("PUBLISH q1 t 'x'").await), Some(6));
}

#[tokio::test]
async fn the_last_second_is_told_as_one() {
    let midge = Midge::start("").await;
    away(&midge, "away", "t").await;
    offer(&mut midge.join(v5("writer")).await, message("t", "x")).await;
    midge.clock.advance(10 * SECOND - MILLISECOND);
    let mut client = midge.join(lasting("away")).await;
    assert_eq!(seconds_left(&client.expect("PUBLISH q1 t 'x'").await), Some(1));
}

// [MQTT-3.3.2-5]
#[tokio::test]
async fn a_message_that_waited_too_long_is_dropped_and_counted() {
    let midge = Midge::start("").await;
    away(&midge, "away", "t").await;
    let mut writer = midge.join(v5("writer")).await;
    offer(&mut writer, message("t", "short")).await;
    writer.offer(message("t", "long")).await;
    midge.clock.advance(10 * SECOND);
    let mut client = midge.join(lasting("away")).await;
    let long = client.expect("PUBLISH q1 t 'long'").await;
    assert_eq!(seconds_left(&long), None);
    client.ping().await;
    assert_eq!(midge.dropped(DropCause::Expired), 1);
    assert!(midge.broker.accounting().is_balanced());
}

#[tokio::test]
async fn a_message_that_waits_for_a_window_expires_too() {
    let midge = Midge::start("[limits]\ninflight_max = 1").await;
    for (connect, round) in [(v4("reader"), 1), (v5("reader"), 2)] {
        let mut reader = midge.join(connect).await;
        reader.subscribe("t", QoS::AtLeastOnce).await;
        let mut writer = midge.join(v5("writer")).await;
        writer.offer(message("t", "first")).await;
        offer(&mut writer, message("t", "short")).await;
        writer.offer(message("t", "last")).await;
        let first = reader.expect("PUBLISH q1 t 'first'").await;
        midge.clock.advance(10 * SECOND);
        reader.acknowledge(&first).await;
        reader.expect("PUBLISH q1 t 'last'").await;
        assert_eq!(midge.dropped(DropCause::Expired), round);
    }
}

#[tokio::test]
async fn a_message_that_waits_in_a_shared_group_expires_too() {
    let midge = Midge::start("").await;
    away(&midge, "member", "$share/g/t").await;
    let mut writer = midge.join(v5("writer")).await;
    offer(&mut writer, message("t", "one")).await;
    midge.clock.advance(6 * SECOND);
    offer(&mut writer, message("t", "two")).await;
    midge.clock.advance(4 * SECOND);
    let mut member = midge.join(lasting("member")).await;
    assert_eq!(seconds_left(&member.expect("PUBLISH q1 t 'two'").await), Some(6));
    member.ping().await;
    assert_eq!(midge.dropped(DropCause::Expired), 1);
}

#[tokio::test]
async fn a_retained_message_counts_down_and_ends() {
    let midge = Midge::start("").await;
    let mut writer = midge.join(v5("writer")).await;
    offer(&mut writer, Publish { retain: true, ..message("t", "x") }).await;
    let mut reader = midge.join(v5("reader")).await;
    for (advance, left) in [(0, 10), (4, 6), (5, 1)] {
        midge.clock.advance(advance * SECOND);
        reader.subscribe("t", QoS::AtMostOnce).await;
        assert_eq!(seconds_left(&reader.expect("PUBLISH q0 retain t 'x'").await), Some(left));
    }
    midge.clock.advance(SECOND);
    reader.subscribe("t", QoS::AtMostOnce).await;
    reader.ping().await;
}

#[tokio::test]
async fn expired_retained_messages_are_swept_and_make_room() {
    let midge = Midge::start("[retained]\nmessages_max = 2").await;
    let mut writer = midge.join(v5("writer")).await;
    for topic in ["1", "2"] {
        offer(&mut writer, Publish { retain: true, ..message(topic, "x") }).await;
    }
    assert_eq!(writer.offer(Publish { retain: true, ..message("3", "x") }).await, "0x97");
    midge.clock.advance(10 * SECOND + SWEEP);
    writer.ping().await;
    assert_eq!(midge.broker.counts().retained_expired, 2);
    assert_eq!(writer.offer(Publish { retain: true, ..message("3", "x") }).await, "0x10");
}

#[tokio::test]
async fn a_retained_message_that_was_replaced_does_not_end_with_the_old_one() {
    let midge = Midge::start("").await;
    let mut writer = midge.join(v5("writer")).await;
    offer(&mut writer, Publish { retain: true, ..message("t", "short") }).await;
    writer.offer(Publish { retain: true, ..message("t", "long") }).await;
    midge.clock.advance(10 * SECOND + SWEEP);
    writer.ping().await;
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe_with("t", SubscribeOptions::default()).await;
    reader.expect("PUBLISH q0 retain t 'long'").await;
    assert_eq!(midge.broker.counts().retained_expired, 0);
}

#[tokio::test]
async fn expired_messages_of_sleeping_sessions_and_groups_are_swept() {
    let midge = Midge::start("").await;
    away(&midge, "away", "t").await;
    away(&midge, "member", "$share/g/t").await;
    let mut writer = midge.join(v5("writer")).await;
    offer(&mut writer, message("t", "x")).await;
    assert_eq!(midge.broker.accounting().queued, 2);
    midge.clock.advance(10 * SECOND + SWEEP);
    writer.ping().await;
    assert_eq!((midge.broker.accounting().queued, midge.dropped(DropCause::Expired)), (0, 2));
}
