//! Tests what once went wrong, each under the name of its symptom.
//!
//! Tests are by hand if they need no socket. Over sockets, times are small limits of the server, or bounds
//! that only a failure reaches.

mod support;

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::loopback::{Answer, Client, End, Running, serve, serve_on, serve_with_hooks, wait_until};
use support::response::{Framing, read_all};
use tidegate::access_log::{AccessLog, ExchangeRecord, RequestLine, Wanted};
use tidegate::conversation::{
    Budget, ByHand, Conversation, Disk, Farewell, Journal, Memory, OutputQueue, ServerContext, Shutdown,
    Turn, Wants,
};
use tidegate::gateway::{
    self, BodyStream, DeferredAnswer, Later, LoopHooks, NoWake, Piece, Responder, Response, ServerInfo,
    Spool, SpoolFile, Wakeup, deferred,
};
use tidegate::limits::Limits;
use tidegate::now::{Moment, Now};
use tidegate::{Body, Environ, Gateway, GatewayError, ListenAddress, Server, StartResponse};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const FAILED: &str = "500 length close: the application failed";
const KILOBYTE: &[u8] = &[b'x'; 1000];
/// The length of an answer that no pair of sockets holds.
const LARGE: usize = 48 << 20;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn ok(_: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
    start_response.status(200).send("ok")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Limits for servers whose last answers never end.
fn quick() -> Limits {
    Limits { drain_timeout: millis(200), ..Limits::default() }
}

/// The events in the life of a stream, or of an answer that comes later.
#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    told: AtomicUsize,
    dropped: AtomicUsize,
}

impl Seen {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Returns how often it was told that the client has finished.
    fn told(&self) -> usize {
        self.told.load(Ordering::SeqCst)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

/// A stream that does what a closure says, by what has happened to it and the time.
struct Script<F> {
    seen: Arc<Seen>,
    pieces: F,
}

impl<F: FnMut(&Seen, Moment) -> Piece<'static>> BodyStream for Script<F> {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        Ok((self.pieces)(&self.seen, now))
    }

    fn client_has_finished(&mut self) {
        self.seen.told.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F> Drop for Script<F> {
    fn drop(&mut self) {
        self.seen.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

fn script<F: FnMut(&Seen, Moment) -> Piece<'static>>(seen: &Arc<Seen>, pieces: F) -> Script<F> {
    Script { seen: seen.clone(), pieces }
}

/// Yields a piece, and then nothing until it is told that the client has finished.
fn half(seen: &Seen, _: Moment) -> Piece<'static> {
    match (seen.calls(), seen.told()) {
        (1, _) => Piece::Data(b"half"),
        (_, 0) => Piece::Pending { until: None },
        _ => Piece::End,
    }
}

/// Reads until the first piece of a stream has come.
fn read_half(client: &mut Client) {
    while !client.received.ends_with(b"half") && !client.received.ends_with(b"half\r\n") {
        client.read_bytes(client.received.len() + 1);
    }
}

/// Tells what is on the wire, one line a response, and then the fate of the connection.
fn told(hand: &mut ByHand<impl Gateway>, methods: &[&str]) -> Vec<String> {
    let sent = hand.transmit_all();
    let fate = match hand.wants() {
        Wants::Close(Farewell::Reset) => "reset",
        Wants::Close(_) => "closed",
        Wants::Application => "waiting",
        Wants::Read => "open",
        Wants::Write | Wants::ReadOrWrite | Wants::Turn => "stuck",
    };
    let responses = read_all(&sent, methods).expect("responses by the book");
    responses.iter().map(ToString::to_string).chain([fate.to_string()]).collect()
}

/// Lets an application answer by hand.
fn check(
    request: &str,
    methods: &[&str],
    gateway: impl FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer,
    expected: &[&str],
) {
    let mut hand = ByHand::new(gateway);
    hand.receive(request.as_bytes());
    assert_eq!(told(&mut hand, methods), expected, "{request:?}");
}

// Moments that have passed

#[test]
fn stream_that_was_pending_once_keeps_no_deadline() {
    let until = Some(Moment::START + seconds(1));
    for (piece, wants) in [(KILOBYTE, Wants::Write), (b"", Wants::Turn)] {
        let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            start_response.status(200).stream(script(&Arc::default(), move |seen, _| match seen.calls() {
                1 => Piece::Pending { until },
                _ => Piece::Data(piece),
            }))
        });
        hand.receive(GET.as_bytes());
        assert_eq!((hand.wants(), hand.deadline()), (Wants::Application, until));
        hand.pass(seconds(1));
        for _ in 0..3 {
            assert_eq!((hand.wants(), hand.deadline()), (wants, None));
            hand.transmit();
            hand.advance();
        }
    }
}

