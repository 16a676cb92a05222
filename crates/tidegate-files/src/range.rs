//! Selects parts of a file: the Range field (RFC 9110 §14).
//!
//! ```text
//! bytes=0-499        the first 500 bytes
//! bytes=500-         all from byte 500
//! bytes=-500         the last 500 bytes
//! bytes=0-9,500-     two parts, which are sent one after the other
//! ```
//!
//! Parts that overlap, or nearly touch, are sent as one: nobody gets a byte twice (§14.2, §17.15).

use tidegate::message::list_items;

/// Most ranges in a request; one with more gets the whole file, as the standard allows (§14.2). 32: those who read
/// documents in parts ask for a dozen at most, and lighttpd knows ten.
pub const RANGES_MAX: usize = 32;
/// Longest gap between two parts that is sent with them. 80 bytes: what a part costs beside its content (§14.2).
const GAP_BYTES_MAX: u64 = 80;

/// The bytes from `first` to `last`, both of them in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte.
    pub last: u64,
}

impl Part {
    /// The number of bytes.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether this part and another are sent as one.
    fn meets(self, other: Part) -> bool {
        let reach = |part: Part| part.last.saturating_add(1 + GAP_BYTES_MAX);
        self.first <= reach(other) && other.first <= reach(self)
    }

    fn with(self, other: Part) -> Part {
        Part { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// The parts of the file to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole file: no range was asked for, or none that has to be obeyed.
    Whole,
    /// One part.
    Part(Part),
    /// Several parts, in the order in which they were asked for.
    Parts(Vec<Part>),
    /// Ranges with no byte in the file: 416.
    Unsatisfiable,
}

/// Reads the Range field for a file of `length` bytes.
///
/// A field that does not follow the grammar is ignored (§14.2), and so is any range of an empty file: no
/// range can describe a part of nothing, and clients that always send a range expect a 200.
pub fn select(range: &[u8], length: u64) -> Selection {
    let Some(ranges) = std::str::from_utf8(range).ok().and_then(parse).filter(|_| length > 0) else {
        return Selection::Whole;
    };
    let mut parts: Vec<Part> = Vec::new();
    for part in ranges.into_iter().filter_map(|range| range.within(length)) {
        let mut part = part;
        let mut at = parts.len();
        // What it meets becomes one with it, where the first of them stood.
        while let Some(met) = parts.iter().position(|other| other.meets(part)) {
            part = part.with(parts.remove(met));
            at = at.min(met);
        }
        parts.insert(at.min(parts.len()), part);
    }
    match parts[..] {
        [] => Selection::Unsatisfiable,
        [part] => Selection::Part(part),
        _ => Selection::Parts(parts),
    }
}

/// One range as it was asked for.
#[derive(Clone, Copy)]
enum Asked {
    /// A range that begins at a position and ends at another, or with the file.
    From(u64, Option<u64>),
    /// A number of bytes at the end.
    Suffix(u64),
}

impl Asked {
    /// Returns the part of a file of this length that the range means, if there is one.
    fn within(self, length: u64) -> Option<Part> {
        let (first, last) = match self {
            Asked::From(first, last) => (first, last.unwrap_or(u64::MAX).min(length - 1)),
            Asked::Suffix(0) => return None,
            Asked::Suffix(count) => (length.saturating_sub(count), length - 1),
        };
        (first < length).then_some(Part { first, last })
    }
}

/// Parses `bytes=1-2,5-`; none if that is no list of ranges, or one that is too long.
fn parse(range: &str) -> Option<Vec<Asked>> {
    let (unit, set) = range.split_once('=')?;
    let ranges = list_items(set.as_bytes()).take(RANGES_MAX + 1);
    let ranges = ranges.map(parse_single).collect::<Option<Vec<_>>>()?;
    let is_obeyed = unit.eq_ignore_ascii_case("bytes") && (1..=RANGES_MAX).contains(&ranges.len());
    is_obeyed.then_some(ranges)
}

/// Parses `1-2`, of which one of the two may be missing.
fn parse_single(range: &[u8]) -> Option<Asked> {
    let (first, last) = std::str::from_utf8(range).ok()?.split_once('-')?;
    match (parse_position(first)?, parse_position(last)?) {
        (Some(first), Some(last)) if first > last => None,
        (Some(first), last) => Some(Asked::From(first, last)),
        (None, Some(count)) => Some(Asked::Suffix(count)),
        (None, None) => None,
    }
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

    fn part(first: u64, last: u64) -> Selection {
        Selection::Part(Part { first, last })
    }

    fn check_parts(range: &str, length: u64, expected: &[(u64, u64)]) {
        let parts = expected.iter().map(|&(first, last)| Part { first, last }).collect();
        check(range, length, Selection::Parts(parts));
    }

    fn check(range: &str, length: u64, expected: Selection) {
        assert_eq!(select(range.as_bytes(), length), expected, "{range} of {length}");
    }

    #[test]
    fn one_range_selects_its_bytes() {
        check("bytes=0-0", 10, part(0, 0));
        check("bytes=2-5", 10, part(2, 5));
        check("bytes=2-", 10, part(2, 9));
        check("bytes=2-99", 10, part(2, 9));
        check("bytes=-3", 10, part(7, 9));
        check("bytes=-99", 10, part(0, 9));
        check("Bytes= 2-5 ", 10, part(2, 5));
        check("bytes=0-99999999999999999999999", 10, part(0, 9));
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
            "bytes=0-1,x",
            "bytes=,",
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

    #[test]
    fn several_ranges_keep_their_order_and_those_without_a_byte_are_left_out() {
        check_parts("bytes=0-9,500-509", 1_000, &[(0, 9), (500, 509)]);
        check_parts("bytes=-10, 0-9 ,,", 1_000, &[(990, 999), (0, 9)]);
        check_parts("bytes=500-,0-9,1000-,-0", 1_000, &[(500, 999), (0, 9)]);
        check("bytes=0-9,1000-", 1_000, part(0, 9));
        check("bytes=1000-,-0", 1_000, Selection::Unsatisfiable);
    }

    #[test]
    fn parts_that_overlap_or_nearly_touch_become_one() {
        check("bytes=0-499,400-999", 1_000, part(0, 999));
        check("bytes=0-,0-,0-", 1_000, part(0, 999));
        check("bytes=0-9,90-99", 1_000, part(0, 99));
        check_parts("bytes=0-9,91-99", 1_000, &[(0, 9), (91, 99)]);
        // The third joins the first two.
        check_parts("bytes=900-999,0-9,200-209,0-250", 1_000, &[(900, 999), (0, 250)]);
        check("bytes=0-9,200-209,5-205", 1_000, part(0, 209));
    }

    #[test]
    fn too_many_ranges_are_none() {
        let ranges = |count: u64| {
            let all: Vec<_> = (0..count).map(|at| format!("{}-{}", 1_000 * at, 1_000 * at)).collect();
            format!("bytes={}", all.join(","))
        };
        let Selection::Parts(parts) = select(ranges(32).as_bytes(), 1 << 20) else { panic!("no parts") };
        assert_eq!(parts.len(), RANGES_MAX);
        check(&ranges(33), 1 << 20, Selection::Whole);
    }
}
