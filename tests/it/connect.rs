//! CONNECT and CONNACK when the broker accepts: sections 3.1 and 3.2.

use std::collections::HashSet;

use crate::support::wire::{self, Connect, Publish, Subscribe, Version, Will, property};
use crate::support::{Case, cases};

cases! {
    connect_is_accepted: V3 V4 V5;
    connack_of_version_5_claims_nothing_wrong: V5;
    client_id_of_one_character: V3 V4 V5;
    client_id_of_23_characters: V3 V4 V5;
    client_id_of_65_535_bytes: V4 V5;
    client_id_of_any_characters: V4 V5;
    empty_client_id_with_clean_session: V4;
    empty_client_id_gets_an_assigned_one: V5;
    empty_client_id_without_clean_start_gets_an_assigned_one: V5;
    assigned_client_ids_are_unique: V5;
    assigned_client_id_is_a_session: V5;
    no_assigned_client_id_for_a_client_that_has_one: V5;
    packets_behind_connect_are_processed: V3 V4 V5;
    connect_in_segments_of_one_byte: V3 V4 V5;
    several_packets_in_one_segment: V3 V4 V5;
    every_connect_property_at_once: V5;
    user_properties_of_connect_may_repeat: V5;
    user_name_may_be_empty: V3 V4 V5;
    user_name_and_password: V3 V4 V5;
    password_without_user_name: V5;
    promised_fields_may_be_missing: V3;
    password_may_be_binary: V3 V4 V5;
    password_may_be_empty: V3 V4 V5;
    user_name_of_65_535_bytes: V4 V5;
    keep_alive_of_65_535_seconds: V3 V4 V5;
    no_response_information_unless_asked: V5;
    response_information_may_be_asked_for: V5;
    no_server_keep_alive_means_ours: V5;
    maximum_packet_size_binds_connack: V5;
    no_authentication_method_in_connack_unless_in_connect: V5;
    bridge_level_3: V3;
    bridge_level_4: V4;
    only_one_connack: V3 V4 V5;
}

// [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.2-1] [MQTT-3.2.2-2]
fn connect_is_accepted(case: &Case) {
    let mut client = case.open();
    client.send(case.connect("a").bytes());
    match case.version {
        Version::V5 => assert!(!client.accepted().session_present),
        _ => client.expect([0x20, 2, 0, 0]),
    }
    client.ping();
}

// [MQTT-3.2.2-8] [MQTT-3.2.2-9]: a broker without restrictions needs none of the properties that announce one, and may send
// them only with values that say so.
fn connack_of_version_5_claims_nothing_wrong(case: &Case) {
    let (_, connack) = case.accepted(case.connect("a"));
    assert_ne!(connack.properties.two(0x21), Some(0), "receive maximum");
    assert_ne!(connack.properties.four(0x27), Some(0), "maximum packet size");
    for (id, name) in [(0x25, "retain"), (0x28, "wildcard subscriptions"), (0x29, "identifiers"), (0x2a, "shared")] {
        assert_ne!(connack.properties.byte(id), Some(0), "{name} available");
    }
    assert_eq!(connack.properties.byte(0x24), None, "maximum QoS 2 is said by leaving it out");
}

// [MQTT-3.1.3-5]
fn client_id_of_one_character(case: &Case) {
    // The shortest names there are: nobody else in this suite uses one.
    let id = match case.version {
        Version::V3 => "3",
        Version::V4 => "4",
        Version::V5 => "5",
    };
    case.accepted(Connect::new(case.version, id));
}

// [MQTT-3.1.3-5]
fn client_id_of_23_characters(case: &Case) {
    let id = format!("{:Z<23}", case.id("aZ9"));
    assert_eq!(id.len(), 23);
    case.accepted(Connect::new(case.version, id)).0.ping();
}

// [MQTT-3.1.3-4]
fn client_id_of_65_535_bytes(case: &Case) {
    let id = format!("{:x<65535}", case.id("long"));
    let connect = Connect::new(case.version, id).lasting();
    assert!(!case.accepted(connect.clone()).1.session_present);
    // [MQTT-3.1.3-2]: all of its bytes name the session.
    let other = format!("{:x<65534}y", case.id("long"));
    assert!(!case.accepted(Connect::new(case.version, other).lasting()).1.session_present);
    assert!(case.accepted(connect).1.session_present);
}

// [MQTT-3.1.3-4]
fn client_id_of_any_characters(case: &Case) {
    for label in ["/", "a b", "+/#", "$SYS", "\u{1f980}", "%u%c", "'\"\\", "日本"] {
        let connect = Connect::new(case.version, case.id(label)).lasting();
        assert!(!case.accepted(connect.clone()).1.session_present, "{label}");
        assert!(case.accepted(connect).1.session_present, "{label}");
    }
}

