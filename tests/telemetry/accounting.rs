//! Every copy of every message is accounted for: matched = delivered + in flight + queued + dropped by cause + refused.
//!
//! Each test makes copies end in one way and names the numbers; the last lets many clients do everything at once.

use std::time::Duration;

use midge::message::DropCause;
use midge::packet::{ReasonCode, SubscribeOptions};

use crate::support::{Client, Connect, Incoming, Publish, TestBroker, subscription};

/// Without `$SYS`, so that every number is the test's own.
const QUIET: &str = "[sys]\ninterval = 0\n";

fn quiet(text: &str) -> TestBroker {
    TestBroker::start(&format!("{QUIET}{text}"))
}

fn with_policy(policy: &str) -> TestBroker {
    let listener = format!("[[listener]]\naddress = \"127.0.0.1:0\"\non_queue_full = \"{policy}\"\n");
    TestBroker::with_listeners(&listener, &format!("{QUIET}[limits]\nqueue_messages_max = 2"))
}

impl TestBroker {
    fn client(&self, client_id: &str) -> Client {
        self.connect(Connect { client_id, ..Connect::default() })
    }

    /// With a session that stays.
    fn lasting(&self, client_id: &str) -> Client {
        self.connect(Connect { client_id, resume: true, session_expiry: 3600, ..Connect::default() })
    }

    /// Waits until this many copies were dropped for the cause, and no other, and all are accounted for.
    fn dropped(&self, cause: DropCause, copies: u64) {
        self.until(cause.name(), |broker| {
            let (counts, sums) = (broker.counts(), broker.accounting());
            counts.dropped[cause as usize] == copies && sums.dropped == copies && sums.is_balanced()
        });
    }

    /// Waits for copies in flight, and copies queued.
    fn kept(&self, inflight: u64, queued: u64) {
        self.until(&format!("{inflight} in flight and {queued} queued"), |broker| {
            let sums = broker.accounting();
            (sums.inflight, sums.queued) == (inflight, queued) && sums.is_balanced()
        });
    }
}

fn publish(client: &mut Client, topic: &str, qos: u8, times: usize) {
    for _ in 0..times {
        match qos {
            0 => client.publish(Publish { topic, payload: b"payload", ..Publish::default() }),
            1 => drop(client.publish_acked(topic, "payload")),
            _ => client.publish_exactly_once(topic, "payload"),
        }
    }
}

#[test]
fn copies_of_every_quality_are_delivered() {
    let broker = quiet("");
    let mut subscribers: Vec<_> = (0..5).map(|n| broker.client(&format!("s{n}"))).collect();
    for (n, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.subscribe("a/+", subscription((n % 3) as u8));
    }
    let mut publisher = broker.client("p");
    for qos in 0..3 {
        publish(&mut publisher, "a/b", qos, 10);
    }
    for subscriber in &mut subscribers {
        (0..30).for_each(|_| assert_eq!(subscriber.take(), "payload"));
    }
    broker.until("all are delivered", |broker| broker.accounting().delivered == 150);
    let (counts, sums) = (broker.counts(), broker.accounting());
    assert_eq!((counts.delivered_qos0, counts.delivered_qos1, counts.delivered_qos2), (90, 50, 10));
    assert_eq!((sums.matched, sums.inflight, sums.queued, sums.dropped, sums.refused), (150, 0, 0, 0, 0));
}

#[test]
fn copies_in_flight_and_queued_outlive_the_connection_and_are_delivered_once() {
    let broker = quiet("");
    let connect =
        Connect { client_id: "s", resume: true, session_expiry: 3600, receive_maximum: Some(2), ..Connect::default() };
    let mut subscriber = broker.connect(connect);
    subscriber.subscribe("a", subscription(1));
    let mut publisher = broker.client("p");
    publish(&mut publisher, "a", 1, 5);
    broker.kept(2, 3);
    subscriber.vanish();
    broker.kept(2, 3);
    let mut subscriber = broker.connect(connect);
    broker.kept(2, 3);
    (0..5).for_each(|_| assert_eq!(subscriber.take(), "payload"));
    broker.kept(0, 0);
    assert_eq!((broker.accounting().delivered, broker.counts().redelivered), (5, 2));
}

