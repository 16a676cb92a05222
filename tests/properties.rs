//! Properties of all messages, tried on random and mutated ones.
//!
//! Each case is a stream of bytes made from a seed: requests put together of good and bad parts, some of
//! them mutated, cut off, or followed by more. It is fed whole, byte by byte, and in random pieces, and
//! then:
//!
//! 1. wherever reads end, the result is the same;
//! 2. every stream is answered, refused or waited for as a [second reader](support::naive) says that
//!    was written from the standard, and never stuck;
//! 3. what the gateway saw, encoded again in the one unambiguous way, is the same request to that
//!    reader and to the server;
//! 4. nothing that follows a refusal reaches the gateway;
//! 5. the output is one well-formed response for each request, in order, and no byte of the input has
//!    become part of its structure.
//!
//! A failure prints its seed; `PROPERTY_SEED` runs that one alone. `PROPERTY_CASES` sets how many are
//! run, and `PROPERTY_FIRST` with which seed they begin.

mod support;

use std::env;
use std::io::Read;
use std::panic;

use support::driver::{limits, transmit_all};
use support::naive::{self, End, Request, encode, plain, read_stream};
use support::random::Random;
use support::response::{Framing, Response, read_all};
use tidegate::conversation::{ByHand, Wants};
use tidegate::limits::Limits;
use tidegate::message::{Method, RequestTarget, Version, is_field_value};
use tidegate::{Body, Environ, GatewayError, StartResponse};

/// The number of cases: about ten seconds of a debug build.
const CASES: u64 = 6_000;
/// Bytes that follow a refusal, and must find nobody.
const AFTER: &[u8] = b"\r\n\r\n\n0\r\n\r\nGET /after HTTP/1.1\r\nHost: a\r\n\r\n";

// The application, and what it saw

/// Shows the client its own path in a field, and the rest in the content.
fn application(
    environ: &mut Environ<'_>,
    start_response: StartResponse<'_>,
    seen: &mut Vec<Request>,
) -> Result<Body, GatewayError> {
    let request = request_of(environ)?;
    let path = environ.get("PATH_INFO").unwrap_or_default();
    let head = start_response.status(200).field("X-Path", String::from_utf8_lossy(&path).as_bytes());
    let content = digest(&request);
    let streams = request.target.contains("stream");
    seen.push(request);
    if streams {
        head.pieces(content.into_bytes().chunks(7).map(<[u8]>::to_vec).collect::<Vec<_>>())
    } else {
        head.send(content)
    }
}

fn request_of(environ: &mut Environ<'_>) -> Result<Request, GatewayError> {
    let mut content = Vec::new();
    environ.content().read_to_end(&mut content)?;
    let fields = environ.fields().iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect();
    Ok(Request {
        method: environ.method().as_str().to_string(),
        target: String::from_utf8(environ.get("REQUEST_URI").unwrap_or_default().into_owned())?,
        minor: u8::from(environ.version() == Version::Http11),
        fields,
        content: environ.content_length().map(|_| content),
    })
}

fn digest(request: &Request) -> String {
    let content = request.content.as_ref().map(|content| content.escape_ascii().to_string());
    format!("{} {} {:?}", request.method, request.target, content)
}

/// Whether the decoded path contains a control character: it cannot stand in a field, so the answer is a 500.
fn fails(request: &Request) -> bool {
    let target = request.target.split('?').next().unwrap_or_default();
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => target,
    };
    path.split('%').skip(1).any(|after| match u8::from_str_radix(&after[..2], 16) {
        Ok(byte) => byte != b'\t' && (byte < b' ' || byte == 0x7f),
        Err(_) => false,
    })
}

/// Whether the response closes the connection: because it is a 500, or has no other end.
fn closes(request: &Request) -> bool {
    let is_open_ended = request.minor == 0 && request.target.contains("stream") && request.method != "HEAD";
    fails(request) || is_open_ended
}

// Feeding

/// The result of feeding a stream.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    seen: Vec<Request>,
    /// The final responses: whether an interim one is sent may depend on where a read ends.
    finals: Vec<Response>,
    is_closed: bool,
}

