//! Checkpoints: the whole index in a file, so that a start reads only the log behind it.
//!
//! ```text
//! file    "MIDGECHK" · version 4 · store 8 · number 8 · blocks … · end block (empty)
//! block   length 4 · CRC-32C 4 (over store, number, the block's place in the file and its bytes) · entries
//! entry   1 facts · 2 owner · 3 retained message
//! ```
//! It is written under another name, synced, and renamed: one that has its name is whole. Live bytes are not in it, they
//! follow from the references.

use std::io;
use std::num::NonZeroU32;

use triomphe::Arc;

use super::codec::{Malformed, Reader, put_bytes, put_number, put_numbers, put_str, put_time};
use super::disk::Disk;
use super::files::{
    CHECKPOINT_MAGIC, FileKind, TEMPORARY, VERSION, VERSION_MIN, checkpoint_name, kind_of, segment_name,
};
use super::frame::Position;
use super::index::{Index, Owner, Picture, Sent, Subscription};
use super::queue::{Chunk, PageMeta, Ref, put_refs, read_refs};
use crate::store::{OwnerId, RowId};

/// What a checkpoint says beside the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub store: u64,
    /// Of the checkpoint.
    pub number: u64,
    /// Key of hashes that are stored.
    pub seed: u64,
    /// Where the log goes on.
    pub position: Position,
}

const HEADER: usize = 28;
const BLOCK_HEADER: usize = 8;
const BLOCK_BYTES: usize = 1 << 20;

const FACTS: u8 = 1;
const OWNER: u8 = 2;
const RETAINED: u8 = 3;

/// Makes the file, and writes what is ready of it; how long it is.
fn encode(disk: &dyn Disk, name: &str, facts: &Facts, index: Picture) -> io::Result<u64> {
    let mut file = Blocks::create(disk, name, facts)?;
    file.block.push(FACTS);
    put_number(&mut file.block, facts.seed);
    put_position(&mut file.block, facts.position);
    put_numbers(&mut file.block, [index.next_record, index.next_owner]);
    put_time(&mut file.block, index.time);
    put_numbers(&mut file.block, [index.owners.len() as u64, index.retained.len() as u64]);
    index.owners.try_for_each(|owner, state| {
        file.block.push(OWNER);
        put_owner(&mut file.block, *owner, state);
        file.end_if_full()
    })?;
    index.retained.try_for_each(|topic, found| {
        file.block.push(RETAINED);
        put_str(&mut file.block, topic);
        put_refs(&mut file.block, std::iter::once(found));
        file.end_if_full()
    })?;
    file.finish()
}

/// A file as it grows, a block at a time: neither the memory for all of it nor one long write, behind which the log would
/// wait.
struct Blocks<'a> {
    disk: &'a dyn Disk,
    name: &'a str,
    store: u64,
    number: u64,
    /// Where the block begins that is being made.
    from: u64,
    /// Room for its header, and its entries.
    block: Vec<u8>,
}

impl<'a> Blocks<'a> {
    fn create(disk: &'a dyn Disk, name: &'a str, facts: &Facts) -> io::Result<Self> {
        let mut header = CHECKPOINT_MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&facts.store.to_le_bytes());
        header.extend_from_slice(&facts.number.to_le_bytes());
        disk.create(name)?;
        disk.write_at(name, 0, &header)?;
        let (store, number, from) = (facts.store, facts.number, header.len() as u64);
        Ok(Blocks { disk, name, store, number, from, block: vec![0; BLOCK_HEADER] })
    }

    fn end_if_full(&mut self) -> io::Result<()> {
        if self.block.len() > BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let body = &self.block[BLOCK_HEADER..];
        let (length, checksum) = (body.len() as u32, checksum(self.store, self.number, self.from, body));
        self.block[..4].copy_from_slice(&length.to_le_bytes());
        self.block[4..BLOCK_HEADER].copy_from_slice(&checksum.to_le_bytes());
        self.disk.write_at(self.name, self.from, &self.block)?;
        self.from += self.block.len() as u64;
        self.block.truncate(BLOCK_HEADER);
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        if self.block.len() > BLOCK_HEADER {
            self.end_block()?;
        }
        // The empty one says that nothing is missing.
        self.end_block()?;
        Ok(self.from)
    }
}

fn checksum(store: u64, number: u64, from: u64, bytes: &[u8]) -> u32 {
    let place = [store, number, from].map(u64::to_le_bytes).concat();
    crc32c::crc32c_append(crc32c::crc32c(&place), bytes)
}

/// Beside a subscription's options: it waits for retained messages.
const HAS_REPLAY: u8 = 0x80;

