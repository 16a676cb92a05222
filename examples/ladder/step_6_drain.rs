//! Step 6: read until there is nothing left.
//!
//! ```text
//! cargo run -p ladder --bin step_6
//! ```
//!
//! The rule of edge-triggered events, in one sentence: *go on until the system says `WouldBlock`*. Until then bytes may
//! lie there of which nobody will speak again. One loop in `advance` keeps the rule for reading. (`accept_all` has kept it already.)
//!
//! **It fails** when the answer is long: `write` takes as much as the socket has room for, and what it did not take is thrown
//! away. `curl -s --limit-rate 2M http://127.0.0.1:8000/big | wc -c` shows that it ends in the middle.

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
    /// Takes all that has come. Breaks when the conversation is over.
    fn advance(&mut self) -> ControlFlow<()> {
        let mut chunk = [0; 1024];
        // A request that has ended is the only reason to stop earlier: from this client we shall never read again.
        while !http::has_ended(&self.request) {
            match http::unless_would_block(self.stream.read(&mut chunk)) {
                Ok(Some(0)) | Err(_) => return ControlFlow::Break(()),
                Ok(Some(count)) => self.request.extend_from_slice(&chunk[..count]),
                // The only way to wait: everything has been read, so the next byte brings an event.
                Ok(None) => return ControlFlow::Continue(()),
            }
        }
        let _ = self.stream.write(&http::Answer::to(&self.request).whole());
        ControlFlow::Break(())
    }
}
