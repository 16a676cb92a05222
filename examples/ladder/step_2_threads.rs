//! Step 2: a thread for each client. While one waits, the others go on.
//!
//! ```text
//! cargo run -p ladder --bin step_2
//! curl http://127.0.0.1:8000/
//! ```
//!
//! One line has changed: the conversation moves to a thread of its own, and only that one is blocked.
//!
//! **It fails** when many clients wait: a thousand that say nothing are a thousand threads, each with a stack (2 MiB of
//! addresses, of which a few KiB are memory) and a place in the scheduler's lists, and whenever one of them hears something, the
//! processor goes from one thread to another. A system has room for some tens of thousands; the next `spawn` panics.
//! `ls /proc/$(pgrep step_2)/task | wc -l` counts them.

mod http;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() -> io::Result<()> {
    serve(http::listen()?)
}

/// Serves until accepting fails.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || converse(stream));
    }
}

/// Reads one request and answers it. Dropping the stream closes the connection.
fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !http::has_ended(&request) {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    stream.write_all(&http::Answer::to(&request).whole())
}
