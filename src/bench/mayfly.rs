//! A client that connects, subscribes, sends itself a message, gets it, and leaves: one life after the other.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::board::{Board, Count};
use super::client::Caller;
use super::fault::Fault;
use super::incoming::{Arrival, Event};
use super::link::Link;
use super::outgoing::{MessageKind, Template};
use super::publisher::{Done, Inflight};
use super::stage::Stage;
use super::stamp::Stamp;
use super::subscriber::{Harvest, Intake, Subscription};
use super::topics::{Filters, Topics};
use crate::packet::{PacketType, ProtocolVersion, QoS};

pub(super) struct Mayfly {
    pub(super) caller: Caller,
    pub(super) topic: String,
    /// Of its message, and of its subscription.
    pub(super) qos: QoS,
    pub(super) payload_bytes: usize,
}

impl Mayfly {
    /// Until the run stops; the life that has begun is lived to its end.
    pub(super) async fn run(self) -> Result<(), Fault> {
        let board = Arc::clone(&self.caller.board);
        let template = self.template();
        let mut number = 0;
        while board.stage.now() != Stage::Stop {
            let began = board.now();
            let (link, _) = self.caller.call().await?;
            let stamp = Stamp { publisher: self.caller.number as u32, number, due: began };
            let life = Life::new(&self, link, stamp);
            let Life { link, mut course, .. } = life.live(&board, &template).await?;
            link.close_and_see(&mut |event| course.on_event(&event)).await;
            board.add(Count::Duplicates, course.received.saturating_sub(1));
            let now = board.now();
            if board.measured().contains(&now) {
                board.latency[self.caller.number % board.latency.len()].lock().record(now - began, 1);
            }
            board.add(Count::Lives, 1);
            number += 1;
        }
        board.add(Count::Ended, 1);
        Ok(())
    }

    fn template(&self) -> Template {
        Template::new(&MessageKind {
            version: self.caller.greeting.version,
            topic: &self.topic,
            qos: self.qos,
            retain: false,
            payload_bytes: self.payload_bytes,
            topics: Topics::One,
        })
    }
}

struct Life {
    link: Link,
    course: Course,
    is_sent: bool,
}

/// How far a life has come.
struct Course {
    intake: Intake,
    inflight: Inflight,
    done: Done,
    /// What it sends itself.
    stamp: Stamp,
    payload_bytes: usize,
    qos: QoS,
    version: ProtocolVersion,
    /// How often that has come.
    received: u64,
    /// Messages of the last read that are another one.
    foreign: u64,
}

impl Life {
    fn new(mayfly: &Mayfly, link: Link, stamp: Stamp) -> Life {
        let version = mayfly.caller.greeting.version;
        let filters = Filters::one(mayfly.topic.clone());
        let course = Course {
            intake: Intake::new(version, Some(Subscription { filters, batch: 1, qos: mayfly.qos })),
            inflight: Inflight::new(1),
            done: Done::default(),
            stamp,
            payload_bytes: mayfly.payload_bytes,
            qos: mayfly.qos,
            version,
            received: 0,
            foreign: 0,
        };
        Life { link, course, is_sent: false }
    }

    /// Up to its last packet but DISCONNECT.
    async fn live(mut self, board: &Board, template: &Template) -> Result<Life, Fault> {
        poll_fn(|cx| {
            while !self.course.is_over() {
                if let Err(fault) = ready!(self.poll_step(cx, board, template)) {
                    return Poll::Ready(Err(fault));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.link.queue().append(&mut self.course.intake.out);
        board.add(Count::Received, 1);
        board.add(Count::Refused, self.course.done.refused);
        board.add(Count::StrayAcks, self.course.done.stray);
        Ok(self)
    }

    /// Sends what is to be sent, and reads once.
    fn poll_step(&mut self, cx: &mut Context<'_>, board: &Board, template: &Template) -> Poll<Result<(), Fault>> {
        let Life { link, course, is_sent } = self;
        link.queue().append(&mut course.intake.out);
        if course.intake.is_subscribed && !*is_sent {
            *is_sent = true;
            let packet_id = if course.qos == QoS::AtMostOnce { 0 } else { course.inflight.take() };
            template.append(course.stamp, packet_id, link.queue());
            board.add(Count::Sent, 1);
        }
        if let Poll::Ready(sent) = link.poll_send(cx) {
            sent?;
        }
        let bytes = ready!(link.poll_receive(cx, &mut |event| course.on_event(&event)))?;
        board.add(Count::BytesReceived, bytes as u64);
        board.add(Count::Foreign, std::mem::take(&mut course.foreign));
        Poll::Ready(course.intake.fault.take().map_or(Ok(()), Err))
    }
}

impl Course {
    fn on_event(&mut self, event: &Event<'_>) {
        let Course { intake, inflight, done, qos, version, .. } = self;
        match event {
            Event::Publish(arrival) => self.on_publish(arrival),
            Event::Ack(ack) if ack.packet_type != PacketType::PubRel => {
                inflight.on_ack(ack, *qos, *version, &mut intake.out, done);
            }
            event => intake.on_event(event, &mut Harvest::default()),
        }
    }

    fn on_publish(&mut self, arrival: &Arrival) {
        if arrival.qos != QoS::AtMostOnce && !self.intake.acknowledge(arrival) {
            return;
        }
        match arrival.stamp {
            Some(stamp) if stamp == self.stamp && arrival.payload_bytes == self.payload_bytes => self.received += 1,
            _ => self.foreign += 1,
        }
    }

    fn is_over(&self) -> bool {
        self.received > 0 && (self.qos == QoS::AtMostOnce || self.done.acknowledged > 0)
    }
}
