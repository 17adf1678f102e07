//! Sessions, their subscriptions, and what ends them.

use std::num::NonZeroU32;

use midge::packet::{
    Connect, Packet, ProtocolVersion, Publish, QoS, RetainHandling, Subscribe, SubscribeFilters, SubscribeOptions,
};

use super::{at, back, take};
use crate::queues::{assert_accounted, away, lasting};
use crate::support::{Midge, message, v3, v4, v5};

#[tokio::test]
async fn a_lasting_session_is_present_after_a_crash_in_every_version() {
    let midge = Midge::start_stored("").await;
    let connects = || {
        [lasting("five"), Connect { clean_start: false, ..v4("four") }, Connect { clean_start: false, ..v3("three") }]
    };
    for connect in connects() {
        midge.join(connect).await;
    }
    let midge = midge.kill().await;
    for (connect, present) in connects().into_iter().zip(["CONNACK 0x00 present", "CONNACK 0 present", "CONNACK 0"]) {
        // 3.1 has no word for it.
        let mut client = midge.dial(connect.version).await;
        assert_eq!(client.connect(connect).await.to_string(), present);
    }
    let mut stranger = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(stranger.connect(lasting("stranger")).await.to_string(), "CONNACK 0x00");
}

#[tokio::test]
async fn a_session_that_ends_with_its_connection_is_gone_after_a_crash() {
    let midge = Midge::start_stored("").await;
    let mut client = midge.join(v5("a")).await;
    client.subscribe("a", QoS::AtLeastOnce).await;
    let midge = midge.kill().await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(client.connect(lasting("a")).await.to_string(), "CONNACK 0x00");
}

#[tokio::test]
async fn subscriptions_are_there_after_a_crash_with_their_options_and_identifiers() {
    let midge = Midge::start_stored("").await;
    let mut client = midge.join(lasting("reader")).await;
    let options = SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filters = [("a/+", options)];
    let subscribe = Subscribe {
        packet_id: std::num::NonZeroU16::MIN,
        subscription_identifier: NonZeroU32::new(77),
        user_properties: Default::default(),
        filters: SubscribeFilters::from_list(&filters),
    };
    client.send(&Packet::Subscribe(subscribe)).await;
    client.expect("SUBACK #1 0x01").await;
    client.subscribe("gone", QoS::AtLeastOnce).await;
    assert_eq!(client.unsubscribe("gone").await, "0x00");
    let midge = midge.kill().await;
    let mut client = back(&midge, "reader").await;
    client.offer(message("a/own", "own")).await;
    let mut writer = midge.join(v5("writer")).await;
    assert_eq!(writer.offer(message("gone", "x")).await, "0x10");
    writer.offer(Publish { retain: true, ..at(QoS::ExactlyOnce, "a/1", "x") }).await;
    let received = client.expect("PUBLISH q1 retain a/1 'x'").await;
    let ids: Vec<_> = received.publish().properties.subscription_ids().collect();
    assert_eq!(ids, [NonZeroU32::new(77).expect("not zero")]);
    client.acknowledge(&received).await;
    client.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_clean_start_removes_what_was_stored() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    writer.offer(message("a", "1")).await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(Connect { clean_start: true, ..lasting("reader") }).await;
    assert_eq!(connack.to_string(), "CONNACK 0x00");
    assert_accounted(&midge);
    let midge = midge.kill().await;
    assert_eq!(midge.gate.rows(), 0);
    let mut client = back(&midge, "reader").await;
    assert_eq!(writer_offer(&midge, "a").await, "0x10");
    client.ping().await;
    assert_accounted(&midge);
}

async fn writer_offer(midge: &Midge, topic: &str) -> String {
    midge.join(v5("writer")).await.offer(message(topic, "x")).await
}

