//! Tests connections that an application takes over: by hand, and over real sockets.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use support::loopback::{End, serve_gateway, wait_until};
use tidegate::access_log::{AccessLog, ExchangeRecord};
use tidegate::conversation::{ByHand, Farewell, Wants};
use tidegate::gateway::{BodyStream, Piece, Tunnel};
use tidegate::limits::Limits;
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, Server, StartResponse};
use tidegate_middleware::WithFields;

/// Sends back each byte; `!` is an error, `~` the end.
#[derive(Default)]
struct Echo {
    waiting: Vec<u8>,
    current: Vec<u8>,
    has_ended: bool,
    /// The most bytes that it takes at once; 0 is all.
    most: usize,
    /// Whether it takes nothing for now.
    is_full: Rc<Cell<bool>>,
    /// The most bytes that it keeps until they are drawn; 0 is any number.
    room: usize,
    /// Whether it ends when the server drains.
    ends_with_server: bool,
    _alive: Option<Counted>,
}

impl BodyStream for Echo {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        self.current = std::mem::take(&mut self.waiting);
        match &self.current[..] {
            [] if self.has_ended => Ok(Piece::End),
            [] => Ok(Piece::Pending { until: None }),
            bytes if bytes.contains(&b'!') => Err(GatewayError::new("cut, as asked for")),
            bytes => Ok(Piece::Data(bytes)),
        }
    }
}

impl Tunnel for Echo {
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError> {
        if self.is_full.get() {
            return Ok(0);
        }
        let taken = if self.most == 0 { bytes.len() } else { self.most.min(bytes.len()) };
        let taken = if self.room == 0 { taken } else { taken.min(self.room - self.waiting.len()) };
        self.has_ended |= bytes[..taken].contains(&b'~');
        self.waiting.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn receive_end(&mut self) {
        self.waiting.extend_from_slice(b"(end)");
        self.has_ended = true;
    }

    fn server_is_draining(&mut self) {
        self.waiting.extend_from_slice(b"(bye)");
        self.has_ended = self.ends_with_server;
    }
}

/// Counts itself as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn echo(
    environ: &mut Environ<'_>,
    start_response: StartResponse<'_>,
    tunnel: Echo,
) -> Result<Body, GatewayError> {
    match environ.upgrade("echo") {
        Some(upgrade) => start_response.upgrade(&upgrade).field("X-Tide", "low").tunnel(tunnel),
        None => start_response.status(400).send("no"),
    }
}

fn by_hand() -> ByHand<impl Gateway> {
    ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        echo(environ, start_response, Echo::default())
    })
}

const REQUEST: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: other, ECHO\r\n\r\n";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn connection_is_taken_over_with_the_bytes_that_were_there_already() {
    let mut hand = by_hand();
    hand.receive(format!("{REQUEST}low").as_bytes());
    let answer = text(hand.transmit_all());
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for line in ["Connection: Upgrade", "Upgrade: echo", "X-Tide: low"] {
        assert!(head.lines().any(|other| other == line), "{line} in {head}");
    }
    for name in ["Content-Length", "Transfer-Encoding", "close"] {
        assert!(!head.contains(name), "{name} in {head}");
    }
    assert_eq!((rest, hand.wants()), ("low", Wants::Read));
    // What looks like a request is none any more.
    hand.receive(REQUEST.as_bytes());
    assert_eq!(text(hand.transmit_all()), REQUEST);
    hand.receive(b"ebb~");
    assert_eq!(text(hand.transmit_all()), "ebb~");
    assert_eq!(hand.wants(), Wants::Close(Farewell::Linger));
}

#[test]
fn wherever_reads_end_the_same_bytes_come_back() {
    let all = format!("{REQUEST}one two three~");
    for cut in 1..all.len() {
        let mut hand = by_hand();
        hand.receive(&all.as_bytes()[..cut]);
        hand.receive(&all.as_bytes()[cut..]);
        assert!(text(hand.transmit_all()).ends_with("\r\n\r\none two three~"), "cut at {cut}");
    }
}

#[test]
fn client_that_has_not_asked_is_not_switched() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echoes\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    ] {
        let mut hand = by_hand();
        hand.receive(request.as_bytes());
        assert!(text(hand.transmit_all()).starts_with("HTTP/1.1 400 "), "{request}");
    }
}

