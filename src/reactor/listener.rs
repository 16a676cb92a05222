//! A listening socket that survives every error of accepting.
//!
//! It is edge-triggered like the rest: after an event it must be accepted from until it has nothing more, or
//! the loop must remember that there may be more. And `accept` fails for reasons that are nobody's fault: a
//! client that left while it waited (ECONNABORTED), or a process without file descriptors (EMFILE). A loop
//! that ends on the first error loses its edge, and the server is deaf for ever; one that tries again at once
//! burns the CPU. So it pauses, and goes on when a connection has closed or become idle, or can make room, or
//! a second later.

use std::fs;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};

use super::act::Act;
use super::address::ListenAddress;
use super::stream::{Stream, Transport};
use super::sys;
use crate::now::Moment;

/// Whether there may be something to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// Nothing is waiting; an event will tell.
    Waiting,
    /// More may be waiting, and no event will tell.
    Ready,
    /// More may be waiting, but there are no means to take it before this moment, unless a connection closes
    /// or becomes idle.
    Paused(Moment),
}

/// A bound, listening socket: clients can connect, and wait until a server runs.
///
/// [`Server::bind`](crate::Server::bind) makes those of its addresses by itself. Bind one here where
/// several servers are to share a socket, in threads or in processes that are forked later: each gets
/// a duplicate, and the system gives each connection to one that accepts.
///
/// ```
/// use tidegate::Server;
/// use tidegate::server::Listener;
///
/// let listener = Listener::bind(&"127.0.0.1:0".parse()?)?;
/// let first = Server::new().listener(listener.try_clone()?).bind()?;
/// let second = Server::new().listener(listener).bind()?;
/// assert_eq!(first.addresses(), second.addresses());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    accepting: Accepting,
    socket: BoundSocket,
    /// The process that has bound the socket, unless this is a duplicate. That process may bind others beside it, and
    /// removes the path of a unix socket when this is dropped.
    bound_by: Option<u32>,
    /// The file of a unix socket that was bound here. Another may have taken its path since.
    file: Option<FileId>,
    /// The seconds for which connections are deferred.
    deferral: u32,
    /// The seconds for which connections were deferred before it [stopped](Listener::stop_deferring) that.
    /// They are restored when it is dropped, for others who have the socket.
    stopped_deferral: u32,
}

/// Identifies a file by device and inode.
type FileId = (u64, u64);

#[derive(Debug)]
enum BoundSocket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// The result of one attempt to accept.
pub(super) enum Accepted<S = Stream> {
    /// A connection, with its peer's address (none on a unix socket).
    Connection(S, Option<SocketAddr>),
    /// A client that has left before; others may be waiting.
    Nobody,
    /// Nothing is waiting.
    Empty,
    /// The means are exhausted.
    Exhausted(io::Error),
}

/// The operations that the loop needs of a listening socket: the system's, or a simulated one.
pub(super) trait Listening {
    /// The type of the connected sockets that it accepts.
    type Stream: Transport;

    /// The way to whoever witnesses the loop; nothing where nobody can.
    type Testimony;

    /// Tells the witness of an act that is of no connection, if it is to know.
    fn testify(_testimony: &Self::Testimony, _act: impl FnOnce() -> Act<'static>) {}

    fn accept(&mut self) -> Accepted<Self::Stream>;

    /// Lets connections be handed over as soon as they are made, until the listener is dropped. Returns whether they
    /// were deferred before: then some clients may have connected without being seen.
    fn stop_deferring(&mut self) -> bool;

    /// Whether there may be something to accept.
    fn accepting(&self) -> Accepting;

    fn set_accepting(&mut self, accepting: Accepting);

    /// Pauses accepting until this moment for want of means, unless a connection closes or becomes idle
    /// before.
    fn pause(&mut self, until: Moment) {
        self.set_accepting(Accepting::Paused(until));
    }

    /// The address, as it is shown to people.
    fn name(&self) -> String {
        String::new()
    }

    /// Returns how many connections wait to be accepted, and how many can, where the system tells.
    fn queue(&self) -> Option<(u32, u32)> {
        None
    }

    /// Returns how long a client has been silent that has sent nothing by the time it is accepted.
    fn silence(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the listener waits for means.
    fn is_paused(&self) -> bool {
        matches!(self.accepting(), Accepting::Paused(_))
    }

    /// Ends the pause: a connection has closed or become idle, or it is over.
    fn resume(&mut self) {
        if self.is_paused() {
            self.set_accepting(Accepting::Ready);
        }
    }
}

impl Listener {
    /// Binds an address, or takes a duplicate of the descriptor that it names. That descriptor itself
    /// stays open: whoever owns it can call [`Listener::adopt`] instead.
    ///
    /// # Errors
    /// Returns the error of the system, with the address. Descriptors can be named on Linux only, with the
    /// feature `sockets`, if the system lets a process duplicate what it does not own (`pidfd_getfd(2)`):
    /// containers often do not.
    pub fn bind(address: &ListenAddress) -> io::Result<Listener> {
        let bound = match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).and_then(Listener::own_tcp),
            ListenAddress::Unix(path) => bind_unix(path),
            ListenAddress::Descriptor(number) => sys::inherited(*number).and_then(Listener::adopt),
        };
        bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
    }

