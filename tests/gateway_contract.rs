//! Tests what an application may do wrong, and what it may rely on.
//!
//! The first part drives a conversation by hand: an application misbehaves, and [`check`] says what
//! is on the wire afterwards, one line a response and then the fate of the connection. The second
//! part needs real sockets: other threads, clients that leave or do not read, resets.

mod support;

#[path = "../examples/trailers.rs"]
#[allow(dead_code)]
mod checksums;

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::loopback::{Answer, End, noise, serve, serve_gateway, serve_with_hooks, wait_until};
use support::response::{Framing, read_all};
use tidegate::conversation::{Budget, ByHand, Farewell, Wants};
use tidegate::gateway::{
    Admission, BodyStream, FileRange, Interest, LoopHooks, OwnedContent, Piece, Responder, Response,
    Selector, Wakeup, Watcher, deferred,
};
use tidegate::limits::Limits;
use tidegate::message::FieldBlock;
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, Server, StartResponse};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD_GET: &str = "GET / HTTP/1.0\r\n\r\n";
const FAILED: &str = "500 length close: the application failed";

/// A stream that does what a closure says, by the number of the call.
struct Script<F>(usize, F);

impl<F: FnMut(usize) -> Result<Piece<'static>, GatewayError>> BodyStream for Script<F> {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        self.0 += 1;
        (self.1)(self.0)
    }
}

fn script<F: FnMut(usize) -> Result<Piece<'static>, GatewayError>>(pieces: F) -> Script<F> {
    Script(0, pieces)
}

/// Tells what is on the wire, one line a response, and then the fate of the connection.
fn told(hand: &mut ByHand<impl Gateway>) -> Vec<String> {
    let sent = hand.transmit_all();
    let fate = match hand.wants() {
        Wants::Close(Farewell::Reset) => "reset",
        Wants::Close(_) => "closed",
        Wants::Application => "waiting",
        Wants::Read => "open",
        Wants::Write | Wants::ReadOrWrite | Wants::Turn => "stuck",
    };
    let responses = read_all(&sent, &[]).expect("responses by the book");
    responses.iter().map(ToString::to_string).chain([fate.to_string()]).collect()
}

/// Lets an application answer one request of HTTP/1.1 by hand.
fn check(gateway: impl FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer, expected: &[&str]) {
    check_request(GET, gateway, expected);
}

fn check_request(
    request: &str,
    gateway: impl FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer,
    expected: &[&str],
) {
    let mut hand = ByHand::new(gateway);
    hand.receive(request.as_bytes());
    assert_eq!(told(&mut hand), expected);
}

// Failing

#[test]
fn failure_before_the_head_is_a_500() {
    check(|_, _| Err(GatewayError::new("secret")), &[FAILED, "closed"]);
    check(|_, _| panic!("secret"), &[FAILED, "closed"]);
    check(|_, _| Err(io::Error::other("secret").into()), &[FAILED, "closed"]);
}

#[test]
fn failure_before_content_takes_the_head_back() {
    check(
        |_, start_response| {
            let _writer = start_response.start(200, &[("X-Secret", "1")])?;
            Err(GatewayError::new("secret"))
        },
        &[FAILED, "closed"],
    );
    check(
        |_, start_response| {
            let _writer = start_response.start(200, &[("Content-Length", "100")])?;
            panic!("secret")
        },
        &[FAILED, "closed"],
    );
    check(
        |_, start_response| {
            let _head = start_response.status(200).field("X", "y");
            panic!("secret")
        },
        &[FAILED, "closed"],
    );
}

#[test]
fn failure_after_content_breaks_the_response_off() {
    check(
        |_, start_response| {
            let mut writer = start_response.start(200, &[])?;
            writer.write("half")?;
            panic!("secret")
        },
        &["200 chunked cut: half", "closed"],
    );
    check(
        |_, start_response| {
            let mut writer = start_response.start(200, &[("Content-Length", "8")])?;
            writer.write("half")?;
            Err(GatewayError::new("secret"))
        },
        &["200 length cut: half", "closed"],
    );
}

/// Yields a piece, and then `end`.
fn half_then(end: fn() -> Result<Piece<'static>, GatewayError>) -> impl BodyStream {
    script(move |call| if call == 1 { Ok(Piece::Data(b"half")) } else { end() })
}

#[test]
fn stream_that_fails_midway_is_broken_off_in_every_framing() {
    for end in [|| Err(GatewayError::new("secret")), || panic!("secret")] {
        check(
            move |_, start_response| start_response.status(200).stream(half_then(end)),
            &["200 chunked cut: half", "closed"],
        );
        check(
            move |_, start_response| {
                start_response.status(200).field("Content-Length", "8").stream(half_then(end))
            },
            &["200 length cut: half", "closed"],
        );
        check_request(
            OLD_GET,
            move |_, start_response| start_response.status(200).stream(half_then(end)),
            &["200 until-close close: half", "reset"],
        );
    }
}

#[test]
fn failure_reaches_the_client_without_a_word_of_its_text() {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, _: StartResponse<'_>| -> Answer { panic!("secret") });
    hand.receive(GET.as_bytes());
    assert!(!String::from_utf8_lossy(&hand.transmit_all()).contains("secret"));
}

#[test]
fn nothing_is_asked_after_a_failure() {
    let calls = Cell::new(0);
    check_request(
        &GET.repeat(3),
        |_, _| {
            calls.set(calls.get() + 1);
            Err(GatewayError::new("secret"))
        },
        &[FAILED, "closed"],
    );
    assert_eq!(calls.get(), 1);
}

// Counting

#[test]
fn content_beyond_its_declared_length_is_cut_off() {
    let declared = [("Content-Length", "3")];
    check(
        move |_, start_response| {
            let mut writer = start_response.start(200, &declared)?;
            writer.write("ab")?;
            writer.write("cdef")?;
            writer.finish()
        },
        &["200 length: abc", "open"],
    );
    check(
        |_, start_response| {
            start_response.status(200).field("Content-Length", "3").pieces(["ab", "cd", "ef"])
        },
        &["200 length: abc", "open"],
    );
    check_request(
        &GET.repeat(2),
        |_, start_response| start_response.status(200).field("Content-Length", "0").pieces(["ab"]),
        &["200 length", "200 length", "open"],
    );
}

#[test]
fn content_short_of_its_declared_length_is_cut() {
    check(
        |_, start_response| {
            let mut writer = start_response.start(200, &[("Content-Length", "5")])?;
            writer.write("abc")?;
            writer.finish()
        },
        &["200 length cut: abc", "closed"],
    );
    check(
        |_, start_response| start_response.status(200).field("Content-Length", "5").pieces(["a", "bc"]),
        &["200 length cut: abc", "closed"],
    );
}

#[test]
fn content_at_hand_of_another_length_than_declared_is_a_500() {
    for length in ["2", "4", "0"] {
        check(
            move |_, start_response| start_response.status(200).field("Content-Length", length).send("abc"),
            &[FAILED, "closed"],
        );
    }
    check(
        |_, start_response| start_response.status(200).field("content-length", "3").send("abc"),
        &["200 length: abc", "open"],
    );
}

// Trailers

const GET_WITH_TRAILERS: &str = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n";

/// A stream that ends with the trailer fields of a closure, and counts how often it is asked for them.
struct Ending<F> {
    has_content: bool,
    asked: Arc<AtomicUsize>,
    trailers: F,
}

impl<F: FnMut() -> Vec<(String, Vec<u8>)>> BodyStream for Ending<F> {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(if std::mem::take(&mut self.has_content) { Piece::Data(b"low tide") } else { Piece::End })
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        (self.trailers)()
    }
}

fn one_trailer(name: &str, value: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![("X-First".to_string(), b"1".to_vec()), (name.to_string(), value.to_vec())]
}

