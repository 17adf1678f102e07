//! A driver polled by hand over a socket pair, with a clock that only the test moves: what no client can see from outside.

#[allow(dead_code)]
#[path = "../../../../tests/settings/support/gate.rs"]
mod gate;
mod held;
mod large;
mod turns;

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Wake, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_rustls::server::TlsStream;

use self::gate::Gate;
use super::*;
use crate::auth::{AccessPolicy, AllowAll, CertificateAs};
use crate::message::{BrokerTime, Message, MessageParts, PublisherId};
use crate::net::admission::Admission;
use crate::net::clock::Clock;
use crate::net::context::{Access, Clients, ListenerContext, Shared};
use crate::net::facts::Peer;
use crate::net::handshake::Layers;
use crate::net::keeper::{Durabilities, Keeper, Tickets};
use crate::net::stream::{Metered, Secured, Socket};
use crate::net::websocket::WebSocket;
use crate::packet::{
    Ack, Connect, ConnectProperties, Decoded, Decoder, Packet, PacketType, ProtocolVersion, Publish, PublishProperties,
    QoS, Sender, Subscribe, SubscribeFilters, SubscribeOptions,
};
use crate::protocol::Settings;
use crate::router::{
    Batch, Counts, GroupLimits, Mailbox, OnQueueFull, QueueLimits, RetainedLimits, Router, RouterConfig, ShareStrategy,
};
use crate::store::Durability;

struct Bench {
    shared: Arc<Shared>,
    listener: Arc<ListenerContext>,
}

impl Bench {
    fn new() -> Self {
        Bench::with(Keeper::new(None, Durabilities::default()))
    }

    /// With a store whose gate the test opens.
    fn stored() -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        let durabilities = Durabilities { rules: Vec::new(), default: Durability::Fsync };
        (Bench::with(Keeper::new(Some(Arc::clone(&gate) as _), durabilities)), gate)
    }

    fn with(keeper: Keeper) -> Self {
        let router = Router::new(&RouterConfig {
            retained: RetainedLimits { messages_max: 10_000, bytes_max: u64::MAX },
            group: GroupLimits { messages_max: 100, bytes_max: u64::MAX },
            share_strategy: ShareStrategy::RoundRobin,
        });
        let policy =
            AccessPolicy { allow_anonymous: true, password_file: None, scram: None, certificate: CertificateAs::None };
        let queue = QueueLimits {
            messages_max: 10_000,
            bytes_max: u64::MAX,
            on_full: OnQueueFull::DropOldest,
            queue_qos0: false,
        };
        Bench {
            shared: Arc::new(Shared::new(router, Clock::manual(), u32::MAX, keeper)),
            listener: Arc::new(ListenerContext {
                name: "test".into(),
                settings: ArcSwap::from_pointee(Settings::default()),
                access: Arc::new(ArcSwap::from_pointee(Access::new(Arc::new(policy), Arc::new(AllowAll)))),
                queue,
                connect_timeout: Duration::from_secs(10),
                write_timeout: Duration::from_secs(10),
                layers: Layers::default(),
                admission: Admission::new(None, None),
                clients: Clients::default(),
            }),
        }
    }

    fn connect(&self) -> Peers {
        let (client, server) = UnixStream::pair().expect("a socket pair");
        socket2::SockRef::from(&server).set_send_buffer_size(16 * 1024).expect("a small buffer");
        let stream = Stream::bare(Socket::Unix(Box::new(server)));
        let facts = ConnectionFacts::new(Peer::Local("test".into()), None, &self.listener.name);
        let place = Place::take(&self.shared, &self.listener).expect("a place");
        Peers { driver: Some(Box::pin(Driver::new(stream, facts, place))), client, woken: Arc::default() }
    }

    fn counts(&self) -> Counts {
        self.shared.router.counters().snapshot()
    }

    fn publish(&self, topic: &str, payload: &[u8], qos: QoS, retain: bool) {
        let message = Message::new(&MessageParts {
            topic_prefix: "",
            topic,
            forward: &[],
            payload,
            qos,
            retain,
            expires_at: BrokerTime::NEVER,
            publisher: PublisherId(1),
        });
        let mut batch = Batch::at(self.shared.clock.now());
        self.shared.publish(&message, None, &mut batch, &mut Tickets::new());
        self.shared.flush(&mut batch);
    }
}

