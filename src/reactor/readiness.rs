//! Reading and writing a socket that is edge-triggered, and what is known of its readiness.
//!
//! The only two functions of the reactor that meet `WouldBlock` on a connection are here: [`fill`]
//! and [`flush`]. It is no error to them, but a bit that goes out until an event lights it again.

use std::cell::Cell;
use std::io::{self, IoSlice};

use super::stream::Stream;
use crate::conversation::OutputQueue;

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

/// Slices given to one vectored write. 16: more would not fit a socket's buffer.
const SLICES_MAX: usize = 16;

/// What events and system calls have said. Hints, all of them. A cell, since what is written in the
/// middle of a call of the application changes it, too.
#[derive(Default)]
pub(super) struct Readiness(Cell<u8>);

impl Readiness {
    /// Of a socket that nothing is known of: everything is worth a try.
    pub fn unknown() -> Readiness {
        Readiness(Cell::new(Readiness::READABLE | Readiness::WRITABLE))
    }

    /// There may be something to read.
    pub const READABLE: u8 = 1;
    /// The socket may take something.
    pub const WRITABLE: u8 = 2;
    /// The peer may have ended its side: a short read proves nothing.
    pub const READ_CLOSED: u8 = 4;
    /// It is in the ready list.
    pub const QUEUED: u8 = 8;

    pub fn has(&self, bit: u8) -> bool {
        self.0.get() & bit != 0
    }

    pub fn set(&self, bit: u8, is_set: bool) {
        let bits = self.0.get();
        self.0.set(if is_set { bits | bit } else { bits & !bit });
    }
}

/// What a read has brought.
pub(super) enum Filled {
    /// So many bytes in the scratch.
    Bytes(usize),
    /// The peer has ended its side.
    End,
    /// Nothing is there.
    Nothing,
}

/// One read. The only place that learns of `WouldBlock` on reading.
pub(super) fn fill(stream: &Stream, readiness: &Readiness, scratch: &mut [u8]) -> io::Result<Filled> {
    match stream.read(scratch) {
        Ok(0) => {
            readiness.set(Readiness::READABLE, false);
            Ok(Filled::End)
        }
        Ok(count) => {
            let is_drained =
                SHORT_READ_DRAINS && count < scratch.len() && !readiness.has(Readiness::READ_CLOSED);
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

/// Writes until everything has left, or the socket takes no more. The only place that learns of
/// `WouldBlock` on writing. How many bytes have left.
pub(super) fn flush(
    stream: &Stream,
    readiness: &Readiness,
    out: &mut OutputQueue,
    is_last: bool,
) -> io::Result<usize> {
    let mut flushed = 0;
    while readiness.has(Readiness::WRITABLE) && !out.is_empty() {
        match write(stream, out, is_last) {
            Ok((0, _)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok((written, offered)) => {
                out.consume(written);
                flushed += written;
                // A short write means that the socket is full, under the same rule as a short read.
                readiness.set(Readiness::WRITABLE, written == offered || !SHORT_READ_DRAINS);
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

/// One write: how many bytes were taken, and how many were offered.
fn write(stream: &Stream, out: &OutputQueue, is_last: bool) -> io::Result<(usize, usize)> {
    let mut all = out.slices();
    let first = all.next().unwrap_or_default();
    let Some(second) = all.next() else {
        let written = match is_last && SHORT_READ_DRAINS {
            // Past mio, whose other back end would not learn that the socket is full.
            true => stream.write_last(first)?,
            false => stream.write(first)?,
        };
        return Ok((written, first.len()));
    };
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let (mut count, mut offered) = (0, 0);
    for (slot, slice) in slices.iter_mut().zip([first, second].into_iter().chain(all)) {
        *slot = IoSlice::new(slice);
        count += 1;
        offered += slice.len();
    }
    Ok((stream.write_slices(&slices[..count])?, offered))
}
