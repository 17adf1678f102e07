//! How a client's losses are told: counted by cause, logged once a minute.

use std::time::Duration;

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
    assert!(last.contains("WARN") && last.contains("dropped=11") && last.contains("queued=0"), "{last}");
}
