//! Enhanced authentication (section 4.12) with SCRAM-SHA-256.

use midge::packet::{Auth, Connect, ConnectProperties, Packet, ProtocolVersion, QoS, ReasonCode};

use crate::support::scram::{CREDENTIALS, METHOD, Scram};
use crate::support::{Client, Midge, Received, message, v4, v5};

async fn with_scram(access: &str) -> Midge {
    let text = format!("[access]\nscram_file = \"scram\"\n{access}");
    Midge::start_with_files(&text, &[("scram", CREDENTIALS)]).await
}

fn asking<'a>(method: &'a str, data: Option<&'a [u8]>) -> Connect<'a> {
    let properties =
        ConnectProperties { authentication_method: Some(method), authentication_data: data, ..Default::default() };
    Connect { properties, ..v5("a") }
}

fn auth<'a>(reason_code: ReasonCode, data: Option<&'a [u8]>) -> Packet<'a> {
    let method = Some(METHOD);
    Packet::Auth(Auth { reason_code, authentication_method: method, authentication_data: data, ..Default::default() })
}

/// Up to the broker's challenge: the client's last message and the broker's.
async fn challenged(midge: &Midge, scram: &Scram) -> (Client, Vec<u8>, Vec<u8>) {
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let challenge = client.connect(asking(METHOD, Some(&scram.first()))).await;
    let (last, signature) = scram.last(data_of(&challenge));
    (client, last, signature)
}

/// The data of an AUTH that asks for more.
fn data_of(received: &Received) -> &[u8] {
    let auth = received.auth();
    assert_eq!((auth.reason_code, auth.authentication_method), (ReasonCode::ContinueAuthentication, Some(METHOD)));
    auth.authentication_data.expect("a challenge")
}

async fn inside(midge: &Midge) -> Client {
    let (mut client, last, _) = challenged(midge, &Scram::new("user", "pencil")).await;
    client.send(&auth(ReasonCode::ContinueAuthentication, Some(&last))).await;
    client.expect("CONNACK 0x00").await;
    client
}

// [MQTT-4.12.0-2] [MQTT-4.12.0-5]
#[tokio::test]
async fn the_whole_exchange_lets_the_user_in_and_proves_the_broker() {
    let midge = with_scram("").await;
    let (mut client, last, signature) = challenged(&midge, &Scram::new("user", "pencil")).await;
    client.send(&auth(ReasonCode::ContinueAuthentication, Some(&last))).await;
    let connack = client.expect("CONNACK 0x00").await;
    let properties = connack.connack().properties;
    assert_eq!(properties.authentication_method, Some(METHOD));
    assert_eq!(properties.authentication_data, Some(&signature[..]));
    client.ping().await;
}

// [MQTT-4.12.0-2] [MQTT-4.12.0-3]
#[tokio::test]
async fn a_client_may_leave_its_first_message_for_the_first_auth() {
    let midge = with_scram("").await;
    let scram = Scram::new("user", "pencil");
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let asked = client.connect(asking(METHOD, None)).await;
    assert_eq!(asked.to_string(), "AUTH 0x18");
    client.send(&auth(ReasonCode::ContinueAuthentication, Some(&scram.first()))).await;
    let challenge = client.next().await;
    let (last, _) = scram.last(data_of(&challenge));
    client.send(&auth(ReasonCode::ContinueAuthentication, Some(&last))).await;
    client.expect("CONNACK 0x00").await;
}

#[tokio::test]
async fn the_user_of_the_exchange_is_who_the_access_rules_look_at() {
    let text = "[access]\nscram_file = \"scram\"\nacl_file = \"acl\"";
    let files = [("scram", CREDENTIALS), ("acl", "user user\ntopic write mine\n")];
    let midge = Midge::start_with_files(text, &files).await;
    let mut client = inside(&midge).await;
    assert_eq!(client.offer(message("mine", "x")).await, "0x10");
    assert_eq!(client.offer(message("yours", "x")).await, "0x87");
}

