//! What the surroundings lend a conversation for the length of one turn.

use std::fs::File;
use std::io;

use super::journal::Journal;
use crate::gateway::{Client, Gateway, ServerInfo, Spool};
use crate::limits::Limits;
use crate::now::{Moment, Now};
use crate::protocol::ServerFields;

/// The disk, as the pure layers see it: a simulation can fill it, or let it fail.
pub trait Disk: Spool {
    /// Appends up to `bytes` bytes of a file, from `offset` on; 0 at its end.
    ///
    /// # Errors
    /// What reading says.
    fn read_at(&mut self, file: &File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<usize>;
}

/// How much one connection may do before others have their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Requests that may still be begun.
    pub requests: u32,
    /// Pieces of content that may still be drawn.
    pub pieces: u32,
}

impl Budget {
    /// 32 requests: a client that pipelines 2,000 deep lets others wait 32 calls, not 2,000, and
    /// pipelines of 16 do not notice. 256 pieces: a stream of tiny pieces fills a packet or two.
    pub const TURN: Budget = Budget { requests: 32, pieces: 256 };

    /// Whether nothing more may be done.
    pub fn is_spent(self) -> bool {
        self.requests == 0 || self.pieces == 0
    }
}

/// Everything around a conversation for the length of one turn: the server's means, who is asking,
/// and how much may be done.
pub struct Turn<'a> {
    /// The application.
    pub gateway: &'a mut dyn Gateway,
    /// Bounds and timeouts.
    pub limits: &'a Limits,
    /// What the server says of itself to applications.
    pub server: &'a ServerInfo,
    /// What the server says of itself to clients.
    pub own_fields: &'a ServerFields,
    /// The time.
    pub now: Now,
    /// Who is asking.
    pub client: Client<'a>,
    /// Where long content goes, and where files are read.
    pub disk: &'a mut dyn Disk,
    /// Who wants to know.
    pub journal: &'a mut dyn Journal,
    /// Whether each connection is to end after its exchange.
    pub life: Life,
    /// Whether there is room for more.
    pub memory: Memory,
    /// What may still be done in this turn.
    pub budget: Budget,
}

impl Turn<'_> {
    /// How much of a request's content may stay in memory.
    pub(super) fn content_memory_bytes_max(&self) -> usize {
        match self.memory {
            Memory::Ample => self.limits.body_memory_bytes_max,
            Memory::Scarce => 0,
        }
    }

    /// What a response has to know of the turn in which it is started.
    pub(super) fn pace(&self) -> Pace {
        Pace { now: self.now.moment, life: self.life }
    }
}

/// When a response is started, and whether it must be the last of its connection.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub now: Moment,
    pub life: Life,
}

/// How much is held for all connections together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// There is room.
    Ample,
    /// [`memory_bytes_max`](Limits::memory_bytes_max) is near: content goes to the disk.
    Scarce,
}

/// Whether the server is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is.
    Running,
    /// It finishes what was begun.
    Draining,
}
