//! Shared subscriptions over a crash: what waits for the group, and what a member had.

use std::num::NonZeroU32;

use midge::packet::{Packet, PacketId, ProtocolVersion, Publish, QoS, Subscribe, SubscribeFilters, SubscribeOptions};

use super::{at, back, take};
use crate::queues::{assert_accounted, lasting};
use crate::support::{Client, Midge, message, v5};

async fn member(midge: &Midge, client_id: &str, qos: QoS) -> Client {
    let mut member = midge.join(lasting(client_id)).await;
    member.subscribe("$share/g/a", qos).await;
    member
}

async fn offer(midge: &Midge, qos: QoS, payloads: &[&str]) {
    let mut writer = midge.join(v5("writer")).await;
    for payload in payloads {
        assert_eq!(writer.offer(at(qos, "a", payload)).await, "0x00");
    }
}

#[tokio::test]
async fn messages_that_wait_for_the_group_are_there_after_a_crash_once() {
    let midge = Midge::start_stored("").await;
    member(&midge, "one", QoS::ExactlyOnce).await.leave().await;
    member(&midge, "two", QoS::ExactlyOnce).await.leave().await;
    offer(&midge, QoS::AtLeastOnce, &["1", "2", "3"]).await;
    let midge = midge.kill().await;
    assert_eq!(midge.broker.accounting().recovered, 3);
    offer(&midge, QoS::AtLeastOnce, &["4"]).await;
    let mut one = back(&midge, "one").await;
    assert_eq!(take(&mut one, 4).await, ["1", "2", "3", "4"]);
    one.ping().await;
    back(&midge, "two").await.ping().await;
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}

#[tokio::test]
async fn what_a_member_had_at_qos_1_comes_back_to_the_group() {
    let midge = Midge::start_stored("").await;
    let mut one = member(&midge, "one", QoS::AtLeastOnce).await;
    offer(&midge, QoS::AtLeastOnce, &["1", "2", "3"]).await;
    let first = one.expect("PUBLISH q1 a '1'").await;
    one.acknowledge(&first).await;
    one.expect("PUBLISH q1 a '2'").await;
    one.expect("PUBLISH q1 a '3'").await;
    one.ping().await;
    member(&midge, "two", QoS::AtLeastOnce).await.leave().await;
    let midge = midge.kill().await;
    let mut two = back(&midge, "two").await;
    assert_eq!(take(&mut two, 2).await, ["2", "3"]);
    two.ping().await;
    back(&midge, "one").await.ping().await;
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}

// [MQTT-4.8.2-5]
#[tokio::test]
async fn a_started_qos_2_stays_with_its_member() {
    let midge = Midge::start_stored("").await;
    let mut one = member(&midge, "one", QoS::ExactlyOnce).await;
    offer(&midge, QoS::ExactlyOnce, &["1", "2"]).await;
    let first = one.expect("PUBLISH q2 a '1'").await.publish().packet_id.expect("an id");
    let second = one.expect("PUBLISH q2 a '2'").await.publish().packet_id.expect("an id");
    one.send_pubrec(first).await;
    one.expect(&format!("PUBREL #{first} 0x00")).await;
    member(&midge, "two", QoS::ExactlyOnce).await.leave().await;
    let midge = midge.kill().await;
    offer(&midge, QoS::ExactlyOnce, &["3"]).await;
    let mut two = back(&midge, "two").await;
    assert_eq!(take(&mut two, 1).await, ["3"]);
    let mut one = back(&midge, "one").await;
    one.expect(&format!("PUBREL #{first} 0x00")).await;
    let again = one.expect("PUBLISH q2 dup a '2'").await.publish().packet_id;
    assert_eq!(again, Some(second));
    one.send_pubcomp(first).await;
    one.send_pubrec(second).await;
    one.expect(&format!("PUBREL #{second} 0x00")).await;
    one.send_pubcomp(second).await;
    one.ping().await;
    assert_accounted(&midge);
}

