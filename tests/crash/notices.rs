//! The rig notices: a history without a fault, and the same with one.

mod shared;
mod wills;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::filter::{Filter, Wish};
use crate::history::History;
use crate::verdict::Verdict;
use crate::world::{self, BRANCHES, FIRST_MEMBER, PUBLISHERS, RETAINED, SUBSCRIBERS, Subject, TOPICS_IN_A_BRANCH};

/// What a broker without a fault delivers to a subscriber: message and QoS, in order.
type Deliveries = Vec<((usize, usize), u8)>;

/// Every subscriber has branches 0 to 2, every member is in every group; traffic of every kind, all of it acknowledged.
fn traffic(choices: &mut StdRng) -> (History, [Deliveries; SUBSCRIBERS]) {
    let mut history = History::default();
    let mut deliveries = [const { Vec::new() }; SUBSCRIBERS];
    for subscriber in 0..SUBSCRIBERS {
        for filter in Filter::all().filter(|filter| is_there(subscriber, *filter)) {
            history.changing(subscriber, filter, true);
            history.changed(subscriber, filter, true);
        }
    }
    for _ in 0..choices.random_range(100..300) {
        let publisher = choices.random_range(0..PUBLISHERS);
        let subject = if choices.random_ratio(1, 10) {
            Subject::Retained { number: choices.random_range(0..RETAINED), clears: false }
        } else {
            let branch = choices.random_range(0..BRANCHES);
            Subject::Topic { branch, number: choices.random_range(0..TOPICS_IN_A_BRANCH) }
        };
        let sequence = history.sent(publisher, subject);
        history.acknowledged(publisher, sequence);
        history.completed(publisher, sequence);
        for filter in Filter::all().filter(|filter| filter.matches(subject)) {
            let one = choices.random_range(FIRST_MEMBER..SUBSCRIBERS);
            let all = (0..SUBSCRIBERS).filter(|subscriber| is_there(*subscriber, filter));
            for subscriber in all.filter(|subscriber| !filter.is_shared() || *subscriber == one) {
                let qos = subject.qos(publisher).min(filter.qos(subscriber));
                deliveries[subscriber].push(((publisher, sequence), qos));
            }
        }
    }
    (history, deliveries)
}

fn is_there(subscriber: usize, filter: Filter) -> bool {
    filter != Filter::Branch(3) && filter.wish_of(subscriber) != Wish::Never
}

fn judge(mut history: History, deliveries: &[Deliveries]) -> Verdict {
    for (subscriber, deliveries) in deliveries.iter().enumerate() {
        deliveries.iter().for_each(|(message, qos)| history.delivered(subscriber, 1, *message, *qos, None));
    }
    Verdict::on(history)
}

/// Runs a fault on many histories: each is right without it, and `count` finds it with it.
fn notices(
    count: impl Fn(&Verdict) -> u64,
    fault: impl Fn(&mut History, &mut [Deliveries; SUBSCRIBERS], &mut StdRng) -> u64,
) {
    for seed in 0..50 {
        let (history, deliveries) = traffic(&mut world::choices(seed, "history"));
        let verdict = judge(history, &deliveries);
        let is_busy = verdict.own.owed > 300 && verdict.shared.owed > 30;
        assert!(!verdict.is_faulty() && is_busy, "{seed}: {verdict}");
        let (mut history, mut deliveries) = traffic(&mut world::choices(seed, "history"));
        let faults = fault(&mut history, &mut deliveries, &mut world::choices(seed, "fault"));
        let verdict = judge(history, &deliveries);
        assert_eq!((count(&verdict), verdict.is_faulty()), (faults, true), "{seed}: {verdict}");
    }
}

/// A place in the deliveries of a subscriber that is of this QoS.
fn some(deliveries: &Deliveries, qos: u8, choices: &mut StdRng) -> usize {
    let places: Vec<usize> = (0..deliveries.len()).filter(|at| deliveries[*at].1 == qos).collect();
    places[choices.random_range(0..places.len())]
}

#[test]
fn a_message_that_does_not_come_is_lost() {
    notices(
        |verdict| verdict.own.lost,
        |_, deliveries, choices| {
            let count = choices.random_range(1..20);
            for _ in 0..count {
                let deliveries = &mut deliveries[choices.random_range(0..FIRST_MEMBER)];
                deliveries.remove(choices.random_range(0..deliveries.len()));
            }
            count
        },
    );
}

#[test]
fn a_message_of_qos_2_that_comes_twice_is_a_duplicate() {
    notices(
        |verdict| verdict.own.duplicates,
        |_, deliveries, choices| {
            let copy = deliveries[1][some(&deliveries[1], 2, choices)];
            deliveries[1].push(copy);
            1
        },
    );
}

#[test]
fn a_message_of_qos_1_may_come_again_after_a_reconnect_only() {
    notices(
        |verdict| verdict.own.repeated,
        |history, deliveries, choices| {
            let copy = deliveries[1][some(&deliveries[1], 1, choices)];
            // The second time on the connection of all others is a fault, the first on another one is none.
            history.delivered(1, 2, copy.0, copy.1, None);
            deliveries[1].push(copy);
            1
        },
    );
}

