//! Tests what a server must survive: a million requests, ten thousand connections, the end under full load,
//! and a machine that has nothing left to give. All over real sockets, most against the real program.

mod support;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::loopback::serve;
use support::process::{PATIENCE, Program, eventually, tidegate};
use support::temp_folder::TempFolder;
use tidegate::limits::Limits;
use tidegate::{Environ, StartResponse};

const GET: &[u8] = b"GET /icon.svg HTTP/1.1\r\nHost: a\r\n\r\n";
/// Requests that are sent at a time.
const DEPTH: usize = 500;
/// Growth that is attributed to pages and allocators.
const SLACK_BYTES: u64 = 2 << 20;

/// Returns the length of an answer in bytes. It never varies, since dates have a fixed length.
fn answer_bytes(program: &Program) -> usize {
    let mut stream = program.connect();
    stream.write_all(GET).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, content)) = text.split_once("\r\n\r\n") {
            let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
            let length: usize = length.parse().unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            if content.len() == length {
                return head.len() + 4 + length;
            }
        }
    }
}

/// Sends `requests` requests over one connection, and reads every answer.
fn ask_often(program: &Program, requests: usize) {
    let mut answers = vec![0; DEPTH * answer_bytes(program)];
    let mut stream = program.connect();
    let batch = GET.repeat(DEPTH);
    for _ in 0..requests / DEPTH {
        stream.write_all(&batch).unwrap();
        stream.read_exact(&mut answers).unwrap();
    }
    assert!(answers.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// Opens connections, a hundred at a time, sends one request on each, and leaves.
fn come_and_go(program: &Program, connections: usize) {
    for _ in 0..connections / 100 {
        let mut streams: Vec<_> = (0..100).map(|_| program.connect()).collect();
        streams.iter_mut().for_each(|stream| stream.write_all(GET).unwrap());
        streams.iter_mut().for_each(|stream| stream.read_exact(&mut [0; 17]).unwrap());
    }
}

/// Resident memory, in bytes.
#[cfg(target_os = "linux")]
fn resident_bytes(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_where_it_was_after_a_million_requests_and_ten_thousand_connections() {
    let program = Program::start(&[]);
    ask_often(&program, 10_000);
    come_and_go(&program, 500);
    let before = resident_bytes(&program);
    ask_often(&program, 1_000_000);
    come_and_go(&program, 10_000);
    let after = resident_bytes(&program);
    assert!(after < before + SLACK_BYTES, "{before} bytes before, {after} after");
}

/// A new connection is read even if memory is scarce, but not so much that many of them could exceed the
/// limit several times over.
#[cfg(target_os = "linux")]
#[test]
fn memory_limit_holds_against_many_who_begin_at_the_same_time() {
    const MEMORY_BYTES: u64 = 4 << 20;
    const CLIENTS: usize = 500;
    let program = Program::start(&["--memory-max", &MEMORY_BYTES.to_string()]);
    assert_eq!(program.get("/").code, 200);
    let before = resident_bytes(&program);
    let half_a_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(30_000));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = program.connect();
            client.write_all(half_a_head.as_bytes()).unwrap();
            client
        })
        .collect();
    let mut held = 0;
    eventually(|| {
        let last = std::mem::replace(&mut held, resident_bytes(&program).saturating_sub(before));
        thread::sleep(Duration::from_millis(100));
        if held > 0 && held == last { Ok(()) } else { Err(io::Error::other("it still grows")) }
    });
    assert!(held < MEMORY_BYTES * 2, "{held} bytes, of {} that were sent", CLIENTS * half_a_head.len());
    // Once they have gone there is room again.
    drop(clients);
    assert_eq!(program.get("/").code, 200);
}

/// Clients ask again and again until the server has gone. Each answer is whole or does not begin, and none
/// that the application has given is missing.
#[test]
fn drain_under_full_load_loses_no_request() {
    for _ in 0..5 {
        let called = Arc::new(AtomicU64::new(0));
        let counter = called.clone();
        let mut server = serve(
            move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
                counter.fetch_add(1, Ordering::Relaxed);
                start_response.status(200).send("whole")
            },
            Limits::default(),
        );
        let address = server.address();
        let clients: Vec<_> = (0..16).map(|_| thread::spawn(move || ask_until_the_end(address))).collect();
        thread::sleep(Duration::from_millis(100));
        server.handle.drain();
        let answered: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        server.join();
        assert_eq!(answered, called.load(Ordering::Relaxed));
        assert!(answered > 100, "only {answered} requests were under way");
    }
}

/// Returns the number of whole answers.
fn ask_until_the_end(address: std::net::SocketAddr) -> u64 {
    let mut answered = 0;
    while let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Half of the clients ask for the end of the connection themselves.
        let last = ["", "Connection: close\r\n"][usize::from(answered % 7 == 3)];
        loop {
            if stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{last}\r\n").as_bytes()).is_err() {
                break;
            }
            match read_answer(&mut stream) {
                Some(is_last) => {
                    answered += 1;
                    if is_last {
                        break;
                    }
                }
                None => break,
            }
        }
    }
    answered
}

