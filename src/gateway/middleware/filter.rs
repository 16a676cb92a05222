//! Filters: they see one response on its way out, and may change it.
//!
//! ```text
//!   StartResponse ──▶ Passing ──▶ the server's sink            while the application is called
//!   BodyStream ─────▶ FilteredStream ──▶ whoever draws         afterwards, if content is still to come
//!   Later ──────────▶ FilteredLater ──▶ through() again        if the whole answer is
//! ```
//!
//! A filter whose work takes time says how much it looks at in one go ([`Filter::slice_bytes`]). Longer content is kept
//! (`Held`) and becomes a stream, even if the application gave all of it in its call.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::held::Held;
use crate::gateway::{
    Body, BodyStream, Content, GatewayError, Later, Misuse, Piece, Remainder, ResponseSink, StartResponse,
};
use crate::message::{
    ContentLength, DECIMAL_DIGITS_MAX, FieldBlock, FieldRole, StatusCode, format_decimal, parse_decimal,
};
use crate::now::Moment;

/// Sees one response pass, and may change it: see [`StartResponse::through`].
///
/// Methods are called in the order begin, field…, head, content…, end. An application that starts over begins again. A
/// filter lives until its response has ended, however it ends: being dropped is the last that it hears.
///
/// An application that fails before it has begun a response is told of by [`failure`](Filter::failure) alone, without
/// `begin`, `head` and `end`; then the filter is dropped. So a filter that counts or times responses does it in
/// `drop`, and notes the status 500 in `failure`. What the server refuses by itself (400, 408, 413, …) meets no
/// filter, or one that has not begun: where the application takes content [as it comes](crate::gateway::Admission),
/// and the refusal comes before its answer. That one is dropped without a word, as it is when the client leaves.
///
/// A filter must not block, since it runs on the thread of the event loop.
pub trait Filter {
    /// Notes that a response has begun, with this status. Whatever came before was taken back.
    fn begin(&mut self, code: u16) {
        let _ = code;
    }

    /// Decides whether a field line that the application adds stays. Content-Length and Connection are not
    /// asked about.
    fn field(&mut self, name: &str, value: &[u8]) -> bool {
        let _ = (name, value);
        true
    }

    /// Completes the application's head: adds fields, and decides how the content passes.
    fn head(&mut self, head: &mut PassingHead<'_>) -> Passage;

    /// Returns the content to send in place of this piece: the piece itself, or bytes that the filter lends.
    ///
    /// # Errors
    /// Returns an error to break the response off, or to make it a 500 if nothing of it has been sent.
    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        Ok(content)
    }

    /// The most content that [`content`](Filter::content) is given in one go, in bytes; asked after
    /// [`head`](Filter::head). By default all that the application gives at once.
    ///
    /// A filter whose work takes time says what it does in a millisecond or so. Longer content, which an application
    /// has at hand or gives as one piece, then comes in slices: the connection's turn ends after some of them, and
    /// after each if the content was given in the call. Nobody else waits for all of it, and no more is made while the
    /// client does not read.
    fn slice_bytes(&self) -> usize {
        usize::MAX
    }

    /// Returns content that was held back and is to leave now, since no more comes for the time being: the application
    /// waits, has flushed, or wants each piece to be sent before it makes the next.
    ///
    /// # Errors
    /// Returns the same errors as [`Filter::content`].
    fn pause(&mut self) -> Result<&[u8], GatewayError> {
        Ok(&[])
    }

    /// Returns content that is to follow when all content has passed. Not called if no more is wanted (an
    /// answer to HEAD, or a stream of which all that was declared has passed), or if the response was broken
    /// off.
    ///
    /// # Errors
    /// Returns the same errors as [`Filter::content`].
    fn end(&mut self) -> Result<&[u8], GatewayError> {
        Ok(&[])
    }

