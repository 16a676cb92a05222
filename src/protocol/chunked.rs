//! The chunked transfer coding (RFC 9112 §7.1).

use super::error::ProtocolError;
use crate::message::{is_field_name, is_field_value};

/// Longest extension of one chunk. 256 bytes: no client sends any, and longer ones are an attack.
pub const CHUNK_EXTENSION_BYTES_MAX: u16 = 256;
/// Longest trailer section; beyond it 431. 8 KiB: a quarter of what a head may have, since a checksum and a signature
/// stand in it, and no cookies.
pub const TRAILER_BYTES_MAX: u16 = 8 * 1024;
/// Most digits of a chunk size: 16 make 64 bits, and more can only be zeros put there to confuse.
const SIZE_DIGITS_MAX: u8 = 16;

/// A piece of content found in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'i> {
    /// The number of input bytes that were consumed.
    pub consumed: usize,
    /// The content among them; may be empty.
    pub content: &'i [u8],
    /// The lines of the trailer section among them, or parts of lines; empty while there is content.
    pub trailers: &'i [u8],
}

/// Decodes the chunked transfer coding (RFC 9112 §7.1), in whatever pieces the bytes come.
///
/// ```text
/// chunked-body = *( chunk-size [ chunk-ext ] CRLF chunk-data CRLF )
///                1*"0" [ chunk-ext ] CRLF trailer-section CRLF
/// chunk-ext    = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
/// ```
///
/// Strict to the byte, because this is where two readers of one message come to differ: a size has
/// hex digits and nothing before or after them, and every line ends with CR LF, never with LF
/// alone. Extensions and trailer fields are checked and limited. Extensions are thrown away, trailer fields are handed
/// on as they came: what they mean is for [`Trailers`](super::Trailers) to say.
///
/// ```
/// use tidegate::protocol::ChunkedDecoder;
///
/// let mut decoder = ChunkedDecoder::new(1024);
/// let first = decoder.decode(b"5\r\nHello0\r\n\r\n").unwrap();
/// assert_eq!((first.consumed, first.content), (8, &b"Hello"[..]));
/// assert!(decoder.decode(b"\r\n0\r\n\r\n").unwrap().content.is_empty());
/// assert!(decoder.is_complete());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkedDecoder {
    state: ChunkedState,
    /// The number of bytes of content that are still allowed.
    allowance: u64,
}

/// The position of the next byte in the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkedState {
    /// Within the digits of a size.
    Size { digits: u8, size: u64 },
    /// Within an extension, which ends with the line.
    Extension { size: u64, bytes: u16, part: ExtensionPart },
    /// After the CR of a size; LF must follow.
    SizeLf { size: u64 },
    /// Within the data of a chunk.
    Data { remaining: u64 },
    /// After all data; CR must follow.
    DataCr,
    /// After the CR behind the data; LF must follow.
    DataLf,
    /// At the start of a line of the trailer section.
    TrailerStart { bytes: u16 },
    /// Within the name of a trailer field.
    TrailerName { bytes: u16 },
    /// Within the value of a trailer field.
    TrailerValue { bytes: u16 },
    /// After the CR of a trailer field; LF must follow.
    TrailerLf { bytes: u16 },
    /// After the CR of the empty line at the end; LF must follow.
    EndLf,
    /// After the end of the content.
    Complete,
}

/// The position of the next byte in an extension (RFC 9112 §7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExtensionPart {
    /// After a semicolon: a name must begin.
    Begin,
    /// Within a name.
    Name,
    /// Within the blanks after a name.
    NameBlank,
    /// After the equals sign: a value must begin.
    Equals,
    /// Within a value that is a token.
    Token,
    /// Within a quoted string.
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the quote that ends a string.
    Unquoted,
    /// Within the blanks after a value.
    ValueBlank,
}

