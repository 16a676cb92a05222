//! Tests pools whose threads are all in views that do not return: clients are answered nevertheless, the log
//! says where the threads are, and a supervisor replaces the process.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, Signal, kill_process};

use super::life::{Life, Told, command, folder, signal, source};
use super::support::loopback::{Client, PATIENCE, wait_until};
use super::support::process::ask_over;

/// The application's timeout: long enough to be told apart from a busy machine.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The number of clients: more than a pool lets wait.
const CLIENTS: usize = 1_100;
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Four threads, each with a request that stays in it.
fn with_stuck_pool(arguments: &[&str]) -> (Life, Vec<Client>, u32) {
    let timeout = TIMEOUT.as_secs().to_string();
    let life = Life::start(&[&["--threads", "4", "--timeout", &timeout], arguments].concat());
    let (clients, pids): (Vec<_>, Vec<_>) = ["a", "b", "c", "d"].map(|id| life.begin(id)).into_iter().unzip();
    assert!(pids.iter().all(|pid| *pid == pids[0]));
    (life, clients, pids[0])
}

/// Makes a request, which must be answered in time, and returns its status.
fn ask_in_time(life: &Life) -> u16 {
    let start = Instant::now();
    let mut client = Client::connect(life.address());
    client.send(REQUEST);
    let code = client.read("GET").code;
    assert!(start.elapsed() < 2 * TIMEOUT, "{code} after {:?}", start.elapsed());
    code
}

#[test]
fn next_client_is_answered_behind_a_pool_in_which_all_is_stuck() {
    let (life, mut stuck, _) = with_stuck_pool(&[]);
    let ask = |_| {
        let mut client = Client::connect(life.address());
        client.send(REQUEST);
        client
    };
    let mut crowd: Vec<Client> = (0..CLIENTS).map(ask).collect();
    // Every other one leaves, in one way or the other.
    for (index, client) in crowd.drain(..CLIENTS / 2).enumerate() {
        if index % 2 == 0 {
            set_socket_linger(client.try_clone_tcp(), Some(Duration::ZERO)).unwrap();
        }
    }
    assert!([503, 504].contains(&ask_in_time(&life)));
    for client in crowd.iter_mut().chain(&mut stuck) {
        assert!([503, 504].contains(&client.read("GET").code));
    }
    assert_eq!(ask_in_time(&life), 504);
    drop((crowd, stuck));
    wait_until("nobody who has left is held", || closed_by_peer(life.address()) == 0);
    for id in ["a", "b", "c", "d"] {
        life.program.stderr.next_with("takes longer than 2s; it is here:");
        life.program.stderr.next_with("in app");
        life.release(id);
    }
    wait_until("the application answers again", || life.program.get("/").code == 200);
    life.end();
}

/// Counts sockets of this machine at this address whose peer has closed them, and whose owner has not
/// (CLOSE_WAIT).
fn closed_by_peer(address: SocketAddr) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{:04X}", address.port());
    let is_one = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[1] == local && words[3] == "08"
    };
    table.lines().skip(1).filter(is_one).count()
}

#[test]
fn pool_that_is_stuck_is_told_of_without_a_supervisor() {
    let (life, ..) = with_stuck_pool(&[]);
    let mut lines = Vec::new();
    while !lines
        .last()
        .is_some_and(|line: &String| line.contains("all 4 threads are stuck: nothing is answered"))
    {
        lines.push(life.program.stderr.next_within(PATIENCE).expect("a line"));
    }
    for id in ["a", "b", "c", "d"] {
        let line = format!("GET /wait/{id} takes longer than 2s; it is here:");
        assert_eq!(lines.iter().filter(|other| other.contains(&line)).count(), 1, "{id}: {lines:#?}");
        life.release(id);
    }
    assert_eq!(lines.iter().filter(|line| line.contains("in app")).count(), 4, "{lines:#?}");
    life.end();
}

#[test]
fn worker_whose_threads_are_all_stuck_is_replaced() {
    let (life, mut clients, pid) = with_stuck_pool(&["--workers", "1"]);
    for _ in &clients {
        life.program.stderr.next_with("GET /wait/");
        life.program.stderr.next_with("in app");
    }
    life.program.stderr.next_with(&format!("all 4 threads are stuck: worker {pid} is replaced"));
    assert!(clients.iter_mut().all(|client| client.read("GET").code == 504));
    wait_until("another worker serves", || {
        let answer = life.program.get("/");
        answer.code == 200 && !answer.text().contains(&pid.to_string())
    });
    wait_until("the stuck one is gone", || fs::metadata(format!("/proc/{pid}")).is_err());
    life.end();
}

/// An answer that has begun may take its time.
#[test]
fn worker_whose_threads_all_send_long_streams_is_not_replaced() {
    let folder = folder();
    let body = "    start_response('200 OK', [])\n    return stream() if environ['PATH_INFO'] == '/stream' else [b'x']\n";
    let stream = "def stream():\n    yield b'begun'\n    time.sleep(3)\n    yield b' ended'\n";
    folder.write("app.py", format!("import time\n{stream}\ndef app(environ, start_response):\n{body}"));
    let life = Life::start_in(folder, &["--workers", "1", "--threads", "2", "--timeout", "0.5"]);
    let mut clients = [0, 1].map(|_| Client::connect(life.address()));
    for client in &mut clients {
        client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_until("begun");
    }
    assert_eq!(life.program.get("/").code, 504);
    assert!(clients.iter_mut().all(|client| client.read("GET").text() == "begun ended"));
    assert_eq!(life.program.get("/").code, 200);
    let said = life.end();
    assert!(!said.contains("takes longer") && !said.contains("stuck"), "{said}");
}

