//! A listener that asks who you are and looks up what you may do: sections 3.1.4 and 5.4. The users and their rights stand in
//! `support/guarded.acl`; the password of each is its name and `-password`.

use crate::support::received::ConnAck;
use crate::support::wire::{
    self, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, Subscribe, Version, Will, ack, property,
};
use crate::support::{Case, Client, cases};

cases! {
    right_password_is_accepted: V3 V4 V5;
    no_credentials_are_refused: V3 V4 V5;
    wrong_passwords_are_refused: V3 V4 V5;
    unknown_user_is_refused_like_a_wrong_password: V3 V4 V5;
    packets_behind_a_refused_connect_are_ignored: V3 V4 V5;
    refused_connect_takes_nothing_over: V3 V4 V5;
    refused_connect_leaves_the_session_alone: V4 V5;
    refused_connect_has_no_will: V3 V4 V5;
    allowed_messages_pass: V3 V4 V5;
    denied_qos_0_is_not_delivered: V3 V4 V5;
    denied_qos_1_is_answered_and_not_delivered: V3 V4 V5;
    denied_qos_2_is_answered_and_not_delivered: V3 V4 V5;
    denied_retained_message_changes_nothing: V3 V4 V5;
    denied_will_is_not_published: V3 V4 V5;
    denied_subscription_is_refused: V3 V4 V5;
    denied_filter_among_allowed_ones: V3 V4 V5;
    subscription_that_is_allowed_in_part: V3 V4 V5;
    denied_retained_message_is_not_sent: V3 V4 V5;
    denials_fit_into_the_packets_that_the_client_takes: V5;
    denied_message_does_not_wait_in_a_session: V4 V5;
    shared_subscription_is_checked_like_its_filter: V5;
    pattern_of_the_user_name: V3 V4 V5;
    pattern_of_the_client_id: V3 V4 V5;
    rights_are_of_the_user_that_connected_last: V4 V5;
}

fn named(connect: Connect, user: &str) -> Connect {
    connect.user_name(user).password(format!("{user}-password"))
}

/// A user's client at the guarded listener.
fn enter(case: &Case, user: &str) -> Client {
    enter_with(case, user, case.connect(user))
}

fn enter_with(case: &Case, user: &str, connect: Connect) -> Client {
    let mut client = case.open_guarded();
    client.send(named(connect, user).bytes());
    client.accepted();
    client
}

/// Sends CONNECT to the guarded listener and returns the code with which it is refused.
fn refused(case: &Case, connect: &Connect) -> u8 {
    let mut client = case.open_guarded();
    client.send(connect.bytes());
    let ConnAck { code, .. } = client.connack();
    client.expect_closed();
    match case.version {
        Version::V5 => assert!(matches!(code, 0x86 | 0x87), "{code:02x}"),
        _ => assert!(matches!(code, 4 | 5), "{code}"),
    }
    code
}

// [MQTT-3.1.4-5]
fn right_password_is_accepted(case: &Case) {
    for user in ["reader", "writer", "both"] {
        enter(case, user).ping();
    }
}

// [MQTT-3.1.4-2] [MQTT-3.2.2-7]
fn no_credentials_are_refused(case: &Case) {
    refused(case, &case.connect("a"));
    refused(case, &case.connect("a").user_name(""));
    refused(case, &case.connect("a").user_name("reader"));
}

// [MQTT-3.1.4-2]
fn wrong_passwords_are_refused(case: &Case) {
    for password in ["", "reader", "Reader-password", "reader-password ", "writer-password"] {
        refused(case, &case.connect("a").user_name("reader").password(password));
    }
}

/// Nobody learns who has an account.
fn unknown_user_is_refused_like_a_wrong_password(case: &Case) {
    let wrong = refused(case, &case.connect("a").user_name("reader").password("wrong"));
    let unknown = refused(case, &case.connect("a").user_name("nobody").password("wrong"));
    assert_eq!(wrong, unknown);
}

// [MQTT-3.1.4-6]
fn packets_behind_a_refused_connect_are_ignored(case: &Case) {
    let mut client = case.open_guarded();
    let publish = case.message("t/x", "must not arrive").retain().bytes();
    client.send_refused(&[case.connect("a").bytes(), publish].concat());
    client.finish();
    let mut witness = case.client("witness");
    witness.subscribe(case.topic("t/x"), 0);
    witness.expect_nothing();
}

// [MQTT-3.1.4-2]: before anything is taken over.
fn refused_connect_takes_nothing_over(case: &Case) {
    let mut client = enter(case, "both");
    refused(case, &case.connect("both").user_name("both").password("wrong"));
    client.ping();
}

