//! Plays each step of the course, its failure, and the step that mends it; and the solutions of the exercises.

// The last three measure threads, time and memory, which Linux tells in /proc.
// On poll(2) mio wants each socket deregistered before it is closed, which epoll does by itself: the steps leave it to that.
#![cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
// Each step is a program of its own.
#![allow(clippy::duplicate_mod)]

#[path = "solutions/solution_limits.rs"]
mod solution_limits;
#[path = "solutions/solution_places.rs"]
mod solution_places;
#[path = "../step_1_blocking.rs"]
#[allow(dead_code)]
mod step_1;
#[path = "../step_2_threads.rs"]
#[allow(dead_code)]
mod step_2;
#[path = "../step_3_busy.rs"]
#[allow(dead_code)]
mod step_3;
#[path = "../step_4_poll.rs"]
#[allow(dead_code)]
mod step_4;
#[path = "../step_5_edge.rs"]
#[allow(dead_code)]
mod step_5;
#[path = "../step_6_drain.rs"]
#[allow(dead_code)]
mod step_6;
#[path = "../step_7_buffered.rs"]
#[allow(dead_code)]
mod step_7;
#[path = "../step_8_back_pressure.rs"]
#[allow(dead_code)]
mod step_8;
#[path = "../step_9_deadlines.rs"]
#[allow(dead_code)]
mod step_9;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The time in which an answer certainly comes, if it comes at all.
const LONG: Duration = Duration::from_secs(20);
/// The time after which an answer is taken not to come.
const SHORT: Duration = Duration::from_millis(300);

/// Lets only one test run at a time: they look at the threads and the memory of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a step on a thread of this name, for as long as the process lives.
fn start(name: &str, serve: impl FnOnce(TcpListener) -> io::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::Builder::new().name(name.to_string()).spawn(move || serve(listener).unwrap()).unwrap();
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends a request and returns all of the answer.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // Whoever is cut off may be told so by a reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Whether the client hears nothing at all for a while.
fn hears_nothing(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let heard = stream.read(&mut [0]);
    stream.set_read_timeout(Some(LONG)).unwrap();
    heard.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

const HELLO: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const BIG: &str = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";

fn is_hello(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nHello, World!\n")
}

#[test]
fn every_step_answers_those_who_ask() {
    let _alone = alone();
    let ten_seconds = Duration::from_secs(10);
    // Step 3 has a test of its own: it takes a processor for as long as it runs.
    let steps = [
        start("1", step_1::serve),
        start("2", step_2::serve),
        start("4", step_4::serve),
        start("5", step_5::serve),
        start("6", step_6::serve),
        start("7", step_7::serve),
        start("8", step_8::serve),
        start("9", move |listener| step_9::serve(listener, ten_seconds)),
        start("places", |listener| solution_places::serve(listener, 2)),
        start("limits", move |listener| solution_limits::serve(listener, ten_seconds)),
    ];
    for (index, address) in steps.into_iter().enumerate() {
        for _ in 0..3 {
            assert!(is_hello(&ask(address, HELLO)), "{index}");
        }
        // In two pieces.
        let mut stream = connect(address);
        stream.write_all(&HELLO.as_bytes()[..20]).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(&HELLO.as_bytes()[20..]).unwrap();
        assert!(is_hello(&read_all(&mut stream)), "{index}");
    }
}

#[test]
fn a_silent_client_stops_step_1_and_no_other() {
    let _alone = alone();
    let [one, two] = [start("1", step_1::serve), start("2", step_2::serve)];
    let silent = [connect(one), connect(two)];
    assert!(is_hello(&ask(two, HELLO)));
    let mut second = connect(one);
    second.write_all(HELLO.as_bytes()).unwrap();
    assert!(hears_nothing(&mut second));
    drop(silent);
    assert!(is_hello(&read_all(&mut second)));
}

#[test]
fn step_5_forgets_the_rest_of_a_long_request_and_its_neighbours_do_not() {
    let _alone = alone();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2000));
    let [four, five, six] = [start("4", step_4::serve), start("5", step_5::serve), start("6", step_6::serve)];
    assert!(is_hello(&ask(four, &long)));
    assert!(is_hello(&ask(six, &long)));
    let mut forgotten = connect(five);
    forgotten.write_all(long.as_bytes()).unwrap();
    assert!(hears_nothing(&mut forgotten));
}

