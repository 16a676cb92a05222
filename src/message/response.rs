//! What can be wrong with a response before it is written.

use std::error::Error;
use std::fmt;

/// What is known of the length of the content when the head of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentLength {
    /// This many bytes will follow.
    Known(u64),
    /// As a Content-Length field says; without one, whatever comes until the end.
    Unknown,
    /// None will follow, and none is missing: an answer to HEAD need not say how much GET would give.
    Nothing,
}

/// A response that would be invalid, ambiguous or harmful on the wire.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidResponse {
    /// The status code is not between 200 and 599.
    Status(u16),
    /// The reason phrase has a control character in it (RFC 9112 §4).
    Reason,
    /// The field name is no token (RFC 9110 §5.1).
    FieldName(String),
    /// The value of this field has CR, LF, NUL or another control character in it (RFC 9110 §5.5).
    FieldValue(String),
    /// The field belongs to one connection, and so to the server (RFC 9110 §7.6.1).
    HopByHopField(String),
    /// Content-Length is no number, or is given twice.
    ContentLength,
    /// The content at hand has another length than the Content-Length field says.
    LengthMismatch {
        /// What the field says, in bytes.
        declared: u64,
        /// What was handed over, in bytes.
        given: u64,
    },
    /// The content ended before its Content-Length.
    TooShort {
        /// Bytes that are missing.
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
