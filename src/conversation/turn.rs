//! The turn of one conversation: all that it borrows, and the work that it may do.

use std::fmt;

use super::context::ServerContext;
use super::means::{Disk, Wire};
use super::output_queue::OutputQueue;
use super::record::Journal;
use crate::gateway::{Client, Gateway};
use crate::limits::Limits;
use crate::protocol::ProtocolError;

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

    /// Returns the budget for a turn of the loop that has lasted long already: a request, and pieces with the remainders.
    pub(crate) fn when_late(self) -> Budget {
        Budget { pieces: 0, ..self }
    }

    /// Whether nothing more may be done.
    pub fn is_spent(self) -> bool {
        self.requests == 0 || self.pieces == 0
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

    /// Whether another piece may be drawn.
    pub(super) fn may_draw(&self) -> bool {
        self.budget.pieces > 0
    }

    /// Takes a piece that was drawn off the budget, and ends them if the turn has lasted too long.
    pub(super) fn note_drawn(&mut self) {
        self.budget.pieces = self.budget.pieces.saturating_sub(1);
        if self.context.is_late(Budget::TURN.pieces.saturating_sub(self.budget.pieces)) {
            self.budget.pieces = 0;
        }
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
