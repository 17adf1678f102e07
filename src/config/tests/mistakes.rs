//! Each class of mistake, with the exact words it is reported in.

use super::{parse, problems};

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

/// One mistake a line: (text, message without the file's name).
const MISTAKES: &[(&str, &str)] = &[
    ("limts = {}", "1: limts: unknown key; did you mean `limits`?"),
    ("defalts = {}", "1: defalts: unknown key; did you mean `defaults`?"),
    ("sys.intreval = 1", "1: sys.intreval: unknown key; did you mean `interval`?"),
    ("sys.wibblewobble = 1", "1: sys.wibblewobble: unknown key; the keys here are interval"),
    ("sys = 3", "1: sys: expected a table, found 3"),
    ("worker_threads = -1", "1: worker_threads: expected a whole number from 0 to 65535, found -1"),
    ("worker_threads = 2.5", "1: worker_threads: expected a whole number from 0 to 65535, found 2.5"),
    ("worker_threads = \"many\"", "1: worker_threads: expected a whole number from 0 to 65535, found \"many\""),
    (
        "limits.queue_messages_max = 99999999999999999999",
        "1: limits.queue_messages_max: expected a whole number from 1 to 4294967295, found 99999999999999999999",
    ),
    (
        "limits.sessions_max = -1",
        "1: limits.sessions_max: expected a whole number from 1 to 4294967295, or 0 for no limit, found -1",
    ),
    (
        "\nshutdown_timeout = 10",
        "2: shutdown_timeout: expected a duration with its unit (ms, s, m, h, d, w) such as \"30s\" or \"2w\", or 0, found 10",
    ),
    (
        "limits.session_expiry_3x = \"200y\"",
        "1: limits.session_expiry_3x: expected a duration with its unit (s, m, h, d, w) such as \"2w\", at most 136 years, \
         or \"never\", found \"200y\"",
    ),
    ("defaults.no_delay = \"yes\"", "1: defaults.no_delay: expected true or false, found \"yes\""),
    ("defaults.maximum_qos = 3", "1: defaults.maximum_qos: expected 0, 1 or 2, found 3"),
    (
        "defaults.unix_mode = \"rw\"",
        "1: defaults.unix_mode: expected permissions in octal such as \"0660\", found \"rw\"",
    ),
    (
        "defaults.on_queue_full = \"drop\"",
        "1: defaults.on_queue_full: expected one of \"drop_oldest\", \"drop_newest\", \"refuse\", \"disconnect\", found \"drop\"",
    ),
    ("defaults.mount_point = 7", "1: defaults.mount_point: expected a string, found 7"),
    ("defaults.name = \"x\"", "1: defaults.name: a name belongs to one listener: write it in [[listener]]"),
    (
        "defaults.access = {}",
        "1: defaults.access: the defaults of access have a section of their own: write them in [access]",
    ),
    (
        "defaults.protocol_versions = [\"3.1.1\",\n \"4\"]",
        "2: defaults.protocol_versions[1]: expected one of \"3.1\", \"3.1.1\", \"5\", found \"4\"",
    ),
    (
        "defaults.protocol_versions = []",
        "1: defaults.protocol_versions: no version is left: write at least one of \"3.1\", \"3.1.1\", \"5\"",
    ),
    (
        "defaults.maximum_packet_size = 5",
        "1: defaults.maximum_packet_size: expected a size from 256 to 268435460 bytes, found 5",
    ),
    (
        "defaults.keep_alive_max = \"1d\"",
        "1: defaults.keep_alive_max: expected at most 65535 seconds, the longest keep alive MQTT can name",
    ),
    (
        "defaults.mount_point = \"a/+/\"",
        "1: defaults.mount_point: expected the beginning of a topic, with a slash at its end, no wildcards and no $ in front, such as \"tenant/\", found \"a/+/\"",
    ),
    (
        "defaults.mount_point = \"tenant\"",
        "1: defaults.mount_point: expected the beginning of a topic, with a slash at its end, no wildcards and no $ in front, such as \"tenant/\", found \"tenant\"",
    ),
    (
        "defaults.mount_point = \"$SYS/\"",
        "1: defaults.mount_point: expected the beginning of a topic, with a slash at its end, no wildcards and no $ in front, such as \"tenant/\", found \"$SYS/\"",
    ),
    (
        "defaults.websocket.path = \"mqtt\"",
        "1: defaults.websocket.path: expected a path that starts with a slash, such as \"/mqtt\"",
    ),
    (
        "defaults.websocket.trusted_proxies = \"10.0.0.0/33\"",
        "1: defaults.websocket.trusted_proxies[0]: expected an address or network such as \"10.0.0.7\", \"10.0.0.0/8\" or \
         \"fd00::/8\", found \"10.0.0.0/33\"",
    ),
    (
        "defaults.proxy_protocol = {}",
        "1: defaults.proxy_protocol.from: missing: name the proxies that may say who a client is, such as \
         `from = [\"10.0.0.7\"]`",
    ),
    (
        "defaults.tls = {}",
        "1: defaults.tls.certificates: missing: write `certificates = [{ chain = \"server.pem\", key = \"server.key\" }]` \
         (`midge certs` makes some to try)",
    ),
    (
        "defaults.tls.certificates = [{ chain = \"a.pem\" }]",
        "1: defaults.tls.certificates[0]: lacks `key`, the path of a PEM file",
    ),
    (
        "access.certificate_user_name = \"subject\"",
        "1: access.certificate_user_name: there are no client certificates without TLS: add [listener.tls] or write \"none\"",
    ),
    (
        "admin.http = \"0.0.0.0:80\"",
        "1: admin.http: the API has no authentication and would be open to the network: use a loopback address, or write \
         `http_api = false` to serve health and metrics only",
    ),
    (
        "admin.http = \"8888\"",
        "1: admin.http: expected an address and port such as \"127.0.0.1:8888\", or \"\" for none, found \"8888\"",
    ),
    (
        "log.filter = \"debgu\"",
        "1: log.filter: \"debgu\" is no level: write one of off, error, warn, info, debug, trace, or as in \
         \"info,midge::net=debug\"",
    ),
    ("log.destination = \"\"", "1: log.destination: expected \"stderr\" or the path of a file, found \"\""),
    ("listener = []", "1: listener: no listener is left: write at least one [[listener]] with an address"),
    ("[[listener]]", "1: listener[0].address: missing: write where to listen, such as `address = \"127.0.0.1:1883\"`"),
    (
        "[[listener]]\naddress = \"localhost\"\n",
        "2: listener[0].address[0]: expected an address and port such as \"127.0.0.1:1883\" or \"[::]:1883\", or \
         \"unix:/run/midge/mqtt.sock\", found \"localhost\"",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\nname = \"b\"\naddress = \"127.0.0.1:1\"",
        "5: listener[1].address: 127.0.0.1:1 already belongs to another listener: use another port",
    ),
    (
        "[[listener]]\nname=\"a\"\naddress = \"127.0.0.1:1\"\n[[listener]]\nname=\"a\"\naddress = \"127.0.0.1:2\"",
        "5: listener[1].name: another listener is already called \"a\": give each its own name",
    ),
];

#[test]
fn every_mistake_names_its_line_its_key_and_what_would_be_right() {
    for (text, message) in MISTAKES {
        assert_eq!(problems(text).first(), Some(&format!("midge.toml:{message}")), "{text}");
    }
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let expected = [
        "midge.toml:2: not TOML: string values must be quoted, expected literal string",
        "midge.toml:3: not TOML: unclosed table, expected `]`",
    ];
    assert_eq!(problems("[log]\nfilter = \n[sys\n"), expected);
}

#[test]
fn a_mistake_is_not_reported_again_by_what_follows_from_it() {
    let text = "[[listener]]\naddress = \"nowhere\"\n[[listener]]\naddress = \"127.0.0.1:2\"\n[defaults]\nmaximum_packet_size = 1";
    assert_eq!(problems(text).len(), 2);
}
