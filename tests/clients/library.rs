//! What programs do with their client library: Paho in Python, MQTT.js in JavaScript.

use serde_json::{Value, json};

use crate::broker::{Broker, Transport, unique};
use crate::peer::{Kind, Message, Peer, Version};
use crate::program::hex;
use crate::script::Script;

macro_rules! both_libraries {
    ($($test:ident: $($version:ident)+;)*) => {$(
        mod $test {
            #[allow(non_snake_case)]
            mod paho {
                $(#[test] fn $version() { super::super::$test(crate::peer::Kind::Paho, crate::peer::Version::$version); })+
            }
            #[allow(non_snake_case)]
            mod mqttjs {
                $(#[test] fn $version() { super::super::$test(crate::peer::Kind::MqttJs, crate::peer::Version::$version); })+
            }
        }
    )*};
}

both_libraries! {
    a_session_is_resumed_with_what_it_missed: V3 V4 V5;
    a_will_arrives: V3 V4 V5;
    a_will_does_not_arrive_after_a_goodbye: V3 V4 V5;
    a_client_of_the_same_name_takes_over: V3 V4 V5;
    a_burst_arrives_in_order: V3 V4 V5;
    unsubscribing_ends_it: V3 V4 V5;
    properties_arrive: V5;
    a_delayed_will_waits: V5;
    an_empty_client_id_gets_one: V5;
    subscription_options_hold: V5;
    subscription_identifiers_arrive: V5;
    a_small_window_is_kept: V5;
    topic_aliases_of_the_broker_are_understood: V5;
    topic_aliases_of_the_client_are_understood: V5;
    expiry_of_a_session_and_of_a_message: V5;
}

fn words(version: Version, id: &str) -> Value {
    Script::connect_words(version, Broker::shared(), Transport::Tcp, id)
}

/// Words of a client whose session stays.
fn lasting(version: Version, id: &str) -> Value {
    let mut words = words(version, id);
    words["clean"] = json!(false);
    if version == Version::V5 {
        words["properties"] = json!({"session_expiry_interval": 300});
    }
    words
}

/// What a library calls the end of a connection.
fn closed(kind: Kind) -> &'static str {
    if kind == Kind::Paho { "disconnected" } else { "closed" }
}

fn connected(kind: Kind, words: Value) -> Script {
    let mut script = Script::start(kind);
    script.connect(words);
    script
}

/// A subscriber of the other library, in 5.0, so that the two never agree on a mistake.
fn witness(kind: Kind, filter: &str) -> Script {
    let other = if kind == Kind::Paho { Kind::MqttJs } else { Kind::Paho };
    let mut witness = connected(other, words(Version::V5, &unique("w")));
    witness.subscribe(filter, 2);
    witness
}

fn a_session_is_resumed_with_what_it_missed(kind: Kind, version: Version) {
    let (topic, id) = (unique("missed"), unique("away"));
    let mut client = connected(kind, lasting(version, &id));
    client.subscribe(&topic, 2);
    client.program.tell(&json!({"do": "vanish"}));
    let mut publisher = witness(kind, "nothing");
    for (number, qos) in MISSED {
        publisher.publish(&Message::new(&topic, number.to_string(), qos));
    }
    drop(client);
    let mut client = Script::start(kind);
    let connack = client.connect(lasting(version, &id));
    assert_eq!(connack["session_present"], version != Version::V3, "{connack}");
    // The libraries show a message of QoS 2 when it is released, so the order is that of each QoS.
    let mut got: Vec<Message> = MISSED.iter().map(|_| client.receive()).collect();
    got.sort_by_key(|message| message.qos);
    let expected = MISSED.map(|(number, qos)| Message::new(&topic, number.to_string(), qos));
    assert_eq!(got, expected);
}

/// Number and QoS of messages that a client misses.
const MISSED: [(u8, u8); 6] = [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)];

fn a_will_arrives(kind: Kind, version: Version) {
    let topic = unique("will");
    let mut witness = witness(kind, &topic);
    let mut words = words(version, &unique("mourned"));
    words["will"] = json!({"topic": topic, "payload": hex(b"gone"), "qos": 2});
    let mut mourned = connected(kind, words);
    mourned.program.tell(&json!({"do": "vanish"}));
    assert_eq!(witness.receive(), Message::new(topic, "gone", 2));
}

fn a_will_does_not_arrive_after_a_goodbye(kind: Kind, version: Version) {
    let topic = unique("will");
    let mut witness = witness(kind, &format!("{topic}/#"));
    let mut words = words(version, &unique("mourned"));
    words["will"] = json!({"topic": format!("{topic}/will"), "payload": hex(b"gone")});
    let mut mourned = connected(kind, words);
    mourned.publish(&Message::new(format!("{topic}/last"), "words", 1));
    mourned.ask(json!({"do": "disconnect"}), closed(kind));
    drop(mourned);
    assert_eq!(witness.receive().payload, b"words");
    witness.publish(&Message::new(format!("{topic}/after"), "that", 1));
    assert_eq!(witness.receive().payload, b"that");
}

