//! Tests the program: its command line, its signals, its logs, and how it fails.

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use support::process::{
    self, Answer, Ended, PATIENCE, Program, ask_over, eventually, run, run_command, tidegate,
};
use support::temp_folder::TempFolder;

/// Asserts that a start fails with this exit status, and one line on stderr that contains these words.
fn check_failure(arguments: &[&str], code: i32, words: &[&str]) {
    let Ended { code: found, stdout, stderr } = run(arguments);
    assert_eq!((found, stdout.as_str()), (Some(code), ""), "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: no {word:?} in {stderr}");
    }
    if code == 1 {
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
}

#[test]
fn program_without_command_serves_the_welcome_application() {
    let program = Program::start(&[]);
    let answer = program.get("/");
    assert_eq!(answer.code, 200);
    assert!(answer.text().contains("<title>Welcome to tidegate</title>"));
}

#[test]
fn help_tells_every_option_with_its_default() {
    let Ended { code, stdout, stderr } = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in [
        "--listen <ADDR>",
        "TIDEGATE_IDLE_TIMEOUT",
        "--bind",
        "[default: 127.0.0.1:8000]",
        "--log-level",
        "--access-log",
        "--request-line-max",
        "--head-max",
        "--fields-max",
        "--body-max",
        "[default: 1GiB]",
        "--body-memory-max",
        "--spool-max",
        "--connections-max",
        "--output-max",
        "--head-timeout",
        "[default: 20s]",
        "--body-timeout",
        "--body-rate-min",
        "--idle-timeout",
        "--write-timeout",
        "--linger-timeout",
        "--gateway-timeout",
        "--drain-timeout",
        "static",
    ] {
        assert!(stdout.contains(word), "no {word} in {stdout}");
    }
}

