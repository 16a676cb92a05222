//! Step 5: the kernel keeps the list, and says only what is new.
//!
//! ```text
//! cargo run --example ladder_5_edge
//! ```
//!
//! With epoll (kqueue on BSD and macOS) a socket is registered once. mio offers both under one face, and a `Token` of ours
//! comes back with each event: here, the place of the connection in a slab, which is a vector that keeps a list of its
//! free places. A wait costs as much as has happened, however many sleep.
//!
//! mio registers *edge-triggered*: an event says that something has changed, and is not repeated. Whoever does not read
//! all of it is not reminded.
//!
//! **It fails** when a request is longer than the one read that is made of it here: its rest lies in the socket, nothing
//! new happens, and the client waits for ever. Try `curl -H "X: $(printf %2000s | tr ' ' x)" http://127.0.0.1:8000/`.

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
    request: Vec<u8>,
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
        poll.poll(&mut events, None)?;
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
        poll.registry().register(&mut stream, Token(place.key()), Interest::READABLE)?;
        place.insert(Connection { stream, request: Vec::new() });
    }
    Ok(())
}

impl Connection {
    /// Takes what has come: as much as one read gives. Breaks when the conversation is over.
    fn advance(&mut self) -> ControlFlow<()> {
        let mut chunk = [0; 1024];
        match http::unless_would_block(self.stream.read(&mut chunk)) {
            Ok(Some(0)) | Err(_) => return ControlFlow::Break(()),
            Ok(Some(count)) => self.request.extend_from_slice(&chunk[..count]),
            Ok(None) => return ControlFlow::Continue(()),
        }
        if !http::has_ended(&self.request) {
            return ControlFlow::Continue(());
        }
        let _ = self.stream.write(&http::Answer::to(&self.request).whole());
        ControlFlow::Break(())
    }
}
