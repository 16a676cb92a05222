//! Sizes and times in the notation of people: `64k`, `1MiB`, `500ms`, `1m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The grammar of sizes: all units are powers of 1024.
const SIZES: parse_size::Config = parse_size::Config::new().with_binary();

const TOO_MUCH: &str = "that is more than can be counted";

/// A number of bytes, written with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

/// Units from the largest, so that the first that divides a size is its unit.
const SIZE_UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    /// Makes a size of a number of bytes.
    pub fn from_bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// The size as a length in memory; one beyond the address space is all of it.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Size, &'static str> {
        match SIZES.parse_size(text) {
            Ok(bytes) => Ok(Size(bytes)),
            Err(parse_size::Error::PosOverflow) => Err(TOO_MUCH),
            Err(_) => Err("a size is a number of bytes, or with a unit: 64k, 1MiB"),
        }
    }
}

/// Prints the exact size, in a form that can be parsed again.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, bytes): &&(&str, u64)| self.0 >= bytes && self.0.is_multiple_of(bytes);
        match SIZE_UNITS.iter().find(fits) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A duration, written with a unit; without one it is in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    /// Makes a span of a duration.
    pub fn from_time(time: Duration) -> Span {
        Span(time)
    }

    /// The duration.
    pub fn time(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = &'static str;

    /// Parses to the millisecond. Anything finer is refused, so that only zero becomes zero.
    fn from_str(text: &str) -> Result<Span, &'static str> {
        let unit = if text.ends_with(|last: char| last.is_ascii_digit()) { "s" } else { "" };
        // A capital M is a minute, not a month.
        let text = text.to_ascii_lowercase() + unit;
        let time = humantime::parse_duration(&text)
            .ok()
            .filter(|time| time.subsec_nanos().is_multiple_of(1_000_000));
        let time =
            time.ok_or("a time is a number of seconds, or with a unit: 30, 0.5, 500ms, 30s, 1m, 2h")?;
        u64::try_from(time.as_millis()).map(|_| Span(time)).map_err(|_| TOO_MUCH)
    }
}

/// Prints a form that can be parsed again.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    thousandths: u64,
}

/// The grammar of rates: as for sizes without a unit, of which one is a thousand thousandths. (`f64`'s own
/// parser would make the program 20 kB larger.)
const RATES: parse_size::Config = parse_size::Config::new().with_default_factor(1_000);

impl Rate {
    pub(crate) fn per_second(self) -> f64 {
        self.thousandths as f64 / 1_000.0
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Rate, &'static str> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let thousandths = RATES.parse_size(text).ok().filter(|_| is_plain);
        let rate = thousandths.map(|thousandths| Rate { thousandths });
        rate.ok_or("a rate is a number of requests a second: 10000, 0.5")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_size(text: &str, expected: Option<u64>) {
        assert_eq!(text.parse::<Size>().ok(), expected.map(Size), "{text}");
    }

    fn check_span(text: &str, expected: Option<u64>) {
        let expected = expected.map(Duration::from_millis).map(Span);
        assert_eq!(text.parse::<Span>().ok(), expected, "{text}");
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        check_size("0", Some(0));
        check_size("1000", Some(1_000));
        check_size("64k", Some(65_536));
        check_size("64 KiB", Some(65_536));
        check_size("1MiB", Some(1 << 20));
        check_size("2G", Some(2 << 30));
        check_size("1.5M", Some(3 << 19));
        check_size("16777215t", Some(16_777_215 << 40));
        for bad in ["", "k", "-1", "+1", "1x", "1 M B", "16777216t", "99999999999999999999"] {
            check_size(bad, None);
        }
    }

    #[test]
    fn times_are_read_with_their_unit_or_as_seconds() {
        check_span("0s", Some(0));
        check_span("0", Some(0));
        check_span("30", Some(30_000));
        check_span("0.5", Some(500));
        check_span("1.25s", Some(1_250));
        check_span("1.5 h", Some(5_400_000));
        check_span("0.0010", Some(1));
        check_span("500ms", Some(500));
        check_span("30s", Some(30_000));
        check_span("1m", Some(60_000));
        check_span("2h", Some(7_200_000));
        check_span("1M", Some(60_000));
        check_span("2min", Some(120_000));
        check_span("1m 30s", Some(90_000));
        check_span("1d", Some(86_400_000));
        for bad in [
            "",
            "s",
            ".",
            ".5",
            "5.",
            "1.5.0",
            "-1s",
            "0.0001",
            "0.5ms",
            "1 parsec",
            "1h 1us",
            "5000000000000000000h",
            "1ss",
            "99999999999999999999s",
        ] {
            check_span(bad, None);
        }
    }

    #[test]
    fn rates_are_read_to_the_thousandth() {
        for (text, expected) in [("10000", Some(10_000.0)), ("0.5", Some(0.5)), ("2.125", Some(2.125))] {
            assert_eq!(text.parse().ok().map(Rate::per_second), expected, "{text}");
        }
        for bad in ["", "fast", "-1", "+1", "1.+5", "1e3", ".5", "inf", "10k", "99999999999999999999"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_size_and_time_is_shown_as_it_can_be_read() {
        for text in ["0", "500", "8KiB", "1GiB", "1025", "3TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["0s", "500ms", "1m 15s", "1m", "5m", "1s 500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }
}