#[tokio::test]
async fn a_takeover_leaves_one_session_with_all_that_it_had() {
    let midge = Midge::start_stored("").await;
    let mut first = midge.join(lasting("reader")).await;
    first.subscribe("a", QoS::AtLeastOnce).await;
    let mut second = back(&midge, "reader").await;
    first.expect("DISCONNECT 0x8E").await;
    assert_eq!(writer_offer(&midge, "a").await, "0x00");
    second.expect("PUBLISH q1 a 'x'").await;
    let midge = midge.kill().await;
    let mut third = back(&midge, "reader").await;
    assert_eq!(take(&mut third, 1).await, ["x"]);
    third.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn of_two_records_of_one_client_the_later_counts() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "old").await;
    let before = midge.gate.after_kill();
    let mut client = midge.join(Connect { clean_start: true, ..lasting("reader") }).await;
    client.subscribe("new", QoS::AtLeastOnce).await;
    // The crash came before the first one's end was stored.
    let image = with_session_of(&before, &midge.gate.after_kill());
    let midge = Midge::start_over("", image).await;
    back(&midge, "reader").await.leave().await;
    assert_eq!(writer_offer(&midge, "old").await, "0x10");
    assert_eq!(writer_offer(&midge, "new").await, "0x00");
    assert_accounted(&midge);
    assert_eq!(midge.gate.after_kill().recovered().sessions.len(), 1);
}

/// The second image, with what the first one's only session was.
fn with_session_of(
    first: &midge::store::memory::MemoryStore,
    second: &midge::store::memory::MemoryStore,
) -> midge::store::memory::MemoryStore {
    use midge::store::{Change, Durability, Store};
    let image = second.image();
    for session in first.recovered().sessions {
        let owner = session.record.owner;
        let subscriptions = session.subscriptions.into_iter();
        let subscriptions =
            subscriptions.map(|(filter, options, id)| Change::PutSubscription { owner, filter, options, id });
        let changes: Vec<_> =
            std::iter::once(Change::PutSession(Box::new(session.record))).chain(subscriptions).collect();
        image.append(&changes, Durability::Fsync).expect("memory takes everything");
    }
    image
}

#[tokio::test]
async fn a_session_whose_listener_is_no_more_takes_the_limits_of_the_first() {
    let two = "[[listener]]\nname = \"one\"\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"two\"\naddress = \"127.0.0.1:0\"\n";
    let midge = Midge::start_stored(two).await;
    let mut client = midge.door(1).join(lasting("reader")).await;
    client.subscribe("a", QoS::AtLeastOnce).await;
    client.leave().await;
    let one = "[limits]\nqueue_messages_max = 1\n[[listener]]\nname = \"one\"\naddress = \"127.0.0.1:0\"\n";
    let midge = Midge::start_over(one, midge.gate.after_kill()).await;
    assert_eq!(writer_offer(&midge, "a").await, "0x00");
    assert_eq!(writer_offer(&midge, "a").await, "0x00");
    let mut client = back(&midge, "reader").await;
    assert_eq!(take(&mut client, 1).await, ["x"]);
    client.ping().await;
    assert_eq!(midge.dropped(midge::message::DropCause::QueueFull), 1);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_mount_point_stays_with_the_session_that_was_made_behind_it() {
    let text = "[[listener]]\nname = \"one\"\naddress = \"127.0.0.1:0\"\nmount_point = \"site/\"\n";
    let midge = Midge::start_stored(text).await;
    away(&midge, "reader", "a").await;
    assert_eq!(writer_offer(&midge, "a").await, "0x00");
    let midge = midge.kill().await;
    let mut client = back(&midge, "reader").await;
    client.expect("PUBLISH q1 a 'x'").await;
}

#[tokio::test]
async fn what_an_operator_sees_of_a_session_is_there_after_a_crash() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    assert_eq!(writer_offer(&midge, "a").await, "0x00");
    let midge = midge.kill().await;
    let accounting = midge.broker.accounting();
    assert_eq!((accounting.recovered, accounting.queued, accounting.matched), (1, 1, 0));
    assert_accounted(&midge);
}
