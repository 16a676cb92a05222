//! Functions that Linux and Android alone can offer.
//!
//! # Connections that are handed over with their request
//!
//! A client needs some µs between connecting and sending. A server that is not busy is woken by the first,
//! accepts, reads nothing, registers, and is woken again; with `TCP_DEFER_ACCEPT` (tcp(7)) Linux completes a
//! connection when its first bytes are there. Where each request has a connection of its own, that saves
//! four system calls of nine, and 40 % of the CPU. And who only connects costs no descriptor.
//!
//! The price: who has sent nothing yet is not seen for a second, and if the socket closes meanwhile, is told
//! so by a reset only when it sends. A busy proxy always has some such connections, so a server that drains
//! takes the option off, goes on accepting for a moment (`LAST_CALL` in the event loop), and puts it back for
//! others who may have the socket, too. And the system takes the time until a client sends for that of the
//! way there and back: where the first response to a client that had connected beforehand is lost, it is sent
//! again up to three seconds later, and BBR paces it: 300 kB after 0.9 s took 32 ms. More than 4,096 clients
//! who connect in a second and say nothing have SYN cookies.
//!
//! Only sockets that are bound here are given it: whoever binds one and passes it on has its own opinion.
//!
//! # Room in the table of open files
//!
//! Linux makes the table of a process twice as large whenever it is full. In a process with several threads
//! (one that waits for signals is enough) the one that has opened the file waits meanwhile until no other
//! processor can be looking at the old table: 10 to 20 ms in which nobody is served, seven times on the way
//! to 10,000 connections. The table never shrinks, so a descriptor that is high enough, opened once and
//! closed at once, brings it to its size beforehand: 8 bytes for each file, in the kernel. While there is a
//! single thread nobody waits.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;

use mio::net::{TcpListener, TcpStream};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use rustix::net::{RecvFlags, SendFlags};

use super::sockets::open_tcp;

/// How long a connection without a request stays with the system. 1 s: the shortest there is, and nobody's
/// timeout is put off by more, unless a segment is lost: a second SYN-ACK and its answer end the wait.
const DEFER_ACCEPT_SECONDS: u32 = 1;

// std's own is not stable yet (`TcpStreamExt::set_deferaccept`), and rustix has none.
sockopt_impl!(
    /// The seconds for which a connection that brings no data is not handed over.
    DeferAccept,
    Both,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32
);

// For a socket that listens, its fields are about the queue.
sockopt_impl!(
    /// Facts about a socket of TCP.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    libc::tcp_info
);

/// Returns how many connections wait to be accepted, and how many can; none for a socket that is not TCP's.
pub fn accept_queue(listener: &impl AsFd) -> Option<(u32, u32)> {
    let info = nix::sys::socket::getsockopt(listener, TcpInfo).ok()?;
    Some((info.tcpi_unacked, info.tcpi_sacked))
}

/// Returns for how many seconds a connection without a request stays with the system, whoever has set that; 0
/// if it is handed over at once.
pub fn deferral(socket: &impl AsFd) -> u32 {
    nix::sys::socket::getsockopt(socket, DeferAccept).unwrap_or(0)
}

/// Sets for how many seconds a connection without a request stays with the system, for clients that connect from now
/// on and for all that share the socket. A client that has connected already is handed over when it sends. A system
/// that does not know the option goes without.
pub fn set_deferral(socket: &impl AsFd, seconds: u32) {
    let _ = nix::sys::socket::setsockopt(socket, DeferAccept, &seconds);
}

/// Listens on an address, so that connections are handed over with their requests.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    open_tcp(address, |socket| {
        set_deferral(socket, DEFER_ACCEPT_SECONDS);
        Ok(())
    })
}

/// Listens on an address that another socket listens on, too: the system shares connections out between them.
/// (Elsewhere SO_REUSEPORT gives all of them to the socket that was bound last.)
pub fn bind_beside(listener: &TcpListener, local: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::sockopt::set_socket_reuseport;
    set_socket_reuseport(listener, true)?;
    open_tcp(local, |socket| {
        set_deferral(socket, DEFER_ACCEPT_SECONDS);
        Ok(set_socket_reuseport(socket, true)?)
    })
}

/// Duplicates a descriptor that is known by its number only. The number may belong to another part of the
/// process, or to nobody: so the system is asked, and nothing is taken from anybody.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
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

/// Makes room for `count` descriptors, or for all that are allowed. `any` is one to make copies of.
pub fn reserve_descriptors(count: usize, any: impl AsFd) {
    use rustix::process::{Resource, getrlimit};
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let Some(highest) = allowed.min(count as u64).checked_sub(1) else { return };
    if let Ok(highest) = i32::try_from(highest) {
        // Where it fails, the table grows when it must.
        let _ = rustix::io::fcntl_dupfd_cloexec(any, highest);
    }
}

/// Whether [`send_file`] sends files.
pub const SENDS_FILES: bool = true;

/// Sends part of a file without reading it.
pub fn send_file(socket: impl AsFd, file: &File, mut offset: u64, bytes: usize) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), bytes)?)
}

// Straight to the kernel: the calls of the C library are points where a thread can be cancelled, and once a process has a
// second thread, each of them costs 45 instructions more.

/// Reads as much as there is and fits.
pub fn receive(socket: impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, into, RecvFlags::empty())?.0)
}

/// Writes as much as the socket takes.
pub fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// Whether [`send_more`] lets bytes wait.
pub const LETS_BYTES_WAIT: bool = true;

/// Sends bytes that wait for more to follow at once, so that they share a packet.
pub fn send_more(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}

/// Creates a file that never has a name. Not every file system has such files, and their errors differ; the
/// way with a name meets again whatever else may be wrong.
pub fn create_unnamed(directory: &Path, mode: u32) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::EXCL;
    Ok(open(directory, flags, Mode::from_raw_mode(mode))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Listener;
    use crate::{Environ, Server, StartResponse};
    use std::io::{Read, Write};
    use std::net;
    use std::thread;
    use std::time::{Duration, Instant};

    /// A socket that others have bound belongs to them.
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

    /// Workers that were forked from one process share a socket so, and one of them ends.
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
        // One who has asked half of a question is waited for.
        let mut client = net::TcpStream::connect(others.local().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        handle.drain();
        let begun = Instant::now();
        while deferral(&others) > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it takes who has connected, and only then closes"
            );
            thread::sleep(Duration::from_millis(1));
        }
        client.write_all(b"Host: a\r\n\r\n").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        drop(client);
        serving.join().unwrap().unwrap();
        assert!(before > 0);
        assert_eq!(deferral(&others), before);
    }
}
