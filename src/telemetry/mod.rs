//! What operators see of the broker: its log.
//!
//! Never in here: decisions of the broker. Who decides logs and counts; this room carries it outside.

pub mod logging;
