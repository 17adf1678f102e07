//! `mount_point`: tenants behind one broker.

use std::num::NonZeroU16;

use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, Property, ProtocolVersion, Publish, PublishProperties, QoS, Sender};

use crate::support::{Midge, message, v4, v5, will};

/// Door 0 sees everything, doors 1 and 2 are tenants.
const TENANTS: &str = "\
[[listener]]
name = \"all\"
address = \"127.0.0.1:0\"
[[listener]]
name = \"red\"
address = \"127.0.0.2:0\"
mount_point = \"red/\"
[[listener]]
name = \"blue\"
address = \"127.0.0.3:0\"
mount_point = \"blue/\"
";

#[tokio::test]
async fn tenants_see_their_own_topics_without_the_mount_point_and_nothing_else() {
    let midge = Midge::start(TENANTS).await;
    let mut all = midge.join(v5("all")).await;
    all.subscribe("#", QoS::AtLeastOnce).await;
    let mut red = midge.door(1).join(v5("red")).await;
    let mut blue = midge.door(2).join(v4("blue")).await;
    for client in [&mut red, &mut blue] {
        for filter in ["#", "+/b", "a/b", "red/#", "../#"] {
            assert_eq!(client.subscribe(filter, QoS::AtLeastOnce).await, "0x01", "{filter}");
        }
    }
    let mut writer = midge.door(1).join(v5("writer")).await;
    assert_eq!(writer.offer(message("a/b", "x")).await, "0x00");
    red.expect("PUBLISH q1 a/b 'x'").await;
    all.expect("PUBLISH q1 red/a/b 'x'").await;
    blue.ping().await;
    red.ping().await;
    assert_eq!(red.unsubscribe("+/b").await, "0x00");
    assert_eq!(red.unsubscribe("+/c").await, "0x11");
    let mut outside = midge.join(v5("outside")).await;
    outside.offer(message("blue/1/2", "x")).await;
    blue.expect("PUBLISH q1 1/2 'x'").await;
}

#[tokio::test]
async fn shared_subscriptions_are_their_tenants_own() {
    let midge = Midge::start(TENANTS).await;
    let mut red = midge.door(1).join(v5("red")).await;
    let mut blue = midge.door(2).join(v5("blue")).await;
    for client in [&mut red, &mut blue] {
        assert_eq!(client.subscribe("$share/g/a/#", QoS::AtLeastOnce).await, "0x01");
    }
    let mut writer = midge.door(1).join(v5("writer")).await;
    for n in ["1", "2"] {
        writer.offer(message("a/b", n)).await;
        red.expect(&format!("PUBLISH q1 a/b '{n}'")).await;
    }
    blue.ping().await;
    assert_eq!(red.unsubscribe("$share/g/a/#").await, "0x00");
    assert_eq!(writer.offer(message("a/b", "3")).await, "0x10");
}

#[tokio::test]
async fn retained_messages_are_their_tenants_own() {
    let midge = Midge::start(TENANTS).await;
    for (door, payload) in [(1, "of red"), (2, "of blue")] {
        let mut writer = midge.door(door).join(v5("writer")).await;
        writer.offer(Publish { retain: true, ..message("a/b", payload) }).await;
    }
    for (door, filter, expected) in [(1, "#", "of red"), (1, "a/b", "of red"), (2, "+/b", "of blue")] {
        let mut reader = midge.door(door).join(v5("reader")).await;
        reader.subscribe(filter, QoS::AtLeastOnce).await;
        reader.expect(&format!("PUBLISH q1 retain a/b '{expected}'")).await;
        reader.ping().await;
    }
}

#[tokio::test]
async fn wills_stay_with_their_tenants() {
    let midge = Midge::start(TENANTS).await;
    let mut red = midge.door(1).join(v5("red")).await;
    let mut blue = midge.door(2).join(v5("blue")).await;
    for client in [&mut red, &mut blue] {
        client.subscribe("#", QoS::AtLeastOnce).await;
    }
    midge.door(1).join(Connect { will: Some(will("w", "x")), ..v5("a") }).await.vanish().await;
    red.expect("PUBLISH q1 w 'x'").await;
    blue.ping().await;
}

#[tokio::test]
async fn response_topics_and_what_else_a_message_carries_stay_as_they_are() {
    let midge = Midge::start(TENANTS).await;
    let mut red = midge.door(1).join(v5("red")).await;
    red.subscribe("requests", QoS::AtLeastOnce).await;
    let mut raw = Vec::new();
    Property::ResponseTopic("answers/1").encode(&mut raw);
    Property::UserProperty("topic", "red/").encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("properties of a PUBLISH");
    let mut writer = midge.door(1).join(v5("writer")).await;
    writer.publish(Publish { properties, ..message("requests", "x") }).await;
    let request = red.expect("PUBLISH q1 requests 'x'").await;
    assert_eq!(request.publish().properties.response_topic, Some("answers/1"));
    assert_eq!(request.publish().properties.raw, raw);
}

