//! Tests files as answers over real sockets: every byte, whatever stands around them, and the end of a file
//! that shrinks, cannot be sent, or that nobody takes.
//!
//! Where the system can send files (feature `sockets`, Linux), these go that way; elsewhere they are
//! read, and must look the same.
#![cfg(unix)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::loopback::{Answer, Client, End, PATIENCE, Running, noise, serve, serve_on};
use tidegate::access_log::{AccessLog, ExchangeRecord, Outcome};
use tidegate::gateway::FileRange;
use tidegate::limits::Limits;
use tidegate::{Environ, ListenAddress, Server, ServerHandle, StartResponse};

const GET: &str = "GET /file HTTP/1.1\r\nHost: a\r\n\r\n";

/// Makes an empty file without a name.
fn unnamed() -> File {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tidegate-sendfile-{}-{number}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}

fn file_with(content: &[u8]) -> File {
    let file = unnamed();
    file.write_all_at(content, 0).unwrap();
    file
}

/// Makes a file with holes, and in every megabyte some bytes that tell where they are.
fn sparse(length: u64) -> File {
    let file = unnamed();
    file.set_len(length).unwrap();
    for at in (0..length - 8).step_by(1 << 20) {
        file.write_all_at(&at.to_le_bytes(), at + at / (1 << 20) % 1000).unwrap();
    }
    file
}

/// Answers `/file` with this part of a file, and everything else with its path.
fn parts_of(
    file: &File,
    offset: u64,
    length: u64,
) -> impl FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + use<> {
    let shared = file.try_clone().unwrap();
    move |environ, start_response| match &*environ.path() {
        "/file" => {
            let file = shared.try_clone()?;
            start_response.status(200).file(FileRange { file: file.into(), offset, length })
        }
        path => start_response.status(200).send(path),
    }
}

/// Reads a head, and returns what has come after it.
fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the end, after {} bytes", received.len());
        received.extend_from_slice(&piece[..count]);
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            return received.split_off(end + 4);
        }
    }
}

/// Reads content until there is enough of it, or the end, and compares it with the file. Returns how much
/// there was.
fn compare(mut stream: &TcpStream, behind_head: Vec<u8>, file: &File, length: u64) -> u64 {
    let (mut received, mut expected) = (behind_head, vec![0; 1 << 18]);
    let mut at = 0;
    loop {
        let expected = &mut expected[..received.len()];
        file.read_exact_at(expected, at).unwrap();
        assert!(received == expected, "something else between {at} and {}", at + received.len() as u64);
        at += received.len() as u64;
        received.resize(1 << 18, 0);
        let count = if at < length { stream.read(&mut received).unwrap() } else { 0 };
        if count == 0 {
            return at;
        }
        received.truncate(count);
    }
}

// Every byte

#[test]
fn hundred_mebibytes_arrive_as_they_are() {
    let (file, length) = (sparse(100 << 20), 100 << 20);
    let server = serve(parts_of(&file, 0, length), Limits::default());
    let mut stream = TcpStream::connect(server.address()).unwrap();
    for _ in 0..2 {
        stream.write_all(GET.as_bytes()).unwrap();
        let behind_head = read_head(&mut stream);
        assert_eq!(compare(&stream, behind_head, &file, length), length);
    }
}

#[test]
fn part_of_a_file_arrives_as_it_stands() {
    let content = noise(3, 1_000_000);
    let file = file_with(&content);
    for (offset, length) in
        [(0, 1_000_000), (123_457, 500_001), (983_615, 16_385), (1, 16_384), (7, 1), (9, 0)]
    {
        let server = serve(parts_of(&file, offset, length), Limits::default());
        let mut client = server.connect();
        for _ in 0..2 {
            let response = client.get("/file");
            let expected = &content[offset as usize..(offset + length) as usize];
            assert!(response.content == expected && !response.is_cut, "{length} from {offset}");
        }
    }
}