// [MQTT-3.1.1 3.1.3-6]
fn empty_client_id_with_clean_session(case: &Case) {
    let mut first = case.accepted(Connect::new(case.version, "")).0;
    // A second one is another client.
    case.accepted(Connect::new(case.version, "")).0.ping();
    first.ping();
}

// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
fn empty_client_id_gets_an_assigned_one(case: &Case) {
    let (_, connack) = case.accepted(Connect::new(case.version, ""));
    assert!(!connack.session_present);
    assert!(connack.properties.text(0x12).is_some_and(|id| !id.is_empty()), "{connack:02x?}");
}

// [MQTT-3.1.3-7]
fn empty_client_id_without_clean_start_gets_an_assigned_one(case: &Case) {
    let (_, connack) = case.accepted(Connect::new(case.version, "").resume());
    assert!(!connack.session_present);
    assert!(connack.properties.text(0x12).is_some_and(|id| !id.is_empty()), "{connack:02x?}");
}

// [MQTT-3.2.2-16]
fn assigned_client_ids_are_unique(case: &Case) {
    let clients: Vec<_> = (0..50).map(|_| case.accepted(Connect::new(case.version, ""))).collect();
    let ids: HashSet<_> = clients.iter().map(|(_, connack)| connack.properties.text(0x12)).collect();
    assert_eq!(ids.len(), clients.len());
    for (mut client, _) in clients {
        client.ping();
    }
}

// [MQTT-3.1.3-7]
fn assigned_client_id_is_a_session(case: &Case) {
    let (client, connack) = case.accepted(Connect::new(case.version, "").lasting());
    client.leave();
    let id = connack.properties.text(0x12).expect("an assigned client identifier").to_owned();
    assert!(case.accepted(Connect::new(case.version, id).lasting()).1.session_present);
}

// Section 3.2.2.3.7
fn no_assigned_client_id_for_a_client_that_has_one(case: &Case) {
    let (_, connack) = case.accepted(case.connect("a"));
    assert_eq!(connack.properties.text(0x12), None);
}

// Section 3.1.4: a client need not wait for CONNACK.
fn packets_behind_connect_are_processed(case: &Case) {
    let topic = case.topic("t");
    let mut client = case.open();
    let subscribe = Subscribe::new(case.version, 7).filter(&topic, 1).bytes();
    let publish = Publish::new(case.version, &topic, "at once").qos(1, 8).bytes();
    client.send([case.connect("a").bytes(), subscribe, publish, wire::PINGREQ.to_vec()].concat());
    client.accepted();
    assert_eq!(client.suback().codes, [1]);
    // What follows may come in any order.
    let mut frames: Vec<u8> = (0..3).map(|_| client.next().kind()).collect();
    frames.sort_unstable();
    assert_eq!(frames, [wire::PUBLISH, wire::PUBACK, wire::PINGRESP[0]]);
}

// [MQTT-4.2-1]: TCP is a stream of bytes, however it is cut.
fn connect_in_segments_of_one_byte(case: &Case) {
    let topic = case.topic("t");
    let mut client = case.open();
    let subscribe = Subscribe::new(case.version, 7).filter(&topic, 0).bytes();
    let publish = Publish::new(case.version, &topic, "byte by byte").bytes();
    for byte in [case.connect("a").bytes(), subscribe, publish].concat() {
        client.send([byte]);
    }
    client.accepted();
    client.suback();
    client.receive(&topic, "byte by byte", 0);
}

// [MQTT-4.2-1]
fn several_packets_in_one_segment(case: &Case) {
    let topic = case.topic("t");
    let mut client = case.client("a");
    client.subscribe(&topic, 0);
    let publish = |index: u16| Publish::new(case.version, &topic, index.to_string()).bytes();
    client.send((0..500).flat_map(publish).collect::<Vec<u8>>());
    for index in 0..500 {
        client.receive(&topic, index.to_string(), 0);
    }
}

// Section 3.1.2.11
fn every_connect_property_at_once(case: &Case) {
    let connect = case
        .connect("a")
        .with(property::user("a", "b"))
        .with(property::maximum_packet_size(1000))
        .with(property::topic_alias_maximum(10))
        .with(property::receive_maximum(10))
        .with(property::request_problem_information(1))
        .with(property::request_response_information(0))
        .with(property::session_expiry_interval(10));
    case.accepted(connect).0.ping();
}