// [MQTT-4.12.0-4]
#[tokio::test]
async fn a_wrong_proof_and_an_unknown_user_are_refused_alike() {
    let midge = with_scram("").await;
    let mut reasons = Vec::new();
    for (user, password) in [("user", "wrong"), ("nobody", "pencil")] {
        let (mut client, last, _) = challenged(&midge, &Scram::new(user, password)).await;
        client.send(&auth(ReasonCode::ContinueAuthentication, Some(&last))).await;
        reasons.push(client.expect("CONNACK 0x87").await.reason().expect("a reason"));
        client.expect_closed().await;
    }
    assert_eq!(reasons[0], reasons[1]);
    assert!(!reasons[0].contains("user"), "{reasons:?}");
    assert_eq!(midge.broker.counts().authentication_failures, 2);
}

#[tokio::test]
async fn a_message_that_is_no_scram_is_refused() {
    let midge = with_scram("").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(client.connect(asking(METHOD, Some(b"hello"))).await.to_string(), "CONNACK 0x87");
    client.expect_closed().await;
}

// [MQTT-4.12.0-1]
#[tokio::test]
async fn a_method_that_the_listener_does_not_offer_gets_0x8c() {
    for midge in [with_scram("").await, Midge::start("").await] {
        for method in ["SCRAM-SHA-1", "PLAIN", ""] {
            assert_eq!(midge.refuse(asking(method, None)).await.to_string(), "CONNACK 0x8C", "{method}");
        }
    }
    let midge = Midge::start("").await;
    assert_eq!(midge.refuse(asking(METHOD, None)).await.to_string(), "CONNACK 0x8C");
}

#[tokio::test]
async fn who_does_not_ask_for_scram_needs_another_way_in() {
    let midge = with_scram("").await;
    assert_eq!(midge.refuse(v5("a")).await.to_string(), "CONNACK 0x87");
    let named = Connect { user_name: Some("user"), password: Some(b"pencil"), ..v5("a") };
    assert_eq!(midge.refuse(named).await.to_string(), "CONNACK 0x87");
    assert_eq!(midge.refuse(v4("a")).await.to_string(), "CONNACK 5");
    let midge = with_scram("allow_anonymous = true").await;
    midge.join(v5("a")).await;
    // The name of a SCRAM user is nobody else's.
    let named = Connect { user_name: Some("user"), ..v5("a") };
    assert_eq!(midge.refuse(named).await.to_string(), "CONNACK 0x87");
}

// [MQTT-3.1.2-30]
#[tokio::test]
async fn other_packets_before_the_connack_close_the_connection() {
    let midge = with_scram("").await;
    for packet in [Packet::PingReq, Packet::Publish(message("a", "x")), Packet::Connect(v5("a"))] {
        let (mut client, ..) = challenged(&midge, &Scram::new("user", "pencil")).await;
        let packet = match packet {
            Packet::Publish(publish) => Packet::Publish(midge::packet::Publish { qos: QoS::AtMostOnce, ..publish }),
            other => other,
        };
        client.send(&packet).await;
        client.expect("CONNACK 0x82").await;
        client.expect_closed().await;
    }
}

// [MQTT-4.12.0-3] [MQTT-4.12.0-5]
#[tokio::test]
async fn an_exchange_with_another_method_or_another_code_in_the_middle_is_a_protocol_error() {
    let midge = with_scram("").await;
    let other_method = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        authentication_method: Some("PLAIN"),
        ..Default::default()
    };
    for packet in [Packet::Auth(other_method), auth(ReasonCode::ReAuthenticate, None)] {
        let (mut client, ..) = challenged(&midge, &Scram::new("user", "pencil")).await;
        client.send(&packet).await;
        client.expect("CONNACK 0x82").await;
        client.expect_closed().await;
    }
}

#[tokio::test]
async fn a_client_may_go_in_the_middle_of_the_exchange() {
    let midge = with_scram("").await;
    let (client, ..) = challenged(&midge, &Scram::new("user", "pencil")).await;
    client.leave().await;
    let (client, ..) = challenged(&midge, &Scram::new("user", "pencil")).await;
    client.vanish().await;
    assert_eq!(midge.broker.counts().connections_made, 0);
}

