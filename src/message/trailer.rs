//! Decides which fields can come after the content (RFC 9110 §6.5.1).

/// Fields that a trailer section must not have, in lower case: they would have been needed before the content, or
/// decide something that must not be decided twice.
const FORBIDDEN: [&str; 39] = [
    // Framing, and the connection.
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Routing, and who is asking.
    "forwarded",
    "host",
    "max-forwards",
    "proxy",
    "via",
    "x-real-ip",
    // Modifiers of a request.
    "accept",
    "cache-control",
    "expect",
    "pragma",
    "prefer",
    "range",
    "x-http-method-override",
    // Authentication, and state.
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    // Control of a response.
    "age",
    "allow",
    "alt-svc",
    "date",
    "expires",
    "location",
    "refresh",
    "retry-after",
    "server",
    "status",
    "strict-transport-security",
    "vary",
];

/// Beginnings of forbidden names: conditions, preferences, descriptions of the content, and reports of
/// proxies on a client.
const FORBIDDEN_PREFIXES: [&str; 5] = ["if-", "accept-", "access-control-", "content-", "x-forwarded-"];

/// Fields with a forbidden prefix whose definitions allow them after the content all the same: RFC 9530 §2, RFC 9110
/// §14.3.
const ALLOWED: [&str; 2] = ["content-digest", "accept-ranges"];

/// Whether a field of this name can come after the content (RFC 9110 §6.5.1).
///
/// Forbidden is what frames, routes, authenticates or changes a message, and what says of which kind its content is:
/// who has read as far as the trailers has decided all that long before. `_` counts as `-`, since in many places it
/// ends up as the same.
///
/// ```
/// use tidegate::message::may_be_trailer;
///
/// assert!(may_be_trailer("Content-Digest") && may_be_trailer("ETag") && may_be_trailer("grpc-status"));
/// assert!(!may_be_trailer("Content-Length") && !may_be_trailer("host") && !may_be_trailer("Transfer_Encoding"));
/// ```
pub fn may_be_trailer(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let is_forbidden = || {
        FORBIDDEN.contains(&name.as_str()) || FORBIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    ALLOWED.contains(&name.as_str()) || !is_forbidden()
}
