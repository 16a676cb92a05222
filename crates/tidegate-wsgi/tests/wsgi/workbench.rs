//! Tests the contract of the workbench (see `examples/workbench.rs`) against its WSGI edition.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::environment;
use super::served::{Mode, Served};
use super::support::loopback::{End, noise};

pub fn play(mode: Mode) {
    let served = Served::start_with("workbench:application", mode, |command| {
        command.current_dir(environment::root().join("examples/wsgi"));
    });
    check_tables(&served);
    check_echo(&served);
    check_environ(&served);
    check_large(&served);
    check_old_client(&served);
    check_headers(&served);
    check_sleep(&served);
    assert_eq!(served.get("/plaintext").to_string(), "200 length: Hello, World!");
}

fn check_tables(served: &Served) {
    for (target, expected) in [
        ("/plaintext", "200 length: Hello, World!"),
        ("/json", r#"200 length: {"message":"Hello, World!"}"#),
        ("/echo", "200 length"),
        ("/bytes?n=0", "200 length"),
        ("/bytes?n=5", "200 length: xxxxx"),
        ("/stream?chunks=3&size=2", "200 chunked: xxxxxx"),
        ("/status?code=200", "200 length"),
        ("/status?code=204", "204 none"),
        ("/status?code=304", "304 none"),
        ("/status?code=404", "404 length"),
        ("/status?code=599", "599 length"),
        ("/status?code=199", "400 length: Bad Request\n"),
        ("/status?code=600", "400 length: Bad Request\n"),
        ("/bytes", "400 length: Bad Request\n"),
        ("/bytes?n=-1", "400 length: Bad Request\n"),
        ("/bytes?n=99999999999999999999999", "400 length: Bad Request\n"),
        ("/stream?chunks=1", "400 length: Bad Request\n"),
        ("/sleep?ms=x", "400 length: Bad Request\n"),
        ("/sleep?ms=0", "200 length: slept 0"),
        ("/fail-midway", "200 chunked cut: begin"),
        ("/missing", "404 length: Not Found\n"),
        ("/", "404 length: Not Found\n"),
    ] {
        assert_eq!(served.get(target).to_string(), expected, "{target}");
    }
    // That there is nothing may be known beforehand.
    for target in ["/stream?chunks=0&size=2", "/stream?chunks=2&size=0"] {
        let answer = served.get(target);
        assert_eq!((answer.code, answer.content.len(), answer.is_cut), (200, 0, false), "{target}");
    }
    for (target, kind) in [("/plaintext", "text/plain"), ("/json", "application/json")] {
        assert_eq!(served.get(target).field("Content-Type"), Some(kind));
    }
    for (target, length) in [("/plaintext", Some("13")), ("/bytes?n=70000", Some("70000"))] {
        let mut client = served.connect();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.read("HEAD").field("Content-Length"), length);
        assert_eq!(client.get("/plaintext").text(), "Hello, World!");
    }
    assert_eq!(served.get("/fail").code, 500);
    let refused = served.ask("POST /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((refused.code, refused.field("Allow")), (405, Some("GET, HEAD")));
    let missing = served.ask("POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(missing.to_string(), "404 length: Not Found\n");
    assert_eq!(served.get("/plain%74ext").to_string(), "200 length: Hello, World!");
}

fn check_echo(served: &Served) {
    for size in [0, 1, 13, 16_384, 16_385, 600_000, 3_000_000] {
        let content = noise(7, size);
        let head =
            format!("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: {size}\r\n\r\n");
        let answer = served.ask([head.as_bytes(), &content].concat());
        assert_eq!((answer.code, answer.field("Content-Type")), (200, Some("a/b")));
        assert_eq!(answer.field("Content-Length"), Some(&*size.to_string()));
        assert!(answer.content == content, "{size}");
    }
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = served.ask(chunked);
    assert_eq!(answer.to_string(), "200 length: abcde");
    assert_eq!(answer.field("Content-Type"), Some("application/octet-stream"));
}

fn check_environ(served: &Served) {
    let answer =
        served.ask("PUT /environ?a=%20b HTTP/1.1\r\nHost: a:80\r\nX-Y: z\r\nContent-Length: 3\r\n\r\nabc");
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
    let answer = served.ask(b"GET /%65nviron HTTP/1.1\r\nHost: a\r\nX-Y: \xe9\xff\r\n\r\n");
    let environ: Value = serde_json::from_slice(&answer.content).unwrap();
    assert_eq!((&environ["PATH_INFO"], &environ["HTTP_X_Y"]), (&"/environ".into(), &"\u{e9}\u{ff}".into()));
    let other: Value = serde_json::from_slice(&served.get("/environ").content).unwrap();
    assert_eq!((&other["HTTP_X_Y"], &other["body_length"]), (&Value::Null, &"0".into()));
}

fn check_large(served: &Served) {
    let bytes = served.get("/bytes?n=20000001");
    assert_eq!((bytes.content.len(), bytes.is_cut), (20_000_001, false));
    let stream = served.get("/stream?chunks=1000&size=10000");
    assert_eq!((stream.content.len(), stream.is_cut), (10_000_000, false));
    assert!(stream.content.iter().chain(&bytes.content).all(|byte| *byte == b'x'));
}

fn check_old_client(served: &Served) {
    let stream = served.ask("GET /stream?chunks=3&size=2 HTTP/1.0\r\n\r\n");
    assert_eq!((stream.field("Transfer-Encoding"), stream.text().as_str()), (None, "xxxxxx"));
    let mut client = served.connect();
    client.send("GET /fail-midway HTTP/1.0\r\n\r\n");
    assert_eq!(client.read_to_end().1, End::Reset);
}

fn check_headers(served: &Served) {
    assert_eq!(served.get("/header?name=X-A&value=b%20c").field("X-A"), Some("b c"));
    for query in [
        "name=X-A&value=b%0D%0AX-Injected:1",
        "name=X-A&value=b%0AX-Injected:1",
        "name=X-A&value=b%00c",
        "name=X%0D%0A-A&value=b",
        "name=X%20A&value=b",
        "name=&value=b",
    ] {
        let answer = served.get(&format!("/header?{query}"));
        assert_eq!((answer.code, answer.field("X-Injected")), (500, None), "{query}");
    }
}

/// A view that sleeps leaves others to be served, if the application runs on threads.
fn check_sleep(served: &Served) {
    let mut client = served.connect();
    let start = Instant::now();
    client.send("GET /sleep?ms=500 HTTP/1.1\r\nHost: a\r\n\r\n");
    if served.mode == Mode::Threads {
        let mut sleepers: Vec<_> = (0..2).map(|_| served.connect()).collect();
        sleepers.iter_mut().for_each(|other| other.send("GET /sleep?ms=500 HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(served.get("/plaintext").code, 200);
        assert!(client.is_quiet_for(Duration::from_millis(1)), "slept less than it took to ask");
        sleepers.iter_mut().for_each(|other| assert_eq!(other.read("GET").text(), "slept 500"));
    }
    assert_eq!(client.read("GET").to_string(), "200 length: slept 500");
    assert!(start.elapsed() >= Duration::from_millis(500));
}
