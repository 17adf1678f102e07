//! A disk in memory that does to its files what disks and file systems do, by a seed.
//!
//! What is written can be read at once, and is lost with the power until it is synced, page by page of 4 KiB, in any
//! order, torn at sectors of 512 bytes. Names are lost until the directory is synced. At a chosen operation it fails:
//! with an error, without space, at a sync (and then forgets what was not synced, as Linux does), or by power loss.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use parking_lot::Mutex;

use super::disk::Disk;

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Error,
    NoSpace,
    /// The next sync fails.
    Sync,
    PowerLoss,
}

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Pages that were written and not synced.
    dirty: BTreeSet<usize>,
}

/// A change of the directory that was not synced.
#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct State {
    dice: Dice,
    contents: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    /// Operations that change something, so far.
    operations: u64,
    fault: Option<(u64, Fault)>,
    sync_fails: bool,
    is_off: bool,
    is_locked: bool,
    /// Of all files that have a name.
    bytes_max: u64,
}

/// The disk. Survives its users.
pub(crate) struct SimDisk(Mutex<State>);

const PAGE: usize = 4096;
const SECTOR: usize = 512;

fn eio() -> io::Error {
    io::Error::other("the simulated disk fails")
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        SimDisk(Mutex::new(State {
            dice: Dice(seed),
            contents: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            operations: 0,
            fault: None,
            sync_fails: false,
            is_off: false,
            is_locked: false,
            bytes_max: u64::MAX,
        }))
    }

    /// The `after`th operation from now on meets a fault.
    pub(crate) fn fail_after(&self, after: u64, fault: Fault) {
        let mut state = self.0.lock();
        state.fault = Some((state.operations + after, fault));
    }

    /// More than this does not fit from now on.
    pub(crate) fn set_bytes_max(&self, bytes_max: u64) {
        self.0.lock().bytes_max = bytes_max;
    }

    /// How often something was to be changed so far.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.lock().is_off
    }

    /// The process ends; what the system has it keeps.
    pub(crate) fn kill(&self) {
        let mut state = self.0.lock();
        state.is_locked = false;
        (state.fault, state.sync_fails) = (None, false);
    }

    /// The power goes and comes back.
    pub(crate) fn power_cycle(&self) {
        let mut state = self.0.lock();
        state.lose_names();
        state.lose_pages();
        state.is_locked = false;
        (state.fault, state.sync_fails, state.is_off) = (None, false, false);
    }

    /// Flips one bit of a file that the pattern fits; which file and where.
    pub(crate) fn rot(&self, dice: &mut Dice, fits: impl Fn(&str) -> bool) -> Option<(String, u64)> {
        let mut state = self.0.lock();
        let names: Vec<_> = state.names.iter().filter(|(name, _)| fits(name)).map(|(n, id)| (n.clone(), *id)).collect();
        let (name, id) = names.get(dice.below(names.len()))?.clone();
        let contents = &mut state.contents[id];
        let at = dice.below(contents.now.len());
        let bit = 1 << dice.below(8);
        *contents.now.get_mut(at)? ^= bit;
        contents.durable = contents.now.clone();
        contents.dirty.clear();
        Some((name, at as u64))
    }
}

impl State {
    /// Counts an operation; fails it if its time has come.
    fn operate(&mut self, is_sync: bool) -> io::Result<Option<Fault>> {
        if self.is_off {
            return Err(eio());
        }
        self.operations += 1;
        let due = self.fault.filter(|(at, _)| *at <= self.operations).map(|(_, fault)| fault);
        if due.is_some() {
            self.fault = None;
        }
        match due {
            Some(Fault::PowerLoss) => self.is_off = true,
            Some(Fault::Sync) => self.sync_fails = true,
            _ => {}
        }
        if is_sync && self.sync_fails {
            self.sync_fails = false;
            return Ok(Some(Fault::Sync));
        }
        Ok(due.filter(|fault| *fault != Fault::Sync))
    }

    fn id(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free(&self) -> u64 {
        let used: usize = self.names.values().map(|id| self.contents[*id].now.len()).sum();
        self.bytes_max.saturating_sub(used as u64)
    }

    /// How many of the bytes of a write fit.
    fn fitting(&self, name: &str, offset: u64, length: usize) -> io::Result<usize> {
        let end = (self.contents[self.id(name)?].now.len() as u64).saturating_add(self.free());
        Ok(length.min(end.saturating_sub(offset) as usize))
    }

    fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let id = self.id(name)?;
        let contents = &mut self.contents[id];
        let end = offset + bytes.len();
        if contents.now.len() < end {
            contents.now.resize(end, 0);
        }
        contents.now[offset..end].copy_from_slice(bytes);
        if !bytes.is_empty() {
            contents.dirty.extend(offset / PAGE..=(end - 1) / PAGE);
        }
        Ok(())
    }