fn a_client_of_the_same_name_takes_over(kind: Kind, version: Version) {
    let id = unique("twice");
    let mut old = connected(kind, lasting(version, &id));
    let mut new = connected(kind, lasting(version, &id));
    if version == Version::V5 {
        assert_eq!(old.program.event("disconnected")["reason"], 0x8e);
    } else {
        old.program.event(closed(kind));
    }
    let topic = unique("mine");
    new.subscribe(&topic, 1);
    new.publish(&Message::new(&topic, "still here", 1));
    assert_eq!(new.receive(), Message::new(topic, "still here", 1));
}

fn a_burst_arrives_in_order(kind: Kind, version: Version) {
    let topic = unique("burst");
    let mut witness = witness(kind, &format!("{topic}/+"));
    let mut publisher = connected(kind, words(version, &unique("p")));
    for number in 0..600 {
        let (topic, payload) = (format!("{topic}/{}", number % 3), hex(number.to_string().as_bytes()));
        publisher.program.tell(&json!({"do": "publish", "topic": topic, "payload": payload, "qos": number % 3}));
    }
    // Of one topic, and so of one QoS here, the order holds.
    let mut next = [0, 1, 2];
    for _ in 0..600 {
        let message = witness.receive();
        let expected = &mut next[usize::from(message.qos)];
        assert_eq!(message.payload, expected.to_string().into_bytes());
        *expected += 3;
    }
}

fn unsubscribing_ends_it(kind: Kind, version: Version) {
    let topic = unique("ends");
    let mut client = connected(kind, words(version, &unique("c")));
    client.subscribe(&format!("{topic}/a"), 1);
    client.subscribe(&format!("{topic}/b"), 1);
    client.ask(json!({"do": "unsubscribe", "filter": format!("{topic}/a")}), "unsubscribed");
    client.publish(&Message::new(format!("{topic}/a"), "unwanted", 1));
    client.publish(&Message::new(format!("{topic}/b"), "wanted", 1));
    assert_eq!(client.receive().payload, b"wanted");
}

/// Set by the one library, read by the other.
fn properties_arrive(kind: Kind, version: Version) {
    let topic = unique("properties");
    let mut witness = witness(kind, &topic);
    let mut publisher = connected(kind, words(version, &unique("p")));
    let properties = json!({
        "payload_format_indicator": 1, "message_expiry_interval": 3600, "content_type": "text/plain",
        "response_topic": "answers/here", "correlation_data": "00ff7f", "user": [["a", "1"], ["a", "2"], ["b", "3"]],
    });
    let text = hex("t\u{e9}xt".as_bytes());
    publisher.ask(
        json!({"do": "publish", "topic": topic, "payload": text, "qos": 1, "properties": properties}),
        "published",
    );
    let mut got = witness.program.event("message")["properties"].clone();
    let expiry = got["message_expiry_interval"].as_u64();
    assert!(matches!(expiry, Some(3590..=3600)), "{expiry:?}");
    got["message_expiry_interval"] = json!(3600);
    assert_eq!(got, properties);
}

fn a_delayed_will_waits(kind: Kind, version: Version) {
    let topic = unique("will");
    let mut witness = witness(kind, &format!("{topic}/#"));
    let mut words = lasting(version, &unique("mourned"));
    let properties = json!({"will_delay_interval": 1});
    words["will"] = json!({"topic": format!("{topic}/will"), "payload": hex(b"gone"), "properties": properties});
    let mut mourned = connected(kind, words);
    mourned.program.tell(&json!({"do": "vanish"}));
    drop(mourned);
    witness.publish(&Message::new(format!("{topic}/before"), "first", 1));
    assert_eq!(witness.receive().payload, b"first");
    assert_eq!(witness.receive().payload, b"gone");
}

fn an_empty_client_id_gets_one(kind: Kind, version: Version) {
    let mut client = Script::start(kind);
    let connack = client.connect(words(version, ""));
    let assigned = &connack["properties"]["assigned_client_identifier"];
    assert!(assigned.as_str().is_some_and(|id| !id.is_empty()), "{connack}");
}

