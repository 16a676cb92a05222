//! The means that a conversation borrows for the length of one turn.

use std::fmt;
use std::fs::File;
use std::io;
use std::time::Duration;

use super::output_queue::OutputQueue;
use super::record::Journal;
use crate::gateway::{Client, Gateway, ServerInfo, Spool};
use crate::limits::Limits;
use crate::now::{Moment, Now};
use crate::protocol::{ProtocolError, ServerFields};

/// The disk, as the pure layers see it: a simulation can fill it, or let it fail.
pub trait Disk: Spool {
    /// Appends up to `bytes` bytes of a file, from `offset` on; 0 at its end.
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

/// The work that one connection may do before others have their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Requests that may still be begun.
    pub requests: u32,
    /// Pieces of content that may still be drawn.
    pub pieces: u32,
}

impl Budget {
    /// The usual budget. 32 requests: a client that pipelines 2,000 deep lets others wait 32 calls, not
    /// 2,000, and pipelines of 16 do not notice. (Fewer if they take long.) 256 pieces: a stream of tiny
    /// pieces fills a packet or two.
    pub const TURN: Budget = Budget { requests: 32, pieces: 256 };

    /// A budget of one request, for when others wait for this turn to end.
    pub const ONE_REQUEST: Budget = Budget { requests: 1, ..Budget::TURN };

    /// Whether nothing more may be done.
    pub fn is_spent(self) -> bool {
        self.requests == 0 || self.pieces == 0
    }
}

/// Longest turn of the loop in which connections may begin a second request, or draw a second piece. 10 ms:
/// ten thousand quick requests fit in, nobody notices so little, and if each call takes longer, everybody has
/// one in turn.
const TURN_TIME: Duration = Duration::from_millis(10);

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

/// The context that all connections share in a turn of the loop. It is apart from [`Turn`], so that lending
/// it costs a pointer.
pub struct ServerContext {
    /// Bounds and timeouts.
    pub limits: Limits,
    /// The facts about the server that applications are told.
    pub server: ServerInfo,
    /// The field lines of the server's own in every response.
    pub own_fields: ServerFields,
    /// The time of the turn.
    pub now: Now,
    /// The watch that tells how long the turn has lasted.
    pub stopwatch: Box<dyn Stopwatch + Send>,
    /// Whether each connection is to end after its exchange.
    pub shutdown: Shutdown,
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("ServerContext");
        fields.field("now", &self.now).field("shutdown", &self.shutdown).field("limits", &self.limits);
        fields.finish_non_exhaustive()
    }
}

impl ServerContext {
    /// Makes the context of a server that goes on.
    pub fn new(limits: Limits, server: ServerInfo, now: Now) -> ServerContext {
        let own_fields = ServerFields::new(&server.software, &now);
        ServerContext {
            limits,
            server,
            own_fields,
            now,
            stopwatch: Box::new(StoppedClock),
            shutdown: Shutdown::No,
        }
    }

    /// Whether the turn has lasted so long that every connection has to be content with one request, after
    /// this many. The clock is not read for each of them, but after the first, second, fourth, eighth and so
    /// on: if all take as long, a turn lasts at most twice as long as it should.
    #[inline]
    fn is_late(&self, had: u32) -> bool {
        had.is_power_of_two() && self.has_lasted()
    }

    fn has_lasted(&self) -> bool {
        self.stopwatch.moment().since(self.now.moment) >= TURN_TIME
    }

    /// Begins another turn of the loop.
    pub fn refresh(&mut self, now: Now) {
        self.now = now;
        self.own_fields.refresh(&now);
    }
}

/// Everything around a conversation for the length of one turn: the server's means, the client, and the
/// budget.
pub struct Turn<'a> {
    /// The application.
    pub gateway: &'a mut dyn Gateway,
    /// The context that all connections share.
    pub context: &'a ServerContext,
    /// The client of this connection.
    pub client: Client<'a>,
    /// The disk, for long content and files that are read.
    pub disk: &'a mut dyn Disk,
    /// The wire, for output that is sent in the middle of a call.
    pub wire: &'a dyn Wire,
    /// The journal, for reports.
    pub journal: &'a mut dyn Journal,
    /// Whether there is room in memory for more.
    pub memory: Memory,
    /// The work that may still be done in this turn.
    pub budget: Budget,
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Turn");
        fields.field("client", &self.client).field("memory", &self.memory).field("budget", &self.budget);
        fields.finish_non_exhaustive()
    }
}

impl Turn<'_> {
    /// Whether another request may be begun, with the output that is owed to its client.
    #[inline]
    pub(super) fn may_begin(&self, out: &OutputQueue) -> bool {
        self.budget.requests > 0 && out.owed() < self.output_bytes_high()
    }

    /// Ends the requests of this turn, between two of them, if it has lasted too long.
    #[inline]
    pub(super) fn stop_if_late(&mut self) {
        if self.context.is_late(Budget::TURN.requests.saturating_sub(self.budget.requests)) {
            self.budget.requests = 0;
        }
    }

    /// Takes a piece off the budget, if another may be drawn.
    pub(super) fn may_draw(&mut self) -> bool {
        if self.context.is_late(Budget::TURN.pieces.saturating_sub(self.budget.pieces)) {
            self.budget.pieces = 0;
        }
        let may_draw = self.budget.pieces > 0;
        self.budget.pieces = self.budget.pieces.saturating_sub(1);
        may_draw
    }

    /// The number of bytes owed to the peer from which on nothing more is produced for it.
    #[inline]
    pub fn output_bytes_high(&self) -> usize {
        self.memory.output_bytes_high(&self.context.limits)
    }

    /// Checks that there is room for content of this length. Room is not taken: a client that announces much
    /// and sends nothing should be in nobody's way.
    ///
    /// # Errors
    /// Returns the error when there never will be room, or when there is none now.
    pub(super) fn place_for(&self, content_length: u64) -> Result<(), ProtocolError> {
        if self.content_memory_bytes_max(Some(content_length)) > 0 {
            return Ok(());
        }
        let room = self.disk.room();
        if content_length <= room.bytes_left {
            return Ok(());
        }
        // To come again makes sense only if it could ever fit.
        let is_too_large = content_length > room.bytes_max;
        Err(if is_too_large { ProtocolError::ContentTooLarge } else { ProtocolError::NoPlaceForContent })
    }

    /// The bytes of a request's content that may stay in memory: none if all of it, with its length known,
    /// would be too long.
    pub(super) fn content_memory_bytes_max(&self, content_length: Option<u64>) -> usize {
        let most = self.context.limits.body_memory_bytes_max;
        match self.memory {
            Memory::Ample if content_length.is_none_or(|length| length <= most as u64) => most,
            Memory::Ample | Memory::Scarce => 0,
        }
    }
}

/// The memory that is in use for all connections together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// There is room in memory.
    Ample,
    /// [`memory_bytes_max`](Limits::memory_bytes_max) is near: content goes to the disk, and nothing more is
    /// produced for a peer that is owed anything.
    Scarce,
}

impl Memory {
    /// The number of bytes owed to a peer from which on nothing more is produced for it, and nothing more
    /// read from it.
    #[inline]
    pub fn output_bytes_high(self, limits: &Limits) -> usize {
        match self {
            Memory::Ample => limits.output_bytes_high,
            // A peer that does not read must not get more of what there is little of.
            Memory::Scarce => 1,
        }
    }
}

/// Whether the server is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The server goes on.
    No,
    /// The server finishes what was begun.
    Draining,
    /// The server finishes what was begun, but until this moment clients may still send requests on
    /// connections that they have kept.
    HandingOver(Moment),
}
