//! The metrics of `/metrics`: [`families`] is the one place that says which there are.
//!
//! Two sets. `midge_…` and `process_…` are ours: counters end in `_total`, labels are few and bounded (listener,
//! protocol, qos, cause), never a client or a topic. `broker_…` are the `$SYS` topics under the names that the
//! mosquitto exporter gives them, so that dashboards made for it work without it.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::snapshot::{ListenerSnapshot, Snapshot};
use super::sys_topics::{self, SysValue};
use crate::message::DropCause;
use crate::net::census::Census;
use crate::packet::ProtocolVersion;
use crate::router::Counts;
use crate::store::StoreStatus;

/// What answers of `/metrics` are.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// One metric, with its values at one moment.
#[derive(Clone, Debug)]
pub struct Family {
    /// Of a counter without its `_total`.
    name: Cow<'static, str>,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: Vec<&'static str>,
    samples: Vec<Sample>,
}

/// Values of the labels, in their order, and the metric's.
type Sample = (Vec<Cow<'static, str>>, Value);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Count(u64),
    Measure(f64),
}

/// In the text format that Prometheus reads (OpenMetrics).
pub fn render(snapshot: &Snapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families(snapshot))));
    let mut page = String::new();
    // Writing into a string does not fail.
    let _ = text::encode(&mut page, &registry);
    page
}

/// All there is, in the order of the page.
pub fn families(snapshot: &Snapshot) -> Vec<Family> {
    let Snapshot { counts, census, listeners, .. } = snapshot;
    let groups = [
        traffic(counts),
        messages(counts),
        copies(counts, census),
        held(counts, census),
        connections(counts, census, listeners),
        stored(&snapshot.store),
        process(snapshot),
        exporter(snapshot),
    ];
    groups.into_iter().flatten().collect()
}

/// What comes and goes on the wire.
fn traffic(counts: &Counts) -> Vec<Family> {
    let received = [counts.received_qos0, counts.received_qos1, counts.received_qos2];
    let sent = [counts.sent_qos0, counts.sent_qos1, counts.sent_qos2];
    vec![
        counter("midge_packets_received", "Packets of all types received.").value(counts.packets_received),
        counter("midge_packets_sent", "Packets of all types sent.").value(counts.packets_sent),
        counter("midge_received_bytes", "Bytes received.").value(counts.bytes_received),
        counter("midge_sent_bytes", "Bytes sent.").value(counts.bytes_sent),
        counter("midge_publish_received", "PUBLISH packets received.").by_qos(received),
        counter("midge_publish_received_bytes", "Bytes of payload in PUBLISH packets received.")
            .value(counts.received_payload_bytes),
        counter("midge_publish_sent", "PUBLISH packets sent for the first time.").by_qos(sent),
        counter("midge_publish_sent_bytes", "Bytes of payload in PUBLISH packets sent for the first time.")
            .value(counts.sent_payload_bytes),
        counter("midge_publish_redelivered", "PUBLISH packets sent again after a reconnect.").value(counts.redelivered),
    ]
}

/// What became of messages as a whole.
fn messages(counts: &Counts) -> Vec<Family> {
    vec![
        counter("midge_messages_no_subscriber", "Messages that matched no subscription.").value(counts.no_subscriber),
        counter("midge_messages_refused", "Messages refused whole: their publisher was told, or disconnected.")
            .value(counts.refused_messages),
        counter("midge_messages_not_authorised", "Messages whose publisher was not allowed to publish them.")
            .value(counts.not_authorised),
    ]
}

/// The accounting: matched + recovered = delivered + inflight + unsent + queued + dropped + refused.
fn copies(counts: &Counts, census: &Census) -> Vec<Family> {
    let delivered = [counts.delivered_qos0, counts.delivered_qos1, counts.delivered_qos2];
    let dropped = DropCause::ALL.map(|cause| (cause.name(), counts.dropped[cause as usize]));
    vec![
        counter("midge_copies_matched", "Copies of messages, one for each matching session or shared group.")
            .value(counts.matched),
        counter("midge_copies_recovered", "Copies that were there when the broker started.").value(counts.recovered),
        counter("midge_copies_delivered", "Copies delivered: QoS 0 taken by the kernel, 1 PUBACKed, 2 PUBCOMPed.")
            .by_qos(delivered),
        counter("midge_copies_dropped", "Copies dropped.").by("cause", dropped),
        counter("midge_copies_refused", "Copies of messages that were refused whole.").value(counts.refused),
        gauge("midge_copies_inflight", "QoS 1 and 2 copies sent and not completely acknowledged.")
            .value(census.inflight),
        gauge("midge_copies_unsent", "QoS 0 copies that a socket has not taken yet.").value(census.unsent_qos0),
        gauge("midge_copies_queued", "Copies waiting in sessions and shared groups.").value(census.queued),
        gauge("midge_copies_queued_bytes", "Bytes of the copies waiting.").value(census.queued_bytes),
    ]
}

