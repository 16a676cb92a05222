//! How long things took: counts in buckets that are narrow where times are short.
//!
//! Buckets are exact to the nanosecond up to [`EXACT`], and from there on each power of two is cut
//! into 1024 equal ones: every value is told to within one thousandth of itself (three significant
//! digits, as with HdrHistogram), and memory is bounded whatever the number of values: 262 KiB.
//!
//! ```text
//! value       0 … 2047 │ 2048 … 4095 │ 4096 … 8191 │ …  2^42 ns are 73 minutes
//! bucket is      1 ns   │    2 ns     │    4 ns     │
//! ```

use std::time::Duration;

/// Values below it, in nanoseconds, have a bucket each.
const EXACT: u64 = 1 << EXACT_BITS;
const EXACT_BITS: u32 = 11;
/// Buckets of each power of two beyond.
const BUCKETS_PER_DOUBLING: usize = 1 << (EXACT_BITS - 1);
/// The longest that is told apart; whatever is longer counts as this long.
const LONGEST: u64 = (1 << LONGEST_BITS) - 1;
const LONGEST_BITS: u32 = 42;
const BUCKETS: usize = EXACT as usize + (LONGEST_BITS - EXACT_BITS) as usize * BUCKETS_PER_DOUBLING;

/// Counts of durations.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, longest: 0 }
    }

    /// Counts one value.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.longest = self.longest.max(nanos);
    }

    /// Counts what another has counted, too.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time within which this share of the values lies (0 to 1): the end of the bucket of the
    /// first value that no smaller share holds. Without values it is zero.
    pub fn quantile(&self, share: f64) -> Duration {
        // Shares that a reader knows as decimals are none in binary: without the small step back
        // 0.999 of 1000 would be the 1000th.
        let rank = (share * self.total as f64 - 1e-6).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(bucket_end(index).min(self.longest));
            }
        }
        self.longest()
    }

    /// The longest value, exactly.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < EXACT {
        return nanos as usize;
    }
    // How often the value can be halved until it has as many bits as an exact one.
    let halvings = u64::BITS - nanos.leading_zeros() - EXACT_BITS;
    let within = (nanos >> halvings) as usize - BUCKETS_PER_DOUBLING;
    EXACT as usize + (halvings as usize - 1) * BUCKETS_PER_DOUBLING + within
}

/// The largest value of a bucket.
fn bucket_end(index: usize) -> u64 {
    let Some(beyond) = index.checked_sub(EXACT as usize) else { return index as u64 };
    let halvings = beyond / BUCKETS_PER_DOUBLING + 1;
    let within = beyond % BUCKETS_PER_DOUBLING + BUCKETS_PER_DOUBLING;
    ((within as u64 + 1) << halvings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: [f64; 8] = [0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

    /// Against the sorted values themselves: never less, and at most a thousandth more.
    fn check(values: &[u64]) {
        let mut histogram = Histogram::new();
        values.iter().for_each(|nanos| histogram.record(Duration::from_nanos(*nanos)));
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        for share in SHARES {
            let rank = ((share * sorted.len() as f64 - 1e-6).ceil().max(1.0) as usize).min(sorted.len());
            let (exact, told) = (sorted[rank - 1], histogram.quantile(share).as_nanos() as u64);
            assert!(exact <= told && told <= exact + exact / 1000, "{share}: {told} for {exact}");
        }
        assert_eq!(histogram.longest().as_nanos() as u64, sorted[sorted.len() - 1]);
        assert_eq!(histogram.total(), sorted.len() as u64);
    }

    fn noise(count: usize, shift: impl Fn(usize) -> u32) -> Vec<u64> {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        (0..count).map(|index| next() >> shift(index)).collect()
    }

    #[test]
    fn quantiles_are_those_of_sorted_values_to_three_digits() {
        check(&[0]);
        check(&[5, 5, 5, 1_000_000_000]);
        check(&(1..=10_000).collect::<Vec<_>>());
        check(&noise(20_000, |_| 44));
        check(&noise(20_000, |index| 22 + (index % 40) as u32));
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for index in 1..BUCKETS {
            let first = bucket_end(index - 1) + 1;
            assert_eq!((bucket(first), bucket(bucket_end(index))), (index, index));
        }
        assert_eq!(bucket(LONGEST), BUCKETS - 1);
    }

    #[test]
    fn value_beyond_the_longest_counts_as_the_longest() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.quantile(0.5), Duration::from_nanos(LONGEST));
    }

    #[test]
    fn nothing_counted_is_zero() {
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn merged_counts_are_those_of_both() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        one.record(Duration::from_nanos(1));
        other.record(Duration::from_nanos(9));
        one.merge(&other);
        assert_eq!((one.total(), one.longest()), (2, Duration::from_nanos(9)));
        assert_eq!(one.quantile(0.5), Duration::from_nanos(1));
    }
}
