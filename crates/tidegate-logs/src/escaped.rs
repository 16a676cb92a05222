//! Escapes text from others for a log: it ends no line and no string, and moves no cursor.

use std::fmt;

/// Shows bytes so that they may stand between quotes in a line of ASCII.
pub(super) struct HexEscaped<'a>(pub &'a [u8]);

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

/// Escapes spaces as well, for a text that nothing encloses.
pub(super) fn escape_blanks(bytes: Vec<u8>) -> String {
    HexEscaped(&bytes).to_string().replace(' ', "\\x20")
}

/// A JSON string with its quotes (RFC 8259 §7), or null.
pub(super) struct JsonString<'a>(pub Option<&'a [u8]>);

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
