//! One network connection as the standard sees it: states and dispatch. The parts have their own files.
//!
//! ```text
//! AwaitConnect ──CONNECT──► Authenticating ──on_authenticated──► AwaitSession ──on_session──► Connected ──► Closed
//!                              │  ▲ AUTH (section 4.12)                                        │  ▲ AUTH 0x19
//!                              └──┘                                                            └──┘
//! ```
//! The contract: the driver decodes packets with [`Connection::decoder`], gives each to `handle_packet`, carries out
//! the returned [`Action`] and answers it; every turn it asks `next_timeout` and calls `handle_timeout` when it has
//! come; deliveries go through `deliver` while [`Connection::window_free`] has room. A [`Violation`] is given to
//! `close`, which says on the wire what the standard wants said. No I/O, no clock: `now` is an argument.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::action::Action;
use super::connecting::{self, ConnectRequest};
use super::error::Violation;
use super::keep_alive::KeepAlive;
use super::outbound::Acked;
use super::output::Output;
use super::session::Session;
use super::settings::Settings;
use super::topic_alias::{InboundAliases, OutboundAliases};
use crate::message::{BrokerTime, PublisherId};
use crate::packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, DecodeError, DecodeErrorKind, Decoder, Disconnect, Packet,
    PacketId, PacketType, ProtocolVersion, QoS, ReasonCode, Sender,
};

pub struct Connection {
    pub(super) settings: Arc<Settings>,
    pub(super) version: ProtocolVersion,
    state: State,
    keep_alive: KeepAlive,
    /// Until when CONNECT must have come and been answered.
    connect_deadline: BrokerTime,
    pub(super) problem_information: bool,
    pub(super) bridge: bool,
    /// Bytes; the client's Maximum Packet Size ([MQTT-3.1.2-24]).
    pub(super) maximum_packet_size: u32,
    /// CONNECT asked for no session beyond the connection: DISCONNECT may not ask for one either.
    asked_no_expiry: bool,
    authentication_method: Option<Box<str>>,
    pub(super) inbound_aliases: InboundAliases,
    pub(super) outbound_aliases: OutboundAliases,
    /// What messages from this client carry.
    pub(super) publisher: PublisherId,
    /// Once connected, here until the connection lets go of it as a whole ([MQTT-4.1.0-1]).
    pub(super) session: Option<Session>,
}

enum State {
    AwaitConnect,
    Authenticating(Box<ConnectRequest>),
    AwaitSession(Box<ConnectRequest>),
    Connected,
    Closed,
}

impl Connection {
    pub fn new(settings: Arc<Settings>, now: BrokerTime, connect_timeout: Duration) -> Self {
        Connection {
            settings,
            version: ProtocolVersion::V4,
            state: State::AwaitConnect,
            keep_alive: KeepAlive::new(0, now),
            connect_deadline: now.after(connect_timeout),
            problem_information: true,
            bridge: false,
            maximum_packet_size: u32::MAX,
            asked_no_expiry: false,
            authentication_method: None,
            inbound_aliases: InboundAliases::default(), // [MQTT-3.3.2-7]
            outbound_aliases: OutboundAliases::default(),
            publisher: PublisherId::default(),
            session: None,
        }
    }

    /// How the next bytes of the client are to be decoded.
    pub fn decoder(&self) -> Decoder {
        Decoder {
            version: self.version,
            sender: Sender::Client,
            maximum_packet_size: self.settings.maximum_packet_size,
            connected: !matches!(self.state, State::AwaitConnect),
        }
    }

    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The method that CONNECT named, once connected.
    pub fn authentication_method(&self) -> Option<&str> {
        self.authentication_method.as_deref()
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }

    /// False while CONNECT is being answered: the packets that follow it wait, but for AUTH ([MQTT-3.1.4-6]).
    pub fn takes_packets(&self) -> bool {
        match &self.state {
            State::AwaitConnect | State::Connected => true,
            State::Authenticating(request) => request.authentication_method.is_some(),
            State::AwaitSession(_) | State::Closed => false,
        }
    }

