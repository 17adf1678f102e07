//! What is known of a network connection: who is at the other end, and once it has a session what its client asked for.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::auth::CertificateSubject;
use crate::packet::ProtocolVersion;

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Socket(SocketAddr),
    /// As a proxy told, which knows no port.
    Ip(IpAddr),
    /// On this machine: what the kernel says of the process.
    Local(Box<str>),
}

impl Peer {
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Socket(address) => Some(address.ip()),
            Peer::Ip(ip) => Some(*ip),
            Peer::Local(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Socket(address) => address.fmt(f),
            Peer::Ip(ip) => ip.fmt(f),
            Peer::Local(what) => what.fmt(f),
        }
    }
}

/// Facts of a network connection, for authentication, the log and operators. A parked session has those of its last one.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    pub peer: Peer,
    /// The verified client certificate of a TLS connection.
    pub(super) certificate: Option<Arc<CertificateSubject>>,
    pub listener: Arc<str>,
    pub user_name: Option<Arc<str>>,
    pub version: ProtocolVersion,
    pub clean_start: bool,
    /// Seconds; 0 is off.
    pub keep_alive: u16,
    /// Seconds; `u32::MAX` is for ever.
    pub session_expiry_interval: u32,
    /// Since when it has its session, in seconds since the Unix epoch.
    pub connected_at: u64,
}

impl ConnectionFacts {
    /// Of a connection whose CONNECT has not come yet.
    pub(super) fn new(peer: Peer, certificate: Option<Arc<CertificateSubject>>, listener: &Arc<str>) -> Self {
        ConnectionFacts {
            peer,
            certificate,
            listener: Arc::clone(listener),
            user_name: None,
            version: ProtocolVersion::V4,
            clean_start: false,
            keep_alive: 0,
            session_expiry_interval: 0,
            connected_at: 0,
        }
    }
}
