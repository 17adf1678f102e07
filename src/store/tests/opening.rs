//! Directories that are not as they should be, limits, and the versions of the format.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::model::{Maker, Model};
use super::power::tiny;
use crate::message::{BrokerTime, Message, MessageParts, PublisherId, SubscriptionIds};
use crate::store::journal::disk::Disk;
use crate::store::journal::sim::{Dice, Fault, SimDisk};
use crate::store::journal::{Journal, JournalOptions, OpenError};
use crate::store::{
    AppendError, Change, Durability, Health, OwnerId, RowId, SessionRecord, Store, StoredCopy, StoredMessage,
};
use crate::topic::QoS;

pub(super) fn session(owner: u64) -> Change {
    Change::PutSession(Box::new(SessionRecord {
        owner: OwnerId(owner),
        client_id: format!("pump-{owner}").into(),
        user_name: Some("alice".into()),
        listener: "tcp".into(),
        mount_point: "site/".into(),
        expiry_interval: 3600,
        disconnected_at: Some(BrokerTime::from_millis(5)),
        sent_up_to: None,
        will: None,
    }))
}

pub(super) fn message(owner: u64, payload: &[u8], retained: bool) -> Change {
    let message = Message::new(&MessageParts {
        topic_prefix: "",
        topic: "plant/7",
        forward: &[1, 1],
        payload,
        qos: QoS::ExactlyOnce,
        retain: retained,
        expires_at: BrokerTime::from_millis(90_000),
        publisher: PublisherId(9),
    });
    let subscription_ids = SubscriptionIds::from_slice(&[7, 300]);
    let copy = StoredCopy { owner: OwnerId(owner), qos: QoS::ExactlyOnce, retain: false, subscription_ids };
    let received = Some((OwnerId(owner), 4));
    Change::Message(Box::new(StoredMessage { message, copies: vec![copy], retained, received }))
}

pub(super) fn inline(disk: &Arc<SimDisk>, options: &JournalOptions) -> Journal {
    Journal::open_inline(Arc::clone(disk) as Arc<_>, options, [1, 2]).map(|(journal, _)| journal).unwrap()
}

fn refused(directory: &Path) -> String {
    let before = files(directory);
    let error = Journal::open(directory, &JournalOptions::default()).err().expect("refused").to_string();
    assert_eq!(files(directory), before, "something was changed: {error}");
    error
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    let mut files: Vec<_> = files.filter(|(name, _)| name != "lock").collect();
    files.sort();
    files
}

#[test]
fn a_second_broker_does_not_get_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (first, _) = Journal::open(directory.path(), &JournalOptions::default()).unwrap();
    let second = Journal::open(directory.path(), &JournalOptions::default());
    assert!(matches!(second.err(), Some(OpenError::Locked { .. })));
    first.close();
    assert!(Journal::open(directory.path(), &JournalOptions::default()).is_ok());
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("mosquitto.db"), "theirs").unwrap();
    let error = refused(directory.path());
    assert!(error.contains("is not a data directory of midge: mosquitto.db is in it"), "{error}");
    assert!(!directory.path().join("lock").exists());
}

#[test]
fn a_store_of_a_later_version_is_refused_and_not_touched() {
    for file in ["checkpoint-", ".segment"] {
        let directory = tempfile::tempdir().unwrap();
        drop(Journal::open(directory.path(), &JournalOptions::default()).unwrap());
        let (name, mut bytes) = files(directory.path()).into_iter().find(|(name, _)| name.contains(file)).unwrap();
        bytes[8] = 3;
        fs::write(directory.path().join(&name), bytes).unwrap();
        let error = refused(directory.path());
        assert!(error.contains(&format!("{name} has format 3, and this program reads 1 to 2.")), "{error}");
    }
}

