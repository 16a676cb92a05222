//! Reads responses as strictly as the standard writes them, so that a server which is merely
//! understood by lenient clients does not pass.
//!
//! [`read_one`] takes one response from the front of some bytes; [`read_all`] takes everything that
//! a connection has sent. What a lenient client would forgive (a bare LF, a size with a blank, two
//! lengths, bytes left over) is an `Err` with a sentence.

use std::fmt;
use std::iter;
use std::ops::Range;

/// The way in which the end of the content is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no content: HEAD, 1xx, 204, 304.
    None,
    /// Content-Length.
    Length,
    /// The chunked coding.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub code: u16,
    pub reason: String,
    pub fields: Vec<(String, String)>,
    pub framing: Framing,
    pub content: Vec<u8>,
    /// The trailer fields.
    pub trailers: Vec<(String, String)>,
    /// Whether the connection ended before the content did.
    pub is_cut: bool,
}

impl Response {
    /// The value of the only field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice in {self:?}");
        first
    }

    /// Whether it announces the end of the connection.
    pub fn says_close(&self) -> bool {
        self.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// Returns the essential content: of the server's own error texts, the middle of `400 Bad Request: what
    /// is wrong (RFC …).`
    fn gist(&self) -> String {
        let text = self.text();
        let start = format!("{} {}: ", self.code, self.reason);
        match text.strip_prefix(&start).and_then(|text| text.strip_suffix(".\n")) {
            Some(what) => what.split(" (RFC ").next().unwrap_or(what).to_string(),
            None => text,
        }
    }
}

/// Prints one line: `200 length: content`, `400 length close: what is wrong`, `200 chunked cut: half`.
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let framing = match self.framing {
            Framing::None => "none",
            Framing::Length => "length",
            Framing::Chunked => "chunked",
            Framing::UntilClose => "until-close",
        };
        write!(f, "{} {framing}", self.code)?;
        if self.says_close() {
            f.write_str(" close")?;
        }
        if self.is_cut {
            f.write_str(" cut")?;
        }
        match self.gist() {
            content if content.is_empty() => Ok(()),
            content => write!(f, ": {content}"),
        }
    }
}

/// Takes one response to a request with this method from the front, and returns it with its bytes. None if
/// bytes are missing and the connection `has_ended` not yet.
pub fn read_one(bytes: &[u8], method: &str, has_ended: bool) -> Result<Option<(Response, usize)>, String> {
    let Some(head_bytes) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return match has_ended && !bytes.is_empty() {
            true => Err(format!("the connection ended within a head: {:?}", String::from_utf8_lossy(bytes))),
            false => Ok(None),
        };
    };
    let mut response = read_head(&bytes[..head_bytes])?;
    let start = head_bytes + 4;
    response.framing = framing(&response, method)?;
    let rest = &bytes[start..];
    let (pieces, mut used, mut is_whole) = match response.framing {
        Framing::None => (Vec::new(), 0, true),
        Framing::Length => find_length(&response, rest)?,
        Framing::Chunked => find_chunks(rest)?,
        Framing::UntilClose => (iter::once(0..rest.len()).collect(), rest.len(), has_ended),
    };
    if is_whole && response.framing == Framing::Chunked {
        match rest[used..].windows(4).position(|window| window == b"\r\n\r\n") {
            _ if rest[used..].starts_with(b"\r\n") => used += 2,
            Some(bytes) => {
                response.trailers = read_fields(&rest[used..used + bytes])?;
                used += bytes + 4;
            }
            None => (used, is_whole) = (rest.len(), false),
        }
    }
    if !is_whole && !has_ended {
        return Ok(None);
    }
    response.is_cut = !is_whole;
    pieces.into_iter().for_each(|piece| response.content.extend_from_slice(&rest[piece]));
    Ok(Some((response, start + used)))
}

/// Takes all responses of an ended connection. `methods` are those of the final responses, in
/// order; GET where there are more.
pub fn read_all(mut bytes: &[u8], methods: &[&str]) -> Result<Vec<Response>, String> {
    let mut responses: Vec<Response> = Vec::new();
    while !bytes.is_empty() {
        let finals = responses.iter().filter(|response| response.code >= 200).count();
        let method = methods.get(finals).copied().unwrap_or("GET");
        let (response, used) = read_one(bytes, method, true)?.ok_or("an incomplete response")?;
        bytes = &bytes[used..];
        responses.push(response);
    }
    Ok(responses)
}

