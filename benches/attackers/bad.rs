//! Attackers: a thousand of one manner, in a thread of their own.
//!
//! Each has its turn once a second, a twentieth of them at a time, so that it is no burst. Whoever was cut comes
//! back with its next turn.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use rustix::net::{AddressFamily, SocketType, connect, socket};

const TURN: Duration = Duration::from_secs(1);
const PARTS: usize = 20;
/// The receive buffer of each attacker. It is small, as slow readers have it: with the usual buffers those
/// that never read fill what the system has for all sockets together, some 2 GB, whatever the server.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024;
/// The longest segment that attackers take: that of an Ethernet. That of this machine alone is 64 KiB, and by
/// it the system measures how much it takes from the server before anybody reads.
#[cfg(target_os = "linux")]
const SEGMENT_BYTES: u32 = 1460;
/// Turns after which an upload is abandoned.
const UPLOAD_TURNS: usize = 10;

/// The behaviour of attackers of one kind.
pub struct Manner {
    /// The first bytes of each of them, sent as soon as the server takes them: the first attacker sends the
    /// first of these, the second the second.
    pub openings: Vec<Vec<u8>>,
    /// The attacker's next steps.
    pub then: Then,
}

pub enum Then {
    /// Sends these bytes in each turn, and never reads.
    Send(Vec<u8>),
    /// Reads what has come; if that is anything, begins again.
    Read,
    /// Resets the connection after some turns, and begins again on another.
    Reset,
}

/// An attack that is under way.
pub struct Attack {
    is_over: Arc<AtomicBool>,
    cuts: Arc<AtomicUsize>,
    thread: JoinHandle<io::Result<()>>,
}

impl Attack {
    /// Starts the attack, and returns at once; all of them have come after one turn.
    pub fn start(address: SocketAddr, count: usize, manner: Arc<Manner>) -> Attack {
        let (is_over, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = thread::spawn({
            let (is_over, cuts) = (is_over.clone(), cuts.clone());
            move || attack(address, count, &manner, &is_over, &cuts)
        });
        Attack { is_over, cuts, thread }
    }

    /// Lets them leave.
    pub fn call_off(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Ends the attack, and returns how many times one of them was cut.
    pub fn end(self) -> io::Result<usize> {
        self.call_off();
        self.thread.join().map_err(|_| io::Error::other("the attackers gave up"))??;
        Ok(self.cuts.load(Ordering::Relaxed))
    }
}

fn attack(
    address: SocketAddr,
    count: usize,
    manner: &Manner,
    is_over: &AtomicBool,
    cuts: &AtomicUsize,
) -> io::Result<()> {
    let mut attackers: Vec<Attacker> = Vec::with_capacity(count);
    for number in (0..count).cycle() {
        if number.is_multiple_of(count.div_ceil(PARTS)) {
            thread::sleep(TURN / PARTS as u32);
            attackers.iter_mut().for_each(|attacker| attacker.push(manner));
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
        let outcome = match attackers.get_mut(number) {
            None => {
                attackers.push(Attacker::new(address, number, manner)?);
                Outcome::Stays
            }
            Some(attacker) => attacker.go_on(manner)?,
        };
        cuts.fetch_add(usize::from(outcome == Outcome::WasCut), Ordering::Relaxed);
        if outcome != Outcome::Stays {
            attackers[number] = Attacker::new(address, number, manner)?;
        }
    }
    Ok(())
}

struct Attacker {
    number: usize,
    stream: TcpStream,
    /// The bytes of its opening that it has sent.
    sent: usize,
    turns: usize,
}

impl Attacker {
    fn new(address: SocketAddr, number: usize, manner: &Manner) -> io::Result<Attacker> {
        let stream = connect_from_afar(address)?;
        // So uploads end one after the other.
        let turns = number % UPLOAD_TURNS;
        let mut attacker = Attacker { number, stream, sent: 0, turns };
        attacker.push(manner);
        Ok(attacker)
    }

    fn opening<'m>(&self, manner: &'m Manner) -> &'m [u8] {
        &manner.openings[self.number % manner.openings.len()]
    }

    /// Goes on with its opening. If the attacker was cut, its next turn will show that.
    fn push(&mut self, manner: &Manner) {
        while let rest @ [_, ..] = &self.opening(manner)[self.sent..] {
            match self.stream.write(rest) {
                Ok(count @ 1..) => self.sent += count,
                _ => break,
            }
        }
    }

    /// Takes one turn.
    fn go_on(&mut self, manner: &Manner) -> io::Result<Outcome> {
        self.turns += 1;
        let done = match &manner.then {
            Then::Send(bytes) => self.stream.write(bytes),
            Then::Read => self.stream.read(&mut [0; 4096]).and_then(|count| match count {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                _ => {
                    self.sent = 0;
                    Ok(count)
                }
            }),
            Then::Reset if self.turns > UPLOAD_TURNS => {
                set_socket_linger(&self.stream, Some(Duration::ZERO))?;
                return Ok(Outcome::Leaves);
            }
            Then::Reset => Ok(0),
        };
        Ok(match done {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Outcome::WasCut,
            _ => Outcome::Stays,
        })
    }
}

/// The result of an attacker's turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Stays,
    Leaves,
    WasCut,
}

/// Connects as from another machine, and does not block from then on.
fn connect_from_afar(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Both before there is a connection: what was offered is never taken back.
    set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::TcpMaxSeg, &SEGMENT_BYTES)?;
    connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(stream)
}
