//! Tests `tidegate explain` and `--explain`: the story is that of the real exchange, in order, with states, wishes and
//! deadlines, and without secrets.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use support::process::{Program, command, eventually, path, run};
use support::temp_folder::TempFolder;

/// Runs `tidegate explain`, and returns what it prints.
fn explain(arguments: &[&str]) -> String {
    let ended = run(&[&["explain"], arguments].concat());
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    ended.stdout
}

/// Asserts that a story has lines with these texts, in this order.
#[track_caller]
fn check_order(story: &str, expected: &[&str]) {
    let mut lines = story.lines();
    for text in expected {
        assert!(lines.any(|line| line.contains(text)), "no {text:?} there in:\n{story}");
    }
}

#[test]
fn exchange_is_told_from_the_accept_to_the_close() {
    let story = explain(&[]);
    check_order(
        &story,
        &[
            "(the listener) = connection 1, from 127.0.0.1:",
            "Connection 1 has its turn: it was just accepted",
            "state   Awaited::First (request Idle, response Unstarted)",
            "wants   Read: the first byte of its first request",
            "recvfrom(connection 1, room for 65,536) = ",
            "It is read before any event",
            r"| GET / HTTP/1.1\r\n",
            "call    the request is whole: the application is called for GET /",
            "return ",
            "state   Awaited::Next (request Idle, response Unstarted)",
            "it has its whole answer in the queue",
            "sendto(connection 1, ",
            r"| HTTP/1.1 200 OK\r\n",
            "wants   Read: the first byte of its next request",
            "from now; then it is closed (idle_timeout)",
            "next    it sleeps until an event",
            "= 1 event",
            "connection 1 is READABLE | READ_CLOSED: the client has ended its side",
            "= 0 bytes",
            "state   Phase::Finished",
            "wants   Close(Clean)",
            "(Clean: the client sends no more",
            "close(connection 1)",
            "Connection 1 is over: ",
        ],
    );
    let numbers = story.lines().filter_map(|line| line.split_once(" ms   ")).map(|(left, _)| {
        let (number, time) = left.trim().split_once(' ').unwrap();
        (number.parse::<usize>().unwrap(), time.trim().parse::<f64>().unwrap())
    });
    let numbers: Vec<_> = numbers.collect();
    assert!(numbers.iter().map(|(number, _)| *number).eq(1..=numbers.len()), "{numbers:?}");
    assert!(numbers.is_sorted_by(|(_, one), (_, next)| one <= next), "{numbers:?}");
}

#[test]
fn head_in_pieces_shows_the_states_in_which_its_rest_is_waited_for() {
    let story = explain(&["--slow"]);
    check_order(
        &story,
        &[
            r"| GET / HTTP/1.1\r\n",
            "state   Intake::Head (request Head, response Unstarted)",
            "wants   Read: the rest of a head",
            "from now; then it is answered 408 (head_timeout)",
            "connection 1 is READABLE: something has come",
            "Connection 1 has its turn: an event came for it.",
            "state   Intake::Head (request Head, response Unstarted)",
            "recvfrom(connection 1",
            "recvfrom(connection 1",
            "call ",
            "state   Awaited::Next",
        ],
    );
}

#[test]
fn client_that_stalls_is_told_until_its_deadline() {
    let story = explain(&["--stall"]);
    check_order(
        &story,
        &[
            "from now; then it is answered 408 (head_timeout)",
            "= 0 events",
            "Connection 1 has its turn: its deadline has come.",
            "state   Phase::Finished",
            r"| HTTP/1.1 408 Request Timeout\r\n",
            "wants   Close(Linger)",
            "(Linger: the client may still send",
            "shutdown(connection 1",
            "from now; then it is closed (linger_timeout)",
        ],
    );
}

#[test]
fn lines_between_the_pieces_of_a_stream_are_explained_and_names_of_secrets_are_known_however_they_are_written()
 {
    let story = explain(&["/stream?%74oken=hush"]);
    check_order(
        &story,
        &[
            "for GET /stream?%74oken=(not shown)",
            r"| Transfer-Encoding: chunked\r\n",
            "content goes in chunks: a length in hexadecimal",
        ],
    );
    assert!(!story.contains("hush"), "{story}");
}

#[test]
fn answer_larger_than_the_socket_shows_back_pressure() {
    let story = explain(&["--big"]);
    check_order(
        &story,
        &[
            "state   Delivery::Stream (request Complete, response Body)",
            "sendto(connection 1, ",
            "READABLE | WRITABLE)",
            "bytes are queued for the client",
            "wants   Write: room in its socket: the client must read what it is owed",
            "enough is queued: no more of the answer is drawn until the client has read",
            "from now; then it is cut, since the client does not read (write_timeout)",
            "connection 1 is WRITABLE: there is room for more to be sent",
            "output  nothing is owed any more",
        ],
    );
    assert!(story.contains("The socket's buffer is full"), "{story}");
    assert!(
        story.contains(" times)") && !story.contains(&"~".repeat(32)),
        "equal bytes are shown once:\n{story}"
    );
}

