//! Everything that can be configured in the core, end to end: a broker in this process, on a port of its own, with a clock
//! that only the test moves, and clients on real sockets.
//!
//! That something does not come is shown by what comes instead: each turn of a connection delivers before it reads, so an
//! answer to a ping follows everything that the client's window and socket had room for when the ping arrived
//! ([`Client::ping`]).
//!
//! [`Client::ping`]: support::Client::ping

mod support;

mod access;
mod closing;
mod listener;
mod log_lines;
mod queues;
mod reload;
mod start;
mod state;
mod time;
