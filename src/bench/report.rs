//! What a run found: its outcome, figures by name, and notes.

use serde_json::{Map, Number, Value, json};

use super::histogram::Histogram;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything has come.
    Ok,
    /// There was nothing to measure: no connection, a refusal, a missing feature.
    Failed,
    /// Nothing moved any more.
    Stalled,
    /// The time allowed was over.
    Timeout,
    Loss,
    /// At QoS 0 or 2, messages came twice.
    Duplicates,
    /// The broker closed connections.
    Disconnected,
    /// The broker's process is gone.
    Crashed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Stalled => "stalled",
            Status::Timeout => "timeout",
            Status::Loss => "loss",
            Status::Duplicates => "duplicates",
            Status::Disconnected => "disconnected",
            Status::Crashed => "crashed",
        }
    }

    /// What a command exits with; 2 is for command lines that are not understood.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Ok => 0,
            Status::Failed => 1,
            Status::Stalled | Status::Timeout => 3,
            Status::Loss | Status::Duplicates => 4,
            Status::Disconnected | Status::Crashed => 5,
        }
    }
}

/// A figure that a run can have.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In JSON.
    pub name: &'static str,
    pub label: &'static str,
    pub unit: &'static str,
    pub meaning: &'static str,
}

const fn metric(name: &'static str, label: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric { name, label, unit, meaning }
}

