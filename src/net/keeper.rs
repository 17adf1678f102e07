//! What is stored, how safely, and who waits for it: between the broker's state and the [`Store`] that keeps it.
//!
//! A turn gathers its [`Change`]s in a [`Batch`]; a message is appended before anybody gets it, since a copy goes under
//! the row it is stored in. Nothing here waits for a disk: an append answers with a ticket, and who has promised
//! something holds the promise back until the ticket is safe.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use smallvec::SmallVec;
use tokio::sync::Semaphore;

use crate::message::{BrokerTime, Delivery, Message, OwnerId, RowId, StoredCopy};
use crate::protocol::Replay;
use crate::router::{Batch, Refused};
use crate::store::{
    AppendError, Appended, Change, Durability, Health, Lost, Page, Row, Store, StoreStatus, StoredMessage, Ticket,
    WaitingRow,
};
use crate::topic::{PageEnd, QoS, filter_matches};

/// How safely the messages of a topic are kept.
#[derive(Clone, Debug, Default)]
pub struct Durabilities {
    /// The first filter that matches decides.
    pub rules: Vec<(Box<str>, Durability)>,
    pub default: Durability,
}

impl Durabilities {
    pub fn of(&self, message: &Message) -> Durability {
        let matching = |(filter, _): &&(Box<str>, _)| filter_matches(filter, message.topic());
        self.rules.iter().find(matching).map_or(self.default, |(_, durability)| *durability)
    }
}

/// The broker's store, if it has one.
pub struct Keeper {
    store: Option<Arc<dyn Store>>,
    durabilities: Durabilities,
    /// How safely sessions are kept.
    sessions: Durability,
    /// Pages that are read from the disk at a time: a storm of clients that come back waits here, not on every thread.
    page_reads: Arc<Semaphore>,
}

const PAGE_READS_MAX: usize = 8;
/// What a search takes at a time.
const ROWS_MAX: usize = 4096;
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The store takes it later.
#[derive(Debug)]
pub(super) struct Busy;

/// What an answer waits for. Each for itself: of two batches the store may lose the first, and take the second when it has
/// said so.
pub(super) type Tickets = SmallVec<[Ticket; 1]>;

/// A promise that was appended as a whole, or why it was not.
pub(super) type Kept = Result<Ticket, AppendError>;

impl Keeper {
    /// `None`: everything is in memory only.
    pub fn new(store: Option<Arc<dyn Store>>, durabilities: Durabilities) -> Self {
        let rules = durabilities.rules.iter().map(|(_, durability)| *durability);
        let sessions = rules.fold(durabilities.default, Durability::max);
        Keeper { store, durabilities, sessions, page_reads: Arc::new(Semaphore::new(PAGE_READS_MAX)) }
    }

    pub fn status(&self) -> Option<StoreStatus> {
        self.store.as_ref().map(|store| store.status())
    }

    /// Whether the store takes what it is given; a broker without one always does.
    pub fn health(&self) -> Health {
        self.store.as_ref().map_or(Health::Good, |store| store.status().health)
    }

    /// Whether a write or fsync has failed: what outlives the process is refused until a restart.
    pub fn has_failed(&self) -> bool {
        matches!(self.health(), Health::Failed(_))
    }

    /// Whether sessions outlive the process: as soon as messages of any topic do.
    pub(super) fn keeps_sessions(&self) -> bool {
        self.store.is_some() && self.sessions != Durability::Memory
    }

