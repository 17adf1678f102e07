//! Every key that a reload changes while the broker runs, each shown by what a new connection meets.

use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use midge::packet::{Connect, ConnectProperties, Packet, Property, ProtocolVersion, Publish, QoS, Sender};
use midge::packet::{PublishProperties, SubscribeOptions};

use super::{ALICE, BOB, named};
use crate::support::scram::{CREDENTIALS, METHOD, Scram};
use crate::support::{Client, Log, Midge, message, v4, v5};

pub struct Key {
    pub name: &'static str,
    /// Its values before and after the reload; `""` is not written.
    pub values: [&'static str; 2],
    /// What else the file says.
    pub beside: &'static str,
    /// What [`look`] sees before and after.
    pub seen: [&'static str; 2],
}

const fn key(name: &'static str, values: [&'static str; 2], seen: [&'static str; 2]) -> Key {
    Key { name, values, beside: "", seen }
}

impl Key {
    /// The file with one of the values. What stands in a listener is written where all listeners start from.
    pub fn file(&self, value: &str) -> String {
        let name = self.name.replace("listener.access.", "access.").replace("listener.", "defaults.");
        let line = if value.is_empty() { String::new() } else { format!("{name} = {value}\n") };
        line + self.beside
    }
}

const ANYBODY: &str = "access.allow_anonymous = true\n";
const BY_THE_RULES: &str = "access.allow_anonymous = true\naccess.acl_file = \"acl\"\n";

/// What the files of the tests are called, and say.
const FILES: [(&str, &str); 5] =
    [("passwd", ALICE), ("passwd2", BOB), ("scram", CREDENTIALS), ("acl", "topic a\n"), ("acl2", "topic read a\n")];

const KEYS: [Key; 23] = [
    key("limits.session_expiry_max", ["", "\"60s\""], ["None", "Some(60)"]),
    key("limits.session_expiry_3x", ["", "\"10s\""], ["CONNACK 0 present", "CONNACK 0"]),
    key("limits.subscriptions_max", ["", "1"], ["SUBACK #1 0x00 0x00", "SUBACK #1 0x00 0x97"]),
    key("limits.inflight_max", ["", "1"], ["2 in flight", "1 in flight"]),
    key("listener.access.allow_anonymous", ["", "false"], ["CONNACK 0x00", "CONNACK 0x87"]),
    key(
        "listener.access.password_file",
        ["\"passwd\"", "\"passwd2\""],
        ["CONNACK 0x00, CONNACK 0x86", "CONNACK 0x86, CONNACK 0x00"],
    ),
    key("listener.access.scram_file", ["", "\"scram\""], ["CONNACK 0x8C", "AUTH 0x18"]),
    Key {
        beside: ANYBODY,
        ..key("listener.access.acl_file", ["\"acl\"", "\"acl2\""], ["PUBACK #1 0x10", "PUBACK #1 0x87"])
    },
    Key { beside: BY_THE_RULES, ..key("listener.access.subscribe", ["", "\"strict\""], ["0x00", "0x87"]) },
    Key {
        beside: BY_THE_RULES,
        ..key("listener.access.denied_publish_3x", ["", "\"close\""], ["PUBACK #1", "the end"])
    },
    key("listener.protocol_versions", ["", "[\"5\"]"], ["CONNACK 0", "CONNACK 1"]),
    key("listener.maximum_packet_size", ["", "256"], ["PUBACK #1 0x10", "DISCONNECT 0x95"]),
    key("listener.receive_maximum", ["", "1"], ["PUBREC #2 0x10", "DISCONNECT 0x93"]),
    key("listener.maximum_qos", ["", "1"], ["PUBREC #1 0x10", "DISCONNECT 0x9B"]),
    key("listener.retain_available", ["", "false"], ["PUBACK #1 0x10", "DISCONNECT 0x9A"]),
    key("listener.topic_alias_maximum", ["", "0"], ["PUBACK #1 0x10", "DISCONNECT 0x94"]),
    key("listener.topic_alias_maximum_outbound", ["", "0"], ["Some(1)", "None"]),
    key("listener.keep_alive_max", ["", "\"10s\""], ["None", "Some(10)"]),
    key("listener.check_payload_format", ["", "false"], ["PUBACK #1 0x99", "PUBACK #1 0x10"]),
    key("listener.response_information", ["", "\"answers/%c\""], ["None", "Some(\"answers/asking\")"]),
    Key {
        beside: BY_THE_RULES,
        ..key("listener.mount_point", ["", "\"tenant/\""], ["PUBACK #1 0x10", "PUBACK #1 0x87"])
    },
    key("listener.user_name_as_client_id", ["", "true"], ["None", "Some(\"alice\")"]),
    key("shutdown_timeout", ["\"1h\"", "\"1ms\""], ["connected", "cut"]),
];

/// Keys that are shown by other tests, and the files that show them.
const ELSEWHERE: [(&str, &[&str]); 2] = [
    ("tests/command_line.rs", &["log.filter"]),
    (
        "tests/transports/reload_keys.rs",
        &[
            "listener.tls.certificates.chain",
            "listener.tls.certificates.key",
            "listener.tls.client_auth",
            "listener.tls.client_ca",
            "listener.tls.client_crl",
            "listener.tls.version_min",
            "listener.tls.version_max",
            "listener.tls.session_tickets",
            "listener.tls.watch_interval",
            "listener.access.certificate_user_name",
        ],
    ),
];

#[test]
fn every_live_key_is_shown_to_be_live_and_no_other_is_in_the_tables() {
    for (file, keys) in ELSEWHERE {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
        for key in keys {
            assert!(text.contains(&format!("\"{key}")), "{file} does not show {key}");
        }
    }
    let here = KEYS.iter().map(|key| key.name);
    let mut shown: Vec<_> = here.chain(ELSEWHERE.iter().flat_map(|(_, keys)| *keys).copied()).collect();
    shown.sort_unstable();
    let mut live = midge::config::live_keys();
    live.sort_unstable();
    assert_eq!(shown, live);
}

#[tokio::test]
async fn every_live_key_holds_for_the_next_connection_after_a_reload() {
    for key in KEYS.iter().filter(|key| key.name != "shutdown_timeout") {
        let [before, after] = key.values;
        let mut midge = Midge::start_with_files(&key.file(before), &FILES).await;
        assert_eq!(look(key.name, &midge).await, key.seen[0], "{} before the reload", key.name);
        midge.reload(&key.file(after), &[]).unwrap_or_else(|error| panic!("{}: {error}", key.name));
        assert_eq!(look(key.name, &midge).await, key.seen[1], "{} after the reload", key.name);
    }
}

/// What a new connection meets, of that which the key is about.
async fn look(key: &str, midge: &Midge) -> String {
    let large = "x".repeat(300);
    match key {
        "limits.session_expiry_max" => format!("{:?}", connack(midge).await.session_expiry_interval),
        "limits.session_expiry_3x" => ten_seconds_later(midge).await,
        "limits.subscriptions_max" => {
            let options = SubscribeOptions::default();
            midge.join(v5("a")).await.subscribe_all(&[("1", options), ("2", options)]).await.to_string()
        }
        "limits.inflight_max" => in_flight(midge).await,
        "listener.access.allow_anonymous" => answer(midge, v5("a")).await,
        "listener.access.password_file" => {
            let alice = answer(midge, named("a", "alice", "wonderland")).await;
            format!("{alice}, {}", answer(midge, named("b", "bob", "small")).await)
        }
        "listener.access.scram_file" => scram(midge).await,
        "listener.access.subscribe" => midge.join(v5("a")).await.subscribe("#", QoS::AtMostOnce).await,
        "listener.access.denied_publish_3x" => published(midge, v4("a"), &[message("b", "x")]).await,
        "listener.protocol_versions" => answer(midge, v4("a")).await,
        "listener.maximum_packet_size" => published(midge, v5("a"), &[message("a", &large)]).await,
        "listener.receive_maximum" => published(midge, v5("a"), &[twice(), twice()]).await,
        "listener.maximum_qos" => published(midge, v5("a"), &[twice()]).await,
        "listener.retain_available" => {
            published(midge, v5("a"), &[Publish { retain: true, ..message("a", "x") }]).await
        }
        "listener.topic_alias_maximum" => with_property(midge, Property::TopicAlias(NonZeroU16::MIN)).await,
        "listener.topic_alias_maximum_outbound" => alias(midge).await,
        "listener.keep_alive_max" => format!("{:?}", connack(midge).await.server_keep_alive),
        "listener.check_payload_format" => with_property(midge, Property::PayloadFormatIndicator(true)).await,
        "listener.response_information" => format!("{:?}", connack(midge).await.response_information),
        "listener.access.acl_file" | "listener.mount_point" => published(midge, v5("a"), &[message("a", "x")]).await,
        "listener.user_name_as_client_id" => format!("{:?}", connack(midge).await.assigned_client_identifier),
        other => panic!("nothing looks at {other}"),
    }
}

/// The answer to a CONNECT.
async fn answer(midge: &Midge, connect: Connect<'_>) -> String {
    midge.dial(connect.version).await.connect(connect).await.to_string()
}

/// What a client that asks for much is told.
struct Told {
    session_expiry_interval: Option<u32>,
    server_keep_alive: Option<u16>,
    response_information: Option<String>,
    assigned_client_identifier: Option<String>,
}

async fn connack(midge: &Midge) -> Told {
    let properties = ConnectProperties {
        session_expiry_interval: Some(1000),
        request_response_information: true,
        ..ConnectProperties::default()
    };
    let asking = Connect { user_name: Some("alice"), properties, ..v5("asking") };
    let connack = midge.dial(ProtocolVersion::V5).await.connect(asking).await;
    let properties = connack.connack().properties;
    Told {
        session_expiry_interval: properties.session_expiry_interval,
        server_keep_alive: properties.server_keep_alive,
        response_information: properties.response_information.map(str::to_owned),
        assigned_client_identifier: properties.assigned_client_identifier.map(str::to_owned),
    }
}

/// What becomes of a session of 3.1.1 whose client is away for ten seconds.
async fn ten_seconds_later(midge: &Midge) -> String {
    let lasting = || Connect { clean_start: false, ..v4("a") };
    midge.join(lasting()).await.leave().await;
    midge.clock.advance(Duration::from_secs(10));
    answer(midge, lasting()).await
}

/// The answer to the last of these messages.
async fn published(midge: &Midge, connect: Connect<'_>, messages: &[Publish<'_>]) -> String {
    let mut client = midge.join(connect).await;
    let mut answer = "nothing".to_owned();
    for message in messages {
        client.publish(message.clone()).await;
        answer = client.next_or_close().await.map_or("the end".into(), |received| received.to_string());
    }
    answer
}

/// A message at QoS 2.
fn twice() -> Publish<'static> {
    Publish { qos: QoS::ExactlyOnce, ..message("a", "x") }
}

