//! Servlets that answer later, and read and write as the connection can.

use std::thread;
use std::time::Duration;

use super::probe::{Check, Probe, Row, answers, checks, complete, rows};
use super::served::Served;
use super::support::loopback::wait_until;

pub fn probes() -> impl Iterator<Item = Probe> {
    rows(LATER).chain(checks(CHECKS))
}

const LATER: &[Row] = &[
    (
        "async complete",
        "GET /probe/async/complete",
        "200 length {Content-Type: text/plain;charset=UTF-8}: completed",
    ),
    (
        "async complete at once",
        "GET /probe/async/complete-now",
        "200 length {Content-Type: text/plain;charset=UTF-8}: at once",
    ),
    (
        "async run by the container",
        "GET /probe/async/run",
        "200 length {Content-Type: text/plain;charset=UTF-8}: run",
    ),
    (
        "async dispatch",
        "GET /probe/async/dispatch",
        "200 length {Content-Type: text/plain;charset=UTF-8}: dispatched ASYNC /probe/async/dispatch",
    ),
    (
        "async dispatch at once",
        "GET /probe/async/dispatch-now",
        "200 length {Content-Type: text/plain;charset=UTF-8}: dispatched ASYNC /probe/async/dispatch-now",
    ),
    (
        "async dispatch elsewhere",
        "GET /probe/async/dispatch-to\nX-Show: dispatcher uri query parameters",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ASYNC | /probe/show/later | a=b | a=[b]",
    ),
    (
        "async dispatch twice",
        "GET /probe/async/dispatch-twice",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-Second: IllegalStateException}: completed",
    ),
    ("async timeout", "GET /probe/async/timeout", "500 length: page of 500"),
    (
        "async timeout that is answered",
        "GET /probe/async/timeout-answer",
        "200 length {Content-Type: text/plain;charset=UTF-8}: too late",
    ),
    (
        "async timeout that dispatches",
        "GET /probe/async/timeout-dispatch",
        "200 length {Content-Type: text/plain;charset=UTF-8}: dispatched ASYNC /probe/async/timeout-dispatch",
    ),
    (
        "async timeout after commit",
        "GET /probe/async/committed-timeout",
        "200 chunked cut {Content-Type: text/plain;charset=UTF-8}: begin",
    ),
    (
        "async throw",
        "GET /probe/async/throw",
        "500 length {Content-Type: text/plain;charset=UTF-8}: page for 500 a secret IllegalStateException /probe/async/throw ERROR",
    ),
    (
        "async pieces",
        "GET /probe/async/pieces",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: one two three",
    ),
    (
        "async started twice",
        "GET /probe/async/again",
        "200 length {Content-Type: text/plain;charset=UTF-8}: IllegalStateException",
    ),
    (
        "async error",
        "GET /probe/async/send-error",
        "409 length {Content-Type: text/plain;charset=UTF-8}: page for 409  none /probe/async/send-error ERROR",
    ),
    (
        "async read of nothing",
        "GET /probe/async/read",
        "200 length {Content-Type: text/plain;charset=UTF-8}: all 0:0 true",
    ),
    (
        "async read",
        "POST /probe/async/read\n\nabc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: all 3:352441c2 true",
    ),
    (
        "async read of chunks",
        "POST /probe/async/read\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: all 5:8587d865 true",
    ),
    (
        "async read of bad chunks",
        "POST /probe/async/read\nTransfer-Encoding: chunked\n\n3\r\nabc\r\nx\r\nde\r\n0\r\n\r\n",
        "400 length: page of 400",
    ),
    (
        "async HEAD",
        "HEAD /probe/async/complete",
        "200 none {Content-Length: 9, Content-Type: text/plain;charset=UTF-8}",
    ),
];

const CHECKS: &[Check] = &[
    ("async listener of complete", |served| heard(served, "complete"), "complete"),
    ("async listener of a dispatch", |served| heard(served, "dispatch"), "complete"),
    ("async listener of a timeout", |served| heard(served, "timeout"), "timeout complete"),
    ("async listener of an exception", |served| heard(served, "throw"), "error:IllegalStateException"),
    // Whether its length is known depends on who is faster.
    ("async write of nothing", |served| written(served, 0), "0 bytes"),
    ("async write", |served| written(served, 100_000), "100000 bytes"),
    ("async write of many bytes", |served| written(served, 20_000_000), "20000000 bytes"),
    (
        "async read as it comes",
        slowly,
        "5 notes, 200 length {Content-Type: text/plain;charset=UTF-8}: all 10:a684c7c6 true",
    ),
    ("async write to a client that does not read at first", stalled, "full, then whole"),
    ("async client that leaves", leaves, "gone"),
    ("async reader whose client leaves", reader_leaves, "read-error"),
    ("async writer whose client leaves", writer_leaves, "write-error"),
    ("async answers at once", at_once, "100"),
    (
        "async and then another on the connection",
        kept,
        "completed, dispatched ASYNC /probe/async/dispatch, short",
    ),
];