#[test]
fn end_of_the_client_is_told_once_and_answers_still_reach_it() {
    let mut hand = by_hand();
    hand.receive(format!("{REQUEST}low").as_bytes());
    hand.receive_end();
    assert!(text(hand.transmit_all()).ends_with("\r\n\r\nlow(end)"));
    assert_eq!(hand.wants(), Wants::Close(Farewell::Linger));
}

#[test]
fn error_of_the_tunnel_cuts_the_connection_visibly() {
    let mut hand = by_hand();
    hand.receive(REQUEST.as_bytes());
    hand.transmit_all();
    hand.receive(b"!");
    assert_eq!(text(hand.transmit_all()), "");
    assert_eq!(hand.wants(), Wants::Close(Farewell::Reset));
}

#[test]
fn tunnel_that_takes_nothing_is_not_read_for_and_gets_all_of_it_later() {
    let is_full = Rc::new(Cell::new(true));
    let switch = is_full.clone();
    let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        echo(environ, start_response, Echo { is_full: is_full.clone(), most: 3, ..Echo::default() })
    });
    hand.receive(format!("{REQUEST}one two three").as_bytes());
    assert!(text(hand.transmit_all()).ends_with("\r\n\r\n"));
    assert_eq!(hand.wants(), Wants::Application);
    switch.set(false);
    hand.wake();
    assert_eq!(text(hand.transmit_all()), "one two three");
    assert_eq!(hand.wants(), Wants::Read);
}

#[test]
fn tunnel_is_read_while_its_client_does_not_read() {
    let mut hand = by_hand();
    hand.receive(REQUEST.as_bytes());
    hand.receive(&[b'x'; 100_000]);
    // Beyond the high-water mark nothing is drawn, but what comes may still be taken.
    hand.receive(b"more");
    assert_eq!(hand.wants(), Wants::ReadOrWrite);
    assert!(text(hand.transmit_all()).ends_with("xmore"));
}

#[test]
fn tunnel_in_which_nothing_moves_is_given_up() {
    let mut hand = by_hand();
    hand.context.limits.tunnel_timeout = Duration::from_secs(100);
    hand.receive(REQUEST.as_bytes());
    hand.pass(Duration::from_secs(99));
    hand.receive(b"x");
    hand.pass(Duration::from_secs(99));
    assert_eq!(hand.wants(), Wants::Read);
    hand.transmit_all();
    hand.pass(Duration::from_secs(1));
    assert!(matches!(hand.wants(), Wants::Close(_)));
}

#[test]
fn request_with_content_is_switched_once_that_is_there_and_middleware_may_stand_around() {
    let mut hand = ByHand::new(WithFields::new(by_hand().gateway).add("X-Added", "1").unwrap());
    hand.receive(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 4\r\n\r\nab",
    );
    assert_eq!(text(hand.transmit_all()), "");
    hand.receive(b"cdlow~");
    let answer = text(hand.transmit_all());
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("\r\nX-Added: 1\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nlow~"), "{answer}");
}

#[test]
fn tunnels_over_real_sockets_echo_and_are_gone_with_their_clients() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(environ, start_response, Echo { _alive: Some(Counted(counted.clone())), ..Echo::default() })
    };
    let limits = Limits { drain_timeout: Duration::from_millis(200), ..Limits::default() };
    let mut server =
        serve_gateway(Server::new().limits(limits).listen("127.0.0.1:0".parse().unwrap()), gateway);
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(REQUEST);
        client.read_until("\r\n\r\n");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("number {number};"));
        client.read_until(&format!("number {number};"));
    }
    // One sends more than all buffers hold, and reads only afterwards as much as the server has taken.
    let mut writer = clients[0].try_clone_tcp();
    let mut reader = writer.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        (0..200).for_each(|_| writer.write_all(&[b'y'; 100_000]).unwrap());
    });
    let mut left = 20_000_000;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        left -= reader.read(&mut buffer).unwrap();
    }
    sender.join().unwrap();
    clients.truncate(50);
    wait_until("the tunnels of those who have left are gone", || alive.load(Ordering::SeqCst) <= 50);
    // A server that shuts down waits for as long as it waits for any answer, and cuts then.
    server.handle.drain();
    let (_, end) = clients[1].read_to_end();
    // A reset takes the feature; without it a cut looks like an end.
    assert_eq!(end, if cfg!(feature = "sockets") { End::Reset } else { End::Fin });
    server.join();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn tunnel_is_offered_the_rest_when_a_piece_of_it_was_drawn() {
    // It never wakes itself.
    let mut hand = ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        echo(environ, start_response, Echo { room: 4, ..Echo::default() })
    });
    hand.receive(format!("{REQUEST}one two three").as_bytes());
    assert!(text(hand.transmit_all()).ends_with("\r\n\r\none two three"));
    hand.context.limits.output_bytes_high = 1;
    hand.receive(b"four five six~");
    assert_eq!(hand.transmit().len(), 4, "no more than there is room for");
    assert_eq!(text(hand.transmit_all()), " five six~");
    assert_eq!(hand.wants(), Wants::Close(Farewell::Linger));
}

