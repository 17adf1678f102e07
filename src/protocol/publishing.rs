//! PUBLISH both ways and SUBSCRIBE, UNSUBSCRIBE: messages in, messages out, and what is subscribed.

use std::collections::HashSet;

use bytes::Bytes;

use super::action::{Action, Kept, Reply, Routed, SubscribeRequest, SubscribeResult, UnsubscribeRequest};
use super::connection::Connection;
use super::error::Violation;
use super::inbound::Begun;
use super::outbound::Resend;
use super::output::Output;
use super::session::SessionSubscription;
use super::settings::{Denied3x, Settings};
use super::topic_alias::AliasUse;
use crate::message::{
    BrokerTime, Delivery, Draft, DropCause, Member, MessageParts, MessageRun, PublisherId, RowId, RunDelivery,
    RunPackets,
};
use crate::packet::{
    EncodedPublish, MAXIMUM_PACKET_SIZE, Packet, PacketId, PacketType, ProtocolVersion, Publish, PublishHead, QoS,
    ReasonCode, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeOptions, Unsubscribe,
};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the output; QoS 1 and 2 are in flight now.
    Sent,
    Dropped(DropCause),
}

/// What became of a run: what was not sent was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveredRun {
    pub sent: u64,
    /// Of those that were sent.
    pub payload_bytes: u64,
    /// Why the others were not.
    pub dropped: Option<DropCause>,
}

/// What became of a delivery that was to be sent again.
#[derive(Debug)]
pub enum Resent {
    Publish(PacketId, Delivery),
    /// PUBREL, and where the message is stored.
    Release(RowId),
    GivenUp(DropCause, Kept),
}

/// How the messages of a run come to a client.
enum Written<'a> {
    /// Not looked at a second time, as most are written so.
    AsItStands,
    InOtherVersion(RunPackets<'a>),
    /// Each with what is this client's own.
    Anew,
}

/// A PUBLISH to this client, but for its payload and what it gets in its turn.
struct Copy<'a> {
    qos: QoS,
    retain: bool,
    topic: &'a str,
    expires_at: BrokerTime,
    subscription_ids: &'a [u32],
    forward: &'a [u8],
    payload_len: usize,
}

impl Connection {
    pub(super) fn handle_publish(
        &mut self,
        now: BrokerTime,
        publish: &Publish<'_>,
        buffer: Option<&Bytes>,
        out: &mut Output,
    ) -> Result<Action, Violation> {
        self.check_publish(publish)?;
        let begun = publish.packet_id.map(|packet_id| (packet_id, self.begin_inbound(publish.qos, packet_id)));
        let maximum = self.settings.topic_alias_maximum;
        let topic = self.inbound_aliases.resolve(publish.topic, publish.properties.topic_alias, maximum)?;
        self.settings.mount_point.check(topic)?;
        match begun {
            None | Some((_, Begun::New)) => {}
            Some((_, Begun::TooMany)) => {
                return Err(Violation::new(
                    ReasonCode::ReceiveMaximumExceeded, // [MQTT-3.3.4-7]
                    format!("more than {} messages wait for their acknowledgement", self.settings.receive_maximum),
                ));
            }
            Some((packet_id, Begun::Duplicate)) => {
                out.ack(PacketType::PubRec, packet_id, ReasonCode::Success, self.version); // [MQTT-4.3.3-10]
                return Ok(Action::Duplicate(packet_id));
            }
        }
        if let Err(violation) = check_payload_format(&self.settings, publish) {
            return self.refuse_publish(publish, violation, out);
        }
        let (topic_prefix, topic) = self.settings.mount_point.outside(topic);
        let parts = MessageParts {
            topic_prefix,
            topic,
            forward: &forwarded(publish),
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires_at: expiry(publish, now),
            publisher: self.publisher,
        };
        // Made where it stays: it is too large to be moved for each message.
        Ok(Action::Publish {
            message: Draft::received(&parts, self.version, buffer),
            reply: Reply { qos: publish.qos, packet_id: publish.packet_id },
        })
    }

    fn begin_inbound(&mut self, qos: QoS, packet_id: PacketId) -> Begun {
        let open_max = (self.version == ProtocolVersion::V5).then_some(self.settings.receive_maximum);
        self.session.as_mut().map_or(Begun::New, |session| session.inbound.begin(qos, packet_id, open_max))
    }

