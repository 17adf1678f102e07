//! What is acknowledged when: nothing that promises something leaves before it is safe, and nothing that promises nothing
//! waits.

use midge::packet::{Connect, Disconnect, Packet, PacketId, ProtocolVersion, Publish, QoS};

use super::{at, back};
use crate::queues::{assert_accounted, away, lasting};
use crate::support::{Client, Midge, message, v4, v5};

#[tokio::test]
async fn puback_and_pubrec_leave_in_order_when_the_message_is_safe() {
    for connect in [v4("writer"), v5("writer"), lasting("writer")] {
        let midge = Midge::start_stored("").await;
        away(&midge, "reader", "a").await;
        let mut writer = midge.join(connect).await;
        midge.gate.close();
        for (n, (qos, payload)) in (1..).zip([(1, "1"), (2, "2"), (1, "3")]) {
            let qos = if qos == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            writer.publish(at(qos, "a", payload)).await;
            midge.gate.until_waiting(n).await;
        }
        writer.ping().await;
        midge.gate.let_one_through();
        assert!(writer.next().await.to_string().starts_with("PUBACK #1"));
        writer.ping().await;
        midge.gate.open();
        for expected in ["PUBREC #2", "PUBACK #3"] {
            let received = writer.next().await.to_string();
            assert!(received.starts_with(expected), "{received} instead of {expected}");
        }
        assert_accounted(&midge);
    }
}

#[tokio::test]
async fn suback_and_unsuback_of_a_lasting_session_wait() {
    let midge = Midge::start_stored("").await;
    let mut client = midge.join(lasting("reader")).await;
    midge.gate.close();
    client.send_subscribe("a", QoS::AtLeastOnce).await;
    midge.gate.until_waiting(1).await;
    client.ping().await;
    {
        let midge = midge.lose_power().await;
        back(&midge, "reader").await.leave().await;
        assert_eq!(midge.join(v5("writer")).await.offer(message("a", "x")).await, "0x10");
    }
    midge.gate.open();
    client.expect("SUBACK #1 0x01").await;
    midge.gate.close();
    client.send_unsubscribe("a").await;
    midge.gate.until_waiting(1).await;
    client.ping().await;
    midge.gate.open();
    client.expect("UNSUBACK #2 0x00").await;
    let midge = midge.lose_power().await;
    back(&midge, "reader").await.leave().await;
    assert_eq!(midge.join(v5("writer")).await.offer(message("a", "x")).await, "0x10");
}

#[tokio::test]
async fn connack_of_a_lasting_session_waits_and_no_publish_comes_before_it() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(v5("writer")).await;
    assert_eq!(writer.offer(message("a", "waits")).await, "0x00");
    midge.gate.close();
    let mut client = midge.dial(ProtocolVersion::V5).await;
    client.send(&Packet::Connect(lasting("reader"))).await;
    midge.gate.until_waiting(1).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        writer.publish(at(qos, "a", "new")).await;
        writer.ping().await;
    }
    midge.gate.open();
    client.expect("CONNACK 0x00 present").await;
    client.expect("PUBLISH q1 a 'waits'").await;
}

#[tokio::test]
async fn a_client_that_never_stops_publishing_gets_its_messages_once_connack_is_out() {
    let midge = Midge::start_stored("").await;
    away(&midge, "busy", "a").await;
    away(&midge, "other", "b").await;
    let mut writer = midge.join(v5("writer")).await;
    writer.offer(message("a", "waits")).await;
    midge.gate.close();
    let mut client = midge.dial(ProtocolVersion::V5).await;
    client.send(&Packet::Connect(lasting("busy"))).await;
    midge.gate.until_waiting(1).await;
    client.publish(message("b", "1")).await;
    midge.gate.until_waiting(2).await;
    // CONNACK is safe, and there is always something that is not yet.
    midge.gate.let_one_through();
    client.expect("CONNACK 0x00 present").await;
    client.expect("PUBLISH q1 a 'waits'").await;
    midge.gate.open();
    client.expect("PUBACK #1 0x00").await;
}

