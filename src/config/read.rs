//! The tree laid over the defaults, key by key; everything wrong is collected, nothing stops the reading.
//!
//! [`sections!`] names the keys of every struct once. From that one list come reading, the refusal of unknown keys with
//! the nearest name, the list of all keys, and the comparison for reload; a field that is not listed does not compile.

use std::{
    collections::HashMap,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

use super::{
    error::{ConfigError, Origin, Problem},
    nearest::unknown_key,
    raw::{Node, Value},
    value::Scalar,
    *,
};

/// Something a key holds: a value, a list, or a section with keys of its own.
pub(super) trait Setting: PartialEq {
    /// Takes over what `node` says, and leaves alone what it does not mention.
    fn read(&mut self, node: &Node, reader: &mut Reader);

    /// Appends the full names of all keys at and below `key`.
    fn keys(key: &str, all: &mut Vec<String>) {
        all.push(key.to_owned());
    }

    /// Appends the full names of the keys at and below `key` whose values differ.
    fn changes(&self, other: &Self, key: &str, changed: &mut Vec<String>) {
        if self != other {
            changed.push(key.to_owned());
        }
    }
}

/// A setting that is a table with a fixed set of keys.
pub(super) trait Section: Setting + Default {
    const KEYS: &'static [&'static str];
}

macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

macro_rules! sections {
    ($($type:ty { $($field:ident $(= $key:literal)?),+ $(,)? })+) => {$(
        impl Section for $type {
            const KEYS: &'static [&'static str] = &[$(key!($field $($key)?)),+];
        }

        impl Setting for $type {
            fn read(&mut self, node: &Node, reader: &mut Reader) {
                let Self { $($field),+ } = self;
                let Some(entries) = reader.entries(node, Self::KEYS) else { return };
                for (name, node) in entries {
                    $(if name == key!($field $($key)?) {
                        reader.inside(&name, &node, |reader| $field.read(&node, reader));
                    })+
                }
            }

            fn keys(key: &str, all: &mut Vec<String>) {
                fn of<T: Setting>(_: fn($type) -> T, key: &str, all: &mut Vec<String>) {
                    T::keys(key, all);
                }
                $(of(|section: $type| section.$field, &join(key, key!($field $($key)?)), all);)+
            }

            fn changes(&self, other: &Self, key: &str, changed: &mut Vec<String>) {
                $(self.$field.changes(&other.$field, &join(key, key!($field $($key)?)), changed);)+
            }
        }
    )+};
}

sections! {
    Config { worker_threads, shutdown_timeout, listeners = "listener", limits, retained, shared, store, sys, admin, log }
    ListenerConfig {
        name, addresses = "address", unix_mode, transport, websocket, tls, proxy_protocol, access,
        connections_max, connect_rate, connect_timeout, write_timeout, backlog, reuse_port, ipv6_only, no_delay,
        protocol_versions, maximum_packet_size, receive_maximum, maximum_qos, retain_available, topic_alias_maximum,
        topic_alias_maximum_outbound, keep_alive_max, check_payload_format, response_information, mount_point, user_name_as_client_id,
        on_queue_full, queue_qos0,
    }
    WebSocketConfig { path, origins, subprotocols, headers_bytes_max, frame_bytes_max, trusted_proxies }
    TlsConfig {
        certificates, client_auth, client_ca, client_crl, version_min, version_max, session_tickets, watch_interval,
    }
    CertificateConfig { chain, key }
    ProxyProtocolConfig { versions, from }
    AccessConfig {
        allow_anonymous, password_file, scram_file, acl_file, certificate_user_name, subscribe, denied_publish_3x,
    }
    SessionLimits {
        sessions_max, session_expiry_max, session_expiry_3x, subscriptions_max, queue_messages_max, queue_bytes_max,
        inflight_max,
    }
    RetainedConfig { messages_max, bytes_max }
    SharedConfig { strategy, queue_messages_max, queue_bytes_max }
    StoreConfig { directory, memory, durability, rules, bytes_max, free_bytes_min }
    DurabilityRule { filter, durability }
    SysConfig { interval }
    AdminConfig { http, http_api, socket }
    LogConfig { filter, format, destination }
}

/// Tables beside the keys of [`Config`]: what all listeners start from.
const TEMPLATES: [&str; 2] = ["defaults", "access"];

