//! Selects a part of a file: the Range field (RFC 9110 §14).
//!
//! One range of bytes is understood. Several at once are answered with the whole file, which the
//! standard allows (§14.2): nobody but an attacker asks for them.
//!
//! ```text
//! bytes=0-499   the first 500 bytes
//! bytes=500-    all from byte 500
//! bytes=-500    the last 500 bytes
//! ```

/// The part of the file to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole file: no range was asked for, or none that has to be obeyed.
    Whole,
    /// The bytes from `first` to `last`, both of them in the file.
    Part {
        /// Position of the first byte.
        first: u64,
        /// Position of the last byte.
        last: u64,
    },
    /// A range with no byte in the file: 416.
    Unsatisfiable,
}

/// Reads the Range field for a file of `length` bytes.
///
/// A field that does not follow the grammar is ignored (§14.2), and so is any range of an empty file: no
/// range can describe a part of nothing, and clients that always send a range expect a 200.
pub fn select(range: &[u8], length: u64) -> Selection {
    let parsed = std::str::from_utf8(range).ok().and_then(parse_single);
    let Some((first, last)) = parsed.filter(|_| length > 0) else {
        return Selection::Whole;
    };
    let (first, last) = match (first, last) {
        (Some(first), last) => (first, last.unwrap_or(u64::MAX).min(length - 1)),
        (None, Some(0)) => return Selection::Unsatisfiable,
        (None, suffix) => (length.saturating_sub(suffix.unwrap_or(0)), length - 1),
    };
    if first >= length { Selection::Unsatisfiable } else { Selection::Part { first, last } }
}

/// Parses `bytes=1-2` into 1 and 2; one of the two may be missing.
fn parse_single(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = range.split_once('=')?;
    let (first, last) = set.trim_matches([' ', '\t']).split_once('-')?;
    let (first, last) = (parse_position(first)?, parse_position(last)?);
    let is_in_order = match (first, last) {
        (Some(first), Some(last)) => first <= last,
        (first, last) => first.is_some() || last.is_some(),
    };
    (unit.eq_ignore_ascii_case("bytes") && is_in_order).then_some((first, last))
}

/// Parses digits, as many as there are: a number that does not fit lies beyond every file.
fn parse_position(digits: &str) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Some(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, length: u64, expected: Selection) {
        assert_eq!(select(range.as_bytes(), length), expected, "{range} of {length}");
    }

    #[test]
    fn one_range_selects_its_bytes() {
        check("bytes=0-0", 10, Selection::Part { first: 0, last: 0 });
        check("bytes=2-5", 10, Selection::Part { first: 2, last: 5 });
        check("bytes=2-", 10, Selection::Part { first: 2, last: 9 });
        check("bytes=2-99", 10, Selection::Part { first: 2, last: 9 });
        check("bytes=-3", 10, Selection::Part { first: 7, last: 9 });
        check("bytes=-99", 10, Selection::Part { first: 0, last: 9 });
        check("Bytes= 2-5 ", 10, Selection::Part { first: 2, last: 5 });
        check("bytes=0-99999999999999999999999", 10, Selection::Part { first: 0, last: 9 });
    }

    #[test]
    fn a_range_beyond_the_end_is_unsatisfiable() {
        check("bytes=10-", 10, Selection::Unsatisfiable);
        check("bytes=10-12", 10, Selection::Unsatisfiable);
        check("bytes=-0", 10, Selection::Unsatisfiable);
        check("bytes=99999999999999999999999-", 10, Selection::Unsatisfiable);
    }

    #[test]
    fn what_cannot_be_obeyed_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=--1",
            "bytes 0-1",
            "bytes=0x0-1",
        ] {
            check(range, 10, Selection::Whole);
        }
        check("bytes=0-", 0, Selection::Whole);
        check("bytes=-5", 0, Selection::Whole);
    }
}
