//! Backups of a store while its files come and go.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Poll, Waker};

use super::opening::{message, session};
use super::power::tiny;
use crate::store::journal::{Journal, JournalOptions, backup, check};
use crate::store::{Appended, Change, Durability, OwnerId, RowId, Store};

const BACKUPS: usize = 10;
/// Segments that are removed before the last backup.
const REMOVED_MIN: usize = 20;
/// Some messages stay, at most so many.
const KEPT_MAX: u64 = 2000;

/// Many segments behind a checkpoint, and many checkpoints.
fn options() -> JournalOptions {
    JournalOptions { checkpoint_log_bytes: 48 << 10, ..tiny() }
}

fn append(journal: &Journal, change: Change) -> Appended {
    let appended = journal.append(&[change], Durability::Os).unwrap();
    while journal.poll_safe(appended.ticket, Waker::noop()) != Poll::Ready(Ok(())) {
        std::thread::yield_now();
    }
    appended
}

/// Stores messages, of which most are done soon. `kept`: the last row that stays and is in the store.
fn flow(journal: &Journal, kept: &AtomicU64, is_over: &AtomicBool) {
    for number in 0u64.. {
        if is_over.load(SeqCst) {
            return;
        }
        if number % 10 == 0 && number < 10 * KEPT_MAX {
            kept.store(append(journal, message(1, b"stays", false)).first.0, SeqCst);
        }
        let row = append(journal, message(2, &[7; 900], false)).first;
        append(journal, Change::Done { owner: OwnerId(2), row });
    }
}

fn rows(directory: &Path) -> BTreeSet<u64> {
    let (journal, recovered) = Journal::open(directory, &options()).unwrap();
    assert_eq!(recovered.sessions.len(), 2);
    let rows = journal.read_rows(OwnerId(1), RowId::NONE, usize::MAX).unwrap();
    rows.into_iter().map(|row| row.row.0).collect()
}

fn segments(directory: &Path) -> BTreeSet<std::ffi::OsString> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".segment")).collect()
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_backup_has_all_that_was_stored_before_it_began_whatever_is_removed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (journal, _) = Journal::open(&data, &options()).unwrap();
    for owner in [1, 2] {
        append(&journal, session(owner));
    }
    let (kept, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut removed = 0;
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| flow(&journal, &kept, &is_over));
        for number in 0.. {
            let copy = directory.path().join(number.to_string());
            let (last, before) = (kept.load(SeqCst), segments(&data));
            backup(&data, &copy).unwrap();
            removed += before.difference(&segments(&data)).count();
            assert_eq!(check(&copy).unwrap().problems, [""; 0]);
            let (found, now) = (rows(&copy), journal.read_rows(OwnerId(1), RowId::NONE, usize::MAX).unwrap());
            let lost: Vec<_> =
                now.iter().map(|row| row.row.0).filter(|row| *row <= last && !found.contains(row)).collect();
            assert!(lost.is_empty(), "not in backup {number}: {lost:?}");
            std::fs::remove_dir_all(copy).unwrap();
            if number + 1 >= BACKUPS && removed >= REMOVED_MIN {
                break;
            }
        }
    });
}