#[test]
fn stream_that_was_pending_once_does_not_hold_up_the_timeouts_of_others() {
    let seen: Arc<Seen> = Arc::default();
    let watched = seen.clone();
    let server = serve(
        move |_, start_response| {
            let until = Some(start_response.now() + millis(10));
            start_response.status(200).stream(script(&watched, move |seen, _| match seen.calls() {
                1 => Piece::Pending { until },
                _ => Piece::Data(KILOBYTE),
            }))
        },
        // The first is not cut meanwhile: that would let the other go on.
        Limits { head_timeout: millis(200), write_timeout: seconds(600), ..quick() },
    );
    let mut deaf = server.connect();
    deaf.send(GET);
    wait_until("the stream goes on", || seen.calls() > 1);
    let mut other = server.connect();
    other.send("GET / HT");
    assert_eq!(other.read("GET").code, 408);
}

/// Says "later" again and again, until moments that have passed.
struct Restless(fn(&StartResponse<'_>) -> Moment);

impl Later for Restless {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        let until = (self.0)(&start_response);
        Ok(start_response.later_boxed(Some(until), self))
    }
}

#[test]
fn answer_that_is_always_due_again_starves_nobody() {
    let server = serve(
        |environ, start_response| match &*environ.path() {
            "/now" => {
                Ok(start_response.later(Some(Moment::START), Restless(|start_response| start_response.now())))
            }
            "/past" => Ok(start_response.later(Some(Moment::START), Restless(|_| Moment::START))),
            _ => ok(environ, start_response),
        },
        Limits { head_timeout: millis(200), ..quick() },
    );
    let mut restless = [server.connect(), server.connect()];
    restless[0].send(get("/now"));
    restless[1].send(get("/past"));
    let mut other = server.connect();
    for _ in 0..100 {
        assert_eq!(other.get("/").text(), "ok");
    }
    other.send("GET / HT");
    assert_eq!(other.read("GET").code, 408);
}

// Slow readers

/// The system reports room in a socket only when there is much: from one such event to the next, a reader of
/// this pace takes longer than the timeout.
#[test]
fn steady_reader_is_not_cut_however_slow() {
    const BYTES_PER_SECOND: f64 = 400_000.0;
    let server = serve(
        |_, start_response| start_response.status(200).send(vec![b'x'; LARGE]),
        Limits { write_timeout: seconds(1), ..quick() },
    );
    let mut client = server.connect();
    client.send(GET);
    let begun = Instant::now();
    while begun.elapsed() < seconds(5) {
        thread::sleep(millis(50));
        client.read_bytes((begun.elapsed().as_secs_f64() * BYTES_PER_SECOND) as usize);
    }
    assert_eq!(client.read("GET").content.len(), LARGE);
}

#[test]
fn reader_that_takes_nothing_is_cut_with_a_reset() {
    let seen: Arc<Seen> = Arc::default();
    let watched = seen.clone();
    let server = serve(
        move |_, start_response| {
            start_response.status(200).stream(script(&watched, |_, _| Piece::Data(KILOBYTE)))
        },
        Limits { write_timeout: millis(200), ..quick() },
    );
    let mut client = server.connect();
    client.send(GET);
    wait_until("the stream is cut", || seen.dropped() == 1);
    let (_, end) = client.read_to_end();
    assert_eq!(end, if cfg!(feature = "sockets") { End::Reset } else { end });
}

/// The connection is kept for the next request from when the last byte of the answer has left.
#[test]
fn idle_time_begins_with_delivery() {
    let mut bench = Bench::new(ok);
    bench.receive(GET.as_bytes());
    let deadline = |bench: &Bench<_>| bench.conversation.deadline(&bench.limits).unwrap();
    assert_eq!(deadline(&bench), Moment::START + bench.limits.idle_timeout);
    let delivered = Moment::START + seconds(60);
    bench.conversation.delivered(delivered);
    assert_eq!(deadline(&bench), delivered + bench.limits.idle_timeout);
}

#[test]
fn last_response_arrives_whole_although_the_client_says_something_meanwhile() {
    let server =
        serve(|_, start_response| start_response.status(200).send(vec![b'x'; LARGE]), Limits::default());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.read_bytes(LARGE / 2);
    client.send("\r\n");
    // The server is done long before the client.
    for part in 50..100 {
        client.read_bytes(LARGE / 100 * part);
        thread::sleep(millis(2));
    }
    let response = client.read("GET");
    assert_eq!((response.content.len(), response.is_cut), (LARGE, false));
}

// What applications leave behind

/// A value that panics when it is dropped, and says so before. It is like a panic, only without its message.
#[derive(Debug)]
struct Grenade(mpsc::Sender<()>);

impl Drop for Grenade {
    fn drop(&mut self) {
        _ = self.0.send(());
        if !thread::panicking() {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}

impl BodyStream for Grenade {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(Piece::Pending { until: None })
    }
}

impl Later for Grenade {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        start_response.status(200).send("half")
    }
}

fn explosive(path: &str, grenade: Grenade, start_response: StartResponse<'_>) -> Answer {
    match path {
        "/stream" => {
            let mut writer = start_response.start(200, &[])?;
            writer.write("half")?;
            Ok(writer.stream(grenade))
        }
        "/pieces" => {
            let piece = move || grenade.0.send(()).map_or("half", |()| "half");
            start_response.status(200).pieces(std::iter::once_with(piece))
        }
        "/later" => Ok(start_response.later(None, grenade)),
        "/now" => Ok(start_response.later(Some(Moment::START), grenade)),
        _ => Err(GatewayError::new("on purpose")),
    }
}

#[test]
fn panic_in_a_drop_ends_no_server() {
    let (sender, dropped) = mpsc::channel();
    let mut server = serve(
        move |environ, start_response| match &*environ.path() {
            "/" => ok(environ, start_response),
            path => explosive(path, Grenade(sender.clone()), start_response),
        },
        Limits::default(),
    );
    for path in ["/stream", "/pieces", "/later", "/now", "/fails"] {
        let mut client = server.connect();
        client.send(GET.to_string() + &get(path));
        // As a reset, which nobody mistakes for half an end.
        client.leave_unread();
        dropped.recv_timeout(support::loopback::PATIENCE).expect(path);
        assert_eq!(server.connect().get("/").text(), "ok", "after {path}");
    }
    let mut head = server.connect();
    head.send("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.read("HEAD").code, 200);
    assert_eq!(head.get("/").text(), "ok");
    let mut waiting = server.connect();
    waiting.send(get("/later"));
    assert!(waiting.is_quiet_for(millis(20)));
    server.handle.stop();
    server.join();
}

#[test]
fn panic_in_the_drop_of_a_rejected_body_is_a_500() {
    let (sender, dropped) = mpsc::channel();
    let kept: RefCell<Option<Body>> = RefCell::default();
    let call = |_: &mut Environ<'_>, start_response: StartResponse<'_>| match kept.take() {
        None => {
            *kept.borrow_mut() = Some(start_response.later(None, Grenade(sender.clone())));
            Err(GatewayError::new("on purpose"))
        }
        Some(body) => {
            start_response.start(200, &[])?;
            Ok(body)
        }
    };
    check(GET, &[], call, &[FAILED, "closed"]);
    check(GET, &[], call, &[FAILED, "closed"]);
    assert!(dropped.try_recv().is_ok());
}

/// An error that cannot be printed, and panics when it is dropped.
#[derive(Debug)]
struct Unspeakable {
    _grenade: Grenade,
}

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::panic::resume_unwind(Box::new("on purpose"))
    }
}

