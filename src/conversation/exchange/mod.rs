//! One exchange, a request and its response, and the loop that carries it through.
//!
//! ```text
//!        ┌──────────────────────────────────────────────────────┐
//!        ▼                                                      │
//!  Intake::Head ──▶ Intake::Content ──▶ call ──▶ Delivery ──▶ ended ──▶ Finished
//!        │                               ▲ │                    ▲
//!        └───────────────────────────────┘ └────────────────────┘
//!             whole with its head             whole with its call
//! ```
//!
//! Each round of the loop looks at the [`Stage`] and does the one thing that belongs to it: read a head, collect
//! content, get on with the response. It stops when bytes are missing, or room, or the application, or its
//! turn is over; which of them it was can be read off the stage.
//!
//! Nearly all requests lie whole before the loop and are answered in their call: for them the stage never
//! changes, and the exchange stays on the stack.
//!
//! Here stand the state, the events that reach it, the loop, and the questions that are answered from the state.
//! The steps of the loop stand in `request` (the way in, up to the call of the application) and in `response` (the
//! call and the way out); `refusal` has all that ends an exchange otherwise than well.

mod refusal;
mod request;
mod response;

use std::mem;
use std::time::Duration;

use super::context::ServerContext;
use super::deadline::{of_body, of_head};
use super::delivery::Delivery;
use super::foreign::Asking;
use super::intake::{Intake, PeerSide};
use super::outlet::Outlet;
use super::output_queue::OutputQueue;
use super::record::{Outcome, Record};
use super::relay::Relay;
use super::stage::{ConversationState, StageName};
use super::turn::Turn;
use super::wants::{Farewell, Wants};
use crate::gateway::{Client, Environ, FileRange, ReadBuffer, RequestContent};
use crate::limits::Limits;
use crate::message::RequestHead;
use crate::now::Moment;
use crate::protocol::{BodyEncoder, Http1, ProtocolError, ReceiveBuffer, RequestState, ResponseState};

/// The wait for a request, while nothing is under way in a conversation.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub request: Awaited,
    /// The moment from which its deadline counts: when the connection was accepted, or its last exchange ended. A head
    /// that begins on a kept connection has a deadline of its own, which counts from its first byte.
    pub since: Moment,
    /// The empty lines that have come since: at most [`EMPTY_LINES_MAX`](crate::protocol::EMPTY_LINES_MAX).
    pub empty_lines: u8,
}

/// The request that is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The request is the first of its connection.
    First,
    /// The request follows another one.
    Next,
}

impl Waiting {
    /// The wait for the first request of a connection that was accepted at this moment.
    pub fn for_first(accepted: Moment) -> Waiting {
        Waiting { request: Awaited::First, since: accepted, empty_lines: 0 }
    }

    /// The wait for the request that follows an exchange which ended at this moment.
    pub fn for_next(ended: Moment) -> Waiting {
        Waiting { request: Awaited::Next, since: ended, empty_lines: 0 }
    }
}

/// The state in which an exchange leaves a conversation that no longer needs it.
pub(super) enum Left {
    Waiting(Waiting),
    /// Nothing more will be sent.
    Finished(Farewell),
}

/// A conversation in the middle of something, and what it owns meanwhile.
pub(super) struct Exchange {
    http: Http1,
    record: Record,
    stage: Stage,
    /// Bytes that have come and could not be interpreted yet.
    input: ReceiveBuffer,
    peer_side: PeerSide,
    /// The wait from which the exchange began, and to which the conversation returns if nothing comes of it.
    waiting: Waiting,
}

/// The stage of an exchange.
enum Stage {
    /// The request is on its way in.
    Intake(Intake),
    /// The application was called, and its response is on its way out.
    Delivery {
        delivery: Delivery,
        /// The content that is still coming in, if the application reads it as it comes.
        relay: Option<Box<Relay>>,
        /// Whether the application was told that the peer seems to have ended its side.
        is_told_of_end: bool,
    },
    /// The conversation has ended: nothing more will be sent.
    Finished(Farewell),
}

/// The result of a round of the loop.
enum Progress {
    /// This many bytes of input were used up, or the stage has changed; the loop goes on.
    Consumed(usize),
    /// Nothing more can be done for now.
    Blocked,
}

impl Exchange {
    /// Makes an exchange that has not begun.
    pub fn new(waiting: Waiting) -> Exchange {
        Exchange {
            http: Http1::new(),
            record: Record::default(),
            stage: Stage::Intake(Intake::Head),
            input: ReceiveBuffer::default(),
            peer_side: PeerSide::Open,
            waiting,
        }
    }

