//! A conversation in the middle of something: what an exchange owns while it lasts.
//!
//! Requests that lie whole before an idle conversation and are answered in their call never come here:
//! they go the straight way, in [`at_once`](super::at_once). Everything else goes through the loop of
//! [`Active::consume`]. Each round looks at the state of the
//! request and does the one thing that belongs to it: read a head, collect content, get on with the
//! response. It stops when bytes are missing, or room, or the application, or its turn is over;
//! which of them it was can be read off the state.
//!
//! This chapter takes requests in; [`answer`](super::answer) is about the responses.

use std::borrow::Cow;
use std::mem;
use std::time::Duration;

use super::deadline::{Flow, of_body, of_head};
use super::exchange::Exchange;
use super::foreign::{Foreign, guard};
use super::output_queue::OutputQueue;
use super::report::Report;
use super::turn::Turn;
use super::{EmptyLines, Farewell, Phase, Wants};
use crate::gateway::{
    Admission, BodyKind, BodyStream, FileRange, GatewayError, Later, OwnedContent, RequestContent,
};
use crate::limits::Limits;
use crate::message::RequestHead;
use crate::now::Moment;
use crate::protocol::{
    EMPTY_LINES_MAX, Expectation, FieldSlots, Http1, ParsedHead, ProtocolError, ReceiveBuffer, RequestState,
    blank_lines, parse_head,
};

/// From where the present exchange set out, and where the conversation goes back to if nothing
/// comes of it.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The connection was accepted then; no exchange has taken place. So many empty lines have come since.
    Accepted(Moment, EmptyLines),
    /// The last exchange ended then. So many empty lines have come since.
    Kept(Moment, EmptyLines),
}

/// One conversation in the middle of something.
pub(super) struct Active {
    pub(super) exchange: Exchange,
    input: ReceiveBuffer,
    peer_side: PeerSide,
    /// The application of this exchange was told that the peer seems to have ended its side.
    pub(super) is_told: bool,
    pub(super) work: Work,
    pub(super) origin: Origin,
    pub(super) report: Option<Box<Report>>,
}

/// Whether more can come from the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PeerSide {
    /// It can.
    Open,
    /// The peer has ended its side; it may still wait for answers.
    Ended,
}

/// What is under way beyond what the protocol knows.
pub(super) enum Work {
    /// Nothing: a head is awaited, or the response has only to be ended.
    None,
    /// Content is being collected.
    Collect(Box<Incoming>),
    /// The application will answer later.
    Wait { readiness: Readiness, answer: Foreign<Box<dyn Later>> },
    /// Content is drawn from a stream.
    Draw { readiness: Readiness, departure: Departure, stream: Foreign<Box<dyn BodyStream>> },
    /// Content is part of a file: sent as one, or read.
    Send(FileRange),
    /// It stands in the output queue, and nothing is queued behind it; it was so long.
    Leave(u64),
    /// Content is read from a file.
    Read(FileRange),
    /// Nothing more will be said.
    End(Farewell),
}

/// Whether the application is to be asked again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It is.
    Ready,
    /// It has said that it would wake us, or to come back at this moment.
    Pending { until: Option<Moment> },
}

/// When the pieces of a stream leave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// As many as there is room for.
    Together,
    /// Each before the next is asked for.
    OneByOne,
}

impl Departure {
    fn of(stream: &dyn BodyStream) -> Departure {
        match guard(|| Ok(stream.is_prompt())) {
            Ok(true) => Departure::OneByOne,
            // Should it panic here, it will again when it is drawn.
            Ok(false) | Err(_) => Departure::Together,
        }
    }
}

/// A request whose content is not complete.
pub(super) struct Incoming {
    /// The head, which is parsed again in the end: that is cheaper to understand than to store
    /// where in the bytes everything was, and happens only to content that came in pieces.
    pub head: Vec<u8>,
    content: OwnedContent,
    /// Bytes of content, where the head has said it.
    length: Option<u64>,
    arrival: Flow,
}

/// Said to the operator of content that is refused by its length.
const NO_ROOM: &str = "no room is left for temporary files: spool_bytes_max is reached";

/// What a round of the loop has come to.
enum Round {
    /// So many bytes of input were used up, or the state has changed; on with it.
    Used(usize),
    /// Nothing more can be done for now.
    Stuck,
    /// It is over. What else has come is thrown away.
    Over,
}

impl Active {
    pub fn new(origin: Origin) -> Active {
        let (Origin::Accepted(begun, _) | Origin::Kept(begun, _)) = origin;
        Active {
            exchange: Exchange::new(begun),
            input: ReceiveBuffer::default(),
            peer_side: PeerSide::Open,
            is_told: false,
            work: Work::None,
            origin,
            report: None,
        }
    }