impl Error for Unspeakable {}

/// Prints what it is given, as the log of a server does, and notes the requests that have failed.
#[derive(Default)]
struct Printing(Vec<String>);

impl Journal for Printing {
    fn wanted(&self) -> Option<&Wanted> {
        None
    }

    fn exchange(&mut self, _: &ExchangeRecord<'_>) {}

    fn failure(&mut self, request: Option<RequestLine<'_>>, error: &GatewayError) {
        _ = error.to_string();
        self.0.extend(request.map(|line| format!("{} {}", line.method, line.target)));
    }
}

#[test]
fn panic_of_an_error_that_is_printed_or_dropped_is_a_500() {
    let (sender, dropped) = mpsc::channel();
    let grenade = || Grenade(sender.clone());
    let mut fails = Bench::new(|_: &mut Environ<'_>, _: StartResponse<'_>| -> Answer {
        Err(GatewayError::new(Unspeakable { _grenade: grenade() }))
    });
    fails.receive(GET.as_bytes());
    assert_eq!(fails.response().to_string(), FAILED);
    let mut panics = Bench::new(|_: &mut Environ<'_>, _: StartResponse<'_>| -> Answer {
        std::panic::resume_unwind(Box::new(grenade()))
    });
    panics.receive(GET.as_bytes());
    assert_eq!(panics.response().to_string(), FAILED);
    assert_eq!(dropped.try_iter().count(), 2);
}

#[test]
fn failure_of_a_short_answer_is_told_of_with_its_request_though_nobody_logs() {
    let mut short = Bench::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| -> Answer {
        let mut writer = start_response.start(200, &[("Content-Length", "5")])?;
        writer.write("abc")?;
        writer.finish()
    });
    let mut journal = Printing::default();
    short.receive_at(Moment::START, b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n", &mut journal);
    assert_eq!(journal.0, ["GET /short"]);
}

// Uploads

/// A disk with room for a number of bytes, which counts the writes.
#[derive(Clone, Default)]
struct SmallDisk {
    room: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

struct SmallFile {
    disk: SmallDisk,
    content: Cursor<Vec<u8>>,
}

impl Spool for SmallDisk {
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(SmallFile { disk: self.clone(), content: Cursor::default() }))
    }
}

