//! HTTP/1.1 for one connection: the two state machines of [`state`](super::RequestState), tied together.

use super::chunked::Decoded;
use super::error::ProtocolError;
use super::framing::{BodyDecoder, RequestFraming};
use super::head_parser::{FieldSlots, ParsedHead, blank_lines, parse_head};
use super::persistence::{CloseReason, Persistence};
use super::response_encoder::{
    BodyEncoder, CONTINUE, ContentWish, ResponseContext, ResponseEncoder, ServerFields, TrailerWish,
    encode_interim,
};
use super::state::{RequestEvent, RequestState, ResponseEvent, ResponseState};
use super::trailers::encode_last_chunk;
use crate::limits::Limits;
use crate::message::{ContentLength, FieldBlock, Fields, InvalidResponse, Method, StatusCode, Version};

/// The value of Retry-After in a 503, in seconds. 10: soon enough for a person, and long enough to spread a
/// crowd.
pub const RETRY_AFTER_SECONDS: &str = "10";

/// HTTP/1.1 for one connection: the state machines of [`RequestState`] and [`ResponseState`], tied together. While the
/// connection idles, it is a constant.
///
/// It holds no bytes. It borrows input and returns how much of it was used; it appends output to a buffer of
/// the caller. Driven by hand it looks like this:
///
/// ```
/// use tidegate::limits::Limits;
/// use tidegate::message::ContentLength;
/// use tidegate::now::Now;
/// use tidegate::protocol::{FieldSlots, Http1, ResponseEncoder, ServerFields};
///
/// let (limits, mut http, mut out) = (Limits::default(), Http1::new(), Vec::new());
/// let own = ServerFields::new("tidegate", &Now::default());
///
/// let mut slots = FieldSlots::new();
/// let input = b"GET /tide HTTP/1.1\r\nHost: a.example\r\n\r\n";
/// let parsed = http.read_head(input, 0, &mut slots, &limits).unwrap().unwrap();
/// assert_eq!(parsed.head().target.raw_path(), "/tide");
///
/// let mut head = ResponseEncoder::begin(&mut out, &own, 200, None).unwrap();
/// head.field(&mut out, "Content-Type", b"text/plain").unwrap();
/// http.end_head(&head, &mut out, ContentLength::Known(3)).unwrap();
/// let admitted = http.open_piece(&mut out, 3);
/// out.extend_from_slice(&b"low"[..admitted as usize]);
/// http.close_piece(&mut out);
/// http.end_response(&mut out).unwrap();
/// http.next_exchange();
/// assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n") && out.ends_with(b"Content-Length: 3\r\n\r\nlow"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http1 {
    request: RequestState,
    response: ResponseState,
    persistence: Persistence,
    context: ResponseContext,
}

/// The state that ending a response's head changes, as it was before.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint {
    has_continued: bool,
    persistence: Persistence,
}

impl Http1 {
    /// The state of a connection on which nothing has happened.
    pub const fn new() -> Http1 {
        Http1 {
            request: RequestState::Idle,
            response: ResponseState::Unstarted,
            persistence: Persistence::KeepAlive,
            context: ResponseContext::DEFAULT,
        }
    }

    /// The state of the request.
    pub fn request(&self) -> RequestState {
        self.request
    }

    /// The state of the response.
    pub fn response(&self) -> ResponseState {
        self.response
    }

