//! An MQTT 5 client that sends what it is told and acknowledges only when it is told to.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::{NonZeroU16, NonZeroU32};

use midge::packet::{
    self, Ack, ConnectProperties, Decoded, Decoder, Disconnect, Packet, PacketId, ProtocolVersion, PublishProperties,
    QoS, ReasonCode, Sender, SubscribeFilters, SubscribeOptions, UserProperties,
};

use super::PATIENCE;

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
        let mut bytes = Vec::new();
        packet.encode(V5, &mut bytes);
        self.stream.write_all(&bytes).expect("the broker reads");
    }

    /// Does not wait for an answer.
    pub fn publish(&mut self, publish: Publish<'_>) {
        let packet_id = (publish.qos > 0).then(|| self.next_id());
        let properties = PublishProperties { message_expiry_interval: publish.expiry, ..PublishProperties::default() };
        self.send(&Packet::Publish(packet::Publish {
            dup: false,
            qos: quality(publish.qos),
            retain: publish.retain,
            topic: publish.topic,
            packet_id,
            properties,
            payload: publish.payload,
        }));
    }

    /// Publishes at QoS 1 and returns what the broker says.
    pub fn publish_acked(&mut self, topic: &str, payload: &str) -> ReasonCode {
        self.publish(Publish { topic, payload: payload.as_bytes(), qos: 1, ..Publish::default() });
        match self.wait(|incoming| matches!(incoming, Incoming::PubAck(_))) {
            Incoming::PubAck(code) => code,
            other => panic!("a PUBACK was expected: {other:?}"),
        }
    }

    pub fn subscribe(&mut self, filter: &str, options: SubscribeOptions) -> ReasonCode {
        let packet_id = self.next_id();
        self.send(&Packet::Subscribe(packet::Subscribe {
            packet_id,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: SubscribeFilters::from_list(&[(filter, options)]),
        }));
        match self.wait(|incoming| matches!(incoming, Incoming::SubAck(_))) {
            Incoming::SubAck(codes) => codes[0],
            other => panic!("a SUBACK was expected: {other:?}"),
        }
    }

    pub fn puback(&mut self, id: PacketId, code: ReasonCode) {
        self.send(&Packet::PubAck(ack(id, code)));
    }

    pub fn pubrec(&mut self, id: PacketId, code: ReasonCode) {
        self.send(&Packet::PubRec(ack(id, code)));
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

    pub fn next(&mut self) -> Incoming {
        self.next_or_close().expect("a packet, but the broker closed the connection")
    }

    pub fn next_or_close(&mut self) -> Option<Incoming> {
        self.early.pop_front().or_else(|| self.next_as(Incoming::from))
    }

    /// The next packet of its kind; what comes before it stays for the next look.
    fn wait(&mut self, is: impl Fn(&Incoming) -> bool) -> Incoming {
        if let Some(at) = self.early.iter().position(&is) {
            return self.early.remove(at).expect("a packet that was found");
        }
        loop {
            let incoming = self.next_as(Incoming::from).expect("a packet, but the broker closed the connection");
            if is(&incoming) {
                return incoming;
            }
            self.early.push_back(incoming);
        }
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

    fn next_as<R>(&mut self, read: impl FnOnce(&Packet<'_>) -> R) -> Option<R> {
        let decoder = Decoder { version: V5, sender: Sender::Server, maximum_packet_size: u32::MAX, connected: true };
        loop {
            if let Decoded::Packet { packet, len } = decoder.decode(&self.inbox).expect("MQTT") {
                let result = read(&packet);
                self.inbox.drain(..len);
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
