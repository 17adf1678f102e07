//! How a connection ends: the last words, letting go of the session, and waiting for the client to close too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::turn::Turn;
use super::{Driver, End, Progress, Stage};
use crate::message::{BrokerTime, DropCause};
use crate::router::{Batch, Mailbox};

/// A connection without a session: until what was said last is out, and then until the client has closed its side, for
/// closing with its bytes unread would destroy what is on its way to it. After DISCONNECT a client sends nothing more
/// ([MQTT-3.14.4-1]), so without TLS or WebSocket, which have last words of their own, it is not waited for when all is
/// with the kernel.
pub(super) struct Lingering {
    until: BrokerTime,
    bytes_left: usize,
    /// Everything is with the kernel, the end of the stream too.
    has_spoken: bool,
    /// Of the session that was let go: what is still unsent may yet be lost.
    mailbox: Option<Arc<Mailbox>>,
}

impl Lingering {
    pub(super) fn lose(&self, cause: DropCause, copies: u64, batch: &mut Batch) {
        match &self.mailbox {
            Some(mailbox) => mailbox.lose(cause, copies, batch),
            None => batch.counts.dropped[cause as usize] += copies,
        }
    }
}

/// How long the last words may take, and the client to close its own side. When the broker stops, `shutdown_timeout` ends
/// it all, and this is how long a client may take nothing.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what a closed connection still sends is read and thrown away.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

impl Driver {
    /// Ends the connection: the session is let go now, what is to be said has a little time.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, end: End, turn: &mut Turn) -> Progress {
        // The client has closed since; it may still read.
        if turn.is_overdue && !end.speaks() {
            let _ = self.flush_turn(cx, turn);
        }
        self.settle_last(&end, turn);
        let mailbox = self.release(&end, turn);
        let until = turn.batch.now.after(LINGER);
        let lingering = Lingering { until, bytes_left: LINGER_BYTES_MAX, has_spoken: false, mailbox };
        self.stage = Stage::Lingering(Box::new(lingering));
        // Acknowledgements of what came before a DISCONNECT are due as well.
        let is_writable = end.speaks() && self.flush_turn(cx, turn).is_ok();
        let is_awaited = is_writable && (self.is_speaking() || !matches!(end, End::Disconnected(_)));
        if !is_awaited && !self.stream.says_farewell() {
            self.finish(turn);
        }
        Progress::Some
    }

    /// Something that was said is not with the kernel yet.
    pub(super) fn is_speaking(&self) -> bool {
        self.unsent.is_some() || self.held.is_some()
    }

    /// Writes what is left, then reads and throws away until the client has closed.
    pub(super) fn linger(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Progress {
        match self.poll_linger(cx, turn) {
            Poll::Ready(()) => self.finish(turn),
            Poll::Pending => {
                let Stage::Lingering(lingering) = &self.stage else { return Progress::None };
                if self.alarm.poll(lingering.until, cx).is_pending() {
                    return Progress::None;
                }
                self.finish(turn);
            }
        }
        Progress::Some
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        let spoken = self.poll_last_words(cx, turn);
        if let Poll::Ready(Err(_)) = spoken {
            return Poll::Ready(());
        }
        // A client that is busy writing reads only when it has got rid of that.
        let heard = self.poll_discard(cx, turn);
        ready!(spoken).ok();
        heard
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<Result<(), End>> {
        self.poll_held(cx, turn)?;
        self.flush_turn(cx, turn)?;
        let (is_stopping, is_speaking) = (self.place.shared.is_stopping(), self.is_speaking());
        let Stage::Lingering(lingering) = &mut self.stage else { return Poll::Ready(Ok(())) };
        if let Some(unsent) = &self.unsent
            && is_stopping
        {
            lingering.until = lingering.until.max(unsent.since.after(LINGER));
        }
        if is_speaking {
            return Poll::Pending;
        }
        if !lingering.has_spoken {
            // [MQTT-3.2.2-7], [MQTT-3.14.4-2]
            let shut = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
            shut.map_err(|error| End::Lost(error.to_string()))?;
            lingering.has_spoken = true;
            if is_stopping {
                lingering.until = turn.batch.now.after(LINGER);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the client has closed, or will not stop talking.
    fn poll_discard(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        loop {
            let Stage::Lingering(lingering) = &mut self.stage else { return Poll::Ready(()) };
            if lingering.bytes_left == 0 {
                return Poll::Ready(());
            }
            let mut buf = ReadBuf::new(&mut turn.scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            let n = buf.filled().len();
            lingering.bytes_left = lingering.bytes_left.saturating_sub(n);
            if read.is_err() || n == 0 {
                return Poll::Ready(());
            }
        }
    }

    fn finish(&mut self, turn: &mut Turn) {
        self.drop_held(turn);
        self.count_lost_qos0(turn);
        self.stage = Stage::Done;
    }
}
