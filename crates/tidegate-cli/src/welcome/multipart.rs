//! A reader of `multipart/form-data` (RFC 7578, RFC 2046 §5.1), in bounded memory.
//!
//! ```text
//! next_part ──▶ head of the part ──▶ next_piece … next_piece ──▶ none
//!     ▲                                                            │
//!     └────────────────────────────────────────────────────────────┘  until next_part is none
//! ```
//!
//! It does what a form of a browser needs. Parts inside parts and transfer encodings are not
//! undone: no browser sends them (RFC 7578 §4.7).

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

/// Longer than any head and any delimiter, and worth a system call.
const BUFFER_BYTES: usize = 64 * 1024;
/// Longest head of a part; a browser's has some 200 bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Reads the parts of a form one after the other.
pub struct Multipart<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The bytes in the buffer that were read, and not yet handed out.
    pending: Range<usize>,
    /// The boundary as it stands in the content, with the line end that belongs to it.
    delimiter: Vec<u8>,
    position: Position,
}

/// Where the reader is.
enum Position {
    /// In the content of a part, or in what comes before the first one.
    Content,
    /// Just behind a delimiter.
    Delimiter,
    /// Behind the last delimiter.
    End,
}

/// What a part says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    /// The name of the form's field.
    pub name: Option<String>,
    /// The name of the file, if it is one.
    pub filename: Option<String>,
    /// Its type.
    pub content_type: Option<String>,
}

/// Why a form cannot be read.
#[derive(Debug)]
pub enum MultipartError {
    /// The Content-Type has no boundary, or an impossible one.
    Boundary,
    /// The content ends before its last delimiter.
    Truncated,
    /// Something other than a line end follows a delimiter, or a head is no head.
    Malformed,
    /// A head is longer than [`HEAD_BYTES_MAX`].
    LongHead,
    /// There are more parts than anybody would look at.
    TooManyParts,
    /// The content cannot be read.
    Io(io::Error),
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MultipartError::Boundary => write!(f, "the form names no usable boundary"),
            MultipartError::Truncated => write!(f, "the form ends before its last boundary"),
            MultipartError::Malformed => write!(f, "the form is malformed"),
            MultipartError::LongHead => write!(f, "a part of the form has too long a head"),
            MultipartError::TooManyParts => write!(f, "the form has too many parts"),
            MultipartError::Io(error) => write!(f, "the form cannot be read: {error}"),
        }
    }
}

impl Error for MultipartError {}

impl From<io::Error> for MultipartError {
    fn from(error: io::Error) -> MultipartError {
        MultipartError::Io(error)
    }
}

/// The boundary that a Content-Type names; none if it is not the type of a form.
pub fn boundary(content_type: &str) -> Result<Option<Vec<u8>>, MultipartError> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("multipart/form-data") {
        return Ok(None);
    }
    let is_usable = |boundary: &String| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len());
    let boundary = parameter(content_type, "boundary").filter(is_usable);
    boundary.map(|boundary| Some(boundary.into_bytes())).ok_or(MultipartError::Boundary)
}

impl<R: Read> Multipart<R> {
    /// Reads a form from `reader`.
    pub fn new(reader: R, boundary: &[u8]) -> Multipart<R> {
        // The first delimiter has no line end before it: lend it one.
        let mut buffer = vec![0; BUFFER_BYTES];
        buffer[..2].copy_from_slice(b"\r\n");
        let delimiter = [b"\r\n--", boundary].concat();
        Multipart { reader, buffer, pending: 0..2, delimiter, position: Position::Content }
    }

    /// The head of the next part; what is left of the one before is skipped.
    pub fn next_part(&mut self) -> Result<Option<PartHead>, MultipartError> {
        while self.next_piece()?.is_some() {}
        if let Position::End = self.position {
            return Ok(None);
        }
        let line = self.take_until(b"\r\n", b"--")?;
        if line.ends_with(b"--") {
            self.position = Position::End;
            return Ok(None);
        }
        // Blanks may stand behind a boundary (RFC 2046 §5.1.1).
        if !line.iter().all(|byte| b" \t\r\n".contains(byte)) {
            return Err(MultipartError::Malformed);
        }
        let head = self.take_until(b"\r\n\r\n", b"\r\n")?;
        self.position = Position::Content;
        PartHead::parse(&head).map(Some)
    }

