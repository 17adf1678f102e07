//! Session state across connections: sections 3.1.2.4, 3.1.2.11.2, 3.1.4, 4.1 and 4.4.

use crate::support::received::ConnAck;
use crate::support::wire::{
    self, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, Subscribe, Version, ack, property,
};
use crate::support::{Case, Client, cases};

cases! {
    clean_start_begins_a_session: V4 V5;
    first_connect_without_clean_start_begins_a_session: V4 V5;
    session_is_resumed: V4 V5;
    clean_start_discards_the_session: V3 V4 V5;
    clean_session_ends_with_its_connection: V3 V4;
    session_without_expiry_ends_with_its_connection: V5;
    session_outlives_clean_start_when_it_has_an_expiry: V5;
    session_survives_a_broken_connection: V3 V4 V5;
    session_expires: V5;
    session_expiry_that_never_comes_is_accepted: V5;
    session_expiry_counts_from_the_last_close: V5;
    disconnect_may_end_the_session: V5;
    disconnect_may_lengthen_the_session: V5;
    disconnect_may_not_begin_an_expiry: V5;
    return_without_expiry_ends_the_session_at_its_close: V5;
    subscriptions_survive: V3 V4 V5;
    subscription_options_survive: V5;
    unsubscribed_stays_unsubscribed: V3 V4 V5;
    messages_wait_for_a_session_that_is_away: V3 V4 V5;
    messages_for_an_absent_session_keep_their_order: V3 V4 V5;
    message_that_waited_is_no_duplicate: V3 V4 V5;
    unacknowledged_qos_1_is_sent_again: V3 V4 V5;
    acknowledged_qos_1_is_not_sent_again: V3 V4 V5;
    unacknowledged_qos_2_is_sent_again: V3 V4 V5;
    started_qos_2_does_not_expire: V5;
    unacknowledged_pubrel_is_sent_again: V3 V4 V5;
    completed_qos_2_is_not_sent_again: V3 V4 V5;
    messages_are_sent_again_in_their_order: V3 V4 V5;
    nothing_is_sent_again_on_a_living_connection: V3 V4 V5;
    refused_by_puback_is_not_sent_again: V5;
    refused_by_pubrec_is_not_sent_again: V5;
    received_qos_2_is_remembered: V3 V4 V5;
    pubrel_after_the_return_is_answered: V3 V4 V5;
    packet_ids_in_use_are_not_given_to_new_messages: V3 V4 V5;
    clean_start_forgets_received_qos_2: V3 V4 V5;
    clean_start_drops_waiting_messages: V3 V4 V5;
    message_expires_while_the_session_is_away: V5;
    message_expiry_counts_down_while_the_session_is_away: V5;
    takeover_tells_the_old_connection: V3 V4 V5;
    takeover_moves_the_session: V3 V4 V5;
    takeover_by_clean_start_leaves_nothing: V3 V4 V5;
    takeover_by_another_version: V4 V5;
    takeover_again_and_again: V3 V4 V5;
    two_ids_are_two_sessions: V3 V4 V5;
    client_ids_are_compared_exactly: V3 V4 V5;
    dollar_subscriptions_do_not_stop_a_return: V3 V4 V5;
}

/// Connects the case's client for which messages wait, or lets it return.
fn back(case: &Case) -> (Client, ConnAck) {
    case.accepted(case.connect("away").lasting())
}

/// Returns, and checks that the broker says it had the session (3.1 has no way to say it).
fn resumed(case: &Case) -> Client {
    let (client, connack) = back(case);
    assert_eq!(connack.session_present, case.version != Version::V3, "session present");
    client
}

/// A lasting session with a subscription to `t` at QoS 2, connected.
fn subscribed(case: &Case) -> Client {
    let mut client = back(case).0;
    client.subscribe(case.topic("t"), 2);
    client
}

