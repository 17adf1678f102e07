//! What connections share: the broker's state, and what their listener says.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::clock::Clock;
use super::driver::Received;
use super::facts::ConnectionFacts;
use super::handshake::Layers;
use super::keeper::{Keeper, Tickets};
use super::removals::Removals;
use super::wills::LateWills;
use crate::auth::{Authenticator, Authorizer, Identity};
use crate::message::{BrokerTime, DropCause, Message, OwnerId};
use crate::packet::ProtocolVersion;
use crate::protocol::{Session, Settings};
use crate::router::{Batch, Control, Deadlines, Generation, Mailbox, Outcome, QueueLimits, Router, SessionTable};
use crate::store::{Change, SessionRecord, WillRecord};

/// The state of one broker.
pub struct Shared {
    pub router: Router,
    /// Boxed: a slot of a live session has no room for a parked one.
    pub sessions: SessionTable<Box<Parked>, Arc<ConnectionFacts>>,
    pub deadlines: Deadlines,
    pub clock: Clock,
    pub keeper: Keeper,
    pub(crate) removals: Removals,
    /// Costly authentications at a time: a storm of connections waits here instead of on every core.
    pub(super) authentications: Arc<Semaphore>,
    /// Every task of a connection.
    pub(crate) tasks: TaskTracker,
    /// Network connections with a session.
    pub connected: AtomicU64,
    /// Network connections, with or without a session.
    pub sockets: AtomicU64,
    stopping: AtomicBool,
    pub(super) late_wills: LateWills,
}

/// A session without a network connection, with all that its end needs.
pub struct Parked {
    pub session: Session,
    pub mailbox: Arc<Mailbox>,
    pub(super) received: Received,
    pub identity: Identity,
    pub access: Arc<ArcSwap<Access>>,
    /// The listener it was last connected through, by name.
    pub listener: Arc<str>,
    /// When its connection ended.
    pub since: BrokerTime,
    pub origin: Origin,
    /// Its will is due and waits for the store: what is stored of it stays as it is until then.
    pub(super) will_is_late: bool,
    /// Under which its deadlines are set, once they are.
    pub(super) deadlines_of: Option<Generation>,
}

/// Where a parked session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A network connection of this process.
    Connection,
    /// It had a connection when the process before ended: its client may be back before its will is due.
    Crash,
    /// The same, of a session that ended with its connection: only its will is left.
    Remnant,
}

/// Who may connect and who may do what; swapped whole on reload.
pub struct Access {
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
    /// No other has it, and none has zero: what was decided by one is decided anew by the next.
    pub(super) version: u64,
}

impl Access {
    pub fn new(authenticator: Arc<dyn Authenticator>, authorizer: Arc<dyn Authorizer>) -> Self {
        static VERSIONS: AtomicU64 = AtomicU64::new(1);
        Access { authenticator, authorizer, version: VERSIONS.fetch_add(1, Relaxed) }
    }

    /// `$SYS` is the broker's own, whatever the authorizer says.
    pub(super) fn may_publish(&self, identity: &Identity, topic: &str) -> bool {
        !is_sys_topic(topic.as_bytes())
            && (self.authorizer.allows_everything() || self.authorizer.may_publish(identity, topic))
    }
}

/// What a listener says of its connections.
pub struct ListenerContext {
    pub name: Arc<str>,
    pub settings: ArcSwap<Settings>,
    pub access: Arc<ArcSwap<Access>>,
    pub queue: QueueLimits,
    /// From accept to the answered CONNECT.
    pub connect_timeout: Duration,
    /// A write that stands still for so long ends the connection.
    pub write_timeout: Duration,
    /// What lies between a socket and MQTT.
    pub layers: Layers,
    pub admission: Admission,
    /// Connections that have a session.
    pub clients: Clients,
}

/// How many clients speak which version.
#[derive(Debug, Default)]
pub struct Clients {
    v3: AtomicU64,
    v4: AtomicU64,
    v5: AtomicU64,
}

