//! Wills that are due: published, or waiting until the store takes more. What is stored of a session keeps its will until
//! the will itself is stored: a crash in between publishes it after the start.
//!
//! A client that is back while its will waits ends that: its new connection, or that its session has ended, is stored at
//! once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::context::{Access, Parked, Shared};
use super::keeper::Tickets;
use crate::auth::Identity;
use crate::message::{OwnerId, PublisherId};
use crate::protocol::Will;
use crate::router::{Batch, Outcome, Refused};

/// A will whose time has come, with whose it is.
pub(super) struct DueWill {
    will: Box<Will>,
    identity: Identity,
    access: Arc<ArcSwap<Access>>,
    publisher: PublisherId,
}

/// What waits until the store takes more, in this order.
#[derive(Default)]
pub(super) struct LateWills(Mutex<VecDeque<Late>>);

enum Late {
    Will(DueWill),
    /// The session sleeps on without its will.
    Record(Arc<str>, OwnerId),
    /// The session has ended.
    End {
        client_id: Arc<str>,
        owner: OwnerId,
        outlives_the_process: bool,
    },
}

impl Parked {
    /// Published once, then gone ([MQTT-3.1.2-10]).
    pub(super) fn take_will(&mut self) -> Option<DueWill> {
        let will = self.session.will.take()?;
        Some(DueWill {
            will,
            identity: self.identity.clone(),
            access: Arc::clone(&self.access),
            publisher: self.mailbox.publisher(),
        })
    }
}

impl Shared {
    /// Publishes a will, if its client was allowed to publish it; true when it has to wait for the store.
    pub(super) fn publish_will(&self, due: Option<DueWill>, batch: &mut Batch) -> bool {
        let late = due.and_then(|due| self.publish_due(due, batch).err());
        let is_late = late.is_some();
        late.into_iter().for_each(|due| self.put_off(Late::Will(due)));
        is_late
    }

    /// Gives it back when the store is busy.
    fn publish_due(&self, due: DueWill, batch: &mut Batch) -> Result<(), DueWill> {
        let (client_id, topic) = (&*due.identity.client_id, due.will.topic());
        let message = due.will.message(due.publisher, batch.now);
        if !due.access.load().may_publish(&due.identity, message.topic()) {
            batch.counts.not_authorised += 1;
            tracing::warn!(client_id, topic, "will not authorised");
            return Ok(());
        }
        match self.publish(&message, None, batch, &mut Tickets::new()) {
            Outcome::Routed { .. } => {}
            Outcome::Refused(Refused::Busy) => return Err(due),
            Outcome::Refused(why) => tracing::warn!(client_id, topic, ?why, "will refused"),
        }
        Ok(())
    }

    fn put_off(&self, late: Late) {
        self.late_wills.0.lock().push_back(late);
        self.deadlines.wake();
    }

    /// Stores a session as it is parked.
    pub(super) fn store_parked(&self, parked: &Parked) {
        if !parked.mailbox.is_stored() {
            return;
        }
        if parked.will_is_late {
            return self.put_off(Late::Record(Arc::clone(parked.session.client_id()), parked.mailbox.owner()));
        }
        // A store that takes nothing more has it as it was: connected, which a restart takes for a crash.
        let _ = self.keeper.append(&[parked.record()]);
    }

    /// Removes what is stored of a session that has ended.
    pub(super) fn remove_stored(&self, parked: &Parked, batch: &mut Batch) {
        let (client_id, owner) = (parked.session.client_id(), parked.mailbox.owner());
        let outlives_the_process = parked.outlives_the_process();
        if !parked.mailbox.is_recorded() {
            return;
        }
        if !parked.will_is_late {
            return self.remove_owner(client_id, owner, outlives_the_process, batch);
        }
        if outlives_the_process {
            self.removals.put_off(client_id, owner);
        }
        self.put_off(Late::End { client_id: Arc::clone(client_id), owner, outlives_the_process });
    }

    fn remove_owner(&self, client_id: &Arc<str>, owner: OwnerId, outlives_the_process: bool, batch: &mut Batch) {
        if outlives_the_process {
            self.removals.begin(&self.keeper, client_id, owner);
        } else {
            batch.ended_owners.push(owner);
        }
    }

    /// Publishes wills that had to wait for the store; the context is woken when those that still have to may go on.
    pub(crate) fn poll_late_wills(&self, cx: &mut Context<'_>, batch: &mut Batch) {
        if self.late_wills.0.lock().is_empty() || self.keeper.poll_ready(cx).is_pending() {
            return;
        }
        let mut late = std::mem::take(&mut *self.late_wills.0.lock());
        while let Some(next) = late.pop_front() {
            if let Err(due) = self.take_up(next, batch) {
                late.push_front(Late::Will(due));
                self.deadlines.wake();
                break;
            }
        }
        // In front of what has come meanwhile.
        let mut behind = self.late_wills.0.lock();
        late.append(&mut behind);
        *behind = late;
        drop(behind);
        self.flush(batch);
    }

    fn take_up(&self, late: Late, batch: &mut Batch) -> Result<(), DueWill> {
        match late {
            Late::Will(due) => self.publish_due(due, batch)?,
            Late::End { client_id, owner, outlives_the_process } => {
                self.remove_owner(&client_id, owner, outlives_the_process, batch);
            }
            Late::Record(client_id, owner) => {
                // A client that is back has a newer one.
                let generation = self.sessions.parked_generation(&client_id);
                generation.and_then(|generation| {
                    self.sessions.with_parked(&client_id, generation, |parked| {
                        if parked.mailbox.owner() == owner {
                            parked.will_is_late = false;
                            self.store_parked(parked);
                        }
                    })
                });
            }
        }
        Ok(())
    }
}
