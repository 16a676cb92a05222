//! Tests the promise of `memory_bytes_max` against clients that want to break it: over real sockets, beside
//! somebody who must not notice.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::loopback::{Answer, Client, Running, serve, serve_with, start, wait_until};
use tidegate::gateway::{Admission, IncomingContent, OwnedEnviron};
use tidegate::limits::Limits;
use tidegate::server::{Observer, Snapshot};
use tidegate::{Environ, Gateway, Server, StartResponse};

const MANY: usize = 900_000;
const MIB: usize = 1 << 20;

/// The longest wait of a client that behaves beside others that do not. (It waits for no timeout: those are
/// 20 s and more.)
const PATIENCE: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(10);

/// Answers `/much` with shared content, and everything else with the most of that, in bytes, that was ever
/// owed.
fn serve_much(memory_bytes_max: usize) -> Running {
    let much: Arc<[u8]> = vec![b'x'; MANY].into();
    let mut most = 0;
    let limits = Limits { memory_bytes_max, ..Limits::default() };
    serve(
        move |environ, start_response: StartResponse<'_>| {
            // Each response that is owed has a share.
            most = most.max((Arc::strong_count(&much) - 1) * MANY);
            match &*environ.path() {
                "/much" => start_response.status(200).send(much.clone()),
                _ => start_response.status(200).send(most.to_string()),
            }
        },
        limits,
    )
}

fn timed<R>(what: &str, act: impl FnOnce() -> R) -> R {
    let begun = Instant::now();
    let result = act();
    assert!(begun.elapsed() < PATIENCE, "{what} took {:?}", begun.elapsed());
    result
}

#[test]
fn clients_that_do_not_read_hold_no_more_than_the_limit_and_nobody_notices() {
    let server = serve_much(8 * MIB);
    let mut good = server.connect();
    let mut attackers: Vec<Client> = Vec::new();
    for _ in 0..60 {
        let mut attacker = server.connect();
        attacker.send("GET /much HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8));
        attackers.push(attacker);
        timed("a short answer", || assert_eq!(good.get("/").code, 200));
    }
    for _ in 0..5 {
        let much = timed("a long answer", || good.get("/much"));
        assert_eq!(much.content.len(), MANY);
    }
    let most: usize = String::from_utf8(good.get("/").content).unwrap().parse().unwrap();
    // Looked at in a call, after which one more was owed at most.
    assert!(most + MANY <= 8 * MIB + MANY, "{most} bytes were owed");
    assert!(most >= 4 * MIB, "the limit was not even reached: {most}");
}

#[test]
fn half_heads_that_stall_do_not_keep_others_from_ending_theirs() {
    let server = serve_much(100_000);
    let mut hoarders: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for hoarder in &mut hoarders {
        hoarder.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
        hoarder.send("x".repeat(12_000));
    }
    let mut other = server.connect();
    other.send("GET / HTTP/1.1\r\nHo");
    thread::sleep(Duration::from_millis(100));
    other.send("st: a\r\n\r\n");
    timed("the other's answer", || assert_eq!(other.read("GET").code, 200));
}

#[test]
fn uploads_that_stall_move_to_the_disk_and_lose_nothing() {
    let limits = Limits { memory_bytes_max: MIB, ..Limits::default() };
    let server = serve(
        |environ, start_response: StartResponse<'_>| {
            let in_memory = environ.content().as_slice().is_some();
            let mut content = Vec::new();
            std::io::Read::read_to_end(environ.content(), &mut content)?;
            let is_right = content.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8);
            start_response.status(200).send(format!("{} {is_right} {in_memory}", content.len()))
        },
        limits,
    );
    let content: Vec<u8> = (0..400_000).map(|index| (index % 251) as u8).collect();
    let (first, rest) = content.split_at(390_000);
    let mut stalled: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut stalled {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
        client.send(first);
    }
    // Half a head has to wait for memory, and gets it.
    let mut other = server.connect();
    other.send("GET / HTTP/1.1\r\nHo");
    thread::sleep(Duration::from_millis(100));
    other.send("st: a\r\n\r\n");
    timed("the other's answer", || assert_eq!(other.read("GET").code, 200));
    for client in &mut stalled {
        client.send(rest);
        let answer = client.read("POST");
        assert!(answer.content.starts_with(b"400000 true"), "{answer:?}");
    }
}

