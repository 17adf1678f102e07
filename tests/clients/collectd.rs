//! collectd, a telemetry agent that runs on real machines, with its mqtt plugin: one instance measures this machine and
//! publishes, another one subscribes and writes what arrives.

use std::ffi::OsString;
use std::fs;

use tempfile::TempDir;

use crate::broker::{Broker, Transport, unique};
use crate::peer::{Kind, Message, Version, connect};
use crate::program::Program;

/// A collectd instance; it ends with its value.
pub struct Collectd {
    pub program: Program,
    _directory: TempDir,
}

/// What collectd writes of a measurement: a time, and one or more values.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    pub time: f64,
    pub values: Vec<f64>,
}

impl Collectd {
    /// Measures CPU, load, memory and network interfaces each second and publishes below `prefix`.
    pub fn publisher(broker: &Broker, host: &str, prefix: &str) -> Self {
        let publish = format!(
            "<Publish \"broker\">\n {}\n Prefix \"{prefix}\"\n QoS 1\n Retain true\n StoreRates true\n</Publish>",
            connection(broker, host)
        );
        let plugins = "LoadPlugin cpu\nLoadPlugin load\nLoadPlugin memory\nLoadPlugin interface\n";
        Self::start(host, plugins, &publish)
    }

    /// Subscribes to everything below `prefix` and writes it to its standard output.
    pub fn subscriber(broker: &Broker, host: &str, prefix: &str) -> Self {
        let subscribe = format!(
            "<Subscribe \"broker\">\n {}\n Topic \"{prefix}/#\"\n QoS 1\n CleanSession true\n</Subscribe>",
            connection(broker, host)
        );
        let plugins = "LoadPlugin csv\n<Plugin csv>\n DataDir \"stdout\"\n StoreRates true\n</Plugin>\n";
        Self::start(host, plugins, &subscribe)
    }

    fn start(host: &str, plugins: &str, mqtt: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let base = directory.path().display();
        let text = format!(
            "Hostname \"{host}\"\nFQDNLookup false\nInterval 1\nBaseDir \"{base}\"\nPIDFile \"{base}/pid\"\n\
             PluginDir \"/usr/lib/collectd\"\nTypesDB \"/usr/share/collectd/types.db\"\n\
             LoadPlugin logfile\n<Plugin logfile>\n LogLevel info\n File stderr\n</Plugin>\n\
             {plugins}LoadPlugin mqtt\n<Plugin mqtt>\n{mqtt}\n</Plugin>\n"
        );
        let config = directory.path().join("collectd.conf");
        fs::write(&config, text).expect("the instance's directory");
        // A pipe would keep back what it writes to its standard output.
        let program: [OsString; 6] =
            ["stdbuf".into(), "-oL".into(), "collectd".into(), "-f".into(), "-C".into(), config.into()];
        Self { program: Program::kept(&program), _directory: directory }
    }

    /// The next measurement `host/plugin/type` that an instance which subscribes writes.
    pub fn measurement(&mut self, identifier: &str) -> Measurement {
        self.program.expect(&format!("PUTVAL {identifier}"), |line| {
            // PUTVAL host/plugin/type interval=1.000 time:value:…
            let mut words = line.strip_prefix("PUTVAL ")?.split_whitespace();
            let numbers = words.next().filter(|other| *other == identifier).and(words.last())?;
            let numbers: Vec<f64> = numbers.split(':').map(|number| number.parse().ok()).collect::<Option<_>>()?;
            // A rate is not a number until there are two values.
            let (time, values) = numbers.split_first().filter(|(_, values)| values.iter().all(|v| v.is_finite()))?;
            Some(Measurement { time: *time, values: values.to_vec() })
        })
    }
}

fn connection(broker: &Broker, id: &str) -> String {
    let address = broker.address(Transport::Tcp);
    format!("Host \"{}\"\n Port {}\n ClientId \"{id}\"", address.ip(), address.port())
}

/// The values in a message of collectd: text, with a zero byte at its end.
pub fn values(message: &Message) -> Vec<f64> {
    let text = String::from_utf8(message.payload.clone()).expect("text");
    text.trim_end_matches('\0').split(':').map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn measurements_of_one_collectd_reach_another() {
    let (broker, prefix, host) = (Broker::shared(), unique("collectd"), unique("machine"));
    let mut subscriber = Collectd::subscriber(broker, &unique("collector"), &prefix);
    let _publisher = Collectd::publisher(broker, &host, &prefix);
    let expected = [("load/load", 3), ("memory/memory-free", 1), ("interface-lo/if_octets", 2), ("cpu-0/cpu-user", 1)];
    for (plugin, values) in expected {
        let got = subscriber.measurement(&format!("{host}/{plugin}"));
        assert_eq!(got.values.len(), values, "{plugin}: {got:?}");
        assert!(got.time > 1.7e9 && got.values[0] >= 0.0, "{plugin}: {got:?}");
    }
}

#[test]
fn measurements_are_retained_for_dashboards_that_come_later() {
    let (broker, prefix, host) = (Broker::shared(), unique("collectd"), unique("machine"));
    let topic = format!("{prefix}/{host}/load/load");
    let mut early = connect(Kind::Rumqttc, Version::V5, broker, Transport::Tcp, &unique("early"));
    early.subscribe(&topic, 1);
    let publisher = Collectd::publisher(broker, &host, &prefix);
    let first = early.receive();
    assert_eq!((values(&first).len(), first.qos, first.retain), (4, 1, false));
    drop(publisher);
    let mut late = connect(Kind::Rumqttc, Version::V4, broker, Transport::Tcp, &unique("late"));
    late.subscribe(&topic, 1);
    let kept = late.receive();
    assert!(kept.retain && values(&kept)[0] >= values(&first)[0], "{kept:?}");
}

/// What collectd gets from a client that is not collectd: the format is a topic and a text.
#[test]
fn a_value_of_any_client_reaches_collectd() {
    let (broker, prefix) = (Broker::shared(), unique("collectd"));
    let mut subscriber = Collectd::subscriber(broker, &unique("collector"), &prefix);
    let mut client = connect(Kind::Rumqttc, Version::V5, broker, Transport::Tcp, &unique("c"));
    // Retained, so that it is there whenever collectd has subscribed.
    let message = Message::new(format!("{prefix}/rust/gauge-room/temperature"), "N:21.5", 1).retained();
    client.publish(&message);
    assert_eq!(subscriber.measurement("rust/gauge-room/temperature").values, [21.5]);
}
