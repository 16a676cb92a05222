//! A gateway that fetches its answers from another HTTP server, on the event loop and without a thread.
//!
//! ```text
//! cargo run --release --example fetch 127.0.0.1:8080
//! curl -i http://127.0.0.1:8000/
//!
//! connecting ─▶ sending ─▶ reading the head ─▶ drawing the content
//!  └───────────────┴──────────────┴─ 502, 503, 504  └─ broken off
//! ```
//!
//! Each request has a connection of its own to the other server, whose socket the loop watches. It speaks HTTP/1.0, as nginx
//! does to those behind it by default, so the content ends with its length or with the connection. Whatever the other
//! server does, or does not do, is bounded. A client that has ended its side may still read its answer, and is fetched for;
//! one that is known to be gone takes the fetch with it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use tidegate::gateway::{BodyStream, Interest, Later, Piece, ResponseHead, Watched};
use tidegate::message::Method;
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, Server, StartResponse};

#[cfg_attr(test, allow(dead_code))]
fn main() -> io::Result<()> {
    let Some(upstream) = std::env::args().nth(1).and_then(|address| address.parse().ok()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "call it with IP:PORT of the other server"));
    };
    println!("Fetching from http://{upstream}/ for http://127.0.0.1:8000/ (Ctrl-C stops)");
    let server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
    server.run(Fetch { upstream, bounds: Bounds::default() })
}

/// How long the other server may take, and how much it may say.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest time until it accepts. 3 s: a lost packet is sent again after one.
    pub connect_timeout: Duration,
    /// Longest time from the beginning until the head of its response is there. 30 s.
    pub head_timeout: Duration,
    /// Longest time from one piece of content to the next. 30 s.
    pub silence_max: Duration,
    /// Longest head. 32 KiB: as the server itself takes.
    pub head_bytes_max: usize,
    /// Longest content. 1 GiB; it is never held, only passed on.
    pub content_bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            connect_timeout: Duration::from_secs(3),
            head_timeout: Duration::from_secs(30),
            silence_max: Duration::from_secs(30),
            head_bytes_max: 32 * 1024,
            content_bytes_max: 1 << 30,
        }
    }
}

/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Most fields in a head.
const FIELDS_MAX: usize = 100;
/// Fields of the request that are passed on.
const PASSED_ON: [&str; 6] =
    ["Accept", "Accept-Encoding", "Accept-Language", "If-Modified-Since", "If-None-Match", "Range"];
/// Fields of one connection only (RFC 9110 §7.6.1), and the length, which the server says itself.
const OF_CONNECTION: [&str; 6] =
    ["Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Trailer", "Upgrade"];

/// The gateway.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    /// The other server.
    pub upstream: SocketAddr,
    /// The bounds on its time and memory.
    pub bounds: Bounds,
}

impl Gateway for Fetch {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        if ![Method::GET, Method::HEAD].contains(&environ.method()) {
            return start_response.status(405).field("Allow", "GET, HEAD").send("");
        }
        match self.begin(environ) {
            Ok(request) => Ok(start_response.later(Some(request.deadline()), request)),
            Err(failure) => failure.answer(start_response),
        }
    }
}

impl Fetch {
    fn begin(&self, environ: &Environ<'_>) -> Result<Request, Failure> {
        // The standard library has no connect that does not wait.
        let stream = TcpStream::from(mio::net::TcpStream::connect(self.upstream)?);
        let upstream = environ.watch(stream, Interest::ReadWrite)?;
        Ok(Request {
            upstream,
            stage: Stage::Connecting,
            begun: environ.now(),
            bounds: self.bounds,
            head: self.head(environ),
            is_for_head_only: environ.method() == Method::HEAD,
            received: Vec::new(),
        })
    }

    /// The head of the request to the other server.
    fn head(&self, environ: &Environ<'_>) -> Vec<u8> {
        let mut head = format!("{} {}", environ.method().as_str(), environ.raw_path()).into_bytes();
        if let Some(query) = environ.target().query() {
            head.extend_from_slice(format!("?{query}").as_bytes());
        }
        head.extend_from_slice(format!(" HTTP/1.0\r\nHost: {}\r\n", self.upstream).as_bytes());
        for name in PASSED_ON {
            if let Some(value) = environ.field(name) {
                head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        }
        head.extend_from_slice(b"Connection: close\r\n\r\n");
        head
    }
}

/// A request to the other server, until the head of its response is there.
struct Request {
    upstream: Watched<TcpStream>,
    stage: Stage,
    begun: Moment,
    bounds: Bounds,
    head: Vec<u8>,
    /// The response has no content.
    is_for_head_only: bool,
    received: Vec<u8>,
}

enum Stage {
    Connecting,
    /// This many bytes of the head have been sent.
    Sending(usize),
    Reading,
}

/// The reason why there is no answer.
enum Failure {
    /// The other server cannot be asked, or its response is none.
    Bad(String),
    /// The other server has taken too long.
    Late,
    /// No descriptor is left to ask it with.
    Busy,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => Failure::Busy,
            Some(_) | None => Failure::Bad(error.to_string()),
        }
    }
}

