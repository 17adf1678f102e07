//! The values that keys take, and how each is written: sizes, durations, addresses, networks, choices.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

use super::{raw::Value, *};

/// Bytes; written as a number or with a unit, `"16MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match unit {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

const SIZE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// When a session ends after its client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    After(Duration),
    Never,
}

impl Expiry {
    /// As MQTT 5.0 counts: whole seconds, 0xFFFFFFFF for never.
    pub fn seconds(self) -> u32 {
        match self {
            Expiry::After(duration) => u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
            Expiry::Never => u32::MAX,
        }
    }
}

/// Permission bits, written in octal: `"0660"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

/// Where a listener listens: `"127.0.0.1:1883"`, `"[::1]:1883"`, `"unix:/run/midge/mqtt.sock"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenerAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ListenerAddress {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenerAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenerAddress::Unix(_) => true,
        }
    }

    /// Port 0 is another port every time.
    pub(super) fn is_one_place(&self) -> bool {
        !matches!(self, ListenerAddress::Tcp(address) if address.port() == 0)
    }

    pub(super) fn parse(text: &str) -> Option<ListenerAddress> {
        match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(ListenerAddress::Unix(path.into())),
            None => text.parse().ok().map(ListenerAddress::Tcp),
        }
    }
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenerAddress::Tcp(address) => address.fmt(f),
            ListenerAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A network in CIDR form, `10.0.0.0/8`; an address alone is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// `None` for a prefix longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<IpNetwork> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(IpNetwork { address, prefix })
    }

    /// Whether `ip` lies in the network; an IPv4 address in IPv6 clothes counts as what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => same_prefix(network.to_bits(), ip.to_bits(), 32 - self.prefix),
            (IpAddr::V6(network), IpAddr::V6(ip)) => same_prefix(network.to_bits(), ip.to_bits(), 128 - self.prefix),
            _ => false,
        }
    }

    fn parse(text: &str) -> Option<IpNetwork> {
        let Some((address, prefix)) = text.split_once('/') else {
            let address: IpAddr = text.parse().ok()?;
            return IpNetwork::new(address, if address.is_ipv4() { 32 } else { 128 });
        };
        IpNetwork::new(address.parse().ok()?, prefix.parse().ok()?)
    }
}

fn same_prefix<T: Into<u128>>(network: T, ip: T, host_bits: u8) -> bool {
    let difference = network.into() ^ ip.into();
    difference.checked_shr(host_bits.into()).unwrap_or(0) == 0
}

/// The revisions of MQTT that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersions {
    pub v3_1: bool,
    pub v3_1_1: bool,
    pub v5: bool,
}

impl ProtocolVersions {
    pub const ALL: ProtocolVersions = ProtocolVersions { v3_1: true, v3_1_1: true, v5: true };
    pub(super) const NONE: ProtocolVersions = ProtocolVersions { v3_1: false, v3_1_1: false, v5: false };
}

/// A value without keys of its own.
pub(super) trait Scalar: Sized {
    /// What would be right, to stand after "expected".
    fn expected() -> String;
    fn from_value(value: &Value) -> Option<Self>;

    /// As meant where it was written: paths start from there.
    fn written_at(self, _: &Origin) -> Self {
        self
    }
}

impl Value {
    fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) | Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Boolean(on) => Some(*on),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.trim().replace('_', "").parse().ok(),
            _ => None,
        }
    }
}

impl Scalar for bool {
    fn expected() -> String {
        "true or false".into()
    }

    fn from_value(value: &Value) -> Option<bool> {
        value.as_bool()
    }
}

impl Scalar for Option<bool> {
    fn expected() -> String {
        bool::expected()
    }

    fn from_value(value: &Value) -> Option<Option<bool>> {
        value.as_bool().map(Some)
    }
}

impl Scalar for String {
    fn expected() -> String {
        "a string".into()
    }

    fn from_value(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
}

impl Scalar for PathBuf {
    fn expected() -> String {
        "the path of a file".into()
    }

    fn from_value(value: &Value) -> Option<PathBuf> {
        value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}

impl Scalar for Option<PathBuf> {
    fn expected() -> String {
        "the path of a file, or \"\" for none".into()
    }

    fn from_value(value: &Value) -> Option<Option<PathBuf>> {
        value.as_str().map(|path| (!path.is_empty()).then(|| path.into()))
    }
}

impl Scalar for Option<SocketAddr> {
    fn expected() -> String {
        "an address and port such as \"127.0.0.1:8888\", or \"\" for none".into()
    }

    fn from_value(value: &Value) -> Option<Option<SocketAddr>> {
        match value.as_str()? {
            "" => Some(None),
            address => address.parse().ok().map(Some),
        }
    }
}

impl Scalar for ListenerAddress {
    fn expected() -> String {
        "an address and port such as \"127.0.0.1:1883\" or \"[::]:1883\", or \"unix:/run/midge/mqtt.sock\"".into()
    }

    fn from_value(value: &Value) -> Option<ListenerAddress> {
        ListenerAddress::parse(value.as_str()?)
    }

    fn written_at(self, origin: &Origin) -> ListenerAddress {
        match self {
            ListenerAddress::Unix(path) => ListenerAddress::Unix(origin.resolve(path)),
            address => address,
        }
    }
}

impl Scalar for IpNetwork {
    fn expected() -> String {
        "an address or network such as \"10.0.0.7\", \"10.0.0.0/8\" or \"fd00::/8\"".into()
    }