fn check_bad_trailers(trailers: impl Fn() -> Vec<(String, Vec<u8>)> + Copy + 'static) {
    let asked = Arc::new(AtomicUsize::new(0));
    let gateway = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let stream = Ending { has_content: true, asked: asked.clone(), trailers };
        start_response.status(200).stream(stream)
    };
    check_request(GET_WITH_TRAILERS, gateway, &["200 chunked cut: low tide", "closed"]);
    // Who does not take them is not asked to suffer for them.
    check_request(GET, gateway, &["200 chunked: low tide", "open"]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn trailer_that_would_split_or_change_the_response_breaks_it_off() {
    check_bad_trailers(|| one_trailer("X", b"a\r\nEvil: 1"));
    check_bad_trailers(|| one_trailer("X", b"a\r\n\r\nHTTP/1.1 200 OK\r\n"));
    check_bad_trailers(|| one_trailer("X", b"a\nb"));
    check_bad_trailers(|| one_trailer("X", b"a\0"));
    check_bad_trailers(|| one_trailer("", b"a"));
    check_bad_trailers(|| one_trailer("A: b\r\nC", b"d"));
    check_bad_trailers(|| one_trailer("transfer-encoding", b"chunked"));
    check_bad_trailers(|| one_trailer("Content-Length", b"5"));
    check_bad_trailers(|| one_trailer("Set-Cookie", b"a=b"));
    check_bad_trailers(|| panic!("on purpose"));
}

#[test]
fn stream_is_asked_for_trailers_once_and_only_where_they_can_be_sent() {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = |start_response: StartResponse<'_>, length: Option<&str>| {
        let trailers = || one_trailer("X-Sum", b"8");
        let stream = Ending { has_content: true, asked: asked.clone(), trailers };
        let head = start_response.status(200).field("Trailer", "X-First, X-Sum");
        length.iter().fold(head, |head, length| head.field("Content-Length", length)).stream(stream)
    };
    let chunked = |_: &mut Environ<'_>, start_response: StartResponse<'_>| answer(start_response, None);
    let declared = |_: &mut Environ<'_>, start_response: StartResponse<'_>| answer(start_response, Some("8"));
    for (request, expected) in
        [(GET, "200 chunked: low tide"), ("HEAD / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", "200 none")]
    {
        let mut hand = ByHand::new(chunked);
        hand.receive(request.as_bytes());
        let sent = hand.transmit_all();
        let response = &read_all(&sent, &[request.split(' ').next().unwrap()]).unwrap()[0];
        assert_eq!(response.to_string(), expected);
    }
    check_request(
        "GET / HTTP/1.0\r\nTE: trailers\r\n\r\n",
        chunked,
        &["200 until-close close: low tide", "closed"],
    );
    check_request(GET_WITH_TRAILERS, declared, &["200 length: low tide", "open"]);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let mut hand = ByHand::new(chunked);
    hand.receive(GET_WITH_TRAILERS.as_bytes());
    let sent = String::from_utf8(hand.transmit_all()).unwrap();
    assert!(sent.contains("\r\nTrailer: X-First, X-Sum\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n8\r\nlow tide\r\n0\r\nX-First: 1\r\nX-Sum: 8\r\n\r\n"), "{sent}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn trailers_follow_an_answer_that_came_later_and_the_next_request_has_its_own() {
    let server = serve(
        |environ, start_response| {
            let sum = environ.query().to_string();
            let due = environ.now() + Duration::from_millis(1);
            Ok(start_response.at(due, move |start_response| {
                let trailers = move || one_trailer("X-Sum", sum.as_bytes());
                let asked = Arc::new(AtomicUsize::new(0));
                start_response.status(200).stream(Ending { has_content: true, asked, trailers })
            }))
        },
        quick(),
    );
    let mut client = server.connect();
    for (fields, is_sent) in
        [("TE: trailers\r\n", true), ("", false), ("Connection: TE\r\nTE: trailers\r\n", true)]
    {
        for number in [1, 2] {
            client.send(format!("GET /?{number} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            let response = client.read("GET");
            assert_eq!(response.to_string(), "200 chunked: low tide");
            let expected = [("X-First", "1".to_string()), ("X-Sum", number.to_string())];
            let expected = expected.map(|(name, value)| (name.to_string(), value));
            assert_eq!(response.trailers, if is_sent { &expected[..] } else { &[] }, "{fields:?}");
        }
    }
}

#[test]
fn checksum_of_the_example_is_that_of_what_has_come() {
    let server = serve(checksums::application, quick());
    let mut client = server.connect();
    let put = |content: &str, trailers: &str| {
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{content}\r\n0\r\n{trailers}\r\n", content.len())
    };
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    let response = client.read("GET");
    assert_eq!((response.field("Trailer"), response.trailers.len()), (Some("X-Adler-32"), 1));
    let (name, sum) = &response.trailers[0];
    client.send(put(&response.text(), &format!("{name}: {sum}\r\n")));
    assert_eq!(client.read("PUT").text(), format!("Received, and {sum} is its checksum.\n"));
    for (content, trailers, code) in
        [("abc", "X-Adler-32: 024d0127\r\n", 200), ("abd", "X-Adler-32: 024d0127\r\n", 422), ("abc", "", 400)]
    {
        client.send(put(content, trailers));
        assert_eq!(client.read("PUT").code, code, "{content} {trailers}");
    }
}

/// The trailers are there wherever the content is, and in another thread, too.
#[test]
fn trailers_of_a_request_go_with_its_content() {
    let server = serve(
        |environ, start_response| {
            assert_eq!((environ.field("X-Sum"), environ.get("HTTP_X_SUM")), (None, None));
            let (responder, answer) = deferred(environ.wakeup());
            let here = environ.trailers().get("x-sum").map(<[u8]>::to_vec);
            let mut owned = environ.detach();
            thread::spawn(move || {
                let text = owned.with(|environ| {
                    let mut content = String::new();
                    environ.content().read_to_string(&mut content).unwrap();
                    let there = environ.trailers().get("x-sum").map(<[u8]>::to_vec);
                    assert_eq!((&here, environ.trailers().get("Host")), (&there, None));
                    format!("{content} {:?}", there.map(|value| String::from_utf8(value).unwrap()))
                });
                responder.respond(Response::new(200).content(text));
            });
            Ok(answer.wait(start_response))
        },
        Limits { body_memory_bytes_max: 10, ..quick() },
    );
    let mut client = server.connect();
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for content in ["short", "much longer than memory allows"] {
        let chunk = format!("{:x}\r\n{content}\r\n0\r\n", content.len());
        client.send(format!("{head}{chunk}Host: evil\r\nX-Sum: 7\r\n\r\n"));
        assert_eq!(client.read("PUT").text(), format!("{content} Some(\"7\")"));
        client.send(format!("{head}{chunk}X-S"));
        client.send("um:\t8 \r");
        client.send("\n\r\n");
        assert_eq!(client.read("PUT").text(), format!("{content} Some(\"8\")"));
        client.send(format!("{head}{chunk}\r\n"));
        assert_eq!(client.read("PUT").text(), format!("{content} None"));
    }
}

// Heads

/// Asserts that nothing of a bad head is on the wire, not even the right parts of it.
fn check_bad_head(code: u16, fields: &[(&str, &[u8])]) {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let head = start_response.status(code).field("X-Evil", "1");
        fields
            .iter()
            .fold(head, |head, (name, value)| head.field(name, value))
            .field("X-Evil", "2")
            .send("evil")
    });
    hand.receive(GET.as_bytes());
    let sent = String::from_utf8_lossy(&hand.transmit_all()).into_owned();
    assert!(sent.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{fields:?}: {sent}");
    assert!(!sent.to_lowercase().contains("evil"), "{fields:?}: {sent}");
    assert!(matches!(hand.wants(), Wants::Close(_)));
}

#[test]
fn field_that_would_split_the_response_is_a_500() {
    for value in [&b"a\r\nEvil: 1"[..], b"a\nEvil: 1", b"a\rEvil", b"evil\0", b"evil\x1b", b"evil\x7f"] {
        // Some names are known before they are looked at; a value never is, however long.
        for name in ["X", "Content-Type", "content-type", "Server", "Date"] {
            check_bad_head(200, &[(name, value)]);
            check_bad_head(200, &[(name, &[&b"text/html; charset=utf-8"[..], value].concat())]);
        }
    }
    for name in ["", "Evil Name", "Evil:", "Evil\r\nEvil", "Ev\u{ef}l", "Evil\0"] {
        check_bad_head(200, &[(name, b"x")]);
    }
}

#[test]
fn field_of_the_connection_is_a_500() {
    for name in ["Transfer-Encoding", "keep-alive", "Upgrade", "TE", "Proxy-Connection"] {
        check_bad_head(200, &[(name, b"evil")]);
    }
    check_bad_head(200, &[("Connection", b"upgrade")]);
    check_bad_head(200, &[("Content-Length", b"4"), ("Content-Length", b"4")]);
    check_bad_head(200, &[("Content-Length", b"+4")]);
}

#[test]
fn status_that_ends_no_exchange_is_a_500() {
    for code in [0, 99, 100, 101, 199, 600, 999] {
        check_bad_head(code, &[]);
    }
    for code in [200, 299, 599] {
        let expected = format!("{code} length: x");
        check(move |_, start_response| start_response.status(code).send("x"), &[&expected, "open"]);
    }
}

#[test]
fn reason_that_would_split_the_response_is_a_500() {
    check(
        |_, start_response| start_response.status_with_reason(200, "OK\r\nEvil: 1").send("evil"),
        &[FAILED, "closed"],
    );
}

#[test]
fn connection_close_is_obeyed() {
    check_request(
        &GET.repeat(2),
        |_, start_response| start_response.status(200).field("Connection", "close").send("x"),
        &["200 length close: x", "closed"],
    );
}

// Starting over

#[test]
fn response_is_replaced_until_content_has_followed() {
    check(
        |_, start_response| {
            let head = start_response.status(200).field("X-First", "1");
            let writer = head.replace()?.start(201, &[("Content-Length", "100")])?;
            writer.replace()?.status(404).send("third")
        },
        &["404 length: third", "open"],
    );
    check(
        |_, start_response| {
            let mut writer = start_response.start(200, &[])?;
            writer.write("first")?;
            writer.replace()?.status(500).send("second")
        },
        &["200 chunked cut: first", "closed"],
    );
}

#[test]
fn replaced_head_leaves_no_trace_and_no_framing() {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let fields = [("X-First", "1"), ("Connection", "close")];
        start_response.start(200, &fields)?.replace()?.status(200).send("second")
    });
    hand.receive(GET.repeat(2).as_bytes());
    let sent = hand.transmit_all();
    assert!(!String::from_utf8_lossy(&sent).contains("X-First"));
    let responses = read_all(&sent, &[]).unwrap();
    let texts: Vec<_> = responses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["200 length: second", "200 length: second"]);
}

