//! A socket between a client and the server: two pipes, and all that can happen to them.

use std::collections::VecDeque;
use std::io;

use super::rng::Rng;

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
    /// On its way to the server.
    inbound: VecDeque<u8>,
    /// The client has ended its side.
    pub has_client_ended: bool,
    /// The client has broken the connection.
    pub is_broken: bool,
    /// Everything that the server has written, and how much of it the client has read.
    pub wire: Vec<u8>,
    pub read_by_client: usize,
    /// How much may be unread.
    capacity: usize,
    /// How the server has ended its side.
    pub end: Option<End>,
    /// Bytes that the server has read, and not thrown away.
    pub read_by_server: usize,
}

impl Socket {
    pub fn new(capacity: usize) -> Socket {
        Socket {
            inbound: VecDeque::new(),
            has_client_ended: false,
            is_broken: false,
            wire: Vec::new(),
            read_by_client: 0,
            capacity,
            end: None,
            read_by_server: 0,
        }
    }

    /// The client sends.
    pub fn send(&mut self, bytes: &[u8]) {
        self.inbound.extend(bytes);
    }

    /// What the client has not read.
    pub fn unread(&self) -> usize {
        self.wire.len() - self.read_by_client
    }

    /// Whether there is so much room that the system tells of it.
    pub fn has_much_room(&self) -> bool {
        self.unread() * 2 <= self.capacity
    }

    /// As the system call: none of it must be taken for more than it says.
    pub fn read(&mut self, into: &mut [u8], rng: &mut Rng) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if rng.once_in(16) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut count = self.inbound.len().min(into.len());
        if count == 0 {
            return if self.has_client_ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        if rng.once_in(3) {
            count = 1 + rng.below(count);
        }
        for (slot, byte) in into.iter_mut().zip(self.inbound.drain(..count)) {
            *slot = byte;
        }
        Ok(count)
    }

    pub fn write(&mut self, bytes: &[u8], rng: &mut Rng) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if rng.once_in(16) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut count = bytes.len().min(self.capacity.saturating_sub(self.unread()));
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if rng.once_in(6) {
            count = 1 + rng.below(count);
        }
        self.wire.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}
