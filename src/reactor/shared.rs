//! The state that all connections share: one application, one clock, one read scratch, one output scratch.

use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mio::Registry;

use super::clock::Clock;
use super::connection_id::ConnectionId;
use super::corked::CorkedResponses;
use super::journal::LoopJournal;
use super::readiness::Readiness;
use super::snapshot::MemorySnapshot;
use super::socket::Socket;
use super::stream::Transport;
use super::wakeup_queue::{Wakes, WakeupQueue};
use super::watch::LoopSelector;
use crate::conversation::{Budget, Busy, Disk, Memory, OutputQueue, ServerContext, Turn, Wire};
use crate::gateway::{Client, Gateway, LoopHooks, MemoryAccount, ReadBuffer, ServerInfo};
use crate::limits::Limits;
use crate::now::Moment;

/// Bytes of content that are read at a time. 256 KiB: an upload of a mebibyte takes four system calls and not
/// sixteen; all connections share it, and memory that was never written to costs nothing.
const SCRATCH_BYTES: usize = 256 * 1024;

/// How long the loop waits at most for hooks that panic when they are asked. 10 ms: an answer is late by no
/// more, and a hundred warnings a second are enough.
const PATIENCE_AFTER_PANIC: Duration = Duration::from_millis(10);

/// A function that gives freed memory back to the system; only whoever has chosen the allocator knows how.
pub(crate) type AtLowTide = Arc<dyn Fn() + Send + Sync>;

/// The state that is lent to each connection for its turn.
pub(super) struct Shared<'g> {
    gateway: Box<dyn Gateway + 'g>,
    /// The hooks; none if nobody takes part in the loop, as nearly always.
    hooks: Option<Box<dyn LoopHooks + 'g>>,
    /// The context of all conversations.
    pub context: ServerContext,
    pub scratch: ReadBuffer,
    /// The work that a connection may do in its turn; a simulation allows less.
    pub budget: Budget,
    pub journal: LoopJournal,
    /// Bytes held for all connections together.
    pub connection_bytes: usize,
    /// Bytes of requests that applications have taken to other threads.
    detached: MemoryAccount,
    /// Finished responses that wait for others.
    pub corked_responses: CorkedResponses,
    /// Called when much memory has become free.
    at_low_tide: AtLowTide,
    clock: Clock,
    /// The address of each listener, as applications know it.
    locals: Vec<Option<SocketAddr>>,
    output: OutputQueue,
    disk: Box<dyn Disk>,
    wakes: Wakes,
}

/// The settings of a server before it runs. Each of several loops has a copy.
#[derive(Clone)]
pub(crate) struct Settings {
    pub limits: Limits,
    /// The facts about the server that applications are told.
    pub server: ServerInfo,
    /// How long a finished response may wait for others.
    pub hold_max: Duration,
    /// Called when much memory has become free.
    pub at_low_tide: AtLowTide,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Limits::default(),
            server: ServerInfo::default(),
            hold_max: Duration::ZERO,
            at_low_tide: Arc::new(|| {}),
        }
    }
}

/// The means of one loop.
pub(super) struct Means {
    /// The selector with which connections register for events, and applications what they watch.
    pub selector: Arc<LoopSelector>,
    pub journal: LoopJournal,
    pub disk: Box<dyn Disk>,
    /// The address of each listener, as applications know it.
    pub locals: Vec<Option<SocketAddr>>,
    pub queue: Arc<WakeupQueue>,
    pub clock: Clock,
}

/// The gateway and its hooks, while another one stands in.
pub(super) struct Away<'g> {
    gateway: Box<dyn Gateway + 'g>,
    hooks: Option<Box<dyn LoopHooks + 'g>>,
}

/// The parts of a turn.
pub(super) struct Lent<'a> {
    pub turn: Turn<'a>,
    pub scratch: &'a mut ReadBuffer,
    /// The output scratch; empty between turns.
    pub out: &'a mut OutputQueue,
}

