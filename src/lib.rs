//! Midge, an MQTT 3.1, 3.1.1 and 5.0 broker.

#![forbid(unsafe_code)]

pub mod admin;
pub mod auth;
pub mod broker;
pub mod config;
pub mod message;
pub mod net;
pub mod packet;
pub mod protocol;
pub mod router;
pub mod telemetry;
pub mod topic;
