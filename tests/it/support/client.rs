//! A scripted client: sends exact bytes, and says what has to come back and until when.
//!
//! Every wait is for something that has to happen, with a deadline only for the case that it does not. That nothing comes is
//! shown by something that must come later: [`Client::expect_nothing`], [`Client::expect_only_pong`].

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::received::{Ack, ConnAck, Disconnect, Frame, Publish, SubAck};
use super::wire::{self, Version};

/// A connection to the broker under test.
pub struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// PUBLISH packets that came before an answer that was waited for.
    early: VecDeque<Frame>,
    /// How long an expectation may take.
    patience: Duration,
    pub version: Version,
    /// Topic that only this client uses, for the message behind which nothing may hide.
    marker: String,
}

impl Client {
    pub fn open(broker: SocketAddr, version: Version, patience: Duration, marker: String) -> Self {
        let stream = TcpStream::connect_timeout(&broker, patience).expect("the broker accepts connections");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(patience)).expect("write timeout");
        Self { stream, inbox: Vec::new(), early: VecDeque::new(), patience, version, marker }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the broker reads");
    }

    /// Sends what the broker may refuse to read to its end: it may close in the middle.
    pub fn send_refused(&mut self, bytes: &[u8]) {
        // Whether it was read to its end shows in what comes back.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends the same again and again, until the broker does not take any more, or has taken it `times`.
    pub fn send_until_stuck(&mut self, bytes: &[u8], times: usize) {
        self.stream.set_write_timeout(Some(Duration::from_millis(200))).expect("write timeout");
        let stuck = (0..times).any(|_| self.stream.write_all(bytes).is_err());
        assert!(stuck, "the broker took {} bytes from a client that reads no answer", times * bytes.len());
    }

    /// Sends many packets at once, reading the answers meanwhile: neither side has to hold all of them.
    pub fn exchange(&mut self, bytes: &[u8], answers: usize) -> Vec<Frame> {
        let mut writer = self.stream.try_clone().expect("a second handle");
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(bytes).expect("the broker reads"));
            (0..answers).map(|_| self.answer()).collect()
        })
    }

    /// Says that no more will be sent, and reads whatever comes until the broker closes.
    pub fn finish(mut self) {
        // The broker may have closed already.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        while self.next_or_close().is_some() {}
    }

    /// Ends the connection without a DISCONNECT, as a broken network does.
    pub fn vanish(self) {
        drop(self.stream);
    }

    /// Says that no more will be sent, and reads on.
    pub fn half_close(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("still connected");
    }

    /// Ends the connection with a DISCONNECT, and waits until the broker has let go of it.
    pub fn leave(mut self) {
        self.send(wire::disconnect());
        self.expect_closed();
    }

    /// Waits for bytes; `None` once the broker has closed the connection.
    fn read_more(&mut self, until: Instant) -> Option<()> {
        let mut chunk = [0; 65_536];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing came within {:?}; read so far: {:02x?}", self.patience, self.inbox);
            self.stream.set_read_timeout(Some(left)).expect("read timeout");
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(length) => {
                    self.inbox.extend(&chunk[..length]);
                    return Some(());
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("reading from the broker: {error}"),
            }
        }
    }

    /// The next packet, or `None` when the connection is closed instead.
    pub fn next_or_close(&mut self) -> Option<Frame> {
        self.early.pop_front().or_else(|| self.read_frame())
    }

    fn read_frame(&mut self) -> Option<Frame> {
        let until = Instant::now() + self.patience;
        loop {
            if let Some(frame) = Frame::take(&mut self.inbox) {
                return Some(frame);
            }
            if self.read_more(until).is_none() {
                assert!(self.inbox.is_empty(), "closed within a packet: {:02x?}", self.inbox);
                return None;
            }
        }
    }

    /// The next packet.
    pub fn next(&mut self) -> Frame {
        self.next_or_close().expect("a packet, but the broker closed the connection")
    }

    /// The next packet that is no PUBLISH; those may come before an answer, and stay for the next expectation.
    fn answer(&mut self) -> Frame {
        loop {
            let frame = self.read_frame().expect("an answer, but the broker closed the connection");
            if frame.kind() != wire::PUBLISH {
                return frame;
            }
            self.early.push_back(frame);
        }
    }

    /// The next packet is made of exactly these bytes.
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let frame = self.next();
        assert_eq!(frame.bytes(), bytes.as_ref(), "another packet was expected");
    }

    /// The broker closes the connection and has sent nothing more.
    pub fn expect_closed(&mut self) {
        if let Some(frame) = self.next_or_close() {
            panic!("a closed connection was expected, got {frame:02x?}");
        }
    }

    /// What a server does about an error on an accepted connection: MQTT 5.0 names it in a DISCONNECT, MQTT 3 does not.
    pub fn expect_disconnect(&mut self, reasons: &[u8]) {
        if self.version == Version::V5 {
            let disconnect = Disconnect::read(&self.next());
            assert!(reasons.contains(&disconnect.reason), "one of {reasons:02x?} was expected: {disconnect:02x?}");
        }
        // [MQTT-3.14.4-1] [MQTT-3.14.4-2]
        self.expect_closed();
    }

    /// Closed, on MQTT 5.0 with or without a DISCONNECT that says `reason`: where the standard asks for no more.
    pub fn expect_disconnect_or_close(&mut self, reason: u8) {
        if let Some(frame) = self.next_or_close() {
            assert_eq!((self.version, Disconnect::read(&frame).reason), (Version::V5, reason));
            self.expect_closed();
        }
    }

    pub fn connack(&mut self) -> ConnAck {
        ConnAck::read(self.version, &self.next())
    }

    /// CONNACK that accepts; session present is its flag.
    pub fn accepted(&mut self) -> ConnAck {
        let connack = self.connack();
        assert_eq!(connack.code, 0, "refused: {connack:02x?}");
        connack
    }

    pub fn publish(&mut self) -> Publish {
        Publish::read(self.version, &self.next())
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP: the next packet that is no PUBLISH.
    pub fn ack(&mut self, kind: u8) -> Ack {
        let frame = self.answer();
        let ack = Ack::read(self.version, kind, &frame);
        let allowed: &[u8] = match kind {
            wire::PUBACK | wire::PUBREC => &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
            _ => &[0, 0x92],
        };
        // [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
        assert!(allowed.contains(&ack.reason), "no reason code of this packet: {frame:02x?}");
        ack
    }

    pub fn suback(&mut self) -> SubAck {
        let frame = self.answer();
        let suback = SubAck::read(self.version, wire::SUBACK, &frame);
        let known = |code: &u8| match self.version {
            Version::V5 => matches!(code, 0..=2 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2),
            _ => matches!(code, 0..=2 | 0x80),
        };
        // [MQTT-3.9.3-2]
        assert!(suback.codes.iter().all(known), "no code of SUBACK: {suback:02x?}");
        suback
    }

    pub fn unsuback(&mut self) -> SubAck {
        let frame = self.answer();
        let unsuback = SubAck::read(self.version, wire::UNSUBACK, &frame);
        let known = |code: &u8| matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91);
        // [MQTT-3.11.3-2]
        assert!(unsuback.codes.iter().all(known), "no code of UNSUBACK: {unsuback:02x?}");
        unsuback
    }

    /// Subscribes and checks that exactly this QoS was granted.
    pub fn subscribe(&mut self, filter: impl AsRef<str>, qos: u8) {
        self.subscribe_with(filter, qos);
    }

    /// Subscribes with a whole options byte.
    pub fn subscribe_with(&mut self, filter: impl AsRef<str>, options: u8) {
        self.send(wire::Subscribe::new(self.version, 0x5ab).filter(filter.as_ref(), options).bytes());
        let suback = self.suback();
        assert_eq!((suback.id, suback.codes), (0x5ab, vec![options & 3]));
    }

    pub fn unsubscribe(&mut self, filter: impl AsRef<str>) {
        self.send(wire::Unsubscribe::new(self.version, 0x5ac).filter(filter.as_ref()).bytes());
        let unsuback = self.unsuback();
        let codes = if self.version == Version::V5 { vec![0] } else { vec![] };
        assert_eq!((unsuback.id, unsuback.codes), (0x5ac, codes));
    }

    /// Publishes and completes the QoS's exchange: afterwards the broker owns the message.
    pub fn complete(&mut self, publish: wire::Publish, qos: u8) {
        const ID: u16 = 0xc0de;
        self.send(publish.qos(qos, ID).bytes());
        match qos {
            0 => self.ping_behind_publishes(),
            1 => self.expect_success(wire::PUBACK, ID),
            _ => {
                self.expect_success(wire::PUBREC, ID);
                self.send(wire::ack(wire::PUBREL, ID));
                self.expect_success(wire::PUBCOMP, ID);
            }
        }
    }

    /// Publishes at QoS 1 what is not allowed: MQTT 5.0 says so, MQTT 3 has no word for it.
    pub fn complete_denied(&mut self, publish: wire::Publish) {
        self.send(publish.qos(1, 0xdead).bytes());
        assert_eq!(self.ack(wire::PUBACK).reason, if self.version == Version::V5 { 0x87 } else { 0 });
    }

    /// An acknowledgement of packet `id` that says yes; 0x10 (no matching subscribers) is a yes.
    pub fn expect_success(&mut self, kind: u8, id: u16) {
        let ack = self.ack(kind);
        assert_eq!(ack.id, id, "[MQTT-2.2.1-5] {ack:02x?}");
        assert!(matches!(ack.reason, 0 | 0x10), "refused: {ack:02x?}");
    }

    /// Acknowledges a received PUBLISH to its end, whatever its QoS.
    pub fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            0 => {}
            1 => self.send(wire::ack(wire::PUBACK, publish.id)),
            _ => {
                self.send(wire::ack(wire::PUBREC, publish.id));
                self.expect_success(wire::PUBREL, publish.id);
                self.send(wire::ack(wire::PUBCOMP, publish.id));
            }
        }
    }

    /// Receives a PUBLISH, checks topic, payload and QoS, and acknowledges it.
    pub fn receive(&mut self, topic: impl AsRef<str>, payload: impl AsRef<[u8]>, qos: u8) -> Publish {
        let publish = self.publish();
        let got = (publish.topic.as_str(), publish.payload.as_slice(), publish.qos);
        assert_eq!(got, (topic.as_ref(), payload.as_ref(), qos), "{publish:02x?}");
        self.acknowledge(&publish);
        publish
    }

    /// A PINGREQ is answered before anything else arrives.
    pub fn ping(&mut self) {
        self.send(wire::PINGREQ);
        self.expect(wire::PINGRESP);
    }

    /// A PINGREQ is answered, whatever messages arrive before; they stay for the next expectation.
    pub fn ping_behind_publishes(&mut self) {
        self.send(wire::PINGREQ);
        assert_eq!(self.answer().bytes(), wire::PINGRESP);
    }

    /// Nothing is on its way to this client: a PINGRESP comes next. For clients whose window is full.
    pub fn expect_only_pong(&mut self) {
        self.ping();
    }

    /// Nothing waits for this client: the next message it receives is one that was published after all others.
    pub fn expect_nothing(&mut self) {
        let marker = self.marker.clone();
        self.subscribe(&marker, 0);
        self.send(wire::Publish::new(self.version, &marker, "marker").bytes());
        self.receive(&marker, "marker", 0);
        self.unsubscribe(&marker);
    }
}