// Interim responses

/// Returns the response to this request by an application that informs its client first.
fn informed(request: &str, code: u16, fields: &[(&str, &[u8])]) -> (bool, String) {
    let accepted = Cell::new(false);
    let mut hand = ByHand::new(|_: &mut Environ<'_>, mut start_response: StartResponse<'_>| {
        accepted.set(start_response.inform(code, fields).is_ok());
        start_response.status(200).send("ok")
    });
    hand.receive(request.as_bytes());
    let sent = String::from_utf8(hand.transmit_all()).unwrap();
    (accepted.get(), sent)
}

#[test]
fn interim_response_comes_before_the_answer_and_spares_old_clients() {
    let link: &[(&str, &[u8])] = &[("Link", b"</a.css>; rel=preload"), ("X-Y", b"z")];
    let (accepted, sent) = informed(GET, 103, link);
    let begin =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Y: z\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(accepted && sent.starts_with(begin), "{sent}");
    let (accepted, sent) = informed(OLD_GET, 103, link);
    assert!(accepted && sent.starts_with("HTTP/1.1 200 OK\r\n") && !sent.contains("Link"), "{sent}");
}

#[test]
fn interim_response_that_would_break_the_exchange_is_an_error_and_leaves_no_trace() {
    for code in [0, 99, 100, 101, 200, 404, 1000] {
        let (accepted, sent) = informed(GET, code, &[]);
        assert!(!accepted && sent.starts_with("HTTP/1.1 200 OK\r\n"), "{code}: {sent}");
    }
    let fields: &[(&str, &[u8])] = &[
        ("Link", b"a\r\nX: b"),
        ("Link", b"a\0"),
        ("Li nk", b"a"),
        ("", b"a"),
        ("Content-Length", b"2"),
        ("Connection", b"close"),
        ("Transfer-Encoding", b"chunked"),
    ];
    for field in fields {
        let (accepted, sent) = informed(GET, 103, &[("X", b"y"), *field]);
        assert!(!accepted && sent.starts_with("HTTP/1.1 200 OK\r\n"), "{field:?}: {sent}");
        assert!(!sent.contains("X: y") && !sent.contains("Early"), "{field:?}: {sent}");
    }
}

#[test]
fn interim_response_leaves_during_the_call() {
    let (sender, receiver) = mpsc::channel::<()>();
    let server = serve(
        move |_, mut start_response| {
            start_response.inform(103, &[("Link", b"</a>")])?;
            receiver.recv_timeout(support::loopback::PATIENCE).map_err(GatewayError::new)?;
            start_response.status(200).send("answer")
        },
        quick(),
    );
    let mut client = server.connect();
    client.send(GET);
    let hints = client.read("GET");
    assert_eq!((hints.code, hints.field("Link")), (103, Some("</a>")));
    sender.send(()).unwrap();
    assert_eq!(client.read("GET").to_string(), "200 length: answer");
}

// Blocks of fields

/// Asserts that the fields make the same response one by one and as a block.
fn check_block(fields: &[(&str, &[u8])], request: &str, expected: &[&str]) {
    let mut block = FieldBlock::default();
    fields.iter().for_each(|(name, value)| block.push(name, value).unwrap());
    let mut one_by_one = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let head = start_response.status(200);
        fields.iter().fold(head, |head, (name, value)| head.field(name, value)).send("content")
    });
    let mut at_once = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.status(200).fields(&block).send("content")
    });
    one_by_one.receive(request.as_bytes());
    at_once.receive(request.as_bytes());
    let lines = |sent: Vec<u8>| {
        let mut lines: Vec<String> = String::from_utf8(sent).unwrap().lines().map(str::to_string).collect();
        // The server's own fields may stand elsewhere.
        lines[1..].sort();
        lines
    };
    let sent = at_once.transmit_all();
    assert_eq!(lines(sent.clone()), lines(one_by_one.transmit_all()), "{fields:?}");
    assert_eq!(at_once.wants(), one_by_one.wants(), "{fields:?}");
    let responses = read_all(&sent, &[request.split(' ').next().unwrap()]).unwrap();
    let texts: Vec<String> = responses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, expected, "{fields:?}");
}

#[test]
fn block_of_fields_makes_the_same_response_as_its_fields() {
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    check_block(&[], GET, &["200 length: content"]);
    check_block(&[("X-A", b"b"), ("Set-Cookie", b"c"), ("Set-Cookie", b"d")], GET, &["200 length: content"]);
    check_block(&[("Content-Length", b"7"), ("X-A", b"b")], GET, &["200 length: content"]);
    check_block(&[("Connection", b"close"), ("X-A", b"b")], GET, &["200 length close: content"]);
    check_block(&[("Date", b"today"), ("Server", b"another")], GET, &["200 length: content"]);
    check_block(&[("X-A", b"b")], OLD_GET, &["200 length close: content"]);
    check_block(&[("X-A", b"b")], head, &["200 none"]);
    check_block(&[("Content-Length", b"6")], GET, &[FAILED]);
}

