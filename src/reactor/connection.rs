//! One connection: a socket, a conversation, and what the socket would not take yet.
//!
//! [`Connection::turn`] is what happens to it, whatever the cause, and always the same four steps.
//! [`Connection::pump`] is the first three: *fill* reads, *advance* lets the conversation do what it can, and
//! *flush* writes, again and again. Then *settle* asks the conversation what it wants now and arranges for
//! it. Nothing of what it wants is stored: registration, timer and place in the ready list follow from the
//! answer.
//!
//! Besides, a response that has waited for others is delivered, a connection that is broken is abandoned,
//! and one that has said its last only lingers. What is known of the socket stands in [`socket`](super::socket).

use std::io;
use std::time::Duration;

use mio::Interest;

use super::act::{Act, Cause};
use super::connection_id::ConnectionId;
use super::pressure::{Holding, STALL_MAX};
use super::readiness::{Filled, Flushed, Readiness, fill, flush};
use super::room::Standing;
use super::shared::{Lent, Shared};
use super::snapshot::{ConnectionSnapshot, InterestState, Names, OurSideState};
use super::socket::{Registration, Socket, TURN_BYTES};
use super::stream::{Stream, Transport};
use crate::conversation::{
    Budget, Conversation, Farewell, Flow, Memory, NoWire, OutputQueue, ServerContext, Shutdown, Turn, Wants,
    of_output,
};
use crate::gateway::ReadBuffer;
use crate::limits::Limits;
use crate::now::Moment;

/// The most that a client waits in all for a gateway that takes no request, once it has ended its side. 1 s: it may
/// wait for its answer, but more often it has left, and other clients come first.
const ENDED_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that are read at a time while requests may begin. 64 KiB: whole pipelines; bytes that are not used
/// up in this turn have to be kept.
const HEADS_READ_BYTES: usize = 64 * 1024;
/// Bytes that are read at a time while memory is scarce, unless they are content that goes to the disk: all
/// of them may have to be kept. 4 KiB: nearly every head is shorter, and as much for each of 16,384 connections is the
/// quarter of the memory that is left.
const SCARCE_READ_BYTES: usize = 4 * 1024;

/// The part of the memory for reads, as a divisor, up to which bytes are copied out of it: a quarter, 64 KiB. Memory
/// that holds more can go on to the application as it is; of less, much would be held for little.
const COPIED_PART: usize = 4;

/// The next step for a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The connection waits: an event, a wake-up or a timer will come.
    Keep,
    /// The connection could go on at once, and no event will tell.
    Requeue,
    /// The connection could go on as soon as there is memory.
    Starved,
    /// The response was finished and waits: it is to be [delivered](Connection::deliver).
    Corked,
    /// The connection has ended.
    Gone,
}

/// A connection in the slab.
pub(super) struct Connection<S = Stream> {
    socket: Socket<S>,
    conversation: Conversation,
    our_side: OurSide,
    /// The bytes held for the connection, as the account of all connections knows them.
    accounted: u32,
    /// The [lists](List) in which the connection stands, as bits.
    lists: u8,
}

/// A list of the loop, in which a connection waits for a turn that no event will bring. It may stand in several:
/// an event can let it go on before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// The connection can go on at once.
    Ready = 1,
    /// The connection waits for memory, or for the gateway.
    Starved = 2,
    /// A finished response of the connection waits for others, and comes before whatever else happens to it.
    Corked = 4,
}

impl List {
    /// The names, in the order of the bits.
    const NAMES: [&str; 3] = ["Ready", "Starved", "Corked"];
}

/// The size of a connection: ten thousand are 700 KiB, 72 bytes each, of which mio's socket takes 8. (It
/// carries more on some systems, and if assertions are on.)
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection<Stream>>() - size_of::<Stream>() <= 64);

/// The state of our side of the connection: what stands between the conversation and its next step, if anything does.
enum OurSide {
    /// The socket has taken all output.
    Clear,
    /// The socket has taken all output, and nothing is read either: since this moment the connection waits
    /// for a gateway that takes no request.
    Waiting(Moment),
    /// The socket has not taken this output yet.
    Backlog(Box<Backlog>),
    /// Our side has ended, so there is no more output. Whatever comes is discarded until the peer ends too,
    /// or this moment.
    Ended(Moment),
}