    /// Whether new state is taken, as far as is known now.
    pub(super) fn takes_more(&self) -> Result<(), &'static str> {
        match self.health() {
            Health::Good => Ok(()),
            Health::Full(_) => Err(FULL),
            Health::Failed(_) => Err(FAILED),
        }
    }

    /// State of sessions is kept as safely as the safest of their messages.
    pub(super) fn append(&self, changes: &[Change]) -> Kept {
        let Some(store) = &self.store else { return Ok(Ticket::default()) };
        store.append(changes, self.sessions).map(|appended| appended.ticket)
    }

    /// A little later after a crash is no harm: nothing waits for this, and no disk is woken for it.
    pub(super) fn append_time(&self, now: BrokerTime) {
        if let Some(store) = &self.store {
            let _ = store.append(&[Change::Time(now)], Durability::Os);
        }
    }

    /// Stores retained messages that are sent for a subscription, which are messages like others once they are on their
    /// way, and how far the subscription has come with them. Fails while the store is busy. What a store that is full or
    /// broken does not take is sent all the same: it is retained, so nothing is lost.
    pub(super) fn append_replay(
        &self,
        owner: OwnerId,
        replay: &Replay,
        end: &PageEnd,
        deliveries: &mut [Delivery],
    ) -> Result<(), Busy> {
        let stored: Vec<_> = deliveries.iter_mut().filter(|delivery| self.stores(delivery)).collect();
        let messages = stored.iter().map(|delivery| own_copy(owner, delivery));
        let filter = replay.filter.clone();
        let progress = match end {
            PageEnd::ResumeAfter(topic) => Change::PutReplay { owner, filter, after: topic.as_str().into() },
            PageEnd::Done => Change::DeleteReplay { owner, filter },
        };
        let changes: Vec<_> = messages.chain([progress]).collect();
        let appended = self.store.as_ref().map(|store| store.append(&changes, self.sessions));
        match appended {
            Some(Ok(Appended { first, .. })) => {
                (first.0..).zip(stored).for_each(|(row, delivery)| delivery.row = RowId(row));
            }
            Some(Err(AppendError::Busy)) => return Err(Busy),
            Some(Err(_)) | None => {}
        }
        Ok(())
    }

    /// Copies of a shared group that are in flight to a session become the session's own: it leaves the group, which may
    /// end. What the store does not take stays the group's.
    pub(super) fn append_claim(&self, owner: OwnerId, deliveries: &mut [&mut Delivery]) -> Option<Ticket> {
        let (store, group) = (self.store.as_ref()?, deliveries.first()?.group?);
        let messages = deliveries.iter().map(|delivery| own_copy(owner, delivery));
        let done = deliveries.iter().map(|delivery| Change::Done { owner: group.into(), row: delivery.row });
        let changes: Vec<_> = messages.chain(done).collect();
        let Appended { first, ticket } = store.append(&changes, self.sessions).ok()?;
        for (row, delivery) in (first.0..).zip(deliveries) {
            (delivery.row, delivery.group) = (RowId(row), None);
        }
        Some(ticket)
    }

    fn stores(&self, delivery: &Delivery) -> bool {
        let durability = self.durabilities.of(&delivery.message);
        delivery.qos != QoS::AtMostOnce && !delivery.message.is_brokers_own() && durability != Durability::Memory
    }

    /// Stores a message for those who get it; its first row and the ticket of all.
    fn append_messages(
        &self,
        stored: impl Iterator<Item = StoredMessage>,
        durability: Durability,
    ) -> Result<(RowId, Ticket), AppendError> {
        let Some(store) = &self.store else { return Ok((RowId::NONE, Ticket::default())) };
        let changes: Vec<_> = stored.map(|stored| Change::Message(Box::new(stored))).collect();
        let appended = store.append(&changes, durability)?;
        Ok((appended.first, appended.ticket))
    }

    /// For one publish: what the router asks to have stored before it hands out copies.
    pub(super) fn publish<'a>(
        &'a self,
        message: &Message,
        received: Option<(OwnerId, u16)>,
        tickets: &'a mut Tickets,
    ) -> Publish<'a> {
        let durability = self.store.as_ref().map_or(Durability::Memory, |_| self.durabilities.of(message));
        Publish { keeper: self, durability, received, received_with: None, tickets }
    }

    /// Appends what has come to its end, and retained messages that went.
    pub(super) fn flush(&self, batch: &mut Batch) {
        if batch.ended.is_empty() && batch.unretained.is_empty() && batch.ended_owners.is_empty() {
            return;
        }
        let mut changes: Vec<Change> = batch.ended.drain(..).map(|(owner, row)| Change::Done { owner, row }).collect();
        changes.extend(batch.unretained.drain(..).map(|(topic, up_to)| Change::DeleteRetained { topic, up_to }));
        changes.extend(batch.ended_owners.drain(..).map(Change::DeleteOwner));
        // A store that has failed will find them again after a restart: delivered once more rather than lost.
        let _ = self.append(&changes);
    }

    pub(super) fn poll_safe(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), Lost>> {
        self.store.as_ref().map_or(Poll::Ready(Ok(())), |store| store.poll_safe(ticket, waker))
    }

    /// Ready when all are safe, or one is lost.
    pub(super) fn poll_all_safe(&self, tickets: &[Ticket], waker: &Waker) -> Poll<Result<(), Lost>> {
        // The others are safe too when the last one is, but for losses.
        for ticket in tickets.iter().rev() {
            ready!(self.poll_safe(*ticket, waker))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Pending while too much waits for the disk for more to be promised.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.store.as_ref().map_or(Poll::Ready(()), |store| store.poll_ready(cx.waker()))
    }

    /// Reads on the blocking pool.
    pub(super) fn read_page(
        &self,
        owner: OwnerId,
        after: RowId,
        rows_max: usize,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Page, Lost>> + Send + use<> {
        let (store, permits) = (self.store.clone(), Arc::clone(&self.page_reads));
        async move {
            let Some(store) = store else { return Ok(Page::default()) };
            let _permit = permits.acquire_owned().await;
            let reading = tokio::task::spawn_blocking(move || store.read_page(owner, after, rows_max, bytes_max));
            reading.await.unwrap_or_else(|_| Err(Lost("a page of the store was not read to its end".into())))
        }
    }

    /// Rows that wait, without their messages. Blocks.
    pub(super) fn rows(&self, owner: OwnerId, after: RowId) -> Result<Vec<WaitingRow>, Lost> {
        self.store.as_ref().map_or(Ok(Vec::new()), |store| store.read_rows(owner, after, ROWS_MAX))
    }

    /// All copies that wait, a page at a time. Blocks.
    pub(super) fn each_row(&self, owner: OwnerId, mut each: impl FnMut(Row)) -> Result<(), Lost> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut after = RowId::NONE;
        loop {
            let page = store.read_page(owner, after, ROWS_MAX, PAGE_BYTES_MAX)?;
            after = page.rows.last().map_or(after, |last| last.row);
            let is_last = page.is_last || page.rows.is_empty();
            page.rows.into_iter().for_each(&mut each);
            if is_last {
                return Ok(());
            }
        }
    }

    /// Waits until everything is safe. Blocks.
    pub(crate) fn close(&self) {
        if let Some(store) = &self.store {
            store.close();
        }
    }
}

