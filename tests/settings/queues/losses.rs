//! How a client's losses, and refusals for its full queue, are logged: with the cause, once a minute.

use std::num::NonZeroU32;
use std::time::Duration;

use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, Publish, QoS};

use super::away;
use crate::support::{Log, Midge, message, v5};

#[tokio::test]
async fn losses_are_logged_once_a_minute_and_client() {
    let log = Log::capture();
    let midge = Midge::start("[limits]\nqueue_messages_max = 1").await;
    for client in ["one", "two"] {
        away(&midge, client, "a").await;
    }
    let mut writer = midge.join(v5("writer")).await;
    let lines =
        |client: &str| log.lines("messages are lost").into_iter().filter(move |line| line.contains(client)).count();
    for _ in 0..10 {
        writer.offer(message("a", "x")).await;
    }
    assert_eq!((lines("client_id=\"one\""), lines("client_id=\"two\"")), (1, 1));
    midge.clock.advance(Duration::from_millis(59_999));
    writer.offer(message("a", "x")).await;
    assert_eq!(lines("one"), 1);
    midge.clock.advance(Duration::from_millis(1));
    writer.offer(message("a", "x")).await;
    writer.offer(message("a", "x")).await;
    assert_eq!((lines("one"), lines("two")), (2, 2));
    let last = log.lines("messages are lost").pop().expect("a line");
    for part in ["WARN", "cause=\"queue_full\"", "dropped=11", "dropped_in_all=11", "queued=0"] {
        assert!(last.contains(part), "{last}");
    }
}

#[tokio::test]
async fn the_line_of_a_loss_names_its_cause_and_what_nobody_can_help_has_none() {
    let log = Log::capture();
    let midge = Midge::start("").await;
    let properties = ConnectProperties { maximum_packet_size: NonZeroU32::new(60), ..Default::default() };
    let mut reader = midge.join(Connect { properties, ..v5("reader") }).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    away(&midge, "sleeper", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    writer.publish(Publish { qos: QoS::AtMostOnce, ..message("a", "x") }).await;
    writer.offer(message("a", &"x".repeat(100))).await;
    reader.expect("PUBLISH q0 a 'x'").await;
    reader.ping().await;
    let lines = log.lines("messages are lost");
    assert!(lines.len() == 1 && lines[0].contains("client_id=\"reader\" cause=\"too_large\" dropped=1"), "{lines:?}");
    assert_eq!(midge.dropped(DropCause::Offline), 1, "of the sleeper");
}

#[tokio::test]
async fn refusals_for_a_full_queue_have_a_line_of_their_own_and_are_no_loss() {
    for policy in ["refuse", "drop_newest"] {
        let log = Log::capture();
        let text = format!("[limits]\nqueue_messages_max = 1\n[defaults]\non_queue_full = \"{policy}\"");
        let midge = Midge::start(&text).await;
        away(&midge, "full", "a").await;
        let mut writer = midge.join(v5("writer")).await;
        for answer in ["0x00", "0x97", "0x97"] {
            assert_eq!(writer.offer(message("a", "x")).await, answer);
        }
        midge.clock.advance(Duration::from_secs(60));
        assert_eq!(writer.offer(message("a", "x")).await, "0x97");
        let lines = log.lines("messages are refused");
        assert!(lines.len() == 2 && lines[0].contains("WARN") && lines[0].contains("client_id=\"full\""), "{lines:?}");
        assert!(lines[0].contains("refused=1 queued=1") && lines[1].contains("refused=3"), "{lines:?}");
        assert!(log.lines("messages are lost").is_empty(), "{policy}");
    }
}
