//! Wills over a crash.

use midge::packet::{Connect, ConnectProperties, QoS, Will};

use super::{back, take};
use crate::queues::{assert_accounted, away, lasting};
use crate::support::{Client, Midge, v4, v5, will};
use crate::time::{MILLISECOND, SECOND};

/// How long a client whose connection a crash ended has to come back.
const GRACE: u32 = 10;

fn with_will(connect: Connect<'_>, delay: u32) -> Connect<'_> {
    Connect { will: Some(Will { will_delay_interval: delay, ..will("w", "gone") }), ..connect }
}

async fn watcher(midge: &Midge) -> Client {
    let mut watcher = midge.join(v5("watcher")).await;
    watcher.subscribe("w", QoS::ExactlyOnce).await;
    watcher
}

async fn expect_after(midge: &Midge, watcher: &mut Client, seconds: u32) {
    watcher.ping().await;
    midge.clock.advance(seconds * SECOND - MILLISECOND);
    watcher.ping().await;
    midge.clock.advance(MILLISECOND);
    watcher.expect("PUBLISH q1 w 'gone'").await;
}

#[tokio::test]
async fn a_will_that_is_due_later_is_published_then_though_the_broker_was_started_anew() {
    let midge = Midge::start_stored("").await;
    midge.join(with_will(lasting("a"), 100)).await.vanish().await;
    midge.clock.advance(40 * SECOND);
    midge.gate.until("the time", |store| store.recovered().time.as_millis() == 40_000).await;
    let midge = midge.kill().await;
    let mut watcher = watcher(&midge).await;
    expect_after(&midge, &mut watcher, 60).await;
    // Once.
    let midge = midge.kill().await;
    let mut watcher = self::watcher(&midge).await;
    midge.clock.advance(1000 * SECOND);
    watcher.ping().await;
}

#[tokio::test]
async fn a_crash_ends_the_connection_and_the_will_comes_after_a_grace() {
    for connect in [with_will(lasting("a"), 0), with_will(v5("a"), 0), with_will(v4("a"), 0)] {
        let midge = Midge::start_stored("").await;
        midge.join(connect).await.ping().await;
        let midge = midge.kill().await;
        let mut watcher = watcher(&midge).await;
        expect_after(&midge, &mut watcher, GRACE).await;
        let midge = midge.kill().await;
        let mut watcher = self::watcher(&midge).await;
        midge.clock.advance(1000 * SECOND);
        watcher.ping().await;
    }
}

#[tokio::test]
async fn a_delay_longer_than_the_grace_is_kept() {
    let midge = Midge::start_stored("").await;
    midge.join(with_will(lasting("a"), 30)).await.ping().await;
    let midge = midge.kill().await;
    let mut watcher = watcher(&midge).await;
    expect_after(&midge, &mut watcher, 30).await;
}

#[tokio::test]
async fn a_client_that_is_back_in_time_has_not_died() {
    for connect in [lasting, v5] {
        let midge = Midge::start_stored("").await;
        midge.join(with_will(connect("a"), 0)).await.ping().await;
        let midge = midge.kill().await;
        let mut watcher = watcher(&midge).await;
        midge.clock.advance((GRACE - 1) * SECOND);
        let client = midge.join(connect("a")).await;
        midge.clock.advance(1000 * SECOND);
        watcher.ping().await;
        client.leave().await;
        watcher.ping().await;
    }
}

// [MQTT-3.14.4-3]
#[tokio::test]
async fn a_normal_disconnect_takes_the_will_along_in_the_store_too() {
    for connect in [with_will(lasting("a"), 0), with_will(v5("a"), 0)] {
        let midge = Midge::start_stored("").await;
        midge.join(connect).await.leave().await;
        let midge = midge.kill().await;
        let mut watcher = watcher(&midge).await;
        midge.clock.advance(1000 * SECOND);
        watcher.ping().await;
    }
}

#[tokio::test]
async fn a_will_without_a_session_leaves_none_behind() {
    let midge = Midge::start_stored("").await;
    midge.join(with_will(v5("a"), 0)).await.ping().await;
    let midge = midge.kill().await;
    let mut client = midge.dial(midge::packet::ProtocolVersion::V5).await;
    assert_eq!(client.connect(lasting("a")).await.to_string(), "CONNACK 0x00");
    drop(midge);
}

#[tokio::test]
async fn a_stored_will_has_its_properties_and_its_expiry_begins_when_it_is_published() {
    let midge = Midge::start_stored("").await;
    let mut raw = Vec::new();
    let properties = super::will_properties(&mut raw);
    let delayed = Will { will_delay_interval: 20, retain: true, properties, ..will("w", "gone") };
    midge.join(Connect { will: Some(delayed), ..lasting("a") }).await.vanish().await;
    let midge = midge.kill().await;
    let mut watcher = watcher(&midge).await;
    midge.clock.advance(20 * SECOND);
    let received = watcher.expect("PUBLISH q1 w 'gone'").await;
    let properties = received.publish().properties;
    assert_eq!(properties.message_expiry_interval, Some(50));
    assert_eq!(properties.user_properties().iter().collect::<Vec<_>>(), [("of", "a")]);
}

#[tokio::test]
async fn a_session_that_ends_before_its_will_is_due_publishes_it_then_over_a_crash() {
    let midge = Midge::start_stored("").await;
    let properties = ConnectProperties { session_expiry_interval: Some(20), ..Default::default() };
    midge.join(with_will(Connect { properties, ..v5("a") }, 100)).await.vanish().await;
    let midge = midge.kill().await;
    let mut watcher = watcher(&midge).await;
    expect_after(&midge, &mut watcher, 20).await;
}

#[tokio::test]
async fn a_will_waits_while_the_store_is_busy() {
    let midge = Midge::start_stored("").await;
    let mut reader = midge.join(lasting("reader")).await;
    reader.subscribe("w", QoS::AtLeastOnce).await;
    let (at_once, later) = (midge.join(with_will(v5("a"), 0)).await, midge.join(with_will(lasting("b"), 5)).await);
    midge.gate.set_busy(true);
    at_once.vanish().await;
    later.vanish().await;
    midge.clock.advance(5 * SECOND);
    reader.ping().await;
    midge.gate.set_busy(false);
    reader.expect("PUBLISH q1 w 'gone'").await;
    reader.expect("PUBLISH q1 w 'gone'").await;
    let midge = midge.kill().await;
    back(&midge, "reader").await;
}

#[tokio::test]
async fn a_will_that_waits_for_a_busy_store_is_neither_lost_nor_published_twice_by_a_crash() {
    let at_once = |payload| Some(will("w", payload));
    let later = |payload| Some(Will { will_delay_interval: 5, ..will("w", payload) });
    let properties = ConnectProperties { session_expiry_interval: Some(5), ..Default::default() };
    for is_killed in [true, false] {
        let mut midge = Midge::start_stored("").await;
        away(&midge, "reader", "w").await;
        let connects = [
            Connect { will: at_once("passing"), ..v5("a") },
            Connect { will: at_once("asleep"), ..lasting("b") },
            Connect { will: later("delayed"), ..lasting("c") },
            Connect { will: later("ended"), properties: properties.clone(), ..v5("d") },
        ];
        let mut clients = Vec::new();
        for connect in connects {
            clients.push(midge.join(connect).await);
        }
        midge.gate.set_busy(true);
        for client in clients {
            client.vanish().await;
        }
        midge.clock.advance(5 * SECOND);
        midge.gate.until("the time", |store| store.recovered().time.as_millis() == 5_000).await;
        if is_killed {
            midge = midge.kill().await;
            midge.clock.advance(GRACE * SECOND);
        } else {
            midge.gate.set_busy(false);
        }
        let mut reader = back(&midge, "reader").await;
        let mut gone = take(&mut reader, 4).await;
        gone.sort();
        assert_eq!(gone, ["asleep", "delayed", "ended", "passing"], "killed: {is_killed}");
        reader.ping().await;
        let midge = midge.kill().await;
        midge.clock.advance(1000 * SECOND);
        back(&midge, "reader").await.ping().await;
        let sessions = midge.gate.after_kill().recovered().sessions;
        let mut left: Vec<_> =
            sessions.iter().map(|left| (&*left.record.client_id, left.record.will.is_some())).collect();
        left.sort();
        assert_eq!(left, [("b", false), ("c", false), ("reader", false)]);
        assert_accounted(&midge);
    }
}

// [MQTT-3.1.2-4]
#[tokio::test]
async fn a_clean_start_does_not_wait_for_a_will_that_waits_for_the_store() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "w").await;
    let client = midge.join(with_will(lasting("a"), 100)).await;
    client.vanish().await;
    midge.gate.set_busy(true);
    midge.join(v5("a")).await.ping().await;
    let left = midge.kill().await;
    let mut client = left.dial(midge::packet::ProtocolVersion::V5).await;
    assert_eq!(client.connect(lasting("a")).await.to_string(), "CONNACK 0x00");
    midge.gate.set_busy(false);
    back(&midge, "reader").await.expect("PUBLISH q1 w 'gone'").await;
}
