//! Stores that are full: what is refused, and how they are emptied.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::opening::{inline, message, session};
use super::power::tiny;
use crate::store::journal::disk::Disk;
use crate::store::journal::sim::{Fault, SimDisk};
use crate::store::journal::{Journal, JournalOptions};
use crate::store::{Change, Durability, Health, OwnerId, RowId, Store};

/// Stores messages until one is refused, or does not fit; the rows of the others.
fn fill(journal: &Journal, payload: &[u8]) -> Vec<RowId> {
    journal.append(&[session(1)], Durability::Fsync).unwrap();
    let mut rows = Vec::new();
    while let Ok(appended) = journal.append(&[message(1, payload, false)], Durability::Fsync) {
        journal.turn(false);
        if journal.poll_safe(appended.ticket, Waker::noop()) != Poll::Ready(Ok(())) {
            break;
        }
        rows.push(appended.first);
    }
    rows
}

fn store(journal: &Journal, change: Change) {
    let taken = journal.append(&[change], Durability::Fsync).unwrap();
    journal.turn(false);
    assert_eq!(journal.poll_safe(taken.ticket, Waker::noop()), Poll::Ready(Ok(())));
}

/// A disk on which a segment does not fit, one of a few segments, and a quota.
#[test]
fn an_emptied_store_takes_messages_again_before_any_time_has_passed() {
    let wide = JournalOptions { segment_bytes: 1 << 20, slack_bytes: 1 << 20, checkpoint_log_bytes: 1 << 20, ..tiny() };
    let cases = [
        ("watermark, one segment", 256 << 10, JournalOptions { free_bytes_min: 32 << 10, ..wide.clone() }),
        ("watermark, segments", 256 << 10, JournalOptions { free_bytes_min: 32 << 10, ..tiny() }),
        ("quota, one segment", u64::MAX, JournalOptions { bytes_max: Some(128 << 10), ..wide.clone() }),
        ("quota, segments", u64::MAX, JournalOptions { bytes_max: Some(128 << 10), ..tiny() }),
        ("no space, segments", 256 << 10, JournalOptions { slack_bytes: 1 << 20, ..tiny() }),
    ];
    for (case, bytes_max, options) in cases {
        let disk = Arc::new(SimDisk::new(1));
        disk.set_bytes_max(bytes_max);
        let journal = inline(&disk, &options);
        let rows = fill(&journal, &[7; 3000]);
        assert!(rows.len() > 20, "{case}: {}", rows.len());
        for row in &rows {
            store(&journal, Change::Done { owner: OwnerId(1), row: *row });
        }
        // What a writer without work does while it says that it is busy, and what the end of a checkpoint calls for.
        (0..10).for_each(|_| journal.turn(false));
        let status = journal.status();
        assert_eq!((status.health, status.rows), (Health::Good, 0), "{case}");
        assert!(status.bytes < 32 << 10, "{case}: {} bytes", status.bytes);
        let again = fill(&journal, &[7; 3000]);
        assert!(again.len() + 5 > rows.len(), "{case}: {} after {}", again.len(), rows.len());
    }
}

fn reserved(disk: &SimDisk) -> u64 {
    let files = disk.list().unwrap();
    files.iter().find(|(name, _)| name == "reserve.new").map_or(0, |(_, bytes)| *bytes)
}

/// Others take what is free, and what is needed at a time is acknowledged all the same.
#[test]
fn a_store_on_a_disk_without_a_free_byte_is_emptied_from_its_reserve() {
    let disk = Arc::new(SimDisk::new(1));
    let options = JournalOptions { reserve_bytes: 16 << 10, slack_bytes: 0, ..tiny() };
    let journal = inline(&disk, &options);
    journal.append(&[session(1)], Durability::Fsync).unwrap();
    let mut rows = Vec::new();
    for _ in 0..100 {
        rows.push(journal.append(&[message(1, &[7; 900], false)], Durability::Fsync).unwrap().first);
        journal.turn(false);
    }
    let used: u64 = disk.list().unwrap().iter().map(|(_, bytes)| bytes).sum();
    disk.set_bytes_max(used);
    let mut was_used = false;
    for row in rows {
        store(&journal, Change::Done { owner: OwnerId(1), row });
        was_used |= reserved(&disk) == 0 && matches!(journal.status().health, Health::Full(_));
    }
    assert!(was_used, "there was room without it");
    (0..10).for_each(|_| journal.turn(false));
    let status = journal.status();
    assert_eq!((status.health, status.rows), (Health::Good, 0));
    assert!(reserved(&disk) > 0, "it is kept again for the next time: {:?}", disk.list());
    assert!(journal.append(&[message(1, &[7; 900], false)], Durability::Fsync).is_ok());
}

