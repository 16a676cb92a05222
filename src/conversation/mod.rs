//! One connection's HTTP: bytes in → gateway → bytes out, without a socket.
//!
//! It joins `protocol` and `gateway`, and still is a pure function of bytes, time and state. Its wants and
//! their deadline are computed from the state whenever they are asked for, and stored nowhere.
//!
//! A conversation at rest is two words. State that outlasts the call of the application (half a head, content
//! on its way in, a body on its way out) lives in a box that exists only meanwhile; a request that arrives
//! whole and is answered at once never allocates it.
//!
//! Driven by hand:
//!
//! ```
//! use tidegate::conversation::{ByHand, Wants};
//! use tidegate::{Environ, StartResponse};
//!
//! let mut hand = ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
//!     start_response.status(200).send(environ.path())
//! });
//! assert_eq!(hand.wants(), Wants::Read);
//! hand.receive(b"GET /tide HTTP/1.1\r\nHost: a.ex");
//! assert_eq!(hand.transmit(), b"");
//! hand.receive(b"ample\r\n\r\n");
//! assert!(hand.transmit().ends_with(b"\r\n\r\n/tide"));
//! ```

mod busy;
mod by_hand;
mod context;
mod deadline;
mod delivery;
mod exchange;
mod foreign;
mod intake;
mod means;
mod outlet;
mod output_queue;
pub(crate) mod record;
mod relay;
mod sink;
mod stage;
mod tunnel;
mod turn;
mod wants;

pub use busy::Busy;
pub use by_hand::ByHand;
pub use context::{ServerContext, Shutdown};
pub use deadline::{Flow, of_body, of_head, of_idle, of_output};
pub use means::{Disk, NoWire, StoppedClock, Stopwatch, Wire};
pub use output_queue::OutputQueue;
pub(crate) use record::{AccessLog, ExchangeRecord, Figures, Outcome, RequestLine, Wanted};
pub use record::{Journal, NoJournal};
pub use stage::{ConversationState, StageName};
pub use turn::{Budget, Memory, Turn};
pub use wants::{Farewell, Wants};

use std::fmt;
use std::mem;
use std::time::Duration;

use exchange::{Awaited, Exchange, Left, Waiting};

use crate::gateway::{FileRange, ReadBuffer};
use crate::limits::Limits;
use crate::now::Moment;
use crate::protocol::ProtocolError;

/// How long a server that shuts down waits for the first request on a connection. 1 s: it is on its way when
/// the connection is there, unless the client is one that connects beforehand.
const FIRST_REQUEST_PATIENCE: Duration = Duration::from_secs(1);

/// One connection, from its first byte to its last.
pub struct Conversation {
    phase: Phase,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.phase {
            Phase::Waiting { request: Awaited::First, .. } => "Conversation (no request yet)",
            Phase::Waiting { request: Awaited::Next, .. } => "Conversation (between two requests)",
            Phase::Active(_) => "Conversation (in a request or its answer)",
            Phase::Finished(_) => "Conversation (finished)",
        })
    }
}

enum Phase {
    /// No request has begun. (These are the fields of a [`Waiting`]. As one they would leave no room for a tag beside
    /// them, and a phase is looked at some fifteen times in a request: that costs 35 instructions of it.)
    Waiting { request: Awaited, since: Moment, empty_lines: u8 },
    /// An exchange is under way.
    Active(Box<Exchange>),
    /// Nothing more will be sent.
    Finished(Farewell),
}

impl From<Left> for Phase {
    #[inline]
    fn from(left: Left) -> Phase {
        match left {
            Left::Waiting(Waiting { request, since, empty_lines }) => {
                Phase::Waiting { request, since, empty_lines }
            }
            Left::Finished(farewell) => Phase::Finished(farewell),
        }
    }
}

impl Conversation {
    /// Makes the conversation of a connection that was just accepted.
    pub fn new(accepted: Moment) -> Conversation {
        Conversation { phase: Left::Waiting(Waiting::for_first(accepted)).into() }
    }

