//! At a start: what the store has becomes the broker's state again, before the first client comes.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::context::{CRASH_GRACE_SECS, ListenerContext, Origin, Parked, Shared};
use super::driver::Received;
use crate::auth::Identity;
use crate::message::{Message, RowId, SubscriptionIds};
use crate::packet::PacketId;
use crate::protocol::{MountPoint, Replay, Session, SessionSubscription, Will};
use crate::router::{Batch, Mailbox};
use crate::store::progress::Progress;
use crate::store::{Change, Lost, Recovered, RecoveredGroup, RecoveredSession, Row};
use crate::topic::{ParsedFilter, QoS, SubscribeOptions};

type RecoveredSubscription = (Box<str>, SubscribeOptions, Option<NonZeroU32>);

/// What is appended at a time.
const CHANGES_MAX: usize = 1000;
/// Sessions that a slow disk has the messages of in about a second.
const MUCH_SESSIONS: u64 = 10_000;

impl Shared {
    /// `listeners`: what sessions take their limits and access from, by the name of the one they were made on; those of a
    /// listener that is no more take the first's. Blocks on the disk.
    pub(crate) fn restore(&self, recovered: Recovered, listeners: &[Arc<ListenerContext>]) -> Result<(), Lost> {
        let Some(first) = listeners.first() else { return Ok(()) };
        let by_name: HashMap<&str, &Arc<ListenerContext>> =
            listeners.iter().map(|listener| (&*listener.name, listener)).collect();
        let mut batch = Batch::at(self.clock.now());
        for group in &recovered.groups {
            if let (Ok(filter), Some(id)) = (ParsedFilter::parse(&group.filter), group.owner.group()) {
                self.router.restore_group(filter, id);
            }
        }
        for (row, message) in &recovered.retained {
            self.router.restore_retained(message, *row);
        }
        // Of two sessions of one client the later one counts: the other had not been deleted yet.
        let mut sessions = recovered.sessions;
        sessions.sort_by_key(|session| std::cmp::Reverse(session.record.owner));
        let mut parked = Vec::new();
        let count = sessions.len() as u64;
        let mut progress = Progress::begin(format!("restoring {count} sessions"), count, MUCH_SESSIONS);
        for session in sessions {
            progress.add(1);
            let listener = by_name.get(&*session.record.listener).unwrap_or(&first);
            parked.extend(self.restore_session(session, &recovered.groups, listener, &mut batch)?);
        }
        for changes in parked.chunks(CHANGES_MAX) {
            // Without this they are taken for connected once more after the next crash, and last longer.
            let _ = self.keeper.append(changes);
        }
        for group in recovered.groups {
            self.restore_group(&group, &mut batch)?;
        }
        self.flush(&mut batch);
        Ok(())
    }

