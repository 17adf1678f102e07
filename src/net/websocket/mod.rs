//! WebSocket as a byte stream: every write is one binary frame, every binary frame's payload is bytes to read.
//!
//! No frame is ever held as a whole, in either direction. A write hands its payload on with a header before it; what the
//! socket does not take of it now belongs to the same frame later. Of control frames at most two wait, so a client that
//! pings and never reads gains nothing.

mod frame;
mod upgrade;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frame::encode_control;
pub use self::frame::{End, FrameDecoder, FrameError};
pub(crate) use self::frame::{OPCODE_CLOSE, OPCODE_PONG, apply_mask, encode_head};
pub(crate) use self::upgrade::proof;
pub use self::upgrade::{Accepted, Refusal, Upgrade, UpgradeRules, upgrade};

/// Nothing went wrong below MQTT (section 7.4.1).
const CLOSE_NORMAL: u16 = 1000;
/// Slices of one write, the frame's header included.
const SLICES_MAX: usize = 65;

/// The frames of one client over an upgraded connection.
pub(super) struct WebSocket<S> {
    inner: S,
    decoder: FrameDecoder,
    /// What came together with the request.
    early: Vec<u8>,
    /// The frame that is being written: what of its header is still to go ...
    head: [u8; 10],
    head_from: u8,
    head_len: u8,
    /// ... and how much payload the header has promised.
    payload_left: usize,
    control: ControlFrames,
    /// Something was written that the layer below may still hold.
    flush_due: bool,
}

/// Encoded control frames on their way out: one that has begun, and the latest after it.
#[derive(Default)]
struct ControlFrames {
    bytes: Vec<u8>,
    written: usize,
    /// After a close frame nothing follows.
    closed: bool,
}

impl ControlFrames {
    fn put(&mut self, opcode: u8, payload: &[u8]) {
        if self.closed {
            return;
        }
        let begun = match self.bytes.get(1) {
            Some(length) if self.written > 0 => 2 + usize::from(*length),
            _ => 0,
        };
        self.bytes.truncate(begun);
        encode_control(opcode, payload, &mut self.bytes);
        self.closed = opcode == OPCODE_CLOSE;
    }

    fn on_written(&mut self, n: usize) {
        self.written += n;
        if let Some(length) = self.bytes.get(1).map(|length| 2 + usize::from(*length))
            && self.written >= length
        {
            self.bytes.drain(..length);
            self.written -= length;
        }
    }
}

impl<S> WebSocket<S> {
    /// `early`: bytes that were read behind the request.
    pub(super) fn new(inner: S, frame_bytes_max: u64, early: Vec<u8>) -> Self {
        WebSocket {
            inner,
            decoder: FrameDecoder::new(frame_bytes_max),
            early,
            head: [0; 10],
            head_from: 0,
            head_len: 0,
            payload_left: 0,
            control: ControlFrames::default(),
            flush_due: false,
        }
    }

    pub(super) fn inner(&self) -> &S {
        &self.inner
    }

