//! Every copy is accounted for, whatever happens to the sessions: long seeded walks that check the sum at every step.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

struct World {
    fixture: Fixture,
    share_strategy: ShareStrategy,
    clients: Vec<Member>,
    delivered: u64,
    rng: SmallRng,
    filters: &'static [&'static str],
    /// Mailboxes of sessions that have ended.
    ended: Vec<Arc<Mailbox>>,
    /// Messages are gathered as a driver does.
    gathers: bool,
}

struct Member {
    client: Client,
    filters: Vec<&'static str>,
    online: bool,
}

/// The first ones are not shared.
const FILTERS: [&str; 6] = ["t", "t/#", "+", "$share/g/t", "$share/g/t/#", "$share/h/t"];
const TOPICS: [&str; 3] = ["t", "t/x", "nobody"];

impl World {
    fn new(seed: u64, filters: &'static [&'static str]) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let strategies = [ShareStrategy::RoundRobin, ShareStrategy::Sticky, ShareStrategy::LeastInFlight];
        let share_strategy = strategies[rng.random_range(0..strategies.len())];
        // With room for a run, or without.
        let messages_max = [3, 10_000][rng.random_range(0..2)];
        let group = GroupLimits { messages_max, ..config().group };
        let mut world = World {
            fixture: Fixture::with(&RouterConfig { share_strategy, group, ..config() }),
            share_strategy,
            clients: Vec::new(),
            delivered: 0,
            rng,
            filters,
            ended: Vec::new(),
            gathers: seed.is_multiple_of(2),
        };
        (0..5).for_each(|_| world.begin());
        world
    }

    fn begin(&mut self) {
        let policies = [OnQueueFull::DropOldest, OnQueueFull::DropNewest, OnQueueFull::Refuse, OnQueueFull::Disconnect];
        let limits = QueueLimits {
            messages_max: self.rng.random_range(1..5),
            bytes_max: self.rng.random_range(100..1_000),
            on_full: policies[self.rng.random_range(0..policies.len())],
            queue_qos0: self.rng.random(),
        };
        let mut client = self.fixture.client_with(&format!("c{}-{}", self.clients.len(), self.ended.len()), limits);
        client.window = self.rng.random_range(0..4);
        self.clients.push(Member { client, filters: Vec::new(), online: true });
    }

    fn step(&mut self) {
        let index = self.rng.random_range(0..self.clients.len());
        match self.rng.random_range(0..20) {
            0..=6 => self.publish(index),
            7..=9 => self.read(index),
            10..=12 => self.acknowledge(index),
            13..=14 => self.subscribe(index),
            15 => self.unsubscribe(index),
            16 => self.hang_up(index),
            17 => self.come_back(index),
            18 => self.end(index),
            _ => self.pass_time(),
        }
    }

    /// A turn's messages of one client.
    fn publish(&mut self, index: usize) {
        for _ in 0..self.rng.random_range(1..4) {
            self.publish_one(index);
        }
        self.fixture.router.hand_out(&mut self.fixture.batch);
    }

    fn publish_one(&mut self, index: usize) {
        let qos = [AtMostOnce, AtLeastOnce, ExactlyOnce][self.rng.random_range(0..3)];
        let payload = "x".repeat(self.rng.random_range(0..200));
        let expires_at = match self.rng.random_range(0..4) {
            0 => BrokerTime::from_millis(self.fixture.batch.now.as_millis() + self.rng.random_range(0..20)),
            _ => BrokerTime::NEVER,
        };
        let publisher = self.clients[index].client.mailbox.publisher();
        let topic = TOPICS[self.rng.random_range(0..TOPICS.len())];
        let retain = self.rng.random_range(0..5) == 0;
        let parts = MessageParts { expires_at, publisher, retain, ..parts(topic, &payload, qos) };
        let message = Draft::new(&parts);
        let Fixture { router, batch } = &mut self.fixture;
        if !(self.gathers && router.gather(&message, batch)) {
            self.fixture.give(&message.to_message());
        }
    }

    fn read(&mut self, index: usize) {
        let member = &mut self.clients[index];
        if !member.online {
            return;
        }
        let mut into = VecDeque::new();
        let bytes_max = self.rng.random_range(0..500);
        loop {
            match member.client.poll(bytes_max, &mut into) {
                Poll::Ready(MailboxEvent::GroupsWaiting) => {
                    self.fixture.router.pull_shared(&member.client.mailbox, &mut self.fixture.batch);
                    if self.rng.random() {
                        break;
                    }
                }
                Poll::Ready(MailboxEvent::Deliveries) => {
                    let (acked, others): (Vec<_>, Vec<_>) = into.drain(..).partition(Queued::is_acked);
                    self.delivered += u64::from(others.iter().map(Queued::messages).sum::<u32>());
                    member.client.inflight.extend(acked.iter().flat_map(Queued::deliveries));
                }
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
            assert!(member.client.inflight.len() as u32 <= member.client.window, "never beyond the window");
        }
    }

    fn acknowledge(&mut self, index: usize) {
        let inflight = &mut self.clients[index].client.inflight;
        if !inflight.is_empty() {
            inflight.swap_remove(self.rng.random_range(0..inflight.len()));
            self.delivered += 1;
        }
    }

    fn subscribe(&mut self, index: usize) {
        let filter = self.filters[self.rng.random_range(0..self.filters.len())];
        let options = SubscribeOptions {
            qos: [AtMostOnce, AtLeastOnce, ExactlyOnce][self.rng.random_range(0..3)],
            no_local: !filter.starts_with('$') && self.rng.random(),
            ..SubscribeOptions::default()
        };
        let member = &mut self.clients[index];
        let existed = self.fixture.subscribe(&member.client, filter, options).existed;
        assert_eq!(existed, member.filters.contains(&filter));
        if !existed {
            member.filters.push(filter);
        }
    }

    fn unsubscribe(&mut self, index: usize) {
        let filter = self.filters[self.rng.random_range(0..self.filters.len())];
        let member = &mut self.clients[index];
        let existed = self.fixture.unsubscribe(&member.client, filter);
        assert_eq!(existed, member.filters.contains(&filter));
        member.filters.retain(|known| *known != filter);
    }

    fn hang_up(&mut self, index: usize) {
        self.clients[index].online = false;
        self.fixture.hang_up(&self.clients[index].client);
    }

    fn come_back(&mut self, index: usize) {
        let member = &mut self.clients[index];
        if !member.online {
            member.online = true;
            member.client.window = member.client.inflight.len() as u32 + self.rng.random_range(0..4);
            member.client.mailbox.attach(member.client.under_way());
        }
    }

    fn end(&mut self, index: usize) {
        let mut member = self.clients.swap_remove(index);
        self.ended.push(Arc::clone(&member.client.mailbox));
        self.fixture.end(&mut member.client, &member.filters);
        self.begin();
    }

    fn pass_time(&mut self) {
        self.fixture.batch.now = BrokerTime::from_millis(self.fixture.batch.now.as_millis() + 3);
        self.fixture.router.sweep(&mut self.fixture.batch);
        let index = self.rng.random_range(0..self.clients.len());
        match self.rng.random_range(0..8) {
            0 => drop(self.clients[index].client.mailbox.purge(&mut self.fixture.batch)),
            _ => {
                let now = self.fixture.batch.now;
                self.clients[index].client.mailbox.drop_expired(now, &mut self.fixture.batch);
            }
        }
    }

    fn check(&self) {
        let counts = &self.fixture.batch.counts;
        let inflight: u64 = self.clients.iter().map(|member| member.client.inflight.len() as u64).sum();
        let stats: Vec<_> = self.clients.iter().map(|member| member.client.mailbox.stats()).collect();
        let queued = stats.iter().map(|stats| stats.queued).sum::<u64>() + self.fixture.router.group_queued().0;
        let sum = self.delivered + inflight + queued + counts.dropped_sum() + counts.refused;
        assert_eq!(counts.matched, sum, "{counts:?}");
        for (member, stats) in self.clients.iter().zip(stats) {
            let bytes: usize = member.client.mailbox.peek(0, usize::MAX).0.iter().map(|it| it.message.size()).sum();
            assert_eq!(stats.queued_bytes, bytes as u64);
        }
    }
}

