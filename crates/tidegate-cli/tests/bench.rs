//! Tests `tidegate bench` as its users meet it: the program itself, against servers in this process that know
//! what they were asked.
//!
//! Nothing here asserts a speed. What the rig counts is compared with what a server has counted, and
//! latencies only with what a server has made of them on purpose.

mod support;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use support::loopback::{PATIENCE, Running, serve};
use support::process::{self, Ended, Lines, command, run, run_command, tidegate};
use support::temp_folder::TempFolder;
use tidegate::limits::Limits;

/// A server that counts, and the URL of it.
struct Counting {
    url: String,
    count: Arc<AtomicU64>,
    // Runs until it is dropped.
    _server: Running,
}

impl Counting {
    fn start() -> Counting {
        Counting::answering(|_| 200)
    }

    /// Answers with a status that depends on how many requests came before.
    fn answering(status: impl Fn(u64) -> u16 + Send + 'static) -> Counting {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let server = serve(
            move |_, start_response| {
                let before = counted.fetch_add(1, Ordering::SeqCst);
                start_response.status(status(before)).send("Hello, World!")
            },
            Limits::default(),
        );
        Counting { url: format!("http://{}/", server.address()), count, _server: server }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

/// A server that behaves badly, in one way for each connection.
struct Bad {
    url: String,
    is_over: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
}

impl Bad {
    fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Bad {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (is_over, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let bad = Bad { url, is_over: is_over.clone(), connections: connections.clone() };
        listener.set_nonblocking(true).unwrap();
        let serve = Arc::new(serve);
        thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        stream.set_read_timeout(Some(PATIENCE)).unwrap();
                        connections.fetch_add(1, Ordering::SeqCst);
                        let serve = serve.clone();
                        thread::spawn(move || serve(stream));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        bad
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// Reads the heads of `wanted` requests; fewer if the client leaves before.
fn read_heads(stream: &mut TcpStream, wanted: usize) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while text.matches("\r\n\r\n").count() < wanted {
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => text += &String::from_utf8_lossy(&bytes[..count]),
        }
    }
    text
}

const QUICK: [&str; 4] = ["--duration", "500ms", "--warm-up", "100ms"];

/// Runs the program to a good end, and returns what it prints.
fn bench(arguments: &[&str]) -> String {
    let Ended { code, stdout, stderr } = run(&[&["bench"], arguments].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}: {stdout}");
    stdout
}

/// Runs with `--json`, and for half a second unless an argument says otherwise.
fn in_json<'a>(url: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let is_said = |option: &str| arguments.iter().any(|argument| argument.starts_with(option));
    let times = QUICK.chunks(2).filter(|time| !is_said(time[0])).flatten().copied();
    ["--json", url].into_iter().chain(times).chain(arguments.iter().copied()).collect()
}

/// Runs the program to a good end, and returns the figures.
fn figures(url: &str, arguments: &[&str]) -> Value {
    let stdout = bench(&in_json(url, arguments));
    let figures: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert_eq!(figures["gone"], false, "{figures}");
    figures
}

/// Runs against a server that is gone before the end: figures are printed, and the exit status tells.
fn figures_of_gone(url: &str, arguments: &[&str], why: &str) -> Value {
    let arguments = in_json(url, &[&["--warm-up=0"], arguments].concat());
    let Ended { code, stdout, stderr } = run(&[&["bench"], &arguments[..]].concat());
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    let stopped = format!("tidegate: {url} stopped answering after ");
    assert!(stderr.starts_with(&stopped) && stderr.contains(why), "{stderr}");
    let figures: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert_eq!(figures["gone"], true, "{figures}");
    figures
}

fn count(figures: &Value, pointer: &str) -> u64 {
    figures.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {figures}"))
}

/// Returns all errors, by kind.
fn errors(figures: &Value) -> HashMap<String, u64> {
    let named = figures["errors"].as_object().unwrap().iter();
    named.map(|(name, count)| (name.clone(), count.as_u64().unwrap())).collect()
}

/// Asserts that errors of one kind were counted, and none of another.
fn check_only_errors(figures: &Value, kind: &str) {
    for (name, count) in errors(figures) {
        assert_eq!(count > 0, name == kind, "{name}: {figures}");
    }
}

fn check_no_errors(figures: &Value) {
    check_only_errors(figures, "none");
}

#[test]
fn closed_loop_counts_what_the_server_counts() {
    let server = Counting::start();
    let figures = figures(&server.url, &["--connections", "8"]);
    check_no_errors(&figures);
    assert_eq!(count(&figures, "/in_all/sent"), server.count());
    assert_eq!(count(&figures, "/in_all/answered"), server.count());
    let answered = count(&figures, "/answered");
    assert!(0 < answered && answered < server.count(), "{figures}");
    assert_eq!(count(&figures, "/held/active"), 8);
    assert!(count(&figures, "/received_bytes") > answered * 100, "{figures}");
}

#[test]
fn open_loop_asks_as_often_as_it_was_told() {
    let server = Counting::start();
    let figures = figures(&server.url, &["--rate", "200", "--duration", "2s", "--connections", "4"]);
    check_no_errors(&figures);
    // Each of 400 was due in these two seconds, and has had its answer or been given up.
    assert_eq!(count(&figures, "/answered") + count(&figures, "/unsent"), 400, "{figures}");
    assert_eq!(count(&figures, "/in_all/answered"), server.count());
    assert!((400..=420).contains(&server.count()), "{} with the warm-up", server.count());
}

/// During one stall of 300 ms, 30 of 100 requests become due. A rig that noticed only the request it had sent
/// would report one long latency.
#[test]
fn open_loop_does_not_spare_a_server_that_stalls() {
    let server = Counting::answering(|before| {
        if before == 50 {
            thread::sleep(Duration::from_millis(300));
        }
        200
    });
    let figures = figures(&server.url, &["--rate=100", "--duration=1s", "--warm-up=0", "--connections=1"]);
    check_no_errors(&figures);
    let micros = |share: &str| figures["latency_us"][share].as_f64().unwrap();
    assert!(micros("max") >= 290e3, "{figures}");
    assert!(micros("p90") >= 150e3, "{figures}");
}

#[test]
fn requests_that_no_connection_was_free_for_are_told() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, usize::MAX);
    });
    let arguments = ["--rate", "100", "--duration", "500ms", "--warm-up", "0", "--timeout", "300ms"];
    let ended = run(&[&["bench", &*server.url, "--json", "-c2"], &arguments[..]].concat());
    let figures: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(ended.code == Some(1) && ended.stderr.contains("nothing was answered"), "{}", ended.stderr);
    let (unsent, timeouts) = (count(&figures, "/unsent"), errors(&figures)["timeout"]);
    assert!(unsent > 0 && timeouts > 0, "{figures}");
    assert_eq!(unsent + timeouts, 50, "{figures}");
    // Their wait is in the latencies.
    assert!(figures["latency_us"]["max"].as_f64().unwrap() >= 300e3, "{figures}");
}

