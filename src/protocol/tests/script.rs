//! The script itself, the tiny broker behind the connection, and the packets that scripts begin from.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::message::RunDelivery;
use crate::packet::{
    Ack, Decoded, Decoder, PacketId, Sender, Subscribe, SubscribeFilters, Unsubscribe, UnsubscribeFilters,
};
use crate::protocol::tests::notation;

/// A connection, and what the broker behind it does.
pub struct Script {
    pub connection: Connection,
    pub now: BrokerTime,
    pub broker: Broker,
    out: Output,
    is_over: bool,
}

/// What a test wants of the broker.
pub struct Broker {
    /// The session that the client id has; taken up unless the connection does not want it.
    pub held: Option<Session>,
    /// What becomes of messages.
    pub routed: Routed,
    /// What becomes of subscriptions.
    pub subscribed: SubscribeResult,
    /// False: CONNECT and AUTH stay unanswered until the test answers them.
    pub authenticates: bool,
    pub user_name: Option<&'static str>,
}

impl Script {
    pub fn new(settings: Settings) -> Self {
        let now = BrokerTime::from_millis(1_000_000);
        Script {
            connection: Connection::new(Arc::new(settings), now, Duration::from_secs(10)),
            now,
            broker: Broker {
                held: None,
                routed: Routed::Accepted,
                subscribed: SubscribeResult::Granted { replay_before: None },
                authenticates: true,
                user_name: None,
            },
            out: Output::default(),
            is_over: false,
        }
    }

    /// Connected with default settings; the CONNACK has been looked at.
    pub fn connected(version: ProtocolVersion) -> Self {
        Script::connected_with(settings(), Connect { clean_start: false, ..connect(version) })
    }

    pub fn connected_with(settings: Settings, connect: Connect<'_>) -> Self {
        let mut script = Script::new(settings);
        let lines = script.feed(connect);
        assert!(lines.len() == 2 && lines[1].starts_with("CONNACK 0x00"), "{lines:?}");
        script
    }

    /// The same session on a new connection.
    pub fn reconnected(mut self, settings: Settings, connect: Connect<'_>) -> Self {
        let mut script = Script::new(settings);
        script.now = self.now;
        script.broker.held = self.connection.take_session();
        let lines = script.feed(connect);
        assert!(lines[1].starts_with("CONNACK 0x00"), "{lines:?}");
        script
    }

