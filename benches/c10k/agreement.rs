//! Measures one server with several load generators in turns: `tidegate bench`, wrk, h2load and oha, as far as they are
//! installed.
//!
//! They share the machine with the server, and one that takes more of it leaves less. So where the server computes little, each
//! finds its own limit, and they are told beside each other and not compared. Where it computes much, or at a fixed rate
//! far from the limit, the load is the same for all, and their figures must meet within their spread.
//! Medians of latency are told beside that and not compared: each has the tool's own delays in it, and h2load tells none.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::example;
use super::server::{self, COMPUTED};
use super::table::{Goal, Row, median};

const FREE: Goal =
    Goal::at_least("requests/s of the rig for a short text, to the best of other tools", 0.9, 1.0, "×");
const BOUND: Goal = Goal::at_most(
    "requests/s of the rig, beyond the range of other tools, some 100 µs computed for each",
    3.0,
    0.0,
    "%",
);
const OPEN: Goal =
    Goal::at_most("rate that the rig keeps, off that of other tools at 4,000/s", 3.0, 1.0, "%");
const ROUNDS: usize = 5;
const CONNECTIONS: &str = "-c64";
const PLAINTEXT: &str = "/plaintext";
/// Requests a second at a fixed rate, of all connections and of each.
const RATE: &str = "4000";
const RATE_OF_EACH: &str = "62.5";

/// Requests a second, and the median latency in microseconds if the tool tells it.
type Figures = (f64, Option<f64>);

/// The name of a tool, and the figures of its rounds.
type Found = (&'static str, Vec<Figures>);

/// A load generator: its name, its command line without the URL, and how its report is read.
struct Tool {
    name: &'static str,
    arguments: &'static [&'static str],
    read: fn(&str) -> Option<Figures>,
}

const RIG: &[&str] = &["bench", "--json", CONNECTIONS, "--duration=2s", "--warm-up=300ms"];

const CLOSED_LOOP: [Tool; 4] = [
    Tool { name: "rig", arguments: RIG, read: of_rig },
    Tool { name: "wrk", arguments: &["-t1", CONNECTIONS, "-d2s", "--latency"], read: of_wrk },
    Tool { name: "h2load", arguments: &["--h1", CONNECTIONS, "-D2", "--warm-up-time=1"], read: of_h2load },
    Tool { name: "oha", arguments: &["--no-tui", "--output-format=json", CONNECTIONS, "-z2s"], read: of_oha },
];

const OPEN_LOOP: [Tool; 3] = [
    Tool {
        name: "rig",
        arguments: &["bench", "--json", CONNECTIONS, "--duration=2s", "--warm-up=300ms", "--rate", RATE],
        read: of_rig,
    },
    Tool {
        name: "h2load",
        arguments: &["--h1", CONNECTIONS, "-D2", "--warm-up-time=1", "--rps", RATE_OF_EACH],
        read: of_h2load,
    },
    Tool {
        name: "oha",
        arguments: &[
            "--no-tui",
            "--output-format=json",
            CONNECTIONS,
            "-z2s",
            "-q",
            RATE,
            "--latency-correction",
        ],
        read: of_oha,
    },
];

pub fn measure(_connections: usize) -> Vec<Row> {
    [
        (FREE, &CLOSED_LOOP[..], PLAINTEXT, to_best as fn(&[Found]) -> f64),
        (BOUND, &CLOSED_LOOP, COMPUTED, beyond),
        (OPEN, &OPEN_LOOP, PLAINTEXT, off),
    ]
    .map(|(goal, tools, path, figure)| match compare(tools, path) {
        Ok(all) => goal.measured(figure(&all)).note(told(&all)),
        Err(error) => goal.failed(error),
    })
    .into()
}