/// A driver and the client's end of its socket.
struct Peers {
    driver: Option<Pin<Box<Driver>>>,
    client: UnixStream,
    /// Since it was last polled.
    woken: Arc<Woken>,
}

#[derive(Default)]
pub(super) struct Woken(pub(super) AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Peers {
    /// Lets the driver do what it can do now; true when it has ended.
    async fn turn(&mut self) -> bool {
        // The runtime learns of readiness between two polls.
        tokio::task::yield_now().await;
        thread_parks();
        self.poll()
    }

    fn poll(&mut self) -> bool {
        let Some(driver) = &mut self.driver else { return true };
        let woken = Waker::from(Arc::clone(&self.woken));
        self.woken.0.store(false, Relaxed);
        let over = driver.as_mut().poll(&mut Context::from_waker(&woken)).is_ready();
        if over {
            self.driver = None;
        }
        over
    }

    async fn send(&mut self, packet: &Packet<'_>) {
        self.put(packet).await;
        self.turn().await;
    }

    /// Into the socket; the driver may read it when it is polled.
    async fn put(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(ProtocolVersion::V5, &mut bytes);
        self.client.write_all(&bytes).await.expect("the broker reads");
        tokio::task::yield_now().await;
    }

    async fn connect(&mut self, client_id: &str, properties: ConnectProperties<'_>) {
        self.connect_kept_alive(client_id, 0, properties).await;
    }

    async fn connect_kept_alive(&mut self, client_id: &str, keep_alive: u16, properties: ConnectProperties<'_>) {
        let connect = Connect {
            version: ProtocolVersion::V5,
            bridge: false,
            clean_start: false,
            keep_alive,
            properties,
            client_id,
            will: None,
            user_name: None,
            password: None,
        };
        self.send(&Packet::Connect(connect)).await;
    }

    async fn subscribe(&mut self, filters: &[(&str, SubscribeOptions)]) {
        let subscribe = Subscribe {
            packet_id: NonZeroU16::MIN,
            subscription_identifier: None,
            user_properties: Default::default(),
            filters: SubscribeFilters::from_list(filters),
        };
        self.send(&Packet::Subscribe(subscribe)).await;
    }

    async fn acknowledge(&mut self, packet_id: u16) {
        let packet_id = NonZeroU16::new(packet_id).expect("not zero");
        let reason_code = ReasonCode::Success;
        let ack = Ack { packet_id, reason_code, reason_string: None, user_properties: Default::default() };
        self.send(&Packet::PubAck(ack)).await;
    }

    /// At most so many bytes of what has come so far.
    async fn receive(&mut self, at_most: usize) -> Vec<u8> {
        tokio::task::yield_now().await;
        let mut bytes = vec![0; at_most];
        let n = self.client.try_read(&mut bytes).unwrap_or(0);
        bytes.truncate(n);
        bytes
    }

    /// The types of the packets that have come so far, and their packet ids if they are PUBLISH of QoS 1.
    async fn packets(&mut self) -> Vec<(PacketType, Option<u16>)> {
        let tell = |packet: Packet<'_>| {
            let id = if let Packet::Publish(publish) = &packet { publish.packet_id } else { None };
            (packet.packet_type(), id.map(NonZeroU16::get))
        };
        self.each_packet(tell).await
    }

    /// The types alone.
    async fn kinds(&mut self) -> Vec<PacketType> {
        self.each_packet(|packet| packet.packet_type()).await
    }

    /// What there is to tell of each packet that has come so far.
    async fn each_packet<T>(&mut self, tell: impl Fn(Packet<'_>) -> T) -> Vec<T> {
        let bytes = self.receive(1 << 21).await;
        let decoder = Decoder {
            version: ProtocolVersion::V5,
            sender: Sender::Server,
            maximum_packet_size: u32::MAX,
            connected: true,
        };
        let (mut rest, mut told) = (&bytes[..], Vec::new());
        while let Ok(Decoded::Packet { packet, len }) = decoder.decode(rest) {
            told.push(tell(packet));
            rest = &rest[len..];
        }
        told
    }

    /// The client closes, and the driver sees it.
    async fn hang_up(mut self) {
        self.client = UnixStream::pair().expect("a socket pair").0;
        while !self.turn().await {}
    }

    /// Since it was last polled: where it has more to do, others come first.
    fn is_woken(&self) -> bool {
        self.woken.0.load(Relaxed)
    }

    fn driver(&self) -> &Driver {
        self.driver.as_ref().expect("the connection lives")
    }
}

async fn connected(bench: &Bench) -> Peers {
    let mut client = bench.connect();
    client.connect("c", ConnectProperties::default()).await;
    assert_eq!(client.packets().await, [(PacketType::ConnAck, None)]);
    client
}

fn lasting() -> ConnectProperties<'static> {
    ConnectProperties { session_expiry_interval: Some(3600), ..ConnectProperties::default() }
}

