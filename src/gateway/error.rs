//! What goes wrong in an application.

use std::error::Error;
use std::fmt;

use crate::message::InvalidResponse;

/// A failed answer. Any error converts into it, so `?` works in a gateway.
///
/// The client sees a 500 and no word of the text; the log has it all, if there is a logger (see the
/// crate's documentation). A text alone is no error: [`GatewayError::new`] makes one of it.
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
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The response cannot be written.
    Invalid(InvalidResponse),
    /// A body was returned without a response having been started.
    NotStarted,
    /// The head cannot be replaced any more: content has followed it.
    AlreadySent,
    /// The answer was dropped by whoever promised it.
    Abandoned,
    /// The application panicked, with this message.
    Panicked(String),
}

impl From<InvalidResponse> for Misuse {
    fn from(invalid: InvalidResponse) -> Misuse {
        Misuse::Invalid(invalid)
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::Invalid(invalid) => write!(f, "{invalid}"),
            Misuse::NotStarted => write!(f, "a body was returned, but no response was started"),
            Misuse::AlreadySent => {
                write!(f, "the head cannot be replaced once content has followed")
            }
            Misuse::Abandoned => write!(f, "the promised answer was dropped"),
            Misuse::Panicked(message) => write!(f, "the application panicked: {message}"),
        }
    }
}

impl Error for Misuse {}
