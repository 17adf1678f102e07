//! One task a connection: it owns the socket, the protocol state and the session, and is the only joint between
//! protocol and router.
//!
//! A turn looks at everything once: the mailbox (what others want of this session), the socket (every whole packet of
//! one read), the deadlines; then all that the turn produced leaves in one write, on a busy thread after others have
//! read. Nothing is kept between turns but incomplete packets and bytes that are not written yet; buffers are the
//! thread's. A turn's work is bounded, and who has much to do stands in line: a flood on one connection delays no other.
//!
//! ```text
//! Connecting ─CONNECT─► Authenticating ─► Claiming ─► Attached ─► Lingering ─► done
//! ```

mod attach;
mod deliver;
mod ending;
mod gather;
mod held;
mod inbound;
mod line;
mod received;
mod turn;
mod write;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use self::attach::{Attached, AuthAnswer};
use self::ending::Lingering;
pub use self::gather::at_rest;
use self::held::Held;
pub(super) use self::received::Received;
use self::turn::{Done, Turn};
use self::write::Unsent;
use super::admission::Place;
use super::clock::Alarm;
use super::facts::ConnectionFacts;
use super::stream::Stream;
use crate::auth::Exchange;
use crate::packet::ReasonCode;
use crate::protocol::{Connection, Violation};

pub(super) struct Driver {
    stream: Stream,
    place: Place,
    /// Shared with the table of sessions once there is one.
    facts: Arc<ConnectionFacts>,
    connection: Connection,
    stage: Stage,
    /// The start of a packet that is not whole yet, or packets that wait.
    partial: Vec<u8>,
    /// What the socket did not take.
    unsent: Option<Box<Unsent>>,
    /// Answers whose promises are not safe yet.
    held: Option<Box<Held>>,
    /// Too much waits for the disk: no PUBLISH is taken.
    store_busy: bool,
    /// It has waited for more messages once, and takes what there is.
    has_gathered: bool,
    /// When it last had something to write.
    served: gather::Moment,
    ticket: line::Ticket,
    alarm: Alarm,
}

enum Stage {
    /// Waiting for CONNECT.
    Connecting,
    /// Waiting for the authenticator.
    Authenticating(Pin<Box<dyn Future<Output = AuthAnswer> + Send>>),
    /// Waiting for the client's next AUTH.
    Exchanging(Box<dyn Exchange>),
    /// Waiting for another driver to hand the session over.
    Claiming(Box<attach::Claiming>),
    Attached(Box<Attached>),
    /// The session is let go; the last words are on their way.
    Lingering(Box<Lingering>),
    Done,
}

/// Why a connection ends.
pub(super) enum End {
    /// The client closed, or the network failed.
    Lost(String),
    /// The client sent DISCONNECT.
    Disconnected(ReasonCode),
    /// The client broke a rule of the transport, which says so itself.
    Broken(String),
    /// The client broke a rule, or the broker wants it gone: say so.
    Closed(Violation),
    /// A client id that another connection claimed before this one had its session.
    Superseded,
}

impl End {
    /// Whether the client hears what is still to be said.
    fn speaks(&self) -> bool {
        matches!(self, End::Closed(_) | End::Disconnected(_) | End::Broken(_))
    }
}

/// What a turn, or a part of it, came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Some,
    None,
}

/// Turns of one poll before other tasks get theirs, ...
const TURNS_MAX: u32 = 8;
/// ... or fewer, when they have done so much: a client at full speed does not hold up the others for long.
const POLL_WORK_MAX: u64 = 256 * 1024;

/// For the runtime: a thread has nothing to do.
pub fn thread_parks() {
    gather::thread_parks();
    line::thread_parks();
}

impl Driver {
    pub(super) fn new(stream: Stream, facts: ConnectionFacts, place: Place) -> Self {
        let Place { listener, accepted_at, .. } = &place;
        // The deadline of CONNECT counts from accept: handshakes do not stretch it.
        let connection = Connection::new(listener.settings.load_full(), *accepted_at, listener.connect_timeout);
        Driver {
            alarm: Alarm::new(&place.shared.clock),
            stream,
            place,
            facts: Arc::new(facts),
            connection,
            stage: Stage::Connecting,
            partial: Vec::new(),
            unsent: None,
            held: None,
            store_busy: false,
            has_gathered: false,
            served: 0,
            ticket: line::Ticket::default(),
        }
    }

