//! Messages that are handed out together.

use super::*;
use crate::router::batch::{RUN_COPIES, RUN_WORK};

fn gather(fixture: &mut Fixture, topic: &str, payload: &str) -> bool {
    fixture.router.gather(&draft(topic, payload, AtMostOnce), &mut fixture.batch)
}

#[test]
fn gathered_messages_wait_for_the_end_and_wake_once() {
    let mut fixture = Fixture::new();
    let mut clients = ["a", "b"].map(|client_id| fixture.client(client_id));
    clients.iter().for_each(|client| assert!(!fixture.subscribe(client, "t", qos(AtMostOnce)).existed));
    clients.iter().for_each(Client::wait);
    for payload in ["1", "2", "3"] {
        assert!(gather(&mut fixture, "t", payload));
    }
    assert_eq!((fixture.batch.work(), fixture.batch.counts.matched), (6, 0));
    assert!(clients.iter_mut().all(|client| client.read().is_empty()));
    clients.iter().for_each(Client::wait);
    fixture.flush();
    for client in &mut clients {
        assert_eq!((client.wakes(), client.read()), (1, vec!["t '1' q0".into(), "t '2' q0".into(), "t '3' q0".into()]));
    }
    assert_eq!(fixture.router.counters().snapshot().matched, 6);
}

// [MQTT-4.6.0-5], [MQTT-4.6.0-6]
#[test]
fn what_comes_after_a_gathered_message_does_not_overtake_it() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client_with("a", QueueLimits { messages_max: 5, ..LIMITS });
    fixture.subscribe(&client, "t/#", qos(AtLeastOnce));
    gather(&mut fixture, "t/1", "1");
    gather(&mut fixture, "t/2", "2");
    gather(&mut fixture, "t/1", "3");
    fixture.publish("t/1", "4", AtLeastOnce);
    gather(&mut fixture, "t/1", "5");
    fixture.flush();
    assert_eq!(client.read(), ["t/1 '1' q0", "t/2 '2' q0", "t/1 '3' q0", "t/1 '4' q1", "t/1 '5' q0"]);
}

#[test]
fn only_what_nobody_refuses_and_need_not_be_kept_is_gathered() {
    let all = [AtMostOnce, AtLeastOnce, ExactlyOnce];
    let gathers_at = |sub_qos, on_full, is_stored, retain, filter: &str, payload: &str| {
        let mut fixture = Fixture::new();
        let limits = QueueLimits { on_full, bytes_max: 1_000, ..LIMITS };
        let mut client = fixture.client_with("a", limits);
        if is_stored {
            client.mailbox = fixture.router.stored_mailbox(&"a".into(), limits);
        }
        fixture.subscribe(&client, filter, qos(sub_qos));
        all.map(|qos| {
            let message = Draft::new(&MessageParts { retain, ..parts("t", payload, qos) });
            fixture.router.gather(&message, &mut fixture.batch)
        })
    };
    let gathers = |on_full, is_stored, retain, filter: &str, payload: &str| {
        gathers_at(AtLeastOnce, on_full, is_stored, retain, filter, payload)
    };
    assert_eq!(gathers_at(AtMostOnce, OnQueueFull::DropOldest, false, false, "t", "1"), [true, false, false]);
    for on_full in [OnQueueFull::DropOldest, OnQueueFull::Disconnect] {
        assert_eq!(gathers(on_full, false, false, "t", "1"), [true; 3]);
    }
    for on_full in [OnQueueFull::DropNewest, OnQueueFull::Refuse] {
        assert_eq!(gathers(on_full, false, false, "t", "1"), [true, false, false]);
    }
    assert_eq!(gathers(OnQueueFull::DropOldest, true, false, "t", "1"), [true, false, false]);
    assert_eq!(gathers(OnQueueFull::DropOldest, false, true, "t", "1"), [false; 3]);
    assert_eq!(
        gathers(OnQueueFull::DropOldest, false, false, "$share/g/t", "1"),
        [true, false, false],
        "a small group"
    );
    assert_eq!(gathers(OnQueueFull::DropOldest, false, false, "nobody", "1"), [true, false, false]);
    assert_eq!(gathers(OnQueueFull::DropOldest, false, false, "t", &"x".repeat(2_000)), [true, false, false]);
}

