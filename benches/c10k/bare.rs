//! The least that a server can do, to compare with: an epoll loop that parses nothing.
//!
//! It accepts, registers, reads, and answers each empty line with a fixed text. What it costs is the kernel's price.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// The content of each answer.
#[allow(dead_code, reason = "one bench reads it")]
pub const TEXT: &str = "Hello, World!";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, World!";
const LISTENER: Token = Token(usize::MAX);
/// Bytes that are read at a time, into one buffer for all connections.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Serves on a socket, until it is killed.
pub fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut clients, mut scratch) = (Slab::<TcpStream>::new(), vec![0; SCRATCH_BYTES]);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let entry = clients.vacant_entry();
                    poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
                    entry.insert(stream);
                }
                continue;
            }
            let Some(stream) = clients.get_mut(event.token().0) else { continue };
            if converse(stream, &mut scratch).is_err() {
                clients.remove(event.token().0);
            }
        }
    }
}

/// Answers all requests that are there. A short read is the last.
fn converse(stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<()> {
    loop {
        let count = match stream.read(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        for _ in scratch[..count].windows(4).filter(|window| window == b"\r\n\r\n") {
            stream.write_all(ANSWER)?;
        }
        if count < scratch.len() {
            return Ok(());
        }
    }
}
