//! What clients hear at the end, over each transport. For which causes there is which code is in
//! `tests/settings/closing.rs`.

use midge::config::{ListenerAddress, ListenerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{
    Authority, Client, Frames, TestBroker, TlsClient, WebSocketClient, connect_packet, connect_packet_3_1_1, frame,
    listener, tls, websocket, within,
};

/// What the broker closes connections for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    Stop,
    /// An operator ends them, as `midge ctl clients kick` does.
    Kick,
}

const CAUSES: [(Cause, u8); 2] = [(Cause::Stop, 0x8B), (Cause::Kick, 0x98)];

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}
type AnyStream = Box<dyn Duplex>;

/// A broker with a listener for each transport.
struct House {
    broker: TestBroker,
    authority: Authority,
}

impl House {
    async fn start() -> House {
        let authority = Authority::new();
        authority.server("server", &["localhost"]);
        let tls = || Some(tls(authority.directory(), &["server"]));
        let named = |name: &str, listener| ListenerConfig { name: name.into(), ..listener };
        let unix = vec![ListenerAddress::Unix(authority.path("mqtt.sock"))];
        let listeners = vec![
            named("tcp", listener()),
            named("tls", ListenerConfig { tls: tls(), ..listener() }),
            named("ws", websocket()),
            named("wss", ListenerConfig { tls: tls(), ..websocket() }),
            named("unix", ListenerConfig { addresses: unix, ..listener() }),
        ];
        House { broker: TestBroker::start_with_http(listeners).await, authority }
    }

    /// A stream over each transport, on which MQTT may begin.
    async fn streams(&self) -> [(&'static str, AnyStream); 5] {
        let [tcp, tls, ws, wss] = *self.broker.broker.local_addresses() else { panic!("four addresses") };
        let client = TlsClient::new(&self.authority);
        let to = async |address| TcpStream::connect(address).await.unwrap();
        let secure = async |address| client.over(to(address).await).await.unwrap();
        [
            ("tcp", Box::new(to(tcp).await)),
            ("tls", Box::new(secure(tls).await)),
            ("ws", Box::new(WebSocketClient::over(to(ws).await).await)),
            ("wss", Box::new(WebSocketClient::over(secure(wss).await).await)),
            ("unix", Box::new(UnixStream::connect(self.authority.path("mqtt.sock")).await.unwrap())),
        ]
    }

    /// A client over each transport, called like it.
    async fn clients(&self, connect: fn(&str) -> Vec<u8>) -> Vec<(&'static str, Client<AnyStream>)> {
        let mut clients = Vec::new();
        for (name, stream) in self.streams().await {
            let mut client = Client::new(stream);
            client.send(&connect(name)).await;
            let connack = client.packet().await;
            assert_eq!((connack[0], connack[3]), (0x20, 0), "{name}: {connack:?}");
            clients.push((name, client));
        }
        clients
    }

    async fn kick(&self, client_id: &str) {
        let mut stream = TcpStream::connect(self.broker.broker.admin_address().unwrap()).await.unwrap();
        let head = format!("DELETE /api/v5/clients/{client_id} HTTP/1.1\r\nhost: [::1]\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    }
}

/// DISCONNECT with the code, if there is one, then the end of the stream in order; on TLS, that is close_notify.
async fn hear(clients: Vec<(&str, Client<AnyStream>)>, code: Option<u8>) {
    for (name, mut client) in clients {
        let last = client.next().await;
        assert_eq!(last.as_ref().map(|packet| (packet[0], packet[2])), code.map(|code| (0xE0, code)), "{name}");
        if last.is_some() {
            assert_eq!(client.next().await, None, "{name}");
        }
    }
}

#[tokio::test]
async fn every_transport_says_why_it_ends_to_version_5_and_just_ends_for_3_1_1() {
    for (cause, code) in CAUSES {
        let v5: fn(&str) -> Vec<u8> = |name| connect_packet(name, None);
        for (connect, said) in [(v5, Some(code)), (connect_packet_3_1_1, None)] {
            let house = House::start().await;
            let clients = house.clients(connect).await;
            match cause {
                Cause::Kick => {
                    for (name, _) in &clients {
                        house.kick(name).await;
                    }
                    hear(clients, said).await;
                }
                Cause::Stop => {
                    let stops = house.broker.broker.shutdown();
                    within(async { tokio::join!(stops, hear(clients, said)) }).await;
                    assert!(!house.authority.path("mqtt.sock").exists());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_websocket_has_the_disconnect_in_a_frame_and_then_a_close_frame() {
    for (cause, code) in CAUSES {
        let house = House::start().await;
        let ws = house.broker.broker.local_addresses()[2];
        let mut frames = Frames::over(TcpStream::connect(ws).await.unwrap()).await;
        frames.send(&frame(0x82, &connect_packet("frames", None))).await;
        frames.next().await;
        let hears = async {
            let (first, disconnect) = frames.next().await.unwrap();
            assert_eq!((first, disconnect[0], disconnect[2]), (0x82, 0xE0, code));
            frames.closes_with(1000).await;
            // A broker that stops waits for the client's side.
            drop(frames);
        };
        match cause {
            Cause::Kick => {
                house.kick("frames").await;
                hears.await;
            }
            Cause::Stop => drop(within(async { tokio::join!(house.broker.broker.shutdown(), hears) }).await),
        }
    }
}