#[test]
fn answers_of_400_or_more_are_errors_by_status() {
    let server = Counting::answering(|before| if before % 2 == 0 { 200 } else { 503 });
    let figures = figures(&server.url, &["-c", "2"]);
    check_only_errors(&figures, "status");
    assert!(errors(&figures)["status"] < count(&figures, "/answered"), "{figures}");
}

#[test]
fn connections_that_end_before_their_answer_are_resets() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, 1);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    });
    let ended = run(&[&["bench", &*server.url, "--json", "-c2"], &QUICK[..]].concat());
    check_only_errors(&serde_json::from_str(&ended.stdout).unwrap(), "reset");
}

#[test]
fn answers_that_are_none_are_malformed() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, 1);
        // The client leaves at the first byte that is wrong.
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n");
    });
    let ended = run(&[&["bench", &*server.url, "--json", "-c2"], &QUICK[..]].concat());
    let figures = serde_json::from_str(&ended.stdout).unwrap();
    check_only_errors(&figures, "malformed");
    assert!(figures["notes"].to_string().contains("no response"), "{figures}");
}

#[test]
fn connections_that_are_refused_later_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let once = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // From here on nobody listens.
        drop(listener);
        read_heads(&mut stream, 1);
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let figures = figures_of_gone(&url, &["-c", "1", "--close"], "no connection can be made");
    check_only_errors(&figures, "connect");
    assert_eq!(count(&figures, "/in_all/answered"), 1);
    assert!(figures["notes"].to_string().contains("refused"), "{figures}");
    once.join().unwrap();
}

