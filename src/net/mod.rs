//! Sockets and tasks: listeners, transports, and one driver task a connection.

pub mod clock;
pub mod context;
mod driver;
pub mod listener;
mod stream;
