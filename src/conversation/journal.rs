//! What is to be known of a finished exchange: the pure layers report it, the reactor logs it.

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