    /// Returns all that is sent where the content is [replaced](Passage::Replaced); shared content is not copied.
    /// Without an implementation of its own, it is what [`end`](Filter::end) returns.
    ///
    /// # Errors
    /// Returns the same errors as [`Filter::content`].
    fn replacement(&mut self) -> Result<Content<'_>, GatewayError> {
        Ok(Content::Borrowed(self.end()?))
    }

    /// The trailer fields that follow the content, where they are sent at all: those of the application's
    /// stream, of which some can be taken away, and others added. What a filter adds to content that was
    /// handed over in the call has no place.
    fn trailers(&mut self, trailers: &mut Vec<(String, Vec<u8>)>) {
        let _ = trailers;
    }

    /// Adds fields to the 500 for an application that has failed, except those that describe its content.
    fn failure(&mut self, head: &mut PassingHead<'_>) {
        let _ = head;
    }

    /// The memory in bytes that the filter holds, and that counts towards
    /// [`memory_bytes_max`](crate::limits::Limits::memory_bytes_max). Asked after each turn if the response outlasts
    /// the call.
    fn held_bytes(&self) -> usize {
        0
    }
}

/// The way in which the content of a response passes a [`Filter`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The content does not pass the filter: files are sent as files, streams as they are. The filter is
    /// done.
    Unseen,
    /// The content passes through [`Filter::content`], which returns as many bytes as it gets: a declared
    /// length holds.
    Seen,
    /// The content passes through [`Filter::content`] and changes its length, which nobody knows then: a
    /// Content-Length of the application's is dropped.
    Changed,
    /// The content is dropped, and not even drawn if it is a stream or a file: [`Filter::replacement`] returns all
    /// that is sent in its place. A Content-Length of the application's is dropped, and the filter may add its own.
    Replaced,
}

impl Passage {
    /// Whether the content may have another length than the application has said.
    fn is_of_another_length(self) -> bool {
        matches!(self, Passage::Changed | Passage::Replaced)
    }
}

/// A head that is complete but for what a [`Filter`] adds.
pub struct PassingHead<'h> {
    code: u16,
    length: ContentLength,
    to: Destination<'h>,
}

enum Destination<'h> {
    Sink(&'h mut dyn ResponseSink),
    /// The head of the 500 for an application that has failed.
    Failure(&'h mut FieldBlock),
}

impl PassingHead<'_> {
    /// The status code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The length of the content, as far as it is known.
    pub fn length(&self) -> ContentLength {
        self.length
    }

    /// Adds a field line. An invalid one makes the response a 500.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        match &mut self.to {
            Destination::Sink(sink) => sink.field(name, value),
            Destination::Failure(block) => {
                let is_of_content =
                    ["Content-Type", "Content-Encoding"].iter().any(|of| name.eq_ignore_ascii_case(of));
                // The content is the server's; and what is wrong is no worse than what has happened.
                if !is_of_content && FieldRole::of(name, value) == Ok(FieldRole::Plain) {
                    let _ = block.push(name, value);
                }
            }
        }
    }
}

impl fmt::Debug for PassingHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassingHead").field("code", &self.code).field("length", &self.length).finish()
    }
}

impl StartResponse<'_> {
    /// Lets `answer` give the response, and `filter` see it pass, now and as long as it lasts.
    ///
    /// How middleware uses it stands in [`middleware`](crate::gateway::middleware).
    ///
    /// # Errors
    /// Returns the error of `answer` or of the filter. A panic in either becomes an error here, so that the
    /// filters further out see it pass, too.
    pub fn through<F: Filter + 'static>(
        self,
        mut filter: F,
        answer: impl FnOnce(StartResponse<'_>) -> Result<Body, GatewayError>,
    ) -> Result<Body, GatewayError> {
        let mut passing = Passing::new(&mut filter, self.sink);
        let answered = guarded(|| answer(StartResponse::new(&mut passing)));
        let (passed, failure, held) = (passing.passed, passing.failure, passing.held);
        let body = match failure.map_or(answered, Err) {
            Ok(body) => body,
            Err(error) => return Err(failed(&mut filter, error)),
        };
        let Some(passed) = passed.filter(|passed| passed.passage != Passage::Unseen) else {
            return Ok(match body.into_remainder() {
                Some(Remainder::Later { until, answer }) => {
                    Body::with(Remainder::Later { until, answer: Box::new(FilteredLater { answer, filter }) })
                }
                // Without a head these are bodies kept from another call: the server refuses them.
                Some(other @ (Remainder::Stream(_) | Remainder::File(_) | Remainder::Tunnel(_))) => {
                    Body::with(other)
                }
                None => Body::complete(),
            });
        };
        let stream: Box<dyn BodyStream> = match body.into_remainder() {
            None if !held.has_more() => return end_at_once(filter, passed, self.sink),
            None => Box::new(NothingMore),
            Some(Remainder::Stream(_) | Remainder::File(_)) if passed.passage == Passage::Replaced => {
                return end_at_once(filter, passed, self.sink);
            }
            Some(Remainder::Stream(stream)) => stream,
            Some(Remainder::File(range)) => Box::new(range.into_stream()),
            // After a head that is a body kept from another call: the server refuses it.
            Some(later @ Remainder::Later { .. }) => return Ok(Body::with(later)),
            // Bytes that pass through a tunnel are not content.
            Some(tunnel @ Remainder::Tunnel(_)) => return Ok(Body::with(tunnel)),
        };
        let stream = FilteredStream { stream, filter, held, step: FilterStep::Drawing };
        Ok(Body::with(Remainder::Stream(Box::new(stream))))
    }
}

