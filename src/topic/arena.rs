//! Storage for the nodes of a tree: numbered slots in blocks, freed slots used again.
//!
//! A number is four bytes where a pointer is eight, and a tree of numbers needs neither `unsafe` nor reference counts.
//! Blocks never move once they are full, so that no insert copies a million slots.

use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

/// Slots of a block: some hundred kilobytes.
const BLOCK: usize = 4096;

/// The number of a slot that holds a `T`. An `Option<Id<T>>` takes four bytes, too.
pub(super) struct Id<T> {
    number: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    fn from_index(index: usize) -> Id<T> {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Id { number: number.expect("memory ends before 2^32 slots do"), of: PhantomData }
    }

    fn index(self) -> usize {
        self.number.get() as usize - 1
    }

    /// For hashing.
    pub(super) fn number(self) -> u32 {
        self.number.get()
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Id<T> {}

enum Slot<T> {
    Used(T),
    Free { next: Option<Id<T>> },
}

pub(super) struct Arena<T> {
    /// All full but the last.
    blocks: Vec<Vec<Slot<T>>>,
    /// The first of a chain of free slots.
    free: Option<Id<T>>,
    len: usize,
}

impl<T> Arena<T> {
    pub(super) fn new() -> Arena<T> {
        Arena { blocks: Vec::new(), free: None, len: 0 }
    }

    /// How many slots are in use.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> Id<T> {
        self.len += 1;
        let Some(id) = self.free else { return self.push(value) };
        if let Slot::Free { next } = std::mem::replace(self.slot_mut(id), Slot::Used(value)) {
            self.free = next;
        }
        id
    }

    fn push(&mut self, value: T) -> Id<T> {
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => block.push(Slot::Used(value)),
            _ => self.blocks.push(vec![Slot::Used(value)]),
        }
        Id::from_index(self.len - 1) // without free slots all are in use
    }

    /// Takes a value out; its number may then stand for another one.
    ///
    /// # Panics
    /// When the slot is free.
    pub(super) fn remove(&mut self, id: Id<T>) -> T {
        let free = Slot::Free { next: self.free };
        match std::mem::replace(self.slot_mut(id), free) {
            Slot::Used(value) => {
                self.free = Some(id);
                self.len -= 1;
                value
            }
            Slot::Free { .. } => panic!("slot {} is freed twice", id.number()),
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().filter_map(|slot| match slot {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        })
    }

    /// What the slots take on the heap, not counting what the values themselves point to.
    pub(super) fn memory_bytes(&self) -> usize {
        let slots: usize = self.blocks.iter().map(Vec::capacity).sum();
        slots * size_of::<Slot<T>>() + self.blocks.capacity() * size_of::<Vec<Slot<T>>>()
    }

    fn slot(&self, id: Id<T>) -> &Slot<T> {
        &self.blocks[id.index() / BLOCK][id.index() % BLOCK]
    }

    fn slot_mut(&mut self, id: Id<T>) -> &mut Slot<T> {
        &mut self.blocks[id.index() / BLOCK][id.index() % BLOCK]
    }
}

impl<T> Index<Id<T>> for Arena<T> {
    type Output = T;

    fn index(&self, id: Id<T>) -> &T {
        match self.slot(id) {
            Slot::Used(value) => value,
            Slot::Free { .. } => panic!("slot {} is read after it was freed", id.number()),
        }
    }
}

impl<T> IndexMut<Id<T>> for Arena<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match self.slot_mut(id) {
            Slot::Used(value) => value,
            Slot::Free { .. } => panic!("slot {} is written after it was freed", id.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_slots_are_used_again_before_the_arena_grows() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..4).map(|value| arena.insert(value)).collect();
        assert_eq!(arena.remove(ids[1]), 1);
        assert_eq!(arena.remove(ids[2]), 2);
        assert_eq!(arena.len(), 2);
        let again = [arena.insert(5), arena.insert(6)];
        assert!(again[0] == ids[2] && again[1] == ids[1]);
        assert!(arena.insert(7) == Id::from_index(4));
        assert_eq!(arena.values().copied().collect::<Vec<_>>(), [0, 6, 5, 3, 7]);
    }

    #[test]
    fn slots_are_found_in_every_block() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..3 * BLOCK + 1).map(|value| arena.insert(value)).collect();
        assert!(ids.iter().enumerate().all(|(value, &id)| arena[id] == value));
        arena[ids[BLOCK]] = 7;
        assert_eq!(arena.values().filter(|&&value| value == 7).count(), 2);
        assert_eq!(arena.len(), 3 * BLOCK + 1);
    }

    #[test]
    #[should_panic(expected = "slot 1 is read after it was freed")]
    fn reading_a_freed_slot_is_a_mistake_that_does_not_go_on() {
        let mut arena = Arena::new();
        let id = arena.insert(1);
        arena.remove(id);
        let _ = arena[id];
    }
}
