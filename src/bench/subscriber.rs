//! A client that receives: it checks what comes, acknowledges it, and tells its lane.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use parking_lot::MutexGuard;

use super::board::{Board, Count, Last};
use super::client::{Caller, QUEUE_BYTES_MAX, READS_A_TURN, unexpected};
use super::fault::Fault;
use super::histogram::Histogram;
use super::incoming::{Acknowledged, Arrival, Event};
use super::lane::Lane;
use super::link::Link;
use super::seen::{Place, Seen};
use super::topics::Filters;
use crate::packet::{
    Packet, PacketId, PacketType, ProtocolVersion, QoS, ReasonCode, SubAck, Subscribe, SubscribeFilters,
    SubscribeOptions, UserProperties, encode_ack,
};

/// What a subscriber is due.
#[derive(Clone)]
pub(super) struct Share {
    pub(super) lane: Arc<Lane>,
    /// Which receiver of the lane it is.
    pub(super) receiver: usize,
    /// The number that the lane's first publisher stamps on its messages.
    pub(super) first_publisher: u32,
    pub(super) payload_bytes: usize,
    /// Whether messages of one publisher come in the order in which they were sent.
    pub(super) is_ordered: bool,
    /// Messages that it has read, those that came twice too.
    pub(super) tally: Arc<AtomicU64>,
}

#[derive(Clone)]
pub(super) struct Subscription {
    pub(super) filters: Filters,
    /// Filters in a packet.
    pub(super) batch: usize,
    pub(super) qos: QoS,
}

/// What is to become of a client that connects.
#[derive(Clone)]
pub(super) struct Subscriber {
    pub(super) caller: Caller,
    /// `None` when its session has one already, or it only connects.
    pub(super) subscription: Option<Subscription>,
    pub(super) share: Option<Share>,
    /// Whether the broker has to know its session.
    pub(super) comes_back: bool,
}

impl Subscriber {
    /// Connects, subscribes, and receives until the run stops.
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (link, welcome) = self.caller.call().await?;
        // MQTT 3.1 does not say.
        let is_told = self.caller.greeting.version != ProtocolVersion::V3;
        if self.comes_back && is_told && !welcome.session_present {
            return Err(Fault::NoSession);
        }
        let mut receiving = Receiving::new(&self, link);
        receiving.until_stop().await?;
        self.caller.end(receiving.link).await;
        Ok(())
    }

    /// Connects, subscribes, and leaves as soon as the subscription is there.
    pub(super) async fn subscribe_and_leave(self) -> Result<(), Fault> {
        let (link, _) = self.caller.call().await?;
        let mut receiving = Receiving::new(&self, link);
        poll_fn(|cx| receiving.poll_subscribed(cx)).await?;
        self.caller.end(receiving.link).await;
        Ok(())
    }
}

struct Receiving {
    link: Link,
    board: Arc<Board>,
    share: Option<Share>,
    /// Of the client.
    number: usize,
    intake: Intake,
}

impl Receiving {
    fn new(subscriber: &Subscriber, mut link: Link) -> Receiving {
        let Caller { board, number, greeting, .. } = &subscriber.caller;
        let mut intake = Intake::new(greeting.version, subscriber.subscription.clone());
        link.queue().append(&mut intake.out);
        let (board, share) = (Arc::clone(board), subscriber.share.clone());
        Receiving { link, board, share, number: *number, intake }
    }

    async fn until_stop(&mut self) -> Result<(), Fault> {
        let listener = Arc::clone(&self.board.stage).listen();
        listener.until_stop(|cx, is_ping_due| self.poll_serve(cx, is_ping_due)).await
    }

