//! What MQTT 5.0 demands, by number: whom each statement binds, and what cannot be shown.
//!
//! A statement that is in none of the lists binds a server. The lists of what is not shown may only shrink.

use std::ops::RangeInclusive;

/// The statements of each section. Their sentences are the standard's own: docs.oasis-open.org/mqtt/mqtt/v5.0.
pub const STATEMENTS: [(&str, RangeInclusive<u32>); 56] = [
    ("1.5.4", 1..=3),
    ("1.5.5", 1..=1),
    ("1.5.7", 1..=1),
    ("2.1.3", 1..=1),
    ("2.2.1", 2..=6),
    ("2.2.2", 1..=1),
    ("3.1.0", 1..=2),
    ("3.1.2", 1..=30),
    ("3.1.3", 1..=12),
    ("3.1.4", 1..=6),
    ("3.2.0", 1..=2),
    ("3.2.2", 1..=22),
    ("3.3.1", 1..=13),
    ("3.3.2", 1..=20),
    ("3.3.4", 1..=10),
    ("3.4.2", 1..=3),
    ("3.5.2", 1..=3),
    ("3.6.1", 1..=1),
    ("3.6.2", 1..=3),
    ("3.7.2", 1..=3),
    ("3.8.1", 1..=1),
    ("3.8.3", 1..=5),
    ("3.8.4", 1..=8),
    ("3.9.2", 1..=2),
    ("3.9.3", 1..=2),
    ("3.10.1", 1..=1),
    ("3.10.3", 1..=2),
    ("3.10.4", 1..=6),
    ("3.11.2", 1..=2),
    ("3.11.3", 1..=2),
    ("3.12.4", 1..=1),
    ("3.14.0", 1..=1),
    ("3.14.1", 1..=1),
    ("3.14.2", 1..=4),
    ("3.14.4", 1..=3),
    ("3.15.1", 1..=1),
    ("3.15.2", 1..=3),
    ("4.1.0", 1..=2),
    ("4.2", 1..=1),
    ("4.3.1", 1..=1),
    ("4.3.2", 1..=5),
    ("4.3.3", 1..=13),
    ("4.4.0", 1..=2),
    ("4.5.0", 1..=2),
    ("4.6.0", 1..=6),
    ("4.7.0", 1..=1),
    ("4.7.1", 1..=2),
    ("4.7.2", 1..=1),
    ("4.7.3", 1..=4),
    ("4.8.2", 1..=6),
    ("4.9.0", 1..=3),
    ("4.12.0", 1..=7),
    ("4.12.1", 1..=2),
    ("4.13.1", 1..=1),
    ("4.13.2", 1..=1),
    ("6.0.0", 1..=4),
];

/// Bind a client only, and the broker has its part in them: it refuses a client that breaks them, or keeps the same
/// rule in its own direction. They need a line and a test as if they bound the broker.
pub const CLIENTS_HELD_TO: [&str; 43] = [
    // Packet identifiers, and what comes first.
    "2.2.1-3", "3.1.0-1", // The flags and fields of CONNECT.
    "3.1.2-9", "3.1.2-11", "3.1.2-12", "3.1.2-13", "3.1.2-16", "3.1.2-17", "3.1.2-18", "3.1.2-19", "3.1.3-1",
    "3.1.3-3", "3.1.3-4", "3.1.3-11", "3.1.3-12",
    // The keep alive that the broker names: it waits that long and no longer.
    "3.1.2-21", "3.2.2-21", // Before CONNACK.
    "3.1.2-30", // What CONNACK has announced.
    "3.2.2-11", "3.2.2-14", "3.2.2-15", "3.2.2-17", "3.2.2-18", "3.3.2-9", "3.3.4-7",
    // The fields of PUBLISH, SUBSCRIBE and UNSUBSCRIBE.
    "3.3.4-6", "3.8.3-1", "3.8.3-2", "3.8.3-4", "3.10.3-1", "3.10.3-2", "4.7.1-1", "4.7.1-2", "4.8.2-1", "4.8.2-2",
    // The order of what is sent again and of acknowledgements: the broker keeps it too.
    "4.6.0-1", "4.6.0-2", "4.6.0-3", "4.6.0-4", // AUTH.
    "4.12.0-3", "4.12.0-7", "4.12.1-1", // WebSocket.
    "6.0.0-3",
];

/// Bind a client only, and there is nothing a broker could do about them.
pub const CLIENTS_ALONE: [(&str, &str); 6] = [
    ("3.1.2-20", "a client that has nothing to say says PINGREQ; the broker's part is the close in 3.1.2-22"),
    ("3.2.2-4", "what a client without a session does about a CONNACK that has one"),
    ("3.2.2-5", "what a client with a session does about a CONNACK that has none"),
    ("3.3.2-10", "a client takes every alias that it has allowed"),
    ("3.3.4-8", "a client does not make its other packets wait for its own window"),
    ("4.5.0-2", "a client acknowledges what it does not want, too; a broker cannot tell late from never"),
];

/// Bind the broker, and have no line or no test: why.
pub const NOT_SHOWN: [(&str, &str); 0] = [];

/// All of them, as `3.1.2-24`, in the order of the standard.
pub fn statements() -> impl Iterator<Item = String> {
    STATEMENTS.into_iter().flat_map(|(section, numbers)| numbers.map(move |number| format!("{section}-{number}")))
}
