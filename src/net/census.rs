//! How much of everything there is now, summed over all sessions, for operators.
//!
//! A census looks at every session once, so its cost grows with them: it is taken for a scrape or a `$SYS` interval,
//! never for a message.

use std::sync::atomic::Ordering::Relaxed;

use super::context::Shared;
use crate::router::Counts;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Network connections, with or without a session.
    pub sockets: u64,
    /// Sessions with a network connection.
    pub connected: u64,
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Not shared ones.
    pub subscriptions: u64,
    /// Members of shared groups.
    pub shared_subscriptions: u64,
    pub retained: u64,
    pub retained_bytes: u64,
    /// Copies that wait in sessions and shared groups.
    pub queued: u64,
    pub queued_bytes: u64,
    /// QoS 1 and 2 messages sent and not completely acknowledged.
    pub inflight: u64,
    /// QoS 0 messages that a socket has not taken yet.
    pub unsent_qos0: u64,
    /// Packets that a socket has not taken yet, and their bytes.
    pub unsent_packets: u64,
    pub unsent_bytes: u64,
}

impl Census {
    pub fn take(shared: &Shared) -> Census {
        let router = &shared.router;
        let (queued, queued_bytes) = router.group_queued();
        let mut census = Census {
            sockets: shared.sockets.load(Relaxed),
            connected: shared.connected.load(Relaxed),
            sessions: shared.sessions.len() as u64,
            subscriptions: router.subscriptions_len() as u64,
            shared_subscriptions: router.shared_subscriptions_len() as u64,
            retained: router.retained_len() as u64,
            retained_bytes: router.retained_bytes(),
            queued,
            queued_bytes,
            ..Census::default()
        };
        shared.sessions.for_each_mailbox(|mailbox| {
            let stats = mailbox.stats();
            census.queued += stats.queued;
            census.queued_bytes += stats.queued_bytes;
            census.inflight += u64::from(stats.under_way.inflight);
            census.unsent_qos0 += u64::from(stats.under_way.unsent_qos0);
            census.unsent_packets += u64::from(stats.under_way.unsent_packets);
            census.unsent_bytes += stats.under_way.unsent_bytes;
        });
        census
    }
}

/// What became of every copy: a message times a matching session, a shared group being one. Messages sent again after a
/// reconnect are the same copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    pub matched: u64,
    /// There at the start already.
    pub recovered: u64,
    /// QoS 0 handed to the kernel, QoS 1 PUBACKed, QoS 2 PUBCOMPed.
    pub delivered: u64,
    /// Sent and not acknowledged, or QoS 0 that a socket has not taken.
    pub inflight: u64,
    pub queued: u64,
    /// By all causes.
    pub dropped: u64,
    pub refused: u64,
}

impl Accounting {
    pub fn new(counts: &Counts, census: &Census) -> Accounting {
        Accounting {
            matched: counts.matched,
            recovered: counts.recovered,
            delivered: counts.delivered_sum(),
            inflight: census.inflight + census.unsent_qos0,
            queued: census.queued,
            dropped: counts.dropped_sum(),
            refused: counts.refused,
        }
    }

    /// Whether every copy is accounted for; between the steps of a message that is on its way, it may not be.
    pub fn is_balanced(&self) -> bool {
        self.matched + self.recovered == self.delivered + self.inflight + self.queued + self.dropped + self.refused
    }
}
