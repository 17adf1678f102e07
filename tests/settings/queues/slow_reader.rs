//! A client that does not read: its socket fills, then its queue, and nobody else notices.

use midge::message::DropCause;
use midge::packet::{ProtocolVersion, Publish, QoS};

use super::{assert_accounted, deliveries, lasting};
use crate::support::{Client, Midge, message, v5};

const PAYLOAD_BYTES: usize = 60_000;

/// Messages that begin with their number.
fn numbered(n: usize) -> String {
    format!("{n:06}{}", "x".repeat(PAYLOAD_BYTES))
}

/// Fills the socket of a reader that does not read until `queued` messages wait for it; how many were published.
async fn fill(midge: &Midge, writer: &mut Client, qos: QoS, queued: u64) -> usize {
    for n in 0..2000 {
        writer.publish(Publish { qos, ..message("a", &numbered(n)) }).await;
        match qos {
            QoS::AtMostOnce => writer.ping().await,
            _ => drop(writer.expect(&format!("PUBACK #{} 0x00", n + 1)).await),
        }
        if midge.broker.accounting().queued >= queued {
            return n + 1;
        }
    }
    panic!("the system takes everything");
}

async fn narrow_reader(midge: &Midge, qos: QoS) -> Client {
    let mut reader = Client::dial_narrow(midge.broker.local_addresses()[0], ProtocolVersion::V5).await;
    reader.connect(lasting("reader")).await;
    reader.subscribe("a", qos).await;
    reader
}

/// Reads at last: these messages come, and nothing else.
async fn expect_numbers(reader: &mut Client, numbers: &[usize]) {
    for number in numbers {
        let delivery = reader.next().await;
        let publish = delivery.publish();
        assert_eq!(publish.payload[..6], *format!("{number:06}").as_bytes());
        if publish.qos == QoS::AtLeastOnce {
            reader.acknowledge(&delivery).await;
        }
    }
    reader.ping().await;
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_by_policy_and_the_rest_comes_in_order() {
    for (policy, qos) in
        [("drop_oldest", QoS::AtLeastOnce), ("drop_newest", QoS::AtLeastOnce), ("refuse", QoS::AtMostOnce)]
    {
        let text = format!("[limits]\nqueue_messages_max = 3\n[defaults]\non_queue_full = \"{policy}\"");
        let midge = Midge::start(&text).await;
        let mut reader = narrow_reader(&midge, qos).await;
        let mut other = midge.join(v5("other")).await;
        other.subscribe("b", QoS::AtLeastOnce).await;
        let mut writer = midge.join(v5("writer")).await;
        let waiting_from = fill(&midge, &mut writer, qos, 3).await - 3;
        for n in 0..2 {
            writer.publish(Publish { qos, ..message("a", &numbered(waiting_from + 3 + n)) }).await;
            writer.offer_or_pong(qos).await;
            // Nobody else notices.
            assert_eq!(writer.offer(message("b", "x")).await, "0x00");
            assert_eq!(deliveries(&mut other).await, ["x"]);
        }
        let mut expected: Vec<_> = (0..waiting_from + 5).collect();
        match policy {
            "drop_newest" => drop(expected.drain(waiting_from + 3..)),
            _ => drop(expected.drain(waiting_from..waiting_from + 2)),
        }
        expect_numbers(&mut reader, &expected).await;
        let lost = midge.dropped(DropCause::QueueFull) + midge.broker.counts().refused;
        assert_eq!(lost, 2, "{policy}");
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn bytes_are_bounded_however_many_messages_fit() {
    let midge = Midge::start("[limits]\nqueue_bytes_max = \"200KiB\"").await;
    let mut reader = narrow_reader(&midge, QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    let sent = fill(&midge, &mut writer, QoS::AtLeastOnce, 3).await;
    writer.offer(message("a", &numbered(sent))).await;
    assert_eq!((midge.broker.accounting().queued, midge.dropped(DropCause::QueueFull)), (3, 1));
    let mut expected: Vec<_> = (0..sent + 1).collect();
    expected.remove(sent - 3);
    expect_numbers(&mut reader, &expected).await;
}

#[tokio::test]
async fn disconnect_cuts_a_client_that_takes_no_more_words() {
    let text = "[limits]\nqueue_messages_max = 3\n[defaults]\non_queue_full = \"disconnect\"";
    let midge = Midge::start(text).await;
    let mut reader = narrow_reader(&midge, QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    let sent = fill(&midge, &mut writer, QoS::AtLeastOnce, 3).await;
    writer.offer(message("a", &numbered(sent))).await;
    while reader.next_or_partial().await {}
    let mut reader = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(reader.connect(lasting("reader")).await.to_string(), "CONNACK 0x00 present");
    let mut expected: Vec<_> = (0..sent + 1).collect();
    expected.remove(sent - 3);
    expect_numbers(&mut reader, &expected).await;
    assert_accounted(&midge);
}
