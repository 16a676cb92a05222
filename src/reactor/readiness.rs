//! Reads and writes an edge-triggered socket, and keeps what is known of its readiness.
//!
//! The only two functions of the reactor that handle `WouldBlock` on a connection are here: [`fill`]
//! and [`flush`]. It is no error to them, but a bit that goes out until an event lights it again.

use std::cell::Cell;
use std::io::{self, IoSlice};

use super::snapshot::Names;
use super::stream::Transport;
use crate::conversation::OutputQueue;
use crate::gateway::FileRange;

/// Slices that are given to one vectored write. 16: more would not fit a socket's buffer.
const SLICES_MAX: usize = 16;

/// The signs of events and system calls, all of them hints. It is a cell, since a write in the middle of a
/// call of the application changes it, too.
#[derive(Default)]
pub(super) struct Readiness(Cell<u8>);

impl Readiness {
    /// The readiness of a socket that nothing is known of: everything is worth a try.
    pub fn unknown() -> Readiness {
        Readiness(Cell::new(Readiness::READABLE | Readiness::WRITABLE))
    }

    /// The socket may have something to read.
    pub const READABLE: u8 = 1;
    /// The socket may take something.
    pub const WRITABLE: u8 = 2;
    /// The peer may have ended its side: a short read proves nothing.
    pub const READ_CLOSED: u8 = 4;
    /// The connection may be broken. Only events say so, and it is checked at once.
    pub const BROKEN: u8 = 8;

    /// The names of the signs that are set.
    pub fn names(&self) -> Names {
        Names::new(self.0.get(), &["READABLE", "WRITABLE", "READ_CLOSED"])
    }

    pub fn has(&self, bit: u8) -> bool {
        self.0.get() & bit != 0
    }

    pub fn set(&self, bit: u8, is_set: bool) {
        let bits = self.0.get();
        self.0.set(if is_set { bits | bit } else { bits & !bit });
    }
}

/// The names of the signs of an event.
pub(super) fn signs_of(event: u8) -> Names {
    Names::new(event, &["READABLE", "WRITABLE", "READ_CLOSED", "BROKEN"])
}

/// The result of a read.
pub(super) enum Filled {
    /// This many bytes are in the scratch.
    Bytes(usize),
    /// The peer has ended its side.
    End,
    /// The socket had nothing to read.
    Nothing,
}

/// Reads once. No other function learns of `WouldBlock` on reading.
#[inline(always)]
pub(super) fn fill(stream: &impl Transport, readiness: &Readiness, scratch: &mut [u8]) -> io::Result<Filled> {
    match stream.read(scratch) {
        Ok(0) => {
            readiness.set(Readiness::READABLE, false);
            Ok(Filled::End)
        }
        Ok(count) => {
            let is_drained =
                stream.short_read_drains() && count < scratch.len() && !readiness.has(Readiness::READ_CLOSED);
            readiness.set(Readiness::READABLE, !is_drained);
            Ok(Filled::Bytes(count))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            readiness.set(Readiness::READABLE, false);
            Ok(Filled::Nothing)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Filled::Nothing),
        Err(error) => Err(error),
    }
}

/// The result of a flush.
#[derive(Default)]
pub(super) struct Flushed {
    /// The number of bytes that were sent.
    pub bytes: usize,
    /// The error that keeps the next file, or the rest of it, from being sent.
    pub unsendable: Option<io::Error>,
}

/// The result of one system call for output.
enum Sent {
    /// This many bytes were sent, and it is known whether the socket is full.
    Bytes { count: usize, is_full: bool },
    /// The file cannot be sent.
    Unsendable(io::Error),
}

/// Writes until everything has left, or the socket takes no more, or that was enough for a turn.
#[inline(always)]
pub(super) fn flush(
    stream: &impl Transport,
    readiness: &Readiness,
    out: &mut OutputQueue,
    is_last: bool,
    enough_bytes: usize,
) -> io::Result<Flushed> {
    let first = match out.single_buffer() {
        // Nearly always: one buffer, and the socket takes all of it.
        Some(bytes) if !is_last && !bytes.is_empty() && readiness.has(Readiness::WRITABLE) => {
            match stream.write(bytes) {
                Ok(written) if written == bytes.len() => {
                    out.clear();
                    return Ok(Flushed { bytes: written, unsendable: None });
                }
                otherwise => Some(otherwise.and_then(|written| sent(stream, written, bytes.len()))),
            }
        }
        _ => None,
    };
    flush_rest(first, stream, readiness, out, is_last, enough_bytes)
}

