//! mosquitto_pub and mosquitto_sub as one client: a process for each publish, and one for each subscription.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::broker::{Broker, Transport};
use crate::peer::{Message, Peer, Version};
use crate::program::{Program, unhex};

/// How mosquitto_sub writes a message: like the events of our own scripts.
const EVENT: &str = r#"{"event":"message","topic":"%t","payload":"%x","qos":%q,"retain":%r}"#;

pub struct Mosquitto {
    /// Options that say where the broker is.
    broker: Vec<OsString>,
    id: String,
    subscriber: Option<Program>,
}

impl Mosquitto {
    pub fn new(version: Version, broker: &Broker, transport: Transport, id: &str) -> Self {
        Self { broker: options(version, broker, transport), id: id.to_owned(), subscriber: None }
    }
}

/// The options of all mosquitto's clients for protocol, host, port and TLS.
pub fn options(version: Version, broker: &Broker, transport: Transport) -> Vec<OsString> {
    let address = broker.address(transport);
    let version = ["mqttv31", "mqttv311", "mqttv5"][version as usize - 3];
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut options: Vec<OsString> = ["-V", version, "-h", &host, "-p", &port].map(OsString::from).into();
    match transport {
        Transport::Tcp => {}
        Transport::Tls => options.extend(["--cafile".into(), broker.ca().into()]),
        Transport::WebSocket | Transport::SecureWebSocket => panic!("mosquitto's clients do not speak WebSocket"),
    }
    options
}

/// Starts mosquitto_sub and waits until its subscriptions are granted.
pub fn subscribe(options: &[OsString], more: &[&str]) -> Program {
    // Its debug messages are the only ones that tell of SUBACK; a pipe would keep them back without stdbuf.
    let mut program: Vec<OsString> = ["stdbuf", "-oL", "mosquitto_sub", "-d", "-F", EVENT].map(OsString::from).into();
    program.extend(options.iter().cloned());
    program.extend(more.iter().map(OsString::from));
    let mut program = Program::kept(&program);
    program.expect("Subscribed", |line| line.starts_with("Subscribed (mid").then_some(()));
    program
}

/// Runs mosquitto_pub to its end.
pub fn publish(options: &[OsString], more: &[&str]) {
    run("mosquitto_pub", options, more, &[]);
}

/// Runs one of mosquitto's clients to its end and returns what it wrote.
pub fn run(program: &str, options: &[OsString], more: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(options)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start ({error}): ./test installs it"));
    child.stdin.take().expect("piped").write_all(input).expect("it reads its input");
    let output = child.wait_with_output().expect("a child of ours");
    assert!(output.status.success(), "{program} {more:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The next message of a running mosquitto_sub.
pub fn message(program: &mut Program) -> Message {
    message_of(&program.event("message"))
}

/// A message out of an event.
pub fn message_of(event: &Value) -> Message {
    let text = |key: &str| event[key].as_str().unwrap_or_else(|| panic!("{key} in {event}")).to_owned();
    // A boolean of our scripts, a number of mosquitto_sub.
    let retain = event["retain"].as_bool().unwrap_or(event["retain"] == 1);
    let qos = event["qos"].as_u64().and_then(|qos| u8::try_from(qos).ok()).unwrap_or_else(|| panic!("qos in {event}"));
    Message { topic: text("topic"), payload: unhex(&text("payload")), qos, retain }
}

impl Peer for Mosquitto {
    fn subscribe(&mut self, filter: &str, qos: u8) {
        assert!(self.subscriber.is_none(), "one mosquitto_sub for one filter");
        let qos = qos.to_string();
        self.subscriber = Some(subscribe(&self.broker, &["-i", &format!("{}-sub", self.id), "-t", filter, "-q", &qos]));
    }

    fn publish(&mut self, message: &Message) {
        // Each process under a name of its own: at QoS 0 it is gone before the broker has read its message, and a successor of
        // the same name would take over the connection with what is unread.
        let qos = message.qos.to_string();
        let mut more = vec!["-t", &message.topic, "-q", &qos, "-s"];
        if message.payload.is_empty() {
            *more.last_mut().expect("not empty") = "-n";
        }
        if message.retain {
            more.push("-r");
        }
        run("mosquitto_pub", &self.broker, &more, &message.payload);
    }

    fn receive(&mut self) -> Message {
        message(self.subscriber.as_mut().expect("a subscription"))
    }
}
