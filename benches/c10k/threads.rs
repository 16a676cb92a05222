//! Measures what an answer from another thread costs beyond one that is given at once.

use std::io;
use std::time::Duration;

use super::clients::load;
use super::process::ServerProcess;
use super::server;
use super::table::{Goal, Row, median};

const BEYOND: Goal =
    Goal::at_most("CPU of an answer from another thread, beyond an inline one", 6.0, 3.0, "µs");
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(1);

pub fn measure(_connections: usize) -> Vec<Row> {
    vec![beyond().unwrap_or_else(|error| BEYOND.failed(error))]
}

fn beyond() -> io::Result<Row> {
    let server = ServerProcess::start(&mut server::command(Duration::from_secs(75))?)?;
    let (mut inline, mut elsewhere, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (at_once, later) = (micros(&server, "/plaintext")?, micros(&server, "/deferred")?);
        inline.push(at_once);
        elsewhere.push(later);
        beyond.push(later - at_once);
    }
    let note = format!("{:.2} µs inline, {:.2} µs from the thread", median(inline), median(elsewhere));
    Ok(BEYOND.measured(median(beyond)).note(note))
}

/// Measures the CPU time of a request.
fn micros(server: &ServerProcess, path: &str) -> io::Result<f64> {
    let before = server.cpu()?;
    let load = load(server.address, path, CONNECTIONS, ROUND)?;
    Ok((server.cpu()? - before).as_secs_f64() * 1e6 / load.answered as f64)
}
