//! A client that sends: as much as its lane allows, or what is due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::board::{Board, Count, Last};
use super::client::{Caller, QUEUE_BYTES_MAX, READS_A_TURN, unexpected};
use super::fault::Fault;
use super::incoming::{Acknowledged, Event};
use super::lane::Lane;
use super::link::Link;
use super::outgoing::{MessageKind, Template};
use super::pace::Pace;
use super::stamp::Stamp;
use super::topics::Topics;
use crate::packet::{PacketId, PacketType, ProtocolVersion, QoS, ReasonCode, encode_ack};

#[derive(Clone)]
pub(super) struct Publisher {
    pub(super) caller: Caller,
    pub(super) lane: Arc<Lane>,
    /// Of the publishers of the lane.
    pub(super) index: usize,
    /// Of all publishers of the run; it is on every message.
    pub(super) number: u32,
    pub(super) topic: String,
    pub(super) topics: Topics,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) payload_bytes: usize,
    /// Messages that it sends in all.
    pub(super) count: u64,
    /// Messages at QoS 1 and 2 that may wait for their acknowledgement.
    pub(super) inflight_max: u16,
    /// `None`: as fast as the lane allows.
    pub(super) pace: Option<Arc<Pace>>,
}

impl Publisher {
    /// Connects, and sends until the run stops.
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (link, welcome) = self.caller.call().await?;
        if welcome.maximum_qos < self.qos {
            return Err(Fault::LowerQoS { granted: welcome.maximum_qos, asked: self.qos });
        }
        let inflight_max = self.inflight_max.min(welcome.receive_maximum.get());
        let mut sending = Sending::new(&self, link, inflight_max);
        sending.until_stop().await?;
        self.caller.end(sending.link).await;
        Ok(())
    }
}

struct Sending {
    link: Link,
    board: Arc<Board>,
    version: ProtocolVersion,
    lane: Arc<Lane>,
    index: usize,
    number: u32,
    pace: Option<Arc<Pace>>,
    template: Template,
    qos: QoS,
    inflight: Inflight,
    sent: u64,
    count: u64,
}

impl Sending {
    fn new(publisher: &Publisher, link: Link, inflight_max: u16) -> Sending {
        let Caller { board, greeting, .. } = &publisher.caller;
        let kind = MessageKind {
            version: greeting.version,
            topic: &publisher.topic,
            qos: publisher.qos,
            retain: publisher.retain,
            payload_bytes: publisher.payload_bytes,
            topics: publisher.topics,
        };
        Sending {
            link,
            board: Arc::clone(board),
            version: greeting.version,
            lane: Arc::clone(&publisher.lane),
            index: publisher.index,
            number: publisher.number,
            pace: publisher.pace.clone(),
            template: Template::new(&kind),
            qos: publisher.qos,
            inflight: Inflight::new(inflight_max),
            sent: 0,
            count: publisher.count,
        }
    }

    async fn until_stop(&mut self) -> Result<(), Fault> {
        let listener = Arc::clone(&self.board.stage).listen();
        listener.until_stop(|cx, is_ping_due| self.poll_serve(cx, is_ping_due)).await
    }