    /// The client sends this packet; exactly these lines come of it.
    #[track_caller]
    pub fn check<'a>(&mut self, packet: impl Into<Packet<'a>>, expected: &[&str]) {
        let lines = self.feed(packet);
        assert_eq!(lines, expected);
    }

    /// The client sends these bytes.
    #[track_caller]
    pub fn check_bytes(&mut self, bytes: &[u8], expected: &[&str]) {
        let lines = self.feed_bytes(bytes);
        assert_eq!(lines, expected);
    }

    pub fn feed<'a>(&mut self, packet: impl Into<Packet<'a>>) -> Vec<String> {
        let packet = packet.into();
        let mut bytes = Vec::new();
        packet.encode(self.connection.version(), &mut bytes);
        self.feed_bytes(&bytes)
    }

    pub fn feed_bytes(&mut self, bytes: &[u8]) -> Vec<String> {
        assert!(self.connection.takes_packets(), "the connection does not read now");
        let mut lines = Vec::new();
        let decoded = self.connection.decoder().decode(bytes);
        let (packet, len) = match decoded {
            Ok(Decoded::Packet { packet, len }) => (packet, len),
            Ok(Decoded::Incomplete { .. }) => panic!("no whole packet: {bytes:02X?}"),
            Err(error) => {
                let violation = self.connection.close_on_decode_error(&error, &mut self.out);
                return self.closed(&violation, lines);
            }
        };
        assert_eq!(len, bytes.len());
        let result = self.connection.handle_packet(self.now, &packet, None, &mut self.out);
        let result = result.and_then(|action| {
            lines.push(notation::action(&action));
            self.answer(action)
        });
        if let Err(violation) = result {
            self.connection.close(&violation, &mut self.out);
            return self.closed(&violation, lines);
        }
        lines.append(&mut self.sent());
        lines.retain(|line| !line.is_empty());
        lines
    }

    fn closed(&mut self, violation: &Violation, mut lines: Vec<String>) -> Vec<String> {
        assert!(!violation.what.is_empty());
        lines.retain(|line| !line.is_empty());
        lines.append(&mut self.sent());
        lines.push(format!("close 0x{:02X}", violation.reason_code as u8));
        self.is_over = true;
        lines
    }

    /// What the connection has written since it was last looked at.
    pub fn sent(&mut self) -> Vec<String> {
        let out = std::mem::take(&mut self.out);
        let mut slices = crate::protocol::Slices::new();
        out.fill_slices(0..out.len(), &mut slices);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let decoder = Decoder {
            version: self.connection.version(),
            sender: Sender::Server,
            maximum_packet_size: u32::MAX,
            connected: true,
        };
        let (mut rest, mut lines) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let Decoded::Packet { packet, len } = decoder.decode(rest).expect("the broker sends packets that decode")
            else {
                panic!("half a packet: {rest:02X?}")
            };
            assert!(len <= self.connection.maximum_packet_size as usize, "larger than the client takes: {packet:?}");
            lines.push(notation::packet(&packet));
            rest = &rest[len..];
        }
        lines
    }

    /// Does what the action asks for, as a broker does that has this client alone.
    fn answer(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Authenticate if self.broker.authenticates => self.accept(None),
            Action::Publish { reply, .. } => self.connection.on_routed(reply, self.broker.routed, &mut self.out),
            Action::Subscribe(request) => {
                let result = |refused: &Option<ReasonCode>| match refused {
                    Some(code) => SubscribeResult::Refused(*code),
                    None => self.broker.subscribed,
                };
                let results: Vec<_> = request.filters.iter().map(|(_, _, refused)| result(refused)).collect();
                self.connection.on_subscribed(&request, &results, &mut self.out)
            }
            Action::Unsubscribe(request) => {
                let session = self.connection.session().expect("only a connected client unsubscribes");
                let existed: Vec<_> =
                    request.filters.iter().map(|filter| session.subscriptions.contains(filter)).collect();
                self.connection.on_unsubscribed(&request, &existed, &mut self.out)
            }
            _ => Ok(()),
        }
    }

    /// The client is who it says; its session arrives.
    pub fn accept(&mut self, data: Option<&[u8]>) -> Result<(), Violation> {
        if self.connection.request().is_some_and(|request| request.client_id.is_empty()) {
            self.connection.assign_client_id("made-up".into());
        }
        self.connection.on_authenticated(self.broker.user_name)?;
        let held = self.broker.held.take().filter(|session| self.connection.resumes(session));
        self.connection.on_session(self.now, held, data, &mut self.out)
    }

    /// The broker refuses, or closes for a reason of its own.
    #[track_caller]
    pub fn check_close(&mut self, reason_code: ReasonCode, expected: &[&str]) {
        let violation = Violation::new(reason_code, "a reason");
        self.connection.close(&violation, &mut self.out);
        assert_eq!(self.sent(), expected);
    }

    /// The broker wants more of the client's authentication, or accepts it anew.
    #[track_caller]
    pub fn check_auth(&mut self, reason_code: ReasonCode, data: Option<&[u8]>, expected: &[&str]) {
        self.connection.send_auth(reason_code, data, &mut self.out).expect("AUTH fits");
        assert_eq!(self.sent(), expected);
    }

    #[track_caller]
    pub fn check_accept(&mut self, data: Option<&[u8]>, expected: &[&str]) {
        let mut lines = match self.accept(data) {
            Ok(()) => Vec::new(),
            Err(violation) => {
                self.connection.close(&violation, &mut self.out);
                vec![format!("close 0x{:02X}", violation.reason_code as u8)]
            }
        };
        let mut sent = self.sent();
        sent.append(&mut lines);
        assert_eq!(sent, expected);
    }

    /// A message for the client arrives.
    #[track_caller]
    pub fn check_deliver(&mut self, delivery: Delivery, expected: &[&str]) {
        let lines = self.deliver(delivery).unwrap_or_else(|cause| vec![format!("dropped {}", cause.name())]);
        assert_eq!(lines, expected);
    }

    pub fn deliver(&mut self, delivery: Delivery) -> Result<Vec<String>, DropCause> {
        match self.connection.deliver(self.now, delivery, &mut self.out) {
            Delivered::Sent => Ok(self.sent()),
            Delivered::Dropped(cause) => Err(cause),
        }
    }

    pub fn deliver_run(&mut self, run: &RunDelivery) -> (DeliveredRun, Vec<String>) {
        let delivered = self.connection.deliver_run(self.now, run, &mut self.out);
        let qos0 = if run.qos == AtMostOnce { delivered.sent } else { 0 };
        assert_eq!((self.out.packets, self.out.qos0_messages), (delivered.sent, qos0));
        (delivered, self.sent())
    }

    /// The same, in words.
    pub fn resent(mut self) -> Vec<String> {
        self.connection.resend(self.now, usize::MAX, &mut self.out);
        self.sent()
    }

    /// What was in flight before the reconnect goes out again; returns why the rest was given up.
    #[track_caller]
    pub fn check_resend(&mut self, expected: &[&str]) -> Vec<DropCause> {
        let resent = self.connection.resend(self.now, usize::MAX, &mut self.out);
        let publishes = resent.iter().filter(|resent| matches!(resent, Resent::Publish(..))).count() as u64;
        let given_up = resent.into_iter().filter_map(|resent| match resent {
            Resent::GivenUp(cause, _) => Some(cause),
            _ => None,
        });
        let given_up: Vec<_> = given_up.collect();
        let lines = self.sent();
        assert_eq!(lines.iter().filter(|line| line.starts_with("PUBLISH")).count() as u64, publishes);
        assert_eq!(lines, expected);
        given_up
    }

    /// Time passes; what the connection does about it.
    #[track_caller]
    pub fn check_time(&mut self, passed: Duration, expected: &[&str]) {
        self.now = self.now.after(passed);
        let lines = match self.connection.handle_timeout(self.now) {
            Ok(()) => self.sent(),
            Err(violation) => {
                self.connection.close(&violation, &mut self.out);
                self.closed(&violation, Vec::new())
            }
        };
        assert_eq!(lines, expected);
    }

    pub fn session(&self) -> &Session {
        self.connection.session().expect("a session")
    }

    /// The will that would be published now, and its delay.
    pub fn will(&self) -> Option<(String, u32)> {
        let will = self.session().will.as_ref()?;
        Some((notation::message(&will.message(PublisherId(1), self.now)), will.delay_interval))
    }
}

