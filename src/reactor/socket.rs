//! The socket of a connection: the stream, its known readiness, and the peer.

use std::net::SocketAddr;

use mio::event::Event;

use super::readiness::{Readiness, flush};
use super::stream::{Stream, Transport};
use crate::conversation::{OutputQueue, Wire};
use crate::gateway::Peer;

/// Bytes that are read, and bytes that are written, for one connection before others have their turn. 256
/// KiB: four buffers full, some 100 µs.
pub(super) const TURN_BYTES: usize = 256 * 1024;

/// A connected socket.
pub(super) struct Socket<S = Stream> {
    pub stream: S,
    pub readiness: Readiness,
    pub registration: Registration,
    /// The number of the listener that accepted the connection.
    pub listener: u16,
    /// The generation, which tells it from connections that had its place in the slab before: events name it.
    /// (It is here rather than beside the place, so that they fill each other's gaps.)
    pub generation: u32,
    /// The address of the peer.
    pub peer: Peer,
}

/// The events that the socket is registered for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Registration {
    /// No events, since the socket was just accepted. Most connections that serve one request stay so.
    None,
    /// Readability.
    Read,
    /// Readability and writability, from the first short write on.
    ReadWrite,
}

impl<S: Transport> Socket<S> {
    /// Makes the socket of a connection that was just accepted.
    pub fn new(stream: S, peer: Option<SocketAddr>, listener: u16, generation: u32) -> Socket<S> {
        Socket {
            stream,
            readiness: Readiness::unknown(),
            registration: Registration::None,
            listener,
            generation,
            peer: peer.into(),
        }
    }

    /// Notes [what an event says](signs), and returns whether the socket is still alive.
    pub fn note(&self, signs: u8) -> bool {
        self.readiness.set(signs & !Readiness::BROKEN, true);
        !(signs & Readiness::BROKEN != 0 && self.stream.is_broken())
    }
}

impl<S: Transport> Wire for Socket<S> {
    fn flush(&self, out: &mut OutputQueue) {
        // What is wrong with the socket comes out again when the rest is flushed.
        let _ = flush(&self.stream, &self.readiness, out, false, TURN_BYTES);
    }
}

/// Returns the signs of an event, in bits of [`Readiness`].
pub(super) fn signs(event: &Event) -> u8 {
    Said {
        is_readable: event.is_readable(),
        is_writable: event.is_writable(),
        is_read_closed: event.is_read_closed(),
        is_broken: event.is_error() || event.is_write_closed(),
    }
    .signs()
}

/// The signs of an event in mio's words, which each system gives a meaning of its own.
pub(super) struct Said {
    pub is_readable: bool,
    pub is_writable: bool,
    pub is_read_closed: bool,
    /// Whether there is an error, or nothing can be written any more.
    pub is_broken: bool,
}

impl Said {
    /// Returns the signs in bits of [`Readiness`].
    pub fn signs(&self) -> u8 {
        let sign = |bits: u8, is_set: bool| if is_set { bits } else { 0 };
        // These bits only cause a read or a write: that finds the end, or the error.
        sign(Readiness::READABLE, self.is_readable)
            | sign(Readiness::WRITABLE, self.is_writable)
            | sign(Readiness::READ_CLOSED | Readiness::READABLE, self.is_read_closed)
            | sign(Readiness::BROKEN | Readiness::READABLE | Readiness::WRITABLE, self.is_broken)
    }
}
