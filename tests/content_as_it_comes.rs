//! Content that an application reads while it arrives: by hand, and over a real socket.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use support::loopback::{PATIENCE, serve_gateway};
use tidegate::conversation::{ByHand, Farewell, Wants};
use tidegate::gateway::{Admission, BodyStream, IncomingContent, Later, Piece, Response, deferred};
use tidegate::limits::Limits;
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
            "/trailers" => Ok(start_response.later(None, Sum(environ.take_incoming()))),
            "/flood" => start_response.status(200).stream(Flood(environ.take_incoming(), 0)),
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

/// Reads all, and answers with the trailer fields.
struct Sum(IncomingContent);

impl Later for Sum {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        loop {
            match self.0.next_piece()? {
                Piece::Data(_) => {}
                Piece::Pending { until } => return Ok(start_response.later_boxed(until, self)),
                Piece::End => break,
            }
        }
        let lines = self.0.trailers().to_owned();
        start_response.status(200).send(format!("{lines:?}"))
    }
}

/// Sends a megabyte, and then the length of the content.
struct Flood(IncomingContent, usize);

impl BodyStream for Flood {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        self.1 += 1;
        match self.1 {
            1..=100 => Ok(Piece::Data(&[b'x'; 10_000])),
            _ => Ok(self.0.next_piece()?),
        }
    }
}

/// Lets a thread of its own read the content in this way, and answers with what that says.
struct OnThread<F>(F);

impl<F: Fn(&mut IncomingContent) -> String + Clone + Send + 'static> Gateway for OnThread<F> {
    fn admit(&self, _: &Environ<'_>) -> Admission {
        Admission::AsItComes
    }

    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let (responder, answer) = deferred(environ.wakeup());
        let (mut content, read) = (environ.take_incoming(), self.0.clone());
        thread::spawn(move || {
            let text = read(&mut content);
            responder.respond(Response::new(200).content(text));
        });
        Ok(answer.wait(start_response))
    }
}

/// Counts what a thread reads, and says how it has ended.
fn count_on_thread(content: &mut IncomingContent) -> String {
    // What is kept at most, and what one read may add to it.
    let (mut bytes, piece_bytes_max) = (0, Limits::default().output_bytes_high + 256 * 1024);
    loop {
        match content.wait_for_piece(PATIENCE) {
            Ok(Piece::Data(piece)) if piece.len() > piece_bytes_max => {
                return format!("a piece has {} bytes: the client was not held back", piece.len());
            }
            Ok(Piece::Data(piece)) => bytes += piece.len(),
            Ok(Piece::Pending { .. }) => panic!("it has not waited"),
            Ok(Piece::End) => return format!("{bytes} bytes, {:?}", content.trailers().get("X-Sum")),
            Err(error) => return format!("{bytes} bytes, {:?}", error.kind()),
        }
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
    assert_eq!(hand.wants(), Wants::Close(Farewell::Linger));
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

#[test]
fn every_byte_of_an_upload_arrives_in_order_however_it_is_cut_and_read() {
    const BYTES: usize = 12_000_000;
    // The reader is too slow at times, so that content waits, and too fast at others.
    let check = |content: &mut IncomingContent| {
        let (mut at, mut pieces) = (0, 0);
        loop {
            match content.wait_for_piece(PATIENCE) {
                Ok(Piece::Data(piece)) => {
                    let is_right = piece.iter().zip(at..).all(|(&byte, at)| usize::from(byte) == at % 251);
                    if !is_right {
                        return format!("wrong between {at} and {}", at + piece.len());
                    }
                    (at, pieces) = (at + piece.len(), pieces + 1);
                    if pieces % 16 < 3 {
                        thread::sleep(Duration::from_millis(2));
                    }
                }
                Ok(Piece::Pending { .. }) => {}
                Ok(Piece::End) => return format!("{at} bytes"),
                Err(error) => return format!("{error} after {at}"),
            }
        }
    };
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), OnThread(check));
    let content: Arc<[u8]> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    for chunk in [None, Some(1_000_000), Some(70_000), Some(1_000)] {
        let mut writer = TcpStream::connect(server.address()).unwrap();
        let mut reader = writer.try_clone().unwrap();
        reader.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let content = content.clone();
        let sender = thread::spawn(move || match chunk {
            None => {
                let request = [&post("/", BYTES, ""), &content[..], b"GET /none HTTP/1.0\r\n\r\n"].concat();
                writer.write_all(&request).unwrap();
            }
            Some(bytes) => {
                let mut request =
                    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for chunk in content.chunks(bytes) {
                    write!(request, "{:x}\r\n", chunk.len()).unwrap();
                    request.extend_from_slice(chunk);
                    request.extend_from_slice(b"\r\n");
                }
                request.extend_from_slice(b"0\r\n\r\nGET /none HTTP/1.0\r\n\r\n");
                writer.write_all(&request).unwrap();
            }
        });
        let mut answers = String::new();
        reader.read_to_string(&mut answers).unwrap();
        sender.join().unwrap();
        let expected = format!("\r\n\r\n{BYTES} bytesHTTP/1.1 200 OK\r\n");
        assert!(answers.contains(&expected), "chunks of {chunk:?}: {answers}");
    }
}