    /// Takes over a listening socket, TCP or unix, whoever has bound it. From now on it does not block, for
    /// others that have it neither. The path of a unix socket stays when this is dropped.
    ///
    /// # Errors
    /// Returns the error when this is not a listening socket.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Listener> {
        sys::check_that_it_listens(&descriptor)?;
        // A duplicate is closed in programs that this one starts; what was inherited may not be.
        let listener = net::TcpListener::from(descriptor.try_clone()?);
        if listener.local_addr().is_ok() {
            listener.set_nonblocking(true)?;
            sys::set_listener_options(&listener)?;
            return Listener::of_tcp(TcpListener::from_std(listener), None);
        }
        let listener = unix::UnixListener::from(OwnedFd::from(listener));
        let path = sys::path_of(&listener.local_addr()?);
        listener.set_nonblocking(true)?;
        Ok(Listener::new(BoundSocket::Unix(UnixListener::from_std(listener), path), None))
    }

    /// Gives the socket away: clients wait in its queue until somebody adopts it. The path of a unix
    /// socket stays. Programs that this one starts do not inherit it, unless told so.
    ///
    /// # Errors
    /// Returns the error when no descriptor is left.
    pub fn release(mut self) -> io::Result<OwnedFd> {
        let descriptor = self.as_fd().try_clone_to_owned()?;
        self.bound_by = None;
        Ok(descriptor)
    }

    fn own_tcp(listener: TcpListener) -> io::Result<Listener> {
        Listener::of_tcp(listener, Some(process::id()))
    }

    fn of_tcp(listener: TcpListener, bound_by: Option<u32>) -> io::Result<Listener> {
        let local = listener.local_addr()?;
        Ok(Listener::new(BoundSocket::Tcp(listener, local), bound_by))
    }

    fn new(socket: BoundSocket, bound_by: Option<u32>) -> Listener {
        // Connections may wait already by the time it is registered.
        let accepting = Accepting::Ready;
        let mut listener =
            Listener { accepting, socket, bound_by, file: None, deferral: 0, stopped_deferral: 0 };
        listener.deferral = sys::deferral(&listener);
        listener
    }

    /// Makes a duplicate that accepts from the same queue. The path of a unix socket stays when that is
    /// dropped.
    ///
    /// # Errors
    /// Returns the error when no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Listener> {
        let descriptor = self.as_fd().try_clone_to_owned()?;
        let socket = match &self.socket {
            BoundSocket::Tcp(_, local) => BoundSocket::Tcp(TcpListener::from_std(descriptor.into()), *local),
            BoundSocket::Unix(_, path) => {
                BoundSocket::Unix(UnixListener::from_std(descriptor.into()), path.clone())
            }
        };
        Ok(Listener::new(socket, None))
    }

    /// Binds another socket to the same address, with a queue of its own, between which the system shares
    /// connections out (SO_REUSEPORT on Linux); if that cannot be, makes a duplicate. A socket that others
    /// have bound is not joined by sockets that they do not know of, and whose queues would end with this
    /// process.
    ///
    /// This one was bound alone, so an address that is taken has been found out.
    ///
    /// # Errors
    /// Returns the error when no descriptor is left.
    pub(crate) fn sibling(&self) -> io::Result<Listener> {
        match &self.socket {
            BoundSocket::Tcp(listener, local) if self.bound_by == Some(process::id()) => {
                sys::bind_beside(listener, *local).and_then(Listener::own_tcp).or_else(|_| self.try_clone())
            }
            BoundSocket::Tcp(..) | BoundSocket::Unix(..) => self.try_clone(),
        }
    }

    /// The address, with the port that was given for port 0.
    pub fn address(&self) -> ListenAddress {
        match &self.socket {
            BoundSocket::Tcp(_, local) => ListenAddress::Tcp(*local),
            BoundSocket::Unix(_, path) => ListenAddress::Unix(path.clone()),
        }
    }

    /// The address as applications know it.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match &self.socket {
            BoundSocket::Tcp(_, local) => Some(*local),
            BoundSocket::Unix(..) => None,
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            BoundSocket::Tcp(listener, _) => listener,
            BoundSocket::Unix(listener, _) => listener,
        }
    }
}