impl OurSide {
    /// Moves what is left in a queue to a backlog, which waits for the socket from now on.
    fn behind(queue: &mut OutputQueue, now: Moment) -> OurSide {
        OurSide::Backlog(Box::new(Backlog { queue: queue.split_off(), departure: Flow::new(now) }))
    }
}

/// The reason why a [pump](Connection::pump) has stopped.
enum Stop {
    /// Everything has been sent, and this is wanted now.
    Clear(Wants),
    /// Output is still owed.
    Owing,
    /// The output is a whole response, which is to wait for others.
    Corked,
}

/// Output that waits for the socket.
struct Backlog {
    queue: OutputQueue,
    /// The pace at which the socket has taken the output so far.
    departure: Flow,
}

impl<S: Transport> Connection<S> {
    /// Makes a connection that was just accepted. It is read from before it is registered: its request is
    /// often there already, and registering later loses nothing.
    pub fn new(socket: Socket<S>, now: Moment) -> Connection<S> {
        Connection {
            socket,
            conversation: Conversation::new(now),
            our_side: OurSide::Clear,
            accounted: 0,
            lists: 0,
        }
    }

    /// The generation, which tells it from connections that had its place in the slab before.
    pub fn generation(&self) -> u32 {
        self.socket.generation
    }

    /// Notes [what an event says](super::socket::signs), and returns whether the connection is still alive.
    pub fn note(&self, signs: u8) -> bool {
        self.socket.note(signs)
    }

    /// Adds the connection to a list. Returns whether it did not stand there before: it must not stand there
    /// twice.
    pub fn enter(&mut self, list: List) -> bool {
        let is_new = !self.stands_in(list);
        self.lists |= list as u8;
        is_new
    }

    /// Notes that the connection was removed from a list.
    pub fn leave(&mut self, list: List) {
        self.lists &= !(list as u8);
    }

    /// Whether the connection stands in a list.
    pub fn stands_in(&self, list: List) -> bool {
        self.lists & list as u8 != 0
    }

    /// Looks at the socket once more, for a request that has just arrived: the server shuts down.
    pub fn look_again(&mut self) {
        self.socket.readiness.set(Readiness::READABLE, true);
    }

    /// Returns when the timer of the connection is to go off.
    #[inline(always)]
    pub fn deadline(&self, limits: &Limits, shutdown: Shutdown) -> Option<Moment> {
        let last_chance = self.conversation.last_chance(shutdown);
        let of_conversation = last_chance.or(self.conversation.deadline(limits));
        match &self.our_side {
            OurSide::Clear => of_conversation,
            // It is us who do not read: no deadline of the client passes meanwhile.
            OurSide::Waiting(since) => Some(*since + self.patience_with_gateway(limits)),
            // While the last answer is on its way nobody expects the next request.
            OurSide::Backlog(backlog) if self.conversation.is_idle() => {
                Some(of_output(backlog.departure, limits))
            }
            OurSide::Backlog(backlog) => {
                let of_output = of_output(backlog.departure, limits);
                Some(of_conversation.map_or(of_output, |deadline| deadline.min(of_output)))
            }
            OurSide::Ended(until) => Some(*until),
        }
    }

    /// Returns the moment since which the connection has only waited for its next request; none if there may be one
    /// already.
    pub fn idle_since(&self) -> Option<Moment> {
        let is_quiet = self.is_clear() && !self.socket.readiness.has(Readiness::READABLE);
        self.conversation.kept_since().filter(|_| is_quiet)
    }

    /// Returns the standing in which the connection could make room for a new one in a full house, and since when;
    /// none if something is under way.
    pub fn makes_room(
        &self,
        limits: &Limits,
        silence: impl Fn(u16) -> Duration,
    ) -> Option<(Standing, Moment)> {
        let is_quiet = !self.socket.readiness.has(Readiness::READABLE);
        match self.our_side {
            OurSide::Clear => {}
            OurSide::Ended(until) => {
                return Some((Standing::Lingering, earlier(until, limits.linger_timeout)));
            }
            OurSide::Waiting(_) | OurSide::Backlog(_) => return None,
        }
        if let Some(begun) = self.conversation.head_since() {
            return Some((Standing::InHead, begun));
        }
        if let Some(accepted) = self.conversation.silent_since().filter(|_| is_quiet) {
            return Some((Standing::Silent, earlier(accepted, silence(self.socket.listener))));
        }
        Some((Standing::Kept, self.idle_since()?))
    }