    /// Ends with what went wrong.
    fn poll_serve(&mut self, cx: &mut Context<'_>, is_ping_due: bool) -> Poll<Fault> {
        if is_ping_due {
            self.link.ping();
        }
        for _ in 0..READS_A_TURN {
            match self.poll_read(cx) {
                Poll::Ready(Err(fault)) => return Poll::Ready(fault),
                Poll::Ready(Ok(())) => {}
                Poll::Pending => {
                    let Err(fault) = ready!(self.poll_write(cx)) else { return Poll::Pending };
                    return Poll::Ready(fault);
                }
            }
        }
        cx.waker().wake_by_ref();
        match self.poll_write(cx) {
            Poll::Ready(Err(fault)) => Poll::Ready(fault),
            _ => Poll::Pending,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Sending { link, board, inflight, version, qos, .. } = self;
        let (mut acks, mut fault, mut done) = (Vec::new(), None, Done::default());
        let read = link.poll_receive(cx, &mut |event| match event {
            Event::Ack(ack) => inflight.on_ack(&ack, *qos, *version, &mut acks, &mut done),
            Event::Publish(_) => fault = Some(Fault::NotMqtt("a message for a client without subscriptions".into())),
            Event::Pong => {
                board.add(Count::Pongs, 1);
                board.mark(Last::Pong, board.now());
            }
            event => fault = unexpected(&event),
        });
        let bytes = ready!(read)?;
        board.add(Count::BytesReceived, bytes as u64);
        board.add(Count::Acknowledged, done.acknowledged);
        board.add(Count::Refused, done.refused);
        board.add(Count::StrayAcks, done.stray);
        if done.acknowledged > 0 {
            board.mark(Last::Acknowledged, board.now());
        }
        link.queue().append(&mut acks);
        Poll::Ready(fault.map_or(Ok(()), Err))
    }

    /// Sends as long as there is something to send and the kernel takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            ready!(self.link.poll_send(cx))?;
            let n = ready!(self.poll_take(cx));
            self.fill(n);
        }
    }

    /// How many messages may leave now.
    fn poll_take(&self, cx: &Context<'_>) -> Poll<u64> {
        let room = QUEUE_BYTES_MAX / self.template.len();
        let mut max = (self.count - self.sent).min(room.max(1) as u64);
        if self.qos != QoS::AtMostOnce {
            // What is due by the clock leaves as soon as it can.
            max = max.min(if self.pace.is_some() { self.inflight.free() } else { self.inflight.open() });
        }
        if max == 0 {
            // An acknowledgement opens the way, or there is none.
            return Poll::Pending;
        }
        match &self.pace {
            Some(pace) => pace.poll_take(self.number as usize, self.sent, cx).map(|n| n.min(max)),
            None => self.lane.poll_take(self.index, max, cx),
        }
    }

    fn fill(&mut self, n: u64) {
        let now = self.board.now();
        self.lane.on_sent(self.index, n);
        self.board.add(Count::Sent, n);
        for number in self.sent..self.sent + n {
            let due = self.pace.as_ref().map_or(now, |pace| pace.due(self.number as usize, number));
            let packet_id = if self.qos == QoS::AtMostOnce { 0 } else { self.inflight.take() };
            self.template.append(Stamp { publisher: self.number, number, due }, packet_id, self.link.queue());
            if self.pace.is_some() && self.board.measured().contains(&due) {
                self.board.lag.lock().record(now.saturating_sub(due), 1);
            }
        }
        self.sent += n;
    }
}

/// Where an outgoing message stands, by its packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Free,
    Published,
    /// PUBREL has gone; PUBCOMP is due.
    Released,
}

/// Messages that wait for their acknowledgement.
pub(super) struct Inflight {
    /// Packet ids, the one that has been free for longest first.
    free: VecDeque<u16>,
    /// Of packet id 1 and so on.
    steps: Vec<Step>,
}

/// What acknowledgements brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Messages with which it is over.
    pub(super) acknowledged: u64,
    /// Of these, those that the broker would not take.
    pub(super) refused: u64,
    pub(super) stray: u64,
}

impl Inflight {
    pub(super) fn new(max: u16) -> Inflight {
        Inflight { free: (1..=max).collect(), steps: vec![Step::Free; usize::from(max)] }
    }

    fn free(&self) -> u64 {
        self.free.len() as u64
    }

    /// Messages that may leave together: none before a quarter of all may, so that a broker that acknowledges each by itself
    /// does not get each next one by itself.
    fn open(&self) -> u64 {
        if self.free.len() * 4 >= self.steps.len() { self.free() } else { 0 }
    }