#[test]
fn version_is_that_of_the_package() {
    let Ended { code, stdout, .. } = run(&["--version"]);
    assert_eq!(code, Some(0));
    assert_eq!(stdout.trim(), concat!("tidegate ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_command_line_is_refused_with_status_2() {
    check_failure(&["--no-such-flag"], 2, &["--no-such-flag", "--help"]);
    check_failure(&["no-such-command"], 2, &["no-such-command"]);
    check_failure(&["statik"], 2, &["statik", "'static'"]);
    check_failure(&["static"], 2, &["<DIR>"]);
    check_failure(&["--listen", "nonsense"], 2, &["nonsense", "--listen"]);
    check_failure(&["--listen", "fd://three"], 2, &["three", "descriptor", "--listen"]);
    check_failure(&["--listen", "127.0.0.1:99999"], 2, &["127.0.0.1:99999"]);
    check_failure(&["--body-max", "1.5x"], 2, &["1.5x", "--body-max", "a size is"]);
    check_failure(&["--head-timeout", "5x"], 2, &["--head-timeout", "30s"]);
    check_failure(&["--log-level", "loud"], 2, &["loud", "warn"]);
    check_failure(&["--access-log", "xml"], 2, &["xml", "combined"]);
    check_failure(&["--fields-max", "0"], 2, &["--fields-max"]);
    check_failure(&["--fields-max", "1000"], 2, &["--fields-max", "128"]);
    check_failure(&["--connections-max", "-1"], 2, &["-1"]);
    check_failure(&["--head-max", "3"], 2, &["--head-max", "256"]);
}

#[test]
fn refusal_shows_the_usage_of_the_command_that_was_meant() {
    let (serving, folder) = ("Usage: tidegate [", "Usage: tidegate static [");
    let bench = "Usage: tidegate bench [OPTIONS] <URL>";
    check_failure(&["--fields-max", "1000"], 2, &[serving]);
    check_failure(&["static", ".", "--fields-max", "1000"], 2, &[folder]);
    check_failure(&["--fields-max", "1000", "static", "."], 2, &[folder]);
    check_failure(&["bench", "htp://127.0.0.1/"], 2, &["http://", bench]);
    check_failure(&["bench", "http://127.0.0.1/", "--fields-max", "10"], 2, &["--fields-max", bench]);
    check_failure(&["--fields-max", "10", "bench", "http://127.0.0.1/"], 2, &["--fields-max", bench]);
}

#[test]
fn application_of_python_is_refused_with_the_way_to_serve_it() {
    check_failure(&["app:app", "-b", "127.0.0.1:0"], 2, &["app:app", "Python", "pip install ."]);
    check_failure(&["-b", "127.0.0.1:0", "pkg.app"], 2, &["pkg.app", "Python", "pip install ."]);
}

/// Starts the program with variables, and returns where it says it serves.
fn serving_with(arguments: &[&str], variables: &[(&str, &str)], announcements: usize) -> Vec<String> {
    let command = &mut tidegate();
    command.args(arguments).envs(variables.iter().copied());
    Program::start_command(command, announcements).addresses.clone()
}

#[test]
fn address_on_the_command_line_wins_over_variables_and_ours_over_port() {
    let all = [("TIDEGATE_LISTEN", "127.0.0.1:0,127.0.0.1:0"), ("PORT", "0")];
    for arguments in [&["-l", "[::1]:0"][..], &["static", ".", "-l", "[::1]:0"]] {
        let addresses = serving_with(arguments, &all, 1);
        assert!(addresses[0].starts_with("http://[::1]:"), "{addresses:?}");
    }
    for arguments in [&[][..], &["static", "."]] {
        let addresses = serving_with(arguments, &all, 2);
        assert!(addresses.iter().all(|address| address.starts_with("http://127.0.0.1:")), "{addresses:?}");
    }
    // Every address of the machine; one without IPv6 has only those of IPv4.
    let address = &serving_with(&[], &[("PORT", "0")], 1)[0];
    assert!(address.starts_with("http://[::]:") || address.starts_with("http://0.0.0.0:"), "{address}");
}

#[test]
fn limit_on_the_command_line_wins_over_a_variable() {
    let status = |arguments: &[&str], variables: &[(&str, &str)]| {
        let command = &mut tidegate();
        command.args(["-l", "127.0.0.1:0"]).args(arguments).envs(variables.iter().copied());
        Program::start_command(command, 1).get(&format!("/{}", "x".repeat(200))).code
    };
    let short = ("TIDEGATE_REQUEST_LINE_MAX", "100");
    assert_eq!(status(&[], &[short]), 414);
    assert_eq!(status(&["static", "."], &[short]), 414);
    assert_eq!(status(&[], &[("TIDEGATE_LIMIT_REQUEST_LINE", "100")]), 414);
    assert_eq!(status(&[], &[("TIDEGATE_REQUEST_LINE_MAX", "")]), 404);
    assert_eq!(status(&["--request-line-max", "8k"], &[short]), 404);
    assert_eq!(status(&["static", ".", "--request-line-max", "8k"], &[short]), 404);
    assert_eq!(status(&["--request-line-max", "8k", "static", "."], &[short]), 404);
}

#[test]
fn variable_that_makes_no_sense_is_refused_with_status_2() {
    for (name, value, word) in [
        ("TIDEGATE_HEAD_TIMEOUT", "soon", "'TIDEGATE_HEAD_TIMEOUT'"),
        ("TIDEGATE_FIELDS_MAX", "zero", "'TIDEGATE_FIELDS_MAX'"),
        ("TIDEGATE_LISTEN", "nowhere", "TIDEGATE_LISTEN"),
        ("PORT", "http", "PORT"),
    ] {
        let Ended { code, stderr, .. } = run_command(tidegate().env(name, value));
        assert_eq!(code, Some(2), "{name}: {stderr}");
        assert!(stderr.contains(word) && stderr.contains(value), "{name}: {stderr}");
    }
    let senseless = run_command(tidegate().env("TIDEGATE_FIELDS_MAX", "1000")).stderr;
    assert!(senseless.contains("the variable TIDEGATE_FIELDS_MAX can be at most 128"), "{senseless}");
    // What is wrong on the command line is not the variable's fault.
    let wrong = &mut tidegate();
    wrong.env("TIDEGATE_HEAD_TIMEOUT", "3s").args(["--head-timeout", "soon"]);
    assert!(run_command(wrong).stderr.contains("--head-timeout"));
}

#[test]
fn misspelt_variable_is_warned_about_with_the_right_name() {
    let command = &mut tidegate();
    command.args(["-l", "127.0.0.1:0"]).env("TIDEGATE_IDEL_TIMEOUT", "3").env("TIDEGATE_PORT_80_TCP", "x");
    let mut program = Program::start_with_stdout(command, Stdio::null(), 0);
    let warning = program.stderr.next();
    assert!(warning.contains("TIDEGATE_IDEL_TIMEOUT"), "{warning}");
    assert!(warning.contains("did you mean TIDEGATE_IDLE_TIMEOUT?"), "{warning}");
    program.hear_announcements(1);
}

#[test]
fn folder_alone_is_served() {
    let folder = TempFolder::new();
    folder.write("hello.txt", "hello");
    let folder = folder.path().to_str().unwrap();
    for arguments in [&[folder][..], &["--log-level", "info", folder, "--idle-timeout", "3s"]] {
        assert_eq!(Program::start(arguments).get("/hello.txt").text(), "hello");
    }
    check_failure(&["/no/such/folder"], 2, &["/no/such/folder", "there is no folder"]);
}

#[test]
fn proxy_header_is_refused_and_named_in_the_log_once() {
    let program = Program::start(&[]);
    for _ in 0..2 {
        let mut stream = program.connect();
        stream
            .write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let answer = Answer::read(&mut stream);
        assert_eq!(answer.code, 400);
        assert!(answer.text().contains("PROXY header"), "{}", answer.text());
    }
    let warning = program.stderr.next_with("PROXY header");
    assert!(warning.contains("send-proxy"), "{warning}");
    assert_eq!(program.stderr.next_within(Duration::from_millis(50)), None);
}

#[test]
fn busy_port_is_one_clear_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    check_failure(&["--listen", &address], 1, &["tidegate: ", &address, "in use", "--listen :8001"]);
}

#[test]
fn folder_that_cannot_be_served_is_one_clear_line() {
    let folder = TempFolder::new();
    let file = folder.write("file", "");
    let (file, missing) = (file.to_str().unwrap(), folder.path().join("missing"));
    let missing = missing.to_str().unwrap();
    check_failure(&["static", missing], 1, &["tidegate: ", missing, "No such file"]);
    check_failure(&["static", file], 1, &["tidegate: ", file]);
}

#[test]
fn unix_socket_in_a_missing_folder_is_one_clear_line() {
    let address = "unix:/no/such/folder/socket";
    check_failure(&["--listen", address], 1, &["tidegate: ", "/no/such/folder/socket"]);
}

#[test]
fn every_address_is_announced_and_served() {
    let folder = TempFolder::new();
    folder.write("hello.txt", "hello");
    let folder = folder.path().to_str().unwrap();
    let arguments = ["-l", "127.0.0.1:0", "static", folder, "--listen", "127.0.0.1:0"];
    let program = Program::start_command(tidegate().args(arguments), 2);
    assert_ne!(program.addresses[0], program.addresses[1]);
    for address in &program.addresses {
        let authority = address.strip_prefix("http://").unwrap().trim_end_matches('/');
        let stream = TcpStream::connect(authority).unwrap();
        assert_eq!(ask_over(stream, "GET", "/hello.txt", &[], b"").text(), "hello");
    }
}

#[test]
fn unix_socket_is_served() {
    let folder = TempFolder::new();
    let path = folder.path().join("socket");
    let address = format!("unix:{}", path.display());
    let command = &mut tidegate();
    command.args(["--access-log", "combined", "--listen", &address]);
    let program = Program::start_command(command, 1);
    assert_eq!(program.addresses, [address]);
    let answer = ask_over(UnixStream::connect(&path).unwrap(), "GET", "/", &[], b"");
    assert_eq!(answer.code, 200);
    assert!(program.stdout.next().starts_with("- - - ["));
}

/// Containers may forbid what it takes: then there is an error, and no server without a socket.
#[cfg(target_os = "linux")]
#[test]
fn inherited_socket_is_served_or_the_system_is_to_blame() {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    use std::os::fd::{AsRawFd, OwnedFd};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = format!("http://{}/", listener.local_addr().unwrap());
    let own = pidfd_open(getpid(), PidfdFlags::empty());
    let is_allowed =
        own.and_then(|own| pidfd_getfd(own, listener.as_raw_fd(), PidfdGetfdFlags::empty())).is_ok();
    let script = format!("exec '{}' -b fd://3 3<&0", process::path());
    let command = &mut std::process::Command::new("sh");
    command.args(["-c", &script]).stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 200];
    let count = child.stderr.as_mut().unwrap().read(&mut first).unwrap();
    let line = String::from_utf8_lossy(&first[..count]).into_owned();
    if is_allowed {
        assert!(line.contains(&format!(" on {expected} ")), "{line}");
        let stream = TcpStream::connect(expected["http://".len()..].trim_end_matches('/')).unwrap();
        assert_eq!(ask_over(stream, "GET", "/", &[], b"").code, 200);
        child.kill().unwrap();
    } else {
        assert!(line.contains("fd://3") && line.contains("pidfd_getfd"), "{line}");
    }
    child.wait().unwrap();
}

