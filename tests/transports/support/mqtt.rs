//! MQTT 5 as far as transports need it, over any byte stream.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for what has to happen.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it hangs")
}

pub struct Client<S> {
    pub stream: S,
    received: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push((left % 128) as u8 | more);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// MQTT 5, clean start, without keep alive; with a will if there is a topic for it.
pub fn connect_packet(client_id: &str, will: Option<&str>) -> Vec<u8> {
    let flags = if will.is_some() { 0x06 } else { 0x02 };
    let will = will.map_or_else(Vec::new, |topic| [vec![0], text(topic), text("gone")].concat());
    packet(0x10, &[&text("MQTT"), &[5, flags, 0, 0, 0], &text(client_id), &will])
}

/// MQTT 3.1.1, clean session, without keep alive.
pub fn connect_packet_3_1_1(client_id: &str) -> Vec<u8> {
    packet(0x10, &[&text("MQTT"), &[4, 2, 0, 0], &text(client_id)])
}

/// QoS 0, or QoS 1 with the packet id 1.
pub fn publish_packet(topic: &str, payload: &[u8], qos: u8) -> Vec<u8> {
    let packet_id: &[u8] = if qos > 0 { &[0, 1] } else { &[] };
    packet(0x30 | qos << 1, &[&text(topic), packet_id, &[0], payload])
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(stream: S) -> Self {
        Client { stream, received: Vec::new() }
    }

    /// Over a stream on which MQTT may begin.
    pub async fn connect(stream: S, client_id: &str) -> Self {
        Self::connect_with_will(stream, client_id, None).await
    }

    pub async fn connect_with_will(stream: S, client_id: &str, will: Option<&str>) -> Self {
        let mut client = Client::new(stream);
        client.try_connect(client_id, will).await.unwrap();
        client
    }

    /// An error when the connection breaks before the CONNACK.
    pub async fn try_connect(&mut self, client_id: &str, will: Option<&str>) -> io::Result<()> {
        within(self.stream.write_all(&connect_packet(client_id, will))).await?;
        within(self.stream.flush()).await?;
        let connack = self.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:?}");
        Ok(())
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
        within(self.stream.flush()).await.unwrap();
    }

    /// The next packet, whole.
    pub async fn packet(&mut self) -> Vec<u8> {
        self.next().await.expect("the broker closed the connection")
    }

    /// The next packet; `None` when the stream ended in order before it.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.try_next().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// An error when the stream breaks.
    pub async fn try_next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(len) = packet_len(&self.received).filter(|len| *len <= self.received.len()) {
                return Ok(Some(self.received.drain(..len).collect()));
            }
            if within(self.stream.read_buf(&mut self.received)).await? == 0 {
                assert!(self.received.is_empty(), "half a packet: {:?}", self.received);
                return Ok(None);
            }
        }
    }

    pub async fn subscribe(&mut self, filter: &str) {
        self.send(&packet(0x82, &[&[0, 1, 0], &text(filter), &[1]])).await;
        assert_eq!(self.packet().await, [0x90, 4, 0, 1, 0, 1]);
    }

    /// Publishes at QoS 1; the reason code of its acknowledgement.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> u8 {
        self.send(&publish_packet(topic, payload, 1)).await;
        let puback = self.packet().await;
        assert_eq!(puback[0], 0x40, "{puback:?}");
        puback.get(4).copied().unwrap_or(0)
    }

    /// The payload of the PUBLISH that comes next; it is not acknowledged.
    pub async fn message(&mut self) -> Vec<u8> {
        let publish = self.packet().await;
        assert_eq!(publish[0] >> 4, 3, "{publish:?}");
        let head = packet_head_len(&publish).unwrap();
        let topic = usize::from(u16::from_be_bytes([publish[head], publish[head + 1]]));
        let packet_id = if publish[0] & 0x06 > 0 { 2 } else { 0 };
        let properties = head + 2 + topic + packet_id;
        publish[properties + 1 + usize::from(publish[properties])..].to_vec()
    }

    /// A round trip: the connection works both ways.
    pub async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        assert_eq!(self.packet().await, [0xD0, 0]);
    }

    /// The connection ends without another packet. A reset is an end, too.
    pub async fn ends(&mut self) {
        let n = within(self.stream.read_buf(&mut self.received)).await;
        assert!(matches!(n, Ok(0) | Err(_)), "{:?}", self.received);
    }
}

fn packet_head_len(bytes: &[u8]) -> Option<usize> {
    let last = bytes.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0)?;
    Some(last + 2)
}

fn packet_len(bytes: &[u8]) -> Option<usize> {
    let head = packet_head_len(bytes)?;
    let length = bytes[1..head].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7F));
    Some(head + length)
}
