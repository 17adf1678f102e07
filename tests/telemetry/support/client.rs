//! An MQTT 5 client that sends what it is told and acknowledges only when it is told to.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::{NonZeroU16, NonZeroU32};

use midge::packet::{
    self, Ack, ConnectProperties, Decoded, Decoder, Disconnect, Packet, PacketId, ProtocolVersion, PublishProperties,
    QoS, ReasonCode, Sender, SubscribeFilters, SubscribeOptions, UserProperties,
};

use super::PATIENCE;

const MESSAGE_EXPIRY_INTERVAL: u8 = 2;
const V5: ProtocolVersion = ProtocolVersion::V5;

/// What a CONNECT says; the rest is as quiet as can be.
#[derive(Clone, Copy, Default)]
pub struct Connect<'a> {
    pub client_id: &'a str,
    pub user_name: Option<&'a str>,
    pub resume: bool,
    /// Seconds.
    pub session_expiry: u32,
    pub receive_maximum: Option<u16>,
    pub maximum_packet_size: Option<u32>,
    /// Topic and payload of a QoS 1 will.
    pub will: Option<(&'a str, &'a str)>,
}

#[derive(Clone, Copy, Default)]
pub struct Publish<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: u8,
    pub retain: bool,
    /// Seconds.
    pub expiry: Option<u32>,
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    Publish(Message),
    PubAck(ReasonCode),
    PubRec(PacketId, ReasonCode),
    PubRel(PacketId),
    PubComp(PacketId),
    SubAck(Vec<ReasonCode>),
    Disconnect(ReasonCode),
    Other,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    pub id: Option<PacketId>,
}

pub struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// What came while something else was waited for.
    early: VecDeque<Incoming>,
    last_id: u16,
    pub session_present: bool,
}

pub fn subscription(qos: u8) -> SubscribeOptions {
    SubscribeOptions { qos: quality(qos), ..SubscribeOptions::default() }
}

fn quality(qos: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)]
}

impl Client {
    pub fn connect(address: SocketAddr, connect: Connect<'_>) -> Client {
        let (client, code) = Self::try_connect(address, connect);
        assert_eq!(code, ReasonCode::Success);
        client
    }

    pub fn try_connect(address: SocketAddr, connect: Connect<'_>) -> (Client, ReasonCode) {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut client =
            Client { stream, inbox: Vec::new(), early: VecDeque::new(), last_id: 0, session_present: false };
        client.send(&Packet::Connect(connect.packet()));
        let code = client.next_as(|packet| match packet {
            Packet::ConnAck(connack) => (connack.session_present, connack.reason_code),
            other => panic!("a CONNACK was expected: {other:?}"),
        });
        let (session_present, code) = code.expect("a CONNACK");
        client.session_present = session_present;
        (client, code)
    }

    fn send(&mut self, packet: &Packet<'_>) {
        self.try_send(packet).expect("the broker reads");
    }

    fn try_send(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        packet.encode(V5, &mut bytes);
        self.stream.write_all(&bytes)
    }

    /// Does not wait for an answer.
    pub fn publish(&mut self, publish: Publish<'_>) {
        self.try_publish(publish).expect("the broker reads");
    }

    /// The same where the broker may have closed the connection.
    pub fn try_publish(&mut self, publish: Publish<'_>) -> io::Result<()> {
        let packet_id = (publish.qos > 0).then(|| self.next_id());
        // The one property that is ever sent, as its bytes.
        let raw = publish.expiry.map(|seconds| [&[MESSAGE_EXPIRY_INTERVAL][..], &seconds.to_be_bytes()].concat());
        let raw = raw.unwrap_or_default();
        let properties = PublishProperties { raw: &raw, raw_is_forward: false, ..PublishProperties::default() };
        self.try_send(&Packet::Publish(packet::Publish {
            dup: false,
            qos: quality(publish.qos),
            retain: publish.retain,
            topic: publish.topic,
            packet_id,
            properties,
            payload: publish.payload,
        }))
    }

    /// Publishes at QoS 1 and returns what the broker says.
    pub fn publish_acked(&mut self, topic: &str, payload: &str) -> ReasonCode {
        self.publish(Publish { topic, payload: payload.as_bytes(), qos: 1, ..Publish::default() });
        match self.wait(|incoming| matches!(incoming, Incoming::PubAck(_))) {
            Incoming::PubAck(code) => code,
            other => panic!("a PUBACK was expected: {other:?}"),
        }
    }

