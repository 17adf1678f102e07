use std::collections::BTreeMap;
use std::time::Duration;

use midge::packet::ReasonCode;

use crate::support::{Client, Connect, Incoming, Publish, TestBroker, subscription};

/// The tree as mosquitto 2.1 lists it, without the topics of its bridges and log.
const TREE: &str = "\
version uptime clients/total clients/maximum clients/expired clients/disconnected clients/inactive clients/connected \
clients/active messages/received messages/sent messages/stored store/messages/count store/messages/bytes \
subscriptions/count shared_subscriptions/count retained_messages/count heap/current heap/maximum bytes/received \
bytes/sent publish/bytes/received publish/bytes/sent publish/messages/dropped publish/messages/received \
publish/messages/sent packet/out/count packet/out/bytes connections/socket/count";

fn tree() -> Vec<String> {
    let plain = TREE.split(' ').map(|topic| topic.replace("retained_messages", "retained messages"));
    let loads = [
        "messages/received",
        "messages/sent",
        "publish/dropped",
        "publish/received",
        "publish/sent",
        "bytes/received",
        "bytes/sent",
        "sockets",
        "connections",
    ];
    let loads = loads.iter().flat_map(|of| ["1min", "5min", "15min"].map(|span| format!("load/{of}/{span}")));
    let mut topics: Vec<_> = plain.chain(loads).map(|topic| format!("$SYS/broker/{topic}")).collect();
    topics.sort();
    topics
}

/// The retained tree, as a new subscriber gets it.
fn retained(client: &mut Client) -> BTreeMap<String, String> {
    assert_eq!(client.subscribe("$SYS/#", subscription(2)), ReasonCode::GrantedQoS2);
    (0..tree().len()).map(|_| next(client, true)).collect()
}

fn next(client: &mut Client, retained: bool) -> (String, String) {
    let message = client.take_message();
    assert_eq!((message.qos, message.retain), (2, retained), "{message:?}");
    (message.topic, message.payload)
}

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// What is published live up to the next uptime, and that.
fn until_uptime(client: &mut Client) -> (Vec<String>, String) {
    let mut topics = Vec::new();
    loop {
        match next(client, false) {
            (topic, payload) if topic == "$SYS/broker/uptime" => return (topics, payload),
            (topic, _) => topics.push(topic),
        }
    }
}

#[test]
fn the_tree_is_mosquittos_and_is_there_from_the_start() {
    let broker = TestBroker::start("");
    let mut client = broker.connect(Connect { client_id: "ha", ..Connect::default() });
    let tree_now = retained(&mut client);
    assert_eq!(tree_now.keys().cloned().collect::<Vec<_>>(), tree());
    let value = |topic: &str| tree_now[&format!("$SYS/broker/{topic}")].as_str();
    assert_eq!(value("version"), concat!("midge version ", env!("CARGO_PKG_VERSION")));
    assert_eq!((value("uptime"), value("clients/total")), ("0 seconds", "0"));
    assert_eq!(value("load/publish/received/1min"), "0.00");
    assert!(value("heap/current").parse::<u64>().unwrap() > 0);
}

#[test]
fn what_changes_is_published_when_the_clock_shows_a_multiple_of_the_interval() {
    let broker = TestBroker::start("");
    let mut client = broker.connect(Connect { client_id: "ha", ..Connect::default() });
    retained(&mut client);
    broker.clock.advance(Duration::from_secs(3));
    broker.clock.advance(Duration::from_secs(7));
    assert_eq!(until_uptime(&mut client), (vec![], "10 seconds".into()));
    broker.clock.advance(TEN_SECONDS);
    let (changed, uptime) = until_uptime(&mut client);
    assert_eq!(uptime, "20 seconds");
    let changed = |topic: &str| changed.contains(&format!("$SYS/broker/{topic}"));
    assert!(changed("clients/total") && changed("messages/received") && changed("load/connections/15min"));
    assert!(!changed("version") && !changed("publish/messages/dropped") && !changed("clients/expired"));
}

