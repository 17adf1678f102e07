//! What cannot be read off the broker at one moment: load averages, and the most there has been.

use std::time::Duration;

use crate::message::DropCause;
use crate::router::Counts;

/// What loads count.
pub(crate) type Counted = fn(&Counts) -> u64;

/// By mosquitto's names.
pub(crate) const LOADS: [(&str, Counted); 9] = [
    ("messages/received", |counts| counts.packets_received),
    ("messages/sent", |counts| counts.packets_sent),
    ("publish/dropped", publishes_dropped),
    ("publish/received", publishes_received),
    ("publish/sent", publishes_sent),
    ("bytes/received", |counts| counts.bytes_received),
    ("bytes/sent", |counts| counts.bytes_sent),
    ("sockets", |counts| counts.connections_accepted),
    ("connections", |counts| counts.connects_received),
];

/// What averages look back over.
pub(crate) const MINUTES: [u32; 3] = [1, 5, 15];

/// By limits of queues and windows, as mosquitto counts; other causes stand in the metrics.
pub(crate) fn publishes_dropped(counts: &Counts) -> u64 {
    let by = |cause: DropCause| counts.dropped[cause as usize];
    by(DropCause::QueueFull) + by(DropCause::Window) + counts.refused
}

pub(crate) fn publishes_received(counts: &Counts) -> u64 {
    counts.received_qos0 + counts.received_qos1 + counts.received_qos2
}

pub(crate) fn publishes_sent(counts: &Counts) -> u64 {
    counts.sent_qos0 + counts.sent_qos1 + counts.sent_qos2 + counts.redelivered
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// Per minute, of each of [`LOADS`], over each of [`MINUTES`].
    pub(crate) averages: [[f64; MINUTES.len()]; LOADS.len()],
    pub(crate) sessions_max: u64,
    pub(crate) heap_max: u64,
    last: Counts,
    last_uptime: Duration,
}

impl History {
    pub(crate) fn update(&mut self, uptime: Duration, counts: Counts, sessions: u64, heap: u64) {
        self.sessions_max = self.sessions_max.max(sessions);
        self.heap_max = self.heap_max.max(heap);
        let elapsed = uptime.saturating_sub(self.last_uptime).as_secs_f64();
        if elapsed > 0.0 {
            self.average(&counts, elapsed);
            self.last = counts;
            self.last_uptime = uptime;
        }
    }

    /// Exponentially weighted: the shorter the span, the faster the past fades.
    fn average(&mut self, counts: &Counts, elapsed_secs: f64) {
        for ((_, counted), averages) in LOADS.iter().zip(&mut self.averages) {
            let new = counted(counts).saturating_sub(counted(&self.last));
            let per_minute = new as f64 * 60.0 / elapsed_secs;
            for (average, minutes) in averages.iter_mut().zip(MINUTES) {
                let weight_of_past = (-elapsed_secs / (60.0 * f64::from(minutes))).exp();
                *average = per_minute + weight_of_past * (*average - per_minute);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed by hand from the formula: 100 in 10 seconds are 600 a minute, and the past fades by exp(-10/60), ...
    #[test]
    fn loads_are_averages_per_minute_that_fade() {
        let mut history = History::default();
        let rounded = |history: &History| history.averages[0].map(|average| format!("{average:.2}"));
        let busy = Counts { packets_received: 100, ..Counts::default() };
        history.update(Duration::from_secs(10), busy.clone(), 0, 0);
        assert_eq!(rounded(&history), ["92.11", "19.67", "6.63"]);
        history.update(Duration::from_secs(20), busy.clone(), 0, 0);
        assert_eq!(rounded(&history), ["77.97", "19.03", "6.56"]);
        history.update(Duration::from_secs(20), busy, 0, 0);
        assert_eq!(rounded(&history), ["77.97", "19.03", "6.56"], "no time, no change");
    }

    #[test]
    fn maxima_stay() {
        let mut history = History::default();
        for (sessions, heap) in [(1, 10), (7, 5), (3, 8)] {
            history.update(Duration::ZERO, Counts::default(), sessions, heap);
        }
        assert_eq!((history.sessions_max, history.heap_max), (7, 10));
    }
}
