//! A connection's socket: the stream, what is known of its readiness, and who is at its other end.

use std::net::SocketAddr;

use mio::event::Event;

use super::readiness::{Readiness, flush};
use super::shared::Asker;
use super::stream::Stream;
use crate::conversation::{OutputQueue, Wire};
use crate::gateway::Peer;

/// Bytes read, and bytes written, for one connection before others have their turn. 256 KiB: four
/// buffers full, some 100 µs.
pub(super) const TURN_BYTES: usize = 256 * 1024;

/// A connected socket.
pub(super) struct Socket {
    pub stream: Stream,
    pub readiness: Readiness,
    pub registration: Registration,
    /// By which listener it was accepted.
    listener: u16,
    peer: Peer,
}

/// For what the socket is registered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Registration {
    /// Nothing: it was just accepted. Most connections that serve one request stay so.
    None,
    /// Reading.
    Read,
    /// Reading and writing, from the first short write on.
    ReadWrite,
}

impl Socket {
    /// One that was just accepted.
    pub fn new(stream: Stream, peer: Option<SocketAddr>, listener: u16) -> Socket {
        Socket {
            stream,
            readiness: Readiness::unknown(),
            registration: Registration::None,
            listener,
            peer: peer.into(),
        }
    }

    /// Takes note of an event; whether the socket is still alive.
    pub fn note(&self, event: &Event) -> bool {
        let is_broken = event.is_error() || event.is_write_closed();
        if event.is_read_closed() {
            self.readiness.set(Readiness::READ_CLOSED, true);
        }
        if event.is_readable() || event.is_read_closed() || is_broken {
            self.readiness.set(Readiness::READABLE, true);
        }
        if event.is_writable() || is_broken {
            self.readiness.set(Readiness::WRITABLE, true);
        }
        !(is_broken && self.stream.is_broken())
    }

    /// Who is at the other end, for applications.
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            peer: &self.peer,
            listener: self.listener,
            has_finished_sending: self.readiness.has(Readiness::READ_CLOSED),
        }
    }
}

impl Wire for Socket {
    fn flush(&self, out: &mut OutputQueue) {
        // What is wrong with the socket comes out again when the rest is flushed.
        let _ = flush(&self.stream, &self.readiness, out, false, TURN_BYTES);
    }
}
