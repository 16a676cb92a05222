//! The record of an exchange, as an access log gets it.
//!
//! The taker of the records says beforehand what is [`Wanted`] beyond what every record has. Only that is
//! copied, and nothing at all if nobody wants it: of the request when the application is called, of the
//! response when its head has been written, from the bytes that will be sent. The pure layers report; the
//! reactor logs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::gateway::{Environ, GatewayError, Peer};
use crate::message::{RequestHead, Version};
use crate::now::{Moment, Now};

/// A request line as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a str,
    /// The target; it may hold any byte above the blank.
    pub target: &'a str,
    /// The version.
    pub version: Version,
}

impl<'a> RequestLine<'a> {
    /// Takes the request line of a head that could be read.
    pub(super) fn of(head: &RequestHead<'a>) -> RequestLine<'a> {
        RequestLine { method: head.method.0, target: head.target.as_str(), version: head.version }
    }
}

/// The way in which an exchange ended.
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
    /// The client's address; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// The request line; none if it could not be read, or was not wanted.
    pub request: Option<RequestLine<'a>>,
    /// The status code of the response; 0 if none was started.
    pub status: u16,
    /// The length of the response content in bytes, without framing.
    pub content_bytes: u64,
    /// The request fields that were [wanted](Wanted), in that order, the first of each name; none for a
    /// missing field. Empty if the head could not be read.
    pub request_fields: &'a [Option<Vec<u8>>],
    /// The response fields that were wanted, in the same manner, as they were sent. Empty if no response was
    /// started.
    pub response_fields: &'a [Option<Vec<u8>>],
    /// The variables that were wanted, in the same manner, as they were when the application was called.
    pub variables: &'a [Option<Vec<u8>>],
    /// The beginning of the turn of the loop in which the request was complete with its content; if it never was, the
    /// turn of its complete head; and if not even that came, the turn of its first byte.
    pub begun: Moment,
    /// The time when the end of the response was in the output queue. The pure layers know only when the turn
    /// of the loop began; the reactor sets this by its clocks before it hands a record on.
    pub ended: Now,
    /// The way in which the exchange ended.
    pub outcome: Outcome,
}

/// The numbers of an exchange that has ended, which every record has.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The [status code](ExchangeRecord::status).
    pub status: u16,
    /// The [length of the content](ExchangeRecord::content_bytes).
    pub content_bytes: u64,
    /// The [beginning](ExchangeRecord::begun).
    pub begun: Moment,
    /// The way in which it [ended](ExchangeRecord::outcome).
    pub outcome: Outcome,
}

impl Figures {
    /// Makes them a record, in which is nothing else but where the client is.
    pub(crate) fn record(self, peer: &Peer, ended: Now) -> ExchangeRecord<'static> {
        let Figures { status, content_bytes, begun, outcome } = self;
        ExchangeRecord {
            peer: peer.address(),
            request: None,
            status,
            content_bytes,
            request_fields: &[],
            response_fields: &[],
            variables: &[],
            begun,
            ended,
            outcome,
        }
    }
}

impl ExchangeRecord<'_> {
    /// The time from the request to the end of its response. It includes the waiting for an application that
    /// blocks the loop, and for calls before its own in the same turn.
    pub fn duration(&self) -> Duration {
        self.ended.moment.since(self.begun)
    }

    /// The request field that was wanted at this place, if it was sent.
    pub fn request_field(&self, place: usize) -> Option<&[u8]> {
        self.request_fields.get(place)?.as_deref()
    }

    /// The response field that was wanted at this place, if it was sent.
    pub fn response_field(&self, place: usize) -> Option<&[u8]> {
        self.response_fields.get(place)?.as_deref()
    }

    /// The variable that was wanted at this place, if it was set.
    pub fn variable(&self, place: usize) -> Option<&[u8]> {
        self.variables.get(place)?.as_deref()
    }
}

/// The parts of an exchange that an access log wants beyond those that every record has.
///
/// The order is that of the values in [`ExchangeRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether the request line is wanted.
    pub request_line: bool,
    /// Names of request fields.
    pub request_fields: Vec<String>,
    /// Names of response fields, those of the server included.
    pub response_fields: Vec<String>,
    /// Names of variables, as [`Environ::get`](crate::gateway::Environ::get) knows them.
    pub variables: Vec<String>,
}

impl Wanted {
    /// Wants the request lines, and no fields or variables.
    pub const fn request_lines() -> Wanted {
        Wanted::no_fields(true)
    }

