//! Who owns which session: client id to slot.
//!
//! ```text
//!            claim                    release(Some)
//!   (none) ────────► Live ──────────────────────────► Parked ──claim──► Live
//!                     │ claim by another connection       │ take (expiry, operator)
//!                     ▼                                   ▼
//!                   Moving ──release──► arrived ──poll──► Live (the heir)
//! ```
//! A session `S` has exactly one owner: its driver, or its slot here; the table never looks into it, nor into the facts
//! `F` of the network connection that has it or last had it. Every claim draws a new generation, so that a deadline or a
//! driver that has been overtaken can tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::mailbox::{Control, Mailbox};

/// Identifies one ownership of one slot.
pub type Generation = u64;

/// What a claim gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Claimed<S> {
    /// There was no session.
    New,
    /// A parked session, or one that another connection has handed over.
    Resumed(S),
    /// Yet another connection has claimed the client id since.
    Superseded,
}

pub struct SessionTable<S, F> {
    /// By client id and nothing else ([MQTT-3.1.3-2]).
    slots: DashMap<Arc<str>, Slot<S, F>, foldhash::fast::RandomState>,
    /// At least as many as there are slots: raised before one is made, lowered after one has gone.
    sessions: AtomicU32,
    sessions_max: u32,
    generations: AtomicU64,
}

struct Slot<S, F> {
    generation: Generation,
    state: State<S>,
    mailbox: Option<Arc<Mailbox>>,
    facts: Option<F>,
}

enum State<S> {
    Live,
    /// Boxed: there are few at a time.
    Moving(Box<Moving<S>>),
    Parked(S),
}

/// On its way from one driver to another.
struct Moving<S> {
    owner: Generation,
    arrived: Option<Option<S>>,
    waker: Option<Waker>,
    has_heir: bool,
}

impl<S> Moving<S> {
    fn from_owner(owner: Generation) -> Box<Self> {
        Box::new(Moving { owner, arrived: None, waker: None, has_heir: true })
    }
}

/// What became of a session that its driver let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Parked under this generation: deadlines count from now.
    Parked(Generation),
    /// An heir has it, or there is nothing left.
    Gone,
}

/// An operator's look at one slot.
#[derive(Clone, Debug)]
pub struct SessionView<F> {
    pub client_id: Arc<str>,
    pub connected: bool,
    pub mailbox: Option<Arc<Mailbox>>,
    pub facts: Option<F>,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mailbox({})", self.client_id())
    }
}

impl<S, F: Clone> SessionTable<S, F> {
    /// For at most `sessions_max` sessions, connected or not.
    pub fn new(sessions_max: u32) -> Self {
        SessionTable {
            slots: DashMap::default(),
            sessions: AtomicU32::new(0),
            sessions_max,
            generations: AtomicU64::new(1),
        }
    }

    fn next_generation(&self) -> Generation {
        self.generations.fetch_add(1, Relaxed)
    }

    /// Claims the client id for a new connection. Pending when another driver must hand the session over first:
    /// then ask [`SessionTable::poll_claim`] with the generation. `None` when it would be one session more than may be.
    pub fn claim(&self, client_id: &Arc<str>) -> Option<(Generation, Poll<Claimed<S>>)> {
        let generation = self.next_generation();
        match self.slots.entry(Arc::clone(client_id)) {
            Entry::Vacant(vacant) => {
                self.reserve()?;
                vacant.insert(Slot { generation, state: State::Live, mailbox: None, facts: None });
                Some((generation, Poll::Ready(Claimed::New)))
            }
            Entry::Occupied(mut occupied) => Some((generation, occupied.get_mut().claim(generation))),
        }
    }

    /// A place for one more session, before it is made: others may be made at the same time.
    fn reserve(&self) -> Option<()> {
        let one_more = |sessions: u32| (sessions < self.sessions_max).then(|| sessions + 1);
        self.sessions.fetch_update(Relaxed, Relaxed, one_more).ok().map(drop)
    }