    /// Whether nothing is owed to the peer, and our side is open.
    fn is_clear(&self) -> bool {
        matches!(self.our_side, OurSide::Clear)
    }

    /// Updates the account of all connections, and returns whether it may have changed.
    pub fn account(&mut self, total: &mut usize) -> bool {
        let may_hold = self.accounted != 0 || !self.is_clear() || !self.conversation.is_idle();
        if may_hold {
            self.account_memory(total);
        }
        may_hold
    }

    #[inline(never)]
    fn account_memory(&mut self, total: &mut usize) {
        let in_use = u32::try_from(self.memory_in_use()).unwrap_or(u32::MAX);
        *total = (*total + in_use as usize).saturating_sub(self.accounted as usize);
        self.accounted = in_use;
    }

    /// The memory in bytes that is held for the connection.
    pub fn memory_in_use(&self) -> usize {
        let queued = match &self.our_side {
            // A file that waits to be sent holds no memory.
            OurSide::Backlog(backlog) => backlog.queue.memory_bytes(),
            OurSide::Clear | OurSide::Waiting(_) | OurSide::Ended(_) => 0,
        };
        self.conversation.memory_in_use() + queued
    }

    /// Returns the memory that the connection holds while the peer is to move, by taking output or by sending
    /// more, or in which lies what an application does not take; none if it holds nothing, or if the application is to
    /// move and the peer has sent no more than it had to. A peer that has sent more than was read waits for us, and
    /// comes last.
    pub fn holding(&self, id: ConnectionId, now: Moment) -> Option<Holding> {
        let readiness = &self.socket.readiness;
        let is_unread = self.stands_in(List::Starved) && readiness.has(Readiness::READABLE);
        let moved = match &self.our_side {
            OurSide::Backlog(backlog) => Some(backlog.departure.last_byte),
            OurSide::Clear if is_unread => Some(now),
            // A tunnel may be silent for long, and so may an application behind which its client has sent more than
            // it had to: it counts how much they hold, and not for how long.
            OurSide::Clear => {
                self.conversation.stalled_since().or_else(|| self.conversation.unread_since()).or_else(|| {
                    let silent_since = self.conversation.silent_tunnel_since();
                    let is_much = self.conversation.bytes_behind() > SCARCE_READ_BYTES;
                    let since = silent_since.or(is_much.then_some(Moment::START))?;
                    Some(since.max(earlier(now, STALL_MAX)))
                })
            }
            OurSide::Waiting(_) | OurSide::Ended(_) => None,
        };
        moved.filter(|_| self.accounted > 0).map(|moved| Holding {
            id,
            bytes: self.accounted as usize,
            moved,
        })
    }

    /// Whether the connection could give memory back without losing anything: content that is on its way can move to
    /// the disk.
    pub fn can_spill(&self) -> bool {
        self.is_clear() && self.conversation.collects_in_memory()
    }

    /// Whether the client could be turned away, which gives memory back: it sends content that the
    /// application does not read.
    pub fn can_be_turned_away(&self) -> bool {
        self.is_clear() && self.conversation.unread_since().is_some()
    }

    /// Removes the connection from the account, before it is dropped.
    pub fn close_account(&mut self, total: &mut usize) {
        *total = total.saturating_sub(self.accounted as usize);
        self.accounted = 0;
    }

    /// Returns how long the connection may wait for the gateway.
    fn patience_with_gateway(&self, limits: &Limits) -> Duration {
        match self.socket.readiness.has(Readiness::READ_CLOSED) {
            true => limits.gateway_timeout.min(ENDED_PATIENCE),
            false => limits.gateway_timeout,
        }
    }

