//! One connection of the rig: its requests in flight, and its turns at the socket.
//!
//! As with the server, every event is a hint, reading and writing go on until the socket has had
//! enough, and whoever stops before that says so ([`Outcome::More`]).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::request::Request;
use super::response::ResponseReader;
use super::source;

/// The receive buffer that a slow reader asks the system for, in bytes: about the least that it grants.
const SLOW_RECEIVE_BYTES: usize = 4096;
/// Whether a turn must read until the socket would block: on poll(2) nothing else arms it again.
const READS_UNTIL_EMPTY: bool = cfg!(mio_unsupported_force_poll_poll);

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The connection sends requests, and is measured.
    Active,
    /// The connection sends one request and stays open.
    Idle,
    /// The connection sends requests, and reads the answers little by little.
    SlowReader,
    /// The connection sends a request byte by byte.
    Drip,
    /// The connection finds out, after all others, whether the server is still there.
    Probe,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The peer has not accepted the connection yet.
    Connecting,
    /// The connection can send requests.
    Open,
    /// The client sends no more requests, and waits for the peer to close first, so that the peer keeps the
    /// port.
    Ending,
}

/// A response that has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// The time at which its request was due.
    pub due: Instant,
    pub status: u16,
}

/// The result of a turn at the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The socket has nothing more to read for now.
    Open,
    /// The socket has more to read, and no event will say so.
    More,
    /// The peer has ended the connection in order; what is under way on it was never begun.
    Ended,
    /// The connection is broken, or was ended in the middle of an answer.
    Broken,
    /// The bytes received are not a response.
    Malformed(&'static str),
}

/// A connection of the rig.
#[derive(Debug)]
pub(super) struct Client {
    pub stream: TcpStream,
    pub role: Role,
    pub life: Life,
    /// The times at which the requests under way were due, the oldest first.
    pub in_flight: VecDeque<Instant>,
    /// The time of the last request or answer.
    pub touched: Instant,
    /// Whether this connection stands in the queue of those that could send a request.
    pub is_queued: bool,
    /// Bytes of requests that are not written yet.
    owed: usize,
    reader: ResponseReader,
    /// Whether an answer has begun and is not complete.
    is_answering: bool,
    /// Whether the peer has said that no answer follows.
    has_said_close: bool,
}

impl Client {
    /// Begins to connect to the server, from an address of this machine if one is chosen.
    pub fn connect(
        address: SocketAddr,
        source: Option<IpAddr>,
        role: Role,
        now: Instant,
    ) -> io::Result<Client> {
        let stream = source::open(address, source)?;
        Ok(Client {
            stream,
            role,
            life: Life::Connecting,
            in_flight: VecDeque::new(),
            touched: now,
            is_queued: false,
            owed: 0,
            reader: ResponseReader::new(),
            is_answering: false,
            has_said_close: false,
        })
    }

    /// Opens the connection if the peer has accepted it, and returns whether it has.
    pub fn establish(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                // Small requests must not wait for each other. It is only slower without.
                let _ = self.stream.set_nodelay(true);
                if self.role == Role::SlowReader {
                    // Else the system would read on for it, megabytes.
                    let _ = set_socket_recv_buffer_size(&self.stream, SLOW_RECEIVE_BYTES);
                }
                self.life = Life::Open;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Queues one more request.
    pub fn ask(&mut self, due: Instant, now: Instant, request: &Request) {
        if self.in_flight.is_empty() {
            self.touched = now;
        }
        self.in_flight.push_back(due);
        self.owed += request.length();
    }

    /// Writes queued requests, at most `most` bytes of them.
    pub fn flush(&mut self, request: &Request, mut most: usize) -> io::Result<()> {
        while self.owed > 0 && most > 0 {
            let next = request.next(self.owed);
            match self.stream.write(&next[..next.len().min(most)]) {
                Ok(written) => {
                    self.owed -= written;
                    most -= written;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads with a bounded number of calls, and appends the answers that this completes. Returns the bytes
    /// read, and the state of the connection. With `to_end` it also looks for the peer's end behind the
    /// answers.
    pub fn fill(
        &mut self,
        scratch: &mut [u8],
        reads: usize,
        request: &Request,
        to_end: bool,
        answers: &mut Vec<Answer>,
    ) -> (u64, Outcome) {
        let mut bytes = 0;
        for _ in 0..reads {
            match self.stream.read(scratch) {
                Ok(0) => return (bytes, self.end(answers)),
                Ok(count) => {
                    bytes += count as u64;
                    if let Err(outcome) = self.receive(&scratch[..count], request, answers) {
                        return (bytes, outcome);
                    }
                    if count < scratch.len() && !to_end && !READS_UNTIL_EMPTY {
                        return (bytes, Outcome::Open);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (bytes, Outcome::Open),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return (bytes, self.broken()),
            }
        }
        (bytes, Outcome::More)
    }

    fn receive(
        &mut self,
        mut bytes: &[u8],
        request: &Request,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Outcome> {
        while !bytes.is_empty() {
            // A peer that closes says why, if at all, before it was asked (408); it is not counted.
            let is_asked = !self.in_flight.is_empty();
            let received = self.reader.receive(bytes, request.is_head);
            let (used, response) = received.map_err(|malformed| Outcome::Malformed(malformed.0))?;
            bytes = &bytes[used..];
            self.is_answering = response.is_none();
            if let Some(response) = response {
                if let (Some(due), true) = (self.in_flight.pop_front(), is_asked) {
                    answers.push(Answer { due, status: response.status });
                }
                if response.is_last {
                    self.has_said_close = true;
                    self.life = Life::Ending;
                    self.owed = 0;
                }
            }
        }
        Ok(())
    }

    /// Notes that the peer has ended the connection.
    fn end(&mut self, answers: &mut Vec<Answer>) -> Outcome {
        if let Some(response) = self.reader.end() {
            self.is_answering = false;
            self.has_said_close = true;
            answers.extend(self.in_flight.pop_front().map(|due| Answer { due, status: response.status }));
        }
        self.broken()
    }

    /// Tells whether the loss of a broken connection costs any request.
    fn broken(&self) -> Outcome {
        let is_harmless = self.in_flight.is_empty() || self.has_said_close;
        if is_harmless && !self.is_answering { Outcome::Ended } else { Outcome::Broken }
    }
}
