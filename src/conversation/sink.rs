//! The server's side of `start_response`: from the application's calls to bytes in the queue.

use std::mem;

use super::context::{ServerContext, Shutdown};
use super::foreign::Foreign;
use super::means::Wire;
use super::outlet::Outlet;
use super::output_queue::OutputQueue;
use super::record::Wanted;
use crate::gateway::{Body, Content, GatewayError, Misuse, Remainder, ResponseSink};
use crate::message::{ContentLength, FieldBlock, InvalidResponse};
use crate::now::Moment;
use crate::protocol::{BodyEncoder, CloseReason, Http1, ResponseEncoder, ResponseState, Savepoint};

/// Takes one response, from its status line to the content that is at hand.
pub(super) struct Sink<'a> {
    outlet: Outlet<'a>,
    /// The parts that an access log wants to know; none if there is no log.
    wanted: Option<&'a Wanted>,
    context: &'a ServerContext,
    wire: &'a dyn Wire,
    written: Written,
}

/// The result of the call of an application.
pub(super) enum Concluded {
    /// Head and content were handed over in the call, as they nearly always are.
    Complete,
    /// The response is not complete; this remains to be done.
    Remains(Remainder),
    /// The application has failed, or misused the interface.
    Failed(GatewayError),
}

/// The part of the response that was written.
enum Written {
    /// No byte was written.
    Nothing,
    /// A part of the head was written.
    Head(ResponseEncoder),
    /// A part of an invalid head was written. It stands from `start` on, and will be taken back.
    Misused { start: usize, misuse: Misuse },
    /// The head was written without content: it can still be taken back.
    WholeHead {
        /// The offset in the output where the head begins.
        start: usize,
        /// The state that the end of the head has changed, as it was before.
        before: Savepoint,
    },
    /// Head and content were written; or the head was sent.
    Content,
}

impl<'a> Sink<'a> {
    #[inline]
    pub fn new(
        outlet: Outlet<'a>,
        wanted: Option<&'a Wanted>,
        context: &'a ServerContext,
        wire: &'a dyn Wire,
    ) -> Sink<'a> {
        Sink { outlet, wanted, context, wire, written: Written::Nothing }
    }

    /// Concludes the call of the application. After an error the response was taken back, if that was still
    /// possible.
    #[inline(always)]
    pub fn conclude(&mut self, result: Result<Body, GatewayError>) -> Concluded {
        let is_written = matches!(self.written, Written::WholeHead { .. } | Written::Content);
        if is_written && matches!(&result, Ok(body) if body.is_complete()) {
            // There is nothing to drop, but finding that out is a call.
            mem::forget(result);
            return Concluded::Complete;
        }
        self.conclude_unusual(result)
    }

    fn conclude_unusual(&mut self, result: Result<Body, GatewayError>) -> Concluded {
        match result.and_then(|body| Ok(self.accept(body)?)) {
            Ok(remainder) => Concluded::Remains(remainder),
            Err(error) => {
                // Refused once content has followed; then the response is aborted instead.
                let _ = self.retract();
                Concluded::Failed(error)
            }
        }
    }

    fn begin_other(&mut self, code: u16, reason: Option<&[u8]>) {
        let (out, own_fields) = (self.outlet.out.buffer(), &self.context.own_fields);
        let start = out.len();
        self.written = match ResponseEncoder::begin(out, own_fields, code, reason) {
            Ok(head) => Written::Head(head),
            Err(invalid) => Written::Misused { start, misuse: invalid.into() },
        };
    }

    /// Adds something to the head. An error in it is reported at the end of the head.
    #[inline(always)]
    fn write_head(
        &mut self,
        write: impl FnOnce(&mut ResponseEncoder, &mut Vec<u8>) -> Result<(), InvalidResponse>,
    ) {
        if let Written::Head(head) = &mut self.written
            && let Err(invalid) = write(head, self.outlet.out.buffer())
        {
            self.written = Written::Misused { start: head.start(), misuse: invalid.into() };
        }
    }

    /// Ends the head by what `end` writes, and keeps the way back.
    fn end_by(
        &mut self,
        end: impl FnOnce(&mut Http1, &ResponseEncoder, &mut Vec<u8>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        let head = match &self.written {
            Written::Head(head) => head,
            Written::Misused { misuse, .. } => return Err(misuse.clone()),
            Written::Nothing | Written::WholeHead { .. } | Written::Content => {
                return Err(Misuse::NotStarted);
            }
        };
        let before = self.outlet.http.savepoint();
        end(self.outlet.http, head, self.outlet.out.buffer())?;
        self.outlet.record.status = head.status().code();
        if let Some(wanted) = self.wanted {
            self.outlet.record.note_response(&self.outlet.out.buffer()[head.start()..], wanted);
        }
        self.written = Written::WholeHead { start: head.start(), before };
        Ok(())
    }

    /// Checks that what an application has left to be done matches what it has written of its response.
    fn accept(&self, body: Body) -> Result<Remainder, Misuse> {
        let remainder = body.into_remainder().ok_or(Misuse::NotStarted)?;
        let has_head = matches!(self.written, Written::WholeHead { .. });
        let is_of_this_call = match &remainder {
            Remainder::Later { .. } => matches!(self.written, Written::Nothing),
            Remainder::Tunnel(_) => has_head,
            Remainder::Stream(_) => has_head || matches!(self.written, Written::Content),
            Remainder::File(range) => has_head && self.declares(range.length),
        };
        if is_of_this_call {
            return Ok(remainder);
        }
        // A body kept from another call: the only way to come here.
        drop(Foreign::new(remainder));
        Err(Misuse::NotStarted)
    }

    /// Whether the head that has ended declares this length, or that there will be no content at all.
    fn declares(&self, bytes: u64) -> bool {
        match self.outlet.http.response() {
            ResponseState::Body(BodyEncoder::Length(length)) => length == bytes,
            ResponseState::Body(BodyEncoder::Discard) => true,
            _ => false,
        }
    }
}

