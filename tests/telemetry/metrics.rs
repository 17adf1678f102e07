use crate::support::{Connect, Publish, TestBroker, get, subscription};

fn value(page: &str, metric: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn metrics_say_what_happened() {
    let broker = TestBroker::start("[admin]\nhttp = \"127.0.0.1:0\"\n[sys]\ninterval = 0");
    let mut subscriber = broker.connect(Connect { client_id: "s", ..Connect::default() });
    subscriber.subscribe("a/#", subscription(1));
    subscriber.subscribe("$share/g/b/#", subscription(1));
    let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
    publisher.publish_acked("a/1", "x");
    publisher.publish(Publish { topic: "nobody", payload: b"xyz", retain: true, ..Publish::default() });
    publisher.publish_acked("b/2", "y");
    for expected in ["x", "y"] {
        assert_eq!(subscriber.take(), expected);
    }
    broker.until("both messages are delivered", |broker| broker.counts().delivered_qos1 == 2);

    let answer = get(broker.admin(), "/metrics");
    assert_eq!(answer.code, 200);
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    for (metric, expected) in [
        ("midge_publish_received_total{qos=\"1\"}", 2.0),
        ("midge_publish_received_total{qos=\"0\"}", 1.0),
        ("midge_publish_received_bytes_total", 5.0),
        ("midge_messages_no_subscriber_total", 1.0),
        ("midge_copies_delivered_total{qos=\"1\"}", 2.0),
        ("midge_copies_dropped_total{cause=\"queue_full\"}", 0.0),
        ("midge_sessions", 2.0),
        ("midge_connections{listener=\"one\"}", 2.0),
        ("midge_clients_connected{listener=\"one\",protocol=\"5\"}", 2.0),
        ("midge_subscriptions", 1.0),
        ("midge_shared_subscriptions", 1.0),
        ("midge_retained_messages", 1.0),
        ("broker_clients_connected", 2.0),
        ("broker_retained_messages_count", 1.0),
        ("broker_uptime", 0.0),
    ] {
        assert_eq!(value(&answer.body, metric), Some(expected), "{metric} in\n{}", answer.body);
    }
    assert!(value(&answer.body, "process_open_fds").unwrap() > 4.0);
    assert!(value(&answer.body, "process_cpu_seconds_total").unwrap() > 0.0);
}

#[test]
fn no_client_and_no_topic_ever_is_a_label() {
    let broker = TestBroker::start("[admin]\nhttp = \"127.0.0.1:0\"");
    let mut client = broker.connect(Connect { client_id: "very-special-id", ..Connect::default() });
    client.subscribe("very/special/topic", subscription(1));
    client.publish_acked("very/special/topic", "x");
    assert_eq!(client.take(), "x");
    let page = get(broker.admin(), "/metrics").body;
    assert!(!page.contains("special"), "{page}");
}
