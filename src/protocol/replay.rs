//! Retained messages that are still to be sent for a session's subscriptions, the oldest subscription first.

use std::collections::VecDeque;

use super::session::SessionSubscription;
use crate::message::SubscriptionIds;
use crate::packet::SubscribeOptions;

/// Those of one subscription.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Without the share part; retained messages are not sent for shared subscriptions.
    pub filter: Box<str>,
    pub options: SubscribeOptions,
    pub subscription_ids: SubscriptionIds,
    /// Those from this version on come live.
    pub before_version: u64,
    /// The last topic that was looked at.
    pub after: Option<Box<str>>,
}

impl Replay {
    pub(super) fn new(filter: &str, subscription: SessionSubscription, before_version: u64) -> Self {
        Replay {
            filter: filter.into(),
            options: subscription.options,
            subscription_ids: subscription.ids(),
            before_version,
            after: None,
        }
    }

    /// As it was before the broker was started again: what is retained since then comes as it is now. `after` is empty
    /// while nothing was looked at.
    pub fn restore(filter: &str, subscription: SessionSubscription, before_version: u64, after: &str) -> Self {
        let after = Some(after).filter(|after| !after.is_empty());
        Replay { after: after.map(Into::into), ..Replay::new(filter, subscription, before_version) }
    }
}

/// Boxed: most sessions wait for none.
#[derive(Debug, Default)]
pub struct Replays(Option<Box<Queue>>);

type Queue = VecDeque<Replay>;

impl Replays {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Replay> {
        self.0.iter().flat_map(|replays| replays.iter())
    }

    pub fn pop_front(&mut self) -> Option<Replay> {
        let front = self.0.as_mut()?.pop_front();
        self.shrink();
        front
    }

    pub fn push_front(&mut self, replay: Replay) {
        self.0.get_or_insert_default().push_front(replay);
    }

    pub fn push_back(&mut self, replay: Replay) {
        self.0.get_or_insert_default().push_back(replay);
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Replay> {
        self.0.iter_mut().flat_map(|replays| replays.iter_mut())
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Replay) -> bool) {
        if let Some(replays) = &mut self.0 {
            replays.retain(keep);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        self.0.take_if(|replays| replays.is_empty());
    }
}
