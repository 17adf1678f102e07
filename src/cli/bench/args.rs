//! The options of `midge bench`, and the plan that they make.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum, value_parser};
use midge::bench::{
    Amount, Flow, Generator, Messages, PUBLISHERS_MAX, Plan, STAMP_BYTES, Scenario, Target, TlsClient, Transport,
    Wildcard,
};
use midge::packet::{ProtocolVersion, QoS};

/// Most clients of a kind; each is a task and an open file.
const CLIENTS_MAX: i64 = 1_000_000;
/// What a PUBLISH packet can hold, less a topic.
const SIZE_MAX: i64 = 268_000_000;
/// Seconds that a message can be asked to take, or a run.
const SECONDS_MAX: f64 = 1e6;
/// Messages a second.
const RATE_MAX: f64 = 1e8;
/// So many digits stand in the topics of retained messages.
const RETAINED_MAX: u64 = 100_000_000;
const MESSAGES_MAX: u64 = 1 << 40;

#[derive(Debug, Subcommand)]
pub(super) enum ScenarioArgs {
    /// Every message goes to every subscriber
    Fanout(FanoutArgs),
    /// Many publishers; all subscribers get all messages, or share them
    Fanin(FaninArgs),
    /// Point to point: pairs of a publisher and a subscriber
    Pairs(PairsArgs),
    /// How long messages take at a fixed rate
    Latency(LatencyArgs),
    /// How fast clients get in, the memory they take, and a round of pings
    Connect(ConnectArgs),
    /// Messages that are kept for those who subscribe later: stored, then replayed
    Retained(RetainedArgs),
    /// Messages for subscribers that are away, and their return
    Offline(OfflineArgs),
}

