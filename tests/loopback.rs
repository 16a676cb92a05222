//! Tests whole servers over real sockets: order, fairness, slow and leaving clients, listeners, shutting
//! down, and running out of descriptors.
//!
//! Each test binds free ports of this machine. Times are bounds that only a failure reaches; where
//! the order of events matters, it is brought about by channels, not by sleeping.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::loopback::{
    Answer, Client, End, Running, noise, serve, serve_on, serve_with, serve_with_hooks, wait_until,
};
use support::response::Response;
use tidegate::gateway::{Body, BodyStream, Later, LoopHooks, OwnedContent, Piece, Responder, deferred};
use tidegate::limits::Limits;
use tidegate::now::Moment;
use tidegate::server::Listener;
use tidegate::{Environ, Gateway, GatewayError, ListenAddress, Server, ServerHandle, StartResponse};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers with the path.
fn echo(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
    start_response.status(200).send(environ.path())
}

/// Makes `count` requests for `/0`, `/1`, …, in one piece.
fn pipeline(count: usize) -> String {
    (0..count).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect()
}

/// Asserts that the next responses of a client are those to [`pipeline`].
fn check(client: &mut Client, count: usize) {
    for n in 0..count {
        assert_eq!(client.read("GET").text(), format!("/{n}"));
    }
}

// Order and fairness

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = serve(echo, Limits::default());
    let mut client = server.connect();
    client.send(pipeline(1000));
    check(&mut client, 1000);
    assert_eq!(client.get("/after").text(), "/after");
}

#[test]
fn applications_route_by_the_decoded_path() {
    let server = serve(echo, Limits::default());
    let mut client = server.connect();
    assert_eq!(client.get("/caf%C3%A9/a%20b?c%20d").text(), "/café/a b");
    assert_eq!(client.get("/%e9%2F..").text(), "/\u{fffd}/..");
}

#[test]
fn pipelined_requests_in_ragged_pieces_are_answered_in_order() {
    let server = serve(echo, Limits::default());
    let mut client = server.connect();
    let requests = pipeline(200);
    for (step, piece) in requests.as_bytes().chunks(97).enumerate() {
        client.send(piece);
        if step % 16 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    check(&mut client, 200);
}

#[test]
fn responses_to_a_pipeline_leave_together() {
    let server = serve(echo, Limits::default());
    let mut client = server.connect();
    client.send(pipeline(16));
    check(&mut client, 16);
    assert!(client.reads <= 2, "16 responses in {} reads", client.reads);
}

#[test]
fn head_and_short_content_leave_together() {
    let server = serve(echo, Limits::default());
    for _ in 0..20 {
        let mut client = server.connect();
        client.get("/x");
        assert_eq!(client.reads, 1);
    }
}

#[test]
fn greedy_pipeline_does_not_starve_another_client() {
    const GREEDY: usize = 5000;
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let server = serve(
        move |environ, start_response| {
            if environ.path() != "/other" {
                count.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(200));
            }
            echo(environ, start_response)
        },
        Limits::default(),
    );
    let mut other = server.connect();
    assert_eq!(other.get("/other").code, 200);
    let mut greedy = server.connect();
    let reader = thread::spawn(move || {
        greedy.send(pipeline(GREEDY));
        check(&mut greedy, GREEDY);
    });
    wait_until("the greedy one has begun", || answered.load(Ordering::SeqCst) > 0);
    for _ in 0..10 {
        assert_eq!(other.get("/other").text(), "/other");
    }
    let meanwhile = answered.load(Ordering::SeqCst);
    assert!(meanwhile < GREEDY, "ten requests had to wait for all of the {GREEDY}");
    reader.join().unwrap();
}

// Slow and leaving clients

/// Counts the bytes that it has given, in pieces of 10,000.
struct Counting {
    given: Arc<AtomicUsize>,
    content: Arc<[u8]>,
    at: usize,
}

impl BodyStream for Counting {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        let piece = &self.content[self.at..self.content.len().min(self.at + 10_000)];
        self.at += piece.len();
        self.given.fetch_add(piece.len(), Ordering::SeqCst);
        Ok(if piece.is_empty() { Piece::End } else { Piece::Data(piece) })
    }
}

/// A writable event, a full socket, and a writable event again, many times over: none of the
/// `WouldBlock`s between them is the end of the connection.
#[test]
fn trap_slow_reader_of_a_long_stream_gets_all_of_it() {
    let given = Arc::new(AtomicUsize::new(0));
    let content: Arc<[u8]> = noise(11, 10_000_000).into();
    let (count, shared) = (given.clone(), content.clone());
    let server = serve(
        move |_, start_response| {
            start_response.status(200).stream(Counting {
                given: count.clone(),
                content: shared.clone(),
                at: 0,
            })
        },
        Limits::default(),
    );
    let mut client = server.connect();
    client.send(GET);
    for part in 1..=100 {
        client.read_bytes(part * 100_000);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(client.read("GET").content == *content);
    assert_eq!(given.load(Ordering::SeqCst), content.len());
}

#[test]
fn client_that_has_ended_its_side_gets_its_answers() {
    let server = serve(echo, Limits::default());
    for count in [1, 10, 100, 1000] {
        let mut client = server.connect();
        client.send(pipeline(count));
        client.end_sending();
        check(&mut client, count);
        assert_eq!(client.read_end(), End::Fin);
    }
}

#[test]
fn client_that_has_ended_its_side_gets_a_late_answer_and_a_long_one() {
    let server = serve(
        |environ, start_response| match &*environ.path() {
            "/late" => {
                let (responder, answer) = deferred(environ.wakeup());
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(50));
                    responder.respond(tidegate::gateway::Response::new(200).content("late"));
                });
                Ok(start_response.later(None, answer))
            }
            _ => start_response.status(200).send(vec![b'x'; 5_000_000]),
        },
        Limits::default(),
    );
    for (path, bytes) in [("/late", 4), ("/long", 5_000_000)] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.end_sending();
        assert_eq!(client.read("GET").content.len(), bytes);
        assert_eq!(client.read_end(), End::Fin);
    }
}

