//! From CONNECT to a session and back: authentication, the claim of the client id, and letting go.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use super::received::Received;
use super::turn::Turn;
use super::{Driver, End, Progress, Stage};
use crate::auth::{Credentials, Identity, Refusal, Step};
use crate::message::RowId;
use crate::net::context::{Origin, Parked, Shared};
use crate::net::keeper::FAILED;
use crate::packet::{ProtocolVersion, ReasonCode};
use crate::protocol::{Output, Violation};
use crate::router::{Claimed, Control, Generation, Mailbox, Released};
use crate::store::{Lost, Page, Ticket};

/// What the authenticator says.
pub(super) type AuthAnswer = Result<Identity, Refusal>;

/// A session on this connection.
pub(super) struct Attached {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) received: Received,
    pub(super) identity: Identity,
    /// Some subscription is allowed only in part: deliveries are checked.
    pub(super) filtered: bool,
    /// Nobody is ever refused anything, as the rules were at the beginning of the turn.
    pub(super) is_unrestricted: bool,
    /// The version of the access that these were judged by; zero is none's.
    pub(super) judged_by: u64,
    generation: Generation,
    /// An operator wants the session gone with the connection.
    pub(super) delete: bool,
    /// CONNACK has left: the client may be sent messages.
    pub(super) answered: bool,
    /// The session began with this connection.
    pub(super) is_new: bool,
    /// What was to be written, when others had something to read.
    pub(super) put_off: Option<Box<Output>>,
    /// Messages that are being read from the store, and the first row of them.
    pub(super) page: Option<Box<Reading>>,
    /// A new authentication on a connection that has one already (section 4.12.1).
    reauthentication: Option<Box<dyn crate::auth::Exchange>>,
}

/// A page on its way from the store.
pub(super) struct Reading {
    pub(super) front: RowId,
    pub(super) page: Pin<Box<dyn Future<Output = Result<Page, Lost>> + Send>>,
}

/// A client id that has been claimed from another connection.
pub(super) struct Claiming {
    identity: Identity,
    generation: Generation,
    /// The last data of an enhanced authentication, for CONNACK.
    data: Option<Vec<u8>>,
}

impl Driver {
    /// CONNECT has come: who is it?
    pub(super) fn authenticate(&mut self, turn: &mut Turn) -> Result<(), End> {
        let Some(request) = self.connection.request() else { return Ok(()) };
        if request.client_id.is_empty() {
            self.connection.assign_client_id(self.fresh_client_id());
        }
        let Some(credentials) = self.credentials() else { return Ok(()) };
        let access = self.place.listener.access.load_full();
        let method = self.connection.request().and_then(|request| request.authentication_method.clone());
        // Only who names a method is asked by AUTH ([MQTT-4.12.0-6]).
        if let Some(method) = method {
            let Some(exchange) = access.authenticator.begin(&method, &credentials) else {
                return Err(self.refused(&unknown_method(&method), turn));
            };
            self.stage = Stage::Exchanging(exchange);
            let data = self.connection.request().map(|request| request.authentication_data.clone());
            return self.exchange(&data.unwrap_or_default(), false, turn);
        }
        if !access.authenticator.is_costly(&credentials) {
            let answer = access.authenticator.authenticate(&credentials);
            return self.on_answer(answer, turn);
        }
        let permits = Arc::clone(&self.place.shared.authentications);
        self.stage = Stage::Authenticating(Box::pin(async move {
            let _permit = permits.acquire_owned().await;
            let answer = tokio::task::spawn_blocking(move || access.authenticator.authenticate(&credentials)).await;
            answer.unwrap_or_else(|_| Err(Refusal::new(ReasonCode::UnspecifiedError, "the authenticator failed")))
        }));
        Ok(())
    }

