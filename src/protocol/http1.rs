//! HTTP/1.1 for one connection: the two machines of [`state`](super::RequestState), tied together.
//!
//! It holds no bytes. Input is lent to it and it says how much it used; output is appended to a
//! buffer of the caller. Driven by hand it looks like this:
//!
//! ```
//! use tidegate::limits::Limits;
//! use tidegate::message::ContentLength;
//! use tidegate::now::Now;
//! use tidegate::protocol::{FieldSlots, Http1, ResponseEncoder, ServerFields};
//!
//! let (limits, mut http, mut out) = (Limits::default(), Http1::new(), Vec::new());
//! let own = ServerFields::new("tidegate", &Now::default());
//!
//! let mut slots = FieldSlots::new();
//! let input = b"GET /tide HTTP/1.1\r\nHost: a.example\r\n\r\n";
//! let parsed = http.read_head(input, 0, &mut slots, &limits).unwrap().unwrap();
//! assert_eq!(parsed.head().target.raw_path(), "/tide");
//!
//! let mut head = ResponseEncoder::begin(&mut out, &own, 200, None).unwrap();
//! head.field(&mut out, "Content-Type", b"text/plain").unwrap();
//! http.end_head(&head, &mut out, ContentLength::Known(3)).unwrap();
//! let admitted = http.open_piece(&mut out, 3);
//! out.extend_from_slice(&b"low"[..admitted as usize]);
//! http.close_piece(&mut out);
//! http.end_response(&mut out).unwrap();
//! http.next_exchange();
//! assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n") && out.ends_with(b"Content-Length: 3\r\n\r\nlow"));
//! ```

use super::chunked::Decoded;
use super::error::ProtocolError;
use super::framing::{BodyDecoder, RequestFraming};
use super::head_parser::{FieldSlots, ParsedHead, blank_lines, parse_head};
use super::persistence::{CloseReason, Persistence};
use super::response_encoder::{
    BodyEncoder, CONTINUE, ContentWish, ResponseEncoder, ServerFields, Terms, TrailerWish, encode_interim,
};
use super::state::{RequestEvent, RequestState, ResponseEvent, ResponseState};
use super::trailers::encode_last_chunk;
use crate::limits::Limits;
use crate::message::{ContentLength, FieldBlock, Fields, InvalidResponse, Method, StatusCode, Version};

/// After how many seconds a client that hears 503 may ask again. 10: soon enough for a person, and a crowd is spread.
pub const RETRY_AFTER_SECONDS: &str = "10";

/// One connection's protocol state; idle it is a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http1 {
    request: RequestState,
    response: ResponseState,
    persistence: Persistence,
    terms: Terms,
}

/// What the end of a response's head changes, as it was before.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint {
    has_continued: bool,
    persistence: Persistence,
}

impl Http1 {
    /// A connection on which nothing has happened.
    pub const fn new() -> Http1 {
        Http1 {
            request: RequestState::Idle,
            response: ResponseState::Unstarted,
            persistence: Persistence::KeepAlive,
            terms: Terms::UNTOLD,
        }
    }

    /// How far the request has come.
    pub fn request(&self) -> RequestState {
        self.request
    }

    /// How far the response has come.
    pub fn response(&self) -> ResponseState {
        self.response
    }

    /// What happens to the connection after this exchange.
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// Reads a head from the start of the input; none if its end is not there yet. Of the input,
    /// `searched` bytes have been offered before.
    ///
    /// # Errors
    /// The rule that it breaks; the connection is refused from then on.
    #[inline(always)]
    pub fn read_head<'s, 'b>(
        &mut self,
        input: &'b [u8],
        searched: usize,
        slots: &'s mut FieldSlots<'b>,
        limits: &Limits,
    ) -> Result<Option<ParsedHead<'s, 'b>>, ProtocolError> {
        match parse_head(input, searched, slots, limits) {
            Ok(Some(parsed)) => {
                let content =
                    if parsed.method() == Method::HEAD { ContentWish::HeadOnly } else { ContentWish::Wanted };
                self.terms = Terms { version: parsed.version, content, trailers: parsed.meaning.trailers };
                self.persistence = parsed.meaning.persistence;
                match parsed.meaning.framing {
                    RequestFraming::None | RequestFraming::Length(0) => {
                        self.on_request(RequestEvent::HeadEnded);
                    }
                    framing => self.await_content(framing, limits.body_bytes_max)?,
                }
                Ok(Some(parsed))
            }
            Ok(None) => {
                self.note_method(input);
                self.on_request(RequestEvent::HeadBegun);
                Ok(None)
            }
            Err(error) => {
                self.note_method(input);
                self.refuse(error);
                Err(error)
            }
        }
    }

    #[inline(never)]
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

    /// Even a HEAD that is refused, or not completed in time, is answered without content, if it can
    /// be made out.
    fn note_method(&mut self, input: &[u8]) {
        if input[blank_lines(input)..].starts_with(b"HEAD ") {
            self.terms.content = ContentWish::HeadOnly;
        }
    }

    /// Takes content from the input, up to the end of its first piece.
    ///
    /// # Errors
    /// Broken framing, or too much content; the connection is refused from then on.
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

