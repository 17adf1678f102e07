//! What operators see of a running broker: `$SYS`, metrics, health.

mod health;
mod metrics;
mod support;
mod sys_topics;