/// Ends content that was given completely in the call.
fn end_at_once(
    mut filter: impl Filter,
    passed: Passed,
    sink: &mut dyn ResponseSink,
) -> Result<Body, GatewayError> {
    let ended = guarded(|| {
        let more = match passed.passage {
            Passage::Replaced => filter.replacement()?,
            Passage::Unseen | Passage::Seen | Passage::Changed => Content::Borrowed(filter.end()?),
        };
        match more.as_slice().is_empty() || passed.length == ContentLength::Nothing {
            true => Ok(()),
            false => Ok(sink.content(more)?),
        }
    });
    match ended {
        Ok(()) => Ok(Body::complete()),
        Err(error) => Err(failed(&mut filter, error)),
    }
}

/// Lets a filter add its fields to the answer for an application that has failed.
fn failed(filter: &mut impl Filter, error: GatewayError) -> GatewayError {
    let (error, mut fields) = error.take_fields();
    let to = Destination::Failure(&mut fields);
    // A panic changes nothing: the first failure is the one to be told of.
    let _ = guarded(|| {
        filter.failure(&mut PassingHead { code: 500, length: ContentLength::Unknown, to });
        Ok(())
    });
    if fields.lines().is_empty() { error } else { error.with_fields(fields) }
}

/// Runs code of an application or a filter, and turns a panic in it into an error.
fn guarded<T>(call: impl FnOnce() -> Result<T, GatewayError>) -> Result<T, GatewayError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let error = GatewayError::of_panic(&*panic);
        // To drop what was thrown is the application's code, too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
        Err(error)
    })
}

/// A sink that stands before the server's while the application is called.
struct Passing<'s, F> {
    filter: &'s mut F,
    next: &'s mut dyn ResponseSink,
    code: u16,
    /// The application's Content-Length, held back until it is known to hold.
    declared: Option<u64>,
    /// The result of passing the head; none before it is complete.
    passed: Option<Passed>,
    /// The error of the filter about content.
    failure: Option<GatewayError>,
    /// The bytes of content that the filter still sees before the call is over.
    room: usize,
    /// The content for which there is no room. What comes later stands behind it.
    held: Held,
}

/// A head that has passed.
#[derive(Clone, Copy)]
struct Passed {
    passage: Passage,
    /// The length that the application has declared.
    length: ContentLength,
}

