//! What is not needed any more is given back: segments that are partly dead are copied forward.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::opening::{inline, message, session};
use super::power::tiny;
use crate::message::{BrokerTime, Message, MessageParts, PublisherId, SubscriptionIds};
use crate::store::journal::disk::Disk;
use crate::store::journal::sim::SimDisk;
use crate::store::journal::{Journal, JournalOptions};
use crate::store::{Change, Durability, OwnerId, RowId, Store, StoreStatus, StoredCopy, StoredMessage};
use crate::topic::QoS;

/// Nothing here takes a fraction of this, on a machine that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stores messages; their rows.
fn fill(journal: &Journal, count: usize) -> Vec<RowId> {
    let append = |_| journal.append(&[message(1, &[7; 900], false)], Durability::Os).unwrap().first;
    (0..count).map(append).collect()
}

/// Every fifth of the messages and the one behind it are done.
fn finish_two_fifths(journal: &Journal, rows: &[RowId]) {
    let gone = rows.iter().enumerate().filter(|(at, _)| at % 5 < 2);
    let done: Vec<_> = gone.map(|(_, row)| Change::Done { owner: OwnerId(1), row: *row }).collect();
    journal.append(&done, Durability::Os).unwrap();
}

/// Whether the files are about what is needed, the slack, the segment that is written to and one that waits to go.
fn is_small(status: &StoreStatus, options: &JournalOptions) -> bool {
    status.bytes <= status.live_bytes * 6 / 5 + options.slack_bytes + 2 * options.segment_bytes
}

#[test]
fn a_writer_without_work_goes_on_until_the_files_are_small() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        JournalOptions { maintenance_interval: Duration::from_secs(3600), pending_bytes_max: 1 << 20, ..tiny() };
    let (journal, _) = Journal::open(directory.path(), &options).unwrap();
    journal.append(&[session(1)], Durability::Os).unwrap();
    let rows = fill(&journal, 400);
    finish_two_fifths(&journal, &rows);
    let until = Instant::now() + PATIENCE;
    while journal.status().rows != 240 || !is_small(&journal.status(), &options) {
        assert!(Instant::now() < until, "{:?}", journal.status());
        std::thread::yield_now();
    }
}

#[test]
fn the_files_of_a_store_that_grows_are_small_too() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &tiny());
    journal.append(&[session(1)], Durability::Os).unwrap();
    for _ in 0..40 {
        let rows = fill(&journal, 20);
        finish_two_fifths(&journal, &rows);
        journal.turn(true);
        (0..10).for_each(|_| journal.turn(false));
    }
    assert!(is_small(&journal.status(), &tiny()), "{:?}", journal.status());
}

fn retained(topic: &str, copies: Vec<StoredCopy>) -> Change {
    let message = Message::new(&MessageParts {
        topic_prefix: "",
        topic,
        forward: &[],
        payload: topic.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: true,
        expires_at: BrokerTime::NEVER,
        publisher: PublisherId(1),
    });
    Change::Message(Box::new(StoredMessage { message, copies, retained: true, received: None }))
}

/// Some of them have copies, which are done.
#[test]
fn a_segment_in_which_only_retained_messages_are_alive_is_freed_and_they_stay() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &JournalOptions { slack_bytes: 1 << 20, ..tiny() });
    journal.append(&[session(1)], Durability::Fsync).unwrap();
    let mut expected = Vec::new();
    for number in 0..20 {
        let topic = format!("plant/{number}");
        let copy = StoredCopy {
            owner: OwnerId(1),
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: SubscriptionIds::None,
        };
        let copies = if number % 2 == 0 { vec![copy] } else { Vec::new() };
        let row = journal.append(&[retained(&topic, copies)], Durability::Fsync).unwrap().first;
        let mut done = vec![Change::Done { owner: OwnerId(1), row }];
        done.extend(fill(&journal, 1).into_iter().map(|row| Change::Done { owner: OwnerId(1), row }));
        journal.append(&done, Durability::Fsync).unwrap();
        expected.push((row, topic));
    }
    journal.turn(false);
    drop(journal);
    disk.kill();
    let segments = |disk: &SimDisk| {
        let names = disk.list().unwrap().into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(".segment")).collect::<Vec<_>>()
    };
    let before = segments(&disk);
    assert!(before.len() > 2, "{before:?}");
    let options = JournalOptions { slack_bytes: 0, ..tiny() };
    let journal = inline(&disk, &options);
    (0..100).for_each(|turn| journal.turn(turn % 10 == 0));
    let after = segments(&disk);
    assert!(before[..before.len() - 1].iter().all(|name| !after.contains(name)), "{before:?}, then {after:?}");
    drop(journal);
    disk.kill();
    let (_, recovered) = Journal::open_inline(Arc::clone(&disk) as Arc<_>, &options, [1, 2]).unwrap();
    let found: Vec<_> = recovered.retained.iter().map(|(row, message)| (*row, message.topic().to_owned())).collect();
    assert_eq!(found, expected);
    assert!(recovered.retained.iter().all(|(_, message)| message.payload() == message.topic().as_bytes()));
}
