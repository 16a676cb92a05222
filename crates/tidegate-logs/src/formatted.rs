//! Writes lines in a format of the operator's own.

use std::io::{self, Write};
use std::process;

use tidegate::access_log::{AccessLog, ExchangeRecord, Wanted};

use super::Lines;
use super::combined::{write_peer, write_request, write_status, write_time};
use super::escaped::{HexEscaped, escape_blanks};
use super::format::{LogFormat, Part};

/// Writes lines in a [format](LogFormat) with gunicorn's atoms.
///
/// | atom | meaning |
/// |---|---|
/// | `%(h)s` | the address of the client; of a proxy if there is one between |
/// | `%(l)s` | always a dash |
/// | `%(u)s` | the user that the client names in `Authorization: Basic`; nobody has checked the password |
/// | `%(t)s` | when the exchange ended, `[06/Nov/1994:08:49:37 +0000]` |
/// | `%(r)s` | the request line, `GET /x?y HTTP/1.1` |
/// | `%(m)s` | the method |
/// | `%(U)s` | the path without the query, percent-decoded: `PATH_INFO` |
/// | `%(q)s` | the query |
/// | `%(H)s` | the version of the protocol |
/// | `%(s)s` | the status code |
/// | `%(B)s` | how many bytes of content were sent |
/// | `%(b)s` | the same, or a dash where no response was started |
/// | `%(f)s` | the request field Referer |
/// | `%(a)s` | the request field User-Agent |
/// | `%(T)s` | how long it took, in whole seconds |
/// | `%(M)s` | the same in milliseconds |
/// | `%(D)s` | the same in microseconds |
/// | `%(L)s` | the same in seconds with six decimals, `0.001234` |
/// | `%(p)s` | the process, `<4711>` |
/// | `%({name}i)s` | the request field of this name |
/// | `%({name}o)s` | the response field of this name |
/// | `%({name}e)s` | the variable of this name in the [environ](tidegate::gateway::Environ) |
/// | `%%` | a percent sign |
///
/// A dash stands for what is not known. Case does not matter in the names of fields and variables; of
/// several fields of one name the first is shown. Quotes, backslashes, control characters and bytes
/// above 0x7f appear as `\xHH`, and in the name of a user also spaces, since nothing encloses it. Only
/// what the format names is collected.
///
/// ```
/// use tidegate::Server;
/// use tidegate_logs::FormattedLog;
///
/// let format = r#"%(h)s %(t)s "%(r)s" %(s)s %(L)s "%({X-Request-Id}i)s""#;
/// let server = Server::new().access_log(FormattedLog::new(format.parse()?, std::io::stdout()));
/// # Ok::<(), tidegate_logs::InvalidLogFormat>(())
/// ```
#[derive(Debug)]
pub struct FormattedLog<W: Write> {
    format: LogFormat,
    lines: Lines<W>,
}

impl<W: Write> FormattedLog<W> {
    /// Makes a log that goes to `writer`.
    pub fn new(format: LogFormat, writer: W) -> FormattedLog<W> {
        FormattedLog { format, lines: Lines::new(writer) }
    }
}

impl<W: Write> AccessLog for FormattedLog<W> {
    fn wanted(&self) -> Wanted {
        self.format.wanted.clone()
    }

    fn record(&mut self, record: &ExchangeRecord<'_>) {
        let parts = &self.format.parts;
        self.lines.append(|line| {
            parts.iter().try_for_each(|part| write_part(line, part, record))?;
            line.write_all(b"\n")
        });
    }

    fn flush(&mut self) {
        self.lines.flush();
    }
}

fn write_part(line: &mut Vec<u8>, part: &Part, record: &ExchangeRecord<'_>) -> io::Result<()> {
    let request = record.request;
    match part {
        Part::Text(text) => line.write_all(text.as_bytes()),
        Part::Peer => write_peer(line, record),
        Part::User(place) => {
            let user = record.request_field(*place).and_then(basic_user).map(escape_blanks);
            line.write_all(user.as_deref().unwrap_or("-").as_bytes())
        }
        Part::Time => write_time(line, record),
        Part::Request => write_request(line, request),
        Part::Method => write_bytes(line, request.map(|request| request.method.as_bytes())),
        Part::Version => write_bytes(line, request.map(|request| request.version.as_str().as_bytes())),
        Part::Status => write_status(line, record),
        Part::ContentBytesOrDash if record.status == 0 => line.write_all(b"-"),
        Part::ContentBytes | Part::ContentBytesOrDash => write!(line, "{}", record.content_bytes),
        Part::Seconds => write!(line, "{}", record.duration().as_secs()),
        Part::Milliseconds => write!(line, "{}", record.duration().as_millis()),
        Part::Microseconds => write!(line, "{}", record.duration().as_micros()),
        Part::DecimalSeconds => {
            write!(line, "{}.{:06}", record.duration().as_secs(), record.duration().subsec_micros())
        }
        // Asked each time: a log may have been made before its process was forked.
        Part::Process => write!(line, "<{}>", process::id()),
        Part::RequestField(place) => write_bytes(line, record.request_field(*place)),
        Part::ResponseField(place) => write_bytes(line, record.response_field(*place)),
        Part::Variable(place) => write_bytes(line, record.variable(*place)),
    }
}

fn write_bytes(line: &mut Vec<u8>, bytes: Option<&[u8]>) -> io::Result<()> {
    write!(line, "{}", HexEscaped(bytes.unwrap_or(b"-")))
}

/// Returns the user in credentials of the scheme Basic (RFC 7617 §2); none if these are of another scheme or
/// malformed.
fn basic_user(credentials: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = credentials.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut user = decode_base64(encoded.trim_ascii())?;
    let end = user.iter().position(|&byte| byte == b':')?;
    user.truncate(end);
    (!user.is_empty()).then_some(user)
}

/// Decodes base64 (RFC 4648 §4), padded or not; none if it is malformed.
fn decode_base64(encoded: &[u8]) -> Option<Vec<u8>> {
    let padding = encoded.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = &encoded[..encoded.len() - padding];
    if padding > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut decoded = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits: u32 = 0;
        for place in 0..4 {
            let digit = match group.get(place) {
                None => 0,
                Some(byte @ b'A'..=b'Z') => byte - b'A',
                Some(byte @ b'a'..=b'z') => byte - b'a' + 26,
                Some(byte @ b'0'..=b'9') => byte - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                Some(_) => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        decoded.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_read_from_basic_credentials() {
        for (credentials, expected) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin")),
            ("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ", Some("Aladdin")),
            ("Basic YTo=", Some("a")),
            ("Basic YWI6Yzpk", Some("ab")),
            ("Basic OnNlY3JldA==", None),
            ("Basic YWJj", None),
            ("Basic YTo=x", None),
            ("Basic YTo!", None),
            ("Basic YWJjZ", None),
            ("Basic ====", None),
            ("Basic ", None),
            ("Basic", None),
            ("Bearer YTo=", None),
            ("", None),
            ("Bas\u{e9}c YTo=", None),
        ] {
            let user = basic_user(credentials.as_bytes());
            assert_eq!(user.as_deref(), expected.map(str::as_bytes), "{credentials}");
        }
    }
}