/// The answer to a message that is no text, with this property.
async fn with_property(midge: &Midge, property: Property<'_>) -> String {
    let mut raw = Vec::new();
    property.encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("a property of a PUBLISH");
    published(midge, v5("a"), &[Publish { properties, payload: b"\xFF", ..message("a", "") }]).await
}

async fn scram(midge: &Midge) -> String {
    let first = Scram::new("user", "pencil").first();
    let properties = ConnectProperties {
        authentication_method: Some(METHOD),
        authentication_data: Some(&first),
        ..ConnectProperties::default()
    };
    answer(midge, Connect { properties, ..v5("a") }).await
}

/// How many of two messages come before one is acknowledged.
async fn in_flight(midge: &Midge) -> String {
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = midge.join(v5("writer")).await;
    for payload in ["1", "2"] {
        writer.offer(message("a", payload)).await;
    }
    reader.send(&Packet::PingReq).await;
    let mut count = 0;
    while reader.next().await.is_publish() {
        count += 1;
    }
    format!("{count} in flight")
}

/// The alias that a client which takes some is given for a topic.
async fn alias(midge: &Midge) -> String {
    let properties = ConnectProperties { topic_alias_maximum: 10, ..ConnectProperties::default() };
    let mut reader = midge.join(Connect { properties, ..v5("reader") }).await;
    reader.subscribe("topic/name", QoS::AtMostOnce).await;
    midge.join(v5("writer")).await.offer(message("topic/name", "x")).await;
    format!("{:?}", reader.next().await.publish().properties.topic_alias)
}

