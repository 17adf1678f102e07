use std::time::Duration;

use midge::message::DropCause;
use midge::packet::{ReasonCode, SubscribeOptions};
use serde_json::{Value, json};

use crate::support::{Client, Connect, Incoming, Publish, TestBroker, get, request, request_with, subscription};

const ADMIN: &str = "[admin]\nhttp = \"127.0.0.1:0\"\n[sys]\ninterval = 0\n";

impl TestBroker {
    fn api(&self, path: &str) -> Value {
        let answer = get(self.admin(), &format!("/api/v5/{path}"));
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Status and error code.
    fn refuses(&self, method: &str, path: &str) -> (u16, String) {
        let answer = request(self.admin(), method, &format!("/api/v5/{path}"));
        let error = answer.json();
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        (answer.code, error["code"].as_str().unwrap_or_default().into())
    }

    fn delete(&self, path: &str) -> (u16, String) {
        let answer = request(self.admin(), "DELETE", &format!("/api/v5/{path}"));
        (answer.code, answer.body)
    }
}

fn column(list: &Value, member: &str) -> Vec<Value> {
    list["data"].as_array().expect("a list").iter().map(|row| row[member].clone()).collect()
}

fn lasting<'a>(client_id: &'a str) -> Connect<'a> {
    Connect { client_id, resume: true, session_expiry: 3600, ..Connect::default() }
}

/// Connected `b`; `a` and `c/1` away, with one message waiting for `a`.
fn three_clients(broker: &TestBroker) -> Client {
    for id in ["a", "c/1"] {
        let mut client = broker.connect(lasting(id));
        client.subscribe("t/#", SubscribeOptions { no_local: true, ..subscription(1) });
        client.leave();
    }
    let mut client = broker.connect(Connect { client_id: "b", user_name: Some("bob"), ..Connect::default() });
    client.publish_acked("t/1", "hello");
    client
}

#[test]
fn clients_are_listed_by_id_in_pages() {
    let broker = TestBroker::start(ADMIN);
    let _b = three_clients(&broker);
    let all = broker.api("clients");
    assert_eq!(column(&all, "clientid"), ["a", "b", "c/1"]);
    assert_eq!(column(&all, "connected"), [false, true, false]);
    assert_eq!(column(&all, "mqueue_len"), [1, 0, 1]);
    assert_eq!(all["meta"], json!({"page": 1, "limit": 100, "count": 3, "hasnext": false}));
    let first = broker.api("clients?limit=2");
    assert_eq!((column(&first, "clientid"), &first["meta"]["hasnext"]), (vec!["a".into(), "b".into()], &true.into()));
    let second = broker.api("clients?page=2&limit=2");
    assert_eq!(column(&second, "clientid"), ["c/1"]);
    assert_eq!(second["meta"], json!({"page": 2, "limit": 2, "count": 3, "hasnext": false}));
}

#[test]
fn clients_are_found_by_what_is_known_of_them() {
    let broker = TestBroker::start(ADMIN);
    let _b = three_clients(&broker);
    for (query, found) in [
        ("like_clientid=c", vec!["c/1"]),
        ("like_clientid=%2F", vec!["c/1"]),
        ("username=bob", vec!["b"]),
        ("conn_state=connected", vec!["b"]),
        ("conn_state=disconnected", vec!["a", "c/1"]),
        ("like_clientid=nobody", vec![]),
    ] {
        assert_eq!(column(&broker.api(&format!("clients?{query}")), "clientid"), found, "{query}");
    }
}

