//! What is in the store, and where: the state that follows from the records, in memory.
//!
//! The writer applies each frame to it after it is written, by decoding what it wrote; recovery applies the same frames
//! by the same code. Messages stay on disk but for references to them (see `queue`); full pages of references do, too.
//! Also counted here: how many bytes of each segment are still needed.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use hashbrown::HashMap;
use triomphe::Arc;

use super::codec::{Malformed, options_to_byte};
use super::frame::{FRAME_HEADER, Position};
use super::queue::{Chunk, PageMeta, Queue, Ref, Sealing, read_page_body};
use super::read::ReadError;
use super::record::{MessageRecord, Record, Records};
use super::shared_map::SharedMap;
use crate::message::BrokerTime;
use crate::store::{OwnerId, RowId};

/// A page that a row is taken out of is read by this.
pub(super) type LoadPage<'a> = dyn FnMut(&PageMeta, OwnerId) -> Result<VecDeque<Ref>, ReadError> + 'a;

/// Why a frame could not be applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error("it holds what no frame may hold")]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Read(#[from] ReadError),
}

type Lent = HashMap<(OwnerId, RowId), OwnerId, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
pub(super) struct Index {
    pub owners: SharedMap<OwnerId, Arc<Owner>>,
    /// By topic; `copy_at` means nothing.
    pub retained: SharedMap<Box<str>, Ref>,
    /// Copies that were stored for a shared group and sent to a session: whose they are now.
    lent: Lent,
    pub live: Live,
    /// References in memory.
    pub loaded: usize,
    /// Copies that wait or are in flight.
    pub rows: u64,
    pub sessions: u64,
    /// The number of the next record.
    pub next_record: u64,
    pub next_owner: u64,
    pub time: BrokerTime,
    /// Owners of whom a chunk has become full since the list was emptied.
    pub filled: Vec<OwnerId>,
}

/// What a checkpoint has of an index, as it was at one moment.
pub(super) struct Picture {
    pub owners: SharedMap<OwnerId, Arc<Owner>>,
    pub retained: SharedMap<Box<str>, Ref>,
    pub next_record: u64,
    pub next_owner: u64,
    pub time: BrokerTime,
}

impl SharedMap<OwnerId, Arc<Owner>> {
    /// To be changed: one that is in a picture is copied before.
    pub(super) fn owner_mut(&mut self, owner: OwnerId) -> Option<&mut Owner> {
        self.get_mut(&owner).map(Arc::make_mut)
    }
}

/// A session or a shared group.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    /// As in its record.
    pub session: Option<Box<[u8]>>,
    /// The whole filter of a group.
    pub group: Option<Box<str>>,
    /// By filter.
    pub subscriptions: Vec<Subscription>,
    /// Ascending.
    pub received: Vec<u16>,
    /// In the order in which they were sent.
    pub sent: Vec<Sent>,
    pub queue: Queue,
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub filter: Box<str>,
    pub id: Option<NonZeroU32>,
    pub options: u8,
    /// Behind which topic it waits for retained messages, if it does.
    pub replay: Option<Box<str>>,
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub row: RowId,
    pub packet_id: u16,
    /// For whom it was stored.
    pub from: OwnerId,
    /// Until PUBREC has come.
    pub copy: Option<Ref>,
}

/// Needed bytes of each segment, and of all.
#[derive(Debug, Default)]
pub(super) struct Live {
    segments: HashMap<u32, u64, foldhash::fast::RandomState>,
    total: u64,
}

impl Live {
    pub(super) fn segments(&self) -> impl Iterator<Item = u32> {
        self.segments.keys().copied()
    }

    pub(super) fn of(&self, segment: u32) -> u64 {
        self.segments.get(&segment).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn add(&mut self, segment: u32, bytes: u32) {
        *self.segments.entry(segment).or_default() += u64::from(bytes);
        self.total += u64::from(bytes);
    }

    pub(super) fn remove(&mut self, segment: u32, bytes: u32) {
        let Some(live) = self.segments.get_mut(&segment) else { return };
        let removed = u64::from(bytes).min(*live);
        *live -= removed;
        self.total -= removed;
        if *live == 0 {
            self.segments.remove(&segment);
        }
    }

    pub(super) fn add_ref(&mut self, found: &Ref) {
        self.add(found.at.segment, found.share);
    }

    fn remove_ref(&mut self, found: &Ref) {
        self.remove(found.at.segment, found.share);
    }

    pub(super) fn add_page(&mut self, page: &PageMeta) {
        self.add(page.at.segment, page.len);
    }

    fn remove_page(&mut self, page: &PageMeta) {
        self.remove(page.at.segment, page.len);
    }
}

impl Index {
    pub(super) fn new() -> Self {
        Index { next_record: 1, next_owner: 1, ..Index::default() }
    }