    /// What is wrong with it is said in the acknowledgement, where there is one.
    fn refuse_publish(
        &mut self,
        publish: &Publish<'_>,
        violation: Violation,
        out: &mut Output,
    ) -> Result<Action, Violation> {
        let Some(packet_id) = publish.packet_id else { return Err(violation) };
        let kind = if publish.qos == QoS::ExactlyOnce { PacketType::PubRec } else { PacketType::PubAck };
        self.send_ack(kind, packet_id, violation.reason_code, Some(&violation.what), out);
        Ok(Action::None)
    }

    fn check_publish(&self, publish: &Publish<'_>) -> Result<(), Violation> {
        if publish.qos > self.settings.maximum_qos {
            return Err(Violation::new(ReasonCode::QoSNotSupported, "QoS above the Maximum QoS")); // [MQTT-3.2.2-11]
        }
        if publish.retain && !self.has_retained() {
            // [MQTT-3.2.2-14]
            return Err(Violation::new(ReasonCode::RetainNotSupported, "this listener has no retained messages"));
        }
        Ok(())
    }

    /// The answer to [`Action::Publish`]: acknowledges. In 3.x, which has no word for no, a refusal closes.
    pub fn on_routed(&mut self, reply: Reply, routed: Routed, out: &mut Output) -> Result<(), Violation> {
        let v5 = self.version == ProtocolVersion::V5;
        let (reason_code, reason) = match routed {
            Routed::Accepted => (ReasonCode::Success, None),
            Routed::NoMatchingSubscribers => (ReasonCode::NoMatchingSubscribers, None),
            Routed::NotAuthorized if !v5 && self.settings.denied_3x == Denied3x::Close => {
                return Err(Violation::new(ReasonCode::NotAuthorized, "not allowed to publish to this topic"));
            }
            Routed::NotAuthorized if !v5 => (ReasonCode::Success, None),
            Routed::NotAuthorized => (ReasonCode::NotAuthorized, Some("not allowed to publish to this topic")),
            Routed::Refused(why) if !v5 && reply.packet_id.is_some() => {
                return Err(Violation::new(ReasonCode::QuotaExceeded, why));
            }
            Routed::Refused(why) => (ReasonCode::QuotaExceeded, Some(why)),
        };
        let Some(packet_id) = reply.packet_id else { return Ok(()) };
        // [MQTT-3.3.4-1], [MQTT-2.2.1-5]
        let kind = match reply.qos {
            QoS::ExactlyOnce => PacketType::PubRec, // [MQTT-4.3.3-8]
            _ => PacketType::PubAck,                // [MQTT-4.3.2-4]
        };
        // [MQTT-4.3.3-9]: an id that was refused is not remembered. [MQTT-4.3.3-13]: one whose message expires is.
        if reply.qos == QoS::ExactlyOnce
            && !reason_code.is_error()
            && let Some(session) = &mut self.session
        {
            session.inbound.accept(packet_id);
        }
        self.send_ack(kind, packet_id, reason_code, reason, out);
        Ok(())
    }

    /// Whether this connection has retained messages (section 3.2.2.3.5). Without them the client sends none and is sent
    /// none, whatever other listeners keep; those that its session still waits for wait for another connection.
    pub fn has_retained(&self) -> bool {
        self.settings.retain_available
    }

    /// Whether retained messages are to be sent for a subscription.
    pub fn wants_retained(&self, options: &SubscribeOptions, existed: bool, shared: bool) -> bool {
        self.has_retained()
            && !shared
            && match options.retain_handling {
                RetainHandling::SendAtSubscribe => true, // [MQTT-3.3.1-9]
                RetainHandling::SendIfNew => !existed,   // [MQTT-3.3.1-10]
                RetainHandling::DoNotSend => false,      // [MQTT-3.3.1-11]
            }
    }

