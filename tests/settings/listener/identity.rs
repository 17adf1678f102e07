//! `user_name_as_client_id`, and the client identifiers that the broker makes.

use midge::packet::{Connect, ProtocolVersion};

use crate::support::{Midge, v3, v4, v5};

const BY_NAME: &str = "[defaults]\nuser_name_as_client_id = true";

fn named<'a>(connect: Connect<'a>, user_name: &'a str) -> Connect<'a> {
    Connect { user_name: Some(user_name), ..connect }
}

#[tokio::test]
async fn the_user_name_becomes_the_client_id_and_version_5_is_told() {
    let midge = Midge::start(BY_NAME).await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let connack = client.connect(named(v5("whatever"), "alice")).await;
    assert_eq!(connack.connack().properties.assigned_client_identifier, Some("alice"));
    let mut same = midge.dial(ProtocolVersion::V5).await;
    let connack = same.connect(named(v5("alice"), "alice")).await;
    assert_eq!(connack.connack().properties.assigned_client_identifier, None);
    client.expect("DISCONNECT 0x8E").await;
}

#[tokio::test]
async fn nobody_takes_over_the_session_of_another_user() {
    let midge = Midge::start(BY_NAME).await;
    let mut alice = midge.join(named(v5("alice"), "alice")).await;
    let mut bob = midge.join(named(v4("alice"), "bob")).await;
    alice.ping().await;
    bob.ping().await;
    let mut again = midge.join(named(v3("x"), "bob")).await;
    bob.expect_closed().await;
    again.ping().await;
}

// [MQTT-3.1.3-8]
#[tokio::test]
async fn a_client_without_a_name_has_no_client_id_there() {
    let midge = Midge::start(BY_NAME).await;
    for (connect, answer) in [(v3("a"), "CONNACK 2"), (v4("a"), "CONNACK 2"), (v5("a"), "CONNACK 0x85")] {
        assert_eq!(midge.refuse(connect).await.to_string(), answer);
    }
    assert_eq!(midge.refuse(named(v5("a"), "")).await.to_string(), "CONNACK 0x85");
}

#[tokio::test]
async fn a_client_without_an_id_is_given_one_that_nobody_can_guess() {
    let midge = Midge::start("").await;
    let mut assigned = Vec::new();
    for _ in 0..2 {
        let mut client = midge.dial(ProtocolVersion::V5).await;
        let connack = client.connect(v5("")).await;
        assigned.push(connack.connack().properties.assigned_client_identifier.expect("an identifier").to_owned());
    }
    assert!(assigned[0] != assigned[1] && assigned[0].len() >= 32, "{assigned:?}");
}
