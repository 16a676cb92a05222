//! The destination of a response, and the parts it consists of on the way: the server's side of
//! `start_response`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::Misuse;
use crate::message::{ConnectionOption, ContentLength, FieldBlock};
use crate::now::Moment;

/// Takes a response: the server's side of [`StartResponse`].
///
/// Calls come in the order begin, field…, end_head, content… (or send, for the last two); `retract` goes back
/// to the start. Errors in status or fields are returned at the end of the head, the first of several.
pub trait ResponseSink {
    /// Takes the status line. `reason` replaces the standard's phrase.
    fn begin(&mut self, code: u16, reason: Option<&[u8]>);
    /// Takes a field line.
    fn field(&mut self, name: &str, value: &[u8]);
    /// Takes fields that were checked before.
    fn fields(&mut self, block: &FieldBlock) {
        if let Some(length) = block.content_length() {
            self.field("Content-Length", length.to_string().as_bytes());
        }
        if block.connection() == ConnectionOption::Close {
            self.field("Connection", b"close");
        }
        block.iter().for_each(|(name, value)| self.field(name, value));
    }
    /// Ends the head, which fixes the framing.
    fn end_head(&mut self, length: ContentLength) -> Result<(), Misuse>;
    /// Takes content.
    fn content(&mut self, content: Content<'_>) -> Result<(), Misuse>;
    /// Ends the head and copies all of the content after it in one call, if the content is short and nothing
    /// stands in the way, as with nearly every response. Returns whether it did; if not, nothing has
    /// happened.
    fn send(&mut self, content: &[u8]) -> bool {
        let _ = content;
        false
    }
    /// Forgets the response so far. Refused once content was taken, or anything was sent.
    fn retract(&mut self) -> Result<(), Misuse>;
    /// Takes the status line of 101 (Switching Protocols), and the fields that go with it. A sink that cannot
    /// says so at the end of the head.
    fn begin_upgrade(&mut self, protocol: &str) {
        let _ = protocol;
    }
    /// Ends the head of 101; the bytes after it are the tunnel's.
    fn end_upgrade(&mut self) -> Result<(), Misuse> {
        Err(Misuse::NoUpgrade)
    }
    /// Takes an interim response (RFC 9110 §15.2), which comes before the status line. Not every sink
    /// passes them on: a client must do without.
    fn interim(&mut self, code: u16, fields: &[(&str, &[u8])]) -> Result<(), Misuse> {
        let _ = (code, fields);
        Ok(())
    }
    /// Sends what was taken, as far as the socket accepts it without waiting. The rest is sent later.
    fn flush(&mut self) {}
    /// The time of this turn.
    fn now(&self) -> Moment;
}

/// Starts the response of one request; every way to a [`Body`](super::Body) begins here: status, fields, and then
/// content, in this order and once each.
///
/// ```text
/// StartResponse ── status(200) ──▶ ResponseHead ── field(…) ──▶ ResponseHead
///       │                               ├── send(content) ──────────▶ Body
///       │                               ├── stream(…), pieces(…) ───▶ Body
///       │                               ├── file(…) ────────────────▶ Body
///       │                               └── start(…) ──▶ Writer ────▶ Body
///       └── later(…), at(…) ────────────────────────────────────────▶ Body
/// ```
///
/// Each step uses up the one before it, so the order cannot be broken. To answer twice does not
/// compile,
///
/// ```compile_fail,E0382
/// # use tidegate::{Body, GatewayError, StartResponse};
/// fn twice(start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
///     start_response.status(200).send("a")?;
///     start_response.status(200).send("b")
/// }
/// ```
///
/// and neither does not answering, since there is no other way to a [`Body`](super::Body):
///
/// ```compile_fail,E0308
/// # use tidegate::{Body, GatewayError, StartResponse};
/// fn never(_: StartResponse<'_>) -> Result<Body, GatewayError> {
///     Ok(())
/// }
/// ```
pub struct StartResponse<'a> {
    pub(super) sink: &'a mut dyn ResponseSink,
}

impl fmt::Debug for StartResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartResponse").field("now", &self.sink.now()).finish_non_exhaustive()
    }
}

impl<'a> StartResponse<'a> {
    /// Lets an application answer into `sink`; for servers and tests.
    pub fn new(sink: &'a mut dyn ResponseSink) -> StartResponse<'a> {
        StartResponse { sink }
    }
}

/// Content at hand. Short content is copied behind the head, so that both leave in one write; long content is
/// kept by reference until the socket has taken it, unless it is borrowed.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Bytes that are lent for the length of the call.
    Borrowed(&'a [u8]),
    /// Bytes that live as long as the program.
    Static(&'static [u8]),
    /// Bytes that are handed over.
    Owned(Vec<u8>),
    /// Bytes that are shared, with other responses for instance.
    Shared(Arc<[u8]>),
}

impl Content<'_> {
    /// The content as bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Content::Borrowed(bytes) => bytes,
            Content::Static(bytes) => bytes,
            Content::Owned(bytes) => bytes,
            Content::Shared(bytes) => bytes,
        }
    }

    /// Returns the content without a borrow; only borrowed content is copied.
    pub fn into_owned(self) -> Content<'static> {
        match self {
            Content::Borrowed(bytes) => Content::Owned(bytes.to_vec()),
            Content::Static(bytes) => Content::Static(bytes),
            Content::Owned(bytes) => Content::Owned(bytes),
            Content::Shared(bytes) => Content::Shared(bytes),
        }
    }
}

macro_rules! content_from {
    ($($from:ty, $bytes:ident => $content:expr;)*) => {
        $(impl<'a> From<$from> for Content<'a> {
            fn from($bytes: $from) -> Content<'a> {
                $content
            }
        })*
    };
}

content_from! {
    &'a [u8], bytes => Content::Borrowed(bytes);
    &'a Vec<u8>, bytes => Content::Borrowed(bytes);
    &'a str, bytes => Content::Borrowed(bytes.as_bytes());
    &'a String, bytes => Content::Borrowed(bytes.as_bytes());
    Vec<u8>, bytes => Content::Owned(bytes);
    String, bytes => Content::Owned(bytes.into_bytes());
    Arc<[u8]>, bytes => Content::Shared(bytes);
    Arc<str>, text => Content::Shared(text.into());
}

impl<'a, T: ToOwned + ?Sized> From<Cow<'a, T>> for Content<'a>
where
    Content<'a>: From<&'a T> + From<T::Owned>,
{
    fn from(content: Cow<'a, T>) -> Content<'a> {
        match content {
            Cow::Borrowed(borrowed) => borrowed.into(),
            Cow::Owned(owned) => owned.into(),
        }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Content<'a> {
    fn from(bytes: &'a [u8; N]) -> Content<'a> {
        Content::Borrowed(bytes)
    }
}
