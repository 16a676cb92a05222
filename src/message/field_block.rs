//! Collects fields of a response, checked and encoded before there is anywhere to send them.
//!
//! An adapter that must report a bad field to its application at once has to check the field when it is
//! given. A block encodes it at the same time, so that all of it is copied to the output in one piece, and
//! checked once.

use super::{ConnectionOption, FieldRole, InvalidResponse};

/// Field lines that may be sent as they are, and the facts in them that concern the server.
///
/// ```
/// use tidegate::message::FieldBlock;
///
/// let mut block = FieldBlock::default();
/// block.push("Content-Type", b"text/plain").unwrap();
/// block.push("Content-Length", b"13").unwrap();
/// assert!(block.push("X", b"a\nb").is_err());
/// assert_eq!((block.lines(), block.content_length()), (&b"Content-Type: text/plain\r\n"[..], Some(13)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct FieldBlock {
    lines: Vec<u8>,
    content_length: Option<u64>,
    connection: ConnectionOption,
    replaced: Replaced,
}

/// The server's own fields that the block replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// `Date` is in the block.
    pub date: bool,
    /// `Server` is in the block.
    pub server: bool,
}

impl FieldBlock {
    /// Forgets all fields; the memory is kept for the next ones.
    pub fn clear(&mut self) {
        self.lines.clear();
        (self.content_length, self.connection) = (None, ConnectionOption::Neither);
        self.replaced = Replaced::default();
    }

    /// Adds a field.
    ///
    /// # Errors
    /// Returns the errors of [`FieldRole::of`], and [`InvalidResponse::ContentLength`] for a second
    /// Content-Length. The field is not added then.
    pub fn push(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidResponse> {
        match FieldRole::of(name, value)? {
            FieldRole::Plain => {}
            FieldRole::ContentLength(_) if self.content_length.is_some() => {
                return Err(InvalidResponse::ContentLength);
            }
            FieldRole::ContentLength(length) => {
                self.content_length = Some(length);
                return Ok(());
            }
            FieldRole::Connection => {
                self.connection = self.connection.and(value);
                return Ok(());
            }
            FieldRole::Date => self.replaced.date = true,
            FieldRole::Server => self.replaced.server = true,
        }
        self.lines.reserve(name.len() + value.len() + 4);
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// All lines but Content-Length and Connection, which the server writes.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Name and value of each of the [lines](FieldBlock::lines).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // No value has a line end in it.
        self.lines.split_inclusive(|&byte| byte == b'\n').filter_map(parse_line)
    }

    /// The length of the content, if it is declared.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The fate of the connection, as far as the fields say it.
    pub fn connection(&self) -> ConnectionOption {
        self.connection
    }

    /// The server's own fields that are replaced.
    pub(crate) fn replaced(&self) -> Replaced {
        self.replaced
    }
}

/// Splits `Name: value\r\n`, as it was written here.
fn parse_line(line: &[u8]) -> Option<(&str, &[u8])> {
    let line = line.strip_suffix(b"\r\n")?;
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((std::str::from_utf8(&line[..colon]).ok()?, line.get(colon + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_read_back() {
        let mut block = FieldBlock::default();
        for (name, value) in [("Set-Cookie", "a=b: c"), ("date", "x"), ("Empty", ""), ("Connection", "close")]
        {
            block.push(name, value.as_bytes()).unwrap();
        }
        let lines: Vec<_> = block.iter().collect();
        assert_eq!(lines, [("Set-Cookie", &b"a=b: c"[..]), ("date", b"x"), ("Empty", b"")]);
        assert_eq!(block.connection(), ConnectionOption::Close);
        assert_eq!(block.replaced(), Replaced { date: true, server: false });
        block.clear();
        assert_eq!((block.iter().count(), block.content_length()), (0, None));
    }

    #[test]
    fn content_length_is_declared_once() {
        let mut block = FieldBlock::default();
        assert!(block.push("Content-Length", b"+5").is_err());
        block.push("content-length", b"5").unwrap();
        assert_eq!(block.push("Content-Length", b"5"), Err(InvalidResponse::ContentLength));
        assert_eq!(block.content_length(), Some(5));
    }
}