    /// Wants not even the request line: the records have numbers only, for those who count. Nothing is copied for
    /// them.
    pub const fn counts() -> Wanted {
        Wanted::no_fields(false)
    }

    const fn no_fields(request_line: bool) -> Wanted {
        Wanted {
            request_line,
            request_fields: Vec::new(),
            response_fields: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Returns the wish if any part of it has to be copied from the request or the response.
    pub(super) fn details(&self) -> Option<&Wanted> {
        let Wanted { request_line, request_fields, response_fields, variables } = self;
        let counts_only =
            !request_line && request_fields.is_empty() && response_fields.is_empty() && variables.is_empty();
        (!counts_only).then_some(self)
    }
}

impl Default for Wanted {
    /// Wants what the usual formats show: the request fields Referer and User-Agent, in this order.
    fn default() -> Wanted {
        let request_fields = vec!["Referer".to_string(), "User-Agent".to_string()];
        Wanted { request_fields, ..Wanted::request_lines() }
    }
}

/// Takes the reports of the pure layers, which log nothing themselves.
pub trait Journal {
    /// The parts that [`Journal::exchange`] is to be told; none if it is not worth calling: then nothing is
    /// collected. The answer is the same from the beginning of an exchange to its end, unless it becomes
    /// none.
    fn wanted(&self) -> Option<&Wanted>;
    /// Reports that an exchange has ended.
    fn exchange(&mut self, record: &ExchangeRecord<'_>);
    /// Reports that an exchange has ended of which nothing but numbers was wanted. A journal that only adds them up
    /// takes them here, without a record.
    fn figures(&mut self, figures: Figures, peer: &Peer, now: Now) {
        self.exchange(&figures.record(peer, now));
    }
    /// Reports that the application has failed; the client saw a 500 or a cut connection.
    fn failure(&mut self, request: Option<RequestLine<'_>>, error: &GatewayError);
    /// Reports that a client was refused since a PROXY header came first: a proxy is configured to send what this
    /// server does not expect.
    fn proxy_header(&mut self) {}
}

/// Takes the records of an access log. Called from the event loop: it must not block for long.
pub trait AccessLog {
    /// The parts of each exchange that the log wants to know. Asked once, when the server is bound.
    fn wanted(&self) -> Wanted {
        Wanted::default()
    }

    /// Records an exchange that has ended.
    fn record(&mut self, record: &ExchangeRecord<'_>);
    /// Writes what was recorded: the turn of the loop is over.
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

/// A [`Journal`] that takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn wanted(&self) -> Option<&Wanted> {
        None
    }

    fn exchange(&mut self, _record: &ExchangeRecord<'_>) {}

    fn failure(&mut self, _request: Option<RequestLine<'_>>, _error: &GatewayError) {}
}

/// The record of an exchange that is under way.
#[derive(Default)]
pub(super) struct Record {
    /// The [beginning](ExchangeRecord::begun) of the exchange, as far as the request has come. No deadline counts
    /// from it.
    pub begun: Moment,
    /// The status code; 0 before there is one.
    pub status: u16,
    /// The number of content bytes that were queued; of a file that is sent, those that have been sent.
    pub content_bytes: u64,
    telling: Telling,
}

/// The part of an exchange that its journal will be told.
#[derive(Default)]
enum Telling {
    /// The journal is told nothing.
    #[default]
    Nothing,
    /// The journal is told the numbers that every record has.
    Counts,
    /// The journal is told the numbers, and these parts of request and response.
    Details(Box<Details>),
}

impl Telling {
    /// The details, which are empty at first.
    fn details(&mut self) -> &mut Details {
        if !matches!(self, Telling::Details(_)) {
            *self = Telling::Details(Box::default());
        }
        let Telling::Details(details) = self else { unreachable!("they were just put there") };
        details
    }
}

/// The parts of a record that take memory of their own.
#[derive(Default)]
struct Details {
    /// Method and target in one string, the length of the method, and the version.
    line: Option<(String, usize, Version)>,
    request_fields: Values,
    response_fields: Values,
    variables: Values,
}

/// The value of each part that was wanted, in that order; none for a missing one.
type Values = Vec<Option<Vec<u8>>>;

impl Record {
    /// Notes a request as its application sees it, before the application can change anything. Returns what is wanted
    /// of its response.
    pub fn note_request<'w>(
        &mut self,
        head: &RequestHead<'_>,
        environ: &Environ<'_>,
        wanted: &'w Wanted,
    ) -> Option<&'w Wanted> {
        let details = wanted.details();
        match details {
            Some(wanted) => self.note_details(head, environ, wanted),
            None => self.note_for_counts(),
        }
        details
    }

    /// Notes that somebody counts the exchange, whatever becomes of it.
    pub fn note_for_counts(&mut self) {
        if let Telling::Nothing = self.telling {
            self.telling = Telling::Counts;
        }
    }

    #[inline(never)]
    fn note_details(&mut self, head: &RequestHead<'_>, environ: &Environ<'_>, wanted: &Wanted) {
        self.note_line(RequestLine::of(head));
        let details = self.telling.details();
        let field = |name: &String| head.fields.get(name).map(<[u8]>::to_vec);
        details.request_fields = wanted.request_fields.iter().map(field).collect();
        let variable = |name: &String| environ.get(name).map(|value| value.into_owned());
        details.variables = wanted.variables.iter().map(variable).collect();
    }

    /// Notes the request line, without which nobody can make sense of a failure.
    pub fn note_line(&mut self, line: RequestLine<'_>) {
        let details = self.telling.details();
        if details.line.is_none() {
            details.line = Some(([line.method, line.target].concat(), line.method.len(), line.version));
        }
    }

    /// Notes the fields of a response whose head was just written; content may follow it.
    pub fn note_response(&mut self, head: &[u8], wanted: &Wanted) {
        let field = |name: &String| encoded_field(head, name).map(<[u8]>::to_vec);
        let response_fields = wanted.response_fields.iter().map(field).collect();
        self.telling.details().response_fields = response_fields;
    }

    /// Forgets a response that was taken back.
    pub fn forget_response(&mut self) {
        (self.status, self.content_bytes) = (0, 0);
        if let Telling::Details(details) = &mut self.telling {
            details.response_fields.clear();
        }
    }

    /// The request line, if it is known.
    pub fn line(&self) -> Option<RequestLine<'_>> {
        let (text, method_bytes, version) = self.details()?.line.as_ref()?;
        let (method, target) = text.split_at(*method_bytes);
        Some(RequestLine { method, target, version: *version })
    }

    fn details(&self) -> Option<&Details> {
        match &self.telling {
            Telling::Details(details) => Some(details),
            Telling::Nothing | Telling::Counts => None,
        }
    }

    /// Reports to the journal how the exchange has ended, and begins anew. Where nobody logs or counts there is
    /// nothing to tell, which was found out with the request.
    #[inline]
    pub fn close(&mut self, outcome: Outcome, peer: &Peer, now: Now, journal: &mut dyn Journal) {
        match self.telling {
            Telling::Nothing => {}
            Telling::Counts => {
                self.telling = Telling::Nothing;
                journal.figures(self.figures(outcome), peer, now);
            }
            Telling::Details(_) => self.report(outcome, peer, now, journal),
        }
        (self.status, self.content_bytes) = (0, 0);
    }

    fn figures(&self, outcome: Outcome) -> Figures {
        let Record { begun, status, content_bytes, .. } = *self;
        Figures { status, content_bytes, begun, outcome }
    }

    #[inline(never)]
    fn report(&mut self, outcome: Outcome, peer: &Peer, now: Now, journal: &mut dyn Journal) {
        let details = self.details();
        if let Some(wanted) = journal.wanted() {
            journal.exchange(&ExchangeRecord {
                request: if wanted.request_line { self.line() } else { None },
                request_fields: details.map_or(&[], |details| &details.request_fields),
                response_fields: details.map_or(&[], |details| &details.response_fields),
                variables: details.map_or(&[], |details| &details.variables),
                ..self.figures(outcome).record(peer, now)
            });
        }
        self.telling = Telling::Nothing;
    }
}

/// Returns the value of the first field of this name in an encoded head.
fn encoded_field<'h>(head: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let lines = head.split(|&byte| byte == b'\n').skip(1).take_while(|line| *line != b"\r");
    lines.filter(|line| line.get(name.len()) == Some(&b':')).find_map(|line| {
        let (own_name, value) = line.split_at(name.len());
        own_name.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_field_of_a_name_is_found_in_an_encoded_head() {
        let head = b"HTTP/1.1 200 Date: x\r\nDate: 1\r\nX-Date: 2\r\nEmpty: \r\nx-date: 3\r\n\r\nLate: 4\r\n";
        for (name, expected) in
            [("date", Some(&b"1"[..])), ("X-DATE", Some(b"2")), ("Empty", Some(b"")), ("Late", None)]
        {
            assert_eq!(encoded_field(head, name), expected, "{name}");
        }
        assert_eq!(encoded_field(b"", "Date"), None);
    }
}
