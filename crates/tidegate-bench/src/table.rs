//! The result for people, as a table.

use std::fmt::Write;

use super::comparison::{Compared, compare};
use super::figures::{amount, latency, thousands, three_digits};
use super::options::Load;
use super::result::{QUANTILES, Side};
use super::rig::Measurement;

/// The width of the column of names, in characters.
const NAME_WIDTH: usize = 14;
/// The share of busy time from which on the rig itself may limit the result.
const BUSY: f64 = 0.9;

/// The result for one server.
pub(super) fn single(side: &Side, load: &Load) -> String {
    let mut text = format!("{}\n{}\n\n", side.target, describe(load));
    for round in &side.rounds {
        text += &measurement(side, round, load);
    }
    text
}

/// The result for two servers: each with its rounds, and how they compare.
pub(super) fn both(first: &Side, second: &Side, load: &Load) -> String {
    let rounds = first.rounds.len().min(second.rounds.len());
    let mut text = format!(
        "A  {}\nB  {}\n{}; {rounds} rounds each, in turns\n\n",
        first.target,
        second.target,
        describe(load)
    );
    let _ = writeln!(text, "{:<22}{:>14}{:>14}   A ÷ B (least to most of a round)", "medians", "A", "B");
    for Compared { name, medians: [one, other], ratio, spread: [least, most], .. } in compare(first, second) {
        let (one, other) = (figure(one), figure(other));
        let ratios = match ratio {
            Some(ratio) => format!("{ratio:.3} ({least:.3} to {most:.3})"),
            None => "not known".to_string(),
        };
        let _ = writeln!(text, "{name:<22}{one:>14}{other:>14}   {ratios}");
    }
    for (letter, side) in [("A", first), ("B", second)] {
        let _ = writeln!(text, "{}", row(&format!("server {letter}"), &who(side)).trim_end());
        let (answered, lost) = side.rounds.iter().fold((0, 0), |(answered, lost), round| {
            (answered + round.tally.answered, lost + round.tally.errors.total() + round.tally.unsent)
        });
        let counts = format!("{} answers, {} errors or never sent", thousands(answered), thousands(lost));
        text += &row("", &counts);
        for note in side.rounds.iter().flat_map(|round| &round.tally.notes) {
            text += &row("note", note);
        }
    }
    text
}

fn figure(number: f64) -> String {
    if number >= 1e4 { thousands(number.round() as u64) } else { three_digits(number) }
}

pub(super) fn describe(load: &Load) -> String {
    let plural = if load.connections == 1 { "" } else { "s" };
    let idle = match load.idle {
        0 => String::new(),
        idle => format!(", {} idle", thousands(idle as u64)),
    };
    format!("{} connection{plural}{idle}, {}", thousands(load.connections as u64), describe_manner(load))
}

/// Describes a load without its numbers of active and idle connections.
pub(super) fn describe_manner(load: &Load) -> String {
    let mut text = match load.rate {
        Some(rate) => format!("open loop of {rate} requests/s"),
        None => "closed loop".to_string(),
    };
    for (count, what) in [(load.slow_readers, "slow readers"), (load.drip, "dripping")] {
        if count > 0 {
            let _ = write!(text, ", {} {what}", thousands(count as u64));
        }
    }
    if load.closes {
        text += ", one request a connection";
    }
    if load.pipeline > 1 {
        let _ = write!(text, ", {} requests under way on each", load.pipeline);
    }
    let (warm_up, duration) = (load.warm_up.as_secs_f64(), load.duration.as_secs_f64());
    let _ = write!(text, ", {duration} s after {warm_up} s to warm up");
    text
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<NAME_WIDTH$}{value}\n")
}

fn measurement(side: &Side, round: &Measurement, load: &Load) -> String {
    let tally = &round.tally;
    let mut text = row("requests/s", &figure(round.requests_per_second()));
    let answered = format!("{} in {:.2} s", thousands(tally.answered), round.time.as_secs_f64());
    text += &row("answered", &answered);
    if tally.unsent > 0 {
        let late = "were due and never sent: no connection was free; their wait is in the latencies";
        text += &row("behind", &format!("{} requests {late}", thousands(tally.unsent)));
    }
    for (index, (share, name, _)) in QUANTILES.into_iter().enumerate() {
        let title = if index == 0 { "latency" } else { "" };
        text += &row(title, &format!("{name:<8}{:>9}", latency(tally.latency.quantile(share))));
    }
    text += &row("", &format!("{:<8}{:>9}", "max", latency(tally.latency.longest())));
    let rate = tally.received as f64 / round.time.as_secs_f64().max(1e-9);
    text += &row("transferred", &format!("{} ({}/s)", amount(tally.received), amount(rate as u64)));
    text += &row("errors", &errors(round));
    text += &row("connections", &held(round, load));
    text += &server(side, round, load);
    let warning = if round.own_busy >= BUSY { ": it may be what limits the result" } else { "" };
    text += &row("this client", &format!("{:.0} % of the time busy{warning}", round.own_busy * 100.0));
    tally.notes.iter().for_each(|note| text += &row("note", note));
    text
}

fn errors(round: &Measurement) -> String {
    let kinds = round.tally.errors.named();
    let some: Vec<String> = kinds
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| {
            let name = if *name == "status" { "status 400 or more" } else { name };
            format!("{name} {}", thousands(*count))
        })
        .collect();
    if some.is_empty() { "none".to_string() } else { some.join(", ") }
}

fn held(round: &Measurement, load: &Load) -> String {
    let mut kinds = Vec::new();
    let mut kind = |held: usize, wanted: usize, what: &str| {
        if wanted > 0 {
            kinds.push(format!("{} of {} {what}", thousands(held as u64), thousands(wanted as u64)));
        }
    };
    if !load.closes {
        kind(round.active_held, load.connections, "active");
    }
    kind(round.idle_held, load.idle, "idle");
    kind(round.slow_held, load.slow_readers, "slow readers");
    kind(round.drip_held, load.drip, "dripping");
    match kinds.is_empty() {
        true => format!("{} at a time", thousands(load.connections as u64)),
        false => format!("{} held", kinds.join(", ")),
    }
}

fn who(side: &Side) -> String {
    side.process.as_ref().map_or_else(Clone::clone, |process| process.describe())
}

fn server(side: &Side, round: &Measurement, load: &Load) -> String {
    let mut text = row("server", &who(side));
    if let Some((micros, share)) = round.cpu_micros_per_request().zip(round.server_share()) {
        let figures =
            format!("{} µs of CPU a request, {:.0} % of a core", three_digits(micros), share * 100.0);
        text += &row("", &figures);
    }
    if let Some([before, with_idle, end]) = round.resident() {
        let mut figures = format!("{} resident before", amount(before));
        if let Some(bytes) = round.bytes_per_idle(load) {
            let each = thousands(bytes as u64);
            let _ = write!(figures, ", {} with the idle ones ({each} bytes each)", amount(with_idle));
        }
        text += &row("", &format!("{figures}, {} at the end", amount(end)));
    }
    text
}
