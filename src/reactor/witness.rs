//! Witnesses of the loop: listeners and sockets that tell what is asked of them.
//!
//! ```text
//!  Running ── accept ──▶ Witnessed<Listener> ── accept4 ──▶ the system
//!     │                        │ makes
//!     └─ read, write … ──▶ WitnessedStream ── recvfrom, sendto … ──▶ the system
//!                              │
//!                              └──▶ Testimony ──▶ Witness: an Act at a time
//! ```
//!
//! They stand between the loop and the system as the simulated ones of tests do: [`Running`](super::running::Running) is
//! compiled once more with them, and runs the same code. A server without a witness has none of it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mio::{Interest, Registry, Token};

use super::act::{Act, Operation, SystemCall, Witness};
use super::clock::Clock;
use super::listener::{Accepted, Accepting, Listening};
use super::snapshot::InterestState;
use super::stream::{Stream, Transport};
use super::sys::CALLS;
use crate::now::Moment;

/// The way to the witness, which all listeners and sockets of a loop share.
pub(super) struct Testimony<'w> {
    witness: RefCell<Box<dyn Witness + 'w>>,
    clock: Clock,
    /// Connections that have come, and those that are witnessed and still there.
    count: RefCell<Count>,
    /// The number of the last connection that is witnessed.
    last: u64,
}

#[derive(Default)]
struct Count {
    accepted: u64,
    open: u64,
}

impl<'w> Testimony<'w> {
    /// Makes the way to a witness of the first few connections.
    pub fn new(witness: Box<dyn Witness + 'w>, connections: u64, clock: Clock) -> Testimony<'w> {
        let count = RefCell::default();
        Testimony { witness: RefCell::new(witness), clock, count, last: connections }
    }

    /// Tells the witness of an act.
    pub fn tell(&self, connection: Option<u64>, act: &Act<'_>) {
        self.witness.borrow_mut().see(connection, self.clock.moment(), act);
    }

    /// Whether what is not of one connection is told: one is witnessed that the witness cares for, or the next one
    /// will be.
    pub fn goes_on(&self) -> bool {
        let count = self.count.borrow();
        count.accepted < self.last || count.open > 0 && self.witness.borrow().sees_waits()
    }

    /// Counts a connection, and returns its number if it is witnessed.
    fn enter(&self) -> Option<u64> {
        let mut count = self.count.borrow_mut();
        count.accepted += 1;
        let is_witnessed = count.accepted <= self.last;
        count.open += u64::from(is_witnessed);
        is_witnessed.then_some(count.accepted)
    }
}

/// A listener whose connections are witnessed.
pub(super) struct Witnessed<'w, L> {
    listener: L,
    testimony: Rc<Testimony<'w>>,
}

impl<'w, L> Witnessed<'w, L> {
    pub fn new(listener: L, testimony: Rc<Testimony<'w>>) -> Witnessed<'w, L> {
        Witnessed { listener, testimony }
    }
}

impl<'w, L: Listening<Stream = Stream>> Listening for Witnessed<'w, L> {
    type Stream = WitnessedStream<'w>;
    type Testimony = Rc<Testimony<'w>>;

    fn testify(testimony: &Rc<Testimony<'w>>, act: impl FnOnce() -> Act<'static>) {
        if testimony.goes_on() {
            testimony.tell(None, &act());
        }
    }

    fn accept(&mut self) -> Accepted<WitnessedStream<'w>> {
        let accepted = self.listener.accept();
        let tell = |connection: Option<u64>, result: Result<Option<SocketAddr>, &io::Error>| {
            self.testimony.tell(connection, &Act::Accepted { call: CALLS.accept, result });
        };
        let goes_on = self.testimony.goes_on();
        match accepted {
            Accepted::Connection(stream, peer) => {
                let number = self.testimony.enter();
                if number.is_some() {
                    tell(number, Ok(peer));
                }
                let testimony = number.map(|number| (number, self.testimony.clone()));
                Accepted::Connection(WitnessedStream { stream, testimony }, peer)
            }
            Accepted::Nobody => Accepted::Nobody,
            Accepted::Empty => {
                if goes_on {
                    tell(None, Err(&io::ErrorKind::WouldBlock.into()));
                }
                Accepted::Empty
            }
            Accepted::Exhausted(error) => {
                if goes_on {
                    tell(None, Err(&error));
                }
                Accepted::Exhausted(error)
            }
        }
    }

