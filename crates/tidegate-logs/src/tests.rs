//! Tests what the formats make of exchanges, harmless ones and hostile ones.

use std::time::Duration;

use tidegate::access_log::{AccessLog, ExchangeRecord, Outcome, RequestLine};
use tidegate::message::Version;
use tidegate::now::{Moment, Now};

use super::*;

/// The values of wanted fields that were found.
fn values(found: &[Option<&[u8]>]) -> &'static [Option<Vec<u8>>] {
    found.iter().map(|value| value.map(<[u8]>::to_vec)).collect::<Vec<_>>().leak()
}

fn record() -> ExchangeRecord<'static> {
    ExchangeRecord {
        peer: "192.0.2.7:4711".parse().ok(),
        request: Some(RequestLine { method: "GET", target: "/x?y", version: Version::Http11 }),
        status: 200,
        content_bytes: 13,
        request_fields: values(&[Some(b"http://a/"), Some(b"curl/8")]),
        response_fields: &[],
        variables: &[],
        begun: Moment::START,
        ended: Now { moment: Moment::START + Duration::from_nanos(1_002_003_999), unix_seconds: 784_111_777 },
        outcome: Outcome::Complete,
    }
}

fn nothing_known() -> ExchangeRecord<'static> {
    ExchangeRecord {
        peer: None,
        request: None,
        status: 0,
        content_bytes: 0,
        request_fields: &[],
        response_fields: &[],
        variables: &[],
        begun: Moment::START,
        ended: Now::default(),
        outcome: Outcome::Aborted,
    }
}

fn combined(record: &ExchangeRecord<'_>) -> String {
    let mut written = Vec::new();
    let mut log = CombinedLog::new(&mut written);
    log.record(record);
    log.flush();
    String::from_utf8(written).unwrap()
}

fn json(record: &ExchangeRecord<'_>) -> String {
    let mut written = Vec::new();
    let mut log = JsonLog::new(&mut written);
    log.record(record);
    log.flush();
    String::from_utf8(written).unwrap()
}

#[test]
fn exchange_is_one_line_of_combined_log_format() {
    let expected = "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /x?y HTTP/1.1\" 200 13 \
                    \"http://a/\" \"curl/8\"\n";
    assert_eq!(combined(&record()), expected);
    let expected = "- - - [01/Jan/1970:00:00:00 +0000] \"-\" - 0 \"-\" \"-\"\n";
    assert_eq!(combined(&nothing_known()), expected);
}

#[test]
fn exchange_is_one_object_of_json() {
    let expected = "{\"time\":\"1994-11-06T08:49:37Z\",\"peer\":\"192.0.2.7\",\
        \"method\":\"GET\",\"target\":\"/x?y\",\"version\":\"HTTP/1.1\",\"status\":200,\
        \"bytes\":13,\"duration\":1.002003,\"referer\":\"http://a/\",\
        \"user_agent\":\"curl/8\",\"aborted\":false}\n";
    assert_eq!(json(&record()), expected);
    let value: serde_json::Value = serde_json::from_str(&json(&nothing_known())).unwrap();
    assert!(value["peer"].is_null() && value["status"].is_null());
    assert_eq!(value["aborted"], true);
}

/// Every byte a client could send in a field, and the worst it could hope for.
#[test]
fn hostile_bytes_forge_no_line() {
    let mut hostile: Vec<u8> = (0..=255).collect();
    hostile.extend_from_slice(b"\r\n127.0.0.1 - - \"GET /\" \xe2\x80\xa8 \xc2\x85");
    let record = ExchangeRecord { request_fields: values(&[None, Some(&hostile)]), ..record() };
    let line = combined(&record);
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert_eq!(line.matches('"').count(), 6);
    assert!(line.contains("\\x00\\x01") && line.contains("\\x22#") && line.contains("\\xFF"));
    let everywhere = values(&[Some(&hostile)]);
    let record = ExchangeRecord {
        request_fields: everywhere,
        response_fields: everywhere,
        variables: everywhere,
        ..record
    };
    let own = formatted("%({a}i)s%({a}o)s%({a}e)s", &record);
    assert_eq!(own.matches(['\n', '"']).count(), 1);
    assert!(own.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let record = ExchangeRecord { request_fields: values(&[None, Some(&hostile)]), ..record };
    let line = json(&record);
    assert!(!line.trim_end().contains(char::is_control));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["user_agent"], *String::from_utf8_lossy(&hostile));
}

