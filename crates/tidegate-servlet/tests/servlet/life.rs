//! How long requests, servlets and the process live.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::Message;

use super::probe::complete;
use super::served::{Connector, ENDED_BY_TERM, Served};
use super::sockets;
use super::support::loopback::{Client, PATIENCE, wait_until};

const MEBIBYTE: u64 = 1 << 20;

fn begin(served: &Served, target: &str) -> Client {
    let mut client = served.connect();
    client.send(complete(&format!("GET {target}")));
    client
}

#[test]
fn servlets_that_are_stuck_and_clients_that_are_slow_hold_nobody_up() {
    let served = Served::start_with(Connector::Tidegate, &[], &["threads=4", "requestTimeout=3000"]);
    slow_readers_hold_no_thread(&served);
    slow_senders_hold_no_thread(&served);
    clients_that_leave_are_noticed(&served);
    stuck_servlet_is_answered_and_named(&served);
    served.program.signal(Signal::QUIT);
    served.program.stdout.next_with("Full thread dump");
    assert_eq!(served.get("/plaintext").text(), "Hello, World!", "after a thread dump");
}

/// Twice as many as there are threads do not read, and others are served; what they are owed is not held in memory.
fn slow_readers_hold_no_thread(served: &Served) {
    served.get("/probe/respond/many?bytes=50000000");
    let before = served.resident_bytes();
    let mut slow: Vec<_> = (0..8).map(|_| begin(served, "/probe/async/write?bytes=20000000")).collect();
    slow.iter_mut().for_each(|client| client.read_until("xxx"));
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(served.get("/plaintext").text(), "Hello, World!");
    }
    assert!(start.elapsed() < PATIENCE / 3, "{:?}", start.elapsed());
    let more = served.resident_bytes().saturating_sub(before);
    assert!(more < 64 * MEBIBYTE, "{more} bytes for clients that do not read");
    for client in &mut slow {
        assert_eq!(client.read("GET").content.len(), 20_000_000);
    }
}

/// Servlets wait for clients that do not read, each on its thread, and others are served beside them.
pub fn clients_beside_many_that_do_not_read(served: &Served, count: usize) {
    let mut slow: Vec<_> = (0..count).map(|_| begin(served, "/probe/respond/many?bytes=12000000")).collect();
    slow.iter_mut().for_each(|client| client.read_until("xxx"));
    for _ in 0..20 {
        assert_eq!(served.get("/plaintext").text(), "Hello, World!");
    }
    for client in &mut slow {
        let response = client.read("GET");
        assert_eq!((response.is_cut, response.content.len()), (false, 12_000_000));
    }
}

fn slow_senders_hold_no_thread(served: &Served) {
    let begin = |path: &str| {
        let mut client = served.connect();
        client.send(complete(&format!("POST /probe/{path}\nContent-Length: 1000")));
        client.send("some");
        client
    };
    // An asynchronous servlet might have a listener for content. This one has to wait once to be known as one that has none.
    let known = begin("async/sum?id=known");
    served.program.stdout.next_with("waiting known");
    let mut slow = vec![known];
    slow.extend((0..16).map(|number| begin(["content/sum", "async/sum"][number % 2])));
    for _ in 0..20 {
        assert_eq!(served.get("/plaintext").text(), "Hello, World!");
    }
    for mut client in slow {
        client.send(vec![b'x'; 996]);
        assert!(client.read("POST").text().starts_with("1000:"));
    }
}

fn clients_that_leave_are_noticed(served: &Served) {
    let mut client = begin(served, "/probe/life/stream?bytes=100000000&id=leaves");
    client.read_until("xxx");
    client.leave_unread();
    served.wait_for_note("leaves", "broken");
}