    /// An exchange that has begun. (From where it set out is of no account: its end sets that anew.)
    fn of(exchange: Exchange) -> Active {
        let origin = Origin::Kept(exchange.begun, 0);
        Active { exchange, ..Active::new(origin) }
    }

    /// One of which half a head has come.
    #[inline(never)]
    pub fn in_head(exchange: Exchange, bytes: &[u8]) -> Active {
        let mut active = Active::of(exchange);
        active.input.extend(bytes);
        active.input.mark_searched();
        active
    }

    /// One whose head was read, at the start of these bytes, and whose content is still coming, or has to be
    /// put together.
    #[inline(never)]
    pub fn in_content(
        exchange: Exchange,
        parsed: &ParsedHead<'_, '_>,
        bytes: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Active {
        let mut active = Active::of(exchange);
        active.await_content(parsed, bytes, turn, out);
        active
    }

    /// One that lasts longer than its call, whatever the call has led to.
    #[inline(never)]
    pub fn take_over(
        exchange: Exchange,
        answer: Result<BodyKind, GatewayError>,
        head: &RequestHead<'_>,
        report: Option<Box<Report>>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Active {
        let mut active = Active { report, ..Active::of(exchange) };
        active.follow(answer, head, turn, out);
        active
    }

    /// The phase without this box, if nothing remains for which it is needed.
    pub fn rest(&self) -> Option<Phase> {
        match (&self.work, self.exchange.http.request(), self.origin) {
            (Work::End(farewell), _, _) => Some(Phase::Finished(*farewell)),
            (Work::None, RequestState::Idle, _) if !self.input.is_empty() => None,
            (Work::None, RequestState::Idle, Origin::Accepted(at, lines)) => Some(Phase::Fresh(at, lines)),
            (Work::None, RequestState::Idle, Origin::Kept(since, lines)) => Some(Phase::Kept(since, lines)),
            _ => None,
        }
    }

    pub fn receive(&mut self, bytes: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if self.input.is_empty() {
            // The bytes are understood where they lie; only what is left over is copied.
            let used = self.consume(bytes, 0, turn, out);
            if used < bytes.len() {
                self.input.extend(&bytes[used..]);
                self.input.mark_searched();
            }
            return;
        }
        self.input.extend(bytes);
        let mut input = mem::take(&mut self.input);
        let (waiting, searched) = input.as_slice();
        let used = self.consume(waiting, searched, turn, out);
        input.consume(used);
        self.input = input;
    }

    /// The peer has ended its side: what has come is still answered.
    pub fn receive_end(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        self.peer_side = PeerSide::Ended;
        self.receive(&[], turn, out);
    }

    pub fn expire(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.exchange.http.request() {
            RequestState::Head if self.is_blank() => self.work = Work::End(Farewell::Clean),
            RequestState::Head => {
                let input = mem::take(&mut self.input);
                self.report_head(input.as_slice().0, turn);
                self.refuse(ProtocolError::HeadTimeout, turn, out);
            }
            RequestState::Body(_) => self.refuse(ProtocolError::BodyTimeout, turn, out),
            RequestState::Idle | RequestState::Complete | RequestState::Refused(_) => {
                self.wake();
                self.receive(&[], turn, out);
            }
        }
    }

    /// The peer seems to have ended its side while the application is pending: it is told, and asked
    /// again.
    pub fn client_has_finished(&mut self) {
        self.is_told = true;
        match &mut self.work {
            Work::Wait { answer, .. } => answer.tell(|answer| answer.client_has_finished()),
            Work::Draw { stream, .. } => stream.tell(|stream| stream.client_has_finished()),
            Work::None | Work::Collect(_) | Work::Send(_) | Work::Leave(_) | Work::Read(_) | Work::End(_) => {
            }
        }
        self.wake();
    }

    /// The application is to be asked again.
    pub fn wake(&mut self) {
        if let Work::Wait { readiness, .. } | Work::Draw { readiness, .. } = &mut self.work {
            *readiness = Readiness::Ready;
        }
    }

    pub fn wants(&self, owed_bytes: usize, output_bytes_high: usize) -> Wants {
        let is_full = owed_bytes >= self.work.output_bytes_high(output_bytes_high);
        let unless_full = |wants| if is_full { Wants::Write } else { wants };
        match (self.exchange.http.request(), &self.work) {
            (_, Work::End(farewell)) => unless_full(Wants::Close(*farewell)),
            (RequestState::Head | RequestState::Body(_), _) => unless_full(Wants::Read),
            (_, work) if work.pending().is_some() => Wants::Application,
            (RequestState::Idle | RequestState::Complete | RequestState::Refused(_), _) => {
                unless_full(Wants::Turn)
            }
        }
    }

    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        match (self.exchange.http.request(), &self.work) {
            (RequestState::Head, _) => Some(of_head(self.exchange.begun, limits)),
            (_, Work::Collect(incoming)) => Some(of_body(incoming.arrival, limits)),
            (_, work) => work.pending().flatten(),
        }
    }

    /// For so long nothing was read, by no fault of the peer.
    pub fn excuse(&mut self, time: Duration) {
        match (self.exchange.http.request(), &mut self.work) {
            (RequestState::Head, _) => self.exchange.begun = self.exchange.begun + time,
            (_, Work::Collect(incoming)) => incoming.arrival.pause(time),
            _ => {}
        }
    }

    /// Since when the peer has sent nothing of a request that has begun. (A head counts from its beginning: when its
    /// last byte came is not kept.)
    pub fn stalled_since(&self) -> Option<Moment> {
        match &self.work {
            Work::Collect(incoming) => Some(incoming.arrival.last_byte),
            _ if self.is_in_head() => Some(self.exchange.begun),
            _ => None,
        }
    }

    /// Whether content is on its way, and what has come of it is in memory.
    pub fn collects_in_memory(&self) -> bool {
        matches!(&self.work, Work::Collect(incoming) if incoming.content.memory_bytes() > 0)
    }

    /// Moves content that is on its way to the disk.
    pub fn spill(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if let Work::Collect(incoming) = &mut self.work
            && let Err(error) = incoming.content.spill(turn.disk)
        {
            turn.journal.failure(None, &error.into());
            self.refuse(ProtocolError::NoPlaceForContent, turn, out);
        }
    }

    pub fn is_in_head(&self) -> bool {
        self.exchange.http.request() == RequestState::Head
    }

    pub fn held_bytes(&self) -> usize {
        let held = match &self.work {
            Work::Collect(incoming) => incoming.head.len() + incoming.content.memory_bytes(),
            Work::Wait { answer, .. } => answer.measure(|answer| answer.held_bytes()),
            Work::Draw { stream, .. } => stream.measure(|stream| stream.held_bytes()),
            Work::None | Work::Send(_) | Work::Leave(_) | Work::Read(_) | Work::End(_) => 0,
        };
        mem::size_of::<Active>() + self.input.len() + held
    }

    /// Does all that can be done with this input; how many bytes of it were used up.
    fn consume(
        &mut self,
        input: &[u8],
        searched: usize,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> usize {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.round(rest, searched.saturating_sub(at), turn, out) {
                Round::Used(count) => at += count,
                Round::Stuck => return at,
                Round::Over => {
                    self.discard(rest);
                    return input.len();
                }
            }
        }
    }

    fn round(&mut self, rest: &[u8], searched: usize, turn: &mut Turn<'_>, out: &mut OutputQueue) -> Round {
        if let Work::End(_) = self.work {
            return Round::Over;
        }
        match self.exchange.http.request() {
            RequestState::Idle => self.begin(rest, turn, out),
            // Half an empty line began it, and here is the other half: no part of any head.
            RequestState::Head if blank_lines(rest) > 0 => self.skip_blank_lines(rest),
            RequestState::Head => self.read_head(rest, searched, turn, out),
            RequestState::Body(_) => self.collect(rest, turn, out),
            RequestState::Complete if self.respond(turn, out) => Round::Used(0),
            RequestState::Complete => Round::Stuck,
            RequestState::Refused(error) => {
                self.refuse(error, turn, out);
                Round::Over
            }
        }
    }

    /// Nothing that comes now is a request. A peer that has sent more than it should is still
    /// sending, perhaps: closing at once would reset the connection under its answer.
    fn discard(&mut self, rest: &[u8]) {
        if let (Work::End(farewell @ Farewell::Clean), false) = (&mut self.work, rest.is_empty()) {
            *farewell = Farewell::Linger;
        }
    }

    /// Between two requests: takes up the next one, if this connection may.
    fn begin(&mut self, rest: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> Round {
        if blank_lines(rest) > 0 {
            return self.skip_blank_lines(rest);
        }
        if rest.is_empty() {
            return self.nothing_left();
        }
        turn.look_at_watch();
        if !turn.may_begin(out) {
            return Round::Stuck;
        }
        let round = self.read_head(rest, 0, turn, out);
        if let (RequestState::Head, Origin::Kept(..)) = (self.exchange.http.request(), self.origin) {
            self.exchange.begun = turn.around.now.moment;
        }
        round
    }

    /// Some empty lines before a request line are skipped, too many are refused (RFC 9112 §2.2).
    fn skip_blank_lines(&mut self, rest: &[u8]) -> Round {
        let (Origin::Accepted(_, empty_lines) | Origin::Kept(_, empty_lines)) = &mut self.origin;
        let blank = blank_lines(rest);
        let lines = rest[..blank].iter().filter(|&&byte| byte == b'\n').count();
        match u8::try_from(usize::from(*empty_lines) + lines) {
            Ok(lines @ ..=EMPTY_LINES_MAX) => *empty_lines = lines,
            _ => self.exchange.http.refuse(ProtocolError::TooManyEmptyLines),
        }
        Round::Used(blank)
    }

    fn nothing_left(&mut self) -> Round {
        match self.peer_side {
            PeerSide::Open => Round::Stuck,
            PeerSide::Ended => {
                self.work = Work::End(Farewell::Clean);
                Round::Over
            }
        }
    }

    /// Reads a head, and answers if the request is complete with it.
    fn read_head(
        &mut self,
        rest: &[u8],
        searched: usize,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Round {
        let mut slots = FieldSlots::new();
        match self.exchange.http.read_head(rest, searched, &mut slots, &turn.around.limits) {
            Ok(Some(parsed)) => self.take_request(&parsed, rest, turn, out),
            Ok(None) if self.peer_side == PeerSide::Open => Round::Stuck,
            Ok(None) if is_blank(rest) => self.nothing_left(),
            Ok(None) => {
                self.report_head(rest, turn);
                self.exchange.http.refuse(ProtocolError::IncompleteRequest);
                Round::Used(0)
            }
            Err(_) => {
                self.report_head(rest, turn);
                Round::Used(0)
            }
        }
    }

    /// The head is complete. If all of the content is at hand, too, it is lent where it lies.
    fn take_request(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        rest: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Round {
        turn.budget.requests = turn.budget.requests.saturating_sub(1);
        self.exchange.begun = turn.around.now.moment;
        let behind = &rest[parsed.length..];
        let Some(content) = self.exchange.take_content(parsed, behind) else {
            self.await_content(parsed, rest, turn, out);
            return Round::Used(parsed.length);
        };
        let used = parsed.length + content.bytes.len();
        self.answer(&parsed.head(), RequestContent::borrowed(content.bytes), content.length, turn, out);
        Round::Used(used)
    }

    /// The head at the start of these bytes is complete, its content is not: the application says whether it
    /// wants that.
    fn await_content(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        bytes: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let (head, content_length) = (parsed.head(), parsed.meaning.framing.declared_length());
        match self.exchange.admit(&head, content_length, turn) {
            Ok(Admission::Collect) => self.begin_to_collect(parsed, bytes, turn, out),
            Ok(Admission::FromHead) => {
                self.exchange.http.decline_content();
                self.answer(&head, RequestContent::borrowed(&[]), content_length, turn, out);
            }
            Err(error) => {
                self.exchange.http.decline_content();
                self.follow(Err(error), &head, turn, out);
            }
        }
    }

    /// The application wants the content, which is to come if there is a place for it.
    fn begin_to_collect(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        bytes: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let (head, behind) = bytes.split_at(parsed.length);
        let arrival = Flow::new(self.exchange.begun);
        let content = OwnedContent::default();
        let length = parsed.meaning.framing.declared_length();
        self.work = Work::Collect(Box::new(Incoming { head: head.to_vec(), content, length, arrival }));
        let place = length.map_or(Ok(()), |length| turn.place_for(length));
        if let Err(error) = place {
            if error == ProtocolError::NoPlaceForContent {
                turn.journal.failure(None, &GatewayError::new(NO_ROOM));
            }
            return self.exchange.http.refuse(error);
        }
        // Who has begun to send does not wait (RFC 9110 §10.1.1).
        if parsed.meaning.expectation == Expectation::Continue && behind.is_empty() {
            self.exchange.http.write_continue(out.buffer());
        }
    }

    /// Takes content in, and answers when it is complete.
    fn collect(&mut self, rest: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> Round {
        let Work::Collect(incoming) = &mut self.work else {
            return Round::Stuck;
        };
        if rest.is_empty() && self.peer_side == PeerSide::Ended {
            self.exchange.http.refuse(ProtocolError::IncompleteRequest);
            return Round::Used(0);
        }
        let (used, content) = decode_all(&mut self.exchange.http, rest);
        let memory_bytes_max = turn.content_memory_bytes_max(incoming.length);
        if memory_bytes_max > 0 {
            incoming.content.make_room(content.len(), incoming.length);
        }
        let kept = incoming.content.append(&content, memory_bytes_max, turn.disk);
        if let Err(error) = kept {
            turn.journal.failure(None, &error.into());
            self.exchange.http.refuse(ProtocolError::NoPlaceForContent);
            return Round::Used(used);
        }
        incoming.arrival.arrived(used as u64, turn.around.now.moment, &turn.around.limits);
        match self.exchange.http.request() {
            RequestState::Body(_) if used == 0 => return Round::Stuck,
            RequestState::Complete => self.answer_collected(turn, out),
            _ => {}
        }
        Round::Used(used)
    }

    /// The content has ended: back to the head that it belongs to.
    fn answer_collected(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        let Work::Collect(mut incoming) = mem::replace(&mut self.work, Work::None) else {
            return;
        };
        let mut slots = FieldSlots::new();
        let parsed = parse_head(&incoming.head, 0, &mut slots, &turn.around.limits);
        let (Ok(Some(parsed)), Ok(())) = (parsed, incoming.content.rewind()) else {
            return self.fail(
                None,
                GatewayError::new("the collected request cannot be read back"),
                turn,
                out,
            );
        };
        self.exchange.begun = turn.around.now.moment;
        let content_length = Some(incoming.content.len());
        let content = RequestContent::owned(&mut incoming.content);
        self.answer(&parsed.head(), content, content_length, turn, out);
    }

    /// Whether all that has come of a head is an empty line, or half of one: that is no request.
    fn is_blank(&self) -> bool {
        is_blank(self.input.as_slice().0)
    }
}

impl Work {
    /// From how many bytes owed on nothing more is produced, where it is `usual` for most.
    pub fn output_bytes_high(&self, usual: usize) -> usize {
        match self {
            // Each of its pieces leaves before it is asked for the next, and the file before the end.
            Work::Draw { departure: Departure::OneByOne, .. } | Work::Leave(_) => 1,
            Work::Draw { departure: Departure::Together, .. }
            | Work::None
            | Work::Collect(_)
            | Work::Wait { .. }
            | Work::Send(_)
            | Work::Read(_)
            | Work::End(_) => usual,
        }
    }

    /// Whether the application is pending, and until when, if it has said.
    pub fn pending(&self) -> Option<Option<Moment>> {
        match self {
            Work::Wait { readiness: Readiness::Pending { until }, .. }
            | Work::Draw { readiness: Readiness::Pending { until }, .. } => Some(*until),
            Work::Wait { readiness: Readiness::Ready, .. }
            | Work::Draw { readiness: Readiness::Ready, .. }
            | Work::None
            | Work::Collect(_)
            | Work::Send(_)
            | Work::Leave(_)
            | Work::Read(_)
            | Work::End(_) => None,
        }
    }

    pub fn after(kind: BodyKind) -> Work {
        match kind {
            BodyKind::Complete => Work::None,
            BodyKind::Stream(stream) => {
                let departure = Departure::of(&*stream);
                Work::Draw { readiness: Readiness::Ready, departure, stream: Foreign::new(stream) }
            }
            BodyKind::File(range) => Work::Send(range),
            BodyKind::Later { until, answer } => {
                Work::Wait { readiness: Readiness::Pending { until }, answer: Foreign::new(answer) }
            }
        }
    }
}

/// Takes the framing off all of the input, or as much as there is: how many bytes were used, and
/// the content among them. Gathered first, because a chunk can be a single byte, and each append a
/// system call.
fn decode_all<'i>(http: &mut Http1, input: &'i [u8]) -> (usize, Cow<'i, [u8]>) {
    let mut used = 0;
    let mut content = Cow::Borrowed(&input[..0]);
    while let RequestState::Body(_) = http.request() {
        match http.read_content(&input[used..]) {
            Ok(decoded) if decoded.consumed > 0 => {
                used += decoded.consumed;
                if content.is_empty() {
                    content = Cow::Borrowed(decoded.content);
                } else if !decoded.content.is_empty() {
                    content.to_mut().extend_from_slice(decoded.content);
                }
            }
            // More bytes are needed; or the state says what is wrong.
            Ok(_) | Err(_) => break,
        }
    }
    (used, content)
}

/// Whether it is empty lines and nothing else, the last of them perhaps only half there.
fn is_blank(input: &[u8]) -> bool {
    matches!(&input[blank_lines(input)..], [] | [b'\r'])
}
