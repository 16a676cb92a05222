//! Tests the access logs of a running server: their lines tell of exchanges that have taken place.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use support::loopback::{Answer, PATIENCE, Running, serve_gateway, serve_with};
use support::temp_folder::TempFolder;
use tidegate::access_log::AccessLog;
use tidegate::gateway::Admission;
use tidegate::limits::Limits;
use tidegate::{Environ, Gateway, GatewayError, Server, StartResponse};
use tidegate_logs::{FormattedLog, JsonLog, LogFile, LogFormat};

/// The writer of a log in these tests.
struct Channel(Sender<String>);

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // The test may have ended before its server.
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines that a log has written.
struct Written {
    writes: Receiver<String>,
    lines: Vec<String>,
}

impl Written {
    /// The next line.
    fn next(&mut self) -> String {
        if self.lines.is_empty() {
            let written = self.writes.recv_timeout(PATIENCE).expect("a line in the access log");
            self.lines.extend(written.lines().map(str::to_string));
        }
        self.lines.remove(0)
    }
}

/// Serves with the log that `log` makes, and returns what that writes.
fn serve<L, F>(log: impl FnOnce(Channel) -> L, gateway: F) -> (Running, Written)
where
    L: AccessLog + Send + 'static,
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + 'static,
{
    let (sender, writes) = mpsc::channel();
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).access_log(log(Channel(sender)));
    (serve_with(server, gateway), Written { writes, lines: Vec::new() })
}

#[test]
fn application_that_blocks_the_loop_is_in_the_duration() {
    let pause = Duration::from_millis(50);
    let (server, mut written) = serve(JsonLog::new, move |environ, start_response| {
        if environ.path() == "/slow" {
            thread::sleep(pause);
        }
        start_response.status(200).send("done")
    });
    let mut client = server.connect();
    for (target, is_slow) in [("/slow", true), ("/fast", false), ("/slow", true)] {
        client.get(target);
        let record: serde_json::Value = serde_json::from_str(&written.next()).unwrap();
        assert_eq!(record["target"], target);
        let duration = record["duration"].as_f64().unwrap();
        // A loaded machine may take as long for anything; less than the pause it can never be.
        assert!(!is_slow || duration >= pause.as_secs_f64(), "{target}: {duration}");
        assert!(duration < PATIENCE.as_secs_f64(), "{target}: {duration}");
    }
}

/// Answers by path, as the next test needs it.
fn answer(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
    let later = |start_response: StartResponse<'_>| {
        start_response.status(202).field("X-Kind", "later").send("in the end")
    };
    match &*environ.path() {
        "/later" => Ok(start_response.at(environ.now(), later)),
        "/replaced" => {
            let first = start_response.status(200).field("X-Kind", "first").start()?;
            first.replace()?.status(404).field("X-Other", "second").send("not here")
        }
        "/fails" => {
            start_response.status(200).field("X-Kind", "lost").start()?;
            Err(GatewayError::new("it does not work"))
        }
        "/long" => {
            let head = start_response.status(200).field("x-kind", "long").field("X-KIND", "twice");
            head.send(vec![b'x'; 100_000])
        }
        _ => start_response.status(200).send("X-Kind: content\r\n"),
    }
}

#[test]
fn formatted_log_shows_the_fields_and_variables_that_it_names() {
    let format = "%(m)s %(U)s %(s)s %(B)s|%({X-Id}i)s|%({X-Kind}o)s|%({Content-Type}o)s|%({Content-Length}o)s|\
                  %({connection}o)s|%({HTTP_HOST}e)s|%({request_uri}e)s|%({NONE}e)s";
    let (server, mut written) = serve(|channel| FormattedLog::new(format.parse().unwrap(), channel), answer);
    let error_type = "text/plain; charset=utf-8";
    let refused = |line: &str| format!("{line} LENGTH|-|-|{error_type}|LENGTH|close|-|-|-");
    for (request, expected) in [
        (
            "GET /a%20b?c HTTP/1.1\r\nHost: h\r\nx-id: 1\r\nX-Id: 2\r\n\r\n",
            "GET /a b 200 17|1|-|-|17|-|h|/a%20b?c|-".to_string(),
        ),
        ("GET /later HTTP/1.1\r\nHost: h\r\n\r\n", "GET /later 202 10|-|later|-|10|-|h|/later|-".to_string()),
        (
            "GET /replaced HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /replaced 404 8|-|-|-|8|-|h|/replaced|-".to_string(),
        ),
        (
            "GET /long HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /long 200 100000|-|long|-|100000|-|h|/long|-".to_string(),
        ),
        (
            "GET /fails HTTP/1.1\r\nHost: h\r\nX-Id: \"\r\n\r\n",
            format!("GET /fails 500 51|\\x22|-|{error_type}|51|close|h|/fails|-"),
        ),
        (
            "POST /in HTTP/1.1\r\nHost: h\r\nX-Id: 3\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n",
            format!("POST /in 400 LENGTH|3|-|{error_type}|LENGTH|close|h|/in|-"),
        ),
        // Of a head that cannot be read, its request line may be; variables belong to a request.
        ("GET /x HTTP/1.1\r\nno field\r\n\r\n", refused("GET - 400")),
        ("GET /x  HTTP/1.1\r\nHost: h\r\n\r\n", refused("- - 400")),
    ] {
        let mut client = server.connect();
        client.send(request);
        let response = client.read("GET");
        let expected = expected.replace("LENGTH", &response.content.len().to_string());
        assert_eq!(written.next(), expected, "{request:?}");
    }
}