#[derive(Debug, Args)]
pub(super) struct FanoutArgs {
    /// Publishers, all on one topic
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    publishers: u32,
    /// Subscribers
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clients())]
    subscribers: u32,
    #[command(flatten)]
    flow: FlowArgs,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct FaninArgs {
    /// Publishers, each on a topic of its own
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clients())]
    publishers: u32,
    /// Subscribers to all these topics
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    subscribers: u32,
    /// The subscribers share one subscription ($share): each message goes to one of them
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    flow: FlowArgs,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct PairsArgs {
    /// Pairs, each on a topic of its own
    #[arg(short = 'N', long, value_name = "N", default_value_t = 10, value_parser = clients())]
    pairs: u32,
    /// Subscribe with a wildcard rather than to the topic
    #[arg(long, value_name = "KIND")]
    wildcard: Option<WildcardArg>,
    #[command(flatten)]
    flow: FlowArgs,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct LatencyArgs {
    /// Pairs of a publisher and a subscriber
    #[arg(short = 'N', long, value_name = "N", default_value_t = 10, value_parser = clients())]
    pairs: u32,
    /// Messages a second, of all pairs together
    #[arg(short, long, value_name = "RATE", default_value_t = 1000.0, value_parser = rate)]
    rate: f64,
    /// Seconds that are measured
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    duration: Duration,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    warmup: Duration,
    /// Look at the clock all the time instead of sleeping between messages: a CPU for less send lag
    #[arg(long)]
    spin: bool,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// Clients. Beyond 12,000 to 127.0.0.1, they come from 127.0.0.2 and so on
    #[arg(short, long, value_name = "N", default_value_t = 1000, value_parser = clients())]
    clients: u32,
    /// Connections begun a second; as many as go if not given
    #[arg(short, long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// Each client subscribes to a topic of its own
    #[arg(long)]
    subscribe: bool,
    /// Sessions that outlive their connections (an hour in MQTT 5); they are ended after the run
    #[arg(long)]
    lasting: bool,
    /// Seconds before memory is looked at
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    settle: Duration,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct RetainedArgs {
    /// Messages, each on a topic of its own; at most 100,000,000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=RETAINED_MAX))]
    messages: u64,
    /// Subscribers that get all of them
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    subscribers: u32,
    /// Seconds between the last message and the first subscription
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    settle: Duration,
    /// QoS of the publisher and of subscribers
    #[arg(short, long, value_name = "QOS", default_value_t = 1, value_parser = value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Bytes of a payload, 16 at least: they say which message it is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size())]
    size: u32,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct OfflineArgs {
    /// Publishers
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    publishers: u32,
    /// Subscribers that are away
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clients())]
    subscribers: u32,
    /// Messages; each subscriber is due all of them
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    messages: u64,
    /// Seconds between the last message and the return
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    settle: Duration,
    /// QoS of publishers and subscribers
    #[arg(short, long, value_name = "QOS", default_value_t = 1, value_parser = value_parser!(u8).range(1..=2))]
    qos: u8,
    /// Bytes of a payload, 16 at least: they say which message it is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size())]
    size: u32,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WildcardArg {
    /// + for a level of the topic
    Plus,
    /// # for the last level
    Hash,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Load")]
struct FlowArgs {
    /// Send so many messages, of all publishers together, instead of sending for --duration
    #[arg(short = 'n', long, value_name = "N", conflicts_with_all = ["duration", "warmup"], value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    messages: Option<u64>,
    /// Seconds that are measured
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    duration: Duration,
    /// Seconds of load before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    warmup: Duration,
    /// Messages that may be sent without the slowest subscriber having got them. 1000 if not given; for each pair 8000 by
    /// the number of pairs, 4 at least and 1000 at most
    #[arg(short, long, value_name = "N", value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    window: Option<u64>,
    /// The window opens when so many messages fit into it; a quarter of it if not given
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    batch: Option<u64>,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Messages")]
struct MessageArgs {
    /// QoS of publishers, and of subscribers
    #[arg(short, long, value_name = "QOS", default_value_t = 0, value_parser = value_parser!(u8).range(0..=2))]
    qos: u8,
    /// QoS of subscribers, where it is another
    #[arg(long, value_name = "QOS", value_parser = value_parser!(u8).range(0..=2))]
    sub_qos: Option<u8>,
    /// Bytes of a payload, 16 at least: they say which message it is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size())]
    size: u32,
}

#[derive(Debug, Args)]
struct CommonArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    generator: GeneratorArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Broker")]
#[command(group = ArgGroup::new("version").args(["v31", "v3", "v5"]))]
#[command(group = ArgGroup::new("trust").args(["ca", "insecure"]))]
struct TargetArgs {
    /// Name or address; of several addresses, the first that answers
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// If not given: 1883, 8883 with --tls, 8083 with --ws, 8084 with both
    #[arg(long, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Speak MQTT 3.1
    #[arg(long)]
    v31: bool,
    /// Speak MQTT 3.1.1; what is spoken when nothing is said
    #[arg(long)]
    v3: bool,
    /// Speak MQTT 5.0
    #[arg(long)]
    v5: bool,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Password
    #[arg(short = 'P', long, value_name = "PASSWORD", requires = "user")]
    password: Option<String>,
    /// TLS 1.2 or 1.3; needs --ca or --insecure
    #[arg(long, requires = "trust")]
    tls: bool,
    /// With --tls: PEM file of the authorities to believe
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// With --tls: believe any certificate
    #[arg(long, requires = "tls")]
    insecure: bool,
    /// With --tls: PEM file of a client certificate to show
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    cert: Option<PathBuf>,
    /// With --cert: PEM file of its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// WebSocket, at this path
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/mqtt")]
    ws: Option<String>,
    /// The broker's process, whose CPU and memory are told with those of its children. If not given, the one that listens at
    /// the port, when that is on this machine
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Generator")]
struct GeneratorArgs {
    /// Threads that run the clients
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Messages at QoS 1 and 2 that a publisher sends without their acknowledgement; a broker's receive maximum lowers it
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u16).range(1..))]
    inflight: u16,
    /// Connections that are under way at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Seconds of keep alive; 0 for none. Clients do not ping by themselves: it has to be longer than the run
    #[arg(long, value_name = "SECONDS", default_value_t = u16::MAX)]
    keep_alive: u16,
    /// Receive maximum that clients ask for in MQTT 5; nothing is asked if not given
    #[arg(long, value_name = "N")]
    receive_max: Option<NonZeroU16>,
    /// Seconds without anything happening after which a run is over
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    stall: Duration,
    /// Seconds after which a run is over in any case, beyond --warmup and --duration
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    max_time: Duration,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// One JSON object instead of the table
    #[arg(long)]
    pub(super) json: bool,
    /// No progress line on standard error
    #[arg(long)]
    pub(super) quiet: bool,
}

fn clients() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=CLIENTS_MAX.min(PUBLISHERS_MAX.into()))
}

