//! Probes: questions that are put to both connectors, Tomcat's own and tidegate, over raw sockets.
//!
//! A probe makes one line of text of what it sees. That line is the same from both connectors, unless `differences.rs` says
//! how Tomcat's own differs, and why. A difference that is not listed fails, and one that is listed and gone fails as well.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use super::differences::{DIFFERENCES, Difference};
use super::served::{Connector, Served};
use super::support::loopback::Client;
use super::support::response::{Framing, Response};

/// A question, and what is seen of its answer with tidegate.
pub struct Probe {
    pub name: &'static str,
    pub see: Box<dyn Fn(&Served) -> String + Send + Sync>,
    /// None where both are only compared with each other.
    pub expected: Option<String>,
}

/// A row: its name, a request, and the answer in one line.
pub type Row = (&'static str, &'static str, &'static str);

/// A check that takes more than one request: its name, what it does, and what it sees.
pub type Check = (&'static str, fn(&Served) -> String, &'static str);

pub fn rows(rows: &'static [Row]) -> impl Iterator<Item = Probe> {
    rows.iter().map(|(name, request, expected)| Probe {
        name,
        see: Box::new(move |served| {
            let hangs = difference(name).is_some_and(|listed| listed.tomcat.ends_with("hangs"));
            let patience =
                if hangs && served.connector == Connector::Tomcat { HANGS_AS_LISTED } else { HANGS };
            ask_within(served, request, patience)
        }),
        expected: Some(expected.to_string()),
    })
}

pub fn checks(checks: &'static [Check]) -> impl Iterator<Item = Probe> {
    checks.iter().map(|(name, see, expected)| Probe {
        name,
        see: Box::new(*see),
        expected: Some(expected.to_string()),
    })
}

/// Compares what is seen without a text that is expected of it.
pub fn compare(name: &'static str, see: impl Fn(&Served) -> String + Send + Sync + 'static) -> Probe {
    Probe { name, see: Box::new(see), expected: None }
}

/// Puts all probes to both connectors, each in its own thread, and fails with everything that is not as it should be.
pub fn play(tomcat: &Served, tidegate: &Served, probes: &[Probe]) {
    let all = |served: &Served| probes.iter().map(|probe| see(served, probe)).collect::<Vec<_>>();
    let (tomcat, tidegate) = thread::scope(|scope| {
        let other = scope.spawn(|| all(tomcat));
        let tidegate = all(tidegate);
        (other.join().unwrap(), tidegate)
    });
    let mut wrong: Vec<String> = Vec::new();
    for ((probe, theirs), ours) in probes.iter().zip(&tomcat).zip(&tidegate) {
        let expected = probe.expected.as_ref().unwrap_or(ours);
        if ours != expected {
            wrong.push(format!("{}\n  tidegate: {ours}\n  expected: {expected}", probe.name));
        }
        match difference(probe.name) {
            None if theirs != expected => {
                wrong.push(format!(
                    "{}, of which no difference is listed\n  Tomcat:   {theirs}\n  expected: {expected}",
                    probe.name
                ));
            }
            Some(listed) if theirs != listed.tomcat || listed.tomcat == expected => {
                wrong.push(format!(
                    "{}, of which another difference is listed\n  Tomcat:   {theirs}\n  listed:   {}\n  tidegate: {expected}",
                    probe.name, listed.tomcat
                ));
            }
            _ => {}
        }
    }
    let is_probe = |listed: &&Difference| probes.iter().any(|probe| probe.name == listed.probe);
    wrong.extend(
        DIFFERENCES
            .iter()
            .filter(|listed| !is_probe(listed))
            .map(|listed| format!("no probe {}", listed.probe)),
    );
    let mut names: Vec<_> = probes.iter().map(|probe| probe.name).collect();
    names.sort_unstable();
    wrong.extend(
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("two probes {}", pair[0])),
    );
    assert!(wrong.is_empty(), "{} of {} probes:\n{}", wrong.len(), probes.len(), wrong.join("\n"));
}

/// Puts probes to one server, and fails with everything that is not as it should be.
pub fn expect(served: &Served, probes: impl Iterator<Item = Probe>) {
    let mut wrong = Vec::new();
    for probe in probes {
        let seen = see(served, &probe);
        if probe.expected.as_ref().is_some_and(|expected| *expected != seen) {
            wrong.push(format!(
                "{}\n  seen:     {seen}\n  expected: {}",
                probe.name,
                probe.expected.unwrap_or_default()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} probes:\n{}", wrong.len(), wrong.join("\n"));
}

fn difference(probe: &str) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|listed| listed.probe == probe)
}

/// Returns what a probe sees, in one line. Afterwards the server lives and serves.
pub fn see(served: &Served, probe: &Probe) -> String {
    let seen = |look: &dyn Fn() -> String| match catch_unwind(AssertUnwindSafe(look)) {
        Ok(seen) => seen,
        Err(panic) => format!("failed: {}", message(&*panic)),
    };
    let outcome = seen(&|| (probe.see)(served));
    let alive = seen(&|| served.get("/plaintext").to_string());
    match alive.as_str() {
        "200 length: Hello, World!" => outcome,
        alive => format!("{outcome}, and afterwards {alive}"),
    }
}

/// Returns the message of a failed assertion, in one line.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
    text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ")
}

/// How long nothing more may come before an answer counts as one that never ends. Nothing in the probes takes nearly as long.
const HANGS: Duration = Duration::from_secs(20);
/// A shorter time, for answers of which it is known that they will not end.
const HANGS_AS_LISTED: Duration = Duration::from_secs(1);