fn feed(pieces: &[&[u8]], has_ended: bool, limits: &Limits) -> Outcome {
    let mut seen = Vec::new();
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        application(environ, start_response, &mut seen)
    };
    let mut hand = ByHand::new(gateway);
    hand.context.limits = limits.clone();
    let mut sent = Vec::new();
    for piece in pieces {
        hand.receive(piece);
        sent.extend(transmit_all(&mut hand));
    }
    if has_ended {
        hand.receive_end();
        sent.extend(transmit_all(&mut hand));
    }
    let is_closed = match hand.wants() {
        Wants::Read => false,
        Wants::Close(_) => true,
        stuck => panic!("stuck, and wants {stuck:?}"),
    };
    if is_closed {
        hand.receive(AFTER);
        assert!(transmit_all(&mut hand).is_empty(), "something was said after the end");
    }
    drop(hand);
    let finals = read_responses(&sent, &seen);
    Outcome { seen, finals, is_closed }
}

/// Reads all final responses strictly. A refused HEAD is the one case in which the reader must be told.
fn read_responses(sent: &[u8], seen: &[Request]) -> Vec<Response> {
    let mut methods: Vec<&str> = seen.iter().map(|request| request.method.as_str()).collect();
    let read =
        |methods: &[&str]| read_all(sent, methods).ok().filter(|all| all.iter().all(|one| !one.is_cut));
    let responses = read(&methods).or_else(|| {
        methods.push("HEAD");
        read(&methods)
    });
    let responses = responses.unwrap_or_else(|| panic!("not by the book: {}", sent.escape_ascii()));
    for response in &responses {
        check_structure(response);
    }
    responses.into_iter().filter(|response| response.code >= 200).collect()
}