#[test]
fn request_that_another_thread_holds_counts_after_its_client_has_left() {
    let held: Arc<Mutex<Vec<OwnedEnviron>>> = Arc::default();
    let limits = Limits { memory_bytes_max: MIB, ..Limits::default() };
    let server = serve(
        {
            let held = held.clone();
            move |environ, start_response: StartResponse<'_>| {
                if environ.path() == "/hold" {
                    held.lock().unwrap().push(environ.detach());
                    return start_response.status(200).send("held");
                }
                let in_memory = environ.content().as_slice().is_some();
                start_response.status(200).send(if in_memory { "memory" } else { "disk" })
            }
        },
        limits,
    );
    let upload = |path: &str, length: usize| -> Vec<u8> {
        let mut client = server.connect();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        // In two pieces, so that it has to be collected.
        client.send(vec![b'x'; 1000]);
        client.send(vec![b'x'; length - 1000]);
        client.read("POST").content
    };
    // More than a turn of its connection can read, so that it finds out in between.
    assert_eq!(upload("/", 700_000), b"memory");
    (0..3).for_each(|_| assert_eq!(upload("/hold", 200_000), b"held"));
    assert_eq!(upload("/", 700_000), b"disk", "what is held elsewhere takes the memory");
    held.lock().unwrap().clear();
    assert_eq!(upload("/", 700_000), b"memory", "and gives it back");
}

#[test]
fn owner_that_panics_when_memory_is_free_again_ends_nothing() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = serve_with(
        Server::new().listen("127.0.0.1:0".parse().unwrap()).at_low_tide({
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
                panic!("the owner's own fault");
            }
        }),
        |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            start_response.status(200).send(format!("{:?}", environ.content_length()))
        },
    );
    for round in 1..=2 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
        // In two pieces, so that it has to be collected.
        client.send(vec![b'x'; 1000]);
        client.send(vec![b'x'; 1_999_000]);
        assert_eq!(client.read("POST").content, b"Some(2000000)");
        wait_until("the owner hears of the free memory", || calls.load(Ordering::SeqCst) == round);
        assert_eq!(client.get("/").code, 200, "on a connection from before");
    }
}

/// Keeps the content of each upload and reads none of it, as an application that is stuck.
#[derive(Clone, Default)]
struct Stuck(Arc<Mutex<Vec<IncomingContent>>>);

impl Gateway for Stuck {
    fn admit(&self, _: &Environ<'_>) -> Admission {
        Admission::AsItComes
    }

    fn call(&mut self, environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
        if environ.path() != "/stuck" {
            return start_response.status(200).send("ok");
        }
        self.0.lock().unwrap().push(environ.take_incoming());
        let patience = if environ.query() == "soon" { MOMENT * 50 } else { PATIENCE * 100 };
        Ok(start_response
            .at(environ.now() + patience, |start_response| start_response.status(200).send("at last")))
    }
}

/// A server whose account of memory can be read.
struct Observed {
    server: Running,
    observer: Observer,
}

impl Observed {
    fn serve(gateway: impl Gateway + Send + 'static, limits: Limits) -> Observed {
        let (sender, receiver) = mpsc::channel();
        let server = Server::new().limits(limits).listen("127.0.0.1:0".parse().unwrap());
        let server = start(server, move |mut bound| {
            sender.send(bound.observer()).unwrap();
            bound.run(gateway)
        });
        Observed { server, observer: receiver.recv().unwrap() }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        let (sender, receiver) = mpsc::channel();
        self.observer.ask(move |snapshot| drop(sender.send(snapshot)));
        receiver.recv_timeout(PATIENCE).expect("the loop answers")
    }

    fn bytes(&self) -> usize {
        let memory = self.snapshot().memory;
        memory.connections + memory.detached
    }

    /// Checks that a whole head passes at once, that one in pieces need not give way to those who attack, and that no more
    /// than this is held.
    fn serves_others(&self, bytes_max: usize) {
        let mut good = self.server.connect();
        for _ in 0..3 {
            timed("an answer", || assert_eq!(good.get("/").code, 200));
            good.send("GET / HTTP/1.1\r\nHo");
            thread::sleep(Duration::from_millis(100));
            good.send("st: a\r\n\r\n");
            timed("an answer to a head in pieces", || assert_eq!(good.read("GET").code, 200));
        }
        assert!(self.bytes() <= bytes_max, "{} bytes", self.bytes());
    }
}

