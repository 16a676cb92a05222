//! The workbench: small routes that try out every way to answer. Benchmarks and conformance tests
//! drive servers through it.
//!
//! ```text
//! cargo run --release --example workbench -- --listen 127.0.0.1:8000
//! curl -i http://127.0.0.1:8000/plaintext
//! ```
//!
//! | route | method | answer |
//! |---|---|---|
//! | `/plaintext` | GET, HEAD | `Hello, World!` |
//! | `/json` | GET | the same as JSON, serialised for each request |
//! | `/echo` | any | the content of the request |
//! | `/environ` | any | the environ as a JSON object of strings, and `body_length` |
//! | `/bytes?n=N` | GET, HEAD | N bytes, with Content-Length |
//! | `/stream?chunks=C&size=S` | GET | C pieces of S bytes, without Content-Length |
//! | `/sleep?ms=M` | GET | `slept M`, M milliseconds later |
//! | `/status?code=N` | GET, HEAD | status N without content |
//! | `/fail` | GET | 500: the application panics |
//! | `/fail-midway` | GET | 200, five bytes, and then a cut connection |
//! | `/header?name=K&value=V` | GET | 200 with the field `K: V`, or 500 if it is none |
//!
//! SIGINT and SIGTERM let what is in flight be finished, a second one stops at once.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::str;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tidegate::gateway::{
    Admission, BodyStream, Gateway, Later, OwnedContent, Piece, SpoolFile, StartResponse,
};
use tidegate::message::Method;
use tidegate::now::Moment;
use tidegate::{Body, Environ, GatewayError, ListenAddress, Server, ServerHandle};

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

/// Content longer than this is handed over piece by piece, so that no client can ask for memory.
const PIECE_BYTES: usize = 16 * 1024;
/// Content that `/bytes` lends: up to a mebibyte without a copy.
static XS: [u8; 1 << 20] = [b'x'; 1 << 20];

/// The largest numbers that make sense in a query; beyond them 400.
const BYTES_MAX: u64 = 1 << 40;
const PIECE_SIZE_MAX: u64 = 16 << 20;
const SLEEP_MILLIS_MAX: u64 = 3_600_000;

fn main() -> ExitCode {
    match listen_address() {
        Err(reason) => {
            say(&format!("workbench: {reason}\nusage: workbench [--listen ADDR]"));
            ExitCode::from(2)
        }
        Ok(address) => match run(address) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("workbench: {error}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn listen_address() -> Result<ListenAddress, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok("127.0.0.1:8000".parse()?),
        ["--listen", address] => Ok(address.parse()?),
        [argument] => match argument.strip_prefix("--listen=") {
            Some(address) => Ok(address.parse()?),
            None => Err(format!("unknown argument {argument:?}").into()),
        },
        _ => Err("unknown arguments".into()),
    }
}

/// Serves until a signal has ended that.
pub fn run(address: ListenAddress) -> io::Result<()> {
    let server = Server::new().listen(address).bind()?;
    end_on_signals(server.handle())?;
    for address in server.addresses() {
        say(&format!("workbench on {address}"));
    }
    server.run(Workbench::default())
}

/// The first SIGINT or SIGTERM lets the server finish what it is serving, a second one stops it at once.
fn end_on_signals(server: ServerHandle) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let listen = move || {
        for (count, _signal) in signals.forever().enumerate() {
            if count == 0 { server.drain() } else { server.stop() }
        }
    };
    std::thread::Builder::new().name("signals".to_string()).spawn(listen).map(drop)
}

/// Prints on stderr, which may be closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The application, which a bench runs in its own process. Its buffers are kept from one request to the next.
#[derive(Default)]
pub struct Workbench {
    json: Vec<u8>,
}

/// A route, by its path.
#[derive(Clone, Copy)]
enum Route {
    Plaintext,
    Json,
    Echo,
    Environ,
    Bytes,
    Stream,
    Sleep,
    Status,
    Fail,
    FailMidway,
    Header,
}