impl<'s, F: Filter> Passing<'s, F> {
    fn new(filter: &'s mut F, next: &'s mut dyn ResponseSink) -> Passing<'s, F> {
        let held = Held::default();
        Passing { filter, next, code: 0, declared: None, passed: None, failure: None, room: 0, held }
    }

    /// Lets the filter add to the head, once.
    fn pass_head(&mut self, length: ContentLength) -> Passed {
        if let Some(passed) = self.passed {
            return passed;
        }
        let known = self.declared.map_or(length, |declared| match length {
            ContentLength::Unknown => ContentLength::Known(declared),
            length => length,
        });
        let to = Destination::Sink(&mut *self.next);
        let passage = self.filter.head(&mut PassingHead { code: self.code, length: known, to });
        if let Some(declared) = self.declared.filter(|_| !passage.is_of_another_length()) {
            let mut digits = [0; DECIMAL_DIGITS_MAX];
            self.next.field("Content-Length", format_decimal(declared, &mut digits));
        }
        self.room = self.filter.slice_bytes();
        *self.passed.insert(Passed { passage, length })
    }

    /// Lets content pass the filter.
    fn pass(&mut self, content: Content<'_>) -> Result<(), Misuse> {
        let given = content.as_slice();
        match self.filter.content(given) {
            // The same bytes may stay where they are.
            Ok(bytes) if std::ptr::eq(bytes, given) => {}
            Ok(bytes) => return self.next.content(Content::Borrowed(bytes)),
            Err(error) => return Err(self.fail(error)),
        }
        self.next.content(content)
    }

    /// Lets all pass that is held, and what the filter holds back: the application wants it to leave now, and waits.
    fn pass_held(&mut self) -> Result<(), Misuse> {
        let mut held = std::mem::take(&mut self.held);
        while held.has_more() {
            self.pass(Content::Borrowed(held.next(self.filter.slice_bytes())))?;
        }
        self.room = self.filter.slice_bytes();
        match self.filter.pause() {
            Ok([]) => Ok(()),
            Ok(bytes) => self.next.content(Content::Borrowed(bytes)),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: GatewayError) -> Misuse {
        self.failure.get_or_insert(error);
        Misuse::Filtered
    }

    fn passes_content(&self) -> bool {
        self.passed.is_some_and(|passed| matches!(passed.passage, Passage::Seen | Passage::Changed))
    }

    fn forget(&mut self) {
        (self.declared, self.passed, self.held) = (None, None, Held::default());
    }
}

impl<F: Filter> ResponseSink for Passing<'_, F> {
    fn begin(&mut self, code: u16, reason: Option<&[u8]>) {
        self.forget();
        self.code = code;
        self.filter.begin(code);
        self.next.begin(code, reason);
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        let is_length = name.eq_ignore_ascii_case("Content-Length");
        match parse_decimal(value) {
            Some(length) if is_length && self.declared.is_none() => self.declared = Some(length),
            _ if is_length || name.eq_ignore_ascii_case("Connection") => self.next.field(name, value),
            _ if self.filter.field(name, value) => self.next.field(name, value),
            _ => {}
        }
    }

    fn end_head(&mut self, length: ContentLength) -> Result<(), Misuse> {
        let passed = self.pass_head(length);
        self.next.end_head(match (passed.passage, length) {
            (passage, ContentLength::Known(_)) if passage.is_of_another_length() => ContentLength::Unknown,
            (_, length) => length,
        })
    }

    fn content(&mut self, content: Content<'_>) -> Result<(), Misuse> {
        match self.passed.map_or(Passage::Unseen, |passed| passed.passage) {
            Passage::Unseen => return self.next.content(content),
            Passage::Replaced => return Ok(()),
            // A flush has failed, which could not say so: whoever goes on writing must not do so in vain.
            Passage::Seen | Passage::Changed if self.failure.is_some() => return Err(Misuse::Filtered),
            Passage::Seen | Passage::Changed => {}
        }
        let bytes = content.as_slice().len();
        if bytes <= self.room {
            self.room -= bytes;
            return self.pass(content);
        }
        let now = std::mem::take(&mut self.room);
        if now > 0 {
            self.pass(Content::Borrowed(&content.as_slice()[..now]))?;
        }
        self.held.push(content, now);
        Ok(())
    }

    fn send(&mut self, content: &[u8]) -> bool {
        let passed = self.pass_head(ContentLength::Known(content.len() as u64));
        passed.passage == Passage::Unseen && self.next.send(content)
    }

    fn retract(&mut self) -> Result<(), Misuse> {
        self.next.retract()?;
        self.forget();
        Ok(())
    }

    fn begin_upgrade(&mut self, protocol: &str) {
        self.forget();
        self.code = StatusCode::SWITCHING_PROTOCOLS.code();
        self.filter.begin(self.code);
        self.next.begin_upgrade(protocol);
    }

    fn end_upgrade(&mut self) -> Result<(), Misuse> {
        self.pass_head(ContentLength::Nothing);
        self.next.end_upgrade()
    }

    fn interim(&mut self, code: u16, fields: &[(&str, &[u8])]) -> Result<(), Misuse> {
        self.next.interim(code, fields)
    }

    fn flush(&mut self) {
        // What fails is told of by the next content, or when the call is over.
        if self.failure.is_none() && self.passes_content() {
            let _ = self.pass_held();
        }
        self.next.flush();
    }

    fn now(&self) -> Moment {
        self.next.now()
    }
}