    /// Whether the connection could only bring a request, to a gateway that takes none for now.
    pub fn must_wait_for_gateway(&self, cause: Cause, shared: &Shared<'_>) -> bool {
        let shutdown = shared.context.shutdown;
        let can_wait = match self.our_side {
            OurSide::Clear => match cause {
                Cause::Timer => !self.is_due(shared),
                Cause::Evicted => false,
                Cause::Accepted
                | Cause::Event
                | Cause::Remainder
                | Cause::Relieved
                | Cause::Wake
                | Cause::TurnedAway
                | Cause::Pressure => true,
            },
            OurSide::Waiting(_) => true,
            OurSide::Backlog(_) | OurSide::Ended(_) => false,
        };
        // Where there is nothing to be read, no request can come of it.
        let can_wait = can_wait && self.socket.readiness.has(Readiness::READABLE);
        can_wait
            && shutdown == Shutdown::No
            && !self.conversation.is_answering()
            && self.conversation.wants(0, shared.output_bytes_high()) == Wants::Read
    }

    /// Whether the deadline of the connection has come.
    pub fn is_due(&self, shared: &Shared<'_>) -> bool {
        let ServerContext { limits, shutdown, now, .. } = &shared.context;
        self.deadline(limits, *shutdown).is_some_and(|deadline| deadline <= now.moment)
    }

    /// Begins to wait for the gateway, or goes on waiting. The socket is not read, but registered, so that a
    /// break or the client's end is noticed.
    pub fn wait_for_gateway(&mut self, id: ConnectionId, shared: &mut Shared<'_>) -> Verdict {
        if self.is_clear() {
            self.our_side = OurSide::Waiting(shared.context.now.moment);
        }
        match self.register(id, shared) {
            Ok(()) => Verdict::Starved,
            Err(error) => self.lose(id, &error, shared),
        }
    }

    /// Does everything that can be done now.
    #[inline(always)]
    pub fn turn(&mut self, id: ConnectionId, cause: Cause, shared: &mut Shared<'_>) -> Verdict {
        log::trace!("connection {}: has its turn ({cause:?}) in {}", id.number(), self.conversation.state());
        if let OurSide::Ended(_) | OurSide::Waiting(_) = self.our_side
            && let Some(verdict) = self.stir(id, shared)
        {
            return verdict;
        }
        if cause == Cause::Timer && self.is_stalled(shared) {
            // The system tells of room only when there is much. A slow peer may have made a little,
            // and a peer that takes anything at all has not stalled.
            self.socket.readiness.set(Readiness::WRITABLE, true);
        }
        let verdict = match self.pump(id, cause, shared) {
            Ok((Stop::Clear(wants), _)) if self.is_clear() => self.settle(id, wants, shared),
            Ok((Stop::Corked, _)) => {
                shared.cork(id);
                self.enter(List::Corked);
                Ok(Verdict::Corked)
            }
            Ok((Stop::Clear(_) | Stop::Owing, flushed)) => self.settle_backlog(id, cause, flushed, shared),
            Err(error) => Err(error),
        };
        verdict.unwrap_or_else(|error| self.lose(id, &error, shared))
    }

