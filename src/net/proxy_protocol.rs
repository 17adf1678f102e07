//! The PROXY protocol of HAProxy and cloud load balancers: who the client behind a proxy is, versions 1 and 2.
//!
//! The header is taken from the socket to its last byte and no further, so that whatever speaks next (TLS, HTTP, MQTT)
//! finds its first byte. Whom to believe is decided by the caller.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncReadExt;

use super::stream::Socket;

/// Which versions are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyVersions {
    pub v1: bool,
    pub v2: bool,
}

/// What the bytes that have come so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The start of a header.
    Incomplete,
    Complete {
        len: usize,
        /// `None` when the proxy speaks for itself (a health check), or does not say.
        client: Option<SocketAddr>,
    },
}

/// Why bytes are no header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("there is no PROXY header")]
    Missing,
    #[error("a PROXY header of version {0}, which is not understood here")]
    Version(u8),
    #[error("a broken PROXY header: {0}")]
    Broken(String),
    #[error("the proxy closed the connection inside its header")]
    Cut,
    #[error(transparent)]
    Io(#[from] io::Error),
}

const V1_PREFIX: &[u8] = ppp::v1::PROTOCOL_PREFIX.as_bytes();
const V2_PREFIX: &[u8] = ppp::v2::PROTOCOL_PREFIX;
/// The longest header of version 1, line end included.
const V1_BYTES_MAX: usize = 107;
/// Prefix, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// Judges the bytes from the start of a connection.
pub fn parse(bytes: &[u8], versions: ProxyVersions) -> Result<ProxyHeader, ProxyError> {
    let begins = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(byte, expected)| byte == expected);
    let (header, number, spoken) = match bytes.first() {
        None => return Ok(ProxyHeader::Incomplete),
        Some(_) if begins(V1_PREFIX) => (parse_v1(bytes)?, 1, versions.v1),
        Some(_) if begins(V2_PREFIX) => (parse_v2(bytes)?, 2, versions.v2),
        Some(_) => return Err(ProxyError::Missing),
    };
    if !spoken {
        return Err(ProxyError::Version(number));
    }
    Ok(header)
}

fn parse_v1(bytes: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(len) = memchr::memchr(b'\n', window).map(|at| at + 1) else {
        if window.len() == V1_BYTES_MAX {
            return Err(broken("its line is too long"));
        }
        return Ok(ProxyHeader::Incomplete);
    };
    let header = ppp::v1::Header::try_from(&bytes[..len]).map_err(broken)?;
    let client = match header.addresses {
        ppp::v1::Addresses::Unknown => None,
        ppp::v1::Addresses::Tcp4(ip) => Some(address(ip.source_address.into(), ip.source_port)),
        ppp::v1::Addresses::Tcp6(ip) => Some(address(ip.source_address.into(), ip.source_port)),
    };
    Ok(ProxyHeader::Complete { len, client })
}

fn parse_v2(bytes: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let Some([.., high, low]) = bytes.first_chunk::<V2_FIXED_BYTES>() else { return Ok(ProxyHeader::Incomplete) };
    let len = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    let Some(header) = bytes.get(..len) else { return Ok(ProxyHeader::Incomplete) };
    let header = ppp::v2::Header::try_from(header).map_err(broken)?;
    let client = match (header.command, header.addresses) {
        (ppp::v2::Command::Local, _) => None,
        (_, ppp::v2::Addresses::IPv4(ip)) => Some(address(ip.source_address.into(), ip.source_port)),
        (_, ppp::v2::Addresses::IPv6(ip)) => Some(address(ip.source_address.into(), ip.source_port)),
        (_, ppp::v2::Addresses::Unix(_) | ppp::v2::Addresses::Unspecified) => None,
    };
    Ok(ProxyHeader::Complete { len, client })
}

fn address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

fn broken(error: impl ToString) -> ProxyError {
    ProxyError::Broken(error.to_string())
}

/// How much is looked at in one go: all of a header without extensions.
const WINDOW_BYTES: usize = 256;