#[test]
fn requests_of_one_connection_are_told_one_after_the_other_or_together() {
    let kept = explain(&["/", "/style.css"]);
    check_order(
        &kept,
        &[
            "for GET /",
            "sendto",
            "recvfrom",
            r"| GET /style.css HTTP/1.1\r\n",
            "for GET /style.css",
            "sendto",
        ],
    );
    let together = explain(&["--pipelined"]);
    let called = together.lines().filter(|line| line.contains("the application is called")).count();
    let read = together.lines().filter(|line| line.contains(r"| GET / HTTP/1.1\r\n")).count();
    assert_eq!((called, read), (2, 2), "{together}");
    check_order(&together, &["application is called", "application is called", "sendto"]);
}

#[test]
fn folder_is_served_and_a_long_file_is_sent_by_the_kernel() {
    let folder = TempFolder::new();
    folder.write("index.html", "hello");
    folder.write("long", "x".repeat(200_000));
    let folder = folder.path().to_str().unwrap();
    let story = explain(&["--folder", folder, "/", "/long"]);
    check_order(&story, &["| hello", "for GET /long", r"| HTTP/1.1 200 OK\r\n"]);
    if cfg!(target_os = "linux") {
        check_order(&story, &["sendfile(connection 1, 200,000 bytes of a file from 0 on) = 200,000 bytes"]);
    }
}

#[test]
fn running_server_tells_of_its_first_client_without_secrets_and_serves_the_others() {
    let program = Program::start(&["--explain"]);
    let secrets = ["Cookie: sid=hush-1", "Authorization: Basic hush-2", "apikey: hush-3", "X-Odd: \"seen\""];
    let target = "/first?access_token=hush-4&odd=seen";
    assert_eq!(program.ask("GET", target, &secrets, b"").code, 404);
    let mut story = until_over(&program, 1);
    check_order(
        &story,
        &[
            "recvfrom",
            "| GET /first?access_token=(not shown)&odd=seen HTTP/1.1",
            "| Cookie:(not shown)",
            "| Authorization:(not shown)",
            "| X-Odd: \"seen\"",
            "called for GET /first?access_token=(not shown)&odd=seen",
            "close(",
        ],
    );
    assert_eq!(program.ask("GET", "/second", &[], b"").code, 404);
    program.interrupt();
    story += &program.stdout.rest();
    assert!(!story.contains("hush") && !story.contains("/second"), "{story}");
}

/// Reads a story on from here, until a connection is over.
fn until_over(program: &Program, number: u64) -> String {
    let (mut story, end) = (String::new(), format!("Connection {number} is over"));
    while !story.contains(&end) {
        story += &(program.stdout.next() + "\n");
    }
    story
}

/// Has this many requests answered on one connection.
fn ask_again_and_again(client: &mut TcpStream, requests: usize) {
    for _ in 0..requests {
        client.write_all(b"HEAD /style.css HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"\r\n\r\n") {
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "the server has ended the connection");
            answer.extend_from_slice(&buffer[..count]);
        }
    }
}

#[test]
fn loop_that_serves_others_adds_nothing_to_the_story_of_a_client_that_rests() {
    let program = Program::start(&["--explain"]);
    let mut told = program.connect();
    ask_again_and_again(&mut told, 1);
    ask_again_and_again(&mut program.connect(), 500);
    for _ in 0..20 {
        assert_eq!(program.get("/other").code, 404);
    }
    ask_again_and_again(&mut told, 1);
    drop(told);
    let story = until_over(&program, 1);
    assert!(story.lines().count() < 120, "{story}");
    assert_eq!(story.matches("Connection 1 has its turn: an event came for it.").count(), 2, "{story}");
    check_order(
        &story,
        &["next    it sleeps", "connection 1 is READABLE", "has its turn", "close(connection 1)"],
    );
    program.interrupt();
}

#[test]
fn client_that_goes_on_for_long_is_left_alone_until_its_end() {
    let program = Program::start(&["--explain"]);
    let mut told = program.connect();
    ask_again_and_again(&mut told, 150);
    program.stdout.next_with("Connection 1 goes on like this: the rest of it is not told.");
    ask_again_and_again(&mut told, 150);
    ask_again_and_again(&mut program.connect(), 50);
    drop(told);
    let rest = until_over(&program, 1);
    assert!(rest.lines().count() < 10, "{rest}");
    program.interrupt();
}

#[test]
fn waits_of_a_server_that_drains_are_told_too() {
    let program = Program::start(&["--explain"]);
    let mut told = program.connect();
    told.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").unwrap();
    program.stdout.next_with("next    it sleeps");
    program.interrupt();
    // Until it listens no more.
    eventually(|| match TcpStream::connect(program.authority()) {
        Err(_) => Ok(()),
        Ok(_) => Err(io::ErrorKind::WouldBlock.into()),
    });
    told.write_all(b"cd").unwrap();
    told.read_to_end(&mut Vec::new()).unwrap();
    let story = until_over(&program, 1);
    check_order(
        &story,
        &["= 1 event", "connection 1 is READABLE", "has its turn: an event came", "= 2 bytes"],
    );
}

