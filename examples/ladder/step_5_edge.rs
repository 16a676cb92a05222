//! Step 5: the kernel keeps the list, and says only what is new.
//!
//! ```text
//! cargo run -p ladder --bin step_5
//! ```
//!
//! With epoll (kqueue on BSD and macOS) the list stays in the kernel. The library mio offers both under one interface:
//!
//! - `register` tells the kernel once which socket we care for, and what for: `Interest::READABLE`. Closing the socket, which
//!   dropping it does, takes it off the list again.
//! - An *event* is a note that a socket has become ready. With each comes back the `Token` that was registered with the
//!   socket, a number of our choice: here, the place of the connection in a *slab*, which is a vector that keeps a list of its
//!   free places. `vacant_entry` is the next free one. An event for a place that is empty by now is passed over (kqueue may
//!   send two for one socket).
//! - `poll` fills in the events of those who have something to say, and of no others: it costs as much as has happened, however
//!   many sleep.
//!
//! And there is a trap in it. mio registers *edge-triggered*: an event says that something has changed since the last one, and
//! is not repeated. Whoever does not read all of it is not reminded. (What lies there already when a socket is registered
//! counts as a change: a request that came before that is told of.)
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
