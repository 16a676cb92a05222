//! Commands to end a server, from another thread or a signal handler's thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::wakeup_queue::WakeupQueue;

const RUN: u8 = 0;
const HAND_OVER: u8 = 1;
const RESTART: u8 = 2;
const DRAIN: u8 = 3;
const STOP: u8 = 4;

/// The command that the loop was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Run,
    Drain(Queue),
    Stop,
}

/// The fate of clients that wait to be accepted when a server drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// The clients are accepted, since nobody else would.
    Accepted,
    /// The clients are left to others that listen on the same socket.
    Left,
    /// The clients wait until this server has started again.
    Waiting,
}

/// A handle that shuts a server down. It can be cloned and sent to other threads, and outlives the server
/// harmlessly.
///
/// The library leaves signals alone. A program that is to end well handles them, on a thread of its own; here with the
/// crate `signal-hook`, as the program `tidegate` does:
///
/// ```no_run
/// use signal_hook::consts::{SIGINT, SIGTERM};
/// use signal_hook::iterator::Signals;
/// use tidegate::Server;
///
/// let server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
/// let handle = server.handle();
/// let mut signals = Signals::new([SIGINT, SIGTERM])?;
/// std::thread::spawn(move || {
///     let mut signals = signals.forever();
///     // The first one lets everybody finish, the second one is impatient.
///     if signals.next().is_some() {
///         handle.drain();
///     }
///     if signals.next().is_some() {
///         handle.stop();
///     }
/// });
/// server.serve(|_, start_response| start_response.status(200).send("Hello, World!"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    command: Arc<AtomicU8>,
    /// The queues of all event loops.
    queues: Arc<[Arc<WakeupQueue>]>,
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("event_loops", &self.queues.len()).finish_non_exhaustive()
    }
}

impl ServerHandle {
    pub(super) fn new(queues: impl IntoIterator<Item = Arc<WakeupQueue>>) -> ServerHandle {
        ServerHandle { command: Arc::new(AtomicU8::new(RUN)), queues: queues.into_iter().collect() }
    }

    /// Shuts down gracefully: accepts nothing more, finishes what is in flight and says `Connection: close`
    /// in the last responses, and closes idle connections; connections that are left at
    /// [`drain_timeout`](crate::limits::Limits::drain_timeout) are cut. On Linux, with the feature `sockets`,
    /// accepting goes on for a tenth of a second, since a client that has only connected is not seen before.
    pub fn drain(&self) {
        self.tell(DRAIN);
    }

    /// Shuts down as [`drain`](ServerHandle::drain) does, but leaves clients that wait to be accepted to
    /// another server that listens on the same sockets: see [`Listener`](crate::server::Listener). Nobody
    /// waits for the end of this one, so kept connections live for another five seconds, and are told
    /// `Connection: close` with their next answer: a front end that sends a request on one at that moment
    /// does not lose it.
    pub fn hand_over(&self) {
        self.tell(HAND_OVER);
    }

    /// Shuts down as [`hand_over`](ServerHandle::hand_over) does, but the other server is this one, which is
    /// to start again: since new clients wait meanwhile, kept connections live for a quarter of a second
    /// only.
    pub fn restart(&self) {
        self.tell(RESTART);
    }

    /// Stops at once: every connection is cut.
    pub fn stop(&self) {
        self.tell(STOP);
    }

    /// Ends the wait for events, and with it a turn of the loop: [hooks](crate::gateway::LoopHooks::wait) are asked
    /// to wait again.
    pub fn wake(&self) {
        self.queues.iter().for_each(|queue| queue.notify());
    }

    /// Gives a command, which no later one takes back: drain after stop changes nothing.
    fn tell(&self, command: u8) {
        self.command.fetch_max(command, Ordering::AcqRel);
        self.wake();
    }

    pub(super) fn command(&self) -> Command {
        match self.command.load(Ordering::Acquire) {
            RUN => Command::Run,
            HAND_OVER => Command::Drain(Queue::Left),
            RESTART => Command::Drain(Queue::Waiting),
            DRAIN => Command::Drain(Queue::Accepted),
            _ => Command::Stop,
        }
    }
}
