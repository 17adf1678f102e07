//! What the cases share: the broker under test, names that no other case uses, a scripted client.

pub mod client;
pub mod difference;
pub mod process;
pub mod received;
pub mod target;
pub mod wire;

use std::any::type_name_of_val;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub use client::Client;
use target::Target;
pub use wire::Version;
use wire::{Connect, Publish, property};

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where the case is known to fail: what does not come at once does not come.
const PATIENCE_WITH_A_DIFFERENCE: Duration = Duration::from_secs(3);

/// Turns case functions into tests, one for each version they are meant for:
/// `cases! { a_function: V4 V5; }` makes `a_function::V4` and `a_function::V5`.
macro_rules! cases {
    ($($case:ident: $($version:ident)+;)*) => {$(
        mod $case {$(
            #[test]
            #[allow(non_snake_case)]
            fn $version() {
                $crate::support::check($crate::support::Version::$version, |case| super::$case(case));
            }
        )+}
    )*};
}

/// Turns rows of a table into tests; each row's expression is an argument of the check that the table names:
/// `table! { refused: name: V4 V5 => bytes; }` makes `name::V4`, which calls `refused(case, bytes)`.
macro_rules! table {
    ($check:ident: $($(#[$doc:meta])* $case:ident: $($version:ident)+ => |$binding:ident| $row:expr;)*) => {$(
        $(#[$doc])*
        mod $case {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                #[allow(non_snake_case)]
                fn $version() {
                    $crate::support::check($crate::support::Version::$version, |$binding| super::$check($binding, $row));
                }
            )+
        }
    )*};
}
pub(crate) use {cases, table};

/// One case: where the broker is, and names that are this case's alone.
pub struct Case {
    pub version: Version,
    broker: SocketAddr,
    guarded: Option<SocketAddr>,
    patience: Duration,
    prefix: String,
    next_client: AtomicU32,
}

/// Runs a case on the broker under test. Where the broker is known to differ in it, the case has to fail.
pub fn check<F: FnOnce(&Case)>(version: Version, run: F) {
    let target = target::under_test();
    let name = name_of(type_name_of_val(&run));
    let known = target.differences.get(name);
    let patience = if known.is_some() { PATIENCE_WITH_A_DIFFERENCE } else { PATIENCE };
    let case = Case::new(version, target, patience);
    match known {
        None => run(&case),
        Some(why) => {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&case)));
            assert!(outcome.is_err(), "{name} is listed as a difference ({why}), but the broker passed: strike it");
        }
    }
}

/// `it::publish::a_case::V5::{{closure}}` is the case `publish::a_case::V5`.
fn name_of(closure: &str) -> &str {
    let name = closure.strip_suffix("::{{closure}}").unwrap_or(closure);
    name.split_once("::").map_or(name, |(_, name)| name)
}

impl Case {
    fn new(version: Version, target: &Target, patience: Duration) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static PROCESS: OnceLock<u32> = OnceLock::new();
        let process = PROCESS.get_or_init(rand::random);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            version,
            broker: target.address,
            guarded: target.guarded,
            patience,
            prefix: format!("{process:08x}{number:04x}"),
            next_client: AtomicU32::new(0),
        }
    }

    /// A client identifier of this case; at most 23 characters, as MQTT 3.1 has it, when `label` is at most 11.
    pub fn id(&self, label: &str) -> String {
        format!("{}{label}", self.prefix)
    }

    /// A topic (or the beginning of a filter) of this case.
    pub fn topic(&self, rest: &str) -> String {
        format!("it/{}/{rest}", self.prefix)
    }

    /// A PUBLISH on a topic of this case, in the case's version.
    pub fn message(&self, rest: &str, payload: impl AsRef<[u8]>) -> Publish {
        Publish::new(self.version, self.topic(rest), payload)
    }

    pub fn connect(&self, label: &str) -> Connect {
        Connect::new(self.version, self.id(label))
    }

    /// A network connection on which nothing has been sent yet.
    pub fn open(&self) -> Client {
        self.open_at(self.broker)
    }

    /// The same at the listener that asks for credentials.
    pub fn open_guarded(&self) -> Client {
        self.open_at(
            self.guarded.expect("MIDGE_TEST_GUARDED=host:port, a listener as support/guarded.acl describes it"),
        )
    }

    fn open_at(&self, address: SocketAddr) -> Client {
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        Client::open(address, self.version, self.patience, self.topic(&format!("marker/{number}")))
    }

    /// A connected client with a clean session.
    pub fn client(&self, label: &str) -> Client {
        self.accepted(self.connect(label)).0
    }

    /// A connected client whose session outlives the connection.
    pub fn lasting(&self, label: &str) -> Client {
        self.accepted(self.connect(label).lasting()).0
    }

    pub fn accepted(&self, connect: Connect) -> (Client, received::ConnAck) {
        let mut client = self.open();
        client.version = connect.version;
        client.send(connect.bytes());
        let connack = client.accepted();
        (client, connack)
    }

    /// Publishes one message from a client that does nothing else; afterwards the broker owns it.
    pub fn publish(&self, publish: Publish, qos: u8) {
        self.client("p").complete(publish, qos);
    }

    /// Waits until this many seconds have passed for the broker: a will with that delay is an event that says so.
    pub fn let_broker_time_pass(&self, seconds: u32) {
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        let topic = self.topic(&format!("clock/{number}"));
        let named = |role: &str| Connect::new(Version::V5, self.id(&format!("{role}{number}")));
        let mut witness = self.accepted(named("w")).0;
        witness.subscribe(&topic, 0);
        let will = wire::Will::new(&topic, "now").with(property::will_delay_interval(seconds));
        let mourned = named("m").will(will).with(property::session_expiry_interval(seconds + 60));
        self.accepted(mourned).0.vanish();
        witness.receive(&topic, "now", 0);
    }

    /// Until the guard goes: no other case subscribes to everything, or counts on nobody doing so.
    pub fn no_other_hash(&self) -> MutexGuard<'static, ()> {
        static HASH: Mutex<()> = Mutex::new(());
        HASH.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the broker told an MQTT 5.0 client about itself.
    pub fn limits(&self) -> Limits {
        static LIMITS: OnceLock<Limits> = OnceLock::new();
        *LIMITS.get_or_init(|| {
            let connect = Connect::new(Version::V5, self.id("limits")).with(property::topic_alias_maximum(0xffff));
            let (_, connack) = self.accepted(connect);
            Limits {
                receive_maximum: connack.properties.two(0x21).unwrap_or(0xffff),
                topic_alias_maximum: connack.properties.two(0x22).unwrap_or(0),
                maximum_packet_size: connack.properties.four(0x27).unwrap_or(268_435_460),
            }
        })
    }
}

/// A broker's own limits, from its CONNACK.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub receive_maximum: u16,
    pub topic_alias_maximum: u16,
    /// Without a word of the broker, what the protocol can express.
    pub maximum_packet_size: u32,
}
