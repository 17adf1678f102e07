//! In from the socket: one read, every whole packet of it, and what each packet's action asks for.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::turn::{READ_BYTES_MAX, Turn};
use super::{Driver, End, Progress, Stage};
use crate::auth::Subscribing;
use crate::message::{Draft, DropCause, OwnerId};
use crate::net::context::is_sys_topic;
use crate::packet::{Decoded, Packet, PacketType, QoS, ReasonCode};
use crate::protocol::{Action, Kept, Reply, Routed, SubscribeRequest, SubscribeResult, UnsubscribeRequest};
use crate::router::{Batch, Outcome, Refused, Router};
use crate::store::Change;
use crate::topic::{PageEnd, ParsedFilter};

/// Copies that one turn gives to subscribers, one by one, before they, and everybody else, get to run: a wide fan-out must
/// not fill queues that their owners had no chance to empty. So many take some two milliseconds; with fewer, each
/// receiver's write is smaller, and the writes cost more than the copies.
pub(super) const TURN_COPIES_MAX: u64 = 64 * 1024;

/// With so much waiting for the socket, nothing is read any more: even answers to pings would pile up.
pub(super) const UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// One read of a packet that is longer than [`READ_BYTES_MAX`] takes at most this much.
pub(super) const LARGE_READ_BYTES_MAX: usize = 128 * 1024;

/// Whether a packet is dealt with.
enum Taken {
    Now,
    /// The store is busy: nothing has happened, and the packet comes again when it no longer is.
    Later,
}

impl Driver {
    /// The broker itself has stopped reading: the client does not take what it is sent.
    pub(super) fn reading_rests(&self) -> bool {
        let is_full = self.unsent_bytes() + self.held_bytes() >= UNSENT_BYTES_MAX;
        is_full || ((self.unsent.is_some() || self.store_busy) && self.first_waiting_is_publish())
    }

    /// A PUBLISH waits while the socket is full; what follows it waits too.
    fn first_waiting_is_publish(&self) -> bool {
        self.partial.first().is_some_and(|first| first >> 4 == PacketType::Publish as u8)
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        self.store_busy = self.place.shared.keeper.poll_ready(cx).is_pending();
        if !self.connection.takes_packets() || self.reading_rests() {
            return Ok(Progress::None);
        }
        if let (Stage::Authenticating(_), false) = (&self.stage, self.partial.is_empty()) {
            return Ok(Progress::None);
        }
        match self.connection.decoder().decode(&self.partial) {
            Ok(Decoded::Incomplete { needed }) if self.partial.len() >= READ_BYTES_MAX => {
                self.read_large(needed, cx, turn)
            }
            Ok(Decoded::Incomplete { .. }) => {
                let mut scratch = std::mem::take(&mut turn.scratch);
                let result = self.read_into(&mut scratch, cx, turn);
                turn.scratch = scratch;
                result
            }
            // Packets that waited come first: the socket may have nothing more to say.
            Ok(Decoded::Packet { .. }) | Err(_) => {
                let waiting = std::mem::take(&mut self.partial);
                self.handle_own(waiting, turn)?;
                Ok(Progress::Some)
            }
        }
    }