    /// Adds to `done` what it does.
    fn poll_turns(&mut self, cx: &mut Context<'_>, turn: &mut Turn, done: &mut Done) -> Poll<()> {
        self.take_put_off(turn);
        for _ in 0..TURNS_MAX {
            turn.begin(self.place.shared.clock.now());
            let progress = self.turn(cx, turn);
            *done += turn.finish(&self.place.shared);
            match progress {
                _ if matches!(self.stage, Stage::Done) => return Poll::Ready(()),
                _ if self.has_put_off() => return Poll::Pending,
                _ if done.work >= POLL_WORK_MAX => break,
                Progress::Some if self.rests(cx) => return Poll::Pending,
                Progress::Some => {}
                Progress::None => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// True when a turn would find nothing in the socket or the mailbox, and whatever comes there wakes the task. What is
    /// not as usual is left to that turn. Deadlines are not looked at.
    fn rests(&self, cx: &mut Context<'_>) -> bool {
        let Stage::Attached(attached) = &self.stage else { return false };
        let is_waited_for = self.unsent.is_some() || self.held.is_some() || attached.page.is_some() || self.is_owed();
        let may_rest = attached.answered && self.partial.is_empty() && !is_waited_for;
        may_rest && self.stream.rests(cx) && attached.mailbox.rests(cx.waker(), self.under_way())
    }

    /// Looks at everything once; or only writes what was put off, when nothing has come meanwhile.
    fn turn(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Progress {
        if let Stage::Lingering(_) = self.stage {
            return self.linger(cx, turn);
        }
        let worked = self.work(cx, turn).and_then(|progress| {
            self.flush_turn(cx, turn)?;
            self.check_stuck(turn.batch.now)?;
            Ok(progress)
        });
        worked.unwrap_or_else(|end| self.end(cx, end, turn))
    }

    fn work(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        // Most who have let others go first find nothing new, and only write.
        if turn.is_overdue && self.rests(cx) {
            self.poll_deadlines(cx, turn)?;
            return Ok(Progress::Some);
        }
        let answered = self.poll_stage(cx, turn)?;
        let kept = self.poll_held(cx, turn)?;
        let delivered = self.poll_mailbox(cx, turn)?;
        let read = self.poll_read(cx, turn)?;
        let own = self.poll_own(cx, turn)?;
        self.poll_deadlines(cx, turn)?;
        self.settle(cx, turn)?;
        let any = [answered, kept, delivered, read, own].contains(&Progress::Some);
        // What was put off may not be taken now: then it gets its deadline in another turn.
        Ok(if any || turn.is_overdue { Progress::Some } else { Progress::None })
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<(), End> {
        let now = turn.batch.now;
        if self.reading_rests() {
            self.connection.rest_keep_alive(now);
        }
        self.connection.handle_timeout(now).map_err(End::Closed)?;
        let mut next = self.connection.next_timeout();
        if let Some(unsent) = &self.unsent {
            next = next.min(unsent.stuck_at(self.place.listener.write_timeout));
        }
        if self.alarm.poll_as_of(now, next, cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        // Without a session nobody can signal this task: the broker's end wakes it by its alarm, which has to be set.
        if !matches!(self.stage, Stage::Attached(_)) && self.place.shared.is_stopping() {
            return Err(End::Closed(Violation::new(ReasonCode::ServerShuttingDown, "the broker stops")));
        }
        Ok(())
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        // Who has let others go first does not stand in line for what was put off.
        let has_waited = driver.has_put_off();
        let begun = if has_waited { line::Begun::default() } else { ready!(driver.ticket.begin(cx)) };
        gather::note_poll();
        let mut done = Done::default();
        let poll = turn::with(|turn| {
            turn.comes_late = has_waited || begun.stood;
            driver.poll_turns(cx, turn, &mut done)
        });
        if !has_waited {
            driver.ticket.end(begun, done);
        }
        poll
    }
}

impl Drop for Driver {
    /// A session that nobody has let go (the runtime is being dropped, or a panic) is parked, never lost.
    fn drop(&mut self) {
        let has_session = matches!(self.stage, Stage::Attached(_) | Stage::Claiming(_));
        if !has_session && !self.is_speaking() {
            return;
        }
        let mut turn = Turn::default();
        turn.begin(self.place.shared.clock.now());
        self.drop_held(&mut turn);
        if has_session {
            self.release(&End::Lost("the connection's task ended".into()), &mut turn);
        } else {
            self.count_lost_qos0(&mut turn);
        }
        turn.finish(&self.place.shared);
    }
}