#[test]
fn uploads_that_a_stuck_application_does_not_read_hold_no_more_than_the_limit_and_nobody_notices() {
    let limits = Limits { memory_bytes_max: 4 * MIB, drain_timeout: MOMENT, ..Limits::default() };
    let observed = Observed::serve(Stuck::default(), limits);
    let upload = b"POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
    let mut attackers: Vec<Client> = Vec::new();
    for _ in 0..100 {
        let mut attacker = observed.server.connect();
        attacker.send(upload);
        // It may have been turned away.
        let _ = attacker.try_send(&[b'x'; 300_000]);
        attackers.push(attacker);
        assert!(observed.bytes() <= 4 * MIB, "{} bytes", observed.bytes());
    }
    observed.serves_others(4 * MIB);
    // Who had to give way was told so.
    let refused = attackers.iter_mut().filter_map(|attacker| attacker.read_within("POST", MOMENT).ok());
    assert!(refused.map(|answer| assert_eq!(answer.code, 503)).count() > 0);
}

#[test]
fn uploads_that_came_whole_to_a_stuck_application_make_room_one_by_one() {
    const UPLOADS: usize = 60;
    let limits = Limits { memory_bytes_max: 4 * MIB, drain_timeout: MOMENT, ..Limits::default() };
    let stuck = Stuck::default();
    let observed = Observed::serve(stuck.clone(), limits);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..UPLOADS {
        let mut client = observed.server.connect();
        client.send("POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
        wait_until("the application is called", || stuck.0.lock().unwrap().len() == clients.len() + 1);
        let _ = client.try_send(&[b'x'; 60_000]);
        clients.push(client);
    }
    // Scarcity has to last for a second before anybody is turned away.
    let begun = Instant::now();
    wait_until("there is memory again", || {
        begun.elapsed() > Duration::from_secs(2) && !observed.snapshot().memory.is_scarce
    });
    assert_eq!(observed.server.connect().get("/").code, 200);
    let refused = clients.iter_mut().filter_map(|client| client.read_within("POST", MOMENT).ok());
    let refused = refused.inspect(|answer| assert_eq!(answer.code, 503)).count();
    assert!(refused < UPLOADS / 2, "{refused} were turned away");
}

#[test]
fn content_that_a_stuck_application_keeps_counts_after_its_client_has_left() {
    let stuck = Stuck::default();
    let observed = Observed::serve(stuck.clone(), Limits::default());
    for _ in 0..3 {
        let mut client = observed.server.connect();
        // In one go: the time to the answer is that of the content, too.
        let head = b"POST /stuck?soon HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
        client.send([&head[..], &[b'x'; 200_000]].concat());
        assert_eq!(client.read("POST").text(), "at last");
        drop(client);
        wait_until("the client is gone", || observed.snapshot().connections.is_empty());
        assert!(observed.bytes() > 60_000, "{} bytes", observed.bytes());
        stuck.0.lock().unwrap().clear();
        assert_eq!(observed.bytes(), 0);
    }
}

#[test]
fn requests_behind_one_whose_answer_is_late_hold_no_more_than_the_limit_and_nobody_notices() {
    let limits = Limits { memory_bytes_max: MIB, drain_timeout: MOMENT, ..Limits::default() };
    let observed = Observed::serve(Stuck::default(), limits);
    // Who has sent nothing more than it had to is not cut.
    let mut humble = observed.server.connect();
    humble.send("POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nlow");
    let pipeline = "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_800);
    let mut attackers: Vec<Client> = Vec::new();
    for _ in 0..100 {
        let mut attacker = observed.server.connect();
        // It may have been cut.
        let _ = attacker.try_send(pipeline.as_bytes());
        attackers.push(attacker);
        assert!(observed.bytes() <= MIB, "{} bytes", observed.bytes());
    }
    observed.serves_others(MIB);
    assert!(humble.is_quiet_for(MOMENT));
}