#[test]
fn block_of_fields_and_fields_beside_it_are_one_head() {
    let mut block = FieldBlock::default();
    block.push("X-Block", b"1").unwrap();
    block.push("Content-Length", b"2").unwrap();
    check(
        |_, start_response| start_response.status(200).fields(&block).field("X-Beside", "2").send("ok"),
        &["200 length: ok", "open"],
    );
    // The length is declared once.
    check(
        |_, start_response| start_response.status(200).field("Content-Length", "2").fields(&block).send("ok"),
        &[FAILED, "closed"],
    );
    check(
        |_, start_response| start_response.status(200).fields(&block).field("Content-Length", "2").send("ok"),
        &[FAILED, "closed"],
    );
    // A head that was replaced takes its block with it.
    check(
        |_, start_response| start_response.status(200).fields(&block).replace()?.status(200).send("other"),
        &["200 length: other", "open"],
    );
}

// Flushing

#[test]
fn head_that_was_flushed_is_not_replaced() {
    check(
        |_, start_response| {
            let mut writer = start_response.start(200, &[])?;
            writer.flush();
            writer.replace()?.status(500).send("another")
        },
        &["200 chunked cut", "closed"],
    );
    check(
        |_, start_response| {
            let mut writer = start_response.start(200, &[("Content-Length", "4")])?;
            writer.flush();
            writer.write("ab")?;
            writer.flush();
            writer.write("cd")?;
            writer.finish()
        },
        &["200 length: abcd", "open"],
    );
}

#[test]
fn what_was_flushed_reaches_the_client_during_the_call() {
    let (sender, receiver) = mpsc::channel::<()>();
    let server = serve(
        move |_, start_response| {
            let mut writer = start_response.start(200, &[])?;
            for text in ["first", "second", "third"] {
                writer.write(text)?;
                writer.flush();
                receiver.recv_timeout(support::loopback::PATIENCE).map_err(GatewayError::new)?;
            }
            writer.finish()
        },
        quick(),
    );
    let mut client = server.connect();
    client.send(GET);
    for text in ["first", "second", "third"] {
        client.read_until(text);
        sender.send(()).unwrap();
    }
    assert_eq!(client.read("GET").to_string(), "200 chunked: firstsecondthird");
}

/// The call is not held up by the client: bytes that the socket does not take stay with the server.
#[test]
fn flush_to_a_client_that_does_not_read_waits_for_nothing() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 24;
    let returned = Arc::new(AtomicUsize::new(0));
    let counted = returned.clone();
    let server = serve(
        move |_, start_response| {
            let mut writer = start_response.start(200, &[])?;
            for _ in 0..PIECES {
                writer.write(vec![b'x'; PIECE])?;
                writer.flush();
            }
            counted.fetch_add(1, Ordering::SeqCst);
            writer.finish()
        },
        quick(),
    );
    let mut client = server.connect();
    client.send(GET);
    wait_until("the call returns", || returned.load(Ordering::SeqCst) == 1);
    let response = client.read("GET");
    assert_eq!((response.framing, response.content.len()), (Framing::Chunked, PIECES * PIECE));
    assert!(response.content.iter().all(|byte| *byte == b'x'));
}

// Prompt streams

/// A stream each piece of which is to be on its way before the next is asked for.
struct Prompt<S>(S);

impl<S: BodyStream> BodyStream for Prompt<S> {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        self.0.next_piece(now)
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

#[test]
fn piece_of_a_prompt_stream_has_left_before_the_next_is_asked_for() {
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = Arc::new(Mutex::new(receiver));
    let server = serve(
        move |_, start_response| {
            let receiver = receiver.clone();
            let pieces = script(move |count| {
                if count > 1 {
                    let receiver = receiver.lock().unwrap();
                    receiver.recv_timeout(support::loopback::PATIENCE).map_err(GatewayError::new)?;
                }
                let texts: [&[u8]; 4] = [b"first", b"second", b"", b"fourth"];
                Ok(texts.get(count - 1).map_or(Piece::End, |text| Piece::Data(text)))
            });
            start_response.status(200).stream(Prompt(pieces))
        },
        quick(),
    );
    for _ in 0..2 {
        let mut client = server.connect();
        client.send(GET);
        client.read_until("first");
        sender.send(()).unwrap();
        client.read_until("second");
        // The empty piece, and then the fourth.
        (0..2).for_each(|_| sender.send(()).unwrap());
        client.read_until("fourth");
        sender.send(()).unwrap();
        assert_eq!(client.read("GET").to_string(), "200 chunked: firstsecondfourth");
    }
}

#[test]
fn prompt_stream_is_asked_for_nothing_while_a_piece_is_owed() {
    let counting: Rc<Cell<usize>> = Rc::default();
    let counter = counting.clone();
    let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let counter = counter.clone();
        let pieces = script(move |count| {
            counter.set(count);
            Ok(if count <= 5 { Piece::Data(b"piece") } else { Piece::End })
        });
        start_response.status(200).stream(Prompt(pieces))
    });
    hand.receive(GET.as_bytes());
    // The head is owed before the first piece.
    for expected in 0..=5 {
        // Nobody takes anything: however often it has its turn, it gets no further.
        (0..3).for_each(|_| hand.advance());
        assert_eq!(counting.get(), expected);
        let sent = hand.transmit();
        assert!(
            sent.ends_with(if expected == 0 { b"\r\n\r\n" } else { b"piece\r\n" }),
            "{}",
            sent.escape_ascii()
        );
        hand.advance();
    }
    assert_eq!(counting.get(), 6, "its end is asked for");
    assert_eq!((hand.transmit_all().as_slice(), hand.wants()), (&b"0\r\n\r\n"[..], Wants::Read));
}

// Bodies kept from an earlier call

/// The first call keeps the body that `keep` makes and fails; the second does `then` with it.
fn check_kept(
    keep: impl Fn(StartResponse<'_>) -> Answer,
    then: impl Fn(StartResponse<'_>) -> Result<(), GatewayError>,
    expected: &[&str],
) {
    let kept: Rc<RefCell<Option<Body>>> = Rc::default();
    let gateway = |_: &mut Environ<'_>, start_response: StartResponse<'_>| -> Answer {
        if kept.borrow().is_none() {
            *kept.borrow_mut() = Some(keep(start_response)?);
            return Err(GatewayError::new("kept"));
        }
        then(start_response)?;
        Ok(kept.take().expect("a body"))
    };
    let mut gateway = gateway;
    let mut first =
        ByHand::new(&mut gateway as &mut dyn FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer);
    first.receive(GET.as_bytes());
    drop(first);
    let mut second =
        ByHand::new(&mut gateway as &mut dyn FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer);
    second.receive(GET.as_bytes());
    assert_eq!(told(&mut second), expected);
}

fn nothing(_: StartResponse<'_>) -> Result<(), GatewayError> {
    Ok(())
}

fn start(start_response: StartResponse<'_>) -> Result<(), GatewayError> {
    start_response.start(200, &[]).map(drop)
}

#[test]
fn body_of_an_earlier_call_without_a_start_is_a_500() {
    check_kept(|start_response| start_response.status(200).send("old"), nothing, &[FAILED, "closed"]);
    check_kept(|start_response| start_response.status(200).pieces(["old"]), nothing, &[FAILED, "closed"]);
    check_kept(
        |start_response| start_response.status(200).file(file_range(b"old", 0, 3)),
        nothing,
        &[FAILED, "closed"],
    );
}

#[test]
fn body_of_an_earlier_call_that_does_not_go_with_the_head_is_a_500() {
    let later = |start_response: StartResponse<'_>| {
        Ok(start_response
            .at(Moment::START, |start_response: StartResponse<'_>| start_response.status(200).send("x")))
    };
    check_kept(later, start, &[FAILED, "closed"]);
    check_kept(
        |start_response| start_response.status(200).file(file_range(b"old", 0, 3)),
        start,
        &[FAILED, "closed"],
    );
}

// Files

/// A file without a name, with this content.
fn temporary_file(content: &[u8]) -> File {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("tidegate-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path: PathBuf = std::env::temp_dir().join(name);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(content).unwrap();
    file
}

fn file_range(content: &[u8], offset: u64, length: u64) -> FileRange {
    FileRange { file: temporary_file(content).into(), offset, length }
}

#[test]
fn file_range_is_sent_as_it_stands() {
    let range = |offset, length| {
        move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            start_response.status(206).file(file_range(b"0123456789", offset, length))
        }
    };
    check(range(0, 10), &["206 length: 0123456789", "open"]);
    check(range(3, 4), &["206 length: 3456", "open"]);
    check(range(9, 1), &["206 length: 9", "open"]);
    check(range(5, 0), &["206 length", "open"]);
    check(range(5, 6), &["206 length cut: 56789", "closed"]);
    check_request("HEAD / HTTP/1.0\r\n\r\n", range(0, 10), &["206 length close cut", "closed"]);
}

#[test]
fn long_file_arrives_whole_behind_and_before_other_responses() {
    let content = noise(7, 300_000);
    let file = temporary_file(&content);
    let mut hand =
        ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| match &*environ.path() {
            "/file" => {
                let file = file.try_clone()?;
                start_response.status(200).file(FileRange { file: file.into(), offset: 1, length: 299_999 })
            }
            _ => start_response.status(200).send("between"),
        });
    let file_request = GET.replace("GET /", "GET /file");
    hand.receive([GET, &file_request, GET, &file_request].concat().as_bytes());
    let responses = read_all(&hand.transmit_all(), &[]).unwrap();
    let contents: Vec<_> = responses.into_iter().map(|response| response.content).collect();
    assert_eq!(contents.len(), 4);
    assert!(contents[0] == b"between" && contents[2] == b"between");
    assert!(contents[1] == content[1..] && contents[3] == content[1..]);
}

#[test]
fn file_that_shrinks_midway_cuts_its_response() {
    let file = temporary_file(&[b'x'; 300_000]);
    let shared = file.try_clone().unwrap();
    let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let file = shared.try_clone()?;
        start_response.status(200).file(FileRange { file: file.into(), offset: 0, length: 300_000 })
    });
    hand.receive(GET.repeat(2).as_bytes());
    assert!(hand.owed() >= hand.context.limits.output_bytes_high);
    assert!(hand.owed() < 200_000, "{} bytes owed at once", hand.owed());
    file.set_len(250_000).unwrap();
    let sent = hand.transmit_all();
    let responses = read_all(&sent, &[]).unwrap();
    assert_eq!(responses.len(), 1);
    assert!(responses[0].is_cut && responses[0].content.len() == 250_000);
    assert!(matches!(hand.wants(), Wants::Close(_)));
}

