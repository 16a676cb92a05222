//! What the fields of a head mean for the connection and for this message: framing, expectation, persistence.
//!
//! The rules of RFC 9112 that need all lines of a head at once: one Host and a valid one (§3.2), which length
//! wins (§6.3), whether an interim response is waited for (RFC 9110 §10.1.1), whether the connection is kept (§9.3).
//! The form of the lines is [`parse_head`](super::parse_head)'s.
//!
//! Nearly all heads say nothing but a host, and perhaps that the connection is to be kept. Those have one look, and
//! the [usual](Meaning::USUAL) meaning; all others are judged.

use super::error::ProtocolError;
use super::framing::{FramingFields, RequestFraming};
use super::persistence::{ConnectionOption, Persistence};
use super::response_encoder::TrailerWish;
use crate::message::{Method, RequestTarget, Version, is_host, list_items};

/// What the client waits for before it sends the content (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// An interim response 100 (Continue).
    Continue,
}

/// What a head means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// How the content that follows is framed.
    pub framing: RequestFraming,
    /// What the client expects before it sends that content.
    pub expectation: Expectation,
    /// Whether the client wants to keep the connection.
    pub persistence: Persistence,
    /// Whether the client takes trailer fields.
    pub trailers: TrailerWish,
}

impl Meaning {
    /// Of nearly all requests.
    const USUAL: Meaning = Meaning {
        framing: RequestFraming::None,
        expectation: Expectation::None,
        persistence: Persistence::KeepAlive,
        trailers: TrailerWish::Unwanted,
    };

    /// Of a head with these lines and this request line.
    ///
    /// # Errors
    /// The first rule that the fields break, or the request line beside them.
    #[inline(always)]
    pub(super) fn of(
        lines: &[httparse::Header<'_>],
        method: Method<'_>,
        target: RequestTarget<'_>,
        version: Version,
    ) -> Result<Meaning, ProtocolError> {
        let is_usual =
            version == Version::Http11 && !target.is_tunnel() && sole_host(lines).is_some_and(is_host);
        // The short way may know less than the long one, but nothing else.
        debug_assert!(!is_usual || Control::judge(lines, method, target, version) == Ok(Meaning::USUAL));
        if is_usual { Ok(Meaning::USUAL) } else { Control::judge(lines, method, target, version) }
    }
}

/// The fields that have a say in this connection or the framing of this message. Nobody else looks for one by its
/// name, so that none can be known in one place and forgotten in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ControlField {
    /// Whether trailers are taken.
    Te,
    /// Whom the request is for.
    Host,
    /// Whether the connection is to be kept.
    Connection,
    /// Whether an interim response is waited for.
    Expect,
    /// How long the content is.
    ContentLength,
    /// How the content is coded.
    TransferEncoding,
}

impl ControlField {
    /// The one of this name. The length rules out nearly all others.
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

/// Whether two names are the same. As it is usually written first: that is one comparison.
#[inline(always)]
fn is(name: &str, other: &str) -> bool {
    name == other || name.eq_ignore_ascii_case(other)
}

/// The host, if the fields that control a connection say nothing but that, and perhaps that it is to be kept. That
/// is so for nearly all requests, and nothing is left to be decided then.
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

/// What the fields say that control this connection and the framing of this message.
#[derive(Default)]
struct Control<'b> {
    host: Option<&'b [u8]>,
    framing: FramingFields,
    connection: ConnectionOption,
    expects_continue: bool,
    trailers: TrailerWish,
}

impl<'b> Control<'b> {
    /// What all lines and the rest of the head mean together.
    #[inline(never)]
    fn judge(
        lines: &[httparse::Header<'b>],
        method: Method<'_>,
        target: RequestTarget<'_>,
        version: Version,
    ) -> Result<Meaning, ProtocolError> {
        let control = Control::collect(lines)?;
        control.check_host(version)?;
        if target.is_tunnel() {
            return Err(ProtocolError::TunnelUnsupported);
        }
        Ok(Meaning {
            framing: control.framing(method, version)?,
            expectation: control.expectation(version),
            persistence: Persistence::of_request(version, control.connection),
            trailers: control.trailers,
        })
    }

    /// One pass over all lines.
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

    /// RFC 9110 §10.1.4. That `TE` be named in Connection, too, is for intermediaries to look at: whoever takes chunks
    /// has to take what follows them.
    fn note_te(&mut self, value: &[u8]) {
        if list_items(value).any(|item| item.eq_ignore_ascii_case(b"trailers")) {
            self.trailers = TrailerWish::Wanted;
        }
    }

    /// RFC 9112 §3.2: HTTP/1.1 has exactly one Host field, whatever the target says.
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

    /// HTTP/1.0 knows no interim responses: the expectation is ignored (RFC 9110 §10.1.1).
    fn expectation(&self, version: Version) -> Expectation {
        match version {
            Version::Http11 if self.expects_continue => Expectation::Continue,
            _ => Expectation::None,
        }
    }
}
