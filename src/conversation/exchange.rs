//! One exchange, as far as it owns nothing: reading the head, calling the application, ending the response.
//!
//! Nearly all exchanges are over when the call of the application is: they begin and end in
//! [`Conversation::answer_at_once`](super::Conversation), on the stack, and leave nothing behind. What lasts
//! longer moves into an [`Active`](super::active::Active), together with what it owns.

use std::mem;

use super::Farewell;
use super::foreign::guard;
use super::journal::{ExchangeRecord, Journal, Outcome};
use super::output_queue::OutputQueue;
use super::report::Report;
use super::sink::{Notes, Sink, Tally};
use super::turn::Turn;
use crate::gateway::{
    Admission, Body, BodyKind, Environ, GatewayError, RequestContent, ResponseSink, StartResponse,
};
use crate::message::RequestHead;
use crate::now::Moment;
use crate::protocol::{
    BodyEncoder, CloseReason, Http1, ParsedHead, Persistence, RequestFraming, ResponseState,
};

/// What is known of an exchange.
pub(super) struct Exchange {
    pub http: Http1,
    pub tally: Tally,
    /// While a head is read, when it began (for its deadline); from its end on, when that was; and where
    /// content was collected, when that was complete (both for the journal).
    pub begun: Moment,
}

/// What follows an exchange.
pub(super) enum Next {
    /// Another one may.
    Exchange,
    /// The end of the connection.
    End(Farewell),
}

/// Content that has come with its head.
pub(super) struct ContentAtHand<'i> {
    pub bytes: &'i [u8],
    /// As Content-Length says; none where the request has no content.
    pub length: Option<u64>,
}

impl Exchange {
    /// One that has not begun, or begins now.
    #[inline]
    pub fn new(begun: Moment) -> Exchange {
        Exchange { http: Http1::new(), tally: Tally::default(), begun }
    }

    /// Takes up the content of the request whose head was read, if all of it is `behind` that. Chunked content
    /// is not: it needs a place to be put together.
    #[inline]
    pub fn take_content<'i>(
        &mut self,
        parsed: &ParsedHead<'_, '_>,
        behind: &'i [u8],
    ) -> Option<ContentAtHand<'i>> {
        match parsed.meaning.framing {
            RequestFraming::None => Some(ContentAtHand { bytes: &[], length: None }),
            RequestFraming::Length(length) => {
                let bytes = behind.get(..usize::try_from(length).ok()?)?;
                // It cannot fail: the length was admitted with the head, and all of it is here.
                self.http.read_content(bytes).ok()?;
                Some(ContentAtHand { bytes, length: Some(length) })
            }
            RequestFraming::Chunked => None,
        }
    }

    /// Asks the application whether it wants the content that is still to come.
    #[inline]
    pub fn admit(
        &self,
        head: &RequestHead<'_>,
        content_length: Option<u64>,
        turn: &Turn<'_>,
    ) -> Result<Admission, GatewayError> {
        let (around, content) = (turn.around, RequestContent::borrowed(&[]));
        let environ =
            Environ::new(head, content, content_length, &turn.client, &around.server, around.now.moment);
        guard(|| Ok(turn.gateway.admit(&environ)))
    }

    /// Calls the application. None where head and content were handed over in the call, as nearly always; else what
    /// is still to come, or the error, after which the response was taken back if that was still possible.
    #[inline(always)]
    pub fn answer(
        &mut self,
        head: &RequestHead<'_>,
        content: RequestContent<'_>,
        content_length: Option<u64>,
        report: &mut Option<Box<Report>>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> Option<Result<BodyKind, GatewayError>> {
        let around = turn.around;
        let mut environ =
            Environ::new(head, content, content_length, &turn.client, &around.server, around.now.moment);
        if let Some(wanted) = turn.journal.wanted() {
            *report = Some(Report::of_request(head, &environ, wanted));
        }
        let notes = notes(report, turn.journal);
        let gateway = &mut *turn.gateway;
        let mut sink = Sink::new(self, out, notes, around, turn.wire);
        let result = guard(|| gateway.call(&mut environ, StartResponse::new(&mut sink)));
        conclude(result, &mut sink)
    }

    /// Ends the response; None if that went well.
    #[inline(always)]
    pub fn end_response(&mut self, out: &mut OutputQueue) -> Option<Result<BodyKind, GatewayError>> {
        let invalid = self.http.end_response(out.buffer()).err()?;
        Some(Err(invalid.into()))
    }

    /// The response has ended, well or not: what comes now. Makes ready for the next request if one may
    /// follow.
    #[inline]
    pub fn end(&mut self) -> Next {
        match (self.http.response(), self.http.persistence()) {
            (ResponseState::Aborted(BodyEncoder::UntilClose), _) => Next::End(Farewell::Reset),
            (ResponseState::Aborted(_), _) => Next::End(Farewell::Clean),
            (_, Persistence::Close(reason)) => Next::End(farewell(reason)),
            (_, Persistence::KeepAlive) => {
                self.http.next_exchange();
                self.tally = Tally::default();
                Next::Exchange
            }
        }
    }

    /// Tells the journal.
    pub fn report(&self, report: Option<Box<Report>>, outcome: Outcome, turn: &mut Turn<'_>) {
        if turn.journal.wanted().is_none() || (report.is_none() && self.tally.status == 0) {
            return;
        }
        turn.journal.exchange(&ExchangeRecord {
            peer: turn.client.peer.address(),
            request: report.as_ref().and_then(|report| report.line()),
            status: self.tally.status,
            content_bytes: self.tally.content_bytes,
            request_fields: report.as_ref().map_or(&[], |report| &report.request_fields),
            response_fields: report.as_ref().map_or(&[], |report| &report.response_fields),
            variables: report.as_ref().map_or(&[], |report| &report.variables),
            begun: self.begun,
            ended: turn.around.now,
            outcome,
        });
    }
}

/// Where a response is to be noted, if anywhere.
#[inline]
pub(super) fn notes<'a>(report: &'a mut Option<Box<Report>>, journal: &'a dyn Journal) -> Option<Notes<'a>> {
    let report = report.as_deref_mut()?;
    Some(Notes { report, wanted: journal.wanted()? })
}

/// What the call has led to, as [`Exchange::answer`] says it.
#[inline(always)]
pub(super) fn conclude(
    result: Result<Body, GatewayError>,
    sink: &mut Sink<'_>,
) -> Option<Result<BodyKind, GatewayError>> {
    if matches!(&result, Ok(body) if sink.completes(body)) {
        // There is nothing to drop, but finding that out is a call.
        mem::forget(result);
        return None;
    }
    Some(conclude_unusual(result, sink))
}

#[inline(never)]
fn conclude_unusual(
    result: Result<Body, GatewayError>,
    sink: &mut Sink<'_>,
) -> Result<BodyKind, GatewayError> {
    let concluded = result.and_then(|body| Ok(sink.accept(body)?));
    if concluded.is_err() {
        // Refused once content has followed; then the response is aborted instead.
        let _ = sink.retract();
    }
    concluded
}

/// How to end a connection, by the reason for it. A client that has asked for the end, or whose
/// version knows nothing else, sends no more; the others may be sending their next request already.
fn farewell(reason: CloseReason) -> Farewell {
    match reason {
        CloseReason::ClientAsked | CloseReason::Http10 | CloseReason::EndsContent => Farewell::Clean,
        CloseReason::ApplicationAsked
        | CloseReason::ContentUnread
        | CloseReason::Refused
        | CloseReason::Failed
        | CloseReason::ShuttingDown => Farewell::Linger,
    }
}
