//! Deadlines, ordered.
//!
//! A set of (moment, connection): the first is the next. A deadline that moves away, as it does
//! with each request of a kept connection, is not moved here: the timer goes off too early, finds
//! the connection well, and is set again. So a request that finishes in time touches no timer, and
//! a connection costs one operation a timeout, not one a request.

use std::collections::BTreeSet;

use super::connections::ConnectionId;
use crate::now::Moment;

/// At most one timer for each connection; the connection knows for when.
#[derive(Default)]
pub(super) struct Timers(BTreeSet<(Moment, ConnectionId)>);

impl Timers {
    /// Sets the timer of a connection, whose present one is `armed`. Only an earlier deadline
    /// changes anything.
    pub fn arm(&mut self, id: ConnectionId, armed: &mut Option<Moment>, deadline: Option<Moment>) {
        let Some(deadline) = deadline else {
            return;
        };
        if armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        self.disarm(id, armed);
        self.0.insert((deadline, id));
        *armed = Some(deadline);
    }

    /// Takes the timer of a connection away.
    pub fn disarm(&mut self, id: ConnectionId, armed: &mut Option<Moment>) {
        if let Some(moment) = armed.take() {
            self.0.remove(&(moment, id));
        }
    }

    /// The next moment for which a timer is set.
    pub fn next(&self) -> Option<Moment> {
        self.0.first().map(|(moment, _)| *moment)
    }

    /// A connection whose timer has gone off. It is not set any more.
    pub fn pop_due(&mut self, now: Moment) -> Option<ConnectionId> {
        self.next().filter(|moment| *moment <= now)?;
        self.0.pop_first().map(|(_, id)| id)
    }
}
