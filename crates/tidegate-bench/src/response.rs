//! Reads responses as a load rig needs them: the status, and where the end is (RFC 9112 §6.3).
//!
//! Bytes in, responses out, in pieces of any size; no socket, no clock, and no content is kept. It
//! is a reader of its own on purpose: one that shared its parser with the server would not notice
//! what both get wrong. It judges no more than it must to find the end.

use super::chunked::Chunked;

/// Longest head that counts as a response, in bytes. 64 KiB: as common clients accept.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most field lines in a head.
const FIELDS_MAX: usize = 128;

/// The reason why bytes are not a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub status: u16,
    /// Whether the connection carries no further response.
    pub is_last: bool,
}

/// The part of a response that comes next.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// A head, or the rest of one.
    Head,
    /// This many bytes of content.
    Length(u64),
    /// Chunked content.
    Chunked(Chunked),
    /// Content up to the end of the connection.
    UntilEnd,
}

/// Reads the responses of one connection.
#[derive(Debug)]
pub(super) struct ResponseReader {
    expected: Expected,
    /// The beginning of a head whose end has not come yet.
    partial: Vec<u8>,
    /// The response whose content is being read.
    current: Response,
}

impl ResponseReader {
    pub fn new() -> ResponseReader {
        let current = Response { status: 0, is_last: false };
        ResponseReader { expected: Expected::Head, partial: Vec::new(), current }
    }

    /// Consumes bytes up to the end of a response (with `to_head` also of an interim one), or all of them.
    /// Returns their number, and the response if it is complete.
    pub fn receive(&mut self, bytes: &[u8], to_head: bool) -> Result<(usize, Option<Response>), Malformed> {
        match &mut self.expected {
            Expected::Head => self.receive_head(bytes, to_head),
            Expected::Length(left) => {
                let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= step as u64;
                let is_end = *left == 0;
                Ok((step, is_end.then(|| self.complete())))
            }
            Expected::Chunked(chunked) => {
                let (used, is_end) = chunked.receive(bytes)?;
                Ok((used, is_end.then(|| self.complete())))
            }
            Expected::UntilEnd => Ok((bytes.len(), None)),
        }
    }

    /// Ends the connection, which completes a response whose content goes up to that.
    pub fn end(&mut self) -> Option<Response> {
        matches!(self.expected, Expected::UntilEnd).then(|| self.complete())
    }

    fn complete(&mut self) -> Response {
        self.expected = Expected::Head;
        self.current
    }

    fn receive_head(&mut self, bytes: &[u8], to_head: bool) -> Result<(usize, Option<Response>), Malformed> {
        if self.partial.is_empty() {
            return match self.parse(bytes, to_head)? {
                Some((length, response)) => Ok((length, response)),
                None => self.keep(bytes),
            };
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        let partial = std::mem::take(&mut self.partial);
        match self.parse(&partial, to_head)? {
            // The end was not among the bytes of before.
            Some((length, response)) => Ok((length - before, response)),
            None if partial.len() > HEAD_BYTES_MAX => Err(Malformed("a head without end")),
            None => {
                self.partial = partial;
                Ok((bytes.len(), None))
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(usize, Option<Response>), Malformed> {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Malformed("a head without end"));
        }
        self.partial = bytes.to_vec();
        Ok((bytes.len(), None))
    }

    /// Parses a head if it is whole. Returns its length, and its response if that has no content.
    fn parse(&mut self, bytes: &[u8], to_head: bool) -> Result<Option<(usize, Option<Response>)>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed("bytes that are no response")),
        };
        let status = head.code.unwrap_or_default();
        let is_interim = (100..200).contains(&status) && status != 101;
        if is_interim {
            return Ok(Some((length, None)));
        }
        let facts = Facts::of(&head)?;
        let has_content = !to_head && !matches!(status, 101 | 204 | 304) && facts.length != Some(0);
        self.expected = match facts {
            _ if !has_content => Expected::Head,
            Facts { is_chunked: true, .. } => Expected::Chunked(Chunked::new()),
            Facts { length: Some(bytes), .. } => Expected::Length(bytes),
            Facts { .. } => Expected::UntilEnd,
        };
        let is_last = facts.ends || matches!(self.expected, Expected::UntilEnd);
        self.current = Response { status, is_last };
        Ok(Some((length, (!has_content).then_some(self.current))))
    }
}

