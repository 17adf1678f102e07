//! offline: sessions collect messages while their clients are absent; then the clients come back for them.

use std::time::Duration;

use super::SETTLE;
use super::load::{Load, LoadLane, Publishing};
use crate::bench::board::{Count, Last};
use crate::bench::conductor::{Conductor, Stop};
use crate::bench::subscriber::Subscriber;
use crate::bench::topics::Topics;

pub(super) async fn run(
    conductor: &mut Conductor<'_>,
    publishers: u32,
    subscribers: u32,
    count: u64,
    settle: Duration,
) {
    conductor.report.param("publishers", publishers);
    conductor.report.param("subscribers", subscribers);
    conductor.report.param("messages", count);
    conductor.report.param("inflight", conductor.plan.generator.inflight_max);
    // They wait on purpose: no latency.
    conductor.board.measure(0, 0);
    let topic = conductor.topic("offline");
    let topics = vec![topic.clone(); publishers as usize];
    let load = Load::new(vec![LoadLane::new(conductor, topics, topic, subscribers, u64::MAX)]);
    let sleepers = load.make_subscribers(conductor, true);
    let outcome = leave_and_return(conductor, &load, &sleepers, count, settle).await;
    conductor.conclude(outcome);
    load.tell_deliveries(conductor);
}

async fn leave_and_return(
    conductor: &mut Conductor<'_>,
    load: &Load,
    sleepers: &[Subscriber],
    count: u64,
    settle: Duration,
) -> Result<(), Stop> {
    let all = load.subscribers();
    for sleeper in sleepers {
        conductor.spawn(sleeper.clone().subscribe_and_leave());
    }
    conductor.until("subscribing", |counts| counts[Count::Ended] >= all).await?;
    let payload_bytes = conductor.plan.messages.payload_bytes;
    let publishing =
        Publishing { name: "p", count: Some(count), retain: false, topics: Topics::One, payload_bytes, pace: None };
    load.connect_publishers(conductor, &publishing).await?;
    conductor.rest("settling", SETTLE).await?;
    queue(conductor, load, count).await?;
    conductor.rest("settling", settle).await?;
    come_back(conductor, load, sleepers).await
}

async fn queue(conductor: &mut Conductor<'_>, load: &Load, count: u64) -> Result<(), Stop> {
    let begin = conductor.mark();
    load.open();
    conductor.until("queueing", |counts| counts[Count::Acknowledged] >= count).await?;
    let end = conductor.mark();
    let copies = (count * load.subscribers()) as f64;
    let seconds = conductor.board.last(Last::Acknowledged).saturating_sub(begin.at) as f64 / 1e9;
    conductor.report.set("queued_per_s", copies / seconds);
    conductor.report.set("queue_s", seconds);
    conductor.tell_cpu_each(&begin, &end, "queue_cpu_us_per_msg", copies);
    conductor.tell_memory(&begin, "rss_per_queued_bytes", copies);
    Ok(())
}

async fn come_back(conductor: &mut Conductor<'_>, load: &Load, sleepers: &[Subscriber]) -> Result<(), Stop> {
    let begin = conductor.mark();
    for sleeper in sleepers {
        conductor.spawn(Subscriber { subscription: None, comes_back: true, ..sleeper.clone() }.run());
    }
    let connected = begin.counts[Count::Connected] + load.subscribers();
    conductor.until("coming back", |counts| counts[Count::Connected] >= connected).await?;
    let counts = conductor.board.counts() - begin.counts;
    conductor.report.set("sessions_present", counts[Count::SessionsPresent] as f64);
    load.drain_and_tell(conductor, &begin, ["drained_per_s", "drain_s", "drain_cpu_us_per_msg"]).await
}