impl ResponseSink for Sink<'_> {
    fn begin(&mut self, code: u16, reason: Option<&[u8]>) {
        let (out, own_fields) = (self.outlet.out.buffer(), &self.context.own_fields);
        match (code, reason) {
            (200, None) => self.written = Written::Head(ResponseEncoder::begin_ok(out, own_fields)),
            _ => self.begin_other(code, reason),
        }
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.write_head(|head, out| head.field(out, name, value));
    }

    fn fields(&mut self, block: &FieldBlock) {
        self.write_head(|head, out| head.fields(out, block));
    }

    #[inline]
    fn end_head(&mut self, length: ContentLength) -> Result<(), Misuse> {
        let is_shutting_down = self.context.shutdown != Shutdown::No;
        self.end_by(|http, head, out| {
            if is_shutting_down {
                http.close_after(CloseReason::ShuttingDown);
            }
            Ok(http.end_head(head, out, length)?)
        })
    }

    fn content(&mut self, content: Content<'_>) -> Result<(), Misuse> {
        match &self.written {
            Written::Nothing | Written::Head(_) | Written::Misused { .. } => return Err(Misuse::NotStarted),
            Written::WholeHead { .. } | Written::Content => {}
        }
        if !content.as_slice().is_empty() {
            self.written = Written::Content;
            self.outlet.write(content);
        }
        Ok(())
    }

    /// Sends a complete response in one step, if nobody looks at the head in between and nothing is left
    /// open.
    fn send(&mut self, content: &[u8]) -> bool {
        let (Written::Head(head), None, Shutdown::No) = (&self.written, self.wanted, self.context.shutdown)
        else {
            return false;
        };
        let is_sent = !content.is_empty()
            && OutputQueue::copies(content.len())
            && self.outlet.http.write_rest(head, self.outlet.out.buffer(), content);
        if is_sent {
            self.outlet.record.status = head.status().code();
            self.outlet.record.content_bytes = content.len() as u64;
            self.written = Written::Content;
        }
        is_sent
    }

    fn retract(&mut self) -> Result<(), Misuse> {
        match &self.written {
            Written::Nothing => {}
            Written::Head(head) => self.outlet.out.buffer().truncate(head.start()),
            Written::Misused { start, .. } => self.outlet.out.buffer().truncate(*start),
            Written::WholeHead { start, before } => {
                self.outlet.out.buffer().truncate(*start);
                self.outlet.http.rollback(*before);
                self.outlet.record.forget_response();
            }
            Written::Content => return Err(Misuse::AlreadySent),
        }
        self.written = Written::Nothing;
        Ok(())
    }

    fn begin_upgrade(&mut self, protocol: &str) {
        let (out, own_fields) = (self.outlet.out.buffer(), &self.context.own_fields);
        let start = out.len();
        self.written = match ResponseEncoder::begin_upgrade(out, own_fields, protocol) {
            Ok(head) => Written::Head(head),
            Err(invalid) => Written::Misused { start, misuse: invalid.into() },
        };
    }

    fn end_upgrade(&mut self) -> Result<(), Misuse> {
        self.end_by(|http, _, out| match http.switch_protocols(out) {
            true => Ok(()),
            false => Err(Misuse::NoUpgrade),
        })
    }

    fn interim(&mut self, code: u16, fields: &[(&str, &[u8])]) -> Result<(), Misuse> {
        match &self.written {
            Written::Nothing => Ok(self.outlet.http.write_interim(self.outlet.out.buffer(), code, fields)?),
            Written::Head(_) | Written::Misused { .. } | Written::WholeHead { .. } | Written::Content => {
                Err(Misuse::AlreadySent)
            }
        }
    }

    fn flush(&mut self) {
        match &self.written {
            // Half a head stays where it is: its beginning is known by its place.
            Written::Head(_) | Written::Misused { .. } => return,
            Written::Nothing | Written::Content => {}
            Written::WholeHead { .. } => self.written = Written::Content,
        }
        self.wire.flush(self.outlet.out);
    }

    fn now(&self) -> Moment {
        self.context.now.moment
    }
}