#[test]
fn damage_names_file_offset_what_is_affected_and_the_command_that_goes_on() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &JournalOptions { free_bytes_min: 0, ..JournalOptions::default() });
    for change in [session(1), message(1, b"needle", true), message(1, b"more", false)] {
        journal.append(&[change], Durability::Fsync).unwrap();
        journal.turn(false);
    }
    journal.turn(false);
    drop(journal);
    disk.kill();
    let name = "0000000000000001.segment";
    let mut bytes = vec![0; 4000];
    let length = disk.read_at(name, 0, &mut bytes).unwrap();
    let at = bytes[..length].windows(6).position(|piece| piece == b"needle").unwrap();
    disk.write_at(name, at as u64, b"N").unwrap();
    let error = Journal::open_inline(Arc::clone(&disk) as Arc<_>, &tiny(), [1, 2]).err().unwrap();
    assert!(matches!(&error, OpenError::Damaged { file, offset, .. } if file == name && *offset < at as u64));
    let text = error.to_string();
    assert!(text.contains("a message on \"plant/7\"") && text.contains("midge store repair"), "{text}");
}

#[test]
fn a_quota_refuses_what_takes_space_and_takes_what_frees_it() {
    let disk = Arc::new(SimDisk::new(1));
    let options = JournalOptions { bytes_max: Some(40_000), ..tiny() };
    let journal = inline(&disk, &options);
    journal.append(&[session(1)], Durability::Fsync).unwrap();
    let mut rows = Vec::new();
    let refusal = loop {
        match journal.append(&[message(1, &[7; 500], false)], Durability::Fsync) {
            Ok(appended) => rows.push(appended.first),
            Err(error) => break error,
        }
        journal.turn(false);
    };
    assert!(matches!(&refusal, AppendError::Full(why) if why.contains("40000")), "{refusal}");
    assert!(matches!(journal.status().health, Health::Full(_)));
    for row in rows {
        journal.append(&[Change::Done { owner: OwnerId(1), row }], Durability::Fsync).unwrap();
    }
    for _ in 0..30 {
        journal.turn(true);
    }
    assert_eq!(journal.status().health, Health::Good, "{:?}", journal.status());
    assert!(journal.append(&[message(1, b"", false)], Durability::Fsync).is_ok());
}

#[test]
fn a_full_store_is_emptied_by_a_session_that_comes_back() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &JournalOptions { bytes_max: Some(20_000), ..tiny() });
    journal.append(&[session(1)], Durability::Fsync).unwrap();
    let mut rows = Vec::new();
    while let Ok(appended) = journal.append(&[message(1, &[7; 500], false)], Durability::Fsync) {
        rows.push(appended.first);
        journal.turn(false);
    }
    assert!(matches!(journal.status().health, Health::Full(_)));
    let (owner, packet_id) = (OwnerId(1), 9);
    let filter = "plant/#".into();
    let mut batches = vec![
        vec![session(1)],
        vec![Change::PutSubscription { owner, filter, options: Default::default(), id: None }],
        vec![Change::Received { owner, packet_id }, Change::Released { owner, packet_id }],
    ];
    for row in rows {
        batches.push(vec![Change::Sent { owner, row, packet_id, from: owner }]);
        batches.push(vec![Change::Handed { owner, row }, Change::Done { owner, row }]);
    }
    for batch in batches {
        let mixed = [batch.clone(), vec![message(1, b"", false)]].concat();
        if matches!(journal.status().health, Health::Full(_)) {
            assert!(matches!(journal.append(&mixed, Durability::Fsync), Err(AppendError::Full(_))));
        }
        let taken = journal.append(&batch, Durability::Fsync).unwrap();
        journal.turn(false);
        assert_eq!(journal.poll_safe(taken.ticket, Waker::noop()), Poll::Ready(Ok(())));
    }
    assert_eq!(journal.status().rows, 0);
}

