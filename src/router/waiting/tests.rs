//! Random steps, against a list of what should be there.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::message::{Draft, MessageParts, PublisherId, RunBuilder, SubscriptionIds};
use crate::topic::QoS;

const SEEDS: u64 = 300;
const STEPS: usize = 300;
const SESSION: OwnerId = OwnerId(7);
const GROUP: GroupId = GroupId(NonZeroU32::MIN);

/// What a copy is, by its number.
#[derive(Clone, Copy, Debug)]
struct Known {
    qos: QoS,
    is_stored: bool,
    is_shared: bool,
    expires_at: BrokerTime,
    size: u64,
}

struct Run {
    random: SmallRng,
    seed: u64,
    waiting: Waiting,
    batch: Batch,
    next: u64,
    /// Those that should wait.
    known: BTreeMap<u64, Known>,
    /// The last own copy that came out, of the stored and the others.
    last: [u64; 2],
}

fn draft(number: u64, known: &Known) -> Draft {
    Draft::new(&MessageParts {
        topic_prefix: "",
        topic: "t",
        forward: &[],
        payload: &number.to_be_bytes(),
        qos: known.qos,
        retain: false,
        expires_at: known.expires_at,
        publisher: PublisherId(1),
    })
}

fn delivery(number: u64, known: &Known) -> Delivery {
    let message = draft(number, known).to_message();
    let row = if known.is_stored { RowId(number) } else { RowId::NONE };
    let group = known.is_shared.then_some(GROUP);
    Delivery { message, qos: known.qos, retain: false, subscription_ids: SubscriptionIds::None, group, row }
}

fn number(delivery: &Delivery) -> u64 {
    u64::from_be_bytes(delivery.message.payload().try_into().unwrap())
}

fn numbers(queued: &Queued) -> impl Iterator<Item = u64> {
    queued.deliveries().map(|delivery| number(&delivery))
}

impl Run {
    fn new(seed: u64) -> Run {
        Run {
            random: SmallRng::seed_from_u64(seed),
            seed,
            waiting: Waiting::default(),
            batch: Batch::at(BrokerTime::from_millis(0)),
            next: 1,
            known: BTreeMap::new(),
            last: [0; 2],
        }
    }

