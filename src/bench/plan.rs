//! What is to be measured, and how the clients behave meanwhile.

use std::num::NonZeroU16;
use std::time::Duration;

use super::transport::Transport;
use crate::packet::{ProtocolVersion, QoS};

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    pub scenario: Scenario,
    pub messages: Messages,
    pub generator: Generator,
}

/// The broker, and how to reach it.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub transport: Transport,
    pub version: ProtocolVersion,
    pub user_name: Option<String>,
    pub password: Option<String>,
    /// The broker's process, whose CPU and memory are told; `None` looks for it when the broker is on this machine.
    pub broker_pid: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// Of publishers.
    pub qos: QoS,
    /// Of subscriptions.
    pub subscription_qos: QoS,
    /// [`super::STAMP_BYTES`] at least.
    pub payload_bytes: usize,
}

/// How the clients are run.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    pub threads: usize,
    /// Messages at QoS 1 and 2 that wait for their acknowledgement, for each publisher.
    pub inflight_max: u16,
    /// A window opens when so many messages fit into it; `None` for a quarter of the window.
    pub batch: Option<u64>,
    /// Connections under way at a time.
    pub connecting_max: usize,
    /// Seconds.
    pub keep_alive: u16,
    /// What MQTT 5.0 clients ask for; `None` says nothing.
    pub receive_maximum: Option<NonZeroU16>,
    /// A run without any progress for so long is over.
    pub stall: Duration,
    /// Every run is over after this.
    pub time_max: Duration,
}

#[derive(Clone, Debug)]
pub enum Scenario {
    /// Every message goes to every subscriber.
    Fanout { publishers: u32, subscribers: u32, flow: Flow },
    /// Many publishers; all subscribers get all messages, or share them.
    Fanin { publishers: u32, subscribers: u32, is_shared: bool, flow: Flow },
    /// Pairs of a publisher and a subscriber.
    Pairs { pairs: u32, wildcard: Option<Wildcard>, flow: Flow },
    /// Pairs at a fixed rate of messages a second in all.
    Latency { pairs: u32, rate: f64, duration: Duration, warmup: Duration, is_spinning: bool },
    /// Clients that connect, stay a while, and are asked whether they are alive.
    Connect { clients: u32, rate: Option<f64>, subscribes: bool, is_lasting: bool, settle: Duration },
    /// Messages that are kept for those who subscribe later.
    Retained { count: u64, subscribers: u32, settle: Duration },
    /// So many subscriptions that each message matches `matches` of them; how the cost of finding those grows.
    Trie { publishers: u32, subscriptions: u64, connections: u32, matches: u32, plus: f64, hash: f64, flow: Flow },
    /// Clients that connect, subscribe, send themselves a message, get it and leave, again and again.
    Churn { clients: u32, duration: Duration },
    /// Sessions whose clients are absent collect messages, and get them later.
    Offline { publishers: u32, subscribers: u32, count: u64, settle: Duration },
}

impl Scenario {
    pub fn name(&self) -> &'static str {
        match self {
            Scenario::Fanout { .. } => "fanout",
            Scenario::Fanin { .. } => "fanin",
            Scenario::Pairs { .. } => "pairs",
            Scenario::Latency { .. } => "latency",
            Scenario::Connect { .. } => "connect",
            Scenario::Retained { .. } => "retained",
            Scenario::Offline { .. } => "offline",
            Scenario::Trie { .. } => "trie",
            Scenario::Churn { .. } => "churn",
        }
    }
}

/// What pairs subscribe to instead of their topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wildcard {
    Plus,
    Hash,
}

/// A closed loop: publishers send as long as the window is open.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// All clients have sessions that outlive their connections, which are ended after the run.
    pub is_lasting: bool,
    pub amount: Amount,
    /// Messages that may be under way to the slowest subscriber; `None` for the scenario's own.
    pub window: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// So many messages, by all publishers together.
    Messages(u64),
    /// As many as there is time for.
    Time { warmup: Duration, measured: Duration },
}
