//! A conversation at its socket: fill, advance and flush, the first three of the four steps of a turn.

use std::io;

use super::connection::Cause;
use super::readiness::{Filled, Flushed, Readiness, fill, flush};
use super::socket::{Socket, TURN_BYTES};
use super::stream::Transport;
use crate::conversation::{Conversation, Farewell, Life, Memory, OutputQueue, Turn, Wants};
use crate::now::Moment;

/// Bytes read at a time where requests may begin. 64 KiB: whole pipelines; what is not used up in this turn has to be
/// kept.
const HEADS_READ_BYTES: usize = 64 * 1024;
/// What is read at a time of who may only have begun a request, while memory is scarce: all of it may have to be kept.
/// 4 KiB: nearly every head is shorter.
const SCARCE_READ_BYTES: usize = 4 * 1024;

/// A conversation and its socket, for the length of a turn.
pub(super) struct Talk<'c, S> {
    pub conversation: &'c mut Conversation,
    pub socket: &'c Socket<S>,
    /// Whether a finished response is to wait for others.
    pub holds: bool,
    /// How many bytes were written.
    pub flushed: usize,
}

/// How it has stopped.
pub(super) enum Stop {
    /// Everything has left, and this is wanted now.
    Clear(Wants),
    /// Something is still owed.
    Owing,
    /// What is there is a whole response, which is to wait for others.
    Held,
}

impl<S: Transport> Talk<'_, S> {
    /// Fill, advance and flush, again and again, until something is missing or the turn is over.
    #[inline(always)]
    pub fn steps(
        &mut self,
        cause: Cause,
        turn: &mut Turn<'_>,
        scratch: &mut [u8],
        out: &mut OutputQueue,
    ) -> io::Result<Stop> {
        if cause != Cause::Event {
            self.begin(cause, turn, out);
        }
        let mut filled = 0;
        loop {
            let wants = self.conversation.wants(out.owed(), turn.output_bytes_high());
            match wants {
                Wants::Read if filled < TURN_BYTES && self.can_read(turn.memory) => {
                    filled += self.fill_and_advance(turn, scratch, out)?;
                    continue;
                }
                Wants::Turn if !turn.budget.is_spent() && self.flushed < TURN_BYTES => {
                    self.conversation.advance(turn, out);
                    continue;
                }
                Wants::Read if self.is_held(out) => return Ok(Stop::Held),
                _ if out.is_empty() => return Ok(Stop::Clear(wants)),
                Wants::Read | Wants::Turn | Wants::Write | Wants::Application | Wants::Close(_) => {}
            }
            // Nothing follows once this has left: it may wait for the end of the connection, to share a packet.
            let is_last = wants != Wants::Read
                && self.conversation.wants(0, turn.output_bytes_high()) == Wants::Close(Farewell::Clean);
            let Socket { stream, readiness, .. } = self.socket;
            let Flushed { bytes, unsendable } = flush(stream, readiness, out, is_last, TURN_BYTES)?;
            self.flushed += bytes;
            if let Some(error) = unsendable {
                self.take_back(error, turn, out);
            } else if !out.is_empty() {
                return Ok(Stop::Owing);
            } else if wants == Wants::Read {
                // Nothing to be read, or not in this turn: room makes no difference to that.
                return Ok(Stop::Clear(wants));
            }
        }
    }

    /// The file that was to be sent is read instead.
    #[cold]
    fn take_back(&mut self, error: io::Error, turn: &Turn<'_>, out: &mut OutputQueue) {
        log::debug!("connection {}: reads its file: {error}", turn.client.connection_id);
        if let Some(rest) = out.take_file() {
            self.conversation.take_back(rest, out);
        }
    }

    /// Whether something may be there to be read, and it is to be read now.
    #[inline]
    fn can_read(&self, memory: Memory) -> bool {
        self.flushed < TURN_BYTES
            && self.socket.readiness.has(Readiness::READABLE)
            && !must_wait_for_memory(self.conversation, self.socket, memory)
    }

    /// Whether what is there is a whole response, which may wait.
    #[inline]
    fn is_held(&self, out: &OutputQueue) -> bool {
        self.holds
            && self.socket.readiness.has(Readiness::WRITABLE)
            && self.conversation.is_idle()
            && !out.is_empty()
    }

    /// What the cause of the turn means to the conversation.
    #[cold]
    fn begin(&mut self, cause: Cause, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if is_to_be_told(self.conversation, self.socket) {
            self.conversation.client_has_finished(turn, out);
        }
        let now = turn.around.now.moment;
        let is_due = |deadline: Option<Moment>| deadline.is_some_and(|deadline| deadline <= now);
        match cause {
            Cause::Wake => self.conversation.wake(turn, out),
            Cause::TurnedAway => self.conversation.turn_away(turn, out),
            Cause::Pressure => self.conversation.spill(turn, out),
            // In a full house the time for a request is shorter.
            Cause::SentAway => self.conversation.expire(turn, out),
            // While something is owed, the deadline is that of the output.
            Cause::Timer if self.conversation.is_idle() && !out.is_empty() => {}
            Cause::Timer if is_due(self.conversation.last_chance(turn.around.life)) => {
                self.conversation.finish_if_idle(now, turn.around.life);
            }
            Cause::Timer if is_due(self.conversation.deadline(&turn.around.limits)) => {
                self.conversation.expire(turn, out)
            }
            Cause::Timer | Cause::Accepted | Cause::Event | Cause::Remainder => {}
        }
    }

    /// One read, and all that follows from what it brings. How many bytes it brought.
    #[inline]
    fn fill_and_advance(
        &mut self,
        turn: &mut Turn<'_>,
        scratch: &mut [u8],
        out: &mut OutputQueue,
    ) -> io::Result<usize> {
        let bytes_max = match turn.memory {
            _ if !self.conversation.is_idle() && !self.conversation.is_in_head() => scratch.len(),
            Memory::Ample => HEADS_READ_BYTES,
            Memory::Scarce => SCARCE_READ_BYTES,
        };
        let bytes_max = scratch.len().min(bytes_max);
        let scratch = &mut scratch[..bytes_max];
        match fill(&self.socket.stream, &self.socket.readiness, scratch)? {
            Filled::Bytes(count) => {
                self.conversation.receive(&scratch[..count], turn, out);
                return Ok(count);
            }
            Filled::End => self.conversation.receive_end(turn, out),
            // A last look has found no request, unless it was interrupted.
            Filled::Nothing
                if turn.around.life != Life::Running && !self.socket.readiness.has(Readiness::READABLE) =>
            {
                self.conversation.finish_if_idle(turn.around.now.moment, turn.around.life);
            }
            Filled::Nothing => {}
        }
        Ok(0)
    }
}

/// Half a head is not read on while memory is scarce. Content is: that moves it to the disk. And so is a
/// peer that has ended, which makes room.
#[inline]
pub(super) fn must_wait_for_memory<S: Transport>(
    conversation: &Conversation,
    socket: &Socket<S>,
    memory: Memory,
) -> bool {
    memory == Memory::Scarce && conversation.is_in_head() && !socket.readiness.has(Readiness::READ_CLOSED)
}

/// Whether the peer has ended its side and nobody will read it, because the application is pending.
#[inline]
pub(super) fn is_to_be_told<S: Transport>(conversation: &Conversation, socket: &Socket<S>) -> bool {
    socket.readiness.has(Readiness::READ_CLOSED) && conversation.is_to_be_told_of_end()
}
