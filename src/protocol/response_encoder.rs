//! Writes responses: status line, field lines, framing (RFC 9112 §4, §5, §6).
//!
//! The head is written where it will be sent from, line by line, as the application gives it. Anything that
//! could split a response (CR, LF, NUL) is refused here, and so are the fields that belong to the connection.
//! Framing is decided in one place, [`ResponseEncoder::end_head`].

use std::mem;

use super::persistence::{CloseReason, Persistence};
use crate::message::{
    ConnectionOption, ContentLength, DECIMAL_DIGITS_MAX, FieldBlock, FieldRole, HttpDate, InvalidResponse,
    StatusCode, Version, format_decimal, is_field_value,
};
use crate::now::Now;

/// The interim response that asks for the content (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The field lines `Server` and `Date`, encoded once a second: encoding them for each response would cost
/// more than the rest of its head.
#[derive(Clone, Debug)]
pub struct ServerFields {
    /// The status line of nearly all responses, with these lines behind it, so that a response begins with a single
    /// copy.
    ok_lines: Vec<u8>,
    server_line_bytes: usize,
    unix_seconds: u64,
}

const CONTENT_LENGTH: &[u8] = b"Content-Length: ";

/// The status line of nearly all responses.
const OK_LINE: &[u8] = b"HTTP/1.1 200 OK\r\n";

impl ServerFields {
    /// Makes the lines for a server of this name. A name that is not a field value is left out.
    pub fn new(software: &str, now: &Now) -> ServerFields {
        let mut ok_lines = OK_LINE.to_vec();
        if is_field_value(software.as_bytes()) && !software.is_empty() {
            encode_field_line(&mut ok_lines, "Server", software.as_bytes());
        }
        let server_line_bytes = ok_lines.len() - OK_LINE.len();
        let mut fields = ServerFields { ok_lines, server_line_bytes, unix_seconds: 0 };
        fields.encode_date(now.unix_seconds);
        fields
    }

    /// Updates the date, if the second has changed.
    pub fn refresh(&mut self, now: &Now) {
        if now.unix_seconds != self.unix_seconds {
            self.encode_date(now.unix_seconds);
        }
    }

    fn lines(&self) -> &[u8] {
        &self.ok_lines[OK_LINE.len()..]
    }

    fn encode_date(&mut self, unix_seconds: u64) {
        self.unix_seconds = unix_seconds;
        self.ok_lines.truncate(OK_LINE.len() + self.server_line_bytes);
        encode_field_line(&mut self.ok_lines, "Date", HttpDate::from_unix(unix_seconds).as_bytes());
    }
}

/// The part of a request that decides about the framing of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseContext {
    /// The version that the peer speaks.
    pub version: Version,
    /// Whether the peer wants to see any content.
    pub content: ContentWish,
    /// Whether the peer takes fields after the content.
    pub trailers: TrailerWish,
}

impl ResponseContext {
    /// The context of a response without a request: its head has not been read, and may never be. A refusal
    /// then has content.
    pub const DEFAULT: ResponseContext = ResponseContext {
        version: Version::Http11,
        content: ContentWish::Wanted,
        trailers: TrailerWish::Unwanted,
    };
}

/// Whether the response to a request may have content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentWish {
    /// Content is wanted: any method but HEAD.
    Wanted,
    /// Only the fields that GET would give are wanted: HEAD.
    HeadOnly,
}

/// Whether a client takes trailer fields (RFC 9110 §10.1.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrailerWish {
    #[default]
    /// The client has not said so: they would be lost on the way, or confuse somebody.
    Unwanted,
    /// The client has said `TE: trailers`.
    Wanted,
}

/// Writes the head of one response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEncoder {
    /// The offset in the output where the head begins.
    start: usize,
    declared_length: Option<u64>,
    status: StatusCode,
    connection: ConnectionOption,
    /// Whether the server's own lines have been written, which come first.
    has_own_server: bool,
    has_own_date: bool,
}

impl ResponseEncoder {
    /// Writes the status line, and the fields that the server adds to every response.
    ///
    /// # Errors
    /// Returns [`InvalidResponse`] when the code ends no exchange, or when the reason phrase has a control
    /// character. Nothing is written then.
    pub fn begin(
        out: &mut Vec<u8>,
        own: &ServerFields,
        code: u16,
        reason: Option<&[u8]>,
    ) -> Result<ResponseEncoder, InvalidResponse> {
        let status = StatusCode::new(code).ok_or(InvalidResponse::Status(code))?;
        if !reason.is_none_or(is_field_value) {
            return Err(InvalidResponse::Reason);
        }
        let start = out.len();
        match (status.status_line(), reason) {
            (Some(line), None) => out.extend_from_slice(line),
            (_, reason) => {
                encode_status_line(out, status, reason.unwrap_or(status.reason_phrase().as_bytes()))
            }
        }
        out.extend_from_slice(own.lines());
        Ok(ResponseEncoder::of(status, own, start))
    }

