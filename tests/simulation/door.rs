//! A listening socket: clients wait before it until they are accepted, if there are means to.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::rng::Rng;
use super::socket::{ServerSide, Socket};
use crate::reactor::listener::{Accepted, Accepting, Listening};

/// One listening socket, as the system sees it.
pub struct Door {
    rng: Rng,
    /// Clients that have connected, by their numbers.
    waiting: VecDeque<(usize, Rc<RefCell<Socket>>)>,
    /// Clients that are not shown before they send, or a second has passed.
    deferred: Vec<(usize, Rc<RefCell<Socket>>)>,
    /// Whether those who connect are not shown before they send.
    pub is_deferring: bool,
    /// Somebody has come, and the server was not told.
    pub has_event: bool,
    /// The state of accepting, as the server knows it.
    pub accepting: Accepting,
    /// Whether the door is gone, so that nobody waits any more.
    pub is_closed: bool,
    /// The process has no descriptors left.
    is_exhausted: Rc<Cell<bool>>,
    /// There were none when somebody was last to be accepted.
    pub was_exhausted: bool,
    /// Everyone who was accepted at any door, in this order.
    accepted: Rc<RefCell<Vec<usize>>>,
    /// Clients that have left before they were accepted.
    left: Vec<usize>,
}

/// The server's end. To drop it is to close.
pub struct Doorkeeper(pub Rc<RefCell<Door>>);

impl Door {
    pub fn new(rng: &Rng, is_exhausted: Rc<Cell<bool>>, accepted: Rc<RefCell<Vec<usize>>>) -> Door {
        Door {
            rng: rng.clone(),
            waiting: VecDeque::new(),
            deferred: Vec::new(),
            is_deferring: rng.once_in(3),
            has_event: false,
            accepting: Accepting::Ready,
            is_closed: false,
            is_exhausted,
            was_exhausted: false,
            accepted,
            left: Vec::new(),
        }
    }

    /// A client connects.
    pub fn connect(&mut self, number: usize, socket: Rc<RefCell<Socket>>) {
        if self.is_deferring && self.rng.once_in(2) {
            self.deferred.push((number, socket));
        } else {
            self.waiting.push_back((number, socket));
            self.has_event = true;
        }
    }

    /// Shows a client that was deferred: it has sent something, or a second has passed.
    pub fn show(&mut self, number: usize) {
        if let Some(at) = self.deferred.iter().position(|(deferred, _)| *deferred == number) {
            let client = self.deferred.swap_remove(at);
            self.waiting.push_back(client);
            self.has_event = true;
        }
    }

    /// Returns one of the deferred clients.
    pub fn deferred(&self) -> Option<usize> {
        self.deferred.first().map(|(number, _)| *number)
    }

    /// Takes the clients that have left without being accepted, or were sent away when the door closed.
    pub fn take_left(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.left)
    }
}

impl Listening for Doorkeeper {
    type Stream = ServerSide;
    type Testimony = ();

    fn accept(&mut self) -> Accepted<ServerSide> {
        let mut door = self.0.borrow_mut();
        if door.waiting.is_empty() {
            return Accepted::Empty;
        }
        door.was_exhausted = door.is_exhausted.get();
        if door.was_exhausted {
            return Accepted::Exhausted(io::Error::other("no descriptor is left"));
        }
        let has_left = door.waiting[0].1.borrow().is_broken;
        if has_left && door.rng.once_in(2) {
            let (number, _) = door.waiting.pop_front().expect("somebody");
            door.left.push(number);
            return Accepted::Nobody;
        }
        if door.rng.once_in(30) {
            return Accepted::Nobody;
        }
        let (number, socket) = door.waiting.pop_front().expect("somebody");
        door.accepted.borrow_mut().push(number);
        Accepted::Connection(ServerSide(socket), None)
    }

    fn stop_deferring(&mut self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().is_deferring)
    }

    fn accepting(&self) -> Accepting {
        self.0.borrow().accepting
    }

    fn set_accepting(&mut self, accepting: Accepting) {
        self.0.borrow_mut().accepting = accepting;
    }
}

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        let mut door = self.0.borrow_mut();
        door.is_closed = true;
        let waiting = std::mem::take(&mut door.waiting).into_iter();
        let all = waiting.chain(std::mem::take(&mut door.deferred)).map(|(number, _)| number);
        door.left = door.left.drain(..).chain(all).collect();
    }
}
