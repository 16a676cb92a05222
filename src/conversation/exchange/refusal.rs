//! The end of an exchange that goes wrong: by the peer's fault, the application's, or the clock's.

use std::mem;

use super::{Exchange, Progress, Stage, environ_of};
use crate::conversation::foreign::Foreign;
use crate::conversation::intake::Intake;
use crate::conversation::output_queue::OutputQueue;
use crate::conversation::record::{Outcome, RequestLine};
use crate::conversation::turn::Turn;
use crate::conversation::wants::Farewell;
use crate::gateway::{GatewayError, RequestContent};
use crate::message::{FieldBlock, StatusCode};
use crate::protocol::{
    FieldSlots, ProtocolError, RequestState, ResponseState, parse_head, parse_request_line,
};

impl Exchange {
    /// Refuses a peer that has broken a rule or exceeded a limit: it is told so, and nothing more is read as
    /// a request.
    #[inline(never)]
    pub(in crate::conversation) fn refuse(
        &mut self,
        error: ProtocolError,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        if self.http.request() == RequestState::Idle {
            self.record.begun = turn.context.now.moment;
        }
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
    pub(super) fn refuse_head(
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

    /// Breaks off content while the application answers. If nothing of the answer has been sent, the client
    /// is told why.
    #[inline(never)]
    pub(super) fn break_off(&mut self, error: ProtocolError, turn: &mut Turn<'_>, out: &mut OutputQueue) {
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

    /// Handles a failed application: 500, or a broken connection if the head has been sent.
    #[inline(never)]
    pub(super) fn fail(
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
        let Some(wanted) = turn.journal.wanted().filter(|_| !written.is_empty()) else {
            return;
        };
        self.record.note_for_counts();
        if let Some(wanted) = wanted.details() {
            self.record.note_response(written, wanted);
        }
    }

    /// Records what an access log wants to know of a refused request: everything, if its head can be read;
    /// else its request line, if that can.
    pub(super) fn record_head(&mut self, head: &[u8], turn: &mut Turn<'_>) {
        let Some(wanted) = turn.journal.wanted() else {
            return;
        };
        self.record.note_for_counts();
        if wanted.details().is_none() {
            return;
        }
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