    /// Takes bytes from the peer, and does all that can be done with them.
    #[inline]
    pub fn receive(&mut self, bytes: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match &mut self.phase {
            // A peer that has sent more than it should is still sending, perhaps: closing at once would
            // reset the connection under its answer.
            Phase::Finished(farewell @ Farewell::Clean) if !bytes.is_empty() => *farewell = Farewell::Linger,
            Phase::Active(_) => self.act(|exchange| exchange.receive(bytes, turn, out)),
            _ => self.act(|exchange| exchange.receive_first(bytes, turn, out)),
        }
    }

    /// Takes bytes from the peer, as [`receive`](Conversation::receive) does. Where the first `count` bytes of the
    /// buffer are nothing but content that an application waits for, it takes the memory with them.
    pub(crate) fn receive_much(
        &mut self,
        buffer: &mut ReadBuffer,
        count: usize,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        match &self.phase {
            Phase::Active(exchange) if exchange.takes_over(count) => {
                let content = buffer.hand_over(count);
                self.act(|exchange| exchange.take_over(content, turn, out));
            }
            _ => self.receive(&buffer.memory()[..count], turn, out),
        }
    }

    /// Notes that the peer has ended its side. It may still wait for answers.
    pub fn receive_end(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.phase {
            Phase::Waiting { .. } => self.phase = Phase::Finished(Farewell::Clean),
            Phase::Active(_) => self.act(|exchange| exchange.receive_end(turn, out)),
            Phase::Finished(_) => {}
        }
    }

    /// Lets the conversation go on where it stopped for want of room in the queue, or of a turn.
    pub fn advance(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Phase::Active(_) = self.phase {
            self.act(|exchange| exchange.receive(&[], turn, out));
        }
    }

    /// Lets the conversation go on because its application has asked for that.
    pub fn wake(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Phase::Active(exchange) = &mut self.phase {
            exchange.wake();
            self.advance(turn, out);
        }
    }

    /// Notes that the peer seems to have ended its side. A pending application is told; in all other states
    /// the conversation learns of it by reading.
    pub fn client_has_finished(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Phase::Active(exchange) = &mut self.phase {
            exchange.client_has_finished();
            self.advance(turn, out);
        }
    }

    /// Notes that the server drains. A tunnel is told so; all others learn of it when they are to go on.
    pub fn server_is_draining(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if matches!(&self.phase, Phase::Active(exchange) if exchange.is_to_be_told_of_drain()) {
            self.advance(turn, out);
        }
    }

    /// Whether a pending application was not [told](Conversation::client_has_finished) yet.
    pub fn is_to_be_told_of_end(&self) -> bool {
        matches!(&self.phase, Phase::Active(exchange) if exchange.is_to_be_told_of_end())
    }

    /// Whether a request is being answered, so that no other can begin.
    pub fn is_answering(&self) -> bool {
        matches!(&self.phase, Phase::Active(exchange) if exchange.is_answering())
    }

    /// Handles the deadline.
    pub fn expire(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.phase {
            Phase::Waiting { .. } => self.phase = Phase::Finished(Farewell::Clean),
            Phase::Active(_) => self.act(|exchange| exchange.expire(turn, out)),
            Phase::Finished(_) => {}
        }
    }

    /// Turns the client away because the gateway has taken no request for too long: half a request is
    /// refused. (A whole one that lies unread is answered by a [stand-in](Busy).)
    pub fn turn_away(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Phase::Active(_) = self.phase {
            self.act(|exchange| exchange.refuse(ProtocolError::GatewayBusy, turn, out));
        }
    }

    /// Excuses a time in which nothing was read, by no fault of the peer: its deadlines are put off by as
    /// much.
    pub fn excuse(&mut self, time: Duration) {
        match &mut self.phase {
            Phase::Waiting { since, .. } => *since = *since + time,
            Phase::Active(exchange) => exchange.excuse(time),
            Phase::Finished(_) => {}
        }
    }