// [MQTT-3.3.1-12] [MQTT-3.3.1-13] [MQTT-3.3.4-3]
#[tokio::test]
async fn a_started_qos_2_is_sent_again_as_its_member_asked_for_it() {
    for (retain_as_published, id) in [(false, NonZeroU32::new(7)), (true, None)] {
        let midge = Midge::start_stored("").await;
        let mut one = midge.join(lasting("one")).await;
        let options = SubscribeOptions { qos: QoS::ExactlyOnce, retain_as_published, ..SubscribeOptions::default() };
        one.send(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).expect("not 0"),
            subscription_identifier: id,
            user_properties: Default::default(),
            filters: SubscribeFilters::from_list(&[("$share/g/a", options)]),
        }))
        .await;
        one.expect("SUBACK #1 0x02").await;
        let mut writer = midge.join(v5("writer")).await;
        assert_eq!(writer.offer(Publish { retain: true, ..at(QoS::ExactlyOnce, "a", "1") }).await, "0x00");
        let sent = one.next().await;
        let midge = midge.kill().await;
        let again = back(&midge, "one").await.next().await;
        for publish in [sent.publish(), again.publish()] {
            let ids: Vec<_> = publish.properties.subscription_ids().collect();
            assert_eq!((publish.retain, &ids[..]), (retain_as_published, id.as_slice()));
        }
        assert!(again.publish().dup);
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn a_group_without_members_is_gone_with_what_waited_for_it() {
    let midge = Midge::start_stored("[limits]\ninflight_max = 1\n").await;
    let mut one = member(&midge, "one", QoS::AtLeastOnce).await;
    offer(&midge, QoS::AtLeastOnce, &["sent", "waits"]).await;
    one.expect("PUBLISH q1 a 'sent'").await;
    assert_eq!(one.unsubscribe("$share/g/a").await, "0x00");
    let midge = midge.kill().await;
    let mut one = back(&midge, "one").await;
    assert_eq!(take(&mut one, 1).await, ["sent"]);
    one.ping().await;
    assert_eq!((midge.gate.after_kill().recovered().groups.len(), midge.gate.rows()), (0, 0));
    one.subscribe("$share/g/a", QoS::AtLeastOnce).await;
    offer(&midge, QoS::AtLeastOnce, &["2"]).await;
    assert_eq!(take(&mut one, 1).await, ["2"]);
    one.ping().await;
    assert_accounted(&midge);
}

// [MQTT-3.10.4-3]
#[tokio::test]
async fn what_was_in_flight_outlives_the_group() {
    let midge = Midge::start_stored("").await;
    let mut one = member(&midge, "one", QoS::AtLeastOnce).await;
    offer(&midge, QoS::AtLeastOnce, &["1", "2", "3"]).await;
    let first = one.expect("PUBLISH q1 a '1'").await;
    one.acknowledge(&first).await;
    let second = one.expect("PUBLISH q1 a '2'").await;
    one.expect("PUBLISH q1 a '3'").await;
    assert_eq!(one.unsubscribe("$share/g/a").await, "0x00");
    let after_kill = midge.kill().await;
    one.acknowledge(&second).await;
    one.ping().await;
    assert_accounted(&midge);
    let after_ack = midge.kill().await;
    for (midge, left) in [(after_kill, &["2", "3"][..]), (after_ack, &["3"])] {
        assert_eq!(midge.broker.accounting().recovered, left.len() as u64);
        let mut one = back(&midge, "one").await;
        assert_eq!(take(&mut one, left.len()).await, left);
        one.ping().await;
        assert_eq!(midge.gate.rows(), 0);
        assert_accounted(&midge);
    }
}

/// A session's own copy and its group's are two messages, whichever is taken over first.
#[tokio::test]
async fn a_session_that_matches_twice_has_both_copies_after_a_crash() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for taken in [0, 1] {
            let midge = Midge::start_stored("").await;
            let mut one = member(&midge, "one", qos).await;
            one.subscribe("a", qos).await;
            offer(&midge, qos, &["1"]).await;
            let copies = [one.next().await, one.next().await];
            let ids = copies.each_ref().map(|copy| copy.publish().packet_id.expect("an id"));
            if qos == QoS::AtLeastOnce {
                one.acknowledge(&copies[taken]).await;
            } else {
                one.send_pubrec(ids[taken]).await;
                one.expect(&format!("PUBREL #{} 0x00", ids[taken])).await;
            }
            one.ping().await;
            let midge = midge.kill().await;
            let mut one = back(&midge, "one").await;
            if qos == QoS::ExactlyOnce {
                one.expect(&format!("PUBREL #{} 0x00", ids[taken])).await;
                one.send_pubcomp(ids[taken]).await;
            }
            assert_eq!(take(&mut one, 1).await, ["1"], "{qos:?}, {taken}");
            one.ping().await;
            assert_eq!(midge.gate.rows(), 0, "{qos:?}, {taken}");
            assert_accounted(&midge);
        }
    }
}