#[test]
fn a_client_is_shown_with_connection_and_session() {
    let broker = TestBroker::start(ADMIN);
    let mut client = broker.connect(Connect {
        client_id: "plant/7",
        user_name: Some("bob"),
        session_expiry: 60,
        ..Connect::default()
    });
    client.subscribe("t", subscription(1));
    let shown = broker.api("clients/plant%2F7");
    for (member, expected) in [
        ("clientid", json!("plant/7")),
        ("username", json!("bob")),
        ("connected", json!(true)),
        ("ip_address", json!("127.0.0.1")),
        ("listener", json!("one")),
        ("proto_name", json!("MQTT")),
        ("proto_ver", json!(5)),
        ("keepalive", json!(0)),
        ("clean_start", json!(true)),
        ("expiry_interval", json!(60)),
        ("subscriptions_cnt", json!(1)),
        ("inflight_cnt", json!(0)),
        ("mqueue_max", json!(10_000)),
        ("mqueue_dropped", json!(0)),
    ] {
        assert_eq!(shown[member], expected, "{member} of {shown}");
    }
    assert!(shown["connected_at"].as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')), "{shown}");
}

#[test]
fn subscriptions_of_connected_and_sleeping_sessions_are_listed_alike() {
    let broker = TestBroker::start(ADMIN);
    let mut client = broker.connect(lasting("c"));
    client.subscribe("a/#", SubscribeOptions { no_local: true, ..subscription(2) });
    client.subscribe("$share/g/b", subscription(1));
    client.subscribe("c", subscription(0));
    let live = broker.api("clients/c/subscriptions");
    assert_eq!(column(&live, "topic"), ["a/#", "$share/g/b", "c"]);
    assert_eq!(
        (column(&live, "qos"), column(&live, "nl")),
        (vec![2.into(), 1.into(), 0.into()], vec![true.into(), false.into(), false.into()])
    );
    assert_eq!(live["meta"]["count"], 3);
    client.leave();
    assert_eq!(broker.api("clients/c/subscriptions"), live);
    let page = broker.api("clients/c/subscriptions?page=2&limit=2");
    assert_eq!((column(&page, "topic"), &page["meta"]["count"]), (vec!["c".into()], &3.into()));
}

#[test]
fn a_kicked_client_is_disconnected_and_keeps_its_session() {
    let broker = TestBroker::start(ADMIN);
    let mut client = broker.connect(lasting("c"));
    client.subscribe("t", subscription(1));
    assert_eq!(broker.delete("clients/c"), (204, String::new()));
    assert_eq!(client.next(), Incoming::Disconnect(ReasonCode::AdministrativeAction));
    assert_eq!(client.next_or_close(), None);
    assert_eq!(broker.api("clients/c")["connected"], false);
    assert_eq!(broker.refuses("DELETE", "clients/c"), (409, "CLIENT_NOT_CONNECTED".into()));
    assert!(broker.connect(lasting("c")).session_present);
}

#[test]
fn a_deleted_session_is_gone_whether_its_client_was_connected_or_not() {
    let broker = TestBroker::start(ADMIN);
    let mut live = broker.connect(Connect { will: Some(("wills", "live")), ..lasting("live") });
    live.subscribe("t", subscription(1));
    let mut away = broker.connect(lasting("away"));
    away.subscribe("t", subscription(1));
    away.leave();
    let mut watcher = broker.connect(Connect { client_id: "w", ..Connect::default() });
    watcher.subscribe("wills", subscription(1));
    watcher.publish_acked("t", "for both");
    assert_eq!(live.take(), "for both");
    broker.until("it is acknowledged", |broker| broker.counts().delivered_qos1 == 1);

    for id in ["live", "away"] {
        assert_eq!(broker.delete(&format!("sessions/{id}")), (204, String::new()), "{id}");
        assert_eq!(broker.refuses("GET", &format!("clients/{id}")), (404, "CLIENTID_NOT_FOUND".into()));
    }
    assert_eq!(live.next(), Incoming::Disconnect(ReasonCode::AdministrativeAction));
    // The end of a session publishes its will, frees its subscriptions and gives up what it had not delivered.
    assert_eq!(watcher.take(), "live");
    assert_eq!(watcher.publish_acked("t", "for nobody"), ReasonCode::NoMatchingSubscribers);
    broker.until("the queue of the sleeping one is given up", |broker| {
        broker.counts().dropped[DropCause::SessionEnded as usize] == 1 && broker.accounting().is_balanced()
    });
    assert!(!broker.connect(lasting("live")).session_present);
}

#[test]
fn a_queue_is_looked_at_and_purged() {
    let broker = TestBroker::start(ADMIN);
    let mut client = broker.connect(lasting("c"));
    client.subscribe("t/#", subscription(1));
    client.leave();
    let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
    for (n, expiry) in [(1, None), (2, Some(60)), (3, None)] {
        let (topic, payload) = (format!("t/{n}"), format!("payload {n}"));
        publisher.publish(Publish { topic: &topic, payload: payload.as_bytes(), qos: 2, expiry, retain: false });
        assert!(matches!(publisher.next(), Incoming::PubRec(_, ReasonCode::Success)));
    }
    let queue = broker.api("clients/c/mqueue_messages?payload=plain&limit=2");
    assert_eq!(column(&queue, "topic"), ["t/1", "t/2"]);
    assert_eq!(column(&queue, "payload"), ["payload 1", "payload 2"]);
    assert_eq!(
        (column(&queue, "qos"), column(&queue, "expires_in")),
        (vec![1.into(), 1.into()], vec![Value::Null, 60.into()])
    );
    assert_eq!(queue["meta"], json!({"page": 1, "limit": 2, "count": 3, "hasnext": true}));
    let rest = broker.api("clients/c/mqueue_messages?page=2&limit=2&payload=base64");
    assert_eq!(
        rest["data"],
        json!([{"topic": "t/3", "qos": 1, "retain": false, "payload_bytes": 9, "payload": "cGF5bG9hZCAz"}])
    );

    assert_eq!(broker.delete("clients/c/mqueue_messages"), (200, json!({"purged": 3}).to_string()));
    assert_eq!(broker.api("clients/c/mqueue_messages")["data"], json!([]));
    broker.until("the purge is accounted for", |broker| {
        broker.counts().dropped[DropCause::Purged as usize] == 3 && broker.accounting().is_balanced()
    });
    publisher.publish_acked("t/4", "after the purge");
    assert_eq!(broker.connect(lasting("c")).take(), "after the purge");
}

#[test]
fn payloads_of_one_answer_are_bounded() {
    let broker = TestBroker::start(ADMIN);
    let mut client = broker.connect(lasting("c"));
    client.subscribe("t", subscription(1));
    client.leave();
    let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
    let large = "x".repeat(700 * 1024);
    for payload in [large.as_str(), &large, "small"] {
        publisher.publish_acked("t", payload);
    }
    let queue = broker.api("clients/c/mqueue_messages?payload=plain");
    let lengths = column(&queue, "payload").into_iter().map(|payload| payload.as_str().map(str::len));
    assert_eq!(lengths.collect::<Vec<_>>(), [Some(large.len()), None, Some(5)]);
    assert_eq!(column(&queue, "payload_bytes"), [large.len(), large.len(), 5]);
}

fn retain(broker: &TestBroker, topics: &[&str]) {
    let mut publisher = broker.connect(Connect { client_id: "retainer", ..Connect::default() });
    for topic in topics {
        publisher.publish(Publish { topic, payload: b"21.5", qos: 1, retain: true, ..Publish::default() });
        assert_eq!(publisher.next(), Incoming::PubAck(ReasonCode::NoMatchingSubscribers));
    }
}

#[test]
fn retained_messages_are_listed_shown_and_cleared_by_filter() {
    let broker = TestBroker::start(ADMIN);
    retain(&broker, &["plant/1/temp", "plant/2/temp", "plant/1/humidity", "other"]);
    let list = broker.api("mqtt/retainer/messages?topic=plant%2F%2B%2Ftemp");
    assert_eq!(column(&list, "topic"), ["plant/1/temp", "plant/2/temp"]);
    assert_eq!(list["meta"], json!({"page": 1, "limit": 100, "count": 2, "hasnext": false}));
    let all = broker.api("mqtt/retainer/messages?limit=3&payload=plain");
    assert_eq!(
        (column(&all, "payload").len(), &all["meta"]["count"], &all["meta"]["hasnext"]),
        (3, &4.into(), &true.into())
    );
    let one = broker.api("mqtt/retainer/message/plant%2F1%2Ftemp");
    assert_eq!(
        one,
        json!({"topic": "plant/1/temp", "qos": 1, "retain": true, "payload_bytes": 4, "payload": "MjEuNQ=="})
    );

    assert_eq!(broker.delete("mqtt/retainer/messages?topic=plant/1/%23"), (200, json!({"cleared": 2}).to_string()));
    assert_eq!(broker.delete("mqtt/retainer/message/other"), (204, String::new()));
    assert_eq!(broker.refuses("DELETE", "mqtt/retainer/message/other"), (404, "NOT_FOUND".into()));
    assert_eq!(column(&broker.api("mqtt/retainer/messages"), "topic"), ["plant/2/temp"]);
}

#[test]
fn very_many_retained_messages_are_listed_and_cleared_in_steps() {
    let broker = TestBroker::start(ADMIN);
    let topics: Vec<_> = (0..3000).map(|n| format!("t/{n:04}")).collect();
    retain(&broker, &topics.iter().map(String::as_str).collect::<Vec<_>>());
    let last = broker.api("mqtt/retainer/messages?page=3&limit=1400");
    assert_eq!((column(&last, "topic").len(), column(&last, "topic").last()), (200, Some(&"t/2999".into())));
    assert_eq!(broker.delete("mqtt/retainer/messages?topic=t/%2B"), (200, json!({"cleared": 3000}).to_string()));
}

#[test]
fn the_sys_tree_can_be_seen_and_not_cleared() {
    let broker = TestBroker::start("[admin]\nhttp = \"127.0.0.1:0\"");
    let path = "mqtt/retainer/messages?topic=%24SYS/broker/version";
    assert_eq!(broker.api(path)["meta"]["count"], 1);
    assert_eq!(broker.delete(path), (200, json!({"cleared": 0}).to_string()));
    assert_eq!(broker.api("mqtt/retainer/messages")["meta"]["count"], 0);
}

#[test]
fn what_the_broker_counts_is_told() {
    let broker = TestBroker::start(ADMIN);
    let _b = three_clients(&broker);
    broker.until("it is counted", |broker| broker.counts().matched == 2);
    // Those that left have seen the end of their connection before it gave back its place.
    broker.until("their connections are gone", |broker| broker.api("stats")["connections.count"] == 1);
    let stats = broker.api("stats");
    for (name, expected) in [
        ("connections.count", 1),
        ("live_connections.count", 1),
        ("sessions.count", 3),
        ("subscriptions.count", 2),
        ("queued.count", 2),
    ] {
        assert_eq!(stats[name], expected, "{name}");
    }
    let metrics = broker.api("metrics");
    assert_eq!(
        (&metrics["received_qos1"], &metrics["matched"], &metrics["dropped.queue_full"]),
        (&1.into(), &2.into(), &0.into())
    );
    broker.clock.advance(Duration::from_secs(5));
    let status = broker.api("status");
    assert_eq!((&status["status"], &status["uptime"]), (&"running".into(), &5.into()));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["listeners"], json!([{"name": "one", "connections": 1}]));
    assert_eq!((&status["copies"]["matched"], &status["copies"]["queued"]), (&2.into(), &2.into()));
}