    /// Ends the conversation if no request has begun: for a server that shuts down. A client that has just
    /// connected is sending its first request, and would not try again as one does whose kept connection
    /// ends: it is waited for a little.
    /// A kept connection is one on which a front end may be sending its next request: where another server takes over, it
    /// has its time, too.
    pub fn finish_if_idle(&mut self, now: Moment, shutdown: Shutdown) {
        let is_over = match self.phase {
            Phase::Waiting { .. } => self.last_chance(shutdown).is_none_or(|until| until <= now),
            Phase::Active(_) | Phase::Finished(_) => false,
        };
        if is_over {
            self.phase = Phase::Finished(Farewell::Clean);
        }
    }

    /// Returns the moment until which a server that shuts down waits for the first request of a client that has
    /// connected, or for the last one of a client whose connection was kept; none if it does not.
    pub fn last_chance(&self, shutdown: Shutdown) -> Option<Moment> {
        match (&self.phase, shutdown) {
            (_, Shutdown::No) | (Phase::Active(_) | Phase::Finished(_), _) => None,
            (Phase::Waiting { request: Awaited::First, since, .. }, _) => {
                Some(*since + FIRST_REQUEST_PATIENCE)
            }
            (Phase::Waiting { request: Awaited::Next, .. }, Shutdown::HandingOver(until)) => Some(until),
            (Phase::Waiting { request: Awaited::Next, .. }, Shutdown::Draining) => None,
        }
    }

    /// Ends the conversation because the connection is gone, or is to be cut. Reports an exchange that was
    /// under way; dropping does the rest. Returns how to cut, so that the peer can tell.
    pub fn abandon(&mut self, turn: &mut Turn<'_>) -> Farewell {
        let farewell = match &mut self.phase {
            Phase::Active(exchange) => exchange.abandon(turn),
            Phase::Waiting { .. } | Phase::Finished(_) => Farewell::Clean,
        };
        self.phase = Phase::Finished(farewell);
        farewell
    }

    /// Takes back the rest of the file at the end of the output queue, which cannot be sent, or no further.
    /// It is read instead, and if that fails, too, the response is cut.
    pub fn take_back(&mut self, rest: FileRange, out: &mut OutputQueue) {
        if let Phase::Active(exchange) = &mut self.phase {
            exchange.take_back(rest, out);
        }
    }

    /// Notes that everything owed to the peer has been sent, later than it was queued: only now does the peer have its
    /// answer, and the time for its next request begins.
    pub fn delivered(&mut self, now: Moment) {
        if let Phase::Waiting { request: Awaited::Next, since, .. } = &mut self.phase {
            *since = now;
        }
    }

    /// Says what the conversation needs to go on, while `owed_bytes` are owed to the peer and nothing more is produced
    /// from `output_bytes_high` on.
    pub fn wants(&self, owed_bytes: usize, output_bytes_high: usize) -> Wants {
        let is_full = owed_bytes >= output_bytes_high;
        match &self.phase {
            Phase::Finished(farewell) if owed_bytes == 0 => Wants::Close(*farewell),
            Phase::Finished(_) => Wants::Write,
            Phase::Waiting { .. } if is_full => Wants::Write,
            Phase::Waiting { .. } => Wants::Read,
            Phase::Active(exchange) => exchange.wants(owed_bytes, output_bytes_high),
        }
    }

