//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11), and which retained messages follow.

use super::*;

fn qos(qos: packet::QoS) -> SubscribeOptions {
    SubscribeOptions { qos, ..Default::default() }
}

fn handling(retain_handling: RetainHandling) -> SubscribeOptions {
    SubscribeOptions { retain_handling, ..Default::default() }
}

fn waiting(script: &Script) -> Vec<String> {
    script
        .session()
        .replays
        .iter()
        .map(|replay| {
            format!("{} before {} {}", replay.filter, replay.before_version, notation::options(&replay.options))
        })
        .collect()
}

// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-2.2.1-6] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1]
#[test]
fn one_suback_answers_every_filter_in_order() {
    for version in [V3, V4, V5] {
        let mut script = Script::connected(version);
        let filters = [("b/#", qos(ExactlyOnce)), ("a", qos(AtMostOnce)), ("$share/g/+", qos(AtLeastOnce))];
        script.check(subscribe(77, &filters), &["subscribe b/# q2, a q0, $share/g/+ q1", "SUBACK #77 0x02 0x00 0x01"]);
        assert_eq!(script.session().subscriptions.len(), 3);
    }
}

#[test]
fn options_and_identifier_reach_the_broker() {
    let mut script = Script::connected(V5);
    let options = SubscribeOptions {
        qos: AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
    };
    let filters = [("a", options)];
    let mut packet = subscribe(1, &filters);
    packet.subscription_identifier = NonZeroU32::new(9);
    script.check(packet, &["subscribe id=9 a q1 no_local as_published handling=1", "SUBACK #1 0x01"]);
    let kept = script.session().subscriptions.get("a");
    assert_eq!(kept, Some(SessionSubscription { options, id: NonZeroU32::new(9) }));
}

// [MQTT-3.2.2-10] [MQTT-3.8.4-7]
#[test]
fn the_granted_qos_is_what_the_listener_has() {
    let poor = Settings { maximum_qos: AtMostOnce, ..settings() };
    let mut script = Script::connected_with(poor, connect(V5));
    let filters = [("a", qos(ExactlyOnce)), ("b", qos(AtLeastOnce)), ("c", qos(AtMostOnce))];
    script.check(subscribe(1, &filters), &["subscribe a q0, b q0, c q0", "SUBACK #1 0x00 0x00 0x00"]);
}

// [MQTT-3.9.3-2] [MQTT-3.1.1 3.9.3-2]
#[test]
fn a_refused_filter_is_no_subscription() {
    for (version, suback) in [(V5, "SUBACK #1 0x87 +reason"), (V4, "SUBACK #1 0x80"), (V3, "SUBACK #1 0x80")] {
        let mut script = Script::connected(version);
        script.broker.subscribed = SubscribeResult::Refused(ReasonCode::NotAuthorized);
        script.check(subscribe(1, &[("a", qos(AtMostOnce))]), &["subscribe a q0", suback]);
        assert!(script.session().subscriptions.is_empty());
    }
}

#[test]
fn a_session_has_no_more_subscriptions_than_it_may() {
    let few = Settings { subscriptions_max: 2, ..settings() };
    let mut script = Script::connected_with(few, connect(V5));
    let filters = [("a", qos(AtMostOnce)), ("b", qos(AtMostOnce)), ("c", qos(AtMostOnce))];
    script.check(
        subscribe(1, &filters),
        &["subscribe a q0, b q0, c q0 refused 0x97", "SUBACK #1 0x00 0x00 0x97 +reason"],
    );
    script.check(subscribe(2, &[("a", qos(AtLeastOnce))]), &["subscribe a q1", "SUBACK #2 0x01"]);
    script.check(unsubscribe(3, &["b"]), &["unsubscribe b", "UNSUBACK #3 0x00"]);
    script.check(subscribe(4, &[("c", qos(AtMostOnce))]), &["subscribe c q0", "SUBACK #4 0x00"]);
}

// [MQTT-3.8.4-3]
#[test]
fn the_same_filter_replaces_the_subscription() {
    let mut script = Script::connected(V5);
    script.check(subscribe(1, &[("a", qos(ExactlyOnce))]), &["subscribe a q2", "SUBACK #1 0x02"]);
    script.check(subscribe(2, &[("a", qos(AtMostOnce))]), &["subscribe a q0", "SUBACK #2 0x00"]);
    assert_eq!(script.session().subscriptions.get("a").map(|kept| kept.options), Some(qos(AtMostOnce)));
    assert_eq!(script.session().subscriptions.len(), 1);
}

// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
#[test]
fn retain_handling_says_when_retained_messages_follow() {
    use RetainHandling::{DoNotSend, SendAtSubscribe, SendIfNew};
    let here = Script::connected(V5).connection;
    let without = Settings { retain_available: false, ..settings() };
    let elsewhere = Script::connected_with(without, connect(V5)).connection;
    for (option, new, again) in [(SendAtSubscribe, true, true), (SendIfNew, true, false), (DoNotSend, false, false)] {
        assert_eq!(here.wants_retained(&handling(option), false, false), new, "{option:?}");
        assert_eq!(here.wants_retained(&handling(option), true, false), again, "{option:?} once more");
        assert!(!here.wants_retained(&handling(option), false, true), "never for a shared subscription");
        assert!(!elsewhere.wants_retained(&handling(option), false, false), "never where there are none");
    }
}

// [MQTT-3.8.4-4]
#[test]
fn subscribing_again_begins_the_retained_messages_anew_and_never_twice() {
    let mut script = Script::connected(V5);
    for (n, before) in [(1, 10), (2, 20), (3, 30)] {
        script.broker.subscribed = SubscribeResult::Granted { replay_before: Some(before) };
        script.feed(subscribe(n, &[("a/#", qos(AtMostOnce)), ("b", qos(AtLeastOnce))]));
        if let Some(replay) = script.connection.session_mut().unwrap().replays.iter_mut().next() {
            replay.after = Some("a/x".into());
        }
    }
    assert_eq!(waiting(&script), ["a/# before 30 q0", "b before 30 q1"]);
    assert!(script.session().replays.iter().all(|replay| replay.after.is_none() || &*replay.filter == "a/#"));
}

// [MQTT-3.3.1-11] [MQTT-3.8.4-8]
#[test]
fn what_still_waits_goes_on_under_the_new_options() {
    let mut script = Script::connected(V5);
    script.broker.subscribed = SubscribeResult::Granted { replay_before: Some(10) };
    script.feed(subscribe(1, &[("a", qos(ExactlyOnce))]));
    script.broker.subscribed = SubscribeResult::Granted { replay_before: None };
    script.feed(subscribe(2, &[("a", qos(AtMostOnce))]));
    assert_eq!(waiting(&script), ["a before 10 q0"]);
}

#[test]
fn unsubscribing_stops_the_retained_messages() {
    let mut script = Script::connected(V5);
    script.broker.subscribed = SubscribeResult::Granted { replay_before: Some(10) };
    script.feed(subscribe(1, &[("a", qos(AtMostOnce)), ("b", qos(AtMostOnce)), ("c", qos(AtMostOnce))]));
    script.feed(unsubscribe(2, &["a", "x", "c"]));
    assert_eq!(waiting(&script), ["b before 10 q0"]);
}

// [MQTT-3.10.4-1] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-2.2.1-6]
#[test]
fn one_unsuback_answers_every_filter_in_order_whether_it_was_subscribed_or_not() {
    let filters = [("a/+", qos(AtMostOnce)), ("$share/g/a", qos(AtMostOnce))];
    for (version, unsuback) in [(V5, "UNSUBACK #9 0x11 0x00 0x11 0x00"), (V4, "UNSUBACK #9"), (V3, "UNSUBACK #9")] {
        let mut script = Script::connected(version);
        script.feed(subscribe(1, &filters));
        script.check(
            unsubscribe(9, &["a/#", "a/+", "a", "$share/g/a"]),
            &["unsubscribe a/#, a/+, a, $share/g/a", unsuback],
        );
        assert!(script.session().subscriptions.is_empty());
    }
}

// [MQTT-3.10.4-3]
#[test]
fn what_is_in_flight_is_completed_after_an_unsubscribe() {
    let mut script = Script::connected(V5);
    script.feed(subscribe(1, &[("a", qos(ExactlyOnce))]));
    script.check_deliver(delivery(ExactlyOnce, "a", ""), &["PUBLISH q2 #1 a ''"]);
    script.check(unsubscribe(2, &["a"]), &["unsubscribe a", "UNSUBACK #2 0x00"]);
    script.check(ack(PacketType::PubRec, 1, ReasonCode::Success), &["PUBREL #1 0x00"]);
    script.check(ack(PacketType::PubComp, 1, ReasonCode::Success), &["completed q2"]);
}