    /// The fate of the connection after this exchange.
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// Reads a head from the start of the input; none if its end is not there yet. The first `searched` bytes
    /// have been offered before.
    ///
    /// # Errors
    /// Returns the rule that the head breaks; the connection is refused from then on.
    #[inline(always)]
    pub fn read_head<'s, 'b>(
        &mut self,
        input: &'b [u8],
        searched: usize,
        slots: &'s mut FieldSlots<'b>,
        limits: &Limits,
    ) -> Result<Option<ParsedHead<'s, 'b>>, ProtocolError> {
        // Looked at where it lies, and not taken apart: it is large.
        let parsed = parse_head(input, searched, slots, limits);
        match &parsed {
            Ok(Some(head)) => {
                let content =
                    if head.method() == Method::HEAD { ContentWish::HeadOnly } else { ContentWish::Wanted };
                self.context =
                    ResponseContext { version: head.version, content, trailers: head.semantics.trailers };
                self.persistence = head.semantics.persistence;
                match head.semantics.framing {
                    RequestFraming::None | RequestFraming::Length(0) => {
                        self.on_request(RequestEvent::HeadEnded);
                    }
                    framing => self.await_content(framing, limits.body_bytes_max)?,
                }
            }
            Ok(None) => {
                self.note_method(input);
                self.on_request(RequestEvent::HeadBegun);
            }
            Err(error) => {
                self.note_method(input);
                self.refuse(*error);
            }
        }
        parsed
    }

    fn await_content(&mut self, framing: RequestFraming, body_bytes_max: u64) -> Result<(), ProtocolError> {
        match BodyDecoder::new(framing, body_bytes_max) {
            Ok(decoder) => {
                self.on_request(RequestEvent::ContentAwaited(decoder));
                Ok(())
            }
            Err(error) => {
                self.refuse(error);
                Err(error)
            }
        }
    }

    /// Notes the method of a head that is refused, or not completed in time, if it can be made out: the
    /// answer to HEAD has no content even then.
    fn note_method(&mut self, input: &[u8]) {
        if input[blank_lines(input)..].starts_with(b"HEAD ") {
            self.context.content = ContentWish::HeadOnly;
        }
    }

