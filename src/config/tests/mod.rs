//! What the configuration accepts, and the exact words in which it refuses.

mod document;
mod fuzz;
mod layers;
mod mistakes;

use std::{num::NonZeroU32, time::Duration};

use super::*;

pub(super) fn problems(text: &str) -> Vec<String> {
    match Config::parse("midge.toml", text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(ConfigError::Invalid(problems)) => problems.iter().map(Problem::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

pub(super) fn parse(text: &str) -> Config {
    Config::parse("midge.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse(""), Config::default());
}

#[test]
fn without_configuration_the_broker_is_on_loopback_only_and_anonymous() {
    let [listener] = &Config::default().listeners[..] else { panic!("one listener") };
    let addresses: Vec<_> = listener.addresses.iter().map(ListenerAddress::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1:1883", "[::1]:1883"]);
    assert!(listener.allows_anonymous());
}

#[test]
fn a_listener_starts_from_the_defaults_and_says_what_differs() {
    let config = parse(
        r#"
        [defaults]
        maximum_packet_size = "64KiB"
        on_queue_full = "refuse"
        [access]
        password_file = "/etc/midge/passwd"
        [[listener]]
        name = "plain"
        address = "0.0.0.0:1883"
        [[listener]]
        name = "web"
        address = ["0.0.0.0:8083", "[::]:8083"]
        transport = "websocket"
        maximum_packet_size = 1024
        websocket.path = "/"
        access.allow_anonymous = true
        access.password_file = ""
        "#,
    );
    let [plain, web] = &config.listeners[..] else { panic!("two listeners") };
    assert_eq!(plain.maximum_packet_size, ByteSize(65536));
    assert_eq!(web.maximum_packet_size, ByteSize(1024));
    assert_eq!((plain.on_queue_full, web.on_queue_full), (QueueFull::Refuse, QueueFull::Refuse));
    assert_eq!((plain.allows_anonymous(), web.allows_anonymous()), (false, true));
    assert_eq!(web.addresses.len(), 2);
    assert_eq!(web.access.password_file, None);
}

#[test]
fn sizes_and_durations_read_with_their_units() {
    let config =
        parse("shutdown_timeout = \"1500ms\"\nlimits = { queue_bytes_max = \"1GiB\", queue_messages_max = 7 }");
    assert_eq!(config.shutdown_timeout, Duration::from_millis(1500));
    assert_eq!(config.limits.queue_bytes_max, ByteSize(1 << 30));
    assert_eq!(config.limits.queue_messages_max, NonZeroU32::new(7).unwrap());
}

const TWO_LISTENERS: &str =
    "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[[listener]]\nname = \"a.b\"\naddress = \"127.0.0.1:2\"\n";

#[test]
fn reload_tells_live_changes_from_those_that_need_a_restart() {
    let mut running = Running::new(parse(TWO_LISTENERS));
    let changes = running.reload(parse(
        "worker_threads = 3\nlog.filter = \"warn\"\naccess.acl_file = \"acl\"\n\
         [[listener]]\nname = \"a\"\naddress = \"127.0.0.1:3\"\nmaximum_qos = 1\n",
    ));
    assert_eq!(changes.live, ["listener.a.access.acl_file", "listener.a.maximum_qos", "log.filter"]);
    assert_eq!(changes.needs_restart, ["worker_threads", "listener.a.address", "listener.a.b"]);
}

#[test]
fn what_needs_a_restart_is_said_at_every_reload_until_it_is_taken_back() {
    let mut running = Running::new(parse(TWO_LISTENERS));
    let new = parse(&format!("worker_threads = 3\nlog.filter = \"warn\"\n{TWO_LISTENERS}"));
    assert_eq!(running.reload(new.clone()).live, ["log.filter"]);
    let again = Changes { live: Vec::new(), needs_restart: vec!["worker_threads".into()] };
    assert_eq!(running.reload(new), again);
    assert_eq!(running.reload(parse(TWO_LISTENERS)), Changes { live: vec!["log.filter".into()], ..Changes::default() });
    assert_eq!(running.current(), &parse(TWO_LISTENERS));
}

#[test]
fn tls_can_be_renewed_but_not_turned_on_while_running() {
    let secure = format!("{TWO_LISTENERS}tls.certificates = [{{ chain = \"a.pem\", key = \"a.key\" }}]\n");
    let changes = Running::new(parse(TWO_LISTENERS)).reload(parse(&secure));
    assert_eq!(changes.needs_restart, ["listener.a.b.tls"]);
    let changes = Running::new(parse(&secure)).reload(parse(&secure.replace("a.pem", "b.pem")));
    assert_eq!(changes.live, ["listener.a.b.tls.certificates"]);
}

#[test]
fn without_listeners_the_defaults_hold_for_the_one_on_loopback() {
    let config = parse("defaults.maximum_qos = 1");
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!((listener.name.as_str(), listener.maximum_qos), ("default", QoS::AtLeastOnce));
    assert_eq!(listener.addresses, Config::default().listeners[0].addresses);
}

#[test]
fn a_listener_without_a_name_is_called_by_its_address() {
    assert_eq!(parse("[[listener]]\naddress = \"[::1]:7\"").listeners[0].name, "[::1]:7");
}

#[test]
fn tls_of_the_defaults_is_turned_off_by_false() {
    let text = "defaults.tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]\n\
                [[listener]]\naddress = \"127.0.0.1:8883\"\n[[listener]]\naddress = \"127.0.0.1:1883\"\ntls = false";
    let [secure, plain] = &parse(text).listeners[..] else { panic!("two listeners") };
    assert!(secure.tls.is_some() && plain.tls.is_none());
}

#[test]
fn paths_start_from_the_directory_of_their_file() {
    let text =
        "access.password_file = \"passwd\"\naccess.acl_file = \"/etc/acl\"\nlistener = [{ address = \"unix:m.sock\" }]";
    let config = Config::parse("/etc/midge/midge.toml", text).unwrap();
    let access = &config.listeners[0].access;
    assert_eq!(access.password_file.as_deref(), Some("/etc/midge/passwd".as_ref()));
    assert_eq!(access.acl_file.as_deref(), Some("/etc/acl".as_ref()));
    assert_eq!(config.listeners[0].addresses, [ListenerAddress::Unix("/etc/midge/m.sock".into())]);
}

#[test]
fn a_client_certificate_that_must_be_shown_counts_as_authentication() {
    let text = "[[listener]]\naddress = \"0.0.0.0:8883\"\n[listener.tls]\nclient_auth = \"required\"\nclient_ca = \"ca.pem\"\n\
                certificates = [{ chain = \"a.pem\", key = \"a.key\" }]";
    assert!(!parse(text).listeners[0].allows_anonymous());
    let optional = text.replace("required", "optional");
    assert!(problems(&optional)[0].contains("nothing checks who connects"));
}

#[test]
fn networks_contain_their_addresses_and_no_others() {
    let contains = |network: &str, ip: &str| {
        let text = format!("defaults.websocket.trusted_proxies = [{network:?}]");
        parse(&text).listeners[0].websocket.trusted_proxies[0].contains(ip.parse().unwrap())
    };
    for (network, ip) in [
        ("10.0.0.0/8", "10.255.0.1"),
        ("10.0.0.0/8", "::ffff:10.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
        ("0.0.0.0/0", "192.0.2.1"),
        ("fd00::/8", "fdff::1"),
        ("::/0", "2001:db8::1"),
        ("::1", "::1"),
    ] {
        assert!(contains(network, ip), "{ip} is in {network}");
    }
    for (network, ip) in
        [("10.0.0.0/8", "11.0.0.1"), ("10.0.0.7", "10.0.0.8"), ("::/0", "10.0.0.1"), ("fd00::/8", "fe00::1")]
    {
        assert!(!contains(network, ip), "{ip} is not in {network}");
    }
}
