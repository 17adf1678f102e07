//! What is counted: the way of a message from the bytes of its PUBLISH to the bytes of its receivers and back to the last
//! acknowledgement, without sockets and tasks; and its parts alone.

use std::collections::VecDeque;
use std::hint::black_box;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use midge::message::{BrokerTime, Queued};
use midge::packet::{
    Ack, Connect, ConnectProperties, Decoded, Decoder, Packet, PacketType, ProtocolVersion, Publish, PublishProperties,
    QoS, ReasonCode, Sender,
};
use midge::protocol::{Action, Connection, Output, Routed, Settings};
use midge::router::{
    Batch, GroupLimits, Mailbox, MailboxEvent, OnQueueFull, Outcome, QueueLimits, RetainedLimits, Router, RouterConfig,
    ShareStrategy, UnderWay, Wishes,
};
use midge::topic::{ParsedFilter, SubscribeOptions, SubscriptionTree};

pub const NAMES: [&str; 17] = [
    "decode publish 3.1.1",
    "decode publish 5.0",
    "encode publish 3.1.1",
    "encode publish 5.0",
    "match 1 of 10000",
    "match 1 of 10000, wildcard",
    "deliver qos 0 to 1",
    "deliver qos 1 to 1",
    "deliver qos 2 to 1",
    "deliver qos 0 to 100",
    "deliver qos 1 to 100",
    "deliver 16 qos 0 to 1",
    "deliver 16 qos 0 to 100",
    "deliver 16 qos 0 of 5.0 to 100 of 3.1.1",
    "deliver qos 1 to 1, 5.0",
    "deliver shared qos 1 to 4",
    "deliver 16 shared qos 1 to 4",
];

pub fn run(script: &str, rounds: u64) {
    match script {
        "decode publish 3.1.1" => decode(ProtocolVersion::V4, rounds),
        "decode publish 5.0" => decode(ProtocolVersion::V5, rounds),
        "encode publish 3.1.1" => encode(ProtocolVersion::V4, rounds),
        "encode publish 5.0" => encode(ProtocolVersion::V5, rounds),
        "match 1 of 10000" => matching(|n| format!("site{}/device{n}/state", n % 100), rounds),
        "match 1 of 10000, wildcard" => matching(|n| format!("site{}/device{n}/+", n % 100), rounds),
        "deliver qos 0 to 1" => deliver(&Case { qos: QoS::AtMostOnce, ..Case::ONE }, rounds),
        "deliver qos 1 to 1" => deliver(&Case::ONE, rounds),
        "deliver qos 2 to 1" => deliver(&Case { qos: QoS::ExactlyOnce, ..Case::ONE }, rounds),
        "deliver qos 0 to 100" => deliver(&Case { qos: QoS::AtMostOnce, receivers: 100, ..Case::ONE }, rounds),
        "deliver qos 1 to 100" => deliver(&Case { receivers: 100, ..Case::ONE }, rounds),
        "deliver 16 qos 0 to 1" => deliver(&Case { qos: QoS::AtMostOnce, messages: 16, ..Case::ONE }, rounds),
        "deliver 16 qos 0 to 100" => {
            deliver(&Case { qos: QoS::AtMostOnce, messages: 16, receivers: 100, ..Case::ONE }, rounds)
        }
        "deliver 16 qos 0 of 5.0 to 100 of 3.1.1" => {
            let version = ProtocolVersion::V5;
            deliver(&Case { version, qos: QoS::AtMostOnce, messages: 16, receivers: 100, ..Case::ONE }, rounds);
        }
        "deliver qos 1 to 1, 5.0" => {
            let version = ProtocolVersion::V5;
            deliver(&Case { version, receivers_version: version, ..Case::ONE }, rounds);
        }
        "deliver shared qos 1 to 4" => deliver(&Case { receivers: 4, filter: SHARED, ..Case::ONE }, rounds),
        "deliver 16 shared qos 1 to 4" => {
            deliver(&Case { messages: 16, receivers: 4, filter: SHARED, ..Case::ONE }, rounds);
        }
        _ => panic!("no script {script:?}"),
    }
}

/// What is counted, and nothing around it: valgrind looks for this function by its name.
#[inline(never)]
fn counted(rounds: u64, mut round: impl FnMut(u64)) {
    for n in 0..rounds {
        round(n);
    }
}

const TOPIC: &str = "a/b";
const SHARED: &str = "$share/g/a/b";