#[test]
fn a_full_disk_loses_the_batch_and_goes_on_when_there_is_space() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &tiny());
    journal.append(&[session(1)], Durability::Fsync).unwrap();
    journal.turn(false);
    journal.turn(false);
    disk.fail_after(1, Fault::NoSpace);
    let lost = journal.append(&[message(1, b"lost", true)], Durability::Fsync).unwrap();
    journal.turn(false);
    assert!(matches!(journal.poll_safe(lost.ticket, Waker::noop()), Poll::Ready(Err(_))));
    let kept = journal.append(&[message(1, b"kept", true)], Durability::Fsync).unwrap();
    journal.turn(false);
    assert_eq!(journal.poll_safe(kept.ticket, Waker::noop()), Poll::Ready(Ok(())));
    let page = journal.read_page(OwnerId(1), RowId::NONE, 10, 1000).unwrap();
    assert_eq!(page.rows.iter().map(|row| row.message.payload()).collect::<Vec<_>>(), [b"kept"]);
}

#[test]
fn a_failed_sync_ends_all_writing_and_reads_go_on() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &tiny());
    journal.append(&[session(1), message(1, b"before", false)], Durability::Fsync).unwrap();
    journal.turn(false);
    journal.turn(false);
    disk.fail_after(1, Fault::Sync);
    let lost = journal.append(&[message(1, b"lost", false)], Durability::Fsync).unwrap();
    journal.turn(false);
    assert!(matches!(journal.poll_safe(lost.ticket, Waker::noop()), Poll::Ready(Err(_))));
    assert!(matches!(journal.append(&[message(1, b"", false)], Durability::Os), Err(AppendError::Failed(_))));
    assert!(matches!(journal.status().health, Health::Failed(_)));
    assert!(!journal.read_page(OwnerId(1), RowId::NONE, 10, 1000).unwrap().rows.is_empty());
}

#[test]
fn messages_wait_when_much_waits_and_changes_of_state_do_not() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &JournalOptions { pending_bytes_max: 2000, ..tiny() });
    // One batch may be larger than what may wait.
    journal.append(&[session(1), message(1, &[0; 3000], false)], Durability::Os).unwrap();
    let more = journal.append(&[message(1, b"more", false)], Durability::Os);
    assert_eq!(more, Err(AppendError::Busy));
    assert!(journal.poll_ready(Waker::noop()).is_pending());
    assert!(journal.append(&[session(2)], Durability::Os).is_ok());
    journal.turn(false);
    assert!(journal.poll_ready(Waker::noop()).is_ready());
    assert!(journal.append(&[message(1, b"more", false)], Durability::Os).is_ok());
}

#[test]
fn a_copy_sent_from_a_shared_group_stays_with_its_session_through_compaction() {
    let disk = Arc::new(SimDisk::new(1));
    let options = JournalOptions { slack_bytes: 0, ..tiny() };
    let journal = inline(&disk, &options);
    let group = OwnerId::from(crate::message::GroupId(std::num::NonZeroU32::MIN));
    let changes = [session(1), Change::PutGroup { owner: group, filter: "$share/g/plant/#".into() }];
    journal.append(&changes, Durability::Fsync).unwrap();
    let shared = journal.append(&[message(group.0, b"shared", false)], Durability::Fsync).unwrap().first;
    let sent = Change::Sent { owner: OwnerId(1), row: shared, packet_id: 3, from: group };
    journal.append(&[sent, Change::DeleteOwner(group)], Durability::Fsync).unwrap();
    // What it stands in dies around it.
    for _ in 0..40 {
        let row = journal.append(&[message(1, &[1; 900], false)], Durability::Fsync).unwrap().first;
        journal.append(&[Change::Done { owner: OwnerId(1), row }], Durability::Fsync).unwrap();
        journal.turn(true);
    }
    assert!(!disk.list().unwrap().iter().any(|(name, _)| name == "0000000000000001.segment"), "it was moved");
    drop(journal);
    disk.kill();
    let (_, recovered) = Journal::open_inline(Arc::clone(&disk) as Arc<_>, &options, [1, 2]).unwrap();
    let [(row, 3, Some(copy))] = &recovered.sessions[0].sent[..] else { panic!("{:?}", recovered.sessions[0].sent) };
    assert_eq!((*row, copy.message.payload(), copy.copy.owner), (shared, &b"shared"[..], group));
}

