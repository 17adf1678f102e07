//! The queue of a session whose client is away, under each policy.

use midge::message::DropCause;
use midge::packet::{Publish, QoS};

use super::{assert_accounted, away, deliveries, waiting};
use crate::support::{Midge, message, v4, v5};

const THREE: &str = "[limits]\nqueue_messages_max = 3\n";

fn policy(name: &str) -> String {
    format!("{THREE}[defaults]\non_queue_full = \"{name}\"")
}

/// The answers to five messages, "1" to "5".
async fn offer_five(midge: &Midge) -> Vec<String> {
    let mut writer = midge.join(v5("writer")).await;
    let mut answers = Vec::new();
    for payload in ["1", "2", "3", "4", "5"] {
        answers.push(writer.offer(message("a", payload)).await);
    }
    answers
}

#[tokio::test]
async fn by_default_the_oldest_goes_and_the_publisher_is_not_bothered() {
    let midge = Midge::start(THREE).await;
    away(&midge, "reader", "a").await;
    assert_eq!(offer_five(&midge).await, ["0x00"; 5]);
    assert_eq!(midge.dropped(DropCause::QueueFull), 2);
    assert_eq!(waiting(&midge, "reader").await, ["3", "4", "5"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn drop_newest_keeps_what_waits_and_tells_a_publisher_whom_nobody_could_serve() {
    let midge = Midge::start(&policy("drop_newest")).await;
    away(&midge, "reader", "a").await;
    assert_eq!(offer_five(&midge).await, ["0x00", "0x00", "0x00", "0x97", "0x97"]);
    assert_eq!((midge.dropped(DropCause::QueueFull), midge.broker.counts().refused), (0, 2));
    assert_eq!(waiting(&midge, "reader").await, ["1", "2", "3"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn drop_newest_is_the_full_sessions_loss_where_another_gets_the_message() {
    let midge = Midge::start(&policy("drop_newest")).await;
    away(&midge, "reader", "a").await;
    let mut other = midge.join(v5("other")).await;
    other.subscribe("a", QoS::AtLeastOnce).await;
    assert_eq!(offer_five(&midge).await, ["0x00"; 5]);
    assert_eq!(midge.dropped(DropCause::QueueFull), 2);
    assert_eq!(deliveries(&mut other).await, ["1", "2", "3", "4", "5"]);
    assert_eq!(waiting(&midge, "reader").await, ["1", "2", "3"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn refuse_tells_the_publisher_why_and_nobody_gets_the_message() {
    let midge = Midge::start(&policy("refuse")).await;
    away(&midge, "reader", "a").await;
    let mut other = midge.join(v5("other")).await;
    other.subscribe("a", QoS::AtLeastOnce).await;
    assert_eq!(offer_five(&midge).await, ["0x00", "0x00", "0x00", "0x97", "0x97"]);
    let mut writer = midge.join(v5("writer")).await;
    writer.publish(Publish { qos: QoS::ExactlyOnce, ..message("a", "6") }).await;
    let pubrec = writer.expect("PUBREC #1 0x97").await;
    assert_eq!(pubrec.reason().as_deref(), Some("a subscriber's queue is full"));
    assert_eq!(deliveries(&mut other).await, ["1", "2", "3"]);
    assert_eq!(midge.broker.counts().refused_messages, 3);
    assert_eq!(waiting(&midge, "reader").await, ["1", "2", "3"]);
    // There is room again.
    assert_eq!(writer.offer(message("a", "7")).await, "0x00");
    assert_eq!(deliveries(&mut other).await, ["7"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_refused_message_leaves_the_retained_one_as_it_was() {
    let midge = Midge::start(&policy("refuse")).await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    for (payload, answer) in [("1", "0x00"), ("2", "0x00"), ("3", "0x00"), ("4", "0x97"), ("", "0x97")] {
        assert_eq!(writer.offer(Publish { retain: true, ..message("a", payload) }).await, answer);
    }
    let mut late = midge.join(v5("late")).await;
    late.subscribe("a", QoS::AtLeastOnce).await;
    late.expect("PUBLISH q1 retain a '3'").await;
}

#[tokio::test]
async fn a_refused_publisher_of_3x_gets_the_acknowledgements_that_are_due_and_is_closed() {
    for name in ["refuse", "drop_newest"] {
        let midge = Midge::start(&policy(name)).await;
        away(&midge, "reader", "a").await;
        let mut writer = midge.join(v4("writer")).await;
        let mut bytes = Vec::new();
        for (n, payload) in (1..).zip(["1", "2", "3", "4", "5"]) {
            let publish = Publish { packet_id: midge::packet::PacketId::new(n), ..message("a", payload) };
            midge::packet::Packet::Publish(publish).encode(midge::packet::ProtocolVersion::V4, &mut bytes);
        }
        writer.send_bytes(&bytes).await;
        for ack in ["PUBACK #1", "PUBACK #2", "PUBACK #3"] {
            writer.expect(ack).await;
        }
        writer.expect_closed().await;
        assert_eq!(midge.broker.counts().refused_messages, 1);
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn disconnect_drops_the_oldest_where_there_is_nobody_to_disconnect() {
    let midge = Midge::start(&policy("disconnect")).await;
    away(&midge, "reader", "a").await;
    assert_eq!(offer_five(&midge).await, ["0x00"; 5]);
    assert_eq!(waiting(&midge, "reader").await, ["3", "4", "5"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let midge = Midge::start("[limits]\nqueue_bytes_max = \"10KiB\"").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    let (large, too_large) = ("x".repeat(4000), "x".repeat(11_000));
    for payload in ["first", &large, &large, "last"] {
        assert_eq!(writer.offer(message("a", payload)).await, "0x00");
    }
    assert_eq!(midge.dropped(DropCause::QueueFull), 0);
    assert_eq!(writer.offer(message("a", &large)).await, "0x00");
    assert_eq!(midge.dropped(DropCause::QueueFull), 2);
    // What would not fit into an empty queue pushes nothing out.
    assert_eq!(writer.offer(message("a", &too_large)).await, "0x97");
    assert_eq!(waiting(&midge, "reader").await, [&large[..], "last", &large]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn qos_0_does_not_wait_for_a_client_that_is_away() {
    let midge = Midge::start("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    writer.publish(Publish { qos: QoS::AtMostOnce, ..message("a", "0") }).await;
    writer.offer(message("a", "1")).await;
    assert_eq!(midge.dropped(DropCause::Offline), 1);
    assert_eq!(waiting(&midge, "reader").await, ["1"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn qos_0_waits_where_the_configuration_says_so_and_gives_way_to_what_was_promised() {
    for policy in ["drop_oldest", "drop_newest", "refuse", "disconnect"] {
        let text = format!("{THREE}[defaults]\nqueue_qos0 = true\non_queue_full = \"{policy}\"");
        let midge = Midge::start(&text).await;
        away(&midge, "reader", "a").await;
        let mut writer = midge.join(v5("writer")).await;
        let casual = |payload| Publish { qos: QoS::AtMostOnce, ..message("a", payload) };
        for payload in ["c1", "c2", "c3", "c4"] {
            writer.publish(casual(payload)).await;
        }
        writer.ping().await;
        assert_eq!(midge.dropped(DropCause::QueueFull), 1, "{policy}");
        assert_eq!(writer.offer(message("a", "p1")).await, "0x00", "{policy}");
        assert_eq!(writer.offer(message("a", "p2")).await, "0x00", "{policy}");
        writer.publish(casual("c5")).await;
        writer.offer(message("elsewhere", "marker")).await;
        assert_eq!(midge.dropped(DropCause::QueueFull), 4, "{policy}");
        assert_eq!(waiting(&midge, "reader").await, ["p1", "p2", "c5"], "{policy}");
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn qos_0_never_displaces_what_was_promised() {
    let text = format!("{THREE}[defaults]\nqueue_qos0 = true");
    let midge = Midge::start(&text).await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    for payload in ["1", "2", "3"] {
        writer.offer(message("a", payload)).await;
    }
    writer.publish(Publish { qos: QoS::AtMostOnce, ..message("a", "0") }).await;
    writer.ping().await;
    assert_eq!(midge.dropped(DropCause::QueueFull), 1);
    assert_eq!(waiting(&midge, "reader").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn the_policy_is_that_of_the_listener_the_session_was_made_on() {
    let text = format!(
        "{THREE}[[listener]]\nname = \"strict\"\naddress = \"127.0.0.1:0\"\non_queue_full = \"refuse\"\n\
         [[listener]]\nname = \"lax\"\naddress = \"127.0.0.2:0\"\n"
    );
    let midge = Midge::start(&text).await;
    away(&midge, "strict", "a").await;
    let mut lax = midge.door(1).join(super::lasting("lax")).await;
    lax.subscribe("b", QoS::AtLeastOnce).await;
    lax.leave().await;
    let mut writer = midge.door(1).join(v5("writer")).await;
    for (topic, last) in [("a", "0x97"), ("b", "0x00")] {
        for answer in ["0x00", "0x00", "0x00", last] {
            assert_eq!(writer.offer(message(topic, "x")).await, answer);
        }
    }
}