/// One publish on its way through the router.
pub(super) struct Publish<'a> {
    keeper: &'a Keeper,
    durability: Durability,
    received: Option<(OwnerId, u16)>,
    /// The packet id that was stored with the message.
    received_with: Option<(OwnerId, u16)>,
    /// When what was stored is safe.
    tickets: &'a mut Tickets,
}

impl Publish<'_> {
    pub(super) fn is_stored(&self) -> bool {
        self.durability != Durability::Memory
    }

    /// The message was refused after all: its packet id is not remembered ([MQTT-4.3.3-9]).
    pub(super) fn forget_received(&mut self) {
        if let Some((owner, packet_id)) = self.received_with.take() {
            // Else a restart remembers an id that nobody will release: the client is free to use it again then.
            let _ = self.keeper.append(&[Change::Released { owner, packet_id }]);
        }
    }
}

const FULL: &str = "the store is full";
pub(super) const FAILED: &str = "the store has failed";

/// What the publisher is told; the log of the store says more.
fn refusal(error: &AppendError) -> Refused {
    match error {
        AppendError::Busy => Refused::Busy,
        AppendError::Full(_) => Refused::Store(FULL),
        AppendError::Failed(_) => Refused::Store(FAILED),
    }
}

impl crate::router::Keep for Publish<'_> {
    fn keeps(&self) -> bool {
        self.is_stored()
    }

    fn keep(&mut self, message: &Message, copies: Vec<Vec<StoredCopy>>, retained: bool) -> Result<RowId, Refused> {
        let stored = copies.into_iter().enumerate().map(|(at, copies)| StoredMessage {
            message: message.clone(),
            copies,
            retained: retained && at == 0,
            received: self.received.filter(|_| at == 0),
        });
        match self.keeper.append_messages(stored, self.durability) {
            Ok((row, ticket)) => {
                self.tickets.push(ticket);
                self.received_with = self.received_with.or(self.received.take());
                Ok(row)
            }
            Err(error) => {
                tracing::debug!(%error, "a message is not taken");
                Err(refusal(&error))
            }
        }
    }

    /// The packet id of a QoS 2 message is state of its session all the same.
    fn pass(&mut self) -> Result<(), Refused> {
        let Some((owner, packet_id)) = self.received else { return Ok(()) };
        let ticket = self.keeper.append(&[Change::Received { owner, packet_id }]).map_err(|error| refusal(&error))?;
        self.tickets.push(ticket);
        self.received_with = self.received.take();
        Ok(())
    }

    fn unretain(&mut self, topic: &str, row: RowId) -> Result<(), Refused> {
        let change = Change::DeleteRetained { topic: topic.into(), up_to: row };
        let ticket = self.keeper.append(&[change]).map_err(|error| refusal(&error))?;
        self.tickets.push(ticket);
        Ok(())
    }
}

/// A message that is stored for one session alone.
fn own_copy(owner: OwnerId, delivery: &Delivery) -> Change {
    let Delivery { message, qos, retain, subscription_ids, .. } = delivery;
    let copies = vec![StoredCopy { owner, qos: *qos, retain: *retain, subscription_ids: subscription_ids.clone() }];
    Change::Message(Box::new(StoredMessage { message: message.clone(), copies, retained: false, received: None }))
}

/// A copy that was read back, on its way to its session.
pub(super) fn delivery(row: Row) -> Delivery {
    let Row { row, message, copy: StoredCopy { qos, retain, subscription_ids, .. } } = row;
    Delivery { message, qos, retain, subscription_ids, group: None, row }
}
