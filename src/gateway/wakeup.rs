//! Wake-ups: an answer that comes later gets the reactor's attention by them.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::Watcher;

/// A handle that makes the server resume the answer of one connection, from any thread.
///
/// Waking is cheap, may happen too often, and may come too late: a wake-up of a connection that is
/// gone does nothing. Futures can be polled with it directly: see [`Wakeup::as_waker`].
#[derive(Clone, Debug)]
pub struct Wakeup(Waker);

impl Wakeup {
    /// Makes a handle around a waker, as the reactor does.
    pub fn new(waker: Waker) -> Wakeup {
        Wakeup(waker)
    }

    /// Asks for a turn of the connection.
    pub fn wake(&self) {
        self.0.wake_by_ref();
    }

    /// The waker, for `std::task::Context::from_waker`.
    pub fn as_waker(&self) -> &Waker {
        &self.0
    }
}

/// Makes [`Wakeup`]s for the connection at hand. Asked only by applications that answer later, so that the
/// others pay nothing for it.
pub trait WakeSource {
    /// Returns a waker for this connection.
    fn waker(&self) -> Waker;

    /// A handle to watch descriptors with for this connection, whose events wake it. By default it says that it cannot.
    fn watcher(&self) -> Watcher {
        Watcher::default()
    }
}

/// Wakes nobody: for conversations that are driven by hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWake;

impl Wake for NoWake {
    fn wake(self: Arc<Self>) {}
}

impl WakeSource for NoWake {
    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }
}