/// All of them, in the order of the table.
pub const METRICS: &[Metric] = &[
    metric("delivered_per_s", "delivered", "/s", "messages that subscribers read"),
    metric("sent_per_s", "sent", "/s", "messages that publishers sent"),
    metric("mbytes_out_per_s", "read", "MB/s", "all bytes that came from the broker"),
    metric("connects_per_s", "connected", "/s", "connections up to the CONNACK"),
    metric("stored_per_s", "stored", "/s", "retained messages published, acknowledged at QoS 1 and 2"),
    metric("cycles_per_s", "lives", "/s", "clients that connected, got what they sent themselves, and left"),
    metric("replayed_per_s", "replayed", "/s", "retained messages that new subscriptions got"),
    metric("queued_per_s", "queued", "/s", "copies for subscribers that are away, when their message is acknowledged"),
    metric("drained_per_s", "drained", "/s", "copies that subscribers got when they came back"),
    metric("pings_per_s", "pings", "/s", "PINGREQ to PINGRESP, all clients at once"),
    metric("subscribes_per_s", "subscribed", "/s", "SUBSCRIBE to SUBACK"),
    metric("p50_us", "latency, median", "µs", "from due to read; in a closed loop it is window / rate"),
    metric("p99_us", "latency, 99 %", "µs", ""),
    metric("p999_us", "latency, 99.9 %", "µs", ""),
    metric("max_us", "latency, largest", "µs", ""),
    metric("mean_us", "latency, mean", "µs", ""),
    metric("samples", "latencies", "", "messages whose latency counts"),
    metric("send_lag_p50_us", "send lag, median", "µs", "from due to sent: this generator's part of the latency"),
    metric("send_lag_p99_us", "send lag, 99 %", "µs", ""),
    metric("send_lag_p999_us", "send lag, 99.9 %", "µs", ""),
    metric("send_lag_max_us", "send lag, largest", "µs", ""),
    metric("send_lag_mean_us", "send lag, mean", "µs", ""),
    metric("send_lag_samples", "send lags", "", ""),
    metric("connect_p50_us", "connect, median", "µs", "from the start of a connection to its CONNACK"),
    metric("connect_p99_us", "connect, 99 %", "µs", ""),
    metric("connect_p999_us", "connect, 99.9 %", "µs", ""),
    metric("connect_max_us", "connect, largest", "µs", ""),
    metric("connect_mean_us", "connect, mean", "µs", ""),
    metric("connect_samples", "connects", "", ""),
    metric("cycle_p50_us", "a life, median", "µs", "from the start of a connection to its end by the broker"),
    metric("cycle_p99_us", "a life, 99 %", "µs", ""),
    metric("cycle_p999_us", "a life, 99.9 %", "µs", ""),
    metric("cycle_max_us", "a life, longest", "µs", ""),
    metric("cycle_mean_us", "a life, mean", "µs", ""),
    metric("cycle_samples", "lives", "", "whose length counts"),
    metric("broker_cpu_us_per_msg", "broker CPU", "µs", "of the broker, for each message delivered"),
    metric("broker_cpu_us_per_in_or_out", "broker CPU", "µs", "for each message received or delivered"),
    metric("broker_cpu_us_per_connect", "broker CPU", "µs", "for each connection made"),
    metric("broker_cpu_us_per_cycle", "broker CPU", "µs", "for each life of a client"),
    metric("broker_cpu_us_per_ping", "broker CPU", "µs", "for each ping"),
    metric("store_cpu_us_per_msg", "broker CPU, storing", "µs", "for each retained message"),
    metric("replay_cpu_us_per_msg", "broker CPU, replaying", "µs", "for each retained message delivered"),
    metric("queue_cpu_us_per_msg", "broker CPU, queueing", "µs", "for each copy queued"),
    metric("drain_cpu_us_per_msg", "broker CPU, draining", "µs", "for each copy delivered"),
    metric("broker_cpu_s", "broker CPU", "s", "in the measured time"),
    metric("broker_cpu_util", "broker CPU", "CPUs", "1 is one CPU busy all the time"),
    metric("gen_cpu_us_per_msg", "generator CPU", "µs", "of this command, for each message delivered"),
    metric("gen_cpu_us_per_connect", "generator CPU", "µs", "of this command, for each connection made"),
    metric("gen_cpu_us_per_cycle", "generator CPU", "µs", "of this command, for each life of a client"),
    metric("gen_cpu_s", "generator CPU", "s", ""),
    metric("gen_cpu_util", "generator CPU", "CPUs", "near 1 for each thread, the generator may be the limit"),
    metric(
        "other_cpu_s",
        "other CPU",
        "s",
        "of other programs meanwhile: the more there is, the less rates and latencies tell",
    ),
    metric("elapsed_s", "measured", "s", ""),
    metric("connect_s", "connecting", "s", ""),
    metric("store_s", "storing", "s", ""),
    metric("replay_s", "replaying", "s", ""),
    metric("queue_s", "queueing", "s", ""),
    metric("drain_s", "draining", "s", ""),
    metric("rss_start_kb", "memory at the start", "KB", "resident memory of the broker"),
    metric("rss_end_kb", "memory at the end", "KB", ""),
    metric("rss_peak_kb", "memory at most", "KB", ""),
    metric("rss_per_connection_bytes", "memory", "bytes", "for each idle connection, on a freshly started broker"),
    metric("rss_per_message_bytes", "memory", "bytes", "for each retained message, on a freshly started broker"),
    metric("rss_per_queued_bytes", "memory", "bytes", "for each copy queued, on a freshly started broker"),
    metric("rss_per_subscription_bytes", "memory", "bytes", "for each subscription, on a freshly started broker"),
    metric("connected", "connected", "", "clients"),
    metric("failed", "failed", "", "clients that did not get through"),
    metric("lost_while_idle", "lost while idle", "", "connections that the broker closed"),
    metric("pongs", "pongs", "", "clients that answered the ping"),
    metric("sessions_present", "sessions", "", "that the broker had kept"),
    metric("cycles", "lives", "", "in the measured time"),
    metric("unfinished", "unfinished", "", "clients that did not get what they sent"),
    metric("sent", "sent", "", "messages, warm-up included"),
    metric("expected", "due", "", "deliveries: messages, times the subscribers that are due them"),
    metric("received", "received", "", "different ones"),
    metric("lost", "lost", "", "that did not come"),
    metric("duplicates", "duplicates", "", "that came again; allowed at QoS 1"),
    metric("reordered", "reordered", "", "that came after a later one of the same publisher"),
    metric("refused", "refused", "", "messages that the broker acknowledged with an error"),
    metric("foreign", "foreign", "", "messages that are not of this run, or not as they were sent"),
    metric("resent", "resent", "", "QoS 2 messages sent again before their release"),
    metric("stray_acks", "stray acks", "", "acknowledgements of nothing"),
    metric("slowest_subscriber", "slowest subscriber", "", "messages that it got"),
    metric("fastest_subscriber", "fastest subscriber", "", ""),
    metric("msgs_per_read", "messages a read", "", "many: this generator lags behind, or the broker batches"),
];

