//! A connected socket, TCP or unix, and the few system calls that the reactor needs of it.
//!
//! Where the [system](super::sys) has the calls for it, the last response and the end of the connection are
//! sent in one segment (`send` with MSG_MORE, then shut down), a broken answer without length ends with a
//! reset, and files are sent without being read (`sendfile`).

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::act::Act;
use super::sys;

/// The operations that the reactor needs of a connected socket: the system's, or a simulated one. Dropping it
/// closes it.
pub(super) trait Transport {
    /// Whether somebody [witnesses](super::witness) what is done with it.
    const IS_WITNESSED: bool = false;

    /// Whether a read that did not fill its buffer has [drained](sys::SHORT_READ_DRAINS) the socket.
    fn short_read_drains(&self) -> bool {
        sys::SHORT_READ_DRAINS
    }

    /// Reads as much as there is and fits; 0 is the end.
    fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as the socket takes.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes several slices in one call.
    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Writes bytes that a file or the end of the connection follows at once, and lets them wait for that, to
    /// share a packet. If not everything was taken, the ordinary way goes on from there.
    fn write_more(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends part of a file, and returns how many bytes were taken. 0 is the end of the file.
    fn send_file(&self, file: &File, offset: u64, bytes: usize) -> io::Result<usize>;

    /// Ends our side: the peer reads to the end of what was written, and can still write.
    fn end(&self);

    /// Makes the close that follows a reset.
    fn reset_on_close(&self);

    /// Whether an event that reports an error is right: it is a hint like any other.
    fn is_broken(&self) -> bool;

    /// Asks for events.
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()>;

    /// Asks for other events than before.
    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()>;

    /// Tells the witness of an act, if there is one.
    #[inline(always)]
    fn tell<'a>(&self, _act: impl FnOnce() -> Act<'a>) {}
}

/// A non-blocking connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Transport for Stream {
    // Through mio, which may have to know of `WouldBlock`.
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_io(|| sys::receive(stream, into)),
            Stream::Unix(stream) => stream.try_io(|| sys::receive(stream, into)),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_io(|| sys::send(stream, bytes)),
            Stream::Unix(stream) => stream.try_io(|| sys::send(stream, bytes)),
        }
    }

    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(slices),
            Stream::Unix(stream) => (&*stream).write_vectored(slices),
        }
    }

    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => sys::send_more(stream, bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn send_file(&self, file: &File, offset: u64, bytes: usize) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_io(|| sys::send_file(stream, file, offset, bytes)),
            Stream::Unix(stream) => stream.try_io(|| sys::send_file(stream, file, offset, bytes)),
        }
    }

    fn end(&self) {
        // It fails where the peer has already broken the connection; then there is no end to tell.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    fn reset_on_close(&self) {
        // A unix socket knows no reset: its peer cannot tell a cut from an end.
        if let Stream::Tcp(stream) = self {
            sys::reset_on_close(stream);
        }
    }

    fn is_broken(&self) -> bool {
        match self {
            Stream::Tcp(stream) => !matches!(stream.take_error(), Ok(None)),
            Stream::Unix(stream) => !matches!(stream.take_error(), Ok(None)),
        }
    }

    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interest)
    }
}

impl Stream {
    /// Whether bytes can wait for more that follows: on a unix socket they make no packets, and need not.
    pub fn lets_bytes_wait(&self) -> bool {
        sys::LETS_BYTES_WAIT && matches!(self, Stream::Tcp(_))
    }

    /// Whether the close of the socket can be a reset.
    pub fn knows_resets(&self) -> bool {
        sys::KNOWS_RESETS && matches!(self, Stream::Tcp(_))
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}
