//! Finds the end of chunked content (RFC 9112 §7.1) without keeping any of it.
//!
//! Only a client's half, and only what a load rig needs: data is counted and dropped, extensions and
//! trailers are skipped. Lines end with CRLF; anything else is malformed.

use super::response::Malformed;

/// Longest line of a chunk's size with its extensions, and longest trailer section. No peer means 8 KiB of
/// either, so more is malformed.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// The position of the next byte within the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Within a size, `digits` of whose digits were read.
    Size { digits: u32 },
    /// After a size, before its CR.
    Extension,
    /// Before the LF of a size.
    SizeEnd,
    /// Within the data of a chunk.
    Data,
    /// Before the CR after the data.
    DataCr,
    /// Before the LF after the data.
    DataLf,
    /// Within a line after the last chunk, which `is_empty` until it has a byte.
    Trailer { is_empty: bool },
    /// Before the LF of a line after the last chunk.
    TrailerEnd { is_last: bool },
}

/// Progress through chunked content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    place: Place,
    /// The size of the current chunk as far as it was read, then the bytes of its data that are left.
    left: u64,
    /// Bytes of extensions or trailers so far.
    skipped: usize,
}

impl Chunked {
    pub fn new() -> Chunked {
        Chunked { place: Place::Size { digits: 0 }, left: 0, skipped: 0 }
    }

    /// Consumes the bytes that belong to the content. Returns their number, and whether the content ends with
    /// them.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            if self.place == Place::Data {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= step as u64;
                at += step;
                if self.left == 0 {
                    self.place = Place::DataCr;
                }
                continue;
            }
            let is_end = self.step(bytes[at])?;
            at += 1;
            if is_end {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Consumes one byte that is not data, and returns whether it was the last of the content.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.place = match (self.place, byte) {
            (Place::Size { digits }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.left.checked_mul(16).ok_or(Malformed("a chunk beyond all bounds"))?;
                self.left = size + u64::from(digit);
                Place::Size { digits: digits + 1 }
            }
            (Place::Size { digits: 0 }, _) => return Err(Malformed("a chunk without a size")),
            (Place::Size { .. }, b';' | b' ' | b'\t') => Place::Extension,
            (Place::Size { .. } | Place::Extension, b'\r') => Place::SizeEnd,
            (Place::Extension, _) => self.skip(Place::Extension)?,
            (Place::SizeEnd, b'\n') if self.left == 0 => Place::Trailer { is_empty: true },
            (Place::SizeEnd, b'\n') => Place::Data,
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Size { digits: 0 },
            (Place::Trailer { is_empty }, b'\r') => Place::TrailerEnd { is_last: is_empty },
            (Place::Trailer { .. }, _) => self.skip(Place::Trailer { is_empty: false })?,
            (Place::TrailerEnd { is_last: true }, b'\n') => return Ok(true),
            (Place::TrailerEnd { .. }, b'\n') => Place::Trailer { is_empty: true },
            _ => return Err(Malformed("a chunk that does not end where it should")),
        };
        Ok(false)
    }

    fn skip(&mut self, place: Place) -> Result<Place, Malformed> {
        self.skipped += 1;
        if self.skipped > LINE_BYTES_MAX {
            return Err(Malformed("chunk extensions or trailers without end"));
        }
        if place == Place::Extension { Ok(place) } else { Ok(Place::Trailer { is_empty: false }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds content whole and byte by byte: this many bytes belong to it, or it is malformed.
    fn check(content: &str, expected: Option<usize>) {
        let whole = Chunked::new().receive(content.as_bytes());
        assert_eq!(whole.ok().filter(|(_, is_end)| *is_end).map(|(used, _)| used), expected, "{content:?}");
        let mut chunked = Chunked::new();
        let ends = content.bytes().map(|byte| chunked.receive(&[byte]));
        let end = ends.take_while(Result::is_ok).position(|step| step.is_ok_and(|(_, is_end)| is_end));
        assert_eq!(end.map(|last| last + 1), expected, "{content:?}, byte by byte");
    }

    #[test]
    fn content_ends_behind_its_trailers() {
        check("0\r\n\r\n", Some(5));
        check("3\r\nabc\r\n0\r\n\r\nHTTP", Some(13));
        check("0A;x=\"y\"\r\n0123456789\r\n000\r\nA: b\r\nC: d\r\n\r\n", Some(41));
    }

    #[test]
    fn content_that_is_not_whole_has_no_end() {
        check("", None);
        check("3\r\nabc\r\n0\r\n", None);
        check("FFFFFFFF\r\nabc", None);
    }

    #[test]
    fn malformed_content_is_refused() {
        for content in
            ["\r\n", "x\r\n", "3\r\nabcd\r\n", "3\nabc\r\n", "0\r\r", "10000000000000000\r\n", "-1\r\n"]
        {
            assert!(Chunked::new().receive(content.as_bytes()).is_err(), "{content:?}");
        }
        let endless = format!("1;{}", "x".repeat(LINE_BYTES_MAX + 1));
        assert!(Chunked::new().receive(endless.as_bytes()).is_err());
    }
}