// Back-pressure

#[test]
fn pieces_are_drawn_only_below_the_high_water_mark() {
    let drawn = Rc::new(Cell::new(0));
    let count = drawn.clone();
    let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let count = count.clone();
        let piece: &'static [u8] = &[b'x'; 1000];
        start_response.status(200).stream(script(move |_| {
            count.set(count.get() + 1);
            Ok(Piece::Data(piece))
        }))
    });
    hand.context.limits.output_bytes_high = 10_000;
    hand.receive(GET.as_bytes());
    for _ in 0..10 {
        hand.advance();
    }
    assert_eq!(hand.wants(), Wants::Write);
    assert!((9..=10).contains(&drawn.get()), "{} pieces", drawn.get());
    let owed = hand.owed();
    assert!((10_000..11_500).contains(&owed), "{owed} bytes");
    assert_eq!(hand.transmit().len(), owed);
    hand.advance();
    assert!((18..=20).contains(&drawn.get()), "{} pieces", drawn.get());
}

#[test]
fn requests_behind_much_output_wait_for_room() {
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        count.set(count.get() + 1);
        start_response.status(200).send(vec![b'x'; 30_000])
    });
    hand.context.limits.output_bytes_high = 50_000;
    hand.receive(GET.repeat(10).as_bytes());
    hand.advance();
    assert_eq!((calls.get(), hand.wants()), (2, Wants::Write));
    let sent = hand.transmit_all();
    assert_eq!((calls.get(), read_all(&sent, &[]).unwrap().len()), (10, 10));
}

#[test]
fn requests_beyond_the_budget_of_a_turn_wait_for_the_next() {
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        count.set(count.get() + 1);
        start_response.status(200).send("x")
    });
    let budget = Budget::TURN.requests as usize;
    // All of them in one read, whole, and then with half a request in front.
    for (begun, expected) in [("", budget), ("GET / HT", budget)] {
        calls.set(0);
        hand.receive(begun.as_bytes());
        hand.receive(&GET.repeat(2 * budget + 1).as_bytes()[begun.len()..]);
        assert_eq!((calls.get(), hand.wants()), (expected, Wants::Turn));
        hand.advance();
        assert_eq!((calls.get(), hand.wants()), (2 * expected, Wants::Turn));
        hand.advance();
        assert_eq!((calls.get(), hand.wants()), (2 * expected + 1, Wants::Read));
        assert_eq!(read_all(&hand.transmit(), &[]).unwrap().len(), 2 * budget + 1);
    }
}

#[test]
fn fields_that_look_like_those_of_the_server_stay() {
    for (code, reason) in [(200, None), (200, Some("Server: a")), (404, None)] {
        let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let head = match reason {
                Some(reason) => start_response.status_with_reason(code, reason),
                None => start_response.status(code),
            };
            let head = head.field("X", "Server: b").field("Server", "c").field("Server", "d");
            head.field("Date", "e").field("Date", "f").send("")
        });
        hand.receive(GET.as_bytes());
        let sent = String::from_utf8(hand.transmit()).unwrap();
        let (_, fields) = sent.split_once("\r\n").unwrap();
        let own = "X: Server: b\r\nServer: c\r\nServer: d\r\nDate: e\r\nDate: f\r\n";
        assert_eq!(fields, format!("{own}Content-Length: 0\r\n\r\n"), "{sent}");
    }
}

#[test]
fn nothing_is_drawn_for_a_head_request() {
    let drawn = Rc::new(Cell::new(0));
    let count = drawn.clone();
    check_request(
        &GET.replace("GET", "HEAD"),
        move |_, start_response| {
            let count = count.clone();
            start_response.status(204).stream(script(move |_| {
                count.set(count.get() + 1);
                Ok(Piece::End)
            }))
        },
        &["204 none", "open"],
    );
    assert_eq!(drawn.get(), 0);
}

#[test]
fn stream_of_empty_pieces_gives_others_their_turn() {
    let drawn = Rc::new(Cell::new(0));
    let count = drawn.clone();
    let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let count = count.clone();
        start_response.status(200).stream(script(move |_| {
            count.set(count.get() + 1);
            Ok(Piece::Data(b""))
        }))
    });
    hand.receive(GET.as_bytes());
    assert_eq!(hand.wants(), Wants::Turn);
    assert!((1..10_000).contains(&drawn.get()), "{} pieces in a turn", drawn.get());
    let before = drawn.get();
    hand.advance();
    assert!(drawn.get() > before);
}

// Answers that come later

/// Makes a gateway that promises answers, and the place where the promises go.
fn promising() -> (impl Gateway, Rc<RefCell<Vec<Responder>>>) {
    let responders: Rc<RefCell<Vec<Responder>>> = Rc::default();
    let promised = responders.clone();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (responder, answer) = deferred(environ.wakeup());
        promised.borrow_mut().push(responder);
        Ok(start_response.later(None, answer))
    };
    (gateway, responders)
}

#[test]
fn promise_that_is_dropped_is_a_500() {
    let (gateway, responders) = promising();
    let mut hand = ByHand::new(gateway);
    hand.receive(GET.as_bytes());
    assert_eq!(told(&mut hand), ["waiting"]);
    responders.borrow_mut().clear();
    hand.wake();
    assert_eq!(told(&mut hand), [FAILED, "closed"]);
}