impl ExtensionPart {
    /// Returns the position of the byte after this one; none if this one cannot be here.
    fn after(self, byte: u8) -> Option<ExtensionPart> {
        use ExtensionPart::*;
        Some(match (self, byte) {
            (Begin | Equals, b' ' | b'\t') => self,
            (Name | NameBlank, b' ' | b'\t') => NameBlank,
            (Token | Unquoted | ValueBlank, b' ' | b'\t') => ValueBlank,
            (Name | NameBlank | Token | Unquoted | ValueBlank, b';') => Begin,
            (Name | NameBlank, b'=') => Equals,
            (Equals, b'"') => Quoted,
            (Begin | Name, _) if is_field_name(&[byte]) => Name,
            (Equals | Token, _) if is_field_name(&[byte]) => Token,
            (Quoted, b'"') => Unquoted,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, _) if is_field_value(&[byte]) => Quoted,
            _ => return None,
        })
    }

    /// Whether the line may end here.
    fn is_whole(self) -> bool {
        use ExtensionPart::*;
        matches!(self, Name | Token | Unquoted)
    }
}

impl ChunkedDecoder {
    /// Makes a decoder that refuses more than `body_bytes_max` bytes of content.
    pub fn new(body_bytes_max: u64) -> ChunkedDecoder {
        ChunkedDecoder { state: ChunkedState::Size { digits: 0, size: 0 }, allowance: body_bytes_max }
    }

    /// Whether the last chunk has been seen.
    fn is_behind_content(&self) -> bool {
        use ChunkedState::*;
        match self.state {
            TrailerStart { .. }
            | TrailerName { .. }
            | TrailerValue { .. }
            | TrailerLf { .. }
            | EndLf
            | Complete => true,
            Size { .. } | Extension { .. } | SizeLf { .. } | Data { .. } | DataCr | DataLf => false,
        }
    }

    /// The number of bytes, from the next one on, that are data of a chunk.
    pub fn content_ahead(&self) -> u64 {
        match self.state {
            ChunkedState::Data { remaining } => remaining,
            _ => 0,
        }
    }

    /// Whether the last chunk and the trailer section have been seen.
    pub fn is_complete(&self) -> bool {
        self.state == ChunkedState::Complete
    }

    /// Decodes the input up to the end of the first piece of content. It consumes all of the input if there
    /// is no content in it. After the last chunk, the lines of the trailer section are passed on.
    ///
    /// # Errors
    /// Returns the error when the framing is broken, or when content, an extension or the trailer section is
    /// longer than allowed.
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> Result<Decoded<'i>, ProtocolError> {
        let mut at = 0;
        while at < input.len() && !self.is_behind_content() {
            if let ChunkedState::Data { remaining } = self.state {
                let take = usize::try_from(remaining).unwrap_or(usize::MAX).min(input.len() - at);
                self.state = match remaining - take as u64 {
                    0 => ChunkedState::DataCr,
                    remaining => ChunkedState::Data { remaining },
                };
                return Ok(Decoded { consumed: at + take, content: &input[at..at + take], trailers: &[] });
            }
            self.state = self.step(input[at])?;
            at += 1;
        }
        let (start, mut end) = (at, at);
        while at < input.len() && !self.is_complete() {
            self.state = self.step(input[at])?;
            at += 1;
            if !matches!(self.state, ChunkedState::EndLf | ChunkedState::Complete) {
                end = at;
            }
        }
        Ok(Decoded { consumed: at, content: &[], trailers: &input[start..end] })
    }

    /// Consumes one byte of framing.
    fn step(&mut self, byte: u8) -> Result<ChunkedState, ProtocolError> {
        use ChunkedState::*;
        Ok(match (self.state, byte) {
            (Size { digits: 1.., size }, b'\r') => SizeLf { size },
            (Size { digits: 1.., size }, b';') => Extension { size, bytes: 0, part: ExtensionPart::Begin },
            (Size { digits, size }, _) => size_digit(digits, size, byte)?,
            (Extension { size, part, .. }, b'\r') if part.is_whole() => SizeLf { size },
            (Extension { size, bytes, part }, _) => extension_byte(size, bytes, part, byte)?,
            (SizeLf { size: 0 }, b'\n') => TrailerStart { bytes: 0 },
            (SizeLf { size }, b'\n') => {
                self.allowance = self.allowance.checked_sub(size).ok_or(ProtocolError::ContentTooLarge)?;
                Data { remaining: size }
            }
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size { digits: 0, size: 0 },
            (TrailerStart { .. }, b'\r') => EndLf,
            (TrailerStart { bytes } | TrailerName { bytes } | TrailerValue { bytes }, _) => {
                trailer_byte(self.state, bytes, byte)?
            }
            (TrailerLf { bytes }, b'\n') => TrailerStart { bytes: bytes + 1 },
            (TrailerLf { .. }, _) => return Err(ProtocolError::InvalidTrailer),
            (EndLf, b'\n') | (Complete, _) => Complete,
            (SizeLf { .. } | Data { .. } | DataCr | DataLf | EndLf, _) => {
                return Err(ProtocolError::InvalidChunk);
            }
        })
    }
}

