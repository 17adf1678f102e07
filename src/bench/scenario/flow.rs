//! The scenarios that go as fast as the broker does: fanout, fanin and pairs.

use std::time::Duration;

use super::SETTLE;
use super::load::{Load, LoadLane, Publishing};
use crate::bench::board::{Count, Last};
use crate::bench::conductor::{Conductor, Mark, Stop};
use crate::bench::plan::{Amount, Flow, Wildcard};
use crate::bench::report::LATENCY;
use crate::bench::topics::Topics;
use crate::packet::QoS;

pub(super) const WINDOW: u64 = 1000;
/// Of all pairs together.
const PAIRS_WINDOW: u64 = 8000;
const PAIR_WINDOW_MIN: u64 = 4;

pub(super) async fn fanout(conductor: &mut Conductor<'_>, publishers: u32, subscribers: u32, flow: Flow) {
    conductor.report.param("publishers", publishers);
    conductor.report.param("subscribers", subscribers);
    let topic = conductor.topic("fanout");
    let topics = vec![topic.clone(); publishers as usize];
    let window = flow.window.unwrap_or(WINDOW);
    let lane = LoadLane::new(conductor, topics, topic, subscribers, window);
    run(conductor, Load::new(vec![lane]), flow, Topics::One, window).await;
}

pub(super) async fn fanin(
    conductor: &mut Conductor<'_>,
    publishers: u32,
    subscribers: u32,
    is_shared: bool,
    flow: Flow,
) {
    conductor.report.param("publishers", publishers);
    conductor.report.param("subscribers", subscribers);
    conductor.report.param("shared", is_shared);
    let topics = (0..publishers).map(|n| conductor.topic(&format!("fanin/{n}"))).collect();
    let filter = conductor.topic("fanin/+");
    let window = flow.window.unwrap_or(WINDOW);
    let make = if is_shared { LoadLane::shared } else { LoadLane::new };
    let lane = make(conductor, topics, filter, subscribers, window);
    run(conductor, Load::new(vec![lane]), flow, Topics::One, window).await;
}

pub(super) async fn pairs(conductor: &mut Conductor<'_>, pairs: u32, wildcard: Option<Wildcard>, flow: Flow) {
    conductor.report.param("pairs", pairs);
    let window = flow.window.unwrap_or((PAIRS_WINDOW / u64::from(pairs.max(1))).clamp(PAIR_WINDOW_MIN, WINDOW));
    let lanes = (0..pairs).map(|n| {
        let topic = conductor.topic(&format!("pairs/{n}/value"));
        let filter = match wildcard {
            None => topic.clone(),
            Some(Wildcard::Plus) => conductor.topic(&format!("+/{n}/value")),
            Some(Wildcard::Hash) => conductor.topic(&format!("pairs/{n}/#")),
        };
        LoadLane::new(conductor, vec![topic], filter, 1, window)
    });
    let load = Load::new(lanes.collect());
    if let Some(wildcard) = wildcard {
        conductor.report.param("wildcard", if wildcard == Wildcard::Plus { "plus" } else { "hash" });
    }
    run(conductor, load, flow, Topics::One, window).await;
}

pub(super) async fn run(conductor: &mut Conductor<'_>, load: Load, flow: Flow, topics: Topics, window: u64) {
    conductor.report.param("window", window);
    if conductor.plan.messages.qos != QoS::AtMostOnce {
        conductor.report.param("inflight", conductor.plan.generator.inflight_max);
    }
    conductor.report.param("lasting", flow.is_lasting);
    let load = load.lasting(flow.is_lasting);
    let outcome = stream(conductor, &load, flow.amount, topics).await;
    load.close();
    conductor.conclude(outcome);
    conductor.report.distribution(LATENCY, &conductor.board.all_latencies());
    load.tell_deliveries(conductor);
}

async fn stream(conductor: &mut Conductor<'_>, load: &Load, amount: Amount, topics: Topics) -> Result<(), Stop> {
    let count = if let Amount::Messages(count) = amount { Some(count) } else { None };
    let payload_bytes = conductor.plan.messages.payload_bytes;
    let publishing = Publishing { name: "p", count, retain: false, topics, payload_bytes, pace: None };
    let before = conductor.mark();
    load.subscribe(conductor).await?;
    load.connect_publishers(conductor, &publishing).await?;
    conductor.rest("settling", SETTLE).await?;
    if let Topics::Tree(_) = topics {
        conductor.tell_memory(&before, "rss_per_subscription_bytes", load.subscriptions() as f64);
    }
    match amount {
        Amount::Messages(count) => send_all(conductor, load, count).await,
        Amount::Time { warmup, measured } => send_for(conductor, load, warmup, measured).await,
    }
}

/// From the first message to the last, and its acknowledgement.
async fn send_all(conductor: &mut Conductor<'_>, load: &Load, count: u64) -> Result<(), Stop> {
    let begin = conductor.mark();
    load.open();
    let sent = conductor.until("measuring", |counts| counts[Count::Sent] >= count).await;
    let outcome = match sent {
        Ok(()) => load.drain(conductor).await,
        stopped => stopped,
    };
    let last = conductor.board.last(Last::Received).max(conductor.board.last(Last::Acknowledged));
    let end = conductor.mark();
    let span = last.checked_sub(begin.at).filter(|_| outcome.is_ok()).unwrap_or(end.at - begin.at);
    tell_span(conductor, &begin, &end, Duration::from_nanos(span));
    outcome
}

async fn send_for(
    conductor: &mut Conductor<'_>,
    load: &Load,
    warmup: Duration,
    measured: Duration,
) -> Result<(), Stop> {
    let from = conductor.board.now() + warmup.as_nanos() as u64;
    conductor.board.measure(from, from + measured.as_nanos() as u64);
    load.open();
    conductor.until_moment("warming up", from).await?;
    let begin = conductor.mark();
    let outcome = conductor.until_moment("measuring", begin.at + measured.as_nanos() as u64).await;
    let end = conductor.mark();
    tell_span(conductor, &begin, &end, Duration::from_nanos(end.at - begin.at));
    outcome?;
    load.close();
    load.drain(conductor).await
}

/// Rates, and the CPU that they cost.
pub(super) fn tell_span(conductor: &mut Conductor<'_>, begin: &Mark, end: &Mark, span: Duration) {
    let counts = end.counts - begin.counts;
    let (sent, received) = (counts[Count::Sent] as f64, counts[Count::Received] as f64);
    let seconds = span.as_secs_f64().max(1e-9);
    conductor.tell_cpu(begin, end, ["broker_cpu_us_per_msg", "gen_cpu_us_per_msg"], received);
    conductor.note_limits();
    let report = &mut conductor.report;
    report.set("delivered_per_s", received / seconds);
    report.set("sent_per_s", sent / seconds);
    report.set("elapsed_s", seconds);
    report.set("mbytes_out_per_s", counts[Count::BytesReceived] as f64 / seconds / 1e6);
    if let Some(cpu) = report.figure("broker_cpu_s").filter(|_| sent + received > 0.0) {
        report.set("broker_cpu_us_per_in_or_out", cpu * 1e6 / (sent + received));
    }
}