    fn poll_subscribed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while !self.intake.is_subscribed {
            if let Err(fault) = ready!(self.poll_step(cx)) {
                return Poll::Ready(Err(fault));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends with what went wrong.
    fn poll_serve(&mut self, cx: &mut Context<'_>, is_ping_due: bool) -> Poll<Fault> {
        if is_ping_due {
            self.link.ping();
        }
        for _ in 0..READS_A_TURN {
            if let Err(fault) = ready!(self.poll_step(cx)) {
                return Poll::Ready(fault);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what is queued, and reads once.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if let Poll::Ready(sent) = self.link.poll_send(cx) {
            sent?;
        } else if self.link.queued_bytes() > QUEUE_BYTES_MAX {
            return Poll::Pending;
        }
        ready!(self.poll_read(cx))?;
        // The acknowledgements leave now, in one write.
        if let Poll::Ready(sent) = self.link.poll_send(cx) {
            sent?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Receiving { link, board, share, number, intake } = self;
        let mut look = None;
        let mut harvest = Harvest::default();
        let read = link.poll_receive(cx, &mut |event| match (event, &*share) {
            (Event::Publish(arrival), Some(share)) => {
                let look = look.get_or_insert_with(|| Look::new(board, share, *number));
                intake.on_publish(&arrival, share, look, &mut harvest);
            }
            (event, _) => intake.on_event(&event, &mut harvest),
        });
        let now = look.map(Look::finish);
        let bytes = ready!(read)?;
        board.add(Count::BytesReceived, bytes as u64);
        board.add(Count::Reads, 1);
        harvest.account(board, share.as_ref(), now.unwrap_or_else(|| board.now()));
        link.queue().append(&mut intake.out);
        Poll::Ready(intake.fault.take().map_or(Ok(()), Err))
    }
}

/// What a subscriber knows of the packets that come.
pub(super) struct Intake {
    version: ProtocolVersion,
    /// What is still to be asked for.
    subscription: Option<Subscription>,
    pub(super) is_subscribed: bool,
    /// Acknowledgements and the next SUBSCRIBE, on their way out.
    pub(super) out: Vec<u8>,
    /// A bit for each packet id at QoS 2 whose PUBREL has not come; empty before the first.
    unreleased: Vec<u64>,
    pub(super) fault: Option<Fault>,
}

/// What is at hand while the messages of one read are looked at.
struct Look<'a> {
    now: u64,
    measured: std::ops::Range<u64>,
    ledger: MutexGuard<'a, Vec<Seen>>,
    latency: MutexGuard<'a, Histogram>,
    /// Messages of a batch are due at the same time: that time, and how many there have been in a row.
    due: u64,
    in_a_row: u64,
}

/// What one read brought.
#[derive(Default)]
pub(super) struct Harvest {
    messages: u64,
    received: u64,
    duplicates: u64,
    reordered: u64,
    foreign: u64,
    resent: u64,
    stray: u64,
    pongs: u64,
    subscribed: u64,
}

impl Intake {
    /// Asks for the first of its filters.
    pub(super) fn new(version: ProtocolVersion, subscription: Option<Subscription>) -> Intake {
        let (out, unreleased) = (Vec::new(), Vec::new());
        let mut intake = Intake { version, subscription, is_subscribed: false, out, unreleased, fault: None };
        intake.ask();
        intake
    }

    /// One SUBSCRIBE at a time, until all that it is to have is there.
    fn ask(&mut self) {
        let Some(Subscription { filters, batch, qos }) = &mut self.subscription else { return };
        let texts: Vec<_> = filters.take(*batch).collect();
        let options = SubscribeOptions { qos: *qos, ..SubscribeOptions::default() };
        let list: Vec<_> = texts.iter().map(|text| (text.as_str(), options)).collect();
        if list.is_empty() {
            self.is_subscribed = true;
            return;
        }
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::MAX,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: SubscribeFilters::from_list(&list),
        });
        packet.encode(self.version, &mut self.out);
    }

    #[inline]
    fn on_publish(&mut self, arrival: &Arrival, share: &Share, look: &mut Look<'_>, harvest: &mut Harvest) {
        harvest.messages += 1;
        if arrival.qos != QoS::AtMostOnce && !self.acknowledge(arrival) {
            harvest.resent += 1;
            return;
        }
        let stamp = arrival.stamp.filter(|_| arrival.payload_bytes == share.payload_bytes);
        let Some(stamp) = stamp else { return harvest.foreign += 1 };
        let publisher = stamp.publisher.wrapping_sub(share.first_publisher) as usize;
        let Some(seen) = look.ledger.get_mut(publisher) else { return harvest.foreign += 1 };
        if stamp.number >= share.lane.sent_by(publisher) {
            return harvest.foreign += 1;
        }
        match seen.insert(stamp.number) {
            Place::Twice => return harvest.duplicates += 1,
            Place::Late if share.is_ordered => harvest.reordered += 1,
            _ => {}
        }
        harvest.received += 1;
        look.on_due(stamp.due);
    }

    /// False for a QoS 2 message that has come before under a packet id that is still in use.
    pub(super) fn acknowledge(&mut self, arrival: &Arrival) -> bool {
        let Some(packet_id) = PacketId::new(arrival.packet_id) else {
            self.fault = Some(Fault::NotMqtt("a PUBLISH with packet identifier 0".into()));
            return true;
        };
        if arrival.qos == QoS::AtLeastOnce {
            encode_ack(PacketType::PubAck, packet_id, ReasonCode::Success, self.version, &mut self.out);
            return true;
        }
        encode_ack(PacketType::PubRec, packet_id, ReasonCode::Success, self.version, &mut self.out);
        self.unreleased.resize(1 + usize::from(u16::MAX) / 64, 0);
        let (word, bit) = bit_of(packet_id);
        let is_new = self.unreleased[word] & bit == 0;
        self.unreleased[word] |= bit;
        is_new
    }

    pub(super) fn on_event(&mut self, event: &Event<'_>, harvest: &mut Harvest) {
        match event {
            // Whoever expects no messages at all.
            Event::Publish(_) => harvest.foreign += 1,
            Event::Ack(ack) => self.on_ack(ack, harvest),
            Event::Pong => harvest.pongs += 1,
            Event::Other(packet) => match &**packet {
                Packet::SubAck(suback) => {
                    harvest.subscribed += self.on_suback(suback);
                }
                _ => self.fault = unexpected(event),
            },
        }
    }

    fn on_ack(&mut self, ack: &Acknowledged, harvest: &mut Harvest) {
        match (ack.packet_type, PacketId::new(ack.packet_id)) {
            (PacketType::PubRel, Some(packet_id)) => {
                let (word, bit) = bit_of(packet_id);
                if let Some(word) = self.unreleased.get_mut(word) {
                    *word &= !bit;
                }
                encode_ack(PacketType::PubComp, packet_id, ReasonCode::Success, self.version, &mut self.out);
            }
            _ => harvest.stray += 1,
        }
    }

    /// How many subscriptions it brought.
    fn on_suback(&mut self, suback: &SubAck<'_>) -> u64 {
        let asked = self.subscription.as_ref().map(|subscription| subscription.qos).unwrap_or_default();
        let mut subscribed = 0;
        for reason in suback.reason_codes.iter() {
            match QoS::from_bits(reason as u8) {
                None => self.fault = Some(Fault::SubscriptionRefused(reason)),
                Some(granted) if granted < asked => self.fault = Some(Fault::LowerQoS { granted, asked }),
                Some(_) => subscribed += 1,
            }
        }
        self.ask();
        subscribed
    }
}

fn bit_of(packet_id: PacketId) -> (usize, u64) {
    let id = usize::from(packet_id.get());
    (id / 64, 1 << (id % 64))
}

impl<'a> Look<'a> {
    fn new(board: &'a Board, share: &'a Share, number: usize) -> Look<'a> {
        Look {
            now: board.now(),
            measured: board.measured(),
            ledger: share.lane.ledger(share.receiver),
            latency: board.latency[number % board.latency.len()].lock(),
            due: 0,
            in_a_row: 0,
        }
    }

    #[inline]
    fn on_due(&mut self, due: u64) {
        if due != self.due {
            self.record();
            self.due = due;
        }
        self.in_a_row += 1;
    }

    fn record(&mut self) {
        if self.measured.contains(&self.due) {
            self.latency.record(self.now.saturating_sub(self.due), self.in_a_row);
        }
        self.in_a_row = 0;
    }

    /// When the messages were looked at.
    fn finish(mut self) -> u64 {
        self.record();
        self.now
    }
}

impl Harvest {
    fn account(&self, board: &Board, share: Option<&Share>, now: u64) {
        for (count, n) in [
            (Count::Received, self.received),
            (Count::Duplicates, self.duplicates),
            (Count::Reordered, self.reordered),
            (Count::Foreign, self.foreign),
            (Count::Resent, self.resent),
            (Count::StrayAcks, self.stray),
            (Count::Pongs, self.pongs),
            (Count::Subscribed, self.subscribed),
        ] {
            board.add(count, n);
        }
        for (last, n) in
            [(Last::Received, self.messages), (Last::Pong, self.pongs), (Last::Subscribed, self.subscribed)]
        {
            if n > 0 {
                board.mark(last, now);
            }
        }
        if let Some(share) = share.filter(|_| self.messages > 0) {
            share.tally.fetch_add(self.messages, Relaxed);
            share.lane.on_received(share.receiver, self.received);
        }
    }
}