#[test]
fn a_retained_message_is_a_copy_for_every_subscription_that_asks_for_it() {
    let broker = quiet("");
    let mut publisher = broker.client("p");
    publisher.publish(Publish { topic: "a", payload: b"kept", qos: 1, retain: true, ..Publish::default() });
    assert_eq!(publisher.next(), Incoming::PubAck(ReasonCode::NoMatchingSubscribers));
    for n in 0..3 {
        let mut subscriber = broker.client(&format!("s{n}"));
        subscriber.subscribe("#", subscription(n));
        assert_eq!(subscriber.take(), "kept");
        broker.until("it is delivered", |broker| broker.accounting().delivered == u64::from(n) + 1);
        subscriber.leave();
    }
    broker.kept(0, 0);
    assert_eq!((broker.accounting().matched, broker.counts().retained_sent), (3, 3));
}

#[test]
fn offline() {
    let broker = quiet("");
    let mut subscriber = broker.lasting("s");
    subscriber.subscribe("a", subscription(1));
    subscriber.leave();
    let mut publisher = broker.client("p");
    publish(&mut publisher, "a", 0, 3);
    publish(&mut publisher, "a", 1, 2);
    broker.dropped(DropCause::Offline, 3);
    broker.kept(0, 2);
}

#[test]
fn queue_full_where_the_oldest_goes() {
    let broker = with_policy("drop_oldest");
    let mut subscriber = broker.lasting("s");
    subscriber.subscribe("a", subscription(1));
    subscriber.leave();
    publish(&mut broker.client("p"), "a", 1, 7);
    broker.dropped(DropCause::QueueFull, 5);
    broker.kept(0, 2);
}

#[test]
fn queue_full_where_the_newest_goes_and_somebody_else_gets_it() {
    let broker = with_policy("drop_newest");
    let mut asleep = broker.lasting("asleep");
    asleep.subscribe("a", subscription(1));
    asleep.leave();
    let mut awake = broker.client("awake");
    awake.subscribe("a", subscription(1));
    let mut publisher = broker.client("p");
    for _ in 0..7 {
        assert_eq!(publisher.publish_acked("a", "payload"), ReasonCode::Success);
        assert_eq!(awake.take(), "payload");
    }
    broker.dropped(DropCause::QueueFull, 5);
    assert_eq!(broker.accounting().refused, 0);
}

#[test]
fn refused_when_nobody_can_take_it() {
    let broker = with_policy("drop_newest");
    let mut asleep = broker.lasting("asleep");
    asleep.subscribe("a", subscription(1));
    asleep.leave();
    let mut publisher = broker.client("p");
    let codes: Vec<_> = (0..4).map(|_| publisher.publish_acked("a", "payload")).collect();
    assert_eq!(codes[1..], [ReasonCode::Success, ReasonCode::QuotaExceeded, ReasonCode::QuotaExceeded]);
    broker.until("two are counted as refused", |broker| broker.counts().refused_messages == 2);
    broker.kept(0, 2);
    let sums = broker.accounting();
    assert_eq!((sums.matched, sums.refused, sums.dropped), (4, 2, 0));
}

#[test]
fn refused_for_all_when_one_session_wants_the_publisher_refused() {
    let broker = with_policy("refuse");
    let mut asleep = broker.lasting("asleep");
    asleep.subscribe("a", subscription(1));
    asleep.leave();
    let mut awake = broker.client("awake");
    awake.subscribe("a", subscription(1));
    let mut publisher = broker.client("p");
    for expected in [ReasonCode::Success, ReasonCode::Success, ReasonCode::QuotaExceeded, ReasonCode::QuotaExceeded] {
        assert_eq!(publisher.publish_acked("a", "payload"), expected);
    }
    (0..2).for_each(|_| assert_eq!(awake.take(), "payload"));
    broker.until("two are counted as refused", |broker| broker.counts().refused_messages == 2);
    broker.kept(0, 2);
    let sums = broker.accounting();
    assert_eq!((sums.matched, sums.delivered, sums.refused, sums.dropped), (8, 2, 4, 0));
}

#[test]
fn queue_full_where_the_slow_client_is_disconnected() {
    let broker = with_policy("disconnect");
    let connect = Connect { client_id: "s", session_expiry: 60, receive_maximum: Some(1), ..Connect::default() };
    let mut subscriber = broker.connect(connect);
    subscriber.subscribe("a", subscription(1));
    let mut publisher = broker.client("p");
    publish(&mut publisher, "a", 1, 1);
    subscriber.take_id();
    broker.kept(1, 0);
    publish(&mut publisher, "a", 1, 3);
    assert_eq!(subscriber.next(), Incoming::Disconnect(ReasonCode::QuotaExceeded));
    broker.dropped(DropCause::QueueFull, 1);
    broker.kept(1, 2);
}