#[test]
fn thousand_connections_come_and_go() {
    let server = serve(echo, Limits::default());
    for round in 0..20 {
        let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let last = ["", "Connection: close\r\n"][number % 2];
            client.send(format!("GET /{round}/{number} HTTP/1.1\r\nHost: a\r\n{last}\r\n"));
        }
        for (number, mut client) in clients.into_iter().enumerate() {
            assert_eq!(client.read("GET").text(), format!("/{round}/{number}"));
            if number % 2 == 1 {
                assert_eq!(client.read_end(), End::Fin);
            }
        }
    }
}

#[test]
fn clients_that_break_off_anywhere_harm_nobody() {
    let server =
        serve(|_, start_response| start_response.status(200).send(vec![b'x'; 100_000]), Limits::default());
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789";
    for at in 0..=request.len() {
        server.connect().send(&request[..at]);
    }
    assert_eq!(server.connect().get("/").content.len(), 100_000);
}

// Uploads

#[test]
fn long_upload_reads_back_identical() {
    let server = serve(
        |environ, start_response| {
            let is_in_memory = environ.content().as_slice().is_some();
            let mut content = Vec::new();
            environ.content().read_to_end(&mut content)?;
            let place = if is_in_memory { "memory" } else { "file" };
            start_response.status(200).field("X-Place", place).send(content)
        },
        Limits { body_memory_bytes_max: 100_000, ..Limits::default() },
    );
    let mut client = server.connect();
    for (seed, length) in [(1, 50_000), (2, 3_000_000), (3, 100_001), (4, 10)] {
        let content = noise(seed, length);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        client.send(&content);
        let response = client.read("POST");
        assert!(response.content == content, "seed {seed}, {length} bytes");
        assert_eq!(response.field("X-Place"), Some(if length > 100_000 { "file" } else { "memory" }));
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in content.chunks(70_001) {
            client.send(format!("{:X}\r\n", piece.len()));
            client.send(piece);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert!(client.read("POST").content == content, "chunked, seed {seed}, {length} bytes");
    }
}

#[test]
fn client_that_waits_for_continue_is_asked_for_its_content() {
    let server = serve(echo, Limits::default());
    let mut client = server.connect();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read("POST").code, 100);
    client.send("ok");
    assert_eq!(client.read("POST").text(), "/x");
}

// Listeners

#[test]
fn several_listeners_serve_one_application() {
    let path = socket_path();
    let unix = format!("unix:{}", path.display());
    let server = serve_on(&["127.0.0.1:0", "127.0.0.1:0", &unix], echo, Limits::default());
    let mut clients: Vec<Client> = server.addresses.iter().map(connect_to).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.get(&format!("/{number}")).text(), format!("/{number}"));
    }
    assert_eq!(clients.len(), 3);
}

fn connect_to(address: &ListenAddress) -> Client {
    match address {
        ListenAddress::Tcp(address) => Client::connect(*address),
        ListenAddress::Unix(path) => Client::connect_unix(path),
        ListenAddress::Descriptor(_) => panic!("{address} is bound"),
    }
}

#[test]
fn every_address_of_the_machine_means_ipv4_and_ipv6() {
    let server = serve_on(
        &["[::]:0"],
        |environ, start_response| {
            let peer = environ.get("REMOTE_ADDR").unwrap_or_default().into_owned();
            start_response.status(200).send(peer)
        },
        Limits::default(),
    );
    let port = server.address().port();
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(client.get("/").text(), "127.0.0.1");
    if server.address().is_ipv6() {
        let mut client = Client::connect(format!("[::1]:{port}").parse().unwrap());
        assert_eq!(client.get("/").text(), "::1");
    }
}

/// Makes a path for a socket that nobody else uses.
fn socket_path() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("tidegate-test-{}-{number}.sock", process::id()))
}

#[test]
fn unix_socket_left_behind_is_replaced_and_removed_at_the_end() {
    let path = socket_path();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let server = serve_on(&[&format!("unix:{}", path.display())], echo, Limits::default());
    let mut client = Client::connect_unix(&path);
    client.send(pipeline(100));
    check(&mut client, 100);
    drop(client);
    drop(server);
    assert!(!path.exists(), "still there");
}

#[test]
fn unix_socket_is_removed_with_its_listener_and_not_with_a_duplicate() {
    let path = socket_path();
    let listener = Listener::bind(&ListenAddress::Unix(path.clone())).unwrap();
    let server = serve_with(Server::new().listener(listener.try_clone().unwrap()), echo);
    assert_eq!(server.addresses, [ListenAddress::Unix(path.clone())]);
    assert_eq!(Client::connect_unix(&path).get("/alive").text(), "/alive");
    drop(server);
    assert!(path.exists(), "gone with the duplicate");
    drop(listener);
    assert!(!path.exists(), "still there");
}

