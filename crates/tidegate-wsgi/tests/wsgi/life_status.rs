//! Tests `--status` beside a Python application: its threads are shown, and each of several workers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::life::{Life, folder, signal};
use super::support::loopback::wait_until;
use super::support::process::PATIENCE;

/// Asks a status server, and returns its answer; nothing where there is none.
fn ask(socket: &Path, path: &str) -> String {
    let Ok(mut stream) = UnixStream::connect(socket) else { return String::new() };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    let asked = stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes());
    // It may end meanwhile.
    let _ = asked.and_then(|()| stream.read_to_string(&mut answer));
    answer
}

/// Whether the metrics have a line.
fn shows(socket: &Path, line: &str) -> bool {
    ask(socket, "/metrics").contains(&format!("\n{line}\n"))
}

fn is_well(socket: &Path) -> bool {
    ask(socket, "/health").starts_with("HTTP/1.1 200 ")
}

/// Returns the number and the process of the worker that is shown; none while one is about to follow another.
fn worker(socket: &Path) -> Option<(String, u32)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let (mut hello, mut buffer) = (String::new(), [0; 1024]);
    while !hello.contains(")\"") {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        hello += &String::from_utf8_lossy(&buffer[..count]);
    }
    let (_, rest) = hello.split_once("app:app (worker ")?;
    let (number, process) = rest.split_once(", process ")?;
    Some((number.to_string(), process.split(')').next()?.parse().ok()?))
}

/// Serves with `--status`, and returns where that is.
fn start(arguments: &[&str]) -> (Life, PathBuf) {
    let folder = folder();
    let socket = folder.path().join("status");
    let status = format!("unix:{}", socket.display());
    let life = Life::start_in(folder, &[&["--status", &status], arguments].concat());
    (life, socket)
}

#[test]
fn threads_that_call_the_application_are_shown_with_what_waits_for_them() {
    let (life, socket) = start(&["--threads", "2"]);
    assert!(is_well(&socket));
    wait_until("both wait", || {
        shows(&socket, "tidegate_pool_threads{pool=\"the application\"} 2")
            && shows(&socket, "tidegate_pool_threads_busy{pool=\"the application\"} 0")
    });
    let (_first, _second) = (life.begin("a"), life.begin("b"));
    assert!(shows(&socket, "tidegate_pool_threads_busy{pool=\"the application\"} 2"));
    let mut third = super::support::loopback::Client::connect(life.address());
    third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("one waits", || shows(&socket, "tidegate_pool_waiting{pool=\"the application\"} 1"));
    ["a", "b"].iter().for_each(|id| life.release(id));
    assert_eq!(third.read("GET").code, 200);
    life.end();
}

#[test]
fn each_worker_is_shown_on_an_address_of_its_own_which_its_successor_takes_over() {
    let (life, first) = start(&["--workers", "2"]);
    let second = first.with_file_name("status.2");
    wait_until("both are shown", || is_well(&first) && is_well(&second));
    let ((one, victim), (two, other)) = (worker(&first).unwrap(), worker(&second).unwrap());
    assert_eq!((&*one, &*two), ("1", "2"));
    assert_ne!(victim, other);
    signal(victim, Signal::KILL);
    life.program.stderr.next_with("another one takes its place");
    let mut next = victim;
    wait_until("the next one is shown", || {
        let shown = worker(&first).filter(|(number, process)| number == "1" && *process != victim);
        shown.inspect(|(_, process)| next = *process).is_some()
    });
    assert_ne!(next, other);
    life.program.signal(Signal::HUP);
    let is_new =
        |socket: &Path| worker(socket).is_some_and(|(_, process)| process != next && process != other);
    wait_until("all are new", || is_new(&first) && is_new(&second));
    life.end();
}
