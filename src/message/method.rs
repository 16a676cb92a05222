//! The request method (RFC 9110 §9).

use std::fmt;

/// A method token, as it stood in the request line. Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method<'a>(pub &'a str);

impl<'a> Method<'a> {
    /// GET: transfer a current representation.
    pub const GET: Method<'static> = Method("GET");
    /// HEAD: as GET, but without content in the response.
    pub const HEAD: Method<'static> = Method("HEAD");
    /// POST: process the request content.
    pub const POST: Method<'static> = Method("POST");
    /// PUT: replace the target with the request content.
    pub const PUT: Method<'static> = Method("PUT");
    /// CONNECT: establish a tunnel, which an origin server does not do.
    pub const CONNECT: Method<'static> = Method("CONNECT");
    /// OPTIONS: describe the communication options.
    pub const OPTIONS: Method<'static> = Method("OPTIONS");

    /// The token itself.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the method is safe: it asks for nothing but information (RFC 9110 §9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self.0, "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }

    /// Whether the method is idempotent: doing it twice is as good as doing it once (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self.0, "PUT" | "DELETE")
    }

    /// Whether a request with this method is expected to carry content (RFC 9110 §9.3).
    pub fn wants_content(self) -> bool {
        matches!(self.0, "POST" | "PUT" | "PATCH")
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
