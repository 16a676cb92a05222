//! Errors of an application.

use std::any::Any;
use std::error::Error;
use std::fmt;

use crate::message::{FieldBlock, InvalidResponse};

/// The failure of an application, which its client sees as a 500. Any error converts into it, so `?` works in a gateway.
///
/// The client sees no word of the text; the log has it all, if there is a logger ([what is logged](crate#logs)).
///
/// `?` is only for what the application or its operator has to mend. What the client has done wrong is an answer like any
/// other: 400, 404. A text alone is not an error: [`GatewayError::new`] makes one of it.
///
/// ```
/// # use tidegate::{Body, Environ, GatewayError, StartResponse};
/// # fn open_database() -> std::io::Result<Option<Vec<String>>> { Ok(Some(vec!["low tide".into()])) }
/// fn gateway(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
///     // `parse().…?` would be a 500 and a line in the log for each client that mistypes a number.
///     let Ok(number) = environ.query().parse::<usize>() else {
///         return start_response.status(400).send("Which one? Ask for ?0\n");
///     };
///     let rows = open_database()?.ok_or_else(|| GatewayError::new("no database"))?;
///     match rows.get(number) {
///         Some(row) => start_response.status(200).send(row),
///         None => start_response.status(404).send("There is no such row.\n"),
///     }
/// }
/// # let mut hand = tidegate::conversation::ByHand::new(gateway);
/// # hand.receive(b"GET /?0 HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(hand.transmit_all().ends_with(b"\r\n\r\nlow tide"));
/// # hand.receive(b"GET /?x HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(hand.transmit_all().starts_with(b"HTTP/1.1 400 "));
/// ```
///
/// It is not a [`std::error::Error`] itself, as `anyhow::Error` is not: Rust would then not allow that every error
/// converts into it. [`cause`](GatewayError::cause) is the one that it was made of.
#[derive(Debug)]
pub struct GatewayError(Box<dyn Error + Send + Sync>);

/// An error with fields that middleware adds to the 500 that answers it. It is rare, and so kept out of
/// [`GatewayError`], for which every call of an application returns room.
#[derive(Debug)]
struct WithFields {
    cause: Box<dyn Error + Send + Sync>,
    fields: FieldBlock,
}

impl GatewayError {
    /// Makes an error of a cause, or of a text.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> GatewayError {
        GatewayError(cause.into())
    }

    /// Makes an error of an application's panic.
    #[cold]
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> GatewayError {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Misuse::Panicked(text.unwrap_or("no message").to_string()).into()
    }

    /// The cause of the error.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.downcast_ref::<WithFields>().map_or(&*self.0, |error| &*error.cause)
    }

    /// The misuse of the gateway's contract, if it is one.
    pub fn misuse(&self) -> Option<&Misuse> {
        self.cause().downcast_ref()
    }

    /// Adds fields to the 500 that answers it, in place of those that were there.
    pub(super) fn with_fields(self, fields: FieldBlock) -> GatewayError {
        let (cause, _) = self.split();
        GatewayError::new(WithFields { cause, fields })
    }

    /// Splits off the fields for the 500 that answers the error; for implementations of [`super::ResponseSink`].
    #[doc(hidden)]
    pub fn take_fields(self) -> (GatewayError, FieldBlock) {
        let (cause, fields) = self.split();
        (GatewayError(cause), fields)
    }

    fn split(self) -> (Box<dyn Error + Send + Sync>, FieldBlock) {
        match self.0.downcast::<WithFields>() {
            Ok(error) => (error.cause, error.fields),
            Err(cause) => (cause, FieldBlock::default()),
        }
    }
}

impl fmt::Display for WithFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for WithFields {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

// Not `std::error::Error` itself: then the conversion below would overlap with the reflexive one.
impl<E: Error + Send + Sync + 'static> From<E> for GatewayError {
    fn from(cause: E) -> GatewayError {
        GatewayError::new(cause)
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
    /// A filter of middleware would not let content pass; it has said why.
    Filtered,
    /// The connection cannot be taken over: content of the request is still coming, or the server has no tunnels.
    NoUpgrade,
    /// The promised answer was dropped before it was given.
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
            Misuse::Filtered => write!(f, "a filter has refused the content"),
            Misuse::NoUpgrade => write!(f, "the connection cannot be taken over"),
            Misuse::Abandoned => write!(f, "the promised answer was dropped"),
            Misuse::Panicked(message) => write!(f, "the application panicked: {message}"),
        }
    }
}

impl Error for Misuse {}
