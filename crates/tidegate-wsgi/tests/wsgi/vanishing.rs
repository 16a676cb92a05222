//! Tests clients that vanish in every phase, with a reset and in order. Afterwards the server answers, what
//! the application returned was closed, and no descriptor or thread is left.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::served::{Mode, Served};
use super::support::loopback::wait_until;

/// The phase of its request in which a client leaves.
#[derive(Clone, Copy, Debug)]
enum Phase {
    BeforeAByte,
    MidHead,
    MidUpload,
    MidLargeUpload,
    WaitingForTheAnswer,
    MidStream,
    NotReading,
    Pipelining,
}

use Phase::*;

const PHASES: &[Phase] = &[
    BeforeAByte,
    MidHead,
    MidUpload,
    MidLargeUpload,
    WaitingForTheAnswer,
    MidStream,
    NotReading,
    Pipelining,
];

const CLIENTS: usize = 4;

#[cfg(target_os = "linux")]
pub fn play(mode: Mode) {
    let served = Served::start("probe_app:application", mode);
    // The pool and all that is made once are there now.
    for _ in 0..8 {
        assert_eq!(served.get("/block_generator").text(), "one two");
    }
    let before = served.holds();
    for phase in PHASES {
        for resets in [true, false] {
            vanish(&served, *phase, resets);
            assert_eq!(served.get("/hello").text(), "hello", "{phase:?}, reset: {resets}");
        }
    }
    wait_until("all descriptors and threads are given back", || {
        let (descriptors, threads) = served.holds();
        descriptors <= before.0 && threads <= before.1
    });
}

/// Clients that come, get as far as this phase, and leave together.
fn vanish(served: &Served, phase: Phase, resets: bool) {
    // Inline, one that waits in the application keeps all others from being called.
    let count = if matches!((served.mode, phase), (Mode::Inline, WaitingForTheAnswer)) { 1 } else { CLIENTS };
    let ids: Vec<String> = (0..count).map(|number| format!("{phase:?}-{resets}-{number}")).collect();
    let clients: Vec<TcpStream> = ids.iter().map(|id| come(served, phase, id)).collect();
    if let WaitingForTheAnswer = phase {
        ids.iter().for_each(|id| served.wait_for_note(id, "called"));
    }
    for client in clients {
        if resets {
            set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        }
        drop(client);
    }
    ids.iter().for_each(|id| served.open_gate(id));
    if matches!(phase, WaitingForTheAnswer | MidStream | NotReading | Pipelining) {
        for id in &ids {
            served.wait_for_note(id, "closed");
            let closed = served.notes(id).iter().filter(|note| *note == "closed").count();
            assert_eq!(closed, 1, "{id}");
        }
    }
}

fn come(served: &Served, phase: Phase, id: &str) -> TcpStream {
    let mut client = served.program.connect();
    let endless = format!("GET /blocks_endless?{id} HTTP/1.1\r\nHost: a\r\n\r\n");
    let request = match phase {
        BeforeAByte => String::new(),
        MidHead => "GET /hello HTTP/1.1\r\nHos".to_string(),
        MidUpload => "POST /input_count HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc".to_string(),
        MidLargeUpload => {
            let head = "POST /input_count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            format!("{head}{}", format!("10000\r\n{}\r\n", "x".repeat(65_536)).repeat(20))
        }
        WaitingForTheAnswer => format!("GET /close_gate_list?{id} HTTP/1.1\r\nHost: a\r\n\r\n"),
        MidStream | NotReading => endless,
        Pipelining => format!("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n{endless}{endless}{endless}"),
    };
    client.write_all(request.as_bytes()).unwrap();
    match phase {
        MidStream => client.read_exact(&mut [0; 300_000]).unwrap(),
        NotReading | Pipelining => {
            let has_begun = || served.notes(id).iter().any(|note| note.parse::<u32>().is_ok());
            wait_until(&format!("{id} is under way"), has_begun);
        }
        _ => {}
    }
    // Long enough for the server to see what came; whether it has does not matter.
    thread::sleep(Duration::from_millis(5));
    client
}

/// A response that is under way when the server is told to end is closed too.
pub fn shutdown(mode: Mode) {
    let mut served = Served::start("probe_app:application", mode);
    let mut client = served.connect();
    client.send("GET /blocks_endless?shutdown HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_bytes(1_000_000);
    let mut idle = served.connect();
    assert_eq!(idle.get("/hello").text(), "hello");
    served.program.interrupt();
    // An idle connection ends at once; the answer that never ends waits for the second signal.
    idle.read_end();
    assert!(served.notes("shutdown").iter().all(|note| note != "closed"));
    served.program.interrupt();
    assert_eq!(served.program.wait().code(), Some(0));
    let closed = served.notes("shutdown").iter().filter(|note| *note == "closed").count();
    assert_eq!(closed, 1);
}
