//! `topic_alias_maximum` and `topic_alias_maximum_outbound`.

use std::num::NonZeroU16;

use midge::packet::{Connect, ConnectProperties, Property, ProtocolVersion, Publish, PublishProperties, QoS, Sender};

use crate::support::{Client, Midge, Received, message, v5};

/// Sends a message with an alias.
async fn offer(client: &mut Client, alias: u16, topic: &str) -> Received {
    let mut raw = Vec::new();
    Property::TopicAlias(NonZeroU16::new(alias).expect("an alias")).encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("properties of a PUBLISH");
    client.publish(Publish { properties, ..message(topic, "x") }).await;
    client.next().await
}

#[tokio::test]
async fn aliases_up_to_the_maximum_stand_for_their_topics_and_those_above_end_the_connection() {
    let midge = Midge::start("[defaults]\ntopic_alias_maximum = 2").await;
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(v5("a")).await;
    assert_eq!(connack.connack().properties.topic_alias_maximum, Some(2));
    for (alias, topic, meant) in
        [(1, "one", "one"), (2, "two", "two"), (1, "", "one"), (2, "", "two"), (1, "new", "new")]
    {
        assert!(offer(&mut client, alias, topic).await.to_string().ends_with("0x00"));
        reader.expect(&format!("PUBLISH q1 {meant} 'x'")).await;
    }
    assert_eq!(offer(&mut client, 3, "three").await.to_string(), "DISCONNECT 0x94");
    client.expect_closed().await;
    reader.ping().await;
}

#[tokio::test]
async fn without_aliases_the_first_one_ends_the_connection() {
    let midge = Midge::start("[defaults]\ntopic_alias_maximum = 0").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(v5("a")).await;
    assert_eq!(connack.connack().properties.topic_alias_maximum, None);
    assert_eq!(offer(&mut client, 1, "one").await.to_string(), "DISCONNECT 0x94");
    client.expect_closed().await;
}

#[tokio::test]
async fn an_alias_that_was_never_set_ends_the_connection() {
    let midge = Midge::start("").await;
    let mut client = midge.join(v5("a")).await;
    assert_eq!(offer(&mut client, 1, "").await.to_string(), "DISCONNECT 0x82");
    client.expect_closed().await;
}

/// The aliases of two messages each on three topics.
async fn aliases(text: &str, maximum: u16) -> Vec<Option<u16>> {
    let midge = Midge::start(text).await;
    let properties = ConnectProperties { topic_alias_maximum: maximum, ..Default::default() };
    let mut reader = midge.join(Connect { properties, ..v5("reader") }).await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    let mut aliases = Vec::new();
    for topic in ["topic/number/1", "topic/number/2", "topic/number/3"] {
        for round in 0..2 {
            writer.offer(message(topic, "x")).await;
            let delivery = reader.next().await;
            let publish = delivery.publish();
            let alias = publish.properties.topic_alias.map(NonZeroU16::get);
            assert_eq!(publish.topic, if alias.is_some() && round > 0 { "" } else { topic });
            aliases.push(alias);
        }
    }
    aliases
}

// [MQTT-3.1.2-26], [MQTT-3.1.2-27]
#[tokio::test]
async fn the_broker_sets_as_many_aliases_as_both_allow() {
    let two = [Some(1), Some(1), Some(2), Some(2), None, None];
    assert_eq!(aliases("", 2).await, two);
    assert_eq!(aliases("[defaults]\ntopic_alias_maximum_outbound = 2", 100).await, two);
    assert_eq!(aliases("[defaults]\ntopic_alias_maximum_outbound = 0", 100).await, [None; 6]);
    assert_eq!(aliases("", 0).await, [None; 6]);
}