    /// All four packets of a QoS 2 publish.
    pub fn publish_exactly_once(&mut self, topic: &str, payload: &str) {
        self.publish(Publish { topic, payload: payload.as_bytes(), qos: 2, ..Publish::default() });
        let id = match self.wait(|incoming| matches!(incoming, Incoming::PubRec(..))) {
            Incoming::PubRec(id, _) => id,
            other => panic!("a PUBREC was expected: {other:?}"),
        };
        self.pubrel(id);
        self.wait(|incoming| *incoming == Incoming::PubComp(id));
    }

    pub fn subscribe(&mut self, filter: &str, options: SubscribeOptions) -> ReasonCode {
        self.try_subscribe(filter, options).expect("a SUBACK, but the broker closed the connection")
    }

    /// The same where the broker may have closed the connection.
    pub fn try_subscribe(&mut self, filter: &str, options: SubscribeOptions) -> Option<ReasonCode> {
        let packet_id = self.next_id();
        let filters = [(filter, options)];
        let subscribe = packet::Subscribe {
            packet_id,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: SubscribeFilters::from_list(&filters),
        };
        self.try_send(&Packet::Subscribe(subscribe)).ok()?;
        match self.try_wait(|incoming| matches!(incoming, Incoming::SubAck(_)))? {
            Incoming::SubAck(codes) => codes.first().copied(),
            other => panic!("a SUBACK was expected: {other:?}"),
        }
    }

