//! QoS 1 and 2 to the client: packet ids, the window, what is in flight and what must be sent again.
//!
//! ```text
//!   base                                    next
//!    ▼                                       ▼
//!  [ Sent │ done │ Released │ Sent │ Sent ]  …       packet id = 1 + sequence number mod 65,535
//!            ▲ resume: everything from base on that is not done goes out again, in this order
//! ```
//! A slot lives from PUBLISH to PUBACK or PUBCOMP. Its place is its sequence number, so an acknowledgement finds it at
//! once, whatever order acknowledgements come in; an id whose last use is still open makes the next message wait.

use std::collections::VecDeque;
use std::ops::Range;

use super::action::Kept;
use crate::message::{Delivery, GroupId, Member, RowId, RunDelivery};
use crate::packet::{PacketId, QoS};

#[derive(Debug, Default)]
pub(super) struct Outbound {
    slots: VecDeque<Slot>,
    /// Sequence number of the first slot.
    base: u64,
    /// Slots that are not done: no more than there are packet ids.
    open: u16,
    /// Slots sent on this network connection, or released, and not done: what the window counts.
    outstanding: u16,
    /// The client's Receive Maximum, or the configured window.
    window: u16,
    /// After a reconnect, until all is sent again.
    resending: Option<Box<Resending>>,
    /// The runs that [`Slot::SentOfRun`] refers to. Most connections are idle, and have none.
    runs: Option<Box<SentRuns>>,
}

#[derive(Debug)]
struct Resending {
    /// From which slot on PUBREL is to be sent again; [`NOTHING`] when all are.
    release: u64,
    /// The same for PUBLISH, which waits for the window.
    publish: u64,
}

/// In the order in which they were sent.
#[derive(Debug, Default)]
struct SentRuns(VecDeque<SentRun>);

#[derive(Debug)]
struct SentRun {
    /// The sequence numbers of its slots.
    slots: Range<u64>,
    /// Slots that still refer to it.
    open: u16,
    /// There as long as there are any.
    run: Option<RunDelivery>,
}

impl SentRuns {
    /// The next slot is about to refer to the run.
    fn note(&mut self, run: &RunDelivery, seq: u64) {
        let is_it = |last: &SentRun| last.slots.end == seq && last.run.as_ref().is_some_and(|it| it.is_like(run));
        match self.0.back_mut() {
            Some(last) if is_it(last) => {
                last.slots.end += 1;
                last.open += 1;
            }
            _ => self.0.push_back(SentRun { slots: seq..seq + 1, open: 1, run: Some(run.clone()) }),
        }
    }

    fn index(&self, seq: u64) -> usize {
        // Most are acknowledged in their order.
        let is_first = self.0.front().is_some_and(|first| seq < first.slots.end);
        if is_first { 0 } else { self.0.partition_point(|run| run.slots.end <= seq) }
    }

    /// The run that a slot refers to.
    fn of(&self, seq: u64) -> Option<&RunDelivery> {
        self.0.get(self.index(seq))?.run.as_ref()
    }

    /// A slot refers to its run no more.
    fn release(&mut self, seq: u64) {
        let index = self.index(seq);
        let Some(of) = self.0.get_mut(index) else { return };
        of.open -= 1;
        if of.open == 0 {
            of.run = None;
            while self.0.pop_front_if(|first| first.run.is_none()).is_some() {}
        }
    }

    fn is_large_for_nothing(&self) -> bool {
        self.0.is_empty() && self.0.capacity() > RUNS_KEPT
    }
}

/// Behind every slot that there will ever be.
const NOTHING: u64 = u64::MAX;

#[derive(Debug)]
enum Slot {
    Done,
    /// PUBLISH sent, waiting for PUBACK or PUBREC ([MQTT-4.3.2-3], [MQTT-4.3.3-3]).
    Sent(Box<Delivery>),
    /// The same, of one that came with others: where it is in its run, and its QoS.
    SentOfRun(u32, QoS),
    /// PUBREL sent, waiting for PUBCOMP ([MQTT-4.3.3-5]). The message is the client's ([MQTT-4.3.3-6]); where it is stored
    /// stays known.
    Released(RowId),
}

