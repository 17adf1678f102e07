//! What operators see of the broker: its log, its metrics and the `$SYS` topics.
//!
//! Never in here: decisions of the broker. Who decides logs and counts; this room carries it outside.

mod history;
mod log_line;
mod log_writer;
pub mod logging;
pub mod metrics;
mod process;
pub mod snapshot;
mod sys_topics;
