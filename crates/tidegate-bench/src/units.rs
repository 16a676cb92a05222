//! Sizes and times as people tell them: `64k`, `1MiB`, `500ms`, `1m`.
//!
//! They are read exactly or not at all, and shown as they can be read again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, told with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

/// From the longest, so that the first that divides a size is its unit.
const SIZE_UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    /// So many bytes.
    pub fn from_bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// As a length in memory: what is beyond the address space is all of it.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let (number, unit) = split_unit(text);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return Err("a size is a whole number of bytes, or with a unit: 64k, 1MiB".into()),
        };
        scale(number, factor, "a size is a whole number of bytes, or with a unit: 64k, 1MiB").map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, bytes): &&(&str, u64)| self.0 >= bytes && self.0.is_multiple_of(bytes);
        match SIZE_UNITS.iter().find(fits) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A length of time, told with a unit; without one it is in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

const SPAN_HELP: &str = "a time is a number of seconds, or with a unit: 30, 0.5, 500ms, 30s, 1m, 2h";

impl Span {
    /// A length of time as a span.
    pub fn from_time(time: Duration) -> Span {
        Span(time)
    }

    /// The length of time.
    pub fn time(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    /// To the millisecond: what is finer is refused, so that nothing but zero comes to zero.
    fn from_str(text: &str) -> Result<Span, String> {
        let (number, unit) = split_unit(text);
        let millis = match unit.to_ascii_lowercase().as_str() {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => return Err(SPAN_HELP.into()),
        };
        Ok(Span(Duration::from_millis(scale_decimal(number, millis, SPAN_HELP)?)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            _ if !millis.is_multiple_of(1_000) => write!(f, "{millis}ms"),
            _ if millis >= 120_000 && millis.is_multiple_of(60_000) => {
                write!(f, "{}m", millis / 60_000)
            }
            _ => write!(f, "{}s", millis / 1_000),
        }
    }
}

/// A number of times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    thousandths: u64,
}

impl Rate {
    pub(crate) fn per_second(self) -> f64 {
        self.thousandths as f64 / 1_000.0
    }
}

impl FromStr for Rate {
    type Err = String;

    /// To the thousandth. (Not as `f64` is read: that would make the program 20 kB larger.)
    fn from_str(text: &str) -> Result<Rate, String> {
        let help = "a rate is a number of requests a second: 10000, 0.5";
        Ok(Rate { thousandths: scale_decimal(text, 1_000, help)? })
    }
}

/// `64k` → `64` and `k`.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

const TOO_MUCH: &str = "that is more than can be counted";

/// The same for a number with a fraction, if what it comes to has none.
fn scale_decimal(number: &str, factor: u64, help: &str) -> Result<u64, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = scale(whole, factor, help)?;
    // 0.125 h are 125 × 3,600,000 ÷ 10³ ms.
    let parts = scale(fraction, factor, help)?;
    let divisor = u32::try_from(fraction.len()).ok().and_then(|digits| 10_u64.checked_pow(digits));
    let divisor = divisor.filter(|divisor| parts.is_multiple_of(*divisor)).ok_or(help)?;
    whole.checked_add(parts / divisor).ok_or_else(|| TOO_MUCH.to_string())
}

fn scale(number: &str, factor: u64, help: &str) -> Result<u64, String> {
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(help.to_string());
    }
    let scaled = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    scaled.ok_or_else(|| TOO_MUCH.to_string())
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
        check_size("16777215t", Some(16_777_215 << 40));
        for bad in ["", "k", "-1", "+1", "1.5M", "1x", "1 M B", "16777216t", "99999999999999999999"] {
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
            "1d",
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
        for bad in
            ["", "fast", "-1", "+1", "1.+5", "1e3", "0.0001", ".5", "inf", "10k", "99999999999999999999"]
        {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_size_and_time_is_shown_as_it_can_be_read() {
        for text in ["0", "500", "8KiB", "1GiB", "1025", "3TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["0s", "500ms", "75s", "60s", "5m", "1500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }
}
