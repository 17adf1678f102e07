//! Long queues: a client that sleeps has only numbers in memory, and gets its messages a page at a time when it is back.

use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, ProtocolVersion, Publish, QoS};

use super::{at, back, expiring, numbered, offer_numbered, take};
use crate::queues::{assert_accounted, away, lasting};
use crate::support::{Client, Midge, message, v5};
use crate::time::SECOND;

/// More than two pages.
const MANY: u16 = 1300;

#[tokio::test]
async fn more_than_a_page_comes_in_order_while_new_messages_come_in() {
    let midge = Midge::start_stored("[limits]\nqueue_messages_max = 10000").await;
    away(&midge, "reader", "a").await;
    offer_numbered(&midge, "a", 0..MANY).await;
    let mut reader = back(&midge, "reader").await;
    let mut came = take(&mut reader, 100).await;
    offer_numbered(&midge, "a", MANY..MANY + 700).await;
    came.extend(take(&mut reader, usize::from(MANY) + 600).await);
    assert_eq!(came, numbered(0..MANY + 700));
    reader.ping().await;
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
    // Nothing is left of the detour.
    offer_numbered(&midge, "a", 0..3).await;
    assert_eq!(take(&mut reader, 3).await, numbered(0..3));
    reader.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_long_queue_is_there_after_a_crash_and_new_messages_come_behind_it() {
    let midge = Midge::start_stored("[limits]\nqueue_messages_max = 10000").await;
    away(&midge, "reader", "a").await;
    offer_numbered(&midge, "a", 0..MANY).await;
    let midge = midge.kill().await;
    offer_numbered(&midge, "a", MANY..MANY + 100).await;
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, usize::from(MANY) + 100).await, numbered(0..MANY + 100));
    reader.ping().await;
    assert_eq!(midge.broker.accounting().recovered, u64::from(MANY));
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_window_smaller_than_a_page_is_kept() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    offer_numbered(&midge, "a", 0..20).await;
    let properties = ConnectProperties {
        receive_maximum: std::num::NonZeroU16::new(3),
        session_expiry_interval: Some(1000),
        ..Default::default()
    };
    let mut reader = midge.dial(ProtocolVersion::V5).await;
    reader.connect(Connect { clean_start: false, properties, ..v5("reader") }).await;
    let mut unacknowledged = Vec::new();
    for number in 0..3 {
        unacknowledged.push(reader.expect(&format!("PUBLISH q1 a '{number}'")).await);
    }
    reader.ping().await;
    for number in 3..20 {
        reader.acknowledge(&unacknowledged.remove(0)).await;
        unacknowledged.push(reader.expect(&format!("PUBLISH q1 a '{number}'")).await);
    }
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_client_that_goes_in_the_middle_of_its_queue_goes_on_there() {
    let midge = Midge::start_stored("[limits]\nqueue_messages_max = 10000").await;
    away(&midge, "reader", "a").await;
    offer_numbered(&midge, "a", 0..MANY).await;
    let mut reader = back(&midge, "reader").await;
    let mut came = take(&mut reader, 600).await;
    reader.vanish().await;
    offer_numbered(&midge, "a", MANY..MANY + 10).await;
    assert_accounted(&midge);
    let mut reader = back(&midge, "reader").await;
    let rest = usize::from(MANY) + 10 - 600;
    // The window of the first connection was full of some that come again.
    came.extend(take(&mut reader, rest).await);
    assert_eq!(came, numbered(0..MANY + 10));
    reader.ping().await;
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}

#[tokio::test]
async fn qos_0_waits_behind_a_queue_that_is_on_disk() {
    let midge = Midge::start_stored("[defaults]\nqueue_qos0 = true").await;
    away(&midge, "reader", "a").await;
    offer_numbered(&midge, "a", 0..3).await;
    let mut writer = midge.join(v5("writer")).await;
    writer.publish(at(QoS::AtMostOnce, "a", "casual")).await;
    writer.ping().await;
    offer_numbered(&midge, "a", 3..5).await;
    assert_eq!(midge.broker.accounting().queued, 6);
    let mut reader = back(&midge, "reader").await;
    let mut came = take(&mut reader, 6).await;
    reader.ping().await;
    assert_accounted(&midge);
    assert_eq!(came.iter().position(|payload| payload == "casual"), Some(5), "it overtook nothing: {came:?}");
    came.pop();
    assert_eq!(came, numbered(0..5));
    // In order again as soon as nothing is on disk.
    writer.publish(at(QoS::AtMostOnce, "a", "casual")).await;
    writer.ping().await;
    offer_numbered(&midge, "a", 5..6).await;
    assert_eq!(take(&mut reader, 2).await, ["casual", "5"]);
}

#[tokio::test]
async fn qos_0_does_not_wait_on_disk_or_elsewhere_where_nobody_wants_that() {
    let midge = Midge::start_stored("").await;
    let mut reader = midge.join(lasting("reader")).await;
    reader.subscribe("a", QoS::ExactlyOnce).await;
    reader.leave().await;
    let mut writer = midge.join(v5("writer")).await;
    writer.publish(at(QoS::AtMostOnce, "a", "casual")).await;
    offer_numbered(&midge, "a", 0..2).await;
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 2).await, numbered(0..2));
    assert_eq!(midge.dropped(DropCause::Offline), 1);
    reader.ping().await;
    assert_accounted(&midge);
}

