//! The server's side of `start_response`: from the application's calls to bytes in the queue.

use super::exchange::Exchange;
use super::foreign::Foreign;
use super::journal::Wanted;
use super::output_queue::OutputQueue;
use super::report::Report;
use super::turn::{Life, Surroundings, Wire};
use crate::gateway::{Body, BodyKind, Content, Misuse, ResponseSink};
use crate::message::{ContentLength, FieldBlock, InvalidResponse};
use crate::now::Moment;
use crate::protocol::{BodyEncoder, CloseReason, HeadOpen, ResponseEncoder, ResponseState};

/// What is counted of a response, for the journal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// The status code; 0 before there is one.
    pub status: u16,
    /// Bytes of content that were queued; of a file that is sent, those that have left.
    pub content_bytes: u64,
}

/// Where the fields of a response are noted, for the journal.
pub(super) struct Notes<'a> {
    pub report: &'a mut Report,
    pub wanted: &'a Wanted,
}

/// Takes one response, from its status line to the content that is at hand.
pub(super) struct Sink<'a> {
    exchange: &'a mut Exchange,
    out: &'a mut OutputQueue,
    /// None where nobody wants to know.
    notes: Option<Notes<'a>>,
    around: &'a Surroundings,
    wire: &'a dyn Wire,
    stage: Stage,
}

/// How far the response has come.
enum Stage {
    /// Nothing was written.
    Unbegun,
    /// The head is being written.
    Head(ResponseEncoder),
    /// It is wrong. What was written of it, from `start` on, will be taken back.
    Misused { start: usize, misuse: Misuse },
    /// The head has ended; no content has followed, so it can still be taken back.
    Ended {
        /// Where the head begins in the output.
        start: usize,
        /// What the end of the head has changed, as it was before.
        before: HeadOpen,
    },
    /// Content has followed, or the head has been sent.
    Content,
}

impl<'a> Sink<'a> {
    #[inline]
    pub fn new(
        exchange: &'a mut Exchange,
        out: &'a mut OutputQueue,
        notes: Option<Notes<'a>>,
        around: &'a Surroundings,
        wire: &'a dyn Wire,
    ) -> Sink<'a> {
        Sink { exchange, out, notes, around, wire, stage: Stage::Unbegun }
    }

    /// Whether all that there is to the body was handed over in the call, as nearly always.
    #[inline]
    pub fn completes(&self, body: &Body) -> bool {
        body.is_complete() && matches!(self.stage, Stage::Ended { .. } | Stage::Content)
    }

    #[inline(never)]
    fn begin_other(&mut self, code: u16, reason: Option<&[u8]>) {
        let (out, own_fields) = (self.out.buffer(), &self.around.own_fields);
        let start = out.len();
        self.stage = match ResponseEncoder::begin(out, own_fields, code, reason) {
            Ok(head) => Stage::Head(head),
            Err(invalid) => Stage::Misused { start, misuse: invalid.into() },
        };
    }

    /// Lets the head take something; what is wrong with that is said at its end.
    #[inline(always)]
    fn write_head(
        &mut self,
        write: impl FnOnce(&mut ResponseEncoder, &mut Vec<u8>) -> Result<(), InvalidResponse>,
    ) {
        if let Stage::Head(head) = &mut self.stage
            && let Err(invalid) = write(head, self.out.buffer())
        {
            self.stage = Stage::Misused { start: head.start(), misuse: invalid.into() };
        }
    }

    /// Whether the body that the application returned goes with what it did.
    pub fn accept(&self, body: Body) -> Result<BodyKind, Misuse> {
        let kind = body.into_kind();
        match (&kind, &self.stage) {
            (BodyKind::Later { .. }, Stage::Unbegun) => Ok(kind),
            (BodyKind::Complete | BodyKind::Stream(_), Stage::Ended { .. } | Stage::Content) => Ok(kind),
            (BodyKind::File(range), Stage::Ended { .. }) if self.declares(range.length) => Ok(kind),
            // A body kept from another call: the only way to come here.
            _ => {
                drop(Foreign::new(kind));
                Err(Misuse::NotStarted)
            }
        }
    }

    /// Whether the head that has ended announces so many bytes, or that there will be none at all.
    fn declares(&self, bytes: u64) -> bool {
        match self.exchange.http.response() {
            ResponseState::Body(BodyEncoder::Length(length)) => length == bytes,
            ResponseState::Body(BodyEncoder::Discard) => true,
            _ => false,
        }
    }
}

