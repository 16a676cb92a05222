//! A running server: everything that a turn of the loop does, but wait.
//!
//! Every loop over something from outside has a budget, so that no storm of accepts, wake-ups or expiries
//! lets the others wait. A step that stops early owns the remainder: no edge comes for what is already there,
//! so it is put into the ready list, and the next wait does not wait.

use std::collections::VecDeque;
use std::mem;
use std::ops::ControlFlow;
use std::time::Duration;

use mio::Token;

use super::act::{Act, Cause, EventSource, SeenEvent};
use super::connection::{Connection, List, Verdict};
use super::connection_id::ConnectionId;
use super::connections::{Connections, reserved};
use super::listener::{Accepted, Accepting, Listener, Listening};
use super::pressure::{SPILLED_BYTES_MAX, STALL_MAX, Tide, most_expensive};
use super::readiness::signs_of;
use super::room::{Found, LOOKS_PER_TURN, Standing};
use super::shared::Shared;
use super::shutdown::{Command, Queue};
use super::snapshot::{BudgetSnapshot, ConnectionSnapshot, ListenerSnapshot, QueuesSnapshot, Snapshot};
use super::stream::Transport;
use super::timers::Timers;
use super::wakeup_queue::WakeupQueue;
use crate::conversation::{Memory, Shutdown};
use crate::now::Moment;

/// Connections that are accepted from one listener in a turn. 32: some 200 µs.
const ACCEPTS_PER_TURN: usize = 32;
/// Connections that are accepted when a server begins to drain: as many as a listen queue holds.
const LAST_ACCEPTS: usize = 4096;
/// How long a server that drains goes on accepting if connections come with their request: a client that has
/// only connected has not been seen yet. 100 ms: a busy proxy sends a few ms after it has connected, and an
/// end that comes this much later disturbs nobody.
const LAST_CALL: Duration = Duration::from_millis(100);
/// How long a kept connection may bring another request if another server takes over. 5 s: connections that a
/// front end keeps busy are used within that, and told that it was the last time.
const GRACE_HANDING_OVER: Duration = Duration::from_secs(5);
/// How long a kept connection may bring another request if this server starts again, and new clients wait for
/// that. 250 ms: less than it takes to load an application.
const GRACE_RESTARTING: Duration = Duration::from_millis(250);
/// Wake-ups and remainders of earlier turns that are handled in a turn.
const REMAINDERS_PER_TURN: usize = 256;
/// Timers that go off in a turn. 64: closing a connection takes some 8 µs, at times 20, and 10,000 may
/// expire in the same second.
const EXPIRIES_PER_TURN: usize = 64;
/// The least interval between two warnings of the same kind.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The token of the waker; listeners count down from the one before. No connection reaches them:
/// places end below 2^31.
pub(super) const WAKER: Token = Token(usize::MAX);

pub(super) fn listener_token(index: usize) -> Token {
    Token(usize::MAX - 1 - index)
}

/// The number of events of each kind that a turn of the loop handles.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoopBudget {
    /// Connections that are accepted from one listener.
    pub accepts: usize,
    /// Wake-ups and remainders that are handled.
    pub remainders: usize,
    /// Timers that go off.
    pub expiries: usize,
}

impl LoopBudget {
    const TURN: LoopBudget = LoopBudget {
        accepts: ACCEPTS_PER_TURN,
        remainders: REMAINDERS_PER_TURN,
        expiries: EXPIRIES_PER_TURN,
    };
}

/// A running server: everything that the loop does, except waiting. A simulation runs it, too, over listeners
/// and sockets of its own.
pub(super) struct Running<'g, L: Listening = Listener> {
    listeners: Vec<L>,
    pub connections: Connections<L::Stream>,
    pub timers: Timers,
    /// Bounds of a turn of the loop; a simulation gives less.
    pub budget: LoopBudget,
    /// Connections that can go on without an event.
    ready: Vec<ConnectionId>,
    /// Connections that wait for memory, or for the gateway, in the order in which they began to wait.
    starved: VecDeque<ConnectionId>,
    /// Connections that were woken and have not had their turn.
    pub woken: Vec<ConnectionId>,
    /// The time when the operator was last told that accepting has failed.
    warned: Option<Moment>,
    drain: Drain,
    /// The time since which memory has been scarce, or connections that stalled last gave theirs back.
    scarce_since: Option<Moment>,
    tide: Tide,
    pub shared: Shared<'g>,
}