/// Content that a filter sees as it is drawn.
struct FilteredStream<F> {
    stream: Box<dyn BodyStream>,
    filter: F,
    /// The content that the filter sees before the stream is drawn again.
    held: Held,
    step: FilterStep,
}

/// The next step of a filtered stream.
enum FilterStep {
    /// The application's stream is drawn.
    Drawing,
    /// The filter gives what it has held back, since the last piece is to be sent before the next is made.
    Pausing,
    /// The filter holds nothing back, and nothing has come since.
    Flushed,
    /// The stream has ended.
    Ended,
}

impl<F: Filter> BodyStream for FilteredStream<F> {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        let slice_bytes = self.filter.slice_bytes();
        if self.held.has_more() {
            return Ok(Piece::Data(self.filter.content(self.held.next(slice_bytes))?));
        }
        self.held = Held::default();
        let is_flushed = match std::mem::replace(&mut self.step, FilterStep::Drawing) {
            FilterStep::Drawing => false,
            FilterStep::Flushed => true,
            FilterStep::Pausing => {
                self.step = FilterStep::Flushed;
                return Ok(Piece::Data(self.filter.pause()?));
            }
            FilterStep::Ended => {
                self.step = FilterStep::Ended;
                return Ok(Piece::End);
            }
        };
        let is_prompt = self.stream.is_prompt();
        match self.stream.next_piece(now)? {
            Piece::Data(bytes) => {
                if is_prompt {
                    self.step = FilterStep::Pausing;
                }
                let (slice, rest) = bytes.split_at(bytes.len().min(slice_bytes));
                if !rest.is_empty() {
                    self.held.push(Content::Borrowed(rest), 0);
                }
                Ok(Piece::Data(self.filter.content(slice)?))
            }
            Piece::Pending { until } => {
                self.step = FilterStep::Flushed;
                let held = if is_flushed { &[] } else { self.filter.pause()? };
                // What was held back leaves first, and then the stream is asked again: it may have been woken meanwhile,
                // and to the server, which has not heard that it waits, that meant nothing.
                Ok(if held.is_empty() { Piece::Pending { until } } else { Piece::Data(held) })
            }
            Piece::End => {
                self.step = FilterStep::Ended;
                Ok(Piece::Data(self.filter.end()?))
            }
        }
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut trailers = self.stream.trailers();
        self.filter.trailers(&mut trailers);
        trailers
    }

    fn client_has_finished(&mut self) {
        self.stream.client_has_finished();
    }

    fn is_prompt(&self) -> bool {
        // Others come between two slices of what was given in the call.
        self.held.has_more() || self.stream.is_prompt()
    }

    fn held_bytes(&self) -> usize {
        self.stream.held_bytes() + self.filter.held_bytes() + self.held.bytes()
    }
}

/// The stream behind content that was given completely in the call.
struct NothingMore;

impl BodyStream for NothingMore {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(Piece::End)
    }
}

/// A later answer that a filter will see pass.
struct FilteredLater<F> {
    answer: Box<dyn Later>,
    filter: F,
}

impl<F: Filter + 'static> Later for FilteredLater<F> {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let FilteredLater { answer, filter } = *self;
        start_response.through(filter, |start_response| answer.resume(start_response))
    }

    fn deadline(&self) -> Option<Moment> {
        self.answer.deadline()
    }

    fn client_has_finished(&mut self) {
        self.answer.client_has_finished();
    }

    fn held_bytes(&self) -> usize {
        self.answer.held_bytes() + self.filter.held_bytes()
    }
}