/// It is as large as a checkpoint makes it, and takes nothing of what is to stay free.
#[test]
fn the_reserve_grows_and_shrinks_with_the_room_and_the_checkpoint() {
    let disk = Arc::new(SimDisk::new(1));
    let options = JournalOptions { reserve_bytes: 16 << 10, free_bytes_min: 64 << 10, ..tiny() };
    let set_free = |bytes: u64| {
        disk.set_bytes_max(disk.list().unwrap().iter().map(|(_, bytes)| bytes).sum::<u64>() + bytes);
    };
    set_free((64 << 10) + 1000);
    let journal = inline(&disk, &options);
    assert!(matches!(journal.status().health, Health::Full(_)), "there is none");
    set_free(70 << 10);
    journal.turn(true);
    assert_eq!((reserved(&disk), journal.status().health), (4 << 10, Health::Good));
    set_free(1 << 20);
    journal.turn(true);
    assert_eq!(reserved(&disk), 20 << 10, "with a step for an empty checkpoint");
    let change_all = |change: fn(u64) -> Change| {
        for owner in 1..=400 {
            journal.append(&[change(owner)], Durability::Os).unwrap();
        }
        // Some segments are over and dead: a checkpoint is due that removes them.
        journal.turn(false);
        journal.turn(true);
        reserved(&disk)
    };
    let large = change_all(session);
    assert!((28 << 10..=32 << 10).contains(&large), "{large}");
    assert_eq!(change_all(|owner| Change::DeleteOwner(OwnerId(owner))), 20 << 10);
}

#[test]
fn a_store_that_has_failed_lets_go_of_its_directory_when_its_checkpoint_is_written() {
    let disk = Arc::new(SimDisk::new(1));
    let journal = inline(&disk, &tiny());
    journal.write_checkpoints_later();
    journal.append(&[session(1)], Durability::Fsync).unwrap();
    while journal.append(&[message(1, &[7; 900], false)], Durability::Fsync).unwrap().first.0 < 8 {}
    journal.turn(false);
    let checkpoint = || disk.list().unwrap().into_iter().find(|(name, _)| name.starts_with("checkpoint-")).unwrap().0;
    let before = checkpoint();
    journal.append(&[message(1, &[7; 900], false)], Durability::Fsync).unwrap();
    disk.fail_after(1, Fault::Sync);
    journal.turn(false);
    assert!(matches!(journal.status().health, Health::Failed(_)), "{:?}", journal.status());
    assert_eq!(checkpoint(), before, "it was begun a turn ago");
    journal.close();
    assert_ne!(checkpoint(), before);
}

const FILLINGS_MAX: usize = 50;

#[test]
fn a_full_store_without_anything_to_gain_leaves_the_disk_alone() {
    for payload in [&[7; 3000][..], b""] {
        let disk = Arc::new(SimDisk::new(1));
        let journal = inline(&disk, &JournalOptions { bytes_max: Some(128 << 10), ..tiny() });
        // What the pages and checkpoints of one filling leave room for, the next one takes.
        for _ in 0..FILLINGS_MAX {
            fill(&journal, payload);
            (0..200).for_each(|turn| journal.turn(turn % 10 == 0));
            if matches!(journal.status().health, Health::Full(_)) {
                break;
            }
        }
        let operations = disk.operations();
        for turn in 0..100 {
            journal.turn(turn % 10 == 0);
        }
        assert_eq!(disk.operations(), operations, "after {} bytes a message", payload.len());
        assert!(matches!(journal.status().health, Health::Full(_)), "{:?}", journal.status());
    }
}

#[test]
fn segments_are_small_on_a_small_disk_or_with_a_small_quota() {
    let fitted = |bytes_max, room| JournalOptions { bytes_max, ..JournalOptions::default() }.fitted_to(room);
    for (bytes_max, room, segment_bytes, log_bytes) in [
        (None, u64::MAX, 32 << 20, 64 << 20),
        (None, 24 << 20, 3 << 19, 3 << 19),
        (Some(32 << 20), u64::MAX, 2 << 20, 2 << 20),
        (Some(1 << 40), 1 << 20, 1 << 20, 1 << 20),
    ] {
        let options = fitted(bytes_max, room);
        assert_eq!((options.segment_bytes, options.checkpoint_log_bytes), (segment_bytes, log_bytes), "{options:?}");
        assert!(options.slack_bytes <= segment_bytes * 3 / 2, "{options:?}");
    }
}
