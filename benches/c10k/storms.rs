//! Measures storms: 10,000 connections come, go, or expire at the same moment.
//!
//! The server is halted (SIGSTOP) while a storm gathers, so that all of it is there when it goes on. The longest
//! turn of the loop is measured inside (see `server`), and what a client on another connection waits, from
//! outside. Not more connections come at the same moment than a listen queue holds; the rest follows.
//!
//! What is judged is the quietest of some rounds, by the clock on the wall: what the machine gives to other
//! processes, the clients here among them, lengthens a turn in one round and not in all; what the server does or
//! waits for is in each of them.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{ask, connect, idle, probe, request, sleep_until};
use super::process::ServerProcess;
use super::server::{self, Longest};
use super::table::{Goal, Row, median};

const ACCEPTS: Goal = Goal::at_most("longest turn of the loop while 10,000 are accepted", 5.0, 2.0, "ms");
const CLOSES: Goal = Goal::at_most("longest turn of the loop while 10,000 close", 5.0, 2.0, "ms");
const EXPIRIES: Goal = Goal::at_most("longest turn of the loop while 10,000 expire", 5.0, 2.0, "ms");
const ROUNDS: usize = 5;
/// An idle timeout that is longer than it takes to open all connections.
const SHORT_TIMEOUT: Duration = Duration::from_secs(5);
const LONG_TIMEOUT: Duration = Duration::from_secs(75);
/// Connections that the system makes while nobody accepts them (`/proc/sys/net/core/somaxconn`).
const QUEUED: usize = 4_000;
const PROBE_INTERVAL: Duration = Duration::from_millis(1);
/// The pause between the making of a storm and its beginning.
const CALM: Duration = Duration::from_millis(200);
/// A time that is longer than any storm.
const STORM: Duration = Duration::from_secs(1);

pub fn measure(connections: usize) -> Vec<Row> {
    let storms: [(Goal, Storm); 3] = [(ACCEPTS, accepts), (CLOSES, closes), (EXPIRIES, expiries)];
    storms
        .into_iter()
        .map(|(goal, storm)| rounds(goal, storm, connections).unwrap_or_else(|error| goal.failed(error)))
        .collect()
}

/// The longest turn of a storm, and what somebody else waited, in milliseconds.
type Storm = fn(connections: usize) -> io::Result<(Longest, f64)>;

fn rounds(goal: Goal, storm: Storm, connections: usize) -> io::Result<Row> {
    let (mut wall, mut cpu, mut waited) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (longest, wait) = storm(connections)?;
        wall.push(longest.wall.as_secs_f64() * 1e3);
        cpu.push(longest.cpu.as_secs_f64() * 1e3);
        waited.push(wait);
    }
    let quietest = wall.iter().copied().fold(f64::INFINITY, f64::min);
    let note = format!(
        "median {:.2} ms, {:.2} ms on the processor; the longest wait of another client {:.1} ms",
        median(wall),
        median(cpu),
        median(waited)
    );
    Ok(goal.measured(quietest).note(note))
}

fn accepts(connections: usize) -> io::Result<(Longest, f64)> {
    let server = start(LONG_TIMEOUT)?;
    let others = connect_asked(server.address)?;
    halt(&server)?;
    let asked = request("/plaintext");
    let arrive = |count| {
        let one = || {
            let mut stream = TcpStream::connect(server.address)?;
            stream.write_all(&asked)?;
            Ok(stream)
        };
        (0..count).map(|_| one()).collect::<io::Result<Vec<_>>>()
    };
    let first = arrive(connections.min(QUEUED))?;
    weather(&server, others, || {
        let rest = arrive(connections - first.len())?;
        thread::sleep(STORM);
        Ok((first, rest))
    })
}

fn closes(connections: usize) -> io::Result<(Longest, f64)> {
    let server = start(LONG_TIMEOUT)?;
    let clients = idle(server.address, connections)?;
    let others = connect_asked(server.address)?;
    halt(&server)?;
    drop(clients);
    weather(&server, others, || {
        thread::sleep(STORM);
        Ok(())
    })
}

fn expiries(connections: usize) -> io::Result<(Longest, f64)> {
    let server = start(SHORT_TIMEOUT)?;
    let began = Instant::now();
    let _clients = idle(server.address, connections)?;
    let ready = Instant::now();
    if ready.duration_since(began) >= SHORT_TIMEOUT {
        return Err(io::Error::other("the first have expired before the last were there"));
    }
    Longest::of(&server)?;
    halt(&server)?;
    sleep_until(ready + SHORT_TIMEOUT);
    // Itself it is new, and not answered before: it would have expired, too.
    let others = connect(server.address)?;
    weather(&server, others, || {
        thread::sleep(STORM);
        Ok(())
    })
}

fn start(idle_timeout: Duration) -> io::Result<ServerProcess> {
    ServerProcess::start(&mut server::command(idle_timeout)?)
}

fn connect_asked(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    ask(&mut stream, "/turns")?;
    Ok(stream)
}

/// Stops the server where it waits, and not in the middle of the turn in which it has just answered.
fn halt(server: &ServerProcess) -> io::Result<()> {
    thread::sleep(Duration::from_millis(50));
    server.halt()
}

/// Lets the server go on, and measures from inside and from outside while a storm is over it.
fn weather<T>(
    server: &ServerProcess,
    other: TcpStream,
    storm: impl FnOnce() -> io::Result<T>,
) -> io::Result<(Longest, f64)> {
    let is_over = AtomicBool::new(false);
    // What making the storm has left to the system is no part of it.
    thread::sleep(CALM);
    let waits = thread::scope(|scope| {
        server.go_on()?;
        let probe = scope.spawn(|| probe(other, "/plaintext", PROBE_INTERVAL, &is_over));
        let weathered = storm();
        is_over.store(true, Ordering::Relaxed);
        let waits = probe.join().map_err(|_| io::ErrorKind::Other)?;
        // What the storm was made of stays until it has been measured.
        weathered.and_then(|_left| Ok((waits?, Longest::of(server)?)))
    })?;
    let (waits, longest) = waits;
    Ok((longest, waits.into_iter().fold(0.0, f64::max)))
}