    fn read_into(&mut self, scratch: &mut [u8], cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        // The start of a packet goes in front, so that packets are decoded where they were read.
        let kept = self.partial.len();
        scratch[..kept].copy_from_slice(&self.partial);
        let mut buf = ReadBuf::new(&mut scratch[kept..][..READ_BYTES_MAX]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        let n = buf.filled().len();
        if note_read(read.map_ok(|()| n), turn)? == Progress::None {
            return Ok(Progress::None);
        }
        self.partial.clear();
        let bytes = &scratch[..kept + n];
        let handled = self.handle_bytes(bytes, None, turn)?;
        self.partial = bytes[handled..].to_vec(); // [MQTT-6.0.0-2]
        Ok(Progress::Some)
    }

    /// Reads on to the end of a packet, in parts, into a buffer of its own.
    fn read_large(&mut self, len: usize, cx: &mut Context<'_>, turn: &mut Turn) -> Result<Progress, End> {
        let mut packet = std::mem::take(&mut self.partial);
        // What has come is no reason to believe in megabytes yet; later all at once, so that little is moved.
        let room = if packet.len() < LARGE_READ_BYTES_MAX { len.min(LARGE_READ_BYTES_MAX) } else { len };
        packet.try_reserve_exact(room - packet.len()).map_err(|_| End::Lost("no memory for its packet".into()))?;
        let wanted = (packet.capacity().min(len) - packet.len()).min(LARGE_READ_BYTES_MAX);
        let mut buf = (&mut packet).limit(wanted);
        let read = pin!(self.stream.read_buf(&mut buf)).poll(cx);
        let progress = note_read(read, turn)?;
        if packet.len() == len {
            self.handle_own(packet, turn)?;
        } else {
            self.partial = packet;
        }
        Ok(progress)
    }

    /// Handles packets in a buffer of their own, which a large message takes along.
    fn handle_own(&mut self, bytes: Vec<u8>, turn: &mut Turn) -> Result<(), End> {
        let bytes = Bytes::from(bytes);
        let buffer = Some(&bytes).filter(|bytes| bytes.len() > READ_BYTES_MAX);
        let handled = self.handle_bytes(&bytes, buffer, turn)?;
        self.partial = if handled == 0 { bytes.into() } else { bytes[handled..].to_vec() };
        Ok(())
    }

    /// Handles every whole packet; returns how many bytes they were. `buffer` is for the message to keep. Receivers have
    /// what was for them when it returns, however that is.
    fn handle_bytes(&mut self, bytes: &[u8], buffer: Option<&Bytes>, turn: &mut Turn) -> Result<usize, End> {
        let handled = self.handle_packets(bytes, buffer, turn);
        self.place.shared.router.hand_out(&mut turn.batch);
        handled
    }

    fn handle_packets(&mut self, bytes: &[u8], buffer: Option<&Bytes>, turn: &mut Turn) -> Result<usize, End> {
        let (mut rest, mut topic) = (bytes, "");
        while !rest.is_empty() && self.connection.takes_packets() {
            if self.must_wait(rest, turn) || turn.batch.work() >= TURN_COPIES_MAX {
                break;
            }
            // Looked at where it is: a packet has more bytes than three cache lines.
            match &self.connection.decoder().decode_after(rest, topic) {
                Ok(Decoded::Incomplete { .. }) => break,
                Ok(Decoded::Packet { packet, len }) => {
                    let publish = match packet {
                        Packet::Publish(publish) => Some(publish),
                        _ => None,
                    };
                    match publish {
                        Some(publish) => topic = publish.topic,
                        None => self.place.shared.router.hand_out(&mut turn.batch),
                    }
                    // Its answer is in the output before the next is looked at:
                    // [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4]
                    let taken = self.handle_packet(packet, buffer, turn);
                    if let Ok(Taken::Later) = taken {
                        self.store_busy = true;
                        break;
                    }
                    rest = &rest[*len..];
                    turn.batch.counts.packets_received += 1;
                    if let Some(publish) = publish {
                        count_received(publish.qos, publish.payload.len(), &mut turn.batch);
                    }
                    taken?;
                }
                Err(error) => {
                    turn.batch.counts.protocol_errors += 1;
                    let out = if self.holds(turn) { &mut turn.answer } else { &mut turn.out };
                    return Err(End::Closed(self.connection.close_on_decode_error(error, out)));
                }
            }
            if let Stage::Authenticating(_) = self.stage {
                break;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// A client that does not take what it is sent may not publish more ...
    fn must_wait(&self, rest: &[u8], turn: &Turn) -> bool {
        let is_publish = rest[0] >> 4 == PacketType::Publish as u8;
        // ... and acknowledgements are bounded too, those of this turn and those that wait for the store.
        let waiting = self.unsent_bytes() + self.held_bytes();
        let answers = waiting + turn.out.len() + turn.answer.len() + turn.pongs.len();
        (is_publish && (self.unsent.is_some() || self.store_busy)) || answers >= UNSENT_BYTES_MAX
    }

    fn handle_packet(&mut self, packet: &Packet<'_>, buffer: Option<&Bytes>, turn: &mut Turn) -> Result<Taken, End> {
        turn.batch.counts.connects_received += u64::from(matches!(packet, Packet::Connect(_)));
        let now = turn.batch.now;
        let out = match packet {
            Packet::PingReq => self.pong(turn),
            _ if self.holds(turn) => &mut turn.answer,
            _ => &mut turn.out,
        };
        match self.connection.handle_packet(now, packet, buffer, out) {
            Ok(Action::Publish { ref message, reply }) => self.publish(message, reply, turn),
            Ok(Action::Completed(qos, kept)) => {
                self.complete(qos, kept, turn);
                Ok(Taken::Now)
            }
            Ok(action) => self.carry_out(action, turn).map(|()| Taken::Now),
            Err(violation) => {
                turn.batch.counts.protocol_errors += 1;
                Err(End::Closed(violation))
            }
        }
    }

    fn carry_out(&mut self, action: Action, turn: &mut Turn) -> Result<(), End> {
        match action {
            // Those that come most have been dealt with.
            Action::None | Action::Publish { .. } | Action::Completed(..) => Ok(()),
            Action::RefusedByReceiver(kept) => {
                self.end_row(kept, turn);
                self.lose(DropCause::RefusedByReceiver, 1, &mut turn.batch); // [MQTT-4.8.2-6]
                Ok(())
            }
            Action::HandedOver(row) => {
                turn.promise(Change::Handed { owner: self.owner(), row });
                Ok(())
            }
            Action::Released(packet_id) => {
                self.promise_stored(turn, |owner| Change::Released { owner, packet_id: packet_id.get() });
                Ok(())
            }
            Action::Duplicate(packet_id) => {
                // The first may not be safe yet.
                if let Stage::Attached(attached) = &self.stage {
                    turn.tickets.extend(attached.received.tickets_of(packet_id));
                }
                self.promise_stored(turn, |owner| Change::Received { owner, packet_id: packet_id.get() });
                Ok(())
            }
            Action::Subscribe(request) => self.subscribe(&request, turn),
            Action::Unsubscribe(request) => self.unsubscribe(&request, turn),
            Action::Disconnect { reason_code } => Err(End::Disconnected(reason_code)),
            Action::Authenticate => self.authenticate(turn),
            Action::AuthData { data, reauthenticate } => self.exchange(&data, reauthenticate, turn),
        }
    }

    /// A delivery has been acknowledged to the end.
    fn complete(&self, qos: QoS, kept: Kept, turn: &mut Turn) {
        self.end_row(kept, turn);
        match qos {
            QoS::ExactlyOnce => turn.batch.counts.delivered_qos2 += 1,
            _ => turn.batch.counts.delivered_qos1 += 1,
        }
    }

    fn publish(&mut self, message: &Draft, reply: Reply, turn: &mut Turn) -> Result<Taken, End> {
        let Some(routed) = self.route(message, reply, turn) else { return Ok(Taken::Later) };
        let out = if self.holds(turn) { &mut turn.answer } else { &mut turn.out };
        self.connection.on_routed(reply, routed, out).map_err(End::Closed)?;
        Ok(Taken::Now)
    }

    /// `None`: the store takes it later.
    fn route(&mut self, message: &Draft, reply: Reply, turn: &mut Turn) -> Option<Routed> {
        let Stage::Attached(attached) = &mut self.stage else { return Some(Routed::Accepted) };
        let is_clear = attached.is_unrestricted && !is_sys_topic(message.topic_bytes());
        if !is_clear && !self.place.listener.access.load().may_publish(&attached.identity, message.topic()) {
            turn.batch.counts.not_authorised += 1;
            return Some(Routed::NotAuthorized);
        }
        let is_remembered = reply.qos == QoS::ExactlyOnce && attached.mailbox.is_stored();
        if !is_remembered && self.place.shared.router.gather(message, &mut turn.batch) {
            return Some(Routed::Accepted);
        }
        let packet_id = reply.packet_id.filter(|_| is_remembered);
        let received = packet_id.map(|packet_id| (attached.mailbox.owner(), packet_id.get()));
        let before = turn.tickets.len();
        let outcome = self.place.shared.publish(&message.to_message(), received, &mut turn.batch, &mut turn.tickets);
        packet_id.into_iter().for_each(|packet_id| attached.received.push(packet_id, &turn.tickets[before..]));
        if reply.packet_id.is_none() {
            turn.tickets.truncate(before);
        }
        Some(match outcome {
            Outcome::Routed { matched: 0 } => Routed::NoMatchingSubscribers,
            Outcome::Routed { .. } => Routed::Accepted,
            Outcome::Refused(Refused::QueueFull) => Routed::Refused("a subscriber's queue is full"),
            Outcome::Refused(Refused::RetainedFull) => Routed::Refused("the limit of retained messages is reached"),
            Outcome::Refused(Refused::Store(why)) => Routed::Refused(why),
            Outcome::Refused(Refused::Busy) => return None,
        })
    }

    fn subscribe(&mut self, request: &SubscribeRequest, turn: &mut Turn) -> Result<(), End> {
        let results: Vec<_> = request
            .filters
            .iter()
            .map(|(filter, options, refused)| match refused {
                Some(reason_code) => SubscribeResult::Refused(*reason_code),
                None => self.subscribe_one(filter, *options, request, turn),
            })
            .collect();
        let out = if self.holds(turn) { &mut turn.answer } else { &mut turn.out };
        self.connection.on_subscribed(request, &results, out).map_err(End::Closed)
    }

    fn subscribe_one(
        &mut self,
        filter: &str,
        options: crate::packet::SubscribeOptions,
        request: &SubscribeRequest,
        turn: &mut Turn,
    ) -> SubscribeResult {
        let Stage::Attached(attached) = &mut self.stage else {
            return SubscribeResult::Refused(ReasonCode::UnspecifiedError);
        };
        let Ok(parsed) = ParsedFilter::parse(filter) else {
            return SubscribeResult::Refused(ReasonCode::TopicFilterInvalid);
        };
        match self.place.listener.access.load().authorizer.may_subscribe(&attached.identity, parsed.filter) {
            Subscribing::Denied => return SubscribeResult::Refused(ReasonCode::NotAuthorized),
            Subscribing::Filtered => attached.filtered = true,
            Subscribing::Whole => {}
        }
        let is_stored = attached.mailbox.is_stored();
        if is_stored && let Err(why) = self.place.shared.keeper.takes_more() {
            return SubscribeResult::Unkept(why);
        }
        let subscribed = self.place.shared.router.subscribe(&attached.mailbox, parsed, options, request.id);
        let is_shared = parsed.share.is_some();
        let replay = self.connection.wants_retained(&options, subscribed.existed, is_shared)
            && (!is_stored || finds_retained(&self.place.shared.router, filter, subscribed.retained_before, turn));
        if is_stored {
            let owner = attached.mailbox.owner();
            if let Some(group) = subscribed.group {
                turn.promise(Change::PutGroup { owner: group.into(), filter: filter.into() });
            }
            turn.promise(Change::PutSubscription { owner, filter: filter.into(), options, id: request.id });
            if replay {
                turn.promise(Change::PutReplay { owner, filter: filter.into(), after: "".into() });
            }
        }
        SubscribeResult::Granted { replay_before: replay.then_some(subscribed.retained_before) }
    }

    fn unsubscribe(&mut self, request: &UnsubscribeRequest, turn: &mut Turn) -> Result<(), End> {
        request.filters.iter().for_each(|filter| self.claim_shared(filter, turn));
        let Stage::Attached(attached) = &self.stage else { return Ok(()) };
        let existed: Vec<_> = request
            .filters
            .iter()
            .map(|filter| {
                ParsedFilter::parse(filter).is_ok_and(|parsed| {
                    self.place.shared.router.unsubscribe(&attached.mailbox, parsed, &mut turn.batch)
                })
            })
            .collect();
        for filter in &request.filters {
            self.promise_stored(turn, |owner| Change::DeleteSubscription { owner, filter: filter.clone() });
        }
        let out = if self.holds(turn) { &mut turn.answer } else { &mut turn.out };
        self.connection.on_unsubscribed(request, &existed, out).map_err(End::Closed)
    }

    /// What has been sent for a shared subscription is completed after its end, too ([MQTT-3.10.4-3]), by the session
    /// itself: the group may go with its last member.
    fn claim_shared(&mut self, filter: &str, turn: &mut Turn) {
        let Stage::Attached(attached) = &self.stage else { return };
        if !attached.mailbox.is_stored() {
            return;
        }
        let group = ParsedFilter::parse(filter).ok().and_then(|parsed| self.place.shared.router.group_of(parsed));
        let (Some(group), Some(session)) = (group, self.connection.session_mut()) else { return };
        let mut sent: Vec<_> = session.shared_in_flight(group).filter(|sent| sent.row.is_stored()).collect();
        let claimed = self.place.shared.keeper.append_claim(attached.mailbox.owner(), &mut sent);
        turn.tickets.extend(claimed);
    }

    pub(super) fn owner(&self) -> OwnerId {
        match &self.stage {
            Stage::Attached(attached) => attached.mailbox.owner(),
            _ => OwnerId::default(),
        }
    }

    /// The answer promises a change of a session that outlives the process.
    fn promise_stored(&self, turn: &mut Turn, change: impl FnOnce(OwnerId) -> Change) {
        if let Stage::Attached(attached) = &self.stage
            && attached.mailbox.is_stored()
        {
            turn.promise(change(attached.mailbox.owner()));
        }
    }

    /// A delivery has come to its end: it need not be kept.
    pub(super) fn end_row(&self, kept: Kept, turn: &mut Turn) {
        turn.batch.end_row(kept.group.map_or_else(|| self.owner(), OwnerId::from), kept.row);
    }
}

/// Whether a subscription may have to wait for retained messages: few have, and others need not be stored as waiting.
fn finds_retained(router: &Router, filter: &str, before: u64, turn: &Turn) -> bool {
    let mut found = false;
    let end = router.retained_page(filter, None, 1, before, turn.batch.now, |_| found = true);
    found || end != PageEnd::Done
}

fn unreadable(error: &io::Error, turn: &mut Turn) -> End {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            turn.batch.counts.protocol_errors += 1;
            End::Broken(error.to_string())
        }
        io::ErrorKind::UnexpectedEof => End::Lost("the client closed the connection without a word of TLS".into()),
        _ => End::Lost(format!("read: {error}")),
    }
}

fn count_received(qos: QoS, payload_len: usize, batch: &mut Batch) {
    batch.counts.received_payload_bytes += payload_len as u64;
    match qos {
        QoS::AtMostOnce => batch.counts.received_qos0 += 1,
        QoS::AtLeastOnce => batch.counts.received_qos1 += 1,
        QoS::ExactlyOnce => batch.counts.received_qos2 += 1,
    }
}

/// What a read brought: so many bytes, or nothing yet.
fn note_read(read: Poll<io::Result<usize>>, turn: &mut Turn) -> Result<Progress, End> {
    match read {
        Poll::Pending => Ok(Progress::None),
        Poll::Ready(Err(error)) => Err(unreadable(&error, turn)),
        Poll::Ready(Ok(0)) => Err(End::Lost("the client closed the connection".into())),
        Poll::Ready(Ok(n)) => {
            turn.batch.counts.bytes_received += n as u64;
            Ok(Progress::Some)
        }
    }
}