    /// Sends one delivery. The caller has looked at the window.
    pub fn deliver(&mut self, now: BrokerTime, delivery: Delivery, out: &mut Output) -> Delivered {
        if delivery.message.is_expired(now) {
            return Delivered::Dropped(DropCause::Expired); // [MQTT-3.3.2-5]
        }
        let Some(session) = &mut self.session else { return Delivered::Dropped(DropCause::SessionEnded) };
        // [MQTT-2.2.1-2], [MQTT-2.2.1-4]
        let packet_id = (delivery.qos != QoS::AtMostOnce).then(|| session.outbound.next_packet_id());
        // The first time is without DUP, and QoS 0 has no second: [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.3.3-2],
        // [MQTT-3.3.1-2]
        let is_own = delivery.row.is_stored() && delivery.group.is_none();
        let dup = delivery.qos == QoS::AtLeastOnce && is_own && delivery.row <= session.maybe_sent;
        if let Err(cause) = self.write_publish(now, &delivery, packet_id, dup, out) {
            return Delivered::Dropped(cause);
        }
        if delivery.qos == QoS::AtMostOnce {
            out.qos0_messages += 1;
        } else if let Some(session) = &mut self.session {
            session.outbound.begin(delivery);
        }
        Delivered::Sent
    }

    /// Sends a run; the caller has looked at the window. At QoS 0 in one piece, where the client gets what most do.
    pub fn deliver_run(&mut self, now: BrokerTime, run: &RunDelivery, out: &mut Output) -> DeliveredRun {
        let dropped = |cause| DeliveredRun { dropped: Some(cause), ..DeliveredRun::default() };
        if now >= run.expires_at() {
            return dropped(DropCause::Expired); // [MQTT-3.3.2-5]
        }
        if self.session.is_none() {
            return dropped(DropCause::SessionEnded);
        }
        let is_plain = self.is_plain(run.subscription_ids.as_slice(), run.expires_at());
        let packets = if is_plain { run.packets(self.version) } else { None };
        if let (Some(packets), QoS::AtMostOnce) = (&packets, run.qos)
            && packets.packet_bytes_max() <= self.packet_bytes_max()
        {
            out.run(run.len(), packets);
            return DeliveredRun { sent: run.len(), payload_bytes: run.payload_bytes(), dropped: None };
        }
        let mut written = match packets {
            Some(_) if run.is_for(self.version) => Written::AsItStands,
            Some(packets) => Written::InOtherVersion(packets),
            None => Written::Anew,
        };
        let copy = Copy {
            qos: run.qos,
            retain: false,
            topic: run.topic(),
            expires_at: run.expires_at(),
            subscription_ids: run.subscription_ids.as_slice(),
            forward: &[],
            payload_len: 0,
        };
        let mut delivered = DeliveredRun::default();
        run.for_each_member(|member| {
            let same;
            let packet = match &mut written {
                Written::AsItStands => Some((&run.run, member)),
                Written::InOtherVersion(rest) => {
                    same = rest.take_first();
                    Some((rest.run, &same))
                }
                Written::Anew => None,
            };
            match self.deliver_member(now, (run, member), packet, &copy, out) {
                Ok(()) => {
                    delivered.sent += 1;
                    delivered.payload_bytes += member.payload.len() as u64;
                }
                // Too large, or else it is the same for all.
                Err(cause) => delivered.dropped = Some(cause),
            }
        });
        delivered
    }

