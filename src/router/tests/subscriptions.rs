//! Who gets a message, and in what form.

use super::*;
use crate::router::subscriptions::REST;

// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn overlapping_subscriptions_are_one_copy_at_the_highest_qos_with_all_their_ids() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client("c");
    fixture.subscribe_as(&client, "a/#", qos(AtMostOnce), 5);
    fixture.subscribe_as(&client, "a/+", qos(AtLeastOnce), 3);
    fixture.subscribe(&client, "a/b", qos(AtMostOnce));
    fixture.subscribe_as(&client, "+/b", qos(AtLeastOnce), 4);
    assert_eq!(fixture.publish("a/b", "x", ExactlyOnce), Outcome::Routed { matched: 1 });
    assert_eq!(client.read(), ["a/b 'x' q1 [3, 4, 5]"]);
    fixture.publish("a/c/d", "y", ExactlyOnce);
    assert_eq!(client.read(), ["a/c/d 'y' q0 [5]"]);
}

// [MQTT-3.8.4-8]
#[test]
fn the_qos_is_the_lower_of_message_and_subscription() {
    for granted in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        for published in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            let mut fixture = Fixture::new();
            let mut client = fixture.client("c");
            fixture.subscribe(&client, "t", qos(granted));
            fixture.publish("t", "x", published);
            assert_eq!(client.read(), [format!("t 'x' q{}", granted.min(published) as u8)]);
        }
    }
}

// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
#[test]
fn retain_is_kept_only_for_those_who_want_it_as_published() {
    let mut fixture = Fixture::new();
    let (mut plain, mut keeping) = (fixture.client("plain"), fixture.client("keeping"));
    fixture.subscribe(&plain, "t", qos(AtMostOnce));
    fixture.subscribe(&keeping, "t", SubscribeOptions { retain_as_published: true, ..qos(AtMostOnce) });
    for retain in [true, false] {
        fixture.give(&Message::new(&MessageParts { retain, ..parts("t", "x", AtMostOnce) }));
    }
    assert_eq!(plain.read(), ["t 'x' q0", "t 'x' q0"]);
    assert_eq!(keeping.read(), ["t 'x' q0 retain", "t 'x' q0"]);
}

// [MQTT-3.8.3-3]
#[test]
fn no_local_spares_the_publisher_its_own_messages() {
    let mut fixture = Fixture::new();
    let (mut own, mut other) = (fixture.client("own"), fixture.client("other"));
    let no_local = SubscribeOptions { no_local: true, ..qos(AtLeastOnce) };
    fixture.subscribe(&own, "t", no_local);
    fixture.subscribe(&other, "t", no_local);
    let publisher = own.mailbox.publisher();
    fixture.give(&Message::new(&MessageParts { publisher, ..parts("t", "x", AtLeastOnce) }));
    assert_eq!((own.read().len(), other.read().len()), (0, 1));
    assert_eq!((fixture.batch.counts.matched, fixture.dropped(DropCause::NoLocal)), (2, 1));
    assert_eq!(fixture.router.mailbox(&"own".into(), LIMITS).publisher(), publisher, "a client is the same for ever");
}

// [MQTT-3.8.3-3] [MQTT-3.3.4-2]
#[test]
fn an_overlapping_subscription_without_no_local_delivers_by_its_own_options() {
    let mut fixture = Fixture::new();
    let mut own = fixture.client("own");
    fixture.subscribe_as(&own, "t/#", SubscribeOptions { no_local: true, ..qos(ExactlyOnce) }, 1);
    fixture.subscribe_as(&own, "t/a", qos(AtLeastOnce), 2);
    let publisher = own.mailbox.publisher();
    fixture.give(&Message::new(&MessageParts { publisher, ..parts("t/a", "x", ExactlyOnce) }));
    fixture.publish("t/a", "y", ExactlyOnce);
    assert_eq!(own.read(), ["t/a 'x' q1 [2]", "t/a 'y' q2 [1, 2]"]);
}

