//! Measures ten thousand connections: what they cost, and what one notices of the others.
//!
//! ```text
//! cargo bench --bench c10k                      all of it, some three minutes
//! cargo bench --bench c10k -- memory storms     these subjects only
//! ```
//!
//! | subject | what it finds out |
//! |---|---|
//! | `memory` | bytes for a connection that idles, drips, or does not read |
//! | `kept` | what 64 active connections lose beside 9,900 idle ones |
//! | `fairness` | what others wait beside a connection that pipelines without end |
//! | `storms` | the longest turn of the loop while 10,000 connections come, go or expire at once |
//! | `threads` | what an answer from another thread costs beyond one at once |
//! | `files` | CPU time for files of a mebibyte and more, and that of nginx where there is one |
//! | `small-files` | CPU time for files of up to 64 KiB, and that of nginx, h2o and lighttpd where there are any |
//! | `reactors` | what a second reactor costs and brings, and that both share nothing; nginx with two workers |
//! | `size` | the program |
//! | `agreement` | whether `tidegate bench` finds what wrk, h2load and oha find |
//! | `curve` | the curves from ten connections to a hundred thousand, beside nginx and a bare loop: only if it is asked for |
//!
//! Servers run in processes of their own, on ports that the system chooses, and clients in this one: real
//! sockets of this machine. Where it is about time, two things take turns and medians over the rounds are
//! compared, so that what drifts hits both. Memory is user-space memory: socket buffers in the kernel are not in
//! it. CPU time and memory are read from `/proc`, so on Linux only. 10,000 connections take as many file
//! descriptors in this process and in the server (`ulimit -Hn`); where that is not allowed, there are fewer, and
//! it is said.

mod agreement;
#[allow(dead_code, reason = "the arena's profiles use the rest")]
#[path = "../httparena/load/client.rs"]
mod arena;
mod bare;
#[path = "../support/clients.rs"]
mod clients;
mod curve;
#[path = "../support/example.rs"]
mod example;
mod fairness;
mod files;
mod memory;
#[path = "../support/nginx.rs"]
mod nginx;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../support/process.rs"]
mod process;
mod reactors;
mod server;
mod size;
mod small_files;
mod storms;
#[path = "../support/table.rs"]
mod table;
mod threads;
mod throughput;

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use process::{ServerProcess, allow_descriptors};
use table::Row;

/// The number of connections where there are many.
const MANY: usize = 10_000;
/// Descriptors of a process that are no connection.
const SPARE: u64 = 200;

/// The subject that is measured only if it is asked for: it takes four minutes.
const CURVE: &str = "curve";

/// A part of the bench.
type Subject = fn(connections: usize) -> Vec<Row>;

const SUBJECTS: [(&str, Subject); 11] = [
    ("memory", memory::measure),
    ("kept", throughput::measure),
    ("fairness", fairness::measure),
    ("storms", storms::measure),
    ("threads", threads::measure),
    ("files", files::measure),
    ("small-files", small_files::measure),
    ("reactors", reactors::measure),
    ("size", size::measure),
    ("agreement", agreement::measure),
    (CURVE, curve::measure),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, millis] = &arguments[..]
        && first == server::SERVE
    {
        return Ok(server::serve(Duration::from_millis(millis.parse()?))?);
    }
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [server::SERVE_PLAIN, descriptor, connections] => {
            return Ok(server::serve_plain(descriptor, connections.parse()?)?);
        }
        [server::SERVE_REACTORS, count] => return Ok(server::serve_reactors(count.parse()?)?),
        [server::SERVE_BARE, descriptor, _] => return Ok(server::serve_bare(descriptor)?),
        _ => {}
    }
    // Cargo says that this is a bench; nobody else has options to give.
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| !SUBJECTS.iter().any(|(subject, _)| subject == *name)) {
        return Err(format!("there is no subject {unknown:?}").into());
    }
    let allowed = allow_descriptors(MANY as u64 + SPARE);
    let connections = MANY.min(allowed.saturating_sub(SPARE) as usize);
    if connections < MANY {
        println!(
            "only {allowed} descriptors are allowed (ulimit -Hn): {connections} connections, not {MANY}"
        );
    }
    let mut rows = Vec::new();
    for (name, measure) in SUBJECTS {
        if (wanted.is_empty() && name != CURVE) || wanted.iter().any(|other| *other == name) {
            println!("{name} …");
            rows.extend(measure(connections));
        }
    }
    if !rows.is_empty() {
        table::print(&rows);
    }
    Ok(())
}

/// Starts the server that most subjects ask.
fn workbench() -> std::io::Result<ServerProcess> {
    ServerProcess::start(Command::new(example::workbench()?).args(["--listen", "127.0.0.1:0"]))
}