#[test]
fn descriptor_that_is_not_open_is_one_clear_line() {
    check_failure(&["-b", "fd://999"], 1, &["tidegate: ", "cannot listen on fd://999"]);
}

#[test]
fn limits_on_the_command_line_hold() {
    let limits = ["--request-line-max", "100", "--head-max", "1k", "--fields-max=6"];
    let more = ["--body-max", "10", "--head-timeout", "0.3"];
    let program = Program::start(&[&limits[..], &more[..]].concat());
    assert_eq!(program.get(&format!("/{}", "x".repeat(200))).code, 414);
    let long = format!("X: {}", "x".repeat(2_000));
    assert_eq!(program.ask("GET", "/", &[&long], b"").code, 431);
    assert_eq!(program.ask("GET", "/", &["A: 1", "B: 2", "C: 3", "D: 4", "E: 5"], b"").code, 431);
    assert_eq!(program.ask("POST", "/upload", &[], b"more than ten").code, 413);
    assert_eq!(program.ask("POST", "/upload", &[], b"ten").code, 200);
    let mut stream = program.connect();
    stream.write_all(b"GET / HT").unwrap();
    assert_eq!(Answer::read(&mut stream).code, 408);
}

/// An upload of which half has arrived.
fn half_upload(program: &Program) -> TcpStream {
    let mut stream = program.connect();
    let head = "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"Expect: 100-continue\r\n\r\n").unwrap();
    // Once the server says "continue", it has the head, and the exchange is in flight.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"01234").unwrap();
    stream
}

