//! Will messages: published when they are due and never early, or not at all.

use midge::packet::{
    Connect, ConnectProperties, Disconnect, Packet, Property, Publish, PublishProperties, QoS, ReasonCode, Will,
};

use super::{MILLISECOND, SECOND};
use crate::support::{Client, Midge, message, v3, v4, v5, will};

/// A client whose will "gone" on topic "w" is delayed.
fn delayed(delay: u32, session_expiry_interval: u32) -> Connect<'static> {
    let properties = ConnectProperties { session_expiry_interval: Some(session_expiry_interval), ..Default::default() };
    Connect { will: Some(Will { will_delay_interval: delay, ..will("w", "gone") }), properties, ..v5("a") }
}

fn resuming(connect: Connect<'_>) -> Connect<'_> {
    Connect { clean_start: false, ..connect }
}

async fn watcher(midge: &Midge) -> Client {
    let mut watcher = midge.join(v5("watcher")).await;
    watcher.subscribe("w", QoS::ExactlyOnce).await;
    watcher
}

const GONE: &str = "PUBLISH q1 w 'gone'";

/// Nothing comes before, and the will comes when this much time has passed.
async fn expect_after(midge: &Midge, watcher: &mut Client, seconds: u32) {
    watcher.ping().await;
    midge.clock.advance(seconds * SECOND - MILLISECOND);
    watcher.ping().await;
    midge.clock.advance(MILLISECOND);
    watcher.expect(GONE).await;
}

#[tokio::test]
async fn a_connection_that_breaks_publishes_the_will_at_once() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    for connect in [v3("a"), v4("a"), v5("a")] {
        midge.join(Connect { will: Some(will("w", "gone")), ..connect }).await.vanish().await;
        watcher.expect(GONE).await;
    }
}

// [MQTT-3.14.4-3], [MQTT-3.1.2-10]
#[tokio::test]
async fn a_normal_disconnect_takes_the_will_along() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    for connect in [v3("a"), v4("a"), v5("a")] {
        midge.join(Connect { will: Some(will("w", "gone")), ..connect }).await.leave().await;
    }
    midge.join(delayed(10, 100)).await.leave().await;
    midge.clock.advance(1000 * SECOND);
    watcher.ping().await;
}

#[tokio::test]
async fn a_disconnect_with_0x04_or_an_error_publishes_the_will() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    for reason_code in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError, ReasonCode::QuotaExceeded] {
        let client = midge.join(Connect { will: Some(will("w", "gone")), ..v5("a") }).await;
        client.leave_with(Disconnect { reason_code, ..Default::default() }).await;
        watcher.expect(GONE).await;
    }
    let client = midge.join(delayed(10, 100)).await;
    client.leave_with(Disconnect { reason_code: ReasonCode::DisconnectWithWill, ..Default::default() }).await;
    expect_after(&midge, &mut watcher, 10).await;
}

#[tokio::test]
async fn what_the_broker_closes_publishes_the_will() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    let with_will = |connect: Connect<'static>| Connect { will: Some(will("w", "gone")), ..connect };
    let mut silent = midge.join(Connect { keep_alive: 10, ..with_will(v4("a")) }).await;
    midge.clock.advance(15 * SECOND);
    silent.expect_closed().await;
    watcher.expect(GONE).await;
    let mut wrong = midge.join(with_will(v5("a"))).await;
    wrong.send(&Packet::Connect(v5("a"))).await;
    wrong.expect("DISCONNECT 0x82").await;
    watcher.expect(GONE).await;
}

#[tokio::test]
async fn a_delayed_will_comes_after_its_delay_and_once() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    for expiry in [100, u32::MAX] {
        midge.join(delayed(10, expiry)).await.vanish().await;
        expect_after(&midge, &mut watcher, 10).await;
        midge.clock.advance(1000 * SECOND);
        watcher.ping().await;
    }
}

// [MQTT-3.1.2-8]
#[tokio::test]
async fn a_delayed_will_comes_when_its_session_ends_if_that_is_sooner() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    midge.join(delayed(100, 10)).await.vanish().await;
    expect_after(&midge, &mut watcher, 10).await;
    midge.join(delayed(10, 10)).await.vanish().await;
    expect_after(&midge, &mut watcher, 10).await;
    midge.join(delayed(100, 0)).await.vanish().await;
    watcher.expect(GONE).await;
    midge.clock.advance(1000 * SECOND);
    watcher.ping().await;
}

#[tokio::test]
async fn a_session_that_disconnect_ends_publishes_the_delayed_will_at_once() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    let client = midge.join(delayed(100, 100)).await;
    let reason_code = ReasonCode::DisconnectWithWill;
    client.leave_with(Disconnect { reason_code, session_expiry_interval: Some(0), ..Default::default() }).await;
    watcher.expect(GONE).await;
}

