//! Content that an application reads while it arrives: by hand, and over a real socket.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use support::loopback::serve_gateway;
use tidegate::conversation::{ByHand, Farewell, Wants};
use tidegate::gateway::{Admission, BodyStream, IncomingContent, Later, Piece};
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, Server, StartResponse};

/// Answers a request by its path.
struct AsItComes;

/// Sends back what comes.
struct Echo(IncomingContent);

/// Counts what comes, and answers then.
struct Count(IncomingContent, usize);

/// Holds the content, and reads none of it before it is woken for the second time.
struct Idle(IncomingContent, usize);

impl Gateway for AsItComes {
    fn admit(&self, _: &Environ<'_>) -> Admission {
        Admission::AsItComes
    }

    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        match &*environ.path() {
            "/echo" => {
                let content = environ.take_incoming();
                start_response.status(200).stream(Echo(content))
            }
            "/count" => Ok(start_response.later(None, Count(environ.take_incoming(), 0))),
            "/idle" => Ok(start_response.later(None, Idle(environ.take_incoming(), 0))),
            "/dropped" => {
                drop(environ.take_incoming());
                Ok(start_response.at(environ.now() + Duration::from_secs(1), |start_response| {
                    start_response.status(200).send("unread")
                }))
            }
            "/panic" => panic!("on purpose"),
            _ => start_response.status(404).send("no"),
        }
    }
}

impl BodyStream for Echo {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(self.0.next_piece()?)
    }
}

impl Later for Count {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        loop {
            match self.0.next_piece()? {
                Piece::Data(bytes) => self.1 += bytes.len(),
                Piece::Pending { until } => return Ok(start_response.later_boxed(until, self)),
                Piece::End => return start_response.status(200).send(self.1.to_string()),
            }
        }
    }
}

impl Later for Idle {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        self.1 += 1;
        if self.1 > 2 {
            while let Piece::Data(_) = self.0.next_piece()? {}
        }
        Ok(start_response.later_boxed(None, self))
    }
}

/// A request for this path whose content has this length, and the first of it.
fn post(path: &str, length: usize, content: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}").into_bytes()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn answer_begins_before_the_content_ends_and_the_connection_goes_on() {
    let mut hand = ByHand::new(AsItComes);
    hand.receive(&post("/echo", 6, "low"));
    let first = text(hand.transmit_all());
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.ends_with("\r\n3\r\nlow\r\n"), "{first}");
    assert_eq!(hand.wants(), Wants::Read);
    // The end of the content, and the next request behind it.
    hand.receive(&[b"ebb", &post("/count", 3, "abc")[..]].concat());
    hand.wake();
    let rest = text(hand.transmit_all());
    assert!(
        rest.starts_with("3\r\nebb\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\n3"),
        "{rest}"
    );
    assert!(hand.is_idle());
}

#[test]
fn content_is_the_same_wherever_reads_end() {
    let chunked = b"POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nlow\r\n8;x=y\r\n tide is\r\n0\r\nA: b\r\n\r\n";
    for cut in 1..chunked.len() {
        let mut hand = ByHand::new(AsItComes);
        hand.receive(&chunked[..cut]);
        hand.receive(&chunked[cut..]);
        let answer = text(hand.transmit_all());
        assert!(answer.ends_with("\r\n\r\n11") && hand.is_idle(), "cut at {cut}: {answer}");
    }
    let mut hand = ByHand::new(AsItComes);
    chunked.iter().for_each(|byte| hand.receive(&[*byte]));
    assert!(text(hand.transmit_all()).ends_with("\r\n\r\n11") && hand.is_idle());
}