    /// Client ids that the broker makes cannot be guessed, and are new ([MQTT-3.2.2-16]).
    fn fresh_client_id(&self) -> Arc<str> {
        loop {
            let client_id: Arc<str> =
                format!("auto-{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>()).into();
            if !self.place.shared.sessions.contains(&client_id) {
                return client_id;
            }
        }
    }

    fn credentials(&self) -> Option<Credentials> {
        let request = self.connection.request()?;
        Some(Credentials {
            client_id: Arc::clone(&request.client_id),
            user_name: request.user_name.clone(),
            password: request.password.clone(),
            certificate: self.facts.certificate.clone(),
            peer: self.facts.peer.ip(),
        })
    }

    /// The log is told why, the client only as much as helps nobody to guess.
    fn refused(&self, refusal: &Refusal, turn: &mut Turn) -> End {
        tracing::info!(peer = %self.facts.peer, reason = refusal.reason, "authentication refused");
        turn.batch.counts.authentication_failures += 1;
        End::Closed(Violation::new(refusal.reason_code, refusal.reason_string())) // [MQTT-3.1.4-2], [MQTT-4.12.0-4]
    }

    pub(super) fn poll_stage(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        match &mut self.stage {
            Stage::Authenticating(answer) => match answer.as_mut().poll(cx) {
                Poll::Pending => Ok(Progress::None),
                Poll::Ready(answer) => {
                    self.stage = Stage::Connecting;
                    self.on_answer(answer, turn).map(|()| Progress::Some)
                }
            },
            Stage::Claiming(claiming) => {
                let client_id = Arc::clone(&claiming.identity.client_id);
                match self.place.shared.sessions.poll_claim(&client_id, claiming.generation, cx) {
                    Poll::Pending => Ok(Progress::None),
                    Poll::Ready(claimed) => self.on_claimed(claimed, turn).map(|()| Progress::Some),
                }
            }
            _ => Ok(Progress::None),
        }
    }

    fn on_answer(&mut self, answer: AuthAnswer, turn: &mut Turn) -> Result<(), End> {
        match answer {
            Ok(identity) => self.claim(identity, None, turn),
            Err(refusal) => Err(self.refused(&refusal, turn)),
        }
    }

    /// AUTH data from the client: a step of the exchange that CONNECT began, or of a new one.
    pub(super) fn exchange(&mut self, data: &[u8], reauthenticate: bool, turn: &mut Turn) -> Result<(), End> {
        if let Stage::Attached(_) = self.stage {
            return self.reauthenticate(data, reauthenticate, turn);
        }
        let Stage::Exchanging(exchange) = &mut self.stage else {
            return Err(End::Closed(Violation::new(ReasonCode::ProtocolError, "AUTH is not expected now")));
        };
        match exchange.step(data) {
            Step::Continue(data) => {
                let code = ReasonCode::ContinueAuthentication;
                self.connection.send_auth(code, Some(&data), &mut turn.out).map_err(End::Closed)
            }
            Step::Done { data, identity } => self.claim(identity, data, turn),
            Step::Refused(refusal) => self.on_answer(Err(refusal), turn),
        }
    }

    fn reauthenticate(&mut self, data: &[u8], begin: bool, turn: &mut Turn) -> Result<(), End> {
        let access = self.place.listener.access.load_full();
        let Stage::Attached(attached) = &mut self.stage else { return Ok(()) };
        if begin {
            let credentials = Credentials {
                client_id: Arc::clone(&attached.identity.client_id),
                user_name: None,
                password: None,
                certificate: self.facts.certificate.clone(),
                peer: self.facts.peer.ip(),
            };
            let method = self.connection.authentication_method().unwrap_or_default();
            attached.reauthentication = access.authenticator.begin(method, &credentials);
            if attached.reauthentication.is_none() {
                // A reload has taken the method away.
                return Err(self.refused(&unknown_method(method), turn));
            }
        }
        let Some(exchange) = &mut attached.reauthentication else {
            return Err(End::Closed(Violation::new(ReasonCode::ProtocolError, "AUTH is not expected now")));
        };
        match exchange.step(data) {
            Step::Continue(data) => {
                let code = ReasonCode::ContinueAuthentication;
                self.connection.send_auth(code, Some(&data), &mut turn.out).map_err(End::Closed)
            }
            Step::Done { data, identity } if identity == attached.identity => {
                attached.reauthentication = None;
                self.connection.send_auth(ReasonCode::Success, data.as_deref(), &mut turn.out).map_err(End::Closed)
            }
            Step::Done { .. } => {
                let refusal = Refusal::new(ReasonCode::NotAuthorized, "re-authenticated as somebody else");
                Err(self.refused(&refusal, turn))
            }
            // [MQTT-4.12.1-2]
            Step::Refused(refusal) => {
                Err(self.refused(&Refusal { reason_code: ReasonCode::NotAuthorized, ..refusal }, turn))
            }
        }
    }

    fn claim(&mut self, mut identity: Identity, data: Option<Vec<u8>>, turn: &mut Turn) -> Result<(), End> {
        self.connection.on_authenticated(identity.user_name.as_deref()).map_err(End::Closed)?;
        let Some(request) = self.connection.request() else { return Ok(()) };
        identity.client_id = Arc::clone(&request.client_id);
        let Some((generation, claimed)) = self.place.shared.sessions.claim(&identity.client_id) else {
            let what = "the broker holds as many sessions as it may";
            return Err(End::Closed(Violation::new(ReasonCode::QuotaExceeded, what)));
        };
        self.stage = Stage::Claiming(Box::new(Claiming { identity, generation, data }));
        match claimed {
            Poll::Pending => Ok(()),
            Poll::Ready(claimed) => self.on_claimed(claimed, turn),
        }
    }

    fn on_claimed(&mut self, claimed: Claimed<Box<Parked>>, turn: &mut Turn) -> Result<(), End> {
        let parked = match claimed {
            Claimed::Superseded => return Err(End::Superseded),
            Claimed::New => None,
            Claimed::Resumed(parked) => Some(parked),
        };
        let parked = self.may_keep(parked)?.and_then(|parked| self.resume(parked, turn));
        let removal = if parked.is_none() { self.removal()? } else { None };
        let Stage::Claiming(claiming) = std::mem::replace(&mut self.stage, Stage::Connecting) else { return Ok(()) };
        let Claiming { identity, generation, data } = *claiming;
        let (resumed, mailbox, received) = match parked {
            Some(parked) => (Some(parked.session), parked.mailbox, parked.received),
            None => (None, self.new_mailbox(&identity), Received::default()),
        };
        let is_new = resumed.is_none();
        let waits = mailbox.is_stored() || removal.is_some();
        turn.tickets.extend(removal);
        self.note_connected(&identity);
        self.connection.set_publisher(mailbox.publisher());
        self.log_connected(&identity, resumed.is_some());
        let out = if waits { &mut turn.answer } else { &mut turn.out };
        let accepted = self.connection.on_session(turn.batch.now, resumed, data.as_deref(), out);
        self.record_connected(&mailbox, &identity, turn);
        mailbox.attach(self.under_way());
        if !self.place.shared.sessions.attach(&identity.client_id, generation, &mailbox, Arc::clone(&self.facts)) {
            mailbox.signal(Control::Takeover);
        } else if self.place.shared.is_stopping() {
            mailbox.signal(Control::Shutdown);
        }
        self.place.shared.connected.fetch_add(1, Relaxed);
        self.place.listener.clients.of(self.connection.version()).fetch_add(1, Relaxed);
        turn.batch.counts.connections_made += u64::from(accepted.is_ok());
        self.stage = Stage::Attached(Box::new(Attached {
            answered: !waits,
            is_new,
            put_off: None,
            page: None,
            mailbox,
            received,
            identity,
            filtered: false,
            is_unrestricted: false,
            judged_by: 0,
            generation,
            delete: false,
            reauthentication: None,
        }));
        accepted.map_err(End::Closed)
    }

    /// Refuses a session that the store would have to keep and cannot; one that was there goes on being parked. Sessions
    /// that are there may be taken up when the store is full: their queues must be emptied somehow.
    fn may_keep(&mut self, parked: Option<Box<Parked>>) -> Result<Option<Box<Parked>>, End> {
        let keeper = &self.place.shared.keeper;
        let was_there = parked.as_ref().is_some_and(|parked| parked.outlives_the_process());
        let is_new = !parked.as_ref().is_some_and(|parked| self.goes_on_with(parked));
        // A session that was there cannot be changed, and cannot be ended, when the store has failed.
        let is_refused = was_there && keeper.has_failed() || is_new && self.wants_stored();
        match keeper.takes_more() {
            Err(why) if is_refused => Err(self.refuse_session(parked, why)),
            _ => Ok(parked),
        }
    }

    /// What must be safe before the client is told that it has no session.
    fn removal(&mut self) -> Result<Option<Ticket>, End> {
        let Stage::Claiming(claiming) = &self.stage else { return Ok(None) };
        let shared = &self.place.shared;
        let removal = shared.removals.of(&shared.keeper, &claiming.identity.client_id).transpose();
        removal.map_err(|_| self.refuse_session(None, FAILED))
    }

    /// The client id is given back, with the session that was there.
    fn refuse_session(&mut self, parked: Option<Box<Parked>>, why: &'static str) -> End {
        if let Stage::Claiming(claiming) = std::mem::replace(&mut self.stage, Stage::Connecting) {
            let parked = parked.map(|mut parked| {
                self.place.shared.forget_deadlines(&mut parked);
                parked
            });
            self.park(&claiming.identity.client_id, claiming.generation, parked);
        }
        End::Closed(Violation::new(ReasonCode::QuotaExceeded, why))
    }

    /// Whether a new session of this client would outlive the process.
    fn wants_stored(&self) -> bool {
        let asked = self.connection.request().map_or(0, |request| request.session_expiry_interval);
        asked > 0 && self.place.shared.keeper.keeps_sessions()
    }

    fn new_mailbox(&self, identity: &Identity) -> Arc<Mailbox> {
        let (router, limits) = (&self.place.shared.router, self.place.listener.queue);
        match self.wants_stored() {
            true => router.stored_mailbox(&identity.client_id, limits),
            false => router.mailbox(&identity.client_id, limits),
        }
    }

    /// The store learns of a session that outlives the process before its client does; and of every will, which a crash
    /// must not silence.
    fn record_connected(&self, mailbox: &Mailbox, identity: &Identity, turn: &mut Turn) {
        let Some(session) = self.connection.session() else { return };
        let has_will = session.will.is_some() && self.place.shared.keeper.keeps_sessions();
        if !mailbox.is_stored() && !has_will {
            return;
        }
        mailbox.note_recorded();
        let change = Shared::record(session, mailbox, identity, &self.place.listener.name, None);
        if mailbox.is_stored() {
            turn.promise(change);
        } else {
            turn.remember(change);
        }
    }

    /// A session that another connection has left: taken up, or ended if this one does not go on with it.
    fn resume(&mut self, mut parked: Box<Parked>, turn: &mut Turn) -> Option<Box<Parked>> {
        self.place.shared.forget_deadlines(&mut parked);
        if parked.origin != Origin::Connection {
            // It was not the client that went: a will of before the crash says nothing about it.
            parked.session.will = None;
        }
        // [MQTT-3.1.4-4]
        if !self.goes_on_with(&parked) {
            self.place.shared.end_session(parked, &mut turn.batch); // [MQTT-3.1.2-4]
            return None;
        }
        parked.session.will = None; // [MQTT-3.1.3-9]
        let Parked { session, received, .. } = &mut *parked;
        received.settle(u64::MAX, &self.place.shared.keeper, session);
        Some(parked)
    }

    fn goes_on_with(&self, parked: &Parked) -> bool {
        parked.origin != Origin::Remnant && self.connection.resumes(&parked.session)
    }

    fn note_connected(&mut self, identity: &Identity) {
        let (version, request) = (self.connection.version(), self.connection.request());
        // Nobody else has them yet.
        let facts = Arc::make_mut(&mut self.facts);
        facts.user_name = identity.user_name.clone();
        facts.version = version;
        facts.connected_at = unix_seconds();
        if let Some(request) = request {
            facts.keep_alive = request.keep_alive;
            facts.clean_start = request.clean_start;
            facts.session_expiry_interval = request.session_expiry_interval;
        }
    }

    fn log_connected(&self, identity: &Identity, resumed: bool) {
        tracing::info!(
            client_id = &*identity.client_id,
            peer = %self.facts.peer,
            listener = &*self.place.listener.name,
            protocol = protocol_name(self.connection.version()),
            user = identity.user_name.as_deref().unwrap_or_default(),
            resumed,
            "connected"
        );
    }

    /// Lets go of the session, whatever stage the connection is in. Returns its mailbox: last words may still be lost.
    pub(super) fn release(&mut self, end: &End, turn: &mut Turn) -> Option<Arc<Mailbox>> {
        // When nothing more will be written, what is unsent is lost now; else when the last words are out.
        if matches!(end, End::Lost(_) | End::Superseded) {
            self.count_lost_qos0(turn);
        }
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Attached(attached) => return Some(self.release_session(*attached, end, turn)),
            Stage::Claiming(claiming) => self.abandon_claim(&claiming, end),
            _ => self.log_end(None, end),
        }
        None
    }

