//! A socket between a client and the server: two pipes, and all that can happen to them.
//!
//! Towards the server it is what epoll makes of a socket: an event comes when something becomes possible, once, and
//! only to who has registered; registering tells what is possible already.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::rc::Rc;

use mio::{Interest, Registry, Token};

use super::disk::file_content;
use super::plan::Script;
use super::rng::Rng;
use crate::reactor::readiness::Readiness;
use crate::reactor::stream::Transport;

/// How the server has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: the client reads to the end of what was written.
    Fin,
    /// By a reset.
    Reset,
}

/// One connection, as the system sees it.
pub struct Socket {
    rng: Rng,
    /// On its way to the server.
    inbound: VecDeque<u8>,
    /// The client has ended its side.
    pub has_client_ended: bool,
    /// The client has broken the connection.
    pub is_broken: bool,
    /// Everything that the server has written, and how much of it the client has read.
    pub wire: Vec<u8>,
    pub read_by_client: usize,
    /// The length of what was written, for the application.
    pub written: Rc<Cell<usize>>,
    /// How much may be unread.
    capacity: usize,
    /// How the server has ended its side.
    pub end: Option<End>,
    /// The close is to be a reset.
    resets: bool,
    /// Bytes that the server has read, and not thrown away.
    pub read_by_server: usize,
    /// What the server has registered for.
    interest: Option<Interest>,
    /// An event waits to be dispatched.
    pub has_event: bool,
    /// The server was told that there is no room.
    needs_room: bool,
    scripts: Rc<Vec<Script>>,
}

/// The server's end. To drop it is to close.
pub struct ServerSide(pub Rc<RefCell<Socket>>);

impl Socket {
    pub fn new(capacity: usize, rng: &Rng, scripts: Rc<Vec<Script>>) -> Socket {
        Socket {
            rng: rng.clone(),
            inbound: VecDeque::new(),
            has_client_ended: false,
            is_broken: false,
            wire: Vec::new(),
            read_by_client: 0,
            written: Rc::default(),
            capacity,
            end: None,
            resets: false,
            read_by_server: 0,
            interest: None,
            has_event: false,
            needs_room: false,
            scripts,
        }
    }

    /// The client sends.
    pub fn send(&mut self, bytes: &[u8]) {
        self.inbound.extend(bytes);
        self.raise();
    }

    /// The client ends its side.
    pub fn finish(&mut self) {
        self.has_client_ended = true;
        self.raise();
    }

    /// The client breaks the connection.
    pub fn break_off(&mut self) {
        self.is_broken = true;
        self.raise();
    }

    /// The client reads.
    pub fn take(&mut self, count: usize) {
        self.read_by_client += count;
        // The system tells of room only when there is much.
        if self.needs_room && self.has_much_room() && self.wants_room() {
            self.needs_room = false;
            self.raise();
        }
    }

    /// Whether the server has asked for its close to be a reset.
    pub fn resets(&self) -> bool {
        self.resets
    }

    /// What the client has not read.
    pub fn unread(&self) -> usize {
        self.wire.len() - self.read_by_client
    }

    /// Something has become possible, or seems to have.
    pub fn raise(&mut self) {
        self.has_event |= self.interest.is_some();
    }

    /// The event that waits, as the system would tell it.
    pub fn take_event(&mut self) -> u8 {
        self.has_event = false;
        let sign = |bits: u8, is_set: bool| if is_set { bits } else { 0 };
        let has_ended = self.has_client_ended || self.is_broken;
        sign(Readiness::READABLE, self.is_readable())
            | sign(Readiness::WRITABLE, self.wants_room() && (self.has_much_room() || self.is_broken))
            | sign(Readiness::READ_CLOSED, has_ended)
            | sign(Readiness::BROKEN, self.is_broken)
    }

    fn wants_room(&self) -> bool {
        self.interest.is_some_and(|interest| interest.is_writable())
    }

    /// Whether a read would find something: bytes, or the end.
    pub fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.has_client_ended || self.is_broken
    }

    /// Whether there is so much room that the system tells of it.
    pub fn has_much_room(&self) -> bool {
        self.unread() * 2 <= self.capacity
    }

    /// How many of these bytes the socket takes now, or why none.
    fn room_for(&mut self, bytes: usize) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.rng.once_in(16) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut count = bytes.min(self.capacity.saturating_sub(self.unread()));
        if count > 0 && self.rng.once_in(6) {
            count = 1 + self.rng.below(count);
        }
        if count < bytes {
            self.needs_room = true;
            // Perhaps there was room again before anybody could ask.
            if self.has_much_room() && self.wants_room() {
                self.raise();
            }
        }
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
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
            return if self.has_client_ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = if self.rng.once_in(3) { 1 + self.rng.below(there) } else { there };
        for (slot, byte) in into.iter_mut().zip(self.inbound.drain(..count)) {
            *slot = byte;
        }
        if count < there {
            // The rest has come only now: of that there is an event.
            self.raise();
        }
        if self.end.is_none() {
            self.read_by_server += count;
        }
        Ok(count)
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
        if self.is_readable() || (self.wants_room() && self.has_much_room()) {
            self.has_event = true;
        }
    }
}

impl Transport for ServerSide {
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(into)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.borrow_mut().write(&slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>())
    }

    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn send_file(&self, _: &File, offset: u64, bytes: usize) -> io::Result<usize> {
        self.0.borrow_mut().send_file(offset, bytes)
    }

    fn end(&self) {
        self.0.borrow_mut().end.get_or_insert(End::Fin);
    }

    fn reset_on_close(&self) {
        self.0.borrow_mut().resets = true;
    }

    fn is_broken(&self) -> bool {
        self.0.borrow().is_broken
    }

    fn register(&mut self, _: &Registry, _: Token, interest: Interest) -> io::Result<()> {
        let mut socket = self.0.borrow_mut();
        assert!(socket.interest.is_none(), "registered twice");
        socket.register(interest);
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, interest: Interest) -> io::Result<()> {
        let mut socket = self.0.borrow_mut();
        assert!(socket.interest.is_some_and(|before| before != interest), "nothing new");
        socket.register(interest);
        Ok(())
    }
}

impl Drop for ServerSide {
    fn drop(&mut self) {
        let mut socket = self.0.borrow_mut();
        // A client that has broken the connection reads no end of any kind.
        let is_reset = socket.is_broken || (socket.resets && socket.end.is_none());
        socket.end.get_or_insert(if is_reset { End::Reset } else { End::Fin });
    }
}