    /// Writes the status line of 101 (Switching Protocols), with the fields that go with it (RFC 9110 §7.8).
    ///
    /// # Errors
    /// Returns an error when the protocol is no field value. Nothing was written then.
    pub fn begin_upgrade(
        out: &mut Vec<u8>,
        own: &ServerFields,
        protocol: &str,
    ) -> Result<ResponseEncoder, InvalidResponse> {
        let (status, start) = (StatusCode::SWITCHING_PROTOCOLS, out.len());
        encode_status_line(out, status, status.reason_phrase().as_bytes());
        out.extend_from_slice(own.lines());
        if let Err(invalid) = encode_upgrade(out, protocol.as_bytes()) {
            out.truncate(start);
            return Err(invalid);
        }
        Ok(ResponseEncoder::of(status, own, start))
    }

    /// Begins a head as [`begin`](ResponseEncoder::begin) does, for 200 (OK) with the standard's phrase, with which
    /// nearly every response begins and which cannot fail. (It returns the encoder itself: through a `Result` that was
    /// copied twice.)
    #[inline(always)]
    pub fn begin_ok(out: &mut Vec<u8>, own: &ServerFields) -> ResponseEncoder {
        let start = out.len();
        out.extend_from_slice(&own.ok_lines);
        ResponseEncoder::of(StatusCode::OK, own, start)
    }

    fn of(status: StatusCode, own: &ServerFields, start: usize) -> ResponseEncoder {
        ResponseEncoder {
            start,
            declared_length: None,
            status,
            connection: ConnectionOption::Neither,
            has_own_server: own.server_line_bytes > 0,
            has_own_date: true,
        }
    }

    /// The offset in the output where the head begins. To take the head back, truncate to it.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The status code of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Writes a field line, or notes what it says about framing and connection.
    ///
    /// # Errors
    /// Returns [`InvalidResponse`] when the name or the value is invalid, or when the field is the server's.
    /// Nothing is written then.
    #[inline(always)]
    pub fn field(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), InvalidResponse> {
        if FieldRole::is_content_type(name, value) {
            encode_field_line(out, "Content-Type", value);
            return Ok(());
        }
        self.other_field(out, name, value)
    }

    fn other_field(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), InvalidResponse> {
        let role = match FieldRole::of(name, value) {
            Err(InvalidResponse::HopByHopField(_))
                if self.status == StatusCode::UPGRADE_REQUIRED && name.eq_ignore_ascii_case("Upgrade") =>
            {
                return encode_upgrade(out, value);
            }
            role => role?,
        };
        match role {
            FieldRole::Plain => {}
            FieldRole::ContentLength(length) => return self.declare_length(length),
            FieldRole::Connection => {
                self.connection = self.connection.and(value);
                return Ok(());
            }
            FieldRole::Date => self.drop_own_date(out),
            FieldRole::Server => self.drop_own_server(out),
        }
        encode_field_line(out, name, value);
        Ok(())
    }

    /// Writes fields that were checked before.
    ///
    /// # Errors
    /// Returns [`InvalidResponse::ContentLength`] when this is a second Content-Length. Nothing is written
    /// then.
    pub fn fields(&mut self, out: &mut Vec<u8>, block: &FieldBlock) -> Result<(), InvalidResponse> {
        if let Some(length) = block.content_length() {
            self.declare_length(length)?;
        }
        self.connection = self.connection.or(block.connection());
        let replaced = block.replaced();
        if replaced.date {
            self.drop_own_date(out);
        }
        if replaced.server {
            self.drop_own_server(out);
        }
        out.extend_from_slice(block.lines());
        Ok(())
    }