    /// Fills, advances and flushes, again and again, until something is missing or the turn is over. Output
    /// that is owed from before is sent first. Returns why it stopped, and how many bytes were written.
    #[inline(always)]
    fn pump(&mut self, id: ConnectionId, cause: Cause, shared: &mut Shared<'_>) -> io::Result<(Stop, usize)> {
        let corks = cause == Cause::Event && shared.corked_responses.is_on() && self.is_clear();
        let budget = budget_for(cause, corks, shared);
        let Connection { socket, conversation, our_side, .. } = self;
        let Lent { mut turn, scratch, out } = shared.lend(id, socket, budget, socket);
        let out = match our_side {
            OurSide::Backlog(backlog) => &mut backlog.queue,
            OurSide::Clear | OurSide::Waiting(_) | OurSide::Ended(_) => out,
        };
        if cause != Cause::Event {
            begin(cause, conversation, socket, &mut turn, out);
        }
        let (mut filled, mut flushed) = (0, 0);
        loop {
            let wants = conversation.wants(out.owed(), turn.output_bytes_high());
            socket.stream.tell(|| {
                let (state, owed_bytes) = (conversation.state(), out.owed());
                Act::Advanced { state, wants, owed_bytes }
            });
            match wants {
                Wants::Read | Wants::ReadOrWrite
                    if filled < TURN_BYTES
                        && flushed < TURN_BYTES
                        && socket.readiness.has(Readiness::READABLE)
                        && !must_wait_for_memory(conversation, socket, turn.memory) =>
                {
                    filled += fill_and_advance(conversation, socket, &mut turn, scratch, out)?;
                    continue;
                }
                Wants::Turn if !turn.budget.is_spent() && flushed < TURN_BYTES => {
                    conversation.advance(&mut turn, out);
                    continue;
                }
                // Whole, and nothing stands in its way.
                Wants::Read
                    if corks
                        && socket.readiness.has(Readiness::WRITABLE)
                        && conversation.is_idle()
                        && !out.is_empty() =>
                {
                    return Ok((Stop::Corked, flushed));
                }
                _ if out.is_empty() => return Ok((Stop::Clear(wants), flushed)),
                Wants::Read
                | Wants::ReadOrWrite
                | Wants::Turn
                | Wants::Write
                | Wants::Application
                | Wants::Close(_) => {}
            }
            // Nothing follows once this has left: it may wait for the end of the connection, to share a packet.
            let is_last = wants != Wants::Read
                && conversation.wants(0, turn.output_bytes_high()) == Wants::Close(Farewell::Clean);
            let Flushed { bytes, unsendable } =
                flush(&socket.stream, &socket.readiness, out, is_last, TURN_BYTES)?;
            flushed += bytes;
            if let Some(error) = unsendable {
                log::debug!("connection {}: reads its file: {error}", id.number());
                if let Some(rest) = out.take_file() {
                    conversation.take_back(rest, out);
                }
            } else if !out.is_empty() {
                return Ok((Stop::Owing, flushed));
            } else if wants == Wants::Read {
                // It waits for input, and there is none, or its share of this turn is used up: that the queue is empty
                // changes neither.
                return Ok((Stop::Clear(wants), flushed));
            }
        }
    }

    /// Settles our side: what the socket would not take becomes the backlog of this connection, and bytes
    /// of the backlog that were sent leave it, perhaps all of them.
    fn settle_backlog(
        &mut self,
        id: ConnectionId,
        cause: Cause,
        flushed: usize,
        shared: &mut Shared<'_>,
    ) -> io::Result<Verdict> {
        let now = shared.context.now.moment;
        match &mut self.our_side {
            OurSide::Backlog(backlog) => {
                backlog.departure.departed(flushed as u64, now, &shared.context.limits);
                if backlog.queue.is_empty() {
                    self.our_side = OurSide::Clear;
                    self.conversation.delivered(now);
                }
            }
            OurSide::Clear | OurSide::Waiting(_) | OurSide::Ended(_) => {
                self.our_side = OurSide::behind(shared.output(), now);
            }
        }
        if cause == Cause::Timer && self.is_stalled(shared) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let wants = self.wants(shared.output_bytes_high());
        self.settle(id, wants, shared)
    }

    /// Takes the turn of a connection that only lingers, or has waited for the gateway, which it no longer
    /// does.
    fn stir(&mut self, id: ConnectionId, shared: &mut Shared<'_>) -> Option<Verdict> {
        match self.our_side {
            OurSide::Ended(until) => return Some(self.linger(id, until, shared)),
            OurSide::Waiting(since) => {
                self.our_side = OurSide::Clear;
                self.conversation.excuse(shared.context.now.moment.since(since));
            }
            OurSide::Clear | OurSide::Backlog(_) => {}
        }
        None
    }

    /// Sends a response that has waited for others, and goes on from there as after any turn.
    pub fn deliver(
        &mut self,
        id: ConnectionId,
        response: &mut OutputQueue,
        shared: &mut Shared<'_>,
    ) -> Verdict {
        self.leave(List::Corked);
        let Socket { stream, readiness, .. } = &self.socket;
        let flushed = flush(stream, readiness, response, false, TURN_BYTES);
        let verdict = flushed.and_then(|_| {
            if !response.is_empty() {
                self.our_side = OurSide::behind(response, shared.context.now.moment);
            }
            let wants = self.wants(shared.output_bytes_high());
            self.settle(id, wants, shared)
        });
        verdict.unwrap_or_else(|error| self.lose(id, &error, shared))
    }

