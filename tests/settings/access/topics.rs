//! The access control list: on PUBLISH, on SUBSCRIBE, on delivery, for wills and for retained messages.

use midge::message::DropCause;
use midge::packet::{
    Connect, ConnectProperties, Packet, PacketId, ProtocolVersion, Publish, QoS, SubscribeOptions, Will,
};

use crate::support::{Midge, message, v3, v4, v5, will};

/// "open/#" for everybody who comes without a name, but for "open/safe"; "mine/<client id>" for each.
const ACL: &str = "\
topic readwrite open/#
topic deny open/safe
topic read news/#
topic write letters/#
pattern readwrite mine/%c

user admin
topic readwrite #
topic readwrite $SYS/#
";

async fn with_acl(access: &str) -> Midge {
    let text = format!("[access]\nacl_file = \"acl\"\nallow_anonymous = true\n{access}");
    Midge::start_with_files(&text, &[("acl", ACL)]).await
}

fn admin(client_id: &str) -> Connect<'_> {
    Connect { user_name: Some("admin"), ..v5(client_id) }
}

fn at(qos: QoS, publish: Publish<'_>) -> Publish<'_> {
    Publish { qos, ..publish }
}

#[tokio::test]
async fn a_publish_that_is_not_allowed_gets_0x87_and_goes_nowhere() {
    let midge = with_acl("").await;
    let mut reader = midge.join(admin("reader")).await;
    assert_eq!(reader.subscribe("#", QoS::ExactlyOnce).await, "0x02");
    let mut client = midge.join(v5("a")).await;
    for topic in ["news/1", "open/safe", "mine/b", "elsewhere"] {
        assert_eq!(client.offer(message(topic, "x")).await, "0x87", "{topic}");
        assert_eq!(client.offer(at(QoS::ExactlyOnce, message(topic, "x"))).await, "0x87", "{topic}");
        client.publish(at(QoS::AtMostOnce, message(topic, "x"))).await;
        client.ping().await;
    }
    assert_eq!(midge.broker.counts().not_authorised, 12);
    reader.ping().await;
    assert_eq!(client.offer(message("mine/a", "allowed")).await, "0x00");
    reader.expect("PUBLISH q1 mine/a 'allowed'").await;
}

#[tokio::test]
async fn a_refused_publish_says_why_where_problem_information_is_wanted() {
    let midge = with_acl("").await;
    let mut client = midge.join(v5("a")).await;
    client.publish(message("news/1", "x")).await;
    let puback = client.expect("PUBACK #1 0x87").await;
    assert_eq!(puback.reason().as_deref(), Some("not allowed to publish to this topic"));
    let properties = ConnectProperties { request_problem_information: Some(false), ..Default::default() };
    let mut client = midge.join(Connect { properties, ..v5("b") }).await;
    client.publish(message("news/1", "x")).await;
    assert_eq!(client.expect("PUBACK #1 0x87").await.reason(), None);
}

#[tokio::test]
async fn a_publish_of_3x_that_is_not_allowed_is_acknowledged_and_goes_nowhere() {
    let midge = with_acl("").await;
    let mut reader = midge.join(admin("reader")).await;
    reader.subscribe("#", QoS::ExactlyOnce).await;
    for connect in [v3, v4] {
        let mut client = midge.join(connect("a")).await;
        client.publish(message("news/1", "x")).await;
        client.expect("PUBACK #1").await;
        client.publish(at(QoS::ExactlyOnce, message("news/1", "x"))).await;
        let pubrec = client.expect("PUBREC #2").await;
        let Packet::PubRec(ack) = pubrec.packet() else { panic!("{pubrec}") };
        client.send_pubrel(ack.packet_id).await;
        client.expect("PUBCOMP #2").await;
        client.publish(at(QoS::AtMostOnce, message("news/1", "x"))).await;
        client.ping().await;
    }
    assert_eq!(midge.broker.counts().not_authorised, 6);
    reader.ping().await;
}

#[tokio::test]
async fn a_publish_of_3x_that_is_not_allowed_closes_where_the_configuration_says_so() {
    let midge = with_acl("denied_publish_3x = \"close\"").await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut client = midge.join(v4("a")).await;
        client.publish(at(qos, message("news/1", "x"))).await;
        client.expect_closed().await;
    }
    assert_eq!(midge.broker.counts().not_authorised, 3);
    let mut told = midge.join(v5("a")).await;
    assert_eq!(told.offer(message("news/1", "x")).await, "0x87");
}

