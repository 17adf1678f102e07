//! What a history owes, compared with what has arrived.

mod own;
mod shared;
mod wills;

use std::fmt::{self, Display, Formatter};

use crate::history::{History, Published, Subscribed};

pub use shared::owed as owed_to_groups;
pub use wills::{Fate, Fates, Wills};

/// Of many faults the first tell enough.
const DETAILS_MAX: usize = 5;

/// Figures of one history, or of many.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub blows: u64,
    /// Messages that were sent, and those for which PUBACK or PUBREC has come.
    pub published: u64,
    pub acknowledged: u64,
    /// For subscriptions of single sessions.
    pub own: Copies,
    /// For groups, each as one.
    pub shared: Copies,
    pub wills: Wills,
    pub sessions: u64,
    pub sessions_lost: u64,
    pub retained: u64,
    pub retained_lost: u64,
    pub nonsense: Vec<String>,
    /// More about faults that are counted above.
    pub details: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Copies of acknowledged messages for those who had a SUBACK before and have not unsubscribed since; those that never
    /// came.
    pub owed: u64,
    pub lost: u64,
    pub delivered: u64,
    /// QoS 2 copies that came more than once.
    pub duplicates: u64,
    /// QoS 1 copies that came more often on one connection than they were sent.
    pub repeated: u64,
    /// Copies whose first arrival is behind that of a later message of the same publisher on the same topic. Groups are
    /// promised no order ([MQTT-4.6.0-6]).
    pub out_of_order: u64,
    /// Copies of messages that were sent and completed between an UNSUBACK and the next SUBSCRIBE; in a group, that were
    /// sent after it and came before.
    pub unwanted: u64,
    /// Copies that came again after all had been acknowledged and the broker had been stopped in good order.
    pub came_back: u64,
}

impl Verdict {
    pub fn on(history: History) -> Self {
        let messages = || history.published.iter().flatten();
        let mut verdict = Self {
            blows: history.blows,
            published: messages().count() as u64,
            acknowledged: messages().filter(|message| message.acknowledged.is_some()).count() as u64,
            sessions: history.sessions,
            sessions_lost: history.sessions_lost,
            retained: history.retained,
            retained_lost: history.retained_lost,
            ..Self::default()
        };
        own::judge(&history, &mut verdict);
        shared::judge(&history, &mut verdict);
        wills::judge(&history, &mut verdict);
        verdict.nonsense.extend(history.nonsense);
        verdict.details.extend(history.details);
        verdict
    }

    pub fn add(&mut self, other: Self) {
        self.blows += other.blows;
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.own.add(other.own);
        self.shared.add(other.shared);
        self.wills.add(other.wills);
        self.sessions += other.sessions;
        self.sessions_lost += other.sessions_lost;
        self.retained += other.retained;
        self.retained_lost += other.retained_lost;
        self.nonsense.extend(other.nonsense);
        self.details.extend(other.details);
    }

    pub fn is_faulty(&self) -> bool {
        let is_right = !self.own.is_faulty() && !self.shared.is_faulty() && !self.wills.is_faulty();
        !is_right || self.sessions_lost + self.retained_lost > 0 || !self.nonsense.is_empty()
    }
}

impl Copies {
    fn add(&mut self, other: Self) {
        self.owed += other.owed;
        self.lost += other.lost;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.unwanted += other.unwanted;
        self.came_back += other.came_back;
    }

    fn is_faulty(&self) -> bool {
        let Self { owed: _, lost, delivered: _, duplicates, repeated, out_of_order, unwanted, came_back } = self;
        lost + duplicates + repeated + out_of_order + unwanted + came_back > 0
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "  kills or cuts     {:>9}", self.blows)?;
        writeln!(f, "  published         {:>9}   acknowledged {}", self.published, self.acknowledged)?;
        writeln!(f, "{}", self.own)?;
        writeln!(f, "  of groups:\n{}", self.shared)?;
        writeln!(f, "{}", self.wills)?;
        writeln!(f, "  sessions resumed  {:>9}   lost {}", self.sessions, self.sessions_lost)?;
        write!(f, "  retained topics   {:>9}   lost {}", self.retained, self.retained_lost)?;
        if !self.nonsense.is_empty() {
            write!(f, "\n  never right       {:>9}   the first: {}", self.nonsense.len(), self.nonsense[0])?;
        }
        self.details.iter().take(DETAILS_MAX).try_for_each(|detail| write!(f, "\n    {detail}"))
    }
}

impl Display for Copies {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "  copies owed       {:>9}   lost {}", self.owed, self.lost)?;
        write!(
            f,
            "  copies delivered  {:>9}   QoS 2 twice {}, QoS 1 repeated without cause {}, out of order {}, \
             unsubscribed {}, back after the end {}",
            self.delivered, self.duplicates, self.repeated, self.out_of_order, self.unwanted, self.came_back
        )
    }
}

/// What is queued when a client unsubscribes need not be delivered any more (section 3.10.4).
fn is_owed(message: &Published, subscriptions: &[Subscribed]) -> bool {
    let holds = |last: &Subscribed| last.ending.is_none() && last.granted.is_some_and(|granted| granted < message.sent);
    message.acknowledged.is_some() && subscriptions.last().is_some_and(holds)
}