fn publish(case: &Case, payload: &str, qos: u8) {
    case.publish(case.message("t", payload), qos);
}

// [MQTT-3.1.2-4] [MQTT-3.2.2-2]
fn clean_start_begins_a_session(case: &Case) {
    assert!(!case.accepted(case.connect("a")).1.session_present);
    assert!(!case.accepted(case.connect("a")).1.session_present);
}

// [MQTT-3.1.2-6] [MQTT-3.2.2-3]
fn first_connect_without_clean_start_begins_a_session(case: &Case) {
    assert!(!back(case).1.session_present);
}

// [MQTT-3.1.2-5] [MQTT-3.2.2-3] [MQTT-3.1.2-23]
fn session_is_resumed(case: &Case) {
    back(case).0.leave();
    for _ in 0..3 {
        resumed(case).leave();
    }
}

// [MQTT-3.1.2-4] [MQTT-3.1.4-4]
fn clean_start_discards_the_session(case: &Case) {
    subscribed(case).leave();
    case.accepted(case.connect("away")).0.leave();
    publish(case, "to nobody", 1);
    let (mut client, connack) = back(case);
    assert!(!connack.session_present);
    client.expect_nothing();
}

// [MQTT-3.1.1 3.1.2-6]
fn clean_session_ends_with_its_connection(case: &Case) {
    let mut client = case.client("away");
    client.subscribe(case.topic("t"), 1);
    client.leave();
    publish(case, "to nobody", 1);
    let (mut client, connack) = back(case);
    assert!(!connack.session_present);
    client.expect_nothing();
}

// [MQTT-4.1.0-2]: absent means 0.
fn session_without_expiry_ends_with_its_connection(case: &Case) {
    for connect in [case.connect("away"), case.connect("away").with(property::session_expiry_interval(0))] {
        case.accepted(connect.resume()).0.leave();
        assert!(!back(case).1.session_present);
        case.accepted(case.connect("away")).0.leave();
    }
}

// [MQTT-3.1.2-23]
fn session_outlives_clean_start_when_it_has_an_expiry(case: &Case) {
    case.accepted(case.connect("away").with(property::session_expiry_interval(300))).0.leave();
    resumed(case);
}

// [MQTT-3.1.2-23]
fn session_survives_a_broken_connection(case: &Case) {
    let client = subscribed(case);
    client.vanish();
    publish(case, "kept", 1);
    resumed(case).receive(case.topic("t"), "kept", 1);
}

// [MQTT-4.1.0-2]
fn session_expires(case: &Case) {
    case.accepted(case.connect("away").resume().with(property::session_expiry_interval(1))).0.leave();
    case.let_broker_time_pass(3);
    assert!(!back(case).1.session_present);
}

// Section 3.1.2.11.2: 0xFFFFFFFF.
fn session_expiry_that_never_comes_is_accepted(case: &Case) {
    case.accepted(case.connect("away").with(property::session_expiry_interval(u32::MAX))).0.leave();
    // Not forever after this test.
    let (client, connack) = case.accepted(case.connect("away").resume());
    assert!(connack.session_present);
    client.leave();
}

// [MQTT-4.1.0-1] [MQTT-4.1.0-2]
fn session_expiry_counts_from_the_last_close(case: &Case) {
    let brief = || case.connect("away").resume().with(property::session_expiry_interval(2));
    let client = case.accepted(brief()).0;
    case.let_broker_time_pass(3);
    client.leave();
    assert!(case.accepted(brief()).1.session_present);
}

// Section 3.14.2.2.2
fn disconnect_may_end_the_session(case: &Case) {
    let mut client = back(case).0;
    client.send(wire::disconnect_because(0, &property::session_expiry_interval(0)));
    client.expect_closed();
    assert!(!back(case).1.session_present);
}

