//! A wall clock that jumps by ten years, while a broker runs or between two: no deadline moves by more than ten seconds.

use std::time::{Duration, Instant};

use midge::packet::{Connect, Property, Publish, PublishProperties, QoS, Sender, Will};

use crate::broker::{Broker, Site};
use crate::client::Client;
use crate::lasting;
use crate::packets::{message, v5, will};

const LONG: u32 = 3600;
const SHORT: u32 = 1;
/// What a jump may do.
const TOLERANCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    WhileItRuns,
    BetweenTwoRuns,
}

fn with_will(client_id: &str, delay: u32) -> Connect<'_> {
    let will = Will { will_delay_interval: delay, ..will("gone", client_id) };
    Connect { will: Some(will), ..lasting(client_id, LONG) }
}

async fn offer(client: &mut Client, payload: &str, expiry: u32) {
    let mut raw = Vec::new();
    Property::MessageExpiryInterval(expiry).encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("properties of a PUBLISH");
    assert_eq!(client.offer(Publish { properties, ..message("a", payload) }).await, "0x00");
}

/// Sessions, messages and wills that run out soon, and such that do not.
async fn set_deadlines(broker: &Broker) {
    for (client_id, filter, seconds) in [("watcher", "gone", LONG), ("long", "a", LONG)] {
        let (mut client, _) = broker.join(lasting(client_id, seconds)).await;
        client.subscribe(filter, QoS::AtLeastOnce).await;
        client.leave().await;
    }
    let (mut writer, _) = broker.join(v5("writer")).await;
    offer(&mut writer, "long", LONG).await;
    offer(&mut writer, "short", SHORT).await;
    broker.join(lasting("short", SHORT)).await.0.leave().await;
    for connect in [with_will("late", LONG), with_will("soon", SHORT)] {
        broker.join(connect).await.0.vanish().await;
    }
}

async fn jump(fault: &str, when: When) {
    let site = Site::new("");
    let mut broker = site.start();
    let (begin, year) = (Instant::now(), broker.year);
    set_deadlines(&broker).await;
    let (mut here, _) = broker.join(Connect { keep_alive: 30, ..v5("here") }).await;
    site.begin(fault);
    match when {
        When::WhileItRuns => here.ping().await,
        When::BetweenTwoRuns => {
            drop(broker);
            broker = site.start();
        }
    }
    let (mut watcher, _) = broker.join(lasting("watcher", LONG)).await;
    broker.join(v5("after")).await.0.leave().await;
    let jumped = i64::from(broker.year_of("after")) - i64::from(year);
    assert!(if fault == "clock-back" { jumped <= -9 } else { jumped >= 9 }, "{jumped} years");

    // This comes when it is due, and so has the rest of what was to end soon.
    let gone = watcher.expect("PUBLISH q1 gone 'soon'").await;
    watcher.acknowledge(&gone).await;
    watcher.ping().await;
    for (client_id, is_there) in [("short", false), ("late", true)] {
        assert_eq!(broker.join(lasting(client_id, LONG)).await.1, is_there, "{client_id}");
    }
    let (mut client, is_there) = broker.join(lasting("long", LONG)).await;
    assert!(is_there);
    let message = client.expect("PUBLISH q1 a 'long'").await;
    let left = message.publish().properties.message_expiry_interval.expect("its expiry");
    let least = Duration::from_secs(LONG.into()) - begin.elapsed() - TOLERANCE;
    assert!(left <= LONG && Duration::from_secs(left.into()) >= least, "{left} seconds left, not {least:?}");
    client.acknowledge(&message).await;
    client.ping().await;
}

#[tokio::test]
async fn a_jump_forward_ends_nothing_early() {
    jump("clock-forward", When::WhileItRuns).await;
}

#[tokio::test]
async fn a_jump_back_ends_nothing_late() {
    jump("clock-back", When::WhileItRuns).await;
}

#[tokio::test]
async fn a_jump_forward_between_two_runs_ends_nothing_early() {
    jump("clock-forward", When::BetweenTwoRuns).await;
}

#[tokio::test]
async fn a_jump_back_between_two_runs_ends_nothing_late() {
    jump("clock-back", When::BetweenTwoRuns).await;
}
