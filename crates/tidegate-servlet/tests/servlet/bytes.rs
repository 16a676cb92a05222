//! Probes what is not quite a request of HTTP/1.1, byte by byte as it is sent.

use super::probe::{Check, Probe, answers, checks};
use super::served::Served;

/// A name, the bytes of a request, and the answer in one line.
type Bytes = (&'static str, &'static [u8], &'static str);

pub fn probes() -> impl Iterator<Item = Probe> {
    let rows = BYTES.iter().map(|(name, bytes, expected)| Probe {
        name,
        see: Box::new(move |served| say(served, bytes)),
        expected: Some(expected.to_string()),
    });
    rows.chain(checks(CHECKS))
}

/// Sends bytes, and says what comes.
fn say(served: &Served, bytes: &[u8]) -> String {
    let mut client = served.connect();
    // It may be refused before it was taken whole.
    let _ = client.try_send(bytes);
    answers(&mut client, "GET")
}

const BYTES: &[Bytes] = &[
    ("line with two blanks", b"GET  /probe/respond/short  HTTP/1.1\r\nHost: a\r\n\r\n", "400 length: page of 400"),
    ("line with tabs", b"GET\t/probe/respond/short\tHTTP/1.1\r\nHost: a\r\n\r\n", "400 length: page of 400"),
    ("line of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 length close: page of 505"),
    ("line of another method", b"G@T /probe/respond/short HTTP/1.1\r\nHost: a\r\n\r\n", "400 length: page of 400"),
    (
        "line after empty ones",
        b"\r\n\r\nGET /probe/respond/short HTTP/1.1\r\nHost: a\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: short",
    ),
    (
        "lines that end in LF",
        b"GET /probe/respond/short HTTP/1.1\nHost: a\n\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: short",
    ),
    (
        "target with brackets and braces",
        b"GET /probe/show/a[b]{c}|d?x=[1]{2}|3\"<> HTTP/1.1\r\nHost: a\r\nX-Show: uri query\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: /probe/show/a[b]{c}|d | x=[1]{2}|3\"<>",
    ),
    ("target with a fragment", b"GET /probe/show/a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 length: page of 400"),
    ("target that is not ASCII", b"GET /probe/show/\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "400 length: page of 400"),
    ("target with an encoded slash", b"GET /probe/show/a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", "400 length: page of 400"),
    ("target with an encoded NUL", b"GET /probe/show/a%00b HTTP/1.1\r\nHost: a\r\n\r\n", "400 length: page of 400"),
    ("host that is missing", b"GET /probe/show/ HTTP/1.1\r\n\r\n", "400 length: page of 400"),
    (
        "host without a name",
        b"GET /probe/show/ HTTP/1.1\r\nHost:\r\nX-Show: host\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: localhost",
    ),
    (
        "host with an underscore",
        b"GET /probe/show/ HTTP/1.1\r\nHost: a_b\r\nX-Show: host\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a_b",
    ),
    (
        "host with two dots",
        b"GET /probe/show/ HTTP/1.1\r\nHost: a..b\r\nX-Show: host\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a..b",
    ),
    ("host with a user", b"GET /probe/show/ HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 length: page of 400"),
    (
        "host with an empty port",
        b"GET /probe/show/ HTTP/1.1\r\nHost: a:\r\nX-Show: host port\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a | 80",
    ),
    (
        "host with a port of ten digits",
        b"GET /probe/show/ HTTP/1.1\r\nHost: a:0000000080\r\nX-Show: host port\r\n\r\n",
        "400 length: page of 400",
    ),
    ("field with a CR alone", b"GET /probe/show/ HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "400 length: page of 400"),
    ("field with a NUL", b"GET /probe/show/ HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "400 length: page of 400"),
    ("field that has no name", b"GET /probe/show/ HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "400 length: page of 400"),
    ("field that has no colon", b"GET /probe/show/ HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n", "400 length: page of 400"),
    (
        "chunks whose lines end in LF",
        b"POST /probe/content/sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        "400 length: page of 400",
    ),
    (
        "chunks to a server of 1996",
        b"POST /probe/content/sum HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "400 length: page of 400",
    ),
    (
        "chunks twice over",
        b"POST /probe/content/sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "400 length: page of 400",
    ),
    (
        "coding that is none",
        b"POST /probe/content/sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
        "400 length: page of 400",
    ),
    (
        "length said twice",
        b"POST /probe/content/sum HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "400 length: page of 400",
    ),
    (
        "length with a sign",
        b"POST /probe/content/sum HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        "400 length: page of 400",
    ),
];

const CHECKS: &[Check] = &[
    ("line without a version", without_version, "HTTP/1.1 400"),
    (
        "head of nine thousand bytes",
        |served| say(served, &head(&format!("X: {}\r\n", "a".repeat(9_000)), "")),
        "200 length {Content-Type: text/plain;charset=UTF-8}: short",
    ),
    (
        "target of nine thousand bytes",
        |served| say(served, &head("", &"a".repeat(9_000))),
        "414 length: page of 414",
    ),
    (
        "fields beyond a hundred",
        |served| say(served, &head(&"X: a\r\n".repeat(101), "")),
        "431 length close: page of 431",
    ),
    ("chunk with a long extension", long_extension, "400 length: page of 400"),
];

/// The answer to a request of 1991 has no head; this says how it begins.
fn without_version(served: &Served) -> String {
    let mut client = served.connect();
    client.send("GET /probe/respond/short\r\n\r\n");
    let (answer, _) = client.read_to_end();
    String::from_utf8_lossy(&answer).chars().take("HTTP/1.1 400".len()).collect()
}

fn head(fields: &str, query: &str) -> Vec<u8> {
    format!("GET /probe/respond/short?{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn long_extension(served: &Served) -> String {
    let chunk = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(5_000));
    say(
        served,
        format!("POST /probe/content/sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}")
            .as_bytes(),
    )
}