/// What the broker holds: sessions, subscriptions, retained messages.
fn held(counts: &Counts, census: &Census) -> Vec<Family> {
    vec![
        gauge("midge_sessions", "Sessions, connected or not.").value(census.sessions),
        counter("midge_sessions_expired", "Sessions that ended by their expiry.").value(counts.sessions_expired),
        gauge("midge_subscriptions", "Subscriptions that are not shared.").value(census.subscriptions),
        gauge("midge_shared_subscriptions", "Members of shared subscriptions.").value(census.shared_subscriptions),
        gauge("midge_retained_messages", "Retained messages, those of $SYS included.").value(census.retained),
        gauge("midge_retained_messages_bytes", "Bytes of the retained messages.").value(census.retained_bytes),
        counter("midge_retained_sent", "Retained messages sent for subscriptions.").value(counts.retained_sent),
        counter("midge_retained_expired", "Retained messages whose expiry passed.").value(counts.retained_expired),
    ]
}

/// What is kept on disk; all zero when nothing is.
fn stored(store: &StoreStatus) -> Vec<Family> {
    let is = |state| u64::from(store.health.name() == state);
    let health = ["good", "full", "failed"].map(|state| (state, is(state)));
    let (waiting, micros) = (store.appended.saturating_sub(store.synced), store.sync_micros);
    vec![
        gauge("midge_store_health", "Whether the store takes new state: 1 for what it is.").by("state", health),
        gauge("midge_store_files_bytes", "Bytes of the store's files.").value(store.bytes),
        gauge("midge_store_live_bytes", "Of them, those that are still needed.").value(store.live_bytes),
        gauge("midge_store_copies", "Copies in the store, waiting or in flight.").value(store.rows),
        gauge("midge_store_sessions", "Sessions in the store.").value(store.sessions),
        gauge("midge_store_retained_messages", "Retained messages in the store.").value(store.retained),
        counter("midge_store_records", "Changes that the store has taken.").value(store.appended),
        gauge("midge_store_records_waiting", "Of them, those that are not on disk yet.").value(waiting),
        counter("midge_store_syncs", "Times that the store has waited for the disk.").value(store.syncs),
        counter("midge_store_sync_seconds", "How long that took in all.").measure(micros as f64 / 1e6),
    ]
}

fn connections(counts: &Counts, census: &Census, listeners: &[ListenerSnapshot]) -> Vec<Family> {
    let by_listener = listeners.iter().map(|listener| (listener.name.to_string(), listener.connections));
    let clients = listeners.iter().flat_map(|listener| {
        let labels = |version| vec![listener.name.to_string().into(), protocol(version).into()];
        listener.clients.map(|(version, clients)| (labels(version), Value::Count(clients)))
    });
    vec![
        gauge("midge_sockets", "Network connections, closing ones included.").value(census.sockets),
        gauge("midge_connections", "Network connections, with or without a session.").by("listener", by_listener),
        gauge("midge_clients_connected", "Clients connected.").each(&["listener", "protocol"], clients.collect()),
        counter("midge_connections_accepted", "Network connections accepted.").value(counts.connections_accepted),
        counter("midge_connections_refused", "Network connections closed at once, for a limit of their listener.")
            .value(counts.connections_refused),
        counter("midge_handshakes_failed", "Network connections that ended in PROXY header, TLS or WebSocket.")
            .value(counts.handshakes_failed),
        counter("midge_connects_received", "CONNECT packets received.").value(counts.connects_received),
        counter("midge_connections_made", "CONNECT packets answered with success.").value(counts.connections_made),
        counter("midge_authentication_failures", "CONNECT packets refused by authentication.")
            .value(counts.authentication_failures),
        counter("midge_protocol_errors", "Connections closed for bytes that are no MQTT, or break its rules.")
            .value(counts.protocol_errors),
    ]
}

fn process(snapshot: &Snapshot) -> Vec<Family> {
    let stats = &snapshot.process;
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    vec![
        gauge("midge_build", "The version that runs.").by("version", version),
        gauge("midge_uptime_seconds", "Time since the broker started.").measure(snapshot.uptime.as_secs_f64()),
        counter("process_cpu_seconds", "CPU time used, user and system.").measure(stats.cpu_seconds),
        gauge("process_resident_memory_bytes", "Memory in RAM.").value(stats.resident_bytes),
        gauge("process_open_fds", "Open file descriptors.").value(stats.open_files),
        gauge("process_max_fds", "The most file descriptors that may be open.").value(stats.open_files_max),
    ]
}

/// Topics that the mosquitto exporter leaves out: not a number, or another name of one that is there.
const NOT_EXPORTED: [&str; 3] = ["broker/version", "broker/clients/active", "broker/clients/inactive"];

