//! Tests conformance to RFC 9112 and RFC 9110, section by section: every rule that binds an origin server, as
//! data.
//!
//! The cases stand in `tests/data/conformance/`, in the format that its README explains. Each is run whole,
//! byte by byte, and cut in two at every place. Rules that do not fit a line of text (a thousand requests,
//! every byte of a table) stand here.

mod support;

use std::collections::HashMap;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use support::driver::{Conversed, Finale, converse, in_every_cut};

/// One run of a case, with one of its variants in place.
#[derive(Debug, Default)]
struct Case {
    section: String,
    title: String,
    input: Vec<u8>,
    finale: Option<Finale>,
    responses: Vec<String>,
    fields: Vec<(String, Option<String>)>,
    trailers: Vec<(String, String)>,
    variables: Vec<(String, Option<Vec<u8>>)>,
    fate: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conformance")
}

/// Runs every case of a file, and returns how many there were.
fn check_file(name: &str) -> usize {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let cases = parse_file(&text);
    assert!(!cases.is_empty());
    let fails = |case: &&Case| panic::catch_unwind(|| check(case)).is_err();
    let failed: Vec<&str> = cases.iter().filter(fails).map(|case| case.title.as_str()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), cases.len());
    cases.len()
}

fn check(case: &Case) {
    assert!(!case.fate.is_empty(), "{}: no fate", case.title);
    let expected: Vec<&String> = case.responses.iter().chain([&case.fate]).collect();
    in_every_cut(&case.input, case.finale.unwrap_or(Finale::Nothing), |conversed, way| {
        let name = format!("{} ({}), {way}", case.title, case.section);
        let told = conversed.told();
        assert_eq!(told.iter().collect::<Vec<_>>(), expected, "{name}");
        check_details(case, &conversed, &name);
    });
}

/// Compares fields and trailers of the last response, and variables of the last call.
fn check_details(case: &Case, conversed: &Conversed, name: &str) {
    if let Some(response) = conversed.finals().last() {
        for (field, expected) in &case.fields {
            assert_eq!(response.field(field), expected.as_deref(), "{field}: {name}");
        }
        assert_eq!(response.trailers, case.trailers, "trailers: {name}");
    }
    for (variable, expected) in &case.variables {
        let seen = conversed.calls.last().expect("a call").variable(variable);
        assert_eq!(seen, expected.as_deref(), "{variable}: {name}");
    }
}

/// Parses all cases of a file, one for each variant.
fn parse_file(text: &str) -> Vec<Case> {
    let mut shared = HashMap::new();
    let mut cases: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, bytes)) = line.strip_prefix("let ").and_then(|rest| rest.split_once(" = ")) {
            shared.insert(name, bytes);
        } else if line.starts_with("== ") {
            cases.push(vec![line]);
        } else {
            cases.last_mut().expect("a case begins with ==").push(line);
        }
    }
    cases.iter().flat_map(|lines| parse_case(lines, &shared)).collect()
}

fn parse_case(lines: &[&str], shared: &HashMap<&str, &str>) -> Vec<Case> {
    let variants: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("* ")).collect();
    let variants = if variants.is_empty() { vec!["{}"] } else { variants };
    variants
        .into_iter()
        .map(|variant| {
            let mut case = Case::default();
            lines.iter().for_each(|line| take_line(&mut case, line, variant, shared));
            case
        })
        .collect()
}

fn take_line(case: &mut Case, line: &str, variant: &str, shared: &HashMap<&str, &str>) {
    let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.replace("{}", variant);
    match sign {
        "==" => {
            let (section, title) = rest.split_once(" | ").expect("section | title");
            (case.section, case.title) = (section.to_string(), title.to_string());
        }
        ">" => {
            let bytes = shared.get(rest.as_str()).map_or(rest.as_str(), |bytes| bytes);
            case.input.extend(unescape(bytes));
        }
        "*" => {}
        "!" => {
            case.finale = Some(match rest.as_str() {
                "end" => Finale::End,
                "silence" => Finale::Silence,
                _ => panic!("unknown finale {rest}"),
            });
        }
        "<" => case.responses.push(String::from_utf8_lossy(&unescape(&rest)).into_owned()),
        "+" => {
            let (name, value) = rest.split_once(": ").expect("name: value");
            case.fields.push((name.to_string(), Some(value.to_string())));
        }
        "-" => case.fields.push((rest, None)),
        "~" => {
            let (name, value) = rest.split_once(": ").expect("name: value");
            case.trailers.push((name.to_string(), value.to_string()));
        }
        "?" => {
            let (name, value) = match rest.split_once('=') {
                Some((name, value)) => (name.to_string(), Some(unescape(value))),
                None => (rest, None),
            };
            case.variables.push((name, value));
        }
        "$" => case.fate = rest,
        _ => panic!("{line:?} is no line of a case"),
    }
}

/// Replaces escapes, `\r`, `\x7f`, `\(300 x)`: see the README beside the data.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend(rest[..at].bytes());
        let escape = &rest[at + 1..];
        let simple = match escape.as_bytes()[0] {
            b'r' => Some(b'\r'),
            b'n' => Some(b'\n'),
            b't' => Some(b'\t'),
            b'0' => Some(0),
            b's' => Some(b' '),
            b'\\' => Some(b'\\'),
            _ => None,
        };
        rest = match (simple, escape.as_bytes()[0]) {
            (Some(byte), _) => {
                bytes.push(byte);
                &escape[1..]
            }
            (None, b'x') => {
                bytes.push(u8::from_str_radix(&escape[1..3], 16).expect("two digits"));
                &escape[3..]
            }
            (None, b'(') => {
                let (repeated, rest) = escape[1..].split_once(')').expect("an end");
                let (count, what) = repeated.split_once(' ').expect("a number and a text");
                bytes.extend(unescape(what).repeat(count.parse().expect("a number")));
                rest
            }
            _ => panic!("unknown escape in {text:?}"),
        };
    }
    bytes.extend(rest.bytes());
    bytes
}