/// How far the drain of a server has come.
enum Drain {
    /// The server does not drain.
    No,
    /// The server accepts clients that have connected already, up to `until`. What is open at `cut` is cut.
    LastCall { until: Moment, cut: Moment },
    /// The server accepts nobody. What is open at `cut` is cut.
    Finishing { cut: Moment },
}

impl Drain {
    /// Returns when what is open is cut; none if the server does not drain.
    fn cut(&self) -> Option<Moment> {
        match self {
            Drain::No => None,
            Drain::LastCall { cut, .. } | Drain::Finishing { cut } => Some(*cut),
        }
    }

    /// Returns when the drain goes on without an event.
    fn due(&self) -> Option<Moment> {
        match self {
            Drain::No => None,
            Drain::LastCall { until, cut } => Some(*until.min(cut)),
            Drain::Finishing { cut } => Some(*cut),
        }
    }
}

/// How long the loop may wait for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// The loop may not wait: something can go on.
    None,
    /// The loop may wait until this moment.
    Until(Moment),
    /// The loop may wait until an event comes.
    Endless,
}

impl Patience {
    /// Limits the patience to this moment, if that is sooner.
    pub fn no_longer_than(self, moment: Option<Moment>) -> Patience {
        match (self, moment) {
            (patience, None) | (patience @ Patience::None, Some(_)) => patience,
            (Patience::Until(next), Some(moment)) => Patience::Until(next.min(moment)),
            (Patience::Endless, Some(moment)) => Patience::Until(moment),
        }
    }
}