#[test]
fn servers_with_duplicates_of_one_listener_all_accept_from_it() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let name = |name: &'static str| {
        move |_: &mut Environ<'_>, start: StartResponse<'_>| start.status(200).send(name)
    };
    let first = serve_with(Server::new().listener(listener.try_clone().unwrap()), name("first"));
    assert_eq!(first.addresses, [listener.address()]);
    assert_eq!(first.connect().get("/").text(), "first");
    let second = serve_with(Server::new().listener(listener.try_clone().unwrap()), name("second"));
    assert_eq!(second.addresses, first.addresses);
    drop(first);
    assert_eq!(second.connect().get("/").text(), "second");
    drop(second);
    // Nobody accepts, but the socket is there.
    let mut waiting = connect_to(&listener.address());
    let third = serve_with(Server::new().listener(listener), name("third"));
    assert_eq!(waiting.get("/").text(), "third");
    drop((waiting, third));
}

#[test]
fn socket_that_somebody_else_has_bound_is_adopted() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_address = ListenAddress::Tcp(tcp.local_addr().unwrap());
    let path = socket_path();
    let unix = UnixListener::bind(&path).unwrap();
    for (descriptor, address) in [(tcp.into(), tcp_address), (unix.into(), ListenAddress::Unix(path.clone()))]
    {
        let listener = Listener::adopt(descriptor).unwrap();
        assert_eq!(listener.address(), address);
        let server = serve_with(Server::new().listener(listener), echo);
        assert_eq!(connect_to(&address).get("/alive").text(), "/alive");
        drop(server);
    }
    assert!(path.exists(), "gone with whoever has not bound it");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn socket_that_is_given_away_goes_on_and_keeps_its_path() {
    let path = socket_path();
    let listener = Listener::bind(&ListenAddress::Unix(path.clone())).unwrap();
    let descriptor = listener.release().unwrap();
    let mut waiting = Client::connect_unix(&path);
    let server = serve_with(Server::new().listener(Listener::adopt(descriptor).unwrap()), echo);
    assert_eq!(waiting.get("/alive").text(), "/alive");
    drop((waiting, server));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn descriptor_that_does_not_listen_is_refused() {
    let file = std::fs::File::open(".").unwrap();
    assert!(Listener::adopt(file.into()).is_err());
    if cfg!(feature = "sockets") {
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = Listener::adopt(datagrams.into()).unwrap_err();
        assert!(error.to_string().contains("does not listen"), "{error}");
    }
}

#[test]
fn unix_socket_in_use_and_other_files_are_left_alone() {
    let path = socket_path();
    let address = format!("unix:{}", path.display());
    let server = serve_on(&[&address], echo, Limits::default());
    assert!(Server::new().listen(address.parse().unwrap()).bind().is_err());
    assert_eq!(Client::connect_unix(&path).get("/alive").text(), "/alive");
    drop(server);
    std::fs::write(&path, "precious").unwrap();
    assert!(Server::new().listen(address.parse().unwrap()).bind().is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn address_in_use_is_an_error_that_names_it() {
    let server = serve(echo, Limits::default());
    let address = server.address().to_string();
    let error = Server::new().listen(address.parse().unwrap()).bind().expect_err("in use").to_string();
    assert!(error.contains(&address), "{error}");
}

// Shutting down

/// Promises an answer to `/later`, and passes the promise on; answers all others at once.
fn serve_promises(limits: Limits) -> (Running, mpsc::Receiver<Responder>) {
    let (sender, promises) = mpsc::channel();
    let sender = Mutex::new(sender);
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if environ.path() != "/later" {
            return echo(environ, start_response);
        }
        let (responder, answer) = deferred(environ.wakeup());
        sender.lock().unwrap().send(responder)?;
        Ok(start_response.later(None, answer))
    };
    (serve(gateway, limits), promises)
}

fn respond(responder: Responder) {
    responder.respond(tidegate::gateway::Response::new(200).content("late"));
}

#[test]
fn drain_finishes_what_is_in_flight_and_closes_the_rest() {
    let (mut server, promises) = serve_promises(Limits::default());
    let mut waiting = server.connect();
    waiting.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    let promise = promises.recv().unwrap();
    let mut kept = server.connect();
    assert_eq!(kept.get("/").code, 200);
    server.handle.drain();
    assert_eq!(kept.read_end(), End::Fin);
    let address = server.address();
    wait_until("no new connection is taken", || TcpStream::connect(address).is_err());
    assert!(!server.has_ended(), "somebody still waits");
    respond(promise);
    let response = waiting.read("GET");
    assert_eq!(response.to_string(), "200 length close: late");
    assert_eq!(waiting.read_end(), End::Fin);
    drop(waiting);
    server.join();
}

#[test]
fn drain_lets_an_upload_under_way_end() {
    let mut server = serve(echo, Limits::default());
    let mut client = server.connect();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read("POST").code, 100);
    client.send("01234");
    server.handle.drain();
    let address = server.address();
    wait_until("no new connection is taken", || TcpStream::connect(address).is_err());
    client.send("56789");
    assert_eq!(client.read("POST").to_string(), "200 length close: /up");
    assert_eq!(client.read_end(), End::Fin);
    drop(client);
    server.join();
}

#[test]
fn drain_answers_a_request_that_came_before_it() {
    for _ in 0..20 {
        let mut server = serve(echo, Limits::default());
        let (mut old, mut new) = (server.connect(), server.connect());
        assert_eq!(old.get("/").code, 200);
        old.send(GET);
        new.send(GET);
        server.handle.drain();
        for client in [&mut old, &mut new] {
            assert_eq!(client.read("GET").code, 200);
            assert_eq!(client.read_end(), End::Fin);
        }
        drop((old, new));
        server.join();
    }
}

#[test]
fn drain_timeout_cuts_what_does_not_end() {
    let (mut server, promises) =
        serve_promises(Limits { drain_timeout: Duration::from_millis(200), ..Limits::default() });
    let mut waiting = server.connect();
    waiting.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    let promise = promises.recv().unwrap();
    let begun = Instant::now();
    server.handle.drain();
    server.join();
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(waiting.read_to_end().0.is_empty());
    assert!(promise.is_abandoned());
}

#[test]
fn drain_of_an_idle_server_ends_at_once() {
    let mut server = serve(echo, Limits::default());
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").code, 200));
    let begun = Instant::now();
    server.handle.drain();
    server.join();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    clients.iter_mut().for_each(|client| assert_eq!(client.read_end(), End::Fin));
}

#[test]
fn stop_ends_at_once_whatever_is_under_way() {
    let (mut server, promises) = serve_promises(Limits::default());
    let (mut waiting, mut kept) = (server.connect(), server.connect());
    waiting.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    let promise = promises.recv().unwrap();
    assert_eq!(kept.get("/").code, 200);
    server.handle.drain();
    server.handle.stop();
    server.handle.drain();
    server.join();
    assert!(promise.is_abandoned());
    assert!(waiting.read_to_end().0.is_empty());
    kept.read_end();
    respond(promise);
    server.handle.stop();
}

// A gateway that waits, and that is not always ready

/// Echoes, counts its waits, and is ready when it is told to be.
#[derive(Clone, Default)]
struct Moody {
    waits: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    is_busy: Arc<AtomicBool>,
    /// Whether it does not wait at all every other time.
    is_restless: bool,
}

impl Gateway for Moody {
    fn call(&mut self, environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
        self.calls.fetch_add(1, Ordering::SeqCst);
        echo(environ, start_response)
    }
}

impl LoopHooks for Moody {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        let count = self.waits.fetch_add(1, Ordering::SeqCst);
        if !self.is_restless || count.is_multiple_of(2) {
            wait();
        }
    }

    fn is_ready(&self) -> bool {
        !self.is_busy.load(Ordering::SeqCst)
    }
}

