//! Thousands of damaged beginnings: every one is closed, none disturbs anybody else. Seeded, so that a failure comes
//! again; the parsers alone are cargo-fuzz targets.

use midge::config::{ListenerConfig, ProxyProtocolConfig};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Authority, Client, TestBroker, TlsClient, WebSocketClient, connect_packet, frame, listener, network,
    publish_packet, request, tls, websocket, within,
};

const ROUNDS: u64 = 400;

fn damaged(original: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..20)).min(bytes.len());
        match random.random_range(0..4) {
            0 => drop(bytes.splice(at..end, [])),
            1 => bytes.insert(at, random.random()),
            2 => bytes.truncate(at),
            _ => {
                let copy = bytes[at..end].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
        }
    }
    bytes
}

/// Sends damaged forms of a good beginning, each on a connection of its own that has to end when the client's half does.
async fn survives(broker: &TestBroker, original: &[u8]) {
    for seed in 0..ROUNDS {
        let bytes = damaged(original, &mut SmallRng::seed_from_u64(seed));
        let mut stream = broker.socket().await;
        let talks = async {
            // A broker that has heard enough may have closed already.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), talks)
            .await
            .unwrap_or_else(|_| panic!("seed {seed} is left open: {bytes:?}"));
    }
}

#[tokio::test]
async fn damaged_websocket_requests_and_frames() {
    let broker = TestBroker::start(websocket()).await;
    let mut witness = Client::connect(WebSocketClient::over(broker.socket().await).await, "witness").await;
    let mut bytes = request("/mqtt", &[]).into_bytes();
    survives(&broker, &bytes).await;
    bytes.extend(frame(0x02, &connect_packet("client", None)));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, &publish_packet("t", &[1; 200], 1)));
    bytes.extend(frame(0x88, &[3, 232]));
    survives(&broker, &bytes).await;
    witness.ping().await;
}

#[tokio::test]
async fn damaged_proxy_headers() {
    let from = vec![network("127.0.0.1", 32)];
    let proxy_protocol = Some(ProxyProtocolConfig { from, ..ProxyProtocolConfig::default() });
    let broker = TestBroker::start(ListenerConfig { proxy_protocol, ..listener() }).await;
    let v1 = b"PROXY TCP6 2001:db8::7 ::1 4711 1883\r\n".to_vec();
    let mut stream = broker.socket().await;
    stream.write_all(&v1).await.unwrap();
    let mut witness = Client::connect(stream, "witness").await;
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13"[..],
        &[203, 0, 113, 7, 10, 0, 0, 1, 1, 1, 7, 91],
        &[4, 0, 4, 0, 0, 0, 0],
    ];
    for header in [v1, v2.concat()] {
        survives(&broker, &[header, connect_packet("client", None)].concat()).await;
    }
    witness.ping().await;
}

#[tokio::test]
async fn damaged_tls_hellos() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let listener = ListenerConfig { tls: Some(tls(authority.directory(), &["server"])), ..listener() };
    let broker = TestBroker::start(listener).await;
    let client = TlsClient::new(&authority);
    let mut witness = client.connect(&broker, "witness").await.unwrap();
    // What a client of this kind says first.
    let (near, mut far) = tokio::io::duplex(4096);
    let mut hello = vec![0; 4096];
    let n = tokio::select! {
        _ = client.over(near) => panic!("nobody answered"),
        n = within(far.read(&mut hello)) => n.unwrap(),
    };
    survives(&broker, &hello[..n]).await;
    witness.ping().await;
}