    /// The CONNECT that is being answered.
    pub fn request(&self) -> Option<&ConnectRequest> {
        match &self.state {
            State::Authenticating(request) | State::AwaitSession(request) => Some(request),
            _ => None,
        }
    }

    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    pub fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Lets go of the session; the connection is over.
    pub fn take_session(&mut self) -> Option<Session> {
        self.state = State::Closed;
        self.session.take()
    }

    /// When `handle_timeout` is to be called.
    pub fn next_timeout(&self) -> BrokerTime {
        match self.state {
            State::Connected => self.keep_alive.deadline(),
            State::Closed => BrokerTime::NEVER,
            _ => self.connect_deadline,
        }
    }

    /// The broker was not reading: the client's silence is not its fault.
    pub fn rest_keep_alive(&mut self, now: BrokerTime) {
        self.keep_alive.touch(now);
    }

    pub fn handle_timeout(&mut self, now: BrokerTime) -> Result<(), Violation> {
        if now < self.next_timeout() {
            return Ok(());
        }
        match self.state {
            // [MQTT-3.1.2-22]
            State::Connected => {
                Err(Violation::new(ReasonCode::KeepAliveTimeout, "no packet for 1.5 times the keep alive"))
            }
            _ => Err(Violation::new(ReasonCode::MaximumConnectTime, "no complete CONNECT within the connect timeout")),
        }
    }

    /// Takes one packet of the client. `buffer` is what the packet stands in, if its message is to keep that.
    pub fn handle_packet(
        &mut self,
        now: BrokerTime,
        packet: &Packet<'_>,
        buffer: Option<&Bytes>,
        out: &mut Output,
    ) -> Result<Action, Violation> {
        match self.state {
            State::AwaitConnect => match packet {
                Packet::Connect(connect) => self.handle_connect(now, connect),
                _ => Err(Violation::protocol("the first packet is not CONNECT")), // [MQTT-3.1.0-1]
            },
            State::Authenticating(_) => self.handle_while_authenticating(packet),
            State::Connected => {
                self.keep_alive.touch(now);
                self.handle_connected(now, packet, buffer, out)
            }
            State::AwaitSession(_) | State::Closed => Ok(Action::None),
        }
    }

    fn handle_connect(&mut self, now: BrokerTime, connect: &Connect<'_>) -> Result<Action, Violation> {
        self.version = connect.version;
        self.problem_information = connect.properties.request_problem_information.unwrap_or(true);
        let request = Box::new(ConnectRequest::new(connect, &self.settings));
        self.maximum_packet_size = request.maximum_packet_size;
        let checked = connecting::check(connect, &self.settings);
        self.state = State::Authenticating(request);
        checked?;
        self.keep_alive.touch(now);
        Ok(Action::Authenticate)
    }

    /// Only AUTH and DISCONNECT may come before CONNACK, and AUTH only with a method ([MQTT-3.1.2-30], [MQTT-4.12.0-7]).
    fn handle_while_authenticating(&mut self, packet: &Packet<'_>) -> Result<Action, Violation> {
        match packet {
            Packet::Auth(auth) => {
                let method = self.request().and_then(|request| request.authentication_method.as_deref());
                check_auth(auth, method, ReasonCode::ContinueAuthentication)?; // [MQTT-4.12.0-3]
                Ok(auth_data(auth, false))
            }
            Packet::Disconnect(disconnect) => Ok(Action::Disconnect { reason_code: disconnect.reason_code }),
            _ => Err(Violation::protocol("only AUTH or DISCONNECT may come before CONNACK")),
        }
    }

