//! A run comes to the same as its messages one by one, for every client and QoS.

use super::*;
use crate::message::{Draft, RunBuilder, RunDelivery};

/// Clients that get what most get, and those that do not.
fn clients() -> Vec<(&'static str, Settings, Connect<'static>)> {
    let taking = |topic_alias_maximum| ConnectProperties { topic_alias_maximum, ..Default::default() };
    let small = ConnectProperties { maximum_packet_size: NonZeroU32::new(40), ..Default::default() };
    let mounted = |mount_point: &str| Settings { mount_point: mount_point.into(), ..settings() };
    vec![
        ("3.1", settings(), connect(V3)),
        ("3.1.1", settings(), connect(V4)),
        ("5.0", settings(), connect(V5)),
        (
            "aliases",
            Settings { topic_alias_maximum_outbound: 3, ..settings() },
            Connect { properties: taking(3), ..connect(V5) },
        ),
        ("small packets", settings(), Connect { properties: small, ..connect(V5) }),
        ("mounted", mounted("plant/"), connect(V4)),
        ("mounted elsewhere", mounted("office/"), connect(V4)),
    ]
}

fn runs() -> Vec<(String, RunDelivery)> {
    let at = |secs: u64| BrokerTime::from_millis(1_000_000 + secs * 1000);
    let mut runs = Vec::new();
    for version in [V4, V5] {
        for forward in [&[][..], b"\x01\x01", b"\x26\0\x01k\0\x01v"] {
            for expires_at in [BrokerTime::NEVER, at(0), at(9)] {
                for ids in [&[][..], &[5]] {
                    for (qos, dropped) in [(AtMostOnce, 0), (AtMostOnce, 2), (AtLeastOnce, 0), (ExactlyOnce, 2)] {
                        let what = format!("{version:?} {forward:?} {expires_at:?} {ids:?} {qos:?} {dropped}");
                        let ids = SubscriptionIds::from_slice(ids);
                        let run = run((version, qos), forward, expires_at, ids, dropped);
                        runs.push((format!("{what}, the first two"), run.first(2, u64::MAX)));
                        runs.push((what, run));
                    }
                }
            }
        }
    }
    runs
}

/// Of seven messages, the first few having been dropped.
fn run(
    (version, qos): (ProtocolVersion, packet::QoS),
    forward: &[u8],
    expires_at: BrokerTime,
    ids: SubscriptionIds,
    dropped: usize,
) -> RunDelivery {
    let mut messages = RunBuilder::default();
    // A length of 127 bytes takes one byte less than one of 128, as it is with MQTT 5.0; so do packets of 40 and 41 bytes,
    // of which a client takes the one.
    for len in [0, 3, 17, 8, 106, 200, 5_000] {
        let payload = "x".repeat(len);
        let parts = MessageParts {
            topic_prefix: "plant/",
            topic: "7/temperature",
            forward,
            payload: payload.as_bytes(),
            qos: ExactlyOnce,
            retain: false,
            expires_at,
            publisher: PublisherId(1),
        };
        let message = Draft::received(&parts, version, None);
        assert!(RunBuilder::takes(&message));
        messages.push(&message);
    }
    let run = messages.finish().expect("there are messages");
    let mut run = RunDelivery::new(run, qos, ids);
    for left in (7 - dropped as u64..7).rev() {
        let size = run.deliveries().next().expect("one more").message.size();
        assert_eq!((run.drop_first(), run.len()), (size as u64, left));
    }
    run
}

#[test]
fn a_run_comes_out_as_its_messages_do_one_by_one() {
    let mut causes = Vec::new();
    for (client, settings, connect) in clients() {
        for (what, run) in runs() {
            let connect = Connect { clean_start: false, ..connect.clone() };
            let [mut whole, mut alone] = [(); 2].map(|()| Script::connected_with(settings.clone(), connect.clone()));
            let of_run = whole.deliver_run(&run);
            let mut of_each = DeliveredRun::default();
            let mut sent = Vec::new();
            for delivery in run.deliveries() {
                let len = delivery.message.payload().len();
                match alone.deliver(delivery) {
                    Ok(mut lines) => {
                        of_each.sent += 1;
                        of_each.payload_bytes += len as u64;
                        sent.append(&mut lines);
                    }
                    Err(cause) => {
                        of_each.dropped = Some(cause);
                        causes.push(cause);
                    }
                }
            }
            assert_eq!(of_run.clone(), (of_each, sent), "{client}: {what}");
            let inflight = if run.qos == AtMostOnce { 0 } else { of_run.0.sent };
            assert_eq!(u64::from(whole.connection.inflight()), inflight, "{client}: {what}");
            let [again, expected] =
                [whole, alone].map(|script| script.reconnected(settings.clone(), connect.clone()).resent());
            assert_eq!(again, expected, "{client}: {what}");
            assert_eq!(run.deliveries().map(|it| it.message.size() as u64).sum::<u64>(), run.size(), "{what}");
        }
    }
    for cause in [DropCause::Expired, DropCause::TooLarge, DropCause::NotAuthorized] {
        assert!(causes.contains(&cause), "{}", cause.name());
    }
}

// [MQTT-4.3.2-3], [MQTT-4.3.3-4], [MQTT-4.4.0-2]
#[test]
fn each_message_of_a_run_is_acknowledged_alone() {
    let run = |qos| run((V5, qos), &[], BrokerTime::NEVER, SubscriptionIds::None, 0);
    let mut script = Script::connected(V5);
    assert_eq!(script.deliver_run(&run(AtLeastOnce)).0.sent, 7);
    for id in [4, 1, 2, 3, 6, 5, 7] {
        script.check(ack(PacketType::PubAck, id, ReasonCode::Success), &["completed q1"]);
        script.check(ack(PacketType::PubAck, id, ReasonCode::Success), &[]);
    }
    assert_eq!(script.deliver_run(&run(ExactlyOnce)).0.sent, 7);
    script.check(ack(PacketType::PubRec, 9, ReasonCode::Success), &["PUBREL #9 0x00"]);
    script.check(ack(PacketType::PubRec, 10, ReasonCode::QuotaExceeded), &["refused row 0"]);
    script.check(ack(PacketType::PubComp, 9, ReasonCode::Success), &["completed q2"]);
    assert_eq!(script.connection.inflight(), 5);
}

#[test]
fn an_acknowledgement_of_another_qos_than_the_run_has_is_a_protocol_error() {
    let answers = [(AtLeastOnce, PacketType::PubRec), (ExactlyOnce, PacketType::PubAck)];
    for (qos, kind) in answers.into_iter().chain([(ExactlyOnce, PacketType::PubComp)]) {
        let mut script = Script::connected(V5);
        script.deliver_run(&run((V5, qos), &[], BrokerTime::NEVER, SubscriptionIds::None, 0));
        script.check(ack(kind, 2, ReasonCode::Success), &["DISCONNECT 0x82 +reason", "close 0x82"]);
    }
}
