//! One suite for every engine.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::model::{Maker, Model};
use super::power::tiny;
use crate::store::journal::sim::SimDisk;
use crate::store::journal::{Journal, JournalOptions};
use crate::store::memory::MemoryStore;
use crate::store::{Durability, Recovered, Store};

/// Something that can be closed and opened again.
trait Engine {
    fn store(&self) -> &dyn Store;
    fn reopen(&mut self) -> Recovered;
}

impl Engine for MemoryStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn reopen(&mut self) -> Recovered {
        self.recovered()
    }
}

struct OnDisk {
    directory: tempfile::TempDir,
    options: JournalOptions,
    journal: Option<Journal>,
}

impl Engine for OnDisk {
    fn store(&self) -> &dyn Store {
        self.journal.as_ref().unwrap()
    }

    fn reopen(&mut self) -> Recovered {
        drop(self.journal.take());
        let (journal, recovered) = Journal::open(self.directory.path(), &self.options).unwrap();
        self.journal = Some(journal);
        recovered
    }
}

struct Simulated {
    disk: Arc<SimDisk>,
    journal: Journal,
}

impl Engine for Simulated {
    fn store(&self) -> &dyn Store {
        &self.journal
    }

    fn reopen(&mut self) -> Recovered {
        self.journal.close();
        let (journal, recovered) = Journal::open_inline(Arc::clone(&self.disk) as Arc<_>, &tiny(), [1, 2]).unwrap();
        self.journal = journal;
        recovered
    }
}

fn engines() -> Vec<Box<dyn Engine>> {
    let on_disk = |options: JournalOptions| {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(directory.path(), &options).unwrap();
        Box::new(OnDisk { directory, options, journal: Some(journal) }) as Box<dyn Engine>
    };
    let disk = Arc::new(SimDisk::new(3));
    let (journal, _) = Journal::open_inline(Arc::clone(&disk) as Arc<_>, &tiny(), [1, 2]).unwrap();
    vec![
        Box::new(MemoryStore::default()),
        on_disk(JournalOptions::default()),
        on_disk(tiny()),
        Box::new(Simulated { disk, journal }),
    ]
}

/// Blocks until a store says that a ticket is safe.
fn wait(store: &dyn Store, ticket: crate::store::Ticket) {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    // An engine without a thread writes when it is read.
    let _ = store.read_rows(crate::store::OwnerId(1), crate::store::RowId(0), 1);
    while store.poll_safe(ticket, &waker).is_pending() {
        std::thread::park();
    }
    assert_eq!(store.poll_safe(ticket, &waker), Poll::Ready(Ok(())));
}

#[test]
fn what_was_told_is_there_and_is_there_again_after_a_start() {
    for mut engine in engines() {
        let mut maker = Maker::new(11);
        let mut model = Model::default();
        for round in 0..6 {
            for at in 0..60 {
                let changes = maker.batch(&model);
                let durability = [Durability::Fsync, Durability::Os, Durability::Memory][at % 3];
                let appended = engine.store().append(&changes, durability).unwrap();
                (appended.first.0..).zip(&changes).for_each(|(row, change)| model.apply(row, change));
                if at % 20 == 0 {
                    wait(engine.store(), appended.ticket);
                }
            }
            let recovered = engine.reopen();
            let found = Model::of(engine.store(), &recovered, &mut maker.dice).unwrap();
            assert_eq!(found.differences(&model), "", "round {round}");
            let status = engine.store().status();
            assert_eq!(
                (status.retained, status.sessions),
                (recovered.retained.len() as u64, recovered.sessions.len() as u64)
            );
        }
    }
}

#[test]
fn an_empty_batch_is_safe_at_once() {
    for engine in engines() {
        let appended = engine.store().append(&[], Durability::Fsync).unwrap();
        assert_eq!(engine.store().poll_safe(appended.ticket, Waker::noop()), Poll::Ready(Ok(())));
    }
}
