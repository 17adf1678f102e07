//! Writing what was imported into a store, and waiting until it is safe.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::{Imported, Sent};
use crate::message::RowId;
use crate::store::{AppendError, Appended, Change, Durability, Lost, Store};

/// Changes in a batch: few enough for any engine, many enough that nobody waits for each.
const BATCH_CHANGES_MAX: usize = 256;

/// Why an import ended in the middle. What it has written so far is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl Imported {
    /// Writes all of it into a store that has nothing yet, and returns when it is safe. Blocks.
    pub fn write_into(&self, store: &dyn Store) -> Result<(), WriteError> {
        let mut rows = Vec::with_capacity(self.changes.len());
        let mut last = None;
        for batch in self.changes.chunks(BATCH_CHANGES_MAX) {
            let appended = append(store, batch)?;
            rows.extend((appended.first.0..).take(batch.len()).map(RowId));
            last = Some(appended.ticket);
        }
        let sent: Vec<Change> = self.sent.iter().flat_map(|sent| states(sent, &rows)).collect();
        for batch in sent.chunks(BATCH_CHANGES_MAX) {
            last = Some(append(store, batch)?.ticket);
        }
        if let Some(ticket) = last {
            wait(|waker| store.poll_safe(ticket, waker))?;
        }
        Ok(())
    }
}

/// How far a QoS 2 copy has come, now that its row is known.
fn states(sent: &Sent, rows: &[RowId]) -> impl Iterator<Item = Change> + use<> {
    let Sent { change, owner, packet_id, is_handed } = *sent;
    let row = rows.get(change).copied().unwrap_or_default();
    let handed = is_handed.then_some(Change::Handed { owner, row });
    [Change::Sent { owner, row, packet_id, from: owner }].into_iter().chain(handed)
}

fn append(store: &dyn Store, batch: &[Change]) -> Result<Appended, AppendError> {
    loop {
        match store.append(batch, Durability::Fsync) {
            Err(AppendError::Busy) => wait(|waker| store.poll_ready(waker)),
            answer => return answer,
        }
    }
}

/// Puts this thread to sleep until it is ready.
fn wait<T>(poll: impl Fn(&Waker) -> Poll<T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match poll(&waker) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