pub fn settings() -> Settings {
    Settings { maximum_packet_size: packet::MAXIMUM_PACKET_SIZE, topic_alias_maximum: 0, ..Settings::default() }
}

/// Clean start, no keep alive, client id `c`.
pub fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        properties: ConnectProperties::default(),
        client_id: "c",
        will: None,
        user_name: None,
        password: None,
    }
}

pub fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("a script's packet id is not zero")
}

/// QoS 0 for packet id 0; else QoS 1.
pub fn publish(packet_id: u16, topic: &'static str, payload: &'static str) -> Publish<'static> {
    Publish {
        dup: false,
        qos: if packet_id == 0 { AtMostOnce } else { AtLeastOnce },
        retain: false,
        topic,
        packet_id: PacketId::new(packet_id),
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub fn ack(kind: PacketType, packet_id: u16, reason_code: ReasonCode) -> Packet<'static> {
    let ack = Ack { packet_id: id(packet_id), reason_code, reason_string: None, user_properties: Default::default() };
    match kind {
        PacketType::PubAck => Packet::PubAck(ack),
        PacketType::PubRec => Packet::PubRec(ack),
        PacketType::PubRel => Packet::PubRel(ack),
        PacketType::PubComp => Packet::PubComp(ack),
        other => panic!("{other:?} acknowledges nothing"),
    }
}

pub fn subscribe<'a>(packet_id: u16, filters: &'a [(&'a str, SubscribeOptions)]) -> Subscribe<'a> {
    Subscribe {
        packet_id: id(packet_id),
        subscription_identifier: None,
        user_properties: Default::default(),
        filters: SubscribeFilters::from_list(filters),
    }
}

pub fn unsubscribe<'a>(packet_id: u16, filters: &'a [&'a str]) -> Unsubscribe<'a> {
    Unsubscribe {
        packet_id: id(packet_id),
        user_properties: Default::default(),
        filters: UnsubscribeFilters::from_list(filters),
    }
}

/// A message for the client, published and delivered at this QoS.
pub fn delivery(qos: packet::QoS, topic: &str, payload: &str) -> Delivery {
    let message = Message::new(&MessageParts {
        topic_prefix: "",
        topic,
        forward: &[],
        payload: payload.as_bytes(),
        qos,
        retain: false,
        expires_at: BrokerTime::NEVER,
        publisher: PublisherId(1),
    });
    Delivery {
        message,
        qos,
        retain: false,
        subscription_ids: SubscriptionIds::None,
        group: None,
        row: crate::message::RowId::NONE,
    }
}

macro_rules! into_packet {
    ($($name:ident),*) => {
        $(impl<'a> From<packet::$name<'a>> for Packet<'a> {
            fn from(it: packet::$name<'a>) -> Self {
                Packet::$name(it)
            }
        })*
    };
}

into_packet!(Connect, Publish, Subscribe, Unsubscribe, Disconnect, Auth);
