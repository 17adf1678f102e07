//! What the server does with one network connection and its session, without I/O, locks or a clock.

mod action;
mod connecting;
mod connection;
mod error;
mod inbound;
mod keep_alive;
mod mount_point;
mod outbound;
mod output;
mod publishing;
mod replay;
mod session;
mod settings;
mod topic_alias;
mod will;

#[cfg(test)]
mod tests;

pub use action::{Action, Kept, Reply, Routed, SubscribeRequest, SubscribeResult, UnsubscribeRequest};
pub use connecting::ConnectRequest;
pub use connection::Connection;
pub use error::Violation;
pub use mount_point::MountPoint;
pub use output::{Output, Slices};
pub use publishing::{Delivered, DeliveredRun, Resent};
pub use replay::{Replay, Replays};
pub use session::{EXPIRY_NEVER, Session, SessionSubscription};
pub use settings::{Denied3x, Settings};
pub use will::Will;
