//! What the benches that count have in common.
//!
//! ```text
//!  Load ─▶ Clients ─▶ Workbench under a tool ─▶ Counts ─▶ Figure ─▶ benches/budget.toml
//!          (load)     (workbench)               (here)    (budget)
//! ```
//!
//! Time is measured nowhere here: what is counted is the same on a busy machine and an idle one.
// Each bench compiles all of it and uses a part.
#![allow(dead_code)]

pub mod budget;
pub mod load;
pub mod workbench;

use std::collections::BTreeMap;
use std::error::Error;

use budget::Figure;
use load::Load;

/// Why there is no figure.
pub type Failure = Box<dyn Error>;

/// How often what happened, by name.
pub type Counts = BTreeMap<String, u64>;

/// What one request of a load costs: the difference of two runs that differ in length only, so that
/// starting, accepting and closing cancel. `count` runs the server for so many requests.
pub fn per_request(
    load: &Load,
    lengths: [usize; 2],
    count: impl Fn(&Load, usize) -> Result<Counts, Failure>,
) -> Result<Figure, Failure> {
    let (short, long) = (count(load, lengths[0])?, count(load, lengths[1])?);
    let requests = (lengths[1] - lengths[0]) as f64;
    let parts = long.into_iter().filter_map(|(name, count)| {
        let more = count as f64 - short.get(&name).copied().unwrap_or(0) as f64;
        (more != 0.0).then_some((name, more / requests))
    });
    let parts: Vec<(String, f64)> = parts.collect();
    Ok(Figure { load: load.name, value: parts.iter().map(|(_, value)| value).sum(), parts })
}
