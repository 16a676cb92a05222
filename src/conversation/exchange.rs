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

use std::mem;
use std::time::Duration;

use super::deadline::{of_body, of_head};
use super::delivery::{Delivery, Step};
use super::foreign::{Foreign, guard};
use super::intake::{Collected, Intake, Passing, PeerSide, Sender, Taken};
use super::outlet::Outlet;
use super::output_queue::OutputQueue;
use super::record::{Outcome, Record, RequestLine};
use super::sink::Sink;
use super::stage::{ConversationState, StageName};
use super::turn::{ServerContext, Turn};
use super::wants::{Farewell, Wants};
use crate::gateway::{
    Admission, BodyKind, Client, Environ, FileRange, GatewayError, RequestContent, StartResponse, Wakeup,
};
use crate::limits::Limits;
use crate::message::{FieldBlock, Fields, RequestHead, StatusCode};
use crate::now::Moment;
use crate::protocol::{
    BodyEncoder, CloseReason, EMPTY_LINES_MAX, Expectation, FieldSlots, Http1, ParsedHead, Persistence,
    ProtocolError, ReceiveBuffer, RequestFraming, RequestState, ResponseState, Trailers, blank_lines,
    parse_head, parse_request_line,
};

/// How many empty lines have come before a request line: at most [`EMPTY_LINES_MAX`].
pub(super) type EmptyLines = u8;

/// The remainder of an exchange in which nothing is under way.
pub(super) enum Rest {
    /// The connection waits for the next request.
    Waiting(Origin),
    /// Nothing more will be said on it.
    Finished(Farewell),
}

/// The state from which an exchange begins, and to which the conversation returns if nothing comes of it.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The connection was accepted at this moment and has had no exchange; this many empty lines have come
    /// since.
    Accepted(Moment, EmptyLines),
    /// The last exchange ended at this moment; this many empty lines have come since.
    Kept(Moment, EmptyLines),
}

/// A conversation in the middle of something, and what it owns meanwhile.
pub(super) struct Exchange {
    http: Http1,
    record: Record,
    stage: Stage,
    /// Bytes that have come and could not be interpreted yet.
    input: ReceiveBuffer,
    peer_side: PeerSide,
    origin: Origin,
}

/// The stage of an exchange.
enum Stage {
    /// The request is being taken in.
    Intake(Intake),
    /// The application was called, and the response is being given out.
    Delivery {
        delivery: Delivery,
        /// The content that is still coming in, if the application reads it as it comes.
        passing: Option<Box<Passing>>,
        /// Whether the application was told that the peer seems to have ended its side.
        is_told_of_end: bool,
    },
    /// The conversation has said its last.
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
    #[inline]
    pub fn new(origin: Origin) -> Exchange {
        let (Origin::Accepted(begun, _) | Origin::Kept(begun, _)) = origin;
        Exchange {
            http: Http1::new(),
            record: Record::new(begun),
            stage: Stage::Intake(Intake::Head),
            input: ReceiveBuffer::default(),
            peer_side: PeerSide::Open,
            origin,
        }
    }

