//! The means of the system, as the pure layers see them: the disk, the way out to the peer, and a clock. A simulation has
//! others than the reactor.

use std::fs::File;
use std::io;

use super::output_queue::OutputQueue;
use crate::gateway::Spool;
use crate::now::Moment;

/// The disk, as the pure layers see it: a simulation can fill it, or let it fail.
pub trait Disk: Spool {
    /// Appends up to `bytes` bytes of a file, from `offset` on, and returns their number: 0 at the end.
    ///
    /// # Errors
    /// Returns the error of the system when the file cannot be read.
    fn read_at(&mut self, file: &File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<usize>;

    /// Whether the transmitter of the output also sends [files](super::OutputQueue::file), so that they are
    /// not read here.
    fn sends_files(&self) -> bool {
        false
    }
}

/// The way out to the peer, for bytes that must not wait for the end of a call.
pub trait Wire {
    /// Sends from the front of the queue, as far as the socket takes it without waiting. A broken socket
    /// takes nothing; the transmitter of the rest learns of it.
    fn flush(&self, out: &mut OutputQueue);
}

/// A [`Wire`] that takes nothing: everything is sent at the end of the turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWire;

impl Wire for NoWire {
    fn flush(&self, _out: &mut OutputQueue) {}
}

/// Tells the time in the middle of a turn.
pub trait Stopwatch {
    /// The present moment, however long the turn has lasted.
    fn moment(&self) -> Moment;
}

/// A stopwatch that stands still, for tests and loops by hand: no turn takes any time.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoppedClock;

impl Stopwatch for StoppedClock {
    fn moment(&self) -> Moment {
        Moment::START
    }
}