    /// Returns how the exchange leaves its conversation; none while something remains to be done.
    pub fn left(&self) -> Option<Left> {
        match (&self.stage, self.http.request()) {
            (Stage::Finished(farewell), _) => Some(Left::Finished(*farewell)),
            (Stage::Intake(Intake::Head), RequestState::Idle) if self.input.is_empty() => {
                Some(Left::Waiting(self.waiting))
            }
            (Stage::Intake(_) | Stage::Delivery { .. }, _) => None,
        }
    }

    /// Takes the first bytes from the peer, and does all that can be done with them.
    #[inline(always)]
    pub fn receive_first(&mut self, bytes: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) {
        // The bytes are understood where they lie; only what is left over is copied.
        let used = self.consume(bytes, 0, turn, out);
        if used < bytes.len() {
            self.input.extend(&bytes[used..]);
            self.input.mark_searched();
        }
    }

    /// Takes bytes that the exchange has waited for.
    #[inline(never)]
    pub fn receive(&mut self, bytes: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if self.input.is_empty() {
            return self.receive_first(bytes, turn, out);
        }
        self.input.extend(bytes);
        let mut input = mem::take(&mut self.input);
        let (waiting, searched) = input.as_slice();
        let used = self.consume(waiting, searched, turn, out);
        input.consume(used);
        self.input = input;
    }

    /// Whether the next `count` bytes from the peer are nothing but content, for an application that waits for it: it
    /// [takes over](Exchange::take_over) the memory in which they lie.
    pub fn takes_over(&self, count: usize) -> bool {
        let Stage::Delivery { relay: Some(relay), .. } = &self.stage else { return false };
        self.input.is_empty() && relay.takes_over(count, &self.http)
    }

    /// Takes bytes together with the memory in which they lie.
    pub fn take_over(&mut self, buffer: ReadBuffer, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Stage::Delivery { delivery, relay: Some(relay), .. } = &mut self.stage {
            match relay.take_over(buffer, &mut self.http, turn) {
                Ok(()) => delivery.wake(),
                Err(error) => self.break_off(error, turn, out),
            }
        }
        self.receive(&[], turn, out);
    }

    /// Notes that the peer has ended its side. Requests that have come are still answered.
    pub fn receive_end(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        self.peer_side = PeerSide::Ended;
        if let Stage::Delivery { is_told_of_end, .. } = &mut self.stage {
            // Whoever takes bytes from the peer hears of their end.
            *is_told_of_end = true;
        }
        self.receive(&[], turn, out);
    }

    /// Handles the deadline.
    pub fn expire(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match &self.stage {
            Stage::Intake(Intake::Head) if self.is_in_head() => self.expire_in_head(turn, out),
            Stage::Intake(Intake::Content(_)) => self.refuse(ProtocolError::BodyTimeout, turn, out),
            Stage::Delivery { relay: Some(relay), .. }
                if relay.deadline(&turn.context.limits).is_some_and(|due| due <= turn.context.now.moment) =>
            {
                self.break_off(ProtocolError::BodyTimeout, turn, out);
            }
            Stage::Delivery { delivery, .. }
                if delivery
                    .deadline(&turn.context.limits)
                    .is_some_and(|due| due <= turn.context.now.moment) =>
            {
                self.stage = Stage::Intake(Intake::Head);
                self.http.abort();
                self.end(turn);
            }
            Stage::Intake(Intake::Head) | Stage::Delivery { .. } | Stage::Finished(_) => {
                self.wake();
                self.receive(&[], turn, out);
            }
        }
    }

    /// Tells a pending application that the peer seems to have ended its side; it is asked again.
    pub fn client_has_finished(&mut self) {
        if let Stage::Delivery { delivery, is_told_of_end, .. } = &mut self.stage {
            *is_told_of_end = true;
            delivery.notify_of_end();
            delivery.wake();
        }
    }

    /// Whether a pending application was not told yet that the peer seems to have ended its side. (Where
    /// content is read, reading finds that out.)
    pub fn is_to_be_told_of_end(&self) -> bool {
        match &self.stage {
            Stage::Delivery { delivery, relay, is_told_of_end: false } => {
                delivery.asking().is_pending()
                    && !delivery.takes_input()
                    && !relay.as_ref().is_some_and(|relay| relay.is_waiting())
            }
            Stage::Intake(_) | Stage::Delivery { .. } | Stage::Finished(_) => false,
        }
    }

    /// Whether the application has taken over the connection, and was not told yet that the server drains.
    pub fn is_to_be_told_of_drain(&self) -> bool {
        matches!(&self.stage, Stage::Delivery { delivery: Delivery::Tunnel(tunnel), .. } if tunnel.is_to_be_told_of_drain())
    }

