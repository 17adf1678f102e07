//! Figures of the journal that mqload cannot measure, beside what the disk itself does.
//!
//! `cargo bench --bench journal` takes a directory in `MIDGE_BENCH_DIR`, else the temporary one, and how many thousand
//! messages wait in `MIDGE_BENCH_THOUSANDS`, else 1000. `-- space` and the like ask for a part of it: `durable`,
//! `sleeping`, `sessions`, `space`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use midge::message::{BrokerTime, Message, MessageParts, PublisherId, SubscriptionIds};
use midge::store::journal::{Journal, JournalOptions};
use midge::store::{
    AppendError, Change, Durability, OwnerId, RowId, SessionRecord, Store, StoredCopy, StoredMessage, Ticket,
};
use midge::topic::QoS;

const SLEEPERS: u64 = 1000;

fn main() {
    // Cargo asks every bench for its tests, too.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let place = std::env::var_os("MIDGE_BENCH_DIR").map(tempfile::tempdir_in).unwrap_or_else(tempfile::tempdir);
    let directory = place.expect("a directory");
    let count = 1000 * std::env::var("MIDGE_BENCH_THOUSANDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let asked = |name: &str| {
        let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|asked| asked == name)
    };
    fsync_rate(directory.path());
    if asked("durable") {
        durable_rate(&directory.path().join("durable"));
    }
    if asked("sleeping") {
        sleeping(&directory.path().join("sleeping"), count);
    }
    if asked("sessions") {
        many_sessions(&directory.path().join("sessions"), count);
    }
    for load in [Load::None, Load::Through, Load::Growing].into_iter().filter(|_| asked("space")) {
        partly_drained(&directory.path().join("space"), count, load);
    }
}

fn say(what: &str, figure: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{what:<58} {figure}");
}

/// CPU of this process, user and system.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(|rest| rest.split_whitespace().skip(11).take(2))
        .filter_map(|text| text.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn directory_bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("files").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn fsync_rate(directory: &Path) {
    let file = File::create(directory.join("rate")).expect("a file");
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[7; 4096], count * 4096).expect("written");
        file.sync_data().expect("synced");
        count += 1;
    }
    say("fdatasync of the disk", format!("{count} /s"));
}

fn session(owner: u64) -> Change {
    Change::PutSession(Box::new(SessionRecord {
        owner: OwnerId(owner),
        client_id: format!("sleeper-{owner}").into(),
        user_name: None,
        listener: "127.0.0.1:1883".into(),
        mount_point: "".into(),
        expiry_interval: u32::MAX,
        disconnected_at: None,
        sent_up_to: None,
        will: None,
    }))
}

fn message(owner: u64, number: u64, payload: usize) -> Change {
    let message = Message::new(&MessageParts {
        topic_prefix: "",
        topic: "site/plant/line/7/temperature",
        forward: &[],
        payload: &vec![number as u8; payload],
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: BrokerTime::NEVER,
        publisher: PublisherId(number),
    });
    let copy = StoredCopy {
        owner: OwnerId(owner),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: SubscriptionIds::None,
    };
    Change::Message(Box::new(StoredMessage { message, copies: vec![copy], retained: false, received: None }))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait(store: &Journal, ticket: Ticket) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    while store.poll_safe(ticket, &waker).is_pending() {
        std::thread::park();
    }
}