impl Disk for SmallDisk {
    fn read_at(&mut self, _: &File, _: u64, _: usize, _: &mut Vec<u8>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Write for SmallFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.disk.room.load(Ordering::SeqCst).checked_sub(bytes.len());
        self.disk.room.store(room.ok_or(io::ErrorKind::StorageFull)?, Ordering::SeqCst);
        self.disk.writes.fetch_add(1, Ordering::SeqCst);
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for SmallFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.content.read(into)
    }
}

impl Seek for SmallFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.content.seek(to)
    }
}

/// A conversation by hand with a disk of its own.
struct Bench<G> {
    gateway: G,
    limits: Limits,
    disk: SmallDisk,
    conversation: Conversation,
    out: OutputQueue,
}

impl<G: Gateway> Bench<G> {
    fn new(gateway: G) -> Bench<G> {
        Bench {
            gateway,
            limits: Limits::default(),
            disk: SmallDisk::default(),
            conversation: Conversation::new(Moment::START),
            out: OutputQueue::default(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.receive_at(Moment::START, bytes, &mut Printing::default());
    }

    fn receive_at(&mut self, moment: Moment, bytes: &[u8], journal: &mut dyn Journal) {
        let now = Now { moment, ..Now::default() };
        let context = ServerContext::new(self.limits.clone(), ServerInfo::default(), now);
        let mut turn = Turn {
            gateway: &mut self.gateway,
            context: &context,
            client: gateway::Client {
                connection_id: 1,
                peer: &gateway::Peer::Unix,
                local: None,
                has_finished_sending: false,
                wake_source: &NoWake,
                memory: None,
            },
            disk: &mut self.disk,
            wire: &tidegate::conversation::NoWire,
            journal,
            memory: Memory::Ample,
            budget: Budget::TURN,
        };
        self.conversation.receive(bytes, &mut turn, &mut self.out);
    }

    /// The only response.
    fn response(&mut self) -> support::response::Response {
        let sent: Vec<u8> = self.out.slices().flatten().copied().collect();
        self.out.clear();
        let responses = read_all(&sent, &[]).expect("responses by the book");
        <[_; 1]>::try_from(responses).map(|[response]| response).expect("one response")
    }
}

/// Notes the status of each exchange, and when it began.
struct Noting {
    wanted: Wanted,
    exchanges: Vec<(u16, Moment)>,
}

impl Journal for Noting {
    fn wanted(&self) -> Option<&Wanted> {
        Some(&self.wanted)
    }

    fn exchange(&mut self, record: &ExchangeRecord<'_>) {
        self.exchanges.push((record.status, record.begun));
    }

    fn failure(&mut self, _: Option<RequestLine<'_>>, _: &GatewayError) {}
}

/// The log counted a refused request from the end of the one before, with all the time that the connection had been idle.
#[test]
fn request_that_is_refused_begins_with_its_first_byte() {
    let at = |millis| Moment::START + Duration::from_millis(millis);
    let check = |pieces: &[(u64, &str)], expected: &[(u16, u64)]| {
        let mut journal = Noting { wanted: Wanted::request_lines(), exchanges: Vec::new() };
        let mut bench = Bench::new(ok);
        for (moment, piece) in pieces {
            bench.receive_at(at(*moment), piece.as_bytes(), &mut journal);
        }
        let expected: Vec<_> = expected.iter().map(|(status, begun)| (*status, at(*begun))).collect();
        assert_eq!(journal.exchanges, expected, "{pieces:?}");
    };
    check(&[(10, GET), (10_000, "GET /\r\n\r\n")], &[(200, 10), (400, 10_000)]);
    check(&[(10, GET), (10_000, "GET /"), (11_000, "\r\n\r\n")], &[(200, 10), (400, 10_000)]);
    check(&[(10, GET), (10_000, &"\n".repeat(101))], &[(200, 10), (400, 10_000)]);
    check(&[(5_000, "GET /\r\n\r\n")], &[(400, 5_000)]);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    check(&[(10, GET), (10_000, upload), (11_000, "a"), (12_000, "b")], &[(200, 10), (200, 12_000)]);
}

/// Answers with the content of the request.
fn mirror(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
    let mut content = Vec::new();
    environ.content().read_to_end(&mut content)?;
    start_response.status(200).send(content)
}

#[test]
fn full_disk_at_any_piece_of_an_upload_is_a_503() {
    let with_length = ("Content-Length: 40", ["0123456789"; 4]);
    let chunked = (
        "Transfer-Encoding: chunked",
        ["a\r\n0123456789\r\n", "a\r\n0123456789\r\n14\r\n0123", "456789", "0123456789\r\n0\r\n\r\n"],
    );
    for (framing, pieces) in [with_length, chunked] {
        for room in [0, 9, 10, 19, 20, 29, 30, 39, 40] {
            let mut bench = Bench::new(mirror);
            bench.limits.body_memory_bytes_max = 5;
            bench.disk.room.store(room, Ordering::SeqCst);
            bench.receive(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes());
            pieces.iter().for_each(|piece| bench.receive(piece.as_bytes()));
            let (code, is_closed) = if room == 40 { (200, false) } else { (503, true) };
            assert_eq!(bench.response().code, code, "room for {room}");
            let wants = bench.conversation.wants(0, bench.limits.output_bytes_high);
            assert_eq!(matches!(wants, Wants::Close(_)), is_closed, "room for {room}: {wants:?}");
        }
    }
}

#[test]
fn chunks_of_a_byte_past_the_memory_limit_keep_content_and_disk_intact() {
    let content: Vec<u8> = (0..5000).map(|n| n as u8).collect();
    let chunks = content.iter().flat_map(|byte| [b"1\r\n", &[*byte][..], b"\r\n"].concat());
    let request = [
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        chunks.collect(),
        b"0\r\n\r\n".to_vec(),
    ]
    .concat();
    for step in [1, 2, 7, 1000, request.len()] {
        let mut bench = Bench::new(mirror);
        bench.limits.body_memory_bytes_max = 1000;
        bench.disk.room.store(1 << 20, Ordering::SeqCst);
        request.chunks(step).for_each(|piece| bench.receive(piece));
        assert!(bench.response().content == content, "in steps of {step}");
        let (writes, pieces) = (bench.disk.writes.load(Ordering::SeqCst), request.len().div_ceil(step));
        assert!(writes <= pieces + 1, "{writes} writes for {pieces} pieces");
    }
}

// Cut answers

/// An ordinary end would pass for the end of content that has no length.
#[cfg(feature = "sockets")]
#[test]
fn open_ended_response_cut_by_a_shutdown_ends_with_a_reset() {
    for shut_down in [tidegate::ServerHandle::stop, tidegate::ServerHandle::drain] {
        let mut server = serve(
            |_, start_response| start_response.status(200).stream(script(&Arc::default(), half)),
            quick(),
        );
        let mut client = server.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        read_half(&mut client);
        shut_down(&server.handle);
        let (received, end) = client.read_to_end();
        assert!(received.ends_with(b"\r\n\r\nhalf"));
        assert_eq!(end, End::Reset);
        server.join();
    }
}

// Clients that leave

#[test]
fn client_of_a_unix_socket_that_leaves_at_once_is_heard() {
    let path = std::env::temp_dir().join(format!("tidegate-test-{}-heard.sock", std::process::id()));
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let _server = serve_on(
        &[&format!("unix:{}", path.display())],
        move |environ, start_response| {
            assert_eq!(environ.content().len(), 5);
            count.fetch_add(1, Ordering::SeqCst);
            ok(environ, start_response)
        },
        Limits::default(),
    );
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n01234";
    for is_kept in [false, true] {
        for _ in 0..20 {
            let mut client = Client::connect_unix(&path);
            if is_kept {
                client.send(request);
                assert_eq!(client.read("POST").code, 200);
            }
            client.send(request);
        }
    }
    wait_until("all are heard", || calls.load(Ordering::SeqCst) == 60);
}

#[test]
fn pending_stream_is_told_once_that_its_client_has_finished() {
    let seen: Arc<Seen> = Arc::default();
    let watched = seen.clone();
    let server = serve(
        move |_, start_response| {
            let mut until = None;
            start_response.status(200).stream(script(&watched, move |seen, now| match until {
                // Not the end yet: there is time to be told again.
                None if seen.told() > 0 => {
                    until = Some(now + millis(50));
                    Piece::Pending { until }
                }
                Some(moment) if moment <= now => Piece::End,
                Some(_) => Piece::Pending { until },
                None => half(seen, now),
            }))
        },
        quick(),
    );
    let mut client = server.connect();
    client.send(GET);
    read_half(&mut client);
    assert_eq!(seen.told(), 0);
    client.end_sending();
    assert_eq!(client.read("GET").to_string(), "200 chunked: half");
    assert_eq!(client.read_end(), End::Fin);
    assert_eq!(seen.told(), 1);
}

/// Answers some time after its client has finished.
struct Patient {
    seen: Arc<Seen>,
    until: Option<Moment>,
}

impl Later for Patient {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        let now = start_response.now();
        if self.until.is_some_and(|until| until <= now) {
            return start_response.status(200).send(format!("told {}", self.seen.told()));
        }
        if self.seen.told() > 0 && self.until.is_none() {
            self.until = Some(now + millis(50));
        }
        Ok(start_response.later_boxed(self.until, self))
    }

    fn client_has_finished(&mut self) {
        self.seen.told.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn pending_answer_is_told_once_that_its_client_has_finished() {
    let (sender, asked) = mpsc::channel();
    let server = serve(
        move |_, start_response| {
            sender.send(())?;
            Ok(start_response.later(None, Patient { seen: Arc::default(), until: None }))
        },
        quick(),
    );
    // Long after the call, and together with the request.
    for is_asked_before in [true, false] {
        let mut client = server.connect();
        client.send(GET);
        if is_asked_before {
            asked.recv().unwrap();
        }
        client.end_sending();
        assert_eq!(client.read("GET").to_string(), "200 length: told 1");
        assert_eq!(client.read_end(), End::Fin);
    }
}

/// Promises an answer to `/later`, and passes the promise on; answers all others at once.
fn serve_promises(limits: Limits) -> (Running, mpsc::Receiver<Responder>) {
    let (sender, promises) = mpsc::channel();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if environ.path() != "/later" {
            return ok(environ, start_response);
        }
        let (responder, answer) = deferred(environ.wakeup());
        sender.send(responder)?;
        Ok(answer.wait(start_response))
    };
    (serve(gateway, limits), promises)
}

fn late() -> Response {
    Response::new(200).content("late")
}

/// The promise learns that its client has finished, and is kept all the same.
fn keep_although_finished(promise: Responder, client: &mut Client) {
    wait_until("the promise knows", || promise.client_has_finished());
    assert!(!promise.is_abandoned());
    promise.respond(late());
    assert_eq!(client.read("GET").text(), "late");
}

#[test]
fn promise_knows_that_its_client_has_finished_and_can_still_be_kept() {
    let (server, promises) = serve_promises(quick());
    let mut client = server.connect();
    client.send(get("/later"));
    let promise = promises.recv().unwrap();
    assert!(!promise.client_has_finished() && !promise.is_abandoned());
    client.end_sending();
    keep_although_finished(promise, &mut client);
    assert_eq!(client.read_end(), End::Fin);
}

/// The end may also have come together with the requests, or before the second of them is asked.
#[test]
fn every_promise_of_a_client_that_has_finished_knows_it() {
    let (server, promises) = serve_promises(quick());
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "ok");
    client.send(get("/later").repeat(3));
    client.end_sending();
    for promise in promises.iter().take(3) {
        keep_although_finished(promise, &mut client);
    }
    assert_eq!(client.read_end(), End::Fin);
}

#[test]
fn client_that_breaks_off_abandons_what_is_pending() {
    let (server, promises) = serve_promises(quick());
    let mut client = server.connect();
    client.send(GET.to_string() + &get("/later"));
    let promise = promises.recv().unwrap();
    assert!(!promise.is_abandoned());
    client.leave_unread();
    wait_until("the promise is abandoned", || promise.is_abandoned());

    let seen: Arc<Seen> = Arc::default();
    let watched = seen.clone();
    let server =
        serve(move |_, start_response| start_response.status(200).stream(script(&watched, half)), quick());
    let mut client = server.connect();
    client.send(GET);
    client.leave_unread();
    wait_until("the stream is dropped", || seen.dropped() == 1);
}

// Refusals

#[test]
fn refusal_after_a_head_request_has_content() {
    check(
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nno request at all\r\n\r\n",
        &["HEAD", "GET"],
        ok,
        &["200 none", "400 length close: the head of the request is malformed", "closed"],
    );
}

#[test]
fn refusal_of_a_head_request_has_none() {
    check("HEAD / HTTP/1.1\r\n\r\n", &["HEAD"], ok, &["400 none close", "closed"]);
}

// The end of the input

#[test]
fn all_requests_before_the_end_are_answered() {
    for count in [1, 31, 32, 33, 40, 200] {
        let mut hand = ByHand::new(ok);
        hand.receive(GET.repeat(count).as_bytes());
        hand.receive_end();
        let mut expected = vec!["200 length: ok"; count];
        expected.push("closed");
        assert_eq!(told(&mut hand, &[]), expected);
    }
}

/// Makes a gateway that promises answers, and the place where the promises go.
fn promising(
    prepare: fn(DeferredAnswer) -> DeferredAnswer,
) -> (ByHand<impl Gateway>, Rc<RefCell<Vec<Responder>>>) {
    let responders: Rc<RefCell<Vec<Responder>>> = Rc::default();
    let promised = responders.clone();
    let hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (responder, answer) = deferred(environ.wakeup());
        promised.borrow_mut().push(responder);
        Ok(prepare(answer).wait(start_response))
    });
    (hand, responders)
}

