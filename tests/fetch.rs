//! The gateway of `examples/fetch.rs`, whose answers come from another server, which may do what it likes.

#[path = "../examples/fetch.rs"]
mod fetch;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fetch::{Bounds, Fetch};
use support::loopback::{Client, PATIENCE, Running, noise, serve, serve_gateway};
use tidegate::limits::Limits;
use tidegate::{Environ, Server, StartResponse};

const SHORT: Bounds = Bounds {
    connect_timeout: Duration::from_millis(300),
    head_timeout: Duration::from_millis(300),
    silence_max: Duration::from_millis(300),
    head_bytes_max: 1000,
    content_bytes_max: 5_000_000,
};
/// Bounds that nobody reaches who must not be late, on a machine that may be.
const LONG: Bounds =
    Bounds { connect_timeout: PATIENCE, head_timeout: PATIENCE, silence_max: PATIENCE, ..SHORT };

fn fetching(upstream: SocketAddr, bounds: Bounds) -> Running {
    serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), Fetch { upstream, bounds })
}

/// Starts a server that takes one request after the other, and does with each connection what it is told.
fn upstream(answer: impl Fn(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).unwrap(), 1);
                head.push(byte[0]);
            }
            answer(&mut stream);
        }
    });
    address
}

/// Returns a client's answer through a gateway whose other server says these pieces, one after the other, and ends.
fn get(bounds: Bounds, pieces: &'static [&'static str]) -> support::response::Response {
    let address = upstream(move |stream| {
        for piece in pieces {
            // The gateway may have had enough.
            let _ = stream.write_all(piece.as_bytes());
            thread::sleep(Duration::from_millis(20));
        }
    });
    fetching(address, bounds).connect().get("/")
}

#[test]
fn answer_is_passed_on_whatever_server_it_is_from() {
    let application = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let told = format!("{} {:?}", environ.raw_target(), environ.field("Range"));
        match &*environ.path() {
            "/long" => start_response.status(200).send(noise(11, 3_000_000)),
            "/none" => start_response.status(304).field("ETag", "\"a\"").finish(),
            "/grown" => start_response.status(200).pieces((0..50).map(|_| "0123456789")),
            _ => start_response.status(404).field("X-Told", told).send("not here"),
        }
    };
    let other = serve(application, Limits::default());
    let server = fetching(other.address(), LONG);
    let mut client = server.connect();
    let missing = client.get("/a%20b?c=d");
    assert_eq!((missing.code, missing.text().as_str()), (404, "not here"));
    assert_eq!(missing.field("X-Told"), Some("/a%20b?c=d None"));
    // All on the same connection of the client.
    assert!(client.get("/long").content == noise(11, 3_000_000));
    assert_eq!(client.get("/none").field("ETag"), Some("\"a\""));
    assert_eq!(client.get("/grown").text(), "0123456789".repeat(50));
    client.send("HEAD /long HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read("HEAD").field("Content-Length"), Some("3000000"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read("POST").code, 405);
}

/// No request is answered before all of them have been passed on: a gateway that waited for one would wait for ever.
#[test]
fn many_are_fetched_at_the_same_time_by_one_thread() {
    let (sender, accepted) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = fetching(listener.local_addr().unwrap(), LONG);
    thread::spawn(move || listener.incoming().try_for_each(|stream| sender.send(stream.unwrap())));
    let mut clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    // None of them is answered before all have asked.
    let streams: Vec<_> = clients.iter().map(|_| accepted.recv_timeout(PATIENCE).unwrap()).collect();
    for mut stream in streams.into_iter().rev() {
        let mut head = [0; 1000];
        let count = stream.read(&mut head).unwrap();
        let target = String::from_utf8_lossy(&head[..count]).split(' ').nth(1).unwrap().to_string();
        write!(stream, "HTTP/1.1 200 OK\r\n\r\nof {target}").unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read("GET").text(), format!("of /{number}"));
    }
}

#[test]
fn slow_server_is_waited_for_and_only_so_long() {
    let slow = &["HTTP/1.1 2", "00 OK\r\nConnection: X-Own\r\nX-Own: a\r\nX-Mine: b\r\n", "\r\nsl", "o", "w"];
    let answer = get(LONG, slow);
    assert_eq!((answer.code, answer.text().as_str(), answer.is_cut), (200, "slow", false));
    assert_eq!((answer.field("X-Own"), answer.field("X-Mine")), (None, Some("b")));
    let begun = Instant::now();
    for said in ["", "HTTP/1.1 200 OK\r\nX-", "HTTP/1.1 200 OK\r\n\r\nhalf"] {
        let (sender, gone) = mpsc::channel();
        let address = upstream(move |stream| {
            stream.write_all(said.as_bytes()).unwrap();
            // Until the gateway gives up.
            sender.send(stream.read(&mut [0]).is_ok()).unwrap();
        });
        let server = fetching(address, SHORT);
        let mut client = server.connect();
        if said.ends_with("half") {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let (all, _) = client.read_to_end();
            assert!(all.ends_with(b"4\r\nhalf\r\n"), "it is broken off: {}", all.escape_ascii());
        } else {
            assert_eq!(client.get("/").code, 504);
        }
        assert_eq!(gone.recv_timeout(PATIENCE), Ok(true));
    }
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn server_that_is_absent_or_no_server_is_a_502() {
    let absent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(fetching(absent, LONG).connect().get("/").code, 502);
    for said in [
        &["HTTP/1.1 200 OK\r\nX: a"],
        &["220 smtp.example ESMTP\r\n"],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 5000001\r\n\r\n"],
        &["HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ] {
        assert_eq!(get(LONG, said).code, 502, "{said:?}");
    }
    let long = upstream(|stream| {
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1000)).as_bytes());
    });
    assert_eq!(fetching(long, LONG).connect().get("/").code, 502);
}

/// Lets a connection end with a reset.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn server_that_breaks_off_is_not_taken_for_one_that_has_ended() {
    let address = upstream(|stream| reset(stream));
    assert_eq!(fetching(address, LONG).connect().get("/").code, 502);
    // Midway: after the client has had half of it.
    let (sender, half) = mpsc::channel::<()>();
    let address = upstream(move |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
        half.recv().unwrap();
        reset(stream);
    });
    let server = fetching(address, LONG);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("half");
    sender.send(()).unwrap();
    let (all, _) = client.read_to_end();
    assert!(all.ends_with(b"4\r\nhalf\r\n"), "{}", all.escape_ascii());
    // Too little, and too much.
    let short = get(LONG, &["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]);
    assert_eq!((short.text().as_str(), short.is_cut), ("half", true));
    let long = get(LONG, &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf and half"]);
    assert_eq!((long.text().as_str(), long.is_cut), ("half", false));
    let bounds = Bounds { content_bytes_max: 9, ..LONG };
    assert!(get(bounds, &["HTTP/1.1 200 OK\r\n\r\n", "0123456789"]).is_cut);
}

#[test]
fn client_that_has_left_takes_its_fetch_with_it() {
    let (sender, outcome) = mpsc::channel();
    let address = upstream(move |stream| {
        sender.send(None).unwrap();
        sender.send(stream.read(&mut [0]).ok()).unwrap();
    });
    let server = fetching(address, LONG);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(None), "it is asked");
    reset(&client.try_clone_tcp());
    drop(client);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(Some(0)), "and left");
    // One that has only ended its side may still want its answer.
    let address = upstream(|stream| stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nlate").unwrap());
    let server = fetching(address, LONG);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.end_sending();
    assert_eq!(client.read("GET").text(), "late");
}
