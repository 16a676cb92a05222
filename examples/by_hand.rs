//! The protocol driven by hand: a whole dialogue without a socket, a thread or a clock.
//!
//! ```text
//! cargo run --example by_hand
//! ```
//!
//! The same code that serves sockets is a function of bytes and time. Here we are the network: we
//! cut a request where we like, let a minute pass by adding to a number, and watch what the
//! conversation says and what it wants.

use std::io::{self, Write};
use std::time::Duration;

use tidegate::conversation::ByHand;
use tidegate::{Body, Environ, GatewayError, StartResponse};

/// Answers with the path that it was asked for.
fn echo_path(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let length = environ.content_length().unwrap_or(0);
    let text = format!("{} {} with {length} bytes\n", environ.method(), environ.path());
    start_response.status(200).field("Content-Type", "text/plain").send(text)
}

fn main() -> io::Result<()> {
    let mut screen = io::stdout().lock();
    let mut hand = ByHand::new(echo_path);

    for (title, piece) in [
        ("Half a head", &b"GET /tide HTTP/1.1\r\nHost: a.exa"[..]),
        ("Its other half", b"mple\r\n\r\n"),
        (
            "Two requests at once",
            b"GET /low HTTP/1.1\r\nHost: a\r\n\r\nGET /high HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "A head that lets its content wait",
            b"POST /gate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        ),
        ("The content, in chunks", b"5\r\nopen!\r\n0\r\n\r\n"),
        ("A head without an end", b"GET /slow HTTP/1.1\r\n"),
    ] {
        writeln!(screen, "── {title}")?;
        hand.receive(piece);
        show(&mut screen, "  > ", piece)?;
        show(&mut screen, "  < ", &hand.transmit_all())?;
        writeln!(screen, "  wants: {:?}\n", hand.wants())?;
    }

    writeln!(screen, "── A minute passes")?;
    hand.pass(Duration::from_secs(60));
    show(&mut screen, "  < ", &hand.transmit_all())?;
    writeln!(screen, "  wants: {:?}", hand.wants())
}

/// Shows bytes, line by line, with their line ends made visible.
fn show(screen: &mut impl Write, prefix: &str, bytes: &[u8]) -> io::Result<()> {
    bytes
        .split_inclusive(|&byte| byte == b'\n')
        .try_for_each(|line| writeln!(screen, "{prefix}{}", String::from_utf8_lossy(line).escape_debug()))
}
