//! What a history owes, compared with what has arrived.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};

use crate::history::{History, Inbox, Published, Subscribed};
use crate::world::{self, Subject};

/// Of many faults the first tell enough.
const DETAILS_MAX: usize = 5;

/// Figures of one history, or of many.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub blows: u64,
    /// Messages that were sent, and those for which PUBACK or PUBREC has come.
    pub published: u64,
    pub acknowledged: u64,
    /// Copies of acknowledged messages for sessions that had a SUBACK before and have not unsubscribed since; those that
    /// never came.
    pub owed: u64,
    pub lost: u64,
    pub delivered: u64,
    /// QoS 2 copies that came more than once.
    pub duplicates: u64,
    /// QoS 1 copies that came more often on one connection than they were sent.
    pub repeated: u64,
    /// Copies whose first arrival is behind that of a later message of the same publisher on the same topic.
    pub out_of_order: u64,
    /// Copies of messages that were sent and completed between an UNSUBACK and the next SUBSCRIBE.
    pub unwanted: u64,
    /// Copies that came again after all had been acknowledged and the broker had been stopped in good order.
    pub came_back: u64,
    pub sessions: u64,
    pub sessions_lost: u64,
    pub retained: u64,
    pub retained_lost: u64,
    pub nonsense: Vec<String>,
    /// More about faults that are counted above.
    pub details: Vec<String>,
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
        for (subscriber, inbox) in history.inboxes.iter().enumerate() {
            let counts = verdict.judge_deliveries(subscriber, inbox, &history);
            verdict.judge_losses(subscriber, inbox, &counts, &history);
        }
        verdict.nonsense.extend(history.nonsense);
        verdict.details.extend(history.details);
        verdict
    }

    /// What has arrived, and how often.
    fn judge_deliveries(
        &mut self,
        subscriber: usize,
        inbox: &Inbox,
        history: &History,
    ) -> HashMap<(usize, usize), Count> {
        let mut counts: HashMap<(usize, usize), Count> = HashMap::new();
        let mut latest: HashMap<(usize, Subject), usize> = HashMap::new();
        for delivered in &inbox.delivered {
            let (publisher, sequence) = (delivered.publisher, delivered.sequence);
            let message = history.published.get(publisher).and_then(|published| published.get(sequence));
            let Some((message, Subject::Topic { branch, .. })) = message.map(|message| (message, message.subject))
            else {
                self.nonsense.push(format!("subscriber {subscriber}: message {sequence} of {publisher} is not for it"));
                continue;
            };
            self.delivered += 1;
            let qos = message.subject.qos(publisher).min(world::subscription_qos(subscriber, branch));
            if delivered.qos != qos {
                self.nonsense.push(format!("subscriber {subscriber}: QoS {} instead of {qos}", delivered.qos));
            }
            let count = counts.entry((publisher, sequence)).or_default();
            if count.all == 0 {
                let latest = latest.entry((publisher, message.subject)).or_default();
                let is_late = *latest > sequence && is_ordered(message, &inbox.subscriptions[branch]);
                self.out_of_order += u64::from(is_late);
                *latest = sequence.max(*latest);
            }
            count.add(delivered.connection);
            self.duplicates += u64::from(qos == 2 && count.all > 1);
            self.repeated += u64::from(qos == 1 && count.on_connection > message.transmissions);
            self.unwanted += u64::from(is_unwanted(message, &inbox.subscriptions[branch]));
            let is_old = history.end.is_some_and(|end| message.sent < end);
            self.came_back += u64::from(delivered.is_after_the_end && is_old);
        }
        counts
    }

    fn judge_losses(
        &mut self,
        subscriber: usize,
        inbox: &Inbox,
        counts: &HashMap<(usize, usize), Count>,
        history: &History,
    ) {
        for (publisher, published) in history.published.iter().enumerate() {
            for (sequence, message) in published.iter().enumerate() {
                let Subject::Topic { branch, .. } = message.subject else { continue };
                if is_owed(message, &inbox.subscriptions[branch]) {
                    self.owed += 1;
                    if !counts.contains_key(&(publisher, sequence)) {
                        self.lost += 1;
                        let text = format!("subscriber {subscriber}: {:?} {sequence} of {publisher}", message.subject);
                        self.details.push(format!("{text} has not come, sent {} times", message.transmissions));
                    }
                }
            }
        }
    }

    pub fn add(&mut self, other: Self) {
        self.blows += other.blows;
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.owed += other.owed;
        self.lost += other.lost;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.unwanted += other.unwanted;
        self.came_back += other.came_back;
        self.sessions += other.sessions;
        self.sessions_lost += other.sessions_lost;
        self.retained += other.retained;
        self.retained_lost += other.retained_lost;
        self.nonsense.extend(other.nonsense);
        self.details.extend(other.details);
    }

    pub fn is_faulty(&self) -> bool {
        let faults = [
            self.lost,
            self.duplicates,
            self.repeated,
            self.out_of_order,
            self.unwanted,
            self.came_back,
            self.sessions_lost,
            self.retained_lost,
        ];
        faults != [0; 8] || !self.nonsense.is_empty()
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "  kills or cuts     {:>9}", self.blows)?;
        writeln!(f, "  published         {:>9}   acknowledged {}", self.published, self.acknowledged)?;
        writeln!(f, "  copies owed       {:>9}   lost {}", self.owed, self.lost)?;
        writeln!(
            f,
            "  copies delivered  {:>9}   QoS 2 twice {}, QoS 1 repeated without cause {}, out of order {}, \
             unsubscribed {}, back after the end {}",
            self.delivered, self.duplicates, self.repeated, self.out_of_order, self.unwanted, self.came_back
        )?;
        writeln!(f, "  sessions resumed  {:>9}   lost {}", self.sessions, self.sessions_lost)?;
        write!(f, "  retained topics   {:>9}   lost {}", self.retained, self.retained_lost)?;
        if !self.nonsense.is_empty() {
            write!(f, "\n  never right       {:>9}   the first: {}", self.nonsense.len(), self.nonsense[0])?;
        }
        self.details.iter().take(DETAILS_MAX).try_for_each(|detail| write!(f, "\n    {detail}"))
    }
}

