//! Shows bytes to people: escaped, line by line, cut short, and without the values of fields that are secret.

/// Most lines of bytes that are shown of one system call. 16: a head has a dozen.
const LINES_MAX: usize = 16;
/// Most characters of such a line. 100: it fits a terminal.
const LINE_CHARS_MAX: usize = 100;
/// Longest name of a field that is compared. 64: no name of a secret is as long.
const NAME_BYTES_MAX: usize = 64;
/// Parts of names of fields whose value is nobody's business.
const SECRETS: [&str; 7] = ["authorization", "cookie", "token", "secret", "password", "api-key", "session"];
/// Fewest equal bytes that are shown as one and their number. 32: no word and no line of a picture in letters is shortened.
const RUN_BYTES_MIN: usize = 32;
/// Shown in place of a secret value.
const MASK: &str = "(not shown)";

/// Shows what flows one way through a connection. It knows where in a line it stands, so a value stays secret
/// wherever the bytes are cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Shown {
    place: Place,
    /// The name of the field that is being read, in lower case.
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The name of a field is being read, or a line that has none.
    #[default]
    Name,
    /// The value may be shown.
    Value,
    /// The value is secret; the mask stands for all of it.
    Secret { is_masked: bool },
}

impl Shown {
    /// Returns the lines that show these bytes, and how many of the bytes they leave out.
    pub fn lines(&mut self, bytes: impl Iterator<Item = u8>) -> (Vec<String>, usize) {
        let bytes: Vec<u8> = bytes.collect();
        let mut lines = vec![String::new()];
        let mut left_out = 0;
        // Bytes that are all the same are shown once.
        for run in bytes.chunk_by(|one, next| one == next) {
            let (first, is_long) = (run[0], run.len() >= RUN_BYTES_MIN);
            let mut text = String::new();
            for byte in run {
                match self.pass(*byte) {
                    Visible::Byte if is_long && !text.is_empty() => {}
                    Visible::Byte => escape(*byte, &mut text),
                    Visible::Mask => text.push_str(MASK),
                    Visible::No => {}
                }
            }
            if is_long && !text.is_empty() && text != MASK {
                text = format!("{text} ({} times)", grouped(run.len()));
            }
            let count = lines.len();
            match lines.last_mut() {
                Some(line) if count <= LINES_MAX && line.len() < LINE_CHARS_MAX => line.push_str(&text),
                Some(line) if count <= LINES_MAX && first == b'\n' => line.push('…'),
                Some(_) | None => left_out += run.len(),
            }
            if first == b'\n' && count <= LINES_MAX {
                lines.push(String::new());
            }
        }
        lines.retain(|line| !line.is_empty());
        (lines, left_out)
    }

    /// Takes note of a byte, and says how it is shown.
    fn pass(&mut self, byte: u8) -> Visible {
        match (self.place, byte) {
            (_, b'\n') => {
                // A line that begins with a blank goes on with the value before (RFC 9112 §5.2): what was secret stays so.
                if self.place == Place::Name || self.place == Place::Value {
                    self.place = Place::Name;
                }
                self.name.clear();
                Visible::Byte
            }
            (Place::Secret { .. }, b'\r') => Visible::Byte,
            (Place::Secret { .. }, byte) if self.name.is_empty() && !matches!(byte, b' ' | b'\t') => {
                // The next line, since a name within a line is not empty.
                self.place = Place::Name;
                self.pass(byte)
            }
            (Place::Secret { is_masked }, _) => {
                if self.name.is_empty() {
                    self.name.push(b' ');
                }
                self.place = Place::Secret { is_masked: true };
                if is_masked { Visible::No } else { Visible::Mask }
            }
            (Place::Name, b':') => {
                self.place = if self.is_secret() { Place::Secret { is_masked: false } } else { Place::Value };
                Visible::Byte
            }
            (Place::Name, byte) => {
                if self.name.len() < NAME_BYTES_MAX {
                    self.name.push(byte.to_ascii_lowercase());
                }
                Visible::Byte
            }
            (Place::Value, _) => Visible::Byte,
        }
    }

    fn is_secret(&self) -> bool {
        let name = String::from_utf8_lossy(&self.name);
        SECRETS.iter().any(|secret| name.contains(secret))
    }
}

/// Adds a byte as it can be printed anywhere: quotes are left alone.
fn escape(byte: u8, into: &mut String) {
    match byte {
        b'"' | b'\'' => into.push(char::from(byte)),
        _ => into.extend(byte.escape_ascii().map(char::from)),
    }
}

/// A number in groups of three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How a byte is shown.
enum Visible {
    /// The byte is shown as it is.
    Byte,
    /// The mask is shown, for all of the value.
    Mask,
    /// Nothing is shown.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut shown = Shown::default();
        pieces.iter().map(|piece| shown.lines(piece.iter().copied()).0.concat()).collect()
    }

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: sid=hush\r\n more hush\r\nX-API-Key:hush\r\n\
        authorization: Basic hush\r\nAccept: */*\r\n\r\n";

    #[test]
    fn values_of_secret_fields_are_not_shown_wherever_the_bytes_are_cut() {
        let whole = shown(&[HEAD]);
        assert!(whole.contains(r"GET / HTTP/1.1\r\nHost: a\r\nCookie:(not shown)\r\n"), "{whole}");
        assert!(whole.ends_with(r"authorization:(not shown)\r\nAccept: */*\r\n\r\n"), "{whole}");
        for cut in 0..=HEAD.len() {
            let text = shown(&[&HEAD[..cut], &HEAD[cut..]]);
            assert!(!text.contains("hush") && text.contains("Accept: */*"), "{cut}: {text}");
        }
        let bytes: Vec<&[u8]> = HEAD.chunks(1).collect();
        assert_eq!(shown(&bytes), whole);
    }

    #[test]
    fn bytes_are_escaped_and_cut_short() {
        let lines = |bytes: &[u8]| Shown::default().lines(bytes.iter().copied());
        assert_eq!(lines(b"\x1b[31m\xff\x00\"x\"\r\n"), (vec![r#"\x1b[31m\xff\x00"x"\r\n"#.to_string()], 0));
        assert_eq!(lines(&[b'x'; 70_000]), (vec!["x (70,000 times)".to_string()], 0));
        let (long, left_out) = lines(&b"xy".repeat(1_000));
        assert_eq!((long[0].len(), left_out), (LINE_CHARS_MAX, 2_000 - LINE_CHARS_MAX));
        let (long, left_out) = lines(&[&b"xy".repeat(60)[..], b"\nz"].concat());
        assert_eq!((long.len(), left_out, &*long[1]), (2, 120 - LINE_CHARS_MAX, "z"));
        assert!(long[0].ends_with("xy…"), "{long:?}");
        let (many, left_out) = lines(&b"a\n".repeat(1_000));
        assert_eq!((many.len(), left_out), (LINES_MAX, 2 * (1_000 - LINES_MAX)));
    }
}
