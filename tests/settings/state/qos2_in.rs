//! QoS 2 from a client with a lasting session: each message once, whichever step a crash comes after.

use midge::packet::{Disconnect, Packet, PacketId, ProtocolVersion, Publish, QoS, Unsubscribe, UnsubscribeFilters};

use super::{at, back, take};
use crate::queues::{assert_accounted, away, lasting};
use crate::support::{Client, Midge, v5};

const ID: PacketId = PacketId::MIN;

fn exactly_once(payload: &str) -> Publish<'_> {
    Publish { packet_id: Some(ID), ..at(QoS::ExactlyOnce, "a", payload) }
}

fn again(payload: &str) -> Publish<'_> {
    Publish { dup: true, ..exactly_once(payload) }
}

async fn writer(midge: &Midge) -> Client {
    away(midge, "reader", "a").await;
    midge.join(lasting("writer")).await
}

/// The writer is back, and its message is acknowledged.
async fn say_again(midge: &Midge, qos: QoS) {
    let mut writer = back(midge, "writer").await;
    writer.publish(Publish { qos, ..again("x") }).await;
    writer.expect(if qos == QoS::ExactlyOnce { "PUBREC #1 0x00" } else { "PUBACK #1 0x00" }).await;
}

/// What the reader gets in all.
async fn assert_reader_gets(midge: &Midge, expected: &[&str]) {
    let mut reader = back(midge, "reader").await;
    assert_eq!(take(&mut reader, expected.len()).await, expected);
    assert_eq!(midge.broker.accounting().queued, 0);
    reader.leave().await;
    assert_accounted(midge);
}

#[tokio::test]
async fn a_message_that_was_received_before_the_crash_is_not_taken_again() {
    let midge = Midge::start_stored("").await;
    let mut writer = writer(&midge).await;
    writer.publish(exactly_once("x")).await;
    writer.expect("PUBREC #1 0x00").await;
    let midge = midge.kill().await;
    let mut writer = back(&midge, "writer").await;
    writer.publish(again("x")).await;
    writer.expect("PUBREC #1 0x00").await;
    writer.send_pubrel(ID).await;
    writer.expect("PUBCOMP #1 0x00").await;
    // From now on the id is a new message's.
    writer.publish(exactly_once("y")).await;
    writer.expect("PUBREC #1 0x00").await;
    assert_reader_gets(&midge, &["x", "y"]).await;
}

#[tokio::test]
async fn a_message_whose_pubrec_had_not_left_before_the_power_went_is_taken_once() {
    let midge = Midge::start_stored("").await;
    let mut writer = writer(&midge).await;
    midge.gate.close();
    writer.publish(exactly_once("x")).await;
    midge.gate.until_waiting(1).await;
    writer.ping().await;
    for midge in [midge.kill().await, midge.lose_power().await] {
        say_again(&midge, QoS::ExactlyOnce).await;
        assert_reader_gets(&midge, &["x"]).await;
    }
}

#[tokio::test]
async fn an_id_that_was_released_before_the_crash_is_a_new_messages() {
    let midge = Midge::start_stored("").await;
    let mut writer = writer(&midge).await;
    assert_eq!(writer.offer(exactly_once("x")).await, "0x00");
    writer.send_pubrel(ID).await;
    writer.expect("PUBCOMP #1 0x00").await;
    let midge = midge.kill().await;
    let mut writer = back(&midge, "writer").await;
    assert_eq!(writer.offer(exactly_once("y")).await, "0x00");
    assert_reader_gets(&midge, &["x", "y"]).await;
}

#[tokio::test]
async fn pubcomp_leaves_when_the_release_is_safe_and_not_before() {
    let midge = Midge::start_stored("").await;
    let mut writer = writer(&midge).await;
    assert_eq!(writer.offer(exactly_once("x")).await, "0x00");
    midge.gate.close();
    writer.send_pubrel(ID).await;
    midge.gate.until_waiting(1).await;
    writer.ping().await;
    {
        // The power goes: the client sends PUBREL again, as it has had no PUBCOMP.
        let midge = midge.lose_power().await;
        let mut writer = back(&midge, "writer").await;
        writer.send_pubrel(ID).await;
        writer.expect("PUBCOMP #1 0x00").await;
        assert_reader_gets(&midge, &["x"]).await;
    }
    midge.gate.open();
    writer.expect("PUBCOMP #1 0x00").await;
}

#[tokio::test]
async fn a_duplicate_on_the_next_connection_is_answered_when_the_first_is_safe() {
    let midge = Midge::start_stored("").await;
    let mut writer = writer(&midge).await;
    midge.gate.close();
    writer.publish(exactly_once("x")).await;
    midge.gate.until_waiting(1).await;
    let mut heir = midge.dial(ProtocolVersion::V5).await;
    heir.send(&midge::packet::Packet::Connect(lasting("writer"))).await;
    heir.publish(again("x")).await;
    midge.gate.until_waiting(3).await;
    midge.gate.open();
    heir.expect("CONNACK 0x00 present").await;
    heir.expect("PUBREC #1 0x00").await;
    assert_reader_gets(&midge, &["x"]).await;
}

/// How the connection ends while its message is on the way to the disk.
#[derive(Clone, Copy, Debug)]
enum End {
    Break,
    Takeover,
    Disconnect,
}