fn id(served: &Served, name: &str) -> String {
    format!("async-{name}-{:?}-{}", served.connector, served.program.id())
}

fn written(served: &Served, bytes: usize) -> String {
    let response = served.get(&format!("/probe/async/write?bytes={bytes}"));
    assert!(!response.is_cut && response.content.iter().all(|byte| *byte == b'x'));
    format!("{} bytes", response.content.len())
}

fn heard(served: &Served, path: &str) -> String {
    let id = id(served, path);
    served.get(&format!("/probe/async/{path}?id={id}"));
    let last = if path == "throw" { "error:IllegalStateException" } else { "complete" };
    let notes = served.wait_for_note(&id, last);
    let of_listener = |note: &&str| !note.starts_with("request");
    notes.split(' ').filter(of_listener).collect::<Vec<_>>().join(" ")
}

/// A reader hears of content as it comes, and not only when all of it is there.
fn slowly(served: &Served) -> String {
    let id = id(served, "slowly");
    let mut client = served.connect();
    client.send(complete(&format!("POST /probe/async/read?id={id}\nContent-Length: 10\nX: y")));
    for digits in ["01", "23", "45", "67", "89"] {
        client.send(digits);
        let so_far = format!("so-far:{}", digits.as_bytes()[1] - b'0' + 1);
        served.wait_for_note(&id, &so_far);
    }
    let answer = answers(&mut client, "POST");
    let notes = served.wait_for_note(&id, "all");
    format!("{} notes, {answer}", notes.split(' ').filter(|note| note.starts_with("so-far:")).count())
}

fn stalled(served: &Served) -> String {
    let id = id(served, "stalled");
    let mut client = served.connect();
    client.send(complete(&format!("GET /probe/async/write?bytes=30000000&id={id}")));
    served.wait_for_note(&id, "full");
    // It is not called again and again while nobody reads.
    let calls = || served.notes(&id).split(' ').count();
    let mut before = 0;
    wait_until("the listener is left alone", || {
        thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, calls()) == before
    });
    let response = client.read("GET");
    assert_eq!(response.content.len(), 30_000_000);
    served.wait_for_note(&id, "written");
    "full, then whole".to_string()
}

fn leaves(served: &Served) -> String {
    let id = id(served, "leaves");
    let mut client = served.connect();
    client.send(complete(&format!("GET /probe/async/until-gone?id={id}")));
    client.read_until("still here");
    drop(client);
    served.wait_for_note(&id, "gone");
    "gone".to_string()
}

fn reader_leaves(served: &Served) -> String {
    let id = id(served, "reader-leaves");
    let mut client = served.connect();
    client.send(complete(&format!("POST /probe/async/read?id={id}\nContent-Length: 10\nX: y")));
    client.send("abc");
    served.wait_for_note(&id, "so-far:3");
    drop(client);
    served.wait_for_note(&id, "read-error");
    "read-error".to_string()
}

fn writer_leaves(served: &Served) -> String {
    let id = id(served, "writer-leaves");
    let mut client = served.connect();
    client.send(complete(&format!("GET /probe/async/write?bytes=30000000&id={id}")));
    client.read_until("xxx");
    served.wait_for_note(&id, "full");
    client.leave_unread();
    served.wait_for_note(&id, "write-error");
    "write-error".to_string()
}

/// Many wait at once, and no thread is held meanwhile.
fn at_once(served: &Served) -> String {
    let mut clients: Vec<_> = (0..100).map(|_| served.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(complete("GET /probe/async/complete")));
    clients
        .iter_mut()
        .filter_map(|client| (client.read("GET").text() == "completed").then_some(()))
        .count()
        .to_string()
}

fn kept(served: &Served) -> String {
    let mut client = served.connect();
    let targets = ["async/complete", "async/dispatch", "respond/short"];
    let texts: Vec<_> = targets.iter().map(|target| client.get(&format!("/probe/{target}")).text()).collect();
    texts.join(", ")
}