#[test]
fn matched_is_delivered_and_in_flight_and_queued_and_dropped_and_refused() {
    for seed in 0..60 {
        let mut world = World::new(seed, &FILTERS);
        for step in 0..600 {
            world.step();
            world.check();
            assert!(step < 599 || world.fixture.batch.counts.matched > 50, "seed {seed} does something");
        }
        while let Some(mut member) = world.clients.pop() {
            world.fixture.end(&mut member.client, &member.filters);
            world.check();
        }
        let counts = &world.fixture.batch.counts;
        assert_eq!(counts.matched, world.delivered + counts.dropped_sum() + counts.refused, "seed {seed}");
        assert_eq!((world.fixture.router.group_queued().0, world.fixture.router.subscriptions_len()), (0, 0));
    }
}

#[test]
fn without_shared_groups_the_clients_have_lost_what_the_broker_has_dropped() {
    let mut seen = [0; DropCause::ALL.len()];
    for seed in 0..40 {
        let mut world = World::new(seed, &FILTERS[..3]);
        (0..600).for_each(|_| world.step());
        while let Some(mut member) = world.clients.pop() {
            world.fixture.end(&mut member.client, &member.filters);
            world.ended.push(member.client.mailbox);
        }
        let losses: Vec<_> = world.ended.iter().map(|mailbox| mailbox.stats().losses).collect();
        for cause in DropCause::ALL {
            let lost: u64 = losses.iter().map(|losses| losses.of(cause)).sum();
            assert_eq!(lost, world.fixture.dropped(cause), "seed {seed}, {}", cause.name());
            seen[cause as usize] += lost;
        }
        let refused: u64 = losses.iter().map(|losses| losses.refused).sum();
        assert!((refused > 0) == (world.fixture.batch.counts.refused > 0), "seed {seed}");
    }
    use DropCause::{Expired, NoLocal, Offline, Purged, QueueFull, SessionEnded};
    for cause in [QueueFull, Offline, Expired, NoLocal, SessionEnded, Purged] {
        assert!(seen[cause as usize] > 0, "no seed drops for {}", cause.name());
    }
}

#[test]
fn what_is_gathered_comes_to_the_same_as_what_is_published_one_by_one() {
    for seed in 0..120 {
        // The members of a group take turns in portions of a run, and what a session has of its own comes before that.
        let filters = match World::new(seed, &[]).share_strategy {
            ShareStrategy::Sticky => &FILTERS[3..4],
            _ => &FILTERS[..3],
        };
        let mut worlds = [true, false].map(|gathers| World { gathers, ..World::new(seed, filters) });
        for step in 0..600 {
            worlds.iter_mut().for_each(World::step);
            let [gathered, direct] = worlds.each_ref().map(|world| {
                let queued = |member: &Member| member.client.mailbox.peek(0, usize::MAX).0.iter().map(words).collect();
                let queues: Vec<Vec<String>> = world.clients.iter().map(queued).collect();
                (world.fixture.batch.counts.clone(), world.delivered, queues)
            });
            assert!(gathered == direct, "seed {seed}, step {step}: {gathered:?} and {direct:?}");
        }
    }
}