    /// Ends the head: decides framing and persistence, and returns the encoder for the content.
    ///
    /// | | Content-Length known | unknown | nothing |
    /// |---|---|---|---|
    /// | HTTP/1.1 | that length | chunked | length 0 |
    /// | HTTP/1.0 | that length | until the connection ends | length 0 |
    /// | HEAD | that length, no content | no content | no content |
    /// | 204, 304 | no content, no length (304: as declared) | the same | the same |
    /// | 205 | length 0 | the same | the same |
    ///
    /// # Errors
    /// Returns [`InvalidResponse::LengthMismatch`] when the content at hand has another length than declared.
    /// The head is not ended then.
    #[inline(always)]
    pub fn end_head(
        &self,
        out: &mut Vec<u8>,
        length: ContentLength,
        context: ResponseContext,
        persistence: &mut Persistence,
    ) -> Result<BodyEncoder, InvalidResponse> {
        match length {
            // The first case of the table, as it nearly always is. (Half the instructions.)
            ContentLength::Known(length) if self.ends_plainly(context, *persistence) => {
                ResponseEncoder::end_plainly(out, length);
                Ok(BodyEncoder::Length(length))
            }
            _ => self.end_unusual_head(out, length, context, persistence),
        }
    }

    /// Whether nothing but Content-Length is missing, provided that the length of the content is known.
    #[inline(always)]
    pub(super) fn ends_plainly(&self, context: ResponseContext, persistence: Persistence) -> bool {
        context.version == Version::Http11
            && context.content == ContentWish::Wanted
            && persistence == Persistence::KeepAlive
            && self.connection != ConnectionOption::Close
            && self.declared_length.is_none()
            && !self.status.forbids_content()
    }

    /// Writes Content-Length and the end of the head. A fixed number of bytes is copied whatever the number
    /// is, and the excess is taken back: a copy of known length needs no call.
    #[inline(always)]
    pub(super) fn end_plainly(out: &mut Vec<u8>, mut length: u64) {
        const END: &[u8; 4] = b"\r\n\r\n";
        const TAIL_BYTES: usize = DECIMAL_DIGITS_MAX + END.len();
        let mut room = [0; 2 * DECIMAL_DIGITS_MAX + END.len()];
        room[DECIMAL_DIGITS_MAX..][..END.len()].copy_from_slice(END);
        let mut at = DECIMAL_DIGITS_MAX;
        loop {
            at -= 1;
            room[at] = b'0' + (length % 10) as u8;
            length /= 10;
            if length == 0 || at == 0 {
                break;
            }
        }
        out.extend_from_slice(CONTENT_LENGTH);
        out.extend_from_slice(&room[at..][..TAIL_BYTES]);
        out.truncate(out.len() - at);
    }