#[test]
fn a_large_message_comes_alone() {
    let mut fixture = Fixture::new();
    let client = fixture.client("a");
    fixture.subscribe(&client, "t", qos(AtMostOnce));
    assert!(gather(&mut fixture, "t", &"x".repeat(16_000)));
    assert!(!gather(&mut fixture, "t", &"x".repeat(17_000)));
}

#[test]
fn an_operator_sees_the_messages_of_runs() {
    let mut fixture = Fixture::new();
    let client = fixture.client_with("a", QueueLimits { messages_max: 10, ..LIMITS });
    fixture.subscribe(&client, "#", qos(AtMostOnce));
    for (topic, payload) in [("t", "1"), ("t", "2"), ("u", "3"), ("u", "4"), ("u", "5")] {
        assert!(gather(&mut fixture, topic, payload));
    }
    fixture.publish("v", "6", AtMostOnce);
    let all = ["t '1' q0", "t '2' q0", "u '3' q0", "u '4' q0", "u '5' q0", "v '6' q0"];
    for skip in 0..=all.len() {
        for limit in 0..=all.len() {
            let (found, count) = client.mailbox.peek(skip, limit);
            let expected: Vec<_> = all.iter().skip(skip).take(limit).map(|line| line.to_string()).collect();
            assert_eq!(found.iter().map(words).collect::<Vec<_>>(), expected, "{skip}, {limit}");
            assert_eq!(count, all.len());
        }
    }
}

#[test]
fn what_nobody_gets_is_counted_so() {
    let mut fixture = Fixture::new();
    assert!(gather(&mut fixture, "nobody", "1"));
    fixture.router.hand_out(&mut fixture.batch);
    assert_eq!((fixture.batch.counts.no_subscriber, fixture.batch.counts.matched), (1, 0));
}

#[test]
fn a_run_has_no_more_than_the_window_takes_and_the_lower_qos() {
    let mut fixture = Fixture::new();
    let limits = QueueLimits { messages_max: 10, ..LIMITS };
    let [mut acked, mut unacked] = ["a", "b"].map(|client_id| fixture.client_with(client_id, limits));
    fixture.subscribe(&acked, "t", qos(AtLeastOnce));
    fixture.subscribe(&unacked, "t", qos(AtMostOnce));
    acked.window = 2;
    for payload in ["1", "2", "3", "4", "5"] {
        assert!(fixture.router.gather(&draft("t", payload, ExactlyOnce), &mut fixture.batch));
    }
    fixture.flush();
    assert_eq!(unacked.read(), ["1", "2", "3", "4", "5"].map(|payload| format!("t '{payload}' q0")));
    assert_eq!(acked.read(), ["t '1' q1", "t '2' q1"]);
    assert_eq!((acked.read().len(), acked.mailbox.stats().queued), (0, 3));
    acked.acknowledge(1);
    assert_eq!(acked.read(), ["t '3' q1"]);
    acked.acknowledge(2);
    assert_eq!(acked.read(), ["t '4' q1", "t '5' q1"]);
    let stats = acked.mailbox.stats();
    assert_eq!((stats.queued, stats.queued_bytes), (0, 0));
}

#[test]
fn a_run_is_handed_out_when_it_has_become_long() {
    let mut fixture = Fixture::new();
    let limits = QueueLimits { messages_max: 1_000_000, bytes_max: u64::MAX, ..LIMITS };
    let mut client = fixture.client_with("c", limits);
    fixture.subscribe(&client, "t", qos(AtMostOnce));
    let payload = "x".repeat(1_000);
    for n in 1..=1_000 {
        assert!(gather(&mut fixture, "t", &payload));
        let waiting = n - fixture.batch.counts.matched;
        assert!(waiting < 100);
        let work_waiting = waiting.min(RUN_WORK).max(waiting / RUN_COPIES);
        assert_eq!(fixture.batch.work(), fixture.batch.runs * RUN_WORK + work_waiting);
    }
    fixture.flush();
    assert_eq!(client.read().len(), 1_000);
}