/// A server that accepts a number of connections and then none. It answers some requests on each of them, and
/// leaves the next one without an answer.
struct Mortal {
    url: String,
    life: thread::JoinHandle<()>,
}

impl Mortal {
    fn start(connections: usize, requests: usize) -> Mortal {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let live = move || {
            let mut streams: Vec<_> = (0..connections).map(|_| listener.accept().unwrap().0).collect();
            drop(listener);
            for stream in &mut streams {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                for _ in 0..requests {
                    if read_heads(stream, 1).is_empty() {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                }
            }
        };
        Mortal { url, life: thread::spawn(live) }
    }
}

#[test]
fn server_that_is_gone_before_the_end_is_an_error_with_figures() {
    let server = Mortal::start(2, 50);
    let figures = figures_of_gone(&server.url, &["-c2"], "no connection can be made");
    assert_eq!((count(&figures, "/in_all/answered"), count(&figures, "/answered")), (100, 100), "{figures}");
    assert!(errors(&figures)["connect"] > 0 && errors(&figures)["reset"] > 0, "{figures}");
    server.life.join().unwrap();

    let server = Mortal::start(2, 50);
    let Ended { code, stdout, stderr } = run(&[&["bench", &*server.url, "-c2"], &QUICK[..]].concat());
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("stopped answering after 0.00 s of measuring"), "{stderr}");
    for part in ["requests/s", "errors        connect ", "note          stopped answering "] {
        assert!(stdout.contains(part), "no {part} in {stdout}");
    }
    server.life.join().unwrap();
}

#[test]
fn server_that_is_gone_is_noticed_in_every_manner_of_asking() {
    for arguments in
        [&["-c1", "--rate", "100"][..], &["-c1", "--pipeline", "3"], &["-c0", "--slow-readers=1"]]
    {
        let server = Mortal::start(1, 2);
        figures_of_gone(&server.url, arguments, "no connection can be made");
        server.life.join().unwrap();
    }
    // Idle ones ask for nothing more, but they were to stay.
    let server = Mortal::start(3, 1);
    let figures = figures_of_gone(&server.url, &["-c0", "--idle=3"], "no connection can be made");
    assert_eq!((count(&figures, "/in_all/answered"), count(&figures, "/held/idle")), (3, 0), "{figures}");
    server.life.join().unwrap();
}

