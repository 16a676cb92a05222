//! Tests memory over many requests, and the needs of the package: nothing grows with the requests served,
//! uploads do not stay in memory, and no libpython is linked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use super::environment;
use super::served::{Mode, Served};
use super::support::loopback::{Client, wait_until};

/// The number of requests, unless `TIDEGATE_REQUESTS` says otherwise.
const REQUESTS: usize = 100_000;
/// Requests that are sent at a time.
const DEPTH: usize = 250;
/// Growth that is attributed to allocators and interned strings.
const SLACK_BYTES: u64 = 2 << 20;
/// Growth that a large upload may cause: buffers, never the content.
const UPLOAD_SLACK_BYTES: u64 = 8 << 20;
const UPLOAD_BYTES: usize = 200 << 20;
const READ_BYTES: usize = 64 << 20;
/// Uploads that their clients give up; each alone would be kept in memory.
#[cfg(target_os = "linux")]
const ABANDONED: usize = 200;
#[cfg(target_os = "linux")]
const ABANDONED_BYTES: usize = 500_000;
/// The length of answers that their clients do not wait for.
#[cfg(target_os = "linux")]
const ECHOED_BYTES: usize = 4 << 20;
/// The account of memory is 8 MiB; allocators keep some of what was given back.
#[cfg(target_os = "linux")]
const ABANDONED_SLACK_BYTES: u64 = 24 << 20;

/// Asks for plain answers, streams, uploads, failures and files, with clients that leave.
#[cfg(target_os = "linux")]
pub fn stays_flat(mode: Mode) {
    let requests = env::var("TIDEGATE_REQUESTS").map_or(REQUESTS, |text| text.parse().unwrap());
    // Nobody reads a hundred thousand tracebacks.
    let served = Served::start_with("probe_app:application", mode, |command| {
        command.args(["--log-level", "off"]);
    });
    let third = requests / 3;
    ask(&served, third);
    let before = served.resident_bytes();
    ask(&served, 2 * third);
    let after = served.resident_bytes();
    assert!(after < before + SLACK_BYTES, "{before} bytes after a third, {after} at the end");
    assert_eq!(served.get("/hello").text(), "hello");
}

/// Makes `requests` requests of every kind, in rounds.
fn ask(served: &Served, requests: usize) {
    for round in 0..requests / (2 * DEPTH) {
        pipeline(served, "GET /hello HTTP/1.1\r\nHost: a\r\nX-Round: {}\r\n\r\n", DEPTH, round);
        for kind in [
            "GET /block_generator HTTP/1.1\r\nHost: a\r\nCookie: a={}\r\n\r\n",
            "POST /input_count HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789",
            "GET /replace HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /write HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /file HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /file_memory HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /start?%27200%20%5Cn%27,%5B%5D HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            pipeline(served, kind, DEPTH / 10, round);
        }
        // An application that fails costs its client the connection.
        for path in ["/fail_before", "/fail_first", "/return_text_block", "/unstarted_list", "/fail_midway"] {
            (0..DEPTH / 25).for_each(|_| leave(served, path));
        }
        for path in ["/blocks_many", "/close_generator?memory", "/start_kept", "/input_kept"] {
            (0..DEPTH / 50).for_each(|_| leave(served, path));
        }
    }
}

/// Sends a request `count` times on one connection and reads until it ends; `{}` is the round.
fn pipeline(served: &Served, request: &str, count: usize, round: usize) {
    let request = request.replace("{}", &round.to_string());
    let (all, last) =
        (request.repeat(count - 1), request.replacen("Host: a", "Host: a\r\nConnection: close", 1));
    let mut stream = served.program.connect();
    let mut writer = stream.try_clone().unwrap();
    // Both at a time: what is not read is not answered further.
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(format!("{all}{last}").as_bytes()).unwrap());
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let answers = bytes.windows(9).filter(|window| window == b"HTTP/1.1 ").count();
        assert_eq!(answers, count, "{request}");
    });
}