#[test]
fn step_6_cuts_a_long_answer_and_step_7_sends_all_of_it() {
    let _alone = alone();
    let [six, seven] = [start("6", step_6::serve), start("7", step_7::serve)];
    // Whoever reads meanwhile may make room for all of it.
    let mut late = connect(six);
    late.write_all(BIG.as_bytes()).unwrap();
    thread::sleep(SHORT);
    assert!(read_all(&mut late).len() < 8_000_000);
    let answer = ask(seven, BIG);
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Length: 8000000"));
    assert_eq!(content.len(), 8_000_000);
}

#[test]
fn only_step_9_shows_the_door_to_those_who_do_not_move() {
    let _alone = alone();
    let eight = start("8", step_8::serve);
    let nine = start("9", |listener| step_9::serve(listener, SHORT / 2));
    let [mut kept, mut silent, mut half] = [connect(eight), connect(nine), connect(nine)];
    half.write_all(b"GET / HTT").unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(half.read(&mut [0]).unwrap_or(0), 0);
    assert!(hears_nothing(&mut kept));
    // Whoever moves may take as long as it likes.
    let mut slow = connect(nine);
    for byte in HELLO.bytes() {
        thread::sleep(SHORT / 10);
        slow.write_all(&[byte]).unwrap();
    }
    assert!(is_hello(&read_all(&mut slow)));
}

/// The threads of this process whose name begins so.
fn tasks(name: &str) -> Vec<std::path::PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    // One that has ended meanwhile has no name any more.
    let is_named = |path: &std::path::PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name))
    };
    tasks.filter(is_named).collect()
}

/// The processor time that the only thread of this name has taken.
fn processor_time(name: &str) -> Duration {
    let [task] = &tasks(name)[..] else { panic!("there is one thread called {name}") };
    let schedstat = fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// Lets this process have as many descriptors as it may.
fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn waiting_clients_are_threads_in_step_2_and_none_from_step_3_on() {
    let _alone = alone();
    let count = || fs::read_dir("/proc/self/task").unwrap().count();
    let mut silent = Vec::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (three, end) = (listener.local_addr().unwrap(), listener.try_clone().unwrap());
    let busy_thread = thread::Builder::new().name("step 3".to_string());
    let busy_thread = busy_thread.spawn(|| step_3::serve(listener)).unwrap();
    assert!(is_hello(&ask(three, HELLO)));
    let before = count();
    silent.extend((0..100).map(|_| connect(three)));
    assert!(is_hello(&ask(three, HELLO)));
    assert!(count() < before + 50);
    let two = start("step 2", step_2::serve);
    silent.extend((0..100).map(|_| connect(two)));
    let deadline = Instant::now() + LONG;
    while count() < before + 100 {
        assert!(Instant::now() < deadline, "there are {} threads", count());
        thread::sleep(Duration::from_millis(5));
    }

    // Step 3 takes all of a processor, though nobody says anything.
    let four = start("step 4", step_4::serve);
    silent.push(connect(four));
    assert!(is_hello(&ask(four, HELLO)));
    let [busy, asleep] = ["step 3", "step 4"].map(processor_time);
    let deadline = Instant::now() + LONG;
    while processor_time("step 3") - busy < SHORT / 3 {
        assert!(Instant::now() < deadline, "step 3 has taken {:?}", processor_time("step 3") - busy);
        thread::sleep(Duration::from_millis(5));
    }
    assert!(processor_time("step 4") - asleep < SHORT / 30);
    // The only way to end it: nobody can be accepted from here.
    rustix::net::shutdown(&end, rustix::net::Shutdown::Both).unwrap();
    busy_thread.join().unwrap().unwrap_err();
}

#[test]
fn those_who_sleep_cost_something_in_step_4_and_nothing_in_step_5() {
    let _alone = alone();
    raise_descriptor_limit();
    let mut growth = Vec::new();
    for (name, address) in [("poll", start("poll", step_4::serve)), ("edge", start("edge", step_5::serve))] {
        // From then on the thread has its name.
        assert!(is_hello(&ask(address, HELLO)));
        let cost = || {
            let before = processor_time(name);
            (0..100).for_each(|_| assert!(is_hello(&ask(address, HELLO))));
            (processor_time(name) - before).as_secs_f64()
        };
        let alone = cost();
        let sleepers = (0..2000).map(|index| {
            // The listen queue is short.
            if index % 100 == 99 {
                ask(address, HELLO);
            }
            connect(address)
        });
        let _sleepers: Vec<_> = sleepers.collect();
        growth.push(cost() / alone);
    }
    assert!(growth[0] > 2.0 * growth[1], "100 requests cost {growth:?} times as much beside 2,000 sleepers");
}

/// The memory of this process, in bytes.
fn resident_bytes() -> i64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4096
}

