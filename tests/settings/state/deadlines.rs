//! When sessions end: in broker time, which goes on where it was when the process ended.

use std::time::Duration;

use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, Disconnect, ProtocolVersion, QoS};

use super::back;
use crate::queues::{assert_accounted, lasting};
use crate::support::{Midge, message, v5};
use crate::time::{MILLISECOND, SECOND};

fn for_seconds(client_id: &str, seconds: u32) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval: Some(seconds), ..Default::default() };
    Connect { clean_start: false, properties, ..v5(client_id) }
}

async fn is_present(midge: &Midge, client_id: &str) -> bool {
    let mut client = midge.dial(ProtocolVersion::V5).await;
    client.connect(lasting(client_id)).await.connack().session_present
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over_though_the_broker_was_started_anew() {
    for (late, present) in [(Duration::ZERO, false), (MILLISECOND, true)] {
        let midge = Midge::start_stored("").await;
        let mut reader = midge.join(for_seconds("reader", 100)).await;
        reader.subscribe("a", QoS::AtLeastOnce).await;
        reader.leave().await;
        midge.join(v5("writer")).await.offer(message("a", "x")).await;
        midge.clock.advance(40 * SECOND);
        midge.gate.until("the time", |store| store.recovered().time.as_millis() == 40_000).await;
        let midge = midge.kill().await;
        midge.clock.advance(60 * SECOND - late);
        if !present {
            midge.gate.until("no session", |store| store.recovered().sessions.is_empty()).await;
            assert_eq!(midge.dropped(DropCause::SessionEnded), 1);
        }
        assert_eq!(is_present(&midge, "reader").await, present);
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn a_session_that_was_connected_when_the_process_ended_has_its_whole_time_from_then_on() {
    let midge = Midge::start_stored("").await;
    let mut client = midge.join(for_seconds("reader", 100)).await;
    client.ping().await;
    midge.clock.advance(1000 * SECOND);
    midge.gate.until("the time", |store| store.recovered().time.as_millis() == 1_000_000).await;
    let midge = midge.kill().await;
    midge.join(v5("other")).await.ping().await;
    midge.clock.advance(60 * SECOND);
    midge.gate.until("the time", |store| store.recovered().time.as_millis() == 1_060_000).await;
    // Another crash does not give it more.
    let midge = midge.kill().await;
    midge.clock.advance(40 * SECOND);
    midge.gate.until("no session", |store| store.recovered().sessions.is_empty()).await;
    assert!(!is_present(&midge, "reader").await);
}

#[tokio::test]
async fn a_session_that_never_ends_never_ends() {
    let midge = Midge::start_stored("[limits]\nsession_expiry_max = \"never\"").await;
    midge.join(for_seconds("reader", u32::MAX)).await.leave().await;
    let midge = midge.kill().await;
    midge.clock.advance(4_000_000_000 * SECOND);
    assert!(is_present(&midge, "reader").await);
}

#[tokio::test]
async fn a_disconnect_changes_the_time_in_the_store_too() {
    let midge = Midge::start_stored("").await;
    let leaving = |seconds| Disconnect { session_expiry_interval: Some(seconds), ..Disconnect::default() };
    midge.join(for_seconds("soon", 100)).await.leave_with(leaving(10)).await;
    midge.join(for_seconds("now", 100)).await.leave_with(leaving(0)).await;
    let midge = midge.kill().await;
    assert!(!is_present(&midge, "now").await);
    midge.clock.advance(10 * SECOND);
    midge.gate.until("one session", |store| store.recovered().sessions.len() == 1).await;
    assert!(!is_present(&midge, "soon").await);
}

#[tokio::test]
async fn a_session_that_a_client_took_up_to_end_it_is_gone_after_a_crash() {
    let midge = Midge::start_stored("").await;
    midge.join(lasting("reader")).await.leave().await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(client.connect(for_seconds("reader", 0)).await.to_string(), "CONNACK 0x00 present");
    let left = midge.kill().await;
    assert!(!is_present(&left, "reader").await, "it would have ended with its connection");
    client.leave().await;
    let left = midge.kill().await;
    assert!(!is_present(&left, "reader").await);
}

#[tokio::test]
async fn a_session_that_an_operator_deletes_stays_deleted() {
    let midge = Midge::start_stored("[limits]\nqueue_messages_max = 10").await;
    midge.join(lasting("reader")).await.leave().await;
    assert!(is_present(&midge.kill().await, "reader").await);
    back(&midge, "reader").await.leave().await;
    midge.clock.advance(100_000 * SECOND);
    midge.gate.until("no session", |store| store.recovered().sessions.is_empty()).await;
    assert!(!is_present(&midge.kill().await, "reader").await);
}
