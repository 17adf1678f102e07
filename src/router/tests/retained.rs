//! Retained messages: what replaces what, what a new subscription gets, limits and expiry.

use super::*;

fn retained(topic: &str, payload: &str) -> Message {
    Message::new(&MessageParts { retain: true, ..parts(topic, payload, AtLeastOnce) })
}

const ANY: u64 = Router::ANY_VERSION;

// [MQTT-3.3.1-5] [MQTT-3.3.1-8]
#[test]
fn the_last_retained_message_of_a_topic_is_kept_and_others_change_nothing() {
    let mut fixture = Fixture::new();
    for message in [retained("a", "1"), retained("b", "2"), retained("a", "3"), message("a", "4", AtLeastOnce)] {
        fixture.give(&message);
    }
    fixture.publish("b", "", AtMostOnce);
    assert_eq!(fixture.retained("#", ANY), ["3", "2"]);
    assert_eq!(fixture.router.retained_len(), 2);
    let sizes = retained("a", "3").size() + retained("b", "2").size();
    assert_eq!(fixture.router.retained_bytes(), sizes as u64);
}

// [MQTT-3.3.1-6] [MQTT-3.3.1-7]
#[test]
fn an_empty_payload_deletes_and_is_delivered_but_not_kept() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client("c");
    fixture.subscribe(&client, "a", qos(AtMostOnce));
    fixture.give(&retained("a", "1"));
    fixture.give(&retained("a", ""));
    fixture.give(&retained("a", ""));
    assert_eq!(client.read(), ["a '1' q0", "a '' q0", "a '' q0"]);
    assert_eq!((fixture.router.retained_len(), fixture.router.retained_bytes()), (0, 0));
    assert_eq!(fixture.retained("#", ANY), [""; 0]);
}

#[test]
fn what_was_retained_before_the_subscription_is_replayed_and_what_comes_later_is_not() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client("c");
    fixture.give(&retained("a", "old"));
    fixture.give(&retained("b", "old too"));
    let before = fixture.subscribe(&client, "#", qos(AtMostOnce)).retained_before;
    fixture.give(&retained("b", "new"));
    fixture.give(&retained("c", "new too"));
    assert_eq!(fixture.retained("#", before), ["old"]);
    assert_eq!(client.read(), ["b 'new' q0", "c 'new too' q0"]);
}

#[test]
fn a_refused_publish_leaves_the_retained_message_as_it_was() {
    let mut fixture = Fixture::new();
    fixture.give(&retained("t", "1"));
    let full = fixture.client_with("c", QueueLimits { messages_max: 0, ..LIMITS });
    fixture.subscribe(&full, "t", qos(AtLeastOnce));
    for payload in ["2", ""] {
        assert_eq!(fixture.give(&retained("t", payload)), Outcome::Refused(Refused::QueueFull));
    }
    assert_eq!(fixture.retained("t", ANY), ["1"]);
}

#[test]
fn beyond_a_limit_new_topics_are_refused_to_everybody_and_old_ones_go_on() {
    let limits = RetainedLimits { messages_max: 2, bytes_max: 1_000 };
    let mut fixture = Fixture::with(&RouterConfig { retained: limits, ..config() });
    let mut client = fixture.client("c");
    fixture.subscribe(&client, "#", qos(AtMostOnce));
    fixture.give(&retained("a", "1"));
    fixture.give(&retained("b", "1"));
    assert_eq!(fixture.give(&retained("c", "1")), Outcome::Refused(Refused::RetainedFull));
    assert_eq!(fixture.give(&retained("a", "2")), Outcome::Routed { matched: 1 });
    let large = "x".repeat(1_000);
    assert_eq!(fixture.give(&retained("a", &large)), Outcome::Refused(Refused::RetainedFull));
    assert_eq!(fixture.give(&retained("nothing there", "")), Outcome::Routed { matched: 1 });
    assert_eq!(fixture.retained("#", ANY), ["2", "1"]);
    fixture.give(&retained("b", ""));
    assert_eq!(fixture.give(&retained("c", "1")), Outcome::Routed { matched: 1 });
    assert_eq!(client.read().len(), 6 - 3, "the queue of three keeps the newest");
    assert_eq!(fixture.batch.counts.refused_messages, 2);
}

// [MQTT-3.3.2-5]
#[test]
fn expired_messages_are_not_replayed_and_are_swept() {
    let mut fixture = Fixture::new();
    let until =
        |at| MessageParts { retain: true, expires_at: BrokerTime::from_millis(at), ..parts("", "", AtMostOnce) };
    fixture.give(&Message::new(&MessageParts { topic: "a", payload: b"10", ..until(10) }));
    fixture.give(&Message::new(&MessageParts { topic: "b", payload: b"20", ..until(20) }));
    fixture.give(&Message::new(&MessageParts { topic: "c", payload: b"30", ..until(30) }));
    fixture.give(&retained("c", "for ever"));
    fixture.batch.now = BrokerTime::from_millis(10);
    assert_eq!(fixture.retained("#", ANY), ["20", "for ever"]);
    assert_eq!(fixture.router.retained_len(), 3);
    fixture.router.sweep(&mut fixture.batch);
    assert_eq!((fixture.router.retained_len(), fixture.batch.counts.retained_expired), (2, 1));
    fixture.batch.now = BrokerTime::from_millis(1_000);
    fixture.router.sweep(&mut fixture.batch);
    assert_eq!((fixture.retained("#", ANY), fixture.batch.counts.retained_expired), (vec!["for ever".into()], 2));
}

#[test]
fn an_operator_removes_by_topic() {
    let mut fixture = Fixture::new();
    fixture.give(&retained("a", "1"));
    assert!(fixture.router.remove_retained("a", &mut fixture.batch));
    assert!(!fixture.router.remove_retained("a", &mut fixture.batch));
    assert_eq!(fixture.router.retained_bytes(), 0);
}

// [MQTT-4.7.2-1] [MQTT-3.3.1-9]
#[test]
fn a_filter_finds_the_retained_messages_it_matches() {
    let mut fixture = Fixture::new();
    for topic in ["a", "a/b", "a/b/c", "b", "$SYS/x", "a/"] {
        fixture.give(&retained(topic, topic));
    }
    for (filter, expected) in [
        ("#", &["a", "a/", "a/b", "a/b/c", "b"][..]),
        ("+", &["a", "b"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c"]),
        ("a/+", &["a/", "a/b"]),
        ("+/b/#", &["a/b", "a/b/c"]),
        ("$SYS/#", &["$SYS/x"]),
        ("a/b", &["a/b"]),
        ("nothing", &[]),
    ] {
        assert_eq!(fixture.retained(filter, ANY), expected, "{filter}");
    }
}