#[tokio::test]
async fn topic_aliases_work_behind_a_mount_point_both_ways() {
    let midge = Midge::start(TENANTS).await;
    let properties = ConnectProperties { topic_alias_maximum: 5, ..Default::default() };
    let mut red = midge.door(1).join(Connect { properties, ..v5("red") }).await;
    red.subscribe("#", QoS::AtMostOnce).await;
    let mut all = midge.join(v5("all")).await;
    all.subscribe("#", QoS::AtMostOnce).await;
    let mut writer = midge.door(1).join(v5("writer")).await;
    let mut raw = Vec::new();
    Property::TopicAlias(NonZeroU16::MIN).encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("properties of a PUBLISH");
    for (sent, received) in [("long/topic/name", "long/topic/name"), ("", "")] {
        writer.publish(Publish { properties, ..message(sent, "x") }).await;
        writer.next().await;
        let delivery = red.next().await;
        let publish = delivery.publish();
        assert_eq!((publish.topic, publish.properties.topic_alias), (received, NonZeroU16::new(1)));
        all.expect("PUBLISH q0 red/long/topic/name 'x'").await;
    }
}

#[tokio::test]
async fn access_rules_see_the_whole_topic() {
    let text = format!("{TENANTS}access.acl_file = \"acl\"\naccess.allow_anonymous = true\n");
    let midge = Midge::start_with_files(&text, &[("acl", "topic blue/open/#\n")]).await;
    let mut blue = midge.door(2).join(v5("blue")).await;
    assert_eq!(blue.offer(message("open/1", "x")).await, "0x10");
    assert_eq!(blue.offer(message("closed/1", "x")).await, "0x87");
    assert_eq!(blue.subscribe("open/#", QoS::AtLeastOnce).await, "0x01");
    assert_eq!(blue.subscribe("closed/#", QoS::AtLeastOnce).await, "0x87");
}

#[tokio::test]
async fn a_topic_that_only_the_mount_points_own_wildcard_matches_is_not_the_tenants() {
    let midge = Midge::start(TENANTS).await;
    let mut red = midge.door(1).join(v5("red")).await;
    red.subscribe("#", QoS::AtLeastOnce).await;
    let mut outside = midge.join(v5("outside")).await;
    for topic in ["red", "red/"] {
        assert_eq!(outside.offer(message(topic, "x")).await, "0x00");
        red.ping().await;
    }
    assert_eq!(midge.dropped(DropCause::NotAuthorized), 2);
}

#[tokio::test]
async fn a_topic_that_is_too_long_behind_the_mount_point_is_refused() {
    let midge = Midge::start(TENANTS).await;
    let mut all = midge.join(v5("all")).await;
    all.subscribe("#", QoS::AtLeastOnce).await;
    let (fits, too_long) = ("x".repeat(65_531), "x".repeat(65_532));
    let mut red = midge.door(1).join(v5("red")).await;
    assert_eq!(red.offer(message(&fits, "x")).await, "0x00");
    assert_eq!(all.next().await.publish().topic.len(), 65_535);
    red.publish(message(&too_long, "x")).await;
    red.expect("DISCONNECT 0x90").await;
    red.expect_closed().await;
    let refused = midge.door(1).refuse(Connect { will: Some(will(&too_long, "x")), ..v5("red") }).await;
    assert_eq!(refused.to_string(), "CONNACK 0x90");
    let mut old = midge.door(1).join(v4("old")).await;
    old.publish(message(&too_long, "x")).await;
    old.expect_closed().await;
    all.ping().await;
}

#[tokio::test]
async fn nobody_takes_up_the_session_of_another_tenant() {
    let midge = Midge::start(TENANTS).await;
    let lasting = || {
        let properties = ConnectProperties { session_expiry_interval: Some(100), ..Default::default() };
        Connect { properties, clean_start: false, ..v5("a") }
    };
    let mut red = midge.door(1).join(lasting()).await;
    red.subscribe("#", QoS::AtLeastOnce).await;
    red.leave().await;
    midge.door(1).join(v5("writer")).await.offer(message("secret", "x")).await;
    let mut blue = midge.door(2).dial(ProtocolVersion::V5).await;
    blue.connect(lasting()).await;
    blue.ping().await;
    assert_eq!(blue.unsubscribe("#").await, "0x11");
}

// [MQTT-4.7.2-1]
#[tokio::test]
async fn dollar_topics_of_a_tenant_hide_from_leading_wildcards() {
    let midge = Midge::start(TENANTS).await;
    let mut red = midge.door(1).join(v5("red")).await;
    for filter in ["#", "+/b", "$own/#"] {
        red.subscribe(filter, QoS::AtLeastOnce).await;
    }
    let mut writer = midge.door(1).join(v5("writer")).await;
    writer.offer(Publish { retain: true, ..message("$own/b", "x") }).await;
    red.expect("PUBLISH q1 $own/b 'x'").await;
    red.ping().await;
    assert_eq!(red.unsubscribe("$own/#").await, "0x00");
    assert_eq!(writer.offer(message("$own/b", "y")).await, "0x10");
    let mut late = midge.door(1).join(v5("late")).await;
    late.subscribe("#", QoS::AtLeastOnce).await;
    late.ping().await;
}
