//! Backups of a broker that is busy: messages flow, queues are emptied, and the files that a backup is made of are copied
//! forward and removed at the same time.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::broker::{Site, Target};
use crate::connection::{Connection, Next};
use crate::full_disk::open;
use crate::received::{Ack, Publish};
use crate::wire::{self, Connect, PUBACK, PUBLISH, SUBACK, Subscribe, Version};

const BACKUPS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(30);
/// Of what flows: a segment is full of them soon.
const FLOWING_BYTES: usize = 64 * 1024;
/// One in so many messages stays in the store.
const KEPT_EACH: u32 = 5;
/// They fit, whatever else there is.
const KEPT_MAX: usize = 400;
/// Makes segments small.
const SETTINGS: &str = "store.bytes_max = \"32MiB\"\nlimits.inflight_max = 50";

fn subscribe(address: SocketAddr, client_id: &str, filter: &str) -> Connection {
    let mut client = open(address, &Connect::new(Version::V5, client_id).lasting());
    client.send(&Subscribe::new(Version::V5, 1).filter(filter, 1).bytes()).expect("the broker reads");
    assert!(matches!(client.next(), Next::Packet(frame) if frame.first == SUBACK));
    client
}

/// Publishes until told to stop: most of it for the one who takes it, some for the sleeper. `kept`: numbers of what was
/// acknowledged of that.
fn publish(address: SocketAddr, kept: &Mutex<Vec<u32>>, is_over: &AtomicBool) {
    let mut publisher = open(address, &Connect::new(Version::V5, "publisher"));
    let mut number = 0;
    while !is_over.load(Relaxed) {
        number += 1;
        let is_kept = number % KEPT_EACH == 0 && kept.lock().expect("no thread has failed").len() < KEPT_MAX;
        let (topic, length) = if is_kept { ("kept/t", 1024) } else { ("flow/t", FLOWING_BYTES) };
        let mut payload = vec![b'.'; length];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        publisher.send(&wire::Publish::new(Version::V5, topic, payload).qos(1, 1).bytes()).expect("the broker reads");
        let Next::Packet(frame) = publisher.next() else { panic!("message {number} is not answered") };
        // A store that is full for a moment says so.
        if is_kept && Ack::read(Version::V5, PUBACK, &frame).reason < 0x80 {
            kept.lock().expect("no thread has failed").push(number);
        }
    }
}

/// Takes what flows, until told to stop.
fn take(mut client: Connection, is_over: &AtomicBool) {
    client.patience(Duration::from_millis(50));
    while !is_over.load(Relaxed) {
        if let Next::Packet(frame) = client.next() {
            assert_eq!(frame.kind(), PUBLISH);
            client.send(&wire::ack(PUBACK, Publish::read(Version::V5, &frame).id)).expect("the broker reads");
        }
    }
}

/// Tells the others to stop when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn segments(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data).expect("files").flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| name.ends_with(".segment"));
    names.sort_unstable();
    names
}

fn store(arguments: &[&str], data: &Path) -> String {
    let mut midge = Command::new(env!("CARGO_BIN_EXE_midge"));
    let output = midge.arg("store").args(arguments).arg("--data-dir").arg(data).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {error}{out}");
    out
}

/// What the sleeper gets of a broker that is started on a copy.
fn kept_in(data: &Path, home: &Path) -> Vec<u32> {
    let (broker, address) = Site::new(Target::Midge, home, data, SETTINGS).start();
    let sleeper = Connect::new(Version::V5, "sleeper").lasting();
    let (mut client, connack) = Connection::open(address, &sleeper, PATIENCE).expect("the broker accepts");
    assert!(connack.session_present);
    // Behind everything else: whatever comes before it is there.
    let mut publisher = open(address, &Connect::new(Version::V5, "last"));
    publisher.send(&wire::Publish::new(Version::V5, "kept/t", [0; 4]).qos(1, 1).bytes()).expect("the broker reads");
    let mut numbers = Vec::new();
    loop {
        let Next::Packet(frame) = client.next() else { panic!("after {numbers:?}") };
        let publish = Publish::read(Version::V5, &frame);
        match publish.payload[..4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte)) {
            0 => break,
            number => numbers.push(number),
        }
        client.send(&wire::ack(PUBACK, publish.id)).expect("the broker reads");
    }
    broker.kill();
    numbers
}

#[test]
fn a_backup_of_a_busy_broker_has_all_that_was_acknowledged_before_it_began() {
    if Target::under_test() != Target::Midge {
        return;
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    let data = home.path().join("data");
    let (broker, address) = Site::new(Target::Midge, home.path(), &data, SETTINGS).start();
    subscribe(address, "sleeper", "kept/#").leave().expect("the broker is there");
    let taker = subscribe(address, "taker", "flow/#");
    let (kept, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // However this ends.
        let _over = Over(&is_over);
        scope.spawn(|| publish(address, &kept, &is_over));
        scope.spawn(|| take(taker, &is_over));
        let until = Instant::now() + PATIENCE;
        while segments(&data).iter().any(|name| name.starts_with("0000000000000001")) {
            assert!(Instant::now() < until, "nothing is removed: {:?}", segments(&data));
            std::thread::yield_now();
        }
        let mut removed = 0;
        for number in 0.. {
            if number >= BACKUPS && removed > 0 {
                break;
            }
            assert!(Instant::now() < until, "nothing is removed during a backup");
            let [copy, again] = ["copy", "again"].map(|name| home.path().join(format!("{name}-{number}")));
            let acknowledged = kept.lock().expect("no thread has failed").clone();
            let before = segments(&data);
            store(&["backup", copy.to_str().expect("a path")], &data);
            let after = segments(&data);
            removed += before.iter().filter(|name| !after.contains(name)).count();
            store(&["restore", copy.to_str().expect("a path")], &again);
            assert!(store(&["check"], &again).ends_with("everything is there\n"));
            let found = kept_in(&again, home.path());
            let lost: Vec<_> = acknowledged.iter().filter(|number| !found.contains(number)).collect();
            assert!(lost.is_empty(), "not in backup {number}: {lost:?}");
        }
    });
    broker.stop();
}