/// Sends a request, and says what comes, interim responses included.
pub fn ask(served: &Served, request: &str) -> String {
    ask_within(served, request, HANGS)
}

fn ask_within(served: &Served, request: &str, patience: Duration) -> String {
    let bytes = complete(request);
    let method = request.split(' ').next().unwrap_or_default();
    let mut client = served.connect();
    // It may be refused before it was taken whole.
    let _ = client.try_send(&bytes);
    answers_within(&mut client, method, patience)
}

/// Says what comes until there is a final response.
pub fn answers(client: &mut Client, method: &str) -> String {
    answers_within(client, method, HANGS)
}

fn answers_within(client: &mut Client, method: &str, patience: Duration) -> String {
    let mut seen = String::new();
    loop {
        match client.read_within(method, patience) {
            Ok(response) => {
                seen += &line(&response, method);
                // After 101 other bytes follow.
                if response.code >= 200 || response.code == 101 {
                    return seen;
                }
                seen += "; ";
            }
            // What there was of it has a date.
            Err(reason) => return seen + reason.split(" after ").next().unwrap_or(&reason),
        }
    }
}

/// Completes a request as rows have it: lines without CR, content after an empty one. `Host` is added if it is missing, and a
/// length where there is content without one.
pub fn complete(request: &str) -> Vec<u8> {
    let (head, content) = request.split_once("\n\n").unwrap_or((request, ""));
    let has = |name: &str| head.lines().skip(1).any(|line| line.starts_with(name));
    let mut lines: Vec<String> = head.lines().map(str::to_string).collect();
    if !lines[0].contains(" HTTP/1.") {
        lines[0] += " HTTP/1.1";
    }
    if !has("Host:") && !lines[0].ends_with("HTTP/1.0") {
        lines.push("Host: a".to_string());
    }
    if !content.is_empty() && !has("Content-Length:") && !has("Transfer-Encoding:") {
        lines.push(format!("Content-Length: {}", content.len()));
    }
    // What is no text in a row stands as a character of ISO 8859-1.
    let head = lines.join("\r\n") + "\r\n\r\n";
    let mut bytes: Vec<u8> = head.chars().map(|char| u8::try_from(char).unwrap_or(b'?')).collect();
    bytes.extend_from_slice(content.as_bytes());
    bytes
}

/// Fields that a line shows, besides those that begin with `X-`.
const SHOWN: &[&str] = &[
    "Accept-Ranges",
    "Allow",
    "Content-Encoding",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Link",
    "Location",
    "Retry-After",
    "Server",
    "Set-Cookie",
    "Trailer",
    "Upgrade",
];

/// A response in one line: code, framing, `{its fields}`, and its content.
pub fn line(response: &Response, method: &str) -> String {
    let framing = match response.framing {
        Framing::None => "none",
        Framing::Length => "length",
        Framing::Chunked => "chunked",
        Framing::UntilClose => "until-close",
    };
    let mut line = format!("{} {framing}", response.code);
    if response.says_close() && !CLOSES.contains(&response.code) {
        line += " close";
    }
    if response.is_cut {
        line += " cut";
    }
    let is_shown = |name: &str| {
        let is_length = name.eq_ignore_ascii_case("Content-Length") && response.framing == Framing::None;
        is_length || name.starts_with("X-") || SHOWN.iter().any(|other| other.eq_ignore_ascii_case(name))
    };
    let content = content(response);
    // Whose page it is says nothing of the connectors.
    let is_own = |name: &str, value: &str| match name {
        "Server" => value.starts_with("tidegate/"),
        "Content-Type" | "Content-Length" => {
            content.starts_with("page of ") || (method == "HEAD" && response.code >= 400)
        }
        _ => false,
    };
    let shown = response.fields.iter().filter(|(name, value)| is_shown(name) && !is_own(name, value));
    let field = |(name, value): &(String, String)| match name.as_str() {
        // Of the moment.
        "ETag" | "Last-Modified" | "Retry-After" => name.clone(),
        _ => format!("{name}: {}", masked(value)),
    };
    let mut fields: Vec<String> = shown.map(field).collect();
    fields.sort();
    if !fields.is_empty() {
        line += &format!(" {{{}}}", fields.join(", "));
    }
    if !content.is_empty() {
        line += &format!(": {content}");
    }
    for (name, value) in &response.trailers {
        line += &format!(" + {name}: {value}");
    }
    line
}

/// Codes after which Tomcat's own connector closes the connection always, and tidegate where it must (see the probe
/// `connection after an error`).
const CLOSES: &[u16] = &[400, 408, 411, 413, 414, 500, 501, 503];

/// Content as a line shows it: long content by its length and a sum, an error page by its code, whether it is Tomcat's or
/// tidegate's (see the probe `page of an error`).
fn content(response: &Response) -> String {
    let text = response.text();
    let is_page = text.contains("<title>HTTP Status ")
        || text.starts_with(&format!("{} {}", response.code, response.reason));
    match text.len() {
        _ if is_page && response.code >= 400 => format!("page of {}", response.code),
        0..400 => masked(text.trim_end()).replace('\n', "/"),
        length => format!("{length} bytes, {:08x}", sum(text.as_bytes())),
    }
}

/// FNV-1a, which tells contents apart.
pub fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Replaces the names of sessions, which are new each time.
pub fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut run = String::new();
    for char in text.chars().chain([' ']) {
        if char.is_ascii_digit() || ('A'..='F').contains(&char) {
            run.push(char);
            continue;
        }
        masked += if run.len() == 32 { "SESSION" } else { &run };
        run.clear();
        masked.push(char);
    }
    masked.pop();
    masked
}