fn serve_moody(moody: &Moody) -> Running {
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    serve_with_hooks(server, moody.clone(), moody.clone())
}

/// Returns how often the gateway has waited, once everything has come to rest.
fn settled(moody: &Moody) -> usize {
    let mut last = 0;
    wait_until("nothing goes on", || {
        let before = std::mem::replace(&mut last, moody.waits.load(Ordering::SeqCst));
        thread::sleep(Duration::from_millis(100));
        last > 0 && last == before
    });
    last
}

#[test]
fn gateway_waits_once_for_each_turn() {
    let moody = Moody::default();
    let server = serve_moody(&moody);
    let before = settled(&moody);
    for turns in 1..=20 {
        server.handle.wake();
        wait_until("the next turn has come to its wait", || {
            moody.waits.load(Ordering::SeqCst) >= before + turns
        });
    }
    assert_eq!(settled(&moody), before + 20);
    assert_eq!(server.connect().get("/").text(), "/");
    // A few turns for a connection, a request and its end, and none without a cause.
    let turns = settled(&moody) - before - 20;
    assert!((1..=6).contains(&turns), "{turns}");
}

/// Wants a turn every 10 ms, and counts them.
struct Ticking(Arc<AtomicUsize>);

impl LoopHooks for Ticking {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        self.0.fetch_add(1, Ordering::SeqCst);
        wait();
    }

    fn deadline(&self, now: Moment) -> Option<Moment> {
        Some(now + Duration::from_millis(10))
    }
}

#[test]
fn loop_turns_when_the_deadline_of_its_hooks_has_come() {
    let ticks = Arc::<AtomicUsize>::default();
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    let server = serve_with_hooks(server, echo, Ticking(ticks.clone()));
    wait_until("the loop has turned without an event", || ticks.load(Ordering::SeqCst) >= 10);
    // It waits in between: that is no loop that spins.
    let (before, since) = (ticks.load(Ordering::SeqCst), Instant::now());
    thread::sleep(Duration::from_millis(100));
    let (turns, passed) = (ticks.load(Ordering::SeqCst) - before, since.elapsed());
    assert!(turns as u128 <= passed.as_millis() / 10 + 2, "{turns} turns in {passed:?}");
    assert_eq!(server.connect().get("/").text(), "/");
}

#[test]
fn gateway_that_does_not_always_wait_is_served_all_the_same() {
    let moody = Moody { is_restless: true, ..Moody::default() };
    let server = serve_moody(&moody);
    let mut client = server.connect();
    for _ in 0..20 {
        client.send(pipeline(5));
        check(&mut client, 5);
    }
}