    pub fn poll_claim(&self, client_id: &Arc<str>, generation: Generation, cx: &mut Context<'_>) -> Poll<Claimed<S>> {
        let Some(mut slot) = self.slots.get_mut(client_id) else { return Poll::Ready(Claimed::Superseded) };
        if slot.generation != generation {
            return Poll::Ready(Claimed::Superseded);
        }
        match &mut slot.state {
            State::Moving(moving) => match moving.arrived.take() {
                None => {
                    moving.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Some(session) => {
                    slot.state = State::Live;
                    Poll::Ready(session.map_or(Claimed::New, Claimed::Resumed))
                }
            },
            State::Live | State::Parked(_) => Poll::Ready(Claimed::Superseded),
        }
    }

    /// At a start: parks a session that was there before. False when there is one already.
    pub fn restore(&self, client_id: &Arc<str>, mailbox: &Arc<Mailbox>, session: S) -> Option<Generation> {
        let generation = self.next_generation();
        let Entry::Vacant(vacant) = self.slots.entry(Arc::clone(client_id)) else { return None };
        // Beyond the limit too: it keeps newcomers out, and loses nobody.
        self.sessions.fetch_add(1, Relaxed);
        let mailbox = Some(Arc::clone(mailbox));
        vacant.insert(Slot { generation, state: State::Parked(session), mailbox, facts: None });
        Some(generation)
    }

    /// Puts the mailbox and facts of the claimed session where others find them. False when the client id has been
    /// claimed again already: then release at once.
    pub fn attach(&self, client_id: &str, generation: Generation, mailbox: &Arc<Mailbox>, facts: F) -> bool {
        let Some(mut slot) = self.slots.get_mut(client_id) else { return false };
        slot.mailbox = Some(Arc::clone(mailbox));
        slot.facts = Some(facts);
        slot.generation == generation
    }

    /// Lets go of a session: `None` when it has ended. Parks it, or hands it to the heir.
    pub fn release(&self, client_id: &str, generation: Generation, session: Option<S>) -> Released {
        let (mut released, mut waker) = (Released::Gone, None);
        let mut session = Some(session);
        // In one step: whoever claims the client id in between would wait for an owner that has gone.
        let removed = self.slots.remove_if_mut(client_id, |_, slot| {
            let Some(session) = session.take_if(|_| slot.is_owned_by(generation)) else { return false };
            match (&mut slot.state, session) {
                (State::Moving(moving), session) if moving.has_heir => {
                    moving.arrived = Some(session);
                    waker = moving.waker.take();
                    false
                }
                (_, Some(session)) => {
                    slot.state = State::Parked(session);
                    released = Released::Parked(slot.generation);
                    false
                }
                (_, None) => true,
            }
        });
        if removed.is_some() {
            self.sessions.fetch_sub(1, Relaxed);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        released
    }

    /// An heir that goes away before the session has arrived. Returns the session if it had arrived after all.
    pub fn abandon(&self, client_id: &str, generation: Generation) -> Option<(Generation, Poll<Option<S>>)> {
        let mut slot = self.slots.get_mut(client_id)?;
        if slot.generation != generation {
            return None;
        }
        match &mut slot.state {
            State::Moving(moving) => match moving.arrived.take() {
                Some(session) => {
                    slot.state = State::Live;
                    Some((generation, Poll::Ready(session)))
                }
                None => {
                    moving.has_heir = false;
                    None
                }
            },
            State::Live | State::Parked(_) => None,
        }
    }

    /// Takes a parked session out, if it is still the one of that generation. Never one that a connection has
    /// ([MQTT-4.1.0-1]).
    pub fn take_parked(&self, client_id: &str, generation: Generation) -> Option<S> {
        let (_, slot) = self
            .slots
            .remove_if(client_id, |_, slot| slot.generation == generation && matches!(slot.state, State::Parked(_)))?;
        self.sessions.fetch_sub(1, Relaxed);
        match slot.state {
            State::Parked(session) => Some(session),
            State::Live | State::Moving(_) => None,
        }
    }

    /// Looks at a parked session in its slot, if it is still the one of that generation.
    pub fn with_parked<R>(&self, client_id: &str, generation: Generation, look: impl FnOnce(&mut S) -> R) -> Option<R> {
        let slot = &mut *self.slots.get_mut(client_id)?;
        match &mut slot.state {
            State::Parked(session) if slot.generation == generation => Some(look(session)),
            _ => None,
        }
    }

    /// The generation of a parked session.
    pub fn parked_generation(&self, client_id: &str) -> Option<Generation> {
        let slot = self.slots.get(client_id)?;
        matches!(slot.state, State::Parked(_)).then_some(slot.generation)
    }

    pub fn contains(&self, client_id: &str) -> bool {
        self.slots.contains_key(client_id)
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn view(&self, client_id: &str) -> Option<SessionView<F>> {
        self.slots.get(client_id).map(|slot| slot.view(slot.key()))
    }

    /// Looks at the mailbox of every session; for sums, not for hot paths.
    pub fn for_each_mailbox(&self, mut look: impl FnMut(&Arc<Mailbox>)) {
        for slot in self.slots.iter() {
            if let Some(mailbox) = &slot.mailbox {
                look(mailbox);
            }
        }
    }

    /// A picture of all slots; for operators and shutdown, not for hot paths.
    pub fn views(&self) -> Vec<SessionView<F>> {
        self.slots.iter().map(|slot| slot.view(slot.key())).collect()
    }
}

impl<S, F: Clone> Slot<S, F> {
    /// Whether the driver of that generation has the session, or has yet to hand it over.
    fn is_owned_by(&self, generation: Generation) -> bool {
        match &self.state {
            State::Live => self.generation == generation,
            State::Moving(moving) => moving.owner == generation && moving.arrived.is_none(),
            State::Parked(_) => false,
        }
    }

    fn claim(&mut self, generation: Generation) -> Poll<Claimed<S>> {
        let previous = std::mem::replace(&mut self.generation, generation);
        match std::mem::replace(&mut self.state, State::Live) {
            State::Parked(session) => Poll::Ready(Claimed::Resumed(session)),
            State::Live => {
                self.state = State::Moving(Moving::from_owner(previous));
                if let Some(mailbox) = &self.mailbox {
                    mailbox.signal(Control::Takeover); // [MQTT-3.1.4-3]
                }
                Poll::Pending
            }
            // The heir before us sees the new generation and goes.
            State::Moving(moving) => {
                if let Some(waker) = moving.waker {
                    waker.wake();
                }
                match moving.arrived {
                    Some(session) => Poll::Ready(session.map_or(Claimed::New, Claimed::Resumed)),
                    None => {
                        self.state = State::Moving(Moving::from_owner(moving.owner));
                        Poll::Pending
                    }
                }
            }
        }
    }

    fn view(&self, client_id: &Arc<str>) -> SessionView<F> {
        SessionView {
            client_id: Arc::clone(client_id),
            connected: !matches!(self.state, State::Parked(_)),
            mailbox: self.mailbox.clone(),
            facts: self.facts.clone(),
        }
    }
}
