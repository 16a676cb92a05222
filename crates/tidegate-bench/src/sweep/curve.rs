//! Curves: how each figure of a server depends on the number of its connections.
//!
//! ```text
//!  Measurement ─▶ Round ─▶ Point (rounds at one number) ─▶ Curve (one server) ─▶ Chapter (all servers)
//!               figures     Spread: median, least, most
//! ```

use crate::comparison::median;
use crate::figures::{amount, latency, thousands, three_digits};
use crate::histogram::Histogram;
use crate::observed::Observed;
use crate::options::{Axis, Load};
use crate::result::micros;
use crate::rig::Measurement;
use crate::surroundings::Surroundings;

/// The share of busy time from which on the rig itself may limit the result.
const BUSY: f64 = 0.9;
/// Processors that others may use during a round before it counts as disturbed: a fifth of one.
const DISTURBED: f64 = 0.2;

/// The fewest connections of which memory is told: a page of 4 KiB is then 41 bytes of each.
const MEMORY_CONNECTIONS_MIN: usize = 100;
/// The fewest connections of which the kernel's memory is told. It hands its objects to processors by the dozen.
const KERNEL_CONNECTIONS_MIN: usize = 1_000;

/// One figure of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    RequestsPerSecond,
    P50,
    P99,
    P999,
    Errors,
    CpuMicros,
    Resident,
    BytesEach,
    KernelEach,
    RigBusy,
    OthersCores,
}

impl Figure {
    pub const ALL: [Figure; 11] = [
        Figure::RequestsPerSecond,
        Figure::P50,
        Figure::P99,
        Figure::P999,
        Figure::Errors,
        Figure::CpuMicros,
        Figure::Resident,
        Figure::BytesEach,
        Figure::KernelEach,
        Figure::RigBusy,
        Figure::OthersCores,
    ];

    /// The name for programs, with its unit.
    pub fn key(self) -> &'static str {
        match self {
            Figure::RequestsPerSecond => "requests_per_second",
            Figure::P50 => "p50_us",
            Figure::P99 => "p99_us",
            Figure::P999 => "p99_9_us",
            Figure::Errors => "errors",
            Figure::CpuMicros => "cpu_us_per_request",
            Figure::Resident => "resident_bytes",
            Figure::BytesEach => "bytes_per_connection",
            Figure::KernelEach => "kernel_bytes_per_connection",
            Figure::RigBusy => "own_busy_share",
            Figure::OthersCores => "others_cores",
        }
    }

    /// The heading of a column.
    pub fn heading(self) -> &'static str {
        match self {
            Figure::RequestsPerSecond => "requests/s",
            Figure::P50 => "p50",
            Figure::P99 => "p99",
            Figure::P999 => "p99.9",
            Figure::Errors => "errors",
            Figure::CpuMicros => "CPU/request",
            Figure::Resident => "RSS",
            Figure::BytesEach => "bytes/conn.",
            Figure::KernelEach => "kernel/conn.",
            Figure::RigBusy => "rig busy",
            Figure::OthersCores => "others",
        }
    }

    /// Formats a value for people.
    pub fn show(self, value: f64) -> String {
        match self {
            Figure::RequestsPerSecond | Figure::Errors | Figure::BytesEach | Figure::KernelEach => {
                thousands(value.round() as u64)
            }
            Figure::P50 | Figure::P99 | Figure::P999 => {
                latency(std::time::Duration::from_nanos((value * 1e3) as u64))
            }
            Figure::CpuMicros => format!("{} µs", three_digits(value)),
            Figure::Resident => amount(value as u64),
            Figure::RigBusy => format!("{:.0} %", value * 100.0),
            Figure::OthersCores => format!("{value:.2}"),
        }
    }

    /// Reads the figure from a measurement; none if it is not known.
    fn of(self, round: &Measurement, start: Start) -> Option<f64> {
        let quantile = |share: f64| (round.tally.latency.total() > 0).then(|| round.quantile_micros(share));
        let each =
            |bytes: u64, held: usize, least: usize| (held >= least).then(|| bytes as f64 / held as f64);
        match self {
            Figure::RequestsPerSecond => Some(round.requests_per_second()),
            Figure::P50 => quantile(0.5),
            Figure::P99 => quantile(0.99),
            Figure::P999 => quantile(0.999),
            Figure::Errors => Some((round.tally.errors.total() + round.tally.unsent) as f64),
            Figure::CpuMicros => round.cpu_micros_per_request(),
            Figure::Resident => round.resident().map(|[.., end]| end as f64),
            // Those that ask may be accepted no sooner than they do; of idle ones the others' work is no part.
            Figure::BytesEach => {
                let [_, with_idle, _, end] = round.server?;
                let before = start.server?.anonymous;
                let (with_all, held) = match round.idle_held {
                    0 => (end, held(round)),
                    idle => (with_idle, idle),
                };
                each(with_all.anonymous.saturating_sub(before), held, MEMORY_CONNECTIONS_MIN)
            }
            // Both ends are on this machine, and cost about the same.
            Figure::KernelEach => {
                let ([.., end], _) = (round.machine?, round.server?);
                let more = end.kernel?.saturating_sub(start.machine?.kernel?);
                each(more / 2, held(round), KERNEL_CONNECTIONS_MIN)
            }
            Figure::RigBusy => Some(round.own_busy),
            Figure::OthersCores => round.others_cores(),
        }
    }
}