#[test]
fn pending_answer_and_the_request_behind_it_survive_the_end() {
    let (mut hand, responders) = promising(|answer| answer);
    hand.receive(GET.repeat(2).as_bytes());
    hand.receive_end();
    for fate in ["waiting", "closed"] {
        assert_eq!(told(&mut hand, &[]), ["waiting"]);
        responders.borrow_mut().remove(0).respond(late());
        hand.wake();
        assert_eq!(told(&mut hand, &[]), ["200 length: late", fate]);
    }
}

#[test]
fn pending_answer_that_comes_while_draining_is_the_last() {
    let (mut hand, responders) = promising(|answer| answer);
    hand.receive(GET.repeat(2).as_bytes());
    hand.context.shutdown = Shutdown::Draining;
    responders.borrow_mut().remove(0).respond(late());
    hand.wake();
    assert_eq!(told(&mut hand, &[]), ["200 length close: late", "closed"]);
}

// Promises

#[test]
fn promise_with_a_moment_is_a_504_then_and_not_before() {
    let (mut hand, responders) = promising(|answer| answer.until(Moment::START + seconds(3)));
    hand.receive(GET.as_bytes());
    for _ in 0..2 {
        hand.pass(seconds(1));
        hand.wake();
        assert_eq!(told(&mut hand, &[]), ["waiting"]);
        assert_eq!(hand.deadline(), Some(Moment::START + seconds(3)));
    }
    let promise = responders.borrow_mut().remove(0);
    assert!(!promise.is_abandoned());
    hand.pass(seconds(1));
    assert_eq!(told(&mut hand, &[]), ["504 length: the application took too long", "open"]);
    assert!(promise.is_abandoned());
    promise.respond(late());
    hand.wake();
    assert_eq!(told(&mut hand, &[]), ["open"]);
}