impl<'g> Shared<'g> {
    /// Makes the state around this application.
    pub fn new(
        gateway: Box<dyn Gateway + 'g>,
        hooks: Option<Box<dyn LoopHooks + 'g>>,
        settings: Settings,
        means: Means,
    ) -> Shared<'g> {
        let Settings { limits, server, hold_max, at_low_tide } = settings;
        let Means { selector, journal, disk, locals, queue, clock } = means;
        let detached = MemoryAccount::with_limit(limits.memory_bytes_max);
        Shared {
            gateway,
            hooks,
            context: ServerContext::new(limits, server, clock.read()),
            scratch: ReadBuffer::for_reads_of(SCRATCH_BYTES),
            budget: Budget::TURN,
            journal,
            connection_bytes: 0,
            detached,
            corked_responses: CorkedResponses::new(hold_max),
            at_low_tide,
            clock,
            locals,
            output: OutputQueue::default(),
            disk,
            wakes: Wakes { queue, selector, id: ConnectionId::default() },
        }
    }

    /// Lets the response in the output scratch wait for other responses of this turn of the loop.
    pub fn cork(&mut self, id: ConnectionId) {
        self.corked_responses.cork(id, &mut self.output, || self.clock.moment());
    }

    /// Whether a finished response has waited for as long as it may.
    pub fn is_delivery_due(&self) -> bool {
        !self.corked_responses.is_empty() && self.corked_responses.is_overdue(self.clock.moment())
    }

    /// The registry with which connections register for events.
    pub fn registry(&self) -> &Registry {
        &self.wakes.selector.registry
    }

    /// Whether there is room in memory for more. It is scarce from three quarters of the limit on: content
    /// that is under way may still add a scratch before its connection has its next turn, and a client that
    /// begins a request a little.
    pub fn memory(&self) -> Memory {
        if self.memory_in_use() < self.context.limits.memory_bytes_max / 4 * 3 {
            Memory::Ample
        } else {
            Memory::Scarce
        }
    }

    /// Returns how much memory may stay in use when some is taken back: as much as is ample. If some
    /// connection has had to wait for memory, half of the limit, so that there is enough for all that wait,
    /// and not only for the first.
    pub fn bytes_after_relief(&self, is_waited_for: bool) -> usize {
        let quarters = if is_waited_for { 2 } else { 3 };
        self.context.limits.memory_bytes_max / 4 * quarters
    }

    /// The number of bytes owed to a peer from which on nothing more is produced for it.
    pub fn output_bytes_high(&self) -> usize {
        self.memory().output_bytes_high(&self.context.limits)
    }

    /// Whether more memory is held than the limit allows.
    pub fn is_memory_exhausted(&self) -> bool {
        self.memory_in_use() > self.context.limits.memory_bytes_max
    }

    /// The account of memory, for whoever observes the server.
    pub fn describe_memory(&self) -> MemorySnapshot {
        MemorySnapshot {
            connections: self.connection_bytes,
            detached: self.detached.bytes(),
            max: self.context.limits.memory_bytes_max,
            is_scarce: self.memory() == Memory::Scarce,
        }
    }

    /// The memory that connections hold, and requests that have left them for other threads, in bytes.
    pub fn memory_in_use(&self) -> usize {
        self.connection_bytes + self.detached.bytes()
    }

    /// Whether the gateway takes a request. If the hook panics, the gateway is called.
    pub fn is_ready(&self) -> bool {
        self.hooks
            .as_deref()
            .is_none_or(|hooks| catch_unwind(AssertUnwindSafe(|| hooks.is_ready())).unwrap_or(true))
    }

    /// Returns the moment until which the hooks let the loop wait. If the hook panics, it may have something to say
    /// soon.
    pub fn deadline_of_hooks(&self) -> Option<Moment> {
        let (hooks, now) = (self.hooks.as_ref()?, self.clock.moment());
        let deadline = catch_unwind(AssertUnwindSafe(|| hooks.deadline(now)));
        deadline.unwrap_or(Some(now + PATIENCE_AFTER_PANIC))
    }

    /// Waits for events, within the hook. If that panics before it has waited, the loop waits by itself: it
    /// neither ends nor spins.
    pub fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        let Some(hooks) = &mut self.hooks else {
            return wait();
        };
        let mut has_waited = false;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            hooks.wait(&mut || {
                has_waited = true;
                wait();
            });
        }));
        if outcome.is_err() {
            log::error!("a hook has panicked while the server waited for events: it goes on");
            if !has_waited {
                wait();
            }
        }
    }

    /// Tells the owner of the server that much memory has become free. If it panics, that is all.
    pub fn tell_of_low_tide(&self) {
        if catch_unwind(AssertUnwindSafe(|| (self.at_low_tide)())).is_err() {
            log::error!("`at_low_tide` has panicked: the server goes on");
        }
    }

    /// Whether connections that wait for memory, or for the gateway, can go on.
    pub fn can_take_more(&self) -> bool {
        self.memory() == Memory::Ample && self.is_ready()
    }

    /// Lets a gateway stand in that answers every request with 503, until [the other comes
    /// back](Shared::put_back).
    pub fn stand_in(&mut self) -> Away<'g> {
        // It has no size: nothing is allocated.
        let gateway = mem::replace(&mut self.gateway, Box::new(Busy));
        Away { gateway, hooks: self.hooks.take() }
    }

    /// Puts the gateway back in place of the stand-in.
    pub fn put_back(&mut self, away: Away<'g>) {
        (self.gateway, self.hooks) = (away.gateway, away.hooks);
    }

    /// The output scratch: empty, but for what a connection has left in it in this turn.
    pub fn output(&mut self) -> &mut OutputQueue {
        &mut self.output
    }

    /// Lends everything that a conversation needs for a turn.
    pub fn lend<'a, S: Transport>(
        &'a mut self,
        id: ConnectionId,
        socket: &'a Socket<S>,
        budget: Budget,
        wire: &'a dyn Wire,
    ) -> Lent<'a> {
        self.wakes.id = id;
        let memory = self.memory();
        let client = Client {
            connection_id: id.number(),
            peer: &socket.peer,
            local: self.locals.get(usize::from(socket.listener)).and_then(Option::as_ref),
            has_finished_sending: socket.readiness.has(Readiness::READ_CLOSED),
            wake_source: &self.wakes,
            memory: Some(&self.detached),
        };
        let turn = Turn {
            gateway: &mut *self.gateway,
            context: &self.context,
            client,
            disk: &mut *self.disk,
            wire,
            journal: &mut self.journal,
            memory,
            budget,
        };
        Lent { turn, scratch: &mut self.scratch, out: &mut self.output }
    }
}
