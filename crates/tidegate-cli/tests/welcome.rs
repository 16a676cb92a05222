//! Tests the welcome application over sockets.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::thread;
use std::time::{Duration, Instant};

use support::process::{Answer, Program};

const FORM_TYPE: &str = "Content-Type: multipart/form-data; boundary=----WebKitFormBoundaryX";

/// A form of a browser with one text and one file.
fn form(text: &str, file: &[u8]) -> Vec<u8> {
    let start = format!(
        "------WebKitFormBoundaryX\r\nContent-Disposition: form-data; name=\"words\"\r\n\r\n{text}\
         \r\n------WebKitFormBoundaryX\r\nContent-Disposition: form-data; name=\"file\"; \
         filename=\"<b>.bin\"\r\nContent-Type: application/x-test\r\n\r\n"
    );
    [start.as_bytes(), file, b"\r\n------WebKitFormBoundaryX--\r\n"].concat()
}

#[test]
fn welcome_page_shows_the_environ_and_is_strict() {
    let program = Program::start(&[]);
    let answer = program.ask("GET", "/?q=<b>", &["User-Agent: <script>\"test\""], b"");
    let page = answer.text();
    assert_eq!(answer.code, 200);
    for row in [
        ">REQUEST_METHOD</th><td>GET<",
        ">QUERY_STRING</th><td>q=&lt;b&gt;<",
        ">REMOTE_ADDR</th><td>127.0.0.1<",
        ">HTTP_USER_AGENT</th><td>&lt;script&gt;&quot;test&quot;<",
        ">content</th><td>none<",
    ] {
        assert!(page.contains(row), "no {row} in {page}");
    }
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.field("Cache-Control"), Some("no-store"));
    assert!(answer.field("Content-Security-Policy").unwrap().contains("default-src 'none'"));
    for target in ["/style.css", "/icon.svg", "/stream", "/slow", "/upload", "/fail"] {
        assert!(page.contains(&format!("href=\"{target}\"")), "{target}");
    }
    assert_eq!(program.get("/style.css").field("Content-Type"), Some("text/css; charset=utf-8"));
    assert_eq!(program.get("/icon.svg").field("Content-Type"), Some("image/svg+xml"));
}

#[test]
fn other_paths_and_methods_are_refused_kindly() {
    let program = Program::start(&[]);
    let answer = program.get("/no/<script>");
    assert_eq!(answer.code, 404);
    assert!(answer.text().contains("/no/&lt;script&gt;"));
    let answer = program.ask("DELETE", "/", &[], b"");
    assert_eq!((answer.code, answer.field("Allow")), (405, Some("GET, HEAD")));
    let answer = program.ask("PATCH", "/upload", &[], b"x");
    assert_eq!((answer.code, answer.field("Allow")), (405, Some("GET, HEAD, POST, PUT")));
    assert_eq!(program.ask("OPTIONS", "*", &[], b"").code, 405);
    assert_eq!(program.get("http://other.example").code, 200);
    let answer = program.ask("HEAD", "/", &[], b"");
    assert_eq!((answer.code, answer.content.len()), (200, 0));
}

#[test]
fn stream_arrives_line_by_line() {
    let program = Program::start(&[]);
    let mut stream = program.connect();
    let request = "GET /stream HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let arrivals: Vec<Instant> = BufReader::new(stream)
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with("<li>"))
        .map(|_| Instant::now())
        .collect();
    assert_eq!(arrivals.len(), 10);
    // Had they come together, there would be no time between them.
    assert!(arrivals[9].duration_since(arrivals[0]) > Duration::from_secs(1));
}

#[test]
fn late_answer_keeps_nobody_waiting() {
    let program = Program::start(&[]);
    let start = Instant::now();
    let late = thread::scope(|scope| {
        let late = scope.spawn(|| {
            let answer = program.get("/slow");
            (answer, Instant::now())
        });
        let mut served_before = 0;
        while !late.is_finished() {
            assert_eq!(program.get("/").code, 200);
            served_before += 1;
            thread::sleep(Duration::from_millis(20));
        }
        assert!(served_before > 2);
        late.join().unwrap()
    });
    assert_eq!(late.0.code, 200);
    assert!(late.1.duration_since(start) >= Duration::from_millis(1_900));
}

#[test]
fn upload_is_shown_as_it_arrived() {
    let program = Program::start(&[]);
    let answer = program.ask("POST", "/upload", &[FORM_TYPE], &form("a <tide>", b"123456789"));
    let page = answer.text();
    assert_eq!(answer.code, 200, "{page}");
    for text in [
        ">content type</th><td>multipart/form-data; boundary=----WebKitFormBoundaryX<",
        &format!(">length</th><td>{} bytes<", form("a <tide>", b"123456789").len()),
        "name=&quot;words&quot;",
        "a &lt;tide&gt;",
        "filename=&quot;&lt;b&gt;.bin&quot;",
        "123456789",
    ] {
        assert!(page.contains(text), "no {text} in {page}");
    }
    let page = program.ask("PUT", "/upload", &["Content-Type: text/x"], b"<script>").text();
    assert!(page.contains("<td>text/x<") && page.contains("<pre>&lt;script&gt;</pre>"), "{page}");
    let page = program.ask("POST", "/upload", &[], b"").text();
    assert!(page.contains(">length</th><td>0 bytes<"), "{page}");
}

#[test]
fn long_upload_is_read_from_its_temporary_file() {
    let program = Program::start(&["--body-memory-max", "64k"]);
    let page = program.ask("POST", "/upload", &[], &b"tide".repeat(2_000_000)).text();
    assert!(page.contains(">length</th><td>8000000 bytes<"), "{page}");
    assert!(page.contains(&format!("<pre>{} …</pre>", "tide".repeat(256))), "{page}");
}

#[test]
fn failure_harms_nobody() {
    let program = Program::start(&[]);
    let mut beside = program.connect();
    assert_eq!(program.get("/fail").code, 500);
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    beside.write_all(request.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut beside).code, 200);
}
