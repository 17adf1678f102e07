//! What became of every copy of every message.
//!
//! A copy is a message times a matching session (a shared group counts as one). At any quiet moment
//! `matched = delivered + in flight + queued + dropped (by cause) + refused`; redeliveries are counted apart. Each
//! thread counts into its own [`Counts`] and adds them to the [`Counters`] once a turn, so that a message costs no atomic
//! operation, and a turn none that other cores wait for.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::message::DropCause;

pub(super) const CAUSES: usize = DropCause::ALL.len();

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One thread's counts since they were last added up.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Copies dropped, by cause.
            pub dropped: [u64; CAUSES],
        }

        impl Counts {
            /// Every count but those of dropped copies, with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        #[cfg(test)]
        impl Counts {
            /// Every count a number of its own, from `first` on; and which those are.
            pub(crate) fn numbered(first: u64) -> (Counts, std::ops::Range<u64>) {
                let mut next = first;
                let mut number = || {
                    next += 1;
                    next - 1
                };
                let counts = Counts { $($name: number(),)* dropped: std::array::from_fn(|_| number()) };
                (counts, first..next)
            }
        }

        #[derive(Debug, Default)]
        #[repr(align(128))]
        struct Sums {
            $($name: AtomicU64,)*
            dropped: [AtomicU64; CAUSES],
        }

        impl Sums {
            fn add(&self, counts: &mut Counts) {
                $(if counts.$name != 0 { self.$name.fetch_add(std::mem::take(&mut counts.$name), Relaxed); })*
                for (sum, n) in self.dropped.iter().zip(&mut counts.dropped) {
                    if *n != 0 {
                        sum.fetch_add(std::mem::take(n), Relaxed);
                    }
                }
            }

            fn add_to(&self, counts: &mut Counts) {
                $(counts.$name += self.$name.load(Relaxed);)*
                for (n, sum) in counts.dropped.iter_mut().zip(&self.dropped) {
                    *n += sum.load(Relaxed);
                }
            }
        }
    };
}

counters! {
    /// PUBLISH packets received, by QoS.
    received_qos0,
    received_qos1,
    received_qos2,
    /// Bytes of payload in PUBLISH packets received.
    received_payload_bytes,
    /// Messages that matched no subscription.
    no_subscriber,
    /// Messages refused whole: the publisher was told, or its connection closed.
    refused_messages,
    /// Messages whose publisher was not allowed to publish to the topic.
    not_authorised,
    /// Copies that matched.
    matched,
    /// Copies that were there at the start.
    recovered,
    /// Copies of messages that were refused whole.
    refused,
    /// Copies delivered: QoS 0 handed to the kernel, QoS 1 PUBACKed, QoS 2 PUBCOMPed.
    delivered_qos0,
    delivered_qos1,
    delivered_qos2,
    /// Retained messages sent for subscriptions (they count as matched copies too).
    retained_sent,
    /// PUBLISH packets sent again after a reconnect.
    redelivered,
    /// PUBLISH packets written, by QoS, redeliveries apart.
    sent_qos0,
    sent_qos1,
    sent_qos2,
    /// Bytes of payload in PUBLISH packets written.
    sent_payload_bytes,
    /// Packets and bytes on the wire, both ways.
    packets_received,
    packets_sent,
    bytes_received,
    bytes_sent,
    /// Retained messages whose expiry passed.
    retained_expired,
    /// Sessions that ended by their expiry.
    sessions_expired,
    /// Network connections accepted by a listener.
    connections_accepted,
    /// Network connections closed at once, for a limit of their listener.
    connections_refused,
    /// Network connections that ended before MQTT began: PROXY header, TLS, WebSocket.
    handshakes_failed,
    /// CONNECT packets received.
    connects_received,
    /// CONNECT packets that were answered with success.
    connections_made,
    /// Connections closed because of bytes that are no MQTT, or break its rules.
    protocol_errors,
    /// CONNECT packets refused by authentication.
    authentication_failures,
}

/// So many threads have sums of their own, and those that come later share them.
const SUMS: usize = 64;

thread_local! {
    static OWN: usize = {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        LAST.fetch_add(1, Relaxed) % SUMS
    };
}

/// Sums of all threads, kept apart: cores that write to one cache line wait for each other.
#[derive(Debug)]
pub struct Counters(Box<[Sums]>);

impl Default for Counters {
    fn default() -> Self {
        Counters((0..SUMS).map(|_| Sums::default()).collect())
    }
}

impl Counters {
    /// Adds one thread's counts and sets them back to zero.
    pub fn add(&self, counts: &mut Counts) {
        self.0[OWN.with(|own| *own)].add(counts);
    }

    pub fn snapshot(&self) -> Counts {
        let mut counts = Counts::default();
        self.0.iter().for_each(|sums| sums.add_to(&mut counts));
        counts
    }
}

impl Counts {
    pub fn dropped_sum(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub fn delivered_sum(&self) -> u64 {
        self.delivered_qos0 + self.delivered_qos1 + self.delivered_qos2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_moves_counts_into_the_sums() {
        let counters = Counters::default();
        let mut counts = Counts { matched: 2, ..Counts::default() };
        counts.dropped[DropCause::Window as usize] += 1;
        counters.add(&mut counts);
        assert_eq!(counts, Counts::default());
        let sums = counters.snapshot();
        assert_eq!((sums.matched, sums.dropped_sum(), sums.dropped[DropCause::Window as usize]), (2, 1, 1));
    }

    #[test]
    fn what_threads_have_counted_adds_up_however_many_there_are_and_when_they_are_gone() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SUMS {
                scope.spawn(|| counters.add(&mut Counts::numbered(1).0));
            }
        });
        let (one, sums) = (Counts::numbered(1).0, counters.snapshot());
        let all = |counts: &Counts| counts.named().map(|(_, n)| n).chain(counts.dropped).collect::<Vec<_>>();
        assert!(all(&sums).into_iter().eq(all(&one).into_iter().map(|n| n * 2 * SUMS as u64)), "{sums:?}");
    }
}