fn read_head(head: &[u8]) -> Result<Response, String> {
    let end = head.windows(2).position(|window| window == b"\r\n").unwrap_or(head.len());
    let (status_line, lines) = head.split_at(end);
    let status_line = std::str::from_utf8(status_line).map_err(|_| "a status line that is no text")?;
    let rest = status_line.strip_prefix("HTTP/1.1 ").ok_or(format!("status line {status_line:?}"))?;
    let (code, reason) = rest.split_once(' ').ok_or(format!("no blank after the code: {status_line:?}"))?;
    if code.len() != 3 {
        return Err(format!("code {code:?}"));
    }
    let fields = lines.strip_prefix(b"\r\n").map_or(Ok(Vec::new()), read_fields)?;
    Ok(Response {
        code: code.parse().map_err(|_| format!("code {code:?}"))?,
        reason: reason.to_string(),
        fields,
        framing: Framing::None,
        content: Vec::new(),
        trailers: Vec::new(),
        is_cut: false,
    })
}

/// Reads the lines of a head or a trailer section, without the empty line at their end.
fn read_fields(lines: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(lines).map_err(|_| "fields that are no text")?;
    let field = |line: &str| match line.split_once(": ") {
        Some((name, value)) if !name.is_empty() && !line.contains(['\r', '\n', '\0']) => {
            Ok((name.to_string(), value.to_string()))
        }
        _ => Err(format!("field line {line:?}")),
    };
    text.split("\r\n").map(field).collect()
}

/// Determines the framing as a client does (RFC 9112 §6.3).
fn framing(response: &Response, method: &str) -> Result<Framing, String> {
    if response.code == 101 {
        // What follows belongs to another protocol.
        return Ok(Framing::UntilClose);
    }
    let length = response.field("Content-Length");
    let coding = response.field("Transfer-Encoding");
    if length.is_some() && coding.is_some() {
        return Err("both Content-Length and Transfer-Encoding".to_string());
    }
    if let 100..=199 | 204 = response.code {
        return match (length, coding) {
            (None, None) => Ok(Framing::None),
            _ => Err(format!("a {} with a framing field", response.code)),
        };
    }
    if method == "HEAD" || response.code == 304 {
        return Ok(Framing::None);
    }
    match (length, coding) {
        (Some(_), _) => Ok(Framing::Length),
        (None, Some("chunked")) => Ok(Framing::Chunked),
        (None, Some(other)) => Err(format!("coding {other:?}")),
        (None, None) => Ok(Framing::UntilClose),
    }
}

/// The place of content in the bytes after a head, its length with the framing, and whether it is all there.
/// Nothing is copied: this is determined anew with every read.
type Found = (Vec<Range<usize>>, usize, bool);

fn find_length(response: &Response, rest: &[u8]) -> Result<Found, String> {
    let value = response.field("Content-Length").unwrap_or_default();
    let length: usize = match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => value.parse().map_err(|_| format!("length {value:?}"))?,
        false => return Err(format!("length {value:?}")),
    };
    let used = length.min(rest.len());
    Ok((iter::once(0..used).collect(), used, used == length))
}

/// Finds chunks, `size CRLF data CRLF`, with sizes without leading zeros or extensions, up to the last of them.
fn find_chunks(rest: &[u8]) -> Result<Found, String> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = rest[at..].windows(2).position(|window| window == b"\r\n") else {
            return Ok((pieces, rest.len(), false));
        };
        let size = chunk_size(&rest[at..at + line])?;
        at += line + 2;
        if size == 0 {
            return Ok((pieces, at, true));
        }
        pieces.push(at..rest.len().min(at + size));
        match rest.get(at + size..at + size + 2) {
            Some(b"\r\n") => at += size + 2,
            Some(other) => return Err(format!("{other:?} after a chunk")),
            None => return Ok((pieces, rest.len(), false)),
        }
    }
}

fn chunk_size(digits: &[u8]) -> Result<usize, String> {
    let text = String::from_utf8_lossy(digits);
    let is_size = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_size || (digits.len() > 1 && digits[0] == b'0') {
        return Err(format!("chunk size {text:?}"));
    }
    usize::from_str_radix(&text, 16).map_err(|error| format!("chunk size {text:?}: {error}"))
}
