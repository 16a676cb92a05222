//! Access logs: one line for each exchange, in the two formats that log readers understand.
//!
//! ```text
//! 127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /x HTTP/1.1" 200 13 "-" "curl/8.5.0"
//! {"time":"1994-11-06T08:49:37Z","peer":"127.0.0.1","method":"GET","target":"/x",…}
//! ```
//!
//! The first is the Combined Log Format of NCSA and Apache, the second JSON (RFC 8259), one object
//! a line. What a client sent can neither end a line nor forge another: it is escaped.
//!
//! Lines collect in memory, and leave in one write at the end of a turn of the loop. A writer that
//! fails is reported once; from then on lines are dropped, and the server serves on.
//!
//! ```
//! use tidegate::AccessLog;
//! use tidegate::access_log::CombinedLog;
//! use tidegate::conversation::{ExchangeRecord, Outcome, RequestLine};
//! use tidegate::message::Version;
//! use tidegate::now::{Moment, Now};
//!
//! let mut written = Vec::new();
//! let mut log = CombinedLog::new(&mut written);
//! log.record(&ExchangeRecord {
//!     peer: "127.0.0.1:4711".parse().ok(),
//!     request: Some(RequestLine { method: "GET", target: "/x", version: Version::Http11 }),
//!     status: 200,
//!     content_bytes: 13,
//!     request_fields: &[None, Some(b"a \"quote\"".to_vec())],
//!     response_fields: &[],
//!     variables: &[],
//!     begun: Moment::START,
//!     ended: Now { moment: Moment::START, unix_seconds: 784_111_777 },
//!     outcome: Outcome::Complete,
//! });
//! log.flush();
//! assert_eq!(
//!     String::from_utf8(written).unwrap(),
//!     "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /x HTTP/1.1\" 200 13 \"-\" \
//!      \"a \\x22quote\\x22\"\n"
//! );
//! ```

use std::fmt;
use std::io::{self, Write};

use crate::conversation::{ExchangeRecord, Outcome};
use crate::message::Calendar;
use crate::server::AccessLog;

/// Lines beyond this leave before the turn is over. 64 KiB: what a pipe holds.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Where the two fields stand in [`Wanted::default`](crate::server::Wanted::default).
const REFERER: usize = 0;
const USER_AGENT: usize = 1;

/// Writes the Combined Log Format.
///
/// A dash stands for what is not known: the peer of a unix socket, a request that could not be
/// read, the status of a response that was never started. Quotes, backslashes, control characters
/// and bytes above 0x7f appear as `\xHH`.
#[derive(Debug)]
pub struct CombinedLog<W: Write>(Lines<W>);

impl<W: Write> CombinedLog<W> {
    /// A log that goes to `writer`.
    pub fn new(writer: W) -> CombinedLog<W> {
        CombinedLog(Lines::new(writer))
    }
}

impl<W: Write> AccessLog for CombinedLog<W> {
    fn record(&mut self, record: &ExchangeRecord<'_>) {
        self.0.append(|line| write_combined(line, record));
    }

    fn flush(&mut self) {
        self.0.flush();
    }
}

/// Writes one JSON object a line, always valid UTF-8.
///
/// `time` (RFC 3339, when the exchange ended), `peer`, `method`, `target`, `version`, `status`,
/// `bytes` (of content), `duration` (in seconds, from the complete request to the end of the response in
/// the output queue), `referer`, `user_agent`, `aborted`. What is not known is
/// null. Bytes that are no UTF-8 become U+FFFD.
#[derive(Debug)]
pub struct JsonLog<W: Write>(Lines<W>);

impl<W: Write> JsonLog<W> {
    /// A log that goes to `writer`.
    pub fn new(writer: W) -> JsonLog<W> {
        JsonLog(Lines::new(writer))
    }
}

impl<W: Write> AccessLog for JsonLog<W> {
    fn record(&mut self, record: &ExchangeRecord<'_>) {
        self.0.append(|line| write_json(line, record));
    }

    fn flush(&mut self) {
        self.0.flush();
    }
}

