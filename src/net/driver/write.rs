//! Out to the socket: everything a turn produced in one write, what is left over kept until the socket takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::turn::Turn;
use super::{Driver, End, POLL_WORK_MAX, Stage, gather};
use crate::message::{BrokerTime, DropCause};
use crate::net::stream::Stream;
use crate::protocol::{Output, Slices};
use crate::router::UnderWay;

/// Bytes that the socket did not take.
pub(super) struct Unsent {
    /// Being written; nothing is put behind it, so that a client that is always behind does not keep what it has got.
    out: Output,
    written: usize,
    /// Comes after it.
    later: Output,
    /// When it last took some.
    pub(super) since: BrokerTime,
}

impl Unsent {
    /// When it will have stood still for too long: not in the moment in which it is others' turn.
    pub(super) fn stuck_at(&self, write_timeout: Duration) -> BrokerTime {
        self.since.after(write_timeout.max(Duration::from_millis(1)))
    }

    /// Bytes in memory, written or not.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.out.len() + self.later.len()
    }
}

/// More than some hundred acknowledgements have waited long enough.
const PUT_OFF_BYTES_MAX: usize = 1024;
/// The kernel is given so many bytes before others get their turn, or what is little more: it takes a megabyte at once.
pub(super) const WRITE_BYTES_MAX: usize = POLL_WORK_MAX as usize;
pub(super) const WRITE_BYTES_ALONG: usize = WRITE_BYTES_MAX / 4;

enum Wrote {
    All,
    /// So many bytes in all, then the socket had no room, or it is others' turn; maybe all, but not yet handed to the
    /// kernel.
    Part(usize),
}

impl Driver {
    /// Writes what the turn produced; keeps what the socket does not take.
    pub(super) fn flush_turn(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<(), End> {
        turn.is_overdue = false;
        self.flush_unsent(cx, turn)?;
        if turn.out.is_empty() || self.puts_off(cx, turn) {
            return Ok(());
        }
        turn.batch.counts.packets_sent += turn.out.packets;
        if let Some(unsent) = &mut self.unsent {
            unsent.later.append(&mut turn.out);
            return Ok(());
        }
        turn.count(&self.place.shared);
        let (wrote, bytes) = write_all(&mut self.stream, cx, &turn.out, 0).map_err(lost)?;
        turn.batch.counts.bytes_sent += bytes as u64;
        match wrote {
            Wrote::All => turn.batch.counts.delivered_qos0 += std::mem::take(&mut turn.out.qos0_messages),
            Wrote::Part(written) => {
                let out = turn.out.split_off();
                let later = Output::default();
                self.unsent = Some(Box::new(Unsent { out, written, later, since: turn.batch.now }));
            }
        }
        Ok(())
    }

    /// On a busy thread a few answers wait until others have read what has come for them. True when they do. Not where
    /// the transport may say that it ends when it is read: they would come behind that.
    fn puts_off(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        let Stage::Attached(attached) = &mut self.stage else { return false };
        let is_little = turn.out.qos0_messages == 0 && turn.out.len() <= PUT_OFF_BYTES_MAX;
        let may_wait = !turn.comes_late && self.unsent.is_none() && !self.stream.says_farewell();
        let waits = is_little && may_wait && gather::pays(self.served);
        self.served = gather::now();
        if waits {
            attached.put_off = Some(Box::new(turn.out.take_exact()));
            cx.waker().wake_by_ref();
        }
        waits
    }

    pub(super) fn has_put_off(&self) -> bool {
        matches!(&self.stage, Stage::Attached(attached) if attached.put_off.is_some())
    }

    /// At the beginning of a poll: others have had their turn.
    pub(super) fn take_put_off(&mut self, turn: &mut Turn) {
        let Stage::Attached(attached) = &mut self.stage else { return };
        if let Some(mut out) = attached.put_off.take() {
            turn.out.append(&mut out);
            turn.is_overdue = true;
        }
    }

    fn flush_unsent(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<(), End> {
        while let Some(unsent) = &mut self.unsent {
            let taken = self.stream.bytes_taken();
            let (wrote, bytes) = write_all(&mut self.stream, cx, &unsent.out, unsent.written).map_err(lost)?;
            turn.batch.counts.bytes_sent += bytes as u64;
            if bytes > 0 || self.stream.bytes_taken() != taken {
                unsent.since = turn.batch.now;
            }
            match wrote {
                Wrote::Part(written) => {
                    unsent.written = written;
                    return Ok(());
                }
                Wrote::All => turn.batch.counts.delivered_qos0 += unsent.out.qos0_messages,
            }
            if unsent.later.is_empty() {
                self.unsent = None;
                // The mailbox and the socket may go on now.
                cx.waker().wake_by_ref();
            } else {
                unsent.out = unsent.later.split_off();
                unsent.written = 0;
            }
        }
        Ok(())
    }

    /// After another try to write.
    pub(super) fn check_stuck(&self, now: BrokerTime) -> Result<(), End> {
        match &self.unsent {
            Some(unsent) if now >= unsent.stuck_at(self.place.listener.write_timeout) => {
                Err(End::Lost("the client did not take a packet within the write timeout".into()))
            }
            _ => Ok(()),
        }
    }

    /// QoS 0 messages that the kernel has not taken are not delivered.
    pub(super) fn count_lost_qos0(&mut self, turn: &mut Turn) {
        let unsent = self.unsent.take().map_or(0, |unsent| unsent.out.qos0_messages + unsent.later.qos0_messages);
        let lost = unsent + std::mem::take(&mut turn.out.qos0_messages);
        self.lose(DropCause::ConnectionLost, lost, &mut turn.batch);
    }

    /// What the mailbox is told of the bytes that wait for the socket.
    pub(super) fn unsent_under_way(&self) -> UnderWay {
        let Some(unsent) = &self.unsent else { return UnderWay::default() };
        UnderWay {
            unsent_qos0: (unsent.out.qos0_messages + unsent.later.qos0_messages).try_into().unwrap_or(u32::MAX),
            unsent_packets: (unsent.out.packets + unsent.later.packets).try_into().unwrap_or(u32::MAX),
            unsent_bytes: self.unsent_bytes() as u64,
            ..UnderWay::default()
        }
    }

    /// How much is waiting for the socket.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.as_ref().map_or(0, |unsent| unsent.out.len() - unsent.written + unsent.later.len())
    }
}

fn lost(error: io::Error) -> End {
    End::Lost(format!("write: {error}"))
}

/// Writes from `written` on until all is out, the socket has no room, or enough for one poll of the task has been
/// written, which then is polled again; also returns how many bytes went.
fn write_all(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    out: &Output,
    mut written: usize,
) -> io::Result<(Wrote, usize)> {
    let from = written;
    let is_much = out.len() - from > WRITE_BYTES_MAX + WRITE_BYTES_ALONG;
    let until = if is_much { from + WRITE_BYTES_MAX } else { out.len() };
    while written < until {
        let mut slices = Slices::new();
        out.fill_slices(written..until, &mut slices);
        let stream = Pin::new(&mut *stream);
        // To take one is less for the kernel than to take a list.
        let poll = match &slices[..] {
            [one] => stream.poll_write(cx, one),
            _ => stream.poll_write_vectored(cx, &slices),
        };
        match poll {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => written += n,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok((Wrote::Part(written), written - from)),
        }
    }
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(error)) => Err(error),
        Poll::Ready(Ok(())) if written == out.len() => Ok((Wrote::All, written - from)),
        // It is others' turn, or TLS has taken it and the kernel has not.
        _ => Ok((Wrote::Part(written), written - from)),
    }
}