impl Slot {
    /// The QoS of the message and where it is stored, while PUBLISH is the last that was sent.
    fn sent_with(&self) -> Option<(QoS, RowId)> {
        match self {
            Slot::Sent(delivery) => Some((delivery.qos, delivery.row)),
            Slot::SentOfRun(_, qos) => Some((*qos, RowId::NONE)),
            Slot::Done | Slot::Released(_) => None,
        }
    }
}

/// What an acknowledgement did.
#[derive(Debug)]
pub(super) enum Acked {
    /// The delivery is complete (PUBACK, PUBCOMP) or was refused by the client (an error code).
    Completed(Kept),
    /// PUBREC: send PUBREL.
    Release(RowId),
    /// Nothing is in flight under this id.
    Unknown,
    /// The acknowledgement does not belong to the QoS or state of the message.
    Mismatch,
}

/// What is to be sent again.
#[derive(Debug)]
pub(super) enum Resend {
    Publish(PacketId, Delivery),
    /// Where the message is stored stays known.
    PubRel(PacketId, RowId),
}

/// Packet ids are 1 to 65,535 ([MQTT-2.2.1-4]).
const PACKET_IDS: u64 = 65_535;

fn packet_id(seq: u64) -> PacketId {
    PacketId::MIN.saturating_add((seq % PACKET_IDS) as u16)
}

impl Outbound {
    /// A network connection begins: nothing is outstanding on it but what is released, and all that is open is to be
    /// sent again ([MQTT-4.4.0-1]).
    pub(super) fn connect(&mut self, window: u16) {
        self.window = window; // [MQTT-4.9.0-1]
        self.outstanding = self.released() as u16;
        self.resending = (self.open > 0).then(|| Box::new(Resending { release: self.base, publish: self.base }));
    }

    /// How many may begin now: none while a PUBLISH is still to be sent again, and never more than there are free packet
    /// ids.
    pub(super) fn window_free(&self) -> u32 {
        if self.is_resending() {
            return 0;
        }
        let free_ids = PACKET_IDS.saturating_sub(self.slots.len() as u64) as u32;
        u32::from(self.window.saturating_sub(self.outstanding)).min(free_ids) // [MQTT-3.3.4-9], [MQTT-4.9.0-2]
    }

    /// Messages sent and not completely acknowledged.
    pub(super) fn open(&self) -> u32 {
        u32::from(self.open)
    }

    /// The delivery is being sent for the first time: under this id ([MQTT-4.3.2-1], [MQTT-4.3.3-1]).
    pub(super) fn begin(&mut self, delivery: Delivery) -> PacketId {
        let id = self.next_packet_id();
        self.slots.push_back(Slot::Sent(Box::new(delivery)));
        self.count_begun();
        id
    }

    /// The same for one of a run.
    pub(super) fn begin_member(&mut self, run: &RunDelivery, member: &Member<'_>) {
        let seq = self.base + self.slots.len() as u64;
        self.runs.get_or_insert_default().note(run, seq);
        // Made where it stays: a slot that is moved is waited for.
        self.slots.resize_with(self.slots.len() + 1, || Slot::SentOfRun(member.at, run.qos));
        self.count_begun();
    }

    fn count_begun(&mut self) {
        debug_assert!(!self.is_resending(), "what was in flight before goes first");
        self.open += 1;
        self.outstanding += 1;
    }

    /// The id that [`Outbound::begin`] will give.
    pub(super) fn next_packet_id(&self) -> PacketId {
        packet_id(self.base + self.slots.len() as u64)
    }

