//! The journal on the simulated disk: whatever happens to the disk, what was promised is there, exactly.
//!
//! Each seed is a story: batches, turns of the writer, a fault somewhere, an end (kill, loss of power, close), and a start
//! that is compared with the model. `MIDGE_SEED=n` tells one of them alone.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::model::{Maker, Model};
use crate::store::journal::sim::{Dice, Fault, SimDisk};
use crate::store::journal::{Journal, JournalOptions, OpenError};
use crate::store::{AppendError, Change, Durability, Health, Recovered, Store, Ticket};

/// Everything happens often.
pub(super) fn tiny() -> JournalOptions {
    JournalOptions {
        bytes_max: None,
        free_bytes_min: 0,
        reserve_bytes: 0,
        segment_bytes: 8 << 10,
        frame_bytes: 2 << 10,
        pending_bytes_max: 64 << 10,
        page_rows: 4,
        loaded_rows_max: 24,
        checkpoint_log_bytes: 6 << 10,
        slack_bytes: 8 << 10,
        compact_step_bytes: 2 << 10,
        maintenance_interval: Duration::from_secs(1),
    }
}

/// A batch, and what is known of it.
struct Told {
    first: u64,
    changes: Vec<Change>,
    ticket: Ticket,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Safe,
    /// There without doubt it is not.
    Absent,
    /// Told to be lost by a store that has failed: perhaps there all the same.
    Unknown,
}

struct Story {
    dice: Dice,
    /// A disk without space is given some.
    has_reserve: bool,
    disk: Arc<SimDisk>,
    maker: Maker,
    /// As of the last start.
    base: Model,
    told: Vec<Told>,
    /// With everything told that may be there.
    hoped: Model,
}

impl Story {
    fn new(seed: u64) -> Self {
        Story {
            dice: Dice(seed),
            has_reserve: seed.is_multiple_of(3),
            disk: Arc::new(SimDisk::new(seed ^ 0xD15C)),
            maker: Maker::new(seed ^ 0xFACE),
            base: Model::default(),
            told: Vec::new(),
            hoped: Model::default(),
        }
    }

    fn open(&self) -> Result<(Journal, Recovered), OpenError> {
        let reserve_bytes = if self.has_reserve { 4 << 10 } else { 0 };
        let options = JournalOptions { reserve_bytes, ..tiny() };
        let (journal, recovered) = Journal::open_inline(Arc::clone(&self.disk) as Arc<_>, &options, [77, 78])?;
        journal.write_checkpoints_later();
        Ok((journal, recovered))
    }

    /// A start that must succeed, and find what it must.
    fn start(&mut self, power_was_lost: bool) -> Journal {
        let (journal, recovered) = self.open().unwrap_or_else(|error| panic!("{error}"));
        let found = Model::of(&journal, &recovered, &mut self.dice).unwrap_or_else(|error| panic!("{error}"));
        self.settle(&found, power_was_lost);
        self.maker.go_on(&recovered);
        journal
    }

    /// What was found is what was told up to some batch, and that is not before the last that is safe.
    fn settle(&mut self, found: &Model, power_was_lost: bool) {
        let is_safe =
            |told: &Told| told.fate == Fate::Safe && (!power_was_lost || told.ticket.durability == Durability::Fsync);
        let safe = self.told.iter().rposition(is_safe).map_or(0, |at| at + 1);
        let mut model = self.base.clone();
        let mut fits = safe == 0 && model == *found;
        for (at, told) in self.told.iter().enumerate().filter(|(_, told)| told.fate != Fate::Absent) {
            for (row, change) in (told.first..).zip(&told.changes) {
                model.apply(row, change);
            }
            fits |= at + 1 >= safe && model == *found;
        }
        if !fits {
            let mut model = self.base.clone();
            for told in self.told[..safe].iter().filter(|told| told.fate != Fate::Absent) {
                (told.first..).zip(&told.changes).for_each(|(row, change)| model.apply(row, change));
            }
            panic!("{safe} of {} batches are safe:\n{}", self.told.len(), found.differences(&model));
        }
        self.base = found.clone();
        self.hoped = found.clone();
        self.told.clear();
    }

    fn tell(&mut self, journal: &Journal) {
        let changes = self.maker.batch(&self.hoped);
        let durability = if self.dice.one_in(3) { Durability::Os } else { Durability::Fsync };
        match journal.append(&changes, durability) {
            Ok(appended) => {
                let first = appended.first.0;
                (first..).zip(&changes).for_each(|(row, change)| self.hoped.apply(row, change));
                self.told.push(Told { first, changes, ticket: appended.ticket, fate: Fate::Open });
            }
            Err(AppendError::Failed(_) | AppendError::Busy) => {}
            Err(AppendError::Full(why)) => assert!(self.has_reserve, "{why}"),
        }
    }

