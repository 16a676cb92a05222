//! A connected socket, TCP or unix, and the few system calls that the reactor needs of it.
//!
//! With the feature `sockets` the last response and the end of the connection leave in one segment
//! (`send` with MSG_MORE, then shut down: 20 to 30 % of the CPU of a connection that serves one
//! request), a broken answer without length ends with a reset, and on Linux and Android files leave
//! without being read (`sendfile`: a quarter of the CPU less, or more). Without it the same code
//! takes the plain path.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// Whether [`Transport::send_file`] is there. (The calls of macOS and the BSDs that have this name are
/// others, and rustix has none of them.)
pub(super) const SENDS_FILES: bool =
    cfg!(all(feature = "sockets", any(target_os = "linux", target_os = "android")));

/// Whether a read that did not fill its buffer has drained the socket, so that the read that would
/// only say `WouldBlock` can be saved (a tenth of the CPU of a request). True on epoll and kqueue,
/// unless the event has said that the peer has ended: then the end is still to be read, and no
/// further event will tell. mio does not promise it; where its poll(2) backend is forced, which arms an
/// event again only on `WouldBlock`, the draining path runs.
const SHORT_READ_DRAINS: bool = cfg!(all(
    not(mio_unsupported_force_poll_poll),
    any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        target_vendor = "apple",
    )
));

/// What the reactor needs of a connected socket: the system's, or a simulated one. To drop it is to close it.
pub(super) trait Transport {
    /// Whether a read that did not fill its buffer has [drained](SHORT_READ_DRAINS) the socket.
    fn short_read_drains(&self) -> bool {
        SHORT_READ_DRAINS
    }

    /// Reads what is there, as far as there is room for it; 0 is the end.
    fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as is taken.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes several slices in one call.
    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Writes what a file or the end of the connection follows at once, and lets it wait for that,
    /// to share a packet. If not everything was taken, the ordinary way goes on from there.
    fn write_more(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends part of a file: how many bytes were taken. 0 is the end of the file.
    fn send_file(&self, file: &File, offset: u64, bytes: usize) -> io::Result<usize>;

    /// Ends our side: the peer reads to the end of what was written, and can still write.
    fn end(&self);

    /// Makes the close that follows a reset.
    fn reset_on_close(&self);

    /// Whether an event that speaks of an error is right: it is a hint like any other.
    fn is_broken(&self) -> bool;

    /// Asks for events.
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()>;

    /// Asks for others than before.
    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()>;
}

/// A non-blocking connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Transport for Stream {
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(into),
            Stream::Unix(stream) => (&*stream).read(into),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(slices),
            Stream::Unix(stream) => (&*stream).write_vectored(slices),
        }
    }

    #[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::net::SendFlags;
        match self {
            Stream::Tcp(stream) => {
                Ok(rustix::net::send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
            }
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    #[cfg(not(all(feature = "sockets", any(target_os = "linux", target_os = "android"))))]
    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    #[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
    fn send_file(&self, file: &File, mut offset: u64, bytes: usize) -> io::Result<usize> {
        // Through mio, which may have to know of `WouldBlock`.
        match self {
            Stream::Tcp(stream) => {
                stream.try_io(|| Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), bytes)?))
            }
            Stream::Unix(stream) => {
                stream.try_io(|| Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), bytes)?))
            }
        }
    }

    #[cfg(not(all(feature = "sockets", any(target_os = "linux", target_os = "android"))))]
    fn send_file(&self, _: &File, _: u64, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn end(&self) {
        // It fails where the peer has already broken the connection; then there is no end to tell.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Without the feature it stays an ordinary end, and a
    /// client of HTTP/1.0 cannot tell a broken answer without length from a whole one.
    fn reset_on_close(&self) {
        #[cfg(feature = "sockets")]
        if let Stream::Tcp(stream) = self {
            // The close itself follows in any case.
            let _ = rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
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
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}
