//! Tests what an observer sees of a running server: states by their names, wishes and deadlines, and counters.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::loopback::PATIENCE;
use tidegate::access_log::{AccessLog, ExchangeRecord, Wanted};
use tidegate::conversation::{Shutdown, StageName, Wants};
use tidegate::gateway::{Response, deferred};
use tidegate::limits::Limits;
use tidegate::server::{ConnectionSnapshot, Observer, OurSideState, Snapshot};
use tidegate::{Body, Environ, GatewayError, ListenAddress, Server, ServerHandle, StartResponse};

/// A server that is observed, and drained at the end.
struct Observed {
    address: SocketAddr,
    observer: Observer,
    handle: ServerHandle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.thread.take().unwrap().join().unwrap();
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

fn application(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    match &*environ.path() {
        "/later" => {
            let (responder, answer) = deferred(environ.wakeup());
            thread::spawn(move || {
                thread::sleep(PATIENCE);
                responder.respond(Response::new(200));
            });
            Ok(answer.wait(start_response))
        }
        "/long" => start_response.status(200).pieces(std::iter::repeat_n([b'x'; 65_536], 10_000)),
        "/block" => {
            thread::sleep(Duration::from_millis(300));
            start_response.status(200).send("late")
        }
        "/missing" => start_response.status(404).send("no"),
        "/short" => start_response.status(200).pieces(["Hello, ", "World!"]),
        "/fails" => Err(GatewayError::new("it does not work")),
        _ => start_response.status(200).send("Hello, World!"),
    }
}

fn serve(server: Server) -> Observed {
    let mut bound = server.listen("127.0.0.1:0".parse().unwrap()).bind().unwrap();
    let (observer, handle) = (bound.observer(), bound.handle());
    let ListenAddress::Tcp(address) = bound.addresses().remove(0) else { panic!("it listens on TCP") };
    let thread = thread::spawn(move || bound.run_each(|_| Ok(application)));
    Observed { address, observer, handle, thread: Some(thread) }
}

impl Observed {
    /// Connects, and sends this.
    fn client(&self, bytes: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(bytes.as_bytes()).unwrap();
        client
    }

    /// Sends a request for this path on a connection of its own, and reads the answer.
    fn ask(&self, path: &str) -> TcpStream {
        let mut client = self.client(&get(path));
        let read = client.read(&mut [0; 4096]).unwrap();
        assert!(read > 0);
        client
    }

    /// Takes a snapshot of each event loop.
    fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let (sender, receiver) = mpsc::channel();
        self.observer.ask(move |snapshot| drop(sender.send(snapshot)));
        let take = |_| receiver.recv_timeout(PATIENCE).expect("the loop answers");
        (0..self.observer.event_loops()).map(take).collect()
    }

    /// Takes snapshots until one holds what is waited for.
    fn snapshot_with(&self, is_right: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let start = Instant::now();
        loop {
            let snapshot = self.snapshots().remove(0);
            if is_right(&snapshot) {
                return snapshot;
            }
            assert!(start.elapsed() < PATIENCE, "{snapshot:#?}");
        }
    }

    /// Waits until the connection of this client is in a state.
    fn wait_for(&self, client: &TcpStream, stage: StageName) -> (Arc<Snapshot>, ConnectionSnapshot) {
        let snapshot = self.snapshot_with(|snapshot| {
            of(snapshot, client).is_some_and(|connection| connection.state.stage == stage)
        });
        let connection = of(&snapshot, client).unwrap().clone();
        (snapshot, connection)
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The connection of a client.
fn of<'s>(snapshot: &'s Snapshot, client: &TcpStream) -> Option<&'s ConnectionSnapshot> {
    let peer = client.local_addr().unwrap();
    snapshot.connections.iter().find(|connection| connection.peer == Some(peer))
}

/// Asserts that something is waited for up to this time from now, less what has passed since.
fn check_deadline(snapshot: &Snapshot, connection: &ConnectionSnapshot, limit: Duration) {
    let left = connection.deadline.expect("it has a deadline").since(snapshot.taken);
    assert!(left <= limit && left > limit / 2, "{left:?} of {limit:?}");
}

