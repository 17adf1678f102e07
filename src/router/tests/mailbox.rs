//! One session's queue: its limits, what gives way, and when its driver is woken.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

/// A fixture with one client `c` that subscribes to `t` at QoS 2.
fn one(limits: QueueLimits) -> (Fixture, Client) {
    let fixture = Fixture::new();
    let client = fixture.client_with("c", limits);
    fixture.subscribe(&client, "t", qos(ExactlyOnce));
    (fixture, client)
}

fn policy(on_full: OnQueueFull) -> QueueLimits {
    QueueLimits { on_full, ..LIMITS }
}

fn fill(fixture: &mut Fixture, payloads: &[&str]) {
    for payload in payloads {
        assert_eq!(fixture.publish("t", payload, AtLeastOnce), Outcome::Routed { matched: 1 });
    }
}

#[test]
fn by_default_the_oldest_unsent_message_gives_way() {
    let (mut fixture, mut client) = one(LIMITS);
    fill(&mut fixture, &["1", "2", "3", "4", "5"]);
    assert_eq!(client.read(), ["t '3' q1", "t '4' q1", "t '5' q1"]);
    assert_eq!(fixture.dropped(DropCause::QueueFull), 2);
    assert_eq!(client.losses(), [(DropCause::QueueFull, 2)]);
}

#[test]
fn drop_newest_keeps_what_waits_and_refuses_the_publisher_when_nobody_else_takes_it() {
    let (mut fixture, mut client) = one(policy(OnQueueFull::DropNewest));
    fill(&mut fixture, &["1", "2", "3"]);
    assert_eq!(fixture.publish("t", "4", AtLeastOnce), Outcome::Refused(Refused::QueueFull));
    assert_eq!((fixture.dropped(DropCause::QueueFull), fixture.batch.counts.refused), (0, 1));
    assert_eq!((client.losses(), client.refused()), (vec![], 1));
    let mut other = fixture.client("other");
    fixture.subscribe(&other, "t", qos(AtLeastOnce));
    assert_eq!(fixture.publish("t", "5", AtLeastOnce), Outcome::Routed { matched: 2 });
    assert_eq!((fixture.dropped(DropCause::QueueFull), fixture.batch.counts.refused), (1, 1));
    assert_eq!((client.losses(), client.refused()), (vec![(DropCause::QueueFull, 1)], 1));
    assert_eq!(client.read(), ["t '1' q1", "t '2' q1", "t '3' q1"]);
    assert_eq!(other.read(), ["t '5' q1"]);
}

#[test]
fn refuse_means_that_nobody_gets_the_message() {
    let (mut fixture, client) = one(policy(OnQueueFull::Refuse));
    let mut other = fixture.client("other");
    fixture.subscribe(&other, "t", qos(AtLeastOnce));
    for payload in ["1", "2", "3"] {
        assert_eq!(fixture.publish("t", payload, AtLeastOnce), Outcome::Routed { matched: 2 });
    }
    other.read();
    assert_eq!(fixture.publish("t", "4", AtLeastOnce), Outcome::Refused(Refused::QueueFull));
    assert_eq!(other.read(), [""; 0]);
    assert_eq!(client.mailbox.stats().queued, 3);
    assert_eq!((fixture.batch.counts.matched, fixture.batch.counts.refused), (8, 2));
    assert_eq!((client.losses(), client.refused()), (vec![], 1));
    assert_eq!((other.losses(), other.refused()), (vec![], 0), "its queue is not the reason");
    assert_eq!(fixture.publish("t", "QoS 0 asks nobody", AtMostOnce), Outcome::Routed { matched: 2 });
    assert_eq!(other.read(), ["t 'QoS 0 asks nobody' q0"]);
}

#[test]
fn a_reservation_that_fails_gives_back_what_it_took() {
    let mut fixture = Fixture::new();
    let mut roomy: Vec<_> =
        ["a", "b", "c"].iter().map(|id| fixture.client_with(id, policy(OnQueueFull::Refuse))).collect();
    let narrow = fixture.client_with("narrow", QueueLimits { messages_max: 1, ..policy(OnQueueFull::Refuse) });
    for client in roomy.iter().chain([&narrow]) {
        fixture.subscribe(client, "t", qos(AtLeastOnce));
    }
    assert_eq!(fixture.publish("t", "1", AtLeastOnce), Outcome::Routed { matched: 4 });
    for _ in 0..10 {
        assert_eq!(fixture.publish("t", "no", AtLeastOnce), Outcome::Refused(Refused::QueueFull));
    }
    fixture.unsubscribe(&narrow, "t");
    for payload in ["2", "3"] {
        assert_eq!(fixture.publish("t", payload, AtLeastOnce), Outcome::Routed { matched: 3 });
    }
    for client in &mut roomy {
        assert_eq!(client.read(), ["t '1' q1", "t '2' q1", "t '3' q1"]);
    }
}

