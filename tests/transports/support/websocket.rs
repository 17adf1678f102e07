//! WebSocket clients: one that is not ours, for what should work, and bare frames, for what should not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::within;

/// The bytes in the frames of tokio-websockets; each write is a frame.
pub struct WebSocketClient<S> {
    frames: WebSocketStream<S>,
    received: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketClient<S> {
    /// Asks for the subprotocol of MQTT at the default path.
    pub async fn over(stream: S) -> Self {
        Self::with_headers(stream, &[]).await
    }

    pub async fn with_headers(stream: S, headers: &[(&'static str, &'static str)]) -> Self {
        let mut builder = ClientBuilder::new().uri("ws://localhost/mqtt").unwrap();
        for (name, value) in [("sec-websocket-protocol", "mqtt")].iter().chain(headers) {
            builder = builder.add_header(name.parse().unwrap(), value.parse().unwrap()).unwrap();
        }
        let (frames, response) = within(builder.connect_on(stream)).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
        WebSocketClient { frames, received: Bytes::new() }
    }
}

fn io_error(error: tokio_websockets::Error) -> io::Error {
    io::Error::other(error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketClient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let client = self.get_mut();
        while client.received.is_empty() {
            let Some(message) = ready!(Pin::new(&mut client.frames).poll_next(cx)) else { return Poll::Ready(Ok(())) };
            let message = message.map_err(io_error)?;
            // Close frames are answered by the library.
            if message.is_binary() {
                client.received = Bytes::from(message.into_payload());
            }
        }
        let n = client.received.len().min(buf.remaining());
        buf.put_slice(&client.received[..n]);
        client.received.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketClient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let client = self.get_mut();
        ready!(Pin::new(&mut client.frames).poll_ready(cx)).map_err(io_error)?;
        Pin::new(&mut client.frames).start_send(Message::binary(buf.to_vec())).map_err(io_error)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().frames).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().frames).poll_close(cx).map_err(io_error)
    }
}

/// A request for MQTT over WebSocket, with these lines instead of, or beside, the usual ones.
pub fn request(path: &str, lines: &[&str]) -> String {
    let usual = [
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
    ];
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let kept = usual.into_iter().filter(|line| !lines.iter().any(|other| name(other) == name(line)));
    let all: Vec<_> = kept.chain(lines.iter().copied()).collect();
    format!("GET {path} HTTP/1.1\r\n{}\r\n\r\n", all.join("\r\n"))
}

/// Frames as bytes; nothing is answered but what a test answers.
pub struct Frames<S> {
    pub stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Sends a request; the whole head of the response.
    pub async fn request(mut stream: S, request: impl AsRef<[u8]>) -> (String, Self) {
        within(stream.write_all(request.as_ref())).await.unwrap();
        let mut frames = Frames { stream, received: Vec::new() };
        loop {
            if let Some(end) = frames.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = frames.received.drain(..end + 4).collect();
                return (String::from_utf8(head).unwrap(), frames);
            }
            assert!(frames.read().await > 0, "{:?}", String::from_utf8_lossy(&frames.received));
        }
    }

    /// Upgraded, ready for frames.
    pub async fn over(stream: S) -> Self {
        let (response, frames) = Frames::request(stream, &request("/mqtt", &[])).await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        frames
    }

    async fn read(&mut self) -> usize {
        within(self.stream.read_buf(&mut self.received)).await.unwrap()
    }

    /// What follows the head of a refusal, until the end.
    pub async fn body(mut self) -> String {
        while self.read().await > 0 {}
        String::from_utf8(self.received).unwrap()
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    /// The next frame's first byte and payload; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((head, len)) = self.head().filter(|(head, len)| self.received.len() >= head + len) {
                let frame: Vec<_> = self.received.drain(..head + len).collect();
                return Some((frame[0], frame[head..].to_vec()));
            }
            if self.read().await == 0 {
                assert!(self.received.is_empty(), "half a frame: {:?}", self.received);
                return None;
            }
        }
    }

    fn head(&self) -> Option<(usize, usize)> {
        let length = *self.received.get(1)?;
        assert_eq!(length & 0x80, 0, "a server does not mask");
        match length {
            126 => Some((4, usize::from(u16::from_be_bytes(*self.received[2..].first_chunk()?)))),
            127 => Some((10, u64::from_be_bytes(*self.received[2..].first_chunk()?) as usize)),
            length => Some((2, usize::from(length))),
        }
    }

    /// A close frame with this code, and then the end.
    pub async fn closes_with(&mut self, code: u16) {
        assert_eq!(self.next().await, Some((0x88, code.to_be_bytes().to_vec())));
        assert_eq!(self.next().await, None);
    }
}

/// A frame as clients send it, with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
