//! QoS 0 messages that are handed out together.

use super::*;

fn gather(fixture: &mut Fixture, topic: &str, payload: &str) -> bool {
    fixture.router.gather(message(topic, payload, AtMostOnce), &mut fixture.batch).is_ok()
}

#[test]
fn gathered_messages_wait_for_the_end_and_wake_once() {
    let mut fixture = Fixture::new();
    let mut clients = ["a", "b"].map(|client_id| fixture.client(client_id));
    clients.iter().for_each(|client| assert!(!fixture.subscribe(client, "t", qos(AtMostOnce)).existed));
    clients.iter().for_each(Client::wait);
    for payload in ["1", "2", "3"] {
        assert!(gather(&mut fixture, "t", payload));
    }
    assert_eq!((fixture.batch.copies(), fixture.batch.counts.matched), (6, 0));
    assert!(clients.iter_mut().all(|client| client.read().is_empty()));
    clients.iter().for_each(Client::wait);
    fixture.flush();
    for client in &mut clients {
        assert_eq!((client.wakes(), client.read()), (1, vec!["t '1' q0".into(), "t '2' q0".into(), "t '3' q0".into()]));
    }
    assert_eq!(fixture.router.counters().snapshot().matched, 6);
}

// [MQTT-4.6.0-5], [MQTT-4.6.0-6]
#[test]
fn what_comes_after_a_gathered_message_does_not_overtake_it() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client_with("a", QueueLimits { messages_max: 5, ..LIMITS });
    fixture.subscribe(&client, "t/#", qos(AtLeastOnce));
    gather(&mut fixture, "t/1", "1");
    gather(&mut fixture, "t/2", "2");
    gather(&mut fixture, "t/1", "3");
    fixture.publish("t/1", "4", AtLeastOnce);
    gather(&mut fixture, "t/1", "5");
    fixture.flush();
    assert_eq!(client.read(), ["t/1 '1' q0", "t/2 '2' q0", "t/1 '3' q0", "t/1 '4' q1", "t/1 '5' q0"]);
}

#[test]
fn only_what_nobody_is_told_about_and_need_not_be_kept_is_gathered() {
    let mut fixture = Fixture::new();
    let client = fixture.client("a");
    fixture.subscribe(&client, "$share/g/shared", qos(AtMostOnce));
    assert!(!gather(&mut fixture, "shared", "1"));
    for (qos, retain) in [(AtLeastOnce, false), (ExactlyOnce, false), (AtMostOnce, true)] {
        let message = Message::new(&MessageParts { retain, ..parts("t", "1", qos) });
        assert!(fixture.router.gather(message, &mut fixture.batch).is_err());
    }
    assert!(gather(&mut fixture, "nobody", "1"));
    fixture.router.hand_out(&mut fixture.batch);
    assert_eq!((fixture.batch.counts.no_subscriber, fixture.batch.counts.matched), (1, 0));
}

#[test]
fn a_wide_fan_out_is_handed_out_before_much_has_gathered() {
    let mut fixture = Fixture::new();
    let limits = QueueLimits { messages_max: 1_000_000, bytes_max: u64::MAX, ..LIMITS };
    let clients: Vec<_> = (0..1_000).map(|n| fixture.client_with(&format!("c{n}"), limits)).collect();
    clients.iter().for_each(|client| assert!(!fixture.subscribe(client, "t", qos(AtMostOnce)).existed));
    for n in 1..=1_000 {
        assert!(gather(&mut fixture, "t", "x"));
        assert_eq!(fixture.batch.copies(), n * 1_000);
        assert!(fixture.batch.copies() - fixture.batch.counts.matched < 5_000);
    }
    let mut narrow = Fixture::new();
    let client = narrow.client_with("c", limits);
    narrow.subscribe(&client, "t", qos(AtMostOnce));
    for n in 1..=1_000 {
        assert!(gather(&mut narrow, "t", "x"));
        assert!(n - narrow.batch.counts.matched < 200);
    }
}