#[test]
fn connections_are_seen_in_the_state_that_they_are_in_with_wish_and_deadline() {
    let long = PATIENCE * 2;
    let limits =
        Limits { head_timeout: long, idle_timeout: long * 2, body_timeout: long * 3, ..Limits::default() };
    let server = serve(Server::new().limits(limits));

    let head = server.client("GET / HT");
    let (snapshot, connection) = server.wait_for(&head, StageName::Head);
    assert_eq!((connection.wants, connection.state.request.name()), (Wants::Read, "Head"));
    assert!(connection.memory_bytes > 8, "half a head is held");
    check_deadline(&snapshot, &connection, long);

    let kept = server.ask("/");
    let (snapshot, connection) = server.wait_for(&kept, StageName::Kept);
    assert_eq!((connection.wants, connection.owed_bytes, connection.memory_bytes), (Wants::Read, 0, 0));
    check_deadline(&snapshot, &connection, long * 2);

    let content = server.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    let (snapshot, connection) = server.wait_for(&content, StageName::Content);
    assert_eq!((connection.wants, connection.state.request.name()), (Wants::Read, "Body"));
    check_deadline(&snapshot, &connection, long * 3);

    let later = server.client(&get("/later"));
    let (_, connection) = server.wait_for(&later, StageName::Deferred);
    assert_eq!((connection.wants, connection.deadline), (Wants::Application, None));
    assert_eq!(
        (connection.state.request.name(), connection.state.response.name()),
        ("Complete", "Unstarted")
    );

    let long_answer = server.client(&get("/long"));
    server.wait_for(&long_answer, StageName::Stream);
    let snapshot = server.snapshot_with(|snapshot| {
        of(snapshot, &long_answer).is_some_and(|connection| connection.our_side == OurSideState::Backlog)
    });
    let connection = of(&snapshot, &long_answer).unwrap();
    assert!(connection.owed_bytes > 0 && connection.memory_bytes >= connection.owed_bytes, "{connection:?}");
    check_deadline(&snapshot, connection, Limits::default().write_timeout);

    assert_eq!(snapshot.connections.len(), 5);
    let held: usize = snapshot.connections.iter().map(|connection| connection.memory_bytes).sum();
    assert_eq!(snapshot.memory.connections, held, "the account is the sum of all");
    assert!(snapshot.is_gateway_ready && !snapshot.memory.is_scarce && snapshot.shutdown == Shutdown::No);
    assert!(snapshot.listeners[0].address.contains(&server.address.port().to_string()));
    assert!(snapshot.queues.timers >= 4, "{:?}", snapshot.queues);
}

#[test]
fn snapshot_has_each_connection_once_in_the_order_of_their_places() {
    let limits = Limits { idle_timeout: PATIENCE * 2, ..Limits::default() };
    let server = serve(Server::new().limits(limits));
    // Some places among them have become free.
    let mut clients: Vec<TcpStream> = (0..200).map(|_| server.ask("/")).collect();
    let gone: Vec<TcpStream> = clients.drain(100..150).collect();
    drop(gone);
    let snapshot = server.snapshot_with(|snapshot| snapshot.connections.len() == clients.len());
    assert!(snapshot.connections.is_sorted_by(|a, b| a.place < b.place));
    assert!(clients.iter().all(|client| of(&snapshot, client).is_some()));
    assert!(snapshot.connections.iter().all(|connection| connection.state.stage == StageName::Kept));
    let counters = server.observer.counters().remove(0);
    assert_eq!(counters.accepted, 200);
}

#[test]
fn counters_add_up_what_was_asked_and_answered() {
    let server = serve(Server::new());
    let clients: Vec<TcpStream> =
        ["/", "/", "/missing", "/block"].iter().map(|path| server.ask(path)).collect();
    // The last is counted in its turn, which has ended when a snapshot comes.
    server.snapshots();
    let counters = server.observer.counters().remove(0);
    assert_eq!(counters.exchanges, [0, 0, 3, 0, 1, 0]);
    assert_eq!((counters.accepted, counters.aborted), (clients.len() as u64, 0));
    assert_eq!(counters.content_bytes, 13 + 13 + 2 + 4);
    assert_eq!(counters.exchange_times.count(), 4);
    assert!(counters.exchange_times.sum >= Duration::from_millis(300), "{counters:?}");
    assert!(counters.turn_times.count() == counters.turns && counters.turns >= 1, "{counters:?}");
    assert!(counters.steps.iter().sum::<Duration>() >= Duration::from_millis(300), "{counters:?}");
}