fn size() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(STAMP_BYTES as i64..=SIZE_MAX)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, such as 5 or 0.5".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| format!("expected a number a second, from 0.001 to {RATE_MAX}"))
}

impl ScenarioArgs {
    pub(super) fn output(&self) -> OutputArgs {
        self.common().output
    }

    fn common(&self) -> &CommonArgs {
        match self {
            ScenarioArgs::Fanout(args) => &args.common,
            ScenarioArgs::Fanin(args) => &args.common,
            ScenarioArgs::Pairs(args) => &args.common,
            ScenarioArgs::Latency(args) => &args.common,
            ScenarioArgs::Connect(args) => &args.common,
            ScenarioArgs::Retained(args) => &args.common,
            ScenarioArgs::Offline(args) => &args.common,
        }
    }

    pub(super) fn plan(&self) -> Plan {
        let CommonArgs { target, generator, .. } = self.common();
        Plan {
            target: target.target(),
            scenario: self.scenario(),
            messages: self.messages(),
            generator: Generator { batch: self.batch(), ..generator.generator(self.planned()) },
        }
    }

    /// How long the load itself takes, where that is known.
    fn planned(&self) -> Duration {
        let flow = match self {
            ScenarioArgs::Fanout(args) => args.flow,
            ScenarioArgs::Fanin(args) => args.flow,
            ScenarioArgs::Pairs(args) => args.flow,
            ScenarioArgs::Latency(args) => return args.warmup + args.duration,
            _ => return Duration::ZERO,
        };
        if flow.messages.is_some() { Duration::ZERO } else { flow.warmup + flow.duration }
    }

    fn batch(&self) -> Option<u64> {
        match self {
            ScenarioArgs::Fanout(args) => args.flow.batch,
            ScenarioArgs::Fanin(args) => args.flow.batch,
            ScenarioArgs::Pairs(args) => args.flow.batch,
            _ => None,
        }
    }

    fn messages(&self) -> Messages {
        match self {
            ScenarioArgs::Fanout(FanoutArgs { message, .. })
            | ScenarioArgs::Fanin(FaninArgs { message, .. })
            | ScenarioArgs::Pairs(PairsArgs { message, .. })
            | ScenarioArgs::Latency(LatencyArgs { message, .. }) => {
                messages(message.qos, message.sub_qos.unwrap_or(message.qos), message.size)
            }
            ScenarioArgs::Retained(RetainedArgs { qos, size, .. })
            | ScenarioArgs::Offline(OfflineArgs { qos, size, .. }) => messages(*qos, *qos, *size),
            ScenarioArgs::Connect(_) => messages(0, 0, STAMP_BYTES as u32),
        }
    }

    fn scenario(&self) -> Scenario {
        match self {
            ScenarioArgs::Fanout(args) => {
                Scenario::Fanout { publishers: args.publishers, subscribers: args.subscribers, flow: args.flow.flow() }
            }
            ScenarioArgs::Fanin(args) => Scenario::Fanin {
                publishers: args.publishers,
                subscribers: args.subscribers,
                is_shared: args.shared,
                flow: args.flow.flow(),
            },
            ScenarioArgs::Pairs(args) => Scenario::Pairs {
                pairs: args.pairs,
                wildcard: args.wildcard.map(|wildcard| match wildcard {
                    WildcardArg::Plus => Wildcard::Plus,
                    WildcardArg::Hash => Wildcard::Hash,
                }),
                flow: args.flow.flow(),
            },
            ScenarioArgs::Latency(args) => Scenario::Latency {
                pairs: args.pairs,
                rate: args.rate,
                duration: args.duration,
                warmup: args.warmup,
                is_spinning: args.spin,
            },
            ScenarioArgs::Connect(args) => Scenario::Connect {
                clients: args.clients,
                rate: args.rate,
                subscribes: args.subscribe,
                is_lasting: args.lasting,
                settle: args.settle,
            },
            ScenarioArgs::Retained(args) => {
                Scenario::Retained { count: args.messages, subscribers: args.subscribers, settle: args.settle }
            }
            ScenarioArgs::Offline(args) => Scenario::Offline {
                publishers: args.publishers,
                subscribers: args.subscribers,
                count: args.messages,
                settle: args.settle,
            },
        }
    }
}