// Section 3.14.2.2.2
fn disconnect_may_lengthen_the_session(case: &Case) {
    let mut client = case.accepted(case.connect("away").with(property::session_expiry_interval(1))).0;
    client.send(wire::disconnect_because(0, &property::session_expiry_interval(300)));
    client.expect_closed();
    case.let_broker_time_pass(3);
    resumed(case);
}

// Section 3.14.2.2.2: a protocol error where CONNECT had 0 or none.
fn disconnect_may_not_begin_an_expiry(case: &Case) {
    let mut client = case.client("away");
    client.send(wire::disconnect_because(0, &property::session_expiry_interval(5)));
    client.expect_disconnect(&[0x82]);
}

// Section 3.1.2.11.2: each CONNECT sets the expiry anew.
fn return_without_expiry_ends_the_session_at_its_close(case: &Case) {
    back(case).0.leave();
    let (client, connack) = case.accepted(case.connect("away").resume());
    assert!(connack.session_present);
    client.leave();
    assert!(!back(case).1.session_present);
}

// Section 4.1: subscriptions are session state.
fn subscriptions_survive(case: &Case) {
    let mut client = back(case).0;
    client.subscribe(case.topic("+/x"), 1);
    client.subscribe(case.topic("b/#"), 0);
    client.leave();
    let mut client = resumed(case);
    case.publish(case.message("a/x", "by the first"), 1);
    case.publish(case.message("b/y/z", "by the second"), 1);
    client.receive(case.topic("a/x"), "by the first", 1);
    client.receive(case.topic("b/y/z"), "by the second", 0);
}

// Section 4.1: with their options and identifiers.
fn subscription_options_survive(case: &Case) {
    let mut client = back(case).0;
    let subscribe = Subscribe::new(case.version, 1).with(property::subscription_identifier(268_435_455));
    client.send(subscribe.filter(case.topic("t"), 0x08 | 0x04 | 1).bytes());
    assert_eq!(client.suback().codes, [1]);
    client.leave();
    let mut client = resumed(case);
    client.complete(case.message("t", "own"), 1);
    case.publish(case.message("t", "another's").retain(), 1);
    let publish = client.receive(case.topic("t"), "another's", 1);
    assert!(publish.retain, "retain as published");
    assert_eq!(publish.properties.all(0x0b), [property::subscription_identifier(268_435_455)]);
}

// [MQTT-3.10.4-1]
fn unsubscribed_stays_unsubscribed(case: &Case) {
    let mut client = subscribed(case);
    client.unsubscribe(case.topic("t"));
    client.leave();
    publish(case, "to nobody", 1);
    resumed(case).expect_nothing();
}

// [MQTT-4.5.0-1]
fn messages_wait_for_a_session_that_is_away(case: &Case) {
    subscribed(case).leave();
    publish(case, "one", 1);
    publish(case, "two", 2);
    let mut client = resumed(case);
    client.receive(case.topic("t"), "one", 1);
    client.receive(case.topic("t"), "two", 2);
    client.expect_nothing();
}

// [MQTT-4.6.0-5]
fn messages_for_an_absent_session_keep_their_order(case: &Case) {
    subscribed(case).leave();
    let mut publisher = case.client("p");
    for number in 0..100 {
        publisher.complete(case.message("t", number.to_string()), 1);
    }
    let mut client = resumed(case);
    for number in 0..100 {
        client.receive(case.topic("t"), number.to_string(), 1);
    }
}

// [MQTT-3.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2]: the first time it is sent.
fn message_that_waited_is_no_duplicate(case: &Case) {
    subscribed(case).leave();
    publish(case, "one", 1);
    publish(case, "two", 2);
    let mut client = resumed(case);
    assert!(!client.receive(case.topic("t"), "one", 1).dup);
    assert!(!client.receive(case.topic("t"), "two", 2).dup);
}

