//! The way of a request into an exchange: its head, then its content, until the application is called.

use std::mem;

use super::{Awaited, Exchange, Progress, Stage, environ_of};
use crate::conversation::foreign::guard;
use crate::conversation::intake::{Collected, Intake, PeerSide, Taken};
use crate::conversation::output_queue::OutputQueue;
use crate::conversation::record::RequestLine;
use crate::conversation::turn::Turn;
use crate::conversation::wants::Farewell;
use crate::gateway::{Admission, GatewayError, RequestContent};
use crate::message::Fields;
use crate::protocol::{
    EMPTY_LINES_MAX, Expectation, FieldSlots, Http1, ParsedHead, ProtocolError, RequestFraming, Trailers,
    blank_lines, parse_head,
};

impl Exchange {
    /// Reads the next head, and calls the application if the request is complete with it.
    #[inline(always)]
    pub(super) fn read_head(
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
            turn.stop_if_late();
            if !turn.may_begin(out) {
                return Progress::Blocked;
            }
            self.record.begun = turn.context.now.moment;
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
        // The time for the first head of a connection counts from when that was accepted.
        if self.waiting.request == Awaited::Next && !has_begun {
            self.waiting.since = turn.context.now.moment;
        }
        match self.peer_side {
            PeerSide::Open => Progress::Blocked,
            PeerSide::Ended if is_blank(rest) => self.await_bytes(),
            PeerSide::Ended => self.refuse_head(rest, ProtocolError::IncompleteRequest, turn, out),
        }
    }

    /// Ends an exchange whose head has not ended in time. (Only an empty line, or half of one, may have come
    /// of it: that is no request.)
    pub(super) fn expire_in_head(&mut self, turn: &mut Turn<'_>, out: &mut OutputQueue) {
        let input = mem::take(&mut self.input);
        let (bytes, _) = input.as_slice();
        if is_blank(bytes) {
            self.stage = Stage::Finished(Farewell::Clean);
        } else {
            self.record_head(bytes, turn);
            self.refuse(ProtocolError::HeadTimeout, turn, out);
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
        let blank = blank_lines(rest);
        let lines = rest[..blank].iter().filter(|&&byte| byte == b'\n').count();
        match u8::try_from(usize::from(self.waiting.empty_lines) + lines) {
            Ok(lines @ ..=EMPTY_LINES_MAX) => self.waiting.empty_lines = lines,
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
                self.call(&parsed.head(), RequestContent::borrowed(content), content_length, None, turn, out);
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
                self.call(&head, RequestContent::borrowed(&[]), content_length, None, turn, out);
            }
            Ok(Admission::AsItComes) => {
                let waits_to_be_asked =
                    parsed.semantics.expectation == Expectation::Continue && bytes.len() == parsed.length;
                self.call_as_it_comes(&head, content_length, waits_to_be_asked, turn, out);
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
            // A client that has begun to send does not wait (RFC 9110 §10.1.1).
            Ok(()) if parsed.semantics.expectation == Expectation::Continue && behind.is_empty() => {
                self.http.write_continue(out.buffer());
            }
            Ok(()) => {}
        }
    }

    /// Follows up on content that has come: calls the application when it is complete.
    #[inline(never)]
    pub(super) fn follow_intake(
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
        self.call(&parsed.head(), content, content_length, None, turn, out);
    }
}

/// Takes the content of the request whose head was just read, if all of it is in `behind`. Chunked content is
/// excluded: it needs a place to be put together.
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

/// Whether the input consists of empty lines, of which the last may be incomplete.
fn is_blank(input: &[u8]) -> bool {
    matches!(&input[blank_lines(input)..], [] | [b'\r'])
}
