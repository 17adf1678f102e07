//! The options of `midge bench`.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum, value_parser};
use midge::bench::{PUBLISHERS_MAX, STAMP_BYTES};

/// Most clients of a kind; each is a task and an open file.
const CLIENTS_MAX: i64 = 1_000_000;
/// What a PUBLISH packet can hold, less a topic.
const SIZE_MAX: i64 = 268_000_000;
/// Seconds that a message can be asked to take, or a run.
const SECONDS_MAX: f64 = 1e6;
/// Messages a second.
const RATE_MAX: f64 = 1e8;
/// So many digits stand in topics.
const NUMBERED_MAX: u64 = 100_000_000;
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
    /// Messages that wait for absent subscribers until they come back
    Offline(OfflineArgs),
    /// Many subscriptions of which each message matches a few
    Trie(TrieArgs),
    /// Clients that connect, subscribe, send themselves a message, get it and leave, again and again
    Churn(ChurnArgs),
}

#[derive(Debug, Args)]
pub(super) struct FanoutArgs {
    /// Publishers, all on one topic
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    pub(super) publishers: u32,
    /// Subscribers
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clients())]
    pub(super) subscribers: u32,
    #[command(flatten)]
    pub(super) stream: StreamArgs,
}

#[derive(Debug, Args)]
pub(super) struct FaninArgs {
    /// Publishers, each on a topic of its own
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clients())]
    pub(super) publishers: u32,
    /// Subscribers to all these topics
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    pub(super) subscribers: u32,
    /// The subscribers share one subscription ($share): each message goes to one of them
    #[arg(long)]
    pub(super) shared: bool,
    #[command(flatten)]
    pub(super) stream: StreamArgs,
}

#[derive(Debug, Args)]
pub(super) struct PairsArgs {
    /// Pairs, each on a topic of its own
    #[arg(short = 'N', long, value_name = "N", default_value_t = 10, value_parser = clients())]
    pub(super) pairs: u32,
    /// The wildcard in the subscriptions; none if not given
    #[arg(long, value_name = "KIND")]
    pub(super) wildcard: Option<WildcardArg>,
    #[command(flatten)]
    pub(super) stream: StreamArgs,
}

#[derive(Debug, Args)]
pub(super) struct LatencyArgs {
    /// Pairs of a publisher and a subscriber
    #[arg(short = 'N', long, value_name = "N", default_value_t = 10, value_parser = clients())]
    pub(super) pairs: u32,
    /// Messages a second, of all pairs together
    #[arg(short, long, value_name = "RATE", default_value_t = 1000.0, value_parser = rate)]
    pub(super) rate: f64,
    /// Seconds that are measured
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) duration: Duration,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) warmup: Duration,
    /// Look at the clock all the time instead of sleeping between messages: a CPU for less send lag
    #[arg(long)]
    pub(super) spin: bool,
    #[command(flatten)]
    pub(super) message: MessageArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// Clients. Beyond 20,000 to 127.0.0.1, they come from 127.0.0.2 and so on
    #[arg(short, long, value_name = "N", default_value_t = 1000, value_parser = clients())]
    pub(super) clients: u32,
    /// Connections begun a second; as many as go if not given
    #[arg(short, long, value_name = "RATE", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Every client has a subscription, too
    #[arg(long)]
    pub(super) subscribe: bool,
    /// Sessions that outlive their connections (an hour in MQTT 5); they are ended after the run
    #[arg(long)]
    pub(super) lasting: bool,
    /// Seconds that clients stay before their memory is measured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) settle: Duration,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct RetainedArgs {
    /// Messages, each on a topic of its own; at most 100,000,000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=NUMBERED_MAX))]
    pub(super) messages: u64,
    /// Subscribers that get all of them
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    pub(super) subscribers: u32,
    /// Seconds between the last message and the first subscription
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub(super) settle: Duration,
    /// QoS of the publisher and of subscribers
    #[arg(short, long, value_name = "QOS", default_value_t = 1, value_parser = value_parser!(u8).range(0..=2))]
    pub(super) qos: u8,
    /// Bytes of a payload, 16 at least: they say which message it is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size())]
    pub(super) size: u32,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct OfflineArgs {
    /// Publishers
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    pub(super) publishers: u32,
    /// Subscribers that are absent
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clients())]
    pub(super) subscribers: u32,
    /// Messages; all of them wait for every subscriber
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    pub(super) messages: u64,
    /// Seconds between the last message and the return
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub(super) settle: Duration,
    /// QoS of publishers and subscribers
    #[arg(short, long, value_name = "QOS", default_value_t = 1, value_parser = value_parser!(u8).range(1..=2))]
    pub(super) qos: u8,
    /// Bytes of a payload, 16 at least: they say which message it is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size())]
    pub(super) size: u32,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct TrieArgs {
    /// Subscriptions of all connections; at most 100,000,000
    #[arg(short = 'N', long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=NUMBERED_MAX))]
    pub(super) subscriptions: u64,
    /// Connections that have them, up to a multiple of --matches
    #[arg(short = 'C', long, value_name = "N", default_value_t = 8, value_parser = clients())]
    pub(super) connections: u32,
    /// Subscriptions that each message matches, all on different connections
    #[arg(short = 'K', long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    pub(super) matches: u32,
    /// Publishers, each to all topics
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clients())]
    pub(super) publishers: u32,
    /// The part of the filters that have a +
    #[arg(long, value_name = "PART", default_value_t = 0.2, value_parser = part)]
    pub(super) plus: f64,
    /// The part that end in #
    #[arg(long, value_name = "PART", default_value_t = 0.1, value_parser = part)]
    pub(super) hash: f64,
    #[command(flatten)]
    pub(super) stream: StreamArgs,
}