/// What the store in `version_1.txt` was told.
fn told() -> Vec<Change> {
    let subscription = Change::PutSubscription {
        owner: OwnerId(1),
        filter: "plant/#".into(),
        options: Default::default(),
        id: std::num::NonZeroU32::new(7),
    };
    let mut changes = vec![session(1), subscription, session(2), Change::Time(BrokerTime::from_millis(1234))];
    changes.extend([b"one", b"two", b"six"].iter().map(|payload| message(1, *payload, false)));
    changes.extend([message(1, b"four", true), message(1, b"five", false)]);
    changes.push(Change::Sent { owner: OwnerId(1), row: RowId(5), packet_id: 11, from: OwnerId(1) });
    changes.push(Change::Sent { owner: OwnerId(1), row: RowId(6), packet_id: 12, from: OwnerId(1) });
    changes.push(Change::Handed { owner: OwnerId(1), row: RowId(5) });
    changes.push(Change::DeleteOwner(OwnerId(2)));
    changes
}

/// The same for `version_2.txt`.
fn told_in_version_2() -> Vec<Change> {
    let slept = |change| match change {
        Change::PutSession(record) => {
            let sent_up_to = Some(RowId(6 * (record.owner.0 % 2)));
            Change::PutSession(Box::new(SessionRecord { sent_up_to, ..*record }))
        }
        change => change,
    };
    told().into_iter().chain([session(3)]).map(slept).collect()
}

#[test]
fn stores_of_all_versions_open() {
    for (text, told) in [(include_str!("version_1.txt"), told()), (include_str!("version_2.txt"), told_in_version_2())]
    {
        opens(text, &told);
    }
}

fn opens(text: &str, told: &[Change]) {
    let disk = Arc::new(SimDisk::new(1));
    for line in text.lines() {
        let (name, hex) = line.split_once(' ').unwrap();
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
        disk.create(name).unwrap();
        disk.write_at(name, 0, &bytes).unwrap();
    }
    let (journal, recovered) = Journal::open_inline(Arc::clone(&disk) as Arc<_>, &tiny(), [0, 0]).unwrap();
    let mut expected = Model::default();
    (1..).zip(told).for_each(|(row, change)| expected.apply(row, change));
    let found = Model::of(&journal, &recovered, &mut Dice(1)).unwrap();
    assert_eq!(found.differences(&expected), "");
    assert_eq!(recovered.seed, 78);
}

#[test]
fn what_cannot_be_started_can_be_repaired() {
    for seed in 0..300 {
        let disk = Arc::new(SimDisk::new(seed));
        let journal = inline(&disk, &tiny());
        let (mut maker, mut model) = (Maker::new(seed), Model::default());
        for _ in 0..80 {
            let changes = maker.batch(&model);
            let first = journal.append(&changes, Durability::Fsync).unwrap().first.0;
            (first..).zip(&changes).for_each(|(row, change)| model.apply(row, change));
            journal.turn(maker.dice.one_in(4));
        }
        drop(journal);
        disk.kill();
        let rotten = disk.rot(&mut maker.dice, |name| name != "lock");
        let repaired = crate::store::journal::repair_disk(&*disk);
        if matches!(repaired, Err(OpenError::Version { .. })) {
            continue;
        }
        let repaired = repaired.unwrap();
        let report = crate::store::journal::check_disk(&*disk).unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!(report.problems, [""; 0], "{seed}: {rotten:?}");
        let (journal, recovered) = Journal::open_inline(Arc::clone(&disk) as Arc<_>, &tiny(), [1, 2]).unwrap();
        let found = Model::of(&journal, &recovered, &mut maker.dice).unwrap();
        assert!(found == model || !repaired.lost.is_empty(), "{seed}: lost without a word: {rotten:?}");
    }
}