    pub(super) fn on_puback(&mut self, id: PacketId) -> Acked {
        let Some(index) = self.index(id) else { return Acked::Unknown };
        match self.slots[index].sent_with() {
            Some((QoS::AtLeastOnce, _)) => self.complete(index),
            None if matches!(self.slots[index], Slot::Done) => Acked::Unknown,
            _ => Acked::Mismatch,
        }
    }

    /// `refused`: the reason code is 0x80 or more, which ends the delivery ([MQTT-4.4.0-2]).
    pub(super) fn on_pubrec(&mut self, id: PacketId, refused: bool) -> Acked {
        let Some(index) = self.index(id) else { return Acked::Unknown };
        match (&self.slots[index], self.slots[index].sent_with()) {
            (_, Some((QoS::ExactlyOnce, row))) => {
                if refused {
                    return self.complete(index);
                }
                self.outstanding += u16::from(!self.is_counted(index));
                self.leave_run(index);
                self.slots[index] = Slot::Released(row);
                Acked::Release(row)
            }
            (Slot::Released(row), _) => Acked::Release(*row),
            (Slot::Done, _) => Acked::Unknown,
            _ => Acked::Mismatch,
        }
    }

    pub(super) fn on_pubcomp(&mut self, id: PacketId) -> Acked {
        let Some(index) = self.index(id) else { return Acked::Unknown };
        match &self.slots[index] {
            Slot::Released(_) => self.complete(index),
            Slot::Done => Acked::Unknown,
            Slot::Sent(_) | Slot::SentOfRun(..) => Acked::Mismatch,
        }
    }

    /// The next to send again: every PUBREL, which no window delays ([MQTT-3.3.4-10]), then PUBLISH while the window
    /// has room; each in the original order ([MQTT-4.6.0-1]).
    pub(super) fn next_resend(&mut self) -> Option<Resend> {
        let Resending { release, publish } = **self.resending.as_ref()?;
        let seq = self.find(release, |slot| matches!(slot, Slot::Released(_)));
        self.resend_from(seq.map_or(NOTHING, |seq| seq + 1), publish);
        if let Some(seq) = seq
            && let Some(Slot::Released(row)) = self.slots.get((seq - self.base) as usize)
        {
            return Some(Resend::PubRel(packet_id(seq), *row));
        }
        if self.outstanding >= self.window {
            return None;
        }
        let seq = self.find(publish, |slot| slot.sent_with().is_some());
        self.resend_from(NOTHING, seq.map_or(NOTHING, |seq| seq + 1));
        let seq = seq?;
        let delivery = self.sent(seq)?;
        self.outstanding += 1;
        Some(Resend::Publish(packet_id(seq), delivery))
    }

    fn resend_from(&mut self, release: u64, publish: u64) {
        let is_over = (release, publish) == (NOTHING, NOTHING);
        self.resending = self.resending.take().filter(|_| !is_over);
        if let Some(resending) = &mut self.resending {
            **resending = Resending { release, publish };
        }
    }

    /// The delivery in that slot, while PUBLISH is the last that was sent.
    fn sent(&self, seq: u64) -> Option<Delivery> {
        match self.slots.get((seq - self.base) as usize)? {
            Slot::Sent(delivery) => Some((**delivery).clone()),
            Slot::SentOfRun(at, _) => Some(self.runs.as_ref()?.of(seq)?.delivery_at(*at)),
            Slot::Done | Slot::Released(_) => None,
        }
    }

    /// The first slot from `seq` on that is wanted.
    fn find(&self, seq: u64, wanted: impl Fn(&Slot) -> bool) -> Option<u64> {
        (seq.max(self.base)..self.base + self.slots.len() as u64)
            .find(|seq| self.slots.get((seq - self.base) as usize).is_some_and(&wanted))
    }

    /// Whether `outstanding` has this slot in it: all but a PUBLISH that is still to be sent again.
    fn is_counted(&self, index: usize) -> bool {
        let is_sent_again = |at| self.slots[index].sent_with().is_none() || self.base + (index as u64) < at;
        self.resending.as_ref().is_none_or(|resending| is_sent_again(resending.publish))
    }

