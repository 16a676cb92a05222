//! Trailer fields, which come after chunked content (RFC 9110 §6.5, RFC 9112 §7.1.2).

use super::response_encoder::encode_field_line;
use crate::message::{FieldLines, Fields, InvalidResponse, is_field_name, is_field_value, may_be_trailer};

/// The last chunk, which the trailers follow.
const LAST_CHUNK: &[u8] = b"0\r\n";

/// The trailer fields of a request (RFC 9110 §6.5), in bytes that a [`ChunkedDecoder`](super::ChunkedDecoder) has
/// passed on.
///
/// Those of a request are kept apart from its head: nothing that stands here changes what was decided there. Fields
/// that [cannot be trailers](may_be_trailer) are left out. A request is not refused for them, because they do no harm
/// where nobody sees them.
///
/// ```
/// use tidegate::message::Fields;
/// use tidegate::protocol::Trailers;
///
/// let trailers = Trailers::parse(b"Content-Digest: sha-256=:abc:\r\nHost: evil\r\n");
/// let fields: Vec<_> = Fields::new(&trailers).iter().collect();
/// assert_eq!(fields, [("Content-Digest", &b"sha-256=:abc:"[..])]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trailers<'b> {
    lines: Vec<(&'b str, &'b [u8])>,
}

impl<'b> Trailers<'b> {
    /// Reads the lines of a trailer section, without the empty line at its end. They have been checked by the decoder.
    pub fn parse(section: &'b [u8]) -> Trailers<'b> {
        let lines = section.split(|&byte| byte == b'\n').filter_map(parse_line);
        Trailers { lines: lines.filter(|(name, _)| may_be_trailer(name)).collect() }
    }
}

impl FieldLines for Trailers<'_> {
    fn count(&self) -> usize {
        self.lines.len()
    }

    fn line(&self, index: usize) -> (&str, &[u8]) {
        self.lines[index]
    }
}

/// Splits `Name: value`, with the CR that is left of its end.
fn parse_line(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    Some((std::str::from_utf8(name).ok()?, value.trim_ascii()))
}

/// Writes the last chunk of a response, and these fields after it.
///
/// # Errors
/// Returns [`InvalidResponse`] when a name or a value is invalid, or when the field cannot be a trailer.
/// Nothing is written then.
pub(super) fn encode_last_chunk(out: &mut Vec<u8>, trailers: Fields<'_>) -> Result<(), InvalidResponse> {
    trailers.iter().try_for_each(|(name, value)| check(name, value))?;
    out.extend_from_slice(LAST_CHUNK);
    trailers.iter().for_each(|(name, value)| encode_field_line(out, name, value));
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn check(name: &str, value: &[u8]) -> Result<(), InvalidResponse> {
    if !is_field_name(name.as_bytes()) {
        return Err(InvalidResponse::FieldName(name.to_string()));
    }
    if !is_field_value(value) {
        return Err(InvalidResponse::FieldValue(name.to_string()));
    }
    if !may_be_trailer(name) {
        return Err(InvalidResponse::Trailer(name.to_string()));
    }
    Ok(())
}
