//! Step 4: one thread sleeps until somebody has something to say.
//!
//! ```text
//! cargo run -p ladder --bin step_4
//! ```
//!
//! `poll(2)` takes a list of sockets, sleeps until one of them is *ready* (a read would not block), and marks those that
//! are. It is *level-triggered*: as long as unread bytes lie there, it says so again at each call. So reading once is
//! enough, and who leaves some of them is reminded.
//!
//! **It fails** when there are many: the list goes into the kernel and back at each call, and all of it is looked at, for
//! one client that has said something. `strace -T -p $(pgrep step_4)` shows the list, and how long each call took, sleep
//! included.

mod http;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;

use rustix::event::{PollFd, PollFlags, poll};

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
        let ready = wait(&listener, &connections)?;
        let mut connection_ready = ready[1..].iter();
        connections.retain_mut(|connection| match connection_ready.next() {
            Some(true) => connection.advance().is_continue(),
            _ => true,
        });
        // One at a time is enough: if two wait, `poll` says so again. The first may have left again meanwhile.
        if ready[0]
            && let Some((stream, _)) = http::unless_would_block(listener.accept())?
        {
            stream.set_nonblocking(true)?;
            connections.push(Connection { stream, request: Vec::new() });
        }
    }
}

/// Sleeps until somebody is ready (`None`: for however long that takes), and says who: the listener first, then the
/// connections in their order.
fn wait(listener: &TcpListener, connections: &[Connection]) -> io::Result<Vec<bool>> {
    let mut list = vec![PollFd::new(listener, PollFlags::IN)];
    list.extend(connections.iter().map(|connection| PollFd::new(&connection.stream, PollFlags::IN)));
    http::unless_interrupted(poll(&mut list, None).map(drop).map_err(io::Error::from))?;
    Ok(list.iter().map(|entry| !entry.revents().is_empty()).collect())
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
        let _ = self.stream.write(&http::Answer::to(&self.request).whole());
        ControlFlow::Break(())
    }
}