// [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.2-3]
fn unacknowledged_qos_1_is_sent_again(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "again", 1);
    let first = client.publish();
    assert!(!first.dup);
    client.vanish();
    for _ in 0..3 {
        let mut client = resumed(case);
        let again = client.publish();
        assert_eq!((again.dup, again.id, &again.payload), (true, first.id, &first.payload));
        client.vanish();
    }
    let mut client = resumed(case);
    let again = client.publish();
    client.acknowledge(&again);
    client.expect_nothing();
}

// [MQTT-4.4.0-1]
fn acknowledged_qos_1_is_not_sent_again(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "once", 1);
    client.receive(case.topic("t"), "once", 1);
    client.ping();
    client.vanish();
    resumed(case).expect_nothing();
}

// [MQTT-4.4.0-1] [MQTT-4.3.3-3]
fn unacknowledged_qos_2_is_sent_again(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "again", 2);
    let first = client.publish();
    client.vanish();
    let mut client = resumed(case);
    let again = client.publish();
    assert_eq!((again.dup, again.qos, again.id, &again.payload), (true, 2, first.id, &first.payload));
    client.acknowledge(&again);
    client.expect_nothing();
}

// [MQTT-4.3.3-7]
fn started_qos_2_does_not_expire(case: &Case) {
    let mut client = subscribed(case);
    case.publish(case.message("t", "started").with(property::message_expiry_interval(1)), 2);
    let first = client.publish();
    client.vanish();
    case.let_broker_time_pass(2);
    let mut client = resumed(case);
    let again = client.publish();
    assert_eq!((again.dup, again.id, &again.payload), (true, first.id, &first.payload));
    client.acknowledge(&again);
}

// [MQTT-4.4.0-1] [MQTT-4.3.3-5] [MQTT-4.3.3-6]
fn unacknowledged_pubrel_is_sent_again(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "released", 2);
    let publish = client.publish();
    client.send(ack(PUBREC, publish.id));
    client.expect_success(PUBREL, publish.id);
    client.vanish();
    let mut client = resumed(case);
    client.expect_success(PUBREL, publish.id);
    client.send(ack(PUBCOMP, publish.id));
    client.ping();
    client.leave();
    resumed(case).expect_nothing();
}

// [MQTT-4.4.0-1]
fn completed_qos_2_is_not_sent_again(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "once", 2);
    client.receive(case.topic("t"), "once", 2);
    client.ping();
    client.vanish();
    resumed(case).expect_nothing();
}

// [MQTT-4.6.0-1] for the server's part: [MQTT-4.6.0-5]
fn messages_are_sent_again_in_their_order(case: &Case) {
    let mut client = subscribed(case);
    let mut publisher = case.client("p");
    for number in 0..10 {
        publisher.complete(case.message("t", number.to_string()), 1 + number % 2);
    }
    let first: Vec<_> = (0..10).map(|_| client.publish()).collect();
    // One out of the middle is acknowledged.
    client.acknowledge(&first[4]);
    client.ping();
    client.vanish();
    let mut client = resumed(case);
    for expected in first.iter().enumerate().filter(|(index, _)| *index != 4).map(|(_, publish)| publish) {
        let again = client.publish();
        assert_eq!((again.dup, again.qos, again.id), (true, expected.qos, expected.id));
        assert_eq!(again.payload, expected.payload);
    }
    client.expect_only_pong();
}

// [MQTT-4.4.0-1]: at no other time.
fn nothing_is_sent_again_on_a_living_connection(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "one", 1);
    publish(case, "two", 2);
    let (one, two) = (client.publish(), client.publish());
    case.let_broker_time_pass(2);
    client.expect_nothing();
    client.acknowledge(&one);
    client.acknowledge(&two);
}

// [MQTT-4.4.0-2]
fn refused_by_puback_is_not_sent_again(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "no", 1);
    let publish = client.publish();
    client.send(wire::ack_because(PUBACK, publish.id, 0x83, &[]));
    client.ping();
    client.vanish();
    resumed(case).expect_nothing();
}