    /// Takes no time; what changes later is copied before.
    pub(super) fn picture(&self) -> Picture {
        let Index { owners, retained, next_record, next_owner, time, .. } = self;
        let (owners, retained) = (owners.clone(), retained.clone());
        Picture { owners, retained, next_record: *next_record, next_owner: *next_owner, time: *time }
    }

    /// Applies the records of the frame at `at`, whose first record has the number `first`.
    pub(super) fn apply(
        &mut self,
        at: Position,
        first: u64,
        records: &[u8],
        page_rows: usize,
        load: &mut LoadPage<'_>,
    ) -> Result<(), ApplyError> {
        let base = Position { offset: at.offset + FRAME_HEADER as u32, ..at };
        let mut next = first;
        for record in Records::new(records) {
            let record = record?;
            let row = RowId(next);
            next += u64::from(record.has_number());
            self.apply_record(row, base, &record, page_rows, load)?;
        }
        self.next_record = self.next_record.max(next);
        Ok(())
    }

    fn apply_record(
        &mut self,
        row: RowId,
        base: Position,
        record: &Record<'_>,
        page_rows: usize,
        load: &mut LoadPage<'_>,
    ) -> Result<(), ApplyError> {
        match record {
            Record::PutSession { owner, body } => {
                let state = self.put_owner(*owner);
                let is_new = state.session.replace((*body).into()).is_none();
                self.sessions += u64::from(is_new);
            }
            Record::PutGroup { owner, filter } => self.put_owner(*owner).group = Some((*filter).into()),
            Record::DeleteOwner(owner) => self.delete_owner(*owner),
            Record::PutSubscription { owner, filter, options, id } => {
                self.with(*owner, |state| state.subscribe(filter, options_to_byte(*options), *id));
            }
            Record::DeleteSubscription { owner, filter } => self.with(*owner, |state| state.unsubscribe(filter)),
            Record::PutReplay { owner, filter, after } => {
                self.with(*owner, |state| state.set_replay(filter, Some((*after).into())));
            }
            Record::DeleteReplay { owner, filter } => self.with(*owner, |state| state.set_replay(filter, None)),
            Record::Message(message) => self.store(row, base, message, page_rows),
            Record::DeleteRetained { topic, up_to } => {
                if self.retained.get(*topic).is_some_and(|found| found.row <= *up_to) {
                    self.remove_retained(topic);
                }
            }
            Record::Received { owner, packet_id } => self.with(*owner, |state| state.receive(*packet_id)),
            Record::Released { owner, packet_id } => {
                self.with(*owner, |state| state.received.retain(|id| id != packet_id));
            }
            Record::Sent { owner, row, packet_id, from } => self.send((*from, *owner), *row, *packet_id, load)?,
            Record::Handed { owner, row } => self.hand(*owner, *row),
            Record::Done { owner, row } => self.finish(*owner, *row, load)?,
            Record::Time(time) => self.time = self.time.max(*time),
            Record::Page { at, page } => self.seal(Position { offset: base.offset + *at as u32, ..base }, page)?,
            Record::Moved { row, message } => self.shift(*row, base, message, load)?,
        }
        Ok(())
    }

    fn put_owner(&mut self, owner: OwnerId) -> &mut Owner {
        if owner.group().is_none() {
            self.next_owner = self.next_owner.max(owner.0.saturating_add(1));
        }
        Arc::make_mut(self.owners.get_or_insert_default(owner))
    }

    /// What is said of an owner that has ended means nothing.
    fn with(&mut self, owner: OwnerId, change: impl FnOnce(&mut Owner)) {
        if let Some(state) = self.owners.owner_mut(owner) {
            change(state);
        }
    }

    fn delete_owner(&mut self, owner: OwnerId) {
        let Some(state) = self.owners.remove(&owner) else { return };
        self.sessions -= u64::from(state.session.is_some());
        self.rows -= state.queue.rows() + state.sent.len() as u64;
        self.loaded -= state.queue.loaded();
        for chunk in state.queue.chunks() {
            match chunk {
                Chunk::Loaded(refs) => refs.iter().for_each(|found| self.live.remove_ref(found)),
                Chunk::Sealed(page) => {
                    self.live.remove_page(page);
                    page.spans.iter().for_each(|(segment, bytes)| self.live.remove(*segment, *bytes));
                }
            }
        }
        state.sent.iter().for_each(|sent| Self::let_go(&mut self.live, &mut self.lent, sent, sent.copy));
    }