    /// `packet`: what it is for a receiver without properties of its own.
    fn deliver_member(
        &mut self,
        now: BrokerTime,
        (run, member): (&RunDelivery, &Member<'_>),
        packet: Option<(&MessageRun, &Member<'_>)>,
        copy: &Copy<'_>,
        out: &mut Output,
    ) -> Result<(), DropCause> {
        let packet_id = if run.qos == QoS::AtMostOnce { None } else { self.next_packet_id() };
        match packet.filter(|(_, packet)| packet.packet.len(packet_id) <= self.packet_bytes_max()) {
            Some((of, packet)) => out.member(of, packet, run.qos, packet_id),
            None => {
                let copy = Copy { forward: member.forward, payload_len: member.payload.len(), ..*copy };
                self.write_head(now, &copy, packet_id, false, out)?;
                out.part_of_run(&run.run, member.payload.clone());
            }
        }
        match &mut self.session {
            Some(session) if packet_id.is_some() => session.outbound.begin_member(run, member),
            _ => out.qos0_messages += 1,
        }
        Ok(())
    }

    /// The packet id that the next QoS 1 or 2 delivery gets.
    pub fn next_packet_id(&self) -> Option<PacketId> {
        self.session.as_ref().map(|session| session.outbound.next_packet_id())
    }

    /// QoS 1 and 2 messages sent and not completely acknowledged.
    pub fn inflight(&self) -> u32 {
        self.session.as_ref().map_or(0, |session| session.outbound.open())
    }

    /// How many more QoS 1 and 2 messages may be sent now: as far as the client's Receive Maximum or the configured
    /// window goes.
    pub fn window_free(&self) -> u32 {
        self.session.as_ref().map_or(0, |session| session.outbound.window_free())
    }

    /// After a reconnect: sends again what was not acknowledged ([MQTT-4.4.0-1]), at most `bytes_max` at a time; what
    /// has expired since as well, for it has been sent before ([MQTT-4.3.3-7]). Returns how many PUBLISH packets, and
    /// why others had to be given up.
    pub fn resend(&mut self, now: BrokerTime, bytes_max: usize, out: &mut Output) -> Vec<Resent> {
        let mut resent = Vec::new();
        while out.len() < bytes_max {
            let Some(session) = &mut self.session else { break };
            match session.outbound.next_resend() {
                None => break,
                Some(Resend::PubRel(id, row)) => {
                    out.ack(PacketType::PubRel, id, ReasonCode::Success, self.version);
                    resent.push(Resent::Release(row));
                }
                Some(Resend::Publish(id, delivery)) => match self.write_publish(now, &delivery, Some(id), true, out) {
                    Ok(()) => resent.push(Resent::Publish(id, delivery)),
                    Err(cause) => {
                        let session = self.session.as_mut();
                        let gone = session.and_then(|session| session.outbound.give_up(id)); // [MQTT-3.1.2-25]
                        resent.extend(gone.map(|kept| Resent::GivenUp(cause, kept)));
                    }
                },
            }
        }
        resent
    }

    pub fn is_resending(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.outbound.is_resending())
    }

    /// Fails when the packet would be larger than the client takes ([MQTT-3.1.2-24], [MQTT-3.1.2-25]).
    fn write_publish(
        &mut self,
        now: BrokerTime,
        delivery: &Delivery,
        packet_id: Option<PacketId>,
        dup: bool,
        out: &mut Output,
    ) -> Result<(), DropCause> {
        let message = &delivery.message;
        let size_max = self.packet_bytes_max();
        if let Some(packet) = self.as_encoded(delivery).filter(|packet| packet.len(packet_id) <= size_max) {
            out.publish(&packet, delivery, dup, packet_id);
            return Ok(());
        }
        let copy = Copy {
            qos: delivery.qos,
            retain: delivery.retain,
            topic: message.topic(),
            expires_at: message.expires_at(),
            subscription_ids: delivery.subscription_ids.as_slice(),
            forward: message.forward(),
            payload_len: message.payload().len(),
        };
        self.write_head(now, &copy, packet_id, dup, out)?;
        out.payload(message);
        Ok(())
    }

    /// Writes all but the payload, with what is this client's own. Fails like [`Connection::write_publish`].
    fn write_head(
        &mut self,
        now: BrokerTime,
        copy: &Copy<'_>,
        packet_id: Option<PacketId>,
        dup: bool,
        out: &mut Output,
    ) -> Result<(), DropCause> {
        let size_max = self.packet_bytes_max();
        let topic = self.settings.mount_point.inside(copy.topic).ok_or(DropCause::NotAuthorized)?;
        let topic = &*topic;
        let mut head = PublishHead {
            dup, // [MQTT-3.3.1-1], [MQTT-3.3.1-3]
            qos: copy.qos,
            retain: copy.retain,
            topic,
            packet_id,
            topic_alias: None,
            message_expiry_interval: copy.expires_at.secs_left(now).map(|secs| secs.max(1)), // [MQTT-3.3.2-6]
            subscription_ids: copy.subscription_ids, // [MQTT-3.3.4-3], [MQTT-3.3.4-4]
            // [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]
            forward: copy.forward,
            payload_len: copy.payload_len,
        };
        let alias = self.outbound_aliases.choose(topic);
        match alias {
            AliasUse::None => {}
            AliasUse::Set(alias) => head.topic_alias = Some(alias),
            AliasUse::Known(alias) => (head.topic, head.topic_alias) = ("", Some(alias)),
        }
        if head.encoded_len(self.version) > size_max {
            // Setting an alias costs three bytes, which may be the three too many.
            head.topic_alias = None;
            if !matches!(alias, AliasUse::Set(_)) || head.encoded_len(self.version) > size_max {
                return Err(DropCause::TooLarge);
            }
        }
        head.encode(self.version, out.buffer());
        if let Some(alias) = head.topic_alias.filter(|_| matches!(alias, AliasUse::Set(_))) {
            self.outbound_aliases.set(topic, alias);
        }
        Ok(())
    }

    /// The longest packet that the client takes, or that there is.
    fn packet_bytes_max(&self) -> usize {
        self.maximum_packet_size.min(MAXIMUM_PACKET_SIZE) as usize
    }

    /// The packet that every receiver gets, when this client is to get it.
    fn as_encoded<'a>(&self, delivery: &'a Delivery) -> Option<EncodedPublish<'a>> {
        let message = &delivery.message;
        let is_plain = self.is_plain(delivery.subscription_ids.as_slice(), message.expires_at());
        if is_plain { message.encoded(self.version) } else { None }
    }

    /// Whether such a message is sent without anything that is this client's own.
    fn is_plain(&self, subscription_ids: &[u32], expires_at: BrokerTime) -> bool {
        let has_no_properties = subscription_ids.is_empty() && expires_at == BrokerTime::NEVER;
        (has_no_properties || self.version != ProtocolVersion::V5) && self.sends_topics_as_they_are()
    }

    /// Neither behind a mount point nor by an alias.
    fn sends_topics_as_they_are(&self) -> bool {
        self.settings.mount_point.is_none() && self.outbound_aliases.are_none()
    }

    pub(super) fn handle_subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<Action, Violation> {
        let Some(session) = &self.session else { return Ok(Action::None) };
        let room = (self.settings.subscriptions_max as usize).saturating_sub(session.subscriptions.len());
        let mut filters = Vec::new();
        // The same filter may come several times: then who is new has to be known.
        let is_scarce = subscribe.filters.iter().count() > room;
        let mut new: HashSet<Box<str>> = HashSet::new();
        for (filter, mut options) in subscribe.filters.iter() {
            options.qos = options.qos.min(self.settings.maximum_qos); // [MQTT-3.2.2-10], [MQTT-3.8.4-7]
            options.no_local |= self.bridge && !filter.starts_with("$share/");
            options.retain_as_published |= self.bridge;
            let filter = self.settings.mount_point.filter(filter);
            let is_known = session.subscriptions.contains(&filter) || new.contains(&filter);
            let refused = (!is_known && new.len() >= room).then_some(ReasonCode::QuotaExceeded);
            if is_scarce && !is_known && refused.is_none() {
                new.insert(filter.clone());
            }
            filters.push((filter, options, refused));
        }
        Ok(Action::Subscribe(SubscribeRequest {
            packet_id: subscribe.packet_id,
            id: subscribe.subscription_identifier,
            filters,
        }))
    }

    /// The answer to [`Action::Subscribe`], one result a filter in their order ([MQTT-3.9.3-1], [MQTT-3.8.4-6]), as if
    /// each had come alone, but for the one SUBACK ([MQTT-3.8.4-5]).
    pub fn on_subscribed(
        &mut self,
        request: &SubscribeRequest,
        results: &[SubscribeResult],
        out: &mut Output,
    ) -> Result<(), Violation> {
        let mut reason_codes = Vec::with_capacity(results.len());
        let mut unkept = None;
        for ((filter, options, _), result) in request.filters.iter().zip(results) {
            reason_codes.push(match *result {
                SubscribeResult::Refused(reason_code) => reason_code,
                SubscribeResult::Unkept(why) => {
                    unkept = Some(why);
                    ReasonCode::QuotaExceeded
                }
                SubscribeResult::Granted { replay_before } => {
                    let subscription = SessionSubscription { options: *options, id: request.id };
                    if let Some(session) = &mut self.session {
                        session.subscribe(filter, subscription, replay_before);
                    }
                    granted(options.qos)
                }
            });
        }
        let reason = unkept.or_else(|| reason_codes.iter().find_map(|code| refusal(*code)));
        // [MQTT-3.8.4-1]
        self.send_suback(PacketType::SubAck, request.packet_id, &reason_codes, reason, out)
    }

    /// SUBACK and UNSUBACK.
    fn send_suback(
        &self,
        kind: PacketType,
        packet_id: PacketId, // [MQTT-3.8.4-2], [MQTT-3.10.4-5], [MQTT-2.2.1-6]
        reason_codes: &[ReasonCode],
        reason_string: Option<&str>,
        out: &mut Output,
    ) -> Result<(), Violation> {
        let packet = |reason_string| {
            let reason_codes = ReasonCodes::from_list(reason_codes);
            let ack = SubAck { packet_id, reason_codes, reason_string, user_properties: Default::default() };
            if kind == PacketType::UnsubAck { Packet::UnsubAck(ack) } else { Packet::SubAck(ack) }
        };
        if reason_string.is_some() && self.send_with_reason(&packet(reason_string), &packet(None), out) {
            return Ok(());
        }
        self.send(&packet(None), out)
    }

    pub(super) fn handle_unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>) -> Result<Action, Violation> {
        let filters = unsubscribe.filters.iter().map(|filter| self.settings.mount_point.filter(filter)).collect();
        Ok(Action::Unsubscribe(UnsubscribeRequest { packet_id: unsubscribe.packet_id, filters }))
    }

    /// The answer to [`Action::Unsubscribe`]: whether each filter was subscribed ([MQTT-3.11.3-1], [MQTT-3.10.4-5]), as
    /// if each had come alone, but for the one UNSUBACK ([MQTT-3.10.4-6]).
    pub fn on_unsubscribed(
        &mut self,
        request: &UnsubscribeRequest,
        existed: &[bool],
        out: &mut Output,
    ) -> Result<(), Violation> {
        if let Some(session) = &mut self.session {
            session.unsubscribe(request.filters.iter().map(|filter| &**filter));
        }
        let code = |existed: &bool| match existed {
            true => ReasonCode::Success,
            false => ReasonCode::NoSubscriptionExisted,
        };
        let reason_codes: Vec<_> = existed.iter().map(code).collect();
        // [MQTT-3.10.4-4]; with nothing in it that could be left out: [MQTT-3.11.2-1], [MQTT-3.11.2-2]
        self.send_suback(PacketType::UnsubAck, request.packet_id, &reason_codes, None, out)
    }
}