    fn push(&mut self) {
        let qos = if self.random.random_bool(0.3) { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let ms = self.random.random_range(1..1000);
        let expires_at = if self.random.random_bool(0.2) { BrokerTime::from_millis(ms) } else { BrokerTime::NEVER };
        let mut known = Known {
            qos,
            is_stored: qos != QoS::AtMostOnce && self.random.random_bool(0.7),
            is_shared: self.random.random_bool(0.15),
            expires_at,
            size: 0,
        };
        let copy = delivery(self.next, &known);
        known.size = copy.message.size() as u64;
        let parked = !known.is_shared && self.random.random_bool(0.3);
        self.waiting.push(copy, parked);
        self.known.insert(self.next, known);
        self.next += 1;
    }

    fn push_run(&mut self) {
        let ms = self.random.random_range(1..1000);
        let expires_at = if self.random.random_bool(0.2) { BrokerTime::from_millis(ms) } else { BrokerTime::NEVER };
        let qos = if self.random.random_bool(0.3) { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let is_shared = self.random.random_bool(0.3);
        let mut messages = RunBuilder::default();
        for _ in 0..self.random.random_range(1..5) {
            let mut known = Known { qos, is_stored: false, is_shared, expires_at, size: 0 };
            let copy = draft(self.next, &known);
            known.size = copy.size() as u64;
            assert!(messages.is_empty() || messages.goes_on_with(&copy));
            messages.push(&copy);
            self.known.insert(self.next, known);
            self.next += 1;
        }
        let run = messages.finish().expect("there are some");
        let mut run = RunDelivery::new(run, QoS::ExactlyOnce, SubscriptionIds::None);
        run.group = is_shared.then_some(GROUP);
        self.waiting.push_run(run);
    }

    fn took_all(&mut self, queued: &Queued) {
        queued.deliveries().for_each(|delivery| self.took(&delivery));
    }

    /// It has come out for its client: own copies of a kind in their order.
    fn took(&mut self, delivery: &Delivery) {
        let number = number(delivery);
        let known = self.known.remove(&number).unwrap_or_else(|| panic!("seed {}: {number} twice", self.seed));
        if !known.is_shared {
            let last = &mut self.last[usize::from(known.is_stored)];
            assert!(number > *last, "seed {}: {number} behind {last}", self.seed);
            *last = number;
        }
    }

    /// Reads a page as a driver does; sometimes the first has gone from the store.
    fn page(&mut self) {
        if !self.waiting.wants_page() {
            return;
        }
        let front = self.waiting.disk_front().expect("a page is wanted");
        let on_disk: Vec<u64> = self.on_disk();
        let is_gone = self.random.random_bool(0.1);
        let count = self.random.random_range(1..8);
        let rows = on_disk.iter().skip(usize::from(is_gone)).take(count);
        let rows = rows.map(|number| (RowId(*number), delivery(*number, &self.known[number]))).collect();
        let lost = self.waiting.page_in(front, rows);
        assert_eq!(lost, u64::from(is_gone), "seed {}", self.seed);
        if is_gone {
            self.known.remove(&front.0);
        }
    }

    fn on_disk(&self) -> Vec<u64> {
        let asleep = self.waiting.asleep.iter();
        asleep.flat_map(|asleep| asleep.disk.iter()).map(|(row, _)| row.0).collect()
    }

    fn search(&mut self, now: BrokerTime) {
        let on_disk = self.on_disk();
        let is_due = |number: &u64| now >= self.known[number].expires_at;
        assert!(self.waiting.may_have_expired(now) || !on_disk.iter().any(is_due), "seed {}: not searched", self.seed);
        let (expired, left): (Vec<_>, Vec<_>) = on_disk.into_iter().partition(is_due);
        let next = left.iter().map(|number| self.known[number].expires_at).min().unwrap_or(BrokerTime::NEVER);
        self.waiting.begin_search();
        let mut expired: Vec<_> = expired.into_iter().map(RowId).collect();
        expired.sort_unstable();
        let dropped = self.waiting.end_search(&expired, next, SESSION, &mut self.batch);
        assert_eq!(dropped, expired.len() as u64, "seed {}", self.seed);
        self.forget(|number, _| expired.contains(&RowId(number)));
    }

    /// Copies that should have gone; the stored ones among them have been told to the store.
    fn forget(&mut self, is_gone: impl Fn(u64, &Known) -> bool) -> u64 {
        let gone: Vec<_> = self.known.extract_if(.., |number, known| is_gone(*number, known)).collect();
        let mut rows: Vec<_> = gone
            .iter()
            .filter(|(_, known)| known.is_stored)
            .map(|(number, known)| (if known.is_shared { OwnerId::from(GROUP) } else { SESSION }, RowId(*number)))
            .collect();
        let mut ended = std::mem::take(&mut self.batch.ended);
        rows.sort_unstable();
        ended.sort_unstable();
        assert_eq!(ended, rows, "seed {}", self.seed);
        gone.len() as u64
    }

    fn remove_oldest(&mut self, place: Option<Place>) {
        let Some(place) = place else { return };
        let before = self.waiting.len();
        self.waiting.remove(place, SESSION, &mut self.batch);
        assert_eq!(self.waiting.len(), before - 1, "seed {}", self.seed);
        let left: Vec<u64> = self.waiting.in_memory().flat_map(numbers).chain(self.on_disk()).collect();
        assert_eq!(self.forget(|number, _| !left.contains(&number)), 1, "seed {}", self.seed);
    }

    /// As when its driver goes, before it is parked.
    fn take_shared(&mut self) {
        let shared = self.waiting.take_shared(|id| id == GROUP);
        shared.iter().for_each(|delivery| self.took(delivery));
        assert!(self.known.values().all(|known| !known.is_shared), "seed {}", self.seed);
    }

    fn step(&mut self) {
        let now = BrokerTime::from_millis(self.random.random_range(0..1000));
        match self.random.random_range(0..100) {
            0..38 => self.push(),
            38..45 => self.push_run(),
            45..53 => {
                self.take_shared();
                self.waiting.park();
            }
            53..68 => self.page(),
            68..73 => {
                if let Some((taken, acked)) = self.waiting.take_all(20, 4000) {
                    assert_eq!(acked, count_acked(&taken), "seed {}", self.seed);
                    taken.iter().for_each(|queued| self.took_all(queued));
                }
            }
            73..83 => {
                let acked_max = self.random.random_range(0..4);
                if let Some(taken) = self.waiting.take_first(acked_max) {
                    assert!(!taken.is_acked() || taken.messages() <= acked_max, "seed {}", self.seed);
                    self.took_all(&taken);
                }
            }
            83..87 => self.remove_oldest(self.waiting.oldest()),
            87..90 => self.remove_oldest(self.waiting.oldest_qos0()),
            90..92 => {
                let on_disk = self.on_disk();
                let dropped = self.waiting.drop_expired(now, SESSION, &mut self.batch);
                let gone = self.forget(|number, known| now >= known.expires_at && !on_disk.contains(&number));
                assert_eq!(dropped, gone, "seed {}", self.seed);
            }
            92..94 => {
                let dropped = self.waiting.drop_qos0(SESSION, &mut self.batch);
                assert_eq!(dropped, self.forget(|_, known| known.qos == QoS::AtMostOnce), "seed {}", self.seed);
            }
            94..96 => self.take_shared(),
            96..99 => self.search(now),
            _ => {
                let purged = self.waiting.purge(SESSION, &mut self.batch);
                assert_eq!(purged, self.forget(|_, _| true), "seed {}", self.seed);
            }
        }
    }

    fn check(&self) {
        let mut there: Vec<u64> = self.waiting.in_memory().flat_map(numbers).chain(self.on_disk()).collect();
        there.sort_unstable();
        assert!(there.iter().eq(self.known.keys()), "seed {}: {there:?}, not {:?}", self.seed, self.known);
        let bytes: u64 = self.known.values().map(|known| known.size).sum();
        assert_eq!((self.waiting.len(), self.waiting.bytes()), (there.len() as u64, bytes), "seed {}", self.seed);
        let queue = &self.waiting.queue;
        assert_eq!(self.waiting.acked(), count_acked(queue), "seed {}", self.seed);
        assert_eq!(self.waiting.unacked, count(queue) - count_acked(queue), "seed {}", self.seed);
        assert!(self.waiting.asleep.as_ref().is_none_or(|asleep| !asleep.disk.is_empty()), "seed {}", self.seed);
    }
}

#[test]
fn whatever_happens_each_copy_is_there_once_and_comes_out_in_order() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
            run.check();
        }
    }
}

#[test]
fn what_waits_for_a_session_that_never_slept_is_small() {
    assert!(size_of::<Waiting>() <= 64, "{}", size_of::<Waiting>());
}