#[test]
fn wakeups_may_be_spurious_and_late() {
    let (gateway, responders) = promising();
    let mut hand = ByHand::new(gateway);
    hand.wake();
    hand.receive(GET.repeat(2).as_bytes());
    for _ in 0..3 {
        hand.wake();
        assert_eq!(told(&mut hand), ["waiting"]);
    }
    responders.borrow_mut().remove(0).respond(Response::new(200).content("first"));
    assert_eq!(told(&mut hand), ["waiting"]);
    hand.wake();
    assert_eq!(told(&mut hand), ["200 length: first", "waiting"]);
    responders.borrow_mut().remove(0).respond(Response::new(200).content("second"));
    hand.wake();
    assert_eq!(told(&mut hand), ["200 length: second", "open"]);
    hand.wake();
    assert_eq!(told(&mut hand), ["open"]);
}

#[test]
fn next_request_is_asked_only_after_the_answer_before_it() {
    let (gateway, responders) = promising();
    let mut hand = ByHand::new(gateway);
    hand.receive(GET.repeat(3).as_bytes());
    assert_eq!(responders.borrow().len(), 1);
}

#[test]
fn answer_by_the_clock_comes_at_its_moment() {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let until = start_response.now() + Duration::from_secs(3);
        let resume = move |start_response: StartResponse<'_>| {
            let is_time = start_response.now() >= until;
            start_response.status(200).send(format!("{is_time}"))
        };
        Ok(start_response.at(until, resume))
    });
    hand.receive(GET.as_bytes());
    hand.pass(Duration::from_millis(2999));
    assert_eq!(told(&mut hand), ["waiting"]);
    hand.pass(Duration::from_millis(1));
    assert_eq!(told(&mut hand), ["200 length: true", "open"]);
}

#[test]
fn stream_that_waits_is_asked_again_when_woken_or_at_its_moment() {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let until = start_response.now() + Duration::from_secs(1);
        start_response.status(200).stream(script(move |call| match call {
            1 | 3 => Ok(Piece::Data(b"x")),
            2 => Ok(Piece::Pending { until: None }),
            4 => Ok(Piece::Pending { until: Some(until) }),
            _ => Ok(Piece::End),
        }))
    });
    hand.receive(GET.as_bytes());
    assert!(hand.transmit_all().ends_with(b"1\r\nx\r\n"));
    assert_eq!((hand.wants(), hand.deadline()), (Wants::Application, None));
    hand.wake();
    assert_eq!(hand.transmit_all(), b"1\r\nx\r\n");
    hand.pass(Duration::from_millis(999));
    assert_eq!(hand.transmit_all(), b"");
    hand.pass(Duration::from_millis(1));
    assert_eq!((hand.transmit_all(), hand.wants()), (b"0\r\n\r\n".to_vec(), Wants::Read));
}

#[test]
fn resumed_answer_that_fails_is_a_500() {
    fn panics(_: StartResponse<'_>) -> Answer {
        panic!("secret")
    }
    fn starts_and_panics(start_response: StartResponse<'_>) -> Answer {
        let _writer = start_response.start(200, &[("X-Evil", "1")])?;
        panic!("secret")
    }
    for resume in [panics, starts_and_panics] {
        let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            Ok(start_response.at(Moment::START, resume))
        });
        hand.receive(GET.as_bytes());
        hand.wake();
        assert_eq!(told(&mut hand), [FAILED, "closed"]);
    }
}

// Descriptors of an application's own

/// Writes down what it is asked to watch.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Selector for Diary {
    fn register(&self, token: usize, descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        self.note(format!("{token}: {interest:?}"), descriptor.as_raw_fd());
        UnixStream::from(descriptor.try_clone_to_owned()?).set_nonblocking(true)
    }

    fn rearm(&self, token: usize, descriptor: RawFd, interest: Interest) {
        self.note(format!("{token}: {interest:?} again"), descriptor);
    }

    fn deregister(&self, descriptor: RawFd) {
        self.note("end".to_string(), descriptor);
    }
}

impl Diary {
    /// The descriptor is open whenever it is named.
    fn note(&self, what: String, descriptor: RawFd) {
        assert!(fs::exists(format!("/dev/fd/{descriptor}")).unwrap());
        self.0.lock().unwrap().push(what);
    }
}

#[test]
fn selector_is_told_what_is_waited_for_until_the_watch_ends_and_before_anything_is_closed() {
    let diary = Arc::<Diary>::default();
    let watcher = Watcher::new(diary.clone(), 7);
    let (source, mut end) = UnixStream::pair().unwrap();
    let mut watched = watcher.watch(source, Interest::ReadWrite).unwrap();
    let mut read = [0; 9];
    // It was not tried to write: that may be waited for, too.
    assert_eq!(watched.read(&mut read).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    end.write_all(b"said").unwrap();
    assert_eq!(watched.read(&mut read).unwrap(), 4);
    assert_eq!(watched.write(b"heard").unwrap(), 5);
    let peeked = watched.try_io(Interest::Read, |source| (&mut &*source).read(&mut [0]));
    assert_eq!(peeked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let source = watched.into_inner();
    drop(watcher.clone().watch(source, Interest::Write).unwrap());
    assert_eq!(
        *diary.0.lock().unwrap(),
        ["7: ReadWrite", "7: ReadWrite again", "7: Read again", "end", "7: Write", "end"]
    );
    // It was not read to its end by whoever had it.
    assert_eq!(end.read(&mut read).unwrap(), 5);
    assert_eq!(end.read(&mut read).unwrap(), 0);
}

#[test]
fn conversation_without_an_event_loop_says_that_it_watches_nothing() {
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (source, _end) = UnixStream::pair()?;
        let own = environ.watch(&source, Interest::Read).unwrap_err();
        let detached = environ.detach().with(|environ| environ.watch(&source, Interest::Read).unwrap_err());
        start_response.status(200).send(format!("{:?}, {:?}", own.kind(), detached.kind()))
    };
    check(gateway, &["200 length: Unsupported, Unsupported", "open"]);
}

// Answers by the head alone

/// Takes content by PUT only, and counts how often it was asked and called.
struct Judge<F> {
    asked: Cell<usize>,
    called: usize,
    answer: F,
}

impl<F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer> Judge<F> {
    fn new(answer: F) -> Judge<F> {
        Judge { asked: Cell::new(0), called: 0, answer }
    }
}

impl<F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer> Gateway for Judge<F> {
    fn call(&mut self, environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
        self.called += 1;
        (self.answer)(environ, start_response)
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.asked.set(self.asked.get() + 1);
        match environ.method().as_str() {
            "PUT" => Admission::Collect,
            "PANIC" => panic!("secret"),
            _ => Admission::FromHead,
        }
    }
}

/// Answers with what it was given.
fn tell(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
    let length = environ.content_length();
    let mut content = String::new();
    environ.content().read_to_string(&mut content)?;
    start_response.status(200).send(format!("{} {length:?} {content:?}", environ.path()))
}

#[test]
fn answer_by_the_head_alone_does_not_wait_for_content_and_ends_the_connection() {
    let head = |first: &str, rest: &str| format!("{first} HTTP/1.1\r\nHost: a\r\n{rest}\r\n");
    let close = "200 length close: /x Some(5) \"\"";
    for (request, expected) in [
        (head("POST /x", "Content-Length: 5\r\n"), [close, "closed"]),
        // What has come of it is content, not a request.
        (head("POST /x", "Content-Length: 99\r\n") + GET, ["200 length close: /x Some(99) \"\"", "closed"]),
        (
            head("POST /x", "Transfer-Encoding: chunked\r\n") + "2\r\nab\r\n",
            ["200 length close: /x None \"\"", "closed"],
        ),
        // Nobody is asked for what nobody wants.
        (head("POST /x", "Content-Length: 5\r\nExpect: 100-continue\r\n"), [close, "closed"]),
        (head("POST /x", "Content-Length: 5\r\nConnection: close\r\n"), [close, "closed"]),
        (
            "POST /x HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n".to_string(),
            [close, "closed"],
        ),
        // All of it is there: that is an ordinary request, and nobody was asked.
        (head("POST /x", "Content-Length: 2\r\n") + "ab", ["200 length: /x Some(2) \"ab\"", "open"]),
        (head("PANIC /x", "Content-Length: 5\r\n"), [FAILED, "closed"]),
    ] {
        let mut hand = ByHand::new(Judge::new(tell));
        hand.receive(request.as_bytes());
        assert_eq!(told(&mut hand), expected, "{request:?}");
        if expected[1] == "closed" {
            assert_eq!(hand.wants(), Wants::Close(Farewell::Linger), "{request:?}");
        }
    }
}

#[test]
fn content_that_is_wanted_is_asked_for_once_and_collected() {
    let mut hand = ByHand::new(Judge::new(tell));
    hand.receive(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(hand.transmit_all(), b"HTTP/1.1 100 Continue\r\n\r\n");
    hand.receive(b"ab");
    hand.receive(b"cd");
    assert_eq!(told(&mut hand), ["200 length: /x Some(4) \"abcd\"", "open"]);
    assert_eq!((hand.gateway.asked.get(), hand.gateway.called), (1, 1));
}

#[test]
fn every_way_to_answer_is_open_to_an_answer_by_the_head_alone() {
    let ways: [fn(&mut Environ<'_>, StartResponse<'_>) -> Answer; 4] = [
        |_, start_response| start_response.status(403).pieces(vec![b"no".to_vec(), b"pe".to_vec()]),
        |environ, start_response| {
            let later = |start_response: StartResponse<'_>| start_response.status(403).send("nope");
            Ok(start_response.at(environ.now(), later))
        },
        |_, start_response| {
            let mut writer = start_response.start(403, &[("Content-Length", "4")])?;
            writer.write("nope")?;
            writer.finish()
        },
        |_, _| Err(GatewayError::new("secret")),
    ];
    let expected = ["403 chunked close: nope", "403 length close: nope", "403 length close: nope", FAILED];
    for (way, expected) in ways.into_iter().zip(expected) {
        let mut hand = ByHand::new(Judge::new(way));
        hand.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nab");
        hand.pass(Duration::ZERO);
        hand.receive(GET.as_bytes());
        assert_eq!(told(&mut hand), [expected, "closed"]);
        let mut hand = ByHand::new(Judge::new(way));
        hand.receive(b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n");
        hand.pass(Duration::ZERO);
        assert!(hand.transmit_all().ends_with(b"\r\n\r\n"));
        assert_eq!(hand.wants(), Wants::Close(Farewell::Linger));
    }
}

#[test]
fn answer_by_the_head_alone_reaches_a_client_that_goes_on_sending() {
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), SendJudge);
    for _ in 0..5 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
        client.send(noise(1, 8_000_000));
        assert_eq!(client.read("POST").to_string(), "405 length close: no");
        client.end_sending();
        assert_eq!(client.read_end(), End::Fin);
    }
    // And one that sends nothing before it is asked is answered all the same.
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read("POST").to_string(), "405 length close: no");
}

