//! Field lines (RFC 9110 §5): names, values, and the list syntax.
//!
//! [`Fields`] is a view. The owner of the lines (the receive buffer on the hot path, an owned copy in another
//! thread) implements [`FieldLines`], and readers do not see the difference. No map is built: a head has a
//! handful of fields, and most are never looked up.

use std::fmt;

use super::words;

/// Something that holds field lines in the order in which they arrived.
pub trait FieldLines {
    /// The number of lines.
    fn count(&self) -> usize;
    /// Name and value of the line at `index`, which is below [`FieldLines::count`].
    fn line(&self, index: usize) -> (&str, &[u8]);
}

impl FieldLines for Vec<(String, Vec<u8>)> {
    fn count(&self) -> usize {
        self.len()
    }

    fn line(&self, index: usize) -> (&str, &[u8]) {
        let (name, value) = &self[index];
        (name, value)
    }
}

/// The field lines of a head, in order, with repetitions. Names compare without regard to case.
#[derive(Clone, Copy)]
pub struct Fields<'a>(&'a dyn FieldLines);

/// A holder of no lines.
struct NoLines;

impl FieldLines for NoLines {
    fn count(&self) -> usize {
        0
    }

    fn line(&self, _index: usize) -> (&str, &[u8]) {
        ("", &[])
    }
}

impl Fields<'static> {
    /// The view of no lines at all.
    pub const EMPTY: Fields<'static> = Fields(&NoLines);
}

impl<'a> Fields<'a> {
    /// Makes a view of these lines.
    pub fn new(lines: &'a dyn FieldLines) -> Fields<'a> {
        Fields(lines)
    }

    /// Name and value of each line.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        (0..self.0.count()).map(move |index| self.0.line(index))
    }

    /// The value of the first line of this name.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all lines of this name.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Copies all lines.
    pub fn to_owned(self) -> Vec<(String, Vec<u8>)> {
        self.iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect()
    }

    /// The number of lines.
    pub fn len(self) -> usize {
        self.0.count()
    }

    /// Whether there are no lines.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)));
        f.debug_map().entries(printable).finish()
    }
}

/// Whether this is a field name: a token (RFC 9110 §5.1, §5.6.2).
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().fold(true, |is_valid, &byte| is_valid & TOKEN[byte as usize])
}

/// Whether this is a valid field value (RFC 9110 §5.5): no CR, LF, NUL or other control character but the
/// tab. Bytes above 0x7f are opaque, and allowed; spaces at the ends are not part of the value, but harmless.
pub fn is_field_value(value: &[u8]) -> bool {
    // A tab is below the blank, too, and looked at again as a byte.
    let may_hold_control = |word| words::below(word, b' ') | words::equal(word, 0x7f);
    let is_control = |byte| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    !words::any(value, may_hold_control, is_control)
}

/// Parses a number of digits and nothing else, as Content-Length has it (RFC 9110 §8.6): `parse` would take
/// `+5`. None if it is not a number, or one beyond 64 bits.
#[doc(hidden)]
pub fn parse_decimal(value: &[u8]) -> Option<u64> {
    let add_digit = |number: u64, digit: &u8| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    Some(value).filter(|value| !value.is_empty())?.iter().try_fold(0, add_digit)
}

/// The most digits of a number of 64 bits.
#[doc(hidden)]
pub const DECIMAL_DIGITS_MAX: usize = 20;

/// Writes the digits of a number into `digits`. This runs once a response, and the standard library's
/// formatting is slower.
///
/// ```
/// use tidegate::message::{DECIMAL_DIGITS_MAX, format_decimal};
///
/// assert_eq!(format_decimal(u64::MAX, &mut [0; DECIMAL_DIGITS_MAX]), b"18446744073709551615");
/// assert_eq!(format_decimal(0, &mut [0; DECIMAL_DIGITS_MAX]), b"0");
/// ```
#[doc(hidden)]
pub fn format_decimal(mut number: u64, digits: &mut [u8; DECIMAL_DIGITS_MAX]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Yields the members of a comma-separated list, without spaces around them and without empty members (RFC
/// 9110 §5.6.1.2: a recipient ignores those).
pub fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// The connection options that matter to a server (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionOption {
    /// Neither was named.
    #[default]
    Neither,
    /// `keep-alive`.
    KeepAlive,
    /// `close`, which wins over `keep-alive`.
    Close,
}

impl ConnectionOption {
    /// Takes one more option into account.
    pub fn or(self, other: ConnectionOption) -> ConnectionOption {
        match (self, other) {
            (ConnectionOption::Close, _) | (_, ConnectionOption::Close) => ConnectionOption::Close,
            (ConnectionOption::Neither, other) => other,
            (ConnectionOption::KeepAlive, _) => ConnectionOption::KeepAlive,
        }
    }

    /// Takes one more Connection field into account.
    pub fn and(self, value: &[u8]) -> ConnectionOption {
        match value {
            // What nearly all that have the field say, in nearly all cases.
            b"keep-alive" => self.or(ConnectionOption::KeepAlive),
            b"close" => ConnectionOption::Close,
            _ => self.and_list(value),
        }
    }
    fn and_list(self, value: &[u8]) -> ConnectionOption {
        list_items(value).fold(self, |option, item| {
            if item.eq_ignore_ascii_case(b"close") {
                ConnectionOption::Close
            } else if item.eq_ignore_ascii_case(b"keep-alive") && option == ConnectionOption::Neither {
                ConnectionOption::KeepAlive
            } else {
                option
            }
        })
    }
}

/// The characters of a token, by byte (tchar of RFC 9110 §5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
            | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
            | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        for good in ["Host", "X-9_a", "!#$%&'*+-.^_`|~"] {
            assert!(is_field_name(good.as_bytes()), "{good}");
        }
        for bad in ["", "Na me", "Name:", "Nam\u{e9}", "a\r\nb", "(x)", "a\0"] {
            assert!(!is_field_name(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn values_hold_no_control_characters() {
        for good in [&b""[..], b"a b\tc", b"\xe9t\xe9", b"x"] {
            assert!(is_field_value(good), "{good:?}");
        }
        for bad in [&b"a\r\nb"[..], b"a\nb", b"a\rb", b"a\0b", b"a\x7fb", b"a\x01"] {
            assert!(!is_field_value(bad), "{bad:?}");
        }
    }

    #[test]
    fn lists_lose_blanks_and_empty_members() {
        let items: Vec<_> = list_items(b" close,, ,\tTE ,x").collect();
        assert_eq!(items, [&b"close"[..], b"TE", b"x"]);
    }
}
