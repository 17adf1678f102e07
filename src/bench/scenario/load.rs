//! Lanes with their clients: who publishes where, and who subscribes to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::bench::board::{Count, Last};
use crate::bench::conductor::{Conductor, Mark, Stop};
use crate::bench::lane::{Lane, LaneSize};
use crate::bench::pace::Pace;
use crate::bench::publisher::Publisher;
use crate::bench::report::Status;
use crate::bench::subscriber::{Share, Subscriber, Subscription};
use crate::bench::topics::{Filters, Topics};
use crate::packet::QoS;

/// Of a subscriber that has many.
const SUBSCRIBE_FILTERS: usize = 50;

/// One lane with the topics of its clients.
pub(super) struct LoadLane {
    pub(super) lane: Arc<Lane>,
    /// By publisher.
    pub(super) topics: Vec<String>,
    /// By subscriber.
    pub(super) filters: Vec<Filters>,
    /// So many of each message are due. Subscribers are dealt out to them in turn: each is one, or shares it with others.
    receivers: usize,
    /// The number of its first publisher in the run.
    pub(super) first_publisher: u32,
}

/// All lanes of a run.
pub(super) struct Load {
    lanes: Vec<LoadLane>,
    /// Whether messages of a publisher come in order.
    is_ordered: bool,
    is_lasting: bool,
    /// Messages that each subscriber has read.
    tallies: Vec<Arc<AtomicU64>>,
}

/// What publishers do.
#[derive(Clone)]
pub(super) struct Publishing {
    /// How their client ids begin.
    pub(super) name: &'static str,
    /// Messages of all publishers together; `None` for no end.
    pub(super) count: Option<u64>,
    pub(super) retain: bool,
    pub(super) topics: Topics,
    pub(super) payload_bytes: usize,
    pub(super) pace: Option<Arc<Pace>>,
}

impl LoadLane {
    /// A window of so many messages, which opens by what the plan says.
    pub(super) fn new(
        conductor: &Conductor<'_>,
        topics: Vec<String>,
        filter: String,
        subscribers: u32,
        window: u64,
    ) -> Self {
        let filters = vec![Filters::one(filter); subscribers as usize];
        LoadLane::dealt(conductor, topics, filters, subscribers as usize, window)
    }

    /// The subscribers share a subscription.
    pub(super) fn shared(
        conductor: &Conductor<'_>,
        topics: Vec<String>,
        filter: String,
        subscribers: u32,
        window: u64,
    ) -> Self {
        let filter = format!("$share/{}/{filter}", conductor.share_name());
        LoadLane::dealt(conductor, topics, vec![Filters::one(filter); subscribers as usize], 1, window)
    }

    /// Of each message every receiver is due one: whichever of its subscribers gets it.
    pub(super) fn dealt(
        conductor: &Conductor<'_>,
        topics: Vec<String>,
        filters: Vec<Filters>,
        receivers: usize,
        window: u64,
    ) -> Self {
        let batch = conductor.plan.generator.batch.unwrap_or(window / 4).max(1);
        let size = LaneSize { publishers: topics.len(), receivers, window, batch };
        LoadLane { lane: Arc::new(Lane::new(size)), topics, filters, receivers, first_publisher: 0 }
    }
}

impl Load {
    pub(super) fn new(mut lanes: Vec<LoadLane>) -> Load {
        let mut first = 0;
        for lane in &mut lanes {
            lane.first_publisher = first;
            first += lane.topics.len() as u32;
        }
        let subscribers: usize = lanes.iter().map(|lane| lane.filters.len()).sum();
        let tallies = (0..subscribers).map(|_| Arc::default()).collect();
        Load { lanes, is_ordered: true, is_lasting: false, tallies }
    }

    /// Messages may come in any order: each is on a topic of its own.
    pub(super) fn unordered(lanes: Vec<LoadLane>) -> Load {
        Load { is_ordered: false, ..Load::new(lanes) }
    }