/// Goes on after a first attempt. It is a function of its own, since that keeps the usual way short. No other
/// function handles `WouldBlock` on writing.
#[inline(never)]
fn flush_rest(
    mut first: Option<io::Result<Sent>>,
    stream: &impl Transport,
    readiness: &Readiness,
    out: &mut OutputQueue,
    is_last: bool,
    enough_bytes: usize,
) -> io::Result<Flushed> {
    let mut flushed = Flushed::default();
    while readiness.has(Readiness::WRITABLE) && !out.is_empty() && flushed.bytes < enough_bytes {
        match first.take().unwrap_or_else(|| send_front(stream, out, is_last, enough_bytes)) {
            Ok(Sent::Bytes { count, is_full }) => {
                out.consume(count);
                flushed.bytes += count;
                readiness.set(Readiness::WRITABLE, !is_full);
            }
            Ok(Sent::Unsendable(error)) => {
                flushed.unsendable = Some(error);
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                readiness.set(Readiness::WRITABLE, false);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(flushed)
}

/// Sends the front of the queue by one system call.
fn send_front(
    stream: &impl Transport,
    out: &OutputQueue,
    is_last: bool,
    enough_bytes: usize,
) -> io::Result<Sent> {
    match (out.held_bytes(), out.file()) {
        // Each call is offered as many, whatever has left before: fewer would only cost one call more. So what
        // leaves can come to nearly twice as much.
        (0, Some(range)) => send_file(stream, range, enough_bytes),
        (_, file) => write(stream, out, is_last || file.is_some()),
    }
}

/// Writes once, and tells whether more follows at once.
fn write(stream: &impl Transport, out: &OutputQueue, is_followed: bool) -> io::Result<Sent> {
    let mut all = out.slices();
    let first = all.next().unwrap_or_default();
    let Some(second) = all.next() else {
        let written = match is_followed && stream.short_read_drains() {
            // Past mio, whose other back end would not learn that the socket is full.
            true => stream.write_more(first)?,
            false => stream.write(first)?,
        };
        return sent(stream, written, first.len());
    };
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let (mut count, mut offered) = (0, 0);
    for (slot, slice) in slices.iter_mut().zip([first, second].into_iter().chain(all)) {
        *slot = IoSlice::new(slice);
        count += 1;
        offered += slice.len();
    }
    sent(stream, stream.write_slices(&slices[..count])?, offered)
}

/// Interprets a short write: the socket is full, under the same rule as for a short read.
fn sent(stream: &impl Transport, written: usize, offered: usize) -> io::Result<Sent> {
    match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(Sent::Bytes { count, is_full: count < offered && stream.short_read_drains() }),
    }
}

/// Sends part of a file. A short result proves nothing of the socket: the file may have shrunk, and then no
/// event will come.
fn send_file(stream: &impl Transport, range: &FileRange, bytes_max: usize) -> io::Result<Sent> {
    let bytes = usize::try_from(range.length).map_or(bytes_max, |length| length.min(bytes_max));
    match stream.send_file(&range.file, range.offset, bytes) {
        Ok(0) => Ok(Sent::Unsendable(io::ErrorKind::UnexpectedEof.into())),
        Ok(count) => Ok(Sent::Bytes { count, is_full: false }),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => Err(error),
            // Some file systems cannot, some filters forbid it, and what else is wrong with the file
            // reading it will tell. If it was the socket, writing will.
            _ => Ok(Sent::Unsendable(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::stream::Stream;
    use crate::reactor::sys::SENDS_FILES;
    use mio::net::{TcpStream, UnixStream};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    const ENOUGH_BYTES: usize = 100_000;

    /// Makes both ends of a connection.
    fn tcp() -> (Stream, Box<dyn Read>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Stream::Tcp(TcpStream::from_std(stream)), Box::new(client))
    }

    fn unix() -> (Stream, Box<dyn Read>) {
        let (stream, client) = std::os::unix::net::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Stream::Unix(UnixStream::from_std(stream)), Box::new(client))
    }

    fn file(content: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!(
            "tidegate-readiness-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn queue(file: File, length: u64) -> OutputQueue {
        let mut out = OutputQueue::default();
        out.buffer().extend_from_slice(b"head");
        out.push_file(FileRange { file: file.into(), offset: 1_000, length });
        out
    }

    fn content() -> Vec<u8> {
        (0..300_000_u32).map(|number| (number % 251) as u8).collect()
    }

    #[test]
    fn file_leaves_behind_its_head_without_being_read() {
        if !SENDS_FILES {
            return;
        }
        for (stream, mut client) in [tcp(), unix()] {
            let mut out = queue(file(&content()), 50_000);
            let readiness = Readiness::unknown();
            let flushed = flush(&stream, &readiness, &mut out, false, ENOUGH_BYTES).unwrap();
            assert!(flushed.unsendable.is_none() && out.is_empty());
            assert_eq!(flushed.bytes, 50_004);
            let mut received = vec![0; 50_004];
            client.read_exact(&mut received).unwrap();
            assert!(received[..4] == *b"head" && received[4..] == content()[1_000..51_000]);
        }
    }

    #[test]
    fn long_file_leaves_over_several_turns_as_the_socket_takes_it() {
        if !SENDS_FILES {
            return;
        }
        for (stream, mut client) in [tcp(), unix()] {
            let mut out = queue(file(&content()), 299_000);
            let readiness = Readiness::unknown();
            let (mut received, mut scratch) = (Vec::new(), vec![0; 1 << 20]);
            while received.len() < 299_004 {
                let owed = out.owed();
                let flushed = flush(&stream, &readiness, &mut out, false, ENOUGH_BYTES).unwrap();
                assert!(flushed.unsendable.is_none() && flushed.bytes < 2 * ENOUGH_BYTES);
                assert_eq!(out.owed(), owed - flushed.bytes);
                readiness.set(Readiness::WRITABLE, true);
                let count = client.read(&mut scratch).unwrap();
                received.extend_from_slice(&scratch[..count]);
            }
            assert!(out.is_empty() && received[4..] == content()[1_000..]);
        }
    }

    #[test]
    fn full_socket_takes_no_more_of_a_file() {
        if !SENDS_FILES {
            return;
        }
        let (stream, _client) = unix();
        let mut out = queue(file(&content()), 299_000);
        let (readiness, mut turns) = (Readiness::unknown(), 0);
        // Nobody reads, and a unix socket buffers some 200 KiB.
        while readiness.has(Readiness::WRITABLE) && !out.is_empty() {
            flush(&stream, &readiness, &mut out, false, 10_000).unwrap();
            turns += 1;
        }
        assert!(turns > 1 && out.file().is_some_and(|range| range.length < 299_000));
    }

    #[test]
    fn file_that_has_shrunk_is_not_sent_beyond_its_end() {
        if !SENDS_FILES {
            return;
        }
        let (stream, _client) = tcp();
        let mut out = queue(file(&content()), 300_000);
        let readiness = Readiness::unknown();
        out.file().unwrap().file.set_len(31_000).unwrap();
        let flushed = flush(&stream, &readiness, &mut out, false, ENOUGH_BYTES).unwrap();
        assert_eq!(flushed.unsendable.unwrap().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!((flushed.bytes, out.owed()), (30_004, 270_000));
    }

    #[test]
    fn file_that_cannot_be_sent_is_left_in_the_queue() {
        if !SENDS_FILES {
            return;
        }
        let (stream, _client) = tcp();
        let (reader, _writer) = io::pipe().unwrap();
        let mut out = queue(File::from(OwnedFd::from(reader)), 50_000);
        let readiness = Readiness::unknown();
        let flushed = flush(&stream, &readiness, &mut out, false, ENOUGH_BYTES).unwrap();
        assert!(flushed.unsendable.is_some() && readiness.has(Readiness::WRITABLE));
        assert_eq!((flushed.bytes, out.owed()), (4, 50_000));
    }
}