// [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.1.2-29]
#[test]
fn the_reason_of_a_suback_is_left_out_where_it_is_not_wanted_or_does_not_fit() {
    let small = ConnectProperties { maximum_packet_size: NonZeroU32::new(8), ..Default::default() };
    let silent = ConnectProperties { request_problem_information: Some(false), ..Default::default() };
    for properties in [small, silent] {
        let mut script = Script::connected_with(settings(), Connect { properties, ..connect(V5) });
        script.broker.subscribed = SubscribeResult::Refused(ReasonCode::NotAuthorized);
        script.check(subscribe(1, &[("a", qos(AtMostOnce))]), &["subscribe a q0", "SUBACK #1 0x87"]);
    }
}

// [MQTT-3.1.2-24] [MQTT-3.11.2-1] [MQTT-3.11.2-2]
#[test]
fn an_answer_that_the_client_does_not_take_closes() {
    let properties = ConnectProperties { maximum_packet_size: NonZeroU32::new(8), ..Default::default() };
    let tiny = || Script::connected_with(settings(), Connect { properties: properties.clone(), ..connect(V5) });
    let four = ["a", "b", "c", "d"];
    let filters = four.map(|filter| (filter, qos(AtMostOnce)));
    tiny().check(subscribe(1, &filters[..3]), &["subscribe a q0, b q0, c q0", "SUBACK #1 0x00 0x00 0x00"]);
    tiny().check(subscribe(1, &filters), &["subscribe a q0, b q0, c q0, d q0", "DISCONNECT 0x95", "close 0x95"]);
    tiny().check(unsubscribe(1, &four[..3]), &["unsubscribe a, b, c", "UNSUBACK #1 0x11 0x11 0x11"]);
    tiny().check(unsubscribe(1, &four), &["unsubscribe a, b, c, d", "DISCONNECT 0x95", "close 0x95"]);
}

// [MQTT-3.8.3-2] [MQTT-3.8.3-4] [MQTT-3.8.3-5] [MQTT-3.10.3-2] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[test]
fn filters_and_options_that_are_none_close() {
    for (bytes, code) in [
        (&[0x82, 0x03, 0, 1, 0][..], "0x82"),
        (&[0xA2, 0x03, 0, 1, 0], "0x82"),
        (&[0x82, 0x07, 0, 1, 0, 0, 1, b'a', 0x40], "0x81"),
        (&[0x82, 0x08, 0, 1, 0, 0, 2, b'a', b'#', 0], "0x8F"),
        (&[0x82, 0x08, 0, 1, 0, 0, 2, b'a', b'+', 0], "0x8F"),
    ] {
        Script::connected(V5).check_bytes(bytes, &[&format!("DISCONNECT {code} +reason"), &format!("close {code}")]);
    }
    for (filter, no_local, code) in [
        ("$share//a", false, "0x8F"),
        ("$share/g", false, "0x8F"),
        ("$share/g+/a", false, "0x8F"),
        ("$share/g/a", true, "0x82"),
    ] {
        let options = SubscribeOptions { no_local, ..Default::default() };
        let lines = Script::connected(V5).feed(subscribe(1, &[(filter, options)]));
        assert_eq!(lines, [format!("DISCONNECT {code} +reason"), format!("close {code}")], "{filter}");
    }
}

#[test]
fn the_mount_point_stands_before_every_filter_but_behind_the_share() {
    let mounted = Settings { mount_point: "t/".into(), ..settings() };
    let mut script = Script::connected_with(mounted, connect(V5));
    let filters = [("#", qos(AtMostOnce)), ("$share/g/a", qos(AtMostOnce)), ("$share", qos(AtMostOnce))];
    script.check(
        subscribe(1, &filters),
        &["subscribe t/# q0, $share/g/t/a q0, $mount/t/share q0", "SUBACK #1 0x00 0x00 0x00"],
    );
    script.check(unsubscribe(2, &["#", "$share/g/a"]), &["unsubscribe t/#, $share/g/t/a", "UNSUBACK #2 0x00 0x00"]);
}