#[test]
fn only_messages_that_are_alike_stand_in_one_run() {
    let mut fixture = Fixture::new();
    let client = fixture.client_with("c", QueueLimits { messages_max: 10, ..LIMITS });
    fixture.subscribe(&client, "#", qos(AtMostOnce));
    let later = BrokerTime::from_millis(9);
    let plain = parts("t", "1", AtMostOnce);
    for parts in [
        plain,
        plain,
        MessageParts { topic: "u", ..plain },
        MessageParts { topic: "u", expires_at: later, ..plain },
        MessageParts { topic: "u", expires_at: later, publisher: PublisherId(8), ..plain },
        MessageParts { topic: "u", expires_at: later, publisher: PublisherId(8), forward: &[1, 1], ..plain },
        MessageParts { topic: "u", expires_at: later, publisher: PublisherId(8), forward: &[1, 0], ..plain },
    ] {
        assert!(fixture.router.gather(&Draft::new(&parts), &mut fixture.batch));
    }
    fixture.flush();
    let mut into = VecDeque::new();
    assert_eq!(client.poll(u64::MAX, &mut into), Poll::Ready(MailboxEvent::Deliveries));
    assert_eq!(into.iter().map(Queued::messages).collect::<Vec<_>>(), [2, 1, 1, 1, 2]);
    let forwards: Vec<_> = into.iter().flat_map(Queued::deliveries).map(|it| it.message.forward().to_vec()).collect();
    assert_eq!(forwards[5..], [[1, 1], [1, 0]]);
}

#[test]
fn a_run_that_does_not_fit_is_taken_as_far_as_it_does() {
    for on_full in [OnQueueFull::DropOldest, OnQueueFull::DropNewest] {
        let mut fixture = Fixture::new();
        let mut client = fixture.client_with("c", QueueLimits { on_full, ..LIMITS });
        fixture.subscribe(&client, "t", qos(AtMostOnce));
        for run in [["0", "1"], ["2", "3"]] {
            run.iter().for_each(|payload| assert!(gather(&mut fixture, "t", payload)));
            fixture.router.hand_out(&mut fixture.batch);
        }
        assert!(gather(&mut fixture, "t", "4"));
        fixture.flush();
        assert_eq!(client.read(), ["2", "3", "4"].map(|payload| format!("t '{payload}' q0")));
        assert_eq!(client.losses(), [(DropCause::QueueFull, 2)]);
    }
}

#[test]
fn a_run_is_little_work_while_all_take_it_whole() {
    let mut fixture = Fixture::new();
    let mut clients =
        ["a", "b"].map(|client_id| fixture.client_with(client_id, QueueLimits { messages_max: 30, ..LIMITS }));
    clients.iter().for_each(|client| assert!(!fixture.subscribe(client, "t", qos(AtMostOnce)).existed));
    let work_of = |fixture: &mut Fixture, messages: u64| {
        (0..messages).for_each(|_| assert!(gather(fixture, "t", "x")));
        let before = fixture.batch.work();
        fixture.router.hand_out(&mut fixture.batch);
        let work = (before, fixture.batch.work());
        fixture.flush();
        assert_eq!(fixture.batch.work(), 0, "it is added up");
        work
    };
    assert_eq!(work_of(&mut fixture, 2), (4, 8));
    assert_eq!(work_of(&mut fixture, 20), (8, 8));
    assert_eq!(work_of(&mut fixture, 10), (8, 20), "two have no room for all of it");
    assert_eq!(work_of(&mut fixture, 10).0, 20, "nor may they have for the next");
    clients.iter_mut().for_each(|client| assert_eq!(client.read().len(), 30));
    assert_eq!(work_of(&mut fixture, 10), (20, 8));
    assert_eq!(work_of(&mut fixture, 10).0, 14, "one is believed again");
    clients.iter_mut().for_each(|client| assert_eq!(client.read().len(), 20));
    assert_eq!(work_of(&mut fixture, 10).0, 8);
}
