//! Whole conversations, driven by hand: what goes in, what comes out, and whether the connection
//! lives on.
//!
//! Every case is fed whole, byte by byte, and cut in two at every place, and must come out the same
//! each time: where a read happens to end is nobody's business. The application answers with method,
//! path and content of the request, so a response shows what it has seen; an expectation is one line
//! a response (`200 length: GET /a`), and at last `open` or `closed`. Input may end with [`END`] or
//! [`SILENCE`]. Limits are small, so that what is beyond them can be read here.

mod support;

use std::fs::File;
use std::io;
use std::time::Duration;

use support::response::{Response, read_all};
use tidegate::conversation::{
    Budget, ByHand, Conversation, Disk, Farewell, Life, Memory, NoJournal, OutputQueue, Turn, Wants,
};
use tidegate::gateway::{Client, NoWake, ServerInfo, Spool, SpoolFile};
use tidegate::limits::Limits;
use tidegate::now::{Moment, Now};
use tidegate::protocol::ServerFields;
use tidegate::{Body, Environ, GatewayError, StartResponse};

/// The client ends its side.
const END: &str = "<end>";
/// Nothing more comes until the deadline.
const SILENCE: &str = "<silence>";

fn limits() -> Limits {
    Limits {
        request_line_bytes_max: 100,
        head_bytes_max: 400,
        fields_max: 10,
        body_bytes_max: 100,
        body_memory_bytes_max: 20,
        ..Limits::default()
    }
}

/// Answers with what it was asked, or as the path says.
fn application(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let path = environ.path().to_string();
    match path.as_str() {
        "/stream" => start_response.status(200).pieces(["ab", "", "cd"]),
        "/204" | "/205" | "/304" => start_response.status(path[1..].parse()?).send("ignored"),
        "/304-of-7" => start_response.status(304).field("Content-Length", "7").finish(),
        "/close" => start_response.status(200).field("Connection", "close").send("bye"),
        "/fail" => Err(GatewayError::new("on purpose")),
        "/fail-midway" => start_response.status(200).stream(FailsMidway(0)),
        "/variables" => start_response.status(200).send(variables(environ)),
        _ => start_response.status(200).send(echo(environ)),
    }
}

fn echo(environ: &mut Environ<'_>) -> String {
    let mut content = String::new();
    io::Read::read_to_string(environ.content(), &mut content).unwrap();
    let (method, uri) = (environ.method(), environ.get("REQUEST_URI").unwrap_or_default());
    let content = environ.content_length().map(|length| format!(" {length} [{content}]"));
    format!("{method} {}{}", String::from_utf8_lossy(&uri), content.unwrap_or_default())
}

/// Name and value of every variable that a client can set.
fn variables(environ: &Environ<'_>) -> String {
    let from_client = environ.variables().filter(|(name, _)| name.starts_with("HTTP_"));
    let text = from_client.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)));
    text.collect::<Vec<_>>().join(" ")
}

struct FailsMidway(u8);

impl tidegate::gateway::BodyStream for FailsMidway {
    fn next_piece(&mut self, _: Moment) -> Result<tidegate::gateway::Piece<'_>, GatewayError> {
        self.0 += 1;
        match self.0 {
            1 => Ok(tidegate::gateway::Piece::Data(b"half")),
            _ => Err(GatewayError::new("on purpose")),
        }
    }
}

/// What is left to do once all bytes are there.
#[derive(Clone, Copy)]
enum Finale {
    Nothing,
    End,
    Silence,
}

/// Everything that a connection sends back, how it ends, and the methods that the gateway saw.
fn converse(pieces: &[&[u8]], finale: Finale) -> (Vec<u8>, Wants, Vec<String>) {
    let mut methods = Vec::new();
    let mut sent = Vec::new();
    let wants = {
        let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            methods.push(environ.method().as_str().to_string());
            application(environ, start_response)
        };
        let mut hand = ByHand::new(gateway);
        hand.limits = limits();
        for piece in pieces {
            // Whoever holds the socket reads no more, either.
            if let Wants::Close(_) = hand.wants() {
                break;
            }
            hand.receive(piece);
            sent.extend(hand.transmit_all());
        }
        match finale {
            Finale::Nothing => {}
            Finale::End => hand.receive_end(),
            Finale::Silence => hand.pass(hand.deadline().unwrap().since(Moment::START)),
        }
        sent.extend(hand.transmit_all());
        hand.wants()
    };
    (sent, wants, methods)
}