fn limited(policy: &str) -> String {
    format!("[limits]\nqueue_messages_max = 600\n[defaults]\non_queue_full = \"{policy}\"")
}

/// A client comes back after so many messages, five more than its queue has room for.
async fn overfull(midge: &Midge) -> (Vec<String>, Client) {
    away(midge, "reader", "a").await;
    offer_numbered(midge, "a", 0..600).await;
    let mut answers = Vec::new();
    let mut writer = midge.join(v5("writer")).await;
    for number in 600..605u16 {
        answers.push(writer.offer(message("a", &number.to_string())).await);
    }
    (answers, back(midge, "reader").await)
}

#[tokio::test]
async fn drop_oldest_drops_what_is_first_on_disk() {
    let midge = Midge::start_stored(&limited("drop_oldest")).await;
    let (answers, mut reader) = overfull(&midge).await;
    assert_eq!(answers, ["0x00"; 5]);
    assert_eq!(take(&mut reader, 600).await, numbered(5..605));
    reader.ping().await;
    assert_eq!((midge.dropped(DropCause::QueueFull), midge.gate.rows()), (5, 0));
    assert_accounted(&midge);
}

#[tokio::test]
async fn drop_oldest_stays_dropped_over_a_crash() {
    let midge = Midge::start_stored(&limited("drop_oldest")).await;
    away(&midge, "reader", "a").await;
    offer_numbered(&midge, "a", 0..605).await;
    let midge = midge.kill().await;
    assert_eq!(midge.broker.accounting().recovered, 600);
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 600).await, numbered(5..605));
    reader.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn drop_newest_and_refuse_keep_what_is_on_disk() {
    for policy in ["drop_newest", "refuse"] {
        let midge = Midge::start_stored(&limited(policy)).await;
        let (answers, mut reader) = overfull(&midge).await;
        assert_eq!(answers, ["0x97"; 5]);
        assert_eq!(midge.broker.counts().refused, 5);
        assert_eq!(take(&mut reader, 600).await, numbered(0..600));
        reader.ping().await;
        assert_eq!(midge.gate.rows(), 0, "{policy}");
        assert_accounted(&midge);
        let midge = midge.kill().await;
        assert_eq!(midge.broker.accounting().recovered, 0, "{policy}");
    }
}

#[tokio::test]
async fn drop_newest_is_one_sessions_loss_where_another_takes_the_message() {
    let midge = Midge::start_stored(&limited("drop_newest")).await;
    away(&midge, "reader", "a").await;
    offer_numbered(&midge, "a", 0..600).await;
    away(&midge, "other", "a").await;
    offer_numbered(&midge, "a", 600..605).await;
    assert_eq!(midge.dropped(DropCause::QueueFull), 5);
    let midge = midge.kill().await;
    for (client, expected) in [("reader", 0..600), ("other", 600..605)] {
        let mut client = back(&midge, client).await;
        assert_eq!(take(&mut client, expected.len()).await, numbered(expected));
        client.ping().await;
    }
    assert_accounted(&midge);
}

#[tokio::test]
async fn memory_messages_and_stored_ones_wait_for_one_client() {
    let text = "[[store.rules]]\nfilter = \"memory/#\"\ndurability = \"memory\"\n";
    let midge = Midge::start_stored(text).await;
    away(&midge, "reader", "#").await;
    for number in 0..100u16 {
        let topic = if number % 3 == 0 { "memory/a" } else { "a" };
        offer_numbered(&midge, topic, number..number + 1).await;
    }
    let mut reader = back(&midge, "reader").await;
    let came = take(&mut reader, 100).await;
    let of = |remainder: bool| {
        let numbers = came.iter().map(|payload| payload.parse::<u16>().expect("a number"));
        numbers.filter(|number| (number % 3 == 0) == remainder).collect::<Vec<_>>()
    };
    assert!(of(true).is_sorted() && of(false).is_sorted(), "each topic has its order: {came:?}");
    reader.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_queue_that_expires_on_disk_while_its_client_reads_it_is_counted_once() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    for number in 0..10u16 {
        let (payload, mut raw) = (number.to_string(), Vec::new());
        let publish = message("a", &payload);
        let publish = if number % 2 == 0 { expiring(10, &mut raw, publish) } else { publish };
        writer.offer(publish).await;
    }
    midge.clock.advance(9 * SECOND);
    let properties = ConnectProperties {
        receive_maximum: std::num::NonZeroU16::new(1),
        session_expiry_interval: Some(1000),
        ..Default::default()
    };
    let mut reader = midge.dial(ProtocolVersion::V5).await;
    reader.connect(Connect { clean_start: false, properties, ..v5("reader") }).await;
    let first = reader.expect("PUBLISH q1 a '0'").await;
    midge.clock.advance(20 * SECOND);
    reader.acknowledge(&first).await;
    assert_eq!(take(&mut reader, 5).await, ["1", "3", "5", "7", "9"]);
    reader.ping().await;
    midge.gate.until("an empty queue", |store| midge::store::Store::status(store).rows == 0).await;
    assert_eq!(midge.dropped(DropCause::Expired), 4);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_large_message_is_a_page_of_its_own() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    let large = "x".repeat(400_000);
    for payload in ["first", &large, &large, "last"] {
        writer.offer(Publish { payload: payload.as_bytes(), ..message("a", "") }).await;
    }
    let midge = midge.kill().await;
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 4).await, ["first", &large, &large, "last"]);
    reader.ping().await;
    assert_accounted(&midge);
}
