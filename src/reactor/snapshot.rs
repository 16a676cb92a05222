//! Snapshots: the state of a running server, by the names of the code, for whoever [looks](super::observer) at it.
//!
//! A snapshot is values only. It borrows nothing and names no socket, so that it can go to another thread.

use std::net::SocketAddr;

use crate::conversation::{ConversationState, Shutdown, Wants};
use crate::now::Moment;

/// The state of one event loop of a server, and of all its connections.
///
/// A snapshot of many connections is put together in several turns of the loop, so that nobody waits for it: each
/// connection is as it was in one of these turns, and all totals are those of the last.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of the event loop, from 0.
    pub reactor: usize,
    /// The number of event loops that the server has.
    pub reactors: usize,
    /// The moment of the last turn in which the snapshot was put together. Moments count from when this loop was
    /// bound.
    pub taken: Moment,
    /// Whether the server is about to end.
    pub shutdown: Shutdown,
    /// The moment when connections that are left are cut, if the server is about to end.
    pub drain_until: Option<Moment>,
    /// Whether the gateway takes another request.
    pub is_gateway_ready: bool,
    /// The connections, in the order of their places.
    pub connections: Vec<ConnectionSnapshot>,
    /// Most connections that this loop has at a time.
    pub connections_max: usize,
    /// The listeners.
    pub listeners: Vec<ListenerSnapshot>,
    /// The account of memory.
    pub memory: MemorySnapshot,
    /// The lists of the loop.
    pub queues: QueuesSnapshot,
    /// The limits of a turn.
    pub budget: BudgetSnapshot,
}

/// The state of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionSnapshot {
    /// The number of the connection; one server never uses it twice.
    pub number: u64,
    /// The place in the slab. A connection keeps it, and after its end another has it.
    pub place: usize,
    /// The address of the client; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// The number of the listener that accepted the connection.
    pub listener: u16,
    /// The state of the conversation.
    pub state: ConversationState,
    /// The state of our side of the connection.
    pub our_side: OurSideState,
    /// The wish of the conversation.
    pub wants: Wants,
    /// The moment until which the connection waits for that.
    pub deadline: Option<Moment>,
    /// Bytes that the socket has not taken yet.
    pub owed_bytes: usize,
    /// Bytes that are held for the connection, as the account of memory knows them.
    pub memory_bytes: usize,
    /// The events that the socket is registered for.
    pub interest: InterestState,
    /// The signs of readiness that are set: `READABLE`, `WRITABLE`, `READ_CLOSED`.
    pub readiness: Names,
    /// The lists in which the connection waits for a turn: `Ready`, `Starved`, `Corked`.
    pub lists: Names,
}

/// Names that hold together, out of a few.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Names {
    bits: u8,
    /// The names of the bits, from the lowest on.
    all: &'static [&'static str],
}

impl Names {
    pub(super) fn new(bits: u8, all: &'static [&'static str]) -> Names {
        Names { bits, all }
    }

    /// The names that hold.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        (0..8).zip(self.all).filter(move |(bit, _)| self.bits >> bit & 1 == 1).map(|(_, name)| *name)
    }

    /// Whether this name holds.
    pub fn has(self, name: &str) -> bool {
        self.iter().any(|held| held == name)
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The state of our side of a connection, by its name in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OurSideState {
    /// The socket has taken all output.
    Clear,
    /// The socket has taken all output, and the connection waits for a gateway that takes no request.
    Waiting,
    /// The socket has not taken all output yet.
    Backlog,
    /// Our side has ended, and whatever comes is discarded.
    Ended,
}

/// The events that a socket is registered for, by their name in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterestState {
    /// None: most connections that serve one request are never registered.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// The state of a listening socket.
#[derive(Clone, Debug)]
pub struct ListenerSnapshot {
    /// The address, as it is shown to people.
    pub address: String,
    /// Whether the listener accepts: `Waiting` for an event, `Ready`, or `Paused` for want of means.
    pub accepting: &'static str,
    /// Connections that wait to be accepted, and the most that the system lets wait, where it tells.
    pub queue: Option<(u32, u32)>,
}

/// The account of memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySnapshot {
    /// The bytes held for connections.
    pub connections: usize,
    /// The bytes held by requests that applications have taken to other threads.
    pub detached: usize,
    /// The limit of both together.
    pub max: usize,
    /// Whether three quarters of the limit are passed.
    pub is_scarce: bool,
}

/// The lengths of the lists in which connections wait for a turn that no event will bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueuesSnapshot {
    /// Connections that can go on at once.
    pub ready: usize,
    /// Connections that wait for memory, or for the gateway.
    pub starved: usize,
    /// Connections that were woken.
    pub woken: usize,
    /// Finished responses that wait for each other.
    pub corked: usize,
    /// Timers that are set.
    pub timers: usize,
}

/// The most that one turn of the loop does, of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetSnapshot {
    /// Events that are taken from the system.
    pub events: usize,
    /// Connections that are accepted from one listener.
    pub accepts: usize,
    /// Wake-ups and remainders that are handled.
    pub remainders: usize,
    /// Timers that go off.
    pub expiries: usize,
}