    fn store(&mut self, row: RowId, base: Position, message: &MessageRecord<'_>, page_rows: usize) {
        let template = reference(row, base, message);
        for (copy_at, copy) in message.copies() {
            let Some(state) = self.owners.owner_mut(copy.owner) else { continue };
            // One copy of a message for an owner: a row could not tell two of them apart.
            if state.queue.find(row).is_some() {
                continue;
            }
            if state.queue.push(Ref { copy_at: copy_at as u32, ..template }, page_rows) {
                self.filled.push(copy.owner);
            }
            self.live.add_ref(&template);
            self.loaded += 1;
            self.rows += 1;
        }
        if message.part.retained {
            self.remove_retained(message.part.topic());
            self.live.add_ref(&template);
            self.retained.insert(message.part.topic().into(), template);
        }
        if let Some((owner, packet_id)) = message.received {
            self.with(owner, |state| state.receive(packet_id));
        }
    }

    fn remove_retained(&mut self, topic: &str) {
        if let Some(found) = self.retained.remove(topic) {
            self.live.remove_ref(&found);
        }
    }

    /// Loads the page in which a row is.
    pub(super) fn load(&mut self, owner: OwnerId, row: RowId, load: &mut LoadPage<'_>) -> Result<(), ApplyError> {
        if let Some(state) = self.owners.owner_mut(owner)
            && let Some(page) = state.queue.page_of(row)
        {
            let refs = load(page, owner)?;
            self.live.remove_page(page);
            self.loaded += refs.len();
            state.queue.load(row, refs);
        }
        Ok(())
    }

    fn send(
        &mut self,
        (from, owner): (OwnerId, OwnerId),
        row: RowId,
        packet_id: u16,
        load: &mut LoadPage<'_>,
    ) -> Result<(), ApplyError> {
        self.load(from, row, load)?;
        let found = self.owners.owner_mut(from).and_then(|state| state.queue.remove(row));
        if let Some(found) = &found {
            self.loaded -= 1;
            self.rows -= 1;
            self.live.remove_ref(found);
        }
        let Some(state) = self.owners.owner_mut(owner) else { return Ok(()) };
        if found.is_some() {
            let sent = Sent { row, packet_id, from, copy: found };
            self.rows += 1;
            self.keep_sent(owner, &sent);
            self.put_owner(owner).sent.push(sent);
        } else if let Some(sent) = state.sent.iter_mut().find(|sent| sent.row == row) {
            sent.packet_id = packet_id;
        }
        Ok(())
    }

    /// Counts what a sent copy keeps alive.
    pub(super) fn keep_sent(&mut self, owner: OwnerId, sent: &Sent) {
        if let Some(found) = &sent.copy {
            self.live.add_ref(found);
            if sent.from != owner {
                self.lent.insert((sent.from, sent.row), owner);
            }
        }
    }

    fn let_go(live: &mut Live, lent: &mut Lent, sent: &Sent, copy: Option<Ref>) {
        if let Some(found) = copy {
            live.remove_ref(&found);
            lent.remove(&(sent.from, sent.row));
        }
    }

    /// Who has the copy of a message that was stored for an owner.
    fn holder(&self, owner: OwnerId, row: RowId) -> OwnerId {
        self.lent.get(&(owner, row)).copied().unwrap_or(owner)
    }

    /// Where the copy of a message that was stored for an owner is, if it is still needed and its page is loaded.
    pub(super) fn find(&self, owner: OwnerId, row: RowId) -> Option<&Ref> {
        self.owners.get(&self.holder(owner, row))?.find(owner, row, self.lent.contains_key(&(owner, row)))
    }

    fn hand(&mut self, owner: OwnerId, row: RowId) {
        let Some(state) = self.owners.owner_mut(owner) else { return };
        if let Some(sent) = state.sent.iter_mut().find(|sent| sent.row == row) {
            let copy = sent.copy.take();
            Self::let_go(&mut self.live, &mut self.lent, sent, copy);
        }
    }

    pub(super) fn finish(&mut self, owner: OwnerId, row: RowId, load: &mut LoadPage<'_>) -> Result<(), ApplyError> {
        self.load(owner, row, load)?;
        let Some(state) = self.owners.owner_mut(owner) else { return Ok(()) };
        if let Some(found) = state.queue.remove(row) {
            self.loaded -= 1;
            self.live.remove_ref(&found);
        } else if let Some(at) = state.sent.iter().position(|sent| sent.row == row) {
            let sent = state.sent.remove(at);
            Self::let_go(&mut self.live, &mut self.lent, &sent, sent.copy);
        } else {
            return Ok(());
        }
        self.rows -= 1;
        Ok(())
    }

