//! Topic names, topic filters and the two trees that match them.
//!
//! Parse, don't validate: a [`TopicName`] or [`TopicFilter`] that exists is well formed.
//! Never in here: I/O, a clock, a lock, a session.

mod arena;
mod entries;
mod error;
mod filter;
mod id_table;
mod levels;
mod matching;
mod name;
mod options;
#[cfg(test)]
mod reference;
mod retained_tree;
mod subscription_tree;
mod text;

pub use entries::{Entries, EntriesIter};
pub use error::{TOPIC_BYTES_MAX, TopicError};
pub use filter::{ParsedFilter, ShareName, TopicFilter};
pub use matching::{filter_covers, filter_matches, filters_overlap};
pub use name::{TopicName, check_topic_name};
pub use options::{QoS, RetainHandling, SubscribeOptions};
pub use retained_tree::{PageEnd, Retained, RetainedTree};
pub use subscription_tree::SubscriptionTree;
