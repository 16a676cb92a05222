//! Dates of HTTP (RFC 9110 §5.6.7): IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`.

use std::fmt;
use std::str;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_A_DAY: u64 = 86_400;
/// The last second that a year of four digits can express, 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// A second of the Gregorian calendar in UTC, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Four digits.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 is Sunday.
    pub weekday: u8,
}

impl Calendar {
    /// Converts seconds since 1970-01-01T00:00:00Z; anything beyond the year 9999 becomes its last second.
    pub fn from_unix(unix_seconds: u64) -> Calendar {
        let unix_seconds = unix_seconds.min(LAST_SECOND);
        let (days, second_of_day) = (unix_seconds / SECONDS_A_DAY, unix_seconds % SECONDS_A_DAY);
        // Counted from 1 March of the year 0, so that the leap day is the last of its year, in
        // eras of 400 years (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Calendar {
            year: (era * 400 + year_of_era + u64::from(month <= 2)) as u16,
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            hour: (second_of_day / 3_600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
            // 1970-01-01 was a Thursday.
            weekday: ((days + 4) % 7) as u8,
        }
    }

    /// The name of the month, `Jan` to `Dec`.
    pub fn month_name(self) -> &'static str {
        MONTHS[usize::from(self.month) - 1]
    }

    /// Converts to seconds since 1970-01-01T00:00:00Z; the inverse of [`Calendar::from_unix`].
    fn to_unix(self) -> u64 {
        let year = u64::from(self.year) - u64::from(self.month <= 2);
        let (era, year_of_era) = (year / 400, year % 400);
        let shifted_month = (u64::from(self.month) + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + u64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let of_day = u64::from(self.hour) * 3_600 + u64::from(self.minute) * 60;
        days * SECONDS_A_DAY + of_day + u64::from(self.second)
    }
}

/// A date as it stands in a field.
///
/// ```
/// use tidegate::message::HttpDate;
///
/// let date = HttpDate::from_unix(784_111_777);
/// assert_eq!(date.to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// assert_eq!(HttpDate::parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDate([u8; 29]);

impl HttpDate {
    /// Formats seconds since 1970-01-01T00:00:00Z.
    pub fn from_unix(unix_seconds: u64) -> HttpDate {
        let date = Calendar::from_unix(unix_seconds);
        let mut text = *b"Day, 00 Mon 0000 00:00:00 GMT";
        text[..3].copy_from_slice(WEEKDAYS[usize::from(date.weekday)].as_bytes());
        text[8..11].copy_from_slice(date.month_name().as_bytes());
        let mut digits = |at: usize, value: u8| {
            text[at] = b'0' + value / 10;
            text[at + 1] = b'0' + value % 10;
        };
        digits(5, date.day);
        digits(12, (date.year / 100) as u8);
        digits(14, (date.year % 100) as u8);
        digits(17, date.hour);
        digits(20, date.minute);
        digits(23, date.second);
        HttpDate(text)
    }

    /// The 29 bytes.
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.0
    }

    /// Parses an IMF-fixdate, the only form that is still generated, into seconds since 1970. The two
    /// obsolete forms count as no date, which costs a conditional request its saving.
    pub fn parse(text: &[u8]) -> Option<u64> {
        let text = str::from_utf8(text).ok().filter(|text| text.len() == 29 && text.is_ascii())?;
        let number = |from: usize, to: usize| -> Option<u16> {
            let digits = &text[from..to];
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let month = MONTHS.iter().position(|name| *name == &text[8..11])? as u8 + 1;
        let date = Calendar {
            year: number(12, 16).filter(|year| *year >= 1970)?,
            month,
            day: number(5, 7)? as u8,
            hour: number(17, 19)? as u8,
            minute: number(20, 22)? as u8,
            second: number(23, 25)? as u8,
            weekday: 0,
        };
        // Formatting it again must give the same text: that settles separators, ranges, the
        // length of the month and the day of the week at once.
        let possible = (1..=31).contains(&date.day) && date.hour < 24 && date.minute < 60 && date.second < 60;
        let seconds = possible.then(|| date.to_unix())?;
        (HttpDate::from_unix(seconds).as_bytes() == text.as_bytes()).then_some(seconds)
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unix_seconds: u64, expected: &str) {
        assert_eq!(HttpDate::from_unix(unix_seconds).to_string(), expected);
        assert_eq!(HttpDate::parse(expected.as_bytes()), Some(unix_seconds), "{expected}");
    }

    #[test]
    fn dates_are_written_and_read() {
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
        check(LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn every_day_of_five_centuries_survives_the_round_trip() {
        for day in 0..182_500 {
            let seconds = day * SECONDS_A_DAY + day % SECONDS_A_DAY;
            assert_eq!(HttpDate::parse(HttpDate::from_unix(seconds).as_bytes()), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(HttpDate::parse(text.as_bytes()), None, "{text}");
        }
    }
}
