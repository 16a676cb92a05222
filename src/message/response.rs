//! The rules for a response that is about to be written, and the errors for breaking them.

use std::error::Error;
use std::fmt;

use super::fields::{is_field_name, is_field_value, list_items, parse_decimal};

/// The length of the content, as far as it is known when the head of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentLength {
    /// This many bytes will follow.
    Known(u64),
    /// The Content-Length field says the length; without one, content goes on until its end.
    Unknown,
    /// No content will follow, and none is missing: an answer to HEAD need not say how much GET would give.
    Nothing,
}

/// The meaning of a response field to the server that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldRole {
    /// The field means nothing to the server: it is passed on.
    Plain,
    /// The field declares how many bytes of content follow.
    ContentLength(u64),
    /// The field decides the fate of the connection: it contains `close` or `keep-alive`.
    Connection,
    /// The field replaces the server's own `Date`.
    Date,
    /// The field replaces the server's own `Server`.
    Server,
}

impl FieldRole {
    /// Determines the role of a field that an application gives.
    ///
    /// ```
    /// use tidegate::message::{FieldRole, InvalidResponse};
    ///
    /// assert_eq!(FieldRole::of("Content-Length", b"13"), Ok(FieldRole::ContentLength(13)));
    /// let smuggled = FieldRole::of("X", b"a\r\nSet-Cookie: b");
    /// assert_eq!(smuggled, Err(InvalidResponse::FieldValue("X".to_string())));
    /// ```
    ///
    /// # Errors
    /// No field name, no field value, a Content-Length that is not a number, or a field that is the
    /// server's.
    pub fn of(name: &str, value: &[u8]) -> Result<FieldRole, InvalidResponse> {
        if !is_field_name(name.as_bytes()) {
            return Err(InvalidResponse::FieldName(name.to_string()));
        }
        if !is_field_value(value) {
            return Err(InvalidResponse::FieldValue(name.to_string()));
        }
        // By length and first letter, so that the usual field costs two comparisons.
        match (name.len(), name.as_bytes()[0] | 0x20) {
            (10 | 14, b'c') | (4, b'd') | (6, b's') => FieldRole::of_known(name, value),
            (2 | 17, b't') | (7, b'u') | (10, b'k') | (16, b'p') => FieldRole::of_known(name, value),
            _ => Ok(FieldRole::Plain),
        }
    }

    /// Whether this is a plain Content-Type field, which nearly every response has, and whose name needs no further
    /// check.
    #[inline(always)]
    pub(crate) fn is_content_type(name: &str, value: &[u8]) -> bool {
        name == "Content-Type" && is_field_value(value)
    }

    fn of_known(name: &str, value: &[u8]) -> Result<FieldRole, InvalidResponse> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let names_option =
            |item: &[u8]| item.eq_ignore_ascii_case(b"close") || item.eq_ignore_ascii_case(b"keep-alive");
        match name.len() {
            14 if name == "Content-Length" || is("Content-Length") => {
                parse_decimal(value).map(FieldRole::ContentLength).ok_or(InvalidResponse::ContentLength)
            }
            10 if is("Connection") && list_items(value).any(names_option) => Ok(FieldRole::Connection),
            4 if is("Date") => Ok(FieldRole::Date),
            6 if is("Server") => Ok(FieldRole::Server),
            _ if HOP_BY_HOP.iter().any(|other| is(other)) => {
                Err(InvalidResponse::HopByHopField(name.to_string()))
            }
            _ => Ok(FieldRole::Plain),
        }
    }
}

/// Fields that belong to one connection (RFC 9110 §7.6.1), and so to the server.
const HOP_BY_HOP: [&str; 6] =
    ["Connection", "TE", "Upgrade", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding"];

/// A response that would be invalid, ambiguous or harmful on the wire.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidResponse {
    /// The status code is not between 200 and 599.
    Status(u16),
    /// The reason phrase has a control character in it (RFC 9112 §4).
    Reason,
    /// The field name is not a token (RFC 9110 §5.1).
    FieldName(String),
    /// The value of this field has CR, LF, NUL or another control character in it (RFC 9110 §5.5).
    FieldValue(String),
    /// The field belongs to one connection, and so to the server (RFC 9110 §7.6.1).
    HopByHopField(String),
    /// The field cannot be a trailer field (RFC 9110 §6.5.1).
    Trailer(String),
    /// Content-Length is not a number, or is given twice.
    ContentLength,
    /// The content at hand has another length than Content-Length declares.
    LengthMismatch {
        /// The length that the field declares, in bytes.
        declared: u64,
        /// The length of the content, in bytes.
        given: u64,
    },
    /// The content ended before its Content-Length.
    TooShort {
        /// The number of missing bytes.
        missing: u64,
    },
}

impl fmt::Display for InvalidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "{code} is no final status code (200 to 599)"),
            Self::Reason => write!(f, "a control character in the reason phrase"),
            Self::FieldName(name) => write!(f, "{name:?} is no field name"),
            Self::FieldValue(name) => {
                write!(f, "a control character in the value of field {name:?}")
            }
            Self::HopByHopField(name) => write!(f, "field {name:?} is the server's to send"),
            Self::Trailer(name) => write!(f, "field {name:?} cannot be a trailer"),
            Self::ContentLength => write!(f, "Content-Length is no number, or is given twice"),
            Self::LengthMismatch { declared, given } => {
                write!(f, "Content-Length says {declared}, but the content has {given} bytes")
            }
            Self::TooShort { missing } => {
                write!(f, "the content ended {missing} bytes before its Content-Length")
            }
        }
    }
}

impl Error for InvalidResponse {}