// [MQTT-3.1.3-9]
#[tokio::test]
async fn a_client_that_is_back_before_the_delay_is_over_has_not_died() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    midge.join(delayed(10, 100)).await.vanish().await;
    midge.clock.advance(10 * SECOND - MILLISECOND);
    let client = midge.join(resuming(delayed(20, 100))).await;
    midge.clock.advance(1000 * SECOND);
    watcher.ping().await;
    // The next time its new will counts, from then on.
    client.vanish().await;
    expect_after(&midge, &mut watcher, 20).await;
}

#[tokio::test]
async fn a_client_that_is_back_without_a_will_has_none() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    midge.join(delayed(10, 100)).await.vanish().await;
    midge.join(resuming(Connect { will: None, ..delayed(0, 100) })).await.vanish().await;
    midge.clock.advance(1000 * SECOND);
    watcher.ping().await;
}

#[tokio::test]
async fn a_clean_start_ends_the_session_and_so_publishes_its_delayed_will() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    midge.join(delayed(100, 1000)).await.vanish().await;
    let _new = midge.join(Connect { will: None, ..delayed(0, 1000) }).await;
    watcher.expect(GONE).await;
    midge.clock.advance(1000 * SECOND);
    watcher.ping().await;
}

#[tokio::test]
async fn a_takeover_publishes_the_will_unless_the_session_goes_on_and_the_will_is_delayed() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    for (delay, clean_start, publishes) in [(0, true, true), (0, false, true), (10, true, true), (10, false, false)] {
        let mut old = midge.join(delayed(delay, 100)).await;
        let new = midge.join(Connect { clean_start, will: None, ..delayed(0, 100) }).await;
        old.expect("DISCONNECT 0x8E").await;
        if publishes {
            watcher.expect(GONE).await;
        }
        midge.clock.advance(1000 * SECOND);
        watcher.ping().await;
        new.leave().await;
    }
}

#[tokio::test]
async fn a_takeover_in_3x_publishes_the_will() {
    let midge = Midge::start("").await;
    let mut watcher = watcher(&midge).await;
    for clean_start in [true, false] {
        let mut old = midge.join(Connect { clean_start: false, will: Some(will("w", "gone")), ..v4("a") }).await;
        let _new = midge.join(Connect { clean_start, ..v4("a") }).await;
        old.expect_closed().await;
        watcher.expect(GONE).await;
    }
}

// [MQTT-3.1.2-14], [MQTT-3.1.2-15]
#[tokio::test]
async fn a_will_is_retained_if_it_says_so() {
    let midge = Midge::start("").await;
    for retain in [true, false] {
        let mut watcher = watcher(&midge).await;
        midge.join(Connect { will: Some(Will { retain, ..will("w", "gone") }), ..v5("a") }).await.vanish().await;
        watcher.expect(GONE).await;
        let mut late = midge.join(v5("late")).await;
        late.subscribe("w", QoS::AtMostOnce).await;
        if retain {
            late.expect("PUBLISH q0 retain w 'gone'").await;
            late.offer(Publish { retain: true, ..message("w", "") }).await;
        } else {
            late.ping().await;
        }
    }
}

#[tokio::test]
async fn a_wills_message_expiry_begins_when_it_is_published() {
    let midge = Midge::start("").await;
    let lasting = || {
        let properties = ConnectProperties { session_expiry_interval: Some(1000), ..Default::default() };
        resuming(Connect { properties, ..v5("watcher") })
    };
    let mut watcher = midge.join(lasting()).await;
    watcher.subscribe("w", QoS::AtLeastOnce).await;
    watcher.leave().await;
    let connect = delayed(10, 100);
    let mut raw = Vec::new();
    Property::MessageExpiryInterval(5).encode(&mut raw);
    Property::ContentType("text").encode(&mut raw);
    let properties = PublishProperties { raw: &raw, raw_is_forward: false, ..Default::default() };
    let will = connect.will.map(|will| Will { properties, ..will });
    midge.join(Connect { will, ..connect }).await.vanish().await;
    midge.clock.advance(10 * SECOND);
    midge.join(v5("marker")).await.ping().await;
    midge.clock.advance(2 * SECOND);
    let mut watcher = midge.join(lasting()).await;
    let gone = watcher.expect(GONE).await;
    assert_eq!(gone.publish().properties.message_expiry_interval, Some(3));
    assert_eq!(gone.publish().properties.properties().last(), Some(Property::ContentType("text")));
}