    fn lose_names(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let in_order = self.dice.one_in(2);
        let prefix = self.dice.below(unsynced.len() + 1);
        let mut names = self.durable_names.clone();
        for (at, change) in unsynced.into_iter().enumerate() {
            let happened = if in_order { at < prefix } else { self.dice.one_in(2) };
            if happened {
                apply(&mut names, &change);
            }
        }
        self.durable_names = names.clone();
        self.names = names;
    }

    fn lose_pages(&mut self) {
        for contents in &mut self.contents {
            let mut left = contents.durable.clone();
            if contents.now.len() < left.len() && self.dice.one_in(2) {
                left.truncate(contents.now.len());
            }
            for page in std::mem::take(&mut contents.dirty) {
                let from = page * PAGE;
                let whole = (contents.now.len().saturating_sub(from)).min(PAGE);
                let kept = match self.dice.below(5) {
                    0 | 1 => 0,
                    2 => (self.dice.below(PAGE / SECTOR) * SECTOR).min(whole),
                    _ => whole,
                };
                if kept > 0 {
                    left.resize(left.len().max(from + kept), 0);
                    left[from..from + kept].copy_from_slice(&contents.now[from..from + kept]);
                }
            }
            contents.now = left.clone();
            contents.durable = left;
        }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Create(name, id) => drop(names.insert(name.clone(), *id)),
        NameChange::Remove(name) => drop(names.remove(name)),
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.0.lock();
        Ok(state.names.iter().map(|(name, id)| (name.clone(), state.contents[*id].now.len() as u64)).collect())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        match state.operate(false)? {
            Some(Fault::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
            Some(_) => return Err(eio()),
            None => {}
        }
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.contents.push(Contents::default());
        let change = NameChange::Create(name.to_owned(), state.contents.len() - 1);
        apply(&mut state.names, &change);
        state.unsynced.push(change);
        Ok(())
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let fits = state.fitting(name, offset, bytes.len())?;
        let fault = state.operate(false)?.or((fits < bytes.len()).then_some(Fault::NoSpace));
        let written = match fault {
            None => bytes.len(),
            Some(Fault::NoSpace) if fits < bytes.len() => fits,
            Some(Fault::NoSpace) => state.dice.below(bytes.len()),
            Some(_) => state.dice.below(bytes.len() + 1),
        };
        state.write(name, offset as usize, &bytes[..written])?;
        match fault {
            None => Ok(()),
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(eio()),
        }
    }

    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.0.lock();
        let bytes = state.contents[state.id(name)?].now.get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.operate(false)?.is_some() {
            return Err(eio());
        }
        let id = state.id(name)?;
        state.contents[id].now.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let fault = state.operate(true)?;
        let id = state.id(name)?;
        if fault.is_some() {
            if fault != Some(Fault::PowerLoss) {
                // Some of it is on disk, and of the rest nobody will hear again.
                let contents = &mut state.contents[id];
                let dirty = std::mem::take(&mut contents.dirty);
                for page in dirty.into_iter().step_by(2) {
                    let (from, to) = (page * PAGE, ((page + 1) * PAGE).min(contents.now.len()));
                    if from < to {
                        contents.durable.resize(contents.durable.len().max(to), 0);
                        contents.durable[from..to].copy_from_slice(&contents.now[from..to]);
                    }
                }
            }
            return Err(eio());
        }
        let contents = &mut state.contents[id];
        contents.durable = contents.now.clone();
        contents.dirty.clear();
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.operate(true)?.is_some() {
            return Err(eio());
        }
        state.durable_names = state.names.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.operate(false)?.is_some() {
            return Err(eio());
        }
        state.id(from)?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        apply(&mut state.names, &change);
        state.unsynced.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.operate(false)?.is_some() {
            return Err(eio());
        }
        state.id(name)?;
        let change = NameChange::Remove(name.to_owned());
        apply(&mut state.names, &change);
        state.unsynced.push(change);
        Ok(())
    }

    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()> {
        match self.create(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let length = self.list()?.into_iter().find(|(known, _)| known == name).map_or(0, |(_, length)| length);
        if length > bytes { self.truncate(name, bytes) } else { self.write_at(name, 0, &vec![0; bytes as usize]) }
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(self.0.lock().free())
    }

    fn lock(&self) -> io::Result<bool> {
        let mut state = self.0.lock();
        Ok(!std::mem::replace(&mut state.is_locked, true))
    }

    fn unlock(&self) {
        self.0.lock().is_locked = false;
    }

    fn place(&self) -> String {
        "the simulated disk".to_owned()
    }
}