#[test]
fn client_that_sends_without_reading_is_held_back_and_cut_in_the_end() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let tunnel = Echo { room: 10_000, _alive: Some(Counted(counted.clone())), ..Echo::default() };
        echo(environ, start_response, tunnel)
    };
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = serve_gateway(Server::new().limits(limits).listen("127.0.0.1:0".parse().unwrap()), gateway);
    let mut client = server.connect();
    client.send(REQUEST);
    client.read_until("\r\n\r\n");
    // More than the buffers of both sides hold.
    let sent = (0..1_000).take_while(|_| client.try_send(&[b'z'; 100_000]).is_ok()).count();
    assert!(sent < 1_000, "everything was taken");
    wait_until("the tunnel is gone", || alive.load(Ordering::SeqCst) == 0);
}

#[test]
fn last_bytes_of_a_tunnel_reach_a_client_that_goes_on_sending() {
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        echo(environ, start_response, Echo::default())
    };
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), gateway);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(REQUEST);
        client.read_until("\r\n\r\n");
        client.received.clear();
        client.send("last words~");
        // It has not heard of the end.
        for _ in 0..10 {
            client.send("more");
            std::thread::sleep(Duration::from_micros(300));
        }
        let (words, end) = client.read_to_end();
        assert_eq!((text(words).get(..11), end), (Some("last words~"), End::Fin));
    }
}

#[test]
fn tunnel_is_told_once_that_the_server_drains_and_may_say_goodbye() {
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let ends_with_server = environ.path() != "/stays";
        let is_full = Rc::new(Cell::new(environ.path() == "/full"));
        echo(environ, start_response, Echo { ends_with_server, is_full, ..Echo::default() })
    };
    let mut server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), gateway);
    let mut clients: Vec<_> = ["/", "/stays", "/full"]
        .map(|path| {
            let mut client = server.connect();
            client.send(REQUEST.replace(" / ", &format!(" {path} ")));
            client.read_until("\r\n\r\n");
            client.received.clear();
            client
        })
        .into_iter()
        .collect();
    // One is not read while it takes nothing, and hears of the drain all the same.
    clients[2].send("unread");
    server.handle.hand_over();
    clients.iter_mut().for_each(|client| client.read_until("(bye)"));
    assert_eq!(clients[0].read_to_end(), (b"(bye)".to_vec(), End::Fin));
    assert_eq!(clients[2].read_to_end(), (b"(bye)".to_vec(), End::Fin));
    // Once, although the server is told again.
    clients[1].received.clear();
    server.handle.drain();
    clients[1].send("still here~");
    assert_eq!(clients[1].read_to_end(), (b"still here~".to_vec(), End::Fin));
    drop(clients);
    server.join();
}

#[test]
fn server_can_demand_an_upgrade_with_426_and_no_other_status() {
    let mut hand = ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let code = environ.path()[1..].parse().unwrap();
        start_response.status(code).field("upgrade", "echo, HTTP/2.0").send("Ask for an upgrade.\n")
    });
    hand.receive(b"GET /426 HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = text(hand.transmit_all());
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: Upgrade\r\nUpgrade: echo, HTTP/2.0\r\n"), "{answer}");
    assert!(hand.is_idle(), "the connection is kept");
    hand.receive(b"GET /400 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(text(hand.transmit_all()).starts_with("HTTP/1.1 500 "));
}

#[test]
fn proof_of_another_request_does_not_switch_a_client_of_http_1_0() {
    let proof = Rc::new(std::cell::RefCell::new(None));
    let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if let Some(upgrade) = environ.upgrade("echo") {
            proof.replace(Some(upgrade));
            return start_response.status(200).send("kept");
        }
        let upgrade = proof.borrow().clone().unwrap();
        start_response.upgrade(&upgrade).tunnel(Echo::default())
    });
    hand.receive(REQUEST.as_bytes());
    hand.transmit_all();
    hand.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(text(hand.transmit_all()).starts_with("HTTP/1.1 500 "));
}

