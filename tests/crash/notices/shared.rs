//! The same for groups.

use rand::RngExt;
use rand::rngs::StdRng;

use super::{Deliveries, is_there, notices, some};
use crate::filter::Filter;
use crate::history::History;
use crate::world::{FIRST_MEMBER, SUBSCRIBERS, Subject};

const MEMBER: usize = FIRST_MEMBER + 1;
const OTHER: usize = FIRST_MEMBER + 2;

#[test]
fn a_message_that_comes_to_no_member_is_lost() {
    notices(
        |verdict| verdict.shared.lost,
        |_, deliveries, choices| {
            let count = choices.random_range(1..4);
            for _ in 0..count {
                let deliveries = &mut deliveries[choices.random_range(FIRST_MEMBER..SUBSCRIBERS)];
                deliveries.remove(choices.random_range(0..deliveries.len()));
            }
            count
        },
    );
}

#[test]
fn a_message_that_moves_to_another_member_is_not_lost() {
    notices(
        |verdict| verdict.shared.lost,
        |_, deliveries, choices| {
            let moved = deliveries[MEMBER].remove(0);
            deliveries[OTHER].push(moved);
            let at = choices.random_range(0..deliveries[MEMBER].len());
            deliveries[MEMBER].remove(at);
            1
        },
    );
}

#[test]
fn a_message_of_qos_2_that_comes_to_two_members_is_a_duplicate() {
    notices(|verdict| verdict.shared.duplicates, |_, deliveries, choices| copy_to(OTHER, 2, deliveries, choices));
}

#[test]
fn a_message_of_qos_2_that_comes_twice_to_a_member_is_a_duplicate() {
    notices(|verdict| verdict.shared.duplicates, |_, deliveries, choices| copy_to(MEMBER, 2, deliveries, choices));
}

#[test]
fn a_message_of_qos_1_that_comes_twice_on_a_connection_is_repeated() {
    notices(
        |verdict| verdict.shared.repeated,
        |_, deliveries, choices| {
            // To another member it may come as well: this one's connection may have broken.
            copy_to(OTHER, 1, deliveries, choices);
            copy_to(MEMBER, 1, deliveries, choices)
        },
    );
}

fn copy_to(member: usize, qos: u8, deliveries: &mut [Deliveries; SUBSCRIBERS], choices: &mut StdRng) -> u64 {
    let copy = deliveries[MEMBER][some(&deliveries[MEMBER], qos, choices)];
    deliveries[member].push(copy);
    1
}

#[test]
fn a_message_after_the_unsuback_of_its_member_is_unwanted() {
    notices(
        |verdict| verdict.shared.unwanted,
        |history, deliveries, _| {
            history.changing(MEMBER, Filter::Group(1), false);
            history.changed(MEMBER, Filter::Group(1), false);
            let subject = Subject::Topic { branch: 1, number: 0 };
            let sequences = [(); 2].map(|()| history.sent(0, subject));
            for sequence in sequences {
                history.acknowledged(0, sequence);
                history.completed(0, sequence);
                // To those who have the branch for themselves it is owed.
                (0..FIRST_MEMBER).for_each(|subscriber| {
                    let qos = subject.qos(0).min(Filter::Branch(1).qos(subscriber));
                    deliveries[subscriber].push(((0, sequence), qos));
                });
            }
            history.delivered(MEMBER, 2, (0, sequences[0]), subject.qos(0), None);
            // What has waited until it is back may be for it.
            history.changing(MEMBER, Filter::Group(1), true);
            history.delivered(MEMBER, 2, (0, sequences[1]), subject.qos(0), None);
            1
        },
    );
}

#[test]
fn without_a_member_that_was_there_all_the_time_nothing_is_owed() {
    notices(
        |verdict| verdict.shared.lost,
        |history, deliveries, _| {
            deliveries[MEMBER].clear();
            for member in (0..SUBSCRIBERS).filter(|member| is_there(*member, Filter::Group(1))) {
                history.changing(member, Filter::Group(1), false);
                history.changed(member, Filter::Group(1), false);
                history.changing(member, Filter::Group(1), true);
                history.changed(member, Filter::Group(1), true);
            }
            lost_of_others(history, deliveries)
        },
    );
}

/// What no member has got, as long as it is not of group 1.
fn lost_of_others(history: &History, deliveries: &[Deliveries; SUBSCRIBERS]) -> u64 {
    let is_of_others = |subject: Subject| Filter::Group(0).matches(subject) || Filter::Group(2).matches(subject);
    let came =
        |message| (FIRST_MEMBER..SUBSCRIBERS).any(|member| deliveries[member].iter().any(|(it, _)| *it == message));
    let messages = history.published.iter().enumerate().flat_map(|(publisher, published)| {
        published.iter().enumerate().map(move |(sequence, message)| ((publisher, sequence), message.subject))
    });
    messages.filter(|(message, subject)| is_of_others(*subject) && !came(*message)).count() as u64
}

#[test]
fn what_a_group_has_drained_and_comes_after_an_orderly_stop_has_come_back() {
    notices(
        |verdict| verdict.shared.came_back,
        |history, deliveries, choices| {
            let [early, late] = [(); 2].map(|()| deliveries[MEMBER][some(&deliveries[MEMBER], 1, choices)]);
            let is_once = early != late;
            // What came before the drain may have been unacknowledged, what comes in it is over.
            for (member, deliveries) in deliveries.iter_mut().enumerate() {
                for (message, qos) in deliveries.drain(..).filter(|copy| *copy != late || member < FIRST_MEMBER) {
                    history.delivered(member, 1, message, qos, None);
                }
            }
            history.drains();
            history.delivered(MEMBER, 2, late.0, late.1, None);
            history.ends();
            history.delivered(OTHER, 3, late.0, late.1, None);
            if is_once {
                history.delivered(OTHER, 3, early.0, early.1, None);
            }
            1
        },
    );
}

#[test]
fn a_message_at_another_qos_or_of_another_branch_is_never_right() {
    notices(
        |verdict| verdict.nonsense.len() as u64,
        |history, deliveries, choices| {
            let at = some(&deliveries[MEMBER], 2, choices);
            deliveries[MEMBER][at].1 = 1;
            let not_shared = history.sent(0, Subject::Topic { branch: 3, number: 0 });
            deliveries[MEMBER].push(((0, not_shared), 1));
            // By its own subscription, and not by the group's.
            history.delivered(1, 1, deliveries[1][0].0, deliveries[1][0].1, Some(Filter::Group(0)));
            3
        },
    );
}
