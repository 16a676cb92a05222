//! One connection: a socket, a conversation, and what is known of their readiness.
//!
//! [`Connection::turn`] is all that ever happens to it, whatever the cause, and always the same
//! four steps: *fill* reads, *advance* lets the conversation do what it can, *flush* writes, and
//! *settle* asks the conversation what it wants now and arranges for it. Nothing of what it wants
//! is stored: registration, timer and place in the ready list follow from the answer.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use mio::Interest;
use mio::event::Event;

use super::connections::ConnectionId;
use super::readiness::{Filled, Flushed, Readiness, fill, flush};
use super::shared::{Asker, Lent, Shared};
use super::stream::Stream;
use crate::conversation::{
    Budget, Conversation, Farewell, Flow, Life, Memory, NoWire, OutputQueue, Turn, Wants, Wire, of_output,
};
use crate::limits::Limits;
use crate::now::Moment;

/// Bytes read, and bytes written, for one connection before others have their turn. 256 KiB: four
/// buffers full, some 100 µs.
const TURN_BYTES: usize = 256 * 1024;
/// Why a connection has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It has just been accepted.
    Accepted,
    /// Its socket is ready.
    Event,
    /// It stopped early in an earlier turn.
    Remainder,
    /// Its application has woken it.
    Wake,
    /// Its timer has gone off.
    Timer,
}

/// What is to be done with a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An event, a wake-up or a timer will come.
    Keep,
    /// It could go on at once: no event will tell.
    Again,
    /// It could go on as soon as there is memory.
    Starved,
    /// Its response was finished and waits: it is to be [delivered](Connection::deliver).
    Held,
    /// It has ended.
    Gone,
}

/// A connection in the slab.
pub(super) struct Connection {
    stream: Stream,
    conversation: Conversation,
    /// What the socket would not take; none while it takes everything.
    backlog: Option<Box<Backlog>>,
    state: SocketState,
    readiness: Readiness,
    registration: Registration,
    /// By which listener it was accepted.
    listener: u16,
    peer: Peer,
    /// For when its timer is set.
    pub timer: Option<Moment>,
    /// Bytes held for it that the account of all connections knows of.
    accounted: u32,
}

/// Output that waits for the socket.
struct Backlog {
    queue: OutputQueue,
    /// How the socket has taken it so far.
    departure: Flow,
}

/// What the socket is for.
enum SocketState {
    /// The conversation.
    Open,
    /// Our side has ended; what comes is thrown away until the peer ends too, or this moment.
    Lingering(Moment),
}

/// For what the socket is registered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Registration {
    /// Nothing: it was just accepted. Most connections that serve one request stay so.
    None,
    /// Reading.
    Read,
    /// Reading and writing, from the first short write on.
    ReadWrite,
}