/// Asks, reads a little, and leaves.
fn leave(served: &Served, path: &str) {
    let mut stream: TcpStream = served.program.connect();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 17]).unwrap();
}

/// A request reads its upload from a temporary file, in pieces.
#[cfg(target_os = "linux")]
pub fn does_not_hold_uploads(mode: Mode) {
    let served = Served::start("probe_app:application", mode);
    upload(&served, UPLOAD_BYTES / 100);
    let before = served.resident_bytes();
    upload(&served, UPLOAD_BYTES);
    let peak = served.resident_peak_bytes();
    assert!(peak < before + UPLOAD_SLACK_BYTES, "{before} bytes before, {peak} at most");
}

/// Content that is read at once is in memory once: as the object that the application gets.
#[cfg(target_os = "linux")]
pub fn holds_content_once_that_is_read_at_once(mode: Mode) {
    let served = Served::start("probe_app:application", mode);
    upload(&served, UPLOAD_BYTES / 100);
    let before = served.resident_bytes();
    upload_to(&served, "/input_read", READ_BYTES);
    let (peak, content) = (served.resident_peak_bytes(), READ_BYTES as u64);
    assert!(peak < before + content + UPLOAD_SLACK_BYTES, "{before} bytes before, {peak} at most");
}

/// Temporary files have a bound of their own here, too.
#[test]
fn uploads_beyond_the_room_for_temporary_files_are_refused() {
    let served = Served::start_with("probe_app:application", Mode::Threads, |command| {
        command.args(["--body-memory-max", "1k", "--spool-max", "100k"]);
    });
    let head = |length| format!("POST /input_count HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let upload = |length: usize| served.ask(head(length) + &"x".repeat(length)).code;
    // Each gives back what it has taken.
    assert_eq!((upload(90_000), upload(90_000)), (200, 200));
    assert_eq!(served.ask(head(200_000)).code, 413);
    let mut slow = served.connect();
    slow.send(head(90_000) + &"x".repeat(80_000));
    wait_until("there is no room beside the slow one", || upload(90_000) == 503);
    drop(slow);
    wait_until("the room is there again", || upload(90_000) == 200);
}

/// The clients have sent everything and left before a thread was free.
#[cfg(target_os = "linux")]
#[test]
fn requests_of_clients_that_have_left_are_not_held() {
    let served = Served::start_with("probe_app:application", Mode::Threads, |command| {
        command.args(["--memory-max", "8MiB"]);
    });
    let ids = ["a", "b", "c", "d"];
    let mut slow: Vec<_> = ids.iter().map(|id| begin(&served, id)).collect();
    let (before, (descriptors, _)) = (served.resident_bytes(), served.holds());
    let content = vec![b'x'; ABANDONED_BYTES];
    // Some of a kind at a time, as by somebody who means no harm.
    for _ in 0..ABANDONED / 20 {
        let clients: Vec<TcpStream> = (0..20).map(|_| abandon(&served, &content)).collect();
        // The loop has all of it when it answers another.
        assert_eq!(served.ask("GET / HTTP/1.1\r\n\r\n").code, 400);
        for client in clients {
            set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        }
    }
    wait_until("their files are closed", || served.holds().0 <= descriptors);
    let peak = served.resident_peak_bytes();
    assert!(peak < before + ABANDONED_SLACK_BYTES, "{before} bytes before, {peak} at most");
    ids.iter().for_each(|id| served.open_gate(id));
    assert!(slow.iter_mut().all(|client| client.read("GET").code == 200));
    assert_eq!(served.get("/hello").text(), "hello");
}

/// Clients ask for ten megabytes and read nothing: neither their answers nor freed memory may stay.
#[cfg(target_os = "linux")]
#[test]
fn answers_that_nobody_reads_are_not_held() {
    let served = Served::start_with("probe_app:application", Mode::Threads, |command| {
        command.args(["--memory-max", "8MiB"]);
    });
    assert_eq!(served.get("/hello").text(), "hello");
    let before = served.resident_bytes();
    let mut unread = Vec::new();
    for _ in 0..40 {
        let mut client = served.connect();
        set_socket_recv_buffer_size(client.try_clone_tcp(), 4096).unwrap();
        client.send("GET /block_large HTTP/1.1\r\nHost: a\r\n\r\n");
        unread.push(client);
        assert_eq!(served.get("/hello").text(), "hello");
    }
    // Each thread may have one answer twice, as the application has made it and as it leaves.
    let peak = served.resident_peak_bytes();
    assert!(peak < before + (4 * 2 * 10 + 24) * 1_000_000, "{before} bytes before, {peak} at most");
    drop(unread);
    wait_until("what is free has gone back", || served.resident_bytes() < before + UPLOAD_SLACK_BYTES);
}

/// Clients leave while their own content is on its way back to them, in one piece and in blocks that a thread
/// makes.
#[cfg(target_os = "linux")]
#[test]
fn content_on_its_way_back_goes_with_its_client() {
    let served = Served::start("probe_app:application", Mode::Threads);
    assert_eq!(served.get("/hello").text(), "hello");
    let before = served.resident_bytes();
    for block in ["", "16384", "1000000"] {
        let head =
            format!("POST /input_echo?{block} HTTP/1.1\r\nHost: a\r\nContent-Length: {ECHOED_BYTES}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'x'; ECHOED_BYTES]].concat();
        let unread: Vec<Client> = (0..16)
            .map(|_| {
                let mut client = served.connect();
                set_socket_recv_buffer_size(client.try_clone_tcp(), 4096).unwrap();
                client.send(&request);
                client
            })
            .collect();
        wait_until("much is held", || served.resident_bytes() > before + 2 * UPLOAD_SLACK_BYTES);
        drop(unread);
        assert_eq!(served.get("/hello").text(), "hello");
        wait_until("it has gone", || served.resident_bytes() < before + UPLOAD_SLACK_BYTES);
    }
}

/// Makes a request that stays in its thread until its gate is opened.
#[cfg(target_os = "linux")]
fn begin(served: &Served, id: &str) -> Client {
    let mut client = served.connect();
    client.send(format!("GET /close_gate_list?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    served.wait_for_note(id, "called");
    client
}

#[cfg(target_os = "linux")]
fn abandon(served: &Served, content: &[u8]) -> TcpStream {
    let mut stream = served.program.connect();
    let head = format!("POST /input_count HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(content).unwrap();
    stream
}

fn upload(served: &Served, count: usize) {
    upload_to(served, "/input_count", count);
}

fn upload_to(served: &Served, path: &str, count: usize) {
    let mut client = served.connect();
    client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {count}\r\n\r\n"));
    let piece = vec![b'x'; 1 << 16];
    let mut left = count;
    while left > 0 {
        let size = left.min(piece.len());
        client.send(&piece[..size]);
        left -= size;
    }
    assert_eq!(client.read("POST").to_string(), format!("200 length: {count}"));
}

/// The dynamic linker must not look for libpython.
#[cfg(target_os = "linux")]
#[test]
fn extension_asks_for_no_libpython() {
    let find = "import tidegate._tidegate as native; print(native.__file__)";
    let output = Command::new(environment::python()).args(["-c", find]).output().unwrap();
    let path = String::from_utf8(output.stdout).unwrap();
    assert!(fs::exists(path.trim()).unwrap(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new("ldd").arg(path.trim()).output().unwrap();
    let needed = String::from_utf8(output.stdout).unwrap();
    assert!(needed.contains("libc") && !needed.contains("libpython"), "{needed}");
}

#[test]
fn program_that_cargo_builds_by_default_knows_nothing_of_python() {
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let arguments = ["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"];
    let output = Command::new(cargo).args(arguments).current_dir(environment::root()).output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("mio "), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!tree.contains("pyo3"), "{tree}");
}