#[test]
fn messages_lines_targets_and_hosts() {
    assert!(check_file("messages.txt") > 200);
}

#[test]
fn fields_and_variables() {
    assert!(check_file("fields.txt") > 50);
}

#[test]
fn framing_and_chunks() {
    assert!(check_file("framing.txt") > 150);
}

#[test]
fn connections_pipelines_and_expectations() {
    assert!(check_file("connections.txt") > 50);
}

#[test]
fn responses_and_their_framing() {
    assert!(check_file("responses.txt") > 20);
}

// What a line of text cannot say

/// Pipelining, as in RFC 9112 §9.3.2.
#[test]
fn thousand_pipelined_requests_are_answered_up_to_a_bad_one_in_the_middle() {
    let good = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let check = |input: &[u8], good: usize, end: &[&str]| {
        for piece in [input.len(), 1, 7, 1460, 16 * 1024, 29] {
            let pieces: Vec<&[u8]> = input.chunks(piece).collect();
            let told = converse(&pieces, Finale::Nothing).told();
            assert!(told[..good].iter().all(|response| response == "200 length: GET /a"));
            assert_eq!(told[good..], *end, "in pieces of {piece}");
        }
    };
    check(&good.repeat(1000), 1000, &["open"]);
    let middle = [&good.repeat(500)[..], b"GET /bad HTTP/1.1\r\n\r\n", &good.repeat(499)].concat();
    check(&middle, 500, &["400 length close: the Host field is missing", "closed"]);
    let broken = [&good.repeat(999)[..], b"GET /a HTTP/1.1\r\nHost : a\r\n\r\n", good].concat();
    check(&broken, 999, &["400 length close: the head of the request is malformed", "closed"]);
    let last =
        [&good.repeat(999)[..], b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", good].concat();
    check(&last, 999, &["200 length close: GET /a", "closed"]);
}

/// Puts every byte between the two; the message must be accepted where `is_good` says so.
fn check_bytes(before: &str, after: &str, is_good: impl Fn(u8) -> bool) {
    for byte in 0..=u8::MAX {
        let input = [before.as_bytes(), &[byte], after.as_bytes()].concat();
        let code = converse(&[&input], Finale::End).finals().first().map(|response| response.code);
        let is_taken = code.expect("an answer") == 200;
        assert_eq!(is_taken, is_good(byte), "{}", input.escape_ascii());
    }
}

/// Whether a byte belongs to a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The rules are those of RFC 9112 §3.1, §3.2, §5; RFC 9110 §5.5; RFC 9112 §7.1.
#[test]
fn every_byte_has_its_places() {
    let end = " HTTP/1.1\r\nHost: a\r\n\r\n";
    check_bytes("G", &format!("T /{end}"), is_token);
    // An escape wants its digits; `?` begins a query, `#` a fragment.
    check_bytes("GET /a", end, |byte| byte.is_ascii_graphic() && !b"%#\\".contains(&byte));
    check_bytes("GET /a?b", end, |byte| byte.is_ascii_graphic() && byte != b'#');
    check_bytes("GET / HTTP/1.", "\r\nHost: a\r\nContent-Length: 0\r\n\r\n", |byte| b"01".contains(&byte));
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    check_bytes(&format!("{line}X"), "Y: z\r\n\r\n", |byte| is_token(byte) || byte == b':');
    let is_value = |byte: u8| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80;
    check_bytes(&format!("{line}X: a"), "b: c\r\n\r\n", |byte| is_value(byte) || byte == b'\n');
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_bytes(&format!("{chunked}0;"), "\r\n\r\n", is_token);
    check_bytes(&format!("{chunked}0;a"), "\r\n\r\n", is_token);
    check_bytes(&format!("{chunked}0;a="), "\r\n\r\n", is_token);
    check_bytes(&format!("{chunked}0;a="), "b\r\n\r\n", |byte| is_token(byte) || b"\t ".contains(&byte));
    check_bytes(&format!("{chunked}0;a=\""), "\"\r\n\r\n", |byte| is_value(byte) && !b"\"\\".contains(&byte));
    check_bytes(&format!("{chunked}0;a=\"\\"), "\"\r\n\r\n", is_value);
    check_bytes(&format!("{chunked}0"), "\r\n\r\n", |byte| byte == b'0');
    check_bytes(&format!("{chunked}0\r\nA: b"), "\r\n\r\n", is_value);
    check_bytes(&format!("{chunked}0\r\nA"), "B: c\r\n\r\n", |byte| is_token(byte) || byte == b':');
}

#[test]
fn every_file_of_cases_is_run() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".txt"))
        .collect();
    names.sort();
    assert_eq!(names, ["connections.txt", "fields.txt", "framing.txt", "messages.txt", "responses.txt"]);
}

/// The chapter on the failures of others names the tests that guard against them; none may be gone.
#[test]
fn every_guard_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chapter = fs::read_to_string(root.join("src/protocol/failures.rs")).unwrap().replace("\n//! ", " ");
    let mut guards = 0;
    for quoted in chapter.split('`').skip(1).step_by(2) {
        let (file, text) = if let Some((file, name)) = quoted.split_once(".rs::") {
            (root.join(format!("{file}.rs")), format!("fn {name}() {{"))
        } else if let Some((file, title)) = quoted.split_once(".txt: ") {
            (folder().join(format!("{file}.txt")), format!(" | {title}\n"))
        } else {
            continue;
        };
        let content = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(content.contains(&text), "{quoted} does not exist");
        guards += 1;
    }
    assert!(guards > 30, "{guards}");
}