#[test]
fn expired_before_they_were_sent() {
    let broker = quiet("");
    let mut subscriber = broker.lasting("s");
    subscriber.subscribe("a", subscription(1));
    subscriber.leave();
    let mut publisher = broker.client("p");
    for expiry in [Some(5), None, Some(5)] {
        publisher.publish(Publish { topic: "a", payload: b"x", qos: 1, expiry, ..Publish::default() });
        assert_eq!(publisher.next(), Incoming::PubAck(ReasonCode::Success));
    }
    broker.kept(0, 3);
    broker.clock.advance(Duration::from_secs(6));
    assert_eq!(broker.lasting("s").take(), "x");
    broker.dropped(DropCause::Expired, 2);
}

#[test]
fn too_large_for_the_client() {
    let broker = quiet("");
    let mut subscriber =
        broker.connect(Connect { client_id: "s", maximum_packet_size: Some(60), ..Connect::default() });
    subscriber.subscribe("a", subscription(2));
    let mut publisher = broker.client("p");
    for qos in 0..3 {
        publisher.publish(Publish { topic: "a", payload: &[b'x'; 100], qos, ..Publish::default() });
    }
    publish(&mut publisher, "a", 1, 1);
    assert_eq!(subscriber.take(), "payload");
    broker.dropped(DropCause::TooLarge, 3);
}

#[test]
fn no_local() {
    let broker = quiet("");
    let mut client = broker.client("c");
    client.subscribe("a", SubscribeOptions { no_local: true, ..subscription(1) });
    publish(&mut client, "a", 1, 2);
    publish(&mut client, "a", 0, 1);
    broker.dropped(DropCause::NoLocal, 3);
}

#[test]
fn not_authorised_to_receive() {
    let directory = tempfile::tempdir().unwrap();
    let acl = directory.path().join("acl");
    std::fs::write(&acl, "topic write a/#\ntopic read a/1\n").unwrap();
    let broker = quiet(&format!("[access]\nacl_file = {acl:?}"));
    let mut subscriber = broker.client("s");
    subscriber.subscribe("a/#", subscription(1));
    let mut publisher = broker.client("p");
    for topic in ["a/2", "a/1", "a/3"] {
        publish(&mut publisher, topic, 1, 1);
    }
    assert_eq!(subscriber.take(), "payload");
    broker.dropped(DropCause::NotAuthorized, 2);
}

#[test]
fn no_window_in_a_shared_group_and_its_queue_full() {
    let broker = quiet("[shared]\nqueue_messages_max = 2");
    let mut member = broker.lasting("m");
    member.subscribe("$share/g/a", subscription(1));
    member.leave();
    let mut publisher = broker.client("p");
    publish(&mut publisher, "a", 1, 2);
    broker.kept(0, 2);
    assert_eq!(publisher.publish_acked("a", "payload"), ReasonCode::QuotaExceeded);
    broker.until("it is refused", |broker| broker.accounting().refused == 1);
    broker.kept(0, 2);
    // Somebody else takes it: now it is the group's loss alone.
    let mut other = broker.client("o");
    other.subscribe("a", subscription(1));
    publish(&mut publisher, "a", 1, 1);
    assert_eq!(other.take(), "payload");
    broker.dropped(DropCause::Window, 1);
}

#[test]
fn the_session_ends_with_copies_in_flight_and_queued() {
    let broker = quiet("");
    let connect = Connect { client_id: "s", receive_maximum: Some(3), ..Connect::default() };
    let mut subscriber = broker.connect(connect);
    subscriber.subscribe("a", subscription(2));
    let mut publisher = broker.client("p");
    publish(&mut publisher, "a", 1, 1);
    publish(&mut publisher, "a", 2, 4);
    // One is sent, one is on its second half, one is sent, two wait.
    subscriber.take_id();
    let id = subscriber.take_id();
    subscriber.pubrec(id, ReasonCode::Success);
    broker.kept(3, 2);
    subscriber.vanish();
    broker.dropped(DropCause::SessionEnded, 5);
}

