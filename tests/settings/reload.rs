//! SIGHUP's work: what a reload changes at once, what it leaves, and what a broken file does.

mod live_keys;
mod restart_keys;

use midge::broker::StartError;
use midge::message::DropCause;
use midge::packet::{Connect, ConnectProperties, QoS};

use crate::support::{Midge, message, v4, v5};

fn named<'a>(client_id: &'a str, user_name: &'a str, password: &'a str) -> Connect<'a> {
    Connect { user_name: Some(user_name), password: Some(password.as_bytes()), ..v5(client_id) }
}

const PASSWORDS: &str = "[access]\npassword_file = \"passwd\"";
/// Passwords "wonderland" and "small".
const ALICE: &str = "alice:$6$+IhdcYtUgghc/w31$lBA2V/0TB+strUcj82RWAaOmcNdKQxCsoFwiqznRNo0C8on1IBRFLK+e62ZuWZ6x1yFCH3/86z93EUoLf68vLQ==\n";
const BOB: &str = "bob:$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$cFmEA+ZESEpeo8vgc1uSGtwo4XgBMMwKGG7TbD70A0o\n";

#[tokio::test]
async fn a_new_password_file_holds_for_the_next_connection_and_ends_none() {
    let mut midge = Midge::start_with_files(PASSWORDS, &[("passwd", ALICE)]).await;
    let mut alice = midge.join(named("a", "alice", "wonderland")).await;
    midge.refuse(named("b", "bob", "small")).await;
    midge.reload(PASSWORDS, &[("passwd", BOB)]).expect("a good file");
    midge.join(named("b", "bob", "small")).await;
    midge.refuse(named("c", "alice", "wonderland")).await;
    alice.ping().await;
}

#[tokio::test]
async fn a_broken_file_changes_nothing_at_all() {
    let text = "[access]\npassword_file = \"passwd\"\nacl_file = \"acl\"";
    let files = [("passwd", ALICE), ("acl", "user alice\ntopic a\n")];
    let mut midge = Midge::start_with_files(text, &files).await;
    let broken = [("passwd", BOB), ("acl", "user alice\ntopic b\nnonsense\n")];
    let error = midge.reload(text, &broken).expect_err("a broken file");
    assert!(matches!(error, StartError::AuthFile(_)), "{error}");
    assert!(error.to_string().contains("acl:3"), "{error}");
    midge.refuse(named("b", "bob", "small")).await;
    let mut alice = midge.join(named("a", "alice", "wonderland")).await;
    assert_eq!(alice.offer(message("a", "x")).await, "0x10");
    assert_eq!(alice.offer(message("b", "x")).await, "0x87");
}

#[tokio::test]
async fn a_file_that_is_gone_changes_nothing_either() {
    let text = "[access]\nacl_file = \"acl\"\nallow_anonymous = true";
    let mut midge = Midge::start_with_files(text, &[("acl", "topic a\n")]).await;
    let error = midge.reload("[access]\nacl_file = \"gone\"", &[]).expect_err("a file that is not there");
    assert!(matches!(error, StartError::Config(_)) && error.to_string().contains("gone"), "{error}");
    let mut client = midge.join(v5("a")).await;
    assert_eq!(client.offer(message("b", "x")).await, "0x87");
}

const ACL: &str = "[access]\nacl_file = \"acl\"\nallow_anonymous = true";

#[tokio::test]
async fn new_rules_hold_for_the_next_publish_and_the_next_subscription() {
    let mut midge = Midge::start_with_files(ACL, &[("acl", "topic a\n")]).await;
    let mut client = midge.join(v5("a")).await;
    assert_eq!(client.offer(message("a", "x")).await, "0x10");
    assert_eq!(client.subscribe("b", QoS::AtLeastOnce).await, "0x87");
    midge.reload(ACL, &[("acl", "topic b\n")]).expect("a good file");
    assert_eq!(client.offer(message("a", "x")).await, "0x87");
    assert_eq!(client.subscribe("b", QoS::AtLeastOnce).await, "0x01");
}

