//! The reasons why a request is refused, most of them the peer's fault, and the answers to them.
//!
//! Each variant has its status code and the section of the standard that was broken. An error is
//! sticky: it is answered once, and nothing of that connection is read as a request any more.

use std::error::Error;
use std::fmt;

use crate::message::StatusCode;

/// The reason why a request is refused.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolError {
    /// The head follows no grammar: bad token, bad line end, space before a colon, folded line.
    MalformedHead,
    /// A PROXY header of HAProxy's comes first, of its version 1 or 2. Only a server that was told which
    /// peers to trust may believe it; this one has no such setting.
    ProxyHeader,
    /// More empty lines come before a request line than allowed.
    TooManyEmptyLines,
    /// The request target is none of the four forms, or not the one that goes with the method.
    InvalidTarget,
    /// An HTTP/1.1 request has no Host field.
    MissingHost,
    /// There is more than one Host field.
    RepeatedHost,
    /// The Host field is not a host with an optional port.
    InvalidHost,
    /// Content-Length is not a plain decimal number.
    InvalidContentLength,
    /// There is more than one Content-Length, even if they agree: some recipient may not see both.
    RepeatedContentLength,
    /// Content-Length and Transfer-Encoding stand together: the classic of request smuggling.
    AmbiguousLength,
    /// Transfer-Encoding stands in an HTTP/1.0 request.
    TransferEncodingInHttp10,
    /// Transfer-Encoding is empty, or chunked is not its last and only its last coding.
    InvalidTransferEncoding,
    /// A transfer coding is none that this server decodes.
    UnknownTransferCoding,
    /// The chunked framing is broken.
    InvalidChunk,
    /// A chunk extension is longer than allowed.
    ChunkExtensionTooLong,
    /// A field line of the trailer section is broken.
    InvalidTrailer,
    /// The trailer section is longer than allowed.
    TrailerTooLarge,
    /// The peer ended the connection in the middle of a request.
    IncompleteRequest,
    /// The head did not end in time.
    HeadTimeout,
    /// The content stalled, or came too slowly.
    BodyTimeout,
    /// An HTTP/1.0 request whose method wants content does not say how much follows.
    LengthRequired,
    /// The content is longer than allowed.
    ContentTooLarge,
    /// The request line is longer than allowed.
    RequestLineTooLong,
    /// The method alone is longer than a request line is allowed to be.
    MethodTooLong,
    /// An expectation is other than 100-continue.
    UnknownExpectation,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// There are more field lines than allowed.
    TooManyFields,
    /// CONNECT asks for a tunnel, which an origin server does not offer.
    TunnelUnsupported,
    /// The server has no room for the content. Like the next error, this is not the peer's fault.
    NoPlaceForContent,
    /// The application takes no requests for now.
    GatewayBusy,
    /// The version of HTTP is neither 1.0 nor 1.1. RFC 9110 §2.5 would have 1.2 to 1.9 served as 1.1. No
    /// client will ever speak them, so nobody is turned away; but how a proxy on the way understood such a
    /// request is unknown.
    UnsupportedVersion,
}

impl ProtocolError {
    /// Every variant, for tables and tests.
    pub const ALL: [ProtocolError; 31] = [
        ProtocolError::MalformedHead,
        ProtocolError::ProxyHeader,
        ProtocolError::TooManyEmptyLines,
        ProtocolError::InvalidTarget,
        ProtocolError::MissingHost,
        ProtocolError::RepeatedHost,
        ProtocolError::InvalidHost,
        ProtocolError::InvalidContentLength,
        ProtocolError::RepeatedContentLength,
        ProtocolError::AmbiguousLength,
        ProtocolError::TransferEncodingInHttp10,
        ProtocolError::InvalidTransferEncoding,
        ProtocolError::UnknownTransferCoding,
        ProtocolError::InvalidChunk,
        ProtocolError::ChunkExtensionTooLong,
        ProtocolError::InvalidTrailer,
        ProtocolError::TrailerTooLarge,
        ProtocolError::IncompleteRequest,
        ProtocolError::HeadTimeout,
        ProtocolError::BodyTimeout,
        ProtocolError::LengthRequired,
        ProtocolError::ContentTooLarge,
        ProtocolError::RequestLineTooLong,
        ProtocolError::MethodTooLong,
        ProtocolError::UnknownExpectation,
        ProtocolError::HeadTooLarge,
        ProtocolError::TooManyFields,
        ProtocolError::TunnelUnsupported,
        ProtocolError::NoPlaceForContent,
        ProtocolError::GatewayBusy,
        ProtocolError::UnsupportedVersion,
    ];