    fn from_value(value: &Value) -> Option<IpNetwork> {
        IpNetwork::parse(value.as_str()?)
    }
}

impl Scalar for LogDestination {
    fn expected() -> String {
        "\"stderr\" or the path of a file".into()
    }

    fn from_value(value: &Value) -> Option<LogDestination> {
        match value.as_str()? {
            "" => None,
            "stderr" => Some(LogDestination::Stderr),
            path => Some(LogDestination::File(path.into())),
        }
    }
}

impl Scalar for FileMode {
    fn expected() -> String {
        "permissions in octal such as \"0660\"".into()
    }

    fn from_value(value: &Value) -> Option<FileMode> {
        let mode = u32::from_str_radix(value.as_str()?, 8).ok()?;
        (mode <= 0o777).then_some(FileMode(mode))
    }
}

impl Scalar for ByteSize {
    fn expected() -> String {
        "a size such as \"64KiB\" or \"16MiB\", or a number of bytes".into()
    }

    fn from_value(value: &Value) -> Option<ByteSize> {
        if let Some(bytes) = value.as_integer() {
            return bytes.try_into().ok().map(ByteSize);
        }
        let text = value.as_str()?;
        let units = SIZE_UNITS.iter().chain(&[("B", 1)]);
        let (number, bytes) = units.filter_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes))).next()?;
        number.trim_end().parse::<u64>().ok()?.checked_mul(*bytes).map(ByteSize)
    }
}

const DURATION_UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

impl Scalar for Duration {
    fn expected() -> String {
        "a duration with its unit (ms, s, m, h, d, w) such as \"30s\" or \"2w\", or 0".into()
    }

    fn from_value(value: &Value) -> Option<Duration> {
        if value.as_integer() == Some(0) {
            return Some(Duration::ZERO);
        }
        let text = value.as_str()?;
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
        number.parse::<u64>().ok()?.checked_mul(*factor).map(Duration::from_millis)
    }
}

impl Scalar for Expiry {
    fn expected() -> String {
        "a duration with its unit (s, m, h, d, w) such as \"2w\", at most 136 years, or \"never\"".into()
    }

    fn from_value(value: &Value) -> Option<Expiry> {
        if value.as_str() == Some("never") {
            return Some(Expiry::Never);
        }
        let duration = Duration::from_value(value)?;
        (duration.as_secs() < u64::from(u32::MAX)).then_some(Expiry::After(duration))
    }
}

impl Scalar for QoS {
    fn expected() -> String {
        "0, 1 or 2".into()
    }

    fn from_value(value: &Value) -> Option<QoS> {
        QoS::from_bits(value.as_integer()?.try_into().ok()?)
    }
}

impl Scalar for Option<NonZeroU32> {
    fn expected() -> String {
        format!("a whole number from 1 to {}, or 0 for no limit", u32::MAX)
    }

    fn from_value(value: &Value) -> Option<Option<NonZeroU32>> {
        value.as_integer()?.try_into().ok().map(NonZeroU32::new)
    }
}

impl Scalar for u16 {
    fn expected() -> String {
        format!("a whole number from 0 to {}", u16::MAX)
    }

    fn from_value(value: &Value) -> Option<u16> {
        value.as_integer()?.try_into().ok()
    }
}

impl Scalar for NonZeroU16 {
    fn expected() -> String {
        format!("a whole number from 1 to {}", u16::MAX)
    }

    fn from_value(value: &Value) -> Option<NonZeroU16> {
        NonZeroU16::new(u16::from_value(value)?)
    }
}

impl Scalar for NonZeroU32 {
    fn expected() -> String {
        format!("a whole number from 1 to {}", u32::MAX)
    }

    fn from_value(value: &Value) -> Option<NonZeroU32> {
        NonZeroU32::new(value.as_integer()?.try_into().ok()?)
    }
}

/// Enums written as one of a few words.
macro_rules! choices {
    ($($type:ident { $($variant:ident = $word:literal),+ })+) => {$(
        impl Scalar for $type {
            fn expected() -> String {
                let words: &[&str] = &[$($word),+];
                format!("one of \"{}\"", words.join("\", \""))
            }

            fn from_value(value: &Value) -> Option<$type> {
                match value.as_str()? {
                    $($word => Some($type::$variant),)+
                    _ => None,
                }
            }
        }
    )+};
}

choices! {
    Transport { Tcp = "tcp", WebSocket = "websocket" }
    ClientAuth { None = "none", Optional = "optional", Required = "required" }
    TlsVersion { V1_2 = "1.2", V1_3 = "1.3" }
    ProxyVersion { V1 = "v1", V2 = "v2" }
    CertificateUserName { None = "none", CommonName = "common_name", Subject = "subject" }
    SubscribeCheck { Overlap = "overlap", Strict = "strict" }
    DeniedPublish { Acknowledge = "acknowledge", Close = "close" }
    QueueFull { DropOldest = "drop_oldest", DropNewest = "drop_newest", Refuse = "refuse", Disconnect = "disconnect" }
    SharedStrategy {
        RoundRobin = "round_robin", Random = "random", Sticky = "sticky",
        HashClientId = "hash_client_id", HashTopic = "hash_topic", LeastInFlight = "least_in_flight"
    }
    DurabilityClass { Memory = "memory", Os = "os", Fsync = "fsync" }
    LogFormat { Text = "text", Json = "json" }
}
