//! The router without drivers: [`Fixture`] publishes, [`Client`] stands for a driver with a client behind it.

mod accounting;
mod concurrency;
mod deadlines;
mod mailbox;
mod retained;
mod run;
mod sessions;
mod shared;
mod subscriptions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Poll, Wake, Waker};

use super::*;
use crate::message::{Draft, MessageParts, Queued};
use crate::topic::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

const LIMITS: QueueLimits =
    QueueLimits { messages_max: 3, bytes_max: 1_000_000, on_full: OnQueueFull::DropOldest, queue_qos0: false };

fn config() -> RouterConfig {
    RouterConfig {
        retained: RetainedLimits { messages_max: 1_000, bytes_max: 1_000_000 },
        group: GroupLimits { messages_max: 3, bytes_max: 1_000_000 },
        share_strategy: ShareStrategy::RoundRobin,
    }
}

/// A message of client `publisher` that says so itself, in its payload.
fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    Message::new(&parts(topic, payload, qos))
}

/// One that has not been put together yet.
fn draft(topic: &str, payload: &str, qos: QoS) -> Draft {
    Draft::new(&parts(topic, payload, qos))
}

fn parts<'a>(topic: &'a str, payload: &'a str, qos: QoS) -> MessageParts<'a> {
    MessageParts {
        topic_prefix: "",
        topic,
        forward: &[],
        payload: payload.as_bytes(),
        qos,
        retain: false,
        expires_at: BrokerTime::NEVER,
        publisher: PublisherId(7),
    }
}

fn expiring(payload: &str, qos: QoS, at: u64) -> Message {
    expiring_draft(payload, qos, at).to_message()
}

fn expiring_draft(payload: &str, qos: QoS, at: u64) -> Draft {
    Draft::new(&MessageParts { expires_at: BrokerTime::from_millis(at), ..parts("t", payload, qos) })
}

fn qos(qos: QoS) -> SubscribeOptions {
    SubscribeOptions { qos, ..SubscribeOptions::default() }
}

/// Of a driver that reads no pages.
fn wishes(bytes_max: u64, groups: bool) -> Wishes {
    Wishes { bytes_max, groups, pages: false, gather: false }
}

/// A router and the turn of one thread.
struct Fixture {
    router: Router,
    batch: Batch,
}

impl Fixture {
    fn new() -> Self {
        Fixture::with(&config())
    }

    fn with(config: &RouterConfig) -> Self {
        Fixture { router: Router::new(config), batch: Batch::default() }
    }

    /// A client that is connected, with a window of ten.
    fn client(&self, client_id: &str) -> Client {
        self.client_with(client_id, LIMITS)
    }

    fn client_with(&self, client_id: &str, limits: QueueLimits) -> Client {
        let client = Client {
            mailbox: self.router.mailbox(&client_id.into(), limits),
            window: 10,
            inflight: Vec::new(),
            wakes: Arc::default(),
        };
        client.mailbox.attach(client.under_way());
        client
    }

    fn subscribe(&self, client: &Client, filter: &str, options: SubscribeOptions) -> Subscribed {
        self.subscribe_as(client, filter, options, 0)
    }

    fn subscribe_as(&self, client: &Client, filter: &str, options: SubscribeOptions, id: u32) -> Subscribed {
        let parsed = ParsedFilter::parse(filter).expect("a filter");
        self.router.subscribe(&client.mailbox, parsed, options, NonZeroU32::new(id))
    }

    fn unsubscribe(&mut self, client: &Client, filter: &str) -> bool {
        let parsed = ParsedFilter::parse(filter).expect("a filter");
        self.router.unsubscribe(&client.mailbox, parsed, &mut self.batch)
    }

    fn publish(&mut self, topic: &str, payload: &str, qos: QoS) -> Outcome {
        self.give(&message(topic, payload, qos))
    }

    fn give(&mut self, message: &Message) -> Outcome {
        self.router.publish(message, &mut self.batch)
    }

    /// The turn ends: who got something is woken.
    fn flush(&mut self) {
        self.router.flush(&mut self.batch);
    }

    fn dropped(&self, cause: DropCause) -> u64 {
        self.batch.counts.dropped[cause as usize]
    }

    /// The connection ends; the session stays.
    fn hang_up(&mut self, client: &Client) {
        let unsent = client.mailbox.detach(client.inflight.len() as u32, &mut self.batch);
        self.router.hand_back(&client.mailbox, unsent, &mut self.batch);
    }