/// Gauges all of them, because an OpenMetrics counter would have to change its name.
fn exporter(snapshot: &Snapshot) -> Vec<Family> {
    sys_topics::topics(snapshot)
        .filter(|(topic, _)| !NOT_EXPORTED.contains(&topic.as_str()))
        .map(|(topic, value)| {
            let family = gauge(topic.replace(['/', ' '], "_"), "As in the $SYS topic of this name.");
            match value {
                SysValue::Seconds(n) | SysValue::Number(n) => family.value(n),
                SysValue::Average(average) => family.measure(average),
                SysValue::Version => family,
            }
        })
        .collect()
}

/// As the configuration writes it.
fn protocol(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V3 => "3.1",
        ProtocolVersion::V4 => "3.1.1",
        ProtocolVersion::V5 => "5",
    }
}

fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name: name.into(), kind: Kind::Counter, help, labels: Vec::new(), samples: Vec::new() }
}

fn gauge(name: impl Into<Cow<'static, str>>, help: &'static str) -> Family {
    Family { name: name.into(), kind: Kind::Gauge, help, labels: Vec::new(), samples: Vec::new() }
}

impl Family {
    /// As it stands on the page.
    pub fn name(&self) -> Cow<'_, str> {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name).into(),
            Kind::Gauge => (*self.name).into(),
        }
    }

    fn value(self, value: u64) -> Family {
        self.each(&[], vec![(Vec::new(), Value::Count(value))])
    }

    fn measure(self, value: f64) -> Family {
        self.each(&[], vec![(Vec::new(), Value::Measure(value))])
    }

    fn by_qos(self, values: [u64; 3]) -> Family {
        self.by("qos", ["0", "1", "2"].into_iter().zip(values))
    }

    fn by<L: Into<Cow<'static, str>>>(self, label: &'static str, values: impl IntoIterator<Item = (L, u64)>) -> Family {
        let samples = values.into_iter().map(|(of, value)| (vec![of.into()], Value::Count(value)));
        self.each(&[label], samples.collect())
    }

    fn each(self, labels: &[&'static str], samples: Vec<Sample>) -> Family {
        Family { labels: labels.to_vec(), samples, ..self }
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (of, value) in &self.samples {
            let labels: Vec<_> = self.labels.iter().copied().zip(of.iter().map(Cow::as_ref)).collect();
            if labels.is_empty() {
                self.encode_value(&mut encoder, *value)?;
            } else {
                self.encode_value(&mut encoder.encode_family(&labels)?, *value)?;
            }
        }
        Ok(())
    }

    fn encode_value(&self, encoder: &mut MetricEncoder<'_>, value: Value) -> fmt::Result {
        match (self.kind, value) {
            (Kind::Counter, Value::Count(count)) => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
            (Kind::Counter, Value::Measure(measure)) => encoder.encode_counter::<NoLabelSet, _, u64>(&measure, None),
            (Kind::Gauge, Value::Count(count)) => encoder.encode_gauge(&count),
            (Kind::Gauge, Value::Measure(measure)) => encoder.encode_gauge(&measure),
        }
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            family.encode(encoder.encode_descriptor(&family.name, family.help, None, kind)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn snapshot() -> Snapshot {
        let listener = ListenerSnapshot {
            name: "a \"quoted\" name".into(),
            connections: 7,
            clients: [(ProtocolVersion::V3, 1), (ProtocolVersion::V4, 2), (ProtocolVersion::V5, 3)],
        };
        Snapshot { listeners: vec![listener], ..Snapshot::default() }
    }

    #[test]
    fn every_count_has_a_metric_of_ours() {
        let (counts, numbers) = Counts::numbered(1_000_000);
        let page = render(&Snapshot { counts, ..Snapshot::default() });
        let ours: Vec<_> = page.lines().filter(|line| line.starts_with("midge_")).collect();
        for number in numbers {
            let found = ours.iter().filter(|line| line.ends_with(&format!(" {number}"))).count();
            assert_eq!(found, 1, "the counter that is {number}");
        }
    }

    #[test]
    fn names_are_unique_and_prefixed_and_labels_are_bounded() {
        let families = families(&snapshot());
        let names: HashSet<_> = families.iter().map(|family| family.name().into_owned()).collect();
        assert_eq!(names.len(), families.len());
        for family in &families {
            let prefixes = ["midge_", "process_", "broker_"];
            assert!(prefixes.iter().any(|prefix| family.name().starts_with(prefix)), "{}", family.name());
            assert!(!family.help.is_empty() && family.help.ends_with('.'), "{}", family.name());
            for label in &family.labels {
                assert!(["listener", "protocol", "qos", "cause", "state", "version"].contains(label), "{label}");
            }
        }
    }

    #[test]
    fn labels_are_escaped_and_counters_end_in_total() {
        let page = render(&snapshot());
        for line in [
            r#"midge_clients_connected{listener="a \"quoted\" name",protocol="3.1.1"} 2"#,
            r#"midge_copies_dropped_total{cause="queue_full"} 0"#,
            "# TYPE midge_copies_dropped counter",
            "# TYPE broker_retained_messages_count gauge",
            "broker_load_publish_received_1min 0.0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}