#[tokio::test]
async fn new_rules_hold_for_the_next_delivery_to_a_subscription_that_was_allowed_as_a_whole() {
    let mut midge = Midge::start_with_files(ACL, &[("acl", "topic #\n")]).await;
    let mut reader = midge.join(v5("reader")).await;
    assert_eq!(reader.subscribe("news/#", QoS::AtLeastOnce).await, "0x01");
    let mut writer = midge.join(v5("writer")).await;
    writer.offer(message("news/1", "x")).await;
    reader.expect("PUBLISH q1 news/1 'x'").await;
    midge.reload(ACL, &[("acl", "topic write #\ntopic read news/2\n")]).expect("a good file");
    writer.offer(message("news/1", "x")).await;
    reader.ping().await;
    assert_eq!(midge.dropped(DropCause::NotAuthorized), 1);
    writer.offer(message("news/2", "x")).await;
    reader.expect("PUBLISH q1 news/2 'x'").await;
    midge.reload(ACL, &[("acl", "topic #\n")]).expect("a good file");
    writer.offer(message("news/1", "again")).await;
    reader.expect("PUBLISH q1 news/1 'again'").await;
}

#[tokio::test]
async fn rules_that_were_not_there_at_the_start_hold_after_a_reload() {
    let mut midge = Midge::start("").await;
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    midge.reload(ACL, &[("acl", "topic write #\n")]).expect("a good file");
    let mut writer = midge.join(v5("writer")).await;
    assert_eq!(writer.offer(message("a", "x")).await, "0x00");
    assert_eq!(writer.subscribe("a", QoS::AtLeastOnce).await, "0x87");
    reader.ping().await;
    assert_eq!(midge.dropped(DropCause::NotAuthorized), 1);
}

#[tokio::test]
async fn new_rules_hold_for_the_will_of_a_client_that_was_there_before() {
    let mut midge = Midge::start_with_files(ACL, &[("acl", "topic #\n")]).await;
    let mut reader = midge.join(v5("reader")).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    let leaving = midge.join(Connect { will: Some(crate::support::will("wills", "x")), ..v5("a") }).await;
    midge.reload(ACL, &[("acl", "topic read #\n")]).expect("a good file");
    leaving.vanish().await;
    reader.ping().await;
    assert_eq!(midge.broker.counts().not_authorised, 1);
}

#[tokio::test]
async fn a_reload_may_ask_for_names_and_stop_asking() {
    let mut midge = Midge::start("").await;
    let mut first = midge.join(v4("a")).await;
    midge.reload("[access]\nallow_anonymous = false", &[]).expect("a good configuration");
    assert_eq!(midge.refuse(v4("b")).await.to_string(), "CONNACK 5");
    midge.reload("", &[]).expect("a good configuration");
    midge.join(v4("b")).await;
    first.ping().await;
}

#[tokio::test]
async fn sessions_and_what_waits_in_them_outlive_a_reload() {
    let mut midge = Midge::start("").await;
    let lasting = || {
        let properties = ConnectProperties { session_expiry_interval: Some(100), ..Default::default() };
        Connect { properties, clean_start: false, ..v5("a") }
    };
    let mut client = midge.join(lasting()).await;
    client.subscribe("a", QoS::AtLeastOnce).await;
    client.leave().await;
    midge.join(v5("b")).await.offer(message("a", "1")).await;
    midge.reload("[limits]\nsession_expiry_max = \"1h\"", &[]).expect("a good configuration");
    midge.join(v5("b")).await.offer(message("a", "2")).await;
    let mut client = midge.dial(lasting().version).await;
    assert_eq!(client.connect(lasting()).await.to_string(), "CONNACK 0x00 present");
    client.expect("PUBLISH q1 a '1'").await;
    client.expect("PUBLISH q1 a '2'").await;
}