/// Lines on their way to a writer.
#[derive(Debug)]
struct Lines<W> {
    /// None once it has failed.
    writer: Option<W>,
    buffer: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn new(writer: W) -> Lines<W> {
        Lines { writer: Some(writer), buffer: Vec::new() }
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        if self.writer.is_none() {
            return;
        }
        // Writing to a Vec does not fail.
        let _ = write(&mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(error) = writer.write_all(&self.buffer).and_then(|()| writer.flush()) {
            log::warn!("the access log cannot be written and ends here: {error}");
            self.writer = None;
        }
        self.buffer.clear();
    }
}

fn write_combined(line: &mut Vec<u8>, record: &ExchangeRecord<'_>) -> io::Result<()> {
    match record.peer {
        Some(peer) => write!(line, "{}", peer.ip())?,
        None => line.push(b'-'),
    }
    let time = Calendar::from_unix(record.ended.unix_seconds);
    write!(line, " - - [{:02}/{}/{:04}:", time.day, time.month_name(), time.year)?;
    write!(line, "{:02}:{:02}:{:02} +0000] \"", time.hour, time.minute, time.second)?;
    match record.request {
        Some(request) => {
            write!(line, "{} ", HexEscaped(request.method.as_bytes()))?;
            write!(line, "{} ", HexEscaped(request.target.as_bytes()))?;
            line.extend_from_slice(request.version.as_str().as_bytes());
        }
        None => line.push(b'-'),
    }
    match record.status {
        0 => line.extend_from_slice(b"\" -"),
        status => write!(line, "\" {status}")?,
    }
    let referer = HexEscaped(record.request_field(REFERER).unwrap_or(b"-"));
    let user_agent = HexEscaped(record.request_field(USER_AGENT).unwrap_or(b"-"));
    writeln!(line, " {} \"{referer}\" \"{user_agent}\"", record.content_bytes)
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

/// Bytes as they may stand between quotes in a line of ASCII.
struct HexEscaped<'a>(&'a [u8]);

impl fmt::Display for HexEscaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !b"\"\\".contains(byte);
        for run in self.0.chunk_by(|a, b| is_plain(a) && is_plain(b)) {
            match run {
                [byte] if !is_plain(byte) => write!(f, "\\x{byte:02X}")?,
                _ => f.write_str(std::str::from_utf8(run).unwrap_or_default())?,
            }
        }
        Ok(())
    }
}

/// A JSON string with its quotes (RFC 8259 §7), or null.
struct JsonString<'a>(Option<&'a [u8]>);

