//! Sessions that have ended while the store may still have them. A client that comes back under such a client id is told
//! that it has no session, and that is a promise: it holds when the store has forgotten the old one.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::keeper::{Keeper, Kept};
use crate::message::OwnerId;
use crate::store::Change;

/// By client id.
#[derive(Default)]
pub(crate) struct Removals(Mutex<HashMap<Arc<str>, Removal>>);

#[derive(Default)]
struct Removal {
    /// Several, when one after the other ended while the disk was slow.
    owners: Vec<OwnerId>,
    /// What the store has answered, when it was told.
    told: Option<Kept>,
}

impl Removal {
    /// Whether the store has forgotten them. What it has lost is said again.
    fn is_over(&mut self, keeper: &Keeper) -> bool {
        let Some(Ok(ticket)) = self.told else { return false };
        let fate = keeper.poll_safe(ticket, Waker::noop());
        if let Poll::Ready(Err(_)) = fate {
            self.told = Some(remove(keeper, &self.owners));
        }
        matches!(fate, Poll::Ready(Ok(())))
    }
}

fn remove(keeper: &Keeper, owners: &[OwnerId]) -> Kept {
    let changes: Vec<_> = owners.iter().copied().map(Change::DeleteOwner).collect();
    keeper.append(&changes)
}

impl Removals {
    /// A session that the store has has ended.
    pub(super) fn begin(&self, keeper: &Keeper, client_id: &Arc<str>, owner: OwnerId) {
        self.add(client_id, owner, |owners| Some(remove(keeper, owners)));
    }

    /// The same, but what is stored of it is needed a little longer, unless its client comes back.
    pub(super) fn put_off(&self, client_id: &Arc<str>, owner: OwnerId) {
        self.add(client_id, owner, |_| None);
    }

    fn add(&self, client_id: &Arc<str>, owner: OwnerId, tell: impl FnOnce(&[OwnerId]) -> Option<Kept>) {
        let mut removals = self.0.lock();
        let removal = removals.entry(Arc::clone(client_id)).or_default();
        if !removal.owners.contains(&owner) {
            removal.owners.push(owner);
        }
        removal.told = tell(&removal.owners);
    }

    /// What must be safe before the client may be told that it has no session.
    pub(super) fn of(&self, keeper: &Keeper, client_id: &str) -> Option<Kept> {
        let mut removals = self.0.lock();
        let removal = removals.get_mut(client_id)?;
        if removal.told.is_none() {
            removal.told = Some(remove(keeper, &removal.owners));
        }
        if removal.is_over(keeper) {
            removals.remove(client_id);
            return None;
        }
        removal.told.clone()
    }

    /// Forgets those that are safe, and says again what the store has lost.
    pub(crate) fn look_after(&self, keeper: &Keeper) {
        let mut removals = self.0.lock();
        removals.retain(|_, removal| !removal.is_over(keeper));
        let room = 2 * removals.len();
        removals.shrink_to(room);
    }
}
