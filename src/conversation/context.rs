//! The context that all conversations of a server share.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use super::means::{StoppedClock, Stopwatch};
use crate::gateway::ServerInfo;
use crate::limits::Limits;
use crate::now::{Moment, Now};
use crate::protocol::ServerFields;

/// Longest turn of the loop in which connections may begin a second request, or draw a second piece. 10 ms:
/// ten thousand quick requests fit in, nobody notices so little, and if each call takes longer, everybody has
/// one in turn.
const TURN_TIME: Duration = Duration::from_millis(10);

/// The context that all connections share in a turn of the loop. It is apart from [`Turn`](super::Turn), so that lending
/// it costs a pointer.
pub struct ServerContext {
    /// Bounds and timeouts.
    pub limits: Limits,
    /// The facts about the server that applications are told.
    pub server: ServerInfo,
    /// The server's own field lines, which every response has.
    pub own_fields: ServerFields,
    /// The time of the turn.
    pub now: Now,
    /// The watch that tells how long the turn has lasted.
    pub stopwatch: Box<dyn Stopwatch + Send>,
    /// Whether somebody has found that the turn has lasted too long.
    is_known_to_be_late: Cell<bool>,
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
            is_known_to_be_late: Cell::new(false),
            shutdown: Shutdown::No,
        }
    }

    /// Whether the turn has lasted too long for another request on a connection that has had this many in it. The
    /// clock is not read for each request, but after the first, second, fourth, eighth and so on: if all take as long,
    /// a turn lasts at most twice as long as it should.
    #[inline]
    pub(super) fn is_late(&self, had: u32) -> bool {
        had.is_power_of_two() && self.has_lasted()
    }

    fn has_lasted(&self) -> bool {
        let has_lasted = self.has_lasted_since(self.now.moment);
        self.is_known_to_be_late.set(has_lasted);
        has_lasted
    }

    /// Whether somebody has found in this turn that it has lasted too long. Then nobody draws a piece because of an event:
    /// as many connections may have one as there are.
    pub(crate) fn is_known_to_be_late(&self) -> bool {
        self.is_known_to_be_late.get()
    }

    /// Whether as much time has passed since a moment in the turn as a turn may take, or as had passed of it before, if that is
    /// more: who comes later in a turn has no less time than who came first.
    pub(crate) fn has_lasted_since(&self, begun: Moment) -> bool {
        self.stopwatch.moment().since(begun) >= TURN_TIME.max(begun.since(self.now.moment))
    }

    /// Begins another turn of the loop.
    pub fn refresh(&mut self, now: Now) {
        self.now = now;
        self.is_known_to_be_late.set(false);
        self.own_fields.refresh(&now);
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