fn append(store: &Journal, changes: &[Change], durability: Durability) -> (RowId, Ticket) {
    loop {
        match store.append(changes, durability) {
            Ok(appended) => return (appended.first, appended.ticket),
            Err(AppendError::Busy) => {
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                while store.poll_ready(&waker).is_pending() {
                    std::thread::park();
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// 64 publishers with 20 in flight each.
fn durable_rate(directory: &Path) {
    let (store, _) = Journal::open(directory, &JournalOptions::default()).expect("a store");
    let sessions: Vec<_> = (1..=64).map(session).collect();
    wait(&store, append(&store, &sessions, Durability::Fsync).1);
    let (start, used, end) = (Instant::now(), cpu(), Instant::now() + Duration::from_secs(4));
    let store = &store;
    let count: u64 = std::thread::scope(|scope| {
        let publish = |owner: u64| {
            let mut count = 0;
            while Instant::now() < end {
                let tickets: Vec<_> =
                    (0..20).map(|at| append(store, &[message(owner, at, 256)], Durability::Fsync).1).collect();
                tickets.iter().for_each(|ticket| wait(store, *ticket));
                count += 20;
            }
            count
        };
        let threads: Vec<_> = (1..=64).map(|owner| scope.spawn(move || publish(owner))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let syncs = store.status().syncs;
    say(
        "64 publishers, 20 in flight, 256 B: durable messages",
        format!("{:.0} /s", count as f64 / start.elapsed().as_secs_f64()),
    );
    say("… a sync", format!("{:.0}", count as f64 / syncs as f64));
    say(
        "… CPU a message, with the threads that wait",
        format!("{:.2} µs", (cpu() - used).as_secs_f64() * 1e6 / count as f64),
    );
    store.close();
}

/// Messages of 100 B for sleepers; a start; their queues are read and emptied.
fn sleeping(directory: &Path, count: u64) {
    let (store, _) = Journal::open(directory, &JournalOptions::default()).expect("a store");
    let sessions: Vec<_> = (1..=SLEEPERS).map(session).collect();
    append(&store, &sessions, Durability::Os);
    let before = rss_bytes();
    let (start, used) = (Instant::now(), cpu());
    let mut last = Ticket::default();
    let mut batch = Vec::new();
    for number in 0..count {
        batch.push(message(1 + number % SLEEPERS, number, 100));
        if batch.len() == 20 {
            last = append(&store, &batch, Durability::Os).1;
            batch.clear();
        }
    }
    wait(&store, last);
    say("append of messages of 100 B, class os", format!("{:.0} /s", count as f64 / start.elapsed().as_secs_f64()));
    say("… CPU a message, made and stored", format!("{:.2} µs", (cpu() - used).as_secs_f64() * 1e6 / count as f64));
    let rss = rss_bytes();
    say("memory with all of them waiting", format!("{} MB", rss >> 20));
    say("… a message", format!("{:.1} B", rss.saturating_sub(before) as f64 / count as f64));
    say("files", format!("{} MB", directory_bytes(directory) >> 20));
    drop(store);
    let start = Instant::now();
    let (store, _) = Journal::open(directory, &JournalOptions::default()).expect("a store");
    say("a start with them", format!("{:.2} s", start.elapsed().as_secs_f64()));
    drain(&store);
    let start = Instant::now();
    while store.status().bytes > 128 << 20 && start.elapsed() < Duration::from_secs(90) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    say("files are under 128 MB after", format!("{:.1} s", start.elapsed().as_secs_f64()));
}

fn drain(store: &Journal) {
    let (start, used) = (Instant::now(), cpu());
    let mut count = 0;
    let mut last = Ticket::default();
    for owner in (1..=SLEEPERS).map(OwnerId) {
        let mut after = RowId(0);
        loop {
            let page = store.read_page(owner, after, 200, 1 << 20).expect("a page");
            let done: Vec<_> = page.rows.iter().map(|row| Change::Done { owner, row: row.row }).collect();
            count += done.len();
            after = page.rows.last().map_or(after, |row| row.row);
            last = append(store, &done, Durability::Os).1;
            if page.is_last {
                break;
            }
        }
    }
    wait(store, last);
    say("read back and done", format!("{:.0} /s", count as f64 / start.elapsed().as_secs_f64()));
    say("… CPU a message", format!("{:.2} µs", (cpu() - used).as_secs_f64() * 1e6 / count as f64));
}

/// How long it takes until messages are safe while checkpoints are made.
fn waits(store: &Journal) {
    let (start, mut waits) = (Instant::now(), Vec::new());
    for number in 0.. {
        if start.elapsed() > Duration::from_secs(20) {
            break;
        }
        let since = Instant::now();
        let owner = 1 + number % 100_000;
        let batch: Vec<_> = (0..20).map(|at| message(owner, at, LARGE)).collect();
        let (first, ticket) = append(store, &batch, Durability::Fsync);
        wait(store, ticket);
        waits.push(since.elapsed());
        let done: Vec<_> =
            (first.0..first.0 + 20).map(|row| Change::Done { owner: OwnerId(owner), row: RowId(row) }).collect();
        append(store, &done, Durability::Os);
    }
    waits.sort_unstable();
    let at = |part: usize| waits[(waits.len() - 1) * part / 1000].as_secs_f64() * 1e3;
    say("… 20 messages of 2 KB are safe after, median", format!("{:.1} ms", at(500)));
    say("… of a thousand, all but one after", format!("{:.1} ms", at(999)));
    say("… the longest", format!("{:.1} ms", at(1000)));
}

/// A start with 100,000 sessions and their messages after a clean end.
fn many_sessions(directory: &Path, count: u64) {
    let (store, _) = Journal::open(directory, &JournalOptions::default()).expect("a store");
    let before = rss_bytes();
    for first in (1..=100_000).step_by(100) {
        let mut batch: Vec<_> = (first..first + 100).map(session).collect();
        for owner in first..first + 100 {
            let (filter, options) = (format!("sleepers/{owner}/#").into(), Default::default());
            batch.push(Change::PutSubscription { owner: OwnerId(owner), filter, options, id: None });
        }
        append(&store, &batch, Durability::Os);
    }
    for number in 0..count / 20 {
        let batch: Vec<_> = (0..20).map(|at| message(1 + (number * 20 + at) % 100_000, number, 100)).collect();
        append(&store, &batch, Durability::Os);
    }
    wait(&store, append(&store, &[Change::Time(BrokerTime::from_millis(1))], Durability::Os).1);
    say(
        &format!("memory of 100,000 sessions, each 1 filter and {} messages", count / 100_000),
        format!("{} MB", (rss_bytes().saturating_sub(before)) >> 20),
    );
    waits(&store);
    store.close();
    drop(store);
    let start = Instant::now();
    let (store, recovered) = Journal::open(directory, &JournalOptions::default()).expect("a store");
    assert_eq!(recovered.sessions.len(), 100_000);
    say("a start with them", format!("{:.2} s", start.elapsed().as_secs_f64()));
    store.close();
}

/// What goes on while space is given back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    None,
    /// Messages are stored, delivered and done, as fast as one publisher goes that waits for the disk.
    Through,
    /// Messages are stored and wait, as many as make a large store larger by a hundredth each second.
    Growing,
}

const LARGE: usize = 2000;
/// What the files may take beside what is needed: a fifth of that, and this.
const BESIDE: u64 = 128 << 20;
const WITHIN: Duration = Duration::from_secs(60);

/// Two fifths of the messages of 2 KB go, so that no segment is mostly dead: how long until the files are small, and how
/// large they are later.
fn partly_drained(directory: &Path, count: u64, load: Load) {
    let (store, _) = Journal::open(directory, &JournalOptions::default()).expect("a store");
    let sessions: Vec<_> = (1..=2 * SLEEPERS).map(session).collect();
    append(&store, &sessions, Durability::Os);
    let mut rows = Vec::new();
    for from in (0..count).step_by(20) {
        let batch: Vec<_> = (from..from + 20).map(|at| message(1 + at % SLEEPERS, at, LARGE)).collect();
        let first = append(&store, &batch, Durability::Os).0;
        rows.extend((from..from + 20).zip(first.0..).map(|(at, row)| (OwnerId(1 + at % SLEEPERS), RowId(row))));
    }
    let gone: Vec<_> = rows.iter().filter(|(_, row)| row.0 % 5 < 2).collect();
    for some in gone.chunks(100) {
        let done: Vec<_> = some.iter().map(|(owner, row)| Change::Done { owner: *owner, row: *row }).collect();
        append(&store, &done, Durability::Os);
    }
    wait(&store, append(&store, &[Change::Time(BrokerTime::from_millis(1))], Durability::Fsync).1);
    let start = Instant::now();
    say("files when two fifths of the messages of 2 KB are done", format!("{} MB", directory_bytes(directory) >> 20));
    let (mut small, mut largest, mut stored, mut longest) = (None, 0.0, 0, Duration::ZERO);
    while start.elapsed() < 2 * WITHIN {
        let since = Instant::now();
        stored += burden(&store, load, start.elapsed(), stored);
        longest = longest.max(since.elapsed());
        let allowed = store.status().live_bytes / 5 * 6 + BESIDE;
        let part = directory_bytes(directory) as f64 / allowed as f64;
        if part <= 1.0 && small.is_none() {
            small = Some(start.elapsed());
        }
        if start.elapsed() > WITHIN {
            largest = part.max(largest);
        }
    }
    let status = store.status();
    say(
        &format!("… within 1.2 of what is needed + 128 MB, load {load:?}, after"),
        small.map_or("never".into(), |after| format!("{:.1} s", after.as_secs_f64())),
    );
    say("… the most of that from 60 s to 120 s", format!("{:.0} %", largest * 100.0));
    say("… stored meanwhile", format!("{:.0} /s", stored as f64 / start.elapsed().as_secs_f64()));
    say("… the longest that one of them took", format!("{} ms", longest.as_millis()));
    say("… needed", format!("{} MB", status.live_bytes >> 20));
    store.close();
    std::fs::remove_dir_all(directory).expect("removed");
}

/// One piece of the load; how many messages it stored.
fn burden(store: &Journal, load: Load, since: Duration, stored: u64) -> u64 {
    let is_due = (stored as f64) < since.as_secs_f64() * 5000.0;
    if load == Load::None || load == Load::Growing && !is_due {
        std::thread::park_timeout(Duration::from_millis(1));
        return 0;
    }
    let owner = SLEEPERS + 1 + stored / 20 % SLEEPERS;
    let batch: Vec<_> = (0..20).map(|at| message(owner, at, LARGE)).collect();
    let (first, ticket) = append(store, &batch, Durability::Fsync);
    wait(store, ticket);
    if load == Load::Through {
        let done: Vec<_> = (0..20).map(|at| Change::Done { owner: OwnerId(owner), row: RowId(first.0 + at) }).collect();
        wait(store, append(store, &done, Durability::Fsync).1);
    }
    20
}
