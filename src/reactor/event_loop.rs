//! The event loop: wait, dispatch, expire, and begin again.
//!
//! The parts of a turn are in [`running`](super::running); here they are brought into their order. Either
//! this loop waits ([`EventLoop::run`]) or [somebody else's](super::guest), which then asks for a turn.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Waker};

use super::act::{Act, Witness};
use super::clock::Clock;
use super::connections::Connections;
use super::disk::{RealDisk, spool_bytes_by_default};
use super::journal::LoopJournal;
use super::listener::{Listener, Listening};
use super::meter::{Laps, Step};
use super::observer::{CONNECTIONS_PER_TURN, Observed, Observer, Post};
use super::running::{Patience, Running, WAKER, listener_token};
use super::shared::{Means, Settings, Shared};
use super::shutdown::ServerHandle;
use super::snapshot::Snapshot;
use super::socket::signs;
use super::sys;
use super::wakeup_queue::WakeupQueue;
use super::watch::LoopSelector;
use super::witness::{Testimony, Witnessed};
use crate::conversation::AccessLog;
use crate::gateway::{Gateway, LoopHooks};
use crate::limits::Limits;
use crate::now::Moment;

/// Events that are taken from the system at a time. 128: more gain nothing, and bound the turn less. Each can
/// be the end of a connection, which takes some 12 µs.
const EVENTS_PER_TURN: usize = 128;

/// A bound server that does not run yet.
pub(crate) struct BoundLoop {
    poll: Poll,
    listeners: Vec<Listener>,
    queue: Arc<WakeupQueue>,
    handle: ServerHandle,
    settings: Settings,
    journal: LoopJournal,
    clock: Clock,
    /// The number of this loop, and that of all loops of the same server.
    place: (u32, u32),
    /// The means to answer whoever observes the loop; none if nobody will.
    observed: Option<Box<Observed>>,
}

impl BoundLoop {
    /// Registers the listeners; connections wait from now on, and are accepted once it runs.
    pub fn new(
        mut listeners: Vec<Listener>,
        settings: Settings,
        access_log: Option<Box<dyn AccessLog + Send>>,
    ) -> io::Result<BoundLoop> {
        let poll = Poll::new()?;
        let queue = Arc::new(WakeupQueue::new(Waker::new(poll.registry(), WAKER)?));
        for (index, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener.source(), listener_token(index), Interest::READABLE)?;
        }
        if let Some(listener) = listeners.first() {
            // Mostly there is no other thread yet, so this is the time when it costs nothing.
            sys::reserve_descriptors(settings.limits.connections_max, listener);
        }
        let clock = Clock::start();
        Ok(BoundLoop {
            poll,
            listeners,
            handle: ServerHandle::new([queue.clone()]),
            queue,
            place: (0, 1),
            observed: None,
            settings,
            journal: LoopJournal::new(access_log, clock),
            clock,
        })
    }

    /// Makes several loops those of one server, which one handle shuts down.
    pub fn join(loops: &mut [BoundLoop]) {
        let handle = ServerHandle::new(loops.iter().map(|event_loop| event_loop.queue.clone()));
        let count = loops.len() as u32;
        for (index, event_loop) in loops.iter_mut().enumerate() {
            event_loop.handle = handle.clone();
            event_loop.place = (index as u32, count);
        }
    }

    /// Makes loops observable, and an observer of them all.
    pub fn observer(loops: &mut [BoundLoop]) -> Observer {
        Observer::new(loops.iter_mut().map(|event_loop| {
            let BoundLoop { observed, journal, clock, queue, .. } = event_loop;
            let observed = observed.get_or_insert_with(|| {
                let post = Post::new(*clock, queue.clone());
                journal.observe(post.meter.clone());
                Box::new(Observed::new(post, clock.moment()))
            });
            observed.post.clone()
        }))
    }

    /// The listeners.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The handle that shuts the loop down.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves with this gateway until it is shut down.
    ///
    /// # Errors
    /// Returns the error when no descriptor is left, or when waiting for events fails.
    pub fn run<'g>(
        self,
        gateway: Box<dyn Gateway + 'g>,
        hooks: Option<Box<dyn LoopHooks + 'g>>,
    ) -> io::Result<()> {
        self.start(gateway, hooks)?.run()
    }

    /// Serves with this gateway, before a witness of the first few connections.
    ///
    /// # Errors
    /// Returns the same errors as [`BoundLoop::run`].
    pub fn run_witnessed<'g>(
        self,
        gateway: Box<dyn Gateway + 'g>,
        connections: u64,
        witness: Box<dyn Witness + 'g>,
    ) -> io::Result<()> {
        let testimony = Rc::new(Testimony::new(witness, connections, self.clock));
        let witnessed = |listener| Witnessed::new(listener, testimony.clone());
        self.start_with(gateway, None, witnessed, testimony.clone())?.run()
    }

    /// Begins to serve with this gateway.
    ///
    /// # Errors
    /// Returns the error when no descriptor is left.
    pub(super) fn start<'g>(
        self,
        gateway: Box<dyn Gateway + 'g>,
        hooks: Option<Box<dyn LoopHooks + 'g>>,
    ) -> io::Result<EventLoop<'g>> {
        self.start_with(gateway, hooks, |listener| listener, ())
    }

    /// Begins to serve with what `wrap` makes of each listener.
    fn start_with<'g, L: Listening>(
        self,
        gateway: Box<dyn Gateway + 'g>,
        hooks: Option<Box<dyn LoopHooks + 'g>>,
        wrap: impl Fn(Listener) -> L,
        testimony: L::Testimony,
    ) -> io::Result<EventLoop<'g, L>> {
        let Limits { connections_max, spool_bytes_max, .. } = self.settings.limits;
        if let Some(listener) = self.listeners.first() {
            // A process that was forked since has a table of its own, no larger than it had to be.
            sys::reserve_descriptors(connections_max, listener);
        }
        let spool_bytes_max =
            spool_bytes_max.unwrap_or_else(|| spool_bytes_by_default() / u64::from(self.place.1));
        let means = Means {
            selector: Arc::new(LoopSelector { registry: self.poll.registry().try_clone()? }),
            journal: self.journal,
            disk: Box::new(RealDisk::new(spool_bytes_max)),
            locals: self.listeners.iter().map(Listener::local).collect(),
            queue: self.queue.clone(),
            clock: self.clock,
        };
        let mut shared = Shared::new(gateway, hooks, self.settings, means);
        shared.context.stopwatch = Box::new(self.clock);
        let mut observed = self.observed;
        if let Some(observed) = &mut observed {
            observed.last = self.clock.moment();
        }
        let connections = Connections::of_loop(self.place.0, self.place.1, connections_max);
        Ok(EventLoop {
            poll: self.poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            running: Running::new(self.listeners.into_iter().map(wrap).collect(), connections, shared),
            clock: self.clock,
            handle: self.handle,
            queue: self.queue,
            place: self.place,
            observed,
            testimony,
        })
    }
}