    fn release_session(&mut self, mut attached: Attached, end: &End, turn: &mut Turn) -> Arc<Mailbox> {
        let mailbox = Arc::clone(&attached.mailbox);
        self.place.shared.connected.fetch_sub(1, Relaxed);
        self.place.listener.clients.of(self.connection.version()).fetch_sub(1, Relaxed);
        self.log_end(Some(&attached.identity), end);
        let Some(mut session) = self.connection.take_session() else { return mailbox };
        attached.received.settle(u64::MAX, &self.place.shared.keeper, &mut session);
        if attached.delete {
            session.expiry_interval = 0;
        }
        let unsent_shared = mailbox.detach(session.inflight(), &mut turn.batch);
        let client_id = Arc::clone(session.client_id());
        let mut parked = Box::new(Parked {
            session,
            mailbox: attached.mailbox,
            received: attached.received,
            identity: attached.identity,
            access: Arc::clone(&self.place.listener.access),
            listener: Arc::clone(&self.place.listener.name),
            since: turn.batch.now,
            origin: Origin::Connection,
            will_is_late: false,
            deadlines_of: None,
        });
        if parked.will_at() <= turn.batch.now {
            parked.will_is_late = self.place.shared.publish_will(parked.take_will(), &mut turn.batch); // [MQTT-3.1.2-8]
        }
        let kept = if parked.session.expiry_interval == 0 {
            self.place.shared.end_session(parked, &mut turn.batch);
            None
        } else {
            self.place.shared.store_parked(&parked);
            Some(parked) // [MQTT-3.1.2-23]
        };
        self.park(&client_id, attached.generation, kept);
        self.place.shared.router.hand_back(&mailbox, unsent_shared, &mut turn.batch);
        mailbox
    }

