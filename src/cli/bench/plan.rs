//! From what was typed to what is done.

use std::time::Duration;

use midge::bench::{
    Amount, Flow, Generator, Messages, Plan, STAMP_BYTES, Scenario, Target, TlsClient, Transport, Wildcard,
};
use midge::packet::{ProtocolVersion, QoS};

use super::args::{
    ChurnArgs, CommonArgs, FaninArgs, FanoutArgs, FlowArgs, GeneratorArgs, LatencyArgs, OfflineArgs, PairsArgs,
    RetainedArgs, ScenarioArgs, StreamArgs, TargetArgs, TrieArgs, WildcardArg,
};

impl ScenarioArgs {
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
        match self {
            ScenarioArgs::Latency(args) => args.warmup + args.duration,
            ScenarioArgs::Churn(args) => args.duration,
            _ => match self.stream().map(|stream| stream.flow) {
                Some(FlowArgs { messages: None, warmup, duration, .. }) => warmup + duration,
                _ => Duration::ZERO,
            },
        }
    }

    fn batch(&self) -> Option<u64> {
        self.stream().and_then(|stream| stream.flow.batch)
    }

    fn messages(&self) -> Messages {
        match self {
            ScenarioArgs::Fanout(FanoutArgs { stream: StreamArgs { message, .. }, .. })
            | ScenarioArgs::Fanin(FaninArgs { stream: StreamArgs { message, .. }, .. })
            | ScenarioArgs::Pairs(PairsArgs { stream: StreamArgs { message, .. }, .. })
            | ScenarioArgs::Trie(TrieArgs { stream: StreamArgs { message, .. }, .. })
            | ScenarioArgs::Latency(LatencyArgs { message, .. }) => {
                messages(message.qos, message.sub_qos.unwrap_or(message.qos), message.size)
            }
            ScenarioArgs::Retained(RetainedArgs { qos, size, .. })
            | ScenarioArgs::Offline(OfflineArgs { qos, size, .. })
            | ScenarioArgs::Churn(ChurnArgs { qos, size, .. }) => messages(*qos, *qos, *size),
            ScenarioArgs::Connect(_) => messages(0, 0, STAMP_BYTES as u32),
        }
    }

    fn scenario(&self) -> Scenario {
        match self {
            ScenarioArgs::Fanout(args) => Scenario::Fanout {
                publishers: args.publishers,
                subscribers: args.subscribers,
                flow: args.stream.flow.flow(),
            },
            ScenarioArgs::Fanin(args) => Scenario::Fanin {
                publishers: args.publishers,
                subscribers: args.subscribers,
                is_shared: args.shared,
                flow: args.stream.flow.flow(),
            },
            ScenarioArgs::Pairs(args) => Scenario::Pairs {
                pairs: args.pairs,
                wildcard: args.wildcard.map(|wildcard| match wildcard {
                    WildcardArg::Plus => Wildcard::Plus,
                    WildcardArg::Hash => Wildcard::Hash,
                }),
                flow: args.stream.flow.flow(),
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
            ScenarioArgs::Trie(args) => Scenario::Trie {
                publishers: args.publishers,
                subscriptions: args.subscriptions,
                connections: args.connections,
                matches: args.matches,
                plus: args.plus,
                hash: args.hash,
                flow: args.stream.flow.flow(),
            },
            ScenarioArgs::Churn(args) => Scenario::Churn { clients: args.clients, duration: args.duration },
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
        Flow { is_lasting: self.lasting, amount, window: self.window }
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
