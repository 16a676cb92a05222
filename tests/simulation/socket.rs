//! A socket between a client and the server: two pipes, and all that can happen to them.
//!
//! Towards the server it is what mio makes of a socket on one of three systems: an event comes when something becomes
//! possible, once, and only to who has registered; registering tells what is possible already. On epoll an event says
//! all that is true of the socket; on kqueue reading and writing have an event each, each with an end of its own; and
//! where mio plays edges over poll(2), none comes before a call has found nothing (`WouldBlock`).
//!
//! Who closes upon bytes that nobody has read, or is sent some afterwards, resets the connection, and what is on its
//! way to the client is lost: more or less of it, by chance.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::rc::Rc;

use mio::{Interest, Registry, Token};

use super::disk::file_content;
use super::plan::Script;
use super::rng::Rng;
use crate::reactor::socket::Said;
use crate::reactor::stream::Transport;

/// The system whose events are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Epoll,
    Kqueue,
    Poll,
}

/// How the server has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end is in order: the client reads to the end of what was written.
    Fin,
    /// The end is a reset.
    Reset,
}

/// The fate of the server's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The end is open, or at most shut down.
    Open,
    /// The end was closed after everything had been read.
    Read,
    /// The end was closed upon bytes that had come only just then.
    UponNews,
    /// The end was closed upon bytes that the system had reported.
    UponUnread,
}

const READ: u8 = 1;
const WRITE: u8 = 2;
/// The client's end, of which poll(2) tells apart from what there is to read.
const END: u8 = 4;

/// One connection, as the system sees it.
pub struct Socket {
    rng: Rng,
    system: System,
    /// Bytes on their way to the server.
    inbound: VecDeque<u8>,
    /// The client has ended its side.
    pub has_client_ended: bool,
    /// The client has broken the connection.
    pub is_broken: bool,
    /// Everything that the server has written and that was not lost, and how much of it the client has read.
    pub wire: Vec<u8>,
    pub read_by_client: usize,
    /// The length of what was written, for the application.
    pub written: Rc<Cell<usize>>,
    /// How much may be unread.
    capacity: usize,
    /// How the server has ended its side.
    pub end: Option<End>,
    /// Whether it has ended its side before it closed.
    pub has_ended_first: bool,
    pub closing: Closing,
    /// A reset has destroyed what was on its way to the client.
    pub is_destroyed: bool,
    /// The close is to be a reset.
    resets: bool,
    /// Bytes that the server has read, and not thrown away.
    pub read_by_server: usize,
    /// The events that the server has registered for, and its token.
    interest: Option<Interest>,
    pub token: Token,
    /// The operations that have become possible since the server was last told.
    possible: u8,
    /// The signs that the next event has whether they are true or not.
    lies: u8,
    /// The signs that may be told: on poll(2) none twice before a call has found nothing.
    armed: u8,
    /// Whether the socket has ended in both directions, which poll(2) reports once, and then never again.
    has_hung_up: bool,
    /// The server was told that there is no room.
    needs_room: bool,
    /// The server was told of what there is to read, or could not take all of it.
    is_told: bool,
    /// The server was told of the client's end.
    is_told_of_end: bool,
    scripts: Rc<Vec<Script>>,
}

/// The server's end. To drop it is to close.
pub struct ServerSide(pub Rc<RefCell<Socket>>);

impl Socket {
    pub fn new(capacity: usize, system: System, rng: &Rng, scripts: Rc<Vec<Script>>) -> Socket {
        Socket {
            rng: rng.clone(),
            system,
            inbound: VecDeque::new(),
            has_client_ended: false,
            is_broken: false,
            wire: Vec::new(),
            read_by_client: 0,
            written: Rc::default(),
            capacity,
            end: None,
            has_ended_first: false,
            closing: Closing::Open,
            is_destroyed: false,
            resets: false,
            read_by_server: 0,
            interest: None,
            token: Token(0),
            possible: 0,
            lies: 0,
            armed: 0,
            has_hung_up: false,
            needs_room: false,
            is_told: false,
            is_told_of_end: false,
            scripts,
        }
    }

