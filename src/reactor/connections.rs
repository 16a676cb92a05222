//! All connections: a slab with generations.
//!
//! A slab uses the place of a closed connection for the next one at once. An event, a timer or a wake-up that
//! was meant for the old one would find the new one; a late answer would go to the wrong client. So an id has
//! a generation beside its place, and an old id finds nothing.

use std::net::SocketAddr;
use std::time::Duration;

use mio::Token;
use slab::Slab;

use super::connection::Connection;
use super::connection_id::ConnectionId;
use super::pressure::Holding;
use super::room::{Found, Room};
use super::snapshot::ConnectionSnapshot;
use super::socket::Socket;
use super::stream::{Stream, Transport};
use crate::conversation::ServerContext;
use crate::now::Moment;

/// Most connections for which room is reserved at the start. 65,536: a larger slab may grow, which moves all
/// connections.
const RESERVED_MAX: usize = 65_536;

/// The slab of all connections.
pub(super) struct Connections<S = Stream> {
    slots: Slab<Connection<S>>,
    /// The generation of the connection that came last.
    generation: u32,
    /// The difference between two generations: as many as there are loops, so that no two connections of a
    /// server have the same number.
    stride: u32,
    /// The number of places that were ever taken.
    places: usize,
    /// The search for connections that make room for new ones.
    pub room: Room,
}

/// Returns for how many connections room is reserved at the start. Memory that was never written to costs
/// nothing, and a slab that need not grow is neither copied nor leaves holes.
pub(super) fn reserved(connections_max: usize) -> usize {
    connections_max.min(RESERVED_MAX)
}

impl<S: Transport> Connections<S> {
    /// Makes the empty slab of one loop of several.
    pub fn of_loop(index: u32, loops: u32, connections_max: usize) -> Connections<S> {
        // The first generation is `index + 1`, whatever it takes to come there.
        let generation = (index + 1).wrapping_sub(loops);
        let slots = Slab::with_capacity(reserved(connections_max));
        Connections { slots, generation, stride: loops, places: 0, room: Room::default() }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Gives a place to a connection that the listener of this number accepted just now.
    pub fn insert(
        &mut self,
        stream: S,
        peer: Option<SocketAddr>,
        listener: u16,
        now: Moment,
    ) -> ConnectionId {
        self.generation = self.generation.wrapping_add(self.stride);
        let place = self.slots.vacant_entry();
        let index = place.key();
        place.insert(Connection::new(Socket::new(stream, peer, listener, self.generation), now));
        self.places = self.places.max(index + 1);
        // Limits::check keeps the number of connections below 2^31.
        ConnectionId::new(index as u32, self.generation)
    }

    pub fn get(&mut self, id: ConnectionId) -> Option<&mut Connection<S>> {
        self.slots.get_mut(id.index()).filter(|connection| connection.generation() == id.generation())
    }

    /// Finds the connection of an event; none if it is gone.
    pub fn find(&self, token: Token) -> Option<ConnectionId> {
        let index = token.0 as u32;
        let id = id_at(index as usize, self.slots.get(index as usize)?);
        (id.token() == token).then_some(id)
    }

    /// Finds the connection whose application watches the descriptor of this event; none if it is gone.
    pub fn find_watching(&self, token: Token) -> Option<ConnectionId> {
        let index = ConnectionId::index_of_watch(token);
        let id = id_at(index, self.slots.get(index)?);
        (id.watch_token() == token).then_some(id)
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection<S>> {
        self.get(id)?;
        self.slots.try_remove(id.index())
    }

    /// Finds the connection that makes room for a new one; at most `looks` places are looked at. The time for which a
    /// client was [silent](super::listener::Listening::silence) before it was accepted counts.
    pub fn find_room(
        &mut self,
        context: &ServerContext,
        looks: &mut usize,
        silence: impl Fn(u16) -> Duration,
    ) -> Found {
        let slots = &self.slots;
        let look = |place: usize| {
            let connection = slots.get(place)?;
            let (standing, since) = connection.makes_room(&context.limits, &silence)?;
            Some((id_at(place, connection), standing, since))
        };
        self.room.find(self.places.max(1), context.now.moment, looks, look)
    }

    /// Accounts for all connections anew: an application that has dropped content wakes nobody.
    pub fn account_all(&mut self, total: &mut usize) {
        for (_, connection) in self.slots.iter_mut() {
            connection.account(total);
        }
    }

    /// Returns the memory that connections hold while their peers are to move.
    pub fn holdings(&self, now: Moment) -> Vec<Holding> {
        let all = self.slots.iter();
        all.filter_map(|(index, connection)| connection.holding(id_at(index, connection), now)).collect()
    }

    /// Describes the connections at `count` places from `place` on. Returns the place that comes next, if there is one.
    pub fn describe(
        &self,
        place: usize,
        count: usize,
        context: &ServerContext,
        output_bytes_high: usize,
        into: &mut Vec<ConnectionSnapshot>,
    ) -> Option<usize> {
        let end = self.places.min(place + count);
        let at = |place| Some((place, self.slots.get(place)?));
        let described = (place..end).filter_map(at).map(|(place, connection)| {
            connection.describe(id_at(place, connection), context, output_bytes_high)
        });
        into.extend(described);
        (end < self.places).then_some(end)
    }

    /// The generation of the connection that came last.
    pub fn last_generation(&self) -> u32 {
        self.generation
    }

    /// The number of connections that have come since the last one was of this generation.
    pub fn count_since(&self, generation: u32) -> u32 {
        self.generation.wrapping_sub(generation) / self.stride
    }

    pub fn ids(&self) -> Vec<ConnectionId> {
        self.slots.iter().map(|(index, connection)| id_at(index, connection)).collect()
    }
}

/// Returns the id of the connection at this place.
fn id_at<S: Transport>(index: usize, connection: &Connection<S>) -> ConnectionId {
    ConnectionId::new(index as u32, connection.generation())
}