    /// The next piece of the content of the current part; none at its end.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, MultipartError> {
        if !matches!(self.position, Position::Content) {
            return Ok(None);
        }
        loop {
            let pending = &self.buffer[self.pending.clone()];
            // The last bytes may be the beginning of a delimiter.
            let undecided = self.delimiter.len() - 1;
            let count = match find(pending, &self.delimiter) {
                Some(0) => {
                    self.pending.start += self.delimiter.len();
                    self.position = Position::Delimiter;
                    return Ok(None);
                }
                Some(count) => count,
                None => pending.len().saturating_sub(undecided),
            };
            if count > 0 {
                let start = self.pending.start;
                self.pending.start += count;
                return Ok(Some(&self.buffer[start..start + count]));
            }
            self.fill()?;
        }
    }

    /// Takes all up to and with `end`; or only `short_end`, if that comes first of all.
    fn take_until(&mut self, end: &[u8], short_end: &[u8]) -> Result<Vec<u8>, MultipartError> {
        loop {
            let pending = &self.buffer[self.pending.clone()];
            let count = match find(pending, end) {
                _ if pending.starts_with(short_end) => Some(short_end.len()),
                found => found.map(|at| at + end.len()),
            };
            if let Some(count) = count {
                let taken = pending[..count].to_vec();
                self.pending.start += count;
                return Ok(taken);
            }
            if pending.len() >= HEAD_BYTES_MAX {
                return Err(MultipartError::LongHead);
            }
            self.fill()?;
        }
    }

    /// Reads more behind what is pending.
    fn fill(&mut self) -> Result<(), MultipartError> {
        self.buffer.copy_within(self.pending.clone(), 0);
        self.pending = 0..self.pending.len();
        match self.reader.read(&mut self.buffer[self.pending.end..])? {
            0 => Err(MultipartError::Truncated),
            count => {
                self.pending.end += count;
                Ok(())
            }
        }
    }
}

impl PartHead {
    fn parse(head: &[u8]) -> Result<PartHead, MultipartError> {
        let head = String::from_utf8_lossy(head);
        let mut part = PartHead::default();
        for line in head.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(MultipartError::Malformed)?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("Content-Disposition") {
                part.name = parameter(value, "name");
                part.filename = parameter(value, "filename");
            } else if name.eq_ignore_ascii_case("Content-Type") {
                part.content_type = Some(value.to_string());
            }
        }
        Ok(part)
    }
}

/// The value of a parameter: `a; name=b` or `a; name="b;c"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (this_name, tail) = rest.split_once('=')?;
        let (this_value, tail) = match tail.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (text, tail) = unquote(quoted);
                (text, tail.split_once(';').map(|(_, tail)| tail))
            }
            None => match tail.split_once(';') {
                Some((token, tail)) => (token.trim().to_string(), Some(tail)),
                None => (tail.trim().to_string(), None),
            },
        };
        if this_name.trim().eq_ignore_ascii_case(name) {
            return Some(this_value);
        }
        rest = tail?;
    }
}

/// Reads a quoted string behind its first quote; what comes behind its last. A backslash escapes a
/// quote and itself only, because some browsers send the path of a file as it is.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        let rest = characters.as_str();
        match character {
            '"' => return (text, rest),
            '\\' if rest.starts_with(['"', '\\']) => text.extend(characters.next()),
            _ => text.push(character),
        }
    }
    (text, "")
}

