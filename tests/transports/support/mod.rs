//! A broker in this process, on free ports; clients that write exact bytes; certificates made at run time.

mod authority;
mod dribble;
mod log;
mod mqtt;
mod server;
mod tls;
mod websocket;

pub use authority::Authority;
pub use dribble::Dribble;
pub use log::Log;
pub use mqtt::{Client, connect_packet, connect_packet_3_1_1, publish_packet, within};
pub use server::{TestBroker, listener, network, tls, websocket};
pub use tls::TlsClient;
pub use websocket::{Frames, WebSocketClient, frame, request};