    /// Answers what wants an answer, with an error if it may.
    pub fn try_answer(&mut self, incoming: &Incoming, refuse: bool) -> io::Result<()> {
        let code = if refuse { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
        match *incoming {
            Incoming::Publish(Message { id: Some(id), qos: 1, .. }) => self.try_send(&Packet::PubAck(ack(id, code))),
            Incoming::Publish(Message { id: Some(id), .. }) => self.try_send(&Packet::PubRec(ack(id, code))),
            Incoming::PubRec(id, ReasonCode::Success | ReasonCode::NoMatchingSubscribers) => {
                self.try_send(&Packet::PubRel(ack(id, ReasonCode::Success)))
            }
            Incoming::PubRel(id) => self.try_send(&Packet::PubComp(ack(id, ReasonCode::Success))),
            _ => Ok(()),
        }
    }

    pub fn puback(&mut self, id: PacketId, code: ReasonCode) {
        self.send(&Packet::PubAck(ack(id, code)));
    }

    pub fn pubrec(&mut self, id: PacketId, code: ReasonCode) {
        self.send(&Packet::PubRec(ack(id, code)));
    }

    pub fn pubrel(&mut self, id: PacketId) {
        self.send(&Packet::PubRel(ack(id, ReasonCode::Success)));
    }

    pub fn pubcomp(&mut self, id: PacketId) {
        self.send(&Packet::PubComp(ack(id, ReasonCode::Success)));
    }

    /// The next message; acknowledged to its end.
    pub fn take(&mut self) -> String {
        self.take_message().payload
    }

    /// The same with all that it says of itself.
    pub fn take_message(&mut self) -> Message {
        let message = self.message();
        match (message.qos, message.id) {
            (1, Some(id)) => self.puback(id, ReasonCode::Success),
            (2, Some(id)) => {
                self.pubrec(id, ReasonCode::Success);
                self.wait(|incoming| *incoming == Incoming::PubRel(id));
                self.pubcomp(id);
            }
            _ => {}
        }
        message
    }

    fn message(&mut self) -> Message {
        match self.wait(|incoming| matches!(incoming, Incoming::Publish(_))) {
            Incoming::Publish(message) => message,
            other => panic!("a PUBLISH was expected: {other:?}"),
        }
    }

    /// The next message's packet id; not acknowledged.
    pub fn take_id(&mut self) -> PacketId {
        self.message().id.expect("QoS 1 or 2")
    }

    pub fn next(&mut self) -> Incoming {
        self.next_or_close().expect("a packet, but the broker closed the connection")
    }

    pub fn next_or_close(&mut self) -> Option<Incoming> {
        self.early.pop_front().or_else(|| self.next_as(Incoming::from))
    }

    /// The next packet of its kind; what comes before it stays for the next look.
    fn wait(&mut self, is: impl Fn(&Incoming) -> bool) -> Incoming {
        self.try_wait(is).expect("a packet, but the broker closed the connection")
    }

    fn try_wait(&mut self, is: impl Fn(&Incoming) -> bool) -> Option<Incoming> {
        if let Some(at) = self.early.iter().position(&is) {
            return self.early.remove(at);
        }
        loop {
            let incoming = self.next_as(Incoming::from)?;
            if is(&incoming) {
                return Some(incoming);
            }
            self.early.push_back(incoming);
        }
    }

    /// What has come by now, without waiting.
    pub fn at_hand(&mut self) -> Vec<Incoming> {
        self.stream.set_nonblocking(true).expect("a look without waiting");
        let mut chunk = vec![0; 64 * 1024];
        // An end of the connection shows when something is waited for.
        while let Ok(n @ 1..) = self.stream.read(&mut chunk) {
            self.inbox.extend_from_slice(&chunk[..n]);
        }
        self.stream.set_nonblocking(false).expect("waiting again");
        while let Some(incoming) = self.decode(Incoming::from) {
            self.early.push_back(incoming);
        }
        self.early.drain(..).collect()
    }

    /// Says goodbye and waits until the broker has let go.
    pub fn leave(mut self) {
        self.send(&Packet::Disconnect(Disconnect::default()));
        while self.next_or_close().is_some() {}
    }

    /// Ends the connection as a broken network does.
    pub fn vanish(self) {
        drop(self);
    }

    fn next_id(&mut self) -> PacketId {
        self.last_id += 1;
        NonZeroU16::new(self.last_id).expect("fewer than 65,536 packets")
    }

    fn decode<R>(&mut self, read: impl FnOnce(&Packet<'_>) -> R) -> Option<R> {
        let decoder = Decoder { version: V5, sender: Sender::Server, maximum_packet_size: u32::MAX, connected: true };
        match decoder.decode(&self.inbox).expect("MQTT") {
            Decoded::Incomplete { .. } => None,
            Decoded::Packet { packet, len } => {
                let result = read(&packet);
                self.inbox.drain(..len);
                Some(result)
            }
        }
    }

    fn next_as<R>(&mut self, read: impl FnOnce(&Packet<'_>) -> R) -> Option<R> {
        let mut read = Some(read);
        loop {
            let result = self.decode(|packet| read.take().map(|read| read(packet)));
            if let Some(result) = result.flatten() {
                return Some(result);
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }
}

fn ack(packet_id: PacketId, reason_code: ReasonCode) -> Ack<'static> {
    Ack { packet_id, reason_code, reason_string: None, user_properties: UserProperties::default() }
}

impl<'a> Connect<'a> {
    fn packet(&self) -> packet::Connect<'a> {
        packet::Connect {
            version: V5,
            bridge: false,
            clean_start: !self.resume,
            keep_alive: 0,
            properties: ConnectProperties {
                session_expiry_interval: Some(self.session_expiry),
                receive_maximum: self.receive_maximum.and_then(NonZeroU16::new),
                maximum_packet_size: self.maximum_packet_size.and_then(NonZeroU32::new),
                ..ConnectProperties::default()
            },
            client_id: self.client_id,
            will: self.will.map(|(topic, payload)| packet::Will {
                qos: QoS::AtLeastOnce,
                retain: false,
                topic,
                payload: payload.as_bytes(),
                will_delay_interval: 0,
                properties: PublishProperties::default(),
            }),
            user_name: self.user_name,
            password: self.user_name.map(str::as_bytes),
        }
    }
}

impl Incoming {
    fn from(packet: &Packet<'_>) -> Incoming {
        match packet {
            Packet::Publish(publish) => Incoming::Publish(Message {
                topic: publish.topic.into(),
                payload: String::from_utf8_lossy(publish.payload).into_owned(),
                qos: publish.qos as u8,
                retain: publish.retain,
                id: publish.packet_id,
            }),
            Packet::PubAck(ack) => Incoming::PubAck(ack.reason_code),
            Packet::PubRec(ack) => Incoming::PubRec(ack.packet_id, ack.reason_code),
            Packet::PubRel(ack) => Incoming::PubRel(ack.packet_id),
            Packet::PubComp(ack) => Incoming::PubComp(ack.packet_id),
            Packet::SubAck(suback) => Incoming::SubAck(suback.reason_codes.iter().collect()),
            Packet::Disconnect(disconnect) => Incoming::Disconnect(disconnect.reason_code),
            _ => Incoming::Other,
        }
    }
}