#[test]
fn first_signal_lets_finish_what_is_in_flight() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut program = Program::start(&["--linger-timeout", "200ms"]);
        let mut stream = half_upload(&program);
        program.signal(signal);
        program.stderr.next_with("finishes what it is serving");
        // The listener is closed soon after.
        eventually(|| match TcpStream::connect(program.authority()) {
            Ok(_) => Err(std::io::Error::other("still listening")),
            Err(_) => Ok(()),
        });
        stream.write_all(b"56789").unwrap();
        let answer = Answer::read(&mut stream);
        assert_eq!(answer.code, 200);
        assert!(answer.text().contains("10 bytes"));
        // As whoever is told "Connection: close" does.
        drop(stream);
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[test]
fn second_signal_stops_at_once() {
    let mut program = Program::start(&["--drain-timeout", "1h", "--body-timeout", "1h"]);
    let mut stream = half_upload(&program);
    program.interrupt();
    program.stderr.next_with("finishes what it is serving");
    program.interrupt();
    program.stderr.next_with("stops");
    assert_eq!(program.wait().code(), Some(0));
    // Closed or reset, but without an answer.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn idle_program_ends_at_the_first_signal() {
    let mut program = Program::start(&[]);
    assert_eq!(program.get("/").code, 200);
    let _idle = program.connect();
    program.interrupt();
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn drain_is_cut_at_its_deadline() {
    let mut program = Program::start(&["--drain-timeout", "200ms", "--body-timeout", "1h"]);
    let _stream = half_upload(&program);
    program.interrupt();
    assert_eq!(program.wait().code(), Some(0));
}

/// The library announces its address itself, for programs that announce nothing.
#[test]
fn address_is_logged_where_information_is_asked_for() {
    let program = Program::start(&["--log-level", "info"]);
    let line = program.stderr.next_with("serving on");
    assert!(line.ends_with(&format!(" INFO serving on {}", program.addresses[0])), "{line}");
}

#[test]
fn combined_access_log_has_one_line_for_each_exchange() {
    let program = Program::start(&["--access-log", "combined"]);
    program.ask("GET", "/none?a=\"b", &["Referer: http://r/", "User-Agent: a \"b\\\u{e9}"], b"");
    let line = program.stdout.next();
    let (start, rest) = line.split_once(" [").unwrap();
    assert_eq!(start, "127.0.0.1 - -");
    let (time, rest) = rest.split_once("] ").unwrap();
    assert!(time.ends_with(" +0000") && time.len() == 26, "{time}");
    let (request, rest) = rest.split_once(" 404 ").unwrap();
    assert_eq!(request, "\"GET /none?a=\\x22b HTTP/1.1\"");
    let (bytes, rest) = rest.split_once(' ').unwrap();
    assert!(bytes.parse::<u64>().unwrap() > 100);
    assert_eq!(rest, "\"http://r/\" \"a \\x22b\\x5C\\xC3\\xA9\"");
}

#[test]
fn json_access_log_has_one_object_for_each_exchange() {
    let program = Program::start(&["--access-log", "json"]);
    let length = program.get("/").content.len();
    let record: serde_json::Value = serde_json::from_str(&program.stdout.next()).unwrap();
    assert_eq!(record["peer"], "127.0.0.1");
    assert_eq!(record["method"], "GET");
    assert_eq!(record["target"], "/");
    assert_eq!(record["version"], "HTTP/1.1");
    assert_eq!(record["status"], 200);
    assert_eq!(record["bytes"], length);
    assert_eq!(record["aborted"], false);
    assert!(record["user_agent"].is_null() && record["duration"].is_f64());
    assert!(record["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn access_log_is_off_by_default() {
    let mut program = Program::start(&[]);
    program.get("/");
    program.interrupt();
    program.wait();
    assert_eq!(program.stdout.rest(), "");
}

#[test]
fn access_log_that_nobody_reads_ends_and_the_server_lives() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let command = &mut tidegate();
    command.args(["--listen", "127.0.0.1:0", "--access-log", "combined"]);
    let program = Program::start_with_stdout(command, writer.into(), 1);
    for _ in 0..3 {
        assert_eq!(program.get("/").code, 200);
    }
    let warning = program.stderr.next_with("access log");
    assert!(warning.contains(" WARN "), "{warning}");
    assert_eq!(program.stderr.next_within(Duration::from_millis(300)), None);
}

/// Starts a program whose stderr is read up to its announcement and no further, and returns the rest to be
/// read.
fn start_with_unread_stderr(arguments: &[&str]) -> (Child, PipeReader, String) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let command = &mut tidegate();
    let child = command.args(arguments).args(["-l", "127.0.0.1:0"]).stderr(writer).spawn().unwrap();
    // The command has the other end of the pipe as well.
    *command = tidegate();
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !said.ends_with(b"\n") {
        reader.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    let said = String::from_utf8(said).unwrap();
    let address = said.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_string();
    (child, reader, address)
}

/// Requests a target `count` times, over one connection.
fn ask_often(address: &str, target: &str, count: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    for _ in 0..count / 20 {
        stream.write_all(request.repeat(20).as_bytes()).unwrap();
        let (mut received, mut buffer) = (Vec::new(), [0; 64 * 1024]);
        while String::from_utf8_lossy(&received).matches("HTTP/1.1 200 ").count() < 20 {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server has closed");
            received.extend_from_slice(&buffer[..count]);
        }
    }
}

/// Lets the application panic `count` times, which ends the connection each time.
fn fail_often(address: &str, query: &str, count: usize) {
    for _ in 0..count {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(ask_over(stream, "GET", &format!("/fail?{query}"), &[], b"").code, 500);
    }
}

/// Returns the number of lost lines, which ends such a message.
fn lost(line: &str) -> usize {
    line.rsplit_once(": ").unwrap().1.parse().unwrap()
}

/// Each failure is a panic, and an error in the log that is as long as the target.
#[test]
fn stderr_that_nobody_reads_costs_lines_and_nobody_waits() {
    let (mut child, mut reader, address) = start_with_unread_stderr(&[]);
    let long = "x".repeat(7_000);
    fail_often(&address, &long, 300);
    let reading = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text).unwrap()
    });
    // The reader is back: the log goes on behind the notice.
    thread::sleep(Duration::from_millis(200));
    fail_often(&address, "afterwards", 20);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    let text = reading.join().unwrap();
    let notices = text.lines().filter(|line| line.contains(" WARN lines lost here"));
    let (before, lost) =
        (text.lines().filter(|line| line.contains("xxx")).count(), notices.map(lost).sum::<usize>());
    assert!(before > 20 && lost > 20, "{before}, {lost}");
    let lines = text.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked at"));
    // A panic has two lines: the second is what it says.
    assert!(lines.count() + lost >= 2 * 320, "{before}, {lost}");
    assert_eq!(text.lines().filter(|line| line.contains("afterwards")).count(), 20);
    assert!(text.contains("finishes what it is serving"));
}

