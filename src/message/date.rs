//! Dates of HTTP (RFC 9110 §5.6.7): one form is written, three are read.
//!
//! ```text
//! Sun, 06 Nov 1994 08:49:37 GMT      IMF-fixdate: what everybody writes today
//! Sunday, 06-Nov-94 08:49:37 GMT     RFC 850, with two digits for the year
//! Sun Nov  6 08:49:37 1994           asctime() of C
//! ```

use std::fmt;
use std::str;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Years that a date with two digits for the year may lie ahead; beyond them a century less is meant.
const YEARS_AHEAD_MAX: u64 = 50;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_A_DAY: u64 = 86_400;
/// The last second that a year of four digits can express, 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// A second of the Gregorian calendar in UTC, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The year, of four digits.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
    /// The day of the week, from 0 for Sunday.
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
/// assert_eq!(HttpDate::parse(b"Sun Nov  6 08:49:37 1994", 0), Some(784_111_777));
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

    /// The 29 bytes of the date.
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.0
    }

    /// Parses a date of any of the three forms into seconds since 1970. `now`, in the same seconds, is asked for a date
    /// with two digits for the year: it means the year that lies at most fifty years ahead.
    ///
    /// A second of 60, which a leap second has, is the one before it.
    pub fn parse(text: &[u8], now: u64) -> Option<u64> {
        let text = str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        match text.as_bytes().get(3)? {
            b',' => parse_imf_fixdate(text),
            b' ' => parse_asctime(text),
            _ => parse_rfc_850(text, now),
        }
    }
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse_imf_fixdate(text: &str) -> Option<u64> {
    let (weekday, rest) = text.split_once(", ")?;
    let date = rest.strip_suffix(" GMT").filter(|date| date.len() == 20)?;
    let month = date.get(2..7)?.strip_prefix(' ')?.strip_suffix(' ')?;
    seconds(number(&date[..2])?, month, number(date.get(7..11)?)?, date.get(11..)?.strip_prefix(' ')?)
        .filter(|seconds| WEEKDAYS[weekday_of(*seconds)] == weekday)
}

/// Reads `Sun Nov  6 08:49:37 1994`.
fn parse_asctime(text: &str) -> Option<u64> {
    // A day of one digit has a blank before it.
    let (weekday, rest) = text.split_once(' ').filter(|_| text.len() == 24)?;
    let day = rest.get(3..6)?.strip_prefix(' ')?;
    let day = number(day.strip_prefix(' ').unwrap_or(day))?;
    let (time, year) = rest.get(6..)?.strip_prefix(' ')?.split_once(' ')?;
    seconds(day, &rest[..3], number(year).filter(|_| year.len() == 4)?, time)
        .filter(|seconds| WEEKDAYS[weekday_of(*seconds)] == weekday)
}

/// Reads `Sunday, 06-Nov-94 08:49:37 GMT`.
fn parse_rfc_850(text: &str, now: u64) -> Option<u64> {
    let (weekday, rest) = text.split_once(", ")?;
    let date = rest.strip_suffix(" GMT").filter(|date| date.len() == 18)?;
    let month = date.get(2..7)?.strip_prefix('-')?.strip_suffix('-')?;
    let day = number(&date[..2])?;
    let (year, time) = (number(date.get(7..9)?)?, date.get(9..)?.strip_prefix(' ')?);
    let latest = u64::from(Calendar::from_unix(now).year) + YEARS_AHEAD_MAX;
    let year = latest - (latest - year) % 100;
    seconds(day, month, year, time).filter(|seconds| LONG_WEEKDAYS[weekday_of(*seconds)] == weekday)
}

fn weekday_of(unix_seconds: u64) -> usize {
    usize::from(Calendar::from_unix(unix_seconds).weekday)
}

/// Reads digits, and nothing else.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Returns the seconds since 1970 of a day and a time such as `08:49:37`, if there is such a day.
fn seconds(day: u64, month: &str, year: u64, time: &str) -> Option<u64> {
    let mut parts = time.split(':').map(|part| number(part).filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_possible = parts.next().is_none()
        && (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_possible {
        return None;
    }
    let date = Calendar {
        year: year as u16,
        month: MONTHS.iter().position(|name| *name == month)? as u8 + 1,
        day: day as u8,
        hour: hour as u8,
        minute: minute as u8,
        second: second.min(59) as u8,
        weekday: 0,
    };
    // A day that its month does not have becomes one of the next.
    let seconds = date.to_unix();
    (Calendar::from_unix(seconds).month == date.month).then_some(seconds)
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30.
    const NOW: u64 = 1_796_000_000;

    fn check(unix_seconds: u64, expected: &str) {
        assert_eq!(HttpDate::from_unix(unix_seconds).to_string(), expected);
        check_read(expected, Some(unix_seconds));
    }

    fn check_read(text: &str, expected: Option<u64>) {
        assert_eq!(HttpDate::parse(text.as_bytes(), NOW), expected, "{text}");
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
            assert_eq!(HttpDate::parse(HttpDate::from_unix(seconds).as_bytes(), NOW), Some(seconds));
        }
    }

    #[test]
    fn obsolete_forms_are_read() {
        check_read("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check_read("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check_read("Wed Nov 16 08:49:37 1994", Some(784_975_777));
        // The second before a leap second, and the leap second.
        check_read("Wed, 31 Dec 2008 23:59:60 GMT", Some(1_230_767_999));
    }

    #[test]
    fn year_of_two_digits_lies_at_most_fifty_years_ahead() {
        check_read("Wednesday, 01-Jan-76 00:00:00 GMT", Some(3_345_062_400));
        check_read("Saturday, 01-Jan-77 00:00:00 GMT", Some(220_924_800));
        check_read("Saturday, 01-Jan-00 00:00:00 GMT", Some(946_684_800));
        // 2069 seen from 1970 would lie too far ahead, and 1969 has no place in the count of seconds.
        assert_eq!(HttpDate::parse(b"Tuesday, 01-Jan-69 00:00:00 GMT", 0), None);
        // Far from now a century begins, too.
        assert_eq!(HttpDate::parse(b"Wednesday, 01-Jan-10 00:00:00 GMT", 4_070_908_800), Some(4_417_977_600));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994 8:49:037 GMT",
            "Monday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 6-Nov-94 08:49:37 GMT",
            "Sun Nov 06 08:49:37 94",
            "Mon Nov  6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37  994",
        ] {
            check_read(text, None);
        }
    }
}