/// Asserts that a response consists of what server and application have put there.
fn check_structure(response: &Response) {
    let known =
        ["Server", "Date", "Connection", "Content-Length", "Transfer-Encoding", "Content-Type", "X-Path"];
    if response.code == 100 {
        assert!(response.fields.is_empty(), "{response:?}");
        return;
    }
    for (name, _) in &response.fields {
        assert!(known.contains(&name.as_str()), "{name:?} in {response:?}");
    }
    assert_eq!(response.field("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(response.field("X-Path").is_some(), response.code == 200, "{response:?}");
}

// The properties

fn check(seed: u64) {
    let random = &mut Random::new(seed);
    let limits = limits();
    let stream = make_stream(random);
    let has_ended = random.one_in(4);
    let whole = feed(&[&stream], has_ended, &limits);

    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(feed(&single, has_ended, &limits), whole, "byte by byte");
    for _ in 0..4 {
        let pieces = cut(random, &stream);
        assert_eq!(feed(&pieces, has_ended, &limits), whole, "in pieces: {pieces:?}");
    }

    let (requests, end) = read_stream(&stream, has_ended, &limits, closes);
    assert_eq!(whole.seen, requests, "what the gateway saw, and what there is to be seen");
    assert_eq!(whole.is_closed, end != End::Open, "{end:?}");
    check_responses(&whole, &requests, &end);
    requests.iter().for_each(check_unambiguous);
}

/// Asserts that there is one response for each request, in order, and at last the refusal.
fn check_responses(outcome: &Outcome, requests: &[Request], end: &End) {
    let (answers, rest) = outcome.finals.split_at_checked(requests.len()).expect("an answer for each");
    for (answer, request) in answers.iter().zip(requests) {
        if fails(request) {
            assert_eq!(answer.code, 500, "{request:?}");
            continue;
        }
        let expected = if request.method == "HEAD" { String::new() } else { digest(request) };
        assert_eq!((answer.code, answer.text()), (200, expected));
        assert_eq!(answer.framing == Framing::UntilClose, closes(request));
    }
    match (end, rest) {
        (End::Refused(codes), [refusal]) => {
            assert!(codes.contains(&refusal.code), "{} is none of {codes:?}", refusal.code);
            assert!(refusal.says_close());
        }
        (End::Open | End::Closed, []) => {}
        _ => panic!("{end:?}, and {rest:?}"),
    }
}

/// Asserts that a request, as the gateway saw it, is the same however it is encoded.
fn check_unambiguous(request: &Request) {
    let limits = Limits::default();
    let encoded = encode(request);
    let (read, _) = read_stream(&encoded, false, &limits, |_| false);
    assert_eq!(read.iter().map(plain).collect::<Vec<_>>(), [plain(request)]);
    let again = feed(&[&encoded], false, &limits);
    assert_eq!(again.seen.iter().map(plain).collect::<Vec<_>>(), [plain(request)]);
}

/// Pieces of any length, some of them empty.
fn cut<'s>(random: &mut Random, stream: &'s [u8]) -> Vec<&'s [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), stream);
    let longest = 1 + random.below(rest.len() + 1);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(random.below(longest + 1).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

// Making streams

/// Bytes that mean something to one reader or another.
const TELLING: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\n\r\n",
    b"\r\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"\0",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3\xa9",
    b"%",
    b"%0d%0a",
    b"%00",
    b"#",
    b"?",
    b"/",
    b"*",
    b"\"",
    b"+",
    b"-",
    b"0x",
    b"_",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"chunked",
    b"close",
    b"Host: b\r\n",
    b"\r\n ",
    b"GET / HTTP/1.1\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff",
    b"1",
    b"9",
];

/// Fields that say once more, or otherwise, how long the content is.
const SECOND_FRAMINGS: &[&str] = &[
    "Content-Length: 5",
    "content-length:0",
    "Transfer-Encoding: chunked",
    "transfer-ENCODING:\tChunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: ,",
    "Transfer-Encoding : chunked",
    "Transfer_Encoding: chunked",
    "Content-Length: 5\n",
];

/// Requests, most of them good up to a point.
fn make_stream(random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    if random.one_in(20) {
        for _ in 0..random.below(40) {
            stream.extend_from_slice(random.pick(TELLING));
        }
        return stream;
    }
    // Of one in three every part is good, so that what follows is reached.
    let badness = [usize::MAX, 12, 40][random.below(3)];
    for _ in 0..=random.below(4) {
        make_request(random, badness, &mut stream);
    }
    if random.one_in(2) {
        for _ in 0..=random.below(3) {
            mutate(random, &mut stream);
        }
    }
    stream
}

/// Chooses one of the good parts, or now and then of the bad ones.
fn choose<'p>(random: &mut Random, badness: usize, good: &[&'p str], bad: &[&'p str]) -> &'p str {
    if badness != usize::MAX && random.one_in(badness) { random.pick(bad) } else { random.pick(good) }
}

fn make_request(random: &mut Random, badness: usize, stream: &mut Vec<u8>) {
    let methods =
        ["GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "get", "A!#$%&'*+-.^_`|~9"];
    let method =
        choose(random, badness, &methods, &["", "G(T", "CONNECT", " GET", "\tGET", "G\u{e9}T", "GET "]);
    let targets = [
        "/",
        "/a",
        "/stream",
        "/a?b=c",
        "/%41%2f..",
        "/a%0d%0aX:%20b",
        "/%c3%a9",
        "/../b",
        "//",
        "/a%09b",
        "http://b/x",
        "HTTP://b.example:8080?q",
        "https://[::1]",
        "/a?%zz&stream",
        "/{|}^`\"<>[]?\\",
    ];
    let bad = [
        "",
        "*",
        "a",
        "/#",
        "/%",
        "/%0",
        "/%00",
        "/\u{e9}",
        "http://",
        "http://u@b/",
        "/a b",
        "/a\\b",
        "ftp://b/",
        "b:80",
        "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
    ];
    let target =
        if method == "OPTIONS" && random.one_in(2) { "*" } else { choose(random, badness, &targets, &bad) };
    let padding = if random.one_in(12) { "a".repeat(60 + random.below(40)) } else { String::new() };
    let version = choose(
        random,
        badness,
        &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
        &["HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.10", "HTTP/1.1 ", "", "HTTP/1."],
    );
    let end = |random: &mut Random| {
        choose(random, badness, &["\r\n", "\r\n", "\n"], &["\r", "\r\r\n", " \r\n", ""])
    };
    let too_many = "\n".repeat(101);
    let bad = ["\r", "\r\r\n", " \r\n", &too_many];
    let blank_line = choose(random, badness, &["", "", "", "\r\n", "\n\r\n", &too_many[1..]], &bad);
    let mut head = format!("{blank_line}{method} {target}{padding} {version}{}", end(random));
    let hosts =
        ["Host: a", "host:b.example:80", "HOST: [::1]", "Host: ", "Host: [1:2::127.0.0.1]:1", "Host: [v1.:]"];
    let bad = [
        "Host: a b",
        "Host: u@a",
        "X: y",
        "Host: a\r\nHost: a",
        "Host : a",
        "Host: a%zz",
        "Host: a:b",
        "Host: [zz]",
        "Host: [::1%25a]",
        "Host: [v1]",
    ];
    head += choose(random, badness, &hosts, &bad);
    head += end(random);
    for _ in 0..random.below(4) {
        head += make_field(random, badness);
        head += end(random);
    }
    if random.one_in(8) {
        head += random.pick(SECOND_FRAMINGS);
        head += end(random);
    }
    if random.one_in(12) {
        // To where the limit of a head is, more or less.
        head += &format!("X: {}", "y".repeat(220 + random.below(200)));
        head += end(random);
    }
    stream.extend_from_slice(head.as_bytes());
    let end = end(random);
    make_content(random, badness, end, stream);
}

fn make_field(random: &mut Random, badness: usize) -> &'static str {
    let good = [
        "X: y",
        "X:",
        "x-y:\t z \t",
        "X_Y: evil",
        "Proxy: evil",
        "Cookie: a=1; b",
        "Accept: */*",
        "Connection: keep-alive",
        "Connection: TE, keep-alive",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Keep-Alive: timeout=5",
        "X: \u{e9}\u{80}",
        "TE: trailers",
        "Trailer: X",
        "Content-Type: text/plain",
    ];
    let bad = [
        "Connection: close",
        "Connection: x,CLOSE",
        "X : y",
        " X: y",
        "X",
        ": y",
        "X: a\rb",
        "X: a\0b",
        "X: y\r\n folded",
        "X\u{e9}: y",
        "Expect: x",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding:",
        "A: 0123456789012345678901234567890123456789012345678901234567890123456789",
        "X: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y",
    ];
    choose(random, badness, &good, &bad)
}

/// Makes the framing, the end of the head, and the content that it promises, or something else.
fn make_content(random: &mut Random, badness: usize, end: &str, stream: &mut Vec<u8>) {
    let content: Vec<u8> =
        (0..random.below(30)).flat_map(|_| random.pick(TELLING).iter().copied().take(3)).collect();
    match random.below(3) {
        0 => stream.extend_from_slice(b"\r\n"),
        1 => {
            let length = content.len().to_string();
            let bad = [
                "+5",
                "-1",
                "5, 5",
                "0x5",
                "",
                "5 5",
                "101",
                "99999999999999999999999999",
                "5\r\nContent-Length: 5",
            ];
            let length = choose(random, badness, &[&length], &bad);
            stream.extend_from_slice(format!("Content-Length: {length}{end}\r\n").as_bytes());
            stream.extend_from_slice(&content);
        }
        _ => {
            let codings = ["chunked", "CHUNKED", "\tchunked ,"];
            let bad = [
                "chunked, gzip",
                "gzip, chunked",
                "identity",
                "chunked, chunked",
                "\u{b}chunked",
                "chunked;q=1",
            ];
            let coding = choose(random, badness, &codings, &bad);
            stream.extend_from_slice(format!("Transfer-Encoding:{coding}{end}\r\n").as_bytes());
            make_chunks(random, badness, &content, stream);
        }
    }
}

const BAD_EXTENSIONS: [&str; 10] =
    [" ;x", ";\0", ";\r", ";x\u{7f}", ";", ";x ", ";x=", ";x=y z", ";bad[=x", ";x=\"open"];

fn make_chunks(random: &mut Random, badness: usize, content: &[u8], stream: &mut Vec<u8>) {
    let bad_ends = ["\n", "\r", "", " \r\n", ";\n", "\r\n\r\n"];
    let mut rest = content;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(1 + random.below(rest.len()));
        rest = behind;
        let size = match random.below(4) {
            0 => format!("{:X}", chunk.len()),
            1 => format!("000{:x}", chunk.len()),
            _ => format!("{:x}", chunk.len()),
        };
        let size = choose(
            random,
            badness,
            &[&size],
            &["", "+1", "0x1", "1 ", " 1", "g", "fff", "00000000000000001"],
        );
        let extension =
            choose(random, badness, &["", "", ";x", ";x=\"y;\\\"\"", "; x\t= y ;z"], &BAD_EXTENSIONS);
        let end = choose(random, badness, &["\r\n"], &bad_ends);
        stream.extend_from_slice(format!("{size}{extension}{end}").as_bytes());
        stream.extend_from_slice(chunk);
        stream.extend_from_slice(choose(random, badness, &["\r\n"], &bad_ends).as_bytes());
    }
    let trailers = ["", "", "A: b\r\n", "Host: evil\r\nContent-Length: 5\r\n"];
    let bad = ["A: b\n", "A : b\r\n", "bad\r\n", " A: b\r\n", "A: \0\r\n", ": b\r\n", "\n"];
    let last = choose(
        random,
        badness,
        &["0\r\n", "000\r\n", "0;x\r\n"],
        &["0\n", "\r\n", "00000000000000000\r\n", "0 \r\n"],
    );
    let trailer = choose(random, badness, &trailers, &bad);
    stream.extend_from_slice(format!("{last}{trailer}\r\n").as_bytes());
}

