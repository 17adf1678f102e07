//! A store that is full, broken or busy: who is told what, and what goes on.

use midge::message::DropCause;
use midge::packet::{Connect, Packet, PacketId, ProtocolVersion, Publish, QoS};
use midge::store::Health;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{at, back, take};
use crate::queues::{assert_accounted, away, lasting};
use crate::support::{Midge, message, v4, v5};

fn full() -> Health {
    Health::Full("no space is left".into())
}

fn failed() -> Health {
    Health::Failed("fdatasync: input/output error".into())
}

#[tokio::test]
async fn a_full_store_refuses_the_publisher_with_a_reason_and_takes_more_when_there_is_room() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    midge.gate.set_health(full());
    writer.publish(message("a", "1")).await;
    let puback = writer.expect("PUBACK #1 0x97").await;
    assert_eq!(puback.reason().as_deref(), Some("the store is full"));
    writer.publish(at(QoS::ExactlyOnce, "a", "2")).await;
    writer.expect("PUBREC #2 0x97").await;
    midge.gate.set_health(Health::Good);
    assert_eq!(writer.offer(message("a", "3")).await, "0x00");
    assert_eq!((midge.broker.counts().refused_messages, midge.broker.counts().refused), (2, 2));
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 1).await, ["3"]);
    reader.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_refused_publisher_of_3x_gets_what_is_due_and_is_closed() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    for connect in [v4("writer"), Connect { clean_start: false, ..v4("writer") }] {
        let mut writer = midge.join(connect).await;
        midge.gate.close();
        writer.publish(message("a", "1")).await;
        midge.gate.until_waiting(1).await;
        midge.gate.set_health(full());
        writer.publish(message("a", "2")).await;
        // The connection does not outlive the refusal, but what was taken before it is acknowledged when it is safe.
        midge.join(v5("census")).await.leave().await;
        midge.gate.open();
        writer.expect("PUBACK #1").await;
        writer.expect_closed().await;
        midge.gate.set_health(Health::Good);
    }
    assert_eq!(midge.broker.counts().refused_messages, 2);
    assert_accounted(&midge);
}

#[tokio::test]
async fn qos_0_is_nothing_to_a_full_store() {
    let midge = Midge::start_stored("").await;
    let mut reader = midge.join(lasting("reader")).await;
    reader.subscribe("a", QoS::ExactlyOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    midge.gate.set_health(full());
    writer.publish(at(QoS::AtMostOnce, "a", "casual")).await;
    reader.expect("PUBLISH q0 a 'casual'").await;
    // What was to be retained is refused as a whole, and counted.
    writer.publish(Publish { retain: true, ..at(QoS::AtMostOnce, "a", "kept") }).await;
    writer.ping().await;
    reader.ping().await;
    assert_eq!((midge.broker.counts().refused_messages, midge.broker.counts().refused), (1, 1));
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_full_store_takes_no_new_session_and_no_new_subscription_and_lets_its_sessions_empty_their_queues() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        writer.offer(at(qos, "a", "waits")).await;
    }
    midge.gate.set_health(full());
    let refused = midge.refuse(lasting("stranger")).await;
    assert_eq!(refused.to_string(), "CONNACK 0x97");
    assert_eq!(refused.reason().as_deref(), Some("the store is full"));
    assert_eq!(midge.refuse(Connect { clean_start: false, ..v4("other") }).await.to_string(), "CONNACK 3");
    midge.join(v5("passing")).await.ping().await;
    let mut reader = back(&midge, "reader").await;
    assert_eq!(take(&mut reader, 2).await, ["waits", "waits"]);
    reader.ping().await;
    assert_eq!(midge.gate.rows(), 0);
    let suback = reader.subscribe_all(&[("b", Default::default())]).await;
    assert!(suback.to_string().ends_with(" 0x97"), "{suback}");
    assert_eq!(suback.reason().as_deref(), Some("the store is full"));
    assert_eq!(reader.unsubscribe("a").await, "0x00");
    midge.gate.set_health(Health::Good);
    assert_eq!(reader.subscribe("b", QoS::AtLeastOnce).await, "0x01");
    midge.join(lasting("stranger")).await.ping().await;
    assert_accounted(&midge);
    let midge = midge.kill().await;
    back(&midge, "stranger").await.ping().await;
}

#[tokio::test]
async fn a_session_that_was_refused_is_not_there_and_one_that_was_there_stays() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    midge.gate.set_health(failed());
    // A clean start as well: the store could not forget what was there.
    for connect in [lasting("reader"), lasting("stranger"), v5("reader")] {
        assert_eq!(midge.refuse(connect).await.to_string(), "CONNACK 0x97");
    }
    midge.join(v5("passing")).await.ping().await;
    midge.gate.set_health(Health::Good);
    back(&midge, "reader").await.ping().await;
    let mut stranger = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(stranger.connect(lasting("stranger")).await.to_string(), "CONNACK 0x00");
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_broken_store_refuses_what_must_be_kept_and_lets_everything_else_go_on() {
    let text = "[[store.rules]]\nfilter = \"memory\"\ndurability = \"memory\"\n[limits]\nqueue_messages_max = 10000\n";
    let midge = Midge::start_stored(text).await;
    away(&midge, "reader", "#").await;
    super::offer_numbered(&midge, "a", 0..1200).await;
    let mut reader = back(&midge, "reader").await;
    let mut writer = midge.join(v5("writer")).await;
    let mut watcher = midge.join(v5("watcher")).await;
    watcher.subscribe("#", QoS::ExactlyOnce).await;
    midge.gate.set_health(failed());
    writer.publish(message("a", "durable")).await;
    assert_eq!(writer.expect("PUBACK #1 0x97").await.reason().as_deref(), Some("the store has failed"));
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(writer.offer(at(qos, "memory", "goes on")).await, "0x00");
        watcher.expect(&format!("PUBLISH q{} memory 'goes on'", qos as u8)).await;
    }
    // What is there is read.
    assert_eq!(take(&mut reader, 1200).await, super::numbered(0..1200));
    midge.join(v5("passing")).await.ping().await;
}

