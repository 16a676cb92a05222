//! The event loop as a guest in somebody else's.
//!
//! The selector of a system that has epoll or kqueue is a descriptor, and one that can be polled. Whatever
//! else can give the loop something to do has to show there, or in the next deadline. Wake-ups from other
//! threads write to the selector while the loop [sleeps](super::event_loop::EventLoop::fall_asleep), which a
//! guest does from turn to turn; remainders, timers and pauses are deadlines.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

use super::event_loop::{BoundLoop, EventLoop};
use super::running::Patience;
use crate::gateway::Gateway;

/// A server that is driven by another event loop: of a toolkit for windows, of a game, of an async runtime.
///
/// The server keeps its own selector (epoll, kqueue), and lends its descriptor. The loop that drives it polls that
/// descriptor among others of theirs, and calls [`turn_ready`](GuestLoop::turn_ready) when it is readable or when the
/// [next deadline](GuestLoop::next_deadline) has come. [`BoundServer::run`](crate::server::BoundServer::run) is such a
/// loop, too, and does nothing else. So both have the same limits, deadlines and graceful end, and the application,
/// which is called in turns only, shares what it likes with the rest of the thread, without locks.
///
/// ```no_run
/// use std::time::Instant;
/// use tidegate::{Environ, Server, StartResponse};
///
/// let server = Server::new().listen("127.0.0.1:0".parse()?).bind()?;
/// let mut guest = server.into_loop(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
///     start_response.status(200).send("Hello, World!")
/// })?;
/// loop {
///     let timeout = guest.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
///     // Waits until the descriptor is readable or this time is over: poll(&guest, …, timeout).
///     # let _ = timeout;
///     if guest.turn_ready()?.is_break() {
///         break;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `examples/guest.rs` does it with poll(2).
///
/// # What whoever drives it should know
///
/// - Ask for the deadline again after each turn, before each wait. It is in the past where something is left to do.
/// - A turn that comes too early finds nothing to do, and does no harm. One that comes too late makes clients wait, and
///   their deadlines are looked at only then.
/// - A turn never waits for events. It takes what [`run`](crate::server::BoundServer::run) takes for one: 128 events, 32
///   accepted connections, and the calls of the application that come of them.
/// - Edge-triggered polling is enough: what a turn has left over is said by the deadline.
/// - A [handle](crate::server::BoundServer::handle), and whoever wakes a connection from another thread, makes the
///   descriptor readable.
/// - To drop it is to [stop](crate::server::ServerHandle::stop) the server.
pub struct GuestLoop<'g> {
    event_loop: EventLoop<'g>,
    descriptor: OwnedFd,
    has_ended: bool,
}

impl<'g> GuestLoop<'g> {
    /// Makes a guest: from now on wake-ups come through the selector.
    pub(crate) fn new(bound: BoundLoop, gateway: Box<dyn Gateway + 'g>) -> io::Result<GuestLoop<'g>> {
        let event_loop = bound.start(gateway, None)?;
        let descriptor = event_loop.descriptor()?;
        event_loop.fall_asleep();
        Ok(GuestLoop { event_loop, descriptor, has_ended: false })
    }

    /// Returns the moment until which to wait for events: a turn is due then, although the descriptor may not be
    /// readable. It is in the past if there is something to do at once, and none if only an event brings something.
    pub fn next_deadline(&self) -> Option<Instant> {
        let moment = match self.event_loop.patience() {
            _ if self.has_ended => return None,
            _ if self.event_loop.is_at_work() => self.event_loop.now(),
            Patience::None => self.event_loop.now(),
            Patience::Until(next) => next,
            Patience::Endless => return None,
        };
        self.event_loop.instant(moment)
    }

    /// Does everything that can be done now, and does not wait. Breaks when the server has been shut down, and everybody
    /// has been answered or cut.
    ///
    /// # Errors
    /// Returns the error of the selector; nothing that a client or the application does ends the server.
    pub fn turn_ready(&mut self) -> io::Result<ControlFlow<()>> {
        if self.has_ended {
            return Ok(ControlFlow::Break(()));
        }
        let flow = self.event_loop.turn_ready()?;
        self.has_ended = flow.is_break();
        Ok(flow)
    }
}

impl AsFd for GuestLoop<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for GuestLoop<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl fmt::Debug for GuestLoop<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("GuestLoop");
        fields.field("descriptor", &self.descriptor.as_raw_fd()).field("has_ended", &self.has_ended);
        fields.finish_non_exhaustive()
    }
}