impl Listening for Listener {
    type Stream = Stream;
    type Testimony = ();

    fn accept(&mut self) -> Accepted {
        let accepted = match &self.socket {
            BoundSocket::Tcp(listener, _) => listener.accept().map(|(stream, peer)| {
                sys::set_stream_options(&stream);
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                (Stream::Tcp(stream), Some(peer))
            }),
            BoundSocket::Unix(listener, _) => {
                listener.accept().map(|(stream, _)| (Stream::Unix(stream), None))
            }
        };
        match accepted {
            Ok((stream, peer)) => Accepted::Connection(stream, peer),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Accepted::Empty,
                io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::PermissionDenied
                // Linux hands errors of the connection's network to whoever accepts it (accept(2)).
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable => Accepted::Nobody,
                _ => Accepted::Exhausted(error),
            },
        }
    }

    fn stop_deferring(&mut self) -> bool {
        let seconds = sys::deferral(self);
        if seconds > 0 {
            sys::set_deferral(self, 0);
            self.deferral = 0;
            self.stopped_deferral = seconds;
        }
        seconds > 0
    }

    fn name(&self) -> String {
        self.address().to_string()
    }

    fn queue(&self) -> Option<(u32, u32)> {
        sys::accept_queue(self)
    }

    fn silence(&self) -> Duration {
        Duration::from_secs(self.deferral.into())
    }

    fn accepting(&self) -> Accepting {
        self.accepting
    }

    fn set_accepting(&mut self, accepting: Accepting) {
        self.accepting = accepting;
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            BoundSocket::Tcp(listener, _) => listener.as_fd(),
            BoundSocket::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.stopped_deferral > 0 {
            sys::set_deferral(self, self.stopped_deferral);
        }
        // A process that was forked since has only a copy: the path is still served. And it is, too, where another
        // server was started on it before this one ends.
        if let BoundSocket::Unix(_, path) = &self.socket
            && self.bound_by == Some(process::id())
            && self.file == file_id(path)
        {
            // Somebody may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    remove_stale_socket(path)?;
    let listener = UnixListener::bind(path)?;
    let mut listener = Listener::new(BoundSocket::Unix(listener, path.to_path_buf()), Some(process::id()));
    listener.file = file_id(path);
    Ok(listener)
}

fn file_id(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Removes a socket that a server which is gone has left behind, and that is in the way of the next one. One
/// that does not answer, since its server is stuck and its queue is full, is not waited for: it is in use.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket
        && let Err(error) = mio::net::UnixStream::connect(path)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        return fs::remove_file(path);
    }
    Ok(())
}

/// Binds a TCP address. `:8000` means every address; a machine without IPv6 has only those of IPv4.
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    match sys::bind_tcp(address) {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
        {
            sys::bind_tcp(SocketAddr::from(([0, 0, 0, 0], address.port())))
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_that_another_server_has_taken_over_stays() {
        let path = std::env::temp_dir().join(format!("tidegate-taken-over-{}", process::id()));
        let first = bind_unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind_unix(&path).unwrap();
        drop(first);
        assert!(unix::UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }

    /// The test must not wait until the other server takes somebody from its queue, which may be never.
    #[test]
    fn path_of_a_server_that_is_stuck_is_in_use() {
        let path = std::env::temp_dir().join(format!("tidegate-stuck-{}", process::id()));
        let stuck = bind_unix(&path).unwrap();
        let mut clients = Vec::new();
        while let Ok(client) = mio::net::UnixStream::connect(&path) {
            clients.push(client);
        }
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(stuck);
        assert!(!path.exists());
    }

    #[test]
    fn path_that_another_process_has_bound_stays() {
        let path = std::env::temp_dir().join(format!("tidegate-listener-{}", process::id()));
        for (bound_by, stays) in [(process::id() + 1, true), (process::id(), false)] {
            let mut listener = bind_unix(&path).unwrap();
            listener.bound_by = Some(bound_by);
            drop(listener);
            assert_eq!(path.exists(), stays, "bound by {bound_by}");
        }
    }
}
