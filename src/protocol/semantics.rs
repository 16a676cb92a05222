//! Interprets the fields of a head for the connection and this message: framing, expectation, persistence.
//!
//! The rules of RFC 9112 that need all lines of a head at once: one Host and a valid one (§3.2), which length
//! applies (§6.3), whether an interim response is awaited (RFC 9110 §10.1.1), whether the connection is kept
//! (§9.3). [`parse_head`](super::parse_head) checks the form of the lines.
//!
//! Nearly all heads carry only a host, and perhaps the wish to keep the connection. One look recognises them,
//! and they have the [usual](HeadSemantics::USUAL) semantics; all others are interpreted.

use super::error::ProtocolError;
use super::framing::{FramingFields, RequestFraming};
use super::persistence::Persistence;
use super::response_encoder::TrailerWish;
use crate::message::{ConnectionOption, Method, RequestTarget, Version, is_host, list_items};

/// The client's expectation before it sends the content (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The client expects nothing.
    None,
    /// The client waits for an interim response 100 (Continue).
    Continue,
}

/// The consequences of a head for the connection and this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSemantics {
    /// The framing of the content that follows.
    pub framing: RequestFraming,
    /// The client's expectation before it sends that content.
    pub expectation: Expectation,
    /// Whether the client wants to keep the connection.
    pub persistence: Persistence,
    /// Whether the client takes trailer fields.
    pub trailers: TrailerWish,
}

impl HeadSemantics {
    /// The semantics of nearly all requests.
    const USUAL: HeadSemantics = HeadSemantics {
        framing: RequestFraming::None,
        expectation: Expectation::None,
        persistence: Persistence::KeepAlive,
        trailers: TrailerWish::Unwanted,
    };

    /// Interprets a head with these lines and this request line.
    ///
    /// # Errors
    /// Returns the first rule that the fields break, by themselves or with the request line.
    #[inline(always)]
    pub(super) fn of(
        lines: &[httparse::Header<'_>],
        method: Method<'_>,
        target: RequestTarget<'_>,
        version: Version,
    ) -> Result<HeadSemantics, ProtocolError> {
        let is_usual =
            version == Version::Http11 && !target.is_tunnel() && sole_host(lines).is_some_and(is_host);
        // The short way may know less than the long one, but nothing else.
        debug_assert!(
            !is_usual || Control::interpret(lines, method, target, version) == Ok(HeadSemantics::USUAL)
        );
        if is_usual { Ok(HeadSemantics::USUAL) } else { Control::interpret(lines, method, target, version) }
    }
}

/// The fields that control this connection or the framing of this message. They are looked up nowhere else,
/// so that none can be known in one place and forgotten in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ControlField {
    /// Says whether trailers are accepted.
    Te,
    /// Names the host that the request is for.
    Host,
    /// Says whether the connection is to be kept.
    Connection,
    /// Says whether an interim response is awaited.
    Expect,
    /// Declares the length of the content.
    ContentLength,
    /// Declares the coding of the content.
    TransferEncoding,
}

impl ControlField {
    /// Returns the control field with this name. The length rules out nearly all other names.
    #[inline(always)]
    fn of(name: &str) -> Option<ControlField> {
        match name.len() {
            2 if is(name, "TE") => Some(ControlField::Te),
            4 if is(name, "Host") => Some(ControlField::Host),
            6 if is(name, "Expect") => Some(ControlField::Expect),
            10 if is(name, "Connection") => Some(ControlField::Connection),
            14 if is(name, "Content-Length") => Some(ControlField::ContentLength),
            17 if is(name, "Transfer-Encoding") => Some(ControlField::TransferEncoding),
            _ => None,
        }
    }
}

/// Whether two names are the same. The usual spelling comes first: that is one comparison.
#[inline(always)]
fn is(name: &str, other: &str) -> bool {
    name == other || name.eq_ignore_ascii_case(other)
}