impl Failure {
    fn answer(self, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let (code, text) = match self {
            Failure::Bad(what) => (502, format!("502 Bad Gateway: {what}\n")),
            Failure::Late => (504, "504 Gateway Timeout\n".to_string()),
            Failure::Busy => (503, "503 Service Unavailable\n".to_string()),
        };
        start_response.status(code).field("Content-Type", "text/plain; charset=utf-8").send(text)
    }
}

impl Later for Request {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        match self.advance() {
            Ok(Some(head)) => self.answer(head, start_response),
            Ok(None) if self.deadline() > start_response.now() => {
                Ok(start_response.later_boxed(Some(self.deadline()), self))
            }
            Ok(None) => Failure::Late.answer(start_response),
            Err(failure) => failure.answer(start_response),
        }
    }

    fn held_bytes(&self) -> usize {
        self.head.len() + self.received.len()
    }
}

impl Request {
    fn deadline(&self) -> Moment {
        self.begun
            + match self.stage {
                Stage::Connecting => self.bounds.connect_timeout,
                Stage::Sending(_) | Stage::Reading => self.bounds.head_timeout,
            }
    }

    /// Does whatever can be done now: the head of the response, once it is there.
    fn advance(&mut self) -> Result<Option<Head>, Failure> {
        loop {
            match self.stage {
                Stage::Connecting => {
                    if let Some(error) = self.upstream.take_error()? {
                        return Err(error.into());
                    }
                    match self.upstream.peer_addr() {
                        Ok(_) => self.stage = Stage::Sending(0),
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(None),
                        Err(error) => return Err(error.into()),
                    }
                }
                Stage::Sending(sent) if sent == self.head.len() => self.stage = Stage::Reading,
                Stage::Sending(sent) => match unless_blocked(self.upstream.write(&self.head[sent..]))? {
                    Some(count) => self.stage = Stage::Sending(sent + count),
                    None => return Ok(None),
                },
                Stage::Reading => {
                    if !self.fill()? {
                        return Ok(None);
                    }
                    if let Some(head) = self.parse()? {
                        return Ok(Some(head));
                    }
                }
            }
        }
    }

    /// Reads on. Whether there was something to read.
    fn fill(&mut self) -> Result<bool, Failure> {
        let before = self.received.len();
        self.received.resize(before + READ_BYTES, 0);
        let read = unless_blocked(self.upstream.read(&mut self.received[before..]));
        self.received.truncate(before + read.as_ref().map_or(0, |count| count.unwrap_or(0)));
        match read? {
            Some(0) => Err(Failure::Bad("the other server has ended before its head did".to_string())),
            read => Ok(read.is_some()),
        }
    }

    /// The head, if it has come.
    fn parse(&self) -> Result<Option<Head>, Failure> {
        let head = Head::parse(&self.received)?;
        let bytes = head.as_ref().map_or(self.received.len(), |head| head.bytes);
        match bytes > self.bounds.head_bytes_max {
            true => Err(Failure::Bad("the head of the response is too long".to_string())),
            false => Ok(head),
        }
    }

    /// Passes the head on; what follows it is drawn.
    fn answer(self, head: Head, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let (now, bytes_max) = (start_response.now(), self.bounds.content_bytes_max);
        if head.length.is_some_and(|length| length > bytes_max) {
            return Failure::Bad("the response is too long".to_string()).answer(start_response);
        }
        let response = head.pass_on(start_response.status(head.code));
        if self.is_for_head_only || matches!(head.code, 204 | 304) {
            return response.finish();
        }
        let (mut buffer, at) = (self.received, head.bytes);
        buffer.drain(..at);
        response.stream(Content {
            upstream: self.upstream,
            given: 0,
            filled: buffer.len(),
            buffer,
            heard: now,
            left: head.length.map_or(Left::UntilEnd { at_most: bytes_max }, Left::Length),
            silence_max: self.bounds.silence_max,
        })
    }
}