#[test]
fn with_refuse_the_expired_and_qos_0_give_way_first() {
    let (mut fixture, mut client) = one(QueueLimits { queue_qos0: true, ..policy(OnQueueFull::Refuse) });
    fixture.give(&expiring("brief", AtLeastOnce, 10));
    fixture.publish("t", "light", AtMostOnce);
    fill(&mut fixture, &["1"]);
    fixture.batch.now = BrokerTime::from_millis(10);
    fill(&mut fixture, &["2", "3"]);
    assert_eq!(fixture.publish("t", "4", AtLeastOnce), Outcome::Refused(Refused::QueueFull));
    assert_eq!((fixture.dropped(DropCause::Expired), fixture.dropped(DropCause::QueueFull)), (1, 1));
    assert_eq!(client.read(), ["t '1' q1", "t '2' q1", "t '3' q1"]);
}

#[test]
fn disconnect_drops_the_oldest_and_wants_the_client_gone() {
    let (mut fixture, mut client) = one(policy(OnQueueFull::Disconnect));
    fill(&mut fixture, &["1", "2", "3"]);
    client.wait();
    fill(&mut fixture, &["4"]);
    fixture.flush();
    assert_eq!(client.wakes(), 1);
    let kick = MailboxEvent::Control(Control::Kick(Kick::SlowClient));
    assert_eq!(client.poll(u64::MAX, &mut VecDeque::new()), Poll::Ready(kick));
    assert_eq!(client.read(), ["t '2' q1", "t '3' q1", "t '4' q1"]);
    fixture.hang_up(&client);
    fill(&mut fixture, &["5", "6", "7", "8"]);
    client.mailbox.attach(client.under_way());
    client.inflight.clear();
    assert_eq!(client.read(), ["t '6' q1", "t '7' q1", "t '8' q1"]);
}

#[test]
fn qos_0_never_displaces_what_was_promised() {
    for on_full in [OnQueueFull::DropOldest, OnQueueFull::DropNewest, OnQueueFull::Refuse, OnQueueFull::Disconnect] {
        let (mut fixture, mut client) = one(policy(on_full));
        fixture.publish("t", "a", AtMostOnce);
        fill(&mut fixture, &["1", "2"]);
        fixture.publish("t", "b", AtMostOnce);
        let waiting: Vec<_> = client.mailbox.peek(0, 9).0.iter().map(words).collect();
        assert_eq!(waiting, ["t '1' q1", "t '2' q1", "t 'b' q0"], "QoS 0 displaces QoS 0");
        client.read();
        fill(&mut fixture, &["3", "4", "5"]);
        fixture.publish("t", "c", AtMostOnce);
        assert_eq!(fixture.dropped(DropCause::QueueFull), 2, "a and c");
        assert_eq!(client.read(), ["t '3' q1", "t '4' q1", "t '5' q1"]);
    }
}

#[test]
fn where_promised_messages_may_not_go_qos_0_gives_way_to_them() {
    for on_full in [OnQueueFull::DropNewest, OnQueueFull::Refuse] {
        let (mut fixture, mut client) = one(policy(on_full));
        fill(&mut fixture, &["1", "2"]);
        fixture.publish("t", "a", AtMostOnce);
        fill(&mut fixture, &["3"]);
        assert_eq!(fixture.publish("t", "4", AtLeastOnce), Outcome::Refused(Refused::QueueFull));
        assert_eq!(client.read(), ["t '1' q1", "t '2' q1", "t '3' q1"]);
    }
}

#[test]
fn the_bytes_are_limited_too() {
    let size = message("t", "12345", AtLeastOnce).size() as u64;
    let limits = QueueLimits { messages_max: 100, bytes_max: 2 * size, ..LIMITS };
    let (mut fixture, mut client) = one(limits);
    fill(&mut fixture, &["11111", "22222", "33333"]);
    assert_eq!(client.mailbox.stats().queued_bytes, 2 * size);
    let larger = "x".repeat(2 * size as usize);
    assert_eq!(
        fixture.publish("t", &larger, AtLeastOnce),
        Outcome::Refused(Refused::QueueFull),
        "larger than the queue"
    );
    assert_eq!(client.read(), ["t '22222' q1", "t '33333' q1"]);
    assert_eq!(client.mailbox.stats().queued_bytes, 0);
}

