//! Sockets and tasks: listeners, transports, and one driver task a connection.

pub mod admission;
pub mod census;
pub mod clock;
pub mod context;
mod driver;
mod expiry;
pub mod facts;
pub mod handshake;
pub mod keeper;
pub mod listener;
pub mod operator;
pub mod proxy_protocol;
mod removals;
mod restore;
mod stream;
pub mod tls;
pub(crate) mod unix;
pub mod websocket;
mod wills;

pub use driver::{at_rest, thread_parks};
