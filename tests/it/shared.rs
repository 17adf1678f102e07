//! Shared subscriptions: section 4.8. On 3.1.1 as well, where the standard does not know them and brokers do.

use crate::support::wire::{self, PUBACK, PUBREC, Subscribe, Unsubscribe, ack, ack_because, property};
use crate::support::{Case, Client, cases, table};

cases! {
    each_message_goes_to_one_member: V4 V5;
    every_member_gets_some: V4 V5;
    every_group_gets_a_copy: V4 V5;
    other_subscribers_get_their_copies: V4 V5;
    own_ordinary_subscription_gets_its_copy: V4 V5;
    members_with_different_filters_are_different_subscriptions: V4 V5;
    wildcards_in_a_shared_filter: V4 V5;
    granted_qos_of_the_member_is_respected: V4 V5;
    one_client_may_be_in_several_groups: V4 V5;
    retained_messages_do_not_come_for_a_shared_subscription: V4 V5;
    unsubscribed_member_gets_no_more: V4 V5;
    unsubscribing_the_plain_filter_leaves_the_group: V5;
    member_that_has_gone_gets_no_more: V4 V5;
    member_that_is_away_is_passed_over: V4 V5;
    members_that_are_all_away_find_their_messages: V4 V5;
    unacknowledged_qos_1_of_a_member_whose_session_ends_goes_to_another: V4 V5;
    started_qos_2_stays_with_its_member: V4 V5;
    started_qos_2_ends_with_its_members_session: V4 V5;
    refused_message_is_discarded: V5;
    member_with_a_full_window_is_passed_over: V5;
    subscription_identifier_of_the_member: V5;
    each_copy_has_the_identifier_of_its_own_subscription: V5;
    share_names_differ_by_case: V4 V5;
    share_name_may_be_any_characters: V4 V5;
    repeated_subscription_is_one_membership: V4 V5;
    nothing_is_lost_while_members_come_and_go: V4 V5;
}

fn refused(case: &Case, (filter, options): (&str, u8)) {
    let mut client = case.client("a");
    client.send(Subscribe::new(case.version, 1).filter(filter, options).bytes());
    match client.next() {
        frame if frame.kind() == wire::SUBACK => assert_eq!(frame.body.last(), Some(&0x8f), "{frame:02x?}"),
        frame => {
            assert_eq!(frame.first, wire::DISCONNECT, "{frame:02x?}");
            assert!(matches!(frame.body.first(), Some(0x81 | 0x82 | 0x8f)), "{frame:02x?}");
            client.expect_closed();
        }
    }
}

// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
table! { refused:
    share_without_name: V5 => |_case| ("$share//t", 0);
    share_without_filter: V5 => |_case| ("$share/g", 0);
    share_with_an_empty_filter: V5 => |_case| ("$share/g/", 0);
    share_of_nothing: V5 => |_case| ("$share/", 0);
    share_name_with_plus: V5 => |_case| ("$share/g+/t", 0);
    share_name_of_plus: V5 => |_case| ("$share/+/t", 0);
    share_name_with_hash: V5 => |_case| ("$share/g#/t", 0);
    share_name_of_hash: V5 => |_case| ("$share/#", 0);
    share_with_a_bad_filter: V5 => |_case| ("$share/g/a/#/b", 0);
    share_with_a_bad_level: V5 => |_case| ("$share/g/a+", 0);
}
fn protocol_error(case: &Case, options: u8) {
    let mut client = case.client("a");
    client.send(Subscribe::new(case.version, 1).filter("$share/g/t", options).bytes());
    client.expect_disconnect(&[0x82]);
}
// [MQTT-3.8.3-4]
table! { protocol_error:
    share_with_no_local: V5 => |_case| 0x04;
    share_with_no_local_at_qos_1: V5 => |_case| 0x05;
}

fn shared(case: &Case, group: &str, filter: &str) -> String {
    format!("$share/{group}/{}", case.topic(filter))
}

fn member(case: &Case, label: &str) -> Client {
    let mut member = case.client(label);
    member.subscribe(shared(case, "g", "t"), 2);
    member
}

/// What waits for a client, by a marker that follows it; each message is acknowledged.
fn drain(case: &Case, client: &mut Client) -> Vec<Vec<u8>> {
    let end = case.topic("drained");
    client.subscribe(&end, 0);
    client.send(wire::Publish::new(case.version, &end, "").bytes());
    let mut payloads = Vec::new();
    loop {
        let publish = client.publish();
        if publish.topic == end {
            client.unsubscribe(&end);
            return payloads;
        }
        client.acknowledge(&publish);
        payloads.push(publish.payload);
    }
}