#[test]
fn a_session_that_expires_gives_its_copies_up() {
    let broker = quiet("");
    let mut subscriber = broker.connect(Connect { client_id: "s", session_expiry: 30, ..Connect::default() });
    subscriber.subscribe("a", subscription(1));
    subscriber.leave();
    publish(&mut broker.client("p"), "a", 1, 4);
    broker.kept(0, 4);
    broker.clock.advance(Duration::from_secs(31));
    broker.dropped(DropCause::SessionEnded, 4);
    assert_eq!(broker.counts().sessions_expired, 1);
}

#[test]
fn copies_of_a_shared_group_move_to_another_member_and_count_once() {
    let broker = quiet("");
    let connect = Connect { client_id: "first", receive_maximum: Some(2), ..Connect::default() };
    let mut first = broker.connect(connect);
    first.subscribe("$share/g/a", subscription(2));
    let mut publisher = broker.client("p");
    publish(&mut publisher, "a", 1, 1);
    publish(&mut publisher, "a", 2, 3);
    broker.kept(2, 2);
    let mut second = broker.client("second");
    second.subscribe("$share/g/a", subscription(2));
    first.vanish();
    // What was QoS 1 in flight and what waited moves, the QoS 2 delivery that had begun stays behind.
    (0..3).for_each(|_| assert_eq!(second.take(), "payload"));
    broker.dropped(DropCause::SessionEnded, 1);
    broker.until("the others are delivered", |broker| broker.accounting().delivered == 3);
    assert_eq!(broker.accounting().matched, 4);
}

#[test]
fn the_last_member_of_a_shared_group_leaves_with_messages_waiting() {
    let broker = quiet("");
    let mut member = broker.connect(Connect { client_id: "m", session_expiry: 30, ..Connect::default() });
    member.subscribe("$share/g/a", subscription(1));
    member.leave();
    publish(&mut broker.client("p"), "a", 1, 3);
    broker.kept(0, 3);
    broker.clock.advance(Duration::from_secs(31));
    broker.dropped(DropCause::SessionEnded, 3);
}

#[test]
fn the_connection_is_lost_before_the_socket_has_taken_qos_0() {
    let broker = quiet("[limits]\nqueue_bytes_max = \"64MiB\"");
    let mut subscriber = broker.client("s");
    subscriber.subscribe("a", subscription(0));
    let mut publisher = broker.client("p");
    let payload = vec![b'x'; 256 * 1024];
    // A subscriber that does not read: the kernel takes some, the driver holds some, the rest waits.
    for _ in 0..64 {
        publisher.publish(Publish { topic: "a", payload: &payload, ..Publish::default() });
    }
    broker.until("some wait at the socket and some in the queue", |broker| {
        let sums = broker.accounting();
        sums.matched == 64 && sums.inflight > 0 && sums.queued > 0 && sums.is_balanced()
    });
    let unsent = broker.accounting().inflight;
    subscriber.vanish();
    broker.until("they are lost", |broker| {
        let (counts, sums) = (broker.counts(), broker.accounting());
        let lost = counts.dropped[DropCause::ConnectionLost as usize];
        sums.inflight == 0 && sums.queued == 0 && lost >= unsent && sums.is_balanced()
    });
}

#[test]
fn refused_by_the_receiver() {
    let broker = quiet("");
    let mut subscriber = broker.client("s");
    subscriber.subscribe("a", subscription(2));
    let mut publisher = broker.client("p");
    publish(&mut publisher, "a", 1, 1);
    let id = subscriber.take_id();
    subscriber.puback(id, ReasonCode::UnspecifiedError);
    publish(&mut publisher, "a", 2, 1);
    let id = subscriber.take_id();
    subscriber.pubrec(id, ReasonCode::QuotaExceeded);
    broker.dropped(DropCause::RefusedByReceiver, 2);
}

/// A small generator of choices; the seed is all there is to it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

const CLIENTS: usize = 24;

/// Clients that do whatever comes up.
struct Crowd<'a> {
    broker: &'a TestBroker,
    dice: Dice,
    clients: Vec<Option<Client>>,
}