fn put_position(buf: &mut Vec<u8>, at: Position) {
    put_numbers(buf, [at.segment, at.offset]);
}

fn put_owner(buf: &mut Vec<u8>, owner: OwnerId, state: &Owner) {
    put_number(buf, owner.0);
    put_bytes(buf, state.session.as_deref().unwrap_or_default());
    put_str(buf, state.group.as_deref().unwrap_or_default());
    put_number(buf, state.subscriptions.len() as u64);
    for subscription in &state.subscriptions {
        put_str(buf, &subscription.filter);
        buf.push(subscription.options | if subscription.replay.is_some() { HAS_REPLAY } else { 0 });
        put_number(buf, subscription.id.map_or(0, |id| id.get().into()));
        subscription.replay.iter().for_each(|after| put_str(buf, after));
    }
    put_number(buf, state.received.len() as u64);
    state.received.iter().for_each(|id| put_number(buf, u64::from(*id)));
    put_number(buf, state.sent.len() as u64);
    for sent in &state.sent {
        put_numbers(buf, [sent.row.0, sent.packet_id.into(), sent.from.0]);
        put_refs(buf, sent.copy.iter());
    }
    put_number(buf, state.queue.chunks().count() as u64);
    for chunk in state.queue.chunks() {
        match chunk {
            Chunk::Loaded(refs) => {
                buf.push(0);
                put_refs(buf, refs.iter());
            }
            Chunk::Sealed(page) => {
                buf.push(1);
                page.put(buf);
            }
        }
    }
}

/// Why a checkpoint cannot be used: from where on it is not what was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub offset: u64,
}

/// Reads a whole file.
pub(super) fn decode(bytes: &[u8]) -> Result<(Facts, Index), Unusable> {
    let mut header = Reader::new(bytes);
    let unusable = |offset: usize| Unusable { offset: offset as u64 };
    let (store, number) = read_header(&mut header).map_err(|Malformed| unusable(0))?;
    let mut loading = Loading::default();
    let mut at = HEADER;
    loop {
        let mut reader = Reader::new(bytes.get(at..).unwrap_or_default());
        // The first block may be one only by another header.
        let from = if at == HEADER { 0 } else { at };
        let body = read_block(&mut reader, store, number, at).map_err(|Malformed| unusable(from))?;
        if body.is_empty() {
            break;
        }
        loading.block(body).map_err(|Malformed| unusable(at))?;
        at += BLOCK_HEADER + body.len();
    }
    loading.finish(store, number).map_err(|Malformed| unusable(at))
}

fn read_header(reader: &mut Reader<'_>) -> Result<(u64, u64), Malformed> {
    if reader.take(8)? != CHECKPOINT_MAGIC || !(VERSION_MIN..=VERSION).contains(&reader.fixed_u32()?) {
        return Err(Malformed);
    }
    Ok((reader.fixed_u64()?, reader.fixed_u64()?))
}

fn read_block<'a>(reader: &mut Reader<'a>, store: u64, number: u64, at: usize) -> Result<&'a [u8], Malformed> {
    let (length, expected) = (reader.fixed_u32()?, reader.fixed_u32()?);
    let body = reader.take(length as usize)?;
    (checksum(store, number, at as u64, body) == expected).then_some(body).ok_or(Malformed)
}

#[derive(Default)]
struct Loading {
    index: Index,
    seed: u64,
    position: Position,
    owners: usize,
    retained: usize,
}

