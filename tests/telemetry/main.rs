//! What operators see of a running broker: `$SYS`, metrics, health, and what became of every copy.

mod accounting;
mod api;
mod ctl;
mod health;
mod http;
mod losses;
mod metrics;
mod support;
mod sys_topics;