/// Returns the host if the control fields carry only that, and perhaps the wish to keep the connection. That
/// is so for nearly all requests, and then nothing is left to be decided.
#[inline(always)]
fn sole_host<'b>(lines: &[httparse::Header<'b>]) -> Option<&'b [u8]> {
    let mut host = None;
    for line in lines {
        match ControlField::of(line.name) {
            None => {}
            Some(ControlField::Host) if host.is_none() => host = Some(line.value),
            Some(ControlField::Connection) if line.value == b"keep-alive" => {}
            Some(
                ControlField::Te
                | ControlField::Host
                | ControlField::Connection
                | ControlField::Expect
                | ControlField::ContentLength
                | ControlField::TransferEncoding,
            ) => return None,
        }
    }
    host
}

/// The values of the fields that control this connection and the framing of this message.
#[derive(Default)]
struct Control<'b> {
    host: Option<&'b [u8]>,
    framing: FramingFields,
    connection: ConnectionOption,
    expects_continue: bool,
    trailers: TrailerWish,
}

impl<'b> Control<'b> {
    /// Interprets all lines and the rest of the head together.
    fn interpret(
        lines: &[httparse::Header<'b>],
        method: Method<'_>,
        target: RequestTarget<'_>,
        version: Version,
    ) -> Result<HeadSemantics, ProtocolError> {
        let control = Control::collect(lines)?;
        control.check_host(version)?;
        if target.is_tunnel() {
            return Err(ProtocolError::TunnelUnsupported);
        }
        Ok(HeadSemantics {
            framing: control.framing(method, version)?,
            expectation: control.expectation(version),
            persistence: Persistence::of_request(version, control.connection),
            trailers: control.trailers,
        })
    }

    /// Collects the control fields in one pass over all lines.
    fn collect(lines: &[httparse::Header<'b>]) -> Result<Control<'b>, ProtocolError> {
        let mut control = Control::default();
        for line in lines {
            match ControlField::of(line.name) {
                None => {}
                Some(ControlField::Te) => control.note_te(line.value),
                Some(ControlField::Host) if control.host.is_some() => {
                    return Err(ProtocolError::RepeatedHost);
                }
                Some(ControlField::Host) => control.host = Some(line.value),
                Some(ControlField::Expect) => {
                    if !line.value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(ProtocolError::UnknownExpectation);
                    }
                    control.expects_continue = true;
                }
                Some(ControlField::Connection) => control.connection = control.connection.and(line.value),
                Some(ControlField::ContentLength) => control.framing.content_length(line.value)?,
                Some(ControlField::TransferEncoding) => control.framing.transfer_encoding(line.value)?,
            }
        }
        Ok(control)
    }

    /// Notes whether `TE` accepts trailers (RFC 9110 §10.1.4). That it must be named in Connection, too,
    /// concerns intermediaries: a recipient of chunks has to accept what follows them.
    fn note_te(&mut self, value: &[u8]) {
        if list_items(value).any(|item| item.eq_ignore_ascii_case(b"trailers")) {
            self.trailers = TrailerWish::Wanted;
        }
    }

    /// Checks that HTTP/1.1 has exactly one Host field, whatever the target says (RFC 9112 §3.2).
    fn check_host(&self, version: Version) -> Result<(), ProtocolError> {
        match (self.host, version) {
            (None, Version::Http11) => Err(ProtocolError::MissingHost),
            (Some(host), _) if !is_host(host) => Err(ProtocolError::InvalidHost),
            _ => Ok(()),
        }
    }

    fn framing(&self, method: Method<'_>, version: Version) -> Result<RequestFraming, ProtocolError> {
        if version == Version::Http10 && self.framing.has_transfer_encoding() {
            return Err(ProtocolError::TransferEncodingInHttp10);
        }
        let framing = self.framing.decide()?;
        // HTTP/1.0 has no other way to tell the end of a request (RFC 1945 §7.2.2); in HTTP/1.1
        // neither field means no content (RFC 9112 §6.3).
        if version == Version::Http10 && framing == RequestFraming::None && method.wants_content() {
            return Err(ProtocolError::LengthRequired);
        }
        Ok(framing)
    }

    /// Returns the expectation, which is ignored in HTTP/1.0: that knows no interim responses (RFC 9110
    /// §10.1.1).
    fn expectation(&self, version: Version) -> Expectation {
        match version {
            Version::Http11 if self.expects_continue => Expectation::Continue,
            _ => Expectation::None,
        }
    }
}
