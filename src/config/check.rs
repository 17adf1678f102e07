//! What only the whole can show: keys that contradict each other, and listeners that would be open to strangers.

use tracing_subscriber::EnvFilter;

use super::{read::Reader, *};
use crate::topic::ParsedFilter;

/// Reports everything that must not start.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    if config.listeners.is_empty() {
        reader.report_key("listener", "no listener is left: write at least one [[listener]] with an address".into());
    }
    for (at, listener) in config.listeners.iter().enumerate() {
        let mut listener_check = ListenerCheck { key: format!("listener[{at}]"), listener, reader };
        listener_check.identity(&config.listeners[..at]);
        listener_check.openness();
        listener_check.tls();
        listener_check.transport();
        listener_check.protocol();
    }
    store(&config.store, reader);
    admin(&config.admin, reader);
    log(&config.log, reader);
}

/// A filter that matches nothing would leave its messages to the default, and nobody would know.
fn store(store: &StoreConfig, reader: &mut Reader) {
    for (at, rule) in store.rules.iter().enumerate() {
        let message = match ParsedFilter::parse(&rule.filter) {
            Ok(parsed) if parsed.share.is_none() => continue,
            Ok(_) => "a rule is about topics, and $share/… is about who shares them: write the filter alone".into(),
            Err(error) => format!("{:?} is no topic filter: {error}", rule.filter),
        };
        reader.report_key(&format!("store.rules[{at}].filter"), message);
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A mistyped level would be taken for the name of a module, and the log would stay empty.
fn log(log: &LogConfig, reader: &mut Reader) {
    let is_known = |directive: &str| directive.contains('=') || LEVELS.contains(&directive.to_lowercase().as_str());
    let stranger = log.filter.split(',').map(str::trim).find(|directive| !is_known(directive));
    let message = match (stranger, EnvFilter::builder().parse(&log.filter)) {
        (Some(stranger), _) => format!("{stranger:?} is no level"),
        (None, Err(error)) => error.to_string(),
        (None, Ok(_)) => return,
    };
    let levels = LEVELS.join(", ");
    reader.report_key("log.filter", format!("{message}: write one of {levels}, or as in \"info,midge::net=debug\""));
}

/// `/livez` may be public, an API without authentication not.
fn admin(admin: &AdminConfig, reader: &mut Reader) {
    if admin.http_api && admin.http.is_some_and(|address| !address.ip().to_canonical().is_loopback()) {
        reader.report_key(
            "admin.http",
            "the API has no authentication and would be open to the network: use a loopback address, or write \
             `http_api = false` to serve health and metrics only"
                .into(),
        );
    }
}

struct ListenerCheck<'a> {
    key: String,
    listener: &'a ListenerConfig,
    reader: &'a mut Reader,
}

impl ListenerCheck<'_> {
    fn report(&mut self, key: &str, message: impl Into<String>) {
        self.reader.report_key(&format!("{}.{key}", self.key), message.into());
    }

    fn identity(&mut self, before: &[ListenerConfig]) {
        let ListenerConfig { name, addresses, .. } = self.listener;
        if addresses.is_empty() {
            self.report("address", "missing: write where to listen, such as `address = \"127.0.0.1:1883\"`");
        }
        if before.iter().any(|other| other.name == *name) {
            self.report("name", format!("another listener is already called {name:?}: give each its own name"));
        }
        let taken = before.iter().flat_map(|other| &other.addresses);
        if let Some(twice) = taken.into_iter().find(|address| address.is_one_place() && addresses.contains(address)) {
            self.report("address", format!("{twice} already belongs to another listener: use another port"));
        }
    }

    /// A broker that everybody in the network may use is a decision somebody has to write down.
    fn openness(&mut self) {
        let listener = self.listener;
        let reachable = listener.addresses.iter().find(|address| !address.is_local());
        if let Some(address) = reachable
            && !listener.authenticates()
            && listener.access.allow_anonymous != Some(true)
        {
            let message = format!(
                "{address} can be reached from the network and nothing checks who connects: set `password_file` in \
                 [access] (`midge passwd` makes one), or write `allow_anonymous = true` there if that is meant"
            );
            self.report("address", message);
        }
    }

    fn tls(&mut self) {
        let Some(tls) = &self.listener.tls else {
            if self.listener.access.certificate_user_name != CertificateUserName::None {
                self.report(
                    "access.certificate_user_name",
                    "there are no client certificates without TLS: add [listener.tls] or write \"none\"",
                );
            }
            return;
        };
        if tls.certificates.is_empty() {
            self.report("tls.certificates", "missing: write `certificates = [{ chain = \"server.pem\", key = \"server.key\" }]` (`midge certs` makes some to try)");
        }
        for (at, certificate) in tls.certificates.iter().enumerate() {
            for (name, path) in [("chain", &certificate.chain), ("key", &certificate.key)] {
                if path.as_os_str().is_empty() {
                    self.report(&format!("tls.certificates[{at}]"), format!("lacks `{name}`, the path of a PEM file"));
                }
            }
        }
        if tls.client_auth != ClientAuth::None && tls.client_ca.is_none() {
            self.report(
                "tls.client_auth",
                "needs `client_ca`, the file of the authorities that sign client certificates",
            );
        }
        if tls.version_min > tls.version_max {
            self.report("tls.version_min", "is above `version_max`: no client could connect");
        }
    }

    fn transport(&mut self) {
        let ListenerConfig { websocket, proxy_protocol, .. } = self.listener;
        if !websocket.path.starts_with('/') {
            self.report("websocket.path", "expected a path that starts with a slash, such as \"/mqtt\"");
        }
        if proxy_protocol.as_ref().is_some_and(|proxy| proxy.from.is_empty()) {
            self.report(
                "proxy_protocol.from",
                "missing: name the proxies that may say who a client is, such as `from = [\"10.0.0.7\"]`",
            );
        }
    }

    fn protocol(&mut self) {
        let ListenerConfig { maximum_packet_size, protocol_versions, mount_point, keep_alive_max, .. } = self.listener;
        if !(MAXIMUM_PACKET_SIZE_MIN..=MAXIMUM_PACKET_SIZE_MAX).contains(&maximum_packet_size.0) {
            let message = format!(
                "expected a size from {MAXIMUM_PACKET_SIZE_MIN} to {MAXIMUM_PACKET_SIZE_MAX} bytes, found {maximum_packet_size}"
            );
            self.report("maximum_packet_size", message);
        }
        if *protocol_versions == ProtocolVersions::NONE {
            self.report("protocol_versions", "no version is left: write at least one of \"3.1\", \"3.1.1\", \"5\"");
        }
        let is_prefix =
            mount_point.ends_with('/') && !mount_point.starts_with('$') && !mount_point.contains(['+', '#', '\0']);
        if !mount_point.is_empty() && !is_prefix {
            let message = format!(
                "expected the beginning of a topic, with a slash at its end, no wildcards and no $ in front, such as \
                 \"tenant/\", found {mount_point:?}"
            );
            self.report("mount_point", message);
        }
        if keep_alive_max.as_secs() > u64::from(u16::MAX) {
            self.report("keep_alive_max", "expected at most 65535 seconds, the longest keep alive MQTT can name");
        }
    }
}

/// A CONNECT with a client id and credentials must fit.
const MAXIMUM_PACKET_SIZE_MIN: u64 = 256;
/// The largest packet the wire format can announce: four bytes of Remaining Length and the fixed header.
const MAXIMUM_PACKET_SIZE_MAX: u64 = 268_435_455 + 5;
