//! What is to be known of a finished exchange: the pure layers report it, the reactor logs it.
//!
//! Whoever takes the reports says beforehand what is [`Wanted`] beyond what every record has. Only that
//! is collected, and nothing at all where nobody wants it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::gateway::GatewayError;
use crate::message::Version;
use crate::now::{Moment, Now};

/// A request line as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a str,
    /// The target; may hold any byte above the blank.
    pub target: &'a str,
    /// The version.
    pub version: Version,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response was handed to the output queue; a file that is sent has left it.
    Complete,
    /// The response was cut: by a failing application, a deadline, or a client that left.
    Aborted,
}

/// One request and its response, for an access log.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeRecord<'a> {
    /// Who asked; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// What was asked; none where the request line could not be read.
    pub request: Option<RequestLine<'a>>,
    /// The status code of the response; 0 if none was started.
    pub status: u16,
    /// Bytes of response content, without framing.
    pub content_bytes: u64,
    /// The request fields that were [wanted](Wanted), in that order, the first of each name; none for a
    /// field that there was not. Empty where the head could not be read.
    pub request_fields: &'a [Option<Vec<u8>>],
    /// The response fields that were wanted, in the same manner, as they were sent. Empty where no
    /// response was started.
    pub response_fields: &'a [Option<Vec<u8>>],
    /// The variables that were wanted, in the same manner, as they were when the application was called.
    pub variables: &'a [Option<Vec<u8>>],
    /// The beginning of the turn of the loop in which the request was complete, with its content; for
    /// one that never was, its head.
    pub begun: Moment,
    /// When the end of the response was in the output queue. The pure layers know only when the turn
    /// of the loop began; the reactor puts its clocks here before it hands a record on.
    pub ended: Now,
    /// Whether it ended well.
    pub outcome: Outcome,
}

impl ExchangeRecord<'_> {
    /// How long the request waited for the end of its response: for an application that blocks the
    /// loop, too, and for the calls that came before its own in the same turn.
    pub fn duration(&self) -> Duration {
        self.ended.moment.since(self.begun)
    }

    /// The request field that was wanted at this place, if there was one.
    pub fn request_field(&self, place: usize) -> Option<&[u8]> {
        self.request_fields.get(place)?.as_deref()
    }

    /// The response field that was wanted at this place, if there was one.
    pub fn response_field(&self, place: usize) -> Option<&[u8]> {
        self.response_fields.get(place)?.as_deref()
    }

    /// The variable that was wanted at this place, if it was set.
    pub fn variable(&self, place: usize) -> Option<&[u8]> {
        self.variables.get(place)?.as_deref()
    }
}

/// What an access log wants to know of each exchange, beyond what every record has.
///
/// The order is that of the values in [`ExchangeRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Names of request fields.
    pub request_fields: Vec<String>,
    /// Names of response fields, those of the server included.
    pub response_fields: Vec<String>,
    /// Names of variables, as [`Environ::get`](crate::gateway::Environ::get) knows them.
    pub variables: Vec<String>,
}

impl Wanted {
    /// Nothing more.
    pub const fn nothing() -> Wanted {
        Wanted { request_fields: Vec::new(), response_fields: Vec::new(), variables: Vec::new() }
    }
}

impl Default for Wanted {
    /// What the usual formats show: the request fields Referer and User-Agent, in this order.
    fn default() -> Wanted {
        let request_fields = vec!["Referer".to_string(), "User-Agent".to_string()];
        Wanted { request_fields, ..Wanted::nothing() }
    }
}

/// Takes the reports of the pure layers, which log nothing themselves.
pub trait Journal {
    /// What [`Journal::exchange`] is to be told; none if it is not worth calling: then nothing is
    /// collected. The same from the beginning of an exchange to its end, unless it becomes none.
    fn wanted(&self) -> Option<&Wanted>;
    /// An exchange has ended.
    fn exchange(&mut self, record: &ExchangeRecord<'_>);
    /// The application has failed; the client saw a 500 or a cut connection.
    fn failure(&mut self, request: Option<RequestLine<'_>>, error: &GatewayError);
}

/// Takes the records of an access log. Called from the event loop: it must not block for long.
pub trait AccessLog {
    /// What it wants to know of each exchange. Asked once, when the server is bound.
    fn wanted(&self) -> Wanted {
        Wanted::default()
    }
    /// An exchange has ended.
    fn record(&mut self, record: &ExchangeRecord<'_>);
    /// The turn of the loop is over, and something was recorded in it.
    fn flush(&mut self);
}

impl AccessLog for Box<dyn AccessLog + Send> {
    fn wanted(&self) -> Wanted {
        (**self).wanted()
    }

    fn record(&mut self, record: &ExchangeRecord<'_>) {
        (**self).record(record);
    }

    fn flush(&mut self) {
        (**self).flush();
    }
}

/// Takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn wanted(&self) -> Option<&Wanted> {
        None
    }

    fn exchange(&mut self, _record: &ExchangeRecord<'_>) {}

    fn failure(&mut self, _request: Option<RequestLine<'_>>, _error: &GatewayError) {}
}
