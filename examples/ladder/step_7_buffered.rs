//! Step 7: keep what the socket does not take, and go on when it has room.
//!
//! ```text
//! cargo run -p ladder --bin step_7
//! ```
//!
//! A connection is a *state machine* now: it reads, and then it writes, and each state owns what it needs. The rule holds
//! for writing, too: write until the system says `WouldBlock`. The event that it has room again is `Interest::WRITABLE`.
//!
//! ```text
//!   Reading { request } ── head has ended ──▶ Writing { answer, sent } ── all sent ──▶ closed
//! ```
//!
//! The state decides what we wait for: bytes or room. With step 4's `poll` that would be *computed* from the state before each wait
//! (asked for room all the time, it would never sleep), and not kept in a second variable: the two could come to disagree, and
//! a client would wait for ever. Edges spare even that: we register for both and never change it, at the cost of one event too
//! many for each client. No event is missed by it, since `advance` writes at once, without waiting for `WRITABLE`.
//!
//! **It fails** when clients ask for much and do not read: each answer lies whole in memory for as long as its client likes.
//! A hundred clients of `/big` that read nothing hold 800 MB.

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
    /// This much of the answer was sent.
    Writing { answer: Vec<u8>, sent: usize },
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

    /// Reads or writes once. `WouldBlock` goes up to `advance`, by `?`.
    fn step(&mut self) -> io::Result<ControlFlow<()>> {
        match &mut self.state {
            State::Reading { request } => {
                let mut chunk = [0; 1024];
                match self.stream.read(&mut chunk)? {
                    0 => return Ok(ControlFlow::Break(())),
                    count => request.extend_from_slice(&chunk[..count]),
                }
                if http::has_ended(request) {
                    let answer = http::Answer::to(request).whole();
                    self.state = State::Writing { answer, sent: 0 };
                }
            }
            State::Writing { answer, sent } => {
                *sent += self.stream.write(&answer[*sent..])?;
                if *sent == answer.len() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
