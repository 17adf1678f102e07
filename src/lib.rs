//! Midge, an MQTT 3.1, 3.1.1 and 5.0 broker. This is the map of the house: what is where, who may use whom, what never
//! happens.
//!
//! # A broker in a program
//!
//! ```
//! use midge::{broker::Broker, config::Config};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::parse("inside", "[[listener]]\naddress = \"127.0.0.1:0\"")?;
//! let broker = Broker::start(&config).await?;
//! println!("clients connect to {}", broker.local_addresses()[0]);
//! broker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a message
//!
//! ```text
//! socket ─► driver task         net/driver      owns the socket, the Connection and the Session; no lock
//!             │ bytes
//!             ▼
//!           packets             packet          one validating pass over the buffer, nothing copied
//!             │
//!             ▼
//!           Connection          protocol        what the standard says to do, as Actions; `now` is an argument
//!             │ Publish
//!             ▼
//!           Router              router, topic   who matches: a push into each Mailbox, one wake for each batch
//!             │ Delivery
//!             ▼
//!           driver task         net/driver      window, packet ids, aliases; one write for all that a turn produced
//! ```
//!
//! The message itself ([`message`]) is made once and shared by all who get it.
//!
//! # The rooms, in reading order
//!
//! | room | what it decides | may use |
//! |---|---|---|
//! | [`message`] | nothing: it is what the others speak of | `packet` `topic` |
//! | [`topic`] | what a topic, a filter and a share are; what matches | |
//! | [`packet`] | what bytes mean, in each version | `topic` |
//! | [`protocol`] | what a server does with one connection and its session | `message` `packet` `topic` |
//! | [`router`] | who gets a message, and what a full queue means | `message` `topic` |
//! | [`store`] | how what must outlive the process is kept | `message` `packet` `topic` |
//! | [`import`] | what another broker's state means here | `message` `packet` `store` `topic` |
//! | [`auth`] | who may connect, and do what | `message` `packet` `topic` |
//! | [`config`] | what the operator wants, and what of it is wrong | `topic` |
//! | [`net`] | when something happens: sockets, tasks, deadlines | all of the above but `config` |
//! | [`telemetry`] | how the broker's state is told | all of the above but `auth` and `protocol` |
//! | [`admin`] | what operators can ask over HTTP | `telemetry` and what it tells of |
//! | [`broker`] | the order of start and stop | all of the above |
//! | [`mod@bench`] | how fast a broker is, and whether it loses anything | `net` `packet` |
//!
//! `protocol` and `router` do not know each other: the driver is the only joint. The test `tidy` holds the table to this.
//!
//! # What never happens
//!
//! - `packet`, `topic` and `protocol` do no I/O, read no clock, never wait and never lock.
//! - Nobody waits while holding a lock; the lock order stands in [`router`].
//! - A `Session` has one owner: its driver, or its parked slot in the table of sessions. A takeover moves it. Others touch
//!   its `Mailbox` only.
//! - An acknowledgement leaves when the broker has what it promises, and not before.
//! - Every queue has a limit, and what goes beyond it is counted with its cause. Every task is awaited at shutdown.
//! - Bytes of a peer neither panic nor take memory without a limit.
//! - The three versions are one program with one packet model; where they differ, the code cites the standard.
//!
//! A rule of the standard carries its id where the code keeps it; `tests/statements/table.md` is the list.

#![forbid(unsafe_code)]

// Unit tests share files with the tests of tests/, which know the library by its name.
#[cfg(test)]
extern crate self as midge;

pub mod admin;
pub mod auth;
pub mod bench;
pub mod broker;
pub mod config;
pub mod import;
pub mod message;
pub mod net;
pub mod packet;
pub mod protocol;
pub mod router;
pub mod store;
pub mod telemetry;
pub mod topic;
