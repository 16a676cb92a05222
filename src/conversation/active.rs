//! A conversation in the middle of something: what an exchange owns while it lasts.
//!
//! The loop of [`Active::consume`] is the heart of the server. Each round looks at the state of the
//! request and does the one thing that belongs to it: read a head, collect content, get on with the
//! response. It stops when bytes are missing, or room, or the application, or its turn is over;
//! which of them it was can be read off the state.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::deadline::{Arrival, of_body, of_head};
use super::journal::{ExchangeRecord, Outcome, RequestLine};
use super::output_queue::OutputQueue;
use super::sink::{Sink, Tally, write_piece};
use super::turn::{Life, Turn};
use super::{Farewell, Phase, Wants};
use crate::gateway::{
    Body, BodyKind, BodyStream, Content, Environ, FileRange, GatewayError, Later, Misuse, OwnedContent,
    Piece, RequestContent, ResponseSink, StartResponse,
};
use crate::limits::Limits;
use crate::message::{InvalidResponse, RequestHead, StatusCode, Version};
use crate::now::Moment;
use crate::protocol::{
    BodyEncoder, CloseReason, Expectation, FieldSlots, Http1, ParsedHead, Persistence, ProtocolError,
    ReceiveBuffer, RequestFraming, RequestState, ResponseState,
};

/// How much of a file is read at a time. 64 KiB: as much as a socket takes.
const FILE_PIECE_BYTES: u64 = 64 * 1024;

/// From where the present exchange set out, and where the conversation goes back to if nothing
/// comes of it.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The connection was accepted then; no exchange has taken place.
    Accepted(Moment),
    /// The last exchange ended then.
    Kept(Moment),
}

/// One conversation in the middle of something.
pub(super) struct Active {
    http: Http1,
    input: ReceiveBuffer,
    work: Work,
    origin: Origin,
    /// When the head began, for its deadline; once it is complete, when that was, for the journal.
    begun: Moment,
    tally: Tally,
    report: Option<Box<Report>>,
}

/// What is under way beyond what the protocol knows.
enum Work {
    /// Nothing: a head is awaited, or the response has only to be ended.
    None,
    /// Content is being collected.
    Collect(Box<Incoming>),
    /// The application will answer later.
    Wait { until: Option<Moment>, readiness: Readiness, answer: Box<dyn Later> },
    /// Content is drawn from a stream.
    Draw { until: Option<Moment>, readiness: Readiness, stream: Box<dyn BodyStream> },
    /// Content is read from a file.
    Read(FileRange),
    /// Nothing more will be said.
    End(Farewell),
}

/// Whether the application is to be asked again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// It is.
    Ready,
    /// It has said that it would wake us.
    Pending,
}

/// A request whose content is not complete.
struct Incoming {
    /// The head, which is parsed again in the end: that is cheaper to understand than to store
    /// where in the bytes everything was, and happens only to content that came in pieces.
    head: Vec<u8>,
    content: OwnedContent,
    arrival: Arrival,
}

/// What the journal wants to know of a request, kept until its response has ended.
struct Report {
    method: String,
    target: String,
    version: Version,
    referer: Option<Vec<u8>>,
    user_agent: Option<Vec<u8>>,
}

impl Active {
    pub fn new(origin: Origin) -> Active {
        let (Origin::Accepted(begun) | Origin::Kept(begun)) = origin;
        Active {
            http: Http1::new(),
            input: ReceiveBuffer::default(),
            work: Work::None,
            origin,
            begun,
            tally: Tally::default(),
            report: None,
        }
    }

    /// The phase without this box, if nothing remains for which it is needed.
    pub fn rest(&mut self) -> Option<Phase> {
        match (&self.work, self.http.request(), self.origin) {
            (Work::End(farewell), _, _) => Some(Phase::Finished(*farewell)),
            (Work::None, RequestState::Idle, Origin::Accepted(at)) if self.input.is_empty() => {
                Some(Phase::Fresh(at))
            }
            (Work::None, RequestState::Idle, Origin::Kept(since)) if self.input.is_empty() => {
                Some(Phase::Kept(since))
            }
            _ => None,
        }
    }

