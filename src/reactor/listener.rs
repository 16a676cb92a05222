//! A listening socket that survives whatever accepting brings.
//!
//! It is edge-triggered like the rest: after an event it must be accepted from until it has
//! nothing more, or whoever stops early must remember that there may be more. And `accept` fails
//! for reasons that are nobody's fault: a client that left while it waited (ECONNABORTED), or a
//! process without file descriptors (EMFILE). A loop that ends on the first error loses its edge,
//! and the server is deaf for ever; one that tries again at once burns the CPU. So it pauses, and
//! goes on when a connection has closed or become idle, or can make room, or a second later.

use std::fs;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};

use super::address::ListenAddress;
#[cfg(feature = "sockets")]
use super::defer_accept::defer_accept;
use super::defer_accept::{deferral, set_deferral};
use super::stream::{Stream, Transport};
use crate::now::Moment;

/// Longest queue of connections that wait to be accepted. 4,096: Linux's own limit by default.
#[cfg(feature = "sockets")]
const BACKLOG: i32 = 4096;

/// Whether there may be something to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// An event will tell.
    Waiting,
    /// There may be more: no event will tell.
    Ready,
    /// There may be more, but no means to take it before this moment, unless a connection closes or
    /// becomes idle.
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
    socket: Socket,
    /// Which process has bound it, as long as this is no duplicate. It may bind others beside it, and is to remove
    /// the path of a unix socket once this goes.
    bound_by: Option<u32>,
    /// The file of a unix socket that was bound here. Another may have taken its path since.
    file: Option<FileId>,
    /// For how many seconds connections are deferred.
    deferral: u32,
    /// For how many seconds connections were deferred before it [stopped](Listener::stop_deferring) that. Put back when
    /// it goes, for who else has the socket.
    stopped_deferral: u32,
}

/// Device and inode.
type FileId = (u64, u64);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// What one attempt to accept has brought.
pub(super) enum Accepted<S = Stream> {
    /// A connection, and who it is (none on a unix socket).
    Connection(S, Option<SocketAddr>),
    /// Somebody who was gone before; there may be others.
    Nobody,
    /// Nothing is waiting.
    Empty,
    /// The means are exhausted.
    Exhausted(io::Error),
}

/// A listening socket as the loop needs it: the system's, or a simulated one.
pub(super) trait Listening {
    /// The connected sockets that it accepts.
    type Stream: Transport;

    fn accept(&mut self) -> Accepted<Self::Stream>;

    /// Hands over at once who connects from now on. Whether it did not before: then some may have connected
    /// and not been seen. Until it goes.
    fn stop_deferring(&mut self) -> bool;

    /// Whether there may be something to accept.
    fn accepting(&self) -> Accepting;

    fn set_accepting(&mut self, accepting: Accepting);

    /// No means to accept before this moment, unless a connection closes or becomes idle before: wait for some.
    fn pause(&mut self, until: Moment) {
        self.set_accepting(Accepting::Paused(until));
    }