#[test]
fn as_many_clients_are_told_of_as_are_asked_for() {
    let program = Program::start(&["--explain=2"]);
    for target in ["/1", "/2", "/3"] {
        assert_eq!(program.get(target).code, 404);
    }
    program.stdout.next_with("for GET /1");
    program.stdout.next_with("for GET /2");
    program.interrupt();
    let rest = program.stdout.rest();
    assert!(rest.contains("Connection 2 is over") && !rest.contains("/3"), "{rest}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, reason) in [
        (&["explain", "here"][..], "it begins with /"),
        (&["explain", "/a b"], "has no blanks"),
        (&["explain", "--reactors", "2"], "--reactors is about serving"),
        (&["explain", "--big", "/"], "--big"),
        (&["explain", "--explain"], "--explain is about serving"),
        (&["--explain", "--reactors", "2"], "--explain is for one event loop"),
        (&["--explain=0"], "--explain"),
    ] {
        let refused = run(arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}");
        assert!(refused.stderr.contains(reason), "{arguments:?}: {}", refused.stderr);
    }
    let refused = run(&["explain", "--folder", "/no/such/folder"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
}

/// The system calls of a story on the socket of its connection, with the bytes that they moved.
fn told(story: &str) -> Vec<(String, Option<usize>)> {
    let calls = story.lines().filter_map(|line| line.split_once(" ms   ")).map(|(_, call)| call);
    let of_connection = calls.filter(|call| call.contains("connection 1"));
    of_connection
        .map(|call| {
            let bytes = call.rsplit_once(" = ").and_then(|(_, result)| result.strip_suffix(" bytes"));
            let moved = bytes.map(|count| count.replace(',', "").parse().unwrap());
            (call[..call.find('(').unwrap()].to_string(), moved)
        })
        .collect()
}

/// The system calls that strace has seen on a descriptor, likewise.
fn traced(trace: &str) -> Vec<(String, Option<usize>)> {
    let accept = |line: &&str| line.starts_with("accept4(") && !line.contains(" = -1 ");
    let at = trace.lines().position(|line| accept(&line)).expect("somebody is accepted");
    let result = |line: &str| line.rsplit_once(" = ").unwrap().1.split(' ').next().unwrap().to_string();
    let descriptor = result(trace.lines().nth(at).unwrap());
    let mut calls = vec![("accept4".to_string(), None)];
    for line in trace.lines().skip(at + 1) {
        let (name, arguments) = line.split_once('(').unwrap_or((line, ""));
        let arguments: Vec<&str> = arguments.split([',', ')']).map(str::trim).collect();
        let place = if name == "epoll_ctl" { 2 } else { 0 };
        if name == "fcntl" {
            // The standard library's own, before a close, where assertions are on.
            continue;
        }
        if arguments.get(place) == Some(&&*descriptor) {
            let moves = ["recvfrom", "sendto", "writev"].contains(&name);
            calls.push((name.to_string(), moves.then(|| result(line).parse().unwrap())));
        }
        if name == "close" && arguments[0] == descriptor {
            break;
        }
    }
    calls
}

#[test]
#[ignore = "needs strace; on Debian or Ubuntu: apt-get install -y --no-install-recommends strace"]
fn story_names_every_system_call_that_strace_sees_on_the_socket() {
    compare_with_strace("127.0.0.1:0", Program::connect);
    let folder = TempFolder::new();
    let socket = folder.path().join("socket");
    compare_with_strace(&format!("unix:{}", socket.display()), |_| UnixStream::connect(&socket).unwrap());
}

/// Compares the story of a connection with what strace sees of it.
fn compare_with_strace<S: Read + Write>(listen: &str, connect: impl Fn(&Program) -> S) {
    if Command::new("strace").arg("-V").output().is_err() {
        panic!(
            "this test needs strace; on Debian or Ubuntu: apt-get install -y --no-install-recommends strace"
        );
    }
    let folder = TempFolder::new();
    // With -D strace is the child, and the process that is started and ended here the server; each thread has a file.
    let mut strace = command("strace");
    strace.args(["-D", "-ff", "-o"]).arg(folder.path().join("trace"));
    strace.arg(path()).args(["--listen", listen, "--explain"]);
    let mut program = Program::start_command(&mut strace, 1);
    let mut client = connect(&program);
    // In pieces, and kept for a second request.
    for piece in ["GET / HT", "TP/1.1\r\nHost: a\r\n\r\n", "GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n"] {
        client.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    client.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    let story = until_over(&program, 1);
    program.interrupt();
    program.wait();
    let traces = fs::read_dir(folder.path()).unwrap();
    let traces = traces.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let trace = traces.filter(|trace| trace.contains("accept4(")).collect::<String>();
    assert_eq!(told(&story), traced(&trace), "{story}\n{trace}");
    assert_eq!(story.contains("MSG_MORE"), trace.contains("MSG_MORE"), "{story}\n{trace}");
    assert!(told(&story).len() > 6, "{story}");
}
