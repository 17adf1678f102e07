//! Session Expiry Interval: when it begins, how DISCONNECT and the next CONNECT change it, what ends with the session.

use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, Disconnect, ProtocolVersion, QoS};

use super::{MILLISECOND, SECOND};
use crate::support::{Midge, message, v5, will};

fn expiring(seconds: u32) -> Connect<'static> {
    let properties = ConnectProperties { session_expiry_interval: Some(seconds), ..Default::default() };
    Connect { clean_start: false, properties, ..v5("a") }
}

fn asking(session_expiry_interval: u32) -> Disconnect<'static> {
    Disconnect { session_expiry_interval: Some(session_expiry_interval), ..Default::default() }
}

/// Whether the session is there still; it is given back as it was, from now on for as long as `seconds`.
async fn is_present(midge: &Midge, seconds: u32) -> bool {
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let is_present = client.connect(expiring(seconds)).await.connack().session_present;
    client.leave().await;
    is_present
}

// [MQTT-3.1.2-23], [MQTT-4.1.0-2]
#[tokio::test]
async fn a_session_ends_when_its_interval_has_passed_since_the_connection_and_not_before() {
    let midge = Midge::start("").await;
    let client = midge.join(expiring(10)).await;
    midge.clock.advance(1000 * SECOND);
    client.vanish().await;
    midge.clock.advance(10 * SECOND - MILLISECOND);
    assert!(is_present(&midge, 10).await);
    midge.clock.advance(10 * SECOND);
    assert!(!is_present(&midge, 10).await);
}

#[tokio::test]
async fn without_an_interval_a_session_ends_with_its_connection() {
    let midge = Midge::start("").await;
    midge.join(Connect { clean_start: false, ..v5("a") }).await.leave().await;
    assert!(!is_present(&midge, 0).await);
    assert!(!is_present(&midge, 0).await);
}

#[tokio::test]
async fn the_longest_interval_never_ends() {
    let midge = Midge::start("").await;
    midge.join(expiring(u32::MAX)).await.leave().await;
    // Longer than any other interval can be.
    midge.clock.advance(u32::MAX * SECOND);
    midge.clock.advance(u32::MAX * SECOND);
    assert!(is_present(&midge, u32::MAX - 1).await);
    midge.clock.advance(u32::MAX * SECOND);
    assert!(!is_present(&midge, 0).await);
}

#[tokio::test]
async fn a_disconnect_changes_the_interval() {
    let midge = Midge::start("").await;
    for (asked, past, present) in [(100, 99, true), (100, 100, false), (0, 0, false), (u32::MAX, 1_000_000, true)] {
        midge.join(expiring(10)).await.leave_with(asking(asked)).await;
        midge.clock.advance(past * SECOND);
        assert_eq!(is_present(&midge, 0).await, present, "{asked}");
    }
}

#[tokio::test]
async fn a_disconnect_cannot_keep_a_session_that_connect_wanted_to_end() {
    let midge = Midge::start("").await;
    let mut watcher = midge.join(v5("watcher")).await;
    watcher.subscribe("w", QoS::AtLeastOnce).await;
    let mut client = midge.join(Connect { will: Some(will("w", "gone")), ..expiring(0) }).await;
    client.send(&midge::packet::Packet::Disconnect(asking(10))).await;
    client.expect("DISCONNECT 0x82").await;
    client.expect_closed().await;
    // That was no normal disconnect.
    watcher.expect("PUBLISH q1 w 'gone'").await;
    assert!(!is_present(&midge, 0).await);
    midge.join(expiring(0)).await.leave_with(asking(0)).await;
    watcher.ping().await;
}

#[tokio::test]
async fn the_next_connect_says_anew_how_long_the_session_is_kept() {
    let midge = Midge::start("").await;
    midge.join(expiring(1000)).await.leave().await;
    assert!(is_present(&midge, 10).await);
    midge.clock.advance(10 * SECOND);
    assert!(!is_present(&midge, 1000).await);
    midge.clock.advance(999 * SECOND);
    assert!(is_present(&midge, 0).await);
    assert!(!is_present(&midge, 0).await);
}

#[tokio::test]
async fn what_waits_ends_with_the_session_and_is_counted() {
    let midge = Midge::start("").await;
    let mut client = midge.join(expiring(10)).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    client.leave().await;
    let mut writer = midge.join(v5("writer")).await;
    for payload in ["1", "2"] {
        assert_eq!(writer.offer(message("t", payload)).await, "0x00");
    }
    midge.clock.advance(10 * SECOND);
    // The subscription is gone as well.
    assert_eq!(writer.offer(message("t", "3")).await, "0x10");
    assert_eq!((midge.dropped(DropCause::SessionEnded), midge.broker.counts().sessions_expired), (2, 1));
    assert!(midge.broker.accounting().is_balanced());
}

#[tokio::test]
async fn a_clean_start_ends_the_session_that_was_there() {
    let midge = Midge::start("").await;
    let mut client = midge.join(expiring(100)).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    client.leave().await;
    midge.join(v5("writer")).await.offer(message("t", "1")).await;
    let mut client = midge.join(Connect { clean_start: true, ..expiring(100) }).await;
    client.ping().await;
    assert_eq!(midge.dropped(DropCause::SessionEnded), 1);
    assert_eq!(client.unsubscribe("t").await, "0x11");
}
