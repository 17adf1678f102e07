//! The queue of a shared group, which fills while no member can take more.

use midge::message::DropCause;
use midge::packet::{Publish, QoS};

use super::{assert_accounted, deliveries, lasting};
use crate::support::{Midge, message, v4, v5};

const TWO: &str = "[shared]\nqueue_messages_max = 2\n";

/// A group whose only member is away.
async fn away(midge: &Midge) {
    let mut member = midge.join(lasting("member")).await;
    member.subscribe("$share/g/a", QoS::AtLeastOnce).await;
    member.leave().await;
}

#[tokio::test]
async fn a_full_group_takes_no_more_and_tells_a_publisher_whom_nobody_could_serve() {
    let midge = Midge::start(TWO).await;
    away(&midge).await;
    let mut writer = midge.join(v5("writer")).await;
    for (payload, answer) in [("1", "0x00"), ("2", "0x00"), ("3", "0x97"), ("4", "0x97")] {
        assert_eq!(writer.offer(message("a", payload)).await, answer);
    }
    assert_eq!(midge.broker.counts().refused, 2);
    let mut member = midge.join(lasting("member")).await;
    assert_eq!(deliveries(&mut member).await, ["1", "2"]);
    assert_eq!(writer.offer(message("a", "5")).await, "0x00");
    assert_eq!(deliveries(&mut member).await, ["5"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_full_group_is_its_own_loss_where_another_gets_the_message() {
    let midge = Midge::start(TWO).await;
    away(&midge).await;
    let mut other = midge.join(v5("other")).await;
    other.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    for payload in ["1", "2", "3"] {
        assert_eq!(writer.offer(message("a", payload)).await, "0x00");
    }
    assert_eq!(midge.dropped(DropCause::Window), 1);
    assert_eq!(deliveries(&mut other).await, ["1", "2", "3"]);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_publisher_of_3x_is_closed() {
    let midge = Midge::start(TWO).await;
    away(&midge).await;
    let mut writer = midge.join(v4("writer")).await;
    for payload in ["1", "2"] {
        writer.offer(message("a", payload)).await;
    }
    writer.publish(message("a", "3")).await;
    writer.expect_closed().await;
}

#[tokio::test]
async fn messages_wait_for_a_window_too_and_bytes_are_bounded() {
    let midge = Midge::start("[limits]\ninflight_max = 1\n[shared]\nqueue_bytes_max = \"10KiB\"").await;
    let mut member = midge.join(v5("member")).await;
    member.subscribe("$share/g/a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    let large = "x".repeat(4000);
    for answer in ["0x00", "0x00", "0x00", "0x97"] {
        assert_eq!(writer.offer(message("a", &large)).await, answer);
    }
    assert_eq!(writer.offer(message("a", "small")).await, "0x00");
    for _ in 0..3 {
        let delivery = member.next().await;
        assert_eq!(delivery.publish().payload.len(), 4000);
        member.acknowledge(&delivery).await;
    }
    let small = member.expect("PUBLISH q1 a 'small'").await;
    member.acknowledge(&small).await;
    member.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn qos_0_does_not_wait_in_a_group() {
    let midge = Midge::start("").await;
    away(&midge).await;
    let mut writer = midge.join(v5("writer")).await;
    writer.publish(Publish { qos: QoS::AtMostOnce, ..message("a", "x") }).await;
    writer.ping().await;
    assert_eq!(midge.dropped(DropCause::Offline), 1);
    let mut member = midge.join(lasting("member")).await;
    assert_eq!(deliveries(&mut member).await, [""; 0]);
    assert_accounted(&midge);
}