    /// Sessions of publishers and subscribers outlive their connections.
    pub(super) fn lasting(self, is_lasting: bool) -> Load {
        Load { is_lasting, ..self }
    }

    pub(super) fn subscribers(&self) -> u64 {
        self.tallies.len() as u64
    }

    /// Filters of all subscribers.
    pub(super) fn subscriptions(&self) -> u64 {
        self.lanes.iter().flat_map(|lane| &lane.filters).map(|filters| filters.len() as u64).sum()
    }

    pub(super) fn publishers(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.topics.len() as u64).sum()
    }

    /// All subscribers, ready to run.
    pub(super) fn make_subscribers(&self, conductor: &mut Conductor<'_>, is_lasting: bool) -> Vec<Subscriber> {
        let messages = conductor.plan.messages;
        let places = self.lanes.iter().flat_map(|lane| (0..lane.filters.len()).map(move |at| (lane, at)));
        let places = places.zip(&self.tallies).enumerate();
        let subscriber = |(number, ((lane, at), tally)): (usize, ((&LoadLane, usize), &Arc<AtomicU64>))| Subscriber {
            caller: conductor.caller(&format!("s{number}"), is_lasting),
            subscription: Some(Subscription {
                filters: lane.filters[at].clone(),
                batch: SUBSCRIBE_FILTERS,
                qos: messages.subscription_qos,
            }),
            share: Some(Share {
                lane: Arc::clone(&lane.lane),
                receiver: at % lane.receivers,
                first_publisher: lane.first_publisher,
                payload_bytes: messages.payload_bytes,
                is_ordered: self.is_ordered && lane.receivers == lane.filters.len(),
                tally: Arc::clone(tally),
            }),
            comes_back: false,
        };
        places.map(subscriber).collect()
    }

    /// Subscribers connect and subscribe; returns when all have.
    pub(super) async fn subscribe(&self, conductor: &mut Conductor<'_>) -> Result<(), Stop> {
        let before = conductor.board.now();
        for subscriber in self.make_subscribers(conductor, self.is_lasting) {
            conductor.spawn(subscriber.run());
        }
        let all = self.subscriptions();
        conductor.until("subscribing", |counts| counts[Count::Subscribed] >= all).await?;
        let seconds = conductor.board.last(Last::Subscribed).saturating_sub(before) as f64 / 1e9;
        conductor.report.set("subscribes_per_s", all as f64 / seconds);
        Ok(())
    }

    /// Publishers connect; they send nothing before their lanes open.
    pub(super) async fn connect_publishers(
        &self,
        conductor: &mut Conductor<'_>,
        what: &Publishing,
    ) -> Result<(), Stop> {
        let all = self.publishers();
        let before = conductor.board.counts()[Count::Connected];
        let places = self.lanes.iter().flat_map(|lane| (0..lane.topics.len()).map(move |at| (lane, at)));
        for (number, (lane, index)) in places.enumerate() {
            let publisher = Publisher {
                caller: conductor.caller(&format!("{}{number}", what.name), self.is_lasting),
                lane: Arc::clone(&lane.lane),
                index,
                number: number as u32,
                topic: lane.topics[index].clone(),
                topics: what.topics,
                qos: conductor.plan.messages.qos,
                retain: what.retain,
                payload_bytes: what.payload_bytes,
                count: what.count.map_or(u64::MAX, |count| part(count, number as u64, all)),
                inflight_max: conductor.plan.generator.inflight_max,
                pace: what.pace.clone(),
            };
            conductor.spawn(publisher.run());
        }
        conductor.until("connecting publishers", |counts| counts[Count::Connected] >= before + all).await
    }

    pub(super) fn open(&self) {
        self.lanes.iter().for_each(|lane| lane.lane.open());
    }

    pub(super) fn close(&self) {
        self.lanes.iter().for_each(|lane| lane.lane.close());
    }

    /// Deliveries that are due, and those that have come.
    pub(super) fn due_and_received(&self) -> (u64, u64) {
        let of_lanes = self.lanes.iter().map(|lane| lane.lane.due_and_received());
        of_lanes.fold((0, 0), |(due, received), (more_due, more)| (due + more_due, received + more))
    }

    /// Waits for the last delivery and the last acknowledgement. When the broker has gone quiet before, deliveries that are
    /// due are lost: that is for the report to say.
    pub(super) async fn drain(&self, conductor: &mut Conductor<'_>) -> Result<(), Stop> {
        let is_acknowledged = conductor.plan.messages.qos != QoS::AtMostOnce;
        let drained = conductor.until("draining", |counts| {
            let (due, received) = self.due_and_received();
            received >= due && (!is_acknowledged || counts[Count::Acknowledged] >= counts[Count::Sent])
        });
        match drained.await {
            Err(Stop { status: Status::Stalled, .. }) if self.is_missing_something() => Ok(()),
            outcome => outcome,
        }
    }

    /// Drains, and tells what subscribers have got since `begin`: how many a second, in how many seconds, at how much CPU.
    pub(super) async fn drain_and_tell(
        &self,
        conductor: &mut Conductor<'_>,
        begin: &Mark,
        [rate, span, cpu]: [&'static str; 3],
    ) -> Result<(), Stop> {
        let outcome = self.drain(conductor).await;
        let end = conductor.mark();
        let received = (end.counts - begin.counts)[Count::Received] as f64;
        let seconds = conductor.board.last(Last::Received).saturating_sub(begin.at) as f64 / 1e9;
        if received > 0.0 {
            conductor.report.set(rate, received / seconds);
            conductor.report.set(span, seconds);
            conductor.tell_cpu_each(begin, &end, cpu, received);
        }
        outcome
    }

    fn is_missing_something(&self) -> bool {
        let (due, received) = self.due_and_received();
        received < due
    }

    /// What has become of the messages, and the status that it calls for.
    pub(super) fn tell_deliveries(&self, conductor: &mut Conductor<'_>) {
        let counts = conductor.board.counts();
        let messages = conductor.plan.messages;
        let (due, received) = self.due_and_received();
        let (lost, duplicates) = (due.saturating_sub(received), counts[Count::Duplicates]);
        let report = &mut conductor.report;
        for (name, value) in [
            ("sent", counts[Count::Sent]),
            ("expected", due),
            ("received", received),
            ("lost", lost),
            ("duplicates", duplicates),
            ("reordered", counts[Count::Reordered]),
        ] {
            report.set(name, value as f64);
        }
        if lost > 0 {
            report.fail(Status::Loss, format!("{lost} of {due} deliveries are missing"));
        }
        if duplicates > 0 && messages.qos.min(messages.subscription_qos) != QoS::AtLeastOnce {
            report.fail(Status::Duplicates, format!("{duplicates} deliveries came twice"));
        }
        let tallies = || self.tallies.iter().map(|tally| tally.load(Relaxed));
        if let (Some(slowest), Some(fastest)) = (tallies().min(), tallies().max()) {
            report.set("slowest_subscriber", slowest as f64);
            report.set("fastest_subscriber", fastest as f64);
        }
        report.set("msgs_per_read", received as f64 / counts[Count::Reads].max(1) as f64);
    }
}

/// How many of `all` messages are for one of so many publishers: those between its corner and the next one's.
fn part(all: u64, publisher: u64, publishers: u64) -> u64 {
    let corner = |publisher: u64| u128::from(all) * u128::from(publisher) / u128::from(publishers);
    u64::try_from(corner(publisher + 1) - corner(publisher)).unwrap_or(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_send_all_messages_together_and_none_more_than_one_beyond_another() {
        for (all, publishers) in [(1, 1), (1, 3), (300, 7), (1 << 40, 1000)] {
            let parts: Vec<_> = (0..publishers).map(|publisher| part(all, publisher, publishers)).collect();
            assert_eq!(parts.iter().sum::<u64>(), all);
            assert!(parts.iter().all(|n| n.abs_diff(all / publishers) <= 1), "{parts:?}");
        }
    }
}