    /// For how long a client was silent already that has sent nothing when it is accepted.
    fn silence(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it waits for means.
    fn is_paused(&self) -> bool {
        matches!(self.accepting(), Accepting::Paused(_))
    }

    /// A connection has closed or become idle, or the pause is over.
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
    /// What the system says, with the address. Descriptors can be named on Linux only, with the
    /// feature `sockets`, where the system lets a process duplicate what it does not own
    /// (`pidfd_getfd(2)`): containers often do not.
    pub fn bind(address: &ListenAddress) -> io::Result<Listener> {
        let bound = match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).and_then(Listener::own_tcp),
            ListenAddress::Unix(path) => bind_unix(path),
            ListenAddress::Descriptor(number) => inherited(*number).and_then(Listener::adopt),
        };
        bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
    }

    /// Takes over a listening socket, TCP or unix, whoever has bound it. It no longer blocks from now
    /// on, for others that have it neither. The path of a unix socket stays when it goes.
    ///
    /// # Errors
    /// It is no such socket.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Listener> {
        check_that_it_listens(&descriptor)?;
        // A duplicate is closed in programs that this one starts; what was inherited may not be.
        let listener = net::TcpListener::from(descriptor.try_clone()?);
        if listener.local_addr().is_ok() {
            listener.set_nonblocking(true)?;
            set_tcp_options(&listener)?;
            return Listener::of_tcp(TcpListener::from_std(listener), None);
        }
        let listener = unix::UnixListener::from(OwnedFd::from(listener));
        let path = path_of(&listener.local_addr()?);
        listener.set_nonblocking(true)?;
        Ok(Listener::new(Socket::Unix(UnixListener::from_std(listener), path), None))
    }

    /// Gives the socket away: clients wait in its queue until somebody adopts it. The path of a unix
    /// socket stays. Programs that this one starts do not inherit it, unless told so.
    ///
    /// # Errors
    /// No descriptor is left.
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
        Ok(Listener::new(Socket::Tcp(listener, local), bound_by))
    }

    fn new(socket: Socket, bound_by: Option<u32>) -> Listener {
        // Connections may wait already by the time it is registered.
        let accepting = Accepting::Ready;
        let mut listener =
            Listener { accepting, socket, bound_by, file: None, deferral: 0, stopped_deferral: 0 };
        listener.deferral = deferral(&listener);
        listener
    }

    /// A duplicate, that accepts from the same queue. The path of a unix socket stays when it goes.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Listener> {
        let descriptor = self.as_fd().try_clone_to_owned()?;
        let socket = match &self.socket {
            Socket::Tcp(_, local) => Socket::Tcp(TcpListener::from_std(descriptor.into()), *local),
            Socket::Unix(_, path) => Socket::Unix(UnixListener::from_std(descriptor.into()), path.clone()),
        };
        Ok(Listener::new(socket, None))
    }

    /// Another socket for the same address, with a queue of its own between which the system shares
    /// connections out (SO_REUSEPORT on Linux); where that cannot be, a duplicate. One that others have bound is
    /// not to be shared with sockets that they do not know of, and whose queues would end with this process.
    ///
    /// This one was bound alone, so an address that is taken has been found out.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn sibling(&self) -> io::Result<Listener> {
        match &self.socket {
            Socket::Tcp(listener, local) if self.bound_by == Some(process::id()) => {
                bind_beside(listener, *local).or_else(|_| self.try_clone())
            }
            Socket::Tcp(..) | Socket::Unix(..) => self.try_clone(),
        }
    }

    /// The address, with the port that was given for port 0.
    pub fn address(&self) -> ListenAddress {
        match &self.socket {
            Socket::Tcp(_, local) => ListenAddress::Tcp(*local),
            Socket::Unix(_, path) => ListenAddress::Unix(path.clone()),
        }
    }

    /// The address as applications know it.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(_, local) => Some(*local),
            Socket::Unix(..) => None,
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            Socket::Tcp(listener, _) => listener,
            Socket::Unix(listener, _) => listener,
        }
    }
}

impl Listening for Listener {
    type Stream = Stream;

    fn accept(&mut self) -> Accepted {
        let accepted = match &self.socket {
            Socket::Tcp(listener, _) => listener.accept().map(|(stream, peer)| {
                // Inherited from the listener where the feature `sockets` has set it there.
                if cfg!(not(feature = "sockets")) {
                    let _ = stream.set_nodelay(true);
                }
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                (Stream::Tcp(stream), Some(peer))
            }),
            Socket::Unix(listener, _) => listener.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
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
        let seconds = deferral(self);
        if seconds > 0 {
            set_deferral(self, 0);
            self.deferral = 0;
            self.stopped_deferral = seconds;
        }
        seconds > 0
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
            Socket::Tcp(listener, _) => listener.as_fd(),
            Socket::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.stopped_deferral > 0 {
            set_deferral(self, self.stopped_deferral);
        }
        // A process that was forked since has only a copy: the path is still served. And it is, too, where another
        // server was started on it before this one ends.
        if let Socket::Unix(_, path) = &self.socket
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
    let mut listener = Listener::new(Socket::Unix(listener, path.to_path_buf()), Some(process::id()));
    listener.file = file_id(path);
    Ok(listener)
}

fn file_id(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// A duplicate of a descriptor that is known by its number only. The number may belong to another part
/// of the process, or to nobody: so it is the system that is asked, and nothing taken from anybody.
#[cfg(all(feature = "sockets", target_os = "linux"))]
fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty());
    let found = own.and_then(|own| pidfd_getfd(own, number, PidfdGetfdFlags::empty()));
    found.map_err(|error| {
        let error = io::Error::from(error);
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
                let text = format!("the system lets nobody take a descriptor over (pidfd_getfd): {error}");
                io::Error::new(error.kind(), text)
            }
            _ => error,
        }
    })
}

#[cfg(not(all(feature = "sockets", target_os = "linux")))]
fn inherited(_number: RawFd) -> io::Result<OwnedFd> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "a descriptor cannot be taken over here"))
}

#[cfg(all(feature = "sockets", not(target_vendor = "apple")))]
fn check_that_it_listens(descriptor: &OwnedFd) -> io::Result<()> {
    match rustix::net::sockopt::socket_acceptconn(descriptor)? {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen")),
    }
}

/// It will be seen when accepting fails. (Apple's systems know the question, SO_ACCEPTCONN, and do not answer it.)
#[cfg(not(all(feature = "sockets", not(target_vendor = "apple"))))]
fn check_that_it_listens(_descriptor: &OwnedFd) -> io::Result<()> {
    Ok(())
}