/// Who is at the other end; half the size of an `Option<SocketAddr>`.
enum Peer {
    Unix,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl Connection {
    /// A connection that was just accepted. It is read from before it is registered: its request
    /// is often there already, and registering later loses nothing.
    pub fn new(stream: Stream, peer: Option<SocketAddr>, listener: u16, now: Moment) -> Connection {
        Connection {
            stream,
            conversation: Conversation::new(now),
            backlog: None,
            state: SocketState::Open,
            readiness: Readiness::unknown(),
            registration: Registration::None,
            listener,
            peer: match peer {
                None => Peer::Unix,
                Some(SocketAddr::V4(address)) => Peer::V4(address),
                Some(SocketAddr::V6(address)) => Peer::V6(Box::new(address)),
            },
            timer: None,
            accounted: 0,
        }
    }

    /// Takes note of an event; whether the connection is still alive.
    pub fn note(&mut self, event: &Event) -> bool {
        let is_broken = event.is_error() || event.is_write_closed();
        self.readiness.set(
            Readiness::READ_CLOSED,
            self.readiness.has(Readiness::READ_CLOSED) || event.is_read_closed(),
        );
        if event.is_readable() || event.is_read_closed() || is_broken {
            self.readiness.set(Readiness::READABLE, true);
        }
        if event.is_writable() || is_broken {
            self.readiness.set(Readiness::WRITABLE, true);
        }
        !(is_broken && self.stream.is_broken())
    }

    /// Whether it must be put into the ready list: it must not stand there twice.
    pub fn enqueue(&mut self) -> bool {
        let is_new = !self.readiness.has(Readiness::QUEUED);
        self.readiness.set(Readiness::QUEUED, true);
        is_new
    }

    /// It was taken from the ready list.
    pub fn dequeue(&mut self) {
        self.readiness.set(Readiness::QUEUED, false);
    }

    /// The server shuts down: a last look at the socket, for a request that has just arrived.
    pub fn look_again(&mut self) {
        self.readiness.set(Readiness::READABLE, true);
    }

    /// When its timer is to go off.
    pub fn deadline(&self, limits: &Limits, life: Life) -> Option<Moment> {
        let last_chance = self.conversation.last_chance().filter(|_| life == Life::Draining);
        let of_conversation = last_chance.or(self.conversation.deadline(limits));
        match (&self.state, &self.backlog) {
            (SocketState::Lingering(until), _) => Some(*until),
            (SocketState::Open, None) => of_conversation,
            // While the last answer is on its way nobody expects the next request.
            (SocketState::Open, Some(backlog)) if self.conversation.is_idle() => {
                Some(of_output(backlog.departure, limits))
            }
            (SocketState::Open, Some(backlog)) => {
                let of_output = of_output(backlog.departure, limits);
                Some(of_conversation.map_or(of_output, |deadline| deadline.min(of_output)))
            }
        }
    }

    /// Since when it does nothing but wait for its next request; none if there may be one already.
    pub fn idle_since(&self) -> Option<Moment> {
        let is_quiet = self.backlog.is_none() && !self.readiness.has(Readiness::READABLE);
        self.conversation.kept_since().filter(|_| is_quiet)
    }

    /// Brings the account of all connections up to date.
    pub fn account(&mut self, held: &mut usize) {
        if self.accounted == 0 && self.backlog.is_none() && self.conversation.is_idle() {
            return;
        }
        // A file that waits to be sent holds no memory.
        let queued = self.backlog.as_ref().map_or(0, |backlog| backlog.queue.held_bytes());
        let now_held = u32::try_from(self.conversation.held_bytes() + queued).unwrap_or(u32::MAX);
        *held = (*held + now_held as usize).saturating_sub(self.accounted as usize);
        self.accounted = now_held;
    }

    /// Takes itself out of the account: it is about to be dropped.
    pub fn close_account(&mut self, held: &mut usize) {
        *held = held.saturating_sub(self.accounted as usize);
        self.accounted = 0;
    }

    /// Whether all it could do is to bring a request to a gateway that takes none for now. It is not even
    /// read from, and registered for when it can be.
    pub fn must_wait_for_gateway(&self, cause: Cause, shared: &Shared<'_>) -> bool {
        matches!(cause, Cause::Accepted | Cause::Event | Cause::Remainder)
            && shared.life == Life::Running
            && self.conversation.wants(0, &shared.limits) == Wants::Read
            && matches!(self.state, SocketState::Open)
            && self.backlog.is_none()
            && !shared.gateway.is_ready()
    }

    /// Does everything that can be done now.
    pub fn turn(&mut self, id: ConnectionId, cause: Cause, shared: &mut Shared<'_>) -> Verdict {
        log::trace!("connection {}: {cause:?}", id.number());
        if let SocketState::Lingering(until) = self.state {
            return self.linger(id, until, shared);
        }
        if cause == Cause::Timer && self.is_stalled(shared) {
            // The system tells of room only when there is much. A slow peer may have made a little,
            // and a peer that takes anything at all has not stalled.
            self.readiness.set(Readiness::WRITABLE, true);
        }
        let verdict = self.converse(id, cause, shared).and_then(|is_held| match cause {
            _ if is_held => Ok(Verdict::Held),
            Cause::Timer if self.is_stalled(shared) => Err(io::ErrorKind::TimedOut.into()),
            _ => self.settle(id, shared),
        });
        self.unless_lost(id, verdict, shared)
    }

    /// Sends a response that has waited for others, and goes on from there as after any turn.
    pub fn deliver(&mut self, id: ConnectionId, held: &mut OutputQueue, shared: &mut Shared<'_>) -> Verdict {
        let flushed = flush(&self.stream, &self.readiness, held, false, TURN_BYTES);
        let verdict = flushed.and_then(|_| {
            if !held.is_empty() {
                let departure = Flow::new(shared.now.moment);
                self.backlog = Some(Box::new(Backlog { queue: held.split_off(), departure }));
            }
            self.settle(id, shared)
        });
        self.unless_lost(id, verdict, shared)
    }

    fn unless_lost(
        &mut self,
        id: ConnectionId,
        verdict: io::Result<Verdict>,
        shared: &mut Shared<'_>,
    ) -> Verdict {
        verdict.unwrap_or_else(|error| {
            log::debug!("connection {}: lost: {error}", id.number());
            self.abandon(id, shared)
        })
    }

    /// The connection is broken, or to be cut. What it owed is lost, and the peer must see that.
    pub fn abandon(&mut self, id: ConnectionId, shared: &mut Shared<'_>) -> Verdict {
        let asker = self.asker();
        let Lent { mut turn, out, .. } = shared.lend(id, asker, Budget::TURN, &NoWire);
        let unsent = match &mut self.backlog {
            Some(backlog) => backlog.queue.take_file(),
            None => out.take_file(),
        };
        out.clear();
        if let Some(rest) = unsent {
            // The journal is to say how much of it has left.
            self.conversation.take_back(rest, out);
        }
        if self.conversation.abandon(&mut turn) == Farewell::Reset || self.backlog.is_some() {
            self.stream.reset_on_close();
        }
        Verdict::Gone
    }

    /// Fill, advance and flush; what the socket would not take becomes a backlog of this connection.
    /// Whether the response was finished and is held instead.
    fn converse(&mut self, id: ConnectionId, cause: Cause, shared: &mut Shared<'_>) -> io::Result<bool> {
        let now = shared.now.moment;
        let holds = cause == Cause::Event && self.backlog.is_none() && shared.held.is_on();
        // Others wait to be delivered: one call, and their time is looked at again.
        let budget = if holds { Budget::ONE_REQUEST } else { Budget::TURN };
        let asker = self.asker();
        let socket = Socket { stream: &self.stream, readiness: &self.readiness };
        let Lent { mut turn, scratch, out } = shared.lend(id, asker, budget, &socket);
        let mut talk = Talk { conversation: &mut self.conversation, socket: &socket, holds };
        self.backlog = match self.backlog.take() {
            None => {
                talk.steps(cause, &mut turn, scratch, out)?;
                if talk.is_held(out) {
                    shared.hold(id);
                    return Ok(true);
                }
                let is_short = !out.is_empty();
                is_short.then(|| Box::new(Backlog { queue: out.split_off(), departure: Flow::new(now) }))
            }
            Some(mut backlog) => {
                let flushed = match talk.steps(cause, &mut turn, scratch, &mut backlog.queue) {
                    Ok(flushed) => flushed,
                    Err(error) => {
                        // It is still to be seen how much has not left.
                        self.backlog = Some(backlog);
                        return Err(error);
                    }
                };
                backlog.departure.moved(flushed as u64, now);
                let backlog = Some(backlog).filter(|backlog| !backlog.queue.is_empty());
                if backlog.is_none() {
                    self.conversation.delivered(now);
                }
                backlog
            }
        };
        Ok(false)
    }

    /// Asks the conversation what it wants now, and arranges for it.
    fn settle(&mut self, id: ConnectionId, shared: &mut Shared<'_>) -> io::Result<Verdict> {
        let owed = self.backlog.as_ref().map_or(0, |backlog| backlog.queue.owed());
        let wants = self.conversation.wants(owed, &shared.limits);
        let is_again = match wants {
            Wants::Close(Farewell::Reset) => {
                self.stream.reset_on_close();
                return Ok(Verdict::Gone);
            }
            Wants::Close(Farewell::Clean) if !self.readiness.has(Readiness::READABLE) => {
                self.stream.end();
                return Ok(Verdict::Gone);
            }
            // Also where something unread may wait: closing upon it would reset the connection.
            Wants::Close(Farewell::Linger | Farewell::Clean) => {
                self.stream.end();
                let until = shared.now.moment + shared.limits.linger_timeout;
                self.state = SocketState::Lingering(until);
                return Ok(self.linger(id, until, shared));
            }
            Wants::Turn => true,
            Wants::Read if must_wait_for_memory(&self.conversation, &self.readiness, shared.memory()) => {
                self.register(id, shared)?;
                return Ok(Verdict::Starved);
            }
            Wants::Read => self.readiness.has(Readiness::READABLE),
            Wants::Application => is_to_be_told(&self.conversation, &self.readiness),
            Wants::Write => false,
        };
        self.register(id, shared)?;
        let is_flushable = owed > 0 && self.readiness.has(Readiness::WRITABLE);
        Ok(if is_again || is_flushable { Verdict::Again } else { Verdict::Keep })
    }

    /// Readable only, until the socket first takes less than it is given; registered once at most
    /// for either.
    fn register(&mut self, id: ConnectionId, shared: &Shared<'_>) -> io::Result<()> {
        let wanted = match (self.registration, &self.backlog) {
            (Registration::ReadWrite, _) | (Registration::Read, None) => return Ok(()),
            (Registration::None, None) => Registration::Read,
            (Registration::None | Registration::Read, Some(_)) => Registration::ReadWrite,
        };
        let interest = match wanted {
            Registration::ReadWrite => Interest::READABLE | Interest::WRITABLE,
            Registration::None | Registration::Read => Interest::READABLE,
        };
        match self.registration {
            Registration::None => self.stream.register(&shared.registry, id.token(), interest)?,
            Registration::Read | Registration::ReadWrite => {
                self.stream.reregister(&shared.registry, id.token(), interest)?;
            }
        }
        self.registration = wanted;
        Ok(())
    }

    /// Throws away what still comes, until the peer has read its answer and ends, too.
    fn linger(&mut self, id: ConnectionId, until: Moment, shared: &mut Shared<'_>) -> Verdict {
        if until <= shared.now.moment {
            return Verdict::Gone;
        }
        let mut thrown_away = 0;
        while self.readiness.has(Readiness::READABLE) && thrown_away < TURN_BYTES {
            match fill(&self.stream, &self.readiness, &mut shared.scratch) {
                Ok(Filled::Bytes(count)) => thrown_away += count,
                Ok(Filled::Nothing) => {}
                Ok(Filled::End) | Err(_) => return Verdict::Gone,
            }
        }
        match self.register(id, shared) {
            Ok(()) if self.readiness.has(Readiness::READABLE) => Verdict::Again,
            Ok(()) => Verdict::Keep,
            Err(_) => Verdict::Gone,
        }
    }

    fn is_stalled(&self, shared: &Shared<'_>) -> bool {
        let deadline = self.backlog.as_ref().map(|backlog| of_output(backlog.departure, &shared.limits));
        deadline.is_some_and(|deadline| deadline <= shared.now.moment)
    }

    fn asker(&self) -> Asker {
        Asker {
            peer: match &self.peer {
                Peer::Unix => None,
                Peer::V4(address) => Some(SocketAddr::V4(*address)),
                Peer::V6(address) => Some(SocketAddr::V6(**address)),
            },
            listener: self.listener,
            has_finished_sending: self.readiness.has(Readiness::READ_CLOSED),
        }
    }
}

/// A connection's socket, for the length of a turn.
struct Socket<'c> {
    stream: &'c Stream,
    readiness: &'c Readiness,
}

