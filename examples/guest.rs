//! The server as a guest in a loop that is not its own.
//!
//! ```text
//! cargo run --release --example guest
//! curl http://127.0.0.1:8000/
//! ```
//!
//! This loop is written by hand with poll(2), and counts ten ticks a second beside serving. Each answer tells how many
//! there were: the application and the loop share the count without a lock, since both are in the same thread. A toolkit
//! for windows or a game has a loop of its own, which does the same three things: it polls the server's descriptor, waits
//! no longer than until the server's deadline, and gives it a turn.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tidegate::server::GuestLoop;
use tidegate::{Environ, Server, StartResponse};

#[cfg_attr(test, allow(dead_code))]
fn main() -> io::Result<()> {
    let bound = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    let ticks = Cell::new(0_u64);
    let server = bound.into_loop(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.status(200).send(format!("{} ticks\n", ticks.get()))
    })?;
    drive(server, Duration::from_millis(100), || ticks.set(ticks.get() + 1))
}

/// Serves until the server has been shut down, and calls `tick` again and again.
pub fn drive(mut server: GuestLoop<'_>, interval: Duration, mut tick: impl FnMut()) -> io::Result<()> {
    let mut next_tick = Instant::now() + interval;
    loop {
        let until = server.next_deadline().map_or(next_tick, |deadline| deadline.min(next_tick));
        wait(&server, until.saturating_duration_since(Instant::now()))?;
        if next_tick <= Instant::now() {
            tick();
            next_tick += interval;
        }
        // Also where only the tick was due: that finds nothing to do, and costs a system call.
        if server.turn_ready()?.is_break() {
            return Ok(());
        }
    }
}

/// Waits until the server has something to do, or this time is over. Other descriptors of the program would stand here
/// beside the server's.
fn wait(server: &GuestLoop<'_>, timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(server, PollFlags::IN)], Some(&timeout)) {
        // A signal, to which this program gives no meaning.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
