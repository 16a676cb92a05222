//! Compares two servers that were measured in turns: medians, their ratio, and how far rounds are apart.
//!
//! Rounds of a pair lie next to each other in time, so that what else the machine does meets both;
//! the ratio of a pair says more than the difference of two long measurements.

use super::result::Side;
use super::rig::Measurement;

/// One figure of both servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Compared {
    pub name: &'static str,
    /// The name of the figure for programs, in JSON.
    pub key: &'static str,
    pub medians: [f64; 2],
    /// The first server's figure divided by the second's; none if either is unknown.
    pub ratio: Option<f64>,
    /// The smallest and the largest value among the rounds.
    pub spread: [f64; 2],
}

type FigureOf = fn(&Measurement) -> Option<f64>;

/// The figures that are compared. A reader knows of which more is better, and of which less.
const FIGURES: [(&str, &str, FigureOf); 6] = [
    ("requests/s", "requests_per_second", |round| Some(round.requests_per_second())),
    ("p50 (µs)", "p50_us", |round| Some(round.quantile_micros(0.5))),
    ("p99 (µs)", "p99_us", |round| Some(round.quantile_micros(0.99))),
    ("p99.9 (µs)", "p99_9_us", |round| Some(round.quantile_micros(0.999))),
    ("CPU µs a request", "cpu_us_per_request", Measurement::cpu_micros_per_request),
    ("RSS at the end (MB)", "resident_mb", |round| round.resident().map(|[.., end]| end as f64 / 1e6)),
];

/// Compares two servers round by round.
pub(super) fn compare(first: &Side, second: &Side) -> Vec<Compared> {
    let each = FIGURES.iter().map(|(name, key, figure)| {
        let figures = |side: &Side| side.rounds.iter().map(figure).collect::<Option<Vec<f64>>>();
        let (one, other) = (figures(first).unwrap_or_default(), figures(second).unwrap_or_default());
        compared(name, key, &one, &other)
    });
    each.collect()
}

fn compared(name: &'static str, key: &'static str, one: &[f64], other: &[f64]) -> Compared {
    let medians = [median(one), median(other)];
    let ratios: Vec<f64> =
        one.iter().zip(other).filter(|(_, other)| **other > 0.0).map(|(one, other)| one / other).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    let is_known = !ratios.is_empty() && medians[1] > 0.0;
    let spread = if is_known { [least, most] } else { [0.0, 0.0] };
    Compared { name, key, medians, ratio: is_known.then(|| medians[0] / medians[1]), spread }
}

/// Returns the median: the middle figure, or the mean of the two in the middle. The median of nothing is
/// zero.
pub(super) fn median(figures: &[f64]) -> f64 {
    // One for each round, a handful: std's sort would be longer than all the rest of a comparison.
    let mut sorted = Vec::with_capacity(figures.len());
    for figure in figures {
        sorted.insert(sorted.partition_point(|other| other < figure), *figure);
    }
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_that_of_medians_and_spread_that_of_rounds() {
        let compared = compared("a", "a", &[2.0, 40.0, 3.0], &[1.0, 2.0, 3.0]);
        assert_eq!((compared.medians, compared.ratio), ([3.0, 2.0], Some(1.5)));
        assert_eq!(compared.spread, [1.0, 20.0]);
    }

    #[test]
    fn figure_that_is_not_known_has_no_ratio() {
        assert_eq!(compared("a", "a", &[1.0], &[]).ratio, None);
        assert_eq!(compared("a", "a", &[1.0], &[0.0]).ratio, None);
    }

    #[test]
    fn median_is_in_the_middle() {
        assert_eq!((median(&[]), median(&[3.0, 1.0]), median(&[9.0, 1.0, 2.0])), (0.0, 2.0, 2.0));
    }
}
