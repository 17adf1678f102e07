//! Any bytes of a WebSocket client: the request is answered the same whether or not frames follow it, and frames decode to
//! the same payload and the same end however the stream is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::net::websocket::{Accepted, FrameDecoder, Upgrade, UpgradeRules, upgrade};

fn decode(bytes: &[u8], piece: usize) -> (Vec<u8>, FrameDecoder) {
    let mut decoder = FrameDecoder::new(1 << 20);
    let mut payload = Vec::new();
    for chunk in bytes.chunks(piece.max(1)) {
        let mut chunk = chunk.to_vec();
        let n = decoder.decode(&mut chunk);
        payload.extend_from_slice(&chunk[..n]);
    }
    (payload, decoder)
}

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, piece) = input;
    let rules = UpgradeRules {
        path: "/mqtt".into(),
        origins: vec!["https://app.example.com".into()],
        subprotocols: vec!["mqtt".into(), "mqttv3.1".into()],
        head_bytes_max: 8192,
    };
    match upgrade(bytes, &rules) {
        Upgrade::Incomplete => assert!(bytes.len() < rules.head_bytes_max),
        Upgrade::Accepted(accepted) => {
            let Accepted { request_len, .. } = accepted;
            assert_eq!(upgrade(&bytes[..request_len], &rules), Upgrade::Accepted(accepted));
        }
        Upgrade::Refused(refusal) => assert!(refusal.response().starts_with("HTTP/1.1 4")),
    }
    let (whole, mut one) = decode(bytes, bytes.len());
    let (pieces, mut many) = decode(bytes, piece.into());
    assert_eq!((whole, one.end(), one.take_ping()), (pieces, many.end(), many.take_ping()));
});