#[test]
fn those_who_do_not_read_hold_whole_answers_in_step_7_and_a_piece_in_step_8() {
    let _alone = alone();
    let growth = [start("7", step_7::serve), start("8", step_8::serve)].map(|address| {
        let before = resident_bytes();
        let mut clients: Vec<_> = (0..20).map(|_| connect(address)).collect();
        clients.iter_mut().for_each(|client| client.write_all(BIG.as_bytes()).unwrap());
        // Whoever comes last is answered last.
        assert!(is_hello(&ask(address, HELLO)));
        resident_bytes() - before
    });
    assert!(growth[0] > 80_000_000 && growth[1] < 20_000_000, "{growth:?} bytes");
}

#[test]
fn steps_8_and_9_end_where_no_descriptor_is_left() {
    let _alone = alone();
    let steps: [fn(TcpListener) -> io::Result<()>; 2] =
        [step_8::serve, |listener| step_9::serve(listener, LONG)];
    for serve in steps {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _silent: Vec<_> = (0..20).map(|_| connect(address)).collect();
        let before = getrlimit(Resource::Nofile);
        // A copy gets the least number that is free.
        let free = listener.try_clone().unwrap().as_raw_fd() as u64;
        setrlimit(Resource::Nofile, Rlimit { current: Some(free + 10), ..before }).unwrap();
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(serve(listener).unwrap_err().raw_os_error()));
        let ended = ended.recv_timeout(LONG);
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(ended.unwrap(), Some(rustix::io::Errno::MFILE.raw_os_error()));
    }
}

#[test]
fn exercise_1_lets_the_others_wait_for_a_place() {
    let _alone = alone();
    let address = start("places", |listener| solution_places::serve(listener, 2));
    let silent = [connect(address), connect(address)];
    let mut third = connect(address);
    third.write_all(HELLO.as_bytes()).unwrap();
    assert!(hears_nothing(&mut third));
    drop(silent);
    assert!(is_hello(&read_all(&mut third)));
}

#[test]
fn exercises_2_and_3_bound_a_request_in_bytes_and_in_time() {
    let _alone = alone();
    let address = start("limits", |listener| solution_limits::serve(listener, SHORT));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9000));
    assert!(ask(address, &endless).starts_with("HTTP/1.1 431 "));
    // Its end lies in the chunk in which it becomes too long.
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(8200));
    assert!(ask(address, &long).starts_with("HTTP/1.1 431 "));
    let (mut dripper, begun) = (connect(address), Instant::now());
    let drips = HELLO.bytes().cycle().take_while(|byte| {
        thread::sleep(SHORT / 20);
        dripper.write_all(if *byte == b'\n' { b"x" } else { std::slice::from_ref(byte) }).is_ok()
    });
    // A server that never closes would take them for ever.
    assert!(drips.take(200).count() < 200);
    assert!(begun.elapsed() >= SHORT);
}

#[test]
fn every_link_of_the_course_leads_somewhere() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let course = fs::read_to_string(folder.join("README.md")).unwrap();
    let links: Vec<_> = course.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 20);
    for link in links {
        assert!(folder.join(link).exists(), "{link}");
    }
}
