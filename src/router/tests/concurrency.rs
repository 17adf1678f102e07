//! What several threads do at once: nothing is lost, nobody waits for ever, order holds.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::task::Context;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// Wakes its thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A driver that sleeps for so long was forgotten.
const PATIENCE: Duration = Duration::from_secs(10);

fn roomy() -> QueueLimits {
    QueueLimits { messages_max: 1_000_000, bytes_max: u64::MAX, ..LIMITS }
}

/// A driver on this thread: takes what comes, acknowledges at once, sleeps until it is woken, until `enough` says so.
fn drive(router: &Router, mailbox: &Arc<Mailbox>, window: u32, mut enough: impl FnMut(&Delivery) -> bool) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut batch = Batch::default();
    let mut into = VecDeque::new();
    loop {
        let free = UnderWay { window_free: window, ..UnderWay::default() };
        match mailbox.poll(&waker, free, wishes(u64::MAX, true), &mut into) {
            Poll::Ready(MailboxEvent::Deliveries) => {
                if into.drain(..).any(|queued| queued.deliveries().any(|delivery| enough(&delivery))) {
                    return;
                }
            }
            Poll::Ready(MailboxEvent::GroupsWaiting) => {
                router.pull_shared(mailbox, &mut batch);
                router.flush(&mut batch);
            }
            Poll::Ready(_) => return,
            Poll::Pending => {
                let asleep = Instant::now();
                thread::park_timeout(PATIENCE);
                assert!(asleep.elapsed() < PATIENCE, "nobody woke this driver");
            }
        }
    }
}

/// Says that all is over, also when a check has failed.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn stop(mailbox: &Mailbox) {
    mailbox.signal(Control::Shutdown);
}

/// Two threads publish to a group whose members have that window each: one by one, and some at a time.
fn share(members: usize, window: u32, messages: usize) {
    let group = GroupLimits { messages_max: u32::MAX, bytes_max: u64::MAX };
    let router = Router::new(&RouterConfig { group, ..config() });
    let members: Vec<_> = (0..members).map(|n| router.mailbox(&format!("m{n}").into(), roomy())).collect();
    for mailbox in &members {
        mailbox.attach(UnderWay { window_free: window, ..UnderWay::default() });
        router.subscribe(mailbox, ParsedFilter::parse("$share/g/t").unwrap(), qos(AtLeastOnce), None);
    }
    let received = AtomicUsize::new(0);
    thread::scope(|scope| {
        for mailbox in &members {
            let (router, received, members) = (&router, &received, &members);
            scope.spawn(move || {
                drive(router, mailbox, window, |_| {
                    let is_last = received.fetch_add(1, SeqCst) + 1 == messages;
                    if is_last {
                        members.iter().for_each(|mailbox| stop(mailbox));
                    }
                    is_last
                });
            });
        }
        for publisher in 0..2 {
            let router = &router;
            scope.spawn(move || {
                let mut batch = Batch::default();
                for n in 0..messages / 2 {
                    let message = draft("t", &format!("{publisher}-{n}"), AtLeastOnce);
                    if publisher == 0 {
                        router.publish(&message.to_message(), &mut batch);
                    } else {
                        assert!(router.gather(&message, &mut batch));
                    }
                    if publisher == 0 || n % 7 == 0 {
                        router.flush(&mut batch);
                    }
                }
                router.flush(&mut batch);
            });
        }
    });
    assert_eq!(received.load(SeqCst), messages);
    assert_eq!(router.group_queued().0, 0);
}

#[test]
fn a_message_for_a_group_and_a_window_that_opens_never_miss_each_other() {
    for _ in 0..400 {
        share(1, 1, 40);
    }
    share(1, 1, 10_000);
    share(3, 1, 10_000);
    share(3, 5, 10_000);
}

// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn order_holds_for_each_publisher_and_topic_under_concurrent_publishers() {
    const MESSAGES: u64 = 5_000;
    let router = Router::new(&config());
    let mailboxes: Vec<_> = ["x", "y"].iter().map(|id| router.mailbox(&(*id).into(), roomy())).collect();
    for mailbox in &mailboxes {
        mailbox.attach(UnderWay { window_free: u32::MAX, ..UnderWay::default() });
        router.subscribe(mailbox, ParsedFilter::parse("#").unwrap(), qos(ExactlyOnce), None);
    }
    thread::scope(|scope| {
        for mailbox in &mailboxes {
            let router = &router;
            scope.spawn(move || {
                let mut last = [[0u64; 2]; 3];
                let mut seen = 0;
                drive(router, mailbox, u32::MAX, |delivery| {
                    let publisher = delivery.message.publisher().0 as usize;
                    let topic = usize::from(delivery.message.topic() == "b");
                    let n: u64 = std::str::from_utf8(delivery.message.payload()).unwrap().parse().unwrap();
                    assert!(last[publisher][topic] < n, "{n} after {}", last[publisher][topic]);
                    last[publisher][topic] = n;
                    seen += 1;
                    seen == 3 * MESSAGES
                });
            });
        }
        for publisher in 0..3 {
            let router = &router;
            scope.spawn(move || {
                let mut batch = Batch::default();
                for n in 1..=MESSAGES {
                    let (topic, payload) = (if n % 3 == 0 { "b" } else { "a" }, n.to_string());
                    let qos = [AtMostOnce, AtLeastOnce, ExactlyOnce][n as usize % 3];
                    let publisher = PublisherId(publisher);
                    let message = Message::new(&MessageParts { publisher, ..parts(topic, &payload, qos) });
                    router.publish(&message, &mut batch);
                    router.flush(&mut batch);
                }
            });
        }
    });
}

// [MQTT-3.1.4-3]
#[test]
fn however_many_claim_a_client_id_at_once_it_has_one_owner() {
    const OWNERSHIPS: usize = 500;
    let table: SessionTable<(), ()> = SessionTable::new(u32::MAX);
    let client_id: Arc<str> = "c".into();
    let owners = AtomicUsize::new(0);
    let router = Router::new(&config());
    // Keeps claiming until it has owned the session often enough.
    let claimant = || {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut owned = 0;
        while owned < OWNERSHIPS {
            let mailbox = router.mailbox(&client_id, LIMITS);
            let (generation, mut claimed) = table.claim(&client_id).expect("room");
            while claimed.is_pending() {
                claimed = table.poll_claim(&client_id, generation, &mut Context::from_waker(&waker));
                if claimed.is_pending() {
                    let asleep = Instant::now();
                    thread::park_timeout(PATIENCE);
                    assert!(asleep.elapsed() < PATIENCE, "nobody handed the session over");
                }
            }
            if let Poll::Ready(Claimed::Superseded) = claimed {
                continue;
            }
            assert_eq!(owners.fetch_add(1, SeqCst), 0, "two owners");
            owned += 1;
            mailbox.attach(UnderWay::default());
            if table.attach(&client_id, generation, &mailbox, ()) {
                thread::yield_now();
            }
            assert_eq!(owners.fetch_sub(1, SeqCst), 1, "two owners");
            mailbox.detach(0, &mut Batch::default());
            table.release(&client_id, generation, (owned % 3 != 0).then_some(()));
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(claimant);
        }
    });
    assert!(table.len() <= 1 && table.view(&client_id).is_none_or(|view| !view.connected));
}

#[test]
fn however_many_new_clients_come_at_once_there_are_never_more_sessions_than_allowed() {
    const SESSIONS_MAX: u32 = 3;
    const THREADS: usize = 4;
    let table: SessionTable<(), ()> = SessionTable::new(SESSIONS_MAX);
    for round in 0..500 {
        let barrier = Barrier::new(THREADS);
        let came_in = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (table, barrier, came_in) = (&table, &barrier, &came_in);
                scope.spawn(move || {
                    let names: [Arc<str>; 2] = [0, 1].map(|n| format!("{round}-{thread}-{n}").into());
                    barrier.wait();
                    let claimed = names.each_ref().map(|name| table.claim(name).map(|(generation, _)| generation));
                    came_in.fetch_add(claimed.iter().flatten().count(), SeqCst);
                    barrier.wait();
                    // Some sessions end with their connection, others when they are parked.
                    for (name, generation) in names.iter().zip(claimed) {
                        let Some(generation) = generation else { continue };
                        table.release(name, generation, (round % 2 == 0).then_some(()));
                        table.take_parked(name, generation);
                    }
                });
            }
        });
        assert_eq!(came_in.into_inner(), SESSIONS_MAX as usize, "as many as there is room for");
        assert!(table.is_empty());
    }
}