/// Keeps what it is sent and waits for more, or panics in the midst of its work.
#[derive(Default)]
struct Hoard {
    kept: Vec<u8>,
    is_ended: bool,
}

impl BodyStream for Hoard {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        match self.kept.ends_with(b"draw!") {
            true => panic!("on purpose"),
            false if self.is_ended || self.kept.ends_with(b"~") => Ok(Piece::End),
            false => Ok(Piece::Pending { until: None }),
        }
    }

    fn held_bytes(&self) -> usize {
        assert!(!self.kept.ends_with(b"measure!"), "on purpose");
        self.kept.len()
    }
}

impl Tunnel for Hoard {
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError> {
        assert!(!bytes.ends_with(b"take!"), "on purpose");
        self.kept.extend_from_slice(bytes);
        // More than was offered.
        Ok(bytes.len() + 1)
    }

    fn receive_end(&mut self) {
        assert!(!self.kept.ends_with(b"end!"), "on purpose");
        self.is_ended = true;
    }

    fn server_is_draining(&mut self) {
        assert!(!self.kept.ends_with(b"drain!"), "on purpose");
        self.is_ended = true;
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        if self.kept.ends_with(b"drop!~") {
            panic!("on purpose");
        }
    }
}

fn hoard(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    match environ.upgrade("echo") {
        Some(upgrade) => start_response.upgrade(&upgrade).tunnel(Hoard::default()),
        None => start_response.status(200).send("low"),
    }
}

#[test]
fn tunnels_that_hold_much_and_wait_for_their_clients_make_room_and_others_stay() {
    let limits = Limits { memory_bytes_max: 1_000_000, ..Limits::default() };
    let server = serve_gateway(Server::new().limits(limits).listen("127.0.0.1:0".parse().unwrap()), hoard);
    let tunnel = || {
        let mut client = server.connect();
        client.send(REQUEST);
        client.read_until("\r\n\r\n");
        client.received.clear();
        client
    };
    // The one that was silent for longest holds nearly nothing.
    let mut humble = tunnel();
    let mut hoarders: Vec<_> = (0..4).map(|_| tunnel()).collect();
    hoarders.iter_mut().for_each(|hoarder| hoarder.send([b'x'; 230_000]));
    let mut other = server.connect();
    other.send("GET / HTTP/1.1\r\nHo");
    std::thread::sleep(Duration::from_millis(100));
    let asked = Instant::now();
    other.send("st: a\r\n\r\n");
    assert_eq!(other.read("GET").text(), "low");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    humble.send("~");
    assert_eq!(humble.read_end(), End::Fin);
}

/// Sends on the status of each record.
struct Log(Sender<u16>);

impl AccessLog for Log {
    fn record(&mut self, record: &ExchangeRecord<'_>) {
        // The test may have ended before its server.
        let _ = self.0.send(record.status);
    }

    fn flush(&mut self) {}
}

#[test]
fn panic_anywhere_in_a_tunnel_ends_it_alone_and_is_logged_once() {
    let (sender, log) = mpsc::channel();
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).access_log(Log(sender));
    let mut server = serve_gateway(server, hoard);
    let mut kept = server.connect();
    // A reset takes the feature.
    let cut = if cfg!(feature = "sockets") { End::Reset } else { End::Fin };
    for (word, end) in [
        ("draw!", cut),
        ("take!", cut),
        ("end!", cut),
        ("drop!~", End::Fin),
        ("measure!", End::Fin),
        ("drain!", cut),
    ] {
        let mut client = server.connect();
        client.send(REQUEST);
        client.read_until("\r\n\r\n");
        client.received.clear();
        client.send(word);
        match word {
            // Once all was taken.
            "end!" | "measure!" => client.end_sending(),
            "drain!" => {
                // Told after that has come.
                assert!(client.is_quiet_for(Duration::from_millis(50)));
                server.handle.drain();
            }
            _ => {}
        }
        assert_eq!(client.read_end(), end, "{word}");
        if word != "drain!" {
            assert_eq!(kept.get("/").text(), "low");
            let mut statuses = [log.recv().unwrap(), log.recv().unwrap()];
            statuses.sort();
            assert_eq!(statuses, [101, 200], "{word}");
        }
    }
    server.join();
    assert_eq!(log.iter().collect::<Vec<_>>(), [101]);
}
