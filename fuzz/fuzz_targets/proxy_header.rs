//! Any bytes from a proxy: a header never ends beyond the bytes that are there, more bytes never take an answer back, and
//! the bytes behind a header change nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::net::proxy_protocol::{ProxyHeader, ProxyVersions, parse};

const BOTH: ProxyVersions = ProxyVersions { v1: true, v2: true };

fuzz_target!(|input: (&[u8], usize)| {
    let (bytes, cut) = input;
    let start = &bytes[..cut % (bytes.len() + 1)];
    match (parse(start, BOTH), parse(bytes, BOTH)) {
        (Ok(ProxyHeader::Incomplete), _) => {}
        (Ok(complete @ ProxyHeader::Complete { len, .. }), later) => {
            assert!(len <= start.len());
            assert_eq!(later.ok(), Some(complete));
        }
        (Err(_), later) => assert!(later.is_err()),
    }
});