struct SendJudge;

impl Gateway for SendJudge {
    fn call(&mut self, _: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
        start_response.status(405).send("no")
    }

    fn admit(&self, _: &Environ<'_>) -> Admission {
        Admission::FromHead
    }
}

#[test]
fn boxed_gateway_is_asked_as_the_one_in_the_box() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let mut hand = ByHand::new(Box::new(SendJudge) as Box<dyn Gateway>);
    hand.receive(request);
    assert_eq!(told(&mut hand), ["405 length close: no", "closed"]);
    let mut hand = ByHand::new(Box::new(SendJudge) as Box<dyn Gateway + Send>);
    hand.receive(request);
    assert_eq!(told(&mut hand), ["405 length close: no", "closed"]);
}

// Request content

#[test]
fn content_is_a_slice_in_memory_and_a_reader_everywhere() {
    let seen: Rc<RefCell<Vec<(bool, usize, u64)>>> = Rc::default();
    let noted = seen.clone();
    let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let slice = environ.content().as_slice().map(<[u8]>::to_vec);
        let length = environ.content().len();
        let mut read = Vec::new();
        environ.content().read_to_end(&mut read)?;
        assert!(slice.as_ref().is_none_or(|slice| *slice == read), "both see the same");
        noted.borrow_mut().push((slice.is_some(), read.len(), length));
        start_response.status(200).send(read)
    });
    hand.context.limits.body_memory_bytes_max = 100;
    for (length, is_split, is_slice) in
        [(0, false, true), (100, true, true), (101, true, false), (101, false, true)]
    {
        let content = noise(3, length);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        match is_split {
            true => {
                hand.receive(head.as_bytes());
                content.chunks(9).for_each(|piece| hand.receive(piece));
            }
            false => hand.receive(&[head.as_bytes(), &content].concat()),
        }
        let responses = read_all(&hand.transmit_all(), &[]).unwrap();
        assert!(responses[0].content == content);
        assert_eq!(seen.borrow_mut().pop(), Some((is_slice, length, length as u64)), "{length} {is_split}");
    }
}

#[test]
fn content_that_was_not_read_does_not_disturb_the_next_request() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /";
    check_request(
        &request.repeat(3),
        |_, start_response| start_response.status(200).send("x"),
        &["200 length: x", "200 length: x", "200 length: x", "open"],
    );
}

// Over real sockets

fn quick() -> Limits {
    Limits { drain_timeout: Duration::from_secs(5), ..Limits::default() }
}

#[test]
fn panic_of_one_request_leaves_the_server_running() {
    let server = serve(
        |environ, start_response| match &*environ.path() {
            // As a panic, only without the message on the terminal.
            "/panic" => std::panic::resume_unwind(Box::new("on purpose")),
            _ => start_response.status(200).send("fine"),
        },
        quick(),
    );
    for _ in 0..10 {
        let mut client = server.connect();
        assert_eq!(client.get("/").text(), "fine");
        assert_eq!(client.get("/panic").code, 500);
        assert_eq!(client.read_end(), End::Fin);
    }
    assert_eq!(server.connect().get("/").text(), "fine");
}

/// An ordinary end would pass for the end of content that has no length.
#[cfg(feature = "sockets")]
#[test]
fn http10_response_that_fails_midway_ends_with_a_reset() {
    let fail = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fails = fail.clone();
    let server = serve(
        move |environ, start_response| {
            let (fails, wakeup, is_bad) = (fails.clone(), environ.wakeup(), environ.path() == "/bad");
            start_response.status(200).stream(script(move |call| match call {
                1 => Ok(Piece::Data(b"half")),
                _ if !fails.load(Ordering::SeqCst) => {
                    let wakeup = wakeup.clone();
                    thread::spawn(move || {
                        thread::sleep(Duration::from_millis(5));
                        wakeup.wake();
                    });
                    Ok(Piece::Pending { until: None })
                }
                _ if is_bad => Err(GatewayError::new("on purpose")),
                _ => Ok(Piece::End),
            }))
        },
        quick(),
    );
    for (path, expected) in [("/good", End::Fin), ("/bad", End::Reset)] {
        fail.store(false, Ordering::SeqCst);
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        while !client.received.ends_with(b"half") {
            client.read_bytes(client.received.len() + 1);
        }
        fail.store(true, Ordering::SeqCst);
        let (received, end) = client.read_to_end();
        assert!(received.ends_with(b"half"));
        assert_eq!(end, expected, "{path}");
    }
}

#[test]
fn answers_from_threads_keep_the_order_of_their_requests() {
    let server = serve(
        |environ, start_response| {
            let (responder, answer) = deferred(environ.wakeup());
            let path = environ.path().to_string();
            // Earlier ones take longer.
            let pause = Duration::from_millis(if path.ends_with('0') { 20 } else { 0 });
            thread::spawn(move || {
                thread::sleep(pause);
                responder.respond(Response::new(200).field("X-Path", &path).content(path.clone()));
            });
            Ok(start_response.later(None, answer))
        },
        quick(),
    );
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let requests: String =
            (0..30).map(|n| format!("GET /{number}/{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        client.send(requests);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        for n in 0..30 {
            assert_eq!(client.read("GET").text(), format!("/{number}/{n}"));
        }
    }
}