/// The figures of a distribution: half, 99 %, 99.9 %, the largest, the mean, how many.
pub(super) const LATENCY: [&str; 6] = ["p50_us", "p99_us", "p999_us", "max_us", "mean_us", "samples"];
pub(super) const SEND_LAG: [&str; 6] = [
    "send_lag_p50_us",
    "send_lag_p99_us",
    "send_lag_p999_us",
    "send_lag_max_us",
    "send_lag_mean_us",
    "send_lag_samples",
];
pub(super) const CONNECT_TIME: [&str; 6] =
    ["connect_p50_us", "connect_p99_us", "connect_p999_us", "connect_max_us", "connect_mean_us", "connect_samples"];

pub(super) const LIFE_TIME: [&str; 6] =
    ["cycle_p50_us", "cycle_p99_us", "cycle_p999_us", "cycle_max_us", "cycle_mean_us", "cycle_samples"];

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    pub scenario: &'static str,
    pub status: Status,
    /// Why it is not ok.
    pub detail: String,
    /// What it was run with.
    pub params: Vec<(&'static str, Value)>,
    figures: Vec<(&'static str, f64)>,
    pub notes: Vec<String>,
}

impl Report {
    pub(super) fn new(scenario: &'static str) -> Report {
        Report {
            scenario,
            status: Status::Ok,
            detail: String::new(),
            params: Vec::new(),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The first trouble is the status; what follows from it adds to the detail.
    pub(super) fn fail(&mut self, status: Status, detail: impl Into<String>) {
        if self.status == Status::Ok {
            self.status = status;
        }
        if !self.detail.is_empty() {
            self.detail += "; ";
        }
        self.detail += &detail.into();
    }

    pub(super) fn param(&mut self, name: &'static str, value: impl Into<Value>) {
        self.params.push((name, value.into()));
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A figure of [`METRICS`].
    pub(super) fn set(&mut self, name: &'static str, value: f64) {
        debug_assert!(METRICS.iter().any(|metric| metric.name == name), "{name} has no explanation");
        self.figures.retain(|(other, _)| *other != name);
        self.figures.push((name, rounded(value)));
    }

    /// The same when it is not zero.
    pub(super) fn set_some(&mut self, name: &'static str, value: u64) {
        if value > 0 {
            self.set(name, value as f64);
        }
    }

    /// A distribution of nanoseconds, told in µs.
    pub(super) fn distribution(&mut self, names: [&'static str; 6], histogram: &Histogram) {
        let micros = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let values = [
            micros(histogram.quantile(0.5)),
            micros(histogram.quantile(0.99)),
            micros(histogram.quantile(0.999)),
            micros(histogram.max()),
            histogram.mean() / 1e3,
            histogram.count() as f64,
        ];
        names.into_iter().zip(values).for_each(|(name, value)| self.set(name, value));
    }

    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// Those there are, in the order of [`METRICS`].
    pub fn figures(&self) -> impl Iterator<Item = (&'static Metric, f64)> {
        METRICS.iter().filter_map(|metric| Some((metric, self.figure(metric.name)?)))
    }

    pub fn json(&self) -> Value {
        let params: Map<_, _> = self.params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let metrics: Map<_, _> =
            self.figures.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(number(*value)))).collect();
        json!({
            "scenario": self.scenario,
            "status": self.status.name(),
            "detail": self.detail,
            "params": params,
            "metrics": metrics,
            "notes": self.notes,
        })
    }
}

/// A measurement has no more than six digits that mean something; whole numbers stay whole.
fn rounded(value: f64) -> f64 {
    match value {
        value if !value.is_finite() => 0.0,
        value if value.fract() == 0.0 || value.abs() >= 1e6 => value.round(),
        value => format!("{value:.5e}").parse().unwrap_or(value),
    }
}

fn number(value: f64) -> Number {
    match Number::from_f64(value) {
        Some(number) if value.fract() != 0.0 => number,
        _ => Number::from(value as i64),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn figures_keep_six_digits_and_whole_numbers_stay_whole() {
        let mut report = Report::new("pairs");
        for (value, text) in
            [(3.0, "3"), (0.123_456_78, "0.123457"), (12_345_678.9, "12345679"), (-1.5, "-1.5"), (f64::NAN, "0")]
        {
            report.set("p50_us", value);
            assert_eq!(report.json()["metrics"]["p50_us"].to_string(), text);
        }
    }

    #[test]
    fn the_first_trouble_is_the_status() {
        let mut report = Report::new("pairs");
        report.fail(Status::Stalled, "nothing moves");
        report.fail(Status::Loss, "3 are missing");
        assert_eq!((report.status.exit_code(), &*report.detail), (3, "nothing moves; 3 are missing"));
    }
}