#[tokio::test]
async fn sessions_that_end_with_their_connections_never_wait_for_the_disk() {
    let midge = Midge::start_stored("").await;
    midge.gate.close();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for connect in [v4, v5] {
            let mut reader = midge.join(connect("reader")).await;
            reader.subscribe("a", qos).await;
            let mut writer = midge.join(connect("writer")).await;
            writer.offer(at(qos, "a", "x")).await;
            writer.send_pubrel(PacketId::MIN).await;
            reader.expect(&format!("PUBLISH q{} a 'x'", qos as u8)).await;
            assert!(writer.next().await.to_string().starts_with("PUBCOMP"));
        }
    }
    assert_eq!(midge.gate.waiting(), 0, "nothing was stored");
}

#[tokio::test]
async fn a_lasting_subscriber_gets_qos_1_before_its_publisher_is_answered() {
    let midge = Midge::start_stored("").await;
    let mut reader = midge.join(lasting("reader")).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    midge.gate.close();
    writer.publish(message("a", "x")).await;
    let delivery = reader.expect("PUBLISH q1 a 'x'").await;
    reader.acknowledge(&delivery).await;
    reader.ping().await;
    writer.ping().await;
    midge.gate.open();
    writer.expect("PUBACK #1 0x00").await;
    assert_accounted(&midge);
}

// [MQTT-4.6.0-2]
#[tokio::test]
async fn what_needs_no_disk_is_acknowledged_behind_what_does() {
    let text =
        "[[store.rules]]\nfilter = \"memory\"\ndurability = \"memory\"\n[defaults]\ncheck_payload_format = true\n";
    let midge = Midge::start_stored(text).await;
    away(&midge, "reader", "#").await;
    let mut writer = midge.join(v5("writer")).await;
    midge.gate.close();
    let mut bytes = Vec::new();
    let properties = midge::packet::PublishProperties::decode(&[1, 1], midge::packet::Sender::Client);
    let properties = properties.expect("a Payload Format Indicator");
    let publishes = [
        message("a", "1"),
        message("memory", "2"),
        Publish { properties, payload: &[0xFF], ..message("a", "") },
        message("a", "4"),
    ];
    for (n, publish) in (1..).zip(publishes) {
        let publish = Publish { packet_id: PacketId::new(n), ..publish };
        Packet::Publish(publish).encode(ProtocolVersion::V5, &mut bytes);
    }
    writer.send_bytes(&bytes).await;
    midge.gate.until_waiting(2).await;
    midge.gate.open();
    for expected in ["PUBACK #1 0x00", "PUBACK #2 0x00", "PUBACK #3 0x99", "PUBACK #4 0x00"] {
        writer.expect(expected).await;
    }
}

#[tokio::test]
async fn acknowledgements_that_are_due_leave_after_a_disconnect_when_they_are_safe() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    for connect in [v5("writer"), lasting("writer")] {
        let mut writer = midge.join(connect).await;
        midge.gate.close();
        writer.publish(message("a", "x")).await;
        writer.send(&Packet::Disconnect(Disconnect::default())).await;
        midge.gate.until_waiting(1).await;
        let census = midge.join(v5("census")).await;
        census.leave().await;
        midge.gate.open();
        writer.expect("PUBACK #1 0x00").await;
        writer.expect_closed().await;
    }
    assert_accounted(&midge);
}

#[tokio::test]
async fn a_takeover_while_connack_waits_answers_the_first_connection_before_it_is_closed() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    midge.gate.close();
    let mut first = midge.dial(ProtocolVersion::V5).await;
    first.send(&Packet::Connect(lasting("reader"))).await;
    midge.gate.until_waiting(1).await;
    let mut second = midge.dial(ProtocolVersion::V5).await;
    second.send(&Packet::Connect(lasting("reader"))).await;
    midge.gate.until_waiting(3).await;
    midge.gate.open();
    first.expect("CONNACK 0x00 present").await;
    first.expect("DISCONNECT 0x8E").await;
    second.expect("CONNACK 0x00 present").await;
    second.ping().await;
}