    /// Returns the status code, the text for the peer, and the section that says so.
    const fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MalformedHead => (400, "the head of the request is malformed", "RFC 9112, section 2.2"),
            Self::ProxyHeader => (400, "a PROXY header comes where none is expected", "RFC 9112, section 3"),
            Self::TooManyEmptyLines => {
                (400, "there are too many empty lines before the request", "RFC 9112, section 2.2")
            }
            Self::InvalidTarget => (400, "the request target is invalid", "RFC 9112, section 3.2"),
            Self::MissingHost => (400, "the Host field is missing", "RFC 9112, section 3.2"),
            Self::RepeatedHost => (400, "there is more than one Host field", "RFC 9112, section 3.2"),
            Self::InvalidHost => (400, "the Host field is invalid", "RFC 9112, section 3.2"),
            Self::InvalidContentLength => (400, "Content-Length is invalid", "RFC 9112, section 6.3"),
            Self::RepeatedContentLength => {
                (400, "there is more than one Content-Length", "RFC 9112, section 6.3")
            }
            Self::AmbiguousLength => {
                (400, "Content-Length and Transfer-Encoding exclude each other", "RFC 9112, section 6.3")
            }
            Self::TransferEncodingInHttp10 => {
                (400, "Transfer-Encoding does not exist in HTTP/1.0", "RFC 9112, section 6.1")
            }
            Self::InvalidTransferEncoding => {
                (400, "Transfer-Encoding does not end with chunked", "RFC 9112, section 6.3")
            }
            Self::UnknownTransferCoding => {
                (501, "a transfer coding is not implemented", "RFC 9112, section 6.1")
            }
            Self::InvalidChunk => (400, "the chunked coding is broken", "RFC 9112, section 7.1"),
            Self::ChunkExtensionTooLong => (400, "a chunk extension is too long", "RFC 9112, section 7.1.1"),
            Self::InvalidTrailer => (400, "the trailer section is malformed", "RFC 9112, section 7.1.2"),
            Self::TrailerTooLarge => (431, "the trailer section is too large", "RFC 9112, section 7.1.2"),
            Self::IncompleteRequest => (400, "the request is incomplete", "RFC 9112, section 8"),
            Self::HeadTimeout => (408, "the head did not arrive in time", "RFC 9110, section 15.5.9"),
            Self::BodyTimeout => (408, "the content did not arrive in time", "RFC 9110, section 15.5.9"),
            Self::LengthRequired => (411, "Content-Length is missing", "RFC 9110, section 15.5.12"),
            Self::ContentTooLarge => (413, "the content is too large", "RFC 9110, section 15.5.14"),
            Self::RequestLineTooLong => (414, "the request line is too long", "RFC 9110, section 15.5.15"),
            Self::MethodTooLong => (501, "the method is too long", "RFC 9112, section 3"),
            Self::UnknownExpectation => (417, "the expectation is not known", "RFC 9110, section 10.1.1"),
            Self::HeadTooLarge => (431, "the head is too large", "RFC 6585, section 5"),
            Self::TooManyFields => (431, "the head has too many fields", "RFC 6585, section 5"),
            Self::TunnelUnsupported => (501, "this server does not open tunnels", "RFC 9110, section 9.3.6"),
            Self::NoPlaceForContent => {
                (503, "the server has no place for the content", "RFC 9110, section 15.6.4")
            }
            Self::GatewayBusy => {
                (503, "the application takes no requests at present", "RFC 9110, section 15.6.4")
            }
            Self::UnsupportedVersion => {
                (505, "only HTTP/1.0 and HTTP/1.1 are spoken here", "RFC 9110, section 15.6.6")
            }
        }
    }

    /// The status code of the answer.
    pub const fn status(self) -> StatusCode {
        match StatusCode::new(self.facts().0) {
            Some(status) => status,
            None => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The section of the standard that was broken, or that defines the answer.
    pub const fn section(self) -> &'static str {
        self.facts().2
    }

    /// The content of the answer: plain text, for the person who debugs the peer.
    pub fn content(self) -> String {
        let (_, what, section) = self.facts();
        format!("{}: {what} ({section}).\n", self.status())
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, what, section) = self.facts();
        write!(f, "{code}: {what} ({section})")
    }
}

impl Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_an_error_status_and_a_section() {
        for error in ProtocolError::ALL {
            assert!((400..=505).contains(&error.status().code()), "{error:?}");
            assert!(!error.status().reason_phrase().is_empty(), "{error:?}");
            assert!(error.content().contains("section"), "{error:?}");
        }
    }
}
