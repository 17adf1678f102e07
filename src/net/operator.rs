//! What operators do to sessions: look into them, disconnect their clients, purge their queues, delete them.
//!
//! A parked session is dealt with in its slot. A live one stays its driver's: the driver is asked through its mailbox,
//! and does what it is asked in its next turn.

use std::time::Duration;

use tokio::sync::oneshot;

use super::context::Shared;
use super::keeper;
use crate::message::{Delivery, RowId};
use crate::protocol::Session;
use crate::router::{Batch, Control, Inquiry, Kick, SubscriptionView};

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    #[error("there is no session of this client id")]
    NotFound,
    #[error("the session has no connection now")]
    NotConnected,
    #[error("the session is just changing hands: try again")]
    Busy,
}

/// What is read from the store at a time to be looked at.
const PEEK_ROWS: usize = 512;
const PEEK_BYTES: usize = 1024 * 1024;
/// How often a driver is asked again while another question waits for it, and how often its answer is looked for.
const RETRY: Duration = Duration::from_millis(5);
/// Drivers answer in their next turn; what takes longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(2);

impl Shared {
    /// Ends a client's connection, and returns when it has ended. Its session stays as its expiry says.
    pub async fn kick(&self, client_id: &str) -> Result<(), OperatorError> {
        let view = self.sessions.view(client_id).ok_or(OperatorError::NotFound)?;
        if !view.connected {
            return Err(OperatorError::NotConnected);
        }
        let mailbox = view.mailbox.ok_or(OperatorError::Busy)?;
        if !mailbox.signal(Control::Kick(Kick::Disconnect)) {
            return Err(OperatorError::Busy);
        }
        until(|| !mailbox.stats().online).await
    }

    /// Ends a session, with its connection if it has one, and returns when it has ended.
    pub async fn delete_session(&self, client_id: &str) -> Result<(), OperatorError> {
        if self.delete_parked(client_id) {
            return Ok(());
        }
        let view = self.sessions.view(client_id).ok_or(OperatorError::NotFound)?;
        let mailbox = view.mailbox.ok_or(OperatorError::Busy)?;
        if !mailbox.signal(Control::Kick(Kick::Delete)) {
            return Err(OperatorError::Busy);
        }
        until(|| mailbox.is_closed()).await
    }

    fn delete_parked(&self, client_id: &str) -> bool {
        let parked = self.sessions.parked_generation(client_id).and_then(|g| self.sessions.take_parked(client_id, g));
        let Some(mut parked) = parked else { return false };
        self.forget_deadlines(&mut parked);
        let mut batch = Batch::at(self.clock.now());
        self.end_session(parked, &mut batch);
        self.flush(&mut batch);
        true
    }

    /// Throws away every unsent message of a session; returns how many.
    pub fn purge(&self, client_id: &str) -> Result<usize, OperatorError> {
        let view = self.sessions.view(client_id).ok_or(OperatorError::NotFound)?;
        let mailbox = view.mailbox.ok_or(OperatorError::Busy)?;
        let mut batch = Batch::at(self.clock.now());
        let purged = mailbox.purge(&mut batch);
        self.flush(&mut batch);
        Ok(purged)
    }

    /// Unsent messages of a session, oldest first: from the one at `skip` on, at most `limit`.
    pub async fn peek(&self, client_id: &str, skip: usize, limit: usize) -> Result<Vec<Delivery>, OperatorError> {
        let view = self.sessions.view(client_id).ok_or(OperatorError::NotFound)?;
        let mailbox = view.mailbox.ok_or(OperatorError::Busy)?;
        let (mut found, in_memory) = mailbox.peek(skip, limit);
        let (mut skip, mut after) = (skip.saturating_sub(in_memory), mailbox.disk_front());
        while let Some(row) = after.filter(|_| found.len() < limit) {
            let before = RowId(row.0.saturating_sub(1));
            let page = self.keeper.read_page(mailbox.owner(), before, PEEK_ROWS, PEEK_BYTES).await;
            let page = page.map_err(|_| OperatorError::Busy)?;
            after = page.rows.last().filter(|_| !page.is_last).map(|last| RowId(last.row.0 + 1));
            let skipped = skip.min(page.rows.len());
            skip -= skipped;
            let room = limit - found.len();
            found.extend(page.rows.into_iter().skip(skipped).take(room).map(keeper::delivery));
        }
        Ok(found)
    }

    /// Removes retained messages, stored ones too; returns how many there were.
    pub fn remove_retained<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> usize {
        let mut batch = Batch::at(self.clock.now());
        let removed = topics.into_iter().filter(|topic| self.router.remove_retained(topic, &mut batch)).count();
        self.flush(&mut batch);
        removed
    }

    /// How many subscriptions a session has, and those from the one at `skip` on, at most `limit`.
    pub async fn subscriptions(
        &self,
        client_id: &str,
        skip: usize,
        limit: usize,
    ) -> Result<(usize, Vec<SubscriptionView>), OperatorError> {
        let asking = async {
            loop {
                if let Some(answer) = self.parked_subscriptions(client_id, skip, limit) {
                    return Ok(answer);
                }
                if let Some(answer) = self.live_subscriptions(client_id, skip, limit).await? {
                    return Ok(answer);
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or(Err(OperatorError::Busy))
    }

    fn parked_subscriptions(
        &self,
        client_id: &str,
        skip: usize,
        limit: usize,
    ) -> Option<(usize, Vec<SubscriptionView>)> {
        let generation = self.sessions.parked_generation(client_id)?;
        self.sessions.with_parked(client_id, generation, |parked| page(&parked.session, skip, limit))
    }

    /// `None` when the driver let go of the session before it could answer, or has another question.
    async fn live_subscriptions(
        &self,
        client_id: &str,
        skip: usize,
        limit: usize,
    ) -> Result<Option<(usize, Vec<SubscriptionView>)>, OperatorError> {
        let view = self.sessions.view(client_id).ok_or(OperatorError::NotFound)?;
        let Some(mailbox) = view.mailbox else { return Ok(None) };
        let (sender, receiver) = oneshot::channel();
        let answer = Box::new(move |all, page| {
            // Whoever asked may have gone meanwhile.
            let _ = sender.send((all, page));
        });
        mailbox.ask(Inquiry { skip, limit, answer });
        Ok(receiver.await.ok())
    }
}

/// The driver's part.
pub(super) fn answer(session: &Session, inquiry: Inquiry) {
    let (all, page) = page(session, inquiry.skip, inquiry.limit);
    (inquiry.answer)(all, page);
}

fn page(session: &Session, skip: usize, limit: usize) -> (usize, Vec<SubscriptionView>) {
    let subscriptions = &session.subscriptions;
    let views = subscriptions.range(skip).take(limit).map(|(filter, subscription)| SubscriptionView {
        filter: filter.into(),
        options: subscription.options,
        id: subscription.id,
    });
    (subscriptions.len(), views.collect())
}

async fn until(done: impl Fn() -> bool) -> Result<(), OperatorError> {
    let waiting = async {
        while !done() {
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| OperatorError::Busy)
}