// [MQTT-3.3.2-5]
#[test]
fn the_expired_go_before_anything_else_does() {
    let (mut fixture, mut client) = one(LIMITS);
    fixture.give(&expiring("stays", AtLeastOnce, 1_000));
    fixture.give(&expiring("goes", AtLeastOnce, 10));
    fill(&mut fixture, &["1"]);
    fixture.batch.now = BrokerTime::from_millis(10);
    fill(&mut fixture, &["2"]);
    assert_eq!((fixture.dropped(DropCause::Expired), fixture.dropped(DropCause::QueueFull)), (1, 0));
    assert_eq!(client.read(), ["t 'stays' q1", "t '1' q1", "t '2' q1"]);
}

#[test]
fn a_sleeping_queue_can_be_swept_of_the_expired() {
    let (mut fixture, client) = one(LIMITS);
    fixture.hang_up(&client);
    fixture.give(&expiring("goes", AtLeastOnce, 10));
    fill(&mut fixture, &["1"]);
    let mut batch = Batch::at(BrokerTime::from_millis(9));
    client.mailbox.drop_expired(batch.now, &mut batch);
    assert_eq!(client.mailbox.stats().queued, 2);
    batch.now = BrokerTime::from_millis(10);
    client.mailbox.drop_expired(batch.now, &mut batch);
    assert_eq!((client.mailbox.stats().queued, batch.counts.dropped[DropCause::Expired as usize]), (1, 1));
}

#[test]
fn qos_0_waits_only_for_a_client_that_is_there() {
    for (queue_qos0, kept) in [(false, 0), (true, 2)] {
        let (mut fixture, mut client) = one(QueueLimits { queue_qos0, ..LIMITS });
        fixture.publish("t", "online", AtMostOnce);
        fixture.hang_up(&client);
        fixture.publish("t", "offline", AtMostOnce);
        assert_eq!(fixture.dropped(DropCause::Offline), 2 - kept);
        client.mailbox.attach(client.under_way());
        assert_eq!(client.read().len() as u64, kept);
    }
}

// [MQTT-4.5.0-1]
#[test]
fn messages_wait_for_a_session_that_is_away_in_their_order() {
    let (mut fixture, mut client) = one(LIMITS);
    fill(&mut fixture, &["1"]);
    fixture.hang_up(&client);
    fill(&mut fixture, &["2", "3"]);
    let stats = client.mailbox.stats();
    assert_eq!(
        (stats.queued, stats.queued_bytes, stats.online),
        (3, 3 * message("t", "1", AtLeastOnce).size() as u64, false)
    );
    client.mailbox.attach(client.under_way());
    assert_eq!(client.read(), ["t '1' q1", "t '2' q1", "t '3' q1"]);
}

// [MQTT-3.3.4-9] [MQTT-4.9.0-2]
#[test]
fn no_more_leave_than_the_window_has_free_and_order_is_kept() {
    let (mut fixture, mut client) = one(QueueLimits { messages_max: 100, ..LIMITS });
    client.window = 2;
    fill(&mut fixture, &["1", "2", "3"]);
    fixture.publish("t", "light", AtMostOnce);
    fill(&mut fixture, &["4"]);
    assert_eq!(client.read(), ["t '1' q1", "t '2' q1"]);
    assert_eq!(client.read(), [""; 0]);
    client.acknowledge(1);
    assert_eq!(client.read(), ["t '3' q1", "t 'light' q0"], "QoS 0 does not overtake");
    client.acknowledge(2);
    assert_eq!(client.read(), ["t '4' q1"]);
}

#[test]
fn no_more_leave_than_the_socket_takes_but_one_always_does() {
    let (mut fixture, client) = one(LIMITS);
    fill(&mut fixture, &["1", "2", "3"]);
    let mut into = VecDeque::new();
    let one_more = message("t", "2", AtLeastOnce).size() as u64 + 1;
    assert_eq!(client.poll(0, &mut into), Poll::Pending);
    assert_eq!(client.poll(1, &mut into), Poll::Ready(MailboxEvent::Deliveries));
    assert_eq!(into.len(), 1);
    assert_eq!(client.poll(one_more, &mut into), Poll::Ready(MailboxEvent::Deliveries));
    assert_eq!(
        into.iter().filter_map(Queued::one).map(words).collect::<Vec<_>>(),
        ["t '1' q1", "t '2' q1", "t '3' q1"]
    );
}

#[test]
fn a_driver_is_woken_once_a_batch() {
    let (mut fixture, client) = one(LIMITS);
    client.wait();
    fill(&mut fixture, &["1", "2"]);
    assert_eq!(client.wakes(), 0, "not before the batch is flushed");
    fixture.flush();
    assert_eq!(client.wakes(), 1);
}