    /// Reads content from the input, up to the end of its first piece.
    ///
    /// # Errors
    /// Returns the error when the framing is broken, or when there is too much content; the connection is
    /// refused from then on.
    pub fn read_content<'i>(&mut self, input: &'i [u8]) -> Result<Decoded<'i>, ProtocolError> {
        let RequestState::Body(decoder) = &mut self.request else {
            return Ok(Decoded { consumed: 0, content: &[], trailers: &[] });
        };
        match decoder.decode(input) {
            Ok(decoded) => {
                if decoder.is_complete() {
                    self.on_request(RequestEvent::ContentEnded);
                }
                Ok(decoded)
            }
            Err(error) => {
                self.refuse(error);
                Err(error)
            }
        }
    }

    /// The number of bytes, from the next one on, that are known to be content and nothing else.
    pub fn content_ahead(&self) -> u64 {
        match self.request {
            RequestState::Body(decoder) => decoder.content_ahead(),
            _ => 0,
        }
    }

    /// Leaves the content that is still to come unread, if any is, and all that follows it. This outweighs any other
    /// reason to close, since the client may still be sending.
    pub fn decline_content(&mut self) {
        if let RequestState::Body(_) = self.request {
            self.on_request(RequestEvent::ContentDeclined);
            self.persistence = Persistence::Close(CloseReason::ContentUnread);
        }
    }

    /// Whether content of the request has not come to its end, or was left unread.
    pub fn leaves_content_unread(&self) -> bool {
        self.request != RequestState::Complete
            || self.persistence == Persistence::Close(CloseReason::ContentUnread)
    }

    /// Refuses whatever comes as a request from now on. The caller writes the answer with
    /// [`Http1::write_error`].
    pub fn refuse(&mut self, error: ProtocolError) {
        self.on_request(RequestEvent::Refused(error));
        self.persistence.close(CloseReason::Refused);
    }

    /// Closes the connection after this exchange.
    pub fn close_after(&mut self, reason: CloseReason) {
        self.persistence.close(reason);
    }

    /// Asks the client for the content that it holds back.
    pub fn write_continue(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(CONTINUE);
        self.on_response(ResponseEvent::ContinueSent);
    }

    /// Writes an interim response with these fields; nothing for a client of HTTP/1.0, which does not know
    /// them (RFC 9110 §15.2).
    ///
    /// # Errors
    /// Returns [`InvalidResponse`] when the code is none of an interim response that an application may send,
    /// or when a field is invalid as in [`ResponseEncoder::field`]. Nothing is written then.
    pub fn write_interim(
        &self,
        out: &mut Vec<u8>,
        code: u16,
        fields: &[(&str, &[u8])],
    ) -> Result<(), InvalidResponse> {
        if self.context.version == Version::Http10 {
            return Ok(());
        }
        encode_interim(out, code, fields)
    }

    /// Returns the state to [roll back](Http1::rollback) to, before the head of a response ends.
    pub fn savepoint(&self) -> Savepoint {
        let has_continued = self.response == ResponseState::Continue;
        Savepoint { has_continued, persistence: self.persistence }
    }

    /// Undoes the end of a head, before anything has followed it.
    pub fn rollback(&mut self, before: Savepoint) {
        self.response = if before.has_continued { ResponseState::Continue } else { ResponseState::Unstarted };
        self.persistence = before.persistence;
    }

    /// Ends the head of the response, which fixes its framing and the fate of the connection.
    ///
    /// # Errors
    /// Returns the errors of [`ResponseEncoder::end_head`]; nothing has changed then.
    #[inline(always)]
    pub fn end_head(
        &mut self,
        head: &ResponseEncoder,
        out: &mut Vec<u8>,
        length: ContentLength,
    ) -> Result<(), InvalidResponse> {
        let mut persistence = self.persistence;
        let body = head.end_head(out, length, self.context, &mut persistence)?;
        self.persistence = persistence;
        self.on_response(ResponseEvent::HeadEnded(body));
        Ok(())
    }

    /// Ends the head of 101, after which this connection no longer speaks HTTP. This outweighs any other reason to close,
    /// since the client goes on sending. Returns whether it could; it cannot before all of the request is here, nor for
    /// a client of HTTP/1.0.
    pub fn switch_protocols(&mut self, out: &mut Vec<u8>) -> bool {
        if self.request != RequestState::Complete || self.context.version == Version::Http10 {
            return false;
        }
        out.extend_from_slice(b"\r\n");
        self.persistence = Persistence::Close(CloseReason::Upgraded);
        self.on_response(ResponseEvent::HeadEnded(BodyEncoder::UntilClose));
        true
    }

    /// Ends the head and writes all of the content, which is not empty, in one step if nothing but Content-Length is
    /// missing, as is usual. Returns whether it did; if not, nothing has changed.
    #[inline(always)]
    pub fn write_rest(&mut self, head: &ResponseEncoder, out: &mut Vec<u8>, content: &[u8]) -> bool {
        if !head.ends_plainly(self.context, self.persistence) {
            return false;
        }
        ResponseEncoder::end_plainly(out, content.len() as u64);
        out.extend_from_slice(content);
        self.on_response(ResponseEvent::HeadEnded(BodyEncoder::Length(0)));
        true
    }

    /// Writes the framing before a piece of content, and returns how many of its bytes may follow. If there
    /// are any, [`Http1::close_piece`] comes after them.
    #[inline(always)]
    pub fn open_piece(&mut self, out: &mut Vec<u8>, bytes: u64) -> u64 {
        let ResponseState::Body(body) = &mut self.response else {
            return 0;
        };
        let admitted = body.admit(bytes);
        if admitted > 0 {
            body.open_piece(out, admitted);
        }
        admitted
    }

    /// Writes the framing after a piece of content.
    pub fn close_piece(&self, out: &mut Vec<u8>) {
        if let ResponseState::Body(body) = self.response {
            body.close_piece(out);
        }
    }

    /// Ends the response.
    ///
    /// # Errors
    /// Returns [`InvalidResponse::TooShort`] when the content is shorter than its Content-Length. The
    /// response is aborted then.
    #[inline(always)]
    pub fn end_response(&mut self, out: &mut Vec<u8>) -> Result<(), InvalidResponse> {
        let ended = match self.response {
            // As nearly always; that it comes first saves a jump.
            ResponseState::Body(BodyEncoder::Length(0)) => Ok(()),
            ResponseState::Body(body) => body.end(out),
            ResponseState::Unstarted
            | ResponseState::Continue
            | ResponseState::Complete
            | ResponseState::Aborted(_) => return Ok(()),
        };
        match ended {
            Ok(()) => {
                self.on_response(ResponseEvent::ContentEnded);
                Ok(())
            }
            Err(invalid) => {
                self.abort();
                Err(invalid)
            }
        }
    }

    /// Whether trailer fields can end the response: its content is chunked, and the client takes them.
    pub fn wants_trailers(&self) -> bool {
        self.context.trailers == TrailerWish::Wanted
            && self.response == ResponseState::Body(BodyEncoder::Chunked)
    }

    /// Ends the response with these trailer fields, which are dropped if they are not
    /// [wanted](Http1::wants_trailers).
    ///
    /// # Errors
    /// Returns [`InvalidResponse`] when a field cannot be a trailer, and the errors of
    /// [`Http1::end_response`]. The response is aborted then.
    pub fn end_with_trailers(
        &mut self,
        out: &mut Vec<u8>,
        trailers: Fields<'_>,
    ) -> Result<(), InvalidResponse> {
        if !self.wants_trailers() {
            return self.end_response(out);
        }
        let encoded = encode_last_chunk(out, trailers);
        match encoded {
            Ok(()) => self.on_response(ResponseEvent::ContentEnded),
            Err(_) => self.abort(),
        }
        encoded
    }

    /// Aborts a response that cannot be completed. If it has not started, an error response can still be
    /// sent.
    pub fn abort(&mut self) {
        self.on_response(ResponseEvent::Failed);
        self.persistence.close(CloseReason::Failed);
    }

    /// Writes a whole error response with these further fields, after which the connection is closed, and
    /// returns the length of its content. Does nothing if a response has started.
    pub fn write_error(
        &mut self,
        out: &mut Vec<u8>,
        own: &ServerFields,
        status: StatusCode,
        content: &str,
        fields: &FieldBlock,
    ) -> u64 {
        if !matches!(self.response, ResponseState::Unstarted | ResponseState::Continue) {
            return 0;
        }
        self.persistence.close(CloseReason::Failed);
        let encoded = ResponseEncoder::begin(out, own, status.code(), None).and_then(|mut head| {
            head.field(out, "Content-Type", b"text/plain; charset=utf-8")?;
            if status.code() == 503 {
                head.field(out, "Retry-After", RETRY_AFTER_SECONDS.as_bytes())?;
            }
            head.fields(out, fields)?;
            self.end_head(&head, out, ContentLength::Known(content.len() as u64))
        });
        debug_assert!(encoded.is_ok(), "the server's own error response is valid");
        let admitted = self.open_piece(out, content.len() as u64);
        if admitted > 0 {
            out.extend_from_slice(content.as_bytes());
            self.close_piece(out);
        }
        let ended = self.end_response(out);
        debug_assert!(ended.is_ok(), "its content is at hand");
        admitted
    }

    /// Whether the response has a use for content: a response to HEAD has none, and neither has one that is
    /// complete.
    pub fn wants_content(&self) -> bool {
        matches!(self.response, ResponseState::Body(body) if body.wants_content())
    }

    /// Prepares for the next request.
    pub fn next_exchange(&mut self) {
        self.on_request(RequestEvent::NextExchange);
        self.on_response(ResponseEvent::NextExchange);
        self.context = ResponseContext::DEFAULT;
    }

    fn on_request(&mut self, event: RequestEvent) {
        match self.request.after(event) {
            Some(next) => self.request = next,
            None => debug_assert!(false, "{:?} does not know {event:?}", self.request),
        }
    }

    fn on_response(&mut self, event: ResponseEvent) {
        match self.response.after(event) {
            Some(next) => self.response = next,
            None => debug_assert!(false, "{:?} does not know {event:?}", self.response),
        }
    }
}

impl Default for Http1 {
    fn default() -> Http1 {
        Http1::new()
    }
}