/// The server and the machine before the very first connection. What a server has kept since then belongs to its
/// connections, too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    pub server: Option<Observed>,
    pub machine: Option<Surroundings>,
}

impl Start {
    /// Takes the first moment of a measurement.
    pub fn of(measurement: &Measurement) -> Start {
        Start {
            server: measurement.server.map(|[before, ..]| before),
            machine: measurement.machine.map(|[before, ..]| before),
        }
    }
}

/// Connections of all kinds that were open at the end.
fn held(round: &Measurement) -> usize {
    round.active_held + round.idle_held + round.slow_held + round.drip_held
}

/// The figures of one round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    figures: [Option<f64>; Figure::ALL.len()],
    /// Connections that were open at the end.
    pub held: usize,
}

impl Round {
    pub fn new(measurement: &Measurement, start: Start) -> Round {
        Round { figures: Figure::ALL.map(|figure| figure.of(measurement, start)), held: held(measurement) }
    }

    pub fn figure(&self, figure: Figure) -> Option<f64> {
        self.figures[figure as usize]
    }

    /// Whether others on the machine took part in the round.
    pub fn is_disturbed(&self) -> bool {
        self.figure(Figure::OthersCores).is_some_and(|cores| cores > DISTURBED)
    }

    /// Whether the rig could find out if others on the machine took part. It cannot where the server is on another
    /// machine, or the system has no /proc.
    pub fn is_watched(&self) -> bool {
        self.figure(Figure::OthersCores).is_some()
    }

    /// Whether the rig itself may have limited the round.
    pub fn is_limited_by_rig(&self) -> bool {
        self.figure(Figure::RigBusy).is_some_and(|share| share >= BUSY)
    }
}

/// A figure over several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// The rounds of one server at one number of connections.
#[derive(Debug)]
pub(crate) struct Point {
    /// The number that varies.
    pub connections: usize,
    pub load: Load,
    pub rounds: Vec<Round>,
    /// The latencies of all rounds together.
    pub latency: Histogram,
}

impl Point {
    pub fn new(connections: usize, load: Load) -> Point {
        Point { connections, load, rounds: Vec::new(), latency: Histogram::new() }
    }

    pub fn add(&mut self, measurement: &Measurement, start: Start) {
        self.latency.merge(&measurement.tally.latency);
        self.rounds.push(Round::new(measurement, start));
    }

    /// Returns the spread of a figure; none if it is not known of any round.
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        let values: Vec<f64> = self.rounds.iter().filter_map(|round| round.figure(figure)).collect();
        let least = values.iter().copied().reduce(f64::min)?;
        let most = values.iter().copied().reduce(f64::max)?;
        Some(Spread { median: median(&values), least, most })
    }

    /// Remarks on what the figures of the point are worth.
    pub fn remarks(&self) -> Vec<String> {
        let count = |is: fn(&Round) -> bool| self.rounds.iter().filter(|round| is(round)).count();
        let all = self.rounds.len();
        let (limited, disturbed) = (count(Round::is_limited_by_rig), count(Round::is_disturbed));
        let mut remarks = Vec::new();
        if limited > 0 {
            remarks.push(format!("the rig was busy all the time in {limited} of {all} rounds"));
        }
        if disturbed > 0 {
            remarks.push(format!("others used the machine in {disturbed} of {all} rounds"));
        }
        let wanted = if self.load.closes { 0 } else { self.load.total() };
        let least = self.rounds.iter().map(|round| round.held).min();
        if let Some(held) = least.filter(|held| *held < wanted) {
            let (held, wanted) = (thousands(held as u64), thousands(wanted as u64));
            remarks.push(format!("only {held} of {wanted} connections were held at the end"));
        }
        remarks
    }
}