fn stuck_servlet_is_answered_and_named(served: &Served) {
    let mut client = begin(served, "/probe/life/stuck?id=1");
    let mut late = begin(served, "/probe/async/late?id=late");
    assert_eq!(served.get("/plaintext").text(), "Hello, World!", "beside a stuck servlet");
    assert_eq!(client.read("GET").code, 504);
    assert_eq!(late.read("GET").code, 504);
    // Its exchange has no timeout, and nobody is left to answer: it goes on only now.
    assert_eq!(served.get("/probe/life/open").text(), "open");
    let notes = served.wait_for_note("late", "complete");
    assert_eq!(notes.matches("error:EOFException").count(), 1, "{notes}");
    let line = served.program.stderr.next_with("/probe/life/stuck");
    assert!(line.contains("for longer than 3000 ms"), "{line}");
    served.program.stderr.next_with("probe.Life.stuck");
}

/// A task of an asynchronous servlet's takes a thread as a servlet does: there are no more of them than `threads` says.
#[test]
fn tasks_of_asynchronous_servlets_run_where_servlets_are_called() {
    for (threads, name) in [("threads=2", "-exec-"), ("threads=1", "-loop")] {
        let served = Served::start_with(Connector::Tidegate, &[], &[threads]);
        let thread = served.get("/probe/async/run-where").text();
        assert!(thread.contains(name), "{threads}: {thread}");
    }
}

/// Nothing that an application does to its thread outlasts the request.
#[test]
fn threads_outlive_errors_and_interruptions() {
    let served = Served::start_with(Connector::Tidegate, &[], &["threads=2"]);
    for _ in 0..4 {
        assert_eq!(served.get("/probe/life/die").code, 500);
    }
    for _ in 0..4 {
        assert_eq!(served.get("/probe/life/interrupt").text(), "interrupted");
        assert_eq!(served.get("/probe/life/interrupted").text(), "false");
    }
}

/// The thread of the loop cannot wait for a client. What it would have to wait for breaks off, and memory stays bounded.
#[test]
fn servlet_on_the_thread_of_the_loop_has_a_bound_for_what_it_streams() {
    let served = Served::start_with(Connector::Tidegate, &[], &["threads=1", "responseMemory=300000"]);
    let whole = served.get("/probe/respond/many?bytes=250000");
    assert_eq!((whole.is_cut, whole.content.len()), (false, 250_000));
    let cut = served.get("/probe/respond/many?bytes=20000000");
    assert!(cut.is_cut && cut.content.len() < 500_000, "{} bytes", cut.content.len());
    for target in ["async/write", "async/pour"] {
        let before = served.resident_bytes();
        let mut client = begin(&served, &format!("/probe/{target}?bytes=50000000"));
        client.read_until("xxx");
        assert_eq!(served.get("/plaintext").text(), "Hello, World!");
        thread::sleep(Duration::from_millis(200));
        let more = served.resident_bytes().saturating_sub(before);
        assert!(more < 32 * MEBIBYTE, "{target}: {more} bytes for a client that does not read");
        assert_eq!(client.read("GET").content.len(), 50_000_000, "{target}");
    }
}

#[test]
fn content_that_is_longer_than_what_is_collected_is_read_as_it_comes() {
    let served = Served::start_with(Connector::Tidegate, &[], &["threads=4", "maxCollectedSize=10"]);
    let mut client = served.connect();
    client.send(complete("POST /probe/life/read?id=long\nContent-Length: 11"));
    served.program.stdout.next_with("reading long");
    client.send("hello world");
    assert!(client.read("POST").text().starts_with("11:"));
    let mut client = served.connect();
    client.send(complete("POST /probe/life/read?id=short\nContent-Length: 10"));
    begin(&served, "/probe/life/sleep?millis=0&id=other").read("GET");
    assert!(
        served.program.stdout.next_with("o").contains("asleep other"),
        "content that is short is collected"
    );
    client.send("helloworld");
    assert!(client.read("POST").text().starts_with("10:"));
}

#[test]
fn context_is_reloaded_under_load_and_signals_let_finish_what_is_in_flight() {
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=4"]);
    let first = served.get("/probe/life/loaded").text();
    reload_under_load(&mut served);
    assert_ne!(served.get("/probe/life/loaded").text(), first, "the old classes");
    sigterm_lets_finish_what_is_in_flight(served);
}