fn publish(qos: QoS) -> Publish<'static> {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: TOPIC,
        packet_id: (qos != QoS::AtMostOnce).then_some(NonZeroU16::MIN),
        properties: PublishProperties::default(),
        payload: &[b'x'; 64],
    }
}

fn bytes(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

fn decode(version: ProtocolVersion, rounds: u64) {
    let bytes = bytes(&Packet::Publish(publish(QoS::AtLeastOnce)), version);
    let decoder = Decoder { version, sender: Sender::Client, maximum_packet_size: 1 << 20, connected: true };
    counted(rounds, |_| assert!(matches!(decoder.decode(black_box(&bytes)), Ok(Decoded::Packet { .. }))));
}

fn encode(version: ProtocolVersion, rounds: u64) {
    let packet = Packet::Publish(publish(QoS::AtLeastOnce));
    let mut out = Vec::with_capacity(1024);
    counted(rounds, |_| {
        out.clear();
        black_box(&packet).encode(version, &mut out);
        black_box(&out);
    });
}

fn matching(filter: impl Fn(u64) -> String, rounds: u64) {
    let mut tree: SubscriptionTree<u64, u64> = SubscriptionTree::new();
    for n in 0..10_000 {
        tree.insert(&filter(n), n, n);
    }
    let topics: Vec<String> = (0..100).map(|n| format!("site{n}/device{n}/state")).collect();
    let mut found = 0;
    counted(rounds, |n| {
        let topic = &topics[n as usize % topics.len()];
        tree.for_each_match(black_box(topic), |entries| found += entries.len() as u64);
    });
    assert_eq!(found, rounds);
}

struct Case {
    /// Of the publisher.
    version: ProtocolVersion,
    receivers_version: ProtocolVersion,
    qos: QoS,
    /// That one turn of the publisher brings.
    messages: usize,
    receivers: usize,
    filter: &'static str,
}

impl Case {
    const ONE: Case = Case {
        version: ProtocolVersion::V4,
        receivers_version: ProtocolVersion::V4,
        qos: QoS::AtLeastOnce,
        messages: 1,
        receivers: 1,
        filter: "a/b",
    };
}

struct Broker {
    router: Router,
    batch: Batch,
}

/// One connection, as its driver has it.
struct Client {
    connection: Connection,
    mailbox: Arc<Mailbox>,
    deliveries: VecDeque<Queued>,
    out: Output,
}

fn deliver(case: &Case, rounds: u64) {
    let mut broker = Broker { router: router(), batch: Batch::at(BrokerTime::from_millis(1)) };
    let mut publisher = Client::connect("publisher", case.version, &broker);
    let mut receivers: Vec<_> = (0..case.receivers)
        .map(|n| Client::connect(&format!("receiver-{n}"), case.receivers_version, &broker))
        .collect();
    for receiver in &mut receivers {
        let filter = ParsedFilter::parse(case.filter).expect("a filter");
        let options = SubscribeOptions { qos: case.qos, ..SubscribeOptions::default() };
        broker.router.subscribe(&receiver.mailbox, filter, options, None::<NonZeroU32>);
    }
    let first = bytes(&Packet::Publish(publish(case.qos)), case.version);
    let release = bytes(&Packet::PubRel(ack(1)), case.version);
    let mut received = 0;
    counted(rounds, |_| {
        (0..case.messages).for_each(|n| publisher.take(&first, if n > 0 { TOPIC } else { "" }, &mut broker));
        if case.qos == QoS::ExactlyOnce {
            publisher.take(&release, "", &mut broker);
        }
        broker.router.flush(&mut broker.batch);
        publisher.out.clear();
        received += receivers.iter_mut().map(|receiver| receiver.receive(case, &mut broker)).sum::<u64>();
    });
    let copies = if case.filter.starts_with("$share/") { 1 } else { case.receivers as u64 };
    assert_eq!(received, rounds * copies * case.messages as u64);
}

fn router() -> Router {
    Router::new(&RouterConfig {
        retained: RetainedLimits { messages_max: 1000, bytes_max: 1 << 20 },
        group: GroupLimits { messages_max: 100_000, bytes_max: 1 << 30 },
        share_strategy: ShareStrategy::RoundRobin,
    })
}

fn ack(packet_id: u16) -> Ack<'static> {
    let packet_id = NonZeroU16::new(packet_id).expect("not zero");
    Ack { packet_id, reason_code: ReasonCode::Success, reason_string: None, user_properties: Default::default() }
}