/// Makes one change, anywhere.
fn mutate(random: &mut Random, stream: &mut Vec<u8>) {
    let at = random.below(stream.len() + 1);
    let end = (at + 1 + random.below(8)).min(stream.len());
    match random.below(7) {
        0 => stream.truncate(at),
        1 => drop(stream.splice(at..at, random.pick(TELLING).iter().copied())),
        2 => drop(stream.splice(at..end, random.pick(TELLING).iter().copied())),
        3 => drop(stream.drain(at..end)),
        4 => {
            let copied = stream[at..end].to_vec();
            let to = random.below(stream.len() + 1);
            stream.splice(to..to, copied);
        }
        5 if at < stream.len() => stream[at] = random.next() as u8,
        _ if at < stream.len() => stream[at] ^= 1 << random.below(8),
        _ => {}
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn random_streams_are_read_in_one_way_and_no_other() {
    let first = number("PROPERTY_SEED").or(number("PROPERTY_FIRST")).unwrap_or(0);
    let count = number("PROPERTY_SEED").map(|_| 1).or(number("PROPERTY_CASES")).unwrap_or(CASES);
    for seed in first..first + count {
        if let Err(cause) = panic::catch_unwind(|| check(seed)) {
            let stream = make_stream(&mut Random::new(seed));
            eprintln!("PROPERTY_SEED={seed}: {}", stream.escape_ascii());
            panic::resume_unwind(cause);
        }
    }
}

/// The streams are worth something only if all kinds of ends are frequent among them.
#[test]
fn random_streams_end_in_every_way() {
    let (mut answered, mut open, mut closed, mut codes) = (0, 0, 0, std::collections::BTreeMap::new());
    for seed in 0..3000 {
        let stream = make_stream(&mut Random::new(seed));
        let (requests, end) = naive::read_stream(&stream, false, &limits(), closes);
        answered += requests.len();
        match end {
            End::Open => open += 1,
            End::Closed => closed += 1,
            End::Refused(refused) => *codes.entry(refused[0]).or_insert(0) += 1,
        }
    }
    assert!(answered > 1000 && open > 250 && closed > 150, "{answered} {open} {closed}");
    for code in [400, 411, 413, 414, 417, 431, 501, 505] {
        assert!(codes.get(&code).is_some_and(|count| *count >= 3), "{code} in {codes:?}");
    }
}

/// Values and targets are looked at eight bytes at a time: it must not matter where a byte stands, or what
/// stands around it.
#[test]
fn byte_means_the_same_wherever_it_stands_in_a_value_or_a_target() {
    for length in 0..27 {
        for (at, byte) in (0..length).flat_map(|at| (0..=255).map(move |byte: u8| (at, byte))) {
            for around in [b'a', b' ', b'\t', 0xff] {
                let mut value = vec![around; length];
                value[at] = byte;
                let is_good = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
                assert_eq!(is_field_value(&value), is_good, "{}", value.escape_ascii());
            }
            // `!` is taken for what a target is searched for at the first look, and `'` is not.
            for around in ["a", "'", "!"] {
                let raw = format!("/{}{}{}", around.repeat(at), char::from(byte), around.repeat(length - at));
                let target = RequestTarget::parse(Method::GET, &raw);
                let parts = target.map(|target| (target.raw_path(), target.query())).ok();
                let expected = match byte {
                    b'?' => Some((&raw[..=at], Some(&raw[at + 2..]))),
                    b'%' | b'#' | b'\\' | 0x80.. if around != "a" || byte != b'%' || length - at < 2 => None,
                    // `%aa` is an escape.
                    _ => Some((&raw[..], None)),
                };
                assert_eq!(parts, expected, "{raw}");
            }
        }
    }
}