#[tokio::test]
async fn the_exchange_has_to_be_over_within_the_connect_timeout() {
    let midge = with_scram("").await;
    let (mut client, ..) = challenged(&midge, &Scram::new("user", "pencil")).await;
    midge.clock.advance(std::time::Duration::from_secs(10));
    client.expect_closed().await;
}

// [MQTT-4.12.1-1] [MQTT-4.12.0-5]
#[tokio::test]
async fn a_client_that_is_in_may_prove_again_who_it_is_and_goes_on() {
    let midge = with_scram("").await;
    let mut client = inside(&midge).await;
    client.subscribe("a", QoS::AtLeastOnce).await;
    for _ in 0..2 {
        let scram = Scram::new("user", "pencil");
        client.send(&auth(ReasonCode::ReAuthenticate, Some(&scram.first()))).await;
        let challenge = client.next().await;
        // Everything else goes on meanwhile (section 4.12.1).
        client.ping().await;
        let (last, signature) = scram.last(data_of(&challenge));
        client.send(&auth(ReasonCode::ContinueAuthentication, Some(&last))).await;
        let done = client.expect("AUTH 0x00").await;
        assert_eq!(done.auth().authentication_data, Some(&signature[..]));
        assert_eq!(done.auth().authentication_method, Some(METHOD));
    }
    assert_eq!(client.unsubscribe("a").await, "0x00");
}

// [MQTT-4.12.1-2]
#[tokio::test]
async fn a_re_authentication_that_fails_ends_the_connection() {
    let midge = with_scram("").await;
    for (user, password) in [("user", "wrong"), ("nobody", "pencil"), ("other", "pencil")] {
        let mut client = inside(&midge).await;
        let scram = Scram::new(user, password);
        client.send(&auth(ReasonCode::ReAuthenticate, Some(&scram.first()))).await;
        let challenge = client.next().await;
        let (last, _) = scram.last(data_of(&challenge));
        client.send(&auth(ReasonCode::ContinueAuthentication, Some(&last))).await;
        let reason = client.expect("DISCONNECT 0x87").await.reason().expect("a reason");
        assert!(!reason.contains("password") && !reason.contains("nobody"), "tells too much: {reason}");
        client.expect_closed().await;
    }
}

// [MQTT-4.12.1-1]
#[tokio::test]
async fn a_re_authentication_with_another_method_is_a_protocol_error() {
    let midge = with_scram("").await;
    let mut client = inside(&midge).await;
    let other =
        Auth { reason_code: ReasonCode::ReAuthenticate, authentication_method: Some("PLAIN"), ..Default::default() };
    client.send(&Packet::Auth(other)).await;
    client.expect("DISCONNECT 0x82").await;
    client.expect_closed().await;
}

// [MQTT-4.12.0-7]
#[tokio::test]
async fn auth_from_a_client_that_named_no_method_is_a_protocol_error() {
    let midge = with_scram("allow_anonymous = true").await;
    let mut client = midge.join(v5("a")).await;
    client.send(&auth(ReasonCode::ReAuthenticate, None)).await;
    client.expect("DISCONNECT 0x82").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_re_authentication_that_was_not_begun_is_a_protocol_error() {
    let midge = with_scram("").await;
    let mut client = inside(&midge).await;
    client.send(&auth(ReasonCode::ContinueAuthentication, Some(b"x"))).await;
    client.expect("DISCONNECT 0x82").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_method_that_a_reload_took_away_cannot_be_begun_again() {
    let mut midge = with_scram("").await;
    let mut client = inside(&midge).await;
    midge.reload("[access]\nallow_anonymous = true", &[]).expect("a good configuration");
    client.ping().await;
    client.send(&auth(ReasonCode::ReAuthenticate, None)).await;
    client.expect("DISCONNECT 0x8C").await;
    client.expect_closed().await;
}
