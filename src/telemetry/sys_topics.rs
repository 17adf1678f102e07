//! The `$SYS/broker/…` topics by mosquitto's names and formulas, as retained QoS 2 messages of the broker's own.
//!
//! [`topics`] says what there is, [`SysTopics`] what has changed since it was published last. These messages exist in
//! memory only, and no client may publish here (`net::context::Access`). Where mosquitto counts messages in its store,
//! these are copies: retained, waiting, and in flight.

use std::collections::HashMap;
use std::fmt;

use super::history::{self, LOADS, MINUTES};
use super::snapshot::Snapshot;
use crate::message::{BrokerTime, Message, MessageParts, PublisherId};
use crate::topic::QoS;

const ROOT: &str = "$SYS/";

/// Displays as the payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SysValue {
    Version,
    Seconds(u64),
    Number(u64),
    Average(f64),
}

impl fmt::Display for SysValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SysValue::Version => write!(f, "midge version {}", env!("CARGO_PKG_VERSION")),
            SysValue::Seconds(seconds) => write!(f, "{seconds} seconds"),
            SysValue::Number(number) => write!(f, "{number}"),
            SysValue::Average(average) => write!(f, "{average:.2}"),
        }
    }
}

/// Every topic without `$SYS/`, and its value.
pub(crate) fn topics(snapshot: &Snapshot) -> impl Iterator<Item = (String, SysValue)> {
    let numbers = numbers(snapshot).into_iter().map(|(topic, number)| (topic, SysValue::Number(number)));
    [("version", SysValue::Version), ("uptime", SysValue::Seconds(snapshot.uptime.as_secs()))]
        .into_iter()
        .chain(numbers)
        .map(|(topic, value)| (format!("broker/{topic}"), value))
        .chain(loads(snapshot))
}

fn numbers(snapshot: &Snapshot) -> [(&'static str, u64); 27] {
    let Snapshot { counts, census, history, process, .. } = snapshot;
    let disconnected = census.sessions.saturating_sub(census.connected);
    let stored = census.retained + census.queued + census.inflight;
    [
        ("clients/total", census.sessions),
        ("clients/maximum", history.sessions_max.max(census.sessions)),
        ("clients/expired", counts.sessions_expired),
        ("clients/disconnected", disconnected),
        ("clients/inactive", disconnected),
        ("clients/connected", census.connected),
        ("clients/active", census.connected),
        ("messages/received", counts.packets_received),
        ("messages/sent", counts.packets_sent),
        ("messages/stored", stored),
        ("store/messages/count", stored),
        ("store/messages/bytes", census.retained_bytes + census.queued_bytes),
        ("subscriptions/count", census.subscriptions),
        ("shared_subscriptions/count", census.shared_subscriptions),
        ("retained messages/count", census.retained),
        ("heap/current", process.anonymous_bytes),
        ("heap/maximum", history.heap_max.max(process.anonymous_bytes)),
        ("bytes/received", counts.bytes_received),
        ("bytes/sent", counts.bytes_sent),
        ("publish/bytes/received", counts.received_payload_bytes),
        ("publish/bytes/sent", counts.sent_payload_bytes),
        ("publish/messages/dropped", history::publishes_dropped(counts)),
        ("publish/messages/received", history::publishes_received(counts)),
        ("publish/messages/sent", history::publishes_sent(counts)),
        ("packet/out/count", census.unsent_packets),
        ("packet/out/bytes", census.unsent_bytes),
        ("connections/socket/count", counts.connections_accepted),
    ]
}

fn loads(snapshot: &Snapshot) -> impl Iterator<Item = (String, SysValue)> {
    LOADS.iter().zip(snapshot.history.averages).flat_map(|((of, _), averages)| {
        let topic = move |minutes: u32| format!("broker/load/{of}/{minutes}min");
        MINUTES.into_iter().zip(averages).map(move |(minutes, average)| (topic(minutes), SysValue::Average(average)))
    })
}

/// What was published last.
#[derive(Default)]
pub(crate) struct SysTopics {
    published: HashMap<String, String>,
}

impl SysTopics {
    /// The messages to publish: at first all, then those that differ.
    pub(crate) fn update(&mut self, snapshot: &Snapshot) -> Vec<Message> {
        let mut changed = Vec::new();
        for (topic, value) in topics(snapshot) {
            let payload = value.to_string();
            if self.published.get(&topic) != Some(&payload) {
                changed.push(message(&topic, &payload));
                self.published.insert(topic, payload);
            }
        }
        changed
    }
}

fn message(topic: &str, payload: &str) -> Message {
    Message::new(&MessageParts {
        topic_prefix: ROOT,
        topic,
        forward: &[],
        payload: payload.as_bytes(),
        qos: QoS::ExactlyOnce,
        retain: true,
        expires_at: BrokerTime::NEVER,
        publisher: PublisherId::BROKER,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Snapshot {
        Snapshot { uptime: Duration::from_secs(secs), ..Snapshot::default() }
    }

    fn lines(messages: &[Message]) -> Vec<String> {
        messages.iter().map(|m| format!("{} {}", m.topic(), String::from_utf8_lossy(m.payload()))).collect()
    }

    #[test]
    fn every_topic_is_published_at_first_and_then_only_when_it_changes() {
        let mut topics = SysTopics::default();
        let first = lines(&topics.update(&at(0)));
        assert_eq!(first.len(), 2 + 27 + 27);
        let version = concat!("$SYS/broker/version midge version ", env!("CARGO_PKG_VERSION"));
        for line in [version, "$SYS/broker/uptime 0 seconds", "$SYS/broker/load/publish/dropped/15min 0.00"] {
            assert!(first.iter().any(|published| published == line), "{line}");
        }
        assert!(topics.update(&at(0)).is_empty());
        assert_eq!(lines(&topics.update(&at(10))), ["$SYS/broker/uptime 10 seconds"]);
    }

    #[test]
    fn messages_are_retained_qos_2_and_the_brokers_own() {
        for message in SysTopics::default().update(&at(0)) {
            assert!(message.retain() && message.qos() == QoS::ExactlyOnce && message.is_brokers_own());
        }
    }
}
