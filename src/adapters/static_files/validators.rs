//! Decides whether a client's copy is still good: validators and preconditions (RFC 9110 §8.8, §13).
//!
//! ```text
//! If-Match, else If-Unmodified-Since     does not hold ──▶ 412
//! If-None-Match, else If-Modified-Since  does not hold ──▶ 304
//! If-Range, with Range                   does not hold ──▶ the whole file
//! ```

use std::time::{Duration, SystemTime};

use crate::message::{Fields, HttpDate};

/// The validators of a file: they tell one version of it from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// A strong entity tag, made of the time of modification, to the nanosecond, and the length.
    pub etag: String,
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub modified: u64,
}

/// The result of evaluating a request's preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// Send the file.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// The file is another version than the client refers to: 412.
    Failed,
}

impl Validators {
    /// Makes the validators of a file with this time and length. A time that lies ahead of `now` is reported
    /// as `now`: a server must not claim to know of a modification in the future (§8.8.2.1).
    pub fn new(modified: SystemTime, length: u64, now: SystemTime) -> Validators {
        let since_1970 =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Validators {
            etag: format!("\"{:x}-{length:x}\"", since_1970(modified).as_nanos()),
            modified: since_1970(modified.min(now)).as_secs(),
        }
    }

    /// Evaluates the preconditions of a GET or HEAD in the order of §13.2.2.
    pub fn evaluate(&self, fields: Fields<'_>) -> Evaluation {
        if fields.get("If-Match").is_some() {
            if !self.is_listed(fields, "If-Match", Comparison::Strong) {
                return Evaluation::Failed;
            }
        } else if self.is_modified_since(fields, "If-Unmodified-Since") == Some(true) {
            return Evaluation::Failed;
        }
        let is_current = if fields.get("If-None-Match").is_some() {
            self.is_listed(fields, "If-None-Match", Comparison::Weak)
        } else {
            self.is_modified_since(fields, "If-Modified-Since") == Some(false)
        };
        if is_current { Evaluation::NotModified } else { Evaluation::Proceed }
    }

    /// Whether a Range may be obeyed: there is no If-Range, or it names this version (§13.1.5). A date never does: a
    /// file may change twice in a second, and then the client would put two versions together (§8.8.2.2).
    pub fn allows_range(&self, fields: Fields<'_>) -> bool {
        fields.all("If-Range").all(|tag| tag == self.etag.as_bytes())
    }

    /// Evaluates If-Modified-Since. None if it is no date or there are several, which is ignored (§13.1.3,
    /// §13.1.4).
    fn is_modified_since(&self, fields: Fields<'_>, name: &str) -> Option<bool> {
        let mut dates = fields.all(name);
        let (date, None) = (dates.next()?, dates.next()) else { return None };
        HttpDate::parse(date).map(|date| self.modified > date)
    }

    /// Whether a list of entity tags contains this version's, or is `*`.
    fn is_listed(&self, fields: Fields<'_>, name: &str, comparison: Comparison) -> bool {
        fields.all(name).any(|value| {
            value.trim_ascii() == b"*"
                || entity_tags(value).any(|tag| match (comparison, tag.strip_prefix(b"W/")) {
                    (Comparison::Strong, _) | (Comparison::Weak, None) => tag == self.etag.as_bytes(),
                    (Comparison::Weak, Some(opaque)) => opaque == self.etag.as_bytes(),
                })
        })
    }
}

/// The two ways of comparing entity tags (§8.8.3.2).
#[derive(Clone, Copy)]
enum Comparison {
    /// The tags are equal, and neither is weak.
    Strong,
    /// The tags are equal but for the `W/`.
    Weak,
}

/// Yields the members of a list of entity tags. A comma inside a tag's quotes is part of it, and a backslash
/// means nothing there (§8.8.3).
fn entity_tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    list.split(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == b',' && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DAY_BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
    const DAY_AFTER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    fn validators() -> Validators {
        let modified = SystemTime::UNIX_EPOCH + Duration::new(784_111_777, 5);
        Validators::new(modified, 0x1f, SystemTime::now())
    }

    fn lines(fields: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
    }

    fn check(fields: &[(&str, &str)], expected: Evaluation) {
        let verdict = validators().evaluate(Fields::new(&lines(fields)));
        assert_eq!(verdict, expected, "{fields:?}");
    }

    fn check_range(if_range: &str, expected: bool) {
        let lines = lines(&[("If-Range", if_range)]);
        assert_eq!(validators().allows_range(Fields::new(&lines)), expected, "{if_range}");
    }

    #[test]
    fn a_request_without_preconditions_proceeds() {
        check(&[], Evaluation::Proceed);
        check(&[("If-Range", "\"x\"")], Evaluation::Proceed);
    }

    #[test]
    fn if_none_match_compares_weakly_and_overrules_the_date() {
        let tag = validators().etag;
        for list in [tag.clone(), format!("W/{tag}"), format!("\"a,b\", {tag}"), "*".to_string()] {
            check(&[("If-None-Match", &list)], Evaluation::NotModified);
        }
        check(&[("If-None-Match", "\"x\""), ("If-None-Match", &tag)], Evaluation::NotModified);
        for list in ["", "\"x\"", tag.trim_matches('"'), "W/*"] {
            check(&[("If-None-Match", list), ("If-Modified-Since", DAY)], Evaluation::Proceed);
        }
        check(&[("If-None-Match", &format!("\"a, {tag}"))], Evaluation::Proceed);
    }

    #[test]
    fn if_modified_since_compares_seconds() {
        check(&[("If-Modified-Since", DAY)], Evaluation::NotModified);
        check(&[("If-Modified-Since", DAY_AFTER)], Evaluation::NotModified);
        check(&[("If-Modified-Since", DAY_BEFORE)], Evaluation::Proceed);
        check(&[("If-Modified-Since", "yesterday")], Evaluation::Proceed);
        check(&[("If-Modified-Since", DAY), ("If-Modified-Since", DAY)], Evaluation::Proceed);
    }

    #[test]
    fn if_match_compares_strongly_and_overrules_the_date() {
        let tag = validators().etag;
        check(&[("If-Match", &tag)], Evaluation::Proceed);
        check(&[("If-Match", "*"), ("If-Unmodified-Since", DAY_BEFORE)], Evaluation::Proceed);
        check(&[("If-Match", &format!("W/{tag}"))], Evaluation::Failed);
        check(&[("If-Match", "\"x\"")], Evaluation::Failed);
        check(&[("If-Unmodified-Since", DAY)], Evaluation::Proceed);
        check(&[("If-Unmodified-Since", DAY_BEFORE)], Evaluation::Failed);
        check(&[("If-Unmodified-Since", DAY_BEFORE), ("If-Unmodified-Since", DAY)], Evaluation::Proceed);
    }

    #[test]
    fn if_range_wants_the_very_same_version() {
        let tag = validators().etag;
        check_range(&tag, true);
        // It may have changed again in the same second.
        check_range(DAY, false);
        check_range(&format!("W/{tag}"), false);
        check_range("\"x\"", false);
        check_range(DAY_AFTER, false);
        check_range("", false);
    }

    #[test]
    fn a_modification_in_the_future_is_reported_as_of_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let later = now + Duration::from_secs(500);
        assert_eq!(Validators::new(later, 1, now).modified, 1_000);
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Validators::new(before_1970, 1, now).modified, 0);
    }
}
