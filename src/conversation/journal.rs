//! What is to be known of a finished exchange: the pure layers report it, the reactor logs it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::gateway::GatewayError;
use crate::message::Version;

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
    /// The whole response was handed to the output queue.
    Complete,
    /// The response was cut: by a failing application, a deadline, or a client that left.
    Aborted,
}

/// One request and its response, for an access log.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeRecord<'a> {
    /// Who asked; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// What was asked; none where the head could not be read.
    pub request: Option<RequestLine<'a>>,
    /// The status code of the response; 0 if none was started.
    pub status: u16,
    /// Bytes of response content, without framing.
    pub content_bytes: u64,
    /// The Referer field.
    pub referer: Option<&'a [u8]>,
    /// The User-Agent field.
    pub user_agent: Option<&'a [u8]>,
    /// From the complete head to the end of the response in the output queue, by the clock of the
    /// event loop, which is read once a turn: zero for an answer that was given at once.
    pub duration: Duration,
    /// When it ended: seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: u64,
    /// Whether it ended well.
    pub outcome: Outcome,
}

/// Takes the reports of the pure layers, which log nothing themselves.
pub trait Journal {
    /// Whether [`Journal::exchange`] is worth calling: without it, nothing is collected.
    fn wants_exchanges(&self) -> bool;
    /// An exchange has ended.
    fn exchange(&mut self, record: &ExchangeRecord<'_>);
    /// The application has failed; the client saw a 500 or a cut connection.
    fn failure(&mut self, request: Option<RequestLine<'_>>, error: &GatewayError);
}

/// Takes the records of an access log. Called from the event loop: it must not block for long.
pub trait AccessLog {
    /// An exchange has ended.
    fn record(&mut self, record: &ExchangeRecord<'_>);
    /// The turn of the loop is over, and something was recorded in it.
    fn flush(&mut self);
}

/// Takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn wants_exchanges(&self) -> bool {
        false
    }

    fn exchange(&mut self, _record: &ExchangeRecord<'_>) {}

    fn failure(&mut self, _request: Option<RequestLine<'_>>, _error: &GatewayError) {}
}