    /// A page was written at `at`.
    fn seal(&mut self, at: Position, page: &[u8]) -> Result<(), ApplyError> {
        let (owner, refs) = read_page_body(page)?;
        let meta = PageMeta::of(&refs, at, page.len() as u32).ok_or(Malformed)?;
        let state = self.owners.owner_mut(owner).ok_or(Malformed)?;
        match state.queue.seal(meta.clone()) {
            Sealing::Done => self.loaded -= refs.len(),
            Sealing::Replaced(old) => {
                self.live.remove_page(&old);
                old.spans.iter().for_each(|(segment, bytes)| self.live.remove(*segment, *bytes));
                meta.spans.iter().for_each(|(segment, bytes)| self.live.add(*segment, *bytes));
            }
            Sealing::Impossible => return Err(Malformed.into()),
        }
        self.live.add_page(&meta);
        Ok(())
    }

    /// A message was copied forward.
    fn shift(
        &mut self,
        row: RowId,
        base: Position,
        message: &MessageRecord<'_>,
        load: &mut LoadPage<'_>,
    ) -> Result<(), ApplyError> {
        let template = reference(row, base, message);
        for (copy_at, copy) in message.copies() {
            let holder = self.holder(copy.owner, row);
            self.load(holder, row, load)?;
            let Some(state) = self.owners.owner_mut(holder) else { continue };
            if let Some(found) = state.find_mut(copy.owner, row, holder != copy.owner) {
                self.live.remove_ref(found);
                *found = Ref { copy_at: copy_at as u32, ..template };
                self.live.add_ref(found);
            }
        }
        if message.part.retained
            && let Some(found) = self.retained.get_mut(message.part.topic())
            && found.row == row
        {
            self.live.remove_ref(found);
            *found = template;
            self.live.add_ref(found);
        }
        Ok(())
    }
}

impl Owner {
    fn subscribe(&mut self, filter: &str, options: u8, id: Option<NonZeroU32>) {
        let mut subscription = Subscription { filter: filter.into(), id, options, replay: None };
        match self.subscriptions.binary_search_by(|known| (*known.filter).cmp(filter)) {
            Ok(at) => {
                subscription.replay = self.subscriptions[at].replay.take();
                self.subscriptions[at] = subscription;
            }
            Err(at) => self.subscriptions.insert(at, subscription),
        }
    }

    fn set_replay(&mut self, filter: &str, replay: Option<Box<str>>) {
        if let Ok(at) = self.subscriptions.binary_search_by(|known| (*known.filter).cmp(filter)) {
            self.subscriptions[at].replay = replay;
        }
    }

    fn unsubscribe(&mut self, filter: &str) {
        if let Ok(at) = self.subscriptions.binary_search_by(|known| (*known.filter).cmp(filter)) {
            self.subscriptions.remove(at);
        }
    }

    fn receive(&mut self, packet_id: u16) {
        if let Err(at) = self.received.binary_search(&packet_id) {
            self.received.insert(at, packet_id);
        }
    }

    /// A copy that was stored for `of` and waits or was sent, and whose page is loaded.
    fn find(&self, of: OwnerId, row: RowId, is_lent: bool) -> Option<&Ref> {
        let waiting = if is_lent { None } else { self.queue.find(row) };
        waiting.or_else(|| self.sent.iter().find(|sent| sent.is_of(of, row))?.copy.as_ref())
    }

    fn find_mut(&mut self, of: OwnerId, row: RowId, is_lent: bool) -> Option<&mut Ref> {
        if !is_lent && self.queue.find(row).is_some() {
            return self.queue.find_mut(row);
        }
        self.sent.iter_mut().find(|sent| sent.is_of(of, row))?.copy.as_mut()
    }
}

impl Sent {
    fn is_of(&self, owner: OwnerId, row: RowId) -> bool {
        self.row == row && self.from == owner
    }
}

fn reference(row: RowId, base: Position, message: &MessageRecord<'_>) -> Ref {
    Ref {
        row,
        expires_at: message.part.expires_at(),
        at: Position { offset: base.offset + message.at as u32, ..base },
        len: message.part.bytes.len() as u32,
        copy_at: 0,
        size: message.part.size() as u32,
        share: message.share(),
    }
}