#[tokio::test]
async fn acknowledgements_that_are_due_come_before_such_a_close() {
    let midge = with_acl("denied_publish_3x = \"close\"").await;
    let mut client = midge.join(v4("a")).await;
    let mut bytes = Vec::new();
    for (n, topic) in (1..).zip(["letters/1", "letters/2", "news/1", "letters/3"]) {
        let publish = Publish { packet_id: PacketId::new(n), ..message(topic, "x") };
        Packet::Publish(publish).encode(ProtocolVersion::V4, &mut bytes);
    }
    client.send_bytes(&bytes).await;
    client.expect("PUBACK #1").await;
    client.expect("PUBACK #2").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_subscription_is_granted_when_it_can_match_something_that_is_allowed() {
    let midge = with_acl("").await;
    for (connect, denied) in [(v4("a"), "0x80"), (v5("a"), "0x87")] {
        let mut client = midge.join(connect).await;
        for filter in ["#", "open/#", "+/safe", "news/1", "mine/a", "mine/+", "$share/g/news/#"] {
            assert_eq!(client.subscribe(filter, QoS::AtLeastOnce).await, "0x01", "{filter}");
        }
        for filter in ["open/safe", "letters/#", "mine/b", "elsewhere/#", "$share/g/letters/+", "$SYS/#"] {
            assert_eq!(client.subscribe(filter, QoS::AtLeastOnce).await, denied, "{filter}");
        }
    }
}

#[tokio::test]
async fn a_strict_listener_grants_only_what_is_allowed_as_a_whole() {
    let midge = with_acl("subscribe = \"strict\"").await;
    for (connect, denied) in [(v4("a"), "0x80"), (v5("a"), "0x87")] {
        let mut client = midge.join(connect).await;
        for filter in ["open/a", "news/#", "news/+/1", "mine/a", "$share/g/news/#"] {
            assert_eq!(client.subscribe(filter, QoS::AtLeastOnce).await, "0x01", "{filter}");
        }
        for filter in ["#", "open/#", "+/safe", "mine/+", "letters/#", "$share/g/#"] {
            assert_eq!(client.subscribe(filter, QoS::AtLeastOnce).await, denied, "{filter}");
        }
    }
}

#[tokio::test]
async fn one_filter_that_is_denied_does_not_touch_the_others() {
    let midge = with_acl("").await;
    let mut client = midge.join(v5("a")).await;
    let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let suback = client.subscribe_all(&[("news/#", options), ("letters/#", options), ("open/a", options)]).await;
    assert_eq!(suback.to_string(), "SUBACK #1 0x01 0x87 0x01");
    assert_eq!(client.unsubscribe("letters/#").await, "0x11");
    assert_eq!(client.unsubscribe("open/a").await, "0x00");
}

#[tokio::test]
async fn what_a_subscriber_may_not_read_is_left_out_at_delivery_and_counted() {
    let midge = with_acl("").await;
    let mut reader = midge.join(v5("reader")).await;
    assert_eq!(reader.subscribe("#", QoS::AtLeastOnce).await, "0x01");
    let mut writer = midge.join(admin("writer")).await;
    for topic in ["open/safe", "letters/1", "mine/writer", "secret"] {
        assert_eq!(writer.offer(message(topic, "x")).await, "0x00", "{topic}");
    }
    reader.ping().await;
    assert_eq!(midge.dropped(DropCause::NotAuthorized), 4);
    for topic in ["open/1", "news/1", "mine/reader"] {
        writer.offer(message(topic, "x")).await;
        let delivery = reader.expect(&format!("PUBLISH q1 {topic} 'x'")).await;
        reader.acknowledge(&delivery).await;
    }
    reader.ping().await;
    assert_eq!(midge.broker.counts().delivered_qos1, 3);
}

#[tokio::test]
async fn what_waits_for_a_sleeping_subscriber_is_left_out_when_it_comes_back() {
    let midge = with_acl("").await;
    let lasting = || {
        let properties = ConnectProperties { session_expiry_interval: Some(100), ..Default::default() };
        Connect { properties, clean_start: false, ..v5("reader") }
    };
    let mut reader = midge.join(lasting()).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    reader.leave().await;
    let mut writer = midge.join(admin("writer")).await;
    for topic in ["secret", "news/1"] {
        assert_eq!(writer.offer(message(topic, "x")).await, "0x00");
    }
    let mut reader = midge.dial(lasting().version).await;
    assert_eq!(reader.connect(lasting()).await.to_string(), "CONNACK 0x00 present");
    reader.expect("PUBLISH q1 news/1 'x'").await;
    reader.ping().await;
    assert_eq!(midge.dropped(DropCause::NotAuthorized), 1);
}

#[tokio::test]
async fn retained_messages_that_a_subscriber_may_not_read_are_left_out() {
    let midge = with_acl("").await;
    let mut writer = midge.join(admin("writer")).await;
    for topic in ["secret", "news/1", "open/safe", "open/1"] {
        writer.offer(Publish { retain: true, ..message(topic, "x") }).await;
    }
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    reader.expect("PUBLISH q1 retain news/1 'x'").await;
    reader.expect("PUBLISH q1 retain open/1 'x'").await;
    reader.ping().await;
    assert_eq!(midge.dropped(DropCause::NotAuthorized), 2);
}

#[tokio::test]
async fn a_retained_publish_that_is_not_allowed_changes_nothing() {
    let midge = with_acl("").await;
    let mut writer = midge.join(admin("writer")).await;
    writer.offer(Publish { retain: true, ..message("news/1", "right") }).await;
    let mut client = midge.join(v5("a")).await;
    assert_eq!(client.offer(Publish { retain: true, ..message("news/1", "wrong") }).await, "0x87");
    client.subscribe("news/1", QoS::AtLeastOnce).await;
    client.expect("PUBLISH q1 retain news/1 'right'").await;
}

#[tokio::test]
async fn a_will_that_its_client_may_not_publish_is_not_published() {
    let midge = with_acl("").await;
    let mut reader = midge.join(admin("reader")).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    let with_will = |topic| Connect { will: Some(Will { ..will(topic, "gone") }), ..v5("a") };
    midge.join(with_will("news/1")).await.vanish().await;
    reader.ping().await;
    assert_eq!(midge.broker.counts().not_authorised, 1);
    midge.join(with_will("letters/1")).await.vanish().await;
    reader.expect("PUBLISH q1 letters/1 'gone'").await;
}

#[tokio::test]
async fn the_session_of_one_user_taken_up_by_another_gets_what_the_other_may_read() {
    let midge = with_acl("").await;
    let properties = || ConnectProperties { session_expiry_interval: Some(100), ..Default::default() };
    let mut reader = midge.join(Connect { properties: properties(), ..admin("reader") }).await;
    assert_eq!(reader.subscribe("#", QoS::AtLeastOnce).await, "0x01");
    reader.leave().await;
    let heir = Connect { properties: properties(), clean_start: false, ..v5("reader") };
    let mut heir = midge.join(heir).await;
    let mut writer = midge.join(admin("writer")).await;
    for topic in ["secret", "news/1"] {
        writer.offer(message(topic, "x")).await;
    }
    heir.expect("PUBLISH q1 news/1 'x'").await;
    heir.ping().await;
    assert_eq!(midge.dropped(DropCause::NotAuthorized), 1);
    assert_eq!(heir.unsubscribe("#").await, "0x00");
}