#[test]
fn counters_count_what_was_refused_failed_and_answered_in_pieces() {
    let server = serve(Server::new());
    for (bytes, code) in [
        (get("/short"), "200"),
        (get("/fails"), "500"),
        ("GET / HTTP/1.1\r\n\r\n".to_string(), "400"),
        ("rubbish\r\n\r\n".to_string(), "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n".to_string(), "400"),
    ] {
        let mut answer = [0; 12];
        server.client(&bytes).read_exact(&mut answer).unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {code}").as_bytes(), "{bytes}");
    }
    server.snapshots();
    let counters = server.observer.counters().remove(0);
    assert_eq!((counters.exchanges, counters.aborted), ([0, 0, 1, 0, 3, 1], 0));
    assert_eq!(counters.exchange_times.count(), 5);
}

/// An access log that wants numbers.
struct Numbers(mpsc::Sender<String>);

impl AccessLog for Numbers {
    fn wanted(&self) -> Wanted {
        Wanted::counts()
    }

    fn record(&mut self, record: &ExchangeRecord<'_>) {
        let ExchangeRecord { status, content_bytes, request, outcome, .. } = record;
        // The test may have ended before its server.
        let _ = self.0.send(format!("{status} {content_bytes} {outcome:?} {request:?}"));
    }

    fn flush(&mut self) {}
}

#[test]
fn log_that_counts_gets_the_numbers_of_an_exchange_and_no_request_line() {
    let (sender, records) = mpsc::channel();
    let server = serve(Server::new().access_log(Numbers(sender)));
    for (path, record) in [
        ("/", "200 13 Complete None"),
        ("/short", "200 13 Complete None"),
        ("/missing", "404 2 Complete None"),
        ("/fails", "500 51 Complete None"),
    ] {
        let _client = server.ask(path);
        assert_eq!(records.recv_timeout(PATIENCE).unwrap(), record, "{path}");
    }
    // The observer counts, too.
    server.snapshots();
    assert_eq!(server.observer.counters().remove(0).exchanges, [0, 0, 2, 0, 1, 1]);
}

#[test]
fn application_that_blocks_the_loop_is_seen_by_the_counters() {
    let server = serve(Server::new());
    let _client = server.client(&get("/block"));
    let start = Instant::now();
    loop {
        let counters = server.observer.counters().remove(0);
        let lasts = counters.turn_begun.map(|begun| counters.read.since(begun));
        if lasts.is_some_and(|lasts| lasts > Duration::from_millis(100)) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{counters:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_event_loop_of_a_server_answers() {
    let server = serve(Server::new().reactors(2));
    let clients: Vec<TcpStream> = (0..20).map(|_| server.ask("/")).collect();
    let snapshots = server.snapshots();
    let mut numbers: Vec<usize> = snapshots.iter().map(|snapshot| snapshot.reactor).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    let open: usize = snapshots.iter().map(|snapshot| snapshot.connections.len()).sum();
    let accepted: u64 = server.observer.counters().iter().map(|counters| counters.accepted).sum();
    assert_eq!((open, accepted), (clients.len(), clients.len() as u64));
}

#[test]
fn question_to_a_server_that_has_ended_is_dropped() {
    let server = serve(Server::new());
    let observer = server.observer.clone();
    drop(server);
    let (sender, receiver) = mpsc::channel();
    observer.ask(move |snapshot| drop(sender.send(snapshot)));
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap_err(), mpsc::RecvTimeoutError::Disconnected);
}

#[test]
fn server_that_was_never_started_drops_questions_and_those_from_before() {
    let mut server = Server::new().listen("127.0.0.1:0".parse().unwrap()).bind().unwrap();
    let observer = server.observer();
    let (sender, receiver) = mpsc::channel();
    let ask = |sender: mpsc::Sender<_>| observer.ask(move |snapshot| drop(sender.send(snapshot)));
    ask(sender.clone());
    drop(server);
    ask(sender);
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap_err(), mpsc::RecvTimeoutError::Disconnected);
}

#[test]
fn observer_that_panics_ends_nothing() {
    let server = serve(Server::new());
    server.observer.ask(|_| panic!("the observer's own fault"));
    assert!(server.snapshot_with(|_| true).connections.is_empty());
}

#[test]
fn server_that_drains_says_so() {
    let server = serve(Server::new());
    let _busy = server.client(&get("/later"));
    server.snapshot_with(|snapshot| snapshot.connections.len() == 1);
    server.handle.drain();
    let snapshot = server.snapshot_with(|snapshot| snapshot.shutdown == Shutdown::Draining);
    assert!(snapshot.drain_until.is_some());
}
