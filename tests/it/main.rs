//! Raw-packet scripts against a broker, by chapter of the standard: every case sends exact bytes and says what comes back.
//!
//! They run against Midge, or against any other broker: `MIDGE_TEST_TARGET=host:port cargo test --test it`. With
//! `MIDGE_TEST_TARGET=mosquitto` they start Debian's mosquitto, and `mosquitto.md` says in which cases it differs, and why.
//!
//! Where the standard leaves a choice, a case takes all that the standard allows, unless Midge promises more: one copy for
//! overlapping subscriptions, a reason for every close, 0x10 where nobody subscribes. Then it holds Midge to its promise.

mod support;

mod access;
mod closing;
mod connect;
mod connect_refused;
mod flow;
mod hostile;
mod publish;
mod publish_properties;
mod representation;
mod retained;
mod session;
mod shared;
mod subscribe;
mod topics;
mod will;
