//! The other half of [`Active`](super::active::Active): calling the application, and getting its
//! response out.

use std::mem;

use super::Farewell;
use super::active::{Active, Origin, Readiness, Work};
use super::exchange::{Next, conclude, notes};
use super::foreign::{Foreign, guard};
use super::journal::{Outcome, RequestLine};
use super::output_queue::OutputQueue;
use super::report::{Report, line_of};
use super::sink::{Sink, write_piece};
use super::turn::Turn;
use crate::gateway::{
    BodyKind, Content, Environ, FileRange, GatewayError, Piece, RequestContent, StartResponse,
};
use crate::message::{InvalidResponse, RequestHead, StatusCode};
use crate::protocol::{
    BodyEncoder, FieldSlots, ProtocolError, ResponseState, parse_head, parse_request_line,
};

/// How much of a file is read at a time. 64 KiB: as much as a socket takes.
const FILE_PIECE_BYTES: u64 = 64 * 1024;
/// Files up to this length are read even where files are sent. 16 KiB: as cheap, and the head leaves
/// in the same write, as do the responses around it in a pipeline.
const READ_FILE_BYTES_MAX: u64 = 16 * 1024;

impl Active {
    /// Calls the application.
    pub fn answer(
        &mut self,
        head: &RequestHead<'_>,
        content: RequestContent<'_>,
        content_length: Option<u64>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let answer = self.exchange.answer(head, content, content_length, &mut self.report, turn, out);
        self.follow(answer.unwrap_or(Ok(BodyKind::Complete)), head, turn, out);
    }