    /// From which slot on PUBLISH is to be sent again.
    fn next_publish(&self) -> u64 {
        self.resending.as_ref().map_or(NOTHING, |resending| resending.publish)
    }

    pub(super) fn is_resending(&self) -> bool {
        self.next_publish() != NOTHING
    }

    /// QoS 1 copies in flight that a shared group would get back, but for those of runs, which are not stored.
    pub(super) fn shared(&mut self, group: GroupId) -> impl Iterator<Item = &mut Delivery> {
        self.slots.iter_mut().filter_map(move |slot| match slot {
            Slot::Sent(delivery) if delivery.qos == QoS::AtLeastOnce && delivery.group == Some(group) => {
                Some(&mut **delivery)
            }
            _ => None,
        })
    }

    /// A delivery that turned out too large when it was to be sent again: over as if it had been acknowledged.
    pub(super) fn give_up(&mut self, id: PacketId) -> Option<Kept> {
        let index = self.index(id)?;
        let kept = self.kept(index);
        let is_publish = self.slots[index].sent_with().is_some();
        self.finish(index);
        is_publish.then_some(kept)
    }

    /// The session ends. How many deliveries end with it: those whose PUBREL is out, and those of runs that are no
    /// group's. And the others: QoS 1 copies may go to other members; a QoS 2 delivery that has started may not.
    pub(super) fn into_deliveries(self) -> (u64, impl Iterator<Item = (Delivery, bool)>) {
        let runs = self.runs.unwrap_or_default();
        let (mut own, mut others) = (0, Vec::new());
        for (seq, slot) in (self.base..).zip(self.slots) {
            let delivery = match slot {
                Slot::Done => continue,
                Slot::Sent(delivery) => Some(*delivery),
                Slot::SentOfRun(at, _) => runs.of(seq).filter(|run| run.group.is_some()).map(|run| run.delivery_at(at)),
                Slot::Released(_) => None,
            };
            let Some(delivery) = delivery else {
                own += 1;
                continue;
            };
            let may_move = delivery.qos != QoS::ExactlyOnce; // [MQTT-4.8.2-5]
            others.push((delivery, may_move));
        }
        (own, others.into_iter())
    }

    /// A start of the broker: deliveries that had been sent with QoS 2, in their order, each under its id; those without
    /// a delivery are released.
    pub(super) fn restore(sent: impl Iterator<Item = (PacketId, RowId, Option<Delivery>)>) -> Self {
        let mut outbound = Outbound::default();
        for (id, row, delivery) in sent {
            if outbound.slots.is_empty() {
                outbound.base = u64::from(id.get()) - 1;
            }
            // Ids that lie between were other deliveries', and are done.
            while outbound.next_packet_id() != id && (outbound.slots.len() as u64) < PACKET_IDS {
                outbound.slots.push_back(Slot::Done);
            }
            outbound.slots.push_back(delivery.map_or(Slot::Released(row), |delivery| Slot::Sent(Box::new(delivery))));
            outbound.open += 1;
        }
        outbound
    }

    /// The last row of QoS 1 that is in flight.
    pub(super) fn sent_up_to(&self) -> RowId {
        let row = |slot: &Slot| match slot {
            Slot::Sent(delivery) if delivery.qos == QoS::AtLeastOnce && delivery.group.is_none() => Some(delivery.row),
            _ => None,
        };
        self.slots.iter().filter_map(row).max().unwrap_or(RowId::NONE)
    }