    fn lose(&mut self, id: ConnectionId, error: &io::Error, shared: &mut Shared<'_>) -> Verdict {
        log::debug!("connection {}: lost: {error}", id.number());
        self.abandon(id, shared)
    }

    /// Gives the connection up: it is broken, or to be cut. What it owed is lost, and the peer must see that.
    pub fn abandon(&mut self, id: ConnectionId, shared: &mut Shared<'_>) -> Verdict {
        let Lent { mut turn, out, .. } = shared.lend(id, &self.socket, Budget::TURN, &NoWire);
        let unsent = match &mut self.our_side {
            OurSide::Backlog(backlog) => backlog.queue.take_file(),
            OurSide::Clear | OurSide::Waiting(_) | OurSide::Ended(_) => out.take_file(),
        };
        out.clear();
        if let Some(rest) = unsent {
            // The journal is to say how much of it has left.
            self.conversation.take_back(rest, out);
        }
        let farewell = self.conversation.abandon(&mut turn);
        if farewell == Farewell::Reset || matches!(self.our_side, OurSide::Backlog(_)) {
            self.socket.stream.reset_on_close();
        }
        Verdict::Gone
    }

    /// The number of bytes that are owed to the peer.
    pub fn owed(&self) -> usize {
        match &self.our_side {
            OurSide::Backlog(backlog) => backlog.queue.owed(),
            OurSide::Clear | OurSide::Waiting(_) | OurSide::Ended(_) => 0,
        }
    }

    pub fn wants(&self, output_bytes_high: usize) -> Wants {
        self.conversation.wants(self.owed(), output_bytes_high)
    }

    /// Describes the connection, for whoever observes the server.
    pub fn describe(
        &self,
        id: ConnectionId,
        context: &ServerContext,
        output_bytes_high: usize,
    ) -> ConnectionSnapshot {
        ConnectionSnapshot {
            number: id.number(),
            place: id.index(),
            peer: self.socket.peer.address(),
            listener: self.socket.listener,
            state: self.conversation.state(),
            our_side: match self.our_side {
                OurSide::Clear => OurSideState::Clear,
                OurSide::Waiting(_) => OurSideState::Waiting,
                OurSide::Backlog(_) => OurSideState::Backlog,
                OurSide::Ended(_) => OurSideState::Ended,
            },
            wants: self.wants(output_bytes_high),
            deadline: self.deadline(&context.limits, context.shutdown),
            owed_bytes: self.owed(),
            memory_bytes: self.accounted as usize,
            interest: match self.socket.registration {
                Registration::None => InterestState::None,
                Registration::Read => InterestState::Read,
                Registration::ReadWrite => InterestState::ReadWrite,
            },
            readiness: self.socket.readiness.names(),
            lists: Names::new(self.lists, &List::NAMES),
        }
    }