#[test]
fn server_behind_a_proxy_that_still_accepts_is_gone_as_well() {
    let answered = AtomicU64::new(0);
    let server = Bad::start(move |mut stream| {
        while answered.fetch_add(1, Ordering::SeqCst) < 20 && !read_heads(&mut stream, 1).is_empty() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let figures = figures_of_gone(&server.url, &["-c2"], "connections end without an answer");
    check_only_errors(&figures, "reset");
}

#[test]
fn server_that_hangs_is_gone_after_the_timeout() {
    let asked = AtomicU64::new(0);
    let server = Bad::start(move |mut stream| {
        while !read_heads(&mut stream, 1).is_empty() {
            if asked.fetch_add(1, Ordering::SeqCst) < 20 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let arguments = ["-c2", "--timeout", "200ms"];
    let figures = figures_of_gone(&server.url, &arguments, "nothing comes within the timeout");
    assert_eq!(count(&figures, "/in_all/answered"), 20);
}

/// Eight connections are more than one client loses in half a second, and fewer than the ten attempts that
/// the rig makes after that: one of these is answered.
#[test]
fn server_that_is_back_after_a_while_is_not_gone() {
    let connections = AtomicU64::new(0);
    let server = Bad::start(move |mut stream| {
        let is_away = (1..=8).contains(&connections.fetch_add(1, Ordering::SeqCst));
        for _ in 0..20 {
            if read_heads(&mut stream, 1).is_empty() || is_away {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let figures = figures(&server.url, &["-c1", "--warm-up=0"]);
    check_only_errors(&figures, "reset");
    assert_eq!(count(&figures, "/in_all/answered"), 21, "{figures}");
}

#[test]
fn pipeline_has_so_many_requests_under_way() {
    let server = Bad::start(|mut stream| {
        // Answers four when it has four; with fewer under way nothing would ever come.
        while read_heads(&mut stream, 4).matches("\r\n\r\n").count() == 4 {
            if stream.write_all(&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".repeat(4)).is_err() {
                return;
            }
        }
    });
    let figures = figures(&server.url, &["-c", "2", "--pipeline", "4"]);
    check_no_errors(&figures);
    assert!(count(&figures, "/answered") > 0);
    assert_eq!(count(&figures, "/in_all/answered"), count(&figures, "/in_all/sent"));
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

/// A server may close after any answer; requests sent behind that one were never begun.
#[test]
fn requests_behind_an_answer_that_closes_are_sent_again() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, 1);
        // Meanwhile the next request is due.
        thread::sleep(Duration::from_millis(30));
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_heads(&mut stream, usize::MAX);
    });
    let figures = figures(&server.url, &["-c", "1", "--pipeline", "2", "--rate", "40"]);
    check_no_errors(&figures);
    assert_eq!(count(&figures, "/answered") + count(&figures, "/unsent"), 20, "{figures}");
    assert!(count(&figures, "/in_all/sent") > count(&figures, "/in_all/answered"), "{figures}");
}

#[test]
fn close_makes_one_request_on_each_connection() {
    let server = Bad::start(|mut stream| {
        let text = read_heads(&mut stream, 1);
        if !text.is_empty() {
            assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
            // Content up to the end of the connection.
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").unwrap();
        }
    });
    let figures = figures(&server.url, &["-c", "2", "--close"]);
    check_no_errors(&figures);
    let answered = count(&figures, "/in_all/answered");
    assert!(answered > 2, "{figures}");
    assert_eq!(server.connections.load(Ordering::SeqCst), answered);
}

/// The server waits for its client to close, whatever either has announced; so the rig closes, and says so.
#[test]
fn server_that_does_not_end_connections_is_measured_all_the_same() {
    for (field, options) in [("Connection: close\r\n", &["-c", "2"][..]), ("", &["-c", "2", "--close"])] {
        let answer = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 0\r\n\r\n");
        let server = Bad::start(move |mut stream| {
            read_heads(&mut stream, 1);
            stream.write_all(answer.as_bytes()).unwrap();
            read_heads(&mut stream, usize::MAX);
        });
        let figures = figures(&server.url, options);
        check_no_errors(&figures);
        assert!(count(&figures, "/answered") > 4, "{figures}");
        assert!(figures["notes"].to_string().contains("does not end connections"), "{figures}");
    }
}

/// Requests behind the last answer are not lost either.
#[test]
fn requests_behind_an_answer_that_closes_are_sent_again_where_the_server_does_not_end() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, 1);
        thread::sleep(Duration::from_millis(30));
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
        read_heads(&mut stream, usize::MAX);
    });
    let figures = figures(&server.url, &["-c", "1", "--pipeline", "2", "--rate", "40"]);
    check_no_errors(&figures);
    assert_eq!(count(&figures, "/answered") + count(&figures, "/unsent"), 20, "{figures}");
}

/// An answer that drips a byte now and then does not count as one.
#[test]
fn answer_that_drips_is_given_up_as_one_that_does_not_come() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, 1);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        read_heads(&mut stream, 1);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let figures = figures(&server.url, &["-c", "2", "--timeout", "100ms"]);
    assert!(count(&figures, "/errors/timeout") > 0, "{figures}");
}

#[cfg(target_os = "linux")]
#[test]
fn result_that_cannot_be_written_is_an_error() {
    let server = Counting::start();
    for options in [&["--json"][..], &[]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = tidegate();
        command.args(["bench", &server.url, "-d", "200ms", "--warm-up", "0"]).args(options).stdout(full);
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("could not be printed"), "{said}");
    }
}

#[test]
fn idle_connections_make_a_request_and_are_held() {
    let server = Counting::start();
    let figures = figures(&server.url, &["--connections", "0", "--idle", "100"]);
    check_no_errors(&figures);
    assert_eq!((server.count(), count(&figures, "/held/idle")), (100, 100));
    assert_eq!((count(&figures, "/in_all/answered"), count(&figures, "/answered")), (100, 0));
}

