//! All connections: a slab with generations.
//!
//! A slab uses the place of a closed connection for the next one at once. An event, a timer or a
//! wake-up that was meant for the old one would find the new one; a late answer would go to the
//! wrong client. So an id has a generation beside its place, and whoever comes with an old one
//! finds nobody.

use mio::Token;
use slab::Slab;

use super::connection::Connection;
use super::pressure::Holding;
use super::stream::{Stream, Transport};
use crate::now::Moment;

/// Names a connection: its place, and how many connections there were before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    #[cfg(test)]
    pub fn new(index: u32, generation: u32) -> ConnectionId {
        ConnectionId { index, generation }
    }

    /// Its place. Of the connections that are there at the same time, no two have the same.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// For epoll. Where a word has 32 bits only the place fits; an event for the one before is then
    /// merely one too many, and everything else carries the whole id.
    pub fn token(self) -> Token {
        Token((u64::from(self.generation) << 32 | u64::from(self.index)) as usize)
    }

    /// Counts connections from 1; the same only after 2^32 of them.
    pub fn number(self) -> u64 {
        u64::from(self.generation)
    }
}

/// Most connections for which there is room from the beginning. 65,536: what is larger may grow, which moves
/// all that are there.
const RESERVED_MAX: usize = 65_536;
/// Places looked at for the connection that has been idle the longest. 256: a microsecond. More only if none of
/// them is idle.
const IDLE_LOOKS: usize = 256;

/// The slab.
pub(super) struct Connections<S = Stream> {
    slots: Slab<Connection<S>>,
    /// Of the connection that came last.
    generation: u32,
    /// Between two generations: as many as there are loops, so that no two connections of a server have
    /// the same number.
    stride: u32,
    /// How many places were ever taken.
    places: usize,
    /// The place that was last looked at for an idle connection.
    looked_at: usize,
}

/// For how many connections there is room from the beginning. Memory that was never written to costs
/// nothing, and what need not grow is neither copied nor leaves holes.
pub(super) fn reserved(connections_max: usize) -> usize {
    connections_max.min(RESERVED_MAX)
}

impl<S: Transport> Connections<S> {
    /// None yet, of one loop of several.
    pub fn of_loop(index: u32, loops: u32, connections_max: usize) -> Connections<S> {
        // The first generation is `index + 1`, whatever it takes to come there.
        let generation = (index + 1).wrapping_sub(loops);
        let slots = Slab::with_capacity(reserved(connections_max));
        Connections { slots, generation, stride: loops, places: 0, looked_at: 0 }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn insert(&mut self, mut connection: Connection<S>) -> ConnectionId {
        self.generation = self.generation.wrapping_add(self.stride);
        let generation = self.generation;
        // Limits::check keeps the number of connections below 2^31.
        connection.generation = generation;
        let index = self.slots.insert(connection) as u32;
        self.places = self.places.max(index as usize + 1);
        ConnectionId { index, generation }
    }

    pub fn get(&mut self, id: ConnectionId) -> Option<&mut Connection<S>> {
        self.slots.get_mut(id.index as usize).filter(|connection| connection.generation == id.generation)
    }

    /// Whose event this is; none if that connection is gone.
    pub fn find(&self, token: Token) -> Option<ConnectionId> {
        let index = token.0 as u32;
        let generation = self.slots.get(index as usize)?.generation;
        let id = ConnectionId { index, generation };
        (id.token() == token).then_some(id)
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection<S>> {
        self.get(id)?;
        self.slots.try_remove(id.index as usize)
    }

    /// Of the next few connections, one after the other, the one that has been idle the longest; none only where
    /// none at all is idle. Looking at all of them for each that is to make room would cost more than it is worth.
    pub fn longest_idle(&mut self) -> Option<ConnectionId> {
        let places = self.places.max(1);
        let mut longest: Option<(Moment, ConnectionId)> = None;
        for looks in 0..places {
            if looks >= IDLE_LOOKS && longest.is_some() {
                break;
            }
            self.looked_at = (self.looked_at + 1) % places;
            let Some(connection) = self.slots.get(self.looked_at) else {
                continue;
            };
            let id = ConnectionId { index: self.looked_at as u32, generation: connection.generation };
            if let Some(since) = connection.idle_since()
                && longest.is_none_or(|(longest, _)| since < longest)
            {
                longest = Some((since, id));
            }
        }
        longest.map(|(_, id)| id)
    }

    /// What is held for those who are to move.
    pub fn holdings(&self) -> Vec<Holding> {
        let holding = |(index, connection): (usize, &Connection<S>)| {
            connection.holding(ConnectionId { index: index as u32, generation: connection.generation })
        };
        self.slots.iter().filter_map(holding).collect()
    }

    pub fn ids(&self) -> Vec<ConnectionId> {
        let id = |(index, connection): (usize, &Connection<S>)| ConnectionId {
            index: index as u32,
            generation: connection.generation,
        };
        self.slots.iter().map(id).collect()
    }
}