/// Promises an answer to `/later`, and passes the promise on; answers all others at once.
fn serve_promises() -> (support::loopback::Running, mpsc::Receiver<(Responder, Wakeup)>) {
    let (sender, promises) = mpsc::channel();
    let sender = Mutex::new(sender);
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if environ.path() != "/later" {
            return start_response.status(200).send("at once");
        }
        let (responder, answer) = deferred(environ.wakeup());
        sender.lock().unwrap().send((responder, environ.wakeup()))?;
        Ok(start_response.later(None, answer))
    };
    (serve(gateway, quick()), promises)
}

#[test]
fn late_answer_to_a_client_that_left_reaches_nobody_else() {
    let (server, promises) = serve_promises();
    let mut leaving = server.connect();
    leaving.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    let (responder, wakeup) = promises.recv().unwrap();
    leaving.leave_unread();
    wait_until("the promise learns that its client has left", || responder.is_abandoned());
    // One of these has the place of the one that left.
    let mut others: Vec<_> = (0..5).map(|_| server.connect()).collect();
    others.iter_mut().for_each(|other| assert_eq!(other.get("/").text(), "at once"));
    responder.respond(Response::new(200).content("stray"));
    for _ in 0..10 {
        wakeup.wake();
    }
    others.iter_mut().for_each(|other| {
        assert_eq!(other.get("/").text(), "at once");
        assert!(other.is_quiet_for(Duration::from_millis(5)));
    });
}

#[test]
fn owned_environ_is_the_same_request_in_another_thread() {
    let server = serve(
        |environ, start_response| {
            let (responder, answer) = deferred(environ.wakeup());
            let mut owned = environ.detach();
            thread::spawn(move || {
                let text = owned.with(|environ| {
                    let mut content = String::new();
                    environ.content().read_to_string(&mut content).unwrap();
                    let query = environ.get("QUERY_STRING").unwrap_or_default().into_owned();
                    let agent = environ.field("user-agent").unwrap_or_default().to_vec();
                    let (query, agent) =
                        (String::from_utf8(query).unwrap(), String::from_utf8(agent).unwrap());
                    format!("{} {} {query} {agent} {content}", environ.method(), environ.path())
                });
                responder.respond(Response::new(200).content(text));
            });
            Ok(start_response.later(None, answer))
        },
        Limits { body_memory_bytes_max: 10, ..quick() },
    );
    let mut client = server.connect();
    for content in ["short", "much longer than memory allows"] {
        for is_split in [false, true] {
            let head = format!(
                "PUT /x?y=z HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nContent-Length: {}\r\n\r\n",
                content.len()
            );
            client.send(&head[..if is_split { 20 } else { 0 }]);
            client.send(head[if is_split { 20 } else { 0 }..].to_string() + content);
            assert_eq!(client.read("PUT").text(), format!("PUT /x y=z me {content}"));
        }
    }
}

#[test]
fn owned_content_is_the_content_wherever_it_was() {
    let server = serve(
        |environ, start_response| {
            let mut owned = environ.content().detach();
            assert_eq!(environ.content().len(), 0);
            let mut bytes = Vec::new();
            match &mut owned {
                OwnedContent::Memory(memory) => bytes.append(memory),
                OwnedContent::Spooled { file, .. } => _ = file.read_to_end(&mut bytes)?,
            }
            start_response.status(200).send(bytes)
        },
        Limits { body_memory_bytes_max: 1000, ..quick() },
    );
    let mut client = server.connect();
    for length in [0, 1, 1000, 1001, 300_000] {
        let content = noise(length as u64 + 1, length);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        client.send(&content);
        assert!(client.read("POST").content == content, "{length} bytes");
    }
}

#[test]
fn stream_of_empty_pieces_does_not_starve_other_clients() {
    let server = serve(
        |environ, start_response| match &*environ.path() {
            "/empty" => start_response.status(200).stream(script(|_| Ok(Piece::Data(b"")))),
            _ => start_response.status(200).send("alive"),
        },
        Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() },
    );
    let mut greedy = server.connect();
    greedy.send("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut other = server.connect();
    for _ in 0..50 {
        assert_eq!(other.get("/").text(), "alive");
    }
}

/// Streams that say how many pieces were drawn of them, and whether they are gone.
#[derive(Clone, Default)]
struct Watch {
    drawn: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct Watched {
    watch: Watch,
    piece: Vec<u8>,
    is_prompt: bool,
}

impl BodyStream for Watched {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        self.watch.drawn.fetch_add(1, Ordering::SeqCst);
        Ok(Piece::Data(&self.piece))
    }

    fn is_prompt(&self) -> bool {
        self.is_prompt
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

fn serve_endless(watch: &Watch, is_prompt: bool, limits: Limits) -> support::loopback::Running {
    let watch = watch.clone();
    serve(
        move |_, start_response| {
            let piece = vec![b'x'; 16 * 1024];
            start_response.status(200).stream(Watched { watch: watch.clone(), piece, is_prompt })
        },
        limits,
    )
}

/// Asserts how far a stream runs ahead of a client that reads nothing. The sockets of both sides hold some
/// megabytes at most.
fn check_unread(is_prompt: bool) {
    let watch = Watch::default();
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = serve_endless(&watch, is_prompt, limits);
    let mut client = server.connect();
    client.send(GET);
    let mut seen = 0;
    wait_until("the stream stands still", || {
        let before = seen;
        thread::sleep(Duration::from_millis(100));
        seen = watch.drawn.load(Ordering::SeqCst);
        seen > 0 && seen == before
    });
    assert!(seen * 16 * 1024 < 64 << 20, "{seen} pieces of 16 KiB");
    client.read_bytes(seen * 16 * 1024 / 2);
    wait_until("the stream goes on once the client reads", || watch.drawn.load(Ordering::SeqCst) > seen);
}

#[test]
fn client_that_reads_nothing_has_nothing_more_produced_for_it() {
    check_unread(false);
}

#[test]
fn client_that_reads_nothing_has_nothing_more_produced_for_it_by_a_prompt_stream() {
    check_unread(true);
}

#[test]
fn stream_is_dropped_soon_after_its_client_has_left() {
    let watch = Watch::default();
    let server = serve_endless(&watch, false, Limits::default());
    let mut client = server.connect();
    client.send(GET);
    client.read_bytes(100_000);
    let left = Instant::now();
    drop(client);
    wait_until("the stream is dropped", || watch.dropped.load(Ordering::SeqCst) == 1);
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
}

#[test]
fn framing_is_the_same_over_a_socket_as_by_hand() {
    let server = serve(
        |environ, start_response| match &*environ.path() {
            "/pieces" => start_response.status(200).pieces(vec![vec![b'y'; 10_000]; 30]),
            _ => start_response.status(200).send(vec![b'y'; 300_000]),
        },
        quick(),
    );
    let mut client = server.connect();
    for (path, framing) in
        [("/pieces", Framing::Chunked), ("/", Framing::Length), ("/pieces", Framing::Chunked)]
    {
        let response = client.get(path);
        assert_eq!((response.framing, response.content.len()), (framing, 300_000));
    }
}

/// A gateway that panics wherever it is asked for something else than an answer.
struct Nervous;

impl Gateway for Nervous {
    fn call(
        &mut self,
        _environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        start_response.status(200).send("calm")
    }
}

impl LoopHooks for Nervous {
    fn wait(&mut self, _wait: &mut (dyn FnMut() + Send)) {
        panic!("it does not wait");
    }

    fn deadline(&self, _now: Moment) -> Option<Moment> {
        panic!("it has none");
    }

    fn is_ready(&self) -> bool {
        panic!("never");
    }
}

#[test]
fn panic_where_nobody_is_answered_does_not_end_the_loop() {
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    let server = serve_with_hooks(server, Nervous, Nervous);
    for _ in 0..3 {
        let mut client = server.connect();
        assert_eq!((client.get("/").text(), client.get("/").text()), ("calm".into(), "calm".into()));
    }
}