    /// A packet id; there is a free one.
    pub(super) fn take(&mut self) -> u16 {
        let id = self.free.pop_front().unwrap_or_default();
        if let Some(step) = self.step(id) {
            *step = Step::Published;
        }
        id
    }

    fn step(&mut self, id: u16) -> Option<&mut Step> {
        self.steps.get_mut(usize::from(id).checked_sub(1)?)
    }

    pub(super) fn on_ack(
        &mut self,
        ack: &Acknowledged,
        qos: QoS,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
        done: &mut Done,
    ) {
        let (Some(step), Some(packet_id)) = (self.step(ack.packet_id), PacketId::new(ack.packet_id)) else {
            done.stray += 1;
            return;
        };
        match (qos, *step, ack.packet_type) {
            (QoS::ExactlyOnce, Step::Published, PacketType::PubRec) if !ack.reason.is_error() => {
                *step = Step::Released;
                encode_ack(PacketType::PubRel, packet_id, ReasonCode::Success, version, out);
                return;
            }
            (QoS::AtLeastOnce, Step::Published, PacketType::PubAck)
            | (QoS::ExactlyOnce, Step::Published, PacketType::PubRec)
            | (QoS::ExactlyOnce, Step::Released, PacketType::PubComp) => *step = Step::Free,
            _ => {
                done.stray += 1;
                return;
            }
        }
        self.free.push_back(ack.packet_id);
        done.acknowledged += 1;
        done.refused += u64::from(ack.reason.is_error());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(packet_type: PacketType, packet_id: u16, reason: ReasonCode) -> Acknowledged {
        Acknowledged { packet_type, packet_id, reason }
    }

    /// What a row of acknowledgements brings to a publisher that has sent two messages.
    fn check(qos: QoS, acks: &[Acknowledged]) -> (Done, Vec<u8>, Vec<u16>) {
        let (mut inflight, mut out, mut done) = (Inflight::new(3), Vec::new(), Done::default());
        assert_eq!([inflight.take(), inflight.take()], [1, 2]);
        acks.iter().for_each(|ack| inflight.on_ack(ack, qos, ProtocolVersion::V5, &mut out, &mut done));
        (done, out, inflight.free.into())
    }

    #[test]
    fn messages_leave_together_when_a_quarter_of_them_may() {
        for (max, hold) in [(1, 0), (3, 0), (10, 2), (100, 24)] {
            let mut inflight = Inflight::new(max);
            let open: Vec<_> = (0..max).map(|_| (inflight.open(), inflight.take()).0).collect();
            let expected = (1..=u64::from(max)).rev().map(|free| if free <= hold { 0 } else { free });
            assert!(open.iter().copied().eq(expected), "{max}: {open:?}");
        }
    }

    #[test]
    fn a_packet_id_is_free_again_when_it_is_over_with_its_message() {
        use PacketType::{PubAck, PubComp, PubRec};
        let ok = ReasonCode::Success;
        let done = |acknowledged, refused, stray| Done { acknowledged, refused, stray };
        let acks = [ack(PubAck, 2, ok), ack(PubAck, 1, ReasonCode::QuotaExceeded), ack(PubAck, 1, ok)];
        assert_eq!(check(QoS::AtLeastOnce, &acks), (done(2, 1, 1), vec![], vec![3, 2, 1]));
        let acks =
            [ack(PubRec, 2, ok), ack(PubComp, 1, ok), ack(PubComp, 2, ok), ack(PubRec, 1, ReasonCode::QuotaExceeded)];
        assert_eq!(check(QoS::ExactlyOnce, &acks), (done(2, 1, 1), vec![0x62, 2, 0, 2], vec![3, 2, 1]));
        for stray in [ack(PubAck, 0, ok), ack(PubAck, 4, ok), ack(PubRec, 1, ok)] {
            assert_eq!(check(QoS::AtLeastOnce, &[stray]), (done(0, 0, 1), vec![], vec![3]));
        }
    }
}