impl<'g, L: Listening> Running<'g, L> {
    pub fn new(listeners: Vec<L>, connections: Connections<L::Stream>, shared: Shared<'g>) -> Running<'g, L> {
        let timers = Timers::with_capacity(reserved(shared.context.limits.connections_max));
        Running {
            listeners,
            connections,
            timers,
            budget: LoopBudget::TURN,
            ready: Vec::new(),
            starved: VecDeque::new(),
            woken: Vec::new(),
            warned: None,
            drain: Drain::No,
            scarce_since: None,
            tide: Tide::default(),
            shared,
        }
    }

    /// Returns how long to wait for events: not at all if something can go on, else exactly until the next
    /// deadline, and for ever if there is none. Hooks may want it shorter.
    pub fn patience(&self) -> Patience {
        let is_ready = |listener: &L| listener.accepting() == Accepting::Ready;
        let is_fed = !self.starved.is_empty() && self.shared.can_take_more();
        if is_fed || !self.ready.is_empty() || !self.woken.is_empty() || self.listeners.iter().any(is_ready) {
            return Patience::None;
        }
        let pauses = self.listeners.iter().filter_map(|listener| match listener.accepting() {
            Accepting::Paused(until) => Some(until),
            Accepting::Ready | Accepting::Waiting => None,
        });
        let pressure = self.scarce_since.map(|since| since + STALL_MAX).or(self.tide.due());
        let next = pauses.chain(self.timers.next()).chain(self.drain.due()).chain(pressure).min();
        next.map_or(Patience::Endless, Patience::Until)
    }

    /// Handles an event: finds whom it is for, and notes [what it says](signs).
    #[inline(always)]
    pub fn dispatch(&mut self, token: Token, signs: u8) {
        if token == WAKER {
            // It has ended the wait, and that is all that it is for.
        } else if let Some(id) = self.connections.find(token) {
            if !self.shared.corked_responses.is_empty() {
                self.deliver_before(id);
            }
            let is_alive = self.connections.get(id).is_some_and(|connection| connection.note(signs));
            if is_alive {
                self.turn(id, Cause::Event);
            } else {
                self.abandon(id);
            }
        } else if let Some(listener) = self.listeners.get_mut(usize::MAX - 1 - token.0)
            && listener.accepting() == Accepting::Waiting
        {
            listener.set_accepting(Accepting::Ready);
        } else if let Some(id) = self.connections.find_watching(token)
            && self.woken.last() != Some(&id)
        {
            self.woken.push(id);
        }
    }

    /// Accepts connections from the listeners that may have some. Returns whether it has tried.
    #[inline(always)]
    pub fn accept(&mut self) -> bool {
        let now = self.shared.context.now.moment;
        let (mut looks, mut has_tried) = (LOOKS_PER_TURN, false);
        for index in 0..self.listeners.len() {
            if let Accepting::Paused(until) = self.listeners[index].accepting()
                && until <= now
            {
                self.listeners[index].resume();
            }
            let mut budget = self.budget.accepts;
            while self.listeners[index].accepting() == Accepting::Ready && budget > 0 && looks > 0 {
                self.accept_one(index, &mut looks);
                budget -= 1;
                has_tried = true;
            }
        }
        has_tried
    }

    /// Makes one attempt to accept. `looks` bounds the places that are looked at for a connection that makes
    /// room.
    fn accept_one(&mut self, index: usize, looks: &mut usize) {
        let now = self.shared.context.now.moment;
        let limit = self.shared.context.limits.connections_max;
        // The connection that would make room. It stays if nobody is waiting.
        let leaving = match self.connections.len() >= limit {
            false => None,
            true => match self.find_room(looks) {
                Found::One(id, standing) => Some((id, standing)),
                Found::NotYet => return,
                Found::Nobody(until) => {
                    self.warn_throttled(format_args!("all {limit} connections are busy: new ones wait"));
                    return self.listeners[index].pause(until);
                }
            },
        };
        match self.listeners[index].accept() {
            Accepted::Connection(stream, peer) => {
                leaving.into_iter().for_each(|(id, standing)| self.evict(id, standing));
                let id = self.connections.insert(stream, peer, index as u16, now);
                log::debug!("connection {}: accepted, peer {peer:?}", id.number());
                self.turn(id, Cause::Accepted);
            }
            Accepted::Nobody => {}
            Accepted::Empty => {
                self.listeners[index].set_accepting(Accepting::Waiting);
                if self.listeners.iter().all(|listener| listener.accepting() == Accepting::Waiting) {
                    self.connections.room.nobody_waits();
                }
            }
            Accepted::Exhausted(error) => match self.find_room(looks) {
                // The next attempt finds what this has made free.
                Found::One(id, standing) => self.evict(id, standing),
                Found::NotYet => {}
                Found::Nobody(until) => {
                    self.warn_throttled(format_args!("cannot accept, new connections wait: {error}"));
                    self.listeners[index].pause(until);
                }
            },
        }
    }

    fn find_room(&mut self, looks: &mut usize) -> Found {
        let listeners = &self.listeners;
        let silence = |index: u16| listeners.get(usize::from(index)).map_or(Duration::ZERO, L::silence);
        self.connections.find_room(&self.shared.context, looks, silence)
    }

    /// Warns the operator, but not a thousand times a second.
    fn warn_throttled(&mut self, what: std::fmt::Arguments<'_>) {
        let now = self.shared.context.now.moment;
        if self.warned.is_none_or(|at| now.since(at) >= WARNING_INTERVAL) {
            log::warn!("{what}");
            self.warned = Some(now);
        }
    }

    /// Gives a turn to the connections that other threads have woken, or descriptors that their applications watch.
    /// Returns whether there were any.
    #[inline(always)]
    pub fn wake(&mut self, queue: &WakeupQueue) -> bool {
        if queue.is_notified() {
            queue.drain(&mut self.woken);
        }
        let woken = first(&mut self.woken, self.budget.remainders);
        let are_there = !woken.is_empty();
        for id in woken {
            self.turn(id, Cause::Wake);
        }
        are_there
    }

    /// Gives a turn to connections that wait for memory, or for the gateway, as long as there is memory, or the
    /// gateway takes requests.
    fn relieve(&mut self) {
        for _ in 0..self.starved.len().min(self.budget.remainders) {
            // Those that have closed stand here still, and cost no memory.
            let first = self.starved.front().map(|id| self.connections.get(*id).is_some());
            if first == Some(true) && !self.shared.can_take_more() {
                return;
            }
            if let Some(id) = self.starved.pop_front()
                && let Some(connection) = self.connections.get(id)
            {
                connection.leave(List::Starved);
                self.turn(id, Cause::Relieved);
            }
        }
    }

    /// Gives a turn to the connections that stopped early. Returns whether some may have.
    #[inline(always)]
    pub fn take_up_remainders(&mut self) -> bool {
        let are_there = !self.ready.is_empty() || !self.starved.is_empty();
        self.relieve();
        // Who has had no turn stands before those who have, and want another.
        let mut waiting = mem::take(&mut self.ready);
        let mut begun = None;
        let mut had = 0;
        for id in &waiting {
            if had >= self.budget.remainders || self.have_lasted(had, &mut begun) {
                break;
            }
            had += 1;
            if let Some(connection) = self.connections.get(*id) {
                connection.leave(List::Ready);
                self.turn(*id, Cause::Remainder);
            }
        }
        waiting.drain(..had);
        waiting.append(&mut self.ready);
        self.ready = waiting;
        are_there
    }

    /// Whether remainders have taken as long as a turn may, after this many: each may be a piece that takes a millisecond to
    /// make, and events wait meanwhile. The clock is read after the first, second, fourth, eighth and so on.
    fn have_lasted(&self, had: usize, begun: &mut Option<Moment>) -> bool {
        let context = &self.shared.context;
        match begun {
            _ if !had.is_power_of_two() => false,
            Some(begun) => context.has_lasted_since(*begun),
            None => {
                *begun = Some(context.stopwatch.moment());
                false
            }
        }
    }

    /// Gives a turn to the connections whose timer has gone off. All of them are taken first: a timer that is
    /// set again at once must wait for the next turn of the loop. Returns whether some has.
    #[inline(always)]
    pub fn expire(&mut self) -> bool {
        let (now, count) = (self.shared.context.now.moment, self.budget.expiries);
        let due: Vec<_> = std::iter::from_fn(|| self.timers.pop_due(now)).take(count).collect();
        let are_there = !due.is_empty();
        for id in due {
            self.turn(id, Cause::Timer);
        }
        are_there
    }

    /// Takes memory back from connections that stall, once it has been scarce for a while, and gives memory
    /// back to the system that has been free for a while. Returns whether there was any of that to do, or may be soon.
    #[inline(always)]
    pub fn watch_memory(&mut self) -> bool {
        let now = self.shared.context.now.moment;
        if self.shared.is_memory_exhausted() {
            self.take_memory_back(Duration::ZERO, self.shared.bytes_after_relief(false));
        }
        self.scarce_since = match (self.shared.memory(), self.scarce_since) {
            (Memory::Ample, _) => None,
            (Memory::Scarce, Some(since)) if now.since(since) >= STALL_MAX => {
                let is_waited_for = !self.starved.is_empty() && self.shared.is_ready();
                let bytes_max = self.shared.bytes_after_relief(is_waited_for);
                self.take_memory_back(STALL_MAX, bytes_max);
                if is_waited_for && self.shared.memory() == Memory::Scarce {
                    // Nobody stalls, and yet somebody has to wait: who moves least makes room.
                    self.take_memory_back(Duration::ZERO, bytes_max);
                }
                Some(now)
            }
            (Memory::Scarce, since) => since.or(Some(now)),
        };
        let is_low = self.tide.note(self.shared.memory_in_use(), now);
        if is_low {
            self.shared.tell_of_low_tide();
        }
        is_low || self.scarce_since.is_some()
    }

    /// Takes memory back from connections that hold much and have stalled for `stall_min` at least, until
    /// less than `bytes_max` is in use.
    fn take_memory_back(&mut self, stall_min: Duration, bytes_max: usize) {
        let now = self.shared.context.now.moment;
        self.tide.rise(self.shared.memory_in_use());
        self.connections.account_all(&mut self.shared.connection_bytes);
        let (mut spilled_bytes, mut cut_count) = (0, 0);
        for holding in most_expensive(self.connections.holdings(now), stall_min, now) {
            if self.shared.memory_in_use() < bytes_max || spilled_bytes > SPILLED_BYTES_MAX {
                break;
            }
            let Some(connection) = self.connections.get(holding.id) else { continue };
            if connection.can_spill() {
                spilled_bytes += holding.bytes;
                self.turn(holding.id, Cause::Pressure);
            } else if connection.can_be_turned_away() {
                self.turn(holding.id, Cause::Pressure);
            } else {
                cut_count += 1;
                self.abandon(holding.id);
            }
        }
        if cut_count > 0 {
            let limit = self.shared.context.limits.memory_bytes_max;
            self.warn_throttled(format_args!(
                "{limit} bytes of memory are in use: {cut_count} connections that did not move were cut"
            ));
        }
    }

    /// Gives one connection its turn, and does what follows from it.
    fn turn(&mut self, id: ConnectionId, cause: Cause) {
        self.tell(id, |connection| Act::TurnBegun(cause, connection));
        self.take_turn(id, cause);
        self.tell(id, Act::TurnEnded);
    }

    #[inline(always)]
    fn take_turn(&mut self, id: ConnectionId, cause: Cause) {
        let is_full = self.connections.room.is_known_to_be_full();
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        if !self.shared.is_ready() && connection.must_wait_for_gateway(cause, &self.shared) {
            return self.let_wait(id);
        }
        let verdict = connection.turn(id, cause, &mut self.shared);
        if verdict == Verdict::Keep && !is_full {
            let may_hold = connection.account(&mut self.shared.connection_bytes);
            let deadline = connection.deadline(&self.shared.context.limits, self.shared.context.shutdown);
            self.timers.arm(id, deadline);
            if !may_hold {
                return;
            }
        } else {
            self.follow(id, verdict);
        }
        // Not while memory is being taken back: that goes on by itself.
        if cause != Cause::Pressure && self.shared.is_memory_exhausted() {
            self.take_memory_back(Duration::ZERO, self.shared.bytes_after_relief(false));
        }
    }

    /// Lets a connection wait for the gateway; one that has waited for as long as it may is turned away.
    fn let_wait(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let verdict = connection.wait_for_gateway(id, &mut self.shared);
        if connection.is_due(&self.shared) {
            let away = self.shared.stand_in();
            self.turn(id, Cause::TurnedAway);
            self.shared.put_back(away);
        } else {
            self.follow(id, verdict);
        }
    }

    /// Sends the finished responses if they have waited for as long as they may, or one is of the connection that has its
    /// turn now: kqueue has two events for it, and the second may say that the client has ended its side.
    fn deliver_before(&mut self, id: ConnectionId) {
        let is_corked = |connection: &mut Connection<L::Stream>| connection.stands_in(List::Corked);
        if self.shared.is_delivery_due() || self.connections.get(id).is_some_and(is_corked) {
            self.deliver();
        }
    }

    /// Sends the finished responses that have waited for each other.
    #[inline(always)]
    pub fn deliver(&mut self) {
        if self.shared.corked_responses.is_empty() {
            return;
        }
        let mut held = self.shared.corked_responses.take();
        for (id, response) in &mut held {
            if let Some(connection) = self.connections.get(*id) {
                let verdict = connection.deliver(*id, response, &mut self.shared);
                self.follow(*id, verdict);
            }
        }
        self.shared.corked_responses.give_back(held);
    }

    /// Does what follows from the turn of a connection.
    fn follow(&mut self, id: ConnectionId, verdict: Verdict) {
        let is_full = self.connections.room.is_known_to_be_full();
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        connection.account(&mut self.shared.connection_bytes);
        let mut makes_room = false;
        match verdict {
            Verdict::Corked => return,
            Verdict::Gone => return self.reap(id),
            Verdict::Requeue if connection.enter(List::Ready) => self.ready.push(id),
            Verdict::Starved if connection.enter(List::Starved) => self.starved.push_back(id),
            // A connection that has become idle can make room for one that waits.
            Verdict::Keep if is_full => {
                makes_room = connection.idle_since().is_some();
            }
            Verdict::Requeue | Verdict::Starved | Verdict::Keep => {}
        }
        let deadline = connection.deadline(&self.shared.context.limits, self.shared.context.shutdown);
        self.timers.arm(id, deadline);
        if makes_room {
            self.connections.room.somebody_is_idle();
            self.listeners.iter_mut().for_each(L::resume);
        }
    }

    fn abandon(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get(id) {
            connection.abandon(id, &mut self.shared);
            self.reap(id);
        }
    }

    /// Removes a connection that makes room. Half a head hears 408, as after its timeout, and the others nothing. Nobody
    /// lingers: the answer of one that still sends may be lost.
    fn evict(&mut self, id: ConnectionId, standing: Standing) {
        if standing > Standing::Lingering {
            self.warn_throttled(format_args!(
                "no place is left: connections without a whole request make room"
            ));
        }
        self.connections.room.make(self.shared.context.now.moment);
        self.turn(id, Cause::Evicted);
        self.reap(id);
    }

    /// Removes a connection. Closing is dropping its socket; that takes it out of epoll, too.
    fn reap(&mut self, id: ConnectionId) {
        if let Some(mut connection) = self.connections.remove(id) {
            log::debug!("connection {}: closed", id.number());
            self.timers.disarm(id);
            connection.close_account(&mut self.shared.connection_bytes);
            self.listeners.iter_mut().for_each(L::resume);
        }
    }

    // For whoever observes or witnesses the server

    /// Tells the witness of a connection of an act, if there is one.
    #[inline(always)]
    fn tell(&mut self, id: ConnectionId, act: impl FnOnce(Box<ConnectionSnapshot>) -> Act<'static>) {
        if !L::Stream::IS_WITNESSED {
            return;
        }
        let (context, high) = (&self.shared.context, self.shared.output_bytes_high());
        if let Some(connection) = self.connections.get(id) {
            connection.tell(|| act(Box::new(connection.describe(id, context, high))));
        }
    }

    /// Says what an event is about.
    pub fn seen(&self, (token, signs): (Token, u8)) -> SeenEvent {
        let listener = usize::MAX - 1 - token.0.min(WAKER.0 - 1);
        let about = if token == WAKER {
            EventSource::Waker
        } else if let Some(id) = self.connections.find(token) {
            EventSource::Connection(id.number())
        } else if listener < self.listeners.len() {
            EventSource::Listener(listener)
        } else {
            let watching = self.connections.find_watching(token);
            watching.map_or(EventSource::Gone, |id| EventSource::Watched(id.number()))
        };
        SeenEvent { about, signs: signs_of(signs) }
    }

    /// Describes everything but the connections. `events` is the most that are taken in a turn.
    pub fn describe(&self, (reactor, reactors): (u32, u32), events: usize) -> Snapshot {
        let LoopBudget { accepts, remainders, expiries } = self.budget;
        Snapshot {
            reactor: reactor as usize,
            reactors: reactors as usize,
            taken: self.shared.context.now.moment,
            shutdown: self.shared.context.shutdown,
            drain_until: self.drain.cut(),
            is_gateway_ready: self.shared.is_ready(),
            connections: Vec::new(),
            connections_max: self.shared.context.limits.connections_max,
            listeners: self.listeners.iter().map(describe_listener).collect(),
            memory: self.shared.describe_memory(),
            queues: QueuesSnapshot {
                ready: self.ready.len(),
                starved: self.starved.len(),
                woken: self.woken.len(),
                corked: self.shared.corked_responses.len(),
                timers: self.timers.len(),
            },
            budget: BudgetSnapshot { events, accepts, remainders, expiries },
        }
    }

    /// Adds the connections at `count` places from `place` on. Returns the place that comes next, if there is one.
    pub fn describe_connections(&self, into: &mut Snapshot, place: usize, count: usize) -> Option<usize> {
        let (context, high) = (&self.shared.context, self.shared.output_bytes_high());
        self.connections.describe(place, count, context, high, &mut into.connections)
    }

    /// Obeys a command to the server. Breaks when it has ended.
    #[inline(always)]
    pub fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Run => {}
            Command::Drain(queue) => self.drain(queue),
            Command::Stop => {
                self.stop();
                return ControlFlow::Break(());
            }
        }
        if self.is_drained() {
            self.stop();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Begins to drain the server, or goes on with that: called in each turn of the loop until it is drained.
    fn drain(&mut self, queue: Queue) {
        match self.drain {
            Drain::No => return self.begin_drain(queue),
            Drain::LastCall { until, cut } if until <= self.shared.context.now.moment => {
                self.accept_who_waits();
                self.listeners.clear();
                self.drain = Drain::Finishing { cut };
            }
            Drain::LastCall { .. } | Drain::Finishing { .. } => {}
        }
        if queue == Queue::Accepted && self.shared.context.shutdown != Shutdown::Draining {
            // It was to hand over, and is to end for good now, which is waited for.
            self.shared.context.shutdown = Shutdown::Draining;
            self.look_at_all();
        }
    }

    /// Begins to drain: stops accepting, except for clients that wait already; every connection has a last
    /// look for a request that has just arrived, and ends if there is none.
    fn begin_drain(&mut self, queue: Queue) {
        log::info!("draining: {} connections are open", self.connections.len());
        let now = self.shared.context.now.moment;
        let drain_timeout = self.shared.context.limits.drain_timeout;
        let cut = now + drain_timeout;
        self.drain = Drain::Finishing { cut };
        if queue == Queue::Accepted {
            let stopped = self.listeners.iter_mut().map(L::stop_deferring);
            if stopped.filter(|was_deferred| *was_deferred).count() > 0 {
                self.drain = Drain::LastCall { until: now + LAST_CALL, cut };
            }
            self.accept_who_waits();
        }
        if let Drain::Finishing { .. } = self.drain {
            self.listeners.clear();
        }
        // They are to end by themselves, before what is left is cut.
        let grace = |grace: Duration| now + grace.min(drain_timeout / 2);
        self.shared.context.shutdown = match queue {
            Queue::Accepted => Shutdown::Draining,
            Queue::Left => Shutdown::HandingOver(grace(GRACE_HANDING_OVER)),
            Queue::Waiting => Shutdown::HandingOver(grace(GRACE_RESTARTING)),
        };
        self.look_at_all();
    }

    /// Gives every connection a last look for a request that has just arrived.
    fn look_at_all(&mut self) {
        self.starved.clear();
        for id in self.connections.ids() {
            if let Some(connection) = self.connections.get(id) {
                connection.leave(List::Starved);
                connection.look_again();
                if connection.enter(List::Ready) {
                    self.ready.push(id);
                }
            }
        }
    }

    fn accept_who_waits(&mut self) {
        for index in 0..self.listeners.len() {
            self.listeners[index].set_accepting(Accepting::Ready);
            let (mut budget, mut looks) = (LAST_ACCEPTS, LOOKS_PER_TURN);
            while self.listeners[index].accepting() == Accepting::Ready && budget > 0 && looks > 0 {
                self.accept_one(index, &mut looks);
                budget -= 1;
            }
        }
    }

    fn is_drained(&self) -> bool {
        match self.drain {
            Drain::No => false,
            Drain::LastCall { cut, .. } => cut <= self.shared.context.now.moment,
            Drain::Finishing { cut } => self.connections.is_empty() || cut <= self.shared.context.now.moment,
        }
    }

    /// Cuts the connections that are left.
    pub fn stop(&mut self) {
        let ids = self.connections.ids();
        match ids.len() {
            0 => log::info!("stopped"),
            open => log::warn!("stopped while connections were open: {open}"),
        }
        for id in ids {
            self.abandon(id);
        }
        self.shared.journal.flush();
    }
}

fn describe_listener(listener: &impl Listening) -> ListenerSnapshot {
    let accepting = match listener.accepting() {
        Accepting::Waiting => "Waiting",
        Accepting::Ready => "Ready",
        Accepting::Paused(_) => "Paused",
    };
    ListenerSnapshot { address: listener.name(), accepting, queue: listener.queue() }
}

/// Takes the first few ids; the others stay.
fn first(ids: &mut Vec<ConnectionId>, count: usize) -> Vec<ConnectionId> {
    let later = if ids.len() > count { ids.split_off(count) } else { Vec::new() };
    mem::replace(ids, later)
}
