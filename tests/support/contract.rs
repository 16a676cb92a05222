//! The contract of the workbench, route by route (see `examples/workbench.rs`), which each of its editions keeps: Rust, WSGI
//! and servlet. README shows a table of route and adapter; [`check_column`] fails where it says something else.

use std::fs;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::loopback::{Client, End, noise};
use super::response::Response;

/// A running edition of the workbench.
#[derive(Clone, Copy)]
pub struct Edition {
    pub address: SocketAddr,
    /// Whether others are served while its application sleeps.
    pub serves_beside_sleepers: bool,
    /// Whether it can reset a connection, so that an answer without a length is seen to be broken off.
    pub resets: bool,
}

/// The cell of README's table for a route that is as the contract says.
const KEPT: &str = "✓";

/// A route, as README's table has it, and what it must do.
type Route = (&'static str, fn(&Edition));

const ROUTES: &[Route] = &[
    ("/plaintext", plaintext),
    ("/json", json),
    ("/echo", echo),
    ("/environ", environ),
    ("/bytes", bytes),
    ("/stream", stream),
    ("/sleep", sleep),
    ("/status", status),
    ("/fail", fail),
    ("/fail-midway", fail_midway),
    ("/header", header),
];

/// The breaches of the contract, each after its route; none for a route that keeps it.
pub fn play(edition: &Edition) -> Vec<(&'static str, Option<String>)> {
    let outcome = |check: fn(&Edition)| {
        let panic = catch_unwind(AssertUnwindSafe(|| check(edition))).err()?;
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Some(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_string())
    };
    ROUTES.iter().map(|(route, check)| (*route, outcome(*check))).collect()
}

/// Asserts that an edition keeps the contract, and that README's column for its adapter says so.
pub fn check_column(adapter: &str, edition: &Edition) {
    let outcome = play(edition);
    let broken: Vec<_> = outcome.iter().filter(|(_, wrong)| wrong.is_some()).collect();
    assert!(broken.is_empty(), "{adapter}: {broken:#?}");
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("ARCHITECTURE.md").exists()).expect("the root");
    let column = column(&fs::read_to_string(root.join("README.md")).unwrap(), adapter);
    let found: Vec<(String, String)> =
        outcome.iter().map(|(route, _)| (format!("`{route}`"), KEPT.to_string())).collect();
    assert_eq!(column, found, "README's table has another column for {adapter}");
}

/// Route and cell of each row, in the column with this heading.
fn column(readme: &str, adapter: &str) -> Vec<(String, String)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
    };
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("| route |"));
    let heads = cells(lines.next().expect("a table of routes in README"));
    let at = heads.iter().position(|head| head == adapter).expect("a column for the adapter");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    rows.map(|row| (row[0].clone(), row[at].clone())).collect()
}

impl Edition {
    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    fn get(&self, target: &str) -> Response {
        self.connect().get(target)
    }

    fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let request = request.as_ref();
        let method = request.split(|byte| *byte == b' ').next().unwrap_or_default();
        let mut client = self.connect();
        // It may be refused before it was taken whole.
        let _ = client.try_send(request);
        client.read(&String::from_utf8_lossy(method))
    }

    fn rows(&self, rows: &[(&str, &str)]) {
        for (target, expected) in rows {
            assert_eq!(self.get(target).to_string(), *expected, "{target}");
        }
    }

    /// Asserts that HEAD says what GET would, and nothing after it.
    fn head(&self, target: &str, length: &str) {
        let mut client = self.connect();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.read("HEAD").field("Content-Length"), Some(length), "HEAD {target}");
        assert_eq!(client.get("/plaintext").text(), "Hello, World!");
    }

    /// Asserts that the server lives.
    fn lives(&self) {
        self.rows(&[("/plaintext", "200 length: Hello, World!")]);
    }
}

