//! Measures what active connections lose beside idle ones: a server with many of them and one without take
//! turns.

use std::io;
use std::time::Duration;

use super::clients::{count_open, idle, load};
use super::process::ServerProcess;
use super::table::{Goal, Row, median};
use super::workbench;

const KEPT: Goal = Goal::at_least("requests/s of 64 active kept beside 9,900 idle", 95.0, 100.0, "%");
const ACTIVE: usize = 64;
const ROUNDS: usize = 11;
const ROUND: Duration = Duration::from_millis(1500);

pub fn measure(connections: usize) -> Vec<Row> {
    vec![kept(connections - 100).unwrap_or_else(|error| KEPT.failed(error))]
}

fn kept(idle_connections: usize) -> io::Result<Row> {
    let (alone, beside) = (workbench()?, workbench()?);
    let (mut requests, mut cpu) = (Vec::new(), Vec::new());
    let clients = idle(beside.address, idle_connections)?;
    for _ in 0..ROUNDS {
        let (rate_alone, cpu_alone) = round(&alone)?;
        let (rate_beside, cpu_beside) = round(&beside)?;
        requests.push(100.0 * rate_beside / rate_alone);
        cpu.push(100.0 * cpu_beside / cpu_alone);
    }
    match count_open(&clients) {
        open if open == idle_connections => {}
        open => return Err(io::Error::other(format!("only {open} idle connections are still open"))),
    }
    let note = format!("{ROUNDS} rounds; CPU time of a request {:.1} % of what it is alone", median(cpu));
    Ok(KEPT.measured(median(requests)).note(note))
}

/// Returns the requests a second, and the CPU seconds of each.
fn round(server: &ServerProcess) -> io::Result<(f64, f64)> {
    let before = server.cpu()?;
    let load = load(server.address, "/plaintext", ACTIVE, ROUND)?;
    let cpu = (server.cpu()? - before).as_secs_f64();
    Ok((load.answered as f64 / load.elapsed.as_secs_f64(), cpu / load.answered as f64))
}