    /// Deliveries whose PUBREL is out: the client has the message, only PUBCOMP is missing.
    fn released(&self) -> u64 {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Released(_))).count() as u64
    }

    fn index(&self, id: PacketId) -> Option<usize> {
        let first = u64::from(packet_id(self.base).get());
        let ahead = (u64::from(id.get()) + PACKET_IDS - first) % PACKET_IDS;
        ((ahead as usize) < self.slots.len()).then_some(ahead as usize)
    }

    fn complete(&mut self, index: usize) -> Acked {
        let kept = self.kept(index);
        self.finish(index);
        Acked::Completed(kept)
    }

    fn kept(&self, index: usize) -> Kept {
        match &self.slots[index] {
            // A started QoS 2 delivery is its session's own.
            Slot::Sent(delivery) if delivery.qos == QoS::ExactlyOnce => Kept { row: delivery.row, group: None },
            Slot::Sent(delivery) => Kept { row: delivery.row, group: delivery.group },
            Slot::Released(row) => Kept { row: *row, group: None },
            Slot::SentOfRun(..) | Slot::Done => Kept::default(),
        }
    }

    fn finish(&mut self, index: usize) {
        self.outstanding -= u16::from(self.is_counted(index));
        self.open -= 1;
        self.leave_run(index);
        self.slots[index] = Slot::Done;
        while self.slots.pop_front_if(|slot| matches!(slot, Slot::Done)).is_some() {
            self.base += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > SLOTS_KEPT {
            self.slots = VecDeque::new();
        }
    }

    /// The slot is about to be something else.
    fn leave_run(&mut self, index: usize) {
        if let (Slot::SentOfRun(..), Some(runs)) = (&self.slots[index], &mut self.runs) {
            runs.release(self.base + index as u64);
            self.runs.take_if(|runs| runs.is_large_for_nothing());
        }
    }
}