/// The head of a response.
struct Head {
    /// How long it was.
    bytes: usize,
    code: u16,
    fields: Vec<(String, Vec<u8>)>,
    length: Option<u64>,
}

impl Head {
    /// None if it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Head>, Failure> {
        let bad = |what: &str| Failure::Bad(format!("no response by the book: {what}"));
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(bytes).map_err(|error| bad(&error.to_string()))?;
        let httparse::Status::Complete(bytes) = parsed else {
            return Ok(None);
        };
        let code = response.code.filter(|code| (200..600).contains(code)).ok_or_else(|| bad("its status"))?;
        let fields: Vec<_> =
            response.headers.iter().map(|field| (field.name.to_string(), field.value.to_vec())).collect();
        let head = Head { bytes, code, fields, length: None };
        if head.values("Transfer-Encoding").next().is_some() {
            return Err(bad("HTTP/1.0 knows no Transfer-Encoding"));
        }
        let mut lengths = head.values("Content-Length");
        let length = match (lengths.next(), lengths.next()) {
            (None, _) => None,
            (Some(length), None) if length.iter().all(u8::is_ascii_digit) => {
                let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
                Some(length.ok_or_else(|| bad("its length"))?)
            }
            (Some(_), _) => return Err(bad("its length")),
        };
        drop(lengths);
        Ok(Some(Head { length, ..head }))
    }

    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        let named = self.fields.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice())
    }

    /// Adds all fields but those of the connection.
    fn pass_on<'r>(&self, mut response: ResponseHead<'r>) -> ResponseHead<'r> {
        let named: Vec<_> =
            self.values("Connection").flat_map(|value| value.split(|byte| *byte == b',')).collect();
        let is_of_connection = |name: &str| {
            OF_CONNECTION.iter().any(|other| other.eq_ignore_ascii_case(name))
                || named.iter().any(|other| other.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
        };
        for (name, value) in self.fields.iter().filter(|(name, _)| !is_of_connection(name)) {
            response = response.field(name, value);
        }
        match self.length {
            Some(length) => response.field("Content-Length", length.to_string()),
            None => response,
        }
    }
}

/// The content of the response, drawn from the other server as fast as the client takes it.
struct Content {
    upstream: Watched<TcpStream>,
    buffer: Vec<u8>,
    /// The offset up to which the buffer was given, followed by that up to which it is filled.
    given: usize,
    filled: usize,
    /// The time when the other server last sent something.
    heard: Moment,
    left: Left,
    silence_max: Duration,
}

/// The content that is still to come.
#[derive(Clone, Copy)]
enum Left {
    /// This many bytes.
    Length(u64),
    /// All bytes until the connection ends.
    UntilEnd { at_most: u64 },
}

impl BodyStream for Content {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        if self.given == self.filled {
            if let Left::Length(0) = self.left {
                return Ok(Piece::End);
            }
            self.buffer.resize(READ_BYTES, 0);
            match (unless_blocked(self.upstream.read(&mut self.buffer))?, self.left) {
                (Some(0), Left::UntilEnd { .. }) => return Ok(Piece::End),
                (Some(0), Left::Length(left)) => {
                    return Err(GatewayError::new(format!("the other server has kept {left} bytes")));
                }
                (Some(count), _) => (self.given, self.filled, self.heard) = (0, count, now),
                (None, _) => return self.wait(now),
            }
        }
        let mut piece = &self.buffer[self.given..self.filled];
        self.left = match self.left {
            Left::Length(left) => {
                piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                Left::Length(left - piece.len() as u64)
            }
            Left::UntilEnd { at_most } => match at_most.checked_sub(piece.len() as u64) {
                Some(at_most) => Left::UntilEnd { at_most },
                None => return Err(GatewayError::new("the other server says too much")),
            },
        };
        self.given = self.filled;
        Ok(Piece::Data(piece))
    }

    fn held_bytes(&self) -> usize {
        self.buffer.len()
    }
}

impl Content {
    fn wait(&self, now: Moment) -> Result<Piece<'static>, GatewayError> {
        let until = self.heard + self.silence_max;
        match until > now {
            true => Ok(Piece::Pending { until: Some(until) }),
            false => Err(GatewayError::new("the other server has fallen silent")),
        }
    }
}

/// Nothing where a call would have to wait; an event will come.
fn unless_blocked(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
