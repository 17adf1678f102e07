//! What no test can do to its own process: real brokers whose disk fails and whose wall clock jumps. A library in front of
//! the C library does it (`shim.rs`), which rustc builds for the occasion.

mod broker;
#[allow(dead_code)]
#[path = "../settings/support/client.rs"]
mod client;
mod clock;
mod disk;
#[allow(dead_code)]
#[path = "../telemetry/support/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../settings/support/packets.rs"]
mod packets;
#[path = "../it/support/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../clients/program.rs"]
mod program;
#[allow(dead_code)]
#[path = "../settings/support/received.rs"]
mod received;

use midge::packet::{Connect, ConnectProperties};
use program::PATIENCE;

/// A session that is kept for so many seconds while its client is away.
fn lasting(client_id: &str, seconds: u32) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval: Some(seconds), ..Default::default() };
    Connect { clean_start: false, properties, ..packets::v5(client_id) }
}