// [MQTT-4.4.0-2] [MQTT-4.3.3-4]: and no PUBREL either.
fn refused_by_pubrec_is_not_sent_again(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "no", 2);
    let publish = client.publish();
    client.send(wire::ack_because(PUBREC, publish.id, 0x97, &[]));
    client.ping();
    client.vanish();
    resumed(case).expect_nothing();
}

/// A witness of what `away` publishes to `t`.
fn witness(case: &Case) -> Client {
    let mut witness = case.client("witness");
    witness.subscribe(case.topic("t"), 2);
    witness
}

// [MQTT-4.3.3-10]: exactly once across connections.
fn received_qos_2_is_remembered(case: &Case) {
    let mut witness = witness(case);
    let message = case.message("t", "once").qos(2, 77);
    let mut client = back(case).0;
    client.send(message.bytes());
    client.expect_success(PUBREC, 77);
    client.vanish();
    let mut client = resumed(case);
    client.send(message.dup().bytes());
    client.expect_success(PUBREC, 77);
    client.send(ack(PUBREL, 77));
    client.expect_success(PUBCOMP, 77);
    witness.receive(case.topic("t"), "once", 2);
    witness.expect_nothing();
}

// [MQTT-4.3.3-11]
fn pubrel_after_the_return_is_answered(case: &Case) {
    let mut witness = witness(case);
    let mut client = back(case).0;
    client.send(case.message("t", "once").qos(2, 78).bytes());
    client.expect_success(PUBREC, 78);
    client.vanish();
    let mut client = resumed(case);
    client.send(ack(PUBREL, 78));
    client.expect_success(PUBCOMP, 78);
    witness.receive(case.topic("t"), "once", 2);
    // [MQTT-4.3.3-12]: the identifier is free again.
    client.send(case.message("t", "another").qos(2, 78).bytes());
    client.expect_success(PUBREC, 78);
    client.send(ack(PUBREL, 78));
    client.expect_success(PUBCOMP, 78);
    witness.receive(case.topic("t"), "another", 2);
}

// [MQTT-2.2.1-4]
fn packet_ids_in_use_are_not_given_to_new_messages(case: &Case) {
    let mut client = subscribed(case);
    publish(case, "unacknowledged", 1);
    let first = client.publish();
    client.vanish();
    publish(case, "waits", 1);
    let mut client = resumed(case);
    publish(case, "new", 1);
    let ids: Vec<u16> = (0..3).map(|_| client.publish().id).collect();
    assert_eq!(ids[0], first.id);
    assert!(ids[1] != ids[0] && ids[2] != ids[0] && ids[1] != ids[2], "{ids:?}");
}

// [MQTT-3.1.2-4]
fn clean_start_forgets_received_qos_2(case: &Case) {
    let mut witness = witness(case);
    let message = case.message("t", "new each time").qos(2, 79);
    let mut client = back(case).0;
    client.send(message.bytes());
    client.expect_success(PUBREC, 79);
    client.vanish();
    let mut client = case.client("away");
    client.send(message.bytes());
    client.expect_success(PUBREC, 79);
    client.send(ack(PUBREL, 79));
    client.expect_success(PUBCOMP, 79);
    // One of the first connection may come as well: whether the broker routes at PUBLISH or at PUBREL is its choice.
    witness.receive(case.topic("t"), "new each time", 2);
}

// [MQTT-3.1.2-4]
fn clean_start_drops_waiting_messages(case: &Case) {
    subscribed(case).leave();
    publish(case, "dropped", 1);
    let mut client = case.client("away");
    client.expect_nothing();
}

// [MQTT-3.3.2-5]
fn message_expires_while_the_session_is_away(case: &Case) {
    subscribed(case).leave();
    let mut publisher = case.client("p");
    publisher.complete(case.message("t", "short").with(property::message_expiry_interval(1)), 1);
    publisher.complete(case.message("t", "short").with(property::message_expiry_interval(1)), 2);
    publisher.complete(case.message("t", "long").with(property::message_expiry_interval(600)), 1);
    case.let_broker_time_pass(3);
    let mut client = resumed(case);
    client.receive(case.topic("t"), "long", 1);
    client.expect_nothing();
}