impl Crowd<'_> {
    fn connect(&mut self, n: usize) {
        let listener = n % 4;
        let connect = Connect {
            client_id: &format!("c{n}"),
            resume: self.dice.roll(3) > 0,
            session_expiry: [0, 20, 3600][self.dice.roll(3)],
            receive_maximum: [None, Some(1), Some(4)][self.dice.roll(3)],
            maximum_packet_size: [None, Some(200)][self.dice.roll(2)],
            ..Connect::default()
        };
        self.clients[n] = Some(Client::connect(self.broker.address(listener), connect));
    }

    fn step(&mut self) {
        let n = self.dice.roll(CLIENTS);
        if self.clients[n].is_none() {
            return self.connect(n);
        }
        match self.dice.roll(20) {
            0 => drop(self.clients[n].take()),
            1 => self.connect(n),
            2 => self.broker.clock.advance(Duration::from_secs(self.dice.roll(8) as u64)),
            3..6 => self.subscribe(n),
            6..10 => self.answer(n),
            _ => self.publish(n),
        }
    }

    /// Once in a while a client is gone by the broker's own choice.
    fn subscribe(&mut self, n: usize) {
        let filter = ["a/#", "a/+", "b/1", "$share/g/a/#", "$share/h/b/+", "#"][self.dice.roll(6)];
        let no_local = !filter.starts_with("$share") && self.dice.roll(2) == 0;
        let options = SubscribeOptions { no_local, ..subscription(self.dice.roll(3) as u8) };
        if let Some(client) = &mut self.clients[n]
            && client.try_subscribe(filter, options).is_none()
        {
            self.clients[n] = None;
        }
    }

    fn publish(&mut self, n: usize) {
        let topic = ["a/1", "a/2", "b/1", "b/2", "c"][self.dice.roll(5)];
        let payload = vec![b'x'; [1, 20, 300][self.dice.roll(3)]];
        let qos = self.dice.roll(3) as u8;
        let expiry = [None, Some(5)][self.dice.roll(2)];
        let retain = self.dice.roll(6) == 0;
        if let Some(client) = &mut self.clients[n]
            && client.try_publish(Publish { topic, payload: &payload, qos, retain, expiry }).is_err()
        {
            self.clients[n] = None;
        }
    }

    fn answer(&mut self, n: usize) {
        let Some(client) = &mut self.clients[n] else { return };
        for incoming in client.at_hand() {
            let refuse = self.dice.roll(5) == 0;
            if client.try_answer(&incoming, refuse).is_err() {
                self.clients[n] = None;
                return;
            }
        }
    }
}

#[test]
fn whatever_many_clients_do_the_sum_comes_out() {
    for seed in [7, 1883, 0x00c0_ffee] {
        let policies = ["drop_oldest", "drop_newest", "refuse", "disconnect"];
        let listener = |(n, policy): (usize, &&str)| {
            let address = format!("127.0.0.{}:0", n + 1);
            format!("[[listener]]\nname = \"{policy}\"\naddress = \"{address}\"\non_queue_full = \"{policy}\"\n")
        };
        let listeners: String = policies.iter().enumerate().map(listener).collect();
        let limits = "[limits]\nqueue_messages_max = 8\n[shared]\nqueue_messages_max = 4\n[retained]\nmessages_max = 3";
        let broker = TestBroker::with_listeners(&listeners, &format!("{QUIET}{limits}"));
        let clients = (0..CLIENTS).map(|_| None).collect();
        let mut crowd = Crowd { broker: &broker, dice: Dice(seed), clients };
        (0..4000).for_each(|_| crowd.step());
        broker.until(&format!("the sum of seed {seed}"), |broker| broker.accounting().is_balanced());
        let counts = broker.counts();
        for cause in [
            DropCause::QueueFull,
            DropCause::Offline,
            DropCause::Expired,
            DropCause::TooLarge,
            DropCause::NoLocal,
            DropCause::SessionEnded,
            DropCause::RefusedByReceiver,
        ] {
            assert!(counts.dropped[cause as usize] > 0, "seed {seed} never drops for {}", cause.name());
        }
        assert!(counts.refused > 0 && counts.redelivered > 0, "seed {seed}: {counts:?}");

        // All sessions end: nothing is in flight or queued any more, and the sum holds without them.
        drop(crowd);
        broker.until(&format!("the end of seed {seed}"), |broker| {
            // Again and again: a session's time counts from when the broker has seen its client go.
            broker.clock.advance(Duration::from_secs(4000));
            let sums = broker.accounting();
            (sums.inflight, sums.queued) == (0, 0) && sums.is_balanced()
        });
    }
}