#[test]
fn a_publisher_that_only_its_own_no_local_subscription_matches_is_not_refused() {
    let mut fixture = Fixture::new();
    let own = fixture.client_with("own", QueueLimits { messages_max: 1, ..LIMITS });
    fixture.subscribe(&own, "t", SubscribeOptions { no_local: true, ..qos(AtLeastOnce) });
    let publisher = own.mailbox.publisher();
    for _ in 0..3 {
        let outcome = fixture.give(&Message::new(&MessageParts { publisher, ..parts("t", "x", AtLeastOnce) }));
        assert_eq!(outcome, Outcome::Routed { matched: 1 });
    }
}

#[test]
fn copies_that_were_never_promised_do_not_make_up_for_a_full_queue() {
    let mut fixture = Fixture::new();
    let own = fixture.client("own");
    fixture.subscribe(&own, "t", SubscribeOptions { no_local: true, ..qos(AtLeastOnce) });
    let full = fixture.client_with("full", QueueLimits { messages_max: 0, ..LIMITS });
    fixture.subscribe(&full, "t", qos(AtLeastOnce));
    let publisher = own.mailbox.publisher();
    let outcome = fixture.give(&Message::new(&MessageParts { publisher, ..parts("t", "x", AtLeastOnce) }));
    assert_eq!(outcome, Outcome::Refused(Refused::QueueFull));
    let counts = &fixture.batch.counts;
    assert_eq!((counts.matched, counts.dropped_sum(), counts.refused, counts.refused_messages), (2, 1, 1, 1));
}

// [MQTT-3.8.4-3] [MQTT-3.8.4-4]
#[test]
fn replacing_a_subscription_loses_nothing() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client("c");
    assert!(!fixture.subscribe_as(&client, "t", qos(AtMostOnce), 1).existed);
    fixture.publish("t", "before", AtLeastOnce);
    assert!(fixture.subscribe_as(&client, "t", qos(AtLeastOnce), 2).existed);
    fixture.publish("t", "after", AtLeastOnce);
    assert_eq!(client.read(), ["t 'before' q0 [1]", "t 'after' q1 [2]"]);
    assert_eq!(fixture.router.subscriptions_len(), 1);
}

// [MQTT-3.10.4-1] [MQTT-3.10.4-2]
#[test]
fn after_an_unsubscribe_nothing_new_is_added() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client("c");
    fixture.subscribe(&client, "a/+", qos(AtMostOnce));
    fixture.subscribe(&client, "a/#", qos(AtMostOnce));
    fixture.publish("a/b", "1", AtMostOnce);
    assert!(!fixture.unsubscribe(&client, "a/b") && !fixture.unsubscribe(&client, "A/+"));
    assert!(fixture.unsubscribe(&client, "a/+") && !fixture.unsubscribe(&client, "a/+"));
    fixture.publish("a/b", "2", AtMostOnce);
    assert!(fixture.unsubscribe(&client, "a/#"));
    assert_eq!(fixture.publish("a/b", "3", AtMostOnce), Outcome::Routed { matched: 0 });
    assert_eq!(client.read(), ["a/b '1' q0", "a/b '2' q0"]);
}

// [MQTT-4.7.2-1] [MQTT-4.7.3-4]
#[test]
fn leading_wildcards_do_not_see_dollar_topics_and_nothing_is_normalised() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client_with("c", QueueLimits { messages_max: 9, ..LIMITS });
    for filter in ["#", "+/x", "$SYS/#"] {
        fixture.subscribe(&client, filter, qos(AtMostOnce));
    }
    for topic in ["$SYS/x", "$other/x", "a/x", "A/X", "a/x/"] {
        fixture.publish(topic, "", AtMostOnce);
    }
    assert_eq!(client.read(), ["$SYS/x '' q0", "a/x '' q0", "A/X '' q0", "a/x/ '' q0"]);
}

// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn messages_keep_the_order_in_which_they_were_published() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client_with("c", QueueLimits { messages_max: 1_000, ..LIMITS });
    client.window = u32::MAX;
    fixture.subscribe(&client, "#", qos(ExactlyOnce));
    let mut expected = Vec::new();
    for n in 0..300 {
        let (topic, qos) = (["a", "b/c"][n % 2], [AtMostOnce, AtLeastOnce, ExactlyOnce][n % 3]);
        fixture.publish(topic, &n.to_string(), qos);
        expected.push(format!("{topic} '{n}' q{}", qos as u8));
    }
    assert_eq!(client.read(), expected);
}

