//! Sessions that have ended while the store may still have them. A client that comes back under such a client id is told
//! that it has no session, and that is a promise: it holds when the store has forgotten the old one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::keeper::{Keeper, Kept};
use crate::message::OwnerId;
use crate::store::Change;

/// By client id.
#[derive(Default)]
pub(crate) struct Removals(Mutex<HashMap<Arc<str>, Removal>>);

struct Removal {
    /// Several, when one after the other ended while the disk was slow.
    owners: Vec<OwnerId>,
    /// When all of them are gone; why the store did not take that.
    gone: Kept,
}

impl Removal {
    /// Safe is `None`. What the store has lost is said again.
    fn ticket(&mut self, keeper: &Keeper) -> Option<&Kept> {
        if let Ok(ticket) = self.gone {
            match keeper.poll_safe(ticket, Waker::noop()) {
                Poll::Ready(Ok(())) => return None,
                Poll::Ready(Err(_)) => self.gone = remove(keeper, &self.owners),
                Poll::Pending => {}
            }
        }
        Some(&self.gone)
    }
}

fn remove(keeper: &Keeper, owners: &[OwnerId]) -> Kept {
    let changes: Vec<_> = owners.iter().copied().map(Change::DeleteOwner).collect();
    keeper.append(&changes)
}

impl Removals {
    /// A session that the store has has ended.
    pub(super) fn begin(&self, keeper: &Keeper, client_id: &Arc<str>, owner: OwnerId) {
        match self.0.lock().entry(Arc::clone(client_id)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Removal { owners: vec![owner], gone: remove(keeper, &[owner]) });
            }
            Entry::Occupied(mut occupied) => {
                let removal = occupied.get_mut();
                removal.owners.push(owner);
                removal.gone = remove(keeper, &removal.owners);
            }
        }
    }

    /// What must be safe before the client may be told that it has no session.
    pub(super) fn of(&self, keeper: &Keeper, client_id: &str) -> Option<Kept> {
        let mut removals = self.0.lock();
        let gone = removals.get_mut(client_id)?.ticket(keeper).cloned();
        if gone.is_none() {
            removals.remove(client_id);
        }
        gone
    }

    /// Forgets those that are safe, and says again what the store has lost.
    pub(crate) fn look_after(&self, keeper: &Keeper) {
        let mut removals = self.0.lock();
        removals.retain(|_, removal| removal.ticket(keeper).is_some());
        let room = 2 * removals.len();
        removals.shrink_to(room);
    }
}