fn formatted(format: &str, record: &ExchangeRecord<'_>) -> String {
    let mut written = Vec::new();
    let mut log = FormattedLog::new(format.parse().unwrap(), &mut written);
    log.record(record);
    log.flush();
    String::from_utf8(written).unwrap()
}

/// The fields are wanted in the order in which the format names them.
#[test]
fn every_atom_has_its_text() {
    let known = ExchangeRecord {
        request_fields: values(&[
            Some(b"Basic QWxhIGQ6eA=="),
            Some(b"http://a/"),
            Some(b"curl/8"),
            Some(b"7\t"),
        ]),
        response_fields: values(&[Some(b"text/html")]),
        variables: values(&[Some(b"/\xe9\" "), Some(b"y"), Some(b"http")]),
        ..record()
    };
    let format = "%(h)s %(l)s %(u)s %(t)s|%(r)s|%(m)s %(U)s %(q)s %(H)s %(s)s %(B)s %(b)s|%(f)s|%(a)s|\
                  %(T)s %(M)s %(D)s %(L)s|%({X-Id}i)s|%({content-type}o)s|%({wsgi.url_scheme}e)s|%%";
    let expected = "192.0.2.7 - Ala\\x20d [06/Nov/1994:08:49:37 +0000]|GET /x?y HTTP/1.1|\
                    GET /\\xE9\\x22  y HTTP/1.1 200 13 13|http://a/|curl/8|\
                    1 1002 1002003 1.002003|7\\x09|text/html|http|%\n";
    assert_eq!(formatted(format, &known), expected);
    let expected = "- - - [01/Jan/1970:00:00:00 +0000]|-|- - - - - 0 -|-|-|0 0 0 0.000000|-|-|-|%\n";
    assert_eq!(formatted(format, &nothing_known()), expected);
    assert_eq!(formatted("%(p)s", &record()), format!("<{}>\n", std::process::id()));
    assert_eq!(formatted("", &record()), "\n");
}

#[test]
fn default_format_is_the_combined_one_with_the_user() {
    let with_user = ExchangeRecord {
        request_fields: values(&[Some(b"Basic YTpi"), Some(b"http://a/"), Some(b"curl/8")]),
        ..record()
    };
    let line = formatted(LogFormat::DEFAULT, &with_user);
    assert_eq!(line, combined(&record()).replacen(" - - ", " - a ", 1));
    assert_eq!(LogFormat::default(), LogFormat::DEFAULT.parse().unwrap());
    assert_eq!(LogFormat::default().wanted.request_fields, ["Authorization", "Referer", "User-Agent"]);
}

#[test]
fn lines_wait_for_the_end_of_the_turn() {
    let mut written = Vec::new();
    let mut log = CombinedLog::new(&mut written);
    log.record(&record());
    log.record(&record());
    assert!(log.lines.writer.as_ref().is_some_and(|writer| writer.is_empty()));
    log.flush();
    assert_eq!(String::from_utf8(written).unwrap().lines().count(), 2);
}

#[test]
fn long_turn_is_written_before_its_end() {
    let mut written = Vec::new();
    let mut log = JsonLog::new(&mut written);
    for _ in 0..1_000 {
        log.record(&record());
    }
    assert!(log.lines.buffer.len() < BUFFER_BYTES_MAX);
    log.flush();
    assert_eq!(String::from_utf8(written).unwrap().lines().count(), 1_000);
}

/// Fails, and counts how often it was asked.
struct Broken<'a>(&'a mut u32);

impl Write for Broken<'_> {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        *self.0 += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn failing_writer_is_left_alone_after_the_first_time() {
    let mut asked = 0;
    let mut log = CombinedLog::new(Broken(&mut asked));
    for _ in 0..3 {
        log.record(&record());
        log.flush();
    }
    assert!(log.lines.buffer.is_empty());
    assert_eq!(asked, 1);
}
