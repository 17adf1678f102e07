//! Deadlines of parked sessions.

use super::*;
use std::task::Context;

fn at(millis: u64) -> BrokerTime {
    BrokerTime::from_millis(millis)
}

#[test]
fn deadlines_come_due_in_their_order() {
    let deadlines = Deadlines::default();
    for (millis, id, generation) in [(30, "c", 3), (10, "a", 1), (20, "b", 2), (10, "a", 1)] {
        deadlines.insert(at(millis), &id.into(), generation);
    }
    assert_eq!(deadlines.next(&mut Context::from_waker(Waker::noop())), at(10));
    assert_eq!(deadlines.pop_due(at(9)), None);
    assert_eq!(deadlines.pop_due(at(25)), Some(("a".into(), 1)));
    assert_eq!(deadlines.pop_due(at(25)), Some(("b".into(), 2)));
    assert_eq!(deadlines.pop_due(at(25)), None);
}

#[test]
fn a_deadline_that_is_taken_back_leaves_nothing() {
    let deadlines = Deadlines::default();
    deadlines.insert(at(10), &"a".into(), 1);
    deadlines.insert(at(10), &"a".into(), 2);
    deadlines.remove(at(10), &"a".into(), 1);
    deadlines.remove(at(10), &"unknown".into(), 1);
    assert_eq!(deadlines.len(), 1);
    assert_eq!(deadlines.pop_due(at(10)), Some(("a".into(), 2)));
}

#[test]
fn the_waiter_is_woken_by_an_earlier_deadline_and_by_no_later_one() {
    let deadlines = Deadlines::default();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert_eq!(deadlines.next(&mut Context::from_waker(&waker)), BrokerTime::NEVER);
    deadlines.insert(at(20), &"a".into(), 1);
    assert_eq!(wakes.0.load(SeqCst), 1);
    deadlines.next(&mut Context::from_waker(&waker));
    deadlines.insert(at(30), &"b".into(), 2);
    assert_eq!(wakes.0.load(SeqCst), 1);
    deadlines.insert(at(10), &"c".into(), 3);
    assert_eq!(wakes.0.load(SeqCst), 2);
}