// [MQTT-3.3.2-6]
fn message_expiry_counts_down_while_the_session_is_away(case: &Case) {
    subscribed(case).leave();
    case.publish(case.message("t", "older").with(property::message_expiry_interval(600)), 1);
    case.let_broker_time_pass(2);
    let expiry = resumed(case).receive(case.topic("t"), "older", 1).properties.four(0x02);
    assert!(matches!(expiry, Some(580..=598)), "{expiry:?}");
}

// [MQTT-3.1.4-3] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]
fn takeover_tells_the_old_connection(case: &Case) {
    let mut old = case.client("a");
    let mut new = case.client("a");
    old.expect_disconnect(&[0x8e]);
    new.ping();
}

// [MQTT-3.1.4-3] [MQTT-3.1.2-5]
fn takeover_moves_the_session(case: &Case) {
    let mut old = subscribed(case);
    publish(case, "unacknowledged", 1);
    let first = old.publish();
    let mut new = resumed(case);
    old.expect_disconnect(&[0x8e]);
    let again = new.publish();
    assert_eq!((again.dup, again.id), (true, first.id));
    new.acknowledge(&again);
    publish(case, "later", 1);
    new.receive(case.topic("t"), "later", 1);
}

// [MQTT-3.1.4-3] [MQTT-3.1.2-4]
fn takeover_by_clean_start_leaves_nothing(case: &Case) {
    let mut old = subscribed(case);
    let mut new = case.client("away");
    old.expect_disconnect(&[0x8e]);
    publish(case, "to nobody", 1);
    new.expect_nothing();
}

// [MQTT-3.1.4-3]: the client identifier is what counts.
fn takeover_by_another_version(case: &Case) {
    let other = if case.version == Version::V5 { Version::V4 } else { Version::V5 };
    let mut old = subscribed(case);
    let (mut new, connack) = case.accepted(Connect::new(other, case.id("away")).lasting());
    assert!(connack.session_present);
    old.expect_disconnect(&[0x8e]);
    publish(case, "in the other version", 1);
    new.receive(case.topic("t"), "in the other version", 1);
}

// [MQTT-3.1.4-3]
fn takeover_again_and_again(case: &Case) {
    let mut current = subscribed(case);
    for number in 0..50 {
        let mut next = resumed(case);
        current.expect_disconnect(&[0x8e]);
        next.send(case.message("t", number.to_string()).bytes());
        next.receive(case.topic("t"), number.to_string(), 0);
        current = next;
    }
    current.ping();
}

// [MQTT-3.1.3-2]
fn two_ids_are_two_sessions(case: &Case) {
    let mut one = subscribed(case);
    let (mut two, connack) = case.accepted(case.connect("other").lasting());
    assert!(!connack.session_present);
    publish(case, "for one", 1);
    one.receive(case.topic("t"), "for one", 1);
    two.expect_nothing();
}

// [MQTT-3.1.3-2]
fn client_ids_are_compared_exactly(case: &Case) {
    let mut lower = case.client("abc");
    let mut upper = case.client("ABC");
    let mut longer = case.client("abc ");
    lower.ping();
    upper.ping();
    longer.ping();
}

// Section 4.7.2
fn dollar_subscriptions_do_not_stop_a_return(case: &Case) {
    let mut client = back(case).0;
    client.subscribe(format!("$it/{}", case.topic("#")), 1);
    client.leave();
    let mut client = resumed(case);
    let topic = format!("$it/{}", case.topic("t"));
    client.send(Publish::new(case.version, &topic, "x").bytes());
    client.receive(topic, "x", 0);
}
