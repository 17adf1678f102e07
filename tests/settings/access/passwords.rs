//! Anonymous clients and password files.

use midge::packet::{Connect, Packet, ProtocolVersion, Publish, QoS};

use crate::support::{Client, Midge, message, v3, v4, v5};

/// By mosquitto_passwd 2.0 and libargon2. The passwords are "wonderland", "wonderland" and "small".
const PASSWORDS: &str = "\
six:$6$+IhdcYtUgghc/w31$lBA2V/0TB+strUcj82RWAaOmcNdKQxCsoFwiqznRNo0C8on1IBRFLK+e62ZuWZ6x1yFCH3/86z93EUoLf68vLQ==
seven:$7$101$BVVjHCjTK/ll+O5P$J9lPCUUcauxfTecRTeKjI9jD7lPSuVxOp10zfB7SV97AYr3zQdda9ik0/eEwJpg0NWSj96KR/QxGB3iP0TWvBA==
argon:$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$cFmEA+ZESEpeo8vgc1uSGtwo4XgBMMwKGG7TbD70A0o
";

async fn with_passwords(access: &str) -> Midge {
    let text = format!("[access]\npassword_file = \"passwd\"\n{access}");
    Midge::start_with_files(&text, &[("passwd", PASSWORDS)]).await
}

fn named<'a>(connect: Connect<'a>, user_name: &'a str, password: &'a str) -> Connect<'a> {
    Connect { user_name: Some(user_name), password: Some(password.as_bytes()), ..connect }
}

#[tokio::test]
async fn without_any_access_setting_a_loopback_listener_lets_everybody_in() {
    let midge = Midge::start("").await;
    for connect in [v3("a"), v4("b"), v5("c"), named(v5("d"), "anybody", "anything")] {
        midge.join(connect).await;
    }
}

#[tokio::test]
async fn anonymous_clients_are_refused_where_the_configuration_says_so() {
    let midge = Midge::start("[access]\nallow_anonymous = false").await;
    for (connect, answer) in [(v3("a"), "CONNACK 5"), (v4("a"), "CONNACK 5"), (v5("a"), "CONNACK 0x87")] {
        assert_eq!(midge.refuse(connect).await.to_string(), answer);
    }
    assert_eq!(midge.broker.counts().authentication_failures, 3);
}

#[tokio::test]
async fn each_kind_of_hash_lets_its_user_in_with_the_right_password_and_nobody_else() {
    let midge = with_passwords("").await;
    for (user, password) in [("six", "wonderland"), ("seven", "wonderland"), ("argon", "small")] {
        for connect in [v3, v4, v5] {
            midge.join(named(connect("a"), user, password)).await;
        }
        assert_eq!(midge.refuse(named(v3("a"), user, "wrong")).await.to_string(), "CONNACK 4");
        assert_eq!(midge.refuse(named(v4("a"), user, "wrong")).await.to_string(), "CONNACK 4");
        assert_eq!(midge.refuse(named(v5("a"), user, "wrong")).await.to_string(), "CONNACK 0x86");
        let no_password = Connect { user_name: Some(user), ..v5("a") };
        assert_eq!(midge.refuse(no_password).await.to_string(), "CONNACK 0x86");
    }
}

#[tokio::test]
async fn with_a_password_file_no_credentials_are_not_enough() {
    let midge = with_passwords("").await;
    for (connect, answer) in [(v3("a"), "CONNACK 5"), (v4("a"), "CONNACK 5"), (v5("a"), "CONNACK 0x87")] {
        assert_eq!(midge.refuse(connect).await.to_string(), answer);
    }
}

#[tokio::test]
async fn with_a_password_file_and_anonymous_allowed_both_get_in_but_no_wrong_password() {
    let midge = with_passwords("allow_anonymous = true").await;
    midge.join(v5("a")).await;
    midge.join(named(v5("b"), "six", "wonderland")).await;
    midge.refuse(named(v5("c"), "six", "wrong")).await;
    midge.refuse(named(v5("c"), "nobody", "wonderland")).await;
}

#[tokio::test]
async fn a_client_is_not_told_whether_the_user_or_the_password_is_wrong() {
    let midge = with_passwords("").await;
    let wrong_password = midge.refuse(named(v5("a"), "six", "wrong")).await;
    let unknown_user = midge.refuse(named(v5("a"), "nobody", "wrong")).await;
    assert_eq!(unknown_user.to_string(), wrong_password.to_string());
    assert_eq!(unknown_user.reason(), wrong_password.reason());
    assert_eq!(unknown_user.reason().as_deref(), Some("unknown user name or wrong password"));
}

/// So much work that hashes for all of them take longer than anything else here.
const SLOW: &str = "slow:$7$5000$BVVjHCjTK/ll+O5P$\
    J9lPCUUcauxfTecRTeKjI9jD7lPSuVxOp10zfB7SV97AYr3zQdda9ik0/eEwJpg0NWSj96KR/QxGB3iP0TWvBA==\n";

#[tokio::test]
async fn a_storm_of_connects_with_passwords_delays_nobody_who_is_connected() {
    let files = [("passwd", SLOW)];
    let text = "[access]\npassword_file = \"passwd\"\nallow_anonymous = true";
    let midge = Midge::start_with_files(text, &files).await;
    let mut inside = midge.join(v5("inside")).await;
    let mut storm: Vec<Client> = Vec::new();
    for _ in 0..200 {
        let mut client = midge.dial(ProtocolVersion::V5).await;
        client.send(&Packet::Connect(named(v5(""), "slow", "wrong"))).await;
        storm.push(client);
    }
    for _ in 0..10 {
        inside.ping().await;
        assert_eq!(inside.offer(message("a", "x")).await, "0x10");
    }
    assert!(midge.broker.counts().authentication_failures < 200, "all were hashed before anybody else had a turn");
}

#[tokio::test]
async fn what_follows_a_connect_waits_until_its_password_is_checked() {
    let midge = with_passwords("").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let mut bytes = Vec::new();
    let publish = Publish { qos: QoS::AtMostOnce, ..message("a", "x") };
    for packet in [Packet::Connect(named(v5("a"), "argon", "small")), Packet::Publish(publish), Packet::PingReq] {
        packet.encode(ProtocolVersion::V5, &mut bytes);
    }
    client.send_bytes(&bytes).await;
    client.expect("CONNACK 0x00").await;
    client.expect("PINGRESP").await;
    assert_eq!(midge.broker.counts().received_qos0, 1);
}

#[tokio::test]
async fn what_follows_a_connect_that_is_refused_has_no_effect() {
    let midge = with_passwords("").await;
    let mut client = midge.dial(ProtocolVersion::V5).await;
    let mut bytes = Vec::new();
    let publish = Publish { retain: true, qos: QoS::AtMostOnce, ..message("a", "x") };
    for packet in [Packet::Connect(named(v5("a"), "argon", "wrong")), Packet::Publish(publish)] {
        packet.encode(ProtocolVersion::V5, &mut bytes);
    }
    client.send_bytes(&bytes).await;
    client.expect("CONNACK 0x86").await;
    client.expect_closed().await;
    assert_eq!(midge.broker.counts().received_qos0, 0);
}
