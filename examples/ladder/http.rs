//! The little of HTTP that all steps share: when a request has ended, and the answer to it.
//!
//! It serves the steps, and nobody else: any method is taken for GET, content of requests is not read, and each
//! connection has one request.

// No step needs all of it.
#![allow(dead_code)]

use std::env;
use std::io::{self, ErrorKind};
use std::net::TcpListener;

/// The bytes of `/big`. 8 MB: more than the buffers of a socket hold, on both sides.
pub const BIG_BYTES: usize = 8_000_000;
/// The bytes of a piece of an answer. 64 KiB: little beside what a socket holds, and few pieces of an answer.
const PIECE_BYTES: usize = 64 * 1024;

/// Listens on the address that was given on the command line, or else on port 8000.
pub fn listen() -> io::Result<TcpListener> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_string());
    let listener = TcpListener::bind(&address)?;
    println!("Starting on http://{}/ (Ctrl-C stops)", listener.local_addr()?);
    Ok(listener)
}

/// Whether the head of the request has ended: with an empty line.
pub fn has_ended(request: &[u8]) -> bool {
    request.windows(4).any(|window| window == b"\r\n\r\n")
}

/// Makes a value of `WouldBlock`, which is no error: none says that there is nothing to be had for now.
pub fn unless_would_block<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a value of `Interrupted`, which is no error: a signal has ended the wait (Ctrl-Z does, and strace), and nobody was
/// found ready.
pub fn unless_interrupted(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}

/// The answer to a request, made piece by piece.
pub struct Answer {
    head: Option<String>,
    rest: usize,
}

impl Answer {
    /// Begins the answer to this request.
    pub fn to(request: &[u8]) -> Answer {
        let rest = if request.starts_with(b"GET /big ") { BIG_BYTES } else { 0 };
        let (text, length) = if rest > 0 { ("", rest) } else { ("Hello, World!\n", 14) };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
        Answer { head: Some(head), rest }
    }

    /// Makes the next piece; none at the end.
    pub fn next_piece(&mut self) -> Option<Vec<u8>> {
        if let Some(head) = self.head.take() {
            return Some(head.into_bytes());
        }
        let count = self.rest.min(PIECE_BYTES);
        self.rest -= count;
        (count > 0).then(|| vec![b'x'; count])
    }

    /// Makes all of it at once.
    pub fn whole(mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next_piece() {
            whole.extend_from_slice(&piece);
        }
        whole
    }
}