    /// Tells the witness of an act, if there is one.
    pub fn tell<'a>(&self, act: impl FnOnce() -> Act<'a>) {
        self.socket.stream.tell(act);
    }

    /// The conversation, for tests.
    #[cfg(test)]
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Returns the moment since which the connection has waited for the gateway.
    #[cfg(test)]
    pub fn waiting_since(&self) -> Option<Moment> {
        match self.our_side {
            OurSide::Waiting(since) => Some(since),
            OurSide::Clear | OurSide::Backlog(_) | OurSide::Ended(_) => None,
        }
    }

    /// The readiness of the socket, for tests.
    #[cfg(test)]
    pub fn readiness(&self) -> &Readiness {
        &self.socket.readiness
    }

    /// Whether our side has ended, and the peer's is waited for.
    #[cfg(test)]
    pub fn is_lingering(&self) -> bool {
        matches!(self.our_side, OurSide::Ended(_))
    }

    /// Arranges for what the conversation wants now.
    fn settle(&mut self, id: ConnectionId, wants: Wants, shared: &mut Shared<'_>) -> io::Result<Verdict> {
        let Socket { readiness, registration, .. } = &self.socket;
        let is_registered = *registration != Registration::None;
        if wants == Wants::Read && !readiness.has(Readiness::READABLE) && is_registered && self.is_clear() {
            // Nearly always: it waits for the next bytes.
            return Ok(Verdict::Keep);
        }
        self.settle_otherwise(id, wants, shared)
    }

    /// Arranges for all wants but the plain wait for the next bytes.
    #[inline(never)]
    fn settle_otherwise(
        &mut self,
        id: ConnectionId,
        wants: Wants,
        shared: &mut Shared<'_>,
    ) -> io::Result<Verdict> {
        let is_readable = self.socket.readiness.has(Readiness::READABLE);
        let is_again = match wants {
            Wants::Close(Farewell::Reset) => {
                self.socket.stream.reset_on_close();
                return Ok(Verdict::Gone);
            }
            Wants::Close(Farewell::Clean) if !is_readable => {
                self.socket.stream.end();
                return Ok(Verdict::Gone);
            }
            // Also where something unread may wait: closing upon it would reset the connection.
            Wants::Close(Farewell::Linger | Farewell::Clean) => {
                self.socket.stream.end();
                let until = shared.context.now.moment + shared.context.limits.linger_timeout;
                self.our_side = OurSide::Ended(until);
                return Ok(self.linger(id, until, shared));
            }
            Wants::Turn => true,
            Wants::Read if must_wait_for_memory(&self.conversation, &self.socket, shared.memory()) => {
                self.register(id, shared)?;
                return Ok(Verdict::Starved);
            }
            Wants::Read | Wants::ReadOrWrite => is_readable,
            Wants::Application => is_to_be_told(&self.conversation, &self.socket),
            Wants::Write => false,
        };
        self.register(id, shared)?;
        let is_flushable = self.owed() > 0 && self.socket.readiness.has(Readiness::WRITABLE);
        Ok(if is_again || is_flushable { Verdict::Requeue } else { Verdict::Keep })
    }

    /// Registers the socket: for reading only until it first takes less than it is given, and at most once
    /// for either.
    fn register(&mut self, id: ConnectionId, shared: &Shared<'_>) -> io::Result<()> {
        let (wanted, interest) = match &self.our_side {
            OurSide::Clear | OurSide::Waiting(_) | OurSide::Ended(_) => {
                (Registration::Read, Interest::READABLE)
            }
            OurSide::Backlog(_) => (Registration::ReadWrite, Interest::READABLE | Interest::WRITABLE),
        };
        let Socket { stream, registration, .. } = &mut self.socket;
        match (*registration, wanted) {
            (Registration::ReadWrite, _) | (Registration::Read, Registration::Read) => return Ok(()),
            (Registration::None, _) => stream.register(shared.registry(), id.token(), interest)?,
            (Registration::Read, _) => stream.reregister(shared.registry(), id.token(), interest)?,
        }
        *registration = wanted;
        Ok(())
    }

    /// Discards whatever still comes, until the peer has read its answer and ends, too.
    fn linger(&mut self, id: ConnectionId, until: Moment, shared: &mut Shared<'_>) -> Verdict {
        if until <= shared.context.now.moment {
            return Verdict::Gone;
        }
        let mut thrown_away = 0;
        while self.socket.readiness.has(Readiness::READABLE) && thrown_away < TURN_BYTES {
            match fill(&self.socket.stream, &self.socket.readiness, shared.scratch.memory()) {
                Ok(Filled::Bytes(count)) => thrown_away += count,
                Ok(Filled::Nothing) => {}
                Ok(Filled::End) | Err(_) => return Verdict::Gone,
            }
        }
        match self.register(id, shared) {
            Ok(()) if self.socket.readiness.has(Readiness::READABLE) => Verdict::Requeue,
            Ok(()) => Verdict::Keep,
            Err(_) => Verdict::Gone,
        }
    }

    fn is_stalled(&self, shared: &Shared<'_>) -> bool {
        let OurSide::Backlog(backlog) = &self.our_side else {
            return false;
        };
        of_output(backlog.departure, &shared.context.limits) <= shared.context.now.moment
    }
}

/// Returns the moment this long before another one, or when the server started.
fn earlier(moment: Moment, by: Duration) -> Moment {
    Moment::from_start(moment.since(Moment::START).saturating_sub(by))
}