// [MQTT-3.1.4-2]: before Clean Start is looked at.
fn refused_connect_leaves_the_session_alone(case: &Case) {
    let mut client = enter_with(case, "both", case.connect("both").lasting());
    client.subscribe(case.topic("t/x"), 1);
    client.leave();
    // Clean start.
    refused(case, &case.connect("both").user_name("both").password("wrong"));
    case.publish(case.message("t/x", "kept"), 1);
    let mut client = enter_with(case, "both", case.connect("both").lasting());
    client.receive(case.topic("t/x"), "kept", 1);
}

// [MQTT-3.1.2-7]: of an accepted CONNECT.
fn refused_connect_has_no_will(case: &Case) {
    let mut witness = case.client("witness");
    witness.subscribe(case.topic("t/#"), 0);
    refused(case, &case.connect("a").will(Will::new(case.topic("t/will"), "must not come")));
    witness.expect_nothing();
}

fn allowed_messages_pass(case: &Case) {
    let (mut reader, mut writer) = (enter(case, "reader"), enter(case, "writer"));
    reader.subscribe(case.topic("t/#"), 2);
    for qos in 0..=2 {
        writer.complete(case.message("t/x/y", "allowed"), qos);
        reader.receive(case.topic("t/x/y"), "allowed", qos);
    }
}

/// A client that nobody restricts, subscribed to all of the case's topics.
fn witness(case: &Case) -> Client {
    let mut witness = case.client("witness");
    witness.subscribe(case.topic("t/#"), 2);
    witness
}

fn denied_qos_0_is_not_delivered(case: &Case) {
    let mut witness = witness(case);
    let mut reader = enter(case, "reader");
    reader.send(case.message("t/x", "denied").bytes());
    reader.ping();
    witness.expect_nothing();
}

// [MQTT-3.1.1 3.3.5-2]: 3.x has no word for it. Section 3.4.2.1: 0x87.
fn denied_qos_1_is_answered_and_not_delivered(case: &Case) {
    let mut witness = witness(case);
    let mut reader = enter(case, "reader");
    reader.send(case.message("t/x", "denied").qos(1, 7).bytes());
    assert_eq!(reader.ack(PUBACK).reason, if case.version == Version::V5 { 0x87 } else { 0 });
    reader.ping();
    witness.expect_nothing();
}

// [MQTT-4.3.3-9]: after a refusal the identifier is free.
fn denied_qos_2_is_answered_and_not_delivered(case: &Case) {
    let mut witness = witness(case);
    let mut both = enter(case, "both");
    both.send(case.message("t/secret", "denied").qos(2, 0xc0de).bytes());
    if case.version == Version::V5 {
        assert_eq!(both.ack(PUBREC).reason, 0x87);
    } else {
        both.expect_success(PUBREC, 0xc0de);
        both.send(ack(PUBREL, 0xc0de));
        both.expect_success(PUBCOMP, 0xc0de);
    }
    both.complete(case.message("t/open", "allowed"), 2);
    witness.receive(case.topic("t/open"), "allowed", 2);
    witness.expect_nothing();
}

// Section 3.3.1.3 is about messages that are taken.
fn denied_retained_message_changes_nothing(case: &Case) {
    case.publish(case.message("t/secret", "kept").retain(), 1);
    let mut both = enter(case, "both");
    both.complete_denied(case.message("t/secret", "").retain());
    both.complete_denied(case.message("t/secret", "other").retain());
    assert!(witness(case).receive(case.topic("t/secret"), "kept", 1).retain);
}

/// A will is a publish of its client.
fn denied_will_is_not_published(case: &Case) {
    let mut witness = witness(case);
    let will = Will::new(case.topic("t/secret"), "denied").retain();
    enter_with(case, "both", case.connect("both").will(will)).vanish();
    let will = Will::new(case.topic("t/open"), "allowed");
    enter_with(case, "both", case.connect("both").will(will)).vanish();
    witness.receive(case.topic("t/open"), "allowed", 0);
    witness.expect_nothing();
}

// [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2]
fn denials_fit_into_the_packets_that_the_client_takes(case: &Case) {
    // A CONNACK fits, a denial in words does not.
    let size = 30;
    let mut both = enter_with(case, "both", case.connect("both").with(property::maximum_packet_size(size)));
    let topic = case.topic("t/secret");
    let frames = [
        case.message("t/secret", "denied").qos(1, 1).bytes(),
        case.message("t/secret", "denied").qos(2, 2).bytes(),
        Subscribe::new(case.version, 3).filter(&topic, 0).bytes(),
    ];
    for (frame, kind) in frames.iter().zip([PUBACK, PUBREC, SUBACK]) {
        both.send(frame);
        let answer = both.next();
        assert_eq!(answer.kind(), kind, "{answer:02x?}");
        assert!(answer.bytes().len() <= size as usize, "{answer:02x?}");
    }
}