impl Route {
    /// Finds the route of a request.
    #[inline(always)]
    fn of(environ: &Environ<'_>) -> Option<Route> {
        Some(match &*environ.path() {
            "/plaintext" => Route::Plaintext,
            "/json" => Route::Json,
            "/echo" => Route::Echo,
            "/environ" => Route::Environ,
            "/bytes" => Route::Bytes,
            "/stream" => Route::Stream,
            "/sleep" => Route::Sleep,
            "/status" => Route::Status,
            "/fail" => Route::Fail,
            "/fail-midway" => Route::FailMidway,
            "/header" => Route::Header,
            _ => return None,
        })
    }

    /// Whether the route answers every method, and reads the content.
    fn is_for_any_method(self) -> bool {
        matches!(self, Route::Echo | Route::Environ)
    }
}

impl Gateway for Workbench {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let Some(route) = Route::of(environ) else {
            return start_response.status(404).field("Content-Type", TEXT).send("Not Found\n");
        };
        let is_get = matches!(environ.method(), Method::GET | Method::HEAD);
        if !is_get && !route.is_for_any_method() {
            let head = start_response.status(405).field("Allow", "GET, HEAD");
            return head.field("Content-Type", TEXT).send("Method Not Allowed\n");
        }
        match route {
            Route::Echo => echo(environ, start_response),
            Route::Environ => self.environ(environ, start_response),
            Route::Plaintext => start_response.status(200).field("Content-Type", TEXT).send("Hello, World!"),
            Route::Json => {
                self.json.clear();
                write_json_object(&mut self.json, [("message", "Hello, World!")])?;
                start_response.status(200).field("Content-Type", JSON).send(&self.json)
            }
            Route::Bytes => bytes(environ.query(), start_response),
            Route::Stream => stream(environ.query(), start_response),
            Route::Sleep => sleep(environ.query(), start_response),
            Route::Status => status(environ.query(), start_response),
            Route::Fail => panic!("this is what /fail is for"),
            Route::FailMidway => start_response
                .status(200)
                .field("Content-Type", TEXT)
                .stream(FailingStream { has_begun: false }),
            Route::Header => header(environ.query(), start_response),
        }
    }

    /// Collects content for two routes only.
    fn admit(&self, environ: &Environ<'_>) -> Admission {
        match Route::of(environ) {
            Some(route) if route.is_for_any_method() => Admission::Collect,
            _ => Admission::FromHead,
        }
    }
}

impl Workbench {
    fn environ(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let body_length = io::copy(environ.content(), &mut io::sink())?.to_string();
        let variables = environ.variables().map(|(name, value)| {
            // A variable is bytes, and JSON is text: each byte becomes the character of its number (ISO 8859-1).
            let text: String = value.iter().map(|&byte| char::from(byte)).collect();
            (name, Cow::Owned(text))
        });
        let own = (Cow::Borrowed("body_length"), Cow::Borrowed(body_length.as_str()));
        self.json.clear();
        write_json_object(&mut self.json, variables.chain([own]))?;
        start_response.status(200).field("Content-Type", JSON).send(&self.json)
    }
}

fn echo(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let content_type = environ.field("Content-Type").unwrap_or(b"application/octet-stream");
    let head = start_response.status(200).field("Content-Type", content_type);
    if let Some(short) = environ.content().as_slice().filter(|slice| slice.len() <= PIECE_BYTES) {
        return head.send(short);
    }
    match environ.content().detach() {
        OwnedContent::Memory(bytes) => head.send(bytes),
        OwnedContent::Spooled { file, length } => {
            let buffer = vec![0; PIECE_BYTES];
            head.field("Content-Length", length.to_string()).stream(FileStream { file, buffer })
        }
    }
}

fn bytes(query: &str, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let Some(count) = number(query, "n").filter(|count| *count <= BYTES_MAX) else {
        return refuse(start_response);
    };
    let head = start_response.status(200).field("Content-Type", "application/octet-stream");
    if count <= XS.len() as u64 {
        return head.send(tidegate::gateway::Content::Static(&XS[..count as usize]));
    }
    head.field("Content-Length", count.to_string()).stream(RepeatedX { left: count })
}