fn size_digit(digits: u8, size: u64, byte: u8) -> Result<ChunkedState, ProtocolError> {
    match char::from(byte).to_digit(16) {
        Some(digit) if digits < SIZE_DIGITS_MAX => {
            Ok(ChunkedState::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
        }
        _ => Err(ProtocolError::InvalidChunk),
    }
}

fn extension_byte(
    size: u64,
    bytes: u16,
    part: ExtensionPart,
    byte: u8,
) -> Result<ChunkedState, ProtocolError> {
    if bytes >= CHUNK_EXTENSION_BYTES_MAX {
        return Err(ProtocolError::ChunkExtensionTooLong);
    }
    let part = part.after(byte).ok_or(ProtocolError::InvalidChunk)?;
    Ok(ChunkedState::Extension { size, bytes: bytes + 1, part })
}

fn trailer_byte(state: ChunkedState, bytes: u16, byte: u8) -> Result<ChunkedState, ProtocolError> {
    if bytes >= TRAILER_BYTES_MAX {
        return Err(ProtocolError::TrailerTooLarge);
    }
    let bytes = bytes + 1;
    match (state, byte) {
        (ChunkedState::TrailerName { .. }, b':') => Ok(ChunkedState::TrailerValue { bytes }),
        (ChunkedState::TrailerValue { .. }, b'\r') => Ok(ChunkedState::TrailerLf { bytes }),
        (ChunkedState::TrailerValue { .. }, _) if is_field_value(&[byte]) => {
            Ok(ChunkedState::TrailerValue { bytes })
        }
        (ChunkedState::TrailerStart { .. } | ChunkedState::TrailerName { .. }, _)
            if is_field_name(&[byte]) =>
        {
            Ok(ChunkedState::TrailerName { bytes })
        }
        _ => Err(ProtocolError::InvalidTrailer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of decoding: content, and what is left of the input, or the error.
    type Outcome<'a> = Result<(&'a [u8], &'a [u8]), ProtocolError>;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), ProtocolError> {
        let (mut decoder, mut content, mut used) = (ChunkedDecoder::new(1000), Vec::new(), 0);
        for piece in pieces {
            let mut at = 0;
            while at < piece.len() && !decoder.is_complete() {
                let decoded = decoder.decode(&piece[at..])?;
                content.extend_from_slice(decoded.content);
                at += decoded.consumed;
            }
            used += at;
        }
        Ok((content, used, decoder.is_complete()))
    }

    /// Decodes the input whole, byte by byte, and cut in two at every place.
    fn check(input: &[u8], expected: Outcome<'_>) {
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        let mut cuts: Vec<Vec<&[u8]>> = vec![vec![input], bytes];
        cuts.extend((0..=input.len()).map(|at| vec![&input[..at], &input[at..]]));
        for pieces in cuts {
            let got = decode(&pieces);
            let wanted = expected.map(|(content, rest)| (content.to_vec(), input.len() - rest.len(), true));
            assert_eq!(got, wanted, "{:?} in {} pieces", String::from_utf8_lossy(input), pieces.len());
        }
    }

    #[test]
    fn content_comes_out_and_what_follows_stays() {
        check(b"0\r\n\r\n", Ok((b"", b"")));
        check(b"3\r\nabc\r\n0\r\n\r\nGET", Ok((b"abc", b"GET")));
        check(b"0000000000000003\r\nabc\r\n00\r\n\r\n", Ok((b"abc", b"")));
        check(b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", Ok((b"01234567890123456789", b"")));
        check(b"1;x=y;z=\"\t\"\r\na\r\n0;last\r\n\r\n", Ok((b"a", b"")));
        check(b"1; x = \"\\\"\xe9;=\\\\\" ; y\t=\tz ;w\r\na\r\n0\r\n\r\n", Ok((b"a", b"")));
        check(b"1\r\n\r\r\n0\r\n\r\n", Ok((b"\r", b"")));
        check(b"0\r\nA: b\r\nC:\r\n\r\nrest", Ok((b"", b"rest")));
    }

    #[test]
    fn chunk_size_follows_the_grammar_or_is_refused() {
        for bad in [
            "\r\n",
            ";a\r\n",
            "+5\r\n",
            "-1\r\n",
            " 5\r\n",
            "5 \r\n",
            "0x5\r\n",
            "g\r\n",
            "5\n",
            "5;a\n",
            "00000000000000001\r\n",
            "5\r\r\n",
            "5;a\0\r\n",
            "5;\x7f\r\n",
            "5;\r\n",
            "5;a;\r\n",
            "5;a \r\n",
            "5;a=\r\n",
            "5;a= \r\n",
            "5;=b\r\n",
            "5;a=b=c\r\n",
            "5;a=b c\r\n",
            "5;bad[=x\r\n",
            "5;a=\"open\r\n",
            "5;a=\"open\\\"\r\n",
            "5;a=\"b\"c\r\n",
            "5;\"a\"\r\n",
        ] {
            check(bad.as_bytes(), Err(ProtocolError::InvalidChunk));
        }
    }

    #[test]
    fn chunk_data_ends_with_cr_lf_or_is_refused() {
        for bad in ["1\r\nab", "1\r\na\n", "1\r\na\rb", "1\r\naX\r\n", "0\r\n\rX"] {
            check(bad.as_bytes(), Err(ProtocolError::InvalidChunk));
        }
    }

    #[test]
    fn trailer_fields_are_fields_or_are_refused() {
        for bad in [
            "0\r\n\n",
            "0\r\n:a\r\n",
            "0\r\nA b: c\r\n",
            "0\r\nA: b\n",
            "0\r\n A: b",
            "0\r\nA: \0",
            "0\r\nA: b\rX",
        ] {
            check(bad.as_bytes(), Err(ProtocolError::InvalidTrailer));
        }
    }

    #[test]
    fn limits_hold() {
        let long = |count: u16| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(count.into()));
        check(long(CHUNK_EXTENSION_BYTES_MAX).as_bytes(), Ok((b"a", b"")));
        check(long(CHUNK_EXTENSION_BYTES_MAX + 1).as_bytes(), Err(ProtocolError::ChunkExtensionTooLong));
        check(b"3e9\r\n", Err(ProtocolError::ContentTooLarge));
        check(b"ffffffffffffffff\r\n", Err(ProtocolError::ContentTooLarge));
        let trailer = format!("0\r\nA: {}\r\n\r\n", "x".repeat(TRAILER_BYTES_MAX.into()));
        assert_eq!(decode(&[trailer.as_bytes()]), Err(ProtocolError::TrailerTooLarge));
        let two =
            b"3e8\r\n".iter().chain([b'x'; 1000].iter()).chain(b"\r\n1\r\n").copied().collect::<Vec<_>>();
        assert_eq!(decode(&[&two]), Err(ProtocolError::ContentTooLarge));
    }
}
