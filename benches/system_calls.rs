//! Counts system calls of the server for one request.
//!
//! ```text
//! cargo bench --bench system_calls              shows them, by name
//! cargo bench --bench system_calls -- --check   fails where one is 2 % above benches/budget.toml
//! cargo bench --bench system_calls -- --save    makes them the budget
//! ```
//!
//! strace counts, over one kept connection: where several share the calls that wait for events, how many share
//! one is chance. New connections come 16 at a time to a server that is stopped meanwhile; in their figure is
//! the wait that each stop interrupts, a sixteenth of a call.
//!
//! Needs strace.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use support::budget::Figures;
use support::load::{Clients, FILE, LAST, Load, SMALL, receive_last, send_anew};
use support::{Counts, Failure, per_request, start_under};

/// Requests of the two runs.
const LENGTHS: [usize; 2] = [800, 3_200];

const LOADS: [Load; 4] = [
    Load { name: "file", connections: 1, depth: 1, request: FILE, content_bytes: 0, code: 200 },
    Load { name: "keep_alive", connections: 1, depth: 1, request: SMALL, content_bytes: 0, code: 200 },
    Load { name: "pipelined", connections: 1, depth: 16, request: SMALL, content_bytes: 0, code: 200 },
    Load {
        name: "one_per_connection",
        connections: 16,
        depth: 1,
        request: LAST,
        content_bytes: 0,
        code: 200,
    },
];

fn main() -> Result<ExitCode, Failure> {
    let figures = LOADS.iter().map(|load| per_request(load, LENGTHS, count));
    let figures = figures.collect::<Result<_, _>>()?;
    Figures { counted: "system_calls", decimals: 4, vary_with_compiler: false, figures }.settle()
}

/// Counts all system calls of a server that answers `requests` requests, by name.
fn count(load: &Load, requests: usize) -> Result<Counts, Failure> {
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("strace.{}", std::process::id()));
    let mut command = Command::new("strace");
    // With -D strace is the child, and the process that is started and ended here the server.
    command.args(["-D", "-f", "-c", "-o"]).arg(&output);
    let server = start_under(&mut command, load)?;
    if load.request == LAST {
        for _ in 0..requests / load.connections {
            server.halt()?;
            let streams = send_anew(server.address, load)?;
            server.go_on()?;
            receive_last(streams, load)?;
        }
        server.end()?;
    } else {
        let mut clients = Clients::connect(server.address, load)?;
        for _ in 0..clients.rounds(requests) {
            clients.send()?;
            clients.receive()?;
        }
        // The connection ends later, so that no part of its end is counted.
        server.end()?;
    }
    let table = fs::read_to_string(&output)?;
    fs::remove_file(&output)?;
    // `% time  seconds  usecs/call  calls  [errors]  name`, between two lines; below them is the total.
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let calls = words.get(3)?.parse().ok()?;
        words.last().filter(|name| **name != "total").map(|name| (name.to_string(), calls))
    };
    Ok(table.lines().filter_map(row).collect())
}
