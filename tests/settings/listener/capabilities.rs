//! `maximum_qos`, `retain_available`, `protocol_versions`, `check_payload_format`, `response_information`.

use std::num::NonZeroU16;

use midge::packet::{
    Connect, ConnectProperties, Property, ProtocolVersion, Publish, PublishProperties, QoS, Sender, Will,
};

use crate::support::{Midge, message, v3, v4, v5, will};

fn at(qos: QoS, publish: Publish<'_>) -> Publish<'_> {
    Publish { qos, ..publish }
}

#[tokio::test]
async fn a_listener_without_settings_says_nothing_of_qos_and_retain() {
    let midge = Midge::start("").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(v5("a")).await;
    let properties = connack.connack().properties;
    assert_eq!((properties.maximum_qos, properties.retain_available), (None, None));
}

// [MQTT-3.2.2-9], [MQTT-3.2.2-10], [MQTT-3.2.2-11], [MQTT-3.2.2-12]
#[tokio::test]
async fn qos_above_the_maximum_is_refused_and_subscriptions_are_granted_less() {
    for maximum in [0u8, 1] {
        let midge = Midge::start(&format!("[defaults]\nmaximum_qos = {maximum}")).await;
        let mut client = midge.dial(ProtocolVersion::V5).await;
        let connack = client.connect(v5("a")).await;
        assert_eq!(connack.connack().properties.maximum_qos, QoS::from_bits(maximum));
        assert_eq!(client.subscribe("b", QoS::ExactlyOnce).await, format!("0x0{maximum}"));
        client.publish(at(QoS::ExactlyOnce, message("a", "x"))).await;
        client.expect("DISCONNECT 0x9B").await;
        client.expect_closed().await;
        let greedy = || Some(Will { qos: QoS::ExactlyOnce, ..will("w", "x") });
        assert_eq!(midge.refuse(Connect { will: greedy(), ..v5("a") }).await.to_string(), "CONNACK 0x9B");

        let mut client = midge.join(v4("a")).await;
        assert_eq!(client.subscribe("b", QoS::ExactlyOnce).await, format!("0x0{maximum}"));
        client.publish(at(QoS::ExactlyOnce, message("a", "x"))).await;
        client.expect_closed().await;
        assert_eq!(midge.refuse(Connect { will: greedy(), ..v4("a") }).await.to_string(), "CONNACK 3");
        assert_eq!(midge.broker.counts().no_subscriber, 0);
    }
}

#[tokio::test]
async fn what_other_listeners_take_at_a_higher_qos_comes_at_the_granted_one() {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n\
        [[listener]]\nname = \"low\"\naddress = \"127.0.0.2:0\"\nmaximum_qos = 0";
    let midge = Midge::start(text).await;
    let mut low = midge.door(1).join(v5("low")).await;
    low.subscribe("a", QoS::ExactlyOnce).await;
    let mut high = midge.join(v5("high")).await;
    high.publish(at(QoS::ExactlyOnce, message("a", "x"))).await;
    low.expect("PUBLISH q0 a 'x'").await;
}

// [MQTT-3.2.2-13], [MQTT-3.2.2-14]
#[tokio::test]
async fn retained_messages_are_refused_where_there_are_none() {
    let midge = Midge::start("[defaults]\nretain_available = false").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(v5("a")).await;
    assert_eq!(connack.connack().properties.retain_available, Some(false));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut client = midge.join(v5("b")).await;
        client.publish(Publish { retain: true, qos, ..message("a", "x") }).await;
        client.expect("DISCONNECT 0x9A").await;
        client.expect_closed().await;
        let mut client = midge.join(v4("b")).await;
        client.publish(Publish { retain: true, qos, ..message("a", "x") }).await;
        client.expect_closed().await;
    }
    let retained = || Some(Will { retain: true, ..will("w", "x") });
    assert_eq!(midge.refuse(Connect { will: retained(), ..v5("c") }).await.to_string(), "CONNACK 0x9A");
    assert_eq!(midge.refuse(Connect { will: retained(), ..v4("c") }).await.to_string(), "CONNACK 3");
    client.subscribe("#", QoS::AtLeastOnce).await;
    client.ping().await;
}

const ONE_WITHOUT: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n\
    [[listener]]\nname = \"without\"\naddress = \"127.0.0.2:0\"\nretain_available = false";

/// Retains "1", "2" and "3" in topics below `a`, through the first listener.
async fn retain_three(midge: &Midge) {
    let mut writer = midge.join(v5("writer")).await;
    for (topic, payload) in [("a/1", "1"), ("a/2", "2"), ("a/3", "3")] {
        writer.offer(Publish { retain: true, ..message(topic, payload) }).await;
    }
}

// Section 3.2.2.3.5
#[tokio::test]
async fn what_other_listeners_retain_is_not_sent_where_there_are_no_retained_messages() {
    let midge = Midge::start(ONE_WITHOUT).await;
    retain_three(&midge).await;
    let mut writer = midge.join(v5("writer")).await;
    for connect in [v3("reader"), v4("reader"), v5("reader")] {
        let mut reader = midge.door(1).join(connect).await;
        for filter in ["a/+", "a/+", "$SYS/#"] {
            reader.subscribe(filter, QoS::AtLeastOnce).await;
            reader.ping().await;
        }
        // New ones come as they are published.
        writer.offer(Publish { retain: true, ..message("a/1", "new") }).await;
        let delivery = reader.expect("PUBLISH q1 a/1 'new'").await;
        reader.acknowledge(&delivery).await;
        reader.leave().await;
    }
    assert_eq!(midge.broker.counts().retained_sent, 0);
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("a/2", QoS::AtLeastOnce).await;
    reader.expect("PUBLISH q1 retain a/2 '2'").await;
}

