//! The id of a connection, for events, timers, wake-ups and lists.

use mio::Token;

/// The bit of a place that is set in the tokens of descriptors that applications watch, and in those of no connection:
/// places end below it.
const WATCHED: u32 = 1 << 31;

/// Identifies a connection: its place in the slab, and its generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    pub fn new(index: u32, generation: u32) -> ConnectionId {
        ConnectionId { index, generation }
    }

    /// The generation: the number of connections before it, and itself.
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// The place in the slab. No two connections that exist at the same time have the same.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Makes the token for the selector. If a word has 32 bits only the place fits; an event for the one
    /// before is then merely one too many, and everything else carries the whole id.
    pub fn token(self) -> Token {
        Token((u64::from(self.generation) << 32 | u64::from(self.index)) as usize)
    }

    /// Makes the token for descriptors that the application of the connection watches. All of one connection share it.
    pub fn watch_token(self) -> Token {
        Token(self.token().0 | WATCHED as usize)
    }

    /// The place of the connection whose application watches a descriptor with this token.
    pub fn index_of_watch(token: Token) -> usize {
        (token.0 as u32 & !WATCHED) as usize
    }

    /// The number of the connection, from 1; the same only after 2^32 of them.
    pub fn number(self) -> u64 {
        u64::from(self.generation)
    }
}
