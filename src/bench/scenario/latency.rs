//! latency: pairs whose messages leave by the clock.

use std::sync::Arc;
use std::time::Duration;

use super::SETTLE;
use super::flow::tell_span;
use super::load::{Load, LoadLane, Publishing};
use crate::bench::board::Count;
use crate::bench::conductor::{Conductor, Stop};
use crate::bench::pace::Pace;
use crate::bench::report::{LATENCY, SEND_LAG};
use crate::bench::topics::Topics;

/// What is asked for.
pub(super) struct Latency {
    pub(super) pairs: u32,
    /// Messages a second, of all pairs together.
    pub(super) rate: f64,
    pub(super) duration: Duration,
    pub(super) warmup: Duration,
    pub(super) is_spinning: bool,
}

/// From the decision to begin to the first message.
const AHEAD: u64 = 10_000_000;
/// A rate below this share of what was asked for is said.
const KEPT: f64 = 0.97;

pub(super) async fn run(conductor: &mut Conductor<'_>, asked: &Latency) {
    conductor.report.param("pairs", asked.pairs);
    conductor.report.param("rate", asked.rate);
    let lanes = (0..asked.pairs).map(|n| {
        let topic = conductor.topic(&format!("latency/{n}"));
        LoadLane::new(conductor, vec![topic.clone()], topic, 1, u64::MAX)
    });
    let load = Load::new(lanes.collect());
    let outcome = stream(conductor, &load, asked).await;
    conductor.conclude(outcome);
    conductor.report.distribution(LATENCY, &conductor.board.all_latencies());
    let lag = conductor.board.lag.lock().clone();
    conductor.report.distribution(SEND_LAG, &lag);
    load.tell_deliveries(conductor);
    let rate = conductor.report.figure("delivered_per_s").unwrap_or_default();
    if rate < KEPT * asked.rate {
        conductor.report.note(format!("of {:.0} messages a second, {rate:.0} came through in time", asked.rate));
    }
}

async fn stream(conductor: &mut Conductor<'_>, load: &Load, asked: &Latency) -> Result<(), Stop> {
    let total = ((asked.warmup + asked.duration).as_secs_f64() * asked.rate) as u64;
    let pace = Arc::new(Pace::new(asked.rate, total, asked.pairs as usize));
    let payload_bytes = conductor.plan.messages.payload_bytes;
    let publishing = Publishing {
        name: "p",
        count: None,
        retain: false,
        topics: Topics::One,
        payload_bytes,
        pace: Some(Arc::clone(&pace)),
    };
    load.subscribe(conductor).await?;
    load.connect_publishers(conductor, &publishing).await?;
    conductor.rest("settling", SETTLE).await?;

    // Between two messages nothing has to move.
    conductor.stall = conductor.stall.max(Duration::from_secs_f64(3.0 / asked.rate));
    let began = conductor.board.now() + AHEAD;
    let from = began + asked.warmup.as_nanos() as u64;
    let to = from + asked.duration.as_nanos() as u64;
    conductor.board.measure(from, to);
    let (board, is_spinning) = (Arc::clone(&conductor.board), asked.is_spinning);
    conductor.spawn(async move { Ok(pace.keep(board, began, is_spinning).await?) });
    conductor.until_moment("warming up", from).await?;
    let begin = conductor.mark();
    let outcome = conductor.until_moment("measuring", to).await;
    let end = conductor.mark();
    tell_span(conductor, &begin, &end, Duration::from_nanos(end.at - begin.at));
    outcome?;
    conductor.until("draining", |counts| counts[Count::Sent] >= total).await?;
    load.drain(conductor).await
}