    /// Asks for every ticket.
    fn ask(&mut self, journal: &Journal) {
        let has_failed = matches!(journal.status().health, Health::Failed(_));
        let mut lost = false;
        for told in self.told.iter_mut().filter(|told| told.fate == Fate::Open) {
            told.fate = match journal.poll_safe(told.ticket, Waker::noop()) {
                Poll::Ready(Ok(())) => Fate::Safe,
                Poll::Ready(Err(_)) if has_failed => Fate::Unknown,
                Poll::Ready(Err(_)) => Fate::Absent,
                Poll::Pending => Fate::Open,
            };
            lost |= told.fate == Fate::Absent;
        }
        if lost {
            self.hoped = self.base.clone();
            for told in self.told.iter().filter(|told| told.fate != Fate::Absent) {
                (told.first..).zip(&told.changes).for_each(|(row, change)| self.hoped.apply(row, change));
            }
        }
    }

    fn act(&mut self, journal: &Journal, actions: usize) {
        for _ in 0..actions {
            match self.dice.below(8) {
                0..4 => self.tell(journal),
                4 => journal.turn(true),
                5 | 6 => journal.turn(false),
                _ => self.look(journal),
            }
            self.ask(journal);
            if self.disk.is_off() {
                break;
            }
        }
    }

    /// What a running store shows of a queue is what it was told.
    fn look(&mut self, journal: &Journal) {
        journal.turn(false);
        self.ask(journal);
        if matches!(journal.status().health, Health::Failed(_)) {
            return;
        }
        let owners: Vec<_> = self.hoped.owners.keys().copied().collect();
        if let Some(owner) = owners.get(self.dice.below(owners.len())) {
            let found = super::model::read_all(journal, crate::store::OwnerId(*owner), &mut self.dice);
            assert_eq!(found.as_ref(), Ok(&self.hoped.owners[owner].waiting), "the queue of {owner}");
        }
    }

    /// Everything told is on disk, and the log itself says so.
    fn rest(&mut self, journal: &Journal) {
        for _ in 0..3 {
            journal.turn(true);
            self.ask(journal);
        }
    }
}

fn tell_with_faults(seed: u64) {
    let mut story = Story::new(seed);
    let mut journal = story.start(false);
    for _ in 0..1 + story.dice.below(3) {
        let fault = [Fault::Error, Fault::NoSpace, Fault::Sync, Fault::PowerLoss][story.dice.below(4)];
        if !story.dice.one_in(5) {
            story.disk.fail_after(1 + story.dice.below(50) as u64, fault);
        }
        let actions = 10 + story.dice.below(50);
        story.act(&journal, actions);
        let ends_by_power = story.disk.is_off() || story.dice.one_in(2);
        if !ends_by_power && story.dice.one_in(2) {
            journal.close();
            story.ask(&journal);
        }
        drop(journal);
        // A store that has failed does not know what the system has made of its pages.
        let is_harsh = ends_by_power || story.disk.is_off();
        if is_harsh {
            story.disk.power_cycle()
        } else {
            story.disk.kill()
        }
        journal = story.start(is_harsh);
    }
}

/// A bit of any file flips between two runs.
fn tell_with_rot(seed: u64) {
    let mut story = Story::new(seed);
    let journal = story.start(false);
    let actions = 30 + story.dice.below(120);
    story.act(&journal, actions);
    story.rest(&journal);
    if story.dice.one_in(2) {
        journal.close();
    }
    drop(journal);
    story.disk.kill();
    let mut dice = Dice(seed ^ 0x0807);
    let Some((file, offset)) = story.disk.rot(&mut dice, |name| name != "lock") else { return };
    let (journal, recovered) = match story.open() {
        Err(OpenError::Damaged { file: named, offset: at, .. }) => {
            // The frame or block in which it is begins before it; a header says where a file begins.
            assert!(named != file || at <= offset, "{named} at {at} for {file} at {offset}");
            return;
        }
        Err(OpenError::Version { file: named, .. }) => return assert_eq!(named, file),
        Err(error) => panic!("{error}"),
        Ok(opened) => opened,
    };
    match Model::of(&journal, &recovered, &mut story.dice) {
        Ok(found) => {
            let differences = found.differences(&story.hoped);
            assert!(differences.is_empty(), "lost without a word, {file} at {offset}:\n{differences}");
        }
        Err(error) => assert!(error.contains(&file) && error.contains("offset"), "{error} for {file} at {offset}"),
    }
}

/// Tells stories, or the one that is asked for.
fn tell_all(seeds: std::ops::Range<u64>, tell: fn(u64)) {
    let asked = std::env::var("MIDGE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = asked.map_or(seeds, |seed| seed..seed + 1);
    for seed in seeds {
        let told = std::panic::catch_unwind(|| tell(seed));
        assert!(told.is_ok(), "MIDGE_SEED={seed} tells it again");
    }
}

const FAULT_SEEDS: u64 = 8_000;
const ROT_SEEDS: u64 = 4_000;

#[test]
fn what_was_promised_is_there_whatever_the_disk_does() {
    tell_all(0..FAULT_SEEDS / 2, tell_with_faults);
}

#[test]
fn what_was_promised_is_there_whatever_else_the_disk_does() {
    tell_all(FAULT_SEEDS / 2..FAULT_SEEDS, tell_with_faults);
}

#[test]
fn a_flipped_bit_is_named_or_harmless() {
    tell_all(0..ROT_SEEDS, tell_with_rot);
}