impl Drop for GuestLoop<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.event_loop.stop();
        }
    }
}

#[cfg(all(test, not(mio_unsupported_force_poll_poll)))]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::{Environ, ListenAddress, Server, ServerHandle, StartResponse};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;
    use std::time::Duration;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const A_WHILE: Duration = Duration::from_secs(30);

    /// Makes a guest that wakes itself whenever it is asked for something, its handle, and a client.
    fn guest() -> (GuestLoop<'static>, ServerHandle, TcpStream) {
        let limits = Limits { idle_timeout: A_WHILE, head_timeout: A_WHILE, ..Limits::default() };
        let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).limits(limits).bind().unwrap();
        let ListenAddress::Tcp(address) = server.addresses().remove(0) else { panic!("it listens on TCP") };
        let handle = server.handle();
        let wake = handle.clone();
        let gateway = move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            wake.wake();
            start_response.status(200).send("")
        };
        (server.into_loop(gateway).unwrap(), handle, TcpStream::connect(address).unwrap())
    }

    fn is_readable(guest: &GuestLoop<'_>, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).unwrap();
        poll(&mut [PollFd::new(guest, PollFlags::IN)], Some(&timeout)).unwrap() > 0
    }

    fn is_due(guest: &GuestLoop<'_>) -> bool {
        guest.next_deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Takes turns until there is nothing more to do at once.
    fn settle(guest: &mut GuestLoop<'_>) {
        while is_due(guest) || is_readable(guest, Duration::ZERO) {
            assert!(guest.turn_ready().unwrap().is_continue());
        }
    }

    #[test]
    fn descriptor_tells_of_events_and_the_deadline_of_everything_else() {
        let (mut guest, handle, mut client) = guest();
        assert!(is_due(&guest), "somebody may have connected before");
        settle(&mut guest);
        client.write_all(&REQUEST.repeat(100)).unwrap();
        assert!(is_readable(&guest, A_WHILE));
        assert!(guest.turn_ready().unwrap().is_continue());
        assert!(
            is_due(&guest),
            "a turn takes less than a hundred requests, and the gateway has woken the loop"
        );
        settle(&mut guest);
        let left = guest.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        assert!(left.is_some_and(|left| left > A_WHILE / 2), "{left:?} until the client must ask again");
        thread::spawn(move || handle.wake()).join().unwrap();
        assert!(is_readable(&guest, A_WHILE), "another thread has woken it");
        settle(&mut guest);
    }

    #[test]
    fn guest_that_is_drained_ends_and_stays_so() {
        let (mut guest, handle, client) = guest();
        settle(&mut guest);
        handle.drain();
        assert!(is_readable(&guest, A_WHILE));
        drop(client);
        while guest.turn_ready().unwrap().is_continue() {
            let deadline = guest.next_deadline().expect("it ends by itself");
            is_readable(&guest, deadline.saturating_duration_since(Instant::now()));
        }
        assert!(guest.turn_ready().unwrap().is_break());
        assert_eq!(guest.next_deadline(), None);
    }

    #[test]
    fn guest_that_is_dropped_cuts_its_clients() {
        let (mut guest, _, mut client) = guest();
        client.write_all(REQUEST).unwrap();
        assert!(is_readable(&guest, A_WHILE));
        settle(&mut guest);
        drop(guest);
        // The answer is there, or the connection was reset; it has an end in any case.
        let _ = client.read_to_end(&mut Vec::new());
    }
}
