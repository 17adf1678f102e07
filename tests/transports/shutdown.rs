//! A stop waits for clients that are slow to hear of it, and for nobody else. What they hear is in `closing.rs`.

use midge::config::ListenerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::support::{
    Authority, Client, TestBroker, TlsClient, WebSocketClient, listener, publish_packet, tls, websocket, within,
};

const SERVER_SHUTTING_DOWN: u8 = 0x8B;

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
        // The broker waits for the client's side of the end.
        drop(busy);
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
