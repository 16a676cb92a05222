//! A checksum behind the content: nobody knows it before all of the content was there.
//!
//! ```text
//! cargo run --example trailers curl --raw -H 'TE: trailers' http://127.0.0.1:8000/ its last lines are the
//! trailer section curl --raw http://127.0.0.1:8000/ whoever does not ask for trailers has none printf 'PUT /
//! HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Adler-32:
//! 024d0127\r\n\r\n' |
//!     nc 127.0.0.1 8000                                 an upload whose checksum is looked at
//! ```

use std::io::{self, Read};

use tidegate::gateway::{BodyStream, Piece};
use tidegate::now::Moment;
use tidegate::{Body, Environ, GatewayError, StartResponse};

/// Lines of the answer.
const LINES: u32 = 1_000;
/// The name of the trailer field.
const CHECKSUM: &str = "X-Adler-32";

fn main() -> io::Result<()> {
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    tidegate::serve("127.0.0.1:8000", application)
}

/// Gives a long answer to GET, and checks the content of PUT.
pub fn application(
    environ: &mut Environ<'_>,
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    match environ.method().as_str() {
        "GET" | "HEAD" => start_response
            .status(200)
            .field("Content-Type", "text/plain")
            .field("Trailer", CHECKSUM)
            .stream(Summed { line: 0, piece: String::new(), sum: Adler32::default() }),
        "PUT" => check_upload(environ, start_response),
        _ => start_response.status(405).field("Allow", "GET, HEAD, PUT").send(""),
    }
}

/// Checks an upload by its checksum: a client that computes it while it sends puts it into a trailer.
fn check_upload(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let Some(claimed) = environ.trailers().get(CHECKSUM) else {
        return start_response.status(400).send(format!("Send it in chunks, and {CHECKSUM} behind them.\n"));
    };
    let (mut sum, mut piece) = (Adler32::default(), [0; 16 * 1024]);
    loop {
        match environ.content().read(&mut piece)? {
            0 => break,
            count => sum.add(&piece[..count]),
        }
    }
    match claimed == sum.to_string().as_bytes() {
        true => start_response.status(200).send(format!("Received, and {sum} is its checksum.\n")),
        false => start_response.status(422).send(format!("Damaged: {sum} is what has come.\n")),
    }
}

/// Content whose checksum is computed as it leaves.
struct Summed {
    line: u32,
    piece: String,
    sum: Adler32,
}

impl BodyStream for Summed {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        if self.line == LINES {
            return Ok(Piece::End);
        }
        self.line += 1;
        self.piece = format!("{} waves\n", self.line);
        self.sum.add(self.piece.as_bytes());
        Ok(Piece::Data(self.piece.as_bytes()))
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        vec![(CHECKSUM.to_string(), self.sum.to_string().into_bytes())]
    }
}

/// The checksum of zlib (RFC 1950), as `zlib.adler32` of Python has it.
struct Adler32 {
    bytes: u32,
    sums: u32,
}

impl Default for Adler32 {
    fn default() -> Adler32 {
        Adler32 { bytes: 1, sums: 0 }
    }
}

impl Adler32 {
    fn add(&mut self, piece: &[u8]) {
        for &byte in piece {
            self.bytes = (self.bytes + u32::from(byte)) % 65_521;
            self.sums = (self.sums + self.bytes) % 65_521;
        }
    }
}

impl std::fmt::Display for Adler32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}{:04x}", self.sums, self.bytes)
    }
}
