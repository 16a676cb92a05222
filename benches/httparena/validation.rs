//! Plays the checks of HttpArena's validation against an entry that runs (its `scripts/validate.sh`, for `baseline`,
//! `limited-conn`, `pipelined`, `json`, `upload` and `static`), and some that its profiles imply.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::data::{self, CODINGS, FILES};
use super::support::loopback::Client;
use super::support::response::Response;
use super::support::temp_folder::TempFolder;

/// The pause between the fragments of a request.
const PAUSE: Duration = Duration::from_millis(30);
/// Connections whose requests come in fragments at the same time.
const FRAGMENTED: usize = 512;
/// The codings that the load generator accepts with each request for a file.
const CODINGS_TAKEN: &str = "Accept-Encoding: br;q=1, gzip;q=0.8";

/// A running entry, and the folder that it reads.
pub struct Entry<'a> {
    pub address: SocketAddr,
    pub data: &'a TempFolder,
}

/// One part of the validation.
pub type Check = fn(&Entry<'_>);

/// Makes the folder that an entry reads.
pub fn make_data() -> TempFolder {
    let folder = TempFolder::new();
    data::write(folder.path()).unwrap();
    folder
}

impl Entry<'_> {
    /// Sends a request in fragments, and returns the answer.
    fn ask(&self, fragments: &[&str]) -> Response {
        let mut client = Client::connect(self.address);
        self.send(&mut client, fragments);
        client.read(fragments[0].split(' ').next().unwrap_or_default())
    }

    fn send(&self, client: &mut Client, fragments: &[&str]) {
        for (at, fragment) in fragments.iter().enumerate() {
            if at > 0 {
                thread::sleep(PAUSE);
            }
            client.send(fragment);
        }
    }

    fn get(&self, target: &str, field: &str) -> Response {
        let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
        self.ask(&[&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n")])
    }

    fn post(&self, target: &str, content: impl AsRef<[u8]>) -> Response {
        let content = content.as_ref();
        let mut client = Client::connect(self.address);
        let length = content.len();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"));
        client.send(content);
        client.read("POST")
    }

    fn post_chunked(&self, target: &str, chunks: &[&[u8]]) -> Response {
        let mut request =
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
                .into_bytes();
        for chunk in chunks {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let mut client = Client::connect(self.address);
        client.send(request);
        client.read("POST")
    }

    fn file(&self, name: &str, field: &str) -> Response {
        self.get(&format!("/static/{name}"), field)
    }
}

fn expect(response: &Response, media_type: &str, content: &str) {
    assert_eq!((response.code, &*response.text()), (200, content), "{response:?}");
    expect_type(response, media_type);
}

/// Its parameters do not matter, and scripts have an old name, too.
fn expect_type(response: &Response, expected: &str) {
    let found = response.field("Content-Type").unwrap_or_default();
    let name =
        found.split(';').next().unwrap_or_default().replace("application/javascript", "text/javascript");
    assert_eq!(name, expected, "{response:?}");
}

fn expect_number(response: &Response, expected: impl ToString) {
    expect(response, "text/plain", &expected.to_string());
}

pub fn sums(entry: &Entry<'_>) {
    expect_number(&entry.get("/baseline11?a=13&b=42", ""), 55);
    expect_number(&entry.post("/baseline11?a=13&b=42", "20"), 75);
    expect_number(&entry.post_chunked("/baseline11?a=13&b=42", &[b"20"]), 75);
    // Nobody has seen these numbers before.
    let (a, b) = (i64::from(std::process::id() % 900 + 100), i64::from(entry.address.port() % 900 + 100));
    expect_number(&entry.get(&format!("/baseline11?a={a}&b={b}"), ""), a + b);
    expect_number(&entry.get(&format!("/baseline11?b={b}&a=-{a}"), ""), b - a);
    for content in [a, b] {
        let (first, second) = (content.to_string(), "\n");
        expect_number(&entry.post("/baseline11?a=13&b=42", &first), 55 + content);
        let chunks = [first.as_bytes(), second.as_bytes()];
        expect_number(&entry.post_chunked("/baseline11?a=13&b=42", &chunks), 55 + content);
    }
}

pub fn fragments(entry: &Entry<'_>) {
    let head = "POST /baseline11?a=13&b=42 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
                Content-Length: 2\r\nConnection: close\r\n\r\n";
    let line = "GET /baseline11?a=13&b=42 HTTP/1.1\r\n";
    let rest = "Host: localhost\r\nConnection: close\r\n\r\n";
    expect_number(&entry.ask(&["GET /baseli", "ne11?a=13&b=42 HTTP/1.1\r\n", rest]), 55);
    let fields = ["Host: localhost\r\n", "User-Agent: arena-frag/1.0\r\n", "Connection: close\r\n\r\n"];
    expect_number(&entry.ask(&[line, fields[0], fields[1], fields[2]]), 55);
    expect_number(&entry.ask(&[head, "20"]), 75);
    expect_number(&entry.ask(&[head, "2", "0"]), 75);
}

/// Each of many connections has sent a part of its request before one sends the next.
pub fn fragments_of_many(entry: &Entry<'_>) {
    let mut clients: Vec<_> = (0..FRAGMENTED).map(|_| Client::connect(entry.address)).collect();
    let request =
        ["POST /baseline11?a=1", "3&b=42 HTTP/1.1\r\nHost: localhost\r\nContent-Le", "ngth: 2\r\n\r\n2", "0"];
    for fragment in request {
        clients.iter_mut().for_each(|client| client.send(fragment));
        thread::sleep(PAUSE);
    }
    for client in &mut clients {
        expect_number(&client.read("POST"), 75);
    }
}

pub fn pipeline(entry: &Entry<'_>) {
    let mut client = Client::connect(entry.address);
    for depth in [1, 16] {
        client.send("GET /pipeline HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(depth));
        (0..depth).for_each(|_| expect(&client.read("GET"), "text/plain", "ok"));
    }
}

/// A connection is given up after ten requests, and another one comes.
pub fn limited_connections(entry: &Entry<'_>) {
    for _ in 0..50 {
        let mut client = Client::connect(entry.address);
        for b in 0..10 {
            expect_number(&client.get(&format!("/baseline11?a=13&b={b}")), 13 + b);
        }
    }
}

pub fn json(entry: &Entry<'_>) {
    // Those of the validation, and those of the load.
    let asked =
        [(12, 3), (22, 7), (31, 2), (50, 5), (1, 3), (5, 7), (10, 2), (15, 5), (25, 4), (40, 8), (50, 6)];
    for (count, multiplier) in asked {
        let response = entry.get(&format!("/json/{count}?m={multiplier}"), "");
        assert_eq!(response.code, 200, "{response:?}");
        expect_type(&response, "application/json");
        let page: Value = serde_json::from_slice(&response.content).unwrap();
        assert_eq!(page["count"], count);
        let items = page["items"].as_array().unwrap();
        assert_eq!(items.len(), count);
        for (at, item) in items.iter().enumerate() {
            let (price, quantity) = data::price_and_quantity(at);
            assert_eq!((&item["price"], &item["quantity"]), (&price.into(), &quantity.into()), "{item}");
            assert_eq!(
                (&item["id"], &item["total"]),
                (&(at + 1).into(), &(price * quantity * multiplier).into())
            );
            let has = |name: &str| item.get(name).is_some();
            assert!(has("name") && has("category") && item["tags"].is_array(), "{item}");
            assert!(item["active"].is_boolean(), "{item}");
            assert!(item["rating"]["score"].is_number() && item["rating"]["count"].is_number(), "{item}");
        }
    }
}

pub fn uploads(entry: &Entry<'_>) {
    let text = "Hello, HttpArena!";
    expect_number(&entry.post("/upload", text), text.len());
    for bytes in [0, 48, 512_000, 2_097_152, 10_485_760, 20_971_520] {
        expect_number(&entry.post("/upload", data::content("upload", bytes)), bytes);
    }
    // Its length stands nowhere.
    let content = data::content("chunk", 1_000_000);
    let chunks: Vec<_> = content.chunks(70_001).collect();
    expect_number(&entry.post_chunked("/upload", &chunks), content.len());
    // The connection is good for another one.
    let mut client = Client::connect(entry.address);
    for bytes in [600_000, 3] {
        let head = format!("POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n");
        client.send([head.into_bytes(), data::content("upload", bytes)].concat());
        expect_number(&client.read("POST"), bytes);
    }
}

pub fn files(entry: &Entry<'_>) {
    for file in &FILES {
        let plain = entry.file(file.name, "");
        assert_eq!((plain.code, plain.field("Content-Encoding")), (200, None), "{}", file.name);
        assert_eq!(plain.content, data::content(file.name, file.bytes), "{}", file.name);
        expect_type(&plain, file.media_type);
        for (field, at) in [(CODINGS_TAKEN, 0), ("Accept-Encoding: deflate, gzip", 1)] {
            let coded = entry.file(file.name, field);
            let (ending, coding) = CODINGS[at];
            let (name, bytes) = (format!("{}.{ending}", file.name), file.coded_bytes[at]);
            let (expected, content) = match bytes {
                0 => (None, data::content(file.name, file.bytes)),
                _ => (Some(coding), data::content(&name, bytes)),
            };
            assert_eq!((coded.code, coded.field("Content-Encoding")), (200, expected), "{name}");
            assert!(coded.content == content, "{name}");
            expect_type(&coded, file.media_type);
        }
    }
    assert_eq!(entry.file("nonexistent.txt", "").code, 404);
    assert_eq!(entry.file("../dataset.json", "").code, 404);
}

/// A file that is put in the place of another is sent from then on.
pub fn files_are_fresh(entry: &Entry<'_>) {
    let name = "reset.css";
    let asked = [("", ""), (".br", CODINGS_TAKEN), (".gz", "Accept-Encoding: gzip")];
    for round in 0..3 {
        for (ending, field) in asked {
            let path = entry.data.path().join(format!("static/{name}{ending}"));
            let content = format!("/* {round} {ending} {} */", entry.address.port());
            if round > 0 {
                fs::write(path, &content).unwrap();
            }
            let response = entry.file(name, field);
            assert_eq!(response.code, 200);
            assert_eq!(round > 0, response.text() == content, "{response:?}");
        }
    }
}
