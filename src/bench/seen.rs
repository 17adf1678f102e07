//! Which messages of one publisher have come: what is lost, what came twice, what came late.

use std::collections::VecDeque;

/// What a message is to those that came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    InOrder,
    /// A later one came before it.
    Late,
    Twice,
}

/// The numbers that have come. All below `base` have; of those from there on, each has a bit.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    base: u64,
    words: VecDeque<u64>,
    /// One above the highest.
    next: u64,
}

impl Seen {
    /// `number` is below how many were sent: that is what bounds the memory.
    #[inline]
    pub(super) fn insert(&mut self, number: u64) -> Place {
        if self.words.is_empty() && number == self.base {
            self.base += 1;
            self.next = self.base;
            return Place::InOrder;
        }
        self.insert_out_of_order(number)
    }

    fn insert_out_of_order(&mut self, number: u64) -> Place {
        let Some(ahead) = number.checked_sub(self.base) else { return Place::Twice };
        let (word, bit) = ((ahead / 64) as usize, 1 << (ahead % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit != 0 {
            return Place::Twice;
        }
        self.words[word] |= bit;
        self.forget_what_is_whole();
        if number < self.next {
            return Place::Late;
        }
        self.next = number + 1;
        Place::InOrder
    }

    fn forget_what_is_whole(&mut self) {
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.base += 64;
        }
        // Nothing is missing between the first and the last: back to counting.
        if let (1, Some(&word)) = (self.words.len(), self.words.front())
            && word & word.wrapping_add(1) == 0
        {
            self.base += u64::from(word.trailing_ones());
            self.words.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_has_the_place_that_a_set_would_give_it(
            steps in prop::collection::vec((0u64..400, 0u64..20), 1..300),
            in_order in any::<bool>(),
        ) {
            let (mut seen, mut set) = (Seen::default(), BTreeSet::new());
            for (at, (far, near)) in steps.into_iter().enumerate() {
                let number = if in_order { (at as u64).saturating_sub(near / 10) } else { far };
                let highest = set.last().copied();
                let expected = match (set.insert(number), highest) {
                    (false, _) => Place::Twice,
                    (true, Some(highest)) if number < highest => Place::Late,
                    _ => Place::InOrder,
                };
                prop_assert_eq!(seen.insert(number), expected, "{}", number);
            }
        }
    }

    #[test]
    fn a_gap_that_closes_leaves_nothing_behind() {
        let mut seen = Seen::default();
        assert_eq!([1, 0, 1].map(|number| seen.insert(number)), [Place::InOrder, Place::Late, Place::Twice]);
        assert!(seen.words.is_empty() && seen.base == 2);
        (3..1000).for_each(|number| assert_eq!(seen.insert(number), Place::InOrder));
        assert_eq!(seen.insert(2), Place::Late);
        assert!(seen.words.len() <= 1, "{}", seen.words.len());
    }
}
