//! One and a half times the Keep Alive without a packet ends the connection ([MQTT-3.1.2-22]).

use crate::message::BrokerTime;

#[derive(Clone, Copy, Debug)]
pub(super) struct KeepAlive {
    /// Seconds; 0 is off.
    interval: u16,
    last_packet: BrokerTime,
}

impl KeepAlive {
    pub(super) fn new(interval: u16, now: BrokerTime) -> Self {
        KeepAlive { interval, last_packet: now }
    }

    /// A packet came in, or the broker itself has not been reading.
    pub(super) fn touch(&mut self, now: BrokerTime) {
        self.last_packet = now;
    }

    /// When the connection is to be closed; `NEVER` with keep alive off.
    pub(super) fn deadline(&self) -> BrokerTime {
        match self.interval {
            0 => BrokerTime::NEVER,
            // [MQTT-3.1.2-22]
            secs => self.last_packet.after(std::time::Duration::from_millis(u64::from(secs) * 1500)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [MQTT-3.1.2-22]
    #[test]
    fn the_deadline_is_one_and_a_half_intervals_after_the_last_packet() {
        let mut keep_alive = KeepAlive::new(10, BrokerTime::from_millis(1_000));
        assert_eq!(keep_alive.deadline(), BrokerTime::from_millis(16_000));
        keep_alive.touch(BrokerTime::from_millis(2_000));
        assert_eq!(keep_alive.deadline(), BrokerTime::from_millis(17_000));
    }

    #[test]
    fn zero_turns_keep_alive_off() {
        assert_eq!(KeepAlive::new(0, BrokerTime::from_millis(5)).deadline(), BrokerTime::NEVER);
    }
}