#[test]
fn end_of_the_program_does_not_wait_long_for_a_log_that_nobody_reads() {
    let (mut child, _reader, address) = start_with_unread_stderr(&[]);
    fail_often(&address, &"x".repeat(7_000), 50);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let begun = Instant::now();
    assert!(child.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn access_log_that_is_read_late_misses_lines_and_says_so() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let command = &mut tidegate();
    command.args(["--listen", "127.0.0.1:0", "--access-log", "combined"]);
    let mut program = Program::start_with_stdout(command, writer.into(), 1);
    *command = tidegate();
    let long = format!("/style.css?{}", "x".repeat(2_000));
    ask_often(program.authority(), &long, 1_000);
    let reading = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text).unwrap()
    });
    let lost = lost(&program.stderr.next_with("lines lost of the access log"));
    ask_often(program.authority(), "/style.css?afterwards", 20);
    program.interrupt();
    assert!(program.wait().success());
    let text = reading.join().unwrap();
    assert_eq!(text.lines().count() + lost, 1_020);
    assert_eq!(text.lines().rev().take_while(|line| line.contains("afterwards")).count(), 20);
}

#[test]
fn access_log_is_whole_and_in_order_when_the_program_ends() {
    let mut program = Program::start(&["--access-log", "combined"]);
    for number in 0..40 {
        ask_often(program.authority(), &format!("/style.css?{number}"), 100);
    }
    program.interrupt();
    assert!(program.wait().success());
    let text = program.stdout.rest();
    let numbers = text.lines().map(|line| line.split_once("css?").unwrap().1.split_once(' ').unwrap().0);
    let expected = (0..40).flat_map(|number| [number; 100]);
    assert!(numbers.eq(expected.map(|number: i32| number.to_string())), "{text}");
}