#[test]
fn gateway_that_is_not_ready_is_not_called_until_it_is() {
    let moody = Moody::default();
    let server = serve_moody(&moody);
    let mut kept = server.connect();
    assert_eq!(kept.get("/").code, 200);
    moody.is_busy.store(true, Ordering::SeqCst);
    let waits = moody.waits.load(Ordering::SeqCst);
    let mut fresh = server.connect();
    for client in [&mut kept, &mut fresh] {
        client.send(pipeline(3));
    }
    assert!(kept.is_quiet_for(Duration::from_millis(100)) && fresh.is_quiet_for(Duration::from_millis(100)));
    assert_eq!(moody.calls.load(Ordering::SeqCst), 1);
    // Nor does the loop go round and round for what it cannot do.
    let turns = moody.waits.load(Ordering::SeqCst) - waits;
    assert!(turns <= 10, "{turns}");
    moody.is_busy.store(false, Ordering::SeqCst);
    server.handle.wake();
    check(&mut kept, 3);
    check(&mut fresh, 3);
}

#[test]
fn draining_answers_what_came_while_the_gateway_was_not_ready() {
    let moody = Moody::default();
    let mut server = serve_moody(&moody);
    let mut kept = server.connect();
    assert_eq!(kept.get("/").code, 200);
    moody.is_busy.store(true, Ordering::SeqCst);
    let mut fresh = server.connect();
    for client in [&mut kept, &mut fresh] {
        client.send("GET /waited HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(kept.is_quiet_for(Duration::from_millis(50)) && fresh.is_quiet_for(Duration::from_millis(1)));
    server.handle.drain();
    moody.is_busy.store(false, Ordering::SeqCst);
    server.handle.wake();
    for client in [&mut kept, &mut fresh] {
        assert_eq!(client.read("GET").text(), "/waited");
        assert_eq!(client.read_end(), End::Fin);
    }
    drop((kept, fresh));
    server.join();
}

// Responses that wait for each other

/// The length of a call: longer than any bound that is tested.
const CALL_TIME: Duration = Duration::from_millis(2);
const MANY: usize = 20;

/// The observations of a call: for each call of its turn before it, whether the client had its answer.
type Seen = Arc<Mutex<Vec<Vec<bool>>>>;

/// Clients whose requests are all there when the loop comes to them, so that they share one turn, and what
/// the application saw of them. All of them had an answer on their connections before.
struct OneTurn {
    server: Running,
    clients: Vec<Client>,
    seen: Seen,
}

/// Plays such a turn with these requests in each client, and loses some of the clients before it.
fn play_one_turn(hold_max: Duration, requests: impl Fn(usize) -> Vec<String>, lost: &[usize]) -> OneTurn {
    let (gate, opened) = mpsc::channel::<()>();
    let (entered, blocked) = mpsc::channel::<()>();
    let watched: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let seen = Seen::default();
    let (watching, seeing) = (watched.clone(), seen.clone());
    let mut called: Vec<usize> = Vec::new();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        match environ.path().trim_start_matches('/').split('/').next().and_then(|name| name.parse().ok()) {
            Some(number) => {
                let clients = watching.lock().unwrap();
                let has_answer = |number: &usize| clients[*number].peek(&mut [0]).is_ok();
                seeing.lock().unwrap().push(called.iter().map(has_answer).collect());
                called.push(number);
                thread::sleep(CALL_TIME);
            }
            None if environ.path() == "/block" => {
                entered.send(()).unwrap();
                opened.recv_timeout(support::loopback::PATIENCE).map_err(GatewayError::new)?;
            }
            None => {}
        }
        start_response.status(200).send(environ.path())
    };
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).hold_responses(hold_max);
    let server = serve_with(server, gateway);
    let mut blocker = server.connect();
    assert_eq!(blocker.get("/hello").code, 200);
    let mut clients: Vec<Client> = (0..MANY).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/hello").text(), "/hello");
        let looker = client.try_clone_tcp();
        looker.set_nonblocking(true).unwrap();
        watched.lock().unwrap().push(looker);
    }
    blocker.send("GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
    blocked.recv_timeout(support::loopback::PATIENCE).unwrap();
    let mut calls = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        let requests = requests(number);
        calls += requests.len();
        client.send(requests.concat());
    }
    for number in lost {
        clients[*number].break_off();
    }
    // Nothing tells when the system has brought all of it to the sockets of the server.
    thread::sleep(Duration::from_millis(20));
    gate.send(()).unwrap();
    assert_eq!(blocker.read("GET").text(), "/block");
    wait_until("all are called", || seen.lock().unwrap().len() == calls);
    // Whether they block is a matter of the socket, and not of the handle.
    watched.lock().unwrap().iter().for_each(|looker| looker.set_nonblocking(false).unwrap());
    OneTurn { server, clients, seen }
}