fn publish(case: &Case, numbers: std::ops::Range<u32>, qos: u8) -> Vec<Vec<u8>> {
    let mut publisher = case.client("p");
    let payloads: Vec<Vec<u8>> = numbers.map(|number| format!("{number:03}").into_bytes()).collect();
    for payload in &payloads {
        publisher.complete(case.message("t", payload), qos);
    }
    payloads
}

fn sorted(mut payloads: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    payloads.sort();
    payloads
}

// Section 4.8.2
fn each_message_goes_to_one_member(case: &Case) {
    for qos in 0..=2 {
        let mut members: Vec<_> = ["a", "b", "c"].iter().map(|label| member(case, label)).collect();
        let sent = publish(case, 0..30, qos);
        let got = members.iter_mut().flat_map(|member| drain(case, member)).collect();
        assert_eq!(sorted(got), sent);
    }
}

/// How a broker shares is its choice; that it shares is not.
fn every_member_gets_some(case: &Case) {
    let mut members: Vec<_> = ["a", "b", "c"].iter().map(|label| member(case, label)).collect();
    publish(case, 0..60, 0);
    for member in &mut members {
        let got = drain(case, member);
        // In the order in which they were published.
        assert!(!got.is_empty() && got == sorted(got.clone()), "{got:?}");
    }
}

// Section 4.8.2
fn every_group_gets_a_copy(case: &Case) {
    let mut members: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|group| {
            let mut member = case.client(group);
            member.subscribe(shared(case, group, "t"), 0);
            member
        })
        .collect();
    let sent = publish(case, 0..5, 0);
    for member in &mut members {
        assert_eq!(drain(case, member), sent);
    }
}

// Section 4.8.2
fn other_subscribers_get_their_copies(case: &Case) {
    let mut members = [member(case, "a"), member(case, "b")];
    let mut other = case.client("other");
    other.subscribe(case.topic("t"), 0);
    let sent = publish(case, 0..10, 0);
    assert_eq!(drain(case, &mut other), sent);
    assert_eq!(sorted(members.iter_mut().flat_map(|member| drain(case, member)).collect()), sent);
}

// Section 4.8.2: the group's copy comes besides the one for the client's own subscription.
fn own_ordinary_subscription_gets_its_copy(case: &Case) {
    let mut client = member(case, "a");
    client.subscribe(case.topic("t"), 0);
    let sent = publish(case, 0..5, 0);
    assert_eq!(sorted(drain(case, &mut client)), sorted([sent.clone(), sent].concat()));
}

// Section 4.8.2: a shared subscription is its name and its filter.
fn members_with_different_filters_are_different_subscriptions(case: &Case) {
    let (mut one, mut two) = (case.client("1"), case.client("2"));
    one.subscribe(shared(case, "g", "t"), 0);
    two.subscribe(shared(case, "g", "+"), 0);
    let sent = publish(case, 0..5, 0);
    assert_eq!(drain(case, &mut one), sent);
    let mut got = drain(case, &mut two);
    // Its own marker matches `+` too.
    got.retain(|payload| !payload.is_empty());
    assert_eq!(got, sent);
}

// Section 4.8.2
fn wildcards_in_a_shared_filter(case: &Case) {
    let mut members: Vec<_> = ["a", "b"]
        .iter()
        .map(|label| {
            let mut member = case.client(label);
            member.subscribe(shared(case, "g", "w/+/x/#"), 0);
            member
        })
        .collect();
    let mut publisher = case.client("p");
    for topic in ["w/1/x", "w/2/x/y", "w/3/x/y/z", "w/4", "w/5/y", "w/6/x/"] {
        publisher.complete(case.message(topic, topic), 0);
    }
    let got = members.iter_mut().flat_map(|member| drain(case, member)).collect();
    assert_eq!(sorted(got), [&b"w/1/x"[..], b"w/2/x/y", b"w/3/x/y/z", b"w/6/x/"]);
}

// [MQTT-4.8.2-3]
fn granted_qos_of_the_member_is_respected(case: &Case) {
    let mut members: Vec<_> = (0..=2)
        .map(|qos| {
            let mut member = case.client(&format!("m{qos}"));
            member.subscribe(shared(case, "g", "t"), qos);
            member
        })
        .collect();
    publish(case, 0..9, 2);
    for (granted, member) in members.iter_mut().enumerate() {
        member.subscribe(case.topic("end"), 0);
        member.send(case.message("end", "end").bytes());
        loop {
            let publish = member.publish();
            if publish.payload == b"end" {
                break;
            }
            assert_eq!(usize::from(publish.qos), granted);
            member.acknowledge(&publish);
        }
        member.unsubscribe(case.topic("end"));
    }
}

