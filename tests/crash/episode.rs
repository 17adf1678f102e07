//! One data directory: brokers that live on it for a moment each, one after the other, and clients that outlive them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::broker::{Broker, Site, Target};
use crate::filter::Filter;
use crate::history::{History, Ledger};
use crate::proxy::Proxy;
use crate::publisher::{self, Publisher};
use crate::subscriber::{self, Subscriber};
use crate::testator::{self, Testator};
use crate::verdict::{Fates, Verdict};
use crate::wills::TESTATORS;
use crate::witness;
use crate::world::{self, BRANCHES, PUBLISHERS, SUBSCRIBERS, Subject, TOPICS_IN_A_BRANCH};

/// How long a broker lives.
const TRAFFIC_MILLIS: std::ops::Range<u64> = 5..150;
/// How long a broker lives that is killed while it starts.
const START_MICROS: std::ops::Range<u64> = 0..40_000;
/// What a publisher sends at most in the life of a broker: enough to have it busy until its end.
const MESSAGES: usize = 400;

struct Clients {
    publishers: Vec<Publisher>,
    testators: Vec<Testator>,
    subscribers: Vec<Subscriber>,
}

/// What happens in the middle of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The broker is killed.
    Kill,
    /// Every connection breaks.
    Cut,
}

/// Deals out so many blows, lets the last broker live, and compares.
pub fn run(target: Target, blow: Blow, seed: u64, number: u32, blows: u32) -> Verdict {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let site = Site::new(target, directory.path(), &directory.path().join("data"), "");
    let choices = |role: &str, index| world::choices(seed, (number, role, index));
    let mut clients = Clients {
        publishers: (0..PUBLISHERS).map(|index| Publisher::new(index, choices("publisher", index))).collect(),
        testators: (0..TESTATORS).map(|index| Testator::new(index, choices("testator", index))).collect(),
        subscribers: (0..SUBSCRIBERS).map(|index| Subscriber::new(index, choices("subscriber", index))).collect(),
    };
    let ledger = Ledger::default();
    let mut choices = choices("broker", 0);
    let mut survivor = (blow == Blow::Cut).then(|| start(&site, &ledger));
    for _ in 0..blows {
        match &mut survivor {
            None if choices.random_ratio(1, 10) => {
                let broker = site.spawn();
                thread::sleep(Duration::from_micros(choices.random_range(START_MICROS)));
                broker.kill();
            }
            None => {
                let (broker, address) = start(&site, &ledger);
                clients.live(address, target, &ledger, &mut choices, || broker.kill());
            }
            Some((_, address)) => {
                let proxy = Proxy::start(*address);
                clients.live(proxy.address(), target, &ledger, &mut choices, || proxy.cut());
            }
        }
        ledger.open().blows += 1;
        if target == Target::Midge && ledger.open().has_failed() {
            // The run has failed, and every further loss would be waited for.
            break;
        }
    }
    clients.end(&site, survivor, target, &ledger);
    Verdict::on(ledger.into_history())
}

impl Clients {
    /// Traffic, until the blow in its middle.
    fn live(
        &mut self,
        address: SocketAddr,
        target: Target,
        ledger: &Ledger,
        choices: &mut StdRng,
        strike: impl FnOnce(),
    ) {
        witness::look(address, target.quiet(), ledger);
        ledger.begin();
        let life = Duration::from_millis(choices.random_range(TRAFFIC_MILLIS));
        thread::scope(|scope| {
            for publisher in &mut self.publishers {
                let (messages, window) = (choices.random_range(1..MESSAGES), choices.random_range(1..20));
                let task = publisher::Task::Random { messages, window };
                scope.spawn(move || publisher.run(address, &task, ledger));
            }
            for testator in &mut self.testators {
                scope.spawn(move || testator.run(address, testator::Task::Live, ledger));
            }
            for subscriber in &mut self.subscribers {
                let mut task = subscriber.choose();
                scope.spawn(move || subscriber.run(address, &mut task, ledger));
            }
            thread::sleep(life);
            ledger.strike();
            strike();
            ledger.end();
        });
    }

    /// Two brokers that are not killed: one that everything is drained from, and one that must have nothing of it any more.
    fn end(&mut self, site: &Site, mut survivor: Option<(Broker, SocketAddr)>, target: Target, ledger: &Ledger) {
        for is_last in [false, true] {
            let (broker, address) = survivor.take().unwrap_or_else(|| start(site, ledger));
            witness::look(address, target.quiet(), ledger);
            if is_last {
                witness::look_at_wills(address, target.quiet(), ledger);
            }
            ledger.begin();
            ledger.open().drains();
            self.subscribe(address, ledger, |_| subscriber::Task::Settle);
            thread::scope(|scope| {
                for publisher in &mut self.publishers {
                    scope.spawn(move || publisher.run(address, &publisher::Task::Finish, ledger));
                }
                for testator in self.testators.iter_mut().filter(|_| !is_last) {
                    scope.spawn(move || testator.run(address, testator::Task::Finish, ledger));
                }
            });
            ledger.open().expect_of_groups();
            let fates = Fates::of(&ledger.open());
            self.subscribe(address, ledger, |subscriber| {
                let history = ledger.open();
                let mut last = last_messages(&history, subscriber);
                last.extend(fates.owed_to(&history.inboxes[subscriber], &history));
                subscriber::Task::Drain { last, quiet: target.quiet() }
            });
            broker.stop();
            if !is_last {
                ledger.open().ends();
            }
        }
    }

    fn subscribe(&mut self, address: SocketAddr, ledger: &Ledger, task: impl Fn(usize) -> subscriber::Task) {
        thread::scope(|scope| {
            for (index, subscriber) in self.subscribers.iter_mut().enumerate() {
                let mut task = task(index);
                scope.spawn(move || subscriber.run(address, &mut task, ledger));
            }
        });
    }
}

fn start(site: &Site, ledger: &Ledger) -> (Broker, SocketAddr) {
    ledger.open().process += 1;
    site.start()
}

/// Each publisher's last message on each topic, as far as a subscriber gets it: nothing comes behind it.
fn last_messages(history: &History, subscriber: usize) -> HashSet<(usize, usize)> {
    let mut last = HashSet::new();
    for (publisher, published) in history.published.iter().enumerate() {
        let latest = published.iter().enumerate().rev().take(BRANCHES * TOPICS_IN_A_BRANCH);
        last.extend(latest.filter_map(|(sequence, message)| {
            let Subject::Topic { branch, .. } = message.subject else { return None };
            history.is_subscribed(subscriber, Filter::Branch(branch)).then_some((publisher, sequence))
        }));
    }
    last
}