impl ResponseSink for Sink<'_> {
    fn begin(&mut self, code: u16, reason: Option<&[u8]>) {
        let (out, own_fields) = (self.out.buffer(), &self.around.own_fields);
        match (code, reason) {
            (200, None) => self.stage = Stage::Head(ResponseEncoder::begin_ok(out, own_fields)),
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
        let head = match &self.stage {
            Stage::Head(head) => head,
            Stage::Misused { misuse, .. } => return Err(misuse.clone()),
            Stage::Unbegun | Stage::Ended { .. } | Stage::Content => return Err(Misuse::NotStarted),
        };
        let http = &mut self.exchange.http;
        let before = http.head_open();
        if self.around.life != Life::Running {
            http.close_after(CloseReason::ShuttingDown);
        }
        http.end_head(head, self.out.buffer(), length)?;
        self.exchange.tally.status = head.status().code();
        if let Some(notes) = &mut self.notes {
            notes.report.note_response(&self.out.buffer()[head.start()..], notes.wanted);
        }
        self.stage = Stage::Ended { start: head.start(), before };
        Ok(())
    }

    fn content(&mut self, content: Content<'_>) -> Result<(), Misuse> {
        match &self.stage {
            Stage::Unbegun | Stage::Head(_) | Stage::Misused { .. } => return Err(Misuse::NotStarted),
            Stage::Ended { .. } | Stage::Content => {}
        }
        if !content.as_slice().is_empty() {
            self.stage = Stage::Content;
            write_piece(self.exchange, self.out, content);
        }
        Ok(())
    }

    /// Where nobody looks at the head in between, and nothing is left open: 150 instructions less.
    fn send(&mut self, content: &[u8]) -> bool {
        let (Stage::Head(head), None, Life::Running) = (&self.stage, &self.notes, self.around.life) else {
            return false;
        };
        let is_sent = !content.is_empty()
            && OutputQueue::copies(content.len())
            && self.exchange.http.write_rest(head, self.out.buffer(), content);
        if is_sent {
            self.exchange.tally = Tally { status: head.status().code(), content_bytes: content.len() as u64 };
            self.stage = Stage::Content;
        }
        is_sent
    }

    fn retract(&mut self) -> Result<(), Misuse> {
        match &self.stage {
            Stage::Unbegun => {}
            Stage::Head(head) => self.out.buffer().truncate(head.start()),
            Stage::Misused { start, .. } => self.out.buffer().truncate(*start),
            Stage::Ended { start, before } => {
                self.out.buffer().truncate(*start);
                self.exchange.http.reopen_head(*before);
                self.exchange.tally = Tally::default();
                if let Some(notes) = &mut self.notes {
                    notes.report.forget_response();
                }
            }
            Stage::Content => return Err(Misuse::AlreadySent),
        }
        self.stage = Stage::Unbegun;
        Ok(())
    }

    fn interim(&mut self, code: u16, fields: &[(&str, &[u8])]) -> Result<(), Misuse> {
        match &self.stage {
            Stage::Unbegun => Ok(self.exchange.http.write_interim(self.out.buffer(), code, fields)?),
            Stage::Head(_) | Stage::Misused { .. } | Stage::Ended { .. } | Stage::Content => {
                Err(Misuse::AlreadySent)
            }
        }
    }

    fn flush(&mut self) {
        match &self.stage {
            // Half a head stays where it is: its beginning is known by its place.
            Stage::Head(_) | Stage::Misused { .. } => return,
            Stage::Unbegun | Stage::Content => {}
            Stage::Ended { .. } => self.stage = Stage::Content,
        }
        self.wire.flush(self.out);
    }

    fn now(&self) -> Moment {
        self.around.now.moment
    }
}

/// Queues one piece of content in its framing, as much of it as the declared length admits.
#[inline(always)]
pub(super) fn write_piece(exchange: &mut Exchange, out: &mut OutputQueue, content: Content<'_>) {
    let (bytes, buffer) = (content.as_slice(), out.buffer());
    let admitted = exchange.http.open_piece(buffer, bytes.len() as u64);
    if admitted > 0 {
        match bytes.get(..admitted as usize) {
            Some(bytes) if OutputQueue::copies(bytes.len()) => {
                buffer.extend_from_slice(bytes);
                exchange.http.close_piece(buffer);
            }
            _ => push_piece(exchange, out, content, admitted as usize),
        }
        exchange.tally.content_bytes += admitted;
    }
}

/// What is too long to be copied.
#[inline(never)]
fn push_piece(exchange: &Exchange, out: &mut OutputQueue, content: Content<'_>, bytes: usize) {
    out.push(content, bytes);
    exchange.http.close_piece(out.buffer());
}
