//! The server's side of one connection: what its event loop knows of it, and what can be seen from outside.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use super::socket::{ServerSide, Socket};
use crate::conversation::Wants;
use crate::now::Moment;
use crate::reactor::connection::{Connection, List};
use crate::reactor::connection_id::ConnectionId;
use crate::reactor::readiness::Readiness;
use crate::reactor::shared::Shared;

/// A connection of the reactor, with a simulated socket.
pub type Simulated = Connection<ServerSide>;

/// Where a client has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The client has not connected.
    Away,
    /// The client has connected, and waits at this door.
    AtDoor(usize),
    /// The client was accepted.
    Inside(ConnectionId),
    /// The connection was closed, or never made.
    Gone,
}

/// One connection, and what has become of it.
pub struct Served {
    pub number: usize,
    pub place: Place,
    pub socket: Rc<RefCell<Socket>>,
    /// When it was accepted, and when the server ended its side, and when it closed.
    pub accepted: Option<Moment>,
    pub ended: Option<Moment>,
    pub closed: Option<Moment>,
    /// Whether it was cut for a reason that the conversation does not know.
    pub is_abandoned: bool,
    /// Whether it has waited for the gateway for as long as it may.
    pub is_turned_away: bool,
    /// Whether it has made room for another.
    pub has_made_room: bool,
    /// The state after its last turn.
    pub state: State,
}

/// The observable state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub wants: Wants,
    pub deadline: Option<Moment>,
    /// The deadline without that of the output.
    pub of_conversation: Option<Moment>,
    pub owed: usize,
    pub memory_in_use: usize,
    pub is_idle: bool,
    /// Whether half a head has come.
    pub is_in_head: bool,
    /// Whether the application waits, and was not told of an end of the client.
    pub is_untold: bool,
    /// Whether it has said its last, and waits for the client to end.
    pub is_lingering: bool,
    /// Whether it stands in the ready list.
    pub is_ready: bool,
    /// Whether it waits for memory, or for the gateway.
    pub is_starved: bool,
    /// The time since which it is not read from, because the gateway takes nothing.
    pub waiting_since: Option<Moment>,
    /// Whether it knows that the client has ended its side.
    pub knows_end: bool,
    /// Whether its response is finished, and waits for others.
    pub is_corked: bool,
    /// Since when it could make room.
    pub idle_since: Option<Moment>,
}

impl State {
    /// The state before it is accepted.
    pub const NEW: State = State {
        wants: Wants::Read,
        deadline: None,
        of_conversation: None,
        owed: 0,
        memory_in_use: 0,
        is_idle: true,
        is_in_head: false,
        is_untold: false,
        is_lingering: false,
        is_ready: false,
        is_starved: false,
        waiting_since: None,
        knows_end: false,
        is_corked: false,
        idle_since: None,
    };

    pub fn of(connection: &Simulated, id: ConnectionId, shared: &Shared<'_>) -> State {
        let limits = &shared.context.limits;
        State {
            wants: connection.wants(shared.output_bytes_high()),
            deadline: connection.deadline(limits, shared.context.shutdown),
            of_conversation: connection.conversation().deadline(limits),
            owed: connection.owed(),
            memory_in_use: connection.memory_in_use(),
            is_idle: connection.conversation().is_idle(),
            is_in_head: connection.conversation().is_in_head(),
            is_untold: connection.conversation().is_to_be_told_of_end(),
            is_lingering: connection.is_lingering(),
            is_ready: connection.stands_in(List::Ready),
            is_starved: connection.stands_in(List::Starved),
            waiting_since: connection.waiting_since(),
            knows_end: connection.readiness().has(Readiness::READ_CLOSED),
            is_corked: shared.corked_responses.contains(id),
            idle_since: connection.idle_since(),
        }
    }
}

impl Served {
    pub fn socket(&self) -> Ref<'_, Socket> {
        self.socket.borrow()
    }

    pub fn id(&self) -> Option<ConnectionId> {
        match self.place {
            Place::Inside(id) => Some(id),
            Place::Away | Place::AtDoor(_) | Place::Gone => None,
        }
    }

    pub fn is_gone(&self) -> bool {
        self.place == Place::Gone
    }
}
