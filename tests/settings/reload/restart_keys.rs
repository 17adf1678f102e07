//! Keys that wait for a restart: after a reload the old value holds, as far as a client can see it. That the log names
//! each of them is shown in `tests/command_line.rs`.

use std::time::Duration;

use midge::message::DropCause;
use midge::packet::{Connect, ProtocolVersion, Publish, QoS};

use super::live_keys::Key;
use crate::queues::{away, deliveries, waiting};
use crate::support::{Midge, message, v5};

const fn key(name: &'static str, values: [&'static str; 2], beside: &'static str, seen: &'static str) -> Key {
    Key { name, values, beside, seen: [seen, seen] }
}

const KEYS: [Key; 16] = [
    key("limits.sessions_max", ["", "1"], "", "CONNACK 0x00, CONNACK 0x00"),
    key("limits.queue_messages_max", ["", "1"], "", "1 2 3"),
    key("limits.queue_bytes_max", ["", "1"], "", "1 2 3"),
    key("listener.on_queue_full", ["", "\"drop_newest\""], "limits.queue_messages_max = 1\n", "3"),
    key("listener.queue_qos0", ["", "true"], "", "1 dropped"),
    key("listener.connections_max", ["", "1"], "", "CONNACK 0x00, CONNACK 0x00"),
    key("listener.connect_rate", ["", "1"], "", "CONNACK 0x00, CONNACK 0x00"),
    key("listener.connect_timeout", ["\"10s\"", "\"1s\""], "", "CONNACK 0x00"),
    key("listener.transport", ["", "\"websocket\""], "", "CONNACK 0x00, CONNACK 0x00"),
    key("retained.messages_max", ["", "1"], "", "0x10 0x10"),
    key("retained.bytes_max", ["", "1"], "", "0x10 0x10"),
    key("shared.queue_messages_max", ["", "1"], "", "0x00 0x00"),
    key("shared.queue_bytes_max", ["", "1"], "", "0x00 0x00"),
    key("shared.strategy", ["", "\"sticky\""], "", "2 and 2"),
    key("sys.interval", ["0", "\"10s\""], "", "no topics"),
    key("admin.http", ["", "\"127.0.0.1:0\""], "", "None"),
];

#[tokio::test]
async fn keys_that_wait_for_a_restart_hold_as_before_after_a_reload() {
    let live = midge::config::live_keys();
    for key in &KEYS {
        assert!(!live.iter().any(|live| live == key.name), "{} is live", key.name);
        let mut midge = Midge::start(&key.file(key.values[0])).await;
        midge.reload(&key.file(key.values[1]), &[]).unwrap_or_else(|error| panic!("{}: {error}", key.name));
        assert_eq!(look(key.name, &midge).await, key.seen[1], "{}", key.name);
        // The new value is one that shows.
        let midge = Midge::start(&key.file(key.values[1])).await;
        if key.name != "listener.transport" {
            assert_ne!(look(key.name, &midge).await, key.seen[1], "{} after a restart", key.name);
        }
    }
}

/// What clients meet, of that which the key is about.
async fn look(key: &str, midge: &Midge) -> String {
    match key {
        "limits.sessions_max" | "listener.connections_max" | "listener.connect_rate" | "listener.transport" => {
            two_at_a_time(midge).await
        }
        "limits.queue_messages_max" | "limits.queue_bytes_max" | "listener.on_queue_full" => {
            away(midge, "reader", "a").await;
            for payload in ["1", "2", "3"] {
                midge.join(v5("writer")).await.offer(message("a", payload)).await;
            }
            waiting(midge, "reader").await.join(" ")
        }
        "listener.queue_qos0" => {
            away(midge, "reader", "a").await;
            let mut writer = midge.join(v5("writer")).await;
            writer.publish(Publish { qos: QoS::AtMostOnce, ..message("a", "x") }).await;
            writer.ping().await;
            format!("{} dropped", midge.dropped(DropCause::Offline))
        }
        "listener.connect_timeout" => two_seconds_late(midge).await,
        "retained.messages_max" | "retained.bytes_max" => {
            let retained = |topic| Publish { retain: true, ..message(topic, "x") };
            offers(midge, [retained("1"), retained("2")]).await
        }
        "shared.queue_messages_max" | "shared.queue_bytes_max" => {
            away(midge, "member", "$share/g/a").await;
            offers(midge, [message("a", "1"), message("a", "2")]).await
        }
        "shared.strategy" => shares(midge).await,
        "sys.interval" => {
            let mut client = midge.join(v5("a")).await;
            client.subscribe("$SYS/broker/uptime", QoS::AtMostOnce).await;
            midge.clock.advance(Duration::from_secs(20));
            let is_none = deliveries(&mut client).await.is_empty();
            if is_none { "no topics".into() } else { "topics".into() }
        }
        "admin.http" => format!("{:?}", midge.broker.admin_address().map(|address| address.ip())),
        other => panic!("nothing looks at {other}"),
    }
}

/// The answers to two clients, of which the first stays.
async fn two_at_a_time(midge: &Midge) -> String {
    let mut first = midge.dial(ProtocolVersion::V5).await;
    let mut second = midge.dial(ProtocolVersion::V5).await;
    let mut answers = Vec::new();
    for (client, client_id) in [(&mut first, "a"), (&mut second, "b")] {
        client.send(&midge::packet::Packet::Connect(v5(client_id))).await;
        answers.push(client.next_or_close().await.map_or("closed".into(), |answer| answer.to_string()));
    }
    answers.join(", ")
}

/// The answer to a client that says nothing for two seconds.
async fn two_seconds_late(midge: &Midge) -> String {
    let mut late = midge.dial(ProtocolVersion::V5).await;
    // A round trip: the connection is there when the clock moves.
    midge.join(v5("marker")).await.ping().await;
    midge.clock.advance(Duration::from_secs(2));
    midge.join(v5("marker")).await.ping().await;
    late.send(&midge::packet::Packet::Connect(v5("late"))).await;
    late.next_or_close().await.map_or("closed".into(), |answer| answer.to_string())
}

async fn offers(midge: &Midge, messages: [Publish<'_>; 2]) -> String {
    let mut writer = midge.join(v5("writer")).await;
    let mut answers = Vec::new();
    for message in messages {
        answers.push(writer.offer(message).await);
    }
    answers.join(" ")
}

/// How many of four messages each of two members gets.
async fn shares(midge: &Midge) -> String {
    let mut members = [midge.join(v5("a")).await, midge.join(Connect { keep_alive: 0, ..v5("b") }).await];
    for member in &mut members {
        member.subscribe("$share/g/a", QoS::AtLeastOnce).await;
    }
    let mut writer = midge.join(v5("writer")).await;
    for payload in ["1", "2", "3", "4"] {
        writer.offer(message("a", payload)).await;
    }
    let [a, b] = &mut members;
    format!("{} and {}", deliveries(a).await.len(), deliveries(b).await.len())
}