    pub fn receive(&mut self, bytes: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) {
        if self.input.is_empty() {
            // The bytes are understood where they lie; only what is left over is copied.
            let used = self.consume(bytes, 0, turn, out);
            if used < bytes.len() {
                self.input.extend(&bytes[used..]);
                self.input.consume(0);
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

    pub fn receive_end(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.http.request() {
            RequestState::Head if self.is_blank() => self.work = Work::End(Farewell::Clean),
            RequestState::Head | RequestState::Body(_) => {
                self.refuse(ProtocolError::IncompleteRequest, turn, out)
            }
            RequestState::Idle | RequestState::Complete => self.http.close_after(CloseReason::PeerEnded),
            RequestState::Refused(_) => {}
        }
    }

    pub fn expire(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.http.request() {
            RequestState::Head if self.is_blank() => self.work = Work::End(Farewell::Clean),
            RequestState::Head => self.refuse(ProtocolError::HeadTimeout, turn, out),
            RequestState::Body(_) => self.refuse(ProtocolError::BodyTimeout, turn, out),
            RequestState::Idle | RequestState::Complete | RequestState::Refused(_) => {
                self.wake();
                self.receive(&[], turn, out);
            }
        }
    }

    /// Whether all that has come of a head is an empty line, or half of one: that is no request.
    fn is_blank(&self) -> bool {
        self.input.as_slice().0.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// The application is to be asked again.
    pub fn wake(&mut self) {
        if let Work::Wait { readiness, .. } | Work::Draw { readiness, .. } = &mut self.work {
            *readiness = Readiness::Ready;
        }
    }

    pub fn abandon(&mut self, turn: &mut Turn<'_>) {
        self.work = Work::End(Farewell::Clean);
        self.report(Outcome::Aborted, turn);
    }

    pub fn wants(&self, is_full: bool) -> Wants {
        let unless_full = |wants| if is_full { Wants::Write } else { wants };
        match (self.http.request(), &self.work) {
            (_, Work::End(farewell)) => unless_full(Wants::Close(*farewell)),
            (RequestState::Head | RequestState::Body(_), _) => unless_full(Wants::Read),
            (
                _,
                Work::Wait { readiness: Readiness::Pending, .. }
                | Work::Draw { readiness: Readiness::Pending, .. },
            ) => Wants::Application,
            (RequestState::Idle | RequestState::Complete | RequestState::Refused(_), _) => {
                unless_full(Wants::Turn)
            }
        }
    }

    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        match (self.http.request(), &self.work) {
            (RequestState::Head, _) => Some(of_head(self.begun, limits)),
            (_, Work::Collect(incoming)) => Some(of_body(incoming.arrival, limits)),
            (_, Work::Wait { until, .. } | Work::Draw { until, .. }) => *until,
            (_, Work::None | Work::Read(_) | Work::End(_)) => None,
        }
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
            let used = match self.http.request() {
                _ if matches!(self.work, Work::End(_)) => return self.discard(rest, input.len()),
                RequestState::Idle => self.begin(rest, 0, turn, out),
                RequestState::Head => self.begin(rest, searched.saturating_sub(at), turn, out),
                RequestState::Body(_) => self.collect(rest, turn, out),
                RequestState::Complete if self.respond(turn, out) => continue,
                RequestState::Complete => return at,
                RequestState::Refused(error) => {
                    self.refuse(error, turn, out);
                    continue;
                }
            };
            at += used;
            let is_stuck = used == 0
                && matches!(
                    self.http.request(),
                    RequestState::Idle | RequestState::Head | RequestState::Body(_)
                );
            if is_stuck {
                return at;
            }
        }
    }

    /// Nothing that comes now is a request. A peer that has sent more than it should is still
    /// sending, perhaps: closing at once would reset the connection under its answer.
    fn discard(&mut self, rest: &[u8], all: usize) -> usize {
        if let (Work::End(farewell @ Farewell::Clean), false) = (&mut self.work, rest.is_empty()) {
            *farewell = Farewell::Linger;
        }
        all
    }

    /// Reads a head, and answers if the request is complete with it. How many bytes were used.
    fn begin(&mut self, rest: &[u8], searched: usize, turn: &mut Turn<'_>, out: &mut OutputQueue) -> usize {
        let is_first_look = self.http.request() == RequestState::Idle;
        if is_first_look {
            let blank = blank_lines(rest);
            if blank > 0 || rest.is_empty() {
                return blank;
            }
            if turn.budget.requests == 0 || out.owed() >= turn.limits.output_bytes_high {
                return 0;
            }
        }
        let mut slots = FieldSlots::new();
        match self.http.read_head(rest, searched, &mut slots, turn.limits) {
            Ok(Some(parsed)) => self.take_request(&parsed, rest, turn, out),
            Ok(None) => {
                if let (true, Origin::Kept(_)) = (is_first_look, self.origin) {
                    self.begun = turn.now.moment;
                }
                0
            }
            // The state says so, too; it is answered where that is seen.
            Err(_) => 0,
        }
    }

    /// The head is complete. If all of the content is at hand, too, it is lent where it lies.
    fn take_request(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        rest: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> usize {
        turn.budget.requests = turn.budget.requests.saturating_sub(1);
        self.begun = turn.now.moment;
        let behind = &rest[parsed.length..];
        let (content_length, content_bytes) = match parsed.framing {
            RequestFraming::None => (None, 0),
            RequestFraming::Length(length) => (Some(length), usize::try_from(length).unwrap_or(usize::MAX)),
            RequestFraming::Chunked => (None, usize::MAX),
        };
        if content_bytes > behind.len() {
            if parsed.expectation == Expectation::Continue && behind.is_empty() {
                self.http.write_continue(out.buffer());
            }
            let arrival = Arrival { begun: self.begun, last_byte: self.begun, bytes: 0 };
            let head = rest[..parsed.length].to_vec();
            self.work = Work::Collect(Box::new(Incoming { head, content: OwnedContent::default(), arrival }));
            return parsed.length;
        }
        let content = match self.http.read_content(behind) {
            Ok(decoded) => decoded.content,
            Err(_) => return parsed.length,
        };
        self.answer(&parsed.head(), RequestContent::borrowed(content), content_length, turn, out);
        parsed.length + content_bytes
    }

    /// Takes content in, and answers when it is complete. How many bytes were used.
    fn collect(&mut self, rest: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> usize {
        let Work::Collect(incoming) = &mut self.work else {
            return 0;
        };
        let mut at = 0;
        while let RequestState::Body(_) = self.http.request() {
            let decoded = match self.http.read_content(&rest[at..]) {
                Ok(decoded) if decoded.consumed > 0 => decoded,
                Ok(_) | Err(_) => break,
            };
            at += decoded.consumed;
            let kept = incoming.content.append(decoded.content, turn.limits.body_memory_bytes_max, turn.disk);
            if let Err(error) = kept {
                turn.journal.failure(None, &error.into());
                self.refuse(ProtocolError::NoPlaceForContent, turn, out);
                return at;
            }
        }
        if at > 0 {
            incoming.arrival.last_byte = turn.now.moment;
            incoming.arrival.bytes += at as u64;
        }
        if self.http.request() == RequestState::Complete {
            self.answer_collected(turn, out);
        }
        at
    }

    /// The content has ended: back to the head that it belongs to.
    fn answer_collected(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        let Work::Collect(mut incoming) = mem::replace(&mut self.work, Work::None) else {
            return;
        };
        let mut slots = FieldSlots::new();
        let parsed = crate::protocol::parse_head(&incoming.head, 0, &mut slots, turn.limits);
        let (Ok(Some(parsed)), Ok(())) = (parsed, incoming.content.rewind()) else {
            return self.fail(
                None,
                &GatewayError::new("the collected request cannot be read back"),
                turn,
                out,
            );
        };
        let content_length = Some(incoming.content.len());
        let content = RequestContent::owned(&mut incoming.content);
        self.answer(&parsed.head(), content, content_length, turn, out);
    }

    /// Calls the application.
    fn answer(
        &mut self,
        head: &RequestHead<'_>,
        content: RequestContent<'_>,
        content_length: Option<u64>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        if turn.journal.wants_exchanges() {
            self.report = Some(Report::new(head));
        }
        self.close_if_draining(turn);
        let mut environ =
            Environ::new(head, content, content_length, turn.client, turn.server, turn.now.moment);
        let gateway = &mut *turn.gateway;
        let mut sink = Sink::new(&mut self.http, out, turn.own_fields, &mut self.tally, turn.now.moment);
        let result = guard(|| gateway.call(&mut environ, StartResponse::new(&mut sink)));
        let result = conclude(result, &mut sink);
        let line =
            RequestLine { method: head.method.as_str(), target: head.raw_target, version: head.version };
        match result {
            Ok(kind) => {
                self.work = Work::after(kind);
                if self.report.is_none() && !matches!(self.work, Work::None) {
                    self.report = Some(Report::new(head));
                }
            }
            Err(error) => self.fail(Some(line), &error, turn, out),
        }
    }

    /// A response whose head is still to be written can say that it is the last one.
    fn close_if_draining(&mut self, turn: &Turn<'_>) {
        if turn.life == Life::Draining {
            self.http.close_after(CloseReason::ShuttingDown);
        }
    }

    /// Gets on with the response; whether the conversation can go on.
    fn respond(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) -> bool {
        let is_full = out.owed() >= turn.limits.output_bytes_high;
        match &mut self.work {
            Work::Wait { readiness: Readiness::Pending, .. }
            | Work::Draw { readiness: Readiness::Pending, .. } => false,
            Work::Draw { .. } | Work::Read(_) if is_full => false,
            Work::Wait { .. } => {
                self.resume(turn, out);
                true
            }
            Work::Draw { .. } => self.draw(turn, out),
            Work::Read(_) => self.read_file(turn, out),
            Work::None | Work::Collect(_) | Work::End(_) => {
                self.end_response(turn, out);
                true
            }
        }
    }

    /// Asks for the answer that was to come later.
    fn resume(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        let Work::Wait { answer, .. } = mem::replace(&mut self.work, Work::None) else {
            return;
        };
        self.close_if_draining(turn);
        let mut sink = Sink::new(&mut self.http, out, turn.own_fields, &mut self.tally, turn.now.moment);
        let result = guard(|| answer.resume(StartResponse::new(&mut sink)));
        match conclude(result, &mut sink) {
            Ok(kind) => self.work = Work::after(kind),
            Err(error) => self.fail(None, &error, turn, out),
        }
    }

    /// Draws pieces while there is room for them; whether the conversation can go on.
    fn draw(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) -> bool {
        let Work::Draw { until, readiness, stream } = &mut self.work else {
            return true;
        };
        while out.owed() < turn.limits.output_bytes_high {
            if !self.http.wants_content() {
                self.work = Work::None;
                return true;
            }
            if turn.budget.pieces == 0 {
                return false;
            }
            turn.budget.pieces -= 1;
            match guard(|| stream.next_piece(turn.now.moment)) {
                Ok(Piece::Data(bytes)) => {
                    write_piece(&mut self.http, out, &mut self.tally, Content::Borrowed(bytes))
                }
                Ok(Piece::Pending { until: moment }) => {
                    (*until, *readiness) = (moment, Readiness::Pending);
                    return false;
                }
                Ok(Piece::End) => {
                    self.work = Work::None;
                    return true;
                }
                Err(error) => {
                    self.fail(None, &error, turn, out);
                    return true;
                }
            }
        }
        false
    }

    /// Reads the next part of a file; whether the conversation can go on.
    fn read_file(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) -> bool {
        let Work::Read(range) = &mut self.work else {
            return true;
        };
        if range.length == 0 || !self.http.wants_content() {
            self.work = Work::None;
            return true;
        }
        let wanted = range.length.min(FILE_PIECE_BYTES);
        // The length was declared, so there is no framing around a piece: it can be read right to
        // where it leaves from.
        debug_assert!(matches!(self.http.response(), ResponseState::Body(BodyEncoder::Length(_))));
        match turn.disk.read_at(&range.file, range.offset, wanted as usize, out.buffer()) {
            Ok(0) => {
                let missing = range.length;
                self.fail(None, &InvalidResponse::TooShort { missing }.into(), turn, out);
            }
            Ok(read) => {
                range.offset += read as u64;
                range.length -= read as u64;
                self.tally.content_bytes += self.http.open_piece(out.buffer(), read as u64);
            }
            Err(error) => self.fail(None, &error.into(), turn, out),
        }
        true
    }

    /// All content was handed over.
    fn end_response(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.http.end_response(out.buffer()) {
            Ok(()) => self.end_exchange(turn),
            Err(invalid) => self.fail(None, &invalid.into(), turn, out),
        }
    }

    /// The application has failed: 500, or a broken connection if the head is gone.
    fn fail(
        &mut self,
        line: Option<RequestLine<'_>>,
        error: &GatewayError,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let known = self.report.as_ref().map(|report| report.line());
        turn.journal.failure(line.or(known), error);
        self.http.abort();
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        if !matches!(self.http.response(), ResponseState::Aborted(_)) {
            self.tally.status = status.code();
        }
        let content = "500 Internal Server Error: the application failed.\n";
        self.http.write_error(out.buffer(), turn.own_fields, status, content);
        self.end_exchange(turn);
    }

    /// The peer has broken a rule, or a limit: it is told so, and nothing more is read as a request.
    fn refuse(&mut self, error: ProtocolError, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        self.http.refuse(error);
        self.tally.status = error.status().code();
        self.http.write_error(out.buffer(), turn.own_fields, error.status(), &error.content());
        self.work = Work::End(Farewell::Linger);
        self.report(Outcome::Complete, turn);
    }

    /// The response has ended, well or not: on to the next request, or to the end.
    fn end_exchange(&mut self, turn: &mut Turn<'_>) {
        let outcome = match self.http.response() {
            ResponseState::Aborted(_) => Outcome::Aborted,
            _ => Outcome::Complete,
        };
        self.report(outcome, turn);
        self.tally = Tally::default();
        self.work = match (self.http.response(), self.http.persistence()) {
            (ResponseState::Aborted(BodyEncoder::UntilClose), _) => Work::End(Farewell::Reset),
            (ResponseState::Aborted(_), _) => Work::End(Farewell::Clean),
            (_, Persistence::Close(reason)) => Work::End(farewell(reason)),
            (_, Persistence::KeepAlive) => {
                self.http.next_exchange();
                self.origin = Origin::Kept(turn.now.moment);
                Work::None
            }
        };
    }

    fn report(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        let report = self.report.take();
        if !turn.journal.wants_exchanges() || (report.is_none() && self.tally.status == 0) {
            return;
        }
        turn.journal.exchange(&ExchangeRecord {
            peer: turn.client.peer,
            request: report.as_ref().map(|report| report.line()),
            status: self.tally.status,
            content_bytes: self.tally.content_bytes,
            referer: report.as_ref().and_then(|report| report.referer.as_deref()),
            user_agent: report.as_ref().and_then(|report| report.user_agent.as_deref()),
            duration: turn.now.moment.since(self.begun),
            unix_seconds: turn.now.unix_seconds,
            outcome,
        });
    }
}

impl Work {
    fn after(kind: BodyKind) -> Work {
        match kind {
            BodyKind::Complete => Work::None,
            BodyKind::Stream(stream) => Work::Draw { until: None, readiness: Readiness::Ready, stream },
            BodyKind::File(range) => Work::Read(range),
            BodyKind::Later { until, answer } => Work::Wait { until, readiness: Readiness::Pending, answer },
        }
    }
}

impl Report {
    fn new(head: &RequestHead<'_>) -> Box<Report> {
        Box::new(Report {
            method: head.method.as_str().to_string(),
            target: head.raw_target.to_string(),
            version: head.version,
            referer: head.fields.get("Referer").map(<[u8]>::to_vec),
            user_agent: head.fields.get("User-Agent").map(<[u8]>::to_vec),
        })
    }

    fn line(&self) -> RequestLine<'_> {
        RequestLine { method: &self.method, target: &self.target, version: self.version }
    }
}

/// How to end a connection, by the reason for it. A client that has asked for the end, or whose
/// version knows nothing else, sends no more; the others may be sending their next request already.
fn farewell(reason: CloseReason) -> Farewell {
    match reason {
        CloseReason::ClientAsked
        | CloseReason::Http10
        | CloseReason::PeerEnded
        | CloseReason::EndsContent
        | CloseReason::Idle => Farewell::Clean,
        CloseReason::ApplicationAsked
        | CloseReason::Refused
        | CloseReason::Failed
        | CloseReason::ShuttingDown => Farewell::Linger,
    }
}

/// Empty lines before a request line are skipped (RFC 9112 §2.2): how many bytes they are.
fn blank_lines(input: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &input[at..] {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

/// Runs application code; a panic becomes an error. What the application leaves behind half done
/// is its own: the server's part is only touched through checked calls.
fn guard<T>(call: impl FnOnce() -> Result<T, GatewayError>) -> Result<T, GatewayError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> GatewayError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Misuse::Panicked(text.unwrap_or("no message").to_string()).into()
}

/// What the call has led to. After an error the response is taken back, if that is still possible.
fn conclude(result: Result<Body, GatewayError>, sink: &mut Sink<'_>) -> Result<BodyKind, GatewayError> {
    let concluded = result.and_then(|body| Ok(sink.accept(body)?));
    if concluded.is_err() {
        // Refused once content has followed; then the response is aborted instead.
        let _ = sink.retract();
    }
    concluded
}