    /// Looks at no window: what is in flight to the client delays no answer ([MQTT-4.9.0-3]).
    fn handle_connected(
        &mut self,
        now: BrokerTime,
        packet: &Packet<'_>,
        buffer: Option<&Bytes>,
        out: &mut Output,
    ) -> Result<Action, Violation> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(now, publish, buffer, out),
            Packet::PubAck(ack) => self.handle_puback(ack),
            Packet::PubRec(ack) => self.handle_pubrec(ack, out),
            Packet::PubRel(ack) => self.handle_pubrel(ack, out),
            Packet::PubComp(ack) => self.handle_pubcomp(ack),
            Packet::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(unsubscribe),
            Packet::PingReq => {
                out.packet(&Packet::PingResp, self.version); // [MQTT-3.12.4-1]
                Ok(Action::None)
            }
            Packet::Disconnect(disconnect) => self.handle_disconnect(disconnect),
            Packet::Auth(auth) => {
                check_auth(auth, self.authentication_method.as_deref(), ReasonCode::ReAuthenticate).or_else(
                    |violation| match auth.reason_code {
                        ReasonCode::ContinueAuthentication => {
                            check_auth(auth, self.authentication_method.as_deref(), ReasonCode::ContinueAuthentication)
                        }
                        _ => Err(violation),
                    },
                )?;
                Ok(auth_data(auth, auth.reason_code == ReasonCode::ReAuthenticate))
            }
            Packet::Connect(_) => Err(Violation::protocol("a second CONNECT")), // [MQTT-3.1.0-2]
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(Violation::protocol("a packet that only a server may send"))
            }
        }
    }

    fn outbound(&mut self) -> Option<&mut super::outbound::Outbound> {
        self.session.as_mut().map(|session| &mut session.outbound)
    }

    fn handle_puback(&mut self, ack: &Ack<'_>) -> Result<Action, Violation> {
        let Some(outbound) = self.outbound() else { return Ok(Action::None) };
        completed(outbound.on_puback(ack.packet_id), QoS::AtLeastOnce, ack)
    }

    fn handle_pubrec(&mut self, ack: &Ack<'_>, out: &mut Output) -> Result<Action, Violation> {
        let version = self.version;
        let Some(outbound) = self.outbound() else { return Ok(Action::None) };
        match outbound.on_pubrec(ack.packet_id, ack.reason_code.is_error()) {
            Acked::Release(row) => {
                out.ack(PacketType::PubRel, ack.packet_id, ReasonCode::Success, version); // [MQTT-4.3.3-4], [MQTT-2.2.1-5]
                Ok(if row.is_stored() { Action::HandedOver(row) } else { Action::None })
            }
            Acked::Unknown if ack.reason_code.is_error() => Ok(Action::None),
            Acked::Unknown => {
                out.ack(PacketType::PubRel, ack.packet_id, ReasonCode::PacketIdentifierNotFound, version);
                Ok(Action::None)
            }
            other => completed(other, QoS::ExactlyOnce, ack),
        }
    }

    fn handle_pubrel(&mut self, ack: &Ack<'_>, out: &mut Output) -> Result<Action, Violation> {
        let known = self.session.as_mut().is_some_and(|session| session.inbound.release(ack.packet_id));
        let reason_code = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        out.ack(PacketType::PubComp, ack.packet_id, reason_code, self.version); // [MQTT-4.3.3-11], [MQTT-2.2.1-5]
        // Said again too: the store may not have taken it the first time.
        Ok(Action::Released(ack.packet_id))
    }

    fn handle_pubcomp(&mut self, ack: &Ack<'_>) -> Result<Action, Violation> {
        let Some(outbound) = self.outbound() else { return Ok(Action::None) };
        match outbound.on_pubcomp(ack.packet_id) {
            Acked::Completed(kept) => Ok(Action::Completed(QoS::ExactlyOnce, kept)),
            Acked::Unknown => Ok(Action::None),
            Acked::Mismatch | Acked::Release(_) => {
                Err(Violation::protocol("PUBCOMP for a message that is not released"))
            }
        }
    }

    fn handle_disconnect(&mut self, disconnect: &Disconnect<'_>) -> Result<Action, Violation> {
        let expiry_max = self.settings.session_expiry_max;
        let Some(session) = &mut self.session else { return Ok(Action::None) };
        if let Some(expiry) = disconnect.session_expiry_interval {
            if self.asked_no_expiry && expiry != 0 {
                return Err(Violation::protocol("DISCONNECT sets a Session Expiry Interval that CONNECT had at 0"));
            }
            session.expiry_interval = expiry.min(expiry_max);
        }
        if disconnect.reason_code == ReasonCode::NORMAL_DISCONNECTION {
            session.will = None; // [MQTT-3.14.4-3], [MQTT-3.1.2-10]
        }
        Ok(Action::Disconnect { reason_code: disconnect.reason_code })
    }

    /// The client id that the broker chose ([MQTT-3.1.3-6]).
    pub fn assign_client_id(&mut self, client_id: Arc<str>) {
        if let State::Authenticating(request) = &mut self.state {
            request.client_id = client_id;
            request.assigned = true;
        }
    }

    /// The client is who it says. `user_name` replaces the client id where the listener wants that.
    pub fn on_authenticated(&mut self, user_name: Option<&str>) -> Result<(), Violation> {
        let by_name = self.settings.user_name_as_client_id;
        let State::Authenticating(mut request) = std::mem::replace(&mut self.state, State::Closed) else {
            return Ok(());
        };
        if by_name {
            match user_name.filter(|name| !name.is_empty()) {
                Some(name) => {
                    request.assigned = self.version == ProtocolVersion::V5 && *request.client_id != *name;
                    request.client_id = name.into();
                }
                None => {
                    self.state = State::Authenticating(request);
                    let what = "this listener takes the user name as client id, and there is none";
                    return Err(Violation::new(ReasonCode::ClientIdentifierNotValid, what)); // [MQTT-3.1.3-8]
                }
            }
        }
        self.authentication_method = request.authentication_method.as_deref().map(Into::into);
        self.state = State::AwaitSession(request);
        Ok(())
    }

    /// Answers the client's AUTH, or asks it for more ([MQTT-4.12.0-2], [MQTT-4.12.0-5]).
    pub fn send_auth(
        &mut self,
        reason_code: ReasonCode,
        data: Option<&[u8]>,
        out: &mut Output,
    ) -> Result<(), Violation> {
        let method = match &self.state {
            State::Authenticating(request) => request.authentication_method.as_deref(),
            _ => self.authentication_method.as_deref(),
        };
        // No Reason String and no User Property that could make it too large: [MQTT-3.15.2-2], [MQTT-3.15.2-3]
        let auth = Auth { reason_code, authentication_method: method, authentication_data: data, ..Auth::default() };
        self.send(&Packet::Auth(auth), out)
    }

    /// Whether this connection goes on with a session that its client id has: not when it wants a clean start
    /// ([MQTT-3.1.2-4]), and not behind another mount point, whose topics would be none of its business.
    pub fn resumes(&self, session: &Session) -> bool {
        self.request().is_some_and(|request| !request.clean_start)
            && *session.mount_point() == self.settings.mount_point
    }

    /// The session has arrived, resumed or new: says so to the client ([MQTT-3.1.4-5]). Fails when the client does not
    /// take a packet as large as its CONNACK.
    pub fn on_session(
        &mut self,
        now: BrokerTime,
        resumed: Option<Session>,
        authentication_data: Option<&[u8]>,
        out: &mut Output,
    ) -> Result<(), Violation> {
        // The state is left for good, unless nothing could be sent: there is no second CONNACK ([MQTT-3.2.0-2]).
        let State::AwaitSession(mut request) = std::mem::replace(&mut self.state, State::Connected) else {
            return Ok(());
        };
        let session_present = resumed.is_some(); // [MQTT-3.2.2-2], [MQTT-3.2.2-3]
        let mount_point = &self.settings.mount_point;
        // [MQTT-3.1.2-5], [MQTT-3.1.2-6]
        let mut session = resumed.unwrap_or_else(|| Session::new(Arc::clone(&request.client_id), mount_point));
        session.expiry_interval = request.session_expiry_interval;
        session.outbound.connect(request.receive_maximum.get());
        session.inbound.connect();
        self.bridge = request.bridge;
        self.asked_no_expiry = request.asked_session_expiry_interval == 0;
        self.outbound_aliases = OutboundAliases::new(request.topic_alias_maximum); // [MQTT-3.3.2-7]
        // [MQTT-3.1.2-21], [MQTT-3.2.2-21]: held to the one that it is told.
        self.keep_alive = KeepAlive::new(request.granted_keep_alive(&self.settings), now);
        // Nothing but AUTH goes out before there is a session to send from ([MQTT-3.2.0-1]).
        let sent = self.send_connack(&request, session_present, authentication_data, out);
        if sent.is_ok() {
            session.will = request.will.take(); // [MQTT-3.1.2-7]
        } else {
            self.state = State::AwaitSession(request);
        }
        self.session = Some(session);
        sent
    }

    fn send_connack(
        &self,
        request: &ConnectRequest,
        session_present: bool,
        data: Option<&[u8]>,
        out: &mut Output,
    ) -> Result<(), Violation> {
        let response_information =
            self.settings.response_information.as_ref().map(|template| template.replace("%c", &request.client_id));
        let connack =
            connecting::success(request, &self.settings, session_present, response_information.as_deref(), data);
        self.send(&Packet::ConnAck(connack), out)
    }

    /// Ends the connection and says why, if the state and version have a way to ([MQTT-4.13.1-1], [MQTT-4.13.2-1]).
    pub fn close(&mut self, violation: &Violation, out: &mut Output) {
        // A closed connection says nothing more ([MQTT-3.14.4-1]).
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Authenticating(_) | State::AwaitSession(_) => self.send_refusal(violation, out),
            State::Connected if self.version == ProtocolVersion::V5 => self.send_disconnect(violation, out),
            // [MQTT-3.14.0-1]; in 3.x only the client may send DISCONNECT.
            State::Connected | State::AwaitConnect | State::Closed => {}
        }
    }

    /// The same for a connection whose CONNACK was made and could not be given: it is refused after all, its will with it.
    pub fn refuse(&mut self, violation: &Violation, out: &mut Output) {
        self.state = State::Closed;
        if let Some(session) = &mut self.session {
            session.will = None; // [MQTT-3.1.2-7]
        }
        self.send_refusal(violation, out);
    }

    /// A CONNECT with a protocol level that nobody here speaks is answered, other broken bytes before it are not.
    pub fn close_on_decode_error(&mut self, error: &DecodeError, out: &mut Output) -> Violation {
        if let (State::AwaitConnect, DecodeErrorKind::UnsupportedProtocolVersion { level }) = (&self.state, error.kind)
        {
            self.version = if level > 5 { ProtocolVersion::V5 } else { ProtocolVersion::V4 };
            let violation = Violation::from(*error);
            self.send_refusal(&violation, out); // [MQTT-3.1.2-2]
            self.state = State::Closed;
            return violation;
        }
        let violation = Violation::from(*error);
        self.close(&violation, out);
        violation
    }

    fn send_refusal(&self, violation: &Violation, out: &mut Output) {
        // [MQTT-3.2.2-8]: only codes that a CONNACK may carry.
        let reason_code = match violation.reason_code {
            code if code.belongs_to(PacketType::ConnAck, Sender::Server) => code,
            ReasonCode::MaximumConnectTime => return,
            ReasonCode::ServerShuttingDown => ReasonCode::ServerUnavailable,
            _ => ReasonCode::UnspecifiedError,
        };
        let connack = |reason_string| {
            let properties = ConnAckProperties { reason_string, ..ConnAckProperties::default() };
            Packet::ConnAck(ConnAck { session_present: false, reason_code, properties }) // [MQTT-3.2.2-6]
        };
        self.send_with_reason(&connack(Some(&violation.what)), &connack(None), out);
    }

    fn send_disconnect(&self, violation: &Violation, out: &mut Output) {
        // [MQTT-3.14.2-1], and no Session Expiry Interval ever: [MQTT-3.14.2-2]
        let reason_code = match violation.reason_code {
            code if code.belongs_to(PacketType::Disconnect, Sender::Server) => code,
            _ => ReasonCode::UnspecifiedError,
        };
        let disconnect =
            |reason_string| Packet::Disconnect(Disconnect { reason_code, reason_string, ..Disconnect::default() });
        self.send_with_reason(&disconnect(Some(&violation.what)), &disconnect(None), out);
    }

    fn fits(&self, packet: &Packet<'_>) -> bool {
        packet.encoded_len(self.version) as u64 <= u64::from(self.maximum_packet_size) // [MQTT-3.1.2-24]
    }

    /// Sends a packet that cannot be made shorter: without it the connection cannot go on. Acknowledgements need no
    /// such care, since a client that took the CONNACK takes five bytes.
    pub(super) fn send(&self, packet: &Packet<'_>, out: &mut Output) -> Result<(), Violation> {
        if !self.fits(packet) {
            let what = format!("{:?} does not fit in the client's Maximum Packet Size", packet.packet_type());
            return Err(Violation::new(ReasonCode::PacketTooLarge, what));
        }
        out.packet(packet, self.version);
        Ok(())
    }

    /// The reason string goes where problem information is wanted and the packet stays within the client's maximum
    /// ([MQTT-3.2.2-19], [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.9.2-1], [MQTT-3.14.2-3]). User properties, which must
    /// do so too, the broker has none for these packets ([MQTT-3.2.2-20], [MQTT-3.4.2-3], [MQTT-3.5.2-3],
    /// [MQTT-3.9.2-2], [MQTT-3.14.2-4]). False when the packet is too large without it too.
    pub(super) fn send_with_reason(&self, with: &Packet<'_>, without: &Packet<'_>, out: &mut Output) -> bool {
        let packet = if self.problem_information && self.fits(with) { with } else { without };
        let fits = self.fits(packet);
        if fits {
            out.packet(packet, self.version);
        }
        fits
    }

    pub(super) fn send_ack(
        &self,
        kind: PacketType,
        packet_id: PacketId,
        reason_code: ReasonCode,
        reason: Option<&str>,
        out: &mut Output,
    ) {
        if reason.is_none() || self.version != ProtocolVersion::V5 {
            return out.ack(kind, packet_id, reason_code, self.version);
        }
        let ack = |reason_string| {
            let ack = Ack { packet_id, reason_code, reason_string, user_properties: Default::default() };
            if kind == PacketType::PubRec { Packet::PubRec(ack) } else { Packet::PubAck(ack) }
        };
        self.send_with_reason(&ack(reason), &ack(None), out); // [MQTT-3.1.2-29]
    }
}

