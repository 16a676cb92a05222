//! The name of a connection, for events, timers, wake-ups and lists.

use mio::Token;

/// This bit of a place is set in the tokens of descriptors that applications watch, and in those of no connection: places
/// end below it.
const WATCHED: u32 = 1 << 31;

/// Names a connection: its place, and how many connections there were before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    pub fn new(index: u32, generation: u32) -> ConnectionId {
        ConnectionId { index, generation }
    }

    /// How many connections there were before it, and itself.
    pub fn generation(self) -> u32 {
        self.generation
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

    /// For descriptors that its application watches. All of one connection share it.
    pub fn watch_token(self) -> Token {
        Token(self.token().0 | WATCHED as usize)
    }

    /// The place of the connection whose application watches a descriptor with this token.
    pub fn index_of_watch(token: Token) -> usize {
        (token.0 as u32 & !WATCHED) as usize
    }

    /// Counts connections from 1; the same only after 2^32 of them.
    pub fn number(self) -> u64 {
        u64::from(self.generation)
    }
}
