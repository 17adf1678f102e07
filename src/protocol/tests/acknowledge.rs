//! Acknowledgements leave in the order of what they acknowledge (section 4.6), and fit into any client's packets.

use super::*;

// [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4]
#[test]
fn acknowledgements_leave_in_the_order_their_packets_came() {
    let mut script = Script::connected(V5);
    let ids = [9u16, 3, 7, 1, 8];
    let mut answers = Vec::new();
    for id in ids {
        let qos = if id % 2 == 1 { AtLeastOnce } else { ExactlyOnce };
        answers.extend(script.feed(Publish { qos, ..publish(id, "a", "") }).split_off(1));
    }
    assert_eq!(answers, ["PUBACK #9 0x00", "PUBACK #3 0x00", "PUBACK #7 0x00", "PUBACK #1 0x00", "PUBREC #8 0x00"]);
    for n in 1..=3 {
        script.check_deliver(delivery(ExactlyOnce, "a", ""), &[&format!("PUBLISH q2 #{n} a ''")]);
    }
    let mut releases = Vec::new();
    for id in [2, 3, 1] {
        releases.extend(script.feed(ack(PacketType::PubRec, id, ReasonCode::Success)));
    }
    assert_eq!(releases, ["PUBREL #2 0x00", "PUBREL #3 0x00", "PUBREL #1 0x00"]);
}

// [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3]
#[test]
fn pubrel_and_pubcomp_fit_into_the_smallest_packet_that_connack_leaves_a_client() {
    let properties = ConnectProperties { maximum_packet_size: NonZeroU32::new(5), ..Default::default() };
    let mut script = Script::connected_with(settings(), Connect { properties, ..connect(V5) });
    script.check(ack(PacketType::PubRec, 9, ReasonCode::Success), &["PUBREL #9 0x92"]);
    script.check(ack(PacketType::PubRel, 9, ReasonCode::Success), &["PUBCOMP #9 0x92"]);
    let qos_2 = Publish { qos: ExactlyOnce, ..publish(9, "a", "") };
    script.check(qos_2, &["route q2 a '' #9", "PUBREC #9 0x00"]);
    script.check(ack(PacketType::PubRel, 9, ReasonCode::Success), &["PUBCOMP #9 0x00"]);
}