/// Words for the first filter that was refused.
fn refusal(reason_code: ReasonCode) -> Option<&'static str> {
    match reason_code {
        ReasonCode::NotAuthorized => Some("not allowed to subscribe to this topic filter"),
        ReasonCode::QuotaExceeded => Some("the session has as many subscriptions as it may"),
        ReasonCode::TopicFilterInvalid => Some("this topic filter cannot be subscribed to here"),
        code if code.is_error() => Some("the subscription could not be made"),
        _ => None,
    }
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::GRANTED_QOS_0,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}

fn forwarded<'a>(publish: &Publish<'a>) -> std::borrow::Cow<'a, [u8]> {
    if publish.properties.raw_is_forward {
        return publish.properties.raw.into();
    }
    let mut forward = Vec::new();
    publish.properties.forward_into(&mut forward);
    forward.into()
}

fn check_payload_format(settings: &Settings, publish: &Publish<'_>) -> Result<(), Violation> {
    let claimed = settings.check_payload_format && publish.properties.payload_is_utf8;
    if claimed && simdutf8::basic::from_utf8(publish.payload).is_err() {
        return Err(Violation::new(
            ReasonCode::PayloadFormatInvalid,
            "the Payload Format Indicator says UTF-8, and the payload is not",
        ));
    }
    Ok(())
}

fn expiry(publish: &Publish<'_>, now: BrokerTime) -> BrokerTime {
    publish.properties.message_expiry_interval.map_or(BrokerTime::NEVER, |secs| now.after_secs(secs))
}

impl Connection {
    /// What this connection's messages carry as their publisher.
    pub fn set_publisher(&mut self, publisher: PublisherId) {
        self.publisher = publisher;
    }
}