impl fmt::Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else { return f.write_str("null") };
        let text = String::from_utf8_lossy(bytes);
        // DEL and the controls above it need no escape, but no terminal should meet them either.
        let is_plain = |c: char| !c.is_control() && c != '"' && c != '\\';
        f.write_str("\"")?;
        let mut rest = &*text;
        while let Some(at) = rest.find(|c| !is_plain(c)) {
            let (plain, tail) = rest.split_at(at);
            f.write_str(plain)?;
            let mut characters = tail.chars();
            match characters.next() {
                Some(c @ ('"' | '\\')) => write!(f, "\\{c}")?,
                Some(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                None => {}
            }
            rest = characters.as_str();
        }
        write!(f, "{rest}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::RequestLine;
    use crate::message::Version;
    use crate::now::{Moment, Now};
    use std::time::Duration;

    /// What was wanted and found.
    fn values(found: &[Option<&[u8]>]) -> &'static [Option<Vec<u8>>] {
        found.iter().map(|value| value.map(<[u8]>::to_vec)).collect::<Vec<_>>().leak()
    }

    fn record() -> ExchangeRecord<'static> {
        ExchangeRecord {
            peer: "192.0.2.7:4711".parse().ok(),
            request: Some(RequestLine { method: "GET", target: "/x?y", version: Version::Http11 }),
            status: 200,
            content_bytes: 13,
            request_fields: values(&[Some(b"http://a/"), Some(b"curl/8")]),
            response_fields: &[],
            variables: &[],
            begun: Moment::START,
            ended: Now {
                moment: Moment::START + Duration::from_nanos(1_002_003_999),
                unix_seconds: 784_111_777,
            },
            outcome: Outcome::Complete,
        }
    }

    fn nothing_known() -> ExchangeRecord<'static> {
        ExchangeRecord {
            peer: None,
            request: None,
            status: 0,
            content_bytes: 0,
            request_fields: &[],
            response_fields: &[],
            variables: &[],
            begun: Moment::START,
            ended: Now::default(),
            outcome: Outcome::Aborted,
        }
    }

    fn combined(record: &ExchangeRecord<'_>) -> String {
        let mut written = Vec::new();
        let mut log = CombinedLog::new(&mut written);
        log.record(record);
        log.flush();
        String::from_utf8(written).unwrap()
    }

    fn json(record: &ExchangeRecord<'_>) -> String {
        let mut written = Vec::new();
        let mut log = JsonLog::new(&mut written);
        log.record(record);
        log.flush();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn exchange_is_one_line_of_combined_log_format() {
        let expected = "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /x?y HTTP/1.1\" 200 13 \
                        \"http://a/\" \"curl/8\"\n";
        assert_eq!(combined(&record()), expected);
        let expected = "- - - [01/Jan/1970:00:00:00 +0000] \"-\" - 0 \"-\" \"-\"\n";
        assert_eq!(combined(&nothing_known()), expected);
    }

    #[test]
    fn exchange_is_one_object_of_json() {
        let expected = "{\"time\":\"1994-11-06T08:49:37Z\",\"peer\":\"192.0.2.7\",\
            \"method\":\"GET\",\"target\":\"/x?y\",\"version\":\"HTTP/1.1\",\"status\":200,\
            \"bytes\":13,\"duration\":1.002003,\"referer\":\"http://a/\",\
            \"user_agent\":\"curl/8\",\"aborted\":false}\n";
        assert_eq!(json(&record()), expected);
        let value: serde_json::Value = serde_json::from_str(&json(&nothing_known())).unwrap();
        assert!(value["peer"].is_null() && value["status"].is_null());
        assert_eq!(value["aborted"], true);
    }

    /// Every byte a client could send in a field, and the worst it could hope for.
    #[test]
    fn hostile_bytes_forge_no_line() {
        let mut hostile: Vec<u8> = (0..=255).collect();
        hostile.extend_from_slice(b"\r\n127.0.0.1 - - \"GET /\" \xe2\x80\xa8 \xc2\x85");
        let record = ExchangeRecord { request_fields: values(&[None, Some(&hostile)]), ..record() };
        let line = combined(&record);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(line.matches('"').count(), 6);
        assert!(line.contains("\\x00\\x01") && line.contains("\\x22#") && line.contains("\\xFF"));
        let line = json(&record);
        assert!(!line.trim_end().contains(char::is_control));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["user_agent"], *String::from_utf8_lossy(&hostile));
    }

    #[test]
    fn lines_wait_for_the_end_of_the_turn() {
        let mut written = Vec::new();
        let mut log = CombinedLog::new(&mut written);
        log.record(&record());
        log.record(&record());
        assert!(log.0.writer.as_ref().is_some_and(|writer| writer.is_empty()));
        log.flush();
        assert_eq!(String::from_utf8(written).unwrap().lines().count(), 2);
    }

    #[test]
    fn long_turn_is_written_before_its_end() {
        let mut written = Vec::new();
        let mut log = JsonLog::new(&mut written);
        for _ in 0..1_000 {
            log.record(&record());
        }
        assert!(log.0.buffer.len() < BUFFER_BYTES_MAX);
        log.flush();
        assert_eq!(String::from_utf8(written).unwrap().lines().count(), 1_000);
    }

    /// Fails, and counts how often it was asked.
    struct Broken<'a>(&'a mut u32);

    impl Write for Broken<'_> {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            *self.0 += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn failing_writer_is_left_alone_after_the_first_time() {
        let mut asked = 0;
        let mut log = CombinedLog::new(Broken(&mut asked));
        for _ in 0..3 {
            log.record(&record());
            log.flush();
        }
        assert!(log.0.buffer.is_empty());
        assert_eq!(asked, 1);
    }
}
