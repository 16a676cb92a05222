//! Drives whole conversations without a socket: bytes in, bytes out, and whether the connection lives on.
//!
//! [`check`] feeds a message whole, byte by byte, and cut in two at every place, and it must come out
//! the same each time: where a read happens to end is nobody's business. The [`application`] answers
//! with method, target and content of the request, so a response shows what it has seen; an expectation
//! is one line a response (`200 length: GET /a`), and at last the fate of the connection: `open`,
//! `waiting` (for the rest of a request that has begun) or `closed`. Limits are small, so that what is
//! beyond them can be read in a test.

use std::{io, mem};

use tidegate::conversation::{ByHand, Wants};
use tidegate::gateway::{BodyStream, Piece};
use tidegate::limits::Limits;
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

use super::response::{Response, read_all};

/// The most rounds in which a conversation may say that it could go on at once: more than any message here
/// needs.
const ROUNDS_MAX: usize = 100_000;

pub fn limits() -> Limits {
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
pub fn application(
    environ: &mut Environ<'_>,
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    let path = environ.path().to_string();
    match path.as_str() {
        "/stream" => start_response.status(200).pieces(["ab", "", "cd"]),
        "/204" | "/205" | "/304" => start_response.status(path[1..].parse()?).send("ignored"),
        "/304-of-7" => start_response.status(304).field("Content-Length", "7").finish(),
        "/204-of-7" => start_response.status(204).field("Content-Length", "7").finish(),
        "/close" => start_response.status(200).field("Connection", "close").send("bye"),
        "/own-date" => start_response.status(200).field("Date", environ.query()).send("late"),
        "/fail" => Err(GatewayError::new("on purpose")),
        "/trailers" => start_response.status(200).send(trailers(environ)),
        "/trailing" => {
            start_response.status(200).field("Trailer", "X-Sum").stream(Trailing::new(environ.query()))
        }
        "/trailing-of-4" => {
            start_response.status(200).field("Content-Length", "4").stream(Trailing::new("X-Sum"))
        }
        "/fail-midway" => start_response.status(200).stream(FailsMidway(0)),
        "/variables" => start_response.status(200).send(client_variables(environ)),
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
fn client_variables(environ: &Environ<'_>) -> String {
    let from_client = environ.variables().filter(|(name, _)| name.starts_with("HTTP_"));
    let text = from_client.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)));
    text.collect::<Vec<_>>().join(" ")
}

/// Shows name and value of every trailer field.
fn trailers(environ: &Environ<'_>) -> String {
    let text =
        environ.trailers().iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)));
    text.collect::<Vec<_>>().join(" ")
}

/// Four bytes of content, and after them a trailer field of this name.
struct Trailing {
    name: String,
    has_content: bool,
}

impl Trailing {
    fn new(name: &str) -> Trailing {
        Trailing { name: name.to_string(), has_content: true }
    }
}

impl BodyStream for Trailing {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(if mem::take(&mut self.has_content) { Piece::Data(b"abcd") } else { Piece::End })
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        vec![("ETag".to_string(), b"\"t\"".to_vec()), (self.name.clone(), b"4".to_vec())]
    }
}

struct FailsMidway(u8);

impl BodyStream for FailsMidway {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        self.0 += 1;
        match self.0 {
            1 => Ok(Piece::Data(b"half")),
            _ => Err(GatewayError::new("on purpose")),
        }
    }
}

/// The last event once all bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finale {
    Nothing,
    /// The client ends its side.
    End,
    /// Nothing more comes, until the deadline.
    Silence,
}

/// One request as the gateway saw it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub variables: Vec<(String, Vec<u8>)>,
}

impl Call {
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        self.variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }
}

/// A conversation that is over, or waits for more.
pub struct Conversed {
    /// All bytes that were sent back.
    pub sent: Vec<u8>,
    pub wants: Wants,
    pub is_idle: bool,
    pub calls: Vec<Call>,
}

/// Takes everything that a conversation has to send, as long as it can go on without more bytes.
pub fn transmit_all(hand: &mut ByHand<impl Gateway>) -> Vec<u8> {
    let mut all = hand.transmit();
    for _ in 0..ROUNDS_MAX {
        let (Wants::Turn | Wants::Write) = hand.wants() else {
            return all;
        };
        hand.advance();
        all.extend(hand.transmit());
    }
    panic!("goes on and on, and gets nowhere");
}