#[test]
fn a_topic_that_was_matched_before_sees_every_later_change() {
    let mut fixture = Fixture::new();
    let clients: Vec<_> = (0..20).map(|n| fixture.client(&format!("c{n}"))).collect();
    for (n, client) in clients.iter().enumerate() {
        fixture.subscribe(client, "t", qos(AtMostOnce));
        assert_eq!(fixture.publish("t", "", AtMostOnce), Outcome::Routed { matched: n as u32 + 1 });
    }
    for (n, client) in clients.iter().enumerate() {
        fixture.unsubscribe(client, "t");
        assert_eq!(fixture.publish("t", "", AtMostOnce), Outcome::Routed { matched: 19 - n as u32 });
    }
}

#[test]
fn what_a_thread_remembers_of_matches_is_bounded() {
    let mut fixture = Fixture::new();
    let clients: Vec<_> = (0..1_000).map(|n| fixture.client(&format!("c{n}"))).collect();
    for client in &clients {
        fixture.subscribe(client, "#", qos(AtMostOnce));
    }
    let mut most = 0;
    for n in 0..1_000 {
        let topic = format!("{n}/{}", "x".repeat(1_000));
        assert_eq!(fixture.publish(&topic, "", AtMostOnce), Outcome::Routed { matched: 1_000 });
        most = most.max(fixture.batch.matches.as_ref().map_or(0, |cache| cache.bytes()));
    }
    assert!((1_000_000..=16 * 1024 * 1024).contains(&most), "{most}");
}

#[test]
fn matches_of_topics_that_come_once_are_not_remembered_for_long() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client_with("c", QueueLimits { messages_max: 1, ..LIMITS });
    fixture.subscribe(&client, "#", qos(AtMostOnce));
    for n in 0..20 {
        let another = fixture.client(&n.to_string());
        fixture.subscribe(&another, "wide", qos(AtMostOnce));
    }
    let bytes = |fixture: &Fixture| fixture.batch.matches.as_ref().map_or(0, |cache| cache.bytes());
    let mut publish = |topic: &str| {
        // The short ones in runs, which hold on to their matches until they are handed out.
        if !fixture.router.gather(&draft(topic, "", AtMostOnce), &mut fixture.batch) {
            fixture.publish(topic, "", AtMostOnce);
        }
        fixture.flush();
        assert_eq!(client.read(), [format!("{topic} '' q0")]);
        bytes(&fixture)
    };
    // So long that some hundred fill the cache.
    let long = |n: usize| format!("{n}/{}", "x".repeat(60_000));
    let filled = (0..).find(|n| publish(&long(*n)) < 60_000 * n).expect("it becomes full");
    let kept = publish("short");
    let rest = filled * REST as usize;
    for n in 0..rest - 10 {
        assert_eq!(publish(["short", "shorter", "wide"][n % 3]) > kept, n >= 2, "only what many get is remembered");
    }
    let kept = publish("wide");
    for _ in 0..20 {
        publish("short");
    }
    assert!(publish("shorter") > kept, "it rests no more");
    // With topics that come twice it does not rest.
    let filled = (0..).find(|n| publish(&long(*n)).max(publish(&long(*n))) < 60_000 * n).expect("it becomes full");
    let before = publish(&long(filled + 1));
    assert!(publish(&long(filled + 2)) > before);
}

#[test]
fn the_sharer_and_the_subscriber_in_one_client_are_two_copies() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client("c");
    fixture.subscribe_as(&client, "t", qos(AtMostOnce), 1);
    fixture.subscribe_as(&client, "$share/g/t", qos(AtLeastOnce), 2);
    assert_eq!(fixture.publish("t", "x", AtLeastOnce), Outcome::Routed { matched: 2 });
    let mut read = client.read();
    read.sort_unstable();
    assert_eq!(read, ["t 'x' q0 [1]", "t 'x' q1 [2]"]);
}