    fn park(&self, client_id: &str, generation: Generation, parked: Option<Box<Parked>>) {
        if let Released::Parked(generation) = self.place.shared.sessions.release(client_id, generation, parked) {
            self.place.shared.sessions.with_parked(client_id, generation, |parked| {
                self.place.shared.set_deadlines(parked, generation);
            });
        }
    }

    fn abandon_claim(&mut self, claiming: &Claiming, end: &End) {
        let client_id = &claiming.identity.client_id;
        let abandoned = self.place.shared.sessions.abandon(client_id, claiming.generation);
        if let Some((generation, Poll::Ready(session))) = abandoned {
            self.park(client_id, generation, session);
        }
        self.log_end(Some(&claiming.identity), end);
    }

    fn log_end(&self, identity: Option<&Identity>, end: &End) {
        let client_id = identity.map_or("", |identity| &identity.client_id);
        let peer = &self.facts.peer;
        match end {
            End::Lost(why) => tracing::info!(client_id, %peer, why, "connection lost"),
            End::Disconnected(code) => tracing::info!(client_id, %peer, reason = %code, "disconnected"),
            End::Broken(why) => tracing::info!(client_id, %peer, why, "connection closed"),
            End::Closed(violation) => tracing::info!(client_id, %peer, why = %violation, "connection closed"),
            End::Superseded => {
                tracing::info!(client_id, %peer, why = "superseded by a newer connection", "connection closed")
            }
        }
    }
}

fn unknown_method(method: &str) -> Refusal {
    let reason = format!("the authentication method {method:?} is not supported");
    Refusal::new(ReasonCode::BadAuthenticationMethod, reason) // [MQTT-4.12.0-1]
}

fn protocol_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V3 => "MQTT 3.1",
        ProtocolVersion::V4 => "MQTT 3.1.1",
        ProtocolVersion::V5 => "MQTT 5.0",
    }
}

/// Wall-clock time, for display only.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