#[test]
fn head_of_a_file_comes_without_it() {
    let file = file_with(&noise(4, 200_000));
    let server = serve(parts_of(&file, 0, 200_000), Limits::default());
    let mut client = server.connect();
    client.send("HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read("HEAD");
    assert_eq!((head.field("Content-Length"), head.content.len()), (Some("200000"), 0));
    assert_eq!(client.get("/after").text(), "/after");
}

#[test]
fn last_file_of_a_connection_arrives_whole() {
    let content = noise(5, 700_000);
    let server = serve(parts_of(&file_with(&content), 0, 700_000), Limits::default());
    for version in ["1.0", "1.1\r\nConnection: close"] {
        let mut client = server.connect();
        client.send(format!("GET /file HTTP/{version}\r\nHost: a\r\n\r\n"));
        assert!(client.read("GET").content == content);
        assert_eq!(client.read_end(), End::Fin);
    }
}

#[test]
fn client_that_has_ended_its_side_gets_its_file() {
    let content = noise(6, 3_000_000);
    let server = serve(parts_of(&file_with(&content), 0, 3_000_000), Limits::default());
    let mut client = server.connect();
    client.send(GET);
    client.end_sending();
    assert!(client.read("GET").content == content);
    assert_eq!(client.read_end(), End::Fin);
}

#[test]
fn pipelined_files_and_short_answers_keep_their_order() {
    let content = noise(7, 900_000);
    let server = serve(parts_of(&file_with(&content), 0, 900_000), Limits::default());
    let mut client = server.connect();
    let short = |path: &str| GET.replace("/file", path);
    client.send([&short("/first"), GET, GET, &short("/between"), GET, &short("/last")].concat());
    assert_eq!(client.read("GET").text(), "/first");
    assert!(client.read("GET").content == content);
    assert!(client.read("GET").content == content);
    assert_eq!(client.read("GET").text(), "/between");
    assert!(client.read("GET").content == content);
    assert_eq!(client.read("GET").text(), "/last");
}

#[test]
fn file_crosses_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("tidegate-sendfile-{}.sock", std::process::id()));
    let content = noise(8, 2_000_000);
    let address = format!("unix:{}", path.display());
    let _server = serve_on(&[&address], parts_of(&file_with(&content), 0, 2_000_000), Limits::default());
    let mut client = Client::connect_unix(&path);
    for _ in 0..2 {
        assert!(client.get("/file").content == content);
    }
    assert_eq!(client.get("/after").text(), "/after");
}

