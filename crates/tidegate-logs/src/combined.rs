//! The Combined Log Format of NCSA and Apache, and the parts of it that other formats use.

use std::io::{self, Write};

use tidegate::access_log::{AccessLog, ExchangeRecord, RequestLine};
use tidegate::message::Calendar;

use super::escaped::HexEscaped;
use super::{Lines, REFERER, USER_AGENT};

/// Writes the Combined Log Format.
///
/// A dash stands for what is not known: the peer of a unix socket, a request that could not be
/// read, the status of a response that was never started. Quotes, backslashes, control characters
/// and bytes above 0x7f appear as `\xHH`.
#[derive(Debug)]
pub struct CombinedLog<W: Write> {
    pub(super) lines: Lines<W>,
}

impl<W: Write> CombinedLog<W> {
    /// Makes a log that goes to `writer`.
    pub fn new(writer: W) -> CombinedLog<W> {
        CombinedLog { lines: Lines::new(writer) }
    }
}

impl<W: Write> AccessLog for CombinedLog<W> {
    fn record(&mut self, record: &ExchangeRecord<'_>) {
        self.lines.append(|line| write_combined(line, record));
    }

    fn flush(&mut self) {
        self.lines.flush();
    }
}

fn write_combined(line: &mut Vec<u8>, record: &ExchangeRecord<'_>) -> io::Result<()> {
    write_peer(line, record)?;
    line.extend_from_slice(b" - - ");
    write_time(line, record)?;
    line.extend_from_slice(b" \"");
    write_request(line, record.request)?;
    line.extend_from_slice(b"\" ");
    write_status(line, record)?;
    let referer = HexEscaped(record.request_field(REFERER).unwrap_or(b"-"));
    let user_agent = HexEscaped(record.request_field(USER_AGENT).unwrap_or(b"-"));
    writeln!(line, " {} \"{referer}\" \"{user_agent}\"", record.content_bytes)
}

/// Writes the address of the peer.
pub(super) fn write_peer(line: &mut Vec<u8>, record: &ExchangeRecord<'_>) -> io::Result<()> {
    match record.peer {
        Some(peer) => write!(line, "{}", peer.ip()),
        None => line.write_all(b"-"),
    }
}

/// Writes when the exchange ended, in brackets; always in UTC.
pub(super) fn write_time(line: &mut Vec<u8>, record: &ExchangeRecord<'_>) -> io::Result<()> {
    let time = Calendar::from_unix(record.ended.unix_seconds);
    write!(line, "[{:02}/{}/{:04}:", time.day, time.month_name(), time.year)?;
    write!(line, "{:02}:{:02}:{:02} +0000]", time.hour, time.minute, time.second)
}

/// Writes the request line as it was sent.
pub(super) fn write_request(line: &mut Vec<u8>, request: Option<RequestLine<'_>>) -> io::Result<()> {
    match request {
        Some(request) => {
            write!(line, "{} ", HexEscaped(request.method.as_bytes()))?;
            write!(line, "{} ", HexEscaped(request.target.as_bytes()))?;
            line.write_all(request.version.as_str().as_bytes())
        }
        None => line.write_all(b"-"),
    }
}

/// Writes the status code of the response.
pub(super) fn write_status(line: &mut Vec<u8>, record: &ExchangeRecord<'_>) -> io::Result<()> {
    match record.status {
        0 => line.write_all(b"-"),
        status => write!(line, "{status}"),
    }
}
