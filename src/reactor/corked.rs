//! Finished responses that wait for others of the same turn of the loop.
//!
//! Where an application takes much longer than a write, as a framework in Python does, it pays to
//! call it for every request that is ready and to write all the responses afterwards: the code of the
//! application stays in the caches, and a client that waits on the same machine is woken once and not
//! for each response. What it costs is latency, and that is bounded: no application call begins while
//! a finished response has waited for longer than the server allows.
//!
//! Only whole responses wait, of connections that then wait for their next request. Pieces of a
//! stream never do.

use std::mem;
use std::time::Duration;

use super::connection_id::ConnectionId;
use crate::conversation::OutputQueue;
use crate::now::Moment;

/// Responses that wait, in the order in which they were finished.
pub(super) struct CorkedResponses {
    /// Longest wait before the next call begins; zero if no response waits at all.
    hold_max: Duration,
    /// The time when the oldest response was finished.
    since: Moment,
    waiting: Vec<(ConnectionId, OutputQueue)>,
    /// Emptied queues, which keep their buffers for the next turn.
    spare: Vec<OutputQueue>,
}

impl CorkedResponses {
    pub fn new(hold_max: Duration) -> CorkedResponses {
        CorkedResponses { hold_max, since: Moment::default(), waiting: Vec::new(), spare: Vec::new() }
    }

    /// Whether responses wait at all.
    pub fn is_on(&self) -> bool {
        !self.hold_max.is_zero()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number of responses that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the oldest response has waited for as long as it may.
    pub fn is_overdue(&self, now: Moment) -> bool {
        now.since(self.since) >= self.hold_max
    }

    /// Takes a finished response out of the output scratch, which is empty afterwards.
    pub fn cork(&mut self, id: ConnectionId, output: &mut OutputQueue, now: impl FnOnce() -> Moment) {
        if self.waiting.is_empty() {
            self.since = now();
        }
        let empty = self.spare.pop().unwrap_or_default();
        self.waiting.push((id, mem::replace(output, empty)));
    }

    /// Whether a response of this connection waits.
    #[cfg(test)]
    pub fn contains(&self, id: ConnectionId) -> bool {
        self.waiting.iter().any(|(waiting, _)| *waiting == id)
    }

    /// Takes all responses that wait. They are to be given [back](CorkedResponses::give_back), for their
    /// buffers.
    pub fn take(&mut self) -> Vec<(ConnectionId, OutputQueue)> {
        mem::take(&mut self.waiting)
    }

    pub fn give_back(&mut self, mut delivered: Vec<(ConnectionId, OutputQueue)>) {
        // Emptied here, where none can be forgotten: what a connection that has ended meanwhile left in
        // its queue would be sent to whoever gets the queue next.
        self.spare.extend(delivered.drain(..).map(|(_, mut queue)| {
            queue.clear();
            queue
        }));
        self.waiting = delivered;
    }
}