#[derive(Debug, Args)]
pub(super) struct ChurnArgs {
    /// Clients at a time
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = clients())]
    pub(super) clients: u32,
    /// Seconds that are measured
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) duration: Duration,
    /// QoS of the message, and of the subscription
    #[arg(short, long, value_name = "QOS", default_value_t = 0, value_parser = value_parser!(u8).range(0..=2))]
    pub(super) qos: u8,
    /// Bytes of a payload, 16 at least: they say which message it is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size())]
    pub(super) size: u32,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

/// Of the scenarios whose publishers send as fast as their subscribers read.
#[derive(Debug, Args)]
pub(super) struct StreamArgs {
    #[command(flatten)]
    pub(super) flow: FlowArgs,
    #[command(flatten)]
    pub(super) message: MessageArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum WildcardArg {
    /// + for a level of the topic
    Plus,
    /// # for the last level
    Hash,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(super) struct FlowArgs {
    /// Messages of all publishers together, after which the run is over; without it, --duration says when
    #[arg(short = 'n', long, value_name = "N", conflicts_with_all = ["duration", "warmup"], value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    pub(super) messages: Option<u64>,
    /// Seconds that are measured
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) duration: Duration,
    /// Seconds of load before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) warmup: Duration,
    /// Messages that may be sent without the slowest subscriber having got them. 1000 if not given; for each pair 8000 by
    /// the number of pairs, 4 at least and 1000 at most
    #[arg(short, long, value_name = "N", value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    pub(super) window: Option<u64>,
    /// The window opens when so many messages fit into it; a quarter of it if not given
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MESSAGES_MAX))]
    pub(super) batch: Option<u64>,
    /// Sessions that outlive their connections (Clean Start 0; in MQTT 5 with a Session Expiry Interval of an hour). What
    /// they are due at QoS 1 and 2, the broker has to keep before it acknowledges. They are ended after the run
    #[arg(long)]
    pub(super) lasting: bool,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct MessageArgs {
    /// QoS of publishers, and of subscribers
    #[arg(short, long, value_name = "QOS", default_value_t = 0, value_parser = value_parser!(u8).range(0..=2))]
    pub(super) qos: u8,
    /// QoS of subscribers, where it is another
    #[arg(long, value_name = "QOS", value_parser = value_parser!(u8).range(0..=2))]
    pub(super) sub_qos: Option<u8>,
    /// Bytes of a payload, 16 at least: they say which message it is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size())]
    pub(super) size: u32,
}

