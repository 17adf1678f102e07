//! The main job: clients of four languages and collectd publish through one broker to each other, and every one of them
//! checks what it got.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use crate::broker::{Broker, Transport, unique};
use crate::collectd::{Collectd, values};
use crate::peer::{Kind, Message, Peer, Version, connect};
use crate::program::PATIENCE;

/// Messages that each of the four publishes.
const MESSAGES: usize = 60;
/// Name, client, version, transport of each.
const PEERS: [(&str, Kind, Version, Transport); 4] = [
    ("c", Kind::Mosquitto, Version::V4, Transport::Tcp),
    ("python", Kind::Paho, Version::V5, Transport::Tls),
    ("javascript", Kind::MqttJs, Version::V5, Transport::WebSocket),
    ("rust", Kind::Rumqttc, Version::V5, Transport::Tcp),
];

#[test]
fn four_languages_and_collectd_publish_to_each_other() {
    let (broker, job, host) = (Broker::shared(), unique("job"), unique("machine"));
    let mut peers = PEERS.map(|(name, kind, version, transport)| {
        let mut peer = connect(kind, version, broker, transport, &unique(name));
        // One filter that matches what the others send and what collectd measures.
        peer.subscribe(&format!("{job}/#"), 2);
        (name, peer)
    });
    let mut collector = Collectd::subscriber(broker, &unique("collector"), &job);
    let _agent = Collectd::publisher(broker, &host, &job);
    // The collector is there once it writes what the agent measures.
    collector.measurement(&format!("{host}/load/load"));

    thread::scope(|scope| {
        for (name, peer) in &mut peers {
            let (job, host) = (&job, &host);
            scope.spawn(move || {
                publish_all(peer.as_mut(), name, job);
                check_all(peer.as_mut(), job, host);
            });
        }
        let (collector, host) = (&mut collector, &host);
        scope.spawn(move || check_collector(collector, host));
    });
}

/// Everything that one peer publishes: numbered messages at each QoS, and a gauge that collectd understands.
fn publish_all(peer: &mut dyn Peer, name: &str, job: &str) {
    for number in 0..MESSAGES {
        let qos = (number % 3) as u8;
        peer.publish(&Message::new(format!("{job}/from/{name}/{qos}"), number.to_string(), qos));
    }
    let gauge = format!("{job}/{name}/gauge-job/gauge");
    peer.publish(&Message::new(gauge, format!("N:{}", name.len()), 1));
}

/// What one peer got: from each of the four, itself among them, everything once and in order; and measurements.
fn check_all(peer: &mut dyn Peer, job: &str, host: &str) {
    let mut got: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let (mut gauges, mut loads) = (0, 0);
    // collectd never stops: without an end of its own this would wait for a lost message for ever.
    let until = Instant::now() + 2 * PATIENCE;
    while gauges < PEERS.len() || loads == 0 || got.values().map(Vec::len).sum::<usize>() < PEERS.len() * MESSAGES {
        assert!(Instant::now() < until, "{gauges} gauges, {loads} loads, and of the others only {got:?}");
        let message = peer.receive();
        let topic = message.topic.strip_prefix(&format!("{job}/")).expect("the job's topics");
        if let Some(from) = topic.strip_prefix("from/") {
            assert!(from.ends_with(&message.qos.to_string()), "{message:?}");
            let number = String::from_utf8(message.payload).ok().and_then(|text| text.parse().ok());
            got.entry(from.to_owned()).or_default().push(number.expect("a number"));
        } else if topic.starts_with(host) {
            assert!(values(&message).len() >= 2, "{message:?}");
            loads += usize::from(topic == format!("{host}/load/load"));
        } else {
            assert!(topic.ends_with("/gauge-job/gauge") && message.payload.starts_with(b"N:"), "{message:?}");
            gauges += 1;
        }
    }
    for (name, ..) in PEERS {
        for qos in 0..3 {
            let expected: Vec<usize> = (qos..MESSAGES).step_by(3).collect();
            assert_eq!(got.remove(&format!("{name}/{qos}")), Some(expected), "from {name} at QoS {qos}");
        }
    }
    assert!(got.is_empty(), "from nobody known: {got:?}");
}

/// collectd got the gauge of each peer and more of its own kind's measurements.
fn check_collector(collector: &mut Collectd, host: &str) {
    for (name, ..) in PEERS {
        let got = collector.measurement(&format!("{name}/gauge-job/gauge"));
        assert_eq!(got.values, [name.len() as f64], "from {name}");
    }
    assert_eq!(collector.measurement(&format!("{host}/interface-lo/if_octets")).values.len(), 2);
}
