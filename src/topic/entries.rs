//! Who subscribed to one filter: a single entry in place, a short vector, or a hash map when there are many.
//!
//! Most filters have one subscriber, some have a hundred thousand. The first must cost little memory, the second must
//! take and lose subscribers in constant time and still be read front to back for every message.

use std::hash::Hash;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// Up to here a vector is searched from its start, which is faster than hashing and takes less memory.
const FEW_MAX: usize = 8;
/// A map that has shrunk to this goes back to a vector; the gap to [`FEW_MAX`] keeps one that sways from converting.
const MANY_MIN: usize = 4;

/// The entries of one filter, each key once, in no particular order. Never empty inside a tree.
pub struct Entries<K, T> {
    shape: Shape<K, T>,
}

enum Shape<K, T> {
    One((K, T)),
    Few(Vec<(K, T)>),
    Many(Box<IndexMap<K, T, RandomState>>),
}

impl<K, T> Entries<K, T> {
    pub(super) fn one(key: K, value: T) -> Self {
        Entries { shape: Shape::One((key, value)) }
    }

    pub fn len(&self) -> usize {
        match &self.shape {
            Shape::One(_) => 1,
            Shape::Few(few) => few.len(),
            Shape::Many(many) => many.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> EntriesIter<'_, K, T> {
        match &self.shape {
            Shape::One(one) => EntriesIter(Cursor::Few(std::slice::from_ref(one).iter())),
            Shape::Few(few) => EntriesIter(Cursor::Few(few.iter())),
            Shape::Many(many) => EntriesIter(Cursor::Many(many.iter())),
        }
    }

    /// What the entries take on the heap beside their slot in the arena; the map's table is reckoned at its usual load.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.shape {
            Shape::One(_) => 0,
            Shape::Few(few) => few.capacity() * size_of::<(K, T)>(),
            Shape::Many(many) => {
                let entry = size_of::<(u64, K, T)>() + size_of::<usize>() + 1;
                size_of::<IndexMap<K, T, RandomState>>() + many.capacity() * entry
            }
        }
    }
}

impl<K: Copy + Eq + Hash, T> Entries<K, T> {
    pub fn get(&self, key: &K) -> Option<&T> {
        match &self.shape {
            Shape::One((own, value)) => (own == key).then_some(value),
            Shape::Few(few) => few.iter().find(|(own, _)| own == key).map(|(_, value)| value),
            Shape::Many(many) => many.get(key),
        }
    }

    /// Adds an entry or replaces the value of `key` and returns the former one.
    pub(super) fn insert(&mut self, key: K, value: T) -> Option<T> {
        match &mut self.shape {
            Shape::One((own, former)) if *own == key => return Some(std::mem::replace(former, value)),
            Shape::One(_) => {}
            Shape::Few(few) => {
                if let Some((_, former)) = few.iter_mut().find(|(own, _)| *own == key) {
                    return Some(std::mem::replace(former, value));
                }
                if few.len() < FEW_MAX {
                    few.push((key, value));
                    return None;
                }
            }
            Shape::Many(many) => return many.insert(key, value),
        }
        self.grow(key, value);
        None
    }

    /// Moves on to the next larger shape.
    fn grow(&mut self, key: K, value: T) {
        let added = std::iter::once((key, value));
        self.shape = match std::mem::replace(&mut self.shape, Shape::Few(Vec::new())) {
            Shape::One(one) => Shape::Few(std::iter::once(one).chain(added).collect()),
            Shape::Few(few) => Shape::Many(Box::new(few.into_iter().chain(added).collect())),
            Shape::Many(many) => Shape::Many(many),
        };
    }

    /// Takes an entry out. The caller drops entries that are empty afterwards.
    pub(super) fn remove(&mut self, key: &K) -> Option<T> {
        match &mut self.shape {
            Shape::One((own, _)) if own == key => match std::mem::replace(&mut self.shape, Shape::Few(Vec::new())) {
                Shape::One((_, value)) => Some(value),
                _ => None,
            },
            Shape::One(_) => None,
            Shape::Few(few) => {
                let at = few.iter().position(|(own, _)| own == key)?;
                let (_, value) = few.swap_remove(at);
                Some(value)
            }
            Shape::Many(many) => {
                let value = many.swap_remove(key)?;
                self.give_back_memory();
                Some(value)
            }
        }
    }

    /// Lets go of room that three quarters of the subscribers have left, so that a burst does not stay for ever.
    fn give_back_memory(&mut self) {
        let Shape::Many(many) = &mut self.shape else { return };
        if many.len() <= MANY_MIN {
            self.shape = Shape::Few(many.drain(..).collect());
        } else if many.len() < many.capacity() / 4 {
            many.shrink_to(many.len() * 2);
        }
    }
}

impl<'a, K, T> IntoIterator for &'a Entries<K, T> {
    type Item = (&'a K, &'a T);
    type IntoIter = EntriesIter<'a, K, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Visits the entries of one filter.
pub struct EntriesIter<'a, K, T>(Cursor<'a, K, T>);

enum Cursor<'a, K, T> {
    Few(std::slice::Iter<'a, (K, T)>),
    Many(indexmap::map::Iter<'a, K, T>),
}

impl<'a, K, T> Iterator for EntriesIter<'a, K, T> {
    type Item = (&'a K, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Cursor::Few(few) => few.next().map(|(key, value)| (key, value)),
            Cursor::Many(many) => many.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Cursor::Few(few) => few.size_hint(),
            Cursor::Many(many) => many.size_hint(),
        }
    }
}

impl<K, T> ExactSizeIterator for EntriesIter<'_, K, T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(entries: &Entries<u32, &'static str>) -> Vec<(u32, &'static str)> {
        let mut list: Vec<_> = entries.iter().map(|(key, value)| (*key, *value)).collect();
        list.sort_unstable();
        list
    }

    #[test]
    fn each_key_is_kept_once_in_every_shape() {
        let mut entries = Entries::one(0, "a");
        for key in 0..100 {
            assert_eq!(entries.insert(key, "a").is_some(), key == 0);
            assert_eq!(entries.insert(key, "b"), Some("a"));
            assert_eq!(entries.len(), key as usize + 1);
            assert_eq!(entries.iter().len(), entries.len());
            assert_eq!(entries.get(&key), Some(&"b"));
            assert_eq!(entries.get(&1000), None);
        }
        assert_eq!(sorted(&entries), (0..100).map(|key| (key, "b")).collect::<Vec<_>>());
    }

    #[test]
    fn entries_leave_one_by_one_down_to_none_and_memory_follows() {
        let mut entries = Entries::one(0, "a");
        for key in 1..10_000 {
            entries.insert(key, "a");
        }
        let peak = entries.memory_bytes();
        for key in 0..10_000 {
            assert_eq!(entries.remove(&key), Some("a"));
            assert_eq!(entries.remove(&key), None);
            if key == 9_899 {
                assert!(entries.memory_bytes() < peak / 20, "{} of {peak}", entries.memory_bytes());
            }
        }
        assert!(entries.is_empty());
    }

    #[test]
    fn one_entry_is_stored_in_place() {
        assert_eq!(size_of::<Entries<u64, [u64; 2]>>(), 32);
    }
}
