//! The head of a request: request line and field lines (RFC 9112 §2.1, §3).

use super::{Fields, Method, RequestTarget};

/// The version of the protocol that the peer speaks (RFC 9112 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, closed after each exchange unless asked to keep.
    Http10,
    /// HTTP/1.1: kept unless asked to close.
    Http11,
}

impl Version {
    /// The version as it stands in a request line and in SERVER_PROTOCOL.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// A complete, valid head. It borrows from the receive buffer, or from an owned copy.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The request method.
    pub method: Method<'a>,
    /// The request target.
    pub target: RequestTarget<'a>,
    /// The peer's version.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'a>,
}