    /// The client sends.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.closing != Closing::Open {
            return self.destroy();
        }
        self.inbound.extend(bytes);
        self.raise(READ);
    }

    /// The client ends its side.
    pub fn finish(&mut self) {
        self.has_client_ended = true;
        self.raise(READ);
    }

    /// The client breaks the connection.
    pub fn break_off(&mut self) {
        self.is_broken = true;
        self.raise(READ | WRITE);
    }

    /// The client reads.
    pub fn take(&mut self, count: usize) {
        self.read_by_client += count;
        // The system tells of room only when there is much; kqueue whenever it has grown.
        if (self.needs_room || self.system == System::Kqueue) && self.has_much_room() {
            self.needs_room = false;
            self.raise(WRITE);
        }
    }

    /// An event that says what need not be so.
    pub fn lie(&mut self) {
        self.lies |= self.rng.pick(&[READ, WRITE]) & self.interests();
    }

    /// The server hears of what there is to read.
    pub fn tell(&mut self) {
        self.is_told |= self.is_readable();
    }

    /// Whether the server has asked for its close to be a reset.
    pub fn resets(&self) -> bool {
        self.resets
    }

    /// The number of bytes that the client has not read.
    pub fn unread(&self) -> usize {
        self.wire.len() - self.read_by_client
    }

    /// A reset reaches the client: it has what it has read, and perhaps some more.
    fn destroy(&mut self) {
        if self.unread() > 0 && self.end != Some(End::Reset) {
            self.wire.truncate(self.read_by_client + self.rng.below(self.unread() + 1));
            self.end = Some(End::Reset);
            self.is_destroyed = true;
        }
    }

    /// Something has become possible.
    fn raise(&mut self, what: u8) {
        if self.system != System::Poll {
            self.possible |= what & self.interests();
        }
    }

    fn interests(&self) -> u8 {
        let bits = |interest: Interest| if interest.is_writable() { READ | WRITE } else { READ };
        self.interest.map_or(0, bits)
    }

    /// Returns the signs of the next events.
    fn pending(&self) -> u8 {
        self.lies
            | match self.system {
                System::Epoll | System::Kqueue => self.possible,
                // Of an end in both directions poll(2) tells unasked.
                System::Poll if self.hangs_up() => {
                    if self.has_hung_up {
                        0
                    } else {
                        READ | WRITE
                    }
                }
                System::Poll => {
                    let readable = if self.is_readable() { READ } else { 0 };
                    let writable = if self.has_much_room() { WRITE } else { 0 };
                    let ended = if self.has_client_ended { END } else { 0 };
                    (readable | writable | ended) & self.armed
                }
            }
    }

    /// Whether it has ended in both directions.
    fn hangs_up(&self) -> bool {
        self.is_broken || (self.end.is_some() && self.has_client_ended)
    }

    /// Whether an event waits to be told.
    pub fn has_event(&self) -> bool {
        self.interest.is_some() && self.closing == Closing::Open && self.pending() != 0
    }

    /// The events that wait, as the system would tell them, in bits of the readiness.
    pub fn take_events(&mut self) -> Vec<u8> {
        let (pending, lies) = (self.pending(), self.lies);
        (self.possible, self.lies) = (0, 0);
        let has_ended = self.has_client_ended || self.is_broken;
        let is_ended = self.end.is_some();
        let said = |what: u8, is_read_closed: bool, is_broken: bool| Said {
            is_readable: what & READ != 0,
            is_writable: what & WRITE != 0,
            is_read_closed,
            is_broken,
        };
        let reading = if self.is_readable() { READ } else { 0 };
        let writing = if self.has_much_room() || is_ended || self.is_broken { WRITE } else { 0 };
        if self.system == System::Kqueue {
            let mut events = Vec::new();
            // A filter whose condition has gone again says nothing.
            if pending & READ & (reading | lies) != 0 {
                self.is_told_of_end |= has_ended;
                // `EV_EOF`, with what is wrong in `fflags`.
                events.push(said(READ, has_ended, self.is_broken).signs());
            }
            if pending & WRITE & (writing | lies) != 0 {
                // `EV_EOF` here says that nothing can be written any more, be it that we have ended our side.
                events.push(said(WRITE, false, is_ended || self.is_broken).signs());
            }
            return events;
        }
        self.is_told_of_end |= has_ended;
        let has_hung_up = self.hangs_up();
        self.has_hung_up = has_hung_up;
        let told = match self.system {
            System::Poll if has_hung_up => self.interests() & (reading | writing),
            System::Poll => {
                self.armed &= !pending;
                pending & (reading | writing)
            }
            System::Epoll | System::Kqueue => self.interests() & (reading | writing),
        };
        let is_read_closed = has_ended && (told | pending) & (READ | END) != 0;
        vec![said(told | lies, is_read_closed, has_hung_up).signs()]
    }

    /// Whether a read would find something: bytes, or the end.
    pub fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.has_client_ended || self.is_broken
    }

    /// Whether there is so much room that the system tells of it.
    pub fn has_much_room(&self) -> bool {
        self.unread() * 2 <= self.capacity
    }

    /// A call has found nothing: on poll(2) that arms it again.
    fn would_block<T>(&mut self) -> io::Result<T> {
        self.armed = self.interests() | END;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// How many of these bytes the socket takes now, or why none.
    fn room_for(&mut self, bytes: usize) -> io::Result<usize> {
        assert!(self.end.is_none(), "it writes although it has ended its side");
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.rng.once_in(16) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = self.capacity.saturating_sub(self.unread());
        let mut count = bytes.min(room);
        if count > 0 && self.rng.once_in(6) {
            count = 1 + self.rng.below(count);
        }
        if count < bytes {
            self.needs_room = true;
            // Perhaps there was room again before anybody could ask.
            if self.has_much_room() {
                self.raise(WRITE);
            }
        }
        if count == 0 { self.would_block() } else { Ok(count) }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
        self.written.set(self.wire.len());
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.room_for(bytes.len())?;
        self.put(&bytes[..count]);
        Ok(count)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.rng.once_in(16) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let there = self.inbound.len().min(into.len());
        if there == 0 {
            self.is_told = false;
            return if self.has_client_ended { Ok(0) } else { self.would_block() };
        }
        let count = if self.rng.once_in(3) { 1 + self.rng.below(there) } else { there };
        io::Read::read_exact(&mut self.inbound, &mut into[..count])?;
        // Only who fills the buffer, or knows of the end, has reason to believe that there is more.
        self.is_told = count == into.len() || self.is_told_of_end || !self.short_read_drains();
        if count < there {
            // The rest has come only now: of that there is an event.
            self.raise(READ);
        }
        if self.end.is_none() {
            self.read_by_server += count;
        }
        Ok(count)
    }

    fn short_read_drains(&self) -> bool {
        self.system != System::Poll
    }

    fn send_file(&mut self, offset: u64, bytes: usize) -> io::Result<usize> {
        let scripts = self.scripts.clone();
        let left = file_content(&scripts, offset);
        if self.rng.once_in(20) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if left.is_empty() {
            return Ok(0);
        }
        let count = self.room_for(left.len().min(bytes))?;
        self.put(&left[..count]);
        Ok(count)
    }

    fn register(&mut self, interest: Interest) {
        self.interest = Some(interest);
        self.armed = self.interests() | END;
        let readable = if self.is_readable() { READ } else { 0 };
        let writable = if self.has_much_room() { WRITE } else { 0 };
        self.raise(readable | writable);
    }

    fn end_side(&mut self) {
        if self.end.is_none() {
            self.has_ended_first = true;
            self.end = Some(if self.is_broken { End::Reset } else { End::Fin });
            // Systems tell of what one does oneself, too.
            self.raise(READ | WRITE);
        }
    }

    fn close(&mut self) {
        self.closing = match (self.inbound.is_empty(), self.is_told) {
            (true, _) => Closing::Read,
            (false, true) => Closing::UponUnread,
            (false, false) => Closing::UponNews,
        };
        // A client that has broken the connection reads no end of any kind.
        let is_reset = self.is_broken || (self.resets && self.end.is_none());
        self.end.get_or_insert(if is_reset { End::Reset } else { End::Fin });
        if self.closing != Closing::Read {
            self.destroy();
        }
    }
}

