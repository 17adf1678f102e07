//! Plain TCP: addresses, segments, ends.

use std::net::SocketAddr;

use midge::config::{ListenerAddress, ListenerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Client, Dribble, Log, TestBroker, connect_packet, listener, publish_packet};

fn at(address: &str) -> ListenerConfig {
    ListenerConfig { addresses: vec![ListenerAddress::Tcp(address.parse().unwrap())], ..listener() }
}

#[tokio::test]
async fn packets_in_segments_of_one_byte_are_packets() {
    let broker = TestBroker::start(listener()).await;
    let mut client = Client::connect(Dribble(broker.socket().await), "slow").await;
    client.subscribe("t").await;
    client.send(&publish_packet("t", &[5; 300], 0)).await;
    assert_eq!(client.message().await, [5; 300]);
}

#[tokio::test]
async fn many_packets_in_one_segment_are_all_handled() {
    let broker = TestBroker::start(listener()).await;
    let mut client = Client::new(broker.socket().await);
    let pings = [0xC0, 0].repeat(50);
    client.send(&[connect_packet("hasty", None), pings].concat()).await;
    assert_eq!(client.packet().await[0], 0x20);
    for _ in 0..50 {
        assert_eq!(client.packet().await, [0xD0, 0]);
    }
}

#[tokio::test]
async fn ipv6_is_served_and_an_ipv6_listener_takes_ipv4_only_when_told() {
    let broker = TestBroker::start(at("[::1]:0")).await;
    Client::connect(broker.socket().await, "six").await;

    let dual = ListenerConfig { ipv6_only: false, ..at("[::]:0") };
    let access = midge::config::AccessConfig { allow_anonymous: Some(true), ..dual.access.clone() };
    let broker = TestBroker::start(ListenerConfig { access: access.clone(), ..dual }).await;
    let over_ipv4 = SocketAddr::from(([127, 0, 0, 1], broker.address().port()));
    let log = Log::gather();
    Client::connect(TcpStream::connect(over_ipv4).await.unwrap(), "four").await;
    // Its name is its own, not the one it has in IPv6 clothes.
    assert!(log.line_with("connected client_id=four").contains("peer=127.0.0.1:"));

    // The port is free in IPv4, or another test's by chance.
    let mut is_free = false;
    for _ in 0..10 {
        let only = TestBroker::start(ListenerConfig { access: access.clone(), ..at("[::]:0") }).await;
        is_free |= TcpListener::bind(("127.0.0.1", only.address().port())).await.is_ok();
        if is_free {
            break;
        }
    }
    assert!(is_free);
}

#[tokio::test]
async fn two_brokers_share_an_address_only_when_both_say_so() {
    let shared = ListenerConfig { reuse_port: true, ..listener() };
    let first = TestBroker::start(shared.clone()).await;
    let same = ListenerAddress::Tcp(first.address());
    let second = TestBroker::try_start(vec![ListenerConfig { addresses: vec![same.clone()], ..shared }]).await.unwrap();
    assert_eq!(first.address(), second.address());
    let third = TestBroker::try_start(vec![ListenerConfig { addresses: vec![same], ..listener() }]).await;
    let error = third.err().unwrap().to_string();
    assert!(error.starts_with(&format!("listener test: cannot listen on {}: ", first.address())), "{error}");
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_what_is_due() {
    let broker = TestBroker::start(listener()).await;
    let mut client = Client::connect(broker.socket().await, "half").await;
    client.send(&publish_packet("t", b"last", 1)).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.packet().await[0], 0x40);
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn a_reset_connection_is_a_lost_one_and_its_will_is_published() {
    let broker = TestBroker::start(listener()).await;
    let mut watcher = Client::connect(broker.socket().await, "watcher").await;
    watcher.subscribe("will").await;
    let victim = Client::connect_with_will(broker.socket().await, "victim", Some("will")).await;
    // Closing with this sends a reset.
    socket2::SockRef::from(&victim.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(victim);
    assert_eq!(watcher.message().await, b"gone");
}