// Section 3.1.2.11.8
fn user_properties_of_connect_may_repeat(case: &Case) {
    let connect = case.connect("a").with(property::user("a", "b")).with(property::user("a", "b"));
    case.accepted(connect.with(property::user("", ""))).0.ping();
}

// [MQTT-3.1.2-17]
fn user_name_may_be_empty(case: &Case) {
    case.accepted(case.connect("a").user_name("")).0.ping();
}

// [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT-3.1.3-12]
fn user_name_and_password(case: &Case) {
    case.accepted(case.connect("a").user_name("user").password("password")).0.ping();
}

// Section 3.1.2.9: 5.0 allows it.
fn password_without_user_name(case: &Case) {
    case.accepted(case.connect("a").password("token")).0.ping();
}

// MQTT 3.1, section 3.1: the remaining length takes precedence over the flags of user name and password, for the sake of
// the clients that were there before these fields.
fn promised_fields_may_be_missing(case: &Case) {
    for (index, flags) in [0x82, 0xc2].into_iter().enumerate() {
        let mut client = case.open();
        client.send(case.connect(&index.to_string()).bytes_with_flags(flags));
        client.accepted();
    }
    let mut client = case.open();
    client.send(case.connect("c").user_name("user").bytes_with_flags(0xc2));
    client.accepted();
}

// Section 3.1.3.6: binary data.
fn password_may_be_binary(case: &Case) {
    case.accepted(case.connect("a").user_name("user").password([0, 0xff, 0xc0, 0x80])).0.ping();
}

// Section 3.1.3.6
fn password_may_be_empty(case: &Case) {
    case.accepted(case.connect("a").user_name("user").password("")).0.ping();
}

// [MQTT-3.1.3-12]
fn user_name_of_65_535_bytes(case: &Case) {
    case.accepted(case.connect("a").user_name("u".repeat(65_535))).0.ping();
}

// Section 3.1.2.10
fn keep_alive_of_65_535_seconds(case: &Case) {
    case.accepted(case.connect("a").keep_alive(65_535)).0.ping();
}

// [MQTT-3.1.2-28]
fn no_response_information_unless_asked(case: &Case) {
    for connect in [case.connect("a"), case.connect("b").with(property::request_response_information(0))] {
        assert_eq!(case.accepted(connect).1.properties.text(0x1a), None);
    }
}

// Section 3.1.2.11.6
fn response_information_may_be_asked_for(case: &Case) {
    case.accepted(case.connect("a").with(property::request_response_information(1))).0.ping();
}

// [MQTT-3.2.2-22]: a broker without a limit of its own has no reason to send another keep alive.
fn no_server_keep_alive_means_ours(case: &Case) {
    assert_eq!(case.accepted(case.connect("a").keep_alive(60)).1.properties.two(0x13), None);
}

// [MQTT-3.1.2-24] [MQTT-3.2.2-19]
fn maximum_packet_size_binds_connack(case: &Case) {
    let mut client = case.open();
    client.send(case.connect("a").with(property::maximum_packet_size(40)).bytes());
    assert!(client.next().bytes().len() <= 40);
}

// [MQTT-4.12.0-6]
fn no_authentication_method_in_connack_unless_in_connect(case: &Case) {
    let (_, connack) = case.accepted(case.connect("a"));
    assert_eq!((connack.properties.text(0x15), connack.properties.all(0x16)), (None, vec![]));
}

// Protocol level 0x83: a bridge of mosquitto's kind on 3.1.
fn bridge_level_3(case: &Case) {
    let connect = case.connect("a");
    let mut client = case.open();
    client.send(connect.bytes_as("MQIsdp", 0x83, connect.flags()));
    client.accepted();
    bridge_gets_retained_and_no_echo(case, client);
}

// Protocol level 0x84: a bridge of mosquitto's kind on 3.1.1.
fn bridge_level_4(case: &Case) {
    let connect = case.connect("a");
    let mut client = case.open();
    client.send(connect.bytes_as("MQTT", 0x84, connect.flags()));
    client.accepted();
    bridge_gets_retained_and_no_echo(case, client);
}

/// What the level implies: retain as published and no local.
fn bridge_gets_retained_and_no_echo(case: &Case, mut bridge: crate::support::Client) {
    bridge.subscribe(case.topic("t"), 0);
    bridge.send(case.message("t", "own").bytes());
    case.publish(case.message("t", "another's").retain(), 1);
    assert!(bridge.receive(case.topic("t"), "another's", 0).retain);
}

// [MQTT-3.2.0-2]
fn only_one_connack(case: &Case) {
    let connect = case.connect("a").will(Will::new(case.topic("w"), "w"));
    let mut client = case.accepted(connect).0;
    client.expect_nothing();
}
