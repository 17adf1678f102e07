//! What matching, subscribing and paging cost as the trees grow: `cargo bench --bench topic`.
//!
//! Prints first what a million subscriptions take in memory, by the tree's own reckoning and by the kernel's.

use std::hint::black_box;
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::ItemsCount;
use midge::topic::{PageEnd, ParsedFilter, Retained, RetainedTree, SubscriptionTree, check_topic_name, filter_matches};

/// As large as what the router keeps for a subscription: options, subscription id, a handle.
type Subscription = [u64; 2];
type Tree = SubscriptionTree<u64, Subscription>;

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
const RETAINED: u32 = 100_000;

fn main() {
    let near = print_memory("a million filters of three and four levels", filter);
    let far = print_memory("a million filters of four levels that share none", |n| format!("{n}/a/+/temperature"));
    drop((near, far)); // both stay until here, lest the second be built in the memory of the first
    divan::main();
}

/// Distinct filters of three and four levels, a thousand devices a site.
fn filter(n: u64) -> String {
    match n % 4 {
        0 => format!("site{}/device{n}/state", n / 1000),
        1 => format!("site{}/device{n}/+/temperature", n / 1000),
        2 => format!("site{}/device{n}/#", n / 1000),
        _ => format!("site{}/device{n}/command/+", n / 1000),
    }
}

fn tree(subscriptions: u64) -> Tree {
    let mut tree = Tree::new();
    for n in 0..subscriptions {
        tree.insert(&filter(n), n, [n; 2]);
    }
    tree
}

fn print_memory(what: &str, filter: impl Fn(u64) -> String) -> Tree {
    const SUBSCRIPTIONS: u64 = 1_000_000;
    let before = resident_bytes();
    let mut tree = Tree::new();
    let mut slowest = Duration::ZERO;
    for n in 0..SUBSCRIPTIONS {
        let filter = filter(n);
        let start = Instant::now();
        tree.insert(&filter, n, [n; 2]);
        slowest = slowest.max(start.elapsed());
    }
    let resident = resident_bytes().saturating_sub(before) / SUBSCRIPTIONS;
    let reckoned = tree.memory_bytes() as u64 / SUBSCRIPTIONS;
    println!("{what}: {reckoned} bytes a subscription reckoned, {resident} resident, slowest insert {slowest:?}");
    tree
}

/// Pages of 4 KB in memory, the second number of statm.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn count_matches(tree: &Tree, topic: &str) -> usize {
    let mut matches = 0;
    tree.for_each_match(topic, |entries| matches += entries.len());
    matches
}

/// A thousand topics from all over the tree, each with one subscriber: what a cache cannot hold shows.
#[divan::bench(args = SIZES)]
fn match_a_thousand_topics(bencher: Bencher, subscriptions: u64) {
    let tree = tree(subscriptions);
    let topics: Vec<String> = (0..1000).map(|n| filter(n * 7_919 * 97 % subscriptions / 4 * 4)).collect();
    let bencher = bencher.counter(ItemsCount::new(topics.len()));
    bencher.bench_local(|| topics.iter().map(|topic| count_matches(&tree, topic)).sum::<usize>());
}

#[divan::bench(args = SIZES)]
fn match_none(bencher: Bencher, subscriptions: u64) {
    let tree = tree(subscriptions);
    bencher.bench(|| count_matches(&tree, black_box("site0/device0/unheard/of")));
}

#[divan::bench(args = SIZES)]
fn match_beside_wildcards(bencher: Bencher, subscriptions: u64) {
    let mut tree = tree(subscriptions);
    for filter in ["#", "+/+/state", "site0/#", "+/device0/+"] {
        tree.insert(filter, 0, [0; 2]);
    }
    bencher.bench(|| count_matches(&tree, black_box("site0/device0/state")));
}

#[divan::bench(args = [1, 8, 100_000])]
fn match_many_subscribers_of_one_filter(bencher: Bencher, subscribers: u64) {
    let mut tree = Tree::new();
    for n in 0..subscribers {
        tree.insert("news/#", n, [n; 2]);
    }
    bencher.bench(|| {
        let mut sum = 0_u64;
        tree.for_each_match(black_box("news/today"), |entries| sum = entries.iter().map(|(key, _)| *key).sum());
        sum
    });
}

#[divan::bench(args = SIZES)]
fn subscribe_and_unsubscribe(bencher: Bencher, subscriptions: u64) {
    let mut tree = tree(subscriptions);
    bencher.bench_local(|| {
        tree.insert(black_box("site0/device0/one/more"), 0, [0; 2]);
        tree.remove(black_box("site0/device0/one/more"), &0)
    });
}

#[divan::bench(args = [100, 100_000])]
fn subscribe_and_unsubscribe_among_subscribers_of_one_filter(bencher: Bencher, subscribers: u64) {
    let mut tree = Tree::new();
    for n in 1..subscribers {
        tree.insert("news/#", n, [n; 2]);
    }
    bencher.bench_local(|| {
        tree.insert(black_box("news/#"), 0, [0; 2]);
        tree.remove(black_box("news/#"), &0)
    });
}

struct Message {
    topic: Box<str>,
}

impl Retained for Message {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn topic_bytes(&self) -> &[u8] {
        self.topic.as_bytes()
    }
}

fn retained() -> RetainedTree<Message> {
    let mut tree = RetainedTree::new();
    for n in 0..RETAINED {
        let topic = format!("site{}/device{}/value{}", n / 1000, n / 10, n % 10).into();
        tree.insert(Message { topic });
    }
    tree
}

/// Reads all matches by pages of a hundred.
#[divan::bench(args = ["#", "site7/#", "site7/+/value3", "+/+/value3", "+/device4242/#", "site7/+", "site7/device700/value1"])]
fn page_through(bencher: Bencher, filter: &str) {
    let tree = retained();
    bencher.bench(|| {
        let mut matches = 0;
        let mut after = None;
        while let PageEnd::ResumeAfter(topic) = tree.page(filter, after.as_deref(), 100, |_| matches += 1) {
            after = Some(topic);
        }
        matches
    });
}

#[divan::bench]
fn retain_and_clear(bencher: Bencher) {
    let mut tree = retained();
    bencher.bench_local(|| {
        tree.insert(Message { topic: black_box("site50/device5000/more").into() });
        tree.remove(black_box("site50/device5000/more")).is_some()
    });
}

#[divan::bench]
fn check_a_topic_name() -> bool {
    check_topic_name(black_box("site7/device4242/temperature")).is_ok()
}

#[divan::bench]
fn parse_a_filter() -> bool {
    ParsedFilter::parse(black_box("$share/workers/site7/+/temperature")).is_ok()
}

#[divan::bench]
fn match_a_filter_directly() -> bool {
    filter_matches(black_box("site7/+/temperature"), black_box("site7/device4242/temperature"))
}