fn stream(query: &str, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let pieces = number(query, "chunks").filter(|pieces| *pieces <= BYTES_MAX);
    let size = number(query, "size").filter(|size| *size <= PIECE_SIZE_MAX);
    let (Some(pieces), Some(size)) = (pieces, size) else { return refuse(start_response) };
    let piece = vec![b'x'; usize::try_from(size)?];
    let head = start_response.status(200).field("Content-Type", "application/octet-stream");
    // Any number of pieces without a byte is no content at all.
    let left = if size == 0 { 0 } else { pieces };
    head.stream(RepeatedPiece { piece, left })
}

fn sleep(query: &str, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let Some(millis) = number(query, "ms").filter(|millis| *millis <= SLEEP_MILLIS_MAX) else {
        return refuse(start_response);
    };
    let due = start_response.now() + Duration::from_millis(millis);
    Ok(start_response.later(Some(due), Sleeper { millis, due }))
}

fn status(query: &str, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    match number(query, "code") {
        Some(code @ 200..=599) => start_response.status(code as u16).send(""),
        _ => refuse(start_response),
    }
}

fn header(query: &str, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let (Some(name), Some(value)) = (parameter(query, "name"), parameter(query, "value")) else {
        return refuse(start_response);
    };
    let name = percent_decode(name);
    let name = String::from_utf8_lossy(&name);
    start_response.status(200).field(&name, percent_decode(value)).send("")
}

fn refuse(start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    start_response.status(400).field("Content-Type", TEXT).send("Bad Request\n")
}

/// Answers when its moment has come.
struct Sleeper {
    millis: u64,
    due: Moment,
}

impl Later for Sleeper {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        // It may have been woken for nothing.
        if start_response.now() < self.due {
            return Ok(start_response.later_boxed(Some(self.due), self));
        }
        let text = format!("slept {}", self.millis);
        start_response.status(200).field("Content-Type", TEXT).send(text)
    }
}

/// Yields a number of bytes of `x`.
struct RepeatedX {
    left: u64,
}

impl BodyStream for RepeatedX {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        let count = self.left.min(PIECE_BYTES as u64);
        self.left -= count;
        Ok(if count == 0 { Piece::End } else { Piece::Data(&XS[..count as usize]) })
    }
}

/// Yields one piece a number of times.
struct RepeatedPiece {
    piece: Vec<u8>,
    left: u64,
}

impl BodyStream for RepeatedPiece {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        if self.left == 0 {
            return Ok(Piece::End);
        }
        self.left -= 1;
        Ok(Piece::Data(&self.piece))
    }
}

/// Sends the content of a request back.
struct FileStream {
    file: Box<dyn SpoolFile>,
    buffer: Vec<u8>,
}

impl BodyStream for FileStream {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(match self.file.read(&mut self.buffer)? {
            0 => Piece::End,
            count => Piece::Data(&self.buffer[..count]),
        })
    }
}

/// Begins, and fails.
struct FailingStream {
    has_begun: bool,
}

impl BodyStream for FailingStream {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        if self.has_begun {
            return Err(GatewayError::new("this is what /fail-midway is for"));
        }
        self.has_begun = true;
        Ok(Piece::Data(b"begin"))
    }
}

/// The value of a parameter, still percent-encoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// A parameter that consists of digits.
fn number(query: &str, name: &str) -> Option<u64> {
    let digits = parameter(query, name)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Decodes `%41`; what is no escape stays as it is.
fn percent_decode(encoded: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    decoded
}

/// Writes one flat object of strings (RFC 8259).
fn write_json_object<S: AsRef<str>>(
    json: &mut Vec<u8>,
    members: impl IntoIterator<Item = (S, S)>,
) -> io::Result<()> {
    json.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_json_string(json, name.as_ref())?;
        json.push(b':');
        write_json_string(json, value.as_ref())?;
    }
    json.push(b'}');
    Ok(())
}

fn write_json_string(json: &mut Vec<u8>, text: &str) -> io::Result<()> {
    json.push(b'"');
    for run in text.as_bytes().split_inclusive(|&byte| needs_escape(byte)) {
        match run.split_last() {
            Some((&last, plain)) if needs_escape(last) => {
                json.extend_from_slice(plain);
                write!(json, "\\u{last:04x}")?;
            }
            _ => json.extend_from_slice(run),
        }
    }
    json.push(b'"');
    Ok(())
}

fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}
