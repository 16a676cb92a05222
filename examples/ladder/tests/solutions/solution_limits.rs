//! A solution of exercises 2 and 3: step 9 with a limit for the bytes of a request, and a deadline for all of it.

#[path = "../../http.rs"]
mod http;

use std::io::{self, Read, Write};
use std::net;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
/// The bytes of a request, at most. 8 KiB: as many servers have it.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

struct Connection {
    stream: TcpStream,
    state: State,
}

enum State {
    /// The client has begun at this moment. What it sends does not put the deadline off.
    Reading { request: Vec<u8>, begun: Instant },
    /// The client has last taken something at this moment.
    Writing { answer: Option<http::Answer>, piece: Vec<u8>, sent: usize, moved: Instant },
}

pub fn serve(listener: net::TcpListener, patience: Duration) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Slab<Connection> = Slab::new();
    loop {
        let next = connections.iter().map(|(_, connection)| connection.deadline(patience)).min();
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
        connections.retain(|_, connection| now < connection.deadline(patience));
    }
}

fn accept_all(listener: &TcpListener, connections: &mut Slab<Connection>, poll: &Poll) -> io::Result<()> {
    while let Some((mut stream, _)) = http::unless_would_block(listener.accept())? {
        let place = connections.vacant_entry();
        poll.registry().register(&mut stream, Token(place.key()), Interest::READABLE | Interest::WRITABLE)?;
        let state = State::Reading { request: Vec::new(), begun: Instant::now() };
        place.insert(Connection { stream, state });
    }
    Ok(())
}

impl Connection {
    /// Returns when its client has to leave: computed from the state, so the two cannot disagree.
    fn deadline(&self, patience: Duration) -> Instant {
        match &self.state {
            State::Reading { begun, .. } => *begun + patience,
            State::Writing { moved, .. } => *moved + patience,
        }
    }

    fn advance(&mut self) -> ControlFlow<()> {
        loop {
            match http::unless_would_block(self.step()) {
                Ok(Some(ControlFlow::Continue(()))) => {}
                Ok(None) => return ControlFlow::Continue(()),
                Ok(Some(ControlFlow::Break(()))) | Err(_) => return ControlFlow::Break(()),
            }
        }
    }

    fn step(&mut self) -> io::Result<ControlFlow<()>> {
        match &mut self.state {
            State::Reading { request, .. } => {
                let mut chunk = [0; 1024];
                match self.stream.read(&mut chunk)? {
                    0 => return Ok(ControlFlow::Break(())),
                    count => request.extend_from_slice(&chunk[..count]),
                }
                let moved = Instant::now();
                // First of all: the end of a request that is too long may have come with the rest of it.
                if request.len() > REQUEST_BYTES_MAX {
                    let piece = TOO_LARGE.to_vec();
                    self.state = State::Writing { answer: None, piece, sent: 0, moved };
                } else if http::has_ended(request) {
                    let answer = Some(http::Answer::to(request));
                    self.state = State::Writing { answer, piece: Vec::new(), sent: 0, moved };
                }
            }
            State::Writing { answer, piece, sent, .. } if *sent == piece.len() => {
                match answer.as_mut().and_then(|answer| answer.next_piece()) {
                    Some(next) => (*piece, *sent) = (next, 0),
                    None => return Ok(ControlFlow::Break(())),
                }
            }
            State::Writing { piece, sent, moved, .. } => {
                *sent += self.stream.write(&piece[*sent..])?;
                *moved = Instant::now();
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
