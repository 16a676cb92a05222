//! Step 3: one thread asks everybody, and waits for nobody.
//!
//! ```text
//! cargo run -p ladder --bin step_3
//! ```
//!
//! A socket can be told not to block: a call that would have to wait returns `WouldBlock` instead. So one thread can go
//! round and ask each client whether something has come. What a blocked thread kept on its stack (how far am I with this
//! client?) has to be kept in a value now: that is a [`Connection`].
//!
//! **It fails** when nobody says anything: it asks all the same, as fast as it can. `top` shows a processor at 100 %, and
//! `strace -c -p $(pgrep step_3)` nothing but calls that failed.

mod http;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;

/// One client, and what has come from it.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
}

fn main() -> io::Result<()> {
    serve(http::listen()?)
}

/// Serves until accepting fails.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        if let Some((stream, _)) = http::unless_would_block(listener.accept())? {
            stream.set_nonblocking(true)?;
            connections.push(Connection { stream, request: Vec::new() });
        }
        connections.retain_mut(|connection| connection.advance().is_continue());
    }
}

impl Connection {
    /// Takes what has come. Breaks when the conversation is over.
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
        // `write_all` would have to wait for a client that reads slowly. `write` takes what there is room for, and the rest
        // is lost: it is seen in step 6, and mended in step 7.
        let _ = self.stream.write(&http::Answer::to(&self.request).whole());
        ControlFlow::Break(())
    }
}