/// A server that runs, and the selector that tells it of events.
pub(super) struct EventLoop<'g, L: Listening = Listener> {
    poll: Poll,
    /// The events of this turn.
    events: Events,
    running: Running<'g, L>,
    clock: Clock,
    handle: ServerHandle,
    queue: Arc<WakeupQueue>,
    /// The number of this loop, and that of all loops of the same server.
    place: (u32, u32),
    /// The means to answer whoever observes the loop; none if nobody does.
    observed: Option<Box<Observed>>,
    /// The way to whoever witnesses the loop.
    testimony: L::Testimony,
}

impl<L: Listening> EventLoop<'_, L> {
    /// Serves until it is shut down.
    ///
    /// # Errors
    /// Returns the error when waiting for events fails; nothing that a peer or an application does ends the
    /// loop.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            if let Err(error) = self.wait() {
                // Whoever is connected is cut so that it can tell, and recorded.
                self.running.stop();
                return Err(error);
            }
            if self.turn().is_break() {
                return Ok(());
            }
        }
    }

    /// Returns how long the loop may wait for events.
    pub(super) fn patience(&self) -> Patience {
        self.running.patience().no_longer_than(self.running.shared.deadline_of_hooks())
    }

    /// Waits for events, as long as there is nothing else to do.
    fn wait(&mut self) -> io::Result<()> {
        let mut patience = match self.patience() {
            Patience::None => Some(Duration::ZERO),
            // Not from the beginning of the turn, which may have taken a while.
            Patience::Until(next) => Some(next.since(self.present())),
            Patience::Endless => None,
        };
        let EventLoop { poll, events, queue, .. } = self;
        if patience != Some(Duration::ZERO) && !queue.fall_asleep() {
            patience = Some(Duration::ZERO);
        }
        // Should the hooks not wait, there are no events: the old ones must not come again.
        events.clear();
        let mut waited = Ok(());
        self.running.shared.wait(&mut || {
            waited = poll.poll(events, patience);
            queue.wake_up();
        });
        L::testify(&self.testimony, || {
            let seen = |event: &Event| self.running.seen((event.token(), signs(event)));
            let events = self.events.iter().map(seen).collect();
            Act::Waited { call: sys::CALLS.wait, limit: patience, events }
        });
        unless_interrupted(waited)
    }

    /// The present moment, between two turns. An observed loop has just read the clock at the end of its turn.
    fn present(&self) -> Moment {
        match &self.observed {
            Some(observed) => observed.last,
            None => self.clock.moment(),
        }
    }

    /// Does what the events ask for, and everything else that can be done now. Breaks when the server has ended.
    fn turn(&mut self) -> ControlFlow<()> {
        match self.observed.take() {
            None => {
                self.running.shared.context.refresh(self.clock.read());
                self.take_steps(|_, _| {})
            }
            Some(observed) => self.turn_observed(observed),
        }
    }

    /// Takes the steps of a turn, and tells the end of each, and whether it had anything to do.
    #[inline(always)]
    fn take_steps(&mut self, mut end: impl FnMut(Step, bool)) -> ControlFlow<()> {
        let EventLoop { events, running, queue, .. } = self;
        for event in &*events {
            running.dispatch(event.token(), signs(event));
        }
        running.deliver();
        end(Step::Dispatch, true);
        end(Step::Accept, running.accept());
        end(Step::Wake, running.wake(queue));
        end(Step::TakeUpRemainders, running.take_up_remainders());
        end(Step::Expire, running.expire());
        let has_watched = running.watch_memory();
        let has_written = running.shared.journal.flush();
        end(Step::WatchMemory, has_watched || has_written);
        running.obey(self.handle.command())
    }

    /// Takes a turn, counts what it is spent on, and answers whoever observes.
    #[inline(never)]
    fn turn_observed(&mut self, mut observed: Box<Observed>) -> ControlFlow<()> {
        let (before, events) = (self.running.connections.last_generation(), self.events.iter().count());
        let now = self.clock.read();
        self.running.shared.context.refresh(now);
        let mut laps = Laps::begin(&observed.post.meter, observed.last, now.moment, events);
        let flow = self.take_steps(|step, was_busy| laps.end(step, was_busy));
        observed.last = laps.finish(self.running.connections.count_since(before));
        let (running, place) = (&self.running, self.place);
        let has_answered = observed.answer(
            || running.describe(place, EVENTS_PER_TURN),
            |snapshot, from| {
                let next = running.describe_connections(snapshot, from, CONNECTIONS_PER_TURN);
                if next.is_none() {
                    let connections = std::mem::take(&mut snapshot.connections);
                    *snapshot = Snapshot { connections, ..running.describe(place, EVENTS_PER_TURN) };
                }
                next
            },
        );
        if has_answered {
            observed.last = observed.post.meter.note_answer(observed.last);
        }
        self.observed = Some(observed);
        flow
    }

    // Where somebody else waits

    /// Takes a turn with the events that are there, after which the selector says whether there are others.
    ///
    /// # Errors
    /// Returns the same errors as [`EventLoop::run`].
    pub fn turn_ready(&mut self) -> io::Result<ControlFlow<()>> {
        self.queue.wake_up();
        self.events.clear();
        unless_interrupted(self.poll.poll(&mut self.events, Some(Duration::ZERO)))?;
        let flow = self.turn();
        self.fall_asleep();
        Ok(flow)
    }

    /// Lets wake-ups come through the selector from now on. If one came before that, the loop [is at
    /// work](EventLoop::is_at_work).
    pub fn fall_asleep(&self) {
        self.queue.fall_asleep();
    }

    /// Whether there is something to do that the selector does not show: a wake-up, or more events than a turn takes,
    /// which a level-triggered selector would show, but no edge-triggered one.
    pub fn is_at_work(&self) -> bool {
        self.queue.is_notified() || self.events.iter().count() >= EVENTS_PER_TURN
    }

    /// The moment of the last turn.
    pub fn now(&self) -> Moment {
        self.running.shared.context.now.moment
    }

    /// Converts the moment of the last turn to the system's; none if that is too far away for it.
    pub fn instant(&self, moment: Moment) -> Option<Instant> {
        self.clock.instant(moment)
    }

    /// Duplicates the selector's descriptor, which is readable when there are events.
    ///
    /// # Errors
    /// Returns the error when no descriptor is left, or when the system waits for events without one.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        sys::selector(self.poll.registry())
    }

    /// Cuts the connections that are left.
    pub fn stop(&mut self) {
        self.running.stop();
    }
}

/// Ignores that a signal has ended the wait: that is no error.
fn unless_interrupted(waited: io::Result<()>) -> io::Result<()> {
    match waited {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
