//! Step 1: one client after the other. Each call waits until it has something to return.
//!
//! ```text
//! cargo run -p ladder --bin step_1
//! curl http://127.0.0.1:8000/
//! ```
//!
//! `accept` waits for a client, `read` for what it sends, `write_all` until all is on its way. The thread does nothing else
//! meanwhile: it is *blocked*.
//!
//! **It fails** when a client connects and says nothing: `read` waits for that one, and nobody else is served.

mod http;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    serve(http::listen()?)
}

/// Serves until accepting fails.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // A client that breaks off is no failure of the server.
        let _ = converse(stream);
    }
}

/// Reads one request and answers it. Dropping the stream closes the connection.
fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !http::has_ended(&request) {
        match stream.read(&mut chunk)? {
            // The client has ended its side, in the middle of its request.
            0 => return Ok(()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    stream.write_all(&http::Answer::to(&request).whole())
}