/// Refuses by the head alone.
struct Refusing;

impl Gateway for Refusing {
    fn call(&mut self, _: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
        start_response.status(405).field("Allow", "GET").send("no")
    }

    fn admit(&self, _: &Environ<'_>) -> Admission {
        Admission::FromHead
    }
}

#[test]
fn answer_by_the_head_alone_stands_in_the_log_as_others_do() {
    let (sender, writes) = mpsc::channel();
    let format: LogFormat =
        "%(m)s %(U)s %(s)s %(B)s|%({X-Id}i)s|%({Allow}o)s|%({CONTENT_LENGTH}e)s".parse().unwrap();
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    let server = serve_gateway(server.access_log(FormattedLog::new(format, Channel(sender))), Refusing);
    let mut written = Written { writes, lines: Vec::new() };
    let mut client = server.connect();
    client.send("PUT /in HTTP/1.1\r\nHost: h\r\nX-Id: 3\r\nContent-Length: 500\r\n\r\nab");
    assert_eq!(client.read("PUT").code, 405);
    assert_eq!(written.next(), "PUT /in 405 2|3|GET|500");
}

#[test]
fn request_whose_head_is_refused_is_logged_with_its_line() {
    let format: LogFormat = "%(r)s|%(s)s".parse().unwrap();
    let (sender, writes) = mpsc::channel();
    let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = Server::new().limits(limits).listen("127.0.0.1:0".parse().unwrap());
    let server = serve_with(server.access_log(FormattedLog::new(format, Channel(sender))), answer);
    let mut written = Written { writes, lines: Vec::new() };
    let mut late = server.connect();
    late.send("GET /late HTTP/1.1\r\nHost");
    assert_eq!(late.read("GET").code, 408);
    assert_eq!(written.next(), "GET /late HTTP/1.1|408");
    let mut early = server.connect();
    early.send("GET /early HTTP/1.1\r\nHost");
    early.end_sending();
    assert_eq!(early.read("GET").code, 400);
    assert_eq!(written.next(), "GET /early HTTP/1.1|400");
    let long = "y".repeat(40_000);
    for (request, expected) in [
        ("GET /x?y HTTP/1.1\r\nno field\r\n\r\n".to_string(), "GET /x?y HTTP/1.1|400"),
        ("GET /x HTTP/1.1\r\n\r\n".to_string(), "GET /x HTTP/1.1|400"),
        ("GET /#x HTTP/1.0\r\n\r\n".to_string(), "GET /#x HTTP/1.0|400"),
        (format!("GET /x HTTP/1.1\r\nX: {long}\r\n\r\n"), "GET /x HTTP/1.1|431"),
        ("GET /x HTTP/3.0\r\n\r\n".to_string(), "-|505"),
    ] {
        server.connect().send(&request);
        assert_eq!(written.next(), expected);
    }
}

#[test]
fn log_file_that_is_moved_away_and_opened_again_loses_no_line() {
    let folder = TempFolder::new();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let file = LogFile::open(&path).unwrap();
    let handle = file.handle();
    let format: LogFormat = "%(U)s".parse().unwrap();
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    let server = serve_with(server.access_log(FormattedLog::new(format, file)), answer);
    let mut client = server.connect();
    let mut ask = |numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| {
            assert_eq!(client.get(&format!("/{number}")).code, 200);
        })
    };
    let lines =
        |numbers: std::ops::Range<u32>| numbers.map(|number| format!("/{number}\n")).collect::<String>();
    ask(0..20);
    // The last answer may be here before its line is.
    wait_for(&path, &lines(0..20));
    fs::rename(&path, &old).unwrap();
    ask(20..30);
    wait_for(&old, &lines(0..30));
    handle.reopen();
    ask(30..50);
    wait_for(&path, &lines(30..50));
    wait_for(&old, &lines(0..30));
}

/// Waits until a file has this content.
fn wait_for(path: &Path, expected: &str) {
    let start = Instant::now();
    let read = || fs::read_to_string(path).unwrap_or_default();
    while read() != expected && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(read(), expected, "{}", path.display());
}