/// An idle session keeps no more room than this.
const SLOTS_KEPT: usize = 16;
const RUNS_KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::message::{BrokerTime, Draft, MessageParts, PublisherId, RowId, RunBuilder, SubscriptionIds};

    fn draft(qos: QoS, n: u64) -> Draft {
        Draft::new(&MessageParts {
            topic_prefix: "",
            topic: "t",
            forward: &[],
            payload: &n.to_be_bytes(),
            qos,
            retain: false,
            expires_at: BrokerTime::NEVER,
            publisher: PublisherId(1),
        })
    }

    fn delivery(qos: QoS, n: u64) -> Delivery {
        let message = draft(qos, n).to_message();
        Delivery { message, qos, retain: false, subscription_ids: SubscriptionIds::None, group: None, row: RowId::NONE }
    }

    fn number(delivery: &Delivery) -> u64 {
        u64::from_be_bytes(delivery.message.payload().try_into().unwrap())
    }

    fn connected(window: u16) -> Outbound {
        let mut outbound = Outbound::default();
        outbound.connect(window);
        outbound
    }

    fn resent(outbound: &mut Outbound) -> Vec<String> {
        std::iter::from_fn(|| outbound.next_resend())
            .map(|again| match again {
                Resend::Publish(id, delivery) => format!("P{id}:{}", number(&delivery)),
                Resend::PubRel(id, _) => format!("R{id}"),
            })
            .collect()
    }

    #[test]
    fn acknowledgements_in_any_order_complete_the_right_delivery() {
        let mut outbound = connected(10);
        let stored = |n| Delivery { row: RowId(n), ..delivery(QoS::AtLeastOnce, n) };
        let ids: Vec<_> = (0..4).map(|n| outbound.begin(stored(n))).collect();
        for n in [2usize, 0, 3, 1] {
            let Acked::Completed(kept) = outbound.on_puback(ids[n]) else { panic!("{n}") };
            assert_eq!(kept.row, RowId(n as u64));
        }
        assert_eq!((outbound.open(), outbound.window_free(), outbound.slots.len()), (0, 10, 0));
        assert!(matches!(outbound.on_puback(ids[0]), Acked::Unknown));
    }

    // [MQTT-2.2.1-4], [MQTT-4.3.2-1]
    #[test]
    fn packet_ids_go_round_and_skip_zero() {
        let mut outbound = connected(10);
        for n in 0..200_000u64 {
            let id = outbound.begin(delivery(QoS::AtLeastOnce, n));
            assert_eq!(u64::from(id.get()), 1 + n % 65_535);
            assert!(matches!(outbound.on_puback(id), Acked::Completed(_)));
        }
    }

    #[test]
    fn an_id_that_is_still_open_closes_the_window() {
        let mut outbound = connected(u16::MAX);
        let first = outbound.begin(delivery(QoS::AtLeastOnce, 0));
        for n in 1..65_535 {
            let id = outbound.begin(delivery(QoS::AtLeastOnce, n));
            outbound.on_puback(id);
        }
        assert_eq!((outbound.open(), outbound.window_free()), (1, 0));
        outbound.on_puback(first);
        assert_eq!((outbound.open(), outbound.window_free()), (0, 65_535));
    }

    // [MQTT-4.3.3-4], [MQTT-4.3.3-6]
    #[test]
    fn qos_2_goes_through_release_to_completion() {
        let mut outbound = connected(10);
        let id = outbound.begin(delivery(QoS::ExactlyOnce, 0));
        assert!(matches!(outbound.on_pubcomp(id), Acked::Mismatch));
        assert!(matches!(outbound.on_puback(id), Acked::Mismatch));
        assert!(matches!(outbound.on_pubrec(id, false), Acked::Release(_)));
        assert!(matches!(outbound.on_pubrec(id, false), Acked::Release(_)));
        assert_eq!(outbound.window_free(), 9);
        assert!(matches!(outbound.on_pubcomp(id), Acked::Completed(_)));
        assert!(matches!(outbound.on_pubrec(id, false), Acked::Unknown));
    }

    // [MQTT-4.4.0-2]
    #[test]
    fn a_refused_delivery_is_over() {
        let mut outbound = connected(10);
        let id = outbound.begin(delivery(QoS::ExactlyOnce, 0));
        assert!(matches!(outbound.on_pubrec(id, true), Acked::Completed(_)));
        outbound.connect(10);
        assert!(resent(&mut outbound).is_empty());
    }

    #[test]
    fn a_run_is_let_go_with_the_last_of_its_messages_whatever_is_open_before() {
        let mut outbound = connected(u16::MAX);
        let run = |qos| {
            let mut messages = RunBuilder::default();
            (0..3).for_each(|n| messages.push(&draft(qos, n)));
            RunDelivery::new(messages.finish().expect("some"), qos, SubscriptionIds::None)
        };
        let held = |outbound: &Outbound| {
            let runs = outbound.runs.iter().flat_map(|runs| &runs.0);
            runs.filter(|run| run.run.is_some()).count()
        };
        let mut last = Vec::new();
        for n in 0..1_000 {
            let run = run(if n % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce });
            last = run
                .members()
                .map(|member| (outbound.next_packet_id(), outbound.begin_member(&run, &member)).0)
                .collect();
            for id in last.iter().rev().filter(|_| n > 0) {
                assert_eq!(held(&outbound), 2, "the first, and this one");
                match run.qos {
                    QoS::AtLeastOnce => assert!(matches!(outbound.on_puback(*id), Acked::Completed(_))),
                    _ => assert!(matches!(outbound.on_pubrec(*id, false), Acked::Release(_))),
                }
            }
            assert_eq!(held(&outbound), 1);
        }
        assert!(matches!(outbound.on_pubcomp(last[1]), Acked::Completed(_)));
        outbound.connect(u16::MAX);
        let publishes = resent(&mut outbound).into_iter().filter(|sent| sent.starts_with('P'));
        assert_eq!(publishes.collect::<Vec<_>>(), ["P1:0", "P2:1", "P3:2"]);
        for id in [1, 2, 3] {
            outbound.on_puback(PacketId::new(id).unwrap());
        }
        assert_eq!(held(&outbound), 0);
    }

    // [MQTT-4.8.2-4], [MQTT-4.8.2-5]
    #[test]
    fn of_a_run_only_what_came_from_a_group_may_move() {
        let mut messages = RunBuilder::default();
        (0..3).for_each(|n| messages.push(&draft(QoS::ExactlyOnce, n)));
        let run = messages.finish().expect("some");
        let mut outbound = connected(u16::MAX);
        for (group, qos) in [(0, QoS::AtLeastOnce), (1, QoS::AtLeastOnce), (2, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)]
        {
            let mut copies = RunDelivery::new(run.clone(), qos, SubscriptionIds::None);
            copies.group = NonZeroU32::new(group).map(GroupId);
            copies.members().for_each(|member| outbound.begin_member(&copies, &member));
        }
        outbound.on_puback(PacketId::new(4).unwrap());
        outbound.on_pubrec(PacketId::new(12).unwrap(), false);
        let (own, others) = outbound.into_deliveries();
        let others: Vec<_> = others
            .map(|(delivery, may_move)| (delivery.group.map_or(0, |group| group.0.get()), number(&delivery), may_move))
            .collect();
        assert_eq!(own, 3 + 1, "of no group, and released");
        let expected = [(1, 1, true), (1, 2, true), (2, 0, true), (2, 1, true), (2, 2, true)];
        assert_eq!(others, [&expected[..], &[(2, 0, false), (2, 1, false)]].concat());
    }

    // [MQTT-4.4.0-1], [MQTT-4.6.0-1]
    #[test]
    fn a_reconnect_resends_what_is_open_in_the_original_order_with_the_original_ids() {
        let mut outbound = connected(10);
        let ids: Vec<_> = (0..4)
            .map(|n| outbound.begin(delivery(if n == 1 { QoS::ExactlyOnce } else { QoS::AtLeastOnce }, n)))
            .collect();
        outbound.on_pubrec(ids[1], false);
        outbound.on_puback(ids[2]);
        outbound.connect(10);
        assert_eq!(outbound.window_free(), 0, "closed for new messages until all is sent again");
        assert_eq!(resent(&mut outbound), ["R2", "P1:0", "P4:3"]);
        assert_eq!((outbound.open(), outbound.window_free()), (3, 7));
    }

    // [MQTT-3.3.4-10]
    #[test]
    fn a_closed_window_delays_no_pubrel() {
        let mut outbound = connected(10);
        let ids: Vec<_> = (0..5).map(|n| outbound.begin(delivery(QoS::ExactlyOnce, n))).collect();
        outbound.on_pubrec(ids[2], false);
        outbound.on_pubrec(ids[4], false);
        outbound.connect(3);
        assert_eq!(resent(&mut outbound), ["R3", "R5", "P1:0"]);
        assert!(matches!(outbound.on_pubcomp(ids[2]), Acked::Completed(_)));
        assert_eq!(resent(&mut outbound), ["P2:1"]);
        for id in [ids[0], ids[1]] {
            assert!(matches!(outbound.on_pubrec(id, false), Acked::Release(_)));
        }
        for id in [ids[0], ids[1], ids[4], ids[3]] {
            let sent = resent(&mut outbound);
            assert_eq!(sent, if id == ids[1] { vec!["P4:3"] } else { vec![] }, "{id}");
            outbound.on_pubrec(id, false);
            assert!(matches!(outbound.on_pubcomp(id), Acked::Completed(_)));
        }
        assert_eq!((outbound.open(), outbound.outstanding), (0, 0));
    }

    #[test]
    fn an_acknowledgement_before_the_publish_is_sent_again_keeps_the_count() {
        let mut outbound = connected(10);
        let ids: Vec<_> = (0..3).map(|n| outbound.begin(delivery(QoS::ExactlyOnce, n))).collect();
        outbound.connect(1);
        assert_eq!(resent(&mut outbound), ["P1:0"]);
        assert!(matches!(outbound.on_pubrec(ids[1], false), Acked::Release(_)));
        assert!(matches!(outbound.on_pubrec(ids[2], true), Acked::Completed(_)));
        assert_eq!((outbound.open(), outbound.outstanding), (2, 2));
        outbound.on_pubcomp(ids[1]);
        outbound.on_pubrec(ids[0], false);
        outbound.on_pubcomp(ids[0]);
        assert!(resent(&mut outbound).is_empty());
        assert_eq!((outbound.open(), outbound.outstanding), (0, 0));
    }

    // [MQTT-2.2.1-4]
    #[test]
    fn no_more_begin_than_there_are_free_packet_ids() {
        let mut outbound = connected(u16::MAX);
        let first = outbound.begin(delivery(QoS::AtLeastOnce, 0));
        for n in 1..65_000 {
            let id = outbound.begin(delivery(QoS::AtLeastOnce, n));
            outbound.on_puback(id);
        }
        assert_eq!(outbound.window_free(), 535, "the ids behind the first are not free yet");
        let ids: Vec<_> = (0..535).map(|n| outbound.begin(delivery(QoS::AtLeastOnce, n))).collect();
        assert!(!ids.contains(&first));
        assert_eq!(outbound.window_free(), 0);
        outbound.on_puback(first);
        assert_eq!(outbound.window_free(), 65_000);
    }

    // [MQTT-3.3.4-9]
    #[test]
    fn resending_respects_a_smaller_window() {
        let mut outbound = connected(10);
        let ids: Vec<_> = (0..5).map(|n| outbound.begin(delivery(QoS::AtLeastOnce, n))).collect();
        outbound.connect(2);
        assert_eq!(resent(&mut outbound), ["P1:0", "P2:1"]);
        outbound.on_puback(ids[1]);
        assert_eq!(resent(&mut outbound), ["P3:2"]);
        outbound.on_puback(ids[0]);
        outbound.on_puback(ids[2]);
        assert_eq!(resent(&mut outbound), ["P4:3", "P5:4"]);
        assert_eq!((outbound.open(), outbound.window_free()), (2, 0));
    }

    #[test]
    fn what_is_restored_is_sent_again_under_its_ids_and_ends_where_it_is_stored() {
        let id = |id| PacketId::new(id).unwrap();
        let stored = |row, n| Delivery { row: RowId(row), ..delivery(QoS::ExactlyOnce, n) };
        let sent = [(65_534, 5, Some(stored(5, 0))), (1, 7, None), (3, 9, Some(stored(9, 2)))];
        let mut outbound = Outbound::restore(sent.into_iter().map(|(n, row, delivery)| (id(n), RowId(row), delivery)));
        outbound.connect(10);
        assert_eq!(resent(&mut outbound), ["R1", "P65534:0", "P3:2"]);
        assert_eq!((outbound.open(), outbound.next_packet_id()), (3, id(4)));
        let Acked::Completed(kept) = outbound.on_pubcomp(id(1)) else { panic!("not released") };
        assert_eq!(kept.row, RowId(7));
        assert!(matches!(outbound.on_pubrec(id(3), false), Acked::Release(RowId(9))));
    }

    // [MQTT-4.8.2-5]
    #[test]
    fn a_started_qos_2_delivery_may_not_move_to_another_session() {
        let mut outbound = connected(10);
        outbound.begin(delivery(QoS::AtLeastOnce, 0));
        outbound.begin(delivery(QoS::ExactlyOnce, 1));
        let released = outbound.begin(delivery(QoS::ExactlyOnce, 2));
        outbound.on_pubrec(released, false);
        assert_eq!(outbound.released(), 1);
        let moves: Vec<_> = outbound.into_deliveries().1.map(|(delivery, moves)| (number(&delivery), moves)).collect();
        assert_eq!(moves, [(0, true), (1, false)]);
    }
}