#[tokio::test]
async fn a_batch_that_is_lost_closes_the_connection_and_nothing_is_acknowledged() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    for connect in [v4("writer"), v5("writer"), lasting("writer")] {
        let mut writer = midge.join(connect).await;
        midge.gate.close();
        writer.publish(message("a", "x")).await;
        midge.gate.until_waiting(1).await;
        midge.gate.lose();
        if writer.version() == ProtocolVersion::V5 {
            writer.expect("DISCONNECT 0x97").await;
        }
        writer.expect_closed().await;
        midge.gate.open();
    }
    assert_accounted(&midge);
}

// [MQTT-3.1.2-4]
#[tokio::test]
async fn a_client_is_told_that_it_has_no_session_when_the_end_of_the_one_it_had_is_safe() {
    let ending = || Disconnect { session_expiry_interval: Some(0), ..Disconnect::default() };
    for (connect, refused) in [(v5("reader"), "CONNACK 0x97"), (v4("reader"), "CONNACK 3")] {
        for is_ended in [false, true] {
            let midge = Midge::start_stored("").await;
            let mut reader = midge.join(lasting("reader")).await;
            reader.subscribe("a", QoS::AtLeastOnce).await;
            midge.gate.close();
            let batches = if is_ended {
                reader.leave_with(ending()).await;
                1
            } else {
                reader.leave().await;
                2
            };
            let mut client = midge.dial(connect.version).await;
            client.send(&Packet::Connect(connect.clone())).await;
            midge.gate.until_waiting(batches).await;
            midge.join(v5("census")).await.leave().await;
            midge.gate.lose();
            client.expect(refused).await;
            client.expect_closed().await;
            // It is said again to the store, and to the client when that is safe.
            let mut client = midge.dial(connect.version).await;
            client.send(&Packet::Connect(connect.clone())).await;
            midge.gate.until_waiting(1).await;
            midge.gate.open();
            assert!(client.next().await.is_success());
            client.ping().await;
            let midge = midge.lose_power().await;
            let mut client = midge.dial(ProtocolVersion::V5).await;
            assert_eq!(client.connect(lasting("reader")).await.to_string(), "CONNACK 0x00");
            assert_eq!(midge.gate.after_kill().recovered().sessions.len(), 1);
        }
    }
}

// [MQTT-3.2.0-1]
#[tokio::test]
async fn a_connect_that_is_lost_is_refused_in_connack() {
    let midge = Midge::start_stored("").await;
    midge.gate.close();
    for (connect, expected) in
        [(lasting("reader"), "CONNACK 0x97"), (Connect { clean_start: false, ..v4("reader") }, "CONNACK 3")]
    {
        let mut client = midge.dial(connect.version).await;
        client.send(&Packet::Connect(connect)).await;
        midge.gate.until_waiting(1).await;
        midge.gate.lose();
        client.expect(expected).await;
        client.expect_closed().await;
        midge.gate.open();
        midge.gate.close();
    }
}

#[tokio::test]
async fn a_message_that_was_lost_before_its_pubrec_is_new_when_it_is_sent_again() {
    let midge = Midge::start_stored("").await;
    away(&midge, "reader", "a").await;
    let mut writer = midge.join(lasting("writer")).await;
    midge.gate.close();
    let publish = at(QoS::ExactlyOnce, "a", "x");
    writer.publish(Publish { packet_id: Some(PacketId::MIN), ..publish }).await;
    midge.gate.until_waiting(1).await;
    midge.gate.lose();
    writer.expect("DISCONNECT 0x97").await;
    midge.gate.open();
    let mut writer = back(&midge, "writer").await;
    writer.publish(Publish { packet_id: Some(PacketId::MIN), dup: true, ..publish }).await;
    writer.expect("PUBREC #1 0x00").await;
    let midge = midge.lose_power().await;
    let mut reader: Client = back(&midge, "reader").await;
    reader.expect("PUBLISH q2 a 'x'").await;
}