/// How often one copy has come.
#[derive(Default)]
struct Count {
    all: u32,
    connection: u32,
    on_connection: u32,
}

impl Count {
    fn add(&mut self, connection: u32) {
        if self.connection != connection {
            (self.connection, self.on_connection) = (connection, 0);
        }
        self.all += 1;
        self.on_connection += 1;
    }
}

/// What is queued when a client unsubscribes need not be delivered any more (section 3.10.4).
fn is_owed(message: &Published, subscriptions: &[Subscribed]) -> bool {
    let holds = |last: &Subscribed| last.ending.is_none() && last.granted.is_some_and(|granted| granted < message.sent);
    message.acknowledged.is_some() && subscriptions.last().is_some_and(holds)
}

/// Whether its first arrival has to come before that of a later message: what was under way when a subscription began may
/// miss it, be sent again after a kill, and match then.
fn is_ordered(message: &Published, subscriptions: &[Subscribed]) -> bool {
    let is_over = |ending| message.completed.is_some_and(|completed| completed < ending);
    let holds = |it: &Subscribed| it.granted.is_some_and(|at| at < message.sent) && it.ending.is_none_or(is_over);
    subscriptions.iter().any(holds)
}

fn is_unwanted(message: &Published, subscriptions: &[Subscribed]) -> bool {
    let Some(completed) = message.completed else { return false };
    let mut later = subscriptions.iter().skip_while(|subscription| subscription.asked < message.sent);
    let earlier = subscriptions.iter().take_while(|subscription| subscription.asked < message.sent).last();
    let has_ended = earlier.is_some_and(|earlier| earlier.ended.is_some_and(|ended| ended < message.sent));
    has_ended && later.next().is_none_or(|next| next.asked > completed)
}
