//! A stop reaches every client, in the words of its transport.

use midge::config::{ListenerAddress, ListenerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{
    Authority, Client, Frames, TestBroker, TlsClient, WebSocketClient, connect_packet, frame, listener, publish_packet,
    tls, websocket, within,
};

const SERVER_SHUTTING_DOWN: u8 = 0x8B;

/// DISCONNECT with 0x8B, then the end of the stream in order; on TLS, that is close_notify.
async fn hears_of_the_stop<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>) {
    let disconnect = client.packet().await;
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, SERVER_SHUTTING_DOWN));
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn clients_on_every_transport_hear_of_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let tls = || Some(tls(authority.directory(), &["server"]));
    let named = |name: &str, listener| ListenerConfig { name: name.into(), ..listener };
    let broker = TestBroker::start_all(vec![
        named("tcp", listener()),
        named("tls", ListenerConfig { tls: tls(), ..listener() }),
        named("ws", websocket()),
        named("wss", ListenerConfig { tls: tls(), ..websocket() }),
        named("unix", ListenerConfig { addresses: vec![ListenerAddress::Unix(path.clone())], ..listener() }),
    ])
    .await;
    let [tcp, tls, ws, wss] = *broker.broker.local_addresses() else { panic!() };
    let secure = TlsClient::new(&authority);
    let to = async |address| TcpStream::connect(address).await.unwrap();
    let tcp = Client::connect(to(tcp).await, "tcp").await;
    let tls = Client::connect(secure.over(to(tls).await).await.unwrap(), "tls").await;
    let mut frames = Frames::over(to(ws).await).await;
    frames.send(&frame(0x82, &connect_packet("frames", None))).await;
    frames.next().await;
    let ws = Client::connect(WebSocketClient::over(to(ws).await).await, "ws").await;
    let wss = WebSocketClient::over(secure.over(to(wss).await).await.unwrap()).await;
    let wss = Client::connect(wss, "wss").await;
    let unix = Client::connect(UnixStream::connect(&path).await.unwrap(), "unix").await;

    let said = async {
        let (first, disconnect) = frames.next().await.unwrap();
        assert_eq!((first, disconnect[0], disconnect[2]), (0x82, 0xE0, SERVER_SHUTTING_DOWN));
        frames.closes_with(1000).await;
        drop(frames);
    };
    let clients = async {
        tokio::join!(
            said,
            hears_of_the_stop(tcp),
            hears_of_the_stop(tls),
            hears_of_the_stop(ws),
            hears_of_the_stop(wss),
            hears_of_the_stop(unix)
        )
    };
    within(async { tokio::join!(broker.broker.shutdown(), clients) }).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn handshakes_that_are_not_done_do_not_hold_a_stop_up() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let listener = ListenerConfig { tls: Some(tls(authority.directory(), &["server"])), ..listener() };
    let broker = TestBroker::start(listener).await;
    let mut stream = broker.socket().await;
    stream.write_all(&[22, 3, 1]).await.unwrap();
    within(async {
        while broker.broker.counts().connections_accepted == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut rest = [0];
    let (_, read) = within(async { tokio::join!(broker.broker.shutdown(), stream.read(&mut rest)) }).await;
    assert!(matches!(read, Ok(0) | Err(_)));
}

/// A client that is just reading a flood when the stop comes.
async fn last_word_waits_for_a_full_socket<S: AsyncRead + AsyncWrite + Unpin>(
    broker: TestBroker,
    mut busy: Client<S>,
    mut publisher: Client<S>,
) {
    busy.subscribe("flood").await;
    // More than sockets take, less than a turn writes at once: nothing waits in the queue, from where it would not go out.
    let payload = vec![0; 1_900_000];
    for _ in 0..6 {
        publisher.send(&publish_packet("flood", &payload, 0)).await;
    }
    publisher.ping().await;
    let reads = async {
        let mut publishes = 0;
        loop {
            match busy.packet().await {
                packet if packet[0] >> 4 == 3 => publishes += 1,
                disconnect => {
                    assert_eq!((disconnect[0], disconnect[2]), (0xE0, SERVER_SHUTTING_DOWN));
                    break;
                }
            }
        }
        assert_eq!(busy.next().await, None);
        publishes
    };
    drop(publisher);
    let ((), publishes) = within(async { tokio::join!(broker.broker.shutdown(), reads) }).await;
    assert!(publishes > 0);
}

#[tokio::test]
async fn the_last_word_waits_for_a_full_socket_over_tcp() {
    let broker = TestBroker::start(listener()).await;
    let busy = Client::connect(broker.socket().await, "busy").await;
    let publisher = Client::connect(broker.socket().await, "publisher").await;
    last_word_waits_for_a_full_socket(broker, busy, publisher).await;
}

#[tokio::test]
async fn the_last_word_waits_for_a_full_socket_over_tls_and_websocket() {
    let authority = Authority::new();
    authority.server("server", &["localhost"]);
    let tls = Some(tls(authority.directory(), &["server"]));
    let broker = TestBroker::start(ListenerConfig { tls, ..websocket() }).await;
    let client = TlsClient::new(&authority);
    let connect = async |client_id| {
        let stream = client.stream(&broker).await.unwrap();
        Client::connect(WebSocketClient::over(stream).await, client_id).await
    };
    let (busy, publisher) = (connect("busy").await, connect("publisher").await);
    last_word_waits_for_a_full_socket(broker, busy, publisher).await;
}
