//! Functions of the system as std and mio can offer them on every unix.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use mio::net::{TcpListener, TcpStream};

// Listening

/// Listens on an address. The length of its queue, and whether `[::]` means IPv4 as well, are std's and the
/// system's choice.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Fails to listen on an address that another socket listens on, too, to share its connections: no such call
/// is known here.
pub fn bind_beside(_listener: &TcpListener, _local: SocketAddr) -> io::Result<TcpListener> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets nothing that connections would inherit from their listener: they are [set](set_stream_options) one by
/// one.
pub fn set_listener_options(_listener: impl AsFd) -> io::Result<()> {
    Ok(())
}

/// Sets the option that a connection has not inherited: it sends without Nagle's delay.
pub fn set_stream_options(stream: &TcpStream) {
    // It goes without where this fails.
    let _ = stream.set_nodelay(true);
}

/// Believes that a socket listens: accepting will fail otherwise.
pub fn check_that_it_listens(_descriptor: &impl AsFd) -> io::Result<()> {
    Ok(())
}

/// Returns nothing of the connections that wait to be accepted: the system does not tell.
pub fn accept_queue(_listener: &impl AsFd) -> Option<(u32, u32)> {
    None
}

/// Fails to duplicate a descriptor that is known by its number only.
pub fn inherited(_number: RawFd) -> io::Result<OwnedFd> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "a descriptor cannot be taken over here"))
}

/// Returns 0, the seconds for which a connection without a request stays with the system. Other systems than
/// Linux have nothing like it, or nothing that gives up waiting.
pub fn deferral(_socket: &impl AsFd) -> u32 {
    0
}

/// Sets nothing, since there is nothing to defer.
pub fn set_deferral(_socket: &impl AsFd, _seconds: u32) {}

/// Reserves nothing: the table of descriptors grows by itself, without waiting, or nothing is known of it.
pub fn reserve_descriptors(_count: usize, _any: impl AsFd) {}

// Connections

/// Whether [`send_file`] sends files. (The calls of macOS and the BSDs that have this name are others, and
/// rustix has none of them.)
pub const SENDS_FILES: bool = false;

/// Sends part of a file without reading it.
pub fn send_file(_socket: impl AsFd, _file: &File, _offset: u64, _bytes: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Reads as much as there is and fits.
pub fn receive(mut socket: impl Read, into: &mut [u8]) -> io::Result<usize> {
    socket.read(into)
}

/// Writes as much as the socket takes.
pub fn send(mut socket: impl Write, bytes: &[u8]) -> io::Result<usize> {
    socket.write(bytes)
}

/// Whether [`send_more`] lets bytes wait.
pub const LETS_BYTES_WAIT: bool = false;

/// Sends bytes that may wait for more to follow at once, so that they share a packet. Here they do not wait.
pub fn send_more(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    send(stream, bytes)
}

/// Whether [`reset_on_close`] changes anything.
pub const KNOWS_RESETS: bool = false;

/// Changes nothing: the close stays an ordinary end, and a client of HTTP/1.0 cannot tell a broken answer
/// without length from a whole one.
pub fn reset_on_close(_stream: &TcpStream) {}

/// Makes calls on a descriptor return at once. What std does with a socket of this kind, the system does with any file.
pub fn set_nonblocking(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    UnixStream::from(descriptor.try_clone_to_owned()?).set_nonblocking(true)
}

// The disk

/// Returns none for the free bytes in a folder: no call for that is known here.
pub fn free_bytes(_directory: &Path) -> Option<u64> {
    None
}

/// Fails to create a file that never has a name, so that one with a name is made.
pub fn create_unnamed(_directory: &Path, _mode: u32) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