    fn stop_deferring(&mut self) -> bool {
        self.listener.stop_deferring()
    }

    fn accepting(&self) -> Accepting {
        self.listener.accepting()
    }

    fn set_accepting(&mut self, accepting: Accepting) {
        self.listener.set_accepting(accepting);
    }

    fn pause(&mut self, until: Moment) {
        self.listener.pause(until);
    }

    fn name(&self) -> String {
        self.listener.name()
    }

    fn queue(&self) -> Option<(u32, u32)> {
        self.listener.queue()
    }

    fn silence(&self) -> Duration {
        self.listener.silence()
    }
}

/// A socket that tells its witness of each system call; none for connections that are not witnessed any more.
pub(super) struct WitnessedStream<'w> {
    stream: Stream,
    testimony: Option<(u64, Rc<Testimony<'w>>)>,
}

impl WitnessedStream<'_> {
    fn called(&self, name: &'static str, operation: Operation<'_>, result: Result<usize, &io::Error>) {
        self.tell(|| Act::Called(SystemCall { name, operation, result }));
    }
}

impl Transport for WitnessedStream<'_> {
    const IS_WITNESSED: bool = true;

    fn short_read_drains(&self) -> bool {
        self.stream.short_read_drains()
    }

    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let result = self.stream.read(into);
        let bytes = &into[..*result.as_ref().unwrap_or(&0)];
        let operation = Operation::Receive { room: into.len(), bytes };
        self.called(CALLS.receive, operation, result.as_ref().copied());
        result
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        let operation = Operation::Send { pieces: &[IoSlice::new(bytes)], more_follows: false };
        self.called(CALLS.send, operation, result.as_ref().copied());
        result
    }

    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.stream.write_slices(slices);
        let operation = Operation::Send { pieces: slices, more_follows: false };
        self.called(CALLS.send_pieces, operation, result.as_ref().copied());
        result
    }

    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write_more(bytes);
        let more_follows = self.stream.lets_bytes_wait();
        let operation = Operation::Send { pieces: &[IoSlice::new(bytes)], more_follows };
        self.called(CALLS.send, operation, result.as_ref().copied());
        result
    }

    fn send_file(&self, file: &File, offset: u64, bytes: usize) -> io::Result<usize> {
        let result = self.stream.send_file(file, offset, bytes);
        self.called(CALLS.send_file, Operation::SendFile { offset, bytes }, result.as_ref().copied());
        result
    }

    fn end(&self) {
        self.stream.end();
        self.called(CALLS.end, Operation::End, Ok(0));
    }

    fn reset_on_close(&self) {
        self.stream.reset_on_close();
        if self.stream.knows_resets() {
            self.called(CALLS.set_option, Operation::ResetOnClose, Ok(0));
        }
    }

    fn is_broken(&self) -> bool {
        let is_broken = self.stream.is_broken();
        let error = io::Error::other("the connection is broken");
        let result = if is_broken { Err(&error) } else { Ok(0) };
        self.called(CALLS.take_error, Operation::TakeError, result);
        is_broken
    }

    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let result = self.stream.register(registry, token, interest);
        let operation = Operation::Register { interest: state_of(interest), is_change: false };
        self.called(CALLS.register, operation, result.as_ref().map(|()| 0));
        result
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let result = self.stream.reregister(registry, token, interest);
        let operation = Operation::Register { interest: state_of(interest), is_change: true };
        self.called(CALLS.register, operation, result.as_ref().map(|()| 0));
        result
    }

    fn tell<'a>(&self, act: impl FnOnce() -> Act<'a>) {
        if let Some((number, testimony)) = &self.testimony {
            testimony.tell(Some(*number), &act());
        }
    }
}

impl Drop for WitnessedStream<'_> {
    fn drop(&mut self) {
        // The stream itself is dropped, and so closed, right after this. While a panic unwinds nobody is told: it may
        // be the witness's own, and a second one would end the process.
        if !std::thread::panicking() {
            self.called(CALLS.close, Operation::Close, Ok(0));
        }
        if let Some((_, testimony)) = &self.testimony {
            testimony.count.borrow_mut().open -= 1;
        }
    }
}

fn state_of(interest: Interest) -> InterestState {
    if interest.is_writable() { InterestState::ReadWrite } else { InterestState::Read }
}