/// Others never notice that an application is loaded anew; those who ask for it wait, or are told to come again.
fn reload_under_load(served: &mut Served) {
    let is_over = AtomicBool::new(false);
    let address = served.address();
    thread::scope(|scope| {
        let ask = |target: &'static str, codes: &'static [u16]| {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) || count == 0 {
                    let response = Client::connect(address).get(target);
                    assert!(codes.contains(&response.code), "{target}: {response}");
                    count += 1;
                }
            })
        };
        let threads = [
            ask("/plaintext", &[200]),
            ask("/probe/respond/short", &[200, 404, 503]),
            ask("/probe/async/complete", &[200, 404, 500, 503]),
        ];
        thread::sleep(Duration::from_millis(50));
        served.command("reload /probe");
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn tomcat_that_stops_lets_finish_what_is_in_flight() {
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=4"]);
    served.start_command("execute");
    served.program.stdout.next_with("task executed");
    let mut waiting = begin(&served, "/probe/life/sleep?millis=600&id=stop");
    served.program.stdout.next_with("asleep stop");
    let mut idle = served.connect();
    idle.get("/plaintext");
    served.start_command("stop");
    let response = waiting.read("GET");
    assert_eq!((response.code, response.text().as_str()), (200, "slept"));
    served.program.stdout.next_with("done: stop");
    idle.read_end();
    assert!(TcpStream::connect(served.address()).is_err(), "it still listens");
    served.start_command("execute");
    served.program.stdout.next_with("task rejected");
    served.start_command("start");
    let port = served.program.stdout.next_with("port ").trim_start_matches("port ").to_string();
    served.program.addresses[0] = format!("http://127.0.0.1:{port}/");
    assert_eq!(served.get("/plaintext").text(), "Hello, World!", "after another start");
}

fn sigterm_lets_finish_what_is_in_flight(mut served: Served) {
    let mut waiting = begin(&served, "/probe/life/sleep?millis=600&id=term");
    let mut dripping = begin(&served, "/probe/life/drip?millis=600&id=term");
    served.program.stdout.next_with("asleep term");
    served.program.signal(Signal::TERM);
    assert_eq!(waiting.read("GET").text(), "slept");
    let response = dripping.read("GET");
    assert_eq!((response.text().as_str(), response.is_cut), ("begin end", false));
    assert_eq!(served.program.wait().code(), Some(ENDED_BY_TERM));
}

#[test]
fn servlet_that_ends_the_process_ends_it() {
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=4"]);
    let mut client = begin(&served, "/probe/life/exit?code=3");
    assert_eq!(served.program.wait().code(), Some(3));
    client.read_to_end();
    for (how, code) in [("halt", 4), ("exit", 5)] {
        let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=1", "drainTimeout=100"]);
        begin(&served, &format!("/probe/life/{how}?code={code}"));
        assert_eq!(served.program.wait().code(), Some(code));
    }
}

/// A thread that a servlet held while the connector stopped and started again belongs to none that serves now.
#[test]
fn thread_that_outlasts_a_stop_does_not_serve_after_the_next_start() {
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=2", "drainTimeout=100"]);
    let _held = begin(&served, "/probe/life/held?id=held");
    served.program.stdout.next_with("held held");
    served.command("stop");
    served.start_command("start");
    let port = served.program.stdout.next_with("port ").trim_start_matches("port ").to_string();
    served.program.addresses[0] = format!("http://127.0.0.1:{port}/");
    assert_eq!(served.get("/probe/life/release").text(), "released");
    thread::sleep(Duration::from_millis(100));
    // An old thread would take one of three requests at a time.
    let mut clients: Vec<_> = (0..3).map(|_| begin(&served, "/probe/life/threads?millis=200")).collect();
    for client in &mut clients {
        let thread = client.read("GET").text();
        assert!(["-exec-3", "-exec-4"].iter().any(|new| thread.ends_with(new)), "{thread}");
    }
}

/// The loop has the sockets until the servlet that its thread calls returns, and the next start needs their port.
#[test]
fn connector_restarts_over_a_servlet_that_holds_the_thread_of_the_loop() {
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=1", "drainTimeout=100"]);
    let _held = begin(&served, "/probe/life/sleep?millis=2500&id=loop");
    served.program.stdout.next_with("asleep loop");
    served.command("restart");
    assert_eq!(served.get("/plaintext").text(), "Hello, World!");
}

