//! Functions of sockets and disks that every unix can offer, and std does not.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// Longest queue of connections that wait to be accepted. 4,096: Linux's own limit by default.
const BACKLOG: i32 = 4096;

/// Flags that a socket is made with: it does not block, and programs that are started do not inherit it.
#[cfg(not(target_vendor = "apple"))]
const SOCKET_FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
/// No flags, where a socket gets them only once it is made.
#[cfg(target_vendor = "apple")]
const SOCKET_FLAGS: SocketFlags = SocketFlags::empty();

/// Listens on an address, with a long queue, and for IPv4 as well if it is `[::]`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    open_tcp(address, |_| Ok(()))
}

/// Listens with a socket whose early options `prepare` sets.
pub fn open_tcp(
    address: SocketAddr,
    prepare: impl Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<TcpListener> {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SOCKET_FLAGS, None)?;
    if SOCKET_FLAGS.is_empty() {
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    set_listener_options(&socket)?;
    prepare(&socket)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Sends without Nagle's delay, and with keep-alive probes: each connection inherits both, which saves system calls.
pub fn set_listener_options(listener: impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&listener, true)?;
    // So that a client that has vanished without a word is noticed in the end, even while its
    // answer is pending.
    sockopt::set_socket_keepalive(&listener, true)?;
    Ok(())
}

/// Sets nothing: a connection has inherited all.
pub fn set_stream_options(_stream: &TcpStream) {}

/// Checks that a socket listens.
#[cfg(not(target_vendor = "apple"))]
pub fn check_that_it_listens(descriptor: &impl AsFd) -> io::Result<()> {
    match sockopt::socket_acceptconn(descriptor)? {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen")),
    }
}

/// Apple's systems know the question, SO_ACCEPTCONN, and do not answer it.
#[cfg(target_vendor = "apple")]
pub use super::plain::check_that_it_listens;

/// Whether [`reset_on_close`] changes anything.
pub const KNOWS_RESETS: bool = true;

/// Makes the close that follows a reset.
pub fn reset_on_close(stream: &TcpStream) {
    // The close itself follows in any case.
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// Makes calls on a descriptor return at once.
pub fn set_nonblocking(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(descriptor, true)?)
}

/// Returns the free bytes in a folder, for others than root.
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(directory).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}