#[test]
fn idle_connections_that_the_server_closes_are_not_held() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, 1);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    assert_eq!(count(&figures(&server.url, &["-c0", "--idle", "5"]), "/held/idle"), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn process_of_the_server_is_found_and_what_it_uses() {
    let server = Counting::start();
    let figures = figures(&server.url, &["--idle", "10"]);
    let process = &figures["server"];
    assert_eq!(process["pids"], serde_json::json!([std::process::id()]), "{figures}");
    assert!(process["cpu_us_per_request"].as_f64().is_some_and(|micros| micros > 0.0), "{figures}");
    assert!(process["resident_before"].as_u64().is_some_and(|bytes| bytes > 1 << 16), "{figures}");
    assert!(process["bytes_per_idle_connection"].is_number(), "{figures}");
}

#[test]
fn requests_are_what_was_asked_for() {
    let server = serve(
        |environ, start_response| {
            let mut content = Vec::new();
            environ.content().read_to_end(&mut content).unwrap();
            let is_right = environ.method().as_str() == "PUT"
                && environ.raw_target() == "/a?b=c"
                && environ.field("X-Name") == Some(b"value")
                && environ.field("Host") == Some(b"example.org")
                && content == [b'x'; 3000];
            start_response.status(if is_right { 200 } else { 400 }).send("")
        },
        Limits::default(),
    );
    let url = format!("http://{}/a?b=c#d", server.address());
    let fields = ["-H", "X-Name: value", "--header", "Host: example.org"];
    let figures = figures(&url, &[&["-c2", "--method", "PUT", "--body", "@3000"], &fields[..]].concat());
    check_no_errors(&figures);
    assert!(count(&figures, "/answered") > 0);
}

#[test]
fn content_of_a_file_is_sent_and_long_answers_are_read_to_their_end() {
    let folder = TempFolder::new();
    let file = folder.write("content", vec![b'y'; 300_000]);
    let server = serve(
        |environ, start_response| {
            let mut content = Vec::new();
            environ.content().read_to_end(&mut content).unwrap();
            start_response.status(200).send(content.repeat(10))
        },
        Limits::default(),
    );
    let url = format!("http://{}/", server.address());
    let figures = figures(&url, &["-c3", "--body", file.to_str().unwrap()]);
    check_no_errors(&figures);
    assert!(count(&figures, "/answered") > 0, "{figures}");
    assert!(count(&figures, "/received_bytes") >= 1_000_000, "{figures}");
}

#[test]
fn answers_without_end_do_not_hold_up_the_end() {
    let server = Bad::start(|mut stream| {
        read_heads(&mut stream, 1);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut is_open = stream.write_all(head.as_bytes()).is_ok();
        let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
        while is_open {
            is_open = stream.write_all(&chunk).is_ok();
        }
    });
    let ended = run(&[&["bench", &*server.url, "--json", "-c2", "--timeout", "5s"], &QUICK[..]].concat());
    assert!(ended.stderr.contains("nothing was answered"), "{}", ended.stderr);
    let figures: Value = serde_json::from_str(&ended.stdout).unwrap();
    check_no_errors(&figures);
    assert!(count(&figures, "/received_bytes") > 0x10000, "{figures}");
}

#[test]
fn slow_readers_and_dripping_connections_are_held_beside_the_others() {
    let server =
        serve(|_, start_response| start_response.status(200).send(vec![b'x'; 100_000]), Limits::default());
    let url = format!("http://{}/", server.address());
    let figures = figures(&url, &["-c2", "--slow-readers", "3", "--drip", "4"]);
    check_no_errors(&figures);
    assert_eq!((count(&figures, "/held/slow_readers"), count(&figures, "/held/drip")), (3, 4));
    assert!(count(&figures, "/answered") > 0);
    // 100 kB at 10 KiB a second, and some forty bytes at ten a second: none is through in half a second.
    assert_eq!(count(&figures, "/in_all/answered_slowly"), 0);
}

#[test]
fn head_that_drips_arrives_byte_by_byte_and_is_answered() {
    let reads = Arc::new(Mutex::new(0));
    let counted = reads.clone();
    let server = Bad::start(move |mut stream| {
        let (mut text, mut byte) = (String::new(), [0; 64]);
        while !text.ends_with("\r\n\r\n") {
            let count = stream.read(&mut byte).unwrap_or(0);
            if count == 0 {
                return;
            }
            text += &String::from_utf8_lossy(&byte[..count]);
            *counted.lock().unwrap() += 1;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let figures = figures(&server.url, &["-c0", "--drip", "1", "--duration", "9s"]);
    assert!(count(&figures, "/in_all/answered_slowly") >= 1, "{figures}");
    // `GET / HTTP/1.1`, `Host: 127.0.0.1:…`; a busy machine may join some of its bytes.
    assert!(*reads.lock().unwrap() > 20);
}

#[test]
fn comparison_measures_both_in_turns() {
    let (one, other) = (Counting::start(), Counting::start());
    let arguments = ["-c2", "-d200ms", "--warm-up=50ms", "--rounds=3"];
    let table = bench(&[&[&*one.url, "--against", &*other.url], &arguments[..]].concat());
    for part in [&*one.url, &*other.url, "A ÷ B", "requests/s", "p99", "3 rounds"] {
        assert!(table.contains(part), "no {part} in {table}");
    }
    let before = (one.count(), other.count());
    assert!(before.0 > 0 && before.1 > 0);
    let json = bench(&[&[&*one.url, "--against", &*other.url, "--json"], &arguments[..]].concat());
    let figures: Value = serde_json::from_str(&json).unwrap();
    for (side, counted) in [("first", one.count() - before.0), ("second", other.count() - before.1)] {
        let rounds = figures[side].as_array().unwrap();
        let answered: u64 = rounds.iter().map(|round| count(round, "/in_all/answered")).sum();
        assert_eq!((rounds.len(), answered), (3, counted), "{side}");
    }
    let compared = &figures["compared"]["requests_per_second"];
    let [ratio, least, most] = ["ratio", "least", "most"].map(|name| compared[name].as_f64().unwrap());
    assert!(ratio > 0.0 && least > 0.0 && least <= most, "{compared}");
}

#[test]
fn comparison_ends_with_the_round_in_which_a_server_is_gone() {
    let alive = Counting::start();
    let arguments = ["--json", "-c1", "-d200ms", "--warm-up=0", "--rounds=4"];
    // In the middle of its first round, and before its second.
    for (requests, what) in [(50, "stopped answering"), (usize::MAX, "cannot connect to")] {
        for is_first in [true, false] {
            let mortal = Mortal::start(1, requests);
            let (one, other) = if is_first { (&mortal.url, &alive.url) } else { (&alive.url, &mortal.url) };
            let ended = run(&[&["bench", &**one, "--against", &**other], &arguments[..]].concat());
            assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
            let name = if is_first { "tidegate: A, round " } else { "tidegate: B, round " };
            assert!(ended.stderr.starts_with(name) && ended.stderr.contains(what), "{}", ended.stderr);
            let figures: Value = serde_json::from_str(&ended.stdout).unwrap();
            let gone = serde_json::json!({ "first": is_first, "second": !is_first });
            assert_eq!(figures["gone"], gone, "{figures}");
            for side in ["first", "second"] {
                let rounds = figures[side].as_array().unwrap();
                assert_eq!(rounds.len(), 1, "{figures}");
                assert!(count(&rounds[0], "/answered") > 0, "{figures}");
            }
            mortal.life.join().unwrap();
        }
    }
}

#[test]
fn table_has_a_line_for_every_figure() {
    let server = Counting::start();
    let table = bench(&[&[&*server.url, "-c2", "--idle=3"], &QUICK[..]].concat());
    for part in [
        "requests/s",
        "p50",
        "p90",
        "p99 ",
        "p99.9 ",
        "p99.99",
        "max",
        "transferred",
        "errors        none",
        "3 of 3 idle held",
        "server",
        "this client",
    ] {
        assert!(table.contains(part), "no {part} in {table}");
    }
}

#[test]
fn picture_is_well_formed() {
    let (one, other, folder) = (Counting::start(), Counting::start(), TempFolder::new());
    let path = folder.path().join("out.svg");
    let url = format!("{}?a=1&b=<2>", one.url);
    let plot = ["--plot", path.to_str().unwrap(), "--against", &*other.url, "--rounds=1"];
    bench(&[&[&*url, "-c2"], &QUICK[..], &plot].concat());
    let svg = std::fs::read_to_string(&path).unwrap();
    check_well_formed(&svg);
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert_eq!(svg.matches("<polyline").count(), 2);
    assert!(svg.contains("share of requests (%)") && svg.contains(" µs<"), "{svg}");
}

/// Asserts that tags are closed in order, values are quoted, and no bare `&` or `<` is left.
fn check_well_formed(xml: &str) {
    let (mut open, mut rest) = (Vec::new(), xml);
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        let references =
            ["&amp;", "&lt;", "&gt;"].iter().map(|name| text.matches(name).count()).sum::<usize>();
        assert_eq!(text.matches('&').count(), references, "{text}");
        let end = start + rest[start..].find('>').expect("an end of a tag");
        let tag = &rest[start + 1..end];
        assert!(tag.matches('"').count() % 2 == 0 && !tag.contains('<'), "{tag}");
        assert_eq!(tag.matches('=').count(), tag.matches("=\"").count(), "{tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match tag {
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
            _ if tag.ends_with('/') => {}
            _ => open.push(name),
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}, {rest:?}");
}

#[test]
fn interruption_ends_early_and_prints_what_was_measured() {
    let server = Counting::start();
    let arguments = ["bench", &*server.url, "-c2", "-d1h", "--warm-up=0", "--json"];
    let mut child = tidegate()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, stderr) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
    let start = Instant::now();
    while server.count() < 1000 && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (stdout, stderr) = (stdout.rest(), stderr.rest());
    assert!(child.wait().unwrap().success(), "{stdout}{stderr}");
    let figures: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(count(&figures, "/in_all/answered"), server.count());
    assert!(count(&figures, "/answered") > 0, "{figures}");
}

#[test]
fn connections_that_descriptors_do_not_suffice_for_are_told() {
    let server = Counting::start();
    let program = format!("ulimit -n 60 && exec {} bench \"$@\"", process::path());
    let mut shell: Command = command("sh");
    shell.args(["-c", &program, "sh", &server.url, "--json", "-c2", "--idle=500"]).args(QUICK);
    let Ended { code, stdout, stderr } = run_command(&mut shell);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("only 60 descriptors") && stderr.contains("not 502"), "{stderr}");
    let figures: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((count(&figures, "/held/idle"), count(&figures, "/held/active")), (26, 2));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    // Port 1 is nobody's; a free one could be another test's by then.
    let nobody = "http://127.0.0.1:1/";
    for (arguments, code, words) in [
        (&[][..], 2, &["<URL>"][..]),
        (&["127.0.0.1:8000"], 2, &["http://"]),
        (&["https://127.0.0.1/"], 2, &["https is not spoken"]),
        (&["http:///"], 2, &["no host"]),
        (&["http://a/", "--close", "--pipeline", "2"], 2, &["--close", "--pipeline"]),
        (&["http://a/", "--rate", "0"], 2, &["--rate"]),
        (&["http://a/", "--rate", "fast"], 2, &["--rate", "fast"]),
        (&["http://a/", "-c", "0"], 2, &["without connections"]),
        (&["http://a/", "-c0", "--idle=1", "--rate=1"], 2, &["--rate needs"]),
        (&["http://a/", "--duration", "0"], 2, &["--duration"]),
        (&["http://a/", "--timeout", "0"], 2, &["--timeout"]),
        (&["http://a/", "--pipeline", "0"], 2, &["--pipeline"]),
        (&["http://a/", "--rounds", "2"], 2, &["--against"]),
        (&["http://a/", "--against", "https://b/"], 2, &["https is not spoken"]),
        (&["http://a/", "--header", "none"], 2, &["--header", "Name: value"]),
        (&["http://a/", "--header", "A: b\r\nC: d"], 2, &["--header", "one line"]),
        (&["http://a/", "--header", "Content-Length: 3"], 2, &["--body"]),
        (&["http://a/", "--method", "G T"], 2, &["--method"]),
        (&["http://a/", "--body", "/no/such/file"], 2, &["/no/such/file"]),
        (&["http://a/", "--body", "@1.5x"], 2, &["a size is"]),
        (&["http://a/", "--head-timeout", "3s"], 2, &["--head-timeout", "serving"]),
        (&["http://a/", "--listen", ":80"], 2, &["--listen"]),
        (&[nobody], 1, &["cannot connect", "refused"]),
        (&["http://no-such-host.invalid/"], 1, &["no-such-host.invalid", "cannot be found"]),
        (&[nobody, "--plot", "/no/such/folder/a.svg"], 1, &["/no/such/folder/a.svg"]),
    ] {
        let ended = run(&[&["bench"], arguments].concat());
        assert_eq!((ended.code, &*ended.stdout), (Some(code), ""), "{arguments:?}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{arguments:?}: no {word:?} in {}", ended.stderr);
        }
    }
}