/// Takes the header from the socket; who the client is, if the proxy says so.
pub(super) async fn read_header(
    socket: &mut Socket,
    versions: ProxyVersions,
) -> Result<Option<SocketAddr>, ProxyError> {
    let mut header = Vec::new();
    loop {
        let taken = header.len();
        header.resize(taken + WINDOW_BYTES, 0);
        let seen = socket.peek(&mut header[taken..]).await?;
        if seen == 0 {
            return Err(ProxyError::Cut);
        }
        header.truncate(taken + seen);
        let parsed = parse(&header, versions)?;
        if let ProxyHeader::Complete { len, .. } = parsed {
            header.truncate(len);
        }
        // What was looked at is there: this does not wait.
        socket.read_exact(&mut header[taken..]).await?;
        if let ProxyHeader::Complete { client, .. } = parsed {
            return Ok(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: ProxyVersions = ProxyVersions { v1: true, v2: true };

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = [V2_PREFIX, &[command, family]].concat();
        header.extend((body.len() as u16).to_be_bytes());
        header.extend_from_slice(body);
        header
    }

    fn over_ipv4() -> Vec<u8> {
        // Source and destination, their ports, and one extension.
        v2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x07, 0x5B, 0x04, 0, 1, 0])
    }

    fn over_ipv6() -> Vec<u8> {
        let ip = std::net::Ipv6Addr::from_bits(0x2001_0db8_0000_0000_0000_0000_0000_0007).octets();
        v2(0x21, 0x21, &[&ip[..], &ip[..], &[0x30, 0x39, 0x07, 0x5B]].concat())
    }

    #[test]
    fn headers_name_the_client_and_end_where_they_end() {
        let cases: [(&[u8], Option<&str>); 8] = [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 1883\r\n", Some("192.0.2.7:12345")),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 1883\r\n", Some("[2001:db8::7]:12345")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 12345 1883\r\n", Some("192.0.2.7:12345")),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
            (&over_ipv4(), Some("192.0.2.7:12345")),
            (&over_ipv6(), Some("[2001:db8::7]:12345")),
            (&v2(0x20, 0x00, b""), None),
        ];
        for (header, client) in cases {
            let bytes = [header, b"\x10\x0c\0\x04MQTT"].concat();
            let expected =
                ProxyHeader::Complete { len: header.len(), client: client.map(|name| name.parse().unwrap()) };
            assert_eq!(parse(&bytes, BOTH).unwrap(), expected);
            for len in 0..header.len() {
                assert_eq!(parse(&header[..len], BOTH).unwrap(), ProxyHeader::Incomplete, "{header:?} cut at {len}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_shows() {
        let cases: [(&[u8], &str); 9] = [
            (b"\x10", "there is no PROXY header"),
            (b"PROXX", "there is no PROXY header"),
            (b"\r\n\r\n\0\r\nQUIX", "there is no PROXY header"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 1883\r\n", "a broken PROXY header: "),
            (b"PROXY TCP5 192.0.2.7 10.0.0.1 1 1883\r\n", "a broken PROXY header: "),
            (b"PROXY TCP4 192.0.2.7\n", "a broken PROXY header: "),
            (&v2(0x31, 0x11, &[0; 12]), "a broken PROXY header: "),
            (&v2(0x21, 0x11, &[0; 11]), "a broken PROXY header: "),
            (&[b"PROXY TCP4 ", &[b'1'; 107][..]].concat(), "a broken PROXY header: its line is too long"),
        ];
        for (bytes, expected) in cases {
            let error = parse(bytes, BOTH).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn a_version_that_is_not_understood_here_is_refused() {
        let refused = |bytes: &[u8], versions| match parse(bytes, versions) {
            Err(ProxyError::Version(version)) => version,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b"PROXY ", ProxyVersions { v1: false, v2: true }), 1);
        assert_eq!(refused(&over_ipv4(), ProxyVersions { v1: true, v2: false }), 2);
    }

    proptest! {
        #[test]
        fn damaged_headers_never_panic_and_never_end_beyond_what_is_there(
            from_v1: bool,
            at in 0usize..64,
            byte: u8,
            tail: Vec<u8>,
        ) {
            let v1 = b"PROXY TCP6 2001:db8::7 ::1 12345 1883\r\n".to_vec();
            let mut bytes = if from_v1 { v1 } else { over_ipv6() };
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.extend(tail);
            if let Ok(ProxyHeader::Complete { len, .. }) = parse(&bytes, BOTH) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
