//! One connection to the broker: bytes out of a queue, events out of bytes.
//!
//! What is read goes through one buffer a thread, so that an idle connection holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt, ReadBuf};

use super::fault::Fault;
use super::greeting::{Greeting, Welcome};
use super::incoming::{Event, Incoming, TAIL_BYTES_MAX};
use super::transport::Wire;
use crate::packet::{Disconnect, Packet, ProtocolVersion};

/// Read at a time.
const READ_BYTES: usize = 256 * 1024;

thread_local! {
    /// Room for the tail of an earlier read, and a read behind it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; TAIL_BYTES_MAX + READ_BYTES].into());
}

pub(super) struct Link {
    wire: Box<dyn Wire>,
    version: ProtocolVersion,
    incoming: Incoming,
    /// What came together with the CONNACK.
    early: Vec<u8>,
    /// What is to be sent, and how much of it has been.
    queue: Vec<u8>,
    sent: usize,
    flush_due: bool,
}

impl Link {
    /// Sends CONNECT and waits for the answer.
    pub(super) async fn open(wire: Box<dyn Wire>, greeting: &Greeting) -> Result<(Link, Welcome), Fault> {
        let mut link = Link {
            wire,
            version: greeting.version,
            incoming: Incoming::new(greeting.version),
            early: Vec::new(),
            queue: Vec::new(),
            sent: 0,
            flush_due: false,
        };
        greeting.encode(&mut link.queue);
        poll_fn(|cx| link.poll_send(cx)).await.map_err(|_| Fault::NoAnswer)?;
        loop {
            if let Some((welcome, len)) = Welcome::decode(&link.early, link.version)? {
                link.early.drain(..len);
                return Ok((link, welcome));
            }
            // A reset comes from a broker that would not even read the packet.
            if matches!(link.wire.read_buf(&mut link.early).await, Ok(0) | Err(_)) {
                return Err(Fault::NoAnswer);
            }
        }
    }

    pub(super) fn ping(&mut self) {
        Packet::PingReq.encode(self.version, &mut self.queue);
    }

    fn disconnect(&mut self) {
        Packet::Disconnect(Disconnect::default()).encode(self.version, &mut self.queue);
    }

    /// Bytes that are still to be sent; whoever appends to them calls [`Link::poll_send`] after that.
    pub(super) fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.queue
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Ready when the kernel has everything.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while self.sent < self.queue.len() {
            let wrote = Pin::new(&mut *self.wire).poll_write(cx, &self.queue[self.sent..]);
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(Fault::Closed)),
                n => self.sent += n,
            }
            self.flush_due = true;
        }
        self.queue.clear();
        self.sent = 0;
        if self.flush_due {
            ready!(Pin::new(&mut *self.wire).poll_flush(cx))?;
            self.flush_due = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; how many bytes that brought.
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        on: &mut impl FnMut(Event<'_>),
    ) -> Poll<Result<usize, Fault>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.incoming.read(&early, on)?;
            return Poll::Ready(Ok(early.len()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let (before, room) = scratch.split_at_mut(TAIL_BYTES_MAX);
            let mut buf = ReadBuf::new(room);
            ready!(Pin::new(&mut *self.wire).poll_read(cx, &mut buf))?;
            let read = buf.filled().len();
            if read == 0 {
                return Poll::Ready(Err(Fault::Closed));
            }
            let tail = self.incoming.tail();
            let from = TAIL_BYTES_MAX - tail.len();
            before[from..].copy_from_slice(tail);
            self.incoming.read(&scratch[from..TAIL_BYTES_MAX + read], on)?;
            Poll::Ready(Ok(read))
        })
    }

    /// Says good-bye, and waits until the broker has closed the connection.
    pub(super) async fn close(self) {
        self.close_and_see(&mut |_| {}).await;
    }

    /// The same for who wants to know what still comes.
    pub(super) async fn close_and_see(mut self, on: &mut impl FnMut(Event<'_>)) {
        self.disconnect();
        let gone = poll_fn(|cx| {
            if let Poll::Ready(Err(_)) = self.poll_send(cx) {
                return Poll::Ready(());
            }
            loop {
                if ready!(self.poll_receive(cx, on)).is_err() {
                    return Poll::Ready(());
                }
            }
        });
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, gone).await;
    }
}

/// A broker that is told good-bye closes at once.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