/// The reader that goes and comes back stands for a disk that was full and has room again.
#[test]
fn access_log_on_stdout_goes_on_when_it_can_be_written_again() {
    let folder = TempFolder::new();
    let path = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let first = thread::spawn({
        let path = path.clone();
        move || File::open(path).unwrap()
    });
    let writer = File::options().write(true).open(&path).unwrap();
    let command = &mut tidegate();
    command.args(["--listen", "127.0.0.1:0", "--access-log", "combined"]);
    let program = Program::start_with_stdout(command, writer.into(), 1);
    *command = tidegate();
    drop(first.join().unwrap());
    assert_eq!(program.get("/lost").code, 404);
    program.stderr.next_with("the access log cannot be written");
    let mut second = BufReader::new(File::open(&path).unwrap());
    assert_eq!(program.get("/kept").code, 404);
    let mut line = String::new();
    second.read_line(&mut line).unwrap();
    assert!(line.contains("/kept"), "{line}");
    assert_eq!(lost(&program.stderr.next_with("lines lost of the access log")), 1);
}

#[test]
fn program_serves_on_when_stderr_is_closed() {
    let folder = TempFolder::new();
    let path = folder.path().join("socket");
    let mut child = tidegate()
        .args(["--log-level", "trace", "--listen", &format!("unix:{}", path.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let ask =
        |target: &str| ask_over(eventually(|| UnixStream::connect(&path)), "GET", target, &[], b"").code;
    assert_eq!((ask("/"), ask("/fail"), ask("/")), (200, 500, 200));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn help_survives_a_closed_stdout() {
    let mut child = tidegate().arg("--help").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn too_few_descriptors_are_told_and_respected() {
    let sh = &mut std::process::Command::new("sh");
    let binary = process::path();
    sh.args(["-c", &format!("ulimit -n 64; exec '{binary}' -l 127.0.0.1:0")]);
    let mut child = sh.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut first = [0; 200];
    let count = child.stderr.as_mut().unwrap().read(&mut first).unwrap();
    let line = String::from_utf8_lossy(&first[..count]).into_owned();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("64 descriptors") && line.contains("32 connections"), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let sh = &mut std::process::Command::new("sh");
    let binary = process::path();
    sh.args(["-c", &format!("ulimit -Sn 64; exec '{binary}' -l 127.0.0.1:0")]);
    let program = Program::start_command(sh, 1);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = line.split_whitespace().collect();
    assert_eq!(numbers[3], numbers[4], "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn table_of_descriptors_has_its_size_before_connections_come() {
    for (allowed, connections_max, expected) in [(4_096, 2_000, 2_000), (1_024, 2_000, 992)] {
        let sh = &mut std::process::Command::new("sh");
        let binary = process::path();
        let command = format!(
            "ulimit -n {allowed}; exec '{binary}' -l 127.0.0.1:0 --connections-max {connections_max}"
        );
        let program = Program::start_command(sh.args(["-c", &command]), 1);
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let size: usize = size.trim().parse().unwrap();
        assert!(size >= expected, "{size} places of {allowed} for {connections_max} connections");
    }
}

#[test]
fn failing_application_is_logged_with_time_and_level_and_harms_nobody() {
    let program = Program::start(&[]);
    assert_eq!(program.get("/fail").code, 500);
    let line = program.stderr.next_with(" ERROR ");
    let (time, message) = line.split_once(" ERROR ").unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
    assert!(message.contains("this is what /fail is for"), "{line}");
    assert_eq!(program.get("/").code, 200);
}

#[test]
fn log_that_is_off_says_nothing() {
    let mut program = Program::start(&["--log-level", "off"]);
    assert_eq!(program.get("/fail").code, 500);
    program.interrupt();
    program.wait();
    assert!(!program.stderr.rest().contains(" ERROR "));
}

#[test]
fn many_clients_at_once_are_served() {
    let program = Program::start(&[]);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(program.get("/").code, 200);
                }
            });
        }
    });
}

#[test]
fn several_reactors_serve_and_end_together() {
    let mut program = Program::start(&["--reactors", "3"]);
    for _ in 0..24 {
        assert_eq!(program.get("/").code, 200);
    }
    program.interrupt();
    assert!(program.wait().success());
    check_failure(&["--reactors", "0"], 2, &["--reactors", "auto"]);
    check_failure(&["--reactors", "many"], 2, &["--reactors"]);
}