/// Lets tools take turns, and returns what each has found, those without that are not installed.
fn compare(tools: &[Tool], path: &str) -> io::Result<Vec<Found>> {
    // No workbench: to build it takes as long as all that is measured here.
    let server = server::with_reactors(1)?;
    let mut all: Vec<_> = tools.iter().map(|tool| (tool.name, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (tool, (_, figures)) in tools.iter().zip(&mut all) {
            figures.extend(run(tool, server.address, path)?);
        }
    }
    all.retain(|(_, figures)| !figures.is_empty());
    if all.len() < 2 {
        return Err(io::Error::other("there is no other tool: apt-get install wrk nghttp2-client"));
    }
    Ok(all)
}

/// Runs a tool once; none if it is not installed.
fn run(tool: &Tool, address: SocketAddr, path: &str) -> io::Result<Option<Figures>> {
    let mut command = match tool.name {
        "rig" => Command::new(example::program()?),
        other => Command::new(other),
    };
    let output = match command.args(tool.arguments).arg(format!("http://{address}{path}")).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = (tool.read)(&text);
    figures.map(Some).ok_or_else(|| io::Error::other(format!("{} has said {text:?}", tool.name)))
}

fn of_rig(text: &str) -> Option<Figures> {
    let value: Value = serde_json::from_str(text).ok()?;
    Some((value["requests_per_second"].as_f64()?, value["latency_us"]["p50"].as_f64()))
}

/// Reads `Requests/sec:  12345.67`, and `50%  123.00us`.
fn of_wrk(text: &str) -> Option<Figures> {
    let after = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    Some((after("Requests/sec:")?.parse().ok()?, after("50%").and_then(micros)))
}

/// Reads `finished in 2.00s, 12345.67 req/s, 1.23MB/s`; medians it has none.
fn of_h2load(text: &str) -> Option<Figures> {
    let line = text.lines().find_map(|line| line.strip_prefix("finished in "))?;
    let (_, rest) = line.split_once(", ")?;
    Some((rest.split_once(" req/s")?.0.parse().ok()?, None))
}

fn of_oha(text: &str) -> Option<Figures> {
    let value: Value = serde_json::from_str(text).ok()?;
    let median = value["latencyPercentiles"]["p50"].as_f64().map(|seconds| seconds * 1e6);
    Some((value["summary"]["requestsPerSec"].as_f64()?, median))
}

/// Reads a time with its unit, in microseconds.
fn micros(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

/// The rig's median to the best median of another tool.
fn to_best(all: &[Found]) -> f64 {
    median_rate(&all[0]) / all[1..].iter().map(median_rate).fold(0.0, f64::max)
}

/// How far the rig's median lies outside of what the rounds of all other tools span, in per cent of the nearer end.
fn beyond(all: &[Found]) -> f64 {
    let others = all[1..].iter().flat_map(|(_, figures)| figures).map(|(rate, _)| *rate);
    let (least, most) = others
        .fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), rate| (least.min(rate), most.max(rate)));
    let rig = median_rate(&all[0]);
    (rig / most - 1.0).max(1.0 - rig / least).max(0.0) * 100.0
}

/// How far the rig's median rate is off those of the others, at most, in per cent.
fn off(all: &[Found]) -> f64 {
    let rig = median_rate(&all[0]);
    all[1..].iter().map(|other| (rig / median_rate(other) - 1.0).abs()).fold(0.0, f64::max) * 100.0
}

fn median_rate((_, figures): &Found) -> f64 {
    median(figures.iter().map(|(rate, _)| *rate).collect())
}

/// Each tool with the median and the span of its rounds.
fn told(all: &[Found]) -> String {
    let each = all.iter().map(|found @ (name, figures)| {
        let rates: Vec<f64> = figures.iter().map(|(rate, _)| *rate).collect();
        let (least, most) =
            (rates.iter().copied().fold(f64::INFINITY, f64::min), rates.iter().copied().fold(0.0, f64::max));
        let latency: Vec<f64> = figures.iter().filter_map(|(_, latency)| *latency).collect();
        let latency =
            if latency.is_empty() { String::new() } else { format!(", p50 {:.0} µs", median(latency)) };
        format!("{name} {:.0} ({least:.0} to {most:.0}){latency}", median_rate(found))
    });
    each.collect::<Vec<_>>().join("; ")
}