#[test]
fn content_that_came_with_its_head_is_read_in_the_same_manner() {
    let mut hand = ByHand::new(AsItComes);
    hand.receive(&post("/echo", 3, "low"));
    assert!(text(hand.transmit_all()).ends_with("3\r\nlow\r\n0\r\n\r\n"));
    hand.receive(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n");
    hand.wake();
    assert!(text(hand.transmit_all()).ends_with("\r\n\r\n0"));
}

#[test]
fn socket_is_not_read_while_the_application_does_not_read() {
    let mut hand = ByHand::new(AsItComes);
    let megabyte = "x".repeat(1 << 20);
    hand.receive(&post("/idle", 1 << 20, &megabyte[..10]));
    assert_eq!(hand.wants(), Wants::Read);
    hand.receive(&megabyte.as_bytes()[10..100_000]);
    assert_eq!(hand.wants(), Wants::Application, "more than the high-water mark waits");
    // What is late by the application's fault is not the client's.
    assert_eq!(hand.deadline(), None);
    hand.pass(Duration::from_secs(1_000));
    hand.wake();
    assert_eq!(hand.wants(), Wants::Read, "it was read");
    assert!(hand.deadline().is_some());
    hand.pass(Duration::from_secs(29));
    assert_eq!(hand.wants(), Wants::Read);
    hand.pass(Duration::from_secs(200));
    assert!(text(hand.transmit_all()).starts_with("HTTP/1.1 408 "), "a client that stalls is told");
}

#[test]
fn content_that_breaks_off_is_refused_or_breaks_the_answer_off() {
    let mut hand = ByHand::new(AsItComes);
    hand.receive(&post("/count", 6, "low"));
    hand.receive_end();
    assert!(text(hand.transmit_all()).starts_with("HTTP/1.1 400 "));
    let mut hand = ByHand::new(AsItComes);
    hand.receive(&post("/echo", 6, "low"));
    hand.receive_end();
    let broken = text(hand.transmit_all());
    assert!(broken.ends_with("3\r\nlow\r\n"), "without a last chunk: {broken}");
    assert_eq!(hand.wants(), Wants::Close(Farewell::Clean));
    let mut hand = ByHand::new(AsItComes);
    hand.receive(b"POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nlow\r\nzz");
    hand.receive(b"\r\n");
    assert!(text(hand.transmit_all()).starts_with("HTTP/1.1 400 "));
    let mut hand = ByHand::new(AsItComes);
    hand.context.limits.body_bytes_max = 5;
    hand.receive(b"POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nlow\r\n");
    hand.receive(b"3\r\nebb\r\n");
    assert!(text(hand.transmit_all()).starts_with("HTTP/1.1 413 "));
}

#[test]
fn content_that_nobody_reads_ends_the_connection() {
    for (path, status) in [("/none", "404 Not Found"), ("/panic", "500 Internal Server Error")] {
        let mut hand = ByHand::new(AsItComes);
        hand.receive(&post(path, 6, "low"));
        let answer = text(hand.transmit_all());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert_eq!(hand.wants(), Wants::Close(Farewell::Linger), "{path}");
    }
    let mut hand = ByHand::new(AsItComes);
    hand.receive(&post("/dropped", 6, "low"));
    hand.pass(Duration::from_secs(1));
    let answer = text(hand.transmit_all());
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("unread"), "{answer}");
    assert_eq!(hand.wants(), Wants::Close(Farewell::Linger));
}

#[test]
fn client_that_waits_for_100_hears_it_if_the_content_is_wanted() {
    let ask = |path: &str| {
        let mut hand = ByHand::new(AsItComes);
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
        hand.receive(head.as_bytes());
        let heard = text(hand.transmit_all());
        hand.receive(b"low");
        (heard, text(hand.transmit_all()))
    };
    let (heard, answer) = ask("/count");
    assert!(heard == "HTTP/1.1 100 Continue\r\n\r\n" && answer.ends_with("\r\n\r\n3"), "{heard}{answer}");
    assert!(ask("/none").0.starts_with("HTTP/1.1 404 "));
    assert_eq!(ask("/dropped").0, "");
}

#[test]
fn upload_that_is_longer_than_all_buffers_passes_over_a_real_socket() {
    const BYTES: usize = 50_000_000;
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), AsItComes);
    let mut writer = TcpStream::connect(server.address()).unwrap();
    let mut reader = writer.try_clone().unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let sender = thread::spawn(move || {
        writer.write_all(&post("/echo", BYTES, "")).unwrap();
        let block: Vec<u8> = (0..50_000).map(|n| (n % 251) as u8).collect();
        (0..BYTES / block.len()).for_each(|_| writer.write_all(&block).unwrap());
        writer.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    sender.join().unwrap();
    assert!(all.len() > BYTES && all.ends_with(b"\r\n\r\nno"), "{} bytes", all.len());
}