fn completed(acked: Acked, qos: QoS, ack: &Ack<'_>) -> Result<Action, Violation> {
    match acked {
        Acked::Completed(kept) if ack.reason_code.is_error() => Ok(Action::RefusedByReceiver(kept)),
        Acked::Completed(kept) => Ok(Action::Completed(qos, kept)),
        Acked::Unknown | Acked::Release(_) => Ok(Action::None),
        Acked::Mismatch => Err(Violation::protocol("the acknowledgement does not belong to the QoS of the message")),
    }
}

fn check_auth(auth: &Auth<'_>, method: Option<&str>, expected: ReasonCode) -> Result<(), Violation> {
    let Some(method) = method else {
        return Err(Violation::protocol("AUTH without an Authentication Method in CONNECT")); // [MQTT-4.12.0-7]
    };
    if auth.authentication_method != Some(method) {
        // [MQTT-4.12.1-1]
        return Err(Violation::protocol("the Authentication Method is not the one of CONNECT"));
    }
    if auth.reason_code != expected {
        return Err(Violation::protocol("AUTH has a reason code that does not fit here"));
    }
    Ok(())
}

fn auth_data(auth: &Auth<'_>, reauthenticate: bool) -> Action {
    Action::AuthData { data: auth.authentication_data.unwrap_or_default().to_vec(), reauthenticate }
}
