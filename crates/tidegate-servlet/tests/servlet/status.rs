//! The attribute `status`: the connector shows its loop, and the threads of its servlets, on an address of its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::probe::complete;
use super::served::{Connector, Served};
use super::support::loopback::{PATIENCE, wait_until};
use super::support::temp_folder::TempFolder;

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

fn shows(socket: &Path, sample: &str) -> bool {
    ask(socket, "/metrics").contains(&format!("\ntidegate_pool_{sample}\n"))
}

#[test]
fn threads_that_call_servlets_are_shown_with_what_waits_for_them_also_after_a_start_anew() {
    let folder = TempFolder::new();
    let socket = folder.path().join("status");
    let status = format!("status=unix:{}", socket.display());
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=2", &status]);
    served.command("restart");
    assert!(ask(&socket, "/health").starts_with("HTTP/1.1 200 "));
    wait_until("both threads wait", || {
        shows(&socket, "threads{pool=\"servlets\"} 2") && shows(&socket, "threads_busy{pool=\"servlets\"} 0")
    });
    let asks = ["a", "b", "c"].map(|id| {
        let mut client = served.connect();
        client.send(complete(&format!("GET /probe/life/wait?id={id}")));
        client
    });
    wait_until("both threads are busy, and one request waits", || {
        shows(&socket, "threads_busy{pool=\"servlets\"} 2") && shows(&socket, "waiting{pool=\"servlets\"} 1")
    });
    drop(asks);
}
