//! What the operator reads on stderr: the program's own sentences, and the log.
//!
//! Stderr may be closed, or a pipe that nobody reads any more: that is no reason to stop serving,
//! so no failure to write is ever looked at.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use crate::message::Calendar;
use log::LevelFilter;

/// Says one sentence to the operator, whatever the level of the log.
pub fn say(sentence: &str) {
    let _ = writeln!(io::stderr(), "{}", one_line(sentence));
}

/// Makes stderr the place where the log goes: `2026-01-31T12:00:00.000Z WARN what happened`. Where
/// there is a logger already, it stays: a process has one, and may come here twice.
pub fn log_to_stderr(level: LevelFilter) {
    let installed = env_logger::Builder::new()
        .filter_level(level)
        .format(|line, record| {
            let message = one_line(&record.args().to_string());
            writeln!(line, "{} {} {message}", timestamp(SystemTime::now()), record.level())
        })
        .try_init();
    // The error says that there is one.
    drop(installed);
}

/// RFC 3339, in UTC, to the millisecond.
fn timestamp(time: SystemTime) -> String {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let Calendar { year, month, day, hour, minute, second, .. } = Calendar::from_unix(since_1970.as_secs());
    let millis = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The text without anything that could end a line, or steer a terminal: some of it may have come
/// from a client.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_client_stays_on_its_line() {
        assert_eq!(one_line("plain \u{e9}"), "plain \u{e9}");
        assert_eq!(one_line("a\r\nb\x1b[2J\0"), "a\\r\\nb\\u{1b}[2J\\u{0}");
    }

    #[test]
    fn time_is_told_to_the_millisecond() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_042);
        assert_eq!(timestamp(time), "1994-11-06T08:49:37.042Z");
    }
}