/// One line a response, and the fate of the connection. Interim responses are left out: whether
/// one is sent may depend on where a read ends.
fn told(pieces: &[&[u8]], finale: Finale) -> Vec<String> {
    let (sent, wants, methods) = converse(pieces, finale);
    let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
    let responses = read_all(&sent, &methods).expect("responses by the book");
    let finals: Vec<&Response> = responses.iter().filter(|response| response.code >= 200).collect();
    let answered = finals.iter().filter(|response| !is_refusal(response)).count();
    assert_eq!(answered, methods.len(), "one response for each call: {finals:?}");
    finals.iter().for_each(|response| check_every_response(response));
    let fate = match wants {
        Wants::Read => "open",
        Wants::Close(_) => "closed",
        Wants::Write | Wants::Application | Wants::Turn => "stuck",
    };
    finals.iter().map(ToString::to_string).chain([fate.to_string()]).collect()
}

/// A response of the server's own, to what is no request.
fn is_refusal(response: &Response) -> bool {
    response.code >= 400 && response.code != 500
}

/// What holds for all responses, and for all errors.
fn check_every_response(response: &Response) {
    assert_eq!(response.field("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert!(response.field("Server").is_some_and(|server| server.starts_with("tidegate/")));
    if response.code >= 400 {
        assert!(response.says_close(), "{response:?}");
        assert!(response.field("Content-Length").is_some() && !response.reason.is_empty(), "{response:?}");
        assert!(response.text().starts_with(&format!("{} {}", response.code, response.reason)));
    }
}

/// Whole, byte by byte, and cut in two at every place.
fn check(input: &str, expected: &[&str]) {
    let (bytes, finale) = match (input.strip_suffix(END), input.strip_suffix(SILENCE)) {
        (Some(bytes), _) => (bytes, Finale::End),
        (_, Some(bytes)) => (bytes, Finale::Silence),
        (None, None) => (input, Finale::Nothing),
    };
    let bytes = bytes.as_bytes();
    assert_eq!(told(&[bytes], finale), expected, "whole: {input:?}");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(told(&single, finale), expected, "byte by byte: {input:?}");
    for at in 1..bytes.len() {
        let cut = [&bytes[..at], &bytes[at..]];
        assert_eq!(told(&cut, finale), expected, "cut at {at}: {input:?}");
    }
}

/// A whole request with a field or two more.
fn get(fields: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn post(fields: &str, content: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a\r\n{fields}\r\n{content}")
}

// Versions and persistence (RFC 9112 §2.3, §9.3)

#[test]
fn http11_connection_is_kept_unless_asked_to_close() {
    check(&get(""), &["200 length: GET /a", "open"]);
    check(&get("Connection: keep-alive\r\n"), &["200 length: GET /a", "open"]);
    check(&get("Connection: TE, CLOSE\r\n"), &["200 length close: GET /a", "closed"]);
    check(&get("Connection: keep-alive\r\nConnection: close\r\n"), &["200 length close: GET /a", "closed"]);
    check("GET /close HTTP/1.1\r\nHost: a\r\n\r\n", &["200 length close: bye", "closed"]);
}

#[test]
fn http10_connection_is_closed_unless_asked_to_keep() {
    check("GET /a HTTP/1.0\r\n\r\n", &["200 length close: GET /a", "closed"]);
    check("GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &["200 length: GET /a", "open"]);
    check(
        "GET /a HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
        &["200 length close: GET /a", "closed"],
    );
    check(
        "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        &["200 until-close close: abcd", "closed"],
    );
}

#[test]
fn http10_keep_alive_is_said_to_who_asked_for_it() {
    let told = |input: &str| {
        let (sent, _, _) = converse(&[input.as_bytes()], Finale::Nothing);
        read_all(&sent, &[]).unwrap()[0].field("Connection").map(str::to_string)
    };
    assert_eq!(told("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").as_deref(), Some("keep-alive"));
    assert_eq!(told("GET / HTTP/1.0\r\n\r\n").as_deref(), Some("close"));
    assert_eq!(told(&get("")), None);
}

#[test]
fn other_versions_are_refused() {
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/3.0"] {
        check(
            &format!("GET / {version}\r\nHost: a\r\n\r\n"),
            &["505 length close: only HTTP/1.0 and HTTP/1.1 are spoken here", "closed"],
        );
    }
}

#[test]
fn http2_preface_is_refused_by_version() {
    check(
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &["505 length close: only HTTP/1.0 and HTTP/1.1 are spoken here", "closed"],
    );
}

#[test]
fn tls_client_hello_is_refused_at_its_first_byte() {
    check(
        "\u{16}\u{3}\u{1}\0\u{7a}\u{1}\0\0\u{76}\u{3}\u{3}",
        &["400 length close: the head of the request is malformed", "closed"],
    );
}

// Pipelining (RFC 9112 §9.3.2)

#[test]
fn pipelined_requests_are_answered_in_order() {
    let input = format!(
        "{}{}HEAD /h HTTP/1.1\r\nHost: a\r\n\r\nGET /stream HTTP/1.1\r\nHost: a\r\n\r\n{}",
        get(""),
        post("Content-Length: 3\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n"),
    );
    let expected = [
        "200 length: GET /a",
        "200 length: POST /p 3 [abc]",
        "200 none",
        "200 chunked: abcd",
        "200 length: POST /p 1 [x]",
        "open",
    ];
    check(&input, &expected);
}

#[test]
fn bad_request_in_the_middle_ends_the_pipeline_after_those_before() {
    let input = format!("{}{}GET /b HTTP/1.1\r\n\r\n{}", get(""), get(""), get(""));
    check(
        &input,
        &[
            "200 length: GET /a",
            "200 length: GET /a",
            "400 length close: the Host field is missing",
            "closed",
        ],
    );
}

#[test]
fn nothing_is_answered_after_close() {
    check(&(get("Connection: close\r\n") + &get("")), &["200 length close: GET /a", "closed"]);
    check(
        &("GET /fail HTTP/1.1\r\nHost: a\r\n\r\n".to_string() + &get("")),
        &["500 length close: the application failed", "closed"],
    );
}

/// A client that has sent more than it should may be sending still: its answer must not be lost.
#[test]
fn close_before_unread_bytes_lingers() {
    let ends = |input: &str| converse(&[input.as_bytes()], Finale::Nothing).1;
    assert_eq!(ends(&get("Connection: close\r\n")), Wants::Close(Farewell::Clean));
    assert_eq!(ends(&(get("Connection: close\r\n") + "x")), Wants::Close(Farewell::Linger));
    assert_eq!(ends("GET / HTTP/1.1\r\n\r\n"), Wants::Close(Farewell::Linger));
}

/// The response to a refused head has content, whatever the request before it was.
#[test]
fn refusal_after_a_head_request_has_its_content() {
    let input = "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    check(input, &["200 none", "400 length close: the Host field is missing", "closed"]);
    let input = "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\nGET / HT<silence>";
    check(input, &["200 none", "408 length close: the head did not arrive in time", "closed"]);
}

/// RFC 9110 §9.3.2: whoever asks with HEAD reads no content, and takes none for the next response.
#[test]
fn refusal_of_a_head_request_has_no_content() {
    for head in ["HEAD / HTTP/1.1\r\n\r\n", "\r\nHEAD / HTTP/3.0\r\nHost: a\r\n\r\n"] {
        for at in 0..head.len() {
            let (before, after) = head.as_bytes().split_at(at);
            let (sent, wants, _) = converse(&[get("").as_bytes(), before, after], Finale::Nothing);
            let responses = read_all(&sent, &["GET", "HEAD"]).expect("responses by the book");
            assert_eq!(responses.len(), 2, "cut at {at}: {responses:?}");
            assert!(responses[1].code >= 400 && responses[1].field("Content-Length").is_some());
            assert_eq!(wants, Wants::Close(Farewell::Linger));
        }
    }
}

// Content (RFC 9112 §6.3, §7.1)

#[test]
fn content_length_says_where_content_ends() {
    check(&post("Content-Length: 0\r\n", ""), &["200 length: POST /p 0 []", "open"]);
    check(&post("Content-Length: 007\r\n", "1234567"), &["200 length: POST /p 7 [1234567]", "open"]);
    check(
        &post("Content-Length: 25\r\n", &"x".repeat(25)),
        &["200 length: POST /p 25 [xxxxxxxxxxxxxxxxxxxxxxxxx]", "open"],
    );
    check(
        "GET /g HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
        &["200 length: GET /g 2 [ok]", "open"],
    );
    check("POST /p HTTP/1.0\r\nContent-Length: 2\r\n\r\nok", &["200 length close: POST /p 2 [ok]", "closed"]);
}

#[test]
fn neither_length_nor_coding_means_no_content() {
    check(&post("", ""), &["200 length: POST /p", "open"]);
    check("DELETE /d HTTP/1.1\r\nHost: a\r\n\r\n", &["200 length: DELETE /d", "open"]);
    check("GET /a HTTP/1.0\r\n\r\n", &["200 length close: GET /a", "closed"]);
}

#[test]
fn http10_post_without_length_is_refused() {
    for method in ["POST", "PUT", "PATCH"] {
        check(
            &format!("{method} / HTTP/1.0\r\n\r\n"),
            &["411 length close: Content-Length is missing", "closed"],
        );
    }
}

#[test]
fn chunked_content_is_put_together() {
    let chunked = |content: &str, expected: &str| {
        check(&post("Transfer-Encoding: chunked\r\n", content), &[expected, "open"]);
    };
    chunked("0\r\n\r\n", "200 length: POST /p 0 []");
    chunked("3\r\nabc\r\n00B\r\ndefghijklmn\r\n0\r\n\r\n", "200 length: POST /p 14 [abcdefghijklmn]");
    chunked("1;name=value;q=\"x\"\r\na\r\n0;last\r\n\r\n", "200 length: POST /p 1 [a]");
    chunked("1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n", "200 length: POST /p 1 [a]");
    chunked(
        &format!("1e\r\n{}\r\n0\r\n\r\n", "x".repeat(30)),
        &format!("200 length: POST /p 30 [{}]", "x".repeat(30)),
    );
}

#[test]
fn trailer_fields_are_no_variables() {
    let input =
        "POST /variables HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Evil: 1\r\n\r\n";
    check(input, &["200 length: HTTP_HOST=a", "open"]);
}

#[test]
fn contradictory_lengths_are_refused() {
    let refused = |fields: &str, expected: &str| {
        let expected = format!("{expected} length close: ");
        let (code, what) = expected.split_once(" length close: ").unwrap();
        let (code, reason) = code.split_once(' ').unwrap();
        assert!(what.is_empty());
        check(&post(fields, "0\r\n\r\n"), &[&format!("{code} length close: {reason}"), "closed"]);
    };
    let both = "400 Content-Length and Transfer-Encoding exclude each other";
    refused("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", both);
    refused("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", both);
    refused("Content-Length: 5\r\nContent-Length: 5\r\n", "400 there is more than one Content-Length");
    refused("Content-Length: 5\r\nContent-Length: 6\r\n", "400 there is more than one Content-Length");
    for value in ["5, 5", "-1", "0x5", "5.0", "five", "", "1 1"] {
        refused(&format!("Content-Length: {value}\r\n"), "400 Content-Length is invalid");
    }
    let last = "400 Transfer-Encoding does not end with chunked";
    for value in ["identity", "gzip", "chunked, gzip", "chunked, chunked", "", "chunked;q=1", "xchunked"] {
        refused(&format!("Transfer-Encoding: {value}\r\n"), last);
    }
    refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", last);
    refused("Transfer-Encoding: gzip, chunked\r\n", "501 a transfer coding is not implemented");
    refused(
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "501 a transfer coding is not implemented",
    );
}

#[test]
fn http10_request_with_transfer_encoding_is_refused() {
    check(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &["400 length close: Transfer-Encoding does not exist in HTTP/1.0", "closed"],
    );
}

#[test]
fn content_beyond_its_limit_is_refused() {
    let expected = &["413 length close: the content is too large", "closed"];
    check(&post("Content-Length: 101\r\n", ""), expected);
    check(&post("Content-Length: 99999999999999999999999\r\n", ""), expected);
    check(&post("Transfer-Encoding: chunked\r\n", "65\r\n"), expected);
    check(&post("Transfer-Encoding: chunked\r\n", &format!("64\r\n{}\r\n1\r\n", "x".repeat(100))), expected);
}

#[test]
fn broken_chunks_are_refused() {
    for content in ["3\r\nabcd\r\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "x\r\n\r\n", "3;\0\r\nabc\r\n0\r\n\r\n"] {
        let input = post("Transfer-Encoding: chunked\r\n", content);
        check(&input, &["400 length close: the chunked coding is broken", "closed"]);
    }
    let input = post("Transfer-Encoding: chunked\r\n", "0\r\nbad trailer\r\n\r\n");
    check(&input, &["400 length close: the trailer section is malformed", "closed"]);
    let long = "x".repeat(257);
    let input = post("Transfer-Encoding: chunked\r\n", &format!("1;{long}\r\na\r\n0\r\n\r\n"));
    check(&input, &["400 length close: a chunk extension is too long", "closed"]);
}

#[test]
fn trailers_beyond_their_limit_are_refused() {
    let input = post("Transfer-Encoding: chunked\r\n", &format!("0\r\nA: {}\r\n\r\n", "x".repeat(8 * 1024)));
    let told = told(&[input.as_bytes()], Finale::Nothing);
    assert_eq!(told, ["431 length close: the trailer section is too large", "closed"]);
}

#[test]
fn end_in_the_middle_of_a_request_is_answered() {
    let expected = &["400 length close: the request is incomplete", "closed"];
    check("GET / HT<end>", expected);
    check(&(post("Content-Length: 5\r\n", "abc") + END), expected);
    check(&(post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n") + END), expected);
}

#[test]
fn end_between_requests_is_the_end() {
    check("<end>", &["closed"]);
    check(&(get("") + END), &["200 length: GET /a", "closed"]);
    check(&(get("") + &get("") + END), &["200 length: GET /a", "200 length: GET /a", "closed"]);
}

#[test]
fn silence_is_answered_within_a_request_and_not_between() {
    check("<silence>", &["closed"]);
    check("GET / HT<silence>", &["408 length close: the head did not arrive in time", "closed"]);
    check(
        &(post("Content-Length: 5\r\n", "abc") + SILENCE),
        &["408 length close: the content did not arrive in time", "closed"],
    );
    check(&(get("") + SILENCE), &["200 length: GET /a", "closed"]);
}

// Expectations (RFC 9110 §10.1.1)

/// Codes of all responses to a request that comes in these pieces.
fn codes(pieces: &[&str]) -> Vec<u16> {
    let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
    let (sent, _, methods) = converse(&pieces, Finale::Nothing);
    let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
    read_all(&sent, &methods).unwrap().iter().map(|response| response.code).collect()
}

#[test]
fn continue_is_sent_only_while_content_is_missing() {
    let head = "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(codes(&[head]), [100]);
    assert_eq!(codes(&[head, "abc"]), [100, 200]);
    assert_eq!(codes(&[head, "a", "bc"]), [100, 200]);
    assert_eq!(codes(&[&format!("{head}a"), "bc"]), [200]);
    assert_eq!(codes(&[&format!("{head}abc")]), [200]);
    let chunked = "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(codes(&[chunked, "0\r\n\r\n"]), [100, 200]);
    assert_eq!(codes(&[&format!("{chunked}0\r\n\r\n")]), [200]);
}

#[test]
fn continue_is_not_sent_where_nothing_is_to_come() {
    assert_eq!(codes(&["GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"]), [200]);
    let none = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(codes(&[none]), [200]);
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(codes(&[old, "a"]), [200]);
}

#[test]
fn refusal_comes_before_continue() {
    let large = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n";
    assert_eq!(codes(&[large]), [413]);
    let unknown = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(codes(&[unknown]), [417]);
    check(&get("Expect: teapot\r\n"), &["417 length close: the expectation is not known", "closed"]);
}

#[test]
fn refusal_after_continue_is_still_an_answer() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(codes(&[head, "x\r\n"]), [100, 400]);
    assert_eq!(codes(&[head, "ffff\r\n"]), [100, 413]);
}

#[test]
fn continue_has_no_fields() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(converse(&[head], Finale::Nothing).0, b"HTTP/1.1 100 Continue\r\n\r\n");
}

// Responses without content (RFC 9110 §6.4.1)

#[test]
fn head_has_the_fields_of_get_and_no_content() {
    let fields = |method: &str, target: &str| {
        let input = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (sent, wants, _) = converse(&[input.as_bytes()], Finale::Nothing);
        assert_eq!(wants, Wants::Read);
        let response = read_all(&sent, &[method]).unwrap().remove(0);
        assert!(method == "GET" || response.content.is_empty());
        response.field("Content-Length").map(str::to_string)
    };
    assert_eq!(fields("HEAD", "/a").as_deref(), Some("7"));
    assert_eq!(fields("GET", "/a").as_deref(), Some("6"));
    assert_eq!(fields("HEAD", "/stream"), None);
    assert_eq!(fields("HEAD", "/304-of-7").as_deref(), Some("7"));
    check("HEAD /a HTTP/1.0\r\n\r\n", &["200 none close", "closed"]);
}

#[test]
fn status_without_content_has_none() {
    let of = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    check(&of("/204"), &["204 none", "open"]);
    check(&of("/205"), &["205 length", "open"]);
    check(&of("/304"), &["304 none", "open"]);
    check(&of("/304-of-7"), &["304 none", "open"]);
    check("GET /204 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &["204 none", "open"]);
    let (sent, _, _) = converse(&[of("/304-of-7").as_bytes()], Finale::Nothing);
    assert_eq!(read_all(&sent, &[]).unwrap()[0].field("Content-Length"), Some("7"));
}

#[test]
fn unknown_length_is_chunked_or_ends_with_the_connection() {
    check("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", &["200 chunked: abcd", "open"]);
    check("GET /stream HTTP/1.0\r\n\r\n", &["200 until-close close: abcd", "closed"]);
    let (sent, _, _) = converse(&[b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"], Finale::Nothing);
    assert!(sent.ends_with(b"\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"));
}

// Targets and Host (RFC 9112 §3.2)

#[test]
fn targets_have_four_forms() {
    let target = |method: &str, target: &str, expected: &str| {
        let input = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        check(&input, &[&format!("200 length: {expected}"), "open"]);
    };
    target("GET", "/x/%41?q=1&r", "GET /x/%41?q=1&r");
    target("GET", "http://b.example/x?y", "GET http://b.example/x?y");
    target("GET", "HTTPS://b.example:8080", "GET HTTPS://b.example:8080");
    target("OPTIONS", "*", "OPTIONS *");
    check(
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
        &["501 length close: this server does not open tunnels", "closed"],
    );
}

#[test]
fn targets_of_no_form_are_refused() {
    let wrong = [
        ("GET", "*"),
        ("GET", "a"),
        ("GET", "/a#b"),
        ("GET", "ftp://a/"),
        ("GET", "http://"),
        ("GET", "http://user@a/"),
        ("CONNECT", "/"),
        ("CONNECT", "a"),
    ];
    for (method, target) in wrong {
        let input = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        check(&input, &["400 length close: the request target is invalid", "closed"]);
    }
}

#[test]
fn host_is_given_once_and_is_a_host() {
    let host = |fields: &str, what: &str| {
        let input = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        check(&input, &[&format!("400 length close: {what}"), "closed"]);
    };
    host("", "the Host field is missing");
    host("Host: a\r\nHost: a\r\n", "there is more than one Host field");
    for value in ["a b", "a/b", "u@a", "a:b", "[::1", "[]"] {
        host(&format!("Host: {value}\r\n"), "the Host field is invalid");
    }
    for value in ["", "a", "a.example:80", "[::1]:80", "127.0.0.1"] {
        check(&format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n"), &["200 length: GET /", "open"]);
    }
    check(
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        &["400 length close: there is more than one Host field", "closed"],
    );
    check("GET http://b/ HTTP/1.1\r\n\r\n", &["400 length close: the Host field is missing", "closed"]);
}

// Heads (RFC 9112 §2.2, §5) and their limits

#[test]
fn empty_lines_before_a_request_are_skipped() {
    check(
        &("\r\n\r\n\n".to_string() + &get("") + "\r\n" + &get("")),
        &["200 length: GET /a", "200 length: GET /a", "open"],
    );
}

#[test]
fn empty_line_after_a_request_is_no_request() {
    check(&(get("") + "\r\n" + END), &["200 length: GET /a", "closed"]);
    check(&(get("") + "\r\n" + SILENCE), &["200 length: GET /a", "closed"]);
}

#[test]
fn malformed_heads_are_refused() {
    let bad = [
        "GET\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for input in bad {
        check(input, &["400 length close: the head of the request is malformed", "closed"]);
    }
}

#[test]
fn malformed_head_is_not_called_too_large_for_what_follows_it() {
    let input = get("X : x\r\n") + &"x".repeat(500);
    check(&input, &["400 length close: the head of the request is malformed", "closed"]);
}

#[test]
fn heads_beyond_their_limits_are_refused() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100));
    check(&long, &["414 length close: the request line is too long", "closed"]);
    let large = get(&format!("X: {}\r\n", "x".repeat(400)));
    check(&large, &["431 length close: the head is too large", "closed"]);
    let many = get(&"X: x\r\n".repeat(10));
    check(&many, &["431 length close: the head has too many fields", "closed"]);
    check(&get(&"X: x\r\n".repeat(9)), &["200 length: GET /a", "open"]);
}

// Traps that other servers, and earlier ones of ours, have fallen into

#[test]
fn trap_chunk_size_empty_blank_or_bare_lf_is_refused() {
    for size in ["\r\n", ";a\r\n", "0 \r\n\r\n", " 0\r\n\r\n", "0;a\n\r\n", "0\n\n", "1 ;a\r\na\r\n"] {
        let input = post("Transfer-Encoding: chunked\r\n", size);
        check(&input, &["400 length close: the chunked coding is broken", "closed"]);
    }
}

#[test]
fn trap_plus_sign_of_a_number_is_refused() {
    check(
        &post("Content-Length: +5\r\n", "abcde"),
        &["400 length close: Content-Length is invalid", "closed"],
    );
    let chunk = post("Transfer-Encoding: chunked\r\n", "+5\r\nabcde\r\n0\r\n\r\n");
    check(&chunk, &["400 length close: the chunked coding is broken", "closed"]);
}

#[test]
fn trap_bare_lf_ends_lines_of_a_head_and_of_nothing_else() {
    check("GET /a HTTP/1.1\nHost: a\n\n", &["200 length: GET /a", "open"]);
    check(
        "\nPOST /p HTTP/1.1\nHost: a\r\nContent-Length: 2\n\r\nok",
        &["200 length: POST /p 2 [ok]", "open"],
    );
    let chunked = "POST /p HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n";
    check(&format!("{chunked}1\r\na\r\n0\r\n\r\n"), &["200 length: POST /p 1 [a]", "open"]);
    let expected = &["400 length close: the chunked coding is broken", "closed"];
    check(&format!("{chunked}1\na\r\n0\r\n\r\n"), expected);
    check(&format!("{chunked}1\r\na\n0\r\n\r\n"), expected);
    let expected = &["400 length close: the trailer section is malformed", "closed"];
    check(&format!("{chunked}0\r\n\n"), expected);
}

#[test]
fn trap_fields_of_a_failed_head_are_never_read() {
    // The slots of httparse look filled after its error; one of them would be a Host field.
    check(&get("X: a\0b\r\n"), &["400 length close: the head of the request is malformed", "closed"]);
    check(
        &get("X\r\nContent-Length: 3\r\n"),
        &["400 length close: the head of the request is malformed", "closed"],
    );
}

#[test]
fn trap_head_does_not_end_where_the_buffer_ends() {
    let input =
        post("Content-Length: 4\r\n", "\r\n\r\n") + &post("Content-Length: 5\r\n", "GET /") + &get("");
    check(
        &input,
        &["200 length: POST /p 4 [\r\n\r\n]", "200 length: POST /p 5 [GET /]", "200 length: GET /a", "open"],
    );
}

#[test]
fn trap_finished_and_failed_are_not_the_same() {
    check("GET /fail-midway HTTP/1.1\r\nHost: a\r\n\r\n", &["200 chunked cut: half", "closed"]);
    let ends = |target: &str, version: &str| {
        let input = format!("GET {target} HTTP/{version}\r\nHost: a\r\n\r\n");
        converse(&[input.as_bytes()], Finale::Nothing).1
    };
    assert_eq!(ends("/stream", "1.0"), Wants::Close(Farewell::Clean));
    assert_eq!(ends("/fail-midway", "1.0"), Wants::Close(Farewell::Reset));
}

#[test]
fn trap_underscores_and_proxy_never_become_variables() {
    let input = "GET /variables HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: evil\r\nX-Forwarded-For: good\r\n\
                 X-Forwarded_For: evil\r\nProxy: evil\r\nproxy: evil\r\nContent_Length: 7\r\n\r\n";
    check(input, &["200 length: HTTP_HOST=a HTTP_X_FORWARDED_FOR=good", "open"]);
}

#[test]
fn trap_failed_stream_has_no_last_chunk() {
    let (sent, _, _) = converse(&[b"GET /fail-midway HTTP/1.1\r\nHost: a\r\n\r\n"], Finale::Nothing);
    assert!(sent.ends_with(b"\r\n\r\n4\r\nhalf\r\n"));
}

#[test]
fn trap_refused_upload_is_read_on() {
    let ends = |input: String| converse(&[input.as_bytes()], Finale::Nothing).1;
    assert_eq!(ends(post("Content-Length: 101\r\n", "")), Wants::Close(Farewell::Linger));
    assert_eq!(ends(post("Transfer-Encoding: chunked\r\n", "fff\r\n")), Wants::Close(Farewell::Linger));
}

// A disk that is full

/// Has no room from this write on.
struct FullDisk {
    writes_left: usize,
}

impl Spool for FullDisk {
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(FullFile { writes_left: self.writes_left }))
    }
}

impl Disk for FullDisk {
    fn read_at(&mut self, _: &File, _: u64, _: usize, _: &mut Vec<u8>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct FullFile {
    writes_left: usize,
}

impl io::Write for FullFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for FullFile {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl io::Seek for FullFile {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

/// Feeds a conversation that has such a disk.
fn converse_with_full_disk(pieces: &[&[u8]], writes_left: usize) -> Vec<String> {
    let (now, server, limits) = (Now::default(), ServerInfo::default(), limits());
    let own_fields = ServerFields::new(&server.software, &now);
    let mut conversation = Conversation::new(now.moment);
    let mut out = OutputQueue::default();
    let mut disk = FullDisk { writes_left };
    for piece in pieces {
        let client = Client {
            connection_id: 1,
            peer: None,
            local: None,
            has_finished_sending: false,
            wake_source: &NoWake,
        };
        let mut turn = Turn {
            gateway: &mut application,
            limits: &limits,
            server: &server,
            own_fields: &own_fields,
            now,
            client,
            disk: &mut disk,
            journal: &mut NoJournal,
            life: Life::Running,
            memory: Memory::Ample,
            budget: Budget::TURN,
        };
        conversation.receive(piece, &mut turn, &mut out);
    }
    assert_eq!(conversation.wants(0, &limits), Wants::Close(Farewell::Linger));
    let sent: Vec<u8> = out.slices().flatten().copied().collect();
    read_all(&sent, &[]).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn full_disk_is_unavailable_wherever_it_fills_up() {
    let head = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n";
    let content = [b'x'; 60];
    for step in [1, 6, 15, 20, 30, 60] {
        let pieces: Vec<&[u8]> = [&head[..]].into_iter().chain(content.chunks(step)).collect();
        let in_memory = limits().body_memory_bytes_max / step;
        let writes = usize::from(in_memory > 0) + 60 / step - in_memory;
        // From the first to the one that would have completed the content.
        for writes_left in 0..writes {
            assert_eq!(
                converse_with_full_disk(&pieces, writes_left),
                ["503 length close: the server has no place for the content"],
                "in steps of {step}, after {writes_left} writes"
            );
        }
    }
}

#[test]
fn time_out_of_a_kept_connection_says_nothing() {
    let mut hand = ByHand::new(application);
    hand.receive(get("").as_bytes());
    assert!(!hand.transmit_all().is_empty());
    hand.pass(hand.limits.idle_timeout - Duration::from_nanos(1));
    assert_eq!(hand.wants(), Wants::Read);
    hand.pass(Duration::from_nanos(1));
    assert_eq!((hand.transmit_all(), hand.wants()), (Vec::new(), Wants::Close(Farewell::Clean)));
}