#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) generator: GeneratorArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Broker")]
#[command(group = ArgGroup::new("version").args(["v31", "v3", "v5"]))]
#[command(group = ArgGroup::new("trust").args(["ca", "insecure"]))]
pub(super) struct TargetArgs {
    /// Name or address; of several addresses, the first that answers
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(super) host: String,
    /// If not given: 1883, 8883 with --tls, 8083 with --ws, 8084 with both
    #[arg(long, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// Speak MQTT 3.1
    #[arg(long)]
    pub(super) v31: bool,
    /// Speak MQTT 3.1.1; what is spoken when nothing is said
    #[arg(long)]
    pub(super) v3: bool,
    /// Speak MQTT 5.0
    #[arg(long)]
    pub(super) v5: bool,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// Password
    #[arg(short = 'P', long, value_name = "PASSWORD", requires = "user")]
    pub(super) password: Option<String>,
    /// TLS 1.2 or 1.3; needs --ca or --insecure
    #[arg(long, requires = "trust")]
    pub(super) tls: bool,
    /// With --tls: PEM file of the authorities to believe
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(super) ca: Option<PathBuf>,
    /// With --tls: believe any certificate
    #[arg(long, requires = "tls")]
    pub(super) insecure: bool,
    /// With --tls: PEM file of a client certificate to show
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    pub(super) cert: Option<PathBuf>,
    /// With --cert: PEM file of its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// WebSocket, at this path
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/mqtt")]
    pub(super) ws: Option<String>,
    /// The broker's process, whose CPU and memory are told with those of its children. If not given, the one that listens at
    /// the port, when that is on this machine
    #[arg(long, value_name = "PID")]
    pub(super) broker_pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Generator")]
pub(super) struct GeneratorArgs {
    /// Threads that run the clients
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=1024))]
    pub(super) threads: u16,
    /// Messages at QoS 1 and 2 that a publisher sends without their acknowledgement; a broker's receive maximum lowers it.
    /// The next ones leave when a quarter of them is acknowledged, but for `latency`
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u16).range(1..))]
    pub(super) inflight: u16,
    /// Connections that are under way at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..))]
    pub(super) concurrency: u16,
    /// Seconds of keep alive; 0 for none. Clients do not ping by themselves: it has to be longer than the run
    #[arg(long, value_name = "SECONDS", default_value_t = u16::MAX)]
    pub(super) keep_alive: u16,
    /// Receive maximum that clients ask for in MQTT 5; nothing is asked if not given
    #[arg(long, value_name = "N")]
    pub(super) receive_max: Option<NonZeroU16>,
    /// Seconds without anything happening after which a run is over
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) stall: Duration,
    /// Seconds after which a run is over in any case, beyond --warmup and --duration
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    pub(super) max_time: Duration,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Print JSON, and no table
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

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "expected a part, from 0 to 1".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| format!("expected a number a second, from 0.001 to {RATE_MAX}"))
}

impl ScenarioArgs {
    pub(super) fn output(&self) -> OutputArgs {
        self.common().output
    }

    pub(super) fn stream(&self) -> Option<&StreamArgs> {
        match self {
            ScenarioArgs::Fanout(args) => Some(&args.stream),
            ScenarioArgs::Fanin(args) => Some(&args.stream),
            ScenarioArgs::Pairs(args) => Some(&args.stream),
            ScenarioArgs::Trie(args) => Some(&args.stream),
            _ => None,
        }
    }

    pub(super) fn common(&self) -> &CommonArgs {
        match self {
            ScenarioArgs::Fanout(args) => &args.stream.common,
            ScenarioArgs::Fanin(args) => &args.stream.common,
            ScenarioArgs::Pairs(args) => &args.stream.common,
            ScenarioArgs::Latency(args) => &args.common,
            ScenarioArgs::Connect(args) => &args.common,
            ScenarioArgs::Retained(args) => &args.common,
            ScenarioArgs::Offline(args) => &args.common,
            ScenarioArgs::Trie(args) => &args.stream.common,
            ScenarioArgs::Churn(args) => &args.common,
        }
    }
}