fn denied(version: Version) -> u8 {
    if version == Version::V5 { 0x87 } else { 0x80 }
}

// [MQTT-3.8.4-7], [MQTT-3.9.3-2]: 0x87.
fn denied_subscription_is_refused(case: &Case) {
    let mut writer = enter(case, "writer");
    for filter in ["t/x", "t/+", "t/#", "other"] {
        writer.send(Subscribe::new(case.version, 1).filter(case.topic(filter), 1).bytes());
        assert_eq!(writer.suback().codes, [denied(case.version)], "{filter}");
    }
    case.publish(case.message("t/x", "denied"), 1);
    writer.expect_nothing();
}

// [MQTT-3.8.4-5] [MQTT-3.9.3-1]
fn denied_filter_among_allowed_ones(case: &Case) {
    let mut reader = enter(case, "reader");
    let subscribe = Subscribe::new(case.version, 1).filter(case.topic("t/a"), 1).filter(case.topic("elsewhere"), 2);
    reader.send(subscribe.filter(case.topic("t/b"), 0).bytes());
    assert_eq!(reader.suback().codes, [1, denied(case.version), 0]);
    case.publish(case.message("t/b", "allowed"), 1);
    reader.receive(case.topic("t/b"), "allowed", 0);
}

/// Granted, and what is denied is left out when it comes.
fn subscription_that_is_allowed_in_part(case: &Case) {
    let mut both = enter(case, "both");
    both.subscribe(case.topic("t/#"), 1);
    for topic in ["t/open", "t/secret", "t/open"] {
        case.publish(case.message(topic, topic), 1);
    }
    both.receive(case.topic("t/open"), "t/open", 1);
    both.receive(case.topic("t/open"), "t/open", 1);
    both.expect_nothing();
}

fn denied_retained_message_is_not_sent(case: &Case) {
    case.publish(case.message("t/secret", "denied").retain(), 1);
    case.publish(case.message("t/open", "allowed").retain(), 1);
    let mut both = enter(case, "both");
    both.subscribe(case.topic("t/#"), 1);
    both.receive(case.topic("t/open"), "allowed", 1);
    both.expect_nothing();
}

fn denied_message_does_not_wait_in_a_session(case: &Case) {
    let mut both = enter_with(case, "both", case.connect("both").lasting());
    both.subscribe(case.topic("t/#"), 1);
    both.leave();
    case.publish(case.message("t/secret", "denied"), 1);
    case.publish(case.message("t/open", "allowed"), 1);
    let mut both = enter_with(case, "both", case.connect("both").lasting());
    both.receive(case.topic("t/open"), "allowed", 1);
    both.expect_nothing();
}

fn shared_subscription_is_checked_like_its_filter(case: &Case) {
    let mut writer = enter(case, "writer");
    let filter = format!("$share/group/{}", case.topic("t/x"));
    writer.send(Subscribe::new(case.version, 1).filter(&filter, 1).bytes());
    assert_eq!(writer.suback().codes, [0x87]);
    enter(case, "reader").subscribe(filter, 1);
}

/// `it/+/of-user/%u`
fn pattern_of_the_user_name(case: &Case) {
    let (own, other) = ("of-user/writer", "of-user/reader");
    let mut writer = enter(case, "writer");
    writer.subscribe(case.topic(own), 1);
    writer.complete(case.message(own, "own"), 1);
    writer.receive(case.topic(own), "own", 1);
    let mut reader = enter(case, "reader");
    reader.subscribe(case.topic(other), 1);
    writer.complete_denied(case.message(other, "another's"));
    reader.expect_nothing();
}

/// `it/+/of-client/%c`
fn pattern_of_the_client_id(case: &Case) {
    let (own, other) = (format!("of-client/{}", case.id("writer")), format!("of-client/{}", case.id("reader")));
    let mut writer = enter(case, "writer");
    writer.subscribe(case.topic(&own), 1);
    writer.complete(case.message(&own, "own"), 1);
    writer.receive(case.topic(&own), "own", 1);
    let mut reader = enter(case, "reader");
    reader.subscribe(case.topic(&other), 1);
    writer.complete_denied(case.message(&other, "another's"));
    reader.expect_nothing();
}

/// A session stays with its client identifier; what may be read is asked of the user that is there now.
fn rights_are_of_the_user_that_connected_last(case: &Case) {
    let mut client = enter_with(case, "reader", case.connect("a").lasting());
    client.subscribe(case.topic("t/#"), 1);
    client.leave();
    let mut client = enter_with(case, "both", case.connect("a").lasting());
    case.publish(case.message("t/secret", "denied"), 1);
    case.publish(case.message("t/open", "allowed"), 1);
    client.receive(case.topic("t/open"), "allowed", 1);
    client.expect_nothing();
    client.send(wire::disconnect());
}