    /// Whether the application was called, and its answer is under way.
    pub fn is_answering(&self) -> bool {
        matches!(self.stage, Stage::Delivery { .. })
    }

    /// Notes that the application is to be asked again.
    pub fn wake(&mut self) {
        if let Stage::Delivery { delivery, .. } = &mut self.stage {
            delivery.wake();
        }
    }

    #[inline(never)]
    pub fn wants(&self, owed_bytes: usize, output_bytes_high: usize) -> Wants {
        let (wants, output_bytes_high) = match &self.stage {
            Stage::Intake(Intake::Head) if !self.is_in_head() => (Wants::Turn, output_bytes_high),
            Stage::Intake(_) => (Wants::Read, output_bytes_high),
            Stage::Delivery { delivery, relay, .. } if takes_input(delivery, relay, output_bytes_high) => {
                let is_full = owed_bytes >= delivery.output_bytes_high(output_bytes_high);
                return match delivery.asking() {
                    _ if !self.input.is_empty() => Wants::Turn,
                    Asking::WhenWoken { .. } => Wants::Read,
                    Asking::Now if is_full => Wants::ReadOrWrite,
                    Asking::Now => Wants::Turn,
                };
            }
            Stage::Delivery { delivery, .. } if delivery.asking().is_pending() => return Wants::Application,
            Stage::Delivery { delivery, .. } => (Wants::Turn, delivery.output_bytes_high(output_bytes_high)),
            Stage::Finished(farewell) => (Wants::Close(*farewell), output_bytes_high),
        };
        if owed_bytes >= output_bytes_high { Wants::Write } else { wants }
    }

    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        match &self.stage {
            Stage::Intake(Intake::Head) => self.head_since().map(|begun| of_head(begun, limits)),
            Stage::Intake(Intake::Content(collected)) => Some(of_body(collected.arrival, limits)),
            Stage::Delivery { delivery, relay, .. } => {
                let of_content = relay.as_ref().and_then(|relay| relay.deadline(limits));
                let of_application = delivery.asking().until();
                of_application.into_iter().chain(of_content).chain(delivery.deadline(limits)).min()
            }
            Stage::Finished(_) => None,
        }
    }

    /// Excuses a time in which nothing was read, by no fault of the peer.
    pub fn excuse(&mut self, time: Duration) {
        match &mut self.stage {
            Stage::Intake(Intake::Head) if self.http.request() == RequestState::Head => {
                self.waiting.since = self.waiting.since + time
            }
            Stage::Intake(Intake::Content(collected)) => collected.arrival.pause(time),
            Stage::Intake(Intake::Head) | Stage::Delivery { .. } | Stage::Finished(_) => {}
        }
    }

    /// Returns the moment since which the peer has sent nothing of a request that has begun. (A head counts from its
    /// beginning: when its last byte came is not kept.)
    pub fn stalled_since(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Intake(Intake::Head) => self.head_since(),
            Stage::Intake(Intake::Content(collected)) => Some(collected.arrival.last_byte),
            Stage::Delivery { relay, .. } => relay.as_ref().and_then(|relay| relay.stalled_since()),
            Stage::Finished(_) => None,
        }
    }

    /// Returns the moment since which nothing has moved in a tunnel that waits for its peer.
    pub fn silent_tunnel_since(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Delivery { delivery: Delivery::Tunnel(tunnel), .. } => tunnel.silent_since(),
            Stage::Intake(_) | Stage::Delivery { .. } | Stage::Finished(_) => None,
        }
    }

    /// Returns the moment when the head began that has not ended, if there is one.
    pub fn head_since(&self) -> Option<Moment> {
        self.is_in_head().then_some(self.waiting.since)
    }

    pub fn is_in_head(&self) -> bool {
        self.http.request() == RequestState::Head
    }

    /// Returns the moment since which content has waited for an application that does not read it.
    pub fn unread_since(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Delivery { relay, .. } => relay.as_ref().and_then(|relay| relay.unread_since()),
            Stage::Intake(_) | Stage::Finished(_) => None,
        }
    }

    /// The memory of bytes that have come while the application was to move: of later requests, or for a tunnel that takes
    /// none.
    pub fn bytes_behind(&self) -> usize {
        match &self.stage {
            Stage::Delivery { delivery, .. } if delivery.asking().is_pending() => self.input.memory_bytes(),
            Stage::Intake(_) | Stage::Delivery { .. } | Stage::Finished(_) => 0,
        }
    }

    /// Whether content is being collected.
    pub fn is_collecting(&self) -> bool {
        matches!(&self.stage, Stage::Intake(Intake::Content(_)))
    }

    /// Whether content is on its way, and has been collected in memory so far.
    pub fn collects_in_memory(&self) -> bool {
        matches!(&self.stage, Stage::Intake(Intake::Content(collected)) if collected.content.memory_bytes() > 0)
    }

    /// Gives memory back. Content that is collected moves to the disk. Of content that nobody reads, what holds nothing is
    /// given back, and if that was done before, the client is turned away.
    pub fn give_back(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match &mut self.stage {
            Stage::Intake(Intake::Content(collected)) => {
                if let Err(error) = collected.spill(turn) {
                    self.refuse(error, turn, out);
                }
            }
            Stage::Delivery { relay: Some(relay), .. } if relay.unread_since().is_some() && !relay.trim() => {
                relay.discard();
                self.break_off(ProtocolError::GatewayBusy, turn, out);
            }
            Stage::Intake(_) | Stage::Delivery { .. } | Stage::Finished(_) => {}
        }
    }

    /// The state of the exchange, by name.
    pub fn state(&self) -> ConversationState {
        let stage = match &self.stage {
            Stage::Intake(Intake::Head) => StageName::Head,
            Stage::Intake(Intake::Content(_)) => StageName::Content,
            Stage::Delivery { delivery, .. } => delivery.stage(),
            Stage::Finished(_) => StageName::Finished,
        };
        ConversationState { stage, request: self.http.request(), response: self.http.response() }
    }

    pub fn memory_in_use(&self) -> usize {
        let elsewhere = match &self.stage {
            Stage::Intake(Intake::Content(collected)) => collected.memory_in_use(),
            Stage::Delivery { delivery, relay, .. } => {
                delivery.memory_in_use() + relay.as_ref().map_or(0, |relay| relay.memory_in_use())
            }
            Stage::Intake(Intake::Head) | Stage::Finished(_) => 0,
        };
        size_of::<Exchange>() + self.input.memory_bytes() + elsewhere
    }

    /// Reads the rest of a queued file that cannot be sent.
    pub fn take_back(&mut self, rest: FileRange, out: &mut OutputQueue) {
        if let Stage::Delivery { delivery, .. } = &mut self.stage {
            delivery.take_back(rest, Outlet { http: &mut self.http, record: &mut self.record, out });
        }
    }

    /// Ends the exchange because the connection is gone. Returns how to close, so that the peer can tell.
    pub fn abandon(&mut self, turn: &mut Turn<'_>) -> Farewell {
        let is_open_ended = matches!(
            self.http.response(),
            ResponseState::Body(BodyEncoder::UntilClose) | ResponseState::Aborted(BodyEncoder::UntilClose)
        );
        let farewell = if is_open_ended { Farewell::Reset } else { Farewell::Clean };
        self.stage = Stage::Finished(farewell);
        self.record.close(Outcome::Aborted, turn.client.peer, turn.context.now, turn.journal);
        farewell
    }

    /// Does all that can be done with this input, and returns how many bytes of it were used up. The first
    /// `searched` bytes were searched before for the end of a head.
    #[inline(always)]
    fn consume(
        &mut self,
        input: &[u8],
        searched: usize,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> usize {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let progress = match &mut self.stage {
                Stage::Intake(Intake::Head) => self.read_head(rest, searched.saturating_sub(used), turn, out),
                Stage::Intake(Intake::Content(collected)) => {
                    let taken = collected.take(rest, self.peer_side, &mut self.http, turn);
                    self.follow_intake(taken, turn, out)
                }
                Stage::Delivery { .. } => self.deliver(rest, turn, out),
                Stage::Finished(farewell) => {
                    // A peer that has sent more than it should is still sending, perhaps: closing at once would
                    // reset the connection under its answer.
                    if *farewell == Farewell::Clean && !rest.is_empty() {
                        *farewell = Farewell::Linger;
                    }
                    return input.len();
                }
            };
            match progress {
                Progress::Consumed(bytes) => used += bytes,
                Progress::Blocked => return used,
            }
        }
    }
}

/// Whether bytes from the peer are accepted while an answer is sent: by a tunnel, or as content of which not too much
/// waits for the application.
fn takes_input(delivery: &Delivery, relay: &Option<Box<Relay>>, bytes_high: usize) -> bool {
    delivery.takes_input() || relay.as_ref().is_some_and(|relay| relay.has_room(bytes_high))
}

/// Makes the environ of a request.
#[inline(always)]
fn environ_of<'e>(
    head: &'e RequestHead<'e>,
    content: RequestContent<'e>,
    content_length: Option<u64>,
    client: &'e Client<'e>,
    context: &'e ServerContext,
) -> Environ<'e> {
    Environ::new(head, content, content_length, client, &context.server, context.now.moment)
}
