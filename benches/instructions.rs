//! Counts user instructions of the server for one request, as users get it: the workbench in the profile
//! `release`.
//!
//! ```text
//! cargo bench --bench instructions              shows them
//! cargo bench --bench instructions -- --check   fails where one is 2 % above benches/budget.toml
//! cargo bench --bench instructions -- --save    makes them the budget
//! ```
//!
//! valgrind's callgrind counts, and the server is stopped while the clients send, so that each turn of its loop
//! meets the same requests: a figure varies by one or two, on a busy machine as on an idle one. In it is the
//! wait that each stop interrupts, 40 instructions where 16 connections share it. What the kernel does is
//! not in it: `system_calls` counts how often it is asked.
//!
//! Needs valgrind.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use support::budget::Figures;
use support::load::{BROWSER, Clients, FILE, ICON, Load, SMALL, UPLOAD};
use support::{Counts, Failure, per_request, start_under};

/// Requests of the two runs.
const LENGTHS: [usize; 2] = [6_400, 25_600];

const LOADS: [Load; 7] = [
    Load { name: "file", connections: 16, depth: 1, request: FILE, content_bytes: 0, code: 200 },
    Load { name: "not_watched", connections: 16, depth: 1, request: ICON, content_bytes: 0, code: 200 },
    Load { name: "watched", connections: 16, depth: 1, request: ICON, content_bytes: 0, code: 200 },
    Load { name: "keep_alive", connections: 16, depth: 1, request: SMALL, content_bytes: 0, code: 200 },
    // Few, so that a turn of the loop stays well below the time that it may last: under callgrind everything takes
    // fifty times as long, and what comes later than that would be answered one by one.
    Load { name: "pipelined", connections: 4, depth: 16, request: SMALL, content_bytes: 0, code: 200 },
    Load { name: "browser", connections: 16, depth: 1, request: BROWSER, content_bytes: 0, code: 200 },
    // Head and content in two reads, as a browser sends them.
    Load { name: "upload", connections: 16, depth: 1, request: UPLOAD, content_bytes: 1_000, code: 200 },
];

fn main() -> Result<ExitCode, Failure> {
    let figures = LOADS.iter().map(|load| per_request(load, LENGTHS, count));
    let figures = figures.collect::<Result<_, _>>()?;
    Figures { counted: "instructions", decimals: 0, vary_with_compiler: true, figures }.settle()
}

/// Counts all user instructions of a server that answers `requests` requests.
fn count(load: &Load, requests: usize) -> Result<Counts, Failure> {
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{}", std::process::id()));
    let mut command = Command::new("valgrind");
    // Quiet: else it says the command line, in which there is an address, too.
    command.args(["-q", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", output.display()));
    let server = start_under(&mut command, load)?;
    let mut clients = Clients::connect(server.address, load)?;
    for _ in 0..clients.rounds(requests) {
        // How many connections a turn of the loop finds readable changes what each costs: it is all of them.
        server.halt()?;
        clients.send()?;
        server.go_on()?;
        if load.content_bytes > 0 {
            server.halt()?;
            clients.send_content()?;
            server.go_on()?;
        }
        clients.receive()?;
    }
    // The connections end later, so that no part of their end is counted.
    server.end()?;
    let profile = fs::read_to_string(&output)?;
    fs::remove_file(&output)?;
    let total =
        profile.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("callgrind has no total")?;
    Ok(Counts::from([("instructions".to_string(), total.trim().parse()?)]))
}
