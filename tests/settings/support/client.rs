//! A client that says what it is told to, and waits for what has to come back. It acknowledges nothing by itself.

use std::net::SocketAddr;
use std::time::Duration;

use midge::packet::{
    Ack, Connect, Disconnect, Packet, PacketId, ProtocolVersion, Publish, QoS, ReasonCode, Subscribe, SubscribeFilters,
    SubscribeOptions, Unsubscribe, UnsubscribeFilters,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::received::Received;

/// How long what has to come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    stream: TcpStream,
    version: ProtocolVersion,
    inbox: Vec<u8>,
    last_id: u16,
}

impl Client {
    pub async fn dial(address: SocketAddr, version: ProtocolVersion) -> Client {
        Client::over(TcpStream::connect(address).await.expect("the broker accepts connections"), version)
    }

    /// A client whose system takes few bytes for it: what it does not read soon stays with the broker.
    pub async fn dial_narrow(address: SocketAddr, version: ProtocolVersion) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small receive buffer");
        Client::over(socket.connect(address).await.expect("the broker accepts connections"), version)
    }

    fn over(stream: TcpStream, version: ProtocolVersion) -> Client {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Client { stream, version, inbox: Vec::new(), last_id: 0 }
    }

    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the broker reads").expect("an open connection");
    }

    pub async fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes);
        self.send_bytes(&bytes).await;
    }

    /// The next packet; `None` when the broker closes instead.
    pub async fn next_or_close(&mut self) -> Option<Received> {
        loop {
            if let Some(received) = Received::take(&mut self.inbox, self.version) {
                return Some(received);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbox)).await.expect("an answer in time");
            if !matches!(read, Ok(1..)) {
                assert!(self.inbox.is_empty(), "closed within a packet: {:02x?}", self.inbox);
                return None;
            }
        }
    }

    /// Reads on after the broker has cut the connection; false at its end, which may be in the middle of a packet.
    pub async fn next_or_partial(&mut self) -> bool {
        self.inbox.clear();
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbox)).await.expect("an answer in time");
        matches!(read, Ok(1..))
    }

    pub async fn next(&mut self) -> Received {
        self.next_or_close().await.expect("a packet, not the end of the connection")
    }

    /// The next packet reads like this.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> impl Future<Output = Received> {
        let caller = std::panic::Location::caller();
        async move {
            let received = self.next_or_close().await;
            let found = received.as_ref().map_or_else(|| "the end of the connection".to_owned(), Received::to_string);
            assert_eq!(found, text, "at {caller}");
            received.expect("just seen")
        }
    }

    /// The broker closes, and says nothing before.
    #[track_caller]
    pub fn expect_closed(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            if let Some(received) = self.next_or_close().await {
                panic!("{received} instead of the end of the connection, at {caller}");
            }
        }
    }

    /// Nothing is there for this client: the answer to a ping is the next packet.
    #[track_caller]
    pub fn ping(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.send(&Packet::PingReq).await;
            let received = self.next().await;
            assert_eq!(received.to_string(), "PINGRESP", "at {caller}");
        }
    }

    /// Sends CONNECT; the answer may be a CONNACK or an AUTH.
    pub async fn connect(&mut self, connect: Connect<'_>) -> Received {
        self.send(&Packet::Connect(connect)).await;
        self.next().await
    }

    fn next_id(&mut self) -> PacketId {
        self.last_id = self.last_id % u16::MAX + 1;
        PacketId::new(self.last_id).expect("never 0")
    }

    /// Subscribes to one filter: `"0x01"` is what came back.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> String {
        self.subscribe_with(filter, SubscribeOptions { qos, ..SubscribeOptions::default() }).await
    }

    pub async fn subscribe_with(&mut self, filter: &str, options: SubscribeOptions) -> String {
        let received = self.subscribe_all(&[(filter, options)]).await;
        codes(&received)
    }

    /// One SUBSCRIBE with several filters; its SUBACK comes next.
    pub async fn subscribe_all(&mut self, filters: &[(&str, SubscribeOptions)]) -> Received {
        self.send_subscribe_all(filters).await;
        self.next().await
    }

    /// SUBSCRIBE, whatever comes next.
    pub async fn send_subscribe(&mut self, filter: &str, qos: QoS) {
        self.send_subscribe_all(&[(filter, SubscribeOptions { qos, ..SubscribeOptions::default() })]).await;
    }

    async fn send_subscribe_all(&mut self, filters: &[(&str, SubscribeOptions)]) {
        let subscribe = Subscribe {
            packet_id: self.next_id(),
            subscription_identifier: None,
            user_properties: Default::default(),
            filters: SubscribeFilters::from_list(filters),
        };
        self.send(&Packet::Subscribe(subscribe)).await;
    }

    pub async fn unsubscribe(&mut self, filter: &str) -> String {
        self.send_unsubscribe(filter).await;
        codes(&self.next().await)
    }

    /// UNSUBSCRIBE, whatever comes next.
    pub async fn send_unsubscribe(&mut self, filter: &str) {
        let filters = [filter];
        let unsubscribe = Unsubscribe {
            packet_id: self.next_id(),
            user_properties: Default::default(),
            filters: UnsubscribeFilters::from_list(&filters),
        };
        self.send(&Packet::Unsubscribe(unsubscribe)).await;
    }

    /// Sends a message; gives it an identifier when it needs one and has none.
    pub async fn publish(&mut self, mut publish: Publish<'_>) {
        if publish.qos != QoS::AtMostOnce && publish.packet_id.is_none() {
            publish.packet_id = Some(self.next_id());
        }
        self.send(&Packet::Publish(publish)).await;
    }

    /// Sends a message at QoS 1 or 2 and waits for what comes next, which is its PUBACK or PUBREC: `"0x10"`, or `""` in 3.x.
    pub async fn offer(&mut self, publish: Publish<'_>) -> String {
        self.publish(publish).await;
        let received = self.next().await;
        assert!(matches!(received.packet(), Packet::PubAck(_) | Packet::PubRec(_)), "{received}");
        codes(&received)
    }

    /// Waits for the answer to a message that was sent: its acknowledgement, or at QoS 0 that of a ping.
    pub async fn offer_or_pong(&mut self, qos: QoS) {
        match qos {
            QoS::AtMostOnce => self.ping().await,
            _ => drop(self.next().await),
        }
    }

    /// Acknowledges a delivery at QoS 1.
    pub async fn acknowledge(&mut self, delivery: &Received) {
        let packet_id = delivery.publish().packet_id.expect("a delivery at QoS 1");
        self.send(&Packet::PubAck(ack(packet_id))).await;
    }

    pub async fn send_pubrec(&mut self, packet_id: PacketId) {
        self.send(&Packet::PubRec(ack(packet_id))).await;
    }

    pub async fn send_pubcomp(&mut self, packet_id: PacketId) {
        self.send(&Packet::PubComp(ack(packet_id))).await;
    }

    pub async fn send_pubrel(&mut self, packet_id: PacketId) {
        self.send(&Packet::PubRel(ack(packet_id))).await;
    }

    /// DISCONNECT, and the broker has let go of the session.
    pub async fn leave(self) {
        self.leave_with(Disconnect::default()).await;
    }

    pub async fn leave_with(mut self, disconnect: Disconnect<'_>) {
        self.send(&Packet::Disconnect(disconnect)).await;
        while self.next_or_close().await.is_some() {}
    }

    /// The network breaks, and the broker has noticed and let go of the session.
    pub async fn vanish(mut self) {
        self.stream.shutdown().await.expect("an open connection");
        while self.next_or_close().await.is_some() {}
    }
}

fn ack(packet_id: PacketId) -> Ack<'static> {
    Ack { packet_id, reason_code: ReasonCode::Success, reason_string: None, user_properties: Default::default() }
}

/// What follows the packet identifier of an acknowledgement.
fn codes(received: &Received) -> String {
    let text = received.to_string();
    let (_, rest) = text.split_once('#').unwrap_or_else(|| panic!("no acknowledgement: {text}"));
    rest.split_once(' ').map_or(String::new(), |(_, codes)| codes.to_owned())
}
