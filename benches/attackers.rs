//! What well-behaved clients notice of badly behaved ones.
//!
//! ```text
//! cargo bench --bench attackers
//! ```
//!
//! 64 connections ask one request after the other, first alone, then beside 2,000 others of four
//! kinds: heads that drip a byte a second, contents that do, clients that ask for much and never
//! read, and clients that say nothing. The two take turns; medians over the rounds are compared. All
//! run in one process, so a machine with more than two cores that does nothing else is wanted.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidegate::gateway::Content;
use tidegate::limits::Limits;
use tidegate::{Environ, ListenAddress, Server, StartResponse};

const GOOD: usize = 64;
const ATTACKERS: usize = 2_000;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(2);
/// What it costs to meet the attackers, and to part from them, is no part of a round.
const PAUSE: Duration = Duration::from_millis(1_500);
const DRIP: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
static MUCH: [u8; 1 << 20] = [b'x'; 1 << 20];

fn main() -> io::Result<()> {
    let address = start_server()?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    println!("{GOOD} connections, alone and beside {ATTACKERS} attackers, {ROUNDS} rounds of {ROUND:?}");
    for round in 1..=ROUNDS {
        alone.push(ask_for(address)?);
        let attack = Attack::start(address);
        thread::sleep(PAUSE);
        beside.push(ask_for(address)?);
        let held = attack.end();
        thread::sleep(PAUSE);
        let (alone, beside) = (alone[round - 1], beside[round - 1]);
        println!("round {round}: {alone:.0} requests/s alone, {beside:.0} beside {held} attackers");
    }
    let (alone, beside) = (median(&mut alone), median(&mut beside));
    let kept = 100.0 * beside / alone;
    println!("medians: {alone:.0} alone, {beside:.0} beside attackers: {kept:.1} % are kept");
    Ok(())
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn start_server() -> io::Result<SocketAddr> {
    let server = Server::new()
        .listen(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))))
        .limits(Limits::default())
        .bind()?;
    let [ListenAddress::Tcp(address)] = server.addresses()[..] else {
        return Err(io::Error::other("one TCP address was asked for"));
    };
    thread::spawn(move || {
        server.run(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let head = start_response.status(200).field("Content-Type", "text/plain");
            match environ.path() {
                "/much" => head.send(Content::Static(&MUCH)),
                _ => head.send("Hello, World!"),
            }
        })
    });
    Ok(address)
}

/// Requests a second over the good connections, each asking again when all have been answered.
fn ask_for(address: SocketAddr) -> io::Result<f64> {
    let mut clients = (0..GOOD).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<_>>>()?;
    let (start, mut answered, mut bytes) = (Instant::now(), 0, [0; 4096]);
    while start.elapsed() < ROUND {
        for client in &mut clients {
            client.write_all(REQUEST)?;
        }
        for client in &mut clients {
            let count = client.read(&mut bytes)?;
            assert!(bytes[..count].ends_with(b"Hello, World!"), "a short answer comes whole");
            answered += 1;
        }
    }
    Ok(f64::from(answered) / start.elapsed().as_secs_f64())
}

/// Attackers in a thread of their own.
struct Attack {
    is_over: Arc<AtomicBool>,
    held: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Attack {
    /// Returns when all of them are connected.
    fn start(address: SocketAddr) -> Attack {
        let (is_over, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = thread::spawn({
            let (is_over, held) = (is_over.clone(), held.clone());
            move || attack(address, &is_over, &held)
        });
        while held.load(Ordering::Relaxed) < ATTACKERS && !thread.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        Attack { is_over, held, thread }
    }

    /// How many there were at the end.
    fn end(self) -> usize {
        let held = self.held.load(Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            println!("the attackers gave up: is the limit of open files (ulimit -n) too low?");
        }
        held
    }
}

fn attack(address: SocketAddr, is_over: &AtomicBool, held: &AtomicUsize) {
    let mut attackers: Vec<_> = (0..ATTACKERS).map(|number| Attacker::new(address, number)).collect();
    held.store(attackers.len(), Ordering::Relaxed);
    while !is_over.load(Ordering::Relaxed) {
        // A part of them at a time, so that it is no burst.
        for part in attackers.chunks_mut(ATTACKERS / 20) {
            part.iter_mut().for_each(|attacker| attacker.go_on(address));
            thread::sleep(DRIP / 20);
        }
    }
}

struct Attacker {
    number: usize,
    stream: TcpStream,
}

impl Attacker {
    fn new(address: SocketAddr, number: usize) -> Attacker {
        let mut stream = TcpStream::connect(address).expect("a connection for each attacker");
        let first: &[u8] = match number % 4 {
            0 => b"GET / HTTP/1.1\r\nX: ",
            1 => b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
            2 => b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n",
            _ => b"",
        };
        stream.write_all(first).expect("room for a head");
        stream.set_nonblocking(true).expect("a socket can be non-blocking");
        Attacker { number, stream }
    }

    /// Another byte; another connection where this one was cut.
    fn go_on(&mut self, address: SocketAddr) {
        let drips = self.number % 4 < 2;
        let is_cut = drips
            && match self.stream.write(b"x") {
                Err(error) => error.kind() != ErrorKind::WouldBlock,
                Ok(_) => false,
            };
        if is_cut {
            *self = Attacker::new(address, self.number);
        }
    }
}