#[test]
fn promise_keeps_its_moment_however_it_is_left_with_the_server() {
    let promises: Rc<RefCell<Vec<Responder>>> = Rc::default();
    for until in [None, Some(Moment::START + seconds(9))] {
        let made = promises.clone();
        let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let (responder, answer) = deferred(environ.wakeup());
            made.borrow_mut().push(responder);
            Ok(start_response.later(until, answer.until(Moment::START + seconds(3))))
        });
        hand.receive(GET.as_bytes());
        hand.wake();
        assert_eq!(hand.deadline(), Some(Moment::START + seconds(3)), "{until:?}");
        hand.pass(seconds(3));
        assert_eq!(told(&mut hand, &[]), ["504 length: the application took too long", "open"]);
    }
}

#[test]
fn promise_with_a_moment_can_be_kept_before() {
    let (mut hand, responders) = promising(|answer| answer.until(Moment::START + seconds(3)));
    hand.receive(GET.as_bytes());
    hand.pass(seconds(2));
    responders.borrow_mut().remove(0).respond(late());
    hand.wake();
    assert_eq!(told(&mut hand, &[]), ["200 length: late", "open"]);
    assert_eq!(hand.deadline(), Some(Moment::START + seconds(2) + hand.context.limits.idle_timeout));
}

