//! What has to be stored of a message before copies of it are handed out.
//!
//! ```text
//! first row    the retained message, and the copies of all sessions
//! next rows    one for each shared group
//! ```
//! A group's copy becomes that of the session it is sent to, which may have one of its own: each has its own row, or one
//! could not be told from the other. Where no session has one, the first group's stands in the first row.

use super::Refused;
use super::shared_subscriptions::Group;
use super::subscriptions::{Match, Matches};
use crate::message::{Delivery, Message, RowId, StoredCopy, SubscriptionIds};
use crate::topic::QoS;

/// Stores a message before copies of it are handed out.
pub trait Keep {
    /// Whether messages of this topic are stored at all.
    fn keeps(&self) -> bool;

    /// Stores the message once for each of these sets of copies, the first of which may be its topic's retained one; the
    /// row of the first, behind which come the others.
    fn keep(&mut self, message: &Message, copies: Vec<Vec<StoredCopy>>, retained: bool) -> Result<RowId, Refused>;

    /// Nothing of the message is stored. What is to be remembered of it all the same?
    fn pass(&mut self) -> Result<(), Refused>;

    /// Removes a topic's retained message, which is stored in this row, from the store.
    fn unretain(&mut self, topic: &str, row: RowId) -> Result<(), Refused>;
}

/// In memory only.
impl Keep for () {
    fn keeps(&self) -> bool {
        false
    }

    fn keep(&mut self, _: &Message, _: Vec<Vec<StoredCopy>>, _: bool) -> Result<RowId, Refused> {
        Ok(RowId::NONE)
    }

    fn pass(&mut self) -> Result<(), Refused> {
        Ok(())
    }

    fn unretain(&mut self, _: &str, _: RowId) -> Result<(), Refused> {
        Ok(())
    }
}

/// Where the copies of one message are stored.
#[derive(Default)]
pub(super) struct Rows {
    /// Of the sessions', and of the retained message.
    pub(super) first: RowId,
    groups: Vec<RowId>,
}

impl Rows {
    /// By its place among those that match.
    pub(super) fn of_group(&self, at: usize) -> RowId {
        self.groups.get(at).copied().unwrap_or_default()
    }
}

/// Stores the message for every session and group that outlives the process, and as a retained one.
pub(super) fn store(matches: &Matches, message: &Message, keep: &mut impl Keep) -> Result<Rows, Refused> {
    if message.is_brokers_own() || !keep.keeps() {
        return keep.pass().map(|()| Rows::default());
    }
    let retained = message.retain() && !message.payload().is_empty();
    let is_acked = message.qos() != QoS::AtMostOnce;
    let may_be_stored = is_acked && (matches.any_stored || matches.groups.iter().any(|group| group.is_stored()));
    if !may_be_stored && !retained {
        return keep.pass().map(|()| Rows::default());
    }
    let own = if is_acked { matches.stored_copies(message) } else { Vec::new() };
    let is_stored = |group: &Group| is_acked && group.is_stored();
    // Looked at once for what follows: a group may become one that is stored at any time.
    let stored: Vec<bool> = matches.groups.iter().map(|group| is_stored(group)).collect();
    let groups = matches.groups.iter().zip(&stored).filter(|(_, is_stored)| **is_stored);
    let mut copies: Vec<_> = groups.map(|(group, _)| vec![group_copy(group, message)]).collect();
    let own_row = !own.is_empty() || copies.is_empty() && retained;
    if own_row {
        copies.insert(0, own);
    }
    if copies.is_empty() {
        return keep.pass().map(|()| Rows::default());
    }
    let first = keep.keep(message, copies, retained)?;
    let mut next = first.0 + u64::from(own_row);
    let groups = stored.into_iter().map(|is_stored| {
        let row = if is_stored && first.is_stored() { RowId(next) } else { RowId::NONE };
        next += u64::from(is_stored);
        row
    });
    Ok(Rows { first, groups: groups.collect() })
}

fn group_copy(group: &Group, message: &Message) -> StoredCopy {
    let (qos, retain) = (message.qos(), message.retain());
    StoredCopy { owner: group.owner(), qos, retain, subscription_ids: SubscriptionIds::None }
}

impl Matches {
    /// The copies of those who outlive the process.
    fn stored_copies(&self, message: &Message) -> Vec<StoredCopy> {
        self.sessions.iter().filter_map(|found| found.stored_copy(message)).collect()
    }
}

impl Match {
    fn stored_copy(&self, message: &Message) -> Option<StoredCopy> {
        if !self.mailbox.is_stored() {
            return None;
        }
        let delivery = self.delivery(message).filter(|delivery| delivery.qos != QoS::AtMostOnce)?;
        let Delivery { qos, retain, subscription_ids, .. } = delivery;
        Some(StoredCopy { owner: self.mailbox.owner(), qos, retain, subscription_ids })
    }
}