impl Loading {
    fn block(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.byte()? {
                FACTS => self.facts(&mut reader)?,
                OWNER => self.owner(&mut reader)?,
                RETAINED => self.retained(&mut reader)?,
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }

    fn facts(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        self.seed = reader.number()?;
        self.position = Position { segment: reader.number_u32()?, offset: reader.number_u32()? };
        (self.index.next_record, self.index.next_owner) = (reader.number()?, reader.number()?);
        self.index.time = reader.time()?;
        (self.owners, self.retained) = (reader.size()?, reader.size()?);
        Ok(())
    }

    fn owner(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let owner = OwnerId(reader.number()?);
        let mut state = Owner {
            session: Some(reader.bytes()?).filter(|session| !session.is_empty()).map(Into::into),
            group: Some(reader.str()?).filter(|group| !group.is_empty()).map(Into::into),
            ..Owner::default()
        };
        for _ in 0..reader.size()? {
            let (filter, options) = (reader.str()?.into(), reader.byte()?);
            let id = NonZeroU32::new(reader.number_u32()?);
            let replay = if options & HAS_REPLAY == 0 { None } else { Some(reader.str()?.into()) };
            state.subscriptions.push(Subscription { filter, options: options & !HAS_REPLAY, id, replay });
        }
        for _ in 0..reader.size()? {
            state.received.push(reader.number_u16()?);
        }
        for _ in 0..reader.size()? {
            let (row, packet_id, from) = (RowId(reader.number()?), reader.number_u16()?, OwnerId(reader.number()?));
            let sent = Sent { row, packet_id, from, copy: read_refs(reader)?.pop_front() };
            self.index.keep_sent(owner, &sent);
            state.sent.push(sent);
        }
        for _ in 0..reader.size()? {
            state.queue.push_chunk(self.chunk(reader)?);
        }
        self.index.rows += state.queue.rows() + state.sent.len() as u64;
        self.index.sessions += u64::from(state.session.is_some());
        self.index.owners.insert(owner, Arc::new(state));
        Ok(())
    }

    fn chunk(&mut self, reader: &mut Reader<'_>) -> Result<Chunk, Malformed> {
        if reader.byte()? == 0 {
            let refs = read_refs(reader)?;
            self.index.loaded += refs.len();
            refs.iter().for_each(|found| self.index.live.add_ref(found));
            return Ok(Chunk::Loaded(refs));
        }
        let page = PageMeta::read(reader)?;
        self.index.live.add_page(&page);
        page.spans.iter().for_each(|(segment, bytes)| self.index.live.add(*segment, *bytes));
        Ok(Chunk::Sealed(Arc::new(page)))
    }

    fn retained(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let topic = reader.str()?.into();
        let found: Ref = read_refs(reader)?.pop_front().ok_or(Malformed)?;
        self.index.live.add_ref(&found);
        self.index.retained.insert(topic, found);
        Ok(())
    }

    fn finish(self, store: u64, number: u64) -> Result<(Facts, Index), Malformed> {
        if self.owners != self.index.owners.len() || self.retained != self.index.retained.len() {
            return Err(Malformed);
        }
        Ok((Facts { store, number, seed: self.seed, position: self.position }, self.index))
    }
}

/// Writes a checkpoint; it is the newest once this has returned. How long it is.
pub(super) fn write(disk: &dyn Disk, facts: &Facts, index: Picture) -> io::Result<u64> {
    let name = checkpoint_name(facts.number);
    let temporary = format!("{name}{TEMPORARY}");
    let written = encode(disk, &temporary, facts, index).and_then(|bytes| disk.sync(&temporary).map(|()| bytes));
    if written.is_err() {
        // It would be removed at the next start, but its space is wanted now.
        let _ = disk.remove(&temporary);
    }
    let bytes = written?;
    disk.rename(&temporary, &name)?;
    disk.sync_dir()?;
    Ok(bytes)
}

/// A checkpoint that has taken the place of another.
#[derive(Debug)]
pub(super) struct Written {
    pub bytes: u64,
    /// Segments that are gone.
    pub removed: Vec<u32>,
}

/// Writes a checkpoint, and removes what came before it: the old one, and segments that nothing in this one needs. What
/// cannot be removed is tried again with the next.
pub(super) fn replace(disk: &dyn Disk, facts: &Facts, index: Picture, dead: Vec<u32>) -> io::Result<Written> {
    let bytes = write(disk, facts, index)?;
    for (name, _) in disk.list().unwrap_or_default() {
        let is_old = matches!(kind_of(&name), FileKind::Checkpoint(number) if number < facts.number);
        if is_old && let Err(error) = disk.remove(&name) {
            tracing::warn!(%error, name, "an old checkpoint could not be removed");
        }
    }
    let mut removed = dead;
    removed.retain(|segment| match disk.remove(&segment_name(*segment)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, segment, "an old segment could not be removed");
            false
        }
        _ => true,
    });
    Ok(Written { bytes, removed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::sim::SimDisk;

    #[test]
    fn an_empty_index_survives_and_every_flipped_bit_is_noticed() {
        let position = Position { segment: 1, offset: 44 };
        let facts = Facts { store: 5, number: 7, seed: u64::MAX, position };
        let disk = SimDisk::new(1);
        let length = write(&disk, &facts, Index::new().picture()).expect("written");
        let mut bytes = vec![0; length as usize + 1];
        let read = disk.read_at(&checkpoint_name(7), 0, &mut bytes).expect("read");
        bytes.truncate(read);
        assert_eq!(read as u64, length);
        let (found, index) = decode(&bytes).expect("a checkpoint");
        assert_eq!((found, index.next_record, index.next_owner), (facts, 1, 1));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
    }
}