#[test]
fn trailers_can_be_read_after_the_end_wherever_reads_end() {
    let request = b"POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nlow\r\n0\r\nX-Sum: 12\r\nHost: evil\r\nX-B: c\r\n\r\n";
    let expected =
        format!("{:?}", [("X-Sum".to_string(), b"12".to_vec()), ("X-B".to_string(), b"c".to_vec())]);
    for cut in 1..request.len() {
        let mut hand = ByHand::new(AsItComes);
        hand.receive(&request[..cut]);
        hand.receive(&request[cut..]);
        let answer = text(hand.transmit_all());
        assert!(answer.ends_with(&expected) && hand.is_idle(), "cut at {cut}: {answer}");
    }
    // Content that was collected has them, too.
    let mut hand = ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        Ok(start_response.later(Some(environ.now()), Sum(environ.take_incoming())))
    });
    hand.receive(request);
    hand.pass(Duration::ZERO);
    assert!(text(hand.transmit_all()).ends_with(&expected));
}

#[test]
fn content_is_read_while_the_client_does_not_read_the_answer() {
    let mut hand = ByHand::new(AsItComes);
    hand.receive(&post("/flood", 100_000, ""));
    assert_eq!(hand.wants(), Wants::ReadOrWrite, "much is owed");
    hand.receive(&[b'y'; 50_000]);
    hand.pass(Duration::from_secs(1_000));
    assert_eq!(hand.wants(), Wants::ReadOrWrite, "a client that has to read first is not late");
    hand.receive(&[b'y'; 50_000]);
    assert_eq!(hand.wants(), Wants::Write, "all has come");
    let answer = text(hand.transmit_all());
    assert!(answer.contains("yyy") && answer.ends_with("\r\n0\r\n\r\n") && hand.is_idle());
}

#[test]
fn thread_reads_content_as_it_comes_and_holds_its_client_back() {
    let server = serve_gateway(
        Server::new().listen("127.0.0.1:0".parse().unwrap()),
        OnThread(|content: &mut IncomingContent| {
            // The client has time to fill everything there is.
            thread::sleep(Duration::from_millis(50));
            count_on_thread(content)
        }),
    );
    const BYTES: usize = 20_000_000;
    let mut client = server.connect();
    client.send(post("/", BYTES, ""));
    (0..BYTES / 100_000).for_each(|_| client.send([b'z'; 100_000]));
    assert_eq!(client.read("POST").text(), format!("{BYTES} bytes, None"));
    // One piece at a time, each of which is waited for.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in ["3\r\nlow\r\n", "4\r\n", "tide\r\n0\r\nX-Sum: ", "7\r\n\r\n"] {
        thread::sleep(Duration::from_millis(30));
        client.send(piece);
    }
    assert_eq!(client.read("POST").text(), format!("7 bytes, {:?}", Some(b"7")));
    client.send(post("/", 3, "low"));
    assert_eq!(client.read("POST").text(), "3 bytes, None");
}

#[test]
fn thread_that_waits_for_content_hears_of_its_end_of_any_kind() {
    let (sender, ends) = mpsc::channel();
    let gateway = OnThread(move |content: &mut IncomingContent| {
        let text = count_on_thread(content);
        sender.send(text.clone()).unwrap();
        text
    });
    let limits = Limits {
        body_timeout: Duration::from_millis(300),
        drain_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let mut server =
        serve_gateway(Server::new().limits(limits).listen("127.0.0.1:0".parse().unwrap()), gateway);
    let begin = || {
        let mut client = server.connect();
        client.send(post("/", 6, "low"));
        client
    };
    let broken = "3 bytes, UnexpectedEof";
    // The client leaves, or ends its side too early, or sends no more, or breaks a rule.
    drop(begin());
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), broken);
    let mut client = begin();
    client.end_sending();
    assert_eq!((ends.recv_timeout(PATIENCE).unwrap().as_str(), client.read("POST").code), (broken, 400));
    let mut client = begin();
    assert_eq!((ends.recv_timeout(PATIENCE).unwrap().as_str(), client.read("POST").code), (broken, 408));
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nlow\r\n");
    thread::sleep(Duration::from_millis(30));
    client.send("zz\r\n");
    assert_eq!((ends.recv_timeout(PATIENCE).unwrap().as_str(), client.read("POST").code), (broken, 400));
    // The server stops.
    let _client = begin();
    server.handle.drain();
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), broken);
    server.join();
}

