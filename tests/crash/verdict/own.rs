//! Subscriptions of single sessions: each gets a copy of its own, in order.

use std::collections::HashMap;

use super::{Verdict, is_owed};
use crate::filter::Filter;
use crate::history::{Delivered, History, Inbox, Published, Subscribed};
use crate::world::Subject;

/// How often one copy has come.
#[derive(Default)]
struct Count {
    all: u32,
    connection: u32,
    on_connection: u32,
}

type Counts = HashMap<(usize, usize), Count>;

pub fn judge(history: &History, verdict: &mut Verdict) {
    for (subscriber, inbox) in history.inboxes.iter().enumerate() {
        let counts = judge_deliveries(subscriber, inbox, history, verdict);
        judge_losses(subscriber, inbox, &counts, history, verdict);
    }
}

/// What has arrived, and how often.
fn judge_deliveries(subscriber: usize, inbox: &Inbox, history: &History, verdict: &mut Verdict) -> Counts {
    let mut counts = Counts::new();
    let mut latest: HashMap<(usize, Subject), usize> = HashMap::new();
    for delivered in inbox.delivered.iter().filter(|delivered| matches!(delivered.filter, Filter::Branch(_))) {
        let Delivered { publisher, sequence, filter, .. } = *delivered;
        let message = &history.published[publisher][sequence];
        let subscriptions = inbox.subscriptions(filter);
        verdict.own.delivered += 1;
        let qos = message.subject.qos(publisher).min(filter.qos(subscriber));
        if delivered.qos != qos {
            verdict.nonsense.push(format!("subscriber {subscriber}: QoS {} instead of {qos}", delivered.qos));
        }
        let count = counts.entry((publisher, sequence)).or_default();
        if count.all == 0 {
            let latest = latest.entry((publisher, message.subject)).or_default();
            let is_late = *latest > sequence && is_ordered(message, subscriptions);
            verdict.own.out_of_order += u64::from(is_late);
            *latest = sequence.max(*latest);
        }
        count.add(delivered.connection);
        verdict.own.duplicates += u64::from(qos == 2 && count.all > 1);
        verdict.own.repeated += u64::from(qos == 1 && count.on_connection > message.transmissions);
        verdict.own.unwanted += u64::from(is_unwanted(message, subscriptions));
        let came_back = history.end.is_some_and(|end| message.sent < end && end < delivered.at);
        verdict.own.came_back += u64::from(came_back);
    }
    counts
}

fn judge_losses(subscriber: usize, inbox: &Inbox, counts: &Counts, history: &History, verdict: &mut Verdict) {
    for (publisher, published) in history.published.iter().enumerate() {
        for (sequence, message) in published.iter().enumerate() {
            let Subject::Topic { branch, .. } = message.subject else { continue };
            if is_owed(message, inbox.subscriptions(Filter::Branch(branch))) {
                verdict.own.owed += 1;
                if !counts.contains_key(&(publisher, sequence)) {
                    verdict.own.lost += 1;
                    let text = format!("subscriber {subscriber}: {:?} {sequence} of {publisher}", message.subject);
                    verdict.details.push(format!("{text} has not come, sent {} times", message.transmissions));
                }
            }
        }
    }
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