fn subscription_options_hold(kind: Kind, version: Version) {
    let topic = unique("options");
    witness(kind, "nothing").publish(&Message::new(format!("{topic}/kept"), "kept", 1).retained());
    let mut client = connected(kind, words(version, &unique("c")));
    let words = json!({"do": "subscribe", "filter": format!("{topic}/#"), "qos": 1, "no_local": true,
                       "retain_as_published": true, "retain_handling": 2});
    client.ask(words, "subscribed");
    client.publish(&Message::new(format!("{topic}/own"), "own", 1));
    let news = Message::new(format!("{topic}/news"), "news", 1).retained();
    witness(kind, "nothing").publish(&news);
    assert_eq!(client.receive(), news);
}

fn subscription_identifiers_arrive(kind: Kind, version: Version) {
    let topic = unique("identified");
    let mut client = connected(kind, words(version, &unique("c")));
    for (filter, identifier) in [(format!("{topic}/a"), 7), (format!("{topic}/+"), 268_435_455)] {
        let properties = json!({"subscription_identifier": identifier});
        client.ask(json!({"do": "subscribe", "filter": filter, "qos": 1, "properties": properties}), "subscribed");
    }
    client.publish(&Message::new(format!("{topic}/a"), "x", 1));
    let event = client.program.event("message");
    let mut got: Vec<u64> = event["properties"]["subscription_identifier"]
        .as_array()
        .map(|list| list.iter().flat_map(|value| value.as_u64().or(value[0].as_u64())).collect())
        .unwrap_or_default();
    got.sort_unstable();
    assert_eq!(got, [7, 268_435_455], "{event}");
}

fn a_small_window_is_kept(kind: Kind, version: Version) {
    let topic = unique("window");
    let mut words = words(version, &unique("c"));
    words["properties"] = json!({"receive_maximum": 2});
    let mut client = connected(kind, words);
    client.subscribe(&topic, 2);
    let mut publisher = witness(kind, "nothing");
    for qos in 1..=2 {
        for number in 0..30 {
            publisher.publish(&Message::new(&topic, number.to_string(), qos));
        }
        for number in 0..30 {
            assert_eq!(client.receive(), Message::new(&topic, number.to_string(), qos));
        }
    }
}

fn topic_aliases_of_the_broker_are_understood(kind: Kind, version: Version) {
    let topic = unique("aliased");
    let mut words = words(version, &unique("c"));
    words["properties"] = json!({"topic_alias_maximum": 3});
    let mut client = connected(kind, words);
    client.subscribe(&format!("{topic}/#"), 1);
    let mut publisher = witness(kind, "nothing");
    for number in 0..30 {
        let message = Message::new(format!("{topic}/long/enough/to/shorten/{}", number % 5), number.to_string(), 1);
        publisher.publish(&message);
        let got = client.program.event("message");
        // Paho hands the packet's empty topic to the program and leaves the alias to it.
        if kind == Kind::MqttJs {
            assert_eq!(got["topic"], json!(message.topic));
        }
        assert_eq!(got["payload"], json!(hex(&message.payload)));
    }
}

fn topic_aliases_of_the_client_are_understood(kind: Kind, version: Version) {
    let topic = unique("aliasing");
    let mut witness = witness(kind, &topic);
    let mut publisher = connected(kind, words(version, &unique("p")));
    for number in 0..3 {
        // Both libraries send the topic as they are told; the alias is set anew each time.
        let payload = hex(number.to_string().as_bytes());
        let words =
            json!({"do": "publish", "topic": topic, "payload": payload, "qos": 1, "properties": {"topic_alias": 5}});
        publisher.ask(words, "published");
        assert_eq!(witness.receive(), Message::new(&topic, number.to_string(), 1));
    }
}

fn expiry_of_a_session_and_of_a_message(kind: Kind, version: Version) {
    let (topic, id) = (unique("expiry"), unique("away"));
    let mut client = connected(kind, lasting(version, &id));
    client.subscribe(&format!("{topic}/#"), 1);
    client.program.tell(&json!({"do": "vanish"}));
    drop(client);
    let mut publisher = witness(kind, &format!("{topic}/clock"));
    for (payload, seconds) in [("short", 1), ("long", 600)] {
        let properties = json!({"message_expiry_interval": seconds});
        let words = json!({"do": "publish", "topic": format!("{topic}/{payload}"), "payload": hex(payload.as_bytes()),
                           "qos": 1, "properties": properties});
        publisher.ask(words, "published");
    }
    // A delayed will is the clock: it says when two seconds have passed.
    let mut words = lasting(version, &unique("clock"));
    let properties = json!({"will_delay_interval": 2});
    words["will"] = json!({"topic": format!("{topic}/clock"), "payload": hex(b"tick"), "properties": properties});
    let mut clock = connected(kind, words);
    clock.program.tell(&json!({"do": "vanish"}));
    assert_eq!(publisher.receive().payload, b"tick");
    let mut client = connected(kind, lasting(version, &id));
    assert_eq!(client.receive().payload, b"long");
}
