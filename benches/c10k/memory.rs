//! Measures memory: of the server at rest, and of connections that idle, drip, or do not read.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::clients::{ask, connect, count_open, idle, request};
use super::process::{Resident, ServerProcess};
use super::table::{Goal, Row};
use super::workbench;

const AT_START: Goal = Goal::at_most("RSS at start", 3.0, 2.2, "MB");
const WITH_MANY: Goal = Goal::at_most("RSS with 10,000 idle connections", 4.5, 2.9, "MB");
const IDLE: Goal = Goal::at_most("memory of an idle keep-alive connection", 128.0, 64.0, "B");
const DRIPPING: Goal = Goal::at_most("memory of a head that drips, beyond its bytes", 512.0, 150.0, "B");
const NEVER_READING: Goal = Goal::at_most("memory of a client that never reads 1 MiB", 160.0, 64.0, "KiB");

/// The part of the connections that drip: one in this many of those that idle, since others share the server
/// with them.
const DRIPPING_SHARE: usize = 2;
/// The bytes of a head that have come when it is measured, and those of them that came in the first packet.
const HEAD_BYTES: usize = 100;
const FIRST_BYTES: usize = 36;
/// Clients that never read. 200: they fill the system's memory for sockets, too.
const NEVER_READING_CLIENTS: usize = 200;
/// Requests of each of these clients.
const PIPELINED: usize = 16;

pub fn measure(connections: usize) -> Vec<Row> {
    let mut rows = match at_rest(connections) {
        Ok(rows) => rows,
        Err(error) => vec![IDLE.failed(error)],
    };
    rows.push(dripping(connections / DRIPPING_SHARE).unwrap_or_else(|error| DRIPPING.failed(error)));
    rows.push(never_reading().unwrap_or_else(|error| NEVER_READING.failed(error)));
    rows
}

fn at_rest(connections: usize) -> io::Result<Vec<Row>> {
    let server = workbench()?;
    let start = server.resident()?;
    // What the first request sets up is no connection's.
    ask(&mut connect(server.address)?, "/plaintext")?;
    let before = server.resident()?;
    let clients = idle(server.address, connections)?;
    let after = server.resident()?;
    check_open(&clients, connections)?;
    let each = each(before, after, connections);
    Ok(vec![
        AT_START.measured(start.all as f64 / 1e6).note(kilobytes(start)),
        WITH_MANY.measured(after.all as f64 / 1e6).note(kilobytes(after)),
        IDLE.measured(each).note(format!("{connections} connections")),
    ])
}

fn dripping(connections: usize) -> io::Result<Row> {
    let server = workbench()?;
    ask(&mut connect(server.address)?, "/plaintext")?;
    let before = server.resident()?;
    let mut clients = (0..connections).map(|_| connect(server.address)).collect::<io::Result<Vec<_>>>()?;
    let head = format!("GET /plaintext HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_BYTES));
    let head = &head.as_bytes()[..HEAD_BYTES];
    clients.iter_mut().try_for_each(|client| client.write_all(&head[..FIRST_BYTES]))?;
    for byte in &head[FIRST_BYTES..] {
        clients.iter_mut().try_for_each(|client| client.write_all(&[*byte]))?;
    }
    settle(&server)?;
    let after = server.resident()?;
    check_open(&clients, connections)?;
    let each = each(before, after, connections) - HEAD_BYTES as f64;
    Ok(DRIPPING.measured(each).note(format!("{connections} heads of {HEAD_BYTES} bytes so far")))
}

fn never_reading() -> io::Result<Row> {
    let server = workbench()?;
    ask(&mut connect(server.address)?, "/plaintext")?;
    let before = server.resident()?;
    let asked = request("/bytes?n=1048576").repeat(PIPELINED);
    let clients = (0..NEVER_READING_CLIENTS).map(|_| {
        let mut client = connect(server.address)?;
        client.write_all(&asked)?;
        Ok(client)
    });
    let clients = clients.collect::<io::Result<Vec<_>>>()?;
    settle(&server)?;
    let after = server.resident()?;
    // They have not been read from, so each has bytes waiting; whoever is cut has none.
    let mut byte = [0];
    if let Some(error) = clients.iter().find_map(|client| client.peek(&mut byte).err()) {
        return Err(error);
    }
    let each = each(before, after, NEVER_READING_CLIENTS) / 1024.0;
    let note = format!("{NEVER_READING_CLIENTS} clients with {PIPELINED} requests each");
    Ok(NEVER_READING.measured(each).note(note))
}

fn each(before: Resident, after: Resident, connections: usize) -> f64 {
    after.anonymous.saturating_sub(before.anonymous) as f64 / connections as f64
}

fn kilobytes(resident: Resident) -> String {
    format!("{} kB of it are heap and stack", resident.anonymous / 1000)
}

fn check_open(clients: &[TcpStream], expected: usize) -> io::Result<()> {
    match count_open(clients) {
        count if count == expected => Ok(()),
        count => Err(io::Error::other(format!("only {count} of {expected} connections are still open"))),
    }
}

/// Waits until the server is idle: its CPU time stands still.
fn settle(server: &ServerProcess) -> io::Result<()> {
    let mut before = server.cpu()?;
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = server.cpu()?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
}
