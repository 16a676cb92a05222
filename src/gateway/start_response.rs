//! Starts a response: status, fields, and then content, in this order and once each.

use std::fmt;

use super::{
    Body, BodyStream, Content, FileRange, GatewayError, Later, Pieces, Remainder, ResponseSink, StartResponse,
};
use crate::message::{ContentLength, FieldBlock};
use crate::now::Moment;

impl<'a> StartResponse<'a> {
    /// Begins a response with this status code, 200 to 599.
    pub fn status(self, code: u16) -> ResponseHead<'a> {
        self.sink.begin(code, None);
        ResponseHead { sink: self.sink }
    }

    /// Begins a response with a reason phrase of its own.
    pub fn status_with_reason(self, code: u16, reason: impl AsRef<[u8]>) -> ResponseHead<'a> {
        self.sink.begin(code, Some(reason.as_ref()));
        ResponseHead { sink: self.sink }
    }

    /// Sends an interim response, 103 (Early Hints, RFC 8297) for one, at once: before the answer,
    /// which is still to be given. A client of HTTP/1.0 is spared it.
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when a field is invalid, or when the code is none of an interim
    /// response (102 to 199; 100 and 101 are the server's).
    pub fn inform(&mut self, code: u16, fields: &[(&str, &[u8])]) -> Result<(), GatewayError> {
        self.sink.interim(code, fields)?;
        self.sink.flush();
        Ok(())
    }

    /// Starts the response as `start_response(status, fields)` of PEP 3333 does: the returned writer is its
    /// `write`.
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when status or fields are invalid.
    pub fn start(self, code: u16, fields: &[(&str, &str)]) -> Result<Writer<'a>, GatewayError> {
        let head = self.status(code);
        fields.iter().fold(head, |head, (name, value)| head.field(name, value)).start()
    }

    /// Answers later: `answer` is resumed when its [`Wakeup`](super::Wakeup) is used, at `until`, or at its
    /// [own moment](Later::deadline). Without a moment and a wake-up the client waits for as long as it likes: no
    /// limit of the server's ends that.
    pub fn later(self, until: Option<Moment>, answer: impl Later + 'static) -> Body {
        self.later_boxed(until, Box::new(answer))
    }

    /// Answers at `moment`, with the response that `answer` then gives.
    pub fn at<F>(self, moment: Moment, answer: F) -> Body
    where
        F: FnOnce(StartResponse<'_>) -> Result<Body, GatewayError> + 'static,
    {
        self.later(Some(moment), AtMoment { moment, answer })
    }

    /// Answers later, as [`StartResponse::later`] does, for an answer that says "later" again.
    pub fn later_boxed(self, until: Option<Moment>, answer: Box<dyn Later>) -> Body {
        let until = [until, answer.deadline()].into_iter().flatten().min();
        Body::with(Remainder::Later { until, answer })
    }

    /// The time of this turn of the server.
    pub fn now(&self) -> Moment {
        self.sink.now()
    }
}

/// A response whose head is being written. The first error sticks, and comes out at its end.
pub struct ResponseHead<'a> {
    sink: &'a mut dyn ResponseSink,
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead").finish_non_exhaustive()
    }
}

