//! What one client lost, by cause: in its view, wherever it was decided, for as long as its session lasts.

use midge::message::DropCause;
use midge::packet::{ReasonCode, SubscribeOptions};
use serde_json::Value;

use crate::support::{Client, Connect, Incoming, PATIENCE, Publish, TestBroker, get, request, subscription};

const ADMIN: &str = "[admin]\nhttp = \"127.0.0.1:0\"\n[sys]\ninterval = 0\n";
const TWO: &str = "[limits]\nqueue_messages_max = 2\n";

impl TestBroker {
    fn view(&self, client_id: &str) -> Value {
        get(self.admin(), &format!("/api/v5/clients/{client_id}")).json()
    }

    /// Waits until the client has lost this, and nothing else, and every copy is accounted for.
    fn lost(&self, client_id: &str, expected: &[(DropCause, u64)]) {
        self.until(&format!("{client_id} has lost {expected:?}"), |broker| {
            let view = broker.view(client_id);
            let by_cause = |cause: DropCause| view[format!("send_msg.dropped.{}", cause.name())].as_u64();
            let said: Vec<_> = DropCause::ALL.map(|cause| (cause, by_cause(cause).expect("a number"))).into();
            let sum: u64 = expected.iter().map(|(_, copies)| copies).sum();
            said.into_iter().filter(|(_, copies)| *copies > 0).eq(expected.iter().copied())
                && view["send_msg.dropped"] == sum
                && broker.accounting().is_balanced()
        });
    }
}

fn lasting(client_id: &str) -> Connect<'_> {
    Connect { client_id, resume: true, session_expiry: 3600, ..Connect::default() }
}

fn publish(client: &mut Client, topic: &str, qos: u8, expiry: Option<u32>) {
    client.publish(Publish { topic, payload: b"payload", qos, expiry, ..Publish::default() });
    if qos == 1 {
        assert_eq!(client.next(), Incoming::PubAck(ReasonCode::Success));
    }
}

#[test]
fn what_is_lost_in_the_queue_is_counted_by_cause_and_outlives_reconnects() {
    use DropCause::{Expired, Offline, Purged, QueueFull};
    let broker = TestBroker::start(&format!("{ADMIN}{TWO}"));
    let mut client = broker.connect(lasting("c"));
    client.subscribe("t", subscription(1));
    broker.lost("c", &[]);
    client.leave();
    let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
    (0..3).for_each(|_| publish(&mut publisher, "t", 0, None));
    (0..6).for_each(|_| publish(&mut publisher, "t", 1, None));
    broker.lost("c", &[(QueueFull, 4), (Offline, 3)]);
    assert_eq!(request(broker.admin(), "DELETE", "/api/v5/clients/c/mqueue_messages").code, 200);
    broker.lost("c", &[(QueueFull, 4), (Offline, 3), (Purged, 2)]);
    publish(&mut publisher, "t", 1, Some(5));
    broker.clock.advance(std::time::Duration::from_secs(6));
    let client = broker.connect(lasting("c"));
    broker.lost("c", &[(QueueFull, 4), (Offline, 3), (Expired, 1), (Purged, 2)]);
    client.vanish();
    broker.connect(lasting("c")).leave();
    broker.lost("c", &[(QueueFull, 4), (Offline, 3), (Expired, 1), (Purged, 2)]);
    assert_eq!((&broker.view("c")["mqueue_dropped"], &broker.view("c")["mqueue_refused"]), (&4.into(), &0.into()));
    broker.lost("p", &[]);
    // A new session begins at nothing.
    broker.connect(Connect { resume: false, ..lasting("c") }).leave();
    broker.lost("c", &[]);
}

#[test]
fn what_is_lost_on_the_way_out_is_counted_by_cause() {
    use DropCause::{NoLocal, NotAuthorized, RefusedByReceiver, TooLarge};
    let directory = tempfile::tempdir().unwrap();
    let acl = directory.path().join("acl");
    std::fs::write(&acl, "topic write #\ntopic read open/#\n").unwrap();
    let broker = TestBroker::start(&format!("{ADMIN}[access]\nacl_file = {acl:?}"));
    let small = |size| Connect { maximum_packet_size: Some(size), ..lasting("c") };
    let mut client = broker.connect(small(60));
    client.subscribe("#", subscription(1));
    let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
    publish(&mut publisher, "closed", 1, None);
    broker.lost("c", &[(NotAuthorized, 1)]);
    for qos in [0, 1] {
        publisher.publish(Publish { topic: "open", payload: &[b'x'; 100], qos, ..Publish::default() });
    }
    assert_eq!(publisher.next(), Incoming::PubAck(ReasonCode::Success));
    broker.lost("c", &[(TooLarge, 2), (NotAuthorized, 1)]);
    publish(&mut publisher, "open", 1, None);
    let id = client.take_id();
    client.puback(id, ReasonCode::UnspecifiedError);
    broker.lost("c", &[(TooLarge, 2), (NotAuthorized, 1), (RefusedByReceiver, 1)]);
    publisher.publish(Publish { topic: "open", payload: &[b'x'; 45], qos: 1, ..Publish::default() });
    assert_eq!(publisher.next(), Incoming::PubAck(ReasonCode::Success));
    client.take_id();
    client.vanish();
    // What is in flight has become too large for the client that comes back.
    broker.connect(small(40)).leave();
    broker.lost("c", &[(TooLarge, 3), (NotAuthorized, 1), (RefusedByReceiver, 1)]);

    let mut own = broker.connect(lasting("own"));
    own.subscribe("open/own", SubscribeOptions { no_local: true, ..subscription(1) });
    publish(&mut own, "open/own", 1, None);
    broker.lost("own", &[(NoLocal, 1)]);
    own.publish(Publish { topic: "open/own", payload: b"kept", qos: 1, retain: true, ..Publish::default() });
    assert_eq!(own.next(), Incoming::PubAck(ReasonCode::Success));
    own.subscribe("open/own", SubscribeOptions { no_local: true, ..subscription(1) });
    broker.lost("own", &[(NoLocal, 3)]);
}