#[test]
fn what_is_retained_is_what_every_subscriber_got_last() {
    let router = Router::new(&config());
    let mailbox = router.mailbox(&"c".into(), roomy());
    mailbox.attach(UnderWay { window_free: u32::MAX, ..UnderWay::default() });
    router.subscribe(&mailbox, ParsedFilter::parse("t").unwrap(), qos(AtLeastOnce), None);
    for round in 0..300 {
        let barrier = Barrier::new(4);
        thread::scope(|scope| {
            for publisher in 0..4 {
                let (router, barrier) = (&router, &barrier);
                scope.spawn(move || {
                    let payload = if publisher == 3 { String::new() } else { format!("{round}-{publisher}") };
                    let parts = MessageParts { retain: true, ..parts("t", &payload, AtLeastOnce) };
                    let message = Message::new(&parts);
                    barrier.wait();
                    router.publish(&message, &mut Batch::default());
                });
            }
        });
        let mut into = VecDeque::new();
        let window = UnderWay { window_free: u32::MAX, ..UnderWay::default() };
        let polled = mailbox.poll(Waker::noop(), window, wishes(u64::MAX, false), &mut into);
        assert_eq!((polled, into.len()), (Poll::Ready(MailboxEvent::Deliveries), 4));
        let last = into.back().and_then(Queued::one).map(|last| last.message.payload().to_vec()).unwrap_or_default();
        let mut retained = Vec::new();
        router.retained_page("t", None, 1, Router::ANY_VERSION, BrokerTime::default(), |message| {
            retained = message.payload().to_vec();
        });
        assert_eq!(retained, last, "round {round}");
    }
}

#[test]
fn a_subscription_that_races_with_a_retained_publish_gets_it_exactly_once() {
    let router = Router::new(&config());
    // A wide fan-out, so that looking for subscribers and retaining the message are far apart.
    let crowd: Vec<_> = (0..200).map(|n| router.mailbox(&format!("crowd{n}").into(), LIMITS)).collect();
    for mailbox in &crowd {
        router.subscribe(mailbox, ParsedFilter::parse("t").unwrap(), qos(AtLeastOnce), None);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut batch = Batch::default();
            for n in 1..u64::MAX {
                if done.load(SeqCst) {
                    return;
                }
                let payload = n.to_string();
                let parts = MessageParts { retain: true, ..parts("t", &payload, AtLeastOnce) };
                router.publish(&Message::new(&parts), &mut batch);
                router.flush(&mut batch);
            }
        });
        let _done = Raise(&done);
        for round in 0..300 {
            let mailbox = router.mailbox(&format!("c{round}").into(), roomy());
            mailbox.attach(UnderWay { window_free: u32::MAX, ..UnderWay::default() });
            let filter = ParsedFilter::parse("t").unwrap();
            let before = router.subscribe(&mailbox, filter, qos(AtLeastOnce), None).retained_before;
            let mut replayed = Vec::new();
            let take = |message: &Message| replayed.push(message.payload().to_vec());
            router.retained_page("t", None, 1, before, BrokerTime::default(), take);
            while mailbox.stats().queued == 0 {
                thread::yield_now();
            }
            router.unsubscribe(&mailbox, filter, &mut Batch::default());
            let live = mailbox.close(&mut Batch::default());
            let live = live.iter().map(|delivery| delivery.message.payload().to_vec());
            let numbers: Vec<u64> = replayed
                .into_iter()
                .chain(live)
                .map(|payload| std::str::from_utf8(&payload).unwrap().parse().unwrap())
                .collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "round {round}: {numbers:?} has one twice");
            assert!(before == 1 || !numbers.is_empty(), "round {round}: the message in between is lost");
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "round {round}: {numbers:?} has a gap");
        }
    });
}