impl Wire for Socket<'_> {
    fn flush(&self, out: &mut OutputQueue) {
        // What is wrong with the socket comes out again when the rest is flushed.
        let _ = flush(self.stream, self.readiness, out, false, TURN_BYTES);
    }
}

/// A conversation at its socket: the first three of the four steps.
struct Talk<'c> {
    conversation: &'c mut Conversation,
    socket: &'c Socket<'c>,
    /// Whether a finished response is to wait for others.
    holds: bool,
}

impl Talk<'_> {
    /// Whether what is there is a whole response, which may wait.
    fn is_held(&self, out: &OutputQueue) -> bool {
        let is_writable = self.socket.readiness.has(Readiness::WRITABLE);
        self.holds && is_writable && self.conversation.is_idle() && !out.is_empty()
    }

    /// Fill, advance and flush, again and again, until something is missing or the turn is over.
    /// How many bytes were written.
    fn steps(
        &mut self,
        cause: Cause,
        turn: &mut Turn<'_>,
        scratch: &mut [u8],
        out: &mut OutputQueue,
    ) -> io::Result<usize> {
        self.begin(cause, turn, out);
        let (mut filled, mut flushed) = (0, 0);
        loop {
            match self.conversation.wants(out.owed(), turn.limits) {
                Wants::Read
                    if self.socket.readiness.has(Readiness::READABLE)
                        && filled < TURN_BYTES
                        && !must_wait_for_memory(self.conversation, self.socket.readiness, turn.memory) =>
                {
                    filled += self.fill_and_advance(turn, scratch, out)?;
                }
                Wants::Turn if !turn.budget.is_spent() && flushed < TURN_BYTES => {
                    self.conversation.advance(turn, out);
                }
                Wants::Read if self.is_held(out) => return Ok(flushed),
                Wants::Read | Wants::Turn | Wants::Write | Wants::Application | Wants::Close(_) => {
                    let is_last = self.conversation.wants(0, turn.limits) == Wants::Close(Farewell::Clean);
                    let Flushed { bytes, unsendable } =
                        flush(self.socket.stream, self.socket.readiness, out, is_last, TURN_BYTES)?;
                    flushed += bytes;
                    if let Some(error) = unsendable
                        && let Some(rest) = out.take_file()
                    {
                        log::debug!("connection {}: reads its file: {error}", turn.client.connection_id);
                        self.conversation.take_back(rest, out);
                    } else if bytes == 0 || flushed >= TURN_BYTES || !out.is_empty() {
                        return Ok(flushed);
                    }
                }
            }
        }
    }

    /// What the cause of the turn means to the conversation.
    fn begin(&mut self, cause: Cause, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if is_to_be_told(self.conversation, self.socket.readiness) {
            self.conversation.client_has_finished(turn, out);
        }
        let is_due = |deadline: Option<Moment>| deadline.is_some_and(|deadline| deadline <= turn.now.moment);
        match cause {
            Cause::Wake => self.conversation.wake(turn, out),
            // While something is owed, the deadline is that of the output.
            Cause::Timer if self.conversation.is_idle() && !out.is_empty() => {}
            Cause::Timer if turn.life == Life::Draining && is_due(self.conversation.last_chance()) => {
                self.conversation.finish_if_idle(turn.now.moment);
            }
            Cause::Timer if is_due(self.conversation.deadline(turn.limits)) => {
                self.conversation.expire(turn, out)
            }
            Cause::Timer | Cause::Accepted | Cause::Event | Cause::Remainder => {}
        }
    }

    /// One read, and all that follows from what it brings. How many bytes it brought.
    fn fill_and_advance(
        &mut self,
        turn: &mut Turn<'_>,
        scratch: &mut [u8],
        out: &mut OutputQueue,
    ) -> io::Result<usize> {
        match fill(self.socket.stream, self.socket.readiness, scratch)? {
            Filled::Bytes(count) => {
                self.conversation.receive(&scratch[..count], turn, out);
                Ok(count)
            }
            Filled::End => {
                self.conversation.receive_end(turn, out);
                Ok(0)
            }
            Filled::Nothing => {
                // A last look has found no request, unless it was interrupted.
                if turn.life == Life::Draining && !self.socket.readiness.has(Readiness::READABLE) {
                    self.conversation.finish_if_idle(turn.now.moment);
                }
                Ok(0)
            }
        }
    }
}

/// Half a head is not read on while memory is scarce. Content is: that moves it to the disk. And so is a
/// peer that has ended, which makes room.
fn must_wait_for_memory(conversation: &Conversation, readiness: &Readiness, memory: Memory) -> bool {
    memory == Memory::Scarce && conversation.is_in_head() && !readiness.has(Readiness::READ_CLOSED)
}

/// Whether the peer has ended its side and nobody will read it, because the application is pending.
fn is_to_be_told(conversation: &Conversation, readiness: &Readiness) -> bool {
    readiness.has(Readiness::READ_CLOSED) && conversation.is_to_be_told_of_end()
}