#[test]
fn mistakes_are_answered_with_a_code_and_words() {
    let broker = TestBroker::start(ADMIN);
    for (method, path, expected) in [
        ("GET", "clients/nobody", (404, "CLIENTID_NOT_FOUND")),
        ("DELETE", "clients/nobody", (404, "CLIENTID_NOT_FOUND")),
        ("DELETE", "sessions/nobody", (404, "CLIENTID_NOT_FOUND")),
        ("GET", "clients/nobody/subscriptions", (404, "CLIENTID_NOT_FOUND")),
        ("GET", "clients/nobody/mqueue_messages", (404, "CLIENTID_NOT_FOUND")),
        ("DELETE", "clients/nobody/mqueue_messages", (404, "CLIENTID_NOT_FOUND")),
        ("GET", "clients?page=0", (400, "BAD_REQUEST")),
        ("GET", "clients?limit=10001", (400, "BAD_REQUEST")),
        ("GET", "clients?limit=many", (400, "BAD_REQUEST")),
        ("GET", "clients?colour=red", (400, "BAD_REQUEST")),
        ("GET", "clients?conn_state=maybe", (400, "BAD_REQUEST")),
        ("GET", "mqtt/retainer/messages?topic=a%23", (400, "BAD_REQUEST")),
        ("GET", "mqtt/retainer/messages?topic=%24share/g/a", (400, "BAD_REQUEST")),
        ("DELETE", "mqtt/retainer/messages", (400, "BAD_REQUEST")),
        ("GET", "mqtt/retainer/message/%2B", (400, "BAD_REQUEST")),
        ("GET", "mqtt/retainer/message/nothing", (404, "NOT_FOUND")),
        ("GET", "nothing", (404, "NOT_FOUND")),
        ("PUT", "clients/nobody", (405, "METHOD_NOT_ALLOWED")),
    ] {
        assert_eq!(broker.refuses(method, path), (expected.0, expected.1.into()), "{method} {path}");
    }
}

#[test]
fn web_pages_are_kept_out_of_the_api_but_not_of_health() {
    let broker = TestBroker::start(ADMIN);
    let code = |path: &str, headers: &[&str]| request_with(broker.admin(), "GET", path, headers).code;
    let localhost = format!("host: localhost:{}", broker.admin().port());
    assert_eq!(code("/api/v5/status", &[&localhost]), 200);
    assert_eq!(code("/api/v5/status", &[&localhost, "origin: http://evil.example"]), 403);
    assert_eq!(code("/api/v5/status", &["host: evil.example"]), 403);
    assert_eq!(code("/livez", &["host: midge.monitoring.svc"]), 200);
}

#[test]
fn without_http_api_there_are_only_health_and_metrics() {
    let broker = TestBroker::start("[admin]\nhttp = \"127.0.0.1:0\"\nhttp_api = false");
    assert_eq!(get(broker.admin(), "/metrics").code, 200);
    assert_eq!(get(broker.admin(), "/api/v5/status").code, 404);
}