fn messages(qos: u8, subscription_qos: u8, size: u32) -> Messages {
    let [qos, subscription_qos] = [qos, subscription_qos].map(|qos| QoS::from_bits(qos).unwrap_or_default());
    Messages { qos, subscription_qos, payload_bytes: size as usize }
}

impl FlowArgs {
    fn flow(&self) -> Flow {
        let amount = match self.messages {
            Some(messages) => Amount::Messages(messages),
            None => Amount::Time { warmup: self.warmup, measured: self.duration },
        };
        Flow { amount, window: self.window }
    }
}

impl TargetArgs {
    fn target(&self) -> Target {
        let tls = self
            .tls
            .then(|| TlsClient { authorities: self.ca.clone(), certificate: self.cert.clone().zip(self.key.clone()) });
        let default_port = match (self.tls, self.ws.is_some()) {
            (false, false) => 1883,
            (true, false) => 8883,
            (false, true) => 8083,
            (true, true) => 8084,
        };
        let version = match (self.v31, self.v5) {
            (true, _) => ProtocolVersion::V3,
            (_, true) => ProtocolVersion::V5,
            _ => ProtocolVersion::V4,
        };
        Target {
            host: self.host.clone(),
            port: self.port.unwrap_or(default_port),
            transport: Transport { tls, websocket: self.ws.clone() },
            version,
            user_name: self.user.clone(),
            password: self.password.clone(),
            broker_pid: self.broker_pid,
        }
    }
}

impl GeneratorArgs {
    fn generator(&self, planned: Duration) -> Generator {
        Generator {
            threads: self.threads.into(),
            inflight_max: self.inflight,
            batch: None,
            connecting_max: self.concurrency.into(),
            keep_alive: self.keep_alive,
            receive_maximum: self.receive_max,
            stall: self.stall,
            time_max: self.max_time + planned,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        scenario: ScenarioArgs,
    }

    fn plan(line: &str) -> Plan {
        let words = ["bench"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).scenario.plan()
    }

    #[test]
    fn the_port_follows_the_transport() {
        for (options, port) in [
            ("", 1883),
            ("--tls --insecure", 8883),
            ("--ws", 8083),
            ("--ws /x --tls --ca ca.pem", 8084),
            ("--ws --port 9001", 9001),
        ] {
            assert_eq!(plan(&format!("pairs {options}")).target.port, port, "{options}");
        }
        assert_eq!(plan("pairs --ws --v5").target.transport.websocket.as_deref(), Some("/mqtt"));
    }

    #[test]
    fn a_run_that_is_asked_to_take_long_may() {
        for (line, seconds) in [
            ("pairs", 186),
            ("pairs -d 1000 --warmup 0", 1180),
            ("latency -d 60 --max-time 10", 71),
            ("fanout -n 10 --max-time 10", 10),
            ("offline", 180),
        ] {
            assert_eq!(plan(line).generator.time_max, Duration::from_secs(seconds), "{line}");
        }
    }

    #[test]
    fn versions_and_qos_are_what_was_typed() {
        let versions = ["--v31", "--v3", "--v5", ""].map(|version| plan(&format!("fanin {version}")).target.version);
        assert_eq!(versions, [ProtocolVersion::V3, ProtocolVersion::V4, ProtocolVersion::V5, ProtocolVersion::V4]);
        for (line, qos, subscription_qos) in [
            ("fanout", QoS::AtMostOnce, QoS::AtMostOnce),
            ("fanout -q 2", QoS::ExactlyOnce, QoS::ExactlyOnce),
            ("fanout -q 2 --sub-qos 1", QoS::ExactlyOnce, QoS::AtLeastOnce),
            ("retained", QoS::AtLeastOnce, QoS::AtLeastOnce),
        ] {
            let messages = plan(line).messages;
            assert_eq!((messages.qos, messages.subscription_qos), (qos, subscription_qos), "{line}");
        }
    }
}