// Section 4.8.2
fn one_client_may_be_in_several_groups(case: &Case) {
    let mut client = case.client("a");
    for group in ["one", "two", "three"] {
        client.subscribe(shared(case, group, "t"), 0);
    }
    let sent = publish(case, 0..4, 0);
    assert_eq!(sorted(drain(case, &mut client)), sorted([&sent[..], &sent, &sent].concat()));
}

// Section 4.8.2: none is sent when the subscription is made.
fn retained_messages_do_not_come_for_a_shared_subscription(case: &Case) {
    case.publish(case.message("t", "kept").retain(), 1);
    member(case, "a").expect_nothing();
}

// [MQTT-3.10.4-1]
fn unsubscribed_member_gets_no_more(case: &Case) {
    let (mut one, mut two) = (member(case, "a"), member(case, "b"));
    one.unsubscribe(shared(case, "g", "t"));
    let sent = publish(case, 0..10, 1);
    assert_eq!(drain(case, &mut two), sent);
    one.expect_nothing();
}

// [MQTT-3.10.4-1]
fn unsubscribing_the_plain_filter_leaves_the_group(case: &Case) {
    let mut client = member(case, "a");
    client.send(Unsubscribe::new(case.version, 1).filter(case.topic("t")).filter(shared(case, "h", "t")).bytes());
    assert_eq!(client.unsuback().codes, [0x11, 0x11]);
    let sent = publish(case, 0..3, 0);
    assert_eq!(drain(case, &mut client), sent);
}

// Section 4.8.2
fn member_that_has_gone_gets_no_more(case: &Case) {
    let (one, mut two) = (member(case, "a"), member(case, "b"));
    one.leave();
    let sent = publish(case, 0..10, 1);
    assert_eq!(drain(case, &mut two), sent);
}

fn lasting_member(case: &Case, label: &str) -> Client {
    let mut member = case.lasting(label);
    member.subscribe(shared(case, "g", "t"), 2);
    member
}

// Section 4.8.2: as long as another can take the message.
fn member_that_is_away_is_passed_over(case: &Case) {
    lasting_member(case, "away").leave();
    let mut here = member(case, "here");
    let sent = publish(case, 0..10, 1);
    assert_eq!(drain(case, &mut here), sent);
    case.lasting("away").expect_nothing();
}

// [MQTT-4.5.0-1]: a copy for the group is a copy for one of its sessions.
fn members_that_are_all_away_find_their_messages(case: &Case) {
    for label in ["a", "b"] {
        lasting_member(case, label).leave();
    }
    let sent = publish(case, 0..10, 1);
    let mut members = [case.lasting("a"), case.lasting("b")];
    let mut got = Vec::new();
    while got.len() < sent.len() {
        let before = got.len();
        got.extend(members.iter_mut().flat_map(|member| drain(case, member)));
        assert!(got.len() > before, "{} of {} messages came", got.len(), sent.len());
    }
    assert_eq!(sorted(got), sent);
}

/// A member that has taken the only message and not answered, and one that waits.
fn taker_and_other(case: &Case, qos: u8, taker: fn(&Case, &str) -> Client) -> (Client, Client, u16) {
    let mut taker = taker(case, "taker");
    case.publish(case.message("t", "work"), qos);
    let publish = taker.publish();
    assert_eq!((publish.qos, publish.payload.as_slice()), (qos, &b"work"[..]));
    (taker, member(case, "other"), publish.id)
}

// Section 4.8.2, and Midge's word: at least once is kept for the group.
fn unacknowledged_qos_1_of_a_member_whose_session_ends_goes_to_another(case: &Case) {
    let (taker, mut other, _) = taker_and_other(case, 1, member);
    taker.vanish();
    other.receive(case.topic("t"), "work", 1);
}

// [MQTT-4.8.2-4]
fn started_qos_2_stays_with_its_member(case: &Case) {
    let (taker, mut other, id) = taker_and_other(case, 2, lasting_member);
    taker.vanish();
    let mut taker = case.lasting("taker");
    let again = taker.publish();
    assert_eq!((again.id, again.dup), (id, true));
    taker.acknowledge(&again);
    other.expect_nothing();
}

// [MQTT-4.8.2-5]
fn started_qos_2_ends_with_its_members_session(case: &Case) {
    let (taker, mut other, _) = taker_and_other(case, 2, member);
    taker.vanish();
    // Its session is gone once another one begins.
    assert!(!case.accepted(case.connect("taker")).1.session_present);
    other.expect_nothing();
}