/// The facts that decide where content and connection end, as fields tell them.
struct Facts {
    is_chunked: bool,
    length: Option<u64>,
    ends: bool,
}

impl Facts {
    fn of(head: &httparse::Response<'_, '_>) -> Result<Facts, Malformed> {
        let mut facts = Facts { is_chunked: false, length: None, ends: head.version == Some(0) };
        for field in head.headers.iter() {
            let value = || std::str::from_utf8(field.value).unwrap_or_default().trim();
            if field.name.eq_ignore_ascii_case("content-length") {
                let length = value().parse().ok().filter(|_| value().bytes().all(|b| b.is_ascii_digit()));
                let length = Some(length.ok_or(Malformed("a Content-Length that is no number"))?);
                if facts.length.is_some() && facts.length != length {
                    return Err(Malformed("two lengths"));
                }
                facts.length = length;
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                facts.is_chunked = value().to_ascii_lowercase().ends_with("chunked");
            } else if field.name.eq_ignore_ascii_case("connection") {
                for word in value().split(',').map(str::trim) {
                    match word {
                        _ if word.eq_ignore_ascii_case("close") => facts.ends = true,
                        _ if word.eq_ignore_ascii_case("keep-alive") => facts.ends = false,
                        _ => {}
                    }
                }
            }
        }
        match facts {
            Facts { is_chunked: true, length: Some(_), .. } => Err(Malformed("a length, and chunked")),
            facts => Ok(facts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads bytes in pieces of this size, and tells the statuses found: `-` after those that are the last,
    /// and `end` for what the end of the connection completes.
    fn read(bytes: &[u8], piece: usize, to_head: bool) -> Result<String, Malformed> {
        let (mut reader, mut found) = (ResponseReader::new(), String::new());
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() {
                let (used, response) = reader.receive(piece, to_head)?;
                piece = &piece[used..];
                if let Some(Response { status, is_last }) = response {
                    found += &format!("{status}{} ", if is_last { "-" } else { "" });
                }
            }
        }
        if let Some(Response { status, .. }) = reader.end() {
            found += &format!("{status} end");
        }
        Ok(found.trim_end().to_string())
    }

    fn check(text: &str, expected: Result<&str, &str>) {
        check_with(text, false, expected);
    }

    fn check_with(text: &str, to_head: bool, expected: Result<&str, &str>) {
        for piece in 1..=text.len() {
            match (read(text.as_bytes(), piece, to_head), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text:?} by {piece}"),
                (Err(Malformed(what)), Err(part)) => assert!(what.contains(part), "{text:?}: {what}"),
                (found, _) => panic!("{text:?} by {piece}: {found:?}"),
            }
        }
    }

    #[test]
    fn length_says_where_the_next_response_begins() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 No\r\ncontent-length:0\r\n\r\n",
            Ok("200 404"),
        );
        check("HTTP/1.1 200 \r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", Ok("200"));
    }

    #[test]
    fn chunked_content_ends_by_itself() {
        let one = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        check(&format!("{one}{one}"), Ok("200 200"));
    }

    #[test]
    fn content_without_length_goes_up_to_the_end() {
        check("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Ok("200 end"));
        check("HTTP/1.0 500 No\r\nConnection: keep-alive\r\n\r\nx", Ok("500 end"));
    }

    #[test]
    fn responses_without_content_end_with_their_head() {
        check("HTTP/1.1 204 No\r\n\r\nHTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", Ok("204 304"));
        check_with(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            true,
            Ok("200 200"),
        );
    }

    #[test]
    fn interim_responses_are_passed_over() {
        check(
            "HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n",
            Ok("201"),
        );
    }

    #[test]
    fn end_of_the_connection_is_announced_by_field_or_version() {
        check("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", Ok("200-"));
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Ok("200-"));
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", Ok("200"));
    }

    #[test]
    fn response_that_is_cut_is_not_complete() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", Ok(""));
        check("HTTP/1.1 200 OK\r\nContent-Le", Ok(""));
    }

    #[test]
    fn bytes_that_are_no_response_are_malformed() {
        check("SSH-2.0-OpenSSH\r\n\r\n", Err("no response"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", Err("no number"));
        check("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", Err("no number"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Err("two lengths"));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err("and chunked"),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", Err("without a size"));
    }

    #[test]
    fn head_without_end_is_malformed() {
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
        for piece in [1000, 1 << 20] {
            assert!(read(endless.as_bytes(), piece, false).is_err());
        }
    }
}
