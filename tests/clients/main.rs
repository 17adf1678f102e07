//! Real clients against a running broker: mosquitto's (C), Paho (Python), MQTT.js (JavaScript), rumqttc (Rust), collectd.
//!
//! The broker is the `midge` program, started with a configuration file as anybody would. `./test` installs the clients.
//! `MIDGE_TEST_TARGET=mosquitto` runs the tests against Debian's mosquitto instead, to tell a client's habits from the
//! broker's; it has no WebSocket, does not tell a client of 5.0 that it was taken over, and sends overlapping messages twice.

mod broker;
mod certificates;
mod mosquitto;
mod peer;
#[path = "../it/support/process.rs"]
mod process;
mod program;
mod rust;
mod script;

mod collectd;
mod command_line;
mod exchange;
mod library;
mod together;