#[test]
fn what_the_publisher_sends_again_may_come_again() {
    let (mut history, mut deliveries) = traffic(&mut world::choices(1, "history"));
    let copy = deliveries[1][some(&deliveries[1], 1, &mut world::choices(1, "copy"))];
    history.sent_again(copy.0.0, copy.0.1);
    deliveries[1].push(copy);
    let verdict = judge(history, &deliveries);
    assert!(!verdict.is_faulty(), "{verdict}");
}

#[test]
fn an_earlier_message_that_comes_later_is_out_of_order() {
    notices(
        |verdict| verdict.own.out_of_order,
        |history, deliveries, _| {
            let subject = |message: (usize, usize)| (message.0, history.published[message.0][message.1].subject);
            // A message behind the others of its publisher on that topic.
            let has_later = |at: &usize| {
                let (this, later) = (subject(deliveries[1][*at].0), &deliveries[1][at + 1..]);
                later.iter().any(|later| subject(later.0) == this)
            };
            let at = (0..deliveries[1].len()).find(has_later).expect("more messages than topics");
            let first = deliveries[1].remove(at);
            deliveries[1].push(first);
            1
        },
    );
}

#[test]
fn a_message_after_the_unsuback_is_unwanted() {
    notices(
        |verdict| verdict.own.unwanted,
        |history, deliveries, _| {
            history.changing(1, Filter::Branch(2), false);
            let under_way = history.sent(0, Subject::Topic { branch: 2, number: 0 });
            history.changed(1, Filter::Branch(2), false);
            let behind = history.sent(0, Subject::Topic { branch: 2, number: 0 });
            for sequence in [under_way, behind] {
                history.acknowledged(0, sequence);
                history.completed(0, sequence);
            }
            let qos = history.published[0][behind].subject.qos(0).min(Filter::Branch(2).qos(1));
            for sequence in [under_way, behind] {
                deliveries[1].push(((0, sequence), qos));
            }
            1
        },
    );
}

#[test]
fn what_was_drained_and_comes_after_an_orderly_stop_has_come_back() {
    notices(
        |verdict| verdict.own.came_back,
        |history, deliveries, choices| {
            let copy = deliveries[1][some(&deliveries[1], 1, choices)];
            for (subscriber, deliveries) in deliveries.iter_mut().enumerate() {
                deliveries.drain(..).for_each(|(message, qos)| history.delivered(subscriber, 1, message, qos, None));
            }
            history.ends();
            history.delivered(1, 2, copy.0, copy.1, None);
            1
        },
    );
}

#[test]
fn a_session_that_is_not_present_is_lost() {
    notices(
        |verdict| verdict.sessions_lost,
        |history, _, _| {
            history.resumed(true);
            history.resumed(false);
            1
        },
    );
}

#[test]
fn a_retained_message_that_is_older_than_the_completed_one_is_lost_once() {
    notices(
        |verdict| verdict.retained_lost,
        |history, _, _| {
            let subject = Subject::Retained { number: 0, clears: false };
            let sequences = [0; 3].map(|_| history.sent(0, subject));
            history.completed(0, sequences[1]);
            // The completed one and a later one are right, whatever the broker makes of the later one.
            history.saw_retained(0, 0, Some(sequences[2]));
            history.saw_retained(0, 0, Some(sequences[1]));
            history.saw_retained(0, 0, Some(sequences[0]));
            history.saw_retained(0, 0, None);
            1
        },
    );
}

#[test]
fn a_retained_message_that_was_cleared_must_not_be_there() {
    notices(
        |verdict| verdict.retained_lost,
        |history, _, _| {
            let kept = history.sent(2, Subject::Retained { number: 1, clears: false });
            let cleared = history.sent(2, Subject::Retained { number: 1, clears: true });
            history.completed(2, kept);
            history.saw_retained(2, 1, None);
            history.saw_retained(2, 1, Some(kept));
            history.completed(2, cleared);
            history.saw_retained(2, 1, None);
            history.saw_retained(2, 1, Some(kept));
            1
        },
    );
}

#[test]
fn a_message_at_another_qos_or_that_nobody_has_sent_is_never_right() {
    notices(
        |verdict| verdict.nonsense.len() as u64,
        |history, deliveries, choices| {
            let at = some(&deliveries[1], 2, choices);
            deliveries[1][at].1 = 1;
            deliveries[1].push(((0, history.published[0].len()), 1));
            2
        },
    );
}

#[test]
fn a_payload_tells_its_message_unless_it_is_damaged() {
    for sequence in [0, 1, 63, 10_000] {
        let mut payload = world::payload(3, sequence);
        assert_eq!(world::message_of(&payload), Some((3, sequence)));
        let end = payload.len() - 1;
        payload[end] ^= 1;
        assert_eq!(world::message_of(&payload), None);
        assert_eq!(world::message_of(&payload[..end]), None);
    }
}