fn plaintext(edition: &Edition) {
    edition.rows(&[
        ("/plaintext", "200 length: Hello, World!"),
        ("/plain%74ext", "200 length: Hello, World!"),
        ("/missing", "404 length: Not Found\n"),
        ("/", "404 length: Not Found\n"),
    ]);
    assert_eq!(edition.get("/plaintext").field("Content-Type"), Some("text/plain"));
    edition.head("/plaintext", "13");
    let refused = edition.ask("POST /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((refused.code, refused.field("Allow")), (405, Some("GET, HEAD")));
    let missing = edition.ask("POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(missing.to_string(), "404 length: Not Found\n");
}

fn json(edition: &Edition) {
    edition.rows(&[("/json", r#"200 length: {"message":"Hello, World!"}"#)]);
    assert_eq!(edition.get("/json").field("Content-Type"), Some("application/json"));
}

fn echo(edition: &Edition) {
    edition.rows(&[("/echo", "200 length")]);
    for size in [0, 1, 13, 16_384, 16_385, 600_000, 3_000_000] {
        let content = noise(7, size);
        let head =
            format!("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: {size}\r\n\r\n");
        let answer = edition.ask([head.as_bytes(), &content].concat());
        assert_eq!((answer.code, answer.field("Content-Type")), (200, Some("a/b")));
        assert_eq!(answer.field("Content-Length"), Some(&*size.to_string()));
        assert!(answer.content == content, "{size}");
    }
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = edition.ask(chunked);
    assert_eq!(answer.to_string(), "200 length: abcde");
    assert_eq!(answer.field("Content-Type"), Some("application/octet-stream"));
}

fn environ(edition: &Edition) {
    let answer =
        edition.ask("PUT /environ?a=%20b HTTP/1.1\r\nHost: a:80\r\nX-Y: z\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(answer.field("Content-Type"), Some("application/json"));
    let environ: Value = serde_json::from_slice(&answer.content).unwrap();
    assert!(environ.as_object().unwrap().values().all(Value::is_string), "{environ}");
    for (name, expected) in [
        ("REQUEST_METHOD", "PUT"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/environ"),
        ("QUERY_STRING", "a=%20b"),
        ("CONTENT_LENGTH", "3"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_HOST", "a:80"),
        ("HTTP_X_Y", "z"),
        ("body_length", "3"),
    ] {
        assert_eq!(environ[name], expected, "{name}");
    }
    for name in ["SERVER_NAME", "SERVER_PORT", "REMOTE_PORT"] {
        assert!(!environ[name].as_str().unwrap().is_empty(), "{name}");
    }
    let answer = edition.ask(b"GET /%65nviron HTTP/1.1\r\nHost: a\r\nX-Y: \xe9\xff\r\n\r\n");
    let environ: Value = serde_json::from_slice(&answer.content).unwrap();
    assert_eq!((&environ["PATH_INFO"], &environ["HTTP_X_Y"]), (&"/environ".into(), &"\u{e9}\u{ff}".into()));
    let other: Value = serde_json::from_slice(&edition.get("/environ").content).unwrap();
    assert_eq!((&other["HTTP_X_Y"], &other["body_length"]), (&Value::Null, &"0".into()));
}

fn bytes(edition: &Edition) {
    edition.rows(&[
        ("/bytes?n=0", "200 length"),
        ("/bytes?n=5", "200 length: xxxxx"),
        ("/bytes", "400 length: Bad Request\n"),
        ("/bytes?n=-1", "400 length: Bad Request\n"),
        ("/bytes?n=99999999999999999999999", "400 length: Bad Request\n"),
    ]);
    edition.head("/bytes?n=70000", "70000");
    let bytes = edition.get("/bytes?n=20000001");
    assert_eq!((bytes.content.len(), bytes.is_cut), (20_000_001, false));
    assert!(bytes.content.iter().all(|byte| *byte == b'x'));
}

fn stream(edition: &Edition) {
    edition.rows(&[
        ("/stream?chunks=3&size=2", "200 chunked: xxxxxx"),
        ("/stream?chunks=1", "400 length: Bad Request\n"),
    ]);
    // That there is nothing may be known beforehand.
    for target in ["/stream?chunks=0&size=2", "/stream?chunks=2&size=0"] {
        let answer = edition.get(target);
        assert_eq!((answer.code, answer.content.len(), answer.is_cut), (200, 0, false), "{target}");
    }
    let stream = edition.get("/stream?chunks=1000&size=10000");
    assert_eq!((stream.content.len(), stream.is_cut), (10_000_000, false));
    assert!(stream.content.iter().all(|byte| *byte == b'x'));
    let stream = edition.ask("GET /stream?chunks=3&size=2 HTTP/1.0\r\n\r\n");
    assert_eq!((stream.field("Transfer-Encoding"), stream.text().as_str()), (None, "xxxxxx"));
}

/// A view that sleeps leaves others to be served, if the application runs on threads.
fn sleep(edition: &Edition) {
    edition.rows(&[("/sleep?ms=x", "400 length: Bad Request\n"), ("/sleep?ms=0", "200 length: slept 0")]);
    let mut client = edition.connect();
    let start = Instant::now();
    client.send("GET /sleep?ms=500 HTTP/1.1\r\nHost: a\r\n\r\n");
    if edition.serves_beside_sleepers {
        let mut sleepers: Vec<_> = (0..2).map(|_| edition.connect()).collect();
        sleepers.iter_mut().for_each(|other| other.send("GET /sleep?ms=500 HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(edition.get("/plaintext").code, 200);
        assert!(client.is_quiet_for(Duration::from_millis(1)), "slept less than it took to ask");
        sleepers.iter_mut().for_each(|other| assert_eq!(other.read("GET").text(), "slept 500"));
    }
    assert_eq!(client.read("GET").to_string(), "200 length: slept 500");
    assert!(start.elapsed() >= Duration::from_millis(500));
}

fn status(edition: &Edition) {
    edition.rows(&[
        ("/status?code=200", "200 length"),
        ("/status?code=204", "204 none"),
        ("/status?code=304", "304 none"),
        ("/status?code=404", "404 length"),
        ("/status?code=599", "599 length"),
        ("/status?code=199", "400 length: Bad Request\n"),
        ("/status?code=600", "400 length: Bad Request\n"),
    ]);
}

fn fail(edition: &Edition) {
    assert_eq!(edition.get("/fail").code, 500);
    edition.lives();
}

fn fail_midway(edition: &Edition) {
    edition.rows(&[("/fail-midway", "200 chunked cut: begin")]);
    let mut client = edition.connect();
    client.send("GET /fail-midway HTTP/1.0\r\n\r\n");
    assert_eq!(client.read_to_end().1, if edition.resets { End::Reset } else { End::Fin });
    edition.lives();
}

fn header(edition: &Edition) {
    assert_eq!(edition.get("/header?name=X-A&value=b%20c").field("X-A"), Some("b c"));
    for query in [
        "name=X-A&value=b%0D%0AX-Injected:1",
        "name=X-A&value=b%0AX-Injected:1",
        "name=X-A&value=b%00c",
        "name=X%0D%0A-A&value=b",
        "name=X%20A&value=b",
        "name=&value=b",
    ] {
        let answer = edition.get(&format!("/header?{query}"));
        assert_eq!((answer.code, answer.field("X-Injected")), (500, None), "{query}");
    }
}
