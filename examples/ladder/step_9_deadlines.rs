//! Step 9: who does not move in time has to leave.
//!
//! ```text
//! cargo run -p ladder --bin step_9
//! ```
//!
//! Each connection has a *deadline*. It is not stored: it is computed from the moment when it last moved. The wait sleeps until
//! the next deadline at the latest, and for ever if there is none. Who has missed it is removed, which closes the socket.
//!
//! A client has *moved* when our socket takes or gives a byte, not when the client reads one. The buffers hold megabytes, so a client
//! that reads slowly, but all the time, may make no room for ten seconds, and is cut: `curl --limit-rate 20k http://127.0.0.1:8000/big`
//! finds out after three minutes. (The system tells of room only when there is much. tidegate tries to write once more then.)

mod http;

use std::io::{self, Read, Write};
use std::net;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// The token of the listener. No slab grows as far.
const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    state: State,
    /// The time when something was last done for the client: a byte came or went, or a piece was made.
    moved: Instant,
}

enum State {
    /// The request has not ended yet.
    Reading { request: Vec<u8> },
    /// This much of the piece was sent; the answer makes the next one.
    Writing { answer: http::Answer, piece: Vec<u8>, sent: usize },
}

fn main() -> io::Result<()> {
    serve(http::listen()?, Duration::from_secs(10))
}

/// Serves until accepting fails. Who does not move for as long as `patience` has to leave.
pub fn serve(listener: net::TcpListener, patience: Duration) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Slab<Connection> = Slab::new();
    loop {
        let next = connections.iter().map(|(_, connection)| connection.moved + patience).min();
        http::unless_interrupted(
            poll.poll(&mut events, next.map(|next| next.saturating_duration_since(Instant::now()))),
        )?;
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
        let now = Instant::now();
        connections.retain(|_, connection| now < connection.moved + patience);
    }
}

/// Accepts until nobody waits. One would not do: the event is not repeated for the second.
fn accept_all(listener: &TcpListener, connections: &mut Slab<Connection>, poll: &Poll) -> io::Result<()> {
    while let Some((mut stream, _)) = http::unless_would_block(listener.accept())? {
        let place = connections.vacant_entry();
        poll.registry().register(&mut stream, Token(place.key()), Interest::READABLE | Interest::WRITABLE)?;
        let state = State::Reading { request: Vec::new() };
        place.insert(Connection { stream, state, moved: Instant::now() });
    }
    Ok(())
}

impl Connection {
    /// Reads and writes until the socket can do no more for now. Breaks when the conversation is over.
    fn advance(&mut self) -> ControlFlow<()> {
        loop {
            match http::unless_would_block(self.step()) {
                Ok(Some(ControlFlow::Continue(()))) => self.moved = Instant::now(),
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
            State::Writing { answer, piece, sent } if *sent == piece.len() => match answer.next_piece() {
                Some(next) => (*piece, *sent) = (next, 0),
                None => return Ok(ControlFlow::Break(())),
            },
            State::Writing { piece, sent, .. } => *sent += self.stream.write(&piece[*sent..])?,
        }
        Ok(ControlFlow::Continue(()))
    }
}