/// Feeds all of these pieces: bytes after a refusal must find nobody listening.
pub fn converse(pieces: &[&[u8]], finale: Finale) -> Conversed {
    let mut calls = Vec::new();
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let variables = environ.variables().map(|(name, value)| (name.into_owned(), value.into_owned()));
        calls.push(Call { method: environ.method().as_str().to_string(), variables: variables.collect() });
        application(environ, start_response)
    };
    let mut hand = ByHand::new(gateway);
    hand.context.limits = limits();
    let mut sent = Vec::new();
    for piece in pieces {
        hand.receive(piece);
        sent.extend(transmit_all(&mut hand));
    }
    match finale {
        Finale::Nothing => {}
        Finale::End => hand.receive_end(),
        Finale::Silence => {
            if let Some(deadline) = hand.deadline() {
                hand.pass(deadline.since(Moment::START));
            }
        }
    }
    sent.extend(transmit_all(&mut hand));
    let (wants, is_idle) = (hand.wants(), hand.is_idle());
    drop(hand);
    Conversed { sent, wants, is_idle, calls }
}

impl Conversed {
    /// Reads all responses strictly.
    pub fn responses(&self) -> Vec<Response> {
        let methods: Vec<&str> = self.calls.iter().map(|call| call.method.as_str()).collect();
        read_all(&self.sent, &methods).expect("responses by the book")
    }

    /// Tells the fate of the connection.
    pub fn fate(&self) -> &'static str {
        match self.wants {
            Wants::Read if self.is_idle => "open",
            Wants::Read | Wants::ReadOrWrite => "waiting",
            Wants::Close(_) => "closed",
            Wants::Write | Wants::Application | Wants::Turn => "stuck",
        }
    }

    /// Returns the final responses: whether an interim one is sent may depend on where a read ends.
    pub fn finals(&self) -> Vec<Response> {
        self.responses().into_iter().filter(|response| response.code >= 200).collect()
    }

    /// Tells one line a response, and the fate of the connection; rules for all responses are checked.
    pub fn told(&self) -> Vec<String> {
        let finals = self.finals();
        let answered = finals.iter().filter(|response| !is_refusal(response)).count();
        assert_eq!(answered, self.calls.len(), "one response for each call: {finals:?}");
        finals.iter().for_each(check_every_response);
        finals.iter().map(ToString::to_string).chain([self.fate().to_string()]).collect()
    }
}

/// Whether this is a response of the server's own, to something that is no request.
fn is_refusal(response: &Response) -> bool {
    response.code >= 400 && response.code != 500
}

/// Checks the rules for all responses, and for all errors.
fn check_every_response(response: &Response) {
    let date = response.field("Date").expect("a date in every response (RFC 9110 §6.6.1)");
    assert!(date.ends_with(" GMT") || date == "x", "{date}");
    assert!(response.field("Server").is_some_and(|server| server.starts_with("tidegate/")));
    if response.code >= 400 {
        assert!(response.says_close(), "{response:?}");
        assert!(response.field("Content-Length").is_some() && !response.reason.is_empty(), "{response:?}");
        let starts_with = format!("{} {}", response.code, response.reason);
        assert!(response.content.is_empty() || response.text().starts_with(&starts_with));
    }
}

/// Returns [`Conversed::told`] of these pieces.
pub fn told(pieces: &[&[u8]], finale: Finale) -> Vec<String> {
    converse(pieces, finale).told()
}

/// Feeds a message in every way, and lets `verify` look at each; it is told which way it was.
pub fn in_every_cut(bytes: &[u8], finale: Finale, mut verify: impl FnMut(Conversed, &str)) {
    let text = bytes.escape_ascii().to_string();
    verify(converse(&[bytes], finale), &format!("whole: {text}"));
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    verify(converse(&single, finale), &format!("byte by byte: {text}"));
    for at in 1..bytes.len() {
        verify(converse(&[&bytes[..at], &bytes[at..]], finale), &format!("cut at {at}: {text}"));
    }
}
