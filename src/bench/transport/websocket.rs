//! WebSocket of a client: the request, and frames around what is written. Each write is a frame.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::net::websocket::{End, FrameDecoder, OPCODE_CLOSE, OPCODE_PONG, apply_mask, encode_head, poll_early, proof};

/// A write is cut into frames of this size at most: what is masked is copied.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Of the server's answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const OPCODE_BINARY: u8 = 2;
/// In the byte of the length: a mask follows.
const MASKED: u8 = 0x80;
/// Nothing went wrong.
const CLOSE_NORMAL: [u8; 2] = 1000u16.to_be_bytes();

pub(super) struct WebSocket<S> {
    inner: S,
    decoder: FrameDecoder,
    /// What came together with the answer.
    early: Vec<u8>,
    /// Encoded frames, and how much of them has gone.
    out: Vec<u8>,
    written: usize,
    is_closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Asks the server to speak MQTT over WebSocket.
    pub(super) async fn open(mut inner: S, host: &str, path: &str) -> io::Result<Self> {
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        inner.write_all(request.as_bytes()).await?;
        inner.flush().await?;
        let mut answer = Vec::new();
        let end = loop {
            if let Some(at) = memchr::memmem::find(&answer, b"\r\n\r\n") {
                break at + 4;
            }
            if answer.len() > HEAD_BYTES_MAX || inner.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::new(ErrorKind::InvalidData, "no answer to the WebSocket request"));
            }
        };
        check_answer(&answer[..end], &key)?;
        let early = answer.split_off(end);
        let decoder = FrameDecoder::of_server(u64::MAX);
        Ok(WebSocket { inner, decoder, early, out: Vec::new(), written: 0, is_closing: false })
    }
}

fn check_answer(head: &[u8], key: &str) -> io::Result<()> {
    let refused = |what: String| Err(io::Error::new(ErrorKind::InvalidData, what));
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    if response.parse(head).is_err() {
        return refused("the answer to the WebSocket request is no HTTP".into());
    }
    if response.code != Some(101) {
        let (code, reason) = (response.code.unwrap_or_default(), response.reason.unwrap_or_default());
        return refused(format!("the server does not speak WebSocket there: {code} {reason}"));
    }
    let accept = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("Sec-WebSocket-Accept"));
    match accept {
        Some(accept) if accept.value == proof(key).as_bytes() => Ok(()),
        _ => refused("the answer to the WebSocket request is to another one".into()),
    }
}

impl<S> WebSocket<S> {
    fn put_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut head = [0; 10];
        let length = encode_head(payload.len(), &mut head);
        head[0] = 0x80 | opcode;
        head[1] |= MASKED;
        self.out.extend_from_slice(&head[..length]);
        let mask = rand::random::<[u8; 4]>();
        self.out.extend(mask);
        let from = self.out.len();
        self.out.extend_from_slice(payload);
        apply_mask(&mut self.out[from..], mask);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.out[self.written..]))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads once; whether that brought payload, or the end.
    fn poll_payload(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let from = buf.filled().len();
        ready!(poll_early(&mut self.early, &mut self.inner, cx, buf))?;
        let read = &mut buf.filled_mut()[from..];
        let is_end = read.is_empty();
        let payload = self.decoder.decode(read);
        buf.set_filled(from + payload);
        if let Some(ping) = self.decoder.take_ping() {
            self.put_frame(OPCODE_PONG, &ping);
        }
        Poll::Ready(Ok(payload > 0 || is_end))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let websocket = self.get_mut();
        loop {
            match websocket.decoder.end() {
                None => {}
                Some(End::Closed(_)) => return Poll::Ready(Ok(())),
                Some(End::Failed(error)) => return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error))),
            }
            let is_over = ready!(websocket.poll_payload(cx, buf))?;
            // A pong leaves with the next write at the latest.
            if let Poll::Ready(Err(error)) = websocket.poll_out(cx) {
                return Poll::Ready(Err(error));
            }
            if is_over {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let websocket = self.get_mut();
        ready!(websocket.poll_out(cx))?;
        let payload = &buf[..buf.len().min(FRAME_BYTES_MAX)];
        websocket.put_frame(OPCODE_BINARY, payload);
        match websocket.poll_out(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(payload.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let websocket = self.get_mut();
        ready!(websocket.poll_out(cx))?;
        Pin::new(&mut websocket.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let websocket = self.get_mut();
        if !websocket.is_closing {
            websocket.is_closing = true;
            websocket.put_frame(OPCODE_CLOSE, &CLOSE_NORMAL);
        }
        ready!(websocket.poll_out(cx))?;
        Pin::new(&mut websocket.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// A client over an open connection, and the server's end of it.
    async fn open() -> (WebSocket<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (client, mut server) = duplex(1 << 20);
        let answer = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                server.read_buf(&mut request).await.unwrap();
            }
            let request = String::from_utf8(request).unwrap();
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let head = format!("HTTP/1.1 101 Yes\r\nsec-websocket-accept: {}\r\n\r\n", proof(key));
            // With the first frame in the same piece.
            server.write_all(&[head.as_bytes(), b"\x82\x02hi"].concat()).await.unwrap();
        };
        let (client, ()) = tokio::join!(WebSocket::open(client, "host", "/mqtt"), answer);
        (client.unwrap(), server)
    }

    #[tokio::test]
    async fn what_is_written_comes_to_the_server_in_masked_frames() {
        let (mut client, mut server) = open().await;
        let payload: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        client.write_all(&payload).await.unwrap();
        client.shutdown().await.unwrap();
        let mut wire = Vec::new();
        server.read_to_end(&mut wire).await.unwrap();
        let mut decoder = FrameDecoder::new(u64::MAX);
        let decoded = decoder.decode(&mut wire);
        assert_eq!((&wire[..decoded], decoder.end()), (&payload[..], Some(End::Closed(Some(1000)))));
    }

    #[tokio::test]
    async fn payload_comes_out_pings_are_answered_and_a_close_frame_is_the_end() {
        let (mut client, mut server) = open().await;
        server.write_all(b"\x89\x01p\x82\x03abc\x88\0").await.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"hiabc");
        drop(client);
        let mut wire = Vec::new();
        server.read_to_end(&mut wire).await.unwrap();
        assert_eq!((wire[0], wire[1], wire.len()), (0x8A, 0x81, 7));
    }

    #[test]
    fn a_server_that_does_something_else_is_named() {
        let refused = |head: &str| check_answer(head.as_bytes(), "key").unwrap_err().to_string();
        assert!(refused("HTTP/1.1 404 Not Found\r\n\r\n").ends_with("404 Not Found"));
        assert!(refused("SSH-2.0\r\n\r\n").contains("no HTTP"));
        assert!(refused("HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: x\r\n\r\n").contains("another one"));
    }
}
