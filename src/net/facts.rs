//! What is known of a network connection: who is at the other end, and once it has a session what its client asked for.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
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
            Peer::Socket(SocketAddr::V4(address)) => write_v4(*address, f),
            Peer::Socket(address) => address.fmt(f),
            Peer::Ip(ip) => ip.fmt(f),
            Peer::Local(what) => what.fmt(f),
        }
    }
}

/// As the standard library does, for a third of the instructions: every connection's line has one.
fn write_v4(address: SocketAddrV4, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [a, b, c, d] = address.ip().octets().map(u16::from);
    // From its end: each number, and what comes before it.
    let parts = [(address.port(), b':'), (d, b'.'), (c, b'.'), (b, b'.'), (a, b' ')];
    let mut text = *b" 255.255.255.255:65535";
    let mut start = text.len();
    for (mut number, before) in parts {
        loop {
            start -= 1;
            text[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        start -= 1;
        text[start] = before;
    }
    f.pad(str::from_utf8(&text[start + 1..]).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_written_as_its_address() {
        for address in ["0.0.0.0:0", "127.0.0.1:1883", "255.255.255.255:65535", "10.200.30.4:10", "[::1]:1883"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(Peer::Socket(address).to_string(), address.to_string());
            assert_eq!(format!("{:>24}", Peer::Socket(address)), format!("{address:>24}"));
        }
    }
}
