//! retained: messages are stored, each on a topic of its own, and replayed to those who subscribe.

use std::time::Duration;

use super::SETTLE;
use super::load::{Load, LoadLane, Publishing};
use crate::bench::board::{Count, Last};
use crate::bench::conductor::{Conductor, Stop};
use crate::bench::topics::{TOPIC_DIGITS, Topics};
use crate::packet::QoS;

pub(super) async fn run(conductor: &mut Conductor<'_>, count: u64, subscribers: u32, settle: Duration) {
    conductor.report.param("messages", count);
    conductor.report.param("subscribers", subscribers);
    // From due to read is how long they were kept: no latency.
    conductor.board.measure(0, 0);
    let topic = conductor.topic(&format!("retained/{}", "0".repeat(TOPIC_DIGITS)));
    let filter = conductor.topic("retained/+");
    let lane = LoadLane::new(conductor, vec![topic], filter, subscribers, u64::MAX);
    let load = Load::unordered(vec![lane]);
    let outcome = store_and_replay(conductor, &load, count, settle).await;
    conductor.conclude(outcome);
    load.tell_deliveries(conductor);
    if let Err(stop) = clear(conductor, count).await {
        conductor.report.note(format!("could not remove the retained messages: {}", stop.detail));
    }
}

async fn store_and_replay(
    conductor: &mut Conductor<'_>,
    load: &Load,
    count: u64,
    settle: Duration,
) -> Result<(), Stop> {
    let payload_bytes = conductor.plan.messages.payload_bytes;
    store(conductor, load, count, payload_bytes, settle).await?;
    replay(conductor, load).await
}

async fn store(
    conductor: &mut Conductor<'_>,
    load: &Load,
    count: u64,
    payload_bytes: usize,
    settle: Duration,
) -> Result<(), Stop> {
    let publishing =
        Publishing { name: "p", count: Some(count), retain: true, topics: Topics::Numbered, payload_bytes, pace: None };
    load.connect_publishers(conductor, &publishing).await?;
    let begin = conductor.mark();
    load.open();
    publish_all(conductor, "storing", count).await?;
    let end = conductor.mark();
    let last = conductor.board.last(Last::Acknowledged).max(conductor.board.last(Last::Pong));
    let seconds = last.saturating_sub(begin.at) as f64 / 1e9;
    conductor.report.set("stored_per_s", count as f64 / seconds);
    conductor.report.set("store_s", seconds);
    conductor.tell_cpu_each(&begin, &end, "store_cpu_us_per_msg", count as f64);
    conductor.rest("settling", settle.max(SETTLE)).await?;
    conductor.tell_memory(&begin, "rss_per_message_bytes", count as f64);
    Ok(())
}

/// Waits until the broker has taken all messages: at QoS 0, when it answers a ping that came after them.
async fn publish_all(conductor: &mut Conductor<'_>, phase: &'static str, count: u64) -> Result<(), Stop> {
    if conductor.plan.messages.qos != QoS::AtMostOnce {
        return conductor.until(phase, |counts| counts[Count::Acknowledged] >= count).await;
    }
    conductor.until(phase, |counts| counts[Count::Sent] >= count).await?;
    conductor.ping_all();
    conductor.until(phase, |counts| counts[Count::Pongs] >= 1).await
}

async fn replay(conductor: &mut Conductor<'_>, load: &Load) -> Result<(), Stop> {
    let begin = conductor.mark();
    load.subscribe(conductor).await?;
    load.drain_and_tell(conductor, &begin, ["replayed_per_s", "replay_s", "replay_cpu_us_per_msg"]).await
}

/// An empty retained message takes the place of each one.
async fn clear(conductor: &mut Conductor<'_>, count: u64) -> Result<(), Stop> {
    let topic = conductor.topic(&format!("retained/{}", "0".repeat(TOPIC_DIGITS)));
    let filter = topic.clone();
    let load = Load::new(vec![LoadLane::new(conductor, vec![topic], filter, 0, u64::MAX)]);
    let before = conductor.board.counts();
    let publishing = Publishing {
        name: "c",
        count: Some(count),
        retain: true,
        topics: Topics::Numbered,
        payload_bytes: 0,
        pace: None,
    };
    load.connect_publishers(conductor, &publishing).await?;
    load.open();
    let what = if conductor.plan.messages.qos == QoS::AtMostOnce { Count::Sent } else { Count::Acknowledged };
    let target = before[what] + count;
    conductor.until("clearing", move |counts| counts[what] >= target).await
}