/// Waits, and counts how often it is asked.
struct Waiting(Arc<Seen>);

impl Later for Waiting {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Ok(start_response.later_boxed(None, self))
    }
}

#[test]
fn wakeups_in_great_number_cost_a_turn_and_hold_nobody_up() {
    let seen: Arc<Seen> = Arc::default();
    let watched = seen.clone();
    let (sender, wakeups) = mpsc::channel();
    let mut waiting = None;
    let server = serve(
        move |environ, start_response| match (&*environ.path(), &waiting) {
            ("/wait", _) => {
                sender.send(environ.wakeup())?;
                waiting = Some(environ.wakeup());
                Ok(start_response.later(None, Waiting(watched.clone())))
            }
            ("/wake", Some(waiting)) => {
                (0..100_000).for_each(|_| waiting.wake());
                ok(environ, start_response)
            }
            _ => ok(environ, start_response),
        },
        quick(),
    );
    let (mut pending, mut other) = (server.connect(), server.connect());
    pending.send(get("/wait"));
    let wakeup: Wakeup = wakeups.recv().unwrap();
    assert_eq!(other.get("/wake").text(), "ok");
    wait_until("it is asked", || seen.calls() > 0);
    assert_eq!(other.get("/").text(), "ok");
    assert_eq!(seen.calls(), 1);
    let waking = thread::spawn(move || (0..100_000).for_each(|_| wakeup.wake()));
    for _ in 0..100 {
        assert_eq!(other.get("/").text(), "ok");
    }
    waking.join().unwrap();
    assert!(pending.is_quiet_for(millis(5)));
}

// Targets and heads

#[test]
fn absolute_target_names_host_and_path() {
    for (target, expected) in [
        ("http://b.example:81/x?q", "b.example:81 /x q"),
        ("http://b.example", "b.example / "),
        ("http://b.example?q", "b.example / q"),
        ("/x", "a /x "),
    ] {
        let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let values = ["HTTP_HOST", "PATH_INFO", "QUERY_STRING"]
                .map(|name| String::from_utf8(environ.get(name).unwrap_or_default().into_owned()).unwrap());
            start_response.status(200).send(values.join(" "))
        };
        check(&get(target), &[], gateway, &[&format!("200 length: {expected}"), "open"]);
    }
}