fn id(packet_id: u16) -> NonZeroU16 {
    NonZeroU16::new(packet_id).expect("not zero")
}

fn message(packet_id: u16, topic: &str) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic,
        packet_id: Some(id(packet_id)),
        properties: PublishProperties::default(),
        payload: b"x",
    })
}

fn at(qos: QoS) -> SubscribeOptions {
    SubscribeOptions { qos, ..SubscribeOptions::default() }
}

#[tokio::test]
async fn a_client_that_comes_and_goes_leaves_no_deadline_behind() {
    let bench = Bench::new();
    for _ in 0..50 {
        let mut peers = bench.connect();
        peers.connect("c", lasting()).await;
        assert_eq!(peers.packets().await, [(PacketType::ConnAck, None)]);
        assert_eq!(bench.shared.deadlines.len(), 0, "a connected session has none");
        peers.hang_up().await;
        assert_eq!(bench.shared.deadlines.len(), 1);
        bench.shared.clock.advance(Duration::from_secs(10));
    }
    bench.shared.clock.advance(Duration::from_secs(3589));
    bench.shared.keep_house(&mut Batch::at(bench.shared.clock.now()));
    assert_eq!(bench.shared.sessions.len(), 1);
    bench.shared.clock.advance(Duration::from_secs(1));
    bench.shared.keep_house(&mut Batch::at(bench.shared.clock.now()));
    assert_eq!((bench.shared.deadlines.len(), bench.shared.sessions.len()), (0, 0));
    assert_eq!(bench.counts().sessions_expired, 1);
}

#[tokio::test]
async fn a_client_that_is_always_a_little_behind_does_not_keep_what_it_has_got() {
    let bench = Bench::new();
    let mut peers = bench.connect();
    peers.connect("c", lasting()).await;
    peers.subscribe(&[("t", at(QoS::AtMostOnce))]).await;
    for _ in 0..40 {
        bench.publish("t", &[0; 4096], QoS::AtMostOnce, false);
    }
    peers.turn().await;
    assert!(peers.driver().unsent_bytes() > 100_000);
    let pings = [0xC0, 0x00].repeat(1_000);
    let mut most = 0;
    for _ in 0..500 {
        peers.client.write_all(&pings).await.expect("the broker reads");
        peers.turn().await;
        // As much as the answers are.
        let mut wanted = pings.len();
        while wanted > 0 {
            wanted -= peers.receive(wanted).await.len();
            peers.turn().await;
        }
        let held = peers.driver().unsent.as_ref().map(|unsent| unsent.held());
        most = most.max(held.expect("always behind"));
    }
    assert!(most < 400_000, "{most} bytes are kept for a client that was sent {} meanwhile", 500 * pings.len());
}

