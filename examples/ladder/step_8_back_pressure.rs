//! Step 8: make no more than the client takes.
//!
//! ```text
//! cargo run -p ladder --bin step_8
//! ```
//!
//! The answer is asked for its next piece only when the last one was sent. A client that does not read fills the socket's
//! buffer, the socket stops taking, and nothing more is made for that client: its slowness reaches the maker. This is
//! *back-pressure*. Of an answer, one piece at most lies in our memory, 64 KiB, however long it is.
//!
//! **It fails** when clients stay for ever: one that sends half a request, or reads nothing, keeps its place, and there are
//! only as many as the process may have descriptors (`ulimit -n`). As many connections that say nothing end this server; that attack is
//! called Slowloris.

mod http;

use std::io::{self, Read, Write};
use std::net;
use std::ops::ControlFlow;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// The token of the listener. No slab grows as far.
const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    state: State,
}

enum State {
    /// The request has not ended yet.
    Reading { request: Vec<u8> },
    /// This much of the piece was sent; the answer makes the next one.
    Writing { answer: http::Answer, piece: Vec<u8>, sent: usize },
}

fn main() -> io::Result<()> {
    serve(http::listen()?)
}

/// Serves until accepting fails.
pub fn serve(listener: net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Slab<Connection> = Slab::new();
    loop {
        http::unless_interrupted(poll.poll(&mut events, None))?;
        for event in &events {
            match event.token() {
                LISTENER => accept_all(&listener, &mut connections, &poll)?,
                Token(place) => {
                    let Some(connection) = connections.get_mut(place) else { continue };
                    if connection.advance().is_break() {
                        connections.remove(place);
                    }
                }
            }
        }
    }
}

/// Accepts until nobody waits. One would not do: the event is not repeated for the second.
fn accept_all(listener: &TcpListener, connections: &mut Slab<Connection>, poll: &Poll) -> io::Result<()> {
    while let Some((mut stream, _)) = http::unless_would_block(listener.accept())? {
        let place = connections.vacant_entry();
        poll.registry().register(&mut stream, Token(place.key()), Interest::READABLE | Interest::WRITABLE)?;
        place.insert(Connection { stream, state: State::Reading { request: Vec::new() } });
    }
    Ok(())
}

impl Connection {
    /// Reads and writes until the socket can do no more for now. Breaks when the conversation is over.
    fn advance(&mut self) -> ControlFlow<()> {
        loop {
            match http::unless_would_block(self.step()) {
                Ok(Some(ControlFlow::Continue(()))) => {}
                Ok(None) => return ControlFlow::Continue(()),
                Ok(Some(ControlFlow::Break(()))) | Err(_) => return ControlFlow::Break(()),
            }
        }
    }

    /// Reads or writes once.
    fn step(&mut self) -> io::Result<ControlFlow<()>> {
        match &mut self.state {
            State::Reading { request } => {
                let mut chunk = [0; 1024];
                match self.stream.read(&mut chunk)? {
                    0 => return Ok(ControlFlow::Break(())),
                    count => request.extend_from_slice(&chunk[..count]),
                }
                if http::has_ended(request) {
                    let answer = http::Answer::to(request);
                    self.state = State::Writing { answer, piece: Vec::new(), sent: 0 };
                }
            }
            // The empty piece with which it begins counts as sent.
            State::Writing { answer, piece, sent } if *sent == piece.len() => match answer.next_piece() {
                Some(next) => (*piece, *sent) = (next, 0),
                None => return Ok(ControlFlow::Break(())),
            },
            State::Writing { piece, sent, .. } => *sent += self.stream.write(&piece[*sent..])?,
        }
        Ok(ControlFlow::Continue(()))
    }
}