impl Transport for ServerSide {
    fn short_read_drains(&self) -> bool {
        self.0.borrow().short_read_drains()
    }

    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(into)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        self.0.borrow_mut().write(&slices.concat())
    }

    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        // Past mio, which so does not learn that a socket is full.
        assert!(self.short_read_drains(), "no event would come");
        self.write(bytes)
    }

    fn send_file(&self, _: &File, offset: u64, bytes: usize) -> io::Result<usize> {
        self.0.borrow_mut().send_file(offset, bytes)
    }

    fn end(&self) {
        self.0.borrow_mut().end_side();
    }

    fn reset_on_close(&self) {
        self.0.borrow_mut().resets = true;
    }

    fn is_broken(&self) -> bool {
        self.0.borrow().is_broken
    }

    fn register(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let mut socket = self.0.borrow_mut();
        assert!(socket.interest.is_none(), "registered twice");
        socket.token = token;
        socket.register(interest);
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let mut socket = self.0.borrow_mut();
        assert!(socket.interest.is_some_and(|before| before != interest), "nothing new");
        assert_eq!(socket.token, token, "another's");
        socket.register(interest);
        Ok(())
    }
}

impl Drop for ServerSide {
    fn drop(&mut self) {
        self.0.borrow_mut().close();
    }
}
