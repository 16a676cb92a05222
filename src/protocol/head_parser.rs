//! Reads the head of a request: httparse for the grammar, then the rules that it leaves to us.
//!
//! httparse finds tokens, lines and their ends, fast, and starts from byte 0 each time. The rest of what RFC
//! 9112 §2, §3 and §5 say about the form of a head is here: versions, forms of target, and limits.
//! [`HeadSemantics`] interprets the fields.
//!
//! The parser is lenient only where the standard allows it (§2.2): empty lines before the request line, and
//! LF alone as a line end.

use std::fmt;
use std::mem::MaybeUninit;

use super::error::ProtocolError;
use super::semantics::HeadSemantics;
use crate::limits::{FIELDS_CAPACITY, Limits};
use crate::message::{FieldLines, Fields, Method, RequestHead, RequestTarget, Version, is_field_name};

/// Room for the field lines of one head, on the stack of the caller. It costs nothing to make: the parser
/// fills only as many slots as there are lines.
pub struct FieldSlots<'b>([MaybeUninit<httparse::Header<'b>>; FIELDS_CAPACITY]);

impl fmt::Debug for FieldSlots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldSlots").finish_non_exhaustive()
    }
}

impl FieldSlots<'_> {
    /// Makes empty slots.
    pub fn new() -> Self {
        FieldSlots([const { MaybeUninit::uninit() }; FIELDS_CAPACITY])
    }
}

impl Default for FieldSlots<'_> {
    fn default() -> Self {
        FieldSlots::new()
    }
}

/// A complete head, and what it means for the connection.
#[derive(Debug)]
pub struct ParsedHead<'s, 'b> {
    method: &'b str,
    target: RequestTarget<'b>,
    /// The version that the peer speaks.
    pub version: Version,
    lines: Lines<'s, 'b>,
    /// The bytes of input that the head took, including empty lines before it.
    pub length: usize,
    /// The consequences of the head for the connection.
    pub semantics: HeadSemantics,
}

#[derive(Debug)]
struct Lines<'s, 'b>(&'s [httparse::Header<'b>]);

impl FieldLines for Lines<'_, '_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn line(&self, index: usize) -> (&str, &[u8]) {
        (self.0[index].name, self.0[index].value)
    }
}

impl ParsedHead<'_, '_> {
    /// The head as the rest of the server uses it.
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method(),
            target: self.target,
            version: self.version,
            fields: Fields::new(&self.lines),
        }
    }

    /// The method.
    pub fn method(&self) -> Method<'_> {
        Method(self.method)
    }
}