#[tokio::test]
async fn many_subscriptions_without_retained_messages_are_looked_through_quickly() {
    let bench = Bench::new();
    bench.publish("the/last", b"x", QoS::AtMostOnce, true);
    let mut peers = bench.connect();
    peers.connect("c", lasting()).await;
    let names: Vec<_> = (0..1_000).map(|n| format!("{n}/+")).collect();
    let mut filters: Vec<_> = names.iter().map(|name| (name.as_str(), at(QoS::AtMostOnce))).collect();
    filters.push(("the/last", at(QoS::AtMostOnce)));
    peers.subscribe(&filters).await;
    for _ in 0..12 {
        peers.turn().await;
    }
    let expected = [PacketType::ConnAck, PacketType::SubAck, PacketType::Publish].map(|kind| (kind, None));
    assert_eq!(peers.packets().await, expected, "SUBACK comes before retained messages");
    assert!(peers.driver().connection.session().is_some_and(|session| session.replays.is_empty()));
}

#[tokio::test]
async fn retained_messages_go_on_when_the_window_opens() {
    let bench = Bench::new();
    for n in 0..5 {
        bench.publish(&format!("t/{n}"), b"x", QoS::AtLeastOnce, true);
    }
    let mut peers = bench.connect();
    let properties = ConnectProperties { receive_maximum: NonZeroU16::new(2), ..lasting() };
    peers.connect("c", properties).await;
    peers.subscribe(&[("t/+", at(QoS::AtLeastOnce))]).await;
    peers.turn().await;
    let published = |id| (PacketType::Publish, Some(id));
    let expected = [(PacketType::ConnAck, None), (PacketType::SubAck, None), published(1), published(2)];
    assert_eq!(peers.packets().await, expected);
    for (acknowledged, next) in [(2, Some(3)), (1, Some(4)), (3, Some(5)), (4, None), (5, None)] {
        peers.acknowledge(acknowledged).await;
        peers.turn().await;
        assert_eq!(peers.packets().await, next.map(published).into_iter().collect::<Vec<_>>());
    }
    assert_eq!(bench.counts().delivered_qos1, 5);
}

// [MQTT-3.1.2-25]
#[tokio::test]
async fn retained_messages_that_the_client_does_not_take_use_no_window() {
    let bench = Bench::new();
    for n in 0..100 {
        bench.publish(&format!("t/{n:03}"), &[0; 200], QoS::AtLeastOnce, true);
    }
    bench.publish("t/small", b"x", QoS::AtLeastOnce, true);
    let mut peers = bench.connect();
    let maximum_packet_size = std::num::NonZeroU32::new(100);
    let properties = ConnectProperties { receive_maximum: NonZeroU16::new(2), maximum_packet_size, ..lasting() };
    peers.connect("c", properties).await;
    peers.subscribe(&[("t/+", at(QoS::AtLeastOnce))]).await;
    for _ in 0..10 {
        peers.turn().await;
    }
    assert_eq!(peers.packets().await.last(), Some(&(PacketType::Publish, Some(1))));
}

#[tokio::test]
async fn a_client_that_connects_while_the_broker_stops_is_told() {
    let bench = Bench::new();
    let mut peers = bench.connect();
    bench.shared.stop();
    peers.connect("c", lasting()).await;
    peers.turn().await;
    assert_eq!(peers.packets().await, [(PacketType::ConnAck, None), (PacketType::Disconnect, None)]);
}

/// A client that the broker has sent more than sockets take.
async fn busy(bench: &Bench) -> Peers {
    let mut peers = bench.connect();
    peers.connect("c", lasting()).await;
    peers.subscribe(&[("t", at(QoS::AtMostOnce))]).await;
    for _ in 0..100 {
        bench.publish("t", &[0; 4096], QoS::AtMostOnce, false);
    }
    peers.turn().await;
    assert!(peers.driver().unsent_bytes() > 200_000);
    peers
}

/// How long the connection lasts, in steps of 900 ms, when the client takes so many bytes at each; and what was left.
async fn lasts(bench: &Bench, peers: &mut Peers, at_each: usize) -> (u32, usize) {
    for step in 0..100 {
        let unsent = peers.driver().unsent_bytes();
        bench.shared.clock.advance(Duration::from_millis(900));
        peers.receive(at_each).await;
        if peers.turn().await {
            return (step, unsent);
        }
        peers.turn().await;
    }
    panic!("it never ends");
}