#[tokio::test]
async fn a_connection_that_was_there_before_keeps_what_it_was_told() {
    let mut midge = Midge::start("").await;
    let mut old = midge.join(v5("old")).await;
    let text = "[defaults]\nmaximum_qos = 0\nmaximum_packet_size = 256\nretain_available = false";
    midge.reload(text, &[]).expect("a good configuration");
    let retained = Publish { retain: true, ..twice() };
    old.publish(Publish { payload: &[b'x'; 300], ..retained }).await;
    old.expect("PUBREC #1 0x10").await;
    midge.join(v5("new")).await.ping().await;
}

/// A client that does not read, and for which more is written than sockets take.
async fn clogged(midge: &Midge) -> Client {
    let mut reader = Client::dial_narrow(midge.broker.local_addresses()[0], ProtocolVersion::V5).await;
    reader.connect(v5("reader")).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let (mut writer, payload) = (midge.join(v5("writer")).await, "x".repeat(60_000));
    while midge.broker.accounting().queued == 0 {
        writer.offer(message("a", &payload)).await;
    }
    reader
}

#[tokio::test]
async fn a_stop_waits_as_long_as_the_reload_said_and_not_as_long_as_the_start() {
    let key = KEYS.iter().find(|key| key.name == "shutdown_timeout").expect("it is in the table");
    let log = Log::capture();
    let mut midge = Midge::start(&key.file(key.values[0])).await;
    let reader = clogged(&midge).await;
    midge.reload(&key.file(key.values[1]), &[]).expect("a good configuration");
    // An hour would be longer than the test's patience with the next line.
    tokio::time::timeout(Duration::from_secs(20), midge.broker.shutdown()).await.expect("the new timeout");
    assert!(log.lines("shutdown timeout: connections are cut").len() == 1, "{:?}", log.lines("shutdown"));
    drop(reader);
}