    fn end_unusual_head(
        &self,
        out: &mut Vec<u8>,
        length: ContentLength,
        context: ResponseContext,
        persistence: &mut Persistence,
    ) -> Result<BodyEncoder, InvalidResponse> {
        let (stated, body) = self.framing(length, context)?;
        if body == BodyEncoder::UntilClose {
            persistence.close(CloseReason::EndsContent);
        }
        if self.connection == ConnectionOption::Close {
            persistence.close(CloseReason::ApplicationAsked);
        }
        if let Some(length) = stated {
            out.extend_from_slice(CONTENT_LENGTH);
            encode_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        if body == BodyEncoder::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        match (*persistence, context.version) {
            (Persistence::Close(_), _) => out.extend_from_slice(b"Connection: close\r\n"),
            // Only a client of 1.0 has to be told (RFC 9112 §9.3).
            (Persistence::KeepAlive, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (Persistence::KeepAlive, Version::Http11) => {}
        }
        out.extend_from_slice(b"\r\n");
        Ok(body)
    }

    /// Returns the value of Content-Length, if it is sent, and the framing of the content.
    fn framing(
        &self,
        length: ContentLength,
        context: ResponseContext,
    ) -> Result<(Option<u64>, BodyEncoder), InvalidResponse> {
        if self.status.forbids_content() {
            let stated = match self.status.code() {
                205 => Some(0),
                304 => self.declared_length,
                _ => None,
            };
            return Ok((stated, BodyEncoder::Discard));
        }
        let given = match (length, context.content) {
            (ContentLength::Known(given), _) => Some(given),
            (ContentLength::Nothing, ContentWish::Wanted) => Some(0),
            (ContentLength::Nothing, ContentWish::HeadOnly) | (ContentLength::Unknown, _) => None,
        };
        let stated = self.declared_length.or(given);
        if context.content == ContentWish::HeadOnly {
            return Ok((stated, BodyEncoder::Discard));
        }
        if let (Some(declared), Some(given)) = (self.declared_length, given)
            && declared != given
        {
            return Err(InvalidResponse::LengthMismatch { declared, given });
        }
        let body = match (stated, context.version) {
            (Some(length), _) => BodyEncoder::Length(length),
            (None, Version::Http11) => BodyEncoder::Chunked,
            (None, Version::Http10) => BodyEncoder::UntilClose,
        };
        Ok((stated, body))
    }

    fn declare_length(&mut self, length: u64) -> Result<(), InvalidResponse> {
        match self.declared_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(InvalidResponse::ContentLength),
        }
    }

    fn drop_own_server(&mut self, out: &mut Vec<u8>) {
        if mem::take(&mut self.has_own_server) {
            drop_first_line(out, self.start, b"\r\nServer: ");
        }
    }

    fn drop_own_date(&mut self, out: &mut Vec<u8>) {
        if mem::take(&mut self.has_own_date) {
            drop_first_line(out, self.start, b"\r\nDate: ");
        }
    }
}

/// Removes the first field line of a head that has this beginning, and the end of the line before it.
fn drop_first_line(out: &mut Vec<u8>, start: usize, beginning: &[u8]) {
    let Some(line) = out[start..].windows(beginning.len()).position(|window| window == beginning) else {
        return;
    };
    let line = start + line;
    let behind = &out[line + beginning.len()..];
    let end = behind.windows(2).position(|window| window == b"\r\n").unwrap_or(behind.len());
    out.drain(line..line + beginning.len() + end);
}

/// Writes an Upgrade field, and the connection option without which nobody may send it (RFC 9110 §7.8).
fn encode_upgrade(out: &mut Vec<u8>, protocols: &[u8]) -> Result<(), InvalidResponse> {
    if !is_field_value(protocols) {
        return Err(InvalidResponse::FieldValue("Upgrade".to_string()));
    }
    encode_field_line(out, "Connection", b"Upgrade");
    encode_field_line(out, "Upgrade", protocols);
    Ok(())
}

/// Writes an interim response (RFC 9110 §15.2).
///
/// # Errors
/// Returns the errors of [`Http1::write_interim`](super::Http1::write_interim).
pub(super) fn encode_interim(
    out: &mut Vec<u8>,
    code: u16,
    fields: &[(&str, &[u8])],
) -> Result<(), InvalidResponse> {
    // 100 is sent when the content is wanted, and 101 would end HTTP on this connection.
    if !(102..=199).contains(&code) {
        return Err(InvalidResponse::Status(code));
    }
    for (name, value) in fields {
        match FieldRole::of(name, value)? {
            FieldRole::Plain | FieldRole::Date | FieldRole::Server => {}
            // An interim response has neither content nor a say in the connection.
            FieldRole::ContentLength(_) | FieldRole::Connection => {
                return Err(InvalidResponse::HopByHopField((*name).to_string()));
            }
        }
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    encode_decimal(out, code.into());
    out.extend_from_slice(match code {
        103 => &b" Early Hints\r\n"[..],
        _ => b" \r\n",
    });
    for (name, value) in fields {
        encode_field_line(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Frames the content of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEncoder {
    /// There must be no content: HEAD, 204, 205, 304.
    Discard,
    /// Content-Length: this many bytes are still owed.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// The end of the connection ends the content (HTTP/1.0).
    UntilClose,
}

impl BodyEncoder {
    /// Returns how many of these bytes may be sent; those beyond a declared length are cut off.
    pub fn admit(&mut self, bytes: u64) -> u64 {
        match self {
            BodyEncoder::Discard => 0,
            BodyEncoder::Length(owed) => {
                let admitted = bytes.min(*owed);
                *owed -= admitted;
                admitted
            }
            BodyEncoder::Chunked | BodyEncoder::UntilClose => bytes,
        }
    }

    /// Writes the framing before `bytes` bytes of content, which are not zero.
    pub fn open_piece(&self, out: &mut Vec<u8>, bytes: u64) {
        if *self == BodyEncoder::Chunked {
            encode_hexadecimal(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the framing after a piece of content.
    pub fn close_piece(&self, out: &mut Vec<u8>) {
        if *self == BodyEncoder::Chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the framing after the last piece.
    ///
    /// # Errors
    /// Returns [`InvalidResponse::TooShort`] when there were fewer bytes than declared: the content cannot be
    /// ended, only broken off.
    pub fn end(&self, out: &mut Vec<u8>) -> Result<(), InvalidResponse> {
        match *self {
            BodyEncoder::Discard | BodyEncoder::UntilClose | BodyEncoder::Length(0) => Ok(()),
            BodyEncoder::Length(missing) => Err(InvalidResponse::TooShort { missing }),
            BodyEncoder::Chunked => {
                out.extend_from_slice(b"0\r\n\r\n");
                Ok(())
            }
        }
    }

    /// Whether content is of any use: nothing is drawn for a HEAD.
    pub fn wants_content(&self) -> bool {
        !matches!(self, BodyEncoder::Discard | BodyEncoder::Length(0))
    }
}

fn encode_status_line(out: &mut Vec<u8>, status: StatusCode, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    encode_decimal(out, status.code().into());
    // The blank stands even where no phrase follows (RFC 9112 §4).
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

#[inline(always)]
pub(super) fn encode_field_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn encode_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(format_decimal(number, &mut [0; DECIMAL_DIGITS_MAX]));
}

fn encode_hexadecimal(out: &mut Vec<u8>, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]));
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP11: ResponseContext = ResponseContext::DEFAULT;
    const HTTP10: ResponseContext = ResponseContext { version: Version::Http10, ..HTTP11 };
    const HEAD: ResponseContext = ResponseContext { content: ContentWish::HeadOnly, ..HTTP11 };

    fn encode(
        code: u16,
        fields: &[(&str, &str)],
        length: ContentLength,
        context: ResponseContext,
    ) -> Result<(String, BodyEncoder), InvalidResponse> {
        let own = ServerFields::new("t", &Now::default());
        let mut out = b"before".to_vec();
        let mut encoder = ResponseEncoder::begin(&mut out, &own, code, None)?;
        for (name, value) in fields {
            encoder.field(&mut out, name, value.as_bytes())?;
        }
        let mut persistence = Persistence::of_request(context.version, ConnectionOption::KeepAlive);
        let body = encoder.end_head(&mut out, length, context, &mut persistence)?;
        assert_eq!((&out[..6], encoder.start()), (&b"before"[..], 6));
        Ok((String::from_utf8_lossy(&out[6..]).into_owned(), body))
    }

    fn framing(
        code: u16,
        fields: &[(&str, &str)],
        length: ContentLength,
        context: ResponseContext,
    ) -> (String, BodyEncoder) {
        let (head, body) = encode(code, fields, length, context).unwrap();
        let own = "Server: t\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        let (_, rest) = head.split_once(own).unwrap();
        (rest.replace("\r\n", "|"), body)
    }

    #[test]
    fn framing_follows_the_table() {
        use BodyEncoder::*;
        use ContentLength::{Known, Nothing, Unknown};
        let declared = &[("content-length", "5")][..];
        for (code, fields, length, context, head, body) in [
            (200, &[][..], Known(13), HTTP11, "Content-Length: 13||", Length(13)),
            (200, &[], Unknown, HTTP11, "Transfer-Encoding: chunked||", Chunked),
            (200, declared, Unknown, HTTP11, "Content-Length: 5||", Length(5)),
            (200, &[], Known(0), HTTP10, "Content-Length: 0|Connection: keep-alive||", Length(0)),
            (200, &[], Unknown, HTTP10, "Connection: close||", UntilClose),
            (200, &[], Known(13), HEAD, "Content-Length: 13||", Discard),
            (200, declared, Known(0), HEAD, "Content-Length: 5||", Discard),
            (200, &[], Unknown, HEAD, "|", Discard),
            (302, &[], Nothing, HTTP11, "Content-Length: 0||", Length(0)),
            (200, &[], Nothing, HEAD, "|", Discard),
            (200, declared, Nothing, HEAD, "Content-Length: 5||", Discard),
            (204, &[], Known(3), HTTP11, "|", Discard),
            (204, declared, Unknown, HTTP11, "|", Discard),
            (205, &[], Unknown, HTTP11, "Content-Length: 0||", Discard),
            (304, declared, Known(0), HTTP11, "Content-Length: 5||", Discard),
            (304, &[], Known(0), HTTP11, "|", Discard),
            (
                200,
                &[("Connection", "close")],
                Known(0),
                HTTP11,
                "Content-Length: 0|Connection: close||",
                Length(0),
            ),
        ] {
            assert_eq!(framing(code, fields, length, context), (head.to_string(), body), "{code} {length:?}");
        }
    }

    #[test]
    fn the_applications_date_and_server_replace_the_servers() {
        let fields = [("X", "1"), ("Date", "d"), ("Server", "s"), ("Date", "e")];
        let (head, _) = encode(200, &fields, ContentLength::Known(0), HTTP11).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nX: 1\r\nDate: d\r\nServer: s\r\nDate: e\r\nContent-Length: 0\r\n\r\n"
        );
    }

    /// The end of the usual head is composed from its last digit on: no digit may be lost or left over.
    #[test]
    fn length_of_any_number_of_digits_is_written_in_full() {
        let powers = (0..20).map(|digits| 10_u64.pow(digits));
        for length in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            let (head, body) = encode(200, &[], ContentLength::Known(length), HTTP11).unwrap();
            assert!(head.ends_with(&format!("\r\nContent-Length: {length}\r\n\r\n")), "{head}");
            assert_eq!(body, BodyEncoder::Length(length));
        }
    }

    #[test]
    fn invalid_responses_are_refused() {
        let check = |code, fields: &[(&str, &str)], expected| {
            assert_eq!(encode(code, fields, ContentLength::Known(3), HTTP11), Err(expected));
        };
        check(100, &[], InvalidResponse::Status(100));
        check(600, &[], InvalidResponse::Status(600));
        check(200, &[("A b", "c")], InvalidResponse::FieldName("A b".into()));
        check(200, &[("", "c")], InvalidResponse::FieldName("".into()));
        for value in ["a\r\nEvil: 1", "a\n", "a\r", "a\0"] {
            check(200, &[("A", value)], InvalidResponse::FieldValue("A".into()));
        }
        for name in ["transfer-encoding", "Keep-Alive", "Upgrade", "TE", "Proxy-Connection"] {
            check(200, &[(name, "x")], InvalidResponse::HopByHopField(name.into()));
        }
        check(200, &[("Connection", "upgrade")], InvalidResponse::HopByHopField("Connection".into()));
        check(200, &[("Content-Length", "+3")], InvalidResponse::ContentLength);
        check(200, &[("Content-Length", "3"), ("Content-Length", "3")], InvalidResponse::ContentLength);
        check(200, &[("Content-Length", "4")], InvalidResponse::LengthMismatch { declared: 4, given: 3 });
        let own = ServerFields::new("t", &Now::default());
        let split = ResponseEncoder::begin(&mut Vec::new(), &own, 200, Some(b"a\r\nb"));
        assert_eq!(split.unwrap_err(), InvalidResponse::Reason);
    }

    #[test]
    fn status_lines_have_a_phrase_or_a_blank() {
        let line = |code, reason: Option<&str>| {
            let (mut out, own) = (Vec::new(), ServerFields::new("", &Now::default()));
            ResponseEncoder::begin(&mut out, &own, code, reason.map(str::as_bytes)).unwrap();
            String::from_utf8(out).unwrap().split("\r\n").next().unwrap().to_string()
        };
        assert_eq!(line(418, None), "HTTP/1.1 418 I'm a Teapot");
        assert_eq!(line(599, None), "HTTP/1.1 599 ");
        assert_eq!(line(200, Some("Fine")), "HTTP/1.1 200 Fine");
    }

    #[test]
    fn pieces_are_framed_and_counted() {
        let encode = |mut body: BodyEncoder, pieces: &[&str]| {
            let mut out = Vec::new();
            for piece in pieces {
                let admitted = body.admit(piece.len() as u64);
                if admitted > 0 {
                    body.open_piece(&mut out, admitted);
                    out.extend_from_slice(&piece.as_bytes()[..admitted as usize]);
                    body.close_piece(&mut out);
                }
            }
            let end = body.end(&mut out);
            (String::from_utf8(out).unwrap(), end)
        };
        assert_eq!(encode(BodyEncoder::Chunked, &["abc", "", "d"]).0, "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n");
        assert_eq!(
            encode(BodyEncoder::Chunked, &["x".repeat(300).as_str()]).0.split_once('\r').unwrap().0,
            "12c"
        );
        assert_eq!(encode(BodyEncoder::Length(4), &["abc", "def"]), ("abcd".into(), Ok(())));
        let short = Err(InvalidResponse::TooShort { missing: 1 });
        assert_eq!(encode(BodyEncoder::Length(4), &["abc"]), ("abc".into(), short));
        assert_eq!(encode(BodyEncoder::Discard, &["abc"]), (String::new(), Ok(())));
        assert_eq!(encode(BodyEncoder::UntilClose, &["abc"]), ("abc".into(), Ok(())));
    }
}