#[test]
fn finished_head_announces_no_content_and_keeps_the_connection() {
    let redirect = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.status(302).field("Location", "/there").finish()
    };
    check(&GET.repeat(2), &[], redirect, &["302 length", "302 length", "open"]);
    check("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &[], redirect, &["302 length", "open"]);
    check("GET / HTTP/1.0\r\n\r\n", &[], redirect, &["302 length close", "closed"]);
    let mut hand = ByHand::new(redirect);
    hand.receive(GET.replace("GET", "HEAD").as_bytes());
    let [response] = &read_all(&hand.transmit_all(), &["HEAD"]).unwrap()[..] else {
        panic!("not one response");
    };
    assert_eq!((response.framing, response.field("Content-Length")), (Framing::None, None));
    assert_eq!(hand.wants(), Wants::Read);
}

#[test]
fn access_log_that_panics_ends_itself_and_not_the_server() {
    struct Fragile;
    impl AccessLog for Fragile {
        fn record(&mut self, _record: &ExchangeRecord<'_>) {
            panic!("no more paper");
        }
        fn flush(&mut self) {}
    }
    for is_observed in [false, true] {
        let address = "127.0.0.1:0".parse().unwrap();
        let mut server = Server::new().listen(address).access_log(Fragile).bind().unwrap();
        let observer = is_observed.then(|| server.observer());
        let [ListenAddress::Tcp(address)] = server.addresses()[..] else { panic!("one address") };
        let handle = server.handle();
        let thread =
            thread::spawn(move || server.serve(|_, start_response| start_response.status(200).send("ok")));
        for _ in 0..3 {
            assert_eq!(Client::connect(address).get("/").code, 200);
        }
        handle.stop();
        thread.join().unwrap().unwrap();
        // Whoever observes goes on counting.
        assert!(observer.is_none_or(|observer| observer.counters()[0].exchanges[2] == 3));
    }
}

/// A gateway that is ready for one request, and then again when it is opened: like a pool with one place
/// left.
#[derive(Clone)]
struct Door {
    is_open: Arc<AtomicBool>,
}

impl Gateway for Door {
    fn call(&mut self, environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
        if environ.path() == "/short" {
            return start_response.status(204).finish();
        }
        self.is_open.store(false, Ordering::SeqCst);
        start_response.status(200).pieces((0..LONG).map(|_| KILOBYTE))
    }
}

impl LoopHooks for Door {
    fn is_ready(&self) -> bool {
        self.is_open.load(Ordering::SeqCst)
    }
}

/// The length of an answer that takes many turns of the loop, in kilobytes.
const LONG: usize = 1_000;

/// The connection waited for the gateway, and an event let it go on. Since it still stood in the one list, it
/// was once not put into the other.
#[test]
fn connection_that_was_let_in_by_an_event_goes_on_to_its_end() {
    let is_open = Arc::new(AtomicBool::new(true));
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    let door = Door { is_open: is_open.clone() };
    let server = serve_with_hooks(server, door.clone(), door);
    let mut client = server.connect();
    assert_eq!(client.get("/short").code, 204);
    is_open.store(false, Ordering::SeqCst);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    assert!(client.is_quiet_for(millis(100)));
    // Nobody tells the loop, but for the client.
    is_open.store(true, Ordering::SeqCst);
    client.send("abc");
    if cfg!(mio_unsupported_force_poll_poll) {
        // There no event comes for a socket that was not read until it would block.
        server.handle.wake();
    }
    assert_eq!(client.read("POST").content.len(), LONG * KILOBYTE.len());
}

/// The rules were broken by single requests, which were served all the same, or refused by another name.
#[test]
fn requests_that_are_no_grammar_are_refused_by_name() {
    let server = serve(ok, Limits::default());
    let long = |byte: &str, end: &str| byte.repeat(100_000) + end;
    let chunked = |chunk: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}\r\nabcde\r\n0\r\n\r\n"
        )
    };
    for (request, code) in [
        ("GET / HTTP/1.1\r\nHost: [zz]\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.1\r\nHost: [::1%25lo]\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_string(), 200),
        (get("/a\\b"), 400),
        (get("/a?\\"), 200),
        (chunked("5;"), 400),
        (chunked("5;bad[=x"), 400),
        (chunked("5;a=\"open"), 400),
        (chunked("5;a=\"closed\""), 200),
        (long("M", " / HTTP/1.1\r\nHost: a\r\n\r\n"), 501),
        ("GET /".to_string() + &long("a", " HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (long("\r\n", GET), 400),
        ("\r\n".repeat(100) + GET, 200),
    ] {
        let mut client = server.connect();
        // It may be answered and shut out before all of it is sent.
        let _ = client.try_send(request.as_bytes());
        assert_eq!(client.read("GET").code, code, "{:.40}", request.escape_debug());
    }
}
