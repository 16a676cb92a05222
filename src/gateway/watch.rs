//! Descriptors of an application's own on the server's event loop: a backend's socket, a program's pipe.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The direction in which a descriptor is watched.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Reading: there is something to read, or the end.
    Read,
    /// Writing: there is room to write, or a connection has been established, or cannot be.
    Write,
    /// Both directions.
    ReadWrite,
}

const READ: u8 = 1;
const WRITE: u8 = 2;

impl Interest {
    fn bits(self) -> u8 {
        match self {
            Interest::Read => READ,
            Interest::Write => WRITE,
            Interest::ReadWrite => READ | WRITE,
        }
    }

    fn of_bits(bits: u8) -> Interest {
        match bits {
            READ => Interest::Read,
            WRITE => Interest::Write,
            _ => Interest::ReadWrite,
        }
    }
}

/// The system's selector (epoll, kqueue), as the gateway sees it: for those who implement a [server](super::WakeSource).
///
/// `token` is what the server has given its [`Watcher`]: it names the connection that an event wakes.
pub trait Selector: Send + Sync {
    /// Begins to watch a descriptor, which no longer blocks from now on.
    ///
    /// # Errors
    /// Returns the error when the descriptor is watched already, when it is none that can be, or when the
    /// system watches no more of them.
    fn register(&self, token: usize, descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<()>;

    /// Notes that a call has found nothing to do: the next event is waited for. Selectors that tell of an
    /// event once, and never again before they are asked to, have to be asked here.
    fn rearm(&self, token: usize, descriptor: RawFd, interest: Interest) {
        let _ = (token, descriptor, interest);
    }

    /// Stops watching a descriptor that was registered, and is still open.
    fn deregister(&self, descriptor: RawFd);
}

/// A handle to watch descriptors with, on behalf of one connection. An answer that comes later keeps it if it
/// cannot know all its descriptors in the first call.
///
/// It can be cloned, and sent to other threads. Once its connection is gone, the events of what it watches wake nobody.
#[derive(Clone, Default)]
pub struct Watcher {
    selector: Option<Arc<dyn Selector>>,
    token: usize,
}

impl Watcher {
    /// Makes a handle for the connection that this token names, as the reactor does.
    pub fn new(selector: Arc<dyn Selector>, token: usize) -> Watcher {
        Watcher { selector: Some(selector), token }
    }

    /// Watches a descriptor from now on: see [`Environ::watch`](super::Environ::watch).
    ///
    /// # Errors
    /// Returns the same errors as [`Environ::watch`](super::Environ::watch).
    pub fn watch<T: AsFd>(&self, source: T, interest: Interest) -> io::Result<Watched<T>> {
        let selector = self.selector.clone().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "no event loop watches descriptors for this connection",
            )
        })?;
        let descriptor = source.as_fd();
        selector.register(self.token, descriptor, interest)?;
        let registration = WatchRegistration {
            selector,
            token: self.token,
            descriptor: descriptor.as_raw_fd(),
            awaited: AtomicU8::new(interest.bits()),
        };
        Ok(Watched { registration, source })
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("is_supported", &self.selector.is_some()).finish_non_exhaustive()
    }
}

/// Something with a descriptor that the event loop watches, as long as this lives: see
/// [`Environ::watch`](super::Environ::watch).
///
/// It owns what it watches, so that the descriptor can be neither closed nor given to somebody else
/// meanwhile, and dereferences to it. Dropping it ends the watch, and drops what was watched afterwards;
/// [`Watched::into_inner`] ends the watch and gives it back.
///
/// Read and write through this ([`Read`], [`Write`], [`Watched::try_io`]) rather than past it: where the
/// system has neither epoll nor kqueue, an event comes again only after the loop has heard that a call would
/// have had to wait.
pub struct Watched<T> {
    // Fields are dropped in this order: what is closed is no longer registered.
    registration: WatchRegistration,
    source: T,
}

/// A descriptor in a selector, until this is dropped.
struct WatchRegistration {
    selector: Arc<dyn Selector>,
    token: usize,
    descriptor: RawFd,
    /// The directions in which something is still to come: all of them before they were tried, later those that had to
    /// wait.
    awaited: AtomicU8,
}

impl<T> Watched<T> {
    /// Does something in one direction. If it would have to wait ([`io::ErrorKind::WouldBlock`]), an event
    /// will tell when it need not.
    ///
    /// # Errors
    /// Returns the error of `operation`.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.registration.note(interest, operation(&self.source))
    }

    /// Ends the watch, and gives back what was watched: to a pool of connections, for instance. It still does
    /// not block.
    pub fn into_inner(self) -> T {
        self.source
    }
}

impl WatchRegistration {
    fn note<R>(&self, interest: Interest, outcome: io::Result<R>) -> io::Result<R> {
        // Nothing is published by the bits, and who reads in two threads at once has an event too many at worst.
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let awaited = self.awaited.fetch_or(interest.bits(), Ordering::Relaxed) | interest.bits();
                self.selector.rearm(self.token, self.descriptor, Interest::of_bits(awaited));
            }
            Ok(_) | Err(_) => {
                self.awaited.fetch_and(!interest.bits(), Ordering::Relaxed);
            }
        }
        outcome
    }
}

impl Drop for WatchRegistration {
    fn drop(&mut self) {
        self.selector.deregister(self.descriptor);
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.source
    }
}

impl<T: AsFd> AsFd for Watched<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.source).finish()
    }
}

impl<T: Read> Read for Watched<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.registration.note(Interest::Read, self.source.read(into))
    }

    fn read_vectored(&mut self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.registration.note(Interest::Read, self.source.read_vectored(into))
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.registration.note(Interest::Write, self.source.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.registration.note(Interest::Write, self.source.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.registration.note(Interest::Write, self.source.flush())
    }
}
