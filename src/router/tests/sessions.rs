//! Who owns a session: claims, takeovers, parking, and generations that tell who was overtaken.

use super::*;
use std::task::Context;

type Table = SessionTable<&'static str, &'static str>;

fn id() -> Arc<str> {
    "c".into()
}

fn poll(table: &Table, generation: Generation) -> Poll<Claimed<&'static str>> {
    table.poll_claim(&id(), generation, &mut Context::from_waker(Waker::noop()))
}

fn claim(table: &Table, expected: Poll<Claimed<&'static str>>) -> Generation {
    let (generation, claimed) = table.claim(&id()).expect("room");
    assert_eq!(claimed, expected);
    generation
}

const NEW: Poll<Claimed<&str>> = Poll::Ready(Claimed::New);

fn resumed(session: &'static str) -> Poll<Claimed<&'static str>> {
    Poll::Ready(Claimed::Resumed(session))
}

// [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.3-2]
#[test]
fn a_session_is_new_once_and_then_taken_up() {
    let table = Table::new(u32::MAX);
    let first = claim(&table, NEW);
    assert_eq!(table.release("c", first, Some("s")), Released::Parked(first));
    let second = claim(&table, resumed("s"));
    assert!(second > first);
    assert_eq!(table.release("c", second, None), Released::Gone);
    assert!(table.is_empty() && !table.contains("c"));
    claim(&table, NEW);
    assert_eq!(table.len(), 1);
}

// [MQTT-3.1.4-3]
#[test]
fn a_takeover_asks_the_owner_and_gets_the_session_from_it() {
    let table = Table::new(u32::MAX);
    let fixture = Fixture::new();
    let client = fixture.client("c");
    let owner = claim(&table, NEW);
    assert!(table.attach("c", owner, &client.mailbox, "facts"));
    let heir = claim(&table, Poll::Pending);
    let takeover = MailboxEvent::Control(Control::Takeover);
    assert_eq!(client.poll(0, &mut VecDeque::new()), Poll::Ready(takeover));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert_eq!(table.poll_claim(&id(), heir, &mut Context::from_waker(&waker)), Poll::Pending);
    assert_eq!(table.release("c", owner, Some("s")), Released::Gone);
    assert_eq!(wakes.0.load(SeqCst), 1);
    assert_eq!(poll(&table, heir), resumed("s"));
    assert_eq!(table.release("c", owner, Some("twice")), Released::Gone, "the owner has nothing any more");
    assert_eq!(table.release("c", heir, Some("s")), Released::Parked(heir));
}

#[test]
fn a_session_that_ended_with_its_connection_leaves_the_heir_a_new_one() {
    let table = Table::new(u32::MAX);
    let owner = claim(&table, NEW);
    let heir = claim(&table, Poll::Pending);
    assert_eq!(table.release("c", owner, None), Released::Gone);
    assert_eq!(poll(&table, heir), NEW);
    assert_eq!(table.release("c", heir, None), Released::Gone);
    assert!(table.is_empty());
}

#[test]
fn only_the_last_of_several_heirs_inherits() {
    let table = Table::new(u32::MAX);
    let owner = claim(&table, NEW);
    let first = claim(&table, Poll::Pending);
    let second = claim(&table, Poll::Pending);
    assert_eq!(poll(&table, first), Poll::Ready(Claimed::Superseded));
    assert!(table.abandon("c", first).is_none());
    table.release("c", owner, Some("s"));
    assert_eq!(poll(&table, first), Poll::Ready(Claimed::Superseded));
    assert_eq!(poll(&table, second), resumed("s"));
}

#[test]
fn a_session_that_has_arrived_goes_to_whoever_claims_it_next() {
    let table = Table::new(u32::MAX);
    let owner = claim(&table, NEW);
    let first = claim(&table, Poll::Pending);
    table.release("c", owner, Some("s"));
    let second = claim(&table, resumed("s"));
    assert_eq!(poll(&table, first), Poll::Ready(Claimed::Superseded));
    assert_eq!(table.release("c", second, Some("s")), Released::Parked(second));
}

#[test]
fn an_heir_that_goes_away_leaves_the_session_to_be_parked() {
    let table = Table::new(u32::MAX);
    let owner = claim(&table, NEW);
    let heir = claim(&table, Poll::Pending);
    assert!(table.abandon("c", heir).is_none());
    assert_eq!(table.release("c", owner, Some("s")), Released::Parked(heir));
    let owner = claim(&table, resumed("s"));
    let heir = claim(&table, Poll::Pending);
    table.release("c", owner, Some("s"));
    assert_eq!(table.abandon("c", heir), Some((heir, Poll::Ready(Some("s")))));
    assert_eq!(table.release("c", heir, Some("s")), Released::Parked(heir));
    assert_eq!(table.parked_generation("c"), Some(heir));
}

#[test]
fn a_claim_after_an_abandoned_one_waits_for_the_owner_too() {
    let table = Table::new(u32::MAX);
    let owner = claim(&table, NEW);
    let gone = claim(&table, Poll::Pending);
    assert!(table.abandon("c", gone).is_none());
    let heir = claim(&table, Poll::Pending);
    table.release("c", owner, Some("s"));
    assert_eq!(poll(&table, heir), resumed("s"));
}

#[test]
fn whoever_was_overtaken_before_it_attached_is_told() {
    let table = Table::new(u32::MAX);
    let mailbox = Fixture::new().client("c").mailbox;
    let owner = claim(&table, NEW);
    claim(&table, Poll::Pending);
    assert!(!table.attach("c", owner, &mailbox, "facts"));
    assert!(!table.attach("unknown", owner, &mailbox, "facts"));
}

#[test]
fn a_parked_session_is_only_touched_under_its_generation() {
    let table = Table::new(u32::MAX);
    let first = claim(&table, NEW);
    table.release("c", first, Some("s"));
    assert_eq!(table.with_parked("c", first, |session| *session), Some("s"));
    assert_eq!(table.with_parked("c", first + 1, |session| *session), None);
    assert_eq!(table.take_parked("c", first + 1), None);
    let second = claim(&table, resumed("s"));
    assert_eq!((table.take_parked("c", first), table.with_parked("c", second, |_| ())), (None, None));
    table.release("c", second, Some("s"));
    assert_eq!(table.take_parked("c", second), Some("s"));
    assert!(table.is_empty());
}

#[test]
fn beyond_the_limit_nobody_new_comes_in_and_those_who_have_a_session_may_go_on() {
    let table = Table::new(2);
    let new = |client_id: &str| table.claim(&client_id.into()).map(|(generation, _)| generation);
    let (first, second) = (claim(&table, NEW), new("d").expect("room"));
    assert_eq!(new("e"), None);
    assert!(!table.contains("e"));
    let heir = claim(&table, Poll::Pending);
    table.release("c", first, Some("s"));
    assert_eq!((poll(&table, heir), new("e")), (resumed("s"), None));
    table.release("c", heir, Some("s"));
    assert_eq!(new("e"), None, "a parked session counts");
    assert_eq!(table.take_parked("c", heir), Some("s"));
    assert!(new("e").is_some() && new("f").is_none(), "one place was free");
    assert_eq!(table.release("d", second, None), Released::Gone);
    table.release("d", second, None);
    assert!(new("f").is_some() && new("g").is_none(), "a place is given back once");
    assert_eq!(table.len(), 2);
}

#[test]
fn an_operator_sees_every_slot() {
    let table = Table::new(u32::MAX);
    let client = Fixture::new().client("c");
    let owner = claim(&table, NEW);
    table.attach("c", owner, &client.mailbox, "facts");
    let view = table.view("c").unwrap();
    assert!(view.connected && view.mailbox.is_some() && view.facts == Some("facts"));
    table.release("c", owner, Some("s"));
    let views = table.views();
    assert_eq!((views.len(), views[0].connected, &*views[0].client_id), (1, false, "c"));
    assert!(table.view("unknown").is_none() && table.parked_generation("unknown").is_none());
}