#[tokio::test]
async fn retained_messages_that_a_session_still_waits_for_wait_for_a_listener_that_has_them() {
    let midge = Midge::start(ONE_WITHOUT).await;
    retain_three(&midge).await;
    let slow = || {
        let properties = ConnectProperties {
            session_expiry_interval: Some(1000),
            receive_maximum: NonZeroU16::new(1),
            ..Default::default()
        };
        Connect { clean_start: false, properties, ..v5("reader") }
    };
    let mut reader = midge.join(slow()).await;
    reader.subscribe("a/+", QoS::AtLeastOnce).await;
    reader.expect("PUBLISH q1 retain a/1 '1'").await;
    reader.leave().await;
    let mut reader = midge.door(1).join(slow()).await;
    // This one has been sent before.
    let delivery = reader.expect("PUBLISH q1 dup retain a/1 '1'").await;
    reader.acknowledge(&delivery).await;
    reader.ping().await;
    reader.ping().await;
    reader.leave().await;
    let mut reader = midge.join(slow()).await;
    for expected in ["PUBLISH q1 retain a/2 '2'", "PUBLISH q1 retain a/3 '3'"] {
        let delivery = reader.expect(expected).await;
        reader.acknowledge(&delivery).await;
    }
    reader.ping().await;
}

#[tokio::test]
async fn a_version_that_is_not_spoken_is_told_so() {
    type Of = fn(&str) -> Connect<'_>;
    let all: [(&str, Of, &str); 3] = [("3.1", v3, "CONNACK 1"), ("3.1.1", v4, "CONNACK 1"), ("5", v5, "CONNACK 0x84")];
    for (spoken, ..) in all {
        let midge = Midge::start(&format!("[defaults]\nprotocol_versions = [\"{spoken}\"]")).await;
        for (version, connect, refusal) in all {
            if version == spoken {
                midge.join(connect("a")).await.ping().await;
            } else {
                assert_eq!(midge.refuse(connect("a")).await.to_string(), refusal);
            }
        }
    }
}

fn text_properties(raw: &mut Vec<u8>) -> PublishProperties<'_> {
    Property::PayloadFormatIndicator(true).encode(raw);
    PublishProperties::decode(raw, Sender::Client).expect("properties of a PUBLISH")
}

const NO_TEXT: &[u8] = b"\xFF\xFE";

#[tokio::test]
async fn text_that_is_none_is_refused() {
    let midge = Midge::start("").await;
    let mut raw = Vec::new();
    let properties = text_properties(&mut raw);
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("a", QoS::ExactlyOnce).await;
    let mut client = midge.join(v5("a")).await;
    let no_text = || Publish { properties, payload: NO_TEXT, ..message("a", "") };
    assert_eq!(client.offer(no_text()).await, "0x99");
    assert_eq!(client.offer(at(QoS::ExactlyOnce, no_text())).await, "0x99");
    assert_eq!(client.offer(Publish { properties, ..message("a", "text") }).await, "0x00");
    assert_eq!(client.offer(Publish { payload: NO_TEXT, ..message("a", "") }).await, "0x00");
    client.publish(at(QoS::AtMostOnce, no_text())).await;
    client.expect("DISCONNECT 0x99").await;
    client.expect_closed().await;
    let no_text = Will { properties, payload: NO_TEXT, ..will("w", "") };
    assert_eq!(midge.refuse(Connect { will: Some(no_text), ..v5("a") }).await.to_string(), "CONNACK 0x99");
    reader.expect("PUBLISH q1 a 'text'").await;
    reader.expect("PUBLISH q1 a '\\xff\\xfe'").await;
    reader.ping().await;
}

#[tokio::test]
async fn text_is_not_looked_at_where_the_configuration_says_so() {
    let midge = Midge::start("[defaults]\ncheck_payload_format = false").await;
    let mut raw = Vec::new();
    let properties = text_properties(&mut raw);
    let no_text = Will { properties, payload: NO_TEXT, ..will("w", "") };
    let mut client = midge.join(Connect { will: Some(no_text), ..v5("a") }).await;
    assert_eq!(client.offer(Publish { properties, payload: NO_TEXT, ..message("a", "") }).await, "0x10");
}

// [MQTT-3.1.2-28]
#[tokio::test]
async fn response_information_is_given_to_those_who_ask_with_their_client_id_in_it() {
    let asking = |client_id| {
        let properties = ConnectProperties { request_response_information: true, ..Default::default() };
        Connect { properties, ..v5(client_id) }
    };
    let midge = Midge::start("[defaults]\nresponse_information = \"answers/%c\"").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(asking("a")).await;
    assert_eq!(connack.connack().properties.response_information, Some("answers/a"));
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(asking("")).await;
    let properties = connack.connack().properties;
    let assigned = properties.assigned_client_identifier.expect("an assigned client identifier");
    assert_eq!(properties.response_information, Some(&format!("answers/{assigned}")[..]));
    let mut client = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(client.connect(v5("b")).await.connack().properties.response_information, None);
    let midge = Midge::start("").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(client.connect(asking("a")).await.connack().properties.response_information, None);
}