/// Keys of a listener that `[defaults]` does not take.
const NOT_DEFAULTS: [(&str, &str); 3] = [
    ("name", "a name belongs to one listener: write it in [[listener]]"),
    ("address", "an address belongs to one listener: write it in [[listener]]"),
    ("access", "the defaults of access have a section of their own: write them in [access]"),
];

/// What may stand at the top level of the file.
pub(super) fn top_level_keys() -> impl Iterator<Item = &'static str> {
    Config::KEYS.iter().chain(&TEMPLATES).copied()
}

/// The full names of all keys that a configuration file may hold, dotted; the items of a list share theirs.
pub fn all_keys() -> Vec<String> {
    let mut all = Vec::new();
    Config::keys("", &mut all);
    AccessConfig::keys("access", &mut all);
    let mut defaults = Vec::new();
    ListenerConfig::keys("", &mut defaults);
    let is_default = |key: &String| NOT_DEFAULTS.iter().all(|(not, _)| key.split('.').next() != Some(*not));
    all.extend(defaults.into_iter().filter(is_default).map(|key| join("defaults", &key)));
    all
}

/// Where the reading is, and what was found on the way.
pub(super) struct Reader {
    /// The current key, dotted.
    key: String,
    problems: Vec<Problem>,
    /// How many of the problems are values that could not be read.
    unread: usize,
    /// Where each key that was read is written.
    origins: HashMap<String, Origin>,
    /// What every listener starts from.
    template: ListenerConfig,
}

impl Reader {
    pub(super) fn new(problems: Vec<Problem>) -> Reader {
        Reader {
            key: String::new(),
            unread: problems.len(),
            problems,
            origins: HashMap::new(),
            template: ListenerConfig::default(),
        }
    }

    /// The configuration that `tree` makes of the defaults.
    pub(super) fn config(&mut self, tree: &Node) -> Config {
        let mut tree = tree.clone();
        let mut config = Config::default();
        if let Value::Table(entries) = &mut tree.value {
            for (name, node) in entries.extract_if(.., |(name, _)| TEMPLATES.contains(&name.as_str())) {
                self.inside(&name, &node, |reader| reader.template(&name, node.clone()));
            }
            if !entries.iter().any(|(name, _)| name == "listener") {
                config.listeners = vec![self.template.clone().on_loopback()];
            }
        }
        config.read(&tree, self);
        self.unread = self.problems.len();
        config
    }

    fn template(&mut self, name: &str, mut node: Node) {
        let mut template = std::mem::take(&mut self.template);
        match name {
            "access" => template.access.read(&node, self),
            _ => {
                self.refuse_not_defaults(&mut node);
                template.read(&node, self);
            }
        }
        self.template = template;
    }

    fn refuse_not_defaults(&mut self, node: &mut Node) {
        let Value::Table(entries) = &mut node.value else { return };
        for (not, why) in NOT_DEFAULTS {
            for (name, node) in entries.extract_if(.., |(name, _)| name == not) {
                self.inside(&name, &node, |reader| reader.report(&node, why.to_owned()));
            }
        }
    }

