//! Acts of the loop: all that it does for one connection, in values, for whoever [witnesses](super::witness) it.
//!
//! An act says by the names of the code what was asked of the system, and in which state the connection was. It
//! borrows what it can, so it lasts for a call of the witness only. There may be more of them one day, as the loop
//! learns more: a witness passes over those that it does not know.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use super::snapshot::{ConnectionSnapshot, InterestState, Names};
use crate::conversation::{ConversationState, Wants};
use crate::now::Moment;

/// The reason why a connection has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The connection has just been accepted.
    Accepted,
    /// The socket is ready.
    Event,
    /// The connection stopped early in an earlier turn.
    Remainder,
    /// The connection has waited for memory, or for the gateway.
    Relieved,
    /// The application has woken the connection.
    Wake,
    /// The timer has gone off.
    Timer,
    /// The connection has waited for the gateway for as long as it may.
    TurnedAway,
    /// Memory is scarce, and the connection is to give back what it can.
    Pressure,
    /// The connection is to make room for a new one.
    Evicted,
}

/// An act of the loop.
#[derive(Debug)]
#[non_exhaustive]
pub enum Act<'a> {
    /// The loop has waited for events.
    Waited {
        /// The name of the system call.
        call: &'static str,
        /// The longest time that the loop was to wait; none is for ever.
        limit: Option<Duration>,
        /// The events that have come.
        events: Vec<SeenEvent>,
    },
    /// The loop has asked a listener for a connection.
    Accepted {
        /// The name of the system call.
        call: &'static str,
        /// The address of the peer, none on a unix socket; or the error, which may only say that nobody waits.
        result: Result<Option<SocketAddr>, &'a io::Error>,
    },
    /// A connection has its turn.
    TurnBegun(Cause, Box<ConnectionSnapshot>),
    /// The conversation has got on, between two steps of a turn, by what was read or written.
    Advanced {
        /// The state of the conversation.
        state: ConversationState,
        /// The wish that the next step follows from.
        wants: Wants,
        /// Bytes of output that are queued.
        owed_bytes: usize,
    },
    /// A system call was made on the socket.
    Called(SystemCall<'a>),
    /// The turn has ended, and the connection waits for what it wants.
    TurnEnded(Box<ConnectionSnapshot>),
}

/// A system call on the socket of a connection.
#[derive(Clone, Copy, Debug)]
pub struct SystemCall<'a> {
    /// The name of the system call.
    pub name: &'static str,
    /// The operation that the call was made for.
    pub operation: Operation<'a>,
    /// The number of bytes that the call moved, or its error: `WouldBlock` says that nothing can be moved now.
    pub result: Result<usize, &'a io::Error>,
}

/// The operation of a system call, as far as the loop uses them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// Reads from the socket.
    Receive {
        /// The bytes that the read has room for.
        room: usize,
        /// The bytes that have come.
        bytes: &'a [u8],
    },
    /// Writes to the socket.
    Send {
        /// The bytes that are offered, in pieces.
        pieces: &'a [IoSlice<'a>],
        /// Whether they may wait for more that follows at once (MSG_MORE).
        more_follows: bool,
    },
    /// Sends part of a file.
    SendFile {
        /// The place of its first byte in the file.
        offset: u64,
        /// The bytes that are offered.
        bytes: usize,
    },
    /// Asks for events.
    Register {
        /// The events.
        interest: InterestState,
        /// Whether the socket was registered for other events before.
        is_change: bool,
    },
    /// Ends our side of the connection.
    End,
    /// Makes the close that follows a reset.
    ResetOnClose,
    /// Asks whether the connection is broken.
    TakeError,
    /// Closes the socket.
    Close,
}

/// An event that has ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenEvent {
    /// The source of the event.
    pub about: EventSource,
    /// The signs: `READABLE`, `WRITABLE`, `READ_CLOSED`, `BROKEN`.
    pub signs: Names,
}

/// The source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventSource {
    /// A listener, by its number.
    Listener(usize),
    /// A connection, by its number.
    Connection(u64),
    /// A descriptor that the application of a connection watches, by the number of the connection.
    Watched(u64),
    /// Another thread has woken the loop.
    Waker,
    /// A connection that is gone.
    Gone,
}

/// Sees what the loop does for a connection, act by act, on the thread of the loop.
///
/// [`BoundServer::run_witnessed`](crate::server::BoundServer::run_witnessed) takes one. Whatever it does, the loop and
/// all clients wait for.
pub trait Witness {
    /// Sees an act. `connection` is the number of the connection that it is for, from 1 in the order of their coming;
    /// none for a wait. `at` is the moment after it.
    fn see(&mut self, connection: Option<u64>, at: Moment, act: &Act<'_>);

    /// Whether the witness is to see waits, and vain accepts, for the sake of the connections that have come. It sees
    /// them in any case while one of its connections is still to come, and none once all of them are closed.
    fn sees_waits(&self) -> bool {
        true
    }
}

impl<F: FnMut(Option<u64>, Moment, &Act<'_>)> Witness for F {
    fn see(&mut self, connection: Option<u64>, at: Moment, act: &Act<'_>) {
        self(connection, at, act);
    }
}