/// A client that does not read: the kernel has taken some QoS 0 messages, the driver holds some, others wait.
fn stuck(broker: &TestBroker) -> Client {
    let mut subscriber = broker.connect(lasting("c"));
    subscriber.subscribe("t", subscription(0));
    let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
    let payload = vec![b'x'; 256 * 1024];
    for _ in 0..64 {
        publisher.publish(Publish { topic: "t", payload: &payload, ..Publish::default() });
    }
    broker.until("some wait at the socket and some in the queue", |broker| {
        let sums = broker.accounting();
        sums.matched == 64 && sums.inflight > 0 && sums.queued > 0 && sums.is_balanced()
    });
    subscriber
}

/// Waits until all that was not delivered is lost, to this client as to the broker.
fn all_is_lost(broker: &TestBroker) {
    broker.until("the client has lost what the broker has dropped", |broker| {
        let (view, counts, sums) = (broker.view("c"), broker.counts(), broker.accounting());
        let lost =
            |cause: DropCause| view[format!("send_msg.dropped.{}", cause.name())] == counts.dropped[cause as usize];
        sums.inflight == 0
            && sums.queued == 0
            && counts.dropped[DropCause::ConnectionLost as usize] > 0
            && DropCause::ALL.into_iter().all(lost)
            && view["send_msg.dropped"] == 64 - sums.delivered
            && sums.is_balanced()
    });
}

#[test]
fn what_the_kernel_has_not_taken_is_lost_with_the_connection() {
    let broker = TestBroker::start(ADMIN);
    stuck(&broker).vanish();
    all_is_lost(&broker);
}

#[test]
fn last_words_that_the_client_does_not_take_are_its_loss_when_the_session_has_been_let_go() {
    let broker = TestBroker::start(ADMIN);
    let _silent = stuck(&broker);
    assert_eq!(request(broker.admin(), "DELETE", "/api/v5/clients/c").code, 204);
    let unsent = broker.counts().dropped[DropCause::ConnectionLost as usize];
    assert_eq!(unsent, 0, "the last words have a second");
    broker.clock.advance(PATIENCE);
    all_is_lost(&broker);
}

#[test]
fn a_message_that_is_refused_as_a_whole_is_nobodys_loss() {
    for policy in ["refuse", "drop_newest"] {
        let listener = format!("[[listener]]\naddress = \"127.0.0.1:0\"\non_queue_full = \"{policy}\"\n");
        let broker = TestBroker::with_listeners(&listener, &format!("{ADMIN}{TWO}"));
        let mut client = broker.connect(lasting("full"));
        client.subscribe("t", subscription(1));
        client.leave();
        let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
        let codes: Vec<_> = (0..4).map(|_| publisher.publish_acked("t", "payload")).collect();
        assert_eq!(codes[2..], [ReasonCode::QuotaExceeded; 2], "{policy}");
        broker.lost("full", &[]);
        let view = broker.view("full");
        assert_eq!((&view["mqueue_refused"], &view["mqueue_dropped"]), (&2.into(), &0.into()), "{policy}");
        // Where another takes the message, what a full queue of "drop_newest" does not get is lost.
        let mut other = broker.connect(Connect { client_id: "other", ..Connect::default() });
        other.subscribe("t", subscription(1));
        let (code, lost, refused) = match policy {
            "refuse" => (ReasonCode::QuotaExceeded, vec![], 3),
            _ => (ReasonCode::Success, vec![(DropCause::QueueFull, 1)], 2),
        };
        assert_eq!(publisher.publish_acked("t", "payload"), code, "{policy}");
        broker.lost("full", &lost);
        assert_eq!(broker.view("full")["mqueue_refused"], refused, "{policy}");
        assert_eq!(broker.view("other")["mqueue_refused"], 0, "{policy}");
    }
}

#[test]
fn the_list_of_clients_tells_sums_and_no_causes() {
    let broker = TestBroker::start(&format!("{ADMIN}{TWO}"));
    let mut client = broker.connect(lasting("c"));
    client.subscribe("t", subscription(1));
    client.leave();
    let mut publisher = broker.connect(Connect { client_id: "p", ..Connect::default() });
    (0..5).for_each(|_| publish(&mut publisher, "t", 1, None));
    broker.lost("c", &[(DropCause::QueueFull, 3)]);
    let list = get(broker.admin(), "/api/v5/clients").json();
    let row = list["data"][0].as_object().expect("a row");
    assert_eq!((&row["send_msg.dropped"], &row["mqueue_dropped"]), (&3.into(), &3.into()));
    assert!(!row.keys().any(|member| member.starts_with("send_msg.dropped.")), "{row:?}");
}
