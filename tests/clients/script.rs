//! Clients in Python and JavaScript, told what to do over their standard input.

use std::process::Command;

use serde_json::{Value, json};

use crate::broker::{Broker, Transport};
use crate::mosquitto::message_of;
use crate::peer::{Kind, Message, Peer, Version};
use crate::program::{Program, hex, tool};

pub struct Script {
    pub program: Program,
}

impl Script {
    /// Starts the client's program, which does not connect yet.
    pub fn start(kind: Kind) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/");
        let program = match kind {
            Kind::Paho => {
                Program::scripted(Command::new(tool("venv/bin/python")).arg(format!("{directory}paho_client.py")))
            }
            Kind::MqttJs => Program::scripted(
                Command::new("node")
                    .arg(format!("{directory}mqttjs_client.cjs"))
                    .env("NODE_PATH", tool("node/node_modules")),
            ),
            Kind::Mosquitto | Kind::Rumqttc => panic!("{kind:?} is no script"),
        };
        Self { program }
    }

    /// The words of a CONNECT to this broker; more of them may be added.
    pub fn connect_words(version: Version, broker: &Broker, transport: Transport, id: &str) -> Value {
        let address = broker.address(transport);
        let transport = match transport {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::WebSocket => "ws",
            Transport::SecureWebSocket => "wss",
        };
        let mut words = json!({
            "do": "connect", "host": address.ip().to_string(), "port": address.port(), "id": id,
            "version": version as u8, "transport": transport,
        });
        if matches!(transport, "tls" | "wss") {
            words["ca"] = json!(broker.ca());
        }
        words
    }

    /// Starts the program, connects, and waits for CONNACK.
    pub fn connected(kind: Kind, version: Version, broker: &Broker, transport: Transport, id: &str) -> Self {
        let mut script = Self::start(kind);
        let connack = script.connect(Self::connect_words(version, broker, transport, id));
        assert_eq!(connack["session_present"], false, "{connack}");
        script
    }

    /// Sends CONNECT with these words and returns the event of a CONNACK that accepts.
    pub fn connect(&mut self, words: Value) -> Value {
        self.program.tell(&words);
        let connack = self.program.event("connected");
        assert_eq!(connack["reason"], 0, "{connack}");
        connack
    }

    /// Gives a command and returns the event that ends it.
    pub fn ask(&mut self, command: Value, event: &str) -> Value {
        self.program.tell(&command);
        self.program.event(event)
    }
}

impl Peer for Script {
    fn subscribe(&mut self, filter: &str, qos: u8) {
        let subscribed = self.ask(json!({"do": "subscribe", "filter": filter, "qos": qos}), "subscribed");
        assert_eq!(subscribed["codes"], json!([qos]), "{subscribed}");
    }

    fn publish(&mut self, message: &Message) {
        let Message { topic, payload, qos, retain } = message;
        let words = json!({"do": "publish", "topic": topic, "payload": hex(payload), "qos": qos, "retain": retain});
        let published = self.ask(words, "published");
        assert!(published["reason"].as_u64().is_some_and(|reason| reason < 0x80), "{published}");
    }

    fn receive(&mut self) -> Message {
        message_of(&self.program.event("message"))
    }
}