impl<'a> ResponseHead<'a> {
    /// Adds a field line. `Content-Length` is checked against what follows, `Connection: close`
    /// is obeyed; the other fields of the connection are the server's and refused.
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> ResponseHead<'a> {
        self.sink.field(name, value.as_ref());
        self
    }

    /// Adds fields that were checked before, all at once.
    pub fn fields(self, block: &FieldBlock) -> ResponseHead<'a> {
        self.sink.fields(block);
        self
    }

    /// Starts over with another status and other fields (`exc_info` in PEP 3333).
    ///
    /// # Errors
    /// Never returns an error at this stage; the type is shared with [`Writer::replace`].
    pub fn replace(self) -> Result<StartResponse<'a>, GatewayError> {
        self.sink.retract()?;
        Ok(StartResponse { sink: self.sink })
    }

    /// Ends the head and hands over all of the content; its length goes into Content-Length.
    ///
    /// Long content that lives as long as the program is best handed over as [`Content::Static`]: a plain
    /// reference does not say that, and is copied.
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when status or fields are invalid.
    pub fn send<'c>(self, content: impl Into<Content<'c>>) -> Result<Body, GatewayError> {
        let content = content.into();
        if !self.sink.send(content.as_slice()) {
            self.sink.end_head(ContentLength::Known(content.as_slice().len() as u64))?;
            self.sink.content(content)?;
        }
        Ok(Body::complete())
    }

    /// Ends a head that no content follows: a redirect, 204, 304, or an answer to HEAD, in which a
    /// Content-Length field may tell what GET would give.
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when status or fields are invalid.
    pub fn finish(self) -> Result<Body, GatewayError> {
        self.sink.end_head(ContentLength::Nothing)?;
        Ok(Body::complete())
    }

    /// Ends the head; content is drawn while the socket takes it. The stream outlives the call, so it
    /// must own what it gives.
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when status or fields are invalid.
    pub fn stream(self, stream: impl BodyStream + 'static) -> Result<Body, GatewayError> {
        Ok(self.start()?.stream(stream))
    }

    /// Ends the head; the iterator's items are the content. It outlives the call, so it must own
    /// them.
    ///
    /// The iterator must not block: it runs on the thread of the event loop, and all clients would wait with it. So a
    /// [`Receiver`](std::sync::mpsc::Receiver) cannot be given, although it compiles, nor the lines of a pipe or a
    /// socket. For those there is [`stream`](ResponseHead::stream): with a [`channel`](super::channel) from a thread
    /// that may wait, or with a [`BodyStream`] that says [`Pending`](super::Piece::Pending).
    ///
    /// ```
    /// # use tidegate::{Body, Environ, GatewayError, StartResponse};
    /// fn gateway(_: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     start_response.status(200).pieces((1..=3).map(|number| format!("{number}\n")))
    /// }
    /// # let mut hand = tidegate::conversation::ByHand::new(gateway);
    /// # hand.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    /// # assert!(hand.transmit_all().ends_with(b"\r\n\r\n1\n2\n3\n"));
    /// ```
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when status or fields are invalid.
    pub fn pieces<I>(self, pieces: I) -> Result<Body, GatewayError>
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: 'static>,
    {
        self.stream(Pieces::new(pieces.into_iter()))
    }

    /// Ends the head; part of a file is the content, and its length goes into Content-Length.
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when status or fields are invalid.
    pub fn file(self, range: FileRange) -> Result<Body, GatewayError> {
        self.sink.end_head(ContentLength::Known(range.length))?;
        Ok(Body::with(Remainder::File(range)))
    }

    /// Ends the head; content is written, and its length is not known yet unless a Content-Length
    /// field was added.
    ///
    /// # Errors
    /// Returns [`Misuse`](super::Misuse) when status or fields are invalid.
    pub fn start(self) -> Result<Writer<'a>, GatewayError> {
        self.sink.end_head(ContentLength::Unknown)?;
        Ok(Writer { sink: self.sink })
    }
}

/// A response that was started; its content is being written (`write` in PEP 3333).
///
/// Written content is buffered until the call is over, or until it is [flushed](Writer::flush): for much
/// content use a stream.
pub struct Writer<'a> {
    sink: &'a mut dyn ResponseSink,
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<'a> Writer<'a> {
    /// Appends content. Bytes beyond a declared Content-Length are cut off.
    ///
    /// # Errors
    /// Returns no error that an application could cause; the type leaves room.
    pub fn write<'c>(&mut self, content: impl Into<Content<'c>>) -> Result<(), GatewayError> {
        Ok(self.sink.content(content.into())?)
    }

    /// Sends what was written, without waiting for the end of the call. What the socket does not take at once
    /// stays buffered. The head cannot be replaced afterwards.
    pub fn flush(&mut self) {
        self.sink.flush();
    }

    /// Ends the content.
    ///
    /// # Errors
    /// Never returns an error; the type suits the end of a gateway. Content that is too short for its
    /// declared length is found when the body is handed in.
    pub fn finish(self) -> Result<Body, GatewayError> {
        Ok(Body::complete())
    }

    /// Goes on with a stream, which is drawn while the socket takes it.
    pub fn stream(self, stream: impl BodyStream + 'static) -> Body {
        Body::with(Remainder::Stream(Box::new(stream)))
    }

    /// Starts over with another status and other fields (`exc_info` in PEP 3333).
    ///
    /// # Errors
    /// Returns [`Misuse::AlreadySent`](super::Misuse::AlreadySent) when content was written, or the head was
    /// flushed.
    pub fn replace(self) -> Result<StartResponse<'a>, GatewayError> {
        self.sink.retract()?;
        Ok(StartResponse { sink: self.sink })
    }
}

/// An answer that is due at a moment; woken before, it waits on.
struct AtMoment<F> {
    moment: Moment,
    answer: F,
}

impl<F> Later for AtMoment<F>
where
    F: FnOnce(StartResponse<'_>) -> Result<Body, GatewayError> + 'static,
{
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        if start_response.now() < self.moment {
            return Ok(start_response.later_boxed(Some(self.moment), self));
        }
        (self.answer)(start_response)
    }
}
