//! Shared subscriptions: a group gets one copy, whichever of its members that is with.

use std::collections::HashMap;

use super::{Verdict, is_owed};
use crate::filter::Filter;
use crate::history::{Delivered, History, Moment, Subscribed};
use crate::world::Subject;

/// How often one copy has come.
#[derive(Default)]
struct Count {
    all: u32,
    /// On each connection of each member.
    on_connection: HashMap<(usize, u32), u32>,
    /// It was drained: all that has come since the last kill is acknowledged, and over.
    is_drained: bool,
}

type Counts = HashMap<(Filter, (usize, usize)), Count>;

pub fn judge(history: &History, verdict: &mut Verdict) {
    let mut deliveries: Vec<_> = (history.inboxes.iter().enumerate())
        .flat_map(|(member, inbox)| inbox.delivered.iter().map(move |delivered| (member, delivered)))
        .filter(|(_, delivered)| delivered.filter.is_shared())
        .collect();
    deliveries.sort_unstable_by_key(|(_, delivered)| delivered.at);
    let mut counts = Counts::new();
    for (member, delivered) in deliveries {
        judge_delivery(member, delivered, &mut counts, history, verdict);
    }
    for (filter, message) in owed(history) {
        verdict.shared.owed += 1;
        if !counts.contains_key(&(filter, message)) {
            verdict.shared.lost += 1;
            let (publisher, sequence) = message;
            let transmissions = history.published[publisher][sequence].transmissions;
            let text = format!("{filter:?}: message {sequence} of {publisher} has come to nobody");
            verdict.details.push(format!("{text}, sent {transmissions} times"));
        }
    }
}

fn judge_delivery(member: usize, delivered: &Delivered, counts: &mut Counts, history: &History, verdict: &mut Verdict) {
    let Delivered { publisher, sequence, filter, connection, at, .. } = *delivered;
    let message = &history.published[publisher][sequence];
    let qos = message.subject.qos(publisher).min(filter.qos(member));
    if delivered.qos != qos {
        verdict.nonsense.push(format!("member {member}: QoS {} instead of {qos}", delivered.qos));
    }
    let count = counts.entry((filter, (publisher, sequence))).or_default();
    count.all += 1;
    let on_connection = count.on_connection.entry((member, connection)).or_default();
    *on_connection += 1;
    let figures = &mut verdict.shared;
    figures.delivered += 1;
    figures.repeated += u64::from(qos == 1 && *on_connection > message.transmissions);
    // What waits in a group is for those too who come later.
    let was_there = |it: &Subscribed| it.asked < at && it.ended.is_none_or(|ended| ended > message.sent);
    let was_member = history.inboxes[member].subscriptions(filter).iter().any(was_there);
    figures.unwanted += u64::from(!was_member);
    // [MQTT-4.8.2-5]
    if qos == 2 && count.all > 1 {
        figures.duplicates += 1;
        let members: Vec<_> = count.on_connection.keys().collect();
        verdict.details.push(format!("{filter:?}: message {sequence} of {publisher} has come on {members:?}"));
    }
    let is_after = |moment: Option<Moment>| moment.is_some_and(|moment| moment < at);
    if is_after(history.end) {
        // What was sent twice at QoS 1 may be two messages.
        figures.came_back += u64::from(count.is_drained && (qos == 2 || message.transmissions == 1));
    } else {
        count.is_drained |= is_after(history.drain.map(|(moment, _)| moment));
    }
}

/// What a group has to get: some member has been there all the time.
pub fn owed(history: &History) -> impl Iterator<Item = (Filter, (usize, usize))> {
    let messages = history.published.iter().enumerate().flat_map(|(publisher, published)| {
        published.iter().enumerate().map(move |(sequence, message)| ((publisher, sequence), message))
    });
    messages.filter_map(|(number, message)| {
        // Those without a payload do not tell what they are.
        if let Subject::Retained { clears: true, .. } = message.subject {
            return None;
        }
        let filter = Filter::all().find(|filter| filter.is_shared() && filter.matches(message.subject))?;
        let has_member = history.inboxes.iter().any(|inbox| is_owed(message, inbox.subscriptions(filter)));
        has_member.then_some((filter, number))
    })
}