#[tokio::test]
async fn readyz_turns_red_when_the_store_has_failed_and_not_when_it_is_full() {
    let midge = Midge::start_stored("[admin]\nhttp = \"127.0.0.1:0\"").await;
    for (health, status) in [(Health::Good, "200"), (full(), "200"), (failed(), "503")] {
        midge.gate.set_health(health);
        let address = midge.broker.admin_address().expect("an admin server");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let request = "GET /readyz HTTP/1.1\r\nHost: midge\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn the_end_of_a_retained_message_is_refused_by_a_broken_store() {
    let midge = Midge::start_stored("").await;
    let mut writer = midge.join(v5("writer")).await;
    let kept = |payload| Publish { retain: true, ..message("a", payload) };
    assert_eq!(writer.offer(kept("1")).await, "0x10");
    midge.gate.set_health(failed());
    assert_eq!(writer.offer(kept("")).await, "0x97");
    let mut late = midge.join(v5("late")).await;
    late.subscribe("a", QoS::AtMostOnce).await;
    late.expect("PUBLISH q0 retain a '1'").await;
}

#[tokio::test]
async fn a_lasting_publishers_qos_2_is_refused_before_anybody_has_it() {
    let midge = Midge::start_stored("").await;
    let mut watcher = midge.join(v5("watcher")).await;
    watcher.subscribe("#", QoS::ExactlyOnce).await;
    let mut writer = midge.join(lasting("writer")).await;
    midge.gate.set_health(failed());
    writer.publish(at(QoS::ExactlyOnce, "a", "x")).await;
    writer.expect("PUBREC #1 0x97").await;
    watcher.ping().await;
    assert_eq!((midge.broker.counts().refused_messages, midge.broker.counts().refused), (1, 1));
    assert_accounted(&midge);
}

#[tokio::test]
async fn while_the_store_is_busy_publish_waits_and_nothing_else_does() {
    for connect in [v4("writer"), v5("writer")] {
        let midge = Midge::start_stored("").await;
        let mut reader = midge.join(lasting("reader")).await;
        reader.subscribe("a", QoS::AtLeastOnce).await;
        let mut writer = midge.join(connect).await;
        writer.offer(message("a", "0")).await;
        let delivery = reader.expect("PUBLISH q1 a '0'").await;
        midge.gate.set_busy(true);
        writer.ping().await;
        writer.publish(message("a", "1")).await;
        writer.publish(message("a", "2")).await;
        reader.acknowledge(&delivery).await;
        reader.ping().await;
        assert_eq!(midge.broker.counts().received_qos1, 1);
        midge.gate.set_busy(false);
        for expected in ["PUBACK #2", "PUBACK #3"] {
            let received = writer.next().await.to_string();
            assert!(received.starts_with(expected) && !received.ends_with("0x97"), "{received}");
        }
        assert_eq!(take(&mut reader, 2).await, ["1", "2"]);
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn a_store_that_is_busy_when_a_large_packet_is_whole_takes_it_later() {
    for connect in [v4("writer"), v5("writer"), lasting("writer")] {
        let midge = Midge::start_stored("").await;
        away(&midge, "reader", "a").await;
        let mut writer = midge.join(connect).await;
        midge.gate.surprise(3);
        writer.publish(at(QoS::ExactlyOnce, "a", &"x".repeat(300_000))).await;
        let received = writer.next().await.to_string();
        assert!(["PUBREC #1", "PUBREC #1 0x00"].contains(&&*received), "{received}");
        assert_eq!((midge.broker.counts().received_qos2, midge.gate.rows()), (1, 1));
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn a_store_that_becomes_busy_in_the_middle_of_a_read_refuses_nothing() {
    for connect in [v4("writer"), v5("writer"), lasting("writer")] {
        let midge = Midge::start_stored("").await;
        away(&midge, "reader", "a").await;
        let version = connect.version;
        let mut writer = midge.join(connect).await;
        midge.gate.be_busy_after(2);
        let mut bytes = Vec::new();
        for n in 1..=5u16 {
            let payload = n.to_string();
            let qos = if n % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            let publish = Publish { packet_id: PacketId::new(n), ..at(qos, "a", &payload) };
            Packet::Publish(publish).encode(version, &mut bytes);
        }
        writer.send_bytes(&bytes).await;
        for expected in ["PUBACK #1", "PUBREC #2"] {
            assert!(writer.next().await.to_string().starts_with(expected));
        }
        midge.join(v5("census")).await.leave().await;
        midge.gate.set_busy(false);
        for expected in ["PUBACK #3", "PUBREC #4", "PUBACK #5"] {
            let received = writer.next().await.to_string();
            assert!(received.starts_with(expected) && !received.ends_with("0x97"), "{received}");
        }
        let counts = midge.broker.counts();
        assert_eq!((counts.received_qos1, counts.received_qos2, counts.refused_messages), (3, 2, 0));
        let mut reader = back(&midge, "reader").await;
        assert_eq!(take(&mut reader, 5).await, ["1", "2", "3", "4", "5"]);
        assert_eq!(midge.dropped(DropCause::StoreFailed), 0);
        assert_accounted(&midge);
    }
}