    /// Reports a mistake that only the whole shows, at the place where `key` is written; unless what is written there
    /// could not be read anyway, or is reported already.
    pub(super) fn report_key(&mut self, key: &str, message: String) {
        let (key, origin) = self.written(key);
        let is_unread = self.problems[..self.unread].iter().any(|problem| problem.key.starts_with(&key));
        let problem = Problem { origin, key, message };
        if !is_unread && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn finish(self, config: Config) -> Result<Config, ConfigError> {
        match self.problems.is_empty() {
            true => Ok(config),
            false => Err(ConfigError::Invalid(self.problems)),
        }
    }

    /// Reads on one level deeper.
    fn inside(&mut self, name: &str, node: &Node, read: impl FnOnce(&mut Reader)) {
        let outer = self.key.len();
        self.key = join(&self.key, name);
        self.origins.insert(self.key.clone(), node.origin.clone());
        read(self);
        self.key.truncate(outer);
    }

    /// Reads an item of the list that is the current key.
    fn item(&mut self, at: usize, node: &Node, read: impl FnOnce(&mut Reader)) {
        let outer = self.key.len();
        self.key.push_str(&format!("[{at}]"));
        self.origins.insert(self.key.clone(), node.origin.clone());
        read(self);
        self.key.truncate(outer);
    }

    fn report(&mut self, node: &Node, message: String) {
        self.problems.push(Problem { origin: node.origin.clone(), key: self.key.clone(), message });
    }

    /// The entries of a table whose names are keys; the others are reported.
    fn entries(&mut self, node: &Node, keys: &[&str]) -> Option<Vec<(String, Node)>> {
        let Value::Table(entries) = node.clone().structured().value else {
            self.report(node, format!("expected a table, found {}", node.value));
            return None;
        };
        let (known, unknown): (Vec<_>, _) = entries.into_iter().partition(|(name, _)| keys.contains(&name.as_str()));
        let templates = if self.key.is_empty() { &TEMPLATES[..] } else { &[] };
        for (name, node) in unknown {
            let message = unknown_key(&name, &[keys, templates].concat());
            self.inside(&name, &node, |reader| reader.report(&node, message));
        }
        Some(known)
    }

    /// The items of a list; a single value is a list of one.
    fn items(&mut self, node: &Node, expected: &str) -> Option<Vec<Node>> {
        let node = node.clone().structured();
        let item = |text: &str| Node { origin: node.origin.clone(), value: Value::Text(text.trim().to_owned()) };
        let words = |text: &str| text.split(',').filter(|word| !word.trim().is_empty()).map(item).collect();
        match &node.value {
            Value::Array(items) => Some(items.clone()),
            Value::Text(text) => Some(words(text)),
            Value::String(_) => Some(vec![node]),
            other => {
                self.report(&node, format!("expected {expected}, found {other}"));
                None
            }
        }
    }

    fn scalar<T: Scalar>(&mut self, node: &Node) -> Option<T> {
        let value = T::from_value(&node.value);
        if value.is_none() {
            self.report(node, format!("expected {}, found {}", T::expected(), node.value));
        }
        value
    }

    /// Under which key, and where, the value of `key` was written: a listener's may come from the defaults.
    fn written(&self, key: &str) -> (String, Origin) {
        let of_all = key.split_once("].").map(|(_, rest)| match rest.starts_with("access.") {
            true => rest.to_owned(),
            false => format!("defaults.{rest}"),
        });
        let spellings: Vec<String> = [Some(key.to_owned()), of_all].into_iter().flatten().collect();
        let mut places =
            spellings.iter().flat_map(|key| outer_keys(key).map(move |outer| (key, outer))).collect::<Vec<_>>();
        places.sort_by_key(|(key, outer)| key[outer.len()..].matches('.').count());
        let found = places.iter().find_map(|(key, outer)| Some(((*key).clone(), self.origins.get(*outer)?.clone())));
        found.unwrap_or((key.to_owned(), Origin::BuiltIn))
    }
}

/// A key and the sections around it, innermost first.
fn outer_keys(key: &str) -> impl Iterator<Item = &str> {
    std::iter::once(key).chain(key.rmatch_indices('.').map(|(dot, _)| &key[..dot]))
}

macro_rules! scalars {
    ($($type:ty),+ $(,)?) => {$(
        impl Setting for $type {
            fn read(&mut self, node: &Node, reader: &mut Reader) {
                if let Some(value) = reader.scalar(node) {
                    *self = value;
                }
            }
        }
    )+};
}

scalars! {
    bool, u16, NonZeroU16, NonZeroU32, Option<NonZeroU32>, Option<bool>, String, Duration, Option<SocketAddr>,
    ByteSize, Expiry, FileMode, QoS, Transport, ClientAuth, TlsVersion, CertificateUserName, SubscribeCheck,
    DeniedPublish, QueueFull, SharedStrategy, DurabilityClass, LogFormat,
}

impl Setting for PathBuf {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        if let Some(path) = reader.scalar::<PathBuf>(node) {
            *self = node.origin.resolve(path);
        }
    }
}

impl Setting for Option<PathBuf> {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        if let Some(path) = reader.scalar::<Option<PathBuf>>(node) {
            *self = path.map(|path| node.origin.resolve(path));
        }
    }
}

impl Setting for LogDestination {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        match reader.scalar(node) {
            Some(LogDestination::File(path)) => *self = LogDestination::File(node.origin.resolve(path)),
            Some(other) => *self = other,
            None => {}
        }
    }
}

