//! What the tests ask of every client, whatever it is written in.

use crate::broker::{Broker, Transport};
use crate::mosquitto::Mosquitto;
use crate::rust::{RumqttcV4, RumqttcV5};
use crate::script::Script;

/// The revision of the protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V3 = 3,
    V4 = 4,
    V5 = 5,
}

/// A message, sent or received.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
}

impl Message {
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>, qos: u8) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos, retain: false }
    }

    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }
}

/// A connected client.
pub trait Peer: Send {
    /// Returns once the subscription is granted.
    fn subscribe(&mut self, filter: &str, qos: u8);
    /// Returns once the exchange that the QoS asks for is complete.
    fn publish(&mut self, message: &Message);
    /// The next message.
    fn receive(&mut self) -> Message;
}

/// The clients there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// C: mosquitto_pub and mosquitto_sub.
    Mosquitto,
    /// Python.
    Paho,
    /// JavaScript.
    MqttJs,
    /// Rust.
    Rumqttc,
}

/// Connects a client.
pub fn connect(kind: Kind, version: Version, broker: &Broker, transport: Transport, id: &str) -> Box<dyn Peer> {
    match (kind, version) {
        (Kind::Mosquitto, _) => Box::new(Mosquitto::new(version, broker, transport, id)),
        (Kind::Paho | Kind::MqttJs, _) => Box::new(Script::connected(kind, version, broker, transport, id)),
        (Kind::Rumqttc, Version::V4) => Box::new(RumqttcV4::connect(broker, transport, id)),
        (Kind::Rumqttc, Version::V5) => Box::new(RumqttcV5::connect(broker, transport, id)),
        (Kind::Rumqttc, Version::V3) => panic!("rumqttc does not speak MQTT 3.1"),
    }
}