#[tokio::test]
async fn a_client_that_takes_what_it_is_sent_is_waited_for_when_the_broker_stops() {
    let bench = Bench::new();
    let mut peers = busy(&bench).await;
    bench.shared.stop();
    peers.turn().await;
    let (steps, unsent) = lasts(&bench, &mut peers, 32 * 1024).await;
    assert!(steps > 6 && unsent == 0, "{steps} {unsent}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_has_a_second_when_the_broker_stops() {
    let bench = Bench::new();
    let mut peers = busy(&bench).await;
    bench.shared.stop();
    peers.turn().await;
    let (steps, unsent) = lasts(&bench, &mut peers, 0).await;
    assert!(steps == 1 && unsent > 200_000, "{steps} {unsent}");
}

#[tokio::test]
async fn a_client_that_broke_a_rule_has_a_second_however_much_it_takes() {
    let bench = Bench::new();
    let mut peers = busy(&bench).await;
    peers.connect("c", lasting()).await;
    let (steps, unsent) = lasts(&bench, &mut peers, 32 * 1024).await;
    assert!(steps == 1 && unsent > 100_000, "{steps} {unsent}");
}

#[tokio::test]
async fn whoever_waits_for_a_session_when_the_broker_stops_is_refused() {
    let bench = Bench::new();
    let mut owner = bench.connect();
    owner.connect("c", lasting()).await;
    let mut heir = bench.connect();
    heir.connect("c", lasting()).await;
    assert_eq!(heir.packets().await, [], "the owner has not been polled since");
    bench.shared.stop();
    heir.turn().await;
    assert_eq!(heir.packets().await, [(PacketType::ConnAck, None)]);
    owner.turn().await;
    assert_eq!(owner.packets().await, [(PacketType::ConnAck, None), (PacketType::Disconnect, None)]);
    assert!(bench.shared.sessions.view("c").is_some_and(|view| !view.connected), "parked, for there is no heir");
}

#[tokio::test]
async fn a_connection_that_a_third_one_overtakes_ends_without_a_word() {
    let bench = Bench::new();
    let mut owner = bench.connect();
    owner.connect("c", lasting()).await;
    let (mut second, mut third) = (bench.connect(), bench.connect());
    second.connect("c", lasting()).await;
    third.connect("c", lasting()).await;
    assert!(second.turn().await && second.packets().await.is_empty());
    owner.turn().await;
    third.turn().await;
    assert_eq!(third.packets().await, [(PacketType::ConnAck, None)]);
    third.hang_up().await;
    assert_eq!(bench.shared.sessions.len(), 1);
}

#[tokio::test]
async fn a_connection_that_has_no_session_yet_is_woken_when_the_broker_stops() {
    let bench = Bench::new();
    let mut peers = bench.connect();
    let woken = Arc::new(Woken::default());
    let mut driver = peers.driver.take().expect("the connection lives");
    assert!(driver.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&woken)))).is_pending());
    assert!(!woken.0.load(Relaxed));
    bench.shared.stop();
    assert!(woken.0.load(Relaxed));
    peers.driver = Some(driver);
    peers.turn().await;
    assert!(matches!(peers.driver().stage, Stage::Lingering(_)));
}

/// What an idle connection costs: the task itself, and what it and its transport have on the heap (TLS has buffers of its
/// own beside this). With what the runtime needs, the task is 512 bytes; one byte more would be 640.
#[test]
fn an_idle_connection_is_small() {
    let sizes = [
        ("driver", size_of::<Driver>(), 400),
        ("of it, the stream", size_of::<Stream>(), 40),
        ("beside it, with a session", size_of::<Attached>(), 104),
        ("beside it, facts", size_of::<ConnectionFacts>(), 88),
        ("beside it, mailbox", size_of::<Mailbox>(), 184),
        ("beside it, TLS", size_of::<TlsStream<Metered>>(), 1500),
        ("beside it, WebSocket", size_of::<WebSocket<Secured>>(), 280),
    ];
    for (what, bytes, bytes_max) in sizes {
        println!("{what}: {bytes} bytes");
        assert!(bytes <= bytes_max, "{what}: {bytes} bytes");
    }
}