/// Each of two groups owes its copy, and the retained message is kept beside both.
#[tokio::test]
async fn two_groups_of_one_member_and_the_retained_message_are_kept_apart() {
    let midge = Midge::start_stored("").await;
    let mut one = member(&midge, "one", QoS::ExactlyOnce).await;
    one.subscribe("$share/h/+", QoS::ExactlyOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    assert_eq!(writer.offer(Publish { retain: true, ..at(QoS::ExactlyOnce, "a", "1") }).await, "0x00");
    let ids = [one.next().await, one.next().await].map(|copy| copy.publish().packet_id.expect("an id"));
    one.send_pubrec(ids[0]).await;
    one.expect(&format!("PUBREL #{} 0x00", ids[0])).await;
    one.send_pubcomp(ids[0]).await;
    one.ping().await;
    let midge = midge.kill().await;
    let mut one = back(&midge, "one").await;
    assert_eq!(take(&mut one, 1).await, ["1"]);
    one.ping().await;
    assert_eq!((midge.gate.rows(), midge.gate.after_kill().recovered().retained.len()), (0, 1));
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_group_of_passing_members_stores_nothing() {
    let midge = Midge::start_stored("").await;
    let mut one = midge.join(v5("one")).await;
    one.subscribe("$share/g/a", QoS::AtLeastOnce).await;
    midge.gate.close();
    offer(&midge, QoS::AtLeastOnce, &["1"]).await;
    assert_eq!(take(&mut one, 1).await, ["1"]);
    one.ping().await;
    assert_eq!(midge.gate.waiting(), 0);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_passing_member_of_a_lasting_group_gets_what_is_stored_for_it() {
    let midge = Midge::start_stored("").await;
    member(&midge, "lasting", QoS::AtLeastOnce).await.leave().await;
    offer(&midge, QoS::AtLeastOnce, &["1", "2"]).await;
    let mut passing = midge.join(v5("passing")).await;
    passing.subscribe("$share/g/a", QoS::AtLeastOnce).await;
    let first = passing.expect("PUBLISH q1 a '1'").await;
    passing.expect("PUBLISH q1 a '2'").await;
    passing.acknowledge(&first).await;
    passing.ping().await;
    let left = midge.kill().await;
    let mut lasting = back(&left, "lasting").await;
    assert_eq!(take(&mut lasting, 1).await, ["2"]);
    lasting.ping().await;
    assert_accounted(&left);
    // The same without a crash.
    passing.vanish().await;
    let mut lasting = back(&midge, "lasting").await;
    assert_eq!(take(&mut lasting, 1).await, ["2"]);
    lasting.ping().await;
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_copy_that_a_passing_member_began_at_qos_2_ends_with_its_session() {
    let midge = Midge::start_stored("").await;
    member(&midge, "lasting", QoS::ExactlyOnce).await.leave().await;
    let mut passing = midge.join(v5("passing")).await;
    passing.subscribe("$share/g/a", QoS::ExactlyOnce).await;
    offer(&midge, QoS::ExactlyOnce, &["1"]).await;
    passing.expect("PUBLISH q2 a '1'").await;
    // Not moved to another member: [MQTT-4.8.2-5]
    for midge in [&midge.kill().await, &midge] {
        let mut lasting = midge.dial(ProtocolVersion::V5).await;
        lasting.connect(crate::queues::lasting("lasting")).await;
        lasting.ping().await;
        assert_accounted(midge);
    }
    passing.vanish().await;
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_full_group_counts_what_the_store_does_not_keep_either() {
    let midge = Midge::start_stored("[shared]\nqueue_messages_max = 2\n").await;
    member(&midge, "one", QoS::AtLeastOnce).await.leave().await;
    let mut writer = midge.join(v5("writer")).await;
    for (payload, answer) in [("1", "0x00"), ("2", "0x00"), ("3", "0x97")] {
        assert_eq!(writer.offer(message("a", payload)).await, answer);
    }
    let midge = midge.kill().await;
    let mut one = back(&midge, "one").await;
    assert_eq!(take(&mut one, 2).await, ["1", "2"]);
    one.ping().await;
    assert_eq!(midge.gate.rows(), 0);
    assert_accounted(&midge);
}
