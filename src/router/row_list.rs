//! Which stored copies wait for a session whose messages are on disk: their rows and sizes, oldest first, in a few bytes
//! each, since ten million of them may sleep here.
//!
//! Rows mostly ascend, but two publishers may hand theirs over in the other order than they were stored: the order of
//! the list is the order of delivery.

use std::collections::VecDeque;

use crate::message::RowId;

#[derive(Debug, Default)]
pub(super) struct RowList {
    /// For each copy how far its row is from the one before, then its size.
    encoded: VecDeque<u8>,
    /// The row before the first; 0 when that is absolute.
    base: u64,
    last: u64,
    len: u64,
    bytes: u64,
}

impl RowList {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of all sizes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push_back(&mut self, row: RowId, size: u64) {
        let step = row.0.wrapping_sub(self.last) as i64;
        self.put(((step << 1) ^ (step >> 63)) as u64);
        self.put(size);
        self.last = row.0;
        self.len += 1;
        self.bytes += size;
    }

    pub(super) fn front(&self) -> Option<RowId> {
        self.iter().next().map(|(row, _)| row)
    }

    pub(super) fn pop_front(&mut self) -> Option<(RowId, u64)> {
        let mut bytes = self.encoded.iter().copied();
        let (row, size) = next(&mut bytes, self.base)?;
        let left = bytes.len();
        self.encoded.drain(..self.encoded.len() - left);
        self.base = row.0;
        self.len -= 1;
        self.bytes -= size;
        if self.len == 0 {
            *self = RowList::default();
        }
        Some((row, size))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RowId, u64)> + '_ {
        let (mut bytes, mut before) = (self.encoded.iter().copied(), self.base);
        std::iter::from_fn(move || {
            let (row, size) = next(&mut bytes, before)?;
            before = row.0;
            Some((row, size))
        })
    }

    /// Takes out those that are not wanted; returns how many.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(RowId) -> bool) -> u64 {
        let mut kept = RowList::default();
        for (row, size) in self.iter().filter(|(row, _)| wanted(*row)) {
            kept.push_back(row, size);
        }
        let removed = self.len - kept.len;
        *self = kept;
        removed
    }

    /// Seven bits a byte, the lowest first.
    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.encoded.push_back(number as u8 | 0x80);
            number >>= 7;
        }
        self.encoded.push_back(number as u8);
    }
}

fn next(bytes: &mut impl Iterator<Item = u8>, before: u64) -> Option<(RowId, u64)> {
    let zigzag = number(bytes)?;
    let step = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    Some((RowId(before.wrapping_add(step as u64)), number(bytes)?))
}

fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[(u64, u64)]) -> RowList {
        let mut list = RowList::default();
        rows.iter().for_each(|(row, size)| list.push_back(RowId(*row), *size));
        list
    }

    fn rows(list: &RowList) -> Vec<(u64, u64)> {
        list.iter().map(|(row, size)| (row.0, size)).collect()
    }

    #[test]
    fn rows_come_out_in_the_order_they_went_in_whatever_their_numbers() {
        let expected = [(1 << 40, 100), (7, 0), (9, 1 << 28), (8, 127), (u64::MAX, 128), (1, 1)];
        let mut list = list(&expected);
        assert_eq!((list.len(), list.bytes()), (6, expected.iter().map(|(_, size)| size).sum()));
        assert_eq!(rows(&list), expected);
        for (row, size) in expected {
            assert_eq!(list.front(), Some(RowId(row)));
            assert_eq!(list.pop_front(), Some((RowId(row), size)));
        }
        assert_eq!((list.pop_front(), list.len(), list.bytes()), (None, 0, 0));
        list.push_back(RowId(3), 5);
        assert_eq!(rows(&list), [(3, 5)]);
    }

    #[test]
    fn some_are_taken_out_of_the_middle() {
        let mut list = list(&[(1, 10), (2, 20), (3, 30), (4, 40)]);
        list.pop_front();
        assert_eq!(list.retain(|row| row.0 != 3), 1);
        assert_eq!((rows(&list), list.bytes()), (vec![(2, 20), (4, 40)], 60));
    }

    #[test]
    fn a_waiting_message_takes_a_few_bytes() {
        let mut list = RowList::default();
        (0..10_000u64).for_each(|n| list.push_back(RowId(1_000_000_000 + n * 1000), 210));
        assert!(list.encoded.len() <= 4 * 10_000 + 8, "{}", list.encoded.len());
    }
}