    /// Takes bytes from the front of a read and leaves the payload of data frames in it.
    fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let payload = self.decoder.decode(bytes);
        if let Some(ping) = self.decoder.take_ping() {
            self.control.put(OPCODE_PONG, &ping);
        }
        payload
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Hands control frames on, unless a data frame has begun: they wait for its end.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.payload_left > 0 {
            return Poll::Ready(Ok(()));
        }
        while !self.control.bytes.is_empty() {
            let rest = &self.control.bytes[self.control.written..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.control.on_written(n),
            }
            self.flush_due = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Answers pings even when there is nothing else to write.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Poll::Ready(Err(error)) = self.poll_control(cx) {
            return Err(error);
        }
        if self.flush_due {
            match Pin::new(&mut self.inner).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flush_due = false,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// What a client still sends after a broken frame is read and thrown away.
    fn poll_drain(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let from = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            if buf.filled().len() == from {
                return Poll::Ready(Ok(()));
            }
            buf.set_filled(from);
        }
    }

    /// Reads once; how much payload that brought.
    fn poll_payload(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Payload>> {
        let from = buf.filled().len();
        ready!(poll_early(&mut self.early, &mut self.inner, cx, buf))?;
        let read = &mut buf.filled_mut()[from..];
        if read.is_empty() {
            return Poll::Ready(Ok(Payload::EndOfStream));
        }
        let payload = self.decode(read);
        buf.set_filled(from + payload);
        Poll::Ready(Ok(if payload > 0 { Payload::Some } else { Payload::None }))
    }

    /// The write that goes below: what is left of the header, and as much of `slices` as the frame has promised.
    fn poll_frame(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut out = [IoSlice::new(&[]); SLICES_MAX];
        out[0] = IoSlice::new(&self.head[usize::from(self.head_from)..usize::from(self.head_len)]);
        let mut left = self.payload_left;
        let mut filled = 1;
        for (slot, slice) in out[1..].iter_mut().zip(slices) {
            let n = slice.len().min(left);
            *slot = IoSlice::new(&slice[..n]);
            left -= n;
            filled += 1;
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, &out[..filled])
    }

    /// Begins a frame of all of `slices` when none has begun.
    fn begin_frame(&mut self, slices: &[IoSlice<'_>]) {
        if self.payload_left == 0 {
            self.payload_left = slices.iter().take(SLICES_MAX - 1).map(|slice| slice.len()).sum();
            self.head_from = 0;
            self.head_len = encode_head(self.payload_left, &mut self.head) as u8;
        }
    }

    /// Returns how much of `n` written bytes was payload.
    fn on_written(&mut self, n: usize) -> usize {
        self.flush_due = true;
        let of_head = n.min(usize::from(self.head_len - self.head_from));
        self.head_from += of_head as u8;
        self.payload_left -= n - of_head;
        n - of_head
    }
}

/// Hands out what was read together with the head of the HTTP message before anything else is read.
pub(crate) fn poll_early<S: AsyncRead + Unpin>(
    early: &mut Vec<u8>,
    inner: &mut S,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if early.is_empty() {
        return Pin::new(inner).poll_read(cx, buf);
    }
    let n = early.len().min(buf.remaining());
    buf.put_slice(&early[..n]);
    early.drain(..n);
    Poll::Ready(Ok(()))
}

enum Payload {
    Some,
    None,
    EndOfStream,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let websocket = self.get_mut();
        loop {
            websocket.poll_answer(cx)?;
            match websocket.decoder.end() {
                None => {}
                Some(End::Closed(code)) => {
                    websocket.control.put(OPCODE_CLOSE, &code.unwrap_or(CLOSE_NORMAL).to_be_bytes());
                    return Poll::Ready(Ok(()));
                }
                Some(End::Failed(_)) if websocket.control.closed => return websocket.poll_drain(cx, buf),
                Some(End::Failed(error)) => {
                    websocket.control.put(OPCODE_CLOSE, &error.close_code().to_be_bytes());
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
            match ready!(websocket.poll_payload(cx, buf))? {
                Payload::None => {}
                Payload::Some => {
                    websocket.poll_answer(cx)?;
                    return Poll::Ready(Ok(()));
                }
                Payload::EndOfStream => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Whoever got `Pending`, or less than it offered, has to offer the same bytes again: they are promised.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let websocket = self.get_mut();
        ready!(websocket.poll_control(cx))?;
        if websocket.control.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        websocket.begin_frame(slices);
        while websocket.payload_left > 0 {
            let n = ready!(websocket.poll_frame(cx, slices))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let payload = websocket.on_written(n);
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
        Poll::Ready(Ok(0))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let websocket = self.get_mut();
        ready!(websocket.poll_control(cx))?;
        ready!(Pin::new(&mut websocket.inner).poll_flush(cx))?;
        websocket.flush_due = false;
        Poll::Ready(Ok(()))
    }

    /// Says close, unless a frame has begun that will not end any more.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let websocket = self.get_mut();
        websocket.control.put(OPCODE_CLOSE, &CLOSE_NORMAL.to_be_bytes());
        ready!(websocket.poll_control(cx))?;
        Pin::new(&mut websocket.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// A server's side, and the wire of its client, which holds so many bytes.
    fn pair(wire_bytes: usize) -> (WebSocket<DuplexStream>, DuplexStream) {
        let (server, client) = duplex(wire_bytes);
        (WebSocket::new(server, 1 << 20, Vec::new()), client)
    }

    fn write(websocket: &mut WebSocket<DuplexStream>, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        Pin::new(websocket).poll_write_vectored(&mut Context::from_waker(Waker::noop()), &slices)
    }

    fn flush(websocket: &mut WebSocket<DuplexStream>) -> Poll<io::Result<()>> {
        Pin::new(websocket).poll_flush(&mut Context::from_waker(Waker::noop()))
    }

    fn read(websocket: &mut WebSocket<DuplexStream>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 1000];
        let mut buf = ReadBuf::new(&mut bytes);
        let read = Pin::new(websocket).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        read.map_ok(|()| buf.filled().len())
    }

    fn ping(payload: &[u8]) -> Vec<u8> {
        [&[0x89, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    }

    #[tokio::test]
    async fn what_the_wire_does_not_take_is_not_taken() {
        let (mut websocket, mut client) = pair(10);
        assert!(matches!(write(&mut websocket, &[b"012345", b"6789"]), Poll::Ready(Ok(8))));
        assert!(write(&mut websocket, &[b"89", b"later"]).is_pending());
        let mut wire = [0; 10];
        client.read_exact(&mut wire).await.unwrap();
        assert_eq!(&wire, b"\x82\x0a01234567");
        // The frame ends where it was promised to; what came later is another one.
        assert!(matches!(write(&mut websocket, &[b"89", b"later"]), Poll::Ready(Ok(2))));
        assert!(matches!(write(&mut websocket, &[b"later"]), Poll::Ready(Ok(5))));
        client.read_exact(&mut wire[..9]).await.unwrap();
        assert_eq!(&wire[..9], b"89\x82\x05later");
    }

    #[tokio::test]
    async fn a_header_alone_on_a_full_wire_is_no_progress() {
        let (mut websocket, mut client) = pair(2);
        assert!(write(&mut websocket, &[b"abc"]).is_pending());
        let mut wire = [0; 2];
        client.read_exact(&mut wire).await.unwrap();
        assert_eq!(wire, [0x82, 3]);
        assert!(matches!(write(&mut websocket, &[b"abc"]), Poll::Ready(Ok(2))));
    }

    #[tokio::test]
    async fn a_pong_waits_for_the_end_of_the_frame_that_has_begun() {
        let (mut websocket, mut client) = pair(6);
        assert!(matches!(write(&mut websocket, &[b"abcdef"]), Poll::Ready(Ok(4))));
        client.write_all(&ping(b"")).await.unwrap();
        assert!(read(&mut websocket).is_pending());
        let mut wire = [0; 6];
        client.read_exact(&mut wire).await.unwrap();
        assert!(matches!(write(&mut websocket, &[b"ef"]), Poll::Ready(Ok(2))));
        assert!(flush(&mut websocket).is_ready());
        client.read_exact(&mut wire[..4]).await.unwrap();
        assert_eq!(&wire[..4], b"ef\x8a\x00");
    }

    #[tokio::test]
    async fn pings_of_a_client_that_does_not_read_take_no_memory() {
        let (mut websocket, mut client) = pair(200);
        for n in 0..1000u32 {
            client.write_all(&ping(&[n as u8; 125])).await.unwrap();
            assert!(read(&mut websocket).is_pending());
            assert!(websocket.control.bytes.len() <= 2 * 127, "{}", websocket.control.bytes.len());
        }
        // One has gone, one has begun, and the latest follows.
        let mut wire = [0; 3 * 127];
        client.read_exact(&mut wire[..200]).await.unwrap();
        assert!(flush(&mut websocket).is_ready());
        client.read_exact(&mut wire[200..]).await.unwrap();
        let payloads: Vec<_> = wire.chunks(127).map(|pong| pong[2]).collect();
        assert_eq!(payloads, [0, 1, 999u32 as u8]);
    }

    #[tokio::test]
    async fn nothing_is_written_after_a_close_frame() {
        let (mut websocket, mut client) = pair(100);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut websocket).poll_shutdown(&mut cx).is_ready());
        assert!(matches!(write(&mut websocket, &[b"late"]), Poll::Ready(Err(_))));
        client.write_all(&ping(b"late")).await.unwrap();
        assert!(read(&mut websocket).is_pending());
        let mut wire = Vec::new();
        client.read_to_end(&mut wire).await.unwrap();
        assert_eq!(wire, [0x88, 2, 3, 0xE8]);
    }
}
