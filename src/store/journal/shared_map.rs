//! A map of which a picture is taken at once, however large it is: it is in many parts, and the picture shares them. A
//! part that is in a picture is copied before it changes.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashbrown::HashMap;
use triomphe::Arc;

#[derive(Clone, Debug)]
pub(super) struct SharedMap<K, V> {
    parts: Box<[Arc<Part<K, V>>]>,
    hasher: foldhash::fast::RandomState,
    len: usize,
}

type Part<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// So many that a part of a million entries is copied in a fraction of a millisecond.
const PARTS: usize = 1024;

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        // All parts are one until something is in them.
        let empty = Arc::new(Part::default());
        let parts = (0..PARTS).map(|_| Arc::clone(&empty)).collect();
        SharedMap { parts, hasher: foldhash::fast::RandomState::default(), len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    fn position<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        self.hasher.hash_one(key) as usize % PARTS
    }

    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> &Part<K, V> {
        &self.parts[self.position(key)]
    }

    /// The part in which a key is, to be changed.
    fn part_with<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut Part<K, V>>
    where
        K: Borrow<Q>,
    {
        let at = self.position(key);
        let part = &mut self.parts[at];
        // Nothing is copied for a key that is not there.
        (part.is_unique() || part.contains_key(key)).then(|| Arc::make_mut(part))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.part(key).get(key)
    }

    pub(super) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.part_with(key)?.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let at = self.position(&key);
        let before = Arc::make_mut(&mut self.parts[at]).insert(key, value);
        self.len += usize::from(before.is_none());
    }

    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = self.part_with(key)?.remove(key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    pub(super) fn get_or_insert_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = self.position(&key);
        let part = Arc::make_mut(&mut self.parts[at]);
        self.len += usize::from(!part.contains_key(&key));
        part.entry(key).or_default()
    }

    /// Shows each entry, until one fails. A part that was shown need not be copied any longer when it changes.
    pub(super) fn try_for_each<E>(self, mut each: impl FnMut(&K, &V) -> Result<(), E>) -> Result<(), E> {
        self.parts.into_iter().try_for_each(|part| part.iter().try_for_each(|(key, value)| each(key, value)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn all(map: &SharedMap<Box<str>, u32>) -> BTreeMap<Box<str>, u32> {
        assert_eq!(map.iter().count(), map.len());
        map.iter().map(|(key, value)| (key.clone(), *value)).collect()
    }

    #[test]
    fn a_picture_stays_as_it_was_whatever_changes() {
        let mut map = SharedMap::default();
        for number in 0..5000 {
            map.insert(number.to_string().into(), number);
        }
        let (picture, before) = (map.clone(), all(&map));
        assert_eq!(before.len(), 5000);
        for number in 0..3000 {
            let key = number.to_string();
            match number % 3 {
                0 => assert_eq!(map.remove(&*key), Some(number)),
                1 => *map.get_mut(&*key).expect("there") += 1,
                _ => *map.get_or_insert_default(format!("new {key}").into()) += number,
            }
        }
        assert_eq!((map.remove("none"), map.get_mut("none")), (None, None));
        assert_eq!(map.get("1"), Some(&2));
        assert_eq!(map.len(), 5000);
        assert_eq!(all(&picture), before);
        assert_ne!(all(&map), before);
        let mut left = before;
        let shown = picture.try_for_each(|key, value| (left.remove(key) == Some(*value)).then_some(()).ok_or(()));
        assert_eq!((shown, left.len()), (Ok(()), 0));
    }
}