    /// Returns the phase of a conversation that no longer needs this exchange; none while something remains
    /// to be done.
    #[inline]
    pub fn rest(&self) -> Option<Rest> {
        match (&self.stage, self.http.request()) {
            (Stage::Finished(farewell), _) => Some(Rest::Finished(*farewell)),
            (Stage::Intake(Intake::Head), RequestState::Idle) if self.input.is_empty() => {
                Some(Rest::Waiting(self.origin))
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
            Stage::Delivery { passing: Some(passing), .. }
                if passing
                    .deadline(&turn.context.limits)
                    .is_some_and(|due| due <= turn.context.now.moment) =>
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

    /// Ends an exchange whose head has not ended in time. (Only an empty line, or half of one, may have come
    /// of it: that is no request.)
    fn expire_in_head(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        let input = mem::take(&mut self.input);
        let (bytes, _) = input.as_slice();
        if is_blank(bytes) {
            self.stage = Stage::Finished(Farewell::Clean);
        } else {
            self.record_head(bytes, turn);
            self.refuse(ProtocolError::HeadTimeout, turn, out);
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
            Stage::Delivery { delivery, passing, is_told_of_end: false } => {
                delivery.pending().is_some()
                    && !delivery.takes_input()
                    && !passing.as_ref().is_some_and(|passing| passing.is_waiting())
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
            Stage::Delivery { delivery, passing, .. }
                if takes_input(delivery, passing, output_bytes_high) =>
            {
                let is_full = owed_bytes >= delivery.output_bytes_high(output_bytes_high);
                return match delivery.pending() {
                    _ if !self.input.is_empty() => Wants::Turn,
                    Some(_) => Wants::Read,
                    None if is_full => Wants::ReadOrWrite,
                    None => Wants::Turn,
                };
            }
            Stage::Delivery { delivery, .. } if delivery.pending().is_some() => return Wants::Application,
            Stage::Delivery { delivery, .. } => (Wants::Turn, delivery.output_bytes_high(output_bytes_high)),
            Stage::Finished(farewell) => (Wants::Close(*farewell), output_bytes_high),
        };
        if owed_bytes >= output_bytes_high { Wants::Write } else { wants }
    }

    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        match &self.stage {
            Stage::Intake(Intake::Head) => self.head_since().map(|begun| of_head(begun, limits)),
            Stage::Intake(Intake::Content(collected)) => Some(of_body(collected.arrival, limits)),
            Stage::Delivery { delivery, passing, .. } => {
                let of_content = passing.as_ref().and_then(|passing| passing.deadline(limits));
                let of_application = delivery.pending().flatten();
                of_application.into_iter().chain(of_content).chain(delivery.deadline(limits)).min()
            }
            Stage::Finished(_) => None,
        }
    }

    /// Excuses a time in which nothing was read, by no fault of the peer.
    pub fn excuse(&mut self, time: Duration) {
        match &mut self.stage {
            Stage::Intake(Intake::Head) if self.http.request() == RequestState::Head => {
                self.record.begun = self.record.begun + time;
            }
            Stage::Intake(Intake::Content(collected)) => collected.arrival.pause(time),
            Stage::Intake(Intake::Head) | Stage::Delivery { .. } | Stage::Finished(_) => {}
        }
    }

    /// Returns since when the peer has sent nothing of a request that has begun. (A head counts from its
    /// beginning: when its last byte came is not kept.)
    pub fn stalled_since(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Intake(Intake::Head) => self.head_since(),
            Stage::Intake(Intake::Content(collected)) => Some(collected.arrival.last_byte),
            Stage::Delivery { passing, .. } => passing.as_ref().and_then(|passing| passing.stalled_since()),
            Stage::Finished(_) => None,
        }
    }

    /// Returns since when nothing has moved in a tunnel that waits for its peer.
    pub fn silent_tunnel_since(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Delivery { delivery: Delivery::Tunnel(tunnel), .. } => tunnel.silent_since(),
            Stage::Intake(_) | Stage::Delivery { .. } | Stage::Finished(_) => None,
        }
    }

    /// Returns since when a head has begun, if it has not ended.
    pub fn head_since(&self) -> Option<Moment> {
        self.is_in_head().then_some(self.record.begun)
    }

    pub fn is_in_head(&self) -> bool {
        self.http.request() == RequestState::Head
    }

    /// Whether content is on its way, and has been collected in memory so far.
    pub fn collects_in_memory(&self) -> bool {
        matches!(&self.stage, Stage::Intake(Intake::Content(collected)) if collected.content.memory_bytes() > 0)
    }

    /// Moves content that is on its way to the disk.
    pub fn spill(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Stage::Intake(Intake::Content(collected)) = &mut self.stage
            && let Err(error) = collected.spill(turn)
        {
            self.refuse(error, turn, out);
        }
    }

    /// The state that it is in, by name.
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
            Stage::Delivery { delivery, passing, .. } => {
                delivery.memory_in_use() + passing.as_ref().map_or(0, |passing| passing.memory_in_use())
            }
            Stage::Intake(Intake::Head) | Stage::Finished(_) => 0,
        };
        size_of::<Exchange>() + self.input.len() + elsewhere
    }

    /// Reads the rest of a file that was queued, and will not be sent.
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

    /// Reads the next head, and calls the application if the request is complete with it.
    #[inline(always)]
    fn read_head(
        &mut self,
        rest: &[u8],
        searched: usize,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Progress {
        let has_begun = self.is_in_head();
        match rest {
            [b'\r' | b'\n', ..] if blank_lines(rest) > 0 => return self.skip_blank_lines(rest, turn, out),
            [] if !has_begun => return self.await_bytes(),
            _ => {}
        }
        if !has_begun {
            turn.look_at_watch();
            if !turn.may_begin(out) {
                return Progress::Blocked;
            }
        }
        let searched = if has_begun { searched } else { 0 };
        let mut slots = FieldSlots::new();
        // Looked at where it lies: it is large.
        match &self.http.read_head(rest, searched, &mut slots, &turn.context.limits) {
            Ok(Some(parsed)) => self.take_request(parsed, rest, turn, out),
            Ok(None) => self.await_head(rest, has_begun, turn, out),
            Err(error) => self.refuse_head(rest, *error, turn, out),
        }
    }

    /// Waits for the end of a head.
    #[inline(never)]
    fn await_head(
        &mut self,
        rest: &[u8],
        has_begun: bool,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Progress {
        // The first head of a connection counts from when that was accepted.
        if let (Origin::Kept(..), false) = (self.origin, has_begun) {
            self.record.begun = turn.context.now.moment;
        }
        match self.peer_side {
            PeerSide::Open => Progress::Blocked,
            PeerSide::Ended if is_blank(rest) => self.await_bytes(),
            PeerSide::Ended => self.refuse_head(rest, ProtocolError::IncompleteRequest, turn, out),
        }
    }

    /// Waits for a request. If nothing more can come, the conversation has ended.
    fn await_bytes(&mut self) -> Progress {
        match self.peer_side {
            PeerSide::Open => Progress::Blocked,
            PeerSide::Ended => {
                self.stage = Stage::Finished(Farewell::Clean);
                Progress::Consumed(0)
            }
        }
    }

    /// Skips some empty lines before a request line, and refuses too many (RFC 9112 §2.2).
    fn skip_blank_lines(&mut self, rest: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> Progress {
        let (Origin::Accepted(_, empty_lines) | Origin::Kept(_, empty_lines)) = &mut self.origin;
        let blank = blank_lines(rest);
        let lines = rest[..blank].iter().filter(|&&byte| byte == b'\n').count();
        match u8::try_from(usize::from(*empty_lines) + lines) {
            Ok(lines @ ..=EMPTY_LINES_MAX) => *empty_lines = lines,
            _ => self.refuse(ProtocolError::TooManyEmptyLines, turn, out),
        }
        Progress::Consumed(blank)
    }

    /// Takes a request whose head is complete. If all of the content is at hand, too, it is lent where it
    /// lies.
    #[inline(always)]
    fn take_request(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        rest: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Progress {
        turn.budget.requests = turn.budget.requests.saturating_sub(1);
        self.record.begun = turn.context.now.moment;
        let behind = &rest[parsed.length..];
        match content_at_hand(&mut self.http, parsed, behind) {
            Some(content) => {
                let content_length = parsed.semantics.framing.declared_length();
                self.call(&parsed.head(), RequestContent::borrowed(content), content_length, turn, out);
                Progress::Consumed(parsed.length + content.len())
            }
            None => {
                self.await_content(parsed, rest, turn, out);
                Progress::Consumed(parsed.length)
            }
        }
    }

    /// Asks the application whether it wants the content of a request whose head is complete and whose
    /// content is not.
    #[inline(never)]
    fn await_content(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        bytes: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let (head, content_length) = (parsed.head(), parsed.semantics.framing.declared_length());
        let environ =
            environ_of(&head, RequestContent::borrowed(&[]), content_length, &turn.client, turn.context);
        match guard(|| Ok(turn.gateway.admit(&environ))) {
            Ok(Admission::Collect) => self.begin_to_collect(parsed, bytes, turn, out),
            Ok(Admission::FromHead) => {
                self.http.decline_content();
                self.call(&head, RequestContent::borrowed(&[]), content_length, turn, out);
            }
            Ok(Admission::AsItComes) => {
                let is_asked_for =
                    parsed.semantics.expectation == Expectation::Continue && bytes.len() == parsed.length;
                self.call_as_it_comes(&head, content_length, is_asked_for, turn, out);
            }
            Err(error) => {
                self.http.decline_content();
                self.fail(Some(RequestLine::of(&head)), error, turn, out);
            }
        }
    }

    /// Begins to collect content that the application wants, if there is a place for it.
    fn begin_to_collect(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        bytes: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let (head, behind) = bytes.split_at(parsed.length);
        let length = parsed.semantics.framing.declared_length();
        let collected = Box::new(Collected::new(head, length, self.record.begun));
        let place = collected.find_place(turn);
        self.stage = Stage::Intake(Intake::Content(collected));
        match place {
            Err(error) => self.refuse(error, turn, out),
            // Who has begun to send does not wait (RFC 9110 §10.1.1).
            Ok(()) if parsed.semantics.expectation == Expectation::Continue && behind.is_empty() => {
                self.http.write_continue(out.buffer());
            }
            Ok(()) => {}
        }
    }

    /// Follows up on content that has come: calls the application when it is complete.
    #[inline(never)]
    fn follow_intake(
        &mut self,
        taken: Result<Taken, ProtocolError>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Progress {
        match taken {
            Ok(Taken::Part(0)) => Progress::Blocked,
            Ok(Taken::Part(used)) => Progress::Consumed(used),
            Ok(Taken::Whole(used, collected)) => {
                self.stage = Stage::Intake(Intake::Head);
                self.call_with_collected(collected, turn, out);
                Progress::Consumed(used)
            }
            Err(error) => {
                self.refuse(error, turn, out);
                Progress::Consumed(0)
            }
        }
    }

    /// Calls the application with collected content, and the head that it belongs to.
    fn call_with_collected(&mut self, mut request: Collected, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        let mut slots = FieldSlots::new();
        let parsed = parse_head(&request.head, 0, &mut slots, &turn.context.limits);
        let (Ok(Some(parsed)), Ok(())) = (parsed, request.content.rewind()) else {
            let error = GatewayError::new("the collected request cannot be read back");
            return self.fail(None, error, turn, out);
        };
        self.record.begun = turn.context.now.moment;
        let content_length = Some(request.content.len());
        let trailers = Trailers::parse(&request.trailers);
        let content = RequestContent::with_trailers(&mut request.content, Fields::new(&trailers));
        self.call(&parsed.head(), content, content_length, turn, out);
    }

    /// Calls the application, and ends the exchange if the answer is complete with that, as nearly always.
    #[inline(always)]
    fn call(
        &mut self,
        head: &RequestHead<'_>,
        content: RequestContent<'_>,
        content_length: Option<u64>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        match self.invoke(head, content, content_length, turn, out) {
            None => self.end_response(turn, out),
            Some(Ok(kind)) => self.begin_delivery(head, kind, None, turn, out),
            Some(Err(error)) => self.fail(Some(RequestLine::of(head)), error, turn, out),
        }
    }

    /// Lets the application act. Returns none if its answer is complete; else what remains to be done, or its
    /// error.
    #[inline(always)]
    fn invoke(
        &mut self,
        head: &RequestHead<'_>,
        content: RequestContent<'_>,
        content_length: Option<u64>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Option<Result<BodyKind, GatewayError>> {
        let mut environ = environ_of(head, content, content_length, &turn.client, turn.context);
        let wanted = turn.journal.wanted();
        if let Some(wanted) = wanted {
            self.record.note_request(head, &environ, wanted);
        }
        let outlet = Outlet { http: &mut self.http, record: &mut self.record, out };
        let mut sink = Sink::new(outlet, wanted, turn.context, turn.wire);
        let result = guard(|| turn.gateway.call(&mut environ, StartResponse::new(&mut sink)));
        environ.end();
        sink.conclude(result)
    }

    /// Calls the application while the content is still coming.
    fn call_as_it_comes(
        &mut self,
        head: &RequestHead<'_>,
        content_length: Option<u64>,
        is_asked_for: bool,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let wakeup = Wakeup::new(turn.client.wake_source.waker());
        let sender = if is_asked_for { Sender::Waits } else { Sender::Sends };
        let (passing, incoming) = Passing::new(wakeup, sender, turn.context.now.moment);
        let mut incoming = Some(incoming);
        let answer = self.invoke(head, RequestContent::incoming(&mut incoming), content_length, turn, out);
        // Who has not taken it by now never will.
        drop(incoming);
        match answer {
            None => {
                self.http.decline_content();
                self.end_response(turn, out);
            }
            Some(Ok(kind)) => self.begin_delivery(head, kind, Some(Box::new(passing)), turn, out),
            Some(Err(error)) => self.fail(Some(RequestLine::of(head)), error, turn, out),
        }
    }

    /// Breaks off content while the application answers. If nothing of the answer has been sent, the client
    /// is told why.
    #[inline(never)]
    fn break_off(&mut self, error: ProtocolError, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.http.response() {
            ResponseState::Unstarted | ResponseState::Continue => self.refuse(error, turn, out),
            ResponseState::Body(_) | ResponseState::Complete | ResponseState::Aborted(_) => {
                self.stage = Stage::Intake(Intake::Head);
                self.http.refuse(error);
                self.http.abort();
                self.end(turn);
            }
        }
    }

    /// Begins the delivery of a response that outlasts the call.
    #[inline(never)]
    fn begin_delivery(
        &mut self,
        head: &RequestHead<'_>,
        kind: BodyKind,
        passing: Option<Box<Passing>>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        self.record.note_line(RequestLine::of(head));
        let outlet = Outlet { http: &mut self.http, record: &mut self.record, out };
        match Delivery::of(kind, outlet, turn) {
            Some(delivery) => self.stage = Stage::Delivery { delivery, passing, is_told_of_end: false },
            None => {
                self.http.decline_content();
                self.end_response(turn, out);
            }
        }
    }

    /// Passes on content that has come, and gets on with the response.
    #[inline(never)]
    fn deliver(&mut self, rest: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> Progress {
        let Stage::Delivery { delivery, passing, .. } = &mut self.stage else {
            return Progress::Blocked;
        };
        match pass_on(passing, rest, self.peer_side, &mut self.http, turn) {
            // Who holds the content back is asked for it, unless the answer has begun, or nobody wants it.
            Ok(0) => {
                if passing.as_ref().is_some_and(|passing| passing.must_ask(self.http.response())) {
                    self.http.write_continue(out.buffer());
                }
            }
            Ok(used) => {
                delivery.wake();
                return Progress::Consumed(used);
            }
            Err(error) => {
                self.break_off(error, turn, out);
                return Progress::Consumed(0);
            }
        }
        let outlet = Outlet { http: &mut self.http, record: &mut self.record, out };
        match delivery.advance(rest, self.peer_side, outlet, turn) {
            Ok(Step::Blocked) => {
                let is_pending = delivery.pending().is_some();
                if let Some(passing) = passing {
                    // In this order: content that is full must be known to be waited for, whatever else is.
                    let has_room = passing.claim_room(turn.output_bytes_high());
                    let is_waiting = has_room && is_pending && !passing.is_held_back(self.http.response());
                    passing.note_waiting(is_waiting, turn.context.now.moment);
                }
                return Progress::Blocked;
            }
            Ok(Step::Consumed(bytes)) => return Progress::Consumed(bytes),
            Ok(Step::Next(next)) => *delivery = next,
            Ok(Step::Again) => {}
            Ok(Step::Complete) => {
                self.stage = Stage::Intake(Intake::Head);
                self.http.decline_content();
                self.end_response(turn, out);
            }
            Err(error) => {
                self.stage = Stage::Intake(Intake::Head);
                self.http.decline_content();
                self.fail(None, error, turn, out);
            }
        }
        Progress::Consumed(0)
    }

    /// Ends a response all of whose content was handed over.
    #[inline(always)]
    fn end_response(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.http.end_response(out.buffer()) {
            Ok(()) => self.end(turn),
            Err(invalid) => self.fail(None, invalid.into(), turn, out),
        }
    }

    /// Ends the exchange, well or not: the next request follows, or the end.
    #[inline(always)]
    fn end(&mut self, turn: &mut Turn<'_>) {
        let outcome = match self.http.response() {
            ResponseState::Aborted(_) => Outcome::Aborted,
            _ => Outcome::Complete,
        };
        self.record.close(outcome, turn.client.peer, turn.context.now, turn.journal);
        self.stage = match (self.http.response(), self.http.persistence()) {
            (ResponseState::Aborted(BodyEncoder::UntilClose), _) => Stage::Finished(Farewell::Reset),
            // A client that may still be sending content would reset what it has not read of earlier answers.
            (ResponseState::Aborted(_), _) if self.http.leaves_content_unread() => {
                Stage::Finished(Farewell::Linger)
            }
            (ResponseState::Aborted(_), _) => Stage::Finished(Farewell::Clean),
            (_, Persistence::Close(reason)) => Stage::Finished(farewell(reason)),
            (_, Persistence::KeepAlive) => {
                self.http.next_exchange();
                self.origin = Origin::Kept(turn.context.now.moment, 0);
                return;
            }
        };
    }

    /// Handles a failed application: 500, or a broken connection if the head has been sent.
    #[inline(never)]
    fn fail(
        &mut self,
        line: Option<RequestLine<'_>>,
        error: GatewayError,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let known = self.record.line();
        let (error, fields) = error.take_fields();
        // Even to print an error, and to drop it, is the application's code.
        Foreign::new(error).notify(|error| turn.journal.failure(line.or(known), error));
        self.http.abort();
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        if !matches!(self.http.response(), ResponseState::Aborted(_)) {
            self.record.status = status.code();
        }
        let content = "500 Internal Server Error: the application failed.\n";
        self.write_error(status, content, &fields, turn, out);
        self.end(turn);
    }

    /// Refuses a peer that has broken a rule or exceeded a limit: it is told so, and nothing more is read as
    /// a request.
    #[inline(never)]
    pub fn refuse(&mut self, error: ProtocolError, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        self.http.refuse(error);
        if let Stage::Intake(Intake::Content(request)) =
            mem::replace(&mut self.stage, Stage::Finished(Farewell::Linger))
        {
            self.record_head(&request.head, turn);
        }
        self.record.status = error.status().code();
        self.write_error(error.status(), &error.content(), &FieldBlock::default(), turn, out);
        self.record.close(Outcome::Complete, turn.client.peer, turn.context.now, turn.journal);
    }

    /// Refuses a request for an error in its head, or because the rest of the head cannot come.
    #[inline(never)]
    fn refuse_head(
        &mut self,
        head: &[u8],
        error: ProtocolError,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Progress {
        self.record_head(head, turn);
        if error == ProtocolError::ProxyHeader {
            turn.journal.proxy_header();
        }
        self.refuse(error, turn, out);
        Progress::Consumed(0)
    }

    /// Writes an error response with these further fields, if no response has started, and records them all.
    fn write_error(
        &mut self,
        status: StatusCode,
        content: &str,
        fields: &FieldBlock,
        turn: &Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let start = out.buffer().len();
        let own_fields = &turn.context.own_fields;
        self.record.content_bytes += self.http.write_error(out.buffer(), own_fields, status, content, fields);
        let written = &out.buffer()[start..];
        if let Some(wanted) = turn.journal.wanted()
            && !wanted.response_fields.is_empty()
            && !written.is_empty()
        {
            self.record.note_response(written, wanted);
        }
    }

    /// Records what an access log wants to know of a refused request: everything, if its head can be read;
    /// else its request line, if that can.
    fn record_head(&mut self, head: &[u8], turn: &mut Turn<'_>) {
        let Some(wanted) = turn.journal.wanted() else {
            return;
        };
        let mut slots = FieldSlots::new();
        if let Ok(Some(parsed)) = parse_head(head, 0, &mut slots, &turn.context.limits) {
            let head = parsed.head();
            let environ = environ_of(&head, RequestContent::borrowed(&[]), None, &turn.client, turn.context);
            self.record.note_request(&head, &environ, wanted);
        } else if let Some((method, target, version)) = parse_request_line(head, &turn.context.limits) {
            self.record.note_line(RequestLine { method, target, version });
        }
    }
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

/// Takes up the content of the request whose head was read, if all of it is `behind` that. Chunked content is
/// excluded: it needs a place to be put together.
#[inline]
fn content_at_hand<'i>(http: &mut Http1, parsed: &ParsedHead<'_, '_>, behind: &'i [u8]) -> Option<&'i [u8]> {
    match parsed.semantics.framing {
        RequestFraming::None => Some(&[]),
        RequestFraming::Length(length) => {
            let content = behind.get(..usize::try_from(length).ok()?)?;
            // It cannot fail: the length was admitted with the head, and all of it is here.
            http.read_content(content).ok()?;
            Some(content)
        }
        RequestFraming::Chunked => None,
    }
}

/// Passes on content that has come, and returns how many bytes of input were used. `passing` is gone once the
/// application wants no more.
fn pass_on(
    passing: &mut Option<Box<Passing>>,
    input: &[u8],
    peer_side: PeerSide,
    http: &mut Http1,
    turn: &Turn<'_>,
) -> Result<usize, ProtocolError> {
    let Some(content) = passing else {
        return Ok(0);
    };
    if content.is_unwanted() {
        http.decline_content();
        *passing = None;
        return Ok(0);
    }
    content.take(input, peer_side, http, turn)
}

/// Whether bytes from the peer are taken while an answer is given out: by a tunnel, or as content of which not too much
/// waits for the application.
fn takes_input(delivery: &Delivery, passing: &Option<Box<Passing>>, bytes_high: usize) -> bool {
    delivery.takes_input() || passing.as_ref().is_some_and(|passing| passing.has_room(bytes_high))
}

/// Whether the input consists of empty lines, the last of them perhaps only half there.
fn is_blank(input: &[u8]) -> bool {
    matches!(&input[blank_lines(input)..], [] | [b'\r'])
}

/// Returns how to end a connection, by the reason for it. A client that has asked for the end, or whose
/// version knows nothing else, sends no more; the others may be sending their next request already.
fn farewell(reason: CloseReason) -> Farewell {
    match reason {
        CloseReason::ClientAsked | CloseReason::Http10 | CloseReason::EndsContent => Farewell::Clean,
        CloseReason::ApplicationAsked
        | CloseReason::Upgraded
        | CloseReason::ContentUnread
        | CloseReason::Refused
        | CloseReason::Failed
        | CloseReason::ShuttingDown => Farewell::Linger,
    }
}
