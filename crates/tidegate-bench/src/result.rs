//! The measurements of one server, and the figures that follow from them.

use std::time::Duration;

use super::histogram::Histogram;
use super::observed::{Observed, Process};
use super::options::Load;
use super::rig::Measurement;
use super::target::Target;

/// The quantiles that are reported, with their names for people and for programs.
pub(super) const QUANTILES: [(f64, &str, &str); 5] = [
    (0.5, "p50", "p50"),
    (0.9, "p90", "p90"),
    (0.99, "p99", "p99"),
    (0.999, "p99.9", "p99_9"),
    (0.9999, "p99.99", "p99_99"),
];

/// One server, and the results of its rounds.
#[derive(Debug)]
pub(super) struct Side {
    pub target: Target,
    /// The server's processes, or why they are unknown.
    pub process: Result<Process, String>,
    pub rounds: Vec<Measurement>,
    /// Whether the server was gone at the end, or before its last round could begin.
    pub is_gone: bool,
}

impl Side {
    /// The latencies of all rounds together.
    pub fn latency(&self) -> Histogram {
        let mut all = Histogram::new();
        self.rounds.iter().for_each(|round| all.merge(&round.tally.latency));
        all
    }
}

impl Measurement {
    pub fn requests_per_second(&self) -> f64 {
        if self.time.is_zero() { 0.0 } else { self.tally.answered as f64 / self.time.as_secs_f64() }
    }

    /// The server's CPU time for each answer, in microseconds.
    pub fn cpu_micros_per_request(&self) -> Option<f64> {
        let (start, end) = self.measured()?;
        let micros = end.cpu_since(&start).as_secs_f64() * 1e6;
        (self.answered_in_time > 0).then(|| micros / self.answered_in_time as f64)
    }

    /// The share of one core that the server has used; more than 1 if it used several.
    pub fn server_share(&self) -> Option<f64> {
        let (start, end) = self.measured()?;
        (!self.time.is_zero()).then(|| end.cpu_since(&start).as_secs_f64() / self.time.as_secs_f64())
    }

    fn measured(&self) -> Option<(Observed, Observed)> {
        self.server.map(|[_, _, start, end]| (start, end))
    }

    /// The server's resident memory before the first connection, with the idle ones, and at the end.
    pub fn resident(&self) -> Option<[u64; 3]> {
        self.server.map(|[before, with_idle, _, end]| [before.resident, with_idle.resident, end.resident])
    }

    /// The memory that an idle connection costs the server's process. Memory of the kernel for sockets is not
    /// included.
    pub fn bytes_per_idle(&self, load: &Load) -> Option<f64> {
        let [before, with_idle, _] = self.resident()?;
        (load.idle > 0 && self.idle_held > 0)
            .then(|| with_idle.saturating_sub(before) as f64 / self.idle_held as f64)
    }

    /// The processors that others used while this was measured: neither the server nor the rig. Not known where
    /// the server is not.
    pub fn others_cores(&self) -> Option<f64> {
        let [_, _, start, end] = self.machine?;
        let (from, to) = self.measured()?;
        let busy = end.busy?.saturating_sub(start.busy?);
        let known = to.cpu_since(&from) + end.own.saturating_sub(start.own);
        (!self.time.is_zero()).then(|| busy.saturating_sub(known).as_secs_f64() / self.time.as_secs_f64())
    }

    pub fn quantile_micros(&self, share: f64) -> f64 {
        micros(self.tally.latency.quantile(share))
    }
}

pub(super) fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
