//! Everything between the wire and MQTT: TCP, TLS, WebSocket, Unix domain sockets, the PROXY protocol, the limits and
//! deadlines of a listener, and a stop that reaches every client.
//!
//! The broker runs in the test's own thread, on a clock that only the test moves.

mod support;

mod closing;
mod hostile;
mod limits;
mod mutual_tls;
mod proxy_protocol;
mod reload;
mod reload_keys;
mod shutdown;
mod start_errors;
mod tcp;
mod tls;
mod unix;
mod websocket;
mod websocket_frames;