    /// The session ends: QoS 1 in flight may go to others, a started QoS 2 may not.
    fn end(&mut self, client: &mut Client, filters: &[&str]) {
        self.hang_up(client);
        for filter in filters {
            self.unsubscribe(client, filter);
        }
        let queued = client.mailbox.close(&mut self.batch);
        let mut inflight = std::mem::take(&mut client.inflight);
        inflight.iter_mut().filter(|delivery| delivery.qos == ExactlyOnce).for_each(|delivery| delivery.group = None);
        self.router.hand_back(&client.mailbox, inflight, &mut self.batch);
        self.router.hand_back(&client.mailbox, queued, &mut self.batch);
    }

    fn retained(&self, filter: &str, before: u64) -> Vec<String> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let now = self.batch.now;
            let mut take = |message: &Message| found.push(String::from_utf8_lossy(message.payload()).into_owned());
            match self.router.retained_page(filter, after.as_deref(), 2, before, now, &mut take) {
                PageEnd::Done => return found,
                PageEnd::ResumeAfter(topic) => after = Some(topic),
            }
        }
    }
}

/// What a driver does with a mailbox.
struct Client {
    mailbox: Arc<Mailbox>,
    window: u32,
    inflight: Vec<Delivery>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Client {
    fn under_way(&self) -> UnderWay {
        let inflight = self.inflight.len() as u32;
        UnderWay { inflight, window_free: self.window.saturating_sub(inflight), ..UnderWay::default() }
    }

    fn poll(&self, bytes_max: u64, into: &mut VecDeque<Queued>) -> Poll<MailboxEvent> {
        self.mailbox.poll(&Waker::from(Arc::clone(&self.wakes)), self.under_way(), wishes(bytes_max, true), into)
    }

    /// One look into the mailbox, without sending anything: keeps the waker.
    fn wait(&self) {
        assert_eq!(self.poll(0, &mut VecDeque::new()), Poll::Pending);
    }

    /// What it lost, and why.
    fn losses(&self) -> Vec<(DropCause, u64)> {
        let losses = self.mailbox.stats().losses;
        let all: Vec<_> = DropCause::ALL.iter().map(|cause| (*cause, losses.of(*cause))).collect();
        all.into_iter().filter(|(_, copies)| *copies > 0).collect()
    }

    fn refused(&self) -> u64 {
        self.mailbox.stats().losses.refused
    }

    /// How often it was woken since last asked.
    fn wakes(&self) -> usize {
        self.wakes.0.swap(0, SeqCst)
    }

    /// Takes everything that the window lets through, in words.
    fn read(&mut self) -> Vec<String> {
        self.take().iter().map(words).collect()
    }

    fn take(&mut self) -> Vec<Delivery> {
        let mut taken = Vec::new();
        let mut into = VecDeque::new();
        while let Poll::Ready(MailboxEvent::Deliveries) = self.poll(u64::MAX, &mut into) {
            for delivery in into.drain(..).flat_map(|queued| queued.deliveries().collect::<Vec<_>>()) {
                taken.push(delivery.clone());
                if delivery.qos != AtMostOnce {
                    self.inflight.push(delivery);
                }
            }
        }
        taken
    }

    /// The client acknowledges its oldest.
    fn acknowledge(&mut self, count: usize) {
        self.inflight.drain(..count);
    }

    /// As a driver does it: looks for waiting groups too.
    fn read_with_groups(&mut self, fixture: &mut Fixture) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.append(&mut self.read());
            match self.poll(u64::MAX, &mut VecDeque::new()) {
                Poll::Ready(MailboxEvent::GroupsWaiting) => {
                    fixture.router.pull_shared(&self.mailbox, &mut fixture.batch);
                }
                _ => return all,
            }
        }
    }
}

/// `topic 'payload' q1 retain [ids]`, where they are not the default.
fn words(delivery: &Delivery) -> String {
    let mut words = format!(
        "{} '{}' q{}",
        delivery.message.topic(),
        String::from_utf8_lossy(delivery.message.payload()),
        delivery.qos as u8
    );
    if delivery.retain {
        words += " retain";
    }
    if !delivery.subscription_ids.as_slice().is_empty() {
        let mut ids = delivery.subscription_ids.as_slice().to_vec();
        ids.sort_unstable();
        words += &format!(" {ids:?}");
    }
    words
}
