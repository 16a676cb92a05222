//! The way of a response out of an exchange: the call of the application, the delivery of what outlasts the call, and
//! the end.

use super::{Exchange, Progress, Stage, Waiting, environ_of};
use crate::conversation::delivery::{Delivery, DeliveryStep};
use crate::conversation::foreign::guard;
use crate::conversation::intake::{Intake, PeerSide};
use crate::conversation::outlet::Outlet;
use crate::conversation::output_queue::OutputQueue;
use crate::conversation::record::{Outcome, RequestLine};
use crate::conversation::relay::{Relay, Sender};
use crate::conversation::sink::{Concluded, Sink};
use crate::conversation::turn::Turn;
use crate::conversation::wants::Farewell;
use crate::gateway::{Remainder, RequestContent, StartResponse};
use crate::message::RequestHead;
use crate::protocol::{BodyEncoder, CloseReason, Http1, Persistence, ProtocolError, ResponseState};

impl Exchange {
    /// Calls the application, and ends the exchange if the call completes the answer, as it nearly always does.
    /// Content that is still coming goes through `relay`.
    #[inline(always)]
    pub(super) fn call(
        &mut self,
        head: &RequestHead<'_>,
        content: RequestContent<'_>,
        content_length: Option<u64>,
        relay: Option<Box<Relay>>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let mut environ = environ_of(head, content, content_length, &turn.client, turn.context);
        let wanted = match turn.journal.wanted() {
            Some(wanted) => self.record.note_request(head, &environ, wanted),
            None => None,
        };
        let outlet = Outlet { http: &mut self.http, record: &mut self.record, out };
        let mut sink = Sink::new(outlet, wanted, turn.context, turn.wire);
        let result = guard(|| turn.gateway.call(&mut environ, StartResponse::new(&mut sink)));
        environ.end();
        match sink.conclude(result) {
            Concluded::Complete => {
                if relay.is_some() {
                    self.http.decline_content();
                }
                self.end_response(Some(head), turn, out);
            }
            Concluded::Remains(remainder) => self.begin_delivery(head, remainder, relay, turn, out),
            Concluded::Failed(error) => self.fail(Some(RequestLine::of(head)), error, turn, out),
        }
    }

    /// Calls the application while the content is still coming.
    pub(super) fn call_as_it_comes(
        &mut self,
        head: &RequestHead<'_>,
        content_length: Option<u64>,
        waits_to_be_asked: bool,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let sender = if waits_to_be_asked { Sender::Waits } else { Sender::Sends };
        let (relay, incoming) = Relay::new(sender, turn);
        // An application that does not take its half in the call never will: it is dropped with this.
        let mut incoming = Some(incoming);
        let content = RequestContent::incoming(&mut incoming);
        self.call(head, content, content_length, Some(Box::new(relay)), turn, out);
    }

    /// Begins the delivery of a response that outlasts the call.
    #[inline(never)]
    fn begin_delivery(
        &mut self,
        head: &RequestHead<'_>,
        remainder: Remainder,
        relay: Option<Box<Relay>>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        self.record.note_line(RequestLine::of(head));
        let outlet = Outlet { http: &mut self.http, record: &mut self.record, out };
        let delivery = Delivery::of(remainder, outlet, turn);
        self.stage = Stage::Delivery { delivery, relay, is_told_of_end: false };
    }

    /// Passes on content that has come, and gets on with the response.
    #[inline(never)]
    pub(super) fn deliver(&mut self, rest: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> Progress {
        let Stage::Delivery { delivery, relay, .. } = &mut self.stage else {
            return Progress::Blocked;
        };
        match pass_on(relay, rest, self.peer_side, &mut self.http, turn) {
            // A client that waits for 100 (Continue) has it here, unless the answer has begun, or nobody wants the
            // content.
            Ok(0) => {
                if relay.as_ref().is_some_and(|relay| relay.must_ask(self.http.response())) {
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
            Ok(DeliveryStep::Blocked) => {
                let is_pending = delivery.asking().is_pending();
                if let Some(relay) = relay {
                    // Asked first, whatever else is the case: if there is no room, the reader is to wake us.
                    let has_room = relay.claim_room(turn.output_bytes_high());
                    let is_waiting = has_room && is_pending && !relay.is_held_back(self.http.response());
                    relay.note_waiting(is_waiting, turn.context.now.moment);
                }
                return Progress::Blocked;
            }
            Ok(DeliveryStep::Consumed(bytes)) => return Progress::Consumed(bytes),
            Ok(DeliveryStep::Next(next)) => *delivery = next,
            Ok(DeliveryStep::Again) => {}
            Ok(DeliveryStep::Complete) => {
                self.stage = Stage::Intake(Intake::Head);
                self.http.decline_content();
                self.end_response(None, turn, out);
            }
            Err(error) => {
                self.stage = Stage::Intake(Intake::Head);
                self.http.decline_content();
                self.fail(None, error, turn, out);
            }
        }
        Progress::Consumed(0)
    }

    /// Ends a response all of whose content was handed over. A failure is told of with the request line of this head, or
    /// with that which was noted.
    #[inline(always)]
    fn end_response(&mut self, head: Option<&RequestHead<'_>>, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.http.end_response(out.buffer()) {
            Ok(()) => self.end(turn),
            Err(invalid) => self.fail(head.map(RequestLine::of), invalid.into(), turn, out),
        }
    }

    /// Ends the exchange, complete or not: the next request follows, or the connection ends.
    #[inline(always)]
    pub(super) fn end(&mut self, turn: &mut Turn<'_>) {
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
                self.waiting = Waiting::for_next(turn.context.now.moment);
                return;
            }
        };
    }
}

/// Passes on content that has come, and returns how many bytes of input were used. `relay` is gone once the
/// application wants no more.
fn pass_on(
    relay: &mut Option<Box<Relay>>,
    input: &[u8],
    peer_side: PeerSide,
    http: &mut Http1,
    turn: &Turn<'_>,
) -> Result<usize, ProtocolError> {
    let Some(content) = relay else {
        return Ok(0);
    };
    if content.is_unwanted() {
        http.decline_content();
        *relay = None;
        return Ok(0);
    }
    content.take(input, peer_side, http, turn)
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