/// One thread is enough to stop all others, if it never lets go of the interpreter's lock.
#[test]
fn worker_in_which_a_thread_keeps_the_lock_is_replaced() {
    let folder = folder();
    let trap = "\nimport re\nplain = app\ndef app(environ, start_response):\n    if environ['PATH_INFO'] == '/trap':\n        \
                re.match('(a+)+$', 'a' * 60 + 'b')\n    return plain(environ, start_response)\n";
    folder.write("app.py", source("one") + trap);
    let life = Life::start_in(folder, &["--workers", "1", "--threads", "2", "--timeout", "0.5"]);
    let pid = life.get().pid;
    let mut client = Client::connect(life.address());
    client.send("GET /trap HTTP/1.1\r\nHost: a\r\n\r\n");
    life.program.stderr.next_with("GET /trap takes longer than 500ms; the interpreter's lock is not let go");
    life.program.stderr.next_with(&format!("worker {pid} is replaced"));
    // Where it was, which only the end of the process can tell.
    life.program.stderr.next_with("in app");
    life.program.stderr.next_with("another one takes its place");
    assert_ne!(life.get().pid, pid);
    life.end();
}

/// Makes a request that the event loop answers by itself, once it has seen all that came before.
fn ask_the_loop(life: &Life) {
    let mut client = Client::connect(life.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.read("GET").code, 400);
}

/// The clients that are put last have closed in order: they may have left, or wait for an answer.
#[test]
fn living_come_before_those_who_may_have_left() {
    let life = Life::start(&["--threads", "2"]);
    let ((mut first, _), (mut second, _)) = (life.begin("a"), life.begin("b"));
    let ask = |id: &str| {
        let mut client = Client::connect(life.address());
        client.send(format!("GET /wait/{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let mut doubtful = ask("c");
    doubtful.end_sending();
    ask_the_loop(&life);
    let mut living = ask("d");
    ask_the_loop(&life);
    life.release("a");
    assert_eq!(first.read("GET").code, 200);
    wait_until("the one who is there comes first", || !life.told("d.here").is_empty());
    assert!(life.told("c.here").is_empty());
    ["b", "c", "d"].iter().for_each(|id| life.release(id));
    assert!(
        [&mut second, &mut living, &mut doubtful].into_iter().all(|client| client.read("GET").code == 200)
    );
    life.end();
}

/// A pool that is full takes no request, and `--timeout 0` lets those in it wait for ever.
#[test]
fn clients_that_leave_a_stuck_pool_are_let_go_where_there_is_no_timeout() {
    let life = Life::start(&["--threads", "2", "--timeout", "0"]);
    let ((mut first, _), (mut second, _)) = (life.begin("a"), life.begin("b"));
    for _ in 0..CLIENTS {
        let stream = TcpStream::connect(life.address()).unwrap();
        std::io::Write::write_all(&mut &stream, REQUEST.as_bytes()).unwrap();
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    ask_the_loop(&life);
    let mut living = Client::connect(life.address());
    living.send("GET /wait/c HTTP/1.1\r\nHost: a\r\n\r\n");
    life.release("a");
    assert_eq!(first.read("GET").code, 200);
    wait_until("the one who is there is served", || !life.told("c.here").is_empty());
    ["b", "c"].iter().for_each(|id| life.release(id));
    assert!([&mut second, &mut living].into_iter().all(|client| client.read("GET").code == 200));
    life.end();
}

/// A pipe on stderr that nobody reads costs lines, not answers.
#[test]
fn log_that_nobody_reads_stops_nobody() {
    let ways = [&["--threads", "1"][..], &["--threads", "4"], &["--workers", "1", "--threads", "1"]];
    for way in ways {
        let folder = folder();
        let noise = "    logging.error('noise' * 200)\n    print('noise', file=environ['wsgi.errors'])\n";
        let fail = "    if environ['PATH_INFO'] == '/fail':\n        raise ValueError('on purpose')\n";
        let call = "    return plain(environ, start_response)\n";
        let outer =
            format!("import logging\nplain = app\ndef app(environ, start_response):\n{noise}{fail}{call}");
        folder.write("app.py", source("one") + &outer);
        let path = folder.path().join("app.sock");
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = command(&folder);
        command.args(["app:app", "-b"]).arg(format!("unix:{}", path.display())).args(way);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
        // The command has an end of the pipe, too.
        drop(command);
        wait_until("it listens", || UnixStream::connect(&path).is_ok());
        let ask = |target: &str| ask_over(UnixStream::connect(&path).unwrap(), "GET", target, &[], b"");
        // Five times what a pipe holds, and beyond what waits for a reader.
        for round in 0..1_000 {
            assert_eq!(ask("/fail").code, 500, "{way:?}, {round}");
        }
        let told = Told::of(&ask("/").text());
        if way.contains(&"--workers") {
            // And nobody stops its supervisor.
            signal(told.pid, Signal::KILL);
            assert_ne!(Told::of(&ask("/").text()).pid, told.pid);
        }
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{way:?}");
        let text = reading.join().unwrap();
        assert!(text.contains("on purpose"), "{way:?}: {} bytes", text.len());
        // What a killed worker has not written is gone with it.
        assert!(way.contains(&"--workers") || text.contains("lines lost"), "{way:?}: {} bytes", text.len());
    }
}