    /// Returns when to [`expire`](Conversation::expire), whatever else happens; none if nothing is waited
    /// for.
    #[inline(always)]
    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        match &self.phase {
            Phase::Waiting { request: Awaited::First, since, .. } => Some(of_head(*since, limits)),
            Phase::Waiting { request: Awaited::Next, since, .. } => Some(of_idle(*since, limits)),
            Phase::Active(exchange) => exchange.deadline(limits),
            Phase::Finished(_) => None,
        }
    }

    /// The memory in bytes that the conversation holds beyond its own few words: half a head, content in memory.
    pub fn memory_in_use(&self) -> usize {
        match &self.phase {
            Phase::Active(exchange) => exchange.memory_in_use(),
            Phase::Waiting { .. } | Phase::Finished(_) => 0,
        }
    }

    /// Returns the moment since which the peer has sent nothing of the request that it has begun; none if no request
    /// is on its way.
    pub fn stalled_since(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Active(exchange) => exchange.stalled_since(),
            Phase::Waiting { .. } | Phase::Finished(_) => None,
        }
    }

    /// Returns the moment since which nothing has moved in a connection that was taken over, if its peer is waited
    /// for.
    pub fn silent_tunnel_since(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Active(exchange) => exchange.silent_tunnel_since(),
            Phase::Waiting { .. } | Phase::Finished(_) => None,
        }
    }

    /// Returns the moment since which content has waited for an application that does not read it.
    pub fn unread_since(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Active(exchange) => exchange.unread_since(),
            Phase::Waiting { .. } | Phase::Finished(_) => None,
        }
    }

    /// The memory of bytes that the peer has sent although it was the application's turn to move.
    pub fn bytes_behind(&self) -> usize {
        match &self.phase {
            Phase::Active(exchange) => exchange.bytes_behind(),
            Phase::Waiting { .. } | Phase::Finished(_) => 0,
        }
    }

    /// Whether content is being collected before the application is called.
    pub fn is_collecting(&self) -> bool {
        matches!(&self.phase, Phase::Active(exchange) if exchange.is_collecting())
    }

    /// Whether content is on its way, and has been collected in memory so far.
    pub fn collects_in_memory(&self) -> bool {
        matches!(&self.phase, Phase::Active(exchange) if exchange.collects_in_memory())
    }

    /// Gives memory back: content that is collected moves to the disk, and of content that nobody reads first what holds
    /// nothing is given back, and then all.
    pub fn give_back(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Phase::Active(_) = self.phase {
            self.act(|exchange| exchange.give_back(turn, out));
        }
    }

    /// Whether a head has begun and not ended.
    pub fn is_in_head(&self) -> bool {
        matches!(&self.phase, Phase::Active(exchange) if exchange.is_in_head())
    }

    /// Returns the moment when the head began that has not ended, if there is one.
    pub fn head_since(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Active(exchange) => exchange.head_since(),
            Phase::Waiting { .. } | Phase::Finished(_) => None,
        }
    }

    /// Returns the moment since which the conversation has waited for its first byte, if it does.
    pub fn silent_since(&self) -> Option<Moment> {
        match self.phase {
            Phase::Waiting { request: Awaited::First, since, .. } => Some(since),
            Phase::Waiting { .. } | Phase::Active(_) | Phase::Finished(_) => None,
        }
    }

    /// Returns the moment since which the conversation has waited for its next request, if it does; none if it has
    /// never had one.
    pub fn kept_since(&self) -> Option<Moment> {
        match self.phase {
            Phase::Waiting { request: Awaited::Next, since, .. } => Some(since),
            Phase::Waiting { .. } | Phase::Active(_) | Phase::Finished(_) => None,
        }
    }

    /// The state of the conversation, by name.
    pub fn state(&self) -> ConversationState {
        match &self.phase {
            Phase::Waiting { request: Awaited::First, .. } => ConversationState::at_rest(StageName::Fresh),
            Phase::Waiting { request: Awaited::Next, .. } => ConversationState::at_rest(StageName::Kept),
            Phase::Active(exchange) => exchange.state(),
            Phase::Finished(_) => ConversationState::at_rest(StageName::Finished),
        }
    }

    /// Whether no request has begun.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    /// Lets `step` act on the exchange: the one in the box, or one on the stack that moves into a box only if
    /// something remains to be done.
    #[inline]
    fn act(&mut self, step: impl FnOnce(&mut Exchange)) {
        match &mut self.phase {
            &mut Phase::Waiting { request, since, empty_lines } => {
                let mut exchange = Exchange::new(Waiting { request, since, empty_lines });
                step(&mut exchange);
                self.phase = match exchange.left() {
                    Some(left) => {
                        // It owns nothing now, but finding that out is a call.
                        mem::forget(exchange);
                        left.into()
                    }
                    None => Phase::Active(Box::new(exchange)),
                };
            }
            Phase::Active(exchange) => {
                step(exchange);
                if let Some(left) = exchange.left() {
                    self.phase = left.into();
                }
            }
            Phase::Finished(_) => {}
        }
    }
}
