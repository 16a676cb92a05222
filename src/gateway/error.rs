//! What goes wrong in an application.

use std::error::Error;
use std::fmt;

/// A failed answer. Any error converts into it, so `?` works in a gateway.
///
/// The client sees a 500 and no word of the text; the log has it all.
#[derive(Debug)]
pub struct GatewayError(Box<dyn Error + Send + Sync>);

impl GatewayError {
    /// An error with a cause, or with a text.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> GatewayError {
        GatewayError(cause.into())
    }

    /// The misuse of the gateway's contract, if it is one.
    pub fn misuse(&self) -> Option<&Misuse> {
        self.0.downcast_ref()
    }
}

// Not `std::error::Error` itself: then the conversion below would overlap with the reflexive one.
impl<E: Error + Send + Sync + 'static> From<E> for GatewayError {
    fn from(cause: E) -> GatewayError {
        GatewayError(Box::new(cause))
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A breach of the gateway's contract by the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The status code is not between 200 and 599.
    InvalidStatus(u16),
    /// The reason phrase has a control character in it (RFC 9112 §4).
    InvalidReason,
    /// The field name is no token (RFC 9110 §5.1).
    InvalidFieldName(String),
    /// The field value has CR, LF, NUL or another control character in it (RFC 9110 §5.5).
    InvalidFieldValue(String),
    /// The field belongs to one connection, and so to the server (RFC 9110 §7.6.1).
    HopByHopField(String),
    /// Content-Length is no number, or is given twice with different values.
    InvalidContentLength,
    /// The content at hand has another length than the Content-Length field says.
    ContentLengthMismatch {
        /// What the field says, in bytes.
        declared: u64,
        /// What was handed over, in bytes.
        given: u64,
    },
    /// A body was returned without a response having been started.
    NotStarted,
    /// The head cannot be replaced any more: content has followed it.
    AlreadySent,
    /// The answer was dropped by whoever promised it.
    Abandoned,
    /// Content ended before the declared Content-Length.
    ContentTooShort {
        /// Bytes that are missing.
        missing: u64,
    },
    /// The application panicked, with this message.
    Panicked(String),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::InvalidStatus(code) => write!(f, "{code} is no final status code (200 to 599)"),
            Misuse::InvalidReason => write!(f, "a control character in the reason phrase"),
            Misuse::InvalidFieldName(name) => write!(f, "{name:?} is no field name"),
            Misuse::InvalidFieldValue(name) => {
                write!(
                    f,
                    "a control character, or a blank at an end, in the value of field {name:?}"
                )
            }
            Misuse::HopByHopField(name) => write!(f, "field {name:?} is the server's to send"),
            Misuse::InvalidContentLength => {
                write!(f, "Content-Length is no number, or is given twice")
            }
            Misuse::ContentLengthMismatch { declared, given } => {
                write!(f, "Content-Length says {declared}, but the content has {given} bytes")
            }
            Misuse::NotStarted => write!(f, "a body was returned, but no response was started"),
            Misuse::AlreadySent => {
                write!(f, "the head cannot be replaced once content has followed")
            }
            Misuse::Abandoned => write!(f, "the promised answer was dropped"),
            Misuse::ContentTooShort { missing } => {
                write!(f, "the content ended {missing} bytes before its Content-Length")
            }
            Misuse::Panicked(message) => write!(f, "the application panicked: {message}"),
        }
    }
}

impl Error for Misuse {}