/// Returns the work that a connection may do in a turn.
#[inline(always)]
fn budget_for(cause: Cause, corks: bool, shared: &Shared<'_>) -> Budget {
    // Others wait to be delivered: one call, and their time is looked at again.
    let budget = if corks { Budget::ONE_REQUEST } else { shared.budget };
    match cause {
        Cause::Accepted | Cause::Event | Cause::Wake if shared.context.is_known_to_be_late() => {
            budget.when_late()
        }
        _ => budget,
    }
}

/// Tells the conversation the cause of a turn.
fn begin<S: Transport>(
    cause: Cause,
    conversation: &mut Conversation,
    socket: &Socket<S>,
    turn: &mut Turn<'_>,
    out: &mut OutputQueue,
) {
    if is_to_be_told(conversation, socket) {
        conversation.client_has_finished(turn, out);
    }
    if turn.context.shutdown != Shutdown::No {
        conversation.server_is_draining(turn, out);
    }
    let now = turn.context.now.moment;
    let is_due = |deadline: Option<Moment>| deadline.is_some_and(|deadline| deadline <= now);
    match cause {
        Cause::Wake => conversation.wake(turn, out),
        Cause::TurnedAway => conversation.turn_away(turn, out),
        Cause::Pressure => conversation.give_back(turn, out),
        // In a full house the time for a request is shorter.
        Cause::Evicted => conversation.expire(turn, out),
        // While something is owed, the deadline is that of the output.
        Cause::Timer if conversation.is_idle() && !out.is_empty() => {}
        Cause::Timer if is_due(conversation.last_chance(turn.context.shutdown)) => {
            conversation.finish_if_idle(now, turn.context.shutdown);
        }
        Cause::Timer if is_due(conversation.deadline(&turn.context.limits)) => conversation.expire(turn, out),
        Cause::Timer | Cause::Accepted | Cause::Event | Cause::Remainder | Cause::Relieved => {}
    }
}

/// Reads once, and does all that follows from what that brings. Returns how many bytes it brought.
fn fill_and_advance<S: Transport>(
    conversation: &mut Conversation,
    socket: &Socket<S>,
    turn: &mut Turn<'_>,
    scratch: &mut ReadBuffer,
    out: &mut OutputQueue,
) -> io::Result<usize> {
    let memory = scratch.memory();
    let bytes_max = match turn.memory {
        Memory::Ample if conversation.is_idle() || conversation.is_in_head() => HEADS_READ_BYTES,
        Memory::Scarce if !conversation.is_collecting() => SCARCE_READ_BYTES,
        Memory::Ample | Memory::Scarce => memory.len(),
    };
    let bytes_max = memory.len().min(bytes_max);
    let room = &mut memory[..bytes_max];
    match fill(&socket.stream, &socket.readiness, room)? {
        Filled::Bytes(count) if count > memory.len() / COPIED_PART => {
            conversation.receive_much(scratch, count, turn, out);
            return Ok(count);
        }
        Filled::Bytes(count) => {
            conversation.receive(&memory[..count], turn, out);
            return Ok(count);
        }
        Filled::End => conversation.receive_end(turn, out),
        // A last look has found no request, unless it was interrupted.
        Filled::Nothing
            if turn.context.shutdown != Shutdown::No && !socket.readiness.has(Readiness::READABLE) =>
        {
            conversation.finish_if_idle(turn.context.now.moment, turn.context.shutdown);
        }
        Filled::Nothing => {}
    }
    Ok(0)
}

/// Whether half a head is not read on, because memory is scarce. Content is read, since that moves it to the
/// disk, and so is a peer that has ended, which makes room.
fn must_wait_for_memory<S: Transport>(
    conversation: &Conversation,
    socket: &Socket<S>,
    memory: Memory,
) -> bool {
    memory == Memory::Scarce && conversation.is_in_head() && !socket.readiness.has(Readiness::READ_CLOSED)
}

/// Whether the peer has ended its side and nobody will read that, because the application is pending.
fn is_to_be_told<S: Transport>(conversation: &Conversation, socket: &Socket<S>) -> bool {
    socket.readiness.has(Readiness::READ_CLOSED) && conversation.is_to_be_told_of_end()
}