/// Returns whether this answer was the last one of its connection; none if the connection has ended before
/// its first byte, so that the request can be sent again elsewhere.
fn read_answer(stream: &mut TcpStream) -> Option<bool> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nwhole") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            end => {
                assert!(bytes.is_empty(), "{end:?} after {}", bytes.escape_ascii());
                return None;
            }
        }
    }
    Some(String::from_utf8_lossy(&bytes).contains("Connection: close"))
}

/// The program, with the limits of the shell line before it.
fn limited(line: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{line}; exec \"$0\" \"$@\"")).arg(tidegate().get_program());
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    command
}

#[test]
fn five_hundred_clients_are_served_with_64_descriptors() {
    let program = Program::start_command(&mut limited("ulimit -n 64", &[]), 1);
    let clients: Vec<_> = (0..500)
        .map(|_| {
            let mut stream = program.connect();
            stream.write_all(GET).unwrap();
            stream
        })
        .collect();
    // Those that have been answered are idle, and make room for those that wait.
    for mut client in clients {
        client.read_exact(&mut [0; 17]).unwrap();
    }
    assert_eq!(program.get("/").code, 200);
}

/// There are more such clients than descriptors, and more come all the time.
#[test]
fn clients_that_send_nothing_make_room_with_64_descriptors() {
    let program = Program::start_command(&mut limited("ulimit -n 64", &[]), 1);
    let mut silent: Vec<_> = (0..500).map(|_| program.connect()).collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        assert_eq!(program.get("/").code, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        silent.extend((0..10).map(|_| program.connect()));
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn uploads_without_a_place_are_refused_and_the_rest_is_served() {
    let folder = std::env::temp_dir().join(format!("tidegate-spool-{}", std::process::id()));
    let arguments = ["--listen", "127.0.0.1:0", "--body-memory-max", "1KiB"];
    let mut command = tidegate();
    command.args(arguments).env("TMPDIR", &folder);
    let program = Program::start_command(&mut command, 1);
    let upload = || program.ask("POST", "/upload", &["Content-Type: text/plain"], &[b'x'; 100_000]);
    for _ in 0..20 {
        let refused = upload();
        assert_eq!(refused.code, 503);
        assert!(refused.head.contains("Retry-After: "), "{}", refused.head);
        assert_eq!(program.get("/").code, 200);
    }
    // With a place for them it recovers at once.
    std::fs::create_dir(&folder).unwrap();
    let answer = upload();
    std::fs::remove_dir(&folder).unwrap();
    assert_ne!(answer.code, 503);
}

#[test]
fn files_laid_in_the_way_of_uploads_do_not_matter() {
    let folder = TempFolder::new();
    let mut command = tidegate();
    command.args(["--listen", "127.0.0.1:0", "--body-memory-max", "1KiB"]).env("TMPDIR", folder.path());
    let program = Program::start_command(&mut command, 1);
    for number in 0..400 {
        folder.write(&format!("tidegate-{}-{number}.spool", program.id()), "in the way");
    }
    let answer = program.ask("POST", "/upload", &["Content-Type: text/plain"], &[b'x'; 100_000]);
    assert_eq!(answer.code, 200);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 400, "nothing was left, or taken away");
}

#[test]
fn access_log_that_cannot_be_written_stops_nobody() {
    for stdout in ["exec >&-", "exec >/dev/full"] {
        let program = Program::start_command(&mut limited(stdout, &["--access-log", "combined"]), 1);
        ask_often(&program, 5_000);
        assert_eq!(program.get("/").code, 200, "{stdout}");
    }
}

#[test]
fn application_that_always_fails_leaves_the_server_whole() {
    let program = Program::start_command(&mut limited(":", &["--log-level", "off"]), 1);
    for _ in 0..300 {
        assert_eq!(program.get("/fail").code, 500);
    }
    assert_eq!(program.get("/").code, 200);
}

#[test]
fn server_that_waits_uses_no_cpu() {
    let mut command = limited("ulimit -n 64", &["--connections-max", "30"]);
    let program = Program::start_with_stdout(&mut command, Stdio::null(), 1);
    // More than there is room for, and half an upload from each: nothing can go on.
    let _clients: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = program.connect();
            stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1").unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let before = cpu_ticks(&program);
    thread::sleep(Duration::from_secs(2));
    let spent = cpu_ticks(&program) - before;
    assert!(spent <= 10, "{spent} hundredths of a second in two seconds of waiting");
}

/// User and system time so far, in hundredths of a second.
fn cpu_ticks(program: &Program) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// An idle program would stay as large as at its busiest moment if the allocator kept what was freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn program_is_small_again_after_a_burst_of_uploads() {
    use support::loopback::wait_until;

    const UPLOADS: usize = 320;
    const BYTES: usize = 100_000;
    let program = Program::start(&[]);
    let rss_bytes = || -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(program.get("/").code, 200);
    let before = rss_bytes();
    // All but the last byte, so that all of them are in memory together.
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|_| {
            let mut stream = program.connect();
            let head = format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&[b'x'; BYTES - 1]).unwrap();
            stream
        })
        .collect();
    wait_until("the uploads are in memory", || rss_bytes() > before + UPLOADS * BYTES / 2);
    // Who stays behind them keeps the heap from shrinking at its end.
    let mut behind = program.connect();
    behind.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    assert_eq!(program.get("/").code, 200);
    drop(uploads);
    wait_until("what is free has gone back", || rss_bytes() < before + 4 * (1 << 20));
}