fn one_request(number: usize) -> Vec<String> {
    vec![format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")]
}

/// Asserts that each client has its own answer, and that its connection goes on.
fn check_answers(turn: &mut OneTurn) {
    for (number, client) in turn.clients.iter_mut().enumerate() {
        assert_eq!(client.read("GET").to_string(), format!("200 length: /{number}"));
    }
    for client in &mut turn.clients {
        assert_eq!(client.get("/again").text(), "/again");
    }
}

#[test]
fn responses_are_written_one_by_one_unless_they_are_held() {
    let mut turn = play_one_turn(Duration::ZERO, one_request, &[]);
    check_answers(&mut turn);
    let seen = turn.seen.lock().unwrap();
    assert!(seen.iter().all(|answered| answered.iter().all(|has_answer| *has_answer)), "{seen:?}");
}

#[test]
fn held_responses_of_one_turn_are_all_delivered_at_its_end() {
    let mut turn = play_one_turn(Duration::from_secs(60), one_request, &[]);
    check_answers(&mut turn);
    let seen = turn.seen.lock().unwrap();
    assert!(seen.iter().all(|answered| answered.iter().all(|has_answer| !*has_answer)), "{seen:?}");
}

/// A response that was finished before the last call began has waited for a whole call, longer than the
/// bound.
#[test]
fn no_call_begins_while_a_finished_response_has_waited_longer_than_the_bound() {
    let mut turn = play_one_turn(CALL_TIME / 4, one_request, &[]);
    check_answers(&mut turn);
    check_nobody_is_overdue(&turn);
}

fn check_nobody_is_overdue(turn: &OneTurn) {
    let seen = turn.seen.lock().unwrap();
    for answered in seen.iter() {
        let overdue = &answered[..answered.len().saturating_sub(1)];
        assert!(overdue.iter().all(|has_answer| *has_answer), "{seen:?}");
    }
}

/// Every other client sends many requests at once: those before it do not wait for all of them.
#[test]
fn pipeline_begins_no_call_either_while_a_finished_response_has_waited_longer_than_the_bound() {
    let count = |number: usize| if number.is_multiple_of(2) { 1 } else { 4 };
    let requests = |number: usize| one_request(number).into_iter().cycle().take(count(number)).collect();
    let mut turn = play_one_turn(CALL_TIME / 4, requests, &[]);
    for (number, client) in turn.clients.iter_mut().enumerate() {
        for _ in 0..count(number) {
            assert_eq!(client.read("GET").text(), format!("/{number}"));
        }
    }
    check_nobody_is_overdue(&turn);
}

#[test]
fn pipelined_requests_are_answered_in_order_where_responses_are_held() {
    let request = |number: usize, part: usize| format!("GET /{number}/{part} HTTP/1.1\r\nHost: a\r\n\r\n");
    let requests = |number: usize| (0..5).map(|part| request(number, part)).collect();
    for hold_max in [Duration::from_micros(500), Duration::from_secs(60)] {
        let mut turn = play_one_turn(hold_max, requests, &[]);
        for part in 0..5 {
            for (number, client) in turn.clients.iter_mut().enumerate() {
                assert_eq!(client.read("GET").text(), format!("/{number}/{part}"));
            }
        }
        turn.clients.iter_mut().for_each(|client| assert_eq!(client.get("/again").text(), "/again"));
    }
}

#[test]
fn last_response_of_a_connection_arrives_whole_where_responses_are_held() {
    let requests = |number: usize| match number % 3 {
        0 => one_request(number),
        1 => vec![format!("GET /{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")],
        _ => vec![format!("GET /{number} HTTP/1.0\r\n\r\n")],
    };
    let mut turn = play_one_turn(Duration::from_secs(60), requests, &[]);
    for (number, client) in turn.clients.iter_mut().enumerate() {
        assert_eq!(client.read("GET").text(), format!("/{number}"));
        if number % 3 != 0 {
            assert_eq!(client.read_end(), End::Fin);
        }
    }
    turn.server.handle.drain();
    turn.server.join();
}

/// A response that was held for a client that is gone goes nowhere.
#[test]
fn held_responses_to_clients_that_have_left_reach_nobody_else() {
    let lost = [0, 3, 4, 11, MANY - 1];
    let mut turn = play_one_turn(Duration::from_secs(60), one_request, &lost);
    for (number, client) in turn.clients.iter_mut().enumerate() {
        if !lost.contains(&number) {
            assert_eq!(client.read("GET").to_string(), format!("200 length: /{number}"));
            assert_eq!(client.get(&format!("/again{number}")).text(), format!("/again{number}"));
        }
    }
}

// Handing over

/// Serves one request that waits, and has two more clients wait to be accepted when `end` is done.
fn play_end_with_clients_waiting(end: fn(&ServerHandle), expected: &str) {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let (gate, opened) = mpsc::channel::<()>();
    let (entered, blocked) = mpsc::channel::<()>();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if environ.path() == "/block" {
            entered.send(()).unwrap();
            opened.recv_timeout(support::loopback::PATIENCE).map_err(GatewayError::new)?;
        }
        start_response.status(200).send("first")
    };
    let mut first = serve_with(Server::new().listener(listener.try_clone().unwrap()), gateway);
    // Accepted before, so that the loop is not accepting when it blocks.
    let mut in_flight = first.connect();
    assert_eq!(in_flight.get("/").text(), "first");
    in_flight.send("GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
    blocked.recv_timeout(support::loopback::PATIENCE).unwrap();
    let mut waiting = [first.connect(), first.connect()];
    waiting.iter_mut().for_each(|client| client.send(GET));
    end(&first.handle);
    gate.send(()).unwrap();
    assert_eq!(in_flight.read("GET").text(), "first");
    let mut answers =
        || waiting.iter_mut().for_each(|client| assert_eq!(client.read("GET").text(), expected));
    if expected == "first" {
        // Before there is another server: which of the two is faster is not the question.
        answers();
    }
    let second = serve_with(
        Server::new().listener(listener),
        |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("second"),
    );
    if expected == "second" {
        answers();
    }
    drop((in_flight, waiting));
    first.join();
    assert_eq!(second.connect().get("/").text(), "second");
}

#[test]
fn server_that_hands_over_leaves_who_waits_to_the_next_one() {
    play_end_with_clients_waiting(ServerHandle::hand_over, "second");
}

#[test]
fn server_that_drains_takes_who_waits() {
    play_end_with_clients_waiting(ServerHandle::drain, "first");
}

/// The patience is a second; if the machine took most of it, nothing is shown, and the test tries again. (The
/// socket is one that others have bound: one of the server's own shows nothing of a client that only
/// connects.)
#[test]
fn drain_waits_for_the_first_request_of_who_has_connected() {
    let mut begun = Instant::now();
    for attempt in 1.. {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener::adopt(tcp.into()).unwrap();
        let mut server = serve_with(Server::new().listener(listener), echo);
        let address = server.address();
        begun = Instant::now();
        let (mut fresh, mut later) = (server.connect(), server.connect());
        // Who came after them was accepted after them.
        let mut kept = server.connect();
        assert_eq!(kept.get("/").code, 200);
        server.handle.drain();
        assert_eq!(kept.read_end(), End::Fin, "a kept connection is not waited for");
        wait_until("no new connection is taken", || TcpStream::connect(address).is_err());
        let outcome = fresh.try_send(GET.as_bytes());
        if begun.elapsed() < Duration::from_millis(700) {
            outcome.unwrap();
            assert_eq!(fresh.read("GET").to_string(), "200 length close: /");
            assert_eq!(fresh.read_end(), End::Fin);
            // Who says nothing is let go in the end, and long before the drain times out.
            assert_eq!(later.read_end(), End::Fin);
            drop((fresh, later, kept));
            server.join();
            break;
        }
        assert!(attempt < 20, "the machine is too slow to see it");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// A socket of the server's own does not show clients that only connect. The patience is 100 ms; if the
/// machine took most of it, nothing is shown, and the test tries again.
#[test]
fn drain_takes_who_has_connected_and_sends_a_little_later() {
    for attempt in 1.. {
        let mut server = serve(echo, Limits::default());
        let address = server.address();
        let (mut kept, mut fresh, _silent) = (server.connect(), server.connect(), server.connect());
        assert_eq!(kept.get("/").code, 200);
        let begun = Instant::now();
        server.handle.drain();
        assert_eq!(kept.read_end(), End::Fin);
        // Without its patience the server would be gone by then.
        thread::sleep(Duration::from_millis(20));
        let outcome = fresh.try_send(GET.as_bytes());
        if begun.elapsed() < Duration::from_millis(70) {
            outcome.unwrap();
            assert_eq!(fresh.read("GET").to_string(), "200 length close: /");
            assert_eq!(fresh.read_end(), End::Fin);
            // Nobody is waited for longer who has not been seen.
            wait_until("no new connection is taken", || TcpStream::connect(address).is_err());
            drop((kept, fresh));
            server.join();
            break;
        }
        assert!(attempt < 20, "the machine is too slow to see it");
    }
}

// Running out of descriptors

/// The variable that tells the child of the test below that it is the child.
const CHILD: &str = "TIDEGATE_TEST_FEW_DESCRIPTORS";

#[test]
fn running_out_of_descriptors_lets_clients_wait_their_turn() {
    if std::env::var_os(CHILD).is_some() {
        return serve_until_standard_input_ends();
    }
    let (mut child, address) = start_child();
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(address)).collect();
    // Busy, all of them, so that none has to make room for another: half its content is on its way.
    let half = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n1";
    clients.iter_mut().for_each(|client| client.send(half));
    let mut last = Client::connect(address);
    last.send(GET);
    assert!(last.is_quiet_for(Duration::from_millis(200)), "64 descriptors for 101 clients");
    let before = cpu_ticks(&child);
    thread::sleep(Duration::from_millis(500));
    let spent = cpu_ticks(&child) - before;
    assert!(spent < 20, "{spent} hundredths of a second of 50 spent on waiting");
    clients.iter_mut().for_each(|client| client.send("2"));
    // As some leave, the others are served.
    for client in &mut clients {
        assert_eq!(client.read("POST").code, 200);
        assert_eq!(client.read_end(), End::Fin);
    }
    assert_eq!(last.read("GET").code, 200);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// Runs this test again, in a process that may open 64 files.
fn start_child() -> (Child, SocketAddr) {
    let script = "ulimit -n 64; exec \"$0\" --exact running_out_of_descriptors_lets_clients_wait_their_turn --nocapture";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address =
        lines.find_map(|line| line.rsplit_once("listening on ")?.1.parse().ok()).expect("an address");
    // What the test harness of the child prints at its end must find a reader.
    thread::spawn(move || lines.for_each(drop));
    (child, address)
}

fn serve_until_standard_input_ends() {
    let server = serve(echo, Limits::default());
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", server.address()).and_then(|()| stdout.flush()).unwrap();
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).unwrap();
}

/// Processor time of a child so far, in hundredths of a second; 0 where it cannot be known.
fn cpu_ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let of_field = |index: usize| after_name.split_whitespace().nth(index)?.parse::<u64>().ok();
    of_field(11).unwrap_or(0) + of_field(12).unwrap_or(0)
}

// The environment over sockets

#[test]
fn variables_tell_both_ends_of_the_connection() {
    let server = serve(
        |environ, start_response| {
            let value =
                |name: &str| String::from_utf8_lossy(&environ.get(name).unwrap_or_default()).into_owned();
            let names =
                ["REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "PATH_INFO", "QUERY_STRING"];
            let text: Vec<String> = names.iter().map(|name| value(name)).collect();
            start_response.status(200).send(text.join(" "))
        },
        Limits::default(),
    );
    let mut client = server.connect();
    client.send("GET /a%20b?c=d HTTP/1.1\r\nHost: tide.example:99\r\n\r\n");
    let response: Response = client.read("GET");
    let port = server.address().port();
    assert_eq!(response.text(), format!("127.0.0.1 tide.example {port} HTTP/1.1 /a b c=d"));
}

// Memory that a gateway holds

/// An answer that never comes, and meanwhile holds a number of bytes.
struct Holding(usize);

impl Later for Holding {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        Ok(start_response.later_boxed(None, self))
    }

    fn held_bytes(&self) -> usize {
        self.0
    }
}

#[test]
fn uploads_go_to_the_disk_while_answers_to_come_hold_much_memory() {
    let limits = Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    let (sender, called) = mpsc::channel();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        sender.send(()).unwrap();
        if let Ok(bytes) = environ.path()[1..].parse() {
            return Ok(start_response.later(None, Holding(bytes)));
        }
        start_response.status(200).send(match environ.content().detach() {
            OwnedContent::Memory(_) => "memory",
            OwnedContent::Spooled { .. } => "disk",
        })
    };
    let server = serve(gateway, limits);
    for (held, expected) in [("/1000", "memory"), ("/1000000", "disk")] {
        let mut waiting = server.connect();
        waiting.send(format!("GET {held} HTTP/1.1\r\nHost: a\r\n\r\n"));
        called.recv().unwrap();
        let mut client = server.connect();
        client.send("POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(client.read("POST").code, 100);
        client.send("abc");
        assert_eq!(client.read("POST").text(), expected, "{held} bytes");
        called.recv().unwrap();
    }
    server.handle.stop();
}

// Gateways that are full

/// Lets requests in only while it is told to.
struct Switched(Arc<AtomicBool>);

impl LoopHooks for Switched {
    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A server with such a gateway, which is ready: its address, its handle, its switch, its thread.
fn serve_switched(
    limits: Limits,
) -> (SocketAddr, ServerHandle, Arc<AtomicBool>, thread::JoinHandle<std::io::Result<()>>) {
    let is_ready = Arc::new(AtomicBool::new(true));
    let bound = Server::new().listen("127.0.0.1:0".parse().unwrap()).limits(limits).bind().unwrap();
    let Some(ListenAddress::Tcp(address)) = bound.addresses().into_iter().next() else {
        panic!("no TCP address");
    };
    let (handle, hooks) = (bound.handle(), Switched(is_ready.clone()));
    (address, handle, is_ready, thread::spawn(move || bound.run_with_hooks(echo, hooks)))
}

#[test]
fn requests_that_wait_for_a_full_gateway_outlive_their_deadlines() {
    let second = Duration::from_secs(1);
    let limits = Limits { head_timeout: second, idle_timeout: second, ..Limits::default() };
    let (address, handle, is_ready, thread) = serve_switched(limits);
    let (mut kept, mut fresh) = (Client::connect(address), Client::connect(address));
    assert_eq!(kept.get("/before").text(), "/before");
    is_ready.store(false, Ordering::Release);
    kept.send(pipeline(1));
    fresh.send(pipeline(1));
    assert!(fresh.is_quiet_for(2 * second) && kept.is_quiet_for(second / 10));
    is_ready.store(true, Ordering::Release);
    handle.wake();
    check(&mut kept, 1);
    check(&mut fresh, 1);
    drop((kept, fresh));
    handle.drain();
    thread.join().unwrap().unwrap();
}

#[test]
fn requests_that_wait_for_a_full_gateway_are_answered_by_a_server_that_drains() {
    let (address, handle, is_ready, thread) = serve_switched(Limits::default());
    let mut client = Client::connect(address);
    assert_eq!(client.get("/before").text(), "/before");
    is_ready.store(false, Ordering::Release);
    client.send(pipeline(1));
    assert!(client.is_quiet_for(Duration::from_millis(100)));
    handle.drain();
    check(&mut client, 1);
    drop(client);
    thread.join().unwrap().unwrap();
}

/// A front end that sends its next request at that moment on a kept connection must not lose it.
#[test]
fn kept_connections_are_told_of_a_hand_over_with_their_next_answer() {
    for is_restart in [false, true] {
        let mut server = serve(echo, Limits::default());
        let (mut used, mut unused) = (server.connect(), server.connect());
        assert!(!used.get("/before").says_close() && !unused.get("/before").says_close());
        let begun = Instant::now();
        if is_restart {
            server.handle.restart()
        } else {
            server.handle.hand_over()
        }
        let is_open = used.is_quiet_for(Duration::from_millis(100));
        // Where the machine took the time, nothing is shown.
        if begun.elapsed() < Duration::from_millis(200) {
            assert!(is_open, "it was closed at once");
            assert!(used.get("/during").says_close());
            assert_eq!(used.read_end(), End::Fin);
        }
        // The other is not waited for without end; and no longer where the server is to end for good.
        if !is_restart {
            server.handle.drain();
        }
        assert_eq!(unused.read_end(), End::Fin);
        drop((used, unused));
        server.join();
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}