#[test]
fn the_numbers_are_the_brokers() {
    let broker = TestBroker::start("");
    let mut sleeper = broker.connect(Connect { client_id: "asleep", session_expiry: 60, ..Connect::default() });
    sleeper.subscribe("a", subscription(1));
    sleeper.leave();
    let mut client = broker.connect(Connect { client_id: "ha", ..Connect::default() });
    client.publish_acked("a", "12345");
    client.publish(Publish { topic: "kept", payload: b"1", retain: true, qos: 1, ..Publish::default() });
    assert_eq!(client.next(), Incoming::PubAck(ReasonCode::NoMatchingSubscribers));
    broker.until("both publishes are counted", |broker| broker.counts().received_qos1 == 2);
    // The last of the tree.
    client.subscribe("$SYS/broker/load/connections/15min", subscription(2));
    assert_eq!(client.take(), "0.00");
    broker.until("it is acknowledged", |broker| broker.accounting().inflight == 0);
    broker.clock.advance(TEN_SECONDS);
    assert_eq!(client.take(), "0.13");
    let mut reader = broker.connect(Connect { client_id: "read", ..Connect::default() });
    let tree_now = retained(&mut reader);
    let value = |topic: &str| tree_now[&format!("$SYS/broker/{topic}")].as_str();
    assert_eq!((value("clients/total"), value("clients/connected"), value("clients/inactive")), ("2", "1", "1"));
    assert_eq!((value("publish/messages/received"), value("publish/bytes/received")), ("2", "6"));
    assert_eq!((value("subscriptions/count"), value("connections/socket/count")), ("2", "2"));
    assert_eq!(value("load/publish/received/1min"), "1.84");
    let kept = tree().len() + 1;
    assert_eq!(value("retained messages/count"), kept.to_string());
    assert_eq!(value("messages/stored"), (kept + 1).to_string());
}

#[test]
fn an_interval_of_zero_turns_the_tree_off() {
    let broker = TestBroker::start("[sys]\ninterval = 0");
    let mut client = broker.connect(Connect { client_id: "ha", ..Connect::default() });
    client.subscribe("$SYS/#", subscription(0));
    client.subscribe("marker", subscription(1));
    broker.clock.advance(TEN_SECONDS);
    let mut other = broker.connect(Connect { client_id: "other", ..Connect::default() });
    other.publish_acked("marker", "after everything");
    assert_eq!(client.take(), "after everything");
    assert_eq!(broker.accounting().matched, 1);
}

#[test]
fn no_client_may_publish_there_not_even_as_a_will() {
    let broker = TestBroker::start("");
    let mut client = broker.connect(Connect { client_id: "c", ..Connect::default() });
    for topic in ["$SYS/broker/version", "$SYS/own", "$SYS"] {
        assert_eq!(client.publish_acked(topic, "forged"), ReasonCode::NotAuthorized, "{topic}");
    }
    assert_eq!(client.publish_acked("$SYSTEM/own", "fine"), ReasonCode::NoMatchingSubscribers);
    let will = Some(("$SYS/broker/version", "forged"));
    broker.connect(Connect { client_id: "dying", will, ..Connect::default() }).vanish();
    broker.until("all four are counted", |broker| broker.counts().not_authorised == 4);
    assert_eq!(retained(&mut client)["$SYS/broker/version"], concat!("midge version ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_tree_is_no_publish_of_a_client_and_takes_no_room_from_theirs() {
    let broker = TestBroker::start("[retained]\nmessages_max = 1");
    broker.until("the tree is there", |broker| broker.counts().no_subscriber == 0);
    let mut client = broker.connect(Connect { client_id: "c", ..Connect::default() });
    let mut keep = |topic| {
        client.publish(Publish { topic, payload: b"1", retain: true, qos: 1, ..Publish::default() });
        client.next()
    };
    assert_eq!(keep("one"), Incoming::PubAck(ReasonCode::NoMatchingSubscribers));
    assert_eq!(keep("two"), Incoming::PubAck(ReasonCode::QuotaExceeded));
    client.subscribe("$SYS/broker/uptime", subscription(2));
    assert_eq!(client.take(), "0 seconds");
    broker.clock.advance(TEN_SECONDS);
    assert_eq!(client.take(), "10 seconds");
    broker.until("all is counted", |broker| broker.counts().received_qos1 == 2);
    let counts = broker.counts();
    assert_eq!((counts.no_subscriber, counts.refused_messages, counts.received_qos2), (1, 1, 0));
}

#[test]
fn a_subscriber_with_a_full_queue_that_refuses_publishers_cannot_stop_the_tree() {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\non_queue_full = \"refuse\"\n";
    let broker = TestBroker::with_listeners(listener, "[limits]\nqueue_messages_max = 1");
    let mut asleep = broker.connect(Connect { client_id: "asleep", session_expiry: 600, ..Connect::default() });
    retained(&mut asleep);
    asleep.leave();
    broker.clock.advance(TEN_SECONDS);
    let mut client = broker.connect(Connect { client_id: "ha", ..Connect::default() });
    client.subscribe("$SYS/broker/uptime", subscription(2));
    while client.take() != "10 seconds" {}
    broker.clock.advance(TEN_SECONDS);
    assert_eq!(client.take(), "20 seconds");
    broker.until("the sum comes out", |broker| broker.accounting().is_balanced());
}