    /// Leaves the content that is still to come unread, and with it all that comes after. Whatever else would
    /// have ended the connection: its client may be sending still.
    pub fn decline_content(&mut self) {
        self.on_request(RequestEvent::ContentDeclined);
        self.persistence = Persistence::Close(CloseReason::ContentUnread);
    }

    /// From now on nothing is read as a request any more; the caller writes the answer with
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

    /// Writes an interim response with these fields; nothing for a client of HTTP/1.0, which does not
    /// know them (RFC 9110 §15.2).
    ///
    /// # Errors
    /// No code of an interim response that an application can give, or a field as in
    /// [`ResponseEncoder::field`]. Nothing was written then.
    pub fn write_interim(
        &self,
        out: &mut Vec<u8>,
        code: u16,
        fields: &[(&str, &[u8])],
    ) -> Result<(), InvalidResponse> {
        if self.terms.version == Version::Http10 {
            return Ok(());
        }
        encode_interim(out, code, fields)
    }

    /// To be kept before the head of a response ends, should it be taken back.
    #[inline]
    pub fn savepoint(&self) -> Savepoint {
        let has_continued = self.response == ResponseState::Continue;
        Savepoint { has_continued, persistence: self.persistence }
    }

    /// Takes the end of a head back, before anything has followed it.
    pub fn rollback(&mut self, before: Savepoint) {
        self.response = if before.has_continued { ResponseState::Continue } else { ResponseState::Unstarted };
        self.persistence = before.persistence;
    }

    /// Ends the head of the response, which fixes its framing and the fate of the connection.
    ///
    /// # Errors
    /// As [`ResponseEncoder::end_head`]; nothing has changed then.
    #[inline(always)]
    pub fn end_head(
        &mut self,
        head: &ResponseEncoder,
        out: &mut Vec<u8>,
        length: ContentLength,
    ) -> Result<(), InvalidResponse> {
        let mut persistence = self.persistence;
        let body = head.end_head(out, length, self.terms, &mut persistence)?;
        self.persistence = persistence;
        self.on_response(ResponseEvent::HeadEnded(body));
        Ok(())
    }

    /// Ends the head of 101: what follows on this connection is not HTTP any more. Whether it could; it cannot before
    /// all of the request is here.
    pub fn switch_protocols(&mut self, out: &mut Vec<u8>) -> bool {
        if self.request != RequestState::Complete {
            return false;
        }
        out.extend_from_slice(b"\r\n");
        self.persistence.close(CloseReason::EndsContent);
        self.on_response(ResponseEvent::HeadEnded(BodyEncoder::UntilClose));
        true
    }

    /// Ends the head and writes all of the content, of which there is some, if they go together as nearly always:
    /// the content in a piece, its length told by nothing else. Whether they did; if not, nothing has changed.
    #[inline(always)]
    pub fn write_rest(&mut self, head: &ResponseEncoder, out: &mut Vec<u8>, content: &[u8]) -> bool {
        if !head.ends_plainly(self.terms, self.persistence) {
            return false;
        }
        ResponseEncoder::end_plainly(out, content.len() as u64);
        out.extend_from_slice(content);
        self.on_response(ResponseEvent::HeadEnded(BodyEncoder::Length(0)));
        true
    }

    /// Writes what stands before a piece of content, and says how many of its bytes may follow.
    /// If there are any, [`Http1::close_piece`] comes after them.
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

    /// Writes what stands after a piece of content.
    #[inline]
    pub fn close_piece(&self, out: &mut Vec<u8>) {
        if let ResponseState::Body(body) = self.response {
            body.close_piece(out);
        }
    }

    /// Ends the response.
    ///
    /// # Errors
    /// Content that is shorter than its Content-Length. The response is aborted then.
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

    /// Whether trailer fields can end the response: its content is chunked, and the client has said that it takes them.
    pub fn wants_trailers(&self) -> bool {
        self.terms.trailers == TrailerWish::Wanted
            && self.response == ResponseState::Body(BodyEncoder::Chunked)
    }

    /// Ends the response with these trailer fields behind it, which are dropped where they are not
    /// [wanted](Http1::wants_trailers).
    ///
    /// # Errors
    /// A field that cannot be a trailer; and as [`Http1::end_response`]. The response is aborted then.
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

    /// The response cannot be completed. If it has not started, it can still be an error response.
    pub fn abort(&mut self) {
        self.on_response(ResponseEvent::Failed);
        self.persistence.close(CloseReason::Failed);
    }

    /// Writes a whole error response, with these fields besides its own, after which the connection is closed; how many
    /// bytes of content it has. Does nothing if a response has started.
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

    /// Whether content is of any use to the response: none is for HEAD, none after enough.
    pub fn wants_content(&self) -> bool {
        matches!(self.response, ResponseState::Body(body) if body.wants_content())
    }

    /// Makes ready for the next request.
    #[inline]
    pub fn next_exchange(&mut self) {
        self.on_request(RequestEvent::NextExchange);
        self.on_response(ResponseEvent::NextExchange);
        self.terms = Terms::UNTOLD;
    }

    #[inline]
    fn on_request(&mut self, event: RequestEvent) {
        match self.request.after(event) {
            Some(next) => self.request = next,
            None => debug_assert!(false, "{:?} does not know {event:?}", self.request),
        }
    }

    #[inline]
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