/// The path of a unix socket; where it has a name that is none, that name with an `@`, as is usual.
fn path_of(address: &unix::SocketAddr) -> PathBuf {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        return PathBuf::from(format!("@{}", String::from_utf8_lossy(name)));
    }
    address.as_pathname().unwrap_or(Path::new("")).to_path_buf()
}

/// A socket that was left behind by a server that is gone is in the way of the next one. One that does not answer,
/// since its server is stuck and its queue is full, is not waited for: it is in use.
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

/// Without Nagle's delay, and with keep-alive probes: each connection inherits them, which saves system
/// calls.
#[cfg(feature = "sockets")]
fn set_tcp_options(listener: impl AsFd) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_nodelay(&listener, true)?;
    // So that a client that has vanished without a word is noticed in the end, even while its
    // answer is pending.
    sockopt::set_socket_keepalive(&listener, true)?;
    Ok(())
}

/// Nobody can: connections are told one by one.
#[cfg(not(feature = "sockets"))]
fn set_tcp_options(_listener: impl AsFd) -> io::Result<()> {
    Ok(())
}

/// With a long queue, and for IPv4 as well where the address is `[::]`.
#[cfg(feature = "sockets")]
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    or_without_ipv6(open_tcp(address, false), address, bind_tcp)
}

/// Flags that a socket is made with: it does not block, and programs that are started do not inherit it.
#[cfg(all(feature = "sockets", not(target_vendor = "apple")))]
const SOCKET_FLAGS: rustix::net::SocketFlags =
    rustix::net::SocketFlags::NONBLOCK.union(rustix::net::SocketFlags::CLOEXEC);
/// Nothing: it is told afterwards.
#[cfg(all(feature = "sockets", target_vendor = "apple"))]
const SOCKET_FLAGS: rustix::net::SocketFlags = rustix::net::SocketFlags::empty();

/// `is_shared`: others may be bound to the same address (SO_REUSEPORT).
#[cfg(feature = "sockets")]
fn open_tcp(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SOCKET_FLAGS, None)?;
    if SOCKET_FLAGS.is_empty() {
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if is_shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    set_tcp_options(&socket)?;
    defer_accept(&socket);
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Elsewhere SO_REUSEPORT gives all connections to the socket that was bound last.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
fn bind_beside(listener: &TcpListener, local: SocketAddr) -> io::Result<Listener> {
    rustix::net::sockopt::set_socket_reuseport(listener, true)?;
    Listener::own_tcp(open_tcp(local, true)?)
}

#[cfg(not(all(feature = "sockets", any(target_os = "linux", target_os = "android"))))]
fn bind_beside(_listener: &TcpListener, _local: SocketAddr) -> io::Result<Listener> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(feature = "sockets"))]
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    or_without_ipv6(TcpListener::bind(address), address, bind_tcp)
}

/// `:8000` means every address; a machine without IPv6 has only those of IPv4.
fn or_without_ipv6(
    bound: io::Result<TcpListener>,
    address: SocketAddr,
    bind: fn(SocketAddr) -> io::Result<TcpListener>,
) -> io::Result<TcpListener> {
    match bound {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
        {
            bind(SocketAddr::from(([0, 0, 0, 0], address.port())))
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(feature = "sockets", target_os = "linux"))]
    use {
        crate::{Environ, Server, StartResponse},
        std::thread,
        std::time::Instant,
    };

    /// Those of a socket that others have bound are no less theirs.
    #[cfg(all(feature = "sockets", target_os = "linux"))]
    #[test]
    fn socket_that_others_have_bound_is_left_as_it_is() {
        let own = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let theirs = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let adopted = Listener::adopt(theirs.into()).unwrap();
        for (first, is_own) in [(own, true), (adopted, false)] {
            let second = first.sibling().unwrap();
            assert_eq!((deferral(&first) > 0, deferral(&second) > 0), (is_own, is_own));
            let is_shared = rustix::net::sockopt::socket_reuseport(&first).unwrap();
            assert_eq!(is_shared, is_own);
        }
    }

    /// As workers do that were forked from one process, one of which ends.
    #[cfg(all(feature = "sockets", target_os = "linux"))]
    #[test]
    fn server_that_ends_leaves_its_socket_to_others_as_it_was() {
        let others = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let before = deferral(&others);
        let server = Server::new().listener(others.try_clone().unwrap()).bind().unwrap();
        let handle = server.handle();
        let serving = thread::spawn(move || {
            server.serve(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
                start_response.status(200).send("")
            })
        });
        handle.drain();
        let begun = Instant::now();
        let mut was_put_off = false;
        while !serving.is_finished() {
            was_put_off |= deferral(&others) == 0;
            assert!(begun.elapsed() < Duration::from_secs(60), "it ends");
        }
        serving.join().unwrap().unwrap();
        assert!(before > 0 && was_put_off, "it takes who has connected, and only then closes");
        assert_eq!(deferral(&others), before);
    }

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

    /// It would be waited for until the other one takes somebody from its queue, which may be never.
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
