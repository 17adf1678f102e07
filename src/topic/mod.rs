//! Topic names, topic filters and the two trees that match them.
//!
//! Parse, don't validate: a [`TopicName`] or [`TopicFilter`] that exists is well formed.
//! Never in here: I/O, a clock, a lock, a session.

mod options;

pub use options::{QoS, RetainHandling, SubscribeOptions};
