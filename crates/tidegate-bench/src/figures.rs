//! Figures as people read them: with a unit, and as many digits as mean something.

use std::time::Duration;

/// Groups digits: `1234567` → `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a latency: `87.3 µs`, `1.25 ms`, `2.50 s`.
pub(super) fn latency(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    match nanos {
        _ if nanos < 1e6 => format!("{} µs", three_digits(nanos / 1e3)),
        _ if nanos < 1e9 => format!("{} ms", three_digits(nanos / 1e6)),
        _ => format!("{} s", three_digits(nanos / 1e9)),
    }
}

/// Formats a number of bytes: `512 bytes`, `1.25 MB` (powers of 1000, as is usual for networks and disks).
pub(super) fn amount(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", three_digits(number / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", three_digits(number / 1e6)),
        _ => format!("{} GB", three_digits(number / 1e9)),
    }
}

/// Formats three significant digits, or all digits before the point if there are more.
pub(super) fn three_digits(number: f64) -> String {
    match number {
        _ if number >= 99.95 => format!("{number:.0}"),
        _ if number >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_comma_every_three_digits() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), expected);
        }
    }

    #[test]
    fn latencies_have_three_digits_and_a_unit() {
        for (nanos, expected) in [
            (0, "0.00 µs"),
            (87_345, "87.3 µs"),
            (1_250_000, "1.25 ms"),
            (250_400_000, "250 ms"),
            (12_340_000_000, "12.3 s"),
        ] {
            assert_eq!(latency(Duration::from_nanos(nanos)), expected);
        }
    }

    #[test]
    fn amounts_have_a_unit() {
        for (bytes, expected) in
            [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.00 kB"), (6_120_000, "6.12 MB")]
        {
            assert_eq!(amount(bytes), expected);
        }
    }
}