impl Client {
    fn connect(client_id: &str, version: ProtocolVersion, broker: &Broker) -> Client {
        let limits = QueueLimits {
            messages_max: 10_000,
            bytes_max: 1 << 20,
            on_full: OnQueueFull::DropOldest,
            queue_qos0: false,
        };
        let settings = Arc::new(Settings::default());
        let mut client = Client {
            connection: Connection::new(settings, BrokerTime::from_millis(1), Duration::from_secs(10)),
            mailbox: broker.router.mailbox(&client_id.into(), limits),
            deliveries: VecDeque::new(),
            out: Output::default(),
        };
        let connect = Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            properties: ConnectProperties::default(),
            client_id,
            will: None,
            user_name: None,
            password: None,
        };
        let bytes = bytes(&Packet::Connect(connect), version);
        assert!(matches!(client.handle(&bytes, ""), Action::Authenticate));
        client.connection.on_authenticated(None).expect("accepted");
        let now = BrokerTime::from_millis(1);
        client.connection.on_session(now, None, None, &mut client.out).expect("accepted");
        client.mailbox.attach(client.under_way());
        client
    }

    fn under_way(&self) -> UnderWay {
        UnderWay {
            window_free: self.connection.window_free(),
            inflight: self.connection.inflight(),
            ..UnderWay::default()
        }
    }

    /// As one of many packets, with the topic of the one before.
    fn handle(&mut self, bytes: &[u8], topic: &str) -> Action {
        let Ok(Decoded::Packet { packet, .. }) = self.connection.decoder().decode_after(black_box(bytes), topic) else {
            panic!("no packet: {bytes:?}")
        };
        self.connection.handle_packet(BrokerTime::from_millis(1), &packet, None, &mut self.out).expect("in order")
    }

    fn take(&mut self, bytes: &[u8], topic: &str, broker: &mut Broker) {
        if let Action::Publish { message, reply } = self.handle(bytes, topic) {
            if !broker.router.gather(&message, &mut broker.batch) {
                let outcome = broker.router.publish(&message.to_message(), &mut broker.batch);
                assert!(matches!(outcome, Outcome::Routed { .. }));
            }
            self.connection.on_routed(reply, Routed::Accepted, &mut self.out).expect("answered");
        }
    }

    /// Takes what there is and acknowledges it to the end; how many messages.
    fn receive(&mut self, case: &Case, broker: &mut Broker) -> u64 {
        let wishes = Wishes { bytes_max: 1 << 20, groups: true, pages: false, gather: false };
        let mut received = 0;
        loop {
            match self.mailbox.poll(Waker::noop(), self.under_way(), wishes, &mut self.deliveries) {
                Poll::Pending => return received,
                Poll::Ready(MailboxEvent::Deliveries) => {}
                Poll::Ready(event) => panic!("{event:?}"),
            }
            while let Some(queued) = self.deliveries.pop_front() {
                let (now, messages) = (BrokerTime::from_millis(1), queued.messages());
                received += u64::from(messages);
                let first = u32::from(self.connection.next_packet_id().expect("connected").get());
                match queued {
                    Queued::One(delivery) => {
                        self.connection.deliver(now, delivery, &mut self.out);
                    }
                    Queued::Run(run) => {
                        self.connection.deliver_run(now, &run, &mut self.out);
                    }
                }
                black_box(self.out.len());
                self.out.clear();
                let answers: &[PacketType] = match case.qos {
                    QoS::AtMostOnce => &[],
                    QoS::AtLeastOnce => &[PacketType::PubAck],
                    QoS::ExactlyOnce => &[PacketType::PubRec, PacketType::PubComp],
                };
                for packet_id in first..first + messages {
                    for answer in answers {
                        self.handle(&short_ack(*answer, packet_id.try_into().expect("fewer than ids")), "");
                    }
                }
            }
            assert_eq!(self.connection.inflight(), 0, "all is acknowledged");
            broker.router.flush(&mut broker.batch);
        }
    }
}

/// Success without properties is the same in every version.
fn short_ack(kind: PacketType, packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    let first = match kind {
        PacketType::PubAck => 0x40,
        PacketType::PubRec => 0x50,
        _ => 0x70,
    };
    [first, 2, high, low]
}