    /// What follows from the call of the application.
    pub fn follow(
        &mut self,
        answer: Result<BodyKind, GatewayError>,
        head: &RequestHead<'_>,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        match answer {
            Ok(kind) => {
                self.work = Work::after(kind);
                if self.report.is_none() && !matches!(self.work, Work::None) {
                    self.report = Some(Report::of_line(line_of(head)));
                }
            }
            Err(error) => {
                self.fail(Some(line_of(head)), error, turn, out);
            }
        }
    }

    /// Gets on with the response; whether the conversation can go on.
    pub fn respond(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) -> bool {
        let is_full = out.owed() >= self.work.output_bytes_high(turn.output_bytes_high());
        match &mut self.work {
            work if work.pending().is_some() => false,
            Work::Draw { .. } | Work::Send(_) | Work::Read(_) if is_full => false,
            Work::Wait { .. } => {
                self.resume(turn, out);
                true
            }
            Work::Draw { .. } => self.draw(turn, out),
            Work::Send(_) => {
                self.send_file(turn, out);
                true
            }
            Work::Leave(_) => self.is_file_gone(out),
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
        let Some(answer) = answer.take() else {
            return;
        };
        let notes = notes(&mut self.report, turn.journal);
        let mut sink = Sink::new(&mut self.exchange, out, notes, turn.around, turn.wire);
        let result = guard(|| answer.resume(StartResponse::new(&mut sink)));
        match conclude(result, &mut sink).unwrap_or(Ok(BodyKind::Complete)) {
            Ok(kind) => self.work = Work::after(kind),
            Err(error) => self.fail(None, error, turn, out),
        }
    }

    /// Draws pieces while there is room for them; whether the conversation can go on.
    fn draw(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) -> bool {
        let output_bytes_high = self.work.output_bytes_high(turn.output_bytes_high());
        let Work::Draw { readiness, stream, .. } = &mut self.work else {
            return true;
        };
        let Some(stream) = stream.get() else {
            return true;
        };
        while out.owed() < output_bytes_high {
            if !self.exchange.http.wants_content() {
                self.work = Work::None;
                return true;
            }
            if !turn.may_draw() {
                return false;
            }
            if output_bytes_high == 1 {
                // The application may take its time for each piece that leaves by itself: others come between.
                turn.budget.pieces = 0;
            }
            match guard(|| stream.next_piece(turn.around.now.moment)) {
                Ok(Piece::Data(bytes)) => write_piece(&mut self.exchange, out, Content::Borrowed(bytes)),
                Ok(Piece::Pending { until }) => {
                    *readiness = Readiness::Pending { until };
                    return false;
                }
                Ok(Piece::End) => {
                    self.work = Work::None;
                    return true;
                }
                Err(error) => {
                    self.fail(None, error, turn, out);
                    return true;
                }
            }
        }
        false
    }

    /// Puts a file into the queue, if it is long enough and can be sent; else it is read.
    fn send_file(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        let Work::Send(range) = mem::replace(&mut self.work, Work::None) else {
            return;
        };
        let is_sent = turn.disk.sends_files() && range.length > READ_FILE_BYTES_MAX;
        self.work = match is_sent && self.exchange.http.wants_content() {
            true => {
                let work = Work::Leave(range.length);
                out.push_file(range);
                work
            }
            false => Work::Read(range),
        };
    }

    /// Whether all of the file has left. Only then is it content that was sent: how much of it will
    /// be, nobody can know before.
    fn is_file_gone(&mut self, out: &mut OutputQueue) -> bool {
        if out.file().is_some() {
            return false;
        }
        if let Work::Leave(length) = mem::replace(&mut self.work, Work::None) {
            self.count_file(length, out);
        }
        true
    }

    /// What is left of the file that was in the queue is read.
    pub fn take_back(&mut self, rest: FileRange, out: &mut OutputQueue) {
        if let Work::Leave(length) = self.work {
            self.count_file(length.saturating_sub(rest.length), out);
            self.work = Work::Read(rest);
        }
    }

    /// So many bytes of a file were handed over. Its length was declared, so there is no framing
    /// around them.
    fn count_file(&mut self, bytes: u64, out: &mut OutputQueue) {
        debug_assert!(matches!(self.exchange.http.response(), ResponseState::Body(BodyEncoder::Length(_))));
        self.exchange.tally.content_bytes += self.exchange.http.open_piece(out.buffer(), bytes);
    }

    /// Reads the next part of a file; whether the conversation can go on.
    fn read_file(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) -> bool {
        let Work::Read(range) = &mut self.work else {
            return true;
        };
        if range.length == 0 || !self.exchange.http.wants_content() {
            self.work = Work::None;
            return true;
        }
        let wanted = range.length.min(FILE_PIECE_BYTES);
        // Without framing around it, it can be read right to where it leaves from.
        match turn.disk.read_at(&range.file, range.offset, wanted as usize, out.buffer()) {
            Ok(0) => {
                let missing = range.length;
                self.fail(None, InvalidResponse::TooShort { missing }.into(), turn, out);
            }
            Ok(read) => {
                range.offset += read as u64;
                range.length -= read as u64;
                self.count_file(read as u64, out);
            }
            Err(error) => self.fail(None, error.into(), turn, out),
        }
        true
    }

    /// All content was handed over.
    fn end_response(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        match self.exchange.http.end_response(out.buffer()) {
            Ok(()) => self.end_exchange(turn),
            Err(invalid) => self.fail(None, invalid.into(), turn, out),
        }
    }

    /// The application has failed: 500, or a broken connection if the head is gone.
    pub fn fail(
        &mut self,
        line: Option<RequestLine<'_>>,
        error: GatewayError,
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) {
        let known = self.report.as_ref().and_then(|report| report.line());
        // Even to print an error, and to drop it, is the application's code.
        Foreign::new(error).tell(|error| turn.journal.failure(line.or(known), error));
        self.exchange.http.abort();
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        if !matches!(self.exchange.http.response(), ResponseState::Aborted(_)) {
            self.exchange.tally.status = status.code();
        }
        let content = "500 Internal Server Error: the application failed.\n";
        let start = out.buffer().len();
        self.exchange.tally.content_bytes +=
            self.exchange.http.write_error(out.buffer(), &turn.around.own_fields, status, content);
        self.note_error_response(start, turn, out);
        self.end_exchange(turn);
    }

    /// The peer has broken a rule, or a limit: it is told so, and nothing more is read as a request.
    pub fn refuse(&mut self, error: ProtocolError, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        self.exchange.http.refuse(error);
        self.exchange.tally.status = error.status().code();
        let start = out.buffer().len();
        self.exchange.tally.content_bytes += self.exchange.http.write_error(
            out.buffer(),
            &turn.around.own_fields,
            error.status(),
            &error.content(),
        );
        if let Work::Collect(incoming) = mem::replace(&mut self.work, Work::End(Farewell::Linger)) {
            self.report_head(&incoming.head, turn);
        }
        self.note_error_response(start, turn, out);
        self.report(Outcome::Complete, turn);
    }

    /// The response has ended, well or not: on to the next request, or to the end.
    fn end_exchange(&mut self, turn: &mut Turn<'_>) {
        let outcome = match self.exchange.http.response() {
            ResponseState::Aborted(_) => Outcome::Aborted,
            _ => Outcome::Complete,
        };
        self.report(outcome, turn);
        self.is_told = false;
        self.work = match self.exchange.end() {
            Next::End(farewell) => Work::End(farewell),
            Next::Exchange => {
                self.origin = Origin::Kept(turn.around.now.moment, 0);
                Work::None
            }
        };
    }

    /// The connection is gone, in the middle of this. How it should end, so that the peer can tell.
    pub fn abandon(&mut self, turn: &mut Turn<'_>) -> Farewell {
        let is_open_ended = matches!(
            self.exchange.http.response(),
            ResponseState::Body(BodyEncoder::UntilClose) | ResponseState::Aborted(BodyEncoder::UntilClose)
        );
        self.work = Work::None;
        self.report(Outcome::Aborted, turn);
        if is_open_ended { Farewell::Reset } else { Farewell::Clean }
    }

    /// Notes what the journal wants to know of a request that is refused: all, if its head can be read; else its
    /// request line, if that can.
    pub fn report_head(&mut self, head: &[u8], turn: &mut Turn<'_>) {
        let Some(wanted) = turn.journal.wanted() else {
            return;
        };
        let mut slots = FieldSlots::new();
        if let Ok(Some(parsed)) = parse_head(head, 0, &mut slots, &turn.around.limits) {
            let (head, none) = (parsed.head(), RequestContent::borrowed(&[]));
            let environ =
                Environ::new(&head, none, None, &turn.client, &turn.around.server, turn.around.now.moment);
            self.report = Some(Report::of_request(&head, &environ, wanted));
        } else if let Some((method, target, version)) = parse_request_line(head, &turn.around.limits) {
            self.report = Some(Report::of_line(RequestLine { method, target, version }));
        }
    }

    /// Notes the fields of an error response, if one was written, from `start` of the output on.
    fn note_error_response(&mut self, start: usize, turn: &Turn<'_>, out: &mut OutputQueue) {
        let written = &out.buffer()[start..];
        if let Some(wanted) = turn.journal.wanted()
            && !wanted.response_fields.is_empty()
            && !written.is_empty()
        {
            self.report.get_or_insert_default().note_response(written, wanted);
        }
    }

    fn report(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        let report = self.report.take();
        self.exchange.report(report, outcome, turn);
    }
}