/// The first place of `needle`, which begins with CR.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + haystack[from..].iter().position(|&byte| byte == b'\r')?;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"preamble\r\n--B \r\n\
        Content-Disposition: form-data; name=\"text\"\r\n\r\n\
        a\r\n--\r\nb\r\n--C\r\r\n\
        --B\r\nContent-Type: image/png\r\n\
        content-disposition: form-data; filename=\"a;\\\"b\\\".png\"; name=file\r\n\r\n\
        \r\n--B\r\n\r\nbare\r\n--B--\r\nepilogue";

    /// Hands out so many bytes a read.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(into.len()).min(self.0.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn read(form: &[u8], step: usize) -> Result<Vec<(PartHead, Vec<u8>)>, MultipartError> {
        let mut form = Multipart::new(Trickle(form, step), b"B");
        let mut parts = Vec::new();
        while let Some(head) = form.next_part()? {
            let mut content = Vec::new();
            while let Some(piece) = form.next_piece()? {
                content.extend_from_slice(piece);
            }
            parts.push((head, content));
        }
        Ok(parts)
    }

    fn check_error(form: &[u8], expected: &str) {
        for step in [1, 7, form.len().max(1)] {
            let error = read(form, step).unwrap_err();
            assert_eq!(format!("{error:?}"), expected, "{}", form.escape_ascii());
        }
    }

    fn check_parameter(value: &str, expected: Option<&str>) {
        assert_eq!(parameter(value, "name").as_deref(), expected, "{value}");
    }

    #[test]
    fn parts_are_the_same_however_they_arrive() {
        for step in 1..FORM.len() {
            let parts = read(FORM, step).unwrap();
            let contents: Vec<_> = parts.iter().map(|(_, content)| &content[..]).collect();
            assert_eq!(contents, [&b"a\r\n--\r\nb\r\n--C\r"[..], b"", b"bare"], "{step}");
            assert_eq!(parts[0].0.name.as_deref(), Some("text"));
            assert_eq!(parts[1].0.name.as_deref(), Some("file"));
            assert_eq!(parts[1].0.filename.as_deref(), Some("a;\"b\".png"));
            assert_eq!(parts[1].0.content_type.as_deref(), Some("image/png"));
            assert_eq!(parts[2].0, PartHead::default());
        }
    }

    #[test]
    fn form_cut_anywhere_is_truncated() {
        let end = FORM.len() - "\r\nepilogue".len();
        for cut in 0..end {
            let error = read(&FORM[..cut], 5).unwrap_err();
            assert!(matches!(error, MultipartError::Truncated), "{cut}: {error:?}");
        }
    }

    #[test]
    fn form_without_parts_is_empty() {
        assert!(read(b"--B--", 3).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_form_is_an_error() {
        check_error(b"", "Truncated");
        check_error(b"--BC\r\n\r\n\r\n--B--", "Malformed");
        check_error(b"--B\r\nno colon\r\n\r\n\r\n--B--", "Malformed");
        check_error(&[b"--B\r\nX: ", &[b'x'; 70_000][..]].concat(), "LongHead");
    }

    #[test]
    fn long_content_passes_through_a_short_buffer() {
        let content: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let form = [b"--B\r\n\r\n", &content[..], b"\r\n--B--"].concat();
        assert_eq!(read(&form, usize::MAX).unwrap()[0].1, content);
    }

    #[test]
    fn boundary_comes_from_the_type_of_a_form_only() {
        let of = |content_type| boundary(content_type).unwrap();
        assert_eq!(of("text/plain; boundary=B"), None);
        assert_eq!(of("Multipart/Form-Data; charset=x; Boundary=\"a b\""), Some(b"a b".to_vec()));
        for bad in ["", "; boundary=", "; boundary=\"\""] {
            assert!(boundary(&format!("multipart/form-data{bad}")).is_err(), "{bad}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert!(boundary(&long).is_err());
    }

    #[test]
    fn parameters_are_read_with_and_without_quotes() {
        check_parameter("form-data; name=a", Some("a"));
        check_parameter("form-data; filename=\"name=b\"; NAME = \"a;b\"", Some("a;b"));
        check_parameter("form-data; name=\"C:\\dir\\x\"", Some("C:\\dir\\x"));
        check_parameter("form-data; name=\"open", Some("open"));
        check_parameter("form-data", None);
        check_parameter("form-data; other", None);
        check_parameter("form-data; other=1;", None);
    }
}