/// The file is longer than the buffers of both ends, so that the socket is full between any two reads.
#[test]
fn slow_reader_gets_all_and_holds_nobody() {
    let (file, length) = (sparse(24 << 20), 24 << 20);
    let limits = Limits { write_timeout: Duration::from_secs(5), ..Limits::default() };
    let server = serve(parts_of(&file, 0, length), limits);
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(GET.as_bytes()).unwrap();
    let behind_head = read_head(&mut slow);
    let mut other = server.connect();
    let (mut at, mut piece) = (behind_head.len() as u64, vec![0; 1 << 20]);
    while at < length {
        at += slow.read(&mut piece).unwrap() as u64;
        assert_eq!(other.get("/other").text(), "/other");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(at, length);
    slow.write_all(GET.as_bytes()).unwrap();
    let behind_head = read_head(&mut slow);
    assert_eq!(compare(&slow, behind_head, &file, length), length);
}

/// While memory is scarce, half a head is not read on.
#[test]
fn file_that_waits_to_be_sent_takes_no_memory() {
    let (file, length) = (sparse(100 << 20), 100 << 20);
    let server = serve(parts_of(&file, 0, length), Limits { memory_bytes_max: 1 << 20, ..Limits::default() });
    let mut stalled = server.connect();
    stalled.send(GET);
    stalled.read_bytes(1 << 20);
    let mut other = server.connect();
    other.send("GET /other HTTP/1.1\r\n");
    assert!(other.is_quiet_for(Duration::from_millis(50)));
    other.send("Host: a\r\n\r\n");
    assert_eq!(other.read("GET").text(), "/other");
}

// What the journal says

/// The records of an access log: the content bytes, and whether the exchange has ended well.
struct Records(Sender<(u64, bool)>);

impl AccessLog for Records {
    fn record(&mut self, record: &ExchangeRecord<'_>) {
        let is_complete = record.outcome == Outcome::Complete;
        let _ = self.0.send((record.content_bytes, is_complete));
    }

    fn flush(&mut self) {}
}

/// A server whose access log can be read.
struct Recorded {
    address: std::net::SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    records: Receiver<(u64, bool)>,
}

impl Recorded {
    fn serve(
        gateway: impl FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + 'static,
        limits: Limits,
    ) -> Recorded {
        let (sender, records) = mpsc::channel();
        let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).limits(limits);
        let bound = server.access_log(Records(sender)).bind().unwrap();
        let ListenAddress::Tcp(address) = bound.addresses()[0] else { unreachable!("a TCP address") };
        let handle = bound.handle();
        Recorded { address, handle, thread: Some(thread::spawn(move || bound.run(gateway))), records }
    }

    fn record(&self) -> (u64, bool) {
        self.records.recv_timeout(PATIENCE).expect("a record")
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.handle.drain();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

#[test]
fn whole_file_is_recorded_once_with_all_its_bytes() {
    let server = Recorded::serve(parts_of(&sparse(5 << 20), 0, 5 << 20), Limits::default());
    let mut client = Client::connect(server.address);
    client.send([GET, GET, &GET.replace("GET", "HEAD")].concat());
    for method in ["GET", "GET", "HEAD"] {
        client.read(method);
    }
    assert_eq!([server.record(), server.record()], [(5 << 20, true); 2]);
    assert_eq!(server.record(), (0, true));
}

/// The client can tell, and the record says how much has been sent.
#[test]
fn file_that_shrinks_while_it_leaves_cuts_its_response() {
    let (file, length) = (sparse(100 << 20), 100 << 20);
    let server = Recorded::serve(parts_of(&file, 0, length), Limits::default());
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all([GET, GET].concat().as_bytes()).unwrap();
    let behind_head = read_head(&mut stream);
    // More than all buffers can hold.
    file.set_len(50 << 20).unwrap();
    assert_eq!(compare(&stream, behind_head, &file, length), 50 << 20);
    assert_eq!(server.record(), (50 << 20, false));
    let mut next = Client::connect(server.address);
    assert_eq!(next.get("/after").text(), "/after");
}

#[test]
fn client_that_takes_nothing_is_cut_and_recorded_with_what_has_left() {
    let (file, length) = (sparse(100 << 20), 100 << 20);
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Recorded::serve(parts_of(&file, 0, length), limits);
    let mut client = Client::connect(server.address);
    client.send(GET);
    let (bytes, is_complete) = server.record();
    assert!(!is_complete && 0 < bytes && bytes < length, "{bytes} bytes");
}

#[test]
fn client_that_leaves_midway_is_recorded_with_what_has_left() {
    let (file, length) = (sparse(100 << 20), 100 << 20);
    let server = Recorded::serve(parts_of(&file, 0, length), Limits::default());
    let mut client = Client::connect(server.address);
    client.send(GET);
    client.read_bytes(1 << 20);
    client.leave_unread();
    let (bytes, is_complete) = server.record();
    assert!(!is_complete && (1 << 20) - 1_000 < bytes && bytes < length, "{bytes} bytes");
}

// Files that cannot be sent

/// A process with this environment, which waits to be ended.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Linux can read the environment of a process from a file, and will not send that file.
#[cfg(target_os = "linux")]
#[test]
fn file_that_the_system_cannot_send_is_read() {
    let (one, two) = ("1".repeat(100_000), "2".repeat(100_000));
    let command = &mut Command::new("cat");
    let command = command.env_clear().env("A", &one).env("B", &two).stdin(Stdio::piped());
    let child = Waiting(command.spawn().unwrap());
    let environment = format!("A={one}\0B={two}\0");
    let file = File::open(format!("/proc/{}/environ", child.0.id())).unwrap();
    let length = environment.len() as u64;
    let server = Recorded::serve(parts_of(&file, 0, length), Limits::default());
    let mut client = Client::connect(server.address);
    client.send([GET, GET].concat());
    for _ in 0..2 {
        assert!(client.read("GET").content == environment.as_bytes());
        assert_eq!(server.record(), (length, true));
    }
    assert_eq!(client.get("/after").text(), "/after");
}

#[test]
fn folder_for_a_file_cuts_the_response_and_nothing_else() {
    let folder = File::open(std::env::temp_dir()).unwrap();
    let server: Running = serve(parts_of(&folder, 0, 100_000), Limits::default());
    let mut client = server.connect();
    client.send(GET);
    assert!(client.read("GET").is_cut);
    assert_eq!(client.read_end(), End::Fin);
    assert_eq!(server.connect().get("/after").text(), "/after");
}