#[tokio::test]
async fn a_message_that_is_lost_after_its_connection_is_new_when_it_is_sent_again() {
    for end in [End::Break, End::Takeover, End::Disconnect] {
        let midge = Midge::start_stored("").await;
        let mut writer = writer(&midge).await;
        midge.gate.close();
        writer.publish(exactly_once("x")).await;
        midge.gate.until_waiting(1).await;
        let mut heir = midge.dial(ProtocolVersion::V5).await;
        match end {
            End::Break => writer.vanish().await,
            End::Disconnect => writer.send(&Packet::Disconnect(Disconnect::default())).await,
            End::Takeover => heir.send(&Packet::Connect(lasting("writer"))).await,
        }
        // The message, the session as it was parked, and as the next connection has it.
        midge.gate.until_waiting(if let End::Takeover = end { 3 } else { 2 }).await;
        midge.gate.lose();
        midge.gate.open();
        say_again(&midge, QoS::ExactlyOnce).await;
        assert_reader_gets(&midge.lose_power().await, &["x"]).await;
    }
}

#[tokio::test]
async fn a_message_that_is_lost_while_the_next_connection_says_it_again_is_not_acknowledged() {
    let midge = Midge::start_stored("").await;
    let mut writer = writer(&midge).await;
    midge.gate.close();
    writer.publish(exactly_once("x")).await;
    midge.gate.until_waiting(1).await;
    writer.vanish().await;
    // What waits is lost when the next connection has its session, and before the store hears of it.
    midge.gate.lose_after(0);
    let mut writer = midge.dial(ProtocolVersion::V5).await;
    let mut bytes = Vec::new();
    Packet::Connect(lasting("writer")).encode(ProtocolVersion::V5, &mut bytes);
    Packet::Publish(again("x")).encode(ProtocolVersion::V5, &mut bytes);
    writer.send_bytes(&bytes).await;
    midge.join(v5("census")).await.leave().await;
    assert_eq!(midge.gate.waiting(), 1);
    midge.gate.open();
    writer.expect("CONNACK 0x97").await;
    writer.expect_closed().await;
    say_again(&midge, QoS::ExactlyOnce).await;
    assert_reader_gets(&midge.lose_power().await, &["x"]).await;
}

// [MQTT-4.6.0-2]
#[tokio::test]
async fn what_is_lost_is_not_acknowledged_with_what_came_behind_it() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let midge = Midge::start_stored("").await;
        let mut writer = writer(&midge).await;
        midge.gate.close();
        let (mut bytes, unsubscribe) = (Vec::new(), unsubscribe(2));
        Packet::Publish(Publish { qos, ..exactly_once("x") }).encode(ProtocolVersion::V5, &mut bytes);
        unsubscribe.encode(ProtocolVersion::V5, &mut bytes);
        midge.gate.lose_after(1);
        writer.send_bytes(&bytes).await;
        midge.gate.until_waiting(1).await;
        midge.gate.open();
        writer.expect("DISCONNECT 0x97").await;
        writer.expect_closed().await;
        say_again(&midge, qos).await;
        assert_reader_gets(&midge.lose_power().await, &["x"]).await;
    }
}

fn unsubscribe(packet_id: u16) -> Packet<'static> {
    let filters = UnsubscribeFilters::from_list(&["nothing"]);
    Packet::Unsubscribe(Unsubscribe {
        packet_id: PacketId::new(packet_id).expect("not zero"),
        user_properties: Default::default(),
        filters,
    })
}

#[tokio::test]
async fn the_id_of_a_message_that_is_stored_nowhere_is_remembered_all_the_same() {
    let text = "[[store.rules]]\nfilter = \"memory\"\ndurability = \"memory\"\n";
    let midge = Midge::start_stored(text).await;
    let mut watcher = midge.join(v5("watcher")).await;
    watcher.subscribe("#", QoS::ExactlyOnce).await;
    let mut writer = midge.join(lasting("writer")).await;
    midge.gate.close();
    for (id, topic) in [(1, "memory"), (2, "nobody-stores-it")] {
        let packet_id = PacketId::new(id);
        writer.publish(Publish { packet_id, ..at(QoS::ExactlyOnce, topic, "x") }).await;
        watcher.expect(&format!("PUBLISH q2 {topic} 'x'")).await;
    }
    writer.ping().await;
    midge.gate.open();
    writer.expect("PUBREC #1 0x00").await;
    writer.expect("PUBREC #2 0x00").await;
    let midge = midge.kill().await;
    let mut watcher = midge.join(v5("watcher")).await;
    watcher.subscribe("#", QoS::ExactlyOnce).await;
    let mut writer = back(&midge, "writer").await;
    for (id, topic) in [(1, "memory"), (2, "nobody-stores-it")] {
        let packet_id = PacketId::new(id);
        writer.publish(Publish { packet_id, dup: true, ..at(QoS::ExactlyOnce, topic, "x") }).await;
        writer.expect(&format!("PUBREC #{id} 0x00")).await;
    }
    watcher.ping().await;
}

#[tokio::test]
async fn a_refused_message_leaves_no_id_behind() {
    let midge =
        Midge::start_stored("[limits]\nqueue_messages_max = 1\n[defaults]\non_queue_full = \"drop_newest\"").await;
    let mut writer = writer(&midge).await;
    assert_eq!(writer.offer(Publish { packet_id: PacketId::new(2), ..exactly_once("x") }).await, "0x00");
    assert_eq!(writer.offer(exactly_once("refused")).await, "0x97");
    let midge = midge.kill().await;
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 1).await, ["x"]);
    reader.ping().await;
    let mut writer = back(&midge, "writer").await;
    assert_eq!(writer.offer(exactly_once("y")).await, "0x00");
    assert_eq!(take(&mut reader, 1).await, ["y"]);
}