    /// Returns its record, if that has changed.
    fn restore_session(
        &self,
        recovered: RecoveredSession,
        groups: &[RecoveredGroup],
        listener: &ListenerContext,
        batch: &mut Batch,
    ) -> Result<Option<Change>, Lost> {
        let RecoveredSession { record, subscriptions, replays, received, sent, waiting: _ } = recovered;
        let client_id: Arc<str> = record.client_id.into();
        let origin = match record.disconnected_at {
            Some(_) => Origin::Connection,
            None if record.expiry_interval == 0 => Origin::Remnant,
            None => Origin::Crash,
        };
        let has_ended = record.expiry_interval == 0 && (origin != Origin::Remnant || record.will.is_none());
        if has_ended || self.sessions.contains(&client_id) {
            batch.ended_owners.push(record.owner);
            return Ok(None);
        }
        let mailbox = self.router.restore_mailbox(record.owner, &client_id, listener.queue);
        mailbox.note_recorded();
        let inflight = sent.len() as u64;
        let mount_point = MountPoint::from(&*record.mount_point);
        let received = received.into_iter().filter_map(PacketId::new);
        let sent = sent.into_iter().filter_map(|(row, id, copy)| {
            let copy = copy.map(|copy| super::keeper::delivery(as_of_member(copy, groups, &subscriptions)));
            Some((PacketId::new(id)?, row, copy))
        });
        let mut session = Session::restore(Arc::clone(&client_id), &mount_point, received, sent);
        session.expiry_interval = if origin == Origin::Remnant { CRASH_GRACE_SECS } else { record.expiry_interval };
        session.will = record
            .will
            .map(|will| Box::new(Will::restore(&will.message, will.message_expiry_interval, will.delay_interval)));
        let replays: HashMap<_, _> = replays.into_iter().collect();
        for (filter, options, id) in subscriptions {
            if let Ok(parsed) = ParsedFilter::parse(&filter) {
                let before = self.router.subscribe(&mailbox, parsed, options, id).retained_before;
                let subscription = SessionSubscription { options, id };
                if let Some(after) = replays.get(&filter) {
                    session.replays.push_back(Replay::restore(&filter, subscription, before, after));
                }
                session.subscriptions.insert(filter, subscription);
            }
        }
        let window = usize::from(listener.settings.load().inflight_max.get());
        let (waiting, maybe_sent) = self.restore_rows(&mailbox, window)?;
        session.maybe_sent = record.sent_up_to.unwrap_or(maybe_sent);
        batch.counts.recovered += inflight + waiting;
        self.router.hand_back(&mailbox, mailbox.detach(session.inflight(), batch), batch);
        let parked = Box::new(Parked {
            session,
            mailbox: Arc::clone(&mailbox),
            received: Received::default(),
            identity: Identity { client_id: Arc::clone(&client_id), user_name: record.user_name.map(Into::into) },
            access: Arc::clone(&listener.access),
            listener: Arc::clone(&listener.name),
            since: record.disconnected_at.unwrap_or(batch.now),
            origin,
            will_is_late: false,
            deadlines_of: None,
        });
        // A will within the grace is a crash's until it is published.
        let is_graceful = parked.session.will.as_ref().is_some_and(|will| will.delay_interval < CRASH_GRACE_SECS);
        let record = (origin == Origin::Crash && !is_graceful).then(|| parked.record());
        if let Some(generation) = self.sessions.restore(&client_id, &mailbox, parked) {
            self.sessions.with_parked(&client_id, generation, |parked| self.set_deadlines(parked, generation));
        }
        Ok(record)
    }

    /// What waits stays on disk: only its rows are remembered. How many there are, and up to which row they may have been
    /// sent already, with so many in flight at most.
    fn restore_rows(&self, mailbox: &Mailbox, window: usize) -> Result<(u64, RowId), Lost> {
        let (mut after, mut count, mut maybe_sent) = (RowId::NONE, 0, RowId::NONE);
        loop {
            let rows = self.keeper.rows(mailbox.owner(), after)?;
            let Some(last) = rows.last() else { return Ok((count, maybe_sent)) };
            after = last.row;
            let left = window.saturating_sub(count as usize).min(rows.len());
            maybe_sent = left.checked_sub(1).and_then(|at| rows.get(at)).map_or(maybe_sent, |row| row.row);
            count += rows.len() as u64;
            rows.iter().for_each(|row| mailbox.restore(row.row, row.bytes, row.expires_at));
        }
    }

    /// Messages that waited in a shared group, or were with a member that had not acknowledged them.
    fn restore_group(&self, group: &RecoveredGroup, batch: &mut Batch) -> Result<(), Lost> {
        let mut messages: Vec<(Message, QoS, RowId)> = Vec::new();
        self.keeper.each_row(group.owner, |Row { row, message, copy }| messages.push((message, copy.qos, row)))?;
        let count = messages.len() as u64;
        let has_members = match group.owner.group() {
            Some(id) => self.router.restore_group_queue(id, messages, batch),
            None => false,
        };
        if has_members {
            batch.counts.recovered += count;
        } else {
            batch.ended_owners.push(group.owner);
        }
        Ok(())
    }

    /// Broker time goes on after a restart from where it was last stored.
    pub(crate) fn store_time(&self) {
        if self.sessions.is_empty() && self.router.retained_len() == 0 {
            return;
        }
        self.keeper.append_time(self.clock.now());
    }
}

/// A message waits in a shared group as it was published; once it is sent to a member it is as its subscription says.
fn as_of_member(mut row: Row, groups: &[RecoveredGroup], subscriptions: &[RecoveredSubscription]) -> Row {
    let owner = row.copy.owner;
    if owner.group().is_none() {
        return row;
    }
    // It may have left the group, which may have ended.
    let group = groups.iter().find(|group| group.owner == owner);
    let subscription = group.and_then(|group| subscriptions.iter().find(|(filter, ..)| *filter == group.filter));
    let (retain_as_published, id) =
        subscription.map_or((false, None), |(_, options, id)| (options.retain_as_published, *id));
    row.copy.retain &= retain_as_published; // [MQTT-3.3.1-12]
    row.copy.subscription_ids = id.map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.get())); // [MQTT-3.3.4-3]
    row
}
