//! Session State (section 4.1): what outlives a network connection, owned by one driver or parked.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use indexmap::IndexMap;

use super::inbound::Inbound;
use super::mount_point::MountPoint;
use super::outbound::Outbound;
use super::replay::{Replay, Replays};
use super::will::Will;
use crate::message::{Delivery, GroupId, RowId, SubscriptionIds};
use crate::packet::{PacketId, SubscribeOptions};

/// Never ends by itself.
pub const EXPIRY_NEVER: u32 = u32::MAX;

/// A subscription as the session remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSubscription {
    pub options: SubscribeOptions,
    pub id: Option<NonZeroU32>,
}

impl SessionSubscription {
    pub(super) fn ids(&self) -> SubscriptionIds {
        self.id.map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.get()))
    }
}

/// Boxed: who only publishes has none.
#[derive(Debug, Default)]
pub struct Subscriptions(Option<Box<ByFilter>>);

type ByFilter = IndexMap<Box<str>, SessionSubscription, foldhash::fast::RandomState>;

impl Subscriptions {
    /// Returns the one it takes the place of.
    pub fn insert(&mut self, filter: Box<str>, subscription: SessionSubscription) -> Option<SessionSubscription> {
        self.0.get_or_insert_default().insert(filter, subscription)
    }

    fn remove(&mut self, filter: &str) -> Option<SessionSubscription> {
        let removed = self.0.as_mut()?.swap_remove(filter);
        self.0.take_if(|subscriptions| subscriptions.is_empty());
        removed
    }

    pub fn get(&self, filter: &str) -> Option<SessionSubscription> {
        self.0.as_ref()?.get(filter).copied()
    }

    pub fn contains(&self, filter: &str) -> bool {
        self.get(filter).is_some()
    }

    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |subscriptions| subscriptions.len())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Those from the one at `skip` on.
    pub fn range(&self, skip: usize) -> impl Iterator<Item = (&str, &SessionSubscription)> {
        let from = self.0.as_ref().and_then(|subscriptions| subscriptions.get_range(skip..));
        from.into_iter().flatten().map(|(filter, subscription)| (&**filter, subscription))
    }

    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.range(0).map(|(filter, _)| filter)
    }
}

#[derive(Debug)]
pub struct Session {
    client_id: Arc<str>,
    /// In front of all its topics: that of the listener it was made on.
    mount_point: MountPoint,
    /// Seconds after the connection; 0 ends with it, [`EXPIRY_NEVER`] never.
    pub expiry_interval: u32,
    /// By filter as sent, share part included.
    pub subscriptions: Subscriptions,
    pub will: Option<Box<Will>>,
    pub replays: Replays,
    /// Stored messages up to this row may have been sent at QoS 1 before the broker was started again. The packet ids of
    /// those are not stored: it would cost a record a message, and a receiver could make nothing of them, since at QoS 1
    /// every PUBLISH is a new message to it ([MQTT-4.3.2-5]). So they are sent again under new ids, as re-deliveries.
    pub maybe_sent: RowId,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
}

impl Session {
    /// A session that ends with its connection.
    pub fn new(client_id: Arc<str>, mount_point: &MountPoint) -> Self {
        Session {
            client_id,
            mount_point: mount_point.clone(),
            expiry_interval: 0,
            subscriptions: Subscriptions::default(),
            will: None,
            replays: Replays::default(),
            maybe_sent: RowId::NONE,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
        }
    }

    /// The session as it was before the broker was started again: the QoS 2 packet ids that were received, and what was
    /// sent with QoS 2 (the id, where it is stored, and the delivery unless PUBREC had come for it).
    pub fn restore(
        client_id: Arc<str>,
        mount_point: &MountPoint,
        received: impl Iterator<Item = PacketId>,
        sent: impl Iterator<Item = (PacketId, RowId, Option<Delivery>)>,
    ) -> Self {
        let (inbound, outbound) = (Inbound::restore(received), Outbound::restore(sent));
        Session { inbound, outbound, ..Session::new(client_id, mount_point) }
    }

    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    pub fn mount_point(&self) -> &MountPoint {
        &self.mount_point
    }

    /// Remembers a subscription, and the retained messages that are to be sent for it: from the beginning if the same
    /// subscription still waits for some ([MQTT-3.8.4-4]).
    pub(super) fn subscribe(&mut self, filter: &str, subscription: SessionSubscription, replay_before: Option<u64>) {
        let existed = self.subscriptions.insert(filter.into(), subscription).is_some();
        let is_its = |replay: &Replay| existed && *replay.filter == *filter;
        if let Some(before_version) = replay_before {
            self.replays.retain(|replay| !is_its(replay));
            self.replays.push_back(Replay::new(filter, subscription, before_version));
        } else if let Some(replay) = self.replays.iter_mut().find(|replay| is_its(replay)) {
            (replay.options, replay.subscription_ids) = (subscription.options, subscription.ids());
        }
    }

    /// Forgets subscriptions and what retained messages were still to be sent for them. What is in flight stays
    /// ([MQTT-3.10.4-3]).
    pub(super) fn unsubscribe<'a>(&mut self, filters: impl Iterator<Item = &'a str>) {
        let gone: HashSet<&str, foldhash::fast::RandomState> =
            filters.filter(|filter| self.subscriptions.remove(filter).is_some()).collect();
        if !gone.is_empty() {
            self.replays.retain(|replay| !gone.contains(&*replay.filter));
        }
    }

    /// QoS 1 copies in flight that a shared group would get back.
    pub fn shared_in_flight(&mut self, group: GroupId) -> impl Iterator<Item = &mut Delivery> {
        self.outbound.shared(group)
    }

    /// QoS 1 and 2 messages sent and not completely acknowledged.
    pub fn inflight(&self) -> u32 {
        self.outbound.open()
    }

    /// Up to this row stored messages may have been sent at QoS 1, on this network connection or an earlier one.
    pub fn sent_up_to(&self) -> RowId {
        self.maybe_sent.max(self.outbound.sent_up_to())
    }

    /// QoS 2 messages received whose PUBREL has not come.
    pub fn inbound_open(&self) -> usize {
        self.inbound.open()
    }

    /// A QoS 2 message is not the broker's after all: it is new when it is sent again.
    pub fn forget_received(&mut self, packet_id: PacketId) {
        self.inbound.release(packet_id);
    }

    /// The session has ended: how much was in flight that nobody else may have, and the rest, with whether each may go to
    /// another member of its shared group.
    pub fn into_inflight(self) -> (u64, impl Iterator<Item = (Delivery, bool)>) {
        self.outbound.into_deliveries()
    }
}