impl Clients {
    pub fn of(&self, version: ProtocolVersion) -> &AtomicU64 {
        match version {
            ProtocolVersion::V3 => &self.v3,
            ProtocolVersion::V4 => &self.v4,
            ProtocolVersion::V5 => &self.v5,
        }
    }
}

/// By its topic, whoever publishes: [`Message::is_brokers_own`] looks at the publisher.
pub(super) fn is_sys_topic(topic: &[u8]) -> bool {
    topic.strip_prefix(b"$SYS").is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

impl Shared {
    /// `sessions_max`: sessions at a time; beyond it new ones are refused.
    pub fn new(router: Router, clock: Clock, sessions_max: u32, keeper: Keeper) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Shared {
            router,
            sessions: SessionTable::new(sessions_max),
            deadlines: Deadlines::default(),
            clock,
            keeper,
            removals: Removals::default(),
            authentications: Arc::new(Semaphore::new(cores)),
            tasks: TaskTracker::new(),
            connected: AtomicU64::new(0),
            sockets: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            late_wills: LateWills::default(),
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Tells every connection that the broker stops.
    pub fn stop(&self) {
        // Before the look at the sessions: one that comes after it sees this itself.
        self.stopping.store(true, SeqCst);
        self.clock.wake_all();
        for view in self.sessions.views() {
            if let Some(mailbox) = view.mailbox {
                mailbox.signal(Control::Shutdown);
            }
        }
    }

    /// Routes a message and stores what of it outlives the process. `received`: the session whose QoS 2 packet id it came
    /// under. The tickets are what an acknowledgement has to wait for; those of this message come last.
    pub(super) fn publish(
        &self,
        message: &Message,
        received: Option<(OwnerId, u16)>,
        batch: &mut Batch,
        tickets: &mut Tickets,
    ) -> Outcome {
        let mut keep = self.keeper.publish(message, received, tickets);
        let outcome = self.router.publish_kept(message, &mut keep, batch);
        if let Outcome::Refused(_) = outcome {
            keep.forget_received();
        }
        outcome
    }

    /// Stores what a batch has brought to its end, wakes and counts what it has gathered.
    pub fn flush(&self, batch: &mut Batch) {
        self.keeper.flush(batch);
        self.router.flush(batch);
    }

    /// What is stored of a session beside its subscriptions and messages.
    pub(super) fn record(
        session: &Session,
        mailbox: &Mailbox,
        identity: &Identity,
        listener: &str,
        disconnected_at: Option<BrokerTime>,
    ) -> Change {
        Change::PutSession(Box::new(SessionRecord {
            owner: mailbox.owner(),
            client_id: (&**session.client_id()).into(),
            user_name: identity.user_name.as_deref().map(Into::into),
            listener: listener.into(),
            mount_point: session.mount_point().as_str().into(),
            expiry_interval: session.expiry_interval,
            disconnected_at,
            sent_up_to: disconnected_at.map(|_| session.sent_up_to()),
            will: session.will.as_ref().map(|will| WillRecord {
                message: will.message(mailbox.publisher(), BrokerTime::default()),
                message_expiry_interval: will.message_expiry_interval(),
                delay_interval: will.delay_interval,
            }),
        }))
    }

    /// Ends a session: its will is published, its subscriptions go, what it had not delivered goes to other members of
    /// shared groups or is counted as lost.
    pub(super) fn end_session(&self, mut parked: Box<Parked>, batch: &mut Batch) {
        parked.will_is_late |= self.publish_will(parked.take_will(), batch);
        self.remove_stored(&parked, batch);
        let Parked { session, mailbox, .. } = *parked;
        for filter in session.subscriptions.filters() {
            if let Ok(filter) = crate::topic::ParsedFilter::parse(filter) {
                self.router.unsubscribe(&mailbox, filter, batch);
            }
        }
        let queued = mailbox.close(batch);
        let (own, inflight) = session.into_inflight();
        mailbox.lose(DropCause::SessionEnded, own, batch);
        let mut deliveries = Vec::new();
        for (mut delivery, may_move) in inflight {
            if !may_move {
                delivery.group = None; // [MQTT-4.8.2-5]
            }
            deliveries.push(delivery);
        }
        deliveries.extend(queued);
        self.router.hand_back(&mailbox, deliveries, batch);
    }

    /// Sets the deadlines of a parked session: its delayed will, its expiry.
    pub(super) fn set_deadlines(&self, parked: &mut Parked, generation: Generation) {
        parked.deadlines_of = Some(generation);
        for at in parked.deadlines() {
            self.deadlines.insert(at, parked.session.client_id(), generation);
        }
    }

    /// A session that is taken up has no deadlines any more: a client that comes and goes would leave one each time.
    pub(super) fn forget_deadlines(&self, parked: &mut Parked) {
        let Some(generation) = parked.deadlines_of.take() else { return };
        for at in parked.deadlines() {
            self.deadlines.remove(at, parked.session.client_id(), generation);
        }
    }

    /// Does what has come due for parked sessions.
    pub(crate) fn keep_house(&self, batch: &mut Batch) {
        while let Some((client_id, generation)) = self.deadlines.pop_due(batch.now) {
            let now = batch.now;
            let due = self.sessions.with_parked(&client_id, generation, |parked| {
                let will = if parked.will_at() <= now { parked.take_will() } else { None };
                (will, parked.expires_at() <= now)
            });
            let Some((will, expired)) = due else { continue };
            if will.is_some() {
                let is_late = self.publish_will(will, batch);
                // Twice after a crash in between, rather than never.
                self.sessions.with_parked(&client_id, generation, |parked| {
                    parked.will_is_late = is_late;
                    self.store_parked(parked);
                });
            }
            if expired && let Some(parked) = self.sessions.take_parked(&client_id, generation) {
                batch.counts.sessions_expired += 1;
                tracing::info!(client_id = &*client_id, "session expired");
                self.end_session(parked, batch); // [MQTT-4.1.0-2]
            }
        }
        self.flush(batch);
    }

    /// Removes retained messages, and messages that wait in queues, whose expiry has passed ([MQTT-3.3.2-5]).
    pub(crate) fn sweep(&self, batch: &mut Batch) {
        self.router.sweep(batch);
        self.sessions.for_each_mailbox(|mailbox| mailbox.drop_expired(batch.now, batch));
        self.flush(batch);
    }
}

/// How long wills of connections that a crash ended wait at least, in seconds.
pub(super) const CRASH_GRACE_SECS: u32 = 10;

impl Parked {
    /// What is stored of it.
    pub(super) fn record(&self) -> Change {
        let Parked { session, mailbox, identity, listener, since, .. } = self;
        Shared::record(session, mailbox, identity, listener, Some(*since))
    }

    /// Whether a restart finds a session that a client could take up; of a remnant only its will is stored.
    pub(super) fn outlives_the_process(&self) -> bool {
        self.mailbox.is_stored() && self.origin != Origin::Remnant
    }

    fn deadlines(&self) -> impl Iterator<Item = BrokerTime> {
        [self.will_at(), self.expires_at()].into_iter().filter(|at| *at != BrokerTime::NEVER)
    }

    pub(super) fn expires_at(&self) -> BrokerTime {
        match self.session.expiry_interval {
            crate::protocol::EXPIRY_NEVER => BrokerTime::NEVER,
            secs => self.since.after_secs(secs),
        }
    }

    /// When its will is due: after its delay, or when the session ends if that is sooner ([MQTT-3.1.2-8]). After a crash
    /// its client gets the time to come back: it was not the client that went.
    pub(super) fn will_at(&self) -> BrokerTime {
        let Some(will) = &self.session.will else { return BrokerTime::NEVER };
        let delay = match self.origin {
            Origin::Connection => will.delay_interval,
            Origin::Crash | Origin::Remnant => will.delay_interval.max(CRASH_GRACE_SECS),
        };
        self.since.after_secs(delay).min(self.expires_at())
    }
}