#[test]
fn thread_waits_no_longer_than_it_wants_and_whoever_is_not_a_thread_is_woken() {
    struct Flag(mpsc::Sender<()>);
    impl Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    let server = serve_gateway(
        Server::new().listen("127.0.0.1:0".parse().unwrap()),
        OnThread(|content: &mut IncomingContent| {
            let error = content.wait_for_piece(Duration::from_millis(5)).unwrap_err();
            let was_readable = content.is_readable();
            let (sender, woken) = mpsc::channel();
            let waker = Waker::from(std::sync::Arc::new(Flag(sender)));
            content.wake_when_readable(&waker);
            woken.recv_timeout(PATIENCE).unwrap();
            // At once, since nothing was read.
            content.wake_when_readable(&waker);
            woken.recv_timeout(PATIENCE).unwrap();
            format!("{:?} {was_readable} {}", error.kind(), count_on_thread(content))
        }),
    );
    let mut client = server.connect();
    client.send(post("/", 3, ""));
    thread::sleep(Duration::from_millis(100));
    client.send("low");
    assert_eq!(client.read("POST").text(), "TimedOut false 3 bytes, None");
}

#[test]
fn client_that_waits_for_100_is_asked_when_somebody_reads_if_the_application_wants_that() {
    /// Decides on another thread, some time after the call.
    struct Undecided;
    impl Gateway for Undecided {
        fn call(
            &mut self,
            environ: &mut Environ<'_>,
            start_response: StartResponse<'_>,
        ) -> Result<Body, GatewayError> {
            let is_wanted = environ.path() == "/wanted";
            let (responder, answer) = deferred(environ.wakeup());
            let mut content = environ.take_incoming();
            content.ask_when_read();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(100));
                responder.respond(match is_wanted {
                    true => Response::new(200).content(count_on_thread(&mut content)),
                    false => Response::new(403),
                });
            });
            Ok(answer.wait(start_response))
        }

        fn admit(&self, _environ: &Environ<'_>) -> Admission {
            Admission::AsItComes
        }
    }
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), Undecided);
    for (path, expected) in [("/wanted", "HTTP/1.1 100 "), ("/unwanted", "HTTP/1.1 403 ")] {
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let expecting = "Content-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n";
        client.write_all(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{expecting}\r\n").as_bytes()).unwrap();
        let mut heard = [0; 13];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(text(heard.to_vec()), expected);
        if path == "/wanted" {
            client.write_all(b"low").unwrap();
            let mut rest = String::new();
            client.read_to_string(&mut rest).unwrap();
            assert!(rest.ends_with("3 bytes, None"), "{rest}");
        }
    }
}

#[test]
fn reader_that_knows_the_length_and_stops_there_ends_no_connection() {
    let server = serve_gateway(
        Server::new().listen("127.0.0.1:0".parse().unwrap()),
        OnThread(|content: &mut IncomingContent| {
            let mut read = 0;
            while read < 3 {
                match content.wait_for_piece(PATIENCE).unwrap() {
                    Piece::Data(bytes) => read += bytes.len(),
                    other => panic!("{other:?}"),
                }
            }
            // The end is not asked for: it is known.
            String::from("3 bytes")
        }),
    );
    let mut client = server.connect();
    for _ in 0..200 {
        client.send(post("/", 3, ""));
        client.send("low");
        let response = client.read("POST");
        assert_eq!((response.text(), response.says_close()), ("3 bytes".into(), false));
    }
}

#[test]
fn waker_that_panics_ends_nothing() {
    struct Grenade;
    impl Wake for Grenade {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("on purpose");
        }
    }
    let (sender, waits) = std::sync::mpsc::channel();
    let server = serve_gateway(
        Server::new().listen("127.0.0.1:0".parse().unwrap()),
        OnThread(move |content: &mut IncomingContent| {
            content.wake_when_readable(&Waker::from(std::sync::Arc::new(Grenade)));
            sender.send(()).unwrap();
            while !content.is_readable() {
                thread::sleep(Duration::from_millis(1));
            }
            count_on_thread(content)
        }),
    );
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(post("/", 3, ""));
        // Of content that is there already, it is told at once, on its own thread: that would be its own panic.
        waits.recv_timeout(PATIENCE).unwrap();
        client.send("low");
        assert_eq!(client.read("POST").text(), "3 bytes, None");
    }
}