// [MQTT-4.8.2-6]
fn refused_message_is_discarded(case: &Case) {
    for (qos, kind) in [(1, PUBACK), (2, PUBREC)] {
        let (mut taker, mut other, id) = taker_and_other(case, qos, member);
        taker.send(ack_because(kind, id, 0x80, &[]));
        taker.ping();
        other.expect_nothing();
        taker.leave();
        other.expect_nothing();
        other.leave();
    }
}

/// A member that acknowledges nothing does not hold up the others.
fn member_with_a_full_window_is_passed_over(case: &Case) {
    let mut stuck = case.accepted(case.connect("stuck").with(property::receive_maximum(1))).0;
    stuck.subscribe(shared(case, "g", "t"), 1);
    let first = publish(case, 0..1, 1);
    let held = stuck.publish();
    assert_eq!(held.payload, first[0]);
    let mut free = member(case, "free");
    let sent = publish(case, 1..11, 1);
    assert_eq!(drain(case, &mut free), sent);
    stuck.send(ack(PUBACK, held.id));
    stuck.expect_nothing();
}

// [MQTT-3.3.4-3]
fn subscription_identifier_of_the_member(case: &Case) {
    let mut client = case.client("a");
    let identifier = property::subscription_identifier(31);
    client.send(Subscribe::new(case.version, 1).filter(shared(case, "g", "t"), 0).with(identifier.clone()).bytes());
    client.suback();
    publish(case, 0..1, 0);
    assert_eq!(client.receive(case.topic("t"), "000", 0).properties.all(0x0b), [identifier]);
}

// [MQTT-3.3.4-5]
fn each_copy_has_the_identifier_of_its_own_subscription(case: &Case) {
    let mut client = case.client("a");
    for (filter, value) in [(shared(case, "g", "t"), 31), (case.topic("t"), 32)] {
        let subscribe = Subscribe::new(case.version, 1).filter(filter, 0);
        client.send(subscribe.with(property::subscription_identifier(value)).bytes());
        client.suback();
    }
    publish(case, 0..1, 0);
    let mut identifiers: Vec<_> =
        (0..2).map(|_| client.receive(case.topic("t"), "000", 0).properties.all(0x0b)).collect();
    identifiers.sort();
    assert_eq!(identifiers, [31, 32].map(|value| [property::subscription_identifier(value)]));
    client.expect_nothing();
}

// [MQTT-4.7.3-4]
fn share_names_differ_by_case(case: &Case) {
    let (mut lower, mut upper) = (case.client("lower"), case.client("upper"));
    lower.subscribe(shared(case, "g", "t"), 0);
    upper.subscribe(shared(case, "G", "t"), 0);
    let sent = publish(case, 0..3, 0);
    assert_eq!(drain(case, &mut lower), sent);
    assert_eq!(drain(case, &mut upper), sent);
}

// [MQTT-4.8.2-2]
fn share_name_may_be_any_characters(case: &Case) {
    let mut client = case.client("a");
    for name in ["$share", " ", "\u{1f980}", "a.b:c"] {
        client.subscribe(shared(case, name, "t"), 0);
        publish(case, 7..8, 0);
        client.receive(case.topic("t"), "007", 0);
        client.unsubscribe(shared(case, name, "t"));
    }
}

// Section 3.8.4 speaks of non-shared subscriptions; twice the same is still one member.
fn repeated_subscription_is_one_membership(case: &Case) {
    let mut client = member(case, "a");
    client.subscribe(shared(case, "g", "t"), 1);
    let sent = publish(case, 0..5, 2);
    assert_eq!(drain(case, &mut client), sent);
    client.unsubscribe(shared(case, "g", "t"));
    publish(case, 5..6, 0);
    client.expect_nothing();
}

/// While at least one member is there, each message at QoS 1 reaches one of them.
fn nothing_is_lost_while_members_come_and_go(case: &Case) {
    let mut stays = member(case, "stays");
    let mut got = Vec::new();
    for round in 0..10 {
        let mut guest = member(case, "guest");
        publish(case, round * 10..round * 10 + 5, 1);
        got.extend(drain(case, &mut guest));
        guest.leave();
        publish(case, round * 10 + 5..round * 10 + 10, 1);
        got.extend(drain(case, &mut stays));
    }
    let expected: Vec<Vec<u8>> = (0..100).map(|number| format!("{number:03}").into_bytes()).collect();
    assert_eq!(sorted(got), expected);
}
