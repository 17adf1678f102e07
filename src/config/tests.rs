//! What the configuration accepts, and the exact words in which it refuses.

use std::{num::NonZeroU32, time::Duration};

use super::*;

fn problems(text: &str) -> Vec<String> {
    match Config::parse("midge.toml", text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(ConfigError::Invalid(problems)) => problems.iter().map(Problem::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

fn parse(text: &str) -> Config {
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
fn all_mistakes_are_reported_at_once_with_line_key_and_what_would_be_right() {
    let text = "[limits]\nqueue_mesages_max = 5\nqueue_bytes_max = \"16 megs\"\ninflight_max = 0\n";
    let expected = [
        "midge.toml:2: limits.queue_mesages_max: unknown key; did you mean `queue_messages_max`?",
        "midge.toml:3: limits.queue_bytes_max: expected a size such as \"64KiB\" or \"16MiB\", or a number of bytes, \
         found \"16 megs\"",
        "midge.toml:4: limits.inflight_max: expected a whole number from 1 to 65535, found 0",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn a_network_listener_without_authentication_is_refused() {
    let expected = "midge.toml:3: listener[0].address: 0.0.0.0:1883 can be reached from the network and nothing checks \
                    who connects: set `password_file` in [access] (`midge passwd` makes one), or write \
                    `allow_anonymous = true` there if that is meant";
    assert_eq!(problems("[[listener]]\nname = \"open\"\naddress = \"0.0.0.0:1883\"\n"), [expected]);
    parse("access.allow_anonymous = true\n[[listener]]\naddress = \"0.0.0.0:1883\"\n");
}

#[test]
fn sizes_and_durations_read_with_their_units() {
    let config =
        parse("shutdown_timeout = \"1500ms\"\nlimits = { queue_bytes_max = \"1GiB\", queue_messages_max = 7 }");
    assert_eq!(config.shutdown_timeout, Duration::from_millis(1500));
    assert_eq!(config.limits.queue_bytes_max, ByteSize(1 << 30));
    assert_eq!(config.limits.queue_messages_max, NonZeroU32::new(7).unwrap());
}

#[test]
fn reload_tells_live_changes_from_those_that_need_a_restart() {
    let old = parse(
        "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[[listener]]\nname = \"b\"\naddress = \"127.0.0.1:2\"",
    );
    let new = parse(
        "worker_threads = 3\n[log]\nfilter = \"warn\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:3\"\nmaximum_qos = 1",
    );
    let changes = reload::diff(&old, &new);
    assert_eq!(changes.live, ["listener.a.maximum_qos", "log.filter"]);
    assert_eq!(changes.needs_restart, ["worker_threads", "listener.a.address", "listener.b"]);
}