/// Parses a head from the start of the input; none if its end is not there yet. The first `searched` bytes
/// have been offered before without the end of a head: parsing begins again only if one ends in the rest.
///
/// # Errors
/// Returns the first rule that the head breaks, or the limit that it exceeds, even before its end.
#[inline(always)]
pub fn parse_head<'s, 'b>(
    input: &'b [u8],
    searched: usize,
    slots: &'s mut FieldSlots<'b>,
    limits: &Limits,
) -> Result<Option<ParsedHead<'s, 'b>>, ProtocolError> {
    if searched > 0 && !has_head_end(input, searched) {
        return check_lines(input, searched, limits).map(|()| None);
    }
    let mut request = httparse::Request::new(&mut []);
    let fields_max = limits.fields_max.min(FIELDS_CAPACITY);
    let length = match request.parse_with_uninit_headers(input, &mut slots.0[..fields_max]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return check_lines(input, 0, limits).map(|()| None),
        // After an error the header slice looks filled, with empty entries: it is not read. What is
        // wrong with a line is said when the line is complete.
        Err(_) => {
            check_lines(input, 0, limits)?;
            let has_ended = has_head_end(&input[blank_lines(input)..], 0);
            return if has_ended { Err(ProtocolError::MalformedHead) } else { Ok(None) };
        }
    };
    let (Some(method), Some(raw_target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(ProtocolError::MalformedHead);
    };
    // Two blanks, `HTTP/1.x` and CR LF, or perhaps LF alone.
    let line_bytes_max = method.len() + raw_target.len() + 12;
    if line_bytes_max > limits.request_line_bytes_max || length > limits.head_bytes_max {
        check_lines(&input[..length], 0, limits)?;
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let target =
        RequestTarget::parse(Method(method), raw_target).map_err(|_| ProtocolError::InvalidTarget)?;
    let lines = Lines(request.headers);
    let semantics = HeadSemantics::of(lines.0, Method(method), target, version)?;
    Ok(Some(ParsedHead { method, target, version, lines, length, semantics }))
}

/// Parses method, target and version of the request line at the start of the input, if it is whole and
/// readable. It serves reports on a refused head, whose target may be wrong.
pub fn parse_request_line<'b>(input: &'b [u8], limits: &Limits) -> Option<(&'b str, &'b str, Version)> {
    let head = &input[blank_lines(input)..];
    let end = head.iter().take(limits.request_line_bytes_max).position(|&byte| byte == b'\n')?;
    let mut request = httparse::Request::new(&mut []);
    request.parse(&head[..=end]).ok()?;
    let version = if request.version? == 0 { Version::Http10 } else { Version::Http11 };
    Some((request.method?, request.path?, version))
}

/// The beginning of a PROXY header of version 2. The two empty lines before it are skipped, as any are. One of version
/// 1 is a line that begins with `PROXY`.
const PROXY_SIGNATURE: &[u8] = b"\0\r\nQUIT\n";

/// Checks a head, or as much as there is of it, line by line, so that the result does not depend on where a
/// read happens to end. A line is checked when it is complete, and its length as soon as it is too long. The
/// first byte of the request line is checked at once, since it tells other protocols apart. Lines that ended
/// in the first `searched` bytes have been checked before.
fn check_lines(input: &[u8], searched: usize, limits: &Limits) -> Result<(), ProtocolError> {
    let blank = blank_lines(input);
    let (head, searched) = (&input[blank..], searched.saturating_sub(blank));
    if head.first().is_some_and(|&byte| byte != b'\r' && !is_field_name(&[byte])) {
        // A proxy sends such a header in one piece. Cut within its first few bytes it is malformed, as everything else
        // is.
        let is_proxy_header = head.starts_with(PROXY_SIGNATURE);
        return Err(if is_proxy_header { ProtocolError::ProxyHeader } else { ProtocolError::MalformedHead });
    }
    let is_end = |byte: &u8| *byte == b'\n';
    if !head[searched..].iter().any(is_end) {
        return check_length(head, head.contains(&b'\n'), head.len() + 1, limits);
    }
    let mut start = head[..searched].iter().rposition(is_end).map_or(0, |at| at + 1);
    let mut before = head[..start].iter().filter(|byte| is_end(byte)).count();
    while let Some(at) = head[start..].iter().position(is_end) {
        let end = start + at + 1;
        check_length(head, before > 0, end, limits)?;
        if let b"\n" | b"\r\n" = &head[start..end] {
            return Ok(());
        }
        check_line(&head[start..end], before, limits)?;
        (start, before) = (end, before + 1);
    }
    check_length(head, true, head.len() + 1, limits)
}

/// Checks the limits for a line of this head that ends at `end` or later.
fn check_length(head: &[u8], is_field: bool, end: usize, limits: &Limits) -> Result<(), ProtocolError> {
    match end {
        _ if !is_field && end > limits.request_line_bytes_max => {
            let allowed = &head[..head.len().min(limits.request_line_bytes_max)];
            match allowed.contains(&b' ') {
                true => Err(ProtocolError::RequestLineTooLong),
                false => Err(ProtocolError::MethodTooLong),
            }
        }
        _ if end > limits.head_bytes_max => Err(ProtocolError::HeadTooLarge),
        _ => Ok(()),
    }
}

/// Checks a complete line that follows `before` others.
fn check_line(line: &[u8], before: usize, limits: &Limits) -> Result<(), ProtocolError> {
    if before == 0 {
        return match httparse::Request::new(&mut []).parse(line) {
            Ok(_) => Ok(()),
            Err(httparse::Error::Version) if has_other_version(line) => {
                Err(ProtocolError::UnsupportedVersion)
            }
            Err(_) if line.starts_with(b"PROXY ") => Err(ProtocolError::ProxyHeader),
            Err(_) => Err(ProtocolError::MalformedHead),
        };
    }
    if httparse::parse_headers(line, &mut [httparse::EMPTY_HEADER]).is_err() {
        return Err(ProtocolError::MalformedHead);
    }
    if before > limits.fields_max { Err(ProtocolError::TooManyFields) } else { Ok(()) }
}

/// Most empty lines before a request line. 100: as Apache, with its `LimitRequestFields`; one is all that any client
/// is known to send.
pub const EMPTY_LINES_MAX: u8 = 100;

/// Returns the length of the empty lines before a request line, which are skipped (RFC 9112 §2.2). The caller
/// must count them against [`EMPTY_LINES_MAX`], since they can come one by one.
pub fn blank_lines(input: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &input[at..] {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

/// Whether a line reads method, target and version, with a version of HTTP that is not supported here.
fn has_other_version(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.strip_suffix(b"\r").unwrap_or(line).split(|&byte| byte == b' ');
    let (_method, target, version) = (parts.next(), parts.next(), parts.next());
    let is_other = matches!(version, Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit());
    is_other && parts.next().is_none() && target.is_some_and(|target| !target.is_empty())
}

/// Whether a head can end in the input, judged by an empty line in the bytes from `from` on and the few
/// before them. This saves parsing the head again for every byte that drips in: httparse starts from byte 0,
/// so that would be quadratic work.
pub fn has_head_end(input: &[u8], from: usize) -> bool {
    let tail = &input[from.saturating_sub(3)..];
    let mut line_ends = tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends.any(|(at, _)| matches!(&tail[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Expectation, Persistence, RequestFraming};

    /// Returns the meaning of the head, why it is refused, or that it is not complete.
    fn parse(
        input: &[u8],
    ) -> Result<Option<(String, RequestFraming, Expectation, Persistence)>, ProtocolError> {
        let mut slots = FieldSlots::new();
        let parsed = parse_head(input, 0, &mut slots, &Limits::default())?;
        Ok(parsed.map(|parsed| {
            let head = parsed.head();
            let text = format!("{} {} {}", head.method, head.target.as_str(), head.fields.len());
            (text, parsed.semantics.framing, parsed.semantics.expectation, parsed.semantics.persistence)
        }))
    }

    fn refused(input: &str, expected: ProtocolError) {
        assert_eq!(parse(input.as_bytes()), Err(expected), "{input:?}");
    }

    #[test]
    fn heads_are_read() {
        let (text, framing, expectation, persistence) =
            parse(b"\r\n\nPOST /a HTTP/1.1\nHost: x\r\nContent-Length: 3\r\nExpect: 100-Continue\n\nabc")
                .unwrap()
                .unwrap();
        assert_eq!((text.as_str(), framing), ("POST /a 3", RequestFraming::Length(3)));
        assert_eq!((expectation, persistence), (Expectation::Continue, Persistence::KeepAlive));
    }

    #[test]
    fn every_prefix_of_a_head_is_incomplete() {
        let head = b"GET /a?b HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
        for at in 0..head.len() {
            assert_eq!(parse(&head[..at]), Ok(None), "{:?}", String::from_utf8_lossy(&head[..at]));
            assert!(!has_head_end(&head[..at], 0));
        }
        for from in 0..head.len() {
            assert!(has_head_end(head, from), "{from}");
        }
        assert!(has_head_end(b"GET / HTTP/1.0\n\n", 15));
    }

    #[test]
    fn host_rules_hold() {
        refused("GET / HTTP/1.1\r\n\r\n", ProtocolError::MissingHost);
        refused("GET http://a/ HTTP/1.1\r\n\r\n", ProtocolError::MissingHost);
        refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", ProtocolError::RepeatedHost);
        refused("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", ProtocolError::RepeatedHost);
        refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ProtocolError::InvalidHost);
        refused("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", ProtocolError::InvalidHost);
        assert!(parse(b"GET / HTTP/1.0\r\n\r\n").is_ok());
        assert!(parse(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").is_ok());
    }

    #[test]
    fn request_line_is_read_although_the_rest_cannot_be() {
        let limits = Limits { request_line_bytes_max: 30, ..Limits::default() };
        for (input, expected) in [
            ("GET /a?b HTTP/1.1\r\n: c\r\n", Some(("GET", "/a?b", Version::Http11))),
            ("\r\n\nM-X /#% HTTP/1.0\n", Some(("M-X", "/#%", Version::Http10))),
            ("GET /a HTTP/1.1\r", None),
            ("GET /a HTTP/1.2\r\n", None),
            ("GET  /a HTTP/1.1\r\n", None),
            ("GET /0123456789abcdef HTTP/1.1\r\n", None),
            ("", None),
        ] {
            assert_eq!(parse_request_line(input.as_bytes(), &limits), expected, "{input:?}");
        }
    }

    #[test]
    fn proxy_headers_are_refused_by_name() {
        for header in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        ] {
            refused(header, ProtocolError::ProxyHeader);
        }
        refused("\0\r\nQUID\n", ProtocolError::MalformedHead);
    }

    #[test]
    fn malformed_heads_are_refused() {
        for bad in [
            "GET\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "G\u{e9}T / HTTP/1.1\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0",
        ] {
            refused(bad, ProtocolError::MalformedHead);
        }
        refused("GET a HTTP/1.1\r\nHost: a\r\n\r\n", ProtocolError::InvalidTarget);
        refused("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", ProtocolError::InvalidTarget);
    }

    /// Bytes of the same head may have been offered before or not, with the same result.
    #[test]
    fn verdict_does_not_depend_on_where_reads_end() {
        let limits = Limits { request_line_bytes_max: 30, head_bytes_max: 60, ..Limits::default() };
        let verdict = |cuts: &mut dyn Iterator<Item = usize>, input: &[u8]| {
            let mut searched = 0;
            for end in cuts {
                let mut slots = FieldSlots::new();
                match parse_head(&input[..end], searched, &mut slots, &limits) {
                    Ok(None) => searched = end,
                    judged => return judged.map(|_| true),
                }
            }
            Ok(false)
        };
        for input in [
            "GET /\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\nX: 0123456789012345678901234567890123456789",
            "GET / HTTP/1.1\r\nHost : a",
            "GET /0123456789012345678901234567890123456789 HTTP/1.1\r\nHost : a\r\n",
            "GET /  HTTP/1.1\r\nX: 0123456789012345678901234567890123456789\r\n\r\n",
            "GET / HTTP/1.1\r\nX: 0123456789012345678901234567890123456789\0\r\n\r\n",
            "GET / HTTP/7.7\r\nX: \0\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\rGET / HTTP/1.1\r\n",
            "\0",
        ] {
            let input = input.as_bytes();
            let expected = verdict(&mut [input.len()].into_iter(), input);
            assert_eq!(verdict(&mut (1..=input.len()), input), expected, "{}", input.escape_ascii());
            for at in 1..input.len() {
                let told = verdict(&mut [at, input.len()].into_iter(), input);
                assert_eq!(told, expected, "{} cut at {at}", input.escape_ascii());
            }
        }
    }

    /// A head that drips would otherwise cost a step for each pair of its bytes.
    #[test]
    fn what_was_offered_before_is_not_judged_again() {
        let bad = b"GET / HTTP/1.1\r\nHost : a\r\n";
        for more in [&b""[..], b"X", b"X: y\r\n", b"X: y\r\nX: y\r\nX"] {
            let input = [&bad[..], more].concat();
            let judged = |searched| {
                let mut slots = FieldSlots::new();
                parse_head(&input, searched, &mut slots, &Limits::default()).map(|parsed| parsed.is_some())
            };
            assert_eq!(judged(0), Err(ProtocolError::MalformedHead));
            assert_eq!(judged(bad.len()), Ok(false), "{}", more.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_spoken_here_is_said_so() {
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ProtocolError::UnsupportedVersion);
        refused("GET / HTTP/1.2\r\n\r\n", ProtocolError::UnsupportedVersion);
        refused("GET /  HTTP/1.1\r\n\r\n", ProtocolError::MalformedHead);
        refused("GET /a b HTTP/1.1\r\n\r\n", ProtocolError::MalformedHead);
        refused("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", ProtocolError::TunnelUnsupported);
        refused("GET / HTTP/1.1\r\nHost: a\r\nExpect: teapot\r\n\r\n", ProtocolError::UnknownExpectation);
        refused("POST / HTTP/1.0\r\n\r\n", ProtocolError::LengthRequired);
        refused(
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            ProtocolError::TransferEncodingInHttp10,
        );
    }

    /// Both line ends count with their bytes, wherever the line stands relative to the limit.
    #[test]
    fn request_line_ends_with_one_byte_or_two_at_the_limit() {
        let limits = Limits { request_line_bytes_max: 30, ..Limits::default() };
        for (bytes, end, is_good) in
            [(28, "\r\n", true), (29, "\r\n", false), (29, "\n", true), (30, "\n", false)]
        {
            let head = format!("GET /{} HTTP/1.1{end}Host:\r\n\r\n", "a".repeat(bytes - 14));
            let mut slots = FieldSlots::new();
            let judged = parse_head(head.as_bytes(), 0, &mut slots, &limits).map(|parsed| parsed.is_some());
            let expected = if is_good { Ok(true) } else { Err(ProtocolError::RequestLineTooLong) };
            assert_eq!(judged, expected, "{bytes} {end:?}");
        }
    }

    #[test]
    fn limits_hold_before_the_end_and_at_it() {
        let limits =
            Limits { request_line_bytes_max: 30, head_bytes_max: 60, fields_max: 2, ..Limits::default() };
        let check = |input: &str, expected: Result<bool, ProtocolError>| {
            let mut slots = FieldSlots::new();
            let got = parse_head(input.as_bytes(), 0, &mut slots, &limits).map(|parsed| parsed.is_some());
            assert_eq!(got, expected, "{input:?}");
        };
        check(&format!("GET /{} HTTP/1.1\r\nHost:\r\n\r\n", "a".repeat(14)), Ok(true));
        check(
            &format!("GET /{} HTTP/1.1\r\nHost:\r\n\r\n", "a".repeat(15)),
            Err(ProtocolError::RequestLineTooLong),
        );
        check(&format!("GET /{}", "a".repeat(24)), Ok(false));
        check(&format!("GET /{}", "a".repeat(25)), Err(ProtocolError::RequestLineTooLong));
        check(&format!("GET / HTTP/1.1\r\nHost:\r\nA: {}\r\n\r\n", "a".repeat(28)), Ok(true));
        check(
            &format!("GET / HTTP/1.1\r\nHost:\r\nA: {}\r\n\r\n", "a".repeat(34)),
            Err(ProtocolError::HeadTooLarge),
        );
        check(&format!("GET / HTTP/1.1\r\nHost:\r\nA: {}", "a".repeat(34)), Err(ProtocolError::HeadTooLarge));
        check("GET / HTTP/1.1\r\nHost:\r\nA:\r\nB:\r\n\r\n", Err(ProtocolError::TooManyFields));
    }
}
