//! Writes JSON (RFC 8259), one object a line.

use std::io::{self, Write};

use tidegate::access_log::{AccessLog, ExchangeRecord, Outcome};
use tidegate::message::Calendar;

use super::escaped::JsonString;
use super::{Lines, REFERER, USER_AGENT};

/// Writes one JSON object a line, always valid UTF-8.
///
/// `time` (RFC 3339, when the exchange ended), `peer`, `method`, `target`, `version`, `status`,
/// `bytes` (of content), `duration` (in seconds, from the complete request to the end of the response in
/// the output queue), `referer`, `user_agent`, `aborted`. What is not known is
/// null. Bytes that are no UTF-8 become U+FFFD.
#[derive(Debug)]
pub struct JsonLog<W: Write> {
    pub(super) lines: Lines<W>,
}

impl<W: Write> JsonLog<W> {
    /// Makes a log that goes to `writer`.
    pub fn new(writer: W) -> JsonLog<W> {
        JsonLog { lines: Lines::new(writer) }
    }
}

impl<W: Write> AccessLog for JsonLog<W> {
    fn record(&mut self, record: &ExchangeRecord<'_>) {
        self.lines.append(|line| write_json(line, record));
    }

    fn flush(&mut self) {
        self.lines.flush();
    }
}

fn write_json(line: &mut Vec<u8>, record: &ExchangeRecord<'_>) -> io::Result<()> {
    let time = Calendar::from_unix(record.ended.unix_seconds);
    write!(line, "{{\"time\":\"{:04}-{:02}-{:02}T", time.year, time.month, time.day)?;
    write!(line, "{:02}:{:02}:{:02}Z\"", time.hour, time.minute, time.second)?;
    let peer = record.peer.map(|peer| peer.ip().to_string());
    let request = record.request.as_ref();
    write!(line, ",\"peer\":{}", JsonString(peer.as_ref().map(String::as_bytes)))?;
    for (name, value) in [
        ("method", request.map(|request| request.method)),
        ("target", request.map(|request| request.target)),
        ("version", request.map(|request| request.version.as_str())),
    ] {
        write!(line, ",\"{name}\":{}", JsonString(value.map(str::as_bytes)))?;
    }
    match record.status {
        0 => line.extend_from_slice(b",\"status\":null"),
        status => write!(line, ",\"status\":{status}")?,
    }
    let (seconds, micros) = (record.duration().as_secs(), record.duration().subsec_micros());
    write!(line, ",\"bytes\":{},\"duration\":{seconds}.{micros:06}", record.content_bytes)?;
    write!(line, ",\"referer\":{}", JsonString(record.request_field(REFERER)))?;
    write!(line, ",\"user_agent\":{}", JsonString(record.request_field(USER_AGENT)))?;
    writeln!(line, ",\"aborted\":{}}}", record.outcome == Outcome::Aborted)
}
