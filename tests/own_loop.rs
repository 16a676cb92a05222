//! The conversation in a loop that is not the reactor's: `examples/own_loop.rs`, over real sockets.

mod support;

#[path = "../examples/own_loop.rs"]
mod own_loop;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use support::loopback::{Answer, Client, End};
use support::response::Framing;
use tidegate::gateway::{FileRange, Response, deferred};
use tidegate::limits::Limits;
use tidegate::{Environ, StartResponse};

fn application(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
    match &*environ.path() {
        "/long" => start_response.status(200).pieces((0..3_000).map(|_| [b'x'; 1000])),
        "/file" => {
            let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"))?;
            start_response.status(200).file(FileRange::whole(file)?)
        }
        "/later" => {
            let (responder, answer) = deferred(environ.wakeup());
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                responder.respond(Response::new(200).content("late"));
            });
            Ok(answer.wait(start_response))
        }
        "/timer" => {
            let moment = start_response.now() + Duration::from_millis(20);
            Ok(start_response.at(moment, |start_response| start_response.status(200).send("in time")))
        }
        "/panic" => panic!("on purpose"),
        path => {
            let mut content = String::new();
            environ.content().read_to_string(&mut content)?;
            start_response.status(200).send(format!("{path} {}", content.len()))
        }
    }
}

/// A server that lives as long as the process, as this loop knows no end.
fn serve(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || own_loop::serve(&listener, application, limits));
    address
}

#[test]
fn another_loop_serves_all_kinds_of_answers_on_one_connection() {
    let mut client = Client::connect(serve(Limits { body_memory_bytes_max: 1000, ..Limits::default() }));
    assert_eq!(client.get("/a%20b").text(), "/a b 0");
    let response = client.get("/long");
    assert_eq!((response.framing, response.content.len()), (Framing::Chunked, 3_000_000));
    let lock = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    assert_eq!(client.get("/file").content, lock);
    assert_eq!(client.get("/later").text(), "late");
    assert_eq!(client.get("/timer").text(), "in time");
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
    for _ in 0..100 {
        assert_eq!(client.read("GET").text(), "/1 0");
    }
    // Content that is longer than what may be in memory, asked for first.
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.read("POST").code, 100);
    for _ in 0..20 {
        client.send(format!("190\r\n{}\r\n", "x".repeat(400)));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read("POST").text(), "/up 8000");
    let response = client.get("/panic");
    assert_eq!((response.code, response.says_close(), client.read_end()), (500, true, End::Fin));
}

#[test]
fn another_loop_keeps_deadlines_and_refuses_what_is_wrong() {
    let short = Duration::from_millis(200);
    let address = serve(Limits { head_timeout: short, idle_timeout: short, ..Limits::default() });
    let mut slow = Client::connect(address);
    slow.send("GET / HTT");
    assert_eq!((slow.read("GET").code, slow.read_end()), (408, End::Fin));
    let mut kept = Client::connect(address);
    assert_eq!(kept.get("/").code, 200);
    assert_eq!(kept.read_end(), End::Fin);
    let mut wrong = Client::connect(address);
    wrong.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!((wrong.read("GET").code, wrong.read_end()), (400, End::Fin));
    let mut ended = Client::connect(address);
    ended.send("GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    ended.end_sending();
    assert_eq!((ended.read("GET").text(), ended.read_end()), ("/last 0".to_string(), End::Fin));
}
