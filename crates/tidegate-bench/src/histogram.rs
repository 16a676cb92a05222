//! A histogram of durations, to three digits and in bounded memory (HdrHistogram).

use std::time::Duration;

use hdrhistogram::Histogram as Counts;

/// The longest duration that is told apart, in nanoseconds: 73 minutes. A longer one counts as this long.
const LONGEST: u64 = (1 << 42) - 1;
/// Significant digits of every value: it is off by one thousandth at most.
const DIGITS: u8 = 3;

/// Counts of durations.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Counts<u64>,
    /// The exact maximum. The counts know it, like every value, to three digits only.
    longest: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        let counts = Counts::new_with_bounds(1, LONGEST, DIGITS).expect("constants that make sense");
        Histogram { counts, longest: 0 }
    }

    /// Counts one value.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
        self.counts.saturating_record(nanos);
        self.longest = self.longest.max(nanos);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.add(&other.counts).expect("the same bounds");
        self.longest = self.longest.max(other.longest);
    }

    /// Values with how often each was counted.
    pub fn pairs(&self) -> Vec<(u64, u64)> {
        self.counts.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }

    /// Makes a histogram of values with their counts, and the longest value.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u64, u64)>, longest: u64) -> Histogram {
        let mut histogram = Histogram { longest, ..Histogram::new() };
        pairs.into_iter().for_each(|(nanos, count)| histogram.counts.saturating_record_n(nanos, count));
        histogram
    }

    /// The number of values that were counted.
    pub fn total(&self) -> u64 {
        self.counts.len()
    }

    /// Returns the time within which this share of the values lies (0 to 1). Without values it is zero.
    pub fn quantile(&self, share: f64) -> Duration {
        // Shares that a reader knows as decimals are none in binary: without the small step back 0.999 of 1000 could be
        // the 1000th. And of none at all the least value would be told by the lower end of its bucket.
        let share = (share - 1e-6 / self.total().max(1) as f64).max(f64::MIN_POSITIVE);
        Duration::from_nanos(self.counts.value_at_quantile(share).min(self.longest))
    }

    /// The longest value, exactly.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: [f64; 8] = [0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

    /// Compares with the sorted values themselves: a quantile is never less, and at most a thousandth more.
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
    fn value_beyond_the_longest_counts_as_the_longest() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.quantile(0.5), Duration::from_nanos(LONGEST));
        assert_eq!(histogram.longest(), Duration::from_nanos(LONGEST));
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
