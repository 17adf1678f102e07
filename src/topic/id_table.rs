//! A hash table of slot numbers whose keys live in the slots.
//!
//! It consists of many small tables: one table of millions of numbers would stop everybody for a tenth of a second
//! whenever it doubles, its parts do so one by one.

use hashbrown::HashTable;

use super::arena::Id;

/// Doubling a part of a table of two million numbers takes a millisecond or two.
const PARTS: usize = 64;

pub(super) struct IdTable<T> {
    parts: Box<[HashTable<Id<T>>]>,
}

impl<T> IdTable<T> {
    pub(super) fn new() -> IdTable<T> {
        IdTable { parts: (0..PARTS).map(|_| HashTable::new()).collect() }
    }

    pub(super) fn find(&self, hash: u64, is_wanted: impl FnMut(&Id<T>) -> bool) -> Option<Id<T>> {
        self.parts[part(hash)].find(hash, is_wanted).copied()
    }

    /// Adds a number that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, id: Id<T>, hasher: impl Fn(&Id<T>) -> u64) {
        self.parts[part(hash)].insert_unique(hash, id, hasher);
    }

    /// Returns whether the number was there.
    pub(super) fn remove(&mut self, hash: u64, id: Id<T>) -> bool {
        self.parts[part(hash)].find_entry(hash, |&other| other == id).map(|entry| entry.remove()).is_ok()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let tables: usize = self.parts.iter().map(HashTable::allocation_size).sum();
        tables + size_of_val(&*self.parts)
    }
}

/// By bits of the hash that the tables themselves do not look at: they use the lowest and the seven highest.
fn part(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::arena::Arena;

    #[test]
    fn numbers_are_found_among_others_of_the_same_hash_until_they_are_removed() {
        let (mut arena, mut table) = (Arena::new(), IdTable::new());
        let ids: Vec<_> = (0..1000_u64).map(|value| arena.insert(value)).collect();
        let hash = |value: u64| (value / 10).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (&id, value) in ids.iter().zip(0..) {
            table.insert(hash(value), id, |&id| hash(arena[id]));
        }
        assert_eq!(table.len(), 1000);
        for (&id, value) in ids.iter().zip(0..) {
            assert!(table.find(hash(value), |&id| arena[id] == value) == Some(id));
            assert!(table.remove(hash(value), id));
            assert!(!table.remove(hash(value), id));
            assert!(table.find(hash(value), |&id| arena[id] == value).is_none());
        }
        assert_eq!(table.len(), 0);
    }
}