/// A connector that stops and starts again and again, while clients ask, keeps its port, and nothing of what it had.
#[test]
fn connector_that_restarts_keeps_its_port_and_leaves_nothing_behind() {
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=4", "drainTimeout=30000"]);
    served.command("restart");
    let before = served.descriptors();
    for round in 0..12 {
        let mut waiting = begin(&served, "/probe/life/sleep?millis=50&id=restart");
        served.program.stdout.next_with("asleep restart");
        served.start_command("restart");
        assert_eq!(waiting.read("GET").text(), "slept", "round {round}");
        // The server waits a while for its client to end the connection, too.
        drop(waiting);
        served.program.stdout.next_with("done: restart");
        assert_eq!(served.get("/plaintext").text(), "Hello, World!", "round {round}");
    }
    let after = served.descriptors();
    assert!(after <= before + 4, "descriptors: {before} and then {after}");
}

/// A stop cuts more sockets than there are threads to say so, and the next start does not wait for these: each is told all the
/// same, and what is done for others afterwards is not done one too late.
#[test]
fn web_sockets_that_a_restart_cuts_are_all_told() {
    let mut served = Served::start_with(Connector::Tidegate, &[], &["threads=2", "drainTimeout=100"]);
    let _cut: Vec<_> = (0..CUT).map(|_| sockets::open(&served, "/probe/socket/slow")).collect();
    served.command("restart");
    wait_until("all are told", || served.notes("slow").matches("close:1006").count() == CUT);
    // Threads have a channel each at hand.
    wait_until("nothing is left", || served.objects(CLASSES[0]) == 0 && served.objects(CLASSES[1]) <= 8);
    served.start_command("execute");
    served.program.stdout.next_with("task executed");
}

/// Sockets that are open over a restart. Two threads take half a second for the ends of all.
const CUT: usize = 50;

/// Sockets whose clients leave without a word, some with bytes that nobody has read, leave nothing behind.
#[test]
fn web_sockets_that_are_broken_off_leave_nothing_behind() {
    let served = Served::start_with(Connector::Tidegate, &[], &["threads=4"]);
    let break_off = |count: usize| {
        let mut clients: Vec<_> = (0..count).map(|_| served.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(complete(sockets::OPENING)));
        clients.iter_mut().for_each(|client| client.read_until("\r\n\r\n"));
        for (number, mut client) in clients.into_iter().enumerate() {
            if number % 2 == 0 {
                // A text of two letters, masked with zeros, which comes back.
                client.send(b"\x81\x82\0\0\0\0hi");
                client.leave_unread();
            }
        }
    };
    let left = || {
        let [sessions, channels] = CLASSES.map(|class| served.objects(class));
        (served.descriptors(), sessions, channels)
    };
    break_off(20);
    wait_until("the first are gone", || left().1 == 0);
    let before = left();
    for _ in 0..10 {
        break_off(100);
    }
    wait_until("nothing is left of a thousand", || {
        let after = left();
        // Each thread has a channel at hand, and the last questions may have a connection each.
        after.0 <= before.0 + 4 && after.1 == 0 && after.2 <= before.2 + 4
    });
}

/// Threads that close sockets wait until their last texts are out, all of them at once, and somebody is left to say so.
#[test]
fn web_sockets_that_all_threads_close_end_at_once() {
    let served = Served::start_with(Connector::Tidegate, &[], &["threads=2"]);
    let mut clients: Vec<_> = (0..16).map(|_| sockets::open(&served, "/probe/socket/hurry")).collect();
    clients.iter_mut().for_each(|client| client.send(Message::text("hurry")).unwrap());
    for client in &mut clients {
        assert_eq!(client.read().unwrap(), Message::text("last"));
        assert!(client.read().unwrap().is_close());
    }
}

/// Classes of which there is one for each socket that is open, the last beside those that threads have at hand.
const CLASSES: [&str; 2] = ["org.apache.tomcat.websocket.WsSession", "tidegate.Channel"];