/// The protocol versions as they are written.
#[derive(Clone, Copy, PartialEq)]
enum Version {
    V3_1,
    V3_1_1,
    V5,
}

impl Scalar for Version {
    fn expected() -> String {
        "one of \"3.1\", \"3.1.1\", \"5\"".into()
    }

    fn from_value(value: &Value) -> Option<Version> {
        match value {
            Value::String(text) | Value::Text(text) => match text.as_str() {
                "3.1" => Some(Version::V3_1),
                "3.1.1" => Some(Version::V3_1_1),
                "5" | "5.0" => Some(Version::V5),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Setting for ProtocolVersions {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let mut versions = Vec::new();
        versions.read(node, reader);
        let has = |version| versions.contains(&version);
        *self = ProtocolVersions { v3_1: has(Version::V3_1), v3_1_1: has(Version::V3_1_1), v5: has(Version::V5) };
    }
}

/// A list is written whole: it replaces the one of the layer below.
impl<T: Scalar + PartialEq> Setting for Vec<T> {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let Some(items) = reader.items(node, &format!("a list, each item {}", T::expected())) else { return };
        self.clear();
        for (at, item) in items.iter().enumerate() {
            let value = |reader: &mut Reader| reader.scalar::<T>(item).map(|value| value.written_at(&item.origin));
            reader.item(at, item, |reader| self.extend(value(reader)));
        }
    }
}

impl Setting for Vec<CertificateConfig> {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let Some(items) = reader.items(node, "tables such as { chain = \"server.pem\", key = \"server.key\" }") else {
            return;
        };
        self.clear();
        for (at, item) in items.iter().enumerate() {
            let mut certificate = CertificateConfig::default();
            reader.item(at, item, |reader| certificate.read(item, reader));
            self.push(certificate);
        }
    }

    fn keys(key: &str, all: &mut Vec<String>) {
        CertificateConfig::keys(key, all);
    }
}

impl Setting for Vec<DurabilityRule> {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let Some(items) = reader.items(node, "tables such as { filter = \"logs/#\", durability = \"os\" }") else {
            return;
        };
        self.clear();
        for (at, item) in items.iter().enumerate() {
            let mut rule = DurabilityRule::default();
            reader.item(at, item, |reader| rule.read(item, reader));
            self.push(rule);
        }
    }

    fn keys(key: &str, all: &mut Vec<String>) {
        DurabilityRule::keys(key, all);
    }
}

impl Setting for Vec<ListenerConfig> {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let Some(items) = reader.items(node, "tables, each written as [[listener]]") else { return };
        self.clear();
        for (at, item) in items.iter().enumerate() {
            let mut listener = reader.template.clone();
            reader.item(at, item, |reader| listener.read(item, reader));
            if listener.name.is_empty() {
                listener.name = listener.addresses.first().map(ToString::to_string).unwrap_or_default();
            }
            self.push(listener);
        }
    }

    fn keys(key: &str, all: &mut Vec<String>) {
        ListenerConfig::keys(key, all);
    }

    /// A listener is known by its name, which then stands in its keys: `listener.mqtt.maximum_qos`.
    fn changes(&self, other: &Self, key: &str, changed: &mut Vec<String>) {
        for one in self {
            match other.iter().find(|other| other.name == one.name) {
                Some(other) => one.changes(other, &join(key, &one.name), changed),
                None => changed.push(join(key, &one.name)),
            }
        }
        let is_new = |one: &&ListenerConfig| self.iter().all(|other| other.name != one.name);
        changed.extend(other.iter().filter(is_new).map(|one| join(key, &one.name)));
    }
}

/// A section that is off unless written; `false` turns off what the defaults turned on.
impl<T: Section> Setting for Option<T> {
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        if bool::from_value(&node.value) == Some(false) {
            *self = None;
            return;
        }
        self.get_or_insert_default().read(node, reader);
    }

    fn keys(key: &str, all: &mut Vec<String>) {
        T::keys(key, all);
    }

    fn changes(&self, other: &Self, key: &str, changed: &mut Vec<String>) {
        match (self, other) {
            (Some(one), Some(other)) => one.changes(other, key, changed),
            (None, None) => {}
            _ => changed.push(key.to_owned()),
        }
    }
}

fn join(outer: &str, name: &str) -> String {
    if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") }
}