#[test]
fn a_driver_that_can_send_nothing_is_not_woken_again_and_again() {
    let (mut fixture, mut client) = one(QueueLimits { messages_max: 100, ..LIMITS });
    client.window = 1;
    fill(&mut fixture, &["1", "2"]);
    assert_eq!(client.read(), ["t '1' q1"]);
    assert_eq!(client.poll(u64::MAX, &mut VecDeque::new()), Poll::Pending, "the window is closed");
    fill(&mut fixture, &["3", "4"]);
    fixture.flush();
    assert_eq!(client.wakes(), 0);
    client.acknowledge(1);
    assert_eq!(client.read(), ["t '2' q1"], "the driver looks by itself when the window opens");
}

#[test]
fn a_driver_is_woken_when_what_stuck_gives_way_to_what_may_go() {
    let (mut fixture, mut client) = one(LIMITS);
    client.window = 1;
    fill(&mut fixture, &["1", "2"]);
    assert_eq!(client.read(), ["t '1' q1"]);
    fixture.publish("t", "light", AtMostOnce);
    client.wait();
    fill(&mut fixture, &["3", "4"]);
    fixture.flush();
    assert_eq!(client.wakes(), 1, "2 has given way, so the QoS 0 message may go");
    assert_eq!(client.read(), ["t 'light' q0"]);
}

#[test]
fn a_takeover_is_never_overwritten_and_comes_first() {
    let (mut fixture, client) = one(LIMITS);
    fill(&mut fixture, &["1"]);
    assert!(client.mailbox.signal(Control::Kick(Kick::Disconnect)));
    assert!(client.mailbox.signal(Control::Takeover));
    assert!(!client.mailbox.signal(Control::Shutdown), "it moves already");
    let takeover = MailboxEvent::Control(Control::Takeover);
    assert_eq!(client.poll(u64::MAX, &mut VecDeque::new()), Poll::Ready(takeover));
    fixture.hang_up(&client);
    assert!(!client.mailbox.signal(Control::Takeover), "nobody is there");
}

#[test]
fn a_signal_wakes_at_once() {
    let (_fixture, client) = one(LIMITS);
    client.wait();
    client.mailbox.signal(Control::Shutdown);
    assert_eq!(client.wakes(), 1);
}

#[test]
fn a_closed_mailbox_takes_nothing_and_gives_back_what_it_had() {
    let (mut fixture, client) = one(policy(OnQueueFull::Refuse));
    fill(&mut fixture, &["1", "2"]);
    assert_eq!(client.mailbox.close(&mut fixture.batch).len(), 2);
    assert_eq!(fixture.publish("t", "3", AtLeastOnce), Outcome::Routed { matched: 0 });
    assert_eq!((fixture.batch.counts.matched, fixture.batch.counts.no_subscriber), (2, 1));
}

#[test]
fn a_purge_is_counted() {
    let (mut fixture, mut client) = one(LIMITS);
    fill(&mut fixture, &["1", "2"]);
    assert_eq!(client.mailbox.purge(&mut fixture.batch), 2);
    assert_eq!(fixture.dropped(DropCause::Purged), 2);
    fill(&mut fixture, &["3"]);
    assert_eq!(client.read(), ["t '3' q1"]);
}

#[test]
fn an_inquiry_waits_for_the_driver_one_at_a_time_and_goes_with_the_connection() {
    let (mut fixture, client) = one(policy(OnQueueFull::DropOldest));
    let answered = Arc::new(AtomicU32::new(0));
    let ask = |mailbox: &Mailbox| {
        let answered = Arc::clone(&answered);
        let answer = Box::new(move |all: usize, _| answered.store(all as u32, Relaxed));
        mailbox.ask(Inquiry { skip: 0, limit: 1, answer })
    };
    client.wait();
    assert!(ask(&client.mailbox));
    assert_eq!(client.wakes(), 1);
    assert!(!ask(&client.mailbox), "another one waits");
    assert_eq!(client.poll(u64::MAX, &mut VecDeque::new()), Poll::Ready(MailboxEvent::Inquired));
    let inquiry = client.mailbox.take_inquiry().unwrap();
    (inquiry.answer)(7, Vec::new());
    assert_eq!(answered.load(Relaxed), 7);
    assert_eq!(client.poll(u64::MAX, &mut VecDeque::new()), Poll::Pending);
    assert!(ask(&client.mailbox));
    fixture.hang_up(&client);
    assert!(client.mailbox.take_inquiry().is_none() && !ask(&client.mailbox));
}
