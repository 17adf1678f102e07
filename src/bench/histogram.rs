//! How often each duration came: 128 steps between a power of two and the next, so that a quantile is at most 1 % off.

/// Bits of a value that are kept.
const STEP_BITS: u32 = 7;
/// One for every value that 64 bits hold.
const BUCKETS: usize = (((64 - STEP_BITS) as usize) << STEP_BITS) + (1 << STEP_BITS);

/// Durations in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS].into(), count: 0, sum: 0, max: 0 }
    }
}

/// Small values have a bucket each; of larger ones the upper bits choose it.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    ((shift as usize) << STEP_BITS) + (value >> shift) as usize
}

/// The largest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let shift = (bucket >> STEP_BITS).saturating_sub(1);
    let step = (bucket - (shift << STEP_BITS)) as u128;
    u64::try_from(((step + 1) << shift) - 1).unwrap_or(u64::MAX)
}

impl Histogram {
    /// A value that came so many times.
    pub fn record(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        self.counts[bucket(value)] += times;
        self.count += times;
        self.sum += u128::from(value) * u128::from(times);
        self.max = self.max.max(value);
    }

    pub fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }

    /// What this share of the values is at most: the end of the bucket that holds the last of them. 0 when there are none.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        at.map_or(0, |bucket| upper_end(bucket).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap_up_to_the_largest_value() {
        for at in 1..BUCKETS {
            assert_eq!(bucket(upper_end(at - 1) + 1), at, "after {}", upper_end(at - 1));
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    proptest! {
        #[test]
        fn a_quantile_is_that_of_the_sorted_values_within_one_per_cent(
            mut values in prop::collection::vec(any::<u64>().prop_flat_map(|n| 0..=n.max(1)), 1..200),
            share in 0.0..=1.0f64,
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value, 1));
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let found = histogram.quantile(share);
            prop_assert!(found >= exact && found - exact <= exact / 100, "{found} for {exact}");
            prop_assert_eq!(histogram.max(), values[values.len() - 1]);
        }
    }

    #[test]
    fn histograms_add_up() {
        let (mut left, mut right, mut both) = <(Histogram, Histogram, Histogram)>::default();
        for value in [3, 5_000, 70_000_000] {
            left.record(value, 1);
            both.record(value, 1);
        }
        right.record(9, 2);
        right.record(1000, 0);
        both.record(9, 1);
        both.record(9, 1);
        left.add(&right);
        assert_eq!(left, both);
        assert_eq!((both.count(), both.mean(), Histogram::default().quantile(0.5)), (5, 14_001_004.2, 0));
    }
}
