//! The server's side of one connection: what its event loop knows of it, and what can be seen from outside.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use super::socket::{ServerSide, Socket};
use crate::conversation::{Life, Wants};
use crate::now::Moment;
use crate::reactor::connection::Connection;
use crate::reactor::connections::ConnectionId;
use crate::reactor::shared::Shared;

/// A connection of the reactor, with a simulated socket.
pub type Simulated = Connection<ServerSide>;

/// One connection, and what is to be done for it.
pub struct Served {
    pub number: usize,
    pub id: ConnectionId,
    pub socket: Rc<RefCell<Socket>>,
    /// It was accepted, and has had no turn.
    pub is_new: bool,
    /// It stands in the ready list.
    pub is_ready: bool,
    /// A wake-up is on its way.
    pub is_woken: bool,
    /// Its response is finished, and waits for others.
    pub is_held: bool,
    pub is_gone: bool,
    /// Cut for a reason that the conversation does not know.
    pub is_abandoned: bool,
    /// As it was after its last turn.
    pub state: State,
}

/// What can be known of a connection.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub wants: Wants,
    pub deadline: Option<Moment>,
    /// Without what the output has to say.
    pub of_conversation: Option<Moment>,
    pub owed: usize,
    pub is_idle: bool,
    /// Its application waits, and was not told of an end of the client.
    pub is_untold: bool,
    /// It has said its last, and waits for the client to end.
    pub is_lingering: bool,
}

impl State {
    pub fn of(connection: &Simulated, shared: &Shared<'_>, life: Life) -> State {
        let limits = &shared.around.limits;
        State {
            wants: connection.wants(shared.output_bytes_high()),
            deadline: connection.deadline(limits, life),
            of_conversation: connection.conversation().deadline(limits),
            owed: connection.owed(),
            is_idle: connection.conversation().is_idle(),
            is_untold: connection.conversation().is_to_be_told_of_end(),
            is_lingering: connection.is_lingering(),
        }
    }
}

impl Served {
    pub fn socket(&self) -> Ref<'_, Socket> {
        self.socket.borrow()
    }
}
