//! `sessions_max`, `subscriptions_max`, `session_expiry_max`, `session_expiry_3x`.

use std::time::Duration;

use midge::packet::{Connect, ConnectProperties, Disconnect, ProtocolVersion, QoS, SubscribeOptions};

use crate::support::{Midge, v3, v4, v5};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

fn expiring(client_id: &str, session_expiry_interval: u32) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval: Some(session_expiry_interval), ..Default::default() };
    Connect { clean_start: false, properties, ..v5(client_id) }
}

fn lasting(connect: Connect<'_>) -> Connect<'_> {
    Connect { clean_start: false, ..connect }
}

/// Whether the session is there still.
async fn is_present(midge: &Midge, connect: Connect<'_>) -> bool {
    let mut client = midge.dial(connect.version).await;
    let connack = client.connect(connect).await;
    let is_present = connack.connack().session_present;
    client.leave().await;
    is_present
}

#[tokio::test]
async fn more_sessions_than_allowed_are_refused_and_those_that_are_there_are_not() {
    let midge = Midge::start("[limits]\nsessions_max = 2").await;
    let first = midge.join(v4("a")).await;
    midge.join(expiring("b", 100)).await.leave().await;
    for (connect, answer) in [(v3("c"), "CONNACK 3"), (v4("c"), "CONNACK 3"), (v5("c"), "CONNACK 0x97")] {
        assert_eq!(midge.refuse(connect).await.to_string(), answer);
    }
    // The two that are there may take over, sleep and come back.
    let mut again = midge.join(v5("a")).await;
    assert!(is_present(&midge, expiring("b", 100)).await);
    again.ping().await;
    drop(first);
    again.leave().await;
    let _third = midge.join(v5("c")).await;
    midge.refuse(v5("d")).await;
    midge.clock.advance(Duration::from_secs(101));
    midge.join(v5("d")).await;
}

#[tokio::test]
async fn more_subscriptions_than_allowed_are_refused() {
    let midge = Midge::start("[limits]\nsubscriptions_max = 2").await;
    for (connect, refused) in [(v4("a"), "0x80"), (v5("b"), "0x97")] {
        let mut client = midge.join(connect).await;
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        let suback = client.subscribe_all(&[("1", options), ("2", options), ("3", options), ("1", options)]).await;
        assert_eq!(suback.to_string(), format!("SUBACK #1 0x01 0x01 {refused} 0x01"));
        assert_eq!(client.subscribe("2", QoS::AtMostOnce).await, "0x00");
        assert_eq!(client.subscribe("$share/g/3", QoS::AtMostOnce).await, refused);
        client.unsubscribe("1").await;
        assert_eq!(client.subscribe("$share/g/3", QoS::AtMostOnce).await, "0x00");
    }
}

#[tokio::test]
async fn one_filter_several_times_in_a_subscribe_is_one_subscription() {
    let midge = Midge::start("[limits]\nsubscriptions_max = 2").await;
    let mut client = midge.join(v5("a")).await;
    let options = SubscribeOptions::default();
    let suback = client.subscribe_all(&[("1", options), ("1", options), ("1", options), ("2", options)]).await;
    assert_eq!(suback.to_string(), "SUBACK #1 0x00 0x00 0x00 0x00");
}

#[tokio::test]
async fn an_expiry_above_the_maximum_is_cut_and_the_client_is_told() {
    let midge = Midge::start("[limits]\nsession_expiry_max = \"1h\"").await;
    for (asked, told) in [(3599, None), (3600, None), (3601, Some(3600)), (u32::MAX, Some(3600)), (0, None)] {
        let mut client = midge.dial(ProtocolVersion::V5).await;
        let connack = client.connect(expiring("a", asked)).await;
        assert_eq!(connack.connack().properties.session_expiry_interval, told, "{asked}");
    }
    midge.join(expiring("a", u32::MAX)).await.leave().await;
    midge.clock.advance(3599 * SECOND);
    assert!(is_present(&midge, expiring("a", u32::MAX)).await);
    midge.clock.advance(3600 * SECOND);
    assert!(!is_present(&midge, expiring("a", u32::MAX)).await);
}

#[tokio::test]
async fn an_expiry_that_disconnect_asks_for_is_cut_too() {
    let midge = Midge::start("[limits]\nsession_expiry_max = \"1h\"").await;
    let client = midge.join(expiring("a", 10)).await;
    client.leave_with(Disconnect { session_expiry_interval: Some(u32::MAX), ..Default::default() }).await;
    midge.clock.advance(3599 * SECOND);
    assert!(is_present(&midge, expiring("a", 0)).await);
    let client = midge.join(expiring("a", 10)).await;
    client.leave_with(Disconnect { session_expiry_interval: Some(u32::MAX), ..Default::default() }).await;
    midge.clock.advance(3600 * SECOND);
    assert!(!is_present(&midge, expiring("a", 0)).await);
}

#[tokio::test]
async fn the_maximum_holds_for_sessions_of_3x_as_well() {
    let midge = Midge::start("[limits]\nsession_expiry_max = \"1h\"").await;
    midge.join(lasting(v4("a"))).await.leave().await;
    midge.clock.advance(3600 * SECOND);
    assert!(!is_present(&midge, lasting(v4("a"))).await);
}

#[tokio::test]
async fn a_session_of_3x_is_kept_for_two_weeks() {
    let midge = Midge::start("").await;
    midge.join(lasting(v4("a"))).await.leave().await;
    midge.clock.advance(14 * DAY - SECOND);
    assert!(is_present(&midge, lasting(v4("a"))).await);
    midge.clock.advance(14 * DAY);
    assert!(!is_present(&midge, lasting(v4("a"))).await);
    assert_eq!(midge.broker.counts().sessions_expired, 1);
}

#[tokio::test]
async fn how_long_a_session_of_3x_is_kept_can_be_said() {
    let midge = Midge::start("[limits]\nsession_expiry_3x = \"never\"").await;
    midge.join(lasting(v4("a"))).await.leave().await;
    midge.clock.advance(100_000 * DAY);
    assert!(is_present(&midge, lasting(v4("a"))).await);
    let midge = Midge::start("[limits]\nsession_expiry_3x = \"1m\"").await;
    midge.join(lasting(v4("a"))).await.leave().await;
    midge.clock.advance(60 * SECOND);
    assert!(!is_present(&midge, lasting(v4("a"))).await);
    // A clean session is none to keep, whatever the configuration says.
    midge.join(v4("b")).await.leave().await;
    assert!(!is_present(&midge, lasting(v4("b"))).await);
}

#[tokio::test]
async fn a_session_of_3_1_is_kept_too() {
    let midge = Midge::start("").await;
    let mut client = midge.join(lasting(v3("a"))).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    client.leave().await;
    midge.join(v5("writer")).await.offer(crate::support::message("t", "x")).await;
    let mut client = midge.join(lasting(v3("a"))).await;
    client.expect("PUBLISH q1 t 'x'").await;
}
