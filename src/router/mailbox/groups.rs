//! What the shared groups of a session do with its mailbox: they look whether its client can have a message now, and give
//! it no others.

use std::sync::Arc;

use super::Mailbox;
use crate::message::{Delivery, Queued, RunDelivery, SubscriptionIds};
use crate::router::batch::Batch;
use crate::router::shared_subscriptions::Group;
use crate::topic::{QoS, SubscribeOptions};

impl Mailbox {
    /// Puts a copy of a shared subscription in the queue if the client can have it now.
    pub(in crate::router) fn try_push_shared(&self, delivery: Delivery, batch: &mut Batch) -> bool {
        let mut inner = self.inner.lock();
        let window_free = delivery.qos == QoS::AtMostOnce || inner.credit() > 0;
        let takes = inner.online && !inner.closed && window_free && inner.has_room(&delivery);
        if takes {
            inner.append(delivery, batch);
        }
        takes
    }

    /// The same for some messages of a run: as many of the first of `rest` as the client can have now, `most` at most. They
    /// are taken out of `rest`, and become copies for a subscription with these options and identifiers. False when there
    /// are none.
    pub(in crate::router) fn try_push_shared_run(
        &self,
        rest: &mut RunDelivery,
        most: u32,
        (options, ids): (SubscribeOptions, SubscriptionIds),
        batch: &mut Batch,
    ) -> bool {
        let mut inner = self.inner.lock();
        if inner.closed || !inner.online {
            return false;
        }
        let (messages_free, bytes_free) = inner.room();
        let is_acked = rest.qos.min(options.qos) != QoS::AtMostOnce;
        let window_free = if is_acked { inner.credit() } else { u32::MAX };
        let first = rest.first(most.min(messages_free).min(window_free), bytes_free);
        if first.is_empty() {
            return false;
        }
        rest.skip(&first);
        inner.waiting.push_run(first.own(options.qos, ids));
        inner.wake_later(batch);
        true
    }

    /// Takes copies of a shared subscription from `next` as long as the client can have more; it is told how many, and bytes.
    /// The byte limit may be passed by one message.
    pub(in crate::router) fn fill_shared(&self, batch: &mut Batch, mut next: impl FnMut(u32, u64) -> Option<Queued>) {
        let mut inner = self.inner.lock();
        while inner.online {
            let (messages_free, bytes_free) = inner.room();
            let most = messages_free.min(inner.credit());
            if most == 0 || bytes_free == 0 {
                return;
            }
            match next(most, bytes_free) {
                Some(Queued::One(delivery)) => inner.waiting.push(delivery, false),
                Some(Queued::Run(run)) => inner.waiting.push_run(run),
                None => return,
            }
            inner.wake_later(batch);
        }
    }

    pub(in crate::router) fn is_online(&self) -> bool {
        self.inner.lock().online
    }

    pub(in crate::router) fn join(&self, group: &Arc<Group>) {
        let mut inner = self.inner.lock();
        let groups = &mut inner.seldom().groups;
        if !groups.iter().any(|known| Arc::ptr_eq(known, group)) {
            groups.push(Arc::clone(group));
        }
    }

    /// Returns unsent copies of the group.
    pub(in crate::router) fn leave(&self, group: &Arc<Group>) -> Vec<Delivery> {
        let mut inner = self.inner.lock();
        if let Some(seldom) = &mut inner.seldom {
            seldom.groups.retain(|known| !Arc::ptr_eq(known, group));
        }
        inner.waiting.take_shared(|id| id == group.id())
    }

    pub(in crate::router) fn groups(&self) -> Vec<Arc<Group>> {
        self.inner.lock().groups().to_vec()
    }

    /// In flight and waiting, for the `least_in_flight` strategy.
    pub(in crate::router) fn load(&self) -> u32 {
        let inner = self.inner.lock();
        inner.under_way.inflight + inner.waiting.acked()
    }
}