/// One server at all points.
#[derive(Debug)]
pub(crate) struct Curve {
    pub name: String,
    pub url: String,
    /// The server's processes, or why they are unknown.
    pub who: String,
    pub points: Vec<Point>,
}

impl Curve {
    /// Whether every round knows if others used the machine. That is no remark on a point: nothing is known to have
    /// stood in its way.
    pub fn is_watched(&self) -> bool {
        self.points.iter().flat_map(|point| &point.rounds).all(Round::is_watched)
    }
}

/// The curves of all servers over one kind of connections.
#[derive(Debug)]
pub(crate) struct Chapter {
    pub axis: Axis,
    pub curves: Vec<Curve>,
}

impl Chapter {
    /// The numbers of connections at which anything was measured, the least first.
    pub fn numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> = Vec::new();
        for point in self.curves.iter().flat_map(|curve| &curve.points) {
            let place = numbers.partition_point(|other| *other < point.connections);
            if numbers.get(place) != Some(&point.connections) {
                numbers.insert(place, point.connections);
            }
        }
        numbers
    }

    /// Whether a figure is known of any point.
    pub fn knows(&self, figure: Figure) -> bool {
        self.curves.iter().flat_map(|curve| &curve.points).any(|point| point.spread(figure).is_some())
    }

    /// Whether each connection was closed after its request, so that none was to be held.
    pub fn closes(&self) -> bool {
        self.curves.iter().flat_map(|curve| &curve.points).any(|point| point.load.closes)
    }

    pub fn title(&self) -> &'static str {
        match self.axis {
            Axis::Active => "Connections that send requests",
            Axis::Idle => "Idle connections beside those that send requests",
        }
    }
}

/// Longest latency of all rounds of a point, in microseconds.
pub(crate) fn longest(point: &Point) -> f64 {
    micros(point.latency.longest())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn round(requests: f64, busy: f64, others: Option<f64>) -> Round {
        let mut figures = [None; Figure::ALL.len()];
        figures[Figure::RequestsPerSecond as usize] = Some(requests);
        figures[Figure::RigBusy as usize] = Some(busy);
        figures[Figure::OthersCores as usize] = others;
        Round { figures, held: 8 }
    }

    pub(crate) fn point(rounds: Vec<Round>) -> Point {
        let second = std::time::Duration::from_secs(1);
        let load = Load {
            connections: 10,
            idle: 0,
            slow_readers: 0,
            drip: 0,
            duration: second,
            warm_up: second,
            rate: None,
            pipeline: 1,
            closes: false,
            timeout: second,
            sources: Vec::new(),
        };
        Point { rounds, ..Point::new(10, load) }
    }

    #[test]
    fn figures_stand_in_the_order_of_their_numbers() {
        assert!(Figure::ALL.iter().enumerate().all(|(index, figure)| *figure as usize == index));
    }

    #[test]
    fn spread_is_median_least_and_most_of_the_rounds() {
        let point = point(vec![round(3.0, 0.1, None), round(1.0, 0.1, None), round(2.0, 0.1, None)]);
        let expected = Spread { median: 2.0, least: 1.0, most: 3.0 };
        assert_eq!(point.spread(Figure::RequestsPerSecond), Some(expected));
        assert_eq!(point.spread(Figure::Resident), None);
    }

    #[test]
    fn what_figures_are_worth_is_remarked() {
        let point = point(vec![round(1.0, 0.95, Some(0.0)), round(1.0, 0.5, Some(1.3))]);
        let remarks = point.remarks().join("; ");
        for part in ["busy all the time in 1 of 2", "others used the machine in 1 of 2", "only 8 of 10"] {
            assert!(remarks.contains(part), "no {part} in {remarks}");
        }
    }
}
